//! The linker: several inputs become one image.

use crate::abi::{Call, Cu, CuLinker, In, Out, Pointer, Text};
use crate::calls::module::{self, JitOptions};
use crate::result::{Code, Failure, Outcome};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// Options of the links under way: their log buffers are written until they are destroyed.
static OPTIONS: Mutex<BTreeMap<u64, JitOptions>> = Mutex::new(BTreeMap::new());

fn options() -> MutexGuard<'static, BTreeMap<u64, JitOptions>> {
    OPTIONS.lock().unwrap_or_else(|e| e.into_inner())
}

fn options_of(linker: CuLinker) -> JitOptions {
    options().get(&linker.0).cloned().unwrap_or_default()
}

/// What a program says that an input is.
const PTX: u32 = 1;
const NVVM: u32 = 5;

fn known(kind: u32) -> Outcome {
    match kind {
        0..NVVM => Ok(()),
        NVVM => Err(Failure::new(
            Code::ERROR_NOT_SUPPORTED,
            "NVVM IR is not linked: pass PTX (without -dlto), a fatbin with PTX, or an object file that holds one",
        )),
        _ => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("{kind} is no kind of input"))),
    }
}

pub(crate) fn create(call: &Call, count: u32, names: In<u32>, values: In<Pointer>, linker: Out<CuLinker>) -> Outcome {
    let jit = JitOptions::read(count, names, values)?;
    jit.clear()?;
    if linker.is_null() {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "no place for the linker"));
    }
    let made = Cu::new(call.runtime()?.create_linker()?);
    options().insert(made.0, jit);
    linker.set(made)
}

fn add(call: &Call, linker: CuLinker, kind: u32, bytes: &[u8], name: &str) -> Outcome {
    let runtime = call.runtime()?;
    let state = runtime.linkers.get(linker.get()?)?;
    known(kind)?;
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let bytes = if kind == PTX { &bytes[..end] } else { bytes };
    module::reported(&options_of(linker), state.add(bytes, name)).map(drop)
}

pub(crate) fn add_data(
    call: &Call,
    linker: CuLinker,
    kind: u32,
    data: Pointer,
    bytes: usize,
    name: Text,
    count: u32,
    names: In<u32>,
    values: In<Pointer>,
) -> Outcome {
    JitOptions::read(count, names, values)?;
    let name = name.get().unwrap_or_else(|_| hetgpu_runtime::UNNAMED.to_owned());
    add(call, linker, kind, &data.as_in::<u8>().list(bytes)?, &name)
}

pub(crate) fn add_file(
    call: &Call,
    linker: CuLinker,
    kind: u32,
    path: Text,
    count: u32,
    names: In<u32>,
    values: In<Pointer>,
) -> Outcome {
    JitOptions::read(count, names, values)?;
    let bytes = module::file(path)?;
    add(call, linker, kind, &bytes, &path.get()?)
}

/// The image lives as long as the linker.
pub(crate) fn complete(call: &Call, linker: CuLinker, image: Out<Pointer>, bytes: Out<usize>) -> Outcome {
    let state = call.runtime()?.linkers.get(linker.get()?)?;
    let linked = module::reported(&options_of(linker), state.complete())?;
    image.set(Pointer(linked.as_ptr().expose_provenance() as u64))?;
    bytes.set_if_wanted(linked.len());
    Ok(())
}

pub(crate) fn destroy(call: &Call, linker: CuLinker) -> Outcome {
    call.runtime()?.linkers.remove(linker.get()?)?;
    options().remove(&linker.0);
    Ok(())
}
