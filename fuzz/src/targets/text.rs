//! hetIR's text format: what is read is printed so that it reads back the same.

use std::collections::BTreeSet;

use hetir::text;

use super::{Answer, kind_of};
use crate::seeds::files;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    files("fuzz/seeds", &["het"])
}

pub(super) fn run(bytes: &[u8]) -> Answer {
    let source = String::from_utf8_lossy(bytes);
    match text::parse(&source) {
        Err(diagnostics) => {
            diagnostics.iter().take(2).fold(Answer::NONE, |a, d| a.with(d.code).with(&kind_of(&d.message)))
        }
        Ok(module) => {
            let printed = text::print(&module);
            let again = text::parse(&printed).unwrap_or_else(|errors| {
                panic!(
                    "what was printed does not parse: {}\n{printed}",
                    hetir::diag::render(&errors, "printed", &printed)
                )
            });
            assert_eq!(text::print(&again), printed, "printing is not stable");
            Answer::NONE.with("ok").with(&shape(&printed))
        }
    }
}

/// The ops of a text.
fn shape(printed: &str) -> String {
    let ops: BTreeSet<&str> =
        printed.lines().filter_map(|line| line.split('=').next_back()?.split_whitespace().next()).collect();
    ops.into_iter().collect()
}
