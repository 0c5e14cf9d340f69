//! Memory that comes in as a file: what another program, or another part of this one, has exported.

use crate::handle::{Handle, Kind};
use crate::{Error, Result, Runtime};
use hetgpu_device::{Device, PhysicalId};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Memory behind a file, at no address yet.
pub struct ExternalMemory {
    device: usize,
    home: Arc<dyn Device>,
    id: PhysicalId,
    /// What the file holds, and what the program was told of it.
    total: u64,
    bytes: u64,
}

impl Kind for ExternalMemory {
    const TAG: u8 = 0x59;
    const NAME: &'static str = "external memory";
}

impl Drop for ExternalMemory {
    fn drop(&mut self) {
        if let Some(physical) = self.home.physical() {
            physical.destroy(self.id);
        }
    }
}

impl Runtime {
    /// The memory that a file stands for, of which the program was told that it has so many bytes.
    pub fn import_external(&self, file: OwnedFd, bytes: u64) -> Result<Handle<ExternalMemory>> {
        let session = self.session()?;
        let (device, home) = (session.device.index, session.device.device.clone());
        let none = || Error::NotSupported(format!("{} has no memory apart from its addresses", home.caps().name));
        let imported = home.physical().ok_or_else(none)?.import(file);
        let (id, total) = imported.map_err(|_| Error::InvalidHandle("file of device memory"))?;
        let memory = ExternalMemory { device, home, id, total, bytes };
        if bytes == 0 || bytes > total {
            return Err(Error::invalid(format!("{bytes} bytes of memory that has {total}")));
        }
        Ok(self.external.insert(Arc::new(memory)))
    }

    /// What is mapped stays until it is freed.
    pub fn destroy_external(&self, handle: Handle<ExternalMemory>) -> Result<()> {
        self.external.remove(handle).map(drop)
    }

    /// Makes a part of the memory appear at an address, where it stays until it is freed.
    pub fn map_external(&self, handle: Handle<ExternalMemory>, offset: u64, bytes: u64) -> Result<u64> {
        let memory = self.external.get(handle)?;
        let session = self.session()?;
        if bytes == 0 || offset.checked_add(bytes).is_none_or(|end| end > memory.bytes) {
            return Err(Error::invalid(format!("{bytes} bytes at {offset} of external memory of {}", memory.bytes)));
        }
        self.place_part(memory.device, session.id, memory.id, memory.total, (offset, bytes))
    }
}
