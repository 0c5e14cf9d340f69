//! `hetgpu-migrate`: looks after jobs that run, pauses them and moves them to other devices.

use crate::devices::columns;
use crate::line::{Command, Flag, Line};
use crate::{JSON, Outcome, Stop, Tool, refused, say};
use hetgpu_registry as registry;
use hetgpu_runtime::control::{self, Silence};
use hetgpu_runtime::{Settings, Targets, presence};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// The name by which the command is called for this.
pub(crate) const NAME: &str = "hetgpu-migrate";

const TO: Flag = Flag { name: "--to", value: Some("DEVICE"), about: "the device to move to, as `devices` names it" };
const DEVICE: Flag = Flag {
    name: "--device",
    value: Some("N"),
    about: "the program's device of that number; otherwise all, or the first",
};
const EVENTS: Flag = Flag { name: "--json", value: None, about: "what happens as lines of JSON" };

pub(crate) const TOOL: Tool = Tool {
    name: NAME,
    about: "Pauses CUDA programs that run on hetGPU, and moves them to other devices while they run.",
    commands: COMMANDS,
    notes: &[
        "Exit status: 0 done; 1 the other device cannot take the job, and nothing was done; 2 the command line is wrong;",
        "3 no such process, or it does not answer; 4 the job did not stop in time, or would have stood still for too long;",
        "5 the job's present stage does not allow it; 6 given up by `abort`; 7 a device failed. Whatever fails, the job goes on",
        "where it was.",
    ],
};

const COMMANDS: &[Command] = &[
    Command {
        name: "ps",
        arguments: "",
        about: "lists the jobs of this user: process, device, memory, and the kernels that run",
        flags: &[JSON],
        takes_all: false,
        run: ps,
    },
    Command {
        name: "devices",
        arguments: "",
        about: "lists the devices that jobs can be moved to",
        flags: &[JSON],
        takes_all: false,
        run: devices,
    },
    Command {
        name: "inspect",
        arguments: "PID",
        about: "shows a job: devices, memory, kernels under way and where they can stop",
        flags: &[JSON],
        takes_all: false,
        run: inspect,
    },
    Command {
        name: "check",
        arguments: "PID",
        about: "says what speaks against a move; exit status 1 if something does",
        flags: &[TO, DEVICE, JSON],
        takes_all: false,
        run: check,
    },
    Command {
        name: "move",
        arguments: "PID",
        about: "moves a job to another device while it runs; kernels under way stop between two blocks",
        flags: &[
            TO,
            DEVICE,
            Flag {
                name: "--max-freeze",
                value: Some("MS"),
                about: "give up where the job would stand still for longer",
            },
            EVENTS,
        ],
        takes_all: false,
        run: go,
    },
    Command {
        name: "pause",
        arguments: "PID",
        about: "stops a job's work on its devices until `resume`",
        flags: &[
            DEVICE,
            Flag {
                name: "--within",
                value: Some("MS"),
                about: "give up where it does not stop in that time; 10000 if left out",
            },
            EVENTS,
        ],
        takes_all: false,
        run: pause,
    },
    Command {
        name: "resume",
        arguments: "PID",
        about: "lets a paused job go on",
        flags: &[DEVICE, EVENTS],
        takes_all: false,
        run: resume,
    },
    Command {
        name: "abort",
        arguments: "PID",
        about: "gives up a move or a pause that is under way; the job goes on where it was",
        flags: &[DEVICE, EVENTS],
        takes_all: false,
        run: abort,
    },
    Command {
        name: "completions",
        arguments: "bash|zsh|fish",
        about: "prints completions for a shell",
        flags: &[],
        takes_all: false,
        run: |line| crate::completions::run(&TOOL, line),
    },
    Command {
        name: "man",
        arguments: "",
        about: "prints the manual page",
        flags: &[],
        takes_all: false,
        run: |_| {
            say(crate::manual::page(&TOOL));
            Ok(0)
        },
    },
];

/// How long a process may be silent: it answers at once, but for what waits for its work.
const PATIENCE: Duration = Duration::from_secs(3);
const LONG_PATIENCE: Duration = Duration::from_secs(700);

fn pid(line: &Line) -> Result<u32, Stop> {
    match &line.arguments[..] {
        [pid] => pid.parse().map_err(|_| refused(format!("'{pid}' is no process; `{NAME} ps` lists them"))),
        _ => Err(refused(format!("one process is wanted; `{NAME} ps` lists them"))),
    }
}

fn number(line: &Line, flag: &str) -> Result<Option<u64>, Stop> {
    let parse = |text: &str| text.parse().map_err(|_| refused(format!("{flag}: '{text}' is no number")));
    line.value(flag).map(parse).transpose()
}

/// The exit status for a kind of trouble.
fn status_of(kind: &str) -> u8 {
    match kind {
        "unfit" => 1,
        "request" | "no-device" => 2,
        "held" | "too-long" => 4,
        "stage" | "busy" => 5,
        "aborted" => 6,
        _ => 7,
    }
}

fn silent(pid: u32, silence: &Silence) -> Stop {
    Stop { status: 3, text: format!("process {pid}: {silence}") }
}

/// Asks, and prints what comes back where lines of JSON are wanted. An answer that is a refusal ends the command.
fn ask(line: &Line, pid: u32, request: &Value, patience: Duration, tell: &dyn Fn(&Value)) -> Result<Value, Stop> {
    let json = line.has("--json");
    let told = |event: Value| {
        if json {
            say(&event);
        }
        tell(&event);
    };
    let answer = control::ask(pid, request, patience, &told).map_err(|silence| silent(pid, &silence))?;
    if answer["ok"] == json!(true) {
        return Ok(answer);
    }
    if json {
        say(&answer);
    }
    let text = answer["error"].as_str().unwrap_or("it was refused");
    Err(Stop { status: status_of(answer["kind"].as_str().unwrap_or_default()), text: format!("process {pid}: {text}") })
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or("?")
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn ps(line: &Line) -> Outcome {
    if let Some(extra) = line.arguments.first() {
        return Err(refused(format!("ps takes no '{extra}'")));
    }
    let mut jobs = Vec::new();
    for process in presence::processes(&presence::folder()) {
        if let Ok(job) = control::ask(process.pid, &json!({ "request": "status" }), PATIENCE, &|_| {}) {
            jobs.push(job);
        }
    }
    if line.has("--json") {
        say(Value::from(jobs));
        return Ok(0);
    }
    let mut rows = vec![["PID", "DEVICE", "STAGE", "MEMORY", "KERNEL", "FOR", "PROGRAM"].map(str::to_owned)];
    for job in &jobs {
        for device in list(job, "devices") {
            let kernel = list(device, "kernels").first();
            let name = kernel.map_or("-", |kernel| text(kernel, "kernel"));
            let time = kernel.and_then(|kernel| kernel["seconds"].as_f64());
            rows.push([
                job["pid"].to_string(),
                text(device, "name").to_owned(),
                text(device, "stage").to_owned(),
                size(device["bytes"].as_u64().unwrap_or(0)),
                name.to_owned(),
                time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} s")),
                text(job, "program").to_owned(),
            ]);
        }
    }
    say(columns(&rows));
    Ok(0)
}

fn devices(line: &Line) -> Outcome {
    let kinds = registry::Kinds(Settings::from_environment());
    let all: Vec<_> = kinds.names().into_iter().filter_map(|name| Some((kinds.caps(&name)?, name))).collect();
    if line.has("--json") {
        let show = all.iter().map(|(caps, name)| json!({ "name": name, "device": caps.name, "memory": caps.memory }));
        say(Value::from(show.collect::<Vec<_>>()));
        return Ok(0);
    }
    let mut rows = vec![["NAME", "DEVICE", "MEMORY"].map(str::to_owned)];
    rows.extend(all.into_iter().map(|(caps, name)| [name, caps.name, size(caps.memory)]));
    say(columns(&rows));
    Ok(0)
}

fn inspect(line: &Line) -> Outcome {
    let pid = pid(line)?;
    let job = ask(line, pid, &json!({ "request": "status" }), PATIENCE, &|_| {})?;
    if line.has("--json") {
        say(&job);
        return Ok(0);
    }
    say(format_args!("process {pid}: {}", text(&job, "program")));
    for device in list(&job, "devices") {
        let bytes = size(device["bytes"].as_u64().unwrap_or(0));
        let (name, stage) = (text(device, "name"), text(device, "stage"));
        say(format_args!("device {}: {name} ({}), {stage}, {bytes}", device["device"], text(device, "shown")));
        for kernel in list(device, "kernels") {
            let stops = if kernel["stops"] == json!(true) { "can stop between two blocks" } else { "runs to its end" };
            let seconds = kernel["seconds"].as_f64().unwrap_or(0.0);
            let (name, blocks) = (text(kernel, "kernel"), &kernel["blocks"]);
            say(format_args!("  kernel {name}: {blocks} blocks, under way for {seconds:.3} s, {stops}"));
        }
    }
    let targets: Vec<_> = list(&job, "targets").iter().filter_map(Value::as_str).collect();
    say(format_args!("can be moved to: {}", targets.join(", ")));
    Ok(0)
}

fn wanted(line: &Line) -> Result<(u32, Value), Stop> {
    let to = line.value("--to").ok_or_else(|| refused(format!("--to wants a device; `{NAME} devices` lists them")))?;
    Ok((pid(line)?, json!({ "to": to, "device": number(line, "--device")? })))
}

fn check(line: &Line) -> Outcome {
    let (pid, mut request) = wanted(line)?;
    request["request"] = json!("check");
    let answer = ask(line, pid, &request, PATIENCE, &|_| {})?;
    let against = list(&answer, "against");
    if line.has("--json") {
        say(&answer);
    } else if against.is_empty() {
        say(format_args!("process {pid} can be moved to {}", text(&request, "to")));
    } else {
        against.iter().for_each(|reason| say(reason.as_str().unwrap_or("?")));
    }
    Ok(u8::from(!against.is_empty()))
}

fn go(line: &Line) -> Outcome {
    let (pid, mut request) = wanted(line)?;
    request["request"] = json!("move");
    request["max_freeze_ms"] = json!(number(line, "--max-freeze")?);
    let shown = !line.has("--json") && std::io::stderr().is_terminal();
    let progress = |event: &Value| {
        let (done, all) = (event["done"].as_u64().unwrap_or(0), event["all"].as_u64().unwrap_or(0));
        if shown && all > 0 {
            let _ = write!(std::io::stderr(), "\r{:3} % of {}", done * 100 / all, size(all));
        }
    };
    let answer = ask(line, pid, &request, LONG_PATIENCE, &progress);
    if shown {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let answer = answer?;
    if line.has("--json") {
        say(&answer);
        return Ok(0);
    }
    let bytes = |name: &str| size(answer[name].as_u64().unwrap_or(0));
    let time = |name: &str| answer[name].as_f64().unwrap_or(0.0);
    say(format_args!(
        "process {pid} is on {} now; it stood still for {:.1} ms ({:.1} ms to stop); {} moved, {} of them copied",
        text(&request, "to"),
        time("freeze_ms"),
        time("stop_ms"),
        bytes("bytes"),
        bytes("copied"),
    ));
    Ok(0)
}

/// A request about a process and perhaps one of its devices, whose answer is shown as one line.
fn simple(line: &Line, what: &str, more: Value, shown: impl Fn(&Value) -> String) -> Outcome {
    let pid = pid(line)?;
    let mut request = json!({ "request": what, "device": number(line, "--device")? });
    if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
        request.extend(more);
    }
    let answer = ask(line, pid, &request, LONG_PATIENCE, &|_| {})?;
    match line.has("--json") {
        true => say(&answer),
        false => say(format_args!("process {pid} {}", shown(&answer))),
    }
    Ok(0)
}

fn pause(line: &Line) -> Outcome {
    let within = json!({ "within_ms": number(line, "--within")? });
    simple(line, "pause", within, |answer| {
        format!("is paused; it took {:.1} ms to stop", answer["stop_ms"].as_f64().unwrap_or(0.0))
    })
}

fn resume(line: &Line) -> Outcome {
    simple(line, "resume", json!({}), |_| "goes on".into())
}

fn abort(line: &Line) -> Outcome {
    simple(line, "abort", json!({}), |answer| match answer["aborted"] == json!(true) {
        true => "is told to give up".into(),
        false => "has nothing under way to give up".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_trouble_has_a_status_of_its_own_group() {
        use hetgpu_runtime::TroubleKind as Kind;
        let all = [Kind::NoDevice, Kind::Stage, Kind::Held, Kind::Unfit, Kind::Aborted, Kind::TooLong, Kind::Failed];
        assert_eq!(all.map(|kind| status_of(kind.name())), [2, 5, 4, 1, 6, 4, 7]);
    }

    #[test]
    fn sizes_are_read_by_people() {
        assert_eq!([0, 1023, 1024, 3 << 20, 5 << 30].map(size), ["0 B", "1023 B", "1.0 KiB", "3.0 MiB", "5.0 GiB"]);
    }
}
