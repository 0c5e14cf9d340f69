//! What atomic accesses make of memory.

use crate::attr::AtomOp;
use crate::num::{self, Format, MinMax, Mode};
use crate::types::{Scalar, Type};

/// The value that memory gets from a read-modify-write access: one lane of the type at a time. `global`: it is global
/// memory.
pub fn combine(op: AtomOp, ty: Type, global: bool, old: u128, operand: u128) -> u128 {
    if op == AtomOp::Exch {
        return operand;
    }
    let (old, operand) = (old as u64, operand as u64);
    let width = ty.scalar.bits();
    let mut value = 0;
    for lane in 0..u32::from(ty.lanes) {
        let part = |v: u64| v >> (lane * width) & ty.lane_mask();
        let one = combine_lane(op, ty.scalar, global, part(old), part(operand));
        value |= (one & ty.lane_mask()) << (lane * width);
    }
    value.into()
}

fn combine_lane(op: AtomOp, scalar: Scalar, global: bool, old: u64, operand: u64) -> u64 {
    let shift = 64 - scalar.bits().min(64);
    let signed = |v: u64| ((v << shift) as i64) >> shift;
    let format = match scalar {
        Scalar::F16 => Format::F16,
        Scalar::Bf16 => Format::Bf16,
        Scalar::F64 => Format::F64,
        Scalar::F32 | Scalar::B1 | Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64 | Scalar::I128 => Format::F32,
    };
    match op {
        AtomOp::Add => old.wrapping_add(operand),
        AtomOp::And => old & operand,
        AtomOp::Or => old | operand,
        AtomOp::Xor => old ^ operand,
        AtomOp::Exch => operand,
        AtomOp::Inc => {
            if old >= operand {
                0
            } else {
                old + 1
            }
        }
        AtomOp::Dec => {
            if old == 0 || old > operand {
                operand
            } else {
                old - 1
            }
        }
        AtomOp::SMin => signed(old).min(signed(operand)) as u64,
        AtomOp::SMax => signed(old).max(signed(operand)) as u64,
        AtomOp::UMin => old.min(operand),
        AtomOp::UMax => old.max(operand),
        AtomOp::FAdd => float_sum(format, global, old, operand),
        AtomOp::FMin => num::min(format, old, operand, MinMax::default()),
        AtomOp::FMax => num::max(format, old, operand, MinMax::default()),
    }
}

/// f32 sums flush subnormals in global memory, and keep them in shared memory (PTX, atom). f64 sums in global memory
/// keep a NaN as it is, the operand's before memory's; in shared memory it becomes quiet. Seen on an H200.
fn float_sum(format: Format, global: bool, old: u64, operand: u64) -> u64 {
    match format {
        Format::F64 if global && format.is_nan(operand) => operand,
        Format::F64 if global && format.is_nan(old) => old,
        _ => num::add(format, old, operand, Mode::RN.with_ftz(global && format == Format::F32)),
    }
}
