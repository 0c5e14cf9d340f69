//! A job's devices in files.
//!
//! A snapshot holds what lies on devices: memory, texels, and beside them the texts of modules and what people ask for. What
//! the process itself knows (contexts, streams, queued work, which blocks of a launch are left) is in the process, and is
//! saved with it, if at all, by whoever saves processes. So there are two ways back: into the process that let its devices
//! go for the snapshot, be it the same or restored from an image (`load`), and into one that went on, as far as nothing but
//! contents has changed since (`rewind`).

mod copy;
mod describe;
mod ledger;
mod memory;

use crate::migrate::{LONGEST_FREEZE, MoveProgress, Stage, Trouble, TroubleKind, go_on, trouble};
use crate::seat::{Contents, Kind, Record, Seat, Vault};
use crate::system::DeviceState;
use crate::{Moved, Runtime, log, sys};
use copy::Aside;
use describe::{Levels, Texts};
use hetgpu_checkpoint::{Digest, ReadOptions, Snapshot, Stats, Store, WriteOptions, wire};
use hetgpu_device::{Device, PhysicalMemory, Queued};
pub(crate) use ledger::Ledger;
use ledger::{Look, Spans};
use memory::{Back, Part, Parts, Watch, watched};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a job does once it is saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// It goes on, or stays paused where it was.
    GoesOn,
    /// It lets its devices go, and stands still until its contents are put back.
    LetsGo,
}

/// How a job is to be saved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaveRequest {
    /// A folder that only the job's user may enter; it is made where there is none.
    pub folder: PathBuf,
    pub name: String,
    /// The snapshot in that folder that this one is built on.
    pub base: Option<String>,
    pub then: Then,
    /// It is not stopped: what it changes meanwhile may be saved or not. Only good for others to be built on.
    pub running: bool,
    /// Contents are copied within memory, where there is room, and written when the job goes on.
    pub copy: bool,
    /// How long the job may stand still.
    pub most: Option<Duration>,
    /// It need not outlive the system: it goes elsewhere.
    pub fleeting: bool,
    /// Files of memory that other processes have too, and that this snapshot holds; what is not among them is held elsewhere.
    /// None where nobody has seen to it that these processes stand still: then a job that has such memory is not saved.
    pub shared: Option<BTreeSet<u64>>,
}

/// A job that was saved.
#[derive(Clone, Debug)]
pub struct Saved {
    pub identity: Digest,
    pub path: PathBuf,
    pub stats: Stats,
    /// How long it took to stop it, and how long it stood still; in one that let its devices go, until then.
    pub stop: Duration,
    pub freeze: Duration,
}

impl SaveRequest {
    /// Whether the snapshot is to hold the memory of a file that other processes have too.
    fn holds(&self, file: u64) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.contains(&file))
    }
}

/// Where the contents of a job are that let its devices go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filed {
    pub folder: PathBuf,
    pub name: String,
    pub identity: Digest,
    /// What it says of the job but contents: it stands in a copy of the snapshot too that is written anew elsewhere.
    pub record: Digest,
}

/// Memory that somebody else holds, with what a job had there when it was saved: it becomes the job's.
#[derive(Debug)]
pub struct MemoryFile {
    pub start: u64,
    pub bytes: u64,
    pub file: OwnedFd,
}

/// A file without a name that lies in memory, of so many zeros; it never becomes shorter.
pub fn memory_file(bytes: u64) -> std::io::Result<OwnedFd> {
    sys::memory_file(bytes)
}

/// A pipe with a name, of this user alone.
pub fn named_pipe(path: &std::path::Path) -> std::io::Result<()> {
    sys::named_pipe(path)
}

fn refused(error: &hetgpu_checkpoint::Error) -> Trouble {
    trouble(TroubleKind::Snapshot, error.to_string())
}

/// A device as it is when a job is saved.
struct Held {
    index: usize,
    device: Arc<dyn Device>,
    seat: Seat,
    record: Record,
    /// It is asked by way of its gate, and knows things by the seat's names.
    by_name: bool,
}

impl Held {
    fn of(state: &DeviceState) -> Self {
        let (device, seat, record) = (state.seat.current(), state.seat.clone(), state.seat.record_now());
        Self { index: state.index, device, seat, record, by_name: false }
    }

    /// Its memory; of what other processes have too, only what is wanted.
    fn parts(&self, shared: impl Fn(u64) -> bool + Copy) -> impl Iterator<Item = Part> {
        let own = self.record.regions.iter().filter(|(_, region)| matches!(region.kind, Kind::Own));
        let own = own.filter(move |(at, _)| self.record.exposure_of(**at).is_none_or(shared));
        let own =
            own.map(|(&at, region)| Part { at, bytes: region.bytes, device: Arc::clone(&self.device), memory: None });
        let apart = self.record.physical.iter().filter(move |(_, bulk)| bulk.shared.is_none_or(shared));
        let apart = apart.map(|(&name, bulk)| Part {
            at: bulk.place,
            bytes: bulk.bytes,
            device: Arc::clone(&self.device),
            memory: Some(if self.by_name { name } else { bulk.here }),
        });
        own.chain(apart)
    }

    /// What of it a snapshot cannot hold.
    fn unsaved(&self) -> Option<&'static str> {
        let gives = || self.device.physical().is_some_and(PhysicalMemory::gives_contents);
        match () {
            () if !self.record.physical.is_empty() && !gives() => {
                Some("the program has memory apart from its addresses")
            }
            () if self.record.modules.values().any(|loaded| loaded.module.machine.is_some()) => {
                Some("the program has machine code without PTX")
            }
            () if self.record.regions.values().any(|region| matches!(region.kind, Kind::Peer)) => {
                Some("the program reaches memory of a peer")
            }
            () => None,
        }
    }
}

/// A snapshot that another is to be built on, which may be open already.
fn base_of(store: &Store, name: &str, latest: Option<Arc<Snapshot>>) -> hetgpu_checkpoint::Result<Arc<Snapshot>> {
    let path = store.folder().join(format!("{name}.{}", hetgpu_checkpoint::EXTENSION));
    match latest.filter(|latest| latest.path() == path) {
        Some(latest) => Ok(latest),
        None => store.load(name).map(Arc::new),
    }
}

impl Runtime {
    /// Saves what is on the job's devices. Where it fails the job goes on, and no snapshot is left.
    pub fn save(&self, request: &SaveRequest, progress: MoveProgress<'_>) -> Result<Saved, Trouble> {
        let saved = self.save_all(request, progress);
        // Who saves the process saves what its allocator keeps too, used or not.
        sys::give_back();
        saved
    }

    fn save_all(&self, request: &SaveRequest, progress: MoveProgress<'_>) -> Result<Saved, Trouble> {
        let devices = self.picked(None)?;
        if request.shared.is_none() {
            self.alone(&devices)?;
        }
        let store = Store::open(&request.folder).map_err(|error| refused(&error))?;
        let latest = self.latest.lock().unwrap_or_else(|e| e.into_inner()).take();
        let base = request.base.as_deref().map(|name| base_of(&store, name, latest));
        let base = base.transpose().map_err(|error| refused(&error))?;
        // Its pages would push the job's own out of memory; but who takes the contents back soon wants them there.
        let direct = request.then == Then::GoesOn && !request.running;
        let options = WriteOptions { threads: 0, direct, lasts: !request.fleeting, base: base.clone() };
        let mut writer = store.write(&request.name, options).map_err(|error| refused(&error))?;
        // Most of what is not memory is written before anything stands still.
        let mut texts = Texts::default();
        for state in &devices {
            texts.write(&state.seat.record_now(), &mut writer).map_err(|error| refused(&error))?;
        }
        if request.running {
            let saved = self.save_running(request, &devices, writer, texts, base.as_deref(), progress)?;
            // The next is built on it.
            let kept = store.load_on(&request.name, base.as_ref()).ok().map(Arc::new);
            *self.latest.lock().unwrap_or_else(|e| e.into_inner()) = kept;
            return Ok(saved);
        }
        if base.is_some() {
            // What tells digests is made ready, too.
            devices.iter().for_each(|state| drop(state.seat.current().digests(0, 0)));
        }
        let paused = devices.iter().all(|device| self.stage(device.index) == Stage::Paused);
        let before = if paused { Stage::Paused } else { Stage::Running };
        self.change_stage(&devices, &[before], Stage::Saving)?;
        let start = Instant::now();
        let until = start + request.most.unwrap_or(LONGEST_FREEZE);
        let stopped = if paused { Ok(()) } else { self.stop(&devices, until) };
        let saved = stopped.and_then(|()| {
            let mut still =
                Still { devices: &devices, thaws: !paused, since: start, stop: start.elapsed(), froze: None };
            let watch = Watch::new(self.aborts(&devices), Some(until));
            let base = base.as_ref();
            let saved = self.save_still(request, writer, texts, &mut still, base, &watch, progress);
            saved.and_then(|saved| match request.then {
                Then::GoesOn => Ok(saved),
                Then::LetsGo => match self.let_go(&mut still, &store, request, base, &saved) {
                    Ok(()) => Ok(Saved { freeze: start.elapsed(), ..saved }),
                    Err(trouble) => {
                        let _ = store.remove(&request.name);
                        Err(trouble)
                    }
                },
            })
        });
        let after = if saved.is_ok() && request.then == Then::LetsGo { Stage::Released } else { before };
        let _ = self.change_stage(&devices, &[Stage::Saving], after);
        if after == Stage::Released {
            self.control.next_turn();
            // The process may come back as another, somewhere else.
            self.memory.hide();
        }
        saved
    }

    fn look(&self, held: &[Held], base: Option<&Snapshot>) -> Look<'_> {
        self.ledger.begin(held.iter().map(|held| (&held.seat, &held.record)), base)
    }

    /// What may differ from the snapshot below; none where all may. Devices that know nothing of what was written may know what they hold.
    fn changed(&self, held: &[Held], look: Option<&Look<'_>>, base: Option<&Snapshot>) -> Option<Spans> {
        let known = look.and_then(|look| look.changed.clone());
        let Some(base) = base else { return known };
        let mut changed = known;
        for held in held {
            let own = held.record.regions.iter().filter(|(_, region)| matches!(region.kind, Kind::Own));
            for (&at, region) in own {
                let all = at..at + region.bytes;
                if changed.as_ref().is_some_and(|changed| !changed.meets(at, region.bytes)) {
                    continue;
                }
                // Who cannot tell has all of it read.
                let Ok(Some(digests)) = held.device.digests(at, region.bytes) else { continue };
                let differing = base.differing(at, &digests);
                changed.get_or_insert_with(Spans::all).replace(all, differing);
            }
        }
        changed
    }

    fn save_running(
        &self,
        request: &SaveRequest,
        devices: &[Arc<DeviceState>],
        mut writer: hetgpu_checkpoint::Writer,
        mut texts: Texts,
        base: Option<&Snapshot>,
        progress: MoveProgress<'_>,
    ) -> Result<Saved, Trouble> {
        let watch = Watch::new(Vec::new(), None);
        // By way of the gate, as if the program asked: memory may go meanwhile.
        let reach =
            |state: &Arc<DeviceState>| Held { device: Arc::clone(&state.device), by_name: true, ..Held::of(state) };
        let held: Vec<Held> = devices.iter().map(reach).collect();
        let look = self.look(&held, base);
        let saved = |file: u64| request.holds(file);
        let changed = self.changed(&held, Some(&look), base);
        let parts = Parts::new(held.iter().flat_map(|held| held.parts(&saved)), &watch, true).since(changed);
        watched(&watch, parts.bytes(), progress, || writer.memory(&parts.ranges(), &parts))?;
        for held in &held {
            texts.write(&held.record, &mut writer).map_err(|error| refused(&error))?;
        }
        let job = self.job_record(&held, &texts, &[], Duration::ZERO);
        let done = writer.finish(&job).map_err(|error| refused(&error))?;
        look.done(done.identity);
        let (stop, freeze) = (Duration::ZERO, Duration::ZERO);
        Ok(Saved { identity: done.identity, path: done.path, stats: done.stats, stop, freeze })
    }

    /// Writes the snapshot of a job that stands still.
    fn save_still(
        &self,
        request: &SaveRequest,
        mut writer: hetgpu_checkpoint::Writer,
        mut texts: Texts,
        still: &mut Still<'_>,
        base: Option<&Arc<Snapshot>>,
        watch: &Watch,
        progress: MoveProgress<'_>,
    ) -> Result<Saved, Trouble> {
        let held: Vec<Held> = still.devices.iter().map(|state| Held::of(state)).collect();
        if let Some(what) = held.iter().find_map(Held::unsaved) {
            return Err(trouble(TroubleKind::Unfit, format!("{what}, which a snapshot does not hold")));
        }
        let goes_on = request.then == Then::GoesOn;
        // Where all of it is looked at and no other is built on it, nobody need know what changes.
        let look = (goes_on || base.is_some()).then(|| self.look(&held, base.map(Arc::as_ref)));
        let changed = self.changed(&held, look.as_ref(), base.map(Arc::as_ref));
        let held_here = |file: u64| request.holds(file);
        let parts = Parts::new(held.iter().flat_map(|held| held.parts(&held_here)), watch, false).since(changed);
        let levels = describe::levels(&held).map_err(|error| trouble(TroubleKind::Failed, error.to_string()))?;
        let ranges = parts.ranges();
        let copies = request.copy && goes_on && copy::fits(parts.changed_bytes());
        let copy = if copies { Aside::of(&parts, base.map(Arc::as_ref)) } else { None };
        match copy {
            Some(copy) => {
                still.thaw();
                watch.no_hurry();
                watched(watch, parts.bytes(), progress, || writer.memory(&ranges, &copy))?;
            }
            None => {
                watched(watch, parts.bytes(), progress, || writer.memory(&ranges, &parts))?;
                if goes_on {
                    still.thaw();
                }
            }
        }
        let failed = |error: hetgpu_checkpoint::Error| refused(&error);
        for held in &held {
            texts.write(&held.record, &mut writer).map_err(failed)?;
        }
        let mut written: Vec<(usize, Vec<wire::Blob>)> = Vec::new();
        for Levels { device, contents } in &levels {
            let blobs = contents.iter().map(|level| writer.blob(level)).collect::<Result<_, _>>();
            written.push((*device, blobs.map_err(failed)?));
        }
        let freeze = still.frozen();
        let job = self.job_record(&held, &texts, &written, freeze);
        let done = writer.finish(&job).map_err(failed)?;
        if let Some(look) = look {
            look.done(done.identity);
        }
        Ok(Saved { identity: done.identity, path: done.path, stats: done.stats, stop: still.stop, freeze })
    }

    /// The devices of a job that was saved go. Where that fails it has them.
    fn let_go(
        &self,
        still: &mut Still<'_>,
        store: &Store,
        request: &SaveRequest,
        base: Option<&Arc<Snapshot>>,
        saved: &Saved,
    ) -> Result<(), Trouble> {
        // From here on contents are in the file alone: it must be one that can be read.
        let snapshot = store.load_on(&request.name, base).map_err(|error| refused(&error))?;
        let watch = Watch::new(Vec::new(), None);
        let back = Back::of(&snapshot, still.devices, Vec::new(), &watch);
        let vault = |device: &DeviceState| Ok(Arc::new(Queued::new(Vault::new(device.device.caps()))) as _);
        let back = |device: &DeviceState| Contents::From(&back[device.index]);
        self.change_each(still.devices, vault, |_| Contents::Left, back, &|_, _| Ok(()))?;
        let (identity, record) = (saved.identity, snapshot.job().digest());
        let filed = Filed { folder: request.folder.clone(), name: request.name.clone(), identity, record };
        self.set_filed(still.devices, Some(filed));
        still.thaws = false;
        Ok(())
    }

    /// Undoes a `load` of a job that has not gone on since.
    pub fn unload(&self) -> Result<(), Trouble> {
        let devices = self.picked(None)?;
        let known = self.control.loaded.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let nothing = || trouble(TroubleKind::Stage, "nothing was put on the job's devices");
        let (filed, names) = known.ok_or_else(nothing)?;
        let snapshot = Store::open(&filed.folder).and_then(|store| store.load(&filed.name));
        let snapshot = snapshot.map_err(|error| refused(&error))?;
        self.change_stage(&devices, &[Stage::Paused], Stage::Moving)?;
        let watch = Watch::new(Vec::new(), None);
        let back = Back::of(&snapshot, &devices, Vec::new(), &watch);
        let vault = |device: &DeviceState| Ok(Arc::new(Queued::new(Vault::new(device.device.caps()))) as _);
        let back = |device: &DeviceState| Contents::From(&back[device.index]);
        let gone = self.change_each(&devices, vault, |_| Contents::Left, back, &|_, _| Ok(()));
        if gone.is_ok() {
            self.set_filed(&devices, Some(filed));
            devices.iter().for_each(|device| self.set_name(device.index, names[device.index].clone()));
        }
        let after = if gone.is_ok() { Stage::Released } else { Stage::Paused };
        let _ = self.change_stage(&devices, &[Stage::Moving], after);
        gone
    }

    /// Where the contents of a job are that let its devices go.
    pub fn filed(&self) -> Option<Filed> {
        self.control_entries().into_iter().find_map(|entry| entry.filed)
    }

    /// Puts a job that let its devices go for a snapshot on devices again, named as settings name them; none for one like
    /// that which it had. It is paused then. Where it fails it stays as it was.
    pub fn load(
        &self,
        at: Option<(PathBuf, String)>,
        to: &[Option<String>],
        progress: MoveProgress<'_>,
    ) -> Result<Moved, Trouble> {
        self.load_with(at, to, Vec::new(), progress)
    }

    /// The same, where some of the memory need not be read from the snapshot.
    pub fn load_with(
        &self,
        at: Option<(PathBuf, String)>,
        to: &[Option<String>],
        files: Vec<MemoryFile>,
        progress: MoveProgress<'_>,
    ) -> Result<Moved, Trouble> {
        let devices = self.picked(None)?;
        let start = Instant::now();
        let none = || trouble(TroubleKind::Stage, "the job did not let its devices go for a snapshot");
        let filed = self.filed().ok_or_else(none)?;
        let (folder, name) = at.unwrap_or_else(|| (filed.folder.clone(), filed.name.clone()));
        let snapshot = Store::open(&folder).and_then(|store| store.load(&name)).map_err(|error| refused(&error))?;
        if snapshot.job().digest() != filed.record {
            let text = format!("{}: it is another snapshot than the job was saved in", snapshot.path().display());
            return Err(trouble(TroubleKind::Snapshot, text));
        }
        let names: Vec<String> = self.control_entries().into_iter().map(|entry| entry.name).collect();
        let name_of = |device: &DeviceState| {
            to.get(device.index).and_then(Option::as_ref).unwrap_or(&names[device.index]).clone()
        };
        let watch = Watch::new(self.aborts(&devices), None);
        let back = Back::of(&snapshot, &devices, files, &watch);
        let from = |device: &DeviceState| Contents::From(&back[device.index]);
        let make = |device: &DeviceState| self.make_target(&name_of(device));
        let all: u64 = devices.iter().map(|device| device.seat.bytes()).sum();
        let bytes = snapshot.memory().iter().map(|range| range.bytes).sum::<u64>();
        let told = |done: u64, _all: u64| {
            progress(done.min(bytes), bytes);
            Ok(())
        };
        self.change_stage(&devices, &[Stage::Released], Stage::Moving)?;
        let changed = self.change_each(&devices, make, from, |_| Contents::Left, &told);
        let after = if changed.is_ok() { Stage::Paused } else { Stage::Released };
        if changed.is_ok() {
            self.control.next_turn();
            *self.control.loaded.lock().unwrap_or_else(|e| e.into_inner()) = Some((filed, names.clone()));
            self.set_filed(&devices, None);
            devices.iter().for_each(|device| self.set_name(device.index, name_of(device)));
        }
        let _ = self.change_stage(&devices, &[Stage::Moving], after);
        changed.map_err(|trouble| watch.told().unwrap_or(trouble))?;
        self.announce();
        log::info(format_args!("{all} bytes are back on devices from {}", snapshot.path().display()));
        Ok(Moved { freeze: start.elapsed(), stop: Duration::ZERO, bytes: all, copied: watch.done() })
    }

    /// Puts contents back into a job that went on after it was saved. What the process itself knows stays as it is.
    /// Memory that other processes have too is put back only where they are `together` with this one: all stand still, and all are
    /// rewound to the same moment.
    pub fn rewind(
        &self,
        folder: &std::path::Path,
        name: &str,
        together: bool,
        progress: MoveProgress<'_>,
    ) -> Result<Moved, Trouble> {
        let devices = self.picked(None)?;
        if !together {
            self.alone(&devices)?;
        }
        let snapshot = Store::open(folder).and_then(|store| store.load(name)).map_err(|error| refused(&error))?;
        let paused = devices.iter().all(|device| self.stage(device.index) == Stage::Paused);
        let before = if paused { Stage::Paused } else { Stage::Running };
        self.change_stage(&devices, &[before], Stage::Moving)?;
        let start = Instant::now();
        let stopped = if paused { Ok(()) } else { self.stop(&devices, start + LONGEST_FREEZE) };
        let stop = start.elapsed();
        let rewound = stopped.and_then(|()| {
            let thaws = !paused;
            let mut still = Still { devices: &devices, thaws, since: start, stop, froze: None };
            let done = self.put_back(&snapshot, still.devices, progress);
            still.thaw();
            done
        });
        let _ = self.change_stage(&devices, &[Stage::Moving], before);
        let bytes = rewound?;
        Ok(Moved { freeze: start.elapsed(), stop, bytes, copied: bytes })
    }

    /// Whether a job that stands still can be rewound.
    pub fn against_rewind(&self, folder: &std::path::Path, name: &str, together: bool) -> Result<(), Trouble> {
        let devices = self.picked(None)?;
        if !together {
            self.alone(&devices)?;
        }
        let snapshot = Store::open(folder).and_then(|store| store.load(name)).map_err(|error| refused(&error))?;
        Self::look_back(&snapshot, &devices).map(drop)
    }

    fn look_back(snapshot: &Snapshot, devices: &[Arc<DeviceState>]) -> Result<Vec<Held>, Trouble> {
        let held: Vec<Held> = devices.iter().map(|state| Held::of(state)).collect();
        if let Some(against) = describe::against_rewind(snapshot.job(), &held) {
            return Err(trouble(TroubleKind::Unfit, against));
        }
        if devices.iter().any(|device| !device.flights.list().is_empty()) {
            return Err(trouble(TroubleKind::Unfit, "a kernel is under way, which would go on over other contents"));
        }
        // All of it is read before anything is written: a damaged file must not leave half of it.
        let verdict = hetgpu_checkpoint::verify(&(Arc::new(hetgpu_checkpoint::SystemDisk) as _), snapshot.path(), 0);
        if !verdict.is_whole() {
            let text = format!("{}: it is damaged, and nothing was put back", snapshot.path().display());
            return Err(trouble(TroubleKind::Snapshot, text));
        }
        Ok(held)
    }

    fn put_back(
        &self,
        snapshot: &Snapshot,
        devices: &[Arc<DeviceState>],
        progress: MoveProgress<'_>,
    ) -> Result<u64, Trouble> {
        let held = Self::look_back(snapshot, devices)?;
        let watch = Watch::new(Vec::new(), None);
        let parts = Parts::new(held.iter().flat_map(|held| held.parts(|_| true)), &watch, false);
        watched(&watch, parts.bytes(), progress, || snapshot.restore(&parts, ReadOptions::default()))?;
        for back in Back::of(snapshot, devices, Vec::new(), &watch) {
            back.rewind_images().map_err(|error| trouble(TroubleKind::Failed, error.to_string()))?;
        }
        Ok(parts.bytes())
    }
}

/// A job that stands still, and goes on when this is dropped at the latest.
struct Still<'d> {
    devices: &'d [Arc<DeviceState>],
    /// It stood not still before.
    thaws: bool,
    since: Instant,
    stop: Duration,
    froze: Option<Duration>,
}

impl Still<'_> {
    /// How long it has stood still.
    fn frozen(&self) -> Duration {
        self.froze.unwrap_or_else(|| self.since.elapsed())
    }

    fn thaw(&mut self) {
        if std::mem::take(&mut self.thaws) {
            self.froze = Some(self.since.elapsed());
            go_on(self.devices);
        }
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.thaw();
    }
}
