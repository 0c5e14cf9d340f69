//! `hetgpu-accept`: compares what the front end and NVIDIA's assembler accept.

use std::process::ExitCode;

use hetgpu_tests::accept::generate::{self, Effort};
use hetgpu_tests::accept::judge::{self, Verdict};
use hetgpu_tests::accept::known::Side;
use hetgpu_tests::{accept, toolkit};

const USAGE: &str = "\
hetgpu-accept [--whole] [--seed N] [--only NAME] [--isa VERSION,TARGET] [--table FILE] [--needs FILE]
  asks the front end and ptxas whether generated instructions are legal, and prints where they differ
  --whole      everything; else a sample that takes less than a minute
  --seed N     other random choices (1)
  --only NAME  only forms of this instruction
  --isa VERSION,TARGET
               in modules of this version and target (9.0,sm_90a), and without mutations
  --table FILE writes every instruction with both verdicts, separated by tabs
  --needs FILE writes the oldest target and version for each legal instruction";

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
    let mut effort = Effort { seed: 1, combinations: 6, mutations: 2, one_in: 24, only: "", isa: judge::NEWEST };
    let mut table: Option<String> = None;
    let mut needs: Option<String> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--whole" => (effort.combinations, effort.mutations, effort.one_in) = (60, 4, 1),
            "--seed" => effort.seed = value()?.parse().map_err(|_| "the seed is a number".to_string())?,
            "--only" => effort.only = value()?.leak(),
            "--isa" => {
                let value: &str = value()?.leak();
                effort.isa =
                    value.split_once(',').ok_or_else(|| format!("--isa needs a version and a target\n{USAGE}"))?;
                (effort.combinations, effort.mutations, effort.one_in) = (30, 0, u64::MAX);
            }
            "--needs" => needs = Some(value()?),
            "--table" => table = Some(value()?),
            _ => return Err(format!("there is no `{argument}`\n{USAGE}")),
        }
    }
    let ptxas = toolkit::locate("ptxas")?;
    let cases = generate::cases(effort);
    let mut lines = String::new();
    if let Some(path) = needs {
        return least(&ptxas, &cases, &path).map(|()| true);
    }
    let report = accept::compare(&ptxas, effort.isa, &cases, |line, ours, theirs| {
        if table.is_some() {
            let ours = match ours {
                Verdict::Accepts => "",
                Verdict::Unsupported => "not supported",
                Verdict::Refuses { message, .. } => message,
            };
            let theirs = theirs.map_or("", |message| message.lines().next().unwrap_or("refused"));
            lines += &format!("{line}\t{ours}\t{theirs}\n");
        }
    })?;
    if let Some(path) = table {
        std::fs::write(&path, lines).map_err(|error| format!("{path}: {error}"))?;
    }
    for finding in &report.findings {
        let who = if finding.side == Side::Ours { "only we accept" } else { "only ptxas accepts" };
        println!("{who}: {} x{}: {}", finding.base, finding.count, finding.message);
        for example in &finding.examples {
            println!("    {example}");
        }
    }
    let stale = accept::stale(&ptxas)?;
    for example in &stale {
        println!("no longer differs as is known: {example}");
    }
    println!("{} legal, {} illegal, {} differ as is known", report.legal, report.illegal, report.known);
    let agreed = report.legal + report.illegal + report.known;
    println!(
        "{agreed} passed, {} failed, 0 skipped",
        report.findings.iter().map(|f| f.count).sum::<usize>() + stale.len()
    );
    Ok(report.findings.is_empty() && stale.is_empty())
}

/// Targets and versions, oldest first.
const TARGETS: &[&str] = &[
    "sm_50", "sm_52", "sm_53", "sm_60", "sm_61", "sm_62", "sm_70", "sm_72", "sm_75", "sm_80", "sm_86", "sm_87",
    "sm_89", "sm_90", "sm_90a",
];
const VERSIONS: &[&str] = &[
    "4.1", "4.2", "4.3", "5.0", "6.0", "6.1", "6.2", "6.3", "6.4", "6.5", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5",
    "7.6", "7.7", "7.8", "8.0", "8.1", "8.2", "8.3", "8.4", "8.5", "8.6", "8.7", "8.8", "9.0",
];

/// Writes the oldest target that ptxas accepts each instruction for, and the oldest version for that target.
fn least(ptxas: &std::path::Path, cases: &[String], path: &str) -> Result<(), String> {
    let accepted = |for_: (&str, &str), cases: &[String]| -> Result<Vec<bool>, String> {
        Ok(accept::judge::theirs_for(ptxas, for_, cases)?.into_iter().map(|verdict| verdict.is_none()).collect())
    };
    let mut left = cases.to_vec();
    let mut out = String::new();
    let legal = accepted(("9.0", "sm_90a"), &left)?;
    let mut keep = legal.iter();
    left.retain(|_| *keep.next().unwrap_or(&false));
    for target in TARGETS {
        let here = accepted(("9.0", target), &left)?;
        let mut group: Vec<String> = Vec::new();
        let mut rest = Vec::new();
        for (line, ok) in left.into_iter().zip(here) {
            if ok { group.push(line) } else { rest.push(line) }
        }
        left = rest;
        for version in VERSIONS {
            if group.is_empty() {
                break;
            }
            let Ok(here) = accepted((version, target), &group) else { continue };
            let mut rest = Vec::new();
            for (line, ok) in group.into_iter().zip(here) {
                if ok { out += &format!("{target}\t{version}\t{line}\n") } else { rest.push(line) }
            }
            group = rest;
        }
    }
    std::fs::write(path, out).map_err(|error| format!("{path}: {error}"))
}
