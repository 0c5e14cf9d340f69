//! How values are held: numbers, bases of affine values, vectors, and variables between blocks.

use super::shape::{Affine, Distance, Guess, How, Shape, Term};
use super::{Lowering, Result};
use crate::abi::{self, Described, Failure, Helper, Part, Warp};
use crate::sys::{Code, Emit, Int, Ty, Val};
use hetir::entity::{Inst, Value};
use hetir::op::Op;
use hetir::types::{Scalar, Type};
use std::collections::BTreeMap;

/// What one lane's value of a type is in LLVM: floats of one lane are floats, everything else is an integer; so is bf16,
/// whose NaNs would lose their payload where code is made for processors that have no such type.
pub(super) fn element<'c>(e: &Emit<'c>, ty: Type) -> Ty<'c> {
    if ty.lanes > 1 {
        return e.int_ty(ty.bits());
    }
    match ty.scalar {
        Scalar::F16 => e.half(),
        Scalar::F32 => e.float(),
        Scalar::F64 => e.double(),
        Scalar::Bf16 | Scalar::B1 | Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64 | Scalar::I128 => {
            e.int_ty(ty.bits())
        }
    }
}

impl<'c> Lowering<'_, '_, 'c> {
    /// The type of `element` for all lanes.
    pub(super) fn wide(&self, element: Ty<'c>) -> Ty<'c> {
        if self.lanes == 1 { element } else { element.vector(self.lanes) }
    }
    pub(super) fn i(&self, bits: u32) -> Ty<'c> {
        self.e.int_ty(bits)
    }
    pub(super) fn c32(&self, n: u32) -> Val<'c> {
        self.e.int_ty(32).int(n.into())
    }
    pub(super) fn c64(&self, n: u64) -> Val<'c> {
        self.e.int_ty(64).int(n)
    }

    /// How a value is held where this block sees it.
    pub(super) fn shape(&self, value: Value) -> Shape {
        match self.view(value) {
            Some(_) => Shape::Varying,
            None => self.shapes.get(value),
        }
    }
    /// The loop that lanes left with different values of what this block sees, if any. Constants are held nowhere.
    fn view(&self, value: Value) -> Option<hetir::analysis::loops::LoopId> {
        let varies = self.lanes > 1 && self.body.constant(value).is_none();
        self.facts.view(value, self.block).filter(|_| varies)
    }
    pub(super) fn is_uniform(&self, value: Value) -> bool {
        self.shape(value) == Shape::Uniform
    }
    /// Whether an instruction's results are numbers, so that it is computed once.
    pub(super) fn once(&self, inst: Inst) -> bool {
        self.body.results(inst).iter().all(|r| self.shapes.get(*r) == Shape::Uniform)
    }

    /// The value as it is held: a number, the base of an affine value, or a vector.
    pub(super) fn held(&mut self, value: Value) -> Val<'c> {
        if let Some(&v) = self.held.get(&value) {
            return v;
        }
        if let Some(bits) = self.body.constant(value) {
            let v = self.constant(self.body.ty(value), bits);
            self.held.insert(value, v);
            return v;
        }
        let view = self.view(value);
        let variable = self.variable(value, view);
        let ty = self.held_ty(value, view.is_some());
        let v = self.e.load(ty, variable, 1);
        self.held.insert(value, v);
        v
    }
    fn held_ty(&self, value: Value, viewed: bool) -> Ty<'c> {
        let element = self.element(self.body.ty(value));
        match self.shapes.get(value) {
            Shape::Uniform | Shape::Affine(_) if !viewed => element,
            _ => self.wide(element),
        }
    }
    pub(super) fn constant(&self, ty: Type, bits: u64) -> Val<'c> {
        let element = self.element(ty);
        let int = self.i(ty.bits()).int(bits);
        self.e.cast(Code::LLVMBitCast, int, element)
    }

    /// The variable that a value passes from block to block in.
    pub(super) fn variable(&mut self, value: Value, view: Option<hetir::analysis::loops::LoopId>) -> Val<'c> {
        if let Some(&v) = self.variables.get(&(value, view)) {
            return v;
        }
        let ty = self.held_ty(value, view.is_some());
        let v = self.e.alloca(self.entry, ty);
        self.variables.insert((value, view), v);
        v
    }

    /// One number for the warp; the value is uniform.
    pub(super) fn one(&mut self, value: Value) -> Val<'c> {
        self.held(value)
    }

    /// A lane each.
    pub(super) fn vector(&mut self, value: Value) -> Val<'c> {
        if self.lanes == 1 {
            return self.held(value);
        }
        if let Some(&v) = self.vectors.get(&value) {
            return v;
        }
        let held = self.held(value);
        let v = match self.shape(value) {
            Shape::Varying => held,
            Shape::Uniform => self.splat(held),
            Shape::Affine(a) => {
                let element = self.element(self.body.ty(value));
                let spread = self.splat(held);
                let distance = self.distance(element, &a.distance);
                let exact = self.e.bin(Code::LLVMAdd, spread, distance);
                self.corrected(exact, &a)
            }
        };
        self.vectors.insert(value, v);
        v
    }
    /// Constant distances as a vector.
    pub(super) fn offsets(&self, element: Ty<'c>, offsets: &[i64; 32]) -> Val<'c> {
        let lanes: Vec<_> = offsets.iter().map(|o| element.int(*o as u64)).collect();
        Val::const_vector(&lanes)
    }
    /// A uniform value that distances are multiples of, in an integer type.
    pub(super) fn term(&mut self, term: &Term, element: Ty<'c>) -> Val<'c> {
        let v = self.held_base(term.value);
        match term.extended {
            Some(true) => self.e.cast(Code::LLVMSExt, v, element),
            Some(false) => self.e.cast(Code::LLVMZExt, v, element),
            None => self.e.cast(Code::LLVMTrunc, v, element),
        }
    }
    /// The lanes' distances as a vector.
    fn distance(&mut self, element: Ty<'c>, distance: &Distance) -> Val<'c> {
        let mut sum = self.offsets(element, &distance.offsets);
        for term in &distance.terms {
            let v = self.term(term, element);
            let product = self.e.bin(Code::LLVMMul, self.splat(v), self.offsets(element, &term.multiples));
            sum = self.e.bin(Code::LLVMAdd, sum, product);
        }
        sum
    }
    /// Puts right the lanes that guesses are wrong for.
    fn corrected(&mut self, mut vector: Val<'c>, affine: &Affine) -> Val<'c> {
        let e = self.e;
        for guess in &affine.guesses {
            let base = self.held_base(guess.value);
            let exact = self.exact(guess.value);
            let result = match guess.how {
                How::Extended { .. } => self.i(64),
                How::Clamped { .. } | How::Masked { .. } => base.ty(),
            };
            let (right, base) = match guess.how {
                How::Extended { signed } => {
                    let code = if signed { Code::LLVMSExt } else { Code::LLVMZExt };
                    (e.cast(code, exact, self.wide(result)), e.cast(code, base, result))
                }
                How::Clamped { smaller, signed, bound } => {
                    let name = match (smaller, signed) {
                        (true, true) => "llvm.smin",
                        (true, false) => "llvm.umin",
                        (false, true) => "llvm.smax",
                        (false, false) => "llvm.umax",
                    };
                    let bound = self.held_base(bound);
                    (e.intrinsic(name, &[exact.ty()], &[exact, self.splat(bound)]), base)
                }
                How::Masked { bits } => {
                    let bits = self.held_base(bits);
                    (e.bin(Code::LLVMAnd, exact, self.splat(bits)), e.bin(Code::LLVMAnd, base, bits))
                }
            };
            let distance = self.distance(result, &guess.distance);
            let taken = e.bin(Code::LLVMAdd, self.splat(base), distance);
            let off = e.bin(Code::LLVMSub, right, taken);
            let factor = self.splat(result.int(guess.factor as u64));
            let correction = if guess.factor == 1 { off } else { e.bin(Code::LLVMMul, off, factor) };
            vector = e.bin(Code::LLVMAdd, vector, correction);
        }
        vector
    }
    /// All lanes of an affine value, also where lanes have left a loop since: see `held_base`.
    fn exact(&mut self, value: Value) -> Val<'c> {
        let spread = self.held_base(value);
        let element = spread.ty();
        let spread = self.splat(spread);
        let Shape::Affine(affine) = self.shapes.get(value) else { return spread };
        let distance = self.distance(element, &affine.distance);
        let sum = self.e.bin(Code::LLVMAdd, spread, distance);
        self.corrected(sum, &affine)
    }
    /// The base of an affine value, also where lanes have left a loop since: it is asked for only by what was computed
    /// in that loop.
    fn held_base(&mut self, value: Value) -> Val<'c> {
        if self.body.constant(value).is_some() || self.facts.view(value, self.block).is_none() {
            return self.held(value);
        }
        let variable = self.variable(value, None);
        let ty = self.held_ty(value, false);
        self.e.load(ty, variable, 1)
    }
    /// True where all guesses are right.
    pub(super) fn guessed_right(&mut self, affine: &Affine) -> Option<Val<'c>> {
        let mut all = None;
        for guess in &affine.guesses {
            self.test(guess, &mut all);
            if let Shape::Affine(before) = self.shapes.get(guess.value)
                && let Some(right) = self.guessed_right(&before)
            {
                self.and(&mut all, right);
            }
        }
        all
    }
    fn and(&self, all: &mut Option<Val<'c>>, more: Val<'c>) {
        *all = Some(all.map_or(more, |all| self.e.bin(Code::LLVMAnd, all, more)));
    }
    fn test(&mut self, guess: &Guess, all: &mut Option<Val<'c>>) {
        let e = self.e;
        let i64t = self.i(64);
        let base = self.held_base(guess.value);
        match guess.how {
            How::Extended { signed } => self.test_extended(guess, base, signed, all),
            How::Clamped { smaller, signed, bound } => {
                let code = if signed { Code::LLVMSExt } else { Code::LLVMZExt };
                let bound = self.held_base(bound);
                let (wide, bound) = (e.cast(code, base, i64t), e.cast(code, bound, i64t));
                let offsets = &guess.distance.offsets;
                let low = offsets.iter().copied().min().unwrap_or(0);
                let high = offsets.iter().copied().max().unwrap_or(0);
                let end = |limit: i64| e.bin(Code::LLVMAdd, wide, i64t.int(limit as u64));
                let (least, most) =
                    if signed { (i64::from(i32::MIN), i64::from(i32::MAX)) } else { (0, i64::from(u32::MAX)) };
                // Neither end may leave the range; the bound is inside of it.
                if smaller {
                    self.and(all, e.icmp(Int::LLVMIntSLE, end(high), bound));
                    if low < 0 {
                        self.and(all, e.icmp(Int::LLVMIntSGE, end(low), i64t.int(least as u64)));
                    }
                } else {
                    self.and(all, e.icmp(Int::LLVMIntSGE, end(low), bound));
                    if high > 0 {
                        self.and(all, e.icmp(Int::LLVMIntSLE, end(high), i64t.int(most as u64)));
                    }
                }
            }
            How::Masked { bits } => {
                let bits = self.held_base(bits);
                let Some(low) = Affine::low_bits(&guess.distance) else { return };
                let low = base.ty().int(low);
                let none = e.icmp(Int::LLVMIntEQ, e.bin(Code::LLVMAnd, base, low), base.ty().zero());
                let kept = e.icmp(Int::LLVMIntEQ, e.bin(Code::LLVMAnd, bits, low), low);
                self.and(all, none);
                self.and(all, kept);
            }
        }
    }
    /// No lane's 32-bit sum leaves its range.
    fn test_extended(&mut self, guess: &Guess, base: Val<'c>, signed: bool, all: &mut Option<Val<'c>>) {
        let e = self.e;
        let (i32t, i64t) = (self.i(32), self.i(64));
        let code = if signed { Code::LLVMSExt } else { Code::LLVMZExt };
        let wide = e.cast(code, base, i64t);
        // The ends of each class of lanes; the base itself always fits.
        let mut ends: BTreeMap<Vec<i64>, (i64, i64)> = BTreeMap::new();
        for lane in 0..32 {
            let o = guess.distance.offsets[lane];
            let (low, high) = ends.entry(guess.distance.class(lane)).or_insert((o, o));
            (*low, *high) = (o.min(*low), o.max(*high));
        }
        let terms: Vec<_> = guess.distance.terms.iter().map(|t| self.term(t, i64t)).collect();
        let limits = ends.into_iter().flat_map(|(class, (low, high))| {
            let both = if low == high { vec![low] } else { vec![low, high] };
            both.into_iter().map(move |limit| (class.clone(), limit))
        });
        for (class, limit) in limits {
            if limit == 0 && class.iter().all(|n| *n == 0) {
                continue;
            }
            let mut sum = e.bin(Code::LLVMAdd, wide, i64t.int(limit as u64));
            for (v, n) in terms.iter().zip(&class).filter(|(_, n)| **n != 0) {
                sum = e.bin(Code::LLVMAdd, sum, e.bin(Code::LLVMMul, *v, i64t.int(*n as u64)));
            }
            let again = e.cast(code, e.cast(Code::LLVMTrunc, sum, i32t), i64t);
            self.and(all, e.icmp(Int::LLVMIntEQ, sum, again));
        }
    }
    /// The same number in each lane.
    pub(super) fn splat(&self, number: Val<'c>) -> Val<'c> {
        if self.lanes == 1 {
            return number;
        }
        let undef = number.ty().vector(self.lanes).undef();
        let first = self.e.insert(undef, number, self.c32(0));
        self.e.shuffle(first, undef, &vec![0; self.lanes as usize])
    }
    /// A number where the instruction is computed once, else a vector.
    pub(super) fn arg(&mut self, value: Value, once: bool) -> Val<'c> {
        if once { self.one(value) } else { self.vector(value) }
    }
    /// The same, with the canonical NaN where the value is one.
    pub(super) fn visible(&mut self, value: Value, once: bool) -> Val<'c> {
        let v = self.arg(value, once);
        if self.body.ty(value) != Type::F32 || !self.shapes.is_loose(value) || self.body.constant(value).is_some() {
            return v;
        }
        // Kept in the form in which the value is held.
        let as_held = once == self.is_uniform(value);
        if let Some(&strict) = self.strict.get(&value).filter(|_| as_held) {
            return strict;
        }
        let strict = self.canonical(v);
        if as_held {
            self.strict.insert(value, strict);
        }
        strict
    }
    /// A float with the canonical NaN in place of any other.
    pub(super) fn canonical(&self, v: Val<'c>) -> Val<'c> {
        let e = self.e;
        let (ty, element) = (v.ty(), e.float());
        let wide = ty != element;
        let nan = e.cast(Code::LLVMBitCast, self.i(32).int(0x7fff_ffff), element);
        let nan = if wide { self.splat(nan) } else { nan };
        let is_nan = e.fcmp(crate::sys::Real::LLVMRealUNO, v, v);
        e.select(is_nan, nan, v)
    }

    pub(super) fn result_ty(&self, inst: Inst, n: usize) -> Ty<'c> {
        let result = self.body.results(inst)[n];
        self.held_ty(result, false)
    }
    /// Sets a result, as it is held.
    pub(super) fn set(&mut self, inst: Inst, n: usize, v: Val<'c>) {
        let Some(&result) = self.body.results(inst).get(n) else { return };
        self.held.insert(result, v);
        if self.crossing.contains(&result) {
            let variable = self.variable(result, None);
            self.e.store(v, variable, 1);
        }
    }
    /// Sets a result that was computed as a vector, or as a number where the instruction is.
    pub(super) fn set_vector(&mut self, inst: Inst, n: usize, v: Val<'c>, once: bool) {
        let Some(&result) = self.body.results(inst).get(n) else { return };
        let v = match self.shapes.get(result) {
            Shape::Uniform if !once && self.lanes > 1 => self.first_active(v),
            Shape::Varying if once && self.lanes > 1 => self.splat(v),
            _ => v,
        };
        self.set(inst, n, v);
    }
    /// The lowest active lane's element.
    pub(super) fn first_active(&self, v: Val<'c>) -> Val<'c> {
        match self.mask {
            None => self.e.extract(v, self.c32(0)),
            Some(mask) => {
                let bits = self.e.cast(Code::LLVMBitCast, mask, self.i(32));
                let lane = self.e.intrinsic("llvm.cttz", &[self.i(32)], &[bits, self.i(1).int(0)]);
                let lane = self.e.bin(Code::LLVMAnd, lane, self.c32(31));
                self.e.extract(v, lane)
            }
        }
    }

    /// The active lanes as 32 bits.
    pub(super) fn mask_bits(&self) -> Val<'c> {
        match self.mask {
            _ if self.lanes == 1 => match &self.turn {
                Some(turn) => self.e.bin(Code::LLVMShl, self.c32(1), turn.lane),
                None => self.c32(1),
            },
            None => self.c32(u32::MAX),
            Some(mask) => self.e.cast(Code::LLVMBitCast, mask, self.i(32)),
        }
    }
    /// The active lanes as a vector of bits.
    pub(super) fn mask_vector(&self) -> Val<'c> {
        self.mask.unwrap_or_else(|| self.i(1).vector(self.lanes.max(2)).ones())
    }
    /// A vector of bits without the lanes that are not active.
    pub(super) fn active(&self, bits: Val<'c>) -> Val<'c> {
        match self.mask {
            Some(mask) => self.e.select(mask, bits, self.i(1).vector(self.lanes).zero()),
            None => bits,
        }
    }

    // The warp and its helpers.

    pub(super) fn warp_field(&self, ty: Ty<'c>, offset: usize) -> Val<'c> {
        let at = self.e.offset(self.warp, self.c64(offset as u64));
        self.e.load_invariant(ty, at, 4)
    }
    pub(super) fn helper(&self, helper: &Helper, args: &[Val<'c>]) -> Val<'c> {
        let e = self.e;
        let part = |p: Part| match p {
            Part::I32 => e.int_ty(32),
            Part::I64 => e.int_ty(64),
            Part::Pointer => e.ptr(),
        };
        let mut params = vec![e.ptr()];
        params.extend(helper.params.iter().map(|p| part(*p)));
        let ty = e.function_ty(&params, helper.result.map_or(e.void(), part));
        let function = e.function(helper.name, ty);
        e.attribute(function, "nounwind", "");
        let mut all = vec![self.warp];
        all.extend(args);
        e.call(ty, function, &all)
    }
    /// The launch fails, on behalf of a lane of these or of the first active one. Control does not come back.
    pub(super) fn fail(&mut self, why: Failure, inst: Inst, lanes: Option<Val<'c>>) {
        let e = self.e;
        let bits = lanes.map_or_else(|| self.mask_bits(), |l| e.cast(Code::LLVMBitCast, l, self.i(32)));
        let lane = e.intrinsic("llvm.cttz", &[self.i(32)], &[bits, self.i(1).int(0)]);
        let span = self.body.spans.get(inst.index()).map_or(0, |s| s.start);
        self.helper(&abi::FAIL, &[self.c32(why as u32), lane, self.c32(self.id.index() as u32), self.c32(span)]);
    }
    /// Fails where any of the lanes given is set; goes on otherwise.
    pub(super) fn fail_if_any(&mut self, lanes: Val<'c>, why: Failure, inst: Inst) {
        let e = self.e;
        let any = if self.lanes == 1 {
            lanes
        } else {
            let bits = e.cast(Code::LLVMBitCast, lanes, self.i(32));
            e.icmp(Int::LLVMIntNE, bits, self.c32(0))
        };
        let (bad, good) = (e.block(self.code, "bad"), e.block(self.code, "good"));
        e.cond_br_likely(e.icmp(Int::LLVMIntEQ, any, self.i(1).int(0)), good, bad);
        e.at(bad);
        let lanes = (self.lanes > 1).then_some(lanes);
        self.fail(why, inst, lanes);
        e.unreachable();
        e.at(good);
    }

    fn described(&self, inst: Inst) -> Described {
        let data = self.body.inst(inst);
        let (args, results) = (self.body.args(inst), self.body.results(inst));
        let src = args.first().map_or(data.ty, |a| self.body.ty(*a));
        let wide = |values: &[Value]| {
            values.iter().enumerate().fold(0u16, |bits, (n, v)| {
                bits | u16::from(self.body.ty(*v) == Type::I128).checked_shl(n as u32).unwrap_or(0)
            })
        };
        let pair = |t: Type| [t.scalar as u8, t.lanes];
        Described {
            imm: data.imm,
            op: data.op as u16,
            args: args.len().min(255) as u8,
            results: results.len().min(255) as u8,
            ty: pair(data.ty),
            src: pair(src),
            attrs: data.attrs,
            wide_args: wide(args),
            wide_results: wide(results),
            function: self.id.index() as u32,
            span: self.body.spans.get(inst.index()).map_or(0, |s| s.start),
        }
    }

    /// Lets the op's definition compute it, lane by lane.
    pub(super) fn evaluate(&mut self, inst: Inst) {
        let once = self.once(inst);
        let bits = if once { self.c32(1) } else { self.mask_bits() };
        let values = self.through_columns(inst, once, bits, &abi::EVAL);
        self.set_columns(inst, values, once);
    }
    fn set_columns(&mut self, inst: Inst, values: Vec<(Val<'c>, bool)>, once: bool) {
        for (n, (v, _)) in values.into_iter().enumerate() {
            self.set_vector(inst, n, v, once || self.lanes == 1);
        }
    }
    /// Lets the device execute an op for the active lanes.
    pub(super) fn effect(&mut self, inst: Inst) -> Result<()> {
        let op = self.body.inst(inst).op;
        if matches!(op, Op::WmmaLoad | Op::WmmaStore | Op::LdMatrix | Op::StMatrix | Op::Mma) && self.lanes == 1 {
            self.unit.need(|n| n.barriers = true);
        }
        let values = self.by_device(inst);
        self.set_columns(inst, values, false);
        Ok(())
    }
    /// The same, and what came out.
    pub(super) fn by_device(&mut self, inst: Inst) -> Vec<(Val<'c>, bool)> {
        let bits = if self.lanes == 1 {
            self.warp_field(self.i(32), std::mem::offset_of!(Warp, mask))
        } else {
            self.mask_bits()
        };
        self.through_columns(inst, false, bits, &abi::EFFECT)
    }

    /// Memory for operands (0) or results (1) of helpers, the same for all calls of so many columns.
    fn area(&mut self, which: u8, columns: u64) -> Val<'c> {
        let columns = columns.max(1).next_power_of_two();
        if let Some(&area) = self.areas.get(&(which, columns)) {
            return area;
        }
        let area = self.e.alloca(self.entry, self.i(64).array(32 * columns));
        self.areas.insert((which, columns), area);
        area
    }

    /// Calls a helper with operands and results in memory, a column of 32 words each.
    pub(super) fn through_columns(
        &mut self,
        inst: Inst,
        once: bool,
        bits: Val<'c>,
        helper: &Helper,
    ) -> Vec<(Val<'c>, bool)> {
        let e = self.e;
        let args = self.body.args(inst).to_vec();
        let results = self.body.results(inst).to_vec();
        let columns = |values: &[Value]| -> u64 {
            values.iter().map(|v| if self.body.ty(*v) == Type::I128 { 2 } else { 1 }).sum()
        };
        let i64t = self.i(64);
        let (mut from, mut to) = (self.area(0, columns(&args)), self.area(1, columns(&results)));
        if self.lanes == 1 && !once {
            // The lane's place in each column.
            let lane = e.cast(Code::LLVMZExt, self.lane(), i64t);
            let place = e.bin(Code::LLVMMul, lane, self.c64(8));
            (from, to) = (e.offset(from, place), e.offset(to, place));
        }
        let words = self.described(inst).words().map(|w| i64t.int(w));
        let described = e.constant_data(i64t.const_array(&words), 8);
        let single = once || self.lanes == 1;
        let wide = |t: Ty<'c>| if single { t } else { t.vector(32) };
        let mut at = 0;
        for &arg in &args {
            let ty = self.body.ty(arg);
            let v = self.visible(arg, single);
            let int = e.cast(Code::LLVMBitCast, v, wide(self.i(ty.bits())));
            let parts = if ty == Type::I128 {
                let shift = self.i(128).int(64);
                let shift = if single { shift } else { self.splat(shift) };
                let high = e.bin(Code::LLVMLShr, int, shift);
                vec![e.cast(Code::LLVMTrunc, int, wide(i64t)), e.cast(Code::LLVMTrunc, high, wide(i64t))]
            } else {
                vec![e.cast(Code::LLVMZExt, int, wide(i64t))]
            };
            for part in parts {
                e.store(part, e.offset(from, self.c64(at * 256)), 8);
                at += 1;
            }
        }
        let (first_from, first_to) = (self.area(0, columns(&args)), self.area(1, columns(&results)));
        self.helper(helper, &[described, bits, first_from, first_to]);
        let mut at = 0;
        let mut values = Vec::new();
        for &result in &results {
            let ty = self.body.ty(result);
            let mut column = || {
                let v = e.load(wide(i64t), e.offset(to, self.c64(at * 256)), 8);
                at += 1;
                v
            };
            let low = column();
            let int = if ty == Type::I128 {
                let high = column();
                let (low, high) =
                    (e.cast(Code::LLVMZExt, low, wide(self.i(128))), e.cast(Code::LLVMZExt, high, wide(self.i(128))));
                let shift = self.i(128).int(64);
                let shift = if single { shift } else { self.splat(shift) };
                e.bin(Code::LLVMOr, low, e.bin(Code::LLVMShl, high, shift))
            } else {
                e.cast(Code::LLVMTrunc, low, wide(self.i(ty.bits())))
            };
            let v = e.cast(Code::LLVMBitCast, int, wide(self.element(ty)));
            values.push((v, single));
        }
        values
    }
}

impl Described {
    /// Its bytes, as words of the processor, which is little-endian wherever code is made for it.
    fn words(&self) -> [u64; 5] {
        let mut bytes = [0u8; std::mem::size_of::<Self>()];
        let mut put = |at: usize, from: &[u8]| bytes[at..at + from.len()].copy_from_slice(from);
        put(std::mem::offset_of!(Self, imm), &self.imm.to_le_bytes());
        put(std::mem::offset_of!(Self, op), &self.op.to_le_bytes());
        put(std::mem::offset_of!(Self, args), &[self.args]);
        put(std::mem::offset_of!(Self, results), &[self.results]);
        put(std::mem::offset_of!(Self, ty), &self.ty);
        put(std::mem::offset_of!(Self, src), &self.src);
        put(std::mem::offset_of!(Self, attrs), &self.attrs);
        put(std::mem::offset_of!(Self, wide_args), &self.wide_args.to_le_bytes());
        put(std::mem::offset_of!(Self, wide_results), &self.wide_results.to_le_bytes());
        put(std::mem::offset_of!(Self, function), &self.function.to_le_bytes());
        put(std::mem::offset_of!(Self, span), &self.span.to_le_bytes());
        std::array::from_fn(|n| u64::from_le_bytes(std::array::from_fn(|b| bytes[8 * n + b])))
    }
}

const _: () = assert!(std::mem::size_of::<Described>() == 40 && std::mem::size_of::<Warp>().is_multiple_of(8));
