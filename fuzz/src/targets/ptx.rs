//! PTX text: whatever is accepted verifies, and its hetIR reads back as it was printed.

use std::collections::BTreeSet;

use hetir::diag::render;
use hetir::{text, verify};
use ptx_frontend::{Options, lift_text};

use super::{Answer, kind_of};
use crate::seeds::files;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    files("tests", &["ptx"])
}

pub(super) fn run(bytes: &[u8]) -> Answer {
    let source = String::from_utf8_lossy(bytes);
    let mut answer = Answer::NONE;
    for lenient in [true, false] {
        let output = lift_text(&source, Options { lenient });
        let _ = render(&output.diagnostics, "input", &source);
        answer = output.diagnostics.iter().take(2).fold(answer, |a, d| a.with(d.code).with(&kind_of(&d.message)));
        let forms: BTreeSet<String> = output.forms.iter().map(|form| format!("{form:?}")).collect();
        let Ok(module) = output.into_result() else { continue };
        if let Err(errors) = verify::verify(&module) {
            panic!("what was lifted does not verify:\n{}", render(&errors, "input", &source));
        }
        let printed = text::print(&module);
        let again = text::parse(&printed).unwrap_or_else(|errors| {
            panic!("what was printed does not parse: {}", render(&errors, "printed", &printed))
        });
        assert_eq!(text::print(&again), printed, "printing is not stable");
        answer = answer.with("ok").with(&forms.into_iter().collect::<String>());
    }
    answer
}
