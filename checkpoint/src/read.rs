//! Reading a snapshot.

use crate::codec::{Wire, decode};
use crate::container::{Header, Section, SectionKind, read_header, read_section};
use crate::digest::ByDigest;
use crate::disk::{Aligned, BLOCK, Disk, DiskFile, folder_of, read_all};
use crate::map::{
    BaseLink, CHUNK, CHUNKS, Chunk, DEPTH, Extent, Form, Map, Run, What, ZEROS, patched, piece_count, pieces, too_many,
};
use crate::source::Sink;
use crate::wire::{Address, Blob, Job, Range};
use crate::{Digest, Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What snapshots' file names end with.
pub const EXTENSION: &str = "snapshot";
/// Memory that a thread restores at a time.
const GROUP: u64 = 4 << 20;

/// How memory is restored.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Threads that read, check and write; 0 for as many as there are processors.
    pub threads: usize,
    /// Past the page cache.
    pub direct: bool,
}

/// Contents that an extent's chunks are, found by number.
pub(crate) struct Laid {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    runs: Vec<Run>,
    /// The number of each run's first chunk.
    firsts: Vec<u64>,
}

impl Laid {
    fn new(extent: Extent) -> Self {
        let mut next = 0;
        let firsts = extent.runs.iter().map(|run| {
            next += u64::from(run.count);
            next - u64::from(run.count)
        });
        let firsts = firsts.collect();
        Self { start: extent.start.0, bytes: extent.bytes, runs: extent.runs, firsts }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes
    }

    /// What a chunk is, by its number.
    fn index(&self, number: u64) -> u32 {
        let run = self.firsts.partition_point(|&first| first <= number).saturating_sub(1);
        self.runs.get(run).map_or(ZEROS, |found| found.index((number - self.firsts[run]) as u32))
    }

    /// Chunks of a part of it: address, bytes, contents.
    fn part(&self, at: u64, bytes: u64) -> impl Iterator<Item = (u64, u64, u32)> {
        pieces(at, bytes).map(|(at, bytes)| (at, bytes, self.index(piece_count(self.start, at - self.start + 1) - 1)))
    }

    /// Where a chunk begins, by its number; the end behind the last one.
    fn place(&self, number: u64) -> u64 {
        match number {
            0 => self.start,
            _ => (self.start / CHUNK).saturating_add(number).saturating_mul(CHUNK).min(self.end()),
        }
    }

    /// Its runs with address and bytes. There may be more chunks in them than anybody can look at one by one.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (u64, u64, &Run)> {
        self.runs.iter().zip(&self.firsts).map(|(run, &first)| {
            let at = self.place(first);
            (at, self.place(first + u64::from(run.count)) - at, run)
        })
    }

    /// The chunks of a run that stand for all of them: as many as there are contents in it, and those of other sizes.
    pub(crate) fn samples(at: u64, bytes: u64, run: &Run) -> impl Iterator<Item = (u64, u64, u32)> + use<> {
        let run = run.clone();
        let most = match run.what {
            What::Zeros => 0,
            What::Same { .. } => 2,
            What::Ascending { .. } => usize::MAX,
        };
        let first = pieces(at, bytes).enumerate().take(most);
        let last = (most == 2 && run.count > 2).then(|| {
            let from = (at + bytes - 1) / CHUNK * CHUNK;
            (run.count as usize - 1, (from, at + bytes - from))
        });
        first.chain(last).map(move |(number, (at, bytes))| (at, bytes, run.index(number as u32)))
    }

    /// Those of its chunks, by number, that may be other contents than in another extent with as many: all where there is none. Both have a
    /// list of contents, of which the first `common` are the same.
    fn differing(&self, other: Option<&Self>, common: u32) -> Vec<std::ops::Range<u64>> {
        let Some(other) = other else { return std::iter::once(0..piece_count(self.start, self.bytes)).collect() };
        let mut differing: Vec<std::ops::Range<u64>> = Vec::new();
        let (mut number, mut here, mut there) = (0, 0, 0);
        while let (Some(run), Some(old)) = (self.runs.get(here), other.runs.get(there)) {
            let ends = [self.firsts[here] + u64::from(run.count), other.firsts[there] + u64::from(old.count)];
            let end = ends[0].min(ends[1]);
            let index = |run: &Run, first: u64, at: u64| run.index((at - first) as u32);
            let agrees = |at: u64| {
                let (now, before) = (index(run, self.firsts[here], at), index(old, other.firsts[there], at));
                now == before && now < common
            };
            let same = match (&run.what, &old.what) {
                (What::Zeros, What::Zeros) => true,
                // Both rise, or neither does: then they agree everywhere, if they do at their ends.
                _ => agrees(number) && agrees(end - 1) && (run.rises() == old.rises() || end - number <= 2),
            };
            if !same && number < end {
                match differing.last_mut().filter(|last| last.end == number) {
                    Some(last) => last.end = end,
                    None => differing.push(number..end),
                }
            }
            (here, there) = (here + usize::from(ends[0] == end), there + usize::from(ends[1] == end));
            number = end;
        }
        differing
    }

    /// A part of its runs, chunks by number: address, bytes and run.
    fn between(&self, part: std::ops::Range<u64>) -> impl Iterator<Item = (u64, u64, Run)> {
        let first = self.firsts.partition_point(|&first| first <= part.start).saturating_sub(1);
        let runs =
            self.runs[first..].iter().zip(&self.firsts[first..]).take_while(move |(_, first)| **first < part.end);
        runs.filter_map(move |(run, &first)| {
            let (from, to) = (first.max(part.start), (first + u64::from(run.count)).min(part.end));
            let (at, end) = (self.place(from), self.place(to));
            (from < to).then(|| (at, end - at, run.part((from - first) as u32, (to - from) as u32)))
        })
    }

    /// All of its chunks.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, u64, u32)> {
        let indices = self.runs.iter().flat_map(|run| (0..run.count).map(|number| run.index(number)));
        pieces(self.start, self.bytes).zip(indices).map(|((at, bytes), index)| (at, bytes, index))
    }
}

/// A snapshot, with the ones that it is built on.
pub struct Snapshot {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    header: Header,
    job: Job,
    pub(crate) digests: Vec<Digest>,
    pub(crate) regions: Vec<Laid>,
    pub(crate) blobs: Vec<Laid>,
    pub(crate) chunks: Vec<Chunk>,
    by_digest: ByDigest<u32>,
    data: u64,
    link: Option<BaseLink>,
    base: Option<Arc<Self>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("path", &self.path).field("identity", &self.identity()).finish_non_exhaustive()
    }
}

/// Contents that are in a file.
struct Found<'s> {
    snapshot: &'s Snapshot,
    chunk: &'s Chunk,
}

/// Where contents are stored: in which file, where, in how many bytes, and how many they are.
pub(crate) struct Stored<'s> {
    pub(crate) file: &'s Path,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) size: usize,
}

/// Opens a file that must be this user's own.
pub(crate) fn open_own(disk: &dyn Disk, path: &Path, direct: bool) -> Result<Box<dyn DiskFile>> {
    let file = disk.open(path, direct).map_err(|refused| match refused.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::Missing, format!("{}: there is no such snapshot", path.display()))
        }
        _ => Error::disk(path, "opening it", &refused),
    })?;
    let asked = file.about().and_then(|about| disk.user().map(|user| (about, user)));
    let (about, user) = asked.map_err(|refused| Error::disk(path, "looking at it", &refused))?;
    let not_ours = |text: String| Err(Error::new(ErrorKind::NotOurs, format!("{}: {text}", path.display())));
    match () {
        () if !about.is_file => not_ours("it is no plain file".into()),
        () if about.owner != user => {
            not_ours(format!("it belongs to user {}, and this is user {user}: it is not used", about.owner))
        }
        () if about.mode & 0o077 != 0 => not_ours(format!(
            "others may read or change it (mode {:03o}): if that is how you want it, chmod 600 it first",
            about.mode
        )),
        () => Ok(file),
    }
}

fn section<T: Wire>(file: &dyn DiskFile, path: &Path, header: &Header, kind: SectionKind) -> Result<(T, Vec<u8>)> {
    let found =
        header.section(kind).ok_or_else(|| Error::damaged(path, format!("it has no section {}", kind.name())))?;
    if found.version != 1 {
        let text = format!(
            "{}: its section {} has version {}: use a newer hetGPU",
            path.display(),
            kind.name(),
            found.version
        );
        return Err(Error::new(ErrorKind::Version, text));
    }
    let bytes = read_section(file, path, found)?;
    let record = decode(&bytes).map_err(|flaw| Error::damaged(path, format!("section {}: {}", kind.name(), flaw.0)))?;
    Ok((record, bytes))
}

impl Snapshot {
    /// Opens a snapshot by its path, and those that it is built on, which lie in the same folder. Headers, tables and all
    /// that is known of the job are checked; contents are checked when they are read.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self> {
        Self::open_in_chain(disk, path, DEPTH, None)
    }

    /// The same, where the one that it is built on may be open already.
    pub fn open_on(disk: &Arc<dyn Disk>, path: &Path, base: Option<&Arc<Self>>) -> Result<Self> {
        Self::open_in_chain(disk, path, DEPTH, base)
    }

    fn open_in_chain(disk: &Arc<dyn Disk>, path: &Path, left: u32, known: Option<&Arc<Self>>) -> Result<Self> {
        let file = open_own(disk.as_ref(), path, false)?;
        let header = read_header(file.as_ref(), path)?;
        let mut all = Vec::new();
        macro_rules! load {
            ($kind:ident) => {{
                let (record, bytes) = section(file.as_ref(), path, &header, SectionKind::$kind)?;
                all.push((SectionKind::$kind as u16, bytes));
                record
            }};
        }
        let job = Job {
            manifest: load!(Manifest),
            contexts: load!(Contexts),
            memory: load!(Memory),
            code: load!(Code),
            streams: load!(Streams),
            events: load!(Events),
            texels: load!(Texels),
            graphs: load!(Graphs),
            launches: load!(Launches),
            frames: load!(Frames),
        };
        let link: Option<BaseLink> = load!(Base);
        let map: Map = load!(Map);
        let chunks: Vec<Chunk> = load!(Chunks);
        let data = *header.section(SectionKind::Data).ok_or_else(|| Error::damaged(path, "it has no section data"))?;
        for section in header.sections.iter().filter(|section| section.kind().is_none()) {
            all.push((section.number, read_section(file.as_ref(), path, section)?));
        }
        let bytes =
            |section: &Section| all.iter().find(|(number, _)| *number == section.number).map(|(_, bytes)| &bytes[..]);
        if Header::identify(&header.sections, header.sections.iter().filter_map(bytes)) != header.identity {
            return Err(Error::damaged(path, "its identity is not that of its sections"));
        }
        drop(all);
        let base = match &link {
            None => None,
            Some(link)
                if known.is_some_and(|known| known.identity() == link.identity && known.depth() + 1 == link.depth) =>
            {
                known.cloned()
            }
            Some(link) => Some(Arc::new(Self::find_base(disk, path, link, left)?)),
        };
        let by_digest = chunks.iter().enumerate().map(|(index, chunk)| (chunk.digest, index as u32)).collect();
        let laid = |extents: Vec<Extent>| extents.into_iter().map(Laid::new).collect();
        check_extents(&map, path)?;
        let snapshot = Self {
            path: path.into(),
            file,
            disk: disk.clone(),
            header,
            job,
            digests: map.digests,
            regions: laid(map.regions),
            blobs: laid(map.blobs),
            chunks,
            by_digest,
            data: data.offset,
            link,
            base,
        };
        snapshot.check(data.length)?;
        Ok(snapshot)
    }

    fn find_base(disk: &Arc<dyn Disk>, path: &Path, link: &BaseLink, left: u32) -> Result<Self> {
        let wrong = |what: String| {
            let name = if crate::store::check_name(&link.name).is_ok() { link.name.as_str() } else { "?" };
            let identity = link.identity.short();
            Error::new(ErrorKind::Base, format!("{}: it is built on `{name}` ({identity}), {what}", path.display()))
        };
        let depth = link.depth;
        if depth == 0 || depth >= DEPTH || left <= 1 {
            return Err(wrong(format!("as number {depth} of a chain of at most {DEPTH}")));
        }
        crate::store::check_name(&link.name).map_err(|_| wrong("which is no name of a snapshot".into()))?;
        let folder = folder_of(path);
        let named = folder.join(format!("{}.{EXTENSION}", link.name));
        let is_it = |path: &Path| {
            let file = open_own(disk.as_ref(), path, false).ok()?;
            let header = read_header(file.as_ref(), path).ok()?;
            (header.identity == link.identity).then(|| path.to_path_buf())
        };
        let found = is_it(&named).or_else(|| {
            // It may have another name by now.
            let names = disk.names(&folder).unwrap_or_default();
            let snapshots = names.iter().filter(|name| name.ends_with(&format!(".{EXTENSION}")));
            snapshots.map(|name| folder.join(name)).find_map(|path| is_it(&path))
        });
        let Some(found) = found else {
            let there = open_own(disk.as_ref(), &named, false);
            return Err(wrong(match there {
                Ok(_) => "which has changed: there is another of that name now".into(),
                Err(error) if error.kind == ErrorKind::Missing => {
                    format!("which is missing: put it into {} again", folder.display())
                }
                Err(error) => format!("which cannot be used: {error}"),
            }));
        };
        let base = Self::open_in_chain(disk, &found, left - 1, None).map_err(|error| match error.kind {
            ErrorKind::Base => error,
            _ => wrong(format!("which cannot be used: {error}")),
        })?;
        if base.depth() + 1 != depth {
            return Err(wrong(format!("which is number {} of its chain, and not {}", base.depth(), depth - 1)));
        }
        Ok(base)
    }

    /// Whether the tables fit together.
    fn check(&self, data: u64) -> Result<()> {
        let wrong = |what: String| Err(Error::damaged(&self.path, what));
        if self.by_digest.len() != self.chunks.len() {
            return wrong("contents are there twice".into());
        }
        let mut end = 0;
        for chunk in &self.chunks {
            let stored = chunk.stored().and_then(|stored| chunk.offset.checked_add(stored));
            let Some(last) = stored.filter(|&last| last <= data && chunk.offset >= end) else {
                return wrong(format!("contents {:?} lie at {}, where they cannot", chunk.digest, chunk.offset));
            };
            end = last;
            if u64::from(chunk.bytes) > CHUNK || chunk.bytes == 0 {
                return wrong(format!("contents {:?} of {} bytes", chunk.digest, chunk.bytes));
            }
            if let Form::Patch { on, .. } = &chunk.form {
                let below = self.base.as_ref().and_then(|base| base.find(on));
                if below.is_none_or(|below| below.chunk.bytes != chunk.bytes) {
                    return wrong(format!("contents {:?} are changes of {on:?}, which is not below", chunk.digest));
                }
            }
        }
        // What the snapshot below has in the same place was looked at when that was opened, and is found there if it is nowhere above.
        let below = self.base.as_deref().filter(|base| !self.chunks.iter().any(|chunk| base.has(&chunk.digest)));
        let common = below.map_or(0, |below| self.common(below));
        // Found once for each of the list, and not for each use of it. Another snapshot may have the list as it is: all of it has to be somewhere.
        let mut sizes: Vec<Option<u64>> = vec![None; self.digests.len()];
        for (size, digest) in sizes.iter_mut().zip(&self.digests).skip(common as usize) {
            let Some(found) = self.find(digest) else {
                return wrong(format!("it lists contents {digest:?}, which are nowhere"));
            };
            *size = Some(found.chunk.bytes.into());
        }
        for extent in self.regions.iter().chain(&self.blobs) {
            let others = extent.differing(below.and_then(|below| below.alike(extent)), common);
            let samples = others.into_iter().flat_map(|part| extent.between(part));
            for (at, bytes, index) in samples.flat_map(|(at, bytes, run)| Laid::samples(at, bytes, &run)) {
                let Some(digest) = self.digests.get(index as usize) else {
                    return wrong(format!("{bytes} bytes at {at:#x} are contents number {index}, and there are fewer"));
                };
                // What is listed below is found there.
                let size = *sizes[index as usize]
                    .get_or_insert_with(|| self.find(digest).map_or(0, |found| u64::from(found.chunk.bytes)));
                if size != bytes {
                    return wrong(format!("{bytes} bytes at {at:#x} are contents of {size} bytes"));
                }
            }
        }
        let all = self.blobs.len();
        match crate::check::blobs(&self.job).into_iter().find(|blob| blob.0 as usize >= all) {
            Some(blob) => wrong(format!("it speaks of {blob:?}, and has {all}")),
            None => Ok(()),
        }
    }

    /// Whether the file is still the one that a link names.
    pub(crate) fn still(&self, link: &BaseLink) -> Result<()> {
        let changed = |error: Error| {
            let text = format!("the snapshot that it is built on is no longer what it was: {error}");
            Error::new(ErrorKind::Base, text)
        };
        let file = open_own(self.disk.as_ref(), &self.path, false).map_err(changed)?;
        let header = read_header(file.as_ref(), &self.path).map_err(changed)?;
        match header.identity == link.identity {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Base, format!("{}: it has changed meanwhile", self.path.display()))),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in its folder.
    pub fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Names it and no other.
    pub fn identity(&self) -> Digest {
        self.header.identity
    }

    /// The container's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Everything about the job but the contents of its memory.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// How many snapshots it is built on.
    pub fn depth(&self) -> u32 {
        self.link.as_ref().map_or(0, |link| link.depth)
    }

    /// The snapshot that it is built on.
    pub fn base(&self) -> Option<&Arc<Self>> {
        self.base.as_ref()
    }

    /// Its memory, by address.
    pub fn memory(&self) -> Vec<Range> {
        self.regions.iter().map(|region| Range { start: Address(region.start), bytes: region.bytes }).collect()
    }

    /// Bytes of contents without an address.
    pub fn blob_bytes(&self, blob: Blob) -> Option<u64> {
        self.blobs.get(blob.0 as usize).map(|extent| extent.bytes)
    }

    fn find(&self, digest: &Digest) -> Option<Found<'_>> {
        let mut snapshot = self;
        loop {
            if let Some(&index) = snapshot.by_digest.get(digest) {
                return Some(Found { snapshot, chunk: &snapshot.chunks[index as usize] });
            }
            snapshot = snapshot.base.as_deref()?;
        }
    }

    /// Where contents are stored.
    pub(crate) fn place(&self, digest: &Digest) -> Option<Stored<'_>> {
        let Found { snapshot, chunk } = self.find(digest)?;
        let bytes = chunk.stored().unwrap_or(0);
        Some(Stored { file: &snapshot.path, offset: snapshot.data + chunk.offset, bytes, size: chunk.bytes as usize })
    }

    /// Where the contents are that make others unreadable: those themselves, or what they are changes of.
    pub(crate) fn culprit(&self, digest: &Digest) -> Option<Stored<'_>> {
        let Found { snapshot, chunk } = self.find(digest)?;
        if let (Form::Patch { on, .. }, Some(base)) = (&chunk.form, &snapshot.base) {
            let mut out = vec![0; chunk.bytes as usize];
            if base.read_contents(on, &mut out).is_err() {
                return base.culprit(on);
            }
        }
        self.place(digest)
    }

    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.find(digest).is_some()
    }

    /// What a chunk of memory is: none where it is no chunk here, some of none where it is zeros.
    pub(crate) fn contents_at(&self, at: u64, bytes: u64) -> Option<Option<Digest>> {
        let after = self.regions.partition_point(|region| region.start <= at);
        let region = self.regions.get(after.checked_sub(1)?)?;
        if at.checked_add(bytes)? > region.end() {
            return None;
        }
        let mut part = region.part(at, bytes);
        let (_, whole, index) = part.next()?;
        // A range may end where it did not end before: then its last chunk is another.
        let same = |at: u64, bytes: u64| {
            let first = (at - at % CHUNK).max(region.start);
            let last = (at - at % CHUNK + CHUNK).min(region.end());
            (first, last - first) == (at, bytes)
        };
        if whole != bytes || !same(at, bytes) {
            return None;
        }
        Some((index != ZEROS).then(|| self.digests[index as usize]))
    }

    /// How many of the first in the list of contents are those of another snapshot.
    fn common(&self, other: &Self) -> u32 {
        self.digests.iter().zip(&other.digests).take_while(|(one, other)| one == other).count() as u32
    }

    /// Its memory of the same place and size.
    fn alike(&self, extent: &Laid) -> Option<&Laid> {
        let found = self.regions.binary_search_by_key(&extent.start, |region| region.start).ok();
        found.map(|found| &self.regions[found]).filter(|found| found.bytes == extent.bytes)
    }

    /// What the chunks of a range are, by their numbers in the list of contents; none for what is no chunk here.
    pub(crate) fn numbers(&self, at: u64, bytes: u64) -> impl Iterator<Item = Option<u32>> {
        let after = self.regions.partition_point(|region| region.start <= at);
        let region = after.checked_sub(1).map(|index| &self.regions[index]);
        let mut run = region.map_or(0, |region| {
            let first = piece_count(region.start, (at - region.start).saturating_add(1)) - 1;
            region.firsts.partition_point(|&other| other <= first).saturating_sub(1)
        });
        pieces(at, bytes).map(move |(at, bytes)| {
            let region = region.filter(|region| at + bytes <= region.end())?;
            let whole = (at == region.start || at.is_multiple_of(CHUNK))
                && (at + bytes == region.end() || (at + bytes).is_multiple_of(CHUNK));
            let number = piece_count(region.start, at - region.start + 1) - 1;
            while region.firsts.get(run + 1).is_some_and(|&first| first <= number) {
                run += 1;
            }
            whole.then(|| region.runs.get(run).map_or(ZEROS, |found| found.index((number - region.firsts[run]) as u32)))
        })
    }

    /// The parts of a range that are not known to hold contents with these digests, one for each chunk.
    pub fn differing(&self, at: u64, digests: &[[u8; 32]]) -> Vec<std::ops::Range<u64>> {
        static ZERO: OnceLock<Digest> = OnceLock::new();
        let zero = ZERO.get_or_init(|| Digest::of(&[0; CHUNK as usize]));
        let bytes = digests.len() as u64 * CHUNK;
        let known = self.numbers(at, bytes).map(|number| match number? {
            ZEROS => Some(*zero),
            index => self.digests.get(index as usize).copied(),
        });
        let mut differing: Vec<std::ops::Range<u64>> = Vec::new();
        for (place, (known, now)) in (at..).step_by(CHUNK as usize).zip(known.zip(digests)) {
            match differing.last_mut().filter(|last| last.end == place) {
                _ if known == Some(Digest(*now)) => {}
                Some(last) => last.end += CHUNK,
                None => differing.push(place..place + CHUNK),
            }
        }
        differing
    }

    /// Whether its list of contents has few that are nowhere in its memory: another may have the same list and more.
    pub(crate) fn uses_its_list(&self) -> bool {
        let runs = self.regions.iter().chain(&self.blobs).flat_map(|extent| &extent.runs);
        self.digests.len() as u64 / 2 <= runs.map(Run::distinct).sum::<u64>()
    }

    /// Which of the list of contents are somewhere in its memory.
    pub(crate) fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.digests.len()];
        for run in self.regions.iter().chain(&self.blobs).flat_map(|extent| &extent.runs) {
            if let (Some(last), first) = (run.last(), run.index(0) as usize) {
                used[first..=last as usize].fill(true);
            }
        }
        used
    }

    /// The memory that is not known to hold what it held in another snapshot, in order; all of it where there is none. Where this one
    /// knows which pages of a chunk have changed, it is those.
    pub fn changed_since(&self, other: Option<&Self>) -> Vec<Range> {
        let Some(other) = other else { return self.memory() };
        let mut changed: Vec<Range> = Vec::new();
        let mut add = |at: u64, bytes: u64| match changed.last_mut().filter(|last| last.start.0 + last.bytes == at) {
            Some(last) => last.bytes += bytes,
            None => changed.push(Range { start: Address(at), bytes }),
        };
        let common = self.common(other);
        for region in &self.regions {
            let others = region.differing(other.alike(region), common);
            let places = others.into_iter().map(|part| (region.place(part.start), region.place(part.end)));
            for (at, bytes) in places.flat_map(|(at, end)| pieces(at, end - at)) {
                let (now, before) = (self.contents_at(at, bytes), other.contents_at(at, bytes));
                if now.is_some() && now == before {
                    continue;
                }
                match now
                    .flatten()
                    .and_then(|now| self.by_digest.get(&now))
                    .map(|&index| &self.chunks[index as usize].form)
                {
                    Some(Form::Patch { on, pages }) if before == Some(Some(*on)) => {
                        patched(bytes as usize, *pages)
                            .for_each(|page| add(at + page.start as u64, (page.end - page.start) as u64));
                    }
                    _ => add(at, bytes),
                }
            }
        }
        changed
    }

    /// Reads contents and checks them.
    pub(crate) fn read_contents(&self, digest: &Digest, out: &mut [u8]) -> Result<()> {
        let Found { snapshot, chunk } = self.found(digest, out.len())?;
        snapshot.read_chunk(chunk, out, false)?;
        if Digest::of(out) == *digest {
            return Ok(());
        }
        // In which of the files that it is put together from the damage is.
        snapshot.read_chunk(chunk, out, true)?;
        snapshot.verify(chunk, out)
    }

    fn found(&self, digest: &Digest, bytes: usize) -> Result<Found<'_>> {
        let found = self.find(digest);
        let found = found.ok_or_else(|| Error::damaged(&self.path, format!("contents {digest:?} are nowhere")))?;
        if found.chunk.bytes as usize != bytes {
            return Err(Error::damaged(&found.snapshot.path, format!("contents {digest:?} have another size")));
        }
        Ok(found)
    }

    /// Reads contents: what they are built on is checked where `each` is.
    fn read_chunk(&self, chunk: &Chunk, out: &mut [u8], each: bool) -> Result<()> {
        let read = |out: &mut [u8], at: u64| {
            read_all(self.file.as_ref(), out, self.data + at)
                .map_err(|refused| Error::disk(&self.path, "reading it", &refused))
        };
        match &chunk.form {
            Form::Whole => read(out, chunk.offset),
            Form::Patch { on, pages } => {
                let base = self.base.as_ref().ok_or_else(|| Error::damaged(&self.path, "changes of nothing"))?;
                let below = base.found(on, out.len())?;
                below.snapshot.read_chunk(below.chunk, out, each)?;
                if each {
                    below.snapshot.verify(below.chunk, out)?;
                }
                let mut at = chunk.offset;
                for page in patched(out.len(), *pages) {
                    let bytes = page.len() as u64;
                    read(&mut out[page], at)?;
                    at += bytes;
                }
                Ok(())
            }
        }
    }

    fn verify(&self, chunk: &Chunk, contents: &[u8]) -> Result<()> {
        if Digest::of(contents) == chunk.digest {
            return Ok(());
        }
        let first = self.data + chunk.offset;
        let last = first + chunk.stored().unwrap_or(0);
        let what = format!("contents {:?} (bytes {first} to {last} of the file) are not what they were", chunk.digest);
        Err(Error::damaged(&self.path, what))
    }

    /// Reads memory at a logical address. All of it lies in the snapshot.
    pub fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        let none = || {
            Error::new(ErrorKind::Invalid, format!("{} bytes at {at:#x} are not in {}", out.len(), self.path.display()))
        };
        let end = at.checked_add(out.len() as u64).ok_or_else(none)?;
        let mut next = at;
        let mut parts = Vec::new();
        while next < end {
            let after = self.regions.partition_point(|region| region.start <= next);
            let region = after.checked_sub(1).map(|index| &self.regions[index]).filter(|region| region.end() > next);
            let region = region.ok_or_else(none)?;
            parts.push((region, next, region.end().min(end)));
            next = region.end().min(end);
        }
        for (region, from, to) in parts {
            self.read_extent(region, from, &mut out[(from - at) as usize..(to - at) as usize])?;
        }
        Ok(())
    }

    /// The same of a file that was written just now and lies in memory still: pages that this snapshot has by themselves are taken as they
    /// are, where all of their chunk would have to be put together to be checked.
    pub fn read_fresh(&self, at: u64, out: &mut [u8]) -> Result<()> {
        if let Some(place) = self.fresh(at, out.len()) {
            return read_all(self.file.as_ref(), out, place)
                .map_err(|refused| Error::disk(&self.path, "reading it", &refused));
        }
        self.read(at, out)
    }

    /// Where pages lie in the file that are stored one behind the other, apart from their chunk.
    fn fresh(&self, at: u64, bytes: usize) -> Option<u64> {
        let after = self.regions.partition_point(|region| region.start <= at);
        let region = self.regions.get(after.checked_sub(1)?)?;
        let (first, last) = ((at - at % CHUNK).max(region.start), (at - at % CHUNK + CHUNK).min(region.end()));
        let digest = self.contents_at(first, last.checked_sub(first)?)??;
        let chunk = &self.chunks[*self.by_digest.get(&digest)? as usize];
        let Form::Patch { pages, .. } = chunk.form else { return None };
        let (mut next, mut place, mut found) = ((at - first) as usize, chunk.offset, None);
        let end = next + bytes;
        for page in patched(chunk.bytes as usize, pages) {
            if page.start == next && next < end {
                found = found.or(Some(self.data + place));
                next = page.end;
            }
            place += page.len() as u64;
        }
        found.filter(|_| next == end)
    }

    /// Contents without an address, which must not have more bytes than that.
    pub fn blob(&self, blob: Blob, most: u64) -> Result<Vec<u8>> {
        let extent = self.blobs.get(blob.0 as usize);
        let extent =
            extent.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{blob:?} of {}", self.blobs.len())))?;
        if extent.bytes > most {
            let text = format!("{}: {blob:?} has {} bytes, at most {most}", self.path.display(), extent.bytes);
            return Err(Error::new(ErrorKind::Damaged, text));
        }
        let mut out = vec![0; extent.bytes as usize];
        self.read_extent(extent, 0, &mut out)?;
        Ok(out)
    }

    fn read_extent(&self, extent: &Laid, at: u64, out: &mut [u8]) -> Result<()> {
        let end = at + out.len() as u64;
        let mut chunk = Vec::new();
        for (from, _, index) in extent.part(at, out.len() as u64) {
            let first = (from - from % CHUNK).max(extent.start);
            let last = (from - from % CHUNK + CHUNK).min(extent.end());
            let to = &mut out[(from - at) as usize..(last.min(end) - at) as usize];
            match self.digests.get(index as usize) {
                None => to.fill(0),
                Some(digest) => {
                    chunk.resize((last - first) as usize, 0);
                    self.read_contents(digest, &mut chunk)?;
                    to.copy_from_slice(&chunk[(from - first) as usize..][..to.len()]);
                }
            }
        }
        Ok(())
    }

    /// Puts all memory back.
    pub fn restore(&self, sink: &dyn Sink, options: ReadOptions) -> Result<()> {
        self.restore_some(sink, options, |_| true)
    }

    /// Puts those ranges of memory back whose starts are wanted.
    pub fn restore_some(&self, sink: &dyn Sink, options: ReadOptions, wanted: impl Fn(Address) -> bool) -> Result<()> {
        let regions: Vec<&Laid> = self.regions.iter().filter(|region| wanted(Address(region.start))).collect();
        self.restore_extents(&regions, sink, options)
    }

    /// Puts contents without an address somewhere, from address 0 on.
    pub fn restore_blob(&self, blob: Blob, sink: &dyn Sink, options: ReadOptions) -> Result<()> {
        let extent = self.blobs.get(blob.0 as usize);
        let extent =
            extent.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{blob:?} of {}", self.blobs.len())))?;
        self.restore_extents(&[extent], sink, options)
    }

    fn restore_extents(&self, extents: &[&Laid], sink: &dyn Sink, options: ReadOptions) -> Result<()> {
        // How many groups there are up to the end of each extent.
        let mut groups = 0;
        let ends = extents.iter().map(|extent| {
            groups += if extent.bytes == 0 { 0 } else { (extent.end() - 1) / GROUP - extent.start / GROUP + 1 };
            groups
        });
        let ends: Vec<u64> = ends.collect();
        let group = |number: u64| {
            let extent = ends.partition_point(|&end| end <= number);
            let before = extent.checked_sub(1).map_or(0, |last| ends[last]);
            let extent = *extents.get(extent)?;
            let first = (extent.start / GROUP + number - before) * GROUP;
            let at = first.max(extent.start);
            Some((extent, at, first.saturating_add(GROUP).min(extent.end()) - at))
        };
        let direct = if options.direct { self.open_direct()? } else { Vec::new() };
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if options.threads == 0 { processors() } else { options.threads };
        let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
        let work = || -> Result<()> {
            let mut memory = Aligned::new(GROUP as usize);
            while !failed.load(Ordering::Relaxed) {
                let Some((extent, at, bytes)) = group(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let done = self.restore_group(extent, at, bytes, &mut memory, sink, &direct);
                done.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        let threads = threads.clamp(1, groups.clamp(1, 1024) as usize);
        if threads == 1 {
            return work();
        }
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(worked) => worked,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// The chain's files once more, past the page cache.
    fn open_direct(&self) -> Result<Vec<Box<dyn DiskFile>>> {
        let mut files = Vec::new();
        let mut snapshot = Some(self);
        while let Some(one) = snapshot {
            files.push(open_own(one.disk.as_ref(), &one.path, true)?);
            snapshot = one.base.as_deref();
        }
        Ok(files)
    }

    fn restore_group(
        &self,
        extent: &Laid,
        at: u64,
        bytes: u64,
        memory: &mut Aligned,
        sink: &dyn Sink,
        direct: &[Box<dyn DiskFile>],
    ) -> Result<()> {
        let parts: Vec<_> = extent.part(at, bytes).collect();
        let found = |index: u32| self.digests.get(index as usize).and_then(|digest| self.find(digest));
        let mut number = 0;
        while number < parts.len() {
            let (from, length, index) = parts[number];
            let place = (from - at) as usize;
            let Some(first) = found(index) else {
                memory.as_mut()[place..place + length as usize].fill(0);
                number += 1;
                continue;
            };
            // Chunks that lie one behind the other in the file too are read as one.
            let mut end = number + 1;
            let mut last = first.chunk.offset + length;
            let whole = first.chunk.form == Form::Whole;
            while whole
                && let Some(&(_, bytes, index)) = parts.get(end)
                && let Some(next) = found(index)
                && std::ptr::eq(next.snapshot, first.snapshot)
                && next.chunk.form == Form::Whole
                && next.chunk.offset == last
            {
                last += bytes;
                end += 1;
            }
            let out = &mut memory.as_mut()[place..place + (last - first.chunk.offset) as usize];
            if whole {
                first.snapshot.read_run(
                    first.chunk.offset,
                    out,
                    direct.get((self.depth() - first.snapshot.depth()) as usize).map(AsRef::as_ref),
                )?;
            } else {
                first.snapshot.read_chunk(first.chunk, out, true)?;
            }
            for &(from, bytes, index) in &parts[number..end] {
                let place = (from - at) as usize;
                if let Some(found) = found(index) {
                    found.snapshot.verify(found.chunk, &memory.get()[place..place + bytes as usize])?;
                }
            }
            number = end;
        }
        let refused = |from: u64, refused: std::io::Error| {
            Error::new(ErrorKind::Memory, format!("memory at {from:#x} could not be written: {refused}"))
        };
        let mut number = 0;
        while number < parts.len() {
            let (from, _, index) = parts[number];
            let zeros = index == ZEROS;
            let same = parts[number..].iter().take_while(|part| (part.2 == ZEROS) == zeros);
            let (count, bytes) = same.fold((0, 0), |(count, bytes), part| (count + 1, bytes + part.1));
            let written = match zeros {
                true => sink.zero(from, bytes),
                false => sink.write(from, &memory.get()[(from - at) as usize..(from - at + bytes) as usize]),
            };
            written.map_err(|error| refused(from, error))?;
            number += count;
        }
        Ok(())
    }

    /// Reads contents that lie one behind the other.
    fn read_run(&self, offset: u64, out: &mut [u8], direct: Option<&dyn DiskFile>) -> Result<()> {
        let at = self.data + offset;
        let whole = |value: usize| value.is_multiple_of(BLOCK);
        let direct = direct.filter(|_| whole(at as usize) && whole(out.len()) && whole(out.as_ptr().addr()));
        let file = direct.unwrap_or(self.file.as_ref());
        read_all(file, out, at).map_err(|refused| Error::disk(&self.path, "reading it", &refused))
    }
}

fn check_extents(map: &Map, path: &Path) -> Result<()> {
    let wrong = |what: String| Err(Error::damaged(path, what));
    if too_many(map) {
        return wrong(format!("more than {CHUNKS} chunks"));
    }
    let mut end = 0;
    for (extent, is_region) in map.regions.iter().map(|e| (e, true)).chain(map.blobs.iter().map(|e| (e, false))) {
        let start = extent.start.0;
        let Some(last) = start.checked_add(extent.bytes) else {
            return wrong(format!("memory at {start:#x} reaches past the end of all addresses"));
        };
        if is_region && (start < end || extent.bytes == 0) {
            return wrong(format!("memory at {start:#x} lies where it cannot"));
        }
        if !is_region && start != 0 {
            return wrong(format!("contents without an address begin at {start:#x}"));
        }
        end = last;
        let counts = extent.runs.iter().map(|run| u64::from(run.count));
        if counts.sum::<u64>() != piece_count(start, extent.bytes) || extent.runs.iter().any(|run| run.count == 0) {
            return wrong(format!("{} bytes at {start:#x} have another number of chunks", extent.bytes));
        }
        if let Some(last) = extent.runs.iter().filter_map(Run::last).find(|&last| last >= map.digests.len() as u64) {
            return wrong(format!("memory at {start:#x} is contents number {last} of {}", map.digests.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::runs;

    /// An extent that begins and ends inside of chunks.
    fn laid(list: &[u32]) -> Laid {
        let (start, end) = (3 * CHUNK + 100, (3 + list.len() as u64) * CHUNK - 7);
        Laid::new(Extent { start: Address(start), bytes: end - start, runs: runs(list.iter().copied()) })
    }

    #[test]
    fn runs_are_where_their_chunks_are_and_samples_stand_for_all_of_them() {
        for list in [&[0, 1, 2, ZEROS, ZEROS, 7, 7, 7, 7, 8, 8, 3][..], &[ZEROS; 5], &[4; 9], &[6], &[5, 5], &[1, 2]] {
            let laid = laid(list);
            let all: Vec<_> = laid.all().collect();
            assert_eq!(all.iter().map(|chunk| chunk.2).collect::<Vec<_>>(), list);
            let mut at = laid.start;
            for (start, bytes, run) in laid.spans() {
                assert_eq!(start, at);
                at += bytes;
                let inside: Vec<_> = all.iter().filter(|c| (start..at).contains(&c.0)).copied().collect();
                assert_eq!(inside.len(), run.count as usize);
                let samples: Vec<_> = Laid::samples(start, bytes, run).collect();
                assert!(samples.iter().all(|sample| inside.contains(sample)), "{samples:?} of {inside:?}");
                // Every size with every content, zeros left out.
                let missing = |c: &&(u64, u64, u32)| c.2 != ZEROS && !samples.iter().any(|s| (s.1, s.2) == (c.1, c.2));
                assert_eq!(inside.iter().find(missing), None);
            }
            assert_eq!(at, laid.end());
            for (number, chunk) in all.iter().enumerate() {
                assert_eq!(laid.index(number as u64), chunk.2);
                assert_eq!(laid.part(chunk.0, chunk.1).collect::<Vec<_>>(), [*chunk]);
            }
        }
    }

    #[test]
    fn what_differs_is_found_run_by_run_as_it_is_one_by_one() {
        const COMMON: u32 = 12;
        let mut state = 1u64;
        let mut below = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        let mut differences = 0;
        for _ in 0..2000 {
            let (mut now, mut before) = (Vec::new(), Vec::new());
            while now.len() < 20 {
                let (count, first, other) = (1 + below(6), below(16) as u32, below(16) as u32);
                let (rises, differs) = (below(2) as u32, below(3));
                for number in 0..count as u32 {
                    let index = |first: u32| if first == 15 { ZEROS } else { first + rises * number };
                    now.push(index(first));
                    before.push(if differs == 0 || below(20) == 0 { index(other) } else { index(first) });
                }
            }
            let (now_laid, before_laid) = (laid(&now), laid(&before));
            let differing = now_laid.differing(Some(&before_laid), COMMON);
            assert!(differing.windows(2).all(|pair| pair[0].end < pair[1].start), "{differing:?}");
            for (number, (&one, &other)) in now.iter().zip(&before).enumerate() {
                let same = one == other && (one == ZEROS || one < COMMON);
                let listed = differing.iter().any(|part| part.contains(&(number as u64)));
                // More may be named than differs, where runs are of different kinds or go on in what is not common.
                assert!(listed || same, "{now:?} {before:?} {differing:?}");
                differences += usize::from(!listed);
            }
            let chunks: Vec<_> = now_laid.all().collect();
            for part in differing {
                let pieces = now_laid.between(part.clone()).flat_map(|(at, bytes, run)| {
                    pieces(at, bytes)
                        .enumerate()
                        .map(move |(number, (at, bytes))| (at, bytes, run.index(number as u32)))
                });
                assert_eq!(pieces.collect::<Vec<_>>(), chunks[part.start as usize..part.end as usize]);
            }
        }
        assert!(differences > 20_000, "next to nothing was found to be the same: {differences}");
        let one = laid(&[0, 1, 2, 3, 3, 3]);
        assert!(one.differing(Some(&one), 4).is_empty());
        for (other, common) in [(Some(&one), 3), (None, 4)] {
            assert!(one.differing(other, common).iter().eq([&(0..6)]));
        }
    }

    #[test]
    fn much_memory_in_few_bytes_is_looked_at_in_little_time() {
        let run = |what| Run { count: u32::MAX, what };
        let runs = (0..1000).map(|_| [run(What::Zeros), run(What::Same { index: 0 })]).collect::<Vec<_>>().concat();
        let bytes = 2000 * u64::from(u32::MAX) * CHUNK;
        let laid = Laid::new(Extent { start: Address(0), bytes, runs });
        assert_eq!(laid.spans().map(|span| span.1).sum::<u64>(), bytes);
        assert_eq!(laid.spans().flat_map(|(at, bytes, run)| Laid::samples(at, bytes, run)).count(), 3000);
    }
}
