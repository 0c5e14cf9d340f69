//! The exported functions: one row each.
//!
//! A row names the base name by which `cuGetProcAddress` knows a function, then the exported symbols that share one
//! signature, each with the CUDA version that introduced it (0: not to be had through `cuGetProcAddress`) and the default
//! stream that it stands for. Behind the arrow is the function in `calls/` that serves them. A row without one is
//! exported and answers `CUDA_ERROR_NOT_SUPPORTED`: names of version 2000 and 3000 whose successors are served have 32-bit
//! device addresses, which cannot hold ours.
//!
//! The debugger's hooks (`cudbg*`) are left out: a debugger that finds them would drive a GPU through them.

use crate::abi::{
    Address, CuContext, CuEvent, CuFunction, CuKernel, CuLibrary, CuModule, CuStream, Flavour, HostFunction, In, Out,
    Pointer, Text, TextOut, enter, not_supported,
};
use crate::calls::context::{self, ContextParameters};
use crate::calls::copy::{self, Copy2d, Copy3d};
use crate::calls::device::{self, DeviceProperties};
use crate::calls::function::{self, SharedForThreads};
use crate::calls::launch::{self, LaunchConfig};
use crate::calls::stream::{self, StreamCallback};
use crate::calls::{event, init, memory, module};
use crate::result::Code;
use std::ffi::c_char;

/// One exported symbol.
pub(crate) struct Entry {
    pub(crate) base: &'static str,
    pub(crate) symbol: &'static str,
    pub(crate) since: i32,
    pub(crate) flavour: Flavour,
    pub(crate) address: Address,
}

macro_rules! entries {
    ($($base:literal: $($symbol:ident $since:literal $flavour:ident),+ $(=> $module:ident::$serve:ident $arguments:tt)?;)*) => {
        $(row! { [$($symbol $flavour)+] $($module $serve $arguments)? })*

        /// Every exported symbol.
        pub(crate) static ENTRIES: &[Entry] = &[$($(Entry {
            base: $base,
            symbol: stringify!($symbol),
            since: $since,
            flavour: Flavour::$flavour,
            address: Address($symbol as *const ()),
        }),+),*];
    };
}

macro_rules! row {
    ([$($symbol:ident $flavour:ident)+]) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) extern "C" fn $symbol() -> Code {
                not_supported(stringify!($symbol))
            }
        )+
    };
    ([$($symbol:ident $flavour:ident)+] $module:ident $serve:ident $arguments:tt) => {
        $(served! { $symbol $flavour $module $serve $arguments })+
    };
}

macro_rules! served {
    ($symbol:ident $flavour:ident $module:ident $serve:ident ($($argument:ident: $type:ty),*)) => {
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $symbol($($argument: $type),*) -> Code {
            let show = || {
                let arguments: &[String] = &[$(format!("{}: {:?}", stringify!($argument), $argument)),*];
                arguments.join(", ")
            };
            enter(stringify!($symbol), Flavour::$flavour, &show, |call| $module::$serve(call, $($argument),*))
        }
    };
}

#[rustfmt::skip]
entries! {
    "cuInit": cuInit 2000 Legacy => init::init(flags: u32);
    "cuDriverGetVersion": cuDriverGetVersion 2020 Legacy => init::driver_version(version: Out<i32>);
    "cuGetProcAddress": cuGetProcAddress 11030 Legacy => init::proc_address(name: Text, function: Out<Address>, version: i32, flags: u64);
    "cuGetProcAddress": cuGetProcAddress_v2 12000 Legacy => init::proc_address_v2(name: Text, function: Out<Address>, version: i32, flags: u64, status: Out<u32>);
    "cuGetExportTable": cuGetExportTable 3000 Legacy => init::export_table(table: Out<Address>, id: In<[u8; 16]>);
    "cuGetErrorName": cuGetErrorName 6000 Legacy => init::error_name(code: u32, text: Out<TextOut>);
    "cuGetErrorString": cuGetErrorString 6000 Legacy => init::error_string(code: u32, text: Out<TextOut>);
    "cuProfilerInitialize": cuProfilerInitialize 4000 Legacy => init::profiler_initialize(config: Text, output: Text, mode: u32);
    "cuProfilerStart": cuProfilerStart 4000 Legacy => init::profiler_switch();
    "cuProfilerStop": cuProfilerStop 4000 Legacy => init::profiler_switch();
    "cuDeviceGetCount": cuDeviceGetCount 2000 Legacy => device::count(count: Out<i32>);
    "cuDeviceGet": cuDeviceGet 2000 Legacy => device::get(device: Out<i32>, ordinal: i32);
    "cuDeviceGetName": cuDeviceGetName 2000 Legacy => device::name(name: Out<c_char>, room: i32, device: i32);
    "cuDeviceGetUuid": cuDeviceGetUuid 9020 Legacy, cuDeviceGetUuid_v2 11040 Legacy => device::uuid(uuid: Out<[u8; 16]>, device: i32);
    "cuDeviceTotalMem": cuDeviceTotalMem_v2 3020 Legacy => device::total_memory(bytes: Out<usize>, device: i32);
    "cuDeviceGetAttribute": cuDeviceGetAttribute 2000 Legacy => device::attribute(value: Out<i32>, attribute: i32, device: i32);
    "cuDeviceComputeCapability": cuDeviceComputeCapability 2000 Legacy => device::compute_capability(major: Out<i32>, minor: Out<i32>, device: i32);
    "cuDeviceGetProperties": cuDeviceGetProperties 2000 Legacy => device::properties(properties: Out<DeviceProperties>, device: i32);
    "cuDeviceGetPCIBusId": cuDeviceGetPCIBusId 4010 Legacy => device::pci_bus_id(text: Out<c_char>, room: i32, device: i32);
    "cuDeviceGetByPCIBusId": cuDeviceGetByPCIBusId 4010 Legacy => device::by_pci_bus_id(device: Out<i32>, text: Text);
    "cuDeviceCanAccessPeer": cuDeviceCanAccessPeer 4000 Legacy => device::can_access_peer(can: Out<i32>, device: i32, peer: i32);
    "cuDeviceGetP2PAttribute": cuDeviceGetP2PAttribute 8000 Legacy => device::peer_attribute(value: Out<i32>, attribute: u32, from: i32, to: i32);
    "cuDeviceGetExecAffinitySupport": cuDeviceGetExecAffinitySupport 11040 Legacy => device::exec_affinity_support(supported: Out<i32>, kind: u32, device: i32);
    "cuDeviceGetTexture1DLinearMaxWidth": cuDeviceGetTexture1DLinearMaxWidth 11010 Legacy => device::texture_1d_linear_width(width: Out<usize>, format: u32, channels: u32, device: i32);
    "cuDevicePrimaryCtxRetain": cuDevicePrimaryCtxRetain 7000 Legacy => context::primary_retain(context: Out<CuContext>, device: i32);
    "cuDevicePrimaryCtxRelease": cuDevicePrimaryCtxRelease 7000 Legacy, cuDevicePrimaryCtxRelease_v2 11000 Legacy => context::primary_release(device: i32);
    "cuDevicePrimaryCtxSetFlags": cuDevicePrimaryCtxSetFlags 7000 Legacy, cuDevicePrimaryCtxSetFlags_v2 11000 Legacy => context::primary_set_flags(device: i32, flags: u32);
    "cuDevicePrimaryCtxGetState": cuDevicePrimaryCtxGetState 7000 Legacy => context::primary_state(device: i32, flags: Out<u32>, active: Out<i32>);
    "cuDevicePrimaryCtxReset": cuDevicePrimaryCtxReset 7000 Legacy, cuDevicePrimaryCtxReset_v2 11000 Legacy => context::primary_reset(device: i32);
    "cuCtxCreate": cuCtxCreate 2000 Legacy, cuCtxCreate_v2 3020 Legacy => context::create(context: Out<CuContext>, flags: u32, device: i32);
    "cuCtxCreate": cuCtxCreate_v3 11040 Legacy => context::create_v3(context: Out<CuContext>, affinity: In<u8>, affinities: i32, flags: u32, device: i32);
    "cuCtxCreate": cuCtxCreate_v4 12050 Legacy => context::create_v4(context: Out<CuContext>, parameters: In<ContextParameters>, flags: u32, device: i32);
    "cuCtxDestroy": cuCtxDestroy 2000 Legacy, cuCtxDestroy_v2 4000 Legacy => context::destroy(context: CuContext);
    "cuCtxPushCurrent": cuCtxPushCurrent 2000 Legacy, cuCtxPushCurrent_v2 4000 Legacy => context::push(context: CuContext);
    "cuCtxPopCurrent": cuCtxPopCurrent 2000 Legacy, cuCtxPopCurrent_v2 4000 Legacy => context::pop(context: Out<CuContext>);
    "cuCtxSetCurrent": cuCtxSetCurrent 4000 Legacy => context::set_current(context: CuContext);
    "cuCtxGetCurrent": cuCtxGetCurrent 4000 Legacy => context::current(context: Out<CuContext>);
    "cuCtxGetDevice": cuCtxGetDevice 2000 Legacy => context::device(device: Out<i32>);
    "cuCtxGetDevice": cuCtxGetDevice_v2 13000 Legacy => context::device_of(device: Out<i32>, context: CuContext);
    "cuCtxGetFlags": cuCtxGetFlags 7000 Legacy => context::flags(flags: Out<u32>);
    "cuCtxSetFlags": cuCtxSetFlags 12010 Legacy => context::set_flags(flags: u32);
    "cuCtxGetId": cuCtxGetId 12000 Legacy => context::id(context: CuContext, id: Out<u64>);
    "cuCtxSynchronize": cuCtxSynchronize 2000 Legacy => context::synchronize();
    "cuCtxSynchronize": cuCtxSynchronize_v2 13000 Legacy => context::synchronize_of(context: CuContext);
    "cuCtxGetLimit": cuCtxGetLimit 3010 Legacy => context::limit(value: Out<usize>, limit: u32);
    "cuCtxSetLimit": cuCtxSetLimit 3010 Legacy => context::set_limit(limit: u32, value: usize);
    "cuCtxGetCacheConfig": cuCtxGetCacheConfig 3020 Legacy => context::cache_config(config: Out<u32>);
    "cuCtxSetCacheConfig": cuCtxSetCacheConfig 3020 Legacy => context::set_cache_config(config: u32);
    "cuCtxGetSharedMemConfig": cuCtxGetSharedMemConfig 4020 Legacy => context::shared_config(config: Out<u32>);
    "cuCtxSetSharedMemConfig": cuCtxSetSharedMemConfig 4020 Legacy => context::set_shared_config(config: u32);
    "cuCtxGetApiVersion": cuCtxGetApiVersion 3020 Legacy => context::api_version(context: CuContext, version: Out<u32>);
    "cuCtxGetStreamPriorityRange": cuCtxGetStreamPriorityRange 5050 Legacy => context::priority_range(least: Out<i32>, greatest: Out<i32>);
    "cuCtxResetPersistingL2Cache": cuCtxResetPersistingL2Cache 11000 Legacy => context::reset_l2();
    "cuCtxEnablePeerAccess": cuCtxEnablePeerAccess 4000 Legacy => context::enable_peer(peer: CuContext, flags: u32);
    "cuCtxDisablePeerAccess": cuCtxDisablePeerAccess 4000 Legacy => context::disable_peer(peer: CuContext);
    "cuMemGetInfo": cuMemGetInfo_v2 3020 Legacy => memory::info(free: Out<usize>, total: Out<usize>);
    "cuMemAlloc": cuMemAlloc_v2 3020 Legacy => memory::allocate(pointer: Out<Pointer>, bytes: usize);
    "cuMemAllocPitch": cuMemAllocPitch_v2 3020 Legacy => memory::allocate_pitch(pointer: Out<Pointer>, pitch: Out<usize>, width: usize, height: usize, element: u32);
    "cuMemFree": cuMemFree_v2 3020 Legacy => memory::free(pointer: Pointer);
    "cuMemGetAddressRange": cuMemGetAddressRange_v2 3020 Legacy => memory::address_range(base: Out<Pointer>, bytes: Out<usize>, pointer: Pointer);
    "cuMemAllocManaged": cuMemAllocManaged 6000 Legacy => memory::allocate_managed(pointer: Out<Pointer>, bytes: usize, flags: u32);
    "cuMemAllocHost": cuMemAllocHost_v2 3020 Legacy => memory::allocate_host(pointer: Out<Pointer>, bytes: usize);
    "cuMemHostAlloc": cuMemHostAlloc 2020 Legacy => memory::host_allocate(pointer: Out<Pointer>, bytes: usize, flags: u32);
    "cuMemFreeHost": cuMemFreeHost 2000 Legacy => memory::free_host(pointer: Pointer);
    "cuMemHostGetDevicePointer": cuMemHostGetDevicePointer_v2 3020 Legacy => memory::host_device_pointer(device: Out<Pointer>, host: Pointer, flags: u32);
    "cuMemHostGetFlags": cuMemHostGetFlags 2030 Legacy => memory::host_flags(flags: Out<u32>, host: Pointer);
    "cuMemHostRegister": cuMemHostRegister 4000 Legacy, cuMemHostRegister_v2 6050 Legacy => memory::host_register(host: Pointer, bytes: usize, flags: u32);
    "cuMemHostUnregister": cuMemHostUnregister 4000 Legacy => memory::host_unregister(host: Pointer);
    "cuPointerGetAttribute": cuPointerGetAttribute 4000 Legacy => memory::pointer_attribute(value: Out<u64>, attribute: u32, pointer: Pointer);
    "cuPointerGetAttributes": cuPointerGetAttributes 7000 Legacy => memory::pointer_attributes(count: u32, attributes: In<u32>, values: In<Out<u64>>, pointer: Pointer);
    "cuPointerSetAttribute": cuPointerSetAttribute 6000 Legacy => memory::set_pointer_attribute(value: In<u8>, attribute: u32, pointer: Pointer);
    "cuMemAllocAsync": cuMemAllocAsync 11020 Legacy, cuMemAllocAsync_ptsz 11020 PerThread => memory::allocate_async(pointer: Out<Pointer>, bytes: usize, stream: CuStream);
    "cuMemFreeAsync": cuMemFreeAsync 11020 Legacy, cuMemFreeAsync_ptsz 11020 PerThread => memory::free_async(pointer: Pointer, stream: CuStream);
    "cuMemcpy": cuMemcpy 4000 Legacy, cuMemcpy_ptds 7000 PerThread => copy::any(to: Pointer, from: Pointer, bytes: usize);
    "cuMemcpyAsync": cuMemcpyAsync 4000 Legacy, cuMemcpyAsync_ptsz 7000 PerThread => copy::any_async(to: Pointer, from: Pointer, bytes: usize, stream: CuStream);
    "cuMemcpyHtoD": cuMemcpyHtoD_v2 3020 Legacy, cuMemcpyHtoD_v2_ptds 7000 PerThread => copy::in_(to: Pointer, from: Pointer, bytes: usize);
    "cuMemcpyHtoDAsync": cuMemcpyHtoDAsync_v2 3020 Legacy, cuMemcpyHtoDAsync_v2_ptsz 7000 PerThread => copy::in_async(to: Pointer, from: Pointer, bytes: usize, stream: CuStream);
    "cuMemcpyDtoH": cuMemcpyDtoH_v2 3020 Legacy, cuMemcpyDtoH_v2_ptds 7000 PerThread => copy::out(to: Pointer, from: Pointer, bytes: usize);
    "cuMemcpyDtoHAsync": cuMemcpyDtoHAsync_v2 3020 Legacy, cuMemcpyDtoHAsync_v2_ptsz 7000 PerThread => copy::out_async(to: Pointer, from: Pointer, bytes: usize, stream: CuStream);
    "cuMemcpyDtoD": cuMemcpyDtoD_v2 3020 Legacy, cuMemcpyDtoD_v2_ptds 7000 PerThread => copy::across(to: Pointer, from: Pointer, bytes: usize);
    "cuMemcpyDtoDAsync": cuMemcpyDtoDAsync_v2 3020 Legacy, cuMemcpyDtoDAsync_v2_ptsz 7000 PerThread => copy::across_async(to: Pointer, from: Pointer, bytes: usize, stream: CuStream);
    "cuMemcpyPeer": cuMemcpyPeer 4000 Legacy, cuMemcpyPeer_ptds 7000 PerThread => copy::peer(to: Pointer, to_context: CuContext, from: Pointer, from_context: CuContext, bytes: usize);
    "cuMemcpyPeerAsync": cuMemcpyPeerAsync 4000 Legacy, cuMemcpyPeerAsync_ptsz 7000 PerThread => copy::peer_async(to: Pointer, to_context: CuContext, from: Pointer, from_context: CuContext, bytes: usize, stream: CuStream);
    "cuMemcpy2D": cuMemcpy2D_v2 3020 Legacy, cuMemcpy2D_v2_ptds 7000 PerThread => copy::plane(copy: In<Copy2d>);
    "cuMemcpy2DUnaligned": cuMemcpy2DUnaligned_v2 3020 Legacy, cuMemcpy2DUnaligned_v2_ptds 7000 PerThread => copy::plane(copy: In<Copy2d>);
    "cuMemcpy2DAsync": cuMemcpy2DAsync_v2 3020 Legacy, cuMemcpy2DAsync_v2_ptsz 7000 PerThread => copy::plane_async(copy: In<Copy2d>, stream: CuStream);
    "cuMemcpy3D": cuMemcpy3D_v2 3020 Legacy, cuMemcpy3D_v2_ptds 7000 PerThread => copy::volume(copy: In<Copy3d>);
    "cuMemcpy3DAsync": cuMemcpy3DAsync_v2 3020 Legacy, cuMemcpy3DAsync_v2_ptsz 7000 PerThread => copy::volume_async(copy: In<Copy3d>, stream: CuStream);
    "cuMemcpy3DPeer": cuMemcpy3DPeer 4000 Legacy, cuMemcpy3DPeer_ptds 7000 PerThread => copy::volume(copy: In<Copy3d>);
    "cuMemcpy3DPeerAsync": cuMemcpy3DPeerAsync 4000 Legacy, cuMemcpy3DPeerAsync_ptsz 7000 PerThread => copy::volume_async(copy: In<Copy3d>, stream: CuStream);
    "cuMemsetD8": cuMemsetD8_v2 3020 Legacy, cuMemsetD8_v2_ptds 7000 PerThread => copy::set_8(at: Pointer, value: u8, count: usize);
    "cuMemsetD16": cuMemsetD16_v2 3020 Legacy, cuMemsetD16_v2_ptds 7000 PerThread => copy::set_16(at: Pointer, value: u16, count: usize);
    "cuMemsetD32": cuMemsetD32_v2 3020 Legacy, cuMemsetD32_v2_ptds 7000 PerThread => copy::set_32(at: Pointer, value: u32, count: usize);
    "cuMemsetD8Async": cuMemsetD8Async 3020 Legacy, cuMemsetD8Async_ptsz 7000 PerThread => copy::set_8_async(at: Pointer, value: u8, count: usize, stream: CuStream);
    "cuMemsetD16Async": cuMemsetD16Async 3020 Legacy, cuMemsetD16Async_ptsz 7000 PerThread => copy::set_16_async(at: Pointer, value: u16, count: usize, stream: CuStream);
    "cuMemsetD32Async": cuMemsetD32Async 3020 Legacy, cuMemsetD32Async_ptsz 7000 PerThread => copy::set_32_async(at: Pointer, value: u32, count: usize, stream: CuStream);
    "cuMemsetD2D8": cuMemsetD2D8_v2 3020 Legacy, cuMemsetD2D8_v2_ptds 7000 PerThread => copy::set_2d_8(at: Pointer, pitch: usize, value: u8, width: usize, height: usize);
    "cuMemsetD2D16": cuMemsetD2D16_v2 3020 Legacy, cuMemsetD2D16_v2_ptds 7000 PerThread => copy::set_2d_16(at: Pointer, pitch: usize, value: u16, width: usize, height: usize);
    "cuMemsetD2D32": cuMemsetD2D32_v2 3020 Legacy, cuMemsetD2D32_v2_ptds 7000 PerThread => copy::set_2d_32(at: Pointer, pitch: usize, value: u32, width: usize, height: usize);
    "cuMemsetD2D8Async": cuMemsetD2D8Async 3020 Legacy, cuMemsetD2D8Async_ptsz 7000 PerThread => copy::set_2d_8_async(at: Pointer, pitch: usize, value: u8, width: usize, height: usize, stream: CuStream);
    "cuMemsetD2D16Async": cuMemsetD2D16Async 3020 Legacy, cuMemsetD2D16Async_ptsz 7000 PerThread => copy::set_2d_16_async(at: Pointer, pitch: usize, value: u16, width: usize, height: usize, stream: CuStream);
    "cuMemsetD2D32Async": cuMemsetD2D32Async 3020 Legacy, cuMemsetD2D32Async_ptsz 7000 PerThread => copy::set_2d_32_async(at: Pointer, pitch: usize, value: u32, width: usize, height: usize, stream: CuStream);
    "cuStreamCreate": cuStreamCreate 2000 Legacy => stream::create(stream: Out<CuStream>, flags: u32);
    "cuStreamCreateWithPriority": cuStreamCreateWithPriority 5050 Legacy => stream::create_with_priority(stream: Out<CuStream>, flags: u32, priority: i32);
    "cuStreamDestroy": cuStreamDestroy 2000 Legacy, cuStreamDestroy_v2 4000 Legacy => stream::destroy(stream: CuStream);
    "cuStreamQuery": cuStreamQuery 2000 Legacy, cuStreamQuery_ptsz 7000 PerThread => stream::query(stream: CuStream);
    "cuStreamSynchronize": cuStreamSynchronize 2000 Legacy, cuStreamSynchronize_ptsz 7000 PerThread => stream::synchronize(stream: CuStream);
    "cuStreamWaitEvent": cuStreamWaitEvent 3020 Legacy, cuStreamWaitEvent_ptsz 7000 PerThread => stream::wait_event(stream: CuStream, event: CuEvent, flags: u32);
    "cuStreamGetFlags": cuStreamGetFlags 5050 Legacy, cuStreamGetFlags_ptsz 7000 PerThread => stream::flags(stream: CuStream, flags: Out<u32>);
    "cuStreamGetPriority": cuStreamGetPriority 5050 Legacy, cuStreamGetPriority_ptsz 7000 PerThread => stream::priority(stream: CuStream, priority: Out<i32>);
    "cuStreamGetCtx": cuStreamGetCtx 9020 Legacy, cuStreamGetCtx_ptsz 9020 PerThread => stream::context(stream: CuStream, context: Out<CuContext>);
    "cuStreamGetId": cuStreamGetId 12000 Legacy, cuStreamGetId_ptsz 12000 PerThread => stream::id(stream: CuStream, id: Out<u64>);
    "cuStreamGetDevice": cuStreamGetDevice 12080 Legacy, cuStreamGetDevice_ptsz 12080 PerThread => stream::device(stream: CuStream, device: Out<i32>);
    "cuStreamIsCapturing": cuStreamIsCapturing 10000 Legacy, cuStreamIsCapturing_ptsz 10000 PerThread => stream::is_capturing(stream: CuStream, status: Out<u32>);
    "cuStreamGetCaptureInfo": cuStreamGetCaptureInfo 10010 Legacy, cuStreamGetCaptureInfo_ptsz 10010 PerThread => stream::capture_info(stream: CuStream, status: Out<u32>, id: Out<u64>);
    "cuStreamGetCaptureInfo": cuStreamGetCaptureInfo_v2 11030 Legacy, cuStreamGetCaptureInfo_v2_ptsz 11030 PerThread => stream::capture_info_v2(stream: CuStream, status: Out<u32>, id: Out<u64>, graph: Out<Pointer>, dependencies: Out<Pointer>, count: Out<usize>);
    "cuStreamGetCaptureInfo": cuStreamGetCaptureInfo_v3 12030 Legacy, cuStreamGetCaptureInfo_v3_ptsz 12030 PerThread => stream::capture_info_v3(stream: CuStream, status: Out<u32>, id: Out<u64>, graph: Out<Pointer>, dependencies: Out<Pointer>, edges: Out<Pointer>, count: Out<usize>);
    "cuStreamAddCallback": cuStreamAddCallback 5000 Legacy, cuStreamAddCallback_ptsz 7000 PerThread => stream::add_callback(stream: CuStream, callback: StreamCallback, data: Pointer, flags: u32);
    "cuLaunchHostFunc": cuLaunchHostFunc 10000 Legacy, cuLaunchHostFunc_ptsz 10000 PerThread => stream::host_function(stream: CuStream, function: HostFunction, data: Pointer);
    "cuEventCreate": cuEventCreate 2000 Legacy => event::create(event: Out<CuEvent>, flags: u32);
    "cuEventDestroy": cuEventDestroy 2000 Legacy, cuEventDestroy_v2 4000 Legacy => event::destroy(event: CuEvent);
    "cuEventRecord": cuEventRecord 2000 Legacy, cuEventRecord_ptsz 7000 PerThread => event::record(event: CuEvent, stream: CuStream);
    "cuEventRecordWithFlags": cuEventRecordWithFlags 11010 Legacy, cuEventRecordWithFlags_ptsz 11010 PerThread => event::record_with_flags(event: CuEvent, stream: CuStream, flags: u32);
    "cuEventQuery": cuEventQuery 2000 Legacy => event::query(event: CuEvent);
    "cuEventSynchronize": cuEventSynchronize 2000 Legacy => event::synchronize(event: CuEvent);
    "cuEventElapsedTime": cuEventElapsedTime 2000 Legacy, cuEventElapsedTime_v2 12080 Legacy => event::elapsed(milliseconds: Out<f32>, start: CuEvent, end: CuEvent);
    "cuModuleGetLoadingMode": cuModuleGetLoadingMode 11070 Legacy => module::loading_mode(mode: Out<u32>);
    "cuModuleLoad": cuModuleLoad 2000 Legacy => module::load(module: Out<CuModule>, file: Text);
    "cuModuleLoadData": cuModuleLoadData 2000 Legacy => module::load_data(module: Out<CuModule>, image: Pointer);
    "cuModuleLoadDataEx": cuModuleLoadDataEx 2010 Legacy => module::load_data_ex(module: Out<CuModule>, image: Pointer, count: u32, options: In<u32>, values: In<Pointer>);
    "cuModuleLoadFatBinary": cuModuleLoadFatBinary 2000 Legacy => module::load_data(module: Out<CuModule>, image: Pointer);
    "cuModuleUnload": cuModuleUnload 2000 Legacy => module::unload(module: CuModule);
    "cuModuleGetFunction": cuModuleGetFunction 2000 Legacy => module::function(function: Out<CuFunction>, module: CuModule, name: Text);
    "cuModuleGetFunctionCount": cuModuleGetFunctionCount 12040 Legacy => module::function_count(count: Out<u32>, module: CuModule);
    "cuModuleEnumerateFunctions": cuModuleEnumerateFunctions 12040 Legacy => module::enumerate(functions: Out<CuFunction>, count: u32, module: CuModule);
    "cuModuleGetGlobal": cuModuleGetGlobal_v2 3020 Legacy => module::global(address: Out<Pointer>, bytes: Out<usize>, module: CuModule, name: Text);
    "cuLibraryLoadData": cuLibraryLoadData 12000 Legacy => module::library_load_data(library: Out<CuLibrary>, image: Pointer, options: In<u32>, values: In<Pointer>, count: u32, library_options: In<u32>, library_values: In<Pointer>, library_count: u32);
    "cuLibraryLoadFromFile": cuLibraryLoadFromFile 12000 Legacy => module::library_load_file(library: Out<CuLibrary>, file: Text, options: In<u32>, values: In<Pointer>, count: u32, library_options: In<u32>, library_values: In<Pointer>, library_count: u32);
    "cuLibraryUnload": cuLibraryUnload 12000 Legacy => module::library_unload(library: CuLibrary);
    "cuLibraryGetKernel": cuLibraryGetKernel 12000 Legacy => module::library_kernel(kernel: Out<CuKernel>, library: CuLibrary, name: Text);
    "cuLibraryGetKernelCount": cuLibraryGetKernelCount 12040 Legacy => module::library_kernel_count(count: Out<u32>, library: CuLibrary);
    "cuLibraryEnumerateKernels": cuLibraryEnumerateKernels 12040 Legacy => module::library_kernels(kernels: Out<CuKernel>, count: u32, library: CuLibrary);
    "cuLibraryGetModule": cuLibraryGetModule 12000 Legacy => module::library_module(module: Out<CuModule>, library: CuLibrary);
    "cuLibraryGetGlobal": cuLibraryGetGlobal 12000 Legacy => module::library_global(address: Out<Pointer>, bytes: Out<usize>, library: CuLibrary, name: Text);
    "cuLibraryGetManaged": cuLibraryGetManaged 12000 Legacy => module::library_managed(address: Out<Pointer>, bytes: Out<usize>, library: CuLibrary, name: Text);
    "cuKernelGetFunction": cuKernelGetFunction 12000 Legacy => function::kernel_function(function: Out<CuFunction>, kernel: CuKernel);
    "cuKernelGetLibrary": cuKernelGetLibrary 12050 Legacy => function::kernel_library(library: Out<CuLibrary>, kernel: CuKernel);
    "cuKernelGetName": cuKernelGetName 12030 Legacy => function::kernel_name(name: Out<TextOut>, kernel: CuKernel);
    "cuKernelGetParamInfo": cuKernelGetParamInfo 12040 Legacy => function::kernel_parameter_info(kernel: CuKernel, index: usize, offset: Out<usize>, bytes: Out<usize>);
    "cuKernelGetAttribute": cuKernelGetAttribute 12000 Legacy => function::kernel_attribute(value: Out<i32>, attribute: u32, kernel: CuKernel, device: i32);
    "cuKernelSetAttribute": cuKernelSetAttribute 12000 Legacy => function::set_kernel_attribute(attribute: u32, value: i32, kernel: CuKernel, device: i32);
    "cuKernelSetCacheConfig": cuKernelSetCacheConfig 12000 Legacy => function::kernel_preference(kernel: CuKernel, config: u32, device: i32);
    "cuFuncGetAttribute": cuFuncGetAttribute 2020 Legacy => function::attribute(value: Out<i32>, attribute: u32, function: CuFunction);
    "cuFuncSetAttribute": cuFuncSetAttribute 9000 Legacy => function::set_attribute(function: CuFunction, attribute: u32, value: i32);
    "cuFuncSetCacheConfig": cuFuncSetCacheConfig 3000 Legacy => function::preference(function: CuFunction, config: u32);
    "cuFuncSetSharedMemConfig": cuFuncSetSharedMemConfig 4020 Legacy => function::preference(function: CuFunction, config: u32);
    "cuFuncGetModule": cuFuncGetModule 11000 Legacy => function::module(module: Out<CuModule>, function: CuFunction);
    "cuFuncGetName": cuFuncGetName 12030 Legacy => function::name(name: Out<TextOut>, function: CuFunction);
    "cuFuncGetParamInfo": cuFuncGetParamInfo 12040 Legacy => function::parameter_info(function: CuFunction, index: usize, offset: Out<usize>, bytes: Out<usize>);
    "cuFuncIsLoaded": cuFuncIsLoaded 12040 Legacy => function::is_loaded(state: Out<u32>, function: CuFunction);
    "cuFuncLoad": cuFuncLoad 12040 Legacy => function::load(function: CuFunction);
    "cuLaunchKernel": cuLaunchKernel 4000 Legacy, cuLaunchKernel_ptsz 7000 PerThread => launch::kernel(function: CuFunction, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32, shared: u32, stream: CuStream, params: In<Pointer>, extra: In<Pointer>);
    "cuLaunchKernelEx": cuLaunchKernelEx 11060 Legacy, cuLaunchKernelEx_ptsz 11060 PerThread => launch::configured(config: In<LaunchConfig>, function: CuFunction, params: In<Pointer>, extra: In<Pointer>);
    "cuLaunchCooperativeKernel": cuLaunchCooperativeKernel 9000 Legacy, cuLaunchCooperativeKernel_ptsz 9000 PerThread => launch::cooperative(function: CuFunction, grid_x: u32, grid_y: u32, grid_z: u32, block_x: u32, block_y: u32, block_z: u32, shared: u32, stream: CuStream, params: In<Pointer>);
    "cuOccupancyMaxActiveBlocksPerMultiprocessor": cuOccupancyMaxActiveBlocksPerMultiprocessor 6050 Legacy => function::occupancy(count: Out<i32>, function: CuFunction, threads: i32, shared: usize);
    "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags": cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags 7000 Legacy => function::occupancy_with_flags(count: Out<i32>, function: CuFunction, threads: i32, shared: usize, flags: u32);
    "cuOccupancyAvailableDynamicSMemPerBlock": cuOccupancyAvailableDynamicSMemPerBlock 10020 Legacy => function::available_shared(bytes: Out<usize>, function: CuFunction, count: i32, threads: i32);
    "cuOccupancyMaxPotentialBlockSize": cuOccupancyMaxPotentialBlockSize 6050 Legacy => function::potential_block_size(grid: Out<i32>, block: Out<i32>, function: CuFunction, shared_for: SharedForThreads, shared: usize, limit: i32);
    "cuOccupancyMaxPotentialBlockSizeWithFlags": cuOccupancyMaxPotentialBlockSizeWithFlags 7000 Legacy => function::potential_block_size_with_flags(grid: Out<i32>, block: Out<i32>, function: CuFunction, shared_for: SharedForThreads, shared: usize, limit: i32, flags: u32);
    "cuOccupancyMaxActiveClusters": cuOccupancyMaxActiveClusters 11070 Legacy => function::max_clusters(count: Out<i32>, function: CuFunction, config: In<LaunchConfig>);
    "cuOccupancyMaxPotentialClusterSize": cuOccupancyMaxPotentialClusterSize 11070 Legacy => function::max_cluster_size(size: Out<i32>, function: CuFunction, config: In<LaunchConfig>);

    "cuArray3DCreate": cuArray3DCreate 2000 Legacy, cuArray3DCreate_v2 3020 Legacy;
    "cuArray3DGetDescriptor": cuArray3DGetDescriptor 2000 Legacy, cuArray3DGetDescriptor_v2 3020 Legacy;
    "cuArrayCreate": cuArrayCreate 2000 Legacy, cuArrayCreate_v2 3020 Legacy;
    "cuArrayDestroy": cuArrayDestroy 2000 Legacy;
    "cuArrayGetDescriptor": cuArrayGetDescriptor 2000 Legacy, cuArrayGetDescriptor_v2 3020 Legacy;
    "cuArrayGetMemoryRequirements": cuArrayGetMemoryRequirements 11060 Legacy;
    "cuArrayGetPlane": cuArrayGetPlane 11020 Legacy;
    "cuArrayGetSparseProperties": cuArrayGetSparseProperties 11010 Legacy;
    "cuCheckpointProcessCheckpoint": cuCheckpointProcessCheckpoint 12080 Legacy;
    "cuCheckpointProcessGetRestoreThreadId": cuCheckpointProcessGetRestoreThreadId 12080 Legacy;
    "cuCheckpointProcessGetState": cuCheckpointProcessGetState 12080 Legacy;
    "cuCheckpointProcessLock": cuCheckpointProcessLock 12080 Legacy;
    "cuCheckpointProcessRestore": cuCheckpointProcessRestore 12080 Legacy;
    "cuCheckpointProcessUnlock": cuCheckpointProcessUnlock 12080 Legacy;
    "cuCoredumpGetAttribute": cuCoredumpGetAttribute 12010 Legacy;
    "cuCoredumpGetAttributeGlobal": cuCoredumpGetAttributeGlobal 12010 Legacy;
    "cuCoredumpSetAttribute": cuCoredumpSetAttribute 12010 Legacy;
    "cuCoredumpSetAttributeGlobal": cuCoredumpSetAttributeGlobal 12010 Legacy;
    "cuCtxAttach": cuCtxAttach 2000 Legacy;
    "cuCtxDetach": cuCtxDetach 2000 Legacy;
    "cuCtxFromGreenCtx": cuCtxFromGreenCtx 12040 Legacy;
    "cuCtxGetDevResource": cuCtxGetDevResource 12040 Legacy;
    "cuCtxGetExecAffinity": cuCtxGetExecAffinity 11040 Legacy;
    "cuCtxRecordEvent": cuCtxRecordEvent 12050 Legacy;
    "cuCtxWaitEvent": cuCtxWaitEvent 12050 Legacy;
    "cuDestroyExternalMemory": cuDestroyExternalMemory 10000 Legacy;
    "cuDestroyExternalSemaphore": cuDestroyExternalSemaphore 10000 Legacy;
    "cuDeviceGetDefaultMemPool": cuDeviceGetDefaultMemPool 11020 Legacy;
    "cuDeviceGetDevResource": cuDeviceGetDevResource 12040 Legacy;
    "cuDeviceGetGraphMemAttribute": cuDeviceGetGraphMemAttribute 11040 Legacy;
    "cuDeviceGetHostAtomicCapabilities": cuDeviceGetHostAtomicCapabilities 13000 Legacy;
    "cuDeviceGetLuid": cuDeviceGetLuid 10000 Legacy;
    "cuDeviceGetMemPool": cuDeviceGetMemPool 11020 Legacy;
    "cuDeviceGetNvSciSyncAttributes": cuDeviceGetNvSciSyncAttributes 10020 Legacy;
    "cuDeviceGetP2PAtomicCapabilities": cuDeviceGetP2PAtomicCapabilities 13000 Legacy;
    "cuDeviceGraphMemTrim": cuDeviceGraphMemTrim 11040 Legacy;
    "cuDeviceRegisterAsyncNotification": cuDeviceRegisterAsyncNotification 12040 Legacy;
    "cuDeviceSetGraphMemAttribute": cuDeviceSetGraphMemAttribute 11040 Legacy;
    "cuDeviceSetMemPool": cuDeviceSetMemPool 11020 Legacy;
    "cuDeviceTotalMem": cuDeviceTotalMem 2000 Legacy;
    "cuDeviceUnregisterAsyncNotification": cuDeviceUnregisterAsyncNotification 12040 Legacy;
    "cuDevResourceGenerateDesc": cuDevResourceGenerateDesc 12040 Legacy;
    "cuDevSmResourceSplitByCount": cuDevSmResourceSplitByCount 12040 Legacy;
    "cuEGLApiInit": cuEGLApiInit 0 Legacy;
    "cuEGLStreamConsumerAcquireFrame": cuEGLStreamConsumerAcquireFrame 7000 Legacy;
    "cuEGLStreamConsumerConnect": cuEGLStreamConsumerConnect 7000 Legacy;
    "cuEGLStreamConsumerConnectWithFlags": cuEGLStreamConsumerConnectWithFlags 8000 Legacy;
    "cuEGLStreamConsumerDisconnect": cuEGLStreamConsumerDisconnect 7000 Legacy;
    "cuEGLStreamConsumerReleaseFrame": cuEGLStreamConsumerReleaseFrame 7000 Legacy;
    "cuEGLStreamProducerConnect": cuEGLStreamProducerConnect 7000 Legacy;
    "cuEGLStreamProducerDisconnect": cuEGLStreamProducerDisconnect 7000 Legacy;
    "cuEGLStreamProducerPresentFrame": cuEGLStreamProducerPresentFrame 7000 Legacy;
    "cuEGLStreamProducerReturnFrame": cuEGLStreamProducerReturnFrame 7000 Legacy;
    "cuExternalMemoryGetMappedBuffer": cuExternalMemoryGetMappedBuffer 10000 Legacy;
    "cuExternalMemoryGetMappedMipmappedArray": cuExternalMemoryGetMappedMipmappedArray 10000 Legacy;
    "cuFlushGPUDirectRDMAWrites": cuFlushGPUDirectRDMAWrites 11030 Legacy;
    "cuFuncSetBlockShape": cuFuncSetBlockShape 2000 Legacy;
    "cuFuncSetSharedSize": cuFuncSetSharedSize 2000 Legacy;
    "cuGLCtxCreate": cuGLCtxCreate 2000 Legacy, cuGLCtxCreate_v2 3020 Legacy;
    "cuGLGetDevices": cuGLGetDevices 4010 Legacy, cuGLGetDevices_v2 6050 Legacy;
    "cuGLInit": cuGLInit 2000 Legacy;
    "cuGLMapBufferObject": cuGLMapBufferObject 2000 Legacy, cuGLMapBufferObject_v2 3020 Legacy, cuGLMapBufferObject_v2_ptds 7000 PerThread;
    "cuGLMapBufferObjectAsync": cuGLMapBufferObjectAsync 2030 Legacy, cuGLMapBufferObjectAsync_v2 3020 Legacy, cuGLMapBufferObjectAsync_v2_ptsz 7000 PerThread;
    "cuGLRegisterBufferObject": cuGLRegisterBufferObject 2000 Legacy;
    "cuGLSetBufferObjectMapFlags": cuGLSetBufferObjectMapFlags 2030 Legacy;
    "cuGLUnmapBufferObject": cuGLUnmapBufferObject 2000 Legacy;
    "cuGLUnmapBufferObjectAsync": cuGLUnmapBufferObjectAsync 2030 Legacy;
    "cuGLUnregisterBufferObject": cuGLUnregisterBufferObject 2000 Legacy;
    "cuGraphAddBatchMemOpNode": cuGraphAddBatchMemOpNode 11070 Legacy;
    "cuGraphAddChildGraphNode": cuGraphAddChildGraphNode 10000 Legacy;
    "cuGraphAddDependencies": cuGraphAddDependencies 10000 Legacy, cuGraphAddDependencies_v2 12030 Legacy;
    "cuGraphAddEmptyNode": cuGraphAddEmptyNode 10000 Legacy;
    "cuGraphAddEventRecordNode": cuGraphAddEventRecordNode 11010 Legacy;
    "cuGraphAddEventWaitNode": cuGraphAddEventWaitNode 11010 Legacy;
    "cuGraphAddExternalSemaphoresSignalNode": cuGraphAddExternalSemaphoresSignalNode 11020 Legacy;
    "cuGraphAddExternalSemaphoresWaitNode": cuGraphAddExternalSemaphoresWaitNode 11020 Legacy;
    "cuGraphAddHostNode": cuGraphAddHostNode 10000 Legacy;
    "cuGraphAddKernelNode": cuGraphAddKernelNode 10000 Legacy, cuGraphAddKernelNode_v2 12000 Legacy;
    "cuGraphAddMemAllocNode": cuGraphAddMemAllocNode 11040 Legacy;
    "cuGraphAddMemcpyNode": cuGraphAddMemcpyNode 10000 Legacy;
    "cuGraphAddMemFreeNode": cuGraphAddMemFreeNode 11040 Legacy;
    "cuGraphAddMemsetNode": cuGraphAddMemsetNode 10000 Legacy;
    "cuGraphAddNode": cuGraphAddNode 12020 Legacy, cuGraphAddNode_v2 12030 Legacy;
    "cuGraphBatchMemOpNodeGetParams": cuGraphBatchMemOpNodeGetParams 11070 Legacy;
    "cuGraphBatchMemOpNodeSetParams": cuGraphBatchMemOpNodeSetParams 11070 Legacy;
    "cuGraphChildGraphNodeGetGraph": cuGraphChildGraphNodeGetGraph 10000 Legacy;
    "cuGraphClone": cuGraphClone 10000 Legacy;
    "cuGraphConditionalHandleCreate": cuGraphConditionalHandleCreate 12030 Legacy;
    "cuGraphCreate": cuGraphCreate 10000 Legacy;
    "cuGraphDebugDotPrint": cuGraphDebugDotPrint 11030 Legacy;
    "cuGraphDestroy": cuGraphDestroy 10000 Legacy;
    "cuGraphDestroyNode": cuGraphDestroyNode 10000 Legacy;
    "cuGraphEventRecordNodeGetEvent": cuGraphEventRecordNodeGetEvent 11010 Legacy;
    "cuGraphEventRecordNodeSetEvent": cuGraphEventRecordNodeSetEvent 11010 Legacy;
    "cuGraphEventWaitNodeGetEvent": cuGraphEventWaitNodeGetEvent 11010 Legacy;
    "cuGraphEventWaitNodeSetEvent": cuGraphEventWaitNodeSetEvent 11010 Legacy;
    "cuGraphExecBatchMemOpNodeSetParams": cuGraphExecBatchMemOpNodeSetParams 11070 Legacy;
    "cuGraphExecChildGraphNodeSetParams": cuGraphExecChildGraphNodeSetParams 11010 Legacy;
    "cuGraphExecDestroy": cuGraphExecDestroy 10000 Legacy;
    "cuGraphExecEventRecordNodeSetEvent": cuGraphExecEventRecordNodeSetEvent 11010 Legacy;
    "cuGraphExecEventWaitNodeSetEvent": cuGraphExecEventWaitNodeSetEvent 11010 Legacy;
    "cuGraphExecExternalSemaphoresSignalNodeSetParams": cuGraphExecExternalSemaphoresSignalNodeSetParams 11020 Legacy;
    "cuGraphExecExternalSemaphoresWaitNodeSetParams": cuGraphExecExternalSemaphoresWaitNodeSetParams 11020 Legacy;
    "cuGraphExecGetFlags": cuGraphExecGetFlags 12000 Legacy;
    "cuGraphExecHostNodeSetParams": cuGraphExecHostNodeSetParams 10020 Legacy;
    "cuGraphExecKernelNodeSetParams": cuGraphExecKernelNodeSetParams 10010 Legacy, cuGraphExecKernelNodeSetParams_v2 12000 Legacy;
    "cuGraphExecMemcpyNodeSetParams": cuGraphExecMemcpyNodeSetParams 10020 Legacy;
    "cuGraphExecMemsetNodeSetParams": cuGraphExecMemsetNodeSetParams 10020 Legacy;
    "cuGraphExecNodeSetParams": cuGraphExecNodeSetParams 12020 Legacy;
    "cuGraphExecUpdate": cuGraphExecUpdate 10020 Legacy, cuGraphExecUpdate_v2 12000 Legacy;
    "cuGraphExternalSemaphoresSignalNodeGetParams": cuGraphExternalSemaphoresSignalNodeGetParams 11020 Legacy;
    "cuGraphExternalSemaphoresSignalNodeSetParams": cuGraphExternalSemaphoresSignalNodeSetParams 11020 Legacy;
    "cuGraphExternalSemaphoresWaitNodeGetParams": cuGraphExternalSemaphoresWaitNodeGetParams 11020 Legacy;
    "cuGraphExternalSemaphoresWaitNodeSetParams": cuGraphExternalSemaphoresWaitNodeSetParams 11020 Legacy;
    "cuGraphGetEdges": cuGraphGetEdges 10000 Legacy, cuGraphGetEdges_v2 12030 Legacy;
    "cuGraphGetNodes": cuGraphGetNodes 10000 Legacy;
    "cuGraphGetRootNodes": cuGraphGetRootNodes 10000 Legacy;
    "cuGraphHostNodeGetParams": cuGraphHostNodeGetParams 10000 Legacy;
    "cuGraphHostNodeSetParams": cuGraphHostNodeSetParams 10000 Legacy;
    "cuGraphicsEGLRegisterImage": cuGraphicsEGLRegisterImage 7000 Legacy;
    "cuGraphicsGLRegisterBuffer": cuGraphicsGLRegisterBuffer 3000 Legacy;
    "cuGraphicsGLRegisterImage": cuGraphicsGLRegisterImage 3000 Legacy;
    "cuGraphicsMapResources": cuGraphicsMapResources 3000 Legacy, cuGraphicsMapResources_ptsz 7000 PerThread;
    "cuGraphicsResourceGetMappedEglFrame": cuGraphicsResourceGetMappedEglFrame 7000 Legacy;
    "cuGraphicsResourceGetMappedMipmappedArray": cuGraphicsResourceGetMappedMipmappedArray 5000 Legacy;
    "cuGraphicsResourceGetMappedPointer": cuGraphicsResourceGetMappedPointer 3000 Legacy, cuGraphicsResourceGetMappedPointer_v2 3020 Legacy;
    "cuGraphicsResourceSetMapFlags": cuGraphicsResourceSetMapFlags 3000 Legacy, cuGraphicsResourceSetMapFlags_v2 6050 Legacy;
    "cuGraphicsSubResourceGetMappedArray": cuGraphicsSubResourceGetMappedArray 3000 Legacy;
    "cuGraphicsUnmapResources": cuGraphicsUnmapResources 3000 Legacy, cuGraphicsUnmapResources_ptsz 7000 PerThread;
    "cuGraphicsUnregisterResource": cuGraphicsUnregisterResource 3000 Legacy;
    "cuGraphicsVDPAURegisterOutputSurface": cuGraphicsVDPAURegisterOutputSurface 3010 Legacy;
    "cuGraphicsVDPAURegisterVideoSurface": cuGraphicsVDPAURegisterVideoSurface 3010 Legacy;
    "cuGraphInstantiate": cuGraphInstantiate 10000 Legacy, cuGraphInstantiate_v2 11000 Legacy;
    "cuGraphInstantiateWithFlags": cuGraphInstantiateWithFlags 11040 Legacy;
    "cuGraphInstantiateWithParams": cuGraphInstantiateWithParams 12000 Legacy, cuGraphInstantiateWithParams_ptsz 12000 PerThread;
    "cuGraphKernelNodeCopyAttributes": cuGraphKernelNodeCopyAttributes 11000 Legacy;
    "cuGraphKernelNodeGetAttribute": cuGraphKernelNodeGetAttribute 11000 Legacy;
    "cuGraphKernelNodeGetParams": cuGraphKernelNodeGetParams 10000 Legacy, cuGraphKernelNodeGetParams_v2 12000 Legacy;
    "cuGraphKernelNodeSetAttribute": cuGraphKernelNodeSetAttribute 11000 Legacy;
    "cuGraphKernelNodeSetParams": cuGraphKernelNodeSetParams 10000 Legacy, cuGraphKernelNodeSetParams_v2 12000 Legacy;
    "cuGraphLaunch": cuGraphLaunch 10000 Legacy, cuGraphLaunch_ptsz 10000 PerThread;
    "cuGraphMemAllocNodeGetParams": cuGraphMemAllocNodeGetParams 11040 Legacy;
    "cuGraphMemcpyNodeGetParams": cuGraphMemcpyNodeGetParams 10000 Legacy;
    "cuGraphMemcpyNodeSetParams": cuGraphMemcpyNodeSetParams 10000 Legacy;
    "cuGraphMemFreeNodeGetParams": cuGraphMemFreeNodeGetParams 11040 Legacy;
    "cuGraphMemsetNodeGetParams": cuGraphMemsetNodeGetParams 10000 Legacy;
    "cuGraphMemsetNodeSetParams": cuGraphMemsetNodeSetParams 10000 Legacy;
    "cuGraphNodeFindInClone": cuGraphNodeFindInClone 10000 Legacy;
    "cuGraphNodeGetDependencies": cuGraphNodeGetDependencies 10000 Legacy, cuGraphNodeGetDependencies_v2 12030 Legacy;
    "cuGraphNodeGetDependentNodes": cuGraphNodeGetDependentNodes 10000 Legacy, cuGraphNodeGetDependentNodes_v2 12030 Legacy;
    "cuGraphNodeGetEnabled": cuGraphNodeGetEnabled 11060 Legacy;
    "cuGraphNodeGetType": cuGraphNodeGetType 10000 Legacy;
    "cuGraphNodeSetEnabled": cuGraphNodeSetEnabled 11060 Legacy;
    "cuGraphNodeSetParams": cuGraphNodeSetParams 12020 Legacy;
    "cuGraphReleaseUserObject": cuGraphReleaseUserObject 11030 Legacy;
    "cuGraphRemoveDependencies": cuGraphRemoveDependencies 10000 Legacy, cuGraphRemoveDependencies_v2 12030 Legacy;
    "cuGraphRetainUserObject": cuGraphRetainUserObject 11030 Legacy;
    "cuGraphUpload": cuGraphUpload 11010 Legacy, cuGraphUpload_ptsz 11010 PerThread;
    "cuGreenCtxCreate": cuGreenCtxCreate 12040 Legacy;
    "cuGreenCtxDestroy": cuGreenCtxDestroy 12040 Legacy;
    "cuGreenCtxGetDevResource": cuGreenCtxGetDevResource 12040 Legacy;
    "cuGreenCtxGetId": cuGreenCtxGetId 12090 Legacy;
    "cuGreenCtxRecordEvent": cuGreenCtxRecordEvent 12040 Legacy;
    "cuGreenCtxStreamCreate": cuGreenCtxStreamCreate 12050 Legacy;
    "cuGreenCtxWaitEvent": cuGreenCtxWaitEvent 12040 Legacy;
    "cuImportExternalMemory": cuImportExternalMemory 10000 Legacy;
    "cuImportExternalSemaphore": cuImportExternalSemaphore 10000 Legacy;
    "cuIpcCloseMemHandle": cuIpcCloseMemHandle 4010 Legacy;
    "cuIpcGetEventHandle": cuIpcGetEventHandle 4010 Legacy;
    "cuIpcGetMemHandle": cuIpcGetMemHandle 4010 Legacy;
    "cuIpcOpenEventHandle": cuIpcOpenEventHandle 4010 Legacy;
    "cuIpcOpenMemHandle": cuIpcOpenMemHandle 4010 Legacy, cuIpcOpenMemHandle_v2 11000 Legacy;
    "cuLaunch": cuLaunch 2000 Legacy;
    "cuLaunchCooperativeKernelMultiDevice": cuLaunchCooperativeKernelMultiDevice 9000 Legacy;
    "cuLaunchGrid": cuLaunchGrid 2000 Legacy;
    "cuLaunchGridAsync": cuLaunchGridAsync 2000 Legacy;
    "cuLibraryGetUnifiedFunction": cuLibraryGetUnifiedFunction 12000 Legacy;
    "cuLinkAddData": cuLinkAddData 5050 Legacy, cuLinkAddData_v2 6050 Legacy;
    "cuLinkAddFile": cuLinkAddFile 5050 Legacy, cuLinkAddFile_v2 6050 Legacy;
    "cuLinkComplete": cuLinkComplete 5050 Legacy;
    "cuLinkCreate": cuLinkCreate 5050 Legacy, cuLinkCreate_v2 6050 Legacy;
    "cuLinkDestroy": cuLinkDestroy 5050 Legacy;
    "cuLogsCurrent": cuLogsCurrent 12090 Legacy;
    "cuLogsDumpToFile": cuLogsDumpToFile 12090 Legacy;
    "cuLogsDumpToMemory": cuLogsDumpToMemory 12090 Legacy;
    "cuLogsRegisterCallback": cuLogsRegisterCallback 12090 Legacy;
    "cuLogsUnregisterCallback": cuLogsUnregisterCallback 12090 Legacy;
    "cuMemAddressFree": cuMemAddressFree 10020 Legacy;
    "cuMemAddressReserve": cuMemAddressReserve 10020 Legacy;
    "cuMemAdvise": cuMemAdvise 8000 Legacy, cuMemAdvise_v2 12020 Legacy;
    "cuMemAlloc": cuMemAlloc 2000 Legacy;
    "cuMemAllocFromPoolAsync": cuMemAllocFromPoolAsync 11020 Legacy, cuMemAllocFromPoolAsync_ptsz 11020 PerThread;
    "cuMemAllocHost": cuMemAllocHost 2000 Legacy;
    "cuMemAllocPitch": cuMemAllocPitch 2000 Legacy;
    "cuMemBatchDecompressAsync": cuMemBatchDecompressAsync 12060 Legacy, cuMemBatchDecompressAsync_ptsz 12060 PerThread;
    "cuMemcpy2D": cuMemcpy2D 2000 Legacy;
    "cuMemcpy2DAsync": cuMemcpy2DAsync 2000 Legacy;
    "cuMemcpy2DUnaligned": cuMemcpy2DUnaligned 2000 Legacy;
    "cuMemcpy3D": cuMemcpy3D 2000 Legacy;
    "cuMemcpy3DAsync": cuMemcpy3DAsync 2000 Legacy;
    "cuMemcpy3DBatchAsync": cuMemcpy3DBatchAsync 12080 Legacy, cuMemcpy3DBatchAsync_v2 13000 Legacy, cuMemcpy3DBatchAsync_ptsz 12080 PerThread, cuMemcpy3DBatchAsync_v2_ptsz 13000 PerThread;
    "cuMemcpyAtoA": cuMemcpyAtoA 2000 Legacy, cuMemcpyAtoA_v2 3020 Legacy, cuMemcpyAtoA_v2_ptds 7000 PerThread;
    "cuMemcpyAtoD": cuMemcpyAtoD 2000 Legacy, cuMemcpyAtoD_v2 3020 Legacy, cuMemcpyAtoD_v2_ptds 7000 PerThread;
    "cuMemcpyAtoH": cuMemcpyAtoH 2000 Legacy, cuMemcpyAtoH_v2 3020 Legacy, cuMemcpyAtoH_v2_ptds 7000 PerThread;
    "cuMemcpyAtoHAsync": cuMemcpyAtoHAsync 2000 Legacy, cuMemcpyAtoHAsync_v2 3020 Legacy, cuMemcpyAtoHAsync_v2_ptsz 7000 PerThread;
    "cuMemcpyBatchAsync": cuMemcpyBatchAsync 12080 Legacy, cuMemcpyBatchAsync_v2 13000 Legacy, cuMemcpyBatchAsync_ptsz 12080 PerThread, cuMemcpyBatchAsync_v2_ptsz 13000 PerThread;
    "cuMemcpyDtoA": cuMemcpyDtoA 2000 Legacy, cuMemcpyDtoA_v2 3020 Legacy, cuMemcpyDtoA_v2_ptds 7000 PerThread;
    "cuMemcpyDtoD": cuMemcpyDtoD 2000 Legacy;
    "cuMemcpyDtoDAsync": cuMemcpyDtoDAsync 3000 Legacy;
    "cuMemcpyDtoH": cuMemcpyDtoH 2000 Legacy;
    "cuMemcpyDtoHAsync": cuMemcpyDtoHAsync 2000 Legacy;
    "cuMemcpyHtoA": cuMemcpyHtoA 2000 Legacy, cuMemcpyHtoA_v2 3020 Legacy, cuMemcpyHtoA_v2_ptds 7000 PerThread;
    "cuMemcpyHtoAAsync": cuMemcpyHtoAAsync 2000 Legacy, cuMemcpyHtoAAsync_v2 3020 Legacy, cuMemcpyHtoAAsync_v2_ptsz 7000 PerThread;
    "cuMemcpyHtoD": cuMemcpyHtoD 2000 Legacy;
    "cuMemcpyHtoDAsync": cuMemcpyHtoDAsync 2000 Legacy;
    "cuMemCreate": cuMemCreate 10020 Legacy;
    "cuMemDiscardAndPrefetchBatchAsync": cuMemDiscardAndPrefetchBatchAsync 13000 Legacy, cuMemDiscardAndPrefetchBatchAsync_ptsz 13000 PerThread;
    "cuMemDiscardBatchAsync": cuMemDiscardBatchAsync 13000 Legacy, cuMemDiscardBatchAsync_ptsz 13000 PerThread;
    "cuMemExportToShareableHandle": cuMemExportToShareableHandle 10020 Legacy;
    "cuMemFree": cuMemFree 2000 Legacy;
    "cuMemGetAccess": cuMemGetAccess 10020 Legacy;
    "cuMemGetAddressRange": cuMemGetAddressRange 2000 Legacy;
    "cuMemGetAllocationGranularity": cuMemGetAllocationGranularity 10020 Legacy;
    "cuMemGetAllocationPropertiesFromHandle": cuMemGetAllocationPropertiesFromHandle 10020 Legacy;
    "cuMemGetAttribute": cuMemGetAttribute 0 Legacy;
    "cuMemGetAttribute_v2": cuMemGetAttribute_v2 0 Legacy;
    "cuMemGetDefaultMemPool": cuMemGetDefaultMemPool 13000 Legacy;
    "cuMemGetHandleForAddressRange": cuMemGetHandleForAddressRange 11070 Legacy;
    "cuMemGetInfo": cuMemGetInfo 2000 Legacy;
    "cuMemGetMemPool": cuMemGetMemPool 13000 Legacy;
    "cuMemHostGetDevicePointer": cuMemHostGetDevicePointer 2020 Legacy;
    "cuMemImportFromShareableHandle": cuMemImportFromShareableHandle 10020 Legacy;
    "cuMemMap": cuMemMap 10020 Legacy;
    "cuMemMapArrayAsync": cuMemMapArrayAsync 11010 Legacy, cuMemMapArrayAsync_ptsz 11010 PerThread;
    "cuMemPoolCreate": cuMemPoolCreate 11020 Legacy;
    "cuMemPoolDestroy": cuMemPoolDestroy 11020 Legacy;
    "cuMemPoolExportPointer": cuMemPoolExportPointer 11020 Legacy;
    "cuMemPoolExportToShareableHandle": cuMemPoolExportToShareableHandle 11020 Legacy;
    "cuMemPoolGetAccess": cuMemPoolGetAccess 11020 Legacy;
    "cuMemPoolGetAttribute": cuMemPoolGetAttribute 11020 Legacy;
    "cuMemPoolImportFromShareableHandle": cuMemPoolImportFromShareableHandle 11020 Legacy;
    "cuMemPoolImportPointer": cuMemPoolImportPointer 11020 Legacy;
    "cuMemPoolSetAccess": cuMemPoolSetAccess 11020 Legacy;
    "cuMemPoolSetAttribute": cuMemPoolSetAttribute 11020 Legacy;
    "cuMemPoolTrimTo": cuMemPoolTrimTo 11020 Legacy;
    "cuMemPrefetchAsync": cuMemPrefetchAsync 8000 Legacy, cuMemPrefetchAsync_v2 12020 Legacy, cuMemPrefetchAsync_ptsz 8000 PerThread, cuMemPrefetchAsync_v2_ptsz 12020 PerThread;
    "cuMemPrefetchBatchAsync": cuMemPrefetchBatchAsync 13000 Legacy, cuMemPrefetchBatchAsync_ptsz 13000 PerThread;
    "cuMemRangeGetAttribute": cuMemRangeGetAttribute 8000 Legacy;
    "cuMemRangeGetAttributes": cuMemRangeGetAttributes 8000 Legacy;
    "cuMemRelease": cuMemRelease 10020 Legacy;
    "cuMemRetainAllocationHandle": cuMemRetainAllocationHandle 11000 Legacy;
    "cuMemSetAccess": cuMemSetAccess 10020 Legacy;
    "cuMemsetD16": cuMemsetD16 2000 Legacy;
    "cuMemsetD2D16": cuMemsetD2D16 2000 Legacy;
    "cuMemsetD2D32": cuMemsetD2D32 2000 Legacy;
    "cuMemsetD2D8": cuMemsetD2D8 2000 Legacy;
    "cuMemsetD32": cuMemsetD32 2000 Legacy;
    "cuMemsetD8": cuMemsetD8 2000 Legacy;
    "cuMemSetMemPool": cuMemSetMemPool 13000 Legacy;
    "cuMemUnmap": cuMemUnmap 10020 Legacy;
    "cuMipmappedArrayCreate": cuMipmappedArrayCreate 5000 Legacy;
    "cuMipmappedArrayDestroy": cuMipmappedArrayDestroy 5000 Legacy;
    "cuMipmappedArrayGetLevel": cuMipmappedArrayGetLevel 5000 Legacy;
    "cuMipmappedArrayGetMemoryRequirements": cuMipmappedArrayGetMemoryRequirements 11060 Legacy;
    "cuMipmappedArrayGetSparseProperties": cuMipmappedArrayGetSparseProperties 11010 Legacy;
    "cuModuleGetGlobal": cuModuleGetGlobal 2000 Legacy;
    "cuModuleGetSurfRef": cuModuleGetSurfRef 3000 Legacy;
    "cuModuleGetTexRef": cuModuleGetTexRef 2000 Legacy;
    "cuMulticastAddDevice": cuMulticastAddDevice 12010 Legacy;
    "cuMulticastBindAddr": cuMulticastBindAddr 12010 Legacy;
    "cuMulticastBindMem": cuMulticastBindMem 12010 Legacy;
    "cuMulticastCreate": cuMulticastCreate 12010 Legacy;
    "cuMulticastGetGranularity": cuMulticastGetGranularity 12010 Legacy;
    "cuMulticastUnbind": cuMulticastUnbind 12010 Legacy;
    "cuParamSetf": cuParamSetf 2000 Legacy;
    "cuParamSeti": cuParamSeti 2000 Legacy;
    "cuParamSetSize": cuParamSetSize 2000 Legacy;
    "cuParamSetTexRef": cuParamSetTexRef 2000 Legacy;
    "cuParamSetv": cuParamSetv 2000 Legacy;
    "cuSignalExternalSemaphoresAsync": cuSignalExternalSemaphoresAsync 10000 Legacy, cuSignalExternalSemaphoresAsync_ptsz 10000 PerThread;
    "cuStreamAttachMemAsync": cuStreamAttachMemAsync 6000 Legacy, cuStreamAttachMemAsync_ptsz 7000 PerThread;
    "cuStreamBatchMemOp": cuStreamBatchMemOp 8000 Legacy, cuStreamBatchMemOp_v2 11070 Legacy, cuStreamBatchMemOp_ptsz 8000 PerThread, cuStreamBatchMemOp_v2_ptsz 11070 PerThread;
    "cuStreamBeginCapture": cuStreamBeginCapture 10000 Legacy, cuStreamBeginCapture_v2 10010 Legacy, cuStreamBeginCapture_ptsz 10000 PerThread, cuStreamBeginCapture_v2_ptsz 10010 PerThread;
    "cuStreamBeginCaptureToGraph": cuStreamBeginCaptureToGraph 12030 Legacy, cuStreamBeginCaptureToGraph_ptsz 12030 PerThread;
    "cuStreamCopyAttributes": cuStreamCopyAttributes 11000 Legacy, cuStreamCopyAttributes_ptsz 11000 PerThread;
    "cuStreamEndCapture": cuStreamEndCapture 10000 Legacy, cuStreamEndCapture_ptsz 10000 PerThread;
    "cuStreamGetAttribute": cuStreamGetAttribute 11000 Legacy, cuStreamGetAttribute_ptsz 11000 PerThread;
    "cuStreamGetCtx": cuStreamGetCtx_v2 12050 Legacy, cuStreamGetCtx_v2_ptsz 12050 PerThread;
    "cuStreamGetGreenCtx": cuStreamGetGreenCtx 12040 Legacy;
    "cuStreamSetAttribute": cuStreamSetAttribute 11000 Legacy, cuStreamSetAttribute_ptsz 11000 PerThread;
    "cuStreamUpdateCaptureDependencies": cuStreamUpdateCaptureDependencies 11030 Legacy, cuStreamUpdateCaptureDependencies_v2 12030 Legacy, cuStreamUpdateCaptureDependencies_ptsz 11030 PerThread, cuStreamUpdateCaptureDependencies_v2_ptsz 12030 PerThread;
    "cuStreamWaitValue32": cuStreamWaitValue32 8000 Legacy, cuStreamWaitValue32_v2 11070 Legacy, cuStreamWaitValue32_ptsz 8000 PerThread, cuStreamWaitValue32_v2_ptsz 11070 PerThread;
    "cuStreamWaitValue64": cuStreamWaitValue64 9000 Legacy, cuStreamWaitValue64_v2 11070 Legacy, cuStreamWaitValue64_ptsz 9000 PerThread, cuStreamWaitValue64_v2_ptsz 11070 PerThread;
    "cuStreamWriteValue32": cuStreamWriteValue32 8000 Legacy, cuStreamWriteValue32_v2 11070 Legacy, cuStreamWriteValue32_ptsz 8000 PerThread, cuStreamWriteValue32_v2_ptsz 11070 PerThread;
    "cuStreamWriteValue64": cuStreamWriteValue64 9000 Legacy, cuStreamWriteValue64_v2 11070 Legacy, cuStreamWriteValue64_ptsz 9000 PerThread, cuStreamWriteValue64_v2_ptsz 11070 PerThread;
    "cuSurfObjectCreate": cuSurfObjectCreate 5000 Legacy;
    "cuSurfObjectDestroy": cuSurfObjectDestroy 5000 Legacy;
    "cuSurfObjectGetResourceDesc": cuSurfObjectGetResourceDesc 5000 Legacy;
    "cuSurfRefGetArray": cuSurfRefGetArray 3000 Legacy;
    "cuSurfRefSetArray": cuSurfRefSetArray 3000 Legacy;
    "cuTensorMapEncodeIm2col": cuTensorMapEncodeIm2col 12000 Legacy;
    "cuTensorMapEncodeIm2colWide": cuTensorMapEncodeIm2colWide 12080 Legacy;
    "cuTensorMapEncodeTiled": cuTensorMapEncodeTiled 12000 Legacy;
    "cuTensorMapReplaceAddress": cuTensorMapReplaceAddress 12000 Legacy;
    "cuTexObjectCreate": cuTexObjectCreate 5000 Legacy;
    "cuTexObjectDestroy": cuTexObjectDestroy 5000 Legacy;
    "cuTexObjectGetResourceDesc": cuTexObjectGetResourceDesc 5000 Legacy;
    "cuTexObjectGetResourceViewDesc": cuTexObjectGetResourceViewDesc 5000 Legacy;
    "cuTexObjectGetTextureDesc": cuTexObjectGetTextureDesc 5000 Legacy;
    "cuTexRefCreate": cuTexRefCreate 2000 Legacy;
    "cuTexRefDestroy": cuTexRefDestroy 2000 Legacy;
    "cuTexRefGetAddress": cuTexRefGetAddress 2000 Legacy, cuTexRefGetAddress_v2 3020 Legacy;
    "cuTexRefGetAddressMode": cuTexRefGetAddressMode 2000 Legacy;
    "cuTexRefGetArray": cuTexRefGetArray 2000 Legacy;
    "cuTexRefGetBorderColor": cuTexRefGetBorderColor 8000 Legacy;
    "cuTexRefGetFilterMode": cuTexRefGetFilterMode 2000 Legacy;
    "cuTexRefGetFlags": cuTexRefGetFlags 2000 Legacy;
    "cuTexRefGetFormat": cuTexRefGetFormat 2000 Legacy;
    "cuTexRefGetMaxAnisotropy": cuTexRefGetMaxAnisotropy 5000 Legacy;
    "cuTexRefGetMipmapFilterMode": cuTexRefGetMipmapFilterMode 5000 Legacy;
    "cuTexRefGetMipmapLevelBias": cuTexRefGetMipmapLevelBias 5000 Legacy;
    "cuTexRefGetMipmapLevelClamp": cuTexRefGetMipmapLevelClamp 5000 Legacy;
    "cuTexRefGetMipmappedArray": cuTexRefGetMipmappedArray 5000 Legacy;
    "cuTexRefSetAddress": cuTexRefSetAddress 2000 Legacy, cuTexRefSetAddress_v2 3020 Legacy;
    "cuTexRefSetAddress2D": cuTexRefSetAddress2D 2020 Legacy, cuTexRefSetAddress2D_v2 3020 Legacy, cuTexRefSetAddress2D_v3 4010 Legacy;
    "cuTexRefSetAddressMode": cuTexRefSetAddressMode 2000 Legacy;
    "cuTexRefSetArray": cuTexRefSetArray 2000 Legacy;
    "cuTexRefSetBorderColor": cuTexRefSetBorderColor 8000 Legacy;
    "cuTexRefSetFilterMode": cuTexRefSetFilterMode 2000 Legacy;
    "cuTexRefSetFlags": cuTexRefSetFlags 2000 Legacy;
    "cuTexRefSetFormat": cuTexRefSetFormat 2000 Legacy;
    "cuTexRefSetMaxAnisotropy": cuTexRefSetMaxAnisotropy 5000 Legacy;
    "cuTexRefSetMipmapFilterMode": cuTexRefSetMipmapFilterMode 5000 Legacy;
    "cuTexRefSetMipmapLevelBias": cuTexRefSetMipmapLevelBias 5000 Legacy;
    "cuTexRefSetMipmapLevelClamp": cuTexRefSetMipmapLevelClamp 5000 Legacy;
    "cuTexRefSetMipmappedArray": cuTexRefSetMipmappedArray 5000 Legacy;
    "cuThreadExchangeStreamCaptureMode": cuThreadExchangeStreamCaptureMode 10010 Legacy;
    "cuUserObjectCreate": cuUserObjectCreate 11030 Legacy;
    "cuUserObjectRelease": cuUserObjectRelease 11030 Legacy;
    "cuUserObjectRetain": cuUserObjectRetain 11030 Legacy;
    "cuVDPAUCtxCreate": cuVDPAUCtxCreate 3010 Legacy, cuVDPAUCtxCreate_v2 3020 Legacy;
    "cuVDPAUGetDevice": cuVDPAUGetDevice 3010 Legacy;
    "cuWaitExternalSemaphoresAsync": cuWaitExternalSemaphoresAsync 10000 Legacy, cuWaitExternalSemaphoresAsync_ptsz 10000 PerThread;
}
