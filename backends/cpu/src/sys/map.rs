//! Address space.

use super::file::File;
use hetgpu_device::Access;
use std::collections::BTreeMap;
use std::io;
use std::ptr;
use std::sync::{Mutex, MutexGuard};

/// What the host maps at a time.
pub(crate) const PAGE: u64 = 4096;
/// From this size on memory is asked for in large pages.
const LARGE: u64 = 2 << 20;

const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// Addresses that nobody else gets, inaccessible until opened.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: *mut u8,
    bytes: usize,
}

// SAFETY: it is a range of addresses of its own; who accesses it is the business of those who hand out pointers.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}

impl Reservation {
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh mapping at an address that the system chooses touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, ANONYMOUS, -1, 0) };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { base: base.cast(), bytes }) }
    }

    /// Makes a part accessible or inaccessible. Both ends are multiples of [`PAGE`].
    pub(crate) fn protect(&self, offset: usize, bytes: usize, accessible: bool) -> io::Result<()> {
        assert!(offset <= self.bytes && bytes <= self.bytes - offset, "outside of the reservation");
        let access = if accessible { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
        // SAFETY: the range lies inside this reservation, which is ours alone.
        match unsafe { libc::mprotect(self.base.add(offset).cast(), bytes, access) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Gives the memory behind a part back; it reads as zeros then.
    pub(crate) fn forget(&self, offset: usize, bytes: usize) {
        assert!(offset <= self.bytes && bytes <= self.bytes - offset, "outside of the reservation");
        // SAFETY: as in `protect`; nothing lives there any more where this is called. Failing loses only memory.
        unsafe { libc::madvise(self.base.add(offset).cast(), bytes, libc::MADV_DONTNEED) };
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    pub(crate) fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.base.addr() as u64) < self.bytes as u64
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and its owner has stopped using it.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

/// Pages of device memory of this process, by first address: how many, and what lay there before.
static PAGES: Mutex<BTreeMap<u64, Pages>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy, Debug)]
struct Pages {
    bytes: u64,
    /// The addresses were reserved by whoever hands them out, and go back to that state.
    reserved: bool,
}

fn pages() -> MutexGuard<'static, BTreeMap<u64, Pages>> {
    PAGES.lock().unwrap_or_else(|e| e.into_inner())
}

/// What memory at an address comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'f> {
    /// Fresh pages.
    Zeros,
    /// A part of a file, and what may be done with it.
    File(&'f File, u64, Access),
}

impl Source<'_> {
    /// For `mmap`: protection, flags, file, offset.
    fn parts(self) -> (i32, i32, i32, i64) {
        match self {
            Self::Zeros => (protection(Access::ReadWrite), ANONYMOUS, -1, 0),
            Self::File(file, offset, access) => {
                (protection(access), libc::MAP_SHARED | libc::MAP_NORESERVE, file.descriptor(), offset as i64)
            }
        }
    }
}

fn protection(access: Access) -> i32 {
    match access {
        Access::None => libc::PROT_NONE,
        Access::Read => libc::PROT_READ,
        Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
    }
}

/// Makes memory appear at an address. Whoever hands out addresses may have reserved them; where another device of this
/// process has memory, it is an error.
pub(crate) fn map(at: u64, bytes: u64, source: Source<'_>) -> io::Result<()> {
    let mut all = pages();
    let end = at.checked_add(bytes).filter(|_| at.is_multiple_of(PAGE) && bytes.is_multiple_of(PAGE) && bytes > 0);
    let end = end.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    if all.range(..end).next_back().is_some_and(|(&start, p)| start + p.bytes > at) {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    let (access, kind, file, offset) = source.parts();
    let place = ptr::without_provenance_mut::<libc::c_void>(at as usize);
    let new = |how: i32| {
        // SAFETY: either nothing is replaced, or the range is one that the runtime has said is this device's: by the
        // contract of `Device::map` nothing but its own reservation can be there.
        let got = unsafe { libc::mmap(place, bytes as usize, access, kind | how, file, offset) };
        if got == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        if got != place {
            // SAFETY: the mapping was made just now.
            unsafe { libc::munmap(got, bytes as usize) };
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        Ok(())
    };
    let reserved = match new(libc::MAP_FIXED_NOREPLACE) {
        Ok(()) => false,
        Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {
            new(libc::MAP_FIXED)?;
            true
        }
        Err(e) => return Err(e),
    };
    if bytes >= LARGE {
        // SAFETY: a hint on memory mapped just now.
        unsafe { libc::madvise(place, bytes as usize, libc::MADV_HUGEPAGE) };
    }
    all.insert(at, Pages { bytes, reserved });
    Ok(())
}

/// Puts a file in the place of all pages of a range, with their contents. Nobody writes to them meanwhile.
pub(crate) fn move_to(file: &File, at: u64, bytes: u64) -> io::Result<()> {
    let all = pages();
    for (&start, here) in all.range(at..at + bytes) {
        let (first, offset) = (ptr::with_exposed_provenance::<u8>(start as usize), start - at);
        for page in (0..here.bytes).step_by(PAGE as usize) {
            // SAFETY: the page was mapped by `map`, and by the contract of this function nobody writes to it.
            let contents = unsafe { std::slice::from_raw_parts(first.add(page as usize), PAGE as usize) };
            if contents.iter().any(|&byte| byte != 0) {
                file.write(offset + page, contents)?;
            }
        }
    }
    for (&start, here) in all.range(at..at + bytes) {
        let (access, kind, descriptor, offset) = Source::File(file, start - at, Access::ReadWrite).parts();
        let place = ptr::without_provenance_mut::<libc::c_void>(start as usize);
        // SAFETY: the range was mapped by `map`; the file has its contents now.
        let got = unsafe { libc::mmap(place, here.bytes as usize, access, kind | libc::MAP_FIXED, descriptor, offset) };
        if got == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Changes what may be done with what `map` put at an address.
pub(crate) fn protect(at: u64, access: Access) -> io::Result<()> {
    let all = pages();
    let here = all.get(&at).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    let place = ptr::without_provenance_mut::<libc::c_void>(at as usize);
    // SAFETY: the range was mapped by `map`.
    match unsafe { libc::mprotect(place, here.bytes as usize, protection(access)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes away what `map` put at an address.
pub(crate) fn unmap(at: u64) {
    let mut all = pages();
    let Some(gone) = all.remove(&at) else { return };
    let place = ptr::without_provenance_mut::<libc::c_void>(at as usize);
    // SAFETY: the range was mapped by `map`, and by the contract of `Device::unmap` nothing uses it.
    unsafe {
        if gone.reserved {
            libc::mmap(place, gone.bytes as usize, libc::PROT_NONE, ANONYMOUS | libc::MAP_FIXED, -1, 0);
        } else {
            libc::munmap(place, gone.bytes as usize);
        }
    }
}

/// Physical memory in bytes.
pub(crate) fn host_memory() -> Option<u64> {
    // SAFETY: queries without side effects.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(size).ok()?)
}
