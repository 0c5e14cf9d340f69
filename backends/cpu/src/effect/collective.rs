//! Ops among the lanes of a warp. The lanes of a warp that run together are all there; threads that run by themselves
//! wait until all members that have not ended are at an op of the same kind with the same members.

use super::{Call, Done, Outcome, execute, instruction, lanes};
use crate::sys::strand::Strand;
use crate::trouble::Trouble;
use hetgpu_llvm::abi::{Column, Described};
use hetir::eval::{Modes, exchange};
use hetir::interp::FaultKind;
use hetir::op::Op;

/// Which operand holds the members; none where all lanes of the warp are.
fn members_operand(op: Op) -> Option<usize> {
    match op {
        Op::WarpSync | Op::Elect => Some(0),
        Op::Shuffle => Some(3),
        Op::Vote | Op::Ballot | Op::MatchAny | Op::MatchAll | Op::Redux => Some(1),
        _ => None,
    }
}

fn not_a_member(lane: usize, members: u32) -> Box<Trouble> {
    Trouble::new(FaultKind::BadMask, lane, format!("lane {lane} is not among the members {members:#010x}"))
}

/// Executes a warp op for lanes that run together: those that name the same members exchange values.
pub(super) fn together(call: &mut Call<'_>) -> Result<(), Box<Trouble>> {
    let Some(operand) = members_operand(call.inst.op) else { return Ok(()) };
    let modes = Modes::of(&call.inst);
    let mut left = call.lanes;
    while left != 0 {
        let members = call.arg(operand, left.trailing_zeros() as usize) as u32;
        let same = lanes(left).filter(|&l| call.arg(operand, l) as u32 == members).fold(0, |m, l| m | 1u32 << l);
        left &= !same;
        if let Some(lane) = lanes(same & !members).next() {
            return Err(not_a_member(lane, members));
        }
        let Some(modes) = modes else { return Ok(()) };
        for (n, values) in exchange(call.inst.op, call.inst.ty, &modes, same, call.args).iter().enumerate() {
            lanes(same).for_each(|lane| call.set(n, lane, values[lane]));
        }
    }
    Ok(())
}

/// What two lanes must have in common to meet, beside the members.
fn kind(d: &Described) -> impl PartialEq + use<> {
    (d.op, d.ty, d.attrs)
}

/// Executes one op at which strands of a warp meet, if all its members are there: which strands go on. `live` has the
/// lanes that have not ended. An error is of the strand that it names.
pub(crate) fn meet(waiting: &[u16], strands: &[Box<Strand>], live: u32) -> Result<Vec<u16>, (u16, Box<Trouble>)> {
    // Lanes whose group was looked at: each comes by itself, so that this runs for every one of them.
    let mut seen = 0u32;
    for &n in waiting {
        let first = &strands[usize::from(n)];
        let borrowed = first.meeting().borrow();
        let (Some(meeting), Some(lane)) = (borrowed.as_ref(), first.lane()) else { continue };
        if seen >> lane & 1 != 0 {
            continue;
        }
        let described = meeting.described;
        let Some((inst, _)) = instruction(&described) else { continue };
        let operand = members_operand(inst.op);
        let members = operand.map_or(u32::MAX, |o| meeting.words.get(o).map_or(0, |&w| w as u32));
        if members >> lane & 1 == 0 {
            return Err((n, not_a_member(lane as usize, members).at(&described)));
        }
        if operand.is_none() && live != u32::MAX {
            let message =
                format!("{} needs all 32 lanes, of which only {live:#010x} have not ended", inst.op.info().name);
            return Err((n, Trouble::new(FaultKind::BadMask, lane as usize, message).at(&described)));
        }
        if waiting.len() < (members & live).count_ones() as usize {
            continue;
        }
        let same = |other: &Strand| {
            let borrowed = other.meeting().borrow();
            borrowed.as_ref().is_some_and(|m| {
                let named = operand.map_or(u32::MAX, |o| m.words.get(o).map_or(0, |&w| w as u32));
                kind(&m.described) == kind(&described) && named == members
            })
        };
        let group = waiting.iter().map(|&n| (n, &*strands[usize::from(n)]));
        let joined: Vec<(u16, &Strand)> = group.filter(|(_, s)| same(s)).collect();
        let present = joined.iter().filter_map(|(_, s)| s.lane()).fold(0u32, |m, l| m | 1 << l);
        seen |= present;
        if present != members & live {
            continue;
        }
        drop(borrowed);
        return perform(&joined, present, &described).map_err(|t| (n, t.at(&described)));
    }
    Ok(Vec::new())
}

/// Tells strands of a warp that ask who is with them: those that ask at the same place.
pub(crate) fn tell(asking: &[u16], strands: &[Box<Strand>]) {
    let place = |n: u16| {
        let borrowed = strands[usize::from(n)].meeting().borrow();
        borrowed.as_ref().map(|m| (m.described.function, m.described.span))
    };
    let bit = |n: u16| strands[usize::from(n)].lane().map_or(0, |lane| 1u32 << lane);
    for &n in asking {
        let here = place(n);
        let lanes = asking.iter().filter(|&&other| place(other) == here).fold(0, |m, &other| m | bit(other));
        if let Some(meeting) = strands[usize::from(n)].meeting().borrow_mut().as_mut() {
            meeting.words = vec![lanes.into()];
        }
    }
}

/// Executes an op for strands that are all there.
fn perform(joined: &[(u16, &Strand)], present: u32, d: &Described) -> Result<Vec<u16>, Box<Trouble>> {
    let arg_columns = usize::from(d.args) + d.wide_args.count_ones() as usize;
    let result_columns = usize::from(d.results) + d.wide_results.count_ones() as usize;
    let mut args: Vec<Column> = vec![[0; 32]; arg_columns];
    let mut results: Vec<Column> = vec![[0; 32]; result_columns];
    let lane_of = |s: &Strand| s.lane().unwrap_or(0) as usize & 31;
    for (_, strand) in joined {
        if let Some(meeting) = strand.meeting().borrow().as_ref() {
            args.iter_mut().zip(&meeting.words).for_each(|(column, &word)| column[lane_of(strand)] = word);
        }
    }
    if let Some((_, first)) = joined.first()
        && let Some(mut call) = Call::new(first, d, present, &args, &mut results)
    {
        let outcome: Done = execute(&mut call);
        debug_assert_ne!(outcome.as_ref().ok(), Some(&Outcome::Again), "what lanes meet at does not wait otherwise");
        outcome?;
    }
    for (_, strand) in joined {
        if let Some(meeting) = strand.meeting().borrow_mut().as_mut() {
            meeting.words = results.iter().map(|column| column[lane_of(strand)]).collect();
        }
    }
    Ok(joined.iter().map(|(n, _)| *n).collect())
}
