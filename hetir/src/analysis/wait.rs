//! Loops that may wait for other threads, and barriers that lanes may have to wait at while others of their warp wait at another one.

use super::cfg::Cfg;
use super::dom::PostDominators;
use super::loops::{LoopForest, LoopId};
use crate::attr::{Aligned, Order, Space};
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def};
use crate::op::Op;
use std::collections::HashSet;

/// A loop of a body.
#[derive(Clone, Copy)]
pub struct Waiter<'a> {
    /// The body.
    pub body: &'a Body,
    /// Its blocks.
    pub cfg: &'a Cfg,
    /// Its loops.
    pub loops: &'a LoopForest,
    /// Where each value is defined.
    pub definitions: &'a [Option<Block>],
    /// Which of them.
    pub id: LoopId,
}

/// What lies on the sides of branches.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// All blocks.
    pub cfg: &'a Cfg,
    /// Where sides meet again.
    pub post: &'a PostDominators,
    /// Blocks that do not count.
    pub left_out: &'a HashSet<Block>,
}

impl Sides<'_> {
    /// The blocks on each side of a branch until the sides meet again, and not beyond those at which one `ends`.
    pub fn of(self, branch: Block, ends: impl Fn(Block) -> bool) -> Vec<HashSet<Block>> {
        let join = self.post.immediate(branch);
        let on = |block: Block| self.cfg.successors(block).iter().copied().filter(|to| !self.left_out.contains(to));
        let side = |first: Block| {
            let (mut seen, mut work) = (HashSet::new(), vec![first]);
            while let Some(block) = work.pop() {
                if Some(block) != join && block != branch && seen.insert(block) && !ends(block) {
                    work.extend(on(block));
                }
            }
            seen
        };
        on(branch).map(side).collect()
    }

    /// A branch that parts lanes and has a barrier on one side and another one on another: who waits at the first cannot be held back
    /// until the others have come to theirs. Barriers that all lanes are promised to come to together (`aligned`) are none of these.
    pub fn between_barriers(self, body: &Body, parts: impl Fn(Block) -> bool) -> Option<Block> {
        let waits = |inst: &Inst| {
            let data = body.inst(*inst);
            matches!(data.op, Op::Barrier | Op::BarrierRed) && data.attr::<Aligned>() == Aligned::No
        };
        let has_one = |block: &Block| body.blocks[block.index()].insts.iter().any(waits);
        let blocks = self.cfg.order().iter().copied().filter(|block| !self.left_out.contains(block));
        let with: HashSet<Block> = blocks.clone().filter(has_one).collect();
        let mut parting = blocks.filter(|block| with.len() > 1 && parts(*block));
        parting.find(|&branch| {
            let sides = self.of(branch, |_| false);
            let own = |side: &HashSet<Block>| {
                let others = |b: &Block| sides.iter().any(|other| !std::ptr::eq(other, side) && other.contains(b));
                side.iter().any(|b| with.contains(b) && !others(b))
            };
            sides.iter().filter(|side| own(side)).count() > 1
        })
    }
}

/// Whether what an instruction reads may be changed by another thread meanwhile.
pub fn reads_others(body: &Body, inst: Inst) -> bool {
    let data = body.inst(inst);
    match data.op {
        Op::Load => data.attr::<Order>() != Order::Weak && !matches!(data.attr(), Space::Local | Space::Param),
        Op::Atom | Op::Cas | Op::MbarrierTest | Op::MbarrierTry => true,
        _ => false,
    }
}

impl<'a> Waiter<'a> {
    /// What is executed in it.
    pub fn insts(self) -> impl Iterator<Item = Inst> + 'a {
        self.loops.blocks(self.id).iter().flat_map(move |b| self.body.blocks[b.index()].insts.iter().copied())
    }

    /// Whether a way out of the loop depends on what others write.
    pub fn waits(self) -> bool {
        let sources: HashSet<Value> = self
            .insts()
            .filter(|i| reads_others(self.body, *i))
            .flat_map(|i| self.body.results(i).iter().copied())
            .collect();
        !sources.is_empty() && self.leaves_by(&sources)
    }

    /// Whether a way out of the loop depends on one of these.
    pub fn leaves_by(self, on: &HashSet<Value>) -> bool {
        let exits = self.loops.exits(self.cfg, self.id).into_iter();
        let mut conditions =
            exits.filter_map(|(edge, _)| self.body.args(self.body.terminator(edge.from)?).first().copied());
        conditions.any(|v| self.depends(v, on))
    }

    /// Whether a value is computed from one of others inside of the loop.
    pub fn depends(self, value: Value, on: &HashSet<Value>) -> bool {
        let mut seen = HashSet::new();
        let mut work = vec![value];
        while let Some(v) = work.pop() {
            if on.contains(&v) {
                return true;
            }
            let inside = self.definitions[v.index()].is_some_and(|b| self.loops.contains(self.id, b));
            if !inside || !seen.insert(v) {
                continue;
            }
            match self.body.values[v.index()].def {
                Def::Result(inst) => work.extend(self.body.args(inst)),
                Def::Param(block) => {
                    let place = self.body.blocks[block.index()].params.iter().position(|p| *p == v).unwrap_or(0);
                    for edge in self.cfg.predecessors(block) {
                        let target = self.body.terminator(edge.from).map(|t| self.body.targets(t)[edge.target]);
                        work.extend(target.and_then(|t| self.body.target_args(t).get(place).copied()));
                        // Which way control came decides, too.
                        if let Some(t) = self.body.terminator(edge.from).filter(|t| self.body.targets(*t).len() > 1) {
                            work.extend(self.body.args(t).first());
                        }
                    }
                }
                Def::None => {}
            }
        }
        false
    }
}
