//! `nvmlReturn_t`: codes and their texts.

use std::ffi::CStr;
use std::fmt;

/// A code as it crosses the boundary.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Code(pub(crate) u32);

pub(crate) type Outcome<T = ()> = Result<T, Code>;

macro_rules! codes {
    ($($number:literal $name:ident $text:literal;)+) => {
        #[allow(dead_code, reason = "the table is whole, whether or not we answer with each of its codes")]
        impl Code { $(pub(crate) const $name: Self = Self($number);)+ }

        const CODES: &[(u32, &str, &CStr)] = &[$(($number, stringify!($name), $text)),+];
    };
}

codes! {
    0 SUCCESS c"Success";
    1 UNINITIALIZED c"Uninitialized";
    2 INVALID_ARGUMENT c"Invalid Argument";
    3 NOT_SUPPORTED c"Not Supported";
    4 NO_PERMISSION c"Insufficient Permissions";
    5 ALREADY_INITIALIZED c"Already Initialized";
    6 NOT_FOUND c"Not Found";
    7 INSUFFICIENT_SIZE c"Insufficient Size";
    8 INSUFFICIENT_POWER c"Insufficient External Power";
    9 DRIVER_NOT_LOADED c"Driver Not Loaded";
    10 TIMEOUT c"Timeout";
    11 IRQ_ISSUE c"Interrupt Request Issue";
    12 LIBRARY_NOT_FOUND c"NVML Shared Library Not Found";
    13 FUNCTION_NOT_FOUND c"Function Not Found";
    14 CORRUPTED_INFOROM c"Corrupted infoROM";
    15 GPU_IS_LOST c"GPU is lost";
    16 RESET_REQUIRED c"GPU requires reset";
    17 OPERATING_SYSTEM c"GPU access blocked by the operating system";
    18 LIB_RM_VERSION_MISMATCH c"Driver/library version mismatch";
    19 IN_USE c"In use by another client";
    20 MEMORY c"Insufficient Memory";
    21 NO_DATA c"No data";
    22 VGPU_ECC_NOT_SUPPORTED c"vGPU ECC not supported";
    23 INSUFFICIENT_RESOURCES c"Insufficient Resources";
    24 FREQ_NOT_SUPPORTED c"Invalid Frequency";
    25 ARGUMENT_VERSION_MISMATCH c"Argument version mismatch";
    26 DEPRECATED c"Requested functionality has been deprecated";
    27 NOT_READY c"System is not in ready state";
    28 GPU_NOT_FOUND c"No supported GPUs were found";
    29 INVALID_STATE c"Resource not in correct state to perform requested operation";
    30 RESET_TYPE_NOT_SUPPORTED c"Reset type is not supported for given device";
    999 UNKNOWN c"Unknown Error";
}

impl Code {
    /// Its text; an unknown code has that of [`Code::UNKNOWN`].
    pub(crate) fn text(self) -> &'static CStr {
        let row = CODES.iter().find(|row| row.0 == self.0);
        row.map_or(c"Unknown Error", |row| row.2)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CODES.iter().find(|row| row.0 == self.0) {
            Some(row) => write!(f, "NVML_{}{}", if self.0 == 0 { "" } else { "ERROR_" }, row.1),
            None => write!(f, "nvmlReturn_t {}", self.0),
        }
    }
}
