//! Launches past the order of a lane.
//!
//! Where nothing stands in a lane that the device does not have, the lane is lent to whoever launches a short kernel in it: he enters it by
//! one word, gives his launch to the device, and counts it there when he leaves, without any lock. Whoever looks at the lane under the queue's
//! lock books first what was counted, as one piece that was handed over, so that the order never sees a lane that is lent and not booked.
//!
//! - A launch counts once the device has it: what is waited for behind it is behind it there, too.
//! - A lane is lent only while its front is empty: it is taken back before anything is appended to it, and lent anew, under the lock,
//!   when that was handed over. Who takes it back waits for those who have entered it, which takes as long as the device is told of a launch.
//! - It is taken back, too, when something is appended to a lane that it waits for by its kind, and stays so until that is passed.
//! - A pause takes back all of them for good. What is lent afterwards is new, and so are the tickets: they are of the device that is there
//!   then.
//! - What is counted at once is bounded in number and time, as what is handed over is; who is beyond it goes the usual way, and looks
//!   there what has been done.

use super::handed::{Handed, Piece};
use super::order::{Lane, Point};
use super::{LONG, State};
use crate::handle::Handle;
use crate::launch::Measured;
use crate::module::{Function, FunctionSettings, Module};
use crate::session::Session;
use hetgpu_device::KnownLaunch;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

// The word: whether the lane is lent, how many are on their way to the device, and launches and nanoseconds that were not booked.
const LENT: u64 = 1 << 63;
const INSIDE: u64 = 1 << 48;
const LAUNCH: u64 = 1 << 32;
const TIME: u64 = LAUNCH - 1;
const COUNTED: u64 = INSIDE - 1;
const MOST_INSIDE: u64 = 0x3fff;

/// So many launches are counted before they are booked, and no more than take so many nanoseconds: a quarter of what is handed over at
/// once, so that the device has work while somebody looks for room.
const MOST_LAUNCHES: u64 = 128;
const MOST_TIME: u64 = LONG / 4;

/// Launches of one kernel in one lane.
pub(crate) struct Ticket {
    pub(crate) known: Arc<dyn KnownLaunch>,
    pub(crate) function: Arc<Function>,
    pub(crate) settings: FunctionSettings,
    pub(crate) session: Arc<Session>,
    /// Its place among the tickets of its lane.
    pub(crate) place: u64,
}

/// What is counted of a lane.
pub(crate) struct Express {
    word: AtomicU64,
    /// Which kernel was launched last, by its ticket's place, and how many blocks of it; whether there was another one before.
    last: AtomicU64,
    mixed: AtomicBool,
    /// The places of those that were launched, each a bit; what has a later place is not among them.
    used: AtomicU64,
    /// At their places; none where the kernel is no longer there.
    tickets: Mutex<Vec<Option<Arc<Ticket>>>>,
}

enum Launched {
    One(Arc<Ticket>, u64),
    Several(Vec<Arc<Ticket>>),
}

/// Nothing was launched.
const NONE: u64 = u64::MAX;

impl Express {
    fn new() -> Self {
        let (word, last, used) = (AtomicU64::new(0), AtomicU64::new(NONE), AtomicU64::new(0));
        Self { word, last, mixed: AtomicBool::new(false), used, tickets: Mutex::default() }
    }

    fn tickets(&self) -> MutexGuard<'_, Vec<Option<Arc<Ticket>>>> {
        self.tickets.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A ticket for a kernel, as it is set now.
    pub(crate) fn ticket(
        &self,
        session: &Arc<Session>,
        function: &Arc<Function>,
        settings: FunctionSettings,
        known: Arc<dyn KnownLaunch>,
    ) -> Arc<Ticket> {
        let mut tickets = self.tickets();
        let same = |ticket: &Option<Arc<Ticket>>| ticket.as_ref().is_none_or(|t| Arc::ptr_eq(&t.function, function));
        let place = tickets.iter().position(same).unwrap_or(tickets.len());
        let (function, session) = (Arc::clone(function), Arc::clone(session));
        let ticket = Arc::new(Ticket { known, function, settings, session, place: place as u64 });
        match tickets.get_mut(place) {
            Some(old) => *old = Some(Arc::clone(&ticket)),
            None => tickets.push(Some(Arc::clone(&ticket))),
        }
        ticket
    }

    /// Lets go of tickets for kernels of a module.
    fn forget(&self, module: Handle<Module>) {
        let of_module = |ticket: &mut Option<Arc<Ticket>>| ticket.as_ref().is_some_and(|t| t.function.module == module);
        self.tickets()
            .iter_mut()
            .filter_map(|ticket| of_module(ticket).then_some(ticket))
            .for_each(|ticket| *ticket = None);
    }

    /// Does a launch and counts it, if the lane is lent and there is room. `place` is the ticket's.
    pub(crate) fn launch<R>(&self, place: u64, blocks: u64, guess: u64, launch: impl FnOnce() -> R) -> Option<R> {
        struct Inside<'e>(&'e Express, u64);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                // Its fields do not touch each other: counting it and leaving are one step.
                self.0.word.fetch_add((LAUNCH + self.1).wrapping_sub(INSIDE), Ordering::Release);
            }
        }
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (launches, time, inside) = ((word & COUNTED) / LAUNCH, word & TIME, (word & !LENT) / INSIDE);
            let room = launches < MOST_LAUNCHES && time + guess <= MOST_TIME && inside < MOST_INSIDE;
            if word & LENT == 0 || !room {
                return None;
            }
            match self.word.compare_exchange_weak(word, word + INSIDE, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        let _inside = Inside(self, guess);
        let kind = place << 32 | blocks.min(TIME);
        let last = self.last.load(Ordering::Relaxed);
        if last != kind {
            self.last.store(kind, Ordering::Relaxed);
            if last != NONE {
                self.mixed.store(true, Ordering::Relaxed);
            }
            let bit = 1u64.checked_shl(place as u32).unwrap_or(0);
            if self.used.load(Ordering::Relaxed) & bit != bit {
                self.used.fetch_or(bit, Ordering::Relaxed);
            }
        }
        Some(launch())
    }

    fn lend(&self) {
        self.word.fetch_or(LENT, Ordering::AcqRel);
    }

    /// What was counted, which is forgotten here. If it is taken back the lane is no longer lent, and nobody is inside.
    fn take(&self, back: bool) -> (u64, u64) {
        if back && self.word.fetch_and(!LENT, Ordering::AcqRel) & !COUNTED != 0 {
            let mut looks = 0;
            while self.word.load(Ordering::Acquire) & !COUNTED != 0 {
                // He may be waiting for this processor.
                match looks {
                    0..1000 => std::hint::spin_loop(),
                    _ => std::thread::yield_now(),
                }
                looks += 1;
            }
        }
        let word = self.word.fetch_and(!COUNTED, Ordering::AcqRel);
        ((word & COUNTED) / LAUNCH, word & TIME)
    }

    /// What was launched since the last time: one kernel, and how many blocks of it, or several.
    fn launched(&self) -> Launched {
        let (last, mixed) = (self.last.swap(NONE, Ordering::Relaxed), self.mixed.swap(false, Ordering::Relaxed));
        let used = self.used.swap(0, Ordering::Relaxed);
        let tickets = self.tickets();
        if mixed {
            let places = tickets.iter().take(u64::BITS as usize).enumerate();
            let those = places.filter(|(place, _)| used >> place & 1 == 1).filter_map(|(_, ticket)| ticket.clone());
            return Launched::Several(those.collect());
        }
        match tickets.get((last >> 32) as usize).cloned().flatten().filter(|_| last != NONE) {
            Some(ticket) => Launched::One(ticket, last & TIME),
            None => Launched::Several(Vec::new()),
        }
    }
}

/// A lane that is lent at times.
pub(super) struct Loan {
    pub(super) express: Arc<Express>,
    session: Arc<Session>,
    /// What must be passed before it is lent.
    barred: Vec<Point>,
    /// When it was booked last.
    since: Instant,
    /// Nothing was appended to the lane since it can be lent: what others appended before does not stand in `barred`.
    young: bool,
}

impl State {
    /// Books what was counted in a lane.
    pub(super) fn book(&mut self, lane: Lane) {
        self.settle_loan(lane, false);
    }

    /// Books what was counted in a lane, and takes it back.
    pub(super) fn take_back(&mut self, lane: Lane) {
        self.settle_loan(lane, true);
    }

    /// Something is appended to a lane.
    pub(super) fn append_to(&mut self, lane: Lane) {
        self.take_back(lane);
        if let Some(loan) = self.loans.get_mut(&lane) {
            loan.young = false;
        }
    }

    fn settle_loan(&mut self, lane: Lane, back: bool) {
        let Some(loan) = self.loans.get_mut(&lane) else { return };
        let (operations, guess) = loan.express.take(back);
        if operations == 0 {
            return;
        }
        let begun = std::mem::replace(&mut loan.since, Instant::now());
        let launched = loan.express.launched();
        let session = Arc::clone(&loan.session);
        // A lane that is lent has been given a queue.
        let Some(queue) = self.queues.get(&lane).cloned() else { return };
        let count = self.order.pass(lane, operations);
        let handed = self.handed.entry(lane).or_insert_with(|| Handed::new(queue));
        let (mut kind, mut measured, mut several) = (None, None, None);
        match launched {
            Launched::One(ticket, blocks) => {
                kind = Some((Arc::as_ptr(&ticket.function).addr(), blocks));
                measured = Some((Measured::new(&ticket.function, blocks), begun));
            }
            Launched::Several(tickets) => {
                let one = |ticket: &Arc<Ticket>| Measured::new(&ticket.function, 1);
                several = Some((tickets.iter().map(one).collect(), begun));
            }
        }
        let (stamp, mark, what) = (None, None, "a kernel");
        handed.put(Piece { count, operations, guess, what, session, stamp, mark, kind, measured, several });
    }

    /// A lane may not be lent before a point is passed.
    pub(super) fn bar(&mut self, lane: Lane, until: Point) {
        self.take_back(lane);
        let Some(loan) = self.loans.get_mut(&lane) else { return };
        // Who is past a point of a lane is past those before it.
        match loan.barred.iter_mut().find(|point| point.lane == until.lane) {
            Some(known) => known.count = known.count.max(until.count),
            None => loan.barred.push(until),
        }
    }

    /// Lends a lane, where that may be.
    pub(super) fn lend(&mut self, lane: Lane) {
        let Self { order, loans, paused, handed, .. } = self;
        let Some(loan) = loans.get_mut(&lane) else { return };
        loan.barred.retain(|&point| !order.passed(point));
        let room = handed.get(&lane).is_none_or(|handed| !handed.is_full(MOST_TIME));
        if !loan.young && loan.barred.is_empty() && !*paused && order.is_idle(lane) && room {
            loan.since = Instant::now();
            loan.express.lend();
        }
    }

    /// The count of a lane that has a queue, which begins here where there was none.
    pub(super) fn express(&mut self, lane: Lane, session: &Arc<Session>) -> Option<Arc<Express>> {
        if self.paused || !self.order.exists(lane) || !self.queues.contains_key(&lane) {
            return None;
        }
        let loan = self.loans.entry(lane).or_insert_with(|| Loan {
            express: Arc::new(Express::new()),
            session: Arc::clone(session),
            barred: Vec::new(),
            since: Instant::now(),
            young: true,
        });
        Some(Arc::clone(&loan.express))
    }

    pub(super) fn forget_tickets(&self, module: Handle<Module>) {
        self.loans.values().for_each(|loan| loan.express.forget(module));
    }

    /// Takes all lanes back, for good.
    pub(super) fn end_loans(&mut self) {
        let lanes: Vec<Lane> = self.loans.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.end_loan(lane));
    }

    pub(super) fn end_loan(&mut self, lane: Lane) {
        self.take_back(lane);
        self.loans.remove(&lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn launches_are_counted_while_the_lane_is_lent_and_there_is_room() {
        let express = Express::new();
        assert_eq!(express.launch(0, 1, 1, || ()), None, "it is not lent");
        express.lend();
        let launched = (0..MOST_LAUNCHES + 5).filter(|_| express.launch(0, 1, 100, || ()).is_some()).count() as u64;
        assert_eq!((launched, express.take(false)), (MOST_LAUNCHES, (MOST_LAUNCHES, 100 * MOST_LAUNCHES)));
        assert_eq!(express.launch(0, 1, MOST_TIME + 1, || ()), None);
        assert!(express.launch(0, 1, MOST_TIME, || ()).is_some(), "there is room again");
        assert_eq!(express.launch(0, 1, 1, || ()), None);
        assert_eq!(express.take(true), (1, MOST_TIME));
        assert_eq!((express.launch(0, 1, 1, || ()), express.take(true)), (None, (0, 0)));
    }

    #[test]
    fn what_the_device_does_not_have_yet_does_not_count_and_who_takes_the_lane_back_waits_for_it() {
        let express = Arc::new(Express::new());
        express.lend();
        let ((entered, enters), (go, goes), (taken, takes)) = (channel(), channel(), channel());
        let inside = Arc::clone(&express);
        let launch = std::thread::spawn(move || {
            inside.launch(0, 1, 7, || {
                entered.send(()).unwrap();
                goes.recv().unwrap();
            })
        });
        enters.recv().unwrap();
        assert_eq!(express.take(false), (0, 0));
        let back = Arc::clone(&express);
        let take = std::thread::spawn(move || taken.send(back.take(true)).unwrap());
        assert!(takes.recv_timeout(Duration::from_millis(30)).is_err());
        go.send(()).unwrap();
        assert_eq!(takes.recv().unwrap(), (1, 7));
        assert_eq!(launch.join().unwrap(), Some(()));
        take.join().unwrap();
        assert_eq!(express.launch(0, 1, 1, || ()), None);
    }
}
