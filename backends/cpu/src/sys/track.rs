//! Which pages were written.
//!
//! The system protects pages against writing, and takes the protection away by itself at the first write to each (`userfaultfd` in its
//! asynchronous mode); asked for pages without it (`PAGEMAP_SCAN`), it protects them again in the same step. No thread of ours has a
//! part in that. Systems older than Linux 6.7, and those that do not let a process do so, are an error.

use super::map::PAGE;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Requests and structures as the system has them on every processor.
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const UFFD_API: u64 = 0xaa;
/// Pages that nobody has touched are noted too, also those of files, and nobody is told.
const FEATURES: u64 = 1 << 12 | 1 << 13 | 1 << 15;
const MODE_WRITES: u64 = 1 << 1;
const PROTECT_MATCHING: u64 = 1 << 0;
const ONLY_WATCHED: u64 = 1 << 1;
const IS_WRITTEN: u64 = 1 << 1;
/// Ranges that are asked for at once.
const RANGES: usize = 4096;

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    bytes: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Found {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    found: u64,
    room: u64,
    most_pages: u64,
    inverted: u64,
    wanted: u64,
    wanted_any: u64,
    returned: u64,
}

/// What pages are watched by. Dropped, it watches none.
#[derive(Debug)]
pub(super) struct Tracker(OwnedFd);

impl Tracker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: the call makes a file and nothing else.
        let made = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | UFFD_USER_MODE_ONLY) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was opened just now and belongs to nobody else.
        let file = unsafe { OwnedFd::from_raw_fd(made as i32) };
        let mut api = Api { api: UFFD_API, features: FEATURES, ioctls: 0 };
        // SAFETY: the structure is the one that the request reads and writes.
        match unsafe { libc::ioctl(file.as_raw_fd(), UFFDIO_API, &mut api) } {
            0 => Ok(Self(file)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Watches a range of whole pages that is mapped. All of it counts as written until it is asked for the first time.
    pub(super) fn watch(&self, at: u64, bytes: u64) -> io::Result<()> {
        let mut register = Register { start: at, bytes, mode: MODE_WRITES, ioctls: 0 };
        // SAFETY: as above. What is in the range does not change, nor who may access it.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_REGISTER, &mut register) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The pages of a range that is watched which were written since this was asked last, in order.
pub(super) fn take(at: u64, bytes: u64, out: &mut Vec<Range<u64>>) -> io::Result<()> {
    let pages = File::open("/proc/self/pagemap")?;
    let mut found = vec![Found::default(); RANGES];
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        flags: PROTECT_MATCHING | ONLY_WATCHED,
        start: at,
        end: at + bytes,
        found: found.as_mut_ptr().expose_provenance() as u64,
        room: RANGES as u64,
        wanted: IS_WRITTEN,
        returned: IS_WRITTEN,
        ..Scan::default()
    };
    loop {
        scan.walk_end = 0;
        // SAFETY: the structure is the one that the request reads and writes, and names room for as many ranges as it says.
        let count = unsafe { libc::ioctl(pages.as_raw_fd(), PAGEMAP_SCAN, &mut scan) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for range in &found[..count.min(RANGES)] {
            match out.last_mut().filter(|last| last.end == range.start) {
                Some(last) => last.end = range.end,
                None => out.push(range.start..range.end),
            }
        }
        if count < RANGES || scan.walk_end <= scan.start || scan.walk_end >= scan.end {
            return Ok(());
        }
        scan.start = scan.walk_end / PAGE * PAGE;
    }
}
