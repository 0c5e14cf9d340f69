//! Host memory through which contents pass on their way between devices, made once and used again.
//!
//! A device whose copies want memory of a certain kind adds such to an arena, cut into places of one size. Each is taken for as long as a
//! piece of contents is on its way. Whoever collects contents may keep a piece as it lies, as long as enough places are left for those
//! who only pass something on: so nobody waits for one who keeps.

use crate::{HostBuffer, HostSpan};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that are on their way as one piece.
pub const PIECE: u64 = 4 << 20;

/// So many places are never kept.
const PASSING: usize = 16;

#[derive(Default)]
struct State {
    free: Vec<HostSpan>,
    /// Places that there are, and those of them that are kept.
    made: usize,
    kept: usize,
}

/// See the module.
#[derive(Default)]
pub struct Arena {
    state: Mutex<State>,
    returned: Condvar,
}

impl Arena {
    /// The least that makes it useful.
    pub const LEAST: u64 = PASSING as u64 * PIECE;

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds memory; what does not fill a place is left out.
    pub fn add(&self, memory: &HostSpan) {
        let place = |n: usize| memory.part(n * PIECE as usize, PIECE as usize);
        let mut places: Vec<HostSpan> = (0..).map_while(place).collect();
        let mut state = self.lock();
        state.made += places.len();
        state.free.append(&mut places);
        drop(state);
        self.returned.notify_all();
    }

    /// Bytes that were added.
    pub fn bytes(&self) -> u64 {
        self.lock().made as u64 * PIECE
    }

    /// Room for a piece, when there is some. None where nothing was added, or it is more than [`PIECE`].
    pub fn take(self: &Arc<Self>, bytes: u64) -> Option<Fetched> {
        let mut state = self.lock();
        if bytes > PIECE || state.made == state.kept {
            return None;
        }
        let place = loop {
            match state.free.pop() {
                Some(place) => break place,
                None => state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(state);
        let span = place.part(0, bytes as usize)?;
        Some(Fetched { span, place: Arc::new(Taken { place, kept: AtomicBool::new(false), arena: Arc::clone(self) }) })
    }
}

struct Taken {
    place: HostSpan,
    kept: AtomicBool,
    arena: Arc<Arena>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.arena.lock();
        state.kept -= usize::from(*self.kept.get_mut());
        state.free.push(self.place.clone());
        drop(state);
        self.arena.returned.notify_one();
    }
}

/// A piece of contents in a place of an arena, which goes back when the last clone is dropped.
#[derive(Clone)]
pub struct Fetched {
    span: HostSpan,
    place: Arc<Taken>,
}

impl Fetched {
    /// The contents. Work that names the span ends before the piece is dropped.
    pub fn span(&self) -> &HostSpan {
        &self.span
    }

    /// Asks whether it may be held for long. Who gets no leave copies it and lets it go.
    pub fn keep(&self) -> bool {
        let mut state = self.place.arena.lock();
        if self.place.kept.load(Ordering::Relaxed) {
            return true;
        }
        let may = state.kept + PASSING < state.made;
        state.kept += usize::from(may);
        self.place.kept.store(may, Ordering::Relaxed);
        may
    }
}

/// Memory for an arena, in large pages where the system has such; none where there is no room.
pub fn arena_memory(bytes: u64) -> Option<HostBuffer> {
    HostBuffer::in_large_pages(usize::try_from(bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_leaves_enough_for_who_passes_on() {
        let arena = Arc::new(Arena::default());
        assert!(arena.take(1).is_none(), "there is nothing yet");
        arena.add(&arena_memory(Arena::LEAST + PIECE + 1).unwrap().span());
        assert_eq!(arena.bytes(), Arena::LEAST + PIECE);
        assert!(arena.take(PIECE + 1).is_none());
        let one = arena.take(PIECE).unwrap();
        assert!(one.keep() && one.keep());
        let two = arena.take(3).unwrap();
        assert!(two.span().write(0, &[1, 2, 3]) && !two.span().write(1, &[1, 2, 3]) && !two.keep());
        let again = one.clone();
        drop(one);
        assert!(!two.keep(), "a clone holds the place");
        drop(again);
        assert!(two.keep());
    }

    #[test]
    fn who_finds_no_place_waits_for_one() {
        let arena = Arc::new(Arena::default());
        arena.add(&arena_memory(PIECE).unwrap().span());
        let taken = arena.take(8).unwrap();
        assert!(taken.span().write(0, &[7; 8]));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut bytes = [0; 8];
                arena.take(8).unwrap().span().read(0, &mut bytes);
                bytes
            });
            drop(taken);
            assert_eq!(waiter.join().unwrap(), [7; 8], "it is the same place");
        });
    }
}
