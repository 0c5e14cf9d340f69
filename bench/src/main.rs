//! `hetgpu-bench`: benchmarks. Each prints a table and writes JSON.
#![forbid(unsafe_code)]

mod parse;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
hetgpu-bench parse FILE.ptx [--json FILE]
  parses and lifts a PTX text: time, rate, and memory against the text's size";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (mut words, mut json) = (Vec::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = Some(PathBuf::from(arguments.next().ok_or(USAGE)?)),
            flag if flag.starts_with('-') => return Err(USAGE.into()),
            word => words.push(word.to_string()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["parse", file] => parse::run(file.as_ref(), json.as_deref()),
        // One stage in a process of its own, so that the memory it takes can be seen.
        ["memory", stage, file] => parse::memory(stage, file.as_ref()),
        _ => Err(USAGE.into()),
    }
}
