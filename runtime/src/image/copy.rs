//! Copies from and to arrays.

use super::Array;
use crate::capture::Target;
use crate::handle::Handle;
use crate::place::Place;
use crate::queue::Operation;
use crate::session::Session;
use crate::stream::StreamRef;
use crate::system::CopyAsked;
use crate::{Error, Result, Runtime, place};
use hetgpu_device::{Access, HostBuffer, ImagePlace, Queue, Shape};

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
#[derive(Clone, Debug)]
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

    pub fn texel_bytes(&self) -> u64 {
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
#[derive(Clone, Debug)]
enum Side {
    /// With whether it is memory that the program may reuse as soon as a call returns.
    Memory(Place, bool),
    Texels(Part),
}

impl Side {
    fn place(&self) -> &Place {
        match self {
            Self::Memory(place, _) | Self::Texels(Part { place, .. }) => place,
        }
    }
}

/// A copy of texels that was checked.
#[derive(Clone, Debug)]
pub(crate) struct PreparedTexels {
    to: Side,
    from: Side,
    pub(crate) shape: Shape,
}

/// One piece of a copy.
pub(crate) struct CopyStep {
    pub(crate) to: Place,
    pub(crate) from: Place,
    pub(crate) shape: Shape,
}

impl PreparedTexels {
    /// Destination and source.
    pub(crate) fn places(&self) -> (&Place, &Place) {
        (self.to.place(), self.from.place())
    }

    /// What to do, one after the other. Where the copy splits texels, all of these take the way over the host.
    pub(crate) fn steps(&self) -> Result<Vec<CopyStep>> {
        let mut shape = self.shape;
        let Shape { row, rows, slices, .. } = shape;
        let mut steps = Vec::with_capacity(1);
        let mut staged = |part: &Part| {
            let whole = Shape::packed(part.row, rows, slices);
            let buffer = HostBuffer::new(place::span(whole.to_span())? as usize);
            let buffer = buffer.ok_or_else(|| Error::out_of_memory("no host memory for a copy"))?;
            steps.push(CopyStep { to: Place::Staged(buffer.clone(), 0), from: part.place.clone(), shape: whole });
            Ok::<_, Error>((whole, buffer))
        };
        let from = match &self.from {
            Side::Memory(place, _) => place.clone(),
            Side::Texels(part) if part.row == row => part.place.clone(),
            Side::Texels(part) => {
                let (whole, buffer) = staged(part)?;
                (shape.from_pitch, shape.from_slice) = (whole.to_pitch, whole.to_slice);
                Place::Staged(buffer, part.skipped)
            }
        };
        match &self.to {
            Side::Memory(place, _) => steps.push(CopyStep { to: place.clone(), from, shape }),
            Side::Texels(part) if part.row == row => steps.push(CopyStep { to: part.place.clone(), from, shape }),
            Side::Texels(part) => {
                let (whole, buffer) = staged(part)?;
                (shape.to_pitch, shape.to_slice) = (whole.from_pitch, whole.from_slice);
                steps.push(CopyStep { to: Place::Staged(buffer.clone(), part.skipped), from, shape });
                steps.push(CopyStep { to: part.place.clone(), from: Place::Staged(buffer, 0), shape: whole });
            }
        }
        Ok(steps)
    }

    /// The copy with the present contents of memory that the program may reuse.
    pub(crate) fn captured(mut self) -> Result<Self> {
        if let Side::Memory(place, true) = self.from {
            self.from = Side::Memory(place.captured(&self.shape)?, true);
        }
        Ok(self)
    }

    fn to_pageable(&self) -> bool {
        matches!(self.to, Side::Memory(_, true))
    }
}

impl CopyStep {
    pub(crate) fn run(&self, queue: &dyn Queue) -> Result<()> {
        place::copy(queue, &self.to, &self.from, &self.shape)
    }

    /// Whether a device that works on its own needs nobody for it: it is told of all sides, and there is no second device.
    pub(crate) fn may_follow(&self) -> bool {
        let host = |place: &Place| matches!(place, Place::Host(_) | Place::Bytes(_));
        let device = |place: &Place| matches!(place, Place::Device(_));
        let (to, from) = (&self.to, &self.from);
        device(to) && (device(from) || host(from)) || host(to) && device(from)
    }

    pub(crate) fn operation(self) -> Operation {
        Operation::Copy(Box::new(self))
    }
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

    /// Checks a copy; none where nothing is copied.
    pub(crate) fn prepare_texels(&self, session: &Session, copy: &TexelCopy) -> Result<Option<PreparedTexels>> {
        let TexelCopy { to, from, row, rows, slices } = *copy;
        let mut shape = Shape::packed(row, rows, slices);
        if let TexelSide::Memory { pitch, slice, .. } = to {
            (shape.to_pitch, shape.to_slice) = (pitch, slice);
        }
        if let TexelSide::Memory { pitch, slice, .. } = from {
            (shape.from_pitch, shape.from_slice) = (pitch, slice);
        }
        place::check(&shape)?;
        if shape.is_empty() {
            return Ok(None);
        }
        let size = [row, rows, slices];
        let to = self.side(session, to, size, place::span(shape.to_span())?, Access::ReadWrite)?;
        let from = self.side(session, from, size, place::span(shape.from_span())?, Access::Read)?;
        Ok(Some(PreparedTexels { to, from, shape }))
    }

    /// Copies texels; waits as `copy` does.
    pub fn copy_texels(&self, stream: StreamRef, copy: TexelCopy, wait: bool) -> Result<()> {
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            Target::Capture(capture) => return self.capture_copy(&capture, CopyAsked::Texels(copy), wait),
        };
        let Some(mut prepared) = self.prepare_texels(&session, &copy)? else { return Ok(()) };
        let wait = wait || prepared.to_pageable();
        if !wait {
            prepared = prepared.captured()?;
        }
        let mut last = None;
        for step in prepared.steps()? {
            last = Some(session.push(lane, Vec::new(), step.operation())?);
        }
        match last {
            Some(point) if wait => session.wait(point),
            _ => Ok(()),
        }
    }
}
