//! The CUDA driver API of a library opened by path: ours, the way a program sees it.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;

use libloading::Library;

use super::table;
use crate::cpu::case::{Access, Argument, Case};
use crate::cpu::engine::{Engine, Prepared};

type Handle = *mut c_void;
type Pointer = u64;

/// Numbers of the interface.
const JIT_ERROR_LOG_BUFFER: c_uint = 5;
const JIT_ERROR_LOG_BUFFER_SIZE: c_uint = 6;
const SUCCESS: c_int = 0;

table!(Table -> c_int {
    init = "cuInit": fn(c_uint);
    device_get = "cuDeviceGet": fn(*mut c_int, c_int);
    device_name = "cuDeviceGetName": fn(*mut c_char, c_int, c_int);
    context_retain = "cuDevicePrimaryCtxRetain": fn(*mut Handle, c_int);
    context_set = "cuCtxSetCurrent": fn(Handle);
    synchronize = "cuCtxSynchronize": fn();
    error_name = "cuGetErrorName": fn(c_int, *mut *const c_char);
    module_load = "cuModuleLoadDataEx": fn(*mut Handle, *const c_void, c_uint, *mut c_uint, *mut *mut c_void);
    module_unload = "cuModuleUnload": fn(Handle);
    module_function = "cuModuleGetFunction": fn(*mut Handle, Handle, *const c_char);
    launch = "cuLaunchKernel": fn(
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void,
    );
    memory_alloc = "cuMemAlloc_v2": fn(*mut Pointer, usize);
    memory_free = "cuMemFree_v2": fn(Pointer);
    copy_in = "cuMemcpyHtoD_v2": fn(Pointer, *const c_void, usize);
    copy_out = "cuMemcpyDtoH_v2": fn(*mut c_void, Pointer, usize);
});

/// The library with the primary context of its first device current in this thread.
pub(crate) struct Cuda {
    table: Table,
    device: String,
    _library: Library,
}

impl Cuda {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: the path is named by whoever starts the benchmark; a driver library's initialisers may run anywhere.
        let library = unsafe { Library::new(path) }.map_err(|error| format!("{}: {error}", path.display()))?;
        let table = Table::load(&library)?;
        let mut cuda = Self { table, device: String::new(), _library: library };
        let (mut device, mut context, mut name) = (0, ptr::null_mut(), [0u8; 256]);
        // SAFETY: every pointer is to a local variable of the documented type, the name with its length.
        unsafe {
            cuda.check("cuInit", (cuda.table.init)(0))?;
            cuda.check("cuDeviceGet", (cuda.table.device_get)(&mut device, 0))?;
            let named = (cuda.table.device_name)(name.as_mut_ptr().cast(), name.len() as c_int, device);
            cuda.check("cuDeviceGetName", named)?;
            cuda.check("cuDevicePrimaryCtxRetain", (cuda.table.context_retain)(&mut context, device))?;
            cuda.check("cuCtxSetCurrent", (cuda.table.context_set)(context))?;
        }
        cuda.device = text(&name);
        Ok(cuda)
    }

    fn check(&self, function: &str, result: c_int) -> Result<(), String> {
        if result == SUCCESS {
            return Ok(());
        }
        let mut name = ptr::null();
        // SAFETY: `name` is a local variable; the function sets it to a string that stays, or leaves it null.
        let name = unsafe {
            (self.table.error_name)(result, &mut name);
            if name.is_null() { result.to_string().into() } else { CStr::from_ptr(name).to_string_lossy() }
        };
        Err(format!("{function}: {name}"))
    }

    fn load(&self, ptx: &str) -> Result<Handle, String> {
        let ptx = CString::new(ptx).map_err(|_| "the PTX contains a zero byte")?;
        let mut log = vec![0u8; 4096];
        let mut options = [JIT_ERROR_LOG_BUFFER, JIT_ERROR_LOG_BUFFER_SIZE];
        // The size is passed in the pointer's place.
        let mut values = [log.as_mut_ptr().cast(), log.len() as Handle];
        let mut module = ptr::null_mut();
        // SAFETY: the text ends in a zero byte; the log outlives the call and has the size that is given.
        let result = unsafe {
            (self.table.module_load)(
                &mut module,
                ptx.as_ptr().cast(),
                options.len() as c_uint,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        self.check("cuModuleLoadDataEx", result).map_err(|error| format!("{error} {}", text(&log)))?;
        Ok(module)
    }
}

impl Engine for Cuda {
    fn device(&self) -> String {
        self.device.clone()
    }

    fn prepare<'a>(&'a self, source: &str, _: &str, case: &Case) -> Result<Box<dyn Prepared + 'a>, String> {
        let mut loaded = Loaded { cuda: self, module: self.load(source)?, buffers: Vec::new(), steps: Vec::new() };
        for buffer in &case.buffers {
            let mut address = 0;
            // SAFETY: the address goes to a local variable.
            let result = unsafe { (self.table.memory_alloc)(&mut address, buffer.bytes.len()) };
            self.check("cuMemAlloc", result)?;
            loaded.buffers.push((address, buffer.bytes.len()));
            loaded.upload(loaded.buffers.len() - 1, &buffer.bytes)?;
        }
        for step in &case.steps {
            let name = CString::new(step.function).map_err(|_| "a function's name contains a zero byte")?;
            let mut function = ptr::null_mut();
            // SAFETY: the module is loaded, the name ends in a zero byte.
            let result = unsafe { (self.table.module_function)(&mut function, loaded.module, name.as_ptr()) };
            self.check(step.function, result)?;
            let values = step.arguments.iter().map(|argument| match argument {
                Argument::Buffer(index) => loaded.buffers[*index].0,
                Argument::U32(value) => u64::from(*value),
                Argument::F32(value) => u64::from(value.to_bits()),
            });
            let values = values.map(Cell::new).collect();
            loaded.steps.push(Launch { function, grid: step.grid, block: step.block, values });
        }
        Ok(Box::new(loaded))
    }
}

struct Launch {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    /// An argument of four bytes stands in the first four, as on every host there is a driver for.
    values: Vec<Cell<u64>>,
}

struct Loaded<'a> {
    cuda: &'a Cuda,
    module: Handle,
    buffers: Vec<(Pointer, usize)>,
    steps: Vec<Launch>,
}

impl Loaded<'_> {
    fn upload(&self, index: usize, bytes: &[u8]) -> Result<(), String> {
        let (address, size) = self.buffers[index];
        // SAFETY: no more is copied than the slice and the allocation hold.
        let result = unsafe { (self.cuda.table.copy_in)(address, bytes.as_ptr().cast(), size.min(bytes.len())) };
        self.cuda.check("cuMemcpyHtoD", result)
    }
}

impl Prepared for Loaded<'_> {
    fn reset(&mut self, case: &Case) -> Result<(), String> {
        for (index, buffer) in case.buffers.iter().enumerate().filter(|(_, buffer)| buffer.access == Access::Update) {
            self.upload(index, &buffer.bytes)?;
        }
        Ok(())
    }

    fn enqueue(&mut self) -> Result<(), String> {
        for step in &self.steps {
            let mut arguments: [Handle; 16] = [ptr::null_mut(); 16];
            for (slot, value) in arguments.iter_mut().zip(&step.values) {
                *slot = value.as_ptr().cast();
            }
            let ([gx, gy, gz], [bx, by, bz]) = (step.grid, step.block);
            // SAFETY: the function belongs to the loaded module; its arguments lie in cells of eight bytes, of which it
            // takes as many as each parameter has.
            let result = unsafe {
                let (stream, extra) = (ptr::null_mut(), ptr::null_mut());
                let arguments = arguments.as_mut_ptr();
                (self.cuda.table.launch)(step.function, gx, gy, gz, bx, by, bz, 0, stream, arguments, extra)
            };
            self.cuda.check("cuLaunchKernel", result)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        // SAFETY: the function takes no arguments.
        let result = unsafe { (self.cuda.table.synchronize)() };
        self.cuda.check("cuCtxSynchronize", result)
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>, String> {
        let (address, size) = self.buffers[index];
        let mut bytes = vec![0; size];
        // SAFETY: the vector has the size of the allocation.
        let result = unsafe { (self.cuda.table.copy_out)(bytes.as_mut_ptr().cast(), address, size) };
        self.cuda.check("cuMemcpyDtoH", result)?;
        Ok(bytes)
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        // SAFETY: addresses and module came from this context and are released once.
        unsafe {
            for (address, _) in &self.buffers {
                (self.cuda.table.memory_free)(*address);
            }
            (self.cuda.table.module_unload)(self.module);
        }
    }
}

/// A string in a buffer that it may not fill.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
