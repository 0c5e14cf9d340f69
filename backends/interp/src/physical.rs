//! Memory apart from its addresses: files of the host's memory, which kernels reach as they reach what the host shares.

use crate::device::{Bytes, InterpDevice, State};
use crate::sys::Windows;
use hetgpu_device::{
    Access, DeviceError, ErrorKind, HostSpan, MemoryFile, PHYSICAL_GRANULARITY, PhysicalId, PhysicalMemory, SyncDevice,
};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A range whose memory is that of a file.
struct Exposed {
    file: MemoryFile,
    span: HostSpan,
    id: PhysicalId,
}

#[derive(Default)]
pub(crate) struct Files {
    physical: HashMap<PhysicalId, MemoryFile>,
    next: u64,
    /// Bytes of those that were made here, mapped or not.
    used: Arc<AtomicU64>,
    exposed: BTreeMap<u64, Exposed>,
}

fn wrong(text: String) -> DeviceError {
    DeviceError::new(ErrorKind::InvalidRequest, text)
}

fn no_room(error: std::io::Error) -> DeviceError {
    DeviceError::new(ErrorKind::OutOfMemory, format!("no memory of the host's: {error}"))
}

fn whole(value: u64) -> bool {
    value.is_multiple_of(PHYSICAL_GRANULARITY)
}

impl Files {
    fn keep(&mut self, file: MemoryFile) -> PhysicalId {
        let id = PhysicalId(self.next);
        self.next += 1;
        self.physical.insert(id, file);
        id
    }

    fn get(&self, memory: PhysicalId) -> Result<&MemoryFile, DeviceError> {
        self.physical.get(&memory).ok_or_else(|| wrong("no such physical memory".into()))
    }

    /// A range of what is exposed, if it lies there.
    pub(crate) fn exposed_part(&self, at: u64, bytes: u64) -> Option<HostSpan> {
        let (&start, exposed) = self.exposed.range(..=at).next_back()?;
        exposed.span.part(usize::try_from(at - start).ok()?, usize::try_from(bytes).ok()?)
    }

    /// What is exposed around an address is forgotten with the last that lies in it.
    pub(crate) fn cover(&mut self, at: u64, windows: &Windows) {
        let around = self.exposed.range(..=at).next_back().map(|(&start, e)| (start, start + e.file.bytes()));
        if let Some((start, _)) = around.filter(|&(start, end)| at < end && !windows.meets(start, end)) {
            self.exposed.remove(&start);
        }
    }

    /// Makes a range of memory that of a file, which has its contents.
    fn lay(&mut self, memory: &mut Bytes, at: u64, file: MemoryFile) -> Result<PhysicalId, DeviceError> {
        let span = file.span().map_err(no_room)?;
        let id = self.keep(file.clone());
        let end = at + file.bytes();
        let moved =
            memory.arena.regions().filter(|(start, region)| *start >= at && start + region.data.len() as u64 <= end);
        let moved: Vec<(u64, usize)> = moved.map(|(start, region)| (start, region.data.len())).collect();
        for (start, bytes) in moved {
            if let Some(part) = span.part((start - at) as usize, bytes) {
                memory.arena.unmap(start);
                memory.windows.open_at(start, part, Access::ReadWrite);
            }
        }
        self.exposed.insert(at, Exposed { file, span, id });
        Ok(id)
    }
}

/// Whether something lies in a range.
fn meets(memory: &Bytes, at: u64, bytes: u64) -> bool {
    let end = at.saturating_add(bytes);
    let mut regions = memory.arena.regions();
    regions.any(|(start, region)| start < end && start + region.data.len() as u64 > at) || memory.windows.meets(at, end)
}

impl PhysicalMemory for InterpDevice {
    fn create(&self, bytes: u64) -> Result<PhysicalId, DeviceError> {
        if bytes == 0 || !whole(bytes) {
            return Err(wrong(format!("physical memory of {bytes} bytes")));
        }
        let most = self.caps().memory;
        let mut state = self.state();
        if bytes > most.saturating_sub(state.files.used.load(Ordering::Relaxed)) {
            return Err(no_room(std::io::ErrorKind::OutOfMemory.into()));
        }
        let file = MemoryFile::counted(bytes, &state.files.used).map_err(no_room)?;
        Ok(state.files.keep(file))
    }

    fn destroy(&self, memory: PhysicalId) {
        self.state().files.physical.remove(&memory);
    }

    fn map(&self, memory: PhysicalId, at: u64, _name: &str) -> Result<(), DeviceError> {
        let mut state = self.state();
        let State { bytes, files, .. } = &mut *state;
        let file = files.get(memory)?;
        if meets(bytes, at, file.bytes()) {
            return Err(wrong(format!("there is memory at {at:#x} already")));
        }
        // It is counted as long as it is mapped, too.
        let span = file.span().map_err(no_room)?.keeping(file.clone());
        bytes.windows.open_at(at, span, Access::None);
        Ok(())
    }

    fn gives_contents(&self) -> bool {
        true
    }

    fn read(&self, memory: PhysicalId, offset: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.state().files.get(memory)?.read(offset, out).map_err(no_room)
    }

    fn write(&self, memory: PhysicalId, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.state().files.get(memory)?.write(offset, data).map_err(no_room)
    }

    fn allow(&self, at: u64, access: Access) -> Result<(), DeviceError> {
        match self.state().bytes.windows.allow(at, access) {
            true => Ok(()),
            false => Err(wrong(format!("no physical memory is mapped at {at:#x}"))),
        }
    }

    fn expose(&self, at: u64, bytes: u64) -> Result<PhysicalId, DeviceError> {
        let mut state = self.state();
        let State { bytes: memory, files, .. } = &mut *state;
        if !whole(at) || !whole(bytes) || !meets(memory, at, bytes) {
            return Err(wrong(format!("no memory to expose at {at:#x}")));
        }
        if let Some(known) = files.exposed.get(&at).filter(|known| known.file.bytes() == bytes) {
            let (id, file) = (known.id, known.file.clone());
            files.physical.insert(id, file);
            return Ok(id);
        }
        let file = MemoryFile::new(bytes).map_err(no_room)?;
        for (start, region) in memory.arena.regions().filter(|(start, _)| (at..at + bytes).contains(start)) {
            if region.data.iter().any(|&byte| byte != 0) {
                file.write(start - at, &region.data).map_err(no_room)?;
            }
        }
        files.lay(memory, at, file)
    }

    fn has_host_files(&self) -> bool {
        true
    }

    fn expose_as(&self, at: u64, bytes: u64, file: OwnedFd) -> Result<(), DeviceError> {
        let mut state = self.state();
        let State { bytes: memory, files, .. } = &mut *state;
        let file = MemoryFile::import(file).map_err(|error| wrong(format!("not memory of this device: {error}")))?;
        let fits = whole(at) && whole(bytes) && file.bytes() == bytes && meets(memory, at, bytes);
        if !fits || files.exposed.contains_key(&at) {
            return Err(wrong(format!("a file cannot be the memory at {at:#x}")));
        }
        let id = files.lay(memory, at, file)?;
        files.physical.remove(&id);
        Ok(())
    }

    fn export(&self, memory: PhysicalId) -> Result<OwnedFd, DeviceError> {
        let exported = self.state().files.get(memory)?.export();
        exported.map_err(|error| DeviceError::new(ErrorKind::OutOfResources, format!("no file descriptor: {error}")))
    }

    fn import(&self, file: OwnedFd) -> Result<(PhysicalId, u64), DeviceError> {
        let file = MemoryFile::import(file).map_err(|error| wrong(format!("not memory of this device: {error}")))?;
        let bytes = file.bytes();
        Ok((self.state().files.keep(file), bytes))
    }
}
