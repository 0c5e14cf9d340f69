//! The driver API as the driver exports it: a table of functions, their types and the numbers that they take.

pub(crate) mod host;
pub(crate) mod images;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::path::Path;

pub(crate) type Status = c_int;
pub(crate) type Handle = *mut c_void;
/// A 64-bit handle that is not a pointer.
pub(crate) type Number = u64;

/// Bind the library's own references to itself first: ours has functions of the same names.
const RTLD_DEEPBIND: c_int = 8;

macro_rules! functions {
    ($($field:ident = $symbol:literal ($($arg:ty),*);)*) => {
        /// The functions that are used. They are valid for as long as the library is open.
        pub(crate) struct Functions {
            $(pub(crate) $field: unsafe extern "C" fn($($arg),*) -> Status,)*
            _library: Library,
        }

        impl Functions {
            /// Opens the library at an absolute path.
            pub(crate) fn open(path: &Path) -> Result<Self, String> {
                // SAFETY: the file is NVIDIA's driver, by its place and name; its initialisers are made to be run by this.
                let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND) };
                let library = library.map_err(|error| {
                    // What the dynamic linker says, the path included, stands behind it.
                    let why = std::error::Error::source(&error).map(ToString::to_string);
                    why.unwrap_or_else(|| format!("{}: {error}", path.display()))
                })?;
                Ok(Self {
                    $($field: {
                        // SAFETY: the symbol is the driver API's function of this name, with the signature that its
                        // header documents.
                        let found = unsafe {
                            library.get::<unsafe extern "C" fn($($arg),*) -> Status>(concat!($symbol, "\0").as_bytes())
                        };
                        *found.map_err(|_| format!("{} has no {}: the driver is too old", path.display(), $symbol))?
                    },)*
                    _library: library,
                })
            }
        }
    };
}

functions! {
    init = "cuInit"(c_uint);
    version = "cuDriverGetVersion"(*mut c_int);
    error_name = "cuGetErrorName"(Status, *mut *const c_char);
    device_count = "cuDeviceGetCount"(*mut c_int);
    device = "cuDeviceGet"(*mut c_int, c_int);
    device_name = "cuDeviceGetName"(*mut c_char, c_int, c_int);
    device_uuid = "cuDeviceGetUuid_v2"(*mut [u8; 16], c_int);
    device_memory = "cuDeviceTotalMem_v2"(*mut usize, c_int);
    device_attribute = "cuDeviceGetAttribute"(*mut c_int, c_int, c_int);
    retain = "cuDevicePrimaryCtxRetain"(*mut Handle, c_int);
    release = "cuDevicePrimaryCtxRelease_v2"(c_int);
    set_current = "cuCtxSetCurrent"(Handle);
    priorities = "cuCtxGetStreamPriorityRange"(*mut c_int, *mut c_int);
    memory_info = "cuMemGetInfo_v2"(*mut usize, *mut usize);
    address_reserve = "cuMemAddressReserve"(*mut Number, usize, usize, Number, u64);
    address_free = "cuMemAddressFree"(Number, usize);
    memory_create = "cuMemCreate"(*mut Number, usize, *const AllocationProperties, u64);
    memory_release = "cuMemRelease"(Number);
    memory_map = "cuMemMap"(Number, usize, usize, Number, u64);
    memory_unmap = "cuMemUnmap"(Number, usize);
    memory_access = "cuMemSetAccess"(Number, usize, *const AccessDescription, usize);
    memory_export = "cuMemExportToShareableHandle"(*mut c_void, Number, c_int, u64);
    memory_import = "cuMemImportFromShareableHandle"(*mut Number, *mut c_void, c_int);
    memory_alloc = "cuMemAlloc_v2"(*mut Number, usize);
    memory_free = "cuMemFree_v2"(Number);
    host_register = "cuMemHostRegister_v2"(*mut c_void, usize, c_uint);
    host_unregister = "cuMemHostUnregister"(*mut c_void);
    host_pointer = "cuMemHostGetDevicePointer_v2"(*mut Number, *mut c_void, c_uint);
    copy_in = "cuMemcpyHtoDAsync_v2"(Number, *const c_void, usize, Handle);
    copy_out = "cuMemcpyDtoHAsync_v2"(*mut c_void, Number, usize, Handle);
    copy_within = "cuMemcpyDtoDAsync_v2"(Number, Number, usize, Handle);
    copy_box = "cuMemcpy3DAsync_v2"(*const BoxCopy, Handle);
    fill8 = "cuMemsetD8Async"(Number, u8, usize, Handle);
    fill16 = "cuMemsetD16Async"(Number, u16, usize, Handle);
    fill32 = "cuMemsetD32Async"(Number, c_uint, usize, Handle);
    stream_create = "cuStreamCreateWithPriority"(*mut Handle, c_uint, c_int);
    stream_destroy = "cuStreamDestroy_v2"(Handle);
    stream_synchronize = "cuStreamSynchronize"(Handle);
    stream_wait = "cuStreamWaitEvent"(Handle, Handle, c_uint);
    event_create = "cuEventCreate"(*mut Handle, c_uint);
    event_destroy = "cuEventDestroy_v2"(Handle);
    event_record = "cuEventRecord"(Handle, Handle);
    event_query = "cuEventQuery"(Handle);
    event_synchronize = "cuEventSynchronize"(Handle);
    event_elapsed = "cuEventElapsedTime"(*mut f32, Handle, Handle);
    module_load = "cuModuleLoadDataEx"(*mut Handle, *const c_void, c_uint, *mut c_int, *mut *mut c_void);
    module_unload = "cuModuleUnload"(Handle);
    module_function = "cuModuleGetFunction"(*mut Handle, Handle, *const c_char);
    module_global = "cuModuleGetGlobal_v2"(*mut Number, *mut usize, Handle, *const c_char);
    function_attribute = "cuFuncGetAttribute"(*mut c_int, c_int, Handle);
    function_set = "cuFuncSetAttribute"(Handle, c_int, c_int);
    occupancy = "cuOccupancyMaxActiveBlocksPerMultiprocessor"(*mut c_int, Handle, c_int, usize);
    array_create = "cuArray3DCreate_v2"(*mut Handle, *const images::ArrayDescription);
    array_destroy = "cuArrayDestroy"(Handle);
    levels_create = "cuMipmappedArrayCreate"(*mut Handle, *const images::ArrayDescription, c_uint);
    levels_get = "cuMipmappedArrayGetLevel"(*mut Handle, Handle, c_uint);
    levels_destroy = "cuMipmappedArrayDestroy"(Handle);
    texture_create = "cuTexObjectCreate"(*mut Number, *const images::Resource, *const images::Sampling, *const images::View);
    texture_destroy = "cuTexObjectDestroy"(Number);
    surface_create = "cuSurfObjectCreate"(*mut Number, *const images::Resource);
    surface_destroy = "cuSurfObjectDestroy"(Number);
    capture_begin = "cuStreamBeginCapture_v2"(Handle, c_uint);
    capture_info = "cuStreamGetCaptureInfo_v2"(Handle, *mut c_uint, *mut Number, *mut Handle, *mut *const Handle, *mut usize);
    capture_update = "cuStreamUpdateCaptureDependencies"(Handle, *mut Handle, usize, c_uint);
    capture_end = "cuStreamEndCapture"(Handle, *mut Handle);
    graph_instantiate = "cuGraphInstantiateWithFlags"(*mut Handle, Handle, u64);
    graph_destroy = "cuGraphDestroy"(Handle);
    graph_launch = "cuGraphLaunch"(Handle, Handle);
    graph_exec_destroy = "cuGraphExecDestroy"(Handle);
    launch = "cuLaunchKernelEx"(*const LaunchConfig, Handle, *mut *mut c_void, *mut *mut c_void);
}

/// Where memory lies: a kind, and a number of that kind.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Location {
    pub(crate) kind: c_int,
    pub(crate) number: c_int,
}

pub(crate) const LOCATION_DEVICE: c_int = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct AllocationProperties {
    pub(crate) kind: c_int,
    pub(crate) handle_types: c_int,
    pub(crate) location: Location,
    pub(crate) windows: *mut c_void,
    pub(crate) compression: u8,
    pub(crate) direct: u8,
    pub(crate) usage: u16,
    pub(crate) reserved: [u8; 4],
}

pub(crate) const ALLOCATION_PINNED: c_int = 1;
pub(crate) const HANDLE_FILE: c_int = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct AccessDescription {
    pub(crate) location: Location,
    pub(crate) access: c_int,
}

pub(crate) const ACCESS_NONE: c_int = 0;
pub(crate) const ACCESS_READ: c_int = 1;
pub(crate) const ACCESS_READ_WRITE: c_int = 3;

/// One side of a copy of a box, as the interface lays it out: offset in bytes, row, slice, level, kind of memory, and where.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct BoxSide {
    pub(crate) x_bytes: usize,
    pub(crate) y: usize,
    pub(crate) z: usize,
    pub(crate) level: usize,
    pub(crate) kind: c_uint,
    pub(crate) host: *mut c_void,
    pub(crate) device: Number,
    pub(crate) array: Handle,
    pub(crate) reserved: *mut c_void,
    pub(crate) pitch: usize,
    pub(crate) height: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct BoxCopy {
    pub(crate) from: BoxSide,
    pub(crate) to: BoxSide,
    pub(crate) width_bytes: usize,
    pub(crate) height: usize,
    pub(crate) depth: usize,
}

pub(crate) const MEMORY_HOST: c_uint = 1;
pub(crate) const MEMORY_DEVICE: c_uint = 2;
pub(crate) const MEMORY_ARRAY: c_uint = 3;

/// A launch attribute: its number, padding to 8 bytes, and a value of 64 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LaunchAttribute {
    pub(crate) id: c_uint,
    pub(crate) padding: c_uint,
    pub(crate) value: [c_uint; 16],
}

pub(crate) const LAUNCH_COOPERATIVE: c_uint = 2;
pub(crate) const LAUNCH_CLUSTER: c_uint = 4;

#[repr(C)]
pub(crate) struct LaunchConfig {
    pub(crate) grid: [c_uint; 3],
    pub(crate) block: [c_uint; 3],
    pub(crate) shared: c_uint,
    pub(crate) stream: Handle,
    pub(crate) attributes: *mut LaunchAttribute,
    pub(crate) attribute_count: c_uint,
}

pub(crate) const JIT_ERROR_LOG: c_int = 5;
pub(crate) const JIT_ERROR_LOG_BYTES: c_int = 6;

pub(crate) const FUNCTION_THREADS: c_int = 0;
pub(crate) const FUNCTION_SHARED: c_int = 1;
pub(crate) const FUNCTION_LOCAL: c_int = 3;
pub(crate) const FUNCTION_REGISTERS: c_int = 4;
pub(crate) const FUNCTION_DYNAMIC_SHARED: c_int = 8;
pub(crate) const FUNCTION_LARGE_CLUSTERS: c_int = 14;

/// Calls that would wait for other streams are not refused while a stream takes notes.
pub(crate) const CAPTURE_RELAXED: c_uint = 2;
/// In the place of those that there are.
pub(crate) const CAPTURE_SET: c_uint = 1;
pub(crate) const STREAM_NON_BLOCKING: c_uint = 1;
pub(crate) const EVENT_UNTIMED: c_uint = 2;
pub(crate) const REGISTER_PORTABLE_MAPPED: c_uint = 1 | 2;
