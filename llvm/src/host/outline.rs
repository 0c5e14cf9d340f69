//! Vector operations that LLVM would turn into a call for each lane, where they stand. One function for each keeps the
//! code, and the time to make it, in proportion.

use super::CompileError;
use super::elf::Arch;
use super::machine::Machine;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::builder::BuilderError;
use inkwell::module::{Linkage, Module};
use inkwell::types::BasicType;
use inkwell::values::{BasicMetadataValueEnum, BasicValue, FunctionValue};

/// What no processor has.
const NOWHERE: &[&str] = &["sin", "cos", "tan", "exp", "exp2", "exp10", "log", "log2", "log10", "pow"];
/// What x86-64 has had since SSE4.1.
const ROUNDING: &[&str] = &["floor", "ceil", "trunc", "rint", "nearbyint", "roundeven"];

fn called(machine: &Machine) -> Vec<&'static str> {
    let mut names = NOWHERE.to_vec();
    if machine.arch == Arch::X86_64 {
        names.push("round");
        if !machine.has("sse4.1") {
            names.extend(ROUNDING);
        }
        if !machine.has("fma") {
            names.push("fma");
        }
    }
    names
}

/// Gives each such operation its function.
pub(super) fn run(machine: &Machine, module: &Module) -> Result<(), CompileError> {
    let names = called(machine);
    for function in module.get_functions().collect::<Vec<_>>() {
        let name = function.get_name().to_string_lossy().into_owned();
        let mut parts = name.strip_prefix("llvm.").into_iter().flat_map(|rest| rest.split('.'));
        let (operation, of) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if names.contains(&operation) && of.starts_with('v') {
            lanes(module, function, operation).map_err(|error| CompileError::Llvm(error.to_string()))?;
        }
    }
    Ok(())
}

/// A function that does the operation lane by lane, in the place of the intrinsic.
fn lanes<'c>(module: &Module<'c>, intrinsic: FunctionValue<'c>, operation: &str) -> Result<(), BuilderError> {
    let context = module.get_context();
    let ty = intrinsic.get_type();
    let Some(inkwell::types::BasicTypeEnum::VectorType(vector)) = ty.get_return_type() else { return Ok(()) };
    let element = vector.get_element_type();
    let bits = match element {
        inkwell::types::BasicTypeEnum::FloatType(float) => float.get_bit_width(),
        _ => return Ok(()),
    };
    if bits != 32 && bits != 64 {
        return Ok(());
    }
    let function = module.add_function(&format!("{operation}.lanes"), ty, Some(Linkage::Private));
    intrinsic.replace_all_uses_with(function);
    let noinline = context.create_enum_attribute(Attribute::get_named_enum_kind_id("noinline"), 0);
    function.add_attribute(AttributeLoc::Function, noinline);
    let params: Vec<_> = function.get_param_iter().filter(|param| param.is_vector_value()).collect();
    let scalars = vec![element.into(); params.len()];
    let scalar = format!("llvm.{operation}.f{bits}");
    let scalar = module
        .get_function(&scalar)
        .unwrap_or_else(|| module.add_function(&scalar, element.fn_type(&scalars, false), None));
    let builder = context.create_builder();
    builder.position_at_end(context.append_basic_block(function, ""));
    let mut result = vector.get_undef();
    for lane in 0..vector.get_size() {
        let lane = context.i32_type().const_int(lane.into(), false);
        let mut args: Vec<BasicMetadataValueEnum> = Vec::new();
        for param in &params {
            args.push(builder.build_extract_element(param.into_vector_value(), lane, "")?.into());
        }
        let value = builder.build_call(scalar, &args, "")?.try_as_basic_value();
        if let Some(value) = value.basic() {
            result = builder.build_insert_element(result, value, lane, "")?;
        }
    }
    builder.build_return(Some(&result as &dyn BasicValue))?;
    Ok(())
}
