//! Conversions.

use super::{Form, Lifted, form};
use crate::ast::OperandKind;
use crate::lift::{Kind, Lifter, Ty};
use hetir::attr::{Ftz, Narrow, Round, Sat, SatFinite, Sign};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const RN_RZ: &str = "rnd=rn rz";

pub(crate) const FORMS: &[Form] = &[
    form("cvt{.irnd}{.ftz}{.sat}.dtype.atype d, a", &["irnd=rni rzi rmi rpi", SCALARS_D, SCALARS_A], |c| c.cvt()),
    form("cvt.rnd{.ftz}{.sat}.dtype.atype d, a", &["rnd=rn rz rm rp", "dtype=bf16 f16 f32 f64", SCALARS_A], |c| {
        c.cvt()
    }),
    form("cvt.rnd{.relu}{.satfinite}.type.f32 d, a", &[RN_RZ, "type=f16 bf16"], |c| {
        let ty = c.part_ty("type")?;
        let a = c.src(1, Ty::known("f32"))?;
        let value = c.half_of(ty.ir, a);
        if ty.ir == Type::BF16 { c.dst(0, ty, value) } else { c.dst_wider(0, ty, value) }
    }),
    form("cvt.rnd{.relu}{.satfinite}.type.f32 d, a, b", &[RN_RZ, "type=f16x2 bf16x2"], |c| {
        let ty = c.part_ty("type")?;
        let f32 = Ty::known("f32");
        let (a, b) = (c.src(1, f32)?, c.src(2, f32)?);
        let high = c.half_of(ty.ir.lane(), a);
        let low = c.half_of(ty.ir.lane(), b);
        let packed = c.op_many(Op::Pack, ty.ir, &[low, high], &[ty.ir])[0];
        c.dst(0, ty, packed)
    }),
    form("cvt.rs{.relu}{.satfinite}.type.f32 d, a, b, rbits", &["type=f16x2 bf16x2"], |c| {
        let ty = c.part_ty("type")?;
        let f32 = Ty::known("f32");
        let (a, b, random) = (c.src(1, f32)?, c.src(2, f32)?, c.src_u32(3)?);
        // The manual gives each half of the result its own half of the random bits.
        let sixteen = c.constant(Type::I32, 16);
        let mut halves = Vec::new();
        for (value, high) in [(b, false), (a, true)] {
            let bits = if high {
                c.op(Op::Shr, Type::I32, &[random, sixteen])
            } else {
                let mask = c.constant(Type::I32, 0xffff);
                c.op(Op::And, Type::I32, &[random, mask])
            };
            let attrs = Attrs::of(Op::FCvtRs).with(c.satfinite()).with(c.relu());
            halves.push(c.op(attrs, ty.ir.lane(), &[value, bits]));
        }
        let packed = c.op_many(Op::Pack, ty.ir, &halves, &[ty.ir])[0];
        c.dst(0, ty, packed)
    }),
    form("cvt.rna{.satfinite}.tf32.f32 d, a", &[], |c| c.tf32_of(Round::Rna)),
    form("cvt.rnd{.satfinite}{.relu}.tf32.f32 d, a", &[RN_RZ], |c| {
        let round = c.rounding();
        c.tf32_of(round)
    }),
    form("cvt.rn.satfinite{.relu}.narrow.f32 d, a, b", &["narrow=e4m3x2 e5m2x2"], |c| c.narrow_pair(Type::I16)),
    form("cvt.rn.satfinite{.relu}.narrow.f16x2 d, a", &["narrow=e4m3x2 e5m2x2"], |c| {
        c.narrow_packed(Ty::known("f16x2"))
    }),
    form("cvt.rn{.relu}.f16x2.narrow d, a", &["narrow=e4m3x2 e5m2x2"], |c| c.widen_packed(Type::F16X2)),
    form("cvt.rn.satfinite{.relu}.narrow.f32 d, a, b", &["narrow=e2m1x2"], |c| c.narrow_pair(Type::I8)),
    form("cvt.rn{.relu}.f16x2.narrow d, a", &["narrow=e2m1x2"], |c| c.widen_packed(Type::F16X2)),
    form("cvt.rn.satfinite{.relu}.narrow.f32 d, a, b", &["narrow=e2m3x2 e3m2x2"], |c| c.narrow_pair(Type::I16)),
    form("cvt.rn{.relu}.f16x2.narrow d, a", &["narrow=e2m3x2 e3m2x2"], |c| c.widen_packed(Type::F16X2)),
    form("cvt.rnd{.satfinite}.narrow.f32 d, a, b", &["rnd=rz rp", "narrow=ue8m0x2"], |c| c.narrow_pair(Type::I16)),
    form("cvt.rnd{.satfinite}.narrow.bf16x2 d, a", &["rnd=rz rp", "narrow=ue8m0x2"], |c| {
        c.narrow_packed(Ty::known("bf16x2"))
    }),
    form("cvt.rn.bf16x2.narrow d, a", &["narrow=ue8m0x2"], |c| c.widen_packed(Type::BF16X2)),
    form("cvt.rs{.relu}.satfinite.narrow.f32 d, v, rbits", &["narrow=e4m3x4 e5m2x4 e2m3x4 e3m2x4"], |c| {
        c.narrow_random(Type::I32)
    }),
    form("cvt.rs{.relu}.satfinite.narrow.f32 d, v, rbits", &["narrow=e2m1x4"], |c| c.narrow_random(Type::I16)),
    form("cvt.pack.sat.to.abType d, a, b", &["to=u16 s16", "abType=s32"], |c| c.pack_saturated(16)),
    form("cvt.pack.sat.to.abType.b32 d, a, b, c", &["to=u2 s2 u4 s4 u8 s8", "abType=s32"], |c| {
        let bits = match c.word("to") {
            Some("u2" | "s2") => 2,
            Some("u4" | "s4") => 4,
            _ => 8,
        };
        c.pack_saturated(bits)
    }),
];

const SCALARS_D: &str = "dtype=u8 u16 u32 u64 s8 s16 s32 s64 bf16 f16 f32 f64";
const SCALARS_A: &str = "atype=u8 u16 u32 u64 s8 s16 s32 s64 bf16 f16 f32 f64";

/// The numbers that an integer of this width holds.
fn range(bits: u32, sign: Sign) -> (i128, i128) {
    match sign {
        Sign::S => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        Sign::U => (0, (1 << bits) - 1),
    }
}

impl Lifter<'_, '_> {
    fn satfinite(&self) -> SatFinite {
        if self.has("satfinite") { SatFinite::Yes } else { SatFinite::No }
    }
    /// Rounding to an integer, where the opcode asks for it.
    fn integer_rounding(&self) -> Option<Round> {
        Some(match self.word("irnd")? {
            "rni" => Round::Rn,
            "rzi" => Round::Rz,
            "rmi" => Round::Rm,
            _ => Round::Rp,
        })
    }
    fn cvt(&mut self) -> Lifted {
        let (to, from) = (self.part_ty("dtype")?, self.part_ty("atype")?);
        self.check_cvt(to, from)?;
        // Registers that are wider than the type are for the types that are older than .bf16.
        let exact = [to, from].iter().any(|ty| ty.ir == Type::BF16);
        let a = if exact { self.src(1, from)? } else { self.src_wider(1, from)? };
        let (rnd, irnd) = (self.has("rnd"), self.integer_rounding());
        let value = match (from.kind == Kind::Float, to.kind == Kind::Float) {
            (false, false) => {
                if rnd || irnd.is_some() || self.has("ftz") {
                    return Err(self.error("a conversion between integers does not round"));
                }
                self.convert_integer(from, to, a)
            }
            (false, true) => {
                if !rnd {
                    return Err(self.error("a conversion from integer to float needs one of .rn, .rz, .rm, .rp"));
                }
                let attrs = Attrs::of(Op::IToF).with(from.sign).with(self.rounding()).with(self.sat());
                self.op(attrs, to.ir, &[a])
            }
            (true, false) => {
                let Some(round) = irnd else {
                    return Err(self.error("a conversion from float to integer needs one of .rni, .rzi, .rmi, .rpi"));
                };
                let attrs = Attrs::of(Op::FToI).with(to.sign).with(round).with(self.ftz());
                self.op(attrs, to.ir, &[a])
            }
            (true, true) => self.convert_float(from, to, a, irnd)?,
        };
        if exact { self.dst(0, to, value) } else { self.dst_wider(0, to, value) }
    }
    /// What the assembler refuses beyond the rounding modes.
    fn check_cvt(&self, to: Ty, from: Ty) -> Lifted {
        let either = |ty: Type| to.ir == ty || from.ir == ty;
        if self.has("ftz") && !either(Type::F32) {
            return Err(self.error("`.ftz` needs .f32 on one side of the conversion"));
        }
        if either(Type::BF16) && (self.has("sat") || either(Type::I8)) {
            return Err(self.error("a conversion to or from .bf16 neither saturates nor has an 8-bit side"));
        }
        let integers = to.kind != Kind::Float && from.kind != Kind::Float;
        if self.has("sat") && integers {
            let (target, source) = (range(to.ir.bits(), to.sign), range(from.ir.bits(), from.sign));
            if target.0 <= source.0 && source.1 <= target.1 {
                return Err(self.error("`.sat` has nothing to do where every value fits the result"));
            }
        }
        Ok(())
    }
    fn convert_integer(&mut self, from: Ty, to: Ty, a: Value) -> Value {
        let mut a = a;
        if self.sat() == Sat::Yes {
            a = self.clamp(from, to.ir.bits(), to.sign, a);
        }
        self.resize(from, to.ir, a)
    }
    fn resize(&mut self, from: Ty, to: Type, a: Value) -> Value {
        match from.ir.bits().cmp(&to.bits()) {
            std::cmp::Ordering::Equal => a,
            std::cmp::Ordering::Greater => self.op(Op::Trunc, to, &[a]),
            std::cmp::Ordering::Less => {
                let op = if from.sign == Sign::S { Op::Sext } else { Op::Zext };
                self.op(op, to, &[a])
            }
        }
    }
    /// Clamps an integer to the range of `bits` bits, within its own type.
    fn clamp(&mut self, from: Ty, bits: u32, sign: Sign, a: Value) -> Value {
        use hetir::op::Op::{IMax, IMin};
        let ((low, high), (from_low, from_high)) = (range(bits, sign), range(from.ir.bits(), from.sign));
        let mut a = a;
        if from_low < low {
            let bound = self.constant(from.ir, low as u64);
            a = self.op(Attrs::of(IMax).with(from.sign), from.ir, &[a, bound]);
        }
        if from_high > high {
            let bound = self.constant(from.ir, high as u64);
            a = self.op(Attrs::of(IMin).with(from.sign), from.ir, &[a, bound]);
        }
        a
    }
    fn convert_float(&mut self, from: Ty, to: Ty, a: Value, irnd: Option<Round>) -> Result<Value, Box<Diagnostic>> {
        let ftz = if from.ir == Type::F32 || to.ir == Type::F32 { self.ftz() } else { Ftz::No };
        if from.ir == to.ir {
            // Rounding to an integral value, or a move that may flush and saturate.
            if let Some(round) = irnd {
                return Ok(self.op(Attrs::of(Op::FRound).with(round).with(ftz).with(self.sat()), to.ir, &[a]));
            }
            if self.has("rnd") {
                return Err(self.error("a conversion to the same type does not round, but for .rni, .rzi, .rmi, .rpi"));
            }
            return Ok(self.op(Attrs::of(Op::FCvt).with(ftz).with(self.sat()), to.ir, &[a]));
        }
        let widens = from.ir.bits() < to.ir.bits();
        if irnd.is_some() {
            return Err(self.error("between different floats .rni, .rzi, .rmi and .rpi do not apply"));
        }
        if widens && self.has("rnd") && from.ir != Type::BF16 {
            return Err(self.error("a conversion to a larger float is exact and takes no rounding mode"));
        }
        if !widens && !self.has("rnd") {
            return Err(self.error("a conversion to a smaller float needs one of .rn, .rz, .rm, .rp"));
        }
        let round = self.rounding();
        Ok(self.op(Attrs::of(Op::FCvt).with(round).with(ftz).with(self.sat()), to.ir, &[a]))
    }
    fn half_of(&mut self, ty: Type, a: Value) -> Value {
        let attrs = Attrs::of(Op::FCvt).with(self.rounding()).with(self.relu()).with(self.satfinite());
        self.op(attrs, ty, &[a])
    }
    fn tf32_of(&mut self, round: Round) -> Lifted {
        let a = self.src(1, Ty::known("f32"))?;
        let attrs = Attrs::of(Op::ToNarrow).with(Narrow::Tf32).with(round);
        let attrs = attrs.with(self.satfinite()).with(self.relu());
        let value = self.op(attrs, Type::F32, &[a]);
        self.dst(0, Ty::known("b32"), value)
    }
    fn narrow_format(&self) -> (Narrow, u32) {
        match self.word("narrow") {
            Some("e4m3x2" | "e4m3x4") => (Narrow::E4m3, 8),
            Some("e5m2x2" | "e5m2x4") => (Narrow::E5m2, 8),
            Some("e2m3x2" | "e2m3x4") => (Narrow::E2m3, 8),
            Some("e3m2x2" | "e3m2x4") => (Narrow::E3m2, 8),
            Some("ue8m0x2") => (Narrow::Ue8m0, 8),
            _ => (Narrow::E2m1, 4),
        }
    }
    fn narrow_attrs(&self) -> Attrs {
        let (format, _) = self.narrow_format();
        let attrs = Attrs::of(Op::ToNarrow).with(format).with(self.rounding());
        attrs.with(self.satfinite()).with(self.relu())
    }
    /// Elements of 4 or 8 bits side by side.
    fn join(&mut self, elements: &[Value], whole: Type) -> Value {
        let (_, bits) = self.narrow_format();
        if bits == 8 {
            return self.op_many(Op::Pack, whole, elements, &[whole])[0];
        }
        let mut bytes = Vec::new();
        for pair in elements.chunks(2) {
            let high = self.op(Op::Zext, Type::I32, &[pair[1]]);
            let four = self.constant(Type::I32, 4);
            let high = self.op(Op::Shl, Type::I32, &[high, four]);
            let low = self.op(Op::Zext, Type::I32, &[pair[0]]);
            let both = self.op(Op::Or, Type::I32, &[high, low]);
            bytes.push(self.op(Op::Trunc, Type::I8, &[both]));
        }
        if bytes.len() == 1 { bytes[0] } else { self.op_many(Op::Pack, whole, &bytes, &[whole])[0] }
    }
    fn narrow_pair(&mut self, whole: Type) -> Lifted {
        let f32 = Ty::known("f32");
        let (a, b) = (self.src(1, f32)?, self.src(2, f32)?);
        let attrs = self.narrow_attrs();
        let high = self.op(attrs, Type::I8, &[a]);
        let low = self.op(attrs, Type::I8, &[b]);
        let packed = self.join(&[low, high], whole);
        let ty = Ty::bits(whole.bits());
        if whole == Type::I8 { self.dst_wider(0, ty, packed) } else { self.dst(0, ty, packed) }
    }
    fn narrow_packed(&mut self, from: Ty) -> Lifted {
        let a = self.src(1, from)?;
        let lane = from.ir.lane();
        let lanes = self.op_many(Op::Unpack, lane, &[a], &[lane; 2]);
        let attrs = self.narrow_attrs();
        let elements: Vec<Value> = lanes.into_iter().map(|l| self.op(attrs, Type::I8, &[l])).collect();
        let packed = self.join(&elements, Type::I16);
        self.dst(0, Ty::bits(16), packed)
    }
    fn widen_packed(&mut self, to: Type) -> Lifted {
        let (format, bits) = self.narrow_format();
        let elements = if bits == 8 {
            let a = self.src(1, Ty::bits(16))?;
            self.op_many(Op::Unpack, Type::I8, &[a], &[Type::I8; 2])
        } else {
            let a = self.src_wider(1, Ty::bits(8))?;
            let wide = self.op(Op::Zext, Type::I32, &[a]);
            let (mask, four) = (self.constant(Type::I32, 15), self.constant(Type::I32, 4));
            let low = self.op(Op::And, Type::I32, &[wide, mask]);
            let high = self.op(Op::Shr, Type::I32, &[wide, four]);
            vec![self.op(Op::Trunc, Type::I8, &[low]), self.op(Op::Trunc, Type::I8, &[high])]
        };
        let lane = to.lane();
        let relu = self.has("relu");
        let mut lanes = Vec::new();
        for e in elements {
            let mut value = self.op(Attrs::of(Op::FromNarrow).with(format), lane, &[e]);
            if relu {
                let attrs = Attrs::of(Op::FCvt).with(self.relu());
                value = self.op(attrs, lane, &[value]);
            }
            lanes.push(value);
        }
        let packed = self.op_many(Op::Pack, to, &lanes, &[to])[0];
        let ty = if to == Type::F16X2 { Ty::known("f16x2") } else { Ty::known("bf16x2") };
        self.dst(0, ty, packed)
    }
    fn narrow_random(&mut self, whole: Type) -> Lifted {
        let (format, bits) = self.narrow_format();
        if !matches!(self.operand(1).kind, OperandKind::Vector(_)) {
            return Err(self.error("four values in braces are needed"));
        }
        // The first value becomes the highest element.
        let values = self.src_elements(1, Ty::known("f32"), 4, false)?;
        let random = self.src_u32(2)?;
        // The upper two elements take the upper half of the random bits; for four bits each, the upper bytes of both.
        let amount = self.constant(Type::I32, if bits == 4 { 8 } else { 16 });
        let upper = self.op(Op::Shr, Type::I32, &[random, amount]);
        let attrs = Attrs::of(Op::ToNarrowRs).with(format).with(self.relu());
        let random = [upper, upper, random, random];
        let elements: Vec<Value> =
            values.into_iter().zip(random).rev().map(|(v, r)| self.op(attrs, Type::I8, &[v, r])).collect();
        let packed = self.join(&elements, whole);
        self.dst_wider(0, Ty::bits(whole.bits()), packed)
    }
    /// Two integers clamped to few bits, side by side below what is left of a third.
    fn pack_saturated(&mut self, bits: u32) -> Lifted {
        let s32 = Ty::known("s32");
        let sign = if self.word("to").is_some_and(|w| w.starts_with('s')) { Sign::S } else { Sign::U };
        let mask = self.constant(Type::I32, (1 << bits) - 1);
        let amount = self.constant(Type::I32, u64::from(bits));
        let mut fields = Vec::new();
        for n in [1, 2] {
            let value = self.src(n, s32)?;
            let value = self.clamp(s32, bits, sign, value);
            fields.push(self.op(Op::And, Type::I32, &[value, mask]));
        }
        let high = self.op(Op::Shl, Type::I32, &[fields[0], amount]);
        let mut packed = self.op(Op::Or, Type::I32, &[high, fields[1]]);
        if self.operand_count() == 4 {
            let rest = self.src(3, Ty::bits(32))?;
            let both = self.constant(Type::I32, u64::from(2 * bits));
            let rest = self.op(Op::Shl, Type::I32, &[rest, both]);
            packed = self.op(Op::Or, Type::I32, &[rest, packed]);
        }
        self.dst(0, Ty::bits(32), packed)
    }
}
