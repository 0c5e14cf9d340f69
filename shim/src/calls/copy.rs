//! Copies and fills.

use crate::abi::{Call, CuContext, CuStream, In, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{CopyAsked, CopyRequest, Corner, FillRequest, Shape, TexelCopy, TexelSide};

/// `CUDA_MEMCPY2D`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Copy2d {
    from: Side2d,
    to: Side2d,
    width: usize,
    height: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Side2d {
    x: usize,
    y: usize,
    kind: u32,
    host: Pointer,
    device: Pointer,
    array: Pointer,
    pitch: usize,
}

/// `CUDA_MEMCPY3D`, and `CUDA_MEMCPY3D_PEER`, which names a context where this one has a reserved word.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Copy3d {
    pub(super) from: Side3d,
    pub(super) to: Side3d,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) depth: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Side3d {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) z: usize,
    pub(super) level: usize,
    kind: u32,
    host: Pointer,
    device: Pointer,
    pub(super) array: Pointer,
    context: Pointer,
    pitch: usize,
    height: usize,
}

impl From<Side2d> for Side3d {
    fn from(side: Side2d) -> Self {
        let Side2d { x, y, kind, host, device, array, pitch } = side;
        Self { x, y, z: 0, level: 0, kind, host, device, array, context: Pointer(0), pitch, height: 0 }
    }
}

impl From<Copy2d> for Copy3d {
    fn from(copy: Copy2d) -> Self {
        let Copy2d { from, to, width, height } = copy;
        Self { from: from.into(), to: to.into(), width, height, depth: 1 }
    }
}

const HOST: u32 = 1;
const DEVICE: u32 = 2;
const ARRAY: u32 = 3;
const UNIFIED: u32 = 4;

impl Side3d {
    const NOWHERE: Self = Self {
        x: 0,
        y: 0,
        z: 0,
        level: 0,
        kind: 0,
        host: Pointer(0),
        device: Pointer(0),
        array: Pointer(0),
        context: Pointer(0),
        pitch: 0,
        height: 0,
    };

    /// Memory, of which is known whether it is a device's unless it is `unified`.
    fn memory(at: u64, device: bool, unified: bool, pitch: u64, slice: u64) -> Self {
        let kind = match (unified, device) {
            (true, _) => UNIFIED,
            (false, true) => DEVICE,
            (false, false) => HOST,
        };
        let null = Pointer(0);
        let (host, device) = if kind == HOST { (Pointer(at), null) } else { (null, Pointer(at)) };
        let height = slice.checked_div(pitch).unwrap_or(0) as usize;
        Self { kind, host, device, pitch: pitch as usize, height, ..Self::NOWHERE }
    }

    pub(super) fn is_array(&self) -> bool {
        self.kind == ARRAY
    }
}

/// Which sides the caller says are device memory: to, from.
#[derive(Clone, Copy)]
struct Sides(bool, bool);

const ANY: Sides = Sides(false, false);
const IN: Sides = Sides(true, false);
const OUT: Sides = Sides(false, true);
const ACROSS: Sides = Sides(true, true);

fn line(call: &Call, to: Pointer, from: Pointer, bytes: usize, sides: Sides, stream: Option<CuStream>) -> Outcome {
    let shape = Shape::line(bytes as u64);
    let request = CopyRequest { to: to.0, to_device: sides.0, from: from.0, from_device: sides.1, shape };
    submit(call, request, stream)
}

/// Without a stream the copy goes to the default stream and is waited for.
fn submit(call: &Call, request: CopyRequest, stream: Option<CuStream>) -> Outcome {
    let wait = stream.is_none();
    let stream = call.stream(stream.unwrap_or(CuStream::NULL))?;
    Ok(call.runtime()?.copy(stream, request, wait)?)
}

pub(crate) fn any(call: &Call, to: Pointer, from: Pointer, bytes: usize) -> Outcome {
    line(call, to, from, bytes, ANY, None)
}

pub(crate) fn any_async(call: &Call, to: Pointer, from: Pointer, bytes: usize, stream: CuStream) -> Outcome {
    line(call, to, from, bytes, ANY, Some(stream))
}

pub(crate) fn in_(call: &Call, to: Pointer, from: Pointer, bytes: usize) -> Outcome {
    line(call, to, from, bytes, IN, None)
}

pub(crate) fn in_async(call: &Call, to: Pointer, from: Pointer, bytes: usize, stream: CuStream) -> Outcome {
    line(call, to, from, bytes, IN, Some(stream))
}

pub(crate) fn out(call: &Call, to: Pointer, from: Pointer, bytes: usize) -> Outcome {
    line(call, to, from, bytes, OUT, None)
}

pub(crate) fn out_async(call: &Call, to: Pointer, from: Pointer, bytes: usize, stream: CuStream) -> Outcome {
    line(call, to, from, bytes, OUT, Some(stream))
}

pub(crate) fn across(call: &Call, to: Pointer, from: Pointer, bytes: usize) -> Outcome {
    line(call, to, from, bytes, ACROSS, None)
}

pub(crate) fn across_async(call: &Call, to: Pointer, from: Pointer, bytes: usize, stream: CuStream) -> Outcome {
    line(call, to, from, bytes, ACROSS, Some(stream))
}

/// The context that a copy names must be there; none is the current one.
fn named(call: &Call, context: CuContext) -> Outcome {
    match context.is_null() {
        true => Ok(()),
        false => Ok(call.runtime()?.contexts.get(context.get()?).map(drop)?),
    }
}

pub(crate) fn peer(
    call: &Call,
    to: Pointer,
    to_context: CuContext,
    from: Pointer,
    from_context: CuContext,
    bytes: usize,
) -> Outcome {
    named(call, to_context)?;
    named(call, from_context)?;
    line(call, to, from, bytes, ANY, None)
}

pub(crate) fn peer_async(
    call: &Call,
    to: Pointer,
    to_context: CuContext,
    from: Pointer,
    from_context: CuContext,
    bytes: usize,
    stream: CuStream,
) -> Outcome {
    named(call, to_context)?;
    named(call, from_context)?;
    line(call, to, from, bytes, ANY, Some(stream))
}

/// One side of a copy of rows: address of the first byte, whether it must be device memory, pitch, slice.
fn side(side: &Side3d, width: usize, height: usize) -> Outcome<(u64, bool, u64, u64)> {
    let (start, device) = match side.kind {
        HOST => (side.host, false),
        DEVICE => (side.device, true),
        UNIFIED => (side.device, false),
        other => return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("memory type {other}"))),
    };
    /// The largest pitch, as an attribute of devices has it.
    const MOST_PITCH: usize = i32::MAX as usize;
    let wrong = |text: &str| Failure::new(Code::ERROR_INVALID_VALUE, text);
    let (row, rows) = (width.saturating_add(side.x), height.saturating_add(side.y));
    // None means that rows, or slices, follow each other without a gap.
    let pitch = if side.pitch == 0 { row } else { side.pitch };
    let rows_of_slice = if side.height == 0 { rows } else { side.height };
    if pitch < row || rows_of_slice < rows {
        return Err(wrong("a pitch or height smaller than what is copied"));
    }
    if side.pitch > MOST_PITCH {
        return Err(wrong("a pitch beyond the largest one"));
    }
    let slice = pitch.checked_mul(rows_of_slice);
    let offset =
        slice.and_then(|slice| slice.checked_mul(side.z)?.checked_add(pitch.checked_mul(side.y)?)?.checked_add(side.x));
    let first = offset.and_then(|offset| start.0.checked_add(offset as u64));
    match (first, slice) {
        (Some(first), Some(slice)) => Ok((first, device, pitch as u64, slice as u64)),
        _ => Err(wrong("an offset past the end of the address space")),
    }
}

impl Copy3d {
    /// What is asked for.
    pub(super) fn asked(&self) -> Outcome<CopyAsked> {
        if !self.to.is_array() && !self.from.is_array() {
            return Ok(CopyAsked::Rows(self.request()?));
        }
        let memory = |of: &Side3d| {
            let (at, device, pitch, slice) = side(of, self.width, self.height)?;
            Ok(TexelSide::Memory { at, device, pitch, slice })
        };
        Ok(CopyAsked::Texels(super::image::texels(self, memory)?))
    }

    fn request(&self) -> Outcome<CopyRequest> {
        let Self { width, height, depth, .. } = *self;
        let (to, to_device, to_pitch, to_slice) = side(&self.to, width, height)?;
        let (from, from_device, from_pitch, from_slice) = side(&self.from, width, height)?;
        let shape = Shape {
            row: width as u64,
            rows: height as u64,
            slices: depth as u64,
            from_pitch,
            to_pitch,
            from_slice,
            to_slice,
        };
        Ok(CopyRequest { to, to_device, from, from_device, shape })
    }

    /// A request of texels in this form.
    pub(super) fn of_texels(copy: &TexelCopy) -> Self {
        let side = |side: &TexelSide| match *side {
            TexelSide::Memory { at, device, pitch, slice } => Side3d::memory(at, device, false, pitch, slice),
            TexelSide::Array(array, Corner { x, y, z }) => {
                let (x, y, z) = (x as usize, y as usize, z as usize);
                Side3d { x, y, z, kind: ARRAY, array: Pointer(array.bits()), ..Side3d::NOWHERE }
            }
        };
        let [width, height, depth] = [copy.row, copy.rows, copy.slices].map(|n| n as usize);
        Self { from: side(&copy.from), to: side(&copy.to), width, height, depth }
    }

    /// A request in this form.
    pub(super) fn of(request: &CopyRequest) -> Self {
        let CopyRequest { to, to_device, from, from_device, shape } = *request;
        let unified = !to_device && !from_device;
        Self {
            from: Side3d::memory(from, from_device, unified, shape.from_pitch, shape.from_slice),
            to: Side3d::memory(to, to_device, unified, shape.to_pitch, shape.to_slice),
            width: shape.row as usize,
            height: shape.rows as usize,
            depth: shape.slices as usize,
        }
    }
}

fn shaped(call: &Call, copy: &Copy3d, stream: Option<CuStream>) -> Outcome {
    if copy.width == 0 || copy.height == 0 || copy.depth == 0 {
        return Ok(());
    }
    match copy.asked()? {
        CopyAsked::Rows(request) => submit(call, request, stream),
        CopyAsked::Texels(texels) => {
            let wait = stream.is_none();
            let stream = call.stream(stream.unwrap_or(CuStream::NULL))?;
            Ok(call.runtime()?.copy_texels(stream, texels, wait)?)
        }
    }
}

pub(crate) fn plane(call: &Call, copy: In<Copy2d>) -> Outcome {
    shaped(call, &copy.get()?.into(), None)
}

pub(crate) fn plane_async(call: &Call, copy: In<Copy2d>, stream: CuStream) -> Outcome {
    shaped(call, &copy.get()?.into(), Some(stream))
}

pub(crate) fn volume(call: &Call, copy: In<Copy3d>) -> Outcome {
    shaped(call, &copy.get()?, None)
}

pub(crate) fn volume_async(call: &Call, copy: In<Copy3d>, stream: CuStream) -> Outcome {
    shaped(call, &copy.get()?, Some(stream))
}

fn fill(call: &Call, request: FillRequest, stream: Option<CuStream>) -> Outcome {
    let wait = stream.is_none();
    let stream = call.stream(stream.unwrap_or(CuStream::NULL))?;
    Ok(call.runtime()?.fill(stream, request, wait)?)
}

macro_rules! fills {
    ($($type:ty: $line:ident $line_async:ident $plane:ident $plane_async:ident;)+) => {$(
        pub(crate) fn $line(call: &Call, at: Pointer, value: $type, count: usize) -> Outcome {
            let pattern = value.to_ne_bytes().to_vec();
            fill(call, FillRequest { at: at.0, pattern, count: count as u64, rows: 1, pitch: 0 }, None)
        }

        pub(crate) fn $line_async(call: &Call, at: Pointer, value: $type, count: usize, stream: CuStream) -> Outcome {
            let pattern = value.to_ne_bytes().to_vec();
            fill(call, FillRequest { at: at.0, pattern, count: count as u64, rows: 1, pitch: 0 }, Some(stream))
        }

        pub(crate) fn $plane(
            call: &Call,
            at: Pointer,
            pitch: usize,
            value: $type,
            width: usize,
            height: usize,
        ) -> Outcome {
            let pattern = value.to_ne_bytes().to_vec();
            let (count, rows, pitch) = (width as u64, height as u64, pitch as u64);
            fill(call, FillRequest { at: at.0, pattern, count, rows, pitch }, None)
        }

        pub(crate) fn $plane_async(
            call: &Call,
            at: Pointer,
            pitch: usize,
            value: $type,
            width: usize,
            height: usize,
            stream: CuStream,
        ) -> Outcome {
            let pattern = value.to_ne_bytes().to_vec();
            let (count, rows, pitch) = (width as u64, height as u64, pitch as u64);
            fill(call, FillRequest { at: at.0, pattern, count, rows, pitch }, Some(stream))
        }
    )+};
}

fills! {
    u8: set_8 set_8_async set_2d_8 set_2d_8_async;
    u16: set_16 set_16_async set_2d_16 set_2d_16_async;
    u32: set_32 set_32_async set_2d_32 set_2d_32_async;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// Sizes and offsets of CUDA_MEMCPY2D and CUDA_MEMCPY3D on a 64-bit system.
    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!(size_of::<Copy2d>(), 128);
        assert_eq!(offset_of!(Copy2d, to), 56);
        assert_eq!(size_of::<Copy3d>(), 200);
        assert_eq!(offset_of!(Copy3d, to), 88);
        assert_eq!(offset_of!(Copy3d, width), 176);
    }

    #[test]
    fn an_offset_in_rows_and_slices_becomes_an_address() {
        let base = Side3d {
            x: 3,
            y: 2,
            z: 1,
            level: 0,
            kind: 2,
            host: Pointer(0),
            device: Pointer(0x1000),
            array: Pointer(0),
            context: Pointer(0),
            pitch: 16,
            height: 8,
        };
        assert_eq!(side(&base, 4, 2).unwrap(), (0x1000 + 128 + 32 + 3, true, 16, 128));
        assert!(side(&Side3d { kind: 3, ..base }, 4, 2).is_err());
        assert!(side(&base, 14, 2).is_err(), "a row that does not fit its pitch");
        assert!(side(&Side3d { z: usize::MAX, ..base }, 4, 2).is_err());
    }
}
