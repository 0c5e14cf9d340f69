//! Addresses in the shared memory of a cluster's blocks.

use super::{Form, Lifted, form};
use crate::ast::OperandKind;
use crate::lift::{Lifter, Ty};
use hetir::attr::Space;
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const SIZE: &str = "size=u32 u64";

pub(crate) const FORMS: &[Form] = &[
    form("mapa.shared::cluster.size d, a, b", &[SIZE], |c| c.map_rank(Space::Cluster)),
    form("mapa.size d, a, b", &[SIZE], |c| c.map_rank(Space::Generic)),
    form("getctarank.shared::cluster.size d, a", &[SIZE], |c| c.rank_of(Space::Cluster)),
    form("getctarank.size d, a", &[SIZE], |c| c.rank_of(Space::Generic)),
];

impl Lifter<'_, '_> {
    /// The name of a variable stands for its address in shared memory, whatever the form says.
    fn named_space(&mut self, n: usize, space: Space) -> Space {
        let is_name = matches!(self.operand(n).kind, OperandKind::Ref { .. });
        if is_name { Space::Cluster } else { space }
    }
    /// A register of 32 or 64 bits, a constant, or the name of a variable.
    fn cluster_address(&mut self, n: usize, ty: Ty) -> Result<Value, Box<Diagnostic>> {
        if let OperandKind::Ref { .. } = self.operand(n).kind {
            let address = self.address(n)?;
            self.access_space(&address, Space::Cluster)?;
            return Ok(self.add_offset(address));
        }
        let value = self.src(n, ty)?;
        Ok(if ty.ir == Type::I32 { self.op(Op::Zext, Type::I64, &[value]) } else { value })
    }
    fn map_rank(&mut self, space: Space) -> Lifted {
        let ty = self.part_ty("size")?;
        let space = self.named_space(1, space);
        if matches!(self.operand(2).kind, OperandKind::Ref { offset: 0, .. }) {
            return Err(self.error("the name of a variable where a rank is needed"));
        }
        let (address, rank) = (self.cluster_address(1, ty)?, self.src_u32(2)?);
        let mapped = self.op(Attrs::of(Op::MapRank).with(space), Type::I64, &[address, rank]);
        self.dst_address(ty, mapped)
    }
    fn rank_of(&mut self, space: Space) -> Lifted {
        let ty = self.part_ty("size")?;
        let space = self.named_space(1, space);
        let address = self.cluster_address(1, ty)?;
        let rank = self.op(Attrs::of(Op::RankOf).with(space), Type::I32, &[address]);
        self.dst(0, Ty::known("u32"), rank)
    }
}
