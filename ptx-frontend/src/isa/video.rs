//! The video instructions: arithmetic on selected bytes and halves, one at a time or several side by side.
//!
//! Everything is worked out in 64 bits, which hold every intermediate result exactly, and cut to size at the end.
//!
//! sm_90 has no scalar ones: ptxas makes 64-bit arithmetic of them, and that, not the manual, says what they compute.
//! Where `.sat`, a second operation, a merge or `vmad` follow a rule of their own, it is the rule of that code, which is the
//! same for every selector, with constants as operands, and without optimisation.

use super::{Form, Lifted, form};
use crate::lift::{Lifter, Ty};
use hetir::attr::{IntCmp, Sign};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

const D: &str = "dtype=u32 s32";
const A: &str = "atype=u32 s32";
const B: &str = "btype=u32 s32";
const OP2: &str = "op2=add min max";
const CMP: &str = "cmp=eq ne lt le gt ge";
const MODE: &str = "mode=clamp wrap";
const SCALE: &str = "scale=shr7 shr15";

/// What a video instruction computes of its two operands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Video {
    Add,
    Sub,
    Average,
    AbsDiff,
    Min,
    Max,
    Set,
    Shl,
    Shr,
}

macro_rules! scalar {
    ($($name:literal $op:ident;)*) => {
        &[$(
            form(concat!($name, ".dtype.atype.btype{.sat} d, a, b"), &[D, A, B], |c| c.video(Video::$op)),
            form(concat!($name, ".dtype.atype.btype{.sat}.op2 d, a, b, c"), &[D, A, B, OP2], |c| c.video(Video::$op)),
            form(concat!($name, ".dtype.atype.btype{.sat} d.dsel, a, b, c"), &[D, A, B], |c| c.video(Video::$op)),
        )*]
    };
}
macro_rules! packed {
    ($($name:literal $op:ident $lanes:literal;)*) => {
        &[$(
            form(concat!($name, ".dtype.atype.btype{.sat} d, a, b, c"), &[D, A, B], |c| c.video_lanes(Video::$op, $lanes)),
            form(concat!($name, ".dtype.atype.btype.add d, a, b, c"), &[D, A, B], |c| c.video_lanes(Video::$op, $lanes)),
        )*]
    };
}

pub(crate) const SCALAR: &[Form] = scalar! {
    "vadd" Add; "vsub" Sub; "vabsdiff" AbsDiff; "vmin" Min; "vmax" Max;
};
pub(crate) const PACKED: &[Form] = packed! {
    "vadd2" Add 2; "vsub2" Sub 2; "vavrg2" Average 2; "vabsdiff2" AbsDiff 2; "vmin2" Min 2; "vmax2" Max 2;
    "vadd4" Add 4; "vsub4" Sub 4; "vavrg4" Average 4; "vabsdiff4" AbsDiff 4; "vmin4" Min 4; "vmax4" Max 4;
};
pub(crate) const OTHER: &[Form] = &[
    form("vset.atype.btype.cmp d, a, b", &[A, B, CMP], |c| c.video(Video::Set)),
    form("vset.atype.btype.cmp.op2 d, a, b, c", &[A, B, CMP, OP2], |c| c.video(Video::Set)),
    form("vset.atype.btype.cmp d.dsel, a, b, c", &[A, B, CMP], |c| c.video(Video::Set)),
    form("vset2.atype.btype.cmp d, a, b, c", &[A, B, CMP], |c| c.video_lanes(Video::Set, 2)),
    form("vset2.atype.btype.cmp.add d, a, b, c", &[A, B, CMP], |c| c.video_lanes(Video::Set, 2)),
    form("vset4.atype.btype.cmp d, a, b, c", &[A, B, CMP], |c| c.video_lanes(Video::Set, 4)),
    form("vset4.atype.btype.cmp.add d, a, b, c", &[A, B, CMP], |c| c.video_lanes(Video::Set, 4)),
    form("vshl.dtype.atype.u32{.sat}.mode d, a, b", &[D, A, MODE], |c| c.video(Video::Shl)),
    form("vshl.dtype.atype.u32{.sat}.mode.op2 d, a, b, c", &[D, A, MODE, OP2], |c| c.video(Video::Shl)),
    form("vshl.dtype.atype.u32{.sat}.mode d.dsel, a, b, c", &[D, A, MODE], |c| c.video(Video::Shl)),
    form("vshr.dtype.atype.u32{.sat}.mode d, a, b", &[D, A, MODE], |c| c.video(Video::Shr)),
    form("vshr.dtype.atype.u32{.sat}.mode.op2 d, a, b, c", &[D, A, MODE, OP2], |c| c.video(Video::Shr)),
    form("vshr.dtype.atype.u32{.sat}.mode d.dsel, a, b, c", &[D, A, MODE], |c| c.video(Video::Shr)),
    form("vmad.dtype.atype.btype{.sat}{.scale} d, {-}a, {-}b, {-}c", &[D, A, B, SCALE], |c| c.video_mad()),
    form("vmad.dtype.atype.btype.po{.sat}{.scale} d, a, b, c", &[D, A, B, SCALE], |c| c.video_mad()),
];

/// First bit and width of the part of a register that a selector names.
fn part(selector: &str) -> Option<(u32, u32)> {
    Some(match selector {
        "b0" => (0, 8),
        "b1" => (8, 8),
        "b2" => (16, 8),
        "b3" => (24, 8),
        "h0" => (0, 16),
        "h1" => (16, 16),
        _ => return None,
    })
}

fn range(bits: u32, sign: Sign) -> (i64, i64) {
    match sign {
        Sign::S => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        Sign::U => (0, (1 << bits) - 1),
    }
}

impl Lifter<'_, '_> {
    fn i64(&mut self, number: i64) -> Value {
        self.constant(Type::I64, number as u64)
    }
    fn wide(&mut self, op: impl Into<Attrs>, a: Value, b: Value) -> Value {
        self.op(op, Type::I64, &[a, b])
    }
    fn sign_of(&self, part: &str, default: Sign) -> Sign {
        match self.word(part) {
            Some("s32") => Sign::S,
            Some("u32") => Sign::U,
            _ => default,
        }
    }
    /// A register as an i64.
    fn extend(&mut self, value: Value, sign: Sign) -> Value {
        self.op(if sign == Sign::S { Op::Sext } else { Op::Zext }, Type::I64, &[value])
    }
    /// Bits of a register as an i64.
    fn field(&mut self, value: Value, first: u32, bits: u32, sign: Sign) -> Value {
        let value = if bits == 32 {
            value
        } else {
            let (first, bits) = (self.constant(Type::I32, u64::from(first)), self.constant(Type::I32, u64::from(bits)));
            self.op(Attrs::of(Op::Bfe).with(sign), Type::I32, &[value, first, bits])
        };
        self.extend(value, sign)
    }
    fn selected(&mut self, n: usize, sign: Sign) -> Result<Value, Box<Diagnostic>> {
        let value = self.src(n, Ty::bits(32))?;
        self.select_part(n, value, sign)
    }
    /// The part of an operand's value that its selector names.
    fn select_part(&mut self, n: usize, value: Value, sign: Sign) -> Result<Value, Box<Diagnostic>> {
        let (first, bits) = self.part_of(n)?.unwrap_or((0, 32));
        Ok(self.field(value, first, bits, sign))
    }
    fn part_of(&self, n: usize) -> Result<Option<(u32, u32)>, Box<Diagnostic>> {
        let Some(selector) = self.suffix(n) else { return Ok(None) };
        match part(selector) {
            Some(part) => Ok(Some(part)),
            None => Err(self.error_at(self.operand(n).span, "the selector is .b0 to .b3, .h0 or .h1")),
        }
    }
    fn clamp_wide(&mut self, value: Value, (low, high): (i64, i64)) -> Value {
        let (low, high) = (self.i64(low), self.i64(high));
        let value = self.wide(Attrs::of(Op::IMax).with(Sign::S), value, low);
        self.wide(Attrs::of(Op::IMin).with(Sign::S), value, high)
    }
    fn video_op(&mut self, op: Video, a: Value, b: Value) -> Value {
        match op {
            Video::Add => self.wide(Op::IAdd, a, b),
            Video::Sub => self.wide(Op::ISub, a, b),
            Video::Average => {
                let sum = self.wide(Op::IAdd, a, b);
                let (zero, one) = (self.i64(0), self.i64(1));
                let up = self.wide(Op::IAdd, sum, one);
                let positive = self.wide(Attrs::of(Op::ICmp).with(IntCmp::Ge).with(Sign::S), sum, zero);
                let sum = self.op(Op::Select, Type::I64, &[positive, up, sum]);
                let one = self.constant(Type::I32, 1);
                self.op(Attrs::of(Op::Shr).with(Sign::S), Type::I64, &[sum, one])
            }
            Video::AbsDiff => {
                let difference = self.wide(Op::ISub, a, b);
                self.op(Op::IAbs, Type::I64, &[difference])
            }
            Video::Min => self.wide(Attrs::of(Op::IMin).with(Sign::S), a, b),
            Video::Max => self.wide(Attrs::of(Op::IMax).with(Sign::S), a, b),
            Video::Set => {
                let comparison = match self.word("cmp") {
                    Some("eq") => IntCmp::Eq,
                    Some("ne") => IntCmp::Ne,
                    Some("lt") => IntCmp::Lt,
                    Some("le") => IntCmp::Le,
                    Some("gt") => IntCmp::Gt,
                    _ => IntCmp::Ge,
                };
                let holds = self.wide(Attrs::of(Op::ICmp).with(comparison).with(Sign::S), a, b);
                self.op(Op::Zext, Type::I64, &[holds])
            }
            Video::Shl | Video::Shr => {
                let amount = if self.word("mode") == Some("wrap") {
                    let mask = self.i64(31);
                    self.wide(Op::And, b, mask)
                } else {
                    let most = self.i64(32);
                    self.wide(Attrs::of(Op::IMin).with(Sign::U), b, most)
                };
                let amount = self.op(Op::Trunc, Type::I32, &[amount]);
                let op = if op == Video::Shl { Attrs::of(Op::Shl) } else { Attrs::of(Op::Shr).with(Sign::S) };
                self.op(op, Type::I64, &[a, amount])
            }
        }
    }
    /// The low bits of an i64, extended by their sign.
    fn sign_extend(&mut self, value: Value, bits: u64) -> Value {
        let (first, bits) = (self.constant(Type::I32, 0), self.constant(Type::I32, bits));
        self.op(Attrs::of(Op::Bfe).with(Sign::S), Type::I64, &[value, first, bits])
    }
    /// One operation on two selected parts, saturated, combined with or merged into a third operand.
    fn video(&mut self, op: Video) -> Lifted {
        let (sign_a, sign_b) = (self.sign_of("atype", Sign::U), self.sign_of("btype", Sign::U));
        // `vset` has no type of its result: that of its first operand stands in.
        let sign = self.sign_of("dtype", sign_a);
        let word = Ty::bits(32);
        let place = self.part_of(0)?;
        let (a, b) = (self.selected(1, sign_a)?, self.selected(2, sign_b)?);
        let mut result = self.video_op(op, a, b);
        if self.has("sat") {
            result = self.video_saturate(op, result, sign, place);
        }
        // What is added to or compared with the third operand: 64 bits, of which sums, differences and saturated shifts
        // have lost the upper 32.
        let is_shift = matches!(op, Video::Shl | Video::Shr);
        if matches!(op, Video::Add | Video::Sub) || is_shift && self.has("sat") {
            result = self.sign_extend(result, 32);
        }
        match (self.operand_count() == 4, self.word("op2"), place) {
            (false, _, None) => {}
            (true, Some(op2), None) => {
                let c = self.src(3, word)?;
                let c = self.extend(c, sign);
                let op2 = match op2 {
                    "add" => Attrs::of(Op::IAdd),
                    "min" => Attrs::of(Op::IMin).with(sign),
                    _ => Attrs::of(Op::IMax).with(sign),
                };
                result = self.wide(op2, result, c);
            }
            (true, None, Some((first, bits))) => {
                let c = self.src(3, word)?;
                let result = self.op(Op::Trunc, Type::I32, &[result]);
                let result = if (first, bits) == (16, 16) {
                    // Only into the upper half goes the same half of the result, not its lowest bits.
                    self.insert(c, result, 0, 16)
                } else {
                    self.insert(result, c, first, bits)
                };
                return self.dst(0, word, result);
            }
            _ => {
                return Err(self.error(
                    "a part of the destination needs a third operand to be merged into, and no second operation",
                ));
            }
        }
        let result = self.op(Op::Trunc, Type::I32, &[result]);
        self.dst(0, word, result)
    }
    /// `into` with the lowest bits of `value` at a place.
    fn insert(&mut self, value: Value, into: Value, first: u32, bits: u32) -> Value {
        let (first, bits) = (self.constant(Type::I32, u64::from(first)), self.constant(Type::I32, u64::from(bits)));
        self.op(Op::Bfi, Type::I32, &[value, into, first, bits])
    }
    /// The `.sat` of a scalar instruction other than `vmad`.
    fn video_saturate(&mut self, op: Video, value: Value, sign: Sign, place: Option<(u32, u32)>) -> Value {
        match (op, place, sign) {
            // A shift has a result of 34 bits and saturates to the word, merged or not.
            (Video::Shl | Video::Shr, ..) => {
                let value = self.sign_extend(value, 34);
                self.clamp_wide(value, range(32, sign))
            }
            // The bound of a part is compared unsigned: a negative result becomes the largest value, too.
            (_, Some((_, bits)), _) => {
                let (_, high) = range(bits, sign);
                let high = self.i64(high);
                self.wide(Attrs::of(Op::IMin).with(Sign::U), value, high)
            }
            (_, None, Sign::S) => self.clamp_wide(value, range(32, sign)),
            // An unsigned word has no upper bound.
            (_, None, Sign::U) => {
                let zero = self.i64(0);
                self.wide(Attrs::of(Op::IMax).with(Sign::S), value, zero)
            }
        }
    }
    /// The lane numbers of a selector such as `.h32` or `.b7610`, lowest lane first.
    fn lane_selector(&self, n: usize, letter: char, lanes: usize, default: &str) -> Result<Vec<u32>, Box<Diagnostic>> {
        let digits = match self.suffix(n) {
            None => default.to_string(),
            Some(s) => s.strip_prefix(letter).unwrap_or_default().to_string(),
        };
        let numbers: Vec<u32> = digits.chars().rev().filter_map(|c| c.to_digit(10)).collect();
        if numbers.len() != lanes || digits.len() != lanes || numbers.iter().any(|n| *n >= 2 * lanes as u32) {
            let span = self.operand(n).span;
            return Err(
                self.error_at(span, format!("the selector is .{letter} and {lanes} digits below {}", 2 * lanes))
            );
        }
        Ok(numbers)
    }
    /// The lanes that the destination's mask names.
    fn lane_mask(&self, letter: char, lanes: usize) -> Result<Vec<bool>, Box<Diagnostic>> {
        let Some(suffix) = self.suffix(0) else { return Ok(vec![true; lanes]) };
        let digits = suffix.strip_prefix(letter).unwrap_or_default();
        let mut mask = vec![false; lanes];
        let mut last = lanes as u32;
        for c in digits.chars() {
            match c.to_digit(10) {
                Some(n) if n < last => mask[n as usize] = true,
                _ => return Err(self.error(format!("the mask is .{letter} and falling lane numbers"))),
            }
            last = c.to_digit(10).unwrap_or(0);
        }
        if digits.is_empty() {
            Err(self.error(format!("the mask is .{letter} and falling lane numbers")))
        } else {
            Ok(mask)
        }
    }
    /// One operation on each of several lanes, merged into or added to a third operand.
    fn video_lanes(&mut self, op: Video, lanes: usize) -> Lifted {
        let (sign_a, sign_b) = (self.sign_of("atype", Sign::U), self.sign_of("btype", Sign::U));
        let sign = self.sign_of("dtype", Sign::U);
        let (letter, width) = if lanes == 2 { ('h', 16) } else { ('b', 8) };
        let (default_a, default_b) = if lanes == 2 { ("10", "32") } else { ("3210", "7654") };
        let select_a = self.lane_selector(1, letter, lanes, default_a)?;
        let select_b = self.lane_selector(2, letter, lanes, default_b)?;
        let mask = self.lane_mask(letter, lanes)?;
        let word = Ty::bits(32);
        let (a, b, c) = (self.src(1, word)?, self.src(2, word)?, self.src(3, word)?);
        let mut result = c;
        for lane in (0..lanes).filter(|l| mask[*l]) {
            let mut pick = |from: u32, sign: Sign| {
                let source = if (from as usize) < lanes { a } else { b };
                self.field(source, from % lanes as u32 * width, width, sign)
            };
            let (x, y) = (pick(select_a[lane], sign_a), pick(select_b[lane], sign_b));
            let mut value = self.video_op(op, x, y);
            if self.has("sat") {
                value = self.clamp_wide(value, range(width, sign));
            }
            let value = self.op(Op::Trunc, Type::I32, &[value]);
            result = if self.has("add") {
                self.op(Op::IAdd, Type::I32, &[result, value])
            } else {
                self.insert(value, result, lane as u32 * width, width)
            };
        }
        self.dst(0, word, result)
    }
    /// a * b + c with signs, an extra one and a shift. Whole words are signed, whatever their types say, and so is the
    /// addend; the types decide how parts are extended, and signs too whether shift and saturation are signed.
    fn video_mad(&mut self) -> Lifted {
        let (sign_a, sign_b) = (self.sign_of("atype", Sign::U), self.sign_of("btype", Sign::U));
        let negated = [1, 2, 3].map(|n| self.is_negated(n));
        let (a, b) = (self.mad_factor(1, sign_a)?, self.mad_factor(2, sign_b)?);
        let c = self.src_plain(3)?;
        let mut c = self.extend(c, Sign::S);
        let mut product = self.wide(Op::IMul, a, b);
        let negate_product = negated[0] != negated[1];
        if negate_product {
            product = self.op(Op::INeg, Type::I64, &[product]);
        } else if negated[2] {
            c = self.op(Op::INeg, Type::I64, &[c]);
        }
        let mut result = self.wide(Op::IAdd, product, c);
        if self.has("po") {
            let one = self.i64(1);
            result = self.wide(Op::IAdd, result, one);
        }
        let is_signed = sign_a == Sign::S || sign_b == Sign::S || negate_product || negated[2];
        let sign = if is_signed { Sign::S } else { Sign::U };
        let shift = match self.word("scale") {
            Some("shr7") => 7,
            Some("shr15") => 15,
            _ => 0,
        };
        if shift > 0 {
            let amount = self.constant(Type::I32, shift);
            result = self.op(Attrs::of(Op::Shr).with(sign), Type::I64, &[result, amount]);
        }
        if self.has("sat") {
            result = self.clamp_wide(result, range(32, sign));
        }
        let result = self.op(Op::Trunc, Type::I32, &[result]);
        self.dst(0, Ty::bits(32), result)
    }
    fn mad_factor(&mut self, n: usize, sign: Sign) -> Result<Value, Box<Diagnostic>> {
        let value = self.src_plain(n)?;
        let sign = if self.part_of(n)?.is_some() { sign } else { Sign::S };
        self.select_part(n, value, sign)
    }
    fn is_negated(&self, n: usize) -> bool {
        matches!(self.operand(n).kind, crate::ast::OperandKind::Reg { mark: crate::ast::Mark::Neg, .. })
    }
    /// An operand of `vmad` without its sign.
    fn src_plain(&mut self, n: usize) -> Result<Value, Box<Diagnostic>> {
        let mut operand = self.operand(n);
        if let crate::ast::OperandKind::Reg { mark, .. } = &mut operand.kind {
            *mark = crate::ast::Mark::None;
        }
        self.read(operand, Ty::bits(32), false)
    }
}
