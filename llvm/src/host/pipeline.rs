//! From LLVM's form to an object file.

use super::machine::Machine;
use super::outline;
use super::sys::Reports;
use super::{CompileError, Times};
use crate::cache::Entry;
use crate::lower::Lowered;
use inkwell::OptimizationLevel;
use inkwell::attributes::AttributeLoc;
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{FileType, TargetMachine};
use std::time::Instant;

/// LLVM descends as deep as the code is nested, also on threads of programs that gave them little.
const STACK: usize = 32 << 20;

/// How far a kernel is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// LLVM's form, as it comes from hetIR.
    Lowered,
    /// LLVM's form behind its passes.
    Optimised,
    /// Assembly.
    Assembly,
}

/// How much is done for a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effort {
    Full,
    /// Where more would take too long.
    Least,
}

impl Effort {
    /// Instructions, with loads and stores of variables, beyond which the analysis of loops and the allocation of registers
    /// may take minutes. An instruction of hetIR is about eight.
    const MOST: usize = 150_000;

    fn of(module: &Module) -> Self {
        let blocks = module.get_functions().flat_map(|function| function.get_basic_block_iter());
        let beyond = blocks.flat_map(|block| block.get_instructions()).nth(Self::MOST);
        if beyond.is_some() { Self::Least } else { Self::Full }
    }

    /// Vector code is what comes in, so there is nothing to vectorise. Loops are rotated for the sake of what is moved out
    /// of them, and unrolled only as a whole: their bodies are large as they are.
    fn passes(self) -> &'static str {
        match self {
            Self::Full => {
                "function(sroa,early-cse,simplifycfg,instcombine<no-verify-fixpoint>),cgscc(inline),globaldce,\
                 function(sroa,early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,reassociate,\
                 loop-mssa(loop-rotate,licm),simplifycfg,instcombine<no-verify-fixpoint>,\
                 loop(indvars,loop-deletion,loop-unroll-full),sroa,gvn,dse,instcombine<no-verify-fixpoint>,\
                 loop-mssa(licm),simplifycfg,early-cse)"
            }
            Self::Least => "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg)",
        }
    }

    fn level(self) -> OptimizationLevel {
        match self {
            Self::Full => OptimizationLevel::Default,
            Self::Least => OptimizationLevel::None,
        }
    }
}

/// Lowers, checks, optimises and emits.
pub(super) fn object(
    machine: &Machine,
    lower: impl for<'c> FnOnce(&'c Context, &Machine) -> Result<Lowered<'c>, CompileError> + Send,
) -> Result<(Entry, Times), CompileError> {
    with_stack(|| {
        let context = Context::create();
        let reports = Reports::of(&context);
        let mut times = Times::default();
        let Lowered { module, needs } = timed(&mut times.lower_us, || lower(&context, machine))?;
        let target = timed(&mut times.optimise_us, || optimise(machine, &module, &reports))?;
        let object = timed(&mut times.emit_us, || emit(&target, &module, FileType::Object, &reports))?;
        Ok((Entry { needs, object }, times))
    })
}

/// The same as far as `stage`, as text.
pub(super) fn text(
    machine: &Machine,
    stage: Stage,
    lower: impl for<'c> FnOnce(&'c Context, &Machine) -> Result<Lowered<'c>, CompileError> + Send,
) -> Result<String, CompileError> {
    with_stack(|| {
        let context = Context::create();
        let reports = Reports::of(&context);
        let module = lower(&context, machine)?.module;
        if stage == Stage::Lowered {
            return Ok(module.print_to_string().to_string());
        }
        let target = optimise(machine, &module, &reports)?;
        if stage == Stage::Optimised {
            return Ok(module.print_to_string().to_string());
        }
        target.set_asm_verbosity(true);
        let bytes = emit(&target, &module, FileType::Assembly, &reports)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
}

/// Does something on a thread with a stack of [`STACK`] bytes.
fn with_stack<T: Send>(work: impl FnOnce() -> Result<T, CompileError> + Send) -> Result<T, CompileError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("hetgpu-jit".into()).stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| CompileError::Host(format!("no thread to compile on: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(CompileError::Llvm("the compiler panicked".into())))
    })
}

fn timed<T>(us: &mut u64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *us = start.elapsed().as_micros() as u64;
    result
}

fn optimise(machine: &Machine, module: &Module, reports: &Reports) -> Result<TargetMachine, CompileError> {
    module.verify().map_err(|error| CompileError::Llvm(error.to_string()))?;
    let effort = Effort::of(module);
    let target = machine.target(effort.level())?;
    module.set_triple(&target.get_triple());
    module.set_data_layout(&target.get_target_data().get_data_layout());
    outline::run(machine, module)?;
    describe(machine, module);
    let options = PassBuilderOptions::create();
    module.run_passes(effort.passes(), &target, options).map_err(|error| CompileError::Llvm(error.to_string()))?;
    failed(reports)?;
    Ok(target)
}

/// What every function that comes out is like.
fn describe(machine: &Machine, module: &Module) {
    let context = module.get_context();
    let width = machine.vector_bits.to_string();
    let mut attributes = vec![
        // Large frames touch each page of theirs, so that no stack's guard page is stepped over.
        context.create_string_attribute("probe-stack", "inline-asm"),
        context.create_string_attribute("prefer-vector-width", &width),
        context.create_string_attribute("min-legal-vector-width", &width),
    ];
    // A kernel's access of address 0 is an access, which fails as any other.
    for name in ["nounwind", "null_pointer_is_valid"] {
        let kind = inkwell::attributes::Attribute::get_named_enum_kind_id(name);
        attributes.push(context.create_enum_attribute(kind, 0));
    }
    for function in module.get_functions().filter(|function| function.count_basic_blocks() > 0) {
        for attribute in &attributes {
            function.add_attribute(AttributeLoc::Function, *attribute);
        }
    }
}

fn emit(target: &TargetMachine, module: &Module, kind: FileType, reports: &Reports) -> Result<Vec<u8>, CompileError> {
    let buffer = target.write_to_memory_buffer(module, kind).map_err(|error| CompileError::Llvm(error.to_string()))?;
    failed(reports)?;
    Ok(buffer.as_slice().to_vec())
}

fn failed(reports: &Reports) -> Result<(), CompileError> {
    let errors = reports.take();
    if errors.is_empty() { Ok(()) } else { Err(CompileError::Llvm(errors.join("; "))) }
}
