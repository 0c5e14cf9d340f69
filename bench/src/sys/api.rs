//! The calls of the driver API whose costs are measured, on a library opened by path.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;

use libloading::Library;

use super::table;

/// A handle of the interface: as wide as a pointer, and nothing that is followed here.
pub(crate) type Handle = usize;
pub(crate) type Address = u64;

const NOT_READY: c_int = 600;

table!(Calls -> c_int {
    init = "cuInit": fn(c_uint);
    retain = "cuDevicePrimaryCtxRetain": fn(*mut Handle, c_int);
    set_current = "cuCtxSetCurrent": fn(Handle);
    synchronize = "cuCtxSynchronize": fn();
    error_name = "cuGetErrorName": fn(c_int, *mut *const c_char);
    load = "cuModuleLoadData": fn(*mut Handle, *const c_void);
    function = "cuModuleGetFunction": fn(*mut Handle, Handle, *const c_char);
    launch = "cuLaunchKernel": fn(
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void,
    );
    stream_create = "cuStreamCreate": fn(*mut Handle, c_uint);
    stream_destroy = "cuStreamDestroy_v2": fn(Handle);
    stream_synchronize = "cuStreamSynchronize": fn(Handle);
    event_create = "cuEventCreate": fn(*mut Handle, c_uint);
    event_record = "cuEventRecord": fn(Handle, Handle);
    event_query = "cuEventQuery": fn(Handle);
    event_synchronize = "cuEventSynchronize": fn(Handle);
    alloc = "cuMemAlloc_v2": fn(*mut Address, usize);
    free = "cuMemFree_v2": fn(Address);
    copy_in = "cuMemcpyHtoD_v2": fn(Address, *const c_void, usize);
    copy_out = "cuMemcpyDtoH_v2": fn(*mut c_void, Address, usize);
});

/// A library. Every call may be made from any thread that has a context.
pub(crate) struct Api {
    calls: Calls,
    _library: Library,
}

impl Api {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: the path is named by whoever starts the benchmark; a driver library's initialisers may run anywhere.
        let library = unsafe { Library::new(path) }.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { calls: Calls::load(&library)?, _library: library })
    }

    fn check(&self, function: &str, result: c_int) -> Result<(), String> {
        if result == 0 {
            return Ok(());
        }
        let mut name = std::ptr::null();
        // SAFETY: `name` is a local variable; the function sets it to a string that stays, or leaves it null.
        let name = unsafe {
            (self.calls.error_name)(result, &mut name);
            if name.is_null() { result.to_string().into() } else { CStr::from_ptr(name).to_string_lossy() }
        };
        Err(format!("{function}: {name}"))
    }

    /// Initialises the library; the primary context of its first device is current in this thread.
    pub(crate) fn start(&self) -> Result<(), String> {
        // SAFETY: no preconditions.
        self.check("cuInit", unsafe { (self.calls.init)(0) })?;
        self.enter()
    }

    /// The same context for another thread.
    pub(crate) fn enter(&self) -> Result<(), String> {
        let mut context = 0;
        // SAFETY: the handle goes to a local variable, and was just made.
        unsafe {
            self.check("cuDevicePrimaryCtxRetain", (self.calls.retain)(&mut context, 0))?;
            self.check("cuCtxSetCurrent", (self.calls.set_current)(context))
        }
    }

    /// A kernel of a module that stays loaded.
    pub(crate) fn kernel(&self, ptx: &str, name: &str) -> Result<Handle, String> {
        let zero = |_| "a text with a zero byte";
        let (ptx, name) = (CString::new(ptx).map_err(zero)?, CString::new(name).map_err(zero)?);
        let (mut module, mut function) = (0, 0);
        // SAFETY: both texts end in a zero byte, the handles go to local variables.
        unsafe {
            self.check("cuModuleLoadData", (self.calls.load)(&mut module, ptx.as_ptr().cast()))?;
            self.check("cuModuleGetFunction", (self.calls.function)(&mut function, module, name.as_ptr()))?;
        }
        Ok(function)
    }

    /// Launches a kernel with one parameter of 8 bytes.
    pub(crate) fn launch(&self, kernel: Handle, blocks: u32, stream: Handle, mut value: u64) -> Result<(), String> {
        let mut parameters: [*mut c_void; 1] = [(&raw mut value).cast()];
        // SAFETY: the list has an element for the kernel's one parameter, which is read before the call returns.
        let result = unsafe {
            let (parameters, none) = (parameters.as_mut_ptr(), std::ptr::null_mut());
            (self.calls.launch)(kernel, blocks, 1, 1, 32, 1, 1, 0, stream, parameters, none)
        };
        self.check("cuLaunchKernel", result)
    }

    pub(crate) fn synchronize(&self) -> Result<(), String> {
        // SAFETY: no preconditions.
        self.check("cuCtxSynchronize", unsafe { (self.calls.synchronize)() })
    }

    pub(crate) fn stream(&self) -> Result<Handle, String> {
        const NON_BLOCKING: c_uint = 1;
        let mut stream = 0;
        // SAFETY: the handle goes to a local variable.
        self.check("cuStreamCreate", unsafe { (self.calls.stream_create)(&mut stream, NON_BLOCKING) })?;
        Ok(stream)
    }

    pub(crate) fn destroy_stream(&self, stream: Handle) -> Result<(), String> {
        // SAFETY: handles are checked by the library.
        self.check("cuStreamDestroy", unsafe { (self.calls.stream_destroy)(stream) })
    }

    pub(crate) fn synchronize_stream(&self, stream: Handle) -> Result<(), String> {
        // SAFETY: handles are checked by the library.
        self.check("cuStreamSynchronize", unsafe { (self.calls.stream_synchronize)(stream) })
    }

    pub(crate) fn event(&self) -> Result<Handle, String> {
        let mut event = 0;
        // SAFETY: the handle goes to a local variable.
        self.check("cuEventCreate", unsafe { (self.calls.event_create)(&mut event, 0) })?;
        Ok(event)
    }

    pub(crate) fn record(&self, event: Handle, stream: Handle) -> Result<(), String> {
        // SAFETY: handles are checked by the library.
        self.check("cuEventRecord", unsafe { (self.calls.event_record)(event, stream) })
    }

    /// Whether an event was passed.
    pub(crate) fn query(&self, event: Handle) -> Result<bool, String> {
        // SAFETY: handles are checked by the library.
        match unsafe { (self.calls.event_query)(event) } {
            NOT_READY => Ok(false),
            result => self.check("cuEventQuery", result).map(|()| true),
        }
    }

    pub(crate) fn synchronize_event(&self, event: Handle) -> Result<(), String> {
        // SAFETY: handles are checked by the library.
        self.check("cuEventSynchronize", unsafe { (self.calls.event_synchronize)(event) })
    }

    pub(crate) fn alloc(&self, bytes: usize) -> Result<Address, String> {
        let mut address = 0;
        // SAFETY: the address goes to a local variable.
        self.check("cuMemAlloc", unsafe { (self.calls.alloc)(&mut address, bytes) })?;
        Ok(address)
    }

    pub(crate) fn free(&self, address: Address) -> Result<(), String> {
        // SAFETY: addresses are checked by the library.
        self.check("cuMemFree", unsafe { (self.calls.free)(address) })
    }

    pub(crate) fn copy_in(&self, to: Address, from: &[u8]) -> Result<(), String> {
        // SAFETY: no more is read than the slice has; the library checks the other side.
        self.check("cuMemcpyHtoD", unsafe { (self.calls.copy_in)(to, from.as_ptr().cast(), from.len()) })
    }

    pub(crate) fn copy_out(&self, to: &mut [u8], from: Address) -> Result<(), String> {
        // SAFETY: no more is written than the slice has; the library checks the other side.
        self.check("cuMemcpyDtoH", unsafe { (self.calls.copy_out)(to.as_mut_ptr().cast(), from, to.len()) })
    }
}
