//! The verifier.
//!
//! [`Rule`] lists every invariant, by number. After [`verify`] says Ok nothing that reads the module may panic, whatever
//! the program does: an error at run time is the interpreter's to report, something that a device lacks is the
//! backend's.
//!
//! All errors are collected, [`MAX_ERRORS`] at most. Each has the span of the instruction, function or variable; where
//! there is none, a note shows the place in the text format. Rules of one kind of thing are checked only where what
//! they build on holds: dominance only in bodies whose blocks, values and targets are whole.

mod body;
mod inst;
mod module;
mod ops;
mod rules;

pub use ops::{sreg_type, syscall_signature};
pub use rules::Rule;

use crate::diag::{Diagnostic, Span};
use crate::entity::Value;
use crate::ir::{Body, Def, MAX_ATTRS, Module};
use crate::op::Op;
use crate::types::{Scalar, Type};

/// Errors after which the verifier stops.
pub const MAX_ERRORS: usize = 1000;
/// Largest alignment of anything.
pub const MAX_ALIGN: u32 = 1 << 16;
/// Largest variable.
pub const MAX_GLOBAL_BYTES: u64 = 1 << 32;
/// Largest shared variable.
pub const MAX_SHARED_BYTES: u64 = 1 << 24;
/// Largest sum of a function's slots.
pub const MAX_SLOT_BYTES: u64 = 1 << 24;
/// Largest end of a kernel's parameters.
pub const MAX_PARAM_BYTES: u64 = 1 << 15;

/// Checks a module.
///
/// # Errors
/// Every rule that is broken, with its place.
pub fn verify(module: &Module) -> Result<(), Vec<Diagnostic>> {
    let mut errors = Errors { list: Vec::new() };
    module::check(module, &mut errors);
    for function in &module.functions {
        body::check(module, function, &mut errors);
    }
    if errors.list.is_empty() { Ok(()) } else { Err(errors.list) }
}

/// Whether an instruction of these types keeps to the rules of single instructions, those on operands, results, types,
/// attributes and its op.
pub fn accepts(op: Op, ty: Type, attrs: [u8; MAX_ATTRS], imm: u64, args: &[Type], results: &[Type]) -> bool {
    let mut body = Body::default();
    let values: Vec<Value> = args.iter().map(|t| body.add_value(*t, Def::None)).collect();
    let ty = if op.info().is_typed() { ty } else { Type::B1 };
    let inst = body.make(op, ty, attrs, imm, &values, results, Span::default());
    body::accepts(&body, inst)
}

struct Errors {
    list: Vec<Diagnostic>,
}

impl Errors {
    fn full(&self) -> bool {
        self.list.len() >= MAX_ERRORS
    }

    /// Records an error; `place` describes where it is, for what has no span.
    fn add(&mut self, rule: Rule, span: Span, message: impl Into<String>, place: impl FnOnce() -> String) {
        if self.full() {
            return;
        }
        let error = Diagnostic::error(rule.code(), message);
        self.list.push(if span.is_empty() { error.note(place()) } else { error.at(span, "") });
    }
}

fn is_type(t: Type) -> bool {
    t.lanes == 1 || (matches!(t.lanes, 2 | 4) && t.scalar != Scalar::B1 && t.bits() <= 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_the_list() {
        for scalar in Scalar::ALL {
            for lanes in 0..=9 {
                let t = Type { scalar, lanes };
                assert_eq!(is_type(t), Type::ALL.contains(&t), "{t}");
            }
        }
    }
}
