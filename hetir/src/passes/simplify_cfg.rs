//! Simplifies control flow: branches without a choice become jumps, jumps to jumps lead to where those lead, a block
//! that only one jump reaches joins the block before it, and unreachable blocks go.

use super::Renames;
use crate::analysis::live::for_each_use;
use crate::entity::{Block, Value};
use crate::ir::{Body, Def, Target};
use crate::op::Op;
use crate::types::Type;

/// Simplifies the graph.
pub fn run(body: &mut Body) -> bool {
    let mut changed = false;
    loop {
        let mut round = straighten(body);
        round |= thread(body);
        round |= drop_unreachable(body);
        round |= merge(body);
        if !round {
            return changed;
        }
        changed = true;
    }
}

/// The values that a target hands over, with the target's block.
fn written(body: &Body, target: Target) -> (Block, Vec<Value>) {
    (target.block, body.target_args(target).to_vec())
}

fn jump(body: &mut Body, block: Block, to: (Block, Vec<Value>)) {
    if let Some(old) = body.blocks[block.index()].insts.pop() {
        let span = body.spans[old.index()];
        let inst = body.make(Op::Br, Type::B1, Default::default(), 0, &[], &[], span);
        body.set_targets(inst, &[(to.0, &to.1)]);
        body.append(block, inst);
    }
}

/// Makes jumps of branches whose way is known, or whose ways are all the same.
fn straighten(body: &mut Body) -> bool {
    let mut changed = false;
    for block in body.block_ids() {
        let Some(inst) = body.terminator(block) else { continue };
        let op = body.inst(inst).op;
        if !matches!(op, Op::BrIf | Op::Switch) {
            continue;
        }
        let targets: Vec<_> = body.targets(inst).iter().map(|t| written(body, *t)).collect();
        let Some(last) = targets.len().checked_sub(1) else { continue };
        let known = body.args(inst).first().and_then(|v| body.constant(*v));
        let way = match known {
            Some(n) if op == Op::BrIf => Some(usize::from(n == 0)),
            Some(n) => Some(usize::try_from(n).unwrap_or(last).min(last)),
            None => targets.iter().all(|t| *t == targets[0]).then_some(0),
        };
        if let Some(way) = way {
            jump(body, block, targets[way].clone());
            changed = true;
        }
    }
    changed
}

/// Lets edges to blocks that only jump lead to where those jump.
fn thread(body: &mut Body) -> bool {
    // A parameter that is used outside of its block must stay.
    let mut escapes = vec![false; body.values.len()];
    for block in body.block_ids() {
        let own = &body.blocks[block.index()].params;
        for &inst in &body.blocks[block.index()].insts {
            for_each_use(body, inst, |v| escapes[v.index()] |= !own.contains(&v));
        }
    }
    let mut changed = false;
    for block in body.block_ids() {
        let Some(inst) = body.terminator(block) else { continue };
        for n in 0..body.targets(inst).len() {
            if let Some((to, args)) = end_of_chain(body, &escapes, body.targets(inst)[n]) {
                body.targets_mut(inst)[n].block = to;
                body.set_target_args(inst, n, &args);
                changed = true;
            }
        }
    }
    changed
}

/// Where a target leads through blocks that only jump; `None` where there is no such block, or they form a ring.
fn end_of_chain(body: &Body, escapes: &[bool], target: Target) -> Option<(Block, Vec<Value>)> {
    let (mut at, mut args) = written(body, target);
    let mut passed = Vec::new();
    loop {
        let data = &body.blocks[at.index()];
        let next = match data.insts.as_slice() {
            &[only] if body.inst(only).op == Op::Br => body.targets(only)[0],
            _ => break,
        };
        if at == Body::ENTRY || data.params.iter().any(|p| escapes[p.index()]) {
            break;
        }
        if passed.contains(&next.block) || next.block == at {
            return None;
        }
        passed.push(at);
        let (to, values) = written(body, next);
        let given = |v: Value| data.params.iter().position(|p| *p == v).map_or(v, |place| args[place]);
        args = values.into_iter().map(given).collect();
        at = to;
    }
    (!passed.is_empty()).then_some((at, args))
}

/// Appends blocks that only one jump reaches to the block that jumps.
fn merge(body: &mut Body) -> bool {
    let mut entered = vec![0u32; body.blocks.len()];
    for block in body.block_ids() {
        for to in body.successors(block) {
            entered[to.index()] += 1;
        }
    }
    let mut renames = Renames::new(body);
    let mut changed = false;
    for block in body.block_ids() {
        while let Some(jump) = body.terminator(block).filter(|t| body.inst(*t).op == Op::Br) {
            let (next, args) = written(body, body.targets(jump)[0]);
            if next == block || next == Body::ENTRY || entered[next.index()] != 1 {
                break;
            }
            let data = std::mem::take(&mut body.blocks[next.index()]);
            for (&param, &arg) in data.params.iter().zip(&args) {
                renames.set(param, arg);
                body.values[param.index()].def = Def::None;
            }
            let insts = &mut body.blocks[block.index()].insts;
            insts.pop();
            insts.extend(data.insts);
            // What is left of the block reaches nothing, and nothing reaches it.
            entered[next.index()] = 0;
            changed = true;
        }
    }
    if changed {
        renames.apply(body);
        body.remove_unreachable();
    }
    changed
}

fn drop_unreachable(body: &mut Body) -> bool {
    let before = body.blocks.len();
    body.remove_unreachable();
    body.blocks.len() != before
}

#[cfg(test)]
mod tests {
    use crate::passes::testing::check;

    #[test]
    fn known_branches_and_straight_lines() {
        check(
            super::run,
            "func @f(i32) -> (i32) {
block0(v0: i32):
    v1: b1 = const 0
    brif v1, block1(v0), block2
block1(v2: i32):
    ret v2
block2:
    v3: i32 = const 7
    switch v3, [block1(v0), block1(v3), block3(v0, v3)]
block3(v4: i32, v5: i32):
    v6: i32 = iadd v4, v5
    brif v1, block4(v6), block4(v6)
block4(v7: i32):
    v8: i32 = iadd v7, v4
    ret v8
}
",
            "func @f(i32) -> (i32) {
block0(v0: i32):
    v1: b1 = const 0
    v2: i32 = const 7
    v3: i32 = iadd v0, v2
    v4: i32 = iadd v3, v0
    ret v4
}
",
        );
    }

    #[test]
    fn jumps_to_jumps() {
        check(
            super::run,
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    brif v1, block1(v0), block2
block1(v2: i32):
    br block3(v2, v0)
block2:
    v3: i32 = iadd v0, v0
    br block3(v3, v3)
block3(v4: i32, v5: i32):
    br block4(v5, v4)
block4(v6: i32, v7: i32):
    v8: i32 = isub v6, v7
    ret v8
}
",
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    brif v1, block2(v0, v0), block1
block1:
    v2: i32 = iadd v0, v0
    br block2(v2, v2)
block2(v3: i32, v4: i32):
    v5: i32 = isub v3, v4
    ret v5
}
",
        );
    }

    #[test]
    fn rings_of_jumps_stay_endless() {
        check(
            super::run,
            "func @f(b1) {
block0(v0: b1):
    brif v0, block1, block3
block1:
    br block2
block2:
    br block1
block3:
    br block3
}
",
            "func @f(b1) {
block0(v0: b1):
    brif v0, block1, block2
block1:
    br block1
block2:
    br block2
}
",
        );
    }

    #[test]
    fn a_parameter_used_further_down_keeps_its_block() {
        check(
            super::run,
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    brif v1, block1(v0), block2
block1(v2: i32):
    br block3
block2:
    v3: i32 = iadd v0, v0
    brif v1, block1(v3), block4
block3:
    v4: i32 = iadd v2, v2
    brif v1, block3, block4
block4:
    ret v0
}
",
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    brif v1, block1(v0), block2
block1(v2: i32):
    br block3
block2:
    v3: i32 = iadd v0, v0
    brif v1, block1(v3), block4
block3:
    v4: i32 = iadd v2, v2
    brif v1, block3, block4
block4:
    ret v0
}
",
        );
    }
}
