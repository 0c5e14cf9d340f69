//! Loops that are cut into strips of some turns, between which there is a site: a loop in a loop.
//!
//! Where that is wanted, a loop that counts towards a bound runs towards a nearer one in each strip, and looks behind it whether it was the
//! bound: a turn then takes what it took before. Other loops count their turns beside. Vector code wants all of them to: with a bound of its
//! own each lane leaves by itself, and a sum of many numbers takes eight times as long.

use super::Strips;
use super::sites::{lead, span_of};
use crate::analysis::cfg::{Cfg, Edge};
use crate::attr::{IntCmp, Sat, Sign};
use crate::build::{Attrs, Builder};
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def};
use crate::op::Op;
use crate::types::Type;

/// A loop, and how it is cut.
pub(super) struct Loop<'a> {
    pub(super) cfg: &'a Cfg,
    pub(super) header: Block,
    pub(super) entries: &'a [Edge],
    pub(super) latches: &'a [Edge],
    /// Whether a block belongs to it.
    pub(super) contains: &'a dyn Fn(Block) -> bool,
    /// Whether a value is there before it begins.
    pub(super) is_before: &'a dyn Fn(Value) -> bool,
}

/// A branch by which a loop goes on as long as a number that grows by the same in each turn compares with a bound.
struct Counts {
    /// Which of the header's parameters it is.
    place: usize,
    step: Value,
    bound: Value,
    /// What is compared with the bound, and whether that is what the parameter will be in the next turn.
    tested: Value,
    ahead: bool,
    /// How, where the loop goes on.
    how: IntCmp,
    sign: Sign,
    /// The block that ends in the branch, and which of its targets belongs to the loop.
    block: Block,
    stays: usize,
    /// What the header is given in the next turn, as far as that is known in that block.
    next: Vec<Value>,
    /// The branch stands in front of the turn, so that a strip may end without one.
    first: bool,
}

impl Loop<'_> {
    /// Cuts the loop into strips of so many turns. Gives the block between two strips.
    pub(super) fn cut(&self, body: &mut Body, turns: u32, strips: Strips) -> Block {
        let counts = if strips == Strips::Bounded { self.counts(body) } else { None };
        match counts.filter(|counts| counts.can_be_cut(body, turns)) {
            Some(counts) => self.cut_by_bound(body, &counts, turns),
            None => self.cut_by_count(body, turns),
        }
    }

    fn cut_by_count(&self, body: &mut Body, turns: u32) -> Block {
        let span = span_of(body, self.header);
        let (outer, given) = lead(body, self.header, self.entries);
        let (latch, next) = lead(body, self.header, self.latches);
        let (between, kept) = same_parameters(body, outer);
        let left = body.add_param(self.header, Type::I32);
        let mut b = Builder { span, ..Builder::new(body, outer) };
        let all = b.constant(Type::I32, turns.into());
        b.jump(self.header, &[&given[..], &[all]].concat());
        b.block = latch;
        let one = b.constant(Type::I32, 1);
        let less = b.op(Op::ISub, Type::I32, &[left, one]);
        let none = b.constant(Type::I32, 0);
        let over = b.op(Attrs::of(Op::ICmp).with(IntCmp::Eq), Type::I32, &[less, none]);
        b.branch(over, (between, &next), (self.header, &[&next[..], &[less]].concat()));
        b.block = between;
        b.jump(outer, &kept);
        between
    }

    /// How the loop counts: by the branch in front of its only end, or in its header.
    fn counts(&self, body: &Body) -> Option<Counts> {
        let [latch] = self.latches else { return None };
        let end = latch.from;
        let jump = body.terminator(end).filter(|_| body.blocks[end.index()].insts.len() == 1)?;
        let params = &body.blocks[self.header.index()].params;
        let passed = body.target_args(*body.targets(jump).first()?);
        // What comes to the end goes to the header as it is.
        if body.inst(jump).op != Op::Br || passed != body.blocks[end.index()].params {
            return None;
        }
        let at_end = match self.cfg.predecessors(end) {
            [only] => {
                self.branch(body, only.from).filter(|(_, stays)| *stays == only.target).and_then(|(branch, stays)| {
                    let target = body.targets(branch)[stays];
                    let next = body.target_args(target);
                    (target.block == end).then_some(())?;
                    self.counts_by(body, only.from, next, next)
                })
            }
            _ => None,
        };
        at_end.or_else(|| {
            // The next turn begins with what the end is given, which has to be one sum wherever it comes from.
            let [first, rest @ ..] = self.cfg.predecessors(end) else { return None };
            let given = |edge: &Edge| Some(body.target_args(body.targets(body.terminator(edge.from)?)[edge.target]));
            let next = given(first)?;
            let alike = rest.iter().all(|edge| given(edge) == Some(next));
            self.counts_by(body, self.header, next, params).filter(|counts| alike && !counts.ahead)
        })
    }

    /// A block's branch out of the loop, and which of its targets stays in it.
    fn branch(&self, body: &Body, block: Block) -> Option<(Inst, usize)> {
        let branch = body.terminator(block).filter(|t| body.inst(*t).op == Op::BrIf)?;
        let [yes, no] = [0, 1].map(|n| (self.contains)(body.targets(branch)[n].block));
        (yes != no).then_some((branch, usize::from(no)))
    }

    /// The same, where a block's branch looks at a parameter of the header that is given the sum of itself and a step.
    fn counts_by(&self, body: &Body, block: Block, next: &[Value], behind: &[Value]) -> Option<Counts> {
        let (branch, stays) = self.branch(body, block)?;
        let Def::Result(compare) = body.values[body.args(branch)[0].index()].def else { return None };
        let data = body.inst(compare);
        if data.op != Op::ICmp {
            return None;
        }
        let (how, sign) = (data.attr::<IntCmp>(), data.attr::<Sign>());
        let how = if stays == 0 { how } else { how.opposite() };
        let [a, b] = [body.args(compare)[0], body.args(compare)[1]];
        let params = &body.blocks[self.header.index()].params;
        let fixed = |v: Value| body.constant(v).is_some() || (self.is_before)(v);
        [(a, b, how), (b, a, how.swapped())].into_iter().find_map(|(tested, bound, how)| {
            let ty = body.ty(tested);
            if !fixed(bound) || ty != Type::I32 && ty != Type::I64 {
                return None;
            }
            let place = params.iter().zip(next).position(|(param, next)| *param == tested || *next == tested)?;
            let (param, next_value) = (params[place], next[place]);
            let step = added(body, next_value, param).filter(|step| fixed(*step))?;
            let counts = Counts {
                place,
                step,
                bound,
                tested,
                ahead: tested != param,
                how,
                sign,
                block,
                stays,
                next: behind.to_vec(),
                first: block == self.header && behind == params,
            };
            Some(counts)
        })
    }

    fn cut_by_bound(&self, body: &mut Body, counts: &Counts, turns: u32) -> Block {
        let (header, span) = (self.header, span_of(body, self.header));
        let ty = body.ty(counts.tested);
        let (outer, given) = lead(body, header, self.entries);
        let (between, kept) = same_parameters(body, outer);
        let behind = body.add_block();
        let limit = body.add_param(header, ty);
        let mut b = Builder { span, ..Builder::new(body, outer) };
        let nearer = counts.nearer(&mut b, given[counts.place], turns);
        b.jump(header, &[&given[..], &[nearer]].concat());
        for edge in self.latches {
            let Some(branch) = body.terminator(edge.from) else { continue };
            let args = [body.target_args(body.targets(branch)[edge.target]), &[limit]].concat();
            body.set_target_args(branch, edge.target, &args);
        }
        let Some(branch) = body.blocks[counts.block.index()].insts.pop() else { return between };
        let targets = [counts.stays, 1 - counts.stays].map(|n| {
            let target = body.targets(branch)[n];
            (target.block, body.target_args(target).to_vec())
        });
        let [(on, on_args), (out, out_args)] = targets;
        let compare = Attrs::of(Op::ICmp).with(counts.how).with(counts.sign);
        let mut b = Builder { span: body.spans[branch.index()], ..Builder::new(body, counts.block) };
        let goes_on = b.op(compare, ty, &[counts.tested, limit]);
        b.branch(goes_on, (on, &on_args), (behind, &[]));
        b.block = behind;
        let bound = again(&mut b, counts.bound);
        let goes_on = b.op(compare, ty, &[counts.tested, bound]);
        b.branch(goes_on, (between, &counts.next), (out, &out_args));
        b.block = between;
        b.span = span;
        b.jump(outer, &kept);
        between
    }
}

impl Counts {
    /// Whether it can be told where a strip of so many turns ends that does not pass by the bound.
    fn can_be_cut(&self, body: &Body, turns: u32) -> bool {
        let ty = body.ty(self.tested);
        match self.how {
            IntCmp::Eq => false,
            IntCmp::Ne => {
                let length = body.constant(self.step).and_then(|step| distance(step, ty)).map(|(length, _)| length);
                length.and_then(|length| length.checked_mul(turns.into())).is_some_and(|all| all <= ty.mask())
            }
            // Each strip has to get on.
            how if self.first => body.constant(self.step).is_some_and(|step| {
                let back = step >> (ty.bits() - 1) & 1 == 1;
                step != 0 && back == matches!(how, IntCmp::Gt | IntCmp::Ge)
            }),
            _ => true,
        }
    }

    /// The bound of a strip of about so many turns that begins with a number: whatever is on this side of it is on this side of the
    /// loop's own.
    fn nearer(&self, b: &mut Builder<'_>, from: Value, turns: u32) -> Value {
        let ty = b.body.ty(from);
        let (step, bound) = (again(b, self.step), again(b, self.bound));
        let turns_value = b.constant(ty, turns.into());
        let way = b.op(Op::IMul, ty, &[step, turns_value]);
        let there = b.op(Op::IAdd, ty, &[from, way]);
        let is_nearer = match b.body.constant(self.step).and_then(|step| distance(step, ty)) {
            Some((length, forwards)) if self.how == IntCmp::Ne => {
                // The steps meet the bound within the strip, or not.
                let (near, far) = if forwards { (from, bound) } else { (bound, from) };
                let mut left = b.op(Op::ISub, ty, &[far, near]);
                let mask = b.constant(ty, length - 1);
                let rest = b.op(Op::And, ty, &[left, mask]);
                let none = b.constant(ty, 0);
                let misses = b.op(Attrs::of(Op::ICmp).with(IntCmp::Ne), ty, &[rest, none]);
                if self.ahead {
                    // A bound that it begins with is met after all other numbers.
                    let one = b.constant(ty, 1);
                    left = b.op(Op::ISub, ty, &[left, one]);
                }
                let all = b.constant(ty, length * u64::from(turns));
                let beyond = b.op(Attrs::of(Op::ICmp).with(IntCmp::Ge).with(Sign::U), ty, &[left, all]);
                b.op(Op::Or, Type::B1, &[misses, beyond])
            }
            _ => {
                let compare = Attrs::of(Op::ICmp).with(self.how).with(self.sign);
                let nearer = b.op(compare, ty, &[there, bound]);
                if self.first {
                    // Past the end of the numbers there is no turn.
                    let turns = b.op(compare, ty, &[from, there]);
                    b.op(Op::And, Type::B1, &[nearer, turns])
                } else {
                    nearer
                }
            }
        };
        b.op(Op::Select, ty, &[is_nearer, there, bound])
    }
}

/// A block with the parameters that another has.
fn same_parameters(body: &mut Body, of: Block) -> (Block, Vec<Value>) {
    let block = body.add_block();
    let types: Vec<Type> = body.blocks[of.index()].params.iter().map(|p| body.ty(*p)).collect();
    let params = types.into_iter().map(|ty| body.add_param(block, ty)).collect();
    (block, params)
}

/// A value where constants of elsewhere are made anew.
fn again(b: &mut Builder<'_>, value: Value) -> Value {
    match b.body.constant(value) {
        Some(bits) => {
            let ty = b.body.ty(value);
            b.constant(ty, bits)
        }
        None => value,
    }
}

/// What is added to one value to get another.
fn added(body: &Body, sum: Value, to: Value) -> Option<Value> {
    let Def::Result(inst) = body.values[sum.index()].def else { return None };
    let data = body.inst(inst);
    if data.op != Op::IAdd || data.attr::<Sat>() == Sat::Yes {
        return None;
    }
    let [a, b] = [body.args(inst)[0], body.args(inst)[1]];
    match (a == to, b == to) {
        (true, false) => Some(b),
        (false, true) => Some(a),
        _ => None,
    }
}

/// The length of a step that is a power of two, and whether it goes forwards.
fn distance(step: u64, ty: Type) -> Option<(u64, bool)> {
    let back = step.wrapping_neg() & ty.mask();
    [(step, true), (back, false)].into_iter().find(|(length, _)| length.is_power_of_two() && *length <= ty.mask() / 2)
}
