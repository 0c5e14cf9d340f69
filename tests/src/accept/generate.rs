//! Instructions to ask about.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ptx_frontend::{FormInfo, forms};

use super::judge::{self, Verdict};
use crate::sweep::Random;

/// How much to generate.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// What the random choices begin with.
    pub seed: u64,
    /// Most combinations of words of one form.
    pub combinations: usize,
    /// Mutations of each combination.
    pub mutations: usize,
    /// One in so many of the mutations that go through every operand and word of a form.
    pub one_in: u64,
    /// Only forms of this instruction.
    pub only: &'static str,
    /// The PTX version and target of the modules.
    pub isa: (&'static str, &'static str),
}

/// Registers, constants and vectors that may stand for an operand.
const PLAIN: &[&str] = &[
    "%r0",
    "%p0",
    "%d0",
    "%h0",
    "%f0",
    "%e0",
    "%q0",
    "%c0",
    "{%r0,%r1}",
    "{%r0,%r1,%r2,%r3}",
    "{%f0,%f1}",
    "{%f0,%f1,%f2,%f3}",
    "{%r0}",
    "{%r0,%r1,%r2,%r3,%r4,%r5,%r6,%r7}",
    "{%f0,%f1,%f2,%f3,%f4,%f5,%f6,%f7}",
    "{%h0,%h1}",
    "{%h0,%h1,%h2,%h3}",
    "{%h0,%h1,%h2,%h3,%h4,%h5,%h6,%h7}",
    "{%d0,%d1}",
    "{%d0,%d1,%d2,%d3}",
    "{%e0,%e1}",
    "{%e0,%e1,%e2,%e3}",
    "{%e0}",
    "{%e0,%e1,%e2,%e3,%e4,%e5,%e6,%e7}",
    "{%f0}",
    "0",
    "16",
    "128",
    "L",
    "%sr0",
    "%ur0",
    "_",
    "surf",
    "tex",
];

/// What else may stand there, in mutations.
const OTHER: &[&str] = &[
    "%k0",
    "%kk0",
    "%uc0",
    "%sc0",
    "%uh0",
    "%sh0",
    "%ur0",
    "%sr0",
    "%ud0",
    "%sd0",
    "%vr",
    "%vf",
    "%vr.x",
    "%vf.y",
    "1",
    "-1",
    "256",
    "1.0",
    "-1.5",
    "0f3f800000",
    "0d3ff0000000000000",
    "0x100000000",
    "5U",
    "!%p0",
    "-%r0",
    "!%r0",
    "-%f0",
    "-%d0",
    "-%p0",
    "_",
    "g",
    "s",
    "c",
    "l",
    "kp",
    "lp",
    "f",
    "g+4",
    "g[4]",
    "%r0+4",
    "%d0+8",
    "[%d0]",
    "[%d0+8]",
    "[g]",
    "[s]",
    "[c]",
    "[l]",
    "[kp]",
    "[kp+4]",
    "[ka]",
    "[lp]",
    "[g+4]",
    "[g][4]",
    "[16]",
    "[%r0]",
    "[%r0+4]",
    "[%f0]",
    "[%h0]",
    "[%d0-8]",
    "[%d0+%d1]",
    "[0]",
    "[-8]",
    "%p0|%p1",
    "%r0|%p0",
    "%r0|%r1",
    "%p0|_",
    "_|%p0",
    "%f0|%p0",
    "%d0|%p0",
    "{%r0,%d0}",
    "{%r0,_}",
    "{_,_}",
    "{%r0,1}",
    "{%p0,%p1}",
    "{%q0,%q1}",
    "{%c0,%c1}",
    "{%r0,%r1,%r2}",
    "{%c0,%c1,%c2,%c3}",
    "%tid.x",
    "%tid",
    "%laneid",
    "%clock64",
    "%envreg0",
    "%lanemask_lt",
    "%pm0",
    "%is_explicit_cluster",
    "WARP_SZ",
    "(%r0)",
    "%r0.b0",
    "%r0.h1",
    "%r0.b3210",
    "L",
    "{%r0,%r0}",
    "{%vr}",
    "[%d0, {%r0}]",
    "[%d0, 8]",
    "{%k0,%k1}",
    "{%kk0,%kk1}",
    "%p0.x",
    "\"x\"",
    "1+2",
    "0x80000000",
    "4294967295",
    "-2147483649",
    "true",
];

const MEMORY: &[&str] = &[
    "[%d0]",
    "[s]",
    "[g]",
    "[c]",
    "[kp]",
    "[l]",
    "[lp]",
    "[%r0]",
    "[tex, {%r0}]",
    "[tex, {%r0,%r1}]",
    "[tex, {%r0,%r1,%r2,%r3}]",
    "[tex, {%f0}]",
    "[tex, {%f0,%f1}]",
    "[tex, {%f0,%f1,%f2,%f3}]",
    "[surf, {%r0}]",
    "[surf, {%r0,%r1}]",
    "[surf, {%r0,%r1,%r2,%r3}]",
    "[surf]",
    "[tex]",
    "[%d0, {%r0}]",
    "[%d0, {%r0,%r1}]",
    "[%d0, {%r0,%r1,%r2}]",
    "[%d0, {%r0,%r1,%r2,%r3}]",
    "[%d0, {%r0,%r1,%r2,%r3,%r4}]",
];
const PAIRS: &[&str] = &["%p0|%p1", "%r0|%p0", "%r0|%p1"];

/// Words that are tried everywhere.
const WORDS: &[&str] = &[
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "b8",
    "b16",
    "b32",
    "b64",
    "b128",
    "f16",
    "f16x2",
    "bf16",
    "bf16x2",
    "f32",
    "f32x2",
    "f64",
    "pred",
    "tf32",
    "u16x2",
    "s16x2",
    "rn",
    "rz",
    "rm",
    "rp",
    "rni",
    "ftz",
    "sat",
    "satfinite",
    "relu",
    "cc",
    "lo",
    "hi",
    "wide",
    "approx",
    "full",
    "global",
    "shared",
    "shared::cta",
    "shared::cluster",
    "local",
    "const",
    "param",
    "param::entry",
    "generic",
    "v2",
    "v4",
    "v8",
    "sync",
    "aligned",
    "relaxed",
    "acquire",
    "release",
    "weak",
    "volatile",
    "mmio",
    "cta",
    "cluster",
    "gpu",
    "sys",
    "ca",
    "cg",
    "nc",
    "L1::evict_last",
    "L2::cache_hint",
    "L2::128B",
    "noftz",
    "NaN",
    "abs",
    "x",
    "and",
    "eq",
    "uni",
    "to",
    "unified",
    "noreturn",
    "scalar",
];

/// The instruction's opcode.
pub fn opcode(line: &str) -> &str {
    let line = if line.starts_with('@') { line.split_once(' ').map_or("", |(_, rest)| rest) } else { line };
    line.split([' ', ';']).next().unwrap_or("")
}

/// The name before the opcode's first dot.
pub fn base(line: &str) -> &str {
    let opcode = opcode(line);
    opcode.split('.').next().unwrap_or(opcode)
}

/// An instruction in parts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Inst {
    guard: &'static str,
    base: &'static str,
    words: Vec<&'static str>,
    operands: Vec<String>,
}

impl Inst {
    fn line(&self) -> String {
        let mut line = self.guard.to_string() + self.base;
        for word in &self.words {
            line.push('.');
            line += word;
        }
        if !self.operands.is_empty() {
            line.push(' ');
            line += &self.operands.join(", ");
        }
        line + ";"
    }
    /// The operand in which a byte of the line lies.
    fn operand_at(&self, at: usize) -> Option<usize> {
        let mut end = self.line().find(' ')?;
        if !self.guard.is_empty() {
            end = self.guard.len() + self.line()[self.guard.len()..].find(' ')?;
        }
        if at <= end {
            return None;
        }
        end += 1;
        self.operands.iter().position(|operand| {
            end += operand.len() + 2;
            at + 2 < end + 1
        })
    }
}

/// The instructions. Every form has some that the front end accepts, if there are any.
pub fn cases(effort: Effort) -> Vec<String> {
    let mut random = Random::new(effort.seed);
    let all: Vec<FormInfo> = forms().collect();
    let mut vocabulary: BTreeMap<&str, BTreeSet<&'static str>> = BTreeMap::new();
    for form in &all {
        let words = vocabulary.entry(form.base).or_default();
        words.extend(form.parts.iter().flat_map(|(_, alternatives)| alternatives));
    }
    let chosen = all.iter().filter(|form| match effort.only {
        "" => !left_out(form.base),
        only => form.base == only,
    });
    let mut guesses = Vec::new();
    for (n, form) in chosen.enumerate() {
        for words in combinations(form, effort.combinations, &mut random) {
            for operands in signatures(form) {
                let start = Inst { guard: "", base: form.base, words: words.clone(), operands: Vec::new() };
                guesses.push(Guess::new(n, start, operands));
            }
        }
    }
    settle(&mut guesses, judge::NEWEST);
    if effort.isa != judge::NEWEST {
        guesses.iter_mut().filter(|guess| !guess.settled).for_each(Guess::restart);
        settle(&mut guesses, effort.isa);
    }
    let mut lines = HashSet::new();
    let mut out = Vec::new();
    let mut add = |inst: &Inst| {
        let line = inst.line();
        if lines.insert(line.clone()) {
            out.push(line);
        }
    };
    let mut last = usize::MAX;
    let mut bases: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    // What fits one combination of words often fits the others.
    for guess in guesses.iter().filter(|g| g.settled) {
        bases.entry(guess.form).or_insert_with(|| guess.inst.operands.clone());
    }
    for guess in &mut guesses {
        if !guess.settled {
            if let Some(operands) = bases.get(&guess.form) {
                guess.inst.operands.clone_from(operands);
            }
            add(&guess.inst);
            continue;
        }
        add(&guess.inst);
        let words = &vocabulary[guess.inst.base];
        if guess.form != last {
            last = guess.form;
            thorough(&guess.inst, words, |inst| {
                if effort.one_in <= 1 || random.next().is_multiple_of(effort.one_in) {
                    add(inst);
                }
            });
        }
        let words: Vec<&'static str> = words.iter().copied().collect();
        for _ in 0..effort.mutations {
            let mut inst = guess.inst.clone();
            mutate(&mut inst, &words, &mut random);
            if random.next().is_multiple_of(4) {
                mutate(&mut inst, &words, &mut random);
            }
            add(&inst);
        }
    }
    out
}

/// Every operand replaced by everything, and every word.
fn thorough(start: &Inst, words: &BTreeSet<&'static str>, mut add: impl FnMut(&Inst)) {
    for n in 0..start.operands.len() {
        for other in PLAIN.iter().chain(OTHER) {
            let mut inst = start.clone();
            inst.operands[n] = (*other).to_string();
            add(&inst);
        }
        let mut inst = start.clone();
        inst.operands.remove(n);
        add(&inst);
    }
    let mut inst = start.clone();
    inst.operands.push("%r0".into());
    add(&inst);
    for guard in ["@%p1 ", "@!%p1 ", "@%r1 "] {
        let mut inst = start.clone();
        inst.guard = guard;
        add(&inst);
    }
    let others = || words.iter().chain(WORDS).copied();
    for n in 0..start.words.len() {
        for word in others() {
            let mut inst = start.clone();
            inst.words[n] = word;
            add(&inst);
        }
        let mut inst = start.clone();
        inst.words.remove(n);
        add(&inst);
        let mut inst = start.clone();
        inst.words.swap(n, (n + 1) % start.words.len());
        add(&inst);
    }
    for n in [0, start.words.len()] {
        for word in others() {
            let mut inst = start.clone();
            inst.words.insert(n, word);
            add(&inst);
        }
    }
}

fn mutate(inst: &mut Inst, words: &[&'static str], random: &mut Random) {
    let mut below = |n: usize| random.next() as usize % n.max(1);
    let kind = below(10);
    if kind < 6 {
        let word = if below(3) == 0 {
            WORDS[below(WORDS.len())]
        } else {
            words.get(below(words.len())).copied().unwrap_or("x")
        };
        let at = below(inst.words.len());
        match kind {
            0 if !inst.words.is_empty() => drop(inst.words.remove(at)),
            1 if !inst.words.is_empty() => {
                let other = below(inst.words.len());
                inst.words.swap(at, other);
            }
            2 | 3 => inst.words.insert(below(inst.words.len() + 1), word),
            _ if !inst.words.is_empty() => inst.words[at] = word,
            _ => {}
        }
        return;
    }
    let choice = below(PLAIN.len() + OTHER.len());
    let operand = PLAIN.iter().chain(OTHER).nth(choice).map_or(String::new(), |o| (*o).to_string());
    let at = below(inst.operands.len());
    match kind {
        6 if below(3) == 0 => inst.guard = ["@%p1 ", "@!%p1 ", "@%r1 "][below(3)],
        6 if below(2) == 0 => inst.operands.insert(below(inst.operands.len() + 1), operand),
        6 if !inst.operands.is_empty() => drop(inst.operands.remove(at)),
        7 if !inst.operands.is_empty() => {
            let other = below(inst.operands.len());
            inst.operands.swap(at, other);
        }
        _ if !inst.operands.is_empty() => inst.operands[at] = operand,
        _ => {}
    }
}

/// Scalar and packed video instructions have operands that no other has, and textures need variables set up for them:
/// both are asked for by name only.
fn left_out(base: &str) -> bool {
    let video = base.starts_with('v') && base != "vote";
    video || ["tex", "tld4", "txq", "suld", "sust", "sured", "suq", "istypep"].contains(&base)
}

/// Combinations of a form's words: all, or so many, in which every word occurs.
fn combinations(form: &FormInfo, most: usize, random: &mut Random) -> Vec<Vec<&'static str>> {
    let parts = &form.parts;
    let alternatives: Vec<usize> = parts.iter().map(|(optional, words)| words.len() + usize::from(*optional)).collect();
    let total = alternatives.iter().try_fold(1usize, |product, n| product.checked_mul(*n)).unwrap_or(usize::MAX);
    let build = |pick: &[usize]| -> Vec<&'static str> {
        parts.iter().zip(pick).filter_map(|((_, words), n)| words.get(*n).copied()).collect()
    };
    let mut out = Vec::new();
    if total <= most {
        for number in 0..total {
            let mut rest = number;
            let pick: Vec<usize> = alternatives
                .iter()
                .map(|n| {
                    let digit = rest % n;
                    rest /= n;
                    digit
                })
                .collect();
            out.push(build(&pick));
        }
        return out;
    }
    // Without the optional parts first, then with each word, each pair of words, then anything.
    let plain: Vec<usize> = parts.iter().map(|(optional, words)| if *optional { words.len() } else { 0 }).collect();
    out.push(build(&plain));
    let (mut singles, mut pairs) = (Vec::new(), Vec::new());
    for (place, (_, words)) in parts.iter().enumerate() {
        for word in 0..words.len() {
            let mut pick = plain.clone();
            pick[place] = word;
            singles.push(build(&pick));
            for (later, (_, words)) in parts.iter().enumerate().skip(place + 1) {
                for word in 0..words.len() {
                    let mut pick = pick.clone();
                    pick[later] = word;
                    pairs.push(build(&pick));
                }
            }
        }
    }
    for (mut some, share) in [(singles, most.saturating_sub(1)), (pairs, most / 2)] {
        while some.len() > share {
            some.swap_remove(random.next() as usize % some.len());
        }
        out.extend(some);
    }
    while out.len() < most {
        let pick: Vec<usize> = alternatives.iter().map(|n| random.next() as usize % n).collect();
        out.push(build(&pick));
    }
    out
}

/// The operand lists of a form: without its optional operands, with each of them, and with all.
fn signatures(form: &FormInfo) -> Vec<Vec<&'static str>> {
    let Some((_, text)) = form.syntax.split_once(' ') else { return vec![Vec::new()] };
    let operands = operands(text);
    let optional: Vec<usize> = (0..operands.len()).filter(|n| operands[*n].1).collect();
    let with = |kept: &[usize]| -> Vec<&'static str> {
        let kept = operands.iter().enumerate().filter(|(n, (_, optional))| !optional || kept.contains(n));
        kept.map(|(_, (text, _))| *text).collect()
    };
    let mut out = vec![with(&[])];
    out.extend(optional.iter().map(|n| with(&[*n])));
    if optional.len() > 1 {
        out.push(with(&optional));
    }
    out
}

/// The operands of a syntax line, and whether they may be left out.
fn operands(text: &'static str) -> Vec<(&'static str, bool)> {
    let mut out = Vec::new();
    let (mut depth, mut start, mut optional) = (0, 0, false);
    let bytes = text.as_bytes();
    let mut add = |from: usize, to: usize, optional: bool| {
        let word = text[from..to].trim();
        if !word.is_empty() {
            out.push((word, optional));
        }
    };
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'[' | b'(' => depth += 1,
            b']' | b')' => depth -= 1,
            b',' if depth == 0 => {
                add(start, at, optional);
                start = at + 1;
            }
            b'{' if depth == 0 && bytes.get(at + 1) == Some(&b',') => {
                add(start, at, optional);
                (start, optional) = (at + 1, true);
            }
            b'}' if depth == 0 && optional && !text[start..at].contains('{') => {
                add(start, at, true);
                (start, optional) = (at + 1, false);
            }
            _ => {}
        }
    }
    add(start, text.len(), optional);
    out
}

/// An instruction whose operands are being looked for.
struct Guess {
    form: usize,
    inst: Inst,
    /// What each operand may be, and what it is now.
    candidates: Vec<&'static [&'static [&'static str]]>,
    at: Vec<usize>,
    settled: bool,
    given_up: bool,
}

impl Guess {
    fn new(form: usize, mut inst: Inst, operands: Vec<&'static str>) -> Self {
        let candidates: Vec<&'static [&'static [&'static str]]> = operands
            .iter()
            .map(|text| -> &'static [&'static [&'static str]] {
                match () {
                    () if text.starts_with('[') => &[MEMORY],
                    () if text.starts_with('(') => &[&["(lp)", "(%r0)"]],
                    () if text.contains('|') => &[PAIRS, PLAIN],
                    () => &[PLAIN],
                }
            })
            .collect();
        let at = vec![0; candidates.len()];
        inst.operands = candidates.iter().map(|c| nth(c, 0).unwrap_or("").to_string()).collect();
        Self { form, inst, candidates, at, settled: false, given_up: false }
    }
    fn restart(&mut self) {
        self.given_up = false;
        self.at.fill(0);
        self.inst.operands = self.candidates.iter().map(|c| nth(c, 0).unwrap_or("").to_string()).collect();
    }
    fn advance(&mut self, n: usize) {
        self.at[n] += 1;
        match nth(self.candidates[n], self.at[n]) {
            Some(next) => self.inst.operands[n] = next.to_string(),
            None => self.given_up = true,
        }
    }
}

fn nth(lists: &[&[&'static str]], n: usize) -> Option<&'static str> {
    lists.iter().flat_map(|list| list.iter()).nth(n).copied()
}

/// Looks for operands that the front end accepts: while it complains about one, the next candidate is tried there.
fn settle(guesses: &mut [Guess], isa: (&str, &str)) {
    loop {
        let open: Vec<usize> = (0..guesses.len()).filter(|n| !guesses[*n].settled && !guesses[*n].given_up).collect();
        if open.is_empty() {
            return;
        }
        let lines: Vec<String> = open.iter().map(|n| guesses[*n].inst.line()).collect();
        for (n, verdict) in open.into_iter().zip(judge::ours_for(isa, &lines)) {
            let guess = &mut guesses[n];
            match verdict {
                Verdict::Accepts | Verdict::Unsupported => guess.settled = true,
                Verdict::Refuses { at, .. } => match at.and_then(|at| guess.inst.operand_at(at)) {
                    Some(n) => guess.advance(n),
                    None => guess.given_up = true,
                },
            }
        }
    }
}
