//! What a device was handed, that goes on by itself: nobody waits for it before somebody wants to know.

use super::order::{Before, Lane, Point};
use super::{Guard, LONG, Operation, Running, SHORT, Shared, State, Work, settled};
use crate::flight;
use crate::launch::Measured;
use crate::seat::InOperation;
use crate::session::Session;
use crate::{Result, launch, log, place};
use hetgpu_device::{DeviceError, Mark, Queue, Work as DeviceWork};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// So many pieces are handed over however long they take together: the device is to have the next when it is done with one.
const FEWEST_PIECES: usize = 2;
/// Most pieces of work that a lane has handed over.
const MOST_PIECES: usize = 512;
/// So many pieces share a mark, and no more than take so many nanoseconds: who waits for room waits for a mark.
const PIECES_A_MARK: usize = 32;
const TIME_A_MARK: u64 = LONG / 8;
/// So often who launches without room looks what has been done.
const LOOK: Duration = Duration::from_micros(50);

/// When a point of a lane was passed: where the device told it, by its own clock.
#[derive(Default)]
pub(crate) struct Stamped {
    time: OnceLock<Instant>,
    mark: OnceLock<Arc<dyn Mark>>,
}

impl Stamped {
    pub(super) fn pass(&self, now: Instant) {
        let _ = self.time.set(now);
    }

    pub(crate) fn is_passed(&self) -> bool {
        self.time.get().is_some()
    }

    /// Nanoseconds since an earlier one; none where one of them is not passed.
    pub(crate) fn since(&self, earlier: &Self) -> Option<i64> {
        let (from, to) = (*earlier.time.get()?, *self.time.get()?);
        if let (Some(from), Some(to)) = (earlier.mark.get(), self.mark.get())
            && let Ok(nanoseconds) = to.since(from.as_ref())
        {
            return Some(nanoseconds);
        }
        let nanoseconds = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        Some(nanoseconds(to.saturating_duration_since(from)) - nanoseconds(from.saturating_duration_since(to)))
    }
}

/// A piece of work with the device.
pub(super) struct Piece {
    /// Which of its lane it is; the last, where it is several operations.
    pub(super) count: u64,
    pub(super) operations: u64,
    pub(super) guess: u64,
    pub(super) what: &'static str,
    pub(super) session: Arc<Session>,
    pub(super) stamp: Option<super::Stamp>,
    /// A mark behind it.
    pub(super) mark: Option<Arc<dyn Mark>>,
    /// A launch: which kernel, and how many blocks.
    pub(super) kind: Option<(usize, u64)>,
    /// It, and when it was handed over, where it may take less than is known or is the first behind a mark.
    pub(super) measured: Option<(Measured, Instant)>,
    /// Launches of several kernels, and when the first was handed over.
    pub(super) several: Option<(Vec<Measured>, Instant)>,
}

/// What a lane has handed over, in its order.
pub(super) struct Handed {
    queue: Arc<dyn Queue>,
    pieces: VecDeque<Piece>,
    /// Nanoseconds that all of it takes.
    guess: u64,
    /// Pieces behind the last mark, and their nanoseconds.
    unmarked: (usize, u64),
    /// When somebody without room last saw what has been done.
    looked: Option<Instant>,
}

impl Handed {
    pub(super) fn new(queue: Arc<dyn Queue>) -> Self {
        Self { queue, pieces: VecDeque::new(), guess: 0, unmarked: (0, 0), looked: None }
    }

    pub(super) fn put(&mut self, piece: Piece) {
        self.guess += piece.guess;
        let (pieces, time) = self.unmarked;
        let operations = piece.operations as usize;
        self.unmarked = if piece.mark.is_some() { (0, 0) } else { (pieces + operations, time + piece.guess) };
        self.pieces.push_back(piece);
    }

    /// For a person.
    pub(super) fn what(&self) -> &'static str {
        self.pieces.front().map_or("nothing", |piece| piece.what)
    }

    pub(super) fn is_full(&self, more: u64) -> bool {
        let long = self.guess.saturating_add(more) > LONG && self.pieces.len() >= FEWEST_PIECES;
        long || self.pieces.len() >= MOST_PIECES
    }

    fn wants_mark(&self, more: u64) -> bool {
        let (pieces, guess) = self.unmarked;
        pieces + 1 >= PIECES_A_MARK || guess.saturating_add(more) >= TIME_A_MARK
    }

    /// The first mark behind a point, and which point it stands for; where there is none, the last point.
    fn mark_behind(&self, count: u64) -> (u64, Option<Arc<dyn Mark>>) {
        let behind = self.pieces.iter().filter(|piece| piece.count >= count);
        let known = behind.into_iter().find_map(|piece| Some((piece.count, Some(Arc::clone(piece.mark.as_ref()?)))));
        known.unwrap_or_else(|| (self.pieces.back().map_or(count, |last| last.count), None))
    }

    /// Where to look for what has been done, the farthest first, with the marks that there are: half of what is there at once where so much
    /// has been done.
    fn looks(&self) -> Vec<(u64, Arc<dyn Mark>)> {
        let marked = |piece: &Piece| piece.mark.as_ref().map(|mark| (piece.count, Arc::clone(mark)));
        let half = self.pieces.len() / 2;
        let mut looks = Vec::with_capacity(3);
        looks.extend(self.pieces.iter().rev().find_map(marked));
        looks.extend(self.pieces.iter().skip(half).find_map(marked));
        looks.extend(self.pieces.iter().find_map(marked));
        looks.dedup_by_key(|(count, _)| *count);
        looks
    }

    /// There is a mark behind a point now.
    fn note(&mut self, count: u64, mark: &Arc<dyn Mark>) {
        let Some(piece) = self.pieces.iter_mut().find(|piece| piece.count == count) else { return };
        piece.mark.get_or_insert_with(|| Arc::clone(mark));
        let behind = self.pieces.iter().filter(|piece| piece.count > count);
        self.unmarked =
            behind.fold((0, 0), |(pieces, guess), piece| (pieces + piece.operations as usize, guess + piece.guess));
    }
}

/// Takes from when pieces were handed over, and when they were seen to be done, what launches take at most: each not more than all together,
/// those of one kind behind each other not more than their part of it, and where all together took less than was thought, each its part
/// of that.
fn learn(arrived: &[Piece], now: Instant) {
    let alike = |piece: &Piece| piece.kind.is_some() && piece.kind == arrived[0].kind;
    let all_alike = arrived.iter().all(alike);
    for (at, piece) in arrived.iter().enumerate() {
        let Some((measured, begun)) = &piece.measured else { continue };
        let together = if at == 0 && all_alike { arrived } else { std::slice::from_ref(piece) };
        let count = together.iter().map(|piece| piece.operations).sum::<u64>();
        measured.at_most(now.duration_since(*begun) / count.max(1) as u32);
    }
    let Some((launches, begun)) = arrived.first().and_then(|first| first.several.as_ref()) else { return };
    let (took, thought) = (now.duration_since(*begun), arrived.iter().map(|piece| piece.guess).sum());
    launches.iter().for_each(|measured| measured.scale(took, Duration::from_nanos(thought)));
}

/// What is with the device up to a point: where a mark behind it stands, the queue, and the mark if there is one.
pub(super) struct Behind {
    point: Point,
    end: u64,
    of: Arc<dyn Queue>,
    mark: Option<Arc<dyn Mark>>,
}

impl State {
    /// None where it is not with the device, or passed.
    fn behind(&self, point: Point) -> Option<Behind> {
        let handed = self.handed.get(&point.lane).filter(|_| !self.order.passed(point))?;
        let (end, mark) = handed.mark_behind(point.count);
        Some(Behind { point, end, of: Arc::clone(&handed.queue), mark })
    }
}

impl Operation {
    /// Of a launch, which kernel and how many blocks.
    fn kind(&self) -> Option<(usize, u64)> {
        if let Self::Launch(queued) = self { Some(queued.kind()) } else { None }
    }

    /// Whether the device may be given it without anybody waiting for what comes before it, or for itself.
    pub(super) fn may_follow(&self) -> bool {
        match self {
            Self::Nothing | Self::Stamp(_) => true,
            Self::Fill(_) => self.guess() < LONG,
            Self::Copy(copy) => copy.may_follow() && self.guess() < LONG,
            Self::Launch(queued) => queued.may_follow() && queued.guess().is_some_and(|guess| guess <= flight::SHORT),
            Self::Series(_) => true,
            Self::Run(_) | Self::Await(_) | Self::Own(_) | Self::Call(_) => false,
        }
    }
}

impl Shared {
    /// Hands over what a lane has that may follow, as far as there is room for it.
    pub(super) fn hand_all<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, lane: Lane) -> Guard<'a> {
        while !state.paused && state.order.is_ready(lane) {
            let Some(guess) = state.order.next(lane).filter(|work| work.follows).map(Work::guess_now) else { break };
            let full = state.handed.get(&lane).is_some_and(|handed| handed.is_full(guess));
            if !full {
                state = self.hand(state, lane);
                continue;
            }
            // Who launches faster than anybody waits sees here what has been done, if he has not looked just now.
            let now = Instant::now();
            let looked = |handed: &mut Handed| {
                let before = handed.looked.replace(now);
                before.is_some_and(|before| now.duration_since(before) < LOOK)
            };
            if state.handed.get_mut(&lane).is_none_or(looked) {
                break;
            }
            (state, _) = self.look(state, lane);
        }
        state
    }

    /// Whether the device can be given an operation before anybody else looks at its lane: nothing stands before it there, and what it
    /// waits for elsewhere is with the device.
    pub(super) fn goes_at_once(&self, state: &State, lane: Lane, after: &[Point], work: &Work) -> bool {
        let free = work.follows && !state.paused && state.order.is_idle(lane) && state.queues.contains_key(&lane);
        let room = || state.handed.get(&lane).is_none_or(|handed| !handed.is_full(work.guess));
        let with_device = |point: &Point| point.lane == lane || state.order.is_handed(*point);
        free && room() && after.iter().all(with_device) && work.session.fault().is_none()
    }

    /// Hands over the next operation of a lane, once there is room for it.
    pub(super) fn hand<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, lane: Lane) -> Guard<'a> {
        let more = state.order.next(lane).map_or(0, Work::guess_now);
        if let Some(handed) = state.handed.get(&lane).filter(|handed| handed.is_full(more)) {
            let first = handed.pieces.front().map_or(0, |piece| piece.count);
            return self.drain(state, lane, Some(Point { lane, count: first }));
        }
        let Some(mut work) = state.order.take(lane) else { return state };
        state.backlog -= work.guess;
        work.guess = more;
        self.hand_over(state, lane, &[], work)
    }

    /// Hands over an operation that was taken, behind what is with the device in other lanes.
    pub(super) fn hand_over<'a>(
        self: &'a Arc<Self>,
        mut state: Guard<'a>,
        lane: Lane,
        after: &[Point],
        Work { operation, session, guess, .. }: Work,
    ) -> Guard<'a> {
        let what = operation.what();
        state.running.push(Running { lane, guess, what });
        let known = state.queues.get(&lane).cloned();
        let of_lane = state.handed.get(&lane);
        let wants_mark = of_lane.is_some_and(|handed| handed.wants_mark(guess));
        let first = of_lane.is_none_or(|handed| handed.unmarked.0 == 0);
        let behind: Vec<Behind> = after.iter().filter_map(|&point| state.behind(point)).collect();
        drop(state);
        let kind = operation.kind();
        let measured = if first || guess > SHORT { operation.measured() } else { None };
        let measured = measured.map(|measured| (measured, Instant::now()));
        let stamp = if let Operation::Stamp(stamp) = &operation { Some(Arc::clone(stamp)) } else { None };
        let operation_of = InOperation::begin(&self.held);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let queue = known.map_or_else(|| self.open_queue(lane), Ok)?;
            let followed = behind.into_iter().try_for_each(|behind| self.follow(queue.as_ref(), behind));
            let mark = followed.and_then(|()| self.submit(queue.as_ref(), &session, operation, wants_mark));
            Ok((queue, mark))
        }));
        drop(operation_of);
        let (queue, mark) = match settled(outcome) {
            Ok((queue, mark)) => (Some(queue), mark),
            Err(error) => (None, Err(error)),
        };
        let mark = mark.unwrap_or_else(|error| {
            log::error(format_args!("{error}"));
            session.poison(error);
            None
        });
        let mut state = self.lock();
        state.running.retain(|running| running.lane != lane);
        let Some(queue) = queue else {
            // Nothing of the lane is with the device, since it has no queue.
            stamp.iter().for_each(|stamp| stamp.pass(Instant::now()));
            state.order.finish(lane);
            self.finished.fetch_add(1, Ordering::Relaxed);
            return self.tell(state);
        };
        let count = state.order.hand(lane);
        let handed = state.handed.entry(lane).or_insert_with(|| Handed::new(queue));
        handed.put(Piece { count, operations: 1, guess, what, session, stamp, mark, kind, measured, several: None });
        state.lend(lane);
        if state.waiting.is_empty() {
            return state;
        }
        // Who waited for it to be begun waits for the device now.
        let State { order, waiting, .. } = &mut *state;
        let theirs = waiting.extract_if(.., |(point, _)| matches!(order.before(*point), Before::Handed(_)));
        let theirs: Vec<_> = theirs.collect();
        drop(state);
        theirs.iter().for_each(|(_, thread)| thread.unpark());
        self.lock()
    }

    /// What is submitted to a queue from now on waits, on the device, for a point of another lane.
    fn follow(&self, queue: &dyn Queue, Behind { point, end, of, mark }: Behind) -> Result<()> {
        let mark = match mark {
            Some(mark) => mark,
            None => {
                let mark = of.mark(false)?;
                if let Some(handed) = self.lock().handed.get_mut(&point.lane) {
                    handed.note(end, &mark);
                }
                mark
            }
        };
        match queue.follow(mark.as_ref()) {
            // In a pause meanwhile all arrived, and another device may have come that does not know the mark.
            Err(_) if self.lock().order.passed(point) => Ok(()),
            followed => Ok(followed?),
        }
    }

    /// Gives the device a piece of work; with a mark behind it where one is wanted or belongs to it.
    fn submit(
        &self,
        queue: &dyn Queue,
        session: &Arc<Session>,
        operation: Operation,
        wants_mark: bool,
    ) -> Result<Option<Arc<dyn Mark>>> {
        let fault = session.fault().is_some();
        match operation {
            Operation::Stamp(stamp) if !fault => {
                let mark = queue.mark(true)?;
                let _ = stamp.mark.set(Arc::clone(&mark));
                return Ok(Some(mark));
            }
            Operation::Fill(fill) if !fault => queue.submit(DeviceWork::Fill(fill))?,
            Operation::Copy(copy) if !fault => place::submit(queue, &copy.to, &copy.from, &copy.shape)?,
            Operation::Launch(queued) if !fault => launch::submit(queue, *queued)?,
            Operation::Series(series) if !fault => series.submit(queue)?,
            _ => {}
        }
        Ok(if wants_mark && !fault { Some(queue.mark(false)?) } else { None })
    }

    /// Waits until the device has done what a lane has handed over, up to a point or all of it.
    pub(super) fn drain<'a>(&'a self, state: Guard<'a>, lane: Lane, until: Option<Point>) -> Guard<'a> {
        let Some(handed) = state.handed.get(&lane) else { return state };
        let last = handed.pieces.back().map_or(0, |piece| piece.count);
        let until = until.filter(|point| point.lane == lane).map_or(last, |point| point.count.min(last));
        let (count, mark) = handed.mark_behind(until);
        let queue = Arc::clone(&handed.queue);
        drop(state);
        let outcome = mark.map_or_else(|| queue.finish(), |mark| mark.wait());
        self.arrived(self.lock(), lane, count, outcome)
    }

    /// Looks how far a lane has got.
    pub(super) fn poll_handed<'a>(&'a self, mut state: Guard<'a>, lane: Lane) -> Guard<'a> {
        loop {
            let seen;
            (state, seen) = self.look(state, lane);
            if !seen {
                return state;
            }
        }
    }

    /// Looks whether a point that is with the device is passed.
    pub(super) fn poll_point<'a>(&'a self, state: Guard<'a>, point: Point) -> Guard<'a> {
        let Some(Behind { end, of, mark, .. }) = state.behind(point) else { return state };
        self.look_at(state, point.lane, end, &of, mark).0
    }

    /// Looks whether a lane has got any farther.
    fn look<'a>(&'a self, mut state: Guard<'a>, lane: Lane) -> (Guard<'a>, bool) {
        let Some(handed) = state.handed.get(&lane) else { return (state, false) };
        let (looks, of) = (handed.looks(), Arc::clone(&handed.queue));
        let last = handed.pieces.back().map_or(0, |piece| piece.count);
        if looks.is_empty() {
            return self.look_at(state, lane, last, &of, None);
        }
        for (count, mark) in looks {
            let seen;
            (state, seen) = self.look_at(state, lane, count, &of, Some(mark));
            if seen {
                return (state, true);
            }
        }
        (state, false)
    }

    /// Looks whether a lane has got as far as one of its operations, with a mark behind that or a new one.
    fn look_at<'a>(
        &'a self,
        state: Guard<'a>,
        lane: Lane,
        count: u64,
        of: &Arc<dyn Queue>,
        known: Option<Arc<dyn Mark>>,
    ) -> (Guard<'a>, bool) {
        // Others go on meanwhile.
        drop(state);
        let mark = known.map_or_else(|| of.mark(false), Ok);
        let poll = mark.as_ref().map_err(Clone::clone).and_then(|mark| mark.poll());
        let mut state = self.lock();
        if let (Ok(mark), Some(handed)) = (&mark, state.handed.get_mut(&lane)) {
            handed.note(count, mark);
        }
        let outcome = match poll {
            Ok(false) => return (state, false),
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        };
        (self.arrived(state, lane, count, outcome), true)
    }

    /// Looks how far all lanes have got.
    pub(super) fn poll_all<'a>(&'a self, mut state: Guard<'a>) -> Guard<'a> {
        let lanes: Vec<Lane> = state.handed.keys().copied().collect();
        for lane in lanes {
            state = self.poll_handed(state, lane);
        }
        state
    }

    /// The device has done what a lane handed over, up to one of its operations.
    fn arrived<'a>(
        &'a self,
        mut state: Guard<'a>,
        lane: Lane,
        count: u64,
        outcome: std::result::Result<(), DeviceError>,
    ) -> Guard<'a> {
        let Some(handed) = state.handed.get_mut(&lane) else { return state };
        let mut arrived = Vec::new();
        while handed.pieces.front().is_some_and(|piece| piece.count <= count) {
            let Some(piece) = handed.pieces.pop_front() else { break };
            handed.guess -= piece.guess;
            arrived.push(piece);
        }
        if handed.pieces.is_empty() {
            state.handed.remove(&lane);
        }
        let now = Instant::now();
        if outcome.is_ok() {
            learn(&arrived, now);
        }
        let mut told = false;
        for piece in arrived {
            if let Err(error) = &outcome
                && piece.session.fault().is_none()
            {
                if !std::mem::replace(&mut told, true) {
                    log::error(format_args!("{error}"));
                }
                piece.session.poison(error.clone().into());
            }
            piece.stamp.iter().for_each(|stamp| stamp.pass(now));
            if state.order.arrive(lane, piece.operations) {
                state.queues.remove(&lane);
            }
            self.finished.fetch_add(piece.operations, Ordering::Relaxed);
        }
        self.tell(state)
    }
}
