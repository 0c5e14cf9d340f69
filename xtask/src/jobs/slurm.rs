//! `cargo xtask slurm`: the example of a batch job in `docs/jobs` with Slurm's own programs. The job runs into its time, is signalled, saved,
//! queued again and goes on; it is signalled once more, as a program that came back; and prints what it would have printed undisturbed.
//! Another one is cancelled when its program has come back.

use super::transfers::{self, sockets};
use super::{Bench, skipped, text};
use crate::report::Counts;
use crate::tool::root;
use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WHAT: &str = "the example of a batch job";
const BODIES: u32 = 4096;
const STEPS: u32 = 600;
/// Of a job that is cancelled: it does not end by itself while anybody waits for it.
const ENDLESS: u32 = 1_000_000;
/// Milliseconds that it rests after each step: it takes a minute on any machine.
const REST: u32 = 100;
/// A minute is the shortest limit. Slurm looks every thirty seconds who has to be signalled before the next time: this job when it has run
/// for 10 to 40 seconds, so that it computes by then and is not near its end.
const SHORT: [&str; 2] = ["--time=1", "--signal=B:USR1@20"];
const LONG: [&str; 1] = ["--time=30"];
/// Longer than Slurm takes for any step of it.
const PATIENCE: Duration = Duration::from_secs(150);

/// Slurm, which ends with this.
struct Slurm {
    child: Child,
    folder: PathBuf,
}

/// What Slurm says of a job: `JobState=RUNNING Restarts=1` and so on.
struct Said(String);

impl Said {
    fn of(&self, name: &str) -> &str {
        let mut words = self.0.split_ascii_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    }

    fn is(&self, state: &str, restarts: u32) -> bool {
        self.of("JobState") == state && self.of("Restarts") == restarts.to_string()
    }

    fn has_ended(&self) -> bool {
        !matches!(self.of("JobState"), "PENDING" | "CONFIGURING" | "RUNNING" | "SUSPENDED" | "COMPLETING" | "REQUEUED")
    }
}

fn programs() -> PathBuf {
    root().join(".build/slurm/bin")
}

/// Why it cannot be tested here.
fn missing(bench: &Bench) -> Option<String> {
    if !programs().join("slurmd").is_file() {
        return Some("there is no Slurm (tests/slurm/setup.sh fetches Debian's)".into());
    }
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        return Some("it wants to be started by root".into());
    }
    if !transfers::possible() {
        return Some("there are no processes with numbers of their own here".into());
    }
    bench.criu.as_ref().err().cloned()
}

fn free_ports() -> std::io::Result<[u16; 2]> {
    let both = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([both[0].local_addr()?.port(), both[1].local_addr()?.port()])
}

impl Slurm {
    fn start(bench: &Bench) -> Result<Self, String> {
        let folder = bench.work.join("slurm");
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let log = File::create(folder.join("start.log")).map_err(|error| error.to_string())?;
        let both = log.try_clone().map_err(|error| error.to_string())?;
        let ports = free_ports().map_err(|error| error.to_string())?.map(|port| port.to_string());
        // All of it is killed when this is, however that happens.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]);
        command.arg(root().join("tests/slurm/start.sh")).arg(&folder).args(&ports).arg(sockets());
        let child = command.stdin(Stdio::null()).stdout(log).stderr(both).spawn();
        let mut slurm = Self { child: child.map_err(|error| format!("setpriv: {error}"))?, folder };
        let begun = Instant::now();
        while !slurm.asked("sinfo", &["--noheader", "--format=%T"]).is_ok_and(|state| state == "idle") {
            if let Err(wrong) = slurm.still(begun, "its node does not become idle") {
                return Err(format!("{wrong}\n{}", slurm.logs()));
            }
        }
        Ok(slurm)
    }

    /// Waits a little, if there is something to wait for.
    fn still(&mut self, begun: Instant, wrong: &str) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("Slurm ended, {status}"));
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("for {} s {wrong}", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(programs().join(name));
        command.env("SLURM_CONF", self.folder.join("slurm.conf")).stdin(Stdio::null());
        command
    }

    fn asked(&self, name: &str, words: &[&str]) -> Result<String, String> {
        answer(self.command(name).args(words))
    }

    fn job(&self, job: &str) -> Result<Said, String> {
        self.asked("scontrol", &["--oneliner", "show", "job", job]).map(Said)
    }

    /// What is said of a job as soon as something is so.
    fn wait(&mut self, job: &str, wrong: &str, done: impl Fn(&Said) -> bool) -> Result<Said, String> {
        let begun = Instant::now();
        loop {
            let said = self.job(job)?;
            if done(&said) {
                return Ok(said);
            }
            if said.has_ended() {
                return Err(format!("the job has ended, {wrong}: {}", said.0));
            }
            self.still(begun, wrong).map_err(|error| format!("{error}: {}", said.0))?;
        }
    }

    /// The ends of what its parts have logged.
    fn logs(&self) -> String {
        const LINES: usize = 30;
        let names = ["start", "munged", "slurmctld", "slurmd"].map(|name| format!("{name}.log"));
        let end = |name: &String| {
            let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            format!("{name}:\n{}\n", lines[lines.len().saturating_sub(LINES)..].join("\n"))
        };
        names.iter().map(end).collect()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What dies with it may still write there.
        let begun = Instant::now();
        while std::fs::remove_dir_all(&self.folder).is_err() && self.folder.exists() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn answer(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(format!("{name}: {}: {}", output.status, text(&output))),
    }
}

/// `hetgpu`, `hetgpu-migrate` and Slurm's commands.
fn path(bench: &Bench) -> Result<OsString, String> {
    let folders = [bench.work.clone(), programs(), "/usr/bin".into(), "/bin".into()];
    std::env::join_paths(folders).map_err(|error| error.to_string())
}

/// A batch job, what it says, and where its program is kept.
struct Batch {
    number: String,
    said: PathBuf,
    store: PathBuf,
}

impl Batch {
    fn submit(slurm: &Slurm, bench: &Bench, limits: &[&str], steps: u32) -> Result<Self, String> {
        let (said, stores) = (bench.work.join("batch-%j.log"), bench.work.join("store"));
        let mut command = slurm.command("sbatch");
        command.arg("--parsable").args(limits).arg("--output").arg(&said).arg(root().join("docs/jobs/slurm.sh"));
        command.arg(bench.work.join("nbody")).args([BODIES, steps, REST].map(|number| number.to_string()));
        command.env("PATH", path(bench)?).env("HETGPU_LIBRARIES", &bench.work).env("HETGPU_CHECKPOINTS", &stores);
        if let Ok(criu) = &bench.criu {
            command.env("HETGPU_CRIU", criu);
        }
        let number = answer(command.current_dir(&bench.work))?;
        Ok(Self { said: bench.work.join(format!("batch-{number}.log")), store: stores.join(&number), number })
    }

    fn steps(&self) -> usize {
        let text = std::fs::read_to_string(self.store.join("output")).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("step ")).count()
    }

    /// The checkpoint that it goes on from, the only one that there is.
    fn saved(&self) -> Result<PathBuf, String> {
        let latest = std::fs::read_to_string(self.store.join("latest")).map_err(|error| format!("latest: {error}"))?;
        let entries = std::fs::read_dir(&self.store).map_err(|error| error.to_string())?;
        let folders: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        match &folders[..] {
            [only] if only == Path::new(latest.trim_end()) && only.join("job.json").is_file() => Ok(only.clone()),
            _ => Err(format!("it goes on from {latest}, and there are {folders:?}")),
        }
    }

    /// Counts it, and says what happened where something went wrong.
    fn told(&self, slurm: &Slurm, watched: Result<(), String>) -> Counts {
        if let Err(wrong) = &watched {
            let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
            let (said, output) = (read(&self.said), read(&self.store.join("output")));
            println!("{wrong}\nthe job:\n{said}\nits program:\n{output}\n{}", slurm.logs());
        }
        Counts::one(watched.is_ok())
    }

    /// Signals it, so that it is queued again; how many steps it had done then.
    fn signal(&self, slurm: &mut Slurm, restarts: u32) -> Result<usize, String> {
        slurm.asked("scancel", &["--batch", "--signal=USR1", &self.number])?;
        slurm.wait(&self.number, "and was not queued again when it was signalled", |said| {
            said.is("PENDING", restarts)
        })?;
        Ok(self.steps())
    }

    fn goes_on(&self, slurm: &mut Slurm, restarts: u32, steps: usize) -> Result<(), String> {
        let on = |said: &Said| said.is("RUNNING", restarts) && self.steps() > steps;
        slurm.wait(&self.number, "and did not go on", on).map(drop)
    }

    /// From its first line to its last.
    fn runs_into_its_time(&self, slurm: &mut Slurm, expected: &str) -> Result<(), String> {
        let Self { number, .. } = self;
        let begun = Instant::now();
        slurm.wait(number, "and was not queued again when its time was nearly over", |said| said.is("PENDING", 1))?;
        let (seconds, steps, first) = (begun.elapsed().as_secs(), self.steps(), self.saved()?);
        println!("  after {seconds} s and {steps} of {STEPS} steps it was signalled, saved and queued again");
        // This time it is to have as much as it wants.
        slurm.asked("scontrol", &["update", &format!("JobId={number}"), "TimeLimit=30"])?;
        self.goes_on(slurm, 1, steps)?;
        println!("  it went on; signalling it once more");
        let (steps, second) = (self.signal(slurm, 2)?, self.saved()?);
        if second == first || steps >= STEPS as usize {
            return Err(format!("{} was saved after {steps} steps, {} before", second.display(), first.display()));
        }
        println!("  after {steps} steps it was saved and queued again");
        slurm.wait(number, "and not with success", |said| said.is("COMPLETED", 2))?;
        // Nothing that it printed is there twice or missing.
        let said = std::fs::read_to_string(&self.said).unwrap_or_default();
        let steps = said.lines().filter(|line| line.starts_with("step ")).count();
        let last = said.lines().last().unwrap_or_default();
        println!("  {last}");
        if last != expected || steps != STEPS as usize {
            return Err(format!("expected {expected} after {STEPS} steps, there were {steps}"));
        }
        if self.store.exists() {
            return Err(format!("{} is still there", self.store.display()));
        }
        Ok(())
    }

    /// A program that came back is no child of anything of Slurm's.
    fn is_cancelled(&self, slurm: &mut Slurm, bench: &Bench) -> Result<(), String> {
        slurm.wait(&self.number, "and did not compute", |said| said.is("RUNNING", 0) && self.steps() > 0)?;
        let steps = self.signal(slurm, 1)?;
        self.goes_on(slurm, 1, steps)?;
        if !runs(bench) {
            return Err("the program that goes on is not found".into());
        }
        slurm.asked("scancel", &[&self.number])?;
        let begun = Instant::now();
        while runs(bench) {
            slurm.still(begun, "its program outlives the job")?;
        }
        println!("  another one, which had come back, was cancelled, and its program ended with it");
        Ok(())
    }
}

/// Whether there is a process of the program, in whatever namespace.
fn runs(bench: &Bench) -> bool {
    let program = bench.work.join("nbody");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut programs = processes.filter_map(|process| std::fs::read_link(process.path().join("exe")).ok());
    programs.any(|running| running == program)
}

pub(crate) fn run() -> Result<Counts, String> {
    let bench = Bench::new("slurm")?;
    if let Some(why) = missing(&bench) {
        return Ok(skipped(WHAT, &why));
    }
    let expected = bench.undisturbed(BODIES, STEPS)?;
    println!("{WHAT}, by Slurm's own programs; undisturbed it prints {expected}");
    let commands = root().join("target/debug/hetgpu");
    let link = std::os::unix::fs::symlink(commands, bench.work.join("hetgpu"));
    link.map_err(|error| format!("hetgpu: {error}"))?;
    let mut slurm = Slurm::start(&bench)?;
    let mut counts = Counts::default();
    let batch = Batch::submit(&slurm, &bench, &SHORT, STEPS)?;
    let watched = batch.runs_into_its_time(&mut slurm, &expected);
    counts += batch.told(&slurm, watched);
    let batch = Batch::submit(&slurm, &bench, &LONG, ENDLESS)?;
    let watched = batch.is_cancelled(&mut slurm, &bench);
    counts += batch.told(&slurm, watched);
    Ok(counts)
}
