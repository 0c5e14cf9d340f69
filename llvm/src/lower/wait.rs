//! Loops that wait for another thread, and whether that may be a lane of the same warp.
//!
//! The lanes of a warp leave a loop together. Where one must go on so that another can leave, a spin lock for example, a
//! warp would wait for itself: such a kernel is compiled for single lanes. A loop waits if a way out of it depends on
//! what it reads from memory that others write. It is harmless
//! - if its lanes leave it together, or there is only one, and the lanes that are not in it have nothing to do meanwhile
//!   that others see;
//! - if what it waits for is the success of an exchange that compares with a value read in the loop: an exchange fails
//!   there only because another one succeeded;
//! - if whoever leaves it, or is not in it, comes to a barrier of the whole block, or ends, before doing anything that
//!   others see: so does a barrier of the grid, at which one thread of each block waits for the other blocks.

use super::plan::{Facts, Plan};
use super::shape::{Shape, Shapes};
use hetir::analysis::loops::LoopId;
use hetir::analysis::uniform::Uniformity;
use hetir::attr::{AtomOp, IntCmp, Order, Space};
use hetir::entity::{Block, Inst, Value};
use hetir::ir::{Body, Def};
use hetir::op::{Effects, Op};
use std::collections::HashSet;

/// Whether lanes of a warp may have to wait for each other.
pub(super) fn lanes_wait(body: &Body, facts: &Facts<'_>, plan: &Plan, shapes: &Shapes) -> bool {
    facts.loops.ids().any(|l| waits(body, facts, l) && !is_harmless(body, facts, plan, shapes, l))
}

fn insts<'b>(body: &'b Body, facts: &'b Facts<'_>, l: LoopId) -> impl Iterator<Item = Inst> + 'b {
    facts.loops.blocks(l).iter().flat_map(|b| body.blocks[b.index()].insts.iter().copied())
}

/// Whether what an instruction reads may be changed by another thread meanwhile.
fn reads_others(body: &Body, inst: Inst) -> bool {
    let data = body.inst(inst);
    match data.op {
        Op::Load => data.attr::<Order>() != Order::Weak && !matches!(data.attr(), Space::Local | Space::Param),
        Op::Atom | Op::Cas | Op::MbarrierTest | Op::MbarrierTry => true,
        _ => false,
    }
}

/// Whether a way out of a loop depends on what others write.
fn waits(body: &Body, facts: &Facts<'_>, l: LoopId) -> bool {
    let sources: HashSet<Value> =
        insts(body, facts, l).filter(|i| reads_others(body, *i)).flat_map(|i| body.results(i).to_vec()).collect();
    !sources.is_empty() && exits(body, facts, l).any(|v| depends(body, facts, l, v, &sources))
}

/// The conditions of a loop's exits.
fn exits<'b>(body: &'b Body, facts: &'b Facts<'_>, l: LoopId) -> impl Iterator<Item = Value> + 'b {
    let edges = facts.loops.exits(facts.cfg, l);
    edges.into_iter().filter_map(move |(edge, _)| body.args(body.terminator(edge.from)?).first().copied())
}

/// Whether a value is computed from one of others inside of a loop.
fn depends(body: &Body, facts: &Facts<'_>, l: LoopId, value: Value, on: &HashSet<Value>) -> bool {
    let mut seen = HashSet::new();
    let mut work = vec![value];
    while let Some(v) = work.pop() {
        if on.contains(&v) {
            return true;
        }
        let inside = facts.definitions[v.index()].is_some_and(|b| facts.loops.contains(l, b));
        if !inside || !seen.insert(v) {
            continue;
        }
        match body.values[v.index()].def {
            Def::Result(inst) => work.extend(body.args(inst)),
            Def::Param(block) => {
                let place = body.blocks[block.index()].params.iter().position(|p| *p == v).unwrap_or(0);
                for edge in facts.cfg.predecessors(block) {
                    let target = body.terminator(edge.from).map(|t| body.targets(t)[edge.target]);
                    work.extend(target.and_then(|t| body.target_args(t).get(place).copied()));
                    // Which way control came decides, too.
                    if let Some(t) = body.terminator(edge.from).filter(|t| body.targets(*t).len() > 1) {
                        work.extend(body.args(t).first());
                    }
                }
            }
            Def::None => {}
        }
    }
    false
}

fn is_harmless(body: &Body, facts: &Facts<'_>, plan: &Plan, shapes: &Shapes, l: LoopId) -> bool {
    let alone = alone_from(body, facts, shapes, l);
    // Loops, this one or those around it, that some lanes have left already.
    let around = facts.loops.around(facts.loops.get(l).header);
    let mut left = around.filter(|o| plan.divergent[o.index()] && (*o != l || alone.is_none()));
    if left.all(|l| waits_behind(body, facts, l)) && !others_work(body, facts, l, alone) {
        return true;
    }
    // Lanes leave one by one: only attempts that fail where another's succeeded.
    insts(body, facts, l).filter(|i| reads_others(body, *i)).all(|i| match body.inst(i).op {
        Op::Cas => {
            let read: HashSet<Value> = insts(body, facts, l)
                .filter(|i| matches!(body.inst(*i).op, Op::Cas | Op::Load | Op::Atom))
                .flat_map(|i| body.results(i).to_vec())
                .collect();
            depends(body, facts, l, body.args(i)[1], &read)
        }
        // Its result is not what the loop waits for, or it waits for nothing: a counter that others raise, too.
        Op::Atom => {
            let own: HashSet<Value> = body.results(i).iter().copied().collect();
            let takes = body.inst(i).attr::<AtomOp>() == AtomOp::Exch;
            !takes || !exits(body, facts, l).any(|v| depends(body, facts, l, v, &own))
        }
        _ => {
            let own: HashSet<Value> = body.results(i).iter().copied().collect();
            !exits(body, facts, l).any(|v| depends(body, facts, l, v, &own)) || is_retried(body, facts, l)
        }
    })
}

/// Whether lanes that have left a loop can do nothing that others see, before those that are still in it have left it, too.
fn waits_behind(body: &Body, facts: &Facts<'_>, l: LoopId) -> bool {
    let mut seen = HashSet::new();
    let mut work: Vec<Block> = facts.loops.exits(facts.cfg, l).into_iter().map(|(_, to)| to).collect();
    while let Some(block) = work.pop() {
        if !seen.insert(block) {
            continue;
        }
        let insts = &body.blocks[block.index()].insts;
        let met = |i: &&Inst| is_block_barrier(body, **i);
        let seen_by_others =
            |i: &&Inst| body.inst(**i).op != Op::Fence && body.inst(**i).op.info().effects.has(Effects::WRITE);
        match insts.iter().find(|i| met(i) || seen_by_others(i)) {
            Some(first) if met(&first) => {}
            Some(_) => return false,
            // A function that returns goes on elsewhere.
            None if insts.last().is_some_and(|i| body.inst(*i).op == Op::Ret) => return false,
            None => work.extend(facts.cfg.successors(block)),
        }
    }
    true
}

/// Whether all threads of the block that have not ended are waited for.
fn is_block_barrier(body: &Body, inst: Inst) -> bool {
    match body.inst(inst).op {
        Op::Barrier | Op::BarrierRed => body.constant(body.args(inst)[1]) == Some(0),
        Op::StopBarrier => true,
        _ => false,
    }
}

/// Whether the loop ends by an exchange that compares with what it read.
fn is_retried(body: &Body, facts: &Facts<'_>, l: LoopId) -> bool {
    insts(body, facts, l).any(|i| {
        body.inst(i).op == Op::Cas && {
            let own: HashSet<Value> = body.results(i).iter().copied().collect();
            exits(body, facts, l).any(|v| depends(body, facts, l, v, &own))
        }
    })
}

/// The block in front of a loop from which on a warp has no more than one lane: a branch that leads only there compares
/// what is different in all lanes with one number.
fn alone_from(body: &Body, facts: &Facts<'_>, shapes: &Shapes, l: LoopId) -> Option<Block> {
    let header = facts.loops.get(l).header;
    facts.cfg.order().iter().copied().filter(|b| facts.dom.dominates(*b, header)).find(|&block| {
        let &[edge] = facts.cfg.predecessors(block) else { return false };
        let Some(branch) = body.terminator(edge.from).filter(|t| body.inst(*t).op == Op::BrIf) else { return false };
        body.args(branch).first().is_some_and(|&condition| is_of_one_lane(body, shapes, condition, edge.target == 0))
    })
}

/// Whether a condition has this value in one lane of a warp at most.
fn is_of_one_lane(body: &Body, shapes: &Shapes, condition: Value, value: bool) -> bool {
    let mut seen = HashSet::new();
    let mut work = vec![(condition, value)];
    while let Some((condition, value)) = work.pop() {
        let Def::Result(inst) = body.values[condition.index()].def else { continue };
        if !seen.insert((condition, value)) {
            continue;
        }
        let (data, args) = (body.inst(inst), body.args(inst));
        match data.op {
            Op::ICmp if data.attr::<IntCmp>() == if value { IntCmp::Eq } else { IntCmp::Ne } => {
                let lanes = match (shapes.get(args[0]), shapes.get(args[1])) {
                    (Shape::Affine(lanes), Shape::Uniform) | (Shape::Uniform, Shape::Affine(lanes)) => lanes,
                    _ => continue,
                };
                if lanes.is_different_in_all() {
                    return true;
                }
            }
            Op::Not => work.push((args[0], !value)),
            Op::And if value => work.extend(args.iter().map(|v| (*v, value))),
            Op::Or if !value => work.extend(args.iter().map(|v| (*v, value))),
            _ => {}
        }
    }
    false
}

/// Whether lanes that took another way before the loop write memory on it. From `alone` on there are no other lanes.
fn others_work(body: &Body, facts: &Facts<'_>, l: LoopId, alone: Option<Block>) -> bool {
    let Some(uniform) = facts.uniform else { return false };
    let header = facts.loops.get(l).header;
    let divergent =
        |b: &Block| uniform.branch(*b) == Uniformity::Divergent && !alone.is_some_and(|a| facts.dom.dominates(a, *b));
    facts.cfg.order().iter().copied().filter(divergent).any(|branch| {
        let end = facts.post.immediate(branch);
        let side = |first: Block| -> Vec<Block> {
            let mut seen = HashSet::new();
            let mut work = vec![first];
            while let Some(b) = work.pop() {
                if Some(b) != end && b != branch && seen.insert(b) {
                    work.extend(facts.cfg.successors(b));
                }
            }
            seen.into_iter().collect()
        };
        let sides: Vec<Vec<Block>> = facts.cfg.successors(branch).iter().map(|s| side(*s)).collect();
        if !sides.iter().any(|s| s.contains(&header)) || sides.iter().all(|s| s.contains(&header)) {
            return false;
        }
        sides.iter().filter(|s| !s.contains(&header)).flatten().any(|b| {
            let writes = |i: &Inst| body.inst(*i).op.info().effects.has(Effects::WRITE);
            body.blocks[b.index()].insts.iter().any(writes)
        })
    })
}
