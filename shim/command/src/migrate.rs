//! `hetgpu-migrate`: looks after jobs that run, pauses them and moves them to other devices.

mod agent;
mod criu;
mod folder;
mod group;
mod jobs;
mod process;
mod receive;
mod send;
mod shelf;
mod show;
mod together;
mod way;

use crate::devices::columns;
use crate::line::{Command, Flag, Line};
use crate::{JSON, Outcome, Stop, Tool, refused, say};
use group::Group;
use hetgpu_registry as registry;
use hetgpu_runtime::control::{self, Silence};
use hetgpu_runtime::group::named;
use hetgpu_runtime::{Settings, Targets, presence};
use serde_json::{Value, json};
use show::{Show, size};
use std::path::Path;
use std::time::Duration;

pub(crate) use criu::waits;

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
    about: "Pauses CUDA programs that run on hetGPU, moves them to other devices while they run, and saves them.",
    commands: COMMANDS,
    notes: &[
        "Exit status: 0 done; 1 the other device cannot take the job, and nothing was done; 2 the command line is wrong;",
        "3 no such process, or it does not answer; 4 the job did not stop in time, or would have stood still for too long;",
        "5 the job's present stage does not allow it; 6 given up by `abort`; 7 a device failed; 8 a checkpoint could not be",
        "written or not be used; 9 CRIU is missing, not permitted, or failed; 10 the other side of a transfer or the way there failed;",
        "11 it is not known whether the job runs on the other side, and it stands still here. Whatever fails, the job goes on where it",
        "was, or the message says where it is.",
    ],
};

const COMMANDS: &[Command] = &[
    Command {
        name: "ps",
        arguments: "",
        about: "lists the jobs of this user: process, device, memory, and the kernels that run",
        flags: &[
            Flag {
                name: "--changes",
                value: None,
                about: "also how much of its memory each changes in a second; it is watched for 0.2 s, as for a checkpoint",
            },
            JSON,
        ],
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
        arguments: "PID|FOLDER|FILE",
        about: "shows a job, running or in a checkpoint: devices, memory, kernels under way and where they can stop",
        flags: &[JSON],
        takes_all: false,
        run: inspect,
    },
    Command {
        name: "check",
        arguments: "PID",
        about: "says what speaks against a move and how long the job would stand still; exit status 1 if something does",
        flags: &[
            TO,
            DEVICE,
            Flag { name: "--max-freeze", value: Some("MS"), about: "it speaks against the move if copies took longer" },
            JSON,
        ],
        takes_all: false,
        run: check,
    },
    Command {
        name: "move",
        arguments: "PID",
        about: "moves a job to another device while it runs; kernels under way stop where they are and go on over there",
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
        name: "checkpoint",
        arguments: "PID",
        about: "saves a whole job, devices and process, and ends it; `restore` brings it back",
        flags: &[
            Flag { name: "-o", value: Some("FOLDER"), about: "where to: a new folder, or an empty one" },
            Flag { name: "--leave-running", value: None, about: "the job goes on" },
            Flag {
                name: "--base",
                value: Some("FOLDER|FILE"),
                about: "an earlier checkpoint of it: what has not changed since is not written again",
            },
            Flag {
                name: "--gpu-only",
                value: None,
                about: "only what is on devices; the process stays, and waits for `restore` unless it is left running",
            },
            Flag {
                name: "--max-freeze",
                value: Some("MS"),
                about: "give up where writing what is on devices would take longer",
            },
            EVENTS,
        ],
        takes_all: false,
        run: jobs::checkpoint,
    },
    Command {
        name: "restore",
        arguments: "FOLDER",
        about: "brings back a job from a checkpoint, into its process if that is still there",
        flags: &[
            Flag {
                name: "--to",
                value: Some("DEVICES"),
                about: "onto these, in the order in which the program numbers them, with commas between; otherwise such as it had",
            },
            Flag {
                name: "--cut-files",
                value: None,
                about: "files that the job had open for writing, and that have grown since, are cut to what they were",
            },
            Flag {
                name: "--rewind",
                value: None,
                about: "a job that has gone on since gets the contents of its memory back, and nothing else of then",
            },
            EVENTS,
        ],
        takes_all: false,
        run: jobs::restore,
    },
    Command {
        name: "verify",
        arguments: "FOLDER|FILE",
        about: "reads all of a checkpoint and says what is damaged; exit status 8 if something is",
        flags: &[JSON],
        takes_all: false,
        run: jobs::verify,
    },
    Command {
        name: "send",
        arguments: "PID HOST:PORT|-",
        about: "sends a job to another machine while it runs, where `receive` waits; - for standard input and output",
        flags: &[
            Flag { name: "--key", value: Some("FILE"), about: "a file with a secret that the other side has too" },
            Flag {
                name: "--max-freeze",
                value: Some("MS"),
                about: "memory is sent in rounds until the rest takes no longer; 500 if left out",
            },
            Flag { name: "--spool", value: Some("FOLDER"), about: "where what is sent is gathered; /tmp if left out" },
            EVENTS,
        ],
        takes_all: false,
        run: send::send,
    },
    Command {
        name: "receive",
        arguments: "[ADDRESS:]PORT|-",
        about: "takes a job from another machine, and runs it here",
        flags: &[
            Flag { name: "--key", value: Some("FILE"), about: "a file with a secret that the other side has too" },
            Flag { name: "--to", value: Some("DEVICES"), about: "onto these; otherwise such as it had" },
            Flag {
                name: "--spool",
                value: Some("FOLDER"),
                about: "where what comes is gathered, and what came is remembered; hetgpu-received in /tmp if left out",
            },
            Flag {
                name: "--cut-files",
                value: None,
                about: "files that the job had open for writing, and that are longer here, are cut to what they were",
            },
            EVENTS,
        ],
        takes_all: false,
        run: receive::receive,
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
        about: "lets a job go on that is paused, that waits in a snapshot, or that an agent froze which is gone",
        flags: &[
            DEVICE,
            Flag { name: "--here", value: None, about: "also where it was sent away and may run there" },
            EVENTS,
        ],
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
        name: "agent",
        arguments: "SOCKET|DEVICE",
        about: "serves orchestrators: freeze, state and thaw as lines of JSON, at a socket or a character device",
        flags: &[
            Flag { name: "--ask", value: Some("WHAT"), about: "asks an agent that runs: freeze, state or thaw" },
            Flag { name: "--release", value: None, about: "with --ask freeze: devices are let go too" },
            Flag {
                name: "--limit",
                value: Some("SECONDS"),
                about: "with --ask freeze: jobs go on by themselves after this; 60 if left out",
            },
        ],
        takes_all: false,
        run: agent::run,
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
const PATIENCE: Duration = Duration::from_secs(10);
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
        "snapshot" => 8,
        _ => 7,
    }
}

fn silent(pid: u32, silence: &Silence) -> Stop {
    Stop { status: 3, text: format!("process {pid}: {silence}") }
}

fn trouble(status: u8, text: impl Into<String>) -> Stop {
    Stop { status, text: text.into() }
}

fn io_trouble(path: &Path, what: &str, error: &std::io::Error) -> Stop {
    trouble(8, format!("{}: {what}: {error}", path.display()))
}

/// Asks, and shows what comes before the answer. An answer that is a refusal ends the command.
fn ask_shown(show: &Show, pid: u32, request: &Value, patience: Duration) -> Result<Value, Stop> {
    let told = |event: Value| show.tell(&event);
    let answer = control::ask(pid, request, patience, &told).map_err(|silence| silent(pid, &silence))?;
    if answer["ok"] == json!(true) {
        return Ok(answer);
    }
    if show.is_json() {
        say(&answer);
    }
    let text = answer["error"].as_str().unwrap_or("it was refused");
    Err(trouble(status_of(answer["kind"].as_str().unwrap_or_default()), format!("process {pid}: {text}")))
}

fn ask(line: &Line, pid: u32, request: &Value, patience: Duration) -> Result<Value, Stop> {
    ask_shown(&Show::new(line), pid, request, patience)
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
    for process in presence::folders().iter().flat_map(|folder| presence::processes(folder)) {
        if let Ok(job) = control::ask(process.pid, &json!({ "request": "status" }), PATIENCE, &|_| {}) {
            jobs.push(job);
        }
    }
    let watched = line.has("--changes");
    if watched {
        std::thread::scope(|scope| jobs.iter_mut().for_each(|job| _ = scope.spawn(|| watch(job))));
    }
    if line.has("--json") {
        say(Value::from(jobs));
        return Ok(0);
    }
    let mut rows = vec![["PID", "DEVICE", "STAGE", "MEMORY", "CHANGES", "KERNEL", "FOR", "PROGRAM"].map(str::to_owned)];
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
                device["changes"].as_f64().map_or_else(|| "-".to_owned(), rate),
                name.to_owned(),
                time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} s")),
                text(job, "program").to_owned(),
            ]);
        }
    }
    say(columns(&rows));
    Ok(0)
}

fn rate(bytes: f64) -> String {
    format!("{}/s", size(bytes as u64))
}

/// Asks how much of its memory a job changes on each of its devices, and notes it there.
fn watch(job: &mut Value) {
    let pid = job["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    for device in job["devices"].as_array_mut().into_iter().flatten() {
        let request = json!({ "request": "changes", "device": device["device"] });
        let answer = control::ask(pid, &request, PATIENCE, &|_| {});
        device["changes"] = answer.map_or(Value::Null, |answer| answer["changes"].clone());
    }
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
    if let [what] = &line.arguments[..]
        && what.parse::<u32>().is_err()
    {
        return jobs::inspect(line, Path::new(what));
    }
    let pid = pid(line)?;
    let job = ask(line, pid, &json!({ "request": "status" }), PATIENCE)?;
    if line.has("--json") {
        say(&job);
        return Ok(0);
    }
    say(format_args!("process {pid}: {}", text(&job, "program")));
    let others: Vec<u32> = Group::of(pid)?.pids().skip(1).collect();
    if !others.is_empty() {
        say(format_args!("shares memory with {}: what is done to one of them is done to all", named(others)));
    }
    for device in list(&job, "devices") {
        let bytes = size(device["bytes"].as_u64().unwrap_or(0));
        let (name, stage) = (text(device, "name"), text(device, "stage"));
        say(format_args!("device {}: {name} ({}), {stage}, {bytes}", device["device"], text(device, "shown")));
        if let Some(folder) = device["snapshot"]["folder"].as_str() {
            say(format_args!("  what was on it is in {folder}"));
        }
        for kernel in list(device, "kernels") {
            let seconds = kernel["seconds"].as_f64().unwrap_or(0.0);
            let (name, blocks) = (text(kernel, "kernel"), &kernel["blocks"]);
            say(format_args!("  kernel {name}: {blocks} blocks, under way for {seconds:.3} s, {}", stops(kernel)));
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
    let most = number(line, "--max-freeze")?;
    request["request"] = json!("check");
    let mut answer = ask(line, pid, &request, LONG_PATIENCE)?;
    let watched = json!({ "request": "changes", "device": request["device"] });
    answer["changes"] = ask(line, pid, &watched, PATIENCE)?["changes"].clone();
    let copying = answer["copying_ms"].as_f64();
    if let Some((most, copying)) = most.zip(copying).filter(|&(most, copying)| copying > most as f64)
        && let Some(against) = answer["against"].as_array_mut()
    {
        against.push(json!(format!("it would stand still for {copying:.0} ms, and {most} ms are allowed")));
    }
    for other in Group::of(pid)?.pids().skip(1) {
        request["device"] = Value::Null;
        let theirs = ask(line, other, &request, LONG_PATIENCE)?;
        let theirs = list(&theirs, "against").iter().filter_map(Value::as_str);
        let theirs: Vec<Value> = theirs.map(|reason| json!(format!("process {other}: {reason}"))).collect();
        if let Some(all) = answer["against"].as_array_mut() {
            all.extend(theirs);
        }
    }
    let against = list(&answer, "against");
    if line.has("--json") {
        say(&answer);
    } else if against.is_empty() {
        say(format_args!("process {pid} can be moved to {}", text(&request, "to")));
        say(format_args!("  {}", forecast(&answer)));
        for kernel in list(&answer, "kernels").iter().filter(|kernel| text(kernel, "stops") != "inside") {
            say(format_args!("  kernel {} {}, for which the move waits", text(kernel, "kernel"), stops(kernel)));
        }
    } else {
        against.iter().for_each(|reason| say(reason.as_str().unwrap_or("?")));
    }
    Ok(u8::from(!against.is_empty()))
}

/// What a move would take.
fn forecast(answer: &Value) -> String {
    let bytes = |name: &str| size(answer[name].as_u64().unwrap_or(0));
    let copies = match (answer["copied"].as_u64(), answer["rate"].as_f64(), answer["copying_ms"].as_f64()) {
        (Some(0), ..) => "none of it would be copied".to_owned(),
        (_, Some(speed), Some(time)) => {
            format!(
                "at most {} would be copied, at {}: {time:.0} ms in which it stands still",
                bytes("copied"),
                rate(speed)
            )
        }
        _ => format!("at most {} would be copied; how fast is not known", bytes("copied")),
    };
    let changes = answer["changes"].as_f64().map_or_else(|| "an unknown part".to_owned(), rate);
    format!("{} are on the device, of which it changes {changes}; {copies}", bytes("bytes"))
}

fn stops(kernel: &Value) -> &'static str {
    match text(kernel, "stops") {
        "inside" => "can stop in the middle of its blocks",
        "blocks" => "can stop between two blocks",
        _ => "runs to its end",
    }
}

fn go(line: &Line) -> Outcome {
    let (pid, mut request) = wanted(line)?;
    request["request"] = json!("move");
    request["max_freeze_ms"] = json!(number(line, "--max-freeze")?);
    let show = Show::new(line);
    let group = Group::of(pid)?;
    let shares = group.members[0].shares(request["device"].as_u64().unwrap_or(0));
    let (answer, group) = match shares {
        false => (ask_shown(&show, pid, &request, LONG_PATIENCE)?, group.first()),
        true => group::go(&show, group, &request, number(line, "--max-freeze")?)?,
    };
    show.clear();
    if line.has("--json") {
        say(&answer);
        return Ok(0);
    }
    let bytes = |name: &str| size(answer[name].as_u64().unwrap_or(0));
    let time = |name: &str| answer[name].as_f64().unwrap_or(0.0);
    say(format_args!(
        "process {pid} is on {} now; it stood still for {:.1} ms ({:.1} ms to stop); {} moved, {} of them copied{}",
        text(&request, "to"),
        time("freeze_ms"),
        time("stop_ms"),
        bytes("bytes"),
        bytes("copied"),
        group.others(),
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
    let answer = ask(line, pid, &request, LONG_PATIENCE)?;
    match line.has("--json") {
        true => say(&answer),
        false => say(format_args!("process {pid} {}", shown(&answer))),
    }
    Ok(0)
}

fn shown(line: &Line, answer: &Value, text: impl FnOnce() -> String) -> Outcome {
    match line.has("--json") {
        true => say(answer),
        false => say(text()),
    }
    Ok(0)
}

fn pause(line: &Line) -> Outcome {
    let group = Group::of(pid(line)?)?;
    if !group.is_alone() && line.value("--device").is_none() {
        let hold = group.hold(&Show::new(line), number(line, "--within")?, false, &|_| Vec::new())?;
        let (group, stop) = (hold.group(), hold.stop);
        hold.keep()?;
        let processes: Vec<u32> = group.pids().collect();
        return shown(line, &json!({ "ok": true, "stop_ms": stop, "processes": processes }), || {
            format!("process {} is paused; it took {stop:.1} ms to stop{}", processes[0], group.others())
        });
    }
    let within = json!({ "within_ms": number(line, "--within")? });
    simple(line, "pause", within, |answer| {
        format!("is paused; it took {:.1} ms to stop", answer["stop_ms"].as_f64().unwrap_or(0.0))
    })
}

fn resume(line: &Line) -> Outcome {
    let pid = pid(line)?;
    // Who saved it may be gone.
    group::wake(pid);
    let job = ask(line, pid, &json!({ "request": "status" }), PATIENCE)?;
    let kept = list(&job, "devices").iter().find_map(|device| device["snapshot"]["folder"].as_str());
    let left = kept.and_then(|kept| folder::left_for(Path::new(kept)));
    if let Some(to) = left.filter(|_| !line.has("--here")) {
        let text = format!(
            "process {pid}: it was sent to {to}, and may run there: look there first; --here lets it go on here all the same"
        );
        return Err(trouble(way::UNSETTLED, text));
    }
    let group = Group::of(pid)?;
    if !group.is_alone() && line.value("--device").is_none() {
        let (others, processes) = (group.others(), group.pids().collect::<Vec<u32>>());
        group::resume(&Show::new(line), group)?;
        return shown(line, &json!({ "ok": true, "processes": processes }), || {
            format!("process {pid} goes on{others}")
        });
    }
    for request in group::back(&job, number(line, "--device")?) {
        ask(line, pid, &request, LONG_PATIENCE)?;
    }
    simple(line, "resume", json!({}), |_| "goes on".into())
}

fn abort(line: &Line) -> Outcome {
    // What is under way with the others belongs to it.
    for other in Group::of(pid(line)?)?.pids().skip(1) {
        let _ = control::ask(other, &json!({ "request": "abort" }), PATIENCE, &|_| {});
    }
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
        let all = [
            Kind::NoDevice,
            Kind::Stage,
            Kind::Held,
            Kind::Unfit,
            Kind::Aborted,
            Kind::TooLong,
            Kind::Failed,
            Kind::Snapshot,
        ];
        assert_eq!(all.map(|kind| status_of(kind.name())), [2, 5, 4, 1, 6, 4, 7, 8]);
    }
}
