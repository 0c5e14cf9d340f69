//! Replaces block parameters that are handed the same value on every edge.

use super::dce::{handed, remove_params};
use super::{ROUNDS, Renames};
use crate::analysis::cfg::Cfg;
use crate::entity::Value;
use crate::ir::Body;

/// Replaces redundant parameters.
pub fn run(body: &mut Body) -> bool {
    let cfg = Cfg::of(body);
    let mut renames = Renames::new(body);
    let mut pruned = vec![false; body.values.len()];
    // In the order of the graph a second round is needed only where an edge that goes back hands over what the first
    // round has replaced.
    for _ in 0..ROUNDS {
        let mut changed = false;
        for &block in cfg.order() {
            if block == Body::ENTRY {
                continue;
            }
            for (n, &param) in body.blocks[block.index()].params.iter().enumerate() {
                if pruned[param.index()] {
                    continue;
                }
                let mut edges = cfg.predecessors(block).iter().filter(|e| cfg.is_reachable(e.from));
                let mut only: Option<Value> = None;
                let same = edges.all(|&edge| {
                    let value = renames.find(handed(body, edge)[n]);
                    value == param || *only.get_or_insert(value) == value
                });
                if let (true, Some(value)) = (same, only) {
                    renames.set(param, value);
                    pruned[param.index()] = true;
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    let any = pruned.contains(&true);
    if any {
        for block in body.block_ids() {
            if body.blocks[block.index()].params.iter().any(|p| pruned[p.index()]) {
                remove_params(body, cfg.predecessors(block), block, |p| !pruned[p.index()]);
            }
        }
        renames.apply(body);
    }
    any
}

#[cfg(test)]
mod tests {
    use crate::passes::testing::check;

    #[test]
    fn equal_values_on_every_edge() {
        check(
            super::run,
            "func @f(i32, b1) -> (i32, i32) {
block0(v0: i32, v1: b1):
    brif v1, block1(v0), block1(v0)
block1(v2: i32):
    br block2(v2, v0)
block2(v3: i32, v4: i32):
    v5: i32 = iadd v3, v4
    brif v1, block2(v0, v5), block3(v3, v4)
block3(v6: i32, v7: i32):
    ret v6, v7
}
",
            "func @f(i32, b1) -> (i32, i32) {
block0(v0: i32, v1: b1):
    brif v1, block1, block1
block1:
    br block2(v0)
block2(v2: i32):
    v3: i32 = iadd v0, v2
    brif v1, block2(v3), block3
block3:
    ret v0, v2
}
",
        );
    }

    #[test]
    fn a_parameter_that_a_loop_hands_to_itself() {
        check(
            super::run,
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    br block1(v0, v0)
block1(v2: i32, v3: i32):
    brif v1, block1(v2, v2), block2
block2:
    ret v2
}
",
            "func @f(i32, b1) -> (i32) {
block0(v0: i32, v1: b1):
    br block1
block1:
    brif v1, block1, block2
block2:
    ret v0
}
",
        );
    }
}
