//! Events that other processes see: two counters in a file of memory, which the other process opens by way of this
//! one's open files. It goes when nobody has it open any more.

use crate::event::Event;
use crate::handle::{Handle, Kind};
use crate::{Error, Result, Runtime, presence, sys};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What another process is told, to open an event. 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct EventTicket {
    magic: u64,
    key: u64,
    process: u32,
    file: u32,
    rest: [u64; 5],
}

/// "hetgevt" and the version of the layout below.
const MAGIC: u64 = 0x6865_7467_6576_7401;

/// The file's contents.
#[repr(C)]
pub(crate) struct Counters {
    magic: AtomicU64,
    key: AtomicU64,
    /// Recordings so far, and the latest of them that was passed.
    recorded: AtomicU64,
    passed: AtomicU64,
    /// The process that made the latest recording, and when that began.
    recorder: AtomicU64,
    since: AtomicU64,
}

/// An event that several processes have.
pub(crate) struct SharedEvent {
    memory: sys::SharedPage<Counters>,
    /// Whose file it is.
    process: u32,
    file: u32,
}

impl SharedEvent {
    pub(crate) fn new() -> Result<Self> {
        let (memory, file) = sys::SharedPage::new(c"hetgpu-event").map_err(|refused| no_event(&refused))?;
        let counters: &Counters = memory.get();
        counters.key.store(sys::random(), Ordering::Relaxed);
        counters.magic.store(MAGIC, Ordering::Release);
        Ok(Self { memory, process: std::process::id(), file })
    }

    fn open(ticket: &EventTicket) -> Result<Self> {
        let stale = || Error::InvalidHandle(Event::NAME);
        if ticket.magic != MAGIC {
            return Err(stale());
        }
        let memory = sys::SharedPage::open(ticket.process, ticket.file).map_err(|_| stale())?;
        let counters: &Counters = memory.get();
        let same =
            counters.magic.load(Ordering::Acquire) == MAGIC && counters.key.load(Ordering::Relaxed) == ticket.key;
        if !same {
            return Err(stale());
        }
        Ok(Self { memory, process: ticket.process, file: ticket.file })
    }

    fn ticket(&self) -> EventTicket {
        let key = self.memory.get().key.load(Ordering::Relaxed);
        EventTicket { magic: MAGIC, key, process: self.process, file: self.file, rest: [0; 5] }
    }

    /// Counts another recording.
    pub(crate) fn record(&self) -> u64 {
        let counters: &Counters = self.memory.get();
        let process = std::process::id();
        counters.recorder.store(0, Ordering::Release);
        counters.since.store(presence::start_of(process).unwrap_or(0), Ordering::Release);
        counters.recorder.store(process.into(), Ordering::Release);
        counters.recorded.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether a recording is passed; fails where it never will be, since who made it is gone.
    pub(crate) fn is_over(&self, count: u64) -> Result<bool> {
        if self.has_passed(count) {
            return Ok(true);
        }
        let counters: &Counters = self.memory.get();
        let (process, since) = (counters.recorder.load(Ordering::Acquire), counters.since.load(Ordering::Acquire));
        // A process that records now, and one whose time is not known, will say so themselves.
        if process == 0 || since == 0 || presence::runs(process as u32, since) {
            return Ok(false);
        }
        // It may have passed the recording with its last breath, or another may have recorded since.
        match self.has_passed(count) || counters.recorder.load(Ordering::Acquire) != process {
            true => Ok(self.has_passed(count)),
            false => {
                Err(Error::Gone(format!("process {process}, which recorded the event, ended before it was passed")))
            }
        }
    }

    /// The latest recording, of any process.
    pub(crate) fn recorded(&self) -> u64 {
        self.memory.get().recorded.load(Ordering::Acquire)
    }

    pub(crate) fn pass(&self, count: u64) {
        self.memory.get().passed.fetch_max(count, Ordering::AcqRel);
    }

    /// Waits until a recording is passed, in whatever process that is.
    pub(crate) fn wait(&self, count: u64) -> Result<()> {
        /// From so many looks on it sleeps between them.
        const LOOKS: u32 = 100;
        const SLEEP: Duration = Duration::from_micros(100);
        let mut looks = 0;
        while !self.has_passed(count) {
            looks += 1;
            match looks {
                ..LOOKS => std::thread::yield_now(),
                _ if self.is_over(count)? => break,
                _ => std::thread::sleep(SLEEP),
            }
        }
        Ok(())
    }

    pub(crate) fn has_passed(&self, count: u64) -> bool {
        self.memory.get().passed.load(Ordering::Acquire) >= count
    }
}

fn no_event(refused: &std::io::Error) -> Error {
    Error::out_of_memory(format!("no memory to share an event: {refused}"))
}

impl Runtime {
    /// What another process opens the event with.
    pub fn export_event(&self, handle: Handle<Event>) -> Result<EventTicket> {
        let event = self.events.get(handle)?;
        let shared =
            event.shared.as_ref().ok_or_else(|| Error::invalid("the event was not made for other processes"))?;
        Ok(shared.ticket())
    }

    /// An event of another process.
    pub fn import_event(&self, ticket: &EventTicket, flags: u32) -> Result<Handle<Event>> {
        if ticket.process == std::process::id() {
            return Err(Error::InvalidContext);
        }
        let shared = Arc::new(SharedEvent::open(ticket)?);
        self.insert_event(false, flags, Some(shared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn nobody_waits_for_a_process_that_is_gone() {
        let event = SharedEvent::new().unwrap();
        let count = event.record();
        assert!(!event.is_over(count).unwrap(), "this process will pass it");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let counters: &Counters = event.memory.get();
        counters.since.store(presence::start_of(child.id()).unwrap(), Ordering::Release);
        counters.recorder.store(child.id().into(), Ordering::Release);
        assert!(!event.is_over(count).unwrap(), "the child may still pass it");
        child.kill().unwrap();
        let start = std::time::Instant::now();
        // Its end is seen before anybody has asked for its status.
        while event.is_over(count).is_ok() && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(matches!(event.wait(count), Err(Error::Gone(_))));
        child.wait().unwrap();
        assert!(matches!(event.is_over(count), Err(Error::Gone(_))));
        event.pass(count);
        assert!(event.is_over(count).unwrap(), "passed all the same");
    }
}
