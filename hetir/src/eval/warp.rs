//! What lanes of a warp make of each other's values.

use super::Flags;
use crate::attr::{ReduxOp, ShuffleMode, VoteMode};
use crate::ir::InstData;
use crate::num::{self, Format, MinMax};
use crate::op::Op;
use crate::types::Type;

type Column = [u64; 32];

/// What a warp op's attributes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Modes {
    /// Lane selection.
    pub shuffle: ShuffleMode,
    /// What a vote computes.
    pub vote: VoteMode,
    /// Reduction.
    pub redux: ReduxOp,
    /// The others.
    pub flags: Flags,
}

impl Modes {
    /// The modes of a warp op; `None` for other ops.
    pub fn of(data: &InstData) -> Option<Self> {
        let waits = matches!(
            data.op,
            Op::WarpSync | Op::Elect | Op::Shuffle | Op::Vote | Op::Ballot | Op::MatchAny | Op::MatchAll | Op::Redux
        );
        waits.then(|| Self { shuffle: data.attr(), vote: data.attr(), redux: data.attr(), flags: Flags::of(data) })
    }
}

/// The results of a warp op for the lanes present, all of which are members. Operands are those before the members'
/// mask; missing ones count as 0.
pub fn exchange(op: Op, ty: Type, modes: &Modes, present: u32, operands: &[Column]) -> Vec<Column> {
    let operand = |n: usize| operands.get(n).unwrap_or(&[0; 32]);
    let lanes = || (0..32).filter(|l| present >> l & 1 != 0);
    let same = |v: u64| [v; 32];
    let set = |values: &Column| lanes().filter(|&l| values[l] != 0).fold(0u32, |m, l| m | 1 << l);
    match op {
        Op::Elect => {
            let leader = present.trailing_zeros();
            vec![same(leader.into()), std::array::from_fn(|l| u64::from(l as u32 == leader))]
        }
        Op::Shuffle => {
            let (values, selectors, clamps) = (operand(0), operand(1), operand(2));
            let mut result = [0; 32];
            let mut in_range = [0; 32];
            for lane in lanes() {
                let (from, ok) = shuffle_source(modes.shuffle, lane as i32, selectors[lane], clamps[lane]);
                in_range[lane] = u64::from(ok);
                // A lane that does not take part has no value: 0, as an H200 gives it.
                if present >> from & 1 != 0 {
                    result[lane] = values[from];
                }
            }
            vec![result, in_range]
        }
        Op::Vote => {
            let votes = set(operand(0));
            let result = match modes.vote {
                VoteMode::All => votes == present,
                VoteMode::Any => votes != 0,
                VoteMode::Uni => votes == present || votes == 0,
            };
            vec![same(result.into())]
        }
        Op::Ballot => vec![same(set(operand(0)).into())],
        Op::MatchAny => {
            let values = operand(0);
            vec![std::array::from_fn(|l| lanes().filter(|&o| values[o] == values[l]).fold(0u64, |m, o| m | 1 << o))]
        }
        Op::MatchAll => {
            let values = operand(0);
            let first = values[present.trailing_zeros() as usize & 31];
            let all = lanes().all(|l| values[l] == first);
            vec![same(if all { present.into() } else { 0 }), same(all.into())]
        }
        Op::Redux => {
            let values = operand(0);
            let reduced = lanes().map(|l| values[l]).reduce(|a, b| redux(modes, ty, a, b));
            vec![same(lone_float(modes, ty, present, reduced.unwrap_or(0)))]
        }
        // `warpsync` has no result: every lane's accesses are visible to all at once.
        _ => Vec::new(),
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
