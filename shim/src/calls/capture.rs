//! Capture of streams.

use crate::abi::{Call, Cu, CuGraph, CuNode, CuStream, In, Out, Pointer};
use crate::calls::graph_node::dependencies;
use crate::result::{Code, Failure, Outcome};
use crate::state;
use hetgpu_runtime::{CaptureInfo, CaptureMode, CaptureStatus, exchange_capture_mode};

/// What may depend on work that is only being captured.
const RESTRICTED: [&str; 9] = [
    "cuMemAlloc_v2",
    "cuMemAllocPitch_v2",
    "cuMemAllocManaged",
    "cuMemAllocHost_v2",
    "cuMemHostAlloc",
    "cuMemFree_v2",
    "cuMemFreeHost",
    "cuMemHostRegister_v2",
    "cuMemHostUnregister",
];

/// Fails where a capture forbids the calling thread that call.
pub(crate) fn permit(name: &str) -> Outcome {
    match state::runtime() {
        Ok(runtime) if runtime.captures() && RESTRICTED.contains(&name) => Ok(runtime.may_interfere()?),
        _ => Ok(()),
    }
}

fn mode(number: u32) -> Outcome<CaptureMode> {
    match number {
        0 => Ok(CaptureMode::Global),
        1 => Ok(CaptureMode::ThreadLocal),
        2 => Ok(CaptureMode::Relaxed),
        _ => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("capture mode {number}"))),
    }
}

/// The first form of the call knew no modes.
pub(crate) fn begin_globally(call: &Call, stream: CuStream) -> Outcome {
    begin(call, stream, 0)
}

pub(crate) fn begin(call: &Call, stream: CuStream, number: u32) -> Outcome {
    Ok(call.runtime()?.begin_capture(call.stream(stream)?, mode(number)?, None)?)
}

pub(crate) fn begin_to_graph(
    call: &Call,
    stream: CuStream,
    graph: CuGraph,
    nodes: In<CuNode>,
    edges: In<[u8; 8]>,
    count: usize,
    number: u32,
) -> Outcome {
    let into = (graph.get()?, dependencies(nodes, edges, count)?);
    Ok(call.runtime()?.begin_capture(call.stream(stream)?, mode(number)?, Some(into))?)
}

pub(crate) fn end(call: &Call, stream: CuStream, graph: Out<CuGraph>) -> Outcome {
    graph.set(CuGraph::NULL)?;
    graph.set(Cu::new(call.runtime()?.end_capture(call.stream(stream)?)?))
}

fn number(status: CaptureStatus) -> u32 {
    match status {
        CaptureStatus::None => 0,
        CaptureStatus::Active => 1,
        CaptureStatus::Invalidated => 2,
    }
}

pub(crate) fn is_capturing(call: &Call, stream: CuStream, status: Out<u32>) -> Outcome {
    status.set(number(call.runtime()?.capture_info(call.stream(stream)?, true)?.status))
}

pub(crate) fn info(call: &Call, stream: CuStream, status: Out<u32>, id: Out<u64>) -> Outcome {
    told(call.runtime()?.capture_info(call.stream(stream)?, true)?, status, id).map(drop)
}

fn told(info: CaptureInfo, status: Out<u32>, id: Out<u64>) -> Outcome<CaptureInfo> {
    status.set(number(info.status))?;
    id.set_if_wanted(info.id);
    Ok(info)
}

pub(crate) fn info_v2(
    call: &Call,
    stream: CuStream,
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<CuGraph>,
    nodes: Out<Pointer>,
    count: Out<usize>,
) -> Outcome {
    let info = call.runtime()?.capture_info(call.stream(stream)?, nodes.is_null())?;
    shown(told(info, status, id)?, graph, nodes, count);
    Ok(())
}

fn shown(info: CaptureInfo, graph: Out<CuGraph>, nodes: Out<Pointer>, count: Out<usize>) {
    graph.set_if_wanted(info.graph.map_or(CuGraph::NULL, Cu::new));
    nodes.set_if_wanted(Pointer(info.nodes));
    count.set_if_wanted(info.count);
}

pub(crate) fn info_v3(
    call: &Call,
    stream: CuStream,
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<CuGraph>,
    nodes: Out<Pointer>,
    edges: Out<Pointer>,
    count: Out<usize>,
) -> Outcome {
    let with_edges = nodes.is_null() || !edges.is_null();
    let info = told(call.runtime()?.capture_info(call.stream(stream)?, with_edges)?, status, id)?;
    shown(info, graph, nodes, count);
    edges.set_if_wanted(Pointer(info.edges));
    Ok(())
}

pub(crate) fn update(call: &Call, stream: CuStream, nodes: In<CuNode>, count: usize, flags: u32) -> Outcome {
    update_v2(call, stream, nodes, In::NULL, count, flags)
}

pub(crate) fn update_v2(
    call: &Call,
    stream: CuStream,
    nodes: In<CuNode>,
    edges: In<[u8; 8]>,
    count: usize,
    flags: u32,
) -> Outcome {
    const REPLACE: u32 = 1;
    if flags & !REPLACE != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}")));
    }
    let dependencies = dependencies(nodes, edges, count)?;
    Ok(call.runtime()?.set_capture_dependencies(call.stream(stream)?, dependencies, flags == REPLACE)?)
}

/// The argument is the thread's new mode, and becomes the old one.
pub(crate) fn exchange_mode(_call: &Call, number: Pointer) -> Outcome {
    let old = exchange_capture_mode(mode(number.as_in::<u32>().get()?)?);
    number.as_out().set(match old {
        CaptureMode::Global => 0u32,
        CaptureMode::ThreadLocal => 1,
        CaptureMode::Relaxed => 2,
    })
}
