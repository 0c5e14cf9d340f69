//! The sweep: for each form of arithmetic and conversion, with each choice of its words, a kernel that applies it to
//! many inputs, edge values first. It is run on the interpreter and on another device, and the results are compared.

use hetir::num::{Approx, Format};
use ptx_frontend::{FormInfo, forms};

/// What an operand is, as far as a register and a buffer are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// Bits of this width, meant as an integer.
    Int(u32),
    /// A float, or several lanes of one.
    Float(Format, u32),
    /// A predicate: true where bit 0 of a 32-bit number is set.
    Predicate,
}

impl Operand {
    fn of(ty: &str) -> Option<Self> {
        Some(match ty {
            "f16" => Self::Float(Format::F16, 1),
            "f16x2" => Self::Float(Format::F16, 2),
            "bf16" => Self::Float(Format::Bf16, 1),
            "bf16x2" => Self::Float(Format::Bf16, 2),
            "f32" | "tf32" => Self::Float(Format::F32, 1),
            "f32x2" => Self::Float(Format::F32, 2),
            "f64" => Self::Float(Format::F64, 1),
            "pred" => Self::Predicate,
            "u16x2" | "s16x2" => Self::Int(32),
            "e4m3x2" | "e5m2x2" | "e2m3x2" | "e3m2x2" | "ue8m0x2" => Self::Int(16),
            "e2m1x2" => Self::Int(8),
            _ => Self::Int(ty.get(1..)?.parse().ok().filter(|b| [8, 16, 32, 64].contains(b))?),
        })
    }
    /// Bytes in a buffer.
    pub fn bytes(self) -> usize {
        match self {
            Self::Int(bits) => bits as usize / 8,
            Self::Float(format, lanes) => (format.bits() * lanes) as usize / 8,
            Self::Predicate => 4,
        }
    }
}

/// One kernel of the sweep.
#[derive(Clone, Debug)]
pub struct Case {
    /// Syntax line of its form.
    pub syntax: &'static str,
    /// Number of its form.
    pub form: usize,
    /// The opcode.
    pub opcode: String,
    /// What it reads, a buffer each.
    pub inputs: Vec<Operand>,
    /// What it writes, a buffer each.
    pub outputs: Vec<Operand>,
    /// The function, where the result need only be near the exact value.
    pub approx: Option<Approx>,
    instructions: Vec<String>,
}

/// Threads of a block of a case's kernel.
pub const BLOCK: u32 = 128;

impl Case {
    /// The kernel, under this name. Its parameters are the addresses of the inputs, then of the outputs.
    pub fn kernel(&self, name: &str) -> String {
        let count = self.inputs.len() + self.outputs.len();
        let params: Vec<String> = (0..count).map(|n| format!("\t.param .u64 p{n}")).collect();
        let mut text = format!(".visible .entry {name}(\n{}\n)\n{{\n", params.join(",\n"));
        text += "\t.reg .b16 %h<40>;\n\t.reg .b32 %r<40>;\n\t.reg .b64 %d<40>;\n\t.reg .pred %p<40>;\n";
        text += "\t.reg .b8 %t;\n\t.reg .b32 %i, %n;\n\t.reg .b64 %a, %w;\n";
        text += "\tmov.u32 %i, %ctaid.x;\n\tmov.u32 %n, %ntid.x;\n\tmul.lo.u32 %i, %i, %n;\n";
        text += "\tmov.u32 %n, %tid.x;\n\tadd.u32 %i, %i, %n;\n";
        let place = |n: usize, size: usize| {
            format!("\tld.param.u64 %a, [p{n}];\n\tmul.wide.u32 %w, %i, {size};\n\tadd.u64 %a, %a, %w;\n")
        };
        for (n, operand) in self.inputs.iter().enumerate() {
            text += &place(n, operand.bytes());
            let bits = operand.bytes() * 8;
            text += &match operand {
                Operand::Predicate => {
                    format!(
                        "\tld.global.b32 %r{n}, [%a];\n\tand.b32 %r{n}, %r{n}, 1;\n\tsetp.ne.u32 %p{n}, %r{n}, 0;\n"
                    )
                }
                _ => format!("\tld.global.b{bits} {}, [%a];\n", register(*operand, n)),
            };
        }
        for line in &self.instructions {
            text += &format!("\t{line};\n");
        }
        for (k, operand) in self.outputs.iter().enumerate() {
            let n = self.inputs.len() + k;
            text += &place(n, operand.bytes());
            let bits = operand.bytes() * 8;
            text += &match operand {
                Operand::Predicate => format!("\tselp.b32 %r{n}, 1, 0, %p{n};\n\tst.global.b32 [%a], %r{n};\n"),
                _ => format!("\tst.global.b{bits} [%a], {};\n", register(*operand, n)),
            };
        }
        text + "\tret;\n}\n"
    }
}

/// What stands before the kernels.
pub const HEADER: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n";

fn register(operand: Operand, n: usize) -> String {
    match operand.bytes() {
        _ if operand == Operand::Predicate => format!("%p{n}"),
        1 | 2 => format!("%h{n}"),
        4 => format!("%r{n}"),
        _ => format!("%d{n}"),
    }
}

/// The instructions whose forms are swept.
const SWEPT: &[&str] = &[
    "add",
    "sub",
    "mul",
    "mad",
    "mul24",
    "mad24",
    "sad",
    "div",
    "rem",
    "abs",
    "neg",
    "min",
    "max",
    "addc",
    "subc",
    "madc",
    "and",
    "or",
    "xor",
    "not",
    "cnot",
    "shl",
    "shr",
    "shf",
    "popc",
    "clz",
    "brev",
    "bfind",
    "bfe",
    "bfi",
    "bmsk",
    "fns",
    "szext",
    "lop3",
    "prmt",
    "dp4a",
    "dp2a",
    "setp",
    "set",
    "selp",
    "slct",
    "fma",
    "rcp",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "lg2",
    "ex2",
    "tanh",
    "copysign",
    "testp",
    "cvt",
    "vadd",
    "vsub",
    "vabsdiff",
    "vmin",
    "vmax",
    "vset",
    "vshl",
    "vshr",
    "vmad",
    "vadd2",
    "vsub2",
    "vavrg2",
    "vabsdiff2",
    "vmin2",
    "vmax2",
    "vset2",
    "vadd4",
    "vsub4",
    "vavrg4",
    "vabsdiff4",
    "vmin4",
    "vmax4",
    "vset4",
];

/// Most combinations of words of one form.
const MOST: usize = 600;

/// Every case. Combinations that the front end refuses are left out.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for form in forms().filter(|f| SWEPT.contains(&f.base)) {
        let mut random = Random::new(seed(form.syntax));
        let mut combinations = choices(&form);
        while combinations.len() > MOST {
            let n = random.next() as usize % combinations.len();
            combinations.swap_remove(n);
        }
        // Scalar video instructions select parts of their operands: several choices of them.
        let repeats = if form.base.starts_with('v') && !form.base.ends_with(['2', '4']) { SELECTORS.len() } else { 1 };
        for (words, repeat) in combinations.iter().flat_map(|words| (0..repeats).map(move |repeat| (words, repeat))) {
            if let Some(case) = case(&form, words, repeat, &mut random) {
                let text = format!("{HEADER}{}", case.kernel("k"));
                let lifted = ptx_frontend::lift_text(&text, ptx_frontend::Options::default());
                if lifted.into_result().is_ok() {
                    all.push(case);
                }
            }
        }
    }
    all
}

/// All combinations of a form's words.
fn choices(form: &FormInfo) -> Vec<Vec<&'static str>> {
    form.choices.iter().fold(vec![Vec::new()], |all, (_, words)| {
        all.iter()
            .flat_map(|head| {
                words.iter().map(|word| {
                    let mut head = head.clone();
                    head.push(*word);
                    head
                })
            })
            .collect()
    })
}

fn case(form: &FormInfo, words: &[&'static str], repeat: usize, random: &mut Random) -> Option<Case> {
    let word = |part: &str| {
        let place = form.choices.iter().position(|(name, _)| *name == part)?;
        words.get(place).copied().filter(|w| !w.is_empty())
    };
    // The opcode: the parts in the syntax line's order, chosen words in place of those with a choice.
    let (pattern, operands) = form.syntax.split_once(' ')?;
    let mut opcode = form.base.to_string();
    let mut parts = Vec::new();
    for name in pattern[form.base.len()..].split(['.', '{', '}']).filter(|n| !n.is_empty()) {
        let chosen = form.choices.iter().any(|(n, _)| *n == name);
        if let Some(text) = if chosen { word(name) } else { Some(name) } {
            opcode += &format!(".{text}");
            parts.push((name, text));
        }
    }
    let has = |name: &str| parts.iter().any(|(_, text)| *text == name);
    let ty = word("type").or_else(|| parts.iter().rev().map(|(_, t)| *t).find(|t| Operand::of(t).is_some()))?;
    let of = Operand::of;
    let own = of(ty)?;
    let count = operands.matches(',').count();
    let u32 = Operand::Int(32);
    let mut inputs = vec![own; count];
    let mut outputs = vec![own];
    let mut suffixes: [String; 4] = Default::default();
    let mut constants: Vec<(usize, String)> = Vec::new();
    match form.base {
        "mul" | "mad" if has("wide") => {
            let Operand::Int(bits) = own else { return None };
            outputs = vec![Operand::Int(2 * bits)];
            if form.base == "mad" {
                inputs[2] = Operand::Int(2 * bits);
            }
        }
        "shl" | "shr" => inputs[1] = u32,
        "popc" | "clz" | "bfind" => outputs = vec![u32],
        "bfe" => (inputs[1], inputs[2]) = (u32, u32),
        "bfi" => (inputs[2], inputs[3]) = (u32, u32),
        "lop3" => {
            constants.push((3, format!("{}", random.next() % 256)));
            if inputs.len() == 5 {
                inputs[4] = Operand::Predicate;
                outputs.push(Operand::Predicate);
            }
        }
        "setp" => {
            outputs = vec![Operand::Predicate; if operands.contains('q') { 2 } else { 1 }];
            if inputs.len() == 3 {
                inputs[2] = Operand::Predicate;
            }
        }
        "set" => {
            outputs = vec![of(word("dtype")?)?];
            if inputs.len() == 3 {
                inputs[2] = Operand::Predicate;
            }
        }
        "selp" => inputs[2] = Operand::Predicate,
        "slct" => {
            let data = of(word("dtype")?)?;
            let by = if has("s32") && parts.last().is_some_and(|p| p.1 == "s32") { u32 } else { of("f32")? };
            inputs = vec![data, data, by];
            outputs = vec![data];
        }
        "testp" => outputs = vec![Operand::Predicate],
        "fma" if word("abtype").is_some() => {
            let half = of(word("abtype")?)?;
            inputs = vec![half, half, of("f32")?];
            outputs = vec![of("f32")?];
        }
        "add" | "sub" if word("atype").is_some() => {
            inputs = vec![of(word("atype")?)?, of("f32")?];
            outputs = vec![of("f32")?];
        }
        "dp4a" | "dp2a" => (inputs, outputs) = (vec![u32; 3], vec![u32]),
        "cvt" => {
            let packed = pattern.contains("pack");
            let random_bits = pattern.contains(".rs");
            let from = parts.last()?.1;
            if packed {
                inputs = vec![u32; count];
                outputs = vec![if count == 2 { Operand::Int(32) } else { u32 }];
            } else {
                let to = parts.get(parts.len().checked_sub(2)?)?.1;
                outputs = vec![of(to).or_else(|| four(to))?];
                inputs = vec![of(from)?; count];
                if random_bits {
                    inputs = match operands.contains('v') {
                        true => vec![of("f32")?; 4],
                        false => vec![of("f32")?; 2],
                    };
                    inputs.push(u32);
                }
            }
        }
        base if base.starts_with('v') => {
            (inputs, outputs) = (vec![u32; count], vec![u32]);
            let lanes = base.chars().last().and_then(|c| c.to_digit(10));
            for suffix in suffixes.iter_mut().take(3).skip(1) {
                *suffix = match lanes {
                    // Only whole words reach the limits of a word.
                    None if repeat == 0 => String::new(),
                    _ if random.next().is_multiple_of(4) => String::new(),
                    None => format!(".{}", SELECTORS[random.next() as usize % SELECTORS.len()]),
                    Some(n) => {
                        let digits = (0..n).map(|_| char::from(b'0' + (random.next() % (2 * u64::from(n))) as u8));
                        format!(".{}{}", if n == 2 { 'h' } else { 'b' }, digits.collect::<String>())
                    }
                };
            }
            if operands.contains("d.dsel") {
                suffixes[0] = format!(".{}", SELECTORS[repeat]);
            } else if lanes == Some(2) {
                suffixes[0] = ["", ".h0", ".h1", ".h10"][random.next() as usize % 4].to_string();
            } else if lanes == Some(4) {
                suffixes[0] = ["", ".b0", ".b21", ".b320", ".b3210"][random.next() as usize % 5].to_string();
            }
        }
        _ => {}
    }
    let mut names: Vec<String> = inputs.iter().enumerate().map(|(n, o)| register(*o, n)).collect();
    for (n, text) in constants {
        names[n] = text;
    }
    if form.base == "vmad" && operands.contains("{-}") {
        // At most one operand may be negated, and then only where nothing is added.
        let n = random.next() as usize % 4;
        if n < 3 && random.next().is_multiple_of(2) {
            names[n] = format!("-{}", names[n]);
        }
    }
    for (name, suffix) in names.iter_mut().zip(&suffixes[1..]) {
        *name += suffix;
    }
    let first = inputs.len();
    let mut result: Vec<String> = outputs.iter().enumerate().map(|(k, o)| register(*o, first + k)).collect();
    result[0] += &suffixes[0];
    let mut instructions = Vec::new();
    if form.base == "cvt" && pattern.contains(".rs") {
        let (values, bits) = names.split_at(names.len() - 1);
        let values = if values.len() == 4 { format!("{{{}}}", values.join(", ")) } else { values.join(", ") };
        instructions.push(format!("{opcode} {}, {values}, {}", result[0], bits[0]));
    } else {
        let carry_in = matches!(form.base, "addc" | "subc" | "madc");
        if carry_in {
            // The carry flag is the lowest bit of the first operand.
            let part = if ty.ends_with("64") { "64" } else { "32" };
            let prefix = if part == "64" { "%d30" } else { "%r30" };
            instructions.push(format!("and.b{part} {prefix}, {}, 1", names[0]));
            let op = if form.base == "subc" {
                format!("sub.cc.u{part} {prefix}, 0, {prefix}")
            } else {
                format!("add.cc.u{part} {prefix}, {prefix}, -1")
            };
            instructions.push(op);
        }
        instructions.push(format!("{opcode} {}, {}", result.join("|"), names.join(", ")));
        if has("cc") {
            outputs.push(Operand::Int(32));
            let op = if matches!(form.base, "sub" | "subc") { "subc" } else { "addc" };
            instructions.push(format!("{op}.u32 %r{}, 0, 0", first + outputs.len() - 1));
        }
    }
    if outputs.iter().any(|o| o.bytes() == 1) || inputs.iter().any(|o| o.bytes() == 1) {
        narrow_registers(form, &mut instructions, &outputs, first);
    }
    Some(Case {
        syntax: form.syntax,
        form: form.index,
        opcode,
        inputs,
        outputs,
        approx: approximation(form.base, pattern),
        instructions,
    })
}

const SELECTORS: [&str; 6] = ["b0", "b1", "b2", "b3", "h0", "h1"];

/// Four narrow floats together.
fn four(name: &str) -> Option<Operand> {
    match name {
        "e4m3x4" | "e5m2x4" | "e2m3x4" | "e3m2x4" => Some(Operand::Int(32)),
        "e2m1x4" => Some(Operand::Int(16)),
        _ => None,
    }
}

/// A conversion to or from two 4-bit floats takes 8-bit registers, which nothing else does.
fn narrow_registers(form: &FormInfo, instructions: &mut Vec<String>, outputs: &[Operand], first: usize) {
    if !form.syntax.contains("narrow") {
        return;
    }
    let line = instructions[0].clone();
    let (op, rest) = line.split_once(' ').unwrap_or((&line, ""));
    let (d, sources) = rest.split_once(", ").unwrap_or((rest, ""));
    *instructions = if outputs[0].bytes() == 1 {
        vec![format!("{op} %t, {sources}"), format!("cvt.u16.u8 %h{first}, %t")]
    } else {
        vec![format!("cvt.u8.u16 %t, {sources}"), format!("{op} {d}, %t")]
    };
}

fn approximation(base: &str, pattern: &str) -> Option<Approx> {
    if pattern.contains("mode") && base == "div" {
        return Some(Approx::DivFull);
    }
    if !pattern.contains("approx") {
        return None;
    }
    Some(match base {
        "rcp" => Approx::Rcp,
        "rsqrt" => Approx::Rsqrt,
        "sqrt" => Approx::Sqrt,
        "sin" => Approx::Sin,
        "cos" => Approx::Cos,
        "lg2" => Approx::Lg2,
        "ex2" => Approx::Ex2,
        _ => Approx::Tanh,
    })
}

/// The seed of a form: the same as long as its syntax line is.
fn seed(syntax: &str) -> u64 {
    syntax.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// A small generator of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The inputs of a case: `count` elements for each operand. The first are all pairs of edge values.
pub fn inputs(case: &Case, count: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(!seed(case.syntax));
    let edges: Vec<Vec<u64>> = case.inputs.iter().map(|o| edges(*o)).collect();
    let mut buffers: Vec<Vec<u8>> = case.inputs.iter().map(|o| Vec::with_capacity(o.bytes() * count)).collect();
    let length = |k: usize| edges.get(k).map_or(1, Vec::len);
    let pairs = (length(0) * length(1)).min(count / 4 * 3);
    for n in 0..count {
        for (k, (operand, buffer)) in case.inputs.iter().zip(&mut buffers).enumerate() {
            let edges = &edges[k];
            let value = match k {
                0 if n < pairs => edges[n % edges.len()],
                1 if n < pairs => edges[n / length(0) % edges.len()],
                _ if n < pairs => edges[random.next() as usize % edges.len()],
                _ => random_value(*operand, edges, &mut random),
            };
            buffer.extend_from_slice(&value.to_le_bytes()[..operand.bytes()]);
        }
    }
    buffers
}

fn random_value(operand: Operand, edges: &[u64], random: &mut Random) -> u64 {
    let any = random.next();
    match random.next() % 8 {
        0 => edges[any as usize % edges.len()],
        1 => any >> (random.next() % 64),
        2 if matches!(operand, Operand::Int(_)) => any % 70,
        // Floats near one another in magnitude: the exponent of a small number, random sign and mantissa.
        2..=4 if matches!(operand, Operand::Float(_, 1)) => {
            let Operand::Float(format, _) = operand else { return any };
            let one = format.one();
            let exponent = (random.next() % 9) << format.mantissa_bits();
            (one.wrapping_sub(4 << format.mantissa_bits()).wrapping_add(exponent))
                ^ (any & (format.sign_bit() | ((1 << format.mantissa_bits()) - 1)))
        }
        _ => any,
    }
}

/// Values at which something changes.
fn edges(operand: Operand) -> Vec<u64> {
    match operand {
        Operand::Predicate => vec![0, 1],
        Operand::Int(bits) => {
            let top = 1u64 << (bits - 1);
            let mut all = vec![0, 1, 2, 3, 7, 8, 15, 16, 23, 24, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256];
            all.extend([top, top - 1, top + 1, top << 1, (top << 1).wrapping_sub(1), u64::MAX, u64::MAX - 1]);
            all.extend([
                0x5555_5555_5555_5555,
                0xaaaa_aaaa_aaaa_aaaa,
                0x8000,
                0x7fff,
                0xffff,
                0x1_0000,
                0xff80,
                0xff7f,
            ]);
            all.extend([0x8000_0000, 0x7fff_ffff, 0xffff_ffff, 0x00ff_00ff, 0x0102_0408_1020_4080]);
            all
        }
        Operand::Float(format, lanes) => {
            let (m, inf, one) = (format.mantissa_bits(), format.infinity(), format.one());
            let min = 1u64 << m;
            let step = 1u64 << m;
            let mut all =
                vec![0, 1, 2, min - 1, min, min + 1, one, one + 1, one - 1, one + step, one - step, inf, inf - 1];
            all.extend([inf + 1, inf | (min >> 1), inf | (min - 1), one + (min >> 1), one + step + (min >> 1)]);
            all.extend([1, 8, 11, 23, 24, 31, 32, 52, 63, 64].map(|e| one.wrapping_add(e << m) % inf.max(1)));
            all.extend([1, 8, 11, 14, 15, 24, 25].map(|e| one.saturating_sub(e << m)));
            let negative: Vec<u64> = all.iter().map(|v| v | format.sign_bit()).collect();
            all.extend(negative);
            if lanes == 2 {
                let n = all.len();
                all = (0..n).map(|i| all[i] | (all[(i * 7 + 3) % n] << format.bits())).collect();
            }
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_swept_instruction_has_cases() {
        let cases = cases();
        for base in SWEPT {
            assert!(cases.iter().any(|c| c.opcode.split('.').next() == Some(base)), "no case of {base}");
        }
        assert!(cases.len() > 1500, "{}", cases.len());
    }

    #[test]
    fn edges_come_in_all_combinations() {
        let case = cases().into_iter().find(|c| c.opcode == "div.s32").expect("div.s32 is swept");
        let buffers = inputs(&case, 8192);
        let at = |b: &[u8], n: usize| i32::from_le_bytes(b[4 * n..][..4].try_into().unwrap());
        let pairs: Vec<(i32, i32)> = (0..8192).map(|n| (at(&buffers[0], n), at(&buffers[1], n))).collect();
        assert!(pairs.contains(&(i32::MIN, -1)) && pairs.contains(&(1, 0)) && pairs.contains(&(0, 0)));
    }
}
