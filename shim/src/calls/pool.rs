//! Memory pools, and memory in the order of streams.

use super::location::{self, Place, wrong};
use super::share::Shared;
use super::vmm::{AccessDescription, FILE, flags_of};
use crate::abi::{Call, CuMemoryPool, CuStream, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Access, AllocationKind, Handle, Location, Pool, PoolTraits, Runtime, program_file};
use std::os::fd::IntoRawFd;
use std::sync::Arc;

/// `CUmemPoolProps`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Properties {
    kind: i32,
    handle_types: u32,
    location: Place,
    windows: Pointer,
    most: usize,
    usage: u16,
    reserved: [u8; 54],
}

const PINNED: i32 = 1;
const MANAGED: i32 = 2;

/// What a pool of memory of a type at a place is.
fn traits(runtime: &Runtime, kind: i32, place: Place) -> Outcome<PoolTraits> {
    let location = place.location(runtime, Code::ERROR_INVALID_VALUE)?;
    let device = if let Location::Device(index) = location { index } else { 0 };
    let kind = match (kind, location) {
        (PINNED, Location::Device(_)) => AllocationKind::Device,
        (PINNED, Location::Host) => AllocationKind::Pinned,
        (MANAGED, Location::Anywhere | Location::Device(_) | Location::Host) => AllocationKind::Managed,
        (PINNED | MANAGED, Location::HostNode(_) | Location::HostNodeHere) => {
            return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "memory pools of a NUMA node"));
        }
        _ => return Err(wrong(format!("a memory pool of type {kind} at a location of type {}", place.kind))),
    };
    Ok(PoolTraits { kind, location, device, handle_types: 0, most: 0 })
}

fn device_traits(call: &Call, device: i32) -> Outcome<PoolTraits> {
    let runtime = call.runtime()?;
    Ok(runtime.device_pool(location::device(runtime, device, Code::ERROR_INVALID_DEVICE)?))
}

fn pool(call: &Call, handle: CuMemoryPool) -> Outcome<Arc<Pool>> {
    Ok(call.runtime()?.pools.get(handle.get()?)?)
}

pub(crate) fn create(call: &Call, handle: Out<CuMemoryPool>, properties: In<Properties>) -> Outcome {
    let runtime = call.runtime()?;
    let Properties { kind, handle_types, location, most, reserved, .. } = properties.get()?;
    const FABRIC: u32 = 8;
    if handle.is_null() || reserved.iter().any(|&byte| byte != 0) {
        return Err(wrong("reserved bytes must be 0, and the result must go somewhere"));
    }
    match handle_types {
        0 | FILE => {}
        FABRIC => return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "fabric handles")),
        other => return Err(wrong(format!("handle types {other:#x}"))),
    }
    let traits = PoolTraits { handle_types, most: most as u64, ..traits(runtime, kind, location)? };
    handle.set(CuMemoryPool::new(runtime.create_pool(traits)?))
}

pub(crate) fn destroy(call: &Call, handle: CuMemoryPool) -> Outcome {
    Ok(call.runtime()?.destroy_pool(handle.get()?)?)
}

pub(crate) fn device_default(call: &Call, handle: Out<CuMemoryPool>, device: i32) -> Outcome {
    handle.set(CuMemoryPool::new(call.runtime()?.default_pool(device_traits(call, device)?)?))
}

pub(crate) fn device_current(call: &Call, handle: Out<CuMemoryPool>, device: i32) -> Outcome {
    handle.set(CuMemoryPool::new(call.runtime()?.current_pool(device_traits(call, device)?)?))
}

pub(crate) fn set_device_current(call: &Call, device: i32, handle: CuMemoryPool) -> Outcome {
    let traits = device_traits(call, device)?;
    Ok(call.runtime()?.set_current_pool(traits, handle.get()?)?)
}

pub(crate) fn place_default(call: &Call, handle: Out<CuMemoryPool>, place: In<Place>, kind: i32) -> Outcome {
    let runtime = call.runtime()?;
    handle.set(CuMemoryPool::new(runtime.default_pool(traits(runtime, kind, place.get()?)?)?))
}

pub(crate) fn place_current(call: &Call, handle: Out<CuMemoryPool>, place: In<Place>, kind: i32) -> Outcome {
    let runtime = call.runtime()?;
    handle.set(CuMemoryPool::new(runtime.current_pool(traits(runtime, kind, place.get()?)?)?))
}

pub(crate) fn set_place_current(call: &Call, place: In<Place>, kind: i32, handle: CuMemoryPool) -> Outcome {
    let runtime = call.runtime()?;
    Ok(runtime.set_current_pool(traits(runtime, kind, place.get()?)?, handle.get()?)?)
}

const REUSE_FOLLOW_EVENTS: u32 = 1;
const REUSE_OPPORTUNISTIC: u32 = 2;
const REUSE_INTERNAL: u32 = 3;
const THRESHOLD: u32 = 4;
const RESERVED: u32 = 5;
const RESERVED_HIGH: u32 = 6;
const USED: u32 = 7;
const USED_HIGH: u32 = 8;

pub(crate) fn attribute(call: &Call, handle: CuMemoryPool, attribute: u32, value: Out<u64>) -> Outcome {
    let pool = pool(call, handle)?;
    let (reuse, word) = (pool.reuse(), value.cast::<i32>());
    match attribute {
        REUSE_FOLLOW_EVENTS => word.set(reuse.follow_events.into()),
        REUSE_OPPORTUNISTIC => word.set(reuse.opportunistic.into()),
        REUSE_INTERNAL => word.set(reuse.internal_dependencies.into()),
        THRESHOLD => value.set(pool.threshold()),
        RESERVED => value.set(pool.reserved().now),
        RESERVED_HIGH => value.set(pool.reserved().high),
        USED => value.set(pool.used().now),
        USED_HIGH => value.set(pool.used().high),
        _ => Err(wrong(format!("no attribute {attribute} of a memory pool"))),
    }
}

pub(crate) fn set_attribute(call: &Call, handle: CuMemoryPool, attribute: u32, value: In<u64>) -> Outcome {
    let pool = pool(call, handle)?;
    let flag = || Ok::<bool, Failure>(value.cast::<i32>().get()? != 0);
    match attribute {
        REUSE_FOLLOW_EVENTS => {
            let flag = flag()?;
            pool.set_reuse(|reuse| reuse.follow_events = flag);
        }
        REUSE_OPPORTUNISTIC => {
            let flag = flag()?;
            pool.set_reuse(|reuse| reuse.opportunistic = flag);
        }
        REUSE_INTERNAL => {
            let flag = flag()?;
            pool.set_reuse(|reuse| reuse.internal_dependencies = flag);
        }
        THRESHOLD => pool.set_threshold(value.get()?),
        RESERVED_HIGH if value.get()? == 0 => pool.reset_reserved_high(),
        USED_HIGH if value.get()? == 0 => pool.reset_used_high(),
        _ => return Err(wrong(format!("attribute {attribute} of a memory pool, or this value of it, cannot be set"))),
    }
    Ok(())
}

pub(crate) fn trim(call: &Call, handle: CuMemoryPool, keep: usize) -> Outcome {
    Ok(call.runtime()?.trim_pool(handle.get()?, keep as u64)?)
}

/// What a device may do with a pool's memory: its own everything, others what they were let where it is the host's.
pub(crate) fn access(call: &Call, flags: Out<u32>, handle: CuMemoryPool, place: In<Place>) -> Outcome {
    let pool = pool(call, handle)?;
    let location = place.get()?.location(call.runtime()?, Code::ERROR_INVALID_VALUE)?;
    let all = match location {
        Location::Device(index) if pool.traits.kind == AllocationKind::Device && index == pool.traits.device => true,
        Location::Device(index) => pool.is_reached(index),
        _ => pool.traits.kind != AllocationKind::Device,
    };
    flags.set(flags_of(if all { Access::ReadWrite } else { Access::None }))
}

/// A device keeps its access; others get it where they reach the device's memory.
pub(crate) fn set_access(
    call: &Call,
    handle: CuMemoryPool,
    descriptions: In<AccessDescription>,
    count: usize,
) -> Outcome {
    const NONE: u32 = 0;
    const READ: u32 = 1;
    const ALL: u32 = 3;
    let (runtime, pool) = (call.runtime()?, pool(call, handle)?);
    for AccessDescription { location: place, flags } in descriptions.list(count)? {
        if place.kind != location::DEVICE {
            return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "access of the host to a memory pool"));
        }
        let device = location::device(runtime, place.id, Code::ERROR_INVALID_DEVICE)?;
        match flags {
            ALL | NONE
                if pool.traits.kind != AllocationKind::Device || runtime.can_reach(device, pool.traits.device)? =>
            {
                pool.set_reached(&runtime.memory, device, flags == ALL)?;
            }
            ALL if device == pool.traits.device => {}
            NONE if device != pool.traits.device => {}
            NONE | ALL => {
                let message = format!("access of device {device} to this memory pool cannot be changed so");
                return Err(Failure::new(Code::ERROR_INVALID_DEVICE, message));
            }
            READ => return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "a memory pool that may only be read")),
            other => return Err(wrong(format!("access flags {other}"))),
        }
    }
    Ok(())
}

pub(crate) fn allocate(call: &Call, pointer: Out<Pointer>, bytes: usize, stream: CuStream) -> Outcome {
    let runtime = call.runtime()?;
    if pointer.is_null() {
        return Err(wrong("null for an address"));
    }
    pointer.set(Pointer(runtime.allocate_in(call.stream(stream)?, bytes as u64)?))
}

pub(crate) fn allocate_from(
    call: &Call,
    pointer: Out<Pointer>,
    bytes: usize,
    handle: CuMemoryPool,
    stream: CuStream,
) -> Outcome {
    let runtime = call.runtime()?;
    if pointer.is_null() {
        return Err(wrong("null for an address"));
    }
    pointer.set(Pointer(runtime.allocate_from(handle.get()?, call.stream(stream)?, bytes as u64)?))
}

pub(crate) fn free(call: &Call, pointer: Pointer, stream: CuStream) -> Outcome {
    let (runtime, stream) = (call.runtime()?, call.stream(stream)?);
    match pointer.0 {
        0 => Ok(()),
        start => Ok(runtime.free_in(stream, start)?),
    }
}

pub(crate) fn export(call: &Call, file: Out<i32>, handle: CuMemoryPool, kind: u32, flags: u64) -> Outcome {
    let runtime = call.runtime()?;
    if kind != FILE || flags != 0 || file.is_null() {
        return Err(wrong(format!("a handle of type {kind}, flags {flags}")));
    }
    file.set(runtime.export_pool(handle.get()?)?.into_raw_fd())
}

/// A file descriptor comes in a pointer's place.
pub(crate) fn import(call: &Call, handle: Out<CuMemoryPool>, file: Pointer, kind: u32, flags: u64) -> Outcome {
    let runtime = call.runtime()?;
    if kind != FILE || flags != 0 || handle.is_null() {
        return Err(wrong(format!("a handle of type {kind}, flags {flags}")));
    }
    let file = program_file(file.0 as i32).ok_or_else(|| wrong(format!("{} is not an open file", file.0)))?;
    let pool: Handle<Pool> = runtime.import_pool(file, FILE)?;
    handle.set(CuMemoryPool::new(pool))
}

pub(crate) fn export_pointer(call: &Call, shared: Out<Shared>, pointer: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    shared.set(Shared::new(&runtime.share_pooled(pointer.0)?))
}

pub(crate) fn import_pointer(call: &Call, pointer: Out<Pointer>, handle: CuMemoryPool, shared: In<Shared>) -> Outcome {
    let runtime = call.runtime()?;
    if pointer.is_null() {
        return Err(wrong("null for an address"));
    }
    pointer.set(Pointer(runtime.open_pooled(handle.get()?, &shared.get()?.ticket()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_laid_out_as_in_c() {
        assert_eq!((size_of::<Properties>(), std::mem::offset_of!(Properties, most)), (88, 24));
    }
}
