//! Host memory that kernels reach: the only unsafe code of this device.

use hetgpu_device::HostSpan;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Ranges of host memory, at their own addresses.
#[derive(Default)]
pub(crate) struct Windows(BTreeMap<u64, HostSpan>);

impl Windows {
    pub(crate) fn open(&mut self, host: HostSpan) {
        self.0.insert(host.start().addr() as u64, host);
    }

    pub(crate) fn close(&mut self, at: u64) -> bool {
        self.0.remove(&at).is_some()
    }

    /// The pointer to an access of `bytes` at `at`, if all of it lies in one window.
    fn locate(&self, at: u64, bytes: usize) -> Option<*mut u8> {
        let (&start, host) = self.0.range(..=at).next_back()?;
        let offset = usize::try_from(at - start).ok()?;
        let fits = offset <= host.bytes() && host.bytes() - offset >= bytes;
        fits.then(|| host.start().wrapping_add(offset))
    }

    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> bool {
        let Some(from) = self.locate(at, out.len()) else { return false };
        let aligned = from.addr() % out.len().max(1) == 0;
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
        true
    }

    pub(crate) fn write(&self, at: u64, data: &[u8]) -> bool {
        let Some(to) = self.locate(at, data.len()) else { return false };
        let aligned = to.addr() % data.len().max(1) == 0;
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
                    AtomicU64::from_ptr(to.cast())
                        .store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]), Ordering::Release);
                }
                _ => {
                    for (offset, byte) in data.iter().enumerate() {
                        AtomicU8::from_ptr(to.add(offset)).store(*byte, Ordering::Release);
                    }
                }
            }
        }
        true
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
