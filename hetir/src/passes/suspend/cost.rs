//! How long loops and whole kernels take, where that can be told: loops that count from a known range towards another.

use crate::analysis::cfg::{Cfg, Edge};
use crate::analysis::dom::Dominators;
use crate::analysis::loops::{LoopForest, LoopId};
use crate::attr::{IntCmp, Sat, Sign, Sreg};
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def};
use crate::op::Op;
use std::collections::HashMap;

/// Definitions that a range is looked for through.
const DEPTH: u32 = 24;

/// What ops are worth that devices may compute by their definition, in instructions.
const SLOW: u64 = 250;

pub(super) struct Costs<'a> {
    pub(super) body: &'a Body,
    pub(super) cfg: &'a Cfg,
    pub(super) dom: &'a Dominators,
    pub(super) forest: &'a LoopForest,
    pub(super) definitions: &'a [Option<Block>],
    /// The shape of blocks.
    pub(super) shape: [u32; 3],
    /// Instructions of each loop, so far as they were asked for.
    pub(super) known: HashMap<LoopId, Option<u64>>,
}

/// The least and the largest that a value can be, as an unsigned number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    low: u128,
    high: u128,
}

impl Range {
    fn one(value: u64) -> Self {
        Self { low: value.into(), high: value.into() }
    }
    fn all(bits: u32) -> Self {
        Self { low: 0, high: (1 << bits.min(64)) - 1 }
    }
    /// The range, if it fits so many bits.
    fn within(self, bits: u32) -> Option<Self> {
        (self.high < 1 << bits.min(64)).then_some(self)
    }
    fn join(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
    /// As signed numbers of so many bits.
    fn signed(self, bits: u32) -> (i128, i128) {
        let half = 1i128 << (bits.min(64) - 1);
        let (low, high) = (self.low as i128, self.high as i128);
        match (low < half, high < half) {
            (true, true) => (low, high),
            (false, false) => (low - 2 * half, high - 2 * half),
            _ => (-half, half - 1),
        }
    }
}

impl Costs<'_> {
    /// Instructions that a thread executes in the whole body, if it is a kernel's, where that can be told.
    pub(super) fn whole(&mut self) -> Option<u64> {
        self.blocks(None)
    }

    /// Instructions that a thread executes in a loop, where that can be told.
    pub(super) fn of(&mut self, l: LoopId) -> Option<u64> {
        if let Some(known) = self.known.get(&l) {
            return *known;
        }
        let cost = self.turns(l).and_then(|turns| turns.checked_mul(self.turn(l)?));
        self.known.insert(l, cost);
        cost
    }

    /// Instructions of one turn, with loops inside of it.
    pub(super) fn turn(&mut self, l: LoopId) -> Option<u64> {
        self.blocks(Some(l))
    }

    /// The blocks of a loop or of the body, where loops inside of it count as one.
    fn blocks(&mut self, level: Option<LoopId>) -> Option<u64> {
        let all = match level {
            Some(l) => self.forest.blocks(l).to_vec(),
            None => self.cfg.order().to_vec(),
        };
        let mut sum = 0u64;
        for block in all {
            match self.forest.innermost(block) {
                inner if inner == level => {
                    for &inst in &self.body.blocks[block.index()].insts {
                        sum = sum.checked_add(weight(self.body, inst)?)?;
                    }
                }
                Some(inner) if self.forest.get(inner).header == block && self.forest.get(inner).parent == level => {
                    sum = sum.checked_add(self.of(inner)?)?;
                }
                _ => {}
            }
        }
        Some(sum)
    }

    /// At most so many turns: a parameter of the header counts in constant steps towards a limit, and the loop is left when it
    /// gets there.
    fn turns(&self, l: LoopId) -> Option<u64> {
        let header = self.forest.get(l).header;
        let latches = &self.forest.get(l).latches;
        let exits = self.forest.exits(self.cfg, l);
        let every_turn = |b: Block| latches.iter().all(|e| self.dom.dominates(b, e.from));
        let limits = exits.iter().filter(|(e, _)| every_turn(e.from));
        limits.filter_map(|(edge, _)| self.count(header, l, *edge, latches)).min()
    }

    fn count(&self, header: Block, l: LoopId, exit: Edge, latches: &[Edge]) -> Option<u64> {
        let body = self.body;
        let branch = body.terminator(exit.from).filter(|t| body.inst(*t).op == Op::BrIf)?;
        let Def::Result(compare) = body.values[body.args(branch)[0].index()].def else { return None };
        if body.inst(compare).op != Op::ICmp {
            return None;
        }
        let stays = body.targets(branch).iter().position(|t| self.forest.contains(l, t.block))? == 0;
        let (a, b) = (body.args(compare)[0], body.args(compare)[1]);
        let params = &body.blocks[header.index()].params;
        // The parameter itself, or what it will be in the next turn.
        let counted = |v: Value| -> Option<(usize, u64)> {
            let own = |v: Value| params.iter().position(|p| *p == v);
            own(v).map(|place| (place, 0)).or_else(|| {
                let (from, by) = self.added(v)?;
                Some((own(from)?, by))
            })
        };
        let outside = |v: Value| self.definitions[v.index()].is_none_or(|d| !self.forest.contains(l, d));
        let (place, ahead, limit, turned) = match (counted(a), counted(b)) {
            (Some((place, by)), _) if outside(b) || body.constant(b).is_some() => (place, by, b, false),
            (_, Some((place, by))) if outside(a) || body.constant(a).is_some() => (place, by, a, true),
            _ => return None,
        };
        let bits = body.ty(limit).bits();
        let signed = |v: u64| Range::one(v).signed(bits).0;
        let mut step = None;
        let param = params[place];
        let mut work = latches.to_vec();
        let mut place_in = vec![place; work.len()];
        while let (Some(edge), Some(place)) = (work.pop(), place_in.pop()) {
            let branch = body.terminator(edge.from)?;
            let next = body.target_args(body.targets(branch)[edge.target])[place];
            // A block at the loop's end passes on what comes from several.
            let own = body.blocks[edge.from.index()].params.iter().position(|p| *p == next);
            if let Some(own) = own.filter(|_| edge.from != header) {
                let before = self.cfg.predecessors(edge.from);
                work.extend(before);
                place_in.extend(before.iter().map(|_| own));
                continue;
            }
            let (from, by) = self.added(next)?;
            if from != param || step.is_some_and(|s| s != by) {
                return None;
            }
            step = Some(by);
        }
        let step = signed(step?);
        let ahead = signed(ahead);
        let mut start: Option<Range> = None;
        for edge in self.cfg.predecessors(header).iter().filter(|e| !self.forest.contains(l, e.from)) {
            let branch = body.terminator(edge.from)?;
            let given = body.target_args(body.targets(branch)[edge.target])[place];
            let range = self.range_at(given, header, edge.from, DEPTH);
            start = Some(start.map_or(range, |known| known.join(range)));
        }
        let (start, limit) = (start?, self.range_at(limit, header, header, DEPTH));
        let how = body.inst(compare);
        let exact = matches!(how.attr::<IntCmp>(), IntCmp::Eq | IntCmp::Ne);
        let (mut from, to) = match exact || how.attr::<Sign>() == Sign::U {
            true => {
                let plain = |r: Range| (r.low as i128, r.high as i128);
                (plain(start), plain(limit))
            }
            false => (start.signed(bits), limit.signed(bits)),
        };
        // Small negative numbers are given as large ones; only where a signed comparison looks at them do they stay such.
        from = (from.0 + ahead, from.1 + ahead);
        let (least, most) = match exact || how.attr::<Sign>() == Sign::U {
            true => (0, (1i128 << bits.min(64)) - 1),
            false => (-(1i128 << (bits.min(64) - 1)), (1i128 << (bits.min(64) - 1)) - 1),
        };
        if step == 0 || from.0 < least || from.1 > most {
            return None;
        }
        let way = if step > 0 { to.1 - from.0 } else { from.1 - to.0 };
        let on = match how.attr::<IntCmp>() {
            // An equality is met by every step of one that begins on this side of it, and by those that divide the way.
            IntCmp::Eq | IntCmp::Ne => {
                let stays_apart = stays == (how.attr::<IntCmp>() == IntCmp::Ne);
                let before = if step > 0 { from.1 <= to.0 } else { from.0 >= to.1 };
                let fixed = from.0 == from.1 && to.0 == to.1;
                stays_apart && before && (step.abs() == 1 || fixed && way % step == 0)
            }
            less_or_greater => {
                let less = matches!(less_or_greater, IntCmp::Lt | IntCmp::Le);
                // No step may pass by the limit and around the end of the numbers.
                let whole = if step > 0 { to.1 + step <= most } else { to.0 + step >= least };
                whole && (less == (stays != turned)) == (step > 0)
            }
        };
        on.then(|| u64::try_from(way.max(0) / step.abs() + 2).unwrap_or(u64::MAX))
    }

    /// The value and the constant that a value is the sum of.
    fn added(&self, value: Value) -> Option<(Value, u64)> {
        let Def::Result(inst) = self.body.values[value.index()].def else { return None };
        self.definitions[value.index()]?;
        let args = self.body.args(inst);
        let data = self.body.inst(inst);
        match data.op {
            Op::IAdd | Op::ISub if data.attr::<Sat>() == Sat::Yes => None,
            Op::IAdd => match (self.body.constant(args[0]), self.body.constant(args[1])) {
                (None, Some(by)) => Some((args[0], by)),
                (Some(by), None) => Some((args[1], by)),
                _ => None,
            },
            Op::ISub => Some((args[0], self.body.constant(args[1])?.wrapping_neg() & self.body.ty(value).mask())),
            _ => None,
        }
    }

    /// What a value can be where control goes from one block to another that is its successor, or is the same.
    fn range_at(&self, value: Value, to: Block, from: Block, depth: u32) -> Range {
        let mut range = self.range(value, depth);
        let (mut below, mut at) = (to, Some(from));
        // Conditions on the way there.
        while let Some(block) = at {
            let only = |t: Block| self.cfg.predecessors(t).len() == 1;
            if let Some(branch) = self.body.terminator(block).filter(|t| self.body.inst(*t).op == Op::BrIf) {
                let [yes, no] = [0, 1].map(|n| self.body.targets(branch)[n].block);
                let taken = |t: Block| {
                    t == below
                        && block == from
                        && from != to
                        && self.cfg.predecessors(to).iter().filter(|e| e.from == from).count() == 1
                        || only(t) && self.dom.dominates(t, from)
                };
                if yes != no && (taken(yes) || taken(no)) {
                    range = self.refined(range, value, self.body.args(branch)[0], taken(yes));
                }
            }
            below = block;
            at = self.dom.immediate(block);
        }
        range
    }

    /// A range, given that a condition on the value holds or does not.
    fn refined(&self, range: Range, value: Value, condition: Value, holds: bool) -> Range {
        let Def::Result(inst) = self.body.values[condition.index()].def else { return range };
        let data = self.body.inst(inst);
        let args = self.body.args(inst);
        if data.op != Op::ICmp || args[0] != value {
            return range;
        }
        let Some(c) = self.body.constant(args[1]).map(u128::from) else { return range };
        let half = 1u128 << (self.body.ty(value).bits().min(64) - 1);
        let Range { mut low, mut high } = range;
        let mut compare = data.attr::<IntCmp>();
        if !holds {
            compare = compare.opposite();
        }
        let same_sign = data.attr::<Sign>() == Sign::U || c < half && high < half;
        match compare {
            IntCmp::Eq => (low, high) = (c, c),
            IntCmp::Ne if low == c => low += 1,
            IntCmp::Ne if high == c => high = high.saturating_sub(1),
            IntCmp::Ne => {}
            _ if !same_sign => {}
            IntCmp::Lt => high = high.min(c.saturating_sub(1)),
            IntCmp::Le => high = high.min(c),
            IntCmp::Gt => low = low.max(c + 1),
            IntCmp::Ge => low = low.max(c),
        }
        // A way that is never taken.
        if low > high { range } else { Range { low, high } }
    }

    /// What a value can be, wherever it is.
    fn range(&self, value: Value, depth: u32) -> Range {
        let bits = self.body.ty(value).bits();
        let all = Range::all(bits);
        if depth == 0 || self.body.ty(value).lanes > 1 {
            return all;
        }
        match self.body.values[value.index()].def {
            Def::Result(inst) => self.computed(inst, bits, depth - 1).unwrap_or(all),
            Def::Param(block) => self.brought(value, block, depth - 1).unwrap_or(all),
            Def::None => all,
        }
    }

    fn brought(&self, value: Value, block: Block, depth: u32) -> Option<Range> {
        // What a loop makes of it is not known.
        if self.forest.headed_by(block).is_some() || block == Body::ENTRY {
            return None;
        }
        let place = self.body.blocks[block.index()].params.iter().position(|p| *p == value)?;
        let mut joined: Option<Range> = None;
        for edge in self.cfg.predecessors(block) {
            let branch = self.body.terminator(edge.from)?;
            let given = self.body.target_args(self.body.targets(branch)[edge.target])[place];
            let range = self.range_at(given, block, edge.from, depth);
            joined = Some(joined.map_or(range, |known| known.join(range)));
        }
        joined
    }

    fn computed(&self, inst: Inst, bits: u32, depth: u32) -> Option<Range> {
        let data = self.body.inst(inst);
        let args = self.body.args(inst);
        let arg = |n: usize| self.range(args[n], depth);
        let amount = |n: usize| self.body.constant(args[n]).filter(|by| *by < u64::from(bits.min(64)));
        match data.op {
            Op::Const => Some(Range::one(data.imm)),
            Op::Sreg => {
                let [x, y, z] = self.shape.map(u128::from);
                let below = |n: u128| Range { low: 0, high: n.saturating_sub(1) };
                let exactly = |n: u128| Range { low: n, high: n };
                const GRID: u128 = (1 << 31) - 1;
                Some(match data.attr::<Sreg>() {
                    Sreg::TidX => below(x),
                    Sreg::TidY => below(y),
                    Sreg::TidZ => below(z),
                    Sreg::NtidX => exactly(x),
                    Sreg::NtidY => exactly(y),
                    Sreg::NtidZ => exactly(z),
                    Sreg::LaneId => below(32),
                    Sreg::CtaidX | Sreg::CtaidY | Sreg::CtaidZ => below(GRID),
                    Sreg::NctaidX | Sreg::NctaidY | Sreg::NctaidZ => Range { low: 1, high: GRID },
                    _ => return None,
                })
            }
            Op::IAdd | Op::ISub if data.attr::<Sat>() == Sat::Yes => None,
            Op::IAdd => {
                let (a, b) = (arg(0), arg(1));
                let (a, b) = if a.low == a.high { (b, a) } else { (a, b) };
                let modulus = 1u128 << bits.min(64);
                if b.low == b.high && b.low >= modulus / 2 && a.low >= modulus - b.low {
                    // A negative constant.
                    let less = modulus - b.low;
                    return Some(Range { low: a.low - less, high: a.high - less });
                }
                Range { low: a.low + b.low, high: a.high + b.high }.within(bits)
            }
            Op::ISub => {
                let (a, b) = (arg(0), arg(1));
                (a.low >= b.high).then(|| Range { low: a.low - b.high, high: a.high - b.low })
            }
            Op::IMul => {
                let (a, b) = (arg(0), arg(1));
                Range { low: a.low * b.low, high: a.high.checked_mul(b.high)? }.within(bits)
            }
            Op::IMulWide if data.attr::<Sign>() == Sign::U => {
                let (a, b) = (arg(0), arg(1));
                Range { low: a.low * b.low, high: a.high.checked_mul(b.high)? }.within(bits)
            }
            Op::IDiv if data.attr::<Sign>() == Sign::U => {
                let (a, b) = (arg(0), arg(1));
                (b.low > 0).then(|| Range { low: a.low / b.high, high: a.high / b.low })
            }
            Op::IRem if data.attr::<Sign>() == Sign::U => {
                let (a, b) = (arg(0), arg(1));
                (b.low > 0).then(|| Range { low: 0, high: a.high.min(b.high - 1) })
            }
            Op::And => Some(Range { low: 0, high: arg(0).high.min(arg(1).high) }),
            Op::Or => {
                let (a, b) = (arg(0), arg(1));
                let top = 128 - (a.high | b.high).leading_zeros();
                Range { low: a.low.max(b.low), high: (1 << top) - 1 }.within(bits)
            }
            Op::Shl => {
                let (a, by) = (arg(0), amount(1)?);
                Range { low: a.low << by, high: a.high.checked_shl(by as u32)? }.within(bits)
            }
            Op::Shr => {
                let (a, by) = (arg(0), amount(1)?);
                let plain = data.attr::<Sign>() == Sign::U || a.high < 1 << (bits.min(64) - 1);
                plain.then(|| Range { low: a.low >> by, high: a.high >> by })
            }
            Op::Zext => Some(arg(0)),
            Op::Sext => {
                let narrow = self.body.ty(args[0]).bits();
                Some(arg(0)).filter(|r| r.high < 1 << (narrow.min(64) - 1))
            }
            Op::Trunc => arg(0).within(bits),
            Op::Select => Some(arg(1).join(arg(2))),
            Op::IMin if data.attr::<Sign>() == Sign::U => {
                let (a, b) = (arg(0), arg(1));
                Some(Range { low: a.low.min(b.low), high: a.high.min(b.high) })
            }
            Op::IMax if data.attr::<Sign>() == Sign::U => {
                let (a, b) = (arg(0), arg(1));
                Some(Range { low: a.low.max(b.low), high: a.high.max(b.high) })
            }
            Op::Popc | Op::Clz => Some(Range { low: 0, high: 64 }),
            _ => None,
        }
    }
}

/// What an instruction counts as; none where it may take any time.
fn weight(body: &Body, inst: Inst) -> Option<u64> {
    Some(match body.inst(inst).op {
        Op::Call | Op::CallIndirect | Op::Syscall | Op::NanoSleep => return None,
        Op::Mma | Op::GroupMma | Op::Tex | Op::TexGather => SLOW,
        _ => 1,
    })
}
