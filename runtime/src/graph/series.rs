//! Graphs that a device is given without anybody waiting for a step, in parts: an event ends one, and so does a number of steps.
//!
//! What is short and known is handed over as launches are (`queue`), all steps in the stream's own lane: a pause waits for their
//! end, as it does for what else was handed over. Where the device can put the steps together (`Device::assemble`) that is done at the
//! second launch of a plan: a graph that is changed before each launch would pay for it each time.

use super::plan::{Engine, Step};
use super::{CopyNode, FillNode, KernelNode};
use crate::event::Event;
use crate::handle::Handle;
use crate::place::{self, Place};
use crate::session::Session;
use crate::system::{CopyWork, PreparedCopy};
use crate::{Result, launch, log};
use hetgpu_device::{Assembly, Queue, Work};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Nanoseconds that a part takes at most which is handed over.
const MOST: u64 = 5_000_000;
/// Steps of a part at most: what is behind them can wait in a pause.
const MOST_STEPS: usize = 128;

/// A step that can be handed over.
#[derive(Clone)]
enum Short {
    Kernel(Arc<KernelNode>),
    Copy(Arc<CopyNode>),
    Fill(Arc<FillNode>),
}

impl Short {
    fn of(step: &Step) -> Option<Self> {
        match step {
            // A cooperative launch has memory of its own for each time.
            Step::Kernel(kernel) if kernel.prepared.may_follow() && !kernel.request().cooperative => {
                Some(Self::Kernel(Arc::clone(kernel)))
            }
            Step::Copy(copy) if may_follow(&copy.work) => Some(Self::Copy(Arc::clone(copy))),
            Step::Fill(fill) => Some(Self::Fill(Arc::clone(fill))),
            Step::Kernel(_) | Step::Copy(_) | Step::Host(_) | Step::Batch(_) | Step::Set(_) | Step::Branch(_) => None,
        }
    }

    /// Nanoseconds that it takes, where that is known.
    fn guess(&self) -> Option<u64> {
        /// Of what no processor computes, and no host is far from.
        const BYTES_A_NANOSECOND: u64 = 8;
        match self {
            Self::Kernel(kernel) => kernel.prepared.guess(),
            Self::Copy(copy) => {
                let shape = copy.work.shape();
                let rows = shape.rows.saturating_mul(shape.slices);
                Some(shape.row.saturating_mul(rows) / BYTES_A_NANOSECOND)
            }
            Self::Fill(fill) => {
                let row = fill.fill.count.saturating_mul(fill.fill.pattern.bytes().len() as u64);
                Some(row.saturating_mul(fill.fill.rows) / BYTES_A_NANOSECOND)
            }
        }
    }

    fn work(&self, grid_id: u64) -> Result<Work> {
        Ok(match self {
            Self::Kernel(kernel) => Work::Launch(kernel.prepared.as_it_is(0, grid_id)),
            Self::Copy(copy) => {
                let (to, from) = copy.work.places();
                place::work(to, from, copy.work.shape())?
            }
            Self::Fill(fill) => Work::Fill(fill.fill),
        })
    }

    fn submit(&self, queue: &dyn Queue, grid_id: u64) -> Result<()> {
        let submitted = queue.submit(self.work(grid_id)?);
        submitted.map_err(|error| match self {
            Self::Kernel(kernel) => launch::named(error, &kernel.prepared.module).into(),
            Self::Copy(_) | Self::Fill(_) => error.into(),
        })
    }
}

/// Whether nobody but the device has a part in a copy.
fn may_follow(work: &CopyWork) -> bool {
    let CopyWork::Rows(PreparedCopy { to, from, pageable, shape }) = work else { return false };
    let fixed = |place: &Place, pageable: bool| match place {
        Place::Device(_) => true,
        Place::Host(_) => !pageable,
        Place::Elsewhere(..) | Place::Bytes(_) | Place::Staged(..) | Place::Image(..) => false,
    };
    let one = matches!(to, Place::Device(_)) || matches!(from, Place::Device(_));
    one && !shape.is_empty() && fixed(from, pageable.0) && fixed(to, pageable.1)
}

/// What was put together of a part.
#[derive(Default)]
enum Kept {
    #[default]
    Nothing,
    /// It was handed over once.
    Used,
    /// As the device has it; none where it does not take it.
    Assembled(Option<Arc<dyn Assembly>>),
}

/// Steps between two events.
pub(crate) struct Part {
    steps: Vec<Short>,
    /// For each step the numbers of those before it.
    after: Vec<Vec<usize>>,
    /// Events whose last recordings are passed before it begins.
    pub(super) waits: Vec<Handle<Event>>,
    /// The event that is recorded behind it.
    pub(super) record: Option<Handle<Event>>,
    kept: Mutex<Kept>,
}

/// A node of the flat graph, whose numbers in `before` are smaller than its own.
pub(super) struct FlatNode<'n> {
    pub(super) step: Option<&'n Step>,
    pub(super) wait: Option<Handle<Event>>,
    pub(super) record: Option<Handle<Event>>,
    pub(super) before: &'n [usize],
}

/// The parts of a graph, in an order in which they can be done one after the other; none where a step is not of the kind.
pub(super) fn parts<'n>(nodes: impl Iterator<Item = FlatNode<'n>>) -> Option<Vec<Arc<Part>>> {
    let empty =
        || Part { steps: Vec::new(), after: Vec::new(), waits: Vec::new(), record: None, kept: Mutex::default() };
    let mut parts: Vec<Part> = vec![empty()];
    // For each node the part that it is in, and the steps of it that are done when the node is.
    let mut ends: Vec<(usize, Vec<usize>)> = Vec::new();
    for node in nodes {
        let steps = parts.last().map_or(0, |part| part.steps.len());
        if (node.wait.is_some() && steps > 0) || (node.step.is_some() && steps >= MOST_STEPS) {
            parts.push(empty());
        }
        let here = parts.len() - 1;
        let part = parts.last_mut()?;
        part.waits.extend(node.wait);
        // What is in parts before is done anyway.
        let known = node.before.iter().map(|&before| &ends[before]).filter(|(part, _)| *part == here);
        let mut before: Vec<usize> = known.flat_map(|(_, steps)| steps.iter().copied()).collect();
        before.sort_unstable();
        before.dedup();
        if let Some(step) = node.step {
            part.steps.push(Short::of(step)?);
            part.after.push(std::mem::take(&mut before));
            before.push(part.steps.len() - 1);
        }
        ends.push((here, before));
        if node.record.is_some() {
            part.record = node.record;
            parts.push(empty());
        }
    }
    if parts.len() > 1 && parts.last().is_some_and(|part| part.steps.is_empty() && part.waits.is_empty()) {
        parts.pop();
    }
    Some(parts.into_iter().map(Arc::new).collect())
}

impl Part {
    /// Nanoseconds that all of it takes, one step after the other; none where that is not known, or too much.
    fn guess(&self) -> Option<u64> {
        let guess = self.steps.iter().try_fold(0u64, |sum, step| Some(sum.saturating_add(step.guess()?)))?;
        (guess <= MOST).then_some(guess)
    }

    fn assembly(&self, session: &Session, ids: &Engine) -> Result<Option<Arc<dyn Assembly>>> {
        if self.steps.len() < 2 {
            return Ok(None);
        }
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        match &*kept {
            Kept::Assembled(assembly) => return Ok(assembly.clone()),
            Kept::Nothing => {
                *kept = Kept::Used;
                return Ok(None);
            }
            Kept::Used => {}
        }
        let steps = self.steps.iter().zip(&self.after).map(|(step, after)| {
            let work = step.work(ids.ids.fetch_add(1, Ordering::Relaxed))?;
            Ok(hetgpu_device::Step { work, after: after.clone() })
        });
        let steps = steps.collect::<Result<Vec<_>>>()?;
        // What is wrong with a step is said when it is submitted by itself.
        let assembly = session.device.device.assemble(&steps).unwrap_or_else(|error| {
            log::warn(format_args!("the steps of a graph are submitted one by one: {error}"));
            None
        });
        *kept = Kept::Assembled(assembly.clone());
        Ok(assembly)
    }
}

/// What each part takes, where all of it can be handed over.
pub(super) fn guesses(parts: &[Arc<Part>]) -> Option<Vec<u64>> {
    parts.iter().map(|part| part.guess()).collect()
}

/// A part on its way to the device.
pub(crate) struct Series {
    pub(super) part: Arc<Part>,
    pub(super) engine: Arc<Engine>,
    pub(super) session: Arc<Session>,
    /// Nanoseconds that it takes.
    pub(crate) guess: u64,
}

impl Series {
    /// Gives the device all of it.
    pub(crate) fn submit(&self, queue: &dyn Queue) -> Result<()> {
        let Self { part, engine, session, .. } = self;
        match part.assembly(session, engine)? {
            Some(assembly) => Ok(queue.submit_assembly(&assembly)?),
            None => {
                let submit = |step: &Short| step.submit(queue, engine.ids.fetch_add(1, Ordering::Relaxed));
                part.steps.iter().try_for_each(submit)
            }
        }
    }
}
