//! Streams: named lanes of a session.

use crate::capture::Target;
use crate::context::Context;
use crate::error::CaptureError;
use crate::event::Event;
use crate::graph::{Body, HostCall};
use crate::handle::{Handle, Kind};
use crate::partition::{GreenContext, Part};
use crate::queue::{Lane, Operation};
use crate::session::{Attribute, Session};
use crate::word::Condition;
use crate::{Error, Result, Runtime};
use std::sync::Arc;

pub struct Stream {
    pub id: u64,
    pub session: Arc<Session>,
    /// What of the session it belongs to.
    pub part: Arc<Part>,
    pub flags: u32,
    pub(crate) lane: Lane,
}

impl Kind for Stream {
    const TAG: u8 = 0x53;
    const NAME: &'static str = "stream";
}

/// How a call names a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamRef {
    /// The one default stream of the context, which synchronises with blocking streams.
    Default,
    /// The calling thread's own default stream.
    Thread,
    Handle(Handle<Stream>),
}

impl Runtime {
    /// A stream; a blocking one synchronises with the default stream.
    pub fn create_stream(&self, blocking: bool, flags: u32, priority: i32) -> Result<Handle<Stream>> {
        let (session, part) = self.scope()?;
        self.open_stream(&session, &part, blocking, flags, priority)
    }

    pub(crate) fn open_stream(
        &self,
        session: &Arc<Session>,
        part: &Arc<Part>,
        blocking: bool,
        flags: u32,
        priority: i32,
    ) -> Result<Handle<Stream>> {
        let lane = session.open_lane(part.id, blocking, priority)?;
        let (session, part) = (session.clone(), part.clone());
        Ok(self.streams.insert(Arc::new(Stream { id: self.next_id(), session, part, flags, lane })))
    }

    /// Its handle is dead at once; what it holds still runs.
    pub fn destroy_stream(&self, handle: Handle<Stream>) -> Result<()> {
        self.streams.get(handle)?.part.check()?;
        let stream = self.streams.remove(handle)?;
        self.abandon_capture(&stream.session, stream.lane)?;
        if let Some(workspace) = stream.session.take_workspace(stream.lane) {
            let memory = self.memory.clone();
            let allocation = memory.forget(workspace, |_| Ok(()))?;
            let release = Operation::Own(Box::new(move || memory.release(&allocation)));
            stream.session.push(stream.lane, Vec::new(), release)?;
        }
        stream.session.close_lane(stream.lane);
        Ok(())
    }

    pub(crate) fn lane(&self, stream: StreamRef) -> Result<(Arc<Session>, Lane)> {
        match stream {
            StreamRef::Default => {
                let (session, part) = self.scope()?;
                let lane = session.default_lane(part.id)?;
                Ok((session, lane))
            }
            StreamRef::Thread => {
                let (session, part) = self.scope()?;
                if !part.is_whole() {
                    return Err(Error::InvalidHandle(Stream::NAME));
                }
                let lane = session.thread_lane();
                Ok((session, lane))
            }
            StreamRef::Handle(handle) => {
                let stream = self.streams.get(handle)?;
                stream.session.check()?;
                stream.part.check()?;
                Ok((stream.session.clone(), stream.lane))
            }
        }
    }

    /// The session that a stream belongs to.
    pub fn stream_session(&self, stream: StreamRef) -> Result<Arc<Session>> {
        Ok(self.lane(stream)?.0)
    }

    /// The context that a stream belongs to, and the green one that it is a stream of.
    pub fn stream_contexts(&self, stream: StreamRef) -> Result<(Handle<Context>, Option<Handle<GreenContext>>)> {
        let (session, lane) = self.lane(stream)?;
        let owner = self.owner_of(session.id).ok_or(Error::ContextDestroyed)?;
        let (part, _) = session.part_of(lane);
        let greens = self.greens.handles_where(|green| part != 0 && green.part.id == part);
        Ok((owner, greens.first().copied()))
    }

    /// Waits for everything in the stream. The default stream includes what it would wait for.
    pub fn synchronise_stream(&self, stream: StreamRef) -> Result<()> {
        let (session, lane) = self.lane_to_wait_for(stream)?;
        for point in session.ends_before(lane) {
            session.wait(point)?;
        }
        self.settle_pools();
        session.check()
    }

    /// `NotReady` while something in the stream is not finished.
    pub fn query_stream(&self, stream: StreamRef) -> Result<()> {
        let (session, lane) = self.lane_to_wait_for(stream)?;
        let finished = session.ends_before(lane).into_iter().all(|point| session.device.queue.passed(point));
        session.check()?;
        if finished { Ok(()) } else { Err(Error::NotReady) }
    }

    /// What follows in the stream waits for the event's last recording.
    pub fn stream_wait(&self, stream: StreamRef, event: Handle<Event>) -> Result<()> {
        let event = self.events.get(event)?;
        if self.capture_wait(stream, &event)? {
            return Ok(());
        }
        let (session, lane) = self.lane(stream)?;
        if let Some(shared) = event.shared.clone() {
            let count = shared.recorded();
            if !shared.is_over(count)? {
                session.push(lane, Vec::new(), Operation::Await(Condition::Passed(shared, count)))?;
            }
            return Ok(());
        }
        // What is passed is waited for by nobody.
        if let Some(record) = event.record().filter(|record| !record.stamp.is_passed()) {
            record.hold(&session, lane)?;
        }
        Ok(())
    }

    /// What the program set for a stream, by the interface's number.
    pub fn stream_attribute(&self, stream: StreamRef, id: u32) -> Result<Option<Attribute>> {
        let (session, lane) = self.lane(stream)?;
        Ok(session.attribute(lane, id))
    }

    pub fn set_stream_attribute(&self, stream: StreamRef, id: u32, value: Attribute) -> Result<()> {
        let (session, lane) = self.lane(stream)?;
        session.set_attribute(lane, id, value);
        Ok(())
    }

    /// What follows in the stream, and what it holds, is as urgent as that.
    pub fn set_stream_priority(&self, stream: StreamRef, priority: i32) -> Result<()> {
        let (session, lane) = self.lane(stream)?;
        session.device.queue.set_priority(lane, priority);
        Ok(())
    }

    pub fn stream_priority(&self, stream: StreamRef) -> Result<i32> {
        let (session, lane) = self.lane(stream)?;
        Ok(session.device.queue.priority(lane))
    }

    /// Runs a function of the host in the stream's order.
    pub fn stream_call(&self, stream: StreamRef, call: impl FnOnce(Option<Error>) + Send + 'static) -> Result<()> {
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            Target::Capture(capture) => return Err(self.captures.invalidate(&capture, CaptureError::Unsupported)),
        };
        session.push(lane, Vec::new(), Operation::Call(Box::new(call)))?;
        Ok(())
    }

    /// Runs a function of the host in the stream's order, unless there was a fault.
    pub fn stream_host(&self, stream: StreamRef, host: HostCall) -> Result<()> {
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            Target::Capture(capture) => return self.capture_node(&capture, Body::Host(host)).map(drop),
        };
        let call = move |fault: Option<Error>| {
            if fault.is_none() {
                host.run();
            }
        };
        session.push(lane, Vec::new(), Operation::Call(Box::new(call)))?;
        Ok(())
    }
}
