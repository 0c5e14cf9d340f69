//! OpenCL 1.2 through the loader, with whatever single vendor it is told to find.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::ptr;

use libloading::Library;

use super::table;
use crate::cpu::case::{Access, Argument, Case};
use crate::cpu::engine::{Engine, Prepared};

type Handle = *mut c_void;
type Status = c_int;

/// Numbers of the interface.
const DEVICE_TYPE_ALL: u64 = 0xffff_ffff;
const PLATFORM_NAME: c_uint = 0x0902;
const DEVICE_NAME: c_uint = 0x102b;
const DRIVER_VERSION: c_uint = 0x102d;
const PROGRAM_BUILD_LOG: c_uint = 0x1183;
const MEM_READ_WRITE: u64 = 1;
const TRUE: c_uint = 1;

table!(Calls -> Status {
    platforms = "clGetPlatformIDs": fn(c_uint, *mut Handle, *mut c_uint);
    platform_info = "clGetPlatformInfo": fn(Handle, c_uint, usize, *mut c_void, *mut usize);
    devices = "clGetDeviceIDs": fn(Handle, u64, c_uint, *mut Handle, *mut c_uint);
    device_info = "clGetDeviceInfo": fn(Handle, c_uint, usize, *mut c_void, *mut usize);
    build = "clBuildProgram": fn(Handle, c_uint, *const Handle, *const c_char, *const c_void, *mut c_void);
    build_info = "clGetProgramBuildInfo": fn(Handle, Handle, c_uint, usize, *mut c_void, *mut usize);
    set_argument = "clSetKernelArg": fn(Handle, c_uint, usize, *const c_void);
    launch = "clEnqueueNDRangeKernel": fn(
        Handle, Handle, c_uint, *const usize, *const usize, *const usize, c_uint, *const Handle, *mut Handle,
    );
    write = "clEnqueueWriteBuffer": fn(
        Handle, Handle, c_uint, usize, usize, *const c_void, c_uint, *const Handle, *mut Handle,
    );
    read = "clEnqueueReadBuffer": fn(
        Handle, Handle, c_uint, usize, usize, *mut c_void, c_uint, *const Handle, *mut Handle,
    );
    flush = "clFlush": fn(Handle);
    finish = "clFinish": fn(Handle);
    release_kernel = "clReleaseKernel": fn(Handle);
    release_program = "clReleaseProgram": fn(Handle);
    release_memory = "clReleaseMemObject": fn(Handle);
});

table!(Makers -> Handle {
    context = "clCreateContext": fn(*const isize, c_uint, *const Handle, *const c_void, *mut c_void, *mut Status);
    queue = "clCreateCommandQueue": fn(Handle, Handle, u64, *mut Status);
    program = "clCreateProgramWithSource": fn(Handle, c_uint, *const *const c_char, *const usize, *mut Status);
    kernel = "clCreateKernel": fn(Handle, *const c_char, *mut Status);
    buffer = "clCreateBuffer": fn(Handle, u64, usize, *mut c_void, *mut Status);
});

/// The first device of the first platform, with a context and a queue in order.
pub(crate) struct OpenCl {
    calls: Calls,
    makers: Makers,
    device: Handle,
    context: Handle,
    queue: Handle,
    name: String,
    _library: Library,
}

fn check(function: &str, status: Status) -> Result<(), String> {
    if status == 0 { Ok(()) } else { Err(format!("{function}: error {status}")) }
}

impl OpenCl {
    /// Opens the loader. Which vendor it finds stands in the environment that this process was started with.
    pub(crate) fn open(library: &str) -> Result<Self, String> {
        // SAFETY: the library is OpenCL's loader; its initialisers may run anywhere.
        let library = unsafe { Library::new(library) }.map_err(|error| format!("{library}: {error}"))?;
        let (calls, makers) = (Calls::load(&library)?, Makers::load(&library)?);
        let (mut platform, mut device, mut status) = (ptr::null_mut(), ptr::null_mut(), 0);
        // SAFETY: every pointer is to a local variable of the documented type; counts say one.
        let (context, queue) = unsafe {
            check("clGetPlatformIDs", (calls.platforms)(1, &mut platform, ptr::null_mut()))?;
            check("clGetDeviceIDs", (calls.devices)(platform, DEVICE_TYPE_ALL, 1, &mut device, ptr::null_mut()))?;
            let context = (makers.context)(ptr::null(), 1, &device, ptr::null(), ptr::null_mut(), &mut status);
            check("clCreateContext", status)?;
            let queue = (makers.queue)(context, device, 0, &mut status);
            check("clCreateCommandQueue", status)?;
            (context, queue)
        };
        let name = [
            info(|size, to, needed| {
                // SAFETY: the buffer has the size that is given.
                unsafe { (calls.platform_info)(platform, PLATFORM_NAME, size, to, needed) }
            }),
            info(|size, to, needed| {
                // SAFETY: the buffer has the size that is given.
                unsafe { (calls.device_info)(device, DEVICE_NAME, size, to, needed) }
            }),
            info(|size, to, needed| {
                // SAFETY: the buffer has the size that is given.
                unsafe { (calls.device_info)(device, DRIVER_VERSION, size, to, needed) }
            }),
        ];
        Ok(Self { calls, makers, device, context, queue, name: name.join(", "), _library: library })
    }

    fn build(&self, source: &str, options: &str) -> Result<Handle, String> {
        let (text, length) = (source.as_ptr().cast::<c_char>(), source.len());
        let options = CString::new(options).map_err(|_| "the build options contain a zero byte")?;
        let mut status = 0;
        // SAFETY: text and length belong together, one of each.
        let program = unsafe { (self.makers.program)(self.context, 1, &text, &length, &mut status) };
        check("clCreateProgramWithSource", status)?;
        // SAFETY: the program is new; the options end in a zero byte; no callback is given.
        let status =
            unsafe { (self.calls.build)(program, 1, &self.device, options.as_ptr(), ptr::null(), ptr::null_mut()) };
        check("clBuildProgram", status).map_err(|error| {
            let log = info(|size, to, needed| {
                // SAFETY: the buffer has the size that is given.
                unsafe { (self.calls.build_info)(program, self.device, PROGRAM_BUILD_LOG, size, to, needed) }
            });
            // SAFETY: the program was made above and is not used again.
            unsafe { (self.calls.release_program)(program) };
            format!("{error}: {log}")
        })?;
        Ok(program)
    }
}

/// A string that a query returns: asked for its length first.
fn info(mut query: impl FnMut(usize, *mut c_void, *mut usize) -> Status) -> String {
    let mut size = 0;
    if query(0, ptr::null_mut(), &mut size) != 0 {
        return String::new();
    }
    let mut bytes = vec![0u8; size];
    if query(size, bytes.as_mut_ptr().cast(), ptr::null_mut()) != 0 {
        return String::new();
    }
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_string()
}

impl Engine for OpenCl {
    fn device(&self) -> String {
        self.name.clone()
    }

    fn prepare<'a>(&'a self, source: &str, options: &str, case: &Case) -> Result<Box<dyn Prepared + 'a>, String> {
        let program = self.build(source, options)?;
        let mut loaded = Loaded { cl: self, program, buffers: Vec::new(), steps: Vec::new() };
        let mut status = 0;
        for buffer in &case.buffers {
            // SAFETY: the runtime allocates; no pointer of ours is given.
            let handle = unsafe {
                (self.makers.buffer)(self.context, MEM_READ_WRITE, buffer.bytes.len(), ptr::null_mut(), &mut status)
            };
            check("clCreateBuffer", status)?;
            loaded.buffers.push((handle, buffer.bytes.len()));
            loaded.upload(loaded.buffers.len() - 1, &buffer.bytes)?;
        }
        for step in &case.steps {
            let name = CString::new(step.function).map_err(|_| "a function's name contains a zero byte")?;
            // SAFETY: the program is built, the name ends in a zero byte.
            let kernel = unsafe { (self.makers.kernel)(program, name.as_ptr(), &mut status) };
            check("clCreateKernel", status)?;
            let global = std::array::from_fn(|axis| step.grid[axis] as usize * step.block[axis] as usize);
            loaded.steps.push(Launch { kernel, global, local: step.block.map(|size| size as usize) });
            for (index, argument) in step.arguments.iter().enumerate() {
                let set = |size: usize, value: *const c_void| {
                    // SAFETY: the value lies at the pointer in the size that is given; it is copied.
                    let status = unsafe { (self.calls.set_argument)(kernel, index as c_uint, size, value) };
                    check("clSetKernelArg", status)
                };
                match argument {
                    Argument::Buffer(index) => {
                        set(size_of::<Handle>(), ptr::from_ref(&loaded.buffers[*index].0).cast())?;
                    }
                    Argument::U32(value) => set(4, ptr::from_ref(value).cast())?,
                    Argument::F32(value) => set(4, ptr::from_ref(value).cast())?,
                }
            }
        }
        Ok(Box::new(loaded))
    }
}

struct Launch {
    kernel: Handle,
    global: [usize; 3],
    local: [usize; 3],
}

struct Loaded<'a> {
    cl: &'a OpenCl,
    program: Handle,
    buffers: Vec<(Handle, usize)>,
    /// Each with a kernel object of its own, whose arguments are set once.
    steps: Vec<Launch>,
}

impl Loaded<'_> {
    fn upload(&self, index: usize, bytes: &[u8]) -> Result<(), String> {
        let ((buffer, size), none) = (self.buffers[index], ptr::null());
        // SAFETY: no more is copied than the slice and the buffer hold, before the call returns.
        let status = unsafe {
            let (from, size) = (bytes.as_ptr().cast(), size.min(bytes.len()));
            (self.cl.calls.write)(self.cl.queue, buffer, TRUE, 0, size, from, 0, none, ptr::null_mut())
        };
        check("clEnqueueWriteBuffer", status)
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
            let (global, local) = (step.global.as_ptr(), step.local.as_ptr());
            // SAFETY: the kernel's arguments are set; both sizes have three elements.
            let status = unsafe {
                let (queue, none) = (self.cl.queue, ptr::null());
                (self.cl.calls.launch)(queue, step.kernel, 3, ptr::null(), global, local, 0, none, ptr::null_mut())
            };
            check("clEnqueueNDRangeKernel", status)?;
        }
        // SAFETY: the queue is ours.
        check("clFlush", unsafe { (self.cl.calls.flush)(self.cl.queue) })
    }

    fn finish(&mut self) -> Result<(), String> {
        // SAFETY: the queue is ours.
        check("clFinish", unsafe { (self.cl.calls.finish)(self.cl.queue) })
    }

    fn read(&mut self, index: usize) -> Result<Vec<u8>, String> {
        let (buffer, size) = self.buffers[index];
        let mut bytes = vec![0; size];
        // SAFETY: the vector has the buffer's size, and is filled before the call returns.
        let status = unsafe {
            let (queue, to, none) = (self.cl.queue, bytes.as_mut_ptr().cast(), ptr::null());
            (self.cl.calls.read)(queue, buffer, TRUE, 0, size, to, 0, none, ptr::null_mut())
        };
        check("clEnqueueReadBuffer", status)?;
        Ok(bytes)
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        // SAFETY: every handle is released once, kernels before their program.
        unsafe {
            for step in &self.steps {
                (self.cl.calls.release_kernel)(step.kernel);
            }
            (self.cl.calls.release_program)(self.program);
            for (buffer, _) in &self.buffers {
                (self.cl.calls.release_memory)(*buffer);
            }
        }
    }
}
