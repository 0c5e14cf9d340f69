//! From hetIR to LLVM.

use crate::host::{CompileError, Machine, Needs, Shape};
use hetir::entity::FuncId;
use hetir::ir::Module;
use inkwell::context::Context;

/// A kernel in LLVM's form.
#[derive(Debug)]
pub(crate) struct Lowered<'c> {
    pub(crate) module: inkwell::module::Module<'c>,
    pub(crate) needs: Needs,
}

/// Lowers a kernel and what it calls. The kernel's function is named [`crate::abi::ENTRY`], the others are private.
pub(crate) fn kernel<'c>(
    _context: &'c Context,
    module: &Module,
    kernel: FuncId,
    _shape: &Shape,
    _machine: &Machine,
) -> Result<Lowered<'c>, CompileError> {
    let name = module.functions.get(kernel.index()).map_or("no function", |function| &function.name);
    Err(CompileError::Unsupported(name.to_string()))
}
