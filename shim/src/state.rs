//! The runtime of this process, made by `cuInit`.

use crate::registry;
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Runtime, Settings, control};
use std::sync::{Arc, OnceLock};

static RUNTIME: OnceLock<Result<Runtime, Failure>> = OnceLock::new();

/// The settings of this process, which some calls need before `cuInit`.
pub(crate) fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(Settings::from_environment)
}

fn start() -> Outcome<Runtime> {
    let devices = registry::devices(settings());
    let devices = devices.map_err(|repeated| Failure::new(Code::ERROR_INVALID_DEVICE, repeated.to_string()))?;
    if devices.is_empty() {
        let hidden = format!("{} hides every device", registry::VISIBLE);
        return Err(Failure::new(Code::ERROR_NO_DEVICE, hidden));
    }
    let runtime = Runtime::new(settings().clone(), devices);
    let names = registry::seen(settings()).into_iter().flatten().map(|device| device.name.to_owned());
    runtime.offer(Arc::new(registry::Kinds(settings().clone())), names.collect());
    runtime.announce();
    Ok(runtime)
}

pub(crate) fn initialise() -> Outcome<&'static Runtime> {
    let mut first = false;
    let runtime = RUNTIME.get_or_init(|| {
        first = true;
        start()
    });
    let runtime = runtime.as_ref().map_err(Clone::clone)?;
    if first {
        // Programs that only look what devices there are have nothing to be asked about.
        runtime.when_used(|| control::listen(runtime));
    }
    Ok(runtime)
}

pub(crate) fn runtime() -> Outcome<&'static Runtime> {
    RUNTIME
        .get()
        .and_then(|runtime| runtime.as_ref().ok())
        .ok_or_else(|| Failure::new(Code::ERROR_NOT_INITIALIZED, "cuInit was not called"))
}
