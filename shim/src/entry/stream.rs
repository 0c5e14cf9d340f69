//! Streams and events.

use crate::abi::{CuContext, CuEvent, CuGreen, CuStream, HostFunction, In, Out, Pointer};
use crate::calls::stream::{self, StreamCallback};
use crate::calls::words::{self, Parameters};
use crate::calls::{capture, event, green};
use hetgpu_runtime::{Attribute, EventTicket};

#[rustfmt::skip]
super::entries! {
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
    "cuStreamIsCapturing": cuStreamIsCapturing 10000 Legacy, cuStreamIsCapturing_ptsz 10000 PerThread => capture::is_capturing(stream: CuStream, status: Out<u32>);
    "cuStreamAddCallback": cuStreamAddCallback 5000 Legacy, cuStreamAddCallback_ptsz 7000 PerThread => stream::add_callback(stream: CuStream, callback: StreamCallback, data: Pointer, flags: u32);
    "cuLaunchHostFunc": cuLaunchHostFunc 10000 Legacy, cuLaunchHostFunc_ptsz 10000 PerThread => stream::host_function(stream: CuStream, function: HostFunction, data: Pointer);
    "cuEventCreate": cuEventCreate 2000 Legacy => event::create(event: Out<CuEvent>, flags: u32);
    "cuEventDestroy": cuEventDestroy 2000 Legacy, cuEventDestroy_v2 4000 Legacy => event::destroy(event: CuEvent);
    "cuEventRecord": cuEventRecord 2000 Legacy, cuEventRecord_ptsz 7000 PerThread => event::record(event: CuEvent, stream: CuStream);
    "cuEventRecordWithFlags": cuEventRecordWithFlags 11010 Legacy, cuEventRecordWithFlags_ptsz 11010 PerThread => event::record_with_flags(event: CuEvent, stream: CuStream, flags: u32);
    "cuEventQuery": cuEventQuery 2000 Legacy => event::query(event: CuEvent);
    "cuEventSynchronize": cuEventSynchronize 2000 Legacy => event::synchronize(event: CuEvent);
    "cuEventElapsedTime": cuEventElapsedTime 2000 Legacy, cuEventElapsedTime_v2 12080 Legacy => event::elapsed(milliseconds: Out<f32>, start: CuEvent, end: CuEvent);
    "cuIpcGetEventHandle": cuIpcGetEventHandle 4010 Legacy => event::export(ticket: Out<EventTicket>, event: CuEvent);
    "cuIpcOpenEventHandle": cuIpcOpenEventHandle 4010 Legacy => event::import(event: Out<CuEvent>, ticket: EventTicket);
    "cuStreamBatchMemOp": cuStreamBatchMemOp 8000 Legacy, cuStreamBatchMemOp_ptsz 8000 PerThread => words::batch_v1(stream: CuStream, count: u32, list: In<Parameters>, flags: u32);
    "cuStreamBatchMemOp": cuStreamBatchMemOp_v2 11070 Legacy, cuStreamBatchMemOp_v2_ptsz 11070 PerThread => words::batch(stream: CuStream, count: u32, list: In<Parameters>, flags: u32);
    "cuStreamCopyAttributes": cuStreamCopyAttributes 11000 Legacy, cuStreamCopyAttributes_ptsz 11000 PerThread => stream::copy_attributes(to: CuStream, from: CuStream);
    "cuStreamGetAttribute": cuStreamGetAttribute 11000 Legacy, cuStreamGetAttribute_ptsz 11000 PerThread => stream::attribute(stream: CuStream, id: u32, value: Out<Attribute>);
    "cuStreamGetCtx": cuStreamGetCtx_v2 12050 Legacy, cuStreamGetCtx_v2_ptsz 12050 PerThread => stream::context_v2(stream: CuStream, context: Out<CuContext>, green: Out<CuGreen>);
    "cuStreamGetGreenCtx": cuStreamGetGreenCtx 12040 Legacy => green::of_stream(stream: CuStream, green: Out<CuGreen>);
    "cuStreamSetAttribute": cuStreamSetAttribute 11000 Legacy, cuStreamSetAttribute_ptsz 11000 PerThread => stream::set_attribute(stream: CuStream, id: u32, value: In<Attribute>);
    "cuStreamWaitValue32": cuStreamWaitValue32 8000 Legacy, cuStreamWaitValue32_v2 11070 Legacy, cuStreamWaitValue32_ptsz 8000 PerThread, cuStreamWaitValue32_v2_ptsz 11070 PerThread => words::wait_32(stream: CuStream, at: Pointer, value: u32, flags: u32);
    "cuStreamWaitValue64": cuStreamWaitValue64 9000 Legacy, cuStreamWaitValue64_v2 11070 Legacy, cuStreamWaitValue64_ptsz 9000 PerThread, cuStreamWaitValue64_v2_ptsz 11070 PerThread => words::wait_64(stream: CuStream, at: Pointer, value: u64, flags: u32);
    "cuStreamWriteValue32": cuStreamWriteValue32 8000 Legacy, cuStreamWriteValue32_ptsz 8000 PerThread => words::write_32_v1(stream: CuStream, at: Pointer, value: u32, flags: u32);
    "cuStreamWriteValue32": cuStreamWriteValue32_v2 11070 Legacy, cuStreamWriteValue32_v2_ptsz 11070 PerThread => words::write_32(stream: CuStream, at: Pointer, value: u32, flags: u32);
    "cuStreamWriteValue64": cuStreamWriteValue64 9000 Legacy, cuStreamWriteValue64_ptsz 9000 PerThread => words::write_64_v1(stream: CuStream, at: Pointer, value: u64, flags: u32);
    "cuStreamWriteValue64": cuStreamWriteValue64_v2 11070 Legacy, cuStreamWriteValue64_v2_ptsz 11070 PerThread => words::write_64(stream: CuStream, at: Pointer, value: u64, flags: u32);
}
