//! Executable graphs.

use super::copy::Copy3d;
use super::graph_params::{self, BatchParams, FillParams, HostParams, KernelParams, KernelParams2, copy_request};
use crate::abi::{Call, Cu, CuContext, CuEvent, CuGraph, CuGraphExec, CuNode, CuStream, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{InstantiateError, NodeRequest, UpdateProblem, UpdateReport};
use std::ffi::c_char;

const FREE_BEFORE_LAUNCH: u64 = 1;
const UPLOAD: u64 = 2;
const DEVICE_LAUNCH: u64 = 4;
const NODE_PRIORITY: u64 = 8;

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct InstantiateParams {
    flags: u64,
    stream: CuStream,
    node: CuNode,
    result: u32,
}

/// `CUgraphExecUpdateResultInfo`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct UpdateInfo {
    result: u32,
    node: CuNode,
    from: CuNode,
}

fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, text)
}

/// Makes an executable. Where that fails, the node and the number that a program is told.
fn made(
    call: &Call,
    exec: Out<CuGraphExec>,
    graph: CuGraph,
    flags: u64,
) -> Result<CuGraphExec, (Failure, CuNode, u32)> {
    const ERROR: u32 = 1;
    let other = |failure: Failure| (failure, CuNode::NULL, ERROR);
    if flags & DEVICE_LAUNCH != 0 && flags & FREE_BEFORE_LAUNCH == 0 {
        return Err(other(Failure::new(Code::ERROR_NOT_SUPPORTED, "graphs that kernels launch")));
    }
    if flags & !(FREE_BEFORE_LAUNCH | UPLOAD | NODE_PRIORITY) != 0 || exec.is_null() {
        return Err(other(wrong(format!("flags {flags:#x}, or null for the executable"))));
    }
    let graph = graph.get().map_err(other)?;
    let runtime = call.runtime().map_err(other)?;
    let instance = runtime.instantiate_graph(graph, flags, flags & FREE_BEFORE_LAUNCH != 0);
    let instance = instance.map_err(|error| {
        let (node, number) = match error {
            InstantiateError::Structure(node) => (Cu::new(node), 2),
            InstantiateError::Operation(node) => (Cu::new(node), 3),
            InstantiateError::UnusedCondition => (CuNode::NULL, 5),
            InstantiateError::Other(_) => (CuNode::NULL, ERROR),
        };
        (error.error().into(), node, number)
    })?;
    let instance = Cu::new(instance);
    exec.set(instance).map_err(other)?;
    Ok(instance)
}

pub(crate) fn instantiate_logged(
    call: &Call,
    exec: Out<CuGraphExec>,
    graph: CuGraph,
    node: Out<CuNode>,
    log: Out<c_char>,
    room: usize,
) -> Outcome {
    let outcome = made(call, exec, graph, 0);
    let (told, text) = match &outcome {
        Ok(_) => (CuNode::NULL, ""),
        Err((failure, node, _)) => (*node, failure.text.as_str()),
    };
    node.set_if_wanted(told);
    if !log.is_null() && room > 0 {
        log.set_text(text, room)?;
    }
    outcome.map(drop).map_err(|(failure, _, _)| failure)
}

pub(crate) fn instantiate(call: &Call, exec: Out<CuGraphExec>, graph: CuGraph, flags: u64) -> Outcome {
    match flags & UPLOAD {
        0 => made(call, exec, graph, flags).map(drop).map_err(|(failure, _, _)| failure),
        _ => Err(wrong("uploading needs a stream")),
    }
}

pub(crate) fn instantiate_with(
    call: &Call,
    exec: Out<CuGraphExec>,
    graph: CuGraph,
    params: In<InstantiateParams>,
) -> Outcome {
    let asked = params.get()?;
    let outcome = made(call, exec, graph, asked.flags);
    let (node, result) = match &outcome {
        Ok(_) => (CuNode::NULL, 0),
        Err((_, node, number)) => (*node, *number),
    };
    params.slot(0).set(InstantiateParams { node, result, ..asked })?;
    let made = outcome.map_err(|(failure, _, _)| failure)?;
    match asked.flags & UPLOAD {
        0 => Ok(()),
        _ => upload(call, made, asked.stream),
    }
}

pub(crate) fn destroy(call: &Call, exec: CuGraphExec) -> Outcome {
    Ok(call.runtime()?.destroy_executable(exec.get()?)?)
}

pub(crate) fn flags(call: &Call, exec: CuGraphExec, flags: Out<u64>) -> Outcome {
    flags.set(call.runtime()?.executable_flags(exec.get()?)?)
}

pub(crate) fn upload(call: &Call, exec: CuGraphExec, stream: CuStream) -> Outcome {
    Ok(call.runtime()?.upload_graph(exec.get()?, call.stream(stream)?)?)
}

pub(crate) fn launch(call: &Call, exec: CuGraphExec, stream: CuStream) -> Outcome {
    Ok(call.runtime()?.launch_graph(exec.get()?, call.stream(stream)?)?)
}

/// Updates; the number and the node that a program is told.
fn updated(call: &Call, exec: CuGraphExec, graph: CuGraph) -> Outcome<(u32, CuNode)> {
    let report = call.runtime()?.update_executable(exec.get()?, graph.get()?)?;
    let Some(UpdateReport { problem, node }) = report else { return Ok((0, CuNode::NULL)) };
    let number = match problem {
        UpdateProblem::Topology => 2,
        UpdateProblem::NodeType => 3,
        UpdateProblem::Parameters => 5,
        UpdateProblem::NotSupported => 6,
        UpdateProblem::Function => 7,
    };
    Ok((number, node.map_or(CuNode::NULL, Cu::new)))
}

fn refused(number: u32) -> Outcome {
    match number {
        0 => Ok(()),
        _ => Err(Failure::new(Code::ERROR_GRAPH_EXEC_UPDATE_FAILURE, format!("update result {number}"))),
    }
}

pub(crate) fn update(call: &Call, exec: CuGraphExec, graph: CuGraph, node: Out<CuNode>, result: Out<u32>) -> Outcome {
    let (number, told) = updated(call, exec, graph)?;
    node.set_if_wanted(told);
    result.set_if_wanted(number);
    refused(number)
}

pub(crate) fn update_v2(call: &Call, exec: CuGraphExec, graph: CuGraph, info: Out<UpdateInfo>) -> Outcome {
    let (number, node) = updated(call, exec, graph)?;
    info.set_if_wanted(UpdateInfo { result: number, node, from: CuNode::NULL });
    refused(number)
}

pub(crate) fn set_enabled(call: &Call, exec: CuGraphExec, node: CuNode, enabled: u32) -> Outcome {
    Ok(call.runtime()?.enable_node(exec.get()?, node.get()?, enabled != 0)?)
}

pub(crate) fn enabled(call: &Call, exec: CuGraphExec, node: CuNode, enabled: Out<u32>) -> Outcome {
    enabled.set(u32::from(call.runtime()?.node_enabled(exec.get()?, node.get()?)?))
}

macro_rules! setters {
    ($($name:ident($argument:ident: $type:ty $(, $context:ident)?) $call:ident => $request:expr;)+) => {$(
        pub(crate) fn $name(
            $call: &Call,
            exec: CuGraphExec,
            node: CuNode,
            $argument: $type,
            $($context: CuContext,)?
        ) -> Outcome {
            Ok($call.runtime()?.set_executable_node(exec.get()?, node.get()?, $request)?)
        }
    )+};
}

setters! {
    set_any(params: Pointer) call => graph_params::request(call, params)?;
    set_kernel(params: In<KernelParams>) call => params.get()?.request(call)?;
    set_kernel_v2(params: In<KernelParams2>) call => params.get()?.request(call)?;
    set_copy(copy: In<Copy3d>, context) call => copy_request(&copy.get()?, context)?;
    set_fill(params: In<FillParams>, context) call => params.get()?.request(context)?;
    set_host(params: In<HostParams>) call => params.get()?.request()?;
    set_child(child: CuGraph) call => NodeRequest::Child { graph: child.get()?, moved: false };
    set_record(event: CuEvent) call => NodeRequest::EventRecord(graph_params::event(event)?);
    set_wait(event: CuEvent) call => NodeRequest::EventWait(graph_params::event(event)?);
    set_batch(params: In<BatchParams>) call => params.get()?.request()?;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!((size_of::<InstantiateParams>(), offset_of!(InstantiateParams, result)), (32, 24));
        assert_eq!((size_of::<UpdateInfo>(), offset_of!(UpdateInfo, node)), (24, 8));
    }
}
