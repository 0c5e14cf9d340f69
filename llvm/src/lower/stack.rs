//! Memory that threads take from their stacks while they run.
//!
//! Each lane has a top of its own. Functions that are called begin behind the highest.

use super::{LOCAL_START, Lowering};
use crate::abi::{Failure, Warp};
use crate::sys::{Code, Int, Val};
use hetir::entity::Inst;
use hetir::op::Op;
use std::mem::offset_of;

impl<'c> Lowering<'_, '_, 'c> {
    /// Sets the stack's top where the function moves it.
    pub(super) fn begin_stack(&mut self) {
        let takes = |i: &Inst| matches!(self.body.inst(*i).op, Op::Alloca | Op::StackSave | Op::StackRestore);
        if !self.body.blocks.iter().flat_map(|b| &b.insts).any(takes) {
            return;
        }
        let top = self.e.alloca(self.entry, self.wide(self.i(32)));
        self.e.store(self.splat(self.fixed_end()), top, 4);
        self.top = Some(top);
    }
    /// Where the function's slots end.
    fn fixed_end(&self) -> Val<'c> {
        self.e.bin(Code::LLVMAdd, self.frame, self.c32(self.frame_end))
    }
    /// Where the local memory of a function begins that is called.
    pub(super) fn next_frame(&mut self) -> Val<'c> {
        let e = self.e;
        let Some(top) = self.top else { return self.fixed_end() };
        let wide = self.wide(self.i(32));
        let tops = e.load(wide, top, 4);
        let highest = if self.lanes == 1 {
            tops
        } else {
            let there = e.select(self.mask_vector(), tops, wide.zero());
            e.intrinsic("llvm.vector.reduce.umax", &[wide], &[there])
        };
        let up = e.bin(Code::LLVMAdd, highest, self.c32(LOCAL_START - 1));
        e.bin(Code::LLVMAnd, up, self.c32(!(LOCAL_START - 1)))
    }

    pub(super) fn stack_op(&mut self, inst: Inst) {
        let Some(top) = self.top else { return };
        let e = self.e;
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        let single = self.lanes == 1;
        let (wide32, wide64) = (self.wide(self.i(32)), self.wide(self.i(64)));
        let given = args.first().map(|a| self.vector(*a));
        let tops = e.load(wide32, top, 4);
        let now = e.cast(Code::LLVMZExt, tops, wide64);
        let given = given.unwrap_or(now);
        let k = |n: Val<'c>| self.splat(n);
        let moved = match data.op {
            Op::Alloca => {
                let align = if data.imm.is_power_of_two() { data.imm } else { 1 };
                let up = e.bin(Code::LLVMAdd, now, k(self.c64(align - 1)));
                let start = e.bin(Code::LLVMAnd, up, k(self.c64(!(align - 1))));
                let limit = self.warp_field(self.i(32), offset_of!(Warp, local_bytes));
                let limit = k(e.cast(Code::LLVMZExt, limit, self.i(64)));
                // Neither sum leaves its range where the parts are within the limit.
                let large = e.icmp(Int::LLVMIntUGT, given, limit);
                let end = e.bin(Code::LLVMAdd, start, given);
                let over = e.bin(Code::LLVMOr, large, e.icmp(Int::LLVMIntUGT, end, limit));
                let over = if single { over } else { self.active(over) };
                self.fail_if_any(over, Failure::StackOverflow, inst);
                self.set_vector(inst, 0, start, single);
                end
            }
            Op::StackRestore => {
                let low = k(e.cast(Code::LLVMZExt, self.fixed_end(), self.i(64)));
                let below = e.icmp(Int::LLVMIntULT, given, low);
                let bad = e.bin(Code::LLVMOr, below, e.icmp(Int::LLVMIntUGT, given, now));
                let bad = if single { bad } else { self.active(bad) };
                self.fail_if_any(bad, Failure::BadOperand, inst);
                given
            }
            _ => {
                self.set_vector(inst, 0, now, single);
                return;
            }
        };
        let moved = e.cast(Code::LLVMTrunc, moved, wide32);
        let moved = if single { moved } else { e.select(self.mask_vector(), moved, tops) };
        e.store(moved, top, 4);
    }
}
