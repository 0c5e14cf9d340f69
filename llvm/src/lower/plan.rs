//! How a function's blocks are put one after the other so that the lanes of a warp can go different ways.
//!
//! Partial linearisation: blocks are visited in a topological order in which the blocks of a loop are neighbours. A
//! uniform branch stays a branch. Behind a divergent one control goes to the first of its targets, and the others are
//! *pending*: they are passed on from block to block until control comes to them. A pending block has a mask of its own,
//! which edges add lanes to, and is skipped where the mask is empty. A block that all lanes of another come to together
//! shares its mask.
//!
//! A loop is divergent if lanes leave it in different iterations. Its exits are pending until no lane is left in it: the
//! *check* behind its last block goes back to the header while the header's mask holds lanes.

use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::{Dominators, PostDominators};
use hetir::analysis::loops::{LoopForest, LoopId};
use hetir::analysis::uniform::{Uniform, Uniformity};
use hetir::entity::{Block, Value};
use std::collections::{BTreeSet, HashSet};

/// Where control goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Next {
    /// To a block.
    Block(Block),
    /// To the check behind a divergent loop.
    Check(LoopId),
    /// Out of the function.
    End,
}

/// How a block's terminator is executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// As a branch: where control goes for each target.
    Branch(Vec<Next>),
    /// Lanes are added to their targets' masks, and control goes on in one place.
    Fold(Next),
}

/// Which lanes execute a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mask {
    /// The lanes that entered the function.
    Entry,
    /// The lanes that edges have added.
    Own,
    /// The lanes of another block, whose mask is its own.
    Of(Block),
}

/// The plan of a function.
pub(super) struct Plan {
    /// Blocks in the order in which control comes to them.
    pub(super) order: Vec<Block>,
    /// By block.
    pub(super) flows: Vec<Flow>,
    /// By block.
    pub(super) masks: Vec<Mask>,
    /// Where control goes instead of a block whose own mask is empty.
    pub(super) skips: Vec<Next>,
    /// By loop: whether lanes leave it one by one.
    pub(super) divergent: Vec<bool>,
    /// By loop, if it is divergent: where control goes when no lane is left.
    pub(super) after: Vec<Next>,
}

/// What is known of the function.
pub(super) struct Facts<'a> {
    pub(super) cfg: &'a Cfg,
    pub(super) dom: &'a Dominators,
    pub(super) post: &'a PostDominators,
    pub(super) loops: &'a LoopForest,
    /// None where there is only one lane.
    pub(super) uniform: Option<&'a Uniform>,
    /// Where each value is defined.
    pub(super) definitions: &'a [Option<Block>],
    /// Blocks that control comes to only where the launch is asked to stop.
    pub(super) leaving: &'a HashSet<Block>,
}

impl Facts<'_> {
    pub(super) fn branches_apart(&self, block: Block) -> bool {
        self.uniform.is_some_and(|u| u.branch(block) == Uniformity::Divergent)
    }
    /// The outermost of the loops around a value's definition that lanes leave one by one and that a block is outside
    /// of: the block sees what each lane left it with.
    pub(super) fn view(&self, value: Value, at: Block) -> Option<LoopId> {
        let (uniform, definition) = (self.uniform?, self.definitions[value.index()]?);
        let left = self.loops.around(definition).take_while(|l| !self.loops.contains(*l, at));
        left.filter(|l| uniform.exits(*l) == Uniformity::Divergent).last()
    }
    /// The loops that an edge leaves, from the inside out.
    pub(super) fn left(&self, from: Block, to: Block) -> impl Iterator<Item = LoopId> + '_ {
        self.loops.around(from).take_while(move |l| !self.loops.contains(*l, to))
    }
    /// Whether the lanes that leave a loop along an edge do so in one iteration, all that are still in it: the only block that leads
    /// back to its header leaves it by a branch that is alike for them.
    pub(super) fn leave_together(&self, from: Block, to: Block) -> bool {
        let mut left = self.left(from, to);
        let (Some(l), None) = (left.next(), left.next()) else { return false };
        !self.branches_apart(from) && self.loops.get(l).latches.iter().all(|edge| edge.from == from)
    }
    /// Whether no lane is left in the innermost loop around a block when control leaves it from there: all that stay in it come
    /// to the block in each iteration, and take one way.
    pub(super) fn nobody_stays(&self, from: Block, l: LoopId) -> bool {
        let own = self.loops.innermost(from) == Some(l) && !self.branches_apart(from);
        own && self.loops.get(l).latches.iter().all(|edge| self.dom.dominates(from, edge.from))
    }
    /// Whether lanes may begin another iteration of a loop around a block on the way to it from one that dominates it.
    fn goes_round(&self, from: Block, to: Block) -> bool {
        let mut seen = BTreeSet::new();
        let mut work = self.cfg.successors(from).to_vec();
        while let Some(block) = work.pop() {
            if block == to || !seen.insert(block) {
                continue;
            }
            if self.loops.headed_by(block).is_some_and(|l| self.loops.contains(l, to)) {
                return true;
            }
            work.extend(self.cfg.successors(block));
        }
        false
    }
    fn is_back_edge(&self, from: Block, to: Block) -> Option<LoopId> {
        self.loops.headed_by(to).filter(|l| self.loops.contains(*l, from))
    }
}

impl Plan {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let order = order(facts);
        let mut divergent: Vec<bool> =
            facts.loops.ids().map(|l| facts.uniform.is_some_and(|u| u.exits(l) == Uniformity::Divergent)).collect();
        loop {
            let mut line = Line::new(facts, &order, divergent.clone());
            line.run();
            if line.divergent == divergent {
                let masks = line.masks();
                let more = line.torn_loops(&masks);
                if more.is_empty() {
                    return Self { flows: line.flows, skips: line.skips, after: line.after, masks, divergent, order };
                }
                for l in more {
                    divergent[l.index()] = true;
                }
            } else {
                divergent = line.divergent;
            }
        }
    }
}

/// Topological, with the blocks of each loop adjacent and its header first.
fn order(facts: &Facts<'_>) -> Vec<Block> {
    let mut result = Vec::new();
    if let Some(&entry) = facts.cfg.order().first() {
        order_level(facts, None, entry, &mut result);
    }
    result
}

/// The blocks of a loop, or of the function outside of loops. A loop inside counts as one node here.
fn order_level(facts: &Facts<'_>, level: Option<LoopId>, first: Block, result: &mut Vec<Block>) {
    let inside = |b: Block| level.is_none_or(|l| facts.loops.contains(l, b));
    // The node that a block belongs to at this level: itself, or the header of the loop inside of the level.
    let node = |b: Block| {
        let inner = facts.loops.around(b).take_while(|l| Some(*l) != level).last();
        inner.map_or(b, |l| facts.loops.get(l).header)
    };
    let inner_loop = |n: Block| facts.loops.around(n).take_while(|l| Some(*l) != level).last();
    let successors = |n: Block| -> Vec<Block> {
        let from: Vec<Block> = match inner_loop(n) {
            Some(l) => facts.loops.exits(facts.cfg, l).into_iter().map(|(_, to)| to).collect(),
            None => facts.cfg.successors(n).to_vec(),
        };
        from.into_iter().filter(|b| inside(*b) && *b != first).map(node).filter(|s| *s != n).collect()
    };
    let mut seen = BTreeSet::from([first]);
    let mut post = Vec::new();
    let mut stack = vec![(first, successors(first))];
    while let Some((n, left)) = stack.last_mut() {
        match left.pop() {
            Some(next) => {
                if seen.insert(next) {
                    let following = successors(next);
                    stack.push((next, following));
                }
            }
            None => {
                post.push(*n);
                stack.pop();
            }
        }
    }
    for &n in post.iter().rev() {
        match inner_loop(n) {
            Some(l) => order_level(facts, Some(l), n, result),
            None => result.push(n),
        }
    }
}

/// The walk over the blocks in their order.
struct Line<'a> {
    facts: &'a Facts<'a>,
    order: &'a [Block],
    place: Vec<usize>,
    /// What is pending when control comes to a block.
    pending: Vec<BTreeSet<(usize, Block)>>,
    /// What was pending when control came to a divergent loop, and the exits that are pending behind it.
    behind: Vec<BTreeSet<(usize, Block)>>,
    /// Edges to the block do not go there directly.
    deferred: Vec<bool>,
    divergent: Vec<bool>,
    flows: Vec<Flow>,
    skips: Vec<Next>,
    after: Vec<Next>,
}

impl<'a> Line<'a> {
    fn new(facts: &'a Facts<'a>, order: &'a [Block], divergent: Vec<bool>) -> Self {
        let blocks = facts.cfg.block_count();
        let mut place = vec![usize::MAX; blocks];
        for (n, b) in order.iter().enumerate() {
            place[b.index()] = n;
        }
        Self {
            facts,
            order,
            place,
            pending: vec![BTreeSet::new(); blocks],
            behind: vec![BTreeSet::new(); divergent.len()],
            deferred: vec![false; blocks],
            flows: vec![Flow::Fold(Next::End); blocks],
            skips: vec![Next::End; blocks],
            after: vec![Next::End; divergent.len()],
            divergent,
        }
    }

    /// Where control goes when nothing is pending.
    fn fallback(&self, inside: Option<LoopId>) -> Next {
        let mut at = inside;
        while let Some(l) = at {
            if self.divergent[l.index()] {
                return Next::Check(l);
            }
            at = self.facts.loops.get(l).parent;
        }
        Next::End
    }

    /// Goes to the first of what is pending, which the others are passed on to.
    fn go(&mut self, pending: BTreeSet<(usize, Block)>, inside: Option<LoopId>) -> Next {
        let mut rest = pending.into_iter();
        match rest.next() {
            Some((_, first)) => {
                self.pending[first.index()].extend(rest);
                Next::Block(first)
            }
            None => self.fallback(inside),
        }
    }

    fn run(&mut self) {
        let facts = self.facts;
        for at in 0..self.order.len() {
            let block = self.order[at];
            let mut pending = self.pending[block.index()].clone();
            pending.remove(&(at, block));
            if let Some(l) = facts.loops.headed_by(block).filter(|l| self.divergent[l.index()]) {
                self.behind[l.index()].append(&mut pending);
            }
            let inside = facts.loops.innermost(block);
            if facts.loops.headed_by(block).is_none_or(|l| !self.divergent[l.index()]) {
                self.skips[block.index()] = self.go(pending.clone(), inside);
            }
            self.terminator(block, &pending);
            self.leave_loops(at);
        }
    }

    /// The direct target of an edge: none where lanes are only added to a mask.
    fn direct(&mut self, from: Block, to: Block) -> Option<Block> {
        let facts = self.facts;
        if let Some(l) = facts.is_back_edge(from, to) {
            return (!self.divergent[l.index()]).then_some(to);
        }
        let left: Vec<LoopId> = facts.left(from, to).collect();
        if !left.iter().any(|l| self.divergent[l.index()]) {
            return Some(to);
        }
        // Whoever leaves a divergent loop and others around it leaves them all one by one.
        let first = left.iter().position(|l| self.divergent[l.index()]).unwrap_or(0);
        for l in &left[first..] {
            self.divergent[l.index()] = true;
        }
        if let Some(l) = left.last() {
            let place = self.place[to.index()];
            self.behind[l.index()].insert((place, to));
            self.deferred[to.index()] = true;
        }
        None
    }

    fn terminator(&mut self, block: Block, pending: &BTreeSet<(usize, Block)>) {
        let facts = self.facts;
        let inside = facts.loops.innermost(block);
        let targets = facts.cfg.successors(block).to_vec();
        let direct: Vec<Option<Block>> = targets.iter().map(|t| self.direct(block, *t)).collect();
        if facts.branches_apart(block) || targets.is_empty() {
            let mut all = pending.clone();
            for to in direct.into_iter().flatten() {
                if let Some(l) = facts.is_back_edge(block, to) {
                    // A divergent branch back and out of the loop, which is therefore divergent.
                    self.divergent[l.index()] = true;
                    continue;
                }
                self.mark_left(block, to);
                all.insert((self.place[to.index()], to));
                self.deferred[to.index()] = true;
            }
            let next = self.go(all, inside);
            self.flows[block.index()] = Flow::Fold(next);
            return;
        }
        let mut ways = Vec::new();
        for to in direct {
            let Some(to) = to else {
                ways.push(self.go(pending.clone(), inside));
                continue;
            };
            if let Some(l) = facts.is_back_edge(block, to) {
                if pending.iter().any(|(_, t)| facts.loops.contains(l, *t)) {
                    self.divergent[l.index()] = true;
                }
                ways.push(Next::Block(to));
                continue;
            }
            let mut all = pending.clone();
            all.insert((self.place[to.index()], to));
            let next = self.go(all, inside);
            if next != Next::Block(to) {
                self.deferred[to.index()] = true;
                if let Next::Block(other) = next {
                    for l in facts.left(block, to).collect::<Vec<_>>() {
                        if facts.loops.contains(l, other) {
                            self.divergent[l.index()] = true;
                        }
                    }
                }
            }
            ways.push(next);
        }
        self.flows[block.index()] = Flow::Branch(ways);
    }

    /// Lanes that leave loops at a divergent branch leave them one by one.
    fn mark_left(&mut self, from: Block, to: Block) {
        for l in self.facts.left(from, to).collect::<Vec<_>>() {
            self.divergent[l.index()] = true;
        }
    }

    /// Behind the last block of divergent loops: what was pending before them and their exits.
    fn leave_loops(&mut self, at: usize) {
        let facts = self.facts;
        let block = self.order[at];
        let following = self.order.get(at + 1).copied();
        let ended: Vec<LoopId> =
            facts.loops.around(block).take_while(|l| following.is_none_or(|f| !facts.loops.contains(*l, f))).collect();
        for l in ended {
            if self.divergent[l.index()] {
                let pending = std::mem::take(&mut self.behind[l.index()]);
                let (header, after) = (facts.loops.get(l).header, self.go(pending, facts.loops.get(l).parent));
                self.after[l.index()] = after;
                // Not by the check, so that the loop has one entry.
                self.skips[header.index()] = after;
            }
        }
    }

    /// Which mask each block is executed under.
    fn masks(&self) -> Vec<Mask> {
        let facts = self.facts;
        let mut masks = vec![Mask::Own; facts.cfg.block_count()];
        for (at, &block) in self.order.iter().enumerate() {
            masks[block.index()] = if at == 0 && facts.loops.headed_by(block).is_none() {
                Mask::Entry
            } else if let Some(shared) = self.shared_mask(block, &masks) {
                shared
            } else {
                Mask::Own
            };
        }
        masks
    }

    fn shared_mask(&self, block: Block, masks: &[Mask]) -> Option<Mask> {
        let facts = self.facts;
        let heads = facts.loops.headed_by(block);
        if heads.is_some_and(|l| self.divergent[l.index()]) {
            return None;
        }
        let mask_of = |b: Block| match masks[b.index()] {
            Mask::Own => Mask::Of(b),
            other => other,
        };
        // The level that control comes to the block from.
        let level = match heads {
            Some(l) => facts.loops.get(l).parent,
            None => facts.loops.innermost(block),
        };
        // All lanes of a dominator come here.
        let mut above = facts.dom.immediate(block);
        while let Some(a) = above {
            if facts.loops.innermost(a).is_none_or(|l| facts.loops.contains(l, block)) {
                break;
            }
            above = facts.dom.immediate(a);
        }
        if let Some(a) = above {
            let carried_below = self.order.iter().all(|y| {
                let carries = self.pending[y.index()].iter().any(|(_, b)| *b == block);
                !carries || facts.dom.dominates(a, *y)
            });
            let all_come = facts.post.dominates(block, a) && !facts.goes_round(a, block);
            if facts.loops.innermost(a) == level && all_come && carried_below {
                return Some(mask_of(a));
            }
        } else if heads.is_some() {
            // A loop that the function begins with.
            return Some(Mask::Entry);
        }
        // All lanes of a predecessor come here, or none.
        if self.deferred[block.index()] {
            return None;
        }
        let mut shared = None;
        for edge in facts.cfg.predecessors(block) {
            if facts.is_back_edge(edge.from, block).is_some() {
                continue;
            }
            let direct = match &self.flows[edge.from.index()] {
                Flow::Branch(ways) => ways.get(edge.target) == Some(&Next::Block(block)),
                Flow::Fold(_) => false,
            };
            let mask = mask_of(edge.from);
            if !direct || shared.is_some_and(|s| s != mask) {
                return None;
            }
            shared = Some(mask);
        }
        shared
    }

    /// Loops that were taken for uniform and that not all lanes of the header stay in.
    fn torn_loops(&self, masks: &[Mask]) -> Vec<LoopId> {
        let facts = self.facts;
        let mask_of = |b: Block| match masks[b.index()] {
            Mask::Own => Mask::Of(b),
            other => other,
        };
        facts
            .loops
            .ids()
            .filter(|l| !self.divergent[l.index()])
            .filter(|l| {
                let data = facts.loops.get(*l);
                let head = mask_of(data.header);
                let exits = facts.loops.exits(facts.cfg, *l);
                let edges = exits.iter().map(|(e, _)| e.from).chain(data.latches.iter().map(|e| e.from));
                edges.into_iter().any(|from| mask_of(from) != head)
            })
            .collect()
    }
}
