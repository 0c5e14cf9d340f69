//! Other processes: whether they are there, and signals to them.

use hetgpu_runtime::presence;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// The user of a process.
pub(crate) fn user(pid: u32) -> Option<u32> {
    std::fs::metadata(format!("/proc/{pid}")).ok().map(|about| about.uid())
}

/// What the system calls its state: running, sleeping, stopped; none where it is gone or only its parent has not noticed.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit_once(')')?.1.trim_start().chars().next()?;
    (!matches!(state, 'Z' | 'X')).then_some(state)
}

/// Whether the process that began then is there.
pub(crate) fn lives(pid: u32, start: u64) -> bool {
    presence::began(pid, start) && state(pid).is_some()
}

/// Whether a process is stopped, or comes to be so shortly, as one that CRIU has just left; one that ends does not.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stopped = |state| matches!(state, 'T' | 't');
    wait(Duration::from_secs(10), || state(pid).is_none_or(stopped));
    state(pid).is_some_and(stopped)
}

/// Lets a process go on that was stopped, also where CRIU still has it.
pub(crate) fn go_on(pid: u32) {
    // What CRIU leaves stopped may not have come to that yet, and shows nothing of it: it is told in any case.
    let mut told = false;
    wait(Duration::from_secs(60), || match state(pid) {
        Some('t') => false,
        Some(state) if state == 'T' || !told => {
            told = true;
            presence::let_go_on(pid);
            false
        }
        _ => true,
    });
}

/// Who has the number of a process that is to come back, once parents have had time to take notice of who ended.
pub(crate) fn who_has_the_number_of(pid: u32) -> Option<String> {
    wait(Duration::from_secs(10), || state(pid).is_some() || presence::start_of(pid).is_none());
    presence::start_of(pid)?;
    let who = match state(pid) {
        Some(_) => format!("there is another process {pid}"),
        None => {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim();
            format!("process {pid} has ended, of which its parent, process {parent}, has not taken notice")
        }
    };
    Some(format!("{who}, and a process comes back with its number"))
}

/// Ends a process, and waits until it is gone.
pub(crate) fn end(pid: u32) {
    presence::end(pid);
    wait(Duration::from_secs(20), || state(pid).is_none());
}

fn wait(most: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < most {
        // Soon after it began more often: some wait while a job stands still.
        std::thread::sleep((start.elapsed() / 4).clamp(Duration::from_micros(100), Duration::from_millis(2)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    /// A process that ends with the test, on the first processor and behind all others there.
    struct Ended(Child);

    impl Ended {
        fn start(words: &[&str]) -> Self {
            Self(Command::new("taskset").args(["-c", "0"]).args(words).spawn().unwrap())
        }
    }

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_that_is_just_being_stopped_goes_on() {
        let _busy = Ended::start(&["sh", "-c", "while :; do :; done"]);
        let late = Ended::start(&["chrt", "--idle", "0", "sleep", "1000"]);
        let pid = late.0.id();
        wait(Duration::from_secs(20), || {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
        });
        for round in 0..20 {
            let stopped = Command::new("sh").args(["-c", &format!("kill -s STOP {pid}")]).status();
            assert!(stopped.unwrap().success());
            go_on(pid);
            std::thread::sleep(Duration::from_millis(50));
            assert_ne!(state(pid), Some('T'), "round {round}");
        }
    }
}
