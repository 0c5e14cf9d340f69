//! Nodes and edges of graphs.

use super::copy::Copy3d;
use super::graph_params::{
    self, AllocParams, BatchParams, FillParams, HostParams, HostParamsOut, KernelParams, KernelParams2, copy_of,
    copy_request,
};
use crate::abi::{Call, Cu, CuContext, CuEvent, CuGraph, CuNode, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Body, Dependency, Edge, Handle, KernelNode, Node, NodeRequest, NodeType};

fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, text)
}

fn edge(edges: In<[u8; 8]>, index: usize) -> Outcome<Edge> {
    if edges.is_null() {
        return Ok(Edge::default());
    }
    match edges.at(index)? {
        [from_port, to_port, kind, 0, 0, 0, 0, 0] => Ok(Edge { from_port, to_port, kind }),
        _ => Err(wrong("reserved bytes of an edge must be 0")),
    }
}

/// Nodes, with what their edges say; plain ones where that is null.
pub(crate) fn dependencies(nodes: In<CuNode>, edges: In<[u8; 8]>, count: usize) -> Outcome<Vec<Dependency>> {
    (0..count).map(|index| Ok(Dependency { node: nodes.at(index)?.get()?, edge: edge(edges, index)? })).collect()
}

/// Adds a node without edge data.
fn add(
    call: &Call,
    node: Out<CuNode>,
    graph: CuGraph,
    nodes: In<CuNode>,
    count: usize,
    request: impl FnOnce() -> Outcome<NodeRequest>,
) -> Outcome<Handle<Node>> {
    add_behind(call, node, graph, nodes, In::NULL, count, request)
}

fn add_behind(
    call: &Call,
    node: Out<CuNode>,
    graph: CuGraph,
    nodes: In<CuNode>,
    edges: In<[u8; 8]>,
    count: usize,
    request: impl FnOnce() -> Outcome<NodeRequest>,
) -> Outcome<Handle<Node>> {
    if node.is_null() {
        return Err(wrong("null for an out parameter"));
    }
    let graph = graph.get()?;
    let dependencies = dependencies(nodes, edges, count)?;
    let added = call.runtime()?.add_node(graph, &dependencies, request()?)?;
    node.set(Cu::new(added))?;
    Ok(added)
}

pub(crate) fn add_any(
    call: &Call,
    node: Out<CuNode>,
    graph: CuGraph,
    nodes: In<CuNode>,
    count: usize,
    params: Pointer,
) -> Outcome {
    add_any_v2(call, node, graph, nodes, In::NULL, count, params)
}

pub(crate) fn add_any_v2(
    call: &Call,
    node: Out<CuNode>,
    graph: CuGraph,
    nodes: In<CuNode>,
    edges: In<[u8; 8]>,
    count: usize,
    params: Pointer,
) -> Outcome {
    let request = || graph_params::request(call, params);
    let added = add_behind(call, node, graph, nodes, edges, count, request)?;
    graph_params::tell(&call.runtime()?.node_body(added)?, params)
}

pub(crate) fn set_any(call: &Call, node: CuNode, params: Pointer) -> Outcome {
    Ok(call.runtime()?.set_node(node.get()?, graph_params::request(call, params)?)?)
}

pub(crate) fn add_empty(call: &Call, node: Out<CuNode>, graph: CuGraph, nodes: In<CuNode>, count: usize) -> Outcome {
    add(call, node, graph, nodes, count, || Ok(NodeRequest::Empty)).map(drop)
}

macro_rules! adders {
    ($($name:ident($argument:ident: $type:ty $(, $context:ident)?) $call:ident => $request:expr;)+) => {$(
        pub(crate) fn $name(
            $call: &Call,
            node: Out<CuNode>,
            graph: CuGraph,
            nodes: In<CuNode>,
            count: usize,
            $argument: $type,
            $($context: CuContext,)?
        ) -> Outcome {
            add($call, node, graph, nodes, count, || $request).map(drop)
        }
    )+};
}

adders! {
    add_kernel(params: In<KernelParams>) call => params.get()?.request(call);
    add_kernel_v2(params: In<KernelParams2>) call => params.get()?.request(call);
    add_copy(copy: In<Copy3d>, context) call => copy_request(&copy.get()?, context);
    add_fill(params: In<FillParams>, context) call => params.get()?.request(context);
    add_host(params: In<HostParams>) call => params.get()?.request();
    add_child(child: CuGraph) call => Ok(NodeRequest::Child { graph: child.get()?, moved: false });
    add_record(event: CuEvent) call => Ok(NodeRequest::EventRecord(graph_params::event(event)?));
    add_wait(event: CuEvent) call => Ok(NodeRequest::EventWait(graph_params::event(event)?));
    add_batch(params: In<BatchParams>) call => params.get()?.request();
    add_free(start: Pointer) call => Ok(NodeRequest::Free(start.0));
}

pub(crate) fn add_allocation(
    call: &Call,
    node: Out<CuNode>,
    graph: CuGraph,
    nodes: In<CuNode>,
    count: usize,
    params: In<AllocParams>,
) -> Outcome {
    let added = add(call, node, graph, nodes, count, || params.get()?.request())?;
    let Body::Allocate(block) = call.runtime()?.node_body(added)? else { return Ok(()) };
    params.slot(0).set(params.get()?.at(block.start))
}

/// What a node of one type holds; a wrong value where it is of another.
macro_rules! getters {
    ($($name:ident($value:ident: $type:ty) $call:ident $variant:ident($held:ident) => $shown:expr;)+) => {$(
        pub(crate) fn $name($call: &Call, node: CuNode, $value: Out<$type>) -> Outcome {
            match $call.runtime()?.node_body(node.get()?)? {
                Body::$variant($held) => $value.set($shown),
                _ => Err(wrong("a node of another type")),
            }
        }
    )+};
}

getters! {
    kernel(params: KernelParams) call Kernel(node) => KernelParams::of(call.runtime()?, &node)?;
    kernel_v2(params: KernelParams2) call Kernel(node) => KernelParams2::of(call.runtime()?, &node)?;
    copy(copy: Copy3d) call Copy(node) => copy_of(&node);
    fill(params: FillParams) call Fill(node) => FillParams::of(&node);
    host(params: HostParamsOut) call Host(host) => HostParamsOut { function: host.function, data: host.data };
    child(graph: CuGraph) call Child(child) => Cu::new(child);
    recorded(event: CuEvent) call EventRecord(held) => Cu::new(held);
    waited(event: CuEvent) call EventWait(held) => Cu::new(held);
    batch(params: BatchParams) call Batch(node) => BatchParams::of(&node);
    freed(start: u64) call Free(block) => block.start;
    allocation(params: AllocParams) call Allocate(block) => AllocParams::of(block.start, block.bytes, block.device);
}

macro_rules! setters {
    ($($name:ident($argument:ident: $type:ty) $call:ident => $request:expr;)+) => {$(
        pub(crate) fn $name($call: &Call, node: CuNode, $argument: $type) -> Outcome {
            Ok($call.runtime()?.set_node(node.get()?, $request)?)
        }
    )+};
}

setters! {
    set_kernel(params: In<KernelParams>) call => params.get()?.request(call)?;
    set_kernel_v2(params: In<KernelParams2>) call => params.get()?.request(call)?;
    set_copy(copy: In<Copy3d>) call => copy_request(&copy.get()?, CuContext::NULL)?;
    set_fill(params: In<FillParams>) call => params.get()?.request(CuContext::NULL)?;
    set_host(params: In<HostParams>) call => params.get()?.request()?;
    set_record(event: CuEvent) call => NodeRequest::EventRecord(graph_params::event(event)?);
    set_wait(event: CuEvent) call => NodeRequest::EventWait(graph_params::event(event)?);
    set_batch(params: In<BatchParams>) call => params.get()?.request()?;
}

pub(crate) fn node_type(call: &Call, node: CuNode, number: Out<u32>) -> Outcome {
    number.set(match call.runtime()?.node_body(node.get()?)?.kind() {
        NodeType::Kernel => 0,
        NodeType::Copy => 1,
        NodeType::Fill => 2,
        NodeType::Host => 3,
        NodeType::Child => 4,
        NodeType::Empty => 5,
        NodeType::EventWait => 6,
        NodeType::EventRecord => 7,
        NodeType::Allocate => 10,
        NodeType::Free => 11,
        NodeType::Batch => 12,
        NodeType::Conditional => 13,
    })
}

pub(crate) fn destroy(call: &Call, node: CuNode) -> Outcome {
    Ok(call.runtime()?.destroy_node(node.get()?)?)
}

/// How many of a list a program has room for, and wants to be told; none where it asks for their number.
fn room(wanted: bool, count: Pointer, all: usize) -> Outcome<Option<usize>> {
    match wanted {
        false => {
            count.as_out::<usize>().set(all)?;
            Ok(None)
        }
        true => {
            let room = count.as_in::<usize>().get()?;
            count.as_out::<usize>().set(room.min(all))?;
            Ok(Some(room))
        }
    }
}

/// Writes what there is room for, and null behind the last.
fn list(out: Out<CuNode>, count: Pointer, nodes: &[Handle<Node>]) -> Outcome {
    let Some(room) = room(!out.is_null(), count, nodes.len())? else { return Ok(()) };
    let shown = |index: usize| nodes.get(index).map_or(CuNode::NULL, |&node| Cu::new(node));
    (0..room).try_for_each(|index| out.at(index).set(shown(index)))
}

pub(crate) fn nodes(call: &Call, graph: CuGraph, nodes: Out<CuNode>, count: Pointer) -> Outcome {
    list(nodes, count, &call.runtime()?.graph_nodes(graph.get()?)?)
}

pub(crate) fn roots(call: &Call, graph: CuGraph, nodes: Out<CuNode>, count: Pointer) -> Outcome {
    list(nodes, count, &call.runtime()?.graph_roots(graph.get()?)?)
}

/// Writes what edges say, or fails where they say something and nobody wants to know.
fn tell_edges(out: Out<[u8; 8]>, room: usize, edges: &[Edge]) -> Outcome {
    let plain = edges.iter().all(|&edge| edge == Edge::default());
    match (out.is_null(), plain) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::new(Code::ERROR_LOSSY_QUERY, "the graph has edges with data")),
        (false, _) => edges.iter().take(room).enumerate().try_for_each(|(index, edge)| out.at(index).set(edge.bytes())),
    }
}

const NO_EDGES: Pointer = Pointer(0);

pub(crate) fn edges(call: &Call, graph: CuGraph, from: Out<CuNode>, to: Out<CuNode>, count: Pointer) -> Outcome {
    edges_v2(call, graph, from, to, NO_EDGES.as_out(), count)
}

pub(crate) fn edges_v2(
    call: &Call,
    graph: CuGraph,
    from: Out<CuNode>,
    to: Out<CuNode>,
    data: Out<[u8; 8]>,
    count: Pointer,
) -> Outcome {
    let all = call.runtime()?.graph_edges(graph.get()?)?;
    if from.is_null() != to.is_null() {
        return Err(wrong("one end of the edges is wanted and the other is not"));
    }
    let asked = if from.is_null() { 0 } else { count.as_in::<usize>().get()? };
    let edges: Vec<Edge> = all.iter().map(|(_, from)| from.edge).collect();
    if !from.is_null() {
        tell_edges(data, asked, &edges)?;
    }
    let Some(room) = room(!from.is_null(), count, all.len())? else { return Ok(()) };
    for index in 0..room {
        let ends = all.get(index).map_or((CuNode::NULL, CuNode::NULL), |(to, from)| (Cu::new(from.node), Cu::new(*to)));
        from.at(index).set(ends.0)?;
        to.at(index).set(ends.1)?;
    }
    Ok(())
}

fn neighbours(out: Out<CuNode>, data: Out<[u8; 8]>, count: Pointer, all: &[Dependency]) -> Outcome {
    let (nodes, edges): (Vec<_>, Vec<_>) = all.iter().map(|dependency| (dependency.node, dependency.edge)).unzip();
    if !out.is_null() {
        tell_edges(data, count.as_in::<usize>().get()?, &edges)?;
    }
    list(out, count, &nodes)
}

pub(crate) fn node_dependencies(call: &Call, node: CuNode, nodes: Out<CuNode>, count: Pointer) -> Outcome {
    node_dependencies_v2(call, node, nodes, NO_EDGES.as_out(), count)
}

pub(crate) fn node_dependencies_v2(
    call: &Call,
    node: CuNode,
    nodes: Out<CuNode>,
    edges: Out<[u8; 8]>,
    count: Pointer,
) -> Outcome {
    neighbours(nodes, edges, count, &call.runtime()?.node_dependencies(node.get()?)?)
}

pub(crate) fn node_dependents(call: &Call, node: CuNode, nodes: Out<CuNode>, count: Pointer) -> Outcome {
    node_dependents_v2(call, node, nodes, NO_EDGES.as_out(), count)
}

pub(crate) fn node_dependents_v2(
    call: &Call,
    node: CuNode,
    nodes: Out<CuNode>,
    edges: Out<[u8; 8]>,
    count: Pointer,
) -> Outcome {
    neighbours(nodes, edges, count, &call.runtime()?.node_dependents(node.get()?)?)
}

/// Edges as (to, from).
fn pairs(
    from: In<CuNode>,
    to: In<CuNode>,
    edges: In<[u8; 8]>,
    count: usize,
) -> Outcome<Vec<(Handle<Node>, Dependency)>> {
    let from = dependencies(from, edges, count)?;
    from.into_iter().enumerate().map(|(index, from)| Ok((to.at(index)?.get()?, from))).collect()
}

pub(crate) fn add_edges(call: &Call, graph: CuGraph, from: In<CuNode>, to: In<CuNode>, count: usize) -> Outcome {
    add_edges_v2(call, graph, from, to, In::NULL, count)
}

pub(crate) fn add_edges_v2(
    call: &Call,
    graph: CuGraph,
    from: In<CuNode>,
    to: In<CuNode>,
    edges: In<[u8; 8]>,
    count: usize,
) -> Outcome {
    Ok(call.runtime()?.add_edges(graph.get()?, &pairs(from, to, edges, count)?)?)
}

pub(crate) fn remove_edges(call: &Call, graph: CuGraph, from: In<CuNode>, to: In<CuNode>, count: usize) -> Outcome {
    remove_edges_v2(call, graph, from, to, In::NULL, count)
}

pub(crate) fn remove_edges_v2(
    call: &Call,
    graph: CuGraph,
    from: In<CuNode>,
    to: In<CuNode>,
    edges: In<[u8; 8]>,
    count: usize,
) -> Outcome {
    Ok(call.runtime()?.remove_edges(graph.get()?, &pairs(from, to, edges, count)?, edges.is_null())?)
}

const COOPERATIVE: u32 = 2;
const CLUSTER: u32 = 4;

/// Attributes that kernel nodes have: caches, cooperation, clusters, priority, domains, carveout.
fn check_attribute(attribute: u32) -> Outcome {
    const DEVICE_UPDATABLE: u32 = 13;
    match attribute {
        1 | COOPERATIVE | CLUSTER | 5 | 8..=11 | 14 => Ok(()),
        DEVICE_UPDATABLE => Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "nodes that kernels change")),
        other => Err(wrong(format!("kernel node attribute {other}"))),
    }
}

fn attribute_of(node: &KernelNode, attribute: u32) -> [u32; 16] {
    let mut value = [0; 16];
    match attribute {
        COOPERATIVE => value[0] = u32::from(node.request().cooperative),
        CLUSTER => value[..3].copy_from_slice(&node.request().cluster),
        other => value = node.request().attributes.get(&other).copied().unwrap_or_default(),
    }
    value
}

pub(crate) fn attribute(call: &Call, node: CuNode, attribute: u32, value: Out<[u32; 16]>) -> Outcome {
    match call.runtime()?.node_body(node.get()?)? {
        Body::Kernel(node) => {
            check_attribute(attribute)?;
            value.set(attribute_of(&node, attribute))
        }
        _ => Err(wrong("not a kernel node")),
    }
}

fn change(node: &mut KernelNode, attribute: u32, value: [u32; 16]) {
    match attribute {
        COOPERATIVE => node.request_mut().cooperative = value[0] != 0,
        CLUSTER => node.request_mut().cluster = [value[0], value[1], value[2]],
        other => {
            node.request_mut().attributes.insert(other, value);
        }
    }
}

pub(crate) fn set_attribute(call: &Call, node: CuNode, attribute: u32, value: In<[u32; 16]>) -> Outcome {
    check_attribute(attribute)?;
    let value = value.get()?;
    Ok(call.runtime()?.set_node_attributes(node.get()?, |node| change(node, attribute, value))?)
}

pub(crate) fn copy_attributes(call: &Call, to: CuNode, from: CuNode) -> Outcome {
    let runtime = call.runtime()?;
    let Body::Kernel(from) = runtime.node_body(from.get()?)? else { return Err(wrong("not a kernel node")) };
    Ok(runtime.set_node_attributes(to.get()?, |to| {
        to.request_mut().attributes = from.request().attributes.clone();
        [COOPERATIVE, CLUSTER].into_iter().for_each(|id| change(to, id, attribute_of(&from, id)));
    })?)
}
