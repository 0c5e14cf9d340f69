//! How long the job may stand still for somebody who does not let it go on, perhaps because he is gone.
//!
//! `pause` and `stands` take `limit_ms`. When that is over the job goes on, unless somebody else has taken charge of it meanwhile: whoever
//! lets it go on, saves it or puts it back has the next turn, and a limit is for one turn.

use super::Serve;
use crate::{log, sys};
use serde_json::{Value, json};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// After this it is tried again, where something else is being done with the job.
const AGAIN: Duration = Duration::from_millis(100);

struct Limit {
    until: Instant,
    /// What is asked then.
    request: Value,
    /// Somebody was told that it did not come about.
    told: bool,
}

#[derive(Default)]
struct State {
    limit: Option<Limit>,
    /// There is a thread that waits.
    watched: bool,
}

#[derive(Default)]
pub(super) struct Limits {
    state: Mutex<State>,
    changed: Condvar,
}

impl Limits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes note of the limit that a request was made with. The last one counts.
    pub(super) fn note(self: &Arc<Self>, serve: &Arc<Serve>, request: &Value, answer: &Value) {
        let asked = request["limit_ms"].as_u64().filter(|_| answer["ok"] == json!(true));
        let (Some(limit), Some(turn)) = (asked, answer["turn"].as_u64()) else { return };
        // As good as never, where it is more than there is time.
        let Some(until) = Instant::now().checked_add(Duration::from_millis(limit)) else { return };
        let request = json!({ "request": "go-on", "turn": turn, "device": request["device"] });
        let mut state = self.lock();
        state.limit = Some(Limit { until, request, told: false });
        self.changed.notify_all();
        if !state.watched {
            let (limits, serve) = (Arc::clone(self), Arc::clone(serve));
            let watches = move || {
                sys::leave_signals_to_others();
                limits.watch(serve.as_ref());
            };
            let thread = std::thread::Builder::new().name("hetgpu-limit".into()).spawn(watches);
            state.watched = thread.is_ok();
            if let Err(error) = thread {
                log::error(format_args!("nobody lets the job go on after its limit: {error}"));
            }
        }
    }

    fn watch(&self, serve: &Serve) {
        let mut state = self.lock();
        loop {
            let Some(limit) = &state.limit else {
                state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner());
                continue;
            };
            let left = limit.until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                state = self.changed.wait_timeout(state, left).unwrap_or_else(|e| e.into_inner()).0;
                continue;
            }
            let Some(Limit { request, mut told, .. }) = state.limit.take() else { continue };
            // Others ask meanwhile.
            drop(state);
            let answer = super::safely(serve, &request, &|_| {});
            state = self.lock();
            if answer["ok"] != json!(true) && state.limit.is_none() {
                // Another command may be at work with the job, and will be done.
                if answer["kind"] != json!("stage") && !std::mem::replace(&mut told, true) {
                    let (why, pid) = (answer["error"].as_str().unwrap_or("?"), std::process::id());
                    log::warn(format_args!(
                        "the job does not go on after its limit: {why}; it is tried again, also by `hetgpu-migrate resume {pid}`"
                    ));
                }
                state.limit = Some(Limit { until: Instant::now() + AGAIN, request, told });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_job_goes_on_after_its_limit_and_the_last_one_counts() {
        let (sender, asked) = mpsc::channel();
        let (sender, limits) = (Mutex::new(sender), Arc::new(Limits::default()));
        let refused = Mutex::new(2);
        let serve: Arc<Serve> = Arc::new(move |request: &Value, _: super::super::Tell<'_>| {
            let _ = sender.lock().unwrap().send(request.clone());
            let mut refused = refused.lock().unwrap();
            *refused -= i32::from(*refused > 0);
            if *refused == 1 { json!({ "ok": false, "error": "busy" }) } else { json!({ "ok": true }) }
        });
        let note = |limit: u64, ok: bool, turn: u64| {
            let request = json!({ "request": "pause", "limit_ms": limit, "device": 1 });
            limits.note(&serve, &request, &json!({ "ok": ok, "turn": turn }));
        };
        note(0, false, 1);
        limits.note(&serve, &json!({ "request": "pause" }), &json!({ "ok": true, "turn": 2 }));
        note(u64::MAX, true, 3);
        note(3_600_000, true, 4);
        note(20, true, 5);
        let wanted = json!({ "request": "go-on", "turn": 5, "device": 1 });
        assert_eq!(asked.recv_timeout(SOON).unwrap(), wanted);
        assert_eq!(asked.recv_timeout(SOON).unwrap(), wanted, "again, since it was refused");
        note(0, true, 6);
        assert_eq!(asked.recv_timeout(SOON).unwrap()["turn"], 6, "and nothing was asked between");
        assert!(asked.recv_timeout(3 * AGAIN).is_err(), "once is enough where it was done");
    }
}
