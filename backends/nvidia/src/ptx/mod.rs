//! Kernels of hetIR as PTX.
//!
//! A text holds one kernel and what it reaches. It is written so that NVIDIA's compiler makes of it what it would have made
//! of the text that the kernel was lifted from: the same instructions in the same order wherever PTX has them.
//!
//! **Addresses.** Variables in global memory are at the logical addresses that the request names, which are constants of the text. Functions are
//! called through the tokens that hetIR gives their addresses ([`hetir::interp::space::function_address`]), so that a token means the
//! same on every device. What addresses of other memory look like, [`Addresses`] says.
//!
//! **Parameters.** The kernel's own come first, where hetIR has them; [`Printed::hidden`] says what follows.

mod address;
mod basis;
mod call;
mod coalesce;
mod constant;
mod context;
mod copies;
mod float;
mod function;
mod image;
mod int;
mod memory;
mod module;
mod ops;
mod stop;
mod tensor;
mod text;
mod warp;

pub use basis::basis;

use hetir::diag::Span;
use hetir::entity::{FuncId, GlobalId};
use hetir::ir::Module;
use std::fmt;

/// What a text is written for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// The compute capability: (9, 0) is `sm_90`.
    pub compute: (u32, u32),
    /// With what only this architecture has: `sm_90a`.
    pub architecture_specific: bool,
    /// The newest version of PTX that is understood.
    pub isa: (u32, u32),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.compute;
        write!(f, "sm_{major}{minor}{}", if self.architecture_specific { "a" } else { "" })
    }
}

/// What addresses of shared memory, local memory and parameters are, as values that a thread holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Addresses {
    /// The hardware's. It costs nothing.
    Native,
    /// hetIR's, the same on every device: frames of a thread that moves hold them. Shared memory is then one dynamic array:
    /// a launch asks for as many bytes of dynamic shared memory as [`Printed::shared_bytes`] says.
    Logical,
}

/// Which blocks of a launch's grid run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Part {
    /// All.
    Whole,
    /// A grid within the grid: see [`Hidden::Corner`].
    Cuboid,
    /// A list, in one dimension: see [`Hidden::Blocks`].
    List,
}

/// What is to be printed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// A verified module.
    pub module: &'a Module,
    /// The kernel.
    pub kernel: FuncId,
    /// The logical addresses of the module's variables, by [`GlobalId`]; 0 for shared ones.
    pub globals: &'a [u64],
    /// For what.
    pub target: &'a Target,
    /// What addresses are.
    pub addresses: Addresses,
    /// Which blocks of the launch's grid the native one has.
    pub part: Part,
    /// No block begins once the launch is asked to stop, and each that begins says so: see [`Hidden::Stop`] and
    /// [`Hidden::Begun`].
    pub stops: bool,
}

/// A kernel as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Printed {
    /// The text.
    pub text: String,
    /// The kernel's name in it.
    pub entry: String,
    /// Parameters behind the kernel's own, and where they are.
    pub hidden: Vec<(Hidden, u32)>,
    /// Where each parameter begins, the kernel's own first.
    pub param_offsets: Vec<u32>,
    /// Bytes of all parameters.
    pub param_bytes: u32,
    /// Variables of constant memory that the text declares itself, by [`constant_name`]: before a launch they are to hold what
    /// stands at their logical addresses.
    pub constants: Vec<GlobalId>,
    /// Bytes of shared variables that the text declares; the compiler may say more, for alignment.
    pub static_shared: u32,
    /// Where the launch's dynamic shared memory begins in the native one: 0 with native addresses. See [`Self::shared_bytes`].
    pub dynamic_base: u32,
    /// Bytes of shared memory, a power of two, that the text has for itself behind the launch's dynamic ones.
    pub own_shared: u32,
}

impl Printed {
    /// The dynamic shared memory that a launch is to ask for which was asked for so many bytes of it.
    pub fn shared_bytes(&self, dynamic: u32) -> u32 {
        let end = self.dynamic_base.saturating_add(dynamic);
        match self.own_shared {
            0 => end,
            own => end.checked_next_multiple_of(own).unwrap_or(end).saturating_add(own),
        }
    }
}

/// Parameters that the kernel does not know of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hidden {
    /// 8 bytes: the address of the word that asks the launch to stop. It is read where it stands, so never 0.
    Stop,
    /// 8 bytes: the address of a `u32` for each block of the launch's grid, by number. A block that begins stores
    /// [`Self::Launch`] there. Only with [`Request::stops`].
    Begun,
    /// 4 bytes: a number that no earlier launch with the same array had.
    Launch,
    /// 8 bytes: the address of a list of blocks, each a `u32`, its number in the launch's grid (x varies fastest); or 0 where
    /// the blocks are neighbours. Only with [`Part::List`].
    Blocks,
    /// 4 bytes: of the list, the place that the native grid's first block has; without a list the number of its block.
    First,
    /// 12 bytes: the launch's block that the native grid's first one is, by dimension, each a `u32`. Only with [`Part::Cuboid`].
    Corner,
    /// 12 bytes: the launch's grid, each dimension a `u32`. Not with [`Part::Whole`].
    Grid,
    /// 8 bytes: the launch's number in its context.
    GridId,
    /// 8 bytes: the workspace of the grid barrier.
    Workspace,
    /// 4 bytes: the dynamic shared memory that the launch was asked for.
    DynamicShared,
}

impl Hidden {
    /// Its bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Stop | Self::Begun | Self::Blocks | Self::GridId | Self::Workspace => 8,
            Self::Grid | Self::Corner => 12,
            Self::Launch | Self::First | Self::DynamicShared => 4,
        }
    }
    /// Its alignment.
    pub const fn align(self) -> u32 {
        if self.bytes() == 8 { 8 } else { 4 }
    }
}

/// The name under which a text declares a variable of constant memory.
pub fn constant_name(global: GlobalId) -> String {
    format!("const_{}", global.index())
}

/// Why a kernel is not printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unprintable {
    /// What there is no PTX for.
    pub what: String,
    /// The function that has it.
    pub function: String,
    /// Where it stands in the program's text.
    pub span: Span,
}

impl fmt::Display for Unprintable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in `{}`", self.what, self.function)
    }
}

impl std::error::Error for Unprintable {}

/// Prints a kernel.
///
/// # Errors
/// What there is no PTX for on this target.
pub fn print(request: &Request<'_>) -> Result<Printed, Unprintable> {
    module::print(request)
}
