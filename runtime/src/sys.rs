//! The only unsafe code of the runtime: host address space and host bytes.

use hetgpu_device::{Device, DeviceError, HostSpan};
use std::ptr;

/// Why the host's address space could not be changed.
pub(crate) type Refused = std::io::Error;

fn map(at: u64, bytes: u64, protection: i32, flags: i32) -> Result<u64, Refused> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | flags;
    // SAFETY: without MAP_FIXED the call can only add a mapping where there is none; MAP_FIXED is passed by `commit`
    // alone, for a range that `reserve` took.
    let got = unsafe { libc::mmap(ptr::without_provenance_mut(at as usize), bytes as usize, protection, flags, -1, 0) };
    if got == libc::MAP_FAILED { Err(Refused::last_os_error()) } else { Ok(got.addr() as u64) }
}

/// Takes a range of host addresses, so that a device address is never also a host object's. Touching it faults.
pub(crate) fn reserve(at: u64, bytes: u64) -> Result<(), Refused> {
    let got = map(at, bytes, libc::PROT_NONE, libc::MAP_FIXED_NOREPLACE)?;
    if got == at {
        return Ok(());
    }
    // A kernel that does not know MAP_FIXED_NOREPLACE takes the address as a hint.
    release(got, bytes);
    Err(Refused::from_raw_os_error(libc::EEXIST))
}

/// Puts zeroed memory into a range that `reserve` took.
pub(crate) fn commit(at: u64, bytes: u64) -> Result<(), Refused> {
    map(at, bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_FIXED).map(drop)
}

/// Zeroed host memory, page aligned, wherever there is room.
pub(crate) fn allocate(bytes: u64) -> Result<u64, Refused> {
    map(0, bytes, libc::PROT_READ | libc::PROT_WRITE, 0)
}

/// Gives back what `reserve` or `allocate` took.
pub(crate) fn release(at: u64, bytes: u64) {
    // SAFETY: callers pass ranges that came from `reserve` or `allocate` and that nothing of ours refers to any more.
    unsafe { libc::munmap(ptr::without_provenance_mut(at as usize), bytes as usize) };
}

/// Makes host memory visible to a device; see `Device::share`.
pub(crate) fn share(device: &dyn Device, host: u64, bytes: u64) -> Result<(), DeviceError> {
    device.share(span(host, bytes))
}

/// Host memory that is shared with a device, or that a copy names.
pub(crate) fn span(host: u64, bytes: u64) -> HostSpan {
    // SAFETY: the memory is the runtime's own (`commit`, `allocate`) and is unmapped from the device before it is
    // released, or the program registered it or named it in a copy, whose contract is to keep it until it unregisters it
    // or the copy is done.
    unsafe { HostSpan::new(ptr::with_exposed_provenance_mut(host as usize), bytes as usize) }
}

/// Copies out of host memory that the program named.
pub(crate) fn read(from: u64, out: &mut [u8]) {
    // SAFETY: the program's contract for a copy is that the source is readable. `out` may overlap it: where a text ends is
    // only known by reading on to the end of its page, and `out` may have been allocated there.
    unsafe { ptr::copy(ptr::with_exposed_provenance(from as usize), out.as_mut_ptr(), out.len()) }
}

/// Copies into host memory that the program named.
pub(crate) fn write(to: u64, data: &[u8]) {
    // SAFETY: the program's contract for a copy is that the destination is writable; `data` is ours.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), ptr::with_exposed_provenance_mut(to as usize), data.len()) }
}

/// Writes to the program's standard output by way of the C library's buffer, where the program's own output waits too.
pub(crate) fn print(bytes: &[u8]) {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
    }
    // SAFETY: the C library sets `stdout` before any code of the program runs; `fwrite` locks it.
    unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), stdout) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_range_is_refused_the_second_time() {
        let at = 0x4fff_0000_0000;
        reserve(at, 0x20_0000).unwrap();
        assert!(reserve(at + 0x10_0000, 0x20_0000).is_err());
        commit(at, 0x1000).unwrap();
        write(at, &[1, 2, 3]);
        let mut back = [9; 4];
        read(at, &mut back);
        assert_eq!(back, [1, 2, 3, 0]);
        release(at, 0x20_0000);
        reserve(at, 0x20_0000).unwrap();
        release(at, 0x20_0000);
    }
}
