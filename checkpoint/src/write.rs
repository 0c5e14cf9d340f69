//! Writing a snapshot.

use crate::codec::encode;
use crate::container::{HEADER, Header, SECTION, Section, SectionKind, VERSION};
use crate::digest::ByDigest;
use crate::disk::{Aligned, BLOCK, DiskFile, folder_of, write_all};
use crate::map::{BaseLink, CHUNK, Chunk, Extent, Form, Map, PAGE, ZEROS, patched, pieces, runs, too_many};
use crate::read::Snapshot;
use crate::source::Source;
use crate::store::Store;
use crate::wire::{Address, Blob, Job, Range};
use crate::{Digest, Error, ErrorKind, Result, crc32c};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Memory that a thread reads at a time.
const GROUP: u64 = 4 << 20;
/// Less than this is gathered before it is written.
const SMALL: usize = 1 << 20;

/// How a snapshot is written.
#[derive(Clone)]
pub struct WriteOptions {
    /// Threads that read, hash and write; 0 for as many as keep the processors and the disk busy.
    pub threads: usize,
    /// Past the page cache, as it is by default: faster where all has to be on the disk at the end, and the job keeps its memory.
    pub direct: bool,
    /// It is on the disk when it has its name, also after a failure of power. Not wanted where it is only needed for as long as the system runs.
    pub lasts: bool,
    /// The snapshot that this one is built on. It lies in the same folder.
    pub base: Option<Arc<Snapshot>>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { threads: 0, direct: true, lasts: true, base: None }
    }
}

/// What became of a snapshot.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its identity.
    pub identity: Digest,
    /// Where it lies.
    pub path: PathBuf,
    /// What it took.
    pub stats: Stats,
}

/// What a snapshot took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Bytes of memory and of contents without an address.
    pub memory: u64,
    /// Bytes of chunks that are zeros.
    pub zeros: u64,
    /// Bytes of chunks that are there already, here or in the snapshot that this one is built on.
    pub known: u64,
    /// Bytes that were not read, since nobody had changed them.
    pub unread: u64,
    /// Bytes of contents in the file.
    pub stored: u64,
    /// Bytes of the file.
    pub file: u64,
}

#[derive(Default)]
struct Counters {
    zeros: AtomicU64,
    known: AtomicU64,
    unread: AtomicU64,
}

fn count(counter: &AtomicU64, bytes: usize) {
    counter.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// Contents so far: behind those of the snapshot below, where their list is taken as it is.
#[derive(Default)]
struct Contents {
    digests: Vec<Digest>,
    by_digest: ByDigest<u32>,
    chunks: Vec<Chunk>,
}

/// A snapshot that is being made. Dropped before it is finished, it leaves nothing.
pub struct Writer {
    store: Store,
    name: String,
    file: Box<dyn DiskFile>,
    part: PathBuf,
    path: PathBuf,
    options: WriteOptions,
    /// How many of the list of contents are those of the snapshot below, with the same numbers.
    shared: u32,
    contents: Mutex<Contents>,
    /// Where the next contents go.
    end: AtomicU64,
    regions: Vec<Extent>,
    blobs: Vec<Extent>,
    counters: Counters,
    memory: u64,
    finished: bool,
}

/// What a thread has gathered and not written.
struct Gathered {
    bytes: Aligned,
    used: usize,
    chunks: Vec<Chunk>,
}

/// A piece of work: chunks, and where their contents are noted.
struct Group {
    start: u64,
    bytes: u64,
}

impl Writer {
    pub(crate) fn new(store: Store, name: &str, path: PathBuf, part: PathBuf, options: WriteOptions) -> Result<Self> {
        let file = store.disk.create(&part, options.direct);
        let file = file.map_err(|refused| Error::disk(&part, "making the file", &refused))?;
        // Most of what stands below is in it again, and need not be looked for then.
        let digests = options.base.as_ref().filter(|base| base.uses_its_list()).map(|base| base.digests.clone());
        let digests = digests.unwrap_or_default();
        let by_digest = digests.iter().zip(0..).map(|(digest, number)| (*digest, number)).collect();
        let shared = digests.len() as u32;
        let contents = Contents { digests, by_digest, chunks: Vec::new() };
        Ok(Self {
            store,
            name: name.into(),
            file,
            part,
            path,
            options,
            shared,
            contents: Mutex::new(contents),
            end: AtomicU64::new(HEADER as u64),
            regions: Vec::new(),
            blobs: Vec::new(),
            counters: Counters::default(),
            memory: 0,
            finished: false,
        })
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Saves memory: ranges that do not overlap, in any order, in as many calls as is convenient. Many threads read the
    /// source; the job may run again as soon as the source does not need it any more.
    pub fn memory(&mut self, ranges: &[Range], source: &dyn Source) -> Result<()> {
        for range in ranges.iter().filter(|range| range.bytes > 0) {
            if range.start.0.checked_add(range.bytes).is_none() {
                return Err(Error::new(ErrorKind::Invalid, format!("{range:?} reaches past the end of all addresses")));
            }
        }
        let extents = self.save(ranges, source)?;
        self.regions.extend(extents);
        Ok(())
    }

    /// Saves contents without an address.
    pub fn blob(&mut self, bytes: &[u8]) -> Result<Blob> {
        self.blob_from(bytes.len() as u64, &Plain(bytes))
    }

    /// The same, from a source whose addresses begin at 0.
    pub fn blob_from(&mut self, bytes: u64, source: &dyn Source) -> Result<Blob> {
        let extents = self.save(&[Range { start: Address(0), bytes }], &Moved(source))?;
        let blob = Blob(self.blobs.len() as u32);
        match extents.into_iter().next() {
            Some(extent) => self.blobs.push(extent),
            None => self.blobs.push(Extent::default()),
        }
        Ok(blob)
    }

    fn save(&mut self, ranges: &[Range], source: &dyn Source) -> Result<Vec<Extent>> {
        let mut groups = Vec::new();
        for range in ranges {
            self.memory += range.bytes;
            let end = range.start.0 + range.bytes;
            let mut at = range.start.0;
            while at < end {
                let bytes = (GROUP - at % GROUP).min(end - at);
                groups.push(Group { start: at, bytes });
                at += bytes;
            }
        }
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match self.options.threads {
            // Who waits for the disk leaves a processor free.
            0 if self.options.direct => 2 * processors(),
            0 => processors(),
            threads => threads,
        };
        let threads = threads.clamp(1, groups.len().max(1));
        let done = Mutex::new(vec![Vec::new(); groups.len()]);
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let worked = self.work(&groups, &next, &failed, source, &done);
            worked.inspect_err(|_| failed.store(true, Ordering::Relaxed))
        };
        if threads == 1 {
            work()?;
        } else {
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                workers.into_iter().try_for_each(|worker| match worker.join() {
                    Ok(worked) => worked,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
            })?;
        }
        let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner()).into_iter();
        let mut groups = groups.iter().peekable();
        let extent = |range: &Range| {
            let end = range.start.0 + range.bytes;
            let mut indices = Vec::new();
            while let Some(group) = groups.next_if(|group| (range.start.0..end).contains(&group.start)) {
                debug_assert!(group.bytes > 0);
                indices.extend(done.next().unwrap_or_default());
            }
            Extent { start: range.start, bytes: range.bytes, runs: runs(indices.into_iter()) }
        };
        Ok(ranges.iter().filter(|range| range.bytes > 0).map(extent).collect())
    }

    fn work(
        &self,
        groups: &[Group],
        next: &AtomicUsize,
        failed: &AtomicBool,
        source: &dyn Source,
        done: &Mutex<Vec<Vec<u32>>>,
    ) -> Result<()> {
        let most = groups.iter().map(|group| group.bytes).max().unwrap_or(0);
        let mut input = Aligned::new((most as usize).next_multiple_of(BLOCK));
        let mut gathered: Option<Gathered> = None;
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(group) = groups.get(number) else { break };
            let indices = self.group(group, source, &mut input, &mut gathered)?;
            done.lock().unwrap_or_else(|e| e.into_inner())[number] = indices;
        }
        match gathered {
            Some(mut gathered) => self.flush(&mut gathered),
            None => Ok(()),
        }
    }

    /// Saves what is new in a group, and says what its chunks are.
    fn group(
        &self,
        group: &Group,
        source: &dyn Source,
        input: &mut Aligned,
        gathered: &mut Option<Gathered>,
    ) -> Result<Vec<u32>> {
        let base = self.options.base.as_deref();
        let below =
            base.into_iter().flat_map(|base| base.numbers(group.start, group.bytes)).chain(std::iter::repeat(None));
        let unchanged = base.is_some() && source.unchanged(group.start, group.bytes);
        let same = |at, bytes| unchanged || source.unchanged(at, bytes);
        let all = pieces(group.start, group.bytes).zip(below);
        let all: Vec<_> = all.map(|((at, bytes), below)| (at, bytes, below.filter(|_| same(at, bytes)))).collect();
        let memory = &mut input.as_mut()[..group.bytes as usize];
        // What has to be looked at is read in as few pieces as it is.
        for run in all.chunk_by(|one, next| one.2.is_some() == next.2.is_some()) {
            let (at, bytes) = (run[0].0, run.iter().map(|(_, bytes, _)| bytes).sum::<u64>());
            if run[0].2.is_some() {
                count(&self.counters.unread, bytes as usize);
                continue;
            }
            let place = (at - group.start) as usize;
            source.read(at, &mut memory[place..place + bytes as usize]).map_err(|refused| {
                let text = format!("{bytes} bytes of memory at {at:#x} could not be read: {refused}");
                Error::new(ErrorKind::Memory, text)
            })?;
        }
        let known = self.known(all.iter().map(|(_, _, same)| *same));
        let mut indices = Vec::with_capacity(all.len());
        // What is new is moved together at the front of the memory that was read.
        let mut kept = 0;
        let mut chunks = Vec::new();
        for ((at, bytes, _), known) in all.into_iter().zip(known) {
            if let Some(index) = known {
                indices.push(index);
                continue;
            }
            let (from, bytes) = ((at - group.start) as usize, bytes as usize);
            let piece = &memory[from..from + bytes];
            if is_zero(piece) {
                count(&self.counters.zeros, bytes);
                indices.push(ZEROS);
                continue;
            }
            let digest = Digest::of(piece);
            let (index, new) = self.note(digest)?;
            indices.push(index);
            if !new {
                count(&self.counters.known, bytes);
                continue;
            }
            if let Some((on, pages)) = base.and_then(|base| patch(base, source, at, piece)) {
                self.gather_patch(gathered, digest, piece, on, pages)?;
                continue;
            }
            // Never behind the place where it was read: what lies there is still to come.
            let place = if aligned(kept, bytes) <= from { aligned(kept, bytes) } else { kept };
            memory.copy_within(from..from + bytes, place);
            memory[kept..place].fill(0);
            chunks.push(Chunk { digest, offset: place as u64, bytes: bytes as u32, form: Form::Whole });
            kept = place + bytes;
        }
        if kept == 0 {
            return Ok(indices);
        }
        if kept < SMALL {
            let room = self.room(gathered, kept)?;
            let first = room.used.next_multiple_of(BLOCK);
            room.bytes.as_mut()[room.used..first].fill(0);
            room.bytes.as_mut()[first..first + kept].copy_from_slice(&memory[..kept]);
            room.used = first + kept;
            room.chunks.extend(chunks.into_iter().map(|chunk| Chunk { offset: chunk.offset + first as u64, ..chunk }));
        } else {
            let end = kept.next_multiple_of(BLOCK);
            input.as_mut()[kept..end].fill(0);
            self.put(&input.get()[..end], chunks)?;
        }
        Ok(indices)
    }

    /// The number of contents, and whether nobody has stored them yet: then the caller does.
    fn note(&self, digest: Digest) -> Result<(u32, bool)> {
        let mut contents = self.contents();
        if let Some(&index) = contents.by_digest.get(&digest) {
            return Ok((index, false));
        }
        let index = contents.digests.len() as u32;
        if index as usize >= crate::codec::LIST {
            return Err(Error::new(ErrorKind::Invalid, "more memory than a snapshot holds (2 TiB)"));
        }
        contents.digests.push(digest);
        contents.by_digest.insert(digest, index);
        drop(contents);
        let below = self.options.base.as_ref().is_some_and(|base| base.has(&digest));
        Ok((index, !below))
    }

    /// The numbers of contents that have others in the snapshot below; they are many, and most of a snapshot.
    fn known(&self, below: impl Iterator<Item = Option<u32>>) -> Vec<Option<u32>> {
        let Some(base) = self.options.base.as_deref().filter(|_| self.shared == 0) else { return below.collect() };
        let mut all = self.contents();
        let Contents { digests, by_digest, .. } = &mut *all;
        let mut number = |number: u32| match base.digests.get(number as usize) {
            None => ZEROS,
            Some(digest) => *by_digest.entry(*digest).or_insert_with(|| {
                digests.push(*digest);
                digests.len() as u32 - 1
            }),
        };
        below.map(|same| same.map(&mut number)).collect()
    }

    fn gather_patch(
        &self,
        gathered: &mut Option<Gathered>,
        digest: Digest,
        piece: &[u8],
        on: Digest,
        pages: u16,
    ) -> Result<()> {
        let room = self.room(gathered, piece.len())?;
        let offset = room.used;
        for page in patched(piece.len(), pages) {
            room.bytes.as_mut()[room.used..room.used + page.len()].copy_from_slice(&piece[page.clone()]);
            room.used += page.len();
        }
        let form = Form::Patch { on, pages };
        room.chunks.push(Chunk { digest, offset: offset as u64, bytes: piece.len() as u32, form });
        Ok(())
    }

    /// Room for so many bytes more, less than `SMALL`.
    fn room<'g>(&self, gathered: &'g mut Option<Gathered>, bytes: usize) -> Result<&'g mut Gathered> {
        let new = || Gathered { bytes: Aligned::new(2 * SMALL), used: 0, chunks: Vec::new() };
        let room = gathered.get_or_insert_with(new);
        if room.used.next_multiple_of(BLOCK) + bytes > room.bytes.len() {
            self.flush(room)?;
        }
        Ok(room)
    }

    fn flush(&self, gathered: &mut Gathered) -> Result<()> {
        if gathered.used > 0 {
            let end = gathered.used.next_multiple_of(BLOCK);
            gathered.bytes.as_mut()[gathered.used..end].fill(0);
            self.put(&gathered.bytes.get()[..end], std::mem::take(&mut gathered.chunks))?;
            gathered.used = 0;
        }
        Ok(())
    }

    /// Writes contents, in whole blocks, and notes where they are.
    fn put(&self, bytes: &[u8], chunks: Vec<Chunk>) -> Result<()> {
        let at = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        write_all(self.file.as_ref(), bytes, at).map_err(|refused| self.refused("writing", &refused))?;
        let place = at - HEADER as u64;
        let placed = chunks.into_iter().map(|chunk| Chunk { offset: chunk.offset + place, ..chunk });
        self.contents().chunks.extend(placed);
        Ok(())
    }

    fn refused(&self, what: &str, refused: &std::io::Error) -> Error {
        let mut error = Error::disk(&self.path, what, refused);
        if matches!(refused.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            error.text += "; nothing was left there: make room, or choose another folder";
        }
        error
    }

    /// Completes the snapshot: from here on it is there, also after a failure of power.
    pub fn finish(mut self, job: &Job) -> Result<Written> {
        let data = self.end.load(Ordering::Relaxed) - HEADER as u64;
        let mut contents = std::mem::take(&mut *self.contents());
        contents.chunks.sort_by_key(|chunk| chunk.offset);
        let stored = contents.chunks.iter().filter_map(Chunk::stored).sum();
        let mut regions = std::mem::take(&mut self.regions);
        regions.sort_by_key(|extent| extent.start);
        if let Some(pair) = regions.windows(2).find(|pair| pair[0].start.0 + pair[0].bytes > pair[1].start.0) {
            let text = format!("memory at {} was given twice for one snapshot", pair[1].start);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let map = Map { digests: contents.digests, regions, blobs: std::mem::take(&mut self.blobs) };
        if too_many(&map) {
            return Err(Error::new(ErrorKind::Invalid, "more memory than a snapshot holds (2 TiB)"));
        }
        let base = self.options.base.as_ref().map(|base| BaseLink {
            identity: base.identity(),
            name: base.name(),
            depth: base.depth() + 1,
        });
        let sections = [
            (SectionKind::Manifest, encode(&job.manifest)),
            (SectionKind::Contexts, encode(&job.contexts)),
            (SectionKind::Memory, encode(&job.memory)),
            (SectionKind::Code, encode(&job.code)),
            (SectionKind::Streams, encode(&job.streams)),
            (SectionKind::Events, encode(&job.events)),
            (SectionKind::Texels, encode(&job.texels)),
            (SectionKind::Graphs, encode(&job.graphs)),
            (SectionKind::Launches, encode(&job.launches)),
            (SectionKind::Frames, encode(&job.frames)),
            (SectionKind::Base, encode(&base)),
            (SectionKind::Map, encode(&map)),
            (SectionKind::Chunks, encode(&contents.chunks)),
        ];
        let number = SectionKind::Data as u16;
        let mut table = vec![Section { number, version: 1, flags: 0, offset: HEADER as u64, length: data, crc: 0 }];
        let mut tail = Vec::new();
        for (kind, bytes) in &sections {
            let (offset, length) = (HEADER as u64 + data + tail.len() as u64, bytes.len() as u64);
            if length > SECTION {
                let text = format!("{} bytes of {}, at most {SECTION}", length, kind.name());
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            table.push(Section { number: *kind as u16, version: 1, flags: 0, offset, length, crc: crc32c(bytes) });
            tail.extend_from_slice(bytes);
        }
        let identity = Header::identify(&table, sections.iter().map(|(_, bytes)| bytes.as_slice()));
        let bytes = HEADER as u64 + data + tail.len() as u64;
        let header = Header { version: VERSION, bytes, identity, sections: table };
        let mut last = Aligned::new(tail.len().next_multiple_of(BLOCK));
        last.as_mut()[..tail.len()].copy_from_slice(&tail);
        let mut first = Aligned::new(HEADER);
        first.as_mut().copy_from_slice(&header.encode());
        let file = self.file.as_ref();
        write_all(file, last.get(), HEADER as u64 + data)
            .and_then(|()| write_all(file, first.get(), 0))
            .and_then(|()| file.resize(bytes))
            .and_then(|()| if self.options.lasts { file.sync() } else { Ok(()) })
            .map_err(|refused| self.refused("writing", &refused))?;
        self.name(base.as_ref())?;
        let stats = Stats {
            memory: self.memory,
            zeros: self.counters.zeros.load(Ordering::Relaxed),
            known: self.counters.known.load(Ordering::Relaxed),
            unread: self.counters.unread.load(Ordering::Relaxed),
            stored,
            file: bytes,
        };
        Ok(Written { identity, path: self.path.clone(), stats })
    }

    /// The file takes its name.
    fn name(&mut self, base: Option<&BaseLink>) -> Result<()> {
        let store = self.store.clone();
        let _names = store.lock();
        // Somebody may have built on the old one meanwhile.
        store.free(&self.name)?;
        if let (Some(link), Some(snapshot)) = (base, &self.options.base) {
            snapshot.still(link)?;
        }
        let named = store.disk.rename(&self.part, &self.path);
        named.map_err(|refused| self.refused("giving it its name", &refused))?;
        self.finished = true;
        if !self.options.lasts {
            return Ok(());
        }
        let folder = folder_of(&self.path);
        store.disk.sync_folder(&folder).map_err(|refused| {
            let mut error = self.refused("making its name last", &refused);
            error.text += "; it is there, and may be gone after a failure of power";
            error
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // Who opens the folder next tries again.
            let _ = self.store.disk.remove(&self.part);
        }
    }
}

/// The pages of a chunk that differ from what the snapshot below has in its place, if it is worth it.
fn patch(base: &Snapshot, source: &dyn Source, at: u64, piece: &[u8]) -> Option<(Digest, u16)> {
    let on = base.contents_at(at, piece.len() as u64)??;
    let all = piece.len().div_ceil(PAGE);
    let few = |pages: u16| (pages.count_ones() as usize * 2 <= all).then_some((on, pages));
    let those = |differ: &dyn Fn(std::ops::Range<usize>) -> bool| {
        let pages = (0..all).filter(|page| differ(page * PAGE..piece.len().min((page + 1) * PAGE)));
        pages.fold(0u16, |pages, page| pages | 1 << page)
    };
    // Where the source knows which have changed, nothing has to be compared.
    let changed = |page: std::ops::Range<usize>| !source.unchanged(at + page.start as u64, page.len() as u64);
    let said = source.is_still().then(|| few(those(&changed))).flatten();
    said.or_else(|| {
        let mut old = vec![0; piece.len()];
        // What cannot be read is not built on.
        base.read_contents(&on, &mut old).ok()?;
        few(those(&|page| piece[page.clone()] != old[page]))
    })
}

/// Where a chunk goes behind others: larger ones at blocks, so that they can be read past the page cache.
fn aligned(at: usize, bytes: usize) -> usize {
    at.next_multiple_of(if bytes < BLOCK { 64 } else { BLOCK })
}

/// Whether all bytes are 0.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; CHUNK as usize] = [0; CHUNK as usize];
    bytes.chunks(ZEROS.len()).all(|part| *part == ZEROS[..part.len()])
}

struct Plain<'b>(&'b [u8]);

impl Source for Plain<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(at, out)
    }
}

/// What it holds has no address, so that nothing below is in the same place.
struct Moved<'s>(&'s dyn Source);

impl Source for Moved<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(at, out)
    }
}
