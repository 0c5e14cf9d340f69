//! A set of free address ranges.

use std::collections::BTreeMap;

/// Free ranges, none of which touches another.
#[derive(Default, Debug)]
pub(crate) struct Space {
    /// Start to length.
    free: BTreeMap<u64, u64>,
}

impl Space {
    pub(crate) fn new(start: u64, bytes: u64) -> Self {
        Self { free: BTreeMap::from([(start, bytes)]) }
    }

    /// The lowest address at or above `from` where `bytes` are free at a multiple of `align` (a power of two).
    pub(crate) fn find(&self, from: u64, bytes: u64, align: u64) -> Option<u64> {
        let first = self.free.range(..=from).next_back().map_or(from, |(&start, _)| start);
        self.free.range(first..).find_map(|(&start, &length)| {
            let at = start.max(from).checked_next_multiple_of(align)?;
            (at.checked_add(bytes)? <= start + length).then_some(at)
        })
    }

    /// Whether a range is free as a whole.
    pub(crate) fn holds(&self, at: u64, bytes: u64) -> bool {
        let around = self.free.range(..=at).next_back();
        around.is_some_and(|(&start, &length)| at + bytes <= start + length)
    }

    /// Removes a range that is free as a whole.
    pub(crate) fn take(&mut self, at: u64, bytes: u64) {
        let (&start, &length) = self.free.range(..=at).next_back().expect("the range to take is free");
        assert!(at + bytes <= start + length, "the range to take is free");
        self.free.remove(&start);
        if start < at {
            self.free.insert(start, at - start);
        }
        if at + bytes < start + length {
            self.free.insert(at + bytes, start + length - at - bytes);
        }
    }

    /// Puts a range back and joins it with its neighbours.
    pub(crate) fn give(&mut self, mut at: u64, mut bytes: u64) {
        if let Some((&start, &length)) = self.free.range(..at).next_back() {
            assert!(start + length <= at, "a range is given back once");
            if start + length == at {
                at = start;
                bytes += length;
            }
        }
        if let Some(length) = self.free.remove(&(at + bytes)) {
            bytes += length;
        }
        self.free.insert(at, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_fit_wins_and_alignment_is_kept() {
        let mut space = Space::new(0x1000, 0x9000);
        assert_eq!(space.find(0, 0x100, 0x1000), Some(0x1000));
        space.take(0x1000, 0x100);
        assert_eq!(space.find(0, 0x100, 0x100), Some(0x1100));
        assert_eq!(space.find(0, 0x100, 0x1000), Some(0x2000));
        assert_eq!(space.find(0x3001, 0x100, 0x1000), Some(0x4000));
        assert_eq!(space.find(0, 0x9000, 0x1000), None);
        assert_eq!(space.find(u64::MAX - 1, 1, 0x1000), None);
    }

    #[test]
    fn ranges_given_back_are_joined_on_both_sides() {
        let mut space = Space::new(0, 0x3000);
        space.take(0, 0x3000);
        assert_eq!(space.find(0, 1, 1), None);
        space.give(0, 0x1000);
        space.give(0x2000, 0x1000);
        assert_eq!(space.find(0, 0x3000, 1), None);
        space.give(0x1000, 0x1000);
        assert_eq!(space.find(0, 0x3000, 1), Some(0));
        assert!(space.holds(0, 0x3000) && space.holds(0x800, 0x10) && !space.holds(0x2000, 0x1001));
        assert_eq!(space.free.len(), 1);
    }

    #[test]
    #[should_panic = "a range is given back once"]
    fn giving_back_twice_is_caught() {
        let mut space = Space::new(0, 0x1000);
        space.give(0x800, 0x10);
    }
}
