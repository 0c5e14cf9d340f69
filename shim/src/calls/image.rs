//! Arrays and mipmapped arrays, and copies that name them.

use super::copy::{Copy3d, Side3d};
use crate::abi::{Call, Cu, CuArray, CuLevels, CuStream, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Array, ArrayDescription, Channel, Corner, Dimensions, Format, Notes, TexelCopy, TexelSide};
use std::sync::Arc;

/// `CUDA_ARRAY_DESCRIPTOR`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Descriptor {
    width: usize,
    height: usize,
    format: u32,
    channels: u32,
}

/// `CUDA_ARRAY3D_DESCRIPTOR`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Descriptor3d {
    width: usize,
    height: usize,
    depth: usize,
    format: u32,
    channels: u32,
    flags: u32,
}

const LAYERED: u32 = 0x01;
const SURFACE: u32 = 0x02;
const CUBE: u32 = 0x04;
const GATHER: u32 = 0x08;
const SPARSE: u32 = 0x40;
const DEFERRED: u32 = 0x80;
const VIDEO: u32 = 0x100;

fn wrong<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::new(Code::ERROR_INVALID_VALUE, text))
}

fn absent<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::new(Code::ERROR_NOT_SUPPORTED, text))
}

/// Formats by number: channel, and channels where the format has a number of its own; such texels are fractions.
const FORMATS: &[(u32, Channel, Option<u8>)] = &[
    (0x01, Channel::U8, None),
    (0x02, Channel::U16, None),
    (0x03, Channel::U32, None),
    (0x08, Channel::S8, None),
    (0x09, Channel::S16, None),
    (0x0a, Channel::S32, None),
    (0x10, Channel::F16, None),
    (0x20, Channel::F32, None),
    (0xc0, Channel::U8, Some(1)),
    (0xc1, Channel::U8, Some(2)),
    (0xc2, Channel::U8, Some(4)),
    (0xc3, Channel::U16, Some(1)),
    (0xc4, Channel::U16, Some(2)),
    (0xc5, Channel::U16, Some(4)),
    (0xc6, Channel::S8, Some(1)),
    (0xc7, Channel::S8, Some(2)),
    (0xc8, Channel::S8, Some(4)),
    (0xc9, Channel::S16, Some(1)),
    (0xca, Channel::S16, Some(2)),
    (0xcb, Channel::S16, Some(4)),
];

/// Formats that the API has and that are compressed, in several planes, or packed.
fn is_known_format(format: u32) -> bool {
    matches!(format, 0x50 | 0x91..=0x9f | 0xa1..=0xa9 | 0xb0..=0xb5)
}

/// A format of the API, and whether its texels are always fractions.
pub(super) fn format(format: u32, channels: u32) -> Outcome<(Format, bool)> {
    let Some(&(_, channel, own)) = FORMATS.iter().find(|row| row.0 == format) else {
        return match is_known_format(format) {
            true => absent(format!("arrays of format {format:#x}: compressed, in planes or packed")),
            false => wrong(format!("format {format:#x}")),
        };
    };
    match (channels, own) {
        (1 | 2 | 4, None) => Ok((Format { channel, channels: channels as u8 }, false)),
        (_, Some(own)) if channels == u32::from(own) => Ok((Format { channel, channels: own }, true)),
        _ => wrong(format!("{channels} channels of format {format:#x}")),
    }
}

impl Descriptor {
    /// Width, height, format and channels.
    pub(super) fn rows(&self) -> (usize, usize, u32, u32) {
        (self.width, self.height, self.format, self.channels)
    }
}

impl From<Descriptor> for Descriptor3d {
    fn from(descriptor: Descriptor) -> Self {
        let Descriptor { width, height, format, channels } = descriptor;
        Self { width, height, depth: 0, format, channels, flags: 0 }
    }
}

impl Descriptor3d {
    fn describe(&self) -> Outcome<ArrayDescription> {
        let Self { flags, .. } = *self;
        if flags & !(LAYERED | SURFACE | CUBE | GATHER | SPARSE | DEFERRED | VIDEO) != 0 {
            return wrong(format!("array flags {flags:#x}"));
        }
        let (format, fractions) = format(self.format, self.channels)?;
        if flags & (SPARSE | DEFERRED | VIDEO) != 0 {
            return absent(format!("array flags {flags:#x}: sparse, mapped later, or for video"));
        }
        let one = |extent: usize| u32::try_from(extent.max(1)).unwrap_or(u32::MAX);
        let [width, height, depth] = [self.width, self.height, self.depth].map(one);
        let layered = flags & LAYERED != 0;
        let (dimensions, extent, layers) = match (flags & CUBE != 0, layered, self.height, self.depth) {
            _ if self.width == 0 => return wrong("an array without texels"),
            (true, ..) if self.width != self.height => return wrong("a cube's faces are squares"),
            (true, false, _, 6) => (Dimensions::Cube, [width, height, 1], 6),
            (true, true, _, faces) if faces != 0 && faces % 6 == 0 => (Dimensions::Cube, [width, height, 1], depth),
            (true, ..) => return wrong(format!("a cube of {} faces", self.depth)),
            (false, true, _, 0) => return wrong("an array of layers without a layer"),
            (false, true, 0, _) => (Dimensions::One, [width, 1, 1], depth),
            (false, true, ..) => (Dimensions::Two, [width, height, 1], depth),
            (false, false, 0, 0) => (Dimensions::One, [width, 1, 1], 1),
            (false, false, _, 0) => (Dimensions::Two, [width, height, 1], 1),
            (false, false, 0, _) => return wrong("a volume without rows"),
            (false, false, ..) => (Dimensions::Three, [width, height, depth], 1),
        };
        Ok(ArrayDescription {
            format,
            fractions,
            dimensions,
            extent,
            layers,
            layered,
            writable: flags & SURFACE != 0,
            gathered: flags & GATHER != 0,
            notes: Notes { format: self.format, flags },
        })
    }

    fn of(array: &Array) -> Self {
        let description = &array.description;
        let [width, height, depth] = extents(description);
        let Notes { format, flags } = description.notes;
        Self { width, height, depth, format, channels: description.format.channels.into(), flags }
    }
}

/// Width, height and depth as the API has them: 0 where there is no such dimension, and layers for a depth.
pub(super) fn extents(description: &ArrayDescription) -> [usize; 3] {
    let [width, height, depth] = description.extent.map(|extent| extent as usize);
    let layers = description.layers as usize;
    match (description.dimensions, description.layered) {
        (Dimensions::One, false) => [width, 0, 0],
        (Dimensions::One, true) => [width, 0, layers],
        (Dimensions::Two, false) => [width, height, 0],
        (Dimensions::Two, true) | (Dimensions::Cube, _) => [width, height, layers],
        (Dimensions::Three, _) => [width, height, depth],
    }
}

pub(super) fn array(call: &Call, array: CuArray) -> Outcome<Arc<Array>> {
    let handle = array.get()?;
    call.runtime()?.images.arrays.get(handle).map_err(gone)
}

/// Of an array that was there, the driver says that its context is gone.
fn gone(error: hetgpu_runtime::Error) -> Failure {
    match error {
        hetgpu_runtime::Error::InvalidHandle(_) => {
            Failure::new(Code::ERROR_CONTEXT_IS_DESTROYED, "the array was destroyed")
        }
        other => other.into(),
    }
}

fn device(call: &Call, device: i32) -> Outcome {
    match super::device::index(device).map(|index| call.runtime()?.device(index).map_err(Failure::from).map(drop)) {
        Ok(Ok(())) => Ok(()),
        _ => wrong(format!("no device {device}")),
    }
}

fn made(call: &Call, array: Out<CuArray>, descriptor: Descriptor3d) -> Outcome {
    if array.is_null() {
        return wrong("null for an array's handle");
    }
    call.runtime()?.session()?;
    array.set(Cu::new(call.runtime()?.create_array(descriptor.describe()?)?))
}

pub(crate) fn create(call: &Call, array: Out<CuArray>, descriptor: In<Descriptor>) -> Outcome {
    made(call, array, descriptor.get()?.into())
}

pub(crate) fn create_3d(call: &Call, array: Out<CuArray>, descriptor: In<Descriptor3d>) -> Outcome {
    made(call, array, descriptor.get()?)
}

pub(crate) fn destroy(call: &Call, array: CuArray) -> Outcome {
    let handle = array.get()?;
    call.runtime()?.destroy_array(handle).map_err(gone)
}

pub(crate) fn descriptor(call: &Call, descriptor: Out<Descriptor>, handle: CuArray) -> Outcome {
    let Descriptor3d { width, height, format, channels, .. } = Descriptor3d::of(&*array(call, handle)?);
    descriptor.set(Descriptor { width, height, format, channels })
}

pub(crate) fn descriptor_3d(call: &Call, descriptor: Out<Descriptor3d>, handle: CuArray) -> Outcome {
    descriptor.set(Descriptor3d::of(&*array(call, handle)?))
}

/// Only arrays whose memory is mapped later have requirements, and there are none.
pub(crate) fn requirements(call: &Call, _requirements: Out<u8>, handle: CuArray, index: i32) -> Outcome {
    device(call, index)?;
    array(call, handle)?;
    wrong("the array's memory is not mapped later")
}

pub(crate) fn levels_requirements(call: &Call, _requirements: Out<u8>, levels: CuLevels, index: i32) -> Outcome {
    device(call, index)?;
    call.runtime()?.images.levels.get(levels.get()?)?;
    wrong("the mipmapped array's memory is not mapped later")
}

pub(crate) fn sparse(call: &Call, _properties: Out<u8>, handle: CuArray) -> Outcome {
    array(call, handle)?;
    wrong("the array is not sparse")
}

pub(crate) fn levels_sparse(call: &Call, _properties: Out<u8>, levels: CuLevels) -> Outcome {
    call.runtime()?.images.levels.get(levels.get()?)?;
    wrong("the mipmapped array is not sparse")
}

/// Formats in planes are refused, so that no array has any.
pub(crate) fn plane(call: &Call, _plane: Out<CuArray>, handle: CuArray, index: u32) -> Outcome {
    array(call, handle)?;
    wrong(format!("the array has no plane {index}"))
}

pub(crate) fn levels_create(call: &Call, levels: Out<CuLevels>, descriptor: In<Descriptor3d>, count: u32) -> Outcome {
    if levels.is_null() {
        return wrong("null for a mipmapped array's handle");
    }
    let descriptor = descriptor.get()?;
    call.runtime()?.session()?;
    levels.set(Cu::new(call.runtime()?.create_levels(descriptor.describe()?, count)?))
}

pub(crate) fn levels_destroy(call: &Call, levels: CuLevels) -> Outcome {
    Ok(call.runtime()?.destroy_levels(levels.get()?)?)
}

pub(crate) fn level(call: &Call, array: Out<CuArray>, levels: CuLevels, level: u32) -> Outcome {
    array.set(Cu::new(call.runtime()?.level(levels.get()?, level)?))
}

// Copies of bytes of an array's first row.

fn line(call: &Call, to: TexelSide, from: TexelSide, bytes: usize, stream: Option<CuStream>) -> Outcome {
    let wait = stream.is_none();
    let stream = call.stream(stream.unwrap_or(CuStream::NULL))?;
    let copy = TexelCopy { to, from, row: bytes as u64, rows: 1, slices: 1 };
    Ok(call.runtime()?.copy_texels(stream, copy, wait)?)
}

fn bytes_of(array: CuArray, offset: usize) -> Outcome<TexelSide> {
    if array.is_null() {
        return wrong("null for an array");
    }
    Ok(TexelSide::Array(array.get()?, Corner { x: offset as u64, y: 0, z: 0 }))
}

fn memory(at: Pointer, device: bool) -> TexelSide {
    TexelSide::Memory { at: at.0, device, pitch: 0, slice: 0 }
}

pub(crate) fn across(
    call: &Call,
    to: CuArray,
    to_offset: usize,
    from: CuArray,
    from_offset: usize,
    bytes: usize,
) -> Outcome {
    line(call, bytes_of(to, to_offset)?, bytes_of(from, from_offset)?, bytes, None)
}

pub(crate) fn to_device(call: &Call, to: Pointer, from: CuArray, offset: usize, bytes: usize) -> Outcome {
    line(call, memory(to, true), bytes_of(from, offset)?, bytes, None)
}

pub(crate) fn from_device(call: &Call, to: CuArray, offset: usize, from: Pointer, bytes: usize) -> Outcome {
    line(call, bytes_of(to, offset)?, memory(from, true), bytes, None)
}

pub(crate) fn out(call: &Call, to: Pointer, from: CuArray, offset: usize, bytes: usize) -> Outcome {
    line(call, memory(to, false), bytes_of(from, offset)?, bytes, None)
}

pub(crate) fn out_async(
    call: &Call,
    to: Pointer,
    from: CuArray,
    offset: usize,
    bytes: usize,
    stream: CuStream,
) -> Outcome {
    line(call, memory(to, false), bytes_of(from, offset)?, bytes, Some(stream))
}

pub(crate) fn in_(call: &Call, to: CuArray, offset: usize, from: Pointer, bytes: usize) -> Outcome {
    line(call, bytes_of(to, offset)?, memory(from, false), bytes, None)
}

pub(crate) fn in_async(
    call: &Call,
    to: CuArray,
    offset: usize,
    from: Pointer,
    bytes: usize,
    stream: CuStream,
) -> Outcome {
    line(call, bytes_of(to, offset)?, memory(from, false), bytes, Some(stream))
}

// Copies of rows.

/// A side that is an array.
fn corner(side: &Side3d) -> Outcome<TexelSide> {
    if side.level != 0 {
        return wrong("a level of a copy must be 0");
    }
    if side.array.0 == 0 {
        return wrong("null for an array");
    }
    Ok(TexelSide::Array(
        CuArray::from_bits(side.array.0).get()?,
        Corner { x: side.x as u64, y: side.y as u64, z: side.z as u64 },
    ))
}

/// A copy of which at least one side is an array; `side` makes the other one.
pub(super) fn texels(copy: &Copy3d, side: impl Fn(&Side3d) -> Outcome<TexelSide>) -> Outcome<TexelCopy> {
    let either = |of: &Side3d| if of.is_array() { corner(of) } else { side(of) };
    let (to, from) = (either(&copy.to)?, either(&copy.from)?);
    let [row, rows, slices] = [copy.width, copy.height, copy.depth].map(|n| n as u64);
    Ok(TexelCopy { to, from, row, rows, slices })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!((size_of::<Descriptor>(), size_of::<Descriptor3d>()), (24, 40));
        assert_eq!((offset_of!(Descriptor, format), offset_of!(Descriptor3d, flags)), (16, 32));
    }

    fn described(width: usize, height: usize, depth: usize, flags: u32) -> Outcome<ArrayDescription> {
        Descriptor3d { width, height, depth, format: 0x20, channels: 1, flags }.describe()
    }

    #[test]
    fn extents_and_flags_say_what_kind_of_array_it_is() {
        for (extents, flags, dimensions, layers) in [
            ((8, 0, 0), 0, Dimensions::One, 1),
            ((8, 4, 0), 0, Dimensions::Two, 1),
            ((8, 4, 2), 0, Dimensions::Three, 1),
            ((8, 0, 3), LAYERED, Dimensions::One, 3),
            ((8, 4, 3), LAYERED, Dimensions::Two, 3),
            ((4, 4, 6), CUBE, Dimensions::Cube, 6),
            ((4, 4, 12), CUBE | LAYERED, Dimensions::Cube, 12),
        ] {
            let made = described(extents.0, extents.1, extents.2, flags).unwrap();
            assert_eq!((made.dimensions, made.layers), (dimensions, layers), "{extents:?} {flags}");
        }
        for (extents, flags) in [
            ((0, 0, 0), 0),
            ((8, 0, 2), 0),
            ((8, 4, 0), LAYERED),
            ((4, 4, 5), CUBE),
            ((4, 8, 6), CUBE),
            ((4, 4, 12), CUBE),
            ((4, 4, 7), CUBE | LAYERED),
            ((8, 4, 0), 0x200),
        ] {
            let failure = described(extents.0, extents.1, extents.2, flags).unwrap_err();
            assert_eq!(failure.code, Code::ERROR_INVALID_VALUE, "{extents:?} {flags}");
        }
    }

    #[test]
    fn formats_with_a_number_of_channels_want_that_number() {
        assert_eq!(format(0x10, 4).unwrap().0.texel_bytes(), 8);
        assert!(format(0xc2, 4).unwrap().1);
        for (number, channels) in [(0x20, 3), (0x20, 0), (0xc2, 1), (0x05, 1), (0, 1)] {
            assert_eq!(format(number, channels).unwrap_err().code, Code::ERROR_INVALID_VALUE, "{number:#x}");
        }
        assert_eq!(format(0xb0, 3).unwrap_err().code, Code::ERROR_NOT_SUPPORTED);
    }
}
