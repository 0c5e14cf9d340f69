//! What is known about a body without running it. Every analysis is a snapshot: it does not follow later changes.
//!
//! They expect bodies that [`crate::verify`] has accepted.

pub mod cfg;
pub mod dom;
pub mod live;
pub mod loops;
pub mod uniform;
pub mod wait;

#[cfg(test)]
pub(crate) mod testing {
    use crate::build::Builder;
    use crate::entity::Block;
    use crate::ir::Body;
    use crate::op::Op;
    use crate::types::Type;

    /// A body whose n-th block goes on at the blocks of the n-th list.
    pub(crate) fn graph(successors: &[&[usize]]) -> Body {
        let mut body = Body::default();
        let blocks: Vec<Block> = successors.iter().map(|_| body.add_block()).collect();
        for (&block, to) in blocks.iter().zip(successors) {
            let mut b = Builder::new(&mut body, block);
            let number = b.constant(Type::I32, 0);
            if to.is_empty() {
                b.effect(Op::Ret, Type::B1, 0, &[]);
            } else {
                let inst = b.effect(Op::Switch, Type::B1, 0, &[number]);
                let targets: Vec<_> = to.iter().map(|&t| (blocks[t], &[][..])).collect();
                body.set_targets(inst, &targets);
            }
        }
        body
    }

    /// A graph of `count` blocks with random edges, deterministic by seed.
    pub(crate) fn random_graph(count: usize, seed: u64) -> Vec<Vec<usize>> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        (0..count).map(|_| (0..below(4)).map(|_| 1 + below(count - 1)).collect()).collect()
    }
}
