//! Read-modify-write accesses. Lanes follow each other in order.

use super::memory::Kind;
use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{AtomOp, Space};
use crate::interp::FaultKind;
use crate::interp::space::{Window, window};
use crate::types::Scalar;

pub(super) use crate::eval::combine;

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
