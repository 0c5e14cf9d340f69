//! Contents set aside in memory, so that a job stands still no longer than that takes.

use super::memory::Parts;
use hetgpu_checkpoint::{Snapshot, Source};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that a thread copies at once.
const PIECE: u64 = 64 << 10;

/// Pieces that a thread takes at once: many of them are single pages.
const TAKEN: usize = 64;

/// Whether the host has room for a copy of so much, and some more.
pub(super) fn fits(bytes: u64) -> bool {
    let about = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = about.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    free.is_some_and(|free| bytes + bytes / 8 <= free << 10)
}

/// A piece of memory, and where its copy is.
struct Piece {
    at: u64,
    bytes: u64,
    place: usize,
}

/// A copy of the memory that may differ from the snapshot below, by address. What is beside it is read from there.
pub(super) struct Aside<'p> {
    parts: &'p Parts<'p>,
    below: Option<&'p Snapshot>,
    pieces: Vec<Piece>,
    /// One behind the other, in memory that goes back to the system as a whole.
    copy: Vec<u8>,
}

impl<'p> Aside<'p> {
    /// None where it could not be made.
    pub(super) fn of(parts: &'p Parts<'p>, below: Option<&'p Snapshot>) -> Option<Self> {
        let mut all = 0;
        let mut piece = |(at, bytes): (u64, u64)| {
            all += bytes as usize;
            Piece { at, bytes, place: all - bytes as usize }
        };
        let pieces: Vec<Piece> = parts.changed(PIECE).map(&mut piece).collect();
        let mut copy = zeros(all)?;
        copy_all(parts, &pieces, &mut copy).then_some(Self { parts, below, pieces, copy })
    }

    /// The pieces that a range has to do with, with the part of each that is in it.
    fn within(&self, at: u64, bytes: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let first = self.pieces.partition_point(|piece| piece.at + piece.bytes <= at);
        let those = self.pieces[first..].iter().take_while(move |piece| piece.at < at + bytes);
        those.map(move |piece| {
            let (from, to) = (piece.at.max(at), (piece.at + piece.bytes).min(at + bytes));
            let place = piece.place + (from - piece.at) as usize;
            (from, &self.copy[place..place + (to - from) as usize])
        })
    }
}

/// So many zeros, which take no memory before they are written to; none where there is no room.
fn zeros(bytes: usize) -> Option<Vec<u8>> {
    Vec::<u8>::new().try_reserve_exact(bytes).ok()?;
    Some(vec![0; bytes])
}

/// Fills the copies of all pieces, by several threads. Whether that went well.
fn copy_all(parts: &Parts<'_>, pieces: &[Piece], copy: &mut [u8]) -> bool {
    let mut rest = copy;
    let rooms = pieces.iter().map(|piece| {
        let (room, behind) = std::mem::take(&mut rest).split_at_mut(piece.bytes as usize);
        rest = behind;
        (piece, room)
    });
    let next = Mutex::new(rooms.collect::<Vec<_>>().into_iter());
    let failed = AtomicBool::new(false);
    let work = || {
        let mut read = vec![0; PIECE as usize];
        while !failed.load(Ordering::Relaxed) {
            let taken: Vec<_> = next.lock().unwrap_or_else(|e| e.into_inner()).by_ref().take(TAKEN).collect();
            if taken.is_empty() {
                return;
            }
            for (piece, room) in taken {
                let read = &mut read[..room.len()];
                match parts.read(piece.at, read) {
                    Ok(()) if read.iter().all(|&byte| byte == 0) => {}
                    Ok(()) => room.copy_from_slice(read),
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(pieces.len().max(1));
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    !failed.into_inner()
}

impl Source for Aside<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let copied: u64 = self.within(at, out.len() as u64).map(|(_, piece)| piece.len() as u64).sum();
        if copied < out.len() as u64 {
            // The job goes on, and may have written there by now what belongs into the next snapshot.
            self.below.ok_or(io::ErrorKind::NotFound)?.read(at, out).map_err(io::Error::other)?;
        }
        for (from, piece) in self.within(at, out.len() as u64) {
            out[(from - at) as usize..][..piece.len()].copy_from_slice(piece);
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
