//! The syntax tree of a PTX module: directives are understood, instructions are kept as opcode text and operands.
//!
//! What the tree promises:
//! - Names are interned in [`Names`]; two [`Symbol`]s are equal exactly when their texts are.
//! - A register, variable or label of a function has an id of its own ([`RegId`], [`VarId`], [`LabelId`]); names that
//!   inner scopes declare anew get different ids, so scopes no longer matter to later stages.
//! - A register id exists only for registers that are used or declared singly, so `.reg .b32 %r<4000000000>` costs nothing.
//! - Composite operands (vectors, lists in brackets or parentheses, pairs) name a range of [`Body::operands`].
//! - Names that are not of the function are module-level names, found with [`Module::find`]; after parsing, every name in
//!   a [`Code::Body`] is known. Special registers are not checked: which exist is not a matter of syntax.

use hetir::diag::{Diagnostic, Span};
use std::hash::{BuildHasher, Hasher, RandomState};

/// An interned text. [`Symbol::EMPTY`] is the empty text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Symbol(pub(crate) u32);

impl Symbol {
    /// The empty text.
    pub const EMPTY: Self = Self(0);
    /// `x`, `y`, `z`, `w`: the components of vectors.
    pub const COMPONENTS: [Self; 4] = [Self(1), Self(2), Self(3), Self(4)];
    /// Dense index, from 0, for side tables.
    pub fn index(self) -> usize {
        self.0 as usize
    }
    /// True for the empty text.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub(crate) u32);

        impl $name {
            /// Dense index, from 0, in its function.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// A register of a function: index of [`Body::regs`].
    RegId,
    /// A declaration of a function (parameter, local variable, or the declaration of registers): index of [`Function::vars`].
    VarId,
    /// A label of a function: index of [`Body::labels`].
    LabelId
}

/// A range of [`Body::operands`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Operands {
    /// First index.
    pub start: u32,
    /// Number of operands.
    pub len: u32,
}

impl Operands {
    /// As a range of indices.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// A PTX module.
#[derive(Debug)]
pub struct Module<'a> {
    /// The text it was parsed from; all spans are byte ranges of it.
    pub text: &'a str,
    /// All names of the module.
    pub names: Names<'a>,
    /// `.version`
    pub version: Option<Version>,
    /// What the `.target` directives name, in order: `sm_90a`, `texmode_independent`, `debug` ...
    pub targets: Vec<Name>,
    /// `.address_size`; 32 where the directive is absent.
    pub address_size: u32,
    /// Module-level variables, in order of appearance; a name may be declared `.extern` first and defined later.
    pub variables: Vec<Variable>,
    /// Kernels and functions, declarations and definitions, in order of appearance.
    pub functions: Vec<Function>,
    /// `.alias`
    pub aliases: Vec<Alias>,
    /// `.file`
    pub files: Vec<File<'a>>,
    /// `.section` (its contents are skipped).
    pub sections: Vec<Name>,
    /// Module-level `.pragma` strings.
    pub pragmas: Vec<Text<'a>>,
    /// What a symbol means at module level, by [`Symbol::index`].
    pub(crate) items: Vec<Option<Item>>,
}

impl<'a> Module<'a> {
    /// The text of a name.
    pub fn name(&self, symbol: Symbol) -> &str {
        self.names.get(symbol)
    }
    /// What a name means at module level. A definition is preferred to a declaration.
    pub fn find(&self, symbol: Symbol) -> Option<Item> {
        self.items.get(symbol.index()).copied().flatten()
    }
    /// What a name means at module level, by its text.
    pub fn find_text(&self, name: &str) -> Option<Item> {
        self.names.find(name).and_then(|s| self.find(s))
    }
    /// The part of the text that a span covers.
    pub fn source(&self, span: Span) -> &'a str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }
}

/// What a module-level name stands for: an index of the vector of that kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// Index of [`Module::functions`].
    Function(u32),
    /// Index of [`Module::variables`].
    Variable(u32),
    /// Index of [`Module::aliases`].
    Alias(u32),
}

/// A name and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name {
    /// The name.
    pub symbol: Symbol,
    /// Where it stands.
    pub span: Span,
}

/// The contents of a string literal, escapes not resolved, and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Text<'a> {
    /// What stands between the quotes.
    pub text: &'a str,
    /// The literal with its quotes.
    pub span: Span,
}

/// `.version major.minor`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Before the point.
    pub major: u32,
    /// After the point.
    pub minor: u32,
    /// The directive.
    pub span: Span,
}

/// `.alias name, target;`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alias {
    /// The new name.
    pub name: Name,
    /// The function it stands for.
    pub target: Name,
}

/// `.file index "name" {, timestamp, size}`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File<'a> {
    /// The number that `.loc` uses.
    pub index: u32,
    /// The file's name.
    pub name: Text<'a>,
    /// Modification time, if given.
    pub timestamp: Option<u64>,
    /// Size in bytes, if given.
    pub size: Option<u64>,
}

/// How a name is seen from other modules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Linkage {
    /// Only in this module.
    #[default]
    Internal,
    /// `.visible`
    Visible,
    /// `.extern`
    Extern,
    /// `.weak`
    Weak,
    /// `.common`
    Common,
}

/// Where a variable lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Registers.
    Reg,
    /// Read-only memory with a size limit.
    Const,
    /// Memory of the device.
    Global,
    /// Memory of one thread.
    Local,
    /// Parameters of kernels and functions.
    Param,
    /// Memory of one block.
    Shared,
    /// Textures of the old `.tex` form.
    Tex,
}

macro_rules! scalar_types {
    ($($variant:ident $text:literal $bits:literal),* $(,)?) => {
        /// The type of a declared variable.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Type {
            $(#[doc = concat!("`.", $text, "`")] $variant,)*
        }

        impl Type {
            /// The type of that name (without the dot).
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
            /// Its name, without the dot.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
            /// Size in bits; 1 for predicates, 64 for the opaque types, whose variables hold handles.
            pub fn bits(self) -> u32 {
                match self {
                    $(Self::$variant => $bits,)*
                }
            }
        }
    };
}

scalar_types! {
    B8 "b8" 8, B16 "b16" 16, B32 "b32" 32, B64 "b64" 64, B128 "b128" 128,
    U8 "u8" 8, U16 "u16" 16, U32 "u32" 32, U64 "u64" 64,
    S8 "s8" 8, S16 "s16" 16, S32 "s32" 32, S64 "s64" 64,
    F16 "f16" 16, F16x2 "f16x2" 32, F32 "f32" 32, F64 "f64" 64,
    Pred "pred" 1,
    Texref "texref" 64, Samplerref "samplerref" 64, Surfref "surfref" 64,
}

impl Type {
    /// `.texref`, `.samplerref`, `.surfref`
    pub fn is_opaque(self) -> bool {
        matches!(self, Self::Texref | Self::Samplerref | Self::Surfref)
    }
}

/// A declaration of a variable, a parameter, or registers.
#[derive(Clone, PartialEq, Debug)]
pub struct Variable {
    /// Its name; for `%r<10>` the part before `<`; [`Symbol::EMPTY`] for `_` in prototypes.
    pub name: Symbol,
    /// Where the name stands.
    pub span: Span,
    /// Where it lives.
    pub space: Space,
    /// How other modules see it.
    pub linkage: Linkage,
    /// Type of an element.
    pub ty: Type,
    /// Elements of its vector type: 1 (scalar), 2, 4 or 8.
    pub lanes: u8,
    /// `.align`, or 0 where it is not given.
    pub align: u32,
    /// What most declarations do not have.
    pub extra: Option<Box<VariableExtra>>,
}

/// The rarer parts of a declaration.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct VariableExtra {
    /// Array dimensions, outermost first. An empty first dimension is 0 unless the initialiser tells its length.
    pub dims: Vec<u64>,
    /// `name<count>`: that many registers.
    pub count: Option<u32>,
    /// `.ptr` of a kernel parameter.
    pub ptr: Option<Ptr>,
    /// The initial value.
    pub init: Option<Init>,
    /// `.attribute(.managed)`
    pub managed: bool,
    /// `.attribute(.unified(a, b))`
    pub unified: Option<(u64, u64)>,
}

impl Variable {
    /// Array dimensions; empty for scalars and vectors.
    pub fn dims(&self) -> &[u64] {
        self.extra.as_ref().map_or(&[], |e| &e.dims)
    }
    /// The initial value.
    pub fn init(&self) -> Option<&Init> {
        self.extra.as_ref()?.init.as_ref()
    }
    /// Number of registers where the declaration is `name<count>`.
    pub fn count(&self) -> Option<u32> {
        self.extra.as_ref()?.count
    }
    /// `.ptr` of a kernel parameter.
    pub fn ptr(&self) -> Option<Ptr> {
        self.extra.as_ref()?.ptr
    }
    /// `.attribute(.managed)`
    pub fn is_managed(&self) -> bool {
        self.extra.as_ref().is_some_and(|e| e.managed)
    }
    /// True for an array whose first dimension is not known (`.extern .shared .b8 s[]`).
    pub fn is_unsized(&self) -> bool {
        self.dims().first() == Some(&0)
    }
    /// Number of scalar elements: dimensions times lanes; 0 for an unsized array.
    pub fn elements(&self) -> u64 {
        // Parsing refuses declarations that overflow.
        self.dims().iter().product::<u64>() * u64::from(self.lanes)
    }
    /// Size in bytes in memory; a predicate takes one.
    pub fn bytes(&self) -> u64 {
        self.elements() * u64::from(self.ty.bits().div_ceil(8))
    }
    /// Alignment in bytes: `.align`, or the size of the (vector) element.
    pub fn alignment(&self) -> u64 {
        match self.align {
            0 => u64::from(self.ty.bits().div_ceil(8)) * u64::from(self.lanes),
            n => u64::from(n),
        }
    }
}

/// `.ptr {.space} {.align n}` of a kernel parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ptr {
    /// The space pointed to; none: generic.
    pub space: Option<Space>,
    /// What the pointer is a multiple of, or 0 where it is not given.
    pub align: u32,
}

/// The initial value of a variable.
#[derive(Clone, PartialEq, Debug)]
pub enum Init {
    /// Values of scalar elements. Nested braces have become positions; elements that are not named are zero.
    Values {
        /// The values, in text order.
        values: Vec<InitValue>,
        /// `(element, first)`: the values from index `first` on, up to the next run, initialise the scalar elements
        /// (lanes count as elements) from `element` on. Sorted; never empty.
        runs: Vec<(u64, u32)>,
    },
    /// `{ addr_mode_0 = wrap, filter_mode = linear, width = 16 }` of an opaque variable.
    Fields(Vec<(Symbol, FieldValue)>),
}

/// The value of one field of an opaque variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldValue {
    /// `wrap`, `linear` ...
    Word(Symbol),
    /// A number.
    Int(u64),
}

/// One value of an initialiser.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum InitValue {
    /// An integer constant.
    Int {
        /// Its 64 bits.
        bits: u64,
        /// True for `.u64`, false for `.s64`.
        unsigned: bool,
    },
    /// `0f3F800000`, as bits.
    F32(u32),
    /// `0d3FF0000000000000` or a decimal number, as bits.
    F64(u64),
    /// The address of a module-level name.
    Address {
        /// The name.
        name: Symbol,
        /// Bytes added.
        offset: i64,
        /// `generic(name)`: the generic address instead of the one in the variable's own space.
        generic: bool,
        /// `0xFF00(name)`: only that byte (0 is the lowest) of the address.
        byte: Option<u8>,
    },
}

/// A kernel or a function.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// Its name.
    pub name: Symbol,
    /// Where the name stands.
    pub span: Span,
    /// True for `.entry`.
    pub is_kernel: bool,
    /// How other modules see it.
    pub linkage: Linkage,
    /// Declarations: first what is returned, then the parameters, then those of the body in order of appearance.
    pub vars: Vec<Variable>,
    /// How many of [`Function::vars`] are return parameters.
    pub return_count: u32,
    /// How many of [`Function::vars`], after those, are parameters.
    pub param_count: u32,
    /// Performance directives and attributes.
    pub directives: Vec<Directive>,
    /// The body.
    pub code: Code,
}

impl Function {
    /// Return parameters.
    pub fn returns(&self) -> &[Variable] {
        &self.vars[..self.return_count as usize]
    }
    /// Parameters.
    pub fn params(&self) -> &[Variable] {
        &self.vars[self.return_count as usize..(self.return_count + self.param_count) as usize]
    }
    /// A declaration.
    pub fn var(&self, id: VarId) -> &Variable {
        &self.vars[id.index()]
    }
    /// Index among the parameters, if the declaration is one.
    pub fn param_index(&self, id: VarId) -> Option<usize> {
        (id.0 >= self.return_count && id.0 < self.return_count + self.param_count)
            .then(|| (id.0 - self.return_count) as usize)
    }
    /// The body, if there is one without errors.
    pub fn body(&self) -> Option<&Body> {
        match &self.code {
            Code::Body(b) => Some(b),
            Code::Declared | Code::Broken(_) => None,
        }
    }
    /// The values of a directive, if it is present.
    pub fn directive(&self, kind: DirectiveKind) -> Option<&Directive> {
        self.directives.iter().find(|d| d.kind == kind)
    }
}

/// What is known of a function's body.
#[derive(Clone, PartialEq, Debug)]
pub enum Code {
    /// The text only declares the function.
    Declared,
    /// The body.
    Body(Box<Body>),
    /// There is a body, with these errors. They are left out where the module has very many.
    Broken(Vec<Diagnostic>),
}

macro_rules! directive_kinds {
    ($($variant:ident $text:literal $owner:ident $min:literal..=$max:literal from $least:literal),* $(,)?) => {
        /// A performance directive or attribute of a function.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum DirectiveKind {
            $(#[doc = concat!("`.", $text, "`")] $variant,)*
        }

        impl DirectiveKind {
            /// The directive of that name (without the dot).
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }
            /// Its name, without the dot.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
            /// True if it belongs to kernels, false if to functions.
            pub fn is_for_kernels(self) -> bool {
                match self {
                    $(Self::$variant => directive_kinds!(@$owner),)*
                }
            }
            /// Least and greatest number of its values.
            pub fn arity(self) -> (usize, usize) {
                match self {
                    $(Self::$variant => ($min, $max),)*
                }
            }
            /// Least legal value.
            pub fn least(self) -> u64 {
                match self {
                    $(Self::$variant => $least,)*
                }
            }
        }
    };
    (@kernel) => { true };
    (@function) => { false };
}

directive_kinds! {
    Maxnreg "maxnreg" kernel 1..=1 from 1,
    Maxntid "maxntid" kernel 1..=3 from 1,
    Reqntid "reqntid" kernel 1..=3 from 1,
    Minnctapersm "minnctapersm" kernel 1..=1 from 1,
    Maxnctapersm "maxnctapersm" kernel 1..=1 from 1,
    Reqnctapercluster "reqnctapercluster" kernel 1..=3 from 0,
    Explicitcluster "explicitcluster" kernel 0..=0 from 0,
    Maxclusterrank "maxclusterrank" kernel 1..=1 from 0,
    Blocksareclusters "blocksareclusters" kernel 0..=0 from 0,
    Pragma "pragma" kernel 0..=0 from 0,
    Noreturn "noreturn" function 0..=0 from 0,
    AbiPreserve "abi_preserve" function 1..=1 from 0,
    AbiPreserveControl "abi_preserve_control" function 1..=1 from 0,
    Unified "unified" function 2..=2 from 0,
}

/// A performance directive or attribute, with its values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Directive {
    /// Which.
    pub kind: DirectiveKind,
    /// Its values. Those not given are 1 for directives that take up to three, else 0.
    pub values: [u64; 3],
    /// The string of a `.pragma`, without quotes.
    pub text: Symbol,
    /// The directive.
    pub span: Span,
}

/// The body of a function.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Body {
    /// From `{` to `}`.
    pub span: Span,
    /// Statements in text order; nested scopes are flattened.
    pub statements: Vec<Statement>,
    /// All operands: those of an instruction stand together, the parts of composite ones elsewhere.
    pub operands: Vec<Operand>,
    /// The registers that are used or declared singly.
    pub regs: Vec<Reg>,
    /// The labels.
    pub labels: Vec<Label>,
    /// `.loc` lines.
    pub locs: Vec<Loc>,
    /// `.callprototype` declarations.
    pub prototypes: Vec<Prototype>,
}

impl Body {
    /// The operands of a range.
    pub fn operands(&self, range: Operands) -> &[Operand] {
        &self.operands[range.range()]
    }
    /// The operands of an instruction.
    pub fn args(&self, inst: &Inst) -> &[Operand] {
        self.operands(inst.operands())
    }
}

/// A register: one of the `count` registers of its declaration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reg {
    /// The declaration, which has type and lanes.
    pub var: VarId,
    /// Its number in a `%r<count>` declaration, else 0.
    pub index: u32,
    /// Its full name.
    pub name: Symbol,
}

/// A statement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Statement {
    /// An instruction.
    Inst(Inst),
    /// A code label stands here.
    Label(LabelId),
    /// `.loc`: index of [`Body::locs`].
    Loc(u32),
    /// `.pragma`: its string, without quotes.
    Pragma(Symbol),
}

/// An instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inst {
    /// The dotted opcode, as in `ld.global.L2::128B.v4.f32`, without white space: one symbol per distinct text.
    pub opcode: Symbol,
    /// `@p`
    pub guard: Option<Guard>,
    /// First of its operands.
    pub first: u32,
    /// Number of its operands.
    pub count: u16,
    /// `.unified` after an address.
    pub unified: bool,
    /// From the guard or opcode to the `;`.
    pub span: Span,
}

impl Inst {
    /// Its operands.
    pub fn operands(&self) -> Operands {
        Operands { start: self.first, len: u32::from(self.count) }
    }
}

/// `@p` or `@!p`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// The predicate.
    pub reg: RegId,
    /// True for `@!p`.
    pub negated: bool,
}

/// An operand and where it stands.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Operand {
    /// What it is.
    pub kind: OperandKind,
    /// Where it stands.
    pub span: Span,
}

/// What an operand is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum OperandKind {
    /// A register.
    Reg {
        /// Which.
        reg: RegId,
        /// `x`, `y`, `z`, `w`, `r`, `g`, `b`, `a` of a vector register, or a selector of the video instructions
        /// (`b0`, `h10`, `b3210`); else empty.
        suffix: Symbol,
        /// `!p`, `-a`
        mark: Mark,
    },
    /// A special register, or another undeclared name that starts with `%`.
    Special {
        /// The name with its `%`, without the component: `%tid`.
        name: Symbol,
        /// `x`, `y`, `z`, `w`, or empty.
        component: Symbol,
        /// `!`, `-`
        mark: Mark,
    },
    /// An integer constant; `WARP_SZ` is 32.
    Int {
        /// Its 64 bits.
        bits: u64,
        /// True for `.u64`, false for `.s64`.
        unsigned: bool,
    },
    /// `0f3F800000`, as bits.
    F32(u32),
    /// `0d3FF0000000000000` or a decimal number, as bits.
    F64(u64),
    /// A variable's or function's name, `name + offset`, or `reg + offset`, which is a sum; also `array[n]` in `mov`.
    Ref {
        /// What the offset is added to.
        base: Base,
        /// Bytes.
        offset: i64,
    },
    /// `[base + offset]`; also `array[n]` except in `mov`.
    Mem {
        /// What the offset is added to.
        base: Base,
        /// Bytes.
        offset: i64,
    },
    /// `array[reg + n]`: the address `array + reg * scale + offset`.
    Element {
        /// The array.
        base: Base,
        /// The register.
        index: RegId,
        /// Bytes.
        offset: i32,
        /// Size in bytes of the array's scalar elements.
        scale: u8,
        /// True where the operand is the memory there, false (in `mov`) where it is the address.
        memory: bool,
    },
    /// `[a, b, ...]`: two or more, of which the first is the address or handle.
    MemList(Operands),
    /// A label.
    Label(LabelId),
    /// `{a, b, ...}`
    Vector(Operands),
    /// `(a, b, ...)` of a call.
    List(Operands),
    /// `p|q`: the two operands from this index on.
    Pair(u32),
    /// `_`
    Sink,
}

/// The base of an address, as an enum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BaseKind {
    /// None: the offset is the address.
    None,
    /// A register.
    Reg(RegId),
    /// A parameter or local variable of the function.
    Var(VarId),
    /// A module-level name: [`Module::find`].
    Name(Symbol),
}

/// The base of an address: a [`BaseKind`] in four bytes, so that an operand stays small.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Base(u32);

impl Base {
    /// Indices stay below this because a text is at most 1 GiB and each index stands for at least two bytes of it.
    const LIMIT: u32 = 1 << 29;

    /// As an enum.
    pub fn kind(self) -> BaseKind {
        let n = self.0 % Self::LIMIT;
        match self.0 / Self::LIMIT {
            0 => BaseKind::None,
            1 => BaseKind::Reg(RegId(n)),
            2 => BaseKind::Var(VarId(n)),
            _ => BaseKind::Name(Symbol(n)),
        }
    }
}

impl From<BaseKind> for Base {
    fn from(kind: BaseKind) -> Self {
        let (tag, n) = match kind {
            BaseKind::None => (0, 0),
            BaseKind::Reg(r) => (1, r.0),
            BaseKind::Var(v) => (2, v.0),
            BaseKind::Name(s) => (3, s.0),
        };
        debug_assert!(n < Self::LIMIT);
        Self(tag * Self::LIMIT + n % Self::LIMIT)
    }
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind().fmt(f)
    }
}

/// What stands before a register operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mark {
    /// Nothing.
    #[default]
    None,
    /// `!`
    Not,
    /// `-`
    Neg,
}

/// A label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    /// Its name.
    pub name: Symbol,
    /// Where its declaration stands.
    pub span: Span,
    /// What it labels.
    pub kind: LabelKind,
}

/// What a label names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LabelKind {
    /// The statement after it.
    Code,
    /// `.branchtargets`: labels.
    BranchTargets(Operands),
    /// `.calltargets`: function names.
    CallTargets(Operands),
    /// `.callprototype`: index of [`Body::prototypes`].
    Prototype(u32),
}

/// `.callprototype (returns) _ (params)`
#[derive(Clone, PartialEq, Debug)]
pub struct Prototype {
    /// Return parameters, then parameters.
    pub vars: Vec<Variable>,
    /// How many of them are return parameters.
    pub return_count: u32,
    /// `.noreturn`, `.abi_preserve` ...
    pub directives: Vec<Directive>,
}

impl Prototype {
    /// Return parameters.
    pub fn returns(&self) -> &[Variable] {
        &self.vars[..self.return_count as usize]
    }
    /// Parameters.
    pub fn params(&self) -> &[Variable] {
        &self.vars[self.return_count as usize..]
    }
}

/// `.loc file line column {, function_name label {+ offset}, inlined_at file line column}`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loc {
    /// Number of a `.file`.
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// The call that was inlined.
    pub inlined: Option<Inlined>,
}

/// Where the code of a [`Loc`] was inlined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inlined {
    /// Label in a `.debug_str` section.
    pub function: Symbol,
    /// Bytes after that label.
    pub offset: u32,
    /// Number of a `.file`.
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// Splits an opcode: its base and its modifiers, without the dots. `ld.global.L2::128B.f32` is `ld` and
/// `global`, `L2::128B`, `f32`.
pub fn split_opcode(opcode: &str) -> (&str, impl Iterator<Item = &str> + Clone) {
    let mut parts = opcode.split('.');
    (parts.next().unwrap_or(""), parts)
}

/// The lane that a component suffix names: `x` or `r` is 0.
pub fn lane(suffix: &str) -> Option<u8> {
    match suffix {
        "x" | "r" => Some(0),
        "y" | "g" => Some(1),
        "z" | "b" => Some(2),
        "w" | "a" => Some(3),
        _ => None,
    }
}

const _: () = assert!(size_of::<Operand>() <= 24 && size_of::<Statement>() <= 32);

/// The names of a module, each text once. Those that stand in the source as they are, are not copied.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    text: &'a str,
    /// Texts that do not stand in the source in one piece.
    extra: String,
    /// Start and length; starts past the source are in `extra`.
    places: Vec<(u32, u32)>,
    /// Open addressing: hash, and number of the symbol or `FREE`.
    table: Vec<(u32, u32)>,
    /// Different in every process, so that no text can be made whose names all collide.
    seed: u64,
}

const FREE: u32 = u32::MAX;

impl<'a> Names<'a> {
    /// A table with the empty text and the names of components.
    pub fn new(text: &'a str) -> Self {
        let mut names = Self {
            text,
            extra: String::new(),
            places: Vec::new(),
            table: vec![(0, FREE); 256],
            seed: RandomState::new().build_hasher().finish(),
        };
        for name in ["", "x", "y", "z", "w"] {
            names.intern(name);
        }
        names
    }
    /// Number of names; every symbol's index is below.
    pub fn len(&self) -> usize {
        self.places.len()
    }
    /// Never: there is always the empty text.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
    /// The text of a symbol.
    pub fn get(&self, symbol: Symbol) -> &str {
        let (start, len) = self.places[symbol.index()];
        let (start, len) = (start as usize, len as usize);
        match start.checked_sub(self.text.len()) {
            None => &self.text[start..start + len],
            Some(at) => &self.extra[at..at + len],
        }
    }
    /// The symbol of a text, if it is known.
    pub fn find(&self, name: &str) -> Option<Symbol> {
        let hash = hash(self.seed, name.as_bytes());
        self.probe(name, hash).ok()
    }
    /// The symbol of a text; a copy is kept where it is new.
    pub fn intern(&mut self, name: &str) -> Symbol {
        let hash = hash(self.seed, name.as_bytes());
        match self.probe(name, hash) {
            Ok(symbol) => symbol,
            Err(slot) => {
                let start = self.text.len() + self.extra.len();
                self.extra.push_str(name);
                self.insert(slot, start as u32, name.len() as u32, hash)
            }
        }
    }
    /// The symbol of a part of the source.
    pub fn intern_source(&mut self, start: usize, end: usize) -> Symbol {
        let text = self.text;
        let name = &text[start..end];
        let hash = hash(self.seed, name.as_bytes());
        match self.probe(name, hash) {
            Ok(symbol) => symbol,
            Err(slot) => self.insert(slot, start as u32, (end - start) as u32, hash),
        }
    }
    /// The symbol, or the slot where it belongs.
    fn probe(&self, name: &str, hash: u32) -> Result<Symbol, usize> {
        let mask = self.table.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match self.table[slot] {
                (_, FREE) => return Err(slot),
                (h, n) if h == hash && self.bytes(n) == name.as_bytes() => return Ok(Symbol(n)),
                _ => slot = (slot + 1) & mask,
            }
        }
    }
    fn bytes(&self, n: u32) -> &[u8] {
        let (start, len) = self.places[n as usize];
        let (start, len) = (start as usize, len as usize);
        match start.checked_sub(self.text.len()) {
            None => &self.text.as_bytes()[start..start + len],
            Some(at) => &self.extra.as_bytes()[at..at + len],
        }
    }
    fn insert(&mut self, slot: usize, start: u32, len: u32, hash: u32) -> Symbol {
        let symbol = self.places.len() as u32;
        self.places.push((start, len));
        self.table[slot] = (hash, symbol);
        if self.places.len() * 4 > self.table.len() * 3 {
            self.grow();
        }
        Symbol(symbol)
    }
    fn grow(&mut self) {
        let size = self.table.len() * 2;
        let old = std::mem::replace(&mut self.table, vec![(0, FREE); size]);
        for (hash, n) in old.into_iter().filter(|&(_, n)| n != FREE) {
            let mut slot = hash as usize & (size - 1);
            while self.table[slot].1 != FREE {
                slot = (slot + 1) & (size - 1);
            }
            self.table[slot] = (hash, n);
        }
    }
}

/// A fast hash of short texts: multiply and rotate, eight bytes at a time.
fn hash(seed: u64, bytes: &[u8]) -> u32 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let word = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |w, &b| w << 8 | u64::from(b));
    let half = |at: usize| bytes[at..at + 4].iter().rev().fold(0, |w, &b| w << 8 | u64::from(b));
    let mix = |h: u64, w: u64| (h.rotate_left(23) ^ w).wrapping_mul(K);
    let n = bytes.len();
    let mut h = seed ^ n as u64;
    let mut at = 0;
    while at + 8 < n {
        h = mix(h, word(at));
        at += 8;
    }
    // What is left, 1 to 8 bytes, is read with words that may overlap.
    h = match n {
        0 => h,
        1..4 => mix(h, u64::from(bytes[0]) << 16 | u64::from(bytes[n / 2]) << 8 | u64::from(bytes[n - 1])),
        4..8 => mix(h, half(0) << 32 | half(n - 4)),
        _ => mix(h, word(n - 8)),
    };
    (h ^ h >> 32) as u32
}
