//! What decides which code comes out, and its digest.

use super::machine::Machine;
use super::{Form, Shape};
use hetgpu_cache::{Digest, Hasher};
use hetir::entity::{FuncId, GlobalId};
use hetir::ir::{Body, Function, Global, Module, RelocationTarget};
use hetir::op::{Imm, Op};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Stands for this crate's sources and hetIR's.
const VERSION: &str = env!("HETGPU_CODE_VERSION");

/// The name of a kernel's code.
pub(super) fn key(module: &Module, kernel: FuncId, shape: &Shape, machine: &Machine) -> Digest {
    let mut hasher = Hasher::new();
    let (major, minor, patch) = inkwell::support::get_llvm_version();
    let Shape { block, form } = shape;
    let form = match form {
        Form::Warp => "warp",
        Form::Lane => "lane",
    };
    for text in [VERSION, machine.triple, &machine.cpu, &machine.features, form] {
        hasher.field(text.as_bytes());
    }
    for number in [major, minor, patch, machine.vector_bits, block[0], block[1], block[2], kernel.index() as u32] {
        hasher.update(&number.to_le_bytes());
    }
    let reached = Reached::from(module, kernel);
    for signature in &module.signatures {
        // Writing to a hasher does not fail.
        let _ = writeln!(hasher, "{signature}");
    }
    for id in &reached.functions {
        hasher.update(&(id.index() as u64).to_le_bytes());
        if let Some(function) = module.functions.get(id.index()) {
            add_function(&mut hasher, function);
        }
    }
    for id in &reached.globals {
        hasher.update(&(id.index() as u64).to_le_bytes());
        if let Some(global) = module.globals.get(id.index()) {
            add_global(&mut hasher, global);
        }
    }
    hasher.finish()
}

/// The functions that a kernel may come to, directly or not.
pub(crate) fn reached_functions(module: &Module, kernel: FuncId) -> BTreeSet<FuncId> {
    Reached::from(module, kernel).functions
}

/// The text, in which functions and variables are numbers, as in code; and where each instruction comes from, which code
/// tells when it fails.
fn add_function(hasher: &mut Hasher, function: &Function) {
    let _ = write!(hasher, "{function}");
    for inst in function.body.iter().flat_map(instructions) {
        let span = function.body.as_ref().and_then(|body| body.spans.get(inst.index())).copied().unwrap_or_default();
        hasher.update(&span.start.to_le_bytes());
    }
}

fn add_global(hasher: &mut Hasher, global: &Global) {
    let Global { name, space, size, align, linkage, managed, init, relocations, opaque, fields, span: _ } = global;
    let _ =
        write!(hasher, "{name:?} {space:?} {size} {align} {linkage:?} {managed} {relocations:?} {opaque:?} {fields:?}");
    hasher.field(init);
}

fn instructions(body: &Body) -> impl Iterator<Item = hetir::entity::Inst> + '_ {
    body.blocks.iter().flat_map(|block| block.insts.iter().copied())
}

/// What a kernel may come to, directly or not.
#[derive(Default)]
struct Reached {
    functions: BTreeSet<FuncId>,
    globals: BTreeSet<GlobalId>,
}

impl Reached {
    fn from(module: &Module, kernel: FuncId) -> Self {
        let mut reached = Self::default();
        let mut functions = vec![kernel];
        let mut globals = Vec::new();
        loop {
            if let Some(id) = functions.pop() {
                if reached.functions.insert(id)
                    && let Some(body) = module.functions.get(id.index()).and_then(|function| function.body.as_ref())
                {
                    for data in instructions(body).map(|inst| body.inst(inst)) {
                        match data.op.info().imm {
                            Imm::Func => functions.push(FuncId::new(data.imm as usize)),
                            Imm::Global => globals.push(GlobalId::new(data.imm as usize)),
                            // A pointer may lead to any function of the module.
                            Imm::Sig if data.op == Op::CallIndirect => {
                                functions.extend((0..module.functions.len()).map(FuncId::new));
                            }
                            Imm::Sig | Imm::Slot | Imm::Int | Imm::Offset | Imm::None => {}
                        }
                    }
                }
            } else if let Some(id) = globals.pop() {
                if reached.globals.insert(id)
                    && let Some(global) = module.globals.get(id.index())
                {
                    for relocation in &global.relocations {
                        match relocation.target {
                            RelocationTarget::Func(id) => functions.push(id),
                            RelocationTarget::Global(id) => globals.push(id),
                        }
                    }
                }
            } else {
                return reached;
            }
        }
    }
}

#[cfg(test)]
mod tests;
