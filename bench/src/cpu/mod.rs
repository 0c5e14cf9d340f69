//! The CPU suite: our driver API against OpenCL for processors, on the same data, in turns.

pub(crate) mod case;
pub(crate) mod cases;
mod chart;
mod contestant;
pub(crate) mod engine;
mod limits;
pub(crate) mod report;
pub(crate) mod worker;

use std::path::{Path, PathBuf};
use std::time::Duration;

use case::{Expected, Kernel, Outcome, Size};
use contestant::{Failure, Recipe, Worker};
use limits::Limits;
use report::{Overhead, Report, Row, Scaling, Stats};

/// The kernel that shows how work spreads over processors: it computes from registers and local memory.
const SCALED: &str = "nbody";

/// What a contestant gets in a turn, in seconds, and the most launches that may be.
const TURN: f64 = 0.03;
const LAUNCHES: f64 = 10.0;

/// A kernel that takes longer than this gets fewer turns.
const LONG: f64 = 1.5;

/// Beyond this, something hangs. Compilation is part of it.
const LIMIT: Duration = Duration::from_secs(240);

pub(crate) struct Options {
    pub(crate) size: Size,
    pub(crate) only: Vec<String>,
    pub(crate) contestants: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) libcuda: PathBuf,
    /// A folder with the kernels in PTX.
    pub(crate) ptx: PathBuf,
    /// A folder with the kernels in OpenCL C.
    pub(crate) opencl: PathBuf,
    /// Where `bench/peers.sh` installs.
    pub(crate) peers: PathBuf,
    /// A folder for what passes between processes.
    pub(crate) work: PathBuf,
    pub(crate) json: Option<PathBuf>,
    pub(crate) chart: Option<PathBuf>,
}

/// A contestant, and its worker while it has one.
struct Entrant {
    recipe: Recipe,
    worker: Option<Worker>,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let kernels = match options.only.as_slice() {
        [] => cases::KERNELS.iter().collect(),
        names => names.iter().map(|name| cases::find(name)).collect::<Result<Vec<_>, _>>()?,
    };
    std::fs::create_dir_all(&options.work).map_err(|error| format!("{}: {error}", options.work.display()))?;
    let mut recipes = vec![contestant::ours(&options.libcuda, &options.work, &options.ptx)];
    recipes.extend(contestant::peers(&options.peers, &options.work, &options.opencl)?);
    if let Some(unknown) = options.contestants.iter().find(|name| !recipes.iter().any(|recipe| recipe.name == *name)) {
        return Err(format!("there is no contestant `{unknown}`; there are ours, pocl, intel"));
    }
    recipes.retain(|recipe| options.contestants.is_empty() || options.contestants.iter().any(|n| n == recipe.name));

    let mut report = Report::new(options.size, Limits::measure(options.size.pick(1 << 16, 32 << 20, 32 << 20)));
    let mut entrants = Vec::new();
    for recipe in recipes {
        match recipe.start(None, LIMIT) {
            Ok(worker) => {
                report.devices.push((recipe.name, worker.device.clone()));
                entrants.push(Entrant { recipe, worker: Some(worker) });
            }
            Err(error) if recipe.name == "ours" => report.errors.push(format!("ours: {error}; {}", recipe.install)),
            Err(error) => println!("skipped {}: {error}; {}", recipe.name, recipe.install),
        }
    }
    print!("{}", report.head());
    for kernel in kernels {
        let row = measure(kernel, options, &mut entrants, &mut report);
        println!("{}", report.line(&row));
        report.rows.push(row);
    }
    if options.only.is_empty() {
        launches(options, &mut entrants, &mut report);
        scaling(options, &entrants, &mut report);
    }
    drop(entrants);
    print!("{}", report.tail());
    if let Some(path) = &options.json {
        write(path, &format!("{:#}\n", report.json()))?;
    }
    if let Some(path) = &options.chart {
        write(path, &chart::draw(&report))?;
    }
    match report.errors.len() {
        0 => Ok(()),
        count => Err(format!("{count} errors:\n{}", report.errors.join("\n"))),
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(fail)?;
    std::fs::write(path, text).map_err(fail)
}

impl Entrant {
    /// Asks the worker, which is started if there is none. A worker that is gone is given up; the next question starts
    /// another.
    fn ask(&mut self, question: &str, most: usize) -> Result<(Vec<f64>, String), String> {
        if self.worker.is_none() {
            self.worker = Some(self.recipe.start(None, LIMIT)?);
        }
        let Some(worker) = &mut self.worker else { return Err("no worker".into()) };
        worker.numbers(question, most, LIMIT).map_err(|failure| {
            if matches!(failure, Failure::Gone(_)) {
                self.worker = None;
            }
            failure.text()
        })
    }
}

/// A contestant that passed the check.
struct Ready {
    entrant: usize,
    results: Vec<u8>,
    /// The largest deviation in units of the tolerance.
    error: f64,
    form: String,
    first: f64,
    launches: usize,
    rounds: usize,
    times: Vec<f64>,
}

fn measure(kernel: &Kernel, options: &Options, entrants: &mut [Entrant], report: &mut Report) -> Row {
    let case = (kernel.case)(options.size);
    let bytes = case.traffic();
    let outcome = (case.reference)();
    let mut ready = Vec::new();
    for (index, entrant) in entrants.iter_mut().enumerate() {
        match load(kernel, options, entrant, &outcome) {
            Ok(one) => ready.push(Ready { entrant: index, ..one }),
            Err(error) => report.errors.push(format!("{} on {}: {error}", kernel.name, entrant.recipe.name)),
        }
    }
    let mut agreement = 0.0f64;
    for (index, one) in ready.iter().enumerate() {
        for other in &ready[..index] {
            match each(&outcome, &one.results, |expected, range| {
                expected.agree(&one.results[range.clone()], &other.results[range])
            }) {
                Ok(deviation) => agreement = agreement.max(deviation),
                Err(error) => {
                    let (one, other) = (entrants[one.entrant].recipe.name, entrants[other.entrant].recipe.name);
                    report.errors.push(format!("{}: {one} and {other} disagree: {error}", kernel.name));
                }
            }
        }
    }
    for round in 0..options.rounds {
        for one in ready.iter_mut().filter(|one| round < one.rounds) {
            let entrant = &mut entrants[one.entrant];
            match entrant.ask(&format!("time {}", one.launches), one.launches) {
                Ok((times, _)) => one.times.extend(times),
                Err(error) => {
                    one.rounds = 0;
                    report.errors.push(format!("{} on {}: {error}", kernel.name, entrant.recipe.name));
                }
            }
        }
    }
    let mut row = Row::new(kernel.name, bytes, &outcome);
    row.agreement = agreement;
    for one in ready {
        let entrant = &mut entrants[one.entrant];
        // A worker that is gone has nothing to drop, and the next kernel says so if it cannot be started again.
        let _ = entrant.ask("drop", 0);
        if let Some(stats) = Stats::of(one.times) {
            let stats = Stats { first: one.first, error: one.error, form: one.form, ..stats };
            row.stats.push((entrant.recipe.name, stats));
        }
    }
    row
}

/// Loads a kernel and checks what it computes.
fn load(kernel: &Kernel, options: &Options, entrant: &mut Entrant, outcome: &Outcome) -> Result<Ready, String> {
    let file = options.work.join(format!("{}.{}.results", kernel.name, entrant.recipe.name));
    let question = format!("load {} {} {}", kernel.name, options.size.name(), file.display());
    let (times, form) = entrant.ask(&question, 2)?;
    let [first, again] = times[..] else { return Err("an answer without times".into()) };
    let results = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let _ = std::fs::remove_file(&file);
    let error = each(outcome, &results, |expected, range| expected.check(&results[range]))
        .map_err(|error| format!("a wrong result: {error}"))?;
    let launches = (TURN / again).clamp(1.0, LAUNCHES) as usize;
    let rounds = if again > LONG { 2 } else { options.rounds };
    Ok(Ready { entrant: 0, results, error, form, first, launches, rounds, times: Vec::new() })
}

/// Applies a check to every output, whose bytes stand one behind the other; the largest deviation.
fn each(
    outcome: &Outcome,
    results: &[u8],
    check: impl Fn(&Expected, std::ops::Range<usize>) -> Result<f64, String>,
) -> Result<f64, String> {
    let (mut at, mut worst) = (0, 0.0f64);
    for (number, expected) in outcome.expected.iter().enumerate() {
        let range = at..(at + expected.bytes()).min(results.len());
        at = range.end;
        let deviation = check(expected, range);
        worst = worst.max(deviation.map_err(|e| format!("output {number}: {e} (tolerance {})", expected.tolerance()))?);
    }
    Ok(worst)
}

/// What launching a kernel costs that does nothing.
fn launches(options: &Options, entrants: &mut [Entrant], report: &mut Report) {
    let count = options.size.pick(20, 200, 2000);
    for entrant in entrants {
        let results = options.work.join("empty.results");
        let load = format!("load {} {} {}", cases::EMPTY.name, options.size.name(), results.display());
        let overhead = entrant.ask(&load, 2).and_then(|_| entrant.ask(&format!("overhead {count}"), 2));
        match overhead {
            Ok((times, _)) if times.len() == 2 => {
                report.overheads.push((entrant.recipe.name, Overhead { enqueue: times[0], wait: times[1] }));
            }
            Ok(_) => report.errors.push(format!("empty on {}: an answer without times", entrant.recipe.name)),
            Err(error) => report.errors.push(format!("empty on {}: {error}", entrant.recipe.name)),
        }
        let _ = std::fs::remove_file(&results);
    }
}

/// A compute-bound kernel on one processor and on all.
fn scaling(options: &Options, entrants: &[Entrant], report: &mut Report) {
    for recipe in entrants.iter().map(|entrant| &entrant.recipe) {
        let [one, all] = [1, report.limits.processors].map(|threads| scaled(options, recipe, threads));
        match (one, all) {
            (Ok(one), Ok(all)) => report.scalings.push((recipe.name, Scaling { one, all })),
            (Err(error), _) | (_, Err(error)) => {
                report.errors.push(format!("{SCALED} with limited threads on {}: {error}", recipe.name));
            }
        }
    }
}

/// The least seconds of a worker with so many threads.
fn scaled(options: &Options, recipe: &Recipe, threads: usize) -> Result<f64, String> {
    let mut worker = recipe.start(Some(threads), LIMIT)?;
    let results = options.work.join("scaling.results");
    let load = format!("load {SCALED} {} {}", options.size.name(), results.display());
    worker.ask(&load, LIMIT).map_err(Failure::text)?;
    let _ = std::fs::remove_file(&results);
    let count = options.size.pick(1, 3, 9);
    let (times, _) = worker.numbers(&format!("time {count}"), count, LIMIT).map_err(Failure::text)?;
    times.into_iter().reduce(f64::min).ok_or_else(|| "an answer without times".into())
}
