//! The instruction forms: one row each, the manual's syntax line and what it means.
//!
//! A row's syntax is the opcode, with optional parts in braces, and the operands: `add{.rnd}{.ftz}.f32 d, a, b`. A
//! part that is named in the row's classes stands for one of the words listed there; any other part stands for
//! itself. An opcode fits a row when each of its modifiers takes the first free part that allows it and no part that
//! must be there is left over; so modifiers may stand in any order, but that types keep theirs (`set.lt.u16.f16` is not
//! `set.lt.f16.u16`), and that the first words of some instructions belong to the name (`bar.sync`, `mul.lo`). Rows are
//! tried in order, and a row whose operands do not fit is passed over.

use crate::ast::{Operand, OperandKind, split_opcode};
use crate::lift::Lifter;
use hetir::diag::Diagnostic;
use std::collections::HashMap;
use std::sync::OnceLock;

mod async_copy;
mod cluster;
mod control;
mod cvt;
mod float;
mod int;
mod memory;
mod needs;
mod refused;
mod tensor;
mod tensor_copy;
mod texture;
mod video;
mod warp;
mod wgmma;

pub(crate) use needs::{unmet, written_for};

/// What lifting an instruction gives: nothing, or why it is refused.
pub(crate) type Lifted = Result<(), Box<Diagnostic>>;

/// A row.
pub(crate) struct Form {
    /// The syntax line.
    pub(crate) syntax: &'static str,
    /// Classes, each `name=word word ...`.
    pub(crate) classes: &'static [&'static str],
    /// Appends what it means.
    pub(crate) lift: fn(&mut Lifter<'_, '_>) -> Lifted,
    /// Why it has no meaning here; `lift` says so.
    pub(crate) refusal: Option<&'static str>,
}

/// A row, as the tables write it.
pub(crate) const fn form(
    syntax: &'static str,
    classes: &'static [&'static str],
    lift: fn(&mut Lifter<'_, '_>) -> Lifted,
) -> Form {
    Form { syntax, classes, lift, refusal: None }
}

/// A row of what is known and refused.
pub(crate) const fn refused(syntax: &'static str, classes: &'static [&'static str], reason: &'static str) -> Form {
    Form { syntax, classes, lift: |c| Err(c.unsupported()), refusal: Some(reason) }
}

const TABLES: &[&[Form]] = &[
    int::FORMS,
    float::FORMS,
    cvt::FORMS,
    memory::FORMS,
    warp::FORMS,
    control::FORMS,
    texture::FORMS,
    async_copy::FORMS,
    cluster::FORMS,
    tensor::FORMS,
    wgmma::FORMS,
    tensor_copy::FORMS,
    video::SCALAR,
    video::PACKED,
    video::OTHER,
    refused::FORMS,
];

/// Forms that are known and have no row: an instruction's name, the beginning of a modifier, and why not.
pub(crate) struct Refused {
    /// The name before the first dot.
    pub(crate) base: &'static str,
    /// How one of its modifiers begins.
    pub(crate) modifier: &'static str,
    /// Why there is no row.
    pub(crate) reason: &'static str,
}

const REFUSED: &[&[Refused]] = &[tensor::REFUSED];

/// A part of an opcode pattern.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name in the syntax line, without the dot.
    pub(crate) name: &'static str,
    /// It may be left out.
    pub(crate) optional: bool,
    /// The words it stands for; its own name where there is no class.
    pub(crate) words: Vec<&'static str>,
}

impl Part {
    /// What it may stand for, as [`Chosen`] numbers it, and "" for nothing.
    fn alternatives(&self) -> impl Iterator<Item = (u8, &'static str)> {
        let words = self.words.iter().enumerate().map(|(number, word)| (number as u8, *word));
        self.optional.then_some((ABSENT, "")).into_iter().chain(words)
    }
}

/// What an operand must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// A register, constant, name, label, vector.
    Plain,
    /// `p|q`, or only `p` where that is allowed.
    Pair { both: bool },
    /// In brackets.
    Memory,
    /// In parentheses.
    List,
}

#[derive(Debug)]
struct OperandPattern {
    shape: Shape,
    optional: bool,
}

/// A row made ready for matching.
pub(crate) struct Pattern {
    /// Its number among all rows.
    pub(crate) index: usize,
    /// The row.
    pub(crate) form: &'static Form,
    /// The name before the first dot.
    pub(crate) base: &'static str,
    /// The modifiers.
    pub(crate) parts: Vec<Part>,
    operands: Vec<OperandPattern>,
    /// How many of the parts belong to the name: their words stand first, in this order.
    leading: usize,
}

/// Words that follow an instruction's name at once and belong to it: the parts that begin a form and have such words.
const LONG_NAMES: &[(&str, &[&str])] = &[
    ("bar", &["sync", "arrive", "red", "warp", "cta"]),
    ("barrier", &["sync", "arrive", "red", "cluster", "wait", "cta"]),
    ("createpolicy", &["fractional", "range", "cvt"]),
    ("cvt", &["pack"]),
    ("cvta", &["to"]),
    ("dp2a", &["lo"]),
    ("fence", &["proxy", "mbarrier_init"]),
    ("mad", &["lo", "hi", "wide"]),
    ("mad24", &["hi"]),
    ("madc", &["hi"]),
    (
        "mbarrier",
        &[
            "init",
            "inval",
            "expect_tx",
            "complete_tx",
            "arrive",
            "arrive_drop",
            "test_wait",
            "try_wait",
            "pending_count",
        ],
    ),
    ("membar", &["proxy"]),
    ("mul", &["lo", "hi", "wide"]),
    ("mul24", &["hi"]),
    ("red", &["async"]),
    ("shf", &["l"]),
    ("st", &["async"]),
    ("wmma", &["load", "store", "mma", "a", "c", "d"]),
];

/// The same for copies, whose spaces follow one another.
const COPY_NAMES: &[&str] = &[
    "async",
    "bulk",
    "reduce",
    "prefetch",
    "tensor",
    "mbarrier",
    "arrive",
    "commit_group",
    "wait_group",
    "wait_all",
    "L2",
    "global",
    "shared::cta",
    "shared::cluster",
];

/// Which word each part of a pattern stands for in an opcode; 255 where it is left out.
pub(crate) type Chosen = [u8; MAX_PARTS];

/// Most modifiers a row has.
pub(crate) const MAX_PARTS: usize = 20;
const ABSENT: u8 = 255;

impl Pattern {
    fn new(index: usize, form: &'static Form) -> Self {
        let (opcode, operands) = form.syntax.split_once(' ').unwrap_or((form.syntax, ""));
        let mut parts = Vec::new();
        let end = opcode.find(['.', '{']).unwrap_or(opcode.len());
        let mut rest = &opcode[end..];
        while !rest.is_empty() {
            let optional = rest.starts_with('{');
            let body = rest.trim_start_matches(['{', '.']);
            let stop = if optional { body.find('}') } else { body.find(['.', '{']) }.unwrap_or(body.len());
            let name = &body[..stop];
            let class = form.classes.iter().find_map(|c| c.split_once('=').filter(|(n, _)| *n == name));
            let words = class.map_or_else(|| vec![name], |(_, words)| words.split_whitespace().collect());
            parts.push(Part { name, optional, words });
            rest = body[stop..].trim_start_matches('}');
        }
        let base = &opcode[..end];
        let leading = leading(base, &parts);
        Self { index, form, base, parts, operands: operand_patterns(operands), leading }
    }

    /// The parts that may stand for more than one thing, with their places.
    fn choices(&self) -> impl Iterator<Item = (usize, &Part)> {
        self.parts.iter().enumerate().filter(|(_, part)| part.optional || part.words.len() > 1)
    }

    /// The words that an opcode's modifiers choose, if they fit.
    fn choose<'a>(&self, modifiers: impl Iterator<Item = &'a str>) -> Option<Chosen> {
        let mut chosen = [ABSENT; MAX_PARTS];
        let mut first_type = 0;
        // The place before which no more words of the name may stand.
        let mut named = 0;
        for modifier in modifiers {
            let is_type = names_type(modifier);
            let from = if is_type { first_type } else { 0 };
            let (place, word) = self.parts.iter().enumerate().skip(from).find_map(|(place, part)| {
                let word = part.words.iter().position(|w| *w == modifier).filter(|_| chosen[place] == ABSENT)?;
                Some((place, word as u8))
            })?;
            if place < self.leading && place < named {
                return None;
            }
            named = named.max(place + 1);
            chosen[place] = word;
            if is_type {
                first_type = place + 1;
            }
        }
        let complete = self.parts.iter().zip(chosen).all(|(p, c)| p.optional || c != ABSENT);
        complete.then_some(chosen)
    }

    /// Whether operands look as the row says.
    pub(crate) fn fits(&self, operands: &[Operand]) -> bool {
        let most = self.operands.len();
        let least = self.operands.iter().filter(|o| !o.optional).count();
        if operands.len() < least || operands.len() > most {
            return false;
        }
        // Optional operands stand at the end, or are told apart by their shape.
        let mut given = operands;
        for (n, pattern) in self.operands.iter().enumerate() {
            let left = self.operands[n + 1..].iter().filter(|o| !o.optional).count();
            match given.split_first() {
                Some((o, rest)) if pattern.shape.holds(o) && (!pattern.optional || given.len() > left) => given = rest,
                _ if pattern.optional => {}
                _ => return false,
            }
        }
        given.is_empty()
    }

    /// Scalar and packed video instructions: their operands have selectors and signs.
    pub(crate) fn is_video(&self) -> bool {
        self.base.starts_with('v') && self.base != "vote"
    }
    /// A special register may be an operand.
    pub(crate) fn takes_special_registers(&self) -> bool {
        matches!(self.base, "mov" | "cvt" | "call")
    }
    /// The name of a variable may be an operand, and stands for its address.
    pub(crate) fn takes_names(&self) -> bool {
        matches!(self.base, "mov" | "cvta" | "mapa" | "getctarank" | "call")
    }
    /// `_` may stand for a result that is not wanted.
    pub(crate) fn discards_results(&self) -> bool {
        let arrives = self.base == "mbarrier" && self.parts.first().is_some_and(|part| part.name.starts_with("arrive"));
        arrives
            || matches!(
                self.base,
                "atom" | "call" | "elect" | "lop3" | "match" | "setp" | "shfl" | "tex" | "tld4" | "suld"
            )
    }
    /// The word of a part, if the opcode has one.
    pub(crate) fn word(&self, chosen: &Chosen, part: &str) -> Option<&'static str> {
        let place = self.parts.iter().position(|p| p.name == part)?;
        self.parts[place].words.get(chosen[place] as usize).copied()
    }
}

/// How many of an opcode's parts belong to the instruction's name.
fn leading(base: &str, parts: &[Part]) -> usize {
    let names = if base == "cp" {
        COPY_NAMES
    } else {
        LONG_NAMES.iter().find(|(name, _)| *name == base).map_or(&[][..], |(_, words)| words)
    };
    parts.iter().take_while(|part| part.words.first().is_some_and(|word| names.contains(word))).count()
}

/// Whether a modifier names a type: letters that types begin with, then digits: `u32`, `f16x2`, `e4m3x2`.
fn names_type(modifier: &str) -> bool {
    let digits = modifier.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let letters = &modifier[..modifier.len() - digits.len()];
    let is_permutation = matches!(modifier, "f4e" | "b4e");
    let is_type = ["u", "s", "b", "f", "bf", "tf", "e", "ue"].contains(&letters);
    digits.starts_with(|c: char| c.is_ascii_digit()) && is_type && !is_permutation
}

impl Shape {
    fn holds(self, operand: &Operand) -> bool {
        match operand.kind {
            OperandKind::Mem { .. } | OperandKind::MemList(_) => self == Self::Memory,
            OperandKind::List(_) => self == Self::List,
            OperandKind::Pair(_) => matches!(self, Self::Pair { .. }),
            OperandKind::Sink => !matches!(self, Self::Memory | Self::List),
            _ => matches!(self, Self::Plain | Self::Pair { both: false }),
        }
    }
}

/// Splits an operand pattern at the commas that stand outside brackets; braces around a comma make what follows optional.
fn operand_patterns(text: &'static str) -> Vec<OperandPattern> {
    let mut patterns = Vec::new();
    let mut depth = 0;
    let mut optional = false;
    let mut word = String::new();
    let mut finish = |word: &mut String, optional: bool| {
        let text = word.trim();
        if !text.is_empty() {
            let shape = match () {
                () if text.starts_with('[') => Shape::Memory,
                () if text.starts_with('(') => Shape::List,
                () if text.contains("{|") => Shape::Pair { both: false },
                () if text.contains('|') => Shape::Pair { both: true },
                () => Shape::Plain,
            };
            patterns.push(OperandPattern { shape, optional });
        }
        word.clear();
    };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '[' | '(' => {
                depth += 1;
                word.push(c);
            }
            ']' | ')' => {
                depth -= 1;
                word.push(c);
            }
            ',' if depth == 0 => {
                finish(&mut word, optional);
            }
            // `{, x}`: x and what stands before the closing brace are optional.
            '{' if depth == 0 && chars.peek() == Some(&',') => {
                finish(&mut word, optional);
                optional = true;
            }
            '}' if depth == 0 && optional && !word.contains('{') => {
                finish(&mut word, true);
                optional = false;
            }
            _ => word.push(c),
        }
    }
    finish(&mut word, optional);
    patterns
}

/// All rows, ready for matching, in the tables' order.
pub(crate) fn patterns() -> &'static [Pattern] {
    static ALL: OnceLock<Vec<Pattern>> = OnceLock::new();
    ALL.get_or_init(|| TABLES.iter().flat_map(|t| t.iter()).enumerate().map(|(n, f)| Pattern::new(n, f)).collect())
}

fn by_base(base: &str) -> &'static [usize] {
    static INDEX: OnceLock<HashMap<&'static str, Vec<usize>>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index: HashMap<_, Vec<usize>> = HashMap::new();
        for (n, p) in patterns().iter().enumerate() {
            index.entry(p.base).or_default().push(n);
        }
        index
    });
    index.get(base).map_or(&[], |v| v)
}

/// The rows that an opcode fits, with the words that it chooses.
pub(crate) fn resolve(opcode: &str) -> Vec<(&'static Pattern, Chosen)> {
    let (base, modifiers) = split_opcode(opcode);
    by_base(base)
        .iter()
        .filter_map(|&n| {
            let pattern = &patterns()[n];
            pattern.choose(modifiers.clone()).map(|chosen| (pattern, chosen))
        })
        .collect()
}

/// Why an opcode fits no row, for a message: the first modifier that no row of this name knows.
pub(crate) fn explain(opcode: &str) -> (String, Vec<String>) {
    let (base, modifiers) = split_opcode(opcode);
    let refused = |r: &&Refused| r.base == base && modifiers.clone().any(|m| m.starts_with(r.modifier));
    if let Some(row) = REFUSED.iter().copied().flatten().find(refused) {
        return (format!("`{opcode}` is not supported: {}", row.reason), Vec::new());
    }
    let rows = by_base(base);
    if rows.is_empty() {
        return (format!("unknown instruction `{base}`"), Vec::new());
    }
    let mut notes: Vec<String> = rows.iter().take(6).map(|&n| format!("form: {}", patterns()[n].form.syntax)).collect();
    if rows.len() > 6 {
        notes.push(format!("and {} more forms", rows.len() - 6));
    }
    let unknown = modifiers
        .clone()
        .find(|m| !rows.iter().any(|&n| patterns()[n].parts.iter().any(|p| p.words.iter().any(|w| w == m))));
    let message = match unknown {
        Some(m) => format!("`{base}` has no modifier `.{m}`"),
        None if modifiers.clone().next().is_none() => format!("`{base}` needs a modifier, its type for instance"),
        None => format!("no form of `{base}` has this combination of modifiers"),
    };
    (message, notes)
}

/// Every form. For the coverage page and its test.
pub fn forms() -> impl Iterator<Item = FormInfo> {
    patterns().iter().map(|p| FormInfo {
        index: p.index,
        syntax: p.form.syntax,
        base: p.base,
        refused: p.form.refusal.is_some(),
        choices: p
            .choices()
            .map(|(_, part)| (part.name, part.alternatives().map(|(_, word)| word).collect()))
            .collect(),
        parts: p.parts.iter().map(|part| (part.optional, part.words.clone())).collect(),
    })
}

/// What there is to know of a form from outside.
#[derive(Debug)]
pub struct FormInfo {
    /// Its number, as [`FormUse::index`] has it.
    pub index: usize,
    /// The syntax line.
    pub syntax: &'static str,
    /// The instruction's name.
    pub base: &'static str,
    /// It is known, and refused.
    pub refused: bool,
    /// Parts with a choice, and their words; "" where the part may be left out.
    pub choices: Vec<(&'static str, Vec<&'static str>)>,
    /// Every part of the opcode: whether it may be left out, and its words.
    pub parts: Vec<(bool, Vec<&'static str>)>,
}

/// That a text has a form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormUse {
    /// The form's number.
    pub index: usize,
    /// For each of [`FormInfo::choices`], the words that occur.
    pub words: Vec<Vec<&'static str>>,
}

/// Which forms occur in a text, and with which words: a bit a word for each part.
#[derive(Debug, Default)]
pub(crate) struct Uses(Vec<Option<[u64; MAX_PARTS]>>);

impl Uses {
    /// Adds an instruction.
    pub(crate) fn add(&mut self, pattern: &Pattern, chosen: &Chosen) {
        if self.0.len() <= pattern.index {
            self.0.resize(pattern.index + 1, None);
        }
        let words = self.0[pattern.index].get_or_insert([0; MAX_PARTS]);
        for (seen, word) in words.iter_mut().zip(chosen) {
            *seen |= 1 << (word % 64);
        }
    }

    /// The forms in order, each once.
    pub(crate) fn list(&self) -> Vec<FormUse> {
        let used = patterns().iter().zip(&self.0).filter_map(|(pattern, words)| Some((pattern, words.as_ref()?)));
        used.map(|(pattern, seen)| FormUse {
            index: pattern.index,
            words: pattern
                .choices()
                .map(|(place, part)| {
                    let seen = part.alternatives().filter(|(bit, _)| seen[place] >> (bit % 64) & 1 == 1);
                    seen.map(|(_, word)| word).collect()
                })
                .collect(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_well_formed() {
        for p in patterns() {
            assert!(p.parts.len() <= MAX_PARTS, "{}", p.form.syntax);
            for class in p.form.classes {
                let (name, words) = class.split_once('=').expect("a class is name=words");
                assert!(p.parts.iter().any(|part| part.name == name), "{}: class {name} is not used", p.form.syntax);
                // The bit of a word that is left out is another one than every word's.
                let count = words.split_whitespace().count();
                assert!((1..63).contains(&count), "{}: class {name} is empty or too long", p.form.syntax);
            }
        }
    }

    #[test]
    fn operand_patterns_know_brackets_pairs_and_options() {
        let shapes = |s| operand_patterns(s).iter().map(|p| (p.shape, p.optional)).collect::<Vec<_>>();
        assert_eq!(
            shapes("d{|p}, [a, c], b{, e}{, f}"),
            [
                (Shape::Pair { both: false }, false),
                (Shape::Memory, false),
                (Shape::Plain, false),
                (Shape::Plain, true),
                (Shape::Plain, true)
            ]
        );
        assert_eq!(shapes("d, {!}a"), [(Shape::Plain, false), (Shape::Plain, false)]);
        assert!(shapes("").is_empty());
    }
}
