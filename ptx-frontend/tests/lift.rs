//! What lifting makes of whole modules: broken functions beside sound ones, and control flow that nothing leads into.

use hetir::diag::{Diagnostic, Severity, line_column};
use hetir::ir::{Function, Module};
use hetir::verify::verify;
use ptx_frontend::{Options, Output, lift_text};

/// Two kernels without a fault around one that does not parse, one that does not lift and a function that does not
/// either; the last kernel calls that function.
const MIXED: &str = "\
.version 9.0
.target sm_90
.address_size 64
.global .u32 cell = 5;
.visible .entry first(.param .u64 out)
{
	.reg .b64 %out;
	.reg .b32 %r;
	ld.param.u64 %out, [out];
	ld.global.u32 %r, [cell];
	st.global.u32 [%out], %r;
	ret;
}
.visible .entry torn()
{
	.reg .b32 %r;
	mov.u32 %r, ;
	bra nowhere;
}
.visible .entry strange()
{
	.reg .b32 %r;
	.reg .f32 %f;
	frobnicate.u32 %r;
	add.u32 %r, %f, %r;
	ret;
}
.func (.param .u32 r) helper()
{
	st.param.u32 [r], %undeclared;
	ret;
}
.visible .entry last(.param .u64 out)
{
	.reg .b64 %out;
	.reg .b32 %r;
	ld.param.u64 %out, [out];
	call (%r), helper;
	st.global.u32 [%out], %r;
	ret;
}
";

fn lift(text: &str, lenient: bool) -> Output {
    lift_text(text, Options { lenient })
}

fn function<'m>(module: &'m Module, name: &str) -> &'m Function {
    module.functions.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("no function `{name}`"))
}

/// Line and message of each.
fn told(text: &str, diagnostics: &[Diagnostic]) -> Vec<(usize, String)> {
    let line = |d: &Diagnostic| d.span().map_or(0, |span| line_column(text, span.start).0);
    diagnostics.iter().map(|d| (line(d), d.message.clone())).collect()
}

#[test]
fn one_bad_function_does_not_take_the_module_with_it() {
    let output = lift(MIXED, true);
    assert!(output.diagnostics.is_empty(), "{:?}", output.diagnostics);
    let module = output.into_result().expect("lenient lifting gives a module");
    verify(&module).expect("what is left verifies");
    for (name, bad) in [("first", 0), ("torn", 2), ("strange", 2), ("helper", 1), ("last", 0)] {
        let function = function(&module, name);
        assert_eq!(function.unavailable.len(), bad, "{name}: {:?}", function.unavailable);
        assert_eq!(function.body.is_some(), bad == 0, "{name}");
    }
    assert_eq!(
        told(MIXED, &function(&module, "strange").unavailable),
        [
            (24, "unknown instruction `frobnicate`".to_string()),
            (25, "`%f` is a .f32 register, and a .u32 is needed".to_string()),
        ]
    );
    assert_eq!(module.globals[0].init, [5]);
}

#[test]
fn strict_lifting_reports_every_function_in_the_order_of_the_text() {
    let errors = lift(MIXED, false).into_result().expect_err("strict lifting refuses the module");
    let lines: Vec<_> = told(MIXED, &errors).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [17, 18, 24, 25, 30]);
    let notes: Vec<_> = errors.iter().filter_map(|d| d.notes.last()).map(String::as_str).collect();
    assert_eq!(
        notes,
        [
            "in the kernel `torn`",
            "in the kernel `torn`",
            "in the kernel `strange`",
            "in the kernel `strange`",
            "in the function `helper`",
        ]
    );
    assert!(errors.iter().all(|d| d.severity == Severity::Error));
}

#[test]
fn errors_outside_of_functions_are_the_modules_in_both_modes() {
    let text = MIXED.replace("cell = 5", "cell = nobody");
    for lenient in [true, false] {
        let errors = lift(&text, lenient).into_result().expect_err("the variable has no value");
        assert_eq!(told(&text, &errors)[0], (4, "`nobody` is not declared".to_string()));
    }
}

#[test]
fn a_function_stops_reporting_after_many_errors() {
    let body = "\tfrobnicate;\n".repeat(500);
    let text = format!(".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k()\n{{\n{body}\tret;\n}}\n");
    let errors = lift(&text, false).into_result().expect_err("there is no such instruction");
    assert!((10..500).contains(&errors.len()), "{}", errors.len());
}

const HEAD: &str = ".version 9.0\n.target sm_90\n.address_size 64\n";

fn kernel(name: &str, body: &str) -> String {
    format!(
        ".visible .entry {name}(.param .u64 out)\n{{\n.reg .b16 %h<4>;\n.reg .b32 %r<4>;\n.reg .b64 %d<4>;\n.reg .pred %p;\n{body}\n}}\n"
    )
}

#[test]
fn loops_that_nothing_leads_into_end() {
    let around = "ret;\nL1:\nadd.u32 %r0, %r0, %r1;\nsetp.eq.u32 %p, %r0, 0;\n@%p bra L1;\nret;";
    let pair = "ret;\nL1:\nadd.u32 %r0, %r0, %r1;\nbra L2;\nL2:\nmul.lo.u32 %r0, %r0, %r2;\nbra L1;";
    let own = "ret;\nL1:\nld.global.u32 %r0, [%d0];\nbra L1;";
    for body in [around, pair, own] {
        let output = lift_text(&format!("{HEAD}{}", kernel("k", body)), Options::default());
        let module = output.into_result().expect("it lifts");
        hetir::verify::verify(&module).expect("it verifies");
    }
}

#[test]
fn instructions_need_a_version_and_a_target() {
    let errors = |version: &str, target: &str, body: &str| -> Vec<String> {
        let text = format!(".version {version}\n.target {target}\n.address_size 64\n{}", kernel("k", body));
        let result = lift_text(&text, Options::default()).into_result();
        result.err().unwrap_or_default().into_iter().map(|d| d.message).collect()
    };
    let redux = "redux.sync.add.u32 %r0, %r1, %r2;\nret;";
    assert_eq!(errors("7.0", "sm_80", redux), [""; 0]);
    assert_eq!(errors("6.5", "sm_75", redux), ["`redux.sync.add.u32` needs PTX ISA 7.0 or newer"]);
    assert_eq!(errors("7.0", "sm_75", redux), ["`redux.sync.add.u32` needs the target sm_80 or newer"]);
    let vote = "vote.any.pred %p, %p;\nret;";
    assert_eq!(errors("6.3", "sm_70", vote), [""; 0]);
    assert_eq!(errors("6.4", "sm_70", vote).len(), 1);
    assert_eq!(errors("9.7", "sm_133f", "ret;"), [""; 0]);
    assert_eq!(errors("7.8", "sm_90", "ret;"), [""; 0]);
    assert_eq!(errors("7.7", "sm_90", "ret;"), ["`sm_90` needs PTX ISA 7.8 or newer"]);
    assert_eq!(errors("7.8", "sm_90a", "ret;"), ["`sm_90a` needs PTX ISA 8.0 or newer"]);
    assert_eq!(errors("8.6", "sm_100a", "ret;"), [""; 0]);
    assert_eq!(errors("8.6", "sm_100f", "ret;"), ["`sm_100f` needs PTX ISA 8.8 or newer"]);
    let equal = "set.eq.u32.f16 %r0, %h0, %h0;\nret;";
    assert_eq!(errors("6.4", "sm_75", equal), ["`set.eq.u32.f16` needs PTX ISA 6.5 or newer"]);
    assert_eq!(errors("6.4", "sm_75", "set.eq.f16.f16 %h0, %h0, %h0;\nret;"), [""; 0]);
    let short = "cvt.rn.f16x2.e4m3x2 %r0, %h0;\nret;";
    assert_eq!(errors("7.8", "sm_90", short), [""; 0]);
    assert_eq!(errors("8.1", "sm_89", short), [""; 0]);
    assert_eq!(errors("8.0", "sm_89", short).len(), 1);
    let fence = "wgmma.fence.sync.aligned;\nret;";
    assert_eq!(errors("9.0", "sm_90", fence), ["`wgmma.fence.sync.aligned` needs a target such as sm_90a"]);
    let registers = "setmaxnreg.inc.sync.aligned.u32 64;\nret;";
    assert_eq!(errors("8.0", "sm_90a", registers), [""; 0]);
    assert_eq!(errors("9.0", "sm_120a", registers), [""; 0]);
    assert_eq!(errors("9.0", "sm_90", registers).len(), 1);
    assert_eq!(errors("7.9", "sm_80", "ret;"), ["there is no PTX ISA 7.9"]);
    assert_eq!(errors("8.0", "sm_99", "ret;"), ["`sm_99` is not a target"]);
}

/// Texts below a folder of the repository.
fn texts(folder: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            texts(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "ptx") {
            out.push(path);
        }
    }
}

#[test]
fn every_module_comes_back_from_its_bytes() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    ["tests/ptx", "bench"].iter().for_each(|folder| texts(&root.join(folder), &mut files));
    let mut whole = 0;
    for file in &files {
        let module = lift(&std::fs::read_to_string(file).unwrap(), true).module;
        let Some(bytes) = hetir::binary::encode(&module) else { continue };
        let back = hetir::binary::decode(&bytes).unwrap_or_else(|| panic!("{}", file.display()));
        assert_eq!(format!("{back:?}"), format!("{module:?}"), "{}", file.display());
        whole += 1;
    }
    assert!(whole * 10 > files.len() * 9 && whole > 500, "{whole} of {}", files.len());
}
