//! The order of work on one device.
//!
//! Operations go into lanes. A lane runs its operations one after the other; an operation may name operations of other
//! lanes that must be finished first. Those always lie before it, so that there are no cycles. As many workers as the
//! device has queues run at the same time take whatever is ready, oldest first; each lane has a queue of the device.

use crate::launch::{self, QueuedLaunch};
use crate::place::{self, Place};
use crate::session::Session;
use crate::{Error, Result, log};
use hetgpu_device::{Device, DeviceError, ErrorKind, Fill, Shape, Work as DeviceWork};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

/// A line of operations that run in order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Lane(u64);

/// A point in a lane: everything up to and including its `count`-th operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub(crate) lane: Lane,
    pub(crate) count: u64,
}

/// When an event was passed.
pub(crate) type Stamp = Arc<OnceLock<Instant>>;

/// Something to do.
pub(crate) enum Operation {
    Copy {
        to: Place,
        from: Place,
        shape: Shape,
    },
    Fill(Fill),
    Launch(Box<QueuedLaunch>),
    Stamp(Stamp),
    /// A function of the host. It runs even in a poisoned session, and is told of the fault.
    Call(Box<dyn FnOnce(Option<Error>) + Send>),
}

struct Entry<W = Work> {
    after: Vec<Point>,
    /// Place in the order of all requests to this device.
    order: u64,
    work: W,
}

struct Work {
    operation: Operation,
    session: Arc<Session>,
}

struct LaneState<W> {
    /// Of the device's queue.
    priority: i32,
    waiting: VecDeque<Entry<W>>,
    issued: u64,
    done: u64,
    running: bool,
    /// Nothing will be added; the lane goes when it is empty.
    closed: bool,
}

impl<W> Default for LaneState<W> {
    fn default() -> Self {
        Self { priority: 0, waiting: VecDeque::new(), issued: 0, done: 0, running: false, closed: false }
    }
}

struct State<W = Work> {
    lanes: HashMap<Lane, LaneState<W>>,
    next_lane: u64,
    next_order: u64,
    workers: u32,
    /// Workers that have nothing to do.
    idle: u32,
}

impl<W> Default for State<W> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), next_lane: 1, next_order: 0, workers: 0, idle: 0 }
    }
}

impl<W> State<W> {
    /// A lane that is gone has finished everything.
    fn passed(&self, point: &Point) -> bool {
        self.lanes.get(&point.lane).is_none_or(|lane| lane.done >= point.count)
    }

    fn next_ready(&self) -> Option<Lane> {
        let ready = self.lanes.iter().filter(|(_, lane)| !lane.running);
        ready
            .filter_map(|(&id, lane)| Some((lane.waiting.front()?, id)))
            .filter(|(entry, _)| entry.after.iter().all(|point| self.passed(point)))
            .min_by_key(|(entry, _)| entry.order)
            .map(|(_, id)| id)
    }
}

struct Shared {
    device: Arc<dyn Device>,
    state: Mutex<State>,
    /// The device's queue of each lane that has one.
    queues: Mutex<HashMap<Lane, Arc<dyn hetgpu_device::Queue>>>,
    /// There may be something to run.
    work: Condvar,
    /// Something was finished.
    progress: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The device's queue of a lane, opened when it is first needed.
    fn queue(&self, lane: Lane) -> Result<Arc<dyn hetgpu_device::Queue>> {
        let priority = self.lock().lanes.get(&lane).map_or(0, |lane| lane.priority);
        let mut queues = self.queues.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(queue) = queues.get(&lane) {
            return Ok(queue.clone());
        }
        let queue = Arc::from(self.device.open_queue(priority)?);
        queues.insert(lane, Arc::clone(&queue));
        Ok(queue)
    }

    /// Takes a lane out of the records that nothing will be added to and nothing is left in.
    fn remove(&self, state: &mut State, lane: Lane) {
        state.lanes.remove(&lane);
        self.queues.lock().unwrap_or_else(|e| e.into_inner()).remove(&lane);
    }
}

/// The lanes of one device and the threads that run them.
pub(crate) struct Queue(Arc<Shared>);

impl Queue {
    pub(crate) fn new(device: Arc<dyn Device>) -> Self {
        let (state, queues) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { device, state, queues, work: Condvar::new(), progress: Condvar::new() }))
    }

    pub(crate) fn open(&self, priority: i32) -> Lane {
        let mut state = self.0.lock();
        let lane = Lane(state.next_lane);
        state.next_lane += 1;
        state.lanes.insert(lane, LaneState { priority, ..LaneState::default() });
        lane
    }

    /// No more operations for this lane. What it holds still runs.
    pub(crate) fn close(&self, lane: Lane) {
        let mut state = self.0.lock();
        if let Some(found) = state.lanes.get_mut(&lane) {
            found.closed = true;
            if found.done == found.issued {
                self.0.remove(&mut state, lane);
            }
        }
    }

    pub(crate) fn exists(&self, lane: Lane) -> bool {
        self.0.lock().lanes.contains_key(&lane)
    }

    /// Appends an operation and returns the point at which it is finished.
    pub(crate) fn push(
        &self,
        lane: Lane,
        session: &Arc<Session>,
        after: Vec<Point>,
        operation: Operation,
    ) -> Result<Point> {
        let mut state = self.0.lock();
        let order = state.next_order;
        let after = after.into_iter().filter(|point| point.lane != lane && !state.passed(point)).collect();
        let found = state.lanes.get_mut(&lane).filter(|lane| !lane.closed);
        let found = found.ok_or(Error::InvalidHandle("stream"))?;
        found.waiting.push_back(Entry { after, order, work: Work { operation, session: session.clone() } });
        found.issued += 1;
        let count = found.issued;
        state.next_order += 1;
        if state.idle == 0 && state.workers < self.0.device.caps().concurrent_queues.max(1) {
            let shared = self.0.clone();
            let started = std::thread::Builder::new().name("hetgpu".into()).spawn(move || work(&shared));
            match started {
                Ok(_) => state.workers += 1,
                // Those that there are will come to it.
                Err(_) if state.workers > 0 => {}
                Err(e) => return Err(Error::out_of_memory(format!("no thread for the device: {e}"))),
            }
        }
        self.0.work.notify_one();
        Ok(Point { lane, count })
    }

    /// The end of a lane as it is now.
    pub(crate) fn end(&self, lane: Lane) -> Point {
        Point { lane, count: self.0.lock().lanes.get(&lane).map_or(0, |lane| lane.issued) }
    }

    pub(crate) fn passed(&self, point: Point) -> bool {
        self.0.lock().passed(&point)
    }

    pub(crate) fn wait(&self, point: Point) {
        let mut state = self.0.lock();
        while !state.passed(&point) {
            state = self.0.progress.wait(state).unwrap_or_else(|e| e.into_inner());
        }
    }
}

fn work(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        let Some(id) = state.next_ready() else {
            state.idle += 1;
            state = shared.work.wait(state).unwrap_or_else(|e| e.into_inner());
            state.idle -= 1;
            continue;
        };
        let lane = state.lanes.get_mut(&id).expect("a ready lane exists");
        let entry = lane.waiting.pop_front().expect("a ready lane has an operation");
        lane.running = true;
        drop(state);
        run(shared, id, entry.work);
        state = shared.lock();
        let lane = state.lanes.get_mut(&id).expect("a running lane exists");
        lane.running = false;
        lane.done += 1;
        if lane.closed && lane.done == lane.issued {
            shared.remove(&mut state, id);
        }
        if state.idle > 0 {
            shared.work.notify_all();
        }
        shared.progress.notify_all();
    }
}

fn run(shared: &Shared, lane: Lane, Work { operation, session }: Work) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match (operation, session.fault()) {
        (Operation::Call(call), fault) => {
            call(fault);
            Ok(())
        }
        // Events of a poisoned session still complete, so that nobody waits for ever; the wait then reports the fault.
        (Operation::Stamp(stamp), _) => {
            let _ = stamp.set(Instant::now());
            Ok(())
        }
        (_, Some(_)) => Ok(()),
        (Operation::Copy { to, from, shape }, None) => place::copy(shared.queue(lane)?.as_ref(), &to, &from, &shape),
        (Operation::Launch(queued), None) => launch::run(shared.queue(lane)?.as_ref(), &session, *queued),
        (Operation::Fill(fill), None) => Ok(shared.queue(lane)?.run(DeviceWork::Fill(fill))?),
    }));
    let error = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => Error::Device(DeviceError::new(
            ErrorKind::LaunchFailed,
            format!("internal error: {}", panic_text(panic.as_ref())),
        )),
    };
    log::error(format_args!("{error}"));
    session.poison(error);
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Lane = Lane(1);
    const B: Lane = Lane(2);

    fn push(state: &mut State<()>, lane: Lane, order: u64, after: &[Point]) {
        let lane = state.lanes.entry(lane).or_default();
        lane.waiting.push_back(Entry { after: after.to_vec(), order, work: () });
        lane.issued += 1;
    }

    #[test]
    fn the_oldest_of_what_is_ready_runs_next() {
        let mut state = State::default();
        assert_eq!(state.next_ready(), None);
        push(&mut state, A, 5, &[]);
        push(&mut state, B, 3, &[]);
        assert_eq!(state.next_ready(), Some(B));
        state.lanes.get_mut(&B).unwrap().running = true;
        assert_eq!(state.next_ready(), Some(A), "a lane runs one operation at a time");
    }

    #[test]
    fn an_operation_waits_for_the_points_that_it_names() {
        let mut state = State::default();
        push(&mut state, A, 1, &[]);
        push(&mut state, A, 2, &[]);
        push(&mut state, B, 0, &[Point { lane: A, count: 2 }]);
        for done in 0..2 {
            state.lanes.get_mut(&A).unwrap().done = done;
            assert_eq!(state.next_ready(), Some(A), "{done} of 2 are done");
        }
        state.lanes.get_mut(&A).unwrap().done = 2;
        assert_eq!(state.next_ready(), Some(B));
        state.lanes.remove(&A);
        assert_eq!(state.next_ready(), Some(B), "a lane that is gone has passed everything");
    }
}
