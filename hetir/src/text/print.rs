//! The printer.

use super::lex::{escape, is_word};
use crate::entity::{Block, Inst, Value};
use crate::ir::{
    Body, Function, FunctionKind, Global, InstData, KernelParam, LaunchBounds, Module, Opaque, RelocationTarget,
    Signature, Target,
};
use crate::op::{Imm, Op};
use crate::types::Type;
use std::fmt::{self, Display, Formatter};

/// Bytes of an initial value that stand on one line.
const BYTES_PER_LINE: usize = 32;

/// A name, in quotes where it is no word.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if is_word(self.0) { f.write_str(self.0) } else { f.write_str(&escape(self.0)) }
    }
}

/// Prints by a function.
struct Show<F>(F);

impl<F: Fn(&mut Formatter<'_>) -> fmt::Result> Display for Show<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0(f)
    }
}

fn show<F: Fn(&mut Formatter<'_>) -> fmt::Result>(print: F) -> Show<F> {
    Show(print)
}

/// Items with `, ` between them.
struct List<I>(I);

impl<I: Clone + Iterator<Item: Display>> Display for List<I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.clone().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

fn write_addend(f: &mut Formatter<'_>, n: i64) -> fmt::Result {
    match n {
        0 => Ok(()),
        1.. => write!(f, " + {n}"),
        _ => write!(f, " - {}", n.unsigned_abs()),
    }
}

impl Opaque {
    /// Every variant and its spelling.
    pub(super) const NAMES: [(Self, &'static str); 3] =
        [(Self::Texture, "texture"), (Self::Sampler, "sampler"), (Self::Surface, "surface")];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(o, _)| *o == self).map_or("", |(_, n)| n)
    }
}

/// Prints a function's parts with the numbers that its values have in the text: values count in the order of their
/// definitions.
#[derive(Debug)]
pub struct Printer<'a> {
    module: Option<&'a Module>,
    body: &'a Body,
    numbers: Vec<u32>,
}

impl<'a> Printer<'a> {
    /// Numbers the values of a body. Without a module, globals and functions are printed by their handles.
    pub fn new(module: Option<&'a Module>, body: &'a Body) -> Self {
        const NONE: u32 = u32::MAX;
        let mut numbers = vec![NONE; body.values.len()];
        let mut next = 0;
        let mut number = |v: &Value| {
            if let Some(n @ &mut NONE) = numbers.get_mut(v.index()) {
                *n = next;
                next += 1;
            }
        };
        for block in &body.blocks {
            block.params.iter().for_each(&mut number);
            for &inst in block.insts.iter().filter(|i| i.index() < body.insts.len()) {
                body.results(inst).iter().for_each(&mut number);
            }
        }
        (0..body.values.len()).map(Value::new).for_each(|v| number(&v));
        Self { module, body, numbers }
    }

    /// A value by its number in the text.
    pub fn value(&self, value: Value) -> Value {
        self.numbers.get(value.index()).map_or(value, |&n| Value::new(n as usize))
    }

    /// An instruction, without indentation or line end.
    pub fn inst(&self, inst: Inst) -> impl Display + '_ {
        show(move |f| self.write_inst(f, inst))
    }

    fn values<'v>(&'v self, values: &'v [Value]) -> impl Clone + Iterator<Item = Value> + 'v {
        values.iter().map(|&v| self.value(v))
    }

    fn typed<'v>(&'v self, values: &'v [Value]) -> impl Display + 'v {
        List(values.iter().map(move |&v| {
            show(move |f| match self.body.values.get(v.index()) {
                Some(data) => write!(f, "{}: {}", self.value(v), data.ty),
                None => write!(f, "{v}: ?"),
            })
        }))
    }

    fn target(&self, target: Target) -> impl Display + '_ {
        show(move |f| {
            target.block.fmt(f)?;
            match self.body.target_args(target) {
                [] => Ok(()),
                args => write!(f, "({})", List(self.values(args))),
            }
        })
    }

    fn write_inst(&self, f: &mut Formatter<'_>, inst: Inst) -> fmt::Result {
        let Some(data) = self.body.insts.get(inst.index()) else { return write!(f, "?{inst}") };
        let info = data.op.info();
        let results = self.body.results(inst);
        if !results.is_empty() {
            write!(f, "{} = ", self.typed(results))?;
        }
        f.write_str(info.name)?;
        for (kind, &byte) in info.attrs.iter().zip(&data.attrs) {
            match kind.spellings().get(byte as usize) {
                Some(&"") => {}
                Some(word) => write!(f, ".{word}")?,
                None => write!(f, ".?{byte}")?,
            }
        }
        let mut separator = " ";
        let mut item = |f: &mut Formatter<'_>, item: &dyn Display| {
            f.write_str(separator)?;
            separator = ", ";
            item.fmt(f)
        };
        if matches!(info.imm, Imm::Global | Imm::Func | Imm::Slot | Imm::Sig) {
            item(f, &show(|f| self.write_imm(f, data)))?;
        }
        for (i, v) in self.values(self.body.args(inst)).enumerate() {
            item(f, &v)?;
            if i == 0 && info.imm == Imm::Offset {
                write_addend(f, data.imm as i64)?;
            }
        }
        if info.imm == Imm::Int && (data.op != Op::Sreg || data.imm != 0) {
            item(f, &show(|f| self.write_imm(f, data)))?;
        }
        let targets = self.body.targets(inst);
        if data.op == Op::Switch {
            item(f, &format_args!("[{}]", List(targets.iter().map(|t| self.target(*t)))))?;
        } else {
            for t in targets {
                item(f, &self.target(*t))?;
            }
        }
        Ok(())
    }

    fn write_imm(&self, f: &mut Formatter<'_>, data: &InstData) -> fmt::Result {
        let index = data.imm as usize;
        let name = |name: Option<&'a String>, prefix: &str| {
            let name = name.map(|n| format!("@{}", Name(n)));
            name.unwrap_or_else(|| format!("{prefix}{}", data.imm))
        };
        match data.op.info().imm {
            Imm::Global => {
                f.write_str(&name(self.module.and_then(|m| m.globals.get(index)).map(|g| &g.name), "global"))
            }
            Imm::Func => f.write_str(&name(self.module.and_then(|m| m.functions.get(index)).map(|g| &g.name), "func")),
            Imm::Slot => write!(f, "slot{}", data.imm),
            Imm::Sig => write!(f, "sig{}", data.imm),
            Imm::Int if data.op == Op::Const => write_constant(f, data.ty, data.imm),
            Imm::Int | Imm::Offset => write!(f, "{}", data.imm as i64),
            Imm::None => Ok(()),
        }
    }

    fn write_block(&self, f: &mut Formatter<'_>, block: Block) -> fmt::Result {
        let data = &self.body.blocks[block.index()];
        match data.params.as_slice() {
            [] => writeln!(f, "{block}:")?,
            params => writeln!(f, "{block}({}):", self.typed(params))?,
        }
        for &inst in &data.insts {
            f.write_str("    ")?;
            self.write_inst(f, inst)?;
            f.write_str("\n")?;
        }
        Ok(())
    }
}

fn write_constant(f: &mut Formatter<'_>, ty: Type, bits: u64) -> fmt::Result {
    if bits & !ty.mask() != 0 || ty.bits() > 64 {
        write!(f, "{bits:#x}")
    } else if ty == Type::B1 {
        write!(f, "{bits}")
    } else if ty.lanes == 1 && ty.scalar.is_int() {
        let unused = 64 - ty.bits();
        write!(f, "{}", (bits << unused) as i64 >> unused)
    } else {
        write!(f, "{bits:#0width$x}", width = ty.bits() as usize / 4 + 2)
    }
}

impl Display for Signature {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({})", List(self.params.iter()))?;
        if self.results.is_empty() { Ok(()) } else { write!(f, " -> ({})", List(self.results.iter())) }
    }
}

impl Display for KernelParam {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} align {} at {}", Name(&self.name), self.size, self.align, self.offset)?;
        self.opaque.map_or(Ok(()), |o| write!(f, " {}", o.name()))
    }
}

impl Display for LaunchBounds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let triple = |f: &mut Formatter<'_>, name: &str, [x, y, z]: [u32; 3]| {
            if [x, y, z] == [0; 3] { Ok(()) } else { write!(f, " {name}({x}, {y}, {z})") }
        };
        let number = |f: &mut Formatter<'_>, name: &str, n: u32| if n == 0 { Ok(()) } else { write!(f, " {name} {n}") };
        triple(f, "max_threads", self.max_threads)?;
        triple(f, "required_threads", self.required_threads)?;
        number(f, "min_blocks", self.min_blocks)?;
        number(f, "max_registers", self.max_registers)?;
        triple(f, "required_cluster", self.required_cluster)?;
        number(f, "max_cluster", self.max_cluster)?;
        f.write_str(if self.explicit_cluster { " explicit_cluster" } else { "" })
    }
}

fn write_function(f: &mut Formatter<'_>, module: Option<&Module>, function: &Function) -> fmt::Result {
    let linkage = function.linkage.name();
    write!(f, "{linkage}{}", if linkage.is_empty() { "" } else { " " })?;
    match &function.kind {
        FunctionKind::Kernel { params, bounds } => {
            write!(f, "kernel @{}({}){bounds}", Name(&function.name), List(params.iter()))?;
        }
        FunctionKind::Device => write!(f, "func @{}{}", Name(&function.name), function.signature)?,
    }
    for reason in &function.unavailable {
        write!(f, " unavailable {}", escape(&reason.message))?;
    }
    let Some(body) = &function.body else { return writeln!(f) };
    f.write_str(" {\n")?;
    for (i, slot) in function.slots.iter().enumerate() {
        writeln!(f, "    slot{i}: {} align {}", slot.size, slot.align)?;
    }
    let printer = Printer::new(module, body);
    for block in body.block_ids() {
        printer.write_block(f, block)?;
    }
    f.write_str("}\n")
}

fn write_global(f: &mut Formatter<'_>, module: &Module, global: &Global) -> fmt::Result {
    let words = [
        global.linkage.name(),
        if global.managed { "managed" } else { "" },
        global.opaque.map_or("", Opaque::name),
        global.space.name(),
    ];
    for word in words.into_iter().filter(|w| !w.is_empty()) {
        write!(f, "{word} ")?;
    }
    write!(f, "@{}: {} align {}", Name(&global.name), global.size, global.align)?;
    if global.init.is_empty() && global.relocations.is_empty() && global.fields.is_empty() {
        return writeln!(f);
    }
    f.write_str(" {\n")?;
    for line in global.init.chunks(BYTES_PER_LINE) {
        f.write_str("    bytes \"")?;
        for byte in line {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("\"\n")?;
    }
    for r in &global.relocations {
        let name = match r.target {
            RelocationTarget::Global(id) => module.globals.get(id.index()).map(|g| &g.name),
            RelocationTarget::Func(id) => module.functions.get(id.index()).map(|g| &g.name),
        };
        write!(f, "    reloc {}: ", r.offset)?;
        match (name, r.target) {
            (Some(name), _) => write!(f, "@{}", Name(name))?,
            (None, RelocationTarget::Global(id)) => write!(f, "{id}")?,
            (None, RelocationTarget::Func(id)) => write!(f, "{id}")?,
        }
        write_addend(f, r.addend)?;
        write!(f, " size {}", r.size)?;
        if r.shift != 0 {
            write!(f, " shift {}", r.shift)?;
        }
        f.write_str(if r.generic { " generic\n" } else { "\n" })?;
    }
    for (name, value) in &global.fields {
        writeln!(f, "    field {} {}", Name(name), escape(value))?;
    }
    f.write_str("}\n")
}

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, signature) in self.signatures.iter().enumerate() {
            writeln!(f, "sig{i}: {signature}")?;
        }
        for global in &self.globals {
            write_global(f, self, global)?;
        }
        for (i, function) in self.functions.iter().enumerate() {
            if i > 0 || !self.globals.is_empty() || !self.signatures.is_empty() {
                f.write_str("\n")?;
            }
            write_function(f, Some(self), function)?;
        }
        Ok(())
    }
}

/// Globals and functions that the body refers to are printed by their handles.
impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_function(f, None, self)
    }
}
