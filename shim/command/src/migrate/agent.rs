//! `agent`: freezes and thaws all jobs of its user, and for root those of all users, for whoever orchestrates machines.
//!
//! A request is a line with an object of JSON, and so is its answer:
//! ```text
//! {"do": "freeze", "release": false, "within_ms": 10000, "limit_s": 60}
//!     {"ok": true, "state": "frozen", "jobs": [{"pid": 12, "state": "paused"}]}
//! {"do": "state"}
//! {"do": "thaw"}
//! ```
//! All jobs are frozen or none. With `release` they let their devices go, into memory of the host. What was frozen goes on after
//! `limit_s`, whether somebody thaws it or not, and whatever has become of the agent: each job sees to that itself. Jobs that were paused
//! already stay as they are.

use super::{PATIENCE, io_trouble, number, trouble};
use crate::line::Line;
use crate::{Outcome, Stop, refused, say};
use hetgpu_runtime::{control, presence};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Bytes of a request.
const REQUEST: u64 = 16 << 10;
/// How long jobs may take to stop, and how long they stand still, where nobody says.
const WITHIN: u64 = 10_000;
const LIMIT: u64 = 60;

/// A job that the agent froze.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Frozen {
    pid: u32,
    released: bool,
}

#[derive(Default)]
struct State {
    frozen: Vec<Frozen>,
    /// When it goes on by itself.
    until: Option<Instant>,
}

/// Asks a job, as `control::ask` does.
type Ask = dyn Fn(u32, &Value, Duration) -> Result<(), String> + Send + Sync;

struct Agent {
    state: Mutex<State>,
    jobs: Box<dyn Fn() -> Vec<(u32, String)> + Send + Sync>,
    ask: Box<Ask>,
}

fn asked(pid: u32, request: &Value, patience: Duration) -> Result<(), String> {
    match control::ask(pid, request, patience, &|_| {}) {
        Ok(answer) if answer["ok"] == json!(true) => Ok(()),
        Ok(answer) => Err(answer["error"].as_str().unwrap_or("it was refused").to_owned()),
        Err(silence) => Err(silence.to_string()),
    }
}

/// Jobs, and what they are at: that of the first of their devices which does not run.
fn jobs() -> Vec<(u32, String)> {
    let processes = presence::folders().into_iter().flat_map(|folder| presence::processes(&folder));
    let stage = |pid: u32| {
        let status = control::ask(pid, &json!({ "request": "status" }), PATIENCE, &|_| {}).ok()?;
        let devices = status["devices"].as_array()?;
        let mut stages = devices.iter().filter_map(|device| device["stage"].as_str());
        Some(stages.find(|stage| *stage != "running").unwrap_or("running").to_owned())
    };
    // One that uses no device answers nothing, and has nothing to be frozen.
    processes.filter_map(|process| Some((process.pid, stage(process.pid)?))).collect()
}

impl Agent {
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if state.until.is_some_and(|until| until <= Instant::now()) {
            *state = State::default();
        }
        state
    }

    fn serve(&self, request: &Value) -> Value {
        let done = match request["do"].as_str() {
            Some("freeze") => self.freeze(request),
            Some("thaw") => self.thaw(&mut self.lock()),
            Some("state") => Ok(()),
            _ => Err("the request is none of freeze, state and thaw".to_owned()),
        };
        let state = if self.lock().frozen.is_empty() { "thawed" } else { "frozen" };
        let jobs: Vec<Value> = (self.jobs)().iter().map(|(pid, stage)| json!({ "pid": pid, "state": stage })).collect();
        match done {
            Ok(()) => json!({ "ok": true, "state": state, "jobs": jobs }),
            Err(error) => json!({ "ok": false, "error": error, "state": state, "jobs": jobs }),
        }
    }

    fn freeze(&self, request: &Value) -> Result<(), String> {
        let mut state = self.lock();
        if !state.frozen.is_empty() {
            return Err("it is frozen already".into());
        }
        let within = request["within_ms"].as_u64().unwrap_or(WITHIN);
        let release = request["release"] == json!(true);
        let limit = Duration::from_secs(request["limit_s"].as_u64().unwrap_or(LIMIT));
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let patience = Duration::from_millis(within).saturating_add(PATIENCE);
        // Until all stand still: from then on the limit counts.
        let first = milliseconds(limit.saturating_add(patience));
        for (pid, _) in (self.jobs)().into_iter().filter(|(_, stage)| stage == "running") {
            match (self.ask)(pid, &json!({ "request": "pause", "within_ms": within, "limit_ms": first }), patience) {
                Ok(()) => state.frozen.push(Frozen { pid, released: false }),
                Err(why) => return Err(self.given_up(&mut state, pid, &why)),
            }
        }
        // Those that share memory with others let their devices go only when these stand still too.
        for at in 0..if release { state.frozen.len() } else { 0 } {
            let pid = state.frozen[at].pid;
            match (self.ask)(pid, &json!({ "request": "release" }), super::LONG_PATIENCE) {
                Ok(()) => state.frozen[at].released = true,
                Err(why) => return Err(self.given_up(&mut state, pid, &why)),
            }
        }
        let until = Instant::now().checked_add(limit);
        for at in 0..state.frozen.len() {
            let pid = state.frozen[at].pid;
            let left = until.map_or(limit, |until| until.saturating_duration_since(Instant::now()));
            let asked = json!({ "request": "stands", "limit_ms": milliseconds(left) });
            if let Err(why) = (self.ask)(pid, &asked, PATIENCE) {
                return Err(self.given_up(&mut state, pid, &why));
            }
        }
        state.until = until;
        Ok(())
    }

    /// Lets all go on after one did not do as it was told; what is said about it.
    fn given_up(&self, state: &mut State, pid: u32, why: &str) -> String {
        let back = self.thaw(state).err().map(|why| format!("; {why}")).unwrap_or_default();
        format!("process {pid}: {why}{back}")
    }

    /// Lets all go on that it froze. What does not is tried again by the next who asks.
    fn thaw(&self, state: &mut State) -> Result<(), String> {
        let mut wrong = Vec::new();
        state.frozen.retain_mut(|frozen| {
            let pid = frozen.pid;
            if frozen.released {
                match (self.ask)(pid, &json!({ "request": "restore" }), super::LONG_PATIENCE) {
                    Ok(()) => frozen.released = false,
                    Err(why) => wrong.push(format!("process {pid}: {why}")),
                }
            }
            if frozen.released {
                return super::process::state(pid).is_some();
            }
            // Somebody else may have let it go on, or it may be gone.
            let _ = (self.ask)(pid, &json!({ "request": "resume" }), PATIENCE);
            false
        });
        state.until = None;
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Answers requests until there are no more.
    fn converse(&self, from: &mut dyn Read, to: &mut dyn Write) {
        let mut lines = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            match (&mut lines).take(REQUEST).read_until(b'\n', &mut line) {
                Ok(1..) if line.ends_with(b"\n") => {}
                _ => return,
            }
            let request = serde_json::from_slice::<Value>(&line).unwrap_or_default();
            let answer = self.serve(&request);
            if writeln!(to, "{answer}").and_then(|()| to.flush()).is_err() {
                return;
            }
        }
    }
}

pub(super) fn run(line: &Line) -> Outcome {
    let [at] = &line.arguments[..] else { return Err(refused("a socket to listen at, or a character device")) };
    let at = Path::new(at);
    if let Some(what) = line.value("--ask") {
        return client(line, at, what);
    }
    let agent = Arc::new(Agent { state: Mutex::default(), jobs: Box::new(jobs), ask: Box::new(asked) });
    let device = std::fs::metadata(at).is_ok_and(|about| about.file_type().is_char_device());
    if device {
        loop {
            let open = || OpenOptions::new().read(true).write(true).open(at);
            let mut port = open().map_err(|error| io_trouble(at, "opening it", &error))?;
            let mut answers = port.try_clone().map_err(|error| io_trouble(at, "opening it", &error))?;
            agent.converse(&mut port, &mut answers);
            // The other end of the device is closed.
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    listen(&agent, at)
}

fn listen(agent: &Arc<Agent>, at: &Path) -> Outcome {
    // A socket that nobody listens at is one of an agent that is gone.
    if UnixStream::connect(at).is_ok() {
        return Err(trouble(5, format!("{}: an agent listens there", at.display())));
    }
    if std::fs::symlink_metadata(at).is_ok_and(|about| about.file_type().is_socket()) {
        let _ = std::fs::remove_file(at);
    }
    let listener = UnixListener::bind(at).map_err(|error| io_trouble(at, "listening there", &error))?;
    let allowed = std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o600));
    allowed.map_err(|error| io_trouble(at, "its mode", &error))?;
    for stream in listener.incoming().flatten().filter(control::may_ask) {
        let agent = Arc::clone(agent);
        std::thread::spawn(move || agent.converse(&mut &stream, &mut &stream));
    }
    Ok(0)
}

fn client(line: &Line, at: &Path, what: &str) -> Outcome {
    let request = json!({ "do": what, "release": line.has("--release"), "limit_s": number(line, "--limit")? });
    let ask = || -> std::io::Result<Value> {
        let stream = UnixStream::connect(at)?;
        writeln!(&stream, "{request}")?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    };
    let answer: Value = ask().map_err(|error| Stop { status: 3, text: format!("{}: {error}", at.display()) })?;
    say(&answer);
    Ok(if answer["ok"] == json!(true) { 0 } else { 4 })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Asked = Arc<Mutex<Vec<String>>>;

    /// An agent of two jobs that run, one that is paused, and what they were asked; one of them does not do as it is told.
    fn agent(stubborn: Option<(u32, &'static str)>) -> (Arc<Agent>, Asked) {
        let asked = Asked::default();
        let log = Arc::clone(&asked);
        let ask = move |pid: u32, request: &Value, _| {
            let what = request["request"].as_str().unwrap_or_default();
            log.lock().unwrap().push(format!("{pid} {what}"));
            if stubborn == Some((pid, what)) { Err("no".to_owned()) } else { Ok(()) }
        };
        let jobs =
            || [(1, "running"), (2, "paused"), (3, "running")].map(|(pid, stage)| (pid, stage.to_owned())).into();
        let (jobs, ask) = (Box::new(jobs), Box::new(ask));
        (Arc::new(Agent { state: Mutex::default(), jobs, ask }), asked)
    }

    fn log(asked: &Asked) -> String {
        std::mem::take(&mut *asked.lock().unwrap()).join(", ")
    }

    #[test]
    fn what_runs_is_frozen_and_thawed_and_nothing_else() {
        let (agent, asked) = agent(None);
        assert_eq!(agent.serve(&json!({ "do": "freeze" }))["state"], "frozen");
        assert_eq!(log(&asked), "1 pause, 3 pause, 1 stands, 3 stands");
        assert_eq!(agent.serve(&json!({ "do": "freeze" }))["ok"], false);
        let thawed = agent.serve(&json!({ "do": "thaw" }));
        assert_eq!((&thawed["ok"], &thawed["state"]), (&json!(true), &json!("thawed")));
        assert_eq!(log(&asked), "1 resume, 3 resume");
        assert_eq!(agent.serve(&json!({ "do": "dance" }))["ok"], false);
        assert_eq!(agent.serve(&Value::Null)["ok"], false);
    }

    #[test]
    fn all_are_frozen_or_none() {
        let (stubborn, asked) = agent(Some((3, "pause")));
        let answer = stubborn.serve(&json!({ "do": "freeze" }));
        assert_eq!((&answer["ok"], &answer["state"]), (&json!(false), &json!("thawed")));
        assert_eq!(log(&asked), "1 pause, 3 pause, 1 resume");
        let (stubborn, asked) = agent(Some((3, "release")));
        assert_eq!(stubborn.serve(&json!({ "do": "freeze", "release": true }))["ok"], false);
        assert_eq!(log(&asked), "1 pause, 3 pause, 1 release, 3 release, 1 restore, 1 resume, 3 resume");
        let (stubborn, asked) = agent(Some((3, "stands")));
        assert_eq!(stubborn.serve(&json!({ "do": "freeze" }))["ok"], false, "it may go on before the others");
        assert_eq!(log(&asked), "1 pause, 3 pause, 1 stands, 3 stands, 1 resume, 3 resume");
    }

    #[test]
    fn jobs_go_on_by_themselves_when_the_limit_is_over() {
        let (agent, asked) = agent(None);
        assert_eq!(agent.serve(&json!({ "do": "freeze", "limit_s": 0 }))["state"], "thawed");
        assert_eq!(log(&asked), "1 pause, 3 pause, 1 stands, 3 stands", "and nobody has to ask them");
        assert_eq!(agent.serve(&json!({ "do": "freeze", "limit_s": u64::MAX }))["state"], "frozen");
    }

    #[test]
    fn requests_that_are_none_are_answered_or_end_the_conversation() {
        let (agent, _) = agent(None);
        let converse = |from: &[u8]| {
            let mut to = Vec::new();
            agent.converse(&mut &*from, &mut to);
            String::from_utf8(to).unwrap().lines().count()
        };
        assert_eq!(converse(b"{\"do\": \"state\"}\nnonsense\n{\"do\":"), 2);
        assert_eq!(converse(&[b'x'; 100_000]), 0);
    }
}
