//! `hetgpu-gen`: writes the generated pages of docs/ and README's generated table, or with `--check` compares them with
//! what they would be.

mod coverage;
mod ops;
mod settings;

use std::path::Path;
use std::process::ExitCode;

/// A page: its path, and how it is made from what it was.
type Page = (&'static str, fn(&str) -> String);

const PAGES: &[Page] = &[
    ("docs/ops.md", |_| ops::page()),
    ("docs/ptx-coverage.md", |_| coverage::page()),
    ("README.md", settings::readme),
];

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut failed = 0;
    for (name, page) in PAGES {
        let path = root.join(name);
        // A page that is not there yet is as good as empty.
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let text = page(&old);
        let current = old == text;
        let problem = match (current, check) {
            (true, _) => None,
            (false, true) => Some("is not current: run `cargo xtask gen`".to_string()),
            (false, false) => std::fs::write(&path, text).err().map(|error| error.to_string()),
        };
        if let Some(problem) = problem {
            failed += 1;
            println!("{name} {problem}");
        }
    }
    println!("{} passed, {failed} failed, 0 skipped", PAGES.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
