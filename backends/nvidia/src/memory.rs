//! Device memory: which addresses the driver has reserved for us, and what lies at them.
//!
//! The driver takes an address for device memory only where the host has nothing, and what it reserves it keeps from the
//! host as well. What the host puts over reserved addresses afterwards does not disturb the device: each has tables of its
//! own. So addresses are reserved before anybody else takes them, are never given back, and where the host was first its
//! mappings step aside for a moment (`sys::host::aside`).

use crate::driver::{Context, Physical, Stream};
use crate::sys::host;
use hetgpu_device::{Access, DeviceError, ErrorKind, HostSpan, PHYSICAL_GRANULARITY, PhysicalId};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is reserved at once, where it is free: the driver's own addresses begin behind it.
pub(crate) const WINDOW: Range<u64> = 0x10_0000_0000..0x90_0000_0000;

/// The ranges that the driver has reserved in this process, start to end. They stay reserved until it ends.
static RESERVED: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What lies at an address.
enum Region {
    /// Whole pages.
    Device {
        memory: Arc<Physical>,
        access: Access,
    },
    /// So many bytes that do not fill their pages: those in front, whole ones, those behind.
    Ragged {
        bytes: u64,
        edges: Vec<u64>,
        whole: Option<(u64, Arc<Physical>)>,
    },
    Host(HostSpan),
}

impl Region {
    fn bytes(&self) -> u64 {
        match self {
            Self::Device { memory, .. } => memory.bytes,
            Self::Ragged { bytes, .. } => *bytes,
            Self::Host(span) => span.bytes() as u64,
        }
    }
}

/// A page that several regions may have a part of.
struct Page {
    _memory: Physical,
    users: u32,
}

#[derive(Default)]
struct Table {
    regions: BTreeMap<u64, Region>,
    pages: HashMap<u64, Page>,
    physical: HashMap<PhysicalId, Arc<Physical>>,
    next: u64,
}

impl Table {
    fn overlaps(&self, at: u64, end: u64) -> bool {
        self.regions.range(..end).next_back().is_some_and(|(&start, region)| start + region.bytes() > at)
    }

    fn name(&mut self, memory: Arc<Physical>) -> PhysicalId {
        self.next += 1;
        self.physical.insert(PhysicalId(self.next), memory);
        PhysicalId(self.next)
    }
}

/// The memory of a card.
pub(crate) struct Memory {
    context: Arc<Context>,
    table: Mutex<Table>,
}

fn clear(service: &Stream, at: u64, bytes: u64) -> Result<(), DeviceError> {
    let (word, count) = if (at | bytes).is_multiple_of(4) { (&[0; 4][..], bytes / 4) } else { (&[0; 1][..], bytes) };
    service.fill(at, word, count).and_then(|()| service.synchronize())
}

fn wrong(text: impl Into<String>) -> DeviceError {
    DeviceError::new(ErrorKind::InvalidRequest, text)
}

impl Memory {
    /// Takes the addresses that runtimes hand out, where nobody has them yet.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let memory = Self { context, table: Mutex::default() };
        let mut reserved = lock(&RESERVED);
        if reserved.is_empty() && memory.take(WINDOW).is_ok() {
            reserved.insert(WINDOW.start, WINDOW.end);
        }
        drop(reserved);
        memory
    }

    /// What is reserved on the host too.
    pub(crate) fn window(&self) -> Option<Range<u64>> {
        lock(&RESERVED).get(&WINDOW.start).map(|&end| WINDOW.start..end)
    }

    /// Reserves a range that is free on the host.
    fn take(&self, range: Range<u64>) -> Result<(), DeviceError> {
        let bytes = range.end - range.start;
        let got = self.context.reserve(range.start, bytes)?;
        if got == range.start {
            return Ok(());
        }
        self.context.give_back(got, bytes);
        Err(wrong(format!("the addresses from {:#x} on are not free", range.start)))
    }

    /// Sees to it that a range is reserved.
    fn reserve(&self, at: u64, end: u64) -> Result<(), DeviceError> {
        let mut reserved = lock(&RESERVED);
        let mut from = at;
        while from < end {
            let before = reserved.range(..=from).next_back().map(|(_, &end)| end).filter(|&end| end > from);
            if let Some(known) = before {
                from = known;
                continue;
            }
            let to = reserved.range(from..end).next().map_or(end, |(&start, _)| start);
            // Mappings of the host that lie there step aside, and come back over what was reserved.
            self.take(from..to).or_else(|_| {
                host::aside(from..to, || self.take(from..to)).map_err(|error| {
                    DeviceError::new(ErrorKind::OutOfMemory, format!("addresses at {from:#x}: {error}"))
                })?
            })?;
            reserved.insert(from, to);
            from = to;
        }
        Ok(())
    }

    fn whole(at: u64, bytes: u64) -> Result<u64, DeviceError> {
        let whole = at.is_multiple_of(PHYSICAL_GRANULARITY) && bytes.is_multiple_of(PHYSICAL_GRANULARITY) && bytes > 0;
        at.checked_add(bytes).filter(|_| whole).ok_or_else(|| wrong("memory is mapped in whole pages of 2 MiB"))
    }

    fn show(&self, memory: Arc<Physical>, at: u64, access: Access) -> Result<(), DeviceError> {
        let bytes = memory.bytes;
        let end = Self::whole(at, bytes)?;
        let mut table = lock(&self.table);
        if table.overlaps(at, end) {
            return Err(wrong(format!("there is memory at {at:#x} already")));
        }
        self.reserve(at, end)?;
        self.context.show(&memory, at)?;
        if access != Access::None {
            self.context.allow(at, bytes, access).inspect_err(|_| self.context.hide(at, bytes))?;
        }
        table.regions.insert(at, Region::Device { memory, access });
        Ok(())
    }

    /// Makes zeroed memory appear. What does not fill its pages shares them with its neighbours.
    pub(crate) fn map(&self, at: u64, bytes: u64, service: &Stream) -> Result<(), DeviceError> {
        let end = at.checked_add(bytes).filter(|&end| end > at).ok_or_else(|| wrong("a range that is none"))?;
        if lock(&self.table).overlaps(at, end) {
            return Err(wrong(format!("there is memory at {at:#x} already")));
        }
        if Self::whole(at, bytes).is_ok() {
            self.show(Arc::new(self.context.create(bytes)?), at, Access::ReadWrite)?;
        } else {
            self.map_ragged(at, end)?;
        }
        clear(service, at, bytes).inspect_err(|_| self.unmap(at))
    }

    fn map_ragged(&self, at: u64, end: u64) -> Result<(), DeviceError> {
        const PAGE: u64 = PHYSICAL_GRANULARITY;
        let (first, last) = (at.next_multiple_of(PAGE), end / PAGE * PAGE);
        let mut edges = vec![at / PAGE * PAGE, (end - 1) / PAGE * PAGE];
        edges.dedup();
        edges.retain(|page| !(first..last).contains(page));
        let mut table = lock(&self.table);
        let whole = match first < last {
            true => {
                let memory = Arc::new(self.context.create(last - first)?);
                self.reserve(first, last)?;
                self.open(&memory, first)?;
                Some((first, memory))
            }
            false => None,
        };
        let mut region = Region::Ragged { bytes: end - at, edges: Vec::new(), whole };
        for page in edges {
            let taken = match table.pages.get_mut(&page) {
                Some(known) => {
                    known.users += 1;
                    Ok(())
                }
                None => self.page(&mut table, page),
            };
            if let Err(error) = taken {
                self.leave(&mut table, region);
                return Err(error);
            }
            if let Region::Ragged { edges, .. } = &mut region {
                edges.push(page);
            }
        }
        table.regions.insert(at, region);
        Ok(())
    }

    fn page(&self, table: &mut Table, page: u64) -> Result<(), DeviceError> {
        let memory = self.context.create(PHYSICAL_GRANULARITY)?;
        self.reserve(page, page + PHYSICAL_GRANULARITY)?;
        self.open(&memory, page)?;
        table.pages.insert(page, Page { _memory: memory, users: 1 });
        Ok(())
    }

    /// Makes memory appear at reserved addresses, to be read and written.
    fn open(&self, memory: &Physical, at: u64) -> Result<(), DeviceError> {
        self.context.show(memory, at)?;
        let allowed = self.context.allow(at, memory.bytes, Access::ReadWrite);
        allowed.inspect_err(|_| self.context.hide(at, memory.bytes))
    }

    /// Gives up what a region had of pages.
    fn leave(&self, table: &mut Table, region: Region) {
        let Region::Ragged { edges, whole, .. } = region else { return };
        if let Some((at, memory)) = whole {
            self.context.hide(at, memory.bytes);
        }
        for page in edges {
            let Some(known) = table.pages.get_mut(&page) else { continue };
            known.users -= 1;
            if known.users == 0 {
                self.context.hide(page, PHYSICAL_GRANULARITY);
                table.pages.remove(&page);
            }
        }
    }

    /// Lets the device reach host memory.
    pub(crate) fn share(&self, host: HostSpan) -> Result<(), DeviceError> {
        let at = host.start().expose_provenance() as u64;
        let end = at.checked_add(host.bytes() as u64).filter(|&end| end > at);
        let end = end.ok_or_else(|| wrong("a range that is none"))?;
        let mut table = lock(&self.table);
        if table.overlaps(at, end) {
            return Err(wrong(format!("there is memory at {at:#x} already")));
        }
        let seen = self.context.register(&host)?;
        if seen != at {
            self.context.unregister(&host);
            let message = format!("the driver shows host memory at {seen:#x} that lies at {at:#x}");
            return Err(DeviceError::new(ErrorKind::NotSupported, message));
        }
        table.regions.insert(at, Region::Host(host));
        Ok(())
    }

    /// Takes away what is at an address.
    pub(crate) fn unmap(&self, at: u64) {
        let mut table = lock(&self.table);
        match table.regions.remove(&at) {
            Some(Region::Device { memory, .. }) => self.context.hide(at, memory.bytes),
            Some(Region::Host(span)) => self.context.unregister(&span),
            Some(region) => self.leave(&mut table, region),
            None => {}
        }
    }

    pub(crate) fn create(&self, bytes: u64, service: &Stream) -> Result<PhysicalId, DeviceError> {
        Self::whole(0, bytes)?;
        let memory = Arc::new(self.context.create(bytes)?);
        // It is cleared where it can be reached: at addresses of the driver's own.
        let at = self.context.reserve(0, bytes)?;
        let cleared = self.context.show(&memory, at).and_then(|()| {
            let cleared = self.context.allow(at, bytes, Access::ReadWrite);
            let cleared = cleared.and_then(|()| clear(service, at, bytes));
            self.context.hide(at, bytes);
            cleared
        });
        self.context.give_back(at, bytes);
        cleared?;
        Ok(lock(&self.table).name(memory))
    }

    fn physical(&self, memory: PhysicalId) -> Result<Arc<Physical>, DeviceError> {
        let found = lock(&self.table).physical.get(&memory).cloned();
        found.ok_or_else(|| wrong("there is no such physical memory"))
    }

    pub(crate) fn destroy(&self, memory: PhysicalId) {
        let gone = lock(&self.table).physical.remove(&memory);
        drop(gone);
    }

    pub(crate) fn map_physical(&self, memory: PhysicalId, at: u64) -> Result<(), DeviceError> {
        self.show(self.physical(memory)?, at, Access::None)
    }

    pub(crate) fn allow(&self, at: u64, access: Access) -> Result<(), DeviceError> {
        match lock(&self.table).regions.get_mut(&at) {
            Some(Region::Device { memory, access: now }) => {
                if *now != access {
                    self.context.allow(at, memory.bytes, access)?;
                    *now = access;
                }
                Ok(())
            }
            Some(Region::Ragged { .. } | Region::Host(_)) | None => {
                Err(wrong(format!("no physical memory is mapped at {at:#x}")))
            }
        }
    }

    /// Names the memory that was mapped as a whole at an address.
    pub(crate) fn expose(&self, at: u64, bytes: u64) -> Result<PhysicalId, DeviceError> {
        Self::whole(at, bytes)?;
        let mut table = lock(&self.table);
        let found = match table.regions.get(&at) {
            Some(Region::Device { memory, .. }) if memory.bytes == bytes => Arc::clone(memory),
            _ if !table.overlaps(at, at + bytes) => return Err(wrong(format!("nothing is mapped at {at:#x}"))),
            _ => {
                let message = format!("{bytes} bytes at {at:#x} were not mapped as a whole");
                return Err(DeviceError::new(ErrorKind::NotSupported, message));
            }
        };
        let known = table.physical.iter().find(|(_, memory)| Arc::ptr_eq(memory, &found)).map(|(&id, _)| id);
        Ok(known.unwrap_or_else(|| table.name(found)))
    }

    pub(crate) fn export(&self, memory: PhysicalId) -> Result<OwnedFd, DeviceError> {
        self.physical(memory)?.export()
    }

    /// What is mapped of it tells whether it has that size.
    pub(crate) fn import_known(&self, file: &OwnedFd, bytes: u64) -> Result<PhysicalId, DeviceError> {
        if bytes == 0 || !bytes.is_multiple_of(PHYSICAL_GRANULARITY) {
            return Err(wrong(format!("a file of {bytes} bytes of memory")));
        }
        let mut memory = self.context.import(file).map_err(|error| wrong(error.message))?;
        memory.bytes = bytes;
        Ok(lock(&self.table).name(Arc::new(memory)))
    }

    pub(crate) fn import(&self, file: &OwnedFd, most: u64) -> Result<(PhysicalId, u64), DeviceError> {
        let mut memory = self.context.import(file).map_err(|error| wrong(error.message))?;
        // The driver's files do not tell their size. It maps nothing but the whole, so that the size is found by asking.
        let room = most.next_multiple_of(PHYSICAL_GRANULARITY);
        let at = self.context.reserve(0, room)?;
        let found = (PHYSICAL_GRANULARITY..=room).step_by(PHYSICAL_GRANULARITY as usize).any(|bytes| {
            memory.bytes = bytes;
            let fits = self.context.show(&memory, at).is_ok();
            if fits {
                self.context.hide(at, bytes);
            }
            fits
        });
        self.context.give_back(at, room);
        if !found {
            return Err(wrong("a file whose memory has no size that can be mapped"));
        }
        let bytes = memory.bytes;
        Ok((lock(&self.table).name(Arc::new(memory)), bytes))
    }
}
