use super::*;

const BODY: &str = ".version 9.0\n.target sm_90a\n";

fn parse(header: &str) -> Result<Filetest, HeaderError> {
    let lines: String = header.lines().map(|line| format!("//! {line}\n")).collect();
    Filetest::parse(&(lines + BODY))
}

fn one_arg(arg: &str) -> Result<Arg, HeaderError> {
    let filetest = parse(&format!(
        "[[run]]\nkernel = \"k\"\ngrid = 1\nblock = 1\nargs = [{arg}, {{ buf = \"u8\", expect = [0] }}]"
    ))?;
    Ok(filetest.runs[0].args[0].clone())
}

fn one_buffer(fields: &str) -> Buffer {
    match one_arg(&format!("{{ {fields} }}")) {
        Ok(Arg::Buffer(buffer)) => buffer,
        other => panic!("{fields}: {other:?}"),
    }
}

fn refused(arg: &str) -> String {
    match one_arg(arg) {
        Err(HeaderError { line: 5, message }) => message,
        other => panic!("{arg}: {other:?}"),
    }
}

#[test]
fn the_example_of_the_format() {
    let filetest = parse(
        r#"[[run]]
kernel = "popc_b32"
grid = 1
block = 4
args = [{ buf = "u32", in = [0, 1, 0xffffffff, 0x80000001] }, { buf = "u32", len = 4, expect = [0, 1, 32, 2] }]
xfail = { vulkan = "the driver's popcount is wrong" }"#,
    )
    .unwrap();
    let run = &filetest.runs[0];
    assert_eq!((run.kernel.as_str(), run.grid, run.block, run.shared), ("popc_b32", [1, 1, 1], [4, 1, 1], 0));
    assert_eq!(run.xfail["vulkan"], "the driver's popcount is wrong");
    let Arg::Buffer(input) = &run.args[0] else { panic!() };
    assert_eq!(input.initial, [0, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255, 1, 0, 0, 128]);
    assert_eq!(input.expect, Expect::Unchanged);
    let Arg::Buffer(output) = &run.args[1] else { panic!() };
    assert_eq!(output.initial, [POISON; 16]);
    assert_eq!(output.expect, Expect::Elements([0, 1, 32, 2].map(Want::Bits).to_vec()));
    assert_eq!(filetest.ptxas, Ptxas { arch: "sm_90a".into(), accepts: true });
}

#[test]
fn all_the_keys() {
    let filetest = parse(
        r#"covers = ["add.s32"]
ptxas = { arch = "sm_100a", refuse = "not in this release" }
hardware = { skip = "needs sm_100a" }
[[run]]
kernel = "k"
grid = [2, 3, 4]
block = [8, 2]
cluster = [2, 1, 1]
cooperative = true
shared = 64
seeds = 9
fault = { kind = "trap", message = "line 7", everywhere = true }
hardware = { skip = "would hang there" }
[[run]]
kernel = "k"
grid = 1
block = 1
fault = "race"
unchecked = { race = "for this test" }
[[run]]
kernel = "k"
grid = 1
block = 1
prints = "a\n""#,
    )
    .unwrap();
    let run = &filetest.runs[0];
    assert_eq!((run.grid, run.block, run.cluster), ([2, 3, 4], [8, 2, 1], [2, 1, 1]));
    assert!(run.cooperative && run.shared == 64 && run.seeds == 9);
    assert_eq!(run.fault, Some(ExpectedFault { kind: FaultKind::Trap, message: "line 7".into(), everywhere: true }));
    assert_eq!(run.hardware_skip.as_deref(), Some("would hang there"));
    let race = ExpectedFault { kind: FaultKind::Race, message: String::new(), everywhere: false };
    assert_eq!(filetest.runs[1].fault, Some(race));
    assert!(filetest.runs[1].unchecked.contains_key("race"));
    assert_eq!(filetest.runs[2].prints.as_deref(), Some("a\n"));
    assert_eq!(filetest.ptxas, Ptxas { arch: "sm_100a".into(), accepts: false });
    assert_eq!(filetest.covers, ["add.s32"]);
}

#[test]
fn errors_of_the_front_end() {
    let filetest = parse("error = [{ message = \"unknown\", line = 3 }, \"bad type\"]").unwrap();
    assert!(!filetest.ptxas.accepts);
    assert_eq!(filetest.errors[0], ExpectedError { message: "unknown".into(), line: Some(3) });
    assert_eq!(filetest.errors[1], ExpectedError { message: "bad type".into(), line: None });
    let listed = parse("error = \"x\"\nptxas = { accept = \"refused at lift so far\" }").unwrap();
    assert!(listed.ptxas.accepts);
    let message = parse("error = \"x\"\nptxas = { refuse = \"a reason here\" }").unwrap_err().message;
    assert!(message.contains("without further words"), "{message}");
}

#[test]
fn scalars_and_aggregates() {
    assert_eq!(one_arg("{ u32 = 5 }"), Ok(Arg::Value(vec![5, 0, 0, 0])));
    assert_eq!(one_arg("{ f32 = 1.5 }"), Ok(Arg::Value(vec![0, 0, 0xc0, 0x3f])));
    assert_eq!(one_arg("{ b64 = \"0x8000000000000001\" }"), Ok(Arg::Value(vec![1, 0, 0, 0, 0, 0, 0, 0x80])));
    assert_eq!(one_arg("{ u16 = [1, 2] }"), Ok(Arg::Value(vec![1, 0, 2, 0])));
}

#[test]
fn literals() {
    let bits = |elem: &str, literal: &str| {
        let buffer = one_buffer(&format!("buf = \"{elem}\", in = [{literal}]"));
        buffer.elem.load(&buffer.initial, 0)
    };
    for (literal, expected) in [
        ("1", 0x3f80_0000),
        ("0.1", 0x3dcc_cccd),
        ("-0.0", 0x8000_0000),
        ("-0", 0x8000_0000),
        ("\"-0.0\"", 0x8000_0000),
        ("nan", 0x7fff_ffff),
        ("\"nan\"", 0x7fff_ffff),
        ("-inf", 0xff80_0000),
        ("\"inf\"", 0x7f80_0000),
        ("\"0x7fc0_0000\"", 0x7fc0_0000),
        ("0x7fc00000", 0x7fc0_0000),
    ] {
        assert_eq!(bits("f32", literal), expected, "{literal}");
    }
    assert_eq!(bits("s32", "0xffffffff"), 0xffff_ffff);
    assert_eq!(bits("u64", "0xffffffffffffffff"), u64::MAX);
    assert_eq!(bits("u64", "\"18446744073709551615\""), u64::MAX);
    assert_eq!(bits("b8", "0b101"), 5);
    assert_eq!(bits("f64", "\"0xfff8000000000000\""), 0xfff8 << 48);
}

#[test]
fn literals_that_are_refused() {
    for (arg, part) in [
        ("{ u8 = 256 }", "u8 cannot hold"),
        ("{ s32 = 4294967295 }", "s32 cannot hold"),
        ("{ u32 = -1 }", "u32 cannot hold"),
        ("{ u32 = 1.5 }", "u32 cannot hold"),
        ("{ u32 = 0x1ffffffff }", "no bit pattern of u32"),
        ("{ f32 = true }", "a value of f32"),
        ("{ f64 = nan }", "not one value of f64"),
        ("{ f32 = \"any-nan\" }", "an input is one value"),
        ("{ u32 = \"any\" }", "an input is one value"),
        ("{ u33 = 1 }", "no element type `u33`"),
        ("{ u32 = 1, s32 = 2 }", "an argument is"),
        ("{ }", "an argument is"),
        ("5", "an argument is a table"),
    ] {
        let message = refused(arg);
        assert!(message.contains(part), "{arg}: {message}");
    }
}

#[test]
fn buffers() {
    let rest_is_poison = one_buffer("buf = \"u16\", in = [1], len = 2");
    assert_eq!(rest_is_poison.initial, [1, 0, POISON, POISON]);
    let filled = one_buffer("buf = \"u16\", in = [9], len = 3, fill = { iota = 5 }");
    // The pattern knows the element's own index.
    assert_eq!(filled.initial, [9, 0, 6, 0, 7, 0]);
    let all = one_buffer("buf = \"u8\", len = 2, fill = { all = 3 }, expect = { iota = 1, step = 2 }");
    assert_eq!((all.initial, all.expect), (vec![3, 3], Expect::Elements(vec![Want::Bits(1), Want::Bits(3)])));
    let special = one_buffer("buf = \"f32\", expect = [\"any-nan\", \"any\", 0]");
    assert_eq!(special.expect, Expect::Elements(vec![Want::AnyNan, Want::Any, Want::Bits(0)]));
    let close = one_buffer("buf = \"f32\", len = 1, expect = \"oracle\", tolerance = { ulp = 2, abs = 1e-6 }");
    assert_eq!((close.expect, close.tolerance), (Expect::Oracle, Tolerance { ulp: Some(2), abs: Some(1e-6) }));
    let many = one_buffer("buf = \"u32\", len = 64, fill = { random = 1, kind = \"edges\" }, expect = \"oracle\"");
    assert_eq!(many.initial.len(), 256);
    let between = one_buffer("buf = \"f32\", len = 4, fill = { random = 1, from = 2, to = 2 }");
    assert_eq!(between.elem.load(&between.initial, 3), 0x4000_0000);
}

#[test]
fn buffers_that_are_refused() {
    for (arg, part) in [
        ("{ buf = \"u32\" }", "the buffer is empty"),
        ("{ buf = \"u32\", len = 1, in = [1, 2] }", "more elements than `len`"),
        ("{ buf = \"u32\", len = 1, expect = [1, 2] }", "more elements than `len`"),
        ("{ buf = \"u32\", len = 1, expect = \"oracle\" }", "keep the oracle honest"),
        ("{ buf = \"u32\", len = 1, expect = \"maybe\" }", "`expect` is a list"),
        ("{ buf = \"u32\", len = 1, tolerance = { ulp = 1 }, expect = [1] }", "compared exactly"),
        ("{ buf = \"f32\", len = 1, tolerance = { ulp = 1 } }", "needs an `expect`"),
        ("{ buf = \"f32\", len = 1, tolerance = { }, expect = [1] }", "`tolerance` has"),
        ("{ buf = \"u32\", in = [1], fill = { all = 0 } }", "`fill` fills nothing"),
        ("{ buf = \"u32\", len = 9, fill = { random = 0, kind = \"nice\" } }", "`kind` is"),
        ("{ buf = \"u8\", len = 300, fill = { iota = 0 } }", "u8 cannot hold 256"),
        ("{ buf = \"u8\", len = 1, Expect = [1] }", "has no key `Expect`; it knows `buf` `in`"),
    ] {
        let message = refused(arg);
        assert!(message.contains(part), "{arg}: {message}");
    }
}

#[test]
fn headers_that_are_refused() {
    let run = "[[run]]\nkernel = \"k\"\ngrid = 1\nblock = 1\nfault = \"trap\"\n";
    for (header, line, part) in [
        ("colour = 1".to_string(), 1, "the header has no key `colour`"),
        ("covers = []".to_string(), 1, "neither `[[run]]` nor `error`"),
        ("[[run]]\ngrid = 1".to_string(), 1, "a run needs `kernel`"),
        ("[[run]]\nkernel = 1".to_string(), 2, "a string is expected"),
        (run.replace("grid = 1", "grid = 0"), 3, "at least 1"),
        (run.replace("grid = 1", "grid = [1, 1, 1, 1]"), 3, "one to three"),
        (run.replace("block = 1", "block = [32, 33]"), 1, "more than 1024 threads a block"),
        (run.replace("grid = 1", "grid = 100000000"), 1, "threads"),
        (run.replace("trap", "trip"), 5, "no fault `trip`; there are out-of-bounds"),
        (run.replace("fault = \"trap\"", "args = []"), 1, "the run expects nothing"),
        (run.to_string() + "xfail = { gpu = \"a reason here\" }", 6, "no device `gpu`"),
        (run.to_string() + "xfail = { cpu = \"\" }", 6, "a reason is a sentence"),
        (run.to_string() + "unchecked = { bounds = \"a reason here\" }", 6, "no check `bounds`"),
        (run.to_string() + "kernel = \"k\"", 6, "not TOML"),
        (run.to_string() + "shared = 1000000", 6, "from 0 to"),
        ("error = \"x\"\n".to_string() + run, 1, "has no `[[run]]`"),
    ] {
        let error = parse(&header).expect_err(&header);
        assert!(error.message.contains(part), "{header}: {error}");
        assert_eq!(error.line, line, "{header}: {error}");
    }
}

#[test]
fn the_header_stands_at_the_top() {
    let missing = Filetest::parse(BODY).unwrap_err();
    assert!(missing.message.contains("does not start with a header"));
    let late = Filetest::parse(&format!("//! error = \"x\"\n{BODY}//! ptxas = {{}}\n")).unwrap_err();
    assert_eq!((late.line, late.message.as_str()), (4, "a header line after the end of the header"));
}
