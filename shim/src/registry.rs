//! Which devices there are. The only file that names a backend.

use hetgpu_device::{Device, Queued};
use hetgpu_interp::{InterpDevice, Options};
use hetgpu_runtime::Settings;
use std::sync::Arc;

/// Where the host does not say how much memory it has.
const LITTLE_MEMORY: u64 = 2 << 30;

/// The devices, in the order in which programs number them.
pub fn devices(settings: &Settings) -> Vec<Arc<dyn Device>> {
    // The interpreter's memory is the host's: three quarters leave room for the program itself.
    let memory = host_memory().map_or(LITTLE_MEMORY, |bytes| bytes / 4 * 3);
    let options = Options { seed: settings.seed, check: settings.check };
    vec![Arc::new(Queued::new(InterpDevice::new(memory, options)))]
}

fn host_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
