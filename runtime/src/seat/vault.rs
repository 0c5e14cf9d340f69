//! A device that only keeps what is on it: memory, images, modules and objects of a job whose device was released.
//!
//! It runs nothing. Memory that is zero takes no room. What other processes have too stays where it is, in its file.

use hetgpu_device::{
    Access, Caps, DeviceError, ErrorKind, Fetched, HeapState, HostSpan, ImageDescription, ImageId, ImageObject,
    ImagePlace, Images, KernelAttributes, Launch, LoadedModule, MemoryFile, Outcome, PhysicalId, PhysicalMemory,
    SyncDevice,
};
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes that are kept or left out together.
const CHUNK: u64 = 64 << 10;
/// Pieces of fewer bytes are kept in chunks.
const LEAST_PIECE: usize = 1 << 20;
/// Where what has no address is kept: beyond all that programs have.
const FIRST_PLACE: u64 = 1 << 62;

/// A piece that was brought as a whole.
#[derive(Clone)]
enum Piece {
    /// Where the device that it comes from has put it.
    Fetched(Fetched),
    Copied(Arc<Vec<u8>>),
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Fetched(fetched) => fetched.span().bytes() as u64,
            Self::Copied(bytes) => bytes.len() as u64,
        }
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        match self {
            // It is as long as `bytes` says.
            Self::Fetched(fetched) => _ = fetched.span().read(offset, out),
            Self::Copied(bytes) => out.copy_from_slice(&bytes[offset..offset + out.len()]),
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        match self {
            Self::Fetched(fetched) => _ = fetched.span().write(offset, data),
            Self::Copied(bytes) => Arc::make_mut(bytes)[offset..offset + data.len()].copy_from_slice(data),
        }
    }
}

/// A part of a range.
#[derive(Clone, Copy)]
struct Stretch {
    /// The start of the piece that it lies in; none where chunks have it.
    piece: Option<u64>,
    at: u64,
    /// Its place in the range.
    place: usize,
    bytes: usize,
}

#[derive(Default)]
struct State {
    /// Start and size of what is mapped.
    regions: BTreeMap<u64, u64>,
    /// What is not zero, by its place in units of `CHUNK`.
    chunks: HashMap<u64, Box<[u8]>>,
    /// What was brought in large pieces, by its address. Chunks have nothing of these.
    pieces: BTreeMap<u64, Piece>,
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

    /// A range by what has it, in order.
    fn stretches(&self, at: u64, bytes: usize) -> Vec<Stretch> {
        let (mut here, end) = (at, at + bytes as u64);
        let mut all = Vec::new();
        while here < end {
            let before = self.pieces.range(..=here).next_back();
            let around = before.filter(|(start, piece)| here - **start < piece.bytes());
            let to = match around {
                Some((&start, piece)) => start + piece.bytes(),
                None => self.pieces.range(here..end).next().map_or(end, |(&start, _)| start),
            };
            let to = to.min(end);
            let piece = around.map(|(&start, _)| start);
            all.push(Stretch { piece, at: here, place: (here - at) as usize, bytes: (to - here) as usize });
            here = to;
        }
        all
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.check(at, data.len())?;
        for Stretch { piece, at, place, bytes } in self.stretches(at, data.len()) {
            let data = &data[place..place + bytes];
            match piece.and_then(|start| Some((start, self.pieces.get_mut(&start)?))) {
                Some((start, piece)) => piece.write((at - start) as usize, data),
                None => self.write_chunks(at, data),
            }
        }
        Ok(())
    }

    fn write_chunks(&mut self, at: u64, data: &[u8]) {
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
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.check(at, out.len())?;
        for Stretch { piece, at, place, bytes } in self.stretches(at, out.len()) {
            let out = &mut out[place..place + bytes];
            match piece.and_then(|start| Some((start, self.pieces.get(&start)?))) {
                Some((start, piece)) => piece.read((at - start) as usize, out),
                None => self.read_chunks(at, out),
            }
        }
        Ok(())
    }

    fn read_chunks(&self, at: u64, out: &mut [u8]) {
        for (chunk, inside, place, count) in parts(at, out.len()) {
            let out = &mut out[place..place + count];
            match self.chunks.get(&chunk) {
                Some(kept) => out.copy_from_slice(&kept[inside..inside + count]),
                None => out.fill(0),
            }
        }
    }

    /// Whether nothing is kept for a range yet.
    fn is_empty(&self, at: u64, bytes: usize) -> bool {
        self.stretches(at, bytes).iter().all(|stretch| stretch.piece.is_none())
            && parts(at, bytes).all(|(chunk, ..)| !self.chunks.contains_key(&chunk))
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
        // Pieces lie in one region each.
        let gone: Vec<u64> = self.pieces.range(at..at + bytes).map(|(&start, _)| start).collect();
        gone.iter().for_each(|start| drop(self.pieces.remove(start)));
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
        let whole = self.lock().pieces.get(&at).filter(|piece| piece.bytes() >= out.len() as u64).cloned();
        match whole {
            // Copied by all who ask at the same time.
            Some(piece) => piece.read(0, out),
            None => self.lock().read(at, out)?,
        }
        Ok(())
    }

    fn fetch(&self, at: u64, bytes: u64) -> Result<Option<Fetched>, DeviceError> {
        match self.lock().pieces.get(&at) {
            Some(Piece::Fetched(fetched)) if fetched.span().bytes() as u64 == bytes => Ok(Some(fetched.clone())),
            _ => Ok(None),
        }
    }

    fn put(&self, at: u64, fetched: &Fetched) -> Result<(), DeviceError> {
        let bytes = fetched.span().bytes();
        let whole = bytes >= LEAST_PIECE && {
            let state = self.lock();
            state.check(at, bytes)?;
            state.is_empty(at, bytes)
        };
        if !whole {
            return self.write_from(at, fetched.span());
        }
        // Copied by all who bring something at the same time: nobody else brings this.
        let piece = if fetched.keep() {
            Piece::Fetched(fetched.clone())
        } else {
            let mut copy = vec![0; bytes];
            fetched.span().read(0, &mut copy);
            Piece::Copied(Arc::new(copy))
        };
        self.lock().pieces.insert(at, piece);
        Ok(())
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
    use hetgpu_device::{Arena, PIECE, arena_memory};

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
    fn pieces_are_kept_as_they_were_brought() {
        let arena = Arc::new(Arena::default());
        // Two pieces can be kept where they are, others are copied.
        arena.add(&arena_memory(Arena::LEAST + 2 * PIECE).unwrap().span());
        let vault = Vault::new(&Caps::default());
        let device: &dyn SyncDevice = &vault;
        let (start, bytes) = (0x10_0000_0000, 3 * PIECE + 5000);
        device.map(start, bytes, "").unwrap();
        device.map(start + bytes, 4096, "").unwrap();
        let all: Vec<u8> = (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let part = |offset: u64, count: u64| &all[offset as usize..][..count as usize];
        let bring = |offset: u64, count: u64| {
            let fetched = arena.take(count).unwrap();
            assert!(fetched.span().write(0, part(offset, count)));
            device.put(start + offset, &fetched)
        };
        for piece in 0..3 {
            bring(piece * PIECE, PIECE).unwrap();
        }
        bring(3 * PIECE, 5000).unwrap();
        let lies = |offset, count| device.fetch(start + offset, count).unwrap().is_some();
        assert_eq!([0, PIECE, 2 * PIECE].map(|offset| lies(offset, PIECE)), [true, true, false]);
        assert!(!lies(0, PIECE - 1) && !lies(3 * PIECE, 5000));
        let mut back = vec![0; bytes as usize];
        device.read(start, &mut back).unwrap();
        assert!(back == all);
        // Across their borders, and once more where something is already.
        device.write(start + PIECE - 2, &[1, 2, 3, 4]).unwrap();
        let mut some = [0; 6];
        device.read(start + PIECE - 3, &mut some).unwrap();
        assert_eq!(some[1..5], [1, 2, 3, 4]);
        assert_eq!([some[0], some[5]], [all[PIECE as usize - 3], all[PIECE as usize + 2]]);
        bring(100, PIECE).unwrap();
        device.read(start, &mut back).unwrap();
        assert!(back[100..][..PIECE as usize] == *part(100, PIECE));
        for (at, count) in [(start + 3 * PIECE, PIECE), (start + bytes - 1, 2)] {
            let beyond = arena.take(count).unwrap();
            assert!(device.put(at, &beyond).is_err(), "it is not mapped as one");
        }
        // What is gone gives its places back.
        device.unmap(start);
        let state = vault.lock();
        assert_eq!((state.pieces.len(), state.chunks.len()), (0, 0));
        drop(state);
        let two = [arena.take(1).unwrap(), arena.take(1).unwrap()];
        assert!(two.iter().all(Fetched::keep));
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
