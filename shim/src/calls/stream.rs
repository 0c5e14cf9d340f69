//! Streams.

use super::context::PRIORITIES;
use crate::abi::{Call, Cu, CuContext, CuEvent, CuStream, HostFunction, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Context, StreamRef};

/// `CUstreamCallback`.
pub(crate) type StreamCallback = Option<extern "C" fn(CuStream, Code, Pointer)>;

const NON_BLOCKING: u32 = 1;

pub(crate) fn create(call: &Call, stream: Out<CuStream>, flags: u32) -> Outcome {
    create_with_priority(call, stream, flags, 0)
}

pub(crate) fn create_with_priority(call: &Call, stream: Out<CuStream>, flags: u32, priority: i32) -> Outcome {
    if flags & !NON_BLOCKING != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("stream flags {flags:#x}")));
    }
    let priority = priority.clamp(PRIORITIES.1, PRIORITIES.0);
    let made = call.runtime()?.create_stream(flags & NON_BLOCKING == 0, flags, priority)?;
    stream.set(Cu::new(made))
}

pub(crate) fn destroy(call: &Call, stream: CuStream) -> Outcome {
    Ok(call.runtime()?.destroy_stream(stream.get()?)?)
}

pub(crate) fn query(call: &Call, stream: CuStream) -> Outcome {
    Ok(call.runtime()?.query_stream(call.stream(stream)?)?)
}

pub(crate) fn synchronize(call: &Call, stream: CuStream) -> Outcome {
    Ok(call.runtime()?.synchronise_stream(call.stream(stream)?)?)
}

pub(crate) fn wait_event(call: &Call, stream: CuStream, event: CuEvent, flags: u32) -> Outcome {
    const EXTERNAL: u32 = 1;
    if flags & !EXTERNAL != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}")));
    }
    Ok(call.runtime()?.stream_wait(call.stream(stream)?, event.get()?)?)
}

pub(crate) fn flags(call: &Call, stream: CuStream, flags: Out<u32>) -> Outcome {
    let runtime = call.runtime()?;
    flags.set(match call.stream(stream)? {
        StreamRef::Handle(handle) => runtime.streams.get(handle)?.flags,
        StreamRef::Default | StreamRef::Thread => 0,
    })
}

pub(crate) fn priority(call: &Call, stream: CuStream, priority: Out<i32>) -> Outcome {
    let runtime = call.runtime()?;
    priority.set(match call.stream(stream)? {
        StreamRef::Handle(handle) => runtime.streams.get(handle)?.priority,
        StreamRef::Default | StreamRef::Thread => 0,
    })
}

pub(crate) fn context(call: &Call, stream: CuStream, context: Out<CuContext>) -> Outcome {
    let runtime = call.runtime()?;
    let session = runtime.stream_session(call.stream(stream)?)?.id;
    let is_owner = |context: &Context| context.session().is_ok_and(|own| own.id == session);
    let owner = runtime.contexts.handles_where(is_owner);
    context.set(Cu::new(*owner.first().ok_or(hetgpu_runtime::Error::ContextDestroyed)?))
}

/// Default streams are numbered by what their special handles are.
pub(crate) fn id(call: &Call, stream: CuStream, id: Out<u64>) -> Outcome {
    let runtime = call.runtime()?;
    id.set(match call.stream(stream)? {
        StreamRef::Handle(handle) => runtime.streams.get(handle)?.id + 2,
        StreamRef::Default => 1,
        StreamRef::Thread => 2,
    })
}

pub(crate) fn device(call: &Call, stream: CuStream, device: Out<i32>) -> Outcome {
    device.set(call.runtime()?.stream_session(call.stream(stream)?)?.device.index as i32)
}

/// No stream is ever capturing: starting a capture is not supported.
pub(crate) fn is_capturing(call: &Call, stream: CuStream, status: Out<u32>) -> Outcome {
    call.runtime()?.stream_session(call.stream(stream)?)?;
    status.set(0)
}

pub(crate) fn capture_info(call: &Call, stream: CuStream, status: Out<u32>, id: Out<u64>) -> Outcome {
    id.set_if_wanted(0);
    is_capturing(call, stream, status)
}

pub(crate) fn capture_info_v2(
    call: &Call,
    stream: CuStream,
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<Pointer>,
    dependencies: Out<Pointer>,
    count: Out<usize>,
) -> Outcome {
    graph.set_if_wanted(Pointer(0));
    dependencies.set_if_wanted(Pointer(0));
    count.set_if_wanted(0);
    capture_info(call, stream, status, id)
}

pub(crate) fn capture_info_v3(
    call: &Call,
    stream: CuStream,
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<Pointer>,
    dependencies: Out<Pointer>,
    edges: Out<Pointer>,
    count: Out<usize>,
) -> Outcome {
    edges.set_if_wanted(Pointer(0));
    capture_info_v2(call, stream, status, id, graph, dependencies, count)
}

/// The callback is told of a fault, and runs even then.
pub(crate) fn add_callback(
    call: &Call,
    stream: CuStream,
    callback: StreamCallback,
    data: Pointer,
    flags: u32,
) -> Outcome {
    let callback = callback.ok_or(Code::ERROR_INVALID_VALUE)?;
    if flags != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "flags must be 0"));
    }
    Ok(call.runtime()?.stream_call(call.stream(stream)?, move |fault| {
        let code = fault.map_or(Code::SUCCESS, |fault| Failure::from(fault).code);
        callback(stream, code, data);
    })?)
}

/// The function does not run after a fault.
pub(crate) fn host_function(call: &Call, stream: CuStream, function: HostFunction, data: Pointer) -> Outcome {
    let function = function.ok_or(Code::ERROR_INVALID_VALUE)?;
    Ok(call.runtime()?.stream_call(call.stream(stream)?, move |fault| {
        if fault.is_none() {
            function(data);
        }
    })?)
}
