//! What a program says about managed memory: where it wants it, and who will use it.
//!
//! Host and devices reach managed memory at one address, so that nothing moves; what was said is remembered by page and
//! can be asked for.

use crate::memory::HOST_PAGE;
use crate::queue::Operation;
use crate::{Allocation, AllocationKind, Error, Result, Runtime, StreamRef, sys};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

/// Where memory may lie.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Location {
    Device(usize),
    /// Nowhere in particular.
    Anywhere,
    Host,
    /// A NUMA node of the host.
    HostNode(i32),
    /// The NUMA node of the thread that said so.
    HostNodeHere,
}

/// What was said about a page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    pub read_mostly: bool,
    pub preferred: Option<Location>,
    pub accessed_by: BTreeSet<Location>,
    /// Where it was last asked to be brought.
    pub prefetched: Option<Location>,
}

/// Wishes by range of pages; pages without an entry have none. Ranges are in order and do not touch each other.
#[derive(Debug, Default)]
pub struct Advice(Mutex<Vec<(Range<u64>, Wishes)>>);

/// One thing to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advise {
    ReadMostly(bool),
    Preferred(Option<Location>),
    AccessedBy(Location, bool),
    Prefetched(Location),
}

impl Wishes {
    fn apply(&mut self, advise: Advise) {
        match advise {
            Advise::ReadMostly(value) => self.read_mostly = value,
            Advise::Preferred(location) => self.preferred = location,
            Advise::AccessedBy(location, true) => drop(self.accessed_by.insert(location)),
            Advise::AccessedBy(location, false) => drop(self.accessed_by.remove(&location)),
            Advise::Prefetched(location) => self.prefetched = Some(location),
        }
    }
}

impl Advice {
    fn lock(&self) -> MutexGuard<'_, Vec<(Range<u64>, Wishes)>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn apply(&self, range: Range<u64>, advise: Advise) {
        let mut all = self.lock();
        let mut next = Vec::with_capacity(all.len() + 2);
        let mut at = range.start;
        for (old, wishes) in all.drain(..) {
            for part in [old.start..old.end.min(range.start), old.start.max(range.end)..old.end] {
                if part.start < part.end {
                    next.push((part, wishes.clone()));
                }
            }
            let inside = old.start.max(range.start)..old.end.min(range.end);
            if inside.start < inside.end {
                if at < inside.start {
                    next.push((at..inside.start, Wishes::default()));
                }
                at = inside.end;
                next.push((inside, wishes));
            }
        }
        if at < range.end {
            next.push((at..range.end, Wishes::default()));
        }
        next.sort_by_key(|(part, _)| part.start);
        for (_, wishes) in next.iter_mut().filter(|(part, _)| range.start <= part.start && part.end <= range.end) {
            wishes.apply(advise);
        }
        *all = next;
    }

    /// What was said about each part of a range.
    fn of(&self, range: &Range<u64>) -> Vec<Wishes> {
        let all = self.lock();
        let mut found = Vec::new();
        let mut at = range.start;
        for (part, wishes) in all.iter().filter(|(part, _)| part.end > range.start && part.start < range.end) {
            if part.start > at {
                found.push(Wishes::default());
            }
            found.push(wishes.clone());
            at = part.end;
        }
        if at < range.end {
            found.push(Wishes::default());
        }
        found
    }
}

impl Runtime {
    /// The managed allocation that holds all of a range, and the range in whole pages.
    fn managed(&self, start: u64, bytes: u64) -> Result<(Allocation, Arc<Advice>, Range<u64>)> {
        let found = self.memory.find(start).filter(|found| found.kind == AllocationKind::Managed);
        let found = found.ok_or_else(|| Error::invalid(format!("{start:#x} is not managed memory")))?;
        if bytes == 0 || found.end() - start < bytes {
            return Err(Error::invalid(format!("{bytes} bytes at {start:#x} are not a part of managed memory")));
        }
        let advice = found.advice.clone().ok_or_else(|| Error::invalid("memory without advice"))?;
        let pages = start / HOST_PAGE * HOST_PAGE..(start + bytes).next_multiple_of(HOST_PAGE);
        Ok((found, advice, pages))
    }

    /// Says something about a range of managed memory.
    pub fn advise(&self, start: u64, bytes: u64, advise: Advise) -> Result<()> {
        let (_, advice, pages) = self.managed(start, bytes)?;
        advice.apply(pages, advise);
        Ok(())
    }

    /// What was said about each part of a range of managed memory.
    pub fn wishes(&self, start: u64, bytes: u64) -> Result<Vec<Wishes>> {
        let (_, advice, pages) = self.managed(start, bytes)?;
        Ok(advice.of(&pages))
    }

    /// Brings ranges of managed memory to places, in the order of the stream: their pages are there then. Nothing happens
    /// where one of the ranges is wrong.
    pub fn prefetch(&self, stream: StreamRef, ranges: &[(u64, u64, Location)]) -> Result<()> {
        let (session, lane) = self.uncaptured(stream)?;
        let found = ranges.iter().map(|&(start, bytes, _)| self.managed(start, bytes)).collect::<Result<Vec<_>>>()?;
        for ((allocation, advice, pages), &(_, _, location)) in found.into_iter().zip(ranges) {
            advice.apply(pages.clone(), Advise::Prefetched(location));
            let (start, memory) = (allocation.start, self.memory.clone());
            let touch = move |_: Option<Error>| {
                // It may have been freed by now.
                if memory.find(start).is_some_and(|found| found.id == allocation.id) {
                    sys::populate(pages.start, pages.end - pages.start);
                }
            };
            session.push(lane, Vec::new(), Operation::Call(Box::new(touch)))?;
        }
        Ok(())
    }

    /// Gives the contents of ranges of managed memory up, in the order of the stream. Pages that lie in a range as a whole
    /// read as zeros until something is written.
    pub fn discard(&self, stream: StreamRef, ranges: &[(u64, u64)]) -> Result<()> {
        let (session, lane) = self.uncaptured(stream)?;
        let found = ranges.iter().map(|&(start, bytes)| self.managed(start, bytes)).collect::<Result<Vec<_>>>()?;
        for ((allocation, ..), &(start, bytes)) in found.into_iter().zip(ranges) {
            let memory = self.memory.clone();
            let pages = start.next_multiple_of(HOST_PAGE)..(start + bytes) / HOST_PAGE * HOST_PAGE;
            let drop = move |_: Option<Error>| {
                if pages.start < pages.end && memory.find(start).is_some_and(|found| found.id == allocation.id) {
                    sys::discard(pages.start, pages.end - pages.start);
                }
            };
            session.push(lane, Vec::new(), Operation::Call(Box::new(drop)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_kept_by_page_and_split_where_it_differs() {
        let advice = Advice::default();
        assert_eq!(advice.of(&(0..100)), [Wishes::default()]);
        advice.apply(20..60, Advise::ReadMostly(true));
        advice.apply(40..80, Advise::Preferred(Some(Location::Host)));
        let said: Vec<_> = advice.of(&(0..100)).into_iter().map(|w| (w.read_mostly, w.preferred)).collect();
        let host = Some(Location::Host);
        assert_eq!(said, [(false, None), (true, None), (true, host), (false, host), (false, None)]);
        advice.apply(0..100, Advise::ReadMostly(false));
        advice.apply(0..100, Advise::Preferred(None));
        assert!(advice.of(&(0..100)).iter().all(|wishes| *wishes == Wishes::default()));
        assert_eq!(advice.of(&(45..50)).len(), 1);
    }

    #[test]
    fn users_come_and_go_one_by_one() {
        let advice = Advice::default();
        advice.apply(0..10, Advise::AccessedBy(Location::Device(0), true));
        advice.apply(0..10, Advise::AccessedBy(Location::Host, true));
        advice.apply(0..10, Advise::AccessedBy(Location::Device(0), false));
        assert_eq!(advice.of(&(0..10))[0].accessed_by, BTreeSet::from([Location::Host]));
    }
}
