//! Other interfaces: graphics, external memory, tensor maps, multicast.

use crate::abi::{CuExternalMemory, CuStream, In, Out, Pointer};
use crate::calls::external::{self, Buffer, MemoryHandle, SemaphoreHandle};
use crate::calls::tensor_map::{self, Map};

#[rustfmt::skip]
super::entries! {
    "cuDestroyExternalMemory": cuDestroyExternalMemory 10000 Legacy => external::destroy_memory(memory: CuExternalMemory);
    "cuDestroyExternalSemaphore": cuDestroyExternalSemaphore 10000 Legacy => external::destroy_semaphore(semaphore: Pointer);
    "cuDeviceGetNvSciSyncAttributes": cuDeviceGetNvSciSyncAttributes 10020 Legacy;
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
    "cuExternalMemoryGetMappedBuffer": cuExternalMemoryGetMappedBuffer 10000 Legacy => external::mapped_buffer(at: Out<Pointer>, memory: CuExternalMemory, buffer: In<Buffer>);
    "cuExternalMemoryGetMappedMipmappedArray": cuExternalMemoryGetMappedMipmappedArray 10000 Legacy => external::mapped_levels(levels: Out<Pointer>, memory: CuExternalMemory, description: In<u8>);
    "cuGLCtxCreate": cuGLCtxCreate 2000 Legacy, cuGLCtxCreate_v2 3020 Legacy;
    "cuGLGetDevices": cuGLGetDevices 4010 Legacy, cuGLGetDevices_v2 6050 Legacy => external::gl_devices(count: Out<u32>, devices: Out<i32>, most: u32, list: u32);
    "cuGLInit": cuGLInit 2000 Legacy;
    "cuGLMapBufferObject": cuGLMapBufferObject 2000 Legacy, cuGLMapBufferObject_v2 3020 Legacy, cuGLMapBufferObject_v2_ptds 7000 PerThread;
    "cuGLMapBufferObjectAsync": cuGLMapBufferObjectAsync 2030 Legacy, cuGLMapBufferObjectAsync_v2 3020 Legacy, cuGLMapBufferObjectAsync_v2_ptsz 7000 PerThread;
    "cuGLRegisterBufferObject": cuGLRegisterBufferObject 2000 Legacy;
    "cuGLSetBufferObjectMapFlags": cuGLSetBufferObjectMapFlags 2030 Legacy;
    "cuGLUnmapBufferObject": cuGLUnmapBufferObject 2000 Legacy;
    "cuGLUnmapBufferObjectAsync": cuGLUnmapBufferObjectAsync 2030 Legacy;
    "cuGLUnregisterBufferObject": cuGLUnregisterBufferObject 2000 Legacy;
    "cuGraphicsEGLRegisterImage": cuGraphicsEGLRegisterImage 7000 Legacy;
    "cuGraphicsGLRegisterBuffer": cuGraphicsGLRegisterBuffer 3000 Legacy;
    "cuGraphicsGLRegisterImage": cuGraphicsGLRegisterImage 3000 Legacy;
    "cuGraphicsMapResources": cuGraphicsMapResources 3000 Legacy, cuGraphicsMapResources_ptsz 7000 PerThread => external::graphics_resources(count: u32, resources: In<Pointer>, stream: CuStream);
    "cuGraphicsResourceGetMappedEglFrame": cuGraphicsResourceGetMappedEglFrame 7000 Legacy;
    "cuGraphicsResourceGetMappedMipmappedArray": cuGraphicsResourceGetMappedMipmappedArray 5000 Legacy => external::graphics_levels(levels: Out<Pointer>, resource: Pointer);
    "cuGraphicsResourceGetMappedPointer": cuGraphicsResourceGetMappedPointer 3000 Legacy;
    "cuGraphicsResourceGetMappedPointer": cuGraphicsResourceGetMappedPointer_v2 3020 Legacy => external::graphics_pointer(at: Out<Pointer>, bytes: Out<usize>, resource: Pointer);
    "cuGraphicsResourceSetMapFlags": cuGraphicsResourceSetMapFlags 3000 Legacy, cuGraphicsResourceSetMapFlags_v2 6050 Legacy => external::graphics_flags(resource: Pointer, flags: u32);
    "cuGraphicsSubResourceGetMappedArray": cuGraphicsSubResourceGetMappedArray 3000 Legacy => external::graphics_array(array: Out<Pointer>, resource: Pointer, index: u32, level: u32);
    "cuGraphicsUnmapResources": cuGraphicsUnmapResources 3000 Legacy, cuGraphicsUnmapResources_ptsz 7000 PerThread => external::graphics_resources(count: u32, resources: In<Pointer>, stream: CuStream);
    "cuGraphicsUnregisterResource": cuGraphicsUnregisterResource 3000 Legacy => external::graphics_resource(resource: Pointer);
    "cuGraphicsVDPAURegisterOutputSurface": cuGraphicsVDPAURegisterOutputSurface 3010 Legacy;
    "cuGraphicsVDPAURegisterVideoSurface": cuGraphicsVDPAURegisterVideoSurface 3010 Legacy;
    "cuImportExternalMemory": cuImportExternalMemory 10000 Legacy => external::import_memory(memory: Out<CuExternalMemory>, handle: In<MemoryHandle>);
    "cuImportExternalSemaphore": cuImportExternalSemaphore 10000 Legacy => external::import_semaphore(semaphore: Out<Pointer>, handle: In<SemaphoreHandle>);
    "cuMulticastAddDevice": cuMulticastAddDevice 12010 Legacy;
    "cuMulticastBindAddr": cuMulticastBindAddr 12010 Legacy;
    "cuMulticastBindMem": cuMulticastBindMem 12010 Legacy;
    "cuMulticastCreate": cuMulticastCreate 12010 Legacy;
    "cuMulticastGetGranularity": cuMulticastGetGranularity 12010 Legacy;
    "cuMulticastUnbind": cuMulticastUnbind 12010 Legacy;
    "cuSignalExternalSemaphoresAsync": cuSignalExternalSemaphoresAsync 10000 Legacy, cuSignalExternalSemaphoresAsync_ptsz 10000 PerThread => external::use_semaphores(semaphores: In<Pointer>, params: In<u8>, count: u32, stream: CuStream);
    "cuTensorMapEncodeIm2col": cuTensorMapEncodeIm2col 12000 Legacy => tensor_map::encode_columns(map: Out<Map>, element: u32, rank: u32, address: Pointer, extents: In<u64>, strides: In<u64>, lower: In<i32>, upper: In<i32>, channels: u32, pixels: u32, steps: In<u32>, interleave: u32, swizzle: u32, promotion: u32, fill: u32);
    "cuTensorMapEncodeIm2colWide": cuTensorMapEncodeIm2colWide 12080 Legacy;
    "cuTensorMapEncodeTiled": cuTensorMapEncodeTiled 12000 Legacy => tensor_map::encode_tiled(map: Out<Map>, element: u32, rank: u32, address: Pointer, extents: In<u64>, strides: In<u64>, part: In<u32>, steps: In<u32>, interleave: u32, swizzle: u32, promotion: u32, fill: u32);
    "cuTensorMapReplaceAddress": cuTensorMapReplaceAddress 12000 Legacy => tensor_map::replace_address(map: Out<Map>, address: Pointer);
    "cuVDPAUCtxCreate": cuVDPAUCtxCreate 3010 Legacy, cuVDPAUCtxCreate_v2 3020 Legacy;
    "cuVDPAUGetDevice": cuVDPAUGetDevice 3010 Legacy;
    "cuWaitExternalSemaphoresAsync": cuWaitExternalSemaphoresAsync 10000 Legacy, cuWaitExternalSemaphoresAsync_ptsz 10000 PerThread => external::use_semaphores(semaphores: In<Pointer>, params: In<u8>, count: u32, stream: CuStream);
}
