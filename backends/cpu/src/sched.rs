//! How a worker executes blocks.
//!
//! Where no thread waits for another, a single strand executes all blocks that the worker takes. Else each warp, or each
//! thread in the form for single lanes, is a strand. The strands of a block take turns; while all that can run only
//! spin, other blocks have theirs, and more are begun: they may be what is waited for. A block stays with its worker, and
//! so do the blocks of a cluster that have to do with each other: they run as one.

use crate::barrier::{Barriers, ClusterBarrier, Released};
use crate::effect;
use crate::job::Job;
use crate::sys::room::{Part, Room, Rooms, Shared};
use crate::sys::strand::{Arrival, Request, Step, Strand};
use crate::sys::switch::Controls;
use crate::trouble::{Accessed, Failure};
use hetgpu_llvm::host::Form;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// Takes part in a launch, as the worker of this number.
pub(crate) fn work(job: &Job, worker: u32, rooms: &mut Rooms) {
    let _controls = Controls::set();
    let outcome = if job.waits { Crew::new(job, worker).run(rooms) } else { straight(job, worker, rooms) };
    if let Err(why) = outcome {
        job.fail(Failure::no_room(job, &why));
    }
}

fn straight(job: &Job, worker: u32, rooms: &mut Rooms) -> io::Result<()> {
    let room = rooms.room(Form::Warp)?;
    let shared = rooms.shared(job.total_shared as usize, 1)?;
    let strand = rooms.strand();
    strand.begin_blocks(job, worker, &room, &shared);
    loop {
        match strand.run() {
            Request::Done => break,
            Request::Yield => std::thread::yield_now(),
            Request::Barrier(a) => {
                let why = format!(" for barrier {}, at which {} threads have to arrive", a.id, a.threads);
                job.fail(Failure::deadlock(job, strand.warp().cta, &why));
                break;
            }
            other => {
                stopped(job, &strand, other, &room, &shared);
                break;
            }
        }
    }
    rooms.keep_strand(strand);
    rooms.keep_shared(shared);
    rooms.keep(room);
    Ok(())
}

/// A strand has stopped for good.
fn stopped(job: &Job, strand: &Strand, request: Request, room: &Room, shared: &Shared) {
    let accessed = match request {
        Request::Signal(signal) if signal.is_access() && !signal.is_anywhere() => match room.part(signal.address) {
            Some(Part::Stack) => {
                room.shrink();
                Some(Accessed::Stack)
            }
            Some(Part::Local) => Some(Accessed::Local),
            None if room.reaches(signal.address) => Some(Accessed::Local),
            None => shared.offset(signal.address).map(Accessed::Shared),
        },
        _ => None,
    };
    job.fail(Failure::stopped(job, strand, request, accessed));
}

/// A block, or the blocks of a cluster, whose strands take turns. Warps are numbered through all of them.
#[expect(clippy::vec_box, reason = "compiled code has a strand's address")]
struct Running {
    /// By rank.
    ctas: Vec<[u32; 3]>,
    shared: Shared,
    /// By warp.
    rooms: Vec<Room>,
    strands: Vec<Box<Strand>>,
    ready: VecDeque<u16>,
    /// Threads that have not ended, by warp.
    live: Vec<u32>,
    left: usize,
    /// By block.
    barriers: Vec<Barriers>,
    cluster: ClusterBarrier,
    /// Strands that meet others of their warp, by warp.
    meeting: Vec<Vec<u16>>,
    /// Strands that ask which lanes are with them, and for how many rounds they have waited for more of them.
    asking: Vec<(u16, u16)>,
    /// By warp: a strand of it has got somewhere in this round.
    moved: Vec<bool>,
    released: Vec<Released>,
    /// Nothing of it has run.
    fresh: bool,
    /// Its strands have come to the end of another block of the launch.
    used: bool,
    /// Warps that run in step.
    phase: Vec<u16>,
}

/// What a turn of a block led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// All its threads have ended.
    Ended,
    /// Whoever can run waits for something outside of the block's barriers.
    Spins,
    /// The launch has failed.
    Failed,
}

impl Running {
    fn new(job: &Job, rooms: &mut Rooms) -> io::Result<Self> {
        let warps = (job.warps * job.together) as usize;
        let strands = if job.form == Form::Lane { warps * 32 } else { warps };
        Ok(Self {
            ctas: Vec::new(),
            shared: rooms.shared(job.total_shared as usize, job.together)?,
            rooms: (0..warps).map(|_| rooms.room(job.form)).collect::<io::Result<_>>()?,
            strands: (0..strands).map(|_| rooms.strand()).collect(),
            ready: VecDeque::with_capacity(strands),
            live: vec![0; warps],
            left: 0,
            barriers: (0..job.together).map(|_| Barriers::default()).collect(),
            cluster: ClusterBarrier::default(),
            meeting: vec![Vec::new(); warps],
            asking: Vec::new(),
            moved: vec![false; warps],
            released: Vec::new(),
            fresh: false,
            used: false,
            phase: Vec::with_capacity(strands),
        })
    }

    fn give_back(self, rooms: &mut Rooms) {
        rooms.keep_shared(self.shared);
        self.rooms.into_iter().for_each(|room| rooms.keep(room));
        self.strands.into_iter().for_each(|strand| rooms.keep_strand(strand));
    }

    fn begin(&mut self, job: &Job, worker: u32, ctas: impl Iterator<Item = [u32; 3]>) {
        self.ctas.clear();
        self.ctas.extend(ctas);
        self.barriers.iter_mut().for_each(Barriers::clear);
        self.cluster.clear(self.rooms.len());
        for (n, room) in (0..).zip(&self.rooms) {
            let (rank, warp) = (n / job.warps, n % job.warps);
            let Some(&cta) = self.ctas.get(rank as usize) else { continue };
            let lanes = job.lanes(warp);
            self.live[n as usize] = lanes;
            match job.form {
                Form::Warp if self.used => {
                    self.strands[n as usize].begin_again(cta);
                    self.ready.push_back(n as u16);
                }
                Form::Warp => {
                    let strand = &self.strands[n as usize];
                    strand.begin_warp(job, worker, room, &self.shared, (cta, rank), warp, None);
                    self.ready.push_back(n as u16);
                }
                Form::Lane => {
                    for lane in (0..32).filter(|l| lanes >> l & 1 != 0) {
                        let strand = &self.strands[(n * 32 + lane) as usize];
                        strand.begin_warp(job, worker, room, &self.shared, (cta, rank), warp, Some(lane));
                        self.ready.push_back((n * 32 + lane) as u16);
                    }
                }
            }
        }
        self.left = self.ready.len();
        (self.fresh, self.used) = (true, true);
    }

    /// Runs a block that has just begun, phase by phase, as long as each of its warps either comes to a barrier of the
    /// whole block or ends. What is left is in the order of [`Self::turn`].
    fn phases(&mut self, job: &Job) -> Option<()> {
        if job.form != Form::Warp || job.together > 1 {
            return Some(());
        }
        self.ready.clear();
        self.phase.clear();
        self.phase.extend(0..self.strands.len() as u16);
        while !self.phase.is_empty() {
            let mut met = 0;
            for at in 0..self.phase.len() {
                let n = self.phase[at];
                match self.strands[usize::from(n)].step() {
                    Step::Met => {
                        self.phase[met] = n;
                        met += 1;
                    }
                    // Threads that have ended are not waited for.
                    Step::Other(Request::Done) => {
                        self.live[usize::from(n)] = 0;
                        self.left -= 1;
                    }
                    Step::Other(other) => return self.mixed(job, met, n, other, at + 1),
                }
            }
            self.phase.truncate(met);
            if job.is_asked_to_stop() {
                self.phase.iter().for_each(|n| self.strands[usize::from(*n)].set_asked(true));
            }
        }
        Some(())
    }

    /// Leaves [`Self::phases`]: the first `met` warps of the phase wait at the block's barrier, one made another request,
    /// and those from a place on have not run.
    fn mixed(&mut self, job: &Job, met: usize, n: u16, request: Request, rest: usize) -> Option<()> {
        let phase = std::mem::take(&mut self.phase);
        self.ready.extend(&phase[rest..]);
        for &waiting in &phase[..met] {
            let lanes = self.live[usize::from(waiting)];
            let arrival = Arrival { id: 0, group: false, threads: 0, lanes, waits: true, reduces: None };
            self.serve(job, waiting, Request::Barrier(arrival))?;
        }
        self.serve(job, n, request)?;
        self.phase = phase;
        Some(())
    }

    /// Runs the block until all of its strands that can run spin.
    fn turn(&mut self, job: &Job) -> Turn {
        if std::mem::take(&mut self.fresh) {
            if self.phases(job).is_none() {
                return Turn::Failed;
            }
            if self.left == 0 {
                return Turn::Ended;
            }
        }
        loop {
            let mut progress = false;
            for _ in 0..self.ready.len() {
                let Some(n) = self.ready.pop_front() else { break };
                let request = self.strands[usize::from(n)].run();
                match self.serve(job, n, request) {
                    Some(moved) => progress |= moved,
                    None => return Turn::Failed,
                }
            }
            if self.left == 0 {
                return Turn::Ended;
            }
            progress |= self.answer();
            if self.ready.is_empty() && self.asking.is_empty() {
                let stuck = self.live.iter().position(|l| *l != 0).unwrap_or(0) / job.warps as usize;
                job.fail(Failure::deadlock(job, self.ctas[stuck], &self.waits(job)));
                return Turn::Failed;
            }
            if !progress || job.is_over() {
                return Turn::Spins;
            }
        }
    }

    /// What each strand waits for.
    fn waits(&self, job: &Job) -> String {
        let meeting: usize = self.meeting.iter().map(Vec::len).sum();
        let blocks = self.barriers.iter().zip(self.live.chunks(job.warps as usize));
        let mut texts: Vec<String> = blocks.map(|(barriers, live)| barriers.describe(live)).collect();
        texts.push(self.cluster.describe(&self.live));
        if meeting > 0 {
            texts.push(format!("{meeting} threads for other lanes of their warps"));
        }
        texts.retain(|t| !t.is_empty());
        if texts.is_empty() { String::new() } else { format!(" {}", texts.join("; ")) }
    }

    /// Does what a strand asks for; whether that was progress, or nothing where the launch has failed.
    fn serve(&mut self, job: &Job, n: u16, request: Request) -> Option<bool> {
        let strand = &self.strands[usize::from(n)];
        let together = job.form == Form::Warp;
        let warp = usize::from(if together { n } else { n / 32 });
        let warps = job.warps as usize;
        let (block, inside) = (warp / warps, warp % warps);
        let of_block = block * warps..(block + 1) * warps;
        match request {
            Request::Yield => {
                self.ready.push_back(n);
                return Some(false);
            }
            Request::Done => {
                self.live[warp] &= if together { 0 } else { !(1 << (n % 32)) };
                self.left -= 1;
                self.barriers[block].ended(&self.live[of_block], &mut self.released);
                self.cluster.ended(&self.live, &mut self.released);
                self.meet(job, warp)?;
            }
            Request::Barrier(arrival) => {
                let (live, out) = (&self.live[of_block], &mut self.released);
                if let Err(why) = self.barriers[block].arrive(n, inside, &arrival, together, live, out) {
                    job.fail(misused(job, strand, &why));
                    return None;
                }
            }
            Request::Cluster { waits, lanes } => {
                let (live, out) = (&self.live, &mut self.released);
                let done = match waits {
                    true => self.cluster.wait(n, warp, lanes, together, live, out),
                    false => {
                        out.push((n, 0));
                        self.cluster.arrive(warp, lanes, live, out)
                    }
                };
                if let Err(why) = done {
                    job.fail(misused(job, strand, why));
                    return None;
                }
            }
            Request::Meet if strand.meeting().borrow().as_ref().is_some_and(|m| effect::asks(&m.described)) => {
                self.asking.push((n, 0));
            }
            Request::Meet => {
                self.meeting[warp].push(n);
                self.meet(job, warp)?;
            }
            Request::Fail { .. } | Request::Trouble | Request::Signal(_) => {
                stopped(job, strand, request, &self.rooms[warp], &self.shared);
                return None;
            }
        }
        self.moved[warp] = true;
        // Whoever was released together hears the same.
        let asked = !self.released.is_empty() && job.is_asked_to_stop();
        for (strand, answer) in self.released.drain(..) {
            self.strands[usize::from(strand)].set_asked(asked);
            self.strands[usize::from(strand)].set_answer(answer);
            self.ready.push_back(strand);
        }
        Some(true)
    }

    /// Tells strands which lanes are with them, once the others of their warp have got as far as they can; whether any
    /// was told. On hardware lanes that part at a branch stay together, and programs form groups by asking.
    fn answer(&mut self) -> bool {
        if self.asking.is_empty() {
            return false;
        }
        let before = self.ready.len();
        for warp in 0..self.moved.len() {
            let moved = std::mem::take(&mut self.moved[warp]);
            let of_warp = |n: u16| usize::from(n / 32) == warp;
            let mut patient = false;
            for (_, rounds) in self.asking.iter_mut().filter(|(n, _)| of_warp(*n)) {
                *rounds += 1;
                patient |= *rounds < ROUNDS;
            }
            if moved && patient {
                continue;
            }
            let asking: Vec<u16> = self.asking.iter().map(|(n, _)| *n).filter(|n| of_warp(*n)).collect();
            self.asking.retain(|(n, _)| !of_warp(*n));
            effect::tell(&asking, &self.strands);
            self.ready.extend(asking);
        }
        self.ready.len() > before
    }

    /// Executes the ops whose lanes have all come.
    fn meet(&mut self, job: &Job, warp: usize) -> Option<()> {
        while !self.meeting[warp].is_empty() {
            match effect::meet(&self.meeting[warp], &self.strands, self.live[warp]) {
                Ok(done) if done.is_empty() => break,
                Ok(done) => {
                    self.meeting[warp].retain(|n| !done.contains(n));
                    self.ready.extend(done);
                }
                Err((n, trouble)) => {
                    let strand = &self.strands[usize::from(n)];
                    strand.put_trouble(trouble);
                    stopped(job, strand, Request::Trouble, &self.rooms[warp], &self.shared);
                    return None;
                }
            }
        }
        Some(())
    }
}

/// A barrier was used as it must not be.
fn misused(job: &Job, strand: &Strand, why: &str) -> Box<Failure> {
    let message = format!("{why}, {}", job.describe(strand));
    let kind = hetgpu_device::ErrorKind::LaunchFailed;
    Failure::plain(job, kind, hetir::interp::FaultKind::BadBarrier.code(), message)
}

/// How many rounds a strand that asks waits at most for lanes that still get on: they may be waiting for it.
const ROUNDS: u16 = 256;

/// A worker's blocks.
struct Crew<'j> {
    job: &'j Job,
    worker: u32,
    active: Vec<Running>,
    spare: Vec<Running>,
}

/// How long all blocks spin before more are begun: a loop that only looks as if it waited ends sooner.
const SPIN: Duration = Duration::from_micros(50);
/// How long all blocks spin without room for another before the launch fails.
const GIVE_UP: Duration = Duration::from_secs(10);

impl<'j> Crew<'j> {
    fn new(job: &'j Job, worker: u32) -> Self {
        Self { job, worker, active: Vec::new(), spare: Vec::new() }
    }

    fn run(&mut self, rooms: &mut Rooms) -> io::Result<()> {
        let outcome = self.all(rooms);
        for running in self.active.drain(..).chain(self.spare.drain(..)) {
            running.give_back(rooms);
        }
        outcome
    }

    /// Begins another block; false where there is none.
    fn begin(&mut self, rooms: &mut Rooms) -> io::Result<bool> {
        if !self.job.has_blocks() {
            return Ok(false);
        }
        let mut running = match self.spare.pop() {
            Some(running) => running,
            None => Running::new(self.job, rooms)?,
        };
        let Some(block) = self.job.take_one() else {
            self.spare.push(running);
            return Ok(false);
        };
        running.begin(self.job, self.worker, self.job.cluster_blocks(block));
        self.active.push(running);
        Ok(true)
    }

    fn all(&mut self, rooms: &mut Rooms) -> io::Result<()> {
        let (mut spinning, mut refused): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            if self.active.is_empty() && !self.begin(rooms)? {
                return Ok(());
            }
            let mut ended = false;
            let mut n = 0;
            while n < self.active.len() {
                if self.job.is_over() {
                    return Ok(());
                }
                match self.active[n].turn(self.job) {
                    Turn::Ended => {
                        ended = true;
                        self.spare.push(self.active.remove(n));
                    }
                    Turn::Spins => n += 1,
                    Turn::Failed => return Ok(()),
                }
            }
            if ended {
                (spinning, refused) = (None, None);
                continue;
            }
            let since = *spinning.get_or_insert_with(Instant::now);
            if self.job.cooperative || since.elapsed() >= SPIN {
                for _ in 0..self.active.len() {
                    match self.begin(rooms) {
                        Ok(true) => {}
                        Ok(false) => break,
                        // What runs may still come to its end.
                        Err(why) => {
                            if refused.get_or_insert_with(Instant::now).elapsed() >= GIVE_UP {
                                return Err(why);
                            }
                            break;
                        }
                    }
                }
                spinning = None;
            }
            std::thread::yield_now();
        }
    }
}
