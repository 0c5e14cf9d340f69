//! The runtime of this process, made by `cuInit`.

use crate::registry;
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Runtime, Settings};
use std::sync::OnceLock;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

pub(crate) fn initialise() -> Outcome<&'static Runtime> {
    let runtime = RUNTIME.get_or_init(|| {
        let settings = Settings::from_environment();
        let devices = registry::devices(&settings);
        Runtime::new(settings, devices)
    });
    match runtime.device_count() {
        0 => Err(Failure::new(Code::ERROR_NO_DEVICE, "no device")),
        _ => Ok(runtime),
    }
}

pub(crate) fn runtime() -> Outcome<&'static Runtime> {
    RUNTIME.get().ok_or_else(|| Failure::new(Code::ERROR_NOT_INITIALIZED, "cuInit was not called"))
}
