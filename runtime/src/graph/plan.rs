//! How an executable graph runs: steps, in segments, on tracks.

use super::order::topological;
use super::series::{self, FlatNode, Part};
use super::snapshot::Snapshot;
use super::{BatchNode, Block, Body, BranchKind, Condition, CopyNode, FillNode, HostCall, KernelNode, Node};
use crate::Result;
use crate::event::Event;
use crate::handle::Handle;
use crate::memory::Memory;
use crate::session::Session;
use crate::word::WordOperation;
use hetgpu_device::{Extent, Fill, HostBuffer, Pattern, Place, Queue, Shape, Transfer, Work};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One thing to do.
#[derive(Clone)]
pub(super) enum Step {
    Kernel(Arc<KernelNode>),
    Copy(Arc<CopyNode>),
    Fill(Arc<FillNode>),
    Host(HostCall),
    Batch(Arc<BatchNode>),
    /// Sets conditions to what they are at a launch.
    Set(Vec<Arc<Condition>>),
    Branch(Arc<Branch>),
}

pub(super) struct Branch {
    condition: Arc<Condition>,
    kind: BranchKind,
    bodies: Vec<Vec<Step>>,
}

/// What a segment has to do with an event.
#[derive(Clone, Copy)]
pub(crate) enum Signal {
    /// It begins when the event's last recording is passed.
    Wait(Handle<Event>),
    /// The event is recorded when it has ended.
    Record(Handle<Event>),
}

/// Steps of one track that run without looking at other tracks.
pub(crate) struct Segment {
    pub(crate) track: usize,
    /// Segments of other tracks, all before it.
    pub(crate) after: Vec<usize>,
    pub(crate) signals: Vec<Signal>,
    steps: Vec<Step>,
}

/// The whole.
pub(crate) struct Plan {
    /// In an order in which they can be handed over.
    pub(crate) segments: Vec<Segment>,
    pub(crate) tracks: usize,
    /// The same in one line, where a device can be given all of it.
    pub(super) parts: Option<Vec<Arc<Part>>>,
    pub(crate) allocated: Vec<Arc<Block>>,
    pub(crate) freed: Vec<Arc<Block>>,
}

/// What running needs.
pub(crate) struct Engine {
    pub(crate) memory: Arc<Memory>,
    pub(crate) ids: Arc<AtomicU64>,
}

/// A node of the flat graph.
#[derive(Default)]
struct Flat {
    step: Option<Step>,
    signal: Option<Signal>,
    before: Vec<usize>,
}

/// Lays child graphs out flat. What a graph's first nodes depend on is `roots`; returns what its last ones are.
fn flatten(snapshot: &Snapshot, disabled: &HashSet<Handle<Node>>, roots: &[usize], flat: &mut Vec<Flat>) -> Vec<usize> {
    let Ok(order) = topological(&snapshot.nodes) else { return Vec::new() };
    let mut ends: Vec<Vec<usize>> = vec![Vec::new(); snapshot.nodes.len()];
    let mut is_last = vec![true; snapshot.nodes.len()];
    for index in order {
        let node = &snapshot.nodes[index];
        let mut before: Vec<usize> = Vec::new();
        for &(from, _) in &node.before {
            is_last[from] = false;
            before.extend(&ends[from]);
        }
        if node.before.is_empty() {
            before.extend(roots);
        }
        before.sort_unstable();
        before.dedup();
        if let Body::Child(_) = node.body {
            let last: Vec<usize> =
                node.inner.iter().flat_map(|inner| flatten(inner, disabled, &before, flat)).collect();
            ends[index] = if last.is_empty() { before } else { last };
            continue;
        }
        let signal = match node.body {
            Body::EventRecord(event) => Some(Signal::Record(event)),
            Body::EventWait(event) => Some(Signal::Wait(event)),
            _ => None,
        };
        let step = if disabled.contains(&node.handle) { None } else { step(&node.body, &node.inner, disabled) };
        flat.push(Flat { step, signal, before });
        ends[index] = vec![flat.len() - 1];
    }
    let last = (0..snapshot.nodes.len()).filter(|&index| is_last[index]);
    last.flat_map(|index| std::mem::take(&mut ends[index])).collect()
}

fn step(body: &Body, inner: &[Snapshot], disabled: &HashSet<Handle<Node>>) -> Option<Step> {
    match body {
        Body::Kernel(kernel) => Some(Step::Kernel(kernel.clone())),
        Body::Copy(copy) => Some(Step::Copy(copy.clone())),
        Body::Fill(fill) => Some(Step::Fill(fill.clone())),
        Body::Host(call) => Some(Step::Host(call.clone())),
        Body::Batch(batch) => Some(Step::Batch(batch.clone())),
        Body::Conditional(conditional) => {
            let bodies = inner.iter().map(|body| {
                let mut flat = Vec::new();
                flatten(body, disabled, &[], &mut flat);
                flat.into_iter().filter_map(|node| node.step).collect()
            });
            let (condition, kind) = (conditional.condition.clone(), conditional.kind);
            Some(Step::Branch(Arc::new(Branch { condition, kind, bodies: bodies.collect() })))
        }
        // What happens to memory is settled when the graph is launched.
        Body::Child(_)
        | Body::Empty
        | Body::EventRecord(_)
        | Body::EventWait(_)
        | Body::Allocate(_)
        | Body::Free(_) => None,
    }
}

/// A track for each node: that of something it depends on, where that has no successor on its track yet.
fn tracks(flat: &[Flat], most: usize) -> (Vec<usize>, usize) {
    let mut of: Vec<usize> = Vec::with_capacity(flat.len());
    let mut last: Vec<Option<usize>> = Vec::new();
    for (index, node) in flat.iter().enumerate() {
        let goes_on = node
            .before
            .iter()
            .map(|&from| of[from])
            .find(|&track| last[track].is_some_and(|last| node.before.contains(&last)));
        let track = match goes_on {
            Some(track) => track,
            None if last.len() < most => {
                last.push(None);
                last.len() - 1
            }
            None => node.before.first().map_or(index % most, |&from| of[from]),
        };
        last[track] = Some(index);
        of.push(track);
    }
    (of, last.len().max(1))
}

impl Plan {
    /// `most`: tracks at most.
    pub(crate) fn new(snapshot: &Snapshot, disabled: &HashSet<Handle<Node>>, most: usize) -> Self {
        let mut flat = Vec::new();
        let conditions: Vec<_> =
            snapshot.all_conditions().into_iter().filter(|condition| condition.default.is_some()).collect();
        let mut roots = Vec::new();
        if !conditions.is_empty() {
            flat.push(Flat { step: Some(Step::Set(conditions)), ..Flat::default() });
            roots.push(0);
        }
        flatten(snapshot, disabled, &roots, &mut flat);
        let (mut allocated, mut freed) = (Vec::new(), Vec::new());
        snapshot.each(&mut |node| match &node.body {
            Body::Allocate(block) => allocated.push(block.clone()),
            Body::Free(block) => freed.push(block.clone()),
            _ => {}
        });
        let parts = series::parts(flat.iter().map(|node| FlatNode {
            step: node.step.as_ref(),
            wait: node.signal.and_then(|signal| if let Signal::Wait(event) = signal { Some(event) } else { None }),
            record: node.signal.and_then(|signal| if let Signal::Record(event) = signal { Some(event) } else { None }),
            before: &node.before,
        }));
        let (track_of, tracks) = tracks(&flat, most.max(1));
        let mut ends_segment: Vec<bool> =
            flat.iter().map(|node| matches!(node.signal, Some(Signal::Record(_)))).collect();
        for (index, node) in flat.iter().enumerate() {
            for &from in node.before.iter().filter(|&&from| track_of[from] != track_of[index]) {
                ends_segment[from] = true;
            }
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut open: Vec<Option<usize>> = vec![None; tracks];
        let mut segment_of: Vec<usize> = Vec::with_capacity(flat.len());
        for (index, node) in flat.into_iter().enumerate() {
            let track = track_of[index];
            let from_others = node.before.iter().filter(|&&from| track_of[from] != track);
            let mut after: Vec<usize> = from_others.map(|&from| segment_of[from]).collect();
            after.sort_unstable();
            after.dedup();
            let begins = !after.is_empty() || matches!(node.signal, Some(Signal::Wait(_)));
            let segment = match open[track].filter(|_| !begins) {
                Some(segment) => segment,
                None => {
                    segments.push(Segment { track, after, signals: Vec::new(), steps: Vec::new() });
                    segments.len() - 1
                }
            };
            segments[segment].steps.extend(node.step);
            segments[segment].signals.extend(node.signal);
            open[track] = Some(segment).filter(|_| !ends_segment[index]);
            segment_of.push(segment);
        }
        Self { segments, tracks, parts, allocated, freed }
    }

    /// Runs a segment.
    pub(crate) fn run(&self, segment: usize, engine: &Engine, queue: &dyn Queue, session: &Arc<Session>) -> Result<()> {
        Run { engine, queue, session }.steps(&self.segments[segment].steps)
    }

    /// Has the kernels compiled before they are needed.
    pub(crate) fn prepare(&self) -> Result<()> {
        fn kernels(steps: &[Step]) -> Result<()> {
            for step in steps {
                match step {
                    Step::Kernel(kernel) => {
                        let prepared = &kernel.prepared;
                        let device = &prepared.session.device.device;
                        device.prepare(
                            prepared.module.loaded,
                            prepared.kernel,
                            prepared.request.block,
                            Extent::Whole,
                        )?;
                    }
                    Step::Branch(branch) => branch.bodies.iter().try_for_each(|body| kernels(body))?,
                    Step::Copy(_) | Step::Fill(_) | Step::Host(_) | Step::Batch(_) | Step::Set(_) => {}
                }
            }
            Ok(())
        }
        self.segments.iter().try_for_each(|segment| kernels(&segment.steps))
    }
}

struct Run<'r> {
    engine: &'r Engine,
    queue: &'r dyn Queue,
    session: &'r Arc<Session>,
}

impl Run<'_> {
    /// Stops where another branch has met a fault.
    fn steps(&self, steps: &[Step]) -> Result<()> {
        for step in steps {
            if self.session.fault().is_some() {
                return Ok(());
            }
            self.step(step)?;
        }
        Ok(())
    }

    fn step(&self, step: &Step) -> Result<()> {
        match step {
            Step::Kernel(kernel) => self.launch(kernel),
            Step::Copy(copy) => copy.work.run(self.queue),
            Step::Fill(fill) => Ok(self.queue.run(Work::Fill(fill.fill))?),
            Step::Host(call) => {
                self.session.device.queue.stay();
                call.run();
                Ok(())
            }
            Step::Batch(batch) => batch.operations.iter().try_for_each(|operation| self.word(operation)),
            Step::Set(conditions) => conditions.iter().try_for_each(|condition| {
                let value = condition.default.unwrap_or_default();
                self.write(condition.address, u64::from(value), false)
            }),
            Step::Branch(branch) => self.branch(branch),
        }
    }

    fn launch(&self, kernel: &KernelNode) -> Result<()> {
        let grid_id = self.engine.ids.fetch_add(1, Ordering::Relaxed);
        if !kernel.request().cooperative {
            return kernel.prepared.run(self.queue, self.session, &self.engine.memory, 0, grid_id);
        }
        let memory = &self.engine.memory;
        let workspace = memory.workspace(self.session)?;
        let outcome = kernel.prepared.run(self.queue, self.session, memory, workspace, grid_id);
        memory.release(&memory.forget(workspace, |_| Ok(()))?);
        outcome
    }

    fn branch(&self, branch: &Branch) -> Result<()> {
        let value = || self.read(branch.condition.address, false);
        match branch.kind {
            BranchKind::If => {
                let body = branch.bodies.get(usize::from(value()? == 0));
                body.map_or(Ok(()), |body| self.steps(body))
            }
            BranchKind::While => {
                while value()? != 0 && self.session.fault().is_none() {
                    branch.bodies.iter().try_for_each(|body| self.steps(body))?;
                }
                Ok(())
            }
            BranchKind::Switch => branch.bodies.get(value()? as usize).map_or(Ok(()), |body| self.steps(body)),
        }
    }

    fn word(&self, operation: &WordOperation) -> Result<()> {
        match *operation {
            // Operations of a node are in order anyway.
            WordOperation::Barrier => Ok(()),
            WordOperation::Write(word, value) => self.write(word.at, value, word.wide),
            WordOperation::Wait(word, compare, value) => {
                while !compare.holds(word, self.read(word.at, word.wide)?, value) && self.session.fault().is_none() {
                    std::thread::yield_now();
                }
                Ok(())
            }
        }
    }

    fn write(&self, address: u64, value: u64, wide: bool) -> Result<()> {
        let bytes = value.to_ne_bytes();
        let pattern = Pattern::new(&bytes[..if wide { 8 } else { 4 }]);
        let fill = pattern.map(|pattern| Fill::line(address, pattern, 1));
        fill.map_or(Ok(()), |fill| Ok(self.queue.run(Work::Fill(fill))?))
    }

    fn read(&self, address: u64, wide: bool) -> Result<u64> {
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..if wide { 8 } else { 4 }];
        let host = HostBuffer::from(bytes.to_vec());
        let shape = Shape::line(bytes.len() as u64);
        self.queue.run(Work::Copy(Transfer { to: Place::Host(host.span()), from: Place::Device(address), shape }))?;
        host.span().read(0, bytes);
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(edges: &[&[usize]]) -> Vec<Flat> {
        edges.iter().map(|before| Flat { before: before.to_vec(), ..Flat::default() }).collect()
    }

    #[test]
    fn a_chain_stays_on_one_track_and_branches_get_their_own() {
        assert_eq!(tracks(&chain(&[&[], &[0], &[1]]), 4), (vec![0, 0, 0], 1));
        assert_eq!(tracks(&chain(&[&[], &[0], &[0], &[1, 2]]), 4), (vec![0, 0, 1, 0], 2));
        assert_eq!(tracks(&chain(&[&[], &[0], &[0], &[0]]), 2).1, 2, "no more tracks than allowed");
        assert_eq!(tracks(&[], 4), (vec![], 1));
    }
}
