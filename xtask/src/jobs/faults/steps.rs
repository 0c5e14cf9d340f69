//! Kills a program in front of one of its steps, or lets one fail: what it asks of the system that others can see. `strace` does it, so that
//! nothing of it is in the programs.

use super::Random;
use crate::tool::succeeds;
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Calls of the system that are steps. Some architectures do not have all of them.
const CALLS: [&str; 24] = [
    "connect",
    "sendto",
    "sendmsg",
    "write",
    "pwrite64",
    "openat",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "fsync",
    "fdatasync",
    "unlink",
    "unlinkat",
    "rmdir",
    "kill",
    "clone",
    "clone3",
    "vfork",
    "wait4",
    "ftruncate",
    "fallocate",
    "linkat",
    "memfd_create",
];
/// Steps that a program is thought to have before it was seen at work, and more than were seen that are tried.
const FIRST: u64 = 100;
const BEYOND: u64 = 5;
/// How long strace may take to get hold of a process.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether steps can be watched here.
pub(super) fn possible() -> bool {
    let mut try_it = Command::new("strace");
    try_it.args(["-o", "/dev/null", "true"]).stderr(Stdio::null());
    succeeds(&mut try_it).unwrap_or(false)
}

/// What strace is to do in front of a step of that number.
fn kills(step: u64) -> String {
    let calls: Vec<String> = CALLS.iter().map(|call| format!("?{call}")).collect();
    format!("inject={}:signal=KILL:when={step}", calls.join(","))
}

/// Words in front of a program that is killed in front of a step of its first thread.
pub(super) fn killed_at(step: u64) -> [String; 5] {
    ["strace", "-o", "/dev/null", "-e", &kills(step)].map(str::to_owned)
}

/// A strace that has hold of all threads of a process. It lets them go when this is dropped.
pub(super) struct Watch(Child);

impl Watch {
    /// Kills it in front of a step of one of its threads.
    pub(super) fn kills(pid: u32, step: u64) -> Result<Self, String> {
        Self::begin(pid, &kills(step))
    }

    /// Has no memory for a mapping of one of its threads.
    pub(super) fn no_memory(pid: u32, mapping: u64) -> Result<Self, String> {
        Self::begin(pid, &format!("inject=mmap:error=ENOMEM:when={mapping}"))
    }

    fn begin(pid: u32, what: &str) -> Result<Self, String> {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", what, "-p", &pid.to_string()]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut begin = || command.spawn().map_err(|error| format!("strace: {error}"));
        let mut watch = Self(begin()?);
        let start = Instant::now();
        while !is_held(pid) {
            // It gives up where a thread has ended that it was about to get hold of.
            if matches!(watch.0.try_wait(), Ok(Some(_))) {
                watch = Self(begin()?);
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("strace does not get hold of process {pid}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(watch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        /// Asked to, it lets go of what it has; but where that is just dying it may wait for ever.
        const LETTING_GO: Duration = Duration::from_secs(1);
        let _ = Command::new("kill").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < LETTING_GO {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether somebody traces all threads of a process, or it is gone.
fn is_held(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut about = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    about.all(|about| about.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|by| by.trim() != "0")))
}

/// In front of which steps what was killed.
#[derive(Default)]
pub(super) struct Steps(BTreeMap<String, (u64, BTreeSet<u64>)>);

impl Steps {
    /// A step of something.
    pub(super) fn one(&mut self, what: &str, random: &mut Random) -> u64 {
        let (most, _) = self.0.entry(what.to_owned()).or_insert((FIRST, BTreeSet::new()));
        1 + random.below(*most)
    }

    /// Whether it was killed there; otherwise it has fewer steps, as far as is known.
    pub(super) fn note(&mut self, what: &str, step: u64, killed: bool) {
        let (most, seen) = self.0.entry(what.to_owned()).or_insert((FIRST, BTreeSet::new()));
        if killed {
            seen.insert(step);
        }
        let last = seen.last().copied().unwrap_or(0);
        *most = if killed { (*most).max(last + BEYOND) } else { (*most / 2).max(last + BEYOND) };
    }

    pub(super) fn seen(&self) -> BTreeMap<String, (u64, u64)> {
        let of = |(_, seen): &(u64, BTreeSet<u64>)| (seen.len() as u64, seen.last().copied().unwrap_or(0));
        self.0.iter().map(|(what, steps)| (what.clone(), of(steps))).collect()
    }
}
