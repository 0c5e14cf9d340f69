//! Green contexts: multiprocessors shared out between parts of a context.

use super::context::named;
use super::device::index;
use super::stream::{NON_BLOCKING, clamped};
use crate::abi::{Call, Cu, CuContext, CuEvent, CuGreen, CuResources, CuStream, In, Out};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Multiprocessors, Runtime, indivisible};

/// `CUdevResource`, of which programs read the last words alone.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Resource {
    kind: u32,
    device: u32,
    division: u64,
    set: [u64; 8],
    padding: [u32; 4],
    count: u32,
    least: u32,
    alignment: u32,
    rest: [u32; 9],
}

const MULTIPROCESSORS: u32 = 1;

const NOTHING: Resource = Resource {
    kind: 0,
    device: 0,
    division: 0,
    set: [0; 8],
    padding: [0; 4],
    count: 0,
    least: 0,
    alignment: 0,
    rest: [0; 9],
};

fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, text)
}

impl Resource {
    /// Nothing has the type of nothing.
    fn of(runtime: &Runtime, some: &Multiprocessors) -> Outcome<Self> {
        let caps = runtime.device(some.device)?.device.caps();
        let (count, alignment) = (some.count(caps), indivisible(caps));
        if count == 0 {
            return Ok(NOTHING);
        }
        let (device, division, set) = (some.device as u32, some.division, some.set);
        Ok(Self { kind: MULTIPROCESSORS, device, division, set, count, least: alignment, alignment, ..NOTHING })
    }

    /// What a program hands in may be anything.
    fn multiprocessors(&self, runtime: &Runtime) -> Outcome<Multiprocessors> {
        let unknown = || Failure::new(Code::ERROR_INVALID_RESOURCE_TYPE, "not a resource of multiprocessors");
        let Self { kind, device, division, set, .. } = *self;
        let some = Multiprocessors { device: device as usize, division, set };
        let state = runtime.device(some.device).map_err(|_| unknown())?;
        match kind == MULTIPROCESSORS && some.is_of(state.device.caps()) {
            true => Ok(some),
            false => Err(unknown()),
        }
    }
}

fn tell(runtime: &Runtime, resource: Out<Resource>, kind: u32, some: &Multiprocessors) -> Outcome {
    if kind != MULTIPROCESSORS {
        return Err(Failure::new(Code::ERROR_INVALID_RESOURCE_TYPE, format!("resources of type {kind}")));
    }
    resource.set(Resource::of(runtime, some)?)
}

pub(crate) fn device_resource(call: &Call, device: i32, resource: Out<Resource>, kind: u32) -> Outcome {
    let (runtime, device) = (call.runtime()?, index(device)?);
    let caps = runtime.device(device)?.device.caps();
    tell(runtime, resource, kind, &Multiprocessors::all(device, caps))
}

pub(crate) fn context_resource(call: &Call, context: CuContext, resource: Out<Resource>, kind: u32) -> Outcome {
    let runtime = call.runtime()?;
    let context = runtime.contexts.get(named(call, context)?)?;
    context.session()?;
    tell(runtime, resource, kind, &runtime.context_multiprocessors(&context))
}

pub(crate) fn resource(call: &Call, green: CuGreen, resource: Out<Resource>, kind: u32) -> Outcome {
    let runtime = call.runtime()?;
    let green = runtime.green(Some(green.get()?))?;
    tell(runtime, resource, kind, &runtime.context_multiprocessors(&*runtime.contexts.get(green.context)?))
}

/// Divides multiprocessors, or says how many groups that would make. Any of ours go together in clusters, so that no use
/// asks for more. NVIDIA's driver takes unknown flags too.
pub(crate) fn split(
    call: &Call,
    groups: Out<Resource>,
    count: In<u32>,
    whole: In<Resource>,
    rest: Out<Resource>,
    _flags: u32,
    least: u32,
) -> Outcome {
    let runtime = call.runtime()?;
    let whole = whole.get()?.multiprocessors(runtime)?;
    let wanted = count.get()? as usize;
    if !groups.is_null() && wanted == 0 {
        return Err(wrong("no room for a group"));
    }
    let most = if groups.is_null() { usize::MAX } else { wanted };
    let (made, left) = runtime.divide(&whole, most, least)?;
    count.slot(0).set(made.len() as u32)?;
    if groups.is_null() {
        return Ok(());
    }
    for (at, group) in made.iter().enumerate() {
        groups.at(at).set(Resource::of(runtime, group)?)?;
    }
    rest.set_if_wanted(Resource::of(runtime, &left)?);
    Ok(())
}

pub(crate) fn describe(call: &Call, description: Out<CuResources>, resources: In<Resource>, count: u32) -> Outcome {
    if description.is_null() || count == 0 {
        return Err(wrong("no resources, or no place for their description"));
    }
    let runtime = call.runtime()?;
    let resources = resources.list(count as usize)?;
    let groups = resources.iter().map(|resource| resource.multiprocessors(runtime)).collect::<Outcome<Vec<_>>>()?;
    description.set(Cu::new(runtime.describe_resources(&groups)?))
}

pub(crate) fn create(call: &Call, green: Out<CuGreen>, description: CuResources, device: i32, flags: u32) -> Outcome {
    const DEFAULT_STREAM: u32 = 1;
    if green.is_null() || flags != DEFAULT_STREAM {
        return Err(wrong(format!("flags {flags:#x}, or no place for the context")));
    }
    // An H200's driver takes no description for all multiprocessors.
    let description = match description.is_null() {
        true => None,
        false => Some(description.get().map_err(|_| wrong("not a description of resources"))?),
    };
    green.set(Cu::new(call.runtime()?.create_green(description, index(device)?)?))
}

pub(crate) fn destroy(call: &Call, green: CuGreen) -> Outcome {
    Ok(call.runtime()?.destroy_green(green.get()?)?)
}

pub(crate) fn as_context(call: &Call, context: Out<CuContext>, green: CuGreen) -> Outcome {
    context.set(Cu::new(call.runtime()?.green(Some(green.get()?))?.context))
}

pub(crate) fn id(call: &Call, green: CuGreen, id: Out<u64>) -> Outcome {
    let named = if green.is_null() { None } else { Some(green.get()?) };
    id.set(call.runtime()?.green(named)?.id)
}

pub(crate) fn record(call: &Call, green: CuGreen, event: CuEvent) -> Outcome {
    Ok(call.runtime()?.record_green(green.get()?, event.get()?)?)
}

pub(crate) fn wait(call: &Call, green: CuGreen, event: CuEvent) -> Outcome {
    Ok(call.runtime()?.green_wait(green.get()?, event.get()?)?)
}

pub(crate) fn create_stream(call: &Call, stream: Out<CuStream>, green: CuGreen, flags: u32, priority: i32) -> Outcome {
    if flags != NON_BLOCKING || stream.is_null() {
        return Err(wrong("streams of green contexts are made non-blocking"));
    }
    let made = call.runtime()?.create_green_stream(green.get()?, flags, clamped(priority))?;
    stream.set(Cu::new(made))
}

/// The green context that a stream is of, or null.
pub(crate) fn of_stream(call: &Call, stream: CuStream, green: Out<CuGreen>) -> Outcome {
    let (_, found) = call.runtime()?.stream_contexts(call.stream(stream)?)?;
    green.set(found.map_or(CuGreen::NULL, Cu::new))
}

// Contexts that are kept to a number of multiprocessors from their creation on: NVIDIA's driver has such where programs
// share a device by way of a service of its own, and not without.

/// `CUexecAffinityParam`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Affinity {
    kind: u32,
    multiprocessors: u32,
}

const COUNT: u32 = 0;

fn check_kind(kind: u32) -> Outcome {
    match kind {
        COUNT => Ok(()),
        _ => Err(wrong(format!("execution affinity {kind}"))),
    }
}

fn no_affinity() -> Failure {
    Failure::new(Code::ERROR_UNSUPPORTED_EXEC_AFFINITY, "contexts have all multiprocessors; green contexts have some")
}

/// Refuses a list that asks for something.
pub(crate) fn without_affinity(list: In<Affinity>, count: i32) -> Outcome {
    let count = usize::try_from(count).map_err(|_| wrong(format!("{count} affinities")))?;
    let asked = list.list(count)?;
    asked.iter().try_for_each(|affinity| check_kind(affinity.kind))?;
    if asked.is_empty() { Ok(()) } else { Err(no_affinity()) }
}

pub(crate) fn affinity_support(call: &Call, supported: Out<i32>, kind: u32, device: i32) -> Outcome {
    call.runtime()?.device(index(device)?)?;
    check_kind(kind)?;
    supported.set(0)
}

/// How many multiprocessors the current context has. NVIDIA's driver says so also where contexts cannot be kept to fewer.
pub(crate) fn affinity(call: &Call, affinity: Out<Affinity>, kind: u32) -> Outcome {
    check_kind(kind)?;
    let runtime = call.runtime()?;
    let context = runtime.contexts.get(named(call, CuContext::NULL)?)?;
    context.session()?.check()?;
    if runtime.is_green(&context) {
        return Err(Failure::new(Code::ERROR_INVALID_CONTEXT, "a green context has no affinity, but resources"));
    }
    let multiprocessors = runtime.context_multiprocessors(&context).count(context.device.device.caps());
    affinity.set(Affinity { kind, multiprocessors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!((size_of::<Resource>(), offset_of!(Resource, count)), (144, 96));
        assert_eq!(offset_of!(Resource, alignment), 104);
        assert_eq!((size_of::<Affinity>(), offset_of!(Affinity, multiprocessors)), (8, 4));
    }
}
