use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// A lock whose holder for long can let the others in between.
#[derive(Default)]
pub(crate) struct Turns<T> {
    /// Threads that wait for it.
    wanted: AtomicUsize,
    value: Mutex<T>,
}

impl<T> Turns<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let guard = self.value.lock().unwrap_or_else(|e| e.into_inner());
        self.wanted.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    pub(crate) fn hold(&self) -> Held<'_, T> {
        Held { turns: self, guard: None }
    }
}

/// Holds the lock, but for its pauses.
pub(crate) struct Held<'t, T> {
    turns: &'t Turns<T>,
    guard: Option<MutexGuard<'t, T>>,
}

impl<T> Held<'_, T> {
    pub(crate) fn value(&mut self) -> &mut T {
        self.guard.get_or_insert_with(|| self.turns.lock())
    }

    /// Lets those in that wait. A mutex alone does not: who gives it back is the first to have it again.
    pub(crate) fn pause(&mut self) {
        let waits = || self.turns.wanted.load(Ordering::Relaxed) > 0;
        if waits() {
            self.guard = None;
            while waits() {
                std::thread::yield_now();
            }
        }
    }
}
