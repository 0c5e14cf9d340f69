//! Asynchronous copies. They may happen at any time up to the end of the wait for them: they happen at once.

use super::{Call, lanes, mbarrier};
use crate::trouble::Trouble;
use hetir::attr::{AtomOp, Elements, NoInc, Space};
use hetir::eval::combine;
use hetir::interp::FaultKind;
use hetir::interp::space::SHARED_STRIDE;
use hetir::mbarrier::MAX;
use hetir::op::Op;
use hetir::types::Type;

/// Bulk copies move so many bytes, or a multiple.
const BULK: usize = 16;

type Done = Result<(), Box<Trouble>>;

fn aligned(lane: usize, address: u64, bytes: usize, align: usize) -> Done {
    match address.is_multiple_of(align.max(1) as u64) {
        true => Ok(()),
        false => {
            let message =
                format!("asynchronous copy of {bytes} bytes at {address:#x}, which is no multiple of {align}");
            Err(Trouble::new(FaultKind::Misaligned, lane, message))
        }
    }
}

pub(super) fn cp_async(call: &mut Call<'_>) -> Done {
    let bytes = call.inst.imm as usize;
    for lane in lanes(call.lanes) {
        let (to, from, read) = (call.arg(0, lane), call.arg(1, lane), call.arg(2, lane) as usize);
        if read > bytes || bytes > BULK {
            let message = format!("{read} bytes read, and {bytes} are copied");
            return Err(Trouble::new(FaultKind::BadOperand, lane, message));
        }
        aligned(lane, to, bytes, bytes)?;
        aligned(lane, from, read, bytes)?;
        let mut data = [0; BULK];
        if read > 0 {
            call.strand.read(lane, Space::Global, from, &mut data[..read])?;
        }
        call.strand.write(lane, Space::Shared, to, &data[..bytes])?;
    }
    Ok(())
}

/// `cp_async_arrive`: all copies are done.
pub(super) fn arrive(call: &mut Call<'_>) -> Done {
    let counted = call.attr::<NoInc>() == NoInc::Yes;
    for lane in lanes(call.lanes) {
        mbarrier::change(call, lane, call.space(), call.address(lane), |m| {
            let m = if counted { m } else { m.add_pending()? };
            m.arrive(1, false)
        })?;
    }
    Ok(())
}

/// The number of bytes of a bulk copy.
fn bulk_bytes(lane: usize, bytes: u64) -> Result<usize, Box<Trouble>> {
    if bytes > MAX.into() || !bytes.is_multiple_of(BULK as u64) {
        let message = format!("a bulk copy of {bytes} bytes, which is no multiple of {BULK} up to {MAX}");
        return Err(Trouble::new(FaultKind::BadOperand, lane, message));
    }
    Ok(bytes as usize)
}

/// Copies, or combines each element.
fn perform(call: &Call<'_>, lane: usize, to: (Space, u64), from: (Space, u64), bytes: usize) -> Done {
    aligned(lane, to.1, bytes, BULK)?;
    aligned(lane, from.1, bytes, BULK)?;
    if !matches!(call.inst.op, Op::BulkReduceSend | Op::BulkReduceStore) {
        return call.strand.copy(lane, to, from, bytes);
    }
    let (op, ty) = (call.attr::<AtomOp>(), call.attr::<Elements>().element());
    let size = ty.bytes() as usize;
    // These sums of f32 keep subnormals in global memory, too; those of f64 are as `atom`'s.
    let global = to.0 == Space::Global && ty != Type::F32;
    for at in (0..bytes as u64).step_by(size) {
        let mut value = [0; 16];
        call.strand.read(lane, from.0, from.1 + at, &mut value[..size])?;
        let value = u128::from_le_bytes(value);
        call.strand.update(lane, to.0, to.1 + at, size, |old| Some(combine(op, ty, global, old, value)))?;
    }
    Ok(())
}

pub(super) fn complete(call: &Call<'_>, lane: usize, space: Space, signal: u64, bytes: usize) -> Done {
    mbarrier::change(call, lane, space, signal, |m| m.expect(-(bytes as i64))).map(drop)
}

/// Bulk copies to shared memory, which complete their bytes at an mbarrier.
pub(super) fn bulk_send(call: &mut Call<'_>) -> Done {
    let (source, space) = match call.inst.op {
        Op::BulkLoad => (Space::Global, call.space()),
        _ => (Space::Shared, Space::Cluster),
    };
    for lane in lanes(call.lanes) {
        let bytes = bulk_bytes(lane, call.arg(2, lane))?;
        perform(call, lane, (space, call.arg(0, lane)), (source, call.arg(1, lane)), bytes)?;
        complete(call, lane, space, call.arg(3, lane), bytes)?;
    }
    Ok(())
}

/// A set of blocks of the cluster.
pub(super) fn ranks(
    call: &Call<'_>,
    lane: usize,
    blocks: u32,
) -> Result<impl Iterator<Item = u32> + use<>, Box<Trouble>> {
    let there = call.strand.job().together;
    if blocks >> there != 0 {
        let message = format!("the blocks {blocks:#x} of a cluster that has {there}");
        return Err(Trouble::new(FaultKind::BadOperand, lane, message));
    }
    Ok((0..there).filter(move |rank| blocks >> rank & 1 != 0))
}

pub(super) fn bulk_multicast(call: &mut Call<'_>) -> Done {
    for lane in lanes(call.lanes) {
        let bytes = bulk_bytes(lane, call.arg(2, lane))?;
        for rank in ranks(call, lane, call.arg(4, lane) as u32 & 0xffff)? {
            // The same places of each block's memory.
            let of = |address: u64| address % SHARED_STRIDE + u64::from(rank) * SHARED_STRIDE;
            let to = (Space::Cluster, of(call.arg(0, lane)));
            perform(call, lane, to, (Space::Global, call.arg(1, lane)), bytes)?;
            complete(call, lane, Space::Cluster, of(call.arg(3, lane)), bytes)?;
        }
    }
    Ok(())
}

/// Bulk copies to global memory.
pub(super) fn bulk_store(call: &mut Call<'_>) -> Done {
    for lane in lanes(call.lanes) {
        let bytes = bulk_bytes(lane, call.arg(2, lane))?;
        perform(call, lane, (Space::Global, call.arg(0, lane)), (Space::Shared, call.arg(1, lane)), bytes)?;
    }
    Ok(())
}

/// `store_async` and `red_async`.
pub(super) fn store_async(call: &mut Call<'_>) -> Done {
    let (ty, space) = (call.inst.ty, call.space());
    let size = ty.bytes() as usize;
    let columns = size.div_ceil(8);
    let count = call.args.len().saturating_sub(2) / columns;
    for lane in lanes(call.lanes) {
        let (to, signal) = (call.arg(0, lane), call.arg(1, lane));
        aligned(lane, to, size * count, size * count)?;
        for n in 0..count {
            let at = to + (n * size) as u64;
            let half =
                |h: usize| if h < columns { u128::from(call.arg(2 + n * columns + h, lane)) << (64 * h) } else { 0 };
            let value = half(0) | half(1);
            if call.inst.op == Op::RedAsync {
                let op = call.attr::<AtomOp>();
                call.strand.update(lane, space, at, size, |old| Some(combine(op, ty, false, old, value)))?;
            } else {
                call.strand.write(lane, space, at, &value.to_le_bytes()[..size])?;
            }
        }
        complete(call, lane, space, signal, size * count)?;
    }
    Ok(())
}
