//! `CUresult`: codes, names, descriptions, and which runtime error is which.

use hetgpu_device::ErrorKind;
use hetgpu_runtime::{CaptureError, Error, PeerError};
use std::ffi::CStr;
use std::fmt;

/// A `CUresult` as it crosses the boundary.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Code(pub(crate) u32);

macro_rules! codes {
    ($($number:literal $name:ident $text:literal;)+) => {
        #[allow(dead_code, reason = "the table is whole, whether or not we answer with each of its codes")]
        impl Code { $(pub(crate) const $name: Self = Self($number);)+ }

        /// Number, name, description.
        const CODES: &[(u32, &CStr, &CStr)] = &[$(($number, c_str(concat!("CUDA_", stringify!($name), "\0")), c_str(concat!($text, "\0")))),+];
    };
}

const fn c_str(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a text of the table holds a NUL"),
    }
}

codes! {
    0 SUCCESS "no error";
    1 ERROR_INVALID_VALUE "invalid argument";
    2 ERROR_OUT_OF_MEMORY "out of memory";
    3 ERROR_NOT_INITIALIZED "initialization error";
    4 ERROR_DEINITIALIZED "driver shutting down";
    5 ERROR_PROFILER_DISABLED "profiler disabled while using external profiling tool";
    6 ERROR_PROFILER_NOT_INITIALIZED "profiler not initialized: call cudaProfilerInitialize()";
    7 ERROR_PROFILER_ALREADY_STARTED "profiler already started";
    8 ERROR_PROFILER_ALREADY_STOPPED "profiler already stopped";
    34 ERROR_STUB_LIBRARY "CUDA driver is a stub library";
    36 ERROR_CALL_REQUIRES_NEWER_DRIVER "API call is not supported in the installed CUDA driver";
    46 ERROR_DEVICE_UNAVAILABLE "CUDA-capable device(s) is/are busy or unavailable";
    100 ERROR_NO_DEVICE "no CUDA-capable device is detected";
    101 ERROR_INVALID_DEVICE "invalid device ordinal";
    102 ERROR_DEVICE_NOT_LICENSED "device doesn't have valid Grid license";
    200 ERROR_INVALID_IMAGE "device kernel image is invalid";
    201 ERROR_INVALID_CONTEXT "invalid device context";
    202 ERROR_CONTEXT_ALREADY_CURRENT "context already current";
    205 ERROR_MAP_FAILED "mapping of buffer object failed";
    206 ERROR_UNMAP_FAILED "unmapping of buffer object failed";
    207 ERROR_ARRAY_IS_MAPPED "array is mapped";
    208 ERROR_ALREADY_MAPPED "resource already mapped";
    209 ERROR_NO_BINARY_FOR_GPU "no kernel image is available for execution on the device";
    210 ERROR_ALREADY_ACQUIRED "resource already acquired";
    211 ERROR_NOT_MAPPED "resource not mapped";
    212 ERROR_NOT_MAPPED_AS_ARRAY "resource not mapped as array";
    213 ERROR_NOT_MAPPED_AS_POINTER "resource not mapped as pointer";
    214 ERROR_ECC_UNCORRECTABLE "uncorrectable ECC error encountered";
    215 ERROR_UNSUPPORTED_LIMIT "limit is not supported on this architecture";
    216 ERROR_CONTEXT_ALREADY_IN_USE "exclusive-thread device already in use by a different thread";
    217 ERROR_PEER_ACCESS_UNSUPPORTED "peer access is not supported between these two devices";
    218 ERROR_INVALID_PTX "a PTX JIT compilation failed";
    219 ERROR_INVALID_GRAPHICS_CONTEXT "invalid OpenGL or DirectX context";
    220 ERROR_NVLINK_UNCORRECTABLE "uncorrectable NVLink error detected during the execution";
    221 ERROR_JIT_COMPILER_NOT_FOUND "PTX JIT compiler library not found";
    222 ERROR_UNSUPPORTED_PTX_VERSION "the provided PTX was compiled with an unsupported toolchain.";
    223 ERROR_JIT_COMPILATION_DISABLED "PTX JIT compilation was disabled";
    224 ERROR_UNSUPPORTED_EXEC_AFFINITY "the provided execution affinity is not supported";
    225 ERROR_UNSUPPORTED_DEVSIDE_SYNC "the provided PTX contains unsupported call to cudaDeviceSynchronize";
    226 ERROR_CONTAINED "Invalid access of peer GPU memory over nvlink or a hardware error";
    300 ERROR_INVALID_SOURCE "device kernel image is invalid";
    301 ERROR_FILE_NOT_FOUND "file not found";
    302 ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND "shared object symbol not found";
    303 ERROR_SHARED_OBJECT_INIT_FAILED "shared object initialization failed";
    304 ERROR_OPERATING_SYSTEM "OS call failed or operation not supported on this OS";
    400 ERROR_INVALID_HANDLE "invalid resource handle";
    401 ERROR_ILLEGAL_STATE "the operation cannot be performed in the present state";
    402 ERROR_LOSSY_QUERY "attempted introspection would be semantically lossy";
    500 ERROR_NOT_FOUND "named symbol not found";
    600 ERROR_NOT_READY "device not ready";
    700 ERROR_ILLEGAL_ADDRESS "an illegal memory access was encountered";
    701 ERROR_LAUNCH_OUT_OF_RESOURCES "too many resources requested for launch";
    702 ERROR_LAUNCH_TIMEOUT "the launch timed out and was terminated";
    703 ERROR_LAUNCH_INCOMPATIBLE_TEXTURING "launch uses incompatible texturing mode";
    704 ERROR_PEER_ACCESS_ALREADY_ENABLED "peer access is already enabled";
    705 ERROR_PEER_ACCESS_NOT_ENABLED "peer access has not been enabled";
    708 ERROR_PRIMARY_CONTEXT_ACTIVE "cannot set while device is active in this process";
    709 ERROR_CONTEXT_IS_DESTROYED "context is destroyed";
    710 ERROR_ASSERT "device-side assert triggered";
    711 ERROR_TOO_MANY_PEERS "peer mapping resources exhausted";
    712 ERROR_HOST_MEMORY_ALREADY_REGISTERED "part or all of the requested memory range is already mapped";
    713 ERROR_HOST_MEMORY_NOT_REGISTERED "pointer does not correspond to a registered memory region";
    714 ERROR_HARDWARE_STACK_ERROR "hardware stack error";
    715 ERROR_ILLEGAL_INSTRUCTION "an illegal instruction was encountered";
    716 ERROR_MISALIGNED_ADDRESS "misaligned address";
    717 ERROR_INVALID_ADDRESS_SPACE "operation not supported on global/shared address space";
    718 ERROR_INVALID_PC "invalid program counter";
    719 ERROR_LAUNCH_FAILED "unspecified launch failure";
    720 ERROR_COOPERATIVE_LAUNCH_TOO_LARGE "too many blocks in cooperative launch";
    721 ERROR_TENSOR_MEMORY_LEAK "tensor memory not completely freed";
    800 ERROR_NOT_PERMITTED "operation not permitted";
    801 ERROR_NOT_SUPPORTED "operation not supported";
    802 ERROR_SYSTEM_NOT_READY "system not yet initialized";
    803 ERROR_SYSTEM_DRIVER_MISMATCH "system has unsupported display driver / cuda driver combination";
    804 ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE "forward compatibility was attempted on non supported HW";
    805 ERROR_MPS_CONNECTION_FAILED "MPS client failed to connect to the MPS control daemon or the MPS server";
    806 ERROR_MPS_RPC_FAILURE "the remote procedural call between the MPS server and the MPS client failed";
    807 ERROR_MPS_SERVER_NOT_READY "MPS server is not ready to accept new MPS client requests";
    808 ERROR_MPS_MAX_CLIENTS_REACHED "the hardware resources required to create MPS client have been exhausted";
    809 ERROR_MPS_MAX_CONNECTIONS_REACHED "the hardware resources required to support device connections have been exhausted";
    810 ERROR_MPS_CLIENT_TERMINATED "the MPS client has been terminated by the server";
    811 ERROR_CDP_NOT_SUPPORTED "is using CUDA Dynamic Parallelism, but the current configuration, like MPS, does not support it";
    812 ERROR_CDP_VERSION_MISMATCH "unsupported interaction between different versions of CUDA Dynamic Parallelism";
    900 ERROR_STREAM_CAPTURE_UNSUPPORTED "operation not permitted when stream is capturing";
    901 ERROR_STREAM_CAPTURE_INVALIDATED "operation failed due to a previous error during capture";
    902 ERROR_STREAM_CAPTURE_MERGE "operation would result in a merge of separate capture sequences";
    903 ERROR_STREAM_CAPTURE_UNMATCHED "capture was not ended in the same stream as it began";
    904 ERROR_STREAM_CAPTURE_UNJOINED "capturing stream has unjoined work";
    905 ERROR_STREAM_CAPTURE_ISOLATION "dependency created on uncaptured work in another stream";
    906 ERROR_STREAM_CAPTURE_IMPLICIT "operation would make the legacy stream depend on a capturing blocking stream";
    907 ERROR_CAPTURED_EVENT "operation not permitted on an event last recorded in a capturing stream";
    908 ERROR_STREAM_CAPTURE_WRONG_THREAD "attempt to terminate a thread-local capture sequence from another thread";
    909 ERROR_TIMEOUT "wait operation timed out";
    910 ERROR_GRAPH_EXEC_UPDATE_FAILURE "the graph update was not performed because it included changes which violated constraints specific to instantiated graph update";
    911 ERROR_EXTERNAL_DEVICE "an async error has occured in external entity outside of CUDA";
    912 ERROR_INVALID_CLUSTER_SIZE "a kernel launch error has occurred due to cluster misconfiguration";
    913 ERROR_FUNCTION_NOT_LOADED "the function handle is not loaded when calling an API that requires a loaded function";
    914 ERROR_INVALID_RESOURCE_TYPE "one or more resources passed in are not valid resource types for the operation";
    915 ERROR_INVALID_RESOURCE_CONFIGURATION "one or more resources are insufficient or non-applicable for the operation";
    916 ERROR_KEY_ROTATION "an error happened during the key rotation sequence";
    999 ERROR_UNKNOWN "unknown error";
}

impl Code {
    fn row(self) -> Option<&'static (u32, &'static CStr, &'static CStr)> {
        CODES.binary_search_by_key(&self.0, |row| row.0).ok().map(|at| &CODES[at])
    }

    pub(crate) fn name(self) -> Option<&'static CStr> {
        self.row().map(|row| row.1)
    }

    pub(crate) fn text(self) -> Option<&'static CStr> {
        self.row().map(|row| row.2)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(&name.to_string_lossy()),
            None => write!(f, "CUresult {}", self.0),
        }
    }
}

/// Why a call fails: the code for the program, and what the log says.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) text: String,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self::new(code, "")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(code_of(&error), error.to_string())
    }
}

fn code_of(error: &Error) -> Code {
    match error {
        Error::InvalidValue(_) => Code::ERROR_INVALID_VALUE,
        Error::InvalidHandle("context" | "green context") => Code::ERROR_INVALID_CONTEXT,
        Error::InvalidHandle("graph" | "graph node" | "executable graph" | "user object") => Code::ERROR_INVALID_VALUE,
        // These two kinds are told apart from others: so does the hardware's driver.
        Error::InvalidHandle("memory pool" | "physical memory" | "resource description") => Code::ERROR_INVALID_VALUE,
        Error::InvalidHandle(_) => Code::ERROR_INVALID_HANDLE,
        Error::InvalidContext => Code::ERROR_INVALID_CONTEXT,
        Error::ContextDestroyed => Code::ERROR_CONTEXT_IS_DESTROYED,
        Error::InvalidDevice => Code::ERROR_INVALID_DEVICE,
        Error::NotFound(_) => Code::ERROR_NOT_FOUND,
        Error::NotReady => Code::ERROR_NOT_READY,
        Error::NotSupported(_) => Code::ERROR_NOT_SUPPORTED,
        Error::PrimaryActive => Code::ERROR_PRIMARY_CONTEXT_ACTIVE,
        Error::AlreadyRegistered => Code::ERROR_HOST_MEMORY_ALREADY_REGISTERED,
        Error::NotRegistered => Code::ERROR_HOST_MEMORY_NOT_REGISTERED,
        Error::InvalidImage(_) => Code::ERROR_INVALID_IMAGE,
        Error::NoBinary(_) => Code::ERROR_NO_BINARY_FOR_GPU,
        Error::InvalidCode(_) => Code::ERROR_INVALID_PTX,
        Error::FileNotFound(_) => Code::ERROR_FILE_NOT_FOUND,
        Error::CooperativeTooLarge(_) => Code::ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
        Error::InvalidCluster(_) => Code::ERROR_INVALID_CLUSTER_SIZE,
        Error::InsufficientResources(_) => Code::ERROR_INVALID_RESOURCE_CONFIGURATION,
        Error::IllegalState(_) => Code::ERROR_ILLEGAL_STATE,
        Error::Lossy(_) => Code::ERROR_LOSSY_QUERY,
        Error::UpdateRefused(_) => Code::ERROR_GRAPH_EXEC_UPDATE_FAILURE,
        // What is said of another device that does not come back is said of another process too.
        Error::Gone(_) => Code::ERROR_EXTERNAL_DEVICE,
        Error::System(_) => Code::ERROR_OPERATING_SYSTEM,
        Error::Capture(error) => match error {
            CaptureError::Unsupported => Code::ERROR_STREAM_CAPTURE_UNSUPPORTED,
            CaptureError::Invalidated => Code::ERROR_STREAM_CAPTURE_INVALIDATED,
            CaptureError::Merge => Code::ERROR_STREAM_CAPTURE_MERGE,
            CaptureError::Unmatched => Code::ERROR_STREAM_CAPTURE_UNMATCHED,
            CaptureError::Unjoined => Code::ERROR_STREAM_CAPTURE_UNJOINED,
            CaptureError::Isolation => Code::ERROR_STREAM_CAPTURE_ISOLATION,
            CaptureError::Implicit => Code::ERROR_STREAM_CAPTURE_IMPLICIT,
            CaptureError::Event => Code::ERROR_CAPTURED_EVENT,
            CaptureError::WrongThread => Code::ERROR_STREAM_CAPTURE_WRONG_THREAD,
        },
        Error::Peer(error) => match error {
            PeerError::Unsupported => Code::ERROR_PEER_ACCESS_UNSUPPORTED,
            PeerError::AlreadyEnabled => Code::ERROR_PEER_ACCESS_ALREADY_ENABLED,
            PeerError::NotEnabled => Code::ERROR_PEER_ACCESS_NOT_ENABLED,
        },
        Error::Device(error) => match error.kind {
            ErrorKind::OutOfMemory => Code::ERROR_OUT_OF_MEMORY,
            ErrorKind::IllegalAddress => Code::ERROR_ILLEGAL_ADDRESS,
            ErrorKind::Misaligned => Code::ERROR_MISALIGNED_ADDRESS,
            ErrorKind::InvalidAddressSpace => Code::ERROR_INVALID_ADDRESS_SPACE,
            ErrorKind::Assert => Code::ERROR_ASSERT,
            ErrorKind::LaunchFailed => Code::ERROR_LAUNCH_FAILED,
            ErrorKind::IllegalInstruction => Code::ERROR_ILLEGAL_INSTRUCTION,
            ErrorKind::InvalidCall => Code::ERROR_INVALID_PC,
            ErrorKind::StackOverflow => Code::ERROR_ILLEGAL_ADDRESS,
            ErrorKind::Deadlock | ErrorKind::Timeout => Code::ERROR_LAUNCH_TIMEOUT,
            ErrorKind::OutOfResources => Code::ERROR_LAUNCH_OUT_OF_RESOURCES,
            ErrorKind::InvalidImage => Code::ERROR_INVALID_IMAGE,
            ErrorKind::NotSupported => Code::ERROR_NOT_SUPPORTED,
            ErrorKind::InvalidRequest => Code::ERROR_INVALID_VALUE,
            ErrorKind::Lost => Code::ERROR_DEVICE_UNAVAILABLE,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(CODES.is_sorted_by(|a, b| a.0 < b.0));
        // Number and name of every code that NVIDIA's driver 580 knows.
        let known = include_str!("../tests/data/error-names.txt").lines();
        let rows = CODES.iter().map(|row| format!("{} {}", row.0, row.1.to_string_lossy()));
        assert!(rows.eq(known), "the codes are not those of the driver");
        assert!(CODES.iter().all(|row| !row.2.is_empty()));
        assert_eq!(Code(700).name(), Some(c"CUDA_ERROR_ILLEGAL_ADDRESS"));
        assert_eq!(Code(0).text(), Some(c"no error"));
        assert_eq!(Code(12345).name(), None);
        assert_eq!(format!("{:?}", Code::ERROR_NOT_FOUND), "CUDA_ERROR_NOT_FOUND");
    }

    #[test]
    fn a_stale_context_is_an_invalid_context_and_other_handles_are_not() {
        assert_eq!(code_of(&Error::InvalidHandle("context")), Code::ERROR_INVALID_CONTEXT);
        assert_eq!(code_of(&Error::InvalidHandle("stream")), Code::ERROR_INVALID_HANDLE);
    }
}
