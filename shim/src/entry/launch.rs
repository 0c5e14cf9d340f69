//! Kernels, their attributes, launches and occupancy.

use crate::abi::{CuFunction, CuKernel, CuLibrary, CuModule, CuStream, In, Out, Pointer, TextOut};
use crate::calls::function::{self, SharedForThreads};
use crate::calls::launch::{self, LaunchConfig};

#[rustfmt::skip]
super::entries! {
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
    "cuFuncSetSharedMemConfig": cuFuncSetSharedMemConfig 4020 Legacy => function::bank_preference(function: CuFunction, config: u32);
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
    "cuFuncSetBlockShape": cuFuncSetBlockShape 2000 Legacy => launch::set_block(function: CuFunction, x: i32, y: i32, z: i32);
    "cuFuncSetSharedSize": cuFuncSetSharedSize 2000 Legacy => launch::set_dynamic_shared(function: CuFunction, bytes: u32);
    "cuLaunch": cuLaunch 2000 Legacy => launch::draft(function: CuFunction);
    "cuLaunchCooperativeKernelMultiDevice": cuLaunchCooperativeKernelMultiDevice 9000 Legacy;
    "cuLaunchGrid": cuLaunchGrid 2000 Legacy => launch::draft_grid(function: CuFunction, width: i32, height: i32);
    "cuLaunchGridAsync": cuLaunchGridAsync 2000 Legacy => launch::draft_grid_async(function: CuFunction, width: i32, height: i32, stream: CuStream);
    "cuParamSetf": cuParamSetf 2000 Legacy => launch::set_parameter_float(function: CuFunction, offset: i32, value: f32);
    "cuParamSeti": cuParamSeti 2000 Legacy => launch::set_parameter_word(function: CuFunction, offset: i32, value: u32);
    "cuParamSetSize": cuParamSetSize 2000 Legacy => launch::set_parameter_bytes(function: CuFunction, bytes: u32);
    "cuParamSetv": cuParamSetv 2000 Legacy => launch::set_parameter(function: CuFunction, offset: i32, value: In<u8>, bytes: u32);
}
