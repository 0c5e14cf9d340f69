//! Snapshots that somebody made, with one below them.

use super::{Answer, kind_of};
use crate::seeds::files;
use hetgpu_checkpoint::wire::{Blob, Job, Range};
use hetgpu_checkpoint::{
    CHUNK, Digest, Error, HEADER, Header, MemoryDisk, ReadOptions, SectionKind, Sink, Snapshot, Source, Store,
    WriteOptions, crc32c, verify,
};
use std::path::Path;
use std::sync::{Arc, LazyLock};

const FOLDER: &str = "/snapshots";
/// Much memory is described by few bytes. More than this is not asked for here.
const MEMORY: u64 = 64 << 20;

/// The one that the others are built on, and its name.
const BELOW: &str = "v1-full";
static BASE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../checkpoint/tests/data");
    std::fs::read(path.join(format!("{BELOW}.snapshot"))).unwrap_or_default()
});

pub(super) fn seeds() -> Vec<Vec<u8>> {
    files("checkpoint/tests/data", &["snapshot"])
}

/// Makes checksums and identity right again, as somebody would who wants to get past them.
fn mend(bytes: &mut [u8]) -> Option<()> {
    let count = u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?).min(64) as usize;
    let length = bytes.len() as u64;
    bytes.get_mut(16..24)?.copy_from_slice(&length.to_le_bytes());
    for index in 0..count {
        let at = 64 + index * 32;
        let entry = bytes.get(at..at + 32)?;
        let number = u16::from_le_bytes(entry[..2].try_into().ok()?);
        let offset = usize::try_from(u64::from_le_bytes(entry[8..16].try_into().ok()?)).ok()?;
        let size = usize::try_from(u64::from_le_bytes(entry[16..24].try_into().ok()?)).ok()?;
        let crc = match number == SectionKind::Data as u16 {
            true => 0,
            false => crc32c(bytes.get(offset..offset.checked_add(size)?)?),
        };
        bytes.get_mut(at + 24..at + 28)?.copy_from_slice(&crc.to_le_bytes());
    }
    let seal = |bytes: &mut [u8]| {
        let crc = crc32c(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    };
    bytes.get(..HEADER)?;
    seal(bytes);
    let header = Header::decode(&bytes[..HEADER], length).ok()?;
    let sections = header.sections.iter().filter(|section| section.kind() != Some(SectionKind::Data));
    let contents = sections.map(|section| &bytes[section.offset as usize..(section.offset + section.length) as usize]);
    let Digest(identity) = Header::identify(&header.sections, contents);
    bytes[24..56].copy_from_slice(&identity);
    seal(bytes);
    Some(())
}

/// Memory that is written where the snapshot says that it has some, and nowhere else.
struct Bounds(Vec<Range>);

impl Bounds {
    fn check(&self, at: u64, bytes: u64) {
        let inside = |range: &Range| range.start.0 <= at && at + bytes <= range.start.0 + range.bytes;
        assert!(self.0.iter().any(inside), "{bytes} bytes at {at:#x} are outside of all memory");
    }
}

impl Sink for Bounds {
    fn write(&self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.check(at, bytes.len() as u64);
        Ok(())
    }

    fn zero(&self, at: u64, bytes: u64) -> std::io::Result<()> {
        self.check(at, bytes);
        Ok(())
    }
}

fn said(answer: Answer, error: &Error) -> Answer {
    assert!(!error.text.is_empty());
    // Digests and addresses are words with digits.
    let words = error.text.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
    answer.with(&format!("{:?}", error.kind)).with(&kind_of(&words.collect::<Vec<_>>().join(" ")))
}

fn attempt(bytes: &[u8], mut answer: Answer) -> Answer {
    let disk = MemoryDisk::default();
    // Those that are built on another find it, or not.
    disk.put(&Path::new(FOLDER).join(format!("{BELOW}.snapshot")), BASE.clone());
    let path = Path::new(FOLDER).join("input.snapshot");
    disk.put(&path, bytes.to_vec());
    let Ok(store) = Store::open_on(Arc::new(disk.clone()), Path::new(FOLDER)) else { return answer };
    let snapshot = match store.load("input") {
        Ok(snapshot) => snapshot,
        Err(error) => return said(answer, &error),
    };
    answer = answer.with("opened").with(&kind_of(&snapshot.summary().to_string()));
    let details = snapshot.details().to_string();
    answer = answer.with(if details.len() > 1 << 16 { "long" } else { "short" });
    let memory = snapshot.memory();
    if memory.iter().map(|range| range.bytes).fold(0, u64::saturating_add) <= MEMORY {
        let options = ReadOptions { threads: 1, direct: false };
        if let Err(error) = snapshot.restore(&Bounds(memory), options) {
            answer = said(answer, &error);
        }
        let verdict = verify(&(Arc::new(disk) as Arc<dyn hetgpu_checkpoint::Disk>), &path, 1);
        answer = answer.with(if verdict.is_whole() { "whole" } else { "damaged" });
    }
    if let Err(error) = snapshot.blob(Blob(0), MEMORY) {
        answer = said(answer, &error);
    }
    match built_upon(&store, snapshot) {
        Ok(()) => answer.with("built upon"),
        Err(error) => said(answer, &error),
    }
}

/// Memory of which every other chunk is what it was, and the rest something else.
struct Half;

impl Source for Half {
    fn read(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        out.fill((at / CHUNK) as u8);
        Ok(())
    }

    fn unchanged(&self, at: u64, bytes: u64) -> bool {
        bytes <= CHUNK && (at / CHUNK).is_multiple_of(2)
    }
}

/// Another one is built on a snapshot that could be opened, and is read back.
fn built_upon(store: &Store, below: Snapshot) -> Result<(), Error> {
    let memory = below.memory();
    if memory.iter().map(|range| range.bytes).fold(0, u64::saturating_add) > MEMORY {
        return Ok(());
    }
    let below = Arc::new(below);
    let options = WriteOptions { threads: 1, direct: false, lasts: false, base: Some(Arc::clone(&below)) };
    let mut writer = store.write("next", options)?;
    writer.memory(&memory, &Half)?;
    writer.finish(&Job::default())?;
    let next = store.load_on("next", Some(&below))?;
    let bounds = Bounds(memory);
    // Neighbours are told of as one.
    for range in next.changed_since(Some(&below)) {
        bounds.check(range.start.0, 1);
        bounds.check(range.start.0 + (range.bytes - 1), 1);
    }
    next.restore(&bounds, ReadOptions { threads: 1, direct: false })
}

pub(super) fn run(bytes: &[u8]) -> Answer {
    let answer = attempt(bytes, Answer::NONE);
    let mut mended = bytes.to_vec();
    match mend(&mut mended) {
        Some(()) if mended != bytes => attempt(&mended, answer.with("mended")),
        Some(()) | None => answer,
    }
}
