//! Asynchronous copies of threads: they may happen at any time up to the end of the wait for them, so they happen at once,
//! as a load and a store.

use super::{Lowering, Result};
use crate::abi::Failure;
use crate::sys::{Code, Int, Val};
use hetir::attr::Space;
use hetir::entity::Inst;

impl<'c> Lowering<'_, '_, 'c> {
    /// `cp_async`: a lane's source is read as a whole, or zeros stand for it; other lengths are left to the device.
    pub(super) fn copy_op(&mut self, inst: Inst) -> Result<()> {
        let e = self.e;
        let args = self.body.args(inst).to_vec();
        let bytes = self.body.inst(inst).imm;
        let known = self.body.constant(args[2]);
        if !matches!(bytes, 4 | 8 | 16) || known.is_some_and(|n| n != bytes) || known.is_none() && self.lanes == 1 {
            return self.effect(inst);
        }
        let (to, from) = (self.vector(args[0]), self.vector(args[1]));
        if known.is_some() {
            self.copy_lanes(inst, to, from, bytes, None);
            return Ok(());
        }
        let read = self.vector(args[2]);
        let whole = e.icmp(Int::LLVMIntEQ, read, self.splat(self.c32(bytes as u32)));
        let none = e.icmp(Int::LLVMIntEQ, read, self.splat(self.c32(0)));
        let part = e.bin(Code::LLVMXor, e.bin(Code::LLVMOr, whole, none), whole.ty().ones());
        let parts = e.cast(Code::LLVMBitCast, self.active(part), self.i(32));
        let simple = e.icmp(Int::LLVMIntEQ, parts, self.c32(0));
        self.either(
            simple,
            &[],
            |this| {
                this.copy_lanes(inst, to, from, bytes, Some(whole));
                Vec::new()
            },
            |this| {
                this.by_device(inst);
                Vec::new()
            },
        );
        Ok(())
    }

    /// Copies for the active lanes, where `read` is given zeros for those that are not in it.
    fn copy_lanes(&mut self, inst: Inst, to: Val<'c>, from: Val<'c>, bytes: u64, read: Option<Val<'c>>) {
        let e = self.e;
        let single = self.lanes == 1;
        let odd = |v: Val<'c>| {
            let rest = e.bin(Code::LLVMAnd, v, self.splat(self.c64(bytes - 1)));
            e.icmp(Int::LLVMIntNE, rest, self.splat(self.c64(0)))
        };
        let odd = e.bin(Code::LLVMOr, odd(to), odd(from));
        let odd = if single { odd } else { self.active(odd) };
        self.fail_if_any(odd, Failure::Misaligned, inst);
        let size = bytes.min(8);
        let (piece, align) = (self.i(size as u32 * 8), self.c32(size as u32));
        let pieces: Vec<Val<'c>> = (0..bytes / size)
            .map(|n| {
                let at = self.host(Space::Global, from, n * size, !single);
                if single {
                    return e.load(piece, at, size as u32);
                }
                let readers = read.map_or_else(|| self.mask_vector(), |read| self.active(read));
                let wide = piece.vector(32);
                e.intrinsic("llvm.masked.gather", &[wide, at.ty()], &[at, align, readers, wide.zero()])
            })
            .collect();
        for (n, v) in (0..).zip(pieces) {
            let at = self.host(Space::Shared, to, n * size, !single);
            if single {
                e.store(v, at, size as u32);
            } else {
                e.intrinsic("llvm.masked.scatter", &[v.ty(), at.ty()], &[v, at, align, self.mask_vector()]);
            }
        }
    }
}
