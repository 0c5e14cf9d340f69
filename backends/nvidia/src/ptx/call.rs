//! Functions: how they are declared, entered, called and left. Each value has a parameter of its own; several results are
//! one array. What is not the program's own but needed in every function goes behind the parameters: see [`Extra`].

use super::Hidden;
use super::context::Context;
use super::function::{Printer, Printing};
use super::text::{Guard, Operand, Reg};
use hetir::attr::Syscall;
use hetir::entity::{FuncId, Inst, SigId, Value};
use hetir::interp::space::function_address;
use hetir::ir::InstData;
use hetir::types::Type;
use hetir::verify::syscall_signature;
use std::fmt::Write as _;

/// What called functions need of the kernel that they are called from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Extra {
    /// What is added to a local address.
    Local,
    /// What is added to a generic address of parameters.
    Params,
    /// A hidden parameter, and the place in it.
    Hidden(Hidden, u32),
    /// A coordinate of the block.
    Block(usize),
}

impl Extra {
    pub(super) const fn ty(self) -> Type {
        match self {
            Self::Local | Self::Params | Self::Hidden(Hidden::GridId, _) => Type::I64,
            Self::Hidden(..) | Self::Block(_) => Type::I32,
        }
    }
}

/// What a value is passed as: conditions and bytes as words.
const fn passed(ty: Type) -> &'static str {
    match ty.bits() {
        1 | 8 | 32 => "b32",
        16 => "b16",
        64 => "b64",
        _ => "b128",
    }
}
const fn passed_bytes(ty: Type) -> u32 {
    match ty.bits() {
        1 | 8 => 4,
        bits => bits / 8,
    }
}

/// The declaration of one parameter.
fn parameter(ty: Type, name: &str) -> String {
    match ty.bits() {
        128 => format!(".param .align 16 .b8 {name}[16]"),
        _ => format!(".param .{} {name}", passed(ty)),
    }
}

/// Where results lie in their array, and its size and alignment.
fn places(results: &[Type]) -> (Vec<u32>, u32, u32) {
    let (mut end, mut align) = (0u32, 4u32);
    let places = results.iter().map(|ty| {
        let bytes = passed_bytes(*ty);
        let place = end.next_multiple_of(bytes);
        end = place + bytes;
        align = align.max(bytes);
        place
    });
    let places = places.collect();
    (places, end.next_multiple_of(align), align)
}

/// The declaration of what is returned; empty for nothing.
fn returned(results: &[Type], name: &str) -> String {
    match results {
        [] => String::new(),
        [one] => parameter(*one, name),
        many => {
            let (_, bytes, align) = places(many);
            format!(".param .align {align} .b8 {name}[{bytes}]")
        }
    }
}

/// The declaration of a function, without what ends it.
pub(super) fn prototype(cx: &Context<'_>, function: FuncId) -> String {
    let signature = &cx.request.module.functions[function.index()].signature;
    let mut text = ".func ".to_string();
    if !signature.results.is_empty() {
        let _ = write!(text, "({}) ", returned(&signature.results, "result"));
    }
    let own = signature.params.iter().copied();
    let params: Vec<String> = own
        .chain(cx.extras.iter().map(|e| e.ty()))
        .enumerate()
        .map(|(n, ty)| parameter(ty, &format!("arg_{n}")))
        .collect();
    let _ = write!(text, "{}({})", cx.function_name(function), params.join(", "));
    text
}

/// The declaration of a library function.
pub(super) fn library(call: Syscall) -> String {
    let (name, (params, results)) = (call_name(call), syscall_signature(call));
    let params: Vec<String> = params.iter().enumerate().map(|(n, ty)| parameter(*ty, &format!("{name}_{n}"))).collect();
    let result = match results {
        [] => String::new(),
        many => format!("({}) ", returned(many, &format!("{name}_result"))),
    };
    format!(".extern .func {result}{name}({});", params.join(", "))
}

const fn call_name(call: Syscall) -> &'static str {
    match call {
        Syscall::Vprintf => "vprintf",
        Syscall::Malloc => "malloc",
        Syscall::Free => "free",
        Syscall::AssertFail => "__assertfail",
    }
}

impl Printer<'_, '_> {
    /// Takes the parameters of a function.
    pub(super) fn enter(&mut self) {
        let params = self.body.blocks[0].params.clone();
        for (n, &param) in params.iter().enumerate() {
            let to = self.reg(param);
            self.take(&format!("arg_{n}"), 0, to, self.ty(param));
        }
        for (n, extra) in self.cx.extras.clone().into_iter().enumerate() {
            let to = self.fresh(extra.ty());
            self.take(&format!("arg_{}", params.len() + n), 0, to, extra.ty());
            self.extras.push(to);
        }
    }
    /// What called functions need, in a kernel.
    pub(super) fn gather_extras(&mut self) {
        for extra in self.cx.extras.clone() {
            let reg = match extra {
                Extra::Local => self.deltas.local,
                Extra::Params => self.deltas.generic[2],
                Extra::Hidden(hidden, place) => {
                    let (name, reg) = (self.cx.hidden(hidden), self.fresh(extra.ty()));
                    let bits = extra.ty().bits();
                    self.code.put(&format!("ld.param.b{bits}"), reg, [Operand::at(name, place.into())]);
                    reg
                }
                Extra::Block(dimension) => match self.block_place {
                    Some(place) => place[dimension],
                    None => self.constant_reg(0, Type::I32),
                },
            };
            self.extras.push(reg);
        }
    }
    /// The register of what a caller hands over.
    pub(super) fn extra(&self, extra: Extra) -> Option<Reg> {
        let n = self.cx.extras.iter().position(|e| *e == extra)?;
        self.extras.get(n).copied()
    }

    /// Reads a parameter.
    fn take(&mut self, name: &str, offset: u32, to: Reg, ty: Type) {
        let place = Operand::at(name, offset.into());
        match ty.bits() {
            1 => {
                let word = self.fresh(Type::I32);
                self.code.put("ld.param.b32", word, [place]);
                self.code.put("setp.ne.s32", to, [word.into(), "0".into()]);
            }
            128 => {
                let halves = [0; 2].map(|_| self.fresh(Type::I64));
                let both = Operand::Vector(halves.iter().map(|r| Operand::Reg(*r)).collect());
                self.code.put("ld.param.v2.b64", both, [place]);
                self.join(to, ty, &halves, Type::I64);
            }
            _ => self.code.put(&format!("ld.param.{}", passed(ty)), to, [place]),
        }
    }
    /// Writes a parameter.
    fn give(&mut self, name: &str, offset: u32, from: Reg, ty: Type) {
        let place = Operand::at(name, offset.into());
        match ty.bits() {
            1 => {
                let word = self.fresh(Type::I32);
                self.code.put("selp.b32", word, ["1".into(), "0".into(), from.into()]);
                self.code.act("st.param.b32", [], [place, word.into()]);
            }
            128 => {
                let halves = self.split(from, ty, Type::I64, 2);
                let both = Operand::Vector(halves.iter().map(|r| Operand::Reg(*r)).collect());
                self.code.act("st.param.v2.b64", [], [place, both]);
            }
            _ => self.code.act(&format!("st.param.{}", passed(ty)), [], [place, from.into()]),
        }
    }

    pub(super) fn leave(&mut self, inst: Inst) {
        let args = self.body.args(inst).to_vec();
        let types: Vec<Type> = args.iter().map(|v| self.ty(*v)).collect();
        let (at, _, _) = places(&types);
        for (value, offset) in args.iter().zip(at) {
            let reg = self.reg(*value);
            let offset = if args.len() == 1 { 0 } else { offset };
            self.give("result", offset, reg, self.ty(*value));
        }
        self.tell_others();
        self.code.act("ret", [], []);
    }

    /// A call: what is handed over, and where the results go.
    fn perform(&mut self, name: &str, args: &[(Reg, Type)], results: &[(Reg, Type)]) {
        self.code.plain("{");
        for (n, (reg, ty)) in args.iter().enumerate() {
            let param = format!("in_{n}");
            self.code.plain(format!("{};", parameter(*ty, &param)));
            self.give(&param, 0, *reg, *ty);
        }
        let types: Vec<Type> = results.iter().map(|(_, ty)| *ty).collect();
        let mut operands = Vec::new();
        if !types.is_empty() {
            self.code.plain(format!("{};", returned(&types, "out")));
            operands.push(Operand::List(vec!["out".into()]));
        }
        operands.push(name.into());
        operands.push(Operand::List((0..args.len()).map(|n| format!("in_{n}").into()).collect()));
        self.code.act("call.uni", [], operands);
        let (at, _, _) = places(&types);
        for ((reg, ty), offset) in results.iter().zip(at) {
            self.take("out", if types.len() == 1 { 0 } else { offset }, *reg, *ty);
        }
        self.code.plain("}");
    }

    fn handed(&mut self, values: &[Value]) -> Vec<(Reg, Type)> {
        let mut all: Vec<(Reg, Type)> = values.iter().map(|v| (self.reg(*v), self.ty(*v))).collect();
        let extras = self.cx.extras.clone();
        all.extend(self.extras.clone().into_iter().zip(extras).map(|(reg, extra)| (reg, extra.ty())));
        all
    }
    fn taken(&mut self, inst: Inst) -> Vec<(Reg, Type)> {
        let results = self.body.results(inst).to_vec();
        results.iter().enumerate().map(|(n, v)| (self.result(inst, n), self.ty(*v))).collect()
    }

    pub(super) fn call(&mut self, inst: Inst, data: &InstData) -> Printing {
        self.carry = None;
        let callee = FuncId::new(data.imm as usize);
        let args = self.handed(self.body.args(inst));
        let results = self.taken(inst);
        let name = self.cx.function_name(callee);
        self.perform(&name, &args, &results);
        Ok(())
    }

    /// Addresses of functions are numbers that mean the same everywhere, so that the function is looked for.
    pub(super) fn call_address(&mut self, inst: Inst, data: &InstData) -> Printing {
        self.carry = None;
        let signature = SigId::new(data.imm as usize);
        let candidates = self.cx.candidates(signature);
        let (address, args) = (self.reg(self.body.args(inst)[0]), self.handed(&self.body.args(inst)[1..]));
        let results = self.taken(inst);
        let done = self.own_label();
        for callee in candidates {
            let (is, next) = (self.fresh(Type::B1), self.own_label());
            let token = format!("{:#x}", function_address(callee.index()));
            self.code.put("setp.eq.s64", is, [address.into(), token.into()]);
            self.code.branch(Guard { pred: is, negated: true }, &next);
            let name = self.cx.function_name(callee);
            self.perform(&name, &args, &results);
            self.code.jump(&done);
            self.code.label(next);
        }
        // There is no such function.
        self.code.act("trap", [], []);
        self.code.act("exit", [], []);
        self.code.label(done);
        Ok(())
    }

    pub(super) fn function_address(&mut self, inst: Inst, data: &InstData) -> Printing {
        let to = self.result(inst, 0);
        let token = format!("{:#x}", function_address(data.imm as usize));
        self.code.put("mov.b64", to, [token.into()]);
        Ok(())
    }

    pub(super) fn syscall(&mut self, inst: Inst, data: &InstData) -> Printing {
        self.carry = None;
        let call = data.attr::<Syscall>();
        if matches!(call, Syscall::Malloc | Syscall::Free) {
            // The heap is the runtime's, which the driver's own functions know nothing of.
            return self.no_form(data);
        }
        self.cx.syscalls.insert(call);
        let args: Vec<(Reg, Type)> = self
            .body
            .args(inst)
            .iter()
            .map(|v| {
                let ty = self.ty(*v);
                let reg = if ty == Type::I64 { self.native_generic(*v) } else { self.reg(*v) };
                (reg, ty)
            })
            .collect();
        let results = self.taken(inst);
        self.perform(call_name(call), &args, &results);
        Ok(())
    }
}
