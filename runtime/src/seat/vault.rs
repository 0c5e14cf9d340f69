//! A device that only keeps what is on it: memory, images, modules and objects of a job whose device was released.
//!
//! It runs nothing. Memory that is zero takes no room. What other processes have too stays where it is, in its file.

use hetgpu_device::{
    Access, Caps, DeviceError, ErrorKind, HeapState, HostSpan, ImageDescription, ImageId, ImageObject, ImagePlace,
    Images, KernelAttributes, Launch, LoadedModule, MemoryFile, Outcome, PhysicalId, PhysicalMemory, SyncDevice,
};
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes that are kept or left out together.
const CHUNK: u64 = 64 << 10;
/// Where what has no address is kept: beyond all that programs have.
const FIRST_PLACE: u64 = 1 << 62;

#[derive(Default)]
struct State {
    /// Start and size of what is mapped.
    regions: BTreeMap<u64, u64>,
    /// What is not zero, by its place in units of `CHUNK`.
    chunks: HashMap<u64, Box<[u8]>>,
    images: Images,
    /// Place and bytes of physical memory.
    physical: HashMap<PhysicalId, (u64, u64)>,
    /// Physical memory that other processes have too.
    files: HashMap<PhysicalId, MemoryFile>,
    /// Ranges whose memory is that of a file, and what it is called.
    exposed: BTreeMap<u64, (PhysicalId, MemoryFile)>,
    /// Where the next thing without an address goes.
    next_place: u64,
    next_module: u64,
    heaps: Vec<HeapState>,
}

/// Looks like the device that it stands for.
pub(crate) struct Vault {
    caps: Caps,
    state: Mutex<State>,
}

impl Vault {
    pub(crate) fn new(of: &Caps) -> Self {
        Self { caps: of.clone(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn nothing(at: u64) -> DeviceError {
    DeviceError::new(ErrorKind::IllegalAddress, format!("nothing is kept for {at:#x}"))
}

fn runs_nothing() -> DeviceError {
    DeviceError::new(ErrorKind::NotSupported, "a job whose device was released runs nothing")
}

/// The parts of a range that lie in one chunk each: chunk, place in it, place in the range, bytes.
fn parts(at: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let (here, left) = (at + done as u64, bytes - done);
        let inside = here % CHUNK;
        let count = left.min((CHUNK - inside) as usize);
        let part = (here / CHUNK, inside as usize, done, count);
        done += count;
        (count > 0).then_some(part)
    })
}

impl State {
    fn check(&self, at: u64, bytes: usize) -> Result<(), DeviceError> {
        let around = self.regions.range(..=at).next_back();
        let fits = around.is_some_and(|(&start, &length)| {
            let offset = at - start;
            offset <= length && length - offset >= bytes as u64
        });
        if fits { Ok(()) } else { Err(nothing(at)) }
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.check(at, data.len())?;
        for (chunk, inside, place, count) in parts(at, data.len()) {
            let data = &data[place..place + count];
            if let Some(kept) = self.chunks.get_mut(&chunk) {
                kept[inside..inside + count].copy_from_slice(data);
            } else if data.iter().any(|&byte| byte != 0) {
                let mut kept = vec![0; CHUNK as usize].into_boxed_slice();
                kept[inside..inside + count].copy_from_slice(data);
                self.chunks.insert(chunk, kept);
            }
        }
        Ok(())
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.check(at, out.len())?;
        for (chunk, inside, place, count) in parts(at, out.len()) {
            let out = &mut out[place..place + count];
            match self.chunks.get(&chunk) {
                Some(kept) => out.copy_from_slice(&kept[inside..inside + count]),
                None => out.fill(0),
            }
        }
        Ok(())
    }

    fn inside(&self, memory: PhysicalId, offset: u64) -> Result<u64, DeviceError> {
        let found = self.physical.get(&memory).filter(|(_, bytes)| offset <= *bytes);
        found.map(|(at, _)| at + offset).ok_or_else(|| nothing(offset))
    }

    fn keep(&mut self, file: MemoryFile) -> PhysicalId {
        let id = PhysicalId(FIRST_PLACE + self.next_place);
        self.next_place += CHUNK;
        self.files.insert(id, file);
        id
    }

    fn forget(&mut self, at: u64) {
        let Some(bytes) = self.regions.remove(&at) else { return };
        for (chunk, inside, _, count) in parts(at, bytes as usize) {
            let gone = match self.chunks.get_mut(&chunk) {
                Some(kept) => {
                    kept[inside..inside + count].fill(0);
                    kept.iter().all(|&byte| byte == 0)
                }
                None => false,
            };
            if gone {
                self.chunks.remove(&chunk);
            }
        }
    }
}

/// Room for what has no address.
fn place(regions: &mut BTreeMap<u64, u64>, next: &mut u64, bytes: u64) -> u64 {
    let at = FIRST_PLACE + *next;
    *next += bytes.next_multiple_of(CHUNK) + CHUNK;
    regions.insert(at, bytes);
    at
}

fn shares_nothing() -> DeviceError {
    DeviceError::new(ErrorKind::NotSupported, "a job whose device was released shares no memory")
}

impl PhysicalMemory for Vault {
    fn create(&self, bytes: u64) -> Result<PhysicalId, DeviceError> {
        let mut state = self.lock();
        let State { regions, next_place, physical, .. } = &mut *state;
        let at = place(regions, next_place, bytes);
        physical.insert(PhysicalId(at), (at, bytes));
        Ok(PhysicalId(at))
    }

    fn destroy(&self, memory: PhysicalId) {
        let mut state = self.lock();
        state.files.remove(&memory);
        if let Some((at, _)) = state.physical.remove(&memory) {
            state.forget(at);
        }
    }

    fn map(&self, _memory: PhysicalId, _at: u64, _name: &str) -> Result<(), DeviceError> {
        // Nobody reaches it by an address.
        Ok(())
    }

    fn allow(&self, _at: u64, _access: Access) -> Result<(), DeviceError> {
        Ok(())
    }

    fn gives_contents(&self) -> bool {
        true
    }

    fn read(&self, memory: PhysicalId, offset: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let state = self.lock();
        if let Some(file) = state.files.get(&memory) {
            return file.read(offset, out).map_err(|_| nothing(offset));
        }
        state.read(state.inside(memory, offset)?, out)
    }

    fn write(&self, memory: PhysicalId, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let mut state = self.lock();
        if let Some(file) = state.files.get(&memory) {
            return file.write(offset, data).map_err(|_| nothing(offset));
        }
        let at = state.inside(memory, offset)?;
        state.write(at, data)
    }

    fn expose(&self, at: u64, bytes: u64) -> Result<PhysicalId, DeviceError> {
        let mut state = self.lock();
        let known = state.exposed.get(&at).filter(|(_, file)| file.bytes() == bytes).cloned();
        let (id, file) = known.ok_or_else(shares_nothing)?;
        state.files.insert(id, file);
        Ok(id)
    }

    fn has_host_files(&self) -> bool {
        true
    }

    fn expose_as(&self, at: u64, _bytes: u64, file: OwnedFd) -> Result<(), DeviceError> {
        let file = MemoryFile::import(file).map_err(|_| shares_nothing())?;
        let mut state = self.lock();
        let id = state.keep(file);
        let file = state.files.remove(&id).ok_or_else(shares_nothing)?;
        state.exposed.insert(at, (id, file));
        Ok(())
    }

    fn export(&self, memory: PhysicalId) -> Result<OwnedFd, DeviceError> {
        let file = self.lock().files.get(&memory).map(MemoryFile::export);
        file.and_then(Result::ok).ok_or_else(shares_nothing)
    }

    fn import(&self, file: OwnedFd) -> Result<(PhysicalId, u64), DeviceError> {
        let file = MemoryFile::import(file).map_err(|_| shares_nothing())?;
        let bytes = file.bytes();
        Ok((self.lock().keep(file), bytes))
    }
}

impl SyncDevice for Vault {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn map(&self, at: u64, bytes: u64, _name: &str) -> Result<(), DeviceError> {
        self.lock().regions.insert(at, bytes);
        Ok(())
    }

    fn share(&self, _host: HostSpan) -> Result<(), DeviceError> {
        // It stays where it is.
        Ok(())
    }

    fn physical(&self) -> Option<&dyn PhysicalMemory> {
        Some(self)
    }

    fn unmap(&self, at: u64) {
        self.lock().forget(at);
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.lock().write(at, data)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.lock().read(at, out)
    }

    fn copy(&self, _to: u64, _from: u64, _bytes: u64) -> Result<(), DeviceError> {
        Err(runs_nothing())
    }

    fn fill(&self, _at: u64, _pattern: &[u8], _count: u64) -> Result<(), DeviceError> {
        Err(runs_nothing())
    }

    fn load(&self, _module: &Arc<Module>, _globals: &[u64]) -> Result<LoadedModule, DeviceError> {
        let mut state = self.lock();
        state.next_module += 1;
        Ok(LoadedModule(state.next_module))
    }

    fn unload(&self, _module: LoadedModule) {}

    fn kernel(&self, _module: LoadedModule, _kernel: FuncId) -> Result<KernelAttributes, DeviceError> {
        Err(runs_nothing())
    }

    fn launch(&self, _launch: &Launch) -> Result<Outcome, DeviceError> {
        Err(runs_nothing())
    }

    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        let mut state = self.lock();
        let State { images, regions, next_place, .. } = &mut *state;
        images.create(description, |bytes| Ok(place(regions, next_place, bytes)))
    }

    fn destroy_image(&self, image: ImageId) {
        let mut state = self.lock();
        if let Some(at) = state.images.destroy(image) {
            state.forget(at);
        }
    }

    fn write_texels(&self, to: ImagePlace, data: &[u8]) -> Result<(), DeviceError> {
        let mut state = self.lock();
        let at = state.images.address(to, data.len())?;
        state.write(at, data)
    }

    fn read_texels(&self, from: ImagePlace, out: &mut [u8]) -> Result<(), DeviceError> {
        let state = self.lock();
        let at = state.images.address(from, out.len())?;
        state.read(at, out)
    }

    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        self.lock().images.bind(handle, object)
    }

    fn unbind(&self, handle: u64) {
        self.lock().images.unbind(handle);
    }

    fn heaps(&self) -> Vec<HeapState> {
        self.lock().heaps.clone()
    }

    fn set_heap(&self, state: &HeapState) {
        self.lock().heaps.push(state.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_takes_no_room_and_what_is_gone_gives_it_back() {
        let vault = Vault::new(&Caps::default());
        let device: &dyn SyncDevice = &vault;
        let at = 0x10_0000_0000 + 0x200;
        device.map(at, 3 * CHUNK, "").unwrap();
        device.map(at + 3 * CHUNK, 100, "").unwrap();
        device.write(at, &vec![0; 3 * CHUNK as usize]).unwrap();
        assert_eq!(vault.lock().chunks.len(), 0);
        let data: Vec<u8> = (0..2 * CHUNK).map(|n| n as u8 | 1).collect();
        device.write(at + 1000, &data).unwrap();
        device.write(at + 3 * CHUNK, &[7; 100]).unwrap();
        let mut back = vec![9; 3 * CHUNK as usize];
        device.read(at, &mut back).unwrap();
        assert!(back[..1000].iter().all(|&byte| byte == 0) && back[1000..][..data.len()] == data);
        assert!(device.read(at, &mut vec![0; 3 * CHUNK as usize + 1]).is_err() && device.write(at - 1, &[1]).is_err());
        device.unmap(at);
        let mut rest = [0; 100];
        device.read(at + 3 * CHUNK, &mut rest).unwrap();
        assert_eq!((rest, vault.lock().chunks.len()), ([7; 100], 1));
        device.unmap(at + 3 * CHUNK);
        assert_eq!(vault.lock().chunks.len(), 0);
    }

    #[test]
    fn memory_apart_from_its_addresses_is_kept_too() {
        let vault = Vault::new(&Caps::default());
        let physical: &dyn PhysicalMemory = &vault;
        let (one, two) = (physical.create(2 * CHUNK).unwrap(), physical.create(CHUNK).unwrap());
        physical.map(one, 0x10_0000_0000, "").unwrap();
        physical.write(one, CHUNK - 1, &[1, 2]).unwrap();
        physical.write(two, 0, &[3]).unwrap();
        let mut out = [9; 3];
        physical.read(one, CHUNK - 1, &mut out).unwrap();
        assert_eq!(out, [1, 2, 0]);
        assert!(
            physical.write(one, 2 * CHUNK - 1, &[1, 1]).is_err() && physical.read(two, CHUNK + 1, &mut out).is_err()
        );
        physical.destroy(one);
        assert!(physical.read(one, 0, &mut out).is_err());
        physical.read(two, 0, &mut out).unwrap();
        assert_eq!((out, vault.lock().chunks.len()), ([3, 0, 0], 1));
    }
}
