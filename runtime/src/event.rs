//! Events: points in a stream that can be waited for and timed.

use crate::handle::{Handle, Kind};
use crate::queue::{Operation, Point, Stamp};
use crate::session::Session;
use crate::stream::StreamRef;
use crate::{Error, Result, Runtime};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) point: Point,
    stamp: Stamp,
    session: Arc<Session>,
}

pub struct Event {
    pub session: Arc<Session>,
    pub flags: u32,
    timed: bool,
    record: Mutex<Option<Record>>,
}

impl Kind for Event {
    const TAG: u8 = 0x45;
    const NAME: &'static str = "event";
}

impl Event {
    pub(crate) fn record(&self) -> Option<Record> {
        self.record.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl Runtime {
    pub fn create_event(&self, timed: bool, flags: u32) -> Result<Handle<Event>> {
        let session = self.session()?;
        Ok(self.events.insert(Arc::new(Event { session, flags, timed, record: Mutex::new(None) })))
    }

    pub fn destroy_event(&self, handle: Handle<Event>) -> Result<()> {
        self.events.remove(handle).map(drop)
    }

    /// The event stands for everything in the stream up to now. For the default stream that includes what it waits for.
    pub fn record_event(&self, handle: Handle<Event>, stream: StreamRef) -> Result<()> {
        let event = self.events.get(handle)?;
        let (session, lane) = self.lane(stream)?;
        if event.session.id != session.id {
            return Err(Error::InvalidHandle(Event::NAME));
        }
        let stamp = Stamp::default();
        let point = session.push(lane, Vec::new(), Operation::Stamp(stamp.clone()))?;
        *event.record.lock().unwrap_or_else(|e| e.into_inner()) = Some(Record { point, stamp, session });
        Ok(())
    }

    /// `NotReady` until the last recording was passed. An event that was never recorded is ready.
    pub fn query_event(&self, handle: Handle<Event>) -> Result<()> {
        let event = self.events.get(handle)?;
        event.session.check()?;
        match event.record() {
            Some(record) if !record.session.device.queue.passed(record.point) => Err(Error::NotReady),
            _ => Ok(()),
        }
    }

    pub fn synchronise_event(&self, handle: Handle<Event>) -> Result<()> {
        let event = self.events.get(handle)?;
        if let Some(record) = event.record() {
            record.session.wait(record.point)?;
        }
        event.session.check()
    }

    /// Milliseconds between two recordings.
    pub fn elapsed(&self, start: Handle<Event>, end: Handle<Event>) -> Result<f32> {
        let (start, end) = (self.events.get(start)?, self.events.get(end)?);
        start.session.check()?;
        let record = |event: &Event| event.record().filter(|_| event.timed).ok_or(Error::InvalidHandle(Event::NAME));
        let (from, to) = (record(&start)?, record(&end)?);
        let (Some(from), Some(to)) = (from.stamp.get(), to.stamp.get()) else { return Err(Error::NotReady) };
        let forward = to.saturating_duration_since(*from).as_secs_f64();
        let backward = from.saturating_duration_since(*to).as_secs_f64();
        Ok(((forward - backward) * 1e3) as f32)
    }
}
