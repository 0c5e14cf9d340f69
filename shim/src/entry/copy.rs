//! Copies and fills.

use crate::abi::{CuContext, CuStream, In, Out, Pointer};
use crate::calls::batch::{self, Attributes, Volume};
use crate::calls::copy::{self, Copy2d, Copy3d};

#[rustfmt::skip]
super::entries! {
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
    "cuMemcpy2D": cuMemcpy2D 2000 Legacy;
    "cuMemcpy2DAsync": cuMemcpy2DAsync 2000 Legacy;
    "cuMemcpy2DUnaligned": cuMemcpy2DUnaligned 2000 Legacy;
    "cuMemcpy3D": cuMemcpy3D 2000 Legacy;
    "cuMemcpy3DAsync": cuMemcpy3DAsync 2000 Legacy;
    "cuMemcpy3DBatchAsync": cuMemcpy3DBatchAsync 12080 Legacy, cuMemcpy3DBatchAsync_ptsz 12080 PerThread => batch::volumes_failing(count: usize, copies: In<Volume>, failed: Out<usize>, flags: u64, stream: CuStream);
    "cuMemcpy3DBatchAsync": cuMemcpy3DBatchAsync_v2 13000 Legacy, cuMemcpy3DBatchAsync_v2_ptsz 13000 PerThread => batch::volumes(count: usize, copies: In<Volume>, flags: u64, stream: CuStream);
    "cuMemcpyBatchAsync": cuMemcpyBatchAsync 12080 Legacy, cuMemcpyBatchAsync_ptsz 12080 PerThread => batch::lines_failing(to: In<Pointer>, from: In<Pointer>, sizes: In<usize>, count: usize, attributes: In<Attributes>, indices: In<usize>, attribute_count: usize, failed: Out<usize>, stream: CuStream);
    "cuMemcpyBatchAsync": cuMemcpyBatchAsync_v2 13000 Legacy, cuMemcpyBatchAsync_v2_ptsz 13000 PerThread => batch::lines(to: In<Pointer>, from: In<Pointer>, sizes: In<usize>, count: usize, attributes: In<Attributes>, indices: In<usize>, attribute_count: usize, stream: CuStream);
    "cuMemcpyDtoD": cuMemcpyDtoD 2000 Legacy;
    "cuMemcpyDtoDAsync": cuMemcpyDtoDAsync 3000 Legacy;
    "cuMemcpyDtoH": cuMemcpyDtoH 2000 Legacy;
    "cuMemcpyDtoHAsync": cuMemcpyDtoHAsync 2000 Legacy;
    "cuMemcpyHtoD": cuMemcpyHtoD 2000 Legacy;
    "cuMemcpyHtoDAsync": cuMemcpyHtoDAsync 2000 Legacy;
    "cuMemsetD16": cuMemsetD16 2000 Legacy;
    "cuMemsetD2D16": cuMemsetD2D16 2000 Legacy;
    "cuMemsetD2D32": cuMemsetD2D32 2000 Legacy;
    "cuMemsetD2D8": cuMemsetD2D8 2000 Legacy;
    "cuMemsetD32": cuMemsetD32 2000 Legacy;
    "cuMemsetD8": cuMemsetD8 2000 Legacy;
}
