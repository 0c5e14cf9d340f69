//! Which memory may differ from what snapshots of this job hold.
//!
//! Devices say what was written since they were asked the last time, once. What they say is noted for every snapshot that another may be
//! built on, so that it does not matter who asked.

use crate::seat::Record;
use crate::seat::{Kind, Seat};
use hetgpu_checkpoint::{Digest, Snapshot};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Snapshots that are remembered: another is built on one of the last.
const MOST: usize = 4;

/// Ranges of addresses in order, none of which touches another.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Spans(Vec<Range<u64>>);

impl Spans {
    pub(crate) fn of(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        // Such as are in order for the most part are sorted in little time.
        ranges.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match joined.last_mut().filter(|last| range.start <= last.end) {
                Some(last) => last.end = last.end.max(range.end),
                None => joined.push(range),
            }
        }
        Self(joined)
    }

    pub(crate) fn all() -> Self {
        Self(std::iter::once(0..u64::MAX).collect())
    }

    fn add(&mut self, more: &Self) {
        if !more.0.is_empty() {
            *self = Self::of([&self.0[..], &more.0[..]].concat());
        }
    }

    /// The same, with others in the place of what is in a range.
    pub(crate) fn replace(&mut self, range: Range<u64>, others: Vec<Range<u64>>) {
        let before = self.within(0..range.start);
        let after = self.within(range.end..u64::MAX);
        *self = Self::of([before, others, after].concat());
    }

    /// Whether any of a range is in it.
    pub(crate) fn meets(&self, at: u64, bytes: u64) -> bool {
        let after = self.0.partition_point(|range| range.end <= at);
        self.0.get(after).is_some_and(|range| range.start < at + bytes)
    }

    /// What of a range is in it.
    pub(crate) fn within(&self, all: Range<u64>) -> Vec<Range<u64>> {
        let after = self.0.partition_point(|range| range.end <= all.start);
        let those = self.0[after..].iter().take_while(|range| range.start < all.end);
        those.map(|range| range.start.max(all.start)..range.end.min(all.end)).collect()
    }
}

struct Entry {
    /// The snapshot; none while it is being made.
    of: Option<Digest>,
    number: u64,
    changed: Spans,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    next: u64,
}

#[derive(Default)]
pub(crate) struct Ledger(Mutex<State>);

/// A snapshot that is being made.
pub(super) struct Look<'l> {
    ledger: &'l Ledger,
    number: u64,
    /// What may differ from the one that it is built on; none where all may.
    pub(super) changed: Option<Spans>,
}

/// What devices said.
struct Swept {
    /// All memory.
    all: Vec<Range<u64>>,
    /// Whether each of them noted what was written to it.
    knows: bool,
}

impl State {
    /// Asks devices what was written, and notes it for everybody. Under the lock, so that nobody misses what another was told. Devices are
    /// asked past their gates, and so wait for nobody.
    fn sweep<'s>(&mut self, seats: impl Iterator<Item = (&'s Seat, &'s Record)>) -> Swept {
        let (mut written, mut all, mut knows) = (Vec::new(), Vec::new(), true);
        for (seat, record) in seats {
            let device = seat.current();
            for (&at, region) in record.regions.iter().filter(|(_, region)| matches!(region.kind, Kind::Own)) {
                all.push(at..at + region.bytes);
                match device.written(at, region.bytes) {
                    Some(ranges) => written.extend(ranges),
                    None => {
                        written.push(at..at + region.bytes);
                        knows = false;
                    }
                }
            }
            // Nobody notes what is written to physical memory.
            let apart = record.physical.values().map(|bulk| bulk.place..bulk.place + bulk.bytes);
            let apart: Vec<_> = apart.collect();
            knows &= apart.is_empty();
            all.extend_from_slice(&apart);
            written.extend(apart);
        }
        let written = Spans::of(written);
        self.entries.iter_mut().for_each(|entry| entry.changed.add(&written));
        Swept { all, knows }
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Begins a snapshot that is built on another: what is written from now on is noted for it.
    pub(super) fn begin<'s>(
        &self,
        seats: impl Iterator<Item = (&'s Seat, &'s Record)>,
        base: Option<&Snapshot>,
    ) -> Look<'_> {
        let mut state = self.lock();
        let Swept { all, .. } = state.sweep(seats);
        let known = base.and_then(|base| state.entries.iter().find(|entry| entry.of == Some(base.identity())));
        let changed = base.zip(known).map(|(base, known)| {
            // Contents are compared chunk by chunk, which are others where memory begins or ends somewhere else.
            let there = base.memory();
            let same = |range: &Range<u64>| {
                let found = there.binary_search_by_key(&range.start, |there| there.start.0).ok();
                found.is_some_and(|place| there[place].bytes == range.end - range.start)
            };
            let others = all.into_iter().filter(|range| !same(range)).collect();
            let mut changed = known.changed.clone();
            changed.add(&Spans::of(others));
            changed
        });
        let number = state.next;
        state.next += 1;
        state.entries.push(Entry { of: None, number, changed: Spans::default() });
        Look { ledger: self, number, changed }
    }

    /// Bytes that are written within a time; none where a device cannot tell.
    pub(crate) fn watch(&self, seat: &Seat, record: &Record, time: Duration) -> Option<u64> {
        // All memory counts as written at the first time.
        if !self.lock().sweep(std::iter::once((seat, record))).knows {
            return None;
        }
        let look = self.begin(std::iter::once((seat, record)), None);
        std::thread::sleep(time);
        let mut state = self.lock();
        let knows = state.sweep(std::iter::once((seat, record))).knows;
        // Somebody else may have been told of a part of it.
        let entry = state.entries.iter().find(|entry| entry.number == look.number)?;
        let bytes = entry.changed.0.iter().map(|range| range.end - range.start).sum();
        drop(state);
        knows.then_some(bytes)
    }
}

impl Look<'_> {
    /// The snapshot is there.
    pub(super) fn done(self, identity: Digest) {
        let mut state = self.ledger.lock();
        if let Some(entry) = state.entries.iter_mut().find(|entry| entry.number == self.number) {
            entry.of = Some(identity);
        }
        let old = state.entries.len().saturating_sub(MOST);
        let mut left = old;
        state.entries.retain(|entry| {
            let goes = entry.of.is_some() && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.ledger.lock().entries.retain(|entry| entry.number != self.number || entry.of.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_joined_and_met_at_their_edges() {
        let spans = Spans::of(vec![30..40, 10..20, 20..25, 5..5]);
        assert_eq!(spans.0, [10..25, 30..40]);
        assert!(!spans.meets(0, 10) && spans.meets(0, 11) && spans.meets(24, 1) && !spans.meets(25, 5));
        assert!(spans.meets(25, 6) && spans.meets(39, 100) && !spans.meets(40, 100));
        assert_eq!(spans.within(12..31), [12..25, 30..31]);
        assert!(spans.within(25..30).is_empty() && spans.within(0..10).is_empty() && spans.within(40..50).is_empty());
        let mut others = spans.clone();
        others.replace(15..35, vec![18..19, 31..33]);
        assert_eq!(others.0, [10..15, 18..19, 31..33, 35..40]);
        let mut more = spans;
        more.add(&Spans::of(vec![25..30, 100..101]));
        assert_eq!(more.0, [10..40, 100..101]);
    }
}
