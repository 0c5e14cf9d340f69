//! `libcuda.so` as a program meets it: what it exports, and that no argument makes it crash.

mod elf;
mod sys;

use libloading::Library;
use std::ffi::{CString, c_char, c_void};
use std::path::PathBuf;
use sys::symbol;

const INVALID_VALUE: u32 = 1;
const NOT_INITIALIZED: u32 = 3;
const INVALID_DEVICE: u32 = 101;
const INVALID_CONTEXT: u32 = 201;
const NOT_FOUND: u32 = 500;
const NOT_SUPPORTED: u32 = 801;

fn path() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libcuda.so")
}

fn open() -> Library {
    sys::open(&path())
}

type GetProcAddress = extern "C" fn(*const c_char, *mut *mut c_void, i32, u64, *mut u32) -> u32;

fn resolve(library: &Library, name: &str, version: i32, flags: u64) -> (u32, usize, u32) {
    let get: GetProcAddress = symbol(library, "cuGetProcAddress_v2");
    let name = CString::new(name).unwrap();
    let (mut address, mut status) = (std::ptr::null_mut(), 77);
    let code = get(name.as_ptr(), &mut address, version, flags, &mut status);
    (code, address.addr(), status)
}

/// Every symbol of NVIDIA's driver 580 for CUDA 13.0 on Linux, and nothing else: a program that is linked with the driver
/// finds what it names, and nothing of ours gets in the way of its own names.
#[test]
fn the_exports_are_those_of_the_driver() {
    elf::assert_exports(&path(), include_str!("../data/exports.txt"));
}

/// A debugger that looks finds no interface, and writes to what it may write to.
#[test]
fn debuggers_find_nothing_to_debug() {
    let library = open();
    let flag: *const u64 = symbol(&library, "cudbgIpcFlag");
    assert!(!flag.is_null());
    type GetApi = extern "C" fn(u32, u32, u32, *mut *const c_void) -> u32;
    let mut api: *const c_void = std::ptr::null();
    assert_eq!(symbol::<GetApi>(&library, "cudbgGetAPI")(13, 0, 0, &mut api), 0x13);
    assert!(api.is_null());
}

#[test]
fn names_lead_to_the_same_functions_both_ways() {
    let library = open();
    for (name, version, flags, expected) in [
        ("cuMemAlloc", 3020, 0, "cuMemAlloc_v2"),
        ("cuMemAlloc", 13000, 0, "cuMemAlloc_v2"),
        ("cuMemcpyHtoD", 7000, 2, "cuMemcpyHtoD_v2_ptds"),
        ("cuMemcpyHtoD", 7000, 1, "cuMemcpyHtoD_v2"),
        ("cuGetProcAddress", 11030, 0, "cuGetProcAddress"),
        ("cuGraphLaunch", 10000, 2, "cuGraphLaunch_ptsz"),
    ] {
        let address: *const c_void = symbol(&library, expected);
        assert_eq!(resolve(&library, name, version, flags), (0, address.addr(), 0), "{name} {version} {flags}");
    }
    assert_eq!(resolve(&library, "cuNothing", 13000, 0), (NOT_FOUND, 0, 1));
    assert_eq!(resolve(&library, "cuLibraryLoadData", 11000, 0), (NOT_FOUND, 0, 2));
    assert_eq!(resolve(&library, "cuInit", 13000, 8).0, INVALID_VALUE);
}

/// The calls before and after `cuInit` stand in one test: it can only be called once in a process.
#[test]
fn nothing_that_a_program_passes_makes_the_library_crash() {
    let library = open();
    type One = extern "C" fn(usize) -> u32;
    type Two = extern "C" fn(usize, usize) -> u32;
    type Three = extern "C" fn(usize, usize, usize) -> u32;
    type Six = extern "C" fn(usize, usize, usize, usize, usize, usize) -> u32;

    let mut out = [0u64; 16];
    let place = out.as_mut_ptr().expose_provenance();
    assert_eq!(symbol::<One>(&library, "cuDeviceGetCount")(place), NOT_INITIALIZED);
    assert_eq!(symbol::<One>(&library, "cuInit")(1), INVALID_VALUE);
    assert_eq!(symbol::<One>(&library, "cuInit")(0), 0);
    assert_eq!(symbol::<One>(&library, "cuDeviceGetCount")(0), INVALID_VALUE, "null for an out parameter");
    assert_eq!(symbol::<Two>(&library, "cuDeviceGet")(place, 99), INVALID_DEVICE);
    assert_eq!(symbol::<Two>(&library, "cuMemAlloc_v2")(place, 16), INVALID_CONTEXT);

    assert_eq!(symbol::<Two>(&library, "cuDevicePrimaryCtxRetain")(place, 0), 0);
    let context = out[0] as usize;
    assert_eq!(symbol::<One>(&library, "cuCtxSetCurrent")(context), 0);

    // Handles that were never given out, some of them with the tag of another kind.
    let handles = [0, 3, 0xdead_beef, usize::MAX, context, context ^ 1, context + (1 << 32)];
    let single = [
        "cuCtxDestroy_v2",
        "cuCtxPushCurrent_v2",
        "cuModuleUnload",
        "cuLibraryUnload",
        "cuStreamDestroy_v2",
        "cuEventDestroy_v2",
        "cuEventQuery",
        "cuEventSynchronize",
        "cuFuncLoad",
        "cuMemFreeHost",
        "cuMemHostUnregister",
        "cuGraphDestroy",
        "cuGraphDestroyNode",
        "cuGraphExecDestroy",
        "cuArrayDestroy",
        "cuMipmappedArrayDestroy",
        "cuTexRefDestroy",
    ];
    for name in single {
        for handle in handles.into_iter().filter(|&handle| handle != context) {
            let code = symbol::<One>(&library, name)(handle);
            assert!(code != 0 || (name == "cuMemFreeHost" && handle == 0), "{name}({handle:#x}) succeeded");
        }
    }
    for handle in handles.into_iter().filter(|&handle| handle > 3) {
        assert_ne!(symbol::<One>(&library, "cuStreamQuery")(handle), 0);
        assert_ne!(symbol::<Two>(&library, "cuFuncGetModule")(place, handle), 0);
        assert_ne!(symbol::<Two>(&library, "cuKernelGetFunction")(place, handle), 0);
        assert_ne!(symbol::<Three>(&library, "cuFuncGetAttribute")(place, 0, handle), 0);
        assert_ne!(symbol::<Two>(&library, "cuEventRecord")(handle, 0), 0);
        assert_ne!(symbol::<Two>(&library, "cuModuleGetFunctionCount")(place, handle), 0);
        assert_ne!(symbol::<Two>(&library, "cuArrayGetDescriptor_v2")(place, handle), 0);
        assert_ne!(symbol::<Three>(&library, "cuMipmappedArrayGetLevel")(place, handle, 0), 0);
        assert_ne!(symbol::<Two>(&library, "cuTexRefGetFlags")(place, handle), 0);
        assert_eq!(symbol::<Two>(&library, "cuTexObjectGetResourceDesc")(place, handle), INVALID_VALUE);
    }
    assert_eq!(symbol::<Two>(&library, "cuModuleLoadData")(place, 0), INVALID_VALUE, "no image");
    assert_eq!(symbol::<Three>(&library, "cuMemcpyHtoD_v2")(0x10, place, 8), INVALID_VALUE);
    assert_eq!(symbol::<Three>(&library, "cuMemcpyDtoH_v2")(place, 0x10, 8), INVALID_VALUE);
    assert_eq!(symbol::<Three>(&library, "cuMemcpy")(0, place, 8), INVALID_VALUE);
    assert_eq!(symbol::<Three>(&library, "cuMemsetD32_v2")(0x10, 1, usize::MAX), INVALID_VALUE);
    assert_eq!(symbol::<Two>(&library, "cuMemAlloc_v2")(place, usize::MAX), 2, "out of memory");
    assert_eq!(symbol::<Six>(&library, "cuGraphAddKernelNode")(0, 0, 0, 0, 0, 0), INVALID_VALUE);
    assert_eq!(symbol::<Six>(&library, "cuGraphAddExternalSemaphoresWaitNode")(0, 0, 0, 0, 0, 0), NOT_SUPPORTED);
    for handle in handles {
        assert_eq!(symbol::<Two>(&library, "cuGraphLaunch")(handle, 0), INVALID_VALUE, "{handle:#x}");
        assert_eq!(symbol::<Two>(&library, "cuGraphClone")(place, handle), INVALID_VALUE, "{handle:#x}");
        assert_eq!(symbol::<Two>(&library, "cuGraphNodeGetType")(handle, place), INVALID_VALUE, "{handle:#x}");
        assert_eq!(symbol::<Three>(&library, "cuGraphGetNodes")(handle, 0, place), INVALID_VALUE, "{handle:#x}");
        assert_eq!(symbol::<Two>(&library, "cuUserObjectRetain")(handle, 1), INVALID_VALUE, "{handle:#x}");
        assert_eq!(symbol::<Three>(&library, "cuGraphInstantiateWithFlags")(place, handle, 0), INVALID_VALUE);
    }
    assert_eq!(symbol::<Two>(&library, "cuGetErrorName")(4242, place), INVALID_VALUE);
    let table = [0u8; 16];
    assert_eq!(symbol::<Two>(&library, "cuGetExportTable")(place, table.as_ptr().expose_provenance()), NOT_FOUND);
}
