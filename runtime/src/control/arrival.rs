//! A process that came back, and that nobody lets go on.
//!
//! A job that is saved with its process (`save` with `process`) comes back by a command that puts its devices back and lets it go on. A command
//! that is killed before that leaves a process that has done nothing yet, and that nobody knows of: whoever had the job brings it back once more,
//! or has it still. So it ends. That it came back it sees by when it began: another time, or another boot of the system.

use super::Serve;
use crate::{log, presence, sys};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long a command may take to ask for anything after it brought the process back.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a process began, and in which boot of its system.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Birth(Option<u64>, String);

impl Birth {
    fn of_this_process() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self(presence::start_of(std::process::id()), boot)
    }

    /// Whether this process is one that was brought back since. Who cannot see that takes it for the same.
    fn is_another(&self, now: &Self) -> bool {
        let (Self(Some(start), boot), Self(Some(now), now_boot)) = (self, now) else { return false };
        start.abs_diff(*now) > 1 || boot != now_boot
    }
}

/// When the process began that was saved, until it goes on.
static SAVED: Mutex<Option<Birth>> = Mutex::new(None);

fn saved() -> Option<Birth> {
    SAVED.lock().unwrap_or_else(|e| e.into_inner()).clone()
}

/// Whether this process was saved, and is one that came back and has not gone on.
pub(super) fn came_back() -> bool {
    saved().is_some_and(|birth| birth.is_another(&Birth::of_this_process()))
}

/// The job goes on, whoever this process is.
pub(super) fn forget() {
    *SAVED.lock().unwrap_or_else(|e| e.into_inner()) = None;
}

/// Ends the process, which has done nothing yet. It says nothing: what it writes to has to be as it was when it is brought back again.
pub(super) fn end() {
    presence::end(std::process::id());
}

/// Takes note of a request: after one that saved the job with its process that is looked after, until one lets it go on.
pub(super) fn note(serve: &Arc<Serve>, request: &Value, answer: &Value) {
    let whole = request["request"] == json!("save") && request["process"] == json!(true);
    let goes_on = request["request"] == json!("resume");
    if !(whole || goes_on) || answer["ok"] != json!(true) {
        return;
    }
    if goes_on {
        return forget();
    }
    let birth = Birth::of_this_process();
    *SAVED.lock().unwrap_or_else(|e| e.into_inner()) = Some(birth.clone());
    let serve = Arc::clone(serve);
    let watches = move || {
        sys::leave_signals_to_others();
        if waits_in_vain(serve.as_ref(), &birth, &Birth::of_this_process, LOOK, PATIENCE) {
            end();
        }
    };
    let thread = std::thread::Builder::new().name("hetgpu-arrival".into()).spawn(watches);
    if let Err(error) = thread {
        log::info(format_args!("nobody looks after a process that comes back: {error}"));
    }
}

/// Waits as long as the job stands still as it was saved. Whether it came back, and nobody asked for anything for so long.
fn waits_in_vain(serve: &Serve, birth: &Birth, now: &dyn Fn() -> Birth, look: Duration, patience: Duration) -> bool {
    let turn = || super::safely(serve, &json!({ "request": "stands" }), &|_| {})["turn"].as_u64();
    let Some(saved) = turn() else { return false };
    let mut back = None::<Instant>;
    loop {
        std::thread::sleep(look);
        if turn() != Some(saved) {
            return false;
        }
        if birth.is_another(&now()) {
            let since = *back.get_or_insert_with(Instant::now);
            if since.elapsed() >= patience {
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn who_came_back_and_is_not_asked_for_anything_waits_in_vain() {
        let birth = |start, boot: &str| Birth(Some(start), boot.into());
        let first = birth(100, "a");
        assert!(!first.is_another(&birth(101, "a")) && first.is_another(&birth(102, "a")));
        assert!(first.is_another(&birth(100, "b")) && !first.is_another(&Birth(None, "b".into())));
        const LOOK: Duration = Duration::from_millis(1);
        // The same process stands still until somebody takes the next turn.
        let asked = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&asked);
        let serve = move |_: &Value, _: super::super::Tell<'_>| {
            let count = counts.fetch_add(1, Ordering::Relaxed);
            json!({ "ok": true, "turn": if count < 30 { 1 } else { 2 } })
        };
        assert!(!waits_in_vain(&serve, &first, &|| first.clone(), LOOK, Duration::ZERO));
        assert_eq!(asked.load(Ordering::Relaxed), 31);
        // One that came back waits for so long.
        let stands = |_: &Value, _: super::super::Tell<'_>| json!({ "ok": true, "turn": 1 });
        let start = Instant::now();
        assert!(waits_in_vain(&stands, &first, &|| birth(500, "a"), LOOK, 30 * LOOK));
        assert!(start.elapsed() >= 30 * LOOK);
        // And one that runs has nothing to wait for.
        let runs = |_: &Value, _: super::super::Tell<'_>| json!({ "ok": false });
        assert!(!waits_in_vain(&runs, &first, &|| birth(500, "a"), LOOK, Duration::ZERO));
    }
}
