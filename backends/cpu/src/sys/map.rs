//! Address space.

use super::track::{self, Tracker};
use hetgpu_device::{Access, MemoryFile as File};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
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
/// Held behind `PAGES`. None where no pages are watched: who saves the process need not know of it.
static TRACKER: Mutex<Option<Tracker>> = Mutex::new(None);
/// What is smaller counts as written: it shares pages, and is soon looked at.
const WATCHED: u64 = 64 << 10;

#[derive(Clone, Copy, Debug)]
struct Pages {
    bytes: u64,
    /// The addresses were reserved by whoever hands them out, and go back to that state.
    reserved: bool,
    /// The system notes which of them are written.
    watched: bool,
}

fn pages() -> MutexGuard<'static, BTreeMap<u64, Pages>> {
    PAGES.lock().unwrap_or_else(|e| e.into_inner())
}

fn tracker() -> MutexGuard<'static, Option<Tracker>> {
    TRACKER.lock().unwrap_or_else(|e| e.into_inner())
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
    all.insert(at, Pages { bytes, reserved, watched: false });
    Ok(())
}

/// Puts a file in the place of all pages of a range, with their contents. Nobody writes to them meanwhile.
pub(crate) fn move_to(file: &File, at: u64, bytes: u64) -> io::Result<()> {
    let mut all = pages();
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
    show_in(&mut all, file, at, bytes)
}

/// Puts a file in the place of all pages of a range, and what it holds in that of their contents. Nobody uses them
/// meanwhile.
pub(crate) fn show(file: &File, at: u64, bytes: u64) -> io::Result<()> {
    show_in(&mut pages(), file, at, bytes)
}

fn show_in(all: &mut BTreeMap<u64, Pages>, file: &File, at: u64, bytes: u64) -> io::Result<()> {
    for (&start, here) in all.range_mut(at..at + bytes) {
        let (access, kind, descriptor, offset) = Source::File(file, start - at, Access::ReadWrite).parts();
        here.watched = false;
        let place = ptr::without_provenance_mut::<libc::c_void>(start as usize);
        // SAFETY: the range was mapped by `map`; the file has its contents now.
        let got = unsafe { libc::mmap(place, here.bytes as usize, access, kind | libc::MAP_FIXED, descriptor, offset) };
        if got == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Puts something else in the place of what `map` put at an address.
pub(crate) fn exchange(at: u64, source: Source<'_>) -> io::Result<()> {
    let mut all = pages();
    let here = all.get_mut(&at).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    let (access, kind, file, offset) = source.parts();
    let place = ptr::without_provenance_mut::<libc::c_void>(at as usize);
    here.watched = false;
    // SAFETY: the range was mapped by `map`, and nothing uses it yet.
    let got = unsafe { libc::mmap(place, here.bytes as usize, access, kind | libc::MAP_FIXED, file, offset) };
    if got == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
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

/// Memory from this on is emptied by several threads before it is taken away, which the system does by one: a job that is to let its
/// devices go stands still meanwhile.
const MUCH: u64 = 256 << 20;
/// What a thread empties at once.
const EMPTIED: u64 = 32 << 20;

/// Gives back the pages of a range that nothing uses any more.
fn empty(at: u64, bytes: u64) {
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let from = next.fetch_add(EMPTIED, Ordering::Relaxed);
            if from >= bytes {
                return;
            }
            let place = ptr::without_provenance_mut::<libc::c_void>((at + from) as usize);
            // SAFETY: the caller's range, which nothing uses; where the system does not want to, it goes as a whole.
            unsafe { libc::madvise(place, EMPTIED.min(bytes - from) as usize, libc::MADV_DONTNEED) };
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |all| all.get().min(8));
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(std::thread::Builder::new().spawn_scoped(scope, work)));
        work();
    });
}

/// Takes away what `map` put at an address.
pub(crate) fn unmap(at: u64) {
    let mut all = pages();
    let Some(gone) = all.remove(&at) else { return };
    if gone.bytes >= MUCH {
        empty(at, gone.bytes);
    }
    let place = ptr::without_provenance_mut::<libc::c_void>(at as usize);
    // SAFETY: the range was mapped by `map`, and by the contract of `Device::unmap` nothing uses it.
    unsafe {
        if gone.reserved {
            libc::mmap(place, gone.bytes as usize, libc::PROT_NONE, ANONYMOUS | libc::MAP_FIXED, -1, 0);
        } else {
            libc::munmap(place, gone.bytes as usize);
        }
    }
    if gone.watched && !all.values().any(|pages| pages.watched) {
        *tracker() = None;
    }
}

/// What may have been written of a range, in whole pages, since this was asked for it the last time; all of it at the first time.
pub(crate) fn written(at: u64, bytes: u64) -> io::Result<Vec<Range<u64>>> {
    let mut all = pages();
    let mut tracker = tracker();
    let mut out = Vec::new();
    let end = at + bytes;
    // The one that begins before it may reach into it.
    let first = all.range(..=at).next_back().map_or(at, |(&start, _)| start);
    for (&start, here) in all.range_mut(first..end).filter(|(start, here)| **start + here.bytes > at) {
        let (from, to) = (start.max(at / PAGE * PAGE), (start + here.bytes).min(end.next_multiple_of(PAGE)));
        if here.bytes < WATCHED {
            out.push(from..to);
            continue;
        }
        if !here.watched {
            match &*tracker {
                Some(tracker) => tracker,
                None => &*tracker.insert(Tracker::new()?),
            }
            .watch(start, here.bytes)?;
            here.watched = true;
            track::take(start, here.bytes, &mut Vec::new())?;
            out.push(from..to);
            continue;
        }
        track::take(from, to - from, &mut out)?;
    }
    Ok(out)
}

/// Puts pages that came with a file into larger ones, as far as the system has such, while they are used.
pub(crate) fn settle(at: u64, bytes: u64) {
    let work = move || {
        for piece in (at.next_multiple_of(LARGE)..(at + bytes) / LARGE * LARGE).step_by(LARGE as usize) {
            // SAFETY: what memory holds does not change by it, whosever it is by now.
            unsafe { libc::madvise(ptr::without_provenance_mut(piece as usize), LARGE as usize, libc::MADV_COLLAPSE) };
        }
    };
    // Nothing but speed depends on it.
    let _ = std::thread::Builder::new().name("hetgpu-memory".into()).spawn(work);
}

/// Physical memory in bytes.
pub(crate) fn host_memory() -> Option<u64> {
    // SAFETY: queries without side effects.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(size).ok()?)
}
