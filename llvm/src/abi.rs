//! What compiled code and the device that runs it agree on. Compiled code reads a [`Warp`] at its field's offsets and
//! calls the functions of [`HELPERS`] by name.

use hetir::ir::MAX_ATTRS;
use std::ffi::c_void;

/// One warp, or in the form for single lanes one thread: what its code is given.
///
/// Local memory is interleaved by words, so that the same word of neighbouring lanes is adjacent: byte `b` of lane `l`
/// is at `local + (b / 4) * 128 + l * 4 + b % 4`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Warp {
    /// The kernel's parameters.
    pub params: *const u8,
    /// The block's shared memory; address 0 of the space is its first byte.
    pub shared: *mut u8,
    /// The warp's local memory.
    pub local: *mut u8,
    /// The address of each module variable, by `GlobalId`; for those in shared memory the place in it.
    pub globals: *const u64,
    /// What the device wants to find again in a helper.
    pub host: *mut c_void,
    /// Blocks of the grid.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// This block.
    pub cta: [u32; 3],
    /// Number of the warp in the block.
    pub warp: u32,
    /// The lanes that exist; one in the form for single lanes.
    pub mask: u32,
    /// Bytes of local memory a lane.
    pub local_bytes: u32,
    /// Bytes of shared memory that the launch added.
    pub dynamic_shared: u32,
    /// Bytes of shared memory in all.
    pub total_shared: u32,
    /// Turns left in loops that may wait for another thread, before [`YIELD`] is called. Set by the device.
    pub patience: u32,
    /// The block's rank in its cluster, whose blocks' shared memories follow each other by `SHARED_STRIDE`, and how many
    /// there are; 0 and 1 where the kernel has nothing to do with clusters.
    pub rank: u32,
    /// See `rank`.
    pub cluster_blocks: u32,
    /// `%envreg1` and `%envreg2`: the grid barrier's workspace.
    pub workspace: u64,
    /// Numbers the launches of a context.
    pub grid_id: u64,
    /// The word that asks the launch to stop by not being 0.
    pub stop: *const u32,
    /// Whether it did when the block's last barrier completed, if not 0.
    pub asked: u32,
}

/// The name of a kernel's function in compiled code.
pub const ENTRY: &str = "hetgpu_kernel";

/// Compiled code of a kernel: runs a warp to its end.
pub type Entry = unsafe extern "C" fn(*mut Warp);

/// An instruction that a helper executes: its row's number and everything beside its operands. It lies in the compiled
/// code's constants.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Described {
    /// The immediate.
    pub imm: u64,
    /// `Op as u16`.
    pub op: u16,
    /// Operands.
    pub args: u8,
    /// Results.
    pub results: u8,
    /// Controlling type: scalar, lanes.
    pub ty: [u8; 2],
    /// Type of the first operand (the controlling type where there is none): scalar, lanes.
    pub src: [u8; 2],
    /// Attributes in the order of the op's row.
    pub attrs: [u8; MAX_ATTRS],
    /// Which operands have 128 bits, by bit.
    pub wide_args: u16,
    /// Which results have 128 bits, by bit.
    pub wide_results: u16,
    /// Function of the module that it is in, and its byte offset in the PTX text.
    pub function: u32,
    /// See `function`.
    pub span: u32,
}

/// A column: the bits of a value in each of 32 lanes. A value of 128 bits takes two, the low halves first.
pub type Column = [u64; 32];

/// A function that compiled code calls. Its first parameter is always the warp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Helper {
    /// The name that it is linked by.
    pub name: &'static str,
    /// The parameters behind the warp.
    pub params: &'static [Part],
    /// What it returns.
    pub result: Option<Part>,
}

/// A parameter or result of a helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
    /// An address of the host.
    Pointer,
}

use Part::{I32, Pointer};

/// `(described, mask, args, results)`: an op without effects, for the lanes of the mask. `args` and `results` are columns.
pub const EVAL: Helper = Helper { name: "hetgpu_eval", params: &[Pointer, I32, Pointer, Pointer], result: None };
/// `(described, mask, args, results)`: an op with effects, for the lanes of the mask together.
pub const EFFECT: Helper = Helper { name: "hetgpu_effect", params: &[Pointer, I32, Pointer, Pointer], result: None };
/// `(id, threads, mask)`: waits at a block barrier; `threads` 0 stands for all of the block.
pub const BARRIER: Helper = Helper { name: "hetgpu_barrier", params: &[I32, I32, I32], result: None };
/// `(id, threads, mask)`: arrives at a block barrier.
pub const BARRIER_ARRIVE: Helper = Helper { name: "hetgpu_barrier_arrive", params: &[I32, I32, I32], result: None };
/// `(id, threads, op, mask, predicates)`: a reducing barrier; `op` is a `BarrierOp`. Gives the count, 0 or 1.
pub const BARRIER_RED: Helper =
    Helper { name: "hetgpu_barrier_red", params: &[I32, I32, I32, I32, I32], result: Some(I32) };
/// `(mask)`: waits at the barrier of the warp's group.
pub const GROUP_BARRIER: Helper = Helper { name: "hetgpu_group_barrier", params: &[I32], result: None };
/// `()`: lets other warps run. Called by loops that may wait for another thread.
pub const YIELD: Helper = Helper { name: "hetgpu_yield", params: &[], result: None };
/// `(nanoseconds)`: waits.
pub const SLEEP: Helper = Helper { name: "hetgpu_sleep", params: &[I32], result: None };
/// `(kind, lane, function, span)`: the launch fails, with a [`Failure`]; does not return.
pub const FAIL: Helper = Helper { name: "hetgpu_fail", params: &[I32, I32, I32, I32], result: None };
/// `(which)`: the bits of a special register that the device knows: the number of an `Sreg`.
pub const SREG: Helper = Helper { name: "hetgpu_sreg", params: &[I32], result: Some(Part::I64) };

/// Every helper.
pub const HELPERS: &[Helper] =
    &[EVAL, EFFECT, BARRIER, BARRIER_ARRIVE, BARRIER_RED, GROUP_BARRIER, YIELD, SLEEP, FAIL, SREG];

/// Why compiled code ends a launch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Failure {
    /// `trap`.
    Trap = 1,
    /// `brkpt` without a debugger.
    Breakpoint = 2,
    /// A call of what is no function, or one of another signature.
    BadCall = 3,
    /// An address that is not a multiple of the access.
    Misaligned = 4,
    /// An address that nothing is at.
    OutOfBounds = 5,
    /// Local memory or nested calls are used up.
    StackOverflow = 6,
    /// An operand that the instruction does not take.
    BadOperand = 7,
    /// An address of another state space than the access needs.
    WrongSpace = 8,
}

impl Failure {
    /// The failure of this number.
    pub fn from_number(number: u32) -> Option<Self> {
        [
            Self::Trap,
            Self::Breakpoint,
            Self::BadCall,
            Self::Misaligned,
            Self::OutOfBounds,
            Self::StackOverflow,
            Self::BadOperand,
            Self::WrongSpace,
        ]
        .into_iter()
        .find(|f| *f as u32 == number)
    }
}
