//! Memory of a job that this command holds until the job has it: what came from elsewhere, or what it had before it was saved.
//!
//! Large ranges lie in files of memory, one each, whose pages the job takes as they are: nothing is copied when it goes on. What is
//! small, and everything where the host has too little memory, lies in one file on the disk and is read from a snapshot.

use hetgpu_checkpoint::wire::{Address, Blob, Range};
use hetgpu_checkpoint::{ReadOptions, Sink, Snapshot, Source, Store, WriteOptions};
use hetgpu_runtime::memory_file;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes of what is noted as written.
const CHUNK: u64 = hetgpu_checkpoint::CHUNK;
/// What is smaller has no file of its own.
const LARGE: u64 = 2 << 20;

/// Where a range lies: in a file of its own, or from a place on in the common one.
struct Held {
    bytes: u64,
    file: Option<File>,
    place: u64,
}

/// What was written, in chunks.
#[derive(Default)]
struct Noted {
    /// Since the last snapshot.
    lately: BTreeSet<u64>,
    /// Ever.
    ever: BTreeSet<u64>,
}

/// Memory by address.
pub(super) struct Shelf {
    rest: File,
    /// Where the next range goes in it.
    end: u64,
    ranges: BTreeMap<u64, Held>,
    noted: Mutex<Noted>,
    /// There is room for files of memory.
    roomy: bool,
}

/// A table of files that a job is lent, as long as this lives.
pub(super) struct Lent {
    _table: File,
    /// What the job is told.
    pub(super) words: Value,
}

/// What a job gets back: the snapshot that it reads, and what it is lent beside.
pub(super) struct Back {
    pub(super) snapshot: &'static str,
    pub(super) lent: Lent,
}

/// A snapshot of what no job can be lent, built on nothing: it is opened at once, where a whole chain would have to be.
const REST: &str = "rest";
/// What has more contents without an address is not written anew for that.
const MOST_REST: u64 = 64 << 20;

fn chunks(at: u64, bytes: u64) -> std::ops::RangeInclusive<u64> {
    at / CHUNK..=(at + bytes.max(1) - 1) / CHUNK
}

/// Whether the host has room for so much, and some more.
fn fits(bytes: u64) -> bool {
    let about = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = about.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    free.is_some_and(|free| bytes.saturating_add(bytes / 8) <= free << 10)
}

impl Shelf {
    /// An empty one for so many bytes, with a file without a name in a folder.
    pub(super) fn new(folder: &Path, bytes: u64) -> io::Result<Self> {
        let path = folder.join("memory");
        let rest = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self { rest, end: 0, ranges: BTreeMap::new(), noted: Mutex::default(), roomy: fits(bytes) })
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The file that holds a range, and where in it.
    fn find(&self, at: u64, bytes: u64) -> io::Result<(&File, u64)> {
        let range = self.ranges.range(..=at).next_back();
        let fits = range.filter(|(start, held)| at - **start < held.bytes && held.bytes - (at - **start) >= bytes);
        let (start, held) = fits.ok_or(io::ErrorKind::NotFound)?;
        Ok((held.file.as_ref().unwrap_or(&self.rest), held.place + (at - start)))
    }

    /// Where memory is from now on: what is new is zeros.
    pub(super) fn layout(&mut self, ranges: &[Range]) -> io::Result<()> {
        let same = |start: u64, bytes: u64| ranges.iter().any(|range| range.start.0 == start && range.bytes == bytes);
        self.ranges.retain(|&start, held| same(start, held.bytes));
        for range in ranges {
            let (start, bytes) = (range.start.0, range.bytes);
            if self.ranges.contains_key(&start) {
                continue;
            }
            let held = match self.roomy && bytes >= LARGE {
                true => Held { bytes, file: Some(memory_file(bytes)?.into()), place: 0 },
                false => {
                    self.end += bytes.next_multiple_of(CHUNK);
                    Held { bytes, file: None, place: self.end - bytes.next_multiple_of(CHUNK) }
                }
            };
            self.ranges.insert(start, held);
            let mut noted = self.noted();
            noted.lately.extend(chunks(start, bytes));
            noted.ever.retain(|chunk| !chunks(start, bytes).contains(chunk));
        }
        Ok(())
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (file, place) = self.find(at, bytes.len() as u64)?;
        file.write_all_at(bytes, place)?;
        let mut noted = self.noted();
        let Noted { lately, ever } = &mut *noted;
        for chunk in chunks(at, bytes.len() as u64) {
            lately.insert(chunk);
            ever.insert(chunk);
        }
        Ok(())
    }

    pub(super) fn zero(&self, at: u64, bytes: u64) -> io::Result<()> {
        // Where nothing was written there are zeros, which take no room.
        let fresh = self.noted().ever.range(chunks(at, bytes)).next().is_none();
        if fresh { self.find(at, bytes).map(drop) } else { self.write(at, &vec![0; bytes as usize]) }
    }

    /// Everything is in a snapshot by now.
    pub(super) fn saved(&self) {
        self.noted().lately.clear();
    }

    /// What is here: all of it, or what no job can be lent.
    pub(super) fn list(&self, all: bool) -> Vec<Range> {
        let listed = self.ranges.iter().filter(|(_, held)| all || held.file.is_none());
        listed.map(|(&start, held)| Range { start: Address(start), bytes: held.bytes }).collect()
    }

    /// Lets a job have what lies in memory; `alone` where no snapshot has that, too. The table begins with a name, so that it is known
    /// for what it is.
    pub(super) fn lend(&self, name: &str, alone: bool) -> io::Result<Lent> {
        let mut table = File::from(memory_file(0)?);
        writeln!(table, "{name}")?;
        for (start, held) in &self.ranges {
            if let Some(file) = &held.file {
                writeln!(table, "{start} {} {}", held.bytes, file.as_raw_fd())?;
            }
        }
        let words = json!({ "process": std::process::id(), "table": table.as_raw_fd(), "name": name, "alone": alone });
        Ok(Lent { _table: table, words })
    }
}

impl Sink for Shelf {
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        Self::write(self, at, bytes)
    }

    fn zero(&self, at: u64, bytes: u64) -> io::Result<()> {
        Self::zero(self, at, bytes)
    }
}

/// What a job will have when it is saved, as far as a snapshot of it knows by now.
pub(super) struct Ahead {
    shelf: Shelf,
    known: Arc<Snapshot>,
}

impl Ahead {
    /// From a snapshot of the running job. None where there is no room, or it cannot be read: then the job waits until it is.
    pub(super) fn of(folder: &Path, name: &str) -> Option<Self> {
        let known = Store::open(folder).and_then(|store| store.load(name)).ok()?;
        let bytes = known.memory().iter().map(|range| range.bytes).sum();
        let mut shelf = Shelf::new(folder, bytes).ok().filter(|shelf| shelf.roomy)?;
        shelf.layout(&known.memory()).ok()?;
        known.restore(&shelf, ReadOptions::default()).ok()?;
        Some(Self { shelf, known: Arc::new(known) })
    }

    /// How many snapshots the one is built on that is known.
    pub(super) fn depth(&self) -> u32 {
        self.known.depth()
    }

    /// The job is saved: what has changed since is taken from there. Lends it all.
    pub(super) fn lend(&mut self, folder: &Path, name: &'static str) -> Option<Back> {
        self.take(folder, name)?;
        let snapshot = if self.write_rest(folder).is_some() { REST } else { name };
        let lent = self.shelf.lend(&self.known.identity().to_string(), snapshot == REST).ok()?;
        Some(Back { snapshot, lent })
    }

    /// Writes what the job cannot be lent into a snapshot of its own.
    fn write_rest(&self, folder: &Path) -> Option<()> {
        let blobs = (0..).map_while(|number| Some((Blob(number), self.known.blob_bytes(Blob(number))?)));
        let blobs: Vec<(Blob, u64)> = blobs.collect();
        if blobs.iter().map(|(_, bytes)| bytes).sum::<u64>() > MOST_REST {
            return None;
        }
        let options = WriteOptions { threads: 1, direct: false, lasts: false, base: None };
        let mut writer = Store::open(folder).and_then(|store| store.write(REST, options)).ok()?;
        for (blob, bytes) in blobs {
            writer.blob(&self.known.blob(blob, bytes).ok()?).ok()?;
        }
        writer.memory(&self.shelf.list(false), &self.shelf).ok()?;
        writer.finish(self.known.job()).ok().map(drop)
    }

    /// The job has what it was lent, or does not want it.
    pub(super) fn over(folder: &Path) {
        let _ = Store::open(folder).and_then(|store| store.remove(REST));
    }

    /// Takes what has changed since from a later snapshot. None where that failed: then nothing of this is of use.
    pub(super) fn take(&mut self, folder: &Path, name: &str) -> Option<()> {
        let last = Store::open(folder).and_then(|store| store.load_on(name, Some(&self.known))).ok()?;
        self.shelf.layout(&last.memory()).ok()?;
        let mut piece = Vec::new();
        for range in last.changed_since(Some(&self.known)) {
            let (mut at, end) = (range.start.0, range.start.0 + range.bytes);
            while at < end {
                piece.resize((CHUNK - at % CHUNK).min(end - at) as usize, 0);
                last.read_fresh(at, &mut piece).ok()?;
                self.shelf.write(at, &piece).ok()?;
                at += piece.len() as u64;
            }
        }
        self.known = Arc::new(last);
        Some(())
    }
}

impl Source for Shelf {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let (file, mut place) = self.find(at, out.len() as u64)?;
        let mut rest = out;
        while !rest.is_empty() {
            match file.read_at(rest, place)? {
                // Nothing was written there yet: it is zeros.
                0 => {
                    rest.fill(0);
                    return Ok(());
                }
                count => {
                    place += count as u64;
                    rest = &mut rest[count..];
                }
            }
        }
        Ok(())
    }

    fn unchanged(&self, at: u64, bytes: u64) -> bool {
        self.noted().lately.range(chunks(at, bytes)).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_read_back_wherever_it_lies() {
        let folder = std::env::temp_dir().join(format!("hetgpu-shelf-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for roomy in [true, false] {
            let mut shelf = Shelf { roomy, ..Shelf::new(&folder, 1).unwrap() };
            let range = |start, bytes| Range { start: Address(start), bytes };
            shelf.layout(&[range(0x1000, 100), range(LARGE, 2 * LARGE)]).unwrap();
            assert!(!shelf.unchanged(LARGE, 1) && shelf.write(0x1000 + 90, &[1; 11]).is_err());
            shelf.saved();
            shelf.write(LARGE + CHUNK + 5, &[7, 8]).unwrap();
            shelf.zero(LARGE + 3 * CHUNK, CHUNK).unwrap();
            assert!(shelf.unchanged(LARGE, CHUNK) && !shelf.unchanged(LARGE, CHUNK + 1), "zeros of zeros are nothing");
            let mut out = [9; 4];
            shelf.read(LARGE + CHUNK + 4, &mut out).unwrap();
            assert_eq!(out, [0, 7, 8, 0]);
            shelf.zero(LARGE + CHUNK, CHUNK).unwrap();
            shelf.read(LARGE + CHUNK + 4, &mut out).unwrap();
            assert_eq!(out, [0; 4]);
            let lent = shelf.lend("it", false).unwrap();
            assert_eq!(shelf.list(false).len(), if roomy { 1 } else { 2 }, "what is small cannot be lent");
            let table = fs::read_to_string(format!("/proc/self/fd/{}", lent.words["table"])).unwrap();
            assert_eq!(table.lines().count(), if roomy { 2 } else { 1 }, "{table}");
            assert!(table.starts_with("it\n"));
            shelf.layout(&[range(LARGE, LARGE)]).unwrap();
            shelf.read(LARGE + CHUNK + 4, &mut out).unwrap();
            assert_eq!((out, shelf.list(true).len()), ([0; 4], 1), "another range at the same place");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_job_gets_back_what_it_cannot_be_lent_from_a_snapshot_of_that_alone() {
        let folder = std::env::temp_dir().join(format!("hetgpu-ahead-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let store = Store::open(&folder).unwrap();
        let large = LARGE as usize;
        let mut memory: Vec<u8> = (0..2 * large).map(|at| (at / 1000) as u8).collect();
        let ranges = [(0, 100), (LARGE, LARGE)].map(|(start, bytes)| Range { start: Address(start), bytes });
        let save = |name: &str, memory: &[u8]| {
            let mut writer = store.write(name, WriteOptions { lasts: false, ..WriteOptions::default() }).unwrap();
            writer.blob(b"a text").unwrap();
            writer.memory(&ranges, &Bytes(memory)).unwrap();
            writer.finish(&Default::default()).unwrap();
        };
        save("first", &memory);
        let Some(mut ahead) = Ahead::of(&folder, "first") else { panic!("there is room for {large} bytes") };
        (memory[7], memory[large + 7]) = (201, 202);
        save("last", &memory);
        let back = ahead.lend(&folder, "last").unwrap();
        assert_eq!((back.snapshot, &back.lent.words["alone"]), (REST, &json!(true)), "no snapshot has the rest");
        let rest = store.load(REST).unwrap();
        assert_eq!((rest.memory(), rest.depth()), (vec![ranges[0].clone()], 0));
        assert_eq!(rest.blob(Blob(0), 100).unwrap(), b"a text");
        let mut small = [0; 100];
        rest.read(0, &mut small).unwrap();
        assert_eq!(small, memory[..100]);
        let mut lent = vec![0; large];
        ahead.shelf.read(LARGE, &mut lent).unwrap();
        assert!(lent == memory[large..], "what is lent is what it had last");
        drop(rest);
        Ahead::over(&folder);
        assert!(store.load(REST).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    struct Bytes<'b>(&'b [u8]);

    impl Source for Bytes<'_> {
        fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(at, out)
        }
    }
}
