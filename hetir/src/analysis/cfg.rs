//! The control-flow graph.

use crate::entity::Block;
use crate::ir::Body;

/// An edge, seen from the block that it leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Edge {
    /// The block that it leaves.
    pub from: Block,
    /// Which of that block's targets it is.
    pub target: usize,
}

/// Lists of items, one list an index, in one vector.
#[derive(Clone, Debug)]
pub(crate) struct Lists<T> {
    starts: Vec<u32>,
    items: Vec<T>,
}

impl<T: Copy> Lists<T> {
    /// Sorts pairs of list number and item into lists; within a list the order is kept.
    pub(crate) fn new(count: usize, pairs: impl Clone + Iterator<Item = (usize, T)>) -> Self {
        let mut starts = vec![0u32; count + 1];
        for (list, _) in pairs.clone() {
            starts[list + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut items: Vec<T> = pairs.clone().map(|(_, item)| item).collect();
        for (list, item) in pairs {
            items[next[list] as usize] = item;
            next[list] += 1;
        }
        Self { starts, items }
    }
    pub(crate) fn get(&self, list: usize) -> &[T] {
        &self.items[self.starts[list] as usize..self.starts[list + 1] as usize]
    }
}

/// Successors, predecessors and an order of the blocks.
#[derive(Clone, Debug)]
pub struct Cfg {
    successors: Lists<Block>,
    predecessors: Lists<Edge>,
    order: Vec<Block>,
    place: Vec<u32>,
}

const UNREACHABLE: u32 = u32::MAX;

impl Cfg {
    /// The graph of a body.
    pub fn of(body: &Body) -> Self {
        let count = body.blocks.len();
        let edges = || {
            body.block_ids().flat_map(|b| {
                let targets = body.terminator(b).map_or(&[][..], |t| body.targets(t));
                targets.iter().enumerate().map(move |(target, t)| (b, target, t.block))
            })
        };
        let pairs: Vec<_> = edges().collect();
        let successors = Lists::new(count, pairs.iter().map(|&(from, _, to)| (from.index(), to)));
        let predecessors =
            Lists::new(count, pairs.iter().map(|&(from, target, to)| (to.index(), Edge { from, target })));
        let mut cfg = Self { successors, predecessors, order: Vec::new(), place: vec![UNREACHABLE; count] };
        if count > 0 {
            cfg.number();
        }
        cfg
    }

    fn number(&mut self) {
        let mut seen = vec![false; self.place.len()];
        let mut stack = vec![(Body::ENTRY, 0)];
        seen[0] = true;
        while let Some((block, next)) = stack.last_mut() {
            match self.successors.get(block.index()).get(*next) {
                Some(&to) => {
                    *next += 1;
                    if !std::mem::replace(&mut seen[to.index()], true) {
                        stack.push((to, 0));
                    }
                }
                None => {
                    self.order.push(*block);
                    stack.pop();
                }
            }
        }
        self.order.reverse();
        for (i, b) in self.order.iter().enumerate() {
            self.place[b.index()] = i as u32;
        }
    }

    /// How many blocks the body has.
    pub fn block_count(&self) -> usize {
        self.place.len()
    }
    /// Where control may go from a block; a block stands there as often as edges lead to it.
    pub fn successors(&self, block: Block) -> &[Block] {
        self.successors.get(block.index())
    }
    /// The edges that lead to a block, also from unreachable blocks.
    pub fn predecessors(&self, block: Block) -> &[Edge] {
        self.predecessors.get(block.index())
    }
    /// The reachable blocks in reverse post-order: but for the back edges of loops, a block stands behind its
    /// predecessors.
    pub fn order(&self) -> &[Block] {
        &self.order
    }
    /// A block's place in [`Self::order`]; `None` where it cannot be reached.
    pub fn place(&self, block: Block) -> Option<usize> {
        let place = self.place[block.index()];
        (place != UNREACHABLE).then_some(place as usize)
    }
    /// Whether control can reach a block.
    pub fn is_reachable(&self, block: Block) -> bool {
        self.place[block.index()] != UNREACHABLE
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::graph;
    use super::*;

    fn numbers(blocks: &[Block]) -> Vec<usize> {
        blocks.iter().map(|b| b.index()).collect()
    }

    #[test]
    fn edges_and_order_of_a_diamond_with_a_loop() {
        let cfg = Cfg::of(&graph(&[&[1, 2], &[3], &[3, 3], &[0x4, 1], &[], &[4]]));
        assert_eq!(numbers(cfg.successors(Block::new(2))), [3, 3]);
        let into_3: Vec<_> = cfg.predecessors(Block::new(3)).iter().map(|e| (e.from.index(), e.target)).collect();
        assert_eq!(into_3, [(1, 0), (2, 0), (2, 1)]);
        assert_eq!(numbers(cfg.order()), [0, 2, 1, 3, 4]);
        assert!(!cfg.is_reachable(Block::new(5)));
        assert_eq!(cfg.place(Block::new(5)), None);
        assert_eq!(cfg.place(Block::new(4)), Some(4));
        assert_eq!(cfg.predecessors(Block::new(4)).len(), 2);
    }

    #[test]
    fn a_deep_graph_needs_no_deep_stack() {
        let lists: Vec<Vec<usize>> = (0..200_000).map(|i| if i + 1 < 200_000 { vec![i + 1] } else { vec![] }).collect();
        let lists: Vec<&[usize]> = lists.iter().map(Vec::as_slice).collect();
        assert_eq!(Cfg::of(&graph(&lists)).order().len(), 200_000);
    }
}
