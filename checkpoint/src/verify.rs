//! Looking for damage, all of it, with its place.

use crate::codec::{Wire, wire};
use crate::container::{SectionKind, read_header, read_section};
use crate::disk::Disk;
use crate::inspect::size;
use crate::map::{CHUNK, What, pieces};
use crate::read::{Snapshot, open_own};
use crate::wire::{Address, Range};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Ranges of memory that are named for one damage.
const NAMED: usize = 16;

wire! {
    /// What was found.
    pub struct Verdict {
        /// Bytes of contents that were read and are right.
        pub right: u64,
        /// What is wrong.
        pub damage: Vec<Damage>,
    }

    /// Something that is wrong.
    pub struct Damage {
        /// The file.
        pub file: String,
        /// The section, or `header`.
        pub section: String,
        /// Where it begins in the file.
        pub offset: u64,
        /// Its bytes.
        pub bytes: u64,
        /// What is wrong.
        pub what: String,
        /// Memory of the job that is lost by it, the first of many.
        pub memory: Vec<Range>,
    }
}

impl Verdict {
    /// Nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }

    /// For tools.
    pub fn json(&self) -> Value {
        self.show()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Damage { file, section, offset, bytes, what, memory } in &self.damage {
            writeln!(f, "{file}: {section}, bytes {offset} to {}: {what}", offset.saturating_add(*bytes))?;
            for range in memory {
                writeln!(f, "  memory at {}, {}", range.start, size(range.bytes))?;
            }
        }
        match self.damage.len() {
            0 => write!(f, "whole: {} of contents are what they were", size(self.right)),
            count => write!(f, "{count} damaged places; {} of contents are right", size(self.right)),
        }
    }
}

/// Reads all of a snapshot and of those that it is built on.
pub fn verify(disk: &Arc<dyn Disk>, path: &Path, threads: usize) -> Verdict {
    let mut verdict = Verdict::default();
    let file = path.display().to_string();
    let whole = |what: String, section: &str, offset, bytes| Damage {
        file: file.clone(),
        section: section.into(),
        offset,
        bytes,
        what,
        memory: Vec::new(),
    };
    let opened =
        open_own(disk.as_ref(), path, false).and_then(|open| read_header(open.as_ref(), path).map(|h| (open, h)));
    let (open, header) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            verdict.damage.push(whole(error.text, "header", 0, crate::HEADER as u64));
            return verdict;
        }
    };
    for section in header.sections.iter().filter(|section| section.kind() != Some(SectionKind::Data)) {
        if let Err(error) = read_section(open.as_ref(), path, section) {
            let name = section.kind().map_or("unknown section", SectionKind::name);
            verdict.damage.push(whole(error.text, name, section.offset, section.length));
        }
    }
    if !verdict.damage.is_empty() {
        return verdict;
    }
    match Snapshot::open(disk, path) {
        Ok(snapshot) => contents(&snapshot, threads, &mut verdict),
        Err(error) => verdict.damage.push(whole(error.text, "sections", 0, header.bytes)),
    }
    verdict
}

/// Reads all contents that a snapshot needs.
fn contents(snapshot: &Snapshot, threads: usize, verdict: &mut Verdict) {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { processors() } else { threads };
    let mut uses: HashMap<u32, Vec<Range>> = HashMap::new();
    let used = snapshot.used();
    let (next, right, wrong) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        let mut out = vec![0; CHUNK as usize];
        // Neighbours in the list are neighbours in the file.
        const STEP: usize = 64;
        loop {
            let first = next.fetch_add(STEP, Ordering::Relaxed);
            if first >= snapshot.digests.len() {
                break;
            }
            let last = (first + STEP).min(snapshot.digests.len());
            for (index, digest) in snapshot.digests[first..last].iter().enumerate() {
                let Some(place) = snapshot.place(digest).filter(|_| used[first + index]) else { continue };
                match snapshot.read_contents(digest, &mut out[..place.size]) {
                    Ok(()) => drop(right.fetch_add(place.size as u64, Ordering::Relaxed)),
                    Err(error) => {
                        let place = snapshot.culprit(digest).unwrap_or(place);
                        let file = place.file.display().to_string();
                        let (offset, bytes, what) = (place.offset, place.bytes, error.text);
                        let section = SectionKind::Data.name().into();
                        let damage = Damage { file, section, offset, bytes, what, memory: Vec::new() };
                        wrong.lock().unwrap_or_else(|e| e.into_inner()).push(((first + index) as u32, damage));
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(work))));
    let mut wrong = wrong.into_inner().unwrap_or_else(|e| e.into_inner());
    verdict.right += right.into_inner();
    if wrong.is_empty() {
        return;
    }
    wrong.iter().for_each(|(index, _)| drop(uses.insert(*index, Vec::new())));
    for (at, bytes, run) in snapshot.regions.iter().flat_map(|region| region.spans()) {
        for (number, (at, bytes)) in pieces(at, bytes).enumerate() {
            // Runs of the same contents and of zeros may be long.
            let repeats = !matches!(run.what, What::Ascending { .. });
            if repeats && (number >= NAMED || run.what == What::Zeros) {
                break;
            }
            if let Some(ranges) = uses.get_mut(&run.index(number as u32))
                && ranges.len() < NAMED
            {
                ranges.push(Range { start: Address(at), bytes });
            }
        }
    }
    wrong.sort_by_key(|(_, damage)| damage.offset);
    verdict.damage.extend(wrong.into_iter().map(|(index, damage)| {
        let memory = uses.get(&index).cloned().unwrap_or_default();
        Damage { memory, ..damage }
    }));
}
