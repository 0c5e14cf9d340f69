//! Lines of a function: what they define and use, so that those that nobody needs are left out.

use std::collections::HashSet;
use std::fmt::{self, Write as _};

/// Kinds of registers. All but one are untyped; instructions say what the bits are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Class {
    Pred,
    Half,
    Word,
    Long,
    Quad,
    /// A word that says that it is a float, where that decides what an operand is.
    Single,
}

impl Class {
    const ALL: [Self; 6] = [Self::Pred, Self::Half, Self::Word, Self::Long, Self::Quad, Self::Single];

    /// What its registers are declared as.
    pub(super) const fn declared(self) -> &'static str {
        match self {
            Self::Pred => "pred",
            Self::Half => "b16",
            Self::Word => "b32",
            Self::Long => "b64",
            Self::Quad => "b128",
            Self::Single => "f32",
        }
    }
    const fn prefix(self) -> &'static str {
        match self {
            Self::Pred => "p",
            Self::Half => "h",
            Self::Word => "r",
            Self::Long => "d",
            Self::Quad => "q",
            Self::Single => "f",
        }
    }
}

/// A register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Reg {
    pub(super) class: Class,
    pub(super) n: u32,
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}{}", self.class.prefix(), self.n)
    }
}

/// What stands in an instruction behind its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Operand {
    Reg(Reg),
    /// `!p`
    Not(Reg),
    /// A number, a name or a label.
    Text(String),
    /// `[base+offset]`
    At(Box<Operand>, i64),
    /// `[a, b, ...]`
    Image(Vec<Operand>),
    /// `{a, b}`
    Vector(Vec<Operand>),
    /// `a|b`
    Pair(Box<Operand>, Box<Operand>),
    /// `(a, b)`
    List(Vec<Operand>),
    /// `_`
    Sink,
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

impl From<&str> for Operand {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

impl From<String> for Operand {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Operand {
    /// `[base+offset]`
    pub(super) fn at(base: impl Into<Self>, offset: i64) -> Self {
        Self::At(Box::new(base.into()), offset)
    }
    /// `a|b`
    pub(super) fn pair(a: impl Into<Self>, b: impl Into<Self>) -> Self {
        Self::Pair(Box::new(a.into()), Box::new(b.into()))
    }
    fn rename(&mut self, name: &impl Fn(Reg) -> Reg) {
        match self {
            Self::Reg(r) | Self::Not(r) => *r = name(*r),
            Self::Text(_) | Self::Sink => {}
            Self::At(base, _) => base.rename(name),
            Self::Pair(a, b) => {
                a.rename(name);
                b.rename(name);
            }
            Self::Image(all) | Self::Vector(all) | Self::List(all) => all.iter_mut().for_each(|o| o.rename(name)),
        }
    }
    fn each_reg(&self, visit: &mut impl FnMut(Reg)) {
        match self {
            Self::Reg(r) | Self::Not(r) => visit(*r),
            Self::Text(_) | Self::Sink => {}
            Self::At(base, _) => base.each_reg(visit),
            Self::Pair(a, b) => {
                a.each_reg(visit);
                b.each_reg(visit);
            }
            Self::Image(all) | Self::Vector(all) | Self::List(all) => all.iter().for_each(|o| o.each_reg(visit)),
        }
    }
}

struct Commas<'a>(&'a [Operand]);

impl fmt::Display for Commas<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, operand) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{operand}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(r) => write!(f, "{r}"),
            Self::Not(r) => write!(f, "!{r}"),
            Self::Text(text) => f.write_str(text),
            Self::At(base, 0) => write!(f, "[{base}]"),
            Self::At(base, offset) => write!(f, "[{base}+{offset}]"),
            Self::Image(all) => write!(f, "[{}]", Commas(all)),
            Self::Vector(all) => write!(f, "{{{}}}", Commas(all)),
            Self::Pair(a, b) => write!(f, "{a}|{b}"),
            Self::List(all) => write!(f, "({})", Commas(all)),
            Self::Sink => f.write_str("_"),
        }
    }
}

/// A condition under which a line is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Guard {
    pub(super) pred: Reg,
    pub(super) negated: bool,
}

/// Where control goes from an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    On,
    /// To one of these labels; under a condition also on.
    To(Vec<String>),
    /// Nowhere; under a condition on.
    End,
}

/// An instruction.
#[derive(Clone, Debug)]
pub(super) struct Instruction {
    pub(super) guard: Option<Guard>,
    head: String,
    outputs: Vec<Operand>,
    inputs: Vec<Operand>,
    /// It does more than compute its outputs.
    needed: bool,
    /// It reads its outputs, too.
    updates: bool,
    pub(super) flow: Flow,
}

impl Instruction {
    /// Calls `visit` with each register that is read.
    pub(super) fn each_read(&self, mut visit: impl FnMut(Reg)) {
        self.guard.iter().for_each(|g| visit(g.pred));
        self.inputs.iter().for_each(|o| o.each_reg(&mut visit));
        if self.updates {
            self.outputs.iter().for_each(|o| o.each_reg(&mut visit));
        }
    }
    /// Calls `visit` with each register that is written.
    pub(super) fn each_written(&self, mut visit: impl FnMut(Reg)) {
        self.outputs.iter().for_each(|o| o.each_reg(&mut visit));
    }
    /// The registers of a move from one to another.
    pub(super) fn copy(&self) -> Option<(Reg, Reg)> {
        match (&self.outputs[..], &self.inputs[..]) {
            ([Operand::Reg(to)], [Operand::Reg(from)]) if to.class == from.class && self.head.starts_with("mov.") => {
                Some((*to, *from))
            }
            _ => None,
        }
    }
    /// The register and the number of a move of one.
    pub(super) fn number(&self) -> Option<(Reg, &str)> {
        match (&self.outputs[..], &self.inputs[..]) {
            ([Operand::Reg(to)], [Operand::Text(text)])
                if self.head.starts_with("mov.") && text.starts_with(|c: char| c.is_ascii_digit() || c == '-') =>
            {
                Some((*to, text))
            }
            _ => None,
        }
    }
    /// Puts other registers in the place of all.
    pub(super) fn rename(&mut self, name: impl Fn(Reg) -> Reg) {
        if let Some(guard) = &mut self.guard {
            guard.pred = name(guard.pred);
        }
        self.outputs.iter_mut().chain(&mut self.inputs).for_each(|o| o.rename(&name));
    }
}

#[derive(Clone, Debug)]
pub(super) enum Line {
    Inst(Instruction),
    Label(String),
    /// A declaration or a brace.
    Plain(String),
}

/// The lines of a function.
#[derive(Default, Debug)]
pub(super) struct Code {
    pub(super) lines: Vec<Line>,
    counts: [u32; 6],
    /// Labels that are branched to.
    targets: HashSet<String>,
    /// What the next lines are executed under.
    pub(super) guard: Option<Guard>,
}

impl Code {
    /// A fresh register.
    pub(super) fn reg(&mut self, class: Class) -> Reg {
        let n = self.counts[class as usize];
        self.counts[class as usize] += 1;
        Reg { class, n }
    }
    fn add(&mut self, head: &str, outputs: Vec<Operand>, inputs: Vec<Operand>, needed: bool) {
        let flow = if matches!(head, "exit" | "ret") { Flow::End } else { Flow::On };
        let head = head.to_string();
        let guard = self.guard;
        self.lines.push(Line::Inst(Instruction { guard, head, outputs, inputs, needed, updates: false, flow }));
    }
    /// An instruction that does nothing but compute its result.
    pub(super) fn put(&mut self, head: &str, output: impl Into<Operand>, inputs: impl Into<Vec<Operand>>) {
        self.add(head, vec![output.into()], inputs.into(), false);
    }
    /// The same outside of any condition: it computes what is the same under all of them.
    pub(super) fn put_free(&mut self, head: &str, output: impl Into<Operand>, inputs: impl Into<Vec<Operand>>) {
        let guard = self.guard.take();
        self.put(head, output, inputs);
        self.guard = guard;
    }
    /// An instruction that stays, with the results that it gives.
    pub(super) fn act(&mut self, head: &str, outputs: impl Into<Vec<Operand>>, inputs: impl Into<Vec<Operand>>) {
        self.add(head, outputs.into(), inputs.into(), true);
    }
    /// An instruction whose results take the place of what their registers held.
    pub(super) fn update(&mut self, head: &str, outputs: impl Into<Vec<Operand>>, inputs: impl Into<Vec<Operand>>) {
        self.act(head, outputs, inputs);
        if let Some(Line::Inst(inst)) = self.lines.last_mut() {
            inst.updates = true;
        }
    }
    /// A branch, executed where the condition holds.
    pub(super) fn branch(&mut self, guard: Guard, label: &str) {
        self.branch_all(guard, label, false);
    }
    /// A branch that lanes take together, if they do.
    pub(super) fn branch_all(&mut self, guard: Guard, label: &str, together: bool) {
        let outer = self.guard.replace(guard);
        self.go(if together { "bra.uni" } else { "bra" }, [label.into()].into(), &[label.to_string()]);
        self.guard = outer;
    }
    /// A branch of all.
    pub(super) fn jump(&mut self, label: &str) {
        self.go("bra.uni", [label.into()].into(), &[label.to_string()]);
    }
    /// A branch to one of several labels, which get a list of this name.
    pub(super) fn jump_among(&mut self, list: &str, index: Reg, labels: &[String]) {
        self.plain(format!("{list}: .branchtargets {};", labels.join(", ")));
        self.go("brx.idx", [index.into(), list.into()].into(), labels);
    }
    fn go(&mut self, head: &str, inputs: Vec<Operand>, labels: &[String]) {
        let (guard, head, flow) = (self.guard, head.to_string(), Flow::To(labels.to_vec()));
        let (outputs, needed, updates) = (Vec::new(), true, false);
        self.lines.push(Line::Inst(Instruction { guard, head, outputs, inputs, needed, updates, flow }));
        self.targets.extend(labels.iter().cloned());
    }
    /// A label.
    pub(super) fn label(&mut self, name: impl Into<String>) {
        self.lines.push(Line::Label(name.into()));
    }
    /// A line as it is.
    pub(super) fn plain(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Plain(text.into()));
    }

    /// How many registers there are, and the number of one among all.
    pub(super) fn numbers(&self) -> (usize, impl Fn(Reg) -> usize + use<>) {
        let mut offsets = [0usize; 6];
        let mut sum = 0;
        for (offset, count) in offsets.iter_mut().zip(self.counts) {
            *offset = sum;
            sum += count as usize;
        }
        (sum, move |r: Reg| offsets[r.class as usize] + r.n as usize)
    }

    /// Leaves out what nobody needs.
    pub(super) fn prune(&mut self) {
        let (count, index) = self.numbers();
        let mut writers: Vec<Vec<u32>> = vec![Vec::new(); count];
        let mut keep = vec![false; self.lines.len()];
        let mut work = Vec::new();
        for (n, line) in self.lines.iter().enumerate() {
            match line {
                Line::Inst(inst) => {
                    inst.each_written(|r| writers[index(r)].push(n as u32));
                    if inst.needed {
                        keep[n] = true;
                        work.push(n);
                    }
                }
                Line::Label(name) => keep[n] = self.targets.contains(name),
                Line::Plain(_) => keep[n] = true,
            }
        }
        while let Some(n) = work.pop() {
            let Line::Inst(inst) = &self.lines[n] else { continue };
            inst.each_read(|r| {
                for writer in std::mem::take(&mut writers[index(r)]) {
                    if !std::mem::replace(&mut keep[writer as usize], true) {
                        work.push(writer as usize);
                    }
                }
            });
        }
        let mut n = 0;
        self.lines.retain(|_| {
            n += 1;
            keep[n - 1]
        });
    }

    /// The lines with the declarations of their registers, each indented.
    pub(super) fn finish(self, out: &mut String) {
        for class in Class::ALL {
            if self.counts[class as usize] > 0 {
                let (kind, prefix) = (class.declared(), class.prefix());
                let _ = writeln!(out, "\t.reg .{kind} %{prefix}<{}>;", self.counts[class as usize]);
            }
        }
        for line in &self.lines {
            match line {
                Line::Label(name) => _ = writeln!(out, "{name}:"),
                Line::Plain(text) => _ = writeln!(out, "\t{text}"),
                Line::Inst(Instruction { guard, head, outputs, inputs, .. }) => {
                    out.push('\t');
                    if let Some(Guard { pred, negated }) = guard {
                        let _ = write!(out, "@{}{pred} ", if *negated { "!" } else { "" });
                    }
                    out.push_str(head);
                    let separator = if outputs.is_empty() || inputs.is_empty() { "" } else { ", " };
                    if !outputs.is_empty() || !inputs.is_empty() {
                        let _ = write!(out, " {}{separator}{}", Commas(outputs), Commas(inputs));
                    }
                    out.push_str(";\n");
                }
            }
        }
    }
}

/// An integer of so many bits as PTX writes it.
pub(super) fn integer(bits: u64, width: u32) -> String {
    let value = match width {
        0..=8 => i64::from(bits as i8),
        9..=16 => i64::from(bits as i16),
        17..=32 => i64::from(bits as i32),
        _ => bits as i64,
    };
    let cut = if width >= 64 { bits } else { bits & ((1 << width) - 1) };
    if (-65536..65536).contains(&value) { value.to_string() } else { format!("{cut:#x}") }
}
