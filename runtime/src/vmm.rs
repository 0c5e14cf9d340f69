//! Addresses and physical memory apart from each other: ranges are reserved, memory is made, and mapped where it is wanted.

use crate::handle::{Handle, Kind};
use crate::memory::{AllocationKind, New, Origin, Owner, PAGE, RANGE_END, RANGE_START};
use crate::{Allocation, Error, Location, Result, Runtime};
use hetgpu_device::{Access, Device, PhysicalId, PhysicalMemory};
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// What sizes and addresses are multiples of.
pub const VMM_GRANULARITY: u64 = PAGE;

/// Memory of a device, mapped or not.
pub struct Physical {
    /// Where it lies.
    pub device: usize,
    pub bytes: u64,
    /// What the interface wants to remember about it.
    pub traits: PhysicalTraits,
    home: Arc<dyn Device>,
    id: PhysicalId,
    holders: Mutex<Holders>,
    /// Where its bytes count as in use, unless they are another process's.
    counted: Option<Arc<AtomicU64>>,
}

/// Who holds physical memory by handle.
#[derive(Default)]
struct Holders {
    handle: Option<Handle<Physical>>,
    count: u32,
}

/// What physical memory was made to be, as the interface spells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PhysicalTraits {
    pub handle_types: u32,
    pub flags: [u8; 8],
}

impl Kind for Physical {
    const TAG: u8 = 0x56;
    const NAME: &'static str = "physical memory";
}

impl fmt::Debug for Physical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Physical({} bytes of device {})", self.bytes, self.device)
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        if let Some(physical) = self.home.physical() {
            physical.destroy(self.id);
        }
        if let Some(total) = &self.counted {
            total.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Physical memory at an address.
#[derive(Debug)]
pub struct Mapping {
    pub memory: Arc<Physical>,
    /// The range that was reserved: start and size.
    pub reserved: (u64, u64),
    access: Mutex<BTreeMap<usize, Access>>,
}

impl Mapping {
    fn rights(&self) -> MutexGuard<'_, BTreeMap<usize, Access>> {
        self.access.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The most that any device may do with it.
    pub(crate) fn most(&self) -> Access {
        self.rights().values().copied().max().unwrap_or_default()
    }

    /// What a device may do with it.
    pub fn access(&self, device: usize) -> Access {
        self.rights().get(&device).copied().unwrap_or_default()
    }
}

/// Reserved ranges of addresses: start and size.
#[derive(Default)]
pub(crate) struct Reservations(Mutex<BTreeMap<u64, u64>>);

impl Reservations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The range that holds an address.
    fn around(&self, address: u64) -> Option<(u64, u64)> {
        let all = self.lock();
        let (&start, &bytes) = all.range(..=address).next_back()?;
        (address - start < bytes).then_some((start, bytes))
    }

    /// Whether ranges without a gap between them hold all of a range.
    fn hold(&self, at: u64, bytes: u64) -> bool {
        let Some(end) = at.checked_add(bytes) else { return false };
        let mut at = at;
        while at < end {
            match self.around(at) {
                Some((start, bytes)) => at = start + bytes,
                None => return false,
            }
        }
        true
    }
}

fn whole(value: u64) -> bool {
    value.is_multiple_of(VMM_GRANULARITY)
}

fn physical_of(device: &dyn Device) -> Result<&dyn PhysicalMemory> {
    let none = || Error::NotSupported(format!("{} has no memory apart from its addresses", device.caps().name));
    device.physical().ok_or_else(none)
}

impl Runtime {
    /// Reserves addresses: at the wanted one, where it is free, or elsewhere. `align` is 0 or a power of two.
    pub fn reserve_addresses(&self, bytes: u64, align: u64, wanted: u64) -> Result<u64> {
        if bytes == 0 || !whole(bytes) || !whole(wanted) || (align != 0 && !align.is_power_of_two()) {
            return Err(Error::invalid(format!("{bytes} bytes of addresses at {wanted:#x}, aligned to {align}")));
        }
        let align = align.max(PAGE);
        let mut inner = self.memory.lock();
        let here = wanted.is_multiple_of(align) && (RANGE_START..RANGE_END).contains(&wanted);
        let at = match here {
            true => match inner.take_pages_from(wanted, bytes, align) {
                Ok(at) if at == wanted => Ok(at),
                Ok(at) => {
                    inner.give_pages(at, bytes);
                    inner.take_pages_from(RANGE_START, bytes, align)
                }
                Err(_) => inner.take_pages_from(RANGE_START, bytes, align),
            },
            false => inner.take_pages_from(RANGE_START, bytes, align),
        }?;
        drop(inner);
        self.reservations.lock().insert(at, bytes);
        Ok(at)
    }

    /// Gives a reserved range back, which must be one as a whole, with nothing mapped in it.
    pub fn free_addresses(&self, at: u64, bytes: u64) -> Result<()> {
        let mut all = self.reservations.lock();
        if all.get(&at) != Some(&bytes) {
            return Err(Error::invalid(format!("{bytes} bytes at {at:#x} are not a reserved range")));
        }
        let mut inner = self.memory.lock();
        if inner.around(at, at + bytes).next().is_some() {
            return Err(Error::invalid(format!("memory is mapped in the range at {at:#x}")));
        }
        all.remove(&at);
        inner.give_pages(at, bytes);
        Ok(())
    }

    /// Whether an address is reserved, and the range around it.
    pub fn reserved_around(&self, address: u64) -> Option<(u64, u64)> {
        self.reservations.around(address)
    }

    fn keep_physical(&self, memory: Arc<Physical>) -> Handle<Physical> {
        let mut holders = memory.holders.lock().unwrap_or_else(|e| e.into_inner());
        holders.count += 1;
        *holders.handle.get_or_insert_with(|| self.physical.insert(memory.clone()))
    }

    /// Memory of a device, at no address.
    pub fn create_physical(&self, device: usize, bytes: u64, traits: PhysicalTraits) -> Result<Handle<Physical>> {
        let home = self.device(device)?.device.clone();
        if bytes == 0 || !whole(bytes) {
            return Err(Error::invalid(format!("{bytes} bytes are not a multiple of {VMM_GRANULARITY}")));
        }
        let free = home.caps().memory.saturating_sub(self.memory.used(device));
        if bytes > free {
            return Err(Error::out_of_memory(format!("{bytes} bytes wanted, {free} free on {}", home.caps().name)));
        }
        let id = physical_of(home.as_ref())?.create(bytes)?;
        let counted = self.memory.physical_used[device].clone();
        counted.fetch_add(bytes, Ordering::Relaxed);
        let counted = Some(counted);
        let memory = Physical { device, bytes, traits, home, id, holders: Mutex::default(), counted };
        Ok(self.keep_physical(Arc::new(memory)))
    }

    /// Undoes one `create_physical`, `retain_physical` or `import_physical`. What is mapped stays.
    pub fn release_physical(&self, handle: Handle<Physical>) -> Result<()> {
        let memory = self.physical.get(handle)?;
        let mut holders = memory.holders.lock().unwrap_or_else(|e| e.into_inner());
        holders.count = holders.count.checked_sub(1).ok_or(Error::InvalidHandle(Physical::NAME))?;
        if holders.count == 0 {
            holders.handle = None;
            self.physical.remove(handle)?;
        }
        Ok(())
    }

    fn mapping(&self, address: u64) -> Option<(Allocation, Arc<Mapping>)> {
        let found = self.memory.find(address)?;
        match &found.origin {
            Origin::Mapping(mapping) => Some((found.clone(), mapping.clone())),
            Origin::Own | Origin::Pool(_) | Origin::Foreign(_) | Origin::Module => None,
        }
    }

    /// A handle of the memory that is mapped at an address.
    pub fn retain_physical(&self, address: u64) -> Result<Handle<Physical>> {
        let (_, mapping) =
            self.mapping(address).ok_or_else(|| Error::invalid(format!("nothing is mapped at {address:#x}")))?;
        Ok(self.keep_physical(mapping.memory.clone()))
    }

    /// Maps all of some memory into a reserved range. Nobody may access it yet.
    pub fn map_physical(&self, at: u64, bytes: u64, offset: u64, handle: Handle<Physical>) -> Result<()> {
        let memory = self.physical.get(handle)?;
        if bytes == 0 {
            return Err(Error::invalid("a mapping of 0 bytes"));
        }
        if offset != 0 || bytes != memory.bytes {
            return Err(Error::NotSupported(format!("mapping a part of memory of {} bytes", memory.bytes)));
        }
        let reserved = self.reservations.around(at).filter(|_| whole(at) && self.reservations.hold(at, bytes));
        let reserved = reserved.ok_or_else(|| Error::invalid(format!("{bytes} bytes at {at:#x} are not reserved")))?;
        let mut inner = self.memory.lock();
        if inner.around(at, at + bytes).next().is_some() {
            return Err(Error::invalid(format!("memory is mapped at {at:#x} already")));
        }
        physical_of(memory.home.as_ref())?.map(memory.id, at, "mapped memory")?;
        let (device, kind) = (memory.device, AllocationKind::Mapped);
        let mapping = Mapping { memory, reserved, access: Mutex::default() };
        let (owner, origin) = (Owner::system(0), Origin::Mapping(Arc::new(mapping)));
        inner.record(New { start: at, bytes, kind, device, owner, flags: 0, origin, reserved: bytes });
        Ok(())
    }

    /// The mappings that make up a range, none of which reaches beyond it.
    fn mappings(&self, at: u64, bytes: u64) -> Result<Vec<(u64, Arc<Mapping>)>> {
        let wrong = || Error::invalid(format!("{bytes} bytes at {at:#x} are not whole mappings"));
        let end = at.checked_add(bytes).filter(|_| bytes > 0).ok_or_else(wrong)?;
        let inner = self.memory.lock();
        let (mut found, mut next) = (Vec::new(), at);
        for allocation in inner.around(at, end) {
            let Origin::Mapping(mapping) = &allocation.origin else { return Err(wrong()) };
            if allocation.start != next || allocation.end() > end {
                return Err(wrong());
            }
            next = allocation.end();
            found.push((allocation.start, mapping.clone()));
        }
        if next == end { Ok(found) } else { Err(wrong()) }
    }

    /// Takes the mappings of a reserved range away, none of which may reach beyond it. Gaps, and nothing but a gap, are no
    /// mistake.
    pub fn unmap_physical(&self, at: u64, bytes: u64) -> Result<()> {
        let wrong = || Error::invalid(format!("{bytes} bytes at {at:#x} cut a mapping or are not reserved"));
        let end = at.checked_add(bytes).filter(|_| self.reservations.hold(at, bytes) && bytes > 0).ok_or_else(wrong)?;
        let mut found = Vec::new();
        for allocation in self.memory.lock().around(at, end) {
            match &allocation.origin {
                Origin::Mapping(mapping) if allocation.start >= at && allocation.end() <= end => {
                    found.push((allocation.start, mapping.clone()));
                }
                _ => return Err(wrong()),
            }
        }
        for (start, mapping) in found {
            for (&device, _) in mapping.rights().iter().filter(|&(&device, _)| device != mapping.memory.device) {
                self.device(device)?.device.unmap(start);
            }
            mapping.memory.home.unmap(start);
            self.memory.lock().remove(start);
        }
        Ok(())
    }

    /// Says what devices may do with the mappings of a range.
    pub fn set_access(&self, at: u64, bytes: u64, rights: &[(usize, Access)]) -> Result<()> {
        let mappings = self.mappings(at, bytes)?;
        for &(device, _) in rights {
            self.device(device).map_err(|_| Error::invalid(format!("no device {device}")))?;
            for (_, mapping) in mappings.iter().filter(|(_, mapping)| mapping.memory.device != device) {
                if !self.can_reach(device, mapping.memory.device)? {
                    return Err(Error::invalid(format!("device {device} does not reach that memory")));
                }
            }
        }
        for (start, mapping) in mappings {
            let mut access = mapping.rights();
            for &(device, right) in rights {
                let known = access.insert(device, right).unwrap_or_default();
                if device != mapping.memory.device {
                    let peer = &self.device(device)?.device;
                    match (known == Access::None, right == Access::None) {
                        (true, false) => peer.reach(mapping.memory.home.caps().uuid, start)?,
                        (false, true) => peer.unmap(start),
                        (true, true) | (false, false) => {}
                    }
                }
            }
            // Devices that reach it do so through its home.
            let most = access.values().copied().max().unwrap_or_default();
            physical_of(mapping.memory.home.as_ref())?.allow(start, most)?;
        }
        Ok(())
    }

    /// What a location may do with what lies at an address.
    pub fn access(&self, location: Location, address: u64) -> Result<Access> {
        match (self.mapping(address), location) {
            (Some((_, mapping)), Location::Device(device)) => Ok(mapping.access(device)),
            (Some(_), _) => Ok(Access::None),
            (None, _) => Err(Error::invalid(format!("nothing is mapped at {address:#x}"))),
        }
    }

    /// A file that stands for the memory in other processes.
    pub fn export_physical(&self, handle: Handle<Physical>) -> Result<OwnedFd> {
        let memory = self.physical.get(handle)?;
        Ok(physical_of(memory.home.as_ref())?.export(memory.id)?)
    }

    /// The memory that a file stands for.
    pub fn import_physical(&self, file: OwnedFd, traits: PhysicalTraits) -> Result<Handle<Physical>> {
        for index in 0..self.device_count() {
            let home = self.device(index)?.device.clone();
            let Some(physical) = home.physical() else { continue };
            let file = file.try_clone().map_err(|e| Error::invalid(format!("no file descriptor: {e}")))?;
            if let Ok((id, bytes)) = physical.import(file) {
                let (home, holders) = (home.clone(), Mutex::default());
                let memory = Physical { device: index, bytes, traits, home, id, holders, counted: None };
                return Ok(self.keep_physical(Arc::new(memory)));
            }
        }
        Err(Error::invalid("the file is no memory of a device"))
    }
}
