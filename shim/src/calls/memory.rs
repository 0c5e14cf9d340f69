//! Allocations.

use crate::abi::{Call, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Allocation, AllocationKind, Owner, Runtime};

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
    if width == 0 || height == 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("{height} rows of {width} bytes")));
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

/// Flags of host memory. All of it is portable and mapped, whether or not that was asked for.
const PORTABLE: u32 = 1;
const DEVICE_MAPPED: u32 = 2;
const WRITE_COMBINED: u32 = 4;

pub(crate) fn host_allocate(call: &Call, pointer: Out<Pointer>, bytes: usize, flags: u32) -> Outcome {
    const ALL: u32 = PORTABLE | DEVICE_MAPPED | WRITE_COMBINED;
    if flags & !ALL != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}")));
    }
    let runtime = call.runtime()?;
    let session = runtime.session()?;
    if bytes == 0 {
        return pointer.set(Pointer(0));
    }
    // Whether it is portable is kept only of what is write-combined.
    let kept = if flags & WRITE_COMBINED != 0 { flags } else { 0 };
    let start = runtime.memory.allocate_pinned(session.device.index, session.id, bytes as u64, kept)?;
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
        AllocationKind::Device | AllocationKind::Managed | AllocationKind::Mapped => {
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
    match allocation(runtime, host)? {
        found if found.kind == AllocationKind::Managed => flags.set(DEVICE_MAPPED),
        _ => flags.set(host_allocation(runtime, host)?.flags | DEVICE_MAPPED),
    }
}

pub(crate) fn host_register(call: &Call, host: Pointer, bytes: usize, flags: u32) -> Outcome {
    /// Registers of a device, which no memory of a program is here.
    const INPUT_OUTPUT: u32 = 4;
    const READ_ONLY: u32 = 8;
    const ALL: u32 = PORTABLE | DEVICE_MAPPED | INPUT_OUTPUT | READ_ONLY;
    if flags & !ALL != 0 || flags & INPUT_OUTPUT != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}")));
    }
    let runtime = call.runtime()?;
    let session = runtime.session()?;
    Ok(runtime.memory.register(session.device.index, session.id, host.0, bytes as u64, flags & PORTABLE)?)
}

pub(crate) fn host_unregister(call: &Call, host: Pointer) -> Outcome {
    Ok(call.runtime()?.free_host(host.0, AllocationKind::Registered)?)
}
