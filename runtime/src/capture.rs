//! Capture: calls on a stream become nodes of a graph instead of work.
//!
//! A capture begins in one stream and spreads to others by events: a stream that waits for an event of captured work joins
//! the capture. Each such stream has a frontier, the nodes that what comes next depends on. The capture ends in the stream
//! in which it began, which must then wait for the frontiers of all others.
//!
//! A call that capture cannot express fails and leaves the capture invalid: everything in its streams fails then, until it
//! is ended. What a thread may not call meanwhile depends on its mode and on those of the captures under way.

use crate::error::CaptureError;
use crate::event::{Event, Last};
use crate::graph::{Body, CopyNode, Dependency, Edge, FillNode, Graph, KernelNode, Node};
use crate::handle::Handle;
use crate::launch::{LaunchRequest, Launchable};
use crate::partition::Part;
use crate::queue::Lane;
use crate::session::Session;
use crate::stream::StreamRef;
use crate::system::{CopyAsked, FillRequest};
use crate::{Error, Result, Runtime};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::ThreadId;

/// Whom a capture keeps from calls that may not be made meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaptureMode {
    /// All threads.
    Global,
    /// The thread that began it.
    ThreadLocal,
    /// Nobody.
    Relaxed,
}

thread_local! {
    static MODE: Cell<CaptureMode> = const { Cell::new(CaptureMode::Global) };
}

/// Sets the calling thread's mode and returns what it was.
pub fn exchange_capture_mode(mode: CaptureMode) -> CaptureMode {
    MODE.replace(mode)
}

/// A lane of a device.
type Key = (usize, Lane);

struct Capture {
    graph: Handle<Graph>,
    /// The graph was made for the capture.
    owned: bool,
    mode: CaptureMode,
    thread: ThreadId,
    origin: Key,
    valid: bool,
}

/// A stream that is part of a capture.
struct Member {
    capture: u64,
    session: u64,
    /// What of the session it belongs to.
    part: u64,
    blocking: bool,
    frontier: Vec<Dependency>,
    /// What the program was last told of the frontier: it holds pointers to these.
    shown: (Vec<u64>, Vec<[u8; 8]>),
}

#[derive(Default)]
struct Inner {
    captures: HashMap<u64, Capture>,
    members: HashMap<Key, Member>,
}

/// The captures under way.
#[derive(Default)]
pub(crate) struct Captures {
    /// How many there are, so that calls need no lock where there is none.
    active: AtomicUsize,
    inner: Mutex<Inner>,
}

/// Where a call on a stream goes.
pub(crate) enum Target {
    Lane(Arc<Session>, Lane),
    Capture(Capturing),
}

/// A stream that is being captured.
pub(crate) struct Capturing {
    pub(crate) session: Arc<Session>,
    key: Key,
    id: u64,
    graph: Handle<Graph>,
}

/// What an event of captured work stands for.
#[derive(Clone)]
pub(crate) struct Captured {
    id: u64,
    frontier: Vec<Dependency>,
}

/// How it stands with the capture of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaptureStatus {
    None,
    Active,
    Invalidated,
}

/// A capture under way, as the program is told of it. The addresses are those of arrays that live until the next question.
#[derive(Clone, Copy, Debug)]
pub struct CaptureInfo {
    pub status: CaptureStatus,
    pub id: u64,
    pub graph: Option<Handle<Graph>>,
    pub nodes: u64,
    pub edges: u64,
    pub count: usize,
}

fn key(session: &Session, lane: Lane) -> Key {
    (session.device.index, lane)
}

impl Captures {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn none(&self) -> bool {
        self.active.load(Ordering::Acquire) == 0
    }

    /// Leaves a capture invalid for a reason, which is returned.
    pub(crate) fn invalidate(&self, capture: &Capturing, reason: CaptureError) -> Error {
        self.lock().invalidate(capture.id);
        reason.into()
    }

    /// The frontier of a stream, for an event.
    pub(crate) fn recorded(&self, capture: &Capturing) -> Result<Captured> {
        let inner = self.lock();
        let member = inner.members.get(&capture.key).ok_or(CaptureError::Invalidated)?;
        Ok(Captured { id: member.capture, frontier: member.frontier.clone() })
    }

    /// Leaves the capture of an event invalid, whose work nobody can wait for.
    pub(crate) fn refuse_event(&self, captured: &Captured) -> Error {
        self.lock().invalidate(captured.id);
        CaptureError::Unsupported.into()
    }

    /// Why an event of captured work cannot be asked for anything.
    pub(crate) fn of_event(&self, captured: &Captured) -> Error {
        match self.lock().captures.contains_key(&captured.id) {
            true => CaptureError::Event.into(),
            false => Error::invalid("the event was last recorded in a capture that has ended"),
        }
    }

    /// Whether a graph is being captured into.
    pub(crate) fn uses(&self, graph: Handle<Graph>) -> bool {
        !self.none() && self.lock().captures.values().any(|capture| capture.graph == graph)
    }

    /// Ends the capture that began in a lane, and returns its graph if that was made for it.
    fn take(&self, inner: &mut Inner, id: u64) -> Option<Handle<Graph>> {
        let capture = inner.captures.remove(&id)?;
        inner.members.retain(|_, member| member.capture != id);
        self.active.fetch_sub(1, Ordering::Release);
        capture.owned.then_some(capture.graph)
    }
}

impl Inner {
    fn invalidate(&mut self, id: u64) {
        if let Some(capture) = self.captures.get_mut(&id) {
            capture.valid = false;
        }
    }

    /// Fails, and invalidates, where the default stream of a session would wait for a captured stream.
    fn implicit(&mut self, session: &Session, part: u64) -> Result<()> {
        let met = self
            .members
            .values()
            .filter(|member| member.blocking && member.session == session.id && member.part == part);
        let met: Vec<u64> = met.map(|member| member.capture).collect();
        met.iter().for_each(|&id| self.invalidate(id));
        if met.is_empty() { Ok(()) } else { Err(CaptureError::Implicit.into()) }
    }

    /// Fails, and invalidates, where a capture forbids the calling thread what may depend on captured work unseen.
    fn restricted(&mut self) -> Result<()> {
        let (mode, thread) = (MODE.get(), std::thread::current().id());
        let met = self.captures.iter().filter(|(_, capture)| match mode {
            CaptureMode::Relaxed => false,
            CaptureMode::ThreadLocal => capture.thread == thread && capture.mode != CaptureMode::Relaxed,
            CaptureMode::Global => {
                capture.mode == CaptureMode::Global
                    || capture.thread == thread && capture.mode == CaptureMode::ThreadLocal
            }
        });
        let met: Vec<u64> = met.map(|(&id, _)| id).collect();
        met.iter().for_each(|&id| self.invalidate(id));
        if met.is_empty() { Ok(()) } else { Err(CaptureError::Unsupported.into()) }
    }
}

impl Runtime {
    /// The lane of a stream for what no graph can hold: such a call ends a capture.
    pub(crate) fn uncaptured(&self, stream: StreamRef) -> Result<(Arc<Session>, Lane)> {
        match self.target(stream)? {
            Target::Lane(session, lane) => Ok((session, lane)),
            Target::Capture(capture) => Err(self.captures.invalidate(&capture, CaptureError::Unsupported)),
        }
    }

    /// Where a call that puts work into a stream goes.
    pub(crate) fn target(&self, stream: StreamRef) -> Result<Target> {
        let (session, lane) = self.lane(stream)?;
        if self.captures.none() {
            return Ok(Target::Lane(session, lane));
        }
        let mut inner = self.captures.lock();
        if stream == StreamRef::Default {
            inner.implicit(&session, session.part_of(lane).0)?;
        }
        let key = key(&session, lane);
        let Some(member) = inner.members.get(&key) else { return Ok(Target::Lane(session, lane)) };
        let id = member.capture;
        match inner.captures.get(&id) {
            Some(Capture { valid: true, graph, .. }) => {
                let graph = *graph;
                drop(inner);
                Ok(Target::Capture(Capturing { session, key, id, graph }))
            }
            _ => Err(CaptureError::Invalidated.into()),
        }
    }

    /// The lane of a stream, for a call that no capture can express.
    pub(crate) fn lane_outside_capture(&self, stream: StreamRef) -> Result<(Arc<Session>, Lane)> {
        let (session, lane) = self.lane(stream)?;
        if !self.captures.none() {
            let mut inner = self.captures.lock();
            if stream == StreamRef::Default {
                inner.implicit(&session, session.part_of(lane).0)?;
            }
            if let Some(member) = inner.members.get(&key(&session, lane)) {
                let id = member.capture;
                inner.invalidate(id);
                return Err(CaptureError::Unsupported.into());
            }
        }
        Ok((session, lane))
    }

    /// The lane of a stream, for a call that no capture hears of.
    pub(crate) fn lane_beside_capture(&self, stream: StreamRef) -> Result<(Arc<Session>, Lane)> {
        let (session, lane) = self.lane(stream)?;
        if stream == StreamRef::Default && !self.captures.none() {
            self.captures.lock().implicit(&session, session.part_of(lane).0)?;
        }
        Ok((session, lane))
    }

    /// The lane of a stream that the program waits for or asks about.
    pub(crate) fn lane_to_wait_for(&self, stream: StreamRef) -> Result<(Arc<Session>, Lane)> {
        let found = self.lane_outside_capture(stream)?;
        self.may_interfere()?;
        Ok(found)
    }

    /// Whether any stream is captured.
    pub fn captures(&self) -> bool {
        !self.captures.none()
    }

    /// Fails where a capture forbids the calling thread to wait for work, or to change what work may use.
    pub fn may_interfere(&self) -> Result<()> {
        if self.captures.none() { Ok(()) } else { self.captures.lock().restricted() }
    }

    /// Fails where a stream of the current context is captured, whatever the mode.
    pub fn may_wait_for_all(&self) -> Result<()> {
        if self.captures.none() {
            return Ok(());
        }
        let (session, part) = self.scope()?;
        self.none_captured(&session, &part)?;
        self.captures.lock().restricted()
    }

    /// Fails, and invalidates, where a stream of a part of a session is captured.
    pub(crate) fn none_captured(&self, session: &Session, part: &Part) -> Result<()> {
        if self.captures.none() {
            return Ok(());
        }
        let mut inner = self.captures.lock();
        let here = |member: &&Member| member.session == session.id && (part.is_whole() || member.part == part.id);
        let met: Vec<u64> = inner.members.values().filter(here).map(|member| member.capture).collect();
        met.iter().for_each(|&id| inner.invalidate(id));
        if met.is_empty() { Ok(()) } else { Err(CaptureError::Unsupported.into()) }
    }

    /// Fails where the program may not wait for an event or ask about it.
    pub(crate) fn may_ask(&self, event: &Event) -> Result<()> {
        if let Last::Captured(captured) = event.last() {
            self.captures.lock().invalidate(captured.id);
            return Err(self.captures.of_event(&captured));
        }
        self.may_interfere()
    }

    /// Lets a stream wait for an event where capture has a say in it; false where it has none.
    pub(crate) fn capture_wait(&self, stream: StreamRef, event: &Event) -> Result<bool> {
        let captured = match event.last() {
            Last::Captured(captured) => captured,
            Last::Nothing => return Ok(false),
            Last::Work(_) => {
                return match self.target(stream)? {
                    Target::Lane(..) => Ok(false),
                    Target::Capture(capture) => Err(self.captures.invalidate(&capture, CaptureError::Isolation)),
                };
            }
        };
        let (session, lane) = self.lane(stream)?;
        let blocking = session.is_blocking(lane);
        let mut inner = self.captures.lock();
        let Some(capture) = inner.captures.get(&captured.id) else {
            return Err(Error::invalid("the event was last recorded in a capture that has ended"));
        };
        if !capture.valid {
            return Err(CaptureError::Invalidated.into());
        }
        if stream == StreamRef::Default {
            inner.invalidate(captured.id);
            return Err(CaptureError::Implicit.into());
        }
        let key = key(&session, lane);
        let member = inner.members.entry(key).or_insert_with(|| Member {
            capture: captured.id,
            session: session.id,
            part: session.part_of(lane).0,
            blocking,
            frontier: Vec::new(),
            shown: Default::default(),
        });
        if member.capture != captured.id {
            let other = member.capture;
            inner.invalidate(other);
            inner.invalidate(captured.id);
            return Err(CaptureError::Merge.into());
        }
        for dependency in captured.frontier {
            if member.frontier.iter().all(|known| known.node != dependency.node) {
                member.frontier.push(dependency);
            }
        }
        Ok(true)
    }

    /// Waits for an event whenever the graph runs.
    pub fn capture_external_wait(&self, stream: StreamRef, event: Handle<Event>) -> Result<()> {
        self.capture_external(stream, Body::EventWait(event))
    }

    /// Records an event whenever the graph runs.
    pub fn capture_external_record(&self, stream: StreamRef, event: Handle<Event>) -> Result<()> {
        self.capture_external(stream, Body::EventRecord(event))
    }

    fn capture_external(&self, stream: StreamRef, body: Body) -> Result<()> {
        match self.target(stream)? {
            Target::Capture(capture) => self.capture_node(&capture, body).map(drop),
            Target::Lane(..) => Err(Error::IllegalState("external events are for streams that are captured".into())),
        }
    }

    /// Adds a node behind a stream's frontier.
    pub(crate) fn capture_node(&self, capture: &Capturing, body: Body) -> Result<Handle<Node>> {
        let mut inner = self.captures.lock();
        let member = inner.members.get_mut(&capture.key).ok_or(CaptureError::Invalidated)?;
        let node = self.insert_node(capture.graph, &member.frontier, body)?;
        member.frontier = vec![Dependency { node, edge: Edge::default() }];
        Ok(node)
    }

    pub(crate) fn capture_launch(&self, capture: &Capturing, what: Launchable, request: LaunchRequest) -> Result<()> {
        let (_, processors) = capture.session.part_of(capture.key.1);
        let node = KernelNode::new(self, what, &capture.session, request, processors)?;
        self.capture_node(capture, Body::Kernel(Arc::new(node))).map(drop)
    }

    fn not_waited_for(&self, capture: &Capturing, wait: bool) -> Result<()> {
        if wait { Err(self.captures.invalidate(capture, CaptureError::Unsupported)) } else { Ok(()) }
    }

    pub(crate) fn capture_copy(&self, capture: &Capturing, asked: CopyAsked, wait: bool) -> Result<()> {
        self.not_waited_for(capture, wait)?;
        match self.prepare_any(&capture.session, &asked)? {
            Some(work) => {
                let node = CopyNode::new(&capture.session, asked, work, None);
                self.capture_node(capture, Body::Copy(Arc::new(node))).map(drop)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn capture_fill(&self, capture: &Capturing, request: FillRequest, wait: bool) -> Result<()> {
        self.not_waited_for(capture, wait)?;
        match self.prepare_fill(&request)? {
            Some(fill) => {
                let node = FillNode::new(&capture.session, request, fill);
                self.capture_node(capture, Body::Fill(Arc::new(node))).map(drop)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn capture_allocate(&self, capture: &Capturing, bytes: u64) -> Result<u64> {
        let block = self.graph_block(&capture.session, bytes)?;
        let start = block.start;
        self.capture_node(capture, Body::Allocate(block))?;
        Ok(start)
    }

    pub(crate) fn capture_free(&self, capture: &Capturing, start: u64) -> Result<()> {
        self.capture_node(capture, Body::Free(self.graphs.blocks.find(start)?)).map(drop)
    }

    /// Begins a capture, into a graph that is there or a new one.
    pub fn begin_capture(
        &self,
        stream: StreamRef,
        mode: CaptureMode,
        into: Option<(Handle<Graph>, Vec<Dependency>)>,
    ) -> Result<()> {
        if stream == StreamRef::Default {
            return Err(CaptureError::Unsupported.into());
        }
        let (session, lane) = self.lane(stream)?;
        let (origin, blocking, id) = (key(&session, lane), session.is_blocking(lane), self.next_id());
        let mut inner = self.captures.lock();
        if inner.members.contains_key(&origin) {
            return Err(Error::IllegalState("the stream is captured already".into()));
        }
        let owned = into.is_none();
        let (graph, frontier) = match into {
            Some((graph, dependencies)) => {
                self.check_dependencies(graph, &dependencies)?;
                (graph, dependencies)
            }
            None => (self.create_graph(), Vec::new()),
        };
        let thread = std::thread::current().id();
        inner.captures.insert(id, Capture { graph, owned, mode, thread, origin, valid: true });
        let shown = Default::default();
        let part = session.part_of(lane).0;
        inner.members.insert(origin, Member { capture: id, session: session.id, part, blocking, frontier, shown });
        self.captures.active.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Ends a capture and hands out its graph. An error ends it too, except where it was begun in another stream.
    pub fn end_capture(&self, stream: StreamRef) -> Result<Handle<Graph>> {
        let not_captured = || Error::IllegalState("the stream is not captured".into());
        let (session, lane) = self.lane(stream)?;
        let mut inner = self.captures.lock();
        let here = key(&session, lane);
        let id = inner.members.get(&here).ok_or_else(not_captured)?.capture;
        let capture = inner.captures.get(&id).ok_or_else(not_captured)?;
        let (graph, mode, thread, origin, valid) =
            (capture.graph, capture.mode, capture.thread, capture.origin, capture.valid);
        if origin != here {
            inner.invalidate(id);
            return Err(CaptureError::Unmatched.into());
        }
        let joined = || {
            let others = inner.members.iter().filter(|(key, member)| member.capture == id && **key != here);
            let others: Vec<Handle<Node>> = others.flat_map(|(_, m)| m.frontier.iter().map(|d| d.node)).collect();
            let own: Vec<Handle<Node>> = inner.members[&here].frontier.iter().map(|d| d.node).collect();
            self.all_before(graph, &own, &others)
        };
        let outcome = if !valid {
            Err(CaptureError::Invalidated)
        } else if mode != CaptureMode::Relaxed && thread != std::thread::current().id() {
            Err(CaptureError::WrongThread)
        } else if !joined()? {
            Err(CaptureError::Unjoined)
        } else {
            Ok(graph)
        };
        let made = self.captures.take(&mut inner, id);
        drop(inner);
        if let (Err(_), Some(graph)) = (&outcome, made) {
            self.destroy_graph(graph)?;
        }
        Ok(outcome?)
    }

    /// A stream is gone, and with it the capture that began there.
    pub(crate) fn abandon_capture(&self, session: &Session, lane: Lane) -> Result<()> {
        if self.captures.none() {
            return Ok(());
        }
        let mut inner = self.captures.lock();
        let here = key(session, lane);
        let begun = inner.captures.iter().find(|(_, capture)| capture.origin == here).map(|(&id, _)| id);
        let made = begun.and_then(|id| self.captures.take(&mut inner, id));
        drop(inner);
        made.map_or(Ok(()), |graph| self.destroy_graph(graph))
    }

    /// How it stands with the capture of a stream. Without `with_edges` it fails where edges are not plain.
    pub fn capture_info(&self, stream: StreamRef, with_edges: bool) -> Result<CaptureInfo> {
        let nothing = CaptureInfo { status: CaptureStatus::None, id: 0, graph: None, nodes: 0, edges: 0, count: 0 };
        let (session, lane) = self.lane(stream)?;
        if self.captures.none() {
            return Ok(nothing);
        }
        let mut inner = self.captures.lock();
        let part = session.part_of(lane).0;
        let implied = |m: &Member| m.blocking && m.session == session.id && m.part == part;
        if stream == StreamRef::Default && inner.members.values().any(implied) {
            return Err(CaptureError::Implicit.into());
        }
        let Inner { captures, members } = &mut *inner;
        let Some(member) = members.get_mut(&key(&session, lane)) else { return Ok(nothing) };
        let id = member.capture;
        let Some(capture) = captures.get(&id) else { return Ok(nothing) };
        if !capture.valid {
            return Ok(CaptureInfo { status: CaptureStatus::Invalidated, id, ..nothing });
        }
        if !with_edges && member.frontier.iter().any(|dependency| dependency.edge != Edge::default()) {
            return Err(Error::Lossy("edges that are not plain were not asked for".into()));
        }
        member.shown = (
            member.frontier.iter().map(|dependency| dependency.node.bits()).collect(),
            member.frontier.iter().map(|dependency| dependency.edge.bytes()).collect(),
        );
        Ok(CaptureInfo {
            status: CaptureStatus::Active,
            id,
            graph: Some(capture.graph),
            nodes: member.shown.0.as_ptr().expose_provenance() as u64,
            edges: member.shown.1.as_ptr().expose_provenance() as u64,
            count: member.frontier.len(),
        })
    }

    /// Adds to a stream's frontier, or replaces it.
    pub fn set_capture_dependencies(
        &self,
        stream: StreamRef,
        dependencies: Vec<Dependency>,
        replace: bool,
    ) -> Result<()> {
        let capture = match self.target(stream)? {
            Target::Capture(capture) => capture,
            Target::Lane(..) => return Err(Error::IllegalState("the stream is not captured".into())),
        };
        for dependency in &dependencies {
            self.check_dependencies(capture.graph, std::slice::from_ref(dependency))?;
        }
        let mut inner = self.captures.lock();
        let member = inner.members.get_mut(&capture.key).ok_or(CaptureError::Invalidated)?;
        if replace {
            member.frontier.clear();
        }
        for dependency in dependencies {
            match member.frontier.iter_mut().find(|known| known.node == dependency.node) {
                Some(known) => *known = dependency,
                None => member.frontier.push(dependency),
            }
        }
        Ok(())
    }
}
