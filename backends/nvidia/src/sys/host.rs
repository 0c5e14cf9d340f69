//! Mappings of this process.

use std::io;
use std::ops::Range;
use std::ptr;

/// Mappings of the host inside of a range, in order.
fn mappings(range: &Range<u64>) -> io::Result<Vec<Range<u64>>> {
    let text = std::fs::read_to_string("/proc/self/maps")?;
    let parse = |line: &str| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
    };
    let all = text.lines().filter_map(parse).filter(|found| found.start < range.end && found.end > range.start);
    Ok(all.map(|found| found.start.max(range.start)..found.end.min(range.end)).collect())
}

fn shift(from: u64, bytes: u64, to: u64) -> io::Result<()> {
    let place = ptr::without_provenance_mut::<libc::c_void>;
    // SAFETY: `aside` passes ranges of one mapping, and destinations that it has reserved or just left.
    let got = unsafe {
        libc::mremap(
            place(from as usize),
            bytes as usize,
            bytes as usize,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
            place(to as usize),
        )
    };
    if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes what the host has mapped in a range away while `act` runs, and puts it back. Nobody touches it meanwhile: it is
/// memory of devices, none of which works, or what keeps addresses free for it.
pub(crate) fn aside<R>(range: Range<u64>, act: impl FnOnce() -> R) -> io::Result<R> {
    let found = mappings(&range)?;
    let bytes = (range.end - range.start) as usize;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh mapping at an address that the system chooses touches nothing that exists.
    let room = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if room == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let place = |at: u64| room.addr() as u64 + (at - range.start);
    let mut moved = 0;
    let mut failed = None;
    for part in &found {
        if let Err(error) = shift(part.start, part.end - part.start, place(part.start)) {
            failed = Some(error);
            break;
        }
        moved += 1;
    }
    let result = failed.is_none().then(act);
    for part in &found[..moved] {
        if let Err(error) = shift(place(part.start), part.end - part.start, part.start) {
            failed.get_or_insert(error);
        }
    }
    // SAFETY: what was put there has been taken away again, but for what could not be.
    unsafe { libc::munmap(room, bytes) };
    match (failed, result) {
        (None, Some(result)) => Ok(result),
        (failed, _) => Err(failed.unwrap_or_else(|| io::Error::other("nothing was done"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_step_aside_and_come_back() {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping of this test's own.
        let memory = unsafe { libc::mmap(ptr::null_mut(), 1 << 20, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        let start = memory.expose_provenance() as u64;
        // SAFETY: both bytes lie in the mapping.
        unsafe {
            memory.cast::<u8>().write(7);
            libc::mprotect(memory.byte_add(8192), 4096, libc::PROT_READ);
        }
        let inside = aside(start..start + (1 << 20), || mappings(&(start..start + (1 << 20))).map(|m| m.len()));
        assert_eq!(inside.unwrap().unwrap(), 0);
        // SAFETY: as above.
        assert_eq!(unsafe { memory.cast::<u8>().read() }, 7);
        assert!(mappings(&(start..start + (1 << 20))).unwrap().len() >= 2);
        // SAFETY: the mapping is this test's own.
        unsafe { libc::munmap(memory, 1 << 20) };
    }
}
