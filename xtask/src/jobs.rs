//! Jobs that are moved, saved and brought back: the demonstration, and faults at every step.

mod apart;
mod faults;
mod large;
mod pairs;
mod podman;
mod slurm;
mod transfers;

pub(crate) use faults::run as faults;
pub(crate) use large::run as large;
pub(crate) use pairs::run as pairs;
pub(crate) use podman::run as podman;
pub(crate) use slurm::run as slurm;

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::report::Counts;
use crate::tool::{cargo, nvcc, root, succeeds};

/// Far more than anything takes here.
const LIMIT: Duration = Duration::from_secs(300);

/// How long a job may take to say what it is at: it answers at once.
const ANSWER: Duration = Duration::from_secs(10);

/// Where a small file system is mounted.
const SMALL: &str = "small";

/// What is needed to run jobs: our library, the command, the program, and CRIU where it works.
struct Bench {
    work: PathBuf,
    criu: Result<PathBuf, String>,
    /// Where its jobs announce themselves, if not where all of the user's do.
    sockets: Option<PathBuf>,
}

/// A job that runs, perhaps not as a child of ours.
struct Job {
    pid: u32,
    child: Option<Child>,
    log: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Result<Self, String> {
        Self::for_jobs(name, false)
    }

    fn for_jobs(name: &str, release: bool) -> Result<Self, String> {
        let bench = Self::with(name, release)?;
        bench.compile("tests/programs/nbody.cu", "nbody")?;
        Ok(bench)
    }

    /// Without a program, and as fast as it gets where that is measured.
    fn with(name: &str, release: bool) -> Result<Self, String> {
        let work = root().join(".build/jobs").join(name);
        // What was interrupted may have left a file system there.
        let below = std::fs::read_dir(&work).into_iter().flatten().flatten().map(|entry| entry.path().join(SMALL));
        for small in std::iter::once(work.join(SMALL)).chain(below).filter(|small| small.is_dir()) {
            let _ = Command::new("umount").arg(small).stderr(Stdio::null()).status();
        }
        let _ = std::fs::remove_dir_all(&work);
        std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        println!("building libcuda.so.1 and the commands");
        let mut build = cargo();
        build.args(["build", "--quiet", "--package", "hetgpu-shim", "--package", "hetgpu"]);
        if release {
            build.arg("--release");
        }
        if !succeeds(&mut build)? {
            return Err("they are not built".into());
        }
        let built = root().join("target").join(if release { "release" } else { "debug" });
        for (from, to) in [("libcuda.so", "libcuda.so.1"), ("hetgpu", "hetgpu-migrate")] {
            same(&built.join(from), &work.join(to))?;
        }
        Ok(Self { work, criu: criu(), sockets: apart::sockets(name)? })
    }

    /// Does not let CRIU check again and again whether it works on this machine: each command asks, and that takes as long as saving a job.
    fn check_criu_once(&mut self) -> Result<(), String> {
        let Ok(real) = &self.criu else { return Ok(()) };
        let version = Command::new(real).arg("--version").output().map_err(|error| format!("CRIU: {error}"))?;
        let (version, real) = (String::from_utf8_lossy(&version.stdout).replace('\'', ""), real.display());
        let text = format!(
            "#!/bin/sh\ncase \"$1\" in\ncheck) exit 0 ;;\n--version) printf %s '{version}'; exit 0 ;;\nesac\nexec \"{real}\" \"$@\"\n"
        );
        let script = self.work.join("criu");
        written_script(&script, &text)?;
        self.criu = Ok(script);
        Ok(())
    }

    /// Another folder with the same programs, for jobs that nothing of this one's is mistaken for.
    fn beside(&self, name: &str) -> Result<Self, String> {
        let work = self.work.join(name);
        std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        for entry in std::fs::read_dir(&self.work).into_iter().flatten().flatten() {
            let (from, to) = (entry.path(), work.join(entry.file_name()));
            if from.is_file() {
                same(&from, &to)?;
            }
        }
        Ok(Self { work, criu: self.criu.clone(), sockets: apart::sockets(name)? })
    }

    fn compile(&self, source: &str, name: &str) -> Result<(), String> {
        self.compile_with(source, name, &[])
    }

    /// The same, linked with more.
    fn compile_with(&self, source: &str, name: &str, more: &[&str]) -> Result<(), String> {
        let mut compile = Command::new(nvcc()?);
        compile.args(["-std=c++17", "-gencode", "arch=compute_75,code=compute_75", "-o"]).arg(self.work.join(name));
        match succeeds(compile.arg(root().join(source)).args(more))? {
            true => Ok(()),
            false => Err(format!("nvcc does not build {name}")),
        }
    }

    /// A program on our library.
    fn command(&self, name: &str) -> Command {
        self.command_under(&[], name)
    }

    /// The same, begun by another program.
    fn command_under(&self, begun_by: &[&str], name: &str) -> Command {
        let mut command = alone();
        command.args(begun_by).arg(self.work.join(name)).env("LD_LIBRARY_PATH", &self.work);
        command.env("HETGPU_LOG", "error").stdin(Stdio::null());
        self.announced(&mut command);
        command
    }

    /// Lets a command look where its jobs announce themselves, or a job announce itself there.
    fn announced(&self, command: &mut Command) {
        if let Some(sockets) = &self.sockets {
            command.env("XDG_RUNTIME_DIR", sockets);
        }
    }

    /// The folder where its jobs listen.
    fn listening(&self) -> String {
        let own = self.sockets.as_ref().map(|sockets| sockets.join("hetgpu").display().to_string());
        own.unwrap_or_else(transfers::sockets)
    }

    /// What a job says of itself; nothing where it does not answer.
    fn asked(&self, pid: u32) -> Option<Value> {
        let stream = UnixStream::connect(format!("{}/{pid}.sock", self.listening())).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        writeln!(&stream, "{}", json!({ "request": "status" })).ok()?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }

    /// Whether anybody is at work whose command line names this.
    fn is_busy_with(what: &str) -> bool {
        !busy_with(what).is_empty()
    }

    fn program(&self, bodies: u32, steps: u32) -> Command {
        let mut command = self.command("nbody");
        command.args([bodies.to_string(), steps.to_string()]);
        command
    }

    /// Its last line, if nobody disturbs it.
    fn undisturbed(&self, bodies: u32, steps: u32) -> Result<String, String> {
        let output = self.program(bodies, steps).output().map_err(|error| format!("nbody: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.lines().last().filter(|line| line.starts_with("checksum ")) {
            Some(line) => Ok(line.to_owned()),
            None => Err(format!("nbody: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Starts a job, and waits until it has begun to compute.
    fn start(&self, name: &str, bodies: u32, steps: u32) -> Result<Job, String> {
        self.launch(name, self.program(bodies, steps))
    }

    /// The same of any program that counts its steps.
    fn launch(&self, name: &str, mut command: Command) -> Result<Job, String> {
        let log = self.work.join(format!("{name}.log"));
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let both = file.try_clone().map_err(|error| error.to_string())?;
        let child = command.stdout(file).stderr(both).spawn().map_err(|e| format!("{name}: {e}"))?;
        let mut job = Job { pid: child.id(), child: Some(child), log };
        job.wait(|job| job.last().starts_with("step"))?;
        Ok(job)
    }

    fn migrate(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.work.join("hetgpu-migrate"));
        command.args(words).stdin(Stdio::null());
        if let Ok(criu) = &self.criu {
            command.env("HETGPU_CRIU", criu);
        }
        self.announced(&mut command);
        command
    }

    /// Runs the command; what it said and its exit status.
    fn said(&self, words: &[&str]) -> Result<(Option<i32>, String), String> {
        /// How long others may have the number that a process comes back with: as long as another lane's job takes.
        const TAKEN: Duration = Duration::from_secs(180);
        let start = Instant::now();
        loop {
            let output = self.migrate(words).output().map_err(|error| format!("hetgpu-migrate: {error}"))?;
            let (status, said) = (output.status.code(), text(&output));
            if status != Some(5) || !said.contains("there is another process") || start.elapsed() > TAKEN {
                return Ok((status, said));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The same, where it must succeed.
    fn done(&self, words: &[&str]) -> Result<String, String> {
        match self.said(words)? {
            (Some(0), said) => Ok(said),
            (status, said) => Err(format!("hetgpu-migrate {}: {status:?}: {said}", words.join(" "))),
        }
    }

    /// Devices that jobs can be moved to, but for the interpreter, which is slow.
    fn devices(&self) -> Result<Vec<String>, String> {
        let all: Value =
            serde_json::from_str(&self.done(&["devices", "--json"])?).map_err(|error| error.to_string())?;
        let names = all.as_array().into_iter().flatten().filter_map(|device| device["name"].as_str());
        Ok(names.filter(|name| *name != "interp").map(str::to_owned).collect())
    }
}

/// Writes a program for the shell.
fn written_script(path: &Path, text: &str) -> Result<(), String> {
    let written = std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// A second name for a file, which stays what it is when another is built in its place.
fn same(from: &Path, to: &Path) -> Result<(), String> {
    let made = std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(drop));
    made.map_err(|error| format!("{}: {error}", to.display()))
}

/// Lets a shell close what others happen to have left open.
const CLOSED: &str =
    "for file in /proc/$$/fd/*; do file=${file##*/}; if [ $file -gt 2 ]; then eval \"exec $file>&-\"; fi; done";

/// Processes whose command lines name this.
fn busy_with(what: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(what)
    };
    all.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).filter(names).collect()
}

/// The letter that the system has for what a process does; none where there is no such process.
fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// What runs the program behind it so that CRIU can save it wherever this runs: in a session of its own, since ones that began
/// outside of a container are not saved, and without files of others that happen to be open. Files that are too long are errors to
/// it, and not its end.
fn alone() -> Command {
    let script = format!("trap '' XFSZ; {CLOSED}; exec setsid \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]);
    command
}

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).trim_end().to_owned()
}

/// A CRIU that works, or why there is none.
fn criu() -> Result<PathBuf, String> {
    let named = std::env::var_os("HETGPU_CRIU").map(PathBuf::from);
    let own = Some(root().join(".build/criu/criu")).filter(|own| own.is_file());
    let program = named.or(own).unwrap_or_else(|| "criu".into());
    let output = Command::new(&program).arg("check").output();
    match output {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => Err(format!("CRIU does not work here: {}", text(&output).lines().last().unwrap_or_default())),
        Err(_) => Err("there is no CRIU (tests/criu/setup.sh fetches it)".into()),
    }
}

impl Job {
    fn text(&self) -> String {
        // While it is written the end of it may be half a line.
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last(&self) -> String {
        self.text().lines().last().unwrap_or_default().to_owned()
    }

    /// Whether the process is there, and has not only not been noticed to be gone.
    fn lives(&mut self) -> bool {
        if let Some(child) = &mut self.child
            && let Ok(Some(_)) = child.try_wait()
        {
            self.child = None;
        }
        let lives = state_of(self.pid).is_some_and(|state| !['Z', 'X'].contains(&state)) && self.is_ours();
        // It may have ended but for threads: its number is free when its parent has heard of all.
        if !lives && let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        lives
    }

    /// Another process may have been given its number: one whose program does not lie beside the job's log is not the job.
    fn is_ours(&self) -> bool {
        let program = std::fs::read_link(format!("/proc/{}/exe", self.pid));
        let folder = self.log.parent().and_then(|folder| folder.canonicalize().ok());
        self.child.is_some() || program.is_ok_and(|program| program.parent() == folder.as_deref())
    }

    fn kill(&mut self) {
        if self.is_ours() {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {} 2>/dev/null", self.pid)]).status();
        }
        let start = Instant::now();
        while self.lives() && start.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// As long as it gets on it may take as long as it takes.
    fn wait(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let (mut seen, mut since) = (String::new(), Instant::now());
        while !done(self) {
            let last = self.last();
            if last != seen {
                (seen, since) = (last, Instant::now());
            }
            if since.elapsed() > LIMIT {
                return Err(format!("process {} does not get on: {}", self.pid, self.last()));
            }
            if !self.lives() && !done(self) {
                return Err(format!("process {} is gone: {}", self.pid, self.last()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Its last line, once it has ended by itself.
    fn ended(&mut self) -> Result<String, String> {
        self.wait(|job| job.last().starts_with("checksum "))?;
        Ok(self.last())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Prints why something is not done.
fn skipped(what: &str, why: &str) -> Counts {
    println!("skipped {what}: {why}");
    Counts { skipped: 1, ..Counts::default() }
}

/// `cargo xtask demo-migrate`: an n-body program built by nvcc is moved between devices while it runs, saved, killed and
/// brought back, and computes what it would have computed without that.
pub(crate) fn demo() -> Result<Counts, String> {
    const BODIES: u32 = 24_576;
    /// Several times as long as what is done to it takes.
    const LONG: Duration = Duration::from_secs(15);
    let bench = Bench::new("demo")?;
    let devices = bench.devices()?;
    println!("running nbody undisturbed");
    let (mut steps, start) = (60, Instant::now());
    let mut expected = bench.undisturbed(BODIES, steps)?;
    if start.elapsed() < LONG {
        // There are machines on which that is done in no time.
        steps = (f64::from(steps) * LONG.as_secs_f64() / start.elapsed().as_secs_f64()) as u32;
        expected = bench.undisturbed(BODIES, steps)?;
    }
    println!("{expected}");
    let mut job = bench.start("nbody", BODIES, steps)?;
    let pid = job.pid.to_string();
    for move_number in 0..3 {
        let device = &devices[(move_number + 1) % devices.len()];
        std::thread::sleep(Duration::from_millis(700));
        let [checked, listed] = [&["check", &pid, "--to", device, "--max-freeze", "60000"][..], &["ps", "--changes"]]
            .map(|words| bench.done(words));
        println!("{}\n{}", checked?, listed?);
        println!("{}; moving it to {device}", job.last());
        println!("  {}", bench.done(&["move", &pid, "--to", device])?);
    }
    let mut counts = Counts::default();
    // Who has gone on is not rewound by the way.
    let devices_alone = folder(&bench, "devices-alone");
    bench.done(&["checkpoint", &pid, "-o", &devices_alone, "--gpu-only", "--leave-running"])?;
    let (status, said) = bench.said(&["restore", &devices_alone])?;
    if status != Some(5) || !said.contains("--rewind") {
        return Err(format!("a job that went on was rewound: {status:?} {said}"));
    }
    match &bench.criu {
        Err(why) => {
            counts += skipped("the part with a checkpoint of the whole job", why);
            let folder = folder(&bench, "devices");
            println!("{}; saving what is on its device", job.last());
            println!("  {}", bench.done(&["checkpoint", &pid, "-o", &folder, "--gpu-only"])?);
            println!("  {}", bench.done(&["restore", &folder])?);
        }
        Ok(criu) => {
            let folder = folder(&bench, "checkpoint");
            println!("{}; saving all of it", job.last());
            println!("  {}", bench.done(&["checkpoint", &pid, "-o", &folder])?);
            println!("  {}", if job.lives() { "it is still there" } else { "it is gone" });
            println!("  {}", bench.done(&["verify", &folder])?);
            println!("bringing it back by a command that is killed as soon as its process is there");
            left_alone(&bench, criu, &mut job, &folder)?;
            println!("{}; bringing it back on {}", job.last(), devices[0]);
            println!("  {}", bench.done(&["restore", &folder, "--to", &devices[0]])?);
        }
    }
    let ended = job.ended()?;
    println!("{ended}");
    // Nothing that it printed is there twice or missing.
    let said = job.text().lines().filter(|line| line.starts_with("step ")).count();
    if ended != expected || said != steps as usize {
        println!("expected {expected} after {steps} steps, there were {said}");
    }
    counts += Counts::one(ended == expected && said == steps as usize);
    Ok(counts)
}

/// Brings a process back by a command that is killed before it can let it go on: it ends by itself.
fn left_alone(bench: &Bench, criu: &Path, job: &mut Job, folder: &str) -> Result<(), String> {
    /// More than the process waits for the command.
    const SOON: Duration = Duration::from_secs(60);
    let script = bench.work.join("criu-and-kill");
    let criu = criu.display();
    let text = format!(
        "#!/bin/sh\n'{criu}' \"$@\"\nstatus=$?\n[ \"$1\" != restore ] || [ $status != 0 ] || kill -KILL $PPID\nexit $status\n"
    );
    written_script(&script, &text)?;
    let killing = Bench { work: bench.work.clone(), criu: Ok(script), sockets: bench.sockets.clone() };
    let (status, said) = killing.said(&["restore", folder])?;
    let start = Instant::now();
    let mut stage = String::new();
    // It answers as soon as it runs again.
    while stage.is_empty() && start.elapsed() < SOON {
        let status = bench.asked(job.pid).unwrap_or_default();
        stage = status["devices"][0]["stage"].as_str().unwrap_or_default().to_owned();
    }
    // A command that was killed has no status.
    if status.is_some() || stage != "released" {
        return Err(format!("the command ended with {status:?}, and the job is at `{stage}`: {said}"));
    }
    while job.lives() {
        if start.elapsed() > SOON {
            return Err("a process that nobody lets go on is still there".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("  it ended by itself after {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// A folder of that name that is not there.
fn folder(bench: &Bench, name: &str) -> String {
    let folder = bench.work.join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder.display().to_string()
}

/// Whether a program was killed.
fn was_killed(output: &Output) -> bool {
    output.status.signal().is_some()
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
