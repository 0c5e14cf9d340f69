//! Rules that follow from an op's row.

use super::body::Checker;
use super::ops;
use super::{Rule, is_type};
use crate::attr::Policy;
use crate::entity::{Inst, Value};
use crate::ir::InstData;
use crate::op::{Imm, Op, OpInfo, Pattern};
use crate::types::Type;

pub(super) fn check(c: &mut Checker<'_>, inst: Inst) {
    let data = *c.body.inst(inst);
    let info = data.op.info();
    attributes(c, inst, &data, info);
    immediate(c, inst, &data, info);
    let body = c.body;
    let (args, policy) = body.args_and_policy(inst);
    let mut u = None;
    let mut fine = true;
    if data.attr::<Policy>() == Policy::Yes && policy.is_none_or(|p| c.ty(p) != Type::I64) {
        c.at_inst(Rule::Operands, inst, "`policy` announces an i64 behind the other operands");
        fine = false;
    }
    for (rule, what, patterns, values) in
        [(Rule::Operands, "operand", &info.args, args), (Rule::Results, "result", &info.results, body.results(inst))]
    {
        if let Err(message) = types(c, info, what, patterns, values, data.ty, &mut u) {
            c.at_inst(rule, inst, message);
            fine = false;
        }
    }
    if !fine {
        return;
    }
    if info.is_typed() {
        if !is_type(data.ty) {
            c.at_inst(Rule::Types, inst, format!("{} is no type", data.ty));
            return;
        }
        if !info.t.holds(data.ty) {
            c.at_inst(Rule::TypeClass, inst, format!("{} needs {}, not {}", info.name, info.t.describe(), data.ty));
            return;
        }
    } else if data.ty != Type::B1 {
        let message = format!("{} has no controlling type, but {} is recorded", info.name, data.ty);
        c.at_inst(Rule::TypeClass, inst, message);
    }
    if let Some(u) = u.filter(|u| !info.u.holds(*u)) {
        c.at_inst(Rule::TypeClass, inst, format!("{} needs {}, not {u}", info.name, info.u.describe()));
        return;
    }
    let context = ops::Context { inst, data: &data, args, t: data.ty, u: u.unwrap_or(data.ty) };
    if let Err((rule, message)) = ops::check(c, &context) {
        c.at_inst(rule, inst, message);
    }
}

/// Compares values with patterns.
fn types(
    c: &Checker<'_>,
    info: &OpInfo,
    what: &str,
    patterns: &[Pattern],
    values: &[Value],
    t: Type,
    u: &mut Option<Type>,
) -> Result<(), String> {
    let last = patterns.last();
    let repeats = matches!(last, Some(Pattern::ManyT | Pattern::ManyU | Pattern::Rest));
    let least = patterns.len() - usize::from(last == Some(&Pattern::Rest));
    if values.len() < least || (!repeats && values.len() > least) {
        let more = if repeats { " or more" } else { "" };
        return Err(format!("{} has {least}{more} {what}s, not {}", info.name, values.len()));
    }
    for (n, &value) in values.iter().enumerate() {
        if c.body.values.get(value.index()).is_none() {
            continue;
        }
        let have = c.ty(value);
        let want = match patterns[n.min(patterns.len() - 1)] {
            Pattern::T | Pattern::ManyT => Some(t),
            Pattern::U | Pattern::ManyU => Some(*u.get_or_insert(have)),
            // The class of `T` is checked afterwards; a width without a double has no match.
            Pattern::Wide => t.widened().or(Some(Type::B1)),
            Pattern::Is(ty) => Some(ty),
            Pattern::Rest => None,
        };
        if let Some(want) = want.filter(|w| *w != have) {
            return Err(format!("{what} {} of {} is {have}, where {want} is needed", n + 1, info.name));
        }
    }
    Ok(())
}

fn attributes(c: &mut Checker<'_>, inst: Inst, data: &InstData, info: &OpInfo) {
    for (n, &byte) in data.attrs.iter().enumerate() {
        let problem = match info.attrs.get(n) {
            Some(kind) if usize::from(byte) >= kind.spellings().len() => format!("{kind:?} has no variant {byte}"),
            None if byte != 0 => format!("{} has {} attributes, but byte {n} is {byte}", info.name, info.attrs.len()),
            _ => continue,
        };
        c.at_inst(Rule::Attributes, inst, problem);
    }
}

fn immediate(c: &mut Checker<'_>, inst: Inst, data: &InstData, info: &OpInfo) {
    let (count, what) = match info.imm {
        Imm::Int if data.op == Op::Const => {
            if data.imm & !data.ty.mask() != 0 {
                c.at_inst(Rule::Immediate, inst, format!("{:#x} does not fit {}", data.imm, data.ty));
            }
            return;
        }
        Imm::Int | Imm::Offset => return,
        Imm::None if data.imm != 0 => {
            c.at_inst(Rule::Immediate, inst, format!("{} has no immediate, but {} is recorded", info.name, data.imm));
            return;
        }
        Imm::None => return,
        Imm::Global => (c.module.globals.len(), "global"),
        Imm::Func => (c.module.functions.len(), "func"),
        Imm::Slot => (c.function.slots.len(), "slot"),
        Imm::Sig => (c.module.signatures.len(), "sig"),
    };
    if data.imm >= count as u64 {
        c.at_inst(Rule::Immediate, inst, format!("there is no {what}{}", data.imm));
    }
}
