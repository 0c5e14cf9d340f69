//! Where a copy reads or writes, and how many rows of what length.

use crate::host::HostRange;
use crate::{Error, Result, sys};
use hetgpu_device::Device;

/// One side of a copy.
#[derive(Clone, Debug)]
pub enum Place {
    /// Memory of the device.
    Device(u64),
    /// Memory of the host, by address.
    Host(u64),
    /// Bytes taken from the host when the copy was asked for.
    Bytes(Vec<u8>),
}

/// Rows of `row` bytes, `rows` to a slice, `slices` of them; pitches in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub row: u64,
    pub rows: u64,
    pub slices: u64,
    /// From one row to the next, at the source and at the destination.
    pub from_pitch: u64,
    pub to_pitch: u64,
    /// From one slice to the next.
    pub from_slice: u64,
    pub to_slice: u64,
}

impl Shape {
    /// One row.
    pub fn line(bytes: u64) -> Self {
        Self { row: bytes, rows: 1, slices: 1, from_pitch: 0, to_pitch: 0, from_slice: 0, to_slice: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.row == 0 || self.rows == 0 || self.slices == 0
    }

    fn span(&self, pitch: u64, slice: u64) -> Result<u64> {
        if self.is_empty() {
            return Ok(0);
        }
        (self.slices - 1)
            .checked_mul(slice)
            .zip((self.rows - 1).checked_mul(pitch))
            .and_then(|(slices, rows)| slices.checked_add(rows)?.checked_add(self.row))
            .ok_or_else(|| Error::invalid("a copy that reaches past the end of the address space"))
    }

    /// Bytes from the first to the last that the source side touches.
    pub fn from_span(&self) -> Result<u64> {
        self.span(self.from_pitch, self.from_slice)
    }

    /// Bytes from the first to the last that the destination side touches.
    pub fn to_span(&self) -> Result<u64> {
        self.span(self.to_pitch, self.to_slice)
    }

    /// Fails where rows overlap each other.
    pub fn check(&self) -> Result<()> {
        let pitch = |pitch| self.rows <= 1 || pitch >= self.row;
        match pitch(self.from_pitch) && pitch(self.to_pitch) {
            true => Ok(()),
            false => Err(Error::invalid("a pitch smaller than the row that is copied")),
        }
    }

    fn is_line(&self) -> bool {
        self.rows == 1 && self.slices == 1
    }
}

/// Performs a copy.
pub(crate) fn copy(device: &dyn Device, to: &Place, from: &Place, shape: &Shape) -> Result<()> {
    if shape.is_empty() {
        return Ok(());
    }
    if shape.is_line() {
        return line(device, to, 0, from, 0, shape.row);
    }
    for slice in 0..shape.slices {
        for row in 0..shape.rows {
            let to_offset = slice * shape.to_slice + row * shape.to_pitch;
            let from_offset = slice * shape.from_slice + row * shape.from_pitch;
            line(device, to, to_offset, from, from_offset, shape.row)?;
        }
    }
    Ok(())
}

fn line(device: &dyn Device, to: &Place, to_offset: u64, from: &Place, from_offset: u64, bytes: u64) -> Result<()> {
    match (to, from) {
        (Place::Device(to), Place::Device(from)) => device.copy(to + to_offset, from + from_offset, bytes)?,
        (Place::Host(to), Place::Host(from)) => sys::copy(to + to_offset, from + from_offset, bytes),
        (Place::Device(to), Place::Bytes(data)) => device.write(to + to_offset, part(data, from_offset, bytes)?)?,
        (Place::Host(to), Place::Bytes(data)) => sys::write(to + to_offset, part(data, from_offset, bytes)?),
        (Place::Device(to), Place::Host(from)) => {
            in_pieces(bytes, |offset, piece| {
                sys::read(from + from_offset + offset, piece);
                Ok(device.write(to + to_offset + offset, piece)?)
            })?;
        }
        (Place::Host(to), Place::Device(from)) => {
            in_pieces(bytes, |offset, piece| {
                device.read(from + from_offset + offset, piece)?;
                sys::write(to + to_offset + offset, piece);
                Ok(())
            })?;
        }
        (Place::Bytes(_), _) => return Err(Error::invalid("bytes cannot be the destination of a copy")),
    }
    Ok(())
}

fn part(data: &[u8], offset: u64, bytes: u64) -> Result<&[u8]> {
    let end = (offset + bytes) as usize;
    data.get(offset as usize..end).ok_or_else(|| Error::invalid("fewer bytes than the copy wants"))
}

/// Runs a copy between host and device through a buffer of bounded size: the host side may be written by other threads
/// while it is copied, so that it must never be seen as a slice.
fn in_pieces(bytes: u64, mut copy: impl FnMut(u64, &mut [u8]) -> Result<()>) -> Result<()> {
    const PIECE: u64 = 1 << 20;
    let mut buffer = vec![0; bytes.min(PIECE) as usize];
    let mut offset = 0;
    while offset < bytes {
        let piece = (bytes - offset).min(PIECE);
        copy(offset, &mut buffer[..piece as usize])?;
        offset += piece;
    }
    Ok(())
}

impl Place {
    /// The source with its present contents, for a copy that must not see later ones.
    pub(crate) fn captured(self, shape: &Shape) -> Result<Self> {
        Ok(match self {
            Self::Host(address) => Self::Bytes(HostRange::new(address, shape.from_span()?).to_vec()),
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_end_at_the_last_byte_touched() {
        let shape = Shape { rows: 3, from_pitch: 16, to_pitch: 8, ..Shape::line(8) };
        assert_eq!((shape.from_span().unwrap(), shape.to_span().unwrap()), (40, 24));
        let cube = Shape { slices: 2, from_slice: 64, ..shape };
        assert_eq!(cube.from_span().unwrap(), 104);
        assert_eq!(Shape { rows: 0, ..shape }.from_span().unwrap(), 0);
        assert!(Shape { rows: u64::MAX, ..shape }.from_span().is_err());
        assert!(Shape { to_pitch: 7, ..shape }.check().is_err());
        assert!(Shape { to_pitch: 0, rows: 1, ..shape }.check().is_ok());
    }
}
