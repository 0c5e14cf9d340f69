use crate::physical::Files;
use crate::sys::Windows;
use crate::turns::{Held, Turns};
use hetgpu_device::{
    Access, Caps, DeviceError, ErrorKind, HeapState, HostSpan, ImageCaps, ImageDescription, ImageId, ImageObject,
    ImagePlace, Images, KernelAttributes, Launch, LoadedModule, Outcome, SyncDevice, refuse_machine_code,
};
use hetir::diag::Severity;
use hetir::entity::FuncId;
use hetir::interp::{self, Arena, Checks, Heap, Memory, MemoryFault, Program};
use hetir::ir::Module;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// How kernels are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Chooses among the orders in which threads may run.
    pub seed: u64,
    /// Report races and reads of memory that nothing has written.
    pub check: bool,
    /// The compute capability that programs are told; none for the device's own.
    pub compute: Option<(u32, u32)>,
}

/// Device memory and the host memory beside it, as the interpreter sees them.
#[derive(Default)]
pub(crate) struct Bytes {
    pub(crate) arena: Arena,
    pub(crate) windows: Windows,
    /// Where the next image lies.
    next_image: u64,
}

/// Where images lie: beyond the addresses that processors have.
const FIRST_IMAGE: u64 = 0xff00_0000_0000_0000;
/// Between two images.
const IMAGE_GAP: u64 = 1 << 20;

impl Memory for Bytes {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        match self.arena.read(address, out) {
            Err(_) if self.windows.read(address, out) => Ok(()),
            other => other,
        }
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        match self.arena.write(address, data) {
            Err(_) if self.windows.write(address, data) => Ok(()),
            other => other,
        }
    }

    fn bytes(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        self.arena.bytes(address, len)
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) bytes: Bytes,
    pub(crate) files: Files,
    modules: HashMap<LoadedModule, Arc<Program>>,
    next_module: u64,
    heaps: HashMap<u64, Arc<Mutex<Heap>>>,
    images: Images,
}

/// The memory while a kernel runs: what the host does meanwhile happens between the turns of blocks, so that a kernel may
/// wait for the host.
impl Memory for Held<'_, State> {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        self.value().bytes.read(address, out)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        self.value().bytes.write(address, data)
    }

    fn bytes(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        self.value().bytes.bytes(address, len)
    }

    fn pause(&mut self) {
        Held::pause(self);
    }
}

/// The interpreter with its memory.
pub struct InterpDevice {
    caps: Caps,
    options: Options,
    state: Turns<State>,
    /// Held by the launch that runs.
    running: Mutex<()>,
}

impl InterpDevice {
    /// What a device with `memory` bytes will be, without making it.
    pub fn describe(memory: u64, options: &Options) -> Caps {
        Caps {
            name: "hetGPU interpreter".into(),
            uuid: *b"hetgpu-interp-00",
            compute: options.compute.unwrap_or((9, 0)),
            memory,
            shares_host_memory: true,
            physical: true,
            images: Some(ImageCaps { chooses_handles: true, linear: true, multisample: true, ..ImageCaps::default() }),
            survives_faults: true,
            suspends: true,
            cooperative: true,
            cluster_blocks: 16,
            // Programs size their grids by this; more blocks than that only cost time here.
            multiprocessors: 4,
            ..Caps::default()
        }
    }

    /// A device with `memory` bytes.
    pub fn new(memory: u64, options: Options) -> Self {
        let caps = Self::describe(memory, &options);
        Self { caps, options, state: Turns::default(), running: Mutex::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn loaded(&self, module: LoadedModule) -> Result<Arc<Program>, DeviceError> {
        let loaded = self.state().modules.get(&module).cloned();
        loaded.ok_or_else(|| DeviceError::new(ErrorKind::InvalidImage, "the module is not loaded"))
    }
}

fn no_memory(fault: MemoryFault) -> DeviceError {
    DeviceError::new(ErrorKind::IllegalAddress, fault.to_string())
}

fn too_large(bytes: u64) -> DeviceError {
    DeviceError::new(ErrorKind::OutOfMemory, format!("{bytes} bytes do not fit the host's memory"))
}

/// Zeroed bytes, or an error where the host has no room for them.
fn zeroed(bytes: u64) -> Result<Vec<u8>, DeviceError> {
    let count = usize::try_from(bytes).map_err(|_| too_large(bytes))?;
    // Asked first, because `vec!` ends the process where it fails; `vec!` then gets pages that are zero without being
    // touched.
    Vec::<u8>::new().try_reserve_exact(count).map_err(|_| too_large(bytes))?;
    Ok(vec![0; count])
}

impl SyncDevice for InterpDevice {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn map(&self, at: u64, bytes: u64, name: &str) -> Result<(), DeviceError> {
        if bytes > self.caps.memory {
            return Err(too_large(bytes));
        }
        let mut state = self.state();
        let State { bytes: memory, files, .. } = &mut *state;
        let end = at.saturating_add(bytes);
        if memory.windows.meets(at, end) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("there is memory at {at:#x} already")));
        }
        if let Some(part) = files.exposed_part(at, bytes) {
            part.write(0, &zeroed(bytes)?);
            memory.windows.open_at(at, part, Access::ReadWrite);
            return Ok(());
        }
        match memory.arena.map(at, name, zeroed(bytes)?) {
            true => Ok(()),
            false => Err(DeviceError::new(ErrorKind::InvalidRequest, format!("there is memory at {at:#x} already"))),
        }
    }

    fn share(&self, host: HostSpan) -> Result<(), DeviceError> {
        self.state().bytes.windows.open(host);
        Ok(())
    }

    fn physical(&self) -> Option<&dyn hetgpu_device::PhysicalMemory> {
        Some(self)
    }

    fn unmap(&self, at: u64) {
        let mut state = self.state();
        state.heaps.remove(&at);
        let State { bytes, files, .. } = &mut *state;
        match bytes.windows.close(at) {
            true => files.cover(at, &bytes.windows),
            false => drop(bytes.arena.unmap(at)),
        }
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.state().bytes.write(at, data).map_err(no_memory)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.state().bytes.read(at, out).map_err(no_memory)
    }

    fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        let mut data = zeroed(bytes)?;
        let mut state = self.state();
        state.bytes.read(from, &mut data).map_err(no_memory)?;
        state.bytes.write(to, &data).map_err(no_memory)
    }

    fn fill(&self, at: u64, pattern: &[u8], count: u64) -> Result<(), DeviceError> {
        const PIECE: usize = 1 << 16;
        let per_piece = (PIECE / pattern.len().max(1)) as u64;
        let piece = pattern.repeat(count.min(per_piece) as usize);
        let mut state = self.state();
        let (mut at, mut left) = (at, count * pattern.len() as u64);
        while left > 0 {
            let now = left.min(piece.len() as u64);
            state.bytes.write(at, &piece[..now as usize]).map_err(no_memory)?;
            at += now;
            left -= now;
        }
        Ok(())
    }

    fn load(&self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, DeviceError> {
        refuse_machine_code(module)?;
        let mut state = self.state();
        let key = LoadedModule(state.next_module);
        state.next_module += 1;
        state.modules.insert(key, Arc::new(Program::new(module.clone(), globals.to_vec())));
        Ok(key)
    }

    fn unload(&self, module: LoadedModule) {
        self.state().modules.remove(&module);
    }

    fn kernel(&self, module: LoadedModule, kernel: FuncId) -> Result<KernelAttributes, DeviceError> {
        let loaded = self.loaded(module)?;
        match loaded.module().functions.get(kernel.index()) {
            Some(function) if function.is_kernel() => Ok(KernelAttributes::default()),
            Some(_) | None => Err(DeviceError::new(ErrorKind::InvalidImage, "the module has no such kernel")),
        }
    }

    fn launch(&self, launch: &Launch) -> Result<Outcome, DeviceError> {
        let _running = self.running.lock().unwrap_or_else(|e| e.into_inner());
        let loaded = self.loaded(launch.module)?;
        let images = self.state().images.objects().to_vec();
        let heap = launch.heap.map(|heap| {
            let new = || Arc::new(Mutex::new(Heap::new(heap.base, heap.bytes)));
            self.state().heaps.entry(heap.base).or_insert_with(new).clone()
        });
        let mut heap = heap.as_ref().map(|heap| heap.lock().unwrap_or_else(|e| e.into_inner()));
        let description = interp::Launch {
            grid: launch.grid,
            block: launch.block,
            cluster: launch.cluster,
            dynamic_shared: launch.dynamic_shared,
            params: &launch.params,
            cooperative: launch.cooperative,
            workspace: launch.workspace,
            grid_id: launch.grid_id,
            images: &images,
            blocks: Some(&launch.blocks),
            stop: launch.stop,
            ..loaded.launch(launch.kernel)
        };
        let listener = launch.listener.as_ref();
        let (mut print, mut complain) = (|bytes: &[u8]| listener.print(bytes), |bytes: &[u8]| listener.complain(bytes));
        let mut options = interp::Options {
            seed: self.options.seed,
            checks: Checks { races: self.options.check, uninitialised: self.options.check },
            max_shared: self.caps.shared_per_block_max,
            heap: heap.as_deref_mut(),
            print: Some(&mut print),
            complain: Some(&mut complain),
            ..interp::Options::default()
        };
        let report = interp::run(&description, &mut self.state.hold(), &mut options)
            .map_err(|fault| DeviceError::from(&*fault))?;
        report.warnings.iter().for_each(|warning| listener.warn(&warning.diagnostic(Severity::Warning)));
        Ok(Outcome::of(report.unstarted))
    }

    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        let mut state = self.state();
        let State { bytes, images, .. } = &mut *state;
        images.create(description, |size| {
            let base = bytes.next_image.max(FIRST_IMAGE);
            let end = base.checked_add(size).and_then(|end| end.checked_add(IMAGE_GAP));
            let end = end.ok_or_else(|| DeviceError::new(ErrorKind::OutOfMemory, "no addresses for an image"))?;
            match bytes.arena.map(base, "an image", zeroed(size)?) {
                true => bytes.next_image = end.next_multiple_of(IMAGE_GAP),
                false => {
                    return Err(DeviceError::new(ErrorKind::InvalidRequest, "there is memory where an image lies"));
                }
            }
            Ok(base)
        })
    }

    fn destroy_image(&self, image: ImageId) {
        let mut state = self.state();
        let State { bytes, images, .. } = &mut *state;
        if let Some(base) = images.destroy(image) {
            bytes.arena.unmap(base);
        }
    }

    fn write_texels(&self, to: ImagePlace, data: &[u8]) -> Result<(), DeviceError> {
        let mut state = self.state();
        let at = state.images.address(to, data.len())?;
        state.bytes.write(at, data).map_err(no_memory)
    }

    fn read_texels(&self, from: ImagePlace, out: &mut [u8]) -> Result<(), DeviceError> {
        let mut state = self.state();
        let at = state.images.address(from, out.len())?;
        state.bytes.read(at, out).map_err(no_memory)
    }

    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        self.state().images.bind(handle, object)
    }

    fn unbind(&self, handle: u64) {
        self.state().images.unbind(handle);
    }

    fn heaps(&self) -> Vec<HeapState> {
        let heaps: Vec<_> = self.state().heaps.values().cloned().collect();
        let state = |heap: MutexGuard<'_, Heap>| HeapState {
            heap: hetgpu_device::Heap { base: heap.base(), bytes: heap.size() },
            taken: heap.allocations().collect(),
        };
        heaps.iter().map(|heap| state(heap.lock().unwrap_or_else(|e| e.into_inner()))).collect()
    }

    fn set_heap(&self, HeapState { heap, taken }: &HeapState) {
        let restored = Heap::with(heap.base, heap.bytes, taken.iter().copied());
        self.state().heaps.insert(heap.base, Arc::new(Mutex::new(restored)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn device() -> InterpDevice {
        InterpDevice::new(1 << 30, Options::default())
    }

    #[test]
    fn memory_is_zeroed_and_ends_where_it_was_said_to_end() {
        let device = device();
        device.map(0x10_0000_0000, 100, "table").unwrap();
        let mut back = [1; 100];
        device.read(0x10_0000_0000, &mut back).unwrap();
        assert_eq!(back, [0; 100]);
        let error = device.write(0x10_0000_0000 + 98, &[1, 2, 3]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::IllegalAddress);
        assert!(error.message.contains("table"), "{}", error.message);
        device.unmap(0x10_0000_0000);
        assert!(device.read(0x10_0000_0000, &mut back).is_err());
    }

    #[test]
    fn a_fill_repeats_its_pattern_over_more_than_one_piece() {
        let device = device();
        let bytes = 3 * 70_000;
        device.map(0x10_0000_0000, bytes, "").unwrap();
        device.fill(0x10_0000_0000, &[1, 2, 3, 4], 52_500).unwrap();
        let mut back = vec![0; bytes as usize];
        device.read(0x10_0000_0000, &mut back).unwrap();
        assert!(back.chunks(4).all(|four| four == [1, 2, 3, 4]));
        assert!(device.fill(0x10_0000_0000, &[0], bytes + 1).is_err());
    }

    #[test]
    fn an_overlapping_copy_reads_first() {
        let device = device();
        device.map(0x10_0000_0000, 8, "").unwrap();
        device.write(0x10_0000_0000, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        device.copy(0x10_0000_0002, 0x10_0000_0000, 6).unwrap();
        let mut back = [0; 8];
        device.read(0x10_0000_0000, &mut back).unwrap();
        assert_eq!(back, [1, 2, 1, 2, 3, 4, 5, 6]);
    }

    /// Waits until the flag is not 0, then stores 7 behind it.
    const WAIT: &str = "
visible kernel @wait(flag: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = const 0
    v3: i32 = const 7
    br block1
block1:
    v4: i32 = atom.add.global.relaxed.gpu v1, v2
    v5: b1 = icmp.eq.u v4, v2
    brif v5, block1, block2
block2:
    store.global v1 + 4, v3
    ret
}
";

    #[test]
    fn a_kernel_may_wait_for_the_host() {
        const FLAG: u64 = 0x10_0000_0000;
        let device = Arc::new(device());
        let module = Arc::new(hetir::text::parse(WAIT).unwrap());
        device.map(FLAG, 8, "flag").unwrap();
        let loaded = device.load(&module, &[]).unwrap();
        let (sender, ended) = std::sync::mpsc::channel();
        // On threads of their own, so that the test can give up.
        for device in [device.clone(), device.clone()] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let launch = Launch { params: FLAG.to_le_bytes().into(), ..Launch::new(loaded, FuncId::new(0)) };
                sender.send(device.launch(&launch).map(|_| ()))
            });
        }
        let host = device.clone();
        std::thread::spawn(move || {
            // Time enough for the kernel to run.
            std::thread::sleep(Duration::from_millis(50));
            host.map(FLAG + 0x1000, 16, "meanwhile")?;
            host.write(FLAG + 0x1000, &[5; 16])?;
            host.unmap(FLAG + 0x1000);
            host.write(FLAG, &[1])
        });
        for _ in 0..2 {
            let outcome = ended.recv_timeout(Duration::from_secs(60));
            outcome.expect("the host must come in between").unwrap();
        }
        let mut back = [0; 4];
        device.read(FLAG + 4, &mut back).unwrap();
        assert_eq!(back, [7, 0, 0, 0]);
    }
}
