//! `cargo xtask faults [COUNT [SEED [LANES]]] [--release]`: the command, the job, an agent or CRIU is killed at random times and in front of
//! any of its steps, disks are full, writes are short, files are torn, targets do not exist or have no memory, and CRIU fails. After each
//! the job runs where it was, or comes back from a checkpoint, and in the end every job has computed what it computes undisturbed,
//! and has said each step of it once. Lanes are jobs that this happens to at the same time, each with a seed of its own, and of its own size.
//! What happened how often, and how long that took, is a table at the end; that of a long run is kept in `docs/bench/faults.md`.

mod agent;
mod kinds;
mod page;
mod steps;

use super::{Bench, Job, SMALL, apart, skipped, transfers};
use crate::report::Counts;
use crate::tool::succeeds;
use kinds::FAULTS;
pub(super) use page::Tally;
use page::tell;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a lane's jobs are: bodies, steps, and milliseconds of rest after each step. From kernels that are stopped in the middle to such as
/// end by themselves. They rest about as long as they compute, which leaves time to those who do something to them, and take some
/// seconds.
const SIZES: [Size; 4] = [
    Size { bodies: 8192, steps: 40, rest: 10 },
    Size { bodies: 2048, steps: 300, rest: 1 },
    Size { bodies: 4096, steps: 100, rest: 3 },
    Size { bodies: 1024, steps: 400, rest: 1 },
];
/// In CI.
const COUNT: u64 = 120;
/// Failures of a lane before it is given up, where there are several.
const FAILURES: u64 = 20;
/// How long anything may take to settle after a fault.
const PATIENCE: Duration = Duration::from_secs(60);
/// Faults of a run that is written down.
const LONG: u64 = 1000;
/// One of so many faults is one of a job that is sent.
const FEWER: u64 = 12;
const USAGE: &str = "faults takes a number of faults, a seed, a number of lanes, and --release";

#[derive(Clone, Copy)]
struct Size {
    bodies: u32,
    steps: u32,
    rest: u32,
}

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(super) fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }
}

struct Run<'b> {
    bench: &'b Bench,
    random: Random,
    devices: Vec<String>,
    size: Size,
    expected: String,
    job: Job,
    /// A checkpoint of the whole job that is complete, if there is one.
    last: Option<String>,
    /// A small file system, where one can be had.
    small: Option<PathBuf>,
    /// In front of which steps something was killed, where that can be.
    steps: Option<steps::Steps>,
    /// What was done last.
    did: String,
    /// Faults that were tried, and those that happened.
    tries: u64,
    number: u64,
    jobs: u64,
}

/// What a lane did.
#[derive(Default)]
struct Done {
    counts: Counts,
    jobs: u64,
    tally: Tally,
}

struct Options {
    count: u64,
    seed: u64,
    lanes: u64,
    release: bool,
}

fn options(words: &[String]) -> Result<Options, String> {
    let (flags, numbers): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| word.starts_with("--"));
    if flags.iter().any(|flag| *flag != "--release" && *flag != apart::APART) || numbers.len() > 3 {
        return Err(USAGE.into());
    }
    let number = |place: usize, default: u64| match numbers.get(place) {
        None => Ok(default),
        Some(word) => word.parse().map_err(|_| format!("`{word}` is no number")),
    };
    let release = flags.iter().any(|flag| *flag == "--release");
    Ok(Options { count: number(0, COUNT)?, seed: number(1, 1)?, lanes: number(2, 1)?.max(1), release })
}

pub(crate) fn run(words: &[String]) -> Result<Counts, String> {
    let Options { count, seed, lanes, release } = options(words)?;
    if let Some(counts) = apart::run("faults", words)? {
        return Ok(counts);
    }
    // A long run is not disturbed by a short one.
    let mut bench = Bench::for_jobs(if release { "faults-release" } else { "faults" }, release)?;
    bench.check_criu_once()?;
    let mut counts = Counts::default();
    if let Err(why) = &bench.criu {
        counts += skipped("faults of whole jobs", why);
    }
    if !steps::possible() {
        counts += skipped("faults in front of steps", "there is no strace");
    }
    let benches = (0..lanes).map(|lane| bench.beside(&format!("lane-{lane}"))).collect::<Result<Vec<_>, _>>()?;
    let sender = bench.beside("sender")?;
    let share = |lane: u64| count / lanes + u64::from(lane < count % lanes);
    let start = Instant::now();
    let (all, sent) = std::thread::scope(|scope| {
        // Jobs that are sent come last, where one thing happens at a time.
        let sending = || sent(&sender, &mut Random(seed.wrapping_add(lanes)), count);
        let sender = (lanes > 1).then(|| scope.spawn(sending));
        let work =
            |(lane, bench)| scope.spawn(move || self::lane(bench, lane, lanes, share(lane), seed.wrapping_add(lane)));
        let working: Vec<_> = (0..).zip(&benches).map(work).collect();
        let lost = || Err("a lane panicked".to_owned());
        let all: Vec<_> = working.into_iter().map(|worker| worker.join().unwrap_or_else(|_| lost())).collect();
        let whole = all.iter().all(|done| done.as_ref().is_ok_and(|done| done.counts.failed == 0));
        let sent = match sender {
            Some(sender) => sender.join().unwrap_or_else(|_| Done { counts: Counts::one(false), ..Done::default() }),
            None if whole => sending(),
            None => Done::default(),
        };
        (all, sent)
    });
    let mut tally = Tally::default();
    let mut jobs = 0;
    for done in all.into_iter().chain([Ok(sent)]) {
        let done = done?;
        counts += done.counts;
        jobs += done.jobs;
        tally.add(done.tally);
    }
    let run = page::Run { seed, lanes, release, jobs, failures: counts.failed, took: start.elapsed(), tally };
    tell(&run);
    if release && count >= LONG {
        page::keep(&run)?;
    }
    Ok(counts)
}

/// Lets things go wrong with one job after the other.
fn lane(bench: &Bench, lane: u64, lanes: u64, count: u64, seed: u64) -> Result<Done, String> {
    let mut done = Done::default();
    let small = small_disk(bench);
    if small.is_none() {
        done.counts += skipped("faults of full disks", "no small file system can be mounted here");
    }
    let size = SIZES[lane as usize % SIZES.len()];
    let expected = bench.undisturbed(size.bodies, size.steps)?;
    let (devices, random) = (bench.devices()?, Random(seed));
    let steps = steps::possible().then(steps::Steps::default);
    let job = bench.launch("job-0", size.program(bench))?;
    let mut run = Run {
        bench,
        random,
        devices,
        size,
        expected,
        job,
        last: None,
        small,
        steps,
        did: String::new(),
        tries: 0,
        number: 0,
        jobs: 1,
    };
    let most = if lanes > 1 { FAILURES } else { 1 };
    let mut told = 0;
    while run.number < count && done.counts.failed < most {
        let fault = FAULTS[run.random.below(FAULTS.len() as u64) as usize];
        let start = Instant::now();
        let outcome = run.inject(fault);
        run.note(fault, &outcome);
        let happened = outcome.as_ref().is_ok_and(|happened| *happened);
        done.tally.note(fault.name(), happened, start.elapsed());
        match outcome {
            Ok(happened) => {
                run.number += u64::from(happened);
                done.counts.passed += u64::from(happened);
            }
            Err(lost) => {
                let kept = run.kept_log();
                println!("lane {lane}, fault {} of seed {seed}, {fault:?}: {lost}; the job said {kept}", run.number);
                done.tally.failed.push(format!("seed {seed}, {}: {lost}", fault.name()));
                done.counts.failed += 1;
                if done.counts.failed < most {
                    run.fresh()?;
                }
            }
        }
        if run.number / 100 > told {
            told = run.number / 100;
            println!("lane {lane}: {} faults, {} jobs, {} failures", run.number, run.jobs, done.counts.failed);
        }
    }
    if done.counts.failed < most {
        done.counts += Counts::one(run.last_job()?);
    }
    if let Some(small) = &run.small {
        let _ = Command::new("umount").arg(small).status();
    }
    done.tally.steps = run.steps.as_ref().map(steps::Steps::seen).unwrap_or_default();
    done.jobs = run.jobs;
    Ok(done)
}

/// Faults of jobs that are sent: one for some of the others.
fn sent(bench: &Bench, random: &mut Random, faults: u64) -> Done {
    let what = "faults of jobs that are sent";
    let mut done = Done::default();
    match &bench.criu {
        Err(why) => done.counts = skipped(what, why),
        Ok(_) if !transfers::possible() => {
            done.counts = skipped(what, "processes cannot have numbers of their own here");
        }
        Ok(_) => match transfers::run(bench, random, faults / FEWER) {
            Ok(tally) => {
                let failed = tally.failed.len() as u64;
                (done.counts, done.tally) = (Counts { passed: tally.happened(), failed, skipped: 0 }, tally);
            }
            Err(lost) => {
                println!("a job that is sent: {lost}");
                done.counts = Counts::one(false);
                done.tally.failed.push(lost);
            }
        },
    }
    done
}

/// A file system with little room, which is made larger or smaller for each fault.
fn small_disk(bench: &Bench) -> Option<PathBuf> {
    let at = bench.work.join(SMALL);
    std::fs::create_dir_all(&at).ok()?;
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&at).stderr(Stdio::null());
    succeeds(&mut mount).ok()?.then_some(at)
}

impl Size {
    fn program(self, bench: &Bench) -> Command {
        let mut command = bench.program(self.bodies, self.steps);
        command.arg(self.rest.to_string());
        command
    }
}
