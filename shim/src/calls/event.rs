//! Events.

use super::context::scope_of;
use crate::abi::{Call, Cu, CuContext, CuEvent, CuStream, Out};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::EventTicket;

const BLOCKING_SYNC: u32 = 1;
const DISABLE_TIMING: u32 = 2;
const INTERPROCESS: u32 = 4;

pub(crate) fn create(call: &Call, event: Out<CuEvent>, flags: u32) -> Outcome {
    let shared = flags & INTERPROCESS != 0;
    if flags & !(BLOCKING_SYNC | DISABLE_TIMING | INTERPROCESS) != 0 || (shared && flags & DISABLE_TIMING == 0) {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("event flags {flags:#x}")));
    }
    if shared {
        return event.set(Cu::new(call.runtime()?.create_shared_event(flags)?));
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
    match flags {
        0 => record(call, event, stream),
        EXTERNAL => Ok(call.runtime()?.capture_external_record(call.stream(stream)?, event.get()?)?),
        _ => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}"))),
    }
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

pub(crate) fn export(call: &Call, ticket: Out<EventTicket>, event: CuEvent) -> Outcome {
    ticket.set(call.runtime()?.export_event(event.get()?)?)
}

pub(crate) fn import(call: &Call, event: Out<CuEvent>, ticket: EventTicket) -> Outcome {
    event.set(Cu::new(call.runtime()?.import_event(&ticket, DISABLE_TIMING | INTERPROCESS)?))
}

/// Records what the context has been given so far.
pub(crate) fn record_context(call: &Call, context: CuContext, event: CuEvent) -> Outcome {
    let (session, part) = scope_of(call, context)?;
    Ok(call.runtime()?.record_part(&session, &part, event.get()?)?)
}

/// What the context is given from now on waits for the event.
pub(crate) fn hold_context(call: &Call, context: CuContext, event: CuEvent) -> Outcome {
    let (session, part) = scope_of(call, context)?;
    Ok(call.runtime()?.part_wait(&session, &part, event.get()?)?)
}
