//! Copies of boxes of tensors: each of their pieces is a copy under way.

use super::async_copy::{At, Kin};
use super::memory::{Kind, Place};
use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{MapField, Multicast, Space};
use crate::interp::FaultKind;
use crate::interp::code::Column;
use crate::op::Op;
use crate::tensor_map::{ALIGN, BYTES, Piece, TensorMap, Way};

impl Step<'_, '_> {
    fn map_bytes(&mut self, lane: usize, space: Space, address: u64) -> Result<[u8; BYTES], Box<Trouble>> {
        if !address.is_multiple_of(ALIGN) {
            let message = format!("a tensor map at {address:#x}, which is no multiple of {ALIGN}");
            return trouble(FaultKind::Misaligned, lane as u32, message);
        }
        let mut bytes = [0; BYTES];
        self.read_space(lane, space, address, &mut bytes, Kind::Read)?;
        Ok(bytes)
    }
    /// The map of a copy and its pieces, whose coordinates are the operands from one on.
    fn pieces(
        &mut self,
        lane: usize,
        map: u64,
        way: Way,
        shared: u64,
        coordinates: usize,
    ) -> Result<(TensorMap, Vec<Piece>), Box<Trouble>> {
        let bytes = self.map_bytes(lane, Space::Generic, map)?;
        let coordinates: Vec<i32> =
            (coordinates..usize::from(self.ins.args)).map(|n| self.arg(n)[lane] as i32).collect();
        let parts = TensorMap::decode(&bytes).and_then(|map| {
            let pieces = map.pieces(way, shared, &coordinates)?;
            Ok((map, pieces))
        });
        parts.or_else(|message| trouble(FaultKind::BadOperand, lane as u32, message))
    }
}

/// `tensor_load`: the bytes of each piece are completed at the mbarrier.
pub(super) fn load(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let [maps, targets, signals, blocks]: [Column; 4] = std::array::from_fn(|n| step.arg(n));
    let space = step.ins.space;
    let multicast = step.attr::<Multicast>() == Multicast::Yes;
    for lane in lanes(step.lanes) {
        let (map, pieces) = step.pieces(lane, maps[lane], Way::Load, targets[lane], 4)?;
        let signal = step.mbarrier_at(lane, space, signals[lane])?;
        let ranks = if multicast { step.ranks(lane, blocks[lane])? } else { 0 };
        let due = step.soon();
        for piece in pieces {
            let len = piece.bytes;
            let to = step.locate(lane, space, piece.shared, len, 1, Kind::Write)?;
            let source = match piece.global {
                Some(address) => Ok(step.locate(lane, Space::Global, address, len, 1, Kind::Read)?),
                None => Err(map.outside(len)),
            };
            if !multicast {
                let signal = step.signal(lane, space, signals[lane], to)?;
                let copy = step.new_copy(lane, source, to, len, len, None)?;
                step.launch_at(due, copy, signal);
                continue;
            }
            for rank in lanes(ranks).map(|r| r as u32) {
                let to = At { place: Place::Shared(rank), ..to };
                let copy = step.new_copy(lane, source.clone(), to, len, len, None)?;
                step.launch_at(due, copy, super::mbarrier::At { rank, ..signal });
            }
        }
    }
    Ok(Next::Advance)
}

/// `tensor_store` and `tensor_reduce`: each piece is of the thread's open bulk group.
pub(super) fn store(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (maps, sources) = (step.arg(0), step.arg(1));
    for lane in lanes(step.lanes) {
        let (map, pieces) = step.pieces(lane, maps[lane], Way::Store, sources[lane], 2)?;
        let combine = match step.ins.op {
            Op::TensorReduce => match map.reduction(step.attr()) {
                Ok(combine) => Some(combine),
                Err(message) => return trouble(FaultKind::BadOperand, lane as u32, message),
            },
            _ => None,
        };
        for piece in pieces {
            let Some(address) = piece.global else { continue };
            let to = step.locate(lane, Space::Global, address, piece.bytes, 1, Kind::Write)?;
            let from = step.locate(lane, Space::Shared, piece.shared, piece.bytes, 1, Kind::Read)?;
            let copy = step.new_copy(lane, Ok(from), to, piece.bytes, piece.bytes, combine)?;
            step.enqueue(lane, Kin::Bulk, copy)?;
        }
    }
    Ok(Next::Advance)
}

/// `tensor_map_replace`.
pub(super) fn replace(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (addresses, ordinals, values) = (step.addresses(), step.arg(1), step.arg(2));
    let (field, space) = (step.attr::<MapField>(), step.ins.space);
    for lane in lanes(step.lanes) {
        let mut bytes = step.map_bytes(lane, space, addresses[lane])?;
        let before = bytes;
        if let Err(message) = TensorMap::replace(&mut bytes, field, ordinals[lane] as u32, values[lane]) {
            return trouble(FaultKind::BadOperand, lane as u32, message);
        }
        let changed = |n: &usize| bytes[*n] != before[*n];
        let first = (0..BYTES).find(changed).unwrap_or(0);
        let last = (0..BYTES).rfind(changed).unwrap_or(0);
        step.write_space(lane, space, addresses[lane] + first as u64, &bytes[first..=last], Kind::Write)?;
    }
    Ok(Next::Advance)
}
