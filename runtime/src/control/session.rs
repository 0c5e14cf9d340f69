//! A session: somebody holds a job over several requests, perhaps together with others.
//!
//! ```text
//! {"request": "hold", "within_ms": 10000, "decision": {"process": 7, "file": 5}, "forward": [...]}
//!     {"ok": true, "stage": "running"}       what the job was at; it stands still now
//! {"request": "move", ...}                   any others, in the same connection; an answer says by its `undo` what undoes it
//! {"request": "forward"}                     does what the first request brought
//! {"request": "end"}
//! ```
//! The end of the connection is the end of the session, whatever the reason. Then the first byte of the file that both have open
//! decides: after [`GO`] what was brought is done, if it has not been, and the job goes on, if it ran before or `go` was true; after
//! [`KEEP`] it stays as it is; else all that was done is undone. Whoever holds several processes decides for all of them at once.
//! Others are refused meanwhile.

use super::{Serve, Silence, connect, folder_of, guarded, hear, refusal, reply, say};
use crate::{log, sys};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The request that begins one.
pub(super) const FIRST: &str = "hold";
/// The job goes on.
pub const GO: u8 = b'g';
/// It stays as it is.
pub const KEEP: u8 = b'k';

pub(super) fn is_held() -> Value {
    refusal("busy", "another command is at work with the job")
}

/// The job is held as long as this lives.
struct Hold<'h>(&'h AtomicBool);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn decision(request: &Value) -> Option<File> {
    let number = |name: &str| request["decision"][name].as_u64();
    let (process, file) = (u32::try_from(number("process")?).ok()?, i32::try_from(number("file")?).ok()?);
    sys::file_of_process(process, file).ok().map(File::from)
}

pub(super) fn serve(stream: &UnixStream, first: &Value, serve: &Serve, held: &AtomicBool) {
    let Some(decision) = decision(first) else {
        reply(stream, &refusal("request", "a session has a file that decides how it ends"));
        return;
    };
    if held.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_err() {
        reply(stream, &is_held());
        return;
    }
    let _hold = Hold(held);
    let begun = guarded(stream, serve, first);
    if begun["ok"] != json!(true) {
        reply(stream, &begun);
        return;
    }
    let ran = begun["stage"] == json!("running");
    let forward = first["forward"].as_array().cloned().unwrap_or_default();
    let mut session = Session { stream, serve, undo: Vec::new(), forward };
    let asked_for_end = reply(stream, &begun) && session.converse();
    let mut decided = [0];
    let _ = decision.read_at(&mut decided, 0);
    let ended = session.end(decided[0], ran || first["go"] == json!(true), ran);
    if asked_for_end {
        reply(stream, &ended);
    }
}

struct Session<'s> {
    stream: &'s UnixStream,
    serve: &'s Serve,
    /// What undoes what was done, in the order in which that was done.
    undo: Vec<Value>,
    /// What is still to be done where it is decided to go on.
    forward: Vec<Value>,
}

impl Session<'_> {
    /// Serves requests. Whether the last one asks for the end.
    fn converse(&mut self) -> bool {
        let _ = self.stream.set_read_timeout(None);
        let mut lines = BufReader::new(self.stream);
        loop {
            let mut line = Vec::new();
            match (&mut lines).take(super::REQUEST).read_until(b'\n', &mut line) {
                Ok(1..) if line.ends_with(b"\n") => {}
                _ => return false,
            }
            let request = serde_json::from_slice::<Value>(&line).unwrap_or_default();
            let answer = match request["request"].as_str() {
                Some("end") => return true,
                Some("forward") => self.go_forward(),
                _ => guarded(self.stream, self.serve, &request),
            };
            if answer["ok"] == json!(true) && answer["undo"].is_object() {
                self.undo.push(answer["undo"].clone());
            }
            if !reply(self.stream, &answer) {
                return false;
            }
        }
    }

    /// Does what the session was begun for; the first that goes wrong is the answer.
    fn go_forward(&mut self) -> Value {
        let mut last = json!({ "ok": true });
        for request in std::mem::take(&mut self.forward) {
            last = guarded(self.stream, self.serve, &request);
            if last["ok"] != json!(true) {
                break;
            }
        }
        last
    }

    fn end(mut self, decided: u8, goes: bool, ran: bool) -> Value {
        let mut last = json!({ "ok": true });
        let goes = match decided {
            KEEP => false,
            GO => {
                last = self.go_forward();
                goes
            }
            _ => {
                for request in std::mem::take(&mut self.undo).iter().rev() {
                    let undone = guarded(self.stream, self.serve, request);
                    if undone["ok"] != json!(true) {
                        log::error(format_args!(
                            "what was begun with the job could not be undone: {}",
                            undone["error"]
                        ));
                        last = undone;
                    }
                }
                ran
            }
        };
        if goes {
            super::arrival::forget();
            let gone_on = guarded(self.stream, self.serve, &json!({ "request": "resume" }));
            if last["ok"] == json!(true) {
                last = gone_on;
            }
        }
        last
    }
}

/// A session with another process, from the side of him who asks.
#[derive(Debug)]
pub struct Held {
    pub pid: u32,
    stream: UnixStream,
}

impl Held {
    /// Begins one; what comes of it is heard.
    pub fn begin(pid: u32, request: &Value) -> Result<Self, Silence> {
        let stream = connect(&folder_of(pid), pid)?;
        say(&stream, request)?;
        Ok(Self { pid, stream })
    }

    pub fn say(&self, request: &Value) -> Result<(), Silence> {
        say(&self.stream, request)
    }

    /// The answer to what was said. `tell` gets what comes before it; `patience` is how long nothing may come.
    pub fn hear(&self, patience: Duration, tell: &dyn Fn(Value)) -> Result<Value, Silence> {
        // Nothing comes behind an answer before the next request.
        hear(&mut BufReader::new(&self.stream), patience, tell)
    }
}
