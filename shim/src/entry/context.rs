//! Contexts and their limits.

use crate::abi::{CuContext, CuEvent, CuGreen, CuResources, CuStream, In, Out};
use crate::calls::context::{self, ContextParameters};
use crate::calls::event;
use crate::calls::green::{self, Affinity, Resource};

#[rustfmt::skip]
super::entries! {
    "cuDevicePrimaryCtxRetain": cuDevicePrimaryCtxRetain 7000 Legacy => context::primary_retain(context: Out<CuContext>, device: i32);
    "cuDevicePrimaryCtxRelease": cuDevicePrimaryCtxRelease 7000 Legacy, cuDevicePrimaryCtxRelease_v2 11000 Legacy => context::primary_release(device: i32);
    "cuDevicePrimaryCtxSetFlags": cuDevicePrimaryCtxSetFlags 7000 Legacy, cuDevicePrimaryCtxSetFlags_v2 11000 Legacy => context::primary_set_flags(device: i32, flags: u32);
    "cuDevicePrimaryCtxGetState": cuDevicePrimaryCtxGetState 7000 Legacy => context::primary_state(device: i32, flags: Out<u32>, active: Out<i32>);
    "cuDevicePrimaryCtxReset": cuDevicePrimaryCtxReset 7000 Legacy, cuDevicePrimaryCtxReset_v2 11000 Legacy => context::primary_reset(device: i32);
    "cuCtxCreate": cuCtxCreate 2000 Legacy, cuCtxCreate_v2 3020 Legacy => context::create(context: Out<CuContext>, flags: u32, device: i32);
    "cuCtxCreate": cuCtxCreate_v3 11040 Legacy => context::create_v3(context: Out<CuContext>, affinity: In<Affinity>, affinities: i32, flags: u32, device: i32);
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
    "cuCtxAttach": cuCtxAttach 2000 Legacy => context::attach(context: Out<CuContext>, flags: u32);
    "cuCtxDetach": cuCtxDetach 2000 Legacy => context::detach(context: CuContext);
    "cuCtxFromGreenCtx": cuCtxFromGreenCtx 12040 Legacy => green::as_context(context: Out<CuContext>, green: CuGreen);
    "cuCtxGetDevResource": cuCtxGetDevResource 12040 Legacy => green::context_resource(context: CuContext, resource: Out<Resource>, kind: u32);
    "cuCtxGetExecAffinity": cuCtxGetExecAffinity 11040 Legacy => green::affinity(affinity: Out<Affinity>, kind: u32);
    "cuCtxRecordEvent": cuCtxRecordEvent 12050 Legacy => event::record_context(context: CuContext, event: CuEvent);
    "cuCtxWaitEvent": cuCtxWaitEvent 12050 Legacy => event::hold_context(context: CuContext, event: CuEvent);
    "cuDevResourceGenerateDesc": cuDevResourceGenerateDesc 12040 Legacy => green::describe(description: Out<CuResources>, resources: In<Resource>, count: u32);
    "cuDevSmResourceSplitByCount": cuDevSmResourceSplitByCount 12040 Legacy => green::split(groups: Out<Resource>, count: In<u32>, whole: In<Resource>, rest: Out<Resource>, flags: u32, least: u32);
    "cuGreenCtxCreate": cuGreenCtxCreate 12040 Legacy => green::create(green: Out<CuGreen>, description: CuResources, device: i32, flags: u32);
    "cuGreenCtxDestroy": cuGreenCtxDestroy 12040 Legacy => green::destroy(green: CuGreen);
    "cuGreenCtxGetDevResource": cuGreenCtxGetDevResource 12040 Legacy => green::resource(green: CuGreen, resource: Out<Resource>, kind: u32);
    "cuGreenCtxGetId": cuGreenCtxGetId 12090 Legacy => green::id(green: CuGreen, id: Out<u64>);
    "cuGreenCtxRecordEvent": cuGreenCtxRecordEvent 12040 Legacy => green::record(green: CuGreen, event: CuEvent);
    "cuGreenCtxStreamCreate": cuGreenCtxStreamCreate 12050 Legacy => green::create_stream(stream: Out<CuStream>, green: CuGreen, flags: u32, priority: i32);
    "cuGreenCtxWaitEvent": cuGreenCtxWaitEvent 12040 Legacy => green::wait(green: CuGreen, event: CuEvent);
}
