//! Where a copy reads or writes.

use crate::host::HostRange;
use crate::image::Storage;
use crate::{Error, Result, sys};
use hetgpu_device::{Device, HostBuffer, ImagePlace, Queue, Shape, Transfer, Work};
use std::fmt;
use std::sync::Arc;

/// One side of a copy.
#[derive(Clone)]
pub enum Place {
    /// Memory of the device.
    Device(u64),
    /// Memory of another device.
    Elsewhere(Arc<dyn Device>, u64),
    /// Memory of the host, by address.
    Host(u64),
    /// Bytes taken from the host when the copy was asked for.
    Bytes(HostBuffer),
    /// Bytes of a copy on its way, from an offset on.
    Staged(HostBuffer, u64),
    /// Texels of an image, which is kept as long as the copy needs it.
    Image(ImagePlace, Arc<Storage>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(at) => write!(f, "Device({at:#x})"),
            Self::Elsewhere(device, at) => write!(f, "Elsewhere({}, {at:#x})", device.caps().name),
            Self::Host(at) => write!(f, "Host({at:#x})"),
            Self::Bytes(buffer) => buffer.fmt(f),
            Self::Staged(buffer, offset) => write!(f, "{buffer:?} from {offset}"),
            Self::Image(place, _) => place.fmt(f),
        }
    }
}

impl Place {
    /// Whether both are memory of the same device, of the host, or texels.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Device(_), Self::Device(_)) | (Self::Image(..), Self::Image(..)) => true,
            (Self::Elsewhere(one, _), Self::Elsewhere(two, _)) => Arc::ptr_eq(one, two),
            (Self::Host(_) | Self::Bytes(_) | Self::Staged(..), Self::Host(_) | Self::Bytes(_) | Self::Staged(..)) => {
                true
            }
            (Self::Device(_) | Self::Image(..) | Self::Elsewhere(..), _)
            | (Self::Host(_) | Self::Bytes(_) | Self::Staged(..), _) => false,
        }
    }

    /// Whether both are known to be the same place. Bytes that were taken from the host are at none.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Device(one), Self::Device(two)) | (Self::Host(one), Self::Host(two)) => one == two,
            (Self::Elsewhere(_, one), Self::Elsewhere(_, two)) => one == two && self.is_like(other),
            (Self::Image(one, _), Self::Image(two, _)) => one == two,
            (Self::Device(_) | Self::Host(_) | Self::Elsewhere(..) | Self::Image(..), _)
            | (Self::Bytes(_) | Self::Staged(..), _) => false,
        }
    }
}

/// Fails where rows overlap each other.
pub(crate) fn check(shape: &Shape) -> Result<()> {
    let pitch = |pitch| shape.rows <= 1 || pitch >= shape.row;
    match pitch(shape.from_pitch) && pitch(shape.to_pitch) {
        true => Ok(()),
        false => Err(Error::invalid("a pitch smaller than the row that is copied")),
    }
}

/// Bytes from the first to the last that a side of a copy touches.
pub(crate) fn span(bytes: Option<u64>) -> Result<u64> {
    bytes.ok_or_else(|| Error::invalid("a copy that reaches past the end of the address space"))
}

/// Performs a copy.
pub(crate) fn copy(queue: &dyn Queue, to: &Place, from: &Place, shape: &Shape) -> Result<()> {
    if shape.is_empty() {
        return Ok(());
    }
    if matches!(to, Place::Elsewhere(..)) || matches!(from, Place::Elsewhere(..)) {
        return by_way_of_host(queue, to, from, shape);
    }
    let to = to.on_device(span(shape.to_span())?);
    let from = from.on_device(span(shape.from_span())?);
    if let (hetgpu_device::Place::Host(to), hetgpu_device::Place::Host(from)) = (&to, &from) {
        for slice in 0..shape.slices {
            for row in 0..shape.rows {
                let to_offset = slice * shape.to_slice + row * shape.to_pitch;
                let from_offset = slice * shape.from_slice + row * shape.from_pitch;
                to.copy(to_offset as usize, from, from_offset as usize, shape.row as usize);
            }
        }
        return Ok(());
    }
    Ok(queue.run(Work::Copy(Transfer { to, from, shape: *shape }))?)
}

/// Gives the device a copy within its memory.
pub(crate) fn submit(queue: &dyn Queue, to: &Place, from: &Place, shape: &Shape) -> Result<()> {
    if shape.is_empty() { Ok(()) } else { Ok(queue.submit(work(to, from, shape)?)?) }
}

/// A copy as the device is told of it, which knows at least one of its sides.
pub(crate) fn work(to: &Place, from: &Place, shape: &Shape) -> Result<Work> {
    let to = to.on_device(span(shape.to_span())?);
    let from = from.on_device(span(shape.from_span())?);
    Ok(Work::Copy(Transfer { to, from, shape: *shape }))
}

/// Copies between two devices: what each of them knows of is the host.
fn by_way_of_host(queue: &dyn Queue, to: &Place, from: &Place, shape: &Shape) -> Result<()> {
    /// Bytes that are copied at once.
    const PIECE: u64 = 4 << 20;
    let no_memory = || Error::out_of_memory("no host memory for a copy between devices");
    let buffer = HostBuffer::new(shape.row.min(PIECE) as usize).ok_or_else(no_memory)?;
    for slice in 0..shape.slices {
        for row in 0..shape.rows {
            let from_offset = slice * shape.from_slice + row * shape.from_pitch;
            let to_offset = slice * shape.to_slice + row * shape.to_pitch;
            for done in (0..shape.row).step_by(PIECE as usize) {
                let piece = PIECE.min(shape.row - done);
                let bytes = Place::Bytes(buffer.clone());
                one_line(queue, &bytes, 0, from, from_offset + done, piece)?;
                one_line(queue, to, to_offset + done, &bytes, 0, piece)?;
            }
        }
    }
    Ok(())
}

fn one_line(queue: &dyn Queue, to: &Place, to_offset: u64, from: &Place, from_offset: u64, bytes: u64) -> Result<()> {
    let (to, from) = (to.moved(to_offset, bytes)?, from.moved(from_offset, bytes)?);
    match (&to, &from) {
        (Place::Elsewhere(device, at), Place::Bytes(buffer)) => Ok(device.write(*at, &buffer.to_vec())?),
        (Place::Bytes(buffer), Place::Elsewhere(device, at)) => {
            let mut data = vec![0; bytes as usize];
            device.read(*at, &mut data)?;
            buffer.write(0, &data);
            Ok(())
        }
        _ => copy(queue, &to, &from, &Shape::line(bytes)),
    }
}

impl Place {
    /// A part of it.
    fn moved(&self, offset: u64, bytes: u64) -> Result<Self> {
        Ok(match self {
            Self::Device(at) => Self::Device(at + offset),
            Self::Elsewhere(device, at) => Self::Elsewhere(device.clone(), at + offset),
            Self::Host(at) => Self::Host(at + offset),
            Self::Bytes(buffer) => {
                let part = buffer.part(offset as usize, bytes as usize);
                Self::Bytes(part.ok_or_else(|| Error::invalid("a copy past the end of its bytes"))?)
            }
            Self::Staged(buffer, from) => Self::Staged(buffer.clone(), from + offset),
            Self::Image(..) => {
                return Err(Error::NotSupported("a copy between an array and memory of another device".into()));
            }
        })
    }

    /// The source with its present contents, for a copy that must not see later ones.
    pub(crate) fn captured(self, shape: &Shape) -> Result<Self> {
        Ok(match self {
            Self::Host(address) => {
                Self::Bytes(HostBuffer::from(HostRange::new(address, span(shape.from_span())?).to_vec()))
            }
            other => other,
        })
    }

    /// As the device is told; `bytes` is what the copy touches.
    fn on_device(&self, bytes: u64) -> hetgpu_device::Place {
        match self {
            Self::Device(at) | Self::Elsewhere(_, at) => hetgpu_device::Place::Device(*at),
            Self::Host(at) => hetgpu_device::Place::Host(sys::span(*at, bytes)),
            Self::Bytes(buffer) => hetgpu_device::Place::Host(buffer.span()),
            Self::Staged(buffer, offset) => {
                let span = buffer.span();
                hetgpu_device::Place::Host(span.part(*offset as usize, bytes as usize).unwrap_or(span))
            }
            Self::Image(place, _) => hetgpu_device::Place::Image(*place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_do_not_overlap() {
        let shape = Shape { rows: 3, from_pitch: 16, to_pitch: 8, ..Shape::line(8) };
        assert!(check(&shape).is_ok());
        assert!(check(&Shape { to_pitch: 7, ..shape }).is_err());
        assert!(check(&Shape { to_pitch: 0, rows: 1, ..shape }).is_ok());
        assert!(span(Shape { rows: u64::MAX, ..shape }.from_span()).is_err());
    }
}
