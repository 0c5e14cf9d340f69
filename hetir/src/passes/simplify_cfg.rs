//! Simplifies control flow: branches without a choice become jumps, jumps to jumps lead to where those lead, a block
//! that only one jump reaches joins the block before it, and unreachable blocks go.

use super::{ROUNDS, Renames};
use crate::analysis::cfg::Cfg;
use crate::analysis::live::for_each_use;
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def, Target};
use crate::op::Op;
use crate::types::Type;

/// Simplifies the graph.
pub fn run(body: &mut Body) -> bool {
    let mut changed = false;
    for _ in 0..ROUNDS {
        let mut round = straighten(body);
        round |= thread(body);
        round |= drop_unreachable(body);
        round |= merge(body);
        changed |= round;
        if !round {
            break;
        }
    }
    changed
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
    // Backwards, so that where a jump leads to another jump, that one is done already.
    for &block in Cfg::of(body).order().iter().rev() {
        let Some(inst) = body.terminator(block) else { continue };
        for n in 0..body.targets(inst).len() {
            let target = body.targets(inst)[n];
            let Some(jump) = jump_of(body, &escapes, target.block) else { continue };
            let (to, values) = written(body, body.targets(jump)[0]);
            // In a ring of jumps there is no end to lead to.
            if jump_of(body, &escapes, to).is_some() {
                continue;
            }
            let params = &body.blocks[target.block.index()].params;
            let args = body.target_args(target);
            let given = |v: Value| params.iter().position(|p| *p == v).map_or(v, |place| args[place]);
            let values: Vec<Value> = values.into_iter().map(given).collect();
            body.targets_mut(inst)[n].block = to;
            body.set_target_args(inst, n, &values);
            changed = true;
        }
    }
    changed
}

/// The jump that a block consists of, where edges to it can lead on.
fn jump_of(body: &Body, escapes: &[bool], block: Block) -> Option<Inst> {
    let data = &body.blocks[block.index()];
    let &[only] = data.insts.as_slice() else { return None };
    let fits = block != Body::ENTRY && body.inst(only).op == Op::Br && !data.params.iter().any(|p| escapes[p.index()]);
    fits.then_some(only)
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

    /// Blocks that jump to the next one, each also reached by a switch; the last one goes where it is told.
    fn chain(length: usize, last: &str) -> crate::ir::Module {
        let mut text = String::from("func @f(i32) {\nblock0(v0: i32):\n    switch v0, [block1");
        (2..length).for_each(|n| text.push_str(&format!(", block{n}")));
        text.push_str("]\n");
        (1..length).for_each(|n| text.push_str(&format!("block{n}:\n    br block{}\n", n + 1)));
        text.push_str(&format!("block{length}:\n    {last}\n}}\n"));
        crate::passes::testing::parsed(&text)
    }

    #[test]
    fn long_chains_take_no_longer_than_short_ones() {
        let mut module = chain(50_000, "ret");
        let body = module.functions[0].body.as_mut().unwrap();
        assert!(super::run(body));
        assert_eq!(body.blocks.len(), 1);
        let mut module = chain(50_000, "br block1");
        let body = module.functions[0].body.as_mut().unwrap();
        super::run(body);
        crate::verify::verify(&module).unwrap();
    }
}
