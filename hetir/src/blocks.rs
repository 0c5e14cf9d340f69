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

/// A part of a grid that is a grid itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cuboid {
    /// Its first block.
    pub corner: [u32; 3],
    /// Its blocks by dimension.
    pub size: [u32; 3],
}

impl Cuboid {
    /// The blocks of a grid with these numbers, if they are one: part of a row, of the rows of a plane, or planes.
    pub fn of(grid: [u32; 3], range: &Range<u64>) -> Option<Self> {
        let [row, rows, _] = grid.map(u64::from);
        let plane = row * rows;
        let (first, last) = (range.start, range.end.checked_sub(1).filter(|last| *last >= range.start)?);
        if range.end > plane * u64::from(grid[2]) {
            return None;
        }
        let whole = |of: u64| range.start.is_multiple_of(of) && range.end.is_multiple_of(of);
        let corner = [first % row, first / row % rows, first / plane].map(|n| n as u32);
        let count = range.end - range.start;
        let size = match () {
            () if first / row == last / row => [count as u32, 1, 1],
            () if first / plane == last / plane && whole(row) => [grid[0], (count / row) as u32, 1],
            () if whole(plane) => [grid[0], grid[1], (count / plane) as u32],
            () => return None,
        };
        Some(Self { corner, size })
    }

    /// Numbers of the longest one that begins with a block of a grid and has no more blocks, but one at least, and ends before another block.
    pub fn longest(grid: [u32; 3], from: u64, before: u64, most: u64) -> Range<u64> {
        let [row, rows, _] = grid.map(u64::from);
        let plane = row * rows;
        let whole = |of: u64| if from.is_multiple_of(of) { most.min(before - from) / of * of } else { 0 };
        let within = |of: u64, outer: u64| whole(of).min(outer - from % outer);
        let count = within(1, row).max(within(row, plane)).max(whole(plane)).max(1);
        from..from + count
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
    fn parts_of_grids_that_are_grids() {
        let grid = [4, 3, 5];
        let of = |range: Range<u64>| Cuboid::of(grid, &range).map(|found| (found.corner, found.size));
        assert_eq!(of(1..3), Some(([1, 0, 0], [2, 1, 1])));
        assert_eq!(of(8..12), Some(([0, 2, 0], [4, 1, 1])));
        assert_eq!(of(16..24), Some(([0, 1, 1], [4, 2, 1])));
        assert_eq!(of(12..36), Some(([0, 0, 1], [4, 3, 2])));
        assert_eq!(of(0..60), Some(([0, 0, 0], [4, 3, 5])));
        for none in [3..5, 1..8, 8..16, 4..24, 0..61, 5..5] {
            assert_eq!(of(none.clone()), None, "{none:?}");
        }
    }

    #[test]
    fn a_grid_is_cut_into_grids() {
        for grid in [[4, 3, 5], [60, 1, 1], [1, 60, 1], [1, 1, 60], [7, 2, 3]] {
            let all = grid.iter().map(|&n| u64::from(n)).product();
            for most in 0..70 {
                for (start, end) in [(0, all), (5, all - 2)] {
                    let (mut at, mut parts) = (start, 0);
                    while at < end {
                        let part = Cuboid::longest(grid, at, end, most);
                        assert!(part.start == at && part.end > at && part.end <= end, "{part:?}");
                        assert!(
                            part.end - at <= most.max(1) && Cuboid::of(grid, &part).is_some(),
                            "{part:?} of {grid:?}"
                        );
                        (at, parts) = (part.end, parts + 1);
                    }
                    assert!(start > 0 || most < all || parts == 1, "{grid:?} in {parts} parts of {most}");
                }
            }
        }
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
