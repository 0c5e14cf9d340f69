//! Streams.

use super::context::PRIORITIES;
use crate::abi::{Call, Cu, CuContext, CuEvent, CuGreen, CuStream, HostFunction, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Attribute, HostCall, StreamRef};
use std::sync::Arc;

/// `CUstreamCallback`.
pub(crate) type StreamCallback = Option<extern "C" fn(CuStream, Code, Pointer)>;

pub(super) const NON_BLOCKING: u32 = 1;

/// The nearest priority that there is.
pub(super) fn clamped(priority: i32) -> i32 {
    priority.clamp(PRIORITIES.1, PRIORITIES.0)
}

pub(crate) fn create(call: &Call, stream: Out<CuStream>, flags: u32) -> Outcome {
    create_with_priority(call, stream, flags, 0)
}

pub(crate) fn create_with_priority(call: &Call, stream: Out<CuStream>, flags: u32, priority: i32) -> Outcome {
    if flags & !NON_BLOCKING != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("stream flags {flags:#x}")));
    }
    let made = call.runtime()?.create_stream(flags & NON_BLOCKING == 0, flags, clamped(priority))?;
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
    let (runtime, stream) = (call.runtime()?, call.stream(stream)?);
    match flags {
        0 => Ok(runtime.stream_wait(stream, event.get()?)?),
        EXTERNAL => Ok(runtime.capture_external_wait(stream, event.get()?)?),
        _ => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}"))),
    }
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
    priority.set(runtime.stream_priority(call.stream(stream)?)?)
}

/// The context itself, and the green one that is a part of it.
pub(crate) fn context_v2(call: &Call, stream: CuStream, context: Out<CuContext>, green: Out<CuGreen>) -> Outcome {
    let (owner, part) = call.runtime()?.stream_contexts(call.stream(stream)?)?;
    context.set(Cu::new(owner))?;
    green.set_if_wanted(part.map_or(CuGreen::NULL, Cu::new));
    Ok(())
}

// Attributes of streams.

const ACCESS_POLICY: u32 = 1;
const SYNCHRONISATION_POLICY: u32 = 3;
const PRIORITY: u32 = 8;
const SYNC_DOMAIN_MAP: u32 = 9;
const SYNC_DOMAIN: u32 = 10;
const LINK_CENTRIC: u32 = 16;
/// What a stream remembers, and what it begins with. The priority is apart.
const ATTRIBUTES: [(u32, u32); 5] =
    [(ACCESS_POLICY, 0), (SYNCHRONISATION_POLICY, 1), (SYNC_DOMAIN_MAP, 0), (SYNC_DOMAIN, 0), (LINK_CENTRIC, 0)];

fn no_attribute(id: u32) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, format!("stream attribute {id}"))
}

/// Whether a value is one of those that an attribute has.
fn is_value(id: u32, value: &Attribute) -> bool {
    // Address and size stand before the share of accesses and what becomes of those that hit and miss.
    let [_, _, _, _, share, hit, miss, ..] = *value;
    match id {
        // Normal, streaming, persisting; what misses does not persist.
        ACCESS_POLICY => (0.0..=1.0).contains(&f32::from_bits(share)) && hit <= 2 && miss <= 1,
        // The driver's choice, spinning, yielding, sleeping.
        SYNCHRONISATION_POLICY => (1..=4).contains(&value[0]),
        PRIORITY => (PRIORITIES.1..=PRIORITIES.0).contains(&value[0].cast_signed()),
        SYNC_DOMAIN_MAP => {
            let [default, remote, ..] = value[0].to_le_bytes();
            default < SYNC_DOMAINS && remote < SYNC_DOMAINS
        }
        SYNC_DOMAIN | LINK_CENTRIC => value[0] <= 1,
        _ => false,
    }
}

/// As many as the device attribute says.
const SYNC_DOMAINS: u8 = 1;

pub(crate) fn attribute(call: &Call, stream: CuStream, id: u32, value: Out<Attribute>) -> Outcome {
    let (runtime, stream) = (call.runtime()?, call.stream(stream)?);
    let mut found = [0; 16];
    match ATTRIBUTES.iter().find(|(known, _)| *known == id) {
        Some((_, default)) => {
            found[0] = *default;
            found = runtime.stream_attribute(stream, id)?.unwrap_or(found);
        }
        None if id == PRIORITY => found[0] = runtime.stream_priority(stream)?.cast_unsigned(),
        None => return Err(no_attribute(id)),
    }
    value.set(found)
}

pub(crate) fn set_attribute(call: &Call, stream: CuStream, id: u32, value: In<Attribute>) -> Outcome {
    let (runtime, stream, value) = (call.runtime()?, call.stream(stream)?, value.get()?);
    match is_value(id, &value) {
        true if id == PRIORITY => Ok(runtime.set_stream_priority(stream, value[0].cast_signed())?),
        true => Ok(runtime.set_stream_attribute(stream, id, value)?),
        false => Err(no_attribute(id)),
    }
}

/// Both are streams of one context.
pub(crate) fn copy_attributes(call: &Call, to: CuStream, from: CuStream) -> Outcome {
    let (runtime, to, from) = (call.runtime()?, call.stream(to)?, call.stream(from)?);
    if runtime.stream_session(to)?.id != runtime.stream_session(from)?.id {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "streams of two contexts"));
    }
    for (id, default) in ATTRIBUTES {
        let mut value = [0; 16];
        value[0] = default;
        runtime.set_stream_attribute(to, id, runtime.stream_attribute(from, id)?.unwrap_or(value))?;
    }
    Ok(runtime.set_stream_priority(to, runtime.stream_priority(from)?)?)
}

pub(crate) fn context(call: &Call, stream: CuStream, context: Out<CuContext>) -> Outcome {
    let runtime = call.runtime()?;
    let (owner, green) = runtime.stream_contexts(call.stream(stream)?)?;
    context.set(Cu::new(match green {
        Some(green) => runtime.greens.get(green)?.context,
        None => owner,
    }))
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
    Ok(call.runtime()?.stream_host(call.stream(stream)?, host_call(function, data)?)?)
}

/// A function of the program with its argument.
pub(super) fn host_call(function: HostFunction, data: Pointer) -> Outcome<HostCall> {
    let function = function.ok_or(Code::ERROR_INVALID_VALUE)?;
    Ok(HostCall::new(function as usize as u64, data.0, Arc::new(move || function(data))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_attributes_are_checked() {
        let first = |word: u32| {
            let mut value = [0; 16];
            value[0] = word;
            value
        };
        assert!(is_value(SYNCHRONISATION_POLICY, &first(4)) && !is_value(SYNCHRONISATION_POLICY, &first(0)));
        assert!(is_value(PRIORITY, &first((-5i32).cast_unsigned())) && !is_value(PRIORITY, &first(1)));
        assert!(is_value(SYNC_DOMAIN_MAP, &first(0)) && !is_value(SYNC_DOMAIN_MAP, &first(1 << 8)));
        let window = |share: f32, hit, miss| {
            let mut value = [0; 16];
            value[4..7].copy_from_slice(&[share.to_bits(), hit, miss]);
            value
        };
        assert!(is_value(ACCESS_POLICY, &window(0.5, 2, 1)));
        assert!(!is_value(ACCESS_POLICY, &window(0.5, 2, 2)) && !is_value(ACCESS_POLICY, &window(1.5, 0, 0)));
        assert!(!is_value(2, &first(1)), "cooperation is an attribute of launches");
    }
}
