//! Ops among the lanes of a warp. Each waits until all members that have not ended are at an op of the same kind with
//! the same members, and then happens for all of them at once.

use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{ReduxOp, ShuffleMode, VoteMode};
use crate::eval::Flags;
use crate::interp::FaultKind;
use crate::interp::check::Meeting;
use crate::interp::code::{Column, Ins};
use crate::interp::machine::Block;
use crate::interp::warp::{Group, State, Warp};
use crate::ir::InstData;
use crate::num::{self, Format, MinMax};
use crate::op::Op;
use crate::types::Type;

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

/// What a warp op's attributes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::interp) struct Modes {
    pub shuffle: ShuffleMode,
    pub vote: VoteMode,
    pub redux: ReduxOp,
    pub flags: Flags,
}

impl Modes {
    /// The modes of a warp op; `None` for other ops.
    pub(in crate::interp) fn of(data: &InstData) -> Option<Self> {
        let waits = matches!(
            data.op,
            Op::WarpSync | Op::Elect | Op::Shuffle | Op::Vote | Op::Ballot | Op::MatchAny | Op::MatchAll | Op::Redux
        );
        waits.then(|| Self { shuffle: data.attr(), vote: data.attr(), redux: data.attr(), flags: Flags::of(data) })
    }
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
    let same = |v: u64| [v; 32];
    let set = |values: &Column| lanes(present).filter(|&l| values[l] != 0).fold(0u32, |m, l| m | 1 << l);
    match ins.op {
        Op::Elect => {
            let leader = present.trailing_zeros();
            scatter(warp, joined, 0, &same(leader.into()));
            scatter(warp, joined, 1, &std::array::from_fn(|l| u64::from(l as u32 == leader)));
        }
        Op::Shuffle => {
            let (values, selectors, clamps) =
                (gather(warp, joined, 0), gather(warp, joined, 1), gather(warp, joined, 2));
            let mut result = [0; 32];
            let mut in_range = [0; 32];
            for lane in lanes(present) {
                let (from, ok) = shuffle_source(modes.shuffle, lane as i32, selectors[lane], clamps[lane]);
                in_range[lane] = u64::from(ok);
                // A lane that does not take part has no value: 0, as an H200 gives it.
                if present >> from & 1 != 0 {
                    result[lane] = values[from];
                }
            }
            scatter(warp, joined, 0, &result);
            scatter(warp, joined, 1, &in_range);
        }
        Op::Vote => {
            let votes = set(&gather(warp, joined, 0));
            let result = match modes.vote {
                VoteMode::All => votes == present,
                VoteMode::Any => votes != 0,
                VoteMode::Uni => votes == present || votes == 0,
            };
            scatter(warp, joined, 0, &same(result.into()));
        }
        Op::Ballot => {
            let votes = set(&gather(warp, joined, 0));
            scatter(warp, joined, 0, &same(votes.into()));
        }
        Op::MatchAny => {
            let values = gather(warp, joined, 0);
            let result = std::array::from_fn(|l| {
                lanes(present).filter(|&o| values[o] == values[l]).fold(0u64, |m, o| m | 1 << o)
            });
            scatter(warp, joined, 0, &result);
        }
        Op::MatchAll => {
            let values = gather(warp, joined, 0);
            let first = values[present.trailing_zeros() as usize & 31];
            let all = lanes(present).all(|l| values[l] == first);
            scatter(warp, joined, 0, &same(if all { present.into() } else { 0 }));
            scatter(warp, joined, 1, &same(all.into()));
        }
        Op::Redux => {
            let values = gather(warp, joined, 0);
            let reduced = lanes(present).map(|l| values[l]).reduce(|a, b| redux(&modes, ins.ty, a, b));
            let reduced = lone_float(&modes, ins.ty, present, reduced.unwrap_or(0));
            scatter(warp, joined, 0, &same(reduced));
        }
        // `warpsync` has no result: every lane's accesses are visible to all at once.
        _ => {}
    }
}

/// The lane that a shuffle reads (PTX, shfl), and whether it lies in range.
fn shuffle_source(mode: ShuffleMode, lane: i32, selector: u64, clamp: u64) -> (usize, bool) {
    let (b, c) = ((selector & 31) as i32, (clamp & 31) as i32);
    let segment = (clamp >> 8 & 31) as i32;
    let highest = lane & segment | c & !segment & 31;
    let lowest = lane & segment;
    let (from, ok) = match mode {
        ShuffleMode::Up => (lane - b, lane - b >= highest),
        ShuffleMode::Down => (lane + b, lane + b <= highest),
        ShuffleMode::Bfly => (lane ^ b, lane ^ b <= highest),
        ShuffleMode::Idx => {
            let from = lowest | b & !segment;
            (from, from <= highest)
        }
    };
    if ok && (0..32).contains(&from) { (from as usize, true) } else { (lane as usize, ok) }
}

fn redux(modes: &Modes, ty: Type, a: u64, b: u64) -> u64 {
    let (x, y) = (a as u32 as i32, b as u32 as i32);
    let float = |max: bool| {
        let how = MinMax { ftz: false, nan: modes.flags.nan, xorsign_abs: false };
        let magnitude = |v| if modes.flags.abs { num::abs(Format::F32, v, false) } else { v };
        let (a, b) = (magnitude(a), magnitude(b));
        if max { num::max(Format::F32, a, b, how) } else { num::min(Format::F32, a, b, how) }
    };
    let value = match modes.redux {
        ReduxOp::Add => a.wrapping_add(b),
        ReduxOp::SMin => x.min(y) as u64,
        ReduxOp::SMax => x.max(y) as u64,
        ReduxOp::UMin => a.min(b),
        ReduxOp::UMax => a.max(b),
        ReduxOp::And => a & b,
        ReduxOp::Or => a | b,
        ReduxOp::Xor => a ^ b,
        ReduxOp::FMin => float(false),
        ReduxOp::FMax => float(true),
    };
    value & ty.mask()
}

/// A single member's value is treated as the minimum of itself and itself.
fn lone_float(modes: &Modes, ty: Type, present: u32, value: u64) -> u64 {
    if present.count_ones() == 1 && matches!(modes.redux, ReduxOp::FMin | ReduxOp::FMax) {
        redux(modes, ty, value, value)
    } else {
        value
    }
}
