//! A launch under way.

use crate::sys::memory::Word;
use crate::sys::strand::Strand;
use crate::trouble::Failure;
use hetgpu_llvm::abi::Entry;
use hetgpu_llvm::host::Form;
use hetir::blocks::Blocks;
use hetir::entity::FuncId;
use hetir::interp::Heap;
use hetir::interp::texture::Object;
use hetir::ir::Module;
use std::any::Any;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::Thread;

/// What a kernel says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// By `vprintf`.
    Printed(Vec<u8>),
    /// By a failed assertion.
    Complained(Vec<u8>),
}

/// What all workers of a launch share.
pub(crate) struct Job {
    pub entry: Entry,
    /// What must stay as long as `entry` is called.
    pub code: Option<Arc<dyn Any + Send + Sync>>,
    pub module: Arc<Module>,
    pub kernel: FuncId,
    pub form: Form,
    /// Warps of a block, or blocks, may wait for each other: each warp has a strand of its own.
    pub waits: bool,
    pub cooperative: bool,
    /// Blocks of a cluster, by dimension, and how many blocks run together for their sake: all of a cluster, or one.
    pub cluster: [u32; 3],
    pub together: u32,
    /// What handles of textures and surfaces stand for.
    pub images: Vec<Object>,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub threads: u32,
    pub warps: u32,
    pub dynamic_shared: u32,
    pub total_shared: u32,
    /// The parameters, 16 bytes an element.
    pub params: Vec<u128>,
    pub param_bytes: usize,
    pub globals: Arc<[u64]>,
    pub workspace: u64,
    pub grid_id: u64,
    pub heap: Option<Arc<Mutex<Heap>>>,
    /// Workers that may take part, and as how many the device counts.
    pub workers: u32,
    pub multiprocessors: u32,
    /// Which multiprocessor each worker is; none where they are numbered as they come.
    pub places: Option<Arc<[u32]>>,
    /// What is handed out to workers: blocks, or clusters where these run together.
    pub blocks: u64,
    /// Which ones those are in the grid.
    pub chosen: Blocks,
    /// While it is set, no further block is begun.
    pub stop: Option<Word>,
    pub progress: Progress,
}

/// How far it is.
#[derive(Default)]
pub(crate) struct Progress {
    next: AtomicU64,
    over: AtomicBool,
    /// What workers took and did not begin.
    returned: Mutex<Vec<Range<u64>>>,
    failure: Mutex<Option<Box<Failure>>>,
    said: Mutex<Vec<Said>>,
    speaks: AtomicBool,
    helpers: AtomicU32,
    /// Who sleeps until they have left.
    waiting: Mutex<Option<Thread>>,
}

/// Looks whether something has happened, for about 20 us, and says whether it has.
pub(crate) fn wait_awake(happened: impl Fn() -> bool) -> bool {
    /// So many looks nobody else gets the processor; then whoever it is that makes it happen may need it.
    const ALONE: u32 = 200;
    const LOOKS: u32 = 240;
    (0..LOOKS).any(|look| {
        if look < ALONE {
            std::hint::spin_loop()
        } else {
            std::thread::yield_now()
        }
        happened()
    })
}

/// Most blocks taken at once.
const MOST_AT_ONCE: u64 = 256;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Job {
    /// A launch of one block of one thread without parameters.
    pub(crate) fn new(entry: Entry, module: Arc<Module>, kernel: FuncId) -> Self {
        Self {
            entry,
            code: None,
            module,
            kernel,
            form: Form::Warp,
            waits: false,
            cooperative: false,
            cluster: [1; 3],
            together: 1,
            images: Vec::new(),
            grid: [1; 3],
            block: [1; 3],
            threads: 1,
            warps: 1,
            dynamic_shared: 0,
            total_shared: 0,
            params: Vec::new(),
            param_bytes: 0,
            globals: Arc::new([]),
            workspace: 0,
            grid_id: 0,
            heap: None,
            workers: 1,
            multiprocessors: 1,
            places: None,
            blocks: 1,
            chosen: Blocks::default(),
            stop: None,
            progress: Progress::default(),
        }
    }

    /// With this shape.
    pub(crate) fn shaped(mut self, grid: [u32; 3], block: [u32; 3]) -> Self {
        (self.grid, self.block) = (grid, block);
        self.threads = block.iter().product();
        self.warps = self.threads.div_ceil(32);
        self.blocks = grid.iter().map(|&n| u64::from(n)).product();
        self
    }

    /// The multiprocessor that a worker is.
    pub(crate) fn multiprocessor(&self, worker: u32) -> u32 {
        let place = self.places.as_ref().and_then(|places| places.get(worker as usize));
        place.copied().unwrap_or(worker)
    }

    /// With these parameters.
    pub(crate) fn with_params(mut self, bytes: &[u8]) -> Self {
        let words = bytes.chunks(16).map(|chunk| {
            let mut all = [0; 16];
            all[..chunk.len()].copy_from_slice(chunk);
            u128::from_ne_bytes(all)
        });
        // One more, so that a kernel that reads a little too far reads zeros.
        self.params = words.chain([0]).collect();
        self.param_bytes = bytes.len();
        self
    }

    /// The lanes that a warp has.
    #[inline]
    pub(crate) fn lanes(&self, warp: u32) -> u32 {
        match self.threads - warp * 32 {
            32.. => u32::MAX,
            few => (1 << few) - 1,
        }
    }

    /// Coordinates of the n-th block.
    #[inline]
    pub(crate) fn block_index(&self, n: u64) -> [u32; 3] {
        let n = self.chosen.nth(n);
        let [x, y, _] = self.grid.map(u64::from);
        if y == 1 && self.grid[2] == 1 {
            return [n as u32, 0, 0];
        }
        [(n % x) as u32, (n / x % y) as u32, (n / (x * y)) as u32]
    }

    /// Coordinates of the blocks of the n-th cluster, by their ranks; of the n-th block where blocks run alone.
    pub(crate) fn cluster_blocks(&self, n: u64) -> impl Iterator<Item = [u32; 3]> {
        let (grid, cluster) = (self.grid, if self.together > 1 { self.cluster } else { [1; 3] });
        let per_row = |d: usize| u64::from(grid[d] / cluster[d]);
        let (x, y) = (per_row(0), per_row(1));
        let n = self.chosen.nth(n);
        let corner = [n % x, n / x % y, n / (x * y)];
        (0..self.together).map(move |rank| {
            let inside = [rank % cluster[0], rank / cluster[0] % cluster[1], rank / (cluster[0] * cluster[1])];
            std::array::from_fn(|d| corner[d] as u32 * cluster[d] + inside[d])
        })
    }

    /// A thread's coordinates from its number in the block.
    pub(crate) fn thread_index(&self, thread: u32) -> [u32; 3] {
        let [x, y, _] = self.block;
        [thread % x, thread / x % y, thread / (x * y)]
    }

    /// Blocks to execute, fewer the fewer are left.
    pub(crate) fn take(&self) -> Option<Range<u64>> {
        if self.is_over() || self.is_asked_to_stop() {
            return None;
        }
        let left = self.blocks.saturating_sub(self.progress.next.load(Ordering::Relaxed));
        let count = (left / (4 * u64::from(self.workers))).clamp(1, MOST_AT_ONCE);
        let start = self.progress.next.fetch_add(count, Ordering::Relaxed);
        (start < self.blocks).then(|| start..(start + count).min(self.blocks))
    }

    /// One block to execute.
    pub(crate) fn take_one(&self) -> Option<u64> {
        if !self.has_blocks() || self.is_over() {
            return None;
        }
        Some(self.progress.next.fetch_add(1, Ordering::Relaxed)).filter(|&n| n < self.blocks)
    }

    /// True where blocks may be taken.
    pub(crate) fn has_blocks(&self) -> bool {
        !self.is_asked_to_stop() && self.progress.next.load(Ordering::Relaxed) < self.blocks
    }

    /// Blocks that were taken and are not begun, since the launch is asked to stop.
    pub(crate) fn give_back(&self, blocks: Range<u64>) {
        lock(&self.progress.returned).push(blocks);
    }

    /// The blocks that were not begun, by number in the grid.
    pub(crate) fn unstarted(&self) -> Vec<Range<u64>> {
        if self.stop.is_none() {
            return Vec::new();
        }
        let next = self.progress.next.load(Ordering::Relaxed).min(self.blocks);
        let mut left = std::mem::take(&mut *lock(&self.progress.returned));
        left.sort_unstable_by_key(|range| range.start);
        left.into_iter().chain(std::iter::once(next..self.blocks)).flat_map(|part| self.chosen.between(part)).collect()
    }

    /// True while no further block is to be begun.
    #[inline]
    pub(crate) fn is_asked_to_stop(&self) -> bool {
        self.stop.as_ref().is_some_and(Word::is_set)
    }

    /// True where the launch has failed.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.progress.over.load(Ordering::Relaxed)
    }

    /// The launch fails. The first failure is the one that is told.
    pub(crate) fn fail(&self, failure: Box<Failure>) {
        lock(&self.progress.failure).get_or_insert(failure);
        self.progress.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn take_failure(&self) -> Option<Box<Failure>> {
        lock(&self.progress.failure).take()
    }

    /// Remembers what is said, in order.
    pub(crate) fn say(&self, said: Said) {
        lock(&self.progress.said).push(said);
        self.progress.speaks.store(true, Ordering::Release);
    }

    /// What was said since the last time.
    pub(crate) fn heard(&self) -> Vec<Said> {
        match self.progress.speaks.swap(false, Ordering::Acquire) {
            true => std::mem::take(&mut *lock(&self.progress.said)),
            false => Vec::new(),
        }
    }

    /// Another thread wants to take part: its number, if it may. One at a time asks.
    pub(crate) fn join(&self) -> Option<u32> {
        let helpers = self.progress.helpers.load(Ordering::Relaxed);
        if helpers + 1 >= self.workers || !self.has_blocks() || self.is_over() {
            return None;
        }
        Some(self.progress.helpers.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// It has ended.
    pub(crate) fn leave(&self) {
        if self.progress.helpers.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(thread) = lock(&self.progress.waiting).take()
        {
            thread.unpark();
        }
    }

    /// Waits for those who joined. Nobody joins any more.
    pub(crate) fn wait(&self) {
        let are_gone = || self.progress.helpers.load(Ordering::Acquire) == 0;
        // All end at about the same time, and sleeping takes longer.
        if wait_awake(are_gone) {
            return;
        }
        *lock(&self.progress.waiting) = Some(std::thread::current());
        while !are_gone() {
            std::thread::park();
        }
    }

    /// The threads that a strand stands for, for messages.
    pub(crate) fn describe(&self, strand: &Strand) -> String {
        let warp = strand.warp();
        let first = warp.warp * 32 + strand.lane().unwrap_or(0);
        let [x, y, z] = self.thread_index(first);
        let ([a, b, c], n) = (warp.cta, warp.mask.count_ones());
        match n {
            1 => format!("block ({a}, {b}, {c}), thread ({x}, {y}, {z})"),
            _ => format!("block ({a}, {b}, {c}), one of the {n} threads from ({x}, {y}, {z}) on"),
        }
    }
}
