//! What can be asked of a job.

use super::{THREAD, Tell, VERSION, refusal};
use crate::{DeviceStatus, Filed, Flight, MemoryFile, Moved, Runtime, SaveRequest, Then, Trouble, TroubleKind, log};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a pause waits for work to stop, where nobody says.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a table of files.
const TABLE: u64 = 16 << 20;
/// How long a job is watched for what it changes, where nobody says, and at most.
const WATCH: Duration = Duration::from_millis(200);
const LONGEST_WATCH: Duration = Duration::from_secs(60);
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
        Some("changes") => changes(runtime, request),
        Some("move") => go(runtime, request, tell),
        Some("pause") => pause(runtime, request),
        Some("resume") => device(request)
            .and_then(|device| runtime.resume(device).map_err(|trouble| failed(&trouble)))
            .map(|()| json!({ "ok": true })),
        Some("stands") => stands(runtime, request),
        Some("go-on") => go_on(runtime, request),
        Some("hold") => hold(runtime, request),
        Some("release") => release(runtime, request).map(|()| json!({ "ok": true })),
        Some("unload") => runtime.unload().map(|()| json!({ "ok": true })).map_err(|trouble| failed(&trouble)),
        Some("restore") => device(request)
            .and_then(|device| runtime.restore_devices(device).map_err(|trouble| failed(&trouble)))
            .map(|()| json!({ "ok": true })),
        Some("save") => save(runtime, request, tell),
        Some("load") => load(runtime, request, tell),
        Some("rewind") => rewind(runtime, request, tell),
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
    json!({ "kernel": flight.kernel, "seconds": seconds, "blocks": flight.blocks(), "stops": flight.stops.name() })
}

fn filed(filed: &Filed) -> Value {
    json!({ "folder": filed.folder, "name": filed.name, "identity": filed.identity.to_string() })
}

fn status(runtime: &Runtime) -> Value {
    let show = |device: &DeviceStatus| {
        json!({
            "device": device.index,
            "name": device.name,
            "shown": device.shown,
            "stage": device.stage.name(),
            "bytes": device.bytes,
            "shared": device.shared,
            "kernels": device.flights.iter().map(flight).collect::<Vec<_>>(),
            "snapshot": device.filed.as_ref().map(filed),
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
    let forecast = runtime.forecast(device, to).map_err(|trouble| failed(&trouble))?;
    Ok(json!({
        "ok": true,
        "against": forecast.against,
        "bytes": forecast.bytes,
        "copied": forecast.copied,
        "rate": forecast.rate,
        "copying_ms": forecast.copying.map(|time| time.as_secs_f64() * 1e3),
        "kernels": forecast.flights.iter().map(flight).collect::<Vec<_>>(),
    }))
}

/// How much of its memory the job changes.
fn changes(runtime: &Runtime, request: &Value) -> Result<Value, Value> {
    let (device, watch) = (device(request)?, milliseconds(request, "watch_ms")?);
    let watch = watch.unwrap_or(WATCH).min(LONGEST_WATCH);
    let changes = runtime.changes(device.unwrap_or(0), watch).map_err(|trouble| failed(&trouble))?;
    Ok(json!({ "ok": true, "changes": changes }))
}

/// The first request of a session: what the job was at is what it is at again when all is undone.
fn hold(runtime: &Runtime, request: &Value) -> Result<Value, Value> {
    let within = milliseconds(request, "within_ms")?;
    let start = Instant::now();
    let stage = runtime.hold(within.unwrap_or(PATIENCE)).map_err(|trouble| failed(&trouble))?;
    Ok(json!({ "ok": true, "stage": stage.name(), "stop_ms": start.elapsed().as_secs_f64() * 1e3 }))
}

fn release(runtime: &Runtime, request: &Value) -> Result<(), Value> {
    let device = device(request)?;
    runtime.others_stand_still().and_then(|()| runtime.release_devices(device)).map_err(|trouble| failed(&trouble))
}

fn pause(runtime: &Runtime, request: &Value) -> Result<Value, Value> {
    let (device, within) = (device(request)?, milliseconds(request, "within_ms")?);
    let start = Instant::now();
    let turn = runtime.pause(device, within.unwrap_or(PATIENCE)).map_err(|trouble| failed(&trouble))?;
    Ok(json!({ "ok": true, "turn": turn, "stop_ms": start.elapsed().as_secs_f64() * 1e3 }))
}

/// Whose turn it is that the job stands still; perhaps from now on for so long and no longer, which `limit` takes from the request.
fn stands(runtime: &Runtime, request: &Value) -> Result<Value, Value> {
    number(request, "limit_ms")?;
    let turn = runtime.turn_of_pause(device(request)?).map_err(|trouble| failed(&trouble))?;
    Ok(json!({ "ok": true, "turn": turn }))
}

/// Lets a job go on that stands still since a turn.
fn go_on(runtime: &Runtime, request: &Value) -> Result<Value, Value> {
    let turn = number(request, "turn")?.ok_or_else(|| refusal("request", "a turn is a number"))?;
    let done = runtime.end_turn(device(request)?, turn).map_err(|trouble| failed(&trouble))?;
    Ok(json!({ "ok": true, "done": done }))
}

/// Says how far something is, from time to time.
fn reporter<'t>(tell: Tell<'t>) -> impl Fn(u64, u64) + 't {
    let last = Cell::new(None::<Instant>);
    move |done: u64, all: u64| {
        if last.get().is_none_or(|last| last.elapsed() >= REPORT) || done == all {
            last.set(Some(Instant::now()));
            tell(json!({ "event": "progress", "done": done, "all": all }));
        }
    }
}

fn moved(moved: &Moved) -> Value {
    json!({
        "ok": true,
        "freeze_ms": moved.freeze.as_secs_f64() * 1e3,
        "stop_ms": moved.stop.as_secs_f64() * 1e3,
        "bytes": moved.bytes,
        "copied": moved.copied,
    })
}

/// An answer that says what undoes what was done.
fn undone_by(mut answer: Value, request: Value) -> Value {
    answer["undo"] = request;
    answer
}

fn go(runtime: &Runtime, request: &Value, tell: Tell<'_>) -> Result<Value, Value> {
    let ((device, to), most) = (target(request)?, milliseconds(request, "max_freeze_ms")?);
    let before = runtime.status().get(device).map(|device| device.name.clone());
    let done = runtime.move_to(device, to, most, &reporter(tell)).map_err(|trouble| failed(&trouble))?;
    Ok(undone_by(moved(&done), json!({ "request": "move", "device": device, "to": before })))
}

fn flag(request: &Value, name: &str) -> bool {
    request[name] == json!(true)
}

/// Folder and name of a snapshot. The folder is absolute: who asks may be elsewhere.
fn place(request: &Value) -> Result<(PathBuf, String), Value> {
    let text = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
    let folder = text("folder").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.ok_or_else(|| refusal("request", "folder is an absolute path"))?;
    Ok((folder, text("name").ok_or_else(|| refusal("request", "a snapshot has a name"))?))
}

fn save(runtime: &Runtime, request: &Value, tell: Tell<'_>) -> Result<Value, Value> {
    let (folder, name) = place(request)?;
    let wanted = SaveRequest {
        folder,
        name,
        base: request.get("base").and_then(Value::as_str).map(str::to_owned),
        then: if flag(request, "let_go") { Then::LetsGo } else { Then::GoesOn },
        running: flag(request, "running"),
        copy: flag(request, "copy"),
        most: milliseconds(request, "max_freeze_ms")?,
        fleeting: flag(request, "fleeting"),
        shared: request["shared"].as_array().map(|files| files.iter().filter_map(Value::as_u64).collect()),
    };
    let saved = runtime.save(&wanted, &reporter(tell)).map_err(|trouble| failed(&trouble))?;
    let stats = &saved.stats;
    let undo = if wanted.then == Then::LetsGo { json!({ "request": "load" }) } else { Value::Null };
    Ok(json!({
        "ok": true,
        "let_go": wanted.then == Then::LetsGo,
        "undo": undo,
        "identity": saved.identity.to_string(),
        "path": saved.path,
        "stop_ms": saved.stop.as_secs_f64() * 1e3,
        "freeze_ms": saved.freeze.as_secs_f64() * 1e3,
        "bytes": stats.memory,
        "zeros": stats.zeros,
        "known": stats.known,
        "stored": stats.stored,
        "file": stats.file,
    }))
}

fn load(runtime: &Runtime, request: &Value, tell: Tell<'_>) -> Result<Value, Value> {
    let at = if request.get("folder").is_some() { Some(place(request)?) } else { None };
    let names = |to: &Value| match to {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) => Ok(all.iter().map(|name| name.as_str().map(str::to_owned)).collect()),
        _ => Err(refusal("request", "to is a list of devices")),
    };
    let to = names(request.get("to").unwrap_or(&Value::Null))?;
    let files = memory_files(&request["memory"])?;
    let done = runtime.load_with(at, &to, files, &reporter(tell)).map_err(|trouble| failed(&trouble))?;
    Ok(undone_by(moved(&done), json!({ "request": "unload" })))
}

/// Memory that another process holds: files, and one that says which, a name first and then lines `START BYTES FILE`. What cannot be had is read
/// from the snapshot, but where it is `alone` in having it.
fn memory_files(held: &Value) -> Result<Vec<MemoryFile>, Value> {
    let number = |name: &str| held[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let (Some(process), Some(table)) = (number("process"), number("table")) else { return Ok(Vec::new()) };
    let open = |file: u32| crate::sys::file_of_process(process, i32::try_from(file).unwrap_or(-1));
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (start, bytes) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(MemoryFile { start, bytes, file: open(words.next()?.parse().ok()?).ok()? })
    };
    let mut text = String::new();
    let read = open(table).and_then(|table| File::from(table).take(TABLE).read_to_string(&mut text));
    // Processes may have other numbers where that one is.
    let known = text.lines().next().is_some_and(|name| held["name"] == json!(name));
    let found: Vec<MemoryFile> = text.lines().skip(1).filter(|_| known).filter_map(line).collect();
    if read.is_err() || found.len() + 1 < text.lines().count().max(1) {
        if flag(held, "alone") {
            let text =
                format!("the memory of this job is held by process {process}, which cannot be reached from here");
            return Err(refusal(TroubleKind::Snapshot.name(), &text));
        }
        log::info(format_args!("memory that process {process} holds is read from the snapshot"));
    }
    Ok(found)
}

fn rewind(runtime: &Runtime, request: &Value, tell: Tell<'_>) -> Result<Value, Value> {
    let (folder, name) = place(request)?;
    let together = flag(request, "together");
    if flag(request, "only_look") {
        let looked = runtime.against_rewind(&folder, &name, together).map_err(|trouble| failed(&trouble));
        return looked.map(|()| json!({ "ok": true }));
    }
    let done = runtime.rewind(&folder, &name, together, &reporter(tell)).map_err(|trouble| failed(&trouble))?;
    Ok(moved(&done))
}
