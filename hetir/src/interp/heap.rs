//! The heap of device-side `malloc` and `free`.

use std::collections::BTreeMap;

/// A range of global memory that kernels allocate from. It outlives a launch: what one kernel allocates another may
/// free. The owner maps the range in the memory that launches are given.
#[derive(Clone, Debug, Default)]
pub struct Heap {
    base: u64,
    size: u64,
    taken: BTreeMap<u64, u64>,
}

/// Alignment of every allocation.
const ALIGN: u64 = 16;

impl Heap {
    /// A heap in the range from `base`, which is a multiple of 16.
    pub fn new(base: u64, size: u64) -> Self {
        Self { base, size, taken: BTreeMap::new() }
    }
    /// The same with these allocations, as [`Self::allocations`] gave them.
    pub fn with(base: u64, size: u64, allocations: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self { taken: allocations.into_iter().collect(), ..Self::new(base, size) }
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
    /// The first gap that is large enough; 0 where there is none or nothing is asked for.
    pub fn alloc(&mut self, bytes: u64) -> u64 {
        if bytes == 0 || bytes > self.size {
            return 0;
        }
        let mut at = self.base;
        for (&address, &taken) in &self.taken {
            if address - at >= bytes {
                break;
            }
            at = (address + taken).next_multiple_of(ALIGN);
        }
        if at - self.base > self.size - bytes {
            return 0;
        }
        self.taken.insert(at, bytes);
        at
    }
    /// Gives an allocation back; false where there is none at this address.
    pub fn free(&mut self, address: u64) -> bool {
        self.taken.remove(&address).is_some()
    }
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
}
