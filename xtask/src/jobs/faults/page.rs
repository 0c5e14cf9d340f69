//! What a run of faults did, as a table, and what long runs did, as a page of the documentation.

use crate::tool::root;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

/// Every long run, and the page about them.
const RUNS: &str = "docs/bench/faults.json";
const PAGE: &str = "docs/bench/faults.md";

/// What happened, kind by kind.
#[derive(Default)]
pub(in super::super) struct Tally {
    kinds: BTreeMap<String, Kind>,
    /// In front of how many different steps something was killed, and how many there are, by what takes them.
    pub(super) steps: BTreeMap<String, (u64, u64)>,
    /// What failed, as it was told.
    pub(in super::super) failed: Vec<String>,
}

/// How often something was tried, how often it happened, and how long all of that took.
#[derive(Default)]
struct Kind {
    tried: u64,
    happened: u64,
    took: Duration,
}

impl Tally {
    pub(in super::super) fn note(&mut self, kind: &str, happened: bool, took: Duration) {
        let kind = self.kinds.entry(kind.to_owned()).or_default();
        kind.tried += 1;
        kind.happened += u64::from(happened);
        kind.took += took;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (name, kind) in other.kinds {
            let own = self.kinds.entry(name).or_default();
            *own = Kind {
                tried: own.tried + kind.tried,
                happened: own.happened + kind.happened,
                took: own.took + kind.took,
            };
        }
        self.failed.extend(other.failed);
        for (name, (seen, all)) in other.steps {
            let own = self.steps.entry(name).or_default();
            // Each lane goes through them by itself.
            *own = (own.0.max(seen), own.1.max(all));
        }
    }

    pub(super) fn happened(&self) -> u64 {
        self.kinds.values().map(|kind| kind.happened).sum()
    }
}

/// A run.
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) lanes: u64,
    pub(super) release: bool,
    pub(super) jobs: u64,
    pub(super) failures: u64,
    pub(super) took: Duration,
    pub(super) tally: Tally,
}

impl Run {
    /// What failed, without where this is.
    fn failed(&self) -> Vec<String> {
        let (own, bare) = (format!("{}/", root().display()), root().display().to_string());
        // CRIU names files without their first slash.
        let own_bare = own.trim_start_matches('/').to_owned();
        let told = self.tally.failed.iter();
        told.map(|text| text.replace(&own, "").replace(&own_bare, "").replace(&bare, ".")).collect()
    }

    fn json(&self) -> Value {
        let kind = |(name, kind): (&String, &Kind)| {
            let mean = kind.took.as_secs_f64() * 1e3 / shared(kind.tried, kind.happened);
            json!({ "kind": name, "tried": kind.tried, "happened": kind.happened, "ms": mean })
        };
        let steps = |(name, (seen, all)): (&String, &(u64, u64))| json!({ "what": name, "seen": seen, "all": all });
        json!({
            "seed": self.seed, "lanes": self.lanes, "release": self.release, "jobs": self.jobs, "failures": self.failures, "failed": self.failed(),
            "seconds": self.took.as_secs(), "faults": self.tally.happened(),
            "kinds": self.tally.kinds.iter().map(kind).collect::<Vec<_>>(),
            "steps": self.tally.steps.iter().map(steps).collect::<Vec<_>>(),
        })
    }
}

/// How many share the time: what happened, or all tries of what is no fault.
fn shared(tried: u64, happened: u64) -> f64 {
    if happened > 0 { happened as f64 } else { tried.max(1) as f64 }
}

fn table(kinds: &Value) -> String {
    let mut out = "| kind | tried | happened | ms each |\n|---|---|---|---|\n".to_owned();
    for kind in kinds.as_array().into_iter().flatten() {
        let name = kind["kind"].as_str().unwrap_or("?");
        let ms = kind["ms"].as_f64().unwrap_or(0.0);
        out += &format!("| {name} | {} | {} | {ms:.0} |\n", kind["tried"], kind["happened"]);
    }
    out
}

/// Says what a run did.
pub(super) fn tell(run: &Run) {
    let shown = run.json();
    print!("{}", table(&shown["kinds"]));
    for steps in shown["steps"].as_array().into_iter().flatten() {
        println!(
            "{}: killed in front of {} of {} steps",
            steps["what"].as_str().unwrap_or("?"),
            steps["seen"],
            steps["all"]
        );
    }
    println!(
        "{} faults of {} jobs in {} s, seed {}, {} at a time",
        shown["faults"],
        run.jobs,
        run.took.as_secs(),
        run.seed,
        run.lanes
    );
}

fn date() -> String {
    let said = Command::new("date").args(["-u", "+%F"]).output();
    said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
}

fn machine() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {processors} processors", model.map_or("?", |(_, name)| name.trim()))
}

/// Puts a run to those before it, and writes the page anew.
pub(super) fn keep(run: &Run) -> Result<(), String> {
    let path = root().join(RUNS);
    let mut all: Value = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| format!("{RUNS}: {error}"))?,
        Err(_) => json!([]),
    };
    let mut shown = run.json();
    (shown["date"], shown["machine"]) = (json!(date()), json!(machine()));
    let runs = all.as_array_mut().ok_or_else(|| format!("{RUNS}: it is no list"))?;
    runs.push(shown);
    let page = page(runs);
    let written = std::fs::write(&path, format!("{all:#}\n")).and_then(|()| std::fs::write(root().join(PAGE), page));
    written.map_err(|error| format!("{PAGE}: {error}"))
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// Everything of one kind, over all runs.
fn summed(runs: &[Value]) -> Value {
    let mut kinds = BTreeMap::<&str, (u64, u64, f64)>::new();
    for kind in runs.iter().flat_map(|run| run["kinds"].as_array().into_iter().flatten()) {
        let all = kinds.entry(kind["kind"].as_str().unwrap_or("?")).or_default();
        let (tried, happened) = (number(kind, "tried"), number(kind, "happened"));
        let took = kind["ms"].as_f64().unwrap_or(0.0) * shared(tried, happened);
        *all = (all.0 + tried, all.1 + happened, all.2 + took);
    }
    let shown = |(name, (tried, happened, took)): (&&str, &(u64, u64, f64))| json!({ "kind": name, "tried": tried, "happened": happened, "ms": took / shared(*tried, *happened) });
    kinds.iter().map(shown).collect()
}

/// In front of how many steps something was killed, in the run that has most.
fn steps(runs: &[Value]) -> BTreeMap<&str, (u64, u64)> {
    let mut most = BTreeMap::<&str, (u64, u64)>::new();
    for steps in runs.iter().flat_map(|run| run["steps"].as_array().into_iter().flatten()) {
        let own = most.entry(steps["what"].as_str().unwrap_or("?")).or_default();
        *own = (own.0.max(number(steps, "seen")), own.1.max(number(steps, "all")));
    }
    most
}

fn page(runs: &[Value]) -> String {
    let sum = |name: &str| runs.iter().map(|run| number(run, name)).sum::<u64>();
    let mut out = format!(
        "# Faults of jobs that run\n\nWritten by `cargo xtask faults COUNT SEED LANES --release`, which adds its run. {} faults in all, of {} jobs; {} \
         failures.\nAfter each but these the job ran where it was, or came back from a complete checkpoint, and every job ended with what it \
         computes\nundisturbed, and had said each of its steps once. What is tried and comes too late, such as a kill of a command that \
         has\nended, does not count.\n\n\
         | date | machine | seed | lanes | jobs | faults | failures | s |\n|---|---|---|---|---|---|---|---|\n",
        sum("faults"),
        sum("jobs"),
        sum("failures"),
    );
    for run in runs {
        let text = |name: &str| run[name].as_str().unwrap_or("?").to_owned();
        let numbers =
            ["seed", "lanes", "jobs", "faults", "failures", "seconds"].map(|name| number(run, name).to_string());
        let _ = writeln!(out, "| {} | {} | {} |", text("date"), text("machine"), numbers.join(" | "));
    }
    let _ = write!(
        out,
        "\nAll of them together, with the time that one takes, the tries that came too late among it:\n\n{}",
        table(&summed(runs))
    );
    out += "\nIn front of how many different steps one was killed, by what a single lane did in a run; steps are calls of the system that \
            others\ncan see, of a command's first thread, of CRIU or of any thread of the job.\n\n| what | steps | the last of them |\n|---|---|---|\n";
    for (what, (seen, all)) in steps(runs) {
        let _ = writeln!(out, "| {what} | {seen} | {all} |");
    }
    let failed = runs.iter().flat_map(|run| run["failed"].as_array().into_iter().flatten());
    let failed: Vec<String> =
        failed.filter_map(Value::as_str).map(|text| format!("- {}\n", text.replace('\n', " "))).collect();
    if !failed.is_empty() {
        out += &format!("\n## What failed\n\n{}", failed.concat());
    }
    out
}
