//! The heap of device-side `malloc` and `free`.

use std::collections::{BTreeMap, BTreeSet};

/// A range of global memory that kernels allocate from. It outlives a launch: what one kernel allocates another may
/// free. The owner maps the range in the memory that launches are given.
#[derive(Clone, Debug, Default)]
pub struct Heap {
    base: u64,
    size: u64,
    taken: BTreeMap<u64, u64>,
    /// Bytes of each gap by its first address. No two gaps touch.
    gaps: BTreeMap<u64, u64>,
    /// The gaps as (bytes, first address), so that the smallest that is large enough is found without a search: kernels
    /// allocate in tens of thousands of threads at once.
    by_size: BTreeSet<(u64, u64)>,
}

/// Alignment of every allocation.
const ALIGN: u64 = 16;

impl Heap {
    /// A heap in the range from `base`, which is a multiple of 16.
    pub fn new(base: u64, size: u64) -> Self {
        Self::with(base, size, [])
    }
    /// The same with these allocations, as [`Self::allocations`] gave them.
    pub fn with(base: u64, size: u64, allocations: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let taken: BTreeMap<u64, u64> = allocations.into_iter().collect();
        let mut heap = Self { base, size, ..Self::default() };
        let mut at = base;
        for (&address, &bytes) in &taken {
            heap.add_gap(at, address.min(heap.end()).saturating_sub(at));
            at = at.max(address.saturating_add(room(bytes)));
        }
        heap.add_gap(at, heap.end().saturating_sub(at));
        Self { taken, ..heap }
    }
    /// First address.
    pub fn base(&self) -> u64 {
        self.base
    }
    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Allocations as (address, bytes).
    pub fn allocations(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.taken.iter().map(|(&a, &n)| (a, n))
    }
    /// The beginning of the smallest gap that is large enough, the first of several; 0 where there is none or nothing is
    /// asked for.
    pub fn alloc(&mut self, bytes: u64) -> u64 {
        if bytes == 0 || bytes > self.size {
            return 0;
        }
        let Some(&(gap, at)) = self.by_size.range((bytes, 0)..).next() else { return 0 };
        self.remove_gap(at, gap);
        let used = room(bytes).min(gap);
        self.add_gap(at + used, gap - used);
        self.taken.insert(at, bytes);
        at
    }
    /// Gives an allocation back; false where there is none at this address.
    pub fn free(&mut self, address: u64) -> bool {
        let Some(bytes) = self.taken.remove(&address) else { return false };
        let (mut start, mut end) = (address, address.saturating_add(room(bytes)).min(self.end()));
        if let Some((&before, &gap)) = self.gaps.range(..start).next_back()
            && before + gap == start
        {
            self.remove_gap(before, gap);
            start = before;
        }
        if let Some(&gap) = self.gaps.get(&end) {
            self.remove_gap(end, gap);
            end += gap;
        }
        self.add_gap(start, end.saturating_sub(start));
        true
    }

    fn end(&self) -> u64 {
        self.base.saturating_add(self.size)
    }
    fn add_gap(&mut self, at: u64, bytes: u64) {
        if bytes != 0 {
            self.gaps.insert(at, bytes);
            self.by_size.insert((bytes, at));
        }
    }
    fn remove_gap(&mut self, at: u64, bytes: u64) {
        self.gaps.remove(&at);
        self.by_size.remove(&(bytes, at));
    }
}

/// What an allocation takes of the heap, so that the next one is aligned.
fn room(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(ALIGN).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_lie_apart_and_gaps_are_used_again() {
        let mut heap = Heap::new(0x1000, 64);
        assert_eq!(heap.alloc(0), 0);
        let (a, b, c) = (heap.alloc(10), heap.alloc(16), heap.alloc(32));
        assert_eq!((a, b, c), (0x1000, 0x1010, 0x1020));
        assert_eq!(heap.alloc(1), 0);
        assert!(heap.free(b) && !heap.free(b) && !heap.free(0x1001));
        assert_eq!(heap.alloc(17), 0);
        assert_eq!(heap.alloc(16), b);
        assert_eq!(heap.alloc(u64::MAX), 0);
    }

    #[test]
    fn gaps_are_joined_and_found_again_from_the_allocations() {
        let mut heap = Heap::new(0x1000, 1 << 10);
        let all: Vec<_> = (1..=20).map(|bytes| heap.alloc(bytes)).collect();
        for &address in all.iter().step_by(2).chain(all.iter().skip(1).step_by(4)) {
            assert!(heap.free(address));
        }
        let mut again = Heap::with(heap.base(), heap.size(), heap.allocations());
        for bytes in [40, 16, 3, 200, 16, 48] {
            assert_eq!(heap.alloc(bytes), again.alloc(bytes), "{bytes} bytes");
        }
        let left: Vec<_> = heap.allocations().collect();
        assert!(left.iter().all(|&(address, _)| heap.free(address)));
        assert_eq!(heap.alloc(1 << 10), 0x1000, "all of it in one piece");
    }

    #[test]
    fn allocations_that_cannot_be_are_no_gaps() {
        let mut heap = Heap::with(0x1000, 64, [(0x1000, 32), (0x1010, 8), (0x1038, u64::MAX)]);
        assert_eq!((heap.alloc(64), heap.alloc(24), heap.alloc(1)), (0, 0x1020, 0));
        assert!(heap.free(0x1038));
    }
}
