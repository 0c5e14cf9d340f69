//! Floating-point arithmetic and comparison.

use super::int::{BOOL, SET_RESULT};
use super::{Form, Lifted, form, written_for};
use crate::lift::{Lifter, Ty};
use hetir::attr::{
    AbsOperands, ApproxDiv, ApproxFn, Contract, FloatClass, FloatCmp, Ftz, Oob, PropagateNan, Relu, Round, Sat, XorSign,
};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const RND: &str = "rnd=rn rz rm rp";
const RN: &str = "rnd=rn";
const CMP: &str = "cmp=eq ne lt le gt ge equ neu ltu leu gtu geu num nan";
const HALVES: &str = "type=bf16 bf16x2";

pub(crate) const FORMS: &[Form] = &[
    form("add{.rnd}{.ftz}{.sat}.f32 d, a, b", &[RND], |c| c.arithmetic(Op::FAdd)),
    form("add{.rnd}{.ftz}.f32x2 d, a, b", &[RND], |c| c.arithmetic(Op::FAdd)),
    form("add{.rnd}.f64 d, a, b", &[RND], |c| c.arithmetic(Op::FAdd)),
    form("add{.rnd}{.ftz}{.sat}.type d, a, b", &[RN, "type=f16 f16x2"], |c| c.arithmetic(Op::FAdd)),
    form("add{.rnd}.type d, a, b", &[RN, HALVES], |c| c.arithmetic(Op::FAdd)),
    form("add{.rnd}{.sat}.f32.atype d, a, c", &[RND, "atype=f16 bf16"], |c| c.mixed(Op::FAdd)),
    form("sub{.rnd}{.ftz}{.sat}.f32 d, a, b", &[RND], |c| c.arithmetic(Op::FSub)),
    form("sub{.rnd}{.ftz}.f32x2 d, a, b", &[RND], |c| c.arithmetic(Op::FSub)),
    form("sub{.rnd}.f64 d, a, b", &[RND], |c| c.arithmetic(Op::FSub)),
    form("sub{.rnd}{.ftz}{.sat}.type d, a, b", &[RN, "type=f16 f16x2"], |c| c.arithmetic(Op::FSub)),
    form("sub{.rnd}.type d, a, b", &[RN, HALVES], |c| c.arithmetic(Op::FSub)),
    form("sub{.rnd}{.sat}.f32.atype d, a, c", &[RND, "atype=f16 bf16"], |c| c.mixed(Op::FSub)),
    form("mul{.rnd}{.ftz}{.sat}.f32 d, a, b", &[RND], |c| c.arithmetic(Op::FMul)),
    form("mul{.rnd}{.ftz}.f32x2 d, a, b", &[RND], |c| c.arithmetic(Op::FMul)),
    form("mul{.rnd}.f64 d, a, b", &[RND], |c| c.arithmetic(Op::FMul)),
    form("mul{.rnd}{.ftz}{.sat}.type d, a, b", &[RN, "type=f16 f16x2"], |c| c.arithmetic(Op::FMul)),
    form("mul{.rnd}.type d, a, b", &[RN, HALVES], |c| c.arithmetic(Op::FMul)),
    form("fma.rnd{.ftz}{.sat}.f32 d, a, b, c", &[RND], |c| c.fused()),
    form("fma.rnd{.ftz}.f32x2 d, a, b, c", &[RND], |c| c.fused()),
    form("fma.rnd.f64 d, a, b, c", &[RND], |c| c.fused()),
    form("fma.rnd{.ftz}{.sat}.type d, a, b, c", &[RN, "type=f16 f16x2"], |c| c.fused()),
    form("fma.rnd{.ftz}.relu.type d, a, b, c", &[RN, "type=f16 f16x2"], |c| c.fused()),
    form("fma.rnd{.relu}.type d, a, b, c", &[RN, HALVES], |c| c.fused()),
    form("fma.rnd.oob{.relu}.type d, a, b, c", &[RN, "type=f16 f16x2 bf16 bf16x2"], |c| c.fused()),
    form("fma.rnd{.sat}.f32.abtype d, a, b, c", &[RND, "abtype=f16 bf16"], |c| {
        let half = c.part_ty("abtype")?;
        let (f32, rounding) = (Ty::known("f32"), c.rounding());
        let (a, b, addend) = (c.src(1, half)?, c.src(2, half)?, c.src(3, f32)?);
        let (a, b) = (c.op(Op::FCvt, Type::F32, &[a]), c.op(Op::FCvt, Type::F32, &[b]));
        let attrs = Attrs::of(Op::FFma).with(rounding).with(c.sat());
        let result = c.op(attrs, Type::F32, &[a, b, addend]);
        c.dst(0, f32, result)
    }),
    form("mad.rnd{.ftz}{.sat}.f32 d, a, b, c", &[RND], |c| c.fused()),
    form("mad.rnd.f64 d, a, b, c", &[RND], |c| c.fused()),
    form("div.rnd{.ftz}.f32 d, a, b", &[RND], |c| c.rounded_binary(Op::FDiv)),
    form("div.rnd.f64 d, a, b", &[RND], |c| c.rounded_binary(Op::FDiv)),
    form("div.mode{.ftz}.f32 d, a, b", &["mode=approx full"], |c| {
        let mode = if c.word("mode") == Some("full") { ApproxDiv::Full } else { ApproxDiv::Approx };
        let ftz = c.ftz();
        c.binary(Attrs::of(Op::FDivApprox).with(mode).with(ftz))
    }),
    form("rcp.rnd{.ftz}.f32 d, a", &[RND], |c| c.rounded_unary(Op::FRcp)),
    form("rcp.rnd.f64 d, a", &[RND], |c| c.rounded_unary(Op::FRcp)),
    form("sqrt.rnd{.ftz}.f32 d, a", &[RND], |c| c.rounded_unary(Op::FSqrt)),
    form("sqrt.rnd.f64 d, a", &[RND], |c| c.rounded_unary(Op::FSqrt)),
    form("rcp.approx{.ftz}.f32 d, a", &[], |c| c.approximate(ApproxFn::Rcp)),
    form("rcp.approx.ftz.f64 d, a", &[], |c| c.approximate(ApproxFn::Rcp)),
    form("rsqrt.approx{.ftz}.f32 d, a", &[], |c| c.approximate(ApproxFn::Rsqrt)),
    form("rsqrt.approx{.ftz}.f64 d, a", &[], |c| c.approximate(ApproxFn::Rsqrt)),
    form("sqrt.approx{.ftz}.f32 d, a", &[], |c| c.approximate(ApproxFn::Sqrt)),
    form("sin.approx{.ftz}.f32 d, a", &[], |c| c.approximate(ApproxFn::Sin)),
    form("cos.approx{.ftz}.f32 d, a", &[], |c| c.approximate(ApproxFn::Cos)),
    form("lg2.approx{.ftz}.f32 d, a", &[], |c| c.approximate(ApproxFn::Lg2)),
    form("ex2.approx{.ftz}.f32 d, a", &[], |c| c.approximate(ApproxFn::Ex2)),
    form("ex2.approx.type d, a", &["type=f16 f16x2"], |c| c.approximate(ApproxFn::Ex2)),
    form("ex2.approx.ftz.type d, a", &[HALVES], |c| c.approximate(ApproxFn::Ex2)),
    form("tanh.approx.type d, a", &["type=f32 f16 f16x2 bf16 bf16x2"], |c| c.approximate(ApproxFn::Tanh)),
    form("abs{.ftz}.type d, a", &["type=f32 f16 f16x2"], |c| c.flushed_unary(Op::FAbs)),
    form("abs.type d, a", &["type=f64 bf16 bf16x2"], |c| c.flushed_unary(Op::FAbs)),
    form("neg{.ftz}.type d, a", &["type=f32 f16 f16x2"], |c| c.flushed_unary(Op::FNeg)),
    form("neg.type d, a", &["type=f64 bf16 bf16x2"], |c| c.flushed_unary(Op::FNeg)),
    form("min{.ftz}{.NaN}{.xorsign}{.abs}.type d, a, b", &["type=f32 f16 f16x2"], |c| c.float_min_max(Op::FMin)),
    form("min{.NaN}{.xorsign}{.abs}.type d, a, b", &[HALVES], |c| c.float_min_max(Op::FMin)),
    form("min.f64 d, a, b", &[], |c| c.float_min_max(Op::FMin)),
    form("min{.ftz}{.NaN}{.abs}.f32 d, a, b, c", &[], |c| c.float_min_max(Op::FMin)),
    form("max{.ftz}{.NaN}{.xorsign}{.abs}.type d, a, b", &["type=f32 f16 f16x2"], |c| c.float_min_max(Op::FMax)),
    form("max{.NaN}{.xorsign}{.abs}.type d, a, b", &[HALVES], |c| c.float_min_max(Op::FMax)),
    form("max.f64 d, a, b", &[], |c| c.float_min_max(Op::FMax)),
    form("max{.ftz}{.NaN}{.abs}.f32 d, a, b, c", &[], |c| c.float_min_max(Op::FMax)),
    form("copysign.type d, a, b", &["type=f32 f64"], |c| c.binary(Op::FCopysign)),
    form("testp.op.type p, a", &["op=finite infinite number notanumber normal subnormal", "type=f32 f64"], |c| {
        let class = match c.word("op") {
            Some("finite") => FloatClass::Finite,
            Some("infinite") => FloatClass::Infinite,
            Some("number") => FloatClass::Number,
            Some("notanumber") => FloatClass::NotANumber,
            Some("normal") => FloatClass::Normal,
            _ => FloatClass::Subnormal,
        };
        let ty = c.ty()?;
        let a = c.src(1, ty)?;
        let holds = c.op(Attrs::of(Op::FTest).with(class), ty.ir, &[a]);
        c.dst(0, Ty::known("pred"), holds)
    }),
    form("setp.cmp{.ftz}.f32 p{|q}, a, b", &[CMP], |c| c.setp_float()),
    form("setp.cmp.BoolOp{.ftz}.f32 p{|q}, a, b, {!}c", &[CMP, BOOL], |c| c.setp_float()),
    form("setp.cmp.f64 p{|q}, a, b", &[CMP], |c| c.setp_float()),
    form("setp.cmp.BoolOp.f64 p{|q}, a, b, {!}c", &[CMP, BOOL], |c| c.setp_float()),
    form("setp.cmp{.ftz}.f16 p, a, b", &[CMP], |c| c.setp_float()),
    form("setp.cmp.BoolOp{.ftz}.f16 p, a, b, {!}c", &[CMP, BOOL], |c| c.setp_float()),
    form("setp.cmp.bf16 p, a, b", &[CMP], |c| c.setp_float()),
    form("setp.cmp.BoolOp.bf16 p, a, b, {!}c", &[CMP, BOOL], |c| c.setp_float()),
    form("setp.cmp{.ftz}.f16x2 p{|q}, a, b", &[CMP], |c| c.setp_packed()),
    form("setp.cmp.BoolOp{.ftz}.f16x2 p{|q}, a, b, {!}c", &[CMP, BOOL], |c| c.setp_packed()),
    form("setp.cmp.bf16x2 p{|q}, a, b", &[CMP], |c| c.setp_packed()),
    form("setp.cmp.BoolOp.bf16x2 p{|q}, a, b, {!}c", &[CMP, BOOL], |c| c.setp_packed()),
    form("set.cmp{.ftz}.dtype.f32 d, a, b", &[CMP, "dtype=u32 s32 f32 f16"], |c| c.set_float()),
    form("set.cmp.BoolOp{.ftz}.dtype.f32 d, a, b, {!}c", &[CMP, BOOL, "dtype=u32 s32 f32 f16"], |c| c.set_float()),
    form("set.cmp.dtype.f32 d, a, b", &[CMP, "dtype=bf16"], |c| c.set_float()),
    form("set.cmp.BoolOp.dtype.f32 d, a, b, {!}c", &[CMP, BOOL, "dtype=bf16"], |c| c.set_float()),
    form("set.cmp.dtype.f64 d, a, b", &[CMP, SET_RESULT], |c| c.set_float()),
    form("set.cmp.BoolOp.dtype.f64 d, a, b, {!}c", &[CMP, BOOL, SET_RESULT], |c| c.set_float()),
    form("set.cmp{.ftz}.dtype.f16 d, a, b", &[CMP, "dtype=u32 s32 u16 s16 f16"], |c| c.set_float()),
    form("set.cmp.BoolOp{.ftz}.dtype.f16 d, a, b, {!}c", &[CMP, BOOL, "dtype=u32 s32 u16 s16 f16"], |c| c.set_float()),
    form("set.cmp.dtype.f16 d, a, b", &[CMP, "dtype=bf16"], |c| c.set_float()),
    form("set.cmp.BoolOp.dtype.f16 d, a, b, {!}c", &[CMP, BOOL, "dtype=bf16"], |c| c.set_float()),
    form("set.cmp.dtype.bf16 d, a, b", &[CMP, "dtype=u32 s32 u16 s16 bf16"], |c| c.set_float()),
    form("set.cmp.BoolOp.dtype.bf16 d, a, b, {!}c", &[CMP, BOOL, "dtype=u32 s32 u16 s16 bf16"], |c| c.set_float()),
    form("set.cmp{.ftz}.dtype.type d, a, b", &[CMP, "dtype=f16x2 u32 s32", "type=f16x2"], |c| c.set_packed()),
    form("set.cmp.BoolOp{.ftz}.dtype.type d, a, b, {!}c", &[CMP, BOOL, "dtype=f16x2 u32 s32", "type=f16x2"], |c| {
        c.set_packed()
    }),
    form("set.cmp.dtype.type d, a, b", &[CMP, "dtype=bf16x2 u32 s32", "type=bf16x2"], |c| c.set_packed()),
    form("set.cmp.BoolOp.dtype.type d, a, b, {!}c", &[CMP, BOOL, "dtype=bf16x2 u32 s32", "type=bf16x2"], |c| {
        c.set_packed()
    }),
    form("slct{.ftz}.dtype.f32 d, a, b, c", &["dtype=b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64"], |c| {
        let ty = c.part_ty("dtype")?;
        let (a, b, by) = (c.src(1, ty)?, c.src(2, ty)?, c.src(3, Ty::known("f32"))?);
        let zero = c.constant(Type::F32, 0);
        let ftz = c.ftz();
        let at_least = c.op(Attrs::of(Op::FCmp).with(FloatCmp::Ge).with(ftz), Type::F32, &[by, zero]);
        let result = c.op(Op::Select, ty.ir, &[at_least, a, b]);
        c.dst(0, ty, result)
    }),
];

impl Lifter<'_, '_> {
    pub(super) fn ftz(&self) -> Ftz {
        if self.has("ftz") { Ftz::Yes } else { Ftz::No }
    }
    pub(super) fn sat(&self) -> Sat {
        if self.has("sat") { Sat::Yes } else { Sat::No }
    }
    pub(super) fn relu(&self) -> Relu {
        if self.has("relu") { Relu::Yes } else { Relu::No }
    }
    /// The rounding mode; to nearest where the opcode names none.
    pub(super) fn rounding(&self) -> Round {
        match self.word("rnd") {
            Some("rz") => Round::Rz,
            Some("rm") => Round::Rm,
            Some("rp") => Round::Rp,
            Some("rna") => Round::Rna,
            _ => Round::Rn,
        }
    }
    fn arithmetic(&mut self, op: Op) -> Lifted {
        let attrs = Attrs::of(op).with(self.rounding()).with(self.ftz()).with(self.sat());
        // Without a rounding the text leaves it to the compiler to join products and sums.
        let free = if self.word("rnd").is_none() { Contract::Yes } else { Contract::No };
        self.binary(attrs.with(free))
    }
    fn mixed(&mut self, op: Op) -> Lifted {
        let half = self.part_ty("atype")?;
        let f32 = Ty::known("f32");
        let (a, b) = (self.src(1, half)?, self.src(2, f32)?);
        let a = self.op(Op::FCvt, Type::F32, &[a]);
        let attrs = Attrs::of(op).with(self.rounding()).with(self.sat());
        let result = self.op(attrs, Type::F32, &[a, b]);
        self.dst(0, f32, result)
    }
    fn fused(&mut self) -> Lifted {
        let ty = self.ty()?;
        let (x, y, z) = self.three(ty)?;
        let oob = if self.has("oob") { Oob::Yes } else { Oob::No };
        let attrs = Attrs::of(Op::FFma).with(self.rounding()).with(self.ftz()).with(self.sat());
        let attrs = attrs.with(self.relu()).with(oob);
        let result = self.op(attrs, ty.ir, &[x, y, z]);
        self.dst(0, ty, result)
    }
    fn rounded_binary(&mut self, op: Op) -> Lifted {
        let attrs = Attrs::of(op).with(self.rounding()).with(self.ftz());
        self.binary(attrs)
    }
    fn rounded_unary(&mut self, op: Op) -> Lifted {
        let attrs = Attrs::of(op).with(self.rounding()).with(self.ftz());
        self.unary(attrs)
    }
    fn approximate(&mut self, function: ApproxFn) -> Lifted {
        let ftz = self.ftz();
        self.unary(Attrs::of(Op::FApprox).with(function).with(ftz))
    }
    fn flushed_unary(&mut self, op: Op) -> Lifted {
        let ftz = self.ftz();
        self.unary(Attrs::of(op).with(ftz))
    }
    fn float_min_max(&mut self, op: Op) -> Lifted {
        let ty = self.ty()?;
        let nan = if self.has("NaN") { PropagateNan::Yes } else { PropagateNan::No };
        let attrs = Attrs::of(op).with(self.ftz()).with(nan);
        let (xorsign, abs) = (self.has("xorsign"), self.has("abs"));
        if xorsign && !abs {
            return Err(self.error("`.xorsign` needs `.abs`"));
        }
        if abs && !xorsign && self.operand_count() == 3 {
            return Err(self.error("`.abs` alone needs three source operands"));
        }
        let attrs = if xorsign { attrs.with(XorSign::Yes) } else { attrs };
        let attrs = if abs { attrs.with(AbsOperands::Yes) } else { attrs };
        let (a, b) = (self.src(1, ty)?, self.src(2, ty)?);
        let mut result = self.op(attrs, ty.ir, &[a, b]);
        if self.operand_count() == 4 {
            if written_for(self.ast).1 < 100 {
                return Err(self.error("three source operands need the target sm_100 or newer"));
            }
            let third = self.src(3, ty)?;
            result = self.op(attrs, ty.ir, &[result, third]);
        }
        self.dst(0, ty, result)
    }
    fn float_comparison(&self) -> Attrs {
        let comparison = match self.word("cmp") {
            Some("eq") => FloatCmp::Eq,
            Some("ne") => FloatCmp::Ne,
            Some("lt") => FloatCmp::Lt,
            Some("le") => FloatCmp::Le,
            Some("gt") => FloatCmp::Gt,
            Some("ge") => FloatCmp::Ge,
            Some("equ") => FloatCmp::Equ,
            Some("neu") => FloatCmp::Neu,
            Some("ltu") => FloatCmp::Ltu,
            Some("leu") => FloatCmp::Leu,
            Some("gtu") => FloatCmp::Gtu,
            Some("geu") => FloatCmp::Geu,
            Some("num") => FloatCmp::Num,
            _ => FloatCmp::Nan,
        };
        Attrs::of(Op::FCmp).with(comparison).with(self.ftz())
    }
    fn setp_float(&mut self) -> Lifted {
        let ty = self.ty()?;
        let (a, b) = (self.src(1, ty)?, self.src(2, ty)?);
        let holds = self.op(self.float_comparison(), ty.ir, &[a, b]);
        self.set_predicates(holds)
    }
    fn set_float(&mut self) -> Lifted {
        let ty = self.ty()?;
        let (a, b) = (self.src(1, ty)?, self.src(2, ty)?);
        let holds = self.op(self.float_comparison(), ty.ir, &[a, b]);
        let holds = self.combine(holds, 3)?;
        self.set_value(holds)
    }
    /// The comparison's outcome in each lane.
    fn compare_lanes(&mut self) -> Result<Vec<Value>, Box<Diagnostic>> {
        let ty = self.ty()?;
        let lane = ty.ir.lane();
        let (a, b) = (self.src(1, ty)?, self.src(2, ty)?);
        let lanes = [lane; 2];
        let a = self.op_many(Op::Unpack, lane, &[a], &lanes);
        let b = self.op_many(Op::Unpack, lane, &[b], &lanes);
        let attrs = self.float_comparison();
        Ok(a.into_iter().zip(b).map(|(a, b)| self.op(attrs, lane, &[a, b])).collect())
    }
    fn setp_packed(&mut self) -> Lifted {
        let holds = self.compare_lanes()?;
        let (p, q) = self.pair(0);
        for (place, holds) in [p, q].into_iter().zip(holds) {
            let holds = self.combine(holds, 3)?;
            self.write(place, Ty::known("pred"), holds, false)?;
        }
        Ok(())
    }
    fn set_packed(&mut self) -> Lifted {
        let result = self.part_ty("dtype")?;
        let mut values = Vec::new();
        // A packed float result is 1.0 in each lane where the comparison holds, an integer one all ones in its half.
        let (ty, yes) = match result.ir {
            Type::F16X2 => (Type::F16, 0x3c00),
            Type::BF16X2 => (Type::BF16, 0x3f80),
            _ => (Type::I16, 0xffff),
        };
        for holds in self.compare_lanes()? {
            let holds = self.combine(holds, 3)?;
            let (yes, no) = (self.constant(ty, yes), self.constant(ty, 0));
            values.push(self.op(Op::Select, ty, &[holds, yes, no]));
        }
        let packed = self.op_many(Op::Pack, result.ir, &values, &[result.ir])[0];
        self.dst(0, result, packed)
    }
}
