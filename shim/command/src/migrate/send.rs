//! `send`: a job goes to another machine while it runs, and stands still there only for the end of it.
//!
//! What is on devices goes ahead in rounds: each is a snapshot of the running job, built on the one before, in a folder of this
//! command's; what differs is sent. At the end the job is saved as `checkpoint` saves it, and its process follows. Until the other side
//! says that it has everything the job can go on here, with or without this command (`resume`).

use super::criu::{self, Criu, Ready};
use super::folder::{Folder, Manifest, SNAPSHOT};
use super::group::Group;
use super::show::{Show, size};
use super::{LONG_PATIENCE, ask_shown, jobs, number, process, trouble, way};
use crate::line::Line;
use crate::{Outcome, Stop, refused};
use hetgpu_checkpoint::transport::{self, Budget, Live, Progress};
use hetgpu_checkpoint::wire::{self, Job};
use hetgpu_checkpoint::{Error, ErrorKind, Result, Snapshot, Source};
use hetgpu_runtime::group::named;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Rounds before it is given up: each is built on the one before, and a chain has an end.
const ROUNDS: u32 = 12;
/// How long the job may stand still where nobody says.
const FREEZE: Duration = Duration::from_millis(500);
/// How long the other side is asked whether the job runs there.
const ASKING: Duration = Duration::from_secs(60);

/// Contents without an address: of the snapshot, and files of the process's image behind them.
enum Contents {
    Blob(wire::Blob, u64),
    File(File, u64),
    Text(Vec<u8>),
}

impl Contents {
    fn bytes(&self) -> u64 {
        match self {
            Self::Blob(_, bytes) | Self::File(_, bytes) => *bytes,
            Self::Text(text) => text.len() as u64,
        }
    }
}

/// The job as it was last looked at.
#[derive(Default)]
struct Latest(Option<Arc<Snapshot>>);

impl Latest {
    fn get(&self) -> Result<&Snapshot> {
        self.0.as_deref().ok_or_else(|| Error::new(ErrorKind::Memory, "the job was not looked at"))
    }
}

impl Source for Latest {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.get().and_then(|now| now.read_fresh(at, out)).map_err(io::Error::other)
    }
}

struct Outgoing<'s> {
    pid: u32,
    to: &'s str,
    show: &'s Show,
    criu: Criu,
    before: Value,
    folder: Folder,
    rounds: u32,
    /// The latest snapshot, and the one that it is to be compared with.
    now: Latest,
    older: Option<Arc<Snapshot>>,
    frozen: bool,
    /// Saves the process once it stands still.
    saver: Option<Ready>,
    contents: Vec<Contents>,
    /// The last of the snapshot's that was read.
    read: Mutex<Option<(u32, Vec<u8>)>>,
    /// The transfer.
    session: [u8; 16],
    /// Why something failed here, as the command says it.
    stop: RefCell<Option<Stop>>,
}

impl Outgoing<'_> {
    /// What failed here, as the transport takes it.
    fn failed(&self, stop: Stop) -> Error {
        let text = stop.text.clone();
        self.stop.replace(Some(stop));
        Error::new(ErrorKind::Memory, text)
    }

    fn save(&self, name: &str, last: bool) -> Result<()> {
        let base = self.now.0.as_ref().map(|now| now.name());
        let request = json!({
            "request": "save", "folder": self.folder.path(), "name": name, "base": base, "running": !last, "let_go": last,
            "process": last, "fleeting": true,
        });
        let quiet = |stop| self.failed(stop);
        ask_shown(self.show, self.pid, &request, LONG_PATIENCE).map(drop).map_err(quiet)
    }

    /// Looks at what was saved last.
    fn look(&mut self, name: &str) -> Result<()> {
        let path = self.folder.path().join(format!("{name}.{}", hetgpu_checkpoint::EXTENSION));
        let disk = Arc::new(hetgpu_checkpoint::SystemDisk) as _;
        let snapshot = Snapshot::open_on(&disk, &path, self.now.0.as_ref())?;
        let before = self.now.0.replace(Arc::new(snapshot));
        if before.is_some() {
            self.older = before;
        }
        Ok(())
    }
}

impl Live for Outgoing<'_> {
    fn manifest(&self) -> wire::Manifest {
        self.now.0.as_ref().map(|now| now.job().manifest.clone()).unwrap_or_default()
    }

    fn named(&mut self, session: [u8; 16]) {
        self.session = session;
    }

    fn ranges(&mut self) -> Result<Vec<wire::Range>> {
        if !self.frozen {
            self.rounds += 1;
            let name = format!("round-{}", self.rounds);
            self.save(&name, false)?;
            self.look(&name)?;
        }
        Ok(self.now.get()?.memory())
    }

    fn dirty(&mut self) -> Result<Vec<wire::Range>> {
        Ok(self.now.get()?.changed_since(self.older.as_deref()))
    }

    fn memory(&self) -> &dyn Source {
        &self.now
    }

    fn blob_bytes(&self) -> u64 {
        // What the process has in memory beside devices; how much of it is in its image is known when that is made.
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let anonymous = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        let devices: u64 = self.now.0.iter().flat_map(|now| now.memory()).map(|range| range.bytes).sum();
        anonymous.map_or(0, |pages| (pages << 10).saturating_sub(devices))
    }

    fn freeze(&mut self) -> Result<()> {
        self.show.phase("last");
        let mut saver = self.criu.ready(self.pid, &self.folder).map_err(|stop| self.failed(stop))?;
        self.save(SNAPSHOT, true)?;
        // The process is saved while what is on devices is sent.
        saver.begin();
        self.saver = Some(saver);
        if let Err(error) = self.look(SNAPSHOT) {
            self.thaw();
            return Err(error);
        }
        self.frozen = true;
        Ok(())
    }

    fn record(&mut self) -> Result<(Job, Vec<u64>)> {
        let saver = self.saver.take().ok_or_else(|| Error::new(ErrorKind::Memory, "the job does not stand still"))?;
        saver.dump().map_err(|stop| self.failed(stop))?;
        let snapshot = self.now.get()?;
        let mut contents = Vec::new();
        while let Some(bytes) = snapshot.blob_bytes(wire::Blob(contents.len() as u32)) {
            contents.push(Contents::Blob(wire::Blob(contents.len() as u32), bytes));
        }
        let identity = json!(snapshot.identity().to_string());
        let images = self.folder.unread_images().map_err(|stop| self.failed(stop))?;
        for image in &images {
            let path = self.folder.process().join(&image.name);
            let file =
                File::open(&path).map_err(|error| self.failed(super::io_trouble(&path, "opening it", &error)))?;
            contents.push(Contents::File(file, image.bytes));
        }
        let files = criu::written_files(self.pid).map_err(|stop| self.failed(stop))?;
        let manifest = Manifest { images: Some(images), files, ..jobs::describe(self.pid, &self.before, &identity) };
        contents.push(Contents::Text(manifest.show().to_string().into_bytes()));
        let job = snapshot.job().clone();
        let sizes = contents.iter().map(Contents::bytes).collect();
        self.contents = contents;
        Ok((job, sizes))
    }

    fn blob(&self, index: u32, at: u64, out: &mut [u8]) -> io::Result<()> {
        let part = |bytes: &[u8], out: &mut [u8]| {
            let from = bytes.get(at as usize..).and_then(|rest| rest.get(..out.len()));
            out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        match self.contents.get(index as usize).ok_or(io::ErrorKind::NotFound)? {
            Contents::File(file, _) => file.read_exact_at(out, at),
            Contents::Text(text) => part(text, out),
            Contents::Blob(blob, bytes) => {
                let mut read = self.read.lock().unwrap_or_else(|e| e.into_inner());
                if read.as_ref().is_none_or(|(number, _)| *number != index) {
                    let snapshot = self.now.get().map_err(io::Error::other)?;
                    *read = Some((index, snapshot.blob(*blob, *bytes).map_err(io::Error::other)?));
                }
                part(read.as_ref().map_or(&[][..], |(_, bytes)| bytes), out)
            }
        }
    }

    fn leaving(&mut self) -> Result<()> {
        let session: String = self.session.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.leaving(&format!("{} as transfer {session}", self.to)).map_err(|stop| self.failed(stop))
    }

    fn thaw(&mut self) {
        // Nobody else has it stopped from here on.
        drop(self.saver.take());
        self.folder.stays();
        process::go_on(self.pid);
        jobs::put_back(self.pid, true);
    }

    fn gone(&mut self) {
        process::end(self.pid);
    }
}

pub(super) fn send(line: &Line) -> Outcome {
    let [pid, to] = &line.arguments[..] else {
        return Err(refused("a process, and where to send it: HOST:PORT, or - for standard input and output"));
    };
    let pid: u32 = pid.parse().map_err(|_| refused(format!("'{pid}' is no process")))?;
    let show = if to == "-" { Show::new(line).aside() } else { Show::new(line) };
    let key = way::key(line, to == "-")?;
    let criu = Criu::find_for(pid)?;
    let before = jobs::status(pid)?;
    let user = process::user(pid).ok_or_else(|| trouble(3, format!("process {pid}: there is no such process")))?;
    let others: Vec<u32> = Group::of(pid)?.pids().skip(1).collect();
    if !others.is_empty() {
        let text = format!("process {pid} shares memory with {}, and is not sent alone", named(others));
        return Err(trouble(1, text));
    }
    let spool = line.value("--spool").map_or_else(std::env::temp_dir, Into::into);
    let folder = Folder::make(&spool.join(format!("hetgpu-send-{pid}-{}", std::process::id())), user)?;
    let most = number(line, "--max-freeze")?.map_or(FREEZE, Duration::from_millis);
    let mut live = Outgoing {
        pid,
        to,
        show: &show,
        criu,
        before,
        folder,
        rounds: 0,
        now: Latest::default(),
        older: None,
        frozen: false,
        saver: None,
        contents: Vec::new(),
        read: Mutex::default(),
        session: [0; 16],
        stop: RefCell::default(),
    };
    let start = Instant::now();
    let mut told = |progress: &Progress| {
        let Progress { round, sent, spared, rate, dirty, freeze } = *progress;
        show.tell(&json!({
            "event": "round", "round": round, "sent": sent, "spared": spared, "rate": rate, "dirty": dirty,
            "freeze_ms": freeze * 1e3,
        }));
        show.note(|| {
            let (sent, rate, dirty) = (size(sent), size(rate as u64), size(dirty));
            format!(
                "round {round}: {sent} sent at {rate}/s, {dirty} changed meanwhile; {:.0} ms to stand still",
                freeze * 1e3
            )
        });
    };
    show.phase("rounds");
    let budget = Budget { freeze: most, rounds: ROUNDS };
    let mut sent = way::connect(to).and_then(|mut way| {
        let (reader, writer) = way.both();
        transport::send(reader, writer, &key, &mut live, &budget, &mut told).map_err(|error| way::stop(&error))
    });
    if let Err(stop) = &sent
        && stop.status == way::UNSETTLED
        && to != "-"
    {
        sent = settle(&mut live, to, &key, start).unwrap_or(sent);
    }
    match sent {
        Ok(sent) => {
            live.folder.discard();
            let answer = json!({
                "ok": true, "rounds": sent.rounds, "bytes": sent.bytes, "seconds": sent.time.as_secs_f64(),
                "freeze_ms": sent.frozen.as_secs_f64() * 1e3,
            });
            show.end(&answer, || {
                let (time, frozen) = (sent.time.as_secs_f64(), sent.frozen.as_secs_f64() * 1e3);
                format!(
                    "process {pid} runs there now; {} sent in {time:.1} s, it stood still for {frozen:.0} ms",
                    size(sent.bytes)
                )
            });
            Ok(0)
        }
        Err(stop) if stop.status == way::UNSETTLED => Err(stop),
        Err(stop) => {
            if !jobs::status_of_snapshot(pid) {
                live.folder.discard();
            }
            show.clear();
            Err(live.stop.take().unwrap_or(stop))
        }
    }
}

/// Whether the job runs on the other side was not said: asks for it. None where nobody answers.
fn settle(
    live: &mut Outgoing<'_>,
    to: &str,
    key: &transport::Key,
    start: Instant,
) -> Option<std::result::Result<transport::Sent, Stop>> {
    let asking = Instant::now();
    let session = live.session;
    while asking.elapsed() < ASKING {
        if let Ok(mut way) = way::connect(to) {
            let (reader, writer) = way.both();
            match transport::ask(reader, writer, key, session) {
                Ok(Some(true)) => {
                    live.gone();
                    let (time, frozen) = (start.elapsed(), asking.elapsed());
                    return Some(Ok(transport::Sent { rounds: live.rounds, bytes: 0, time, frozen, session }));
                }
                Ok(Some(false)) => {
                    live.thaw();
                    return Some(Err(trouble(10, "the other side does not run the job: it goes on here")));
                }
                Ok(None) | Err(_) => {}
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    None
}
