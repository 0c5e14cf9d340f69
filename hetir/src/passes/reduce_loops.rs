//! Gives every loop a single entry.
//!
//! Where several blocks of a cycle are entered from outside of it, a new block takes all edges to them and goes on at the
//! one that it is told the number of. What dominated a block before still does: whatever lies before the cycle lies
//! before the new block, and a way through an entry that was not taken before meets the same blocks behind it.

use crate::analysis::cfg::Cfg;
use crate::entity::{Block, Value};
use crate::ir::Body;
use crate::op::Op;
use crate::types::Type;

/// Adds the blocks that are needed.
pub fn run(body: &mut Body) -> bool {
    let mut changed = false;
    let mut regions = vec![Cfg::of(body).order().to_vec()];
    while let Some(region) = regions.pop() {
        for mut cycle in cycles(body, &region) {
            let entries = entries(body, &cycle);
            if let [header] = entries[..] {
                cycle.retain(|b| *b != header);
            } else {
                dispatch(body, &entries);
                changed = true;
            }
            regions.push(cycle);
        }
    }
    changed
}

/// The blocks of a cycle that control comes to from outside.
fn entries(body: &Body, cycle: &[Block]) -> Vec<Block> {
    let cfg = Cfg::of(body);
    let mut inside = vec![false; body.blocks.len()];
    cycle.iter().for_each(|b| inside[b.index()] = true);
    let entered = |b: &Block| *b == Body::ENTRY || cfg.predecessors(*b).iter().any(|e| !inside[e.from.index()]);
    cycle.iter().copied().filter(entered).collect()
}

/// The largest sets of blocks of a region that can be reached from each other inside of it: Tarjan's algorithm.
fn cycles(body: &Body, region: &[Block]) -> Vec<Vec<Block>> {
    const NEW: u32 = u32::MAX;
    let mut inside = vec![false; body.blocks.len()];
    region.iter().for_each(|b| inside[b.index()] = true);
    let successors = |b: Block| -> Vec<Block> { body.successors(b).filter(|s| inside[s.index()]).collect() };
    let (mut number, mut low) = (vec![NEW; body.blocks.len()], vec![0; body.blocks.len()]);
    let (mut open, mut is_open, mut found, mut next) = (Vec::new(), vec![false; body.blocks.len()], Vec::new(), 0);
    for &root in region {
        if number[root.index()] != NEW {
            continue;
        }
        let mut walk: Vec<(Block, Option<Vec<Block>>)> = vec![(root, None)];
        while let Some((block, left)) = walk.last_mut() {
            let (block, at) = (*block, block.index());
            let left = left.get_or_insert_with(|| {
                (number[at], low[at]) = (next, next);
                next += 1;
                open.push(block);
                is_open[at] = true;
                successors(block)
            });
            if let Some(to) = left.pop() {
                if number[to.index()] == NEW {
                    walk.push((to, None));
                } else if is_open[to.index()] {
                    low[at] = low[at].min(number[to.index()]);
                }
                continue;
            }
            walk.pop();
            if let Some((above, _)) = walk.last() {
                low[above.index()] = low[above.index()].min(low[at]);
            }
            if low[at] == number[at] {
                let start = open.iter().rposition(|b| *b == block).unwrap_or(0);
                let set = open.split_off(start);
                set.iter().for_each(|b| is_open[b.index()] = false);
                if set.len() > 1 || successors(block).contains(&block) {
                    found.push(set);
                }
            }
        }
    }
    found
}

/// Leads all edges to these blocks through a new one.
fn dispatch(body: &mut Body, entries: &[Block]) {
    let edges: Vec<(Block, usize, usize)> = body
        .block_ids()
        .flat_map(|from| {
            let targets = body.successors(from).enumerate();
            let known = targets.filter_map(|(n, to)| Some((from, n, entries.iter().position(|e| *e == to)?)));
            known.collect::<Vec<_>>()
        })
        .collect();
    let new = body.add_block();
    let which = body.add_param(new, Type::I32);
    let mut places: Vec<Vec<Value>> = Vec::new();
    for entry in entries {
        let types: Vec<Type> = body.blocks[entry.index()].params.iter().map(|p| body.ty(*p)).collect();
        places.push(types.into_iter().map(|ty| body.add_param(new, ty)).collect());
    }
    let span = body.terminator(entries[0]).map(|t| body.spans[t.index()]).unwrap_or_default();
    for (from, n, entry) in edges {
        let Some(branch) = body.terminator(from) else { continue };
        let given = body.target_args(body.targets(branch)[n]).to_vec();
        let mut args = vec![constant(body, from, Type::I32, entry as u64)];
        for (other, params) in places.iter().enumerate() {
            if other == entry {
                args.extend(&given);
            } else {
                for param in params {
                    let ty = body.ty(*param);
                    args.push(constant(body, from, ty, 0));
                }
            }
        }
        body.targets_mut(branch)[n].block = new;
        body.set_target_args(branch, n, &args);
    }
    let switch = body.make(Op::Switch, Type::B1, Default::default(), 0, &[which], &[], span);
    let targets: Vec<(Block, &[Value])> = entries.iter().copied().zip(places.iter().map(Vec::as_slice)).collect();
    body.set_targets(switch, &targets);
    body.append(new, switch);
}

/// A constant before a block's terminator.
fn constant(body: &mut Body, block: Block, ty: Type, bits: u64) -> Value {
    let span = body.terminator(block).map(|t| body.spans[t.index()]).unwrap_or_default();
    let inst = body.make(Op::Const, ty, Default::default(), bits, &[], &[ty], span);
    let place = body.blocks[block.index()].insts.len().saturating_sub(1);
    body.blocks[block.index()].insts.insert(place, inst);
    body.results(inst)[0]
}

#[cfg(test)]
mod tests {
    use crate::analysis::cfg::Cfg;
    use crate::analysis::dom::Dominators;
    use crate::analysis::loops::LoopForest;
    use crate::passes::testing::{check, parsed};

    #[test]
    fn a_loop_with_two_entries() {
        check(
            super::run,
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    brif v1, block1(v0), block2
block1(v2: i32):
    v3: i32 = iadd v2, v0
    br block2
block2:
    brif v1, block1(v0), block3
block3:
    ret v0
}
",
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    v2: i32 = const 1
    v3: i32 = const 0
    v4: i32 = const 0
    brif v1, block4(v2, v0), block4(v3, v4)
block1(v5: i32):
    v6: i32 = iadd v5, v0
    v7: i32 = const 0
    v8: i32 = const 0
    br block4(v7, v8)
block2:
    v9: i32 = const 1
    brif v1, block4(v9, v0), block3
block3:
    ret v0
block4(v10: i32, v11: i32):
    switch v10, [block2, block1(v11)]
}
",
        );
    }

    #[test]
    fn cycles_inside_of_cycles() {
        let source = "func @f(b1, b1) {
block0(v0: b1, v1: b1):
    brif v0, block1, block3
block1:
    brif v1, block2, block4
block2:
    brif v0, block1, block3
block3:
    brif v0, block2, block4
block4:
    brif v1, block1, block5
block5:
    ret
}
";
        let mut module = parsed(source);
        let body = module.functions[0].body.as_mut().unwrap();
        assert!(super::run(body));
        let cfg = Cfg::of(body);
        assert!(!LoopForest::of(&cfg, &Dominators::of(&cfg)).is_irreducible());
        crate::verify::verify(&module).unwrap_or_else(|e| panic!("{e:?}\n{module}"));
    }

    #[test]
    fn loops_with_one_entry_stay() {
        let source = "func @f(b1) {
block0(v0: b1):
    br block1
block1:
    brif v0, block1, block2
block2:
    brif v0, block3, block4
block3:
    br block1
block4:
    ret
}
";
        check(super::run, source, source);
    }
}
