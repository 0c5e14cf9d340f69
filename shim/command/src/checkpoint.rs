//! The command line of NVIDIA's `cuda-checkpoint`, so that what drives that drives us.

use hetgpu_runtime::control;
use serde_json::{Value, json};
use std::time::Duration;

/// The name by which the command is called for this.
pub(crate) const NAME: &str = "cuda-checkpoint";

const HELP: &str = "cuda-checkpoint --pid PID, and one of
  --get-state                     prints running, locked, checkpointed or failed
  --get-restore-tid               prints the thread that restores
  --toggle                        suspends a running process, or resumes a checkpointed one
  --action lock|checkpoint|restore|unlock
                                  one step of that; lock takes --timeout MILLISECONDS";

const SOON: Duration = Duration::from_secs(10);
const LATE: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    Help,
    State,
    Thread,
    Toggle,
    Action(String),
}

/// What is asked for, of which process, and how long locking may take.
fn parse(words: &[String]) -> Result<(What, u32, Option<u64>), String> {
    let (mut what, mut pid, mut timeout) = (None, None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, given) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let mut value = || given.or_else(|| words.next().map(String::as_str)).ok_or(format!("{name} wants a value"));
        let next = match name {
            "--help" | "-h" => return Ok((What::Help, 0, None)),
            "--get-state" => What::State,
            "--get-restore-tid" => What::Thread,
            "--toggle" => What::Toggle,
            "--action" => What::Action(value()?.to_owned()),
            "--pid" | "-p" => {
                pid = Some(value()?.parse().map_err(|_| "--pid wants the number of a process")?);
                continue;
            }
            "--timeout" | "-t" => {
                timeout = Some(value()?.parse().map_err(|_| "--timeout wants milliseconds")?);
                continue;
            }
            other => return Err(format!("{other} is not understood; --help says what is")),
        };
        if what.replace(next).is_some() {
            return Err("one thing at a time: --get-state, --get-restore-tid, --toggle or --action".into());
        }
    }
    let what = what.ok_or("nothing to do; --help says what there is")?;
    Ok((what, pid.ok_or("which process? --pid says so")?, timeout))
}

fn ask(pid: u32, request: &Value, patience: Duration) -> Result<Value, String> {
    let answer =
        control::ask(pid, request, patience, &|_| {}).map_err(|silence| format!("process {pid}: {silence}"))?;
    match answer["ok"] == json!(true) {
        true => Ok(answer),
        false => Err(format!("process {pid}: {}", answer["error"].as_str().unwrap_or("it was refused"))),
    }
}

fn state(status: &Value) -> &'static str {
    let devices = status["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is = |stage: &str| devices.iter().any(|device| device["stage"] == stage);
    match () {
        () if is("released") => "checkpointed",
        () if is("paused") || is("moving") => "locked",
        () => "running",
    }
}

fn act(pid: u32, action: &str, timeout: Option<u64>) -> Result<(), String> {
    let (request, patience) = match action {
        "lock" => {
            let within = timeout.filter(|&timeout| timeout != 0).map_or(LATE, Duration::from_millis);
            (json!({ "request": "pause", "within_ms": within.as_millis() as u64 }), within.saturating_add(SOON))
        }
        "checkpoint" => (json!({ "request": "release" }), LATE),
        "restore" => (json!({ "request": "restore" }), LATE),
        "unlock" => (json!({ "request": "resume" }), SOON),
        other => return Err(format!("there is no action '{other}': lock, checkpoint, restore, unlock")),
    };
    ask(pid, &request, patience).map(drop)
}

pub(crate) fn serve(words: &[String]) -> Result<(), String> {
    let (what, pid, timeout) = parse(words)?;
    let status = || ask(pid, &json!({ "request": "status" }), SOON);
    match what {
        What::Help => crate::say(HELP),
        What::State => crate::say(state(&status()?)),
        What::Thread => crate::say(&status()?["thread"]),
        What::Action(action) => act(pid, &action, timeout)?,
        What::Toggle => match state(&status()?) {
            "checkpointed" => {
                act(pid, "restore", None)?;
                act(pid, "unlock", None)?;
            }
            "running" => {
                act(pid, "lock", timeout)?;
                let done = act(pid, "checkpoint", None);
                if done.is_err() {
                    act(pid, "unlock", None)?;
                }
                done?;
            }
            other => return Err(format!("process {pid} is {other}, which is neither running nor checkpointed")),
        },
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(What, u32, Option<u64>), String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn command_lines_of_those_who_drive_it() {
        assert_eq!(parsed("--get-state --pid 7"), Ok((What::State, 7, None)));
        assert_eq!(parsed("--toggle --pid=7"), Ok((What::Toggle, 7, None)));
        let lock = What::Action("lock".into());
        assert_eq!(parsed("--action lock --pid 12 --timeout 500"), Ok((lock, 12, Some(500))));
        assert_eq!(parsed("--get-restore-tid -p 3"), Ok((What::Thread, 3, None)));
        for wrong in ["", "--toggle", "--pid 5", "--pid x --toggle", "--toggle --get-state --pid 1", "--what --pid 1"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
