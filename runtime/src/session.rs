//! What lives from the creation or activation of a context to its destruction or reset.

use crate::partition::Part;
use crate::queue::{Lane, Operation, Point, Queue};
use crate::{DeviceState, Error, Result, sys};
use hetgpu_device::Heap;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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

/// The lanes of the whole, or of a green context.
#[derive(Default)]
struct PartLanes {
    /// 0: the whole.
    id: u64,
    /// Where kernels of its lanes run; none for everywhere.
    processors: Option<Arc<[u32]>>,
    /// Waits for all blocking lanes, and they for it.
    default: Option<Lane>,
    threads: HashMap<ThreadId, Lane>,
    /// Those that synchronise with the default lane.
    blocking: Vec<Lane>,
    /// The others.
    free: Vec<Lane>,
    /// What new lanes wait for.
    gates: Vec<Point>,
}

struct Lanes {
    /// The whole comes first.
    parts: Vec<PartLanes>,
    /// What the program set for a lane, by the interface's numbers.
    attributes: HashMap<(Lane, u32), Attribute>,
}

/// A value that the interface gives its meaning.
pub type Attribute = [u32; 16];

impl PartLanes {
    /// What a lane synchronises with by its kind.
    fn behind(&self, lane: Lane) -> &[Lane] {
        if self.default == Some(lane) {
            &self.blocking
        } else if self.blocking.contains(&lane) {
            self.default.as_slice()
        } else {
            &[]
        }
    }

    fn all(&self) -> impl Iterator<Item = Lane> {
        self.default.iter().chain(&self.blocking).chain(&self.free).copied()
    }

    fn close(&mut self, queue: &Queue) {
        self.threads.clear();
        let blocking = self.blocking.drain(..).chain(self.free.drain(..));
        self.default.take().into_iter().chain(blocking).for_each(|lane| queue.close(lane));
    }
}

impl Lanes {
    fn part(&mut self, id: u64) -> Result<&mut PartLanes> {
        self.parts.iter_mut().find(|part| part.id == id).ok_or(Error::ContextDestroyed)
    }

    /// The part that a lane is of; lanes of nobody are of the whole.
    fn part_of(&self, lane: Lane) -> &PartLanes {
        let part = self.parts.iter().skip(1).find(|part| part.all().any(|other| other == lane));
        part.unwrap_or(&self.parts[0])
    }

    fn behind(&self, lane: Lane) -> &[Lane] {
        self.part_of(lane).behind(lane)
    }

    /// A part; the whole is all of them.
    fn within(&self, id: u64) -> impl Iterator<Item = &PartLanes> {
        self.parts.iter().filter(move |part| id == 0 || part.id == id)
    }
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
    /// What the grid barriers of a lane's launches use, which come one after the other.
    workspaces: Mutex<HashMap<Lane, u64>>,
    heap: Mutex<Option<Heap>>,
    /// Sessions whose memory this one reaches, and their devices.
    peers: Mutex<HashMap<u64, usize>>,
    /// What kernels printed and the program has not seen yet.
    printed: Mutex<Vec<u8>>,
    /// Warnings about kernels so far.
    noticed: AtomicU64,
}

impl Session {
    /// With the multiprocessors that its kernels run on; none for all.
    pub(crate) fn new(id: u64, device: Arc<DeviceState>) -> Arc<Self> {
        let lanes = Lanes { parts: vec![PartLanes::default()], attributes: HashMap::new() };
        Arc::new(Self {
            id,
            device,
            fault: OnceLock::new(),
            ended: AtomicBool::new(false),
            lanes: Mutex::new(lanes),
            limits: Mutex::default(),
            locals: Mutex::default(),
            workspaces: Mutex::default(),
            heap: Mutex::default(),
            peers: Mutex::default(),
            printed: Mutex::default(),
            noticed: AtomicU64::new(0),
        })
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn workspaces(&self) -> MutexGuard<'_, HashMap<Lane, u64>> {
        self.workspaces.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The memory that grid barriers of a lane use, which is made where there is none yet.
    pub(crate) fn workspace(&self, lane: Lane, make: impl FnOnce() -> Result<u64>) -> Result<u64> {
        Ok(match self.workspaces().entry(lane) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(make()?),
        })
    }

    /// A lane that is closed has no use for it any more.
    pub(crate) fn take_workspace(&self, lane: Lane) -> Option<u64> {
        self.workspaces().remove(&lane)
    }

    /// The first fault of a kernel, if there was one.
    pub fn fault(&self) -> Option<Error> {
        self.fault.get().cloned()
    }

    pub(crate) fn poison(&self, error: Error) {
        let _ = self.fault.set(error);
    }

    /// Neither poisoned nor over.
    pub(crate) fn is_well(&self) -> bool {
        self.fault.get().is_none() && !self.ended.load(Ordering::Acquire)
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

    fn peers(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.peers.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether the peer was none before.
    pub(crate) fn add_peer(&self, session: u64, device: usize) -> bool {
        self.peers().insert(session, device).is_none()
    }

    pub(crate) fn remove_peer(&self, session: u64) -> Option<usize> {
        self.peers().remove(&session)
    }

    pub(crate) fn take_peers(&self) -> Vec<usize> {
        std::mem::take(&mut *self.peers()).into_values().collect()
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

    /// Makes room for the lanes of a green context.
    pub(crate) fn add_part(&self, part: &Part) {
        let mut lanes = self.lanes();
        let (id, processors, gates) = (part.id, part.processors.clone(), lanes.parts[0].gates.clone());
        lanes.parts.push(PartLanes { id, processors, gates, ..PartLanes::default() });
    }

    /// Closes the lanes of a green context.
    pub(crate) fn close_part(&self, id: u64) {
        let mut lanes = self.lanes();
        for mut part in lanes.parts.extract_if(1.., |part| part.id == id) {
            part.close(&self.device.queue);
        }
    }

    /// The part that a lane is of, and where its kernels run.
    pub(crate) fn part_of(&self, lane: Lane) -> (u64, Option<Arc<[u32]>>) {
        let lanes = self.lanes();
        let part = lanes.part_of(lane);
        (part.id, part.processors.clone())
    }

    /// Opens a lane, behind what new lanes wait for.
    fn open(self: &Arc<Self>, part: &mut PartLanes, priority: i32) -> Lane {
        let queue = &self.device.queue;
        let lane = queue.open(priority);
        part.gates.retain(|&gate| !queue.passed(gate));
        if !part.gates.is_empty() {
            // A lane that was just opened takes it.
            let _ = queue.push(lane, self, part.gates.clone(), &[], Operation::Nothing);
        }
        lane
    }

    /// The lane of a part's default stream, which synchronises with all blocking ones of the part.
    pub(crate) fn default_lane(self: &Arc<Self>, part: u64) -> Result<Lane> {
        let mut lanes = self.lanes();
        let part = lanes.part(part)?;
        let lane = part.default.unwrap_or_else(|| self.open(part, 0));
        part.default = Some(lane);
        Ok(lane)
    }

    /// The lane of the calling thread's own default stream.
    pub(crate) fn thread_lane(self: &Arc<Self>) -> Lane {
        let mut lanes = self.lanes();
        let whole = &mut lanes.parts[0];
        let thread = std::thread::current().id();
        if let Some(&lane) = whole.threads.get(&thread) {
            return lane;
        }
        let lane = self.open(whole, 0);
        whole.threads.insert(thread, lane);
        whole.blocking.push(lane);
        lane
    }

    pub(crate) fn open_lane(self: &Arc<Self>, part: u64, blocking: bool, priority: i32) -> Result<Lane> {
        let queue = &self.device.queue;
        let mut lanes = self.lanes();
        lanes.attributes.retain(|&(other, _), _| queue.exists(other));
        let part = lanes.part(part)?;
        let lane = self.open(part, priority);
        let PartLanes { blocking: with_default, free, .. } = part;
        with_default.retain(|&other| queue.exists(other));
        free.retain(|&other| queue.exists(other));
        if blocking {
            with_default.push(lane)
        } else {
            free.push(lane)
        }
        Ok(lane)
    }

    /// What the program set for a lane.
    pub(crate) fn attribute(&self, lane: Lane, id: u32) -> Option<Attribute> {
        self.lanes().attributes.get(&(lane, id)).copied()
    }

    pub(crate) fn set_attribute(&self, lane: Lane, id: u32, value: Attribute) {
        self.lanes().attributes.insert((lane, id), value);
    }

    /// What the lane holds still runs, and `synchronise` still waits for it.
    pub(crate) fn close_lane(&self, lane: Lane) {
        self.device.queue.close(lane);
    }

    /// Appends to a lane, with the waits that its kind implies.
    pub(crate) fn push(self: &Arc<Self>, lane: Lane, after: Vec<Point>, operation: Operation) -> Result<Point> {
        // Held until the operation is in its lane: two threads must not both see the other's lane without its operation. It is
        // not held while the device is told of it, which takes longer than all else.
        let lanes = self.lanes();
        let queue = &self.device.queue;
        let pushed = queue.begin(lane, self, after, lanes.behind(lane), operation)?;
        drop(lanes);
        Ok(queue.go_on(pushed))
    }

    /// Appends to a lane what no other thread's work may come between. `push` gets what the first operation waits for.
    pub(crate) fn push_unit<R>(
        &self,
        lane: Lane,
        mut after: Vec<Point>,
        push: impl FnOnce(&Queue, Vec<Point>) -> R,
    ) -> R {
        let lanes = self.lanes();
        let queue = &self.device.queue;
        let behind = lanes.behind(lane);
        after.extend(behind.iter().map(|&other| queue.end(other)));
        let pushed = push(queue, after);
        queue.bar(behind, lane);
        pushed
    }

    /// Appends what runs when everything is done that a part of the session has been given so far.
    pub(crate) fn push_behind_all(self: &Arc<Self>, part: u64, operation: Operation) -> Result<Point> {
        let lanes = self.lanes();
        let queue = &self.device.queue;
        let lane = queue.open(0);
        let behind: Vec<Lane> = lanes.within(part).flat_map(PartLanes::all).collect();
        let point = queue.push(lane, self, Vec::new(), &behind, operation);
        queue.close(lane);
        point
    }

    /// What is appended from now on, in any lane of a part, waits for a point.
    pub(crate) fn hold_back(self: &Arc<Self>, part: u64, point: Point) -> Result<()> {
        let mut lanes = self.lanes();
        let queue = &self.device.queue;
        for part in lanes.parts.iter_mut().filter(|known| part == 0 || known.id == part) {
            part.gates.retain(|&gate| !queue.passed(gate));
            part.gates.push(point);
            for lane in part.all() {
                // A lane that was closed takes nothing that would have to wait.
                let _ = queue.push(lane, self, vec![point], &[], Operation::Nothing);
            }
        }
        Ok(())
    }

    /// Whether a lane synchronises with the default lane.
    pub(crate) fn is_blocking(&self, lane: Lane) -> bool {
        self.lanes().part_of(lane).blocking.contains(&lane)
    }

    /// The present end of every lane of a part.
    fn ends(&self, part: u64) -> Vec<Point> {
        let lanes = self.lanes();
        lanes.within(part).flat_map(PartLanes::all).map(|lane| self.device.queue.end(lane)).collect()
    }

    /// The present end of a lane, and of those that it waits for by its kind.
    pub(crate) fn ends_before(&self, lane: Lane) -> Vec<Point> {
        let lanes = self.lanes();
        let part = lanes.part_of(lane);
        let others: &[Lane] = if part.default == Some(lane) { &part.blocking } else { &[] };
        std::iter::once(&lane).chain(others).map(|&lane| self.device.queue.end(lane)).collect()
    }

    /// Waits for all work of the session.
    pub fn synchronise(&self) -> Result<()> {
        self.drain();
        self.check()
    }

    /// Waits for all work of a part of it.
    pub fn synchronise_part(&self, part: &Part) -> Result<()> {
        self.drain_part(part.id);
        self.check()
    }

    pub(crate) fn drain(&self) {
        self.drain_part(0);
    }

    pub(crate) fn drain_part(&self, part: u64) {
        for point in self.ends(part) {
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
        self.lanes().parts.iter_mut().for_each(|part| part.close(&self.device.queue));
    }
}
