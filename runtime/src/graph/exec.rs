//! Executable graphs: made, changed, launched.

use super::plan::{Engine, Plan, Signal};
use super::series::{self, Part, Series};
use super::snapshot::Snapshot;
use super::{Block, Body, Graph, InstantiateError, Node, NodeRequest, NodeType, Retained};
use crate::event::{Last, Record};
use crate::handle::{Handle, Kind};
use crate::queue::{Lane, Operation, Point, Queue, Stamp};
use crate::session::Session;
use crate::stream::StreamRef;
use crate::{Error, Event, Result, Runtime};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};

/// Tracks that a launch may run on at the same time.
const MOST_TRACKS: usize = 4;

/// A graph that can be launched.
pub struct Executable {
    flags: u64,
    free_before_launch: bool,
    state: Mutex<State>,
}

impl Kind for Executable {
    const TAG: u8 = 0x58;
    const NAME: &'static str = "executable graph";
}

pub(super) struct State {
    pub(super) snapshot: Snapshot,
    disabled: HashSet<Handle<Node>>,
    /// Made anew where the snapshot has changed.
    pub(super) plan: Option<Arc<Plan>>,
    /// Launches hold them too.
    objects: Arc<Vec<Retained>>,
    /// The lanes of the tracks behind the first.
    lanes: Vec<Lane>,
    session: Option<Arc<Session>>,
    /// The device of the last launch, and where that ends.
    last: Option<(usize, Point)>,
}

impl State {
    fn plan(&mut self, most: usize) -> Arc<Plan> {
        let Self { snapshot, disabled, plan, .. } = self;
        plan.get_or_insert_with(|| Arc::new(Plan::new(snapshot, disabled, most))).clone()
    }

    /// A launch is in its lanes; it ends at a point, and what it let go of is let go of behind that.
    fn ends_with(&mut self, session: &Arc<Session>, lane: Lane, end: Point, ended: Vec<Arc<Block>>) -> Result<()> {
        self.last = Some((session.device.index, end));
        if !ended.is_empty() || !self.objects.is_empty() {
            let kept = (ended, self.objects.clone());
            session.push(lane, Vec::new(), Operation::Call(Box::new(move |_| drop(kept))))?;
        }
        Ok(())
    }

    fn close_lanes(&mut self) {
        if let Some(session) = self.session.take() {
            self.lanes.drain(..).for_each(|lane| session.close_lane(lane));
        }
    }
}

impl Executable {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        self.lock().close_lanes();
    }
}

/// A launch on its way into the lanes.
struct Launch<'l> {
    plan: &'l Arc<Plan>,
    engine: Arc<Engine>,
    session: &'l Arc<Session>,
    lanes: Vec<Lane>,
    /// The recordings that segments wait for, and the events that they record.
    waits: Vec<Vec<Point>>,
    records: Vec<Vec<Arc<Event>>>,
}

fn nothing() -> Operation {
    Operation::Nothing
}

impl Launch<'_> {
    /// Returns the point at which all is done.
    fn push(self, queue: &Queue, after: Vec<Point>) -> Result<Point> {
        let (stream, session) = (self.lanes[0], self.session);
        let alone = self.plan.tracks == 1;
        let start = if alone { None } else { Some(queue.push(stream, session, after.clone(), &[], nothing())?) };
        let mut ends: Vec<Point> = Vec::with_capacity(self.plan.segments.len());
        let mut last: Vec<Option<Point>> = vec![None; self.plan.tracks];
        for (index, segment) in self.plan.segments.iter().enumerate() {
            let mut before: Vec<Point> = segment.after.iter().map(|&other| ends[other]).collect();
            before.extend(&self.waits[index]);
            if last[segment.track].is_none() {
                before.extend(start);
                before.extend(after.iter().filter(|_| alone));
            }
            let (plan, engine) = (self.plan.clone(), self.engine.clone());
            let run = Box::new(move |queue: &dyn hetgpu_device::Queue, session: &Arc<Session>| {
                plan.run(index, &engine, queue, session)
            });
            let lane = self.lanes[segment.track];
            let mut end = queue.push(lane, session, before, &[], Operation::Run(run))?;
            for event in &self.records[index] {
                let stamp = Stamp::default();
                end = queue.push(lane, session, Vec::new(), &[], Operation::Stamp(stamp.clone()))?;
                event.set_last(Last::Work(Record { point: end, stamp, session: session.clone() }));
            }
            ends.push(end);
            last[segment.track] = Some(end);
        }
        match (alone, last[0]) {
            (true, Some(end)) => Ok(end),
            (true, None) => queue.push(stream, session, after, &[], nothing()),
            (false, _) => queue.push(stream, session, last.into_iter().skip(1).flatten().collect(), &[], nothing()),
        }
    }
}

impl Runtime {
    /// Makes an executable of a graph as it is now. With `free_before_launch` a launch frees what the last one allocated.
    pub fn instantiate_graph(
        &self,
        graph: Handle<Graph>,
        flags: u64,
        free_before_launch: bool,
    ) -> std::result::Result<Handle<Executable>, InstantiateError> {
        self.may_interfere()?;
        let found = self.graph(graph)?;
        if found.lock().embedded {
            return Err(Error::invalid("the graph belongs to a node").into());
        }
        if self.is_single(graph)? && found.lock().instance.strong_count() != 0 {
            return Err(
                Error::NotSupported("a second instance of a graph with memory or conditional nodes".into()).into()
            );
        }
        let snapshot = self.snapshot(graph)?;
        snapshot.check(false)?;
        let mut devices = HashSet::new();
        snapshot.each(&mut |node| devices.extend(node.body.device()));
        if devices.len() > 1 {
            return Err(Error::NotSupported("a graph with nodes of several devices".into()).into());
        }
        let mut state = found.lock();
        let objects = state.objects.values().cloned().collect();
        let executable = Arc::new(Executable {
            flags,
            free_before_launch,
            state: Mutex::new(State {
                snapshot,
                disabled: HashSet::new(),
                plan: None,
                objects: Arc::new(objects),
                lanes: Vec::new(),
                session: None,
                last: None,
            }),
        });
        state.instance = Arc::downgrade(&executable);
        Ok(self.graphs.executables.insert(executable))
    }

    /// As it was made with.
    pub fn executable_flags(&self, executable: Handle<Executable>) -> Result<u64> {
        Ok(self.graphs.executables.get(executable)?.flags)
    }

    /// Launches that are under way go on.
    pub fn destroy_executable(&self, executable: Handle<Executable>) -> Result<()> {
        self.graphs.executables.remove(executable).map(drop)
    }

    fn engine(&self) -> Arc<Engine> {
        Arc::new(Engine { memory: self.memory.clone(), ids: self.ids() })
    }

    fn most_tracks(session: &Session) -> usize {
        MOST_TRACKS.min(session.device.device.caps().concurrent_queues.max(1) as usize)
    }

    /// Puts a launch into a stream.
    pub fn launch_graph(&self, executable: Handle<Executable>, stream: StreamRef) -> Result<()> {
        let executable = self.graphs.executables.get(executable)?;
        let (session, lane) = self.lane_outside_capture(stream)?;
        let mut state = executable.lock();
        let plan = state.plan(Self::most_tracks(&session));
        if session.device.device.caps().asynchronous
            && let Some(parts) = &plan.parts
            && let Some(guesses) = series::guesses(parts)
        {
            let parts: Vec<_> = parts.iter().cloned().zip(guesses).collect();
            return self.hand_graph(&executable, &mut state, &plan, &parts, &session, lane);
        }
        let mut waits = Vec::with_capacity(plan.segments.len());
        let mut records = Vec::with_capacity(plan.segments.len());
        for segment in &plan.segments {
            let (mut points, mut events) = (Vec::new(), Vec::new());
            for signal in &segment.signals {
                match *signal {
                    Signal::Wait(event) => points.extend(self.waited(event, &session, lane)?),
                    Signal::Record(event) => events.push(self.events.get(event)?),
                }
            }
            waits.push(points);
            records.push(events);
        }
        if state.session.as_ref().is_none_or(|known| known.id != session.id) {
            state.close_lanes();
            state.session = Some(session.clone());
        }
        while state.lanes.len() + 1 < plan.tracks {
            let lane = session.open_lane(0, false, 0)?;
            state.lanes.push(lane);
        }
        let ended = self.graphs.blocks.launch(&plan.allocated, &plan.freed, executable.free_before_launch)?;
        let lanes = std::iter::once(lane).chain(state.lanes.iter().copied()).collect();
        let launch = Launch { plan: &plan, engine: self.engine(), session: &session, lanes, waits, records };
        let last = state.last.filter(|(device, _)| *device == session.device.index);
        let after = last.map(|(_, point)| point).into_iter().collect();
        let end = session.push_unit(lane, after, |queue, after| launch.push(queue, after))?;
        state.ends_with(&session, lane, end, ended)
    }

    /// Puts a launch into a stream whose steps the device is given all at once.
    fn hand_graph(
        &self,
        executable: &Executable,
        state: &mut State,
        plan: &Plan,
        parts: &[(Arc<Part>, u64)],
        session: &Arc<Session>,
        lane: Lane,
    ) -> Result<()> {
        let mut signals = Vec::with_capacity(parts.len());
        for (part, _) in parts {
            let mut points = Vec::new();
            for &event in &part.waits {
                points.extend(self.waited(event, session, lane)?);
            }
            signals.push((points, part.record.map(|event| self.events.get(event)).transpose()?));
        }
        let ended = self.graphs.blocks.launch(&plan.allocated, &plan.freed, executable.free_before_launch)?;
        let last = state.last.filter(|(device, _)| *device == session.device.index);
        let after = last.map(|(_, point)| point).into_iter().collect();
        let engine = self.engine();
        let end = session.push_unit(lane, after, |queue, after| {
            let mut before = after;
            let mut end = None;
            for ((part, guess), (points, event)) in parts.iter().zip(signals) {
                before.extend(points);
                let (part, engine, session, guess) = (part.clone(), engine.clone(), session.clone(), *guess);
                let series = Operation::Series(Box::new(Series { part, engine, session: session.clone(), guess }));
                let mut point = queue.append(lane, &session, std::mem::take(&mut before), series)?;
                if let Some(event) = event {
                    let stamp = Stamp::default();
                    let stamped = Operation::Stamp(stamp.clone());
                    point = queue.append(lane, &session, Vec::new(), stamped)?;
                    event.set_last(Last::Work(Record { point, stamp, session }));
                }
                end = Some(point);
            }
            Ok::<_, Error>(end)
        })?;
        let Some(end) = end else { return Ok(()) };
        session.device.queue.go_on_with(end);
        state.ends_with(session, lane, end, ended)
    }

    fn waited(&self, event: Handle<Event>, session: &Arc<Session>, lane: Lane) -> Result<Option<Point>> {
        match self.events.get(event)?.record() {
            Some(record) if record.session.device.index != session.device.index => record.hold(session, lane).map(Some),
            record => Ok(record.map(|record| record.point)),
        }
    }

    /// Has the kernels of a graph compiled, in the order of the stream.
    pub fn upload_graph(&self, executable: Handle<Executable>, stream: StreamRef) -> Result<()> {
        let executable = self.graphs.executables.get(executable)?;
        let (session, lane) = self.lane_outside_capture(stream)?;
        let plan = executable.lock().plan(Self::most_tracks(&session));
        session.push(lane, Vec::new(), Operation::Run(Box::new(move |_, _| plan.prepare())))?;
        Ok(())
    }

    /// Changes what a node does in launches from now on.
    pub fn set_executable_node(
        &self,
        executable: Handle<Executable>,
        node: Handle<Node>,
        request: NodeRequest,
    ) -> Result<()> {
        let executable = self.graphs.executables.get(executable)?;
        let graph = self.graphs.nodes.get(node)?.graph;
        let mut state = executable.lock();
        let State { snapshot, plan, .. } = &mut *state;
        let found = snapshot.find_mut(node).ok_or_else(|| Error::invalid("the executable has no such node"))?;
        if let NodeRequest::Child { graph: child, .. } = request {
            let Body::Child(_) = found.body else { return Err(Error::invalid("not a child graph node")) };
            let new = self.snapshot(child)?;
            let old = found.inner.first().cloned().unwrap_or_default();
            let changed = old.updated(&new).map_err(|_| Error::invalid("the child graph has another form"))?;
            found.inner = vec![changed];
        } else {
            let body = self.replacement(graph, &found.body, request)?;
            found.body.may_become(&body).map_err(|_| Error::invalid("the node cannot change in that way"))?;
            if found.body.is_box_copy() || body.is_box_copy() {
                return Err(Error::invalid(
                    "a copy of several rows stays what it is in an executable: instantiate the graph again",
                ));
            }
            found.body = body;
        }
        *plan = None;
        Ok(())
    }

    /// Leaves a node out of launches from now on, or takes it in again.
    pub fn enable_node(&self, executable: Handle<Executable>, node: Handle<Node>, enabled: bool) -> Result<()> {
        let executable = self.graphs.executables.get(executable)?;
        self.graphs.nodes.get(node)?;
        let mut state = executable.lock();
        state.can_be_left_out(node)?;
        let changed = if enabled { state.disabled.remove(&node) } else { state.disabled.insert(node) };
        if changed {
            state.plan = None;
        }
        Ok(())
    }

    pub fn node_enabled(&self, executable: Handle<Executable>, node: Handle<Node>) -> Result<bool> {
        let executable = self.graphs.executables.get(executable)?;
        self.graphs.nodes.get(node)?;
        let mut state = executable.lock();
        state.can_be_left_out(node)?;
        Ok(!state.disabled.contains(&node))
    }
}

impl State {
    fn can_be_left_out(&mut self, node: Handle<Node>) -> Result<()> {
        let kind = self.snapshot.find_mut(node).map(|node| node.body.kind());
        match kind {
            Some(NodeType::Kernel | NodeType::Copy | NodeType::Fill) => Ok(()),
            Some(_) => Err(Error::invalid("only kernels, copies and fills can be left out")),
            None => Err(Error::invalid("the executable has no such node")),
        }
    }
}
