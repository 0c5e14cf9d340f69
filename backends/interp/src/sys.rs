//! Host memory that kernels reach: the only unsafe code of this device.

use hetgpu_device::{Access, HostSpan};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

struct Window {
    host: HostSpan,
    access: Access,
}

/// Ranges of host memory: at their own addresses, or at others that stand for them.
#[derive(Default)]
pub(crate) struct Windows(BTreeMap<u64, Window>);

impl Windows {
    pub(crate) fn open(&mut self, host: HostSpan) {
        self.open_at(host.start().addr() as u64, host, Access::ReadWrite);
    }

    pub(crate) fn open_at(&mut self, at: u64, host: HostSpan, access: Access) {
        self.0.insert(at, Window { host, access });
    }

    /// Says what may be done with what is at an address. Whether something is.
    pub(crate) fn allow(&mut self, at: u64, access: Access) -> bool {
        self.0.get_mut(&at).map(|window| window.access = access).is_some()
    }

    pub(crate) fn close(&mut self, at: u64) -> bool {
        self.0.remove(&at).is_some()
    }

    pub(crate) fn meets(&self, at: u64, end: u64) -> bool {
        self.0.range(..end).next_back().is_some_and(|(&start, window)| start + window.host.bytes() as u64 > at)
    }

    /// The pointer to what is at an address, and how many of `most` bytes lie there, if so much may be done with them.
    fn locate(&self, at: u64, most: usize, access: Access) -> Option<(*mut u8, usize)> {
        let (&start, Window { host, access: allowed }) = self.0.range(..=at).next_back()?;
        let offset = usize::try_from(at - start).ok()?;
        let fits = *allowed >= access && offset <= host.bytes() && (offset < host.bytes() || most == 0);
        fits.then(|| (host.start().wrapping_add(offset), most.min(host.bytes() - offset)))
    }

    /// Whether windows without a gap between them hold all of a range.
    fn hold(&self, mut at: u64, mut bytes: usize, access: Access) -> bool {
        while let Some((_, here)) = self.locate(at, bytes, access) {
            (at, bytes) = (at + here as u64, bytes - here);
            if bytes == 0 {
                return true;
            }
        }
        false
    }

    /// Does something with each part of a range that lies in one window: its place in the range, and its pointer. Nothing where
    /// windows do not hold all of it.
    fn each(&self, at: u64, bytes: usize, access: Access, mut act: impl FnMut(usize, usize, *mut u8)) -> bool {
        match self.locate(at, bytes, access) {
            Some((place, here)) if here == bytes => act(0, bytes, place),
            Some(_) if self.hold(at, bytes, access) => {
                let mut done = 0;
                while let Some((place, here)) = self.locate(at + done as u64, bytes - done, access) {
                    act(done, here, place);
                    done += here;
                    if done == bytes {
                        break;
                    }
                }
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> bool {
        let bytes = out.len();
        self.each(at, bytes, Access::Read, |offset, bytes, from| load(from, &mut out[offset..offset + bytes]))
    }

    pub(crate) fn write(&self, at: u64, data: &[u8]) -> bool {
        let bytes = data.len();
        self.each(at, bytes, Access::ReadWrite, |offset, bytes, to| store(to, &data[offset..offset + bytes]))
    }
}

/// `from` is one that `Windows::locate` found, for as many bytes.
fn load(from: *mut u8, out: &mut [u8]) {
    let aligned = from.addr().is_multiple_of(out.len().max(1));
    // SAFETY: `locate` found the range inside a window, which is readable by the contract of `HostSpan`; the casts to wider types
    // are of aligned pointers; the host may write at the same time, which atomic accesses allow.
    unsafe {
        match (out.len(), aligned) {
            (2, true) => {
                out.copy_from_slice(&AtomicU16::from_ptr(from.cast()).load(Ordering::Acquire).to_ne_bytes());
            }
            (4, true) => {
                out.copy_from_slice(&AtomicU32::from_ptr(from.cast()).load(Ordering::Acquire).to_ne_bytes());
            }
            (8, true) => {
                out.copy_from_slice(&AtomicU64::from_ptr(from.cast()).load(Ordering::Acquire).to_ne_bytes());
            }
            _ => {
                for (offset, byte) in out.iter_mut().enumerate() {
                    *byte = AtomicU8::from_ptr(from.add(offset)).load(Ordering::Acquire);
                }
            }
        }
    }
}

/// As `load`.
fn store(to: *mut u8, data: &[u8]) {
    let aligned = to.addr().is_multiple_of(data.len().max(1));
    // SAFETY: as in `read`; the range is writable by the same contract.
    unsafe {
        match (data, aligned) {
            (&[a, b], true) => {
                AtomicU16::from_ptr(to.cast()).store(u16::from_ne_bytes([a, b]), Ordering::Release);
            }
            (&[a, b, c, d], true) => {
                AtomicU32::from_ptr(to.cast()).store(u32::from_ne_bytes([a, b, c, d]), Ordering::Release);
            }
            (&[a, b, c, d, e, f, g, h], true) => {
                AtomicU64::from_ptr(to.cast()).store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]), Ordering::Release);
            }
            _ => {
                for (offset, byte) in data.iter().enumerate() {
                    AtomicU8::from_ptr(to.add(offset)).store(*byte, Ordering::Release);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_of_every_size_and_alignment_stay_inside() {
        let mut host = vec![0u8; 64];
        let base = host.as_mut_ptr().addr() as u64;
        let mut windows = Windows::default();
        // SAFETY: `host` outlives `windows`.
        windows.open(unsafe { HostSpan::new(host.as_mut_ptr(), 32) });
        for (at, bytes) in [(0, 1), (2, 2), (3, 2), (4, 4), (5, 4), (8, 8), (9, 8), (16, 16), (0, 32), (31, 1)] {
            let data: Vec<u8> = (1..=bytes as u8).collect();
            assert!(windows.write(base + at, &data), "{bytes} at {at}");
            let mut back = vec![0; bytes];
            assert!(windows.read(base + at, &mut back), "{bytes} at {at}");
            assert_eq!(back, data);
        }
        for (at, bytes) in [(32u64, 1usize), (31, 2), (25, 8), (0, 33)] {
            assert!(!windows.write(base + at, &vec![1; bytes]), "{bytes} at {at}");
        }
        assert!(!windows.read(base - 1, &mut [0]));
        assert!(windows.close(base) && !windows.close(base));
        assert!(!windows.read(base, &mut [0]));
    }
}
