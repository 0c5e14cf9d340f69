//! Accesses of memory by lanes one after the other: atomics by all types, and loads and stores that compiled code does
//! not do itself.

use super::{Call, lanes};
use crate::sys::access::is_global;
use crate::trouble::Trouble;
use hetir::attr::{AtomOp, Space};
use hetir::eval::combine;
use hetir::interp::FaultKind;
use hetir::types::Scalar;

type Done = Result<(), Box<Trouble>>;

/// Replaces memory by a function of itself in each lane, and sets the result to what it was.
fn exchange(call: &mut Call<'_>, replace: impl Fn(u64, u128, [u128; 2]) -> Option<u128>) -> Done {
    let ty = call.inst.ty;
    let (size, space) = (ty.bytes() as usize, call.space());
    let halves = if ty.scalar == Scalar::I128 { 2 } else { 1 };
    for lane in lanes(call.lanes) {
        if matches!(space, Space::Const | Space::Param) {
            return Err(Trouble::new(FaultKind::OutOfBounds, lane, "an atomic access of read-only memory"));
        }
        let operand = |n: usize| -> u128 {
            let at = |i: usize| u128::from(call.arg(1 + i, lane));
            at(n * halves) | if halves == 2 { at(n * halves + 1) << 64 } else { 0 }
        };
        let operands = [operand(0), operand(1)];
        let address = call.address(lane);
        let old = call.strand.update(lane, space, address, size, |old| replace(address, old, operands))?;
        for half in 0..halves {
            call.set(half, lane, (old >> (64 * half)) as u64);
        }
    }
    Ok(())
}

pub(super) fn atom(call: &mut Call<'_>) -> Done {
    let (ty, space) = (call.inst.ty, call.space());
    let op = call.attr::<AtomOp>();
    exchange(call, |address, old, [operand, _]| Some(combine(op, ty, is_global(space, address), old, operand)))
}

pub(super) fn cas(call: &mut Call<'_>) -> Done {
    exchange(call, |_, old, [expected, new]| (old == expected).then_some(new))
}

/// Bytes of a value in memory, and how many columns it takes.
fn layout(call: &Call<'_>) -> (usize, usize) {
    let bytes = call.inst.ty.bytes() as usize;
    (bytes, bytes.div_ceil(8))
}

/// Refuses an address that is no multiple of the access's size.
fn aligned(lane: usize, address: u64, bytes: usize, what: &str) -> Done {
    match address.is_multiple_of(bytes.max(1) as u64) {
        true => Ok(()),
        false => {
            let message = format!("{bytes}-byte {what} at {address:#x}, which is no multiple of {bytes}");
            Err(Trouble::new(FaultKind::Misaligned, lane, message))
        }
    }
}

pub(super) fn load(call: &mut Call<'_>) -> Done {
    let (bytes, columns) = layout(call);
    let count = call.results.len() / columns;
    let keep = if call.inst.ty.scalar == Scalar::B1 { 1 } else { u64::MAX };
    for lane in lanes(call.lanes) {
        let address = call.address(lane);
        aligned(lane, address, bytes * count, "read")?;
        let mut data = [0; 256];
        let data = data.get_mut(..(bytes * count)).unwrap_or_default();
        call.read(lane, address, data)?;
        for (n, value) in data.chunks(bytes).enumerate() {
            for (half, part) in value.chunks(8).enumerate() {
                let mut word = [0; 8];
                word[..part.len()].copy_from_slice(part);
                call.set(n * columns + half, lane, u64::from_le_bytes(word) & keep);
            }
        }
    }
    Ok(())
}

pub(super) fn store(call: &mut Call<'_>) -> Done {
    let (bytes, columns) = layout(call);
    let count = (call.args.len() - 1) / columns;
    for lane in lanes(call.lanes) {
        let address = call.address(lane);
        aligned(lane, address, bytes * count, "write")?;
        let mut data = [0; 256];
        let data = data.get_mut(..(bytes * count)).unwrap_or_default();
        for (n, value) in data.chunks_mut(bytes).enumerate() {
            for (half, part) in value.chunks_mut(8).enumerate() {
                let word = call.arg(1 + n * columns + half, lane).to_le_bytes();
                part.copy_from_slice(&word[..part.len()]);
            }
        }
        call.write(lane, address, data)?;
    }
    Ok(())
}
