//! Steps that are launched as one graph of the driver's.
//!
//! They are put together by noting what a stream of its own is given, so that copies, fills and launches are those of any queue. A
//! graph's parameters stay what they were. So there is none of a kernel that reads the number of its launch; and constants, which are
//! brought to where kernels read them in front of a launch, are brought there in front of the whole, so that there is none whose steps
//! write any.

use crate::device::Inner;
use crate::driver::{Graph, Node};
use crate::kernels::{Form, Kernel};
use crate::ptx::Hidden;
use crate::queue::{Line, Pending};
use hetgpu_device::{Assembly, DeviceError, Fill, Place, Step, Transfer, Work};
use std::ops::Range;
use std::sync::Arc;

/// Steps as a graph.
pub(crate) struct Assembled {
    pub(crate) graph: Graph,
    /// Each once.
    pub(crate) kernels: Vec<Arc<Kernel>>,
    /// Memory that copies and fills write.
    pub(crate) writes: Vec<Range<u64>>,
    /// Host memory that copies use, and memory between copies.
    _kept: Vec<Pending>,
}

impl Assembly for Assembled {}

impl Assembled {
    /// For a person: the kernels that it may be about.
    pub(crate) fn name(&self) -> String {
        let names: Vec<&str> = self.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        format!("a graph of {}", names.join(", "))
    }
}

/// The memory that a step writes, but for what kernels write.
fn written(work: &Work) -> Option<Range<u64>> {
    let (at, bytes) = match work {
        Work::Copy(Transfer { to: Place::Device(at), shape, .. }) => (*at, shape.to_span()?),
        Work::Fill(Fill { at, pattern, count, rows, pitch }) => {
            let row = (pattern.bytes().len() as u64).checked_mul(*count)?;
            (*at, rows.saturating_sub(1).checked_mul(*pitch)?.checked_add(row)?)
        }
        Work::Copy(_) | Work::Launch(_) => return None,
    };
    Some(at..at.checked_add(bytes)?)
}

/// What is put together of steps; none where they have to be done one by one.
pub(crate) fn assemble(inner: &Arc<Inner>, steps: &[Step]) -> Result<Option<Assembled>, DeviceError> {
    let mut kernels: Vec<Arc<Kernel>> = Vec::new();
    for step in steps {
        step.work.check()?;
        let Work::Launch(launch) = &step.work else { continue };
        if launch.stop != 0 || launch.workspace != 0 || launch.heap.is_some() || !launch.blocks.are_all() {
            return Ok(None);
        }
        // Compiled before notes are taken.
        let kernel = inner.loaded(launch.module)?.kernel(launch.kernel, Form::WHOLE, &inner.compiler)?;
        if kernel.printed.hidden.iter().any(|(hidden, _)| matches!(hidden, Hidden::GridId)) {
            return Ok(None);
        }
        if kernels.iter().all(|known| known.id != kernel.id) {
            kernels.push(kernel);
        }
    }
    let writes: Vec<Range<u64>> = steps.iter().filter_map(|step| written(&step.work)).collect();
    if writes.iter().any(|range| kernels.iter().any(|kernel| kernel.reads_constants(range))) {
        return Ok(None);
    }
    let line = Line::new(inner, 0)?;
    kernels.iter().for_each(|kernel| line.knows_constants(kernel));
    let notes = line.stream.take_notes()?;
    let mut kept = Vec::new();
    // Behind each step the nodes that whoever follows it is behind.
    let mut ends: Vec<Vec<Node>> = Vec::with_capacity(steps.len());
    for (number, step) in steps.iter().enumerate() {
        let mut after: Vec<Node> =
            step.after.iter().filter_map(|&before| ends.get(before)).flatten().copied().collect();
        after.sort_unstable();
        after.dedup();
        if number.checked_sub(1).is_some_and(|last| ends[last] != after) {
            notes.follow(&after)?;
        }
        kept.push(line.append(&step.work)?);
        ends.push(notes.ends()?);
    }
    let graph = notes.graph()?;
    kept.iter_mut().for_each(Pending::lands);
    Ok(Some(Assembled { graph, kernels, writes, _kept: kept }))
}
