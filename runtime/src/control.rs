//! How others ask a process about its job: a socket in the folder of the user's where `presence` has its files.
//!
//! Process 12 listens at `12.sock`, which only its user can open; whoever connects is also asked for the user that he is. A
//! request is one line of JSON, an object with a `request`. The answer is lines too: events, and an object with `ok`
//! at the end. What is no request, too long or only half there is answered with an error, or not at all, and does nothing.

mod arrival;
mod limit;
mod requests;
pub mod session;

use crate::presence::{self, folder, start_of};
use crate::{Runtime, log, sys};
use limit::Limits;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Of the requests and answers; a different one is not spoken to.
pub const VERSION: u64 = 1;
/// Bytes of a request.
const REQUEST: u64 = 16 << 10;
/// Bytes of a line of an answer.
const ANSWER: u64 = 4 << 20;
/// How long somebody may take to say what he wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that are served at the same time.
const MOST: u32 = 8;

/// Takes the lines of an answer before its last.
type Tell<'t> = &'t dyn Fn(Value);

/// Where a process listens.
fn path_of(folder: &Path, pid: u32) -> PathBuf {
    folder.join(format!("{pid}.sock"))
}

/// Listens for as long as the process lives; on a thread of its own.
pub fn listen(runtime: &'static Runtime) {
    let folder = folder();
    let serve = move |request: &Value, tell: Tell<'_>| requests::serve(runtime, request, tell);
    if let Err(error) = start(&folder, Arc::new(serve)) {
        log::info(format_args!("the job of this process cannot be asked for: {}: {error}", folder.display()));
    }
}

/// Serves a request of this process to itself.
pub fn answer(runtime: &Runtime, request: &Value) -> Value {
    requests::serve(runtime, request, &|_| {})
}

/// The thread that listens, or 0.
static THREAD: AtomicU32 = AtomicU32::new(0);

type Serve = dyn Fn(&Value, Tell<'_>) -> Value + Send + Sync;

fn start(folder: &Path, serve: Arc<Serve>) -> io::Result<()> {
    presence::make_folder(folder)?;
    let path = path_of(folder, std::process::id());
    // A number is used again when its process is gone.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    // A child that is forked does not answer for its parent.
    sys::close_in_children(listener.as_raw_fd());
    std::thread::Builder::new().name("hetgpu-control".into()).spawn(move || {
        sys::leave_signals_to_others();
        THREAD.store(sys::thread(), Ordering::Relaxed);
        accept(&listener, &serve);
    })?;
    Ok(())
}

fn accept(listener: &UnixListener, serve: &Arc<Serve>) {
    let (served, held) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let limits = Arc::new(Limits::default());
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // Files may have run out; they do not come back sooner for being asked for.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if served.fetch_add(1, Ordering::AcqRel) >= MOST {
            served.fetch_sub(1, Ordering::AcqRel);
            reply(&stream, &refusal("busy", "too many ask at the same time"));
            continue;
        }
        let (serve, leave, held) = (Arc::clone(serve), Arc::clone(&served), Arc::clone(&held));
        let limits = Arc::clone(&limits);
        let thread = std::thread::Builder::new().name("hetgpu-control".into()).spawn(move || {
            sys::leave_signals_to_others();
            converse(&stream, &serve, &held, &limits);
            leave.fetch_sub(1, Ordering::AcqRel);
        });
        if thread.is_err() {
            served.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// What may be asked of a job also while somebody holds it.
const ALWAYS: [&str; 4] = ["status", "check", "changes", "abort"];

/// Serves one request, or all of a session. `held` says whether the job is held by one.
fn converse(stream: &UnixStream, serve: &Arc<Serve>, held: &AtomicBool, limits: &Arc<Limits>) {
    let own = presence::user();
    match sys::peer(stream.as_raw_fd()) {
        Some((_, user)) if user == own || user == 0 => {}
        Some((pid, user)) => {
            log::warn(format_args!("process {pid} of user {user} may not ask about the job of this process"));
            return;
        }
        None => return,
    }
    let line = match request(stream) {
        Heard::Line(line) => line,
        Heard::Nothing => return,
        Heard::Part => {
            log::warn(format_args!("a request about the job of this process was too long, or came only in part"));
            return;
        }
    };
    let parsed = serde_json::from_slice::<Value>(&line).ok().filter(Value::is_object);
    let mut loads = false;
    let last = match parsed {
        Some(parsed) if parsed["request"] == json!(session::FIRST) => {
            return session::serve(stream, &parsed, serve.as_ref(), held);
        }
        Some(parsed)
            if held.load(Ordering::Acquire)
                && parsed["request"].as_str().is_none_or(|what| !ALWAYS.contains(&what)) =>
        {
            session::is_held()
        }
        Some(parsed) => {
            let answer = guarded(stream, serve.as_ref(), &parsed);
            limits.note(serve, &parsed, &answer);
            arrival::note(serve, &parsed, &answer);
            loads = parsed["request"] == json!("load") && answer["ok"] == json!(true);
            answer
        }
        None => {
            log::warn(format_args!("a request about the job of this process is no object of JSON"));
            refusal("request", "a request is one line with an object of JSON")
        }
    };
    if reply(stream, &last) {
        return;
    }
    if loads && arrival::came_back() {
        // Who brought it back was gone before he heard that it has its devices again.
        arrival::end();
    }
    if last["let_go"] == json!(true) {
        // Who wanted the devices to go is gone: nobody knows where the job is.
        log::warn(format_args!("the job was saved for somebody who is gone: it goes on"));
        for request in ["load", "resume"] {
            serve(&json!({ "request": request }), &|_| {});
        }
    }
}

/// Serves a request, whatever becomes of it.
fn guarded(stream: &UnixStream, serve: &Serve, request: &Value) -> Value {
    safely(serve, request, &|event| _ = reply(stream, &event))
}

fn safely(serve: &Serve, request: &Value, tell: Tell<'_>) -> Value {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| serve(request, tell)));
    done.unwrap_or_else(|_| refusal("failed", "internal error"))
}

/// What came of who connected.
enum Heard {
    /// A line, without its end.
    Line(Vec<u8>),
    /// He only looked whether anybody listens.
    Nothing,
    /// It did not end in time, or is too long.
    Part,
}

fn request(stream: &UnixStream) -> Heard {
    let until = Instant::now() + PATIENCE;
    let mut line = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Heard::Part;
        }
        match (&mut &*stream).read(&mut piece) {
            Ok(0) if line.is_empty() => return Heard::Nothing,
            Ok(0) => return Heard::Part,
            Ok(count) => line.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Heard::Part,
        }
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            line.truncate(end);
            return Heard::Line(line);
        }
        if line.len() as u64 >= REQUEST {
            return Heard::Part;
        }
    }
}

/// Who asked may have gone: whether he has not.
fn reply(stream: &UnixStream, line: &Value) -> bool {
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let mut text = line.to_string();
    text.push('\n');
    (&mut &*stream).write_all(text.as_bytes()).is_ok()
}

fn refusal(kind: &str, text: &str) -> Value {
    json!({ "ok": false, "kind": kind, "error": text })
}

/// Why a process was not asked, or did not answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Silence {
    /// There is no such process.
    Gone,
    /// It has no job, or is another user's.
    NotListening(String),
    /// What it says cannot be understood.
    Strange(String),
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("there is no such process"),
            Self::NotListening(why) => write!(f, "it uses no device by way of hetGPU, or is another user's ({why})"),
            Self::Strange(why) => write!(f, "it answers in a way that is not understood: {why}"),
        }
    }
}

/// Asks a process. `tell` gets what comes before the answer; `patience` is how long nothing may come.
pub fn ask(pid: u32, request: &Value, patience: Duration, tell: Tell<'_>) -> Result<Value, Silence> {
    ask_at(&folder_of(pid), pid, request, patience, tell)
}

/// Where a process listens, if it does.
fn folder_of(pid: u32) -> PathBuf {
    let listens = presence::folders().into_iter().find(|folder| path_of(folder, pid).exists());
    listens.unwrap_or_else(folder)
}

/// Whether who is at the other end of a socket may ask this user's processes, by what the system says of him.
pub fn may_ask(stream: &UnixStream) -> bool {
    sys::peer(stream.as_raw_fd()).is_some_and(|(_, user)| user == presence::user() || user == 0)
}

fn ask_at(folder: &Path, pid: u32, request: &Value, patience: Duration, tell: Tell<'_>) -> Result<Value, Silence> {
    let stream = connect(folder, pid)?;
    say(&stream, request)?;
    hear(&mut BufReader::new(&stream), patience, tell)
}

fn deaf(error: io::Error) -> Silence {
    Silence::NotListening(error.to_string())
}

fn connect(folder: &Path, pid: u32) -> Result<UnixStream, Silence> {
    if start_of(pid).is_none() {
        return Err(Silence::Gone);
    }
    let stream = UnixStream::connect(path_of(folder, pid)).map_err(deaf)?;
    // Somebody else who has the socket answers for nobody.
    if sys::peer(stream.as_raw_fd()).is_none_or(|(listens, _)| listens != pid) {
        return Err(Silence::NotListening("the socket is another process's".into()));
    }
    Ok(stream)
}

fn say(stream: &UnixStream, request: &Value) -> Result<(), Silence> {
    (&mut &*stream).write_all(format!("{request}\n").as_bytes()).map_err(deaf)
}

/// The lines of an answer, of which `tell` gets all but the last; `patience` is how long nothing may come.
fn hear(lines: &mut BufReader<&UnixStream>, patience: Duration, tell: Tell<'_>) -> Result<Value, Silence> {
    lines.get_ref().set_read_timeout(Some(patience)).map_err(deaf)?;
    loop {
        let mut line = String::new();
        let count = (&mut *lines).take(ANSWER).read_line(&mut line);
        match count {
            Ok(_) if line.ends_with('\n') => {}
            Ok(_) => return Err(Silence::Strange("it stopped in its answer".into())),
            Err(error) => return Err(Silence::Strange(error.to_string())),
        }
        let parsed: Value = serde_json::from_str(&line).map_err(|error| Silence::Strange(error.to_string()))?;
        if parsed.get("ok").is_some() {
            return Ok(parsed);
        }
        tell(parsed);
    }
}

#[cfg(test)]
mod tests;
