//! Memory of devices as snapshots read and write it.

use super::ledger::Spans;
use super::{MemoryFile, refused, trouble};
use crate::migrate::{ABORTED, MoveProgress, Trouble, TroubleKind};
use crate::seat::{Kept, Kind, Progress, There, physical_of, slices};
use crate::system::DeviceState;
use hetgpu_checkpoint::{Error, ReadOptions, Sink, Snapshot, Source, wire};
use hetgpu_device::{Device, DeviceError, ErrorKind, ImageDescription, ImageId, PIECE, PhysicalId};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Looks whether a job may go on being read or written, and how far that is.
pub(super) struct Watch {
    aborts: Vec<Arc<AtomicBool>>,
    until: Option<Instant>,
    hurries: AtomicBool,
    done: AtomicU64,
    told: OnceLock<Trouble>,
}

impl Watch {
    pub(super) fn new(aborts: Vec<Arc<AtomicBool>>, until: Option<Instant>) -> Self {
        let (hurries, done) = (AtomicBool::new(until.is_some()), AtomicU64::new(0));
        Self { aborts, until, hurries, done, told: OnceLock::new() }
    }

    /// The job goes on: it may take as long as it takes.
    pub(super) fn no_hurry(&self) {
        self.hurries.store(false, Ordering::Relaxed);
    }

    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Why it was given up, if it was.
    pub(super) fn told(&self) -> Option<Trouble> {
        self.told.get().cloned()
    }

    pub(super) fn step(&self, bytes: u64) -> io::Result<()> {
        let given_up = match () {
            () if self.aborts.iter().any(|abort| abort.load(Ordering::Relaxed)) => {
                trouble(TroubleKind::Aborted, ABORTED)
            }
            () if self.hurries.load(Ordering::Relaxed) && self.until.is_some_and(|until| Instant::now() > until) => {
                trouble(TroubleKind::TooLong, "the job stood still for all of the time that was allowed")
            }
            () => {
                self.done.fetch_add(bytes, Ordering::Relaxed);
                return Ok(());
            }
        };
        let text = given_up.text.clone();
        let _ = self.told.set(given_up);
        Err(io::Error::other(text))
    }
}

/// Does something on another thread, and says meanwhile how far it is.
pub(super) fn watched<R: Send>(
    watch: &Watch,
    all: u64,
    progress: MoveProgress<'_>,
    act: impl FnOnce() -> hetgpu_checkpoint::Result<R> + Send,
) -> Result<R, Trouble> {
    const REPORT: Duration = Duration::from_millis(50);
    let (sender, ended) = channel();
    let done = std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let done = act();
            // Who waits is there.
            let _ = sender.send(());
            done
        });
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(REPORT) {
            progress(watch.done().min(all), all);
        }
        worker.join().unwrap_or_else(|_| Err(Error::new(hetgpu_checkpoint::ErrorKind::Memory, "internal error")))
    });
    done.map_err(|error| watch.told().unwrap_or_else(|| refused(&error)))
}

/// A piece of memory of one device.
pub(super) struct Part {
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) device: Arc<dyn Device>,
    /// It is physical memory, and `at` its place.
    pub(super) memory: Option<PhysicalId>,
}

impl Part {
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        match self.memory {
            None => self.device.read(at, out),
            Some(memory) => physical_of(self.device.as_ref())?.read(memory, at - self.at, out),
        }
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        match self.memory {
            None => self.device.write(at, data),
            Some(memory) => physical_of(self.device.as_ref())?.write(memory, at - self.at, data),
        }
    }
}

/// Memory of devices, by address.
pub(super) struct Parts<'w> {
    parts: Vec<Part>,
    pub(super) watch: &'w Watch,
    /// What cannot be read is gone, and counts as zeros.
    forgives: bool,
    /// What may differ from the snapshot below; none where all may.
    changed: Option<Spans>,
}

impl<'w> Parts<'w> {
    pub(super) fn new(parts: impl Iterator<Item = Part>, watch: &'w Watch, forgives: bool) -> Self {
        let mut parts: Vec<Part> = parts.collect();
        parts.sort_unstable_by_key(|part| part.at);
        Self { parts, watch, forgives, changed: None }
    }

    /// The same, of which only some may differ from the snapshot below.
    pub(super) fn since(self, changed: Option<Spans>) -> Self {
        Self { changed, ..self }
    }

    /// Whether a range holds what it held in the snapshot below.
    pub(super) fn is_same(&self, at: u64, bytes: u64) -> bool {
        self.changed.as_ref().is_some_and(|changed| !changed.meets(at, bytes))
    }

    /// The memory that may differ, in order, in pieces of at most so many bytes.
    pub(super) fn changed(&self, piece: u64) -> impl Iterator<Item = (u64, u64)> {
        let spans = self.parts.iter().flat_map(|part| {
            let all = part.at..part.at + part.bytes;
            match &self.changed {
                Some(changed) => changed.within(all),
                None => vec![all],
            }
        });
        spans.flat_map(move |span| {
            let end = span.end;
            span.step_by(piece as usize).map(move |at| (at, piece.min(end - at)))
        })
    }

    pub(super) fn changed_bytes(&self) -> u64 {
        self.changed(u64::from(u32::MAX)).map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn ranges(&self) -> Vec<wire::Range> {
        self.parts.iter().map(|part| wire::Range { start: wire::Address(part.at), bytes: part.bytes }).collect()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Who has a range.
    fn holder(&self, at: u64, bytes: usize) -> Option<&Part> {
        let part = &self.parts[self.parts.partition_point(|part| part.at <= at).checked_sub(1)?];
        (at - part.at + bytes as u64 <= part.bytes).then_some(part)
    }
}

fn nothing(at: u64) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no device has memory at {at:#x}"))
}

impl Source for Parts<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.watch.step(out.len() as u64)?;
        let part = self.holder(at, out.len()).ok_or_else(|| nothing(at))?;
        match part.read(at, out) {
            Err(_) if self.forgives => out.fill(0),
            done => done.map_err(io::Error::other)?,
        }
        Ok(())
    }

    fn unchanged(&self, at: u64, bytes: u64) -> bool {
        // Who is given up is told so by the read.
        self.is_same(at, bytes) && self.watch.step(bytes).is_ok()
    }

    fn is_still(&self) -> bool {
        !self.forgives
    }
}

impl Sink for Parts<'_> {
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.watch.step(bytes.len() as u64)?;
        let part = self.holder(at, bytes.len()).ok_or_else(|| nothing(at))?;
        part.write(at, bytes).map_err(io::Error::other)
    }
}

/// Where a device's contents come from.
pub(super) struct Back<'s> {
    snapshot: &'s Snapshot,
    watch: &'s Watch,
    state: Arc<DeviceState>,
    /// Contents of images, by the seat's names for them.
    images: HashMap<u64, &'s [wire::Blob]>,
    /// Memory that is held somewhere else.
    files: Arc<Vec<MemoryFile>>,
}

impl<'s> Back<'s> {
    /// One for each device, in their order.
    pub(super) fn of(
        snapshot: &'s Snapshot,
        devices: &[Arc<DeviceState>],
        files: Vec<MemoryFile>,
        watch: &'s Watch,
    ) -> Vec<Self> {
        let files = Arc::new(files);
        let one = |state: &Arc<DeviceState>| {
            let storages = snapshot.job().texels.storages.iter().filter(|one| one.device == state.index as u32);
            let images = storages.map(|storage| (storage.id, &storage.contents[..])).collect();
            Self { snapshot, watch, state: Arc::clone(state), images, files: Arc::clone(&files) }
        };
        devices.iter().map(one).collect()
    }

    /// The device's memory in the snapshot.
    fn own(&self) -> Vec<Range<u64>> {
        let record = self.state.seat.record_now();
        let own = record.regions.iter().filter(|(_, region)| matches!(region.kind, Kind::Own));
        // What other processes have too stays in its file.
        let own = own.filter(|(at, _)| record.exposure_of(**at).is_none());
        let apart = record.physical.values().filter(|bulk| bulk.shared.is_none());
        let apart = apart.map(|bulk| bulk.place..bulk.place + bulk.bytes);
        // Places are beyond all addresses.
        let mut apart: Vec<_> = apart.collect();
        apart.sort_unstable_by_key(|range| range.start);
        own.map(|(&at, region)| at..at + region.bytes).chain(apart).collect()
    }

    /// Writes what lies in files, and leaves what has to be read from the snapshot.
    fn held<'a>(&self, mut sink: Fresh<'a>) -> io::Result<Fresh<'a>> {
        let file_of = |range: &Range<u64>| {
            self.files.iter().find(|file| file.start == range.start && file.bytes == range.end - range.start)
        };
        let mut piece = Vec::new();
        for (range, held) in sink.own.iter().filter_map(|range| Some((range, file_of(range)?))) {
            let file = File::from(held.file.try_clone()?);
            for at in range.clone().step_by(PIECE as usize) {
                piece.resize(PIECE.min(range.end - at) as usize, 0);
                file.read_exact_at(&mut piece, at - range.start)?;
                match piece.iter().all(|byte| *byte == 0) {
                    true => sink.zero(at, piece.len() as u64)?,
                    false => sink.write(at, &piece)?,
                }
            }
        }
        sink.own.retain(|range| file_of(range).is_none());
        Ok(sink)
    }

    fn levels(&self, image: ImageId) -> Result<&[wire::Blob], DeviceError> {
        let missing = || DeviceError::new(ErrorKind::InvalidRequest, "the snapshot has no texels of an image");
        self.images.get(&image.0).copied().ok_or_else(missing)
    }

    fn fill(
        &self,
        levels: &[wire::Blob],
        description: &ImageDescription,
        to: &Arc<dyn Device>,
        here: ImageId,
    ) -> Result<(), DeviceError> {
        let queue = to.open_queue(0)?;
        let mut level = None::<(u32, Vec<u8>, usize)>;
        for slice in slices(description) {
            if level.as_ref().is_none_or(|(number, ..)| *number != slice.level) {
                let blob = levels.get(slice.level as usize).copied();
                let missing = || DeviceError::new(ErrorKind::InvalidRequest, "the snapshot lacks a level of an image");
                let blob = blob.ok_or_else(missing)?;
                let bytes = self.snapshot.blob_bytes(blob).unwrap_or(0);
                let contents = self.snapshot.blob(blob, bytes).map_err(damaged)?;
                level = Some((slice.level, contents, 0));
            }
            let Some((_, contents, done)) = &mut level else { continue };
            let buffer = slice.buffer()?;
            let end = *done + slice.bytes() as usize;
            let short = || DeviceError::new(ErrorKind::InvalidRequest, "the snapshot has too few texels of an image");
            let part = contents.get(*done..end).ok_or_else(short)?;
            if !buffer.write(0, part) {
                return Err(short());
            }
            slice.write(queue.as_ref(), here, &buffer)?;
            *done = end;
        }
        Ok(())
    }

    /// Gives images that are there their texels again.
    pub(super) fn rewind_images(&self) -> Result<(), DeviceError> {
        let (device, record) = (self.state.seat.current(), self.state.seat.record_now());
        for (&name, picture) in record.images.iter().filter(|(name, _)| self.images.contains_key(&name.0)) {
            self.fill(self.levels(name)?, &picture.description, &device, picture.here)?;
        }
        Ok(())
    }
}

fn damaged(error: Error) -> DeviceError {
    DeviceError::new(ErrorKind::InvalidRequest, error.to_string())
}

/// One device's memory, which is zeroed.
struct Fresh<'a> {
    own: Vec<Range<u64>>,
    to: &'a dyn Device,
    there: &'a There,
    watch: &'a Watch,
}

impl Fresh<'_> {
    fn has(&self, at: u64) -> bool {
        let after = self.own.partition_point(|range| range.start <= at);
        after.checked_sub(1).is_some_and(|place| self.own[place].contains(&at))
    }
}

impl Sink for Fresh<'_> {
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.has(at) {
            return Ok(());
        }
        self.watch.step(bytes.len() as u64)?;
        let place = self.there.physical.range(..=at).next_back();
        let written = match place.filter(|(place, (_, bytes))| at - **place < *bytes) {
            Some((place, (memory, _))) => {
                physical_of(self.to).and_then(|physical| physical.write(*memory, at - place, bytes))
            }
            None => self.to.write(at, bytes),
        };
        written.map_err(io::Error::other)
    }

    fn zero(&self, at: u64, bytes: u64) -> io::Result<()> {
        if self.has(at) { self.watch.step(bytes) } else { Ok(()) }
    }
}

impl Kept for Back<'_> {
    fn file(&self, at: u64, bytes: u64) -> Option<OwnedFd> {
        let found = self.files.iter().find(|file| file.start == at && file.bytes == bytes)?;
        self.watch.step(bytes).ok()?;
        found.file.try_clone().ok()
    }

    fn memory(&self, to: &dyn Device, there: &There, progress: Progress<'_>) -> Result<(), DeviceError> {
        let mut own = self.own();
        own.retain(|range| !there.filled.contains(&range.start));
        let sink = Fresh { own, to, there, watch: self.watch };
        let all = sink.own.iter().map(|range| range.end - range.start).sum();
        let sink = self.held(sink).map_err(|error| DeviceError::new(ErrorKind::InvalidRequest, error.to_string()))?;
        let ranges = self.snapshot.memory();
        if let Some(missing) = sink.own.iter().find(|own| !ranges.iter().any(|range| range.start.0 == own.start)) {
            let text = format!("the snapshot has nothing of the memory at {:#x}", missing.start);
            return Err(DeviceError::new(ErrorKind::InvalidRequest, text));
        }
        let told = |done: u64, all: u64| drop(progress(done, all));
        let wanted = |start: wire::Address| sink.has(start.0);
        watched(self.watch, all, &told, || self.snapshot.restore_some(&sink, ReadOptions::default(), wanted))
            .map_err(|trouble| DeviceError::new(ErrorKind::InvalidRequest, trouble.text))
    }

    fn image(
        &self,
        image: ImageId,
        description: &ImageDescription,
        to: &Arc<dyn Device>,
        here: ImageId,
    ) -> Result<(), DeviceError> {
        self.fill(self.levels(image)?, description, to, here)
    }
}
