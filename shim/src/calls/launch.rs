//! Launches.

use super::function::function;
use crate::abi::{Call, CuEvent, CuFunction, CuStream, In, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Attributes, Event, Handle, Kernel, KernelInfo, LaunchRequest, LaunchShape, Launchable, Runtime};
use std::sync::Arc;

/// `CUlaunchConfig`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct LaunchConfig {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    stream: CuStream,
    attributes: In<LaunchAttribute>,
    attribute_count: u32,
}

impl LaunchConfig {
    pub(crate) fn threads(&self) -> u32 {
        self.block.iter().fold(1, |product, &threads| product.saturating_mul(threads))
    }

    pub(crate) fn dynamic_shared(&self) -> usize {
        self.dynamic_shared as usize
    }

    /// Blocks a cluster; all 1 where none are asked for.
    pub(crate) fn cluster(&self) -> Outcome<[u32; 3]> {
        Ok(self.wishes()?.cluster)
    }

    fn wishes(&self) -> Outcome<Wishes> {
        wishes(&self.attributes.list(self.attribute_count as usize)?)
    }
}

/// `CUlaunchAttribute`: an id, and 64 bytes that depend on it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct LaunchAttribute {
    id: u32,
    padding: u32,
    value: [u32; 16],
}

/// What a list of attributes asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wishes {
    cooperative: bool,
    cluster: [u32; 3],
    /// Recorded when the kernel has ended, which is not before it may be.
    events: Vec<Handle<Event>>,
    /// Hints about caches, order and placement, which a node of a graph keeps.
    hints: Attributes,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { cooperative: false, cluster: [1; 3], events: Vec::new(), hints: Attributes::new() }
    }
}

impl Wishes {
    fn are_none(&self) -> bool {
        !self.cooperative && self.cluster == [1; 3] && self.events.is_empty() && self.hints.is_empty()
    }
}

fn wishes(attributes: &[LaunchAttribute]) -> Outcome<Wishes> {
    const IGNORE: u32 = 0;
    const ACCESS_POLICY: u32 = 1;
    const COOPERATIVE: u32 = 2;
    const SYNCHRONISATION_POLICY: u32 = 3;
    const CLUSTER_DIMENSION: u32 = 4;
    const CLUSTER_SCHEDULING: u32 = 5;
    // Lets a kernel start before its predecessor has ended; ours start when it has, which is always allowed.
    const PROGRAMMATIC_SERIALISATION: u32 = 6;
    const PROGRAMMATIC_EVENT: u32 = 7;
    const PRIORITY: u32 = 8;
    const SYNC_DOMAIN_MAP: u32 = 9;
    const SYNC_DOMAIN: u32 = 10;
    const PREFERRED_CLUSTER_DIMENSION: u32 = 11;
    const COMPLETION_EVENT: u32 = 12;
    const CARVEOUT: u32 = 14;
    const LINK_CENTRIC: u32 = 16;
    let mut wishes = Wishes::default();
    for attribute in attributes {
        match attribute.id {
            COOPERATIVE => wishes.cooperative = attribute.value[0] != 0,
            CLUSTER_DIMENSION => {
                wishes.cluster = [attribute.value[0], attribute.value[1], attribute.value[2]];
            }
            IGNORE | PROGRAMMATIC_SERIALISATION => {}
            PROGRAMMATIC_EVENT | COMPLETION_EVENT => {
                let event = u64::from(attribute.value[0]) | u64::from(attribute.value[1]) << 32;
                wishes.events.push(CuEvent::from_bits(event).get()?);
            }
            ACCESS_POLICY
            | SYNCHRONISATION_POLICY
            | CLUSTER_SCHEDULING
            | PRIORITY
            | SYNC_DOMAIN_MAP
            | SYNC_DOMAIN
            | PREFERRED_CLUSTER_DIMENSION
            | CARVEOUT
            | LINK_CENTRIC => {
                wishes.hints.insert(attribute.id, attribute.value);
            }
            other => return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, format!("launch attribute {other}"))),
        }
    }
    Ok(wishes)
}

/// What `extra` says instead of a list of parameters: a buffer that holds them as the kernel sees them.
fn packed(extra: In<Pointer>) -> Outcome<Vec<u8>> {
    const END: u64 = 0;
    const BUFFER: u64 = 1;
    const SIZE: u64 = 2;
    let (mut buffer, mut size) = (Pointer::default(), None);
    let mut at = 0;
    loop {
        match extra.at(at)?.0 {
            END => break,
            BUFFER => buffer = extra.at(at + 1)?,
            SIZE => size = Some(extra.at(at + 1)?.as_in::<usize>().get()?),
            other => return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("{other} in the extra parameters"))),
        }
        at += 2;
    }
    match size {
        None | Some(0) => Ok(Vec::new()),
        Some(size) => buffer.as_in::<u8>().list(size),
    }
}

/// The parameters of a kernel, from a list of pointers to each.
fn gathered(info: &KernelInfo, params: In<Pointer>) -> Outcome<Arc<[u8]>> {
    const FEW: usize = 256;
    let (mut few, mut many) = ([0; FEW], Vec::new());
    let bytes = match few.get_mut(..info.param_bytes as usize) {
        Some(few) => few,
        None => {
            many.resize(info.param_bytes as usize, 0);
            &mut many[..]
        }
    };
    for (index, param) in info.params.iter().enumerate() {
        let (offset, size) = (param.offset as usize, param.size as usize);
        params.at(index)?.as_in::<u8>().copy_to(&mut bytes[offset..][..size])?;
    }
    Ok(Arc::from(&*bytes))
}

fn parameters(info: &KernelInfo, params: In<Pointer>, extra: In<Pointer>) -> Outcome<Arc<[u8]>> {
    match (params.is_null(), extra.is_null()) {
        (false, false) => Err(Failure::new(Code::ERROR_INVALID_VALUE, "parameters given twice")),
        (_, false) => Ok(packed(extra)?.into()),
        (false, true) => gathered(info, params),
        (true, true) if info.params.is_empty() => Ok(Arc::default()),
        (true, true) => Err(Failure::new(Code::ERROR_INVALID_VALUE, "the kernel's parameters are missing")),
    }
}

/// A kernel by either kind of handle, and its parameters packed.
pub(super) fn target(
    runtime: &Runtime,
    handle: CuFunction,
    params: In<Pointer>,
    extra: In<Pointer>,
) -> Outcome<(Launchable, Arc<[u8]>)> {
    match Handle::<Kernel>::from_bits(handle.0) {
        Some(kernel) => {
            let params = parameters(runtime.kernels.get(kernel)?.info(), params, extra)?;
            Ok((Launchable::Kernel(kernel), params))
        }
        None => {
            let params = parameters(function(runtime, handle)?.info(), params, extra)?;
            Ok((Launchable::Function(handle.get()?), params))
        }
    }
}

fn submit(
    call: &Call,
    handle: CuFunction,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    stream: CuStream,
    wishes: Wishes,
    params: In<Pointer>,
    extra: In<Pointer>,
) -> Outcome {
    let runtime = call.runtime()?;
    let stream = call.stream(stream)?;
    if extra.is_null() && wishes.are_none() {
        let shape = LaunchShape::plain(grid, block, dynamic_shared);
        if let Some(launched) = runtime.launch_at_once(handle.0, stream, &shape, |count| params.params(count)) {
            return Ok(launched?);
        }
    }
    let Wishes { cooperative, cluster, events, hints: attributes } = wishes;
    let (what, params) = target(runtime, handle, params, extra)?;
    // An event that others see or that is timed stands for no kernel's progress.
    if let Some(unfit) = events.iter().find(|&&event| !runtime.events.get(event).is_ok_and(|event| event.is_plain())) {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("{unfit:?} is timed, shared or gone")));
    }
    let request = LaunchRequest { grid, block, cluster, dynamic_shared, cooperative, params, attributes };
    runtime.launch(what, stream, request)?;
    Ok(events.into_iter().try_for_each(|event| runtime.record_event(event, stream))?)
}

pub(crate) fn kernel(
    call: &Call,
    handle: CuFunction,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    shared: u32,
    stream: CuStream,
    params: In<Pointer>,
    extra: In<Pointer>,
) -> Outcome {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    submit(call, handle, grid, block, shared, stream, Wishes::default(), params, extra)
}

pub(crate) fn cooperative(
    call: &Call,
    handle: CuFunction,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    shared: u32,
    stream: CuStream,
    params: In<Pointer>,
) -> Outcome {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let wishes = Wishes { cooperative: true, ..Wishes::default() };
    submit(call, handle, grid, block, shared, stream, wishes, params, In::NULL)
}

pub(crate) fn configured(
    call: &Call,
    config: In<LaunchConfig>,
    handle: CuFunction,
    params: In<Pointer>,
    extra: In<Pointer>,
) -> Outcome {
    let config = config.get()?;
    let wishes = config.wishes()?;
    let LaunchConfig { grid, block, dynamic_shared, stream, .. } = config;
    submit(call, handle, grid, block, dynamic_shared, stream, wishes, params, extra)
}

// Launches that are put together call by call. They are older than captures, which NVIDIA's driver runs them past.

fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, text)
}

pub(crate) fn set_block(call: &Call, handle: CuFunction, x: i32, y: i32, z: i32) -> Outcome {
    let found = function(call.runtime()?, handle)?;
    let threads = |given: i32| u32::try_from(given).ok().filter(|&threads| threads > 0);
    let (Some(x), Some(y), Some(z)) = (threads(x), threads(y), threads(z)) else {
        return Err(wrong(format!("blocks of {x} x {y} x {z} threads")));
    };
    found.change_draft(|draft| draft.set_block([x, y, z]));
    Ok(())
}

pub(crate) fn set_dynamic_shared(call: &Call, handle: CuFunction, bytes: u32) -> Outcome {
    function(call.runtime()?, handle)?.change_draft(|draft| draft.set_dynamic_shared(bytes));
    Ok(())
}

pub(crate) fn set_parameter_bytes(call: &Call, handle: CuFunction, bytes: u32) -> Outcome {
    Ok(function(call.runtime()?, handle)?.change_draft(|draft| draft.set_param_bytes(bytes as usize))?)
}

fn set_parameters(call: &Call, handle: CuFunction, offset: i32, bytes: &[u8]) -> Outcome {
    let found = function(call.runtime()?, handle)?;
    let offset = usize::try_from(offset).map_err(|_| wrong(format!("a parameter at {offset}")))?;
    Ok(found.change_draft(|draft| draft.set_params(offset, bytes))?)
}

pub(crate) fn set_parameter_word(call: &Call, handle: CuFunction, offset: i32, value: u32) -> Outcome {
    set_parameters(call, handle, offset, &value.to_ne_bytes())
}

pub(crate) fn set_parameter_float(call: &Call, handle: CuFunction, offset: i32, value: f32) -> Outcome {
    set_parameters(call, handle, offset, &value.to_ne_bytes())
}

pub(crate) fn set_parameter(call: &Call, handle: CuFunction, offset: i32, value: In<u8>, bytes: u32) -> Outcome {
    set_parameters(call, handle, offset, &value.list(bytes as usize)?)
}

pub(crate) fn draft(call: &Call, handle: CuFunction) -> Outcome {
    draft_grid(call, handle, 1, 1)
}

pub(crate) fn draft_grid(call: &Call, handle: CuFunction, width: i32, height: i32) -> Outcome {
    draft_grid_async(call, handle, width, height, CuStream::NULL)
}

pub(crate) fn draft_grid_async(call: &Call, handle: CuFunction, width: i32, height: i32, stream: CuStream) -> Outcome {
    let runtime = call.runtime()?;
    let (block, dynamic_shared, params) = function(runtime, handle)?.change_draft(|draft| draft.finished())?;
    let blocks = |given: i32| u32::try_from(given).map_err(|_| wrong(format!("a grid of {width} x {height} blocks")));
    let (grid, cluster, cooperative) = ([blocks(width)?, blocks(height)?, 1], [1; 3], false);
    let attributes = Attributes::new();
    let request =
        LaunchRequest { grid, block, cluster, dynamic_shared, cooperative, params: params.into(), attributes };
    let what = match Handle::<Kernel>::from_bits(handle.0) {
        Some(kernel) => Launchable::Kernel(kernel),
        None => Launchable::Function(handle.get()?),
    };
    Ok(runtime.launch_uncaptured(what, call.stream(stream)?, request)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// Sizes and offsets of CUlaunchConfig and CUlaunchAttribute on a 64-bit system.
    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!(size_of::<LaunchConfig>(), 56);
        assert_eq!(offset_of!(LaunchConfig, stream), 32);
        assert_eq!(offset_of!(LaunchConfig, attribute_count), 48);
        assert_eq!(size_of::<LaunchAttribute>(), 72);
        assert_eq!(offset_of!(LaunchAttribute, value), 8);
    }

    #[test]
    fn attributes_are_read() {
        let attribute = |id, value: [u32; 3]| {
            let mut words = [0; 16];
            words[..3].copy_from_slice(&value);
            LaunchAttribute { id, padding: 0, value: words }
        };
        assert_eq!(wishes(&[attribute(4, [1, 1, 1])]).unwrap(), Wishes::default());
        assert_eq!(wishes(&[attribute(4, [2, 4, 1])]).unwrap().cluster, [2, 4, 1]);
        assert_eq!(wishes(&[attribute(2, [1, 0, 0])]).unwrap(), Wishes { cooperative: true, ..Wishes::default() });
        assert_eq!(wishes(&[attribute(8, [7, 0, 0])]).unwrap().hints[&8][0], 7, "a priority");
        assert_eq!(wishes(&[attribute(13, [1, 0, 0])]).unwrap_err().code, Code::ERROR_NOT_SUPPORTED);
        assert_eq!(wishes(&[attribute(12, [1, 0, 0])]).unwrap_err().code, Code::ERROR_INVALID_HANDLE, "no event");
    }
}
