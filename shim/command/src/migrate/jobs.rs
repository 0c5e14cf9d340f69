//! `checkpoint`, `restore`, `verify`, and `inspect` of files.

use super::criu::{self, Criu};
use super::folder::{self, Folder, Manifest, SNAPSHOT};
use super::shelf::Ahead;
use super::show::{Show, size};
use super::{LONG_PATIENCE, NAME, PATIENCE, ask_shown, number, process, silent, trouble};
use crate::line::Line;
use crate::{Outcome, Stop, refused, say};
use hetgpu_checkpoint::{Snapshot, SystemDisk};
use hetgpu_runtime::{control, presence};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a process that came back may take to answer.
pub(super) const ARRIVAL: Duration = Duration::from_secs(10);

pub(super) fn status(pid: u32) -> Result<Value, Stop> {
    control::ask(pid, &json!({ "request": "status" }), PATIENCE, &|_| {}).map_err(|silence| silent(pid, &silence))
}

fn folder_of(line: &Line) -> Result<PathBuf, Stop> {
    match &line.arguments[..] {
        [folder] => Ok(folder.into()),
        _ => Err(refused("one folder of a checkpoint is wanted")),
    }
}

fn seconds(answer: &Value, name: &str) -> f64 {
    answer[name].as_f64().unwrap_or(0.0)
}

fn bytes(answer: &Value, name: &str) -> String {
    size(answer[name].as_u64().unwrap_or(0))
}

fn names(status: &Value) -> Vec<String> {
    let devices = status["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
    devices.iter().filter_map(|device| device["name"].as_str()).map(str::to_owned).collect()
}

/// What a checkpoint of a job says of it.
pub(super) fn describe(pid: u32, status: &Value, identity: &Value) -> Manifest {
    Manifest {
        pid,
        start: presence::start_of(pid).unwrap_or(0),
        boot: folder::boot(),
        host: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        program: status["program"].as_str().unwrap_or_default().to_owned(),
        sockets: presence::folder(),
        identity: identity.as_str().unwrap_or_default().to_owned(),
        devices: names(status),
        images: None,
        pipes: criu::pipes(pid),
        files: Vec::new(),
        group: Vec::new(),
        part: false,
    }
}

pub(super) fn checkpoint(line: &Line) -> Outcome {
    let pid = super::pid(line)?;
    let out = line.value("-o").ok_or_else(|| refused("-o names the folder that is to hold the checkpoint"))?;
    let show = Show::new(line);
    let gpu_only = line.has("--gpu-only");
    // All that may be missing is looked for before anything is done.
    let criu = if gpu_only { None } else { Some(Criu::find_for(pid)?) };
    let group = super::together::group_of(pid, criu.is_some())?;
    let single = group.is_alone() && group.members[0].pid == pid;
    let before = group.members[0].status.clone();
    let user = process::user(pid).ok_or_else(|| trouble(3, format!("process {pid}: there is no such process")))?;
    let folder = Folder::make(Path::new(out), user)?;
    let pids: Vec<u32> = group.pids().collect();
    let made = match single {
        true => save(line, &show, pid, &before, &folder, criu.as_ref()).map(|answer| (answer, group)),
        false => super::together::save(line, &show, pid, group, &folder, criu.as_ref()),
    };
    let (answer, group) = match made {
        Ok(made) => made,
        Err(Stop { status, mut text }) => {
            if pids.into_iter().any(status_of_snapshot) {
                text +=
                    &format!("; the job stands still, and is in {0}: `{NAME} restore {0}`", folder.path().display());
            } else {
                super::together::discard(&folder);
            }
            return Err(Stop { status, text });
        }
    };
    show.end(&answer, || {
        let place = folder.path().display();
        let (all, file) = (bytes(&answer, "bytes"), bytes(&answer, "file"));
        let what = format!("{all} of device memory, {file} in the snapshot{}", group.others());
        match (criu.is_some(), line.has("--leave-running")) {
            (true, false) => {
                format!("process {pid} is in {place} and has ended; {what}; `{NAME} restore {place}` brings it back")
            }
            (false, false) => {
                format!(
                    "the devices of process {pid} are in {place}, and it stands still; {what}; `{NAME} restore {place}`"
                )
            }
            (_, true) => {
                let frozen = seconds(&answer, "freeze_ms");
                format!("process {pid} is in {place} and goes on; it stood still for {frozen:.1} ms; {what}")
            }
        }
    });
    Ok(0)
}

/// Whether a job is in a snapshot and nowhere else. Where it does not say, it may be.
pub(super) fn status_of_snapshot(pid: u32) -> bool {
    let now = status(pid);
    let devices = now.as_ref().ok().and_then(|now| now["devices"].as_array());
    match devices {
        Some(devices) => devices.iter().any(|device| !device["snapshot"].is_null()),
        None => process::state(pid).is_some(),
    }
}

fn save(
    line: &Line,
    show: &Show,
    pid: u32,
    before: &Value,
    folder: &Folder,
    criu: Option<&Criu>,
) -> Result<Value, Stop> {
    let leaves = line.has("--leave-running");
    let base = line.value("--base").map(|base| folder.link(Path::new(base))).transpose()?;
    // It gets back what it had without reading it.
    let whole = leaves && criu.is_some();
    let Early { base, mut ahead } = match leaves {
        true => early(show, pid, before, folder, base, whole)?,
        false => Early { base, ahead: None },
    };
    let saver = criu.map(|criu| criu.ready(pid, folder)).transpose()?;
    show.phase("devices");
    let start = Instant::now();
    let request = json!({
        "request": "save",
        "folder": folder.path(),
        "name": SNAPSHOT,
        "base": base,
        "let_go": criu.is_some() || !leaves,
        "process": criu.is_some(),
        "copy": true,
        // What outlives the process is made to last when it goes on.
        "fleeting": whole,
        "max_freeze_ms": number(line, "--max-freeze")?,
    });
    let mut answer = ask_shown(show, pid, &request, LONG_PATIENCE)?;
    let mut manifest = describe(pid, before, &answer["identity"]);
    // So it can be restored into the process, whatever becomes of this command.
    folder.finish(&manifest, !whole).inspect_err(|_| put_back(pid, criu.is_some() || !leaves))?;
    let Some(saver) = saver else { return Ok(answer) };
    // From here on the job is in the snapshot alone, and its process stands still: whatever fails, it goes on from there.
    let saved = || -> Result<(), Stop> {
        show.phase("process");
        let (dumped, back) = std::thread::scope(|scope| {
            let lent = scope.spawn(|| ahead.as_mut().and_then(|ahead| ahead.lend(folder.path(), SNAPSHOT)));
            (saver.dump(), lent.join().ok().flatten())
        });
        dumped?;
        manifest.files = criu::written_files(pid)?;
        if leaves {
            show.phase("resuming");
            process::go_on(pid);
            let lent = back.map(|back| load(show, pid, folder, back.snapshot, &Value::Null, &back.lent.words));
            Ahead::over(folder.path());
            // Who cannot be lent it reads it.
            if lent.is_none_or(|lent| lent.is_err()) {
                load(show, pid, folder, SNAPSHOT, &Value::Null, &Value::Null)?;
            }
            resume(show, pid)?;
            answer["freeze_ms"] = json!(start.elapsed().as_secs_f64() * 1e3);
        }
        manifest.images = Some(folder.images()?);
        folder.finish(&manifest, true)
    };
    if let Err(stop) = saved() {
        Ahead::over(folder.path());
        process::go_on(pid);
        put_back(pid, true);
        return Err(stop);
    }
    if !leaves {
        process::end(pid);
    }
    Ok(answer)
}

/// What is done for a job that is left running before it stops.
struct Early {
    /// The snapshot that the last one is built on.
    base: Option<String>,
    /// What it gets back then.
    ahead: Option<Ahead>,
}

/// Writes most of a job while it runs; of a `whole` one again and again, until little is left to be looked at while it stands still.
fn early(
    show: &Show,
    pid: u32,
    before: &Value,
    folder: &Folder,
    base: Option<String>,
    whole: bool,
) -> Result<Early, Stop> {
    /// What is written in less time leaves next to nothing.
    const SHORT: Duration = Duration::from_millis(200);
    const ROUNDS: u32 = 3;
    /// So many snapshots in a chain are used up by this; what is beyond them is for those who build on them.
    const DEPTHS: u32 = hetgpu_checkpoint::DEPTH / 2;
    let tells = tells_changes(pid, before);
    if !whole && (base.is_some() || !tells) {
        return Ok(Early { base, ahead: None });
    }
    show.phase("running");
    let write = |name: &str, base: Option<&str>| {
        let small = base.is_some();
        let early = json!({
            "request": "save", "folder": folder.path(), "name": name, "base": base, "running": true, "fleeting": small,
        });
        ask_shown(show, pid, &early, LONG_PATIENCE)
    };
    let mut base = match base {
        Some(base) => base,
        None => {
            write(folder::BEFORE, None)?;
            folder::BEFORE.to_owned()
        }
    };
    let mut ahead = if whole { Ahead::of(folder.path(), &base) } else { None };
    for round in 1..=ROUNDS {
        let Some(known) = ahead.as_mut().filter(|known| tells && known.depth() + 2 <= DEPTHS) else { break };
        let (start, name) = (Instant::now(), format!("{}-{round}", folder::BEFORE));
        write(&name, Some(&base))?;
        if known.take(folder.path(), &name).is_none() {
            ahead = None;
        }
        base = name;
        if start.elapsed() < SHORT {
            break;
        }
    }
    Ok(Early { base: Some(base), ahead })
}

/// Whether all devices of a job tell what changes on them.
fn tells_changes(pid: u32, before: &Value) -> bool {
    let count = before["devices"].as_array().map_or(0, Vec::len);
    (0..count).all(|device| {
        let request = json!({ "request": "changes", "device": device, "watch_ms": 0 });
        control::ask(pid, &request, LONG_PATIENCE, &|_| {}).is_ok_and(|answer| answer["changes"].is_number())
    })
}

/// Lets a job go on whose devices were saved, after something else failed.
pub(super) fn put_back(pid: u32, let_go: bool) {
    /// Somebody may have it give up, once.
    const TRIES: u32 = 2;
    if !let_go {
        return;
    }
    for _ in 0..TRIES {
        let loaded = control::ask(pid, &json!({ "request": "load" }), LONG_PATIENCE, &|_| {});
        if loaded.is_ok_and(|answer| answer["ok"] == json!(true)) {
            break;
        }
    }
    let _ = control::ask(pid, &json!({ "request": "resume" }), PATIENCE, &|_| {});
}

/// Puts the contents of a folder onto devices.
fn load(show: &Show, pid: u32, folder: &Folder, name: &str, to: &Value, memory: &Value) -> Result<Value, Stop> {
    let request = json!({ "request": "load", "folder": folder.path(), "name": name, "to": to, "memory": memory });
    ask_shown(show, pid, &request, LONG_PATIENCE)
}

fn resume(show: &Show, pid: u32) -> Result<(), Stop> {
    ask_shown(show, pid, &json!({ "request": "resume" }), PATIENCE).map(drop)
}

pub(super) fn restore(line: &Line) -> Outcome {
    let folder = Folder::open(&folder_of(line)?)?;
    let manifest = folder.manifest()?;
    let show = Show::new(line);
    let snapshot = folder.snapshot()?;
    if manifest.part {
        let text = format!(
            "{}: it is a part of a checkpoint of several processes, which the folder above it is",
            folder.path().display()
        );
        return Err(trouble(2, text));
    }
    if snapshot.identity().to_string() != manifest.identity {
        return Err(trouble(8, format!("{}: its snapshot is another job's", folder.path().display())));
    }
    let to: Vec<Value> = match line.value("--to") {
        // By number, as the program has them.
        Some(names) => names.split(',').map(|name| if name.is_empty() { Value::Null } else { json!(name) }).collect(),
        None => Vec::new(),
    };
    let pid = manifest.pid;
    let here = manifest.boot == folder::boot() && process::lives(pid, manifest.start);
    if !manifest.group.is_empty() {
        let (answer, group) = super::together::restore(line, &show, &folder, &manifest, &json!(to), here)?;
        show.end(&answer, || {
            let (took, others) = (seconds(&answer, "freeze_ms"), group.others());
            let first = group.members[0].pid;
            format!("process {first} goes on; {} were put back in {took:.0} ms{others}", bytes(&answer, "bytes"))
        });
        return Ok(0);
    }
    let answer = match (here, &manifest.images) {
        (true, _) => restore_living(line, &show, &folder, &manifest, &json!(to))?,
        (false, Some(_)) => {
            check_files(&manifest, line.has("--cut-files"))?;
            restore_process(&show, &folder, &manifest, &json!(to))?
        }
        (false, None) => {
            let text = format!("process {pid} is gone, and this is a snapshot of its devices alone");
            return Err(trouble(3, text));
        }
    };
    show.end(&answer, || {
        let took = seconds(&answer, "freeze_ms");
        format!("process {pid} goes on; {} were put back in {took:.0} ms", bytes(&answer, "bytes"))
    });
    Ok(0)
}

/// The flag without which nothing is put into a job that has gone on: who asks once more for what was done already must not undo what
/// the job has done since.
const REWIND: &str = "--rewind";

/// Whether a job that has gone on may be rewound.
pub(super) fn may_rewind(line: &Line, who: &str) -> Result<(), Stop> {
    let text = format!(
        "{who} went on since this was written: {REWIND} puts the contents of memory back to what they were then, and nothing else"
    );
    if line.has(REWIND) { Ok(()) } else { Err(trouble(5, text)) }
}

/// The process is still there.
fn restore_living(line: &Line, show: &Show, folder: &Folder, manifest: &Manifest, to: &Value) -> Result<Value, Stop> {
    let pid = manifest.pid;
    process::go_on(pid);
    let now = status(pid)?;
    let devices = now["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
    show.phase("devices");
    if devices.iter().any(|device| device["snapshot"]["identity"] == json!(manifest.identity)) {
        let answer = load(show, pid, folder, SNAPSHOT, to, &Value::Null)?;
        resume(show, pid)?;
        return Ok(answer);
    }
    if manifest.images.is_some() {
        let text =
            format!("process {pid}, of which this is a checkpoint, runs: end it first, since it cannot be there twice");
        return Err(trouble(5, text));
    }
    may_rewind(line, &format!("process {pid}"))?;
    let request = json!({ "request": "rewind", "folder": folder.path(), "name": SNAPSHOT });
    ask_shown(show, pid, &request, LONG_PATIENCE)
}

/// Files that the job had open for writing are as long as they were: it goes on where it stood in them.
pub(super) fn check_files(manifest: &Manifest, cuts: bool) -> Result<(), Stop> {
    let now = |path: &Path| std::fs::metadata(path).map(|about| about.len());
    for (path, bytes) in &manifest.files {
        let found = now(path).map_err(|error| super::io_trouble(path, "the job had it open", &error))?;
        let place = path.display();
        match () {
            () if found < *bytes => {
                return Err(trouble(
                    8,
                    format!("{place}: it has {found} bytes, and had {bytes} when the job was saved"),
                ));
            }
            () if found > *bytes && !cuts => {
                let text = format!(
                    "{place}: it has {found} bytes, and had {bytes} when the job was saved, which would write the rest again: \
                     --cut-files cuts it to what it was"
                );
                return Err(trouble(8, text));
            }
            () => {}
        }
    }
    for (path, bytes) in &manifest.files {
        if now(path).is_ok_and(|found| found > *bytes) {
            let cut = std::fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(*bytes));
            cut.map_err(|error| super::io_trouble(path, "cutting it", &error))?;
        }
    }
    Ok(())
}

/// The process comes back from its image.
fn restore_process(show: &Show, folder: &Folder, manifest: &Manifest, to: &Value) -> Result<Value, Stop> {
    let from = From { folder, manifest, name: SNAPSHOT, checked: false, memory: &Value::Null };
    let criu = Criu::find()?;
    bring_back(show, &from, &mut || criu.restore(manifest, folder), to, &|| Ok(()))
}

/// Where a job comes back from.
pub(super) struct From<'f> {
    pub(super) folder: &'f Folder,
    pub(super) manifest: &'f Manifest,
    /// The snapshot in it.
    pub(super) name: &'f str,
    /// Nobody can have changed the folder since it was written.
    pub(super) checked: bool,
    /// Memory that need not be read from the folder, as the job is told of it.
    pub(super) memory: &'f Value,
}

/// Brings a process back by `revive`, puts its contents onto devices, and lets it go on after `before` has been done. Where that fails
/// nothing of it is left but the folder.
pub(super) fn bring_back(
    show: &Show,
    from: &From<'_>,
    revive: &mut dyn FnMut() -> Result<(), Stop>,
    to: &Value,
    before: &dyn Fn() -> Result<(), Stop>,
) -> Result<Value, Stop> {
    let From { folder, manifest, name, checked, memory } = *from;
    let pid = manifest.pid;
    let asked = Instant::now();
    while let Some(who) = process::who_has_the_number_of(pid) {
        if asked.elapsed() > criu::TAKEN {
            return Err(trouble(5, who));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    show.phase("process");
    // CRIU believes what it reads.
    let images = manifest.images.as_deref().filter(|_| !checked).unwrap_or_default();
    let damage = folder.damage(images);
    if !damage.is_empty() {
        return Err(trouble(8, damage.join("; ")));
    }
    // It listens there, as it did.
    presence::make_folder(&manifest.sockets)
        .map_err(|error| super::io_trouble(&manifest.sockets, "making it", &error))?;
    revive()?;
    let back = || {
        let arrived = Instant::now();
        while status(pid).is_err() && arrived.elapsed() < ARRIVAL && process::state(pid).is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
        show.phase("devices");
        let request = json!({ "request": "load", "folder": folder.path(), "name": name, "to": to, "memory": memory });
        let answer = ask_shown(show, pid, &request, LONG_PATIENCE)?;
        before()?;
        resume(show, pid)?;
        Ok(answer)
    };
    // It has done nothing yet, and the checkpoint is whole: it can be restored again.
    back().inspect_err(|_| process::end(pid))
}

pub(super) fn verify(line: &Line) -> Outcome {
    let path = folder_of(line)?;
    let json = line.has("--json");
    let disk = Arc::new(SystemDisk) as _;
    let (verdict, mut damage) = if path.is_dir() {
        let folder = Folder::open(&path)?;
        let manifest = folder.manifest()?;
        let verdict = hetgpu_checkpoint::verify(&disk, &folder.snapshot_path(), 0);
        (verdict, manifest.images.map(|images| folder.damage(&images)).unwrap_or_default())
    } else {
        (hetgpu_checkpoint::verify(&disk, &path, 0), Vec::new())
    };
    let whole = verdict.is_whole() && damage.is_empty();
    if json {
        say(json!({ "whole": whole, "snapshot": verdict.json(), "process": damage }));
    } else {
        if !verdict.is_whole() {
            damage.insert(0, verdict.to_string());
        }
        match whole {
            true => say(format_args!("{}: all of it was read, and it is what was written", path.display())),
            false => damage.iter().for_each(say),
        }
    }
    Ok(if whole { 0 } else { 8 })
}

/// A checkpoint or a snapshot, as people or programs want it.
pub(super) fn inspect(line: &Line, path: &Path) -> Outcome {
    let disk: Arc<dyn hetgpu_checkpoint::Disk> = Arc::new(SystemDisk);
    let open = |path: &Path| Snapshot::open(&disk, path).map_err(|error| trouble(8, error.to_string()));
    let (manifest, snapshot) = if path.is_dir() {
        let folder = Folder::open(path)?;
        (Some(folder.manifest()?), folder.snapshot()?)
    } else {
        (None, open(path)?)
    };
    let summary = snapshot.summary();
    if line.has("--json") {
        say(json!({ "job": manifest.as_ref().map(Manifest::show), "snapshot": summary.json() }));
        return Ok(0);
    }
    if let Some(manifest) = &manifest {
        let images = manifest.images.as_ref().map(|images| images.iter().map(|image| image.bytes).sum::<u64>());
        let process = images.map_or("only its devices".to_owned(), |bytes| format!("its process in {}", size(bytes)));
        let (pid, program, host) = (manifest.pid, &manifest.program, &manifest.host);
        say(format_args!("process {pid} of {host}, {program}, on {}; {process}", manifest.devices.join(", ")));
    }
    say(summary);
    Ok(0)
}
