//! The grid: which blocks run when.

use super::check::{Cells, Clocks, Release, Written};
use super::code::Code;
use super::exec::{Barriers, ClusterBarrier, Copies, hurry, place, poll, time_out};
use super::program::Kernel;
use super::warp::{State, Warp};
use super::{Checks, Fault, FaultKind, Heap, Launch, Memory, Options, Place, Print, Report, SharedLayout};
use crate::blocks::Blocks;
use crate::entity::FuncId;
use crate::ir::FunctionKind;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

/// What all blocks share.
pub(super) struct Env<'l> {
    pub launch: &'l Launch<'l>,
    kernel: &'l Kernel,
    pub memory: &'l mut (dyn Memory + 'l),
    pub heap: Option<&'l mut Heap>,
    pub print: Option<Print<'l>>,
    pub complain: Option<Print<'l>>,
    pub checks: Checks,
    pub max_steps: u64,
    pub max_calls: u32,
    pub stack_bytes: u32,
    pub shared_bytes: u32,
    /// Registers of activations that ended, to be used again.
    pub pool: Vec<Vec<super::code::Column>>,
    /// Registers of all activations.
    pub columns: usize,
    /// Lane-ops executed by groups that have stopped since.
    pub steps: u64,
    /// Lane-ops at the instruction executed.
    pub clock: u64,
    pub warnings: Vec<Fault>,
    /// Pairs of instructions that were warned about.
    pub warned: HashSet<[u32; 4]>,
    /// Accesses of global memory.
    pub cells: Cells,
    /// Last releases by block.
    pub releases: HashMap<u64, Release>,
    random: u64,
}

/// What the blocks of a cluster share.
pub(super) struct Common {
    /// Shared memory by rank.
    pub shared: Vec<Vec<u8>>,
    /// Accesses of it, and which bytes are written.
    pub cells: Vec<Cells>,
    pub written: Vec<Written>,
    pub barrier: ClusterBarrier,
    /// Copies under way.
    pub copies: Copies,
}

/// A block, beside its warps.
pub(super) struct Block {
    pub index: [u32; 3],
    /// Its rank in the cluster.
    pub rank: u32,
    /// Live threads by warp.
    pub live: Vec<u32>,
    pub barriers: Barriers,
    pub clocks: Clocks,
}

struct Running<'l> {
    block: Block,
    warps: Vec<Warp<'l>>,
    next: usize,
}

struct Cluster<'l> {
    common: Common,
    blocks: Vec<Running<'l>>,
}

/// Instructions of a warp before another has its turn, and of a block.
const WARP_TURN: u32 = 512;
const BLOCK_TURN: u32 = 1 << 15;
/// The same where all blocks wait for each other.
const COOPERATIVE_TURN: u32 = 1 << 11;
/// Registers and shared memory of all blocks that run side by side before only one more is added a round.
const SIDE_BY_SIDE_BYTES: usize = 256 << 20;

impl<'l> Env<'l> {
    /// A number below a bound, by the seed.
    pub(crate) fn random(&mut self, below: u32) -> u32 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as u32 % below.max(1)
    }
    /// Whether the word at this address is not 0; where nothing is there, nobody asks.
    pub(crate) fn is_asked_to_stop(&mut self, at: u64) -> bool {
        let mut word = [0; 4];
        at != 0 && self.memory.read(at, &mut word).is_ok() && word != [0; 4]
    }
    /// The kernel's name.
    pub(crate) fn kernel_name(&self) -> &str {
        &self.launch.module.functions[self.launch.kernel.index()].name
    }
    /// The code of a function; `None` where it has no body.
    pub(crate) fn code(&self, id: FuncId) -> Option<&'l Code> {
        self.kernel.code(self.launch, id)
    }
    /// A thread's index from its number in the block.
    pub(crate) fn thread_index(&self, thread: u32) -> [u32; 3] {
        let [x, y, _] = self.launch.block;
        [thread % x, thread / x % y, thread / (x * y)]
    }
}

fn bad_launch<T>(launch: &Launch<'_>, message: impl Into<String>) -> Result<T, Box<Fault>> {
    Err(Box::new(Fault {
        kind: FaultKind::BadLaunch,
        kernel: launch.module.functions.get(launch.kernel.index()).map(|f| f.name.clone()).unwrap_or_default(),
        place: None,
        message: message.into(),
        related: Vec::new(),
    }))
}

fn product(d: [u32; 3]) -> u64 {
    d.iter().fold(1u64, |p, &n| p.saturating_mul(n.into()))
}

/// A launch without clusters has those that its kernel requires.
fn with_required_cluster<'l>(launch: &Launch<'l>) -> Launch<'l> {
    let required = match launch.module.functions.get(launch.kernel.index()).map(|f| &f.kind) {
        Some(FunctionKind::Kernel { bounds, .. }) => bounds.required_cluster.map(|n| n.max(1)),
        _ => [1; 3],
    };
    Launch { cluster: if launch.cluster == [1; 3] { required } else { launch.cluster }, ..*launch }
}

/// Checks a launch against its kernel and what the interpreter can do.
fn check(launch: &Launch<'_>, layout: &SharedLayout, options: &Options<'_>) -> Result<(), Box<Fault>> {
    let bad = |message: String| bad_launch(launch, message);
    let Some(f) = launch.module.functions.get(launch.kernel.index()) else {
        return bad("no such function".into());
    };
    let FunctionKind::Kernel { bounds, .. } = &f.kind else {
        return bad(format!("{} is no kernel", f.name));
    };
    if let Some(why) = f.unavailable.first() {
        return bad(format!("the kernel is unavailable: {}", why.message));
    }
    if f.body.is_none() {
        return bad("the kernel has no body".into());
    }
    let (grid, block, cluster) = (launch.grid, launch.block, launch.cluster);
    let threads = product(block);
    if product(grid) == 0 || threads == 0 || product(cluster) == 0 {
        return bad(format!("a dimension is 0: grid {grid:?}, block {block:?}, cluster {cluster:?}"));
    }
    if threads > 1024 {
        return bad(format!("{threads} threads a block, and at most 1024 are possible"));
    }
    if product(grid) == u64::MAX {
        return bad(format!("too many blocks: {grid:?}"));
    }
    if bounds.required_threads != [0; 3] && bounds.required_threads.map(|n| n.max(1)) != block {
        return bad(format!("{block:?} threads a block, and the kernel requires {:?}", bounds.required_threads));
    }
    let most = product(bounds.max_threads.map(|n| n.max(1)));
    if bounds.max_threads != [0; 3] && threads > most {
        return bad(format!("{threads} threads a block, and the kernel allows {most}"));
    }
    if grid.iter().zip(cluster).any(|(g, c)| g % c != 0) || product(cluster) > 16 {
        return bad(format!("the grid {grid:?} does not consist of clusters of {cluster:?}, or these are too large"));
    }
    if bounds.required_cluster != [0; 3] && bounds.required_cluster.map(|n| n.max(1)) != cluster {
        return bad(format!("clusters of {cluster:?}, and the kernel requires {:?}", bounds.required_cluster));
    }
    let params = f.param_bytes() as usize;
    if launch.params.len() < params {
        return bad(format!("{} bytes of parameters, and the kernel has {params}", launch.params.len()));
    }
    let shared = layout.total(launch.dynamic_shared);
    if shared > options.max_shared.into() {
        return bad(format!("{shared} bytes of shared memory, and {} are possible", options.max_shared));
    }
    let slots: u64 = f.slots.iter().map(|s| u64::from(s.size) + u64::from(s.align)).sum();
    if slots + 64 > options.stack_bytes.into() {
        return bad(format!("{slots} bytes of local memory, and {} are possible", options.stack_bytes));
    }
    Ok(())
}

/// Executes a launch to its end.
pub(super) fn run(
    launch: &Launch<'_>,
    memory: &mut dyn Memory,
    options: &mut Options<'_>,
) -> Result<Report, Box<Fault>> {
    let launch = &with_required_cluster(launch);
    let own;
    let kernel = match launch.program.and_then(|program| program.kernel(launch)) {
        Some(kernel) => kernel,
        None => {
            own = Kernel::new(launch);
            &own
        }
    };
    check(launch, &kernel.layout, options)?;
    let interrupt = options.interrupt;
    let mut env = Env {
        launch,
        kernel,
        memory,
        heap: options.heap.as_deref_mut(),
        print: options.print.as_mut().map(|p| &mut **p as Print<'_>),
        complain: options.complain.as_mut().map(|p| &mut **p as Print<'_>),
        checks: options.checks,
        max_steps: options.max_steps.unwrap_or(u64::MAX),
        max_calls: options.max_calls,
        stack_bytes: options.stack_bytes,
        shared_bytes: kernel.layout.total(launch.dynamic_shared) as u32,
        pool: Vec::new(),
        columns: 0,
        steps: 0,
        clock: 0,
        warnings: Vec::new(),
        warned: HashSet::new(),
        cells: Cells::default(),
        releases: HashMap::new(),
        random: options.seed,
    };
    let mut grid = Grid::new(&mut env)?;
    grid.run(&mut env, interrupt)?;
    let unstarted = grid.blocks.between(grid.started..grid.clusters);
    Ok(Report { steps: env.steps, warnings: env.warnings, unstarted })
}

struct Grid<'l> {
    kernel: &'l Code,
    /// Which clusters run, and how many they are.
    blocks: Blocks,
    clusters: u64,
    started: u64,
    running: VecDeque<Cluster<'l>>,
    /// Ended blocks' shared memory, to be used again.
    spare: Vec<Vec<u8>>,
    /// Waits that were ended in a row, and changes of mbarriers before that.
    time_outs: u32,
    changes: u64,
}

/// What a turn of a cluster led to.
struct Turn {
    executed: u32,
    ended: bool,
}

impl<'l> Grid<'l> {
    fn new(env: &mut Env<'l>) -> Result<Self, Box<Fault>> {
        let launch = env.launch;
        let Some(kernel) = env.code(launch.kernel) else { return bad_launch(launch, "the kernel has no body") };
        let all = product(launch.grid) / product(launch.cluster);
        let blocks = launch.blocks.cloned().unwrap_or_default();
        if !blocks.are_within(all) {
            return bad_launch(launch, format!("blocks beyond the grid's {all}"));
        }
        let clusters = blocks.count(all);
        Ok(Self {
            kernel,
            blocks,
            clusters,
            started: 0,
            running: VecDeque::new(),
            spare: Vec::new(),
            time_outs: 0,
            changes: 0,
        })
    }

    fn run(&mut self, env: &mut Env<'l>, interrupt: Option<&AtomicBool>) -> Result<(), Box<Fault>> {
        let turn = if env.launch.cooperative { COOPERATIVE_TURN } else { BLOCK_TURN };
        let mut wanted = if env.launch.cooperative { self.clusters } else { 1 };
        loop {
            while (self.running.len() as u64) < wanted && self.may_start(env) {
                let cluster = self.start(env);
                self.running.push_back(cluster);
            }
            if self.running.is_empty() {
                return Ok(());
            }
            let (mut executed, mut ended) = (0u64, false);
            for _ in 0..self.running.len() {
                let Some(mut cluster) = self.running.pop_front() else { break };
                let t = cluster.turn(env, turn)?;
                executed += u64::from(t.executed);
                env.memory.pause();
                if interrupt.is_some_and(|i| i.load(Ordering::Relaxed)) {
                    let one = &cluster.blocks[0];
                    let warp = one.warps.iter().find(|w| !w.ended()).unwrap_or(&one.warps[0]);
                    return Err(warp.fault(
                        env,
                        &one.block,
                        FaultKind::Interrupted,
                        "the launch was interrupted".into(),
                    ));
                }
                if t.ended {
                    ended = true;
                    self.spare.extend(cluster.common.shared);
                    if (self.running.len() as u64) < wanted && self.may_start(env) {
                        let next = self.start(env);
                        self.running.push_back(next);
                    }
                } else {
                    self.running.push_back(cluster);
                }
            }
            if ended {
                continue;
            }
            // Nobody came to an end: perhaps they wait for blocks that have not started.
            if self.may_start(env) {
                let bytes: usize = self.running.iter().map(Cluster::size).sum();
                wanted = if bytes < SIDE_BY_SIDE_BYTES { wanted * 2 } else { wanted + 1 };
            } else if executed == 0 && !self.time_out() {
                return Err(self.deadlock(env));
            }
        }
    }

    /// Whether there is another cluster, and the launch is not asked to stop.
    fn may_start(&self, env: &mut Env<'l>) -> bool {
        self.started < self.clusters && !env.is_asked_to_stop(env.launch.stop)
    }

    fn start(&mut self, env: &mut Env<'l>) -> Cluster<'l> {
        let launch = env.launch;
        let n = self.blocks.nth(self.started);
        self.started += 1;
        let per_row = |d: usize| u64::from(launch.grid[d] / launch.cluster[d]);
        let corner = [n % per_row(0), n / per_row(0) % per_row(1), n / (per_row(0) * per_row(1))];
        let threads = product(launch.block) as u32;
        let ranks = product(launch.cluster) as u32;
        let mut common = Common {
            shared: Vec::new(),
            cells: Vec::new(),
            written: Vec::new(),
            barrier: ClusterBarrier::new(threads * ranks),
            copies: Copies::default(),
        };
        let mut blocks = Vec::new();
        for rank in 0..ranks {
            let [x, y, _] = launch.cluster;
            let inside = [rank % x, rank / x % y, rank / (x * y)];
            let index: [u32; 3] = std::array::from_fn(|d| corner[d] as u32 * launch.cluster[d] + inside[d]);
            let mut shared = self.spare.pop().unwrap_or_default();
            shared.clear();
            shared.resize(env.shared_bytes as usize, 0);
            common.shared.push(shared);
            let mut clocks = Clocks::default();
            if env.checks.races {
                let [gx, gy, _] = launch.grid.map(u64::from);
                let number = u64::from(index[0]) + gx * (u64::from(index[1]) + gy * u64::from(index[2]));
                clocks = Clocks::new(number, threads);
                common.cells.push(Cells::default());
            }
            if env.checks.uninitialised {
                let mut written = Written::default();
                written.forget(0, env.shared_bytes as usize);
                common.written.push(written);
            }
            let warps: Vec<Warp<'l>> =
                (0..threads.div_ceil(32)).map(|w| Warp::new(env, w, threads - w * 32, self.kernel)).collect();
            let live = warps.iter().map(|w| w.live).collect();
            let block = Block { index, rank, live, barriers: Barriers::default(), clocks };
            blocks.push(Running { block, warps, next: 0 });
        }
        Cluster { common, blocks }
    }

    /// Ends waits that have a time limit, as nothing else is left to happen; false where there are none, or this has
    /// happened so often in a row that the program is taken to wait in a loop.
    #[cold]
    fn time_out(&mut self) -> bool {
        let changes = self.running.iter().map(|c| c.common.copies.changes).sum();
        if self.changes != changes {
            self.changes = changes;
            self.time_outs = 0;
        }
        self.time_outs += 1;
        let warps = self.running.iter_mut().flat_map(|c| &mut c.blocks).flat_map(|b| &mut b.warps);
        self.time_outs <= MAX_TIME_OUTS && warps.map(time_out).fold(false, |any, one| any | one)
    }

    #[cold]
    fn deadlock(&self, env: &Env<'_>) -> Box<Fault> {
        let waits = self.running.iter().flat_map(|c| &c.blocks).flat_map(|b| b.waits(env)).collect();
        deadlock(env, waits)
    }
}

/// How often in a row waits with a time limit are ended before it is a deadlock.
const MAX_TIME_OUTS: u32 = 1000;
/// Most waiting groups that a message lists.
const LISTED: usize = 8;

#[cold]
fn deadlock(env: &Env<'_>, mut waits: Vec<(Place, String)>) -> Box<Fault> {
    let more = waits.len().saturating_sub(LISTED);
    waits.truncate(LISTED);
    let converging = waits.iter().any(|w| w.1.contains(CONVERGING));
    let mut message = "deadlock: every thread waits".to_owned();
    if let Some((_, text)) = waits.first() {
        message = format!("{message}; {text}");
    }
    if more > 0 {
        message = format!("{message}; and {more} more groups of threads");
    }
    Box::new(Fault {
        kind: if converging { FaultKind::DivergentBarrier } else { FaultKind::Deadlock },
        kernel: env.kernel_name().to_owned(),
        place: waits.first().map(|w| w.0.clone()),
        message,
        related: waits,
    })
}

const CONVERGING: &str = "for the rest of their warp";

impl Cluster<'_> {
    fn size(&self) -> usize {
        let registers: usize = self.blocks.iter().flat_map(|b| &b.warps).map(Warp::size).sum();
        registers + self.common.shared.iter().map(Vec::len).sum::<usize>()
    }
}

impl<'l> Cluster<'l> {
    fn turn(&mut self, env: &mut Env<'l>, budget: u32) -> Result<Turn, Box<Fault>> {
        let mut executed = 0;
        let mut ended = true;
        for one in &mut self.blocks {
            executed += one.turn(env, &mut self.common, budget)?;
            ended &= one.ended();
        }
        // What nobody waited for happens in the end, and before everyone waits forever.
        while ended && hurry(env, &mut self.common)? {}
        if executed == 0 && !ended && hurry(env, &mut self.common)? {
            executed = 1;
        }
        Ok(Turn { executed, ended })
    }
}

impl<'l> Running<'l> {
    fn ended(&self) -> bool {
        self.warps.iter().all(Warp::ended)
    }

    fn turn(&mut self, env: &mut Env<'l>, common: &mut Common, budget: u32) -> Result<u32, Box<Fault>> {
        let mut executed = 0;
        let mut idle = 0;
        while executed < budget && idle < self.warps.len() {
            poll(env, common)?;
            let warp = &mut self.warps[self.next];
            self.next = (self.next + 1) % self.block.live.len();
            if warp.ended() {
                idle += 1;
                continue;
            }
            let turn = WARP_TURN + env.random(WARP_TURN);
            let ran = warp.run(env, common, &mut self.block, turn)?;
            executed += ran;
            idle = if ran == 0 { idle + 1 } else { 0 };
        }
        if idle == self.warps.len() && !self.ended() && self.stuck() {
            return Err(deadlock(env, self.waits(env)));
        }
        Ok(executed)
    }

    /// True where nothing outside the block can make one of its threads go on.
    fn stuck(&self) -> bool {
        let mut groups = self.warps.iter().flat_map(|w| &w.groups);
        groups.all(|g| matches!(g.state, State::Members(_) | State::Warp | State::Converging | State::Barrier { .. }))
    }

    /// Where the threads wait.
    fn waits(&self, env: &Env<'_>) -> Vec<(Place, String)> {
        let mut waits = Vec::new();
        for warp in &self.warps {
            for g in &warp.groups {
                let code = warp.frames[g.frame as usize].code;
                let ins = code.ins.get(g.pc as usize);
                let place = place(env, &self.block, warp, code, ins, g.lanes.trailing_zeros());
                let what = match g.state {
                    State::Ready | State::Paused => "to run".to_owned(),
                    State::Members(mask) => format!("for the lanes {mask:#010x} of their warp"),
                    State::Warp => "for all lanes of their warp".to_owned(),
                    State::Converging => CONVERGING.to_owned(),
                    State::Barrier { id, .. } => self.block.barriers.describe(id, &self.block.live),
                    State::Cluster(_) => "for the cluster's barrier".to_owned(),
                    State::Phase { .. } => "for a phase of an mbarrier".to_owned(),
                };
                let (n, [x, y, z], [a, b, c]) = (g.lanes.count_ones(), place.thread, self.block.index);
                let text = format!(
                    "{n} threads of warp {} of block ({a}, {b}, {c}), the first one ({x}, {y}, {z}), wait at `{}` {what}",
                    warp.id, place.op
                );
                waits.push((place, text));
            }
        }
        waits
    }
}
