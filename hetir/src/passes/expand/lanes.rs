//! Values of several lanes, and floats as bits.

use super::Rewriter;
use crate::attr::{FloatClass, IntCmp, Sign};
use crate::entity::Value;
use crate::ir::InstData;
use crate::op::Op;
use crate::types::{Scalar, Type};

/// Mantissa bits of a float.
const fn mantissa_bits(scalar: Scalar) -> u32 {
    match scalar {
        Scalar::F16 => 10,
        Scalar::Bf16 => 7,
        Scalar::F32 => 23,
        _ => 52,
    }
}

impl Rewriter<'_> {
    /// An op of several lanes, lane by lane; what is the same for all bits is done on the whole.
    pub(super) fn lanes(&mut self, data: &InstData, args: &[Value]) -> Value {
        let (ty, whole, lane) = (data.ty, data.ty.as_int(), data.ty.lane());
        match data.op {
            Op::Const => {
                let bits = self.constant(whole, data.imm);
                self.bitcast(ty, bits)
            }
            Op::And | Op::Or | Op::Xor | Op::Not => {
                let args: Vec<Value> = args.iter().map(|a| self.bitcast(whole, *a)).collect();
                let bits = self.op(data.op, whole, &args);
                self.bitcast(ty, bits)
            }
            Op::Select => {
                let (yes, no) = (self.bitcast(whole, args[1]), self.bitcast(whole, args[2]));
                let bits = self.select(whole, args[0], yes, no);
                self.bitcast(ty, bits)
            }
            _ => {
                let columns: Vec<Vec<Value>> = args.iter().map(|a| self.unpack(lane, *a)).collect();
                let lanes: Vec<Value> = (0..usize::from(ty.lanes))
                    .map(|n| {
                        let row: Vec<Value> = columns.iter().map(|c| c[n]).collect();
                        self.emit(data.op, lane, data.attrs, data.imm, &row, &[lane])[0]
                    })
                    .collect();
                self.pack(ty, &lanes)
            }
        }
    }

    pub(super) fn copysign(&mut self, t: Type, sign: Value, magnitude: Value) -> Value {
        let bits = t.as_int();
        let top = 1 << (t.bits() - 1);
        let (sign, magnitude) = (self.bitcast(bits, sign), self.bitcast(bits, magnitude));
        let sign = self.and_bits(bits, sign, top);
        let magnitude = self.and_bits(bits, magnitude, !top);
        let result = self.or(bits, sign, magnitude);
        self.bitcast(t, result)
    }

    /// The class follows from the magnitude: 0, subnormal numbers, normal ones, infinity and NaNs lie in this order.
    pub(super) fn ftest(&mut self, t: Type, class: FloatClass, a: Value) -> Value {
        let bits = t.as_int();
        let mantissa = mantissa_bits(t.scalar);
        let smallest_normal = 1u64 << mantissa;
        let infinity = (bits.mask() >> 1) & !(smallest_normal - 1);
        let a = self.bitcast(bits, a);
        let a = self.and_bits(bits, a, bits.mask() >> 1);
        match class {
            FloatClass::Finite => self.compare_to(bits, IntCmp::Lt, a, infinity),
            FloatClass::Infinite => self.compare_to(bits, IntCmp::Eq, a, infinity),
            FloatClass::Number => self.compare_to(bits, IntCmp::Le, a, infinity),
            FloatClass::NotANumber => self.compare_to(bits, IntCmp::Gt, a, infinity),
            // Zero counts as normal: subtracting the least subnormal number makes it the largest magnitude.
            FloatClass::Subnormal => {
                let one = self.constant(bits, 1);
                let below = self.sub(bits, a, one);
                self.compare_to(bits, IntCmp::Lt, below, smallest_normal - 1)
            }
            FloatClass::Normal => {
                let finite = self.compare_to(bits, IntCmp::Lt, a, infinity);
                let normal = self.compare_to(bits, IntCmp::Ge, a, smallest_normal);
                let zero = self.compare_to(bits, IntCmp::Eq, a, 0);
                let wide = self.or(Type::B1, normal, zero);
                self.and(Type::B1, finite, wide)
            }
        }
    }

    /// 1 where a condition holds, as an integer.
    pub(super) fn number(&mut self, to: Type, condition: Value) -> Value {
        self.extend(Sign::U, to, condition)
    }
}
