//! Rules of modules, variables, and what stands above a function's body.

use super::{Errors, MAX_ALIGN, MAX_GLOBAL_BYTES, MAX_PARAM_BYTES, MAX_SHARED_BYTES, MAX_SLOT_BYTES, Rule, is_type};
use crate::attr::Space;
use crate::diag::Span;
use crate::ir::{Function, Global, Linkage, Module, RelocationTarget};
use std::collections::HashSet;

fn is_alignment(align: u32) -> bool {
    align.is_power_of_two() && align <= MAX_ALIGN
}

pub(super) fn check(module: &Module, errors: &mut Errors) {
    let mut names = HashSet::new();
    let globals = module.globals.iter().map(|g| (&g.name, g.span));
    for (name, span) in globals.chain(module.functions.iter().map(|f| (&f.name, f.span))) {
        if name.is_empty() {
            errors.add(Rule::Names, span, "a function or variable has no name", || "in the module".into());
        } else if !names.insert(name) {
            errors.add(Rule::Names, span, format!("@{name} is defined twice"), || "in the module".into());
        }
    }
    for (n, signature) in module.signatures.iter().enumerate() {
        if signature.params.iter().chain(&signature.results).any(|t| !is_type(*t)) {
            errors.add(Rule::Types, Span::default(), format!("sig{n} has a type that is none"), || {
                "in the module".into()
            });
        }
    }
    for global in &module.globals {
        check_global(module, global, errors);
    }
    for function in &module.functions {
        check_function(function, errors);
    }
}

fn check_global(module: &Module, global: &Global, errors: &mut Errors) {
    let mut error = |rule, message: String| {
        errors.add(rule, global.span, message, || format!("in variable @{}", global.name));
    };
    let shared = global.space == Space::Shared;
    if !matches!(global.space, Space::Global | Space::Const | Space::Shared) {
        error(Rule::GlobalSpace, format!("a variable cannot lie in {} space", global.space.name()));
    } else if (global.managed || global.opaque.is_some()) && global.space != Space::Global {
        error(Rule::GlobalSpace, "a managed or opaque variable lies in global space".into());
    }
    let most = if shared { MAX_SHARED_BYTES } else { MAX_GLOBAL_BYTES };
    if global.size > most {
        error(Rule::GlobalSize, format!("{} bytes are more than the most of {most}", global.size));
    }
    if !is_alignment(global.align) {
        error(Rule::GlobalSize, format!("{} is no alignment", global.align));
    }
    let initial = !global.init.is_empty() || !global.relocations.is_empty();
    if initial && (shared || global.linkage == Linkage::Extern) {
        error(Rule::GlobalInit, "an extern or shared variable has no initial value".into());
    }
    if global.init.len() as u64 > global.size {
        error(Rule::GlobalInit, format!("{} initial bytes for {} bytes", global.init.len(), global.size));
    }
    for r in &global.relocations {
        let inside = r.offset.checked_add(r.size.into()).is_some_and(|end| end <= global.size);
        if !(1..=8).contains(&r.size) || !inside {
            error(Rule::Relocations, format!("{} bytes at {} are not in the variable", r.size, r.offset));
        }
        if r.shift >= 64 {
            error(Rule::Relocations, format!("a shift by {} leaves nothing", r.shift));
        }
        match r.target {
            RelocationTarget::Func(f) if f.index() >= module.functions.len() => {
                error(Rule::Relocations, format!("there is no {f}"));
            }
            RelocationTarget::Func(_) => {}
            RelocationTarget::Global(g) => match module.globals.get(g.index()) {
                None => error(Rule::Relocations, format!("there is no {g}")),
                Some(g) if g.space == Space::Shared => {
                    error(Rule::Relocations, format!("@{} has no address before a launch", g.name));
                }
                Some(_) => {}
            },
        }
    }
}

fn check_function(function: &Function, errors: &mut Errors) {
    let mut error = |rule, message: String| {
        errors.add(rule, function.span, message, || format!("in function @{}", function.name));
    };
    if function.is_kernel() && !(function.signature.params.is_empty() && function.signature.results.is_empty()) {
        error(Rule::KernelSignature, "a kernel takes its parameters from param space and returns nothing".into());
    }
    if function.signature.params.iter().chain(&function.signature.results).any(|t| !is_type(*t)) {
        error(Rule::Types, "the signature has a type that is none".into());
    }
    let mut end = 0;
    for p in function.kernel_params() {
        if !is_alignment(p.align) {
            error(Rule::KernelParams, format!("{} is no alignment", p.align));
        } else if p.offset % p.align != 0 {
            error(Rule::KernelParams, format!("offset {} is no multiple of {}", p.offset, p.align));
        }
        if u64::from(p.offset) < end {
            error(Rule::KernelParams, format!("the parameter at {} overlaps the one before", p.offset));
        }
        end = u64::from(p.offset) + u64::from(p.size);
        if end > MAX_PARAM_BYTES {
            error(Rule::KernelParams, format!("parameters end at {end}, behind the most of {MAX_PARAM_BYTES}"));
        }
    }
    for slot in &function.slots {
        if !is_alignment(slot.align) {
            error(Rule::Slots, format!("{} is no alignment", slot.align));
        }
    }
    let bytes: u64 = function.slots.iter().map(|s| u64::from(s.size)).sum();
    if bytes > MAX_SLOT_BYTES {
        error(Rule::Slots, format!("slots of {bytes} bytes are more than the most of {MAX_SLOT_BYTES}"));
    }
    match &function.body {
        Some(_) if function.linkage == Linkage::Extern => {
            error(Rule::Bodiless, "an extern function has no body".into());
        }
        Some(_) if !function.unavailable.is_empty() => {
            error(Rule::Bodiless, "an unavailable function has no body".into());
        }
        None if !function.slots.is_empty() => error(Rule::Bodiless, "slots need a body".into()),
        _ => {}
    }
}
