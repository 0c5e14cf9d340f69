//! Warps: groups of lanes that run together, their activations, and which group runs next.

use super::check::Written;
use super::code::{Code, Column};
use super::exec::{lanes, run_group, wake};
use super::machine::{Block, Common, Env};
use super::{Fault, FaultKind};

/// The lanes of a warp that are at the same place of the same activation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub lanes: u32,
    pub frame: u32,
    pub pc: u32,
    pub state: State,
    /// When it last ran.
    pub last: u64,
}

/// What a group waits for. Its place is the instruction that it waits at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Nothing.
    Ready,
    /// A little time.
    Paused,
    /// The other members of a warp op.
    Members(u32),
    /// The warp's other lanes at an op of the whole warp.
    Warp,
    /// The warp's other lanes at an aligned barrier.
    Converging,
    /// A phase of a block barrier.
    Barrier { id: u8, phase: u64 },
    /// A phase of the cluster's barrier.
    Cluster(u64),
    /// The next phase of an mbarrier after so many, or the time that the lane-ops say.
    Phase { seen: u64, until: u64 },
}

/// An activation of a function by some lanes.
pub(super) struct Frame<'l> {
    pub code: &'l Code,
    pub registers: Vec<Column>,
    /// The caller's activation; `u32::MAX` for the kernel.
    pub parent: u32,
    /// The call in the caller's code.
    pub call: u32,
    pub depth: u32,
    /// Lanes that are in it or in what it called.
    pub lanes: u32,
    /// Where its part of each lane's stack begins, and where the slots end.
    pub base: [u32; 32],
    pub slots_end: [u32; 32],
}

/// 32 threads of a block, or fewer where the block ends.
pub(super) struct Warp<'l> {
    pub id: u32,
    /// Threads that have not ended.
    pub live: u32,
    pub groups: Vec<Group>,
    pub frames: Vec<Frame<'l>>,
    free: Vec<u32>,
    /// Registers of its activations together.
    columns: usize,
    /// Each lane's stack, and how much of it is in use.
    pub stacks: Vec<Vec<u8>>,
    pub top: [u32; 32],
    /// Which bytes of it are written, where that is checked.
    pub written: Vec<Written>,
    /// The last phase of the cluster's barrier that each lane arrived at.
    pub cluster_phase: [u64; 32],
    /// Instructions since a group other than the first one in order had its turn.
    unfair: u32,
}

/// No activation.
pub(super) const NO_FRAME: u32 = u32::MAX;
/// Stacks begin here, so that a null pointer into a stack is one.
const STACK_START: u32 = crate::ir::LOCAL_START;
/// Most registers of all calls in progress, 512 MiB.
const MAX_COLUMNS: usize = 1 << 21;
/// After so many instructions another group has its turn, for so many instructions: a group that spins waits for one
/// that the order holds back.
const TURN: u32 = 2048;
const OTHER_TURN: u32 = 256;

impl<'l> Warp<'l> {
    /// A warp at the kernel's entry.
    pub(crate) fn new(env: &mut Env<'l>, id: u32, threads: u32, kernel: &'l Code) -> Self {
        let lanes = if threads >= 32 { u32::MAX } else { (1 << threads) - 1 };
        let mut warp = Self {
            id,
            live: lanes,
            groups: Vec::with_capacity(1),
            frames: Vec::with_capacity(1),
            free: Vec::new(),
            columns: 0,
            stacks: Vec::new(),
            top: [STACK_START; 32],
            written: vec![Written::default(); if env.checks.uninitialised { 32 } else { 0 }],
            cluster_phase: [0; 32],
            unfair: 0,
        };
        // The kernel's own frame cannot fail: its stack is checked before the launch.
        let frame = warp.enter(env, kernel, NO_FRAME, 0, lanes).unwrap_or(NO_FRAME);
        warp.groups.push(Group { lanes, frame, pc: 0, state: State::Ready, last: 0 });
        warp
    }

    /// Begins an activation; the lane whose stack is too small, or any where there are too many calls.
    pub(crate) fn enter(
        &mut self,
        env: &mut Env<'l>,
        code: &'l Code,
        parent: u32,
        call: u32,
        mask: u32,
    ) -> Result<u32, (u32, &'static str)> {
        let depth = self.frames.get(parent as usize).map_or(0, |f| f.depth + 1);
        let first = mask.trailing_zeros();
        if depth > env.max_calls {
            return Err((first, "too many nested calls"));
        }
        let count = code.registers as usize;
        if env.columns + count > MAX_COLUMNS && parent != NO_FRAME {
            return Err((first, "nested calls use up the registers"));
        }
        let mut base = self.top;
        let mut slots_end = self.top;
        if code.frame_bytes > 0 {
            for lane in lanes(mask) {
                let start = self.top[lane].checked_next_multiple_of(code.frame_align);
                let end = start.and_then(|s| s.checked_add(code.frame_bytes)).filter(|&e| e <= env.stack_bytes);
                let (Some(start), Some(end)) = (start, end) else {
                    return Err((lane as u32, "the thread's stack is used up"));
                };
                base[lane] = start;
                slots_end[lane] = end;
                self.grow(lane, end);
            }
        }
        self.columns += count;
        env.columns += count;
        let mut registers = env.pool.pop().unwrap_or_default();
        registers.resize(count, [0; 32]);
        let frame = Frame { code, registers, parent, call, depth, lanes: mask, base, slots_end };
        Ok(match self.free.pop() {
            Some(place) => {
                self.frames[place as usize] = frame;
                place
            }
            None => {
                self.frames.push(frame);
                (self.frames.len() - 1) as u32
            }
        })
    }

    /// Moves a lane's stack top up. What is above the old top counts as never written.
    pub(crate) fn grow(&mut self, lane: usize, top: u32) {
        if self.stacks.is_empty() {
            self.stacks.resize_with(32, Vec::new);
        }
        let stack = &mut self.stacks[lane];
        if stack.len() < top as usize {
            stack.resize(top as usize, 0);
        }
        if let Some(written) = self.written.get_mut(lane) {
            written.forget(self.top[lane] as usize, top as usize);
        }
        self.top[lane] = top;
    }

    /// Takes lanes out of an activation; it ends with its last lane.
    pub(crate) fn leave(&mut self, env: &mut Env<'l>, frame: u32, mask: u32) {
        let f = &mut self.frames[frame as usize];
        f.lanes &= !mask;
        for lane in lanes(mask) {
            self.top[lane] = self.top[lane].min(f.base[lane]);
        }
        if f.lanes == 0 {
            self.columns -= f.registers.len();
            env.columns -= f.registers.len();
            env.pool.push(std::mem::take(&mut f.registers));
            self.free.push(frame);
        }
    }

    /// Ends the threads of a group.
    pub(crate) fn end_lanes(&mut self, env: &mut Env<'l>, group: usize) {
        let Group { lanes: mask, mut frame, .. } = self.groups[group];
        self.live &= !mask;
        while frame != NO_FRAME {
            let parent = self.frames[frame as usize].parent;
            self.leave(env, frame, mask);
            frame = parent;
        }
        self.groups.swap_remove(group);
    }

    /// Registers in use, for the budget of blocks that run side by side.
    pub(crate) fn size(&self) -> usize {
        self.columns * 256
    }

    /// Runs until about `budget` instructions are executed, or no group can go on.
    pub(crate) fn run(
        &mut self,
        env: &mut Env<'l>,
        cluster: &mut Common,
        block: &mut Block,
        budget: u32,
    ) -> Result<u32, Box<Fault>> {
        let mut done = 0;
        for group in &mut self.groups {
            if group.state == State::Paused {
                group.state = State::Ready;
            }
        }
        while done < budget {
            let (group, quantum, stop_at) = if let [only] = &self.groups[..]
                && only.state == State::Ready
            {
                (0, budget - done, u32::MAX)
            } else {
                wake(env, cluster, block, self);
                self.merge();
                match self.pick(env) {
                    Some(next) => next,
                    None => break,
                }
            };
            self.groups[group].last = env.steps;
            let ran = run_group(env, cluster, block, self, group, quantum.min(budget - done), stop_at)?;
            done += ran;
            if self.groups.len() > 1 {
                self.unfair += ran;
            }
            if env.steps > env.max_steps {
                return Err(self.step_limit(env, block));
            }
        }
        Ok(done)
    }

    /// Groups at the same place become one.
    fn merge(&mut self) {
        let mut n = 0;
        while n < self.groups.len() {
            let one = self.groups[n];
            let mut m = n + 1;
            while m < self.groups.len() {
                let other = self.groups[m];
                if one.state == State::Ready
                    && other.state == State::Ready
                    && (one.frame, one.pc) == (other.frame, other.pc)
                {
                    self.groups[n].lanes |= other.lanes;
                    self.groups.swap_remove(m);
                } else {
                    m += 1;
                }
            }
            n += 1;
        }
    }

    /// The group to run, for how many instructions, and where it may meet another one. Deeper calls go first, then
    /// lower addresses; now and then the one that has waited longest.
    fn pick(&mut self, env: &mut Env<'l>) -> Option<(usize, u32, u32)> {
        let ready = || self.groups.iter().enumerate().filter(|(_, g)| g.state == State::Ready);
        let depth = |g: &Group| self.frames[g.frame as usize].depth;
        let (first, lead) = ready().min_by_key(|(_, g)| (u32::MAX - depth(g), g.pc))?;
        let others = ready().filter(|(n, _)| *n != first).count();
        let stop_at = |at: usize, g: &Group| {
            let same = ready().filter(|(n, o)| *n != at && o.frame == g.frame && o.pc > g.pc).map(|(_, o)| o.pc);
            same.min().unwrap_or(u32::MAX)
        };
        if others > 0 && self.unfair >= TURN {
            let next = ready().filter(|(n, _)| *n != first).min_by_key(|(n, g)| (g.last, *n));
            if let Some((at, group)) = next {
                let (stop_at, jitter) = (stop_at(at, group), env.random(OTHER_TURN));
                self.unfair = 0;
                return Some((at, OTHER_TURN / 2 + jitter, stop_at));
            }
        }
        let stop_at = if others == 0 { u32::MAX } else { stop_at(first, lead) };
        Some((first, if others == 0 { u32::MAX } else { TURN.saturating_sub(self.unfair).max(1) }, stop_at))
    }

    /// True where no thread is left.
    pub(crate) fn ended(&self) -> bool {
        self.live == 0
    }

    fn step_limit(&self, env: &Env<'_>, block: &Block) -> Box<Fault> {
        let message = format!("more than {} steps", env.max_steps);
        self.fault(env, block, FaultKind::StepLimit, message)
    }

    /// A fault at the first group's place.
    pub(crate) fn fault(&self, env: &Env<'_>, block: &Block, kind: FaultKind, message: String) -> Box<Fault> {
        let place = self.groups.first().and_then(|g| {
            let code = self.frames.get(g.frame as usize)?.code;
            let ins = code.ins.get(g.pc as usize);
            Some(super::exec::place(env, block, self, code, ins, g.lanes.trailing_zeros()))
        });
        Box::new(Fault { kind, kernel: env.kernel_name().to_owned(), place, message, related: Vec::new() })
    }
}
