//! What nodes do, as the program asked for it and checked.

use super::memory::session_on;
use super::{Block, BranchKind, Conditional, Graph};
use crate::context::Context;
use crate::event::Event;
use crate::handle::Handle;
use crate::launch::{LaunchRequest, Launchable, Prepared};
use crate::session::Session;
use crate::system::{CopyAsked, CopyWork, FillRequest};
use crate::word::WordOperation;
use crate::{Error, KernelInfo, Result, Runtime};
use hetgpu_device::Fill;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Attributes of a kernel node as the interface spells them.
pub type Attributes = BTreeMap<u32, [u32; 16]>;

/// The interface's own form of a request, kept to be shown again.
pub type AsGiven = Arc<dyn Any + Send + Sync>;

/// A function of the program.
#[derive(Clone)]
pub struct HostCall {
    pub function: u64,
    pub data: u64,
    call: Arc<dyn Fn() + Send + Sync>,
}

impl HostCall {
    /// `call` calls the function with the data; the two numbers are what the program is shown.
    pub fn new(function: u64, data: u64, call: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { function, data, call }
    }

    pub(crate) fn run(&self) {
        (self.call)();
    }
}

impl fmt::Debug for HostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}({:#x})", self.function, self.data)
    }
}

/// What a node is asked to do. Contexts that are not named are the current one.
pub enum NodeRequest {
    Kernel { what: Launchable, context: Option<Handle<Context>>, request: LaunchRequest },
    Copy { asked: CopyAsked, origin: Option<AsGiven>, context: Option<Handle<Context>> },
    Fill { request: FillRequest, context: Option<Handle<Context>> },
    Host(HostCall),
    Child { graph: Handle<Graph>, moved: bool },
    Empty,
    EventRecord(Handle<Event>),
    EventWait(Handle<Event>),
    Allocate { device: usize, bytes: u64 },
    Free(u64),
    Batch { operations: Vec<WordOperation>, origin: AsGiven, context: Option<Handle<Context>> },
    Conditional { handle: u64, kind: BranchKind, bodies: u32 },
}

/// What a node does.
#[derive(Clone)]
pub enum Body {
    Kernel(Arc<KernelNode>),
    Copy(Arc<CopyNode>),
    Fill(Arc<FillNode>),
    Host(HostCall),
    Child(Handle<Graph>),
    Empty,
    EventRecord(Handle<Event>),
    EventWait(Handle<Event>),
    Allocate(Arc<Block>),
    Free(Arc<Block>),
    Batch(Arc<BatchNode>),
    Conditional(Arc<Conditional>),
}

/// Kinds of nodes, without what they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeType {
    Kernel,
    Copy,
    Fill,
    Host,
    Child,
    Empty,
    EventWait,
    EventRecord,
    Allocate,
    Free,
    Batch,
    Conditional,
}

impl Body {
    pub fn kind(&self) -> NodeType {
        match self {
            Self::Kernel(_) => NodeType::Kernel,
            Self::Copy(_) => NodeType::Copy,
            Self::Fill(_) => NodeType::Fill,
            Self::Host(_) => NodeType::Host,
            Self::Child(_) => NodeType::Child,
            Self::Empty => NodeType::Empty,
            Self::EventWait(_) => NodeType::EventWait,
            Self::EventRecord(_) => NodeType::EventRecord,
            Self::Allocate(_) => NodeType::Allocate,
            Self::Free(_) => NodeType::Free,
            Self::Batch(_) => NodeType::Batch,
            Self::Conditional(_) => NodeType::Conditional,
        }
    }

    /// The graphs that belong to the node.
    pub(crate) fn embedded(&self) -> &[Handle<Graph>] {
        match self {
            Self::Child(graph) => std::slice::from_ref(graph),
            Self::Conditional(conditional) => &conditional.bodies,
            _ => &[],
        }
    }

    /// The device that it works on, where it matters.
    pub(crate) fn device(&self) -> Option<usize> {
        match self {
            Self::Kernel(kernel) => Some(kernel.prepared.session.device.index),
            Self::Copy(copy) => Some(copy.session.device.index),
            Self::Fill(fill) => Some(fill.session.device.index),
            Self::Batch(batch) => Some(batch.session.device.index),
            Self::Conditional(conditional) => Some(conditional.condition.session.device.index),
            Self::Allocate(block) | Self::Free(block) => Some(block.device),
            Self::Host(_) | Self::Child(_) | Self::Empty | Self::EventRecord(_) | Self::EventWait(_) => None,
        }
    }
}

/// A launch.
pub struct KernelNode {
    pub what: Launchable,
    pub(crate) prepared: Prepared,
    /// The address of each parameter, for the program.
    pointers: Vec<u64>,
}

impl KernelNode {
    pub(crate) fn new(
        runtime: &Runtime,
        what: Launchable,
        session: &Arc<Session>,
        request: LaunchRequest,
        processors: Option<Arc<[u32]>>,
    ) -> Result<Self> {
        let prepared = runtime.prepare(what, session, request, processors)?;
        let mut node = Self { what, prepared, pointers: Vec::new() };
        node.point();
        Ok(node)
    }

    /// The same, with parameters of its own.
    pub(crate) fn copied(&self) -> Self {
        let mut node = Self { what: self.what, prepared: self.prepared.clone(), pointers: Vec::new() };
        node.point();
        node
    }

    fn point(&mut self) {
        let base = self.prepared.request.params.as_ptr().expose_provenance() as u64;
        self.pointers = self.info().params.iter().map(|param| base + u64::from(param.offset)).collect();
    }

    pub fn info(&self) -> &KernelInfo {
        let kernels = &self.prepared.module.code.kernels;
        let found = kernels.iter().find(|kernel| kernel.function == self.prepared.kernel);
        found.expect("a prepared launch names a kernel of its module")
    }

    pub fn request(&self) -> &LaunchRequest {
        &self.prepared.request
    }

    pub fn request_mut(&mut self) -> &mut LaunchRequest {
        &mut self.prepared.request
    }

    pub fn session(&self) -> &Arc<Session> {
        &self.prepared.session
    }

    /// The function, loaded in the node's context.
    pub fn function(&self, runtime: &Runtime) -> Result<Handle<crate::Function>> {
        match self.what {
            Launchable::Function(function) => Ok(function),
            Launchable::Kernel(kernel) => runtime.kernel_function_in(kernel, self.session()),
        }
    }

    /// The library's kernel, where it is one.
    pub fn kernel(&self, runtime: &Runtime) -> Option<Handle<crate::Kernel>> {
        let function = match self.what {
            Launchable::Kernel(kernel) => return Some(kernel),
            Launchable::Function(function) => runtime.functions.get(function).ok()?,
        };
        runtime.kernels_of(self.prepared.module.library?).ok()?.get(function.index).copied()
    }

    /// The address of an array of pointers to the parameters; it lives as long as this.
    pub fn parameters(&self) -> u64 {
        self.pointers.as_ptr().expose_provenance() as u64
    }
}

/// A copy.
pub struct CopyNode {
    pub asked: CopyAsked,
    pub origin: Option<AsGiven>,
    pub session: Arc<Session>,
    pub(crate) work: CopyWork,
}

impl CopyNode {
    pub(crate) fn new(session: &Arc<Session>, asked: CopyAsked, work: CopyWork, origin: Option<AsGiven>) -> Self {
        Self { asked, origin, session: session.clone(), work }
    }
}

/// A fill.
pub struct FillNode {
    pub request: FillRequest,
    pub session: Arc<Session>,
    pub(crate) fill: Fill,
}

impl FillNode {
    pub(crate) fn new(session: &Arc<Session>, request: FillRequest, fill: Fill) -> Self {
        Self { request, session: session.clone(), fill }
    }
}

/// Operations on words of memory.
pub struct BatchNode {
    pub operations: Vec<WordOperation>,
    pub origin: AsGiven,
    pub session: Arc<Session>,
}

fn nothing(what: &str) -> Error {
    Error::invalid(format!("a node that {what} nothing"))
}

impl Runtime {
    /// The session of a context, or the current one.
    pub fn session_of(&self, context: Option<Handle<Context>>) -> Result<Arc<Session>> {
        match context {
            None => self.session(),
            Some(context) => {
                let session = self.contexts.get(context)?.session()?;
                session.check()?;
                Ok(session)
            }
        }
    }

    /// Checks what a node is asked to do, and makes the graphs that belong to it.
    pub(crate) fn body(&self, graph: Handle<Graph>, request: NodeRequest) -> Result<Body> {
        Ok(match request {
            NodeRequest::Kernel { what, context, request } => {
                let session = match what {
                    Launchable::Function(function) => {
                        self.modules.get(self.functions.get(function)?.module)?.session.clone()
                    }
                    Launchable::Kernel(_) => self.session_of(context)?,
                };
                let part = match context {
                    Some(context) => Some(self.contexts.get(context)?.part.clone()),
                    None => self.scope().ok().filter(|(current, _)| current.id == session.id).map(|(_, part)| part),
                };
                let processors = part.and_then(|part| part.processors.clone());
                Body::Kernel(Arc::new(KernelNode::new(self, what, &session, request, processors)?))
            }
            NodeRequest::Copy { asked, origin, context } => {
                let session = self.session_of(context)?;
                let work = self.prepare_any(&session, &asked)?.ok_or_else(|| nothing("copies"))?;
                Body::Copy(Arc::new(CopyNode::new(&session, asked, work, origin)))
            }
            NodeRequest::Fill { request, context } => {
                let session = self.session_of(context)?;
                let fill = self.prepare_fill(&request)?.ok_or_else(|| nothing("fills"))?;
                Body::Fill(Arc::new(FillNode::new(&session, request, fill)))
            }
            NodeRequest::Host(call) => Body::Host(call),
            NodeRequest::Child { graph: child, moved } => Body::Child(self.child(graph, child, moved)?),
            NodeRequest::Empty => Body::Empty,
            NodeRequest::EventRecord(event) => {
                self.events.get(event)?;
                Body::EventRecord(event)
            }
            NodeRequest::EventWait(event) => {
                self.events.get(event)?;
                Body::EventWait(event)
            }
            NodeRequest::Allocate { device, bytes } => {
                Body::Allocate(self.graph_block(&*session_on(self, device)?, bytes)?)
            }
            NodeRequest::Free(start) => Body::Free(self.graphs.blocks.find(start)?),
            NodeRequest::Batch { operations, origin, context } => {
                let session = self.session_of(context)?;
                self.check_words(&session, &operations)?;
                Body::Batch(Arc::new(BatchNode { operations, origin, session }))
            }
            NodeRequest::Conditional { handle, kind, bodies } => {
                Body::Conditional(Arc::new(self.conditional(graph, handle, kind, bodies)?))
            }
        })
    }

    fn child(&self, parent: Handle<Graph>, child: Handle<Graph>, moved: bool) -> Result<Handle<Graph>> {
        let found = self.graph(child)?;
        if parent == child {
            return Err(Error::invalid("a graph cannot be a child of itself"));
        }
        if !moved {
            return self.copy_graph(child, true);
        }
        if found.lock().embedded {
            return Err(Error::invalid("the graph belongs to another node"));
        }
        if self.has_node(child, &|body| matches!(body, Body::Conditional(_)))? {
            return Err(Error::NotSupported("conditional nodes in a child graph".into()));
        }
        found.lock().embedded = true;
        Ok(child)
    }

    /// What a node of one kind becomes.
    pub(crate) fn replacement(&self, graph: Handle<Graph>, old: &Body, request: NodeRequest) -> Result<Body> {
        let same = match (&request, old.kind()) {
            (NodeRequest::Kernel { .. }, kind) => kind == NodeType::Kernel,
            (NodeRequest::Copy { .. }, kind) => kind == NodeType::Copy,
            (NodeRequest::Fill { .. }, kind) => kind == NodeType::Fill,
            (NodeRequest::Host(_), kind) => kind == NodeType::Host,
            (NodeRequest::EventRecord(_), kind) => kind == NodeType::EventRecord,
            (NodeRequest::EventWait(_), kind) => kind == NodeType::EventWait,
            (NodeRequest::Batch { .. }, kind) => kind == NodeType::Batch,
            (
                NodeRequest::Child { .. }
                | NodeRequest::Empty
                | NodeRequest::Allocate { .. }
                | NodeRequest::Free(_)
                | NodeRequest::Conditional { .. },
                _,
            ) => false,
        };
        if !same {
            return Err(Error::invalid("the node is of another kind, or one that cannot be changed"));
        }
        match (self.body(graph, request)?, old) {
            // Attributes are changed on their own.
            (Body::Kernel(new), Body::Kernel(old)) if new.request().attributes.is_empty() => {
                let mut changed = new.copied();
                changed.request_mut().attributes = old.request().attributes.clone();
                changed.request_mut().cooperative = old.request().cooperative;
                if changed.info().required_cluster == [0; 3] {
                    changed.request_mut().cluster = old.request().cluster;
                }
                Ok(Body::Kernel(Arc::new(changed)))
            }
            (body, _) => Ok(body),
        }
    }
}
