//! Atomic operations.
//!
//! Those of one place by all lanes are one operation. Otherwise lanes take their turns, in their order: in shared memory
//! with plain accesses, since a block stays with its thread of the host; in global memory with the processor's own.

use super::memory::Place;
use super::{Lowering, Result};
use crate::sys::{Code, Int, Real, Rmw, Val};
use hetir::attr::{AtomOp, Order, Space};
use hetir::entity::{Inst, Value};
use hetir::op::Op;
use hetir::types::Type;

/// What becomes of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    By(AtomOp),
    /// The second operand, if it was the first.
    Compared,
}

impl Change {
    /// The processor's instruction.
    fn instruction(self) -> Option<Rmw> {
        Some(match self {
            Self::By(AtomOp::Add) => Rmw::LLVMAtomicRMWBinOpAdd,
            Self::By(AtomOp::And) => Rmw::LLVMAtomicRMWBinOpAnd,
            Self::By(AtomOp::Or) => Rmw::LLVMAtomicRMWBinOpOr,
            Self::By(AtomOp::Xor) => Rmw::LLVMAtomicRMWBinOpXor,
            Self::By(AtomOp::Exch) => Rmw::LLVMAtomicRMWBinOpXchg,
            Self::By(AtomOp::SMin) => Rmw::LLVMAtomicRMWBinOpMin,
            Self::By(AtomOp::SMax) => Rmw::LLVMAtomicRMWBinOpMax,
            Self::By(AtomOp::UMin) => Rmw::LLVMAtomicRMWBinOpUMin,
            Self::By(AtomOp::UMax) => Rmw::LLVMAtomicRMWBinOpUMax,
            Self::By(AtomOp::Inc | AtomOp::Dec | AtomOp::FAdd | AtomOp::FMin | AtomOp::FMax) | Self::Compared => {
                return None;
            }
        })
    }

    /// Where changes may be combined before memory sees them: the intrinsic that combines a vector, and the operand that
    /// changes nothing.
    fn combined(self, bits: u32) -> Option<(&'static str, u64)> {
        let top = 1u64 << (bits - 1);
        Some(match self {
            Self::By(AtomOp::Add) => ("add", 0),
            Self::By(AtomOp::And) => ("and", u64::MAX),
            Self::By(AtomOp::Or) => ("or", 0),
            Self::By(AtomOp::Xor) => ("xor", 0),
            Self::By(AtomOp::SMin) => ("smin", top - 1),
            Self::By(AtomOp::SMax) => ("smax", top),
            Self::By(AtomOp::UMin) => ("umin", u64::MAX),
            Self::By(AtomOp::UMax) => ("umax", 0),
            Self::By(AtomOp::Exch | AtomOp::Inc | AtomOp::Dec | AtomOp::FAdd | AtomOp::FMin | AtomOp::FMax)
            | Self::Compared => return None,
        })
    }
}

impl<'c> Lowering<'_, '_, 'c> {
    /// Words here, the rest by the device.
    pub(super) fn atomic(&mut self, inst: Inst) -> Result<()> {
        let data = *self.body.inst(inst);
        let space = data.attr::<Space>();
        let change = if data.op == Op::Cas { Change::Compared } else { Change::By(data.attr()) };
        let whole = matches!(data.ty, Type::I32 | Type::I64);
        let known = match change {
            Change::By(AtomOp::FAdd) => data.ty == Type::F32 && space == Space::Shared,
            Change::By(AtomOp::FMin | AtomOp::FMax) => false,
            Change::By(AtomOp::Inc | AtomOp::Dec) => whole && space == Space::Shared,
            Change::By(_) | Change::Compared => whole,
        };
        if !known || !matches!(space, Space::Global | Space::Shared | Space::Generic) {
            return self.effect(inst);
        }
        // What a block does to its shared memory is in order for all that see it; nothing must be moved across it.
        let ordered = space == Space::Shared && !matches!(data.attr(), Order::Weak | Order::Relaxed);
        if ordered {
            self.e.fence(true);
        }
        if space == Space::Generic {
            let outside = self.outside_windows(inst, self.body.args(inst)[0]);
            let ty = self.wide(self.element(data.ty));
            let values = self.either(
                outside,
                &[ty],
                |this| vec![this.by_lanes(inst, change, Space::Global)],
                |this| this.by_device(inst),
            );
            let single = self.lanes == 1;
            for (n, (v, _)) in values.into_iter().enumerate() {
                self.set_vector(inst, n, v, single);
            }
        } else {
            let (v, once) = self.by_lanes(inst, change, space);
            self.set_vector(inst, 0, v, once);
        }
        if ordered {
            self.e.fence(true);
        }
        Ok(())
    }

    /// What memory becomes; numbers or vectors.
    fn changed(&self, change: Change, old: Val<'c>, operands: &[Val<'c>]) -> Val<'c> {
        let e = self.e;
        let new = operands[0];
        let chosen = |how: Int| e.select(e.icmp(how, old, new), old, new);
        match change {
            Change::Compared => e.select(e.icmp(Int::LLVMIntEQ, old, new), operands[1], old),
            Change::By(op) => match op {
                AtomOp::Add => e.bin(Code::LLVMAdd, old, new),
                AtomOp::And => e.bin(Code::LLVMAnd, old, new),
                AtomOp::Or => e.bin(Code::LLVMOr, old, new),
                AtomOp::Xor => e.bin(Code::LLVMXor, old, new),
                AtomOp::Exch => new,
                AtomOp::Inc => {
                    let more = e.bin(Code::LLVMSub, old, old.ty().ones());
                    e.select(e.icmp(Int::LLVMIntUGE, old, new), old.ty().zero(), more)
                }
                AtomOp::Dec => {
                    let less = e.bin(Code::LLVMAdd, old, old.ty().ones());
                    // Of 0 this is the largest number.
                    e.select(e.icmp(Int::LLVMIntUGE, less, new), new, less)
                }
                AtomOp::SMin => chosen(Int::LLVMIntSLT),
                AtomOp::SMax => chosen(Int::LLVMIntSGT),
                AtomOp::UMin => chosen(Int::LLVMIntULT),
                AtomOp::UMax => chosen(Int::LLVMIntUGT),
                AtomOp::FAdd => self.canonical(e.bin(Code::LLVMFAdd, old, new)),
                AtomOp::FMin => e.select(e.fcmp(Real::LLVMRealOLT, old, new), old, new),
                AtomOp::FMax => e.select(e.fcmp(Real::LLVMRealOGT, old, new), old, new),
            },
        }
    }

    /// One operation on one place; what was there.
    fn act(&self, change: Change, space: Space, at: Val<'c>, operands: &[Val<'c>]) -> Val<'c> {
        let e = self.e;
        if space == Space::Shared {
            let ty = operands[0].ty();
            let bytes = if ty == self.i(64) { 8 } else { 4 };
            let old = e.load(ty, at, bytes);
            e.store(self.changed(change, old, operands), at, bytes);
            return old;
        }
        match change.instruction() {
            Some(op) => e.atomic(op, at, operands[0]),
            None => e.compare_exchange(at, operands[0], operands[1]),
        }
    }

    fn by_lanes(&mut self, inst: Inst, change: Change, space: Space) -> (Val<'c>, bool) {
        let (args, _) = self.body.args_and_policy(inst);
        let args = args.to_vec();
        let bytes = self.body.inst(inst).ty.bytes();
        let place = match self.place(args[0], bytes) {
            Place::Runs(..) => Place::Each(self.each_address(args[0])),
            other => other,
        };
        self.check_alignment(inst, &place, bytes);
        let offset = self.offset_of(inst);
        let used = self.body.results(inst).iter().any(|r| self.used.contains(r));
        match place {
            Place::One(at) if self.lanes == 1 => {
                let operands: Vec<_> = args[1..].iter().map(|a| self.visible(*a, true)).collect();
                (self.act(change, space, self.host(space, at, offset, false), &operands), true)
            }
            Place::One(at) => match change.combined(8 * bytes) {
                Some((name, nothing)) => {
                    let at = self.host(space, at, offset, false);
                    (self.together(args[1], change, space, at, name, nothing, used), false)
                }
                None => (self.in_turn(&args, change, space, self.splat(at), offset, used), false),
            },
            Place::Each(v) => (self.in_turn(&args, change, space, v, offset, used), false),
            // Taken apart above.
            Place::Runs(base, _) => (base, true),
        }
    }

    /// All lanes at one place: their operands are combined, and memory is changed once. A lane gets what was there, changed
    /// by the lanes before it.
    fn together(
        &mut self,
        operand: Value,
        change: Change,
        space: Space,
        at: Val<'c>,
        name: &str,
        nothing: u64,
        used: bool,
    ) -> Val<'c> {
        let e = self.e;
        let v = self.vector(operand);
        let element = self.element(self.body.ty(operand));
        let neutral = self.splat(element.int(nothing));
        let v = match self.mask {
            Some(mask) => e.select(mask, v, neutral),
            None => v,
        };
        if !used {
            let all = e.intrinsic(&format!("llvm.vector.reduce.{name}"), &[v.ty()], &[v]);
            return self.splat(self.act(change, space, at, &[all]));
        }
        // Lane `l` of what is moved up by `n` is lane `l - n`.
        let moved = |v: Val<'c>, n: u32| {
            let lanes: Vec<u32> = (0..32).map(|l| if l < n { 32 } else { l - n }).collect();
            e.shuffle(v, neutral, &lanes)
        };
        let mut up_to = v;
        for n in [1, 2, 4, 8, 16] {
            up_to = self.changed(change, up_to, &[moved(up_to, n)]);
        }
        let old = self.act(change, space, at, &[e.extract(up_to, self.c32(31))]);
        self.changed(change, self.splat(old), &[moved(up_to, 1)])
    }

    /// One lane after the other, in their order. What lanes bring and get lies in memory meanwhile: an element of a vector
    /// that is found by its number would be put there each time.
    fn in_turn(
        &mut self,
        args: &[Value],
        change: Change,
        space: Space,
        addresses: Val<'c>,
        offset: u64,
        used: bool,
    ) -> Val<'c> {
        let e = self.e;
        let narrow = space == Space::Shared;
        let addresses = if narrow { e.cast(Code::LLVMTrunc, addresses, self.i(32).vector(32)) } else { addresses };
        let align = self.buffer_alignment();
        let brought = |this: &mut Self, v: Val<'c>| {
            let place = e.buffer(this.entry, v.ty(), align);
            e.store(v, place, align);
            place
        };
        let places = brought(self, addresses);
        let mut operands = Vec::new();
        for &arg in &args[1..] {
            let once = self.is_uniform(arg);
            let v = self.visible(arg, once);
            operands.push(if once { (v, true) } else { (brought(self, v), false) });
        }
        let element = self.element(self.body.ty(args[1]));
        let bytes = self.body.ty(args[1]).bytes();
        let vector = element.vector(32);
        let results = used.then(|| e.buffer(self.entry, vector, align));
        let (start, head, behind) = (e.here(), e.block(self.code, "lanes"), e.block(self.code, "lanes.done"));
        let all = self.mask_bits();
        e.br(head);
        e.at(head);
        let left = e.phi(self.i(32), &[(all, start)]);
        let lane = e.intrinsic("llvm.cttz", &[self.i(32)], &[left, self.i(1).int(0)]);
        let lane = e.cast(Code::LLVMZExt, e.bin(Code::LLVMAnd, lane, self.c32(31)), self.i(64));
        let own = |place: Val<'c>, size: u32| e.offset(place, e.bin(Code::LLVMMul, lane, self.c64(size.into())));
        let address = if narrow {
            e.cast(Code::LLVMZExt, e.load(self.i(32), own(places, 4), 4), self.i(64))
        } else {
            e.load(self.i(64), own(places, 8), 8)
        };
        let at = self.host(space, address, offset, false);
        let operands: Vec<_> = operands
            .into_iter()
            .map(|(v, once)| if once { v } else { e.load(element, own(v, bytes), bytes) })
            .collect();
        let old = self.act(change, space, at, &operands);
        if let Some(results) = results {
            e.store(old, own(results, bytes), bytes);
        }
        let less = e.bin(Code::LLVMAnd, left, e.bin(Code::LLVMSub, left, self.c32(1)));
        e.add_incoming(left, less, e.here());
        e.cond_br(e.icmp(Int::LLVMIntNE, less, self.c32(0)), head, behind);
        e.at(behind);
        results.map_or(vector.undef(), |results| e.load(vector, results, align))
    }
}
