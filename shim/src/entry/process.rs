//! The process as a whole: start, entry points, errors, profiler, logs, checkpoints.

use crate::abi::{Address, In, LogFunction, Out, Pointer, Text, TextOut};
use crate::calls::{checkpoint, init, report};
use std::ffi::c_char;

#[rustfmt::skip]
super::entries! {
    "cuInit": cuInit 2000 Legacy => init::init(flags: u32);
    "cuDriverGetVersion": cuDriverGetVersion 2020 Legacy => init::driver_version(version: Out<i32>);
    "cuGetProcAddress": cuGetProcAddress 11030 Legacy => init::proc_address(name: Text, function: Out<Address>, version: i32, flags: u64);
    "cuGetProcAddress": cuGetProcAddress_v2 12000 Legacy => init::proc_address_v2(name: Text, function: Out<Address>, version: i32, flags: u64, status: Out<u32>);
    "cuGetExportTable": cuGetExportTable 3000 Legacy => init::export_table(table: Out<Address>, id: In<[u8; 16]>);
    "cuGetErrorName": cuGetErrorName 6000 Legacy => init::error_name(code: u32, text: Out<TextOut>);
    "cuGetErrorString": cuGetErrorString 6000 Legacy => init::error_string(code: u32, text: Out<TextOut>);
    "cuProfilerInitialize": cuProfilerInitialize 4000 Legacy => report::profiler_initialize(config: Text, output: Text, mode: u32);
    "cuProfilerStart": cuProfilerStart 4000 Legacy => report::profiler_switch();
    "cuProfilerStop": cuProfilerStop 4000 Legacy => report::profiler_switch();
    "cuCheckpointProcessCheckpoint": cuCheckpointProcessCheckpoint 12080 Legacy => checkpoint::checkpoint(pid: i32, arguments: checkpoint::Arguments);
    "cuCheckpointProcessGetRestoreThreadId": cuCheckpointProcessGetRestoreThreadId 12080 Legacy => checkpoint::restore_thread(pid: i32, thread: Out<i32>);
    "cuCheckpointProcessGetState": cuCheckpointProcessGetState 12080 Legacy => checkpoint::state(pid: i32, state: Out<u32>);
    "cuCheckpointProcessLock": cuCheckpointProcessLock 12080 Legacy => checkpoint::lock(pid: i32, arguments: checkpoint::Arguments);
    "cuCheckpointProcessRestore": cuCheckpointProcessRestore 12080 Legacy => checkpoint::restore(pid: i32, arguments: checkpoint::Arguments);
    "cuCheckpointProcessUnlock": cuCheckpointProcessUnlock 12080 Legacy => checkpoint::unlock(pid: i32, arguments: checkpoint::Arguments);
    "cuCoredumpGetAttribute": cuCoredumpGetAttribute 12010 Legacy => report::coredump(attribute: u32, value: Out<u8>, bytes: Out<usize>);
    "cuCoredumpGetAttributeGlobal": cuCoredumpGetAttributeGlobal 12010 Legacy => report::coredump_global(attribute: u32, value: Out<u8>, bytes: Out<usize>);
    "cuCoredumpSetAttribute": cuCoredumpSetAttribute 12010 Legacy => report::set_coredump(attribute: u32, value: In<u8>, bytes: In<usize>);
    "cuCoredumpSetAttributeGlobal": cuCoredumpSetAttributeGlobal 12010 Legacy => report::set_coredump_global(attribute: u32, value: In<u8>, bytes: In<usize>);
    "cuLogsCurrent": cuLogsCurrent 12090 Legacy => report::logs_current(place: Out<u32>, flags: u32);
    "cuLogsDumpToFile": cuLogsDumpToFile 12090 Legacy => report::logs_to_file(from: In<u32>, path: Text, flags: u32);
    "cuLogsDumpToMemory": cuLogsDumpToMemory 12090 Legacy => report::logs_to_memory(from: In<u32>, buffer: Out<c_char>, bytes: Out<usize>, flags: u32);
    "cuLogsRegisterCallback": cuLogsRegisterCallback 12090 Legacy => report::logs_register(function: Option<LogFunction>, data: Pointer, listener: Out<Pointer>);
    "cuLogsUnregisterCallback": cuLogsUnregisterCallback 12090 Legacy => report::logs_unregister(listener: Pointer);
}
