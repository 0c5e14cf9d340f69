//! Conditions: words of device memory that kernels set and conditional nodes read.

use crate::graph::Graph;
use crate::handle::Handle;
use crate::memory::{Memory, Owner};
use crate::session::Session;
use crate::{Error, Result, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A condition. Its handle is the address of the word.
pub struct Condition {
    pub address: u64,
    /// What it is when a graph is launched, where launches set it.
    pub default: Option<u32>,
    pub(crate) session: Arc<Session>,
    taken: AtomicBool,
    id: u64,
    memory: Arc<Memory>,
}

impl Drop for Condition {
    fn drop(&mut self) {
        let ours = |id| if id == self.id { Ok(()) } else { Err(Error::invalid("another allocation")) };
        if let Ok(allocation) = self.memory.forget(self.address, |allocation| ours(allocation.id)) {
            self.memory.release(&allocation);
        }
    }
}

/// What a conditional node does with its condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BranchKind {
    /// The first body where it is not 0, else the second if there is one.
    If,
    /// The body as long as it is not 0.
    While,
    /// The body of that number, if there is one.
    Switch,
}

/// A conditional node.
pub struct Conditional {
    pub condition: Arc<Condition>,
    pub kind: BranchKind,
    pub bodies: Vec<Handle<Graph>>,
    /// The handles of the bodies as programs see them.
    shown: Vec<u64>,
}

impl Conditional {
    /// The address of an array with the handles of the bodies.
    pub fn shown(&self) -> u64 {
        self.shown.as_ptr().expose_provenance() as u64
    }
}

const WORD: u64 = 4;

impl Runtime {
    /// A condition for a graph; its handle is returned.
    pub fn create_condition(&self, graph: Handle<Graph>, session: Arc<Session>, default: Option<u32>) -> Result<u64> {
        let graph = self.graph(graph)?;
        let device = session.device.index;
        let address = self.memory.allocate(device, Owner::system(session.id), WORD, "the condition of a graph")?;
        let id = self.memory.find(address).map_or(0, |allocation| allocation.id);
        let (taken, memory) = (AtomicBool::new(false), self.memory.clone());
        let condition = Condition { address, default, session, taken, id, memory };
        graph.lock().conditions.push(Arc::new(condition));
        Ok(address)
    }

    /// A conditional node of a graph, with empty bodies.
    pub(crate) fn conditional(
        &self,
        graph: Handle<Graph>,
        handle: u64,
        kind: BranchKind,
        count: u32,
    ) -> Result<Conditional> {
        let right = match kind {
            BranchKind::If => (1..=2).contains(&count),
            BranchKind::While => count == 1,
            BranchKind::Switch => count >= 1,
        };
        if !right {
            return Err(Error::invalid(format!("a conditional node with {count} bodies")));
        }
        let graph = self.graph(graph)?;
        let condition = graph.lock().conditions.iter().find(|condition| condition.address == handle).cloned();
        let condition = condition.ok_or_else(|| Error::invalid("the condition is not one of this graph"))?;
        if condition.taken.swap(true, Ordering::Relaxed) {
            return Err(Error::invalid("the condition has a node already"));
        }
        let bodies: Vec<Handle<Graph>> = (0..count).map(|_| self.new_graph(true)).collect();
        let shown = bodies.iter().map(|body| body.bits()).collect();
        Ok(Conditional { condition, kind, bodies, shown })
    }
}

impl Condition {
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed)
    }
}
