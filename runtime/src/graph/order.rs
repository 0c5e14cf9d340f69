//! The order in which nodes of two graphs are paired.

use super::snapshot::SnapshotNode;
use std::collections::VecDeque;

/// Indices of all nodes, from the ends of the graph backwards: nodes that nothing depends on by creation, then what each
/// depends on in the order in which it was told. Shorter than the graph where there is a cycle.
pub(crate) fn from_the_ends(nodes: &[SnapshotNode]) -> Vec<usize> {
    let mut has_dependent = vec![false; nodes.len()];
    nodes.iter().flat_map(|node| &node.before).for_each(|&(from, _)| has_dependent[from] = true);
    let mut seen: Vec<bool> = has_dependent.iter().map(|has| !has).collect();
    let mut open: VecDeque<usize> = (0..nodes.len()).filter(|&index| seen[index]).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(index) = open.pop_front() {
        order.push(index);
        for &(from, _) in &nodes[index].before {
            if !std::mem::replace(&mut seen[from], true) {
                open.push_back(from);
            }
        }
    }
    order
}

/// Indices of all nodes, each behind what it depends on; of those that could come next the oldest. Where there is a cycle,
/// the nodes that come before it, and one that does not.
pub(crate) fn topological(nodes: &[SnapshotNode]) -> Result<Vec<usize>, usize> {
    let mut missing: Vec<usize> = nodes.iter().map(|node| node.before.len()).collect();
    let mut after = vec![Vec::new(); nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        node.before.iter().for_each(|&(from, _)| after[from].push(index));
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..nodes.len()).filter(|&index| missing[index] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for &next in &after[index] {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.insert(next);
            }
        }
    }
    match missing.iter().position(|&count| count != 0) {
        None => Ok(order),
        Some(stuck) => Err(stuck),
    }
}
