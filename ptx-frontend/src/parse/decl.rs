//! Declarations of variables, registers and parameters, and initialisers.

use super::expr::{Const, Int};
use super::scope::Bound;
use super::{Parse, Parser};
use crate::ast::{
    FieldValue, Init, InitValue, Item, Linkage, Prototype, Ptr, Reg, RegId, Space, Symbol, Type, VarId, Variable,
    VariableExtra,
};
use hetir::diag::{Diagnostic, Span};

/// Array dimensions of a variable.
const MAX_DIMENSIONS: usize = 16;
/// What stands before the names of a declaration.
struct Spec {
    space: Option<Space>,
    align: u32,
    lanes: u8,
    ty: Type,
    managed: bool,
    unified: Option<(u64, u64)>,
}

/// Where a list of parameters stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ParamsOf {
    Kernel,
    Function,
    Prototype,
}

impl Parser<'_> {
    /// `.space .align n .v2 .type`, in any order that ends with the type.
    fn spec(&mut self) -> Parse<Spec> {
        let mut spec = Spec { space: None, align: 0, lanes: 1, ty: Type::B8, managed: false, unified: None };
        loop {
            self.cur.skip();
            let start = self.cur.pos;
            let Some(range) = self.cur.dotted() else {
                return self.expected("a type such as `.b32`");
            };
            let word = self.slice(range);
            if spec.lanes == 1
                && let Some(space) = space(word)
            {
                if spec.space.replace(space).is_some() {
                    let message = format!("`.{word}`: this declaration already has a state space");
                    return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(self.span_from(start), "")));
                }
                continue;
            }
            match word {
                "align" if spec.lanes == 1 => spec.align = self.alignment()?,
                "attribute" if spec.lanes == 1 => self.attributes(&mut spec.managed, &mut spec.unified)?,
                "v2" if spec.lanes == 1 => spec.lanes = 2,
                "v4" if spec.lanes == 1 => spec.lanes = 4,
                _ => match Type::from_name(word) {
                    Some(ty) => {
                        spec.ty = ty;
                        return Ok(spec);
                    }
                    None => {
                        let message = format!("expected a type such as `.b32`, found `.{word}`");
                        return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(self.span_from(start), "")));
                    }
                },
            }
        }
    }

    fn alignment(&mut self) -> Parse<u32> {
        self.cur.skip();
        let start = self.cur.pos;
        let align = self.natural32("the alignment")?;
        if !align.is_power_of_two() {
            let message = format!("the alignment {align} is not a power of two");
            return Err(Box::new(Diagnostic::error("ptx::literal", message).at(self.span_from(start), "")));
        }
        Ok(align)
    }

    /// `(.managed, .unified(a, b))`
    pub(super) fn attributes(&mut self, managed: &mut bool, unified: &mut Option<(u64, u64)>) -> Parse<()> {
        self.expect(b'(', "after `.attribute`")?;
        loop {
            if self.cur.eat_dotted("managed") {
                *managed = true;
            } else if self.cur.eat_dotted("unified") {
                self.expect(b'(', "after `.unified`")?;
                let first = self.natural("the first half of the id", u64::MAX)?;
                self.expect(b',', "between the halves of the id")?;
                let second = self.natural("the second half of the id", u64::MAX)?;
                self.expect(b')', "after the id")?;
                *unified = Some((first, second));
            } else {
                return self.expected("`.managed` or `.unified`");
            }
            if !self.cur.eat(b',') {
                return self.expect(b')', "after the attributes");
            }
        }
    }

    /// `[2][3]`: empty brackets are 0 and only the first.
    fn dimensions(&mut self) -> Parse<Vec<u64>> {
        let mut dims = Vec::new();
        while self.cur.eat(b'[') {
            if dims.len() == MAX_DIMENSIONS {
                let at = self.cur.pos as u32;
                let message = format!("an array has more than {MAX_DIMENSIONS} dimensions");
                return Err(Box::new(Diagnostic::error("ptx::limit", message).at(Span::new(at - 1, at), "")));
            }
            self.cur.skip();
            let start = self.cur.pos;
            if dims.is_empty() && self.cur.eat(b']') {
                dims.push(0);
                continue;
            }
            let n = self.natural("a dimension", u64::MAX)?;
            if n == 0 {
                return Err(Box::new(
                    Diagnostic::error("ptx::literal", "a dimension is 0").at(self.span_from(start), ""),
                ));
            }
            dims.push(n);
            self.expect(b']', "after a dimension")?;
        }
        Ok(dims)
    }

    /// The error for a variable whose size in bytes is too large to calculate with.
    fn check_size(&self, dims: &[u64], spec: &Spec, span: Span) -> Parse<()> {
        let scalar = u64::from(spec.ty.bits().div_ceil(8)) * u64::from(spec.lanes);
        let size = dims.iter().skip_while(|&&d| d == 0).try_fold(scalar, |n, &d| n.checked_mul(d));
        match size {
            Some(size) if i64::try_from(size).is_ok() => Ok(()),
            _ => {
                let message = format!("`{}` has more than 2^63 bytes", self.module.source(span));
                Err(Box::new(Diagnostic::error("ptx::limit", message).at(span, "")))
            }
        }
    }

    /// A declaration in a body.
    pub(super) fn local_declaration(&mut self) -> Parse<()> {
        let spec = self.spec()?;
        self.declare_names(&spec, Linkage::Internal, true)
    }

    /// A declaration outside functions, whose linkage has been read.
    pub(super) fn module_declaration(&mut self, linkage: Linkage) -> Parse<()> {
        self.cur.skip();
        let start = self.cur.pos;
        let spec = self.spec()?;
        if matches!(spec.space, Some(Space::Reg | Space::Param)) {
            let message = "registers and parameters cannot be declared outside functions";
            return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(self.span_from(start), "")));
        }
        self.declare_names(&spec, linkage, false)
    }

    /// The names of a declaration and its `;`.
    fn declare_names(&mut self, spec: &Spec, linkage: Linkage, local: bool) -> Parse<()> {
        let Some(space) = spec.space else {
            return self.expected("a state space such as `.global` before the type");
        };
        if self.cur.eat(b';') {
            return Ok(());
        }
        loop {
            self.declare_name(spec, space, linkage, local)?;
            if !self.cur.eat(b',') {
                return self.expect(b';', "after the declaration");
            }
        }
    }

    fn declare_name(&mut self, spec: &Spec, space: Space, linkage: Linkage, local: bool) -> Parse<()> {
        let (name, span) = self.declared_name("a name")?;
        let mut extra = VariableExtra { managed: spec.managed, unified: spec.unified, ..VariableExtra::default() };
        if self.cur.eat(b'<') {
            extra.count = Some(match space {
                Space::Reg => {
                    let count = self.natural32("the number of registers")?;
                    self.expect(b'>', "after the number of registers")?;
                    count
                }
                _ => self.name_count("the number of variables")?,
            });
        }
        extra.dims = self.dimensions()?;
        self.check_size(&extra.dims, spec, span)?;
        if let Some(problem) = problem(spec, space, linkage, local, &extra.dims) {
            let message = format!("`{}`: {problem}", self.name(name));
            return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(span, "")));
        }
        if self.cur.eat(b'=') {
            if !matches!(space, Space::Global | Space::Const | Space::Tex) || linkage == Linkage::Extern {
                let message = format!(
                    "`{}`: only variables in .global and .const that are not .extern have initial values",
                    self.name(name)
                );
                return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(span, "")));
            }
            extra.init = Some(self.initialiser(spec, &mut extra.dims)?);
        }
        if extra.dims.first() == Some(&0) && linkage != Linkage::Extern {
            let message = format!("the first dimension of `{}` is not known", self.name(name));
            let error = Diagnostic::error("ptx::syntax", message).at(span, "");
            return Err(Box::new(error.note("only an .extern array or one with an initial value can leave it out")));
        }
        let count = if space == Space::Reg { None } else { extra.count.take() };
        let is_plain = extra == VariableExtra::default() && count.is_none();
        let variable = Variable {
            name,
            span,
            space,
            linkage,
            ty: spec.ty,
            lanes: spec.lanes,
            align: spec.align,
            extra: (!is_plain).then(|| Box::new(extra)),
        };
        match count {
            None => self.declare_variable(variable, local),
            Some(count) => {
                let prefix = self.name(name).to_owned();
                for i in 0..count {
                    let name = self.module.names.intern(&format!("{prefix}{i}"));
                    self.declare_variable(Variable { name, ..variable.clone() }, local)?;
                }
                Ok(())
            }
        }
    }

    /// `count>` of names that are not registers, each of which is entered: few, so that a short text stays small.
    pub(super) fn name_count(&mut self, what: &str) -> Parse<u32> {
        let count = self.natural(what, u64::from(self.name_budget))? as u32;
        self.name_budget -= count;
        self.expect(b'>', format_args!("after {what}"))?;
        Ok(count)
    }

    /// A name that may be declared.
    pub(super) fn declared_name(&mut self, what: &str) -> Parse<(Symbol, Span)> {
        let (name, span) = self.expect_name(what)?;
        if matches!(self.name(name), "_" | "WARP_SZ") {
            let message = format!("`{}` cannot be declared", self.name(name));
            return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(span, "")));
        }
        Ok((name, span))
    }

    fn declare_variable(&mut self, variable: Variable, local: bool) -> Parse<()> {
        match local {
            true => self.declare_local(variable),
            false => self.declare_global(variable),
        }
    }

    /// Declares a parameter, a register or a variable of the function at hand.
    pub(super) fn declare_local(&mut self, variable: Variable) -> Parse<()> {
        let Variable { name, span, space, .. } = variable;
        let count = variable.count();
        let var = VarId(self.func.vars.len() as u32);
        self.func.vars.push(variable);
        let bound = match (space, count) {
            (Space::Reg, Some(count)) => {
                return self
                    .scopes
                    .declare_range(name, count, var, &self.module.names)
                    .map_err(|old| self.redeclared(name, span, Some(Bound::Var(old))));
            }
            (Space::Reg, None) => {
                let reg = RegId(self.func.regs.len() as u32);
                self.func.regs.push(Reg { var, index: 0, name });
                Bound::Reg(reg)
            }
            _ => Bound::Var(var),
        };
        self.scopes.declare(name, bound, &self.module.names).map_err(|old| self.redeclared(name, span, old))
    }

    fn declare_global(&mut self, variable: Variable) -> Parse<()> {
        let Variable { name, span, linkage, .. } = variable;
        let index = self.module.variables.len() as u32;
        let is_definition = linkage != Linkage::Extern;
        self.module.variables.push(variable);
        self.declare_item(name, span, Item::Variable(index), is_definition)
    }

    /// `(.param .b32 a, ...)` after its `(`. Parameters of functions are declared in the scope that is open.
    pub(super) fn parameters(&mut self, of: ParamsOf) -> Parse<Vec<Variable>> {
        let mut out = Vec::new();
        if self.cur.eat(b')') {
            return Ok(out);
        }
        loop {
            out.push(self.parameter(of)?);
            if !self.cur.eat(b',') {
                self.expect(b')', "or `,` after a parameter")?;
                return Ok(out);
            }
        }
    }

    fn parameter(&mut self, of: ParamsOf) -> Parse<Variable> {
        self.cur.skip();
        let start = self.cur.pos;
        let spec = self.spec()?;
        let space = match spec.space {
            Some(Space::Param) => Space::Param,
            Some(Space::Reg) if of != ParamsOf::Kernel => Space::Reg,
            _ => {
                let message = match of {
                    ParamsOf::Kernel => "a parameter of a kernel must be in .param",
                    ParamsOf::Function | ParamsOf::Prototype => "a parameter must be in .param or .reg",
                };
                return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(self.span_from(start), "")));
            }
        };
        let mut extra = VariableExtra::default();
        if self.cur.eat_dotted("ptr") {
            let mut ptr = Ptr { space: None, align: 0 };
            while self.cur.peek() == b'.' {
                let at = self.cur.pos;
                let word = self.cur.dotted().map_or("", |range| self.slice(range));
                match (word, space_of_pointer(word)) {
                    ("align", _) => ptr.align = self.alignment()?,
                    (_, Some(space)) => ptr.space = Some(space),
                    (_, None) => {
                        self.cur.pos = at;
                        return self.expected("a state space, `.align` or the parameter's name after `.ptr`");
                    }
                }
            }
            extra.ptr = Some(ptr);
        }
        let (name, span) = match of {
            ParamsOf::Prototype => {
                let (name, span) = self.expect_name("a parameter's name or `_`")?;
                (if self.name(name) == "_" { Symbol::EMPTY } else { name }, span)
            }
            ParamsOf::Kernel | ParamsOf::Function => self.declared_name("a name")?,
        };
        extra.dims = self.dimensions()?;
        self.check_size(&extra.dims, &spec, span)?;
        let problem = match spec.ty {
            Type::Pred if space == Space::Param => Some("a predicate cannot be in .param"),
            ty if ty.is_opaque() && of != ParamsOf::Kernel => Some("only kernels have parameters of this type"),
            _ if space == Space::Param && spec.lanes > 1 => Some("a parameter cannot be a vector"),
            _ if extra.ptr.is_some() && of != ParamsOf::Kernel => Some("only parameters of kernels can have `.ptr`"),
            _ if extra.dims.len() > 1 || of == ParamsOf::Kernel && extra.dims.first() == Some(&0) => {
                Some("a parameter must be an array of one dimension of known length")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            let message = format!("`{}`: {problem}", self.name(name));
            return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(span, "")));
        }
        Ok(Variable {
            name,
            span,
            space,
            linkage: Linkage::Internal,
            ty: spec.ty,
            lanes: spec.lanes,
            align: spec.align,
            extra: (extra != VariableExtra::default()).then(|| Box::new(extra)),
        })
    }

    /// `(returns) _ (params) .noreturn;` of a `.callprototype`.
    pub(super) fn prototype(&mut self) -> Parse<Prototype> {
        let mut vars = match self.cur.eat(b'(') {
            true => self.parameters(ParamsOf::Prototype)?,
            false => Vec::new(),
        };
        let return_count = vars.len() as u32;
        self.cur.skip();
        let range = self.cur.word();
        if self.slice(range) != "_" {
            self.cur.pos = range.0;
            return self.expected("`_` in `.callprototype`");
        }
        if self.cur.eat(b'(') {
            vars.extend(self.parameters(ParamsOf::Prototype)?);
        }
        let directives = self.function_directives(false)?;
        self.expect(b';', "after `.callprototype`")?;
        Ok(Prototype { vars, return_count, directives })
    }

    /// What stands after `=`. An empty first dimension gets its length.
    fn initialiser(&mut self, spec: &Spec, dims: &mut [u64]) -> Parse<Init> {
        if spec.ty.is_opaque() {
            return self.fields();
        }
        let mut shape = dims.to_vec();
        if spec.lanes > 1 {
            shape.push(u64::from(spec.lanes));
        }
        let mut out = Values { ty: spec.ty, values: Vec::new(), runs: Vec::new(), next: 0 };
        let length = self.level(&shape, 0, &mut out)?;
        if let Some(first) = dims.first_mut()
            && *first == 0
        {
            *first = length;
        }
        if out.runs.is_empty() {
            out.runs.push((0, 0));
        }
        out.values.shrink_to_fit();
        out.runs.shrink_to_fit();
        Ok(Init::Values { values: out.values, runs: out.runs })
    }

    /// One level of braces, or a value where there is none. Its position counts scalar elements. Tells the number of
    /// elements. The nesting is bounded by the number of dimensions.
    fn level(&mut self, shape: &[u64], position: u64, out: &mut Values) -> Parse<u64> {
        let Some((&length, inner)) = shape.split_first() else {
            self.cur.skip();
            let start = self.cur.pos;
            let value = self.value()?;
            if !is_value_of(value, out.ty) {
                let span = self.span_from(start);
                let message = format!("`{}` cannot initialise a .{}", self.module.source(span), out.ty.name());
                return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(span, "")));
            }
            out.push(position, value);
            return Ok(1);
        };
        self.expect(b'{', "before the elements of an array or vector")?;
        self.func.open_braces += 1;
        let mut n = 0;
        if !self.cur.eat(b'}') {
            // The size of the variable has been checked; that of an unsized one is bounded by the text.
            let stride: u64 = inner.iter().product();
            loop {
                if n == length && length != 0 {
                    return self.expected(format_args!("`}}` after {length} elements"));
                }
                let at = n.checked_mul(stride).and_then(|o| position.checked_add(o));
                let Some(at) = at else { return self.expected("fewer elements") };
                self.level(inner, at, out)?;
                n += 1;
                if !self.cur.eat(b',') {
                    break;
                }
            }
            self.expect(b'}', "or `,` in the initial value")?;
        }
        self.func.open_braces -= 1;
        Ok(n)
    }

    /// A number, the address of a name, or a byte of one.
    fn value(&mut self) -> Parse<InitValue> {
        self.cur.skip();
        let start = self.cur.pos;
        if self.cur.at_name() {
            let range = self.cur.word();
            self.cur.pos = range.0;
            if self.slice(range) != "WARP_SZ" {
                return self.address(None);
            }
        }
        let number = match self.constant()? {
            Const::Int(value) => value,
            Const::F32(bits) => return Ok(InitValue::F32(bits)),
            Const::F64(value) => return Ok(InitValue::F64(value.to_bits())),
        };
        if self.cur.peek() != b'(' {
            return Ok(InitValue::Int { bits: number.bits, unsigned: number.unsigned });
        }
        let Int { bits: mask, .. } = number;
        let byte = mask.trailing_zeros() / 8;
        if mask == 0 || mask != 0xFF << (byte * 8) {
            let message = format!("the mask {mask:#x} does not select one byte");
            return Err(Box::new(
                Diagnostic::error("ptx::literal", message)
                    .at(self.span_from(start), "")
                    .note("it must be 0xFF, 0xFF00, 0xFF0000 and so on"),
            ));
        }
        self.cur.pos += 1;
        let value = self.address(Some(byte as u8))?;
        self.expect(b')', "after the masked address")?;
        Ok(value)
    }

    /// `name`, `name + 4`, `generic(name) + 4`
    fn address(&mut self, byte: Option<u8>) -> Parse<InitValue> {
        let (mut name, mut span) = self.expect_name("a name")?;
        let generic = self.name(name) == "generic" && self.cur.peek() == b'(';
        if generic {
            self.cur.pos += 1;
            (name, span) = self.expect_name("a name")?;
            self.expect(b')', "after the name")?;
        }
        if self.module.find(name).is_none() {
            let message = format!("`{}` is not declared", self.name(name));
            return Err(Box::new(Diagnostic::error("ptx::undeclared", message).at(span, "")));
        }
        let mut offset = 0;
        if self.cur.eat(b'+') {
            offset = self.integer("an offset")?.bits as i64;
        }
        Ok(InitValue::Address { name, offset, generic, byte })
    }

    /// `{ addr_mode_0 = wrap, width = 16 }`
    fn fields(&mut self) -> Parse<Init> {
        self.expect(b'{', "before the fields")?;
        self.func.open_braces += 1;
        let mut fields = Vec::new();
        if !self.cur.eat(b'}') {
            loop {
                let (name, _) = self.expect_name("the name of a field")?;
                self.expect(b'=', "after the name of a field")?;
                self.cur.skip();
                let value = match self.cur.at_name() {
                    true => FieldValue::Word(self.expect_name("the value of a field")?.0),
                    false => FieldValue::Int(self.integer("the value of a field")?.bits),
                };
                fields.push((name, value));
                if !self.cur.eat(b',') {
                    break;
                }
            }
            self.expect(b'}', "or `,` after a field")?;
        }
        self.func.open_braces -= 1;
        Ok(Init::Fields(fields))
    }
}

/// Values of an initialiser as they come.
struct Values {
    ty: Type,
    values: Vec<InitValue>,
    runs: Vec<(u64, u32)>,
    /// Element that continues the last run.
    next: u64,
}

impl Values {
    fn push(&mut self, position: u64, value: InitValue) {
        if self.runs.is_empty() || position != self.next {
            self.runs.push((position, self.values.len() as u32));
        }
        self.values.push(value);
        self.next = position.wrapping_add(1);
    }
}

/// What is wrong with a declaration, whatever its initial value.
fn problem(spec: &Spec, space: Space, linkage: Linkage, local: bool, dims: &[u64]) -> Option<&'static str> {
    let is_vector = spec.lanes > 1;
    if space == Space::Reg && !dims.is_empty() {
        return Some("registers cannot be arrays");
    }
    if spec.ty == Type::Pred && (space != Space::Reg || is_vector) {
        return Some("a predicate must be a scalar register");
    }
    if spec.ty.is_opaque() && (local || space != Space::Global) {
        return Some("textures, samplers and surfaces must be in .global outside functions");
    }
    if space == Space::Param && is_vector {
        return Some("a parameter cannot be a vector");
    }
    if u32::from(spec.lanes) * spec.ty.bits() > 128 {
        return Some("a vector has at most 128 bits");
    }
    if linkage == Linkage::Common && space != Space::Global {
        return Some("only variables in .global can be .common");
    }
    if spec.managed && space != Space::Global {
        return Some("only variables in .global can be .managed");
    }
    None
}

/// Whether a variable of the type may begin with the value. Integers do not become floating-point numbers, nor the
/// other way round; untyped bits take both.
fn is_value_of(value: InitValue, ty: Type) -> bool {
    let is_float = matches!(ty, Type::F32 | Type::F64);
    let is_half = matches!(ty, Type::F16 | Type::F16x2);
    let is_untyped = matches!(ty, Type::B8 | Type::B16 | Type::B32 | Type::B64 | Type::B128);
    match value {
        InitValue::Int { .. } => !is_float && !is_half,
        InitValue::F32(_) | InitValue::F64(_) => is_float || is_untyped,
        InitValue::Address { byte: None, .. } => matches!(ty, Type::U32 | Type::U64),
        InitValue::Address { byte: Some(_), .. } => matches!(ty, Type::U8 | Type::U32 | Type::U64),
    }
}

fn space(word: &str) -> Option<Space> {
    Some(match word {
        "reg" => Space::Reg,
        "param" => Space::Param,
        "tex" => Space::Tex,
        _ => return space_of_pointer(word),
    })
}

fn space_of_pointer(word: &str) -> Option<Space> {
    Some(match word {
        "const" => Space::Const,
        "global" => Space::Global,
        "local" => Space::Local,
        "shared" => Space::Shared,
        _ => return None,
    })
}
