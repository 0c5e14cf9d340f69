//! `receive`: takes a job from another machine.
//!
//! What comes is put into memory, from where the job takes it as it lies. What cannot lie there goes into a snapshot after each round, built
//! on the one before, so that at the end little is left to write. Until the job runs here the sender has it: nothing else has to last.

use super::criu::{self, Criu, Expected};
use super::folder::{Folder, Manifest, SNAPSHOT};
use super::shelf::Shelf;
use super::show::{Show, size};
use super::{io_trouble, jobs, process, trouble, way};
use crate::line::Line;
use crate::{Outcome, Stop, refused};
use hetgpu_checkpoint::transport::{self, Landing, Offer, Received};
use hetgpu_checkpoint::wire::{Job, Range};
use hetgpu_checkpoint::{Error, ErrorKind, Result, Snapshot, Store, WriteOptions};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often the sender may ask whether its job runs here, where it was not told.
const QUESTIONS: u32 = 1;

struct Incoming<'s> {
    show: &'s Show,
    criu: Criu,
    /// Waits for the image of the process.
    expected: Option<Expected>,
    to: Value,
    cuts: bool,
    /// Where everything is gathered, and what came is remembered.
    home: PathBuf,
    session: [u8; 16],
    folder: Option<Folder>,
    shelf: Option<Shelf>,
    rounds: u32,
    base: Option<Arc<Snapshot>>,
    /// Contents without an address, as they come.
    contents: Vec<(PathBuf, File)>,
    /// What the job is, and the contents that its snapshot has beside memory.
    job: Option<(Job, Vec<PathBuf>)>,
    manifest: Option<Manifest>,
}

/// What CRIU reads first, before it is let have it.
const FIRST: &str = "first.part";

/// The snapshot with the memory that the job could be lent, where it cannot have it so.
const WHOLE: &str = "whole";

fn failed(stop: Stop) -> Error {
    Error::new(ErrorKind::Memory, stop.text)
}

fn disk(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Disk, format!("{}: {error}", path.display()))
}

fn hex(session: [u8; 16]) -> String {
    session.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The status of a job that could not read what it was to come back from.
const DAMAGED: u8 = 8;

/// What became of a transfer.
const RUNS: &str = "runs";
const NEVER: &str = "never";

impl Incoming<'_> {
    fn folder(&self) -> Result<&Folder> {
        self.folder.as_ref().ok_or_else(|| Error::new(ErrorKind::Invalid, "nothing was offered"))
    }

    fn shelf(&self) -> Result<&Shelf> {
        self.shelf.as_ref().ok_or_else(|| Error::new(ErrorKind::Invalid, "nothing was offered"))
    }

    fn note(&self, session: [u8; 16]) -> PathBuf {
        self.home.join(format!("transfer-{}", hex(session)))
    }

    /// Remembers what became of a transfer, also after a failure of power.
    fn remember(&self, session: [u8; 16], what: &str) -> io::Result<()> {
        let (path, part) = (self.note(session), self.home.join("transfer.part"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        io::Write::write_all(&mut file, what.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        File::open(&self.home)?.sync_all()
    }

    /// Writes what is here into a snapshot: all of it, or what the job cannot be lent.
    fn write(&mut self, name: &str, job: &Job, blobs: &[PathBuf], all: bool) -> Result<()> {
        let folder = self.folder()?.path().to_path_buf();
        let store = Store::open(&folder)?;
        let base = self.base.take();
        let options = WriteOptions { threads: 0, direct: false, lasts: false, base: base.clone() };
        let mut writer = store.write(name, options)?;
        for path in blobs {
            writer.blob(&fs::read(path).map_err(|error| disk(path, &error))?)?;
        }
        let shelf = self.shelf()?;
        writer.memory(&shelf.list(all), shelf)?;
        writer.finish(job)?;
        shelf.saved();
        self.base = Some(Arc::new(store.load_on(name, base.as_ref())?));
        Ok(())
    }
}

/// Brings the process back: by the CRIU that waits for it, if there is one and it is able to.
fn revive(
    criu: &Criu,
    expected: &mut Option<Expected>,
    folder: &Folder,
    manifest: &Manifest,
) -> std::result::Result<(), Stop> {
    let (first, place) = (folder.path().join(FIRST), folder.process().join(criu::FIRST));
    // That one has no pipes to give to it.
    if let Some(expected) = expected.take().filter(|_| manifest.pipes.is_empty())
        && expected.restore(&first).is_ok_and(|back| back)
    {
        return Ok(());
    }
    if first.exists() {
        fs::rename(&first, &place).map_err(|error| io_trouble(&place, "putting it there", &error))?;
    }
    criu.restore(manifest, folder)
}

impl Landing for Incoming<'_> {
    fn offered(&mut self, offer: &Offer) -> Result<()> {
        let pid = offer.manifest.process;
        self.session = offer.session;
        if let Some(who) = process::who_has_the_number_of(pid) {
            return Err(Error::new(ErrorKind::InUse, who));
        }
        let path = self.home.join(format!("job-{pid}"));
        // What an earlier transfer left that did not come about.
        if let Ok(old) = Folder::open(&path) {
            old.discard();
        }
        let user = fs::metadata("/proc/self").map_or(0, |about| about.uid());
        let folder = Folder::make(&path, user).map_err(failed)?;
        let bytes: u64 = offer.ranges.iter().map(|range| range.bytes).sum();
        self.shelf = Some(Shelf::new(folder.path(), bytes).map_err(|error| disk(folder.path(), &error))?);
        self.folder = Some(folder);
        let program = offer.manifest.program.join(" ");
        self.show.tell(&json!({ "event": "offered", "pid": pid, "program": program, "bytes": bytes }));
        self.show.note(|| format!("process {pid} of {}, {program}: {}", offer.manifest.host, size(bytes)));
        Ok(())
    }

    fn layout(&mut self, ranges: &[Range]) -> Result<()> {
        self.shelf()?;
        let done = self.shelf.as_mut().map_or(Ok(()), |shelf| shelf.layout(ranges));
        done.map_err(|error| disk(&self.home, &error))
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let done = self.shelf()?.write(at, bytes);
        done.map_err(|error| disk(&self.home, &error))
    }

    fn zero(&mut self, at: u64, bytes: u64) -> Result<()> {
        let done = self.shelf()?.zero(at, bytes);
        done.map_err(|error| disk(&self.home, &error))
    }

    fn round(&mut self) -> Result<()> {
        self.rounds += 1;
        if self.expected.is_none() {
            // Where that is not to be had it is brought back all the same.
            self.expected = self.criu.expect(self.folder()?).ok();
        }
        self.write(&format!("round-{}", self.rounds), &Job::default(), &[], false)
    }

    fn blobs(&mut self, bytes: &[u64]) -> Result<()> {
        let folder = self.folder()?.path().to_path_buf();
        for number in 0..bytes.len() {
            let path = folder.join(format!("contents-{number}.part"));
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let file = made.map_err(|error| disk(&path, &error))?;
            self.contents.push((path, file));
        }
        Ok(())
    }

    fn blob(&mut self, index: u32, at: u64, bytes: &[u8]) -> Result<()> {
        let found = self.contents.get(index as usize).ok_or_else(|| Error::new(ErrorKind::Peer, "unknown contents"));
        let (path, file) = found?;
        file.write_all_at(bytes, at).map_err(|error| disk(path, &error))
    }

    fn ready(&mut self, job: &Job) -> Result<()> {
        let missing = || Error::new(ErrorKind::Peer, "the job came without what says what it is");
        let mut contents: Vec<PathBuf> = std::mem::take(&mut self.contents).into_iter().map(|(path, _)| path).collect();
        let about = contents.pop().ok_or_else(missing)?;
        let text = fs::read_to_string(&about).map_err(|error| disk(&about, &error))?;
        let value: Value = serde_json::from_str(&text).map_err(|_| missing())?;
        let mut manifest = Manifest::parse(&value).ok_or_else(missing)?;
        let images = manifest.images.clone().ok_or_else(missing)?;
        if manifest.pid != job.manifest.process || images.len() > contents.len() {
            return Err(missing());
        }
        jobs::check_files(&manifest, self.cuts).map_err(failed)?;
        let images_from = contents.split_off(contents.len() - images.len());
        let folder = self.folder()?.clone();
        let made = fs::DirBuilder::new().recursive(true).create(folder.process());
        made.map_err(|error| disk(&folder.process(), &error))?;
        for (image, from) in images.iter().zip(images_from) {
            let to = match image.name.as_str() {
                criu::FIRST => folder.path().join(FIRST),
                name => folder.process().join(name),
            };
            fs::rename(from, &to).map_err(|error| disk(&to, &error))?;
        }
        self.write(SNAPSHOT, job, &contents, false)?;
        let _ = fs::remove_file(&about);
        self.job = Some((job.clone(), contents));
        manifest.identity = self.base.as_ref().map(|base| base.identity().to_string()).unwrap_or_default();
        folder.finish(&manifest, false).map_err(failed)?;
        self.manifest = Some(manifest);
        Ok(())
    }

    fn go(&mut self, session: [u8; 16]) -> Result<()> {
        let manifest = self.manifest.clone().ok_or_else(|| Error::new(ErrorKind::Peer, "there is no job to go on"))?;
        let folder = self.folder()?.clone();
        let lent = self.shelf()?.lend(&hex(session), true).map_err(|error| disk(&self.home, &error))?;
        // What came was authenticated piece by piece, and written just now.
        let mut expected = self.expected.take();
        let mut back = |this: &Self, name, memory: &Value| {
            let note = || {
                let noted = this.remember(session, RUNS);
                noted.map_err(|error| io_trouble(&this.home, "remembering the job", &error))
            };
            let from = jobs::From { folder: &folder, manifest: &manifest, name, checked: true, memory };
            jobs::bring_back(
                this.show,
                &from,
                &mut || revive(&this.criu, &mut expected, &folder, &manifest),
                &this.to,
                &note,
            )
        };
        let mut done = back(self, SNAPSHOT, &lent.words);
        if done.as_ref().is_err_and(|stop| stop.status == DAMAGED) {
            // It does not reach what is lent, as in containers: it reads all of it.
            self.show.tell(&json!({ "event": "unreachable", "error": done.as_ref().err().map(|stop| &stop.text) }));
            self.base = None;
            let (job, contents) = self.job.clone().unwrap_or_default();
            self.write(WHOLE, &job, &contents, true)?;
            done = back(self, WHOLE, &Value::Null);
        }
        done.map_err(failed)?;
        self.shelf = None;
        folder.discard();
        Ok(())
    }

    fn forget(&mut self) {
        let _ = self.remember(self.session, NEVER);
        (self.shelf, self.expected) = (None, None);
        if let Some(folder) = self.folder.take() {
            for (path, _) in self.contents.drain(..) {
                let _ = fs::remove_file(path);
            }
            folder.discard();
        }
        (self.base, self.job, self.manifest, self.rounds) = (None, None, None, 0);
    }

    fn ran(&mut self, session: [u8; 16]) -> Option<bool> {
        match fs::read_to_string(self.note(session)).ok()?.as_str() {
            RUNS => Some(true),
            NEVER => Some(false),
            _ => None,
        }
    }
}

pub(super) fn receive(line: &Line) -> Outcome {
    let [at] = &line.arguments[..] else { return Err(refused("a port to listen at, or - for standard input")) };
    let show = if at == "-" { Show::new(line).aside() } else { Show::new(line) };
    let key = way::key(line, at == "-")?;
    let criu = Criu::find()?;
    let home = line.value("--spool").map_or_else(|| std::env::temp_dir().join("hetgpu-received"), PathBuf::from);
    let home = std::path::absolute(&home).map_err(|error| io_trouble(&home, "finding it", &error))?;
    Store::open(&home).map_err(|error| trouble(8, error.to_string()))?;
    let mut incoming = Incoming {
        show: &show,
        criu,
        expected: None,
        to: json!(line.value("--to").map(|names| names.split(',').collect::<Vec<_>>())),
        cuts: line.has("--cut-files"),
        home,
        session: [0; 16],
        folder: None,
        shelf: None,
        rounds: 0,
        base: None,
        contents: Vec::new(),
        job: None,
        manifest: None,
    };
    let door = way::Door::open(at)?;
    show.phase("waiting");
    show.tell(&json!({ "event": "listening", "at": door.place() }));
    show.note(|| format!("waiting at {}", door.place()));
    let mut questions = 0;
    loop {
        let mut way = door.next()?;
        let (reader, writer) = way.both();
        match transport::receive(reader, writer, &key, &mut incoming) {
            Ok(Received::Job { .. }) => break,
            Ok(Received::Question) if questions > 0 => break,
            Ok(Received::Question) => {}
            Err(error) if door.is_standard() => return Err(way::stop(&error)),
            Err(error) => {
                show.tell(&json!({ "event": "failed", "error": error.to_string() }));
                show.note(|| format!("it did not come: {error}"));
                // The sender was not told that its job runs here: it asks.
                if incoming.ran(incoming.session) == Some(true) {
                    questions = QUESTIONS;
                }
            }
        }
    }
    let pid = incoming.manifest.as_ref().map_or(0, |manifest| manifest.pid);
    show.end(&json!({ "ok": true, "pid": pid }), || format!("process {pid} runs here now"));
    Ok(0)
}
