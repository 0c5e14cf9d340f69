//! PTX to hetIR.
//!
//! A module's variables and functions are declared first, so that bodies may refer to what stands below them; then
//! each body is lifted on its own. In lenient mode a function that is refused stays in the module without a body and
//! says why; in strict mode its errors are the module's.
//!
//! Products and sums that the text lets a compiler join are joined here (`hetir::passes::contract`), so that every device
//! gets the same module.

mod call;
mod data;
mod function;
mod operand;
mod ssa;
mod ty;

use crate::ast;
use crate::isa::{FormUse, Uses};
use hetir::diag::{Diagnostic, Severity};
use hetir::entity::{FuncId, GlobalId};
use hetir::ir::{DebugLine, Function, FunctionKind, KernelParam, LaunchBounds, Linkage, Module, Signature};
use std::collections::HashMap;

pub(crate) use call::{Piece, pieces};
pub(crate) use function::{Lifter, Place};
pub(crate) use operand::Address;
pub(crate) use ssa::Var;
pub(crate) use ty::{Kind, Ty};

/// How to lift.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// A function that is refused is kept as unavailable instead of being an error of the module.
    pub lenient: bool,
}

/// A lifted module and everything there is to say about it.
#[derive(Debug)]
pub struct Output {
    /// The module; incomplete where there are errors.
    pub module: Module,
    /// Warnings and errors.
    pub diagnostics: Vec<Diagnostic>,
    /// The instruction forms that occur, in order, each once: see [`crate::forms`].
    pub forms: Vec<FormUse>,
}

impl Output {
    /// The module, if there are no errors.
    pub fn into_result(self) -> Result<Module, Vec<Diagnostic>> {
        if self.diagnostics.iter().any(|d| d.severity == Severity::Error) {
            Err(self.diagnostics)
        } else {
            Ok(self.module)
        }
    }
}

/// Parses and lifts PTX text.
pub fn lift_text(text: &str, options: Options) -> Output {
    let parsed = crate::parse::parse(text);
    lift(&parsed.module, parsed.diagnostics, options)
}

/// What lifting a body needs to know of the module.
pub(crate) struct Context {
    pub(crate) module: Module,
    /// What module-level names mean, by symbol.
    names: HashMap<ast::Symbol, Named>,
    /// Forms that an opcode fits, by symbol.
    resolved: HashMap<ast::Symbol, function::Resolved>,
    /// Forms that occur, by number.
    used: Uses,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Named {
    Global(GlobalId),
    Function(FuncId),
}

/// Lifts a parsed module. `diagnostics` are the parser's.
pub fn lift(ast: &ast::Module<'_>, mut diagnostics: Vec<Diagnostic>, options: Options) -> Output {
    let mut cx =
        Context { module: Module::default(), names: HashMap::new(), resolved: HashMap::new(), used: Uses::default() };
    for (n, variable) in ast.variables.iter().enumerate() {
        // A declaration gives way to the definition of the same name.
        if ast.find(variable.name) == Some(ast::Item::Variable(n as u32)) {
            match data::declare(&mut cx.module, ast, variable, ast.name(variable.name).to_string()) {
                Ok(id) => {
                    cx.names.insert(variable.name, Named::Global(id));
                }
                Err(d) => diagnostics.push(*d),
            }
        }
    }
    let mut bodies = Vec::new();
    for (n, function) in ast.functions.iter().enumerate() {
        if ast.find(function.name) != Some(ast::Item::Function(n as u32)) {
            continue;
        }
        let id = FuncId::new(cx.module.functions.len());
        let declared = declare(ast, function);
        cx.module.functions.push(declared);
        cx.names.insert(function.name, Named::Function(id));
        bodies.push((id, function));
    }
    for alias in &ast.aliases {
        match cx.names.get(&alias.target.symbol) {
            Some(&Named::Function(id)) => {
                cx.names.insert(alias.name.symbol, Named::Function(id));
            }
            _ => diagnostics.push(
                Diagnostic::error(
                    "ptx::alias",
                    format!("`{}` is not a function of this module", ast.name(alias.target.symbol)),
                )
                .at(alias.target.span, "the target of `.alias`"),
            ),
        }
    }
    for variable in &ast.variables {
        if let (Some(&Named::Global(id)), Some(init)) = (cx.names.get(&variable.name), variable.init()) {
            let names = &cx.names;
            if let Err(d) = data::initialise(&mut cx.module, ast, id, variable, init, |s| names.get(&s).copied()) {
                diagnostics.push(*d);
            }
        }
    }
    for (id, function) in bodies {
        let refused = match &function.code {
            ast::Code::Declared => continue,
            ast::Code::Broken(errors) => errors.clone(),
            ast::Code::Body(body) => match function::lift_body(&mut cx, ast, function, body, id) {
                Ok(()) => continue,
                Err(errors) => errors,
            },
        };
        let kind = if function.is_kernel { "kernel" } else { "function" };
        let place = format!("in the {kind} `{}`", ast.name(function.name));
        let refused: Vec<_> = refused.into_iter().map(|d| d.note(&place)).collect();
        if !options.lenient {
            diagnostics.extend(refused.iter().cloned());
        }
        let function = &mut cx.module.functions[id.index()];
        function.body = None;
        function.slots.clear();
        function.unavailable = refused;
    }
    for body in cx.module.functions.iter_mut().filter_map(|f| f.body.as_mut()) {
        hetir::passes::contract::run(body);
    }
    diagnostics.sort_by_key(|d| d.span().map_or(0, |s| s.start));
    cx.module.files = ast.files.iter().map(|f| (f.index, f.name.text.to_string())).collect();
    cx.module.lines.sort_by_key(|l: &DebugLine| l.start);
    Output { module: cx.module, diagnostics, forms: cx.used.list() }
}

fn linkage(l: ast::Linkage) -> Linkage {
    match l {
        ast::Linkage::Internal => Linkage::Local,
        ast::Linkage::Visible => Linkage::Visible,
        ast::Linkage::Extern => Linkage::Extern,
        ast::Linkage::Weak => Linkage::Weak,
        ast::Linkage::Common => Linkage::Common,
    }
}

fn opaque(ty: ast::Type) -> Option<hetir::ir::Opaque> {
    use hetir::ir::Opaque;
    match ty {
        ast::Type::Texref => Some(Opaque::Texture),
        ast::Type::Samplerref => Some(Opaque::Sampler),
        ast::Type::Surfref => Some(Opaque::Surface),
        _ => None,
    }
}

fn declare(ast: &ast::Module<'_>, function: &ast::Function) -> Function {
    let name = ast.name(function.name);
    let mut out = if function.is_kernel {
        let mut params = Vec::new();
        let mut offset = 0u32;
        for p in function.params() {
            let align = (p.alignment() as u32).max(1);
            let size = p.bytes() as u32;
            offset = offset.next_multiple_of(align);
            params.push(KernelParam { name: ast.name(p.name).to_string(), offset, size, align, opaque: opaque(p.ty) });
            offset = offset.saturating_add(size);
        }
        Function::new(name, FunctionKind::Kernel { params, bounds: bounds(function) })
    } else {
        let mut out = Function::new(name, FunctionKind::Device);
        out.signature = Signature {
            params: function.params().iter().flat_map(call::pieces).map(|p| p.ty).collect(),
            results: function.returns().iter().flat_map(call::pieces).map(|p| p.ty).collect(),
        };
        out
    };
    out.linkage = linkage(function.linkage);
    out.span = function.span;
    out
}

fn bounds(function: &ast::Function) -> LaunchBounds {
    use ast::DirectiveKind as K;
    let dims = |kind| function.directive(kind).map_or([0; 3], |d| d.values.map(|v| v as u32));
    let one = |kind| function.directive(kind).map_or(0, |d| d.values[0] as u32);
    LaunchBounds {
        max_threads: dims(K::Maxntid),
        required_threads: dims(K::Reqntid),
        min_blocks: one(K::Minnctapersm),
        max_registers: one(K::Maxnreg),
        required_cluster: dims(K::Reqnctapercluster),
        max_cluster: one(K::Maxclusterrank),
        explicit_cluster: function.directive(K::Explicitcluster).is_some(),
    }
}
