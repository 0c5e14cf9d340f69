//! Allocations, and what an address is.

use crate::abi::{Call, CuStream, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Allocation, AllocationKind, Context, Handle, Owner, Runtime};

pub(crate) fn info(call: &Call, free: Out<usize>, total: Out<usize>) -> Outcome {
    let runtime = call.runtime()?;
    let session = runtime.session()?;
    let memory = session.device.device.caps().memory;
    free.set_if_wanted(memory.saturating_sub(runtime.memory.used(session.device.index)) as usize);
    total.set_if_wanted(memory as usize);
    Ok(())
}

pub(crate) fn allocate(call: &Call, pointer: Out<Pointer>, bytes: usize) -> Outcome {
    pointer.set(Pointer(call.runtime()?.allocate(bytes as u64)?))
}

pub(crate) fn allocate_pitch(
    call: &Call,
    pointer: Out<Pointer>,
    pitch: Out<usize>,
    width: usize,
    height: usize,
    element: u32,
) -> Outcome {
    if !matches!(element, 4 | 8 | 16) {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("elements of {element} bytes")));
    }
    const ROW_ALIGNMENT: usize = 512;
    let row = width.checked_next_multiple_of(ROW_ALIGNMENT);
    let bytes = row.and_then(|row| Some((row, row.checked_mul(height)?)));
    let (row, bytes) = bytes.ok_or(Code::ERROR_OUT_OF_MEMORY)?;
    pointer.set(Pointer(call.runtime()?.allocate(bytes as u64)?))?;
    pitch.set(row)
}

pub(crate) fn free(call: &Call, pointer: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    match pointer.0 {
        0 => Ok(()),
        start => Ok(runtime.free(start)?),
    }
}

fn allocation(runtime: &Runtime, pointer: Pointer) -> Outcome<Allocation> {
    let found = runtime.memory.find(pointer.0);
    found.ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, format!("{pointer:?} lies in no allocation")))
}

pub(crate) fn address_range(call: &Call, base: Out<Pointer>, bytes: Out<usize>, pointer: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    runtime.session()?;
    let found = runtime.memory.find(pointer.0);
    let found =
        found.ok_or_else(|| Failure::new(Code::ERROR_NOT_FOUND, format!("{pointer:?} lies in no allocation")))?;
    base.set_if_wanted(Pointer(found.start));
    bytes.set_if_wanted(found.bytes as usize);
    Ok(())
}

pub(crate) fn allocate_managed(call: &Call, pointer: Out<Pointer>, bytes: usize, flags: u32) -> Outcome {
    const ATTACH_GLOBAL: u32 = 1;
    const ATTACH_HOST: u32 = 2;
    if !matches!(flags, ATTACH_GLOBAL | ATTACH_HOST) {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}")));
    }
    let runtime = call.runtime()?;
    let session = runtime.session()?;
    let start =
        runtime.memory.allocate_managed(session.device.index, Owner::program(session.id), bytes as u64, flags)?;
    pointer.set(Pointer(start))
}

pub(crate) fn allocate_host(call: &Call, pointer: Out<Pointer>, bytes: usize) -> Outcome {
    host_allocate(call, pointer, bytes, 0)
}

pub(crate) fn host_allocate(call: &Call, pointer: Out<Pointer>, bytes: usize, flags: u32) -> Outcome {
    const ALL: u32 = 7;
    if flags & !ALL != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}")));
    }
    let runtime = call.runtime()?;
    let session = runtime.session()?;
    if bytes == 0 {
        return pointer.set(Pointer(0));
    }
    let start = runtime.memory.allocate_pinned(session.device.index, session.id, bytes as u64, flags)?;
    pointer.set(Pointer(start))
}

pub(crate) fn free_host(call: &Call, pointer: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    match pointer.0 {
        0 => Ok(()),
        start => Ok(runtime.free_host(start, AllocationKind::Pinned)?),
    }
}

fn host_allocation(runtime: &Runtime, host: Pointer) -> Outcome<Allocation> {
    let found = allocation(runtime, host)?;
    match found.kind {
        AllocationKind::Pinned | AllocationKind::Registered => Ok(found),
        AllocationKind::Device | AllocationKind::Managed => {
            Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("{host:?} is not pinned host memory")))
        }
    }
}

/// Devices that reach host memory do so at the host's address.
pub(crate) fn host_device_pointer(call: &Call, device: Out<Pointer>, host: Pointer, flags: u32) -> Outcome {
    let runtime = call.runtime()?;
    let session = runtime.session()?;
    host_allocation(runtime, host)?;
    if flags != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "flags must be 0"));
    }
    if !session.device.device.caps().shares_host_memory {
        return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "this device cannot reach host memory"));
    }
    device.set(host)
}

pub(crate) fn host_flags(call: &Call, flags: Out<u32>, host: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    runtime.session()?;
    const DEVICE_MAPPED: u32 = 2;
    let found = host_allocation(runtime, host)?;
    flags.set(found.flags | DEVICE_MAPPED)
}

pub(crate) fn host_register(call: &Call, host: Pointer, bytes: usize, flags: u32) -> Outcome {
    const INPUT_OUTPUT: u32 = 4;
    const READ_ONLY: u32 = 8;
    const ALL: u32 = 15;
    if flags & !ALL != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}")));
    }
    if flags & (INPUT_OUTPUT | READ_ONLY) != 0 {
        return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, format!("flags {flags:#x}")));
    }
    let runtime = call.runtime()?;
    let session = runtime.session()?;
    Ok(runtime.memory.register(session.device.index, session.id, host.0, bytes as u64, flags)?)
}

pub(crate) fn host_unregister(call: &Call, host: Pointer) -> Outcome {
    Ok(call.runtime()?.free_host(host.0, AllocationKind::Registered)?)
}

pub(crate) fn allocate_async(call: &Call, pointer: Out<Pointer>, bytes: usize, stream: CuStream) -> Outcome {
    pointer.set(Pointer(call.runtime()?.allocate_in(call.stream(stream)?, bytes as u64)?))
}

pub(crate) fn free_async(call: &Call, pointer: Pointer, stream: CuStream) -> Outcome {
    Ok(call.runtime()?.free_in(call.stream(stream)?, pointer.0)?)
}

const DEVICE_ORDINAL: u32 = 9;
/// `CU_DEVICE_INVALID`.
const NO_DEVICE: i32 = -2;

/// What an attribute of a pointer is worth; what kind of number is written depends on the attribute.
enum Attribute {
    Word(u32),
    Long(u64),
}

fn attribute_of(runtime: &Runtime, attribute: u32, pointer: Pointer) -> Outcome<Attribute> {
    use Attribute::{Long, Word};
    const HOST: u32 = 1;
    const DEVICE: u32 = 2;
    const READ_AND_WRITE: u32 = 3;
    let found = allocation(runtime, pointer)?;
    let caps = runtime.device(found.device)?.device.caps();
    let host_memory = matches!(found.kind, AllocationKind::Pinned | AllocationKind::Registered);
    let none = |text: &str| Err(Failure::new(Code::ERROR_INVALID_VALUE, text));
    Ok(match attribute {
        1 => {
            let is_owner = |context: &Context| context.session().is_ok_and(|own| own.id == found.owner.session);
            let owner = runtime.contexts.handles_where(is_owner);
            Long(owner.first().map_or(0, |handle: &Handle<Context>| handle.bits()))
        }
        2 => Word(if host_memory { HOST } else { DEVICE }),
        3 if found.host_visible() && !caps.shares_host_memory => return none("this device cannot reach host memory"),
        3 => Long(pointer.0),
        4 if !found.host_visible() => return none("device memory has no host address"),
        4 => Long(pointer.0),
        // Copies of device memory are done when the call returns.
        6 => Word(u32::from(!found.host_visible())),
        7 | 20 => Long(found.id),
        8 => Word(u32::from(found.kind == AllocationKind::Managed)),
        DEVICE_ORDINAL => Word(found.device as u32),
        11 | 19 => Long(found.start),
        12 | 18 => Long(found.bytes),
        13 => Word(1), // mapped
        16 => Word(READ_AND_WRITE),
        // Sharing with other processes, direct access by other devices, hardware decompression.
        10 | 15 | 21 => Word(0),
        // Handle types, memory pool.
        14 | 17 => Long(0),
        _ => return none("no such pointer attribute"),
    })
}

fn put(value: Out<u64>, attribute: Attribute) -> Outcome {
    match attribute {
        Attribute::Word(word) => value.cast::<u32>().set(word),
        Attribute::Long(long) => value.set(long),
    }
}

pub(crate) fn pointer_attribute(call: &Call, value: Out<u64>, attribute: u32, pointer: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    put(value, attribute_of(runtime, attribute, pointer)?)
}

/// Unlike the single query this succeeds for any address: what is not known reads as 0, the device as none.
pub(crate) fn pointer_attributes(
    call: &Call,
    count: u32,
    attributes: In<u32>,
    values: In<Out<u64>>,
    pointer: Pointer,
) -> Outcome {
    let runtime = call.runtime()?;
    for index in 0..count as usize {
        let (attribute, value) = (attributes.at(index)?, values.at(index)?);
        let nothing = match attribute {
            DEVICE_ORDINAL => Attribute::Word(NO_DEVICE as u32),
            1 | 3 | 4 | 7 | 11 | 12 | 14 | 17..=20 => Attribute::Long(0),
            _ => Attribute::Word(0),
        };
        put(value, attribute_of(runtime, attribute, pointer).unwrap_or(nothing))?;
    }
    Ok(())
}

/// The one attribute that can be set asks for copies that synchronise, which ours of this memory do.
pub(crate) fn set_pointer_attribute(call: &Call, _value: In<u8>, attribute: u32, pointer: Pointer) -> Outcome {
    const SYNC_MEMOPS: u32 = 6;
    allocation(call.runtime()?, pointer)?;
    match attribute {
        SYNC_MEMOPS => Ok(()),
        _ => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("pointer attribute {attribute} cannot be set"))),
    }
}
