//! Where contents come from when a snapshot is made, and where they go when it is restored.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};

/// The memory of a job that stands still, or a copy of it. Many threads read it at once.
pub trait Source: Sync {
    /// Reads memory at a logical address.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<()>;

    /// True where a range is known to hold what it held in the snapshot that this one is built on. It is not read then.
    fn unchanged(&self, at: u64, bytes: u64) -> bool {
        let _ = (at, bytes);
        false
    }

    /// Nothing of it changes while it is read: what is unchanged beside what was read is so still.
    fn is_still(&self) -> bool {
        false
    }
}

/// The memory of a job that is put back. Many threads write to it at once, each somewhere else.
pub trait Sink: Sync {
    /// Writes memory at a logical address.
    fn write(&self, at: u64, bytes: &[u8]) -> Result<()>;

    /// Makes a range zeros. Where memory is fresh there is nothing to do.
    fn zero(&self, at: u64, bytes: u64) -> Result<()> {
        let zeros = vec![0; bytes.min(1 << 20) as usize];
        let mut done = 0;
        while done < bytes {
            let part = (bytes - done).min(zeros.len() as u64);
            self.write(at + done, &zeros[..part as usize])?;
            done += part;
        }
        Ok(())
    }
}

/// Copies of pieces of memory, by address: for what was set aside while the job goes on.
#[derive(Clone, Debug, Default)]
pub struct Pages(BTreeMap<u64, Vec<u8>>);

impl Pages {
    /// Sets a piece aside. Pieces do not overlap.
    pub fn put(&mut self, at: u64, bytes: Vec<u8>) {
        self.0.insert(at, bytes);
    }
}

impl Source for Pages {
    fn read(&self, mut at: u64, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let piece = self.0.range(..=at).next_back();
            let found = piece.and_then(|(start, bytes)| bytes.get((at - start) as usize..)).unwrap_or_default();
            let count = found.len().min(out.len());
            if count == 0 {
                return Err(ErrorKind::NotFound.into());
            }
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&found[..count]);
            (at, out) = (at + count as u64, later);
        }
        Ok(())
    }
}

/// Bytes at address 0.
impl Source for [u8] {
    fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..out.len()));
        out.copy_from_slice(from.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_across_their_borders() {
        let mut pages = Pages::default();
        pages.put(100, vec![1; 10]);
        pages.put(110, vec![2; 10]);
        let mut out = [0; 6];
        pages.read(107, &mut out).unwrap();
        assert_eq!(out, [1, 1, 1, 2, 2, 2]);
        assert!(pages.read(117, &mut out).is_err() && pages.read(90, &mut out).is_err());
    }
}
