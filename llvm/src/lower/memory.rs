//! Addresses, loads and stores.
//!
//! A uniform address is read once. An affine one whose lanes follow each other is one vector access, a few runs of lanes
//! are one each, and everything else gathers and scatters. Local memory is interleaved (see [`crate::abi::Warp`]).

use super::shape::{Affine, Distance, Shape, sreg_offsets};
use super::{Lowering, Result, unsupported};
use crate::abi::{self, Failure, Warp};
use crate::sys::{Code, Int, STACK_ALIGNMENT, Ty, Val};
use hetir::attr::{FenceKind, Order, Rare, Scope, Space, Sreg};
use hetir::entity::{Inst, Value};
use hetir::interp::space::{SHARED_STRIDE, function_address};
use hetir::op::Op;
use hetir::types::Type;
use std::mem::offset_of;

/// Where the lanes of an access go.
pub(super) enum Place<'c> {
    /// One address for all.
    One(Val<'c>),
    /// A base, and constant distances from it.
    Runs(Val<'c>, Vec<Run>),
    /// An address each.
    Each(Val<'c>),
}

/// Neighbouring lanes that read one place, or places that follow each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Run {
    first: u32,
    count: u32,
    offset: i64,
    same: bool,
    /// Multiples of the distance's uniform values.
    class: Vec<i64>,
}

/// More runs than these are gathered.
const MOST_RUNS: usize = 4;

/// Bytes of the largest element of vectors.
const LARGEST: u32 = 16;

/// Cuts distances into runs of accesses of so many bytes.
fn runs(distance: &Distance, bytes: i64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (lane, &offset) in distance.offsets.iter().enumerate() {
        let class = distance.class(lane);
        if let Some(run) = runs.last_mut().filter(|r| r.class == class) {
            let next = |step: i64| run.offset + step * i64::from(run.count);
            if run.count == 1 && (offset == run.offset || offset == next(bytes)) {
                run.same = offset == run.offset;
                run.count += 1;
                continue;
            }
            if run.count > 1 && offset == next(if run.same { 0 } else { bytes }) {
                run.count += 1;
                continue;
            }
        }
        runs.push(Run { first: lane as u32, count: 1, offset, same: false, class });
    }
    runs
}

impl<'c> Lowering<'_, '_, 'c> {
    pub(super) fn address(&mut self, inst: Inst) -> Result<()> {
        let e = self.e;
        let data = *self.body.inst(inst);
        let i64t = self.i(64);
        match data.op {
            Op::GlobalAddr => {
                let global = data.imm as usize;
                let v = match self.unit.layout.offset(global) {
                    Some(offset) => self.own_shared(offset),
                    None if self.unit.module.globals.get(global).is_some_and(|g| g.space == Space::Shared) => {
                        return unsupported("a shared variable that the kernel does not have");
                    }
                    None => {
                        let table = self.globals;
                        e.load_invariant(i64t, e.offset(table, self.c64(8 * global as u64)), 8)
                    }
                };
                self.set_vector(inst, 0, v, true);
            }
            Op::FuncAddr => {
                let v = self.c64(function_address(data.imm as usize));
                self.set_vector(inst, 0, v, true);
            }
            Op::SlotAddr => {
                let place = self.slots.get(data.imm as usize).copied().unwrap_or(0);
                let at = e.bin(Code::LLVMAdd, self.frame, self.c32(place));
                let v = e.cast(Code::LLVMZExt, at, i64t);
                self.set_vector(inst, 0, v, true);
            }
            Op::Sreg => return self.special(inst),
            op => return unsupported(op.info().name),
        }
        Ok(())
    }

    fn special(&mut self, inst: Inst) -> Result<()> {
        let e = self.e;
        let data = *self.body.inst(inst);
        let (i32t, block) = (self.i(32), self.unit.shape.block);
        let field = |this: &Self, at: usize| this.warp_field(i32t, at);
        let dim = |base: usize, n: usize| base + 4 * n;
        let which = data.attr::<Sreg>();
        let widen = |this: &Self, v: Val<'c>| {
            let to = this.i(data.ty.bits());
            if v.ty() == i32t { e.cast(Code::LLVMZExt, v, to) } else { e.cast(Code::LLVMTrunc, v, to) }
        };
        let one = match which {
            Sreg::TidX | Sreg::TidY | Sreg::TidZ | Sreg::LaneId => return self.thread_index(inst, which),
            Sreg::LaneMaskEq | Sreg::LaneMaskLe | Sreg::LaneMaskLt | Sreg::LaneMaskGe | Sreg::LaneMaskGt => {
                let f = |l: u32| -> u32 {
                    match which {
                        Sreg::LaneMaskEq => 1 << l,
                        Sreg::LaneMaskLe => u32::MAX >> (31 - l),
                        Sreg::LaneMaskLt => (1 << l) - 1,
                        Sreg::LaneMaskGe => u32::MAX << l,
                        _ => (u32::MAX - 1) << l,
                    }
                };
                let v = if self.lanes == 1 {
                    let lane = self.lane();
                    let (low, high) = (self.c32(1), self.c32(u32::MAX));
                    match which {
                        Sreg::LaneMaskEq => e.bin(Code::LLVMShl, low, lane),
                        Sreg::LaneMaskLe => {
                            let up = e.bin(Code::LLVMSub, self.c32(31), lane);
                            e.bin(Code::LLVMLShr, high, up)
                        }
                        Sreg::LaneMaskLt => {
                            let bit = e.bin(Code::LLVMShl, low, lane);
                            e.bin(Code::LLVMSub, bit, self.c32(1))
                        }
                        Sreg::LaneMaskGe => e.bin(Code::LLVMShl, high, lane),
                        _ => e.bin(Code::LLVMShl, self.c32(u32::MAX - 1), lane),
                    }
                } else {
                    Val::const_vector(&(0..32).map(|l| self.c32(f(l))).collect::<Vec<_>>())
                };
                let to = self.wide(self.i(data.ty.bits()));
                let v = e.cast(Code::LLVMZExt, v, to);
                self.set_vector(inst, 0, v, self.lanes == 1);
                return Ok(());
            }
            Sreg::NtidX => self.c32(block[0]),
            Sreg::NtidY => self.c32(block[1]),
            Sreg::NtidZ => self.c32(block[2]),
            Sreg::CtaidX => field(self, dim(offset_of!(Warp, cta), 0)),
            Sreg::CtaidY => field(self, dim(offset_of!(Warp, cta), 1)),
            Sreg::CtaidZ => field(self, dim(offset_of!(Warp, cta), 2)),
            Sreg::NctaidX => field(self, dim(offset_of!(Warp, grid), 0)),
            Sreg::NctaidY => field(self, dim(offset_of!(Warp, grid), 1)),
            Sreg::NctaidZ => field(self, dim(offset_of!(Warp, grid), 2)),
            Sreg::WarpId => field(self, offset_of!(Warp, warp)),
            Sreg::DynamicSharedSize => field(self, offset_of!(Warp, dynamic_shared)),
            Sreg::TotalSharedSize | Sreg::AggrSharedSize => field(self, offset_of!(Warp, total_shared)),
            Sreg::GridId => self.warp_field(self.i(64), offset_of!(Warp, grid_id)),
            Sreg::EnvReg if data.imm == 1 || data.imm == 2 => {
                let whole = self.warp_field(self.i(64), offset_of!(Warp, workspace));
                let shift = self.c64(if data.imm == 1 { 32 } else { 0 });
                e.cast(Code::LLVMTrunc, e.bin(Code::LLVMLShr, whole, shift), i32t)
            }
            Sreg::EnvReg => self.c32(0),
            other => self.helper(&abi::SREG, &[self.c32(other as u32)]),
        };
        let v = widen(self, one);
        self.set_vector(inst, 0, v, true);
        Ok(())
    }

    /// The number of the one lane.
    pub(super) fn lane(&self) -> Val<'c> {
        let bits = self.warp_field(self.i(32), offset_of!(Warp, mask));
        self.e.intrinsic("llvm.cttz", &[self.i(32)], &[bits, self.i(1).int(0)])
    }

    fn thread_index(&mut self, inst: Inst, which: Sreg) -> Result<()> {
        let e = self.e;
        let ty = self.body.inst(inst).ty;
        let [x, y, _] = self.unit.shape.block;
        let warp = self.warp_field(self.i(32), offset_of!(Warp, warp));
        let first = e.bin(Code::LLVMMul, warp, self.c32(32));
        let part = |this: &Self, v: Val<'c>, wide: bool| {
            let k = |n: u32| if wide { this.splat(this.c32(n)) } else { this.c32(n) };
            match which {
                Sreg::TidX if y == 1 && this.unit.shape.block[2] == 1 => v,
                Sreg::TidX => e.bin(Code::LLVMURem, v, k(x)),
                Sreg::TidY => {
                    let row = e.bin(Code::LLVMUDiv, v, k(x));
                    e.bin(Code::LLVMURem, row, k(y))
                }
                _ => e.bin(Code::LLVMUDiv, v, k(x * y)),
            }
        };
        let (v, once) = if self.lanes == 1 {
            let lane = self.lane();
            let v = if which == Sreg::LaneId { lane } else { part(self, e.bin(Code::LLVMAdd, first, lane), false) };
            (v, true)
        } else {
            let result = self.body.results(inst)[0];
            match self.shapes.get(result) {
                // The lanes of a warp are in one row.
                Shape::Uniform => (part(self, first, false), true),
                Shape::Affine(_) => {
                    let base = if which == Sreg::LaneId { self.c32(0) } else { part(self, first, false) };
                    let base = e.cast(Code::LLVMZExt, base, self.i(ty.bits()));
                    self.set(inst, 0, base);
                    return Ok(());
                }
                Shape::Varying => {
                    let iota = Val::const_vector(&(0..32).map(|l| self.c32(l)).collect::<Vec<_>>());
                    if which == Sreg::LaneId {
                        (iota, false)
                    } else {
                        let linear = e.bin(Code::LLVMAdd, self.splat(first), iota);
                        (part(self, linear, true), false)
                    }
                }
            }
        };
        debug_assert!(which != Sreg::LaneId || sreg_offsets(which, self.unit.shape.block).is_some());
        let to = if once { self.i(ty.bits()) } else { self.wide(self.i(ty.bits())) };
        let v = e.cast(Code::LLVMZExt, v, to);
        self.set_vector(inst, 0, v, once);
        Ok(())
    }

    pub(super) fn memory(&mut self, inst: Inst) -> Result<()> {
        let data = *self.body.inst(inst);
        let space = data.attr::<Space>();
        match data.op {
            // Copies by tensor maps happen in order.
            Op::PrefetchOp | Op::Discard | Op::ApplyPriority | Op::TensorMapAcquire => return Ok(()),
            Op::Fence => {
                if matches!(data.attr(), FenceKind::Memory) {
                    // A block is executed by one thread of the host.
                    self.e.fence(data.attr::<Scope>() == Scope::Cta);
                }
                return Ok(());
            }
            Op::Atom | Op::Cas => return self.atomic(inst),
            _ => {}
        }
        let (args, _) = self.body.args_and_policy(inst);
        let args = args.to_vec();
        let strong = data.attr::<Order>();
        if data.op == Op::Store && matches!(strong, Order::Release | Order::SeqCst | Order::AcqRel) {
            self.e.fence(false);
        }
        if space == Space::Generic {
            self.generic(inst, &args)?;
        } else if space == Space::Local {
            self.local(inst, &args);
        } else if data.op == Op::Load {
            let values = self.load(inst, args[0], space);
            self.set_loaded(inst, values);
        } else {
            self.store(inst, &args, space);
        }
        if data.op == Op::Load && matches!(strong, Order::Acquire | Order::SeqCst | Order::AcqRel) {
            self.e.fence(false);
        }
        Ok(())
    }

    fn set_loaded(&mut self, inst: Inst, values: Vec<(Val<'c>, bool)>) {
        for (n, (v, once)) in values.into_iter().enumerate() {
            self.set_vector(inst, n, v, once);
        }
    }

    /// The host's address of an address in a space and so many bytes behind it.
    pub(super) fn host(&self, space: Space, address: Val<'c>, behind: u64, wide: bool) -> Val<'c> {
        let e = self.e;
        let k = |n: u64| if wide { self.splat(self.c64(n)) } else { self.c64(n) };
        let based = |base: Val<'c>| {
            // What is beyond 32 bits would leave the area that is set aside; constants are less than its margins.
            e.offset(base, e.bin(Code::LLVMAnd, address, k(0xffff_ffff)))
        };
        let at = match space {
            // A block's rank is left out.
            Space::Shared if self.unit.clusters => {
                e.offset(self.shared, e.bin(Code::LLVMAnd, address, k(SHARED_STRIDE - 1)))
            }
            Space::Shared => based(self.shared),
            Space::Cluster => based(self.first_shared()),
            Space::Param => based(self.params),
            _ => {
                let to = if wide { e.ptr().vector(self.lanes) } else { e.ptr() };
                e.cast(Code::LLVMIntToPtr, address, to)
            }
        };
        if behind == 0 { at } else { e.offset(at, self.c64(behind)) }
    }

    /// The address operand, without the instruction's offset.
    pub(super) fn place(&mut self, address: Value, bytes: u32) -> Place<'c> {
        if self.lanes == 1 {
            return Place::One(self.held(address));
        }
        match self.shape(address) {
            Shape::Uniform => Place::One(self.held(address)),
            Shape::Affine(a) if a.is_multiple_of(bytes.into()) => {
                let runs = runs(&a.distance, bytes.into());
                if runs.len() <= MOST_RUNS {
                    return Place::Runs(self.held(address), runs);
                }
                Place::Each(self.vector(address))
            }
            _ => Place::Each(self.vector(address)),
        }
    }

    /// The launch fails where an address is no multiple of the access.
    pub(super) fn check_alignment(&mut self, inst: Inst, place: &Place<'c>, bytes: u32) {
        if bytes == 1 {
            return;
        }
        let e = self.e;
        let low = u64::from(bytes) - 1;
        let offset = self.offset_of(inst) & low;
        match place {
            // Lanes' distances are multiples of the access.
            Place::One(base) | Place::Runs(base, _) => {
                let rest = e.bin(Code::LLVMAnd, e.bin(Code::LLVMAdd, *base, self.c64(offset)), self.c64(low));
                let bad = e.icmp(Int::LLVMIntNE, rest, self.c64(0));
                self.fail_if(bad, Failure::Misaligned, inst);
            }
            Place::Each(v) => {
                let at = e.bin(Code::LLVMAdd, *v, self.splat(self.c64(offset)));
                let rest = e.bin(Code::LLVMAnd, at, self.splat(self.c64(low)));
                let bad = e.icmp(Int::LLVMIntNE, rest, self.splat(self.c64(0)));
                let bad = self.active(bad);
                self.fail_if_any(bad, Failure::Misaligned, inst);
            }
        }
    }
    fn fail_if(&mut self, bad: Val<'c>, why: Failure, inst: Inst) {
        let e = self.e;
        if bad.constant() == Some(0) {
            return;
        }
        let (failing, good) = (e.block(self.code, "bad"), e.block(self.code, "good"));
        e.cond_br_likely(e.icmp(Int::LLVMIntEQ, bad, self.i(1).int(0)), good, failing);
        e.at(failing);
        self.fail(why, inst, None);
        e.unreachable();
        e.at(good);
    }

    /// The elements of an access: their type as integers or floats, how many, and bytes in all.
    fn elements(&self, inst: Inst, values: &[Value]) -> (Type, u32, u32) {
        let ty = values.first().map_or(self.body.inst(inst).ty, |v| self.body.ty(*v));
        (ty, values.len() as u32, ty.bytes() * values.len() as u32)
    }

    /// Loads from a space whose addresses are the host's, or lie behind one pointer.
    fn load(&mut self, inst: Inst, address: Value, space: Space) -> Vec<(Val<'c>, bool)> {
        let e = self.e;
        let results = self.body.results(inst).to_vec();
        let (ty, count, bytes) = self.elements(inst, &results);
        let place = self.place(address, bytes);
        self.check_alignment(inst, &place, bytes);
        let atomic = self.body.inst(inst).attr::<Order>() != Order::Weak && ty.bits() <= 64;
        let element = self.element(ty);
        let size = u64::from(ty.bytes());
        match place {
            Place::One(base) => {
                let at = self.host(space, base, self.offset_of(inst), false);
                let int = self.i(ty.bytes() * 8);
                (0..u64::from(count))
                    .map(|n| {
                        let from = if n == 0 { at } else { e.offset(at, self.c64(n * size)) };
                        let v =
                            if atomic { e.load_atomic(int, from, size as u32) } else { e.load(int, from, size as u32) };
                        let v = if ty == Type::B1 { e.cast(Code::LLVMTrunc, v, self.i(1)) } else { v };
                        (e.cast(Code::LLVMBitCast, v, element), true)
                    })
                    .collect()
            }
            Place::Runs(base, runs) => match self.fits(address, &runs) {
                Fit::Always => self.load_runs(inst, space, base, &runs),
                Fit::Never => {
                    let v = self.each_address(address);
                    self.gather(inst, space, v)
                }
                Fit::If(fits) => {
                    let types: Vec<_> = results.iter().map(|_| self.wide(element)).collect();
                    self.either(
                        fits,
                        &types,
                        |this| this.load_runs(inst, space, base, &runs),
                        |this| {
                            let v = this.each_address(address);
                            this.gather(inst, space, v)
                        },
                    )
                }
            },
            Place::Each(v) => self.gather(inst, space, v),
        }
    }

    pub(super) fn offset_of(&self, inst: Inst) -> u64 {
        self.body.inst(inst).imm
    }
    pub(super) fn each_address(&mut self, address: Value) -> Val<'c> {
        // Made anew: what is computed on one side of a branch is not there behind it.
        self.vectors.remove(&address);
        let v = self.vector(address);
        self.vectors.remove(&address);
        v
    }

    /// Whether the lanes of an affine address are really where the distances say.
    fn fits(&mut self, address: Value, runs: &[Run]) -> Fit<'c> {
        // A lane that does not take part must not decide where a single place is read.
        if runs.iter().any(|r| r.same) && self.mask.is_some() {
            return Fit::Never;
        }
        let Shape::Affine(a) = self.shape(address) else { return Fit::Always };
        let a: Affine = (*a).clone();
        match self.guessed_right(&a) {
            None => Fit::Always,
            Some(v) => Fit::If(v),
        }
    }

    /// Two ways to the same values.
    pub(super) fn either(
        &mut self,
        condition: Val<'c>,
        types: &[Ty<'c>],
        yes: impl FnOnce(&mut Self) -> Vec<(Val<'c>, bool)>,
        no: impl FnOnce(&mut Self) -> Vec<(Val<'c>, bool)>,
    ) -> Vec<(Val<'c>, bool)> {
        let e = self.e;
        let (a, b, behind) = (e.block(self.code, "near"), e.block(self.code, "far"), e.block(self.code, "both"));
        e.cond_br_likely(condition, a, b);
        let saved = (self.held.clone(), self.vectors.clone(), self.strict.clone());
        let side = |this: &mut Self, block, way: &mut dyn FnMut(&mut Self) -> Vec<(Val<'c>, bool)>| {
            e.at(block);
            let values = way(this);
            let values: Vec<_> =
                values.into_iter().map(|(v, once)| if once && this.lanes > 1 { this.splat(v) } else { v }).collect();
            let end = e.here();
            e.br(behind);
            (this.held, this.vectors, this.strict) = saved.clone();
            (values, end)
        };
        let (mut yes, mut no) = (Some(yes), Some(no));
        let (first, first_end) = side(self, a, &mut |this| yes.take().map(|f| f(this)).unwrap_or_default());
        let (second, second_end) = side(self, b, &mut |this| no.take().map(|f| f(this)).unwrap_or_default());
        e.at(behind);
        let mut values = Vec::new();
        for (n, ty) in types.iter().enumerate() {
            values.push((e.phi(*ty, &[(first[n], first_end), (second[n], second_end)]), false));
        }
        values
    }

    /// Loads where lanes follow each other, or read one place.
    fn load_runs(&mut self, inst: Inst, space: Space, base: Val<'c>, runs: &[Run]) -> Vec<(Val<'c>, bool)> {
        let e = self.e;
        let terms = self.terms(inst);
        let results = self.body.results(inst).to_vec();
        let (ty, count, _) = self.elements(inst, &results);
        let element = self.element(ty);
        let size = ty.bytes();
        let mut parts: Vec<Val<'c>> = Vec::new();
        for run in runs {
            let at = self.start(inst, space, base, run, &terms);
            let length = if run.same { count } else { run.count * count };
            let whole = element.vector(length);
            let v = match self.mask {
                Some(mask) if !run.same => {
                    let lanes: Vec<u32> = (0..length).map(|n| run.first + n / count).collect();
                    let mask = e.shuffle(mask, mask, &lanes);
                    let name = "llvm.masked.load";
                    e.intrinsic(name, &[whole, e.ptr()], &[at, self.c32(size), mask, whole.undef()])
                }
                _ => e.load(whole, at, size),
            };
            let spread: Vec<u32> = (0..run.count * count).map(|n| if run.same { n % count } else { n }).collect();
            parts.push(e.shuffle(v, whole.undef(), &spread));
        }
        // Side by side, then by element.
        let lengths: Vec<u32> = runs.iter().map(|r| r.count * count).collect();
        let all = self.join(&parts, &lengths);
        (0..count)
            .map(|n| {
                let pick: Vec<u32> = (0..32).map(|l| l * count + n).collect();
                (e.shuffle(all, all.ty().undef(), &pick), false)
            })
            .collect()
    }

    /// The uniform values that the address operand's distances are multiples of.
    pub(super) fn terms(&mut self, inst: Inst) -> Vec<Val<'c>> {
        let address = self.body.args(inst)[0];
        let Shape::Affine(a) = self.shape(address) else { return Vec::new() };
        let i64t = self.i(64);
        a.distance.terms.iter().map(|t| self.term(t, i64t)).collect()
    }
    /// Where a run begins.
    fn start(&self, inst: Inst, space: Space, base: Val<'c>, run: &Run, terms: &[Val<'c>]) -> Val<'c> {
        let e = self.e;
        let mut at = base;
        for (v, n) in terms.iter().zip(&run.class).filter(|(_, n)| **n != 0) {
            at = e.bin(Code::LLVMAdd, at, e.bin(Code::LLVMMul, *v, self.c64(*n as u64)));
        }
        self.host(space, at, self.offset_of(inst).wrapping_add(run.offset as u64), false)
    }

    /// Vectors one behind the other.
    fn join(&self, parts: &[Val<'c>], lengths: &[u32]) -> Val<'c> {
        let e = self.e;
        let total: u32 = lengths.iter().sum();
        let mut all = parts[0];
        let mut have = lengths[0];
        if parts.len() > 1 {
            let grow: Vec<u32> = (0..total).map(|n| if n < have { n } else { have }).collect();
            all = e.shuffle(all, all.ty().undef(), &grow);
        }
        for (part, &length) in parts.iter().zip(lengths).skip(1) {
            let grow: Vec<u32> = (0..total).map(|n| if n < length { n } else { length }).collect();
            let wide = e.shuffle(*part, part.ty().undef(), &grow);
            let pick: Vec<u32> =
                (0..total).map(|n| if n >= have && n < have + length { total + n - have } else { n }).collect();
            all = e.shuffle(all, wide, &pick);
            have += length;
        }
        all
    }

    fn gather(&mut self, inst: Inst, space: Space, addresses: Val<'c>) -> Vec<(Val<'c>, bool)> {
        let e = self.e;
        let results = self.body.results(inst).to_vec();
        let (ty, count, bytes) = self.elements(inst, &results);
        let at = self.host(space, addresses, self.offset_of(inst), true);
        if self.takes_rows(count, bytes) {
            return self.load_rows(at, self.element(ty), count).into_iter().map(|v| (v, false)).collect();
        }
        let mask = self.mask_vector();
        let read = |ty: Ty<'c>, at: Val<'c>, align: u32| {
            let whole = self.wide(ty);
            let args = [at, self.c32(align), mask, whole.undef()];
            self.masked(inst, "llvm.masked.gather", &[whole, at.ty()], &args)
        };
        if count > 1 && bytes <= 8 {
            let whole = self.i(bytes * 8);
            let v = read(whole, at, bytes);
            return (0..count)
                .map(|n| {
                    let down = self.splat(whole.int(u64::from(n * ty.bits())));
                    let part = e.cast(Code::LLVMTrunc, e.bin(Code::LLVMLShr, v, down), self.wide(self.i(ty.bits())));
                    (e.cast(Code::LLVMBitCast, part, self.wide(self.element(ty))), false)
                })
                .collect();
        }
        (0..count)
            .map(|n| {
                let from = if n == 0 { at } else { e.offset(at, self.c64(u64::from(n * ty.bytes()))) };
                (read(self.element(ty), from, ty.bytes()), false)
            })
            .collect()
    }

    fn store(&mut self, inst: Inst, args: &[Value], space: Space) {
        let e = self.e;
        let (address, values) = (args[0], &args[1..]);
        let (ty, _, bytes) = self.elements(inst, values);
        let place = self.place(address, bytes);
        self.check_alignment(inst, &place, bytes);
        match place {
            Place::One(base) => {
                let at = self.host(space, base, self.offset_of(inst), false);
                for (n, &value) in values.iter().enumerate() {
                    let v = if self.lanes == 1 || self.is_uniform(value) {
                        self.visible(value, true)
                    } else {
                        let v = self.visible(value, false);
                        self.last_active(v, self.body.ty(value))
                    };
                    let v = e.cast(Code::LLVMBitCast, v, self.i(ty.bits()));
                    let v = e.cast(Code::LLVMZExt, v, self.i(ty.bytes() * 8));
                    let to = if n == 0 { at } else { e.offset(at, self.c64(n as u64 * u64::from(ty.bytes()))) };
                    e.store(v, to, ty.bytes());
                }
            }
            Place::Runs(base, runs) if runs.iter().all(|r| !r.same) => {
                // The values are made before control splits.
                let vectors = self.bits_of(values, ty);
                match self.fits(address, &runs) {
                    Fit::Always => self.store_runs(inst, space, base, &runs, &vectors, ty),
                    Fit::Never => {
                        let v = self.each_address(address);
                        self.scatter(inst, space, v, &vectors, ty);
                    }
                    Fit::If(fits) => {
                        self.either(
                            fits,
                            &[],
                            |this| {
                                this.store_runs(inst, space, base, &runs, &vectors, ty);
                                Vec::new()
                            },
                            |this| {
                                let v = this.each_address(address);
                                this.scatter(inst, space, v, &vectors, ty);
                                Vec::new()
                            },
                        );
                    }
                }
            }
            Place::Runs(..) => {
                let vectors = self.bits_of(values, ty);
                let v = self.each_address(address);
                self.scatter(inst, space, v, &vectors, ty);
            }
            Place::Each(v) => {
                let vectors = self.bits_of(values, ty);
                self.scatter(inst, space, v, &vectors, ty);
            }
        }
    }

    /// Values for all lanes as integers: code for processors without bf16 may lose the payload of a NaN where it takes such
    /// vectors apart.
    fn bits_of(&mut self, values: &[Value], ty: Type) -> Vec<Val<'c>> {
        let whole = self.wide(self.i(ty.bits()));
        values
            .iter()
            .map(|v| {
                let v = self.visible(*v, false);
                self.e.cast(Code::LLVMBitCast, v, whole)
            })
            .collect()
    }

    fn last_active(&self, v: Val<'c>, ty: Type) -> Val<'c> {
        let e = self.e;
        let bits = self.mask_bits();
        let zeros = e.intrinsic("llvm.ctlz", &[self.i(32)], &[bits, self.i(1).int(0)]);
        let lane = e.bin(Code::LLVMAnd, e.bin(Code::LLVMSub, self.c32(31), zeros), self.c32(31));
        if self.facts.leaving.contains(&self.block) {
            // LLVM's own way is through memory, too, for which it has the stack aligned.
            let [place, ..] = self.rare_places();
            e.store(v, place, STACK_ALIGNMENT);
            let lane = e.cast(Code::LLVMZExt, lane, self.i(64));
            let own = e.offset(place, e.bin(Code::LLVMMul, lane, self.c64(ty.bytes().into())));
            return e.load(self.element(ty), own, ty.bytes());
        }
        e.extract(v, lane)
    }

    fn store_runs(&mut self, inst: Inst, space: Space, base: Val<'c>, runs: &[Run], vectors: &[Val<'c>], ty: Type) {
        let e = self.e;
        let terms = self.terms(inst);
        let count = vectors.len() as u32;
        let lengths = vec![32; vectors.len()];
        let joined = self.join(vectors, &lengths);
        for run in runs {
            let at = self.start(inst, space, base, run, &terms);
            let length = run.count * count;
            let lane = |n: u32| run.first + n / count;
            let order: Vec<u32> = (0..length).map(|n| (n % count) * 32 + lane(n)).collect();
            let part = e.shuffle(joined, joined.ty().undef(), &order);
            match self.mask {
                Some(mask) => {
                    let lanes: Vec<u32> = (0..length).map(lane).collect();
                    let mask = e.shuffle(mask, mask, &lanes);
                    e.intrinsic("llvm.masked.store", &[part.ty(), e.ptr()], &[part, at, self.c32(ty.bytes()), mask]);
                }
                None => e.store(part, at, ty.bytes()),
            }
        }
    }

    fn scatter(&mut self, inst: Inst, space: Space, addresses: Val<'c>, vectors: &[Val<'c>], ty: Type) {
        let e = self.e;
        let at = self.host(space, addresses, self.offset_of(inst), true);
        let count = vectors.len() as u32;
        if self.takes_rows(count, count * ty.bytes()) {
            self.store_rows(at, vectors);
            return;
        }
        let mask = self.mask_vector();
        for (n, &v) in vectors.iter().enumerate() {
            let to = if n == 0 { at } else { e.offset(at, self.c64(n as u64 * u64::from(ty.bytes()))) };
            let args = [v, to, self.c32(ty.bytes()), mask];
            self.masked(inst, "llvm.masked.scatter", &[v.ty(), to.ty()], &args);
        }
    }

    /// What buffers of vectors are aligned to: code that is hardly ever executed does not have the kernel align its stack, for which
    /// it would need a register.
    pub(super) fn buffer_alignment(&self) -> u32 {
        if self.facts.leaving.contains(&self.block) { STACK_ALIGNMENT } else { 64 }
    }

    /// Where vectors lie on their way to and from code that is hardly ever executed.
    fn rare_places(&self) -> [Val<'c>; 3] {
        std::array::from_fn(|n| {
            let known = self.rare[n].get();
            let ty = self.i(8 * LARGEST).vector(32);
            let place = known.unwrap_or_else(|| self.e.buffer(self.entry, ty, STACK_ALIGNMENT));
            self.rare[n].set(Some(place));
            place
        })
    }

    /// An access of each lane for itself.
    fn masked(&self, inst: Inst, name: &str, overloads: &[Ty<'c>], args: &[Val<'c>]) -> Val<'c> {
        let e = self.e;
        match self.body.inst(inst).attr() {
            Rare::Yes => e.out_of_line(name, overloads, args, self.rare_places()),
            Rare::No => e.intrinsic(name, overloads, args),
        }
    }

    /// True where no address that takes part lies in a window.
    pub(super) fn outside_windows(&mut self, inst: Inst, address: Value) -> Val<'c> {
        let e = self.e;
        let offset = self.c64(self.body.inst(inst).imm);
        let window = |this: &Self, v: Val<'c>, wide: bool| {
            let k = |n: u64| if wide { this.splat(this.c64(n)) } else { this.c64(n) };
            let high = e.bin(Code::LLVMLShr, v, k(32));
            e.icmp(Int::LLVMIntULT, e.bin(Code::LLVMSub, high, k(1)), k(4))
        };
        let inside = match self.shape(address) {
            _ if self.lanes == 1 => {
                let v = self.held(address);
                window(self, e.bin(Code::LLVMAdd, v, offset), false)
            }
            Shape::Uniform | Shape::Affine(_) => {
                let v = self.held(address);
                window(self, e.bin(Code::LLVMAdd, v, offset), false)
            }
            Shape::Varying => {
                let v = self.vector(address);
                let lanes = window(self, e.bin(Code::LLVMAdd, v, self.splat(offset)), true);
                let bits = e.cast(Code::LLVMBitCast, self.active(lanes), self.i(32));
                e.icmp(Int::LLVMIntNE, bits, self.c32(0))
            }
        };
        e.icmp(Int::LLVMIntEQ, inside, self.i(1).int(0))
    }

    /// An address that may lie in a window. Windows are left to the device.
    fn generic(&mut self, inst: Inst, args: &[Value]) -> Result<()> {
        let load = self.body.inst(inst).op == Op::Load;
        let outside = self.outside_windows(inst, args[0]);
        let results = self.body.results(inst).to_vec();
        let types: Vec<_> = results.iter().map(|r| self.wide(self.element(self.body.ty(*r)))).collect();
        let args = args.to_vec();
        let values = self.either(
            outside,
            &types,
            |this| {
                if load {
                    this.load(inst, args[0], Space::Global)
                } else {
                    this.store(inst, &args, Space::Global);
                    Vec::new()
                }
            },
            |this| this.by_device(inst),
        );
        let single = self.lanes == 1;
        for (n, (v, _)) in values.into_iter().enumerate() {
            self.set_vector(inst, n, v, single);
        }
        Ok(())
    }

    /// Local memory: words of neighbouring lanes are neighbours.
    fn local(&mut self, inst: Inst, args: &[Value]) {
        let e = self.e;
        let load = self.body.inst(inst).op == Op::Load;
        let values = if load { self.body.results(inst).to_vec() } else { args[1..].to_vec() };
        let (ty, _, bytes) = self.elements(inst, &values);
        let offset = self.c64(self.body.inst(inst).imm);
        let base = self.local;
        let limit = self.warp_field(self.i(32), offset_of!(Warp, local_bytes));
        let limit = e.bin(Code::LLVMSub, e.cast(Code::LLVMZExt, limit, self.i(64)), self.c64(bytes.into()));
        let uniform = self.lanes > 1 && self.is_uniform(args[0]);
        let single = self.lanes == 1;
        let a = if single || uniform { self.held(args[0]) } else { self.vector(args[0]) };
        let wide = !(single || uniform);
        let k = |v: Val<'c>| if wide { self.splat(v) } else { v };
        let at = e.bin(Code::LLVMAdd, a, k(offset));
        let over = e.icmp(Int::LLVMIntUGT, at, k(limit));
        let odd = e.icmp(Int::LLVMIntNE, e.bin(Code::LLVMAnd, at, k(self.c64(u64::from(bytes) - 1))), k(self.c64(0)));
        if wide {
            let (over, odd) = (self.active(over), self.active(odd));
            self.fail_if_any(over, Failure::OutOfBounds, inst);
            if bytes > 1 {
                self.fail_if_any(odd, Failure::Misaligned, inst);
            }
        } else {
            self.fail_if(over, Failure::OutOfBounds, inst);
            if bytes > 1 {
                self.fail_if(odd, Failure::Misaligned, inst);
            }
        }
        let lane = if single {
            e.cast(Code::LLVMZExt, self.lane(), self.i(64))
        } else {
            Val::const_vector(&(0..32).map(|l| self.c64(l)).collect::<Vec<_>>())
        };
        let by_lane = e.bin(Code::LLVMMul, lane, if single { self.c64(4) } else { self.splat(self.c64(4)) });
        // The place of a byte in this thread's memory.
        let byte = |this: &Self, distance: u64| {
            let k = |v: Val<'c>| if wide { this.splat(v) } else { v };
            let p = e.bin(Code::LLVMAdd, at, k(this.c64(distance)));
            let word = e.bin(Code::LLVMLShr, p, k(this.c64(2)));
            let row = e.bin(Code::LLVMMul, word, k(this.c64(128)));
            let rest = e.bin(Code::LLVMAnd, p, k(this.c64(3)));
            let v = e.bin(Code::LLVMAdd, row, rest);
            (v, e.bin(Code::LLVMAdd, if uniform { this.splat(v) } else { v }, by_lane))
        };
        let size = ty.bytes();
        let piece_bytes = size.min(4);
        let pieces = size.div_ceil(4);
        let piece = self.i(piece_bytes * 8);
        let whole = self.i(size * 8);
        for (n, &value) in values.iter().enumerate() {
            let mut sum: Option<Val<'c>> = None;
            let given = if load {
                None
            } else {
                let v = self.visible(value, single);
                let v = e.cast(Code::LLVMBitCast, v, self.wide(self.i(ty.bits())));
                Some(e.cast(Code::LLVMZExt, v, self.wide(whole)))
            };
            for p in 0..pieces {
                let (row, place) = byte(self, u64::from(n as u32 * size + 4 * p));
                let shift = whole.int(u64::from(32 * p));
                let shift = if single { shift } else { self.splat(shift) };
                match given {
                    None => {
                        let v = if single {
                            e.load(piece, e.offset(base, place), piece_bytes)
                        } else if uniform && piece_bytes == 4 && self.mask.is_none() {
                            e.load(piece.vector(32), e.offset(base, row), 4)
                        } else {
                            let from = e.offset(base, place);
                            let ty = self.wide(piece);
                            let mask = self.mask_vector();
                            let args = [from, self.c32(piece_bytes), mask, ty.undef()];
                            e.intrinsic("llvm.masked.gather", &[ty, from.ty()], &args)
                        };
                        let v = e.cast(Code::LLVMZExt, v, self.wide(whole));
                        let v = if p == 0 { v } else { e.bin(Code::LLVMShl, v, shift) };
                        sum = Some(sum.map_or(v, |s| e.bin(Code::LLVMOr, s, v)));
                    }
                    Some(v) => {
                        let v = if p == 0 { v } else { e.bin(Code::LLVMLShr, v, shift) };
                        let v = e.cast(Code::LLVMTrunc, v, self.wide(piece));
                        if single {
                            e.store(v, e.offset(base, place), piece_bytes);
                        } else if uniform && piece_bytes == 4 && self.mask.is_none() {
                            e.store(v, e.offset(base, row), 4);
                        } else {
                            let to = e.offset(base, place);
                            let args = [v, to, self.c32(piece_bytes), self.mask_vector()];
                            e.intrinsic("llvm.masked.scatter", &[v.ty(), to.ty()], &args);
                        }
                    }
                }
            }
            if let Some(v) = sum {
                let v = e.cast(Code::LLVMTrunc, v, self.wide(self.i(ty.bits())));
                let v = e.cast(Code::LLVMBitCast, v, self.wide(self.element(ty)));
                self.set_vector(inst, n, v, single);
            }
        }
    }
}

/// Whether an affine address is what its distances say.
enum Fit<'c> {
    Always,
    Never,
    If(Val<'c>),
}
