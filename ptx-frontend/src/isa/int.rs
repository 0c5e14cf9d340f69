//! Integer, logic, shift and bit instructions, and moves of whole values.

use super::{Form, Lifted, form};
use crate::ast::OperandKind;
use crate::lift::{Kind, Lifter, Ty};
use hetir::attr::{Direction, Half, IntCmp, Permute, Relu, Sat, Sign, SignB, Wrap};
use hetir::build::Attrs;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const INTEGERS: &str = "type=u16 u32 u64 s16 s32 s64";
const SIGNED: &str = "type=s16 s32 s64";
const WORDS: &str = "type=u32 s32 u64 s64";
const B_WORDS: &str = "type=b32 b64";
const BITS: &str = "type=b16 b32 b64";
const LOGIC: &str = "type=pred b16 b32 b64";
const CLAMP_WRAP: &str = "mode=clamp wrap";

pub(crate) const FORMS: &[Form] = &[
    form("add.type d, a, b", &["type=u16 u32 u64 s16 s32 s64 u16x2 s16x2"], |c| c.binary(Op::IAdd)),
    form("add.sat.s32 d, a, b", &[], |c| c.binary(Attrs::of(Op::IAdd).with(Sat::Yes))),
    form("sub.type d, a, b", &[INTEGERS], |c| c.binary(Op::ISub)),
    form("sub.sat.s32 d, a, b", &[], |c| c.binary(Attrs::of(Op::ISub).with(Sat::Yes))),
    form("mul.lo.type d, a, b", &[INTEGERS], |c| c.binary(Op::IMul)),
    form("mul.hi.type d, a, b", &[INTEGERS], |c| {
        let ty = c.ty()?;
        c.binary(Attrs::of(Op::IMulHi).with(ty.sign))
    }),
    form("mul.wide.type d, a, b", &["type=u16 u32 s16 s32"], |c| {
        let ty = c.ty()?;
        let (a, b) = (c.src(1, ty)?, c.src(2, ty)?);
        let (product, wide) = c.wide_product(ty, a, b);
        c.dst(0, wide, product)
    }),
    form("mad.lo.type d, a, b, c", &[INTEGERS], |c| {
        let ty = c.ty()?;
        let (x, y, z) = c.three(ty)?;
        let product = c.op(Op::IMul, ty.ir, &[x, y]);
        let sum = c.op(Op::IAdd, ty.ir, &[product, z]);
        c.dst(0, ty, sum)
    }),
    form("mad.hi.type d, a, b, c", &[INTEGERS], |c| c.mad_hi(Sat::No)),
    form("mad.hi.sat.s32 d, a, b, c", &[], |c| c.mad_hi(Sat::Yes)),
    form("mad.wide.type d, a, b, c", &["type=u16 u32 s16 s32"], |c| {
        let ty = c.ty()?;
        let (a, b) = (c.src(1, ty)?, c.src(2, ty)?);
        let (product, wide) = c.wide_product(ty, a, b);
        let addend = c.src(3, wide)?;
        let sum = c.op(Op::IAdd, wide.ir, &[product, addend]);
        c.dst(0, wide, sum)
    }),
    form("mul24.mode.type d, a, b", &["mode=hi lo", "type=u32 s32"], |c| {
        let ty = c.ty()?;
        let product = c.product24(ty)?;
        c.dst(0, ty, product)
    }),
    form("mad24.mode.type d, a, b, c", &["mode=hi lo", "type=u32 s32"], |c| c.mad24(Sat::No)),
    form("mad24.hi.sat.s32 d, a, b, c", &[], |c| c.mad24(Sat::Yes)),
    form("sad.type d, a, b, c", &[INTEGERS], |c| {
        let ty = c.ty()?;
        let (x, y, z) = c.three(ty)?;
        let high = c.op(Attrs::of(Op::IMax).with(ty.sign), ty.ir, &[x, y]);
        let low = c.op(Attrs::of(Op::IMin).with(ty.sign), ty.ir, &[x, y]);
        let distance = c.op(Op::ISub, ty.ir, &[high, low]);
        let sum = c.op(Op::IAdd, ty.ir, &[z, distance]);
        c.dst(0, ty, sum)
    }),
    form("div.type d, a, b", &[INTEGERS], |c| {
        let ty = c.ty()?;
        c.binary(Attrs::of(Op::IDiv).with(ty.sign))
    }),
    form("rem.type d, a, b", &[INTEGERS], |c| {
        let ty = c.ty()?;
        c.binary(Attrs::of(Op::IRem).with(ty.sign))
    }),
    form("abs.type d, a", &[SIGNED], |c| c.unary(Op::IAbs)),
    form("neg.type d, a", &[SIGNED], |c| c.unary(Op::INeg)),
    form("min.type d, a, b", &["type=u16 u32 u64 u16x2 s16 s64"], |c| c.min_max(Op::IMin)),
    form("min{.relu}.type d, a, b", &["type=s16x2 s32"], |c| c.min_max(Op::IMin)),
    form("max.type d, a, b", &["type=u16 u32 u64 u16x2 s16 s64"], |c| c.min_max(Op::IMax)),
    form("max{.relu}.type d, a, b", &["type=s16x2 s32"], |c| c.min_max(Op::IMax)),
    form("add.cc.type d, a, b", &[WORDS], |c| c.add_carry(false, true)),
    form("addc{.cc}.type d, a, b", &[WORDS], |c| {
        let out = c.has("cc");
        c.add_carry(true, out)
    }),
    form("sub.cc.type d, a, b", &[WORDS], |c| c.sub_borrow(false, true)),
    form("subc{.cc}.type d, a, b", &[WORDS], |c| {
        let out = c.has("cc");
        c.sub_borrow(true, out)
    }),
    form("mad.half.cc.type d, a, b, c", &["half=hi lo", WORDS], |c| c.mad_carry(false, true)),
    form("madc.half{.cc}.type d, a, b, c", &["half=hi lo", WORDS], |c| {
        let out = c.has("cc");
        c.mad_carry(true, out)
    }),
    form("and.type d, a, b", &[LOGIC], |c| c.binary(Op::And)),
    form("or.type d, a, b", &[LOGIC], |c| c.binary(Op::Or)),
    form("xor.type d, a, b", &[LOGIC], |c| c.binary(Op::Xor)),
    form("not.type d, a", &[LOGIC], |c| c.unary(Op::Not)),
    form("cnot.type d, a", &[BITS], |c| {
        let ty = c.ty()?;
        let a = c.src(1, ty)?;
        let (zero, one) = (c.constant(ty.ir, 0), c.constant(ty.ir, 1));
        let is_zero = c.op(Op::ICmp, ty.ir, &[a, zero]);
        let result = c.op(Op::Select, ty.ir, &[is_zero, one, zero]);
        c.dst(0, ty, result)
    }),
    form("shl.type d, a, b", &[BITS], |c| c.shift(Op::Shl)),
    form("shr.type d, a, b", &["type=b16 b32 b64 u16 u32 u64 s16 s32 s64"], |c| c.shift(Op::Shr)),
    form("shf.dir.mode.b32 d, a, b, c", &["dir=l r", CLAMP_WRAP], |c| {
        let direction = if c.word("dir") == Some("l") { Direction::Left } else { Direction::Right };
        let ty = Ty::known("b32");
        let args = [c.src(1, ty)?, c.src(2, ty)?, c.src_u32(3)?];
        let attrs = Attrs::of(Op::Shf).with(direction).with(c.wrap());
        let result = c.op(attrs, ty.ir, &args);
        c.dst(0, ty, result)
    }),
    form("popc.type d, a", &[B_WORDS], |c| c.count(Op::Popc.into())),
    form("clz.type d, a", &[B_WORDS], |c| c.count(Op::Clz.into())),
    form("brev.type d, a", &[B_WORDS], |c| c.unary(Op::Brev)),
    form("bfind.type d, a", &[WORDS], |c| {
        let sign = c.ty()?.sign;
        c.count(Attrs::of(Op::Bfind).with(sign))
    }),
    form("bfind.shiftamt.type d, a", &[WORDS], |c| {
        let ty = c.ty()?;
        let a = c.src(1, ty)?;
        let found = c.op(Attrs::of(Op::Bfind).with(ty.sign), ty.ir, &[a]);
        let none = c.constant(Type::I32, u64::MAX);
        let top = c.constant(Type::I32, u64::from(ty.ir.bits() - 1));
        let is_none = c.op(Op::ICmp, Type::I32, &[found, none]);
        let amount = c.op(Op::ISub, Type::I32, &[top, found]);
        let result = c.op(Op::Select, Type::I32, &[is_none, none, amount]);
        c.dst(0, Ty::known("u32"), result)
    }),
    form("bfe.type d, a, b, c", &[WORDS], |c| {
        let ty = c.ty()?;
        let args = [c.src(1, ty)?, c.src_u32(2)?, c.src_u32(3)?];
        let result = c.op(Attrs::of(Op::Bfe).with(ty.sign), ty.ir, &args);
        c.dst(0, ty, result)
    }),
    form("bfi.type f, a, b, c, d", &[B_WORDS], |c| {
        let ty = c.ty()?;
        let args = [c.src(1, ty)?, c.src(2, ty)?, c.src_u32(3)?, c.src_u32(4)?];
        let result = c.op(Op::Bfi, ty.ir, &args);
        c.dst(0, ty, result)
    }),
    form("bmsk.mode.b32 d, a, b", &[CLAMP_WRAP], |c| {
        let attrs = Attrs::of(Op::Bmsk).with(c.wrap());
        let args = [c.src_u32(1)?, c.src_u32(2)?];
        let result = c.op(attrs, Type::I32, &args);
        c.dst(0, Ty::known("u32"), result)
    }),
    form("fns.b32 d, mask, base, offset", &[], |c| {
        let args = [c.src(1, Ty::known("b32"))?, c.src(2, Ty::known("b32"))?, c.src(3, Ty::known("s32"))?];
        let result = c.op(Op::Fns, Type::I32, &args);
        c.dst(0, Ty::known("b32"), result)
    }),
    form("szext.mode.type d, a, b", &[CLAMP_WRAP, "type=u32 s32"], |c| {
        let ty = c.ty()?;
        let attrs = Attrs::of(Op::Szext).with(ty.sign).with(c.wrap());
        let args = [c.src(1, ty)?, c.src_u32(2)?];
        let result = c.op(attrs, ty.ir, &args);
        c.dst(0, ty, result)
    }),
    form("lop3.b32 d, a, b, c, immLut", &[], |c| {
        let ty = Ty::known("b32");
        let result = c.lop3(ty)?;
        c.dst(0, ty, result)
    }),
    form("lop3.BoolOp.b32 d|p, a, b, c, immLut, q", &["BoolOp=or and"], |c| {
        let ty = Ty::known("b32");
        let result = c.lop3(ty)?;
        let q = c.src_pred(5)?;
        let zero = c.constant(ty.ir, 0);
        let set = c.op(Attrs::of(Op::ICmp).with(IntCmp::Ne), ty.ir, &[result, zero]);
        let op = if c.word("BoolOp") == Some("or") { Op::Or } else { Op::And };
        let p = c.op(op, Type::B1, &[set, q]);
        let (d, predicate) = c.pair(0);
        c.write(d, ty, result, false)?;
        c.write(predicate, Ty::known("pred"), p, false)
    }),
    form("prmt.b32{.mode} d, a, b, c", &["mode=f4e b4e rc8 ecl ecr rc16"], |c| {
        let mode = match c.word("mode") {
            Some("f4e") => Permute::F4e,
            Some("b4e") => Permute::B4e,
            Some("rc8") => Permute::Rc8,
            Some("ecl") => Permute::Ecl,
            Some("ecr") => Permute::Ecr,
            Some("rc16") => Permute::Rc16,
            _ => Permute::Index,
        };
        let ty = Ty::known("b32");
        let args = [c.src(1, ty)?, c.src(2, ty)?, c.src(3, ty)?];
        let result = c.op(Attrs::of(Op::Prmt).with(mode), ty.ir, &args);
        c.dst(0, ty, result)
    }),
    form("dp4a.atype.btype d, a, b, c", &["atype=u32 s32", "btype=u32 s32"], |c| c.dot(Attrs::of(Op::Dp4a))),
    form("dp2a.mode.atype.btype d, a, b, c", &["mode=lo hi", "atype=u32 s32", "btype=u32 s32"], |c| {
        let half = if c.word("mode") == Some("lo") { Half::Lo } else { Half::Hi };
        c.dot(Attrs::of(Op::Dp2a).with(half))
    }),
    form("setp.cmp.type p{|q}, a, b", &["cmp=eq ne lt le gt ge lo ls hi hs", COMPARED], |c| {
        let holds = c.compare_integers()?;
        c.set_predicates(holds)
    }),
    form("setp.cmp.BoolOp.type p{|q}, a, b, {!}c", &["cmp=eq ne lt le gt ge lo ls hi hs", BOOL, COMPARED], |c| {
        let holds = c.compare_integers()?;
        c.set_predicates(holds)
    }),
    form("set.cmp.dtype.type d, a, b", &["cmp=eq ne lt le gt ge lo ls hi hs", SET_RESULT, COMPARED], |c| {
        let holds = c.compare_integers()?;
        c.set_value(holds)
    }),
    form(
        "set.cmp.BoolOp.dtype.type d, a, b, {!}c",
        &["cmp=eq ne lt le gt ge lo ls hi hs", BOOL, SET_RESULT, COMPARED],
        |c| {
            let holds = c.compare_integers()?;
            let holds = c.combine(holds, 3)?;
            c.set_value(holds)
        },
    ),
    form("selp.type d, a, b, c", &["type=b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64"], |c| {
        let ty = c.ty()?;
        let (a, b, p) = (c.src(1, ty)?, c.src(2, ty)?, c.src_pred(3)?);
        let result = c.op(Op::Select, ty.ir, &[p, a, b]);
        c.dst(0, ty, result)
    }),
    form("slct.dtype.s32 d, a, b, c", &["dtype=b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64"], |c| {
        let ty = c.part_ty("dtype")?;
        let (a, b, by) = (c.src(1, ty)?, c.src(2, ty)?, c.src(3, Ty::known("s32"))?);
        let zero = c.constant(Type::I32, 0);
        let at_least = c.op(Attrs::of(Op::ICmp).with(IntCmp::Ge).with(Sign::S), Type::I32, &[by, zero]);
        let result = c.op(Op::Select, ty.ir, &[at_least, a, b]);
        c.dst(0, ty, result)
    }),
    form("mov.type d, a", &["type=pred b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64 b128"], |c| c.mov()),
    form("mov.vec.type d, a", &["vec=v2 v4", "type=b16 b32 b64 u16 u32 u64 s16 s32 s64 f32 f64"], |c| {
        let ty = c.ty()?;
        let count = c.lanes();
        if count as u32 * ty.ir.bits() > 128 {
            return Err(c.error(format!("{count} values of .{} are more than a vector holds", ty.name)));
        }
        let values = c.src_elements(1, ty, count, false)?;
        c.dst_elements(0, ty, &values, false)
    }),
];

const COMPARED: &str = "type=b16 b32 b64 u16 u32 u64 s16 s32 s64";
pub(super) const BOOL: &str = "BoolOp=and or xor";
pub(super) const SET_RESULT: &str = "dtype=u32 s32 f32 f16 bf16";

impl Lifter<'_, '_> {
    /// d = op(a)
    pub(super) fn unary(&mut self, op: impl Into<Attrs>) -> Lifted {
        let ty = self.ty()?;
        let a = self.src(1, ty)?;
        let result = self.op(op, ty.ir, &[a]);
        self.dst(0, ty, result)
    }
    /// d = op(a, b)
    pub(super) fn binary(&mut self, op: impl Into<Attrs>) -> Lifted {
        let ty = self.ty()?;
        let (a, b) = (self.src(1, ty)?, self.src(2, ty)?);
        let result = self.op(op, ty.ir, &[a, b]);
        self.dst(0, ty, result)
    }
    pub(super) fn three(&mut self, ty: Ty) -> Result<(Value, Value, Value), Box<hetir::diag::Diagnostic>> {
        Ok((self.src(1, ty)?, self.src(2, ty)?, self.src(3, ty)?))
    }
    fn count(&mut self, attrs: Attrs) -> Lifted {
        let ty = self.ty()?;
        let a = self.src(1, ty)?;
        let result = self.op(attrs, ty.ir, &[a]);
        self.dst(0, Ty::known("u32"), result)
    }
    fn wrap(&self) -> Wrap {
        if self.word("mode") == Some("wrap") { Wrap::Wrap } else { Wrap::Clamp }
    }
    fn wide_product(&mut self, ty: Ty, a: Value, b: Value) -> (Value, Ty) {
        let wide = match ty.name {
            "u16" => "u32",
            "s16" => "s32",
            "u32" => "u64",
            _ => "s64",
        };
        (self.op(Attrs::of(Op::IMulWide).with(ty.sign), ty.ir, &[a, b]), Ty::known(wide))
    }
    fn mad_hi(&mut self, sat: Sat) -> Lifted {
        let ty = self.ty()?;
        let (x, y, z) = self.three(ty)?;
        let product = self.op(Attrs::of(Op::IMulHi).with(ty.sign), ty.ir, &[x, y]);
        let sum = self.op(Attrs::of(Op::IAdd).with(sat), ty.ir, &[product, z]);
        self.dst(0, ty, sum)
    }
    /// The low or high 32 bits of the 48-bit product of the operands' low 24 bits.
    fn product24(&mut self, ty: Ty) -> Result<Value, Box<hetir::diag::Diagnostic>> {
        let (from, length) = (self.constant(Type::I32, 0), self.constant(Type::I32, 24));
        let mut field = [self.src(1, ty)?, self.src(2, ty)?];
        for f in &mut field {
            *f = self.op(Attrs::of(Op::Bfe).with(ty.sign), Type::I32, &[*f, from, length]);
        }
        let product = self.op(Attrs::of(Op::IMulWide).with(ty.sign), Type::I32, &field);
        let product = if self.word("mode") == Some("lo") {
            product
        } else {
            let amount = self.constant(Type::I32, 16);
            self.op(Attrs::of(Op::Shr).with(ty.sign), Type::I64, &[product, amount])
        };
        Ok(self.op(Op::Trunc, Type::I32, &[product]))
    }
    fn mad24(&mut self, sat: Sat) -> Lifted {
        let ty = self.ty()?;
        let product = self.product24(ty)?;
        let addend = self.src(3, ty)?;
        let sum = self.op(Attrs::of(Op::IAdd).with(sat), ty.ir, &[product, addend]);
        self.dst(0, ty, sum)
    }
    fn min_max(&mut self, op: Op) -> Lifted {
        let ty = self.ty()?;
        let relu = if self.has("relu") { Relu::Yes } else { Relu::No };
        self.binary(Attrs::of(op).with(ty.sign).with(relu))
    }
    fn add_carry(&mut self, carry_in: bool, carry_out: bool) -> Lifted {
        let ty = self.ty()?;
        let (a, b) = (self.src(1, ty)?, self.src(2, ty)?);
        let sum = self.sum_carry(ty, a, b, carry_in, carry_out);
        self.dst(0, ty, sum)
    }
    fn sum_carry(&mut self, ty: Ty, a: Value, b: Value, carry_in: bool, carry_out: bool) -> Value {
        let carry = if carry_in { self.carry() } else { self.constant(Type::B1, 0) };
        let (sum, carry) = self.op2(Op::IAddC, ty.ir, &[a, b, carry]);
        if carry_out {
            self.set_carry(carry);
        }
        sum
    }
    /// The flag holds the carry of a sum, and the opposite of a difference's borrow (seen on an H200).
    fn sub_borrow(&mut self, borrow_in: bool, borrow_out: bool) -> Lifted {
        let ty = self.ty()?;
        let (a, b) = (self.src(1, ty)?, self.src(2, ty)?);
        let borrow = if borrow_in {
            let carry = self.carry();
            self.op(Op::Not, Type::B1, &[carry])
        } else {
            self.constant(Type::B1, 0)
        };
        let (difference, borrow) = self.op2(Op::ISubB, ty.ir, &[a, b, borrow]);
        if borrow_out {
            let carry = self.op(Op::Not, Type::B1, &[borrow]);
            self.set_carry(carry);
        }
        self.dst(0, ty, difference)
    }
    fn mad_carry(&mut self, carry_in: bool, carry_out: bool) -> Lifted {
        let ty = self.ty()?;
        let (x, y, z) = self.three(ty)?;
        let product = if self.word("half") == Some("lo") {
            self.op(Op::IMul, ty.ir, &[x, y])
        } else {
            self.op(Attrs::of(Op::IMulHi).with(ty.sign), ty.ir, &[x, y])
        };
        let sum = self.sum_carry(ty, product, z, carry_in, carry_out);
        self.dst(0, ty, sum)
    }
    fn shift(&mut self, op: Op) -> Lifted {
        let ty = self.ty()?;
        let (a, amount) = (self.src(1, ty)?, self.src_u32(2)?);
        let attrs = if op == Op::Shr { Attrs::of(op).with(ty.sign) } else { Attrs::of(op) };
        let result = self.op(attrs, ty.ir, &[a, amount]);
        self.dst(0, ty, result)
    }
    fn lop3(&mut self, ty: Ty) -> Result<Value, Box<hetir::diag::Diagnostic>> {
        let table = self.constant_operand(4)?;
        if table > 255 {
            return Err(self.error_at(self.operand(4).span, "the truth table is a number from 0 to 255"));
        }
        let (x, y, z) = self.three(ty)?;
        Ok(self.op_imm(Op::Lop3, ty.ir, table, &[x, y, z]))
    }
    fn dot(&mut self, attrs: Attrs) -> Lifted {
        let (a, b) = (self.part_ty("atype")?, self.part_ty("btype")?);
        let sign_b = if b.sign == Sign::S { SignB::S } else { SignB::U };
        // The sum is signed where either operand is; both wrap alike.
        let sum = if a.sign == Sign::S || b.sign == Sign::S { Ty::known("s32") } else { Ty::known("u32") };
        let args = [self.src_u32(1)?, self.src_u32(2)?, self.src(3, sum)?];
        let result = self.op(attrs.with(a.sign).with(sign_b), Type::I32, &args);
        self.dst(0, sum, result)
    }
    fn compare_integers(&mut self) -> Result<Value, Box<hetir::diag::Diagnostic>> {
        let ty = self.ty()?;
        let (comparison, unsigned) = match self.word("cmp") {
            Some("eq") => (IntCmp::Eq, false),
            Some("ne") => (IntCmp::Ne, false),
            Some("lt") => (IntCmp::Lt, false),
            Some("le") => (IntCmp::Le, false),
            Some("gt") => (IntCmp::Gt, false),
            Some("ge") => (IntCmp::Ge, false),
            Some("lo") => (IntCmp::Lt, true),
            Some("ls") => (IntCmp::Le, true),
            Some("hi") => (IntCmp::Gt, true),
            _ => (IntCmp::Ge, true),
        };
        if ty.kind == Kind::Bits && !matches!(comparison, IntCmp::Eq | IntCmp::Ne) {
            return Err(self.error("untyped bits can only be compared by .eq and .ne"));
        }
        if unsigned && ty.sign == Sign::S {
            return Err(self.error("the unsigned comparisons .lo, .ls, .hi and .hs need an unsigned type"));
        }
        let (a, b) = (self.src(1, ty)?, self.src(2, ty)?);
        Ok(self.op(Attrs::of(Op::ICmp).with(comparison).with(ty.sign), ty.ir, &[a, b]))
    }
    /// A comparison's outcome combined with the predicate operand, where the form has one.
    pub(super) fn combine(&mut self, holds: Value, n: usize) -> Result<Value, Box<hetir::diag::Diagnostic>> {
        let op = match self.word("BoolOp") {
            Some("and") => Op::And,
            Some("or") => Op::Or,
            Some("xor") => Op::Xor,
            _ => return Ok(holds),
        };
        let other = self.src_pred(n)?;
        Ok(self.op(op, Type::B1, &[holds, other]))
    }
    /// Writes p, and q as what the negated comparison gives.
    pub(super) fn set_predicates(&mut self, holds: Value) -> Lifted {
        let (p, q) = self.pair(0);
        let predicate = Ty::known("pred");
        let first = self.combine(holds, 3)?;
        let second = if matches!(q.kind, OperandKind::Sink) {
            None
        } else {
            let not = self.op(Op::Not, Type::B1, &[holds]);
            Some(self.combine(not, 3)?)
        };
        self.write(p, predicate, first, false)?;
        match second {
            Some(second) => self.write(q, predicate, second, false),
            None => Ok(()),
        }
    }
    /// Writes the result of `set`: all ones or 1.0, else 0.
    pub(super) fn set_value(&mut self, holds: Value) -> Lifted {
        let ty = self.part_ty("dtype")?;
        let yes = match ty.ir {
            Type::F32 => 0x3f80_0000,
            Type::F16 => 0x3c00,
            Type::BF16 => 0x3f80,
            _ => u64::MAX,
        };
        let (yes, no) = (self.constant(ty.ir, yes), self.constant(ty.ir, 0));
        let result = self.op(Op::Select, ty.ir, &[holds, yes, no]);
        self.dst(0, ty, result)
    }
    /// A move of one value, or between one value and a vector of its parts.
    fn mov(&mut self) -> Lifted {
        let ty = self.ty()?;
        let is_vector =
            |c: &Self, n: usize| matches!(c.operand(n).kind, OperandKind::Vector(_)) || c.elements(n).len() > 1;
        match (is_vector(self, 0), is_vector(self, 1)) {
            (false, false) => {
                let value = self.src(1, ty)?;
                self.dst(0, ty, value)
            }
            (false, true) => {
                let count = self.elements(1).len() as u32;
                let part = self.part(ty, count)?;
                let values = self.src_elements(1, part, count as usize, false)?;
                let whole = self.op_many(Op::Pack, ty.ir, &values, &[ty.ir])[0];
                self.dst(0, ty, whole)
            }
            (true, false) => {
                let count = self.elements(0).len();
                let part = self.part(ty, count as u32)?;
                let whole = self.src(1, ty)?;
                let values = self.op_many(Op::Unpack, part.ir, &[whole], &vec![part.ir; count]);
                self.dst_elements(0, part, &values, false)
            }
            (true, true) => Err(self.error("only one side of a move can be a vector")),
        }
    }
    fn part(&self, ty: Ty, count: u32) -> Result<Ty, Box<hetir::diag::Diagnostic>> {
        let bits = ty.ir.bits() / count.max(1);
        if ty.kind != Kind::Bits || !matches!(count, 2 | 4) || bits * count != ty.ir.bits() || bits < 8 {
            return Err(self.error(format!("a .{} cannot be moved in {count} parts", ty.name)));
        }
        Ok(Ty::bits(bits))
    }
}
