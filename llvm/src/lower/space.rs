//! Addresses of one space made addresses of another, and what tells them apart.
//!
//! An address of shared memory carries its block's rank in the cluster, if the kernel has to do with clusters; one without
//! a rank is the block's own.

use super::shape::Shape;
use super::{Lowering, Result};
use crate::abi::Warp;
use crate::sys::{Code, Int, Val};
use hetir::attr::Space;
use hetir::entity::Inst;
use hetir::interp::space::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_STRIDE, SHARED_WINDOW, WINDOW_SIZE};
use hetir::op::Op;
use std::mem::offset_of;

/// Ranks that an address has room for.
const RANKS: u64 = 256;

impl<'c> Lowering<'_, '_, 'c> {
    /// The block's rank, where it stands in an address.
    fn rank(&self) -> Val<'c> {
        let rank = self.warp_field(self.i(32), offset_of!(Warp, rank));
        let wide = self.e.cast(Code::LLVMZExt, rank, self.i(64));
        self.e.bin(Code::LLVMMul, wide, self.c64(SHARED_STRIDE))
    }
    /// The address of a place in the block's shared memory.
    pub(super) fn own_shared(&self, offset: u64) -> Val<'c> {
        match self.unit.clusters {
            true => self.e.bin(Code::LLVMAdd, self.rank(), self.c64(offset)),
            false => self.c64(offset),
        }
    }
    /// Where the shared memory of the cluster's first block begins.
    pub(super) fn first_shared(&self) -> Val<'c> {
        self.e.offset(self.shared, self.e.bin(Code::LLVMSub, self.c64(0), self.rank()))
    }

    pub(super) fn space_op(&mut self, inst: Inst) -> Result<()> {
        let e = self.e;
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        let space = data.attr::<Space>();
        // Constants lie in global memory, and only the device knows where.
        if data.op == Op::IsSpace && matches!(space, Space::Const | Space::Global) {
            return self.effect(inst);
        }
        let window = match space {
            Space::Shared | Space::Cluster => SHARED_WINDOW,
            Space::Local => LOCAL_WINDOW,
            Space::Param => PARAM_WINDOW,
            Space::Generic | Space::Global | Space::Const => 0,
        };
        let result = self.body.results(inst)[0];
        if data.op != Op::IsSpace && matches!(self.shapes.get(result), Shape::Affine(_)) {
            let code = if data.op == Op::ToGeneric { Code::LLVMAdd } else { Code::LLVMSub };
            let v = e.bin(code, self.held(args[0]), self.c64(window));
            self.set(inst, 0, v);
            return Ok(());
        }
        let once = self.once(inst) && args.iter().all(|a| self.is_uniform(*a));
        let a = self.arg(args[0], once);
        let second = args.get(1).map(|b| self.arg(*b, once));
        let spread = |v: Val<'c>| if once { v } else { self.splat(v) };
        let k = |n: u64| spread(self.c64(n));
        let and = |v: Val<'c>, n: u64| e.bin(Code::LLVMAnd, v, k(n));
        let v = match (data.op, space) {
            (Op::ToGeneric, Space::Shared) if self.unit.clusters => {
                let own = e.bin(Code::LLVMOr, and(a, SHARED_STRIDE - 1), spread(self.rank()));
                e.bin(Code::LLVMAdd, own, k(window))
            }
            (Op::ToGeneric, _) => e.bin(Code::LLVMAdd, a, k(window)),
            (Op::FromGeneric, _) => e.bin(Code::LLVMSub, a, k(window)),
            (Op::MapRank, _) => {
                let rank = second.unwrap_or_else(|| k(0));
                let wide = if once { self.i(64) } else { self.wide(self.i(64)) };
                let rank = and(e.cast(Code::LLVMZExt, rank, wide), RANKS - 1);
                let placed = e.bin(Code::LLVMMul, rank, k(SHARED_STRIDE));
                e.bin(Code::LLVMOr, and(a, !((RANKS - 1) * SHARED_STRIDE)), placed)
            }
            (Op::RankOf, _) => {
                let rank = and(e.bin(Code::LLVMLShr, a, k(SHARED_STRIDE.trailing_zeros().into())), RANKS - 1);
                let narrow = if once { self.i(32) } else { self.wide(self.i(32)) };
                e.cast(Code::LLVMTrunc, rank, narrow)
            }
            (_, Space::Generic | Space::Global | Space::Const) => spread(self.i(1).int(1)),
            (_, Space::Local | Space::Param) => {
                let high = e.bin(Code::LLVMLShr, a, k(WINDOW_SIZE.trailing_zeros().into()));
                e.icmp(Int::LLVMIntEQ, high, k(window / WINDOW_SIZE))
            }
            (_, Space::Shared | Space::Cluster) => {
                let (first, blocks) = match (space, self.unit.clusters) {
                    (Space::Shared, true) => (spread(self.rank()), k(1)),
                    (_, true) => {
                        let blocks = self.warp_field(self.i(32), offset_of!(Warp, cluster_blocks));
                        (k(0), spread(e.cast(Code::LLVMZExt, blocks, self.i(64))))
                    }
                    (_, false) => (k(0), k(1)),
                };
                let place = e.bin(Code::LLVMSub, e.bin(Code::LLVMSub, a, k(window)), first);
                let block = e.bin(Code::LLVMLShr, place, k(SHARED_STRIDE.trailing_zeros().into()));
                e.icmp(Int::LLVMIntULT, block, blocks)
            }
        };
        self.set_vector(inst, 0, v, once);
        Ok(())
    }
}
