//! How busy devices that are the host's processors are: the processor time of the processes that use them.

use hetgpu_runtime::presence::Process;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Linux counts processor time in hundredths of a second for whoever asks, on every machine.
const TICKS: f64 = 100.0;
/// Less than this is too few ticks to say anything.
const SHORTEST: Duration = Duration::from_millis(100);

/// Processor time of processes, as it was when it was last looked at.
pub(crate) struct Load {
    when: Instant,
    ticks: HashMap<u32, u64>,
    /// Processors that were busy meanwhile, by process.
    busy: HashMap<u32, f64>,
}

impl Load {
    pub(crate) fn new(processes: &[Process]) -> Self {
        Self { when: Instant::now(), ticks: ticks(processes), busy: HashMap::new() }
    }

    /// Percent of `processors` that these processes kept busy lately: since they were last looked at, unless that was just
    /// now.
    pub(crate) fn percent(&mut self, processes: &[Process], uuid: [u8; 16], processors: u32) -> u32 {
        let elapsed = self.when.elapsed();
        if elapsed >= SHORTEST {
            let now = ticks(processes);
            let spent = |(&pid, &ticks): (&u32, &u64)| {
                let before = self.ticks.get(&pid).copied().unwrap_or(0);
                (pid, ticks.saturating_sub(before) as f64 / TICKS / elapsed.as_secs_f64())
            };
            self.busy = now.iter().map(spent).collect();
            self.ticks = now;
            self.when = Instant::now();
        }
        let users = processes.iter().filter(|process| process.devices.iter().any(|device| device.uuid == uuid));
        let busy: f64 = users.filter_map(|process| self.busy.get(&process.pid)).sum();
        (100.0 * busy / f64::from(processors.max(1))).clamp(0.0, 100.0).round() as u32
    }
}

fn ticks(processes: &[Process]) -> HashMap<u32, u64> {
    processes.iter().filter_map(|process| Some((process.pid, of(process.pid)?))).collect()
}

/// Time in the process and in the system on its behalf.
fn of(pid: u32) -> Option<u64> {
    const USER_TIME: usize = 14;
    // The second field is a name in parentheses, which may hold anything.
    const AFTER_NAME: usize = 3;
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(USER_TIME - AFTER_NAME);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hetgpu_runtime::presence::Use;

    #[test]
    fn a_process_that_computes_is_load_on_its_device_alone() {
        let (mine, other) = ([1; 16], [2; 16]);
        let process = Process { pid: std::process::id(), devices: vec![Use { uuid: mine, bytes: 0 }] };
        let processes = [process];
        let mut load = Load::new(&processes);
        assert_eq!(load.percent(&processes, mine, 1), 0, "it was looked at just now");
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        let percent = load.percent(&processes, mine, 1);
        assert!(percent > 0, "a third of a second of work is no load");
        assert_eq!(load.percent(&processes, other, 1), 0);
    }
}
