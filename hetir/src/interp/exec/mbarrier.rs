//! Mbarriers: what arrives at them and what waits for them.

use super::memory::{Kind, Place, resolve};
use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{Drop, NoComplete, Space};
use crate::interp::FaultKind;
use crate::interp::machine::{Common, Env};
use crate::interp::warp::{State, Warp};
use crate::mbarrier::{Mbarrier, Misuse};
use crate::op::Op;
use crate::types::Type;

/// Bytes of an mbarrier.
const SIZE: usize = 8;
/// Lane-ops after which `mbarrier_try` gives up.
const TIME_LIMIT: u64 = 1 << 20;

/// Where an mbarrier is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct At {
    /// The block's rank, and the place in its shared memory.
    pub rank: u32,
    pub offset: u64,
}

impl Common {
    /// The bits at a place.
    fn mbarrier(&mut self, at: At) -> Option<&mut [u8; SIZE]> {
        let shared = self.shared.get_mut(at.rank as usize)?;
        let from = usize::try_from(at.offset).ok()?;
        shared.get_mut(from..from.checked_add(SIZE)?)?.try_into().ok()
    }
    /// Changes an mbarrier; what it was.
    pub(super) fn change(
        &mut self,
        at: At,
        change: impl FnOnce(Mbarrier) -> Result<Mbarrier, Misuse>,
    ) -> Result<Mbarrier, Misuse> {
        let Some(bytes) = self.mbarrier(at) else { return Err(Misuse::Absent) };
        let before = Mbarrier(u64::from_le_bytes(*bytes));
        let after = change(before)?;
        *bytes = after.0.to_le_bytes();
        self.copies.changes += 1;
        if before.parity() != after.parity() {
            self.copies.phases += 1;
        }
        Ok(before)
    }
}

impl Step<'_, '_> {
    /// The place of an mbarrier, in any block of the cluster.
    pub(super) fn mbarrier_at(&self, lane: usize, space: Space, address: u64) -> Result<At, Box<Trouble>> {
        let wrong = |kind, why: &str| trouble(kind, lane as u32, format!("an mbarrier at {address:#x}, {why}"));
        let Ok((Place::Shared(rank), offset)) = resolve(space, address, self.block.rank) else {
            return wrong(FaultKind::OutOfBounds, "which is not in shared memory");
        };
        if !address.is_multiple_of(SIZE as u64) {
            return wrong(FaultKind::Misaligned, "which is no multiple of 8");
        }
        let bytes = self.cluster.shared.get(rank as usize).map_or(0, |s| s.len() as u64);
        if offset + SIZE as u64 > bytes {
            return wrong(FaultKind::OutOfBounds, &format!("and the block has {bytes} bytes of shared memory"));
        }
        Ok(At { rank, offset })
    }

    /// The mbarrier that a lane's operation is about: only in `cluster` space may it be another block's.
    fn mine(&mut self, lane: usize, address: u64) -> Result<At, Box<Trouble>> {
        let at = self.mbarrier_at(lane, self.ins.space, address)?;
        if at.rank != self.block.rank && self.ins.space != Space::Cluster {
            let message = format!("an mbarrier at {address:#x}, which is another block's");
            return trouble(FaultKind::BadOperand, lane as u32, message);
        }
        Ok(at)
    }

    /// The same, for an operation that counts as an atomic access.
    pub(super) fn accessed(&mut self, lane: usize, address: u64) -> Result<At, Box<Trouble>> {
        let at = self.mine(lane, address)?;
        if self.env.checks.any() {
            self.check_access(lane, Place::Shared(at.rank), at.offset, SIZE, Kind::Atomic, None)?;
        }
        Ok(at)
    }

    pub(super) fn change(
        &mut self,
        lane: usize,
        at: At,
        change: impl FnOnce(Mbarrier) -> Result<Mbarrier, Misuse>,
    ) -> Result<Mbarrier, Box<Trouble>> {
        match self.cluster.change(at, change) {
            Ok(before) => Ok(before),
            Err(why) => misused(lane, at, why),
        }
    }
}

fn misused<T>(lane: usize, at: At, why: Misuse) -> Result<T, Box<Trouble>> {
    trouble(FaultKind::BadBarrier, lane as u32, format!("mbarrier at {:#x}: {why}", at.offset))
}

/// `mbarrier_init` and `mbarrier_inval`.
pub(super) fn set(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (addresses, counts) = (step.addresses(), step.arg(1));
    for lane in lanes(step.lanes) {
        let at = step.mine(lane, addresses[lane])?;
        let new = match step.ins.op {
            Op::MbarrierInval => Mbarrier(0),
            _ => match Mbarrier::new(counts[lane] as u32) {
                Ok(new) => new,
                Err(why) => return misused(lane, at, why),
            },
        };
        if step.env.checks.any() {
            let data = new.0.to_le_bytes();
            step.check_access(lane, Place::Shared(at.rank), at.offset, SIZE, Kind::Write, Some(&data))?;
        }
        step.change(lane, at, |_| Ok(new))?;
    }
    Ok(Next::Advance)
}

/// `mbarrier_expect` and `mbarrier_complete`.
pub(super) fn expect(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (addresses, bytes) = (step.addresses(), step.arg(1));
    let sign = if step.ins.op == Op::MbarrierComplete { -1 } else { 1 };
    for lane in lanes(step.lanes) {
        let at = step.accessed(lane, addresses[lane])?;
        step.change(lane, at, |m| m.expect(sign * bytes[lane] as i64))?;
    }
    Ok(Next::Advance)
}

/// `mbarrier_arrive` and `mbarrier_arrive_expect`.
pub(super) fn arrive(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (addresses, numbers) = (step.addresses(), step.arg(1));
    let drop = step.attr::<Drop>() == Drop::Yes;
    let no_complete = step.attr::<NoComplete>() == NoComplete::Yes;
    let expects = step.ins.op == Op::MbarrierArriveExpect;
    for lane in lanes(step.lanes) {
        let at = step.accessed(lane, addresses[lane])?;
        let number = numbers[lane] as u32;
        let before = step.change(lane, at, |m| {
            if expects {
                return m.expect(number.into())?.arrive(1, drop);
            }
            if no_complete && number == m.pending() {
                return Err(Misuse::Completes);
            }
            m.arrive(number, drop)
        })?;
        let state = if step.ins.space == Space::Cluster { 0 } else { before.state() };
        step.set(0, lane, state);
    }
    Ok(Next::Advance)
}

/// Whether the phase that a lane asks for is complete; `awaited` is a state or a parity.
fn is_complete(step: &mut Step<'_, '_>, lane: usize, address: u64, awaited: u64) -> Result<bool, Box<Trouble>> {
    let at = step.accessed(lane, address)?;
    let bits = step.cluster.mbarrier(at).map_or(0, |b| u64::from_le_bytes(*b));
    let now = Mbarrier(bits);
    let complete = if step.ins.ty == Type::I64 { now.is_past(awaited) } else { now.is_complete(awaited as u32) };
    // After the last arrival has been dropped there is nothing left but the parity.
    if !complete && now.is_absent() {
        return misused(lane, at, Misuse::Absent);
    }
    Ok(complete)
}

pub(super) fn test(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (addresses, awaited) = (step.addresses(), step.arg(1));
    for lane in lanes(step.lanes) {
        let complete = is_complete(step, lane, addresses[lane], awaited[lane])?;
        step.set(0, lane, complete.into());
    }
    Ok(Next::Advance)
}

/// Lanes whose phase is complete go on; the others are woken by the next phase of any mbarrier and look again.
pub(super) fn try_wait(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (addresses, awaited) = (step.addresses(), step.arg(2));
    let mut complete = 0;
    for lane in lanes(step.lanes) {
        if is_complete(step, lane, addresses[lane], awaited[lane])? {
            step.set(0, lane, 1);
            complete |= 1 << lane;
        }
    }
    if complete == step.lanes {
        return Ok(Next::Advance);
    }
    if complete != 0 {
        step.divide(step.lanes & !complete);
        step.group().pc += 1;
        return Ok(Next::Moved);
    }
    let seen = step.cluster.copies.phases;
    let until = step.env.clock.saturating_add(TIME_LIMIT);
    step.group().state = State::Phase { seen, until };
    Ok(Next::Moved)
}

/// Lets a group go on that waits in `mbarrier_try`, if a phase has begun or it has waited long enough.
pub(super) fn wake(env: &Env<'_>, cluster: &Common, warp: &mut Warp<'_>, group: usize) {
    let State::Phase { seen, until } = warp.groups[group].state else { return };
    if cluster.copies.phases != seen {
        warp.groups[group].state = State::Ready;
    } else if env.steps >= until {
        give_up(warp, group);
    }
}

/// The phase was not complete in time.
fn give_up(warp: &mut Warp<'_>, group: usize) {
    let g = &mut warp.groups[group];
    let frame = &mut warp.frames[g.frame as usize];
    let ins = frame.code.ins.get(g.pc as usize);
    if let Some(&to) = ins.and_then(|i| frame.code.results(i).first()) {
        lanes(g.lanes).for_each(|l| frame.registers[to as usize][l] = 0);
    }
    g.pc += 1;
    g.state = State::Ready;
}

/// Ends the waits of a warp as if their time were over; false where there was none.
pub(in crate::interp) fn time_out(warp: &mut Warp<'_>) -> bool {
    let waiting: Vec<usize> =
        (0..warp.groups.len()).filter(|&n| matches!(warp.groups[n].state, State::Phase { .. })).collect();
    waiting.iter().for_each(|&n| give_up(warp, n));
    !waiting.is_empty()
}
