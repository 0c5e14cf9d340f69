//! Copies of boxes of tensors, piece by piece, when they are issued.

use super::copy::complete;
use super::{Call, lanes};
use crate::trouble::Trouble;
use hetir::attr::{MapField, Multicast, Policy, Space};
use hetir::eval::combine;
use hetir::interp::FaultKind;
use hetir::interp::space::SHARED_STRIDE;
use hetir::op::Op;
use hetir::tensor_map::{ALIGN, BYTES, Piece, TensorMap, Way};
use hetir::types::Type;

type Done = Result<(), Box<Trouble>>;

fn map_bytes(call: &Call<'_>, lane: usize, space: Space, address: u64) -> Result<[u8; BYTES], Box<Trouble>> {
    if !address.is_multiple_of(ALIGN) {
        let message = format!("a tensor map at {address:#x}, which is no multiple of {ALIGN}");
        return Err(Trouble::new(FaultKind::Misaligned, lane, message));
    }
    let mut bytes = [0; BYTES];
    call.strand.read(lane, space, address, &mut bytes)?;
    Ok(bytes)
}

/// The map of a copy and its pieces, whose coordinates are the operands from one on.
fn pieces(
    call: &Call<'_>,
    lane: usize,
    way: Way,
    shared: u64,
    coordinates: usize,
) -> Result<(TensorMap, Vec<Piece>), Box<Trouble>> {
    let bytes = map_bytes(call, lane, Space::Generic, call.arg(0, lane))?;
    let policy = usize::from(call.attr::<Policy>() == Policy::Yes);
    let coordinates: Vec<i32> = (coordinates..call.args.len() - policy).map(|n| call.arg(n, lane) as i32).collect();
    let parts = TensorMap::decode(&bytes).and_then(|map| {
        let pieces = map.pieces(way, shared, &coordinates)?;
        Ok((map, pieces))
    });
    parts.map_err(|message| Trouble::new(FaultKind::BadOperand, lane, message))
}

fn load_to(call: &Call<'_>, lane: usize, space: Space, to: u64, signal: u64) -> Done {
    let (map, pieces) = pieces(call, lane, Way::Load, to, 4)?;
    for piece in pieces {
        match piece.global {
            Some(from) => call.strand.copy(lane, (space, piece.shared), (Space::Global, from), piece.bytes)?,
            None => call.strand.write(lane, space, piece.shared, &map.outside(piece.bytes))?,
        }
    }
    complete(call, lane, space, signal, map.bytes())
}

pub(super) fn load(call: &mut Call<'_>) -> Done {
    for lane in lanes(call.lanes) {
        let (to, signal) = (call.arg(1, lane), call.arg(2, lane));
        if call.attr::<Multicast>() == Multicast::No {
            load_to(call, lane, call.space(), to, signal)?;
            continue;
        }
        let blocks = call.arg(3, lane) as u32 & 0xffff;
        for rank in super::copy::ranks(call, lane, blocks)? {
            // The same places of each block's memory.
            let of = |address: u64| address % SHARED_STRIDE + u64::from(rank) * SHARED_STRIDE;
            load_to(call, lane, Space::Cluster, of(to), of(signal))?;
        }
    }
    Ok(())
}

/// `tensor_store` and `tensor_reduce`.
pub(super) fn store(call: &mut Call<'_>) -> Done {
    for lane in lanes(call.lanes) {
        let (map, pieces) = pieces(call, lane, Way::Store, call.arg(1, lane), 2)?;
        let inside = pieces.iter().filter_map(|piece| Some((piece.shared, piece.global?, piece.bytes)));
        if call.inst.op == Op::TensorStore {
            for (from, to, bytes) in inside {
                call.strand.copy(lane, (Space::Global, to), (Space::Shared, from), bytes)?;
            }
            continue;
        }
        let reduction = map.reduction(call.attr());
        let (op, ty) = reduction.map_err(|message| Trouble::new(FaultKind::BadOperand, lane, message))?;
        let size = ty.bytes() as usize;
        for (from, to, bytes) in inside {
            for at in (0..bytes as u64).step_by(size) {
                let mut value = [0; 16];
                call.strand.read(lane, Space::Shared, from + at, &mut value[..size])?;
                let value = u128::from_le_bytes(value);
                // As of bulk copies, sums of f32 keep subnormals.
                let replace = |old| Some(combine(op, ty, ty != Type::F32, old, value));
                call.strand.update(lane, Space::Global, to + at, size, replace)?;
            }
        }
    }
    Ok(())
}

/// `tensor_map_replace`.
pub(super) fn replace(call: &mut Call<'_>) -> Done {
    for lane in lanes(call.lanes) {
        let (space, address) = (call.space(), call.address(lane));
        let mut bytes = map_bytes(call, lane, space, address)?;
        let (ordinal, value) = (call.arg(1, lane) as u32, call.arg(2, lane));
        TensorMap::replace(&mut bytes, call.attr::<MapField>(), ordinal, value)
            .map_err(|message| Trouble::new(FaultKind::BadOperand, lane, message))?;
        call.strand.write(lane, space, address, &bytes)?;
    }
    Ok(())
}
