//! The device's threads.

use crate::job::{Job, wait_awake};
use crate::sched;
use crate::sys::room::Rooms;
use crate::sys::signal;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct State {
    /// Launches that helpers may join.
    jobs: VecDeque<Arc<Job>>,
    started: bool,
    sleeping: u32,
    closed: bool,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    wake: Condvar,
    /// Counts launches that ask for help.
    calls: AtomicU64,
    rooms: Mutex<Vec<Rooms>>,
}

/// Threads that help those who launch.
pub(crate) struct Pool {
    inner: Arc<Inner>,
    helpers: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn work(&self, job: &Job, worker: u32) {
        let mut rooms = lock(&self.rooms).pop().unwrap_or_default();
        sched::work(job, worker, &mut rooms);
        lock(&self.rooms).push(rooms);
    }

    fn help(&self) {
        signal::block_foreign_signals();
        signal::prepare_thread();
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return;
            }
            if let Some((job, worker)) = state.jobs.iter().find_map(|job| Some((Arc::clone(job), job.join()?))) {
                drop(state);
                self.work(&job, worker);
                job.leave();
                drop(job);
                let calls = self.calls.load(Ordering::Relaxed);
                // Another launch may follow at once.
                wait_awake(|| self.calls.load(Ordering::Relaxed) != calls);
                state = lock(&self.state);
                continue;
            }
            state.sleeping += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeping -= 1;
        }
    }
}

impl Pool {
    /// For so many workers, the one that launches among them.
    pub(crate) fn new(workers: u32) -> Self {
        Self { inner: Arc::default(), helpers: workers.saturating_sub(1) }
    }

    /// Threads beside the one that launches.
    pub(crate) fn helpers(&self) -> u32 {
        self.helpers
    }

    /// Executes a launch: on this thread, and where `job.workers` is more than 1 on others too.
    pub(crate) fn run(&self, job: &Arc<Job>) {
        signal::install();
        signal::prepare_thread();
        let helped = job.workers > 1 && self.call(job);
        self.inner.work(job, 0);
        if helped {
            lock(&self.inner.state).jobs.retain(|other| !Arc::ptr_eq(other, job));
            job.wait();
        }
    }

    /// Offers a launch to the helpers.
    fn call(&self, job: &Arc<Job>) -> bool {
        let mut state = lock(&self.inner.state);
        if !state.started {
            state.started = true;
            for n in 0..self.helpers {
                let inner = Arc::clone(&self.inner);
                let thread = std::thread::Builder::new().name(format!("hetgpu-cpu-{}", n + 1));
                // With fewer threads it takes longer.
                let _ = thread.spawn(move || inner.help());
            }
        }
        state.jobs.push_back(Arc::clone(job));
        let sleeping = state.sleeping;
        drop(state);
        self.inner.calls.fetch_add(1, Ordering::Relaxed);
        for _ in 0..sleeping.min(job.workers - 1) {
            self.inner.wake.notify_one();
        }
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.inner.state).closed = true;
        self.inner.wake.notify_all();
    }
}
