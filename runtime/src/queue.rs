//! The order of work on one device.
//!
//! Operations go into lanes. A lane runs its operations one after the other; an operation may name operations of other
//! lanes that must be finished first. Those always lie before it, so that there are no cycles. As many workers as the
//! device has queues run at the same time take whatever is ready, oldest first; each lane has a queue of the device.
//!
//! Waking a thread costs more than a short kernel. So whoever waits for a point runs what stands before it himself,
//! where nobody else does yet; and where little is to do, nobody is woken for it: a worker that dozes will find it
//! soon. Functions of the host run on workers only, as programs know them to.
//!
//! A device that works on its own (`Caps::asynchronous`) is handed what is short and known (`handed`), by the thread that asks
//! for it, and nobody waits in between. What may take long is not: a pause could not stop what stands behind it.

mod express;
mod handed;
mod order;

use crate::graph::Series;
use crate::handle::Handle;
use crate::image::CopyStep;
use crate::launch::{self, Measured, QueuedLaunch};
use crate::module::Module;
use crate::seat::{Held, InOperation};
use crate::session::Session;
use crate::word::Condition;
use crate::{Error, Result, log, sys};
pub(crate) use express::{Express, Ticket};
use handed::Handed;
use hetgpu_device::{Device, DeviceError, ErrorKind, Fill, KnownLaunch, LoadedModule, NumberMap, Work as DeviceWork};
use hetir::entity::FuncId;
pub use order::Lane;
pub(crate) use order::Point;
use order::{Before, Order};
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// When an event was passed.
pub(crate) type Stamp = Arc<handed::Stamped>;

/// Work that is put together when it runs.
pub(crate) type Run = Box<dyn FnOnce(&dyn hetgpu_device::Queue, &Arc<Session>) -> Result<()> + Send>;

/// Something to do.
pub(crate) enum Operation {
    /// Only the order that it stands for.
    Nothing,
    Copy(Box<CopyStep>),
    Fill(Fill),
    Launch(Box<QueuedLaunch>),
    Stamp(Stamp),
    /// Several pieces of work in one, on the device's queue of the lane.
    Run(Run),
    /// Steps of a graph that are short, and that the device is given without anybody waiting for one of them.
    Series(Box<Series>),
    /// Begins when the condition holds.
    Await(Condition),
    /// The runtime's own: it runs on any thread, even in a poisoned session, and waits for nothing.
    Own(Box<dyn FnOnce() + Send>),
    /// A function of the host. It runs even in a poisoned session, and is told of the fault.
    Call(Box<dyn FnOnce(Option<Error>) + Send>),
}

/// Nanoseconds that stand for more than is worth waiting for, or for an unknown time.
const LONG: u64 = 1_000_000;
/// So much work does not wake anybody while somebody dozes, and is waited for awake.
const SHORT: u64 = 20_000;

/// Bytes of its stack that a thread of the program must have left to run operations.
const STACK: usize = 1 << 20;

impl Operation {
    /// For a person.
    fn what(&self) -> &'static str {
        match self {
            Self::Nothing | Self::Stamp(_) | Self::Await(_) | Self::Own(_) => "an operation of the runtime",
            Self::Copy(_) => "a copy",
            Self::Fill(_) => "a fill",
            Self::Launch(_) => "a kernel",
            Self::Run(_) | Self::Series(_) => "a part of a graph",
            Self::Call(_) => "a function of the program",
        }
    }

    /// How many nanoseconds it takes, as far as is known; `LONG` for what only a worker does.
    fn guess(&self) -> u64 {
        /// Of a copy on the host.
        const BYTES_A_NANOSECOND: u64 = 8;
        let bytes = |row: u64, rows: u64| row.saturating_mul(rows) / BYTES_A_NANOSECOND;
        let guess = match self {
            Self::Nothing | Self::Stamp(_) | Self::Await(_) => 100,
            Self::Own(_) => 1_000,
            Self::Copy(copy) => bytes(copy.shape.row, copy.shape.rows.saturating_mul(copy.shape.slices)),
            Self::Fill(fill) => bytes(fill.count.saturating_mul(fill.pattern.bytes().len() as u64), fill.rows),
            Self::Launch(queued) => queued.guess().unwrap_or(LONG),
            Self::Series(series) => series.guess,
            Self::Run(_) | Self::Call(_) => LONG,
        };
        guess.min(LONG)
    }

    /// A launch whose time is worth knowing.
    fn measured(&self) -> Option<Measured> {
        match self {
            Self::Launch(queued) => Some(queued.measured()),
            Self::Nothing
            | Self::Copy(_)
            | Self::Fill(_)
            | Self::Stamp(_)
            | Self::Run(_)
            | Self::Series(_)
            | Self::Await(_)
            | Self::Own(_)
            | Self::Call(_) => None,
        }
    }
}

struct Work {
    operation: Operation,
    session: Arc<Session>,
    guess: u64,
    follows: bool,
}

impl Work {
    /// How many nanoseconds it takes by what is known now: it may have stood in its lane for long.
    fn guess_now(&self) -> u64 {
        self.operation.guess().min(self.guess)
    }

    /// Whether what it waits for has come. A poisoned session waits for nothing.
    fn may_begin(&self) -> bool {
        match &self.operation {
            Operation::Await(condition) => self.session.fault().is_some() || condition.holds(),
            _ => true,
        }
    }
}

impl order::Item for Work {
    fn is_polled(&self) -> bool {
        matches!(self.operation, Operation::Await(_))
    }

    fn follows(&self) -> bool {
        self.follows
    }
}

/// An operation that a thread has taken.
struct Running {
    lane: Lane,
    /// The nanoseconds that it takes.
    guess: u64,
    what: &'static str,
}

#[derive(Default)]
struct State {
    order: Order<Work>,
    /// The device's queue of each lane that has one.
    queues: NumberMap<Lane, Arc<dyn hetgpu_device::Queue>>,
    workers: u32,
    /// No thread can be had: who waits does everything.
    alone: bool,
    /// Workers that sleep, with or without end.
    sleeping: u32,
    /// Workers that have been called and have not come yet.
    called: u32,
    /// Workers that look for work without sleeping.
    looking: u32,
    /// One of those who sleep comes back by itself.
    dozing: bool,
    /// Nanoseconds that what nobody has taken yet will take.
    backlog: u64,
    running: Vec<Running>,
    /// What the device was handed, by lane; lanes without any are not here.
    handed: NumberMap<Lane, Handed>,
    /// Lanes that are lent at times.
    loans: NumberMap<Lane, express::Loan>,
    /// Lanes for which somebody waits that is no thread of the program.
    draining: HashSet<Lane>,
    /// Nothing is begun.
    paused: bool,
    /// Threads of the program that sleep until a point is passed.
    waiting: Vec<(Point, Thread)>,
    /// How often a thread of the program waited.
    waits: u64,
}

impl State {
    /// The lane whose operation should be taken next.
    fn next(&self) -> Option<Lane> {
        if self.paused { None } else { self.order.first_ready() }
    }

    /// A lane whose handed work is waited for, by nobody who is here.
    fn wanted(&self) -> Option<Lane> {
        self.handed.keys().copied().find(|&lane| self.order.is_wanted(lane) && !self.draining.contains(&lane))
    }

    /// Makes ready what waited for a condition that holds.
    fn poll(&mut self) {
        if self.order.polls() && !self.paused {
            self.order.poll(Work::may_begin);
        }
    }
}

struct Shared {
    device: Arc<dyn Device>,
    state: Mutex<State>,
    /// There may be something to run.
    work: Condvar,
    /// Operations that stay where they are until the pause is over, and how they hear that it is.
    held: Arc<Held>,
    resumed: Condvar,
    /// Counts operations: those appended, and those finished.
    pushed: AtomicU64,
    finished: AtomicU64,
    /// Waiting awake takes a processor from nobody who would finish sooner with it.
    spins: bool,
}

type Guard<'a> = MutexGuard<'a, State>;

impl Shared {
    fn lock(&self) -> Guard<'_> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether somebody must be called, once the lock is free, for what is ready. `now`: it must not wait until a dozing
    /// worker comes back.
    fn must_call(self: &Arc<Self>, state: &mut State, now: bool) -> bool {
        if state.paused {
            return false;
        }
        // Conditions are looked at by whoever dozes.
        let watch = state.order.polls() && !state.dozing;
        let wanted = state.wanted().is_some();
        let ready = state.order.ready() as u32 + u32::from(watch) + u32::from(wanted);
        if ready == 0 || state.looking > 0 || state.called >= ready {
            return false;
        }
        if !now && !watch && !wanted && state.dozing && state.backlog < SHORT && state.waiting.is_empty() {
            return false;
        }
        if state.sleeping > state.called {
            state.called += 1;
            return true;
        }
        if state.workers < self.device.caps().concurrent_queues.max(1) {
            match self.hire() {
                Ok(()) => state.workers += 1,
                // Those that there are will come to it.
                Err(_) => state.alone = state.workers == 0,
            }
        }
        false
    }

    fn hire(self: &Arc<Self>) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        std::thread::Builder::new().name("hetgpu".into()).spawn(move || shared.serve()).map(drop)
    }

    fn call(&self, must: bool) {
        if must {
            self.work.notify_one();
        }
    }

    /// Takes the operation of a lane that is ready, and runs it.
    fn step<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, lane: Lane) -> Guard<'a> {
        if state.order.next(lane).is_some_and(|work| work.follows) {
            return self.hand(state, lane);
        }
        let Some(work) = state.order.take(lane) else { return state };
        state.backlog -= work.guess;
        state.running.push(Running { lane, guess: work.guess, what: work.operation.what() });
        let queue = state.queues.get(&lane).cloned();
        let must = self.must_call(&mut state, false);
        drop(state);
        self.call(must);
        self.run(lane, queue, work);
        let mut state = self.lock();
        state.running.retain(|running| running.lane != lane);
        if state.order.finish(lane) {
            state.queues.remove(&lane);
        }
        self.finished.fetch_add(1, Ordering::Relaxed);
        self.tell(state)
    }

    /// Wakes those whose point is passed.
    fn tell<'a>(&'a self, mut state: Guard<'a>) -> Guard<'a> {
        state.poll();
        if state.waiting.is_empty() {
            return state;
        }
        let State { order, waiting, .. } = &mut *state;
        let passed: Vec<_> = waiting.extract_if(.., |(point, _)| order.passed(*point)).collect();
        if passed.is_empty() {
            return state;
        }
        drop(state);
        passed.iter().for_each(|(_, thread)| thread.unpark());
        self.lock()
    }

    /// The device's queue of a lane, opened when it is first needed.
    fn open_queue(&self, lane: Lane) -> Result<Arc<dyn hetgpu_device::Queue>> {
        let priority = self.lock().order.priority(lane);
        let queue: Arc<dyn hetgpu_device::Queue> = Arc::from(self.device.open_queue(priority)?);
        self.lock().queues.insert(lane, Arc::clone(&queue));
        Ok(queue)
    }

    fn run(&self, lane: Lane, queue: Option<Arc<dyn hetgpu_device::Queue>>, Work { operation, session, .. }: Work) {
        let _operation = InOperation::begin(&self.held);
        let queue = || queue.map_or_else(|| self.open_queue(lane), Ok);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match (operation, session.fault()) {
            (Operation::Call(call), fault) => {
                IN_CALL.set(true);
                let _over = Over;
                call(fault);
                Ok(())
            }
            (Operation::Own(call), _) => {
                call();
                Ok(())
            }
            // Events of a poisoned session still complete, so that nobody waits for ever; the wait then reports the fault.
            (Operation::Stamp(stamp), _) => {
                stamp.pass(Instant::now());
                Ok(())
            }
            (Operation::Nothing, _) | (_, Some(_)) => Ok(()),
            (Operation::Await(condition), None) => condition.check(),
            (Operation::Run(run), None) => run(queue()?.as_ref(), &session),
            (Operation::Copy(copy), None) => copy.run(queue()?.as_ref()),
            (Operation::Launch(queued), None) => launch::run(queue()?.as_ref(), &session, *queued),
            (Operation::Fill(fill), None) => Ok(queue()?.run(DeviceWork::Fill(fill))?),
            (Operation::Series(series), None) => {
                let queue = queue()?;
                series.submit(queue.as_ref())?;
                Ok(queue.finish()?)
            }
        }));
        if let Err(error) = settled(outcome) {
            log::error(format_args!("{error}"));
            session.poison(error);
        }
    }

    /// What a worker does.
    fn serve(self: &Arc<Self>) {
        /// How long it looks for more without sleeping, after work that nobody waited for.
        const LOOK: Duration = Duration::from_micros(20);
        /// How long it dozes.
        const DOZE: Duration = Duration::from_micros(100);
        /// How often it looks at conditions before it dozes for longer, and how much longer.
        const EAGER: u32 = 100;
        const LAZY: u32 = 10;
        let mut looks = 0;
        let (mut ran, mut waits, mut pushed) = (false, 0, 0);
        let mut state = self.lock();
        loop {
            state.poll();
            if let Some(lane) = state.next() {
                looks = 0;
                waits = state.waits;
                state = self.step(state, lane);
                ran = true;
                continue;
            }
            if let Some(lane) = state.wanted() {
                state.draining.insert(lane);
                state = self.drain(state, lane, None);
                state.draining.remove(&lane);
                continue;
            }
            // Who waits helps himself, and wants the processor.
            if std::mem::take(&mut ran) && self.spins && state.waits == waits && state.looking == 0 {
                state.looking += 1;
                let before = self.pushed.load(Ordering::Relaxed);
                drop(state);
                spin(LOOK, &self.pushed, before);
                state = self.lock();
                state.looking -= 1;
                continue;
            }
            let now = self.pushed.load(Ordering::Relaxed);
            let traffic = now != std::mem::replace(&mut pushed, now);
            looks = if state.order.polls() && !state.paused { looks + 1 } else { 0 };
            state.sleeping += 1;
            if !state.dozing && (traffic || looks > 0) {
                state.dozing = true;
                let time = if looks > EAGER { DOZE * LAZY } else { DOZE };
                state = self.work.wait_timeout(state, time).unwrap_or_else(|e| e.into_inner()).0;
                state.dozing = false;
            } else {
                state = self.work.wait(state).unwrap_or_else(|e| e.into_inner());
            }
            state.sleeping -= 1;
            // A call that meets somebody who comes by himself wakes one more than it must.
            state.called = state.called.saturating_sub(1);
        }
    }

    /// Waits until a point is passed, and runs what stands before it.
    fn wait(self: &Arc<Self>, point: Point) {
        let mut state = self.lock();
        if state.order.passed(point) {
            return;
        }
        state.waits += 1;
        let mut fits = None;
        let mut patience = if self.spins { 3 } else { 0 };
        while !state.order.passed(point) {
            // Nobody runs anything in a pause, nor looks whether it has been run.
            let before = match state.order.before(point) {
                Before::Handed(lane) => Before::Handed(lane),
                _ if state.paused => Before::Nothing,
                before => before,
            };
            match before {
                Before::Ready(lane) if state.alone || !state.order.next(lane).is_some_and(is_call) => {
                    if state.alone || *fits.get_or_insert_with(|| sys::stack_left() >= STACK) {
                        state = self.step(state, lane);
                        continue;
                    }
                }
                Before::Handed(lane) => {
                    state = self.drain(state, lane, Some(point));
                    continue;
                }
                Before::Running(lane) if patience > 0 => {
                    let guess = state.running.iter().find(|running| running.lane == lane).map(|running| running.guess);
                    if guess.is_some_and(|guess| guess < SHORT) {
                        patience -= 1;
                        let before = self.finished.load(Ordering::Relaxed);
                        drop(state);
                        spin(Duration::from_nanos(SHORT), &self.finished, before);
                        state = self.lock();
                        continue;
                    }
                }
                Before::Polled if patience > 0 => {
                    patience -= 1;
                    let before = self.finished.load(Ordering::Relaxed);
                    drop(state);
                    spin(Duration::from_nanos(SHORT), &self.finished, before);
                    state = self.lock();
                    state.poll();
                    continue;
                }
                Before::Ready(_) | Before::Running(_) | Before::Polled | Before::Nothing => {}
            }
            state.waiting.push((point, std::thread::current()));
            let must = self.must_call(&mut state, true);
            drop(state);
            self.call(must);
            std::thread::park();
            state = self.lock();
            let me = std::thread::current().id();
            state.waiting.retain(|(_, thread)| thread.id() != me);
        }
        // What else there is stays for others.
        let must = self.must_call(&mut state, false);
        drop(state);
        self.call(must);
    }
}

thread_local! {
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        IN_CALL.set(false);
    }
}

/// Whether the calling thread is in a function of the host that a stream runs, which must not wait for streams.
pub fn in_host_function() -> bool {
    IN_CALL.get()
}

fn is_call(work: &Work) -> bool {
    matches!(work.operation, Operation::Call(_))
}

/// Until a counter moves on from this, and no longer than that.
fn spin(most: Duration, counter: &AtomicU64, before: u64) {
    /// So long nobody else gets the processor.
    const ALONE: Duration = Duration::from_micros(2);
    let start = Instant::now();
    while counter.load(Ordering::Relaxed) == before {
        match start.elapsed() {
            time if time >= most => break,
            // Who moves the counter may be waiting for this processor.
            time if time >= ALONE => std::thread::yield_now(),
            _ => (0..16).for_each(|_| std::hint::spin_loop()),
        }
    }
}

/// An operation that was appended, while nobody else looks at the queue.
pub(crate) struct Pushed<'q> {
    state: Guard<'q>,
    pub(crate) point: Point,
    follows: bool,
    /// It was begun as soon as it was appended, and goes to the device behind these points.
    begun: Option<(Work, Vec<Point>)>,
}

/// The lanes of one device and the threads that run them.
pub(crate) struct Queue(Arc<Shared>);

impl Queue {
    pub(crate) fn new(device: Arc<dyn Device>) -> Self {
        let spins = std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        let (state, work) = (Mutex::default(), Condvar::new());
        let (pushed, finished) = (AtomicU64::new(0), AtomicU64::new(0));
        let (held, resumed) = (Arc::default(), Condvar::new());
        Self(Arc::new(Shared { device, state, work, held, resumed, pushed, finished, spins }))
    }

    /// Nothing is begun from now on; what has been begun goes on.
    pub(crate) fn pause(&self) {
        let mut state = self.0.lock();
        state.paused = true;
        state.end_loans();
    }

    /// Work goes on, and who waits for it looks again.
    pub(crate) fn resume(&self) {
        let mut state = self.0.lock();
        state.paused = false;
        state.poll();
        let workers = state.sleeping;
        // Each of them comes by itself, as if it had been called.
        state.called = workers;
        let must = workers == 0 && self.0.must_call(&mut state, true);
        let waiting: Vec<Thread> = state.waiting.iter().map(|(_, thread)| thread.clone()).collect();
        drop(state);
        self.0.work.notify_all();
        self.0.call(must);
        self.0.resumed.notify_all();
        waiting.iter().for_each(Thread::unpark);
    }

    /// What has been begun and neither has ended nor stays where it is; nothing once a pause is complete.
    pub(crate) fn busy(&self) -> Vec<&'static str> {
        let state = self.0.poll_all(self.0.lock());
        let handed = state.handed.values().map(Handed::what);
        match state.running.len() as u32 <= self.0.held.count() {
            true => handed.collect(),
            false => state.running.iter().map(|running| running.what).chain(handed).collect(),
        }
    }

    /// An operation of several steps says that it does not use the device before the next one, which the device does not
    /// hear of: in a pause it stays here.
    pub(crate) fn stay(&self) {
        let state = self.0.lock();
        if state.paused {
            self.0.held.during(|| {
                let over = self.0.resumed.wait_while(state, |state| state.paused);
                drop(over.unwrap_or_else(|e| e.into_inner()));
            });
        }
    }

    /// Does something while none of these queues runs an operation, and none begins one. It does not use the queues.
    pub(crate) fn while_idle<R>(queues: &[&Self], act: impl FnOnce() -> R) -> R {
        const PAUSE: Duration = Duration::from_micros(50);
        loop {
            // Nobody launches past the lock meanwhile.
            queues.iter().for_each(|queue| queue.0.lock().end_loans());
            queues.iter().for_each(|queue| drop(queue.0.poll_all(queue.0.lock())));
            let mut states: Vec<Guard<'_>> = queues.iter().map(|queue| queue.0.lock()).collect();
            states.iter_mut().for_each(|state| state.end_loans());
            // In a pause the device is out of reach, and who ends it wants these locks.
            if states.iter().all(|state| state.running.is_empty() && state.handed.is_empty() && !state.paused) {
                return act();
            }
            // What runs may wait for what has not begun.
            drop(states);
            std::thread::sleep(PAUSE);
        }
    }

    pub(crate) fn open(&self, priority: i32) -> Lane {
        self.0.lock().order.open(priority)
    }

    /// No more operations for this lane. What it holds still runs.
    pub(crate) fn close(&self, lane: Lane) {
        let mut state = self.0.lock();
        state.end_loan(lane);
        if state.order.close(lane) {
            state.queues.remove(&lane);
        }
        let must = state.handed.contains_key(&lane) && self.0.must_call(&mut state, false);
        drop(state);
        self.0.call(must);
    }

    pub(crate) fn exists(&self, lane: Lane) -> bool {
        self.0.lock().order.exists(lane)
    }

    pub(crate) fn priority(&self, lane: Lane) -> i32 {
        self.0.lock().order.priority(lane)
    }

    /// Changes how early what stands in a lane is taken; the device's queue keeps what it was opened with.
    pub(crate) fn set_priority(&self, lane: Lane, priority: i32) {
        self.0.lock().order.set_priority(lane, priority);
    }

    /// Appends an operation, to run after these points and after the present ends of these lanes. Returns the point at
    /// which it is finished.
    pub(crate) fn push(
        &self,
        lane: Lane,
        session: &Arc<Session>,
        after: Vec<Point>,
        behind: &[Lane],
        operation: Operation,
    ) -> Result<Point> {
        let pushed = self.begin(lane, session, after, behind, operation)?;
        Ok(self.go_on(pushed))
    }

    /// Appends an operation, and begins it where the device can be given it at once; nobody hears of it before [`Self::go_on`], for which
    /// no lock may be held.
    pub(crate) fn begin(
        &self,
        lane: Lane,
        session: &Arc<Session>,
        mut after: Vec<Point>,
        behind: &[Lane],
        operation: Operation,
    ) -> Result<Pushed<'_>> {
        let work = self.work(session, operation);
        let follows = work.follows;
        let mut state = self.0.lock();
        state.append_to(lane);
        for &other in behind {
            state.take_back(other);
        }
        after.extend(behind.iter().map(|&other| state.order.end(other)).filter(|point| !state.order.passed(*point)));
        if self.0.goes_at_once(&state, lane, &after, &work)
            && let Some(point) = state.order.begin(lane)
        {
            self.0.pushed.fetch_add(1, Ordering::Relaxed);
            behind.iter().for_each(|&other| state.bar(other, point));
            return Ok(Pushed { state, point, follows, begun: Some((work, after)) });
        }
        let point = self.put(&mut state, lane, after, work)?;
        behind.iter().for_each(|&other| state.bar(other, point));
        Ok(Pushed { state, point, follows, begun: None })
    }

    /// Appends an operation; nobody hears of it before [`Self::go_on_with`].
    pub(crate) fn append(
        &self,
        lane: Lane,
        session: &Arc<Session>,
        after: Vec<Point>,
        operation: Operation,
    ) -> Result<Point> {
        let work = self.work(session, operation);
        let mut state = self.0.lock();
        state.append_to(lane);
        self.put(&mut state, lane, after, work)
    }

    fn work(&self, session: &Arc<Session>, operation: Operation) -> Work {
        let guess = operation.guess();
        let follows = self.0.device.caps().asynchronous && operation.may_follow();
        Work { operation, session: Arc::clone(session), guess, follows }
    }

    fn put(&self, state: &mut State, lane: Lane, after: Vec<Point>, work: Work) -> Result<Point> {
        let guess = work.guess;
        let point = state.order.push(lane, after, work).ok_or(Error::InvalidHandle("stream"))?;
        state.backlog += guess;
        self.0.pushed.fetch_add(1, Ordering::Relaxed);
        Ok(point)
    }

    /// Sees to it that an operation which was appended is done.
    pub(crate) fn go_on(&self, Pushed { mut state, point, follows, begun }: Pushed<'_>) -> Point {
        if let Some((work, after)) = begun {
            state = self.0.hand_over(state, point.lane, &after, work);
        } else if follows {
            state = self.0.hand_all(state, point.lane);
        }
        let must = self.0.must_call(&mut state, false);
        drop(state);
        self.0.call(must);
        point
    }

    /// Sees to it that what several operations of a lane come to is done.
    pub(crate) fn go_on_with(&self, point: Point) {
        let follows = self.0.device.caps().asynchronous;
        self.go_on(Pushed { state: self.0.lock(), point, follows, begun: None });
    }

    /// The end of a lane as it is now.
    pub(crate) fn end(&self, lane: Lane) -> Point {
        let mut state = self.0.lock();
        state.book(lane);
        state.order.end(lane)
    }

    /// Lanes are not lent before the present end of another is passed.
    pub(crate) fn bar(&self, lanes: &[Lane], until: Lane) {
        if !lanes.is_empty() {
            let mut state = self.0.lock();
            let end = state.order.end(until);
            lanes.iter().for_each(|&lane| state.bar(lane, end));
        }
    }

    /// What is counted of a lane, for launches past its order.
    pub(crate) fn express(&self, lane: Lane, session: &Arc<Session>) -> Option<Arc<Express>> {
        self.0.lock().express(lane, session)
    }

    /// A kernel that was launched in a lane, for such launches.
    pub(crate) fn known(&self, lane: Lane, module: LoadedModule, kernel: FuncId) -> Option<Arc<dyn KnownLaunch>> {
        let queue = self.0.lock().queues.get(&lane).cloned();
        queue?.known(module, kernel)
    }

    /// A module goes.
    pub(crate) fn forget_tickets(&self, module: Handle<Module>) {
        self.0.lock().forget_tickets(module);
    }

    /// Whether a point is passed. Who asks may go on asking until it is, so that a worker is called for what stands before
    /// it. He does not help: it could be what he does afterwards that it waits for.
    pub(crate) fn passed(&self, point: Point) -> bool {
        let mut state = self.0.lock();
        if !state.order.passed(point)
            && let Before::Handed(lane) = state.order.before(point)
        {
            state = match lane == point.lane && state.order.is_handed(point) {
                true => self.0.poll_point(state, point),
                false => self.0.poll_handed(state, lane),
            };
        }
        let passed = state.order.passed(point);
        let must = !passed && self.0.must_call(&mut state, true);
        drop(state);
        self.0.call(must);
        if !passed {
            // He may ask again at once, and would keep the lock from who is at work.
            (0..32).for_each(|_| std::hint::spin_loop());
        }
        passed
    }

    pub(crate) fn wait(&self, point: Point) {
        self.0.wait(point);
    }
}

/// What came of something that may have panicked.
fn settled<R>(outcome: std::thread::Result<Result<R>>) -> Result<R> {
    outcome.unwrap_or_else(|panic| {
        let message = format!("internal error: {}", panic_text(panic.as_ref()));
        Err(Error::Device(DeviceError::new(ErrorKind::LaunchFailed, message)))
    })
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}
