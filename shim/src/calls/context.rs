//! Contexts.

use super::device::index;
use crate::abi::{Call, Cu, CuContext, In, Out};
use crate::calls::green::{Affinity, without_affinity};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Context, Handle, Part, Session};
use std::sync::Arc;

/// `CUctxCreateParams`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ContextParameters {
    affinity: In<Affinity>,
    affinities: i32,
    graphics: In<u8>,
}

/// The context that a call names; null means the current one.
pub(super) fn named(call: &Call, context: CuContext) -> Outcome<Handle<Context>> {
    match context.is_null() {
        true => Ok(call.runtime()?.current().ok_or(hetgpu_runtime::Error::InvalidContext)?),
        false => context.get(),
    }
}

fn context_of(call: &Call, context: CuContext) -> Outcome<Arc<Context>> {
    Ok(call.runtime()?.contexts.get(named(call, context)?)?)
}

/// The session of a context, poisoned or not; null means the current one.
pub(crate) fn session_of(call: &Call, context: CuContext) -> Outcome<(Handle<Context>, Arc<Session>)> {
    let handle = named(call, context)?;
    let session = call.runtime()?.contexts.get(handle)?.session()?;
    Ok((handle, session))
}

/// The same, and what of the session the context speaks for.
pub(crate) fn scope_of(call: &Call, context: CuContext) -> Outcome<(Arc<Session>, Arc<Part>)> {
    let context = context_of(call, context)?;
    Ok((context.session()?, context.part.clone()))
}

/// Scheduling (one of three ways to wait, or the driver's choice), mapped host memory, and hints.
fn check_flags(flags: u32) -> Outcome {
    const SCHEDULING: u32 = 0x07;
    const ALL: u32 = 0xff;
    match flags & !ALL == 0 && matches!(flags & SCHEDULING, 0 | 1 | 2 | 4) {
        true => Ok(()),
        false => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("context flags {flags:#x}"))),
    }
}

pub(crate) fn primary_retain(call: &Call, context: Out<CuContext>, device: i32) -> Outcome {
    context.set(Cu::new(call.runtime()?.retain_primary(index(device)?)?))
}

pub(crate) fn primary_release(call: &Call, device: i32) -> Outcome {
    Ok(call.runtime()?.release_primary(index(device)?)?)
}

pub(crate) fn primary_set_flags(call: &Call, device: i32, flags: u32) -> Outcome {
    check_flags(flags)?;
    Ok(call.runtime()?.set_primary_flags(index(device)?, flags)?)
}

pub(crate) fn primary_state(call: &Call, device: i32, flags: Out<u32>, active: Out<i32>) -> Outcome {
    let (value, is_active) = call.runtime()?.primary_state(index(device)?)?;
    flags.set_if_wanted(value);
    active.set_if_wanted(i32::from(is_active));
    Ok(())
}

pub(crate) fn primary_reset(call: &Call, device: i32) -> Outcome {
    Ok(call.runtime()?.reset_primary(index(device)?)?)
}

pub(crate) fn create(call: &Call, context: Out<CuContext>, flags: u32, device: i32) -> Outcome {
    const VERSION: u32 = 3020;
    check_flags(flags)?;
    context.set(Cu::new(call.runtime()?.create_context(index(device)?, flags, VERSION)?))
}

pub(crate) fn create_v3(
    call: &Call,
    context: Out<CuContext>,
    affinity: In<Affinity>,
    affinities: i32,
    flags: u32,
    device: i32,
) -> Outcome {
    without_affinity(affinity, affinities)?;
    create(call, context, flags, device)
}

pub(crate) fn create_v4(
    call: &Call,
    context: Out<CuContext>,
    parameters: In<ContextParameters>,
    flags: u32,
    device: i32,
) -> Outcome {
    if !parameters.is_null() {
        let parameters = parameters.get()?;
        if !parameters.graphics.is_null() {
            return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "contexts shared with graphics"));
        }
        without_affinity(parameters.affinity, parameters.affinities)?;
    }
    create(call, context, flags, device)
}

pub(crate) fn destroy(call: &Call, context: CuContext) -> Outcome {
    Ok(call.runtime()?.destroy_context(context.get()?)?)
}

/// Another user of the current context.
pub(crate) fn attach(call: &Call, context: Out<CuContext>, flags: u32) -> Outcome {
    if flags != 0 || context.is_null() {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "flags, or null for the context"));
    }
    context.set(Cu::new(call.runtime()?.attach_current()?))
}

pub(crate) fn detach(call: &Call, context: CuContext) -> Outcome {
    Ok(call.runtime()?.detach_current(context.get()?)?)
}

pub(crate) fn push(call: &Call, context: CuContext) -> Outcome {
    Ok(call.runtime()?.push_current(context.get()?)?)
}

pub(crate) fn pop(call: &Call, context: Out<CuContext>) -> Outcome {
    let popped = call.runtime()?.pop_current()?;
    context.set_if_wanted(Cu::new(popped));
    Ok(())
}

pub(crate) fn set_current(call: &Call, context: CuContext) -> Outcome {
    let handle = if context.is_null() { None } else { Some(context.get()?) };
    Ok(call.runtime()?.set_current(handle)?)
}

pub(crate) fn current(call: &Call, context: Out<CuContext>) -> Outcome {
    context.set(call.runtime()?.current().map_or(Cu::NULL, Cu::new))
}

pub(crate) fn device(call: &Call, device: Out<i32>) -> Outcome {
    device_of(call, device, Cu::NULL)
}

pub(crate) fn device_of(call: &Call, device: Out<i32>, context: CuContext) -> Outcome {
    device.set(context_of(call, context)?.device.index as i32)
}

pub(crate) fn flags(call: &Call, flags: Out<u32>) -> Outcome {
    flags.set(context_of(call, Cu::NULL)?.flags())
}

pub(crate) fn set_flags(call: &Call, flags: u32) -> Outcome {
    check_flags(flags)?;
    context_of(call, Cu::NULL)?.set_flags(flags);
    Ok(())
}

pub(crate) fn id(call: &Call, context: CuContext, id: Out<u64>) -> Outcome {
    id.set(context_of(call, context)?.id)
}

pub(crate) fn synchronize(call: &Call) -> Outcome {
    let runtime = call.runtime()?;
    runtime.may_wait_for_all()?;
    let (session, part) = runtime.scope()?;
    session.synchronise_part(&part)?;
    runtime.settle_pools();
    Ok(())
}

pub(crate) fn synchronize_of(call: &Call, context: CuContext) -> Outcome {
    let (session, part) = scope_of(call, context)?;
    Ok(session.synchronise_part(&part)?)
}

const STACK_SIZE: u32 = 0;
const PRINTF_FIFO_SIZE: u32 = 1;
const MALLOC_HEAP_SIZE: u32 = 2;
const PENDING_LAUNCH_COUNT: u32 = 4;
const MAX_L2_FETCH_GRANULARITY: u32 = 5;
const PERSISTING_L2_CACHE_SIZE: u32 = 6;
const SHARED_MEMORY_SIZE: u32 = 7;
const GRAPHICS_ENABLED: u32 = 8;
const LAST_LIMIT: u32 = 9;

fn unsupported_limit(limit: u32) -> Failure {
    let code = if limit > LAST_LIMIT { Code::ERROR_INVALID_VALUE } else { Code::ERROR_UNSUPPORTED_LIMIT };
    Failure::new(code, format!("limit {limit}"))
}

pub(crate) fn limit(call: &Call, value: Out<usize>, limit: u32) -> Outcome {
    let session = call.runtime()?.session()?;
    let limits = session.limits();
    value.set(match limit {
        STACK_SIZE => limits.stack as usize,
        PRINTF_FIFO_SIZE => limits.printf_fifo as usize,
        MALLOC_HEAP_SIZE => limits.heap as usize,
        PENDING_LAUNCH_COUNT => 2048,
        MAX_L2_FETCH_GRANULARITY => 64,
        PERSISTING_L2_CACHE_SIZE => 0,
        SHARED_MEMORY_SIZE => session.device.device.caps().shared_per_block_max as usize,
        GRAPHICS_ENABLED => 0,
        _ => return Err(unsupported_limit(limit)),
    })
}

pub(crate) fn set_limit(call: &Call, limit: u32, value: usize) -> Outcome {
    let session = call.runtime()?.session()?;
    let value = value as u64;
    match limit {
        STACK_SIZE => session.set_limits(|limits| limits.stack = value),
        PRINTF_FIFO_SIZE => session.set_limits(|limits| limits.printf_fifo = value),
        MALLOC_HEAP_SIZE => session.set_limits(|limits| limits.heap = value),
        // Hints about caches and queues that are not there.
        PENDING_LAUNCH_COUNT | MAX_L2_FETCH_GRANULARITY | PERSISTING_L2_CACHE_SIZE => {}
        _ => return Err(unsupported_limit(limit)),
    }
    Ok(())
}

/// No preference, which is all that a cache that cannot be configured has.
pub(crate) fn cache_config(call: &Call, config: Out<u32>) -> Outcome {
    call.runtime()?.session()?;
    config.set(0)
}

fn preference(call: &Call, config: u32, most: u32) -> Outcome {
    call.runtime()?.session()?;
    match config <= most {
        true => Ok(()),
        false => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("preference {config}"))),
    }
}

pub(crate) fn set_cache_config(call: &Call, config: u32) -> Outcome {
    preference(call, config, 3)
}

/// Banks of four bytes.
pub(crate) fn shared_config(call: &Call, config: Out<u32>) -> Outcome {
    call.runtime()?.session()?;
    config.set(1)
}

pub(crate) fn set_shared_config(call: &Call, config: u32) -> Outcome {
    preference(call, config, 2)
}

pub(crate) fn api_version(call: &Call, context: CuContext, version: Out<u32>) -> Outcome {
    let context = context_of(call, context)?;
    version.set(if context.primary { 3020 } else { context.version })
}

/// Least and greatest: a lower number is a higher priority.
pub(crate) const PRIORITIES: (i32, i32) = (0, -5);

pub(crate) fn priority_range(call: &Call, least: Out<i32>, greatest: Out<i32>) -> Outcome {
    call.runtime()?.session()?;
    least.set_if_wanted(PRIORITIES.0);
    greatest.set_if_wanted(PRIORITIES.1);
    Ok(())
}

pub(crate) fn reset_l2(call: &Call) -> Outcome {
    call.runtime()?.session().map(drop)?;
    Ok(())
}

pub(crate) fn enable_peer(call: &Call, peer: CuContext, flags: u32) -> Outcome {
    if flags != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags}")));
    }
    Ok(call.runtime()?.enable_peer(peer.get()?)?)
}

pub(crate) fn disable_peer(call: &Call, peer: CuContext) -> Outcome {
    Ok(call.runtime()?.disable_peer(peer.get()?)?)
}
