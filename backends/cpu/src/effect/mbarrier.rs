//! Mbarriers. A block stays with one worker, and so do the blocks of a cluster that have to do with each other, so that
//! their mbarriers are changed by one thread of the host.

use super::{Call, Outcome, lanes};
use crate::trouble::Trouble;
use hetir::attr::{Drop, NoComplete, Space};
use hetir::interp::FaultKind;
use hetir::interp::space::{SHARED_STRIDE, Window, window};
use hetir::mbarrier::{Mbarrier, Misuse};
use hetir::op::Op;
use hetir::types::Type;

/// Bytes of an mbarrier.
const SIZE: u64 = 8;
/// Turns after which `mbarrier_try` gives up.
const TURNS: u32 = 1000;

type Done = Result<(), Box<Trouble>>;

fn misused(lane: usize, address: u64, why: Misuse) -> Box<Trouble> {
    Trouble::new(FaultKind::BadBarrier, lane, format!("mbarrier at {address:#x}: {why}"))
}

/// The space and the place in it of an mbarrier: only in `cluster` space may it be another block's.
fn place(lane: usize, space: Space, address: u64) -> Result<(Space, u64), Box<Trouble>> {
    let wrong = |kind, why: &str| Err(Trouble::new(kind, lane, format!("an mbarrier at {address:#x}, {why}")));
    let place = match space {
        Space::Generic => match window(address) {
            (Window::Shared, offset) => (Space::Cluster, offset),
            _ => return wrong(FaultKind::OutOfBounds, "which is not in shared memory"),
        },
        _ => (space, address),
    };
    if !address.is_multiple_of(SIZE) {
        return wrong(FaultKind::Misaligned, "which is no multiple of 8");
    }
    Ok(place)
}

/// The address operand, at which an mbarrier of the own block must be, but for operations on `cluster` space.
fn own(call: &Call<'_>, lane: usize) -> Result<u64, Box<Trouble>> {
    let address = call.address(lane);
    let (_, offset) = place(lane, call.space(), address)?;
    if call.space() == Space::Generic && offset / SHARED_STRIDE != call.strand.warp().rank.into() {
        let message = format!("an mbarrier at {address:#x}, which is another block's");
        return Err(Trouble::new(FaultKind::BadOperand, lane, message));
    }
    Ok(address)
}

/// The bits of an mbarrier.
fn bits(call: &Call<'_>, lane: usize, space: Space, address: u64) -> Result<Mbarrier, Box<Trouble>> {
    let mut bytes = [0; 8];
    let (space, offset) = place(lane, space, address)?;
    call.strand.read(lane, space, offset, &mut bytes)?;
    Ok(Mbarrier(u64::from_le_bytes(bytes)))
}

/// Changes an mbarrier; what it was.
pub(super) fn change(
    call: &Call<'_>,
    lane: usize,
    space: Space,
    address: u64,
    change: impl FnOnce(Mbarrier) -> Result<Mbarrier, Misuse>,
) -> Result<Mbarrier, Box<Trouble>> {
    let before = bits(call, lane, space, address)?;
    let after = change(before).map_err(|why| misused(lane, address, why))?;
    let (space, offset) = place(lane, space, address)?;
    call.strand.write(lane, space, offset, &after.0.to_le_bytes())?;
    Ok(before)
}

/// `mbarrier_init` and `mbarrier_inval`.
pub(super) fn set(call: &mut Call<'_>) -> Done {
    for lane in lanes(call.lanes) {
        let (address, count) = (own(call, lane)?, call.arg(1, lane) as u32);
        let inval = call.inst.op == Op::MbarrierInval;
        change(call, lane, call.space(), address, |_| if inval { Ok(Mbarrier(0)) } else { Mbarrier::new(count) })?;
    }
    Ok(())
}

/// `mbarrier_expect` and `mbarrier_complete`.
pub(super) fn expect(call: &mut Call<'_>) -> Done {
    let sign = if call.inst.op == Op::MbarrierComplete { -1 } else { 1 };
    for lane in lanes(call.lanes) {
        let bytes = call.arg(1, lane) as i64;
        change(call, lane, call.space(), own(call, lane)?, |m| m.expect(sign * bytes))?;
    }
    Ok(())
}

/// `mbarrier_arrive` and `mbarrier_arrive_expect`.
pub(super) fn arrive(call: &mut Call<'_>) -> Done {
    let drop = call.attr::<Drop>() == Drop::Yes;
    let no_complete = call.attr::<NoComplete>() == NoComplete::Yes;
    let expects = call.inst.op == Op::MbarrierArriveExpect;
    for lane in lanes(call.lanes) {
        let number = call.arg(1, lane) as u32;
        let before = change(call, lane, call.space(), own(call, lane)?, |m| {
            if expects {
                return m.expect(number.into())?.arrive(1, drop);
            }
            if no_complete && number == m.pending() {
                return Err(Misuse::Completes);
            }
            m.arrive(number, drop)
        })?;
        let state = if call.space() == Space::Cluster { 0 } else { before.state() };
        call.set(0, lane, state);
    }
    Ok(())
}

/// Whether the phase that a lane asks for is complete; the operand is a state or a parity.
fn is_complete(call: &Call<'_>, lane: usize, operand: usize) -> Result<bool, Box<Trouble>> {
    let (address, awaited) = (own(call, lane)?, call.arg(operand, lane));
    let now = bits(call, lane, call.space(), address)?;
    let complete = if call.inst.ty == Type::I64 { now.is_past(awaited) } else { now.is_complete(awaited as u32) };
    // After the last arrival has been dropped there is nothing left but the parity.
    if !complete && now.is_absent() {
        return Err(misused(lane, address, Misuse::Absent));
    }
    Ok(complete)
}

pub(super) fn test(call: &mut Call<'_>) -> Done {
    for lane in lanes(call.lanes) {
        let complete = is_complete(call, lane, 1)?;
        call.set(0, lane, complete.into());
    }
    Ok(())
}

/// Waits while no lane's phase is complete, for some time.
pub(super) fn try_wait(call: &mut Call<'_>) -> super::Done {
    let mut any = false;
    for lane in lanes(call.lanes) {
        let complete = is_complete(call, lane, 2)?;
        call.set(0, lane, complete.into());
        any |= complete;
    }
    call.turns += 1;
    Ok(if any || call.turns > TURNS { Outcome::Finished } else { Outcome::Again })
}
