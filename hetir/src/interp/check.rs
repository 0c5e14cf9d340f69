//! Optional checks: data races, and reads of memory that nothing has written.
//!
//! Two accesses of the same byte race where one of them writes, one of them is weak, their threads differ, and nothing
//! orders them. Barriers and `warpsync` order exactly, by vector clocks. Atomics, fences and strong accesses are taken
//! to order whatever they could: the first thread's block released something after its access, and the second thread,
//! or one that it met at a barrier, acquired something after that. What is reported is a race in every execution of
//! this order; that nothing is reported proves little for programs that synchronise by flags.

use super::exec::lanes;
use std::collections::HashMap;
use std::rc::Rc;

/// One access, as it is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Access {
    /// Number of the block in the order of starts, and of the thread in the block.
    pub block: u64,
    pub thread: u32,
    /// The thread's clock.
    pub clock: u32,
    /// Where in the program.
    pub function: u32,
    pub inst: u32,
    /// When.
    pub time: u64,
    /// Atomic, or with an order.
    pub strong: bool,
}

/// What is remembered of a byte: the last write, and two reads since.
#[derive(Clone, Copy, Default, Debug)]
struct Cell {
    write: Option<Access>,
    reads: [Option<Access>; 2],
}

/// Four bytes; apart where they were accessed apart.
#[derive(Clone, Debug)]
enum Granule {
    Whole(Cell),
    Apart(Box<[Cell; 4]>),
}

/// What is remembered of a memory.
#[derive(Default, Debug)]
pub(super) struct Cells {
    granules: HashMap<u64, Granule>,
}

/// How an earlier access stands to the one at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It happened before.
    Ordered,
    /// A relaxed access without a fence may have ordered it.
    Presumed,
    /// Nothing orders it.
    Unordered,
}

/// A conflict found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conflict {
    pub other: Access,
    pub other_writes: bool,
    pub presumed: bool,
}

impl Cells {
    /// Records an access of bytes, and finds an earlier one that conflicts with it.
    pub(super) fn access(
        &mut self,
        address: u64,
        len: u64,
        writes: bool,
        access: Access,
        standing: &dyn Fn(&Access) -> Standing,
    ) -> Option<Conflict> {
        let mut found = None;
        let end = address.saturating_add(len);
        let mut at = address;
        while at < end {
            let granule = at & !3;
            let next = granule.saturating_add(4).min(end);
            let entry = self.granules.entry(granule).or_insert_with(|| Granule::Whole(Cell::default()));
            if next - at == 4
                && let Granule::Whole(cell) = entry
            {
                found = found.or(cell.access(writes, access, standing));
            } else {
                if let Granule::Whole(cell) = entry {
                    *entry = Granule::Apart(Box::new([*cell; 4]));
                }
                if let Granule::Apart(cells) = entry {
                    for byte in at..next {
                        found = found.or(cells[(byte & 3) as usize].access(writes, access, standing));
                    }
                }
            }
            at = next;
        }
        found
    }
}

impl Cell {
    fn access(&mut self, writes: bool, access: Access, standing: &dyn Fn(&Access) -> Standing) -> Option<Conflict> {
        let conflict = |other: Option<Access>, other_writes: bool| {
            let other = other.filter(|o| !(o.strong && access.strong))?;
            match standing(&other) {
                Standing::Ordered => None,
                s => Some(Conflict { other, other_writes, presumed: s == Standing::Presumed }),
            }
        };
        let mut found = conflict(self.write, true);
        if writes {
            found = found.or(conflict(self.reads[0], false)).or(conflict(self.reads[1], false));
            *self = Self { write: Some(access), reads: [None; 2] };
        } else {
            let keep = self.reads[0].is_some_and(|r| standing(&r) != Standing::Ordered);
            self.reads[usize::from(keep)] = Some(access);
        }
        found
    }
}

/// What the threads of a block know of each other's progress.
#[derive(Default, Debug)]
pub(super) struct Clocks {
    /// Number of the block in the order of starts.
    pub number: u64,
    own: Vec<u32>,
    known: Vec<Rc<Vec<u32>>>,
    /// When each thread last acquired something, itself or through a barrier.
    acquired: Vec<u64>,
    /// Whether each thread has executed a fence.
    fenced: Vec<bool>,
}

/// What arrivals at a barrier bring with them.
#[derive(Clone, Default, Debug)]
pub(super) struct Meeting {
    known: Vec<u32>,
    acquired: u64,
}

/// When a block last released something, and whether a fence or a releasing order stood before it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Release {
    time: u64,
    proper: u64,
}

impl Release {
    /// Everything before is visible to whoever acquires something from now on.
    pub(super) fn all(&mut self, time: u64) {
        *self = Self { time, proper: time };
    }
}

impl Clocks {
    pub(super) fn new(number: u64, threads: u32) -> Self {
        let n = threads as usize;
        let nothing = Rc::new(vec![0; n]);
        Self { number, own: vec![1; n], known: vec![nothing; n], acquired: vec![0; n], fenced: vec![false; n] }
    }
    /// False where races are not looked for.
    pub(super) fn active(&self) -> bool {
        !self.own.is_empty()
    }
    /// Threads of a warp come to a meeting.
    pub(super) fn arrive(&mut self, meeting: &mut Meeting, warp: u32, mask: u32) {
        let first = warp as usize * 32;
        meeting.known.resize(self.own.len(), 0);
        let mut last: Option<Rc<Vec<u32>>> = None;
        for t in lanes(mask).map(|l| first + l) {
            if !last.as_ref().is_some_and(|l| Rc::ptr_eq(l, &self.known[t])) {
                meeting.known.iter_mut().zip(self.known[t].iter()).for_each(|(m, k)| *m = (*m).max(*k));
                last = Some(Rc::clone(&self.known[t]));
            }
            meeting.known[t] = meeting.known[t].max(self.own[t]);
            meeting.acquired = meeting.acquired.max(self.acquired[t]);
            self.own[t] += 1;
        }
    }
    /// Threads of a warp go on from a meeting.
    pub(super) fn leave(&mut self, met: &Met, warp: u32, mask: u32) {
        for t in lanes(mask).map(|l| warp as usize * 32 + l) {
            self.known[t] = Rc::clone(&met.known);
            self.acquired[t] = self.acquired[t].max(met.acquired);
        }
    }
    /// A thread's clock.
    pub(super) fn clock(&self, thread: u32) -> u32 {
        self.own[thread as usize]
    }
    /// A thread executes a fence.
    pub(super) fn fence(&mut self, thread: u32) {
        self.fenced[thread as usize] = true;
    }
    /// A thread reads by a strong access.
    pub(super) fn acquire(&mut self, thread: u32, time: u64) {
        self.acquired[thread as usize] = time;
    }
    /// Threads of a warp go on from a barrier of the cluster.
    pub(super) fn acquire_all(&mut self, warp: u32, mask: u32, time: u64) {
        for t in lanes(mask).map(|l| warp as usize * 32 + l) {
            if let Some(acquired) = self.acquired.get_mut(t) {
                *acquired = time;
            }
        }
    }
    /// A thread writes by a strong access.
    pub(super) fn release(&self, to: &mut Release, thread: u32, releasing: bool, time: u64) {
        to.time = time;
        if releasing || self.fenced[thread as usize] {
            to.proper = time;
        }
    }
    /// How an earlier access stands to what a thread does now.
    pub(super) fn standing(&self, earlier: &Access, thread: u32, release: Release) -> Standing {
        let t = thread as usize;
        if earlier.block == self.number
            && (earlier.thread == thread || self.known[t][earlier.thread as usize] >= earlier.clock)
        {
            return Standing::Ordered;
        }
        let acquired = self.acquired[t] > earlier.time;
        if acquired && release.proper > earlier.time {
            Standing::Ordered
        } else if acquired && release.time > earlier.time {
            Standing::Presumed
        } else {
            Standing::Unordered
        }
    }
}

/// What all who leave a meeting know.
#[derive(Clone, Debug)]
pub(super) struct Met {
    known: Rc<Vec<u32>>,
    acquired: u64,
}

impl Meeting {
    /// Everyone has come.
    pub(super) fn close(self) -> Met {
        Met { known: Rc::new(self.known), acquired: self.acquired }
    }
}

/// Which bytes have been written.
#[derive(Clone, Default, Debug)]
pub(super) struct Written {
    bytes: Vec<bool>,
}

impl Written {
    /// Nothing is written from here to there.
    pub(super) fn forget(&mut self, from: usize, to: usize) {
        if self.bytes.len() < to {
            self.bytes.resize(to, false);
        }
        self.bytes[from..to].fill(false);
    }
    pub(super) fn write(&mut self, from: usize, len: usize) {
        if let Some(bytes) = self.bytes.get_mut(from..from.saturating_add(len)) {
            bytes.fill(true);
        }
    }
    /// True where an element of `size` bytes has no byte that was written.
    pub(super) fn misses(&self, from: usize, len: usize, size: usize) -> bool {
        let bytes = self.bytes.get(from..from.saturating_add(len)).unwrap_or_default();
        bytes.chunks(size.max(1)).any(|element| !element.contains(&true))
    }
}
