//! An executable takes over what the nodes of another graph of the same form do.

use super::order::from_the_ends;
use super::snapshot::{Snapshot, SnapshotNode};
use super::{Body, Executable, Graph, Node};
use crate::handle::Handle;
use crate::system::CopyWork;
use crate::{Error, Result, Runtime};

/// Why an executable cannot take something over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateProblem {
    Topology,
    NodeType,
    Parameters,
    NotSupported,
    Function,
}

/// What is wrong, and with which node of the new graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpdateReport {
    pub problem: UpdateProblem,
    pub node: Option<Handle<Node>>,
}

fn problem(problem: UpdateProblem, node: Option<Handle<Node>>) -> UpdateReport {
    UpdateReport { problem, node }
}

fn is_box(copy: &CopyWork) -> bool {
    copy.shape().rows > 1 || copy.shape().slices > 1
}

impl Body {
    /// Whether it copies several rows. Neither alone nor with its graph is such a copy changed by NVIDIA's driver.
    pub(super) fn is_box_copy(&self) -> bool {
        matches!(self, Self::Copy(copy) if is_box(&copy.work))
    }

    /// Whether a node of an executable can become that.
    pub(super) fn may_become(&self, new: &Self) -> std::result::Result<(), UpdateProblem> {
        let refuse = |refused| if refused { Err(UpdateProblem::Parameters) } else { Ok(()) };
        match (self, new) {
            (Self::Kernel(old), Self::Kernel(new)) if old.session().id != new.session().id => {
                Err(UpdateProblem::Function)
            }
            (Self::Kernel(_), Self::Kernel(_)) => Ok(()),
            (Self::Copy(old), Self::Copy(new)) => {
                let (a, b) = (&old.work, &new.work);
                let ((a_to, a_from), (b_to, b_from)) = (a.places(), b.places());
                let alike = a_to.is_like(b_to) && a_from.is_like(b_from);
                let boxes = is_box(a) || is_box(b);
                let same = a.shape() == b.shape() && a_to.is(b_to) && a_from.is(b_from);
                refuse(!alike || boxes && !same || old.session.id != new.session.id)
            }
            (Self::Fill(old), Self::Fill(new)) => {
                let flat = |fill: &hetgpu_device::Fill| fill.rows <= 1;
                let (a, b) = (&old.fill, &new.fill);
                let same = (a.rows, a.count, a.pitch) == (b.rows, b.count, b.pitch);
                refuse(!(same || flat(a) && flat(b)) || old.session.id != new.session.id)
            }
            (Self::Host(_), Self::Host(_))
            | (Self::Child(_), Self::Child(_))
            | (Self::Empty, Self::Empty)
            | (Self::EventRecord(_), Self::EventRecord(_))
            | (Self::EventWait(_), Self::EventWait(_)) => Ok(()),
            (Self::Batch(old), Self::Batch(new)) => refuse(old.operations.len() != new.operations.len()),
            (Self::Allocate(old), Self::Allocate(new)) | (Self::Free(old), Self::Free(new)) => {
                if std::sync::Arc::ptr_eq(old, new) { Ok(()) } else { Err(UpdateProblem::NotSupported) }
            }
            (Self::Conditional(old), Self::Conditional(new)) => {
                let same = old.condition.address == new.condition.address && old.kind == new.kind;
                refuse(!same || old.bodies.len() != new.bodies.len())
            }
            _ => Err(UpdateProblem::NodeType),
        }
    }
}

impl Snapshot {
    /// The same graph with what the nodes of another do.
    pub(super) fn updated(&self, new: &Self) -> std::result::Result<Self, UpdateReport> {
        if self.nodes.len() != new.nodes.len() {
            return Err(problem(UpdateProblem::Topology, None));
        }
        let (ours, theirs) = (from_the_ends(&self.nodes), from_the_ends(&new.nodes));
        if theirs.len() != new.nodes.len() || ours.len() != theirs.len() {
            return Err(problem(UpdateProblem::Topology, None));
        }
        let (our_place, their_place) = (places(&ours), places(&theirs));
        for (&ours, &theirs) in ours.iter().zip(&theirs) {
            let before = |node: &SnapshotNode, places: &[usize]| -> Vec<_> {
                node.before.iter().map(|&(from, edge)| (places[from], edge)).collect()
            };
            let (old, new) = (&self.nodes[ours], &new.nodes[theirs]);
            if before(old, &our_place) != before(new, &their_place) {
                return Err(problem(UpdateProblem::Topology, Some(new.handle)));
            }
        }
        let mut updated = self.clone();
        for (&ours, &theirs) in ours.iter().zip(&theirs) {
            let (old, new) = (&mut updated.nodes[ours], &new.nodes[theirs]);
            old.body.may_become(&new.body).map_err(|what| problem(what, Some(new.handle)))?;
            if old.inner.len() != new.inner.len() {
                return Err(problem(UpdateProblem::Parameters, Some(new.handle)));
            }
            for (old, new) in old.inner.iter_mut().zip(&new.inner) {
                *old = old.updated(new)?;
            }
            old.body = new.body.clone();
        }
        Ok(updated)
    }
}

/// The place of each node in an order.
fn places(order: &[usize]) -> Vec<usize> {
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &index)| places[index] = place);
    places
}

impl Runtime {
    /// Changes an executable to what a graph is now; a report says why that cannot be.
    pub fn update_executable(
        &self,
        executable: Handle<Executable>,
        graph: Handle<Graph>,
    ) -> Result<Option<UpdateReport>> {
        let executable = self.graphs.executables.get(executable)?;
        if self.graph(graph)?.lock().embedded {
            return Err(Error::invalid("the graph belongs to a node"));
        }
        let new = self.snapshot(graph)?;
        let mut state = executable.lock();
        match state.snapshot.updated(&new) {
            Ok(updated) => {
                state.snapshot = updated;
                state.plan = None;
                Ok(None)
            }
            Err(report) => Ok(Some(report)),
        }
    }
}
