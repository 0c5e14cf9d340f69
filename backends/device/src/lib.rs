//! What a device offers to the runtime.
//!
//! A device is told *where* things go and does no planning of its own: addresses come from the runtime, the order of
//! work comes from the runtime, and every call returns when its work is done. There is no stream, no event and no
//! allocator here.
#![warn(missing_docs)]

mod caps;
mod error;
mod sys;

pub use caps::Caps;
pub use error::{DeviceError, ErrorKind};
pub use sys::HostSpan;

use hetir::diag::Diagnostic;
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::sync::Arc;

/// A module that a device has loaded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LoadedModule(pub u64);

/// Memory that device-side allocation takes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heap {
    /// First address, a multiple of 16.
    pub base: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One launch of a kernel. The runtime has checked it against the device's limits and the kernel's bounds.
pub struct Launch<'a> {
    /// What `Device::load` returned.
    pub module: LoadedModule,
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
    /// All blocks are resident and may wait for each other.
    pub cooperative: bool,
    /// Zeroed memory for the grid barrier of a cooperative launch, or 0.
    pub workspace: u64,
    /// Numbers the launches of a context.
    pub grid_id: u64,
    /// For device-side allocation, if there is any.
    pub heap: Option<Heap>,
    /// Takes what the kernel prints.
    pub print: &'a mut dyn FnMut(&[u8]),
    /// Takes what failed assertions say.
    pub complain: &'a mut dyn FnMut(&[u8]),
}

/// A device: memory by logical address, and kernels.
///
/// Addresses are the runtime's: the same on every device, unique in the process, and valid only between `map` (or
/// `share`) and `unmap`.
pub trait Device: Send + Sync {
    /// What the device is and can do.
    fn caps(&self) -> &Caps;

    /// Makes `bytes` of zeroed device memory appear at `at`. Both are multiples of `Caps::map_granularity`, and the
    /// range overlaps nothing mapped before. Messages about accesses near it call it `name`.
    fn map(&self, at: u64, bytes: u64, name: &str) -> Result<(), DeviceError>;

    /// Makes host memory appear at its own address. A kernel and the host then see each other's writes.
    fn share(&self, host: HostSpan) -> Result<(), DeviceError>;

    /// Takes away what `map` or `share` put at `at`. No work that uses it may be running.
    fn unmap(&self, at: u64);

    /// Host to device.
    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError>;

    /// Device to host.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError>;

    /// Device to device. The ranges may overlap: the result is as if the source had been read first.
    fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError>;

    /// Repeats `pattern` (1, 2 or 4 bytes) `count` times.
    fn fill(&self, at: u64, pattern: &[u8], count: u64) -> Result<(), DeviceError>;

    /// Takes a verified module. `globals` has the address of each module variable, by its id; those in shared memory
    /// have none.
    fn load(&self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, DeviceError>;

    /// Forgets a module. No launch of it may be running.
    fn unload(&self, module: LoadedModule);

    /// Runs a kernel to its end. Returns what was noticed on the way and did no harm.
    fn launch(&self, launch: Launch<'_>) -> Result<Vec<Diagnostic>, DeviceError>;
}
