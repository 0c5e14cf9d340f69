//! Ops that lanes of a warp, or threads of a block, execute together.
//!
//! The lanes that come here together are those of the mask; members that do not have ended. A lane alone leaves the
//! meeting with the others to the device.

use super::{Lowering, Result};
use crate::abi;
use crate::sys::{Code, Int, Val};
use hetir::attr::{ReduxOp, ShuffleMode, VoteMode};
use hetir::entity::{Inst, Value};
use hetir::op::Op;
use hetir::types::Type;

impl<'c> Lowering<'_, '_, 'c> {
    pub(super) fn warp_op(&mut self, inst: Inst) -> Result<()> {
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        match data.op {
            Op::Barrier | Op::BarrierArrive | Op::BarrierRed => return self.barrier(inst, &args),
            Op::GroupBarrier => {
                self.unit.need(|n| n.barriers = true);
                let mask = self.arriving();
                self.helper(&abi::GROUP_BARRIER, &[mask]);
                return Ok(());
            }
            Op::StopAsked => {
                let e = self.e;
                let at = e.offset(self.warp, self.c64(std::mem::offset_of!(abi::Warp, stop) as u64));
                let word = e.load_invariant(e.ptr(), at, 8);
                let word = e.load_atomic(self.i(32), word, 4);
                let asked = e.icmp(Int::LLVMIntNE, word, self.c32(0));
                self.set_vector(inst, 0, asked, true);
                return Ok(());
            }
            Op::StopBarrier => {
                let e = self.e;
                self.unit.need(|n| n.barriers = true);
                let mask = self.arriving();
                let zero = self.c32(0);
                self.helper(&abi::BARRIER, &[zero, zero, mask]);
                let at = e.offset(self.warp, self.c64(std::mem::offset_of!(abi::Warp, asked) as u64));
                let word = e.load_atomic(self.i(32), at, 4);
                let asked = e.icmp(Int::LLVMIntNE, word, zero);
                self.set_vector(inst, 0, asked, true);
                return Ok(());
            }
            Op::NanoSleep => {
                let time = if self.lanes == 1 || self.is_uniform(args[0]) {
                    self.one(args[0])
                } else {
                    let v = self.vector(args[0]);
                    self.first_active(v)
                };
                self.helper(&abi::SLEEP, &[time]);
                return Ok(());
            }
            _ => {}
        }
        if self.lanes == 1 {
            self.unit.need(|n| n.barriers = true);
            return self.effect(inst);
        }
        let e = self.e;
        match data.op {
            Op::WarpSync => {}
            Op::ActiveMask => {
                let bits = self.mask_bits();
                self.set_vector(inst, 0, bits, true);
            }
            Op::Ballot => {
                let holds = self.bits_where(args[0]);
                let (v, once) = self.among(holds, args[1]);
                self.set_vector(inst, 0, v, once);
            }
            Op::Vote => {
                let holds = self.bits_where(args[0]);
                let all = self.mask_bits();
                let (holds, once) = self.among(holds, args[1]);
                let (members, _) = self.among(all, args[1]);
                let none = if once { self.c32(0) } else { self.splat(self.c32(0)) };
                let every = e.icmp(Int::LLVMIntEQ, holds, members);
                let v = match data.attr() {
                    VoteMode::All => every,
                    VoteMode::Any => e.icmp(Int::LLVMIntNE, holds, none),
                    VoteMode::Uni => e.bin(Code::LLVMOr, every, e.icmp(Int::LLVMIntEQ, holds, none)),
                };
                self.set_vector(inst, 0, v, once);
            }
            Op::Elect if self.is_uniform(args[0]) => {
                let all = self.mask_bits();
                let (members, _) = self.among(all, args[0]);
                let lane = e.intrinsic("llvm.cttz", &[self.i(32)], &[members, self.i(1).int(0)]);
                self.set_vector(inst, 0, lane, true);
                let iota = Val::const_vector(&(0..32).map(|l| self.c32(l)).collect::<Vec<_>>());
                let is = e.icmp(Int::LLVMIntEQ, iota, self.splat(lane));
                self.set_vector(inst, 1, is, false);
            }
            Op::Shuffle => self.shuffle(inst, &args),
            Op::Redux if self.is_uniform(args[1]) && data.ty == Type::I32 => {
                let (name, neutral) = match data.attr() {
                    ReduxOp::Add => ("llvm.vector.reduce.add", 0),
                    ReduxOp::SMin => ("llvm.vector.reduce.smin", i32::MAX as u32),
                    ReduxOp::SMax => ("llvm.vector.reduce.smax", i32::MIN as u32),
                    ReduxOp::UMin => ("llvm.vector.reduce.umin", u32::MAX),
                    ReduxOp::UMax => ("llvm.vector.reduce.umax", 0),
                    ReduxOp::And => ("llvm.vector.reduce.and", u32::MAX),
                    ReduxOp::Or => ("llvm.vector.reduce.or", 0),
                    ReduxOp::Xor => ("llvm.vector.reduce.xor", 0),
                    ReduxOp::FMin | ReduxOp::FMax => return self.effect(inst),
                };
                let all = self.mask_bits();
                let (members, _) = self.among(all, args[1]);
                let lanes = e.cast(Code::LLVMBitCast, members, self.i(1).vector(32));
                let v = self.vector(args[0]);
                let v = e.select(lanes, v, self.splat(self.c32(neutral)));
                let v = e.intrinsic(name, &[v.ty()], &[v]);
                self.set_vector(inst, 0, v, true);
            }
            _ => return self.effect(inst),
        }
        Ok(())
    }

    /// The active lanes in which a predicate holds.
    fn bits_where(&mut self, predicate: Value) -> Val<'c> {
        let v = self.vector(predicate);
        let v = self.active(v);
        self.e.cast(Code::LLVMBitCast, v, self.i(32))
    }
    /// Bits of lanes that are members: one number where all lanes name the same members.
    fn among(&mut self, bits: Val<'c>, members: Value) -> (Val<'c>, bool) {
        if self.is_uniform(members) {
            let members = self.one(members);
            (self.e.bin(Code::LLVMAnd, bits, members), true)
        } else {
            let members = self.vector(members);
            (self.e.bin(Code::LLVMAnd, self.splat(bits), members), false)
        }
    }

    /// `(value, lane selector, clamp and segment mask, members)`.
    fn shuffle(&mut self, inst: Inst, args: &[Value]) {
        let e = self.e;
        let mode = self.body.inst(inst).attr::<ShuffleMode>();
        let value = self.vector(args[0]);
        // A lane that has ended gives zero.
        let value = match self.mask {
            Some(mask) => e.select(mask, value, self.splat(self.c32(0))),
            None => value,
        };
        let known = self.body.constant(args[1]).zip(self.body.constant(args[2]));
        let up = mode == ShuffleMode::Up;
        if let Some((selector, control)) = known {
            let (selector, control) = (selector as u32 & 31, control as u32);
            let (segment, clamp) = ((control >> 8) & 31, control & 31);
            let mut from = [0u32; 32];
            let mut inside = Vec::new();
            for lane in 0..32u32 {
                let limit = (lane & segment) | (clamp & !segment);
                let low = lane & segment;
                let (to, fits) = match mode {
                    ShuffleMode::Up => (lane.wrapping_sub(selector), lane as i32 - selector as i32 >= limit as i32),
                    ShuffleMode::Down => (lane + selector, lane + selector <= limit),
                    ShuffleMode::Bfly => (lane ^ selector, (lane ^ selector) <= limit),
                    ShuffleMode::Idx => {
                        let to = low | (selector & !segment);
                        (to, to <= limit)
                    }
                };
                from[lane as usize] = if fits { to & 31 } else { lane };
                inside.push(self.i(1).int(fits.into()));
            }
            let v = e.shuffle(value, value, &from);
            self.set_vector(inst, 0, v, false);
            self.set_vector(inst, 1, Val::const_vector(&inside), false);
            return;
        }
        let (selector, control) = (self.vector(args[1]), self.vector(args[2]));
        let lane = Val::const_vector(&(0..32).map(|l| self.c32(l)).collect::<Vec<_>>());
        let k31 = self.splat(self.c32(31));
        let and = |a, b| e.bin(Code::LLVMAnd, a, b);
        let or = |a, b| e.bin(Code::LLVMOr, a, b);
        let selector = and(selector, k31);
        let clamp = and(control, k31);
        let segment = and(e.bin(Code::LLVMLShr, control, self.splat(self.c32(8))), k31);
        let rest = e.bin(Code::LLVMXor, segment, self.splat(self.c32(u32::MAX)));
        let low = and(lane, segment);
        let limit = or(low, and(clamp, rest));
        let to = match mode {
            ShuffleMode::Up => e.bin(Code::LLVMSub, lane, selector),
            ShuffleMode::Down => e.bin(Code::LLVMAdd, lane, selector),
            ShuffleMode::Bfly => e.bin(Code::LLVMXor, lane, selector),
            ShuffleMode::Idx => or(low, and(selector, rest)),
        };
        let fits = e.icmp(if up { Int::LLVMIntSGE } else { Int::LLVMIntSLE }, to, limit);
        let to = and(e.select(fits, to, lane), k31);
        let v = self.permute(value, to);
        self.set_vector(inst, 0, v, false);
        self.set_vector(inst, 1, fits, false);
    }

    /// Element `index[l]` of a vector of 32-bit numbers for each lane `l`; indices are below 32.
    fn permute(&self, value: Val<'c>, index: Val<'c>) -> Val<'c> {
        let e = self.e;
        if self.unit.avx512 {
            let half = |v: Val<'c>, n: u32| {
                let pick: Vec<u32> = (0..16).map(|l| n * 16 + l).collect();
                e.shuffle(v, v, &pick)
            };
            let (low, high) = (half(value, 0), half(value, 1));
            let name = "llvm.x86.avx512.vpermi2var.d.512";
            let [a, b] = [0, 1].map(|n| e.intrinsic(name, &[], &[low, half(index, n), high]));
            return e.shuffle(a, b, &(0..32).collect::<Vec<_>>());
        }
        let area = e.alloca(self.entry, value.ty());
        e.store(value, area, 64);
        let bytes = e.bin(Code::LLVMShl, e.cast(Code::LLVMZExt, index, self.wide(self.i(64))), self.splat(self.c64(2)));
        let at = e.offset(area, bytes);
        let all = self.i(1).vector(32).ones();
        e.intrinsic("llvm.masked.gather", &[value.ty(), at.ty()], &[at, self.c32(4), all, value.ty().undef()])
    }

    /// The lanes that come to a barrier.
    fn arriving(&mut self) -> Val<'c> {
        if self.lanes == 1 {
            self.warp_field(self.i(32), std::mem::offset_of!(abi::Warp, mask))
        } else {
            self.mask_bits()
        }
    }

    fn barrier(&mut self, inst: Inst, args: &[Value]) -> Result<()> {
        let data = *self.body.inst(inst);
        let e = self.e;
        self.unit.need(|n| n.barriers = true);
        let apart = self.lanes > 1 && !(self.is_uniform(args[0]) && self.is_uniform(args[1]));
        if apart {
            // Lanes at different barriers wait by themselves: this form is not the one that is executed.
            self.unit.need(|n| n.lanes_wait = true);
        }
        let [id, threads] = [args[0], args[1]].map(|value| match apart {
            true => {
                let v = self.vector(value);
                self.first_active(v)
            }
            false => self.one(value),
        });
        let mask = self.arriving();
        match data.op {
            Op::Barrier => {
                self.helper(&abi::BARRIER, &[id, threads, mask]);
            }
            Op::BarrierArrive => {
                self.helper(&abi::BARRIER_ARRIVE, &[id, threads, mask]);
            }
            _ => {
                let holds = if self.lanes == 1 {
                    let v = self.one(args[2]);
                    e.select(v, mask, self.c32(0))
                } else {
                    self.bits_where(args[2])
                };
                let how = data.attr::<hetir::attr::BarrierOp>() as u32;
                let v = self.helper(&abi::BARRIER_RED, &[id, threads, self.c32(how), mask, holds]);
                let v = match data.ty {
                    Type::B1 => e.icmp(Int::LLVMIntNE, v, self.c32(0)),
                    _ => v,
                };
                self.set_vector(inst, 0, v, true);
            }
        }
        Ok(())
    }
}
