//! A device whose memory is a map of bytes and whose work can be held up by the test.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod sys;

use hetgpu_checkpoint::Digest;
use hetgpu_device::{
    Caps, DIGEST_CHUNK, DeviceError, ErrorKind, HeapState, HostSpan, ImageCaps, ImageDescription, ImageId, ImageObject,
    ImagePlace, Images, KernelAttributes, Launch, LoadedModule, Outcome, Queued, SyncDevice,
};
use hetgpu_runtime::{Attributes, Code, CopyRequest, FillRequest, LaunchRequest, Launchable, Runtime, Settings, Shape};
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

#[derive(Default)]
struct State {
    memory: BTreeMap<u64, Vec<u8>>,
    /// Calls of `map` and `unmap`: address, bytes, and whether it is mapped now.
    mappings: Vec<(u64, u64, bool)>,
    /// Fills wait while this is set.
    held: bool,
    fills: usize,
    /// Who did the last fill.
    filler: Option<ThreadId>,
    /// Blocks of kernels that have run.
    blocks: usize,
    /// Blocks take no time.
    quick: bool,
    /// Digests of memory can be had, and those of so many bytes were.
    tells_digests: bool,
    digests_told: u64,
    /// A launch goes on with further blocks, whatever its stop word says.
    stubborn: bool,
    /// So many more mappings succeed.
    mappings_left: Option<usize>,
    /// Reads wait while this is set.
    reads_held: bool,
    /// Nothing can be read.
    blind: bool,
    /// Kernels do not get ready while this is set.
    compiler_held: bool,
    /// A kernel was to be made ready.
    compiles: bool,
    modules: usize,
    heaps: Vec<HeapState>,
    images: Images,
    /// Where the next image's texels lie.
    next_image: u64,
}

/// Where images begin: no address of memory.
const FIRST_IMAGE: u64 = 1 << 62;

pub(crate) struct TestDevice {
    caps: Caps,
    state: Mutex<State>,
    changed: Condvar,
}

fn nothing_there(at: u64) -> DeviceError {
    DeviceError::new(ErrorKind::IllegalAddress, format!("nothing at {at:#x}"))
}

impl State {
    fn bytes(&mut self, at: u64, count: u64) -> Result<&mut [u8], DeviceError> {
        let (start, data) = self.memory.range_mut(..=at).next_back().ok_or_else(|| nothing_there(at))?;
        let offset = (at - start) as usize;
        data.get_mut(offset..offset + count as usize).ok_or_else(|| nothing_there(at))
    }
}

impl TestDevice {
    pub(crate) fn new(memory: u64, map_granularity: u64) -> Arc<Self> {
        let images = Some(ImageCaps { chooses_handles: true, linear: true, ..ImageCaps::default() });
        let caps = Caps { name: "test device".into(), memory, map_granularity, images, ..Caps::default() };
        Arc::new(Self { caps, state: Mutex::default(), changed: Condvar::new() })
    }

    /// From now on fills do not finish until `release`.
    pub(crate) fn hold(&self) {
        self.state.lock().unwrap().held = true;
    }

    pub(crate) fn release(&self) {
        self.state.lock().unwrap().held = false;
        self.changed.notify_all();
    }

    /// From now on kernels do not get ready until `release_compiler`.
    pub(crate) fn hold_compiler(&self) {
        self.state.lock().unwrap().compiler_held = true;
    }

    pub(crate) fn release_compiler(&self) {
        self.state.lock().unwrap().compiler_held = false;
        self.changed.notify_all();
    }

    /// Waits until somebody has a kernel made ready.
    pub(crate) fn wait_for_compiler(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !state.compiles).unwrap());
    }

    /// What is mapped, as (address, bytes).
    pub(crate) fn mapped(&self) -> Vec<(u64, u64)> {
        let state = self.state.lock().unwrap();
        state.memory.iter().map(|(&at, data)| (at, data.len() as u64)).collect()
    }

    /// The thread that began the last fill.
    pub(crate) fn filler(&self) -> Option<ThreadId> {
        self.state.lock().unwrap().filler
    }

    /// How many images there are, and how many objects over them.
    pub(crate) fn images(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.memory.range(FIRST_IMAGE..).count(), state.images.objects().len())
    }

    /// How many blocks of kernels have run.
    pub(crate) fn blocks(&self) -> usize {
        self.state.lock().unwrap().blocks
    }

    /// Waits until so many blocks have run.
    pub(crate) fn wait_for_blocks(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.blocks < count).unwrap());
    }

    /// Waits until so many fills have begun.
    pub(crate) fn wait_for_fills(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.fills < count).unwrap());
    }

    /// Digests of memory can be had from now on.
    pub(crate) fn tell_digests(&self) {
        self.state.lock().unwrap().tells_digests = true;
    }

    /// Of so many bytes digests were told.
    pub(crate) fn digests_told(&self) -> u64 {
        self.state.lock().unwrap().digests_told
    }

    /// Reads do not finish while that is so.
    pub(crate) fn hold_reads(&self, held: bool) {
        self.state.lock().unwrap().reads_held = held;
        self.changed.notify_all();
    }

    /// Blocks take no time from now on.
    pub(crate) fn be_quick(&self) {
        self.state.lock().unwrap().quick = true;
    }

    /// Launches do not stop from now on.
    pub(crate) fn be_stubborn(&self) {
        self.state.lock().unwrap().stubborn = true;
    }

    /// Fails after so many mappings.
    pub(crate) fn fail_after(&self, mappings: usize) {
        self.state.lock().unwrap().mappings_left = Some(mappings);
    }

    /// Whether memory can be read from now on.
    pub(crate) fn be_blind(&self, blind: bool) {
        self.state.lock().unwrap().blind = blind;
    }

    /// How many modules are loaded.
    pub(crate) fn modules(&self) -> usize {
        self.state.lock().unwrap().modules
    }

    /// Bytes, whatever the runtime thinks of it.
    pub(crate) fn peek(&self, at: u64, count: u64) -> Option<Vec<u8>> {
        self.state.lock().unwrap().bytes(at, count).ok().map(|bytes| bytes.to_vec())
    }

    /// Writes bytes, whatever the runtime thinks of it.
    pub(crate) fn poke(&self, at: u64, data: &[u8]) {
        self.state.lock().unwrap().bytes(at, data.len() as u64).unwrap().copy_from_slice(data);
    }

    /// How many fills have begun.
    pub(crate) fn fills(&self) -> usize {
        self.state.lock().unwrap().fills
    }
}

impl SyncDevice for TestDevice {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn map(&self, at: u64, bytes: u64, _name: &str) -> Result<(), DeviceError> {
        let granularity = self.caps.map_granularity;
        assert!(at.is_multiple_of(granularity) && bytes.is_multiple_of(granularity), "{bytes:#x} at {at:#x}");
        let mut state = self.state.lock().unwrap();
        assert!(state.bytes(at, 1).is_err(), "mapped twice");
        match &mut state.mappings_left {
            Some(0) => return Err(DeviceError::new(ErrorKind::OutOfMemory, "no more of this")),
            Some(left) => *left -= 1,
            None => {}
        }
        state.memory.insert(at, vec![0; bytes as usize]);
        Ok(())
    }

    fn share(&self, _host: HostSpan) -> Result<(), DeviceError> {
        Err(DeviceError::new(ErrorKind::NotSupported, "no shared memory"))
    }

    fn unmap(&self, at: u64) {
        assert!(self.state.lock().unwrap().memory.remove(&at).is_some(), "{at:#x} is not mapped");
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.state.lock().unwrap().bytes(at, data.len() as u64)?.copy_from_slice(data);
        Ok(())
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let state = self.state.lock().unwrap();
        let mut state = self.changed.wait_while(state, |state| state.reads_held).unwrap();
        if state.blind {
            return Err(DeviceError::new(ErrorKind::LaunchFailed, "it cannot be read"));
        }
        out.copy_from_slice(state.bytes(at, out.len() as u64)?);
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        let mut state = self.state.lock().unwrap();
        let data = state.bytes(from, bytes)?.to_vec();
        state.bytes(to, bytes)?.copy_from_slice(&data);
        Ok(())
    }

    fn fill(&self, at: u64, pattern: &[u8], count: u64) -> Result<(), DeviceError> {
        let mut state = self.state.lock().unwrap();
        state.fills += 1;
        state.filler = Some(std::thread::current().id());
        self.changed.notify_all();
        while state.held {
            state = self.changed.wait(state).unwrap();
        }
        let bytes = count * pattern.len() as u64;
        state.bytes(at, bytes)?.copy_from_slice(&pattern.repeat(count as usize));
        Ok(())
    }

    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        let mut state = self.state.lock().unwrap();
        let State { images, memory, next_image, .. } = &mut *state;
        images.create(description, |bytes| {
            let at = FIRST_IMAGE + *next_image;
            *next_image += bytes + 1;
            memory.insert(at, vec![0; bytes as usize]);
            Ok(at)
        })
    }

    fn destroy_image(&self, image: ImageId) {
        let mut state = self.state.lock().unwrap();
        let at = state.images.destroy(image).expect("an image is destroyed once");
        assert!(state.memory.remove(&at).is_some());
    }

    fn write_texels(&self, to: ImagePlace, data: &[u8]) -> Result<(), DeviceError> {
        let at = self.state.lock().unwrap().images.address(to, data.len())?;
        self.write(at, data)
    }

    fn read_texels(&self, from: ImagePlace, out: &mut [u8]) -> Result<(), DeviceError> {
        let at = self.state.lock().unwrap().images.address(from, out.len())?;
        self.read(at, out)
    }

    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        self.state.lock().unwrap().images.bind(handle, object)
    }

    fn unbind(&self, handle: u64) {
        self.state.lock().unwrap().images.unbind(handle);
    }

    fn load(&self, _module: &Arc<Module>, _globals: &[u64]) -> Result<LoadedModule, DeviceError> {
        self.state.lock().unwrap().modules += 1;
        Ok(LoadedModule(0))
    }

    fn unload(&self, _module: LoadedModule) {
        self.state.lock().unwrap().modules -= 1;
    }

    fn heaps(&self) -> Vec<HeapState> {
        self.state.lock().unwrap().heaps.clone()
    }

    fn set_heap(&self, state: &HeapState) {
        self.state.lock().unwrap().heaps.push(state.clone());
    }

    fn kernel(&self, _module: LoadedModule, _kernel: FuncId) -> Result<KernelAttributes, DeviceError> {
        Ok(KernelAttributes::default())
    }

    fn prepare(&self, _module: LoadedModule, _kernel: FuncId, _block: [u32; 3]) -> Result<(), DeviceError> {
        let mut state = self.state.lock().unwrap();
        state.compiles = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| state.compiler_held).unwrap());
        Ok(())
    }

    fn digests(&self, at: u64, bytes: u64) -> Result<Option<Vec<[u8; 32]>>, DeviceError> {
        let mut state = self.state.lock().unwrap();
        if !state.tells_digests || !bytes.is_multiple_of(DIGEST_CHUNK) {
            return Ok(None);
        }
        state.digests_told += bytes;
        let chunks = (at..at + bytes).step_by(DIGEST_CHUNK as usize);
        let told = chunks.map(|at| Ok(Digest::of(state.bytes(at, DIGEST_CHUNK)?).0));
        told.collect::<Result<_, _>>().map(Some)
    }

    fn known_params(&self, _module: LoadedModule, _kernel: FuncId) -> Option<(Vec<(u32, u32)>, u32)> {
        Some((vec![(0, 8)], 8))
    }

    /// Each block adds 1 to its byte of the buffer that is the first parameter, and takes a while.
    fn launch(&self, launch: &Launch) -> Result<Outcome, DeviceError> {
        let buffer = launch.params.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).unwrap_or_default();
        let grid: u64 = launch.grid.iter().map(|&blocks| u64::from(blocks)).product();
        let count = launch.blocks.count(grid);
        for n in 0..count {
            let mut state = self.state.lock().unwrap();
            let stop = launch.stop != 0 && state.bytes(launch.stop, 4)? != [0; 4];
            if stop && !state.stubborn {
                return Ok(Outcome::of(launch.blocks.between(n..count)));
            }
            let byte = &mut state.bytes(buffer + launch.blocks.nth(n), 1)?[0];
            *byte = byte.wrapping_add(1);
            state.blocks += 1;
            let quick = state.quick;
            drop(state);
            self.changed.notify_all();
            if !quick {
                std::thread::sleep(BLOCK);
            }
        }
        Ok(Outcome::Finished)
    }
}

/// How long a block takes.
pub(crate) const BLOCK: Duration = Duration::from_micros(500);

/// A kernel that adds 1 to a byte of a buffer in each block, on the test device.
pub(crate) fn kernel(runtime: &Runtime) -> Launchable {
    let text = ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry touch(.param .u64 p) { ret; }\n";
    let code = Code::from_text(text.to_owned(), "touch.ptx").unwrap();
    let module = runtime.load_module(&code).unwrap();
    Launchable::Function(runtime.function(module, "touch").unwrap())
}

pub(crate) fn touch(buffer: u64, blocks: u32) -> LaunchRequest {
    LaunchRequest {
        grid: [blocks, 1, 1],
        block: [1; 3],
        cluster: [1; 3],
        dynamic_shared: 0,
        cooperative: false,
        params: buffer.to_le_bytes().into(),
        attributes: Attributes::default(),
    }
}

/// A runtime with a test device that can stop kernels and works on several queues.
pub(crate) fn stopping_runtime() -> (Runtime, Arc<TestDevice>) {
    let device = stopping_device();
    let (settings, _) = Settings::read(|_| None);
    let runtime = Runtime::new(settings, vec![Arc::new(Queued::from(device.clone()))]);
    enter(&runtime);
    (runtime, device)
}

pub(crate) fn stopping_device() -> Arc<TestDevice> {
    let images = Some(ImageCaps { chooses_handles: true, linear: true, ..ImageCaps::default() });
    let caps = Caps {
        name: "stopping device".into(),
        memory: 1 << 30,
        map_granularity: 1,
        concurrent_queues: 4,
        suspends: true,
        images,
        ..Caps::default()
    };
    Arc::new(TestDevice { caps, state: Mutex::default(), changed: Condvar::new() })
}

/// A runtime with one test device and its primary context current on this thread.
pub(crate) fn runtime(memory: u64, map_granularity: u64) -> (Runtime, Arc<TestDevice>) {
    let device = TestDevice::new(memory, map_granularity);
    let (settings, _) = Settings::read(|_| None);
    let runtime = Runtime::new(settings, vec![Arc::new(Queued::from(device.clone()))]);
    enter(&runtime);
    (runtime, device)
}

pub(crate) fn swift_device() -> Arc<TestDevice> {
    let mut caps = stopping_device().caps.clone();
    caps.asynchronous = true;
    Arc::new(TestDevice { caps, state: Mutex::default(), changed: Condvar::new() })
}

/// A runtime with a test device that works on its own: it is handed what is short.
pub(crate) fn swift_runtime() -> (Runtime, Arc<TestDevice>) {
    let device = swift_device();
    let (settings, _) = Settings::read(|_| None);
    let runtime = Runtime::new(settings, vec![Arc::new(Queued::from(device.clone()))]);
    enter(&runtime);
    (runtime, device)
}

/// The same with a device that works on several queues at once.
pub(crate) fn wide_runtime(concurrent_queues: u32) -> (Runtime, Arc<TestDevice>) {
    let caps =
        Caps { name: "wide device".into(), memory: 1 << 30, map_granularity: 1, concurrent_queues, ..Caps::default() };
    let device = Arc::new(TestDevice { caps, state: Mutex::default(), changed: Condvar::new() });
    let (settings, _) = Settings::read(|_| None);
    let runtime = Runtime::new(settings, vec![Arc::new(Queued::from(device.clone()))]);
    enter(&runtime);
    (runtime, device)
}

/// Makes the primary context current on this thread.
pub(crate) fn enter(runtime: &Runtime) {
    let context = runtime.retain_primary(0).unwrap();
    runtime.set_current(Some(context)).unwrap();
}

pub(crate) fn fill(at: u64, value: u8, count: u64) -> FillRequest {
    FillRequest { at, pattern: vec![value], count, rows: 1, pitch: 0 }
}

pub(crate) fn copy(to: u64, from: u64, bytes: u64) -> CopyRequest {
    CopyRequest { to, to_device: true, from, from_device: true, shape: Shape::line(bytes) }
}
