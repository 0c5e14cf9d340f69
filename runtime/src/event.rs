//! Events: points in a stream that can be waited for and timed.

use crate::capture::{Captured, Target};
use crate::handle::{Handle, Kind};
use crate::ipc::SharedEvent;
use crate::partition::Part;
use crate::queue::{Lane, Operation, Point, Stamp};
use crate::session::Session;
use crate::stream::StreamRef;
use crate::word::Condition;
use crate::{Error, Result, Runtime};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) point: Point,
    pub(crate) stamp: Stamp,
    pub(crate) session: Arc<Session>,
}

impl Record {
    /// Appends to a lane what waits for the recording, which may be of another device; returns the point behind it.
    pub(crate) fn hold(&self, session: &Arc<Session>, lane: Lane) -> Result<Point> {
        match self.session.device.index == session.device.index {
            true => session.push(lane, vec![self.point], Operation::Nothing),
            false => session.push(lane, Vec::new(), Operation::Await(Condition::Stamped(self.stamp.clone()))),
        }
    }

    fn is_passed(&self) -> bool {
        self.stamp.is_passed() || self.session.device.queue.passed(self.point)
    }
}

pub struct Event {
    pub session: Arc<Session>,
    pub flags: u32,
    timed: bool,
    last: Mutex<Last>,
    /// Counts recordings, where other processes see the event.
    pub(crate) shared: Option<Arc<SharedEvent>>,
}

/// What an event stands for.
#[derive(Clone, Default)]
pub(crate) enum Last {
    #[default]
    Nothing,
    Work(Record),
    /// Nodes of a graph that was being captured.
    Captured(Captured),
}

impl Kind for Event {
    const TAG: u8 = 0x45;
    const NAME: &'static str = "event";
}

impl Event {
    pub(crate) fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub(crate) fn set_last(&self, last: Last) {
        *self.last.lock().unwrap_or_else(|e| e.into_inner()) = last;
    }

    pub(crate) fn record(&self) -> Option<Record> {
        match self.last() {
            Last::Work(record) => Some(record),
            Last::Nothing | Last::Captured(_) => None,
        }
    }
}

impl Event {
    /// It is neither timed nor seen by other processes.
    pub fn is_plain(&self) -> bool {
        !self.timed && self.shared.is_none()
    }

    /// Whether a recording that another process may have made is not passed.
    fn is_ahead(&self) -> Result<bool> {
        match &self.shared {
            Some(shared) => Ok(!shared.is_over(shared.recorded())?),
            None => Ok(false),
        }
    }
}

impl Runtime {
    pub fn create_event(&self, timed: bool, flags: u32) -> Result<Handle<Event>> {
        self.insert_event(timed, flags, None)
    }

    /// An event that other processes can open. It is not timed.
    pub fn create_shared_event(&self, flags: u32) -> Result<Handle<Event>> {
        self.insert_event(false, flags, Some(Arc::new(SharedEvent::new()?)))
    }

    pub(crate) fn insert_event(
        &self,
        timed: bool,
        flags: u32,
        shared: Option<Arc<SharedEvent>>,
    ) -> Result<Handle<Event>> {
        let session = self.session()?;
        Ok(self.events.insert(Arc::new(Event { session, flags, timed, last: Mutex::default(), shared })))
    }

    pub fn destroy_event(&self, handle: Handle<Event>) -> Result<()> {
        self.events.remove(handle).map(drop)
    }

    /// The event stands for everything in the stream up to now. For the default stream that includes what it waits for.
    pub fn record_event(&self, handle: Handle<Event>, stream: StreamRef) -> Result<()> {
        let event = self.events.get(handle)?;
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            Target::Capture(capture) => {
                event.set_last(Last::Captured(self.captures.recorded(&capture)?));
                return Ok(());
            }
        };
        if event.session.id != session.id {
            return Err(Error::InvalidHandle(Event::NAME));
        }
        let stamp = Stamp::default();
        let mut point = session.push(lane, Vec::new(), Operation::Stamp(stamp.clone()))?;
        if let Some(shared) = event.shared.clone() {
            let count = shared.record();
            point = session.push(lane, Vec::new(), Operation::Own(Box::new(move || shared.pass(count))))?;
        }
        event.set_last(Last::Work(Record { point, stamp, session }));
        Ok(())
    }

    /// `NotReady` until the last recording was passed. An event that was never recorded is ready.
    pub fn query_event(&self, handle: Handle<Event>) -> Result<()> {
        let event = self.events.get(handle)?;
        self.may_ask(&event)?;
        let ahead = event.is_ahead();
        let passed = event.record().is_none_or(|record| record.is_passed());
        // What has failed meanwhile has let the recording be passed.
        event.session.check()?;
        if passed && !ahead? { Ok(()) } else { Err(Error::NotReady) }
    }

    pub fn synchronise_event(&self, handle: Handle<Event>) -> Result<()> {
        let event = self.events.get(handle)?;
        self.may_ask(&event)?;
        if let Some(record) = event.record() {
            record.session.wait(record.point)?;
        }
        if let Some(shared) = &event.shared {
            shared.wait(shared.recorded())?;
        }
        self.settle_pools();
        event.session.check()
    }

    /// Records everything that a part of a session has been given so far.
    pub fn record_part(&self, session: &Arc<Session>, part: &Part, handle: Handle<Event>) -> Result<()> {
        session.check()?;
        self.none_captured(session, part)?;
        let event = self.events.get(handle)?;
        if event.session.id != session.id {
            return Err(Error::InvalidHandle(Event::NAME));
        }
        let stamp = Stamp::default();
        let point = session.push_behind_all(part.id, Operation::Stamp(stamp.clone()))?;
        event.set_last(Last::Work(Record { point, stamp, session: Arc::clone(session) }));
        Ok(())
    }

    /// What a part of a session is given from now on waits for the event's last recording.
    pub fn part_wait(&self, session: &Arc<Session>, part: &Part, handle: Handle<Event>) -> Result<()> {
        session.check()?;
        let event = self.events.get(handle)?;
        self.none_captured(session, part)?;
        if let Last::Captured(captured) = event.last() {
            return Err(self.captures.refuse_event(&captured));
        }
        match event.record() {
            Some(record) if record.session.device.index != session.device.index => {
                let lane = session.device.queue.open(0);
                let point = record.hold(session, lane);
                session.device.queue.close(lane);
                session.hold_back(part.id, point?)
            }
            Some(record) => session.hold_back(part.id, record.point),
            None => Ok(()),
        }
    }

    /// Milliseconds between two recordings.
    pub fn elapsed(&self, start: Handle<Event>, end: Handle<Event>) -> Result<f32> {
        let (start, end) = (self.events.get(start)?, self.events.get(end)?);
        start.session.check()?;
        for event in [&start, &end] {
            if let Last::Captured(captured) = event.last() {
                return Err(self.captures.of_event(&captured));
            }
        }
        let record = |event: &Event| event.record().filter(|_| event.timed).ok_or(Error::InvalidHandle(Event::NAME));
        let (from, to) = (record(&start)?, record(&end)?);
        let nanoseconds = to.stamp.since(&from.stamp).ok_or(Error::NotReady)?;
        Ok((nanoseconds as f64 / 1e6) as f32)
    }
}
