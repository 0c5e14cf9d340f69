//! The engines that this build has: the interpreter itself, and every device by its name.

pub mod device;
pub mod interp;
pub mod print;
pub mod ring;

use std::sync::Arc;

use crate::devices;
use crate::engine::Engine;

/// What stands before the name of a device that has an engine of its own too.
const AS_DEVICE: &str = "device:";

/// What stands before the names of devices, joined by `+`, between which runs move.
const RING: &str = "ring:";

/// The engine of that name. `device:interp` is the interpreter by way of the device that wraps it.
pub fn named(name: &str) -> Result<Arc<dyn Engine>, String> {
    if name == interp::Interp.name() {
        return Ok(Arc::new(interp::Interp));
    }
    match name {
        print::Assemble::NAME => return Ok(Arc::new(print::Assemble::new())),
        print::Reprint::NAME => return Ok(Arc::new(print::Reprint)),
        _ => {}
    }
    if let Some(devices) = name.strip_prefix(RING) {
        return Ok(Arc::new(ring::Ring::of(name, devices)?));
    }
    let device = device::OnDevice::open(name.strip_prefix(AS_DEVICE).unwrap_or(name))?;
    Ok(Arc::new(device.called(name)))
}

/// The names of all engines, for messages.
pub fn names() -> String {
    format!("{} {} {}", devices::names(), print::Assemble::NAME, print::Reprint::NAME)
}

/// The engine that says what PTX means.
pub fn oracle() -> &'static dyn Engine {
    &interp::Interp
}
