//! What is known of values before code is made: which are one number for the warp, which are a uniform base and constant
//! distances, and which floats may hold a NaN that is not the canonical one.

use super::multiple::Multiples;
use super::plan::Facts;
use hetir::analysis::uniform::{Uniform, Uniformity};
use hetir::attr::{Relu, Sat, Sign, Space, Sreg};
use hetir::entity::{Block, Inst, Value};
use hetir::ir::Body;
use hetir::op::Op;
use hetir::types::Type;
use std::collections::HashSet;
use std::rc::Rc;

/// How a value of the warp is held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// One number.
    Uniform,
    /// One number, and each lane's distance from it.
    Affine(Rc<Affine>),
    /// A vector.
    Varying,
}

/// Lane `l` holds `base + distance[l]`, modulo the type's width, plus what [`Guess`]es are off by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Affine {
    pub(super) distance: Distance,
    pub(super) guesses: Vec<Guess>,
}

/// Each lane's distance from a base: a constant, and constant multiples of uniform values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Distance {
    pub(super) offsets: [i64; 32],
    pub(super) terms: Vec<Term>,
}

/// Lane `l` is `multiples[l]` times the value away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Term {
    /// A uniform value.
    pub(super) value: Value,
    /// How it is extended from 32 bits to 64, if it is: whether it is signed.
    pub(super) extended: Option<bool>,
    pub(super) multiples: [i64; 32],
}

/// An op on an affine value was taken to commute with adding the lanes' distances. Where it does not, the result is off by
/// the factor times the difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Guess {
    pub(super) how: How,
    /// The op's operand, which is affine, and the distances in its result.
    pub(super) value: Value,
    pub(super) distance: Distance,
    pub(super) factor: i64,
}

/// What was done to the operand of a [`Guess`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    /// Extended from 32 bits to 64: no lane's sum leaves the range.
    Extended { signed: bool },
    /// The smaller or larger of it and a uniform value, of 32 bits: that is always the operand.
    Clamped { smaller: bool, signed: bool, bound: Value },
    /// Bitwise `and` with a uniform value: it keeps all the bits that tell lanes apart, and the base has none of them.
    Masked { bits: Value },
}

/// Distances beyond this are not followed.
const FAR: i64 = 1 << 28;

/// Most uniform values that distances are multiples of.
const MOST_TERMS: usize = 2;

/// Most guesses that a value depends on.
const MOST_GUESSES: usize = 4;

impl How {
    /// The uniform value beside the operand.
    fn other(self) -> Option<Value> {
        match self {
            Self::Extended { .. } => None,
            Self::Clamped { bound, .. } => Some(bound),
            Self::Masked { bits } => Some(bits),
        }
    }
}

fn near(offsets: &[i64; 32]) -> bool {
    offsets.iter().all(|o| o.abs() <= FAR)
}

impl Distance {
    fn times(&self, factor: i64) -> Option<Self> {
        let mut result = self.clone();
        let terms = result.terms.iter_mut().map(|t| &mut t.multiples);
        for numbers in terms.chain([&mut result.offsets]) {
            for n in numbers.iter_mut() {
                *n = n.checked_mul(factor)?;
            }
            if !near(numbers) {
                return None;
            }
        }
        Some(result)
    }
    fn plus(&self, other: &Self, sign: i64) -> Option<Self> {
        let mut result = self.clone();
        let add = |to: &mut [i64; 32], what: &[i64; 32]| {
            to.iter_mut().zip(what).for_each(|(n, m)| *n += sign * m);
            near(to)
        };
        if !add(&mut result.offsets, &other.offsets) {
            return None;
        }
        for term in &other.terms {
            let same = |t: &&mut Term| t.value == term.value && t.extended == term.extended;
            match result.terms.iter_mut().find(same) {
                Some(t) => {
                    if !add(&mut t.multiples, &term.multiples) {
                        return None;
                    }
                }
                None => {
                    let mut term = term.clone();
                    term.multiples.iter_mut().for_each(|n| *n *= sign);
                    result.terms.push(term);
                }
            }
        }
        result.terms.retain(|t| t.multiples.iter().any(|n| *n != 0));
        (result.terms.len() <= MOST_TERMS).then_some(result)
    }
    /// The lanes' places among the multiples: lanes of one class differ by constants alone.
    pub(super) fn class(&self, lane: usize) -> Vec<i64> {
        self.terms.iter().map(|t| t.multiples[lane]).collect()
    }
}

impl Affine {
    fn of(offsets: [i64; 32]) -> Self {
        Self { distance: Distance { offsets, terms: Vec::new() }, guesses: Vec::new() }
    }
    fn near(self) -> Option<Self> {
        (near(&self.distance.offsets) && self.guesses.len() <= MOST_GUESSES).then_some(self)
    }
    fn times(&self, factor: i64) -> Option<Self> {
        let mut result = Self { distance: self.distance.times(factor)?, guesses: self.guesses.clone() };
        for g in &mut result.guesses {
            g.factor = g.factor.checked_mul(factor)?;
        }
        result.near()
    }
    fn plus(&self, other: &Self, sign: i64) -> Option<Self> {
        let mut result = Self { distance: self.distance.plus(&other.distance, sign)?, guesses: self.guesses.clone() };
        for g in &other.guesses {
            result.guesses.push(Guess { factor: g.factor.checked_mul(sign)?, ..g.clone() });
        }
        result.near()
    }
    /// The values that its lanes' distances refer to.
    pub(super) fn values(&self) -> impl Iterator<Item = Value> + '_ {
        let distances = self.guesses.iter().map(|g| &g.distance).chain([&self.distance]);
        let terms = distances.flat_map(|d| &d.terms).map(|t| t.value);
        terms.chain(self.guesses.iter().flat_map(|g| [Some(g.value), g.how.other()].into_iter().flatten()))
    }
    /// The guesses behind an op on a value stand with that value.
    fn guessed(value: Value, how: How, distance: Distance) -> Option<Self> {
        let guess = Guess { how, value, distance: distance.clone(), factor: 1 };
        Self { distance, guesses: vec![guess] }.near()
    }
    /// The bits that tell lanes apart, where their distances are constants and less than 2^10.
    pub(super) fn low_bits(distance: &Distance) -> Option<u64> {
        let largest = distance.offsets.iter().copied().max()?;
        let few = distance.terms.is_empty() && distance.offsets.iter().all(|o| (0..1024).contains(o));
        few.then(|| (largest as u64 + 1).next_power_of_two() - 1)
    }
    /// Whether no two lanes have the same, in 16 bits or more.
    pub(super) fn is_different_in_all(&self) -> bool {
        let known = self.distance.terms.is_empty() && self.guesses.is_empty();
        let different: HashSet<u16> = self.distance.offsets.iter().map(|o| *o as u16).collect();
        known && different.len() == self.distance.offsets.len()
    }
    /// Whether the lanes' distances are multiples of a number.
    pub(super) fn is_multiple_of(&self, number: i64) -> bool {
        let terms = self.distance.terms.iter().map(|t| &t.multiples);
        terms.chain([&self.distance.offsets]).flatten().all(|n| n % number == 0)
    }
    /// Times a uniform value that is not known.
    fn times_value(&self, value: Value) -> Option<Self> {
        if !self.distance.terms.is_empty() || !self.guesses.is_empty() {
            return None;
        }
        let term = Term { value, extended: None, multiples: self.distance.offsets };
        Some(Self { distance: Distance { offsets: [0; 32], terms: vec![term] }, guesses: Vec::new() })
    }
}

/// A special register that is a uniform base and constant distances in a block of this shape: the distances.
pub(super) fn sreg_offsets(sreg: Sreg, block: [u32; 3]) -> Option<[i64; 32]> {
    let [x, y, z] = block;
    let lanes = |f: &dyn Fn(u32) -> u32| Some(std::array::from_fn(|l| i64::from(f(l as u32))));
    // A warp covers whole rows (slices), or a part of one, and never begins inside of one and ends in the next.
    let fits = |n: u32| n.is_multiple_of(32) || 32u32.is_multiple_of(n);
    match sreg {
        Sreg::LaneId => lanes(&|l| l),
        Sreg::TidX if y == 1 && z == 1 => lanes(&|l| l),
        Sreg::TidX if fits(x) => lanes(&|l| if x % 32 == 0 { l } else { l % x }),
        Sreg::TidY if z == 1 && fits(x) && x < 32 => lanes(&|l| l / x),
        Sreg::TidY if fits(x) && x < 32 && fits(x * y) => lanes(&|l| if x * y % 32 == 0 { l / x } else { l / x % y }),
        Sreg::TidZ if fits(x * y) && x * y < 32 => lanes(&|l| l / (x * y)),
        _ => None,
    }
}

/// The shapes of a function's values.
pub(super) struct Shapes {
    shapes: Vec<Option<Shape>>,
    /// Whether an `f32` is the result of arithmetic, whose NaN stands for the canonical one whatever its bits are.
    loose: Vec<bool>,
    lanes: u32,
    /// Addresses of shared memory carry a block's rank, which generic ones are given anew.
    clusters: bool,
}

impl Shapes {
    pub(super) fn of(body: &Body, facts: &Facts<'_>, block: [u32; 3], clusters: bool) -> Self {
        let lanes = if facts.uniform.is_some() { 32 } else { 1 };
        let (shapes, loose) = (vec![None; body.values.len()], vec![true; body.values.len()]);
        let mut shapes = Self { shapes, loose, lanes, clusters };
        if let Some(uniform) = facts.uniform {
            shapes.solve(body, facts, uniform, block);
            shapes.drop_certain(body, facts, block);
        }
        shapes.solve_loose(body, facts);
        shapes
    }

    /// A value where it is defined.
    pub(super) fn get(&self, value: Value) -> Shape {
        if self.lanes == 1 {
            return Shape::Uniform;
        }
        self.shapes[value.index()].clone().unwrap_or(Shape::Varying)
    }
    pub(super) fn is_loose(&self, value: Value) -> bool {
        self.loose[value.index()]
    }

    fn solve(&mut self, body: &Body, facts: &Facts<'_>, uniform: &Uniform, block: [u32; 3]) {
        for n in 0..body.values.len() {
            if uniform.value(Value::new(n)) <= Uniformity::Warp {
                self.shapes[n] = Some(Shape::Uniform);
            }
        }
        if let Some(entry) = facts.cfg.order().first() {
            for p in &body.blocks[entry.index()].params {
                self.shapes[p.index()] = Some(Shape::Varying);
            }
        }
        loop {
            let mut changed = false;
            for &b in facts.cfg.order() {
                for &inst in &body.blocks[b.index()].insts {
                    for &result in body.results(inst) {
                        if self.shapes[result.index()] == Some(Shape::Uniform) {
                            continue;
                        }
                        let new = if body.results(inst).len() == 1 {
                            self.result(body, facts, b, inst, block)
                        } else {
                            Some(Shape::Varying)
                        };
                        changed |= self.lower(result, new);
                    }
                    for target in body.targets(inst) {
                        let params = &body.blocks[target.block.index()].params;
                        let apart = uniform.meets(target.block) == Uniformity::Divergent;
                        for (&param, &arg) in params.iter().zip(body.target_args(*target)) {
                            if self.shapes[param.index()] == Some(Shape::Uniform) {
                                continue;
                            }
                            let temporal =
                                facts.view(arg, target.block).is_some() && !facts.leave_together(b, target.block);
                            let new = match self.shapes[arg.index()].clone() {
                                _ if apart || temporal => Some(Shape::Varying),
                                // Something else comes along another edge, since the parameter is divergent.
                                Some(Shape::Uniform) => Some(Shape::Varying),
                                other => other,
                            };
                            changed |= self.lower(param, new);
                        }
                    }
                }
            }
            if !changed {
                break;
            }
        }
    }

    /// Drops guesses that cannot be wrong.
    fn drop_certain(&mut self, body: &Body, facts: &Facts<'_>, block: [u32; 3]) {
        let multiples = Multiples::of(body, facts.cfg, block, |v| self.get(v));
        let certain = |guess: &Guess| {
            let Shape::Affine(operand) = self.get(guess.value) else { return false };
            let extended = matches!(guess.how, How::Extended { .. }) && operand.guesses.is_empty();
            let low = Affine::low_bits(&guess.distance).map(|low| low.trailing_ones());
            extended && low.is_some_and(|low| low <= multiples.zero_bits(guess.value))
        };
        let without: Vec<_> = (0..self.shapes.len())
            .filter_map(|n| match &self.shapes[n] {
                Some(Shape::Affine(a)) if a.guesses.iter().any(certain) => {
                    let guesses = a.guesses.iter().filter(|guess| !certain(guess)).cloned().collect();
                    Some((n, Affine { distance: a.distance.clone(), guesses }))
                }
                _ => None,
            })
            .collect();
        for (n, affine) in without {
            self.shapes[n] = Some(Shape::Affine(Rc::new(affine)));
        }
    }

    /// Takes a value down to what both its present and a new shape allow.
    fn lower(&mut self, value: Value, new: Option<Shape>) -> bool {
        let Some(new) = new else { return false };
        let slot = &mut self.shapes[value.index()];
        let met = match slot {
            None => new,
            Some(old) if *old == new => return false,
            Some(Shape::Varying) => return false,
            Some(_) => Shape::Varying,
        };
        *slot = Some(met);
        true
    }

    /// The shape of a divergent instruction's one result; `None` while its operands are not known.
    fn result(&self, body: &Body, facts: &Facts<'_>, here: Block, inst: Inst, block: [u32; 3]) -> Option<Shape> {
        let data = body.inst(inst);
        let args = body.args(inst);
        let varying = Some(Shape::Varying);
        let word = matches!(data.ty, Type::I32 | Type::I64);
        let shape = |n: usize| self.shapes[args[n].index()].clone();
        let made = |a: Option<Affine>| Some(a.map_or(Shape::Varying, |a| Shape::Affine(Rc::new(a))));
        // Operands of loops that lanes have left one by one are vectors.
        if args.iter().any(|a| facts.view(*a, here).is_some()) {
            return varying;
        }
        match data.op {
            Op::Sreg => made(sreg_offsets(data.attr(), block).map(Affine::of)),
            Op::IAdd | Op::ISub if word && data.attr::<Sat>() == Sat::No => {
                let sign = if data.op == Op::ISub { -1 } else { 1 };
                match (shape(0)?, shape(1)?) {
                    (Shape::Affine(a), Shape::Affine(b)) => made(a.plus(&b, sign)),
                    (Shape::Affine(a), Shape::Uniform) => made(Some((*a).clone())),
                    (Shape::Uniform, Shape::Affine(b)) => made(b.times(sign)),
                    _ => varying,
                }
            }
            Op::IMul | Op::IMulWide if matches!(data.ty, Type::I32 | Type::I64) => {
                let factor = |n: usize| body.constant(args[n]).map(|c| signed(c, data.ty));
                let (a, c) = match (shape(0)?, shape(1)?) {
                    (Shape::Affine(a), Shape::Uniform) => ((a, args[0]), factor(1)),
                    (Shape::Uniform, Shape::Affine(b)) => ((b, args[1]), factor(0)),
                    _ => return varying,
                };
                if data.op == Op::IMul {
                    let by = if a.1 == args[0] { args[1] } else { args[0] };
                    return made(match c {
                        Some(c) => a.0.times(c),
                        None => a.0.times_value(by),
                    });
                }
                let Some(c) = c else { return varying };
                if data.ty != Type::I32 || (data.attr::<Sign>() == Sign::U && c < 0) {
                    return varying;
                }
                made(extended(&a.0, a.1, data.attr::<Sign>() == Sign::S).and_then(|a| a.times(c)))
            }
            Op::Shl if word => match (shape(0)?, body.constant(args[1])) {
                (Shape::Affine(a), Some(n)) if n < 28 => made(a.times(1 << n)),
                _ => varying,
            },
            Op::Sext | Op::Zext if data.ty == Type::I64 && body.ty(args[0]) == Type::I32 => match shape(0)? {
                Shape::Affine(a) => made(extended(&a, args[0], data.op == Op::Sext)),
                _ => varying,
            },
            Op::Trunc if data.ty == Type::I32 && body.ty(args[0]) == Type::I64 => match shape(0)? {
                Shape::Affine(a) => made(truncated(&a, |v| self.shapes[v.index()].clone())),
                _ => varying,
            },
            Op::ToGeneric if self.clusters && data.attr::<Space>() == Space::Shared => varying,
            Op::ToGeneric | Op::FromGeneric if data.attr::<Space>() != Space::Local => match shape(0)? {
                Shape::Affine(a) => made(Some((*a).clone())),
                _ => varying,
            },
            Op::IMin | Op::IMax if data.ty == Type::I32 && data.attr::<Relu>() == Relu::No => {
                let (a, value, bound) = match (shape(0)?, shape(1)?) {
                    (Shape::Affine(a), Shape::Uniform) => (a, args[0], args[1]),
                    (Shape::Uniform, Shape::Affine(b)) => (b, args[1], args[0]),
                    _ => return varying,
                };
                if !a.distance.terms.is_empty() {
                    return varying;
                }
                let (smaller, signed) = (data.op == Op::IMin, data.attr::<Sign>() == Sign::S);
                made(Affine::guessed(value, How::Clamped { smaller, signed, bound }, a.distance.clone()))
            }
            Op::And if word => {
                let (a, value, bits) = match (shape(0)?, shape(1)?) {
                    (Shape::Affine(a), Shape::Uniform) => (a, args[0], args[1]),
                    (Shape::Uniform, Shape::Affine(b)) => (b, args[1], args[0]),
                    _ => return varying,
                };
                let Some(low) = Affine::low_bits(&a.distance) else { return varying };
                if body.constant(bits).is_some_and(|c| c & low != low) {
                    return varying;
                }
                made(Affine::guessed(value, How::Masked { bits }, a.distance.clone()))
            }
            Op::Select => match (shape(0)?, shape(1)?, shape(2)?) {
                (Shape::Uniform, Shape::Affine(a), Shape::Affine(b)) if a == b => made(Some((*a).clone())),
                _ => varying,
            },
            _ => varying,
        }
    }

    /// Which floats are loose: results of arithmetic, and what is chosen among such.
    fn solve_loose(&mut self, body: &Body, facts: &Facts<'_>) {
        let not_nan = |v: Value| body.constant(v).is_some_and(|c| !f32::from_bits(c as u32).is_nan());
        for &b in facts.cfg.order() {
            for &inst in &body.blocks[b.index()].insts {
                for &r in body.results(inst) {
                    let data = body.inst(inst);
                    // A NaN that was an f64 or a bf16 keeps its payload.
                    let kept = data.op == Op::FCvt && body.args(inst).iter().all(|a| body.ty(*a) != Type::F16);
                    self.loose[r.index()] = body.ty(r) == Type::F32
                        && !kept
                        && matches!(
                            data.op,
                            Op::FAdd
                                | Op::FCvt
                                | Op::FSub
                                | Op::FMul
                                | Op::FFma
                                | Op::FDiv
                                | Op::FRcp
                                | Op::FSqrt
                                | Op::FNeg
                                | Op::FAbs
                                | Op::FMin
                                | Op::FMax
                                | Op::FApprox
                                | Op::FDivApprox
                                | Op::FRound
                                | Op::IToF
                                | Op::Select
                        );
                }
            }
        }
        if let Some(entry) = facts.cfg.order().first() {
            for p in &body.blocks[entry.index()].params {
                self.loose[p.index()] = false;
            }
        }
        loop {
            let mut changed = false;
            let mut strict = |loose: &mut Vec<bool>, to: Value, from: Value| {
                if loose[to.index()] && !loose[from.index()] && !not_nan(from) {
                    loose[to.index()] = false;
                    changed = true;
                }
            };
            for &b in facts.cfg.order() {
                for p in &body.blocks[b.index()].params {
                    self.loose[p.index()] &= body.ty(*p) == Type::F32;
                }
                for &inst in &body.blocks[b.index()].insts {
                    if body.inst(inst).op == Op::Select {
                        for n in 1..3 {
                            strict(&mut self.loose, body.results(inst)[0], body.args(inst)[n]);
                        }
                    }
                    for target in body.targets(inst) {
                        let params = &body.blocks[target.block.index()].params;
                        for (&param, &arg) in params.iter().zip(body.target_args(*target)) {
                            strict(&mut self.loose, param, arg);
                        }
                    }
                }
            }
            if !changed {
                break;
            }
        }
    }
}

/// A 32-bit value made a 64-bit one.
fn extended(a: &Affine, value: Value, signed: bool) -> Option<Affine> {
    let mut distance = a.distance.clone();
    for term in &mut distance.terms {
        term.extended = Some(signed);
    }
    Affine::guessed(value, How::Extended { signed }, distance)
}

/// A 64-bit value made a 32-bit one. What a sum that left its range is off by are multiples of 2^32; what remains is what
/// the values that were extended are off by.
fn truncated(a: &Affine, shape: impl Fn(Value) -> Option<Shape>) -> Option<Affine> {
    let mut result = Affine { distance: a.distance.clone(), guesses: Vec::new() };
    for term in &mut result.distance.terms {
        term.extended.take()?;
    }
    for guess in &a.guesses {
        match (guess.how, shape(guess.value)) {
            (How::Extended { .. }, Some(Shape::Affine(before))) => {
                for g in &before.guesses {
                    result.guesses.push(Guess { factor: g.factor.checked_mul(guess.factor)?, ..g.clone() });
                }
            }
            _ => return None,
        }
    }
    result.near()
}

fn signed(bits: u64, ty: Type) -> i64 {
    if ty == Type::I32 { i64::from(bits as u32 as i32) } else { bits as i64 }
}
