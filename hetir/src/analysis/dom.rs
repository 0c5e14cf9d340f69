//! Dominators and post-dominators, by the algorithm of Lengauer and Tarjan with path compression.

use super::cfg::{Cfg, Lists};
use crate::entity::Block;

const NONE: u32 = u32::MAX;

/// A tree of dominators over nodes 0..count, of which only those that the root reaches take part.
#[derive(Clone, Debug)]
struct Tree {
    parent: Vec<u32>,
    /// The intervals of a walk over the tree: a node's interval holds those of the nodes that it dominates.
    enter: Vec<u32>,
    leave: Vec<u32>,
    depth: Vec<u32>,
}

struct Forest {
    ancestor: Vec<u32>,
    label: Vec<u32>,
    semi: Vec<u32>,
    path: Vec<u32>,
}

impl Forest {
    fn eval(&mut self, v: u32) -> u32 {
        let mut at = v;
        while self.ancestor[at as usize] != NONE {
            self.path.push(at);
            at = self.ancestor[at as usize];
        }
        // The node below the root keeps its ancestor; those below it are compressed from the top down.
        let mut above = self.path.pop();
        while let (Some(top), Some(node)) = (above, self.path.pop()) {
            let (t, n) = (top as usize, node as usize);
            if self.semi[self.label[t] as usize] < self.semi[self.label[n] as usize] {
                self.label[n] = self.label[t];
            }
            self.ancestor[n] = self.ancestor[t];
            above = Some(node);
        }
        self.label[v as usize]
    }
}

impl Tree {
    fn new(count: usize, root: usize, successors: &Lists<u32>, predecessors: &Lists<u32>) -> Self {
        // Nodes are numbered by a depth-first walk; from here to the end of the loops all numbers are those.
        let mut number = vec![NONE; count];
        let mut nodes: Vec<u32> = Vec::new();
        let mut above: Vec<u32> = Vec::new();
        let mut stack = vec![(root as u32, NONE)];
        while let Some((node, from)) = stack.pop() {
            if number[node as usize] != NONE {
                continue;
            }
            let n = nodes.len() as u32;
            number[node as usize] = n;
            nodes.push(node);
            above.push(from);
            stack.extend(successors.get(node as usize).iter().rev().map(|&s| (s, n)));
        }
        let reached = nodes.len();
        let numbers: Vec<u32> = (0..reached as u32).collect();
        let mut forest =
            Forest { ancestor: vec![NONE; reached], label: numbers.clone(), semi: numbers, path: Vec::new() };
        let mut dominator = vec![0u32; reached];
        // Linked lists: first entry by semi-dominator, then from node to node.
        let (mut first, mut following) = (vec![NONE; reached], vec![NONE; reached]);
        for w in (1..reached as u32).rev() {
            for &p in predecessors.get(nodes[w as usize] as usize) {
                let p = number[p as usize];
                if p != NONE {
                    let u = forest.eval(p);
                    forest.semi[w as usize] = forest.semi[w as usize].min(forest.semi[u as usize]);
                }
            }
            let semi = forest.semi[w as usize] as usize;
            following[w as usize] = std::mem::replace(&mut first[semi], w);
            let parent = above[w as usize];
            forest.ancestor[w as usize] = parent;
            let mut v = std::mem::replace(&mut first[parent as usize], NONE);
            while v != NONE {
                let u = forest.eval(v);
                let lower = forest.semi[u as usize] < forest.semi[v as usize];
                dominator[v as usize] = if lower { u } else { parent };
                v = following[v as usize];
            }
        }
        let mut tree =
            Self { parent: vec![NONE; count], enter: vec![NONE; count], leave: vec![0; count], depth: vec![0; count] };
        for w in 1..reached {
            if dominator[w] != forest.semi[w] {
                dominator[w] = dominator[dominator[w] as usize];
            }
            tree.parent[nodes[w] as usize] = nodes[dominator[w] as usize];
        }
        tree.walk(root, &nodes);
        tree
    }

    /// Fills the intervals and depths. `nodes` holds each node behind its parent.
    fn walk(&mut self, root: usize, nodes: &[u32]) {
        let children =
            Lists::new(self.parent.len(), nodes.iter().skip(1).map(|&n| (self.parent[n as usize] as usize, n)));
        let mut clock = 0;
        let mut stack = vec![(root as u32, false)];
        while let Some((node, done)) = stack.pop() {
            let n = node as usize;
            if done {
                self.leave[n] = clock;
                continue;
            }
            self.enter[n] = clock;
            clock += 1;
            stack.push((node, true));
            for &child in children.get(n) {
                self.depth[child as usize] = self.depth[n] + 1;
                stack.push((child, false));
            }
        }
    }

    fn dominates(&self, a: usize, b: usize) -> bool {
        self.enter[a] != NONE
            && self.enter[b] != NONE
            && self.enter[a] <= self.enter[b]
            && self.enter[b] < self.leave[a]
    }

    fn common(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            if self.depth[a] >= self.depth[b] {
                a = self.parent[a] as usize;
            } else {
                b = self.parent[b] as usize;
            }
        }
        a
    }
}

/// Which blocks lie on every path from the entry.
#[derive(Clone, Debug)]
pub struct Dominators(Tree);

impl Dominators {
    /// The dominators of a graph.
    pub fn of(cfg: &Cfg) -> Self {
        let count = cfg.block_count();
        let blocks = || (0..count).map(Block::new);
        let successors = blocks().flat_map(|b| cfg.successors(b).iter().map(move |s| (b.index(), s.index() as u32)));
        let predecessors =
            blocks().flat_map(|b| cfg.predecessors(b).iter().map(move |e| (b.index(), e.from.index() as u32)));
        if count == 0 {
            return Self(Tree { parent: vec![], enter: vec![], leave: vec![], depth: vec![] });
        }
        Self(Tree::new(count, 0, &Lists::new(count, successors), &Lists::new(count, predecessors)))
    }
    /// The last block before this one that is on every path to it; `None` for the entry and unreachable blocks.
    pub fn immediate(&self, block: Block) -> Option<Block> {
        let parent = self.0.parent[block.index()];
        (parent != NONE).then(|| Block::new(parent as usize))
    }
    /// Whether every path to `b` leads through `a`. A block dominates itself; with unreachable blocks the answer is no.
    pub fn dominates(&self, a: Block, b: Block) -> bool {
        self.0.dominates(a.index(), b.index())
    }
    /// The last block that dominates both; both must be reachable.
    pub fn common(&self, a: Block, b: Block) -> Block {
        Block::new(self.0.common(a.index(), b.index()))
    }
    /// For each block, those where its dominance ends: it dominates a predecessor of them but not strictly them.
    pub fn frontiers(&self, cfg: &Cfg) -> Vec<Vec<Block>> {
        let mut frontiers: Vec<Vec<Block>> = vec![Vec::new(); cfg.block_count()];
        for &block in cfg.order() {
            let stop = self.immediate(block);
            for edge in cfg.predecessors(block) {
                let mut at = Some(edge.from).filter(|b| cfg.is_reachable(*b));
                while let Some(b) = at.filter(|b| Some(*b) != stop) {
                    let list = &mut frontiers[b.index()];
                    if list.last() == Some(&block) {
                        break;
                    }
                    list.push(block);
                    at = self.immediate(b);
                }
            }
        }
        frontiers
    }
}

/// Which blocks lie on every path to the end of the function. Blocks from which no end can be reached count as ends
/// themselves.
#[derive(Clone, Debug)]
pub struct PostDominators(Tree);

impl PostDominators {
    /// The post-dominators of a graph.
    pub fn of(cfg: &Cfg) -> Self {
        let count = cfg.block_count();
        let blocks = || (0..count).map(Block::new);
        let mut ends = vec![false; count];
        let mut stack: Vec<Block> = blocks().filter(|b| cfg.successors(*b).is_empty()).collect();
        let leaves: Vec<Block> = stack.clone();
        while let Some(block) = stack.pop() {
            if !std::mem::replace(&mut ends[block.index()], true) {
                stack.extend(cfg.predecessors(block).iter().map(|e| e.from));
            }
        }
        let endless = blocks().filter(|b| !ends[b.index()]);
        let exits: Vec<usize> = leaves.into_iter().chain(endless).map(Block::index).collect();
        let reversed = blocks()
            .flat_map(|b| cfg.predecessors(b).iter().map(move |e| (b.index(), e.from.index() as u32)))
            .chain(exits.iter().map(|&e| (count, e as u32)));
        let forward = blocks()
            .flat_map(|b| cfg.successors(b).iter().map(move |s| (b.index(), s.index() as u32)))
            .chain(exits.iter().map(|&e| (e, count as u32)));
        Self(Tree::new(count + 1, count, &Lists::new(count + 1, reversed), &Lists::new(count + 1, forward)))
    }
    /// The first block behind this one that is on every path from it; `None` where that is the end of the function.
    pub fn immediate(&self, block: Block) -> Option<Block> {
        let parent = self.0.parent[block.index()] as usize;
        (parent + 1 < self.0.parent.len()).then(|| Block::new(parent))
    }
    /// Whether every path from `b` to the end leads through `a`. A block post-dominates itself.
    pub fn dominates(&self, a: Block, b: Block) -> bool {
        self.0.dominates(a.index(), b.index())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{graph, random_graph};
    use super::*;

    fn refs(lists: &[Vec<usize>]) -> Vec<&[usize]> {
        lists.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn a_diamond_behind_a_loop() {
        // 0 -> 1 -> 2 -> 1, 2 -> 3 -> {4, 5} -> 6; 7 is not reachable
        let cfg = Cfg::of(&graph(&[&[1], &[2], &[1, 3], &[4, 5], &[6], &[6], &[], &[6]]));
        let dom = Dominators::of(&cfg);
        let b = Block::new;
        let immediate: Vec<_> = (0..8).map(|i| dom.immediate(b(i)).map(Block::index)).collect();
        assert_eq!(immediate, [None, Some(0), Some(1), Some(2), Some(3), Some(3), Some(3), None]);
        assert!(dom.dominates(b(1), b(6)) && dom.dominates(b(6), b(6)) && !dom.dominates(b(4), b(6)));
        assert!(!dom.dominates(b(7), b(6)) && !dom.dominates(b(0), b(7)));
        assert_eq!(dom.common(b(4), b(5)), b(3));
        let frontiers = dom.frontiers(&cfg);
        assert_eq!(frontiers[4], [b(6)]);
        assert_eq!(frontiers[1], [b(1)]);
        assert_eq!(frontiers[2], [b(1)]);
        assert!(frontiers[0].is_empty() && frontiers[6].is_empty());
        let post = PostDominators::of(&cfg);
        let immediate: Vec<_> = (0..7).map(|i| post.immediate(b(i)).map(Block::index)).collect();
        assert_eq!(immediate, [Some(1), Some(2), Some(3), Some(6), Some(6), Some(6), None]);
        assert!(post.dominates(b(3), b(0)) && !post.dominates(b(4), b(3)));
    }

    #[test]
    fn endless_loops_end_in_themselves() {
        let cfg = Cfg::of(&graph(&[&[1, 3], &[2], &[1], &[]]));
        let post = PostDominators::of(&cfg);
        for i in 0..4 {
            assert_eq!(post.immediate(Block::new(i)), None);
        }
    }

    /// Blocks reached from `from` without stepping on `without`.
    fn reached(lists: &[Vec<usize>], from: usize, without: usize) -> Vec<bool> {
        let mut seen = vec![false; lists.len()];
        let mut stack = vec![from];
        while let Some(b) = stack.pop() {
            if b != without && !std::mem::replace(&mut seen[b], true) {
                stack.extend(&lists[b]);
            }
        }
        seen
    }

    #[test]
    fn random_graphs_agree_with_the_definition() {
        for seed in 0..300 {
            let lists = random_graph(2 + seed as usize % 12, seed);
            let n = lists.len();
            let cfg = Cfg::of(&graph(&refs(&lists)));
            let (dom, post) = (Dominators::of(&cfg), PostDominators::of(&cfg));
            let reachable = reached(&lists, 0, n);
            let ends: Vec<bool> = (0..n)
                .map(|b| {
                    let from = reached(&lists, b, n);
                    let leaf = |c: usize| from[c] && lists[c].is_empty();
                    lists[b].is_empty() || !(0..n).any(leaf)
                })
                .collect();
            for a in 0..n {
                let without = reached(&lists, 0, a);
                for b in 0..n {
                    let expected = reachable[a] && reachable[b] && !without[b];
                    assert_eq!(dom.dominates(Block::new(a), Block::new(b)), expected, "{lists:?} {a} dom {b}");
                    let onward = reached(&lists, b, a);
                    let escapes = (0..n).any(|c| onward[c] && ends[c]);
                    assert_eq!(post.dominates(Block::new(a), Block::new(b)), !escapes, "{lists:?} {a} pdom {b}");
                }
            }
        }
    }
}
