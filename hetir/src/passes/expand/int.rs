//! Products, carries and dot products.

use super::Rewriter;
use crate::attr::{Half, IntCmp, Sign, SignB};
use crate::build::Attrs;
use crate::entity::Value;
use crate::op::Op;
use crate::types::Type;

const fn of_b(sign: SignB) -> Sign {
    match sign {
        SignB::U => Sign::U,
        SignB::S => Sign::S,
    }
}

impl Rewriter<'_> {
    pub(super) fn mul_wide(&mut self, t: Type, sign: Sign, a: Value, b: Value) -> Value {
        let wide = t.widened().unwrap_or(t);
        let (a, b) = (self.extend(sign, wide, a), self.extend(sign, wide, b));
        self.mul(wide, a, b)
    }

    fn product(&mut self, a: Value, b: Value) -> Value {
        self.one(Attrs::of(Op::IMulWide).with(Sign::U), Type::I32, &[a, b], Type::I64)
    }

    pub(super) fn mul_high(&mut self, t: Type, sign: Sign, a: Value, b: Value) -> Value {
        if t != Type::I64 {
            let wide = t.widened().unwrap_or(t);
            let product = self.one(Attrs::of(Op::IMulWide).with(sign), t, &[a, b], wide);
            let high = self.shr_by(wide, Sign::U, product, t.bits().into());
            return self.trunc(t, high);
        }
        // Four products of halves; the carries of the middle ones are gathered in their upper halves.
        let (x, y) = (self.unpack(Type::I32, a), self.unpack(Type::I32, b));
        let low = self.product(x[0], y[0]);
        let cross = self.product(x[1], y[0]);
        let other = self.product(x[0], y[1]);
        let high = self.product(x[1], y[1]);
        let carry = self.shr_by(t, Sign::U, low, 32);
        let middle = self.add(t, cross, carry);
        let middle_low = self.and_bits(t, middle, 0xffff_ffff);
        let other = self.add(t, other, middle_low);
        let middle = self.shr_by(t, Sign::U, middle, 32);
        let other = self.shr_by(t, Sign::U, other, 32);
        let high = self.add(t, high, middle);
        let high = self.add(t, high, other);
        if sign == Sign::U {
            return high;
        }
        // A negative operand stands for itself plus 2^64, so that the other one was added once too often.
        let negative = self.shr_by(t, Sign::S, a, 63);
        let too_much = self.and(t, negative, b);
        let high = self.sub(t, high, too_much);
        let negative = self.shr_by(t, Sign::S, b, 63);
        let too_much = self.and(t, negative, a);
        self.sub(t, high, too_much)
    }

    pub(super) fn add_with_carry(&mut self, t: Type, a: Value, b: Value, carry: Value) -> [Value; 2] {
        let carry = self.number(t, carry);
        let sum = self.add(t, a, b);
        let first = self.compare(t, IntCmp::Lt, Sign::U, sum, a);
        let total = self.add(t, sum, carry);
        let second = self.compare(t, IntCmp::Lt, Sign::U, total, sum);
        [total, self.or(Type::B1, first, second)]
    }

    pub(super) fn sub_with_borrow(&mut self, t: Type, a: Value, b: Value, borrow: Value) -> [Value; 2] {
        let borrow = self.number(t, borrow);
        let first = self.compare(t, IntCmp::Lt, Sign::U, a, b);
        let difference = self.sub(t, a, b);
        let second = self.compare(t, IntCmp::Lt, Sign::U, difference, borrow);
        let total = self.sub(t, difference, borrow);
        [total, self.or(Type::B1, first, second)]
    }

    /// `c` plus the products of pairs.
    fn dot(&mut self, a: &[Value], sign_a: Sign, b: &[Value], sign_b: Sign, c: Value) -> Value {
        let t = Type::I32;
        let mut sum = c;
        for (&a, &b) in a.iter().zip(b) {
            let (a, b) = (self.extend(sign_a, t, a), self.extend(sign_b, t, b));
            let product = self.mul(t, a, b);
            sum = self.add(t, sum, product);
        }
        sum
    }

    pub(super) fn dp4a(&mut self, sign_a: Sign, sign_b: SignB, a: Value, b: Value, c: Value) -> Value {
        let (a, b) = (self.unpack(Type::I8, a), self.unpack(Type::I8, b));
        self.dot(&a, sign_a, &b, of_b(sign_b), c)
    }

    pub(super) fn dp2a(&mut self, sign_a: Sign, sign_b: SignB, half: Half, a: Value, b: Value, c: Value) -> Value {
        let (a, b) = (self.unpack(Type::I16, a), self.unpack(Type::I8, b));
        let b = if half == Half::Lo { &b[..2] } else { &b[2..] };
        self.dot(&a, sign_a, b, of_b(sign_b), c)
    }
}
