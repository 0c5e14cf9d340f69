//! What can be asked of a job.

use super::{THREAD, Tell, VERSION, refusal};
use crate::{DeviceStatus, Flight, Runtime, Trouble};
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a pause waits for work to stop, where nobody says.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two reports about how far it is.
const REPORT: Duration = Duration::from_millis(100);

fn failed(trouble: &Trouble) -> Value {
    refusal(trouble.kind.name(), &trouble.text)
}

/// A number of a request; none where it has none. It is an error where it is no number.
fn number(request: &Value, name: &str) -> Result<Option<u64>, Value> {
    match request.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| refusal("request", &format!("{name} is a number"))),
    }
}

fn milliseconds(request: &Value, name: &str) -> Result<Option<Duration>, Value> {
    Ok(number(request, name)?.map(Duration::from_millis))
}

pub(super) fn serve(runtime: &Runtime, request: &Value, tell: Tell<'_>) -> Value {
    let served = match request.get("request").and_then(Value::as_str) {
        Some("status") => Ok(status(runtime)),
        Some("check") => check(runtime, request),
        Some("move") => go(runtime, request, tell),
        Some("pause") => pause(runtime, request),
        Some("resume") => device(request)
            .and_then(|device| runtime.resume(device).map_err(|trouble| failed(&trouble)))
            .map(|()| json!({ "ok": true })),
        Some("release") => device(request)
            .and_then(|device| runtime.release_devices(device).map_err(|trouble| failed(&trouble)))
            .map(|()| json!({ "ok": true })),
        Some("restore") => device(request)
            .and_then(|device| runtime.restore_devices(device).map_err(|trouble| failed(&trouble)))
            .map(|()| json!({ "ok": true })),
        Some("abort") => device(request)
            .and_then(|device| runtime.abort(device).map_err(|trouble| failed(&trouble)))
            .map(|aborted| json!({ "ok": true, "aborted": aborted })),
        Some(other) => Err(refusal("request", &format!("there is no request '{other}'"))),
        None => Err(refusal("request", "the object has no request")),
    };
    served.unwrap_or_else(|refusal| refusal)
}

fn device(request: &Value) -> Result<Option<usize>, Value> {
    Ok(number(request, "device")?.map(|device| device as usize))
}

fn target(request: &Value) -> Result<(usize, &str), Value> {
    let to = request.get("to").and_then(Value::as_str).ok_or_else(|| refusal("request", "to which device?"))?;
    Ok((device(request)?.unwrap_or(0), to))
}

fn flight(flight: &Flight) -> Value {
    let seconds = flight.since.as_secs_f64();
    json!({ "kernel": flight.kernel, "seconds": seconds, "blocks": flight.blocks, "stops": flight.stops })
}

fn status(runtime: &Runtime) -> Value {
    let show = |device: &DeviceStatus| {
        json!({
            "device": device.index,
            "name": device.name,
            "shown": device.shown,
            "stage": device.stage.name(),
            "bytes": device.bytes,
            "kernels": device.flights.iter().map(flight).collect::<Vec<_>>(),
        })
    };
    let devices: Vec<Value> = runtime.status().iter().map(show).collect();
    let targets = runtime.targets().map(|targets| targets.names()).unwrap_or_default();
    let program = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let thread = match THREAD.load(Ordering::Relaxed) {
        0 => std::process::id(),
        thread => thread,
    };
    json!({
        "ok": true,
        "version": VERSION,
        "pid": std::process::id(),
        "thread": thread,
        "program": program,
        "devices": devices,
        "targets": targets,
    })
}

fn check(runtime: &Runtime, request: &Value) -> Result<Value, Value> {
    let (device, to) = target(request)?;
    let against = runtime.check_move(device, to).map_err(|trouble| failed(&trouble))?;
    Ok(json!({ "ok": true, "against": against }))
}

fn pause(runtime: &Runtime, request: &Value) -> Result<Value, Value> {
    let (device, within) = (device(request)?, milliseconds(request, "within_ms")?);
    let start = Instant::now();
    runtime.pause(device, within.unwrap_or(PATIENCE)).map_err(|trouble| failed(&trouble))?;
    Ok(json!({ "ok": true, "stop_ms": start.elapsed().as_secs_f64() * 1e3 }))
}

fn go(runtime: &Runtime, request: &Value, tell: Tell<'_>) -> Result<Value, Value> {
    let ((device, to), most) = (target(request)?, milliseconds(request, "max_freeze_ms")?);
    let last = Cell::new(None::<Instant>);
    let progress = |done: u64, all: u64| {
        if last.get().is_none_or(|last| last.elapsed() >= REPORT) || done == all {
            last.set(Some(Instant::now()));
            tell(json!({ "event": "progress", "done": done, "all": all }));
        }
    };
    let moved = runtime.move_to(device, to, most, &progress).map_err(|trouble| failed(&trouble))?;
    Ok(json!({
        "ok": true,
        "freeze_ms": moved.freeze.as_secs_f64() * 1e3,
        "stop_ms": moved.stop.as_secs_f64() * 1e3,
        "bytes": moved.bytes,
        "copied": moved.copied,
    }))
}
