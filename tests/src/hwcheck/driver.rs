//! NVIDIA's driver library, opened by absolute path: the functions that one launch needs, and their owning handles.

mod images;

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::path::Path;
use std::ptr;

use libloading::Library;

pub(crate) use images::{Array, Resource, Shape as ImageShape};

type Result32 = c_int;
type Handle = *mut c_void;
type DevicePointer = u64;

/// Numbers of the interface.
const JIT_ERROR_LOG_BUFFER: c_uint = 5;
const JIT_ERROR_LOG_BUFFER_SIZE: c_uint = 6;
const FUNCTION_MAX_DYNAMIC_SHARED: c_int = 8;
const FUNCTION_NON_PORTABLE_CLUSTER: c_int = 14;
const LAUNCH_COOPERATIVE: c_uint = 2;
const LAUNCH_CLUSTER_DIMENSION: c_uint = 4;

/// A launch attribute: a number, padding to 8 bytes, and a value of 64 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct LaunchAttribute {
    id: c_uint,
    padding: c_uint,
    value: [c_uint; 16],
}

#[repr(C)]
struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    stream: Handle,
    attributes: *mut LaunchAttribute,
    attribute_count: c_uint,
}

macro_rules! table {
    ($name:ident $($field:ident = $symbol:literal: fn($($arg:ty),*);)*) => {
        /// Functions of the library. They stay valid as long as the library, which stands beside them.
        pub(in crate::driver) struct $name {
            $($field: unsafe extern "C" fn($($arg),*) -> Result32,)*
        }

        impl $name {
            pub(in crate::driver) fn load(library: &Library) -> Result<Self, String> {
                Ok(Self {
                    $($field: {
                        // SAFETY: the symbol is a function of the driver API with this documented signature.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C" fn($($arg),*) -> Result32>($symbol.as_bytes())
                        };
                        *symbol.map_err(|error| format!("{}: {error}", $symbol))?
                    },)*
                })
            }
        }
    };
}

use table;

table! {
    Table
    init = "cuInit": fn(c_uint);
    driver_version = "cuDriverGetVersion": fn(*mut c_int);
    device_get = "cuDeviceGet": fn(*mut c_int, c_int);
    device_name = "cuDeviceGetName": fn(*mut c_char, c_int, c_int);
    context_retain = "cuDevicePrimaryCtxRetain": fn(*mut Handle, c_int);
    context_set = "cuCtxSetCurrent": fn(Handle);
    synchronize = "cuCtxSynchronize": fn();
    error_name = "cuGetErrorName": fn(Result32, *mut *const c_char);
    module_load = "cuModuleLoadDataEx": fn(*mut Handle, *const c_void, c_uint, *mut c_uint, *mut *mut c_void);
    module_unload = "cuModuleUnload": fn(Handle);
    module_function = "cuModuleGetFunction": fn(*mut Handle, Handle, *const c_char);
    function_set = "cuFuncSetAttribute": fn(Handle, c_int, c_int);
    function_parameter = "cuFuncGetParamInfo": fn(Handle, usize, *mut usize, *mut usize);
    launch = "cuLaunchKernelEx": fn(*const LaunchConfig, Handle, *mut *mut c_void, *mut *mut c_void);
    memory_alloc = "cuMemAlloc_v2": fn(*mut DevicePointer, usize);
    memory_free = "cuMemFree_v2": fn(DevicePointer);
    copy_in = "cuMemcpyHtoD_v2": fn(DevicePointer, *const c_void, usize);
    copy_out = "cuMemcpyDtoH_v2": fn(*mut c_void, DevicePointer, usize);
}

/// A call that did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DriverError {
    pub(crate) code: i32,
    /// Function and error name.
    pub(crate) message: String,
}

/// The library with the primary context of device 0 current in this thread.
pub(crate) struct Driver {
    table: Table,
    /// A driver without textures is still one that runs kernels.
    images: Result<images::ImageTable, String>,
    pub(crate) device: String,
    pub(crate) version: i32,
    _library: Library,
    /// The context is current in the thread that made it.
    _thread: PhantomData<*const ()>,
}

/// A launch's shape.
pub(crate) struct Shape {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared: u32,
    pub(crate) cooperative: bool,
}

impl Driver {
    /// Opens the library and the first device.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: the library is NVIDIA's driver; its initialisers are made to run on loading.
        let library = unsafe { Library::new(path) }.map_err(|error| format!("{}: {error}", path.display()))?;
        let table = Table::load(&library)?;
        let images = images::ImageTable::load(&library);
        let mut driver =
            Self { table, images, device: String::new(), version: 0, _library: library, _thread: PhantomData };
        driver.start().map_err(|error| error.message)?;
        Ok(driver)
    }

    fn start(&mut self) -> Result<(), DriverError> {
        let mut device = 0;
        let mut context = ptr::null_mut();
        let mut version = 0;
        let mut name = [0u8; 256];
        // SAFETY: every pointer is to a local variable of the documented type, the name with its length.
        unsafe {
            self.check("cuInit", (self.table.init)(0))?;
            self.check("cuDriverGetVersion", (self.table.driver_version)(&mut version))?;
            self.check("cuDeviceGet", (self.table.device_get)(&mut device, 0))?;
            let filled = (self.table.device_name)(name.as_mut_ptr().cast(), name.len() as c_int, device);
            self.check("cuDeviceGetName", filled)?;
            self.check("cuDevicePrimaryCtxRetain", (self.table.context_retain)(&mut context, device))?;
            self.check("cuCtxSetCurrent", (self.table.context_set)(context))?;
        }
        (self.device, self.version) = (text(&name), version);
        Ok(())
    }

    fn check(&self, function: &str, code: Result32) -> Result<(), DriverError> {
        if code == 0 {
            return Ok(());
        }
        let mut name = ptr::null();
        // SAFETY: the driver stores a pointer to a static string, or null for a number it does not know.
        let known = unsafe { (self.table.error_name)(code, &mut name) } == 0 && !name.is_null();
        let name = if known {
            // SAFETY: as above; the string ends with a NUL.
            unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
        } else {
            format!("error {code}")
        };
        Err(DriverError { code, message: format!("{function}: {name}") })
    }

    /// Whether no kernel's fault has made the context unusable.
    pub(crate) fn is_usable(&self) -> bool {
        // SAFETY: the call has no arguments.
        unsafe { (self.table.synchronize)() == 0 }
    }

    /// Compiles a PTX text; the error's message is followed by the JIT log.
    pub(crate) fn load(&self, ptx: &str) -> Result<Module<'_>, DriverError> {
        let image = c_string(ptx)?;
        let mut log = vec![0u8; 16 << 10];
        let mut options = [JIT_ERROR_LOG_BUFFER, JIT_ERROR_LOG_BUFFER_SIZE];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), ptr::without_provenance_mut(log.len())];
        let mut handle = ptr::null_mut();
        // SAFETY: two options and two values, the second being the size of the first; the image ends with a NUL.
        let code = unsafe {
            let count = options.len() as c_uint;
            (self.table.module_load)(
                &mut handle,
                image.as_ptr().cast(),
                count,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        self.check("cuModuleLoadDataEx", code).map_err(|error| {
            let message = format!("{}\n{}", error.message, text(&log));
            DriverError { message, ..error }
        })?;
        Ok(Module { driver: self, handle })
    }

    /// Device memory that holds a copy of these bytes.
    pub(crate) fn memory(&self, bytes: &[u8]) -> Result<Memory<'_>, DriverError> {
        let mut address = 0;
        // SAFETY: the address is a local variable; the copy reads the slice and writes an allocation of its length.
        unsafe {
            self.check("cuMemAlloc", (self.table.memory_alloc)(&mut address, bytes.len()))?;
            let memory = Memory { driver: self, address, len: bytes.len() };
            self.check("cuMemcpyHtoD", (self.table.copy_in)(address, bytes.as_ptr().cast(), bytes.len()))?;
            Ok(memory)
        }
    }

    /// Launches a kernel and waits for it. `arguments` are the bytes of each parameter.
    pub(crate) fn launch(
        &self,
        function: &Function<'_>,
        shape: &Shape,
        arguments: &[Vec<u8>],
    ) -> Result<(), DriverError> {
        self.check_parameters(function, arguments)?;
        let mut attributes = Vec::new();
        let mut attribute = |id, first: [c_uint; 3]| {
            let mut value = [0; 16];
            value[..3].copy_from_slice(&first);
            attributes.push(LaunchAttribute { id, padding: 0, value });
        };
        if shape.cluster != [1; 3] {
            attribute(LAUNCH_CLUSTER_DIMENSION, shape.cluster);
        }
        if shape.cooperative {
            attribute(LAUNCH_COOPERATIVE, [1, 0, 0]);
        }
        let config = LaunchConfig {
            grid: shape.grid,
            block: shape.block,
            shared: shape.shared,
            stream: ptr::null_mut(),
            attributes: attributes.as_mut_ptr(),
            attribute_count: attributes.len() as c_uint,
        };
        let mut pointers: Vec<*mut c_void> = arguments.iter().map(|bytes| bytes.as_ptr().cast_mut().cast()).collect();
        // SAFETY: the function belongs to a loaded module; one pointer a parameter, each to as many bytes as the
        // parameter has (checked above); the driver reads them during the call only.
        unsafe {
            if shape.shared > 48 << 10 {
                let shared = shape.shared as c_int;
                let set = (self.table.function_set)(function.handle, FUNCTION_MAX_DYNAMIC_SHARED, shared);
                self.check("cuFuncSetAttribute", set)?;
            }
            if shape.cluster.iter().product::<u32>() > 8 {
                let set = (self.table.function_set)(function.handle, FUNCTION_NON_PORTABLE_CLUSTER, 1);
                self.check("cuFuncSetAttribute", set)?;
            }
            let launched = (self.table.launch)(&config, function.handle, pointers.as_mut_ptr(), ptr::null_mut());
            self.check("cuLaunchKernelEx", launched)?;
            self.check("cuCtxSynchronize", (self.table.synchronize)())
        }
    }

    /// The driver reads as many bytes as the kernel declares, so the arguments must be those.
    fn check_parameters(&self, function: &Function<'_>, arguments: &[Vec<u8>]) -> Result<(), DriverError> {
        let mut sizes = Vec::new();
        loop {
            let (mut offset, mut size) = (0, 0);
            // SAFETY: both results are local variables; an index behind the last parameter gives an error.
            let code = unsafe { (self.table.function_parameter)(function.handle, sizes.len(), &mut offset, &mut size) };
            if code != 0 {
                break;
            }
            sizes.push(size);
        }
        let given: Vec<usize> = arguments.iter().map(Vec::len).collect();
        if sizes == given {
            return Ok(());
        }
        Err(DriverError {
            code: 1,
            message: format!("the kernel's parameters have sizes {sizes:?}, given are {given:?}"),
        })
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_string()
}

fn c_string(text: &str) -> Result<CString, DriverError> {
    CString::new(text).map_err(|_| DriverError { code: 1, message: "the text holds a NUL".into() })
}

/// A loaded module.
pub(crate) struct Module<'d> {
    driver: &'d Driver,
    handle: Handle,
}

/// A kernel of a loaded module.
pub(crate) struct Function<'m> {
    handle: Handle,
    _module: PhantomData<&'m ()>,
}

impl Module<'_> {
    /// The kernel of that name.
    pub(crate) fn function(&self, name: &str) -> Result<Function<'_>, DriverError> {
        let name = c_string(name)?;
        let mut handle = ptr::null_mut();
        // SAFETY: the module is loaded, the name ends with a NUL.
        let code = unsafe { (self.driver.table.module_function)(&mut handle, self.handle, name.as_ptr()) };
        self.driver.check("cuModuleGetFunction", code)?;
        Ok(Function { handle, _module: PhantomData })
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is a loaded module's and is used nowhere else afterwards.
        let _ = unsafe { (self.driver.table.module_unload)(self.handle) };
    }
}

/// An allocation of device memory.
pub(crate) struct Memory<'d> {
    driver: &'d Driver,
    pub(crate) address: u64,
    len: usize,
}

impl Memory<'_> {
    /// Copies the contents out.
    pub(crate) fn read(&self) -> Result<Vec<u8>, DriverError> {
        let mut bytes = vec![0u8; self.len];
        // SAFETY: the allocation and the vector have the same length.
        let code = unsafe { (self.driver.table.copy_out)(bytes.as_mut_ptr().cast(), self.address, self.len) };
        self.driver.check("cuMemcpyDtoH", code)?;
        Ok(bytes)
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        // SAFETY: the address is an allocation's and is used nowhere else afterwards.
        let _ = unsafe { (self.driver.table.memory_free)(self.address) };
    }
}
