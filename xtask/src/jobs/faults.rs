//! `cargo xtask faults [COUNT [SEED [LANES]]]`: the command or the job is killed at random times, disks are full, files are torn, targets do not
//! exist, and CRIU fails. After each the job runs where it was, or comes back from a checkpoint, and in the end every job has computed
//! what it computes undisturbed. Lanes are jobs that this happens to at the same time, each with a seed of its own, and of its own size.

use super::{Bench, Job, SMALL, exists, folder, skipped, text, transfers, was_killed};
use crate::report::Counts;
use crate::tool::succeeds;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Bodies and steps of the jobs, by lane: from kernels that are stopped in the middle to such as end by themselves.
const SIZES: [(u32, u32); 4] = [(8192, 600), (2048, 6000), (4096, 2000), (1024, 10_000)];
/// In CI.
const COUNT: u64 = 120;
/// Failures of a lane before it is given up, where there are several.
const FAILURES: u64 = 20;
/// How long anything may take to settle after a fault.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// The command is killed.
    CommandKilled,
    /// The job is killed while the command runs.
    JobKilled,
    /// The folder's disk has too little room.
    DiskFull,
    /// A file of the checkpoint is changed or cut.
    Torn,
    /// The job is to go on where it cannot.
    NoTarget,
    /// It is given up, or may not take so long.
    GivenUp,
    /// CRIU fails, or kills what it was to save.
    CriuFails,
}

const FAULTS: [Fault; 7] = [
    Fault::CommandKilled,
    Fault::JobKilled,
    Fault::DiskFull,
    Fault::Torn,
    Fault::NoTarget,
    Fault::GivenUp,
    Fault::CriuFails,
];

struct Run<'b> {
    bench: &'b Bench,
    random: Random,
    devices: Vec<String>,
    size: (u32, u32),
    expected: String,
    job: Job,
    /// A checkpoint of the whole job that is complete, if there is one.
    last: Option<String>,
    /// A small file system, where one can be had.
    small: Option<PathBuf>,
    number: u64,
    jobs: u64,
}

/// What a lane did.
#[derive(Default)]
struct Done {
    counts: Counts,
    faults: u64,
    jobs: u64,
    kinds: BTreeMap<String, u64>,
}

pub(crate) fn run(words: &[String]) -> Result<Counts, String> {
    let number = |place: usize, default: u64| match words.get(place) {
        None => Ok(default),
        Some(word) => word.parse().map_err(|_| format!("`{word}` is no number")),
    };
    let (count, seed, lanes) = (number(0, COUNT)?, number(1, 1)?, number(2, 1)?.max(1));
    let bench = Bench::new("faults")?;
    let mut counts = Counts::default();
    if let Err(why) = &bench.criu {
        counts += skipped("faults of whole jobs", why);
    }
    let benches = (0..lanes).map(|lane| bench.beside(&format!("lane-{lane}"))).collect::<Result<Vec<_>, _>>()?;
    let share = |lane: u64| count / lanes + u64::from(lane < count % lanes);
    let (all, sent) = std::thread::scope(|scope| {
        // Jobs that are sent come last, where one thing happens at a time.
        let sending = || sent(&bench, &mut Random(seed.wrapping_add(lanes)), count);
        let sender = (lanes > 1).then(|| scope.spawn(sending));
        let work =
            |(lane, bench)| scope.spawn(move || self::lane(bench, lane, lanes, share(lane), seed.wrapping_add(lane)));
        let working: Vec<_> = (0..).zip(&benches).map(work).collect();
        let lost = || Err("a lane panicked".to_owned());
        let all: Vec<_> = working.into_iter().map(|worker| worker.join().unwrap_or_else(|_| lost())).collect();
        let whole = all.iter().all(|done| done.as_ref().is_ok_and(|done| done.counts.failed == 0));
        let sent = match sender {
            Some(sender) => sender.join().unwrap_or(Counts::one(false)),
            None if whole => sending(),
            None => Counts::default(),
        };
        (all, sent)
    });
    let (mut faults, mut jobs, mut kinds) = (0, 0, BTreeMap::<String, u64>::new());
    for done in all {
        let done = done?;
        counts += done.counts;
        (faults, jobs) = (faults + done.faults, jobs + done.jobs);
        done.kinds.into_iter().for_each(|(kind, count)| *kinds.entry(kind).or_default() += count);
    }
    println!("{faults} faults of {jobs} jobs, seed {seed}, {lanes} at a time: {kinds:?}");
    counts += sent;
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
    let expected = bench.undisturbed(size.0, size.1)?;
    let (devices, job) = (bench.devices()?, bench.start("job-0", size.0, size.1)?);
    let random = Random(seed);
    let mut run = Run { bench, random, devices, size, expected, job, last: None, small, number: 0, jobs: 1 };
    let most = if lanes > 1 { FAILURES } else { 1 };
    let mut told = 0;
    while run.number < count && done.counts.failed < most {
        let fault = FAULTS[run.random.below(FAULTS.len() as u64) as usize];
        match run.inject(fault) {
            Ok(true) => {
                *done.kinds.entry(format!("{fault:?}")).or_default() += 1;
                run.number += 1;
                done.counts.passed += 1;
            }
            Ok(false) => {}
            Err(lost) => {
                println!("lane {lane}, fault {} of seed {seed}, {fault:?}: {lost}", run.number);
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
        run.recover()?;
        // What is left of it is nothing to be waited for on a slow device; it may have ended meanwhile.
        let (fast, pid) = (run.devices[0].clone(), run.pid());
        let _ = bench.said(&["move", &pid, "--to", &fast])?;
        let ended = run.job.ended();
        if ended.as_ref() != Ok(&run.expected) {
            println!("the last job: {ended:?}, and {} was expected", run.expected);
        }
        done.counts += Counts::one(ended.as_ref() == Ok(&run.expected));
    }
    if let Some(small) = &run.small {
        let _ = Command::new("umount").arg(small).status();
    }
    (done.faults, done.jobs) = (run.number, run.jobs);
    Ok(done)
}

/// Faults of jobs that are sent: one for some of the others.
fn sent(bench: &Bench, random: &mut Random, faults: u64) -> Counts {
    const FEWER: u64 = 12;
    /// Each takes some seconds.
    const MOST: u64 = 300;
    let what = "faults of jobs that are sent";
    match &bench.criu {
        Err(why) => skipped(what, why),
        Ok(_) if !transfers::possible() => skipped(what, "processes cannot have numbers of their own here"),
        Ok(_) => match transfers::run(bench, random, (faults / FEWER).min(MOST)) {
            Ok(told) => {
                println!("{} transfers: {}", told.len(), told.join(", "));
                Counts { passed: told.len() as u64, ..Counts::default() }
            }
            Err(lost) => {
                println!("a job that is sent: {lost}");
                Counts::one(false)
            }
        },
    }
}

/// A file system of less room than the smallest lane's job needs.
fn small_disk(bench: &Bench) -> Option<PathBuf> {
    let at = bench.work.join(SMALL);
    std::fs::create_dir_all(&at).ok()?;
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(&at).stderr(Stdio::null());
    succeeds(&mut mount).ok()?.then_some(at)
}

impl Run<'_> {
    fn pid(&self) -> String {
        self.job.pid.to_string()
    }

    /// Lets something go wrong, and sees that nothing is lost. False where that cannot be done here.
    fn inject(&mut self, fault: Fault) -> Result<bool, String> {
        if self.job.last().starts_with("checksum ") {
            self.another()?;
        }
        match fault {
            Fault::CommandKilled => self.command_killed()?,
            Fault::JobKilled if self.bench.criu.is_ok() => self.job_killed()?,
            Fault::DiskFull if self.small.is_some() => self.disk_full()?,
            Fault::Torn => self.torn()?,
            Fault::NoTarget => self.no_target()?,
            Fault::GivenUp => self.given_up()?,
            Fault::CriuFails if self.bench.criu.is_ok() => self.criu_fails()?,
            _ => return Ok(false),
        }
        self.recover()?;
        Ok(true)
    }

    /// The job has ended: it must have been right. The next one.
    fn another(&mut self) -> Result<(), String> {
        let ended = self.job.ended()?;
        if ended != self.expected {
            return Err(format!("job {} ended with {ended}, and {} was expected", self.jobs, self.expected));
        }
        self.fresh()
    }

    /// A new job in the place of the last.
    fn fresh(&mut self) -> Result<(), String> {
        let last = self.bench.work.join(format!("job-{}.log", self.jobs - 1));
        self.job = self.bench.start(&format!("job-{}", self.jobs), self.size.0, self.size.1)?;
        let _ = std::fs::remove_file(last);
        self.jobs += 1;
        if let Some(last) = self.last.take() {
            let _ = std::fs::remove_dir_all(last);
        }
        Ok(())
    }

    /// The words of a random command about the job, and the folder that it writes.
    fn command(&mut self) -> (Vec<String>, String) {
        let number = self.number;
        let folder = folder(self.bench, &format!("ck-{number}"));
        let mut words = vec!["checkpoint".to_owned(), self.pid(), "-o".into(), folder.clone()];
        let whole = self.bench.criu.is_ok();
        match self.random.below(if whole { 5 } else { 3 }) {
            0 => words.push("--gpu-only".into()),
            1 => words.extend(["--gpu-only".into(), "--leave-running".into()]),
            2 => {
                let to = self.device();
                words = vec!["move".into(), self.pid(), "--to".into(), to];
            }
            3 => words.push("--leave-running".into()),
            _ => {}
        }
        (words, folder)
    }

    fn device(&mut self) -> String {
        let place = self.random.below(self.devices.len() as u64) as usize;
        self.devices[place].clone()
    }

    fn start(&self, words: &[String]) -> Result<std::process::Child, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.bench.migrate(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())
    }

    fn moment(&mut self, most: u64) {
        std::thread::sleep(Duration::from_micros(self.random.below(most)));
    }

    fn command_killed(&mut self) -> Result<(), String> {
        let (words, folder) = self.command();
        let mut child = self.start(&words)?;
        self.moment(if words.contains(&"--gpu-only".to_owned()) || words[0] == "move" { 30_000 } else { 250_000 });
        child.kill().map_err(|error| error.to_string())?;
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        self.settle(&folder, was_killed(&output))?;
        // So is bringing back.
        if self.random.below(3) == 0 && exists(&PathBuf::from(&folder).join("job.json")) {
            let mut child = self.start(&["restore".to_owned(), folder.clone()])?;
            self.moment(150_000);
            child.kill().map_err(|error| error.to_string())?;
            let _ = child.wait();
            self.settle(&folder, true)?;
        }
        self.keep(&folder);
        Ok(())
    }

    /// After a command was killed what it had begun goes on by itself: waits until nothing changes any more.
    fn settle(&mut self, folder: &str, killed: bool) -> Result<(), String> {
        if !killed {
            return Ok(());
        }
        let start = Instant::now();
        loop {
            // CRIU may be at work with the process, or be bringing it back.
            let busy = Command::new("pgrep").args(["-f", folder]).output().map_err(|error| error.to_string())?;
            if busy.stdout.is_empty() && self.rests() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("something does not end: {}", text(&busy)));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the job is not at work for a command that is gone, such as at writing into its folder.
    fn rests(&mut self) -> bool {
        /// A request that was sent is begun in this time.
        const BEGUN: Duration = Duration::from_millis(20);
        self.stands_still() && {
            std::thread::sleep(BEGUN);
            self.stands_still()
        }
    }

    fn stands_still(&mut self) -> bool {
        !self.job.lives() || matches!(self.job_stage().as_str(), "running" | "paused" | "released")
    }

    /// Remembers a checkpoint of the whole job, if this is one, and removes all others.
    fn keep(&mut self, folder: &str) {
        let manifest = std::fs::read_to_string(PathBuf::from(folder).join("job.json")).unwrap_or_default();
        let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
        if manifest["process"].is_array() {
            if let Some(last) = self.last.replace(folder.to_owned()).filter(|last| last != folder) {
                let _ = std::fs::remove_dir_all(last);
            }
        } else if self.job_stage() != "released" {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    fn job_killed(&mut self) -> Result<(), String> {
        if self.last.is_none() {
            let folder = folder(self.bench, &format!("last-{}", self.number));
            self.bench.done(&["checkpoint", &self.pid(), "-o", &folder, "--leave-running"])?;
            self.last = Some(folder);
        }
        let (words, folder) = self.command();
        let child = self.start(&words)?;
        self.moment(250_000);
        self.job.kill();
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        self.settle(&folder, true)?;
        // A command about a job that is gone says so, and does not claim success where there is none.
        let complete = exists(&PathBuf::from(&folder).join("job.json"));
        if words[0] == "checkpoint" && output.status.success() && !complete {
            return Err(format!("it says that it is done: {}", text(&output)));
        }
        self.keep(&folder);
        if !self.job.lives() && Some(&folder) != self.last.as_ref() {
            let _ = std::fs::remove_dir_all(folder);
        }
        Ok(())
    }

    fn disk_full(&mut self) -> Result<(), String> {
        let Some(small) = self.small.clone() else { return Ok(()) };
        let folder = small.join("ck").display().to_string();
        let mut words = vec!["checkpoint".to_owned(), self.pid(), "-o".into(), folder.clone()];
        if self.bench.criu.is_err() || self.random.below(2) == 0 {
            words.push("--gpu-only".into());
        }
        if self.random.below(2) == 0 {
            words.push("--leave-running".into());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (status, said) = self.bench.said(&words)?;
        let left = std::fs::read_dir(&small).map_or(0, |entries| entries.count());
        match status {
            Some(8 | 9) if left == 0 => Ok(()),
            // The job ended by itself.
            Some(3) if !self.job.lives() => Ok(()),
            _ => Err(format!("on a full disk it ends with {status:?} and leaves {left} files: {said}")),
        }
    }

    fn torn(&mut self) -> Result<(), String> {
        let folder = folder(self.bench, &format!("ck-{}", self.number));
        let whole = self.bench.criu.is_ok() && self.random.below(2) == 0;
        let mut words = vec!["checkpoint".to_owned(), self.pid(), "-o".into(), folder.clone()];
        words.extend((!whole).then(|| "--gpu-only".into()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let (Some(3), _) = self.bench.said(&words)? {
            // It had just ended.
            return Ok(());
        }
        let files = |of: &str| std::fs::read_dir(PathBuf::from(&folder).join(of)).into_iter().flatten().flatten();
        let torn = |path: &PathBuf| path.extension().is_some_and(|end| end == "snapshot" || end == "img");
        let mut all: Vec<PathBuf> = files("").chain(files("process")).map(|entry| entry.path()).filter(torn).collect();
        all.sort();
        let path = &all[self.random.below(all.len() as u64) as usize];
        let contents = std::fs::read(path).map_err(|error| error.to_string())?;
        let file = OpenOptions::new().write(true).open(path).map_err(|error| error.to_string())?;
        let place = self.random.below(contents.len() as u64);
        match self.random.below(2) {
            0 => file.set_len(place),
            _ => file.write_all_at(&[contents.get(place as usize).copied().unwrap_or(0) ^ 0x55], place),
        }
        .map_err(|error| error.to_string())?;
        let (verified, _) = self.bench.said(&["verify", &folder])?;
        let (restored, said) = self.bench.said(&["restore", &folder])?;
        // Bytes between contents are nobody's, and contents that the job has given up since are not read: what it ends with
        // says whether it was given what it needs.
        let unseen = matches!(verified, Some(0 | 8)) && restored == Some(0) && path.ends_with("gpu.snapshot");
        if !unseen && (verified != Some(8) || restored == Some(0)) {
            return Err(format!(
                "{} was torn at {place}: verify {verified:?}, restore {restored:?} {said}",
                path.display()
            ));
        }
        std::fs::write(path, &contents).map_err(|error| error.to_string())?;
        if !unseen {
            self.bench.done(&["restore", &folder])?;
        }
        self.keep(&folder);
        Ok(())
    }

    fn no_target(&mut self) -> Result<(), String> {
        let folder = folder(self.bench, &format!("ck-{}", self.number));
        let whole = self.bench.criu.is_ok() && self.random.below(2) == 0;
        let mut words = vec!["checkpoint".to_owned(), self.pid(), "-o".into(), folder.clone()];
        words.extend((!whole).then(|| "--gpu-only".into()));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let (Some(3), _) = self.bench.said(&words)? {
            return Ok(());
        }
        let (status, said) = self.bench.said(&["restore", &folder, "--to", "nowhere"])?;
        if status != Some(2) {
            return Err(format!("onto a device that is not there: {status:?} {said}"));
        }
        let to = self.device();
        self.bench.done(&["restore", &folder, "--to", &to])?;
        self.keep(&folder);
        Ok(())
    }

    fn given_up(&mut self) -> Result<(), String> {
        let (mut words, folder) = self.command();
        if words[0] == "checkpoint" && self.random.below(2) == 0 {
            words.extend(["--max-freeze".into(), "0".into()]);
        }
        let child = self.start(&words)?;
        self.moment(20_000);
        self.bench.said(&["abort", &self.pid()])?;
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        match output.status.code() {
            Some(0 | 2..=6) => {
                self.keep(&folder);
                Ok(())
            }
            _ => Err(format!("given up: {} {}", output.status, text(&output))),
        }
    }

    fn criu_fails(&mut self) -> Result<(), String> {
        let Ok(real) = &self.bench.criu else { return Ok(()) };
        let kills = self.last.is_some() && self.random.below(3) == 0;
        let fails = match kills {
            // It dies, and what it was to save with it.
            true => format!("kill -KILL {}; exit 1", self.job.pid),
            false => "exit 1".to_owned(),
        };
        let script = self.bench.work.join("criu-fails");
        let text_of = format!("#!/bin/sh\n[ \"$1\" = dump ] && {{ {fails}; }}\nexec \"{}\" \"$@\"\n", real.display());
        std::fs::write(&script, text_of).map_err(|error| error.to_string())?;
        let allowed = std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755));
        allowed.map_err(|error| error.to_string())?;
        let folder = folder(self.bench, &format!("ck-{}", self.number));
        let output = self
            .bench
            .migrate(&["checkpoint", &self.pid(), "-o", &folder])
            .env("HETGPU_CRIU", &script)
            .output()
            .map_err(|error| error.to_string())?;
        if !matches!(output.status.code(), Some(3 | 9)) || (!kills && exists(&PathBuf::from(&folder))) {
            return Err(format!("where CRIU fails: {} {}", output.status, text(&output)));
        }
        let _ = std::fs::remove_dir_all(folder);
        Ok(())
    }

    /// The stage of the job's device; empty where it does not answer.
    fn job_stage(&self) -> String {
        let Ok((Some(0), said)) = self.bench.said(&["inspect", &self.pid(), "--json"]) else { return String::new() };
        let job: Value = serde_json::from_str(&said).unwrap_or_default();
        job["devices"][0]["stage"].as_str().unwrap_or_default().to_owned()
    }

    /// After any fault the job runs, or it is let go on from where it is, or from its last checkpoint.
    fn recover(&mut self) -> Result<(), String> {
        let start = Instant::now();
        let mut said = String::new();
        while start.elapsed() < PATIENCE {
            if self.job.last().starts_with("checksum ") {
                return Ok(());
            }
            if !self.job.lives() {
                let last =
                    self.last.clone().ok_or_else(|| format!("it is gone, and there is no checkpoint; {said}"))?;
                said = self.bench.done(&["restore", &last, "--cut-files"])?;
                continue;
            }
            match self.job_stage().as_str() {
                "running" => return Ok(()),
                "released" | "paused" | "" => {
                    let (_, more) = self.bench.said(&["resume", &self.pid()])?;
                    said = more;
                }
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        Err(format!("it does not go on: {}, {said}", self.job_stage()))
    }
}
