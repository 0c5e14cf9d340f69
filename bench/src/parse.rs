//! How fast PTX is parsed and lifted, and what memory that takes.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hetir::diag::Severity;
use hetir::verify::verify;
use ptx_frontend::parse::parse;
use ptx_frontend::{Options, lift, lift_text};
use serde_json::json;

/// So many rounds are timed; the best counts, since everything else on the machine only makes a round slower.
const ROUNDS: usize = 9;

/// What is measured, one behind the other.
const STAGES: [&str; 3] = ["parse", "parse and lift", "parse, lift and verify"];

pub(crate) fn run(file: &Path, json: Option<&Path>) -> Result<(), String> {
    let text = read(file)?;
    let strict = Options { lenient: false };
    let output = lift_text(&text, strict);
    let errors: Vec<_> = output.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    if let Some(first) = errors.first() {
        return Err(format!("{}: {} errors, the first: {}", file.display(), errors.len(), first.message));
    }
    if let Err(errors) = verify(&output.module) {
        return Err(format!("{}: what was lifted does not verify: {}", file.display(), errors[0].message));
    }
    let kernels = output.module.functions.iter().filter(|function| function.is_kernel()).count();
    drop(output);

    let times = [
        best(|| drop(black_box(parse(&text)))),
        best(|| {
            let parsed = parse(&text);
            drop(black_box(lift(&parsed.module, parsed.diagnostics, strict)));
        }),
        best(|| {
            let output = lift_text(&text, strict);
            drop(black_box(verify(&output.module)));
        }),
    ];
    let megabytes = text.len() as f64 / 1e6;
    println!("{}: {megabytes:.2} MB, {kernels} kernels, best of {ROUNDS} on one core", file.display());
    println!("{:<24} {:>9} {:>11} {:>17}", "", "time", "rate", "memory / text");
    let mut rows = Vec::new();
    for (stage, time) in STAGES.iter().zip(times) {
        let bytes = memory_of(stage, file)?;
        let (rate, ratio) = (megabytes / time.as_secs_f64(), bytes as f64 / text.len() as f64);
        println!("{stage:<24} {:>6.1} ms {rate:>6.1} MB/s {ratio:>17.1}", time.as_secs_f64() * 1e3);
        rows.push(json!({ "stage": stage, "seconds": time.as_secs_f64(), "megabytes_per_second": rate,
            "memory_bytes": bytes, "memory_per_text": ratio }));
    }
    if let Some(path) = json {
        let report = json!({ "bench": "parse", "file": file.display().to_string(), "bytes": text.len(),
            "kernels": kernels, "rounds": ROUNDS, "stages": rows });
        std::fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn best(mut work: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    rounds.min().unwrap_or_default()
}

/// What a stage takes beyond the text, in bytes: the peak of a process that does nothing else.
fn memory_of(stage: &str, file: &Path) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).args(["memory", stage]).arg(file).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("no figure for the memory of {stage}: {text}"))
}

/// Prints how much the peak of this process's memory grows by a stage.
pub(crate) fn memory(stage: &str, file: &Path) -> Result<(), String> {
    let text = read(file)?;
    let before = peak()?;
    match STAGES.iter().position(|known| *known == stage) {
        Some(0) => drop(black_box(parse(&text))),
        Some(1) => drop(black_box(lift_text(&text, Options { lenient: false }))),
        Some(2) => drop(black_box(verify(&lift_text(&text, Options { lenient: false }).module))),
        _ => return Err(format!("no stage `{stage}`")),
    }
    println!("{}", peak()?.saturating_sub(before));
    Ok(())
}

/// The largest resident set of this process so far, in bytes.
fn peak() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kilobytes: u64 =
        line.trim().trim_end_matches("kB").trim().parse().map_err(|_| "no VmHWM in /proc/self/status")?;
    Ok(kilobytes * 1024)
}
