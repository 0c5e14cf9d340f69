//! `hetgpu-gen`: writes the generated pages of docs/, or with `--check` compares them with what they would be.

mod coverage;
mod ops;

use std::path::Path;
use std::process::ExitCode;

/// A page: its name below docs/, and how it is made.
type Page = (&'static str, fn() -> String);

const PAGES: &[Page] = &[("ops.md", ops::page), ("ptx-coverage.md", coverage::page)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => {
            eprintln!("hetgpu-gen [--check]");
            return ExitCode::FAILURE;
        }
    };
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut failed = 0;
    for (name, page) in PAGES {
        let path = docs.join(name);
        let text = page();
        let current = std::fs::read_to_string(&path).is_ok_and(|old| old == text);
        let problem = match (current, check) {
            (true, _) => None,
            (false, true) => Some("is not current: run `cargo xtask gen`".to_string()),
            (false, false) => std::fs::write(&path, text).err().map(|error| error.to_string()),
        };
        if let Some(problem) = problem {
            failed += 1;
            println!("docs/{name} {problem}");
        }
    }
    println!("{} passed, {failed} failed, 0 skipped", PAGES.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
