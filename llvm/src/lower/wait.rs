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
//!
//! Lanes also wait for each other where a branch parts them and there is a barrier on either side: the first of them cannot go on before
//! the others have come to theirs. A barrier that all lanes are promised to come to together (`aligned`) is none of these.

use super::plan::{Facts, Plan};
use super::shape::{Shape, Shapes};
use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::PostDominators;
use hetir::analysis::loops::LoopId;
use hetir::analysis::uniform::Uniformity;
use hetir::analysis::wait::{Sides, Waiter, reads_others};
use hetir::attr::{AtomOp, IntCmp};
use hetir::build::Builder;
use hetir::entity::{Block, Inst, Value};
use hetir::ir::{Body, Def};
use hetir::op::{Effects, Op};
use std::collections::HashSet;

/// Whether lanes of a warp may have to wait for each other.
pub(super) fn lanes_wait(body: &Body, facts: &Facts<'_>, plan: &Plan, shapes: &Shapes) -> bool {
    let staying = staying(body, facts);
    let post = staying.as_ref().unwrap_or(facts.post);
    let facts = &Facts { post, ..*facts };
    let mut loops = facts.loops.ids();
    loops.any(|l| waiter(body, facts, l).waits() && !is_harmless(body, facts, plan, shapes, l))
        || Sides { cfg: facts.cfg, post, left_out: facts.leaving }
            .between_barriers(body, |b| facts.branches_apart(b))
            .is_some()
}

/// Where lanes meet that the launch does not ask to stop; none where it never asks.
fn staying(body: &Body, facts: &Facts<'_>) -> Option<PostDominators> {
    if facts.leaving.is_empty() {
        return None;
    }
    let mut staying = body.clone();
    for &block in facts.cfg.order() {
        let Some(branch) = body.terminator(block).filter(|t| body.inst(*t).op == Op::BrIf) else { continue };
        let [asked, on] = [0, 1].map(|n| body.targets(branch)[n]);
        if facts.leaving.contains(&asked.block) && !facts.leaving.contains(&block) {
            let args = body.target_args(on).to_vec();
            staying.blocks[block.index()].insts.pop();
            Builder::new(&mut staying, block).jump(on.block, &args);
        }
    }
    Some(PostDominators::of(&Cfg::of(&staying)))
}

/// A loop, as to whether it waits.
fn waiter<'f>(body: &'f Body, facts: &'f Facts<'_>, id: LoopId) -> Waiter<'f> {
    Waiter { body, cfg: facts.cfg, loops: facts.loops, definitions: facts.definitions, id }
}

fn is_harmless(body: &Body, facts: &Facts<'_>, plan: &Plan, shapes: &Shapes, l: LoopId) -> bool {
    let alone = alone_from(body, facts, shapes, l);
    // Loops, this one or those around it, that some lanes have left already.
    let around = facts.loops.around(facts.loops.get(l).header);
    // One that only one lane has come to nobody has left.
    let others = |o: &LoopId| !alone.is_some_and(|a| facts.dom.dominates(a, facts.loops.get(*o).header));
    let mut left = around.filter(|o| plan.divergent[o.index()] && others(o));
    if left.all(|l| waits_behind(body, facts, l)) && !others_work(body, facts, l, alone) {
        return true;
    }
    // Lanes leave one by one: only attempts that fail where another's succeeded.
    waiter(body, facts, l).insts().filter(|i| reads_others(body, *i)).all(|i| match body.inst(i).op {
        Op::Cas => {
            let read: HashSet<Value> = waiter(body, facts, l)
                .insts()
                .filter(|i| matches!(body.inst(*i).op, Op::Cas | Op::Load | Op::Atom))
                .flat_map(|i| body.results(i).to_vec())
                .collect();
            waiter(body, facts, l).depends(body.args(i)[1], &read)
        }
        // Its result is not what the loop waits for, or it waits for nothing: a counter that others raise, too.
        Op::Atom => {
            let own: HashSet<Value> = body.results(i).iter().copied().collect();
            let takes = body.inst(i).attr::<AtomOp>() == AtomOp::Exch;
            !takes || !waiter(body, facts, l).leaves_by(&own)
        }
        _ => {
            let own: HashSet<Value> = body.results(i).iter().copied().collect();
            !waiter(body, facts, l).leaves_by(&own) || is_retried(body, facts, l)
        }
    })
}

/// Where control may go from a block, but to where the launch is left because it is asked to stop: nobody waits for what is kept then.
fn goes_on<'f>(facts: &'f Facts<'_>, block: Block) -> impl Iterator<Item = Block> + 'f {
    facts.cfg.successors(block).iter().copied().filter(|to| !facts.leaving.contains(to))
}

/// Whether lanes that have left a loop can do nothing that others see, before those that are still in it have left it, too.
fn waits_behind(body: &Body, facts: &Facts<'_>, l: LoopId) -> bool {
    let mut seen = HashSet::new();
    let exits = facts.loops.exits(facts.cfg, l).into_iter().map(|(_, to)| to);
    let mut work: Vec<Block> = exits.filter(|to| !facts.leaving.contains(to)).collect();
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
            None => work.extend(goes_on(facts, block)),
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
    waiter(body, facts, l).insts().any(|i| {
        body.inst(i).op == Op::Cas && {
            let own: HashSet<Value> = body.results(i).iter().copied().collect();
            waiter(body, facts, l).leaves_by(&own)
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
    let meets = |b: Block| body.blocks[b.index()].insts.iter().any(|i| is_block_barrier(body, *i));
    facts.cfg.order().iter().copied().filter(divergent).any(|branch| {
        // Until a barrier of the block, at which they wait for those in the loop.
        let sides = Sides { cfg: facts.cfg, post: facts.post, left_out: facts.leaving }.of(branch, meets);
        if !sides.iter().any(|s| s.contains(&header)) || sides.iter().all(|s| s.contains(&header)) {
            return false;
        }
        sides.iter().filter(|s| !s.contains(&header)).flatten().any(|b| {
            let writes = |i: &Inst| body.inst(*i).op.info().effects.has(Effects::WRITE);
            body.blocks[b.index()].insts.iter().take_while(|i| !is_block_barrier(body, **i)).any(writes)
        })
    })
}
