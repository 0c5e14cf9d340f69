//! Calls about memory with arguments that cannot be right: each answers with a code, and nothing crashes.

#[path = "../library/sys.rs"]
mod sys;

use libloading::Library;
use sys::symbol;

const INVALID_VALUE: u32 = 1;
const INVALID_DEVICE: u32 = 101;
const INVALID_CONTEXT: u32 = 201;
const INVALID_HANDLE: u32 = 400;
const NOT_SUPPORTED: u32 = 801;

type Nine = extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize) -> u32;

fn call(library: &Library, name: &str, arguments: &[usize]) -> u32 {
    let mut all = [0; 9];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f, g, h, i] = all;
    symbol::<Nine>(library, name)(a, b, c, d, e, f, g, h, i)
}

#[test]
fn wrong_arguments_have_their_codes() {
    let path = std::env::current_exe().unwrap().with_file_name("libcuda.so");
    let library = sys::open(&path);
    let answers = |name: &str, arguments: &[usize], code: u32| {
        assert_eq!(call(&library, name, arguments), code, "{name}{arguments:x?}");
    };
    let mut out = [0u64; 16];
    let place = out.as_mut_ptr().expose_provenance();
    answers("cuInit", &[0], 0);

    // Without a context: what belongs to one is refused, what belongs to a device is not.
    answers("cuMemAllocAsync", &[place, 64, 0], INVALID_CONTEXT);
    answers("cuIpcOpenMemHandle_v2", &[place, 0, 1], INVALID_VALUE);
    answers("cuDeviceGetDefaultMemPool", &[place, 0], 0);
    let pool = out[0] as usize;
    answers("cuMemAddressReserve", &[place, 4 << 20, 0, 0, 0], 0);
    let range = out[0] as usize;
    answers("cuDevicePrimaryCtxRetain", &[place, 0], 0);
    answers("cuCtxSetCurrent", &[out[0] as usize], 0);
    answers("cuMemAlloc_v2", &[place, 4096], 0);
    let memory = out[0] as usize;
    answers("cuMemAllocManaged", &[place, 4096, 1], 0);
    let managed = out[0] as usize;
    answers("cuStreamCreate", &[place, 1], 0);
    let stream = out[0] as usize;

    // Nowhere to put the result.
    for name in ["cuMemCreate", "cuMemGetAllocationGranularity", "cuMemPoolCreate"] {
        answers(name, &[0, 0, 0, 0], INVALID_VALUE);
        answers(name, &[place, 0, 0, 0], INVALID_VALUE);
    }
    answers("cuMemCreate", &[place, 2 << 20, 0, 0], INVALID_VALUE);
    answers("cuMemAddressReserve", &[0, 4 << 20, 0, 0, 0], INVALID_VALUE);
    answers("cuMemGetAccess", &[0, 0, range], INVALID_VALUE);
    answers("cuMemRetainAllocationHandle", &[0, memory], INVALID_VALUE);
    answers("cuMemRetainAllocationHandle", &[place, memory], INVALID_VALUE);
    answers("cuMemAllocAsync", &[0, 64, stream], INVALID_VALUE);
    answers("cuMemAllocFromPoolAsync", &[0, 64, pool, stream], INVALID_VALUE);
    answers("cuMemPoolGetAttribute", &[pool, 4, 0], INVALID_VALUE);
    answers("cuMemPoolSetAttribute", &[pool, 4, 0], INVALID_VALUE);
    answers("cuMemPoolExportToShareableHandle", &[0, pool, 1, 0], INVALID_VALUE);
    answers("cuMemPoolExportPointer", &[0, memory], INVALID_VALUE);
    answers("cuMemPoolImportPointer", &[place, pool, 0], INVALID_VALUE);
    answers("cuIpcGetMemHandle", &[0, memory], INVALID_VALUE);
    answers("cuPointerGetAttribute", &[0, 2, memory], INVALID_VALUE);
    answers("cuPointerSetAttribute", &[0, 6, memory], INVALID_VALUE);
    answers("cuMemRangeGetAttribute", &[0, 4, 1, managed, 4096], INVALID_VALUE);
    answers("cuMemRangeGetAttributes", &[0, 0, 0, 1, managed, 4096], INVALID_VALUE);
    answers("cuMemcpyBatchAsync_v2", &[0, 0, 0, 1, 0, 0, 1, stream], INVALID_VALUE);
    answers("cuMemcpyBatchAsync", &[0, 0, 0, 1, 0, 0, 1, 0, stream], INVALID_VALUE);
    answers("cuMemcpy3DBatchAsync_v2", &[1, 0, 0, stream], INVALID_VALUE);
    answers("cuMemcpy3DBatchAsync", &[1, 0, 0, 0, stream], INVALID_VALUE);
    answers("cuMemPrefetchBatchAsync", &[0, 0, 1, 0, 0, 1, 0, stream], INVALID_VALUE);
    answers("cuMemDiscardBatchAsync", &[0, 0, 1, 0, stream], INVALID_VALUE);
    answers("cuMemSetAccess", &[range, 2 << 20, 0, 1], INVALID_VALUE);

    // Handles that were never given out, some with the tag of another kind.
    for handle in [0, 3, 0xdead_beef, usize::MAX, stream, pool ^ 1, pool + (1 << 32)] {
        for name in ["cuMemRelease", "cuMemPoolDestroy"] {
            answers(name, &[handle], INVALID_VALUE);
        }
        answers("cuMemMap", &[range, 2 << 20, 0, handle, 0], INVALID_VALUE);
        answers("cuMemExportToShareableHandle", &[place, handle, 1, 0], INVALID_VALUE);
        answers("cuMemGetAllocationPropertiesFromHandle", &[place, handle], INVALID_VALUE);
        answers("cuMemPoolTrimTo", &[handle, 0], INVALID_VALUE);
        answers("cuMemAllocFromPoolAsync", &[place, 64, handle, stream], INVALID_VALUE);
        answers("cuDeviceSetMemPool", &[0, handle], INVALID_VALUE);
        answers("cuMemPoolGetAttribute", &[handle, 4, place], INVALID_VALUE);
    }
    answers("cuMemFreeAsync", &[memory, pool], INVALID_HANDLE);

    // Addresses that are of another kind, or of nothing.
    for address in [1, 0x1000, range, place, usize::MAX - 7] {
        answers("cuMemFree_v2", &[address], INVALID_VALUE);
        answers("cuMemFreeAsync", &[address, stream], INVALID_VALUE);
        answers("cuIpcGetMemHandle", &[place, address], INVALID_VALUE);
        answers("cuIpcCloseMemHandle", &[address], INVALID_VALUE);
        answers("cuMemPoolExportPointer", &[place, address], INVALID_VALUE);
        // Where addresses are reserved, nothing but a gap is no mistake.
        answers("cuMemUnmap", &[address, 2 << 20], if address == range { 0 } else { INVALID_VALUE });
        answers("cuMemAddressFree", &[address, usize::MAX], INVALID_VALUE);
        answers("cuMemAdvise", &[address, 64, 1, 0], INVALID_VALUE);
        answers("cuMemPrefetchAsync", &[address, 64, 0, stream], INVALID_VALUE);
        answers("cuStreamAttachMemAsync", &[stream, address, 0, 1], INVALID_VALUE);
    }
    answers("cuMemAdvise", &[managed, usize::MAX, 1, 0], INVALID_VALUE);
    answers("cuMemPrefetchAsync", &[managed, 4096, 99, stream], INVALID_DEVICE);
    answers("cuStreamAttachMemAsync", &[stream, managed, 0, 0], INVALID_VALUE);
    answers("cuDeviceGetMemPool", &[place, 99], INVALID_DEVICE);
    answers("cuMemImportFromShareableHandle", &[place, usize::MAX, 1], 999);
    answers("cuMemPoolImportFromShareableHandle", &[place, usize::MAX, 1, 0], INVALID_VALUE);
    let file = std::fs::File::open("/dev/null").unwrap();
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file) as usize;
    answers("cuMemImportFromShareableHandle", &[place, descriptor, 1], INVALID_VALUE);
    answers("cuMemPoolImportFromShareableHandle", &[place, descriptor, 1, 0], INVALID_VALUE);

    // A reserved range is known as such.
    answers("cuPointerGetAttribute", &[place, 11, range + 64], 0);
    assert_eq!(out[0] as usize, range);
    answers("cuPointerGetAttribute", &[place, 2, range + 64], INVALID_VALUE);
    answers("cuMemAddressFree", &[range, 4 << 20], 0);

    // Not offered, as attributes of the device say.
    answers("cuMemGetHandleForAddressRange", &[place, memory, 4096, 1, 0], NOT_SUPPORTED);
    answers("cuMemBatchDecompressAsync", &[place, 1, 0, place, stream], NOT_SUPPORTED);
    for attribute in [116, 124, 128, 132, 136, 141, 142, 145, 146] {
        answers("cuDeviceGetAttribute", &[place, attribute, 0], 0);
        assert_eq!(out[0] as u32, 0, "attribute {attribute}");
    }
    for attribute in [102, 103, 113, 115, 119, 144] {
        answers("cuDeviceGetAttribute", &[place, attribute, 0], 0);
        assert_eq!(out[0] as u32, 1, "attribute {attribute}");
    }
    assert_ne!(call(&library, "cuMemFree_v2", &[memory + 8]), 0);
    answers("cuMemFree_v2", &[managed], 0);
    answers("cuMemFree_v2", &[memory], 0);
}
