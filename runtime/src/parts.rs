//! Launches that go to the device in parts, one behind the other, so that they can stop between two of them.

use hetir::blocks::{Blocks, Cuboid};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long a part is to take. Who stops a launch waits for two.
const WANTED: Duration = Duration::from_micros(400);
/// By how much a part is larger than the one before it, at most.
const GROWTH: u64 = 4;
/// A first part without anything to go by has the device's processors so often.
const FIRST: u64 = 4;

/// The parts of a launch.
pub(crate) struct Parts {
    grid: [u32; 3],
    /// Blocks that were not named yet, in their order.
    left: Vec<Range<u64>>,
    /// Blocks of the next part.
    size: u64,
    /// Fewer leave the device without blocks when others end.
    least: u64,
    /// When the last part was named, how many were before it, and the sizes of the last two.
    named: Option<Instant>,
    count: u32,
    sizes: [u64; 2],
}

impl Parts {
    /// Of a launch's blocks, of which the device runs so many at once; all of its grid may take so many nanoseconds.
    pub(crate) fn new(grid: [u32; 3], blocks: &Blocks, at_once: u64, guess: Option<u64>) -> Self {
        let all = grid.iter().fold(1, |blocks: u64, &n| blocks.saturating_mul(n.into()));
        let mut left = blocks.between(0..blocks.count(all));
        // The next one is taken from the end.
        left.reverse();
        let by_guess = guess.map(|guess| (u128::from(all) * WANTED.as_nanos() / u128::from(guess.max(1))) as u64);
        let size = by_guess.unwrap_or(at_once * FIRST).max(at_once);
        Self { grid, left, size, least: at_once, named: None, count: 0, sizes: [0; 2] }
    }

    /// The next part, at a time: it is asked for when the last but one has ended.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Range<u64>> {
        let range = self.left.pop()?;
        if let Some(before) = self.named.replace(now)
            && self.count >= 2
        {
            self.size = fitting(self.sizes[0], now.duration_since(before), self.size).max(self.least);
        }
        let part = Cuboid::longest(self.grid, range.start, range.end, self.size);
        if part.end < range.end {
            self.left.push(part.end..range.end);
        }
        (self.sizes, self.count) = ([self.sizes[1], part.end - part.start], self.count + 1);
        Some(part)
    }

    /// Blocks that were not named.
    pub(crate) fn left(mut self) -> Vec<Range<u64>> {
        self.left.reverse();
        self.left
    }
}

/// How large a part is to be after one of so many blocks took so long.
fn fitting(blocks: u64, took: Duration, before: u64) -> u64 {
    let fit = u128::from(blocks) * WANTED.as_nanos() / took.as_nanos().max(1);
    (fit as u64).clamp(before / GROWTH, before.saturating_mul(GROWTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names the parts of a grid of which each block takes so long.
    fn parts(grid: [u32; 3], blocks: &Blocks, guess: Option<u64>, a_block: Duration) -> Vec<Range<u64>> {
        let (mut parts, mut now, mut named) = (Parts::new(grid, blocks, 16, guess), Instant::now(), Vec::new());
        while let Some(part) = parts.next(now) {
            named.push(part);
            if let [.., ended, _] = &named[..] {
                now += a_block * (ended.end - ended.start) as u32;
            }
        }
        assert!(parts.left().is_empty());
        named
    }

    #[test]
    fn parts_follow_each_other_and_are_all() {
        let whole = parts([100, 7, 3], &Blocks::default(), Some(10_000_000), Duration::from_micros(5));
        assert_eq!(whole.first().map(|part| part.start), Some(0));
        assert_eq!(whole.last().map(|part| part.end), Some(2100));
        assert!(whole.windows(2).all(|pair| pair[0].end == pair[1].start), "{whole:?}");
        let some = parts([100, 7, 3], &Blocks::some([3..9, 500..1900]), None, Duration::from_micros(5));
        assert_eq!(some.iter().map(|part| part.end - part.start).sum::<u64>(), 1406);
        assert_eq!((some[0].start, some[1].start), (3, 500));
    }

    /// Whatever was thought before, parts come to take as long as they are to.
    #[test]
    fn parts_become_as_long_as_wanted() {
        let a_block = Duration::from_micros(1);
        for guess in [None, Some(4_000_000), Some(1_000_000_000), Some(1_000_000_000_000)] {
            let sizes: Vec<_> = parts([1_000_000, 1, 1], &Blocks::default(), guess, a_block)
                .into_iter()
                .map(|part| part.end - part.start)
                .collect();
            let later = &sizes[20..sizes.len() - 1];
            assert!(later.iter().all(|size| (350..=450).contains(size)), "{guess:?}: {sizes:?}");
        }
    }

    #[test]
    fn a_part_keeps_the_device_busy() {
        let sizes = parts([200, 1, 1], &Blocks::default(), Some(1), Duration::from_millis(10));
        assert!(sizes.iter().skip(6).rev().skip(1).all(|part| part.end - part.start == 16), "{sizes:?}");
    }

    #[test]
    fn what_was_not_named_is_left() {
        let mut parts = Parts::new([40, 1, 1], &Blocks::some([0..10, 20..40]), 8, None);
        assert_eq!(parts.next(Instant::now()), Some(0..10));
        assert_eq!(parts.left(), vec![Range { start: 20, end: 40 }]);
    }
}
