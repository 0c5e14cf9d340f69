//! Which devices there are. The only file that names a backend.

use hetgpu_cpu::CpuDevice;
use hetgpu_device::{Cache, Device, Importance, Queued, Services};
use hetgpu_interp::InterpDevice;
use hetgpu_runtime::{Check, Settings, log};
use std::sync::Arc;

/// Where the host does not say how much memory it has.
const LITTLE_MEMORY: u64 = 2 << 30;

/// Most bytes of compiled code that are kept from run to run.
const CACHE_BYTES: u64 = 1 << 30;

type Make = fn(&Settings) -> Arc<dyn Device>;

/// Every device, by the name that settings use.
const DEVICES: &[(&str, Make)] = &[("cpu", cpu), ("interp", interp)];

/// The devices, in the order in which programs number them.
pub fn devices(settings: &Settings) -> Vec<Arc<dyn Device>> {
    let mut found = Vec::new();
    for name in &settings.devices {
        match DEVICES.iter().find(|device| device.0 == name) {
            Some((_, make)) => found.push(make(settings)),
            None => {
                let names: Vec<&str> = DEVICES.iter().map(|device| device.0).collect();
                log::warn(format_args!("HETGPU_DEVICE: no device '{name}'; there are {}", names.join(", ")));
            }
        }
    }
    if found.is_empty() {
        found.push(interp(settings));
    }
    found
}

fn interp(settings: &Settings) -> Arc<dyn Device> {
    // The interpreter's memory is the host's: three quarters leave room for the program itself.
    let memory = host_memory().map_or(LITTLE_MEMORY, |bytes| bytes / 4 * 3);
    let options = hetgpu_interp::Options { seed: settings.seed, check: settings.check == Check::All };
    Arc::new(Queued::new(InterpDevice::new(memory, options)))
}

fn cpu(settings: &Settings) -> Arc<dyn Device> {
    let check = match settings.check {
        Check::Off => hetgpu_cpu::Check::Hardware,
        Check::Memory => hetgpu_cpu::Check::Memory,
        Check::All => hetgpu_cpu::Check::All,
    };
    let threads = settings.cpu_threads;
    let options =
        hetgpu_cpu::Options { check, threads, seed: settings.seed, services: services(), ..Default::default() };
    Arc::new(Queued::new(CpuDevice::new(options)))
}

/// What this process offers to its devices.
fn services() -> Services {
    let cache = hetgpu_cpu::default_cache().map(|folder| Cache { folder, limit: CACHE_BYTES });
    let log = |importance, line: std::fmt::Arguments<'_>| match importance {
        Importance::Warning => log::warn(line),
        Importance::Info => log::info(line),
    };
    Services { cache, log: Some(Arc::new(log)) }
}

fn host_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
