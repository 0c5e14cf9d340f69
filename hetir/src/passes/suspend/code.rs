//! The suspendable kernel: what it stores, and how threads leave.

use super::sites::Place;
use super::state::Control;
use super::{FRAME_HEADER, Plan, Saved, Site, SiteKind, local_range};
use crate::analysis::cfg::Cfg;
use crate::analysis::live::Liveness;
use crate::attr::{AtomOp, IntCmp, Order, Rare, Scope, Space, Sreg, VoteMode};
use crate::build::{Attrs, Builder};
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def, SlotData};
use crate::op::{Effects, Op};
use crate::types::Type;
use std::collections::{BTreeSet, HashMap};

/// Most instructions by which a value is computed again instead of being kept.
const SHORT: usize = 12;

/// Decides what each site's frame holds.
pub(super) fn lay_out(plan: &mut Plan, places: &[Place]) {
    let Some(body) = plan.module.functions[plan.kernel.index()].body.as_ref() else { return };
    let live = Liveness::of(body, &Cfg::of(body));
    let mut bytes = FRAME_HEADER;
    let values_at = (FRAME_HEADER + plan.local_bytes).next_multiple_of(16);
    for place in places {
        let params = body.blocks[place.block.index()].params.iter();
        let needed: BTreeSet<Value> = live.live_in(place.block).iter().chain(params).copied().collect();
        let mut again = Again { body, insts: BTreeSet::new() };
        let mut kept: Vec<Value> = needed.iter().copied().filter(|v| !again.computes(*v)).collect();
        kept.sort_by_key(|v| (std::cmp::Reverse(stored(body.ty(*v)).bytes()), v.index()));
        let mut offset = values_at;
        let mut saved = Vec::new();
        for value in kept {
            let ty = body.ty(value);
            saved.push(Saved { value, ty, offset });
            offset += stored(ty).bytes();
        }
        bytes = bytes.max(offset);
        let computed = needed.len() - saved.len();
        plan.sites.push(Site { kind: place.kind, span: place.span, saved, computed });
        plan.places.push(place.block);
        plan.meetings.push(place.meeting);
        plan.again.push(again.insts.into_iter().collect());
    }
    plan.frame_bytes = bytes.max(values_at).next_multiple_of(16);
}

/// What a type is stored as.
pub(super) fn stored(ty: Type) -> Type {
    match ty {
        Type::B1 => Type::I8,
        ty if ty.lanes > 1 => ty.as_int(),
        ty => ty,
    }
}

/// Instructions that give values again wherever they are executed, in the order in which they were made.
struct Again<'a> {
    body: &'a Body,
    insts: BTreeSet<Inst>,
}

impl Again<'_> {
    /// Whether a value is computed again; if so, the instructions are among those kept.
    fn computes(&mut self, value: Value) -> bool {
        let mut wanted = Vec::new();
        if !self.collect(value, &mut wanted) || wanted.len() > SHORT {
            return false;
        }
        self.insts.extend(wanted);
        true
    }

    fn collect(&self, value: Value, wanted: &mut Vec<Inst>) -> bool {
        let Def::Result(inst) = self.body.values[value.index()].def else { return false };
        if wanted.len() > SHORT {
            return false;
        }
        if wanted.contains(&inst) || self.insts.contains(&inst) {
            return true;
        }
        let data = self.body.inst(inst);
        let same = match data.op {
            Op::Sreg => stays(data.attr()),
            Op::Load => data.attr::<Space>() == Space::Param && data.attr::<Order>() == Order::Weak,
            Op::SlotAddr => true,
            op => op.info().effects == Effects::PURE,
        };
        if !same || !self.body.args(inst).iter().all(|v| self.collect(*v, wanted)) {
            return false;
        }
        wanted.push(inst);
        true
    }
}

/// Whether a register is the same for a thread as long as the launch lasts, on any device.
fn stays(sreg: Sreg) -> bool {
    use Sreg::*;
    matches!(
        sreg,
        TidX | TidY
            | TidZ
            | NtidX
            | NtidY
            | NtidZ
            | CtaidX
            | CtaidY
            | CtaidZ
            | NctaidX
            | NctaidY
            | NctaidZ
            | LaneId
            | LaneMaskEq
            | LaneMaskLe
            | LaneMaskLt
            | LaneMaskGe
            | LaneMaskGt
            | DynamicSharedSize
            | TotalSharedSize
    )
}

/// Makes the sites look whether they are asked to stop.
pub(super) fn stop_at_sites(plan: &Plan, body: &mut Body, control: u32, slots: &[SlotData], forced: bool) {
    if plan.sites.is_empty() {
        return;
    }
    let leaves = Leaves::new(plan, body, control);
    for (number, ((site, &block), &meeting)) in (0u32..).zip(plan.sites.iter().zip(&plan.places).zip(&plan.meetings)) {
        let Some(jump) = body.blocks[block.index()].insts.pop() else { continue };
        let target = body.targets(jump)[0];
        let (go, args) = (target.block, body.target_args(target).to_vec());
        let save = body.add_block();
        // One way behind the site, so that a loop has one end.
        let on = body.add_block();
        Builder { span: site.span, ..Builder::new(body, on) }.jump(go, &args);
        let mut code = Code { b: Builder { span: site.span, ..Builder::new(body, block) }, control };
        if forced {
            code.count_down();
        }
        let mut b = code.b;
        let asked = match site.kind {
            SiteKind::Barrier => b.op(Op::StopBarrier, Type::B1, &[]),
            SiteKind::Loop => b.op(Op::StopAsked, Type::B1, &[]),
            SiteKind::WarpLoop | SiteKind::Warp => {
                let all = b.constant(Type::I32, u64::MAX);
                // Whoever left before is gone then, and what made him leave is seen.
                b.effect(Op::WarpSync, Type::B1, 0, &[all]);
                let asked = b.op(Op::StopAsked, Type::B1, &[]);
                b.op(Attrs::of(Op::Vote).with(VoteMode::Any), Type::B1, &[asked, all])
            }
        };
        b.branch(asked, (save, &[]), (on, &[]));
        let mut code = Code { b: Builder { span: site.span, ..Builder::new(body, save) }, control };
        let leave = if site.kind == SiteKind::Barrier { leaves.met } else { leaves.alone };
        // Nobody goes on here; but so the loops around hold what is executed in them, and their ends have no more values.
        match meeting.filter(|meeting| *meeting != block) {
            Some(meeting) => {
                code.save(number, site, slots, plan.frame_bytes);
                let mark = code.own_mark();
                let one = code.number(Type::I8, 1);
                code.store(Space::Global, Type::I8, mark, 0, one);
                let types: Vec<Type> =
                    code.b.body.blocks[meeting.index()].params.iter().map(|p| code.b.body.ty(*p)).collect();
                let nothing: Vec<Value> = types.into_iter().map(|ty| code.nothing(ty)).collect();
                code.b.branch(asked, (meeting, &nothing), (on, &[]));
            }
            None => {
                if meeting.is_some() {
                    // Some have stored themselves in a loop before.
                    let (stored, not_yet, all) = (code.own_mark(), code.b.body.add_block(), code.b.body.add_block());
                    let stored = code.load(Space::Global, Type::I8, stored, 0);
                    let none = code.number(Type::I8, 0);
                    let stored = code.b.op(Attrs::of(Op::ICmp).with(IntCmp::Ne), Type::I8, &[stored, none]);
                    code.b.branch(stored, (all, &[]), (not_yet, &[]));
                    code.b.block = not_yet;
                    code.save(number, site, slots, plan.frame_bytes);
                    code.b.jump(all, &[]);
                    code.b.block = all;
                } else {
                    code.save(number, site, slots, plan.frame_bytes);
                }
                code.b.branch(asked, (leave, &[]), (on, &[]));
            }
        }
    }
}

/// Where threads end that have saved themselves.
struct Leaves {
    /// Those who have met the others of their block at a barrier.
    met: Block,
    /// Those who have not.
    alone: Block,
}

impl Leaves {
    fn new(plan: &Plan, body: &mut Body, control: u32) -> Self {
        let met = body.add_block();
        if !plan.has_shared {
            Builder::new(body, met).effect(Op::Exit, Type::B1, 0, &[]);
            return Self { met, alone: met };
        }
        // The others of the block come to a barrier, here or at a site, or end.
        let alone = body.add_block();
        let mut b = Builder::new(body, alone);
        b.op(Op::StopBarrier, Type::B1, &[]);
        b.jump(met, &[]);
        Code { b: Builder::new(body, met), control }.gather();
        Self { met, alone }
    }
}

/// Code that handles the state of threads.
pub(super) struct Code<'a> {
    pub(super) b: Builder<'a>,
    pub(super) control: u32,
}

impl Code<'_> {
    pub(super) fn number(&mut self, ty: Type, value: u64) -> Value {
        self.b.constant(ty, value)
    }

    pub(super) fn sreg(&mut self, sreg: Sreg) -> Value {
        self.b.op(Attrs::of(Op::Sreg).with(sreg), Type::I32, &[])
    }

    pub(super) fn wide(&mut self, value: Value) -> Value {
        self.b.op(Op::Zext, Type::I64, &[value])
    }

    pub(super) fn add(&mut self, a: Value, b: Value) -> Value {
        let ty = self.b.body.ty(a);
        self.b.op(Op::IAdd, ty, &[a, b])
    }

    pub(super) fn times(&mut self, a: Value, by: u64) -> Value {
        let ty = self.b.body.ty(a);
        let by = self.number(ty, by);
        self.b.op(Op::IMul, ty, &[a, by])
    }

    /// The address of the control block.
    pub(super) fn control(&mut self) -> Value {
        let at = self.number(Type::I64, self.control.into());
        self.b.op(Attrs::of(Op::Load).with(Space::Param), Type::I64, &[at])
    }

    /// A field of it.
    pub(super) fn field(&mut self, control: Value, field: Control) -> Value {
        self.load(Space::Global, Type::I64, control, field as u32)
    }

    pub(super) fn load(&mut self, space: Space, ty: Type, at: Value, offset: u32) -> Value {
        self.b.op_imm(Attrs::of(Op::Load).with(space).with(Rare::Yes), ty, offset.into(), &[at])
    }

    pub(super) fn store(&mut self, space: Space, ty: Type, at: Value, offset: u32, value: Value) {
        self.b.effect(Attrs::of(Op::Store).with(space).with(Rare::Yes), ty, offset.into(), &[at, value]);
    }

    fn take(&mut self, ty: Type, at: Value, offset: u32) -> Value {
        let one = self.number(ty, 1);
        let attrs = Attrs::of(Op::Atom).with(AtomOp::Add).with(Space::Global).with(Order::Relaxed).with(Scope::Gpu);
        self.b.op_imm(attrs, ty, offset.into(), &[at, one])
    }

    /// The block's number in the grid, of 64 bits.
    pub(super) fn block_number(&mut self) -> Value {
        let [x, y, z] = [Sreg::CtaidX, Sreg::CtaidY, Sreg::CtaidZ].map(|r| {
            let v = self.sreg(r);
            self.wide(v)
        });
        let [nx, ny] = [Sreg::NctaidX, Sreg::NctaidY].map(|r| {
            let v = self.sreg(r);
            self.wide(v)
        });
        let planes = self.b.op(Op::IMul, Type::I64, &[ny, z]);
        let rows = self.add(y, planes);
        let before = self.b.op(Op::IMul, Type::I64, &[nx, rows]);
        self.add(x, before)
    }

    /// The thread's number in its block.
    pub(super) fn thread_number(&mut self) -> Value {
        let [x, y, z, nx, ny] = [Sreg::TidX, Sreg::TidY, Sreg::TidZ, Sreg::NtidX, Sreg::NtidY].map(|r| self.sreg(r));
        let planes = self.b.op(Op::IMul, Type::I32, &[ny, z]);
        let rows = self.add(y, planes);
        let before = self.b.op(Op::IMul, Type::I32, &[nx, rows]);
        self.add(x, before)
    }

    /// The address of the byte that tells whether this thread has stored itself.
    fn own_mark(&mut self) -> Value {
        let control = self.control();
        let marks = self.field(control, Control::Stored);
        let (block, threads, thread) = (self.block_number(), self.threads(), self.thread_number());
        let (threads, thread) = (self.wide(threads), self.wide(thread));
        let before = self.b.op(Op::IMul, Type::I64, &[block, threads]);
        let offset = self.add(before, thread);
        self.add(marks, offset)
    }

    /// A value that nobody looks at.
    fn nothing(&mut self, ty: Type) -> Value {
        match ty {
            ty if ty == Type::B1 || ty.lanes == 1 && ty.bits() <= 64 => self.number(ty, 0),
            ty => {
                let bits = self.number(if ty.bits() > 64 { Type::I64 } else { stored(ty) }, 0);
                match ty.bits() > 64 {
                    true => self.b.op(Op::Pack, ty, &[bits, bits]),
                    false => self.b.op(Op::Bitcast, ty, &[bits]),
                }
            }
        }
    }

    /// Threads of a block.
    pub(super) fn threads(&mut self) -> Value {
        let [x, y, z] = [Sreg::NtidX, Sreg::NtidY, Sreg::NtidZ].map(|r| self.sreg(r));
        let plane = self.b.op(Op::IMul, Type::I32, &[x, y]);
        self.b.op(Op::IMul, Type::I32, &[plane, z])
    }

    /// Goes on in a new block, where a loop ends that executes `turn` for offsets from `start` to `end` by `step`; these are of
    /// 64 bits.
    pub(super) fn each(&mut self, start: Value, end: Value, step: Value, turn: impl FnOnce(&mut Self, Value)) {
        let (head, inside, behind) = (self.b.body.add_block(), self.b.body.add_block(), self.b.body.add_block());
        self.b.jump(head, &[start]);
        let offset = self.b.body.add_param(head, Type::I64);
        self.b.block = head;
        let more = self.b.op(Attrs::of(Op::ICmp).with(IntCmp::Lt), Type::I64, &[offset, end]);
        self.b.branch(more, (inside, &[]), (behind, &[]));
        self.b.block = inside;
        turn(self, offset);
        let next = self.add(offset, step);
        self.b.jump(head, &[next]);
        self.b.block = behind;
    }

    /// Copies elements between two places, each of a space, where offsets go from `start` to `end` by `step`.
    pub(super) fn copy(
        &mut self,
        ty: Type,
        from: (Space, Value),
        to: (Space, Value),
        (start, end, step): (Value, Value, Value),
    ) {
        self.each(start, end, step, |code, offset| {
            let (source, target) = (code.add(from.1, offset), code.add(to.1, offset));
            let element = code.load(from.0, ty, source, 0);
            code.store(to.0, ty, target, 0, element);
        });
    }

    /// Copies shared memory together with other threads: this one is the `rank`-th of `count`, numbers of 64 bits. `area` is where
    /// the pieces of blocks lie, `which` the block's place there.
    pub(super) fn copy_shared(&mut self, control: Value, area: Control, which: Value, out: bool, of: (Value, Value)) {
        let bytes = self.field(control, Control::SharedBytes);
        let fifteen = self.number(Type::I64, 15);
        let more = self.add(bytes, fifteen);
        let whole = self.number(Type::I64, !15);
        let stride = self.b.op(Op::And, Type::I64, &[more, whole]);
        let area = self.field(control, area);
        let before = self.b.op(Op::IMul, Type::I64, &[which, stride]);
        let kept = (Space::Global, self.add(area, before));
        let shared = (Space::Shared, self.number(Type::I64, 0));
        let (from, to) = if out { (shared, kept) } else { (kept, shared) };
        let whole = self.number(Type::I64, !3);
        let words = self.b.op(Op::And, Type::I64, &[bytes, whole]);
        let (start, step) = (self.times(of.0, 4), self.times(of.1, 4));
        self.copy(Type::I32, from, to, (start, words, step));
        let start = self.add(words, of.0);
        self.copy(Type::I8, from, to, (start, bytes, of.1));
    }

    /// Where local memory begins, and the offsets of its words.
    pub(super) fn local(&mut self, bytes: u32) -> (Value, (Value, Value, Value)) {
        let start = self.b.op_imm(Op::SlotAddr, Type::I64, 0, &[]);
        let range = [0, u64::from(bytes), 4].map(|n| self.number(Type::I64, n));
        (start, (range[0], range[1], range[2]))
    }

    /// Asks the launch to stop when as many sites are passed as were to be.
    fn count_down(&mut self) {
        let control = self.control();
        let minus_one = self.number(Type::I32, u64::MAX);
        let attrs = Attrs::of(Op::Atom).with(AtomOp::Add).with(Space::Global).with(Order::Relaxed).with(Scope::Gpu);
        let left = self.b.op_imm(attrs, Type::I32, Control::Force as u64, &[control, minus_one]);
        let one = self.number(Type::I32, 1);
        let last = self.b.op(Attrs::of(Op::ICmp).with(IntCmp::Eq), Type::I32, &[left, one]);
        let (ask, on) = (self.b.body.add_block(), self.b.body.add_block());
        self.b.branch(last, (ask, &[]), (on, &[]));
        self.b.block = ask;
        self.store(Space::Global, Type::I32, control, Control::Stop as u32, one);
        self.b.jump(on, &[]);
        self.b.block = on;
    }

    /// Stores what a thread needs to go on from a site.
    fn save(&mut self, number: u32, site: &Site, slots: &[SlotData], frame_bytes: u32) {
        // What is under way in the thread's name is done before it leaves.
        self.b.effect(Op::CpAsyncCommit, Type::B1, 0, &[]);
        self.b.effect(Op::CpAsyncWait, Type::B1, 0, &[]);
        let control = self.control();
        let taken = self.take(Type::I64, control, Control::Frames as u32);
        let area = self.field(control, Control::FrameArea);
        let offset = self.times(taken, frame_bytes.into());
        let frame = self.add(area, offset);
        let (block, thread) = (self.block_number(), self.thread_number());
        let number = self.number(Type::I32, number.into());
        self.store(Space::Global, Type::I64, frame, 0, block);
        self.store(Space::Global, Type::I32, frame, 8, thread);
        self.store(Space::Global, Type::I32, frame, 12, number);
        for saved in &site.saved {
            let ty = stored(saved.ty);
            let value = match saved.ty {
                Type::B1 => self.b.op(Op::Zext, ty, &[saved.value]),
                own if own != ty => self.b.op(Op::Bitcast, ty, &[saved.value]),
                _ => saved.value,
            };
            self.store(Space::Global, ty, frame, saved.offset, value);
        }
        if let Some(bytes) = local_range(slots) {
            let header = self.number(Type::I64, FRAME_HEADER.into());
            let to = self.add(frame, header);
            let (from, range) = self.local(bytes);
            self.copy(Type::I32, (Space::Local, from), (Space::Global, to), range);
        }
    }

    /// Ends the threads of a block that have all saved themselves, after they have stored its shared memory.
    fn gather(&mut self) {
        let zero = self.number(Type::I32, 0);
        let barrier = |code: &mut Self| {
            code.b.effect(Op::Barrier, Type::B1, 0, &[zero, zero]);
        };
        barrier(self);
        let control = self.control();
        let marks = self.field(control, Control::Marks);
        let block = self.block_number();
        let offset = self.times(block, 16);
        let mark = self.add(marks, offset);
        let rank = self.take(Type::I32, mark, 0);
        let (first, met) = (self.b.body.add_block(), self.b.body.add_block());
        let is_first = self.b.op(Attrs::of(Op::ICmp).with(IntCmp::Eq), Type::I32, &[rank, zero]);
        self.b.branch(is_first, (first, &[]), (met, &[]));
        self.b.block = first;
        let taken = self.take(Type::I64, control, Control::Records as u32);
        let one = self.number(Type::I64, 1);
        let record = self.add(taken, one);
        self.store(Space::Global, Type::I64, mark, 8, record);
        self.b.jump(met, &[]);
        self.b.block = met;
        barrier(self);
        let count = self.load(Space::Global, Type::I32, mark, 0);
        let record = self.load(Space::Global, Type::I64, mark, 8);
        let minus_one = self.number(Type::I64, u64::MAX);
        let before = self.add(record, minus_one);
        let of = (self.wide(rank), self.wide(count));
        self.copy_shared(control, Control::RecordArea, before, true, of);
        self.b.effect(Op::Exit, Type::B1, 0, &[]);
    }
}

/// Copies instructions to a cursor; values that they define are renamed in the map.
pub(super) fn compute_again(b: &mut Builder<'_>, insts: &[Inst], names: &mut HashMap<Value, Value>) {
    for &inst in insts {
        let data = *b.body.inst(inst);
        let args: Vec<Value> = b.body.args(inst).iter().map(|v| names.get(v).copied().unwrap_or(*v)).collect();
        let results: Vec<Value> = b.body.results(inst).to_vec();
        let types: Vec<Type> = results.iter().map(|v| b.body.ty(*v)).collect();
        let copy = b.body.make(data.op, data.ty, data.attrs, data.imm, &args, &types, b.span);
        b.body.append(b.block, copy);
        let made = b.body.results(copy).to_vec();
        names.extend(results.into_iter().zip(made));
    }
}
