//! Devices that do everything at once: what they implement, and the queues around it.

use crate::{
    Caps, Device, DeviceError, ErrorKind, Extent, Fetched, Fill, HeapState, HostSpan, ImageDescription, ImageId,
    ImageObject, ImagePlace, KernelAttributes, KnownLaunch, Launch, LoadedModule, Mark, Outcome, ParamPointers,
    PhysicalMemory, Place, Queue, Shape, Transfer, WORKSPACE_BYTES, Work,
};
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// A device whose functions return when their work is done. [`Queued`] makes a [`Device`] of it.
///
/// Functions with a namesake in [`Device`] promise the same. Every function may be called from any thread, also at the
/// same time.
pub trait SyncDevice: Send + Sync + 'static {
    /// See [`Device::caps`].
    fn caps(&self) -> &Caps;

    /// See [`Device::map`].
    fn map(&self, at: u64, bytes: u64, name: &str) -> Result<(), DeviceError>;

    /// See [`Device::map_file`].
    fn map_file(&self, at: u64, bytes: u64, name: &str, file: OwnedFd) -> Result<(), DeviceError> {
        let _ = (at, bytes, name, file);
        Err(crate::device::no_files())
    }

    /// See [`Device::written`].
    fn written(&self, at: u64, bytes: u64) -> Option<Vec<Range<u64>>> {
        let _ = (at, bytes);
        None
    }

    /// See [`Device::digests`].
    fn digests(&self, at: u64, bytes: u64) -> Result<Option<Vec<[u8; 32]>>, DeviceError> {
        let _ = (at, bytes);
        Ok(None)
    }

    /// See [`Device::share`].
    fn share(&self, host: HostSpan) -> Result<(), DeviceError>;

    /// See [`Device::reach`].
    fn reach(&self, peer: [u8; 16], at: u64) -> Result<(), DeviceError> {
        let _ = (peer, at);
        Err(DeviceError::new(ErrorKind::NotSupported, "the device has no peers"))
    }

    /// See [`Device::physical`].
    fn physical(&self) -> Option<&dyn PhysicalMemory> {
        None
    }

    /// Offset and size of each parameter of a kernel and the bytes of all, where [`Queue::known`] is to know the kernel.
    fn known_params(&self, module: LoadedModule, kernel: FuncId) -> Option<(Vec<(u32, u32)>, u32)> {
        let _ = (module, kernel);
        None
    }

    /// See [`Device::unmap`].
    fn unmap(&self, at: u64);

    /// Host to device.
    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError>;

    /// Device to host.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError>;

    /// Device to device. The ranges may overlap: the result is as if the source had been read first.
    fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError>;

    /// Host to device, from memory that others may write at the same time.
    fn write_from(&self, at: u64, host: &HostSpan) -> Result<(), DeviceError> {
        in_pieces(host.bytes(), |offset, piece| {
            host.read(offset, piece);
            self.write(at + offset as u64, piece)
        })
    }

    /// Device to host, to memory that others may read at the same time.
    fn read_to(&self, at: u64, host: &HostSpan) -> Result<(), DeviceError> {
        in_pieces(host.bytes(), |offset, piece| {
            self.read(at + offset as u64, piece)?;
            host.write(offset, piece);
            Ok(())
        })
    }

    /// See [`Device::fetch`].
    fn fetch(&self, at: u64, bytes: u64) -> Result<Option<Fetched>, DeviceError> {
        let _ = (at, bytes);
        Ok(None)
    }

    /// See [`Device::put`].
    fn put(&self, at: u64, fetched: &Fetched) -> Result<(), DeviceError> {
        self.write_from(at, fetched.span())
    }

    /// Repeats `pattern` (1, 2, 4, 8 or 16 bytes) `count` times.
    fn fill(&self, at: u64, pattern: &[u8], count: u64) -> Result<(), DeviceError>;

    /// See [`Device::load`].
    fn load(&self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, DeviceError>;

    /// See [`Device::unload`].
    fn unload(&self, module: LoadedModule);

    /// See [`Device::kernel`].
    fn kernel(&self, module: LoadedModule, kernel: FuncId) -> Result<KernelAttributes, DeviceError>;

    /// See [`Device::prepare`].
    fn prepare(&self, module: LoadedModule, kernel: FuncId, block: [u32; 3]) -> Result<(), DeviceError> {
        let _ = block;
        self.kernel(module, kernel).map(drop)
    }

    /// Runs a kernel to its end. The listener hears everything but the end.
    fn launch(&self, launch: &Launch) -> Result<Outcome, DeviceError>;

    /// See [`Device::create_image`]. The description is right as far as any device can tell.
    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        let _ = description;
        Err(no_images())
    }

    /// See [`Device::destroy_image`].
    fn destroy_image(&self, image: ImageId) {
        let _ = image;
    }

    /// Writes whole texels of one row, which are within the image.
    fn write_texels(&self, to: ImagePlace, data: &[u8]) -> Result<(), DeviceError> {
        let _ = (to, data);
        Err(no_images())
    }

    /// Reads whole texels of one row, which are within the image.
    fn read_texels(&self, from: ImagePlace, out: &mut [u8]) -> Result<(), DeviceError> {
        let _ = (from, out);
        Err(no_images())
    }

    /// See [`Device::bind`].
    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        let _ = (handle, object);
        Err(no_images())
    }

    /// See [`Device::unbind`].
    fn unbind(&self, handle: u64) {
        let _ = handle;
    }

    /// See [`Device::heaps`].
    fn heaps(&self) -> Vec<HeapState> {
        Vec::new()
    }

    /// See [`Device::set_heap`].
    fn set_heap(&self, state: &HeapState) {
        let _ = state;
    }

    /// See [`Device::adopts`].
    fn adopts(&self) -> bool {
        false
    }

    /// See [`Device::adopt`].
    fn adopt(&self, from: &Self) -> bool
    where
        Self: Sized,
    {
        let _ = from;
        false
    }
}

fn no_images() -> DeviceError {
    DeviceError::new(ErrorKind::NotSupported, "the device has no images")
}

/// Moves bytes through a buffer of bounded size.
fn in_pieces(
    bytes: usize,
    mut each: impl FnMut(usize, &mut [u8]) -> Result<(), DeviceError>,
) -> Result<(), DeviceError> {
    const PIECE: usize = 1 << 20;
    let mut buffer = vec![0; bytes.min(PIECE)];
    let mut offset = 0;
    while offset < bytes {
        let piece = (bytes - offset).min(PIECE);
        each(offset, &mut buffer[..piece])?;
        offset += piece;
    }
    Ok(())
}

/// A [`SyncDevice`] with queues: each has a thread of its own while it has something to do.
pub struct Queued<D>(Arc<Shared<D>>);

struct Shared<D> {
    device: Arc<D>,
    images: Mutex<HashMap<ImageId, ImageDescription>>,
}

impl<D> Shared<D> {
    fn images(&self) -> MutexGuard<'_, HashMap<ImageId, ImageDescription>> {
        self.images.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<D: SyncDevice> Queued<D> {
    /// Takes a device.
    pub fn new(device: D) -> Self {
        Self::from(Arc::new(device))
    }
}

impl<D> From<Arc<D>> for Queued<D> {
    fn from(device: Arc<D>) -> Self {
        Self(Arc::new(Shared { device, images: Mutex::default() }))
    }
}

impl<D: SyncDevice> Device for Queued<D> {
    fn caps(&self) -> &Caps {
        self.0.device.caps()
    }

    fn map(&self, at: u64, bytes: u64, name: &str) -> Result<(), DeviceError> {
        self.0.device.map(at, bytes, name)
    }

    fn map_file(&self, at: u64, bytes: u64, name: &str, file: OwnedFd) -> Result<(), DeviceError> {
        self.0.device.map_file(at, bytes, name, file)
    }

    fn written(&self, at: u64, bytes: u64) -> Option<Vec<Range<u64>>> {
        self.0.device.written(at, bytes)
    }

    fn digests(&self, at: u64, bytes: u64) -> Result<Option<Vec<[u8; 32]>>, DeviceError> {
        self.0.device.digests(at, bytes)
    }

    fn share(&self, host: HostSpan) -> Result<(), DeviceError> {
        self.0.device.share(host)
    }

    fn reach(&self, peer: [u8; 16], at: u64) -> Result<(), DeviceError> {
        self.0.device.reach(peer, at)
    }

    fn physical(&self) -> Option<&dyn PhysicalMemory> {
        self.0.device.physical()
    }

    fn unmap(&self, at: u64) {
        self.0.device.unmap(at);
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.0.device.write(at, data)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.0.device.read(at, out)
    }

    fn fetch(&self, at: u64, bytes: u64) -> Result<Option<Fetched>, DeviceError> {
        self.0.device.fetch(at, bytes)
    }

    fn put(&self, at: u64, fetched: &Fetched) -> Result<(), DeviceError> {
        self.0.device.put(at, fetched)
    }

    fn load(&self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, DeviceError> {
        self.0.device.load(module, globals)
    }

    fn unload(&self, module: LoadedModule) {
        self.0.device.unload(module);
    }

    fn kernel(&self, module: LoadedModule, kernel: FuncId) -> Result<KernelAttributes, DeviceError> {
        self.0.device.kernel(module, kernel)
    }

    fn prepare(
        &self,
        module: LoadedModule,
        kernel: FuncId,
        block: [u32; 3],
        _extent: Extent,
    ) -> Result<(), DeviceError> {
        self.0.device.prepare(module, kernel, block)
    }

    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        let caps = self.caps().images.ok_or_else(no_images)?;
        if let Some(wrong) = description.wrong() {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, wrong));
        }
        if let Some(beyond) = description.beyond(&caps) {
            return Err(DeviceError::new(ErrorKind::NotSupported, beyond));
        }
        let image = self.0.device.create_image(description)?;
        self.0.images().insert(image, *description);
        Ok(image)
    }

    fn destroy_image(&self, image: ImageId) {
        self.0.images().remove(&image);
        self.0.device.destroy_image(image);
    }

    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        self.0.device.bind(handle, object)
    }

    fn unbind(&self, handle: u64) {
        self.0.device.unbind(handle);
    }

    fn heaps(&self) -> Vec<HeapState> {
        self.0.device.heaps()
    }

    fn set_heap(&self, state: &HeapState) {
        self.0.device.set_heap(state);
    }

    fn adopts(&self, from: &dyn Device) -> bool {
        (from as &dyn Any).is::<Self>() && self.0.device.adopts()
    }

    fn adopt(&self, from: &dyn Device) -> bool {
        let from = (from as &dyn Any).downcast_ref::<Self>();
        from.is_some_and(|from| self.0.device.adopt(&from.0.device))
    }

    fn open_queue(&self, _priority: i32) -> Result<Box<dyn Queue>, DeviceError> {
        let lane = Arc::new(Lane { state: Mutex::default(), changed: Condvar::new() });
        Ok(Box::new(SyncQueue { shared: self.0.clone(), lane }))
    }
}

/// How long a queue's thread waits for more.
const IDLE: Duration = Duration::from_secs(2);

enum Item {
    Work(Work),
    Stamp(Arc<OnceLock<Instant>>),
    Follow(Point),
}

#[derive(Default)]
struct LaneState {
    waiting: VecDeque<Item>,
    /// Items appended, and items done. Those that failed or were left out are done too.
    issued: u64,
    done: u64,
    /// A thread is at an item that it has taken.
    running: bool,
    /// The queue has a thread.
    worker: bool,
    /// Threads that wait for an item.
    listeners: u32,
    closed: bool,
    /// The number of the item that failed, from 1.
    failed: Option<(u64, DeviceError)>,
}

impl LaneState {
    /// The item that is being done is done.
    fn finish(&mut self, result: Result<(), DeviceError>) {
        self.running = false;
        self.done += 1;
        if let Err(error) = result {
            self.failed.get_or_insert((self.done, error));
        }
    }
}

struct Lane {
    state: Mutex<LaneState>,
    changed: Condvar,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, LaneState>) -> MutexGuard<'a, LaneState> {
        self.changed.wait(state).unwrap_or_else(|e| e.into_inner())
    }
}

/// The end of an item.
#[derive(Clone)]
struct Point {
    lane: Arc<Lane>,
    count: u64,
}

impl Point {
    fn wait(&self) -> Result<(), DeviceError> {
        let mut state = self.lane.lock();
        while state.done < self.count {
            state.listeners += 1;
            state = self.lane.wait(state);
            state.listeners -= 1;
        }
        self.verdict(&state)
    }

    fn verdict(&self, state: &LaneState) -> Result<(), DeviceError> {
        match &state.failed {
            Some((failed, error)) if *failed <= self.count => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

struct SyncMark {
    point: Point,
    stamp: Option<Arc<OnceLock<Instant>>>,
}

impl SyncMark {
    fn time(&self) -> Result<Instant, DeviceError> {
        let wrong = |text| DeviceError::new(ErrorKind::InvalidRequest, text);
        let stamp = self.stamp.as_ref().ok_or_else(|| wrong("the mark is not timed"))?;
        stamp.get().copied().ok_or_else(|| wrong("the mark has not been passed"))
    }
}

fn own(mark: &dyn Mark) -> Result<&SyncMark, DeviceError> {
    let own = (mark as &dyn Any).downcast_ref();
    own.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "a mark of another device"))
}

impl Mark for SyncMark {
    fn poll(&self) -> Result<bool, DeviceError> {
        let state = self.point.lane.lock();
        match state.done >= self.point.count {
            true => self.point.verdict(&state).map(|()| true),
            false => Ok(false),
        }
    }

    fn wait(&self) -> Result<(), DeviceError> {
        self.point.wait()
    }

    fn since(&self, earlier: &dyn Mark) -> Result<i64, DeviceError> {
        let (from, to) = (own(earlier)?.time()?, self.time()?);
        let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        Ok(nanoseconds(to.saturating_duration_since(from)) - nanoseconds(from.saturating_duration_since(to)))
    }
}

struct SyncQueue<D> {
    shared: Arc<Shared<D>>,
    lane: Arc<Lane>,
}

impl Lane {
    fn push<D: SyncDevice>(self: &Arc<Self>, device: &Arc<D>, item: Item) -> Result<Point, DeviceError> {
        let mut state = self.lock();
        if !state.worker {
            let (device, lane) = (Arc::clone(device), Arc::clone(self));
            let thread = std::thread::Builder::new().name("hetgpu-queue".into());
            let started = thread.spawn(move || work_off(device.as_ref(), &lane));
            started.map_err(|e| DeviceError::new(ErrorKind::OutOfMemory, format!("no thread for a queue: {e}")))?;
            state.worker = true;
        }
        state.waiting.push_back(item);
        state.issued += 1;
        let count = state.issued;
        drop(state);
        self.changed.notify_all();
        Ok(Point { lane: Arc::clone(self), count })
    }
}

impl<D: SyncDevice> SyncQueue<D> {
    fn push(&self, item: Item) -> Result<Point, DeviceError> {
        self.lane.push(&self.shared.device, item)
    }

    fn check(&self, work: &Work) -> Result<(), DeviceError> {
        work.check()?;
        match work {
            Work::Copy(Transfer { to, from, shape }) => {
                [to, from].into_iter().try_for_each(|place| self.check_texels(place, shape))
            }
            Work::Launch(launch)
                if (launch.stop != 0 || !launch.blocks.are_all()) && !self.shared.device.caps().suspends =>
            {
                Err(DeviceError::new(ErrorKind::NotSupported, "the device does not suspend kernels"))
            }
            Work::Fill(_) | Work::Launch(_) => Ok(()),
        }
    }

    fn check_texels(&self, place: &Place, shape: &Shape) -> Result<(), DeviceError> {
        let Place::Image(place) = place else { return Ok(()) };
        match self.shared.images().get(&place.image) {
            Some(image) if shape.is_empty() || image.holds(place, shape) => Ok(()),
            Some(_) => Err(DeviceError::new(ErrorKind::InvalidRequest, "a copy beyond an image")),
            None => Err(DeviceError::new(ErrorKind::InvalidRequest, "a copy of an image that there is not")),
        }
    }
}

struct SyncKnown<D> {
    device: Arc<D>,
    lane: Arc<Lane>,
    module: LoadedModule,
    kernel: FuncId,
    layout: Vec<(u32, u32)>,
    bytes: u32,
}

impl<D: SyncDevice> KnownLaunch for SyncKnown<D> {
    fn launch(
        &self,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        params: ParamPointers,
    ) -> Result<(), DeviceError> {
        let params = params.gather(self.bytes as usize, &self.layout).into();
        let launch = Launch { grid, block, dynamic_shared, params, ..Launch::new(self.module, self.kernel) };
        self.lane.push(&self.device, Item::Work(Work::Launch(Box::new(launch)))).map(drop)
    }
}

impl<D: SyncDevice> Queue for SyncQueue<D> {
    fn submit(&self, work: Work) -> Result<(), DeviceError> {
        self.check(&work)?;
        self.push(Item::Work(work)).map(drop)
    }

    fn mark(&self, timed: bool) -> Result<Arc<dyn Mark>, DeviceError> {
        if !timed {
            let count = self.lane.lock().issued;
            return Ok(Arc::new(SyncMark { point: Point { lane: self.lane.clone(), count }, stamp: None }));
        }
        let stamp = Arc::default();
        let point = self.push(Item::Stamp(Arc::clone(&stamp)))?;
        Ok(Arc::new(SyncMark { point, stamp: Some(stamp) }))
    }

    fn follow(&self, mark: &dyn Mark) -> Result<(), DeviceError> {
        self.push(Item::Follow(own(mark)?.point.clone())).map(drop)
    }

    fn known(&self, module: LoadedModule, kernel: FuncId) -> Option<Arc<dyn KnownLaunch>> {
        let (layout, bytes) = self.shared.device.known_params(module, kernel)?;
        let (device, lane) = (Arc::clone(&self.shared.device), Arc::clone(&self.lane));
        Some(Arc::new(SyncKnown { device, lane, module, kernel, layout, bytes }))
    }

    fn run(&self, work: Work) -> Result<(), DeviceError> {
        self.check(&work)?;
        let mut state = self.lane.lock();
        if state.done != state.issued || state.failed.is_some() {
            drop(state);
            return self.push(Item::Work(work))?.wait();
        }
        // Nothing lies before it: the caller does it itself, which saves the way to another thread and back.
        state.issued += 1;
        state.running = true;
        drop(state);
        let result = perform(self.shared.device.as_ref(), &Item::Work(work));
        let mut state = self.lane.lock();
        state.finish(result.clone());
        // Without others there is nobody to tell, and telling nobody costs a call of the system.
        let told = state.worker || state.listeners > 0;
        drop(state);
        if told {
            self.lane.changed.notify_all();
        }
        result
    }
}

impl<D> Drop for SyncQueue<D> {
    fn drop(&mut self) {
        self.lane.lock().closed = true;
        self.lane.changed.notify_all();
    }
}

/// What a queue's thread does.
fn work_off<D: SyncDevice>(device: &D, lane: &Lane) {
    let mut state = lane.lock();
    loop {
        if state.running {
            state = lane.wait(state);
            continue;
        }
        let Some(item) = state.waiting.pop_front() else {
            if state.closed {
                return;
            }
            let (after, timeout) = lane.changed.wait_timeout(state, IDLE).unwrap_or_else(|e| e.into_inner());
            state = after;
            if timeout.timed_out() && state.waiting.is_empty() && !state.running {
                state.worker = false;
                return;
            }
            continue;
        };
        let skipped = state.failed.is_some() && matches!(item, Item::Work(_));
        state.running = true;
        drop(state);
        let result = if skipped { Ok(()) } else { perform(device, &item) };
        // What it holds is let go before anybody hears that it is done.
        drop(item);
        state = lane.lock();
        state.finish(result);
        lane.changed.notify_all();
    }
}

fn perform<D: SyncDevice>(device: &D, item: &Item) -> Result<(), DeviceError> {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match item {
        Item::Stamp(stamp) => {
            let _ = stamp.set(Instant::now());
            Ok(())
        }
        // The other queue's failure is not this one's.
        Item::Follow(point) => {
            let _ = point.wait();
            Ok(())
        }
        Item::Work(Work::Copy(transfer)) => copy(device, transfer),
        Item::Work(Work::Fill(Fill { at, pattern, count, rows, pitch })) => {
            (0..*rows).try_for_each(|row| device.fill(at + row * pitch, pattern.bytes(), *count))
        }
        Item::Work(Work::Launch(launch)) => {
            if launch.clears_workspace {
                device.write(launch.workspace, &[0; WORKSPACE_BYTES as usize])?;
            }
            let outcome = device.launch(launch)?;
            launch.listener.ended(outcome);
            Ok(())
        }
    }));
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        Err(DeviceError::new(ErrorKind::LaunchFailed, format!("internal error: {text}")))
    })
}

fn copy<D: SyncDevice>(device: &D, transfer: &Transfer) -> Result<(), DeviceError> {
    let Transfer { to, from, shape } = transfer;
    if shape.is_empty() {
        return Ok(());
    }
    for slice in 0..shape.slices {
        for row in 0..shape.rows {
            let to_offset = slice * shape.to_slice + row * shape.to_pitch;
            let from_offset = slice * shape.from_slice + row * shape.from_pitch;
            copy_row(device, (to, to_offset), (from, from_offset), [row, slice], shape.row)?;
        }
    }
    Ok(())
}

/// Copies one row; offsets count for memory, row and slice for images.
fn copy_row<D: SyncDevice>(
    device: &D,
    (to, to_offset): (&Place, u64),
    (from, from_offset): (&Place, u64),
    at: [u64; 2],
    bytes: u64,
) -> Result<(), DeviceError> {
    let part = |host: &HostSpan, offset: u64| {
        let part = host.part(offset as usize, bytes as usize);
        part.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "a copy past the end of host memory"))
    };
    let texels = |image: &ImagePlace| {
        let [x, y, z] = image.origin;
        let [row, slice] = at.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        ImagePlace { origin: [x, y.saturating_add(row), z.saturating_add(slice)], ..*image }
    };
    match (to, from) {
        (Place::Device(to), Place::Device(from)) => device.copy(to + to_offset, from + from_offset, bytes),
        (Place::Device(to), Place::Host(from)) => device.write_from(to + to_offset, &part(from, from_offset)?),
        (Place::Host(to), Place::Device(from)) => device.read_to(from + from_offset, &part(to, to_offset)?),
        (Place::Host(to), Place::Host(from)) => {
            match to.copy(to_offset as usize, from, from_offset as usize, bytes as usize) {
                true => Ok(()),
                false => Err(DeviceError::new(ErrorKind::InvalidRequest, "a copy past the end of host memory")),
            }
        }
        (Place::Image(_), _) | (_, Place::Image(_)) => {
            let mut buffer = vec![0; bytes as usize];
            match from {
                Place::Device(from) => device.read(from + from_offset, &mut buffer)?,
                Place::Host(from) => _ = part(from, from_offset)?.read(0, &mut buffer),
                Place::Image(from) => device.read_texels(texels(from), &mut buffer)?,
            }
            match to {
                Place::Device(to) => device.write(to + to_offset, &buffer),
                Place::Host(to) => {
                    part(to, to_offset)?.write(0, &buffer);
                    Ok(())
                }
                Place::Image(to) => device.write_texels(texels(to), &buffer),
            }
        }
    }
}
