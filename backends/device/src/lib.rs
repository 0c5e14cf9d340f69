//! What a device offers to the runtime.
//!
//! A device is told *where* things go and does no planning of its own: addresses come from the runtime, the order of
//! work comes from the runtime, and every call returns when its work is done. There is no stream, no event and no
//! allocator here.
#![warn(missing_docs)]

mod caps;
mod error;

pub use caps::Caps;
pub use error::{DeviceError, ErrorKind};

/// Memory of a device, by logical address.
///
/// Addresses are the runtime's: the same on every device, unique in the process, and valid only between `map` (or
/// `share`) and `unmap`.
pub trait Device: Send + Sync {
    /// What the device is and can do.
    fn caps(&self) -> &Caps;

    /// Makes `bytes` of zeroed device memory appear at `at`. Both are multiples of `Caps::map_granularity`, and the
    /// range overlaps nothing mapped before.
    fn map(&self, at: u64, bytes: u64) -> Result<(), DeviceError>;

    /// Makes host memory appear at its own address. A kernel and the host then see each other's writes.
    ///
    /// # Safety
    /// `bytes` of memory at `host` must stay readable and writable until `unmap` of the same address has returned.
    unsafe fn share(&self, host: *mut u8, bytes: usize) -> Result<(), DeviceError>;

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
}
