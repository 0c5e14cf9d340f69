//! The devices that this build has, by name.

use hetgpu_cpu::{CpuDevice, Features};
use hetgpu_device::{Device, Importance, Queued, Services};
use hetgpu_interp::InterpDevice;
use hetgpu_nvidia::NvidiaDevice;
use std::cell::RefCell;
use std::sync::Arc;

/// Memory that devices which take it from the host say they have.
const MEMORY: u64 = 1 << 30;

/// A device.
pub struct Opened {
    pub device: Arc<dyn Device>,
    /// Of devices that compile kernels: what was said, on this thread since it was last asked, about kernels that are not.
    pub uncompiled: Option<fn() -> Option<String>>,
}

type Make = fn() -> Result<Opened, String>;

/// A device of this machine, or why there is none.
const DEVICES: &[(&str, Make)] = &[
    ("interp", || {
        let device = InterpDevice::new(MEMORY, hetgpu_interp::Options::default());
        Ok(Opened { device: Arc::new(Queued::new(device)), uncompiled: None })
    }),
    ("cpu", || cpu(Features::Native)),
    ("cpu-avx2", || cpu(Features::Avx2)),
    ("cpu-sse2", || cpu(Features::Sse2)),
    ("nvidia", || {
        let library = std::env::var_os("HETGPU_VENDOR_DRIVER").map(Into::into);
        let dump = std::env::var_os("HETGPU_DUMP").map(Into::into);
        let services = Services { dump, ..Services::default() };
        let device = NvidiaDevice::new(&hetgpu_nvidia::Options { library, services, ..Default::default() })?;
        // It compiles all that it runs.
        Ok(Opened { device: Arc::new(device), uncompiled: Some(|| None) })
    }),
];

thread_local! {
    static WARNING: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn cpu(features: Features) -> Result<Opened, String> {
    let log = |importance, line: std::fmt::Arguments<'_>| {
        if importance == Importance::Warning {
            WARNING.set(Some(line.to_string()));
        }
    };
    let services = Services { log: Some(Arc::new(log)), ..Services::default() };
    let options = hetgpu_cpu::Options { features, services, ..hetgpu_cpu::Options::default() };
    let device = CpuDevice::new(options);
    match WARNING.take() {
        Some(why) => Err(why),
        None => Ok(Opened { device: Arc::new(Queued::new(device)), uncompiled: Some(|| WARNING.take()) }),
    }
}

/// Opens the device of that name.
pub fn open(name: &str) -> Result<Opened, String> {
    match DEVICES.iter().find(|device| device.0 == name) {
        Some((_, make)) => make(),
        None => Err(format!("no device `{name}`; there are {}", names())),
    }
}

/// The names of all devices, for messages.
pub fn names() -> String {
    DEVICES.iter().map(|device| device.0).collect::<Vec<_>>().join(" ")
}
