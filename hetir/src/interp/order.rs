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
