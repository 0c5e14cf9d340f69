//! Module variables and their initial bytes.

use super::{Named, linkage, opaque};
use crate::ast;
use hetir::attr::Space;
use hetir::diag::{Diagnostic, Span};
use hetir::entity::GlobalId;
use hetir::ir::{Global, Linkage, Module, Relocation, RelocationTarget};
use hetir::verify::{MAX_GLOBAL_BYTES, MAX_SHARED_BYTES};

/// Most bytes of an initialiser.
const MAX_INIT: u64 = 1 << 30;

/// Adds a variable without its initial value.
pub(crate) fn declare(
    module: &mut Module,
    ast: &ast::Module<'_>,
    variable: &ast::Variable,
    name: String,
) -> Result<GlobalId, Box<Diagnostic>> {
    let space = match variable.space {
        ast::Space::Global => Space::Global,
        ast::Space::Const => Space::Const,
        ast::Space::Shared => Space::Shared,
        ast::Space::Tex => Space::Global,
        ast::Space::Local | ast::Space::Reg | ast::Space::Param => {
            return Err(Box::new(
                Diagnostic::error(
                    "ptx::variable",
                    format!("`{}` cannot stand at module level", ast.name(variable.name)),
                )
                .at(variable.span, "only .global, .const and .shared variables can"),
            ));
        }
    };
    let most = if space == Space::Shared { MAX_SHARED_BYTES } else { MAX_GLOBAL_BYTES };
    if variable.bytes() > most {
        let message = format!("`{}` has {} bytes, and {most} are the most", ast.name(variable.name), variable.bytes());
        return Err(Box::new(Diagnostic::error("ptx::variable", message).at(variable.span, "")));
    }
    module.globals.push(Global {
        name,
        space,
        size: variable.bytes(),
        align: u32::try_from(variable.alignment()).unwrap_or(1).max(1),
        linkage: linkage(variable.linkage),
        managed: variable.is_managed(),
        init: Vec::new(),
        relocations: Vec::new(),
        opaque: opaque(variable.ty),
        fields: Vec::new(),
        span: variable.span,
    });
    Ok(GlobalId::new(module.globals.len() - 1))
}

/// The variable that stands for shared memory which is kept for the system; it is added where it is asked for first.
pub(crate) fn reserved_shared(module: &mut Module, size: u64) -> GlobalId {
    // No name of a text has two dots in a row.
    const NAME: &str = "reserved..shared";
    let found = module.globals.iter().position(|global| global.name == NAME);
    GlobalId::new(found.unwrap_or_else(|| {
        module.globals.push(Global {
            name: NAME.into(),
            space: Space::Shared,
            size,
            align: 16,
            linkage: Linkage::Local,
            managed: false,
            init: Vec::new(),
            relocations: Vec::new(),
            opaque: None,
            fields: Vec::new(),
            span: Span::default(),
        });
        module.globals.len() - 1
    }))
}

/// Gives a variable its initial value.
pub(crate) fn initialise(
    module: &mut Module,
    ast: &ast::Module<'_>,
    id: GlobalId,
    variable: &ast::Variable,
    init: &ast::Init,
    find: impl Fn(ast::Symbol) -> Option<Named>,
) -> Result<(), Box<Diagnostic>> {
    let refuse =
        |message: String| Box::new(Diagnostic::error("ptx::initialiser", message).at(variable.span, "this variable"));
    let global = &mut module.globals[id.index()];
    let (values, runs) = match init {
        ast::Init::Fields(fields) => {
            global.fields = fields
                .iter()
                .map(|(name, value)| {
                    let value = match value {
                        ast::FieldValue::Word(w) => ast.name(*w).to_string(),
                        ast::FieldValue::Int(n) => n.to_string(),
                    };
                    (ast.name(*name).to_string(), value)
                })
                .collect();
            return Ok(());
        }
        ast::Init::Values { values, runs } => (values, runs),
    };
    if global.size > MAX_INIT {
        return Err(refuse(format!("an initialised variable of {} bytes is too large", global.size)));
    }
    let width = u64::from(variable.ty.bits().div_ceil(8));
    let mut bytes = vec![0; global.size as usize];
    let mut relocations = Vec::new();
    for (n, &(element, first)) in runs.iter().enumerate() {
        let end = runs.get(n + 1).map_or(values.len(), |r| r.1 as usize);
        for (k, value) in values.get(first as usize..end).unwrap_or(&[]).iter().enumerate() {
            let offset = element.saturating_add(k as u64).saturating_mul(width);
            let Some(place) = bytes.get_mut(offset as usize..(offset + width) as usize) else {
                return Err(refuse("the initialiser has more values than the variable has elements".into()));
            };
            let bits = match *value {
                ast::InitValue::Int { bits, .. } if !is_float(variable.ty) => bits,
                ast::InitValue::Int { bits, unsigned } => {
                    let number = if unsigned { bits as f64 } else { bits as i64 as f64 };
                    float_bits(variable.ty, number)
                }
                ast::InitValue::F32(bits) => match variable.ty {
                    ast::Type::F64 => f64::from(f32::from_bits(bits)).to_bits(),
                    _ => u64::from(bits),
                },
                ast::InitValue::F64(bits) => float_bits(variable.ty, f64::from_bits(bits)),
                ast::InitValue::Address { name, offset: addend, generic, byte } => {
                    let target = match find(name) {
                        Some(Named::Global(g)) => RelocationTarget::Global(g),
                        Some(Named::Function(f)) => RelocationTarget::Func(f),
                        None => {
                            return Err(refuse(format!(
                                "`{}` is not a variable or function of this module",
                                ast.name(name)
                            )));
                        }
                    };
                    relocations.push(Relocation {
                        offset,
                        target,
                        addend,
                        size: if byte.is_some() { 1 } else { width.min(8) as u8 },
                        shift: byte.unwrap_or(0) * 8,
                        generic,
                    });
                    0
                }
            };
            place.copy_from_slice(&bits.to_le_bytes()[..place.len().min(8)]);
        }
    }
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    global.init = bytes;
    global.relocations = relocations;
    Ok(())
}

fn is_float(ty: ast::Type) -> bool {
    matches!(ty, ast::Type::F16 | ast::Type::F32 | ast::Type::F64)
}

fn float_bits(ty: ast::Type, number: f64) -> u64 {
    match ty {
        ast::Type::F64 => number.to_bits(),
        ast::Type::F32 => u64::from((number as f32).to_bits()),
        // An integer type given a float keeps the bits, as `.b64 x = 0d...` does.
        _ => number.to_bits(),
    }
}
