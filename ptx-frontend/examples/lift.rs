//! Lifts a PTX file and prints it as hetIR: `cargo run -p ptx-frontend --example lift FILE.ptx`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: lift FILE.ptx");
        return ExitCode::from(2);
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) => {
            eprintln!("{path}: {e}");
            return ExitCode::from(2);
        }
    };
    let output = ptx_frontend::lift_text(&text, ptx_frontend::Options::default());
    eprint!("{}", hetir::diag::render(&output.diagnostics, &path, &text));
    match output.into_result() {
        Ok(module) => {
            if let Err(errors) = hetir::verify::verify(&module) {
                eprint!("{}", hetir::diag::render(&errors, &path, &text));
                return ExitCode::FAILURE;
            }
            print!("{}", hetir::text::print(&module));
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}
