//! Many copies in one call.

use super::location::{Place, wrong};
use super::managed::{batch_stream, settings_of};
use crate::abi::{Call, CuArray, CuStream, In, Out, Pointer};
use crate::result::{Failure, Outcome};
use hetgpu_runtime::{Array, CopyAsked, CopyRequest, Corner, Handle, Runtime, Shape, TexelCopy, TexelSide};

/// `CUmemcpyAttributes`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Attributes {
    order: u32,
    from: Place,
    to: Place,
    flags: u32,
}

/// `CUmemcpy3DOperand`: a pointer with the length of rows and the height of layers, or an array with an offset.
#[derive(Clone, Copy)]
#[repr(C)]
struct Operand {
    kind: u32,
    pointer: Pointer,
    row: usize,
    layer: usize,
    place: [u32; 2],
}

/// `CUDA_MEMCPY3D_BATCH_OP`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Volume {
    from: Operand,
    to: Operand,
    width: usize,
    height: usize,
    depth: usize,
    order: u32,
    flags: u32,
}

/// A copy, and whether its source is read before the call returns.
type Request = (CopyAsked, bool);

/// A failure, and which of the copies is at fault, where one is.
type Failed = (Option<usize>, Failure);

fn now(order: u32, flags: u32) -> Outcome<bool> {
    const STREAM: u32 = 1;
    const DURING_CALL: u32 = 2;
    const ANY: u32 = 3;
    const OVERLAP_WITH_KERNELS: u32 = 1;
    match order {
        _ if flags & !OVERLAP_WITH_KERNELS != 0 => Err(wrong(format!("flags {flags:#x}"))),
        STREAM | ANY => Ok(false),
        DURING_CALL => Ok(true),
        other => Err(wrong(format!("order {other} of accesses to the source"))),
    }
}

fn submit(call: &Call, requests: &[Request], stream: CuStream) -> Result<(), Failed> {
    let stream = batch_stream(call, stream).map_err(|failure| (None, failure))?;
    let runtime = call.runtime().map_err(|failure| (None, failure))?;
    runtime.copy_batch(stream, requests).map_err(|(index, error)| (index, error.into()))
}

/// Where older calls say which copy was at fault: all ones where it was none of them.
fn telling(call: &Call, stream: CuStream, failed: Out<usize>, result: Result<(), Failed>) -> Outcome {
    if batch_stream(call, stream).is_ok() || stream.0 != 0 {
        failed.set_if_wanted(result.as_ref().err().and_then(|failure| failure.0).unwrap_or(usize::MAX));
    }
    result.map_err(|(_, failure)| failure)
}

fn line_requests(
    to: In<Pointer>,
    from: In<Pointer>,
    sizes: In<usize>,
    count: usize,
    attributes: &[Attributes],
    indices: In<usize>,
) -> Result<Vec<Request>, Failed> {
    let whole = |failure| (None, failure);
    if count == 0 || attributes.is_empty() {
        return Err(whole(wrong(format!("{count} copies with {} attributes", attributes.len()))));
    }
    let which = settings_of(indices, attributes.len(), count).map_err(whole)?;
    let times = attributes.iter().map(|a| now(a.order, a.flags)).collect::<Outcome<Vec<_>>>().map_err(whole)?;
    let one = |index: usize| {
        let (to, from, bytes) = (to.at(index)?.0, from.at(index)?.0, sizes.at(index)?);
        if bytes == 0 {
            return Err(wrong("a copy of 0 bytes"));
        }
        let shape = Shape::line(bytes as u64);
        let request = CopyRequest { to, to_device: false, from, from_device: false, shape };
        Ok((CopyAsked::Rows(request), times[which[index]]))
    };
    (0..count).map(|index| one(index).map_err(|failure| (Some(index), failure))).collect()
}

#[expect(clippy::too_many_arguments, reason = "so the call is")]
fn try_lines(
    call: &Call,
    to: In<Pointer>,
    from: In<Pointer>,
    sizes: In<usize>,
    count: usize,
    attributes: In<Attributes>,
    indices: In<usize>,
    attribute_count: usize,
    stream: CuStream,
) -> Result<(), Failed> {
    let attributes = attributes.list(attribute_count).map_err(|failure| (None, failure))?;
    submit(call, &line_requests(to, from, sizes, count, &attributes, indices)?, stream)
}

#[expect(clippy::too_many_arguments, reason = "so the call is")]
pub(crate) fn lines(
    call: &Call,
    to: In<Pointer>,
    from: In<Pointer>,
    sizes: In<usize>,
    count: usize,
    attributes: In<Attributes>,
    indices: In<usize>,
    attribute_count: usize,
    stream: CuStream,
) -> Outcome {
    let result = try_lines(call, to, from, sizes, count, attributes, indices, attribute_count, stream);
    result.map_err(|(_, failure)| failure)
}

#[expect(clippy::too_many_arguments, reason = "so the call is")]
pub(crate) fn lines_failing(
    call: &Call,
    to: In<Pointer>,
    from: In<Pointer>,
    sizes: In<usize>,
    count: usize,
    attributes: In<Attributes>,
    indices: In<usize>,
    attribute_count: usize,
    failed: Out<usize>,
    stream: CuStream,
) -> Outcome {
    let result = try_lines(call, to, from, sizes, count, attributes, indices, attribute_count, stream);
    telling(call, stream, failed, result)
}

const POINTER: u32 = 1;
const ARRAY: u32 = 2;

/// Address, pitch and slice of one side in memory.
fn side(operand: &Operand, width: usize, height: usize) -> Outcome<(u64, u64, u64)> {
    if operand.kind != POINTER {
        return Err(wrong(format!("no operand of type {}", operand.kind)));
    }
    let pitch = if operand.row == 0 { width } else { operand.row };
    let rows = if operand.layer == 0 { height } else { operand.layer };
    if pitch < width || rows < height {
        return Err(wrong(format!("rows of {pitch} bytes and layers of {rows} rows, of which more is copied")));
    }
    let slice = pitch.checked_mul(rows).ok_or_else(|| wrong("layers larger than the address space"))?;
    Ok((operand.pointer.0, pitch as u64, slice as u64))
}

impl Operand {
    fn array(&self) -> Outcome<Option<Handle<Array>>> {
        if self.kind == ARRAY { Ok(Some(CuArray::from_bits(self.pointer.0).get()?)) } else { Ok(None) }
    }

    /// One side of a copy of texels of a size. Extents and offsets count texels.
    fn texels(&self, texel: usize, width: usize, height: usize) -> Outcome<TexelSide> {
        let bytes =
            |texels: usize| texels.checked_mul(texel).ok_or_else(|| wrong("a row past the end of the addresses"));
        if let Some(array) = self.array()? {
            let [low, high] = self.place.map(u64::from);
            let corner = Corner { x: bytes(self.row)? as u64, y: self.layer as u64, z: high << 32 | low };
            return Ok(TexelSide::Array(array, corner));
        }
        let (at, pitch, slice) = side(&Self { row: bytes(self.row)?, ..*self }, bytes(width)?, height)?;
        Ok(TexelSide::Memory { at, device: false, pitch, slice })
    }
}

fn volume_request(runtime: &Runtime, volume: &Volume) -> Outcome<Request> {
    let &Volume { from, to, width, height, depth, order, flags } = volume;
    if width == 0 || height == 0 || depth == 0 {
        return Err(wrong(format!("a copy of {width} x {height} x {depth} bytes")));
    }
    let texel = |array| Ok::<_, Failure>(runtime.images.arrays.get(array)?.texel_bytes() as usize);
    let sizes = (to.array()?.map(texel).transpose()?, from.array()?.map(texel).transpose()?);
    match sizes {
        (None, None) => {}
        (Some(one), Some(other)) if one != other => return Err(wrong(format!("texels of {one} and {other} bytes"))),
        (Some(texel), _) | (None, Some(texel)) => {
            let row = width.checked_mul(texel).ok_or_else(|| wrong("a row past the end of the addresses"))? as u64;
            let (to, from) = (to.texels(texel, width, height)?, from.texels(texel, width, height)?);
            let copy = TexelCopy { to, from, row, rows: height as u64, slices: depth as u64 };
            return Ok((CopyAsked::Texels(copy), now(order, flags)?));
        }
    }
    let (to, to_pitch, to_slice) = side(&to, width, height)?;
    let (from, from_pitch, from_slice) = side(&from, width, height)?;
    let (row, rows, slices) = (width as u64, height as u64, depth as u64);
    let shape = Shape { row, rows, slices, from_pitch, to_pitch, from_slice, to_slice };
    let request = CopyRequest { to, to_device: false, from, from_device: false, shape };
    Ok((CopyAsked::Rows(request), now(order, flags)?))
}

fn try_volumes(call: &Call, count: usize, copies: In<Volume>, flags: u64, stream: CuStream) -> Result<(), Failed> {
    if count == 0 || flags != 0 {
        return Err((None, wrong(format!("{count} copies, flags {flags}"))));
    }
    let runtime = call.runtime().map_err(|failure| (None, failure))?;
    let one = |index: usize| copies.at(index).and_then(|volume| volume_request(runtime, &volume));
    let requests: Result<Vec<Request>, Failed> =
        (0..count).map(|index| one(index).map_err(|failure| (Some(index), failure))).collect();
    submit(call, &requests?, stream)
}

pub(crate) fn volumes(call: &Call, count: usize, copies: In<Volume>, flags: u64, stream: CuStream) -> Outcome {
    try_volumes(call, count, copies, flags, stream).map_err(|(_, failure)| failure)
}

pub(crate) fn volumes_failing(
    call: &Call,
    count: usize,
    copies: In<Volume>,
    failed: Out<usize>,
    flags: u64,
    stream: CuStream,
) -> Outcome {
    let result = try_volumes(call, count, copies, flags, stream);
    telling(call, stream, failed, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!(size_of::<Attributes>(), 24);
        assert_eq!((size_of::<Operand>(), size_of::<Volume>()), (40, 112));
    }

    #[test]
    fn rows_and_layers_of_no_size_are_tight() {
        let operand = Operand { kind: 1, pointer: Pointer(0x1000), row: 0, layer: 0, place: [0; 2] };
        assert_eq!(side(&operand, 32, 4).unwrap(), (0x1000, 32, 128));
        assert_eq!(side(&Operand { row: 64, ..operand }, 32, 4).unwrap(), (0x1000, 64, 256));
        assert!(side(&Operand { row: 16, ..operand }, 32, 4).is_err());
        assert!(side(&Operand { layer: 2, ..operand }, 32, 4).is_err());
        assert!(side(&Operand { kind: 0, ..operand }, 32, 4).is_err());
    }
}
