//! Branches, calls, and what ends or holds up a thread.

use super::{Form, Lifted, form};
use crate::ast::{self, BaseKind, LabelKind, OperandKind};
use crate::lift::{Lifter, Named, Piece, Place, Ty, pieces};
use hetir::attr::{SetMaxReg, Space, Syscall};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::ir::Signature;
use hetir::op::Op;
use hetir::types::Type;

pub(crate) const FORMS: &[Form] = &[
    form("bra{.uni} target", &[], |c| c.bra()),
    form("brx.idx{.uni} index, targets", &[], |c| c.brx()),
    form("call{.uni} (ret), func, (params){, targets}", &[], |c| c.call()),
    form("call{.uni} (ret), func", &[], |c| c.call()),
    form("call{.uni} func, (params){, targets}", &[], |c| c.call()),
    form("call{.uni} func{, targets}", &[], |c| c.call()),
    form("ret{.uni}", &[], |c| c.return_values()),
    form("exit", &[], |c| {
        c.stop(Op::Exit, &[]);
        Ok(())
    }),
    form("trap", &[], |c| {
        c.stop(Op::Trap, &[]);
        Ok(())
    }),
    form("brkpt", &[], |c| {
        c.effect(Op::Breakpoint, Type::B1, 0, &[]);
        Ok(())
    }),
    form("nanosleep.u32 t", &[], |c| {
        let time = c.src_u32(0)?;
        c.effect(Op::NanoSleep, Type::B1, 0, &[time]);
        Ok(())
    }),
    form("pmevent a", &[], |c| {
        let event = c.constant_operand(0)?;
        if event > 15 {
            return Err(c.error("events are numbered from 0 to 15"));
        }
        c.effect(Op::PmEvent, Type::B1, 1 << event, &[]);
        Ok(())
    }),
    form("pmevent.mask a", &[], |c| {
        let mask = c.constant_operand(0)?;
        if mask > 0xffff {
            return Err(c.error("the mask has 16 bits"));
        }
        c.effect(Op::PmEvent, Type::B1, mask, &[]);
        Ok(())
    }),
    form("setmaxnreg.action.sync.aligned.u32 count", &["action=inc dec"], |c| {
        let count = c.constant_operand(0)?;
        if !(24..=256).contains(&count) || !count.is_multiple_of(8) {
            return Err(c.error("the register count is a multiple of 8 from 24 to 256"));
        }
        let action = if c.word("action") == Some("inc") { SetMaxReg::Inc } else { SetMaxReg::Dec };
        c.effect(Attrs::of(Op::SetMaxReg).with(action), Type::B1, count, &[]);
        Ok(())
    }),
    form("griddepcontrol.action", &["action=launch_dependents wait"], |c| {
        let op = if c.word("action") == Some("wait") { Op::GridDepWait } else { Op::GridDepLaunch };
        c.effect(op, Type::B1, 0, &[]);
        Ok(())
    }),
];

/// What the names of the functions begin with that the library for kernels which launch kernels leaves to the driver.
const DEVICE_RUNTIME: [&str; 3] = ["__cuda_syscall_cnp", "cnpGetParameterBuffer", "cnpLaunchDevice"];

/// What a call goes to.
enum Callee {
    Function(hetir::entity::FuncId),
    System(Syscall),
    /// Stores into the condition of a graph's conditional node: its handle is the address of a 32-bit word.
    SetCondition,
    Address(Value),
}

impl Lifter<'_, '_> {
    fn bra(&mut self) -> Lifted {
        let operand = self.operand(0);
        let OperandKind::Label(label) = operand.kind else {
            return Err(self.error_at(operand.span, "a branch needs a label"));
        };
        let Some(target) = self.label_block(label) else {
            return Err(self.error_at(operand.span, "this label does not mark code"));
        };
        match self.inst.guard {
            None => self.jump(target),
            Some(guard) => {
                let condition = self.guard_value(guard)?;
                let next = self.new_block();
                let (yes, no) = if guard.negated { (next, target) } else { (target, next) };
                self.branch(condition, yes, no);
                self.continue_in(next);
            }
        }
        Ok(())
    }
    fn brx(&mut self) -> Lifted {
        let index = self.src_u32(0)?;
        let operand = self.operand(1);
        let targets = match operand.kind {
            OperandKind::Label(label) => match self.code.labels[label.index()].kind {
                LabelKind::BranchTargets(targets) => Some(targets),
                _ => None,
            },
            _ => None,
        };
        let Some(targets) = targets else {
            return Err(self.error_at(operand.span, "an indexed branch needs the label of a `.branchtargets` list"));
        };
        let mut blocks = Vec::new();
        for o in self.code.operands(targets) {
            match o.kind {
                OperandKind::Label(l) => blocks.extend(self.label_block(l)),
                _ => return Err(self.error_at(o.span, "a `.branchtargets` list holds labels")),
            }
        }
        if blocks.is_empty() {
            return Err(self.error_at(operand.span, "the `.branchtargets` list is empty"));
        }
        self.switch(index, &blocks);
        Ok(())
    }

    fn call(&mut self) -> Lifted {
        let operands = self.operands().to_vec();
        let is_list = |n: usize| operands.get(n).is_some_and(|o| matches!(o.kind, OperandKind::List(_)));
        let at = usize::from(is_list(0));
        let results = if at == 1 { self.list(0) } else { Vec::new() };
        let Some(&function) = operands.get(at) else { return Err(self.error("a call needs a function")) };
        let (params, rest) = if is_list(at + 1) { (self.list(at + 1), at + 2) } else { (Vec::new(), at + 1) };
        let targets = operands.get(rest).copied();
        let (callee, signature) = self.callee(function, targets)?;
        let mut args = Vec::new();
        if let Callee::Address(address) = callee {
            args.push(address);
        }
        let first_arg = args.len();
        for param in params {
            self.call_argument(param, signature.as_ref(), &mut args, first_arg)?;
        }
        // Where the results go: the pieces of `.param` variables, or registers.
        let mut places = Vec::new();
        for result in &results {
            match result.kind {
                OperandKind::Ref { base, offset: 0 } if let BaseKind::Var(var) = base.kind() => match self
                    .place(var)
                    .clone()
                {
                    Place::Pieces(pieces) => places.extend(pieces),
                    _ => {
                        return Err(self.error_at(result.span, "a call's result needs a .param variable or a register"));
                    }
                },
                OperandKind::Reg { reg, .. } => {
                    let var = self.register(reg, 0);
                    let ty = self.ssa.types[var.0 as usize];
                    places.push((Piece { offset: 0, ty }, var));
                }
                OperandKind::Sink => {
                    let index = places.len();
                    let ty = signature.as_ref().and_then(|s| s.results.get(index).copied()).unwrap_or(Type::I32);
                    let var = self.ssa.add_var(ty);
                    places.push((Piece { offset: 0, ty }, var));
                }
                _ => return Err(self.error_at(result.span, "a call's result needs a .param variable or a register")),
            }
        }
        let given: Vec<Type> = args[first_arg..].iter().map(|a| self.body.ty(*a)).collect();
        let types: Vec<Type> = places.iter().map(|(p, _)| p.ty).collect();
        let (attrs, imm, types) = match callee {
            Callee::Function(id) => {
                let signature = self.cx.module.functions[id.index()].signature.clone();
                self.signature_matches(&signature, &given, &types)?;
                (Attrs::of(Op::Call), id.index() as u64, signature.results)
            }
            Callee::Address(_) => {
                let Some(signature) = signature else { return Err(self.error("an indirect call needs a prototype")) };
                self.signature_matches(&signature, &given, &types)?;
                let id = self.cx.module.signature(signature.clone());
                (Attrs::of(Op::CallIndirect), id.index() as u64, signature.results)
            }
            Callee::System(call) => (Attrs::of(Op::Syscall).with(call), 0, types),
            Callee::SetCondition => {
                self.signature_matches(
                    &Signature { params: vec![Type::I64, Type::I32], results: vec![] },
                    &given,
                    &types,
                )?;
                self.effect(Attrs::of(Op::Store).with(Space::Global), Type::I32, 0, &args);
                return Ok(());
            }
        };
        let values = self.op_many_imm(attrs, Type::B1, imm, &args, &types);
        for ((_, var), value) in places.into_iter().zip(values) {
            let ty = self.ssa.types[var.0 as usize];
            let value = self.cast(value, ty);
            self.write_var(var, value);
        }
        Ok(())
    }
    fn list(&self, n: usize) -> Vec<ast::Operand> {
        match self.operand(n).kind {
            OperandKind::List(range) => self.code.operands(range).to_vec(),
            _ => Vec::new(),
        }
    }
    fn call_argument(
        &mut self,
        operand: ast::Operand,
        signature: Option<&Signature>,
        args: &mut Vec<Value>,
        first: usize,
    ) -> Lifted {
        if let OperandKind::Ref { base, offset: 0 } = operand.kind
            && let BaseKind::Var(var) = base.kind()
            && let Place::Pieces(pieces) = self.place(var).clone()
        {
            for (_, var) in pieces {
                args.push(self.read_var(var));
            }
            return Ok(());
        }
        // A register or constant given directly, as the old ABI without `.param` does.
        let wanted = signature.and_then(|s| s.params.get(args.len() - first).copied());
        let value = match operand.kind {
            OperandKind::Reg { reg, .. } => {
                let var = self.register(reg, 0);
                self.read_var(var)
            }
            _ => {
                let ty = wanted.map_or(Ty::bits(32), |t| Ty::bits(t.bits()));
                self.read(operand, ty, false)?
            }
        };
        let value = match wanted {
            Some(ty) if ty.bits() == self.body.ty(value).bits() => self.cast(value, ty),
            _ => value,
        };
        args.push(value);
        Ok(())
    }
    fn signature_matches(&self, signature: &Signature, params: &[Type], results: &[Type]) -> Lifted {
        let widths = |a: &[Type], b: &[Type]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.bits() == b.bits());
        if widths(&signature.params, params) && (results.is_empty() || widths(&signature.results, results)) {
            return Ok(());
        }
        Err(self.error("the arguments of the call do not match the parameters of the function"))
    }
    fn callee(
        &mut self,
        function: ast::Operand,
        targets: Option<ast::Operand>,
    ) -> Result<(Callee, Option<Signature>), Box<Diagnostic>> {
        if let OperandKind::Ref { base, offset: 0 } = function.kind
            && let BaseKind::Name(symbol) = base.kind()
        {
            let Some(Named::Function(id)) = self.named(symbol) else {
                let name = self.ast.name(symbol);
                return Err(self.error_at(function.span, format!("`{name}` is not a function")));
            };
            let callee = &self.cx.module.functions[id.index()];
            if callee.is_kernel() {
                return Err(
                    self.error_at(function.span, format!("`{}` is a kernel, which cannot be called", callee.name))
                );
            }
            let system = match callee.name.as_str() {
                "vprintf" => Some(Callee::System(Syscall::Vprintf)),
                "malloc" => Some(Callee::System(Syscall::Malloc)),
                "free" => Some(Callee::System(Syscall::Free)),
                "__assertfail" => Some(Callee::System(Syscall::AssertFail)),
                "cudaGraphSetConditional" => Some(Callee::SetCondition),
                _ => None,
            };
            let declared = matches!(callee.linkage, hetir::ir::Linkage::Extern);
            if declared && DEVICE_RUNTIME.iter().any(|prefix| callee.name.starts_with(prefix)) {
                let message = "kernels that launch kernels (dynamic parallelism) are not supported";
                return Err(self.error_at(function.span, message));
            }
            return Ok(match system {
                Some(call) if declared => (call, Some(callee.signature.clone())),
                _ => (Callee::Function(id), Some(callee.signature.clone())),
            });
        }
        let address = self.read(function, Ty::known("b64"), false)?;
        let signature = match targets.map(|t| (t, t.kind)) {
            Some((operand, OperandKind::Label(label))) => match self.code.labels[label.index()].kind {
                LabelKind::Prototype(n) => {
                    let prototype = &self.code.prototypes[n as usize];
                    Some(Signature {
                        params: prototype.params().iter().flat_map(pieces).map(|p| p.ty).collect(),
                        results: prototype.returns().iter().flat_map(pieces).map(|p| p.ty).collect(),
                    })
                }
                LabelKind::CallTargets(names) => self.first_target(operand, names)?,
                _ => None,
            },
            _ => None,
        };
        match signature {
            Some(signature) => Ok((Callee::Address(address), Some(signature))),
            None => Err(self.error("an indirect call needs the label of a `.callprototype` or `.calltargets`")),
        }
    }
    /// All functions of a `.calltargets` list have one signature: that of the first.
    fn first_target(&self, operand: ast::Operand, names: ast::Operands) -> Result<Option<Signature>, Box<Diagnostic>> {
        for o in self.code.operands(names) {
            if let OperandKind::Ref { base, .. } = o.kind
                && let BaseKind::Name(symbol) = base.kind()
                && let Some(Named::Function(id)) = self.named(symbol)
            {
                return Ok(Some(self.cx.module.functions[id.index()].signature.clone()));
            }
        }
        Err(self.error_at(operand.span, "the `.calltargets` list names no function"))
    }
}
