//! The devices that this build has, by name.

use hetgpu_cpu::CpuDevice;
use hetgpu_device::{Device, Queued};
use hetgpu_interp::InterpDevice;
use std::sync::Arc;

/// Memory that devices which take it from the host say they have.
const MEMORY: u64 = 1 << 30;

type Make = fn() -> Result<Arc<dyn Device>, String>;

/// A device of this machine, or why there is none.
const DEVICES: &[(&str, Make)] = &[
    ("interp", || Ok(Arc::new(Queued::new(InterpDevice::new(MEMORY, hetgpu_interp::Options::default()))))),
    ("cpu", || Ok(Arc::new(Queued::new(CpuDevice::new(hetgpu_cpu::Options::default()))))),
];

/// Opens the device of that name.
pub fn open(name: &str) -> Result<Arc<dyn Device>, String> {
    match DEVICES.iter().find(|device| device.0 == name) {
        Some((_, make)) => make(),
        None => Err(format!("no device `{name}`; there are {}", names())),
    }
}

/// The names of all devices, for messages.
pub fn names() -> String {
    DEVICES.iter().map(|device| device.0).collect::<Vec<_>>().join(" ")
}
