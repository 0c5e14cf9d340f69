//! Copies between the card and the host that are done when they return: many at once, each in a line of its own, by way of host memory
//! that the driver has pinned.
//!
//! Pinning takes as long as copying the same bytes twenty times, so that what is pinned is used again. Little of it is made when the first
//! large copy needs it. Where the settings name a size, so much is made when the device is, beside everything else, and stays until the
//! process ends, whatever device the job is on: contents that are set aside then lie in it, and the card's context stays.

use crate::driver::{Context, Stream};
use hetgpu_device::{Arena, DeviceError, Fetched, HostSpan, PIECE, arena_memory};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Smaller copies are not worth a detour.
const LEAST: usize = 64 << 10;
/// Those for which pinned memory is made where there is none.
const LARGE: usize = 1 << 20;
/// Pinned at once.
const SEGMENT: u64 = 256 << 20;
/// Threads that pin.
const MAKERS: usize = 4;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds memory to an arena. Whether there was room.
fn add(arena: &Arena, context: &Arc<Context>, bytes: u64) -> bool {
    let Some(memory) = arena_memory(bytes) else { return false };
    let span = memory.span();
    match context.pin(&span) {
        Ok(pinned) => arena.add(&span.keeping(pinned)),
        // Copies take longer by it, and no more.
        Err(_) => arena.add(&span),
    }
    true
}

/// Makes an arena of so many bytes on threads of its own.
fn make_ahead(arena: &Arc<Arena>, context: &Arc<Context>, bytes: u64) {
    let bytes = bytes.max(Arena::LEAST);
    let segments: Vec<u64> = (0..bytes).step_by(SEGMENT as usize).map(|at| SEGMENT.min(bytes - at)).collect();
    let left = Arc::new(Mutex::new(segments));
    for _ in 0..MAKERS {
        let (arena, context, left) = (Arc::clone(arena), Arc::clone(context), Arc::clone(&left));
        let make = move || {
            loop {
                let next = lock(&left).pop();
                if !next.is_some_and(|bytes| add(&arena, &context, bytes)) {
                    return;
                }
            }
        };
        // Where there are no threads, what is needed is made when it is.
        let _ = std::thread::Builder::new().name("hetgpu-arena".into()).spawn(make);
    }
}

/// Which card of which driver.
pub(crate) type CardName = (Option<PathBuf>, u32);

/// The arenas that stay.
static LASTING: Mutex<BTreeMap<CardName, Arc<Arena>>> = Mutex::new(BTreeMap::new());

pub(crate) struct Staging {
    context: Arc<Context>,
    arena: Arc<Arena>,
    /// Held while the least is made.
    making: Mutex<()>,
    lines: Mutex<Vec<Stream>>,
    priority: i32,
}

impl Staging {
    pub(crate) fn new(context: &Arc<Context>, card: CardName, arena_bytes: u64, priority: i32) -> Self {
        let arena = match arena_bytes {
            0 => Arc::default(),
            bytes => {
                let mut all = lock(&LASTING);
                let known = all.entry(card);
                Arc::clone(known.or_insert_with(|| {
                    let arena = Arc::default();
                    make_ahead(&arena, context, bytes);
                    arena
                }))
            }
        };
        Self { context: Arc::clone(context), arena, making: Mutex::default(), lines: Mutex::default(), priority }
    }

    /// Whether a copy of so many bytes is to go this way.
    pub(crate) fn serves(&self, bytes: usize) -> bool {
        bytes >= LARGE || (bytes >= LEAST && self.arena.bytes() >= Arena::LEAST)
    }

    /// Room for a piece, pinned where that is possible.
    fn take(&self, bytes: u64) -> Option<Fetched> {
        {
            let _making = lock(&self.making);
            if self.arena.bytes() < Arena::LEAST {
                add(&self.arena, &self.context, Arena::LEAST);
            }
        }
        self.arena.take(bytes)
    }

    /// Does something in a line that nobody else uses meanwhile, and waits for it.
    fn with_line(&self, act: impl FnOnce(&Stream) -> Result<(), DeviceError>) -> Result<(), DeviceError> {
        let known = lock(&self.lines).pop();
        let line = match known {
            Some(line) => line,
            None => self.context.stream(self.priority)?,
        };
        act(&line)?;
        line.synchronize()?;
        lock(&self.lines).push(line);
        Ok(())
    }

    /// Reads a piece; none where there is no room for it.
    pub(crate) fn fetch(&self, at: u64, bytes: u64) -> Result<Option<Fetched>, DeviceError> {
        let Some(fetched) = self.take(bytes) else { return Ok(None) };
        self.with_line(|line| line.copy_out(fetched.span(), at))?;
        Ok(Some(fetched))
    }

    pub(crate) fn put(&self, at: u64, from: &HostSpan) -> Result<(), DeviceError> {
        self.with_line(|line| line.copy_in(at, from))
    }

    /// Reads as much as is asked for; false where there is no room to do it by.
    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> Result<bool, DeviceError> {
        for (piece, at) in out.chunks_mut(PIECE as usize).zip((at..).step_by(PIECE as usize)) {
            let Some(fetched) = self.fetch(at, piece.len() as u64)? else { return Ok(false) };
            fetched.span().read(0, piece);
        }
        Ok(true)
    }

    /// Writes all of it; false where there is no room to do it by, and then it may have written some.
    pub(crate) fn write(&self, at: u64, data: &[u8]) -> Result<bool, DeviceError> {
        for (piece, at) in data.chunks(PIECE as usize).zip((at..).step_by(PIECE as usize)) {
            let Some(room) = self.take(piece.len() as u64) else { return Ok(false) };
            room.span().write(0, piece);
            self.put(at, room.span())?;
        }
        Ok(true)
    }
}
