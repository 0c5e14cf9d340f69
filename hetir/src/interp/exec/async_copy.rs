//! Copies that run beside the threads that issue them.
//!
//! A copy is checked when it is issued, and reads its source and writes its destination when it is performed: at the
//! latest when its thread waits for it, or else at a moment that the seed chooses, so that a program that does not wait
//! finds the old bytes, mostly. Where races are looked for, touching what a copy under way reads or writes is one.

use super::mbarrier::At as Signal;
use super::memory::{Kind, Place, resolve};
use super::{Next, Step, Trouble, lanes, trouble};
use crate::attr::{AtomOp, Elements, NoInc, ReadsOnly, Space};
use crate::eval::combine;
use crate::interp::machine::{Common, Env};
use crate::interp::{Fault, FaultKind, Place as Where};
use crate::mbarrier::{MAX, Mbarrier};
use crate::op::Op;
use crate::types::Type;
use std::collections::HashMap;

/// Bulk copies move so many bytes, or a multiple.
const BULK: usize = 16;
/// Within so many lane-ops a copy that completes at an mbarrier is performed.
const SOON: u32 = 1 << 14;
/// Within so many a copy that its thread may wait for.
const LATE: u32 = 1 << 20;
/// Bytes of the pieces of memory in which copies are looked up.
const PIECE: u64 = 64;

/// A place in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct At {
    pub(super) place: Place,
    pub(super) offset: u64,
}

/// Who issued a copy, and where in the program.
#[derive(Clone, Copy, Debug)]
struct Origin {
    block: [u32; 3],
    number: u64,
    thread: u32,
    function: u32,
    inst: u32,
}

/// A copy under way.
#[derive(Debug)]
pub(super) struct Transfer {
    origin: Origin,
    /// Where it reads; `None` once it has.
    from: Option<At>,
    /// What it has read.
    data: Vec<u8>,
    to: At,
    /// Bytes written; those beyond what is read are zeros.
    len: usize,
    /// Bytes read.
    read: usize,
    combine: Option<(AtomOp, Type)>,
}

/// Groups that a thread's copies belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kin {
    CpAsync = 0,
    Bulk = 1,
}

/// A thread's copies that it may wait for.
#[derive(Default, Debug)]
struct Queue {
    /// Numbers of the open groups.
    open: [u32; 2],
    copies: Vec<(Kin, u32, Transfer)>,
}

#[derive(Debug)]
enum Event {
    /// A copy, and where its bytes are completed.
    Copy(Transfer, Signal),
    /// An arrival after the `cp_async` of a queue.
    Arrive(Origin, usize, Signal),
}

/// All copies under way in a cluster.
#[derive(Debug)]
pub(in crate::interp) struct Copies {
    /// What ends at an mbarrier, and when it is due.
    events: Vec<(u64, Event)>,
    /// By rank and thread.
    queues: Vec<Queue>,
    /// When the first event is due, and when all queues are emptied.
    due: u64,
    late: u64,
    /// Copies by the pieces of memory that they touch, where races are looked for.
    touched: HashMap<(u32, u64), u32>,
    /// Changes of mbarriers, and how many of them began a phase.
    pub changes: u64,
    pub phases: u64,
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            queues: Vec::new(),
            due: u64::MAX,
            late: u64::MAX,
            touched: HashMap::new(),
            changes: 0,
            phases: 0,
        }
    }
}

/// Why a copy failed that was fine when it was issued.
struct Failure {
    origin: Origin,
    kind: FaultKind,
    message: String,
}

impl Failure {
    fn place(&self, env: &Env<'_>) -> Where {
        self.origin.place(env)
    }
    fn fault(self, env: &Env<'_>) -> Box<Fault> {
        Box::new(Fault {
            kind: self.kind,
            kernel: env.kernel_name().to_owned(),
            place: Some(self.place(env)),
            message: self.message,
            related: Vec::new(),
        })
    }
    fn trouble(self, env: &Env<'_>, lane: usize) -> Box<Trouble> {
        let related = vec![(self.place(env), "the copy".to_owned())];
        Box::new(Trouble { kind: self.kind, lane: lane as u32, message: self.message, related, place: None })
    }
}

impl Origin {
    fn place(&self, env: &Env<'_>) -> Where {
        let f = env.launch.module.functions.get(self.function as usize);
        let body = f.and_then(|f| f.body.as_ref());
        let inst = self.inst as usize;
        Where {
            function: f.map(|f| f.name.clone()).unwrap_or_default(),
            span: body.and_then(|b| b.spans.get(inst)).copied().unwrap_or_default(),
            op: body.and_then(|b| b.insts.get(inst)).map_or("", |i| i.op.info().name),
            block: self.block,
            thread: env.thread_index(self.thread),
        }
    }
}

impl At {
    /// Its memory: the block's rank, or all ones for global memory.
    fn memory(self) -> u32 {
        if let Place::Shared(rank) = self.place { rank } else { u32::MAX }
    }
    fn pieces(self, len: usize) -> impl Iterator<Item = (u32, u64)> {
        let memory = self.memory();
        (self.offset / PIECE..=(self.offset + (len as u64).max(1) - 1) / PIECE).map(move |p| (memory, p))
    }
    fn overlaps(self, len: usize, other: Self, other_len: usize) -> bool {
        self.memory() == other.memory()
            && self.offset < other.offset + other_len as u64
            && other.offset < self.offset + len as u64
    }
    fn shared(self, common: &mut Common, len: usize) -> Option<&mut [u8]> {
        let shared = common.shared.get_mut(self.memory() as usize)?;
        let from = usize::try_from(self.offset).ok()?;
        shared.get_mut(from..from.checked_add(len)?)
    }
    fn read(self, env: &mut Env<'_>, common: &mut Common, out: &mut [u8]) -> Result<(), String> {
        if self.place == Place::Global {
            return env.memory.read(self.offset, out).map_err(|f| f.to_string());
        }
        match self.shared(common, out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(format!("no shared memory at {:#x}", self.offset)),
        }
        Ok(())
    }
    fn write(self, env: &mut Env<'_>, common: &mut Common, data: &[u8]) -> Result<(), String> {
        if self.place == Place::Global {
            return env.memory.write(self.offset, data).map_err(|f| f.to_string());
        }
        match self.shared(common, data.len()) {
            Some(bytes) => bytes.copy_from_slice(data),
            None => return Err(format!("no shared memory at {:#x}", self.offset)),
        }
        Ok(())
    }
}

impl Transfer {
    fn failed(&self, message: String) -> Failure {
        Failure { origin: self.origin, kind: FaultKind::OutOfBounds, message: format!("asynchronous copy: {message}") }
    }
    /// Reads the source, if that has not happened.
    fn fetch(&mut self, env: &mut Env<'_>, common: &mut Common) -> Result<(), Failure> {
        let Some(from) = self.from.take() else { return Ok(()) };
        common.copies.untouch(from, self.read);
        self.data = vec![0; self.len];
        from.read(env, common, &mut self.data[..self.read]).map_err(|why| self.failed(why))
    }
    fn perform(mut self, env: &mut Env<'_>, common: &mut Common) -> Result<(), Failure> {
        self.fetch(env, common)?;
        common.copies.untouch(self.to, self.len);
        let mut data = std::mem::take(&mut self.data);
        if let Some((op, ty)) = self.combine {
            let mut old = vec![0; self.len];
            self.to.read(env, common, &mut old).map_err(|why| self.failed(why))?;
            // On the H200 these sums of f32 keep subnormals in global memory, too; those of f64 are as `atom`'s.
            let global = self.to.place == Place::Global && ty != Type::F32;
            let size = ty.bytes() as usize;
            for (new, old) in data.chunks_exact_mut(size).zip(old.chunks_exact(size)) {
                let value = combine(op, ty, global, number(old), number(new));
                new.copy_from_slice(&value.to_le_bytes()[..size]);
            }
        }
        self.to.write(env, common, &data).map_err(|why| self.failed(why))?;
        if env.checks.races {
            // Whoever learns that it is done comes after it.
            env.releases.entry(self.origin.number).or_default().all(env.steps.max(env.clock));
        }
        Ok(())
    }
    /// Whether an access of memory conflicts with it.
    fn conflicts(&self, at: At, len: usize, kind: Kind) -> bool {
        let written = self.to.overlaps(self.len, at, len) && !(self.combine.is_some() && kind == Kind::Atomic);
        written || (kind != Kind::Read && self.from.is_some_and(|f| f.overlaps(self.read, at, len)))
    }
}

fn number(bytes: &[u8]) -> u128 {
    let mut all = [0; 16];
    all[..bytes.len()].copy_from_slice(bytes);
    u128::from_le_bytes(all)
}

impl Copies {
    fn touch(&mut self, at: At, len: usize) {
        at.pieces(len).for_each(|p| *self.touched.entry(p).or_default() += 1);
    }
    fn untouch(&mut self, at: At, len: usize) {
        if self.touched.is_empty() {
            return;
        }
        for piece in at.pieces(len) {
            if let Some(count) = self.touched.get_mut(&piece) {
                *count -= 1;
                if *count == 0 {
                    self.touched.remove(&piece);
                }
            }
        }
    }
    fn queue(&mut self, index: usize) -> &mut Queue {
        if self.queues.len() <= index {
            self.queues.resize_with(index + 1, Queue::default);
        }
        &mut self.queues[index]
    }
    fn add_event(&mut self, due: u64, event: Event) {
        self.due = self.due.min(due);
        self.events.push((due, event));
    }
    /// A copy under way that an access conflicts with.
    fn conflict(&self, at: At, len: usize, kind: Kind) -> Option<Origin> {
        if !at.pieces(len).any(|p| self.touched.contains_key(&p)) {
            return None;
        }
        let queued = self.queues.iter().flat_map(|q| &q.copies).map(|(_, _, c)| c);
        let events = self.events.iter().filter_map(|(_, e)| match e {
            Event::Copy(copy, _) => Some(copy),
            Event::Arrive(..) => None,
        });
        queued.chain(events).find(|c| c.conflicts(at, len, kind)).map(|c| c.origin)
    }
}

/// Performs a queue's copies of groups below a number.
fn flush(env: &mut Env<'_>, common: &mut Common, queue: usize, kin: Kin, below: u32) -> Result<(), Failure> {
    let copies = &mut common.copies.queue(queue).copies;
    let mut ready = Vec::new();
    for entry in std::mem::take(copies) {
        if entry.0 == kin && entry.1 < below { ready.push(entry) } else { copies.push(entry) }
    }
    // Nothing orders them.
    if ready.len() > 1 && env.random(2) == 0 {
        ready.reverse();
    }
    ready.into_iter().try_for_each(|(_, _, copy)| copy.perform(env, common))
}

impl Event {
    fn perform(self, env: &mut Env<'_>, common: &mut Common) -> Result<(), Failure> {
        let (origin, signal, result) = match self {
            Self::Copy(copy, signal) => {
                let (origin, bytes) = (copy.origin, copy.len as i64);
                copy.perform(env, common)?;
                (origin, signal, common.change(signal, |m| m.expect(-bytes)))
            }
            Self::Arrive(origin, queue, signal) => {
                flush(env, common, queue, Kin::CpAsync, u32::MAX)?;
                (origin, signal, common.change(signal, |m| m.arrive(1, false)))
            }
        };
        result.map(|_| ()).map_err(|why| Failure {
            origin,
            kind: FaultKind::BadBarrier,
            message: format!("mbarrier at {:#x}: {why}", signal.offset),
        })
    }
}

/// Performs what is due.
#[cold]
fn run_due(env: &mut Env<'_>, common: &mut Common) -> Result<(), Failure> {
    let now = env.steps;
    if common.copies.late <= now {
        common.copies.late = u64::MAX;
        for queue in 0..common.copies.queues.len() {
            flush(env, common, queue, Kin::CpAsync, u32::MAX)?;
            flush(env, common, queue, Kin::Bulk, u32::MAX)?;
        }
    }
    let (mut ready, rest): (Vec<_>, Vec<_>) =
        std::mem::take(&mut common.copies.events).into_iter().partition(|(due, _)| *due <= now);
    common.copies.due = rest.iter().map(|(due, _)| *due).min().unwrap_or(u64::MAX);
    common.copies.events = rest;
    ready.sort_by_key(|(due, _)| *due);
    ready.into_iter().try_for_each(|(_, event)| event.perform(env, common))
}

/// Performs the copies of a cluster that are due.
#[inline]
pub(in crate::interp) fn poll(env: &mut Env<'_>, common: &mut Common) -> Result<(), Box<Fault>> {
    if common.copies.due.min(common.copies.late) > env.steps {
        return Ok(());
    }
    run_due(env, common).map_err(|f| f.fault(env))
}

/// Performs the next copy although it is not due; false where there is none.
pub(in crate::interp) fn hurry(env: &mut Env<'_>, common: &mut Common) -> Result<bool, Box<Fault>> {
    let next = common.copies.events.iter().enumerate().min_by_key(|(_, (due, _))| *due).map(|(n, _)| n);
    if let Some(next) = next {
        let (_, event) = common.copies.events.remove(next);
        event.perform(env, common).map_err(|f| f.fault(env))?;
        return Ok(true);
    }
    if common.copies.queues.iter().all(|q| q.copies.is_empty()) {
        return Ok(false);
    }
    common.copies.late = 0;
    run_due(env, common).map_err(|f| f.fault(env))?;
    Ok(true)
}

impl Step<'_, '_> {
    fn origin(&self, lane: usize) -> Origin {
        let [gx, gy, _] = self.env.launch.grid.map(u64::from);
        let block = self.block.index;
        Origin {
            block,
            number: u64::from(block[0]) + gx * (u64::from(block[1]) + gy * u64::from(block[2])),
            thread: self.warp.id * 32 + lane as u32,
            function: self.code.id.index() as u32,
            inst: self.ins.inst.index() as u32,
        }
    }
    /// The queue of a lane's thread.
    fn queue_index(&self, lane: usize) -> usize {
        let threads: u32 = self.env.launch.block.iter().product();
        (self.block.rank * threads + self.warp.id * 32) as usize + lane
    }

    /// Where a copy reads or writes: in bounds and aligned.
    pub(super) fn locate(
        &mut self,
        lane: usize,
        space: Space,
        address: u64,
        len: usize,
        align: usize,
        kind: Kind,
    ) -> Result<At, Box<Trouble>> {
        if !address.is_multiple_of(align as u64) {
            let message =
                format!("asynchronous {} of {len} bytes at {address:#x}, which is no multiple of {align}", kind.name());
            return trouble(FaultKind::Misaligned, lane as u32, message);
        }
        let Ok((place @ (Place::Global | Place::Shared(_)), offset)) = resolve(space, address, self.block.rank) else {
            self.nowhere(lane, address, len, kind)?;
            return trouble(FaultKind::OutOfBounds, lane as u32, "no memory for copies");
        };
        let at = At { place, offset };
        if place == Place::Global {
            if self.env.memory.bytes(offset, len).is_none()
                && let Err(fault) = self.env.memory.read(offset, &mut vec![0; len])
            {
                self.outside(lane, place, address, len, kind, Some(fault))?;
            }
        } else if at.shared(self.cluster, len).is_none() {
            self.outside(lane, place, address, len, kind, None)?;
        }
        Ok(at)
    }

    /// Makes a copy and checks what it touches. The source's bytes are given where they come from registers.
    pub(super) fn new_copy(
        &mut self,
        lane: usize,
        source: Result<At, Vec<u8>>,
        to: At,
        len: usize,
        read: usize,
        combine: Option<(AtomOp, Type)>,
    ) -> Result<Transfer, Box<Trouble>> {
        let (from, data) = match source {
            Ok(from) => (Some(from), Vec::new()),
            Err(data) => (None, data),
        };
        if self.env.checks.any() {
            let mut now = vec![0; len];
            match from {
                Some(from) if read > 0 => {
                    self.check_access(lane, from.place, from.offset, read, Kind::Read, None)?;
                    // What cannot be read was refused before.
                    let _ = from.read(self.env, self.cluster, &mut now[..read]);
                }
                _ => now[..data.len().min(len)].copy_from_slice(&data[..data.len().min(len)]),
            }
            match combine {
                Some(_) => self.check_access(lane, to.place, to.offset, len, Kind::Atomic, None)?,
                None => self.check_access(lane, to.place, to.offset, len, Kind::Write, Some(&now))?,
            }
        }
        if self.env.checks.races {
            self.cluster.copies.touch(to, len);
            from.into_iter().for_each(|f| self.cluster.copies.touch(f, read));
        }
        Ok(Transfer { origin: self.origin(lane), from, data, to, len, read, combine })
    }

    /// A copy that its thread may wait for.
    pub(super) fn enqueue(&mut self, lane: usize, kin: Kin, copy: Transfer) -> Result<(), Box<Trouble>> {
        // Where races are looked for it stays under way, so that they are found.
        if !self.env.checks.races && self.env.random(4) == 0 {
            return copy.perform(self.env, self.cluster).map_err(|f| f.trouble(self.env, lane));
        }
        let index = self.queue_index(lane);
        let late = self.env.clock + u64::from(LATE);
        let copies = &mut self.cluster.copies;
        copies.late = copies.late.min(late);
        let queue = copies.queue(index);
        queue.copies.push((kin, queue.open[kin as usize], copy));
        Ok(())
    }
    /// A copy whose bytes are completed at an mbarrier.
    fn launch(&mut self, copy: Transfer, signal: Signal) {
        let due = self.soon();
        self.launch_at(due, copy, signal);
    }
    pub(super) fn launch_at(&mut self, due: u64, copy: Transfer, signal: Signal) {
        self.cluster.copies.add_event(due, Event::Copy(copy, signal));
    }
    pub(super) fn soon(&mut self) -> u64 {
        let delay = if self.env.random(4) == 0 { 0 } else { self.env.random(SOON) };
        self.env.clock + u64::from(delay)
    }

    /// An mbarrier that belongs to the block of a copy's destination.
    pub(super) fn signal(&self, lane: usize, space: Space, address: u64, to: At) -> Result<Signal, Box<Trouble>> {
        let signal = self.mbarrier_at(lane, space, address)?;
        if to.place != Place::Shared(signal.rank) {
            let message = format!("an mbarrier at {address:#x}, which is in another block than the destination");
            return trouble(FaultKind::BadOperand, lane as u32, message);
        }
        Ok(signal)
    }

    /// A set of blocks of the cluster.
    pub(super) fn ranks(&self, lane: usize, blocks: u64) -> Result<u32, Box<Trouble>> {
        let (mask, ranks) = (blocks as u32, self.cluster.shared.len());
        if mask >> ranks != 0 {
            let message = format!("the blocks {mask:#x} of a cluster that has {ranks}");
            return trouble(FaultKind::BadOperand, lane as u32, message);
        }
        Ok(mask)
    }

    /// Refuses a conflict with a copy under way.
    pub(super) fn check_copies(
        &self,
        lane: usize,
        place: Place,
        offset: u64,
        len: usize,
        kind: Kind,
    ) -> Result<(), Box<Trouble>> {
        let at = At { place, offset };
        if self.cluster.copies.touched.is_empty() || !matches!(place, Place::Global | Place::Shared(_)) {
            return Ok(());
        }
        let Some(origin) = self.cluster.copies.conflict(at, len, kind) else { return Ok(()) };
        let there = origin.place(self.env);
        let ([a, b, c], [x, y, z]) = (there.block, there.thread);
        let message = format!(
            "race: {len}-byte {} of {} memory at {offset:#x} and a copy under way of block ({a}, {b}, {c}), thread ({x}, {y}, {z})",
            kind.name(),
            place.name()
        );
        let related = vec![(there, "the copy".to_owned())];
        Err(Box::new(Trouble { kind: FaultKind::Race, lane: lane as u32, message, related, place: None }))
    }
}

pub(super) fn cp_async(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (to, from, reads) = (step.arg(0), step.arg(1), step.arg(2));
    let len = step.ins.imm as usize;
    for lane in lanes(step.lanes) {
        let read = reads[lane] as usize;
        if read > len {
            let message = format!("{read} bytes read, and {len} are copied");
            return trouble(FaultKind::BadOperand, lane as u32, message);
        }
        let to = step.locate(lane, Space::Shared, to[lane], len, len, Kind::Write)?;
        let from = step.locate(lane, Space::Global, from[lane], read, len, Kind::Read)?;
        let copy = step.new_copy(lane, Ok(from), to, len, read, None)?;
        step.enqueue(lane, Kin::CpAsync, copy)?;
    }
    Ok(Next::Advance)
}

fn commit(step: &mut Step<'_, '_>, kin: Kin) -> Result<Next, Box<Trouble>> {
    for lane in lanes(step.lanes) {
        let index = step.queue_index(lane);
        step.cluster.copies.queue(index).open[kin as usize] += 1;
    }
    Ok(Next::Advance)
}

pub(super) fn cp_async_commit(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    commit(step, Kin::CpAsync)
}

pub(super) fn bulk_commit(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    commit(step, Kin::Bulk)
}

/// Performs the closed groups of each lane but for the last ones.
fn wait(step: &mut Step<'_, '_>, kin: Kin, reads_only: bool) -> Result<Next, Box<Trouble>> {
    let left = u32::try_from(step.ins.imm).unwrap_or(u32::MAX);
    for lane in lanes(step.lanes) {
        let index = step.queue_index(lane);
        let below = step.cluster.copies.queue(index).open[kin as usize].saturating_sub(left);
        let result = if reads_only {
            fetch(step.env, step.cluster, index, kin, below)
        } else {
            flush(step.env, step.cluster, index, kin, below)
        };
        result.map_err(|f| f.trouble(step.env, lane))?;
    }
    Ok(Next::Advance)
}

/// Lets a queue's copies of groups below a number read their sources.
fn fetch(env: &mut Env<'_>, common: &mut Common, queue: usize, kin: Kin, below: u32) -> Result<(), Failure> {
    let mut copies = std::mem::take(&mut common.copies.queue(queue).copies);
    let mut ready = copies.iter_mut().filter(|(k, group, _)| *k == kin && *group < below);
    let result = ready.try_for_each(|(_, _, copy)| copy.fetch(env, common));
    common.copies.queue(queue).copies = copies;
    result
}

pub(super) fn cp_async_wait(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    wait(step, Kin::CpAsync, false)
}

pub(super) fn bulk_wait(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let reads_only = step.attr::<ReadsOnly>() == ReadsOnly::Yes;
    wait(step, Kin::Bulk, reads_only)
}

pub(super) fn cp_async_arrive(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let addresses = step.addresses();
    let counted = step.attr::<NoInc>() == NoInc::Yes;
    for lane in lanes(step.lanes) {
        let at = step.accessed(lane, addresses[lane])?;
        let pending = |m: Mbarrier| if counted { Ok(m) } else { m.add_pending() };
        step.change(lane, at, pending)?;
        let (due, origin, queue) = (step.soon(), step.origin(lane), step.queue_index(lane));
        step.cluster.copies.add_event(due, Event::Arrive(origin, queue, at));
    }
    Ok(Next::Advance)
}

/// The number of bytes of a bulk copy.
fn bulk_len(lane: usize, bytes: u64) -> Result<usize, Box<Trouble>> {
    if bytes > MAX.into() || !bytes.is_multiple_of(BULK as u64) {
        let message = format!("a bulk copy of {bytes} bytes, which is no multiple of {BULK} up to {MAX}");
        return trouble(FaultKind::BadOperand, lane as u32, message);
    }
    Ok(bytes as usize)
}

/// What a reducing op does with each element.
fn reduction(step: &Step<'_, '_>) -> Option<(AtomOp, Type)> {
    let reduces = matches!(step.ins.op, Op::BulkReduceSend | Op::BulkReduceStore);
    reduces.then(|| (step.attr(), step.attr::<Elements>().element()))
}

/// Bulk copies to shared memory, which complete their bytes at an mbarrier.
pub(super) fn bulk_send(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (to, from, bytes, signals) = (step.arg(0), step.arg(1), step.arg(2), step.arg(3));
    let (source, space) = match step.ins.op {
        Op::BulkLoad => (Space::Global, step.ins.space),
        _ => (Space::Shared, Space::Cluster),
    };
    let combine = reduction(step);
    for lane in lanes(step.lanes) {
        let len = bulk_len(lane, bytes[lane])?;
        let to = step.locate(lane, space, to[lane], len, BULK, Kind::Write)?;
        let from = step.locate(lane, source, from[lane], len, BULK, Kind::Read)?;
        let signal = step.signal(lane, space, signals[lane], to)?;
        let copy = step.new_copy(lane, Ok(from), to, len, len, combine)?;
        step.launch(copy, signal);
    }
    Ok(Next::Advance)
}

pub(super) fn bulk_multicast(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (to, from, bytes, signals, blocks) = (step.arg(0), step.arg(1), step.arg(2), step.arg(3), step.arg(4));
    for lane in lanes(step.lanes) {
        let len = bulk_len(lane, bytes[lane])?;
        let mask = step.ranks(lane, blocks[lane])?;
        let to = step.locate(lane, Space::Cluster, to[lane], len, BULK, Kind::Write)?;
        let from = step.locate(lane, Space::Global, from[lane], len, BULK, Kind::Read)?;
        let signal = step.mbarrier_at(lane, Space::Cluster, signals[lane])?;
        for rank in lanes(mask).map(|r| r as u32) {
            let to = At { place: Place::Shared(rank), ..to };
            let copy = step.new_copy(lane, Ok(from), to, len, len, None)?;
            step.launch(copy, Signal { rank, ..signal });
        }
    }
    Ok(Next::Advance)
}

/// Bulk copies to global memory, which are of a group.
pub(super) fn bulk_store(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (to, from, bytes) = (step.arg(0), step.arg(1), step.arg(2));
    let combine = reduction(step);
    for lane in lanes(step.lanes) {
        let len = bulk_len(lane, bytes[lane])?;
        let to = step.locate(lane, Space::Global, to[lane], len, BULK, Kind::Write)?;
        let from = step.locate(lane, Space::Shared, from[lane], len, BULK, Kind::Read)?;
        let copy = step.new_copy(lane, Ok(from), to, len, len, combine)?;
        step.enqueue(lane, Kin::Bulk, copy)?;
    }
    Ok(Next::Advance)
}

/// `store_async` and `red_async`.
pub(super) fn store(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let (to, signals) = (step.arg(0), step.arg(1));
    let (ty, space) = (step.ins.ty, step.ins.space);
    let size = ty.bytes() as usize;
    let values: Vec<_> = (2..usize::from(step.ins.args)).map(|n| step.arg(n)).collect();
    let len = size * values.len();
    let combine = (step.ins.op == Op::RedAsync).then(|| (step.attr(), ty));
    for lane in lanes(step.lanes) {
        let data: Vec<u8> = values.iter().flat_map(|v| v[lane].to_le_bytes().into_iter().take(size)).collect();
        let at = step.locate(lane, space, to[lane], len, len, Kind::Write)?;
        let signal = step.signal(lane, space, signals[lane], at)?;
        let copy = step.new_copy(lane, Err(data), at, len, len, combine)?;
        step.launch(copy, signal);
    }
    Ok(Next::Advance)
}
