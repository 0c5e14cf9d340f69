//! Checkpoints of processes: of this one, and of others of the same user by way of their control sockets.
//!
//! Locked is what the runtime calls paused, and checkpointed is that the devices were released.

use crate::abi::{Call, In, Out};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::control::{self, Silence};
use serde_json::{Value, json};
use std::time::Duration;

/// Optional arguments of any of the calls, as words.
pub(crate) type Arguments = In<[u64; 8]>;
const _: () = assert!(size_of::<[u64; 8]>() == 64);

const RUNNING: u32 = 0;
const LOCKED: u32 = 1;
const CHECKPOINTED: u32 = 2;

/// For what answers at once.
const SOON: Duration = Duration::from_secs(10);
/// For what has to copy all memory, or to wait for work without an end.
const LATE: Duration = Duration::from_secs(365 * 24 * 3600);

fn ask(call: &Call, pid: i32, request: &Value, patience: Duration) -> Outcome<Value> {
    let number = u32::try_from(pid).ok().filter(|&pid| pid != 0);
    let number = number.ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, format!("{pid} is no process")))?;
    let answer = if number == std::process::id() {
        control::answer(call.runtime()?, request)
    } else {
        control::ask(number, request, patience, &|_| {}).map_err(|silence| {
            let code = match silence {
                Silence::Gone => Code::ERROR_INVALID_VALUE,
                Silence::NotListening(_) => Code::ERROR_NOT_INITIALIZED,
                Silence::Strange(_) => Code::ERROR_UNKNOWN,
            };
            Failure::new(code, format!("process {pid}: {silence}"))
        })?
    };
    if answer["ok"] == true {
        return Ok(answer);
    }
    let code = match answer["kind"].as_str().unwrap_or_default() {
        "stage" | "busy" => Code::ERROR_ILLEGAL_STATE,
        "held" => Code::ERROR_NOT_READY,
        "unfit" => Code::ERROR_NOT_SUPPORTED,
        "request" | "no-device" => Code::ERROR_INVALID_VALUE,
        _ => Code::ERROR_UNKNOWN,
    };
    Err(Failure::new(code, format!("process {pid}: {}", answer["error"].as_str().unwrap_or("refused"))))
}

/// The words of the arguments, which must be zero but for the first `used`.
fn words(arguments: Arguments, used: usize) -> Outcome<[u64; 8]> {
    let words = if arguments.is_null() { [0; 8] } else { arguments.get()? };
    match words[used..].iter().all(|&word| word == 0) {
        true => Ok(words),
        false => Err(Failure::new(Code::ERROR_INVALID_VALUE, "reserved fields must be 0")),
    }
}

/// The state that stages of a process's devices stand for.
fn state_of(status: &Value) -> u32 {
    let devices = status["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |stage: &str| devices.iter().any(|device| device["stage"] == stage);
    match () {
        () if is("released") => CHECKPOINTED,
        () if is("paused") || is("moving") => LOCKED,
        () => RUNNING,
    }
}

pub(crate) fn state(call: &Call, pid: i32, state: Out<u32>) -> Outcome {
    let status = ask(call, pid, &json!({ "request": "status" }), SOON)?;
    state.set(state_of(&status))
}

pub(crate) fn restore_thread(call: &Call, pid: i32, thread: Out<i32>) -> Outcome {
    let status = ask(call, pid, &json!({ "request": "status" }), SOON)?;
    thread.set(status["thread"].as_i64().and_then(|thread| i32::try_from(thread).ok()).unwrap_or(pid))
}

pub(crate) fn lock(call: &Call, pid: i32, arguments: Arguments) -> Outcome {
    let [first, ..] = words(arguments, 1)?;
    let (timeout, reserved) = (first & u64::from(u32::MAX), first >> 32);
    if reserved != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "reserved fields must be 0"));
    }
    let within = if timeout == 0 { LATE } else { Duration::from_millis(timeout) };
    let request = json!({ "request": "pause", "within_ms": within.as_millis() as u64 });
    ask(call, pid, &request, within.saturating_add(SOON)).map(drop)
}

pub(crate) fn checkpoint(call: &Call, pid: i32, arguments: Arguments) -> Outcome {
    words(arguments, 0)?;
    ask(call, pid, &json!({ "request": "release" }), LATE).map(drop)
}

pub(crate) fn restore(call: &Call, pid: i32, arguments: Arguments) -> Outcome {
    // A pointer to pairs of devices and their number.
    let [_, pairs, ..] = words(arguments, 2)?;
    match pairs {
        0 => ask(call, pid, &json!({ "request": "restore" }), LATE).map(drop),
        _ => Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "other devices than those that were there")),
    }
}

pub(crate) fn unlock(call: &Call, pid: i32, arguments: Arguments) -> Outcome {
    words(arguments, 0)?;
    ask(call, pid, &json!({ "request": "resume" }), SOON).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_as_far_as_the_first_of_its_devices() {
        let of = |stages: &[&str]| {
            let devices: Vec<_> = stages.iter().map(|stage| json!({ "stage": stage })).collect();
            state_of(&json!({ "devices": devices }))
        };
        assert_eq!([of(&[]), of(&["running", "pausing"])], [RUNNING; 2]);
        assert_eq!([of(&["running", "paused"]), of(&["moving"])], [LOCKED; 2]);
        assert_eq!(of(&["paused", "released"]), CHECKPOINTED);
    }
}
