//! Which blocks of a grid a launch runs.

use std::ops::Range;
use std::sync::Arc;

/// Blocks in the order in which they are begun, by their number in the grid (x counts fastest). Where a launch has
/// clusters, numbers are those of clusters. The default is the whole grid.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blocks {
    /// What is run; nothing for the whole grid.
    parts: Option<Arc<[Part]>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    /// Numbers in the grid.
    range: Range<u64>,
    /// Blocks of this part and of those before it.
    end: u64,
}

impl Blocks {
    /// These blocks, without empty ranges.
    pub fn some(ranges: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut before = 0;
        let parts = ranges.into_iter().filter(|r| !r.is_empty()).map(|range| {
            before += range.end - range.start;
            Part { range, end: before }
        });
        Self { parts: Some(parts.collect()) }
    }

    /// True for the whole grid.
    pub fn are_all(&self) -> bool {
        self.parts.is_none()
    }

    /// How many they are of a grid of `grid` blocks.
    pub fn count(&self, grid: u64) -> u64 {
        self.parts.as_ref().map_or(grid, |parts| parts.last().map_or(0, |p| p.end))
    }

    /// True where a grid of `grid` blocks has all of them.
    pub fn are_within(&self, grid: u64) -> bool {
        self.parts.iter().flat_map(|parts| parts.iter()).all(|p| p.range.end <= grid)
    }

    /// The number in the grid of the n-th of them.
    #[inline]
    pub fn nth(&self, n: u64) -> u64 {
        match &self.parts {
            None => n,
            Some(parts) => {
                let place = parts.partition_point(|p| p.end <= n);
                parts.get(place).map_or(n, |p| p.range.end - (p.end - n))
            }
        }
    }

    /// Numbers in the grid of those from the n-th up to another, as ranges.
    pub fn between(&self, part: Range<u64>) -> Vec<Range<u64>> {
        let Some(parts) = &self.parts else { return if part.is_empty() { Vec::new() } else { vec![part] } };
        let mut found = Vec::new();
        for Part { range, end } in parts.iter() {
            let begin = end - (range.end - range.start);
            let (from, to) = (part.start.max(begin), part.end.min(*end));
            if from < to {
                found.push(range.start + (from - begin)..range.start + (to - begin));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_grid() {
        let all = Blocks::default();
        assert!(all.are_all() && all.are_within(0));
        assert_eq!((all.count(7), all.nth(3)), (7, 3));
        assert_eq!(all.between(2..5).into_iter().flatten().collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(all.between(5..5), []);
    }

    #[test]
    fn parts_in_an_order_of_their_own() {
        let some = Blocks::some([8..10, 3..3, 0..3]);
        assert_eq!(some.count(100), 5);
        assert_eq!((0..5).map(|n| some.nth(n)).collect::<Vec<_>>(), [8, 9, 0, 1, 2]);
        assert_eq!(some.between(1..4), [9..10, 0..2]);
        assert!(some.are_within(10) && !some.are_within(9));
        assert_eq!(Blocks::some([]).count(4), 0);
    }
}
