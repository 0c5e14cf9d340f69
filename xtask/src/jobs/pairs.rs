//! `cargo xtask pairs [COUNT [SEED]]`: two processes that have the same memory are moved, paused, saved and brought back together
//! while kernels of both work on it; then commands are killed at random times, and processes while commands are at work with them.
//! Whatever happens, both are where the other is, and what is left of them goes on.

use super::faults::Random;
use super::{Bench, Job, apart, exists, folder, skipped, text, was_killed};
use crate::report::Counts;
use crate::tool::root;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Words, steps and rounds: of the tour, and of those that faults happen to.
const LONG: [u32; 3] = [4096, 80, 60_000];
const SHORT: [u32; 3] = [4096, 400, 10_000];
/// In CI.
const COUNT: u64 = 40;
/// How long anything may take to settle after a fault.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two processes, of which one began the other.
struct Pair {
    job: Job,
    other: u32,
}

impl Drop for Pair {
    fn drop(&mut self) {
        kill(self.other);
        self.job.kill();
    }
}

fn kill(pid: u32) {
    let _ = Command::new("sh").args(["-c", &format!("kill -KILL {pid} 2>/dev/null")]).status();
}

/// Whether a process has ended, also where nobody has asked about it yet.
fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.contains(") Z ")) || !exists(&PathBuf::from(format!("/proc/{pid}")))
}

/// What a process is at and what its device is called; nothing where it does not answer.
type State = Option<(String, String)>;

struct Run<'b> {
    bench: &'b Bench,
    size: [u32; 3],
    expected: String,
    pair: Pair,
    devices: Vec<String>,
    random: Random,
    number: u64,
}

fn command(bench: &Bench, size: [u32; 3]) -> Command {
    let mut command = bench.command("pair");
    command.args(size.map(|number| number.to_string()));
    command
}

fn undisturbed(bench: &Bench, size: [u32; 3]) -> Result<String, String> {
    let output = command(bench, size).output().map_err(|error| format!("pair: {error}"))?;
    let said = text(&output);
    let last = said.lines().last().filter(|line| line.starts_with("checksum "));
    last.map(str::to_owned).ok_or_else(|| format!("pair: {}\n{said}", output.status))
}

fn start(bench: &Bench, name: &str, size: [u32; 3]) -> Result<Pair, String> {
    let job = bench.launch(name, command(bench, size))?;
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", job.pid)).unwrap_or_default();
    let other = children.split_ascii_whitespace().next().and_then(|child| child.parse().ok());
    let other = other.ok_or_else(|| "there is no other process".to_owned())?;
    let pair = Pair { job, other };
    // Both have the memory when the first has got beyond its second turn.
    let mut job = Job { pid: pair.job.pid, child: None, log: pair.job.log.clone() };
    let waited = job.wait(|job| job.text().contains("\nstep 2 ") || job.last().starts_with("checksum "));
    std::mem::forget(job);
    waited.map(|()| pair)
}

fn state(bench: &Bench, pid: u32) -> State {
    let Ok((Some(0), said)) = bench.said(&["inspect", &pid.to_string(), "--json"]) else { return None };
    let job: Value = serde_json::from_str(&said).ok()?;
    let word = |name: &str| job["devices"][0][name].as_str().map(str::to_owned);
    Some((word("stage")?, word("name")?))
}

pub(crate) fn run(words: &[String]) -> Result<Counts, String> {
    let numbers: Vec<&String> = words.iter().filter(|word| *word != apart::APART).collect();
    let number = |place: usize, default: u64| match numbers.get(place) {
        None => Ok(default),
        Some(word) => word.parse().map_err(|_| format!("`{word}` is no number")),
    };
    let (count, seed) = (number(0, COUNT)?, number(1, 1)?);
    if let Some(counts) = apart::run("pairs", words)? {
        return Ok(counts);
    }
    let bench = Bench::with("pairs", false)?;
    let link = std::os::unix::fs::symlink(root().join("target/debug/libcuda.so"), bench.work.join("libcuda.so"));
    link.map_err(|error| format!("libcuda.so: {error}"))?;
    bench.compile_with("tests/programs/pair.cu", "pair", &["-L", &bench.work.display().to_string(), "-lcuda"])?;
    let mut counts = tour(&bench)?;
    println!("faults");
    let devices: Vec<String> =
        bench.devices()?.into_iter().filter(|name| name != "nvidia" && name != "cpu:sse2").collect();
    let (expected, pair) = (undisturbed(&bench, SHORT)?, start(&bench, "pair-0", SHORT)?);
    let mut run = Run { bench: &bench, size: SHORT, expected, pair, devices, random: Random::new(seed), number: 0 };
    let mut killed = 0;
    for number in 0..count {
        run.number = number + 1;
        let kills = run.random.below(4) == 0;
        killed += u64::from(kills);
        if let Err(why) = run.inject(kills) {
            println!("fault {number}: {why}");
            counts += Counts::one(false);
            run.fresh()?;
        } else {
            counts += Counts::one(true);
        }
    }
    let ended = run.pair.job.ended()?;
    println!("{count} faults, of which {killed} killed a process; {ended}");
    counts += Counts::one(ended == run.expected);
    Ok(counts)
}

/// One after the other all that can be done with them.
fn tour(bench: &Bench) -> Result<Counts, String> {
    println!("running two processes undisturbed");
    let expected = undisturbed(bench, LONG)?;
    println!("{expected}");
    let mut pair = start(bench, "tour", LONG)?;
    let (first, other) = (pair.job.pid.to_string(), pair.other.to_string());
    let mut counts = Counts::default();
    let both = |stage: &str, name: Option<&str>| -> Result<(), String> {
        for pid in [&first, &other] {
            let found = state(bench, pid.parse().unwrap_or(0));
            let right =
                found.as_ref().is_some_and(|(now, device)| now == stage && name.is_none_or(|name| name == device));
            if !right {
                return Err(format!("process {pid} is {found:?}, and not {stage}"));
            }
        }
        Ok(())
    };
    for (pid, device) in [(&first, "interp"), (&other, "cpu:avx2"), (&first, "cpu")] {
        println!("{}; {}", pair.job.last(), bench.done(&["move", pid, "--to", device])?);
        both("running", Some(device))?;
        std::thread::sleep(Duration::from_millis(300));
    }
    println!("  {}", bench.done(&["pause", &other])?);
    both("paused", None)?;
    println!("  {}", bench.done(&["resume", &first])?);
    both("running", None)?;
    for (number, running) in [(1, true), (2, false), (3, false)] {
        let folder = folder(bench, &format!("devices-{number}"));
        let mut words = vec!["checkpoint", if number == 2 { &other } else { &first }, "-o", &folder, "--gpu-only"];
        words.extend(running.then_some("--leave-running"));
        println!("{}; {}", pair.job.last(), bench.done(&words)?);
        bench.done(&["verify", &folder])?;
        both(if running { "running" } else { "released" }, None)?;
        match number {
            1 => match bench.said(&["restore", &folder])? {
                (Some(5), said) if said.contains("--rewind") => {}
                other => return Err(format!("two processes that went on were rewound: {other:?}")),
            },
            2 => println!("  {}", bench.done(&["restore", &folder, "--to", "interp"])?),
            _ => println!("  {}", bench.done(&["resume", &other])?),
        }
        both("running", None)?;
        bench.done(&["move", &first, "--to", "cpu"])?;
    }
    match &bench.criu {
        Err(why) => counts += skipped("whole checkpoints of two processes", why),
        Ok(_) => {
            let alone = bench.said(&["checkpoint", &other, "-o", &folder(bench, "alone")])?;
            if alone.0 != Some(1) || !alone.1.contains(&format!("process {first}")) {
                return Err(format!("one of two processes alone: {alone:?}"));
            }
            let folder = folder(bench, "whole");
            println!("{}; {}", pair.job.last(), bench.done(&["checkpoint", &first, "-o", &folder])?);
            if pair.job.lives() || !is_gone(pair.other) {
                return Err("they are still there".into());
            }
            println!("  {}", bench.done(&["restore", &folder, "--to", "interp"])?);
            both("running", Some("interp"))?;
            println!("  {}", bench.done(&["move", &other, "--to", "cpu"])?);
            both("running", Some("cpu"))?;
        }
    }
    let ended = pair.job.ended()?;
    println!("{ended}");
    counts += Counts::one(ended == expected);
    Ok(counts)
}

impl Run<'_> {
    fn fresh(&mut self) -> Result<(), String> {
        self.pair = start(self.bench, &format!("pair-{}", self.number), self.size)?;
        Ok(())
    }

    /// Begins a command, and kills it or one of the processes while it is at work.
    fn inject(&mut self, kills: bool) -> Result<(), String> {
        if self.pair.job.last().starts_with("checksum ") {
            let ended = self.pair.job.last();
            if ended != self.expected {
                return Err(format!("it ended with {ended}, and {} was expected", self.expected));
            }
            self.fresh()?;
        }
        let folder = folder(self.bench, &format!("ck-{}", self.number));
        let pids = [self.pair.job.pid, self.pair.other];
        let pid = pids[self.random.below(2) as usize].to_string();
        let device = self.devices[self.random.below(self.devices.len() as u64) as usize].clone();
        let words: Vec<&str> = match self.random.below(if self.bench.criu.is_ok() { 6 } else { 4 }) {
            0 => vec!["checkpoint", &pid, "-o", &folder, "--gpu-only"],
            1 => vec!["checkpoint", &pid, "-o", &folder, "--gpu-only", "--leave-running"],
            2 => vec!["move", &pid, "--to", &device],
            3 => vec!["pause", &pid],
            _ => vec!["checkpoint", "", "-o", &folder, "--leave-running"],
        };
        let first = pids[0].to_string();
        let words: Vec<&str> =
            words.into_iter().map(|word| if word.is_empty() { first.as_str() } else { word }).collect();
        let mut child = self.bench.migrate(&words);
        let mut child =
            child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        std::thread::sleep(Duration::from_micros(self.random.below(150_000)));
        let what = words.join(" ");
        if kills {
            let (gone, left) = if self.random.below(2) == 0 { (pids[0], pids[1]) } else { (pids[1], pids[0]) };
            kill(gone);
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            let done = self
                .left_alone(left, &folder)
                .map_err(|why| format!("{what}, {gone} killed: {why}; {}", text(&output)));
            self.fresh()?;
            return done;
        }
        child.kill().map_err(|error| error.to_string())?;
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let mut done = self.settled(&folder);
        if done.is_ok() && self.random.below(3) == 0 && exists(&PathBuf::from(&folder).join("job.json")) {
            let mut child = self.bench.migrate(&["restore", &folder]);
            let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let mut child = child.map_err(|error| error.to_string())?;
            std::thread::sleep(Duration::from_micros(self.random.below(60_000)));
            child.kill().map_err(|error| error.to_string())?;
            let _ = child.wait();
            done = self.settled(&folder);
        }
        let _ = std::fs::remove_dir_all(&folder);
        let how = if was_killed(&output) { "killed" } else { "done" };
        done.map_err(|why| format!("{what}, which was {how}: {why}; {}", text(&output)))
    }

    /// Whether nobody is at work with the processes for a command that is gone.
    fn quiet(&self, folder: &str) -> bool {
        // CRIU may be at work still.
        !Bench::is_busy_with(folder)
    }

    /// Both are at the same, and go on if they stand still.
    fn settled(&mut self, folder: &str) -> Result<(), String> {
        let start = Instant::now();
        let mut before = None;
        let mut said = String::new();
        loop {
            let pids = [self.pair.job.pid, self.pair.other];
            if !self.pair.job.lives() || self.pair.job.last().starts_with("checksum ") {
                return match self.pair.job.last().starts_with("checksum ") {
                    true => Ok(()),
                    false => Err("it is gone".into()),
                };
            }
            let now = pids.map(|pid| state(self.bench, pid));
            let rests = |state: &State| {
                state.as_ref().is_none_or(|(stage, _)| ["running", "paused", "released"].contains(&stage.as_str()))
            };
            let still = self.quiet(folder) && now.iter().all(rests) && before.as_ref() == Some(&now);
            if still && now[0] == now[1] && now[0].as_ref().is_some_and(|(stage, _)| stage == "running") {
                return Ok(());
            }
            // What is done with one of them is done with both.
            if still && (now[0] == now[1] || now.iter().any(Option::is_none)) {
                let pid = pids[self.random.below(2) as usize].to_string();
                said = self.bench.said(&["resume", &pid])?.1;
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("they do not come to rest together: {now:?}; {said}"));
            }
            before = Some(now);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The one that is left is not held for ever.
    fn left_alone(&self, pid: u32, folder: &str) -> Result<(), String> {
        let start = Instant::now();
        let mut said = String::new();
        while start.elapsed() < PATIENCE {
            let gone = is_gone(pid);
            match state(self.bench, pid) {
                // The other's end may be its own.
                _ if gone => return Ok(()),
                Some((stage, _)) if stage == "running" && self.quiet(folder) => return Ok(()),
                Some((stage, _)) if ["paused", "released"].contains(&stage.as_str()) => {
                    said = self.bench.said(&["resume", &pid.to_string()])?.1;
                }
                None if self.quiet(folder) => said = self.bench.said(&["resume", &pid.to_string()])?.1,
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("process {pid} stands still: {:?}; {said}", state(self.bench, pid)))
    }
}
