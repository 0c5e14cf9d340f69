//! Products of warp groups.

use super::tensor::register;
use super::{Form, Lifted, form};
use crate::ast::OperandKind;
use crate::lift::{Lifter, Ty};
use hetir::attr::{Aligned, MatrixTypes};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::tensor::GroupProduct;
use hetir::types::Type;

const M64_K8: &str = "shape=m64n8k8 m64n16k8 m64n24k8 m64n32k8 m64n40k8 m64n48k8 m64n56k8 m64n64k8 m64n72k8 m64n80k8 m64n88k8 m64n96k8 \
    m64n104k8 m64n112k8 m64n120k8 m64n128k8 m64n136k8 m64n144k8 m64n152k8 m64n160k8 m64n168k8 m64n176k8 m64n184k8 \
    m64n192k8 m64n200k8 m64n208k8 m64n216k8 m64n224k8 m64n232k8 m64n240k8 m64n248k8 m64n256k8";
const M64_K16: &str = "shape=m64n8k16 m64n16k16 m64n24k16 m64n32k16 m64n40k16 m64n48k16 m64n56k16 m64n64k16 m64n72k16 m64n80k16 \
    m64n88k16 m64n96k16 m64n104k16 m64n112k16 m64n120k16 m64n128k16 m64n136k16 m64n144k16 m64n152k16 m64n160k16 \
    m64n168k16 m64n176k16 m64n184k16 m64n192k16 m64n200k16 m64n208k16 m64n216k16 m64n224k16 m64n232k16 m64n240k16 \
    m64n248k16 m64n256k16";
const M64_K32: &str = "shape=m64n8k32 m64n16k32 m64n24k32 m64n32k32 m64n40k32 m64n48k32 m64n56k32 m64n64k32 m64n72k32 m64n80k32 \
    m64n88k32 m64n96k32 m64n104k32 m64n112k32 m64n120k32 m64n128k32 m64n136k32 m64n144k32 m64n152k32 m64n160k32 \
    m64n168k32 m64n176k32 m64n184k32 m64n192k32 m64n200k32 m64n208k32 m64n216k32 m64n224k32 m64n232k32 m64n240k32 \
    m64n248k32 m64n256k32";
const M64_K64: &str = "shape=m64n8k64 m64n16k64 m64n24k64 m64n32k64 m64n40k64 m64n48k64 m64n56k64 m64n64k64 m64n72k64 m64n80k64 \
    m64n88k64 m64n96k64 m64n104k64 m64n112k64 m64n120k64 m64n128k64 m64n136k64 m64n144k64 m64n152k64 m64n160k64 \
    m64n168k64 m64n176k64 m64n184k64 m64n192k64 m64n200k64 m64n208k64 m64n216k64 m64n224k64 m64n232k64 m64n240k64 \
    m64n248k64 m64n256k64";
const M64_K32_INT: &str = "shape=m64n8k32 m64n16k32 m64n24k32 m64n32k32 m64n48k32 m64n64k32 m64n80k32 m64n96k32 m64n112k32 m64n128k32 \
    m64n144k32 m64n160k32 m64n176k32 m64n192k32 m64n208k32 m64n224k32 m64n240k32 m64n256k32";
const M64_K64_INT: &str = "shape=m64n8k64 m64n16k64 m64n24k64 m64n32k64 m64n48k64 m64n64k64 m64n80k64 m64n96k64 m64n112k64 m64n128k64 \
    m64n144k64 m64n160k64 m64n176k64 m64n192k64 m64n208k64 m64n224k64 m64n240k64 m64n256k64";
const M64_K256: &str = "shape=m64n8k256 m64n16k256 m64n24k256 m64n32k256 m64n48k256 m64n64k256 m64n80k256 m64n96k256 m64n112k256 \
    m64n128k256 m64n144k256 m64n160k256 m64n176k256 m64n192k256 m64n208k256 m64n224k256 m64n240k256 m64n256k256";
const F8: [&str; 2] = ["atype=e4m3 e5m2", "btype=e4m3 e5m2"];
const I8: [&str; 2] = ["atype=s8 u8", "btype=s8 u8"];
const ACC: &str = "dtype=f16 f32";

pub(crate) const FORMS: &[Form] = &[
    form("wgmma.fence.sync.aligned", &[], |c| {
        c.effect(Op::GroupFence, Type::B1, 0, &[]);
        Ok(())
    }),
    form("wgmma.commit_group.sync.aligned", &[], |c| {
        c.effect(Op::GroupCommit, Type::B1, 0, &[]);
        Ok(())
    }),
    form("wgmma.wait_group.sync.aligned n", &[], |c| {
        let left = c.constant_operand(0)?;
        c.effect(Attrs::of(Op::GroupWait).with(Aligned::Yes), Type::B1, left, &[]);
        Ok(())
    }),
    form(
        "wgmma.mma_async.sync.aligned.shape.dtype.f16.f16 d, a, b, p, scale_a, scale_b, trans{, trans_b}",
        &[M64_K16, ACC],
        |c| c.group_product(["dtype", "f16", "f16"]),
    ),
    form(
        "wgmma.mma_async.sync.aligned.shape.f32.bf16.bf16 d, a, b, p, scale_a, scale_b, trans{, trans_b}",
        &[M64_K16],
        |c| c.group_product(["f32", "bf16", "bf16"]),
    ),
    form("wgmma.mma_async.sync.aligned.shape.f32.tf32.tf32 d, a, b, p, scale_a, scale_b", &[M64_K8], |c| {
        c.group_product(["f32", "tf32", "tf32"])
    }),
    form(
        "wgmma.mma_async.sync.aligned.shape.dtype.atype.btype d, a, b, p, scale_a, scale_b",
        &[M64_K32, ACC, F8[0], F8[1]],
        |c| c.group_product(["dtype", "atype", "btype"]),
    ),
    form(
        "wgmma.mma_async.sync.aligned.shape{.satfinite}.s32.atype.btype d, a, b, p",
        &[M64_K32_INT, I8[0], I8[1]],
        |c| c.group_product(["s32", "atype", "btype"]),
    ),
    form("wgmma.mma_async.sync.aligned.shape.s32.b1.b1.and.popc d, a, b, p", &[M64_K256], |c| {
        c.group_product(["s32", "b1", "b1"])
    }),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape.dtype.f16.f16 d, a, b, meta, selector, p, scale_a, scale_b, trans{, trans_b}",
        &[M64_K32, ACC],
        |c| c.group_product(["dtype", "f16", "f16"]),
    ),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape.f32.bf16.bf16 d, a, b, meta, selector, p, scale_a, scale_b, trans{, trans_b}",
        &[M64_K32],
        |c| c.group_product(["f32", "bf16", "bf16"]),
    ),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape.f32.tf32.tf32 d, a, b, meta, selector, p, scale_a, scale_b",
        &[M64_K16],
        |c| c.group_product(["f32", "tf32", "tf32"]),
    ),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape.dtype.atype.btype d, a, b, meta, selector, p, scale_a, scale_b",
        &[M64_K64, ACC, F8[0], F8[1]],
        |c| c.group_product(["dtype", "atype", "btype"]),
    ),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape{.satfinite}.s32.atype.btype d, a, b, meta, selector, p",
        &[M64_K64_INT, I8[0], I8[1]],
        |c| c.group_product(["s32", "atype", "btype"]),
    ),
];

impl Lifter<'_, '_> {
    /// A flag that is a constant: 0 or 1.
    fn flag(&self, n: usize) -> Result<bool, Box<Diagnostic>> {
        match self.constant_operand(n)? {
            flag @ (0 | 1) => Ok(flag == 1),
            other => Err(self.error_at(self.operand(n).span, format!("{} is neither 0 nor 1", other as i64))),
        }
    }
    /// Whether a constant of 1 or -1 is negative.
    fn negates(&self, n: usize) -> Result<bool, Box<Diagnostic>> {
        match self.constant_operand(n)? as i64 {
            1 => Ok(false),
            -1 => Ok(true),
            other => Err(self.error_at(self.operand(n).span, format!("{other} is neither 1 nor -1"))),
        }
    }
    /// Columns of the result, as the shape says.
    fn columns(&self) -> usize {
        let shape = self.word("shape").unwrap_or_default();
        let n = shape.split_once('n').and_then(|(_, rest)| rest.split_once('k'));
        n.and_then(|(n, _)| n.parse().ok()).unwrap_or_default()
    }

    /// A product. Types are the names of parts or of types.
    fn group_product(&mut self, [d, a, b]: [&'static str; 3]) -> Lifted {
        let [d, a, b] = [d, a, b].map(|t| self.word(t).unwrap_or(t));
        let Some(types) = MatrixTypes::ALL.iter().copied().find(|t| t.name() == format!("{d}.{a}.{b}.{d}")) else {
            return Err(self.error(format!("there is no product of types .{d}.{a}.{b}")));
        };
        let sparse = self.has("sp");
        let mut group = GroupProduct::new(types, sparse, self.columns()).map_err(|why| self.error(why))?;
        group.product.sat = self.has("satfinite");
        group.product.selector = if sparse { self.constant_operand(4)? as usize } else { 0 };
        if group.attributes().is_none() || group.product.check().is_err() {
            return Err(self.error(format!("{} is no sparsity selector of this product", group.product.selector)));
        }
        // Behind the factors and the metadata: what c is, signs, and how the factors are stored.
        let rest = if sparse { 5 } else { 3 };
        let is_float = !types.elements()[1].is_integer();
        group.negated = is_float && self.negates(rest + 1)? != self.negates(rest + 2)?;
        group.in_registers = matches!(self.operand(1).kind, OperandKind::Vector(_));
        let stored = self.operand_count().saturating_sub(rest + 3);
        group.turned = match (stored, group.in_registers) {
            (2, false) if is_float => (self.flag(rest + 3)?, self.flag(rest + 4)?),
            (1, true) if is_float => (false, self.flag(rest + 3)?),
            (1 | 2, _) if is_float => {
                let wanted = if group.in_registers { "that of B alone" } else { "those of A and of B" };
                return Err(self.error(format!("the constants at the end are {wanted}")));
            }
            _ => (false, false),
        };
        let checked = group.check().and_then(|()| group.attributes().ok_or_else(|| "no such selector".into()));
        let attrs = checked.map_err(|why| self.error(why))?;

        let [_, fa, _, fc] = group.product.fragments();
        let descriptor = Ty::known("b64");
        let mut args = if group.in_registers { self.fragment_in(1, &fa)? } else { vec![self.src(1, descriptor)?] };
        args.push(self.src(2, descriptor)?);
        let metadata = if sparse { Some(self.src(3, Ty::known("b32"))?) } else { None };
        let keeps = self.src_pred(rest)?;
        let c_ty = register(fc.element());
        let [_, _, sums] = group.registers();
        let sums = self.src_elements(0, c_ty, sums, false)?;
        args.extend(sums.into_iter().map(|c| self.cast(c, fc.register())).collect::<Vec<Value>>());
        args.extend(metadata);
        args.push(keeps);
        let results = self.op_many_imm(attrs, Type::B1, group.columns as u64, &args, &group.results());
        let results: Vec<Value> = results.into_iter().map(|v| self.cast(v, c_ty.ir)).collect();
        self.in_braces(0)?;
        self.dst_elements(0, c_ty, &results, false)
    }
}
