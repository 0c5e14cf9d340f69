//! Where a copy reads or writes.

use crate::host::HostRange;
use crate::{Error, Result, sys};
use hetgpu_device::{HostBuffer, Queue, Shape, Transfer, Work};

/// One side of a copy.
#[derive(Clone, Debug)]
pub enum Place {
    /// Memory of the device.
    Device(u64),
    /// Memory of the host, by address.
    Host(u64),
    /// Bytes taken from the host when the copy was asked for.
    Bytes(HostBuffer),
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

impl Place {
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
            Self::Device(at) => hetgpu_device::Place::Device(*at),
            Self::Host(at) => hetgpu_device::Place::Host(sys::span(*at, bytes)),
            Self::Bytes(buffer) => hetgpu_device::Place::Host(buffer.span()),
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
