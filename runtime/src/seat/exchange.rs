//! One device takes another's place.
//!
//! The new device is told everything of the record and given all contents, while the old one stays as it is. Only when
//! that has gone well the old one lets go of what it has. Where two devices keep memory in the same way, the new one takes
//! it over as it lies.

use super::record::{self, Kind, Record};
use super::{Inner, Seat};
use hetgpu_device::{
    Device, DeviceError, ErrorKind, HostBuffer, ImageDescription, ImageId, ImagePlace, LoadedModule, PIECE, PhysicalId,
    PhysicalMemory, Place, Queue, Shape, Texels, Transfer, Work,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

/// How far it is: bytes of contents done, and in all. An error ends the exchange.
pub(crate) type Progress<'p> = &'p dyn Fn(u64, u64) -> Result<(), DeviceError>;

/// What an exchange did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Exchange {
    /// Bytes that changed devices, and those of them that were copied: the rest was zeros, or stayed where it was.
    pub(crate) bytes: u64,
    pub(crate) copied: u64,
}

/// What becomes of contents.
#[derive(Clone, Copy)]
pub(crate) enum Contents<'c> {
    /// They are copied.
    Copied,
    /// They are kept elsewhere, and the new device has none of them.
    Left,
    /// They come from elsewhere: what is on the old device is nothing.
    From(&'c dyn Kept),
}

/// Contents that are kept elsewhere.
pub(crate) trait Kept {
    /// A file that holds a region's memory.
    fn file(&self, at: u64, bytes: u64) -> Option<OwnedFd>;

    /// Gives a device all memory but what is there already, which is mapped there and zeroed.
    fn memory(&self, to: &dyn Device, there: &There, progress: Progress<'_>) -> Result<(), DeviceError>;

    /// Gives a device the texels of an image, which it calls `here`.
    fn image(
        &self,
        image: ImageId,
        description: &ImageDescription,
        to: &Arc<dyn Device>,
        here: ImageId,
    ) -> Result<(), DeviceError>;
}

/// What a new device has by now.
#[derive(Default)]
pub(crate) struct There {
    /// Regions whose memory has its contents.
    pub(crate) filled: BTreeSet<u64>,
    /// Physical memory: what the device calls it, and its bytes, by its place.
    pub(crate) physical: BTreeMap<u64, (PhysicalId, u64)>,
}

/// Most threads that copy.
const MOST_THREADS: usize = 16;

impl Inner {
    /// Whether it was let reach memory of other devices.
    pub(crate) fn reaches_peers(&self) -> bool {
        self.record().regions.values().any(|region| matches!(region.kind, Kind::Peer))
    }

    /// What it was at first.
    pub(crate) fn began_as(&self) -> &hetgpu_device::Caps {
        &self.looks.caps
    }

    /// Whether the present device reaches others' memory, and they its. If that is to be kept, no other takes its place then that does
    /// not.
    pub(crate) fn is_neighbourly(&self, keeps: bool) -> bool {
        // No other takes its place while we are inside.
        let _inside = self.gate.enter();
        let neighbourly = self.present().caps().neighbourly;
        self.neighbourly.fetch_or(keeps && neighbourly, Ordering::Relaxed);
        neighbourly
    }

    /// What speaks against a device in the place of the present one, for a person.
    pub(crate) fn unfit(&self, to: &dyn Device) -> Vec<String> {
        let record = self.record();
        let present = self.present();
        let (mine, caps, adopts) = (present.caps(), to.caps(), to.adopts(present.as_ref()));
        let mut against = Vec::new();
        let mut needs = |fulfilled: bool, text: String| {
            if !fulfilled {
                against.push(text);
            }
        };
        let name = &caps.name;
        needs(mine.shares_host_memory <= caps.shares_host_memory, format!("{name} cannot reach host memory"));
        needs(caps.compute >= self.looks.caps.compute, {
            let ((a, b), (c, d)) = (self.looks.caps.compute, caps.compute);
            format!("the program was told compute capability {a}.{b}, {name} has {c}.{d}")
        });
        needs(
            caps.neighbourly || !self.neighbourly.load(Ordering::Relaxed),
            format!("the program was told that its devices reach each other's memory, and {name} reaches none"),
        );
        needs(mine.cooperative <= caps.cooperative, format!("{name} has no cooperative launches"));
        for (what, has, wants) in [
            ("blocks a cluster", caps.cluster_blocks, mine.cluster_blocks),
            ("threads a block", caps.threads_per_block, mine.threads_per_block),
            ("bytes of shared memory a block", caps.shared_per_block_max, mine.shared_per_block_max),
        ] {
            needs(has >= wants, format!("{name} has at most {has} {what}, the program was told {wants}"));
        }
        let wanted = record.bytes();
        needs(wanted <= caps.memory, format!("{wanted} bytes are in use, {name} has {}", caps.memory));
        for (at, region) in record.regions.iter().filter(|(_, region)| matches!(region.kind, Kind::Own)) {
            let fits = at.is_multiple_of(caps.map_granularity) && region.bytes.is_multiple_of(caps.map_granularity);
            if !adopts && !fits {
                needs(false, format!("{name} maps memory in units of {} bytes", caps.map_granularity));
                break;
            }
        }
        let hosts = |device: &dyn Device| device.physical().is_some_and(PhysicalMemory::has_host_files);
        needs(
            adopts || record.shared().is_empty() || (hosts(present.as_ref()) && hosts(to)),
            format!("the program shares memory with other processes, which {name} cannot take over"),
        );
        let gives = |device: &dyn Device| device.physical().is_some_and(PhysicalMemory::gives_contents);
        needs(
            adopts || record.physical.is_empty() || (gives(present.as_ref()) && gives(to)),
            format!("the program has memory apart from its addresses, which {name} cannot take over"),
        );
        for machine in record.modules.values().filter_map(|loaded| loaded.module.machine.as_ref()) {
            needs(
                caps.machine.is_some() && machine.variables.is_empty(),
                format!(
                    "the program has machine code for {} without PTX; {}",
                    machine.target,
                    match caps.machine {
                        None => format!("{name} does not run that"),
                        Some(_) => "its variables cannot be moved".to_owned(),
                    }
                ),
            );
        }
        let peers = record.regions.values().any(|region| matches!(region.kind, Kind::Peer));
        needs(!peers, "the program reaches memory of a peer".to_owned());
        match caps.images {
            None => needs(
                record.images.is_empty() && record.objects.is_empty(),
                format!("{name} has no images, and the program uses some"),
            ),
            Some(images) => {
                for picture in record.images.values() {
                    if let Some(beyond) = picture.description.beyond(&images) {
                        needs(false, format!("{name} cannot hold an image: {beyond}"));
                        break;
                    }
                }
                needs(
                    images.chooses_handles || record.objects.is_empty(),
                    format!("{name} has handles of images of its own"),
                );
                let linear = record.objects.values().any(is_linear);
                needs(images.linear || !linear, format!("{name} has no images in plain memory"));
            }
        }
        against
    }
}

fn is_linear(object: &hetgpu_device::ImageObject) -> bool {
    use hetgpu_device::ImageObject::{Sampler, Surface, Texture};
    match object {
        Texture { texels, .. } | Surface(texels) => matches!(texels, Texels::Linear(_)),
        Sampler(_) => false,
    }
}

impl Seat {
    /// The device that is here.
    pub(crate) fn current(&self) -> Arc<dyn Device> {
        Arc::clone(&self.present())
    }

    /// Puts a device, on which nothing is yet, in the place of the present one. The gate is closed, and nobody is inside.
    /// Where it fails the present one stays, as it was.
    pub(crate) fn exchange(
        &self,
        to: &Arc<dyn Device>,
        contents: Contents<'_>,
        progress: Progress<'_>,
    ) -> Result<Exchange, DeviceError> {
        debug_assert!(self.gate().is_closed() && self.gate().is_empty(), "the gate is closed");
        let from = self.current();
        let record = self.record().clone();
        let adopted = matches!(contents, Contents::Copied) && to.adopt(from.as_ref());
        let (all, report) = (record.bytes(), Exchange::default());
        let mut moved = Arrival { to, from: &from, contents, progress, done: 0, all, report };
        match moved.arrive(&record, adopted) {
            Ok(names) => {
                let report = moved.report;
                self.leave(&from, &record, adopted);
                let mut kept = self.record();
                for (name, here) in names.modules {
                    kept.modules.entry(name).and_modify(|known| known.here = here);
                }
                for (name, here) in names.images {
                    kept.images.entry(name).and_modify(|known| known.here = here);
                }
                for (name, here) in names.physical {
                    kept.physical.entry(name).and_modify(|known| known.here = here);
                }
                drop(kept);
                for line in self.lines().iter().filter_map(std::sync::Weak::upgrade) {
                    *line.lock() = None;
                }
                self.assemblies().iter().filter_map(std::sync::Weak::upgrade).for_each(|assembly| assembly.leave());
                self.set_look(to.caps());
                *self.present.write().unwrap_or_else(|e| e.into_inner()) = Arc::clone(to);
                self.number_files();
                Ok(report)
            }
            Err(error) => {
                if adopted && !from.adopt(to.as_ref()) {
                    // What was taken over fitted there before; nothing else has been added since.
                    return Err(DeviceError::new(
                        ErrorKind::Lost,
                        format!("memory could not be given back: {}", error.message),
                    ));
                }
                Err(error)
            }
        }
    }

    /// Takes everything of a record from a device that is no longer here.
    fn leave(&self, from: &Arc<dyn Device>, record: &Record, adopted: bool) {
        record.objects.keys().for_each(|&handle| from.unbind(handle));
        record.images.values().for_each(|picture| from.destroy_image(picture.here));
        record.modules.values().for_each(|module| from.unload(module.here));
        if !adopted {
            record.regions.keys().for_each(|&at| from.unmap(at));
            if let Some(physical) = from.physical() {
                record.physical.values().for_each(|bulk| physical.destroy(bulk.here));
            }
        }
    }
}

/// What a new device calls what it was told of.
#[derive(Default)]
struct Names {
    modules: HashMap<LoadedModule, LoadedModule>,
    images: HashMap<ImageId, ImageId>,
    physical: HashMap<PhysicalId, PhysicalId>,
    /// What it has of its own beside these.
    objects: Vec<u64>,
    regions: Vec<u64>,
}

/// A device on its way into the seat.
struct Arrival<'a> {
    to: &'a Arc<dyn Device>,
    from: &'a Arc<dyn Device>,
    contents: Contents<'a>,
    progress: Progress<'a>,
    done: u64,
    all: u64,
    report: Exchange,
}

impl Arrival<'_> {
    fn arrive(&mut self, record: &Record, adopted: bool) -> Result<Names, DeviceError> {
        let mut names = Names::default();
        let made = self.tell(record, adopted, &mut names);
        if made.is_err() {
            // What the new device has of its own goes; what it took over goes back to where it came from.
            names.objects.iter().for_each(|&handle| self.to.unbind(handle));
            names.images.values().for_each(|&image| self.to.destroy_image(image));
            names.modules.values().for_each(|&module| self.to.unload(module));
            names.regions.iter().for_each(|&at| self.to.unmap(at));
            if let Some(physical) = self.to.physical() {
                names.physical.values().for_each(|&here| physical.destroy(here));
            }
        }
        made.map(|()| names)
    }

    fn tell(&mut self, record: &Record, adopted: bool, names: &mut Names) -> Result<(), DeviceError> {
        (self.progress)(0, self.all)?;
        let mut there = There::default();
        if !adopted {
            for (&name, bulk) in &record.physical {
                if bulk.shared.is_some() {
                    names.physical.insert(name, self.same(bulk.here)?);
                    continue;
                }
                let here = physical_of(self.to.as_ref())?.create(bulk.bytes)?;
                names.physical.insert(name, here);
                there.physical.insert(bulk.place, (here, bulk.bytes));
                if let Contents::Copied = self.contents {
                    self.bulk(bulk, here)?;
                }
            }
        }
        let mut own = Vec::new();
        for (&at, region) in &record.regions {
            match &region.kind {
                _ if adopted => self.count(region.bytes, false)?,
                Kind::Own if record.exposure_of(at).is_some() => {
                    self.to.map(at, region.bytes, &region.name)?;
                    names.regions.push(at);
                    self.count(region.bytes, false)?;
                }
                Kind::Own => {
                    if self.lend(at, region) {
                        there.filled.insert(at);
                    } else {
                        self.to.map(at, region.bytes, &region.name)?;
                    }
                    names.regions.push(at);
                    if let Contents::Copied = self.contents {
                        own.push((at, region.bytes));
                    }
                }
                Kind::Host(span) => {
                    self.to.share(span.clone())?;
                    names.regions.push(at);
                }
                Kind::Physical { memory, access } => {
                    let here = names.physical.get(memory).copied();
                    let unknown = || DeviceError::new(ErrorKind::InvalidRequest, "memory that nobody made");
                    let physical = physical_of(self.to.as_ref())?;
                    physical.map(here.ok_or_else(unknown)?, at, &region.name)?;
                    names.regions.push(at);
                    physical.allow(at, *access)?;
                }
                Kind::Peer => {
                    return Err(DeviceError::new(ErrorKind::NotSupported, "memory that cannot change devices"));
                }
            }
        }
        self.memory(&own)?;
        if !adopted {
            for (&at, exposure) in &record.exposed {
                let from = physical_of(self.from.as_ref())?;
                let memory = from.expose(at, exposure.bytes)?;
                let file = from.export(memory);
                from.destroy(memory);
                physical_of(self.to.as_ref())?.expose_as(at, exposure.bytes, file?)?;
            }
        }
        if let Contents::From(kept) = self.contents {
            kept.memory(self.to.as_ref(), &there, self.progress)?;
        }
        for state in self.from.heaps() {
            self.to.set_heap(&state);
        }
        for (&name, loaded) in &record.modules {
            names.modules.insert(name, self.to.load(&loaded.module, &loaded.globals)?);
        }
        for (&name, picture) in &record.images {
            let here = self.to.create_image(&picture.description)?;
            names.images.insert(name, here);
            match self.contents {
                Contents::Copied => self.image(&picture.description, picture.here, here)?,
                Contents::Left => {}
                Contents::From(kept) => kept.image(name, &picture.description, self.to, here)?,
            }
        }
        for (&handle, object) in &record.objects {
            let unknown = || DeviceError::new(ErrorKind::InvalidRequest, "an object over an image that is gone");
            let object = record::object_with(object, |image| names.images.get(&image).copied().ok_or_else(unknown))?;
            self.to.bind(Some(handle), &object)?;
            names.objects.push(handle);
        }
        (self.progress)(self.all, self.all)
    }

    /// Memory that other processes have too is the same on the new device: what it calls it.
    fn same(&self, memory: PhysicalId) -> Result<PhysicalId, DeviceError> {
        let file = physical_of(self.from.as_ref())?.export(memory)?;
        Ok(physical_of(self.to.as_ref())?.import(file)?.0)
    }

    /// Lets the new device have a region's memory as it lies in a file. Whether it has it.
    fn lend(&self, at: u64, region: &record::Region) -> bool {
        let Contents::From(kept) = self.contents else { return false };
        let file = kept.file(at, region.bytes);
        file.is_some_and(|file| self.to.map_file(at, region.bytes, &region.name, file).is_ok())
    }

    fn count(&mut self, bytes: u64, copied: bool) -> Result<(), DeviceError> {
        self.done += bytes;
        self.report.bytes += bytes;
        self.report.copied += if copied { bytes } else { 0 };
        (self.progress)(self.done, self.all)
    }

    /// Copies memory of the device's own, by several threads: each has a piece on its way, so that those that wait for a device and those
    /// that move bytes on the host do so at the same time.
    fn memory(&mut self, regions: &[(u64, u64)]) -> Result<(), DeviceError> {
        let pieces = |&(at, bytes): &(u64, u64)| {
            (0..bytes).step_by(PIECE as usize).map(move |offset| (at + offset, PIECE.min(bytes - offset)))
        };
        let pieces: Vec<(u64, u64)> = regions.iter().flat_map(pieces).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(pieces.len());
        let (from, to) = (self.from.as_ref(), self.to.as_ref());
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, results) = channel();
        let work = |sender: Sender<Result<(u64, bool), DeviceError>>| {
            let mut buffer = Vec::new();
            while !stopped.load(Ordering::Relaxed)
                && let Some(&(at, bytes)) = pieces.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let copied = copy_piece(from, to, at, bytes, &mut buffer).map(|copied| (bytes, copied));
                let failed = copied.is_err();
                // Who counts is there until all have ended.
                if sender.send(copied).is_err() || failed {
                    break;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (work, sender) = (&work, sender.clone());
                scope.spawn(move || work(sender));
            }
            drop(sender);
            let mut all = Ok(());
            for result in results {
                if all.is_ok() {
                    all = result.and_then(|(bytes, copied)| self.count(bytes, copied));
                    stopped.store(all.is_err(), Ordering::Relaxed);
                }
            }
            all
        })
    }

    fn bulk(&mut self, bulk: &record::Bulk, to: PhysicalId) -> Result<(), DeviceError> {
        let mut buffer = vec![0; bulk.bytes.min(PIECE) as usize];
        for offset in (0..bulk.bytes).step_by(PIECE as usize) {
            let piece = &mut buffer[..PIECE.min(bulk.bytes - offset) as usize];
            physical_of(self.from.as_ref())?.read(bulk.here, offset, piece)?;
            let copied = !is_zero(piece);
            if copied {
                physical_of(self.to.as_ref())?.write(to, offset, piece)?;
            }
            self.count(piece.len() as u64, copied)?;
        }
        Ok(())
    }

    fn image(&mut self, description: &ImageDescription, from: ImageId, to: ImageId) -> Result<(), DeviceError> {
        let (out, into) = (self.from.open_queue(0)?, self.to.open_queue(0)?);
        for slice in slices(description) {
            let buffer = slice.buffer()?;
            slice.read(out.as_ref(), from, &buffer)?;
            slice.write(into.as_ref(), to, &buffer)?;
            self.count(slice.bytes(), true)?;
        }
        Ok(())
    }
}

/// A device's memory apart from its addresses, where it has such.
pub(crate) fn physical_of(device: &dyn Device) -> Result<&dyn PhysicalMemory, DeviceError> {
    let none = || DeviceError::new(ErrorKind::NotSupported, "the device has no memory apart from its addresses");
    device.physical().ok_or_else(none)
}

/// A slice of an image's level, so that the host needs no room for all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) level: u32,
    slice: u32,
    row: u64,
    rows: u64,
}

/// All of an image, in order.
pub(crate) fn slices(description: &ImageDescription) -> impl Iterator<Item = Slice> {
    let texel = description.format.texel_bytes() as u64 * u64::from(description.samples);
    let description = *description;
    (0..description.levels).flat_map(move |level| {
        let [width, rows, slices] = description.extents(level);
        (0..slices).map(move |slice| Slice { level, slice, row: u64::from(width) * texel, rows: rows.into() })
    })
}

impl Slice {
    pub(crate) fn bytes(&self) -> u64 {
        self.row * self.rows
    }

    pub(crate) fn buffer(&self) -> Result<HostBuffer, DeviceError> {
        let no_memory = || DeviceError::new(ErrorKind::OutOfMemory, "no host memory for an image");
        HostBuffer::new(self.bytes() as usize).ok_or_else(no_memory)
    }

    fn place(&self, image: ImageId) -> Place {
        Place::Image(ImagePlace { image, level: self.level, origin: [0, 0, self.slice] })
    }

    pub(crate) fn read(&self, queue: &dyn Queue, image: ImageId, into: &HostBuffer) -> Result<(), DeviceError> {
        let shape = Shape::packed(self.row, self.rows, 1);
        queue.run(Work::Copy(Transfer { to: Place::Host(into.span()), from: self.place(image), shape }))
    }

    pub(crate) fn write(&self, queue: &dyn Queue, image: ImageId, from: &HostBuffer) -> Result<(), DeviceError> {
        let shape = Shape::packed(self.row, self.rows, 1);
        queue.run(Work::Copy(Transfer { to: self.place(image), from: Place::Host(from.span()), shape }))
    }
}

/// Whether anything was copied: the new device's memory is zeroed already.
fn copy_piece(
    from: &dyn Device,
    to: &dyn Device,
    at: u64,
    bytes: u64,
    buffer: &mut Vec<u8>,
) -> Result<bool, DeviceError> {
    if let Some(fetched) = from.fetch(at, bytes)? {
        let copied = !fetched.span().is_zero();
        if copied {
            to.put(at, &fetched)?;
        }
        return Ok(copied);
    }
    buffer.resize(PIECE as usize, 0);
    let piece = &mut buffer[..bytes as usize];
    from.read(at, piece)?;
    let copied = !is_zero(piece);
    if copied {
        to.write(at, piece)?;
    }
    Ok(copied)
}

fn is_zero(bytes: &[u8]) -> bool {
    // By words: most memory is not zero at its beginning, or zero as a whole.
    let (words, rest) = bytes.as_chunks::<64>();
    rest.iter().all(|&byte| byte == 0) && words.iter().all(|word| word.iter().fold(0, |all, byte| all | byte) == 0)
}
