//! Functions and kernels: what they are like, and how many of their blocks fit.

use super::device::index;
use crate::abi::{Call, Cu, CuFunction, CuKernel, CuLibrary, CuModule, In, Out, TextOut};
use crate::calls::launch::LaunchConfig;
use crate::result::{Code, Failure, Outcome};
use hetgpu_device::Caps;
use hetgpu_runtime::{
    Code as DeviceCode, Function, FunctionSettings, Handle, Kernel, KernelInfo, Runtime, check_cluster, cluster_limit,
    cluster_of, dynamic_shared_limit, resident_blocks, threads_limit,
};
use std::sync::Arc;

const MAX_THREADS: u32 = 0;
const STATIC_SHARED: u32 = 1;
const CONSTANT: u32 = 2;
const LOCAL: u32 = 3;
const REGISTERS: u32 = 4;
const PTX_VERSION: u32 = 5;
const BINARY_VERSION: u32 = 6;
const CACHE_MODE: u32 = 7;
const MAX_DYNAMIC_SHARED: u32 = 8;
const CARVEOUT: u32 = 9;
/// Whether launches must be in clusters; read only.
const CLUSTER_MUST_BE_SET: u32 = 10;
const CLUSTER_WIDTH: u32 = 11;
const CLUSTER_DEPTH: u32 = 13;
const CLUSTER_NON_PORTABLE: u32 = 14;
/// A hint.
const CLUSTER_SCHEDULING: u32 = 15;

fn unknown(attribute: u32) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, format!("function attribute {attribute}"))
}

fn attribute_of(
    caps: &Caps,
    code: &DeviceCode,
    info: &KernelInfo,
    settings: FunctionSettings,
    attribute: u32,
) -> Outcome<i32> {
    let value = match attribute {
        MAX_THREADS => threads_limit(caps, info),
        STATIC_SHARED => info.static_shared,
        CONSTANT => code.constant,
        LOCAL => info.local,
        // Registers of hetIR have no number; this one lets occupancy be bound by threads alone.
        REGISTERS => caps.registers / caps.threads_per_multiprocessor,
        MAX_DYNAMIC_SHARED => dynamic_shared_limit(caps, info, settings),
        PTX_VERSION => code.target,
        BINARY_VERSION => caps.compute.0 * 10 + caps.compute.1,
        CACHE_MODE => 0,
        CARVEOUT => return Ok(settings.carveout.unwrap_or(-1)),
        CLUSTER_MUST_BE_SET => u32::from(info.explicit_cluster),
        CLUSTER_WIDTH..=CLUSTER_DEPTH => cluster_of(info, settings, [0; 3])[(attribute - CLUSTER_WIDTH) as usize],
        CLUSTER_NON_PORTABLE => u32::from(settings.large_clusters),
        CLUSTER_SCHEDULING => settings.cluster_scheduling,
        _ => return Err(unknown(attribute)),
    };
    Ok(i32::try_from(value).unwrap_or(i32::MAX))
}

fn change(caps: &Caps, info: &KernelInfo, settings: &mut FunctionSettings, attribute: u32, value: i32) -> Outcome {
    match attribute {
        MAX_DYNAMIC_SHARED => {
            let most = caps.shared_per_block_max.saturating_sub(info.static_shared);
            let value = u32::try_from(value).ok().filter(|&value| value <= most);
            settings.max_dynamic_shared =
                Some(value.ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, format!("at most {most} bytes")))?);
        }
        CARVEOUT => {
            if !(-1..=100).contains(&value) {
                return Err(Failure::new(Code::ERROR_INVALID_VALUE, "a share is -1 or 0 to 100"));
            }
            settings.carveout = Some(value);
        }
        CLUSTER_WIDTH..=CLUSTER_DEPTH if info.required_cluster != [0; 3] => {
            return Err(Failure::new(Code::ERROR_NOT_PERMITTED, "the kernel was compiled for other clusters"));
        }
        CLUSTER_WIDTH..=CLUSTER_DEPTH => {
            let blocks = u32::try_from(value);
            let blocks = blocks.map_err(|_| Failure::new(Code::ERROR_INVALID_VALUE, format!("clusters of {value}")))?;
            settings.cluster[(attribute - CLUSTER_WIDTH) as usize] = blocks;
        }
        CLUSTER_SCHEDULING => {
            // The driver's choice, spread, balanced.
            const MOST: u32 = 2;
            let policy = u32::try_from(value).ok().filter(|&policy| policy <= MOST);
            settings.cluster_scheduling = policy.ok_or_else(|| unknown(attribute))?;
        }
        CLUSTER_NON_PORTABLE => settings.large_clusters = value != 0,
        _ => return Err(unknown(attribute)),
    }
    Ok(())
}

/// A function, also where a kernel's handle was passed, as the API allows.
pub(crate) fn function(runtime: &Runtime, handle: CuFunction) -> Outcome<Arc<Function>> {
    match Handle::<Kernel>::from_bits(handle.0) {
        Some(kernel) => Ok(runtime.functions.get(runtime.kernel_function(kernel)?)?),
        None => Ok(runtime.functions.get(handle.get()?)?),
    }
}

fn caps_of<'r>(runtime: &'r Runtime, function: &Function) -> Outcome<&'r Caps> {
    let device = runtime.modules.get(function.module)?.session.device.index;
    Ok(runtime.device(device)?.device.caps())
}

/// How many multiprocessors launches of a function by the calling thread have.
fn multiprocessors(runtime: &Runtime, function: &Function) -> Outcome<u32> {
    Ok(runtime.multiprocessors_of(&runtime.modules.get(function.module)?.session))
}

pub(crate) fn attribute(call: &Call, value: Out<i32>, attribute: u32, handle: CuFunction) -> Outcome {
    let runtime = call.runtime()?;
    // An H200's driver launches a kernel by its own handle, and tells its attributes by that of its function alone.
    if Handle::<Kernel>::from_bits(handle.0).is_some() {
        return Err(Failure::new(Code::ERROR_INVALID_HANDLE, "a kernel, whose function `cuKernelGetFunction` gives"));
    }
    let function = function(runtime, handle)?;
    let caps = caps_of(runtime, &function)?;
    value.set(attribute_of(caps, &function.code, function.info(), function.settings(), attribute)?)
}

pub(crate) fn set_attribute(call: &Call, handle: CuFunction, attribute: u32, value: i32) -> Outcome {
    let runtime = call.runtime()?;
    if let Some(kernel) = Handle::<Kernel>::from_bits(handle.0) {
        return change_kernel(runtime, kernel, attribute, value, runtime.session()?.device.index);
    }
    let function = function(runtime, handle)?;
    let caps = caps_of(runtime, &function)?;
    let mut outcome = Ok(());
    function.change_settings(|settings| outcome = change(caps, function.info(), settings, attribute, value));
    outcome
}

fn change_kernel(runtime: &Runtime, kernel: Handle<Kernel>, attribute: u32, value: i32, device: usize) -> Outcome {
    let kernel = runtime.kernels.get(kernel)?;
    let caps = runtime.device(device)?.device.caps();
    let mut outcome = Ok(());
    kernel.change_settings(|settings| outcome = change(caps, kernel.info(), settings, attribute, value));
    outcome
}

/// Caches cannot be configured; a preference is only a hint.
pub(crate) fn preference(call: &Call, handle: CuFunction, config: u32) -> Outcome {
    const MOST: u32 = 3;
    hint(call, handle, config, MOST)
}

/// Banks of shared memory cannot be configured either.
pub(crate) fn bank_preference(call: &Call, handle: CuFunction, config: u32) -> Outcome {
    const MOST: u32 = 2;
    hint(call, handle, config, MOST)
}

fn hint(call: &Call, handle: CuFunction, config: u32, most: u32) -> Outcome {
    function(call.runtime()?, handle)?;
    match config <= most {
        true => Ok(()),
        false => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("preference {config}"))),
    }
}

pub(crate) fn module(call: &Call, module: Out<CuModule>, handle: CuFunction) -> Outcome {
    module.set(Cu::new(function(call.runtime()?, handle)?.module))
}

/// The name lives as long as the code, which the function's handle keeps.
pub(crate) fn name(call: &Call, name: Out<TextOut>, handle: CuFunction) -> Outcome {
    name.set(TextOut::new(&function(call.runtime()?, handle)?.info().name))
}

fn parameter(info: &KernelInfo, index: usize, offset: Out<usize>, bytes: Out<usize>) -> Outcome {
    let found = info.params.get(index);
    let found = found.ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, format!("no parameter {index}")))?;
    offset.set(found.offset as usize)?;
    bytes.set_if_wanted(found.size as usize);
    Ok(())
}

pub(crate) fn parameter_info(
    call: &Call,
    handle: CuFunction,
    index: usize,
    offset: Out<usize>,
    bytes: Out<usize>,
) -> Outcome {
    parameter(function(call.runtime()?, handle)?.info(), index, offset, bytes)
}

/// Functions are loaded with their module.
pub(crate) fn is_loaded(call: &Call, state: Out<u32>, handle: CuFunction) -> Outcome {
    const LOADED: u32 = 1;
    function(call.runtime()?, handle)?;
    state.set(LOADED)
}

pub(crate) fn load(call: &Call, handle: CuFunction) -> Outcome {
    function(call.runtime()?, handle).map(drop)
}

fn kernel(call: &Call, kernel: CuKernel) -> Outcome<Arc<Kernel>> {
    Ok(call.runtime()?.kernels.get(kernel.get()?)?)
}

pub(crate) fn kernel_function(call: &Call, function: Out<CuFunction>, kernel: CuKernel) -> Outcome {
    function.set(Cu::new(call.runtime()?.kernel_function(kernel.get()?)?))
}

pub(crate) fn kernel_library(call: &Call, library: Out<CuLibrary>, handle: CuKernel) -> Outcome {
    library.set(Cu::new(kernel(call, handle)?.library))
}

pub(crate) fn kernel_name(call: &Call, name: Out<TextOut>, handle: CuKernel) -> Outcome {
    name.set(TextOut::new(&kernel(call, handle)?.info().name))
}

pub(crate) fn kernel_parameter_info(
    call: &Call,
    handle: CuKernel,
    index: usize,
    offset: Out<usize>,
    bytes: Out<usize>,
) -> Outcome {
    parameter(kernel(call, handle)?.info(), index, offset, bytes)
}

pub(crate) fn kernel_attribute(call: &Call, value: Out<i32>, attribute: u32, handle: CuKernel, device: i32) -> Outcome {
    let caps = call.runtime()?.device(index(device)?)?.device.caps();
    let kernel = kernel(call, handle)?;
    value.set(attribute_of(caps, &kernel.code, kernel.info(), kernel.settings(), attribute)?)
}

pub(crate) fn set_kernel_attribute(call: &Call, attribute: u32, value: i32, handle: CuKernel, device: i32) -> Outcome {
    change_kernel(call.runtime()?, handle.get()?, attribute, value, index(device)?)
}

pub(crate) fn kernel_preference(call: &Call, handle: CuKernel, config: u32, device: i32) -> Outcome {
    call.runtime()?.device(index(device)?)?;
    kernel(call, handle)?;
    match config <= 3 {
        true => Ok(()),
        false => Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("preference {config}"))),
    }
}

fn blocks(call: &Call, handle: CuFunction, threads: i32, dynamic_shared: usize) -> Outcome<u32> {
    let runtime = call.runtime()?;
    let function = function(runtime, handle)?;
    let caps = caps_of(runtime, &function)?;
    let threads = u32::try_from(threads).ok().filter(|&threads| threads > 0);
    let threads = threads.ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, "a block of no threads"))?;
    let shared = u32::try_from(dynamic_shared).unwrap_or(u32::MAX);
    let fits = threads <= threads_limit(caps, function.info());
    Ok(if fits { resident_blocks(caps, function.info(), threads, shared) } else { 0 })
}

pub(crate) fn occupancy(
    call: &Call,
    count: Out<i32>,
    handle: CuFunction,
    threads: i32,
    dynamic_shared: usize,
) -> Outcome {
    count.set(blocks(call, handle, threads, dynamic_shared)? as i32)
}

pub(crate) fn occupancy_with_flags(
    call: &Call,
    count: Out<i32>,
    handle: CuFunction,
    threads: i32,
    dynamic_shared: usize,
    _flags: u32,
) -> Outcome {
    occupancy(call, count, handle, threads, dynamic_shared)
}

/// Dynamic shared memory that each of `count` blocks can have at once.
pub(crate) fn available_shared(
    call: &Call,
    bytes: Out<usize>,
    handle: CuFunction,
    count: i32,
    threads: i32,
) -> Outcome {
    let runtime = call.runtime()?;
    let function = function(runtime, handle)?;
    let caps = caps_of(runtime, &function)?;
    let count = u32::try_from(count).ok().filter(|&count| count > 0 && threads > 0);
    let count = count.ok_or_else(|| Failure::new(Code::ERROR_INVALID_VALUE, "no blocks, or blocks of no threads"))?;
    let info = function.info();
    let each = caps.shared_per_multiprocessor / count;
    let taken = info.static_shared + caps.shared_reserved_per_block;
    let most = dynamic_shared_limit(caps, info, function.settings());
    bytes.set(each.saturating_sub(taken).min(most) as usize)
}

/// `CUoccupancyB2DSize`.
pub(crate) type SharedForThreads = Option<extern "C" fn(i32) -> usize>;

pub(crate) fn potential_block_size(
    call: &Call,
    grid: Out<i32>,
    block: Out<i32>,
    handle: CuFunction,
    shared_for: SharedForThreads,
    dynamic_shared: usize,
    limit: i32,
) -> Outcome {
    potential_block_size_with_flags(call, grid, block, handle, shared_for, dynamic_shared, limit, 0)
}

/// The block size that keeps most threads resident; of equal ones the largest.
pub(crate) fn potential_block_size_with_flags(
    call: &Call,
    grid: Out<i32>,
    block: Out<i32>,
    handle: CuFunction,
    shared_for: SharedForThreads,
    dynamic_shared: usize,
    limit: i32,
    _flags: u32,
) -> Outcome {
    let runtime = call.runtime()?;
    let found = function(runtime, handle)?;
    let caps = caps_of(runtime, &found)?;
    let most = threads_limit(caps, found.info());
    let most = u32::try_from(limit).ok().filter(|&limit| limit > 0).map_or(most, |limit| limit.min(most)) as i32;
    let mut best = (0, 0, 0);
    for threads in (1..=most / 32).map(|warps| warps * 32).chain([most]) {
        let shared = shared_for.map_or(dynamic_shared, |shared_for| shared_for(threads));
        let resident = blocks(call, handle, threads, shared)? as i32;
        if resident * threads >= best.0 && resident > 0 {
            best = (resident * threads, threads, resident);
        }
    }
    grid.set(best.2 * multiprocessors(runtime, &found)? as i32)?;
    block.set(best.1)
}

/// What a launch with that configuration would be refused for is refused here; a cluster that can be launched can be
/// there at least once.
pub(crate) fn max_clusters(call: &Call, count: Out<i32>, handle: CuFunction, config: In<LaunchConfig>) -> Outcome {
    let config = config.get()?;
    let runtime = call.runtime()?;
    let found = function(runtime, handle)?;
    let caps = caps_of(runtime, &found)?;
    let cluster = cluster_of(found.info(), found.settings(), config.cluster()?);
    check_cluster(caps, found.info(), found.settings(), cluster)?;
    let resident = blocks(call, handle, config.threads() as i32, config.dynamic_shared())?;
    let all = resident * multiprocessors(runtime, &found)? / cluster.iter().product::<u32>();
    count.set(if resident == 0 { 0 } else { all.max(1) as i32 })
}

/// The largest cluster that a launch may ask for; the configuration's own is ignored.
pub(crate) fn max_cluster_size(call: &Call, size: Out<i32>, handle: CuFunction, config: In<LaunchConfig>) -> Outcome {
    let config = config.get()?;
    let runtime = call.runtime()?;
    let found = function(runtime, handle)?;
    let caps = caps_of(runtime, &found)?;
    let blocks = match (blocks(call, handle, config.threads() as i32, config.dynamic_shared())?, found.info()) {
        (0, _) => 0,
        (_, info) if info.required_cluster != [0; 3] => cluster_of(info, found.settings(), [1; 3]).iter().product(),
        (_, info) => cluster_limit(caps, info, found.settings()).max(1),
    };
    size.set(blocks as i32)
}
