//! Small texts, the facts their trees must hold, and the messages of wrong ones.

use super::{Parsed, parse};
use crate::ast::*;
use hetir::diag::{Diagnostic, line_column};
use std::fmt::Write;

const HEADER: &str = ".version 9.0 .target sm_90a .address_size 64\n";

fn module(text: &str) -> String {
    format!("{HEADER}{text}")
}

/// A kernel whose body, from line 3 on, is given.
fn kernel(body: &str) -> String {
    module(&format!(
        ".entry k(.param .u64 a) {{ .reg .b32 %r<10>; .reg .b64 %rd<10>; .reg .pred %p<4>; .reg .v4 .f32 v;\n{body}\n}}"
    ))
}

fn accept(text: &str) -> Module<'_> {
    match parse(text).strict() {
        Ok(module) => module,
        Err(errors) => panic!("{}", hetir::diag::render(&errors, "test.ptx", text)),
    }
}

fn errors(text: &str) -> Vec<Diagnostic> {
    parse(text).strict().err().unwrap_or_default()
}

/// `line:column message` of every error, one a line.
fn messages(text: &str) -> String {
    let mut out = String::new();
    for d in errors(text) {
        let (line, column) = d.span().map_or((0, 0), |s| line_column(text, s.start));
        writeln!(out, "{line}:{column} {}", d.message).unwrap();
    }
    out.trim_end().to_owned()
}

/// The tree of a body as text: registers as they are, with `#n` after the register's number of declaration;
/// `<special>`, `&reference`, `[memory]`, `label:`.
struct Show<'a> {
    module: &'a Module<'a>,
    function: &'a Function,
    body: &'a Body,
}

impl Show<'_> {
    fn reg(&self, reg: RegId) -> String {
        let reg = self.body.regs[reg.index()];
        format!("{}#{}", self.module.name(reg.name), reg.var.index())
    }
    fn base(&self, base: Base) -> String {
        match base.kind() {
            BaseKind::None => "none".into(),
            BaseKind::Reg(reg) => self.reg(reg),
            BaseKind::Var(var) => format!("{}#{}", self.module.name(self.function.var(var).name), var.index()),
            BaseKind::Name(name) => self.module.name(name).to_owned(),
        }
    }
    fn list(&self, operands: Operands) -> String {
        let shown: Vec<_> = self.body.operands(operands).iter().map(|o| self.operand(o)).collect();
        shown.join(" ")
    }
    fn operand(&self, operand: &Operand) -> String {
        let name = |s| self.module.name(s);
        let mark = |m| match m {
            Mark::None => "",
            Mark::Not => "!",
            Mark::Neg => "-",
        };
        let dot = |s: Symbol| if s.is_empty() { String::new() } else { format!(".{}", name(s)) };
        match operand.kind {
            OperandKind::Reg { reg, suffix, mark: m } => format!("{}{}{}", mark(m), self.reg(reg), dot(suffix)),
            OperandKind::Special { name: n, component, mark: m } => {
                format!("{}<{}{}>", mark(m), name(n), dot(component))
            }
            OperandKind::Int { bits, unsigned: true } => format!("{bits}U"),
            OperandKind::Int { bits, unsigned: false } => format!("{}", bits as i64),
            OperandKind::F32(bits) => format!("0f{bits:08X}"),
            OperandKind::F64(bits) => format!("0d{bits:016X}"),
            OperandKind::Ref { base, offset } => format!("&{}+{offset}", self.base(base)),
            OperandKind::Mem { base, offset } => format!("[{}+{offset}]", self.base(base)),
            OperandKind::Element { base, index, offset, scale, memory } => {
                let text = format!("{}+{}*{scale}+{offset}", self.base(base), self.reg(index));
                if memory { format!("[{text}]") } else { format!("&{text}") }
            }
            OperandKind::MemList(list) => format!("[{}]", self.list(list)),
            OperandKind::Label(label) => format!("{}:", name(self.body.labels[label.index()].name)),
            OperandKind::Vector(list) => format!("{{{}}}", self.list(list)),
            OperandKind::List(list) => format!("({})", self.list(list)),
            OperandKind::Pair(at) => self.list(Operands { start: at, len: 2 }).replace(' ', "|"),
            OperandKind::Sink => "_".into(),
        }
    }
    fn statement(&self, statement: &Statement) -> String {
        match statement {
            Statement::Inst(inst) => {
                let guard = inst
                    .guard
                    .map_or(String::new(), |g| format!("@{}{} ", if g.negated { "!" } else { "" }, self.reg(g.reg)));
                let unified = if inst.unified { " unified" } else { "" };
                let operands = self.list(inst.operands());
                format!("{guard}{} {operands}{unified}", self.module.name(inst.opcode)).trim().to_owned()
            }
            Statement::Label(label) => format!("{}:", self.module.name(self.body.labels[label.index()].name)),
            Statement::Loc(n) => format!("{:?}", self.body.locs[*n as usize]),
            Statement::Pragma(text) => format!("pragma {}", self.module.name(*text)),
        }
    }
}

/// The statements of the last function, separated by ` / `.
fn statements(text: &str) -> String {
    let module = accept(text);
    let function = module.functions.last().unwrap();
    let show = Show { module: &module, function, body: function.body().unwrap() };
    let shown: Vec<_> = show.body.statements.iter().map(|s| show.statement(s)).collect();
    shown.join(" / ")
}

/// The only operand after `mov.u64 %rd1, `.
fn constant(text: &str) -> String {
    let shown = statements(&kernel(&format!("mov.u64 %rd1, {text};")));
    shown.strip_prefix("mov.u64 %rd1#2 ").unwrap().to_owned()
}

#[test]
fn operands() {
    // Declarations: 0 a, 1 %r, 2 %rd, 3 %p, 4 v, then those of the text.
    for (text, expected) in [
        ("ret;", "ret"),
        ("add.s32 %r1, %r2, 3;", "add.s32 %r1#1 %r2#1 3"),
        ("add.s32%r1,%r2,3;", "add.s32 %r1#1 %r2#1 3"),
        ("add /* x */ .s32 // y\n %r1, %r2, 3 ;", "add.s32 %r1#1 %r2#1 3"),
        (
            "ld.global.L1::evict_last.L2::128B.b32 %r1, [%rd1];",
            "ld.global.L1::evict_last.L2::128B.b32 %r1#1 [%rd1#2+0]",
        ),
        ("ld .global .L2::128B .b32 %r1, [%rd1];", "ld.global.L2::128B.b32 %r1#1 [%rd1#2+0]"),
        ("tex.1d.v4.f32.f32 v, [%rd1, {v.x}];", "tex.1d.v4.f32.f32 v#4 [%rd1#2 {v#4.x}]"),
        ("@%p1 ret; @!%p1 ret; @ ! %p2 ret;", "@%p1#3 ret / @!%p1#3 ret / @!%p2#3 ret"),
        ("mov.u32 %r1, %tid.x; mov.u64 %rd1, %clock64;", "mov.u32 %r1#1 <%tid.x> / mov.u64 %rd1#2 <%clock64>"),
        ("mov.b32 %r1, v.w; mov.b32 v.r, %r2;", "mov.b32 %r1#1 v#4.w / mov.b32 v#4.r %r2#1"),
        ("vadd.u32.u32.u32 %r1.h1, %r2.b3, -%r3.b0, %r4;", "vadd.u32.u32.u32 %r1#1.h1 %r2#1.b3 -%r3#1.b0 %r4#1"),
        ("setp.eq.and.u32 %p1|%p2, %r1, 1, !%p3;", "setp.eq.and.u32 %p1#3|%p2#3 %r1#1 1 !%p3#3"),
        (
            "setp.eq.u32 %p1 | _, %r1, 1; setp.eq.u32 _|%p1, %r1, 1;",
            "setp.eq.u32 %p1#3|_ %r1#1 1 / setp.eq.u32 _|%p1#3 %r1#1 1",
        ),
        ("mov.b64 {%r1, _}, %rd1; mov.b64 %rd1, {%r1, 2+3};", "mov.b64 {%r1#1 _} %rd1#2 / mov.b64 %rd1#2 {%r1#1 5}"),
        (
            "ld.param.u64 %rd1, [a]; ld.param.u64 %rd1, [a+8];",
            "ld.param.u64 %rd1#2 [a#0+0] / ld.param.u64 %rd1#2 [a#0+8]",
        ),
        (
            "ld.b32 %r1, [%rd1+-4]; ld.b32 %r1, [ %rd1 + 4 * 2 ].unified;",
            "ld.b32 %r1#1 [%rd1#2+-4] / ld.b32 %r1#1 [%rd1#2+8] unified",
        ),
        (
            "ld.b32 %r1, [16]; ld.b32 %r1, [-16]; ld.b32 %r1, [%rd1+0x180000000];",
            "ld.b32 %r1#1 [none+16] / ld.b32 %r1#1 [none+-16] / ld.b32 %r1#1 [%rd1#2+6442450944]",
        ),
        (
            "mov.u64 %rd1, k; mov.u64 %rd1, a; mov.u64 %rd1, a+4; mov.u32 %r1, %r2+4;",
            "mov.u64 %rd1#2 &k+0 / mov.u64 %rd1#2 &a#0+0 / mov.u64 %rd1#2 &a#0+4 / mov.u32 %r1#1 &%r2#1+4",
        ),
        (
            ".shared .b32 s[4]; ld.shared.b32 %r1, s[2]; mov.u64 %rd1, s[2]; ld.b32 %r1, s[%r2+1]; mov.b32 %r1, s[%r2];",
            "ld.shared.b32 %r1#1 [s#5+8] / mov.u64 %rd1#2 &s#5+8 / ld.b32 %r1#1 [s#5+%r2#1*4+4] / mov.b32 %r1#1 &s#5+%r2#1*4+0",
        ),
        // The index of an array of vectors counts scalars.
        (".shared .v2 .b32 s[4]; ld.shared.b32 %r1, s[1];", "ld.shared.b32 %r1#1 [s#5+4]"),
        (
            "cp.async.bulk.tensor.2d.x [%r1], [%rd1, {%r2, 0}], [%r3], {1};",
            "cp.async.bulk.tensor.2d.x [%r1#1+0] [%rd1#2 {%r2#1 0}] [%r3#1+0] {1}",
        ),
        (
            "mov.f32 v.x, 0f3F800000; mov.f64 %rd1, 0D3ff0000000000000; mov.f64 %rd1, 1.5e-3;",
            "mov.f32 v#4.x 0f3F800000 / mov.f64 %rd1#2 0d3FF0000000000000 / mov.f64 %rd1#2 0d3F589374BC6A7EFA",
        ),
        (
            "call f; call.uni (%r1), f, (%r2, 3, a, _); call (%r1), %rd1, (), P; f: P: .callprototype _;",
            "call f: / call.uni (%r1#1) f: (%r2#1 3 &a#0+0 _) / call (%r1#1) %rd1#2 () P: / f:",
        ),
        ("mov.b32 %r01, %r000003;", "mov.b32 %r1#1 %r3#1"),
        ("bar.sync 0; bar.sync 0, WARP_SZ; bar.sync WARP_SZ + 1;", "bar.sync 0 / bar.sync 0 32 / bar.sync 33"),
        (".pragma \"nounroll\"; .pragma \"a\", \"b\";", "pragma nounroll / pragma a / pragma b"),
        ("@@DWARF .byte 1, 2;{\nret;", "ret"),
        (".reg .b32; ret;", "ret"),
        ("# 1 \"x.cu\" 3 (\nret;", "ret"),
    ] {
        assert_eq!(statements(&kernel(text)), expected, "{text}");
    }
}

#[test]
fn constants() {
    for (text, expected) in [
        ("0", "0"),
        ("017", "15"),
        ("0x1F", "31"),
        ("0X1fU", "31U"),
        ("0b101", "5"),
        ("12U", "12U"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775808U"),
        ("0xFFFFFFFFFFFFFFFF", "18446744073709551615U"),
        ("-1", "-1"),
        ("- - 1", "1"),
        ("+1", "1"),
        ("~0", "18446744073709551615U"),
        ("!5", "0"),
        ("!!5", "1"),
        ("WARP_SZ - 33", "-1"),
        ("-WARP_SZ", "-32"),
        ("2 + 3 * 4 - 1", "13"),
        ("(2 + 3) * 4", "20"),
        ("10 - 4 - 3", "3"),
        ("-7 / 2", "-3"),
        ("-1 / 2U", "9223372036854775807U"),
        ("0xFFFFFFFFFFFFFFFF / 2", "9223372036854775807U"),
        // `%` works on unsigned numbers: 2^64 - 7 is 0 modulo 3.
        ("-7 % 3", "0U"),
        ("7 % -3", "7U"),
        ("-2 >> 1", "-1"),
        ("-2U >> 1", "9223372036854775807U"),
        ("1 << 65", "2"),
        ("1 << -1", "-9223372036854775808"),
        ("-1 >> 0U", "-1"),
        ("-1 < 0", "1"),
        ("-1 < 0U", "0"),
        ("5 > 3 > 1", "0"),
        ("1 < 2 == 1", "1"),
        ("1 | 2 ^ 3 & 4 == 4", "3"),
        ("1 | 8 && 0", "0"),
        ("0 || 2", "1"),
        ("-2 | 0U", "18446744073709551614U"),
        ("-2 & -1", "-2"),
        ("1 ? -2 : 2U", "-2"),
        ("0 ? -2 : 2U", "2U"),
        ("1 ? 2 : 0 ? 3 : 4", "2"),
        ("0 ? 2 : 0 ? 3 : 4", "4"),
        ("(.s64)~0 >> 1", "-1"),
        ("(.u64)-2 >> 1", "9223372036854775807U"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
        ("(.s64)0x8000000000000000 / -1", "-9223372036854775808"),
        ("1.5 * 2.0 - 1.0 / 4.0", "0d4006000000000000"),
        ("-1.5", "0dBFF8000000000000"),
        ("1.", "0d3FF0000000000000"),
        (".5", "0d3FE0000000000000"),
        ("1E+3", "0d408F400000000000"),
        ("1.5 > 1.0", "1"),
    ] {
        assert_eq!(constant(text), expected, "{text}");
    }
}

#[test]
fn wrong_constants() {
    for (text, expected) in [
        ("18446744073709551616", "`18446744073709551616` does not fit in 64 bits"),
        ("0x1FFFFFFFFFFFFFFFF", "`0x1FFFFFFFFFFFFFFFF` does not fit in 64 bits"),
        ("1e400", "`1e400` does not fit in 64 bits"),
        ("08", "`08` is not a number"),
        ("0x", "`0x` is not a number"),
        ("0b12", "`0b12` is not a number"),
        ("12ab", "`12ab` is not a number"),
        ("12u", "`12u` is not a number"),
        ("0f3F80000", "`0f3F80000` is not a number"),
        ("0d3FF", "`0d3FF` is not a number"),
        ("1.0e", "`1` is not a number"),
        ("1 / 0", "division by zero in a constant"),
        ("1 % 0", "division by zero in a constant"),
        ("1.5 + 1", "integers and floating-point numbers do not mix in a constant expression"),
        ("~1.5", "`~` needs integers in a constant expression"),
        ("1.5 ? 1 : 2", "`?:` needs integers in a constant expression"),
        ("1.5 % 1.0", "this operator needs integers in a constant expression"),
        ("(.u64)1.5", "a cast needs integers in a constant expression"),
        ("-0f3F800000", "a single-precision literal cannot be part of a constant expression"),
        ("(.b32)1", "expected `.s64` or `.u64` in a cast, found `.b32`"),
        ("1 + ", "expected a constant, found `;`"),
        ("1 + %r1", "expected a constant, found `%r1`"),
        ("(1", "expected `)` after a constant expression, found `;`"),
        ("1 ? 2", "expected `:` of the conditional expression, found `;`"),
    ] {
        let found = messages(&kernel(&format!("mov.u64 %rd1, {text};")));
        assert_eq!(found.split_once(' ').map(|(_, m)| m), Some(expected), "{text}");
    }
}

#[test]
fn scopes() {
    for (text, expected) in [
        // An inner declaration hides the outer one, and only inside.
        (
            "{ .reg .b64 %r1; mov.b64 %r1, 1; mov.b32 %r2, 1; } mov.b32 %r1, 1;",
            "mov.b64 %r1#5 1 / mov.b32 %r2#1 1 / mov.b32 %r1#1 1",
        ),
        (
            "mov.b32 %r3, 0; { .reg .b32 %r<4>; mov.b32 %r3, 1; mov.b32 %r5, 1; } mov.b32 %r3, 2;",
            "mov.b32 %r3#1 0 / mov.b32 %r3#5 1 / mov.b32 %r5#1 1 / mov.b32 %r3#1 2",
        ),
        (
            "{ .reg .b32 t; mov.b32 t, 0; { .reg .b32 t; mov.b32 t, 1; } mov.b32 t, 2; } { .reg .b32 t; mov.b32 t, 3; }",
            "mov.b32 t#5 0 / mov.b32 t#6 1 / mov.b32 t#5 2 / mov.b32 t#7 3",
        ),
        (
            "{ .reg .b32 %r3; { .reg .b32 %r<4>; mov.b32 %r3, 0; { .reg .b32 %r3; mov.b32 %r3, 1; } mov.b32 %r3, 2; } mov.b32 %r3, 3; }",
            "mov.b32 %r3#6 0 / mov.b32 %r3#7 1 / mov.b32 %r3#6 2 / mov.b32 %r3#5 3",
        ),
        // A declaration hides names only after it.
        (
            "{ ld.param.b64 %rd1, [a]; .param .b64 a; st.param.b64 [a], 1; }",
            "ld.param.b64 %rd1#2 [a#0+0] / st.param.b64 [a#5+0] 1",
        ),
        // `.reg x` and `.reg x<n>` are different names.
        (".reg .b32 x<3>; .reg .b64 x; mov.b32 x1, 1; mov.b64 x, 1;", "mov.b32 x1#5 1 / mov.b64 x#6 1"),
        // A local name hides one of the module.
        (".reg .b32 k; mov.b32 k, 1;", "mov.b32 k#5 1"),
        ("{ L: ret; { bra L; } } L: bra L;", "L: / ret / bra L: / L: / bra L:"),
        (".reg .b32 %tid; mov.b32 %tid, 1;", "mov.b32 %tid#5 1"),
    ] {
        assert_eq!(statements(&kernel(text)), expected, "{text}");
    }
}

#[test]
fn labels_belong_to_their_scopes() {
    let text = kernel("L: bra L; { bra L; L: bra L; { bra L; } } bra L;");
    let module = accept(&text);
    let body = module.functions[0].body().unwrap();
    let targets: Vec<_> = body
        .operands
        .iter()
        .map(|o| match o.kind {
            OperandKind::Label(label) => label.index(),
            ref other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(targets, [0, 1, 1, 1, 0]);
    assert_eq!(body.labels.iter().map(|l| line_column(&text, l.span.start)).collect::<Vec<_>>(), [(3, 1), (3, 20)]);
}

#[test]
fn labelled_directives() {
    let text = kernel(
        "T: .branchtargets A, B; brx.idx %r1, T; A: B:\n\
         C: .calltargets k, f; P: .callprototype (.param .b32 _) _ (.param .align 8 .b8 x[16], .reg .b32 _) .noreturn .abi_preserve 3;\n\
         Q: .callprototype ()_(.param .b64 _); R: .branchtargets S<2>; S0: S1: f:",
    );
    let module = accept(&text);
    let body = module.functions[0].body().unwrap();
    let show = Show { module: &module, function: &module.functions[0], body };
    let kinds: Vec<_> = body
        .labels
        .iter()
        .filter_map(|l| match l.kind {
            LabelKind::Code => None,
            LabelKind::BranchTargets(list) => Some(format!("branch {}", show.list(list))),
            LabelKind::CallTargets(list) => Some(format!("call {}", show.list(list))),
            LabelKind::Prototype(n) => Some(format!("prototype {n}")),
        })
        .collect();
    assert_eq!(kinds, ["branch A: B:", "call &k+0 f:", "prototype 0", "prototype 1", "branch S0: S1:"]);
    let [p, q] = &body.prototypes[..] else { panic!("{:?}", body.prototypes) };
    assert_eq!((p.returns().len(), p.params().len(), q.returns().len(), q.params().len()), (1, 2, 0, 1));
    assert_eq!((p.params()[0].bytes(), p.params()[0].align, module.name(p.params()[0].name)), (16, 8, "x"));
    assert_eq!((p.params()[1].space, p.params()[1].name), (Space::Reg, Symbol::EMPTY));
    assert_eq!(
        p.directives.iter().map(|d| (d.kind, d.values[0])).collect::<Vec<_>>(),
        [(DirectiveKind::Noreturn, 0), (DirectiveKind::AbiPreserve, 3)]
    );
}

#[test]
fn debug_lines() {
    let text = kernel(".loc 1 2 3\nret;.loc 1 20 5, function_name $L__info_string0 + 4, inlined_at 2 10 7\n ret;");
    let module = accept(&text);
    let body = module.functions[0].body().unwrap();
    assert_eq!(body.locs[0], Loc { file: 1, line: 2, column: 3, inlined: None });
    let inlined = body.locs[1].inlined.unwrap();
    assert_eq!(module.name(inlined.function), "$L__info_string0");
    assert_eq!((inlined.offset, inlined.file, inlined.line, inlined.column), (4, 2, 10, 7));
    assert_eq!(statements(&kernel(".loc 1 2 3 ret;")), format!("{:?} / ret", body.locs[0]));
}

#[test]
fn register_counts_cost_nothing() {
    let text = kernel(".reg .f32 %h<4000000000>; mov.f32 %h3999999999, %h7;");
    let module = accept(&text);
    let body = module.functions[0].body().unwrap();
    // `v` of the frame, and the two that are used.
    assert_eq!(body.regs.iter().map(|r| r.index).collect::<Vec<_>>(), [0, 3_999_999_999, 7]);
    assert_eq!(module.functions[0].vars.last().unwrap().count(), Some(4_000_000_000));
    assert_eq!(
        messages(&kernel(".reg .f32 %h<4294967296>;")),
        "3:14 the number of registers is 4294967296, more than 4294967295"
    );
    assert_eq!(messages(&kernel("add.s32 q0, 1, 2; .reg .f32 q<1>;")), "3:9 `q0` is not declared");
    assert_eq!(statements(&kernel(".reg .f32 q<2>; mov.f32 q1, q2; q2:")), "mov.f32 q1#5 q2: / q2:");
}

#[test]
fn header() {
    let module = accept("// c\n/* d */ .version 8.7\n.target sm_90a, texmode_independent,debug\n.address_size 64");
    let version = module.version.unwrap();
    assert_eq!((version.major, version.minor, module.address_size), (8, 7, 64));
    let targets: Vec<_> = module.targets.iter().map(|t| module.name(t.symbol)).collect();
    assert_eq!(targets, ["sm_90a", "texmode_independent", "debug"]);
    assert_eq!(accept(".version 1.4 .target sm_10, map_f64_to_f32").address_size, 32);
    for (text, expected) in [
        ("", "1:1 expected `.version` at the beginning of the module, found the end of the text"),
        (".target sm_90", "1:1 expected `.version` at the beginning of the module, found `.target`"),
        (".version 9", "1:11 expected `.` in the version, found the end of the text"),
        (".version 9.0 ", "1:13 expected `.target` after `.version`, found the end of the text"),
        (".version 9.0 .target 5", "1:22 expected a target such as `sm_80`, found `5`"),
        (".version 9.0 .target sm_90 .address_size 48", "1:42 the address size is 48, neither 32 nor 64"),
        (".version 9.0 .target sm_90 .target sm_80", "1:28 `.target` stands once, at the beginning of the module"),
    ] {
        assert_eq!(messages(text), expected, "{text}");
    }
}

#[test]
fn functions() {
    let text = module(
        ".visible .entry k(.param .u64 .ptr .global .align 16 p, .param .align 8 .b8 s[24], .param .texref t, .param .u64 .ptr q)\n\
         .maxntid 128, 2 .minnctapersm 3 .reqnctapercluster 2,1,1 .explicitcluster .pragma \"x\"; { ret; }\n\
         .extern .func (.param .b32 r) vprintf (.param .b64 f, .param .b64 v);\n\
         .weak .func .attribute(.unified(1, 2)) (.reg .u32 r) g (.reg .u32 x, .param .align 4 .b8 va[]) .noreturn { mov.u32 r, x; }\n\
         .func h; .func h { ret; }",
    );
    let module = accept(&text);
    let [k, vprintf, g, h, h2] = &module.functions[..] else { panic!("{:?}", module.functions) };
    assert!(k.is_kernel && !vprintf.is_kernel);
    assert_eq!(
        (k.linkage, vprintf.linkage, g.linkage, h.linkage),
        (Linkage::Visible, Linkage::Extern, Linkage::Weak, Linkage::Internal)
    );
    let [p, s, t, q] = k.params() else { panic!("{:?}", k.params()) };
    assert_eq!(p.ptr(), Some(Ptr { space: Some(Space::Global), align: 16 }));
    assert_eq!((s.bytes(), s.alignment(), s.ty), (24, 8, Type::B8));
    assert_eq!((t.ty, p.ty, q.ptr()), (Type::Texref, Type::U64, Some(Ptr { space: None, align: 0 })));
    let directives: Vec<_> = k.directives.iter().map(|d| (d.kind, d.values)).collect();
    assert_eq!(
        directives,
        [
            (DirectiveKind::Maxntid, [128, 2, 1]),
            (DirectiveKind::Minnctapersm, [3, 0, 0]),
            (DirectiveKind::Reqnctapercluster, [2, 1, 1]),
            (DirectiveKind::Explicitcluster, [0, 0, 0]),
            (DirectiveKind::Pragma, [0, 0, 0]),
        ]
    );
    assert_eq!(module.name(k.directives[4].text), "x");
    assert_eq!((vprintf.returns().len(), vprintf.params().len(), &vprintf.code), (1, 2, &Code::Declared));
    assert_eq!((g.returns().len(), g.params().len(), g.params()[1].is_unsized()), (1, 2, true));
    assert_eq!(g.directive(DirectiveKind::Unified).unwrap().values, [1, 2, 0]);
    assert!(g.directive(DirectiveKind::Noreturn).is_some());
    let show = Show { module: &module, function: g, body: g.body().unwrap() };
    assert_eq!(show.statement(&show.body.statements[0]), "mov.u32 r#0 x#1");
    // A definition is found rather than its declaration.
    assert_eq!((&h.code, h2.body().is_some(), module.find_text("h")), (&Code::Declared, true, Some(Item::Function(4))));
}

#[test]
fn variables() {
    let text = module(
        ".visible .global .align 8 .v2 .f32 v = {1.0, 0f40000000};\n\
         .const .u32 m[2][3] = {{1}, {2, 3}}, n[][2] = {{1, 2}, {}, {3}}, e;\n\
         .global .attribute(.managed) .s32 g = -4;\n\
         .extern .shared .align 16 .b8 smem[];\n\
         .global .u64 p[4] = {g, generic(g)+8, g+4*2, 7}; .global .u8 b[2] = {0xFF00(g), 0xFF(generic(g)+1)};\n\
         .global .samplerref s = { addr_mode_0 = wrap, force_unnormalized_coords = 1 }; .global .texref t;\n\
         .tex .u32 old; .global .f64 z[2]; .global .b32 w<3>; .weak .global .attribute(.unified(5, 6)) .v4 .b16 a[3];",
    );
    let module = accept(&text);
    let find = |name: &str| match module.find_text(name) {
        Some(Item::Variable(n)) => &module.variables[n as usize],
        other => panic!("{name}: {other:?}"),
    };
    let values = |name: &str| match find(name).init() {
        Some(Init::Values { values, runs }) => (values.clone(), runs.clone()),
        other => panic!("{name}: {other:?}"),
    };
    let int = |n: u64| InitValue::Int { bits: n, unsigned: false };
    let address =
        |offset, generic, byte| InitValue::Address { name: module.names.find("g").unwrap(), offset, generic, byte };
    assert_eq!((find("v").lanes, find("v").align, find("v").bytes()), (2, 8, 8));
    assert_eq!(values("v").0, [InitValue::F64(1.0f64.to_bits()), InitValue::F32(0x4000_0000)]);
    assert_eq!((find("m").dims(), find("m").bytes()), (&[2, 3][..], 24));
    assert_eq!(values("m"), (vec![int(1), int(2), int(3)], vec![(0, 0), (3, 1)]));
    assert_eq!(find("n").dims(), [3, 2]);
    assert_eq!(values("n"), (vec![int(1), int(2), int(3)], vec![(0, 0), (4, 2)]));
    assert_eq!((find("e").init(), find("e").space), (None, Space::Const));
    assert!(find("g").is_managed() && !find("v").is_managed());
    assert_eq!(values("g").0, [int(-4i64 as u64)]);
    assert!(find("smem").is_unsized());
    assert_eq!((find("smem").bytes(), find("smem").linkage), (0, Linkage::Extern));
    assert_eq!(values("p").0, [address(0, false, None), address(8, true, None), address(8, false, None), int(7)]);
    assert_eq!(values("b").0, [address(0, false, Some(1)), address(1, true, Some(0))]);
    let Some(Init::Fields(fields)) = find("s").init() else { panic!("{:?}", find("s")) };
    let fields: Vec<_> = fields.iter().map(|(name, value)| (module.name(*name), *value)).collect();
    assert_eq!(
        fields,
        [
            ("addr_mode_0", FieldValue::Word(module.names.find("wrap").unwrap())),
            ("force_unnormalized_coords", FieldValue::Int(1)),
        ]
    );
    assert_eq!((find("old").space, find("t").ty, find("z").bytes()), (Space::Tex, Type::Texref, 16));
    assert_eq!(
        (find("w0").ty, find("w2").ty, module.find_text("w3"), module.find_text("w")),
        (Type::B32, Type::B32, None, None)
    );
    assert_eq!((find("a").bytes(), find("a").alignment()), (24, 8));
    assert_eq!(find("a").extra.as_ref().unwrap().unified, Some((5, 6)));
}

#[test]
fn other_directives() {
    let text = module(
        ".file 1 \"a\\b.cu\", 5, 6 .file 2 \"c\"\n.pragma \"x\", \"y\";\n.func f(){ret;} .func g(); .alias g, f;\n\
         @@DWARF .section .debug_pubnames, \"\", @progbits {\n\
         .section .debug_str { $L: .b8 1,2 // }\n /* } */ .b64 L+4 }\n.func h(){ret;}",
    );
    let module = accept(&text);
    let files: Vec<_> = module.files.iter().map(|f| (f.index, f.name.text, f.timestamp, f.size)).collect();
    assert_eq!(files, [(1, "a\\b.cu", Some(5), Some(6)), (2, "c", None, None)]);
    assert_eq!(module.pragmas.iter().map(|p| p.text).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(module.source(module.pragmas[0].span), "\"x\"");
    assert_eq!(module.name(module.sections[0].symbol), ".debug_str");
    assert!(module.source(module.sections[0].span).ends_with(".b64 L+4 }"));
    assert_eq!((module.find_text("g"), module.find_text("h")), (Some(Item::Alias(0)), Some(Item::Function(2))));
    assert_eq!(module.name(module.aliases[0].target.symbol), "f");
}

#[test]
fn spans() {
    let text = kernel("@%p1  add.s32 %r1 , %r2, ( 1 + 2 ) ; ld.b32 %r1, [ %rd1 + 4 ] .unified ;");
    let module = accept(&text);
    let body = module.functions[0].body().unwrap();
    let [Statement::Inst(add), Statement::Inst(ld)] = &body.statements[..] else { panic!("{:?}", body.statements) };
    assert_eq!(module.source(add.span), "@%p1  add.s32 %r1 , %r2, ( 1 + 2 ) ;");
    assert_eq!(body.args(add).iter().map(|o| module.source(o.span)).collect::<Vec<_>>(), ["%r1", "%r2", "( 1 + 2 )"]);
    assert_eq!(module.source(body.args(ld)[1].span), "[ %rd1 + 4 ]");
    assert!(module.source(body.span).starts_with('{') && module.source(body.span).ends_with('}'));
}

#[test]
fn opcodes() {
    let (base, modifiers) = split_opcode("ld.global.L2::128B.v4.f32");
    assert_eq!((base, modifiers.collect::<Vec<_>>()), ("ld", vec!["global", "L2::128B", "v4", "f32"]));
    let (base, modifiers) = split_opcode("ret");
    assert_eq!((base, modifiers.count()), ("ret", 0));
    let text = kernel("add.s32 %r1, 1, 2; add .s32 %r1, 1, 2; add.u32 %r1, 1, 2;");
    let module = accept(&text);
    let opcode = |s: &Statement| match s {
        Statement::Inst(inst) => inst.opcode,
        other => panic!("{other:?}"),
    };
    let opcodes: Vec<_> = module.functions[0].body().unwrap().statements.iter().map(opcode).collect();
    assert!(opcodes[0] == opcodes[1] && opcodes[0] != opcodes[2]);
}

#[test]
fn errors_in_bodies() {
    for (text, expected) in [
        ("{ add.s32 %r1, %r2, 3 }", "3:23 expected `;` after the operands of `add.s32`, found `}`"),
        ("mov.u32 %r1 1;", "3:13 expected `;` after the operands of `mov.u32`, found `1`"),
        ("{ ret }", "3:7 expected an operand of `ret`, found `}`"),
        ("mov.u32 %r1, 1,;", "3:16 expected an operand of `mov.u32`, found `;`"),
        ("mov.u32, %r1, 1;", "3:8 expected an operand of `mov.u32`, found `,`"),
        ("add. s32 %r1, 1, 2;", "3:6 expected a modifier after `.`, found `s32`"),
        ("ld.L2::.b32 %r1, [%rd1];", "3:8 expected a modifier after `::`, found `.b32`"),
        (
            "mov.b64 %rd1, {%r1 %r2}; ret x;",
            "3:20 expected `}` or `,` in the vector, found `%r2`\n3:30 `x` is not declared",
        ),
        ("mov.b64 %rd1, {};", "3:16 expected an operand of `mov.b64`, found `}`"),
        ("mov.b64 %rd1, {%r1, {%r2}};", "3:21 expected an operand of `mov.b64`, found `{`"),
        ("ld.b32 %r1, [];", "3:14 expected an operand of `ld.b32`, found `]`"),
        ("ld.b32 %r1, [%rd1;", "3:18 expected `]` after the address, found `;`"),
        ("ld.b32 %r1, [%rd1-4];", "3:18 expected `]` after the address, found `-`"),
        ("ld.b32 %r1, [%rd1+%rd2];", "3:19 expected a constant, found `%rd2`"),
        ("ld.b32 %r1, [v.x];", "3:14 `v.x` is not an address"),
        ("ld.b32 %r1, [1.5];", "3:14 `1.5` is not an address"),
        ("setp.eq.u32 %p1|%p2|%p3, 1, 2;", "3:20 expected `;` after the operands of `setp.eq.u32`, found `|`"),
        ("setp.eq.u32 %p1|3, 1, 2;", "3:17 expected a register or `_` after `|`, found `3`"),
        ("mov.u32 %r1, (%r2);", "3:15 expected a constant, found `%r2`"),
        ("mov.u32 %r1, %r2.;", "3:18 expected a component such as `x` after `.`, found `;`"),
        ("mov.u32 %r1, \"x\";", "3:14 expected an operand of `mov.u32`, found a string"),
        ("mov.u32 %r1, a[2];", "3:14 `a` is not an array that is declared before"),
        ("mov.u32 %r1, q; bra nowhere;", "3:14 `q` is not declared\n3:21 `nowhere` is not declared"),
        ("bra L; { L: ret; }", "3:5 `L` is not declared"),
        ("@q ret;", "3:2 the predicate `q` is not declared"),
        ("@a ret;", "3:2 `a` is not a register"),
        ("@1 ret;", "3:2 expected a predicate register after `@`, found `1`"),
        ("@%p1 { ret; }", "3:6 expected an instruction after the predicate, found `{`"),
        ("@%p1 .reg .b32 z;", "3:6 expected an instruction after the predicate, found `.reg`"),
        (";", "3:1 expected an instruction, a label, a directive or `}`, found `;`"),
        ("(mov.u32 %r1, 1);", "3:1 expected an instruction, a label, a directive or `}`, found `(`"),
        ("\u{e9};", "3:1 expected an instruction, a label, a directive or `}`, found `\u{e9}`"),
        ("\u{1};", "3:1 expected an instruction, a label, a directive or `}`, found the character U+0001"),
        (".reg .b32 %r3;", "3:11 `%r3` is already declared in this scope"),
        (".reg .b32 x, x;", "3:14 `x` is already declared in this scope"),
        (".reg .b32 x<3>; .reg .b64 x<2>;", "3:27 `x` is already declared in this scope"),
        ("L: ret; L: ret;", "3:9 `L` is already declared in this scope"),
        ("a: ret;", "3:1 `a` is already declared in this scope"),
        (".reg .b24 x;", "3:6 expected a type such as `.b32`, found `.b24`"),
        (".reg x;", "3:6 expected a type such as `.b32`, found `x`"),
        (".reg .b32 .v2 x;", "3:11 expected a name, found `.v2`"),
        (".reg .shared .b32 x;", "3:6 `.shared`: this declaration already has a state space"),
        (".reg .b32 _;", "3:11 `_` cannot be declared"),
        (".reg .b32 x[3];", "3:11 `x`: registers cannot be arrays"),
        (".reg .b32 x = 3;", "3:11 `x`: only variables in .global and .const that are not .extern have initial values"),
        (".reg .b32 x<2+3>;", "3:14 expected `>` after the number of registers, found `+`"),
        (".reg .b32 x y;", "3:13 expected `;` after the declaration, found `y`"),
        (".local .align 3 .b32 x;", "3:15 the alignment 3 is not a power of two"),
        (".local .b32 x[];", "3:13 the first dimension of `x` is not known"),
        (".local .b32 x[0];", "3:15 a dimension is 0"),
        (".local .b32 x[0xFFFFFFFFFFFF][0x10000];", "3:13 `x` has more than 2^63 bytes"),
        (".branchtargets A;", "3:1 `.branchtargets` needs a label before it"),
        ("T: .branchtargets;", "3:18 expected a name after `.branchtargets`, found `;`"),
        ("P: .callprototype q ();", "3:19 expected `_` in `.callprototype`, found `q`"),
        (".maxntid 3;", "3:1 `.maxntid` is not a directive of a function's body"),
        (".pragma nounroll;", "3:9 expected a string after `.pragma`, found `nounroll`"),
        (".pragma \"nounroll;", "3:9 this string has no closing `\"` on its line"),
        (".loc 1 2;", "3:9 expected the column of `.loc`, found `;`"),
        (".loc 1 2 3, inlined_at 1 2 3", "3:13 expected `function_name`, found `inlined_at`"),
        (".loc 4294967296 1 1", "3:6 the file number of `.loc` is 4294967296, more than 4294967295"),
        // Each statement has its own error, and braces stay in step.
        (
            "foo %; bar [; { baz {%r1; } ret 1 2;",
            "3:5 expected an operand of `foo`, found `%`\n3:13 expected an operand of `bar`, found `;`\n\
             3:25 expected `}` or `,` in the vector, found `;`\n3:35 expected `;` after the operands of `ret`, found `2`",
        ),
        (
            "mov.u32 %r1, 1 { ret; } add.s32 %r1, 1, ; ",
            "3:16 expected `;` after the operands of `mov.u32`, found `{`\n3:41 expected an operand of `add.s32`, found `;`",
        ),
    ] {
        assert_eq!(messages(&kernel(text)), expected, "{text}");
    }
}

#[test]
fn errors_outside_functions() {
    for (text, expected) in [
        ("foo", "2:1 expected a directive such as `.entry`, `.func` or `.global`, found `foo`"),
        ("}", "2:1 expected a directive such as `.entry`, `.func` or `.global`, found `}`"),
        (".foo 3;", "2:1 `.foo` is not a directive of a module"),
        (".visible ret;", "2:10 expected a directive such as `.entry`, `.func` or `.global`, found `ret`"),
        (".visible .weak .func f(){}", "2:10 `.weak`: this declaration already has a linkage"),
        (".visible .file 1 \"x\"", "2:10 expected a function or variable after its linkage, found `.file`"),
        (".u32 x;", "2:6 expected a state space such as `.global` before the type, found `x`"),
        (".reg .u32 x;", "2:1 registers and parameters cannot be declared outside functions"),
        (".global .u32 x = 5", "2:19 expected `;` after the declaration, found the end of the text"),
        (".global .u32 x; .global .u32 x;", "2:30 `x` is already defined"),
        (".func x(); .global .u32 x;", "2:25 `x` is already declared"),
        (".entry k(){} .entry k(){}", "2:21 `k` is already defined"),
        (".global .u32 x[2] = {1,2,3};", "2:26 expected `}` after 2 elements, found `3`"),
        (".global .u32 x[2] = 1;", "2:21 expected `{` before the elements of an array or vector, found `1`"),
        (".global .u32 x = {1};", "2:18 expected a constant, found `{`"),
        (".global .u32 x[2][2] = {1,{2}};", "2:25 expected `{` before the elements of an array or vector, found `1`"),
        (".global .u32 x[2] = {1,};", "2:24 expected a constant, found `}`"),
        (".global .u32 x = y;", "2:18 `y` is not declared"),
        (".global .u8 x = 0xF0(x);", "2:17 the mask 0xf0 does not select one byte"),
        (".global .u32 x<60000>; .global .u32 y<6000>;", "2:39 the number of variables is 6000, more than 5536"),
        (".shared .attribute(.managed) .b32 s;", "2:35 `s`: only variables in .global can be .managed"),
        (
            ".shared .b32 s = 1;",
            "2:14 `s`: only variables in .global and .const that are not .extern have initial values",
        ),
        (".alias g, f;", "2:8 the function `g` is not declared"),
        (".section .debug_x { .b8 1", "2:19 the section `.debug_x` has no closing `}`"),
        (".section debug_x { }", "2:10 expected the name of the section, found `debug_x`"),
        (".pragma \"x\"", "2:12 expected `;` after `.pragma`, found the end of the text"),
        (".global .u32 x; /* open", "2:17 this comment has no closing `*/`"),
        (".entry k() { ret; ", "2:18 expected `}` to close the body of `k`, found the end of the text"),
        (".entry k() { /* ", "2:14 this comment has no closing `*/`"),
        (".entry k() { ret; .entry l() { ret; }", "2:19 expected `}` to close the body of `k`, found `.entry`"),
        (
            ".entry k() { ret; .visible .entry l() { ret; }",
            "2:19 expected `}` to close the body of `k`, found `.visible`",
        ),
        (".entry k() ret; ", "2:12 expected `{` or `;` after the head of `k`, found `ret`"),
        (
            ".entry k() .foo { ret; } .func f(){ ret 1 2; }",
            "2:12 `.foo` is not a directive of a kernel\n2:43 expected `;` after the operands of `ret`, found `2`",
        ),
        (".entry k() .maxntid 1,2,3,4 { ret; }", "2:26 expected `{` or `;` after the head of `k`, found `,`"),
        (".entry k(.param .u32 a, ) {}", "2:25 expected a type such as `.b32`, found `)`"),
        (".entry k(.param .u32 a .param .u32 b) {}", "2:24 expected `)` or `,` after a parameter, found `.param`"),
        (".entry k(.reg .u32 a) {}", "2:10 a parameter of a kernel must be in .param"),
        (".func k(.u32 a) {}", "2:9 a parameter must be in .param or .reg"),
        (".func k(.param .u32 a, .param .u32 a) {}", "2:36 `a` is already declared in this scope"),
        (".entry (.param .u32 r) k() {}", "2:8 expected the name of the kernel, found `(`"),
        (
            "ret; add.s32 %r1, 1, 2; st.global.u32 [x], 1; }\n.func f() { ret 1 2; }",
            "2:1 expected a directive such as `.entry`, `.func` or `.global`, found `ret`\n\
             3:19 expected `;` after the operands of `ret`, found `2`",
        ),
    ] {
        assert_eq!(messages(&module(text)), expected, "{text}");
    }
}

#[test]
fn one_broken_function_leaves_the_others() {
    let text = module(
        ".entry a() { ret; }\n.entry b() { ret 1 2; foo ( ; }\n.func c(.param .u32) { ret; }\n.entry d() { ret; }",
    );
    let Parsed { module, diagnostics } = parse(&text);
    assert!(diagnostics.is_empty());
    let found: Vec<_> = module
        .functions
        .iter()
        .map(|f| {
            let errors = match &f.code {
                Code::Declared => usize::MAX,
                Code::Body(_) => 0,
                Code::Broken(errors) => errors.len(),
            };
            (module.name(f.name), errors)
        })
        .collect();
    assert_eq!(found, [("a", 0), ("b", 2), ("c", 1), ("d", 0)]);
    assert_eq!(module.find_text("b"), Some(Item::Function(1)));
    let notes: Vec<_> = errors(&text).into_iter().map(|d| d.notes.join(" ")).collect();
    assert_eq!(notes, ["in the kernel `b`", "in the kernel `b`", "in the function `c`"]);
}

#[test]
fn labels_of_errors_name_the_other_place() {
    let text = kernel(".reg .b32 x;\n.reg .b64 x;");
    let error = &errors(&text)[0];
    assert_eq!((error.code, error.labels.len()), ("ptx::redeclared", 2));
    assert_eq!(line_column(&text, error.labels[1].span.start), (3, 11));
}
