//! `hetgpu-fuzz`: fuzzes one target or all of them, each for some seconds.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hetgpu_fuzz::run::{Until, fuzz};
use hetgpu_fuzz::targets::{ALL, BY_NAME, Target};

const USAGE: &str = "\
hetgpu-fuzz [TARGET] [--seconds N] [--seed N] [--folder PATH]
  fuzzes a target, or all but `cpu` one after the other, each for N seconds (10)
  --folder PATH  where findings are written (.build/fuzz)
hetgpu-fuzz TARGET --input FILE
  runs one input, for instance a finding";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, String> {
    let mut targets: Vec<Target> = ALL.to_vec();
    let (mut seconds, mut seed, mut input) = (10, 1, None);
    let mut folder = PathBuf::from(".build/fuzz");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("`{text}` is no number"));
        match argument.as_str() {
            "--seconds" => seconds = number(value()?)?,
            "--seed" => seed = number(value()?)?,
            "--folder" => folder = value()?.into(),
            "--input" => input = Some(value()?),
            flag if flag.starts_with('-') => return Err(USAGE.into()),
            name => {
                let known = || ALL.iter().chain(BY_NAME);
                targets = known().filter(|target| target.name == name).copied().collect();
                if targets.is_empty() {
                    let names: Vec<_> = known().map(|target| target.name).collect();
                    return Err(format!("no target `{name}`; there are {}", names.join(" ")));
                }
            }
        }
    }
    if let Some(input) = input {
        let [target] = targets.as_slice() else { return Err(USAGE.into()) };
        let bytes = std::fs::read(&input).map_err(|error| format!("{input}: {error}"))?;
        println!("{:?}", (target.run)(&bytes));
        return Ok(true);
    }
    let mut failed = 0;
    for target in &targets {
        let summary = fuzz(target, seed, Until::Time(Duration::from_secs(seconds)), &folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        failed += usize::from(summary.findings > 0);
        println!(
            "{}: {} inputs, {} different answers, {} findings",
            target.name, summary.inputs, summary.answers, summary.findings
        );
    }
    println!("{} passed, {failed} failed, 0 skipped", targets.len() - failed);
    Ok(failed == 0)
}
