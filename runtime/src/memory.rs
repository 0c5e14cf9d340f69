//! Addresses: one range for all devices, handed out here, and what lies at each.

use crate::space::Space;
use crate::{Error, Result, sys};
use hetgpu_device::{Device, DeviceError, Fill, Pattern, Queue, Work};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Where device addresses begin. Drivers of every vendor can map memory at fixed addresses from here on.
pub(crate) const RANGE_START: u64 = 0x10_0000_0000;
/// Where they end: below the addresses at which Linux puts position-independent programs and their heaps.
pub(crate) const RANGE_END: u64 = 0x5000_0000_0000;
/// Ranges are taken in pages of this size; smaller allocations share one.
pub(crate) const PAGE: u64 = 2 << 20;
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
    /// Addresses taken for it.
    reserved: u64,
}

impl Allocation {
    pub fn end(&self) -> u64 {
        self.start + self.bytes
    }

    /// True where the host can touch it.
    pub fn host_visible(&self) -> bool {
        self.kind != AllocationKind::Device
    }
}

struct Inner {
    pages: Space,
    /// Free parts of shared pages, by device.
    shared: Vec<Space>,
    used: Vec<u64>,
    /// Clears parts of shared pages, by device; opened when it is first needed.
    cleaners: Vec<Option<Box<dyn Queue>>>,
    allocations: BTreeMap<u64, Allocation>,
    next_id: u64,
}

/// Every allocation of the process.
pub struct Memory {
    devices: Vec<Arc<dyn Device>>,
    inner: Mutex<Inner>,
}

impl Memory {
    pub(crate) fn new(devices: Vec<Arc<dyn Device>>) -> Self {
        let inner = Inner {
            pages: Space::new(RANGE_START, RANGE_END - RANGE_START),
            shared: devices.iter().map(|_| Space::default()).collect(),
            used: vec![0; devices.len()],
            cleaners: devices.iter().map(|_| None).collect(),
            allocations: BTreeMap::new(),
            next_id: 1,
        };
        Self { devices, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Bytes in use on a device.
    pub fn used(&self, device: usize) -> u64 {
        self.lock().used[device]
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
                    let mapped = if whole_pages { target.map(page, PAGE, "small allocations") } else { Ok(()) };
                    mapped.inspect_err(|_| inner.give_pages(page, PAGE))?;
                    inner.shared[device].give(page, PAGE);
                    page
                }
            };
            inner.shared[device].take(start, room);
            (start, room)
        };
        let mapped = match (whole_pages, reserved >= PAGE) {
            (true, true) => target.map(start, reserved, name),
            (true, false) => inner.clear(target.as_ref(), device, start, room),
            (false, _) => target.map(start, bytes.next_multiple_of(caps.map_granularity), name),
        };
        if let Err(error) = mapped {
            inner.give(device, start, reserved);
            return Err(error.into());
        }
        inner.used[device] += room;
        inner.record(start, bytes, AllocationKind::Device, device, owner, 0, reserved);
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
        let start = inner.take_pages(reserved)?;
        let made = sys::commit(start, reserved)
            .map_err(|refused| Error::out_of_memory(refused.to_string()))
            .and_then(|()| self.share_everywhere(start, bytes));
        if let Err(error) = made {
            inner.give_pages(start, reserved);
            return Err(error);
        }
        inner.record(start, bytes, AllocationKind::Managed, device, owner, flags, reserved);
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
        let start = sys::allocate(reserved).map_err(|refused| Error::out_of_memory(refused.to_string()))?;
        if let Err(error) = self.share_everywhere(start, bytes) {
            sys::release(start, reserved);
            return Err(error);
        }
        self.lock().record(start, bytes, AllocationKind::Pinned, device, Owner::program(session), flags, reserved);
        Ok(start)
    }

    /// Makes the program's own memory known.
    pub fn register(&self, device: usize, session: u64, start: u64, bytes: u64, flags: u32) -> Result<()> {
        let end = start.checked_add(bytes).filter(|_| start != 0 && bytes != 0);
        let end = end.ok_or_else(|| Error::invalid("a host range to register must not be empty"))?;
        let mut inner = self.lock();
        if inner.allocations.range(..end).next_back().is_some_and(|(_, other)| other.end() > start) {
            return Err(Error::AlreadyRegistered);
        }
        self.share_everywhere(start, bytes)?;
        inner.record(start, bytes, AllocationKind::Registered, device, Owner::program(session), flags, 0);
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
        let mut inner = self.lock();
        match kind {
            AllocationKind::Device => {
                let whole_pages = self.devices[device].caps().map_granularity > ALIGNMENT;
                if !whole_pages || reserved >= PAGE {
                    self.devices[device].unmap(start);
                }
                inner.used[device] -= allocation.bytes.next_multiple_of(ALIGNMENT);
                inner.give(device, start, reserved);
            }
            AllocationKind::Managed | AllocationKind::Pinned | AllocationKind::Registered => {
                for device in self.devices.iter().filter(|device| device.caps().shares_host_memory) {
                    device.unmap(start);
                }
                match kind {
                    AllocationKind::Managed => inner.give_pages(start, reserved),
                    AllocationKind::Pinned => sys::release(start, reserved),
                    AllocationKind::Device | AllocationKind::Registered => {}
                }
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
    /// Addresses for whole pages, taken from the host's address space too.
    fn take_pages(&mut self, bytes: u64) -> Result<u64> {
        let mut from = RANGE_START;
        while let Some(at) = self.pages.find(from, bytes, PAGE) {
            match sys::reserve(at, bytes) {
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

    fn give_pages(&mut self, at: u64, bytes: u64) {
        sys::release(at, bytes);
        self.pages.give(at, bytes);
    }

    fn give(&mut self, device: usize, at: u64, reserved: u64) {
        if reserved >= PAGE { self.give_pages(at, reserved) } else { self.shared[device].give(at, reserved) }
    }

    fn record(
        &mut self,
        start: u64,
        bytes: u64,
        kind: AllocationKind,
        device: usize,
        owner: Owner,
        flags: u32,
        reserved: u64,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        let allocation = Allocation { start, bytes, kind, device, owner, id, flags, reserved };
        self.allocations.insert(start, allocation);
    }
}
