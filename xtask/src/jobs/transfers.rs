//! Jobs that are sent while keys are wrong, connections are cut, and senders and receivers are killed. The receiver has numbers of
//! processes of its own, so that both sides can be on one machine.

use super::faults::{Random, Tally};
use super::{Bench, Job, folder, state_of, text};
use crate::tool::succeeds;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Of a job: it rests after each step, and takes some seconds.
const BODIES: u32 = 4096;
const STEPS: u32 = 250;
const REST: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(100);

/// How long a sender is left to ask what nobody answers.
const ASKS: Duration = Duration::from_secs(3);

/// Milliseconds that the job may stand still: what else this machine does is not to be why a job is not sent.
const FREEZE: &str = "20000";

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    WrongKey,
    Cut,
    SenderKilled,
    ReceiverKilled,
    Nothing,
}

impl Fault {
    fn name(self, there: bool) -> &'static str {
        match (self, there) {
            (Self::WrongKey, _) => "sent with a wrong key",
            (Self::Cut, false) => "sent, and the network is cut: it runs here",
            (Self::Cut, true) => "sent, and the network is cut: it runs there",
            (Self::SenderKilled, false) => "sent, and the sender is killed: it runs here",
            (Self::SenderKilled, true) => "sent, and the sender is killed: it runs there",
            (Self::ReceiverKilled, false) => "sent, and the receiver is killed: it runs here",
            (Self::ReceiverKilled, true) => "sent, and the receiver is killed: it runs there",
            (Self::Nothing, _) => "sent, and nothing is wrong",
        }
    }
}

/// Whether processes can have numbers of their own here.
pub(super) fn possible() -> bool {
    let mut try_it = Command::new("unshare");
    try_it.args(["--pid", "--fork", "--mount", "--mount-proc", "true"]).stderr(Stdio::null());
    succeeds(&mut try_it).unwrap_or(false)
}

/// A receiver, and all that runs there.
pub(super) struct Receiver {
    child: Child,
    /// What it says, in lines of JSON.
    said: PathBuf,
    pub(super) port: u16,
}

impl Receiver {
    pub(super) fn start(bench: &Bench, key: &str, program: &str) -> Result<Self, String> {
        let (spool, said) = (folder(bench, "received"), bench.work.join("receive.log"));
        let _ = std::fs::remove_file(&said);
        let log = std::fs::File::create(&said).map_err(|error| error.to_string())?;
        // What it is for lives on when the command has ended.
        let script = "mount -t tmpfs -o mode=700 none \"$1\"; \"$2\" receive 127.0.0.1:0 --json --cut-files --key \"$3\" --spool \"$4\"; \
                      while pgrep -x \"$5\" >/dev/null; do sleep 0.05; done";
        let sockets = bench.listening();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "sh", "-c", script, "sh"]);
        command.arg(&sockets).arg(bench.work.join("hetgpu-migrate")).args([key, &spool, program]);
        if let Ok(criu) = &bench.criu {
            command.env("HETGPU_CRIU", criu);
        }
        bench.announced(&mut command);
        let child = command.stdin(Stdio::null()).stdout(log).spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut receiver = Self { child, said: said.clone(), port: 0 };
        let start = Instant::now();
        while receiver.port == 0 {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            let at = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let port = at.filter_map(|event| event["at"].as_str()?.rsplit(':').next()?.parse().ok()).next();
            receiver.port = port.unwrap_or(0);
            if start.elapsed() > PATIENCE {
                return Err(format!("the receiver does not listen: {text}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(receiver)
    }

    /// Waits until the command there has ended, or has said that nothing came, or the time is over in which it would.
    fn settles(&self) {
        const AT_MOST: Duration = Duration::from_millis(500);
        let start = Instant::now();
        while start.elapsed() < AT_MOST && !self.command().is_empty() {
            let said = std::fs::read_to_string(&self.said).unwrap_or_default();
            if said.lines().last().is_some_and(|line| line.contains("\"failed\"")) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the command there, and not the job if there is one.
    fn kill_command(&self) {
        for pid in self.command() {
            kill(pid);
        }
    }

    /// The command there, if it has not ended.
    fn command(&self) -> Vec<u32> {
        let children = |pid: u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            text.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()).collect::<Vec<_>>()
        };
        let shells = children(self.child.id());
        let below = shells.into_iter().flat_map(children);
        let command = |pid: &u32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).split('\0').nth(1) == Some("receive")
        };
        below.filter(command).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn sockets() -> String {
    let named = std::env::var("XDG_RUNTIME_DIR").ok().filter(|folder| std::path::Path::new(folder).is_dir());
    named.map_or_else(|| "/tmp/hetgpu-0".to_owned(), |folder| format!("{folder}/hetgpu"))
}

/// Passes bytes on until so many have gone through, in both directions together.
fn relay(to: u16, most: u64) -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    std::thread::spawn(move || {
        let Ok((from, _)) = listener.accept() else { return };
        let Ok(to) = TcpStream::connect(("127.0.0.1", to)) else { return };
        let passed = Arc::new(AtomicU64::new(0));
        let pass = move |mut from: TcpStream, mut to: TcpStream, passed: Arc<AtomicU64>| {
            let mut bytes = vec![0; 64 << 10];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let before = passed.fetch_add(count as u64, Ordering::Relaxed);
                let count = count.min(most.saturating_sub(before) as usize);
                if to.write_all(&bytes[..count]).is_err() || before + count as u64 >= most {
                    break;
                }
            }
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        };
        let (Ok(back_from), Ok(back_to)) = (to.try_clone(), from.try_clone()) else { return };
        let counted = Arc::clone(&passed);
        let back = std::thread::spawn(move || pass(back_from, back_to, counted));
        pass(from, to, passed);
        let _ = back.join();
    });
    Ok(port)
}

/// The bench's jobs that run, whatever numbers they have where they are.
fn running(bench: &Bench) -> Vec<u32> {
    let program = std::fs::canonicalize(bench.work.join("nbody")).unwrap_or_default();
    let is_ours = |pid: &u32| {
        let lives = state_of(*pid).is_some_and(|state| !['Z', 'X'].contains(&state));
        lives && std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
    };
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).filter(is_ours).collect()
}

pub(super) fn key(bench: &Bench, name: &str, random: &mut Random) -> Result<String, String> {
    let path = bench.work.join(name);
    let _ = std::fs::remove_file(&path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let bytes: Vec<u8> = (0..32).map(|_| random.next() as u8).collect();
    let written = file.as_mut().map_err(|error| error.to_string())?.write_all(&bytes);
    written.map_err(|error| error.to_string())?;
    Ok(path.display().to_string())
}

/// Sends jobs so many times; what went wrong how often.
pub(super) fn run(bench: &Bench, random: &mut Random, count: u64) -> Result<Tally, String> {
    const FAULTS: [Fault; 5] =
        [Fault::WrongKey, Fault::Cut, Fault::SenderKilled, Fault::ReceiverKilled, Fault::Nothing];
    let expected = bench.undisturbed(BODIES, STEPS)?;
    let start = |name: &str| {
        let mut program = bench.program(BODIES, STEPS);
        program.arg(REST.to_string());
        bench.launch(name, program)
    };
    let mut job = start("sent-0")?;
    let mut tally = Tally::default();
    let begun = Instant::now();
    match unreachable(bench, random) {
        Ok(()) => tally.note("sent, and the memory that it is lent is out of its reach", true, begun.elapsed()),
        Err(why) => {
            println!("a job that reaches no memory of others: {why}");
            tally.failed.push(format!("transfer of a job that reaches no memory of others: {why}"));
        }
    }
    for number in 0..count {
        let fault = FAULTS[number as usize % FAULTS.len()];
        if job.last().starts_with("checksum ") || !job.lives() {
            job = start(&format!("sent-{number}"))?;
        }
        let begun = Instant::now();
        match send(bench, random, &mut job, fault, &expected) {
            Ok(there) => tally.note(fault.name(there), fault != Fault::Nothing, begun.elapsed()),
            Err(why) => {
                println!("{fault:?}, transfer {number}: {why}");
                tally.failed.push(format!("transfer {number}, {}: {why}", fault.name(false)));
                job = start(&format!("sent-{number}-anew"))?;
            }
        }
    }
    job.ended().and_then(|ended| if ended == expected { Ok(tally) } else { Err(format!("it ended with {ended}")) })
}

/// After how many bytes the network is cut: among those that go while the job runs, or among all.
fn cut_after(random: &mut Random) -> u64 {
    const AHEAD: u64 = 300 << 10;
    const ALL: u64 = 24 << 20;
    let most = if random.below(2) == 0 { AHEAD } else { ALL };
    random.below(most)
}

/// Whether a job says more, wherever it is.
fn gets_on(job: &Job) -> bool {
    /// Far more than a step takes.
    const STEP: Duration = Duration::from_secs(20);
    let (before, start) = (job.text(), Instant::now());
    while job.text() == before && start.elapsed() < STEP {
        std::thread::sleep(Duration::from_millis(10));
    }
    job.text() != before
}

fn kill(pid: u32) {
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    wait(|| state_of(pid).is_none_or(|state| state == 'Z').then_some(()));
}

/// Whether a command ends in that time.
fn ends(child: &mut Child, within: Duration) -> bool {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if start.elapsed() < within => std::thread::sleep(Duration::from_millis(5)),
            ended => return !matches!(ended, Ok(None)),
        }
    }
}

/// Sends a job that may not look into other processes, and so does not reach the memory that the receiver holds for it: it has to read
/// all of it from a file, and must have all of it.
fn unreachable(bench: &Bench, random: &mut Random) -> Result<(), String> {
    const PROGRAM: &str = "large";
    bench.compile("bench/programs/large.cu", PROGRAM)?;
    let (key, end) = (key(bench, "key", random)?, bench.work.join("end"));
    let _ = std::fs::remove_file(&end);
    let mut command = bench.command_under(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], PROGRAM);
    command.args(["64", "10", "scattered"]).arg(&end);
    let mut job = bench.launch("unreachable", command)?;
    let receiver = Receiver::start(bench, &key, PROGRAM)?;
    let (pid, spool) = (job.pid.to_string(), folder(bench, "sending"));
    let to = format!("127.0.0.1:{}", receiver.port);
    bench.done(&["send", &pid, &to, "--key", &key, "--spool", &spool])?;
    let said = std::fs::read_to_string(bench.work.join("receive.log")).unwrap_or_default();
    if !said.contains("\"unreachable\"") {
        return Err(format!("it reached what it was not to reach: {said}"));
    }
    std::fs::write(&end, "").map_err(|error| error.to_string())?;
    let ended = wait(|| job.last().starts_with("checksum ").then(|| job.last()));
    job.kill();
    match ended.as_deref() {
        Some("checksum right") => Ok(()),
        ended => Err(format!("over there it ended with {ended:?}")),
    }
}

/// Sends a job; whether it got there. If it did it must come to its end there.
fn send(bench: &Bench, random: &mut Random, job: &mut Job, fault: Fault, expected: &str) -> Result<bool, String> {
    let (ours, other) = (key(bench, "key", random)?, key(bench, "other-key", random)?);
    let receiver = Receiver::start(bench, &ours, "nbody")?;
    let port = if fault == Fault::Cut { relay(receiver.port, cut_after(random))? } else { receiver.port };
    let key = if fault == Fault::WrongKey { &other } else { &ours };
    let (pid, spool) = (job.pid.to_string(), folder(bench, "sending"));
    let mut command = bench.migrate(&["send", &pid, &format!("127.0.0.1:{port}"), "--key", key, "--spool", &spool]);
    command.args(["--max-freeze", FREEZE]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    if matches!(fault, Fault::SenderKilled | Fault::ReceiverKilled) {
        std::thread::sleep(Duration::from_millis(50 + random.below(750)));
        if fault == Fault::SenderKilled {
            child.kill().map_err(|error| error.to_string())?;
        } else {
            receiver.kill_command();
        }
    }
    if fault == Fault::ReceiverKilled && !ends(&mut child, ASKS) {
        // It asks whether the job runs over there, and nobody is there who could say.
        child.kill().map_err(|error| error.to_string())?;
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    // What was begun comes to its end.
    receiver.settles();
    let start = Instant::now();
    loop {
        let elsewhere = running(bench).iter().any(|&other| other != job.pid);
        if job.last().starts_with("checksum ") {
            return Ok(elsewhere);
        }
        if elsewhere {
            let stage = bench.said(&["inspect", &pid])?.1;
            if job.lives() && stage.contains("running") {
                return Err(format!("it runs on both sides: {}", text(&output)));
            }
            // It is theirs; here it stands still at most.
            let (status, said) = if job.lives() { bench.said(&["resume", &pid])? } else { (Some(11), String::new()) };
            if status != Some(11) && running(bench).iter().any(|&other| other != job.pid) {
                return Err(format!("it would run on both sides: {status:?} {said}"));
            }
            if fault == Fault::ReceiverKilled && job.lives() && !gets_on(job) {
                // Its receiver did not come to let it go on: over there it stands still for good, and all of it is here.
                running(bench).into_iter().filter(|&other| other != job.pid).for_each(kill);
                continue;
            }
            if job.lives() {
                job.kill();
            }
            let ended = wait(|| job.last().starts_with("checksum ").then(|| job.last()));
            return match ended {
                Some(ended) if ended == expected => Ok(true),
                ended => Err(format!("over there it ended with {ended:?}")),
            };
        }
        if !job.lives() {
            return Err(format!("it is on neither side: {} {}", output.status, text(&output)));
        }
        // Nobody has it over there, so that it may go on here whatever was left open.
        let (status, said) = bench.said(&["resume", &pid, "--here"])?;
        if status == Some(0) || (status == Some(5) && said.contains("is running")) {
            if fault == Fault::WrongKey && output.status.code() != Some(10) {
                return Err(format!("with a wrong key: {} {}", output.status, text(&output)));
            }
            return match fault {
                Fault::Nothing => Err(format!("it was not sent: {}", text(&output))),
                _ => Ok(false),
            };
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("it does not go on: {said}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn wait<T>(mut done: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = done();
        if found.is_some() || start.elapsed() > PATIENCE {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
