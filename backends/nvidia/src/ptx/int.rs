//! Integers, bits and conditions.

use super::Unprintable;
use super::function::{Printer, Printing, Source, bits_name, suffix};
use super::text::{Operand, Reg};
use hetir::attr::{Direction, IntCmp, Relu, Sat, Sign, SignB, Wrap};
use hetir::entity::{Inst, Value};
use hetir::ir::InstData;
use hetir::op::Op;
use hetir::types::{Scalar, Type};

/// The name of a type of integers.
pub(super) fn int_name(ty: Type, sign: Sign) -> String {
    let lanes = if ty.lanes > 1 { format!("x{}", ty.lanes) } else { String::new() };
    format!("{}{}{lanes}", sign.name(), ty.scalar.bits())
}

impl Printer<'_, '_> {
    /// An op of operands of its result's type, all of one lane or of as many as there is an instruction for.
    pub(super) fn elementwise(&mut self, inst: Inst, data: &InstData) -> Printing {
        let to = self.result(inst, 0);
        let args: Vec<Source> = self.body.args(inst).iter().map(|v| self.source(*v)).collect();
        self.lanes_of(data, data.ty, to, &args)
    }

    /// The same, lane by lane where there is no instruction.
    fn lanes_of(&mut self, data: &InstData, ty: Type, to: Reg, args: &[Source]) -> Printing {
        if ty.lanes == 1 || is_packed(data, ty) {
            return self.element(data, ty, to, args);
        }
        let lane = ty.lane();
        let count = usize::from(ty.lanes);
        let mut parts = Vec::new();
        for arg in args {
            let whole = self.hold(*arg, ty);
            parts.push(self.split(whole, ty, lane, count));
        }
        let mut results = Vec::new();
        for n in 0..count {
            let result = self.fresh(lane);
            let own: Vec<Source> = parts.iter().map(|p| p[n].into()).collect();
            self.element(data, lane, result, &own)?;
            results.push(result);
        }
        self.join(to, ty, &results, lane);
        Ok(())
    }

    fn element(&mut self, data: &InstData, ty: Type, to: Reg, args: &[Source]) -> Printing {
        use Op::*;
        let ops = |p: &mut Self| -> Vec<Operand> { args.iter().map(|a| p.int(*a, ty)).collect() };
        match data.op {
            IAdd | ISub if data.attr::<Sat>() == Sat::Yes => self.saturating(data, ty, to, args),
            And | Or | Xor | Not => {
                let name = match data.op {
                    And => "and",
                    Or => "or",
                    Xor => "xor",
                    _ => "not",
                };
                if ty == Type::B1 {
                    let regs: Vec<Operand> = args.iter().map(|a| self.hold(*a, ty).into()).collect();
                    self.code.put(&format!("{name}.pred"), to, regs);
                } else {
                    let whole = word_of(ty.as_int());
                    let operands: Vec<Operand> = args.iter().map(|a| self.int(*a, whole)).collect();
                    self.code.put(&format!("{name}.{}", bits_name(whole)), to, operands);
                }
                Ok(())
            }
            IAdd | ISub | IMul | INeg if ty.scalar == Scalar::I8 => {
                let operands: Vec<Operand> = args.iter().map(|a| self.int(*a, Type::I32)).collect();
                let name = match data.op {
                    IAdd => "add.s32",
                    ISub => "sub.s32",
                    IMul => "mul.lo.s32",
                    _ => "neg.s32",
                };
                self.code.put(name, to, operands);
                Ok(())
            }
            IAdd | ISub | IMul | INeg | IAbs | IMulHi | IDiv | IRem | IMin | IMax
                if ty.scalar == Scalar::I8 || data.attr::<Relu>() == Relu::Yes && ty == Type::I16 =>
            {
                let sign = if matches!(data.op, IAbs) { Sign::S } else { data.attr() };
                let wide: Vec<Source> =
                    args.iter().map(|a| self.extend(*a, ty, sign, Type::I32)).map(Source::Reg).collect();
                let result = self.fresh(Type::I32);
                if data.op == IMulHi {
                    let operands: Vec<Operand> = wide.iter().map(|a| self.int(*a, Type::I32)).collect();
                    let product = self.fresh(Type::I32);
                    self.code.put("mul.lo.s32", product, operands);
                    self.code.put("shr.u32", result, [product.into(), ty.bits().to_string().into()]);
                } else {
                    self.element(data, Type::I32, result, &wide)?;
                }
                self.narrow(to, ty, result);
                Ok(())
            }
            IAdd | ISub => {
                let name = if data.op == IAdd { "add" } else { "sub" };
                let sign = if ty.lanes > 1 { Sign::U } else { Sign::S };
                let operands = ops(self);
                self.code.put(&format!("{name}.{}", int_name(ty, sign)), to, operands);
                Ok(())
            }
            IMul => self.plain("mul.lo", int_name(ty, Sign::S), to, ops),
            IMulHi => self.plain("mul.hi", int_name(ty, data.attr()), to, ops),
            IDiv => self.plain("div", int_name(ty, data.attr()), to, ops),
            IRem => self.plain("rem", int_name(ty, data.attr()), to, ops),
            INeg => self.plain("neg", int_name(ty, Sign::S), to, ops),
            IAbs => self.plain("abs", int_name(ty, Sign::S), to, ops),
            IMin | IMax => {
                let name = if data.op == IMin { "min" } else { "max" };
                let relu = data.attr::<Relu>() == Relu::Yes;
                let has_relu = data.attr::<Sign>() == Sign::S && matches!(ty, Type::I32 | Type::I16X2);
                if relu && !has_relu {
                    return self.no_form(data);
                }
                let operands = ops(self);
                let relu = if relu { ".relu" } else { "" };
                self.code.put(&format!("{name}{relu}.{}", int_name(ty, data.attr())), to, operands);
                Ok(())
            }
            FAdd | FSub | FMul | FFma | FNeg | FAbs | FMin | FMax | FCopysign | FApprox | FDivApprox | FDiv | FRcp
            | FSqrt | FRound => self.float_element(data, ty, to, args),
            _ => self.no_form(data),
        }
    }

    fn plain(&mut self, name: &str, ty: String, to: Reg, operands: impl Fn(&mut Self) -> Vec<Operand>) -> Printing {
        let operands = operands(self);
        self.code.put(&format!("{name}.{ty}"), to, operands);
        Ok(())
    }

    fn saturating(&mut self, data: &InstData, ty: Type, to: Reg, args: &[Source]) -> Printing {
        let name = if data.op == Op::IAdd { "add" } else { "sub" };
        match ty {
            Type::I32 => {
                let operands: Vec<Operand> = args.iter().map(|a| self.int(*a, ty)).collect();
                self.code.put(&format!("{name}.sat.s32"), to, operands);
                Ok(())
            }
            Type::I8 | Type::I16 => {
                let wide: Vec<Operand> = args.iter().map(|a| self.extend(*a, ty, Sign::S, Type::I32).into()).collect();
                let [sum, low, high] = [0; 3].map(|_| self.fresh(Type::I32));
                let top = (1i64 << (ty.bits() - 1)) - 1;
                self.code.put(&format!("{name}.s32"), sum, wide);
                self.code.put("max.s32", low, [sum.into(), (-top - 1).to_string().into()]);
                self.code.put("min.s32", high, [low.into(), top.to_string().into()]);
                self.narrow(to, ty, high);
                Ok(())
            }
            _ => self.no_form(data),
        }
    }

    /// A byte or half word extended to a wider register.
    pub(super) fn extend(&mut self, from: Source, ty: Type, sign: Sign, to: Type) -> Reg {
        let (from, result) = (self.hold(from, ty), self.fresh(to));
        self.extend_to(result, from, ty, sign, to);
        result
    }
    pub(super) fn extend_to(&mut self, result: Reg, from: Reg, ty: Type, sign: Sign, to: Type) {
        let name = format!("cvt.{}{}.{}{}", sign.name(), to.bits(), sign.name(), ty.bits());
        self.code.put(&name, result, [from.into()]);
    }
    /// The low bits of a word.
    pub(super) fn narrow(&mut self, to: Reg, ty: Type, word: Reg) {
        match ty {
            Type::I8 => self.code.put("mov.b32", to, [word.into()]),
            _ => self.code.put("cvt.u16.u32", to, [word.into()]),
        }
    }

    /// Parts of a register, the low one first.
    pub(super) fn split(&mut self, whole: Reg, ty: Type, part: Type, count: usize) -> Vec<Reg> {
        let parts: Vec<Reg> = (0..count).map(|_| self.fresh(part)).collect();
        self.split_to(whole, ty, &parts, part);
        parts
    }
    pub(super) fn split_to(&mut self, whole: Reg, ty: Type, parts: &[Reg], part: Type) {
        if part.bits() != 8 {
            let all = parts.iter().map(|r| Operand::Reg(*r)).collect();
            self.code.put(&format!("mov.{}", bits_name(ty)), Operand::Vector(all), [whole.into()]);
            return;
        }
        // Bytes have no registers of their own.
        match ty.bits() {
            16 => {
                self.code.put("cvt.u32.u16", parts[0], [whole.into()]);
                self.code.put("shr.u32", parts[1], [parts[0].into(), "8".into()]);
            }
            32 => {
                self.code.put("mov.b32", parts[0], [whole.into()]);
                for (n, part) in parts.iter().enumerate().skip(1) {
                    self.code.put("shr.u32", *part, [whole.into(), (8 * n).to_string().into()]);
                }
            }
            _ => {
                let halves = self.split(whole, ty, Type::I32, (ty.bits() / 32) as usize);
                for (half, parts) in halves.into_iter().zip(parts.chunks(4)) {
                    self.split_to(half, Type::I32, parts, part);
                }
            }
        }
    }
    /// The opposite.
    pub(super) fn join(&mut self, to: Reg, ty: Type, parts: &[Reg], part: Type) {
        if part.bits() != 8 {
            let all = parts.iter().map(|r| Operand::Reg(*r)).collect();
            self.code.put(&format!("mov.{}", bits_name(ty)), to, [Operand::Vector(all)]);
            return;
        }
        let pair = |p: &mut Self, a: Reg, b: Reg| {
            let both = p.fresh(Type::I32);
            p.code.put("prmt.b32", both, [a.into(), b.into(), "0x7740".into()]);
            both
        };
        match ty.bits() {
            16 => {
                let both = pair(self, parts[0], parts[1]);
                self.code.put("cvt.u16.u32", to, [both.into()]);
            }
            32 => {
                let (low, high) = (pair(self, parts[0], parts[1]), pair(self, parts[2], parts[3]));
                self.code.put("prmt.b32", to, [low.into(), high.into(), "0x5410".into()]);
            }
            _ => {
                let words: Vec<Reg> = parts
                    .chunks(4)
                    .map(|four| {
                        let word = self.fresh(Type::I32);
                        self.join(word, Type::I32, four, part);
                        word
                    })
                    .collect();
                self.join(to, ty, &words, Type::I32);
            }
        }
    }

    pub(super) fn multiply_wide(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, sign) = (self.result(inst, 0), data.attr::<Sign>());
        let args: Vec<Source> = self.body.args(inst).iter().map(|v| self.source(*v)).collect();
        if data.ty == Type::I8 {
            let wide: Vec<Operand> = args.iter().map(|a| self.extend(*a, Type::I8, sign, Type::I16).into()).collect();
            self.code.put("mul.lo.s16", to, wide);
        } else {
            let operands: Vec<Operand> = args.iter().map(|a| self.int(*a, data.ty)).collect();
            self.code.put(&format!("mul.wide.{}", int_name(data.ty, sign)), to, operands);
        }
        Ok(())
    }

    /// A sum, with a product where the program's own text has both in one instruction.
    pub(super) fn sum(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst);
        let one_lane = data.ty.lanes == 1 && data.ty != Type::I8;
        if let Some((product, name)) = self.product(args[0], inst).filter(|_| one_lane) {
            let sat = data.attr::<Sat>() == Sat::Yes;
            if !sat || name == "hi" && data.ty == Type::I32 {
                let inner = self.body.inst(product);
                let mut operands: Vec<Operand> = self.body.args(product).iter().map(|v| self.word(*v)).collect();
                operands.push(self.word(args[1]));
                let sign = if inner.op == Op::IMul { Sign::S } else { inner.attr() };
                let to = self.result(inst, 0);
                let sat = if sat { ".sat" } else { "" };
                self.code.put(&format!("mad.{name}{sat}.{}", int_name(inner.ty, sign)), to, operands);
                return Ok(());
            }
        }
        self.elementwise(inst, data)
    }
    /// The product that a value is, for this instruction alone.
    fn product(&self, value: Value, of: Inst) -> Option<(Inst, &'static str)> {
        let (inst, data) = self.def(value)?;
        let name = match data.op {
            Op::IMul => "lo",
            Op::IMulHi => "hi",
            Op::IMulWide => "wide",
            _ => return None,
        };
        let same_place = self.body.spans[inst.index()] == self.body.spans[of.index()];
        (self.uses(value) == 1 && same_place && data.ty.lanes == 1 && data.ty != Type::I8).then_some((inst, name))
    }

    pub(super) fn shift(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, args) = (self.result(inst, 0), self.body.args(inst));
        let (value, amount) = (self.source(args[0]), self.word(args[1]));
        let sign = data.attr::<Sign>();
        let (name, ty) = if data.op == Op::Shl { ("shl.b", data.ty) } else { ("shr.", data.ty) };
        if ty == Type::I8 {
            let wide = self.extend(value, ty, sign, Type::I32);
            let name = if data.op == Op::Shl { "shl.b32".into() } else { format!("shr.{}32", sign.name()) };
            self.code.put(&name, to, [wide.into(), amount]);
            return Ok(());
        }
        let value = self.int(value, ty);
        let kind = if data.op == Op::Shl { "" } else { sign.name() };
        self.code.put(&format!("{name}{kind}{}", ty.bits()), to, [value, amount]);
        Ok(())
    }

    /// An instruction on words, all of whose operands may be numbers.
    pub(super) fn words(&mut self, inst: Inst, name: &str) -> Printing {
        let operands: Vec<Operand> = self.body.args(inst).iter().map(|v| self.word(*v)).collect();
        let to = self.result(inst, 0);
        self.code.put(name, to, operands);
        Ok(())
    }

    pub(super) fn bit_op(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (ty, sign) = (data.ty, data.attr::<Sign>());
        let wrap = if data.attr::<Wrap>() == Wrap::Wrap { "wrap" } else { "clamp" };
        let name = match data.op {
            Op::Popc => format!("popc.b{}", ty.bits()),
            Op::Clz => format!("clz.b{}", ty.bits()),
            Op::Brev => format!("brev.b{}", ty.bits()),
            Op::Bfind => format!("bfind.{}", int_name(ty, sign)),
            Op::Bfe => format!("bfe.{}", int_name(ty, sign)),
            Op::Bfi => format!("bfi.b{}", ty.bits()),
            Op::Bmsk => format!("bmsk.{wrap}.b32"),
            Op::Fns => "fns.b32".into(),
            Op::Szext => format!("szext.{wrap}.{}32", sign.name()),
            Op::Prmt => format!("prmt.b32{}", suffix::<hetir::attr::Permute>(data)),
            Op::Shf => {
                let direction = if data.attr::<Direction>() == Direction::Left { "l" } else { "r" };
                format!("shf.{direction}.{wrap}.b32")
            }
            Op::Dp4a | Op::Dp2a => {
                let signs = (sign.name(), if data.attr::<SignB>() == SignB::S { "s" } else { "u" });
                let half = suffix::<hetir::attr::Half>(data);
                let half = if data.op == Op::Dp2a { half } else { String::new() };
                format!("{}{half}.{}32.{}32", data.op.info().name, signs.0, signs.1)
            }
            _ => return self.no_form(data),
        };
        self.words(inst, &name)
    }

    pub(super) fn lop3(&mut self, inst: Inst, data: &InstData) -> Printing {
        let mut operands: Vec<Operand> = self.body.args(inst).iter().map(|v| self.word(*v)).collect();
        operands.push(data.imm.to_string().into());
        let to = self.result(inst, 0);
        self.code.put("lop3.b32", to, operands);
        Ok(())
    }

    pub(super) fn compare(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, args) = (self.result(inst, 0), self.body.args(inst));
        let (how, sign, ty) = (data.attr::<IntCmp>(), data.attr::<Sign>(), data.ty);
        match ty.bits() {
            1 => return self.compare_conditions(to, how, sign, args),
            8 => {
                let [a, b] = [args[0], args[1]].map(|v| self.source(v));
                let wide = [a, b].map(|s| self.extend(s, ty, sign, Type::I32).into());
                self.code.put(&format!("setp.{}.{}32", how.name(), sign.name()), to, wide);
            }
            128 => {
                let [a, b] = [args[0], args[1]].map(|v| {
                    let whole = self.reg(v);
                    self.split(whole, ty, Type::I64, 2)
                });
                let [low, high, any] = [0; 3].map(|_| self.fresh(Type::I64));
                self.code.put("xor.b64", low, [a[0].into(), b[0].into()]);
                self.code.put("xor.b64", high, [a[1].into(), b[1].into()]);
                self.code.put("or.b64", any, [low.into(), high.into()]);
                self.code.put(&format!("setp.{}.s64", how.name()), to, [any.into(), "0".into()]);
            }
            _ => {
                let operands: Vec<Operand> = args.iter().map(|v| self.word(*v)).collect();
                self.code.put(&format!("setp.{}.{}", how.name(), int_name(ty, sign)), to, operands);
            }
        }
        Ok(())
    }
    /// A comparison of conditions: as signed numbers they are 0 and -1.
    fn compare_conditions(&mut self, to: Reg, how: IntCmp, sign: Sign, args: &[Value]) -> Printing {
        let [a, b] = [args[0], args[1]].map(|v| {
            let pred = self.reg(v);
            let number = self.fresh(Type::I32);
            let one = if sign == Sign::S { "-1" } else { "1" };
            self.code.put("selp.b32", number, [one.into(), "0".into(), pred.into()]);
            Operand::Reg(number)
        });
        self.code.put(&format!("setp.{}.s32", how.name()), to, [a, b]);
        Ok(())
    }

    /// The value whose highest bit a selection tells the distance of from the top, where it is one of PTX's own instruction.
    fn shift_amount(&self, args: &[Value]) -> Option<Inst> {
        let (difference, _) = self.def_by(args[2], Op::ISub)?;
        let parts = self.body.args(difference);
        let (found, of) = self.def_by(parts[1], Op::Bfind)?;
        let (test, how) = self.def_by(args[0], Op::ICmp).filter(|(_, data)| data.attr::<IntCmp>() == IntCmp::Eq)?;
        let tested = self.body.args(test);
        let none = u64::from(u32::MAX);
        let same = self.root(tested[0]) == self.root(parts[1]) && how.ty == Type::I32;
        let top = u64::from(of.ty.bits() - 1);
        let numbers = [(args[1], none), (tested[1], none), (parts[0], top)];
        (same && numbers.iter().all(|(v, n)| self.constant(*v) == Some(*n))).then_some(found)
    }

    pub(super) fn select(&mut self, inst: Inst, data: &InstData) -> Printing {
        let (to, args) = (self.result(inst, 0), self.body.args(inst).to_vec());
        if let Some(found) = self.shift_amount(&args).filter(|_| data.ty == Type::I32) {
            let inner = self.body.inst(found);
            let value = self.word(self.body.args(found)[0]);
            self.code.put(&format!("bfind.shiftamt.{}", int_name(inner.ty, inner.attr())), to, [value]);
            return Ok(());
        }
        let (condition, negated) = self.positive(args[0]);
        let condition = self.reg(condition);
        let (yes, no) = if negated { (args[2], args[1]) } else { (args[1], args[2]) };
        match data.ty.bits() {
            1 => {
                let [yes, no] = [yes, no].map(|v| self.reg(v));
                let [a, not, b] = [0; 3].map(|_| self.fresh(Type::B1));
                self.code.put("and.pred", a, [condition.into(), yes.into()]);
                self.code.put("not.pred", not, [condition.into()]);
                self.code.put("and.pred", b, [not.into(), no.into()]);
                self.code.put("or.pred", to, [a.into(), b.into()]);
            }
            128 => {
                let [yes, no] = [yes, no].map(|v| {
                    let whole = self.reg(v);
                    self.split(whole, data.ty, Type::I64, 2)
                });
                let halves: Vec<Reg> = (0..2)
                    .map(|n| {
                        let half = self.fresh(Type::I64);
                        self.code.put("selp.b64", half, [yes[n].into(), no[n].into(), condition.into()]);
                        half
                    })
                    .collect();
                self.join(to, data.ty, &halves, Type::I64);
            }
            _ if matches!(data.ty, Type::F32 | Type::F64) => {
                let operands = [yes, no].map(|v| {
                    let source = self.source(v);
                    self.float(source, data.ty)
                });
                let [yes, no] = operands;
                self.code.put(&format!("selp.f{}", data.ty.bits()), to, [yes, no, condition.into()]);
            }
            bits => {
                let whole = word_of(data.ty.as_int());
                let [yes, no] = [yes, no].map(|v| {
                    let source = self.source(v);
                    self.int(source, whole)
                });
                self.code.put(&format!("selp.b{}", bits.max(16).max(whole.bits())), to, [yes, no, condition.into()]);
            }
        }
        Ok(())
    }

    /// Sums and differences with carry, by the carry flag. It holds the carry of a sum, and the opposite of a difference's
    /// borrow.
    pub(super) fn with_carry(&mut self, inst: Inst, data: &InstData) -> Printing {
        let args = self.body.args(inst);
        let is_sum = data.op == Op::IAddC;
        let (sum, carry) = (self.result(inst, 0), self.body.results(inst)[1]);
        let none = self.constant(args[2]).is_some_and(|c| c & 1 == 0);
        let wanted = {
            let (value, negated) = self.positive(args[2]);
            (value, negated == is_sum)
        };
        if !none && self.carry != Some(wanted) {
            self.set_carry(args[2], !is_sum);
        }
        let flag = if self.uses(carry) > 0 { ".cc" } else { "" };
        let with = if none { "" } else { "c" };
        let ty = int_name(data.ty, Sign::U);
        match self.product(args[0], inst).filter(|(_, name)| is_sum && *name != "wide") {
            Some((product, half)) => {
                let inner = self.body.inst(product);
                let sign = if inner.op == Op::IMul { Sign::U } else { inner.attr() };
                let mut operands: Vec<Operand> = self.body.args(product).iter().map(|v| self.word(*v)).collect();
                operands.push(self.word(args[1]));
                let name = format!("mad{with}.{half}{flag}.{}", int_name(data.ty, sign));
                self.flagged(&name, sum, operands);
            }
            None => {
                let operands: Vec<Operand> = args[..2].iter().map(|v| self.word(*v)).collect();
                let name = if is_sum { "add" } else { "sub" };
                self.flagged(&format!("{name}{with}{flag}.{ty}"), sum, operands);
            }
        }
        if self.uses(carry) > 0 {
            self.carry = Some((self.root(carry), !is_sum));
            // The flag as a condition, where something asks for it.
            let (number, pred) = (self.fresh(Type::I32), self.result(inst, 1));
            self.code.put("addc.u32", number, ["0".into(), "0".into()]);
            let how = if is_sum { "ne" } else { "eq" };
            self.code.put(&format!("setp.{how}.u32"), pred, [number.into(), "0".into()]);
        }
        Ok(())
    }
    fn flagged(&mut self, name: &str, to: Reg, operands: Vec<Operand>) {
        if name.contains(".cc") {
            self.code.act(name, [to.into()], operands);
        } else {
            self.code.put(name, to, operands);
        }
    }
    fn set_carry(&mut self, value: Value, negated: bool) {
        let pred = self.reg(value);
        let [number, unused] = [0; 2].map(|_| self.fresh(Type::I32));
        let (yes, no) = if negated { ("0", "1") } else { ("1", "0") };
        self.code.put("selp.b32", number, [yes.into(), no.into(), pred.into()]);
        self.code.act("add.cc.u32", [unused.into()], [number.into(), "-1".into()]);
    }

    pub(super) fn pack(&mut self, inst: Inst, data: &InstData) -> Result<(), Unprintable> {
        let args = self.body.args(inst);
        let part = self.ty(args[0]);
        let to = self.result(inst, 0);
        if args.len() == 1 {
            let from = self.source(args[0]);
            self.move_to(to, from, part);
            return Ok(());
        }
        if self.packed_conversion(inst, data, to) {
            return Ok(());
        }
        let parts: Vec<Reg> = args.iter().map(|v| self.reg(*v)).collect();
        self.join(to, data.ty, &parts, part);
        Ok(())
    }
    pub(super) fn unpack(&mut self, inst: Inst) -> Printing {
        let value = self.body.args(inst)[0];
        let (whole, ty) = (self.reg(value), self.ty(value));
        let results = self.body.results(inst);
        let part = self.ty(results[0]);
        let parts: Vec<Reg> = (0..results.len()).map(|n| self.result(inst, n)).collect();
        if let [only] = parts[..] {
            self.move_to(only, whole.into(), part);
        } else {
            self.split_to(whole, ty, &parts, part);
        }
        Ok(())
    }
}

/// Whether there is an instruction for all lanes at once.
fn is_packed(data: &InstData, ty: Type) -> bool {
    use Op::*;
    match data.op {
        And | Or | Xor | Not => true,
        IAdd => ty == Type::I16X2 && data.attr::<Sat>() == Sat::No,
        IMin | IMax => ty == Type::I16X2,
        FAdd | FSub | FMul | FFma | FNeg | FAbs | FMin | FMax | FApprox => {
            matches!(ty, Type::F16X2 | Type::BF16X2)
        }
        _ => false,
    }
}

/// The register type that holds an integer.
fn word_of(ty: Type) -> Type {
    if ty.bits() == 8 { Type::I32 } else { ty }
}
