//! Real and hostile texts.

use ptx_frontend::ast::*;
use ptx_frontend::parse::{Parsed, parse};
use std::time::{Duration, Instant};

const SAMPLE: &str = include_str!("data/sample.ptx");
const HEADER: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n";

/// What one hostile text of a few megabytes may take, on a slow machine and without optimisation.
const LONG: Duration = Duration::from_secs(20);

/// Every index of the tree is in bounds, and every span is a part of the text.
fn check(parsed: &Parsed<'_>) {
    let module = &parsed.module;
    let span = |s: hetir::diag::Span| assert!(module.text.get(s.start as usize..s.end as usize).is_some(), "{s:?}");
    for d in &parsed.diagnostics {
        d.labels.iter().for_each(|l| span(l.span));
    }
    for function in &module.functions {
        span(function.span);
        let _ = (module.name(function.name), function.returns(), function.params());
        for var in &function.vars {
            span(var.span);
            let _ = (module.name(var.name), var.bytes(), var.alignment());
        }
        let body = match &function.code {
            Code::Declared => continue,
            Code::Broken(errors) => {
                errors.iter().flat_map(|d| &d.labels).for_each(|l| span(l.span));
                continue;
            }
            Code::Body(body) => body,
        };
        span(body.span);
        for reg in &body.regs {
            let var = function.var(reg.var);
            assert!(var.space == Space::Reg && var.count().is_none_or(|n| reg.index < n));
        }
        for label in &body.labels {
            span(label.span);
            if let LabelKind::BranchTargets(list) | LabelKind::CallTargets(list) = label.kind {
                let _ = body.operands(list);
            }
        }
        for statement in &body.statements {
            match statement {
                Statement::Inst(inst) => {
                    span(inst.span);
                    let _ = (module.name(inst.opcode), body.args(inst), inst.guard.map(|g| body.regs[g.reg.index()]));
                }
                Statement::Label(label) => assert_eq!(body.labels[label.index()].kind, LabelKind::Code),
                Statement::Loc(n) => assert!((*n as usize) < body.locs.len()),
                Statement::Pragma(text) => assert!(text.index() < module.names.len()),
            }
        }
        let base = |b: Base| match b.kind() {
            BaseKind::None => {}
            BaseKind::Reg(reg) => assert!(reg.index() < body.regs.len()),
            BaseKind::Var(var) => assert!(function.var(var).space != Space::Reg),
            BaseKind::Name(name) => assert!(module.find(name).is_some(), "{}", module.name(name)),
        };
        for operand in &body.operands {
            span(operand.span);
            match operand.kind {
                OperandKind::Reg { reg, suffix, .. } => {
                    assert!(reg.index() < body.regs.len() && suffix.index() < module.names.len());
                }
                OperandKind::Special { name, .. } => assert!(module.name(name).starts_with('%')),
                OperandKind::Ref { base: b, .. } | OperandKind::Mem { base: b, .. } => base(b),
                OperandKind::Element { base: b, index, .. } => {
                    base(b);
                    assert!(index.index() < body.regs.len());
                }
                OperandKind::MemList(list) | OperandKind::Vector(list) | OperandKind::List(list) => {
                    let _ = body.operands(list);
                }
                OperandKind::Pair(at) => assert_eq!(body.operands(Operands { start: at, len: 2 }).len(), 2),
                OperandKind::Label(label) => assert!(label.index() < body.labels.len()),
                OperandKind::Int { .. } | OperandKind::F32(_) | OperandKind::F64(_) | OperandKind::Sink => {}
            }
        }
    }
}

/// The errors of a text, which must come soon.
fn hostile(text: &str) -> Vec<String> {
    let start = Instant::now();
    let parsed = parse(text);
    check(&parsed);
    let errors = parsed.strict().err().unwrap_or_default();
    let took = start.elapsed();
    assert!(took < LONG, "{took:?} for {}...", &text[..text.len().min(200)]);
    errors.into_iter().map(|d| d.message).collect()
}

fn kernel(body: &str) -> String {
    format!("{HEADER}.entry k(.param .u64 a) {{ .reg .b32 %r<10>; .reg .pred p; {body}\n}}\n")
}

#[test]
fn nvcc_output() {
    let parsed = parse(SAMPLE);
    check(&parsed);
    let module = parsed.strict().expect("the sample has no errors");
    let version = module.version.unwrap();
    assert_eq!((version.major, version.minor, module.address_size), (9, 0, 64));
    let defined: Vec<_> = module
        .functions
        .iter()
        .filter(|f| f.body().is_some())
        .map(|f| (module.name(f.name), f.is_kernel, f.returns().len(), f.params().len()))
        .collect();
    assert_eq!(
        defined,
        [
            ("_Z9fibonaccii", false, 1, 1),
            ("_Z5twicei", false, 1, 1),
            ("_Z5mixedPf4Packi", true, 0, 3),
            ("_Z7textureyP6float4", true, 0, 2),
        ]
    );
    let find = |name: &str| match module.find_text(name) {
        Some(Item::Function(n)) => &module.functions[n as usize],
        other => panic!("{name}: {other:?}"),
    };
    let mixed = find("_Z5mixedPf4Packi");
    assert_eq!((mixed.params()[1].bytes(), mixed.params()[1].alignment()), (32, 8));
    assert_eq!(mixed.directive(DirectiveKind::Maxntid).unwrap().values, [128, 1, 1]);
    assert_eq!(mixed.directive(DirectiveKind::Minnctapersm).unwrap().values[0], 2);
    let body = mixed.body().unwrap();
    let count = |opcode: &str| {
        let is = |s: &&Statement| matches!(s, Statement::Inst(i) if module.name(i.opcode) == opcode);
        body.statements.iter().filter(is).count()
    };
    assert_eq!((count("bar.sync"), count("vote.sync.any.pred"), count("shfl.sync.bfly.b32")), (1, 1, 1));
    // The registers of the assembly scope are the second declarations of their kind.
    let t1 = body.regs.iter().find(|r| module.name(r.name) == "t1").unwrap();
    assert_eq!((mixed.var(t1.var).count(), t1.index), (Some(3), 1));
    assert!(body.locs.iter().any(|l| l.inlined.is_some_and(|i| i.line == 36)));
    assert!(body.prototypes.iter().any(|p| p.returns().len() == 1 && p.params().len() == 1));
    let variable = |name: &str| match module.find_text(name) {
        Some(Item::Variable(n)) => &module.variables[n as usize],
        other => panic!("{name}: {other:?}"),
    };
    assert!(variable("managed").is_managed() && variable("dynamic").is_unsized());
    let Some(Init::Values { values, .. }) = variable("pointers").init() else { panic!("no initial value") };
    let table = module.names.find("table").unwrap();
    let address = |offset| InitValue::Address { name: table, offset, generic: true, byte: None };
    assert_eq!(values[..2], [address(0), address(8)]);
    assert_eq!(module.files[0].name.text, "sample.cu");
    assert_eq!(module.name(module.sections[0].symbol), ".debug_str");
}

#[test]
fn truncated_anywhere() {
    let complete = parse(SAMPLE).module.functions.len();
    for end in 0..SAMPLE.len() {
        let parsed = parse(&SAMPLE[..end]);
        check(&parsed);
        assert!(parsed.module.functions.len() <= complete);
        // A text that ends within a function's body is not taken for a whole one.
        let opened = SAMPLE[..end].matches('{').count();
        let closed = SAMPLE[..end].matches('}').count();
        assert!(opened == closed || parsed.strict().is_err(), "{end}");
    }
}

#[test]
fn mutated() {
    const PIECES: [&str; 32] = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        ";",
        ",",
        ".",
        ":",
        "::",
        "@",
        "!",
        "-",
        "|",
        "?",
        "\"",
        "/*",
        "*/",
        "//",
        "0x",
        "1e",
        "%",
        "_",
        " .reg .b32 x<4000000000>; ",
        " .entry ",
        ".v4",
        "\0",
        "\u{e9}",
        "99999999999999999999",
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % n
    };
    for _ in 0..3000 {
        let mut text = SAMPLE.to_owned();
        for _ in 0..1 + random(8) {
            let mut place = |text: &str| {
                let mut at = random(text.len() + 1);
                while !text.is_char_boundary(at) {
                    at -= 1;
                }
                at
            };
            let (a, b) = (place(&text), place(&text));
            let near = (a + b % 40).min(text.len());
            let near = (near..=text.len()).find(|&n| text.is_char_boundary(n)).unwrap_or(text.len());
            match random(4) {
                0 => text.replace_range(a..near, ""),
                1 => {
                    let piece = text[a..near].to_owned();
                    text.insert_str(b, &piece);
                }
                2 => text.insert_str(a, PIECES[random(PIECES.len())]),
                _ => text.replace_range(a..near, PIECES[random(PIECES.len())]),
            }
        }
        check(&parse(&text));
    }
}

#[test]
fn deep_nesting() {
    let braces = "{".repeat(100_000);
    assert_eq!(hostile(&kernel(&braces)), ["scopes are nested more than 256 deep"]);
    let closed = format!("{braces}{} .entry l() {{ ret; }}", "}".repeat(100_000));
    let text = kernel(&closed);
    assert_eq!(hostile(&text)[0], "scopes are nested more than 256 deep");
    assert_eq!(hostile(&kernel(&format!("{}{}", "{".repeat(255), "}".repeat(255)))), [""; 0]);
    let operand = |piece: &str| hostile(&kernel(&format!("mov.u32 %r1, {};", piece.repeat(1_000_000))));
    for piece in ["(", "-", "!", "~", "+", "(.s64)", "1?", "(1+"] {
        assert_eq!(operand(piece), ["this constant expression is nested more than 64 deep"], "{piece}");
    }
    assert_eq!(operand("{"), ["expected an operand of `mov.u32`, found `{`"]);
    assert_eq!(operand("["), ["expected an operand of `mov.u32`, found `[`"]);
    assert_eq!(operand("%r1[")[0], "expected `;` after the operands of `mov.u32`, found `[`");
    assert_eq!(operand("%r1|")[0], "expected `;` after the operands of `mov.u32`, found `|`");
    assert_eq!(operand("1+"), ["expected a constant, found `;`"]);
    let initialiser = format!("{HEADER}.global .u32 x = {};", "{".repeat(1_000_000));
    assert_eq!(hostile(&initialiser)[0], "expected a constant, found `{`");
    let dimensions = format!("{HEADER}.global .u32 x{};", "[1]".repeat(1_000_000));
    assert_eq!(hostile(&dimensions)[0], "an array has more than 16 dimensions");
}

#[test]
fn floods() {
    for piece in [
        ";",
        ".",
        "@",
        "\"",
        "\"\n",
        "%",
        ",",
        ":",
        "::",
        "|",
        "/",
        "/* ",
        "//",
        "#",
        "# 1 \"",
        "\0",
        "\u{e9}",
        "}",
        "x",
        "1",
        "x ",
        ".x",
        ".x ",
        "x;",
        "x:",
        "L: ",
        "x y;",
        "@p ",
        "@p ret;",
        ".reg ",
        ".reg .b32 x;",
        "{}",
        "{ .reg .b32 x<9>; ",
        "{ .reg .b32 x<9>; add x1, x2; } ",
        ".entry x() {",
        ".entry x() {}",
        ".func x;",
        ".pragma \"x\";",
        ".loc 1 1 1 ",
        "ret 1 2; ",
        ".section .a {",
        ".global .u32 x<65536>; ",
        "T: .branchtargets L<65536>; ",
        "ld .a .b .c .d",
    ] {
        let flood = piece.repeat(2_000_000 / piece.len().max(2));
        hostile(&flood);
        hostile(&format!("{HEADER}{flood}"));
        hostile(&kernel(&flood));
        hostile(&kernel(&format!("ret {flood}")));
        hostile(&format!("{HEADER}.global .u32 x[] = {{{flood}"));
    }
}

#[test]
fn names_and_numbers_without_end() {
    for name in ["x".repeat(1_000_000), format!("x{}", "1".repeat(1_000_000)), "9".repeat(1_000_000)] {
        for text in [format!("add.s32 {name}, 1, 2;"), format!("add.{name} 1;"), format!("{name}: bra {name};")] {
            hostile(&kernel(&text));
        }
        hostile(&format!("{HEADER}.global .u32 {name};"));
    }
    let found = hostile(&kernel(&format!("mov.u32 %r1, {};", "9".repeat(1_000_000))));
    assert_eq!(found, [format!("`{}...` does not fit in 64 bits", "9".repeat(60))]);
}

#[test]
fn work_grows_with_the_text_only() {
    // Names that wait through many scopes for a label.
    let waiting = format!("{}{}{}", "{".repeat(250), "bra L; ".repeat(200_000), "}".repeat(250));
    assert_eq!(hostile(&kernel(&waiting)).len(), 20);
    // Ranges that hide each other, and names with many ways to be split.
    let mut hiding = String::new();
    for _ in 0..200 {
        hiding.push_str("{ .reg .b32 x<2>, x1<2>, x11<2>, x111<2>, x1111<2>, x11111<2>, x111111<2>;");
    }
    hiding.push_str("x1111119: ");
    hiding.push_str(&"add.s32 x1111111, x111110, 1; ".repeat(50_000));
    hiding.push_str(&"}".repeat(200));
    assert_eq!(hostile(&kernel(&hiding)), [""; 0]);
    // Many functions after one with many names.
    let mut many = format!("{HEADER}.func a() {{ ");
    (0..100_000).for_each(|i| many.push_str(&format!(".reg .b32 v{i}_<3>; ")));
    many.push_str("}\n");
    (0..50_000).for_each(|i| many.push_str(&format!(".func f{i}() {{ .reg .b32 v1_<2>; mov.b32 v1_1, 0; }}\n")));
    assert_eq!(hostile(&many), [""; 0]);
    // Errors everywhere.
    let mut wrong = HEADER.to_owned();
    (0..100_000).for_each(|i| wrong.push_str(&format!(".func f{i}() {{ ret 1 2; }}\n")));
    assert_eq!(hostile(&wrong).len(), 200);
    assert_eq!(parse(&wrong).module.functions.iter().filter(|f| f.body().is_none()).count(), 100_000);
}
