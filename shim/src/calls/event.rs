//! Events.

use crate::abi::{Call, Cu, CuEvent, CuStream, Out};
use crate::result::{Code, Failure, Outcome};

const BLOCKING_SYNC: u32 = 1;
const DISABLE_TIMING: u32 = 2;
const INTERPROCESS: u32 = 4;

pub(crate) fn create(call: &Call, event: Out<CuEvent>, flags: u32) -> Outcome {
    if flags & INTERPROCESS != 0 {
        return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "events shared between processes"));
    }
    if flags & !(BLOCKING_SYNC | DISABLE_TIMING) != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("event flags {flags:#x}")));
    }
    event.set(Cu::new(call.runtime()?.create_event(flags & DISABLE_TIMING == 0, flags)?))
}

pub(crate) fn destroy(call: &Call, event: CuEvent) -> Outcome {
    Ok(call.runtime()?.destroy_event(event.get()?)?)
}

pub(crate) fn record(call: &Call, event: CuEvent, stream: CuStream) -> Outcome {
    Ok(call.runtime()?.record_event(event.get()?, call.stream(stream)?)?)
}

pub(crate) fn record_with_flags(call: &Call, event: CuEvent, stream: CuStream, flags: u32) -> Outcome {
    const EXTERNAL: u32 = 1;
    if flags & !EXTERNAL != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}")));
    }
    record(call, event, stream)
}

pub(crate) fn query(call: &Call, event: CuEvent) -> Outcome {
    Ok(call.runtime()?.query_event(event.get()?)?)
}

pub(crate) fn synchronize(call: &Call, event: CuEvent) -> Outcome {
    Ok(call.runtime()?.synchronise_event(event.get()?)?)
}

pub(crate) fn elapsed(call: &Call, milliseconds: Out<f32>, start: CuEvent, end: CuEvent) -> Outcome {
    milliseconds.set(call.runtime()?.elapsed(start.get()?, end.get()?)?)
}
