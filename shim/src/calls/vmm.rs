//! Virtual memory management: addresses and physical memory apart from each other.

use super::location::{self, Place, wrong};
use crate::abi::{Call, CuPhysical, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Access, Location, PhysicalTraits, VMM_GRANULARITY, program_file};
use std::os::fd::IntoRawFd;

/// `CUmemAllocationProp`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Properties {
    kind: i32,
    handle_types: u32,
    location: Place,
    windows: Pointer,
    flags: [u8; 8],
}

/// `CUmemAccessDesc`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct AccessDescription {
    pub(crate) location: Place,
    pub(crate) flags: u32,
}

const PINNED: i32 = 1;
/// The only way to share memory: a file descriptor of POSIX.
pub(crate) const FILE: u32 = 1;
const FABRIC: u32 = 8;

pub(crate) fn access_of(flags: u32) -> Outcome<Access> {
    match flags {
        0 => Ok(Access::None),
        1 => Ok(Access::Read),
        3 => Ok(Access::ReadWrite),
        _ => Err(wrong(format!("access flags {flags}"))),
    }
}

pub(crate) fn flags_of(access: Access) -> u32 {
    match access {
        Access::None => 0,
        Access::Read => 1,
        Access::ReadWrite => 3,
    }
}

pub(crate) fn granularity(call: &Call, size: Out<usize>, properties: In<Properties>, option: u32) -> Outcome {
    const RECOMMENDED: u32 = 1;
    let runtime = call.runtime()?;
    let properties = properties.get()?;
    if option > RECOMMENDED {
        return Err(wrong(format!("granularity option {option}")));
    }
    if properties.location.kind == location::DEVICE
        && let Ok(index) = location::device(runtime, properties.location.id, Code::ERROR_INVALID_DEVICE)
        && !runtime.device(index)?.device.caps().physical
    {
        return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "a device without virtual memory management"));
    }
    size.set(VMM_GRANULARITY as usize)
}

pub(crate) fn reserve(
    call: &Call,
    pointer: Out<Pointer>,
    bytes: usize,
    alignment: usize,
    wanted: Pointer,
    flags: u64,
) -> Outcome {
    let runtime = call.runtime()?;
    if flags != 0 || pointer.is_null() {
        return Err(wrong("flags must be 0, and the result must go somewhere"));
    }
    pointer.set(Pointer(runtime.reserve_addresses(bytes as u64, alignment as u64, wanted.0)?))
}

pub(crate) fn unreserve(call: &Call, pointer: Pointer, bytes: usize) -> Outcome {
    Ok(call.runtime()?.free_addresses(pointer.0, bytes as u64)?)
}

pub(crate) fn create(
    call: &Call,
    handle: Out<CuPhysical>,
    bytes: usize,
    properties: In<Properties>,
    flags: u64,
) -> Outcome {
    let runtime = call.runtime()?;
    let Properties { kind, handle_types, location, flags: mut wishes, .. } = properties.get()?;
    if flags != 0 || kind != PINNED || location.kind != location::DEVICE || handle.is_null() {
        return Err(wrong(format!("memory of type {kind} at a location of type {}, flags {flags}", location.kind)));
    }
    match handle_types {
        0 | FILE => {}
        FABRIC => return Err(Failure::new(Code::ERROR_NOT_PERMITTED, "fabric handles")),
        other => return Err(wrong(format!("handle types {other:#x}"))),
    }
    let device = location::device(runtime, location.id, Code::ERROR_INVALID_DEVICE)?;
    // Memory is not compressed.
    wishes[0] = 0;
    let traits = PhysicalTraits { handle_types, flags: wishes };
    handle.set(CuPhysical::new(runtime.create_physical(device, bytes as u64, traits)?))
}

fn physical(handle: CuPhysical) -> Outcome<hetgpu_runtime::Handle<hetgpu_runtime::Physical>> {
    handle.get()
}

pub(crate) fn release(call: &Call, handle: CuPhysical) -> Outcome {
    Ok(call.runtime()?.release_physical(physical(handle)?)?)
}

pub(crate) fn retain(call: &Call, handle: Out<CuPhysical>, address: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    if handle.is_null() {
        return Err(wrong("null for a handle"));
    }
    handle.set(CuPhysical::new(runtime.retain_physical(address.0)?))
}

pub(crate) fn properties(call: &Call, properties: Out<Properties>, handle: CuPhysical) -> Outcome {
    let memory = call.runtime()?.physical.get(physical(handle)?)?;
    let PhysicalTraits { handle_types, flags } = memory.traits;
    let location = Place { kind: location::DEVICE, id: memory.device as i32 };
    properties.set(Properties { kind: PINNED, handle_types, location, windows: Pointer(0), flags })
}

pub(crate) fn map(
    call: &Call,
    pointer: Pointer,
    bytes: usize,
    offset: usize,
    handle: CuPhysical,
    flags: u64,
) -> Outcome {
    let runtime = call.runtime()?;
    if flags != 0 {
        return Err(wrong(format!("flags {flags}")));
    }
    Ok(runtime.map_physical(pointer.0, bytes as u64, offset as u64, physical(handle)?)?)
}

pub(crate) fn unmap(call: &Call, pointer: Pointer, bytes: usize) -> Outcome {
    Ok(call.runtime()?.unmap_physical(pointer.0, bytes as u64)?)
}

pub(crate) fn set_access(
    call: &Call,
    pointer: Pointer,
    bytes: usize,
    descriptions: In<AccessDescription>,
    count: usize,
) -> Outcome {
    let runtime = call.runtime()?;
    if count == 0 {
        return Err(wrong("no access descriptions"));
    }
    let one = |description: AccessDescription| {
        if description.location.kind == location::HOST {
            return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "access of the host to memory of a device"));
        }
        if description.location.kind != location::DEVICE {
            return Err(wrong(format!("access of a location of type {}", description.location.kind)));
        }
        let device = location::device(runtime, description.location.id, Code::ERROR_INVALID_VALUE)?;
        Ok((device, access_of(description.flags)?))
    };
    let rights = descriptions.list(count)?.into_iter().map(one).collect::<Outcome<Vec<_>>>()?;
    Ok(runtime.set_access(pointer.0, bytes as u64, &rights)?)
}

pub(crate) fn access(call: &Call, flags: Out<u64>, location: In<Place>, pointer: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    let place: Location = location.get()?.location(runtime, Code::ERROR_INVALID_DEVICE)?;
    flags.set(flags_of(runtime.access(place, pointer.0)?).into())
}

pub(crate) fn export(call: &Call, file: Out<i32>, handle: CuPhysical, kind: u32, flags: u64) -> Outcome {
    let runtime = call.runtime()?;
    let memory = runtime.physical.get(physical(handle)?)?;
    if flags != 0 || kind != FILE || memory.traits.handle_types & FILE == 0 || file.is_null() {
        return Err(wrong(format!("a handle of type {kind}, of memory with types {:#x}", memory.traits.handle_types)));
    }
    file.set(runtime.export_physical(physical(handle)?)?.into_raw_fd())
}

/// A file descriptor comes in a pointer's place.
pub(crate) fn import(call: &Call, handle: Out<CuPhysical>, file: Pointer, kind: u32) -> Outcome {
    let runtime = call.runtime()?;
    if kind != FILE || handle.is_null() {
        return Err(wrong(format!("a handle of type {kind}")));
    }
    let file = program_file(file.0 as i32)
        .ok_or_else(|| Failure::new(Code::ERROR_UNKNOWN, format!("{} is not an open file", file.0)))?;
    let traits = PhysicalTraits { handle_types: FILE, flags: [0; 8] };
    handle.set(CuPhysical::new(runtime.import_physical(file, traits)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!((size_of::<Properties>(), std::mem::offset_of!(Properties, flags)), (32, 24));
        assert_eq!(size_of::<AccessDescription>(), 12);
    }
}
