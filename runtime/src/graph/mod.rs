//! Graphs: work that is described once and run many times.
//!
//! A `Graph` is a directed acyclic graph of nodes; what a node does is its `Body`. Handles of graphs, nodes and executable
//! graphs are checked by generation. A child graph and the bodies of a conditional node are graphs of their own that belong
//! to the node. A node is checked when it is made: a kernel's parameters are copied by its layout, a copy's addresses are
//! looked up, memory of an allocation node has its address from then on.
//!
//! An `Executable` is a snapshot of a graph, with a plan made of it: child graphs are laid out flat, and nodes are put on
//! tracks so that independent branches can run at the same time. A launch puts the plan's segments into lanes: the first
//! track is the stream's own lane, the others are the executable's. In the stream the launch is one unit, and a launch
//! waits for the last one of the same executable. A change of the executable makes a new plan; launches under way keep
//! theirs.
//!
//! A conditional node reads its condition, a word of device memory whose address is the handle that kernels get, and runs a
//! body as often as that says, inside of one operation.
//!
//! On a device that works on its own a launch of a graph of short kernels, copies, fills and events goes another way: all of it is handed
//! over in the stream's lane (`series`). What is long or unknown, and what the host has a part in, goes by tracks as ever.
//!
//! Absent: external semaphores, nodes of several devices in one graph, launches by kernels.

mod condition;
mod dot;
mod exec;
mod memory;
mod node;
mod object;
mod order;
mod plan;
mod series;
mod snapshot;
mod update;

pub use condition::{BranchKind, Condition, Conditional};
pub use dot::DotDetail;
pub use exec::Executable;
pub(crate) use memory::Blocks;
pub use memory::{Block, GraphMemory};
pub use node::{AsGiven, Attributes, BatchNode, Body, CopyNode, FillNode, HostCall, KernelNode, NodeRequest, NodeType};
use object::Retained;
pub use object::UserObject;
pub(crate) use series::Series;
pub use snapshot::InstantiateError;
pub use update::{UpdateProblem, UpdateReport};

use crate::handle::{Handle, Kind, Table};
use crate::{Error, Result, Runtime};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// What an edge says beside its ends; plain ones are all 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Edge {
    pub from_port: u8,
    pub to_port: u8,
    pub kind: u8,
}

impl Edge {
    const PROGRAMMATIC: u8 = 1;

    /// As programs see it.
    pub fn bytes(self) -> [u8; 8] {
        [self.from_port, self.to_port, self.kind, 0, 0, 0, 0, 0]
    }

    /// Programmatic edges are for kernels. Here they are as full as the others.
    fn check(self, from: &Body, to: &Body) -> Result<()> {
        let kernels = matches!((from, to), (Body::Kernel(_), Body::Kernel(_)));
        match self {
            Self { from_port: 0, to_port: 0, kind: 0 } => Ok(()),
            Self { from_port: 1 | 2, to_port: 0, kind: Self::PROGRAMMATIC } if kernels => Ok(()),
            _ => Err(Error::invalid(format!("an edge of {self:?} between these nodes"))),
        }
    }
}

/// A node that another depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dependency {
    pub node: Handle<Node>,
    pub edge: Edge,
}

/// Where a node is found.
pub struct Node {
    pub graph: Handle<Graph>,
    serial: u64,
}

pub struct Graph {
    state: Mutex<State>,
}

impl Kind for Graph {
    const TAG: u8 = 0x47;
    const NAME: &'static str = "graph";
}
impl Kind for Node {
    const TAG: u8 = 0x4e;
    const NAME: &'static str = "graph node";
}

/// A node in its graph.
struct Entry {
    handle: Handle<Node>,
    body: Body,
    before: Vec<(u64, Edge)>,
    after: Vec<u64>,
    /// The node that it is a copy of.
    original: Option<Handle<Node>>,
}

#[derive(Default)]
struct State {
    /// In the order of their creation.
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// It is a child graph or a body, and goes with its node.
    embedded: bool,
    original: Option<Handle<Graph>>,
    conditions: Vec<Arc<Condition>>,
    objects: BTreeMap<u64, Retained>,
    /// The executable made of it last.
    instance: Weak<Executable>,
}

/// The tables of all that has to do with graphs.
#[derive(Default)]
pub(crate) struct Graphs {
    graphs: Table<Graph>,
    nodes: Table<Node>,
    executables: Table<Executable>,
    objects: Table<UserObject>,
    pub(crate) blocks: Blocks,
}

impl Graph {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    fn entry(&self, serial: u64) -> Result<&Entry> {
        self.entries.get(&serial).ok_or(Error::InvalidHandle(Node::NAME))
    }

    fn entry_mut(&mut self, serial: u64) -> Result<&mut Entry> {
        self.entries.get_mut(&serial).ok_or(Error::InvalidHandle(Node::NAME))
    }

    fn unlink(&mut self, from: u64, to: u64) {
        if let Some(entry) = self.entries.get_mut(&from) {
            entry.after.retain(|&serial| serial != to);
        }
        if let Some(entry) = self.entries.get_mut(&to) {
            entry.before.retain(|&(serial, _)| serial != from);
        }
    }

    fn dependency(&self, (serial, edge): (u64, Edge)) -> Option<Dependency> {
        Some(Dependency { node: self.entries.get(&serial)?.handle, edge })
    }
}

impl Runtime {
    pub fn create_graph(&self) -> Handle<Graph> {
        self.new_graph(false)
    }

    fn new_graph(&self, embedded: bool) -> Handle<Graph> {
        let state = Mutex::new(State { embedded, ..State::default() });
        self.graphs.graphs.insert(Arc::new(Graph { state }))
    }

    fn graph(&self, graph: Handle<Graph>) -> Result<Arc<Graph>> {
        self.graphs.graphs.get(graph)
    }

    /// The graph of a node, and the node's place in it.
    fn found(&self, node: Handle<Node>) -> Result<(Arc<Graph>, u64)> {
        let node = self.graphs.nodes.get(node)?;
        Ok((self.graph(node.graph)?, node.serial))
    }

    /// Fails where a graph is no graph.
    pub fn check_graph(&self, graph: Handle<Graph>) -> Result<()> {
        self.graph(graph).map(drop)
    }

    pub fn destroy_graph(&self, graph: Handle<Graph>) -> Result<()> {
        if self.graph(graph)?.lock().embedded {
            return Err(Error::invalid("the graph belongs to a node and goes with it"));
        }
        if self.captures.uses(graph) {
            return Err(Error::IllegalState("the graph is being captured into".into()));
        }
        self.remove_graph(graph)
    }

    fn remove_graph(&self, graph: Handle<Graph>) -> Result<()> {
        let graph = self.graphs.graphs.remove(graph)?;
        let state = std::mem::take(&mut *graph.lock());
        for entry in state.entries.into_values() {
            self.graphs.nodes.remove(entry.handle)?;
            self.remove_embedded(&entry.body)?;
        }
        Ok(())
    }

    fn remove_embedded(&self, body: &Body) -> Result<()> {
        body.embedded().iter().try_for_each(|&graph| self.remove_graph(graph))
    }

    /// The places of nodes in a graph, each once.
    fn serials(&self, graph: Handle<Graph>, dependencies: &[Dependency]) -> Result<Vec<(u64, Edge)>> {
        let mut serials: Vec<(u64, Edge)> = Vec::with_capacity(dependencies.len());
        for dependency in dependencies {
            let node = self.graphs.nodes.get(dependency.node)?;
            if node.graph != graph {
                return Err(Error::invalid("a dependency on a node of another graph"));
            }
            serials.push((node.serial, dependency.edge));
        }
        let mut sorted: Vec<u64> = serials.iter().map(|&(serial, _)| serial).collect();
        sorted.sort_unstable();
        match sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(Error::invalid("a node is named twice")),
            false => Ok(serials),
        }
    }

    /// Fails where nodes are not of that graph.
    pub(crate) fn check_dependencies(&self, graph: Handle<Graph>, dependencies: &[Dependency]) -> Result<()> {
        self.check_graph(graph)?;
        self.serials(graph, dependencies).map(drop)
    }

    /// Adds a node and says which it is; see `node_body` for what else it has.
    pub fn add_node(
        &self,
        graph: Handle<Graph>,
        dependencies: &[Dependency],
        request: NodeRequest,
    ) -> Result<Handle<Node>> {
        self.check_dependencies(graph, dependencies)?;
        let body = self.body(graph, request)?;
        let added = self.insert_node(graph, dependencies, body.clone());
        if added.is_err() {
            self.remove_embedded(&body)?;
        }
        added
    }

    pub(crate) fn insert_node(
        &self,
        graph: Handle<Graph>,
        dependencies: &[Dependency],
        body: Body,
    ) -> Result<Handle<Node>> {
        let found = self.graph(graph)?;
        let before = self.serials(graph, dependencies)?;
        let mut state = found.lock();
        if state.embedded && matches!(body, Body::Allocate(_) | Body::Free(_)) {
            return Err(Error::NotSupported("memory nodes in a graph that belongs to a node".into()));
        }
        if let Body::Free(block) = &body {
            let same = |entry: &Entry| matches!(&entry.body, Body::Free(other) if Arc::ptr_eq(other, block));
            if state.entries.values().any(same) {
                return Err(Error::invalid("the graph frees that memory already"));
            }
        }
        for &(serial, edge) in &before {
            edge.check(&state.entry(serial)?.body, &body)?;
        }
        let serial = state.next;
        state.next += 1;
        let handle = self.graphs.nodes.insert(Arc::new(Node { graph, serial }));
        for (from, _) in &before {
            state.entry_mut(*from)?.after.push(serial);
        }
        state.entries.insert(serial, Entry { handle, body, before, after: Vec::new(), original: None });
        Ok(handle)
    }

    /// What a node does.
    pub fn node_body(&self, node: Handle<Node>) -> Result<Body> {
        let (graph, serial) = self.found(node)?;
        let state = graph.lock();
        Ok(state.entry(serial)?.body.clone())
    }

    /// Changes what a node does, not of what kind it is.
    pub fn set_node(&self, node: Handle<Node>, request: NodeRequest) -> Result<()> {
        let place = self.graphs.nodes.get(node)?;
        let old = self.node_body(node)?;
        let body = self.replacement(place.graph, &old, request)?;
        self.put_body(node, body)
    }

    /// Changes the attributes of a kernel node.
    pub fn set_node_attributes(&self, node: Handle<Node>, change: impl FnOnce(&mut KernelNode)) -> Result<()> {
        match self.node_body(node)? {
            Body::Kernel(kernel) => {
                let mut changed = kernel.copied();
                change(&mut changed);
                self.put_body(node, Body::Kernel(Arc::new(changed)))
            }
            _ => Err(Error::invalid("not a kernel node")),
        }
    }

    fn put_body(&self, node: Handle<Node>, body: Body) -> Result<()> {
        let (graph, serial) = self.found(node)?;
        graph.lock().entry_mut(serial)?.body = body;
        Ok(())
    }

    pub fn destroy_node(&self, node: Handle<Node>) -> Result<()> {
        let (graph, serial) = self.found(node)?;
        let mut state = graph.lock();
        let entry = state.entry(serial)?;
        if matches!(entry.body, Body::Allocate(_) | Body::Free(_)) {
            return Err(Error::NotSupported("memory nodes stay as long as their graph".into()));
        }
        let (before, after) = (entry.before.clone(), entry.after.clone());
        before.iter().for_each(|&(from, _)| state.unlink(from, serial));
        after.iter().for_each(|&to| state.unlink(serial, to));
        let entry = state.entries.remove(&serial);
        drop(state);
        self.graphs.nodes.remove(node)?;
        entry.map_or(Ok(()), |entry| self.remove_embedded(&entry.body))
    }

    /// The nodes of a graph, in the order of their creation.
    pub fn graph_nodes(&self, graph: Handle<Graph>) -> Result<Vec<Handle<Node>>> {
        let graph = self.graph(graph)?;
        let state = graph.lock();
        Ok(state.entries.values().map(|entry| entry.handle).collect())
    }

    /// Those of them that depend on nothing.
    pub fn graph_roots(&self, graph: Handle<Graph>) -> Result<Vec<Handle<Node>>> {
        let graph = self.graph(graph)?;
        let state = graph.lock();
        Ok(state.entries.values().filter(|entry| entry.before.is_empty()).map(|entry| entry.handle).collect())
    }

    /// The edges, each as the node that it leads to and where it comes from.
    pub fn graph_edges(&self, graph: Handle<Graph>) -> Result<Vec<(Handle<Node>, Dependency)>> {
        let graph = self.graph(graph)?;
        let state = graph.lock();
        let mut edges = Vec::new();
        for entry in state.entries.values() {
            let before = entry.before.iter().filter_map(|&before| state.dependency(before));
            edges.extend(before.map(|before| (entry.handle, before)));
        }
        Ok(edges)
    }

    /// What a node depends on.
    pub fn node_dependencies(&self, node: Handle<Node>) -> Result<Vec<Dependency>> {
        let (graph, serial) = self.found(node)?;
        let state = graph.lock();
        Ok(state.entry(serial)?.before.iter().filter_map(|&before| state.dependency(before)).collect())
    }

    /// What depends on a node.
    pub fn node_dependents(&self, node: Handle<Node>) -> Result<Vec<Dependency>> {
        let (graph, serial) = self.found(node)?;
        let state = graph.lock();
        let edge = |to: &u64| {
            let entry = state.entries.get(to)?;
            let (_, edge) = *entry.before.iter().find(|(from, _)| *from == serial)?;
            Some(Dependency { node: entry.handle, edge })
        };
        Ok(state.entry(serial)?.after.iter().filter_map(edge).collect())
    }

    /// Adds edges, or none of them. Whether there is a cycle is found when the graph is instantiated.
    pub fn add_edges(&self, graph: Handle<Graph>, edges: &[(Handle<Node>, Dependency)]) -> Result<()> {
        let found = self.graph(graph)?;
        let edges = self.edge_serials(graph, edges)?;
        let mut state = found.lock();
        for (index, &(to, (from, edge))) in edges.iter().enumerate() {
            let entry = state.entry(to)?;
            let again = edges[..index].iter().any(|&(other, (source, _))| (other, source) == (to, from));
            if from == to || again || entry.before.iter().any(|&(source, _)| source == from) {
                return Err(Error::invalid("an edge from a node to itself, or one that is there already"));
            }
            edge.check(&state.entry(from)?.body, &entry.body)?;
        }
        for (to, (from, edge)) in edges {
            state.entry_mut(to)?.before.push((from, edge));
            state.entry_mut(from)?.after.push(to);
        }
        Ok(())
    }

    /// Removes edges, or none of them. One without an edge's words stands for any.
    pub fn remove_edges(
        &self,
        graph: Handle<Graph>,
        edges: &[(Handle<Node>, Dependency)],
        any_edge: bool,
    ) -> Result<()> {
        let found = self.graph(graph)?;
        let edges = self.edge_serials(graph, edges)?;
        let mut state = found.lock();
        for &(to, (from, edge)) in &edges {
            let known = |&(source, known): &(u64, Edge)| source == from && (any_edge || known == edge);
            if !state.entry(to)?.before.iter().any(known) {
                return Err(Error::invalid("there is no such edge"));
            }
        }
        edges.iter().for_each(|&(to, (from, _))| state.unlink(from, to));
        Ok(())
    }

    fn edge_serials(
        &self,
        graph: Handle<Graph>,
        edges: &[(Handle<Node>, Dependency)],
    ) -> Result<Vec<(u64, (u64, Edge))>> {
        let serial = |node: Handle<Node>| {
            let node = self.graphs.nodes.get(node)?;
            if node.graph == graph { Ok(node.serial) } else { Err(Error::invalid("a node of another graph")) }
        };
        edges.iter().map(|(to, from)| Ok((serial(*to)?, (serial(from.node)?, from.edge)))).collect()
    }

    /// Whether a graph or a child of it has a node of some kind.
    fn has_node(&self, graph: Handle<Graph>, wanted: &dyn Fn(&Body) -> bool) -> Result<bool> {
        let graph = self.graph(graph)?;
        let state = graph.lock();
        for entry in state.entries.values() {
            let within = match &entry.body {
                Body::Child(child) => self.has_node(*child, wanted)?,
                _ => false,
            };
            if within || wanted(&entry.body) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Memory and conditions exist once, so that a graph with them cannot be copied.
    fn is_single(&self, graph: Handle<Graph>) -> Result<bool> {
        self.has_node(graph, &|body| matches!(body, Body::Allocate(_) | Body::Free(_) | Body::Conditional(_)))
    }

    /// A graph with the same nodes.
    pub fn clone_graph(&self, graph: Handle<Graph>) -> Result<Handle<Graph>> {
        self.copy_graph(graph, false)
    }

    /// A copy that belongs to a node, or to the program.
    fn copy_graph(&self, source: Handle<Graph>, embedded: bool) -> Result<Handle<Graph>> {
        let from = self.graph(source)?;
        if self.is_single(source)? {
            return Err(Error::NotSupported("copies of graphs with memory or conditional nodes".into()));
        }
        let from = from.lock();
        let copy = self.new_graph(embedded);
        let copied = self.graph(copy)?;
        let mut to = copied.lock();
        to.original = Some(source);
        to.next = from.next;
        to.objects = from.objects.clone();
        for (&serial, entry) in &from.entries {
            let body = match &entry.body {
                Body::Child(child) => Body::Child(self.copy_graph(*child, true)?),
                other => other.clone(),
            };
            let handle = self.graphs.nodes.insert(Arc::new(Node { graph: copy, serial }));
            let (before, after) = (entry.before.clone(), entry.after.clone());
            to.entries.insert(serial, Entry { handle, body, before, after, original: Some(entry.handle) });
        }
        Ok(copy)
    }

    /// The node of a clone that stands for one of the graph that was cloned.
    pub fn find_in_clone(&self, node: Handle<Node>, clone: Handle<Graph>) -> Result<Handle<Node>> {
        let graph = self.graphs.nodes.get(node)?.graph;
        let clone = self.graph(clone)?;
        let state = clone.lock();
        let found = state.entries.values().find(|entry| entry.original == Some(node));
        let found = found.filter(|_| state.original == Some(graph));
        found.map(|entry| entry.handle).ok_or_else(|| Error::invalid("the clone has no such node"))
    }

    /// Whether every one of `nodes` is in `ends` or comes before one of them.
    pub(crate) fn all_before(
        &self,
        graph: Handle<Graph>,
        ends: &[Handle<Node>],
        nodes: &[Handle<Node>],
    ) -> Result<bool> {
        let found = self.graph(graph)?;
        let serial = |&node: &Handle<Node>| Some(self.graphs.nodes.get(node).ok()?.serial);
        let state = found.lock();
        let mut open: Vec<u64> = ends.iter().filter_map(serial).collect();
        let mut seen: std::collections::HashSet<u64> = open.iter().copied().collect();
        while let Some(serial) = open.pop() {
            for &(before, _) in &state.entry(serial)?.before {
                if seen.insert(before) {
                    open.push(before);
                }
            }
        }
        Ok(nodes.iter().filter_map(serial).all(|serial| seen.contains(&serial)))
    }
}
