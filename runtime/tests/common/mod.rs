//! A device whose memory is a map of bytes and whose work can be held up by the test.
#![allow(dead_code, reason = "each test file uses its part")]

use hetgpu_device::{
    Caps, DeviceError, ErrorKind, HostSpan, ImageCaps, ImageDescription, ImageId, ImageObject, ImagePlace, Images,
    KernelAttributes, Launch, LoadedModule, Outcome, Queued, SyncDevice,
};
use hetgpu_runtime::{CopyRequest, FillRequest, Runtime, Settings, Shape};
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;

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
        out.copy_from_slice(self.state.lock().unwrap().bytes(at, out.len() as u64)?);
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
        Ok(LoadedModule(0))
    }

    fn unload(&self, _module: LoadedModule) {}

    fn kernel(&self, _module: LoadedModule, _kernel: FuncId) -> Result<KernelAttributes, DeviceError> {
        Ok(KernelAttributes::default())
    }

    fn launch(&self, _launch: &Launch) -> Result<Outcome, DeviceError> {
        Err(DeviceError::new(ErrorKind::LaunchFailed, "no kernels here"))
    }
}

/// A runtime with one test device and its primary context current on this thread.
pub(crate) fn runtime(memory: u64, map_granularity: u64) -> (Runtime, Arc<TestDevice>) {
    let device = TestDevice::new(memory, map_granularity);
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
