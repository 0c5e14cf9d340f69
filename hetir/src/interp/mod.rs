//! The interpreter: what a launch of a kernel means.
//!
//! It executes a whole grid, deterministically by seed, with warps of 32 lanes that make progress independently, and
//! reports what a device would leave undefined: see [`FaultKind`]. A module must have passed the verifier; after that
//! nothing here panics, whatever the program does.

mod allocate;
mod check;
mod code;
mod exec;
mod fault;
mod globals;
mod heap;
mod machine;
mod memory;
mod order;
mod program;
mod shared;
pub mod space;
pub mod texture;
mod warp;

pub use fault::{Fault, FaultKind, Place};
pub use globals::{initial_image, place_globals};
pub use heap::Heap;
pub use memory::{Arena, Memory, MemoryFault, Region};
pub use program::Program;
pub use shared::SharedLayout;

use crate::blocks::Blocks;
use crate::entity::FuncId;
use crate::ir::Module;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

/// One launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The verified module.
    pub module: &'a Module,
    /// The kernel.
    pub kernel: FuncId,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block.
    pub block: [u32; 3],
    /// Blocks a cluster; all 1 without clusters.
    pub cluster: [u32; 3],
    /// Bytes of shared memory beyond the static variables.
    pub dynamic_shared: u32,
    /// The kernel's parameters.
    pub params: &'a [u8],
    /// Where module variables are, by `GlobalId`, as [`place_globals`] gives it.
    pub globals: &'a [u64],
    /// All blocks run at the same time, so that they may wait for each other.
    pub cooperative: bool,
    /// The grid barrier's workspace of a cooperative launch (`%envreg1` holds the high half, `%envreg2` the low one).
    pub workspace: u64,
    /// `%gridid`.
    pub grid_id: u64,
    /// What the handles of textures, samplers and surfaces stand for.
    pub images: &'a [texture::Object],
    /// Which blocks run; none for all.
    pub blocks: Option<&'a Blocks>,
    /// The address of a word in global memory: while it is not 0, no further block is begun. 0 for none.
    pub stop: u64,
    /// The program that [`Program::launch`] made this of. Without one, or with another module or other globals than the
    /// program's, the kernel is decoded for this launch alone.
    pub program: Option<&'a Program>,
}

impl<'a> Launch<'a> {
    /// A launch of one block of one thread without parameters.
    pub fn new(module: &'a Module, kernel: FuncId) -> Self {
        Self {
            module,
            kernel,
            grid: [1; 3],
            block: [1; 3],
            cluster: [1; 3],
            dynamic_shared: 0,
            params: &[],
            globals: &[],
            cooperative: false,
            workspace: 0,
            grid_id: 1,
            images: &[],
            blocks: None,
            stop: 0,
            program: None,
        }
    }
}

/// What is looked for beyond what must be.
///
/// Races: two threads access the same byte, one of them writes, one of the accesses is weak, and no barrier, `warpsync`,
/// atomic or strong access orders them. Two writes of the same value, and accesses that only relaxed accesses without
/// a fence order, are warnings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checks {
    /// Data races in shared and global memory.
    pub races: bool,
    /// Reads of shared and local memory that nothing has written.
    pub uninitialised: bool,
}

impl Checks {
    /// Every check.
    pub const ALL: Self = Self { races: true, uninitialised: true };

    const fn any(self) -> bool {
        self.races || self.uninitialised
    }
}

/// Where printed bytes go, in order.
pub type Print<'a> = &'a mut (dyn FnMut(&[u8]) + 'a);

/// How a launch is executed.
pub struct Options<'a> {
    /// Chooses among the orders in which threads may run.
    pub seed: u64,
    /// Optional checks.
    pub checks: Checks,
    /// Most lane-ops executed.
    pub max_steps: Option<u64>,
    /// Bytes of stack a thread.
    pub stack_bytes: u32,
    /// Most nested calls.
    pub max_calls: u32,
    /// Most bytes of shared memory a block.
    pub max_shared: u32,
    /// Where device-side `malloc` takes from; without it every `malloc` gives 0.
    pub heap: Option<&'a mut Heap>,
    /// What `vprintf` and failed assertions print.
    pub print: Option<Print<'a>>,
    /// What failed assertions print instead, where it is kept apart.
    pub complain: Option<Print<'a>>,
    /// Set by another thread to make the launch end with [`FaultKind::Interrupted`].
    pub interrupt: Option<&'a AtomicBool>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            seed: 0,
            checks: Checks::default(),
            max_steps: None,
            stack_bytes: 512 << 10,
            max_calls: 4096,
            max_shared: 227 << 10,
            heap: None,
            print: None,
            complain: None,
            interrupt: None,
        }
    }
}

/// What a launch that came to its end did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Instructions executed, counted once for each lane.
    pub steps: u64,
    /// What was noticed and did not stop the launch.
    pub warnings: Vec<Fault>,
    /// Blocks that were not begun, since the launch was asked to stop; clusters where it has such.
    pub unstarted: Vec<Range<u64>>,
}

/// Executes a launch to its end.
pub fn run(launch: &Launch<'_>, memory: &mut dyn Memory, options: &mut Options<'_>) -> Result<Report, Box<Fault>> {
    machine::run(launch, memory, options)
}
