//! Modules and libraries: loading code, and finding what is in it.

use crate::abi::{Call, Cu, CuFunction, CuKernel, CuLibrary, CuModule, In, Out, Pointer, Text};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Code as DeviceCode, ImageSource, Runtime, UNNAMED};
use std::ffi::c_char;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Options of the just-in-time compiler that we act on: where to put what it has to say, and how long it took.
#[derive(Clone, Debug, Default)]
pub(crate) struct JitOptions {
    /// Each option, its value, and where that stands.
    options: Vec<(u32, Pointer, Pointer)>,
}

/// Milliseconds that the compiler took, as a float.
const WALL_TIME: u32 = 2;
const INFO_LOG: u32 = 3;
const INFO_LOG_SIZE: u32 = 4;
const ERROR_LOG: u32 = 5;
const ERROR_LOG_SIZE: u32 = 6;

impl JitOptions {
    pub(crate) fn read(count: u32, names: In<u32>, values: In<Pointer>) -> Outcome<Self> {
        if count > 0 && (names.is_null() || values.is_null()) {
            return Err(Failure::new(Code::ERROR_INVALID_VALUE, "options without values"));
        }
        let option = |index| Ok((names.at(index)?, values.at(index)?, values.slot(index).address()));
        Ok(Self { options: (0..count as usize).map(option).collect::<Outcome<_>>()? })
    }

    /// Says that the logs are empty. Of a link that is all that is written unasked: later its sizes are touched only where
    /// there is something to say, since programs give the array back before that.
    pub(crate) fn clear(&self) -> Outcome {
        self.report(INFO_LOG, INFO_LOG_SIZE, "")?;
        self.report(ERROR_LOG, ERROR_LOG_SIZE, "")
    }

    /// An option's value, and where that stands.
    fn find(&self, wanted: u32) -> Option<(Pointer, Pointer)> {
        self.options.iter().find(|option| option.0 == wanted).map(|&(_, value, place)| (value, place))
    }

    fn tell_time(&self, took: Duration) -> Outcome {
        match self.find(WALL_TIME) {
            Some((_, place)) => place.as_out().set(took.as_secs_f32() * 1000.0),
            None => Ok(()),
        }
    }

    /// Writes a text into a log buffer of the program, if it gave one, and how much of it was used where its size stood.
    fn report(&self, log: u32, size: u32, text: &str) -> Outcome {
        let (Some((buffer, _)), Some((room, used))) = (self.find(log), self.find(size)) else { return Ok(()) };
        let room = room.0 as u32 as usize;
        if buffer.0 == 0 || room == 0 {
            return Ok(());
        }
        buffer.as_out::<c_char>().set_text(text, room)?;
        used.as_out().set(Pointer(text.len().min(room - 1) as u64))
    }
}

/// Reads an image and tells the program's log buffers what there is to say about it.
fn read(runtime: &Runtime, source: ImageSource<'_>, options: &JitOptions) -> Outcome<Arc<DeviceCode>> {
    let device = match runtime.current_context() {
        Ok(context) => context.device.index,
        // A library belongs to no context.
        Err(_) => 0,
    };
    let start = Instant::now();
    let caps = runtime.device(device)?.device.caps();
    let loaded = DeviceCode::load_for(source, UNNAMED, caps.compute, caps.machine);
    options.tell_time(start.elapsed())?;
    options.clear()?;
    if let Ok(code) = &loaded {
        options.report(INFO_LOG, INFO_LOG_SIZE, &code.warnings)?;
    }
    reported(options, loaded)
}

/// Tells the program's error log what came of something.
pub(crate) fn reported<T>(options: &JitOptions, outcome: hetgpu_runtime::Result<T>) -> Outcome<T> {
    if let Err(error) = &outcome {
        options.report(ERROR_LOG, ERROR_LOG_SIZE, &error.to_string())?;
    }
    Ok(outcome?)
}

fn at(image: Pointer) -> Outcome<ImageSource<'static>> {
    match image.0 {
        0 => Err(Failure::new(Code::ERROR_INVALID_VALUE, "no image")),
        address => Ok(ImageSource::Address(address)),
    }
}

pub(crate) fn file(name: Text) -> Outcome<Vec<u8>> {
    let name = name.get()?;
    std::fs::read(&name).map_err(|error| Failure::new(Code::ERROR_FILE_NOT_FOUND, format!("{name}: {error}")))
}

fn load_from(call: &Call, module: Out<CuModule>, source: ImageSource<'_>, options: &JitOptions) -> Outcome {
    let runtime = call.runtime()?;
    runtime.session()?;
    let code = read(runtime, source, options)?;
    module.set(Cu::new(runtime.load_module(&code)?))
}

/// Lazily or at once makes no difference to a program; the runtime library wants to hear "lazily".
pub(crate) fn loading_mode(_call: &Call, mode: Out<u32>) -> Outcome {
    const LAZY: u32 = 2;
    mode.set(LAZY)
}

pub(crate) fn load(call: &Call, module: Out<CuModule>, name: Text) -> Outcome {
    load_from(call, module, ImageSource::Bytes(&file(name)?), &JitOptions::default())
}

pub(crate) fn load_data(call: &Call, module: Out<CuModule>, image: Pointer) -> Outcome {
    load_from(call, module, at(image)?, &JitOptions::default())
}

pub(crate) fn load_data_ex(
    call: &Call,
    module: Out<CuModule>,
    image: Pointer,
    count: u32,
    names: In<u32>,
    values: In<Pointer>,
) -> Outcome {
    load_from(call, module, at(image)?, &JitOptions::read(count, names, values)?)
}

pub(crate) fn unload(call: &Call, module: CuModule) -> Outcome {
    Ok(call.runtime()?.unload_module(module.get()?)?)
}

pub(crate) fn function(call: &Call, function: Out<CuFunction>, module: CuModule, name: Text) -> Outcome {
    function.set(Cu::new(call.runtime()?.function(module.get()?, &name.get()?)?))
}

pub(crate) fn function_count(call: &Call, count: Out<u32>, module: CuModule) -> Outcome {
    count.set(call.runtime()?.functions_of(module.get()?)?.len() as u32)
}

pub(crate) fn enumerate(call: &Call, functions: Out<CuFunction>, count: u32, module: CuModule) -> Outcome {
    let found = call.runtime()?.functions_of(module.get()?)?;
    let mut places = found.iter().take(count as usize).enumerate();
    places.try_for_each(|(index, &function)| functions.at(index).set(Cu::new(function)))
}

/// Address and size; a program may leave out one of the two.
fn place(address: Out<Pointer>, bytes: Out<usize>, found: (u64, u64)) -> Outcome {
    address.set_if_wanted(Pointer(found.0));
    bytes.set_if_wanted(found.1 as usize);
    Ok(())
}

pub(crate) fn global(call: &Call, address: Out<Pointer>, bytes: Out<usize>, module: CuModule, name: Text) -> Outcome {
    let module = call.runtime()?.modules.get(module.get()?)?;
    place(address, bytes, module.global(&name.get()?)?)
}

fn load_library_from(call: &Call, library: Out<CuLibrary>, source: ImageSource<'_>, options: &JitOptions) -> Outcome {
    let runtime = call.runtime()?;
    let code = read(runtime, source, options)?;
    library.set(Cu::new(runtime.load_library(&code)))
}

/// Options of the library itself say how long the image stays and how functions are found; neither matters here.
pub(crate) fn library_load_data(
    call: &Call,
    library: Out<CuLibrary>,
    image: Pointer,
    names: In<u32>,
    values: In<Pointer>,
    count: u32,
    _library_names: In<u32>,
    _library_values: In<Pointer>,
    _library_count: u32,
) -> Outcome {
    load_library_from(call, library, at(image)?, &JitOptions::read(count, names, values)?)
}

pub(crate) fn library_load_file(
    call: &Call,
    library: Out<CuLibrary>,
    name: Text,
    names: In<u32>,
    values: In<Pointer>,
    count: u32,
    _library_names: In<u32>,
    _library_values: In<Pointer>,
    _library_count: u32,
) -> Outcome {
    load_library_from(call, library, ImageSource::Bytes(&file(name)?), &JitOptions::read(count, names, values)?)
}

pub(crate) fn library_unload(call: &Call, library: CuLibrary) -> Outcome {
    Ok(call.runtime()?.unload_library(library.get()?)?)
}

pub(crate) fn library_kernel(call: &Call, kernel: Out<CuKernel>, library: CuLibrary, name: Text) -> Outcome {
    kernel.set(Cu::new(call.runtime()?.kernel(library.get()?, &name.get()?)?))
}

pub(crate) fn library_kernel_count(call: &Call, count: Out<u32>, library: CuLibrary) -> Outcome {
    count.set(call.runtime()?.kernels_of(library.get()?)?.len() as u32)
}

pub(crate) fn library_kernels(call: &Call, kernels: Out<CuKernel>, count: u32, library: CuLibrary) -> Outcome {
    let found = call.runtime()?.kernels_of(library.get()?)?;
    let mut places = found.iter().take(count as usize).enumerate();
    places.try_for_each(|(index, &kernel)| kernels.at(index).set(Cu::new(kernel)))
}

pub(crate) fn library_module(call: &Call, module: Out<CuModule>, library: CuLibrary) -> Outcome {
    module.set(Cu::new(call.runtime()?.library_module(library.get()?)?))
}

pub(crate) fn library_global(
    call: &Call,
    address: Out<Pointer>,
    bytes: Out<usize>,
    library: CuLibrary,
    name: Text,
) -> Outcome {
    let runtime = call.runtime()?;
    let module = runtime.modules.get(runtime.library_module(library.get()?)?)?;
    place(address, bytes, module.global(&name.get()?)?)
}

pub(crate) fn library_managed(
    call: &Call,
    address: Out<Pointer>,
    bytes: Out<usize>,
    library: CuLibrary,
    name: Text,
) -> Outcome {
    place(address, bytes, call.runtime()?.library_managed(library.get()?, &name.get()?)?)
}

/// A function that host and devices call by one address; no device has such.
pub(crate) fn library_unified(call: &Call, function: Out<Pointer>, library: CuLibrary, name: Text) -> Outcome {
    if function.is_null() {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "null for a function"));
    }
    call.runtime()?.libraries.get(library.get()?)?;
    let name = name.get()?;
    Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("no device calls {name} as the host does")))
}
