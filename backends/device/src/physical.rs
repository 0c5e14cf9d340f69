use crate::{DeviceError, ErrorKind};
use std::os::fd::OwnedFd;

/// Memory of a device without an address, until it is mapped at one or several.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PhysicalId(pub u64);

/// What may be done with mapped physical memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Access {
    /// Every access is a fault.
    #[default]
    None,
    /// Writes are faults.
    Read,
    /// Anything.
    ReadWrite,
}

/// Memory apart from its addresses, for devices with `Caps::physical`. Sizes and addresses are multiples of
/// [`PHYSICAL_GRANULARITY`].
pub trait PhysicalMemory {
    /// So many zeroed bytes.
    fn create(&self, bytes: u64) -> Result<PhysicalId, DeviceError>;

    /// The id means nothing from here on. The memory goes with its last mapping.
    fn destroy(&self, memory: PhysicalId);

    /// Makes all of the memory appear at `at`, with [`Access::None`]. It may appear at several addresses; what is
    /// written at one is read at the others. `Device::unmap` takes it away.
    fn map(&self, memory: PhysicalId, at: u64, name: &str) -> Result<(), DeviceError>;

    /// Whether contents can be read and written by `read` and `write`.
    fn gives_contents(&self) -> bool {
        false
    }

    /// Reads contents, mapped or not.
    fn read(&self, memory: PhysicalId, offset: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let _ = (memory, offset, out);
        Err(no_contents())
    }

    /// Writes contents, mapped or not.
    fn write(&self, memory: PhysicalId, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let _ = (memory, offset, data);
        Err(no_contents())
    }

    /// What may be done with what `map` put at `at`.
    fn allow(&self, at: u64, access: Access) -> Result<(), DeviceError>;

    /// Makes physical memory of the range that holds what `Device::map` put there, which stays as it is at its address.
    /// A range that was exposed before keeps its memory. No work that uses it may be running.
    fn expose(&self, at: u64, bytes: u64) -> Result<PhysicalId, DeviceError>;

    /// The file that stands for what `expose` gives, of which nothing else is kept.
    fn expose_file(&self, at: u64, bytes: u64) -> Result<OwnedFd, DeviceError> {
        let memory = self.expose(at, bytes)?;
        let file = self.export(memory);
        self.destroy(memory);
        file
    }

    /// Whether the files that stand for memory are those of [`MemoryFile`](crate::MemoryFile): whoever else has such
    /// takes them over, with what is in them.
    fn has_host_files(&self) -> bool {
        false
    }

    /// The same as `expose`, with memory that is there already: from here on the range holds what the file holds, and what it held
    /// is gone. The file is as long as the range, and what `Device::map` puts there later is of it too.
    fn expose_as(&self, at: u64, bytes: u64, file: OwnedFd) -> Result<(), DeviceError> {
        let _ = (at, bytes, file);
        Err(DeviceError::new(ErrorKind::NotSupported, "memory cannot become that of a file"))
    }

    /// A file that stands for the memory, also in other processes.
    fn export(&self, memory: PhysicalId) -> Result<OwnedFd, DeviceError>;

    /// The memory that a file of a device of this kind stands for, and its size. It does not count as memory in use.
    fn import(&self, file: OwnedFd) -> Result<(PhysicalId, u64), DeviceError>;

    /// The same of a file whose size is known, which not every device finds out.
    fn import_known(&self, file: OwnedFd, bytes: u64) -> Result<PhysicalId, DeviceError> {
        let (memory, found) = self.import(file)?;
        if found == bytes {
            return Ok(memory);
        }
        self.destroy(memory);
        let message = format!("a file of {found} bytes of memory, of which {bytes} are expected");
        Err(DeviceError::new(ErrorKind::InvalidRequest, message))
    }
}

fn no_contents() -> DeviceError {
    DeviceError::new(ErrorKind::NotSupported, "physical memory is reached by its mappings alone")
}

/// The unit of physical memory.
pub const PHYSICAL_GRANULARITY: u64 = 2 << 20;
