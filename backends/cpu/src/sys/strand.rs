//! A strand: a stack that a warp's code, or in the form for single lanes a thread's, runs on until it stops.

use super::access::Access;
use super::memory::Word;
use super::room::{Room, Shared};
use super::signal::{self, Signal};
use super::switch;
use crate::job::Job;
use crate::trouble::Trouble;
use hetgpu_llvm::abi::{Described, Warp};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ptr;

/// Why a strand stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// Its code has come to its end.
    Done,
    /// It waits for another thread, without saying for which.
    Yield,
    /// It arrives at a barrier, and goes on at once or with the answer.
    Barrier(Arrival),
    /// It arrives at the cluster's barrier, or waits for it.
    Cluster { waits: bool, lanes: u32 },
    /// It waits for other lanes of its warp, at the op that [`Strand::meeting`] describes.
    Meet,
    /// `hetgpu_fail` was called.
    Fail { kind: u32, lane: u32, function: u32, span: u32 },
    /// An op failed that a helper executed: [`Strand::take_trouble`].
    Trouble,
    /// A fault.
    Signal(Signal),
}

/// Why a strand of a block whose warps run in step stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It waits at the barrier of the whole block.
    Met,
    /// Anything else.
    Other(Request),
}

/// At a barrier of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrival {
    /// Of the barriers that programs name, or of the warp groups where `group`.
    pub id: u32,
    pub group: bool,
    /// Threads that complete the phase; 0: all.
    pub threads: u32,
    pub lanes: u32,
    pub waits: bool,
    /// What is computed, a `BarrierOp`, and in which lanes the predicate holds.
    pub reduces: Option<(u32, u32)>,
}

/// An op at which lanes of a warp meet, in the form for single lanes.
#[derive(Clone, Debug)]
pub(crate) struct Meeting {
    pub described: Described,
    /// Of this lane: operands before, results after.
    pub words: Vec<u64>,
}

/// What runs on a strand.
#[derive(Clone, Copy)]
enum Work {
    Nothing,
    /// One warp or thread.
    Warp,
    /// Blocks of the grid one after the other, and their warps.
    Blocks,
}

/// The word of launches that nobody asks to stop.
static NEVER: u32 = 0;

/// Turns of loops that may wait before other threads have theirs.
pub(crate) const PATIENCE: u32 = 256;

pub(crate) struct Strand {
    warp: UnsafeCell<Warp>,
    /// Where the strand stopped, and where its worker did.
    own: Cell<*mut u8>,
    home: Cell<*mut u8>,
    /// The top of its stack.
    top: Cell<*mut u8>,
    request: Cell<Request>,
    /// The lanes that wait at the barrier of the whole block, where that is why it stopped. `request` says nothing then.
    met: Cell<u32>,
    in_step: Cell<bool>,
    answer: Cell<u32>,
    work: Cell<Work>,
    job: Cell<*const Job>,
    worker: Cell<u32>,
    /// Of threads that run by themselves: the lane.
    lane: Cell<Option<u32>>,
    meeting: RefCell<Option<Meeting>>,
    /// The op that a helper executes (its number, function and place in the text), and its last access of global memory.
    executing: Cell<Option<(u16, u32, u32)>>,
    accessing: Cell<Option<Access>>,
    trouble: RefCell<Option<Box<Trouble>>>,
}

// SAFETY: its pointers are followed only while a worker runs it, from `begin` to its end, and it is handed on between
// runs only.
unsafe impl Send for Strand {}

impl Strand {
    pub(crate) fn new() -> Box<Self> {
        let warp = Warp {
            params: ptr::null(),
            shared: ptr::null_mut(),
            local: ptr::null_mut(),
            globals: ptr::null(),
            host: ptr::null_mut(),
            grid: [0; 3],
            block: [0; 3],
            cta: [0; 3],
            warp: 0,
            mask: 0,
            local_bytes: 0,
            dynamic_shared: 0,
            total_shared: 0,
            patience: 0,
            rank: 0,
            cluster_blocks: 1,
            workspace: 0,
            grid_id: 0,
            stop: ptr::from_ref(&NEVER),
            asked: 0,
        };
        Box::new(Self {
            warp: UnsafeCell::new(warp),
            own: Cell::new(ptr::null_mut()),
            home: Cell::new(ptr::null_mut()),
            top: Cell::new(ptr::null_mut()),
            request: Cell::new(Request::Done),
            met: Cell::new(0),
            in_step: Cell::new(false),
            answer: Cell::new(0),
            work: Cell::new(Work::Nothing),
            job: Cell::new(ptr::null()),
            worker: Cell::new(0),
            lane: Cell::new(None),
            meeting: RefCell::default(),
            executing: Cell::new(None),
            accessing: Cell::new(None),
            trouble: RefCell::default(),
        })
    }

    fn begin(&self, job: &Job, worker: u32, room: &Room, shared: &Shared, stack: usize, number: u32, work: Work) {
        let warp = Warp {
            params: job.params.as_ptr().cast(),
            shared: shared.block(0),
            local: room.local(),
            globals: job.globals.as_ptr(),
            host: ptr::from_ref(self).cast_mut().cast(),
            grid: job.grid,
            block: job.block,
            cta: [0; 3],
            warp: 0,
            mask: 0,
            local_bytes: super::room::LOCAL_BYTES,
            dynamic_shared: job.dynamic_shared,
            total_shared: job.total_shared,
            patience: PATIENCE,
            rank: 0,
            cluster_blocks: job.together,
            workspace: job.workspace,
            grid_id: job.grid_id,
            stop: job.stop.as_ref().map_or(ptr::from_ref(&NEVER), Word::address),
            asked: 0,
        };
        // SAFETY: the strand does not run: whoever calls this holds it between `begin`s.
        unsafe { *self.warp.get() = warp };
        self.job.set(job);
        self.worker.set(worker);
        self.work.set(work);
        self.meeting.replace(None);
        self.executing.set(None);
        self.trouble.replace(None);
        // Frames of a block's warps begin at different places of their pages, so that they do not compete for the same
        // sets of the first cache.
        let colour = number as usize % 16 * 320;
        let top = room.stack(stack).map_addr(|a| (a & !15) - colour);
        // SAFETY: the room gives the top of an accessible stack of at least a MiB, which nothing uses: what ran on it
        // has ended or is abandoned.
        self.own.set(unsafe { switch::prepare(top, main, ptr::from_ref(self).cast()) });
        self.top.set(top);
    }

    /// Makes the strand one that executes blocks of the grid until there are none. It runs by [`Strand::run`], and `job`,
    /// `room` and `shared` must stay until it is done or abandoned.
    pub(crate) fn begin_blocks(&self, job: &Job, worker: u32, room: &Room, shared: &Shared) {
        self.lane.set(None);
        self.begin(job, worker, room, shared, 0, 0, Work::Blocks);
    }

    /// Makes the strand one that executes a warp of a block, or a single lane of it. As `begin_blocks`.
    pub(crate) fn begin_warp(
        &self,
        job: &Job,
        worker: u32,
        room: &Room,
        shared: &Shared,
        (cta, rank): ([u32; 3], u32),
        warp: u32,
        lane: Option<u32>,
    ) {
        self.lane.set(lane);
        self.begin(job, worker, room, shared, lane.unwrap_or(0) as usize, warp, Work::Warp);
        // SAFETY: as in `begin`.
        let w = unsafe { &mut *self.warp.get() };
        (w.cta, w.rank, w.warp) = (cta, rank, warp);
        w.shared = shared.block(rank);
        w.mask = lane.map_or_else(|| job.lanes(warp), |l| 1 << l);
    }

    /// The same warp or lane of another block, where the last one came to its end: everything else stays as it was.
    pub(crate) fn begin_again(&self, cta: [u32; 3]) {
        // SAFETY: as in `begin`.
        let w = unsafe { &mut *self.warp.get() };
        (w.cta, w.patience, w.asked) = (cta, PATIENCE, 0);
        // SAFETY: as in `begin`, which left the top of the stack.
        self.own.set(unsafe { switch::prepare(self.top.get(), main, ptr::from_ref(self).cast()) });
    }

    /// Runs it until it stops.
    #[inline]
    pub(crate) fn run(&self) -> Request {
        self.in_step.set(false);
        self.go_on();
        self.request.get()
    }

    /// The same for a warp that runs in step with the others of its block: a request takes several stores, which whoever
    /// reads it would have to wait for.
    #[inline]
    pub(crate) fn step(&self) -> Step {
        self.in_step.set(true);
        self.met.set(0);
        self.go_on();
        if self.met.get() != 0 { Step::Met } else { Step::Other(self.request.get()) }
    }

    #[inline]
    fn go_on(&self) {
        signal::set_current(self);
        // SAFETY: `own` is a context that `begin` has prepared or `leave` has saved, on a stack that stays; the strand is
        // of this thread, as it is neither `Send` nor `Sync`.
        unsafe { switch::switch(self.home.as_ptr(), self.own.get()) };
        signal::set_current(ptr::null());
    }

    /// Whether [`Strand::step`] runs it.
    pub(super) fn is_in_step(&self) -> bool {
        self.in_step.get()
    }

    /// Waits at the barrier of the whole block. Called on the strand.
    pub(super) fn leave_in_step(&self, lanes: u32) {
        self.met.set(lanes);
        // SAFETY: the worker is in `step`, which has saved `home`.
        unsafe { switch::switch(self.own.as_ptr(), self.home.get()) };
    }

    /// Goes back to the worker; returns when the strand runs again. Called on the strand.
    pub(super) fn leave(&self, request: Request) {
        self.request.set(request);
        // SAFETY: the worker is in `run`, which has saved `home`.
        unsafe { switch::switch(self.own.as_ptr(), self.home.get()) };
    }

    /// For the signal handler: what happened, and where the worker goes on.
    pub(super) fn interrupted(&self, signal: Signal) -> *mut u8 {
        self.request.set(Request::Signal(signal));
        self.home.get()
    }

    /// Ends the strand with a failed op. Called on the strand.
    pub(super) fn fail(&self, trouble: Box<Trouble>) {
        self.trouble.replace(Some(trouble));
        self.leave(Request::Trouble);
    }

    /// Remembers the op that a helper executes, until it is done.
    pub(super) fn executes(&self, op: Option<(u16, u32, u32)>) {
        self.executing.set(op);
        self.accessing.set(None);
    }
    /// Remembers what it accesses: where nothing is, that is the last that it does.
    pub(super) fn accesses(&self, access: Access) {
        self.accessing.set(Some(access));
    }
    /// The access of global memory that a helper did not come back from, and its op.
    pub(crate) fn lost_access(&self) -> Option<((u16, u32, u32), Access)> {
        self.executing.get().zip(self.accessing.get())
    }

    /// Says why it fails, from outside.
    pub(crate) fn put_trouble(&self, trouble: Box<Trouble>) {
        self.trouble.replace(Some(trouble));
    }

    pub(crate) fn take_trouble(&self) -> Option<Box<Trouble>> {
        self.trouble.take()
    }

    /// What the strand gets when it goes on from a barrier.
    pub(crate) fn set_answer(&self, answer: u32) {
        self.answer.set(answer);
    }

    /// Whether the launch was asked to stop when a barrier completed that the strand waits at.
    pub(crate) fn set_asked(&self, asked: bool) {
        // SAFETY: as in `warp`.
        unsafe { (*self.warp.get()).asked = asked.into() };
    }

    pub(super) fn answer(&self) -> u32 {
        self.answer.get()
    }

    /// The op that it waits at.
    pub(crate) fn meeting(&self) -> &RefCell<Option<Meeting>> {
        &self.meeting
    }

    /// What its code was given.
    pub(crate) fn warp(&self) -> Warp {
        // SAFETY: read on the strand's own thread while its code does not run, or is in a helper.
        unsafe { *self.warp.get() }
    }

    pub(super) fn restore_patience(&self) {
        // SAFETY: as in `warp`.
        unsafe { (*self.warp.get()).patience = PATIENCE };
    }

    /// Its lane, in the form for single lanes.
    pub(crate) fn lane(&self) -> Option<u32> {
        self.lane.get()
    }

    pub(crate) fn worker(&self) -> u32 {
        self.worker.get()
    }

    /// The launch that it belongs to.
    pub(crate) fn job(&self) -> &Job {
        // SAFETY: set by `begin`, whose caller keeps the job until the strand is done or abandoned; nothing asks before.
        unsafe { &*self.job.get() }
    }

    fn execute(&self) {
        let (job, warp) = (self.job(), self.warp.get());
        match self.work.get() {
            Work::Nothing => {}
            // SAFETY: the code was compiled for what `begin` has put into the warp.
            Work::Warp => unsafe { (job.entry)(warp) },
            Work::Blocks => {
                while let Some(blocks) = job.take() {
                    for block in blocks.clone() {
                        if job.is_asked_to_stop() {
                            job.give_back(block..blocks.end);
                            break;
                        }
                        // SAFETY: this strand's own warp, whose code does not run now.
                        unsafe { (*warp).cta = job.block_index(block) };
                        for n in 0..job.warps {
                            // SAFETY: as above.
                            unsafe {
                                (*warp).warp = n;
                                (*warp).mask = job.lanes(n);
                                (job.entry)(warp);
                            }
                        }
                    }
                }
            }
        }
    }
}

unsafe extern "C" fn main(strand: *const ()) {
    // SAFETY: `begin` gave the address of a strand that outlives its run.
    let strand = unsafe { &*strand.cast::<Strand>() };
    strand.execute();
    strand.leave(Request::Done);
    // A strand that is done is not run again before `begin`.
    std::process::abort()
}
