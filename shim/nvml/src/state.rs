//! What lives between `nvmlInit` and `nvmlShutdown`.

use crate::load::Load;
use crate::result::{Code, Outcome};
use hetgpu_device::Caps;
use hetgpu_runtime::presence::{self, Process};
use hetgpu_runtime::{Settings, log};
use std::sync::{Mutex, MutexGuard};

/// The devices, and how busy they are.
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) devices: Vec<Caps>,
    pub(crate) load: Load,
    /// How often it was asked for, less how often it was given back.
    users: u32,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(crate) fn init() -> Outcome {
    let mut state = lock();
    match &mut *state {
        Some(state) => state.users += 1,
        None => {
            let settings = Settings::from_environment();
            let devices = hetgpu_registry::descriptions(&settings);
            let devices = devices.into_iter().map(|device| device.caps).collect();
            log::info(format_args!("management library: {} says who uses devices", presence::folder().display()));
            *state = Some(State { settings, devices, load: Load::new(&processes()), users: 1 });
        }
    }
    Ok(())
}

pub(crate) fn shutdown() -> Outcome {
    let mut state = lock();
    let users = state.as_ref().ok_or(Code::UNINITIALIZED)?.users - 1;
    match &mut *state {
        Some(state) if users > 0 => state.users = users,
        _ => *state = None,
    }
    Ok(())
}

pub(crate) fn with<T>(work: impl FnOnce(&mut State) -> Outcome<T>) -> Outcome<T> {
    work(lock().as_mut().ok_or(Code::UNINITIALIZED)?)
}

/// Who uses devices now.
pub(crate) fn processes() -> Vec<Process> {
    presence::processes(&presence::folder())
}
