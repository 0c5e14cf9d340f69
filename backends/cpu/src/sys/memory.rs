//! Device memory: what is mapped, under which name, and copies of it.

use super::map::{self, PAGE, Reservation, Source};
use hetgpu_device::MemoryFile as File;
use hetgpu_device::{Access, DeviceError, ErrorKind, HostSpan, PHYSICAL_GRANULARITY, PhysicalId};
use hetir::interp::{self, MemoryFault};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug)]
struct Region {
    bytes: u64,
    name: String,
    backing: Backing,
    access: Access,
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
    /// Physical memory at an address.
    Physical(File),
    /// Another device's, which keeps it as long as this one may reach it.
    Peer,
}

/// A range whose pages are those of a file.
#[derive(Debug)]
struct Exposed {
    bytes: u64,
    file: File,
    id: PhysicalId,
}

#[derive(Default, Debug)]
struct Table {
    regions: BTreeMap<u64, Region>,
    /// Pages that regions do not fill, and how many share each.
    shared_pages: HashMap<u64, u32>,
    /// Bytes of the device's own regions.
    used: u64,
    /// Bytes of physical memory, mapped or not.
    physical_used: Arc<AtomicU64>,
    physical: HashMap<PhysicalId, File>,
    next_physical: u64,
    exposed: BTreeMap<u64, Exposed>,
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

    /// Whether regions with no gap between them hold all of a range, and may be accessed so.
    fn allows(&self, at: u64, bytes: u64, access: Access) -> bool {
        let Some(end) = at.checked_add(bytes) else { return false };
        let mut at = at;
        while let Some((start, region)) = self.find(at, 1) {
            if region.access < access {
                return false;
            }
            at = start + region.bytes;
            if at >= end {
                return true;
            }
        }
        false
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

/// See [`Memory::word`].
pub(crate) struct Word(*const AtomicU32);

// SAFETY: what it points to is atomic.
unsafe impl Send for Word {}
// SAFETY: as above.
unsafe impl Sync for Word {}

impl Word {
    pub(crate) fn address(&self) -> *const u32 {
        self.0.cast()
    }

    /// Whether it is not 0.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        // SAFETY: the range was mapped and aligned, and whoever asked for the word keeps it so.
        unsafe { (*self.0).load(Ordering::Relaxed) != 0 }
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
            table.show(pages.whole.start, whole).map_err(|e| refused(&e, at, bytes))?;
        }
        for (n, &page) in pages.edges.iter().enumerate() {
            let known = table.shared_pages.contains_key(&page);
            if let Err(error) = if known { Ok(()) } else { table.show(page, PAGE) } {
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
        table
            .regions
            .insert(at, Region { bytes, name: name.to_owned(), backing: Backing::Pages, access: Access::ReadWrite });
        table.used += bytes;
        Ok(())
    }

    /// The same, with the contents of a file, whose pages it has from then on.
    pub(crate) fn map_file(&self, at: u64, bytes: u64, name: &str, file: OwnedFd) -> Result<(), DeviceError> {
        let no = |why: &str| Err(DeviceError::new(ErrorKind::NotSupported, format!("memory from a file: {why}")));
        let whole = bytes / PAGE * PAGE;
        if !at.is_multiple_of(PAGE) || whole == 0 {
            return no("it has no pages of its own");
        }
        let Ok(file) = File::lent(file, bytes) else { return no("the file may become shorter, or is too short") };
        let mut rest = vec![0; (bytes - whole) as usize];
        file.read(whole, &mut rest).map_err(|e| refused(&e, at, bytes))?;
        self.map(at, bytes, name)?;
        let shown = map::exchange(at, Source::File(&file, 0, Access::ReadWrite));
        if let Err(error) = shown.map_err(|e| refused(&e, at, bytes)).and_then(|()| self.write(at + whole, &rest)) {
            self.unmap(at);
            return Err(error);
        }
        map::settle(at, whole);
        Ok(())
    }

    /// What may have been written of a range since this was asked the last time; none where that is not known.
    pub(crate) fn written(&self, at: u64, bytes: u64) -> Option<Vec<std::ops::Range<u64>>> {
        let table = self.table();
        let (start, region) = table.find(at, bytes)?;
        // What other processes write is not seen.
        let shared = table.exposed.range(..=at).next_back().is_some_and(|(from, exposed)| at - from < exposed.bytes);
        (matches!(region.backing, Backing::Pages) && !shared).then(|| map::written(start, region.bytes).ok()).flatten()
    }

    fn check_room(&self, table: &Table, bytes: u64) -> Result<(), DeviceError> {
        let free = self.most.saturating_sub(table.used + table.physical_used.load(Ordering::Relaxed));
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
        table.regions.insert(
            at,
            Region { bytes, name: name.to_owned(), backing: Backing::Anywhere(memory), access: Access::ReadWrite },
        );
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
        table.regions.insert(
            at,
            Region { bytes, name: "host memory".into(), backing: Backing::Host(host), access: Access::ReadWrite },
        );
        Ok(())
    }

    /// Whether something begins at an address that is not a peer's.
    pub(crate) fn owns(&self, at: u64) -> bool {
        self.table().regions.get(&at).is_some_and(|region| !matches!(region.backing, Backing::Peer | Backing::Host(_)))
    }

    /// Makes known what another device has mapped at an address.
    pub(crate) fn reach(&self, theirs: &Self, at: u64) -> Result<(), DeviceError> {
        let found = theirs.table().regions.get(&at).map(|region| (region.bytes, region.name.clone()));
        let none = || DeviceError::new(ErrorKind::InvalidRequest, format!("the peer has nothing at {at:#x}"));
        let (bytes, name) = found.ok_or_else(none)?;
        let mut table = self.change();
        if table.overlaps(at, at + bytes) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("there is memory at {at:#x} already")));
        }
        table.regions.insert(at, Region { bytes, name, backing: Backing::Peer, access: Access::ReadWrite });
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
                table.cover(at, region.bytes);
            }
            Backing::Physical(file) => {
                map::unmap(at);
                drop(file);
            }
            Backing::Anywhere(memory) => {
                table.used -= region.bytes;
                drop(memory);
            }
            Backing::Host(span) => drop(span),
            Backing::Peer => {}
        }
    }

    /// Takes over all that another device of this process has mapped, shared or made, in its place. False where it does not
    /// fit, or where something is here already.
    pub(crate) fn adopt(&self, from: &Self) -> bool {
        if ptr::eq(self, from) {
            return false;
        }
        let mut other = from.change();
        let mut table = self.change();
        // Images lie at addresses of the device's own, and are made anew.
        let stays = |region: &Region| matches!(region.backing, Backing::Anywhere(_));
        let own = |region: &Region| matches!(region.backing, Backing::Pages).then_some(region.bytes);
        let bytes: u64 = other.regions.values().filter_map(own).sum();
        let physical = other.physical_used.load(Ordering::Relaxed);
        let is_empty = table.regions.values().all(stays) && table.physical.is_empty() && table.exposed.is_empty();
        if !is_empty || self.check_room(&table, bytes.saturating_add(physical)).is_err() {
            return false;
        }
        let moved: Vec<u64> = other.regions.iter().filter(|(_, region)| !stays(region)).map(|(&at, _)| at).collect();
        for at in moved {
            if let Some(region) = other.regions.remove(&at) {
                table.regions.insert(at, region);
            }
        }
        other.used -= bytes;
        table.used += bytes;
        // Files that are counted hold the total that they count in.
        table.physical_used = std::mem::take(&mut other.physical_used);
        table.shared_pages = std::mem::take(&mut other.shared_pages);
        table.physical = std::mem::take(&mut other.physical);
        table.exposed = std::mem::take(&mut other.exposed);
        table.next_physical = table.next_physical.max(other.next_physical);
        true
    }

    /// Text about what is near an address.
    pub(crate) fn nearest(&self, address: u64) -> String {
        self.table().nearest(address)
    }

    /// Calls `then` with the pointer to a range, which is mapped as long as that lasts.
    fn at<T>(&self, at: u64, bytes: u64, access: Access, then: impl FnOnce(*mut u8) -> T) -> Result<T, DeviceError> {
        let table = self.table();
        match table.allows(at, bytes, access) || bytes == 0 {
            true => Ok(then(pointer(at))),
            false => Err(DeviceError::new(ErrorKind::IllegalAddress, table.fault(at).to_string())),
        }
    }

    pub(crate) fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.at(at, data.len() as u64, Access::ReadWrite, |to| {
            // SAFETY: the range is mapped; others that access more than a word of it at the same time race by the program's
            // own fault, and `store` allows `data` to be the same memory.
            unsafe { store(to, data) }
        })
    }

    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.at(at, out.len() as u64, Access::Read, |from| {
            // SAFETY: as in `write`.
            unsafe { load(from, out) }
        })
    }

    /// A word that others change while it is looked at. It has to stay mapped as long as that.
    pub(crate) fn word(&self, at: u64) -> Result<Word, DeviceError> {
        if !at.is_multiple_of(4) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("no word at {at:#x}: it is not aligned")));
        }
        self.at(at, 4, Access::Read, |from| Word(from.cast()))
    }

    pub(crate) fn write_from(&self, at: u64, host: &HostSpan) -> Result<(), DeviceError> {
        self.at(at, host.bytes() as u64, Access::ReadWrite, |to| {
            // SAFETY: as in `write`; the span is readable by its contract.
            unsafe { ptr::copy(host.start(), to, host.bytes()) }
        })
    }

    pub(crate) fn read_to(&self, at: u64, host: &HostSpan) -> Result<(), DeviceError> {
        self.at(at, host.bytes() as u64, Access::Read, |from| {
            // SAFETY: as in `write`; the span is writable by its contract.
            unsafe { ptr::copy(from, host.start(), host.bytes()) }
        })
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        self.at(from, bytes, Access::Read, |_| ())?;
        self.at(to, bytes, Access::ReadWrite, |to| {
            // SAFETY: both ranges are mapped, as nothing that is in use is unmapped; they may overlap.
            unsafe { ptr::copy(pointer(from), to, bytes as usize) }
        })
    }

    pub(crate) fn fill(&self, at: u64, pattern: &[u8], count: u64) -> Result<(), DeviceError> {
        /// So much is copied at once: it stays in the first cache.
        const PIECE: u64 = 16 << 10;
        let bytes = count.checked_mul(pattern.len() as u64);
        let bytes = bytes.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "a fill without an end"))?;
        self.at(at, bytes, Access::ReadWrite, |to| {
            if count == 1 {
                // SAFETY: as in `write`.
                return unsafe { store(to, pattern) };
            }
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

/// Physical memory.
impl Memory {
    fn physical(&self, memory: PhysicalId) -> Result<File, DeviceError> {
        let file = self.table().physical.get(&memory).cloned();
        file.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "no such physical memory"))
    }

    pub(crate) fn create_physical(&self, bytes: u64) -> Result<PhysicalId, DeviceError> {
        if bytes == 0 || !bytes.is_multiple_of(PHYSICAL_GRANULARITY) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("physical memory of {bytes} bytes")));
        }
        let mut table = self.change();
        self.check_room(&table, bytes)?;
        let file = File::counted(bytes, &table.physical_used).map_err(|e| refused(&e, 0, bytes))?;
        Ok(table.keep(file))
    }

    pub(crate) fn destroy_physical(&self, memory: PhysicalId) {
        self.change().physical.remove(&memory);
    }

    pub(crate) fn read_physical(&self, memory: PhysicalId, offset: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let bytes = out.len() as u64;
        self.physical(memory)?.read(offset, out).map_err(|e| refused(&e, offset, bytes))
    }

    pub(crate) fn write_physical(&self, memory: PhysicalId, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        // Its length is sealed: what lies beyond it is refused.
        self.physical(memory)?.write(offset, data).map_err(|e| refused(&e, offset, data.len() as u64))
    }

    pub(crate) fn map_physical(&self, memory: PhysicalId, at: u64, name: &str) -> Result<(), DeviceError> {
        let file = self.physical(memory)?;
        let bytes = file.bytes();
        let mut table = self.change();
        if at.checked_add(bytes).is_none_or(|end| table.overlaps(at, end)) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("there is memory at {at:#x} already")));
        }
        let access = Access::None;
        map::map(at, bytes, Source::File(&file, 0, access)).map_err(|e| refused(&e, at, bytes))?;
        table.regions.insert(at, Region { bytes, name: name.to_owned(), backing: Backing::Physical(file), access });
        Ok(())
    }

    pub(crate) fn allow(&self, at: u64, access: Access) -> Result<(), DeviceError> {
        let mut table = self.change();
        match table.regions.get_mut(&at) {
            Some(region) if matches!(region.backing, Backing::Physical(_)) => {
                map::protect(at, access).map_err(|e| refused(&e, at, region.bytes))?;
                region.access = access;
                Ok(())
            }
            Some(_) | None => {
                Err(DeviceError::new(ErrorKind::InvalidRequest, format!("no physical memory is mapped at {at:#x}")))
            }
        }
    }

    pub(crate) fn expose(&self, at: u64, bytes: u64) -> Result<PhysicalId, DeviceError> {
        let mut table = self.change();
        let whole = |value: u64| value.is_multiple_of(PHYSICAL_GRANULARITY);
        if !whole(at) || !whole(bytes) || !table.overlaps(at, at.saturating_add(bytes)) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("no memory to expose at {at:#x}")));
        }
        if let Some(known) = table.exposed.get(&at).filter(|known| known.bytes == bytes) {
            let (file, id) = (known.file.clone(), known.id);
            table.physical.insert(id, file);
            return Ok(id);
        }
        let file = File::new(bytes).map_err(|e| refused(&e, at, bytes))?;
        map::move_to(&file, at, bytes).map_err(|e| refused(&e, at, bytes))?;
        let id = table.keep(file.clone());
        table.exposed.insert(at, Exposed { bytes, file, id });
        Ok(id)
    }

    /// Makes a range the memory of a file.
    pub(crate) fn expose_as(&self, at: u64, bytes: u64, file: OwnedFd) -> Result<(), DeviceError> {
        let mut table = self.change();
        let file = File::import(file).map_err(|e| refused(&e, at, bytes))?;
        let whole = |value: u64| value.is_multiple_of(PHYSICAL_GRANULARITY);
        let fits = whole(at) && whole(bytes) && file.bytes() == bytes && table.overlaps(at, at.saturating_add(bytes));
        if !fits || table.exposed.contains_key(&at) {
            return Err(DeviceError::new(ErrorKind::InvalidRequest, format!("a file cannot be the memory at {at:#x}")));
        }
        map::show(&file, at, bytes).map_err(|e| refused(&e, at, bytes))?;
        let id = table.keep(file.clone());
        table.physical.remove(&id);
        table.exposed.insert(at, Exposed { bytes, file, id });
        Ok(())
    }

    pub(crate) fn export(&self, memory: PhysicalId) -> Result<OwnedFd, DeviceError> {
        let file = self.physical(memory)?;
        file.export().map_err(|e| DeviceError::new(ErrorKind::OutOfResources, format!("no file descriptor: {e}")))
    }

    pub(crate) fn import(&self, file: OwnedFd) -> Result<(PhysicalId, u64), DeviceError> {
        let file = File::import(file)
            .map_err(|e| DeviceError::new(ErrorKind::InvalidRequest, format!("not memory of this device: {e}")))?;
        let bytes = file.bytes();
        Ok((self.change().keep(file), bytes))
    }
}

impl Table {
    fn keep(&mut self, file: File) -> PhysicalId {
        let id = PhysicalId(self.next_physical);
        self.next_physical += 1;
        self.physical.insert(id, file);
        id
    }

    /// Maps zeroed pages: those of the file where the range was exposed.
    fn show(&self, at: u64, bytes: u64) -> io::Result<()> {
        let around = self.exposed.range(..=at).next_back();
        let Some((&start, exposed)) = around.filter(|(start, e)| at + bytes <= *start + e.bytes) else {
            return map::map(at, bytes, Source::Zeros);
        };
        map::map(at, bytes, Source::File(&exposed.file, at - start, Access::ReadWrite))?;
        // SAFETY: it was mapped just now, and no region of this process names it.
        unsafe { ptr::write_bytes(pointer(at), 0, bytes as usize) };
        Ok(())
    }

    /// An exposed range is forgotten with the last region in it.
    fn cover(&mut self, at: u64, bytes: u64) {
        let here = |(&start, e): (&u64, &Exposed)| (start + e.bytes > at).then_some((start, start + e.bytes));
        let found: Vec<_> = self.exposed.range(..at + bytes).rev().map_while(here).collect();
        for (start, end) in found {
            if !self.overlaps(start, end) {
                self.exposed.remove(&start);
            }
        }
    }

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

/// Reads bytes. A word is one access, and what was stored before it is seen: streams wait for words that others write.
///
/// # Safety
/// They can be read; what is no word is not written meanwhile.
unsafe fn load(from: *mut u8, out: &mut [u8]) {
    // SAFETY: the caller's, and a word is aligned.
    unsafe {
        match out.len() {
            4 if from.cast::<u32>().is_aligned() => {
                out.copy_from_slice(&AtomicU32::from_ptr(from.cast()).load(Ordering::Acquire).to_ne_bytes());
            }
            8 if from.cast::<u64>().is_aligned() => {
                out.copy_from_slice(&AtomicU64::from_ptr(from.cast()).load(Ordering::Acquire).to_ne_bytes());
            }
            bytes => ptr::copy(from, out.as_mut_ptr(), bytes),
        }
    }
}

/// Writes bytes. A word is one access, after everything before it: see [`load`].
///
/// # Safety
/// They can be written; what is no word is not accessed meanwhile.
unsafe fn store(to: *mut u8, data: &[u8]) {
    // SAFETY: the caller's, and a word is aligned.
    unsafe {
        match *data {
            [a, b, c, d] if to.cast::<u32>().is_aligned() => {
                AtomicU32::from_ptr(to.cast()).store(u32::from_ne_bytes([a, b, c, d]), Ordering::Release);
            }
            [a, b, c, d, e, f, g, h] if to.cast::<u64>().is_aligned() => {
                let word = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                AtomicU64::from_ptr(to.cast()).store(word, Ordering::Release);
            }
            _ => ptr::copy(data.as_ptr(), to, data.len()),
        }
    }
}

/// For the interpreter: accesses are inside of a region, or fail by the name of the nearest one.
pub(crate) struct View<'m> {
    memory: &'m Memory,
    /// The device's own region that was found last: what the interpreter may be lent.
    last: (u64, u64),
}

impl interp::Memory for View<'_> {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        let read = self.memory.at(address, out.len() as u64, Access::Read, |from| {
            // SAFETY: mapped, as `at` has found. Whole words where aligned, as the host may write at the same time.
            unsafe { super::access::load(from, out) }
        });
        read.map_err(|_| self.memory.table().fault(address))
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        let written = self.memory.at(address, data.len() as u64, Access::ReadWrite, |to| {
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
            let lent =
                |r: &Region| !matches!(r.backing, Backing::Host(_) | Backing::Peer) && r.access == Access::ReadWrite;
            let (start, region) = table.find(address, len as u64).filter(|(_, r)| lent(r))?;
            self.last = (start, region.bytes);
        }
        // SAFETY: mapped, and not unmapped while a launch runs. The slice ends before the interpreter does anything else,
        // and is the only reference to device memory that there is: kernels use pointers. Another launch that accesses the
        // same bytes at the same time races by the program's fault.
        Some(unsafe { std::slice::from_raw_parts_mut(pointer(address), len) })
    }
}
