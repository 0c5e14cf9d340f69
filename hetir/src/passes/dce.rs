//! Drops instructions and block parameters whose values nothing needs.

use crate::analysis::cfg::{Cfg, Edge};
use crate::attr::Order;
use crate::entity::{Inst, Value};
use crate::ir::{Body, Def};
use crate::op::Op;

/// True where the instruction has no purpose but its results.
pub(super) fn serves_results(body: &Body, inst: Inst) -> bool {
    let data = body.inst(inst);
    let ordered = data.op == Op::Load && data.attr::<Order>() != Order::Weak;
    data.op.info().effects.removable() && !body.results(inst).is_empty() && !ordered
}

/// Drops what is not needed.
pub fn run(body: &mut Body) -> bool {
    let cfg = Cfg::of(body);
    let needed = needed_values(body, &cfg);
    let mut changed = false;
    for block in body.block_ids() {
        let b = block.index();
        let insts = std::mem::take(&mut body.blocks[b].insts);
        let before = insts.len();
        let keep = |i: &Inst| !serves_results(body, *i) || body.results(*i).iter().any(|r| needed[r.index()]);
        let insts: Vec<Inst> = insts.into_iter().filter(keep).collect();
        changed |= insts.len() != before;
        body.blocks[b].insts = insts;
        if block != Body::ENTRY && body.blocks[b].params.iter().any(|p| !needed[p.index()]) {
            changed = true;
            remove_params(body, cfg.predecessors(block), block, |p| needed[p.index()]);
        }
    }
    changed
}

pub(super) fn needed_values(body: &Body, cfg: &Cfg) -> Vec<bool> {
    let mut needed = vec![false; body.values.len()];
    let mut work: Vec<Value> = Vec::new();
    for block in body.block_ids() {
        for &inst in &body.blocks[block.index()].insts {
            if !serves_results(body, inst) {
                work.extend(body.args(inst));
            }
        }
    }
    // The place of each parameter in its block.
    let mut place = vec![0; body.values.len()];
    for block in &body.blocks {
        for (n, p) in block.params.iter().enumerate() {
            place[p.index()] = n;
        }
    }
    while let Some(value) = work.pop() {
        if std::mem::replace(&mut needed[value.index()], true) {
            continue;
        }
        match body.values[value.index()].def {
            Def::Result(inst) => work.extend(body.args(inst)),
            Def::Param(block) => {
                for edge in cfg.predecessors(block) {
                    work.extend(handed(body, *edge).get(place[value.index()]));
                }
            }
            Def::None => {}
        }
    }
    needed
}

/// The values that an edge hands over.
pub(super) fn handed(body: &Body, edge: Edge) -> &[Value] {
    match body.terminator(edge.from) {
        Some(inst) => body.target_args(body.targets(inst)[edge.target]),
        None => &[],
    }
}

/// Removes parameters of a block, and what the edges hand to them.
pub(super) fn remove_params(
    body: &mut Body,
    edges: &[Edge],
    block: crate::entity::Block,
    keep: impl Fn(Value) -> bool,
) {
    let params = std::mem::take(&mut body.blocks[block.index()].params);
    for &edge in edges {
        let args: Vec<Value> =
            handed(body, edge).iter().zip(&params).filter(|(_, p)| keep(**p)).map(|(a, _)| *a).collect();
        if let Some(inst) = body.terminator(edge.from) {
            body.set_target_args(inst, edge.target, &args);
        }
    }
    body.blocks[block.index()].params = params.into_iter().filter(|p| keep(*p)).collect();
}

#[cfg(test)]
mod tests {
    use crate::passes::testing::check;

    #[test]
    fn unused_values_go_and_effects_stay() {
        check(
            super::run,
            "func @f(i32, i64) -> (i32) {
block0(v0: i32, v1: i64):
    v2: i32 = iadd v0, v0
    v3: i32 = imul v2, v2
    v4: i32 = load.global v1
    v5: i32 = load.global.volatile v1
    v6: i32 = atom.add.global.relaxed.gpu v1, v0
    v7: b1 = const 1
    v8: i32 = ballot v7, v0
    prefetch.global.l2 v1
    v9: i32 = sreg.clock
    ret v2
}
",
            "func @f(i32, i64) -> (i32) {
block0(v0: i32, v1: i64):
    v2: i32 = iadd v0, v0
    v3: i32 = load.global.volatile v1
    v4: i32 = atom.add.global.relaxed.gpu v1, v0
    v5: b1 = const 1
    v6: i32 = ballot v5, v0
    prefetch.global.l2 v1
    ret v2
}
",
        );
    }

    #[test]
    fn parameters_that_only_feed_each_other_go() {
        check(
            super::run,
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    br block1(v0, v0, v0)
block1(v2: i32, v3: i32, v4: i32):
    v5: i32 = iadd v2, v3
    v6: i32 = iadd v4, v4
    brif v1, block1(v3, v5, v6), block2(v5, v4)
block2(v7: i32, v8: i32):
    ret v8
}
",
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    br block1(v0)
block1(v2: i32):
    v3: i32 = iadd v2, v2
    brif v1, block1(v3), block2(v2)
block2(v4: i32):
    ret v4
}
",
        );
    }
}
