//! What lives from the creation or activation of a context to its destruction or reset.

use crate::queue::{Lane, Operation, Point};
use crate::{DeviceState, Error, Result, sys};
use hetgpu_device::Heap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::ThreadId;

/// Data that somebody attached to a context, and how to let go of it.
pub struct Local {
    pub value: u64,
    /// Called with the value when the session ends.
    pub drop: Option<Box<dyn FnOnce(u64) + Send>>,
}

/// Limits that programs may ask for. They are remembered; the device decides what they are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub stack: u64,
    pub printf_fifo: u64,
    pub heap: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { stack: 1024, printf_fifo: 8_650_752, heap: 8 << 20 }
    }
}

struct Lanes {
    /// Waits for all blocking lanes, and they for it.
    default: Option<Lane>,
    threads: HashMap<ThreadId, Lane>,
    /// Those that synchronise with the default lane.
    blocking: Vec<Lane>,
    /// The others.
    free: Vec<Lane>,
}

/// Streams, events, modules and memory belong to one of these.
pub struct Session {
    pub id: u64,
    pub device: Arc<DeviceState>,
    fault: OnceLock<Error>,
    ended: AtomicBool,
    lanes: Mutex<Lanes>,
    limits: Mutex<Limits>,
    locals: Mutex<HashMap<u64, Local>>,
    heap: Mutex<Option<Heap>>,
    /// What kernels printed and the program has not seen yet.
    printed: Mutex<Vec<u8>>,
    /// Warnings about kernels so far.
    noticed: AtomicU64,
}

impl Session {
    pub(crate) fn new(id: u64, device: Arc<DeviceState>) -> Arc<Self> {
        let lanes = Lanes { default: None, threads: HashMap::new(), blocking: Vec::new(), free: Vec::new() };
        Arc::new(Self {
            id,
            device,
            fault: OnceLock::new(),
            ended: AtomicBool::new(false),
            lanes: Mutex::new(lanes),
            limits: Mutex::default(),
            locals: Mutex::default(),
            heap: Mutex::default(),
            printed: Mutex::default(),
            noticed: AtomicU64::new(0),
        })
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The first fault of a kernel, if there was one.
    pub fn fault(&self) -> Option<Error> {
        self.fault.get().cloned()
    }

    pub(crate) fn poison(&self, error: Error) {
        let _ = self.fault.set(error);
    }

    /// Fails in a session that is poisoned or over.
    pub fn check(&self) -> Result<()> {
        if self.ended.load(Ordering::Acquire) {
            return Err(Error::ContextDestroyed);
        }
        self.fault().map_or(Ok(()), Err)
    }

    pub fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn set_limits(&self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.limits.lock().unwrap_or_else(|e| e.into_inner()));
    }

    fn locals(&self) -> MutexGuard<'_, HashMap<u64, Local>> {
        self.locals.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Attaches data under a key. Data that was there is returned.
    pub fn put_local(&self, key: u64, local: Local) -> Option<Local> {
        self.locals().insert(key, local)
    }

    pub fn local(&self, key: u64) -> Option<u64> {
        self.locals().get(&key).map(|local| local.value)
    }

    /// Detaches without letting go of the data.
    pub fn remove_local(&self, key: u64) -> Option<Local> {
        self.locals().remove(&key)
    }

    /// The lane of the default stream, which synchronises with all blocking ones.
    pub(crate) fn default_lane(&self) -> Lane {
        *self.lanes().default.get_or_insert_with(|| self.device.queue.open(0))
    }

    /// The lane of the calling thread's own default stream.
    pub(crate) fn thread_lane(&self) -> Lane {
        let mut lanes = self.lanes();
        let Lanes { threads, blocking, .. } = &mut *lanes;
        *threads.entry(std::thread::current().id()).or_insert_with(|| {
            let lane = self.device.queue.open(0);
            blocking.push(lane);
            lane
        })
    }

    pub(crate) fn open_lane(&self, blocking: bool, priority: i32) -> Lane {
        let queue = &self.device.queue;
        let lane = queue.open(priority);
        let mut lanes = self.lanes();
        let Lanes { blocking: with_default, free, .. } = &mut *lanes;
        with_default.retain(|&other| queue.exists(other));
        free.retain(|&other| queue.exists(other));
        if blocking {
            with_default.push(lane)
        } else {
            free.push(lane)
        }
        lane
    }

    /// What the lane holds still runs, and `synchronise` still waits for it.
    pub(crate) fn close_lane(&self, lane: Lane) {
        self.device.queue.close(lane);
    }

    /// Appends to a lane, with the waits that its kind implies.
    pub(crate) fn push(self: &Arc<Self>, lane: Lane, mut after: Vec<Point>, operation: Operation) -> Result<Point> {
        let queue = &self.device.queue;
        // Held until the operation is in its lane: two threads must not both see the other's lane without its operation.
        let lanes = self.lanes();
        if lanes.default == Some(lane) {
            after.extend(lanes.blocking.iter().map(|&other| queue.end(other)));
        } else if lanes.blocking.contains(&lane) {
            after.extend(lanes.default.map(|default| queue.end(default)));
        }
        queue.push(lane, self, after, operation)
    }

    /// The present end of every lane.
    pub(crate) fn ends(&self) -> Vec<Point> {
        let lanes = self.lanes();
        let all = lanes.default.iter().chain(&lanes.blocking).chain(&lanes.free);
        all.map(|&lane| self.device.queue.end(lane)).collect()
    }

    /// The present end of a lane, and of those that it waits for by its kind.
    pub(crate) fn ends_before(&self, lane: Lane) -> Vec<Point> {
        let lanes = self.lanes();
        let others: &[Lane] = if lanes.default == Some(lane) { &lanes.blocking } else { &[] };
        std::iter::once(&lane).chain(others).map(|&lane| self.device.queue.end(lane)).collect()
    }

    /// Waits for all work of the session.
    pub fn synchronise(&self) -> Result<()> {
        self.drain();
        self.check()
    }

    pub(crate) fn drain(&self) {
        for point in self.ends() {
            self.device.queue.wait(point);
        }
        self.show_printed();
    }

    /// Waits for a point, and fails if there was a fault.
    pub(crate) fn wait(&self, point: Point) -> Result<()> {
        self.device.queue.wait(point);
        self.show_printed();
        self.check()
    }

    /// How much was noticed about kernels that did not stop them.
    pub fn noticed(&self) -> u64 {
        self.noticed.load(Ordering::Relaxed)
    }

    pub(crate) fn notice(&self) {
        self.noticed.fetch_add(1, Ordering::Relaxed);
    }

    fn printed(&self) -> MutexGuard<'_, Vec<u8>> {
        self.printed.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Keeps what a kernel printed until the program waits for it: before that it may be printing itself.
    pub(crate) fn print(&self, bytes: &[u8]) {
        self.printed().extend_from_slice(bytes);
    }

    fn show_printed(&self) {
        let bytes = std::mem::take(&mut *self.printed());
        if !bytes.is_empty() {
            sys::print(&bytes);
        }
    }

    /// The heap, made by `make` with the bytes of the limit where there is none.
    pub(crate) fn heap_or(&self, make: impl FnOnce(u64) -> Result<Heap>) -> Result<Heap> {
        let mut heap = self.heap.lock().unwrap_or_else(|e| e.into_inner());
        match *heap {
            Some(heap) => Ok(heap),
            None => Ok(*heap.insert(make(self.limits().heap)?)),
        }
    }

    /// Waits for the work, then lets everything go. The objects that belong to the session are removed by the caller.
    pub(crate) fn end(&self) {
        self.drain();
        let locals = std::mem::take(&mut *self.locals());
        for local in locals.into_values() {
            if let Some(drop) = local.drop {
                drop(local.value);
            }
        }
        self.ended.store(true, Ordering::Release);
        let mut lanes = self.lanes();
        let Lanes { default, threads, blocking, free } = &mut *lanes;
        threads.clear();
        for lane in default.take().into_iter().chain(blocking.drain(..)).chain(free.drain(..)) {
            self.device.queue.close(lane);
        }
    }
}
