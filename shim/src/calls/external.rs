//! Memory and semaphores of other interfaces, and graphics.

use crate::abi::{Call, Cu, CuExternalMemory, CuStream, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Error, adopt_program_file, program_file};

/// `CUDA_EXTERNAL_MEMORY_HANDLE_DESC`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct MemoryHandle {
    kind: u32,
    padding: u32,
    /// A file descriptor in a union with two pointers.
    file: i32,
    rest: [u32; 3],
    bytes: u64,
    flags: u32,
    reserved: [u32; 16],
}

/// `CUDA_EXTERNAL_MEMORY_BUFFER_DESC`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Buffer {
    offset: u64,
    bytes: u64,
    flags: u32,
    reserved: [u32; 16],
}

/// `CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC`, as far as it is looked at.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct SemaphoreHandle {
    kind: u32,
    padding: u32,
    file: i32,
}

fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, text)
}

fn unsupported(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_NOT_SUPPORTED, text)
}

/// What NVIDIA's driver says of a file that is not what was asked for, whatever it is.
fn foreign(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_UNKNOWN, text)
}

/// A file descriptor of the program, which is the library's from here on, be it the right one or not: so it is with
/// NVIDIA's driver.
pub(crate) fn import_memory(call: &Call, memory: Out<CuExternalMemory>, handle: In<MemoryHandle>) -> Outcome {
    const FILE: u32 = 1;
    const OTHERS: u32 = 8;
    const DEDICATED: u32 = 1;
    let runtime = call.runtime()?;
    let MemoryHandle { kind, file, bytes, flags, reserved, .. } = handle.get()?;
    if memory.is_null() || flags & !DEDICATED != 0 || reserved != [0; 16] {
        return Err(wrong(format!("flags {flags:#x}, or no place for the memory")));
    }
    match kind {
        FILE => {}
        ..=OTHERS if kind > FILE => return Err(unsupported(format!("external memory of type {kind}"))),
        _ => return Err(wrong(format!("external memory of type {kind}"))),
    }
    runtime.session()?;
    let copy = program_file(file).ok_or_else(|| foreign(format!("{file} is not an open file descriptor")))?;
    drop(adopt_program_file(file));
    match runtime.import_external(copy, bytes) {
        Err(Error::InvalidHandle(wanted)) => Err(foreign(format!("the file descriptor {file} is no {wanted}"))),
        made => memory.set(Cu::new(made?)),
    }
}

pub(crate) fn destroy_memory(call: &Call, memory: CuExternalMemory) -> Outcome {
    Ok(call.runtime()?.destroy_external(memory.get()?)?)
}

pub(crate) fn mapped_buffer(call: &Call, at: Out<Pointer>, memory: CuExternalMemory, buffer: In<Buffer>) -> Outcome {
    let runtime = call.runtime()?;
    let Buffer { offset, bytes, flags, reserved } = buffer.get()?;
    if at.is_null() || flags != 0 || reserved != [0; 16] {
        return Err(wrong(format!("flags {flags:#x}, or no place for the address")));
    }
    at.set(Pointer(runtime.map_external(memory.get()?, offset, bytes)?))
}

/// The texels of an array lie as its device has them, which no file says.
pub(crate) fn mapped_levels(
    call: &Call,
    levels: Out<Pointer>,
    memory: CuExternalMemory,
    description: In<u8>,
) -> Outcome {
    if levels.is_null() || description.is_null() {
        return Err(wrong("null for the array, or for what it is"));
    }
    call.runtime()?.external.get(memory.get()?)?;
    Err(unsupported("arrays in external memory"))
}

/// Nothing on this system makes semaphores that our streams could wait for.
pub(crate) fn import_semaphore(call: &Call, semaphore: Out<Pointer>, handle: In<SemaphoreHandle>) -> Outcome {
    const FILE: u32 = 1;
    const LAST: u32 = 10;
    const TIMELINE_FILE: u32 = 9;
    call.runtime()?;
    let SemaphoreHandle { kind, file, .. } = handle.get()?;
    match kind {
        _ if semaphore.is_null() => Err(wrong("no place for the semaphore")),
        FILE | TIMELINE_FILE => Err(foreign(format!("the file descriptor {file} is no semaphore"))),
        1..=LAST => Err(unsupported(format!("external semaphores of type {kind}"))),
        _ => Err(wrong(format!("external semaphore of type {kind}"))),
    }
}

fn none(what: &str) -> Failure {
    Failure::new(Code::ERROR_INVALID_HANDLE, format!("not {what}: there are none"))
}

pub(crate) fn destroy_semaphore(call: &Call, _semaphore: Pointer) -> Outcome {
    call.runtime()?;
    Err(none("an external semaphore"))
}

/// Signals and waits.
pub(crate) fn use_semaphores(
    call: &Call,
    semaphores: In<Pointer>,
    params: In<u8>,
    count: u32,
    _stream: CuStream,
) -> Outcome {
    call.runtime()?;
    match semaphores.is_null() || params.is_null() || count == 0 {
        true => Err(wrong("no semaphores")),
        false => Err(none("external semaphores")),
    }
}

// Resources of graphics interfaces, none of which can be registered.

pub(crate) fn graphics_resources(call: &Call, count: u32, resources: In<Pointer>, _stream: CuStream) -> Outcome {
    call.runtime()?.session()?;
    match resources.is_null() || count == 0 {
        true => Err(wrong("no resources")),
        false => Err(none("graphics resources")),
    }
}

pub(crate) fn graphics_resource(call: &Call, _resource: Pointer) -> Outcome {
    call.runtime()?.session()?;
    Err(none("a graphics resource"))
}

pub(crate) fn graphics_pointer(call: &Call, _at: Out<Pointer>, _bytes: Out<usize>, resource: Pointer) -> Outcome {
    graphics_resource(call, resource)
}

pub(crate) fn graphics_levels(call: &Call, _levels: Out<Pointer>, resource: Pointer) -> Outcome {
    graphics_resource(call, resource)
}

pub(crate) fn graphics_array(
    call: &Call,
    _array: Out<Pointer>,
    resource: Pointer,
    _index: u32,
    _level: u32,
) -> Outcome {
    graphics_resource(call, resource)
}

pub(crate) fn graphics_flags(call: &Call, resource: Pointer, _flags: u32) -> Outcome {
    graphics_resource(call, resource)
}

/// The devices of the current context of OpenGL, which has none here.
pub(crate) fn gl_devices(call: &Call, _count: Out<u32>, _devices: Out<i32>, _most: u32, _list: u32) -> Outcome {
    call.runtime()?;
    Err(Failure::new(Code::ERROR_INVALID_GRAPHICS_CONTEXT, "no context of OpenGL on a device of ours"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!((size_of::<MemoryHandle>(), offset_of!(MemoryHandle, bytes)), (104, 24));
        assert_eq!(offset_of!(MemoryHandle, file), 8);
        assert_eq!((size_of::<Buffer>(), offset_of!(Buffer, flags)), (88, 16));
        assert_eq!(offset_of!(SemaphoreHandle, file), 8);
    }
}
