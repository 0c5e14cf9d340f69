//! What the machine can do at most, measured by all its processors at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::sys::probe;

const ROUNDS: usize = 6;

/// In units a second.
pub(crate) struct Limits {
    pub(crate) processors: usize,
    /// Two arrays read.
    pub(crate) read_bytes: f64,
    /// One array read, and one read and written.
    pub(crate) update_bytes: f64,
    /// STREAM's triad: two arrays read and one written. That most processors read what they write first is not counted.
    pub(crate) triad_bytes: f64,
    pub(crate) flops: f64,
    pub(crate) integer_ops: f64,
}

/// Which limit a kernel is nearest to, and how near: 1 is the limit itself.
pub(crate) struct Nearness {
    pub(crate) limit: &'static str,
    pub(crate) share: f64,
}

impl Limits {
    /// Memory is measured by arrays of so many elements a processor: more than its caches hold, if that is wanted.
    pub(crate) fn measure(elements: usize) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let rates = |rate: fn() -> f64| -> f64 {
            thread::scope(|scope| {
                let threads: Vec<_> = (0..processors).map(|_| scope.spawn(rate)).collect();
                threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
            })
        };
        let [read_bytes, update_bytes, triad_bytes] = memory(processors, elements);
        let (flops, integer_ops) = (rates(probe::fma_rate), rates(probe::integer_rate));
        Self { processors, read_bytes, update_bytes, triad_bytes, flops, integer_ops }
    }

    /// How near so much work in so many seconds is to what is possible.
    pub(crate) fn nearness(&self, seconds: f64, bytes: f64, flops: f64, integer_ops: f64) -> Nearness {
        let bandwidth = self.read_bytes.max(self.update_bytes).max(self.triad_bytes);
        let shares =
            [("memory", bytes / bandwidth), ("fma", flops / self.flops), ("integer", integer_ops / self.integer_ops)];
        let (limit, least) = shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("memory", 0.0));
        Nearness { limit, share: least / seconds }
    }
}

/// Bytes a second of each pass.
fn memory(processors: usize, elements: usize) -> [f64; 3] {
    let barrier = Barrier::new(processors);
    let times: Vec<[f64; 3]> = thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(|| passes(&barrier, elements))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let bytes = (processors * elements * size_of::<f32>()) as f64;
    let slowest = |pass: usize| times.iter().map(|times| times[pass]).fold(0.0, f64::max);
    [2.0 * bytes / slowest(0), 3.0 * bytes / slowest(1), 3.0 * bytes / slowest(2)]
}

/// The least seconds of each pass, begun by all threads at once.
fn passes(barrier: &Barrier, elements: usize) -> [f64; 3] {
    let (a, b) = (vec![1.5f32; elements], vec![2.5f32; elements]);
    let mut c = vec![0.5f32; elements];
    let (mut best, mut total) = ([f64::INFINITY; 3], 0.0);
    for round in 0..ROUNDS {
        let factor = black_box(round as f32);
        let mut time = |pass: usize, work: &mut dyn FnMut()| {
            barrier.wait();
            let start = Instant::now();
            work();
            best[pass] = best[pass].min(start.elapsed().as_secs_f64());
        };
        time(0, &mut || total += probe::read(&a, &b));
        time(1, &mut || probe::update(factor, &a, &mut c));
        time(2, &mut || probe::triad(factor, &a, &b, &mut c));
        black_box((&c, total));
    }
    best
}
