//! CRIU: saves processes and brings them back. Which one: `HETGPU_CRIU`, else the first in the path.

use super::folder::{Folder, Manifest};
use super::{io_trouble, process, trouble};
use crate::Stop;
use hetgpu_runtime::{Settings, named_pipe, presence};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Older ones fail with today's kernels.
const OLDEST: (u32, u32) = (4, 2);
/// Deleted files that the process still has open are saved up to this size.
const GHOSTS: &str = "256M";

/// How long others may have a number that comes back: most commands are gone by then.
pub(super) const TAKEN: Duration = Duration::from_secs(2);

/// Set where CRIU begins this program before it looks at a process, so that it waits until it may.
const WAITS: &str = "HETGPU_CRIU_WAITS";

/// A CRIU that is about to save a process and its children, and waits until it may. Dropped before that it does nothing, and afterwards
/// it has ended.
pub(crate) struct Ready {
    criu: Criu,
    pid: u32,
    images: PathBuf,
    child: Child,
}

/// What CRIU says when it saves a process.
const SAVED: &str = "dump.log";
/// How often it is tried again where somebody was asking the job for something, and how long it is waited for him.
const ASKED: u32 = 5;
const ASKING: Duration = Duration::from_millis(20);

/// The file that CRIU reads first.
pub(super) const FIRST: &str = "inventory.img";
/// What it says when it brings a process back.
const RESTORED: &str = "restore.log";

/// A CRIU that is about to bring a process back, and waits for its image. Dropped before it has that, it ends.
pub(crate) struct Expected {
    /// What it reads first, as long as it has not come.
    inventory: Option<File>,
    first: PathBuf,
    child: Child,
}

/// A CRIU that can be used.
#[derive(Clone)]
pub(crate) struct Criu {
    program: PathBuf,
    /// Somebody who is not root needs leave of the system.
    rootless: bool,
}

fn needed(what: &str) -> Stop {
    let (major, minor) = OLDEST;
    let text = format!(
        "{what}; the process of a job is saved by CRIU {major}.{minor} or newer, run by root or by somebody with \
         CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE: install it, and let HETGPU_CRIU name it where it is not in PATH. Without it, \
         `checkpoint --gpu-only` saves what is on devices, and `move` moves jobs"
    );
    trouble(9, text)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let number = text.lines().find_map(|line| line.strip_prefix("Version:"))?.trim();
    let mut parts = number.split(['.', '-']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

impl Criu {
    pub(crate) fn find() -> Result<Self, Stop> {
        let program = Settings::from_environment().criu.unwrap_or_else(|| "criu".into());
        let about = Command::new(&program).arg("--version").output();
        let about = about.map_err(|error| needed(&format!("{}: {error}", program.display())))?;
        let text = String::from_utf8_lossy(&about.stdout).into_owned();
        let found = version(&text).ok_or_else(|| needed(&format!("{} does not say its version", program.display())))?;
        if found < OLDEST {
            return Err(needed(&format!("{} is version {}.{}", program.display(), found.0, found.1)));
        }
        let rootless = std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() != 0);
        let criu = Self { program, rootless };
        let checked = criu.command("check").stdout(Stdio::null()).output();
        match checked {
            Ok(output) if output.status.success() => Ok(criu),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let last = errors(&said).unwrap_or_else(|| format!("`criu check` ended with {}", output.status));
                Err(needed(&format!("CRIU cannot work here: {last}")))
            }
            Err(error) => Err(needed(&error.to_string())),
        }
    }

    /// The same, where it can also save this process and its children.
    pub(crate) fn find_for(pid: u32) -> Result<Self, Stop> {
        let criu = Self::find()?;
        match tree(pid).into_iter().find(|&pid| begun_outside(&stat(pid))) {
            None => Ok(criu),
            Some(pid) => Err(trouble(
                9,
                format!(
                    "process {pid} belongs to a session or a group that began outside of this container, and CRIU does not save such \
                     ones: start the job with `setsid PROGRAM`; `checkpoint --gpu-only` and `move` work as it is"
                ),
            )),
        }
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(action).stdin(Stdio::null());
        if self.rootless {
            command.arg("--unprivileged");
        }
        command
    }

    /// Saves a process and its children, and leaves them stopped. Where it fails they run.
    pub(crate) fn dump(&self, pid: u32, folder: &Folder) -> Result<(), Stop> {
        self.ready(pid, folder)?.dump()
    }

    /// Does what can be done ahead: CRIU finds out what the system can, which takes as long as all the rest. The process runs meanwhile.
    pub(crate) fn ready(&self, pid: u32, folder: &Folder) -> Result<Ready, Stop> {
        let images = folder.process();
        let child = self.begin_to_save(pid, &images)?;
        Ok(Ready { criu: self.clone(), pid, images, child })
    }

    fn begin_to_save(&self, pid: u32, images: &Path) -> Result<Child, Stop> {
        let made = DirBuilder::new().mode(0o700).create(images);
        made.map_err(|error| io_trouble(images, "making it", &error))?;
        let mut command = self.command("dump");
        command.arg("--tree").arg(pid.to_string()).arg("--images-dir").arg(images);
        command.args(["--leave-stopped", "--shell-job", "--file-locks", "--ghost-limit", GHOSTS]);
        command.arg("--action-script").arg(format!("/proc/{}/exe", std::process::id())).env(WAITS, "1");
        command.stdin(Stdio::piped());
        self.begin(command, &images.join(SAVED))
    }

    /// Begins to bring a process back of which nothing is here yet: CRIU finds out what the system can, and waits for the first file that
    /// it reads.
    pub(crate) fn expect(&self, folder: &Folder) -> Result<Expected, Stop> {
        let images = folder.process();
        let made = DirBuilder::new().mode(0o700).create(&images);
        made.map_err(|error| io_trouble(&images, "making it", &error))?;
        let first = images.join(FIRST);
        let refused = |error: std::io::Error| io_trouble(&first, "making it", &error);
        named_pipe(&first).map_err(refused)?;
        // Open in both directions, so that nobody waits for the other end: where this command is gone, CRIU reads nothing and ends.
        let inventory = OpenOptions::new().read(true).write(true).open(&first).map_err(refused)?;
        let child = self.begin(self.restoring(&images, &[]), &images.join(RESTORED))?;
        Ok(Expected { inventory: Some(inventory), first, child })
    }

    fn restoring(&self, images: &Path, pipes: &[(u32, String)]) -> Command {
        let mut command = self.command("restore");
        command.arg("--images-dir").arg(images).args(["--restore-detached", "--shell-job", "--file-locks"]);
        // What were pipes to somebody else are this command's own input, output and errors.
        for (file, pipe) in pipes {
            command.arg("--inherit-fd").arg(format!("fd[{file}]:{pipe}"));
        }
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        command
    }

    /// Brings a process and its children back, where they were.
    pub(crate) fn restore(&self, manifest: &Manifest, folder: &Folder) -> Result<(), Stop> {
        /// Each pause is twice as long as the one before: about as long as `TAKEN` together.
        const TRIES: u32 = 6;
        let images = folder.process();
        let log = images.join(RESTORED);
        let mut tries = 0;
        loop {
            let outcome = self.run(
                self.restoring(&images, &manifest.pipes),
                &log,
                &format!("process {} could not be restored", manifest.pid),
            );
            if outcome.is_ok() || !number_is_taken(&std::fs::read_to_string(&log).unwrap_or_default()) {
                return outcome;
            }
            tries += 1;
            if tries == TRIES {
                let text = format!(
                    "there is another process with the number of a thread of process {}, and threads come back with their \
                     numbers: once more when it has ended, please, or in a namespace of its own (`unshare --pid --fork --mount-proc`)",
                    manifest.pid
                );
                return Err(trouble(5, text));
            }
            std::thread::sleep(TAKEN / (1 << (TRIES - tries)));
        }
    }

    fn run(&self, command: Command, log: &Path, what: &str) -> Result<(), Stop> {
        self.end(&mut self.begin(command, log)?, log, what, None)
    }

    fn failed(&self, error: &std::io::Error) -> Stop {
        trouble(9, format!("{}: {error}", self.program.display()))
    }

    fn begin(&self, mut command: Command, log: &Path) -> Result<Child, Stop> {
        command.arg("--log-file").arg(log).arg("-v2").spawn().map_err(|error| self.failed(&error))
    }

    /// Waits for its end, which comes also where it is at work with a process that has ended.
    fn end(&self, child: &mut Child, log: &Path, what: &str, with: Option<u32>) -> Result<(), Stop> {
        let status = match with {
            None => child.wait(),
            Some(pid) => wait_for(child, pid),
        };
        let status = status.map_err(|error| self.failed(&error))?;
        if status.success() {
            return Ok(());
        }
        let said = std::fs::read_to_string(log).unwrap_or_default();
        let why = errors(&said).unwrap_or_else(|| format!("CRIU ended with {status}"));
        Err(trouble(9, format!("{what}: {why}")))
    }
}

/// Where CRIU began this program: waits for a line on CRIU's own input, and lets it give up where none comes any more. CRIU says at which
/// of its steps it is, and waits at each.
pub(crate) fn waits() -> Option<ExitCode> {
    std::env::var_os(WAITS)?;
    if std::env::var_os("CRTOOLS_SCRIPT_ACTION")? != "pre-dump" {
        return Some(ExitCode::SUCCESS);
    }
    let input = File::open(format!("/proc/{}/fd/0", std::os::unix::process::parent_id()));
    let said = input.and_then(|mut input| input.read_exact(&mut [0]));
    Some(if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Ready {
    /// The process stands still and has no devices: it is saved from here on.
    pub(crate) fn begin(&mut self) {
        // Who ended already says why.
        let _ = self.child.stdin.take().map(|mut waits| waits.write_all(b"\n"));
    }

    /// Waits until the process is saved.
    pub(crate) fn dump(mut self) -> Result<(), Stop> {
        let what = format!("process {} could not be saved", self.pid);
        let log = self.images.join(SAVED);
        let mut tries = 0;
        loop {
            self.begin();
            let ended = self.criu.end(&mut self.child, &log, &what, Some(self.pid));
            // Who lists jobs, for one, has a connection to it for a moment.
            if ended.is_ok() || tries == ASKED || !has_company(&std::fs::read_to_string(&log).unwrap_or_default()) {
                return ended;
            }
            tries += 1;
            std::thread::sleep(ASKING);
            std::fs::remove_dir_all(&self.images).map_err(|error| io_trouble(&self.images, "emptying it", &error))?;
            self.child = self.criu.begin_to_save(self.pid, &self.images)?;
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = wait_for(&mut self.child, self.pid);
    }
}

impl Expected {
    /// All other files are there: here is the first. Whether the process is back; where it is not, it can be brought back by another CRIU.
    pub(crate) fn restore(mut self, first: &Path) -> std::io::Result<bool> {
        let contents = std::fs::read(first)?;
        // Who comes late, or once more, finds it in place of the pipe.
        std::fs::rename(first, &self.first)?;
        if let Some(mut inventory) = self.inventory.take() {
            inventory.write_all(&contents)?;
        }
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        if self.inventory.take().is_some() {
            // It may not have come to open it.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Waits for a CRIU that is at work with a process. Where that ends at a bad moment CRIU waits for ever for its first thread, which the system
/// does not give it before the others: nobody would hear of its end.
fn wait_for(criu: &mut Child, pid: u32) -> std::io::Result<ExitStatus> {
    /// How often it is looked at, and how often in a row it is gone before CRIU is ended: CRIU may notice by itself.
    const LOOK: Duration = Duration::from_millis(200);
    const GONE: u32 = 10;
    let own = criu.id();
    std::thread::scope(|scope| {
        let (ended, waits) = mpsc::channel::<()>();
        scope.spawn(move || {
            let mut gone = 0;
            while waits.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                gone = if process::state(pid).is_none() { gone + 1 } else { 0 };
                if gone == GONE {
                    presence::end(own);
                }
            }
        });
        let status = criu.wait();
        drop(ended);
        status
    })
}

/// Whether CRIU could not make a process or a thread because its number is another's; asks its log.
fn number_is_taken(said: &str) -> bool {
    let says = |line: &str| {
        line.contains("Unable to create a thread: -17")
            || line.contains("Can't fork for") && line.contains("File exists")
    };
    said.lines().any(|line| line.contains("Error (") && says(line))
}

/// Whether CRIU could not save a process because somebody had a connection to it; asks its log.
fn has_company(said: &str) -> bool {
    let says = |line: &str| {
        line.contains("External socket is used") || line.contains("Can't dump half of stream unix connection")
    };
    said.lines().any(|line| line.contains("Error (") && says(line))
}

/// What CRIU complained about, the first of it.
fn errors(said: &str) -> Option<String> {
    let about = |line: &str| {
        let (_, rest) = line.split_once("Error (")?;
        let (_, text) = rest.split_once("): ")?;
        // It says so whenever it may not raise its own limits, and works all the same.
        (!text.starts_with("rlimit:")).then(|| text.trim().to_owned())
    };
    said.lines().find_map(about)
}

fn stat(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()
}

/// Whether the leader of its group or its session has no number among ours; asks a line of `/proc/PID/stat`.
fn begun_outside(stat: &str) -> bool {
    // The name before it may hold anything.
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    // State, parent, group, session.
    rest.split(' ').skip(2).take(2).any(|leader| leader == "0")
}

/// A process and its children.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

/// Plain files that a process and its children, which are stopped, have open for writing, and their sizes.
pub(crate) fn written_files(pid: u32) -> Result<Vec<(PathBuf, u64)>, Stop> {
    let all = tree(pid);
    let found = all.iter().flat_map(|&pid| written_by(pid)).collect::<std::collections::BTreeMap<_, _>>();
    // One that is killed closes its files: then what was found is less than there was.
    match all.into_iter().find(|&pid| !process::is_stopped(pid)) {
        Some(gone) => {
            let text =
                format!("process {gone} did not stand still while it was saved: it ended, or somebody let it go on");
            Err(trouble(3, text))
        }
        None => Ok(found.into_iter().collect()),
    }
}

fn written_by(pid: u32) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let about = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", entry.file_name().to_string_lossy()));
        let flags = about.ok().and_then(|about| {
            let line = about.lines().find_map(|line| line.strip_prefix("flags:"))?.trim().to_owned();
            u32::from_str_radix(&line, 8).ok()
        });
        let (Ok(path), Ok(file)) = (std::fs::read_link(entry.path()), std::fs::metadata(entry.path())) else {
            continue;
        };
        // One that is deleted has no place to be found at.
        let there = std::fs::metadata(&path).is_ok_and(|other| other.ino() == file.ino() && other.dev() == file.dev());
        if flags.is_some_and(|flags| flags & 3 != 0) && file.is_file() && there {
            found.push((path, file.len()));
        }
    }
    found
}

/// The pipes that are a process's standard input, output and errors.
pub(crate) fn pipes(pid: u32) -> Vec<(u32, String)> {
    let pipe = |file: u32| {
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{file}")).ok()?.to_string_lossy().into_owned();
        target.starts_with("pipe:[").then_some((file, target))
    };
    (0..3).filter_map(pipe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_complaints_are_read() {
        assert_eq!(version("Version: 4.2.1\nGitID: x\n"), Some((4, 2)));
        assert_eq!(version("Version: 3.17"), Some((3, 17)));
        assert_eq!(version("criu"), None);
        let log = "(00.01) Error (criu/util.c:1534): rlimit: Can't setup\n(00.02) Error (criu/sk-unix.c:9): sk unix: no peer\n";
        assert_eq!(errors(log).as_deref(), Some("sk unix: no peer"));
        assert_eq!(errors("(00.01) Warn (a): b\n"), None);
        assert!(!number_is_taken(log) && !has_company(log));
        assert!(has_company("(00.01) Error (criu/sk-unix.c:1): unix: External socket is used. Consider using it\n"));
        assert!(number_is_taken("pie: 36: Error (criu/pie/restorer.c:2185): Unable to create a thread: -17\n"));
        assert!(number_is_taken("(00.01) Error (criu/cr-restore.c:1): Can't fork for 36: File exists\n"));
    }

    #[test]
    fn a_criu_that_waits_for_a_process_that_is_gone_is_ended() {
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let mut waits = Command::new("sleep").arg("1000").spawn().unwrap();
        assert!(!wait_for(&mut waits, gone.id()).unwrap().success());
        let mut ends = Command::new("sleep").arg("0.1").spawn().unwrap();
        assert!(wait_for(&mut ends, std::process::id()).unwrap().success());
    }

    #[test]
    fn files_of_who_is_killed_are_not_taken_for_all() {
        let path = std::env::temp_dir().join(format!("hetgpu-written-{}", std::process::id()));
        std::fs::write(&path, "five\n").unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let mut stopped = Command::new("sleep");
        stopped.arg("1000").stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
        let mut stopped = stopped.spawn().unwrap();
        let pid = stopped.id();
        assert!(Command::new("sh").args(["-c", &format!("kill -s STOP {pid}")]).status().unwrap().success());
        assert_eq!(written_files(pid).ok().unwrap(), [(path.clone(), 5)]);
        stopped.kill().unwrap();
        let Err(stop) = written_files(pid) else { panic!("it was killed") };
        assert!(stop.text.contains("did not stand still while it was saved"), "{}", stop.text);
        stopped.wait().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn who_began_outside_of_the_container_is_known() {
        assert!(!begun_outside("7 (a) 0 0) S 1 7 7 0 -1"));
        assert!(begun_outside("7 (a) S 1 7 0 0 -1"));
        assert!(begun_outside("7 (a) S 1 0 5 0 -1"));
        assert!(!begun_outside(""));
    }
}
