//! Prints every kernel of a PTX text into a folder: `print FILE FOLDER [logical] [part] [suspend]`.

use hetgpu_nvidia::ptx::{self, Addresses, Part, Request, Target};
use hetir::entity::FuncId;
use hetir::passes::suspend::{Density, Plan, Strips};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, folder, words @ ..] = &arguments[..] else {
        eprintln!("usage: print FILE FOLDER [logical] [part] [suspend]");
        return ExitCode::FAILURE;
    };
    let has = |word: &str| words.iter().any(|w| w == word);
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let output = ptx_frontend::lift_text(&text, ptx_frontend::Options { lenient: true });
    let module = output.module;
    let globals: Vec<u64> = (0..module.globals.len() as u64).map(|n| 0x12_3450_0000 + (n << 20)).collect();
    let target = Target { compute: (9, 0), architecture_specific: true, isa: (9, 0) };
    let mut failed = false;
    for (n, function) in module.functions.iter().enumerate().filter(|(_, f)| f.is_kernel()) {
        let kernel = FuncId::new(n);
        let mut module = module.clone();
        if has("suspend") {
            match Plan::with(&module, kernel, [256, 1, 1], Density::Enough, Strips::Bounded) {
                Some(plan) if plan.has_sites() => module = plan.suspendable(),
                _ => continue,
            }
        }
        let request = Request {
            module: &module,
            kernel,
            globals: &globals,
            target: &target,
            addresses: if has("logical") { Addresses::Logical } else { Addresses::Native },
            part: if has("part") { Part::List } else { Part::Whole },
            stops: has("part"),
        };
        match ptx::print(&request) {
            Ok(printed) => {
                let path = format!("{folder}/{}.ptx", printed.entry);
                std::fs::write(&path, printed.text).unwrap_or_else(|e| panic!("{path}: {e}"));
            }
            Err(why) => {
                eprintln!("{}: {why}", function.name);
                failed = true;
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
