//! The order in which a function's blocks are laid out: every block after those that dominate it, loops contiguous,
//! and what follows a loop behind it. Threads that left a loop early then wait at a higher address than those still in
//! it, so that running the lowest address first brings them together again.

use crate::entity::Block;
use crate::ir::Body;

/// Loops nested deeper than this are not kept contiguous; it bounds the work.
const MAX_DEPTH: u32 = 64;

enum Work {
    Emit(u32),
    Split { entries: Vec<u32>, part: u32, depth: u32 },
}

/// The reachable blocks in order: a weak topological order (Bourdoncle), found by taking the strongly connected
/// components in topological order, and each one's head before the components of the rest.
pub(super) fn layout(body: &Body) -> Vec<Block> {
    let count = body.blocks.len();
    let successors: Vec<Vec<u32>> =
        body.block_ids().map(|b| body.successors(b).map(|s| s.index() as u32).collect()).collect();
    let mut order = Vec::with_capacity(count);
    // The sub-graph that a block belongs to while it has no place yet.
    let mut part = vec![0u32; count];
    let mut parts = 1;
    let mut work = vec![Work::Split { entries: vec![0], part: 0, depth: 0 }];
    let mut scratch = Scratch { number: vec![0; count], low: vec![0; count], on_stack: vec![false; count] };
    while let Some(item) = work.pop() {
        match item {
            Work::Emit(block) => order.push(Block::new(block as usize)),
            // Components come in reverse topological order, which is the order to push them in.
            Work::Split { entries, part: mine, depth } => {
                for component in components(&successors, &part, mine, &entries, &mut scratch) {
                    let Some(&head) = component.last() else { continue };
                    if component.len() > 1 && depth < MAX_DEPTH {
                        for &b in &component {
                            part[b as usize] = parts;
                        }
                        part[head as usize] = u32::MAX;
                        let entries = successors[head as usize].clone();
                        work.push(Work::Split { entries, part: parts, depth: depth + 1 });
                        work.push(Work::Emit(head));
                        parts += 1;
                    } else {
                        work.extend(component.into_iter().map(Work::Emit));
                    }
                }
            }
        }
    }
    order
}

struct Scratch {
    number: Vec<u32>,
    low: Vec<u32>,
    on_stack: Vec<bool>,
}

/// Strongly connected components (Tarjan) of the blocks of a part that are reachable from its entries, in reverse
/// topological order. The last block of each is the one reached first, the others follow in reverse order of reach.
fn components(successors: &[Vec<u32>], part: &[u32], mine: u32, entries: &[u32], s: &mut Scratch) -> Vec<Vec<u32>> {
    let mut found = Vec::new();
    let mut visited = Vec::new();
    let mut stack = Vec::new();
    let mut calls: Vec<(u32, usize)> = Vec::new();
    // What is reached first comes out first, so the last successor is followed first.
    for &entry in entries.iter().rev() {
        if part[entry as usize] == mine && s.number[entry as usize] == 0 {
            calls.push((entry, 0));
        }
        while let Some((block, edge)) = calls.last_mut() {
            let b = *block as usize;
            if *edge == 0 {
                visited.push(*block);
                stack.push(*block);
                s.number[b] = visited.len() as u32;
                s.low[b] = s.number[b];
                s.on_stack[b] = true;
            }
            let next = successors[b].len().checked_sub(*edge + 1).map(|n| successors[b][n]);
            *edge += 1;
            if let Some(to) = next {
                let t = to as usize;
                if part[t] == mine && s.number[t] == 0 {
                    calls.push((to, 0));
                } else if part[t] == mine && s.on_stack[t] {
                    s.low[b] = s.low[b].min(s.number[t]);
                }
                continue;
            }
            calls.pop();
            if let Some((caller, _)) = calls.last() {
                let c = *caller as usize;
                s.low[c] = s.low[c].min(s.low[b]);
            }
            if s.low[b] == s.number[b] {
                let mut component = Vec::new();
                while let Some(top) = stack.pop() {
                    s.on_stack[top as usize] = false;
                    component.push(top);
                    if top as usize == b {
                        break;
                    }
                }
                found.push(component);
            }
        }
    }
    for b in visited {
        s.number[b as usize] = 0;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Builder;
    use crate::types::Type;

    /// The order of blocks with these successors.
    fn order(successors: &[&[usize]]) -> Vec<usize> {
        let mut body = Body::default();
        for _ in successors {
            body.add_block();
        }
        for (n, to) in successors.iter().enumerate() {
            let mut b = Builder::new(&mut body, Block::new(n));
            match to {
                [] => {
                    b.effect(crate::op::Op::Ret, Type::B1, 0, &[]);
                }
                [one] => {
                    b.jump(Block::new(*one), &[]);
                }
                [one, two, ..] => {
                    let c = b.constant(Type::B1, 0);
                    b.branch(c, (Block::new(*one), &[]), (Block::new(*two), &[]));
                }
            }
        }
        layout(&body).into_iter().map(Block::index).collect()
    }

    #[test]
    fn what_both_branches_lead_to_comes_behind_them() {
        assert_eq!(order(&[&[1, 2], &[3], &[3], &[]]), [0, 1, 2, 3]);
        assert_eq!(order(&[&[3, 1], &[2], &[], &[2]]), [0, 3, 1, 2]);
    }

    #[test]
    fn loops_are_contiguous_and_their_exits_follow() {
        // 1 is a loop with body 3; it leaves to 2, which stands before the body in the text.
        assert_eq!(order(&[&[1], &[2, 3], &[], &[1]]), [0, 1, 3, 2]);
        // Two nested loops, 1 (2 (3)), left from the innermost to 4, which no loop holds.
        assert_eq!(order(&[&[1], &[2, 5], &[3, 1], &[4, 2], &[5], &[]]), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn irreducible_loops_and_unreachable_blocks() {
        // 1 and 2 lead to each other, and both are entered.
        let o = order(&[&[1, 2], &[2, 3], &[1, 3], &[], &[3]]);
        assert_eq!(o.len(), 4);
        assert_eq!((o[0], o[3]), (0, 3));
    }

    #[test]
    fn deep_nests_take_neither_the_stack_nor_forever() {
        // Each of 20,000 blocks may go on or back to the one before.
        let count = 20_000usize;
        let successors: Vec<Vec<usize>> =
            (0..count).map(|n| if n + 1 == count { vec![] } else { vec![n + 1, n.saturating_sub(1)] }).collect();
        let refs: Vec<&[usize]> = successors.iter().map(|s| &s[..]).collect();
        assert_eq!(order(&refs).len(), count);
    }
}
