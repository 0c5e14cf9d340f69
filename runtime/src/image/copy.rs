//! Copies from and to arrays.

use super::Array;
use crate::handle::Handle;
use crate::place::Place;
use crate::queue::{Lane, Operation, Point};
use crate::session::Session;
use crate::stream::StreamRef;
use crate::{Error, Result, Runtime, place};
use hetgpu_device::{Access, HostBuffer, ImagePlace, Shape};
use std::sync::Arc;

/// A place in an array: bytes from the beginning of the row, row, and slice or layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Corner {
    pub x: u64,
    pub y: u64,
    pub z: u64,
}

/// One side of a copy of texels.
#[derive(Clone, Copy, Debug)]
pub enum TexelSide {
    Memory {
        at: u64,
        /// Anything but device memory is a mistake.
        device: bool,
        /// Bytes from one row to the next.
        pitch: u64,
        /// Bytes from one slice to the next.
        slice: u64,
    },
    Array(Handle<Array>, Corner),
}

/// A copy as asked for: bytes of a row, rows, slices.
#[derive(Clone, Copy, Debug)]
pub struct TexelCopy {
    pub to: TexelSide,
    pub from: TexelSide,
    pub row: u64,
    pub rows: u64,
    pub slices: u64,
}

/// A part of an array: whole texels, and where in them the bytes that were asked for begin.
struct Part {
    place: Place,
    /// Bytes of a row.
    row: u64,
    skipped: u64,
}

impl Array {
    /// Bytes of a row, rows, slices or layers.
    pub fn extents(&self) -> [u64; 3] {
        let [width, height, depth] = self.description.extent.map(u64::from);
        [width * self.texel_bytes(), height, depth * u64::from(self.description.layers)]
    }

    fn texel_bytes(&self) -> u64 {
        self.description.format.texel_bytes() as u64
    }

    fn part(&self, at: Corner, size: [u64; 3]) -> Result<Part> {
        let ends = [at.x, at.y, at.z].into_iter().zip(size).zip(self.extents());
        for ((first, count), extent) in ends {
            if first.checked_add(count).is_none_or(|end| end > extent) {
                return Err(Error::invalid(format!(
                    "a copy of {size:?} at {:?} of an array of {:?} bytes, rows and slices",
                    [at.x, at.y, at.z],
                    self.extents()
                )));
            }
        }
        let texel = self.texel_bytes();
        let skipped = at.x % texel;
        let row = (skipped + size[0]).next_multiple_of(texel);
        // Within the array, so that all of it fits 32 bits.
        let origin = [at.x / texel, at.y, at.z].map(|place| place as u32);
        let place = ImagePlace { image: self.storage.image, level: self.level, origin };
        Ok(Part { place: Place::Image(place, self.storage.clone()), row, skipped })
    }
}

/// One side of a copy, found.
enum Side {
    /// With whether it is memory that the program may reuse as soon as a call returns.
    Memory(Place, bool),
    Texels(Part),
}

impl Runtime {
    fn side(&self, session: &Session, side: TexelSide, size: [u64; 3], span: u64, needs: Access) -> Result<Side> {
        match side {
            TexelSide::Memory { at, device, .. } => {
                let (place, pageable) = self.locate(session, (at, span), device, needs)?;
                Ok(Side::Memory(place, pageable))
            }
            TexelSide::Array(handle, corner) => {
                let array = self.images.arrays.get(handle)?;
                match array.session.device.index == session.device.index {
                    true => Ok(Side::Texels(array.part(corner, size)?)),
                    false => Err(Error::NotSupported("a copy between two devices".into())),
                }
            }
        }
    }

    /// Copies texels; waits as `copy` does.
    pub fn copy_texels(&self, stream: StreamRef, copy: TexelCopy, wait: bool) -> Result<()> {
        let TexelCopy { to, from, row, rows, slices } = copy;
        let (session, lane) = self.uncaptured(stream)?;
        let mut shape = Shape::packed(row, rows, slices);
        if let TexelSide::Memory { pitch, slice, .. } = to {
            (shape.to_pitch, shape.to_slice) = (pitch, slice);
        }
        if let TexelSide::Memory { pitch, slice, .. } = from {
            (shape.from_pitch, shape.from_slice) = (pitch, slice);
        }
        place::check(&shape)?;
        if shape.is_empty() {
            return Ok(());
        }
        let size = [row, rows, slices];
        let to = self.side(&session, to, size, place::span(shape.to_span())?, Access::ReadWrite)?;
        let from = self.side(&session, from, size, place::span(shape.from_span())?, Access::Read)?;
        let wait = wait || matches!(to, Side::Memory(_, true));
        let from = match from {
            Side::Memory(place, true) if !wait => Side::Memory(place.captured(&shape)?, true),
            other => other,
        };
        let point = push(&session, lane, to, from, shape)?;
        if wait {
            session.wait(point)?;
        }
        Ok(())
    }
}

/// Appends a copy. Where it splits texels, all of these take the way over the host.
fn push(session: &Arc<Session>, lane: Lane, to: Side, from: Side, mut shape: Shape) -> Result<Point> {
    let step = |to, from, shape| session.push(lane, Vec::new(), Operation::Copy { to, from, shape });
    let Shape { row, rows, slices, .. } = shape;
    let staged = |part: &Part| {
        let whole = Shape::packed(part.row, rows, slices);
        let buffer = HostBuffer::new(place::span(whole.to_span())? as usize);
        let buffer = buffer.ok_or_else(|| Error::out_of_memory("no host memory for a copy"))?;
        step(Place::Staged(buffer.clone(), 0), part.place.clone(), whole)?;
        Ok::<_, Error>((whole, buffer))
    };
    let from = match from {
        Side::Memory(place, _) => place,
        Side::Texels(part) if part.row == row => part.place,
        Side::Texels(part) => {
            let (whole, buffer) = staged(&part)?;
            (shape.from_pitch, shape.from_slice) = (whole.to_pitch, whole.to_slice);
            Place::Staged(buffer, part.skipped)
        }
    };
    match to {
        Side::Memory(place, _) => step(place, from, shape),
        Side::Texels(part) if part.row == row => step(part.place, from, shape),
        Side::Texels(part) => {
            let (whole, buffer) = staged(&part)?;
            (shape.to_pitch, shape.to_slice) = (whole.from_pitch, whole.from_slice);
            step(Place::Staged(buffer.clone(), part.skipped), from, shape)?;
            step(part.place, Place::Staged(buffer, 0), whole)
        }
    }
}
