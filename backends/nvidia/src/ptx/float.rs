//! Floating-point arithmetic and conversions.

use super::function::{Printer, Printing, Source, float_name, suffix};
use super::int::int_name;
use super::text::{Operand, Reg};
use hetir::attr::{
    AbsOperands, ApproxDiv, ApproxFn, FloatClass, FloatCmp, Ftz, Narrow, Oob, PropagateNan, Relu, Round, Sat,
    SatFinite, Sign, XorSign,
};
use hetir::entity::{Inst, Value};
use hetir::ir::InstData;
use hetir::op::Op;
use hetir::types::{Scalar, Type};

impl Printer<'_, '_> {
    pub(super) fn float_element(&mut self, data: &InstData, ty: Type, to: Reg, args: &[Source]) -> Printing {
        use Op::*;
        let (name, t) = (data.op.info().name.trim_start_matches('f'), float_name(ty));
        let wide = matches!(ty.scalar, Scalar::F32 | Scalar::F64);
        let round = suffix::<Round>(data);
        let (ftz, sat) = (suffix::<Ftz>(data), suffix::<Sat>(data));
        let fits = (wide || data.attr::<Round>() == Round::Rn)
            && (ftz.is_empty() || matches!(ty.scalar, Scalar::F32 | Scalar::F16))
            && (sat.is_empty() || matches!(ty.scalar, Scalar::F32 | Scalar::F16));
        let head = match data.op {
            FAdd | FSub | FMul if fits => format!("{name}{round}{ftz}{sat}.{t}"),
            FFma if fits && !(wide && data.attr::<Relu>() == Relu::Yes) => {
                let (relu, oob) = (suffix::<Relu>(data), suffix::<Oob>(data));
                format!("fma{round}{ftz}{sat}{oob}{relu}.{t}")
            }
            FDiv | FRcp | FSqrt if wide && fits => format!("{name}{round}{ftz}.{t}"),
            FNeg | FAbs if fits => format!("{name}{ftz}.{t}"),
            FMin | FMax if fits => return self.extreme(data, ty, to, args),
            FCopysign => return self.copy_sign(data, ty, to, args),
            FApprox => {
                let function = data.attr::<ApproxFn>();
                let flushes = ftz.is_empty() == (ty.scalar != Scalar::Bf16 || function == ApproxFn::Tanh);
                let plain = ty.scalar == Scalar::F32 && function != ApproxFn::Tanh;
                let double = ty == Type::F64 && (function == ApproxFn::Rsqrt || !ftz.is_empty());
                if !plain && !double && !flushes {
                    return self.no_form(data);
                }
                format!("{}.approx{ftz}.{t}", function.name())
            }
            FDivApprox => {
                let mode = if data.attr::<ApproxDiv>() == ApproxDiv::Full { "full" } else { "approx" };
                format!("div.{mode}{ftz}.f32")
            }
            FRound => {
                let round = format!("{round}i");
                if ty == Type::BF16 && !sat.is_empty() || !ftz.is_empty() && ty != Type::F32 {
                    return self.no_form(data);
                }
                format!("cvt{round}{ftz}{sat}.{t}.{t}")
            }
            _ => return self.no_form(data),
        };
        let operands: Vec<Operand> = args.iter().map(|a| self.float(*a, ty)).collect();
        self.code.put(&head, to, operands);
        Ok(())
    }

    fn extreme(&mut self, data: &InstData, ty: Type, to: Reg, args: &[Source]) -> Printing {
        let name = if data.op == Op::FMin { "min" } else { "max" };
        let nan = if data.attr::<PropagateNan>() == PropagateNan::Yes { ".NaN" } else { "" };
        let ftz = suffix::<Ftz>(data);
        let (signs, magnitudes) =
            (data.attr::<XorSign>() == XorSign::Yes, data.attr::<AbsOperands>() == AbsOperands::Yes);
        if ty == Type::F64 && (!nan.is_empty() || signs) || signs && !magnitudes {
            return self.no_form(data);
        }
        let mut operands: Vec<Operand> = args.iter().map(|a| self.float(*a, ty)).collect();
        if magnitudes && !signs {
            for operand in &mut operands {
                let magnitude = self.fresh(ty);
                self.code.put(&format!("abs{ftz}.{}", float_name(ty)), magnitude, [operand.clone()]);
                *operand = magnitude.into();
            }
        }
        let signs = if signs { ".xorsign.abs" } else { "" };
        self.code.put(&format!("{name}{ftz}{nan}{signs}.{}", float_name(ty)), to, operands);
        Ok(())
    }

    /// The second operand with the sign of the first.
    fn copy_sign(&mut self, data: &InstData, ty: Type, to: Reg, args: &[Source]) -> Printing {
        if matches!(ty, Type::F32 | Type::F64) {
            let operands: Vec<Operand> = args.iter().map(|a| self.float(*a, ty)).collect();
            self.code.put(&format!("copysign.{}", float_name(ty)), to, operands);
            return Ok(());
        }
        if ty.bits() != 16 {
            return self.no_form(data);
        }
        let [sign, size] = [args[0], args[1]].map(|a| self.int(a, Type::I16));
        let [top, rest] = [0; 2].map(|_| self.fresh(Type::I16));
        self.code.put("and.b16", top, [sign, "0x8000".into()]);
        self.code.put("and.b16", rest, [size, "0x7fff".into()]);
        self.code.put("or.b16", to, [top.into(), rest.into()]);
        Ok(())
    }

    pub(super) fn float_test(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, arg) = (self.result(inst, 0), self.body.args(inst)[0]);
        let mut ty = data.ty;
        let mut value = {
            let source = self.source(arg);
            self.float(source, ty)
        };
        let class = data.attr::<FloatClass>();
        if !matches!(ty, Type::F32 | Type::F64) {
            // What is normal is not so in a wider type.
            if matches!(class, FloatClass::Normal | FloatClass::Subnormal) {
                return self.no_form(data);
            }
            let wide = self.fresh(Type::F32);
            self.code.put(&format!("cvt.f32.{}", float_name(ty)), wide, [value]);
            (value, ty) = (wide.into(), Type::F32);
        }
        self.code.put(&format!("testp.{}.{}", class.name(), float_name(ty)), to, [value]);
        Ok(())
    }

    pub(super) fn float_compare(&mut self, inst: Inst, data: &InstData) -> Printing {
        let to = self.result(inst, 0);
        let operands: Vec<Operand> = self
            .body
            .args(inst)
            .iter()
            .map(|v| {
                let source = self.source(*v);
                self.float(source, data.ty)
            })
            .collect();
        let how = match data.attr::<FloatCmp>() {
            FloatCmp::Nan => "nan",
            how => how.name(),
        };
        let ftz = suffix::<Ftz>(data);
        if !ftz.is_empty() && !matches!(data.ty, Type::F32 | Type::F16) {
            return self.no_form(data);
        }
        self.code.put(&format!("setp.{how}{ftz}.{}", float_name(data.ty)), to, operands);
        Ok(())
    }

    // Conversions.

    pub(super) fn truncate(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let from = self.ty(value);
        // Addresses of variables fit 32 bits where those of their space do.
        if data.ty == Type::I32
            && let Some(word) = self.low_word(value)
        {
            self.code.put("mov.b32", to, [word]);
            return Ok(());
        }
        let mut source = self.reg(value);
        if from == Type::I128 {
            source = self.split(source, from, Type::I64, 2)[0];
            if data.ty == Type::I64 {
                self.code.put("mov.b64", to, [source.into()]);
                return Ok(());
            }
        }
        let from = if from == Type::I128 { Type::I64 } else { from };
        match (from.bits(), data.ty.bits()) {
            (64, 8) => self.code.put("cvt.u32.u64", to, [source.into()]),
            (32, 8) => self.code.put("mov.b32", to, [source.into()]),
            (16, 8) => self.code.put("cvt.u32.u16", to, [source.into()]),
            (have, want) => self.code.put(&format!("cvt.u{want}.u{have}"), to, [source.into()]),
        }
        Ok(())
    }

    pub(super) fn widen(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let from = self.ty(value);
        let sign = if data.op == Op::Sext { Sign::S } else { Sign::U };
        let source = self.reg(value);
        if data.ty == Type::I128 {
            let low = match from {
                Type::I64 => source,
                from => {
                    let low = self.fresh(Type::I64);
                    self.widen_to(low, source, from, sign, Type::I64);
                    low
                }
            };
            let high = self.fresh(Type::I64);
            match sign {
                Sign::S => self.code.put("shr.s64", high, [low.into(), "63".into()]),
                Sign::U => self.code.put("mov.b64", high, ["0".into()]),
            }
            self.join(to, data.ty, &[low, high], Type::I64);
            return Ok(());
        }
        self.widen_to(to, source, from, sign, data.ty);
        Ok(())
    }
    fn widen_to(&mut self, to: Reg, from: Reg, ty: Type, sign: Sign, wide: Type) {
        if ty == Type::B1 {
            let one = if sign == Sign::S { "-1" } else { "1" };
            let name = format!("selp.b{}", wide.bits().max(if wide == Type::I8 { 32 } else { 16 }));
            self.code.put(&name, to, [one.into(), "0".into(), from.into()]);
        } else {
            self.extend_to(to, from, ty, sign, wide);
        }
    }

    pub(super) fn convert_float(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let (from, ty) = (self.ty(value), data.ty);
        let source = self.source(value);
        let (ftz, sat) = (suffix::<Ftz>(data), suffix::<Sat>(data));
        let (relu, finite) = (suffix::<Relu>(data), suffix::<SatFinite>(data));
        let (f, t) = (float_name(from), float_name(ty));
        let operand = self.float(source, from);
        if !relu.is_empty() || !finite.is_empty() {
            if from == Type::F32 && ty.bits() == 16 && sat.is_empty() {
                let round = suffix::<Round>(data);
                self.code.put(&format!("cvt{round}{relu}{finite}.{t}.{f}"), to, [operand]);
                return Ok(());
            }
            if from == ty && ty.bits() == 16 && finite.is_empty() && ftz.is_empty() && sat.is_empty() {
                let zero = self.constant_reg(0, ty);
                self.code.put(&format!("max.NaN.{t}"), to, [operand, zero.into()]);
                return Ok(());
            }
            return self.no_form(data);
        }
        // A conversion to the same or a wider type is exact, but for one between the two small ones.
        let exact = from == ty || from.bits() < ty.bits();
        let round = if exact { String::new() } else { suffix::<Round>(data) };
        if from == ty && from == Type::BF16 {
            if !sat.is_empty() {
                return self.no_form(data);
            }
            self.code.put("mov.b16", to, [operand]);
            return Ok(());
        }
        self.code.put(&format!("cvt{round}{ftz}{sat}.{t}.{f}"), to, [operand]);
        Ok(())
    }

    pub(super) fn float_to_int(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let mut from = self.ty(value);
        let source = self.source(value);
        let mut operand = self.float(source, from);
        let (round, ftz) = (suffix::<Round>(data), suffix::<Ftz>(data));
        if from == Type::BF16 && data.ty == Type::I8 {
            let wide = self.fresh(Type::F32);
            self.code.put("cvt.f32.bf16", wide, [operand]);
            (operand, from) = (wide.into(), Type::F32);
        }
        let name = format!("cvt{round}i{ftz}.{}.{}", int_name(data.ty, data.attr()), float_name(from));
        self.code.put(&name, to, [operand]);
        Ok(())
    }

    pub(super) fn int_to_float(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let mut from = self.ty(value);
        let sign = data.attr::<Sign>();
        let source = self.source(value);
        let mut operand = self.int(source, from);
        if from == Type::I8 && data.ty == Type::BF16 {
            operand = self.extend(source, from, sign, Type::I16).into();
            from = Type::I16;
        }
        let (round, sat) = (suffix::<Round>(data), suffix::<Sat>(data));
        let name = format!("cvt{round}{sat}.{}.{}", float_name(data.ty), int_name(from, sign));
        self.code.put(&name, to, [operand]);
        Ok(())
    }

    /// The attributes of a conversion to a storage format as PTX writes them, where it has it on this target.
    fn narrow_name(&self, data: &InstData) -> Option<String> {
        let format = data.attr::<Narrow>();
        let older = matches!(format, Narrow::E4m3 | Narrow::E5m2);
        let newer = self.cx.has_small_formats() && format != Narrow::Tf32;
        if !older && !newer {
            return None;
        }
        let rounds = match format {
            Narrow::Ue8m0 => matches!(data.attr::<Round>(), Round::Rz | Round::Rp),
            _ => data.attr::<Round>() == Round::Rn && data.attr::<SatFinite>() == SatFinite::Yes,
        };
        let rest = data.attr::<Sat>() == Sat::No && (format != Narrow::Ue8m0 || data.attr::<Relu>() == Relu::No);
        let (round, finite, relu) = (suffix::<Round>(data), suffix::<SatFinite>(data), suffix::<Relu>(data));
        (rounds && rest).then(|| format!("cvt{round}{finite}{relu}.{}x2", format.name()))
    }

    pub(super) fn narrowed(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let source = self.source(value);
        if data.attr::<Narrow>() == Narrow::Tf32 {
            let round = suffix::<Round>(data);
            let (finite, relu) = (suffix::<SatFinite>(data), suffix::<Relu>(data));
            if data.attr::<Sat>() == Sat::Yes || !matches!(data.attr::<Round>(), Round::Rn | Round::Rz | Round::Rna) {
                return self.no_form(data);
            }
            // Away from zero it has been there longer.
            if !finite.is_empty() && data.attr::<Round>() != Round::Rna && self.cx.request.target.compute.0 < 10 {
                return self.no_form(data);
            }
            let operand = self.float(source, Type::F32);
            self.code.put(&format!("cvt{round}{finite}{relu}.tf32.f32"), to, [operand]);
            return Ok(());
        }
        let Some(name) = self.narrow_name(data) else { return self.no_form(data) };
        let mut from = self.ty(value);
        let mut operand = self.float(source, from);
        if matches!(from, Type::F16 | Type::BF16) {
            // Exact, so that it is rounded once.
            let wide = self.fresh(Type::F32);
            self.code.put(&format!("cvt.f32.{}", float_name(from)), wide, [operand]);
            (operand, from) = (wide.into(), Type::F32);
        }
        if from != Type::F32 {
            return self.no_form(data);
        }
        let pair = self.fresh(Type::I16);
        self.code.put(&format!("{name}.f32"), pair, ["0f00000000".into(), operand]);
        self.code.put("cvt.u32.u16", to, [pair.into()]);
        Ok(())
    }

    pub(super) fn widened(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, value) = (self.result(inst, 0), self.body.args(inst)[0]);
        let format = data.attr::<Narrow>();
        if !matches!(format, Narrow::E4m3 | Narrow::E5m2) {
            return self.no_form(data);
        }
        let byte = self.reg(value);
        let [half, low, high] = [0; 3].map(|_| self.fresh(Type::I16));
        let pair = self.fresh(Type::I32);
        self.code.put("cvt.u16.u32", half, [byte.into()]);
        self.code.put(&format!("cvt.rn.f16x2.{}x2", format.name()), pair, [half.into()]);
        self.code.put("mov.b32", Operand::Vector(vec![low.into(), high.into()]), [pair.into()]);
        match data.ty {
            Type::F16 => self.code.put("mov.b16", to, [low.into()]),
            Type::BF16 => {
                let wide = self.fresh(Type::F32);
                self.code.put("cvt.f32.f16", wide, [low.into()]);
                self.code.put("cvt.rn.bf16.f32", to, [wide.into()]);
            }
            ty => self.code.put(&format!("cvt.{}.f16", float_name(ty)), to, [low.into()]),
        }
        Ok(())
    }

    /// Two conversions whose results lie side by side, in one instruction.
    pub(super) fn packed_conversion(&mut self, inst: Inst, data: &InstData, to: Reg) -> bool {
        let args = self.body.args(inst);
        let [low, high] = args else { return false };
        let (Some((a, first)), Some((b, second))) = (self.def(*low), self.def(*high)) else { return false };
        let alike = first.op == second.op && first.ty == second.ty && first.attrs == second.attrs;
        if !alike || a == b || self.uses(*low) != 1 || self.uses(*high) != 1 {
            return false;
        }
        if !matches!(first.op, Op::FCvt | Op::ToNarrow | Op::FromNarrow) {
            return false;
        }
        let [x, y] = [a, b].map(|i| self.body.args(i)[0]);
        match first.op {
            Op::FCvt if matches!(first.ty, Type::F16 | Type::BF16) => {
                if self.ty(x) != Type::F32 || self.ty(y) != Type::F32 || first.attr::<Sat>() == Sat::Yes {
                    return false;
                }
                if first.attr::<Ftz>() == Ftz::Yes || !matches!(first.attr::<Round>(), Round::Rn | Round::Rz) {
                    return false;
                }
                let (round, relu, finite) = (suffix::<Round>(first), suffix::<Relu>(first), suffix::<SatFinite>(first));
                let name = format!("cvt{round}{relu}{finite}.{}x2.f32", float_name(first.ty));
                self.two_floats(&name, to, y, x);
                true
            }
            Op::ToNarrow if data.ty == Type::I16 => {
                let Some(name) = self.narrow_name(first) else { return false };
                if let Some(whole) = self.halves(x, y).filter(|v| self.ty(*v) == Type::F16X2 || self.ty(x) == Type::F16)
                {
                    let whole = self.reg(whole);
                    self.code.put(&format!("{name}.f16x2"), to, [whole.into()]);
                    return true;
                }
                if self.ty(x) != Type::F32 || self.ty(y) != Type::F32 {
                    return false;
                }
                self.two_floats(&format!("{name}.f32"), to, y, x);
                true
            }
            Op::FromNarrow if first.ty == Type::F16 && matches!(first.attr(), Narrow::E4m3 | Narrow::E5m2) => {
                let Some(whole) = self.halves(x, y) else { return false };
                let whole = self.reg(whole);
                let name = format!("cvt.rn.f16x2.{}x2", first.attr::<Narrow>().name());
                self.code.put(&name, to, [whole.into()]);
                true
            }
            _ => false,
        }
    }
    fn two_floats(&mut self, name: &str, to: Reg, first: Value, second: Value) {
        let operands = [first, second].map(|v| {
            let source = self.source(v);
            self.float(source, Type::F32)
        });
        self.code.put(name, to, operands);
    }
    /// The value of which two others are the halves, the low one first.
    fn halves(&self, low: Value, high: Value) -> Option<Value> {
        let (inst, _) = self.def_by(low, Op::Unpack)?;
        let parts = self.body.results(inst);
        (parts.len() == 2 && parts == [self.root(low), self.root(high)]).then(|| self.body.args(inst)[0])
    }
}
