//! Ops among the lanes of a warp. Each waits until all members that have not ended are at an op of the same kind with
//! the same members, and then happens for all of them at once.

use super::{Next, Step, Trouble, lanes, trouble};
use crate::eval::{Modes, exchange};
use crate::interp::FaultKind;
use crate::interp::check::Meeting;
use crate::interp::code::{Column, Ins};
use crate::interp::machine::Block;
use crate::interp::warp::{Group, State, Warp};
use crate::op::Op;

pub(super) fn active_mask(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let mask = step.lanes.into();
    step.set_all(0, &[mask; 32]);
    Ok(Next::Advance)
}

/// Which operand holds the members.
const fn members_operand(op: Op) -> usize {
    match op {
        Op::WarpSync | Op::Elect => 0,
        Op::Shuffle => 3,
        _ => 1,
    }
}

pub(super) fn collective(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let operand = members_operand(step.ins.op);
    let masks = step.arg(operand);
    let mask = step.lanes;
    let first = mask.trailing_zeros() as usize;
    let members = masks[first] as u32;
    if let Some(lane) = lanes(mask).find(|&l| masks[l] as u32 >> l & 1 == 0) {
        let message = format!("lane {lane} is not among the members {:#010x}", masks[lane] as u32);
        return trouble(FaultKind::BadMask, lane as u32, message);
    }
    // Lanes that name other members do this on their own.
    let same = lanes(mask).filter(|&l| masks[l] as u32 == members).fold(0, |m, l| m | 1u32 << l);
    if same != mask {
        step.divide(mask & !same);
    }
    step.group().state = State::Members(members);
    complete(step.block, step.warp, step.group);
    Ok(Next::Moved)
}

/// Executes the op that a group waits at, if all its members are there.
fn complete(block: &mut Block, warp: &mut Warp<'_>, group: usize) {
    let one = warp.groups[group];
    let State::Members(members) = one.state else { return };
    let Some((ins, _)) = instruction(warp, &one) else { return };
    let same = |g: &Group| {
        g.state == State::Members(members)
            && instruction(warp, g).is_some_and(|(i, attrs)| {
                i.op == ins.op && i.ty == ins.ty && Some(attrs) == instruction(warp, &one).map(|x| x.1)
            })
    };
    let joined: Vec<usize> = (0..warp.groups.len()).filter(|&n| same(&warp.groups[n])).collect();
    let present = joined.iter().fold(0, |m, &n| m | warp.groups[n].lanes);
    if present != members & warp.live {
        return;
    }
    execute(warp, &joined, present);
    if ins.op == Op::WarpSync && block.clocks.active() {
        let mut meeting = Meeting::default();
        block.clocks.arrive(&mut meeting, warp.id, present);
        block.clocks.leave(&meeting.close(), warp.id, present);
    }
    for &n in &joined {
        let g = &mut warp.groups[n];
        g.state = State::Ready;
        g.pc += 1;
    }
}

/// Threads have ended: ops that only waited for them happen now.
pub(super) fn members_ended(block: &mut Block, warp: &mut Warp<'_>) {
    for n in 0..warp.groups.len() {
        complete(block, warp, n);
    }
}

/// The instruction that a group is at, and its modes.
fn instruction<'l>(warp: &Warp<'l>, g: &Group) -> Option<(&'l Ins, Modes)> {
    let code = warp.frames.get(g.frame as usize)?.code;
    let ins = code.ins.get(g.pc as usize)?;
    Some((ins, *code.modes.get(ins.imm as usize)?))
}

/// Gathers an operand over groups.
pub(super) fn gather(warp: &Warp<'_>, joined: &[usize], n: usize) -> Column {
    let mut values = [0; 32];
    for &g in joined {
        let group = &warp.groups[g];
        let frame = &warp.frames[group.frame as usize];
        let Some(ins) = frame.code.ins.get(group.pc as usize) else { continue };
        let Some(&r) = frame.code.args(ins).get(n) else { continue };
        let column = super::column(&frame.registers, &frame.code.constants, r);
        for lane in lanes(group.lanes) {
            values[lane] = column[lane];
        }
    }
    values
}

/// Hands a result to groups.
pub(super) fn scatter(warp: &mut Warp<'_>, joined: &[usize], n: usize, values: &Column) {
    for &g in joined {
        let group = warp.groups[g];
        let frame = &mut warp.frames[group.frame as usize];
        let Some(ins) = frame.code.ins.get(group.pc as usize) else { continue };
        let Some(&r) = frame.code.results(ins).get(n) else { continue };
        for lane in lanes(group.lanes) {
            frame.registers[r as usize][lane] = values[lane];
        }
    }
}

fn execute(warp: &mut Warp<'_>, joined: &[usize], present: u32) {
    let Some((ins, modes)) = joined.first().and_then(|&n| instruction(warp, &warp.groups[n])) else { return };
    let operands: [Column; 3] = std::array::from_fn(|n| gather(warp, joined, n));
    for (n, values) in exchange(ins.op, ins.ty, &modes, present, &operands).iter().enumerate() {
        scatter(warp, joined, n, values);
    }
}
