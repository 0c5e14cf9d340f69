//! Device memory: what is mapped, under which name, and copies of it.

use super::map::{self, PAGE, Reservation};
use hetgpu_device::{DeviceError, ErrorKind, HostSpan};
use hetir::interp::{self, MemoryFault};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ptr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug)]
struct Region {
    bytes: u64,
    name: String,
    backing: Backing,
}

/// What a region's memory is.
#[derive(Debug)]
enum Backing {
    /// Pages at an address that was asked for.
    Pages,
    /// The host's: kept as long as kernels may reach it.
    Host(HostSpan),
    /// At an address that the host chose.
    Anywhere(Reservation),
}

#[derive(Default, Debug)]
struct Table {
    regions: BTreeMap<u64, Region>,
    /// Pages that regions do not fill, and how many share each.
    shared_pages: HashMap<u64, u32>,
    /// Bytes of the device's own regions.
    used: u64,
}

/// The memory of a device. Its addresses are the process's.
#[derive(Debug)]
pub(crate) struct Memory {
    table: RwLock<Table>,
    /// Most bytes of its own regions: the host maps more than it has.
    most: u64,
}

/// A region's pages: those that it fills, and those that it may share with others.
struct Pages {
    whole: std::ops::Range<u64>,
    edges: Vec<u64>,
}

impl Pages {
    fn of(at: u64, bytes: u64) -> Self {
        let (first, end) = (at / PAGE * PAGE, at + bytes);
        let whole = at.next_multiple_of(PAGE)..end / PAGE * PAGE;
        if whole.start >= whole.end {
            let pages = (first..end).step_by(PAGE as usize);
            return Self { whole: 0..0, edges: pages.collect() };
        }
        let edges = [(first, first < whole.start), (whole.end, whole.end < end)];
        Self { whole, edges: edges.iter().filter(|e| e.1).map(|e| e.0).collect() }
    }
}

fn refused(error: &io::Error, at: u64, bytes: u64) -> DeviceError {
    let kind = match error.raw_os_error() {
        Some(libc::EEXIST | libc::EINVAL) => ErrorKind::InvalidRequest,
        _ => ErrorKind::OutOfMemory,
    };
    DeviceError::new(kind, format!("{bytes} bytes cannot be mapped at {at:#x}: {error}"))
}

impl Table {
    /// The start of the region that holds all of a range.
    fn find(&self, at: u64, bytes: u64) -> Option<(u64, &Region)> {
        let (&start, region) = self.regions.range(..=at).next_back()?;
        let offset = at - start;
        (offset <= region.bytes && region.bytes - offset >= bytes && region.bytes > 0).then_some((start, region))
    }

    fn overlaps(&self, at: u64, end: u64) -> bool {
        self.regions.range(..end).next_back().is_some_and(|(&start, r)| start + r.bytes > at)
    }

    fn nearest(&self, address: u64) -> String {
        let mut best: Option<(u64, String)> = None;
        if let Some((&base, r)) = self.regions.range(..=address).next_back() {
            let inside = address - base < r.bytes;
            let distance = if inside { 0 } else { address - base - r.bytes };
            let place = if inside { "bytes into" } else { "bytes after the end of" };
            let count = if inside { address - base } else { distance };
            best = Some((distance, format!("{count} {place} {:?} ({base:#x}, {} bytes)", r.name, r.bytes)));
        }
        if let Some((&base, r)) = self.regions.range(address..).next()
            && best.as_ref().is_none_or(|(distance, _)| base - address < *distance)
        {
            best = Some((0, format!("{} bytes before {:?} ({base:#x}, {} bytes)", base - address, r.name, r.bytes)));
        }
        best.map(|(_, text)| text).unwrap_or_default()
    }

    fn fault(&self, at: u64) -> MemoryFault {
        let inside = self.find(at, 1).map(|(start, r)| start + r.bytes);
        MemoryFault { address: inside.unwrap_or(at), nearest: self.nearest(at) }
    }
}

impl Memory {
    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// No memory at all yet, and at most so many bytes.
    pub(crate) fn new(most: u64) -> Self {
        Self { table: RwLock::default(), most }
    }

    /// Makes zeroed memory appear.
    pub(crate) fn map(&self, at: u64, bytes: u64, name: &str) -> Result<(), DeviceError> {
        let end = at.checked_add(bytes).filter(|_| bytes > 0);
        let end = end.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "a range that is none"))?;
        let mut table = self.change();
        if table.overlaps(at, end) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("there is memory at {at:#x} already")));
        }
        self.check_room(&table, bytes)?;
        let pages = Pages::of(at, bytes);
        let whole = pages.whole.end - pages.whole.start;
        if whole > 0 {
            map::map(pages.whole.start, whole).map_err(|e| refused(&e, at, bytes))?;
        }
        for (n, &page) in pages.edges.iter().enumerate() {
            let known = table.shared_pages.contains_key(&page);
            if let Err(error) = if known { Ok(()) } else { map::map(page, PAGE) } {
                table.leave(&pages.edges[..n]);
                if whole > 0 {
                    map::unmap(pages.whole.start);
                }
                return Err(refused(&error, at, bytes));
            }
            *table.shared_pages.entry(page).or_default() += 1;
            if known {
                let (from, to) = (page.max(at), (page + PAGE).min(end));
                // SAFETY: the part of the page that is this region's; nothing else names it yet.
                unsafe { ptr::write_bytes(pointer(from), 0, (to - from) as usize) };
            }
        }
        table.regions.insert(at, Region { bytes, name: name.to_owned(), backing: Backing::Pages });
        table.used += bytes;
        Ok(())
    }

    fn check_room(&self, table: &Table, bytes: u64) -> Result<(), DeviceError> {
        let free = self.most - table.used;
        match bytes <= free {
            true => Ok(()),
            false => {
                let message = format!("{bytes} bytes wanted, {free} of {} are free", self.most);
                Err(DeviceError::new(ErrorKind::OutOfMemory, message))
            }
        }
    }

    /// Zeroed memory at an address that no program was told.
    pub(crate) fn place(&self, bytes: u64, name: &str) -> Result<u64, DeviceError> {
        let mut table = self.change();
        self.check_room(&table, bytes)?;
        let pages = bytes.max(1).next_multiple_of(PAGE) as usize;
        let made = Reservation::new(pages).and_then(|memory| memory.protect(0, pages, true).map(|()| memory));
        let memory = made.map_err(|e| refused(&e, 0, bytes))?;
        let at = memory.base().expose_provenance() as u64;
        table.regions.insert(at, Region { bytes, name: name.to_owned(), backing: Backing::Anywhere(memory) });
        table.used += bytes;
        Ok(at)
    }

    /// Makes host memory known.
    pub(crate) fn share(&self, host: HostSpan) -> Result<(), DeviceError> {
        let at = host.start().expose_provenance() as u64;
        let bytes = host.bytes() as u64;
        let mut table = self.change();
        if bytes > 0 && table.overlaps(at, at + bytes) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("there is memory at {at:#x} already")));
        }
        table.regions.insert(at, Region { bytes, name: "host memory".into(), backing: Backing::Host(host) });
        Ok(())
    }

    /// Takes away what is at an address.
    pub(crate) fn unmap(&self, at: u64) {
        let mut table = self.change();
        let Some(region) = table.regions.remove(&at) else { return };
        match region.backing {
            Backing::Pages => {
                table.used -= region.bytes;
                let pages = Pages::of(at, region.bytes);
                if pages.whole.end > pages.whole.start {
                    map::unmap(pages.whole.start);
                }
                table.leave(&pages.edges);
            }
            Backing::Anywhere(memory) => {
                table.used -= region.bytes;
                drop(memory);
            }
            Backing::Host(span) => drop(span),
        }
    }

    /// Text about what is near an address.
    pub(crate) fn nearest(&self, address: u64) -> String {
        self.table().nearest(address)
    }

    /// Calls `then` with the pointer to a range, which is mapped as long as that lasts.
    fn at<T>(&self, at: u64, bytes: u64, then: impl FnOnce(*mut u8) -> T) -> Result<T, DeviceError> {
        let table = self.table();
        match table.find(at, bytes) {
            Some(_) => Ok(then(pointer(at))),
            None if bytes == 0 => Ok(then(pointer(at))),
            None => Err(DeviceError::new(ErrorKind::IllegalAddress, table.fault(at).to_string())),
        }
    }

    pub(crate) fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.at(at, data.len() as u64, |to| {
            // SAFETY: the range is mapped; others that access it at the same time race by the program's own fault, and
            // `copy` allows `data` to be the same memory.
            unsafe { ptr::copy(data.as_ptr(), to, data.len()) }
        })
    }

    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.at(at, out.len() as u64, |from| {
            // SAFETY: as in `write`.
            unsafe { ptr::copy(from, out.as_mut_ptr(), out.len()) }
        })
    }

    pub(crate) fn write_from(&self, at: u64, host: &HostSpan) -> Result<(), DeviceError> {
        self.at(at, host.bytes() as u64, |to| {
            // SAFETY: as in `write`; the span is readable by its contract.
            unsafe { ptr::copy(host.start(), to, host.bytes()) }
        })
    }

    pub(crate) fn read_to(&self, at: u64, host: &HostSpan) -> Result<(), DeviceError> {
        self.at(at, host.bytes() as u64, |from| {
            // SAFETY: as in `write`; the span is writable by its contract.
            unsafe { ptr::copy(from, host.start(), host.bytes()) }
        })
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        self.at(from, bytes, |_| ())?;
        self.at(to, bytes, |to| {
            // SAFETY: both ranges are mapped, as nothing that is in use is unmapped; they may overlap.
            unsafe { ptr::copy(pointer(from), to, bytes as usize) }
        })
    }

    pub(crate) fn fill(&self, at: u64, pattern: &[u8], count: u64) -> Result<(), DeviceError> {
        /// So much is copied at once: it stays in the first cache.
        const PIECE: u64 = 16 << 10;
        let bytes = count.checked_mul(pattern.len() as u64);
        let bytes = bytes.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "a fill without an end"))?;
        self.at(at, bytes, |to| {
            let first = pattern.first().copied().unwrap_or(0);
            if pattern.iter().all(|&b| b == first) {
                // SAFETY: as in `write`.
                return unsafe { ptr::write_bytes(to, first, bytes as usize) };
            }
            let mut done = (pattern.len() as u64).min(bytes);
            // SAFETY: as in `write`. What is copied lies before where it goes to, and the pattern is this call's own.
            unsafe {
                ptr::copy(pattern.as_ptr(), to, done as usize);
                while done < bytes {
                    let piece = if done < PIECE { done } else { PIECE - PIECE % pattern.len() as u64 };
                    let now = piece.min(bytes - done);
                    ptr::copy_nonoverlapping(to, to.add(done as usize), now as usize);
                    done += now;
                }
            }
        })
    }

    /// The memory as the interpreter sees it.
    pub(crate) fn view(&self) -> View<'_> {
        View { memory: self, last: (0, 0) }
    }
}

impl Table {
    /// Pages that a region does not use any more.
    fn leave(&mut self, pages: &[u64]) {
        for page in pages {
            if let Some(count) = self.shared_pages.get_mut(page) {
                *count -= 1;
                if *count == 0 {
                    self.shared_pages.remove(page);
                    map::unmap(*page);
                }
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let all: Vec<u64> = self.table().regions.keys().copied().collect();
        all.into_iter().for_each(|at| self.unmap(at));
    }
}

fn pointer(at: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(at as usize)
}

/// For the interpreter: accesses are inside of a region, or fail by the name of the nearest one.
pub(crate) struct View<'m> {
    memory: &'m Memory,
    /// The device's own region that was found last: what the interpreter may be lent.
    last: (u64, u64),
}

impl interp::Memory for View<'_> {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        let read = self.memory.at(address, out.len() as u64, |from| {
            // SAFETY: mapped, as `at` has found. Whole words where aligned, as the host may write at the same time.
            unsafe { super::access::load(from, out) }
        });
        read.map_err(|_| self.memory.table().fault(address))
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        let written = self.memory.at(address, data.len() as u64, |to| {
            // SAFETY: as in `read`.
            unsafe { super::access::store(to, data) }
        });
        written.map_err(|_| self.memory.table().fault(address))
    }

    fn bytes(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let inside = |(start, bytes): (u64, u64)| {
            address >= start && address - start <= bytes && bytes - (address - start) >= len as u64 && bytes > 0
        };
        if !inside(self.last) {
            let table = self.memory.table();
            let (start, region) =
                table.find(address, len as u64).filter(|(_, r)| !matches!(r.backing, Backing::Host(_)))?;
            self.last = (start, region.bytes);
        }
        // SAFETY: mapped, and not unmapped while a launch runs. The slice ends before the interpreter does anything else,
        // and is the only reference to device memory that there is: kernels use pointers. Another launch that accesses the
        // same bytes at the same time races by the program's fault.
        Some(unsafe { std::slice::from_raw_parts_mut(pointer(address), len) })
    }
}
