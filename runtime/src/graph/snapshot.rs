//! A graph as it was when it was instantiated.

use super::order::topological;
use super::{Body, Condition, Edge, Graph, Node};
use crate::handle::Handle;
use crate::{Error, Result, Runtime};
use std::collections::HashMap;
use std::sync::Arc;

/// A graph without its tables.
#[derive(Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) nodes: Vec<SnapshotNode>,
    pub(crate) conditions: Vec<Arc<Condition>>,
}

#[derive(Clone)]
pub(crate) struct SnapshotNode {
    pub(crate) handle: Handle<Node>,
    pub(crate) body: Body,
    /// Indices of what it depends on.
    pub(crate) before: Vec<(usize, Edge)>,
    /// The child graph, or the bodies.
    pub(crate) inner: Vec<Snapshot>,
}

/// Why a graph cannot be instantiated.
#[derive(Clone, Debug)]
pub enum InstantiateError {
    /// There is a cycle.
    Structure(Handle<Node>),
    /// A node that may not stand where it does.
    Operation(Handle<Node>),
    /// A condition without a node.
    UnusedCondition,
    Other(Error),
}

impl From<Error> for InstantiateError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl InstantiateError {
    /// The error that a call answers with.
    pub fn error(&self) -> Error {
        match self {
            Self::Structure(_) => Error::invalid("the graph has a cycle"),
            Self::Operation(_) => Error::invalid("a node that may not stand in the body of a conditional node"),
            Self::UnusedCondition => Error::invalid("the graph has a condition that no node uses"),
            Self::Other(error) => error.clone(),
        }
    }
}

impl Snapshot {
    /// Every node, those of child graphs and bodies too.
    pub(crate) fn each<'s>(&'s self, visit: &mut impl FnMut(&'s SnapshotNode)) {
        for node in &self.nodes {
            visit(node);
            node.inner.iter().for_each(|inner| inner.each(visit));
        }
    }

    pub(crate) fn find_mut(&mut self, handle: Handle<Node>) -> Option<&mut SnapshotNode> {
        for node in &mut self.nodes {
            if node.handle == handle {
                return Some(node);
            }
            if let Some(found) = node.inner.iter_mut().find_map(|inner| inner.find_mut(handle)) {
                return Some(found);
            }
        }
        None
    }

    /// Every condition, those of bodies too.
    pub(crate) fn all_conditions(&self) -> Vec<Arc<Condition>> {
        let mut all = self.conditions.clone();
        for inner in self.nodes.iter().flat_map(|node| &node.inner) {
            all.extend(inner.all_conditions());
        }
        all
    }

    /// What must hold before a plan can be made.
    pub(crate) fn check(&self, in_body: bool) -> std::result::Result<(), InstantiateError> {
        if let Err(stuck) = topological(&self.nodes) {
            return Err(InstantiateError::Structure(self.nodes[stuck].handle));
        }
        if self.conditions.iter().any(|condition| !condition.is_taken()) {
            return Err(InstantiateError::UnusedCondition);
        }
        for node in &self.nodes {
            let allowed = match node.body {
                Body::Kernel(_)
                | Body::Copy(_)
                | Body::Fill(_)
                | Body::Child(_)
                | Body::Empty
                | Body::Conditional(_) => true,
                Body::Host(_)
                | Body::EventRecord(_)
                | Body::EventWait(_)
                | Body::Allocate(_)
                | Body::Free(_)
                | Body::Batch(_) => !in_body,
            };
            if !allowed {
                return Err(InstantiateError::Operation(node.handle));
            }
            let in_body = in_body || matches!(node.body, Body::Conditional(_));
            node.inner.iter().try_for_each(|inner| inner.check(in_body))?;
        }
        Ok(())
    }
}

impl Runtime {
    pub(crate) fn snapshot(&self, graph: Handle<Graph>) -> Result<Snapshot> {
        let graph = self.graph(graph)?;
        let state = graph.lock();
        let indices: HashMap<u64, usize> =
            state.entries.keys().enumerate().map(|(index, &serial)| (serial, index)).collect();
        let mut nodes = Vec::with_capacity(indices.len());
        for entry in state.entries.values() {
            let before = entry.before.iter().filter_map(|(from, edge)| Some((*indices.get(from)?, *edge))).collect();
            let inner = entry.body.embedded().iter().map(|&inner| self.snapshot(inner)).collect::<Result<_>>()?;
            nodes.push(SnapshotNode { handle: entry.handle, body: entry.body.clone(), before, inner });
        }
        Ok(Snapshot { nodes, conditions: state.conditions.clone() })
    }
}
