//! The card as a device.

use crate::digest::Digests;
use crate::driver::{Array, ArrayShape, Context, Driver, Object, Over, Stream};
use crate::kept::Kept;
use crate::kernels::{Compiler, Form, Kernel, Loaded, threads_move};
use crate::memory::Memory;
use crate::ptx::{Part, Target};
use crate::queue::{Line, NvidiaQueue, Point};
use crate::slots::{Arrays, Begun, Slots};
use crate::staging::Staging;
use crate::{assembly, caps, find, sys};
use hetgpu_device::{
    Access, Assembly, Caps, DIGEST_CHUNK, Device, DeviceError, ErrorKind, Extent, Fetched, HostSpan, ImageDescription,
    ImageId, ImageObject, KernelAttributes, LoadedModule, Mark, NumberMap, PhysicalId, PhysicalMemory, Queue, Services,
    Step, Texels,
};
use hetir::attr::Space;
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// The newest version of PTX that is written.
const NEWEST_PTX: (u32, u32) = (9, 0);
/// The first driver whose calls are all there.
const OLDEST_DRIVER: i32 = 12_000;

/// Which device, and what it is offered.
#[derive(Clone, Default)]
pub struct Options {
    /// The driver's library; found where none is named.
    pub library: Option<PathBuf>,
    /// The number by which the driver knows the device.
    pub number: u32,
    /// The compute capability that programs are told; none for the device's own.
    pub compute: Option<(u32, u32)>,
    /// Bytes of pinned host memory that are made ahead, for what is set aside of the card's.
    pub arena: u64,
    /// What the process offers.
    pub services: Services,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(options: &Options) -> Result<Arc<Driver>, String> {
    /// A driver is never closed: it keeps threads and files that nobody can take from it.
    static OPEN: Mutex<BTreeMap<PathBuf, Arc<Driver>>> = Mutex::new(BTreeMap::new());
    let path = find::library(options.library.as_deref())?;
    let mut all = lock(&OPEN);
    let driver = match all.get(&path) {
        Some(driver) => Arc::clone(driver),
        None => {
            let driver = Driver::open(&path)?;
            all.insert(path.clone(), Arc::clone(&driver));
            driver
        }
    };
    match driver.version >= OLDEST_DRIVER {
        true => Ok(driver),
        false => {
            let (have, need) = (driver.version, OLDEST_DRIVER);
            let spell = |version: i32| format!("{}.{}", version / 1000, version % 1000 / 10);
            Err(format!("{}: of CUDA {}, needed is {}", path.display(), spell(have), spell(need)))
        }
    }
}

/// Constants of one module, and how often what they hold was changed.
struct Watched {
    end: u64,
    changes: AtomicU64,
}

/// Images, and the objects over them by their handles.
#[derive(Default)]
struct Pictures {
    images: HashMap<ImageId, Arc<Array>>,
    objects: HashMap<u64, Object>,
    next: u64,
}

/// What queues share with their device.
pub(crate) struct Inner {
    pub(crate) context: Arc<Context>,
    pub(crate) compiler: Compiler,
    pub(crate) slots: Slots,
    /// Numbers launches, for the blocks that say that they have begun.
    pub(crate) launches: AtomicU32,
    /// Ends of queues that were closed before their work was done.
    closing: Mutex<Vec<Point>>,
    /// So that nobody who launches has to lock it for nothing.
    any_closing: AtomicBool,
    begun: Arrays,
    pictures: Mutex<Pictures>,
    modules: RwLock<NumberMap<LoadedModule, Arc<Loaded>>>,
    /// Ranges of constant memory by their start.
    constants: RwLock<BTreeMap<u64, Watched>>,
    /// For copies that are done at once.
    service: Mutex<Stream>,
}

impl Inner {
    pub(crate) fn loaded(&self, module: LoadedModule) -> Result<Arc<Loaded>, DeviceError> {
        let modules = self.modules.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = modules.get(&module).cloned();
        loaded.ok_or_else(|| DeviceError::new(ErrorKind::InvalidImage, "the module is not loaded"))
    }

    pub(crate) fn image(&self, image: ImageId) -> Result<Arc<Array>, DeviceError> {
        let found = lock(&self.pictures).images.get(&image).cloned();
        found.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "there is no such image"))
    }

    fn over(&self, texels: &Texels) -> Result<Over, DeviceError> {
        Ok(match texels {
            Texels::Image { image, first_level } => Over::Array(self.image(*image)?, *first_level),
            Texels::View(view) => {
                let array = self.image(view.image)?;
                let within = |(first, count): (u32, u32), all: u32| {
                    count != 0 && first.checked_add(count).is_some_and(|end| end <= all)
                };
                let image = &array.description;
                let fits = within(view.levels, image.levels) && within(view.layers, image.layers);
                if !fits || view.format.texel_bytes() != image.format.texel_bytes() {
                    let text = "a view of levels or layers that the image has not, or with texels of another size";
                    return Err(DeviceError::new(ErrorKind::InvalidRequest, text));
                }
                Over::View(array, *view)
            }
            Texels::Linear(linear) => Over::Linear(*linear),
        })
    }

    pub(crate) fn begun(&self, blocks: u64, stream: &Stream) -> Result<Begun, DeviceError> {
        self.begun.take(blocks, &self.context, stream)
    }

    /// Tells what queues have done that were closed meanwhile.
    pub(crate) fn sweep(&self) {
        if !self.any_closing.load(Ordering::Relaxed) {
            return;
        }
        self.any_closing.store(false, Ordering::Relaxed);
        let all = std::mem::take(&mut *lock(&self.closing));
        let (_, waiting): (Vec<_>, Vec<_>) = all.into_iter().partition(|point| !matches!(point.poll(), Ok(false)));
        waiting.into_iter().for_each(|point| self.close(point));
    }

    /// Looks after what is under way until a point.
    pub(crate) fn close(&self, end: Point) {
        lock(&self.closing).push(end);
        self.any_closing.store(true, Ordering::Relaxed);
    }

    /// Memory was, or will be, written.
    pub(crate) fn constants_written(&self, at: u64, bytes: u64) {
        let constants = self.constants.read().unwrap_or_else(PoisonError::into_inner);
        let end = at.saturating_add(bytes);
        for (_, watched) in constants.range(..end).rev().take_while(|(_, watched)| watched.end > at) {
            watched.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Changes whenever one of a kernel's constants is written.
    pub(crate) fn constants_of(&self, kernel: &Kernel) -> u64 {
        let constants = self.constants.read().unwrap_or_else(PoisonError::into_inner);
        let changes = |at: u64| constants.get(&at).map_or(0, |watched| watched.changes.load(Ordering::Relaxed));
        kernel.constants.iter().map(|constant| changes(constant.logical.start)).sum()
    }

    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let host = hetgpu_device::HostBuffer::new(out.len());
        let host = host.ok_or_else(|| DeviceError::new(ErrorKind::OutOfMemory, "no host memory for a copy"))?;
        let service = lock(&self.service);
        service.copy_out(&host.span(), at)?;
        service.synchronize()?;
        host.span().read(0, out);
        Ok(())
    }
}

/// A card of NVIDIA's.
pub struct NvidiaDevice {
    caps: Caps,
    inner: Arc<Inner>,
    memory: Memory,
    staging: Staging,
    /// Made when somebody asks for the first ones.
    digests: OnceLock<Digests>,
    next_module: AtomicU64,
}

impl NvidiaDevice {
    /// How many there are.
    ///
    /// # Errors
    /// There is no driver, or one that is too old: the text is for users.
    pub fn count(options: &Options) -> Result<u32, String> {
        open(options)?.devices().map_err(|error| error.message)
    }

    /// What a device will be, without making it.
    ///
    /// # Errors
    /// As [`Self::count`]; or there is no device of that number.
    pub fn describe(options: &Options) -> Result<Caps, String> {
        let card = open(options)?.device(options.number).map_err(|error| error.message)?;
        caps::of(&card, options.compute).map_err(|error| error.message)
    }

    /// Opens a device.
    ///
    /// # Errors
    /// As [`Self::describe`]; or the device is in use by somebody else alone.
    pub fn new(options: &Options) -> Result<Self, String> {
        Self::open(open(options)?, options).map_err(|error| error.message)
    }

    fn open(driver: Arc<Driver>, options: &Options) -> Result<Self, DeviceError> {
        let card = driver.device(options.number)?;
        let mut caps = caps::of(&card, options.compute)?;
        let context = card.context()?;
        caps.priorities = context.priorities()?;
        let memory = Memory::new(Arc::clone(&context));
        caps.reserved = memory.window();
        let name = (options.library.clone(), options.number);
        let staging = Staging::new(&context, name, options.arena, caps.priorities.1);
        let version = (driver.version as u32 / 1000, driver.version as u32 % 1000 / 10);
        let isa = newest_ptx(version).min(NEWEST_PTX);
        let compute = caps::target(&card);
        let target = Target { compute, architecture_specific: compute >= (9, 0), isa };
        let (services, kept) = (options.services.clone(), Kept::new(&options.services));
        let compiler = Compiler { context: Arc::clone(&context), target, services, kept };
        let inner = Inner {
            slots: Slots::new(&context)?,
            launches: AtomicU32::new(1),
            closing: Mutex::default(),
            any_closing: AtomicBool::new(false),
            begun: Arrays::default(),
            pictures: Mutex::default(),
            modules: RwLock::default(),
            constants: RwLock::default(),
            service: Mutex::new(context.stream(caps.priorities.1)?),
            compiler,
            context,
        };
        let (inner, digests) = (Arc::new(inner), OnceLock::new());
        Ok(Self { caps, inner, memory, staging, digests, next_module: AtomicU64::new(1) })
    }

    fn compiled(&self, module: LoadedModule, kernel: FuncId) -> Result<Arc<Kernel>, DeviceError> {
        let loaded = self.inner.loaded(module)?;
        loaded.kernel(kernel, Form::WHOLE, &self.inner.compiler)
    }
}

/// The version of PTX that a driver of a version of CUDA takes.
fn newest_ptx(cuda: (u32, u32)) -> (u32, u32) {
    match cuda {
        (12, minor) => (8, minor.min(9)),
        (major, _) if major < 12 => (7, 8),
        (major, minor) => (major - 4, minor),
    }
}

impl Device for NvidiaDevice {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn free_memory(&self) -> Option<u64> {
        self.inner.context.free_memory().ok().map(|free| free.min(self.caps.memory))
    }

    fn map(&self, at: u64, bytes: u64, _name: &str) -> Result<(), DeviceError> {
        self.memory.map(at, bytes, &lock(&self.inner.service))
    }

    fn share(&self, host: HostSpan) -> Result<(), DeviceError> {
        match self.caps.shares_host_memory {
            true => self.memory.share(host),
            false => Err(DeviceError::new(ErrorKind::NotSupported, "the device does not reach host memory")),
        }
    }

    fn physical(&self) -> Option<&dyn PhysicalMemory> {
        self.caps.physical.then_some(self)
    }

    fn unmap(&self, at: u64) {
        self.memory.unmap(at);
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.inner.constants_written(at, data.len() as u64);
        if data.is_empty() {
            return Ok(());
        }
        if self.staging.serves(data.len()) && self.staging.write(at, data)? {
            return Ok(());
        }
        let host = hetgpu_device::HostBuffer::from(data.to_vec());
        let service = lock(&self.inner.service);
        service.copy_in(at, &host.span())?;
        service.synchronize()
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        if out.is_empty() || (self.staging.serves(out.len()) && self.staging.read(at, out)?) {
            return Ok(());
        }
        self.inner.read(at, out)
    }

    fn fetch(&self, at: u64, bytes: u64) -> Result<Option<Fetched>, DeviceError> {
        self.staging.fetch(at, bytes)
    }

    fn put(&self, at: u64, fetched: &Fetched) -> Result<(), DeviceError> {
        self.inner.constants_written(at, fetched.span().bytes() as u64);
        self.staging.put(at, fetched.span())
    }

    fn digests(&self, at: u64, bytes: u64) -> Result<Option<Vec<[u8; 32]>>, DeviceError> {
        if !bytes.is_multiple_of(DIGEST_CHUNK) {
            return Ok(None);
        }
        let context = &self.inner.context;
        let digests = match self.digests.get() {
            Some(known) => known,
            None => {
                let made = Digests::new(context)?;
                self.digests.get_or_init(|| made)
            }
        };
        digests.of(context, &lock(&self.inner.service), at, bytes).map(Some)
    }

    fn load(&self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, DeviceError> {
        let name = LoadedModule(self.next_module.fetch_add(1, Ordering::Relaxed));
        let mut constants = self.inner.constants.write().unwrap_or_else(PoisonError::into_inner);
        for (global, &at) in module.globals.iter().zip(globals) {
            if global.space == Space::Const && at != 0 {
                let end = at.saturating_add(global.size);
                // Another form of the same module has the same constants.
                let watched = constants.entry(at).or_insert(Watched { end, changes: AtomicU64::new(1) });
                watched.end = watched.end.max(end);
                watched.changes.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(constants);
        let loaded = Arc::new(Loaded::new(module, globals, &self.inner.context)?);
        self.inner.modules.write().unwrap_or_else(PoisonError::into_inner).insert(name, loaded);
        Ok(name)
    }

    fn variable(&self, module: LoadedModule, name: &str) -> Result<(u64, u64), DeviceError> {
        self.inner.loaded(module)?.variable(name)
    }

    fn unload(&self, module: LoadedModule) {
        let gone = self.inner.modules.write().unwrap_or_else(PoisonError::into_inner).remove(&module);
        drop(gone);
    }

    fn kernel(&self, module: LoadedModule, kernel: FuncId) -> Result<KernelAttributes, DeviceError> {
        let kernel = self.compiled(module, kernel)?;
        Ok(KernelAttributes {
            registers: Some(kernel.function.attribute(sys::FUNCTION_REGISTERS)?).filter(|&n| n > 0),
            local_bytes: Some(kernel.function.attribute(sys::FUNCTION_LOCAL)?),
            max_threads: Some(kernel.function.attribute(sys::FUNCTION_THREADS)?),
            binary_bytes: None,
        })
    }

    fn prepare(
        &self,
        module: LoadedModule,
        kernel: FuncId,
        _block: [u32; 3],
        extent: Extent,
    ) -> Result<(), DeviceError> {
        let loaded = self.inner.loaded(module)?;
        // A first launch is asked to stop by its threads or not at all.
        let part = match extent {
            Extent::Whole => Part::Whole,
            Extent::Part => Part::Cuboid,
            Extent::Rest => Part::List,
        };
        let form = Form { part, stops: threads_move(&loaded.module, kernel) };
        loaded.kernel(kernel, form, &self.inner.compiler).map(drop)
    }

    fn resident_blocks(&self, module: LoadedModule, kernel: FuncId, threads: u32, dynamic_shared: u32) -> Option<u32> {
        let kernel = self.compiled(module, kernel).ok()?;
        let shared = kernel.printed.shared_bytes(dynamic_shared);
        kernel.allow(shared, 1).ok()?;
        kernel.function.resident(threads, shared).ok()
    }

    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        if let Some(wrong) = description.wrong() {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, wrong));
        }
        let caps = self.caps.images.as_ref();
        let beyond = caps.map_or(Some("images"), |caps| description.beyond(caps));
        if let Some(beyond) = beyond {
            return Err(DeviceError::new(ErrorKind::NotSupported, format!("the device has no room for {beyond}")));
        }
        let array = Arc::new(self.inner.context.array(ArrayShape(*description))?);
        let mut pictures = lock(&self.inner.pictures);
        pictures.next += 1;
        let name = ImageId(pictures.next);
        pictures.images.insert(name, array);
        Ok(name)
    }

    fn destroy_image(&self, image: ImageId) {
        let gone = lock(&self.inner.pictures).images.remove(&image);
        drop(gone);
    }

    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        if handle.is_some() {
            return Err(DeviceError::new(ErrorKind::NotSupported, "the driver chooses the handles of images"));
        }
        let context = &self.inner.context;
        let made = match object {
            ImageObject::Texture { texels, sampler, normalized_floats } => {
                context.texture(self.inner.over(texels)?, sampler, *normalized_floats)?
            }
            ImageObject::Surface(texels) => context.surface(self.inner.over(texels)?)?,
            ImageObject::Sampler(_) => {
                return Err(DeviceError::new(
                    ErrorKind::NotSupported,
                    "the driver has no samplers apart from textures",
                ));
            }
        };
        let handle = made.handle;
        lock(&self.inner.pictures).objects.insert(handle, made);
        Ok(handle)
    }

    fn unbind(&self, handle: u64) {
        let gone = lock(&self.inner.pictures).objects.remove(&handle);
        drop(gone);
    }

    fn assemble(&self, steps: &[Step]) -> Result<Option<Arc<dyn Assembly>>, DeviceError> {
        let assembled = assembly::assemble(&self.inner, steps)?;
        Ok(assembled.map(|assembled| Arc::new(assembled) as Arc<dyn Assembly>))
    }

    fn open_queue(&self, priority: i32) -> Result<Box<dyn Queue>, DeviceError> {
        self.inner.sweep();
        let (least, greatest) = self.caps.priorities;
        let line = Line::new(&self.inner, priority.clamp(greatest, least))?;
        Ok(Box::new(NvidiaQueue(line)))
    }

    fn reset(&self) -> Result<(), DeviceError> {
        let message = "NVIDIA's driver gives a device back only to another process";
        Err(DeviceError::new(ErrorKind::Lost, message))
    }
}

impl PhysicalMemory for NvidiaDevice {
    fn create(&self, bytes: u64) -> Result<PhysicalId, DeviceError> {
        self.memory.create(bytes, &lock(&self.inner.service))
    }

    fn destroy(&self, memory: PhysicalId) {
        self.memory.destroy(memory);
    }

    fn map(&self, memory: PhysicalId, at: u64, _name: &str) -> Result<(), DeviceError> {
        self.memory.map_physical(memory, at)
    }

    fn allow(&self, at: u64, access: Access) -> Result<(), DeviceError> {
        self.memory.allow(at, access)
    }

    fn expose(&self, at: u64, bytes: u64) -> Result<PhysicalId, DeviceError> {
        self.memory.expose(at, bytes)
    }

    fn export(&self, memory: PhysicalId) -> Result<OwnedFd, DeviceError> {
        self.memory.export(memory)
    }

    fn import(&self, file: OwnedFd) -> Result<(PhysicalId, u64), DeviceError> {
        self.memory.import(&file, self.caps.memory)
    }

    fn import_known(&self, file: OwnedFd, bytes: u64) -> Result<PhysicalId, DeviceError> {
        self.memory.import_known(&file, bytes)
    }
}
