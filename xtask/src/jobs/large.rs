//! `cargo xtask bench jobs [FLAGS]`: how long a job with much memory stands still while it is saved, sent and moved, and how fast that
//! goes beside copies in memory and files on the same disk. The times are the command's own and what the program itself has seen: it
//! notes the longest time between two of its steps.

use super::transfers::{self, Receiver};
use super::{Bench, Job, folder};
use crate::report::Counts;
use crate::tool::{cargo, root, succeeds};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PROGRAM: &str = "large";
const USAGE: &str = "bench jobs takes --mebibytes N (2048), --permille N (10: pages that change in a second), --rounds N (5), and --debug";
/// What is promised for a job that changes a hundredth of its memory in a second, in milliseconds.
const PROMISED: f64 = 100.0;
/// How long the job runs before something is done to it, and between two things.
const SETTLING: Duration = Duration::from_millis(1500);

struct Options {
    mebibytes: u64,
    permille: u64,
    rounds: usize,
    release: bool,
}

fn options(flags: &[String]) -> Result<Options, String> {
    let mut options = Options { mebibytes: 2048, permille: 10, rounds: 5, release: true };
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        if flag == "--debug" {
            options.release = false;
            continue;
        }
        let value = flags.next().and_then(|value| value.parse().ok()).filter(|&value: &u64| value > 0).ok_or(USAGE)?;
        match flag.as_str() {
            "--mebibytes" => options.mebibytes = value,
            "--permille" => options.permille = value,
            "--rounds" => options.rounds = value as usize,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// What was measured of one thing, round by round.
#[derive(Default)]
struct Row {
    name: String,
    /// Seconds that it took, and milliseconds that the job stood still: as the command says, and as the program saw it.
    seconds: Vec<f64>,
    freeze: Vec<f64>,
    seen: Vec<f64>,
    /// Bytes that were written or sent, and rounds of a transfer.
    bytes: Vec<f64>,
    rounds: Vec<f64>,
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

struct Runs<'b> {
    bench: &'b Bench,
    options: Options,
    rows: Vec<Row>,
    wrong: u64,
    /// Jobs so far.
    number: usize,
}

impl Runs<'_> {
    fn row(&mut self, name: &str) -> &mut Row {
        if !self.rows.iter().any(|row| row.name == name) {
            self.rows.push(Row { name: name.to_owned(), ..Row::default() });
        }
        self.rows.iter_mut().find(|row| row.name == name).expect("it was put there just now")
    }

    fn end(&self) -> PathBuf {
        self.bench.work.join("end")
    }

    fn start(&mut self, how: &str) -> Result<Job, String> {
        let _ = std::fs::remove_file(self.end());
        self.number += 1;
        let mut command = self.bench.command(PROGRAM);
        command.args([self.options.mebibytes.to_string(), self.options.permille.to_string(), how.to_owned()]);
        command.arg(self.end());
        let job = self.bench.launch(&format!("{PROGRAM}-{}", self.number), command)?;
        std::thread::sleep(SETTLING);
        Ok(job)
    }

    /// Runs a command about the job; its answer, with the seconds that it took.
    fn done(&self, words: &[&str]) -> Result<(Value, f64), String> {
        let start = Instant::now();
        let output = self.bench.migrate(words).arg("--json").output().map_err(|error| error.to_string())?;
        let (seconds, said) = (start.elapsed().as_secs_f64(), super::text(&output));
        if !output.status.success() {
            return Err(format!("hetgpu-migrate {}: {}: {said}", words.join(" "), output.status));
        }
        let mut events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let last = events.rfind(|event| event["ok"] == json!(true));
        last.map(|answer| (answer, seconds)).ok_or_else(|| format!("no answer: {said}"))
    }

    /// Notes what a command said and what the job saw meanwhile.
    fn note(&mut self, name: &str, job: &Job, lines: usize, (answer, seconds): (Value, f64), bytes: &str) {
        std::thread::sleep(SETTLING);
        let seen = gaps(job, lines);
        let row = self.row(name);
        row.seconds.push(seconds);
        row.freeze.extend(answer["freeze_ms"].as_f64());
        row.seen.push(seen);
        row.bytes.extend(answer[bytes].as_f64());
        row.rounds.extend(answer["rounds"].as_f64());
    }

    /// The job ends, and everything that it has must be right.
    fn finish(&mut self, mut job: Job) -> Result<(), String> {
        std::fs::write(self.end(), "").map_err(|error| error.to_string())?;
        job.wait(|job| job.last().starts_with("checksum "))?;
        if job.last() != "checksum right" {
            println!("the job's numbers are wrong: {}", job.last());
            self.wrong += 1;
        }
        Ok(())
    }

    fn here(&mut self) -> Result<(), String> {
        let mut job = self.start("scattered")?;
        let pid = job.pid.to_string();
        for to in ["cpu:sse2", "cpu"] {
            let lines = lines(&job);
            let answer = self.done(&["move", &pid, "--to", to])?;
            self.note("move to another CPU device", &job, lines, answer, "copied");
        }
        let first = folder(self.bench, "first");
        let lines_before = lines(&job);
        let answer = self.done(&["checkpoint", &pid, "-o", &first, "--gpu-only", "--leave-running"])?;
        self.note("checkpoint --gpu-only --leave-running", &job, lines_before, answer, "file");
        let second = folder(self.bench, "second");
        let lines_before = lines(&job);
        let words = ["checkpoint", &pid, "-o", &second, "--gpu-only", "--leave-running", "--base", &first];
        let answer = self.done(&words)?;
        self.note("the same, --base the one before", &job, lines_before, answer, "file");
        if self.bench.criu.is_ok() {
            let third = folder(self.bench, "third");
            let lines_before = lines(&job);
            let answer = self.done(&["checkpoint", &pid, "-o", &third, "--leave-running", "--base", &second])?;
            self.note("checkpoint --leave-running --base", &job, lines_before, answer, "file");
            let fourth = folder(self.bench, "fourth");
            let lines_before = lines(&job);
            let answer = self.done(&["checkpoint", &pid, "-o", &fourth])?;
            let (saved, seconds) = answer;
            self.row("checkpoint").seconds.push(seconds);
            self.row("checkpoint").bytes.extend(saved["file"].as_f64());
            if job.lives() {
                return Err(format!("process {pid} is still there when it was saved"));
            }
            let (answer, seconds) = self.done(&["restore", &fourth])?;
            self.note("restore", &job, lines_before, (answer, seconds), "bytes");
            self.row("restore").seen.pop();
        }
        self.finish(job)
    }

    fn sent(&mut self, how: &str) -> Result<(), String> {
        let mut job = self.start(how)?;
        let pid = job.pid.to_string();
        let key = transfers::key(self.bench, "key", &mut super::faults::Random::new(self.number as u64))?;
        let receiver = Receiver::start(self.bench, &key, PROGRAM)?;
        let spool = folder(self.bench, "sending");
        let lines = lines(&job);
        let to = format!("127.0.0.1:{}", receiver.port);
        let answer = self.done(&["send", &pid, &to, "--key", &key, "--spool", &spool])?;
        self.note(&format!("send, {how}"), &job, lines, answer, "bytes");
        // It runs over there, and writes to the same file.
        std::fs::write(self.end(), "").map_err(|error| error.to_string())?;
        let ended = transfers::wait(|| job.last().starts_with("checksum ").then(|| job.last()));
        if ended.as_deref() != Some("checksum right") {
            println!("the job's numbers are wrong over there: {ended:?}, {}", job.last());
            self.wrong += 1;
        }
        job.kill();
        Ok(())
    }
}

fn lines(job: &Job) -> usize {
    job.text().lines().count()
}

/// The longest time between two steps that the job has told of since it had told so many lines.
fn gaps(job: &Job, lines: usize) -> f64 {
    let gap = |line: &str| line.split_once(" gap ")?.1.strip_suffix(" ms")?.parse::<f64>().ok();
    job.text().lines().skip(lines).filter_map(gap).fold(0.0, f64::max)
}

pub(crate) fn run(flags: &[String]) -> Result<Counts, String> {
    let options = options(flags)?;
    let whole = options.release && options.mebibytes == 2048 && options.permille == 10;
    let bench = Bench::with("large", options.release)?;
    bench.compile("bench/programs/large.cu", PROGRAM)?;
    let beside = beside(&bench, &options)?;
    let mut runs = Runs { bench: &bench, options, rows: Vec::new(), wrong: 0, number: 0 };
    let sends = bench.criu.is_ok() && transfers::possible();
    for round in 0..runs.options.rounds {
        println!("round {} of {}", round + 1, runs.options.rounds);
        runs.here()?;
        for how in ["together", "scattered"].iter().filter(|_| sends) {
            runs.sent(how)?;
        }
    }
    let Runs { rows, wrong, options, .. } = runs;
    let results = root().join(if whole { "docs/bench" } else { ".build/bench" });
    std::fs::create_dir_all(&results).map_err(|error| error.to_string())?;
    let shown = json(&rows, &options, &beside);
    let page = page(&rows, &options, &beside);
    println!("{page}");
    for (name, text) in [("jobs.json", format!("{shown:#}\n")), ("jobs.md", page)] {
        let path = results.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(Counts::one(wrong == 0))
}

/// Copies in memory, files on the disk, and snapshots without a job, of as much.
fn beside(bench: &Bench, options: &Options) -> Result<Value, String> {
    let (path, disk) = (bench.work.join("snapshot.json"), bench.work.join("disk"));
    let mut command = cargo();
    command.args(["run", "--quiet"]);
    if options.release {
        command.arg("--release");
    }
    let (mebibytes, rounds) = (options.mebibytes.to_string(), options.rounds.to_string());
    command.args(["--package", "hetgpu-bench", "--", "snapshot", "--mebibytes", &mebibytes, "--rounds", &rounds]);
    command.arg("--folder").arg(&disk).arg("--json").arg(&path);
    if !succeeds(&mut command)? {
        return Err("the benchmark of snapshots failed".into());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn json(rows: &[Row], options: &Options, beside: &Value) -> Value {
    let spread = |values: &[f64]| json!({ "median": median(values), "all": values });
    let row = |row: &Row| {
        json!({
            "name": row.name, "seconds": spread(&row.seconds), "freeze_ms": spread(&row.freeze), "seen_ms": spread(&row.seen),
            "bytes": spread(&row.bytes), "rounds": spread(&row.rounds),
        })
    };
    json!({
        "mebibytes": options.mebibytes, "permille_a_second": options.permille, "rounds": options.rounds,
        "release": options.release, "rows": rows.iter().map(row).collect::<Vec<_>>(), "snapshots": beside,
    })
}

fn page(rows: &[Row], options: &Options, beside: &Value) -> String {
    let Options { mebibytes, permille, rounds, .. } = options;
    let (date, processors) = (beside["date"].as_str().unwrap_or("?"), &beside["processors"]);
    let mut out = format!(
        "# Jobs with much memory\n\nWritten by `cargo xtask bench jobs` ({processors} processors, {date}). A job with {mebibytes} MiB of memory that do \
         not repeat themselves,\nof which it changes {permille} in a thousand pages a second, on the CPU device; medians of {rounds} rounds, with the \
         longest in\nbrackets. How long it stood still is what the command says, and what the program saw between two of its steps, which \
         take\nsome milliseconds by themselves; at most {PROMISED:.0} ms is promised where most of it goes ahead. Both sides of a transfer were on this \
         machine.\nAfter each round the job has checked all of its memory.\n\n\
         | what | it took, s | stood still, ms | seen, ms | MB written or sent | rounds |\n|---|---|---|---|---|---|\n"
    );
    let with_most = |values: &[f64]| {
        let most = values.iter().copied().fold(0.0, f64::max);
        median(values).map_or_else(String::new, |median| format!("{median:.1} ({most:.1})"))
    };
    let plain = |values: &[f64], by: f64, digits: usize| {
        median(values).map_or_else(String::new, |median| format!("{:.digits$}", median / by))
    };
    for row in rows {
        let (still, seen) = (with_most(&row.freeze), with_most(&row.seen));
        let (took, bytes) = (plain(&row.seconds, 1.0, 2), plain(&row.bytes, 1e6, 1));
        let _ =
            writeln!(out, "| {} | {took} | {still} | {seen} | {bytes} | {} |", row.name, plain(&row.rounds, 1.0, 0));
    }
    out += "\nSnapshots of as much memory without a job, beside copies in memory and plain files on the same disk, in the same run:\n\n\
            | what | GB/s | of a copy in memory | of a plain file |\n|---|---|---|---|\n";
    let share = |value: &Value| value.as_f64().map_or_else(String::new, |share| format!("{:.0} %", share * 100.0));
    for row in beside["rows"].as_array().into_iter().flatten() {
        let (name, rate) = (row["name"].as_str().unwrap_or("?"), row["median"].as_f64().unwrap_or(0.0) / 1e9);
        let _ = writeln!(out, "| {name} | {rate:.2} | {} | {} |", share(&row["of_memcpy"]), share(&row["of_disk"]));
    }
    let percent = |name: &str| beside[name].as_f64().unwrap_or(0.0) * 100.0;
    let (anywhere, together) = (percent("one_percent_scattered"), percent("one_percent_together"));
    let _ = writeln!(
        out,
        "\nA snapshot built on another takes {anywhere:.2} % of its size where one page in a hundred has changed anywhere, and {together:.2} % \
         where they\nlie together."
    );
    out
}
