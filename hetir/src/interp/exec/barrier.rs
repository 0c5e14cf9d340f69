//! Barriers of a block and of a cluster.
//!
//! Threads are counted one by one, but a warp all of whose live threads have arrived counts as 32, also where it has
//! fewer or some have ended. A warp whose threads have all ended before does not count. This is what an H200 does.

use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{Aligned, BarrierOp};
use crate::interp::FaultKind;
use crate::interp::check::{Meeting, Met};
use crate::interp::machine::{Block, Common, Env};
use crate::interp::warp::{Group, State, Warp};
use crate::op::Op;

/// Barriers of a block that programs name.
const COUNT: u64 = 16;
/// Warps of a group, whose barriers stand behind those.
const GROUP: u32 = 4;
const GROUPS: u64 = 8;

/// What the reducing threads of a phase gave.
#[derive(Clone, Copy, Default, Debug)]
struct Reduction {
    count: u32,
    all: bool,
    any: bool,
}

#[derive(Clone, Default, Debug)]
struct Barrier {
    phase: u64,
    /// Threads that complete the phase; 0: all. `None` before the first arrival.
    expected: Option<u32>,
    /// Threads that have arrived, by warp.
    arrived: Vec<u32>,
    reduction: Option<Reduction>,
    /// A thread wants to know whether the launch is asked to stop.
    stops: bool,
    /// What the arrivals know, where races are looked for.
    meeting: Option<Meeting>,
    /// Completed phases, until every waiting thread has gone on.
    completed: Vec<Completed>,
    waiting: u32,
}

#[derive(Clone, Debug)]
struct Completed {
    phase: u64,
    reduction: Reduction,
    met: Option<Met>,
    waiting: u32,
}

/// The barriers of a block.
#[derive(Default)]
pub(in crate::interp) struct Barriers {
    all: Vec<Barrier>,
}

impl Barrier {
    fn complete(&mut self) {
        self.completed.retain(|c| c.waiting > 0);
        self.completed.push(Completed {
            phase: self.phase,
            reduction: self.reduction.take().unwrap_or_default(),
            met: self.meeting.take().map(Meeting::close),
            waiting: self.waiting,
        });
        self.phase += 1;
        self.expected = None;
        self.waiting = 0;
        self.arrived.fill(0);
    }
    /// How many threads the arrivals count as.
    fn counted(&self, live: &[u32]) -> u32 {
        let warp = |(&a, &l): (&u32, &u32)| if a != 0 && l & !a == 0 { 32 } else { a.count_ones() };
        self.arrived.iter().zip(live).map(warp).sum()
    }
    /// Completes the phase if all are there.
    fn check(&mut self, live: &[u32], env: &mut Env<'_>) {
        let done = match self.expected {
            None => false,
            Some(0) => self.arrived.iter().zip(live).all(|(a, l)| l & !a == 0),
            Some(n) => self.counted(live) >= n,
        };
        if done {
            let asked = self.stops.then(|| env.is_asked_to_stop(env.launch.stop));
            if let (Some(any), Some(r)) = (asked, &mut self.reduction) {
                r.any = any;
            }
            self.stops = false;
            self.complete();
        }
    }
}

impl Barriers {
    /// What a barrier waits for, for messages.
    pub(crate) fn describe(&self, id: u8, live: &[u32]) -> String {
        let Some(b) = self.all.get(usize::from(id)) else { return String::new() };
        let name = name(id.into());
        match b.expected {
            Some(0) | None => {
                let there: u32 = b.arrived.iter().map(|m| m.count_ones()).sum();
                let all: u32 = live.iter().map(|m| m.count_ones()).sum();
                format!("for {name}, at which {there} of {all} threads have arrived")
            }
            Some(n) => format!("for {name}, at which {} of {n} threads have arrived", b.counted(live)),
        }
    }
    /// Threads have ended.
    pub(crate) fn threads_ended(&mut self, live: &[u32], env: &mut Env<'_>) {
        for b in self.all.iter_mut().filter(|b| b.waiting > 0) {
            b.check(live, env);
        }
    }
}

fn name(id: u64) -> String {
    if id < COUNT { format!("barrier {id}") } else { format!("the barrier of warp group {}", id - COUNT) }
}

pub(super) fn stop_asked(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let asked = step.env.is_asked_to_stop(step.env.launch.stop);
    step.set_all(0, &[asked.into(); 32]);
    Ok(Next::Advance)
}

pub(super) fn barrier(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    if step.attr::<Aligned>() == Aligned::Yes && step.lanes != step.warp.live {
        step.group().state = State::Converging;
        converge(step)?;
        return Ok(Next::Moved);
    }
    let group = step.group;
    arrive(step, group)?;
    Ok(Next::Moved)
}

/// Lets the groups of a warp arrive that wait for each other at an aligned barrier, if the whole warp is there.
pub(super) fn converge(step: &mut Step<'_, '_>) -> Result<(), Box<Trouble>> {
    let waiting: Vec<usize> =
        (0..step.warp.groups.len()).filter(|&n| step.warp.groups[n].state == State::Converging).collect();
    let Some(&first) = waiting.first() else { return Ok(()) };
    let at = |n: usize| {
        let g = &step.warp.groups[n];
        (step.warp.frames[g.frame as usize].code.id, g.pc)
    };
    if let Some(&other) = waiting.iter().find(|&&n| at(n) != at(first)) {
        let (a, b) = (step.warp.groups[first], step.warp.groups[other]);
        let message = format!(
            "the lanes {:#010x} of warp {} are at another aligned barrier than the lanes {:#010x}",
            a.lanes, step.warp.id, b.lanes
        );
        let place = |g: Group| {
            let code = step.warp.frames[g.frame as usize].code;
            let ins = code.ins.get(g.pc as usize);
            super::place(step.env, step.block, step.warp, code, ins, g.lanes.trailing_zeros())
        };
        return Err(Box::new(Trouble {
            kind: FaultKind::DivergentBarrier,
            lane: b.lanes.trailing_zeros(),
            message,
            related: vec![(place(a), "the other barrier".into())],
            place: Some(place(b)),
        }));
    }
    let present = waiting.iter().fold(0, |m, &n| m | step.warp.groups[n].lanes);
    if present != step.warp.live {
        return Ok(());
    }
    for n in waiting {
        arrive(step, n)?;
    }
    Ok(())
}

/// A group arrives at the barrier that it is at.
fn arrive(step: &mut Step<'_, '_>, group: usize) -> Result<(), Box<Trouble>> {
    let g = step.warp.groups[group];
    let frame = &step.warp.frames[g.frame as usize];
    let code = frame.code;
    let Some(ins) = code.ins.get(g.pc as usize) else { return Ok(()) };
    if let Op::ClusterArrive | Op::ClusterWait = ins.op {
        (step.group, step.lanes) = (group, g.lanes);
        return if ins.op == Op::ClusterArrive { cluster_arrive(step) } else { cluster_wait(step) };
    }
    let operand =
        |n: usize| code.args(ins).get(n).map_or([0; 32], |&r| *super::column(&frame.registers, &code.constants, r));
    let (ids, counts_wanted, predicates) = match ins.op {
        Op::GroupBarrier | Op::GroupWait => {
            ([COUNT + u64::from(step.warp.id / GROUP); 32], [32 * u64::from(GROUP); 32], [0; 32])
        }
        _ => (operand(0), operand(1), operand(2)),
    };
    let first = g.lanes.trailing_zeros() as usize;
    let (id, expected) = (ids[first], counts_wanted[first]);
    let same = lanes(g.lanes).filter(|&l| ids[l] == id && counts_wanted[l] == expected).fold(0, |m, l| m | 1u32 << l);
    if same != g.lanes {
        if g.lanes == step.warp.live && step.attr::<Aligned>() == Aligned::Yes {
            return trouble(FaultKind::BadBarrier, first as u32, "the lanes of a warp name different aligned barriers");
        }
        // The other lanes come back to the barrier on their own.
        step.warp.groups[group].lanes = same;
        step.warp.groups.push(Group { lanes: g.lanes & !same, state: State::Ready, ..g });
    }
    let lane = same.trailing_zeros();
    if id >= COUNT && !matches!(ins.op, Op::GroupBarrier | Op::GroupWait) {
        return trouble(FaultKind::BadBarrier, lane, format!("barrier {id}, and a block has {COUNT}"));
    }
    let threads = step.env.launch.block.iter().product::<u32>().next_multiple_of(32);
    if expected % 32 != 0 || expected > threads.into() {
        let message = format!("a barrier of {expected} threads, which is no multiple of 32 up to {threads}");
        return trouble(FaultKind::BadBarrier, lane, message);
    }
    let expected = expected as u32;
    let all = &mut step.block.barriers.all;
    if all.is_empty() {
        all.resize((COUNT + GROUPS) as usize, Barrier::default());
    }
    let b = &mut all[id as usize];
    b.arrived.resize(step.block.live.len(), 0);
    if *b.expected.get_or_insert(expected) != expected {
        let message =
            format!("{} of {expected} threads, at which others wait for {}", name(id), b.expected.unwrap_or(0));
        return trouble(FaultKind::BadBarrier, lane, message);
    }
    let place = &mut b.arrived[step.warp.id as usize];
    if *place & same != 0 {
        let lane = (*place & same).trailing_zeros();
        return trouble(FaultKind::BadBarrier, lane, format!("a second arrival in one phase of {}", name(id)));
    }
    *place |= same;
    if step.block.clocks.active() {
        step.block.clocks.arrive(b.meeting.get_or_insert_default(), step.warp.id, same);
    }
    if ins.op == Op::BarrierRed {
        let r = b.reduction.get_or_insert(Reduction { count: 0, all: true, any: false });
        for l in lanes(same) {
            let holds = predicates[l] & 1 != 0;
            r.count += u32::from(holds);
            r.all &= holds;
            r.any |= holds;
        }
    }
    if ins.op == Op::StopBarrier {
        b.stops = true;
        b.reduction.get_or_insert_default();
    }
    if ins.op == Op::BarrierArrive {
        step.warp.groups[group].pc += 1;
        step.warp.groups[group].state = State::Ready;
    } else {
        b.waiting += same.count_ones();
        step.warp.groups[group].state = State::Barrier { id: id as u8, phase: b.phase };
    }
    b.check(&step.block.live, step.env);
    Ok(())
}

/// Lets groups go on whose barriers are complete.
pub(in crate::interp) fn wake(env: &Env<'_>, cluster: &Common, block: &mut Block, warp: &mut Warp<'_>) {
    for group in 0..warp.groups.len() {
        super::mbarrier::wake(env, cluster, warp, group);
    }
    for g in &mut warp.groups {
        match g.state {
            State::Barrier { id, phase } => {
                let Some(b) = block.barriers.all.get_mut(usize::from(id)) else { continue };
                if b.phase <= phase {
                    continue;
                }
                let frame = &mut warp.frames[g.frame as usize];
                let code = frame.code;
                let result = b.completed.iter_mut().find(|c| c.phase == phase).map(|c| {
                    c.waiting -= g.lanes.count_ones().min(c.waiting);
                    if let Some(met) = &c.met {
                        block.clocks.leave(met, warp.id, g.lanes);
                    }
                    c.reduction
                });
                if let (Some(ins), Some(r)) = (code.ins.get(g.pc as usize), result)
                    && let Some(&to) = code.results(ins).first()
                {
                    let value = match BarrierOp::ALL.get(ins.imm as usize) {
                        Some(BarrierOp::Popc) | None => r.count.into(),
                        Some(BarrierOp::And) => r.all.into(),
                        Some(BarrierOp::Or) => r.any.into(),
                    };
                    for lane in lanes(g.lanes) {
                        frame.registers[to as usize][lane] = value;
                    }
                }
                g.pc += 1;
                g.state = State::Ready;
            }
            State::Cluster(phase) if cluster.barrier.phase > phase => {
                block.clocks.acquire_all(warp.id, g.lanes, env.clock);
                g.pc += 1;
                g.state = State::Ready;
            }
            _ => {}
        }
    }
}

/// The barrier of a cluster: arriving and waiting are two ops.
pub(in crate::interp) struct ClusterBarrier {
    /// The phase that is not complete yet, from 1.
    phase: u64,
    live: u32,
    arrived: u32,
}

impl ClusterBarrier {
    /// A barrier of so many threads.
    pub(crate) fn new(threads: u32) -> Self {
        Self { phase: 1, live: threads, arrived: 0 }
    }
    fn check(&mut self) {
        if self.arrived == self.live && self.arrived > 0 {
            self.phase += 1;
            self.arrived = 0;
        }
    }
    /// Threads of a warp have ended.
    pub(crate) fn threads_ended(&mut self, phases: &[u64; 32], ended: u32) {
        let arrived = lanes(ended).filter(|&l| phases[l] == self.phase).count() as u32;
        self.live -= ended.count_ones().min(self.live);
        self.arrived -= arrived.min(self.arrived);
        self.check();
    }
}

fn cluster_arrive(step: &mut Step<'_, '_>) -> Result<(), Box<Trouble>> {
    let barrier = &mut step.cluster.barrier;
    for lane in lanes(step.lanes) {
        if step.warp.cluster_phase[lane] == barrier.phase {
            return trouble(
                FaultKind::BadBarrier,
                lane as u32,
                "a second arrival in one phase of the cluster's barrier",
            );
        }
        step.warp.cluster_phase[lane] = barrier.phase;
    }
    barrier.arrived += step.lanes.count_ones();
    barrier.check();
    step.release_all();
    let group = step.group();
    group.pc += 1;
    group.state = State::Ready;
    Ok(())
}

fn cluster_wait(step: &mut Step<'_, '_>) -> Result<(), Box<Trouble>> {
    let phases = step.warp.cluster_phase;
    let first = step.lanes.trailing_zeros() as usize;
    let phase = phases[first];
    let same = lanes(step.lanes).filter(|&l| phases[l] == phase).fold(0, |m, l| m | 1u32 << l);
    if same != step.lanes {
        let rest = step.lanes & !same;
        step.group().state = State::Ready;
        step.divide(rest);
    }
    if phase == 0 {
        return trouble(FaultKind::BadBarrier, first as u32, "a wait for the cluster's barrier without an arrival");
    }
    if step.cluster.barrier.phase > phase {
        step.block.clocks.acquire_all(step.warp.id, same, step.env.clock);
        let group = step.group();
        group.pc += 1;
        group.state = State::Ready;
        return Ok(());
    }
    step.group().state = State::Cluster(phase);
    Ok(())
}
