use crate::compile::Compiler;
use crate::job::{Job, Said};
use crate::kernels::{Compile, Kernel, Loaded};
use crate::peers::{self, identity};
use crate::pool::Pool;
use crate::sys::map;
use crate::sys::memory::Memory;
use hetgpu_device::{
    Access, Caps, DeviceError, ErrorKind, HeapState, HostSpan, ImageCaps, ImageDescription, ImageId, ImageObject,
    ImagePlace, Images, Importance, KernelAttributes, Launch, LoadedModule, Outcome, PhysicalId, PhysicalMemory,
    Services, SyncDevice, refuse_machine_code,
};
use hetgpu_llvm::host::{Features, Form};
use hetir::diag::Severity;
use hetir::entity::FuncId;
use hetir::interp::{self, Checks, Heap};
use hetir::ir::{Function, FunctionKind, Module};
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

/// What kernels are checked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Check {
    /// What the processor notices.
    #[default]
    Hardware,
    /// Every access, to the byte: the interpreter executes all kernels.
    Memory,
    /// Also races, and reads of memory that nothing has written.
    All,
}

/// How the device works.
#[derive(Clone, Default)]
pub struct Options {
    /// Threads that execute kernels; 0 for as many as the host has processors.
    pub threads: u32,
    /// What is checked.
    pub check: Check,
    /// Chooses among the orders in which the interpreter runs threads.
    pub seed: u64,
    /// Instructions that compiled code may use. Where the processor lacks them, the interpreter executes all kernels.
    pub features: Features,
    /// Compiled code executes each lane by itself, also where the lanes of a warp could go together.
    pub lane_by_lane: bool,
    /// The compute capability that programs are told; none for the device's own.
    pub compute: Option<(u32, u32)>,
    /// Which of so many devices of this kind it is; 0 for the only one.
    pub number: u32,
    /// How many there are of this kind; 0 for the only one.
    pub count: u32,
    /// What the process offers.
    pub services: Services,
}

#[derive(Default)]
struct State {
    heaps: HashMap<u64, Arc<Mutex<Heap>>>,
    /// Kernels that were said to be executed by the interpreter.
    told: HashSet<(LoadedModule, FuncId)>,
    next_module: u64,
}

/// The host's processors.
pub struct CpuDevice {
    caps: Caps,
    options: Options,
    memory: Arc<Memory>,
    pool: Pool,
    compiler: Option<Box<dyn Compile>>,
    modules: RwLock<HashMap<LoadedModule, Arc<Loaded>>>,
    state: Mutex<State>,
    images: Mutex<Images>,
    /// Held while the interpreter executes a kernel: its atomics are atomic among its own threads only.
    interpreting: Mutex<()>,
}

/// Where the host does not say how much memory it has.
const LITTLE_MEMORY: u64 = 2 << 30;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that execute kernels.
fn threads(options: &Options) -> u32 {
    let processors = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    if options.threads == 0 { processors() } else { options.threads }
}

impl CpuDevice {
    /// The host as a device.
    pub fn new(options: Options) -> Self {
        let services = options.services.clone();
        let log = |importance, line: std::fmt::Arguments<'_>| {
            if let Some(log) = &services.log {
                log(importance, line);
            }
        };
        let compiler: Option<Box<dyn Compile>> = match Compiler::new(services.clone(), options.features) {
            Ok(compiler) => Some(Box::new(compiler)),
            Err(why) => {
                log(Importance::Warning, format_args!("kernels are not compiled: {why}"));
                None
            }
        };
        Self::with_compiler(options, compiler)
    }

    /// What the device will be, without making it.
    pub fn describe(options: &Options) -> Caps {
        Caps {
            name: match options.features {
                Features::Native => "hetGPU CPU".into(),
                Features::Sse2 => "hetGPU CPU (SSE2)".into(),
                Features::Avx2 => "hetGPU CPU (AVX2)".into(),
                Features::Avx512 => "hetGPU CPU (AVX-512)".into(),
            },
            uuid: match options.features {
                Features::Native => identity(options.number),
                Features::Sse2 => *b"hetgpu-cpu-0sse2",
                Features::Avx2 => *b"hetgpu-cpu-0avx2",
                Features::Avx512 => *b"hetgpu-cpu-av512",
            },
            peers: match options.features {
                Features::Native => (0..options.count).filter(|&other| other != options.number).map(identity).collect(),
                _ => Vec::new(),
            },
            neighbourly: true,
            compute: options.compute.unwrap_or((9, 0)),
            integrated: true,
            // A quarter is left for the program itself.
            memory: map::host_memory().map_or(LITTLE_MEMORY, |bytes| bytes / 4 * 3),
            shares_host_memory: true,
            physical: true,
            host_atomics: true,
            images: Some(ImageCaps { chooses_handles: true, linear: true, multisample: true, ..ImageCaps::default() }),
            concurrent_queues: 16,
            survives_faults: true,
            suspends: true,
            cooperative: true,
            cluster_blocks: 16,
            multiprocessors: threads(options),
            ..Caps::default()
        }
    }

    pub(crate) fn with_compiler(options: Options, compiler: Option<Box<dyn Compile>>) -> Self {
        let caps = Self::describe(&options);
        let memory = Arc::new(Memory::new(caps.memory));
        peers::join(&memory);
        Self {
            memory,
            caps,
            pool: Pool::new(threads(&options)),
            options,
            compiler,
            modules: RwLock::default(),
            state: Mutex::default(),
            images: Mutex::default(),
            interpreting: Mutex::default(),
        }
    }

    fn loaded(&self, module: LoadedModule) -> Result<Arc<Loaded>, DeviceError> {
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = modules.get(&module).cloned();
        loaded.ok_or_else(|| DeviceError::new(ErrorKind::InvalidImage, "the module is not loaded"))
    }

    fn compiled(&self, loaded: &Loaded, kernel: FuncId, block: [u32; 3]) -> Arc<Kernel> {
        let first = if self.options.lane_by_lane { Form::Lane } else { Form::Warp };
        loaded.kernel(kernel, block, first, self.compiler.as_deref())
    }

    fn log(&self, importance: Importance, line: std::fmt::Arguments<'_>) {
        if let Some(log) = &self.options.services.log {
            log(importance, line);
        }
    }

    fn heap(&self, launch: &Launch) -> Option<Arc<Mutex<Heap>>> {
        let hetgpu_device::Heap { base, bytes } = launch.heap?;
        let mut state = lock(&self.state);
        let heap = state.heaps.entry(base).or_insert_with(|| Arc::new(Mutex::new(Heap::new(base, bytes))));
        Some(Arc::clone(heap))
    }

    /// Whether a launch is as its kernel's code needs it; what else is wrong with it the interpreter tells.
    fn fits(&self, loaded: &Loaded, kernel: &Kernel, launch: &Launch) -> bool {
        let threads = launch.block.iter().try_fold(1u32, |p, &n| p.checked_mul(n));
        let blocks = launch.grid.iter().try_fold(1u64, |p, &n| p.checked_mul(n.into()));
        let function = loaded.module.functions.get(launch.kernel.index());
        threads.is_some_and(|n| (1..=1024).contains(&n))
            && blocks.is_some_and(|n| (1..1 << 62).contains(&n))
            && self.fits_cluster(function, launch)
            && kernel.layout.total(launch.dynamic_shared) <= self.caps.shared_per_block_max.into()
            && function.is_some_and(|f| {
                let FunctionKind::Kernel { bounds, .. } = &f.kind else { return false };
                let (required, most) = (bounds.required_threads, bounds.max_threads.map(|n| u64::from(n.max(1))));
                let allowed =
                    bounds.max_threads == [0; 3] || most.iter().product::<u64>() >= threads.unwrap_or(0).into();
                f.unavailable.is_empty()
                    && f.param_bytes() as usize <= launch.params.len()
                    && (required == [0; 3] || required.map(|n| n.max(1)) == launch.block)
                    && allowed
            })
    }

    /// Blocks of a cluster of a launch: those that its kernel requires, where the launch does not say.
    fn cluster(function: Option<&Function>, launch: &Launch) -> [u32; 3] {
        match function.map(|f| &f.kind) {
            Some(FunctionKind::Kernel { bounds, .. }) if launch.cluster == [1; 3] => {
                bounds.required_cluster.map(|n| n.max(1))
            }
            _ => launch.cluster,
        }
    }

    fn fits_cluster(&self, function: Option<&Function>, launch: &Launch) -> bool {
        let cluster = Self::cluster(function, launch);
        let required = match function.map(|f| &f.kind) {
            Some(FunctionKind::Kernel { bounds, .. }) => bounds.required_cluster,
            _ => [0; 3],
        };
        let blocks = cluster.iter().fold(1u32, |p, &n| p.saturating_mul(n));
        (1..=self.caps.cluster_blocks).contains(&blocks)
            && launch.grid.iter().zip(cluster).all(|(g, c)| g % c == 0)
            && (required == [0; 3] || required.map(|n| n.max(1)) == cluster)
    }

    /// Executes machine code.
    fn execute(&self, loaded: &Loaded, kernel: &Kernel, launch: &Launch) -> Option<Result<Outcome, DeviceError>> {
        let code = kernel.code.as_ref().ok()?;
        let mut job = Job::new(code.entry, Arc::clone(&loaded.module), launch.kernel)
            .shaped(launch.grid, launch.block)
            .with_params(&launch.params);
        job.code.clone_from(&code.code);
        job.form = kernel.form;
        job.cluster = Self::cluster(loaded.module.functions.get(launch.kernel.index()), launch);
        let parts = launch.stop != 0 || !launch.blocks.are_all();
        if code.needs.clusters || parts {
            job.together = job.cluster.iter().product();
            job.blocks /= u64::from(job.together);
        }
        if parts {
            if !launch.blocks.are_within(job.blocks) {
                let message = format!("blocks beyond the grid's {}", job.blocks);
                return Some(Err(DeviceError::new(ErrorKind::InvalidRequest, message)));
            }
            job.stop = match launch.stop {
                0 => None,
                at => match self.memory.word(at) {
                    Ok(word) => Some(word),
                    Err(why) => return Some(Err(why)),
                },
            };
            job.blocks = launch.blocks.count(job.blocks);
            job.chosen = launch.blocks.clone();
        }
        if code.needs.images {
            // Handles that are bound from now on are for later launches.
            job.images = lock(&self.images).objects().to_vec();
        }
        job.waits = kernel.waits || job.together > 1;
        job.cooperative = launch.cooperative;
        job.dynamic_shared = launch.dynamic_shared;
        job.total_shared = kernel.layout.total(launch.dynamic_shared) as u32;
        job.globals = Arc::clone(&kernel.globals);
        job.workspace = launch.workspace;
        job.grid_id = launch.grid_id;
        job.heap = self.heap(launch);
        job.multiprocessors = self.caps.multiprocessors;
        if job.blocks > 1 && !kernel.is_short(job.blocks) {
            let most = launch.multiprocessors.as_ref().map_or(u32::MAX, |some| some.len().max(1) as u32);
            job.workers = (self.pool.helpers() + 1).min(job.blocks.min(most.into()) as u32);
        }
        job.places.clone_from(&launch.multiprocessors);
        let job = Arc::new(job);
        let start = Instant::now();
        self.pool.run(&job);
        kernel.took(start.elapsed().as_nanos() as u64, job.blocks, job.workers);
        for said in job.heard() {
            match said {
                Said::Printed(bytes) => launch.listener.print(&bytes),
                Said::Complained(bytes) => launch.listener.complain(&bytes),
            }
        }
        Some(match job.take_failure() {
            Some(failure) => Err(failure.finish(|address| self.memory.nearest(address))),
            None => Ok(Outcome::of(job.unstarted())),
        })
    }

    /// Executes a kernel by the interpreter, over the same memory.
    fn interpret(&self, loaded: &Loaded, launch: &Launch) -> Result<Outcome, DeviceError> {
        let _alone = lock(&self.interpreting);
        let heap = self.heap(launch);
        let mut heap = heap.as_ref().map(|heap| lock(heap));
        let listener = launch.listener.as_ref();
        let (mut print, mut complain) = (|bytes: &[u8]| listener.print(bytes), |bytes: &[u8]| listener.complain(bytes));
        let all = self.options.check == Check::All;
        let mut options = interp::Options {
            seed: self.options.seed,
            checks: Checks { races: all, uninitialised: all },
            max_shared: self.caps.shared_per_block_max,
            heap: heap.as_deref_mut(),
            print: Some(&mut print),
            complain: Some(&mut complain),
            ..interp::Options::default()
        };
        // Handles that are bound from now on are for later launches.
        let images = lock(&self.images).objects().to_vec();
        let description = interp::Launch {
            images: &images,
            blocks: Some(&launch.blocks),
            stop: launch.stop,
            grid: launch.grid,
            block: launch.block,
            cluster: launch.cluster,
            dynamic_shared: launch.dynamic_shared,
            params: &launch.params,
            cooperative: launch.cooperative,
            workspace: launch.workspace,
            grid_id: launch.grid_id,
            ..loaded.program.launch(launch.kernel)
        };
        let outcome = interp::run(&description, &mut self.memory.view(), &mut options);
        let report = outcome.map_err(|fault| DeviceError::from(&*fault))?;
        report.warnings.iter().for_each(|warning| listener.warn(&warning.diagnostic(Severity::Warning)));
        Ok(Outcome::of(report.unstarted))
    }

    /// Says once for each kernel that it is executed by the interpreter.
    fn tell(&self, loaded: &Loaded, module: LoadedModule, kernel: FuncId, why: &str) {
        if lock(&self.state).told.insert((module, kernel)) {
            let name = loaded.module.functions.get(kernel.index()).map_or("", |f| &f.name);
            self.log(Importance::Warning, format_args!("kernel {name} is executed by the interpreter: {why}"));
        }
    }
}

impl PhysicalMemory for CpuDevice {
    fn create(&self, bytes: u64) -> Result<PhysicalId, DeviceError> {
        self.memory.create_physical(bytes)
    }

    fn destroy(&self, memory: PhysicalId) {
        self.memory.destroy_physical(memory);
    }

    fn map(&self, memory: PhysicalId, at: u64, name: &str) -> Result<(), DeviceError> {
        self.memory.map_physical(memory, at, name)
    }

    fn gives_contents(&self) -> bool {
        true
    }

    fn read(&self, memory: PhysicalId, offset: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.memory.read_physical(memory, offset, out)
    }

    fn write(&self, memory: PhysicalId, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.memory.write_physical(memory, offset, data)
    }

    fn allow(&self, at: u64, access: Access) -> Result<(), DeviceError> {
        self.memory.allow(at, access)
    }

    fn expose(&self, at: u64, bytes: u64) -> Result<PhysicalId, DeviceError> {
        self.memory.expose(at, bytes)
    }

    fn has_host_files(&self) -> bool {
        true
    }

    fn expose_as(&self, at: u64, bytes: u64, file: OwnedFd) -> Result<(), DeviceError> {
        self.memory.expose_as(at, bytes, file)
    }

    fn export(&self, memory: PhysicalId) -> Result<OwnedFd, DeviceError> {
        self.memory.export(memory)
    }

    fn import(&self, file: OwnedFd) -> Result<(PhysicalId, u64), DeviceError> {
        self.memory.import(file)
    }
}

impl SyncDevice for CpuDevice {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn map(&self, at: u64, bytes: u64, name: &str) -> Result<(), DeviceError> {
        self.memory.map(at, bytes, name)
    }

    fn map_file(&self, at: u64, bytes: u64, name: &str, file: OwnedFd) -> Result<(), DeviceError> {
        self.memory.map_file(at, bytes, name, file)
    }

    fn written(&self, at: u64, bytes: u64) -> Option<Vec<std::ops::Range<u64>>> {
        self.memory.written(at, bytes)
    }

    fn share(&self, host: HostSpan) -> Result<(), DeviceError> {
        self.memory.share(host)
    }

    fn reach(&self, _: [u8; 16], at: u64) -> Result<(), DeviceError> {
        // Whoever has it: addresses are the process's.
        let none = || DeviceError::new(ErrorKind::NotSupported, format!("no other CPU device has memory at {at:#x}"));
        self.memory.reach(&*peers::holder(at, &self.memory).ok_or_else(none)?, at)
    }

    fn physical(&self) -> Option<&dyn PhysicalMemory> {
        Some(self)
    }

    fn unmap(&self, at: u64) {
        lock(&self.state).heaps.remove(&at);
        self.memory.unmap(at);
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.memory.write(at, data)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.memory.read(at, out)
    }

    fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        self.memory.copy(to, from, bytes)
    }

    fn write_from(&self, at: u64, host: &HostSpan) -> Result<(), DeviceError> {
        self.memory.write_from(at, host)
    }

    fn read_to(&self, at: u64, host: &HostSpan) -> Result<(), DeviceError> {
        self.memory.read_to(at, host)
    }

    fn fill(&self, at: u64, pattern: &[u8], count: u64) -> Result<(), DeviceError> {
        self.memory.fill(at, pattern, count)
    }

    fn load(&self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, DeviceError> {
        refuse_machine_code(module)?;
        let loaded = Arc::new(Loaded::new(Arc::clone(module), globals));
        let key = {
            let mut state = lock(&self.state);
            state.next_module += 1;
            LoadedModule(state.next_module)
        };
        self.modules.write().unwrap_or_else(PoisonError::into_inner).insert(key, loaded);
        Ok(key)
    }

    fn unload(&self, module: LoadedModule) {
        self.modules.write().unwrap_or_else(PoisonError::into_inner).remove(&module);
    }

    fn kernel(&self, module: LoadedModule, kernel: FuncId) -> Result<KernelAttributes, DeviceError> {
        let loaded = self.loaded(module)?;
        match loaded.module.functions.get(kernel.index()) {
            Some(function) if function.is_kernel() => Ok(KernelAttributes::default()),
            Some(_) | None => Err(DeviceError::new(ErrorKind::InvalidImage, "the module has no such kernel")),
        }
    }

    fn prepare(&self, module: LoadedModule, kernel: FuncId, block: [u32; 3]) -> Result<(), DeviceError> {
        self.kernel(module, kernel)?;
        if self.options.check != Check::Hardware {
            return Ok(());
        }
        let loaded = self.loaded(module)?;
        if let Err(why) = &self.compiled(&loaded, kernel, block).code {
            self.tell(&loaded, module, kernel, why);
        }
        Ok(())
    }

    fn launch(&self, launch: &Launch) -> Result<Outcome, DeviceError> {
        let loaded = self.loaded(launch.module)?;
        if self.options.check != Check::Hardware {
            return self.interpret(&loaded, launch);
        }
        let kernel = self.compiled(&loaded, launch.kernel, launch.block);
        match &kernel.code {
            Ok(_) if self.fits(&loaded, &kernel, launch) => {
                self.execute(&loaded, &kernel, launch).unwrap_or(Ok(Outcome::Finished))
            }
            Ok(_) => self.interpret(&loaded, launch),
            Err(why) => {
                self.tell(&loaded, launch.module, launch.kernel, why);
                self.interpret(&loaded, launch)
            }
        }
    }

    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        lock(&self.images).create(description, |bytes| self.memory.place(bytes, "an image"))
    }

    fn destroy_image(&self, image: ImageId) {
        if let Some(at) = lock(&self.images).destroy(image) {
            self.memory.unmap(at);
        }
    }

    fn write_texels(&self, to: ImagePlace, data: &[u8]) -> Result<(), DeviceError> {
        let at = lock(&self.images).address(to, data.len())?;
        self.memory.write(at, data)
    }

    fn read_texels(&self, from: ImagePlace, out: &mut [u8]) -> Result<(), DeviceError> {
        let at = lock(&self.images).address(from, out.len())?;
        self.memory.read(at, out)
    }

    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        lock(&self.images).bind(handle, object)
    }

    fn unbind(&self, handle: u64) {
        lock(&self.images).unbind(handle);
    }

    fn heaps(&self) -> Vec<HeapState> {
        let heaps: Vec<_> = lock(&self.state).heaps.values().cloned().collect();
        let state = |heap: MutexGuard<'_, Heap>| HeapState {
            heap: hetgpu_device::Heap { base: heap.base(), bytes: heap.size() },
            taken: heap.allocations().collect(),
        };
        heaps.iter().map(|heap| state(lock(heap))).collect()
    }

    fn set_heap(&self, HeapState { heap, taken }: &HeapState) {
        let restored = Heap::with(heap.base, heap.bytes, taken.iter().copied());
        lock(&self.state).heaps.insert(heap.base, Arc::new(Mutex::new(restored)));
    }

    fn adopts(&self) -> bool {
        true
    }

    fn adopt(&self, from: &Self) -> bool {
        self.memory.adopt(&from.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Compiled;
    use hetgpu_llvm::host::{CompileError, Shape};

    struct Refuses;

    impl Compile for Refuses {
        fn compile(&self, _: &Module, _: FuncId, _: Shape) -> Result<Compiled, CompileError> {
            Err(CompileError::Unsupported("anything".into()))
        }
    }

    #[test]
    fn what_is_not_compiled_is_interpreted_and_told_once() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let log = move |_, line: std::fmt::Arguments<'_>| lock(&into).push(line.to_string());
        let services = hetgpu_device::Services { log: Some(Arc::new(log)), ..Default::default() };
        let device = CpuDevice::with_compiler(Options { services, ..Options::default() }, Some(Box::new(Refuses)));
        let text = "visible kernel @k(data: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = const 7
    store.global v1, v2
    ret
}
";
        let module = hetir::text::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
        let base = 0x27_0000_0000u64;
        SyncDevice::map(&device, base, 4096, "a word").unwrap();
        let module = device.load(&Arc::new(module), &[]).unwrap();
        let launch = Launch { params: base.to_le_bytes().into(), ..Launch::new(module, FuncId::new(0)) };
        device.prepare(module, FuncId::new(0), [1; 3]).unwrap();
        device.launch(&launch).unwrap();
        device.launch(&launch).unwrap();
        let mut word = [0; 4];
        SyncDevice::read(&device, base, &mut word).unwrap();
        assert_eq!(word, [7, 0, 0, 0]);
        assert_eq!(*lock(&lines), ["kernel k is executed by the interpreter: no machine code for anything".to_owned()]);
    }
}
