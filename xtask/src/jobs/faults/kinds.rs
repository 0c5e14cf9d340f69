//! What goes wrong, and what must hold then.

use super::super::{Bench, busy_with, exists, folder, state_of, text, was_killed, written_script};
use super::steps::{self, Watch};
use super::{PATIENCE, Run};
use crate::tool::succeeds;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The command is killed.
    CommandKilled,
    /// It is interrupted together with what it has begun, as by a terminal: with CRIU.
    Interrupted,
    /// It is killed in front of one of its steps.
    CommandKilledAtStep,
    /// The job is killed while the command runs.
    JobKilled,
    /// It is killed in front of one of its steps.
    JobKilledAtStep,
    /// An agent that freezes it is killed.
    AgentKilled,
    /// CRIU is killed in front of one of its steps.
    CriuKilledAtStep,
    /// CRIU fails, or kills what it was to save.
    CriuFails,
    /// The folder's disk has too little room.
    DiskFull,
    /// Files may not become as long as they would: a write is short, and the next one fails.
    ShortWrite,
    /// A file of the checkpoint is changed or cut.
    Torn,
    /// The job is to go on where it cannot.
    NoTarget,
    /// Where it is to go on has too little memory.
    NoMemory,
    /// It is given up, or may not take so long.
    GivenUp,
}

pub(super) const FAULTS: [Fault; 14] = [
    Fault::CommandKilled,
    Fault::Interrupted,
    Fault::CommandKilledAtStep,
    Fault::JobKilled,
    Fault::JobKilledAtStep,
    Fault::AgentKilled,
    Fault::CriuKilledAtStep,
    Fault::CriuFails,
    Fault::DiskFull,
    Fault::ShortWrite,
    Fault::Torn,
    Fault::NoTarget,
    Fault::NoMemory,
    Fault::GivenUp,
];

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CommandKilled => "the command is killed at any time",
            Self::Interrupted => "the command is interrupted with CRIU",
            Self::CommandKilledAtStep => "the command is killed in front of a step",
            Self::JobKilled => "the job is killed at any time",
            Self::JobKilledAtStep => "the job is killed in front of a step",
            Self::AgentKilled => "an agent is killed",
            Self::CriuKilledAtStep => "CRIU is killed in front of a step",
            Self::CriuFails => "CRIU fails",
            Self::DiskFull => "the disk is full",
            Self::ShortWrite => "a write is short",
            Self::Torn => "a file is torn",
            Self::NoTarget => "the target is not there",
            Self::NoMemory => "the target has no memory",
            Self::GivenUp => "it is given up",
        }
    }
}

/// The stage of a process that is stopped as a whole.
const STOPPED: &str = "stopped";

/// Microseconds that a job gets on at most between two faults.
const BETWEEN: u64 = 40_000;

/// A command about the job.
struct Words {
    words: Vec<String>,
    folder: String,
}

impl Words {
    fn is_whole(&self) -> bool {
        self.words[0] == "checkpoint" && !self.has("--gpu-only")
    }

    fn has(&self, flag: &str) -> bool {
        self.words.iter().any(|word| word == flag)
    }

    /// What it is, without whom it is about.
    fn what(&self) -> String {
        let flags = self.words.iter().skip(1).filter(|word| word.starts_with("--") && *word != "--to");
        [&self.words[0]].into_iter().chain(flags).map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

fn answer(output: Result<Output, std::io::Error>) -> Result<Output, String> {
    output.map_err(|error| format!("hetgpu-migrate: {error}"))
}

impl Run<'_> {
    fn pid(&self) -> String {
        self.job.pid.to_string()
    }

    /// Lets something go wrong, and sees that nothing is lost. False where that cannot be done here, or came too late.
    pub(super) fn inject(&mut self, fault: Fault) -> Result<bool, String> {
        self.tries += 1;
        self.did.clear();
        if self.has_ended() {
            self.another()?;
        }
        self.moment(BETWEEN);
        let whole = self.bench.criu.is_ok();
        let stepped = self.steps.is_some();
        let happened = match fault {
            Fault::CommandKilled => self.command_killed()?,
            Fault::Interrupted if whole => self.interrupted()?,
            Fault::CommandKilledAtStep if stepped => self.command_killed_at_step()?,
            Fault::JobKilled if whole => self.job_killed()?,
            Fault::JobKilledAtStep if whole && stepped => self.job_killed_at_step()?,
            Fault::AgentKilled => self.agent_killed()?,
            Fault::CriuKilledAtStep if whole && stepped => self.criu_killed_at_step()?,
            Fault::CriuFails if whole => self.criu_fails()?,
            Fault::DiskFull if self.small.is_some() => self.disk_full()?,
            Fault::ShortWrite => self.short_write()?,
            Fault::Torn => self.torn()?,
            Fault::NoTarget => self.no_target()?,
            Fault::NoMemory if whole && stepped => self.no_memory()?,
            Fault::GivenUp => self.given_up()?,
            _ => return Ok(false),
        };
        self.recover()?;
        self.clear();
        Ok(happened)
    }

    /// Brings the job back, which may then end by itself before it has answered.
    fn restored(&self, words: &[&str]) -> Result<String, String> {
        match self.bench.said(words)? {
            (Some(0), said) => Ok(said),
            (Some(3), said) if self.has_ended() => Ok(said),
            (status, said) => Err(format!("hetgpu-migrate {}: {status:?}: {said}", words.join(" "))),
        }
    }

    /// Removes all checkpoints but the last of the whole job, which runs.
    fn clear(&self) {
        let all = std::fs::read_dir(&self.bench.work).into_iter().flatten().flatten().map(|entry| entry.path());
        let left = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name.starts_with("ck-") || name.starts_with("last-"))
                && self.last.as_ref().map(PathBuf::from).as_ref() != Some(path)
        };
        for path in all.filter(left) {
            let _ = std::fs::remove_dir_all(path);
        }
    }

    /// Whether the job has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.job.last().starts_with("checksum ")
    }

    /// The job has ended: it must have been right. The next one.
    fn another(&mut self) -> Result<(), String> {
        match self.job.ended()? {
            ended if ended != self.expected => {
                Err(format!("job {} ended with {ended}, and {} was expected", self.jobs, self.expected))
            }
            _ => self.said_all().and_then(|()| self.fresh()),
        }
    }

    /// Whether the job has said each of its steps, and none twice.
    fn said_all(&self) -> Result<(), String> {
        let text = self.job.text();
        let mut steps = 0;
        for line in text.lines().filter(|line| line.starts_with("step ")) {
            steps += 1;
            if line != format!("step {steps} of {}", self.size.steps) {
                return Err(format!("job {} said `{line}` as its step {steps}", self.jobs));
            }
        }
        match steps == self.size.steps {
            true => Ok(()),
            false => Err(format!("job {} said {steps} steps of {}", self.jobs, self.size.steps)),
        }
    }

    /// The last job comes to its end. Whether it was right.
    pub(super) fn last_job(&mut self) -> Result<bool, String> {
        self.recover()?;
        // What is left of it is nothing to be waited for on a slow device; it may have ended meanwhile.
        let (fast, pid) = (self.devices[0].clone(), self.pid());
        let _ = self.bench.said(&["move", &pid, "--to", &fast])?;
        let (ended, said) = (self.job.ended(), self.said_all());
        let right = ended.as_ref() == Ok(&self.expected) && said.is_ok();
        if !right {
            println!("the last job: {ended:?}, and {} was expected; {said:?}", self.expected);
        }
        Ok(right)
    }

    /// Notes what was done to the job, for who wants to know why it went wrong later.
    pub(super) fn note(&self, fault: Fault, outcome: &Result<bool, String>) {
        let (jobs, job, did) = (self.jobs, self.job.last(), &self.did);
        let line = format!("{} {fault:?} {outcome:?} job {jobs} {job}: {did}\n", self.tries);
        let file = OpenOptions::new().create(true).append(true).open(self.bench.work.join("faults.log"));
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// Keeps what the job has said, after something went wrong; where.
    pub(super) fn kept_log(&self) -> String {
        let kept = self.bench.work.join(format!("failed-{}.log", self.tries));
        let _ = std::fs::copy(&self.job.log, &kept);
        kept.display().to_string()
    }

    /// A new job in the place of the last.
    pub(super) fn fresh(&mut self) -> Result<(), String> {
        let last = self.bench.work.join(format!("job-{}.log", self.jobs - 1));
        self.job = self.bench.launch(&format!("job-{}", self.jobs), self.size.program(self.bench))?;
        let _ = std::fs::remove_file(last);
        self.jobs += 1;
        if let Some(last) = self.last.take() {
            let _ = std::fs::remove_dir_all(last);
        }
        Ok(())
    }

    fn folder(&self) -> String {
        folder(self.bench, &format!("ck-{}", self.tries))
    }

    /// A random command about the job.
    fn command(&mut self) -> Words {
        self.command_of(if self.bench.criu.is_ok() { 5 } else { 3 })
    }

    /// The same, which does not save the process.
    fn command_of_devices(&mut self) -> Words {
        self.command_of(3)
    }

    fn command_of(&mut self, kinds: u64) -> Words {
        let folder = self.folder();
        let mut words = vec!["checkpoint".to_owned(), self.pid(), "-o".into(), folder.clone()];
        match self.random.below(kinds) {
            0 => words.push("--gpu-only".into()),
            1 => words.extend(["--gpu-only".into(), "--leave-running".into()]),
            2 => {
                let to = self.device();
                words = vec!["move".into(), self.pid(), "--to".into(), to];
            }
            3 => words.push("--leave-running".into()),
            _ => {}
        }
        let words = Words { words, folder };
        self.did = words.words.join(" ");
        words
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

    /// The command, with other words in front of it.
    fn behind(&self, front: &[String], words: &[String]) -> Command {
        let own = self.bench.migrate(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let mut command = Command::new(&front[0]);
        command.args(&front[1..]).arg(own.get_program()).args(own.get_args()).stdin(Stdio::null());
        own.get_envs().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| {
            command.env(name, value);
        });
        command
    }

    /// Runs a command to its end. What it says goes into a file: a pipe ends only with all that it has begun.
    fn heard(&self, mut command: Command) -> Result<Output, String> {
        let path = self.bench.work.join("said");
        let trouble = |error: std::io::Error| format!("{}: {error}", path.display());
        let file = File::create(&path).map_err(trouble)?;
        let both = file.try_clone().map_err(trouble)?;
        let status = command.stdin(Stdio::null()).stdout(file).stderr(both).status().map_err(trouble)?;
        Ok(Output { status, stdout: std::fs::read(&path).map_err(trouble)?, stderr: Vec::new() })
    }

    /// A CRIU that is killed leaves a helper behind that has stopped itself, and that nobody lets go on.
    fn end_helpers(&self, folder: &str) {
        for pid in busy_with(folder).into_iter().filter(|&pid| state_of(pid) == Some('T')) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }

    pub(super) fn moment(&mut self, most: u64) {
        std::thread::sleep(Duration::from_micros(self.random.below(most)));
    }

    fn command_killed(&mut self) -> Result<bool, String> {
        let words = self.command();
        let mut child = self.start(&words.words)?;
        self.moment(if words.is_whole() { 200_000 } else { 20_000 });
        child.kill().map_err(|error| error.to_string())?;
        let output = answer(child.wait_with_output())?;
        let mut killed = was_killed(&output);
        self.settle(&words.folder, killed)?;
        // So is bringing back.
        if self.random.below(3) == 0 && exists(&PathBuf::from(&words.folder).join("job.json")) {
            let mut child = self.start(&["restore".to_owned(), words.folder.clone()])?;
            self.moment(150_000);
            child.kill().map_err(|error| error.to_string())?;
            killed |= was_killed(&answer(child.wait_with_output())?);
            self.settle(&words.folder, true)?;
        }
        self.keep(&words.folder);
        Ok(killed)
    }

    fn interrupted(&mut self) -> Result<bool, String> {
        self.saved()?;
        let words = self.command_of(5);
        let mut hit = self.interrupt(&words.words, &words.folder, if words.is_whole() { 150_000 } else { 20_000 })?;
        if self.random.below(2) == 0 && exists(&PathBuf::from(&words.folder).join("job.json")) {
            hit |= self.interrupt(&["restore".to_owned(), words.folder.clone()], &words.folder, 150_000)?;
        }
        self.keep(&words.folder);
        Ok(hit)
    }

    /// Interrupts a command, and all that belongs to it; whether it had not ended by itself.
    fn interrupt(&mut self, words: &[String], folder: &str, most: u64) -> Result<bool, String> {
        let mut command = self.bench.migrate(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        self.moment(most);
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).stderr(Stdio::null()).status();
        let status = child.wait().map_err(|error| error.to_string())?;
        self.settle_after(folder, true).map_err(|why| format!("{} was interrupted: {why}", words.join(" ")))?;
        Ok(status.code().is_none())
    }

    fn command_killed_at_step(&mut self) -> Result<bool, String> {
        let words = self.command();
        let mut killed = self.killed_at_step(&words.words, &words.what(), &words.folder)?;
        if self.random.below(2) == 0 && exists(&PathBuf::from(&words.folder).join("job.json")) {
            let what = if words.is_whole() { "restore" } else { "restore --gpu-only" };
            let restore = ["restore".to_owned(), words.folder.clone()];
            killed |= self.killed_at_step(&restore, what, &words.folder)?;
        }
        self.keep(&words.folder);
        Ok(killed)
    }

    /// Runs a command that is killed in front of a step; whether it was.
    fn killed_at_step(&mut self, words: &[String], what: &str, folder: &str) -> Result<bool, String> {
        let Some(steps) = &mut self.steps else { return Ok(false) };
        let step = steps.one(what, &mut self.random);
        let output = self.heard(self.behind(&steps::killed_at(step), words))?;
        let killed = was_killed(&output);
        if let Some(steps) = &mut self.steps
            && (killed || output.status.success())
        {
            steps.note(what, step, killed);
        }
        self.settle(folder, true).map_err(|why| format!("{what} was killed in front of step {step}: {why}"))?;
        Ok(killed)
    }

    /// After a command was killed what it had begun goes on by itself: waits until nothing changes any more.
    pub(super) fn settle(&mut self, folder: &str, killed: bool) -> Result<(), String> {
        if killed { self.settle_after(folder, false) } else { Ok(()) }
    }

    /// The same; where CRIU was killed too its `helpers` are ended, which do not stop themselves before they have begun.
    fn settle_after(&mut self, folder: &str, helpers: bool) -> Result<(), String> {
        let start = Instant::now();
        loop {
            if helpers {
                self.end_helpers(folder);
            }
            // CRIU may be at work with the process, or be bringing it back.
            let busy = Bench::is_busy_with(folder);
            if !busy && self.rests() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                let stage = self.stage();
                return Err(format!(
                    "something does not end: {}, the job is at `{stage}`",
                    if busy { "CRIU" } else { "no CRIU" }
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
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
        !self.job.lives() || matches!(self.stage().as_str(), "running" | "paused" | "released" | STOPPED)
    }

    /// Remembers a checkpoint of the whole job, if this is one, and removes all others.
    fn keep(&mut self, folder: &str) {
        let manifest = std::fs::read_to_string(PathBuf::from(folder).join("job.json")).unwrap_or_default();
        let manifest: Value = serde_json::from_str(&manifest).unwrap_or_default();
        if manifest["process"].is_array() {
            if let Some(last) = self.last.replace(folder.to_owned()).filter(|last| last != folder) {
                let _ = std::fs::remove_dir_all(last);
            }
        } else if self.stage() == "running" {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// Sees to it that there is a checkpoint of the whole job.
    fn saved(&mut self) -> Result<(), String> {
        if self.last.is_none() {
            let folder = folder(self.bench, &format!("last-{}", self.tries));
            match self.bench.said(&["checkpoint", &self.pid(), "-o", &folder, "--leave-running"])? {
                (Some(0), _) => self.last = Some(folder),
                // It has just ended.
                (Some(3), _) if self.has_ended() => {}
                (status, said) => return Err(format!("it is not saved: {status:?} {said}")),
            }
        }
        Ok(())
    }

    fn job_killed(&mut self) -> Result<bool, String> {
        self.saved()?;
        let words = self.command();
        let child = self.start(&words.words)?;
        self.moment(if words.is_whole() { 200_000 } else { 20_000 });
        self.job.kill();
        let output = answer(child.wait_with_output())?;
        self.gone(&words, &output)?;
        Ok(true)
    }

    fn job_killed_at_step(&mut self) -> Result<bool, String> {
        self.saved()?;
        let words = self.command_of_devices();
        let what = format!("the job, at {}", words.what());
        let Some(steps) = &mut self.steps else { return Ok(false) };
        let step = steps.one(&what, &mut self.random);
        if !self.job.lives() {
            return Ok(false);
        }
        let watch = Watch::kills(self.job.pid, step)?;
        let output = answer(self.start(&words.words)?.wait_with_output())?;
        drop(watch);
        let killed = !self.job.lives();
        if let Some(steps) = &mut self.steps {
            steps.note(&what, step, killed);
        }
        self.gone(&words, &output).map_err(|why| format!("{what} killed in front of step {step}: {why}"))?;
        Ok(killed && !self.has_ended())
    }

    /// A command about a job that is gone says so, and does not claim success where there is none.
    fn gone(&mut self, words: &Words, output: &Output) -> Result<(), String> {
        self.settle(&words.folder, true)?;
        let complete = exists(&PathBuf::from(&words.folder).join("job.json"));
        if words.words[0] == "checkpoint" && output.status.success() && !complete {
            return Err(format!("it says that it is done: {}", text(output)));
        }
        self.keep(&words.folder);
        if !self.job.lives() && Some(&words.folder) != self.last.as_ref() {
            let _ = std::fs::remove_dir_all(&words.folder);
        }
        Ok(())
    }

    /// A CRIU that does something else when it is to save a process.
    fn criu_that(&self, fails: &str) -> Result<PathBuf, String> {
        let real = self.bench.criu.as_ref().map_err(Clone::clone)?;
        let script = self.bench.work.join("criu-fails");
        let text_of = format!(
            "#!/bin/sh\nreal=\"{}\"\n[ \"$1\" = dump ] && {{ {fails}; }}\nexec \"$real\" \"$@\"\n",
            real.display()
        );
        written_script(&script, &text_of)?;
        Ok(script)
    }

    fn criu_fails(&mut self) -> Result<bool, String> {
        let kills = self.last.is_some() && self.random.below(3) == 0;
        let script = self.criu_that(&match kills {
            // It dies, and what it was to save with it.
            true => format!("kill -KILL {}; exit 1", self.job.pid),
            false => "exit 1".to_owned(),
        })?;
        let folder = self.folder();
        let words = ["checkpoint", &self.pid(), "-o", &folder];
        let output = answer(self.bench.migrate(&words).env("HETGPU_CRIU", &script).output())?;
        if !matches!(output.status.code(), Some(3 | 9)) || (!kills && exists(&PathBuf::from(&folder))) {
            return Err(format!("where CRIU fails: {} {}", output.status, text(&output)));
        }
        let _ = std::fs::remove_dir_all(folder);
        Ok(true)
    }

    fn criu_killed_at_step(&mut self) -> Result<bool, String> {
        const WHAT: &str = "CRIU";
        self.saved()?;
        let Some(steps) = &mut self.steps else { return Ok(false) };
        let step = steps.one(WHAT, &mut self.random);
        let front: Vec<String> = steps::killed_at(step).iter().map(|word| format!("'{word}'")).collect();
        let script = self.criu_that(&format!("exec {} \"$real\" \"$@\"", front.join(" ")))?;
        let folder = self.folder();
        let mut words = vec!["checkpoint".to_owned(), self.pid(), "-o".into(), folder.clone()];
        words.extend((self.random.below(2) == 0).then(|| "--leave-running".into()));
        let words = Words { words, folder };
        let mut command = self.bench.migrate(&words.words.iter().map(String::as_str).collect::<Vec<_>>());
        command.env("HETGPU_CRIU", &script);
        let output = self.heard(command)?;
        self.end_helpers(&words.folder);
        let killed = !output.status.success();
        if let Some(steps) = &mut self.steps {
            steps.note(WHAT, step, killed);
        }
        if killed && !matches!(output.status.code(), Some(3 | 9)) {
            return Err(format!("where CRIU is killed in front of step {step}: {} {}", output.status, text(&output)));
        }
        self.gone(&words, &output).map_err(|why| format!("CRIU was killed in front of step {step}: {why}"))?;
        Ok(killed)
    }

    /// What must hold where a checkpoint could not be written; whether it could not.
    fn not_written(&mut self, words: &Words, status: Option<i32>, said: &str) -> Result<bool, String> {
        match status {
            // It fitted.
            Some(0) => {
                if !words.has("--leave-running") {
                    self.job.lives();
                    self.restored(&["restore", &words.folder])?;
                }
                let _ = std::fs::remove_dir_all(&words.folder);
                Ok(false)
            }
            Some(8 | 9) if !exists(&PathBuf::from(&words.folder)) => Ok(true),
            // The job ended by itself.
            Some(3) if !self.job.lives() => Ok(false),
            _ => {
                let left = exists(&PathBuf::from(&words.folder));
                Err(format!(
                    "{} ends with {status:?}, {} a folder: {said}",
                    words.what(),
                    if left { "and leaves" } else { "without" }
                ))
            }
        }
    }

    /// Words of a checkpoint into a folder.
    fn checkpoint(&mut self, folder: String, whole: bool) -> Words {
        let mut words = vec!["checkpoint".to_owned(), self.pid(), "-o".into(), folder.clone()];
        words.extend((!whole).then(|| "--gpu-only".into()));
        words.extend((self.random.below(2) == 0).then(|| "--leave-running".into()));
        self.did = words.join(" ");
        Words { words, folder }
    }

    fn disk_full(&mut self) -> Result<bool, String> {
        let Some(small) = self.small.clone() else { return Ok(false) };
        let whole = self.bench.criu.is_ok() && self.random.below(2) == 0;
        let kilobytes = self.kilobytes(whole);
        let mut larger = Command::new("mount");
        larger.args(["-o", &format!("remount,size={kilobytes}k")]).arg(&small);
        if !succeeds(&mut larger)? {
            return Err("the small file system does not get another size".into());
        }
        let words = self.checkpoint(small.join("ck").display().to_string(), whole);
        let (status, said) = self.bench.said(&words.words.iter().map(String::as_str).collect::<Vec<_>>())?;
        let full =
            self.not_written(&words, status, &said).map_err(|why| format!("on a disk of {kilobytes} KB {why}"))?;
        let left = std::fs::read_dir(&small).map_or(0, |entries| entries.count());
        if left > 0 {
            return Err(format!("on a full disk it leaves {left} files"));
        }
        Ok(full)
    }

    /// Kilobytes that may be less than a checkpoint needs: of its devices, which are the first of it, or of all of it.
    fn kilobytes(&mut self, whole: bool) -> u64 {
        /// Bytes of a body on the device, and kilobytes of the process.
        const BODY: u64 = 44;
        const PROCESS: u64 = 20 << 10;
        let devices = (u64::from(self.size.bodies) * BODY) >> 10;
        let most = if whole && self.random.below(2) == 0 { PROCESS } else { devices };
        4 + self.random.below(most)
    }

    fn short_write(&mut self) -> Result<bool, String> {
        let whole = self.bench.criu.is_ok() && self.random.below(2) == 0;
        let kilobytes = self.kilobytes(whole);
        let words = self.checkpoint(self.folder(), whole);
        let (status, said) = match whole {
            true => {
                // CRIU writes the process, as a child of the command.
                let script = format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$@\"");
                let front = ["bash", "-c", &script, "bash"].map(str::to_owned);
                let output = self.heard(self.behind(&front, &words.words))?;
                (output.status.code(), text(&output))
            }
            false => {
                // The job writes its devices. What it says has room all the same.
                let said = std::fs::metadata(&self.job.log).map_or(0, |about| about.len());
                let bytes = (kilobytes << 10).max(said + (8 << 10));
                self.limit("fsize", &format!("{bytes}:"))?;
                let ended = self.bench.said(&words.words.iter().map(String::as_str).collect::<Vec<_>>());
                self.limit("fsize", "unlimited:")?;
                ended?
            }
        };
        self.not_written(&words, status, &said).map_err(|why| format!("where files end after {kilobytes} KB {why}"))
    }

    /// Sets a limit of the job, if it is there.
    fn limit(&mut self, what: &str, to: &str) -> Result<(), String> {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &self.pid(), &format!("--{what}={to}")]).stderr(Stdio::null());
        match succeeds(&mut command)? || !self.job.lives() {
            true => Ok(()),
            false => Err(format!("the job does not get the limit {what} {to}")),
        }
    }

    fn torn(&mut self) -> Result<bool, String> {
        let whole = self.bench.criu.is_ok() && self.random.below(2) == 0;
        let Some(folder) = self.standing(whole)? else { return Ok(false) };
        let files = |of: &str| std::fs::read_dir(PathBuf::from(&folder).join(of)).into_iter().flatten().flatten();
        let torn = |path: &PathBuf| path.extension().is_some_and(|end| end == "snapshot" || end == "img");
        let mut all: Vec<PathBuf> = files("").chain(files("process")).map(|entry| entry.path()).filter(torn).collect();
        all.sort();
        let path = &all[self.random.below(all.len() as u64) as usize];
        let contents = std::fs::read(path).map_err(|error| error.to_string())?;
        let file = OpenOptions::new().write(true).open(path).map_err(|error| error.to_string())?;
        let place = self.random.below(contents.len() as u64);
        self.did = format!("{} torn at {place} of {}", path.display(), contents.len());
        match self.random.below(2) {
            0 => file.set_len(place),
            _ => file.write_all_at(&[contents.get(place as usize).copied().unwrap_or(0) ^ 0x55], place),
        }
        .map_err(|error| error.to_string())?;
        let (verified, _) = self.bench.said(&["verify", &folder])?;
        let (restored, said) = self.bench.said(&["restore", &folder])?;
        // It may end by itself before it has answered.
        let restored = if self.has_ended() { Some(0) } else { restored };
        self.did += &format!(": verify {verified:?}, restore {restored:?}");
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
            self.restored(&["restore", &folder])?;
        }
        self.keep(&folder);
        Ok(true)
    }

    /// A checkpoint of the job, which stands still or has ended; none where it had just ended by itself.
    fn standing(&mut self, whole: bool) -> Result<Option<String>, String> {
        let folder = self.folder();
        let mut words = vec!["checkpoint", "", "-o", &folder];
        words.extend((!whole).then_some("--gpu-only"));
        let pid = self.pid();
        words[1] = &pid;
        match self.bench.said(&words)? {
            (Some(0), _) => {
                // Who has ended is forgotten when its parent has asked.
                self.job.lives();
                Ok(Some(folder))
            }
            (Some(3), _) => Ok(None),
            (status, said) => Err(format!("{}: {status:?} {said}", words.join(" "))),
        }
    }

    fn no_target(&mut self) -> Result<bool, String> {
        let whole = self.bench.criu.is_ok() && self.random.below(2) == 0;
        let Some(folder) = self.standing(whole)? else { return Ok(false) };
        let (status, said) = self.bench.said(&["restore", &folder, "--to", "nowhere"])?;
        if status != Some(2) {
            return Err(format!("onto a device that is not there: {status:?} {said}"));
        }
        let to = self.device();
        self.restored(&["restore", &folder, "--to", &to])?;
        self.keep(&folder);
        Ok(true)
    }

    fn no_memory(&mut self) -> Result<bool, String> {
        self.saved()?;
        if self.random.below(2) == 0 { self.no_memory_for_all() } else { self.no_memory_for_devices() }
    }

    /// A whole job is to come back where there is too little memory for it.
    fn no_memory_for_all(&mut self) -> Result<bool, String> {
        /// What the command needs itself, and with CRIU and the job.
        const LEAST: u64 = 40 << 10;
        const MOST: u64 = 400 << 10;
        let Some(folder) = self.standing(true)? else { return Ok(false) };
        let kilobytes = LEAST + self.random.below(MOST - LEAST);
        self.did = format!("all of it in {kilobytes} KB");
        let script = format!("ulimit -v {kilobytes}; exec \"$@\"");
        let front = ["bash", "-c", &script, "bash"].map(str::to_owned);
        let output = self.heard(self.behind(&front, &["restore".to_owned(), folder.clone()]))?;
        let back = output.status.success();
        if !back && self.settle(&folder, true).is_ok() && self.job.lives() {
            return Err(format!("half of it is back in {kilobytes} KB: {} {}", output.status, text(&output)));
        }
        if !back {
            self.restored(&["restore", &folder])?;
        }
        self.keep(&folder);
        Ok(!back)
    }

    /// What is on its devices is to go to another kind of device, or to come back, and a mapping of its process fails.
    fn no_memory_for_devices(&mut self) -> Result<bool, String> {
        let moves = self.random.below(2) == 0;
        let folder = match moves {
            true => None,
            false => match self.standing(false)? {
                None => return Ok(false),
                folder => folder,
            },
        };
        let what = if moves { "mappings of a move" } else { "mappings of a restore" };
        let Some(steps) = &mut self.steps else { return Ok(false) };
        let mapping = steps.one(what, &mut self.random);
        if !self.job.lives() {
            return Ok(false);
        }
        self.did = format!("{what}: {mapping}");
        let watch = Watch::no_memory(self.job.pid, mapping)?;
        let pid = self.pid();
        let (status, said) = match &folder {
            Some(folder) => self.bench.said(&["restore", folder])?,
            None => self.bench.said(&["move", &pid, "--to", "interp"])?,
        };
        drop(watch);
        let failed = status != Some(0);
        self.did += &format!(": {status:?} {said}");
        if let Some(steps) = &mut self.steps {
            steps.note(what, mapping, failed);
        }
        if failed && !matches!(status, Some(1 | 3 | 7 | 8)) {
            return Err(format!("without memory for mapping {mapping}: {status:?} {said}"));
        }
        // There is memory again.
        if let Some(folder) = folder {
            if failed && self.job.lives() {
                self.restored(&["restore", &folder])?;
            }
            let _ = std::fs::remove_dir_all(folder);
        }
        if moves && self.job.lives() {
            let to = self.device();
            let _ = self.bench.said(&["move", &pid, "--to", &to])?;
        }
        Ok(failed)
    }

    fn given_up(&mut self) -> Result<bool, String> {
        let Words { mut words, folder } = self.command();
        let whole = words[0] == "checkpoint" && !words.contains(&"--gpu-only".to_owned());
        let short = words[0] == "checkpoint" && self.random.below(2) == 0;
        if short {
            words.extend(["--max-freeze".into(), "0".into()]);
        }
        let child = self.start(&words)?;
        self.moment(if whole { 150_000 } else { 20_000 });
        self.bench.said(&["abort", &self.pid()])?;
        let output = answer(child.wait_with_output())?;
        match output.status.code() {
            Some(0 | 2..=6) => {
                self.keep(&folder);
                Ok(!output.status.success())
            }
            _ => Err(format!("given up: {} {}", output.status, text(&output))),
        }
    }

    /// What the job's device is at; empty where it does not answer.
    pub(super) fn stage(&self) -> String {
        if state_of(self.job.pid) == Some('T') {
            return STOPPED.to_owned();
        }
        let job = self.bench.asked(self.job.pid).unwrap_or_default();
        job["devices"][0]["stage"].as_str().unwrap_or_default().to_owned()
    }

    /// After any fault the job runs, or it is let go on from where it is, or from its last checkpoint.
    pub(super) fn recover(&mut self) -> Result<(), String> {
        let start = Instant::now();
        let mut said = String::new();
        while start.elapsed() < PATIENCE {
            if self.has_ended() {
                return Ok(());
            }
            if !self.job.lives() {
                let last =
                    self.last.clone().ok_or_else(|| format!("it is gone, and there is no checkpoint; {said}"))?;
                said = self.restored(&["restore", &last, "--cut-files"])?;
                continue;
            }
            match self.stage().as_str() {
                "running" => return Ok(()),
                "released" | "paused" | STOPPED | "" => {
                    let (_, more) = self.bench.said(&["resume", &self.pid()])?;
                    said = more;
                }
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        Err(format!("it does not go on: {}, {said}", self.stage()))
    }
}
