//! What debuggers look for. A debugger reads these variables in a program that it watches, and calls these functions in it;
//! all of it says that there is nothing to debug: no session, no capability, no interface of any version.

use std::sync::atomic::{AtomicU8, AtomicU64};

/// `CUDBGResult`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct DebuggerCode(#[allow(dead_code, reason = "it is read by whoever calls")] u32);

/// The interface does not have the version that was asked for, nor any other.
const INCOMPATIBLE: DebuggerCode = DebuggerCode(0x13);

/// Longest path of a library that a debugger wants injected.
const PATH: usize = 4096;

macro_rules! variables {
    ($($name:ident)+) => {$(
        #[unsafe(no_mangle)]
        #[allow(non_upper_case_globals, reason = "debuggers know it by this name")]
        pub(crate) static $name: AtomicU64 = AtomicU64::new(0);
    )+};
}

variables! {
    cudbgApiClientPid
    cudbgApiClientRevision
    cudbgAttachHandlerAvailable
    cudbgDebuggerCapabilities
    cudbgDebuggerInitialized
    cudbgDetachSuspendedDevicesMask
    cudbgEnableIntegratedMemcheck
    cudbgEnableLaunchBlocking
    cudbgEnablePreemptionDebugging
    cudbgIpcFlag
    cudbgReportDriverApiErrorFlags
    cudbgReportedDriverApiErrorCode
    cudbgReportedDriverApiErrorFuncNameAddr
    cudbgReportedDriverApiErrorFuncNameSize
    cudbgReportedDriverApiErrorNameAddr
    cudbgReportedDriverApiErrorNameSize
    cudbgReportedDriverApiErrorSource
    cudbgReportedDriverApiErrorStringAddr
    cudbgReportedDriverApiErrorStringSize
    cudbgReportedDriverInternalErrorCode
    cudbgResumeForAttachDetach
    cudbgRpcEnabled
    cudbgSessionId
    cudbgUseExternalDebugger
}

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "debuggers know it by this name")]
pub(crate) static cudbgInjectionPath: [AtomicU8; PATH] = [const { AtomicU8::new(0) }; PATH];

macro_rules! functions {
    ($($name:ident)+) => {$(
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $name() -> DebuggerCode {
            INCOMPATIBLE
        }
    )+};
}

functions! {
    cudbgApiAttach
    cudbgApiDetach
    cudbgApiInit
    cudbgGetAPI
    cudbgGetAPIVersion
    cudbgMain
    cudbgReportDriverApiError
    cudbgReportDriverInternalError
}
