//! Jobs that have the same memory: whatever is done to one of them is done to all (`hetgpu_runtime::group`).

use super::show::Show;
use super::{LONG_PATIENCE, PATIENCE, process, silent, status_of, trouble};
use crate::Stop;
use hetgpu_runtime::control::session::{self, GO, KEEP};
use hetgpu_runtime::control::{self, Silence};
use hetgpu_runtime::{group, memory_file, presence};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How often a group may grow while it is held.
const ROUNDS: u32 = 20;
/// How long a job may take to stop, where nobody says.
const WITHIN: u64 = 10_000;

/// A job of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) pid: u32,
    pub(super) status: Value,
}

/// Files of memory that a job has and others may have too.
fn files(status: &Value) -> BTreeSet<u64> {
    let devices = status["devices"].as_array().into_iter().flatten();
    devices.flat_map(|device| device["shared"].as_array().into_iter().flatten()).filter_map(Value::as_u64).collect()
}

impl Member {
    pub(super) fn files(&self) -> BTreeSet<u64> {
        files(&self.status)
    }

    /// Whether it let its devices go for a snapshot.
    fn is_filed(&self) -> bool {
        self.status["devices"].as_array().into_iter().flatten().any(|device| !device["snapshot"].is_null())
    }

    /// Whether others may have memory of one of its devices too.
    pub(super) fn shares(&self, device: u64) -> bool {
        self.devices().any(|other| other == device)
    }

    /// Its devices that have memory which others may have too.
    fn devices(&self) -> impl Iterator<Item = u64> {
        let devices = self.status["devices"].as_array().into_iter().flatten();
        let shares = |device: &&Value| device["shared"].as_array().is_some_and(|files| !files.is_empty());
        devices.filter(shares).filter_map(|device| device["device"].as_u64())
    }
}

fn status(pid: u32) -> Result<Value, Silence> {
    control::ask(pid, &json!({ "request": "status" }), PATIENCE, &|_| {})
}

/// Jobs that belong together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The one that was asked for first, the others by number.
    pub(super) members: Vec<Member>,
    /// Processes that have such memory open and are no jobs.
    pub(super) strangers: BTreeSet<u32>,
}

impl Group {
    /// The group of a job.
    pub(super) fn of(pid: u32) -> Result<Self, Stop> {
        let first = status(pid).map_err(|silence| silent(pid, &silence))?;
        let mut group = Self { members: vec![Member { pid, status: first }], strangers: BTreeSet::new() };
        group.complete()?;
        Ok(group)
    }

    /// The jobs among some processes, and those that belong to them; none where there are none.
    pub(super) fn among(pids: &[u32]) -> Result<Option<Self>, Stop> {
        let job = |&pid: &u32| Some(Member { pid, status: status(pid).ok()? });
        let members: Vec<Member> = pids.iter().filter_map(job).collect();
        let mut group = Self { members, strangers: BTreeSet::new() };
        group.complete()?;
        Ok((!group.members.is_empty()).then_some(group))
    }

    /// Finds all who belong to it.
    fn complete(&mut self) -> Result<(), Stop> {
        let mut known = BTreeSet::new();
        loop {
            let files = self.files();
            if files.is_subset(&known) {
                break;
            }
            for pid in group::holders(&files) {
                if self.has(pid) {
                    continue;
                }
                match status(pid) {
                    Ok(status) => self.members.push(Member { pid, status }),
                    Err(Silence::Strange(_)) if process::state(pid) == Some('T') => {
                        let text = "it shares memory with the job, and is stopped, so that it does not answer";
                        return Err(trouble(3, format!("process {pid}: {text}")));
                    }
                    Err(silence @ Silence::Strange(_)) => return Err(silent(pid, &silence)),
                    Err(_) => drop(self.strangers.insert(pid)),
                }
            }
            known.extend(files);
        }
        self.strangers.remove(&std::process::id());
        if let [_, others @ ..] = &mut self.members[..] {
            others.sort_by_key(|member| member.pid);
        }
        Ok(())
    }

    pub(super) fn files(&self) -> BTreeSet<u64> {
        self.members.iter().flat_map(Member::files).collect()
    }

    fn has(&self, pid: u32) -> bool {
        self.members.iter().any(|member| member.pid == pid)
    }

    /// Whether it is one job that shares nothing.
    pub(super) fn is_alone(&self) -> bool {
        self.members.len() == 1 && self.files().is_empty()
    }

    /// The job that was asked for, without the others.
    pub(super) fn first(self) -> Self {
        Self { members: self.members.into_iter().take(1).collect(), ..self }
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.members.iter().map(|member| member.pid)
    }

    /// The others, behind a text about the first; nothing where there are none.
    pub(super) fn others(&self) -> String {
        let others: Vec<u32> = self.pids().skip(1).collect();
        match others.len() {
            0 => String::new(),
            1 => format!("; together with {}, which shares memory with it", group::named(others)),
            _ => format!("; together with {}, which share memory with it", group::named(others)),
        }
    }

    /// Whether one of them is in a snapshot and nowhere else.
    pub(super) fn is_filed(&self) -> bool {
        self.members.iter().any(Member::is_filed)
    }

    /// Holds all of them, and whoever comes to them meanwhile. `forward` is what is done with each when it is decided to go on,
    /// and `goes` whether it then goes on also where it stood still before.
    pub(super) fn hold(
        mut self,
        show: &Show,
        within: Option<u64>,
        goes: bool,
        forward: &dyn Fn(&Member) -> Vec<Value>,
    ) -> Result<Hold, Stop> {
        let decision = memory_file(64).map(File::from);
        let decision = decision.map_err(|error| trouble(7, format!("no memory for what is decided: {error}")))?;
        let mut hold =
            Hold { sessions: Vec::new(), decision, since: Instant::now(), stop: 0.0, locks: None, ended: false };
        for _ in 0..ROUNDS {
            // In one order, whoever asks: of two commands one finds all free.
            let mut new: Vec<&Member> = self.members.iter().filter(|member| !hold.has(member.pid)).collect();
            new.sort_by_key(|member| member.pid);
            if new.is_empty() && hold.locks.is_some() {
                return Ok(hold.sorted(&self));
            }
            let within = within.unwrap_or(WITHIN);
            for member in new {
                let request = json!({
                    "request": "hold",
                    "within_ms": within,
                    "decision": { "process": std::process::id(), "file": hold.decision.as_raw_fd() },
                    "forward": forward(member),
                    "go": goes,
                });
                hold.begin(member, &request)?;
            }
            hold.wait_for_all(show, Duration::from_millis(within))?;
            let files = self.files();
            hold.locks = None;
            hold.locks = Some(
                group::lock(&files).ok_or_else(|| trouble(5, "another command is at work with the jobs' memory"))?,
            );
            for member in &mut self.members {
                member.status = status(member.pid).map_err(|silence| silent(member.pid, &silence))?;
            }
            self.complete()?;
            if self.files() != files || self.pids().any(|pid| !hold.has(pid)) {
                // Whoever is opening a file now would not stop before it has that.
                hold.locks = None;
            }
        }
        Err(trouble(5, "more and more processes come to share the job's memory"))
    }
}

/// A session with one of a group.
struct Session {
    member: Member,
    held: session::Held,
    stands: bool,
}

/// A group that is held. What was done to it is undone when this is dropped before it was decided.
pub(super) struct Hold {
    sessions: Vec<Session>,
    decision: File,
    since: Instant,
    /// Milliseconds until the last of them stood still.
    pub(super) stop: f64,
    locks: Option<group::Locks>,
    ended: bool,
}

fn refusal(pid: u32, answer: &Value) -> Stop {
    let text = answer["error"].as_str().unwrap_or("it was refused");
    trouble(status_of(answer["kind"].as_str().unwrap_or_default()), format!("process {pid}: {text}"))
}

impl Hold {
    fn has(&self, pid: u32) -> bool {
        self.sessions.iter().any(|session| session.member.pid == pid)
    }

    fn begin(&mut self, member: &Member, request: &Value) -> Result<(), Stop> {
        let pid = member.pid;
        if request["go"] == json!(true) {
            process::go_on(pid);
        }
        let held = session::Held::begin(pid, request).map_err(|silence| silent(pid, &silence))?;
        self.sessions.push(Session { member: member.clone(), held, stands: false });
        Ok(())
    }

    /// Waits until all stand still that were asked to: they stop at the same time, since one may wait for another.
    fn wait_for_all(&mut self, show: &Show, within: Duration) -> Result<(), Stop> {
        for session in self.sessions.iter_mut().filter(|session| !session.stands) {
            let pid = session.member.pid;
            let answer = session.held.hear(within.saturating_add(PATIENCE), &|event| show.tell(&event));
            let answer = answer.map_err(|silence| silent(pid, &silence))?;
            if answer["ok"] != json!(true) {
                return Err(refusal(pid, &answer));
            }
            session.stands = true;
        }
        self.stop = self.since.elapsed().as_secs_f64() * 1e3;
        Ok(())
    }

    /// With its members as they are now, in the group's order.
    fn sorted(mut self, group: &Group) -> Self {
        let place = |pid: u32| group.pids().position(|other| other == pid);
        self.sessions.sort_by_key(|session| place(session.member.pid));
        for session in &mut self.sessions {
            if let Some(now) = group.members.iter().find(|member| member.pid == session.member.pid) {
                session.member = now.clone();
            }
        }
        self
    }

    pub(super) fn members(&self) -> Vec<Member> {
        self.sessions.iter().map(|session| session.member.clone()).collect()
    }

    pub(super) fn group(&self) -> Group {
        Group { members: self.members(), strangers: BTreeSet::new() }
    }

    /// How long it has been held, in milliseconds.
    pub(super) fn frozen(&self) -> f64 {
        self.since.elapsed().as_secs_f64() * 1e3
    }

    /// An error where they have stood still for longer than that.
    pub(super) fn check_time(&self, most: Option<u64>) -> Result<(), Stop> {
        match most {
            Some(most) if self.frozen() > most as f64 => {
                Err(trouble(4, format!("the jobs stood still for {most} ms, which is all that was allowed")))
            }
            _ => Ok(()),
        }
    }

    /// Asks one of them.
    pub(super) fn ask(&self, show: &Show, pid: u32, request: &Value) -> Result<Value, Stop> {
        let session = self.sessions.iter().find(|session| session.member.pid == pid);
        let session = session.ok_or_else(|| trouble(7, format!("process {pid} is not held")))?;
        let answer =
            session.held.say(request).and_then(|()| session.held.hear(LONG_PATIENCE, &|event| show.tell(&event)));
        let answer = answer.map_err(|silence| silent(pid, &silence))?;
        if answer["ok"] == json!(true) { Ok(answer) } else { Err(refusal(pid, &answer)) }
    }

    /// Decides how it ends for all of them: from here on nothing is undone.
    fn decide(&self, what: u8) -> Result<(), Stop> {
        let written = self.decision.write_all_at(&[what], 0);
        written.map_err(|error| trouble(7, format!("what is decided could not be written: {error}")))
    }

    /// All go on, or do what they were held for and go on then.
    pub(super) fn go(self, show: &Show) -> Result<Vec<Value>, Stop> {
        self.decide(GO)?;
        // None of them goes on before all are ready.
        let forward = json!({ "request": "forward" });
        let done: Vec<_> = self.sessions.iter().map(|session| self.ask(show, session.member.pid, &forward)).collect();
        self.end()?;
        done.into_iter().collect()
    }

    /// All stay as they are.
    pub(super) fn keep(self) -> Result<(), Stop> {
        self.decide(KEEP)?;
        self.end()
    }

    fn end(mut self) -> Result<(), Stop> {
        self.ended = true;
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Stop> {
        let mut ended = Ok(());
        let end = json!({ "request": "end" });
        // What is said to one that has not begun yet is not heard.
        self.sessions.retain(|session| {
            session.stands || session.held.hear(LONG_PATIENCE, &|_| {}).is_ok_and(|answer| answer["ok"] == json!(true))
        });
        for session in &self.sessions {
            let _ = session.held.say(&end);
        }
        for session in &self.sessions {
            let pid = session.member.pid;
            let ok = match session.held.hear(LONG_PATIENCE, &|_| {}) {
                Ok(answer) if answer["ok"] == json!(true) => Ok(()),
                Ok(answer) => Err(refusal(pid, &answer)),
                Err(silence) => Err(silent(pid, &silence)),
            };
            if ended.is_ok() {
                ended = ok;
            }
        }
        ended
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.ended {
            // Whoever is gone has nothing to undo.
            let _ = self.finish();
        }
        self.locks = None;
    }
}

/// Lets processes go on that whoever saved them left stopped, together with a job.
pub(super) fn wake(pid: u32) {
    process::go_on(pid);
    if let Ok(status) = status(pid) {
        group::holders(&files(&status))
            .into_iter()
            .filter(|&other| other != std::process::id())
            .for_each(process::go_on);
    }
}

/// What gives a job its devices back, or one of them, if it let them go: for a snapshot, or for an agent, which may be gone.
pub(super) fn back(status: &Value, only: Option<u64>) -> Vec<Value> {
    let devices = || status["devices"].as_array().into_iter().flatten();
    if devices().any(|device| !device["snapshot"].is_null()) {
        return vec![json!({ "request": "load" })];
    }
    let released = devices().filter(|device| device["stage"] == json!("released"));
    let numbers = released.filter_map(|device| device["device"].as_u64());
    let wanted = numbers.filter(|number| only.is_none_or(|only| only == *number));
    wanted.map(|number| json!({ "request": "restore", "device": number })).collect()
}

/// Lets all go on that are paused, in a snapshot, or without their devices.
pub(super) fn resume(show: &Show, group: Group) -> Result<(), Stop> {
    group.hold(show, None, true, &|member| back(&member.status, None))?.go(show).map(drop)
}

/// Moves all of them: of the first one device, of the others those that have the memory.
pub(super) fn go(show: &Show, group: Group, request: &Value, most: Option<u64>) -> Result<(Value, Group), Stop> {
    let hold = group.hold(show, most, false, &|_| Vec::new())?;
    let (mut bytes, mut copied) = (0, 0);
    for (at, member) in hold.members().into_iter().enumerate() {
        let devices: Vec<u64> =
            if at == 0 { vec![request["device"].as_u64().unwrap_or(0)] } else { member.devices().collect() };
        for device in devices {
            let mut request = request.clone();
            request["device"] = json!(device);
            let answer = hold.ask(show, member.pid, &request)?;
            bytes += answer["bytes"].as_u64().unwrap_or(0);
            copied += answer["copied"].as_u64().unwrap_or(0);
        }
    }
    hold.check_time(most)?;
    let (group, stop, since) = (hold.group(), hold.stop, hold.since);
    hold.go(show)?;
    let freeze = since.elapsed().as_secs_f64() * 1e3;
    let processes: Vec<u32> = group.pids().collect();
    let answer = json!({
        "ok": true, "freeze_ms": freeze, "stop_ms": stop, "bytes": bytes, "copied": copied, "processes": processes,
    });
    Ok((answer, group))
}

/// Whether all of these processes are there, by number and time of beginning; the first that is not.
pub(super) fn missing(members: &[(u32, u64)]) -> Option<u32> {
    members.iter().find(|(pid, start)| !presence::began(*pid, *start)).map(|(pid, _)| *pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gets_back_what_it_let_go_of() {
        let device = |number: u64, stage: &str, snapshot: Value| json!({ "device": number, "stage": stage, "snapshot": snapshot });
        let of = |devices: &[Value], only| back(&json!({ "devices": devices }), only);
        let (paused, released) = (device(0, "paused", Value::Null), device(1, "released", Value::Null));
        assert_eq!(of(std::slice::from_ref(&paused), None), Vec::<Value>::new());
        let restore = json!({ "request": "restore", "device": 1 });
        assert_eq!(of(&[paused.clone(), released.clone()], None), [restore]);
        assert_eq!(of(&[paused.clone(), released], Some(0)), Vec::<Value>::new());
        let filed = device(1, "released", json!({ "folder": "/f" }));
        assert_eq!(of(&[paused, filed], None), [json!({ "request": "load" })]);
    }
}
