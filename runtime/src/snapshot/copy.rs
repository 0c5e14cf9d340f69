//! Contents set aside in memory, so that a job stands still no longer than that takes.

use super::memory::Parts;
use hetgpu_checkpoint::Source;
use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes that are copied at once: all that is compared with the snapshot below as one.
const PIECE: u64 = hetgpu_checkpoint::CHUNK;

/// Whether the host has room for a copy of so much, and some more.
pub(super) fn fits(bytes: u64) -> bool {
    let about = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = about.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    free.is_some_and(|free| bytes + bytes / 8 <= free << 10)
}

/// What a piece holds; nothing where it is zeros.
type Piece = (u64, Option<Box<[u8]>>);

/// A copy of the memory that may differ from the snapshot below, by address.
pub(super) struct Aside<'p> {
    parts: &'p Parts<'p>,
    pieces: BTreeMap<u64, Piece>,
}

impl<'p> Aside<'p> {
    /// None where it could not be made.
    pub(super) fn of(parts: &'p Parts<'p>) -> Option<Self> {
        let places = parts.changed_pieces(PIECE);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(places.len().max(1));
        let (next, failed, pieces) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(BTreeMap::new()));
        let work = || {
            while let Some(&(at, bytes)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                if failed.load(Ordering::Relaxed) {
                    return;
                }
                match piece(parts, at, bytes) {
                    Some(piece) => drop(pieces.lock().unwrap_or_else(|e| e.into_inner()).insert(at, piece)),
                    None => failed.store(true, Ordering::Relaxed),
                }
            }
        };
        std::thread::scope(|scope| {
            (1..threads).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let pieces = pieces.into_inner().unwrap_or_else(|e| e.into_inner());
        (!failed.into_inner()).then_some(Self { parts, pieces })
    }
}

fn piece(parts: &Parts<'_>, at: u64, bytes: u64) -> Option<Piece> {
    let mut contents = Vec::new();
    contents.try_reserve_exact(bytes as usize).ok()?;
    contents.resize(bytes as usize, 0);
    parts.read(at, &mut contents).ok()?;
    let kept = contents.iter().any(|&byte| byte != 0).then(|| contents.into_boxed_slice());
    Some((bytes, kept))
}

impl Source for Aside<'_> {
    fn read(&self, mut at: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let found = self.pieces.range(..=at).next_back().filter(|(start, piece)| at - **start < piece.0);
            let (&start, (bytes, kept)) = found.ok_or(io::ErrorKind::NotFound)?;
            let count = ((start + bytes - at) as usize).min(out.len());
            let (now, later) = out.split_at_mut(count);
            match kept {
                Some(kept) => now.copy_from_slice(&kept[(at - start) as usize..][..count]),
                None => now.fill(0),
            }
            (at, out) = (at + count as u64, later);
        }
        Ok(())
    }
    fn unchanged(&self, at: u64, bytes: u64) -> bool {
        self.parts.is_same(at, bytes)
    }

    fn is_still(&self) -> bool {
        true
    }
}
