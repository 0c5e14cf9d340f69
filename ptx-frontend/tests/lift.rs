//! What lifting makes of whole modules: broken functions beside sound ones, and control flow that nothing leads into.

use hetir::diag::{Severity, line_column};
use ptx_frontend::{Options, lift_text};

const HEAD: &str = ".version 9.0\n.target sm_90\n.address_size 64\n";

fn kernel(name: &str, body: &str) -> String {
    format!(
        ".visible .entry {name}(.param .u64 out)\n{{\n.reg .b32 %r<4>;\n.reg .b64 %d<4>;\n.reg .pred %p;\n{body}\n}}\n"
    )
}

#[test]
fn one_bad_function_does_not_take_the_module_with_it() {
    let text = format!(
        "{HEAD}{}{}{}",
        kernel("bad", "frobnicate.u32 %r0, %r1;\nret;"),
        kernel("worse", "add.u32 %r0, %r1\nret;"),
        kernel("good", "add.u32 %r0, %r1, 1;\nret;")
    );
    let lenient = lift_text(&text, Options { lenient: true });
    assert!(lenient.diagnostics.iter().all(|d| d.severity < Severity::Error), "{:?}", lenient.diagnostics);
    let function = |name: &str| &lenient.module.functions[lenient.module.function(name).unwrap().index()];
    assert!(function("good").body.is_some() && function("good").unavailable.is_empty());
    for (name, said) in [("bad", "unknown instruction `frobnicate`"), ("worse", "expected `;`")] {
        let refused = function(name);
        assert!(refused.body.is_none(), "{name}");
        assert!(refused.unavailable[0].message.contains(said), "{:?}", refused.unavailable);
    }
    let strict = lift_text(&text, Options { lenient: false });
    let errors = strict.into_result().expect_err("strict lifting refuses the module");
    let lines: Vec<usize> = errors.iter().filter_map(|d| Some(line_column(&text, d.span()?.start).0)).collect();
    assert!(lines.contains(&9), "{lines:?}");
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
