use super::*;
use crate::Settings;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, OnceLock};

const SOON: Duration = Duration::from_secs(10);

/// What was done in sessions, and undone.
static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// In a session others are refused: one test at a time.
static SESSION: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    SESSION.lock().unwrap_or_else(|e| e.into_inner())
}

/// One socket for all tests: there is one process.
fn listening() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("hetgpu-control-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let (settings, _) = Settings::read(|_| None);
        let runtime: &'static Runtime = Box::leak(Box::new(Runtime::new(settings, Vec::new())));
        start(
            &folder,
            Arc::new(move |request: &Value, tell: Tell<'_>| {
                if request.get("request").and_then(Value::as_str) == Some("panic") {
                    panic!("for a test");
                }
                // What can be undone, for sessions.
                match request["request"].as_str() {
                    Some("do") => {
                        let number = &request["number"];
                        DONE.lock().unwrap().push(format!("do {number}"));
                        return json!({ "ok": true, "undo": { "request": "undo", "number": number } });
                    }
                    Some("undo") => {
                        DONE.lock().unwrap().push(format!("undo {}", request["number"]));
                        return json!({ "ok": true });
                    }
                    _ => {}
                }
                tell(json!({ "event": "heard" }));
                requests::serve(runtime, request, tell)
            }),
        )
        .unwrap();
        folder
    })
}

fn asked(request: &Value) -> Result<Value, Silence> {
    ask_at(listening(), std::process::id(), request, SOON, &|_| {})
}

/// What comes back for bytes that nobody has checked.
fn raw(bytes: &[u8]) -> String {
    let stream = UnixStream::connect(path_of(listening(), std::process::id())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let _ = (&mut &stream).write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = (&mut &stream).read_to_string(&mut answer);
    answer
}

#[test]
fn a_process_answers_for_itself_and_only_its_user_may_ask() {
    let _one = alone();
    let mut events = std::cell::RefCell::new(Vec::new());
    let request = json!({ "request": "status" });
    let told = |event: Value| events.borrow_mut().push(event);
    let answer = ask_at(listening(), std::process::id(), &request, SOON, &told).unwrap();
    assert_eq!((&answer["ok"], &answer["version"]), (&json!(true), &json!(VERSION)));
    assert_eq!(answer["pid"], json!(std::process::id()));
    assert_eq!(events.get_mut().as_slice(), [json!({ "event": "heard" })]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(listening()), mode(&path_of(listening(), std::process::id()))), (0o700, 0o600));
}

#[test]
fn what_is_no_request_is_refused_and_harms_nobody() {
    let _one = alone();
    for wrong in [&b"\n"[..], b"[1, 2]\n", b"{\"request\": }\n", b"\xff\xfe\n", b"null\n"] {
        assert!(raw(wrong).contains("\"kind\":\"request\""), "{wrong:?}");
    }
    // Half of a request, one that is too long, one that is deeper than anybody needs, none at all.
    assert_eq!(raw(b"{\"request\": \"status\""), "");
    assert_eq!(raw(&vec![b'x'; 1 << 20]), "");
    let deep = [vec![b'['; 8000], b"\n".to_vec()].concat();
    assert!(raw(&deep).contains("\"ok\":false"));
    assert_eq!(raw(b""), "");
    for (request, kind) in [
        (json!({ "request": "dance" }), "request"),
        (json!({ "ask": 1 }), "request"),
        (json!({ "request": "move" }), "request"),
        (json!({ "request": "move", "to": "x", "max_freeze_ms": "soon" }), "request"),
        (json!({ "request": "move", "to": "x" }), "no-device"),
        (json!({ "request": "pause", "device": 7 }), "no-device"),
        (json!({ "request": "panic" }), "failed"),
    ] {
        let answer = asked(&request).unwrap();
        assert_eq!((&answer["ok"], &answer["kind"]), (&json!(false), &json!(kind)), "{request}");
    }
    assert_eq!(asked(&json!({ "request": "status" })).unwrap()["ok"], json!(true));
}

#[test]
fn processes_that_are_not_there_or_do_not_listen_are_told_apart() {
    let _one = alone();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let of = |pid| ask_at(listening(), pid, &json!({}), SOON, &|_| {}).unwrap_err();
    assert_eq!(of(child.id()), Silence::Gone);
    assert!(matches!(of(1), Silence::NotListening(_)));
}

/// Holds this process's job, and does two things with it; what has happened when `end` is over, and what others were told meanwhile.
fn session(forward: &Value, end: impl FnOnce(UnixStream, &std::fs::File)) -> (String, Value) {
    use std::os::fd::AsRawFd;
    let _one = alone();
    DONE.lock().unwrap().clear();
    let decision = std::fs::File::from(crate::memory_file(64).unwrap());
    let named = json!({ "process": std::process::id(), "file": decision.as_raw_fd() });
    let stream = connect(listening(), std::process::id()).unwrap();
    let told = |request: &Value| {
        say(&stream, request).unwrap();
        hear(&mut BufReader::new(&stream), SOON, &|_| {}).unwrap()
    };
    let begun = told(&json!({ "request": "hold", "decision": named, "forward": forward }));
    assert_eq!((&begun["ok"], &begun["stage"]), (&json!(true), &json!("running")));
    for number in [1, 2] {
        assert_eq!(told(&json!({ "request": "do", "number": number }))["ok"], true);
    }
    assert_eq!(asked(&json!({ "request": "status" })).unwrap()["ok"], true);
    let other = asked(&json!({ "request": "do", "number": 9 })).unwrap();
    end(stream, &decision);
    // It is over when others are served again.
    let start = Instant::now();
    while asked(&json!({ "request": "hold me" })).unwrap()["kind"] == "busy" && start.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(1));
    }
    (DONE.lock().unwrap().join(", "), other)
}

#[test]
fn what_was_done_is_undone_when_he_who_did_it_is_gone_undecided() {
    let (done, other) = session(&json!([]), |stream, _| drop(stream));
    assert_eq!((done.as_str(), &other["kind"]), ("do 1, do 2, undo 2, undo 1", &json!("busy")));
}

#[test]
fn what_was_decided_holds_also_when_he_who_decided_is_gone() {
    use std::os::unix::fs::FileExt;
    let forward = json!([{ "request": "do", "number": 3 }]);
    for (what, done) in [(session::GO, "do 1, do 2, do 3"), (session::KEEP, "do 1, do 2")] {
        let (found, _) = session(&forward, |stream, decision| {
            decision.write_all_at(&[what], 0).unwrap();
            drop(stream);
        });
        assert_eq!(found, done);
    }
    let decided = session(&forward, |stream, decision| {
        decision.write_all_at(&[session::GO], 0).unwrap();
        for request in ["forward", "end"] {
            say(&stream, &json!({ "request": request })).unwrap();
            let answer = hear(&mut BufReader::new(&stream), SOON, &|_| {}).unwrap();
            assert_eq!((request, &answer["ok"]), (request, &json!(true)), "{answer}");
        }
    });
    assert_eq!(decided.0, "do 1, do 2, do 3", "and it is done once");
}
