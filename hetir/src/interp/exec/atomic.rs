//! Read-modify-write accesses. Lanes follow each other in order.

use super::memory::Kind;
use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{AtomOp, Space};
use crate::interp::FaultKind;
use crate::interp::space::{Window, window};
use crate::num::{self, Format, MinMax, Mode};
use crate::types::{Scalar, Type};

/// The value that memory gets: one lane of the type at a time.
pub(super) fn combine(op: AtomOp, ty: Type, global: bool, old: u128, operand: u128) -> u128 {
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

/// Whether an address lies in global memory.
fn is_global(space: Space, address: u64) -> bool {
    match space {
        Space::Generic => window(address).0 == Window::Global,
        Space::Global | Space::Const => true,
        Space::Shared | Space::Cluster | Space::Local | Space::Param => false,
    }
}

/// Replaces memory by a function of itself in each lane, and sets the result to what it was.
fn exchange(
    step: &mut Step<'_, '_>,
    operands: usize,
    replace: impl Fn(u64, u128, [u128; 2]) -> Option<u128>,
) -> Result<Next, Box<Trouble>> {
    let ty = step.ins.ty;
    let size = ty.bytes() as usize;
    let addresses = step.addresses();
    step.check_alignment(&addresses, size, Kind::Atomic)?;
    let halves = if ty.scalar == Scalar::I128 { 2 } else { 1 };
    let columns: Vec<_> = (1..=operands * halves).map(|n| step.arg(n)).collect();
    for lane in lanes(step.lanes) {
        if step.ins.space == Space::Const || step.ins.space == Space::Param {
            return trouble(FaultKind::OutOfBounds, lane as u32, "an atomic access of read-only memory");
        }
        let operand = |n: usize| -> u128 {
            let at = |i: usize| columns.get(i).map_or(0, |c| u128::from(c[lane]));
            at(n * halves) | if halves == 2 { at(n * halves + 1) << 64 } else { 0 }
        };
        let mut bytes = [0; 16];
        step.read(lane, addresses[lane], &mut bytes[..size], Kind::Atomic)?;
        let old = u128::from_le_bytes(bytes);
        if let Some(new) = replace(addresses[lane], old, [operand(0), operand(1)]) {
            step.write(lane, addresses[lane], &new.to_le_bytes()[..size], Kind::Atomic)?;
        }
        for half in 0..halves {
            step.set(half, lane, (old >> (64 * half)) as u64);
        }
    }
    Ok(Next::Advance)
}

pub(super) fn atom(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (ty, space) = (step.ins.ty, step.ins.space);
    let op = step.attr::<AtomOp>();
    exchange(step, 1, |address, old, [operand, _]| Some(combine(op, ty, is_global(space, address), old, operand)))
}

pub(super) fn cas(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    exchange(step, 2, |_, old, [expected, new]| (old == expected).then_some(new))
}
