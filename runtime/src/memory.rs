//! Addresses: one range for all devices, handed out here, and what lies at each.

use crate::managed::Advice;
use crate::pool::Pool;
use crate::presence::Presence;
use crate::share::{Exposed, Foreign};
use crate::space::Space;
use crate::vmm::Mapping;
use crate::{Check, Error, Result, sys};
use hetgpu_device::{Device, DeviceError, Fill, Pattern, PhysicalId, Queue, Work};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Where device addresses begin. Drivers of every vendor can map memory at fixed addresses from here on.
pub(crate) const RANGE_START: u64 = 0x10_0000_0000;
/// Where they end: below the addresses at which Linux puts position-independent programs and their heaps.
pub(crate) const RANGE_END: u64 = 0x5000_0000_0000;
/// Ranges are taken in pages of this size; smaller allocations share one.
pub(crate) const PAGE: u64 = 2 << 20;
/// What the host maps at a time.
pub(crate) const HOST_PAGE: u64 = 4096;
/// Alignment of every allocation, and the unit of those that share a page.
pub(crate) const ALIGNMENT: u64 = 512;

/// What kind of memory an allocation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AllocationKind {
    /// Memory of one device.
    Device,
    /// Memory that host and device both reach at one address of the device range.
    Managed,
    /// Host memory that the runtime allocated.
    Pinned,
    /// Host memory of the program, made known to the devices.
    Registered,
    /// Physical memory that the program mapped.
    Mapped,
}

/// Where an allocation's memory comes from, beside its kind.
#[derive(Clone, Debug)]
pub enum Origin {
    /// It is the allocation's own.
    Own,
    /// A part of a pool's.
    Pool(Arc<Pool>),
    /// A mapping of physical memory.
    Mapping(Arc<Mapping>),
    /// Another process's.
    Foreign(Arc<Foreign>),
    /// The device put it there, for a module of machine code.
    Module,
}

/// Who may free an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The session that it dies with.
    pub session: u64,
    /// True if the program asked for it and may free it; false for module variables and the like.
    pub program: bool,
}

impl Owner {
    pub fn program(session: u64) -> Self {
        Self { session, program: true }
    }

    pub fn system(session: u64) -> Self {
        Self { session, program: false }
    }
}

/// A live allocation.
#[derive(Clone, Debug)]
pub struct Allocation {
    pub start: u64,
    /// As asked for.
    pub bytes: u64,
    pub kind: AllocationKind,
    /// Index of the device that it belongs to, or was made for.
    pub device: usize,
    pub owner: Owner,
    /// Never used again in this process.
    pub id: u64,
    /// What the interface wants to remember about it.
    pub flags: u32,
    pub origin: Origin,
    /// For managed memory: where the program wants it.
    pub advice: Option<Arc<Advice>>,
    /// The program wants what it asks for about this memory to be done when a call returns, as far as calls can wait.
    pub synchronises: bool,
    /// Addresses taken for it.
    pub(crate) reserved: u64,
}

impl Allocation {
    pub fn end(&self) -> u64 {
        self.start + self.bytes
    }

    /// True where the host can touch it.
    pub fn host_visible(&self) -> bool {
        !matches!(self.kind, AllocationKind::Device | AllocationKind::Mapped)
    }

    /// The memory that it is a part of: start and size.
    pub fn block(&self) -> (u64, u64) {
        match &self.origin {
            Origin::Pool(pool) => pool.chunk_of(self.start).unwrap_or((self.start, self.reserved)),
            Origin::Mapping(_) | Origin::Module => (self.start, self.bytes),
            Origin::Foreign(foreign) => foreign.block(),
            Origin::Own if self.kind == AllocationKind::Registered => {
                let start = self.start / HOST_PAGE * HOST_PAGE;
                (start, self.end().next_multiple_of(HOST_PAGE) - start)
            }
            Origin::Own if self.reserved < PAGE && !self.host_visible() => (self.start / PAGE * PAGE, PAGE),
            Origin::Own => (self.start, self.reserved),
        }
    }
}

pub(crate) struct Inner {
    pages: Space,
    /// Addresses that a device keeps free on the host.
    kept: Option<Range<u64>>,
    /// Free parts of shared pages, by device.
    shared: Vec<Space>,
    used: Vec<u64>,
    /// Clears parts of shared pages, by device; opened when it is first needed.
    cleaners: Vec<Option<Box<dyn Queue>>>,
    allocations: BTreeMap<u64, Allocation>,
    next_id: u64,
    /// Where each device has memory mapped that others may be let reach.
    mapped: Vec<BTreeSet<u64>>,
    /// Which devices reach whose memory, and for how many contexts.
    links: BTreeMap<(usize, usize), u32>,
    /// Files that other processes may open, by the start of the range that each stands for.
    pub(crate) exposed: BTreeMap<u64, Exposed>,
}

/// What a new allocation is.
pub(crate) struct New {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    pub(crate) kind: AllocationKind,
    pub(crate) device: usize,
    pub(crate) owner: Owner,
    pub(crate) flags: u32,
    pub(crate) origin: Origin,
    pub(crate) reserved: u64,
}

/// Memory of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    /// Device, managed or pinned.
    pub(crate) kind: AllocationKind,
    pub(crate) device: usize,
    pub(crate) bytes: u64,
    /// A multiple of `PAGE` that holds `bytes`.
    pub(crate) reserved: u64,
    /// Other processes may map it.
    pub(crate) shared: bool,
}

/// Every allocation of the process.
pub struct Memory {
    pub(crate) devices: Vec<Arc<dyn Device>>,
    /// Allocations from pools are mapped one by one, so that a checking device knows where each ends.
    pub(crate) exact: bool,
    /// Bytes of physical memory, by device.
    pub(crate) physical_used: Vec<Arc<AtomicU64>>,
    inner: Mutex<Inner>,
    /// Whom it tells how much of each device is in use.
    shown: Mutex<Shown>,
}

/// What tools are told.
#[derive(Default)]
struct Shown {
    used: Vec<u64>,
    presence: Option<Presence>,
}

impl Memory {
    pub(crate) fn new(devices: Vec<Arc<dyn Device>>, check: Check) -> Self {
        let inner = Inner {
            pages: Space::new(RANGE_START, RANGE_END - RANGE_START),
            kept: devices.iter().find_map(|device| device.caps().reserved.clone()),
            shared: devices.iter().map(|_| Space::default()).collect(),
            used: vec![0; devices.len()],
            cleaners: devices.iter().map(|_| None).collect(),
            allocations: BTreeMap::new(),
            next_id: 1,
            mapped: vec![BTreeSet::new(); devices.len()],
            links: BTreeMap::new(),
            exposed: BTreeMap::new(),
        };
        let physical_used = devices.iter().map(|_| Arc::default()).collect();
        let shown = Mutex::new(Shown { used: vec![0; devices.len()], presence: None });
        Self { devices, exact: check != Check::Off, physical_used, inner: Mutex::new(inner), shown }
    }

    /// Tells how much of each device is in use, from now on.
    pub(crate) fn tell(&self, presence: Presence) {
        let mut shown = self.shown();
        shown.used.iter().enumerate().for_each(|(device, &bytes)| presence.used(device, bytes));
        shown.presence = Some(presence);
    }

    /// Tells nobody any more, until `tell`.
    pub(crate) fn hide(&self) {
        self.shown().presence = None;
    }

    /// Whether what tools are told of this process is of another one, as which it came back.
    pub(crate) fn is_told_wrong(&self) -> bool {
        self.shown().presence.as_ref().is_some_and(|presence| !presence.is_right())
    }

    /// Held for a moment only, also where a call in front of a gate holds everything else.
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Counts bytes of a device that were taken or given back.
    fn count(&self, inner: &mut Inner, device: usize, change: impl Fn(u64) -> u64) {
        let used = &mut inner.used[device];
        *used = change(*used);
        let mut shown = self.shown();
        shown.used[device] = *used;
        if let Some(presence) = &shown.presence {
            presence.used(device, *used);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Maps memory of a device, for those too that reach it.
    fn map(
        &self,
        inner: &mut Inner,
        device: usize,
        at: u64,
        bytes: u64,
        name: &str,
    ) -> std::result::Result<(), DeviceError> {
        self.devices[device].map(at, bytes, name)?;
        inner.mapped[device].insert(at);
        for peer in inner.linked_to(device) {
            // Others stay as they are: none of them was told of the memory by now, or all are asked to forget it.
            if let Err(error) = self.lend(device, peer, at) {
                self.unmap(inner, device, at);
                return Err(error);
            }
        }
        Ok(())
    }

    fn unmap(&self, inner: &mut Inner, device: usize, at: u64) {
        if inner.mapped[device].remove(&at) {
            inner.linked_to(device).into_iter().for_each(|peer| self.devices[peer].unmap(at));
        }
        self.devices[device].unmap(at);
    }

    /// Lets a device reach what another has mapped at an address.
    pub(crate) fn lend(&self, home: usize, peer: usize, at: u64) -> std::result::Result<(), DeviceError> {
        self.devices[peer].reach(self.devices[home].caps().uuid, at)
    }

    /// Undoes `lend`.
    pub(crate) fn withdraw(&self, peer: usize, at: u64) {
        self.devices[peer].unmap(at);
    }

    /// Lets a device reach another's memory, for one context more.
    pub(crate) fn link(&self, device: usize, other: usize) -> Result<()> {
        let mut inner = self.lock();
        if let Some(count) = inner.links.get_mut(&(device, other)) {
            *count += 1;
            return Ok(());
        }
        let starts: Vec<u64> = inner.mapped[other].iter().copied().collect();
        for (done, &at) in starts.iter().enumerate() {
            if let Err(error) = self.lend(other, device, at) {
                starts[..done].iter().for_each(|&at| self.withdraw(device, at));
                return Err(error.into());
            }
        }
        inner.links.insert((device, other), 1);
        Ok(())
    }

    /// Undoes one `link`. No work that uses the memory may be running.
    pub(crate) fn unlink(&self, device: usize, other: usize) {
        let mut inner = self.lock();
        let Some(count) = inner.links.get_mut(&(device, other)) else { return };
        *count -= 1;
        if *count == 0 {
            inner.links.remove(&(device, other));
            inner.mapped[other].iter().for_each(|&at| self.withdraw(device, at));
        }
    }

    pub(crate) fn is_linked(&self, device: usize, other: usize) -> bool {
        self.lock().links.contains_key(&(device, other))
    }

    /// Bytes in use on a device.
    pub fn used(&self, device: usize) -> u64 {
        self.lock().used[device] + self.physical_used[device].load(Ordering::Relaxed)
    }

    /// Counts memory that a device takes by itself as in use.
    pub(crate) fn charge(&self, device: usize, bytes: u64) -> Result<()> {
        let caps = self.devices[device].caps();
        let mut inner = self.lock();
        let free = caps.memory.saturating_sub(inner.used[device]);
        if bytes > free {
            let text = format!("{bytes} bytes wanted, {free} of {} free on {}", caps.memory, caps.name);
            return Err(Error::out_of_memory(text));
        }
        inner.used[device] += bytes;
        Ok(())
    }

    /// What was charged is free again.
    pub(crate) fn discharge(&self, device: usize, bytes: u64) {
        self.lock().used[device] -= bytes;
    }

    /// The allocation that holds `address`.
    pub fn find(&self, address: u64) -> Option<Allocation> {
        let inner = self.lock();
        let (_, allocation) = inner.allocations.range(..=address).next_back()?;
        (address < allocation.end()).then(|| allocation.clone())
    }

    /// Device memory, zeroed.
    pub(crate) fn allocate(&self, device: usize, owner: Owner, bytes: u64, name: &str) -> Result<u64> {
        if bytes == 0 {
            return Err(Error::invalid("an allocation of 0 bytes"));
        }
        let target = &self.devices[device];
        let caps = target.caps();
        let mut inner = self.lock();
        let free = caps.memory.saturating_sub(inner.used[device]);
        let room = bytes.checked_next_multiple_of(ALIGNMENT).filter(|&room| room <= free).ok_or_else(|| {
            Error::out_of_memory(format!("{bytes} bytes wanted, {free} of {} free on {}", caps.memory, caps.name))
        })?;
        let whole_pages = caps.map_granularity > ALIGNMENT;
        let (start, reserved) = if room >= PAGE / 2 {
            let reserved = room.next_multiple_of(PAGE);
            (inner.take_pages(reserved)?, reserved)
        } else {
            let start = match inner.shared[device].find(0, room, ALIGNMENT) {
                Some(start) => start,
                None => {
                    let page = inner.take_pages(PAGE)?;
                    let mapped = match whole_pages {
                        true => self.map(&mut inner, device, page, PAGE, "small allocations"),
                        false => Ok(()),
                    };
                    mapped.inspect_err(|_| inner.give_pages(page, PAGE))?;
                    inner.shared[device].give(page, PAGE);
                    page
                }
            };
            inner.shared[device].take(start, room);
            (start, room)
        };
        let mapped = match (whole_pages, reserved >= PAGE) {
            (true, true) => self.map(&mut inner, device, start, reserved, name),
            (true, false) => inner.clear(target.as_ref(), device, start, room),
            (false, _) => self.map(&mut inner, device, start, bytes.next_multiple_of(caps.map_granularity), name),
        };
        if let Err(error) = mapped {
            inner.give(device, start, reserved);
            return Err(error.into());
        }
        self.count(&mut inner, device, |used| used + room);
        let (kind, origin) = (AllocationKind::Device, Origin::Own);
        inner.record(New { start, bytes, kind, device, owner, flags: 0, origin, reserved });
        Ok(start)
    }

    /// Makes memory known that the device has put somewhere itself, for a module.
    pub(crate) fn note(&self, device: usize, owner: Owner, start: u64, bytes: u64) {
        let (kind, origin) = (AllocationKind::Device, Origin::Module);
        self.lock().record(New { start, bytes, kind, device, owner, flags: 0, origin, reserved: bytes });
    }

    /// Memory of the runtime's own, which no program sees and nothing counts.
    pub(crate) fn own_page(&self, device: usize, bytes: u64, name: &str) -> Result<u64> {
        let target = &self.devices[device];
        let mut inner = self.lock();
        let start = inner.take_pages(PAGE)?;
        let made = target.map(start, bytes.next_multiple_of(target.caps().map_granularity), name);
        made.inspect_err(|_| inner.give_pages(start, PAGE))?;
        Ok(start)
    }

    /// Memory that host and device reach at one address.
    pub fn allocate_managed(&self, device: usize, owner: Owner, bytes: u64, flags: u32) -> Result<u64> {
        if bytes == 0 {
            return Err(Error::invalid("an allocation of 0 bytes"));
        }
        self.sharing(device)?;
        let reserved = bytes
            .checked_next_multiple_of(PAGE)
            .filter(|&reserved| reserved <= self.devices[device].caps().memory)
            .ok_or_else(|| Error::out_of_memory(format!("{bytes} bytes of managed memory")))?;
        let mut inner = self.lock();
        let start = self.commit(&mut inner, bytes, reserved)?;
        let (kind, origin) = (AllocationKind::Managed, Origin::Own);
        inner.record(New { start, bytes, kind, device, owner, flags, origin, reserved });
        Ok(start)
    }

    /// Host memory in the range of device addresses.
    fn commit(&self, inner: &mut Inner, bytes: u64, reserved: u64) -> Result<u64> {
        let start = inner.take_pages(reserved)?;
        let made = sys::commit(start, reserved)
            .map_err(|refused| Error::out_of_memory(refused.to_string()))
            .and_then(|()| self.share_everywhere(start, bytes));
        made.inspect_err(|_| inner.give_pages(start, reserved))?;
        Ok(start)
    }

    /// Host memory wherever the host has room.
    fn pin(&self, bytes: u64, reserved: u64) -> Result<u64> {
        let start = sys::allocate(reserved).map_err(|refused| Error::out_of_memory(refused.to_string()))?;
        self.share_everywhere(start, bytes).inspect_err(|_| sys::release(start, reserved))?;
        Ok(start)
    }

    /// Host memory that devices reach too, where they can.
    pub fn allocate_pinned(&self, device: usize, session: u64, bytes: u64, flags: u32) -> Result<u64> {
        if bytes == 0 {
            return Err(Error::invalid("an allocation of 0 bytes"));
        }
        let reserved = bytes
            .checked_next_multiple_of(4096)
            .filter(|&reserved| reserved <= RANGE_END)
            .ok_or_else(|| Error::out_of_memory(format!("{bytes} bytes of host memory")))?;
        let start = self.pin(bytes, reserved)?;
        let (kind, owner, origin) = (AllocationKind::Pinned, Owner::program(session), Origin::Own);
        self.lock().record(New { start, bytes, kind, device, owner, flags, origin, reserved });
        Ok(start)
    }

    /// Makes the program's own memory known.
    pub fn register(&self, device: usize, session: u64, start: u64, bytes: u64, flags: u32) -> Result<()> {
        let end = start.checked_add(bytes).filter(|_| start != 0 && bytes != 0);
        let end = end.ok_or_else(|| Error::invalid("a host range to register must not be empty"))?;
        let mut inner = self.lock();
        match inner.allocations.range(..end).next_back().filter(|(_, other)| other.end() > start) {
            Some((_, other)) if other.kind == AllocationKind::Registered => return Err(Error::AlreadyRegistered),
            Some((_, other)) => {
                let message = format!("{start:#x} lies in memory that was allocated at {:#x}", other.start);
                return Err(Error::invalid(message));
            }
            None => {}
        }
        self.share_everywhere(start, bytes)?;
        let (kind, owner, origin) = (AllocationKind::Registered, Owner::program(session), Origin::Own);
        inner.record(New { start, bytes, kind, device, owner, flags, origin, reserved: 0 });
        Ok(())
    }

    fn sharing(&self, device: usize) -> Result<()> {
        let caps = self.devices[device].caps();
        match caps.shares_host_memory {
            true => Ok(()),
            false => Err(Error::NotSupported(format!("{} cannot reach host memory", caps.name))),
        }
    }

    fn share_everywhere(&self, host: u64, bytes: u64) -> Result<()> {
        let sharing = || self.devices.iter().filter(|device| device.caps().shares_host_memory);
        for (done, device) in sharing().enumerate() {
            if let Err(error) = sys::share(device.as_ref(), host, bytes) {
                sharing().take(done).for_each(|device| device.unmap(host));
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Remembers what the program wants of memory at an address.
    pub fn set_synchronises(&self, address: u64, value: bool) {
        let mut inner = self.lock();
        if let Some((_, found)) = inner.allocations.range_mut(..=address).next_back().filter(|(_, a)| address < a.end())
        {
            found.synchronises = value;
        }
    }

    /// Takes the allocation that starts at `start` out of the records, if `right` agrees. The memory itself goes with
    /// `release`, when nothing can be using it any more.
    pub fn forget(&self, start: u64, right: impl Fn(&Allocation) -> Result<()>) -> Result<Allocation> {
        let mut inner = self.lock();
        let allocation = inner.allocations.get(&start);
        right(allocation.ok_or_else(|| Error::invalid(format!("{start:#x} is not the start of an allocation")))?)?;
        Ok(inner.allocations.remove(&start).expect("it was found just now"))
    }

    /// Gives the memory of a forgotten allocation back.
    pub fn release(&self, allocation: &Allocation) {
        let Allocation { start, device, reserved, kind, .. } = *allocation;
        match &allocation.origin {
            Origin::Pool(pool) => return pool.take_back(self, start, allocation.bytes),
            // Taken away by the program, not with a session.
            Origin::Mapping(_) | Origin::Module => return,
            Origin::Foreign(foreign) => return self.leave_room(device, foreign),
            Origin::Own => {}
        }
        let mut inner = self.lock();
        match kind {
            AllocationKind::Device => {
                let whole_pages = self.devices[device].caps().map_granularity > ALIGNMENT;
                if !whole_pages || reserved >= PAGE {
                    self.unmap(&mut inner, device, start);
                }
                let room = allocation.bytes.next_multiple_of(ALIGNMENT);
                self.count(&mut inner, device, |used| used - room);
                inner.give(device, start, reserved);
                if reserved >= PAGE {
                    inner.exposed.remove(&start);
                }
            }
            AllocationKind::Managed | AllocationKind::Pinned | AllocationKind::Registered => {
                self.hide_everywhere(start);
                match kind {
                    AllocationKind::Managed => inner.give_pages(start, reserved),
                    AllocationKind::Pinned => sys::release(start, reserved),
                    AllocationKind::Device | AllocationKind::Registered | AllocationKind::Mapped => {}
                }
            }
            AllocationKind::Mapped => {}
        }
    }

    fn hide_everywhere(&self, start: u64) {
        self.devices.iter().filter(|device| device.caps().shares_host_memory).for_each(|device| device.unmap(start));
    }

    /// Memory for a pool: start, and the physical memory that it is, where it may be shared with other processes.
    pub(crate) fn map_chunk(&self, chunk: &Chunk) -> Result<(u64, Option<PhysicalId>)> {
        let &Chunk { kind, device, bytes, reserved, shared } = chunk;
        let target = &self.devices[device];
        let mut inner = self.lock();
        match kind {
            AllocationKind::Pinned => return Ok((self.pin(bytes, reserved)?, None)),
            AllocationKind::Managed => return Ok((self.commit(&mut inner, bytes, reserved)?, None)),
            AllocationKind::Device | AllocationKind::Mapped | AllocationKind::Registered => {}
        }
        let free = target.caps().memory.saturating_sub(inner.used[device]);
        if reserved > free {
            return Err(Error::out_of_memory(format!("{reserved} bytes wanted for a memory pool, {free} free")));
        }
        let start = inner.take_pages(reserved)?;
        const NAME: &str = "a memory pool";
        let made = match (shared, target.physical()) {
            (true, Some(physical)) => physical.create(reserved).and_then(|memory| {
                let shown = physical.map(memory, start, NAME);
                let shown = shown.and_then(|()| physical.allow(start, hetgpu_device::Access::ReadWrite));
                shown.map(|()| Some(memory)).inspect_err(|_| {
                    target.unmap(start);
                    physical.destroy(memory);
                })
            }),
            _ => target.map(start, bytes.next_multiple_of(target.caps().map_granularity), NAME).map(|()| None),
        };
        let memory = made.inspect_err(|_| inner.give_pages(start, reserved))?;
        self.count(&mut inner, device, |used| used + reserved);
        Ok((start, memory))
    }

    pub(crate) fn unmap_chunk(&self, chunk: &Chunk, start: u64, memory: Option<PhysicalId>) {
        let &Chunk { kind, device, reserved, .. } = chunk;
        let mut inner = self.lock();
        match kind {
            AllocationKind::Pinned => {
                self.hide_everywhere(start);
                sys::release(start, reserved);
            }
            AllocationKind::Managed => {
                self.hide_everywhere(start);
                inner.give_pages(start, reserved);
            }
            AllocationKind::Device | AllocationKind::Mapped | AllocationKind::Registered => {
                self.devices[device].unmap(start);
                if let (Some(memory), Some(physical)) = (memory, self.devices[device].physical()) {
                    physical.destroy(memory);
                }
                self.count(&mut inner, device, |used| used - reserved);
                inner.exposed.remove(&start);
                inner.give_pages(start, reserved);
            }
        }
    }

    /// Frees everything that belongs to a session. Its work must be finished.
    pub(crate) fn release_session(&self, session: u64) {
        let starts: Vec<u64> = {
            let inner = self.lock();
            inner.allocations.values().filter(|a| a.owner.session == session).map(|a| a.start).collect()
        };
        for start in starts {
            if let Ok(allocation) = self.forget(start, |_| Ok(())) {
                self.release(&allocation);
            }
        }
    }
}

impl Inner {
    /// The devices that reach a device's memory.
    fn linked_to(&self, device: usize) -> Vec<usize> {
        self.links.keys().filter(|(_, home)| *home == device).map(|(peer, _)| *peer).collect()
    }

    /// Addresses for whole pages, taken from the host's address space too.
    pub(crate) fn take_pages(&mut self, bytes: u64) -> Result<u64> {
        self.take_pages_from(RANGE_START, bytes, PAGE)
    }

    /// The same, at the first address from `from` on that is free and a multiple of `align`.
    pub(crate) fn take_pages_from(&mut self, from: u64, bytes: u64, align: u64) -> Result<u64> {
        let mut from = from;
        while let Some(at) = self.pages.find(from, bytes, align) {
            let taken = if self.is_kept(at, bytes) { Ok(()) } else { sys::reserve(at, bytes) };
            match taken {
                Ok(()) => {
                    self.pages.take(at, bytes);
                    return Ok(at);
                }
                // Something of the program lies there: look further on.
                Err(refused) if refused.raw_os_error() == Some(libc::EEXIST) => from = at + (64 << 20),
                Err(refused) => return Err(Error::out_of_memory(format!("no addresses for {bytes} bytes: {refused}"))),
            }
        }
        Err(Error::out_of_memory(format!("no addresses for {bytes} bytes")))
    }

    fn clear(
        &mut self,
        target: &dyn Device,
        device: usize,
        at: u64,
        bytes: u64,
    ) -> std::result::Result<(), DeviceError> {
        let queue = match self.cleaners[device].take() {
            Some(queue) => queue,
            None => target.open_queue(0)?,
        };
        queue.run(Work::Fill(Fill::line(at, Pattern::byte(0), bytes)))?;
        // One that failed takes no more work.
        self.cleaners[device] = Some(queue);
        Ok(())
    }

    /// Whether nobody but devices gets these addresses of the host.
    fn is_kept(&self, at: u64, bytes: u64) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.start <= at && at + bytes <= kept.end)
    }

    pub(crate) fn give_pages(&mut self, at: u64, bytes: u64) {
        if self.is_kept(at, bytes) {
            // What was committed there goes, and the addresses stay taken. That this fails costs memory and nothing else.
            let _ = sys::cover(at, bytes);
        } else {
            sys::release(at, bytes);
        }
        self.pages.give(at, bytes);
    }

    fn give(&mut self, device: usize, at: u64, reserved: u64) {
        if reserved >= PAGE { self.give_pages(at, reserved) } else { self.shared[device].give(at, reserved) }
    }

    pub(crate) fn record(&mut self, new: New) {
        let New { start, bytes, kind, device, owner, flags, origin, reserved } = new;
        let id = self.next_id;
        self.next_id += 1;
        let advice = (kind == AllocationKind::Managed).then(|| Arc::new(Advice::default()));
        let synchronises = matches!(kind, AllocationKind::Device | AllocationKind::Managed | AllocationKind::Mapped);
        let allocation =
            Allocation { start, bytes, kind, device, owner, id, flags, origin, advice, synchronises, reserved };
        self.allocations.insert(start, allocation);
    }

    pub(crate) fn allocations(&self) -> impl Iterator<Item = &Allocation> {
        self.allocations.values()
    }

    /// Allocations that begin in a range, and the one that holds its first byte.
    pub(crate) fn around(&self, start: u64, end: u64) -> impl Iterator<Item = &Allocation> {
        let first = self.allocations.range(..start).next_back().filter(|(_, a)| a.end() > start);
        first.into_iter().chain(self.allocations.range(start..end)).map(|(_, allocation)| allocation)
    }

    pub(crate) fn remove(&mut self, start: u64) {
        self.allocations.remove(&start);
    }
}
