//! Calls. A function takes the warp, the lanes that call it, where its local memory begins, and its arguments as vectors.

use super::{Lowering, Result, Unit, unsupported};
use crate::abi::Failure;
use crate::sys::{Code, Int, Ty, Val};
use hetir::entity::{FuncId, Inst};
use hetir::interp::space::function_address;
use hetir::ir::Signature;
use hetir::op::Op;

impl<'c> Unit<'_, 'c> {
    /// Parameters in front of a function's own.
    pub(super) fn first_param(&self) -> u32 {
        3
    }
    fn function_ty(&self, signature: &Signature) -> Ty<'c> {
        let e = &self.e;
        let wide = |t: Ty<'c>| if self.lanes == 1 { t } else { t.vector(self.lanes) };
        let mut params = vec![e.ptr(), wide(e.int_ty(1)), e.int_ty(32)];
        params.extend(signature.params.iter().map(|t| wide(super::value::element(e, *t))));
        let results: Vec<_> = signature.results.iter().map(|t| wide(super::value::element(e, *t))).collect();
        let result = if results.is_empty() { e.void() } else { e.structure(&results) };
        e.function_ty(&params, result)
    }
    /// LLVM's function for one of ours, and whether it is told where its local memory begins.
    pub(super) fn declare(&self, id: FuncId) -> (Val<'c>, bool) {
        let e = &self.e;
        let function = &self.module.functions[id.index()];
        if id == self.kernel {
            let ty = e.function_ty(&[e.ptr()], e.void());
            return (e.function(crate::abi::ENTRY, ty), false);
        }
        let code = e.function(&format!("f{}", id.index()), self.function_ty(&function.signature));
        e.make_internal(code);
        (code, true)
    }
}

impl<'c> Lowering<'_, '_, 'c> {
    pub(super) fn call(&mut self, inst: Inst) -> Result<()> {
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        if data.op == Op::Call {
            let id = FuncId::new(data.imm as usize);
            let Some(callee) = self.unit.module.functions.get(data.imm as usize) else {
                return unsupported("a call of nothing");
            };
            if callee.body.is_none() {
                self.fail(Failure::BadCall, inst, None);
                for n in 0..self.body.results(inst).len() {
                    let none = self.result_ty(inst, n).zero();
                    self.set(inst, n, none);
                }
                return Ok(());
            }
            if callee.is_kernel() {
                return unsupported("a call of a kernel");
            }
            self.unit.need(|n| n.recursive = true);
            let values: Vec<_> = args.iter().map(|a| self.visible(*a, self.lanes == 1)).collect();
            let mask = self.lane_mask();
            let results = self.invoke(id, mask, &values);
            for (n, v) in results.into_iter().enumerate() {
                self.set_vector(inst, n, v, self.lanes == 1);
            }
            return Ok(());
        }
        self.call_indirect(inst)
    }

    fn lane_mask(&self) -> Val<'c> {
        if self.lanes == 1 { self.i(1).int(1) } else { self.mask_vector() }
    }

    fn invoke(&mut self, id: FuncId, mask: Val<'c>, values: &[Val<'c>]) -> Vec<Val<'c>> {
        let e = self.e;
        self.unit.wanted.borrow_mut().push(id);
        let signature = &self.unit.module.functions[id.index()].signature;
        let (code, _) = self.unit.declare(id);
        let frame = self.next_frame();
        let mut all = vec![self.warp, mask, frame];
        all.extend(values);
        let result = e.call(self.unit.function_ty(signature), code, &all);
        (0..signature.results.len()).map(|n| e.part(result, n as u32)).collect()
    }

    /// Each function of the signature that an active lane names is called for the lanes that name it.
    fn call_indirect(&mut self, inst: Inst) -> Result<()> {
        let e = self.e;
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        let module = self.unit.module;
        let Some(signature) = module.signatures.get(data.imm as usize) else {
            return unsupported("a call of no signature");
        };
        let candidates: Vec<FuncId> = (0..module.functions.len())
            .map(FuncId::new)
            .filter(|id| {
                let f = &module.functions[id.index()];
                !f.is_kernel() && f.body.is_some() && f.signature == *signature && self.unit.is_addressed(*id)
            })
            .collect();
        self.unit.need(|n| n.recursive = true);
        let single = self.lanes == 1;
        let at = self.arg(args[0], single);
        let values: Vec<_> = args[1..].iter().map(|a| self.visible(*a, single)).collect();
        let types: Vec<_> = signature.results.iter().map(|t| self.wide(self.element(*t))).collect();
        let results: Vec<_> = types.iter().map(|t| e.alloca(self.entry, *t)).collect();
        let wide_bool = self.wide(self.i(1));
        let left = e.alloca(self.entry, wide_bool);
        let mask = self.lane_mask();
        e.store(mask, left, 4);
        for id in candidates {
            let address = self.c64(function_address(id.index()));
            let address = if single { address } else { self.splat(address) };
            let same = e.icmp(Int::LLVMIntEQ, at, address);
            let here = if single { same } else { self.active(same) };
            let any = if single {
                here
            } else {
                e.icmp(Int::LLVMIntNE, e.cast(Code::LLVMBitCast, here, self.i(32)), self.c32(0))
            };
            let (call, next) = (e.block(self.code, "call"), e.block(self.code, "next"));
            e.cond_br(any, call, next);
            e.at(call);
            let out = self.invoke(id, here, &values);
            for (&variable, v) in results.iter().zip(out) {
                let v = if single { v } else { e.select(here, v, e.load(v.ty(), variable, 1)) };
                e.store(v, variable, 1);
            }
            let rest = e.load(wide_bool, left, 4);
            let not = e.bin(Code::LLVMXor, here, wide_bool.ones());
            e.store(e.bin(Code::LLVMAnd, rest, not), left, 4);
            e.br(next);
            e.at(next);
        }
        let lost = e.load(wide_bool, left, 4);
        self.fail_if_any(lost, Failure::BadCall, inst);
        for (n, (&variable, &ty)) in results.iter().zip(&types).enumerate() {
            let v = e.load(ty, variable, 1);
            self.set_vector(inst, n, v, single);
        }
        Ok(())
    }
}

impl Unit<'_, '_> {
    /// Whether the address of a function is taken anywhere.
    fn is_addressed(&self, id: FuncId) -> bool {
        use hetir::ir::RelocationTarget;
        let in_code = self.module.functions.iter().filter_map(|f| f.body.as_ref()).any(|body| {
            body.blocks
                .iter()
                .flat_map(|b| &b.insts)
                .any(|i| body.inst(*i).op == Op::FuncAddr && body.inst(*i).imm as usize == id.index())
        });
        in_code
            || self
                .module
                .globals
                .iter()
                .flat_map(|g| &g.relocations)
                .any(|r| matches!(r.target, RelocationTarget::Func(f) if f == id))
    }
}
