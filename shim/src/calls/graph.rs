//! Graphs as a whole, their memory, and what they keep.

use super::device::index;
use crate::abi::{Call, Cu, CuContext, CuGraph, CuNode, CuUserObject, HostFunction, Out, Pointer, Text};
use crate::calls::graph_params::optional;
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{DotDetail, Error};

fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, text)
}

pub(crate) fn create(call: &Call, graph: Out<CuGraph>, flags: u32) -> Outcome {
    if flags != 0 || graph.is_null() {
        return Err(wrong("flags must be 0, and the graph is wanted"));
    }
    graph.set(Cu::new(call.runtime()?.create_graph()))
}

pub(crate) fn destroy(call: &Call, graph: CuGraph) -> Outcome {
    Ok(call.runtime()?.destroy_graph(graph.get()?)?)
}

pub(crate) fn clone(call: &Call, clone: Out<CuGraph>, graph: CuGraph) -> Outcome {
    if clone.is_null() {
        return Err(wrong("null for an out parameter"));
    }
    clone.set(Cu::new(call.runtime()?.clone_graph(graph.get()?)?))
}

pub(crate) fn find_in_clone(call: &Call, found: Out<CuNode>, node: CuNode, clone: CuGraph) -> Outcome {
    found.set(Cu::new(call.runtime()?.find_in_clone(node.get()?, clone.get()?)?))
}

pub(crate) fn dot(call: &Call, graph: CuGraph, path: Text, flags: u32) -> Outcome {
    const VERBOSE: u32 = 1;
    let wanted = |bit: u32| flags & (VERBOSE | 1 << bit) != 0;
    let detail = DotDetail {
        kernels: wanted(2),
        copies: wanted(3),
        fills: wanted(4),
        host: wanted(5),
        events: wanted(6),
        kernel_attributes: wanted(9),
        handles: wanted(10),
        allocations: wanted(11),
        frees: wanted(12),
        batches: wanted(13),
        order: wanted(14),
        conditionals: wanted(15),
    };
    let text = call.runtime()?.graph_dot(graph.get()?, detail)?;
    let path = path.get()?;
    std::fs::write(&path, text).map_err(|refused| Error::System(format!("{path}: {refused}")).into())
}

pub(crate) fn create_condition(
    call: &Call,
    handle: Out<u64>,
    graph: CuGraph,
    context: CuContext,
    default: u32,
    flags: u32,
) -> Outcome {
    const ASSIGN: u32 = 1;
    if flags & !ASSIGN != 0 || handle.is_null() {
        return Err(wrong(format!("flags {flags:#x}, or no place for the handle")));
    }
    let context = optional(context)?.ok_or(Code::ERROR_INVALID_CONTEXT)?;
    let runtime = call.runtime()?;
    let session = runtime.session_of(Some(context))?;
    let default = (flags == ASSIGN).then_some(default);
    handle.set(runtime.create_condition(graph.get()?, session, default)?)
}

const USED: u32 = 0;
const USED_HIGH: u32 = 1;
const RESERVED: u32 = 2;
const RESERVED_HIGH: u32 = 3;

/// Nothing is kept for later, so that what is reserved is what is used.
pub(crate) fn memory_attribute(call: &Call, device: i32, attribute: u32, value: Out<u64>) -> Outcome {
    let memory = call.runtime()?.graph_memory(index(device)?)?;
    value.set(match attribute {
        USED | RESERVED => memory.used,
        USED_HIGH | RESERVED_HIGH => memory.high,
        other => return Err(wrong(format!("graph memory attribute {other}"))),
    })
}

pub(crate) fn set_memory_attribute(call: &Call, device: i32, attribute: u32, value: Pointer) -> Outcome {
    match (attribute, value.as_in::<u64>().get()?) {
        (USED_HIGH | RESERVED_HIGH, 0) => Ok(call.runtime()?.reset_graph_memory(index(device)?)?),
        (other, value) => Err(wrong(format!("graph memory attribute {other} cannot become {value}"))),
    }
}

/// Memory of graphs is given back as soon as nothing has it; what nothing uses is no longer counted.
pub(crate) fn trim(call: &Call, device: i32) -> Outcome {
    Ok(call.runtime()?.trim_graph_memory(index(device)?)?)
}

const NO_SYNCHRONISATION: u32 = 1;

pub(crate) fn create_object(
    call: &Call,
    object: Out<CuUserObject>,
    data: Pointer,
    destroy: HostFunction,
    count: u32,
    flags: u32,
) -> Outcome {
    let destroy = destroy.ok_or(Code::ERROR_INVALID_VALUE)?;
    if flags != NO_SYNCHRONISATION || object.is_null() {
        return Err(wrong("the destructor must be said to be unsynchronised"));
    }
    object.set(Cu::new(call.runtime()?.create_user_object(count, Box::new(move || destroy(data)))?))
}

pub(crate) fn retain_object(call: &Call, object: CuUserObject, count: u32) -> Outcome {
    Ok(call.runtime()?.retain_user_object(object.get()?, count)?)
}

pub(crate) fn release_object(call: &Call, object: CuUserObject, count: u32) -> Outcome {
    Ok(call.runtime()?.release_user_object(object.get()?, count)?)
}

pub(crate) fn graph_retain(call: &Call, graph: CuGraph, object: CuUserObject, count: u32, flags: u32) -> Outcome {
    const MOVE: u32 = 1;
    if flags & !MOVE != 0 {
        return Err(wrong(format!("flags {flags:#x}")));
    }
    Ok(call.runtime()?.graph_retain(graph.get()?, object.get()?, count, flags == MOVE)?)
}

pub(crate) fn graph_release(call: &Call, graph: CuGraph, object: CuUserObject, count: u32) -> Outcome {
    Ok(call.runtime()?.graph_release(graph.get()?, object.get()?, count)?)
}
