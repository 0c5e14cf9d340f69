//! Natural loops and how they nest.

use super::cfg::{Cfg, Edge};
use super::dom::Dominators;
use crate::entity::Block;

/// A loop of a [`LoopForest`], by its number. Outer loops may have higher numbers than those inside of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LoopId(u32);

impl LoopId {
    /// Its index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A natural loop: all blocks from which the header can be reached again without leaving what it dominates.
#[derive(Clone, Debug)]
pub struct Loop {
    /// The only block through which it is entered.
    pub header: Block,
    /// The innermost loop around it.
    pub parent: Option<LoopId>,
    /// How many loops hold its header, this one included.
    pub depth: u32,
    /// The edges from inside back to the header.
    pub latches: Vec<Edge>,
    /// Where the walk over the tree of loops enters and leaves it.
    interval: (u32, u32),
    blocks: (u32, u32),
}

/// The loops of a body.
#[derive(Clone, Debug)]
pub struct LoopForest {
    loops: Vec<Loop>,
    innermost: Vec<Option<LoopId>>,
    blocks: Vec<Block>,
    irreducible: bool,
}

impl LoopForest {
    /// The loops of a graph.
    pub fn of(cfg: &Cfg, dom: &Dominators) -> Self {
        let mut forest = Self {
            loops: Vec::new(),
            innermost: vec![None; cfg.block_count()],
            blocks: Vec::new(),
            irreducible: false,
        };
        // The outermost loop found so far around each loop, with paths that are shortened as they are walked.
        let mut top: Vec<u32> = Vec::new();
        for &header in cfg.order().iter().rev() {
            let mut latches = Vec::new();
            for edge in cfg.predecessors(header) {
                if dom.dominates(header, edge.from) {
                    latches.push(*edge);
                } else if cfg.place(edge.from) >= cfg.place(header) {
                    forest.irreducible = true;
                }
            }
            if !latches.is_empty() {
                forest.add(cfg, header, latches, &mut top);
            }
        }
        forest.number(cfg);
        forest
    }

    fn add(&mut self, cfg: &Cfg, header: Block, latches: Vec<Edge>, top: &mut Vec<u32>) {
        let id = LoopId(self.loops.len() as u32);
        top.push(id.0);
        let mut work: Vec<Block> = latches.iter().map(|e| e.from).collect();
        self.loops.push(Loop { header, parent: None, depth: 0, latches, interval: (0, 0), blocks: (0, 0) });
        self.innermost[header.index()] = Some(id);
        while let Some(block) = work.pop() {
            let enter = match self.innermost[block.index()] {
                None => {
                    self.innermost[block.index()] = Some(id);
                    block
                }
                Some(inner) => {
                    let outer = find(top, inner.0);
                    if outer == id.0 {
                        continue;
                    }
                    top[outer as usize] = id.0;
                    self.loops[outer as usize].parent = Some(id);
                    self.loops[outer as usize].header
                }
            };
            work.extend(cfg.predecessors(enter).iter().map(|e| e.from).filter(|b| cfg.is_reachable(*b)));
        }
    }

    /// Numbers the tree of loops and sorts the blocks by it, so that each loop's blocks are neighbours.
    fn number(&mut self, cfg: &Cfg) {
        let count = self.loops.len();
        let mut sizes = vec![1u32; count];
        // Inner loops have lower numbers than the loops around them.
        for i in 0..count {
            if let Some(p) = self.loops[i].parent {
                sizes[p.index()] += sizes[i];
            }
        }
        let mut next_root = 0;
        let mut next_child = vec![0; count];
        for i in (0..count).rev() {
            let (start, depth) = match self.loops[i].parent {
                Some(p) => {
                    let start = next_child[p.index()];
                    next_child[p.index()] += sizes[i];
                    (start, self.loops[p.index()].depth + 1)
                }
                None => {
                    let start = next_root;
                    next_root += sizes[i];
                    (start, 1)
                }
            };
            self.loops[i].interval = (start, start + sizes[i]);
            self.loops[i].depth = depth;
            next_child[i] = start + 1;
        }
        let key = |b: &Block| self.innermost[b.index()].map(|l| self.loops[l.index()].interval.0);
        self.blocks = cfg.order().iter().copied().filter(|b| key(b).is_some()).collect();
        self.blocks.sort_by_key(key);
        let starts: Vec<u32> = self.blocks.iter().filter_map(key).collect();
        for l in &mut self.loops {
            let place = |n: u32| starts.partition_point(|s| *s < n) as u32;
            l.blocks = (place(l.interval.0), place(l.interval.1));
        }
    }

    /// How many loops there are.
    pub fn len(&self) -> usize {
        self.loops.len()
    }
    /// True where there is no loop.
    pub fn is_empty(&self) -> bool {
        self.loops.is_empty()
    }
    /// All loops, each before those around it.
    pub fn ids(&self) -> impl Iterator<Item = LoopId> + use<> {
        (0..self.loops.len() as u32).map(LoopId)
    }
    /// A loop.
    pub fn get(&self, id: LoopId) -> &Loop {
        &self.loops[id.index()]
    }
    /// The innermost loop that holds a block.
    pub fn innermost(&self, block: Block) -> Option<LoopId> {
        self.innermost[block.index()]
    }
    /// The loop whose header a block is.
    pub fn headed_by(&self, block: Block) -> Option<LoopId> {
        self.innermost(block).filter(|l| self.get(*l).header == block)
    }
    /// Whether a loop holds a block.
    pub fn contains(&self, id: LoopId, block: Block) -> bool {
        let (start, end) = self.get(id).interval;
        self.innermost(block).is_some_and(|l| (start..end).contains(&self.get(l).interval.0))
    }
    /// The blocks of a loop, those of loops inside of it included; the header stands first.
    pub fn blocks(&self, id: LoopId) -> &[Block] {
        let (start, end) = self.get(id).blocks;
        &self.blocks[start as usize..end as usize]
    }
    /// The loops that hold a block, from the inside out.
    pub fn around(&self, block: Block) -> impl Iterator<Item = LoopId> + '_ {
        std::iter::successors(self.innermost(block), |l| self.get(*l).parent)
    }
    /// The edges that leave a loop, and where they lead.
    pub fn exits(&self, cfg: &Cfg, id: LoopId) -> Vec<(Edge, Block)> {
        let mut exits = Vec::new();
        for &from in self.blocks(id) {
            for (target, &to) in cfg.successors(from).iter().enumerate() {
                if !self.contains(id, to) {
                    exits.push((Edge { from, target }, to));
                }
            }
        }
        exits
    }
    /// True where some cycle has no header that dominates it. Such cycles are no loops here.
    pub fn is_irreducible(&self) -> bool {
        self.irreducible
    }
}

fn find(top: &mut [u32], mut at: u32) -> u32 {
    while top[at as usize] != at {
        let next = top[top[at as usize] as usize];
        top[at as usize] = next;
        at = next;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::testing::{graph, random_graph};
    use super::*;

    fn forest(lists: &[&[usize]]) -> (Cfg, LoopForest) {
        let cfg = Cfg::of(&graph(lists));
        let loops = LoopForest::of(&cfg, &Dominators::of(&cfg));
        (cfg, loops)
    }
    fn sorted(blocks: &[Block]) -> Vec<usize> {
        let mut v: Vec<usize> = blocks.iter().map(|b| b.index()).collect();
        v.sort_unstable();
        v
    }

    #[test]
    fn nested_loops() {
        // 1 heads {1..6}; 2 heads {2, 3}; 4 heads {4, 5}; 6 is the outer latch
        let (cfg, loops) = forest(&[&[1], &[2, 7], &[3, 4], &[2], &[5, 6], &[4], &[1, 7], &[]]);
        assert_eq!(loops.len(), 3);
        assert!(!loops.is_irreducible());
        let by_header = |h| loops.headed_by(Block::new(h)).unwrap();
        let (outer, a, b) = (by_header(1), by_header(2), by_header(4));
        assert_eq!(sorted(loops.blocks(outer)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(sorted(loops.blocks(a)), [2, 3]);
        assert_eq!(sorted(loops.blocks(b)), [4, 5]);
        assert_eq!(loops.blocks(outer)[0], Block::new(1));
        assert_eq!((loops.get(a).parent, loops.get(outer).parent), (Some(outer), None));
        assert_eq!((loops.get(a).depth, loops.get(outer).depth), (2, 1));
        assert_eq!(loops.innermost(Block::new(6)), Some(outer));
        assert_eq!(loops.innermost(Block::new(0)), None);
        assert!(loops.contains(outer, Block::new(3)) && !loops.contains(a, Block::new(4)));
        assert_eq!(loops.around(Block::new(5)).collect::<Vec<_>>(), [b, outer]);
        let exits: Vec<_> = loops.exits(&cfg, outer).iter().map(|(e, to)| (e.from.index(), to.index())).collect();
        assert_eq!(exits.len(), 2);
        assert!(exits.contains(&(1, 7)) && exits.contains(&(6, 7)));
    }

    #[test]
    fn a_block_that_repeats_itself_and_two_latches() {
        let (_, loops) = forest(&[&[1], &[1, 2], &[3, 4], &[2], &[2, 5], &[]]);
        assert_eq!(loops.len(), 2);
        let l = loops.headed_by(Block::new(2)).unwrap();
        assert_eq!(loops.get(l).latches.len(), 2);
        assert_eq!(sorted(loops.blocks(loops.headed_by(Block::new(1)).unwrap())), [1]);
    }

    #[test]
    fn a_cycle_with_two_entries_is_irreducible() {
        let (_, loops) = forest(&[&[1, 2], &[2], &[1, 3], &[]]);
        assert!(loops.is_irreducible() && loops.is_empty());
    }

    #[test]
    fn random_loops_agree_with_the_definition() {
        for seed in 0..300 {
            let lists = random_graph(2 + seed as usize % 14, seed);
            let refs: Vec<&[usize]> = lists.iter().map(Vec::as_slice).collect();
            let cfg = Cfg::of(&graph(&refs));
            let dom = Dominators::of(&cfg);
            let loops = LoopForest::of(&cfg, &dom);
            for h in cfg.order().iter().copied() {
                // Backwards from the latches, never past the header.
                let mut inside = vec![false; lists.len()];
                let mut work: Vec<Block> =
                    cfg.predecessors(h).iter().map(|e| e.from).filter(|p| dom.dominates(h, *p)).collect();
                let is_header = !work.is_empty();
                inside[h.index()] = true;
                while let Some(b) = work.pop() {
                    if !std::mem::replace(&mut inside[b.index()], true) {
                        let preds = cfg.predecessors(b).iter().map(|e| e.from);
                        work.extend(preds.filter(|p| cfg.is_reachable(*p)));
                    }
                }
                match loops.headed_by(h) {
                    None => assert!(!is_header, "{lists:?} {h}"),
                    Some(l) => {
                        for (b, expected) in inside.iter().enumerate() {
                            assert_eq!(loops.contains(l, Block::new(b)), *expected, "{lists:?} {h} {b}");
                        }
                        let expected: Vec<usize> = (0..lists.len()).filter(|b| inside[*b]).collect();
                        assert_eq!(sorted(loops.blocks(l)), expected, "{lists:?}");
                        assert_eq!(loops.blocks(l)[0], h, "{lists:?}");
                    }
                }
            }
        }
    }
}
