//! Memory that several processes have: what one of them says about it, and what another makes of that.
//!
//! A ticket names a file of the process that has the memory, which others open by way of `/proc`: whoever may open it may
//! debug that process. Nothing is left behind when a process dies.

use crate::handle::Handle;
use crate::memory::{AllocationKind, Memory, New, Origin, Owner, PAGE};
use crate::pool::{Pool, PoolTraits};
use crate::queue::Queue;
use crate::{Allocation, Error, Location, Result, Runtime, StreamRef, sys};
use hetgpu_device::{Access, PhysicalId};
use std::collections::btree_map::Entry;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What another process needs to find memory of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ticket {
    pub process: u32,
    /// A file descriptor of that process, and what it must be.
    pub file: i32,
    pub inode: u64,
    /// Where the memory begins in the file, and how long it is.
    pub offset: u64,
    pub bytes: u64,
    /// The identity of the pool that it comes from, or 0.
    pub pool: u64,
    /// Bytes of all memory that the file stands for.
    pub total: u64,
    /// Tells that memory from all other: files of a driver have the same inode.
    pub identity: u64,
}

/// Memory of this process that others may open.
pub(crate) struct Exposed {
    file: OwnedFd,
    bytes: u64,
    identity: u64,
}

impl Exposed {
    fn new(file: OwnedFd, bytes: u64) -> Self {
        Self { file, bytes, identity: sys::random().max(1) }
    }

    fn ticket(&self, offset: u64, bytes: u64, pool: u64) -> Result<Ticket> {
        let inode = sys::inode(&self.file).map_err(|e| Error::invalid(format!("no file of memory: {e}")))?;
        let (process, file) = (std::process::id(), self.file.as_raw_fd());
        Ok(Ticket { process, file, inode, offset, bytes, pool, total: self.bytes, identity: self.identity })
    }
}

/// A part of a room, and how often it was opened.
#[derive(Debug)]
pub struct Foreign {
    room: Arc<Room>,
    opened: AtomicU32,
    /// It came by way of a pool or as external memory, and is freed like memory of one's own.
    pooled: bool,
}

/// A file of another process, mapped here.
#[derive(Debug)]
struct Room {
    start: u64,
    bytes: u64,
    identity: u64,
    /// Allocations in it.
    users: AtomicU32,
}

/// Of what nobody else names.
const NO_IDENTITY: u64 = 0;

impl Foreign {
    pub(crate) fn block(&self) -> (u64, u64) {
        (self.room.start, self.room.bytes)
    }

    /// True where it is freed like memory of one's own.
    pub fn pooled(&self) -> bool {
        self.pooled
    }
}

impl Memory {
    /// An allocation in a room is gone, and the last one takes the room with it.
    pub(crate) fn leave_room(&self, device: usize, foreign: &Foreign) {
        if foreign.room.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut inner = self.lock();
            self.devices[device].unmap(foreign.room.start);
            inner.give_pages(foreign.room.start, foreign.room.bytes);
        }
    }
}

fn foreign(allocation: &Allocation) -> Option<&Arc<Foreign>> {
    match &allocation.origin {
        Origin::Foreign(foreign) => Some(foreign),
        Origin::Own | Origin::Pool(_) | Origin::Mapping(_) | Origin::Module => None,
    }
}

/// A file descriptor that the program passes on for good; none where it is not open.
pub fn adopt_program_file(file: i32) -> Option<OwnedFd> {
    sys::adopted_file(file).ok()
}

/// A copy of a file descriptor that the program passed; none where it is not open.
pub fn program_file(file: i32) -> Option<OwnedFd> {
    sys::borrowed_file(file).ok()
}

/// What stands in a file that stands for a pool.
const POOL_FILE: &[u8; 16] = b"hetgpu mem. pool";

impl Runtime {
    /// Waits for all work of a device.
    pub(crate) fn drain_device(&self, device: usize) {
        for handle in self.contexts.handles_where(|context| context.device.index == device) {
            if let Ok(session) = self.contexts.get(handle).and_then(|context| context.session()) {
                session.drain();
            }
        }
    }

    /// Does something while no work runs on any device, and none begins.
    fn while_idle<R>(&self, act: impl FnOnce() -> R) -> R {
        let devices = (0..self.device_count()).filter_map(|index| self.device(index).ok());
        Queue::while_idle(&devices.map(|device| &device.queue).collect::<Vec<_>>(), act)
    }

    /// What another process needs to reach device memory of the program.
    pub fn share_memory(&self, address: u64) -> Result<Ticket> {
        self.session()?;
        let wrong = || Error::invalid(format!("{address:#x} is not memory of a device that can be shared"));
        let found = self.memory.find(address).ok_or_else(wrong)?;
        if found.kind != AllocationKind::Device || !matches!(found.origin, Origin::Own) || !found.owner.program {
            return Err(wrong());
        }
        let home = self.device(found.device)?.device.clone();
        let Some(physical) = home.physical() else {
            return Err(Error::NotSupported(format!("{} shares no memory with other processes", home.caps().name)));
        };
        let (start, bytes) = if found.reserved < PAGE { found.block() } else { (found.start, found.reserved) };
        if !self.memory.lock().exposed.contains_key(&start) {
            // Its pages are moved: nobody may write to them meanwhile, on any device that reaches them.
            self.drain_device(found.device);
            let file = self.while_idle(|| physical.expose_file(start, bytes))?;
            self.memory.lock().exposed.insert(start, Exposed::new(file, bytes));
        }
        let inner = self.memory.lock();
        inner.exposed.get(&start).ok_or_else(wrong)?.ticket(found.start - start, found.bytes, 0)
    }

    /// Makes memory of another process accessible.
    pub fn open_memory(&self, ticket: &Ticket) -> Result<u64> {
        let session = self.session()?;
        if ticket.process == std::process::id() {
            return Err(Error::InvalidContext);
        }
        self.open(ticket, session.device.index, session.id, false)
    }

    fn open(&self, ticket: &Ticket, device: usize, session: u64, pooled: bool) -> Result<u64> {
        let wrong = |why: String| Error::invalid(format!("memory of process {}: {why}", ticket.process));
        let file = sys::file_of_process(ticket.process, ticket.file).map_err(|e| wrong(e.to_string()))?;
        if sys::inode(&file).map_err(|e| wrong(e.to_string()))? != ticket.inode {
            return Err(wrong("it is gone".into()));
        }
        let home = self.device(device)?.device.clone();
        let none = || Error::NotSupported(format!("{} shares no memory with other processes", home.caps().name));
        let physical = home.physical().ok_or_else(none)?;
        let memory = physical.import_known(file, ticket.total)?;
        let placed = self.place_foreign(ticket, device, session, pooled, |at| {
            physical.map(memory, at, "another process's memory")?;
            Ok(physical.allow(at, hetgpu_device::Access::ReadWrite).inspect_err(|_| home.unmap(at))?)
        });
        physical.destroy(memory);
        placed
    }

    fn place_foreign(
        &self,
        ticket: &Ticket,
        device: usize,
        session: u64,
        pooled: bool,
        map: impl FnOnce(u64) -> Result<()>,
    ) -> Result<u64> {
        let &Ticket { offset, bytes, total, identity, .. } = ticket;
        if bytes == 0
            || identity == NO_IDENTITY
            || offset.checked_add(bytes).is_none_or(|end| end > total)
            || !total.is_multiple_of(PAGE)
        {
            return Err(Error::invalid("memory of another process that it does not have"));
        }
        let mut inner = self.memory.lock();
        let same = |a: &&Allocation| foreign(a).is_some_and(|f| f.room.identity == identity && a.device == device);
        let known: Vec<Allocation> = inner.allocations().filter(same).cloned().collect();
        if let Some(old) = known.iter().find(|a| foreign(a).is_some_and(|f| f.room.start + offset == a.start)) {
            if let Some(foreign) = foreign(old) {
                foreign.opened.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(old.start);
        }
        let room = match known.first().and_then(foreign) {
            Some(foreign) => foreign.room.clone(),
            None => {
                let start = inner.take_pages(total)?;
                map(start).inspect_err(|_| inner.give_pages(start, total))?;
                Arc::new(Room { start, bytes: total, identity, users: AtomicU32::new(0) })
            }
        };
        room.users.fetch_add(1, Ordering::Relaxed);
        let start = room.start + offset;
        let origin = Origin::Foreign(Arc::new(Foreign { room, opened: AtomicU32::new(1), pooled }));
        let (owner, kind) = (Owner::program(session), AllocationKind::Device);
        inner.record(New { start, bytes, kind, device, owner, flags: 0, origin, reserved: 0 });
        Ok(start)
    }

    /// Makes all of some memory appear at addresses of its own. The program has a part of it, and frees that.
    pub(crate) fn place_part(
        &self,
        device: usize,
        session: u64,
        memory: PhysicalId,
        total: u64,
        (offset, bytes): (u64, u64),
    ) -> Result<u64> {
        let home = self.device(device)?.device.clone();
        let none = || Error::NotSupported(format!("{} shares no memory with other processes", home.caps().name));
        let physical = home.physical().ok_or_else(none)?;
        let reserved = total.next_multiple_of(PAGE);
        let mut inner = self.memory.lock();
        let start = inner.take_pages(reserved)?;
        let mapped = physical
            .map(memory, start, "external memory")
            .and_then(|()| physical.allow(start, Access::ReadWrite).inspect_err(|_| home.unmap(start)));
        mapped.inspect_err(|_| inner.give_pages(start, reserved))?;
        let room = Arc::new(Room { start, bytes: reserved, identity: NO_IDENTITY, users: AtomicU32::new(1) });
        let origin = Origin::Foreign(Arc::new(Foreign { room, opened: AtomicU32::new(1), pooled: true }));
        let (owner, kind, at) = (Owner::program(session), AllocationKind::Device, start + offset);
        inner.record(New { start: at, bytes, kind, device, owner, flags: 0, origin, reserved: 0 });
        Ok(at)
    }

    /// Undoes one `open_memory`; the last one takes the memory away, after all work that may use it.
    pub fn close_memory(&self, start: u64) -> Result<()> {
        let session = self.session()?;
        let wrong = || Error::invalid(format!("no memory of another process was opened at {start:#x}"));
        let found = self.memory.find(start).filter(|found| found.start == start).ok_or_else(wrong)?;
        let foreign = foreign(&found).filter(|foreign| !foreign.pooled).ok_or_else(wrong)?;
        if foreign.opened.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        session.drain();
        let gone = self.memory.forget(start, |_| Ok(()))?;
        self.memory.release(&gone);
        Ok(())
    }

    /// What another process that has the pool needs to reach memory of it.
    pub fn share_pooled(&self, address: u64) -> Result<Ticket> {
        let wrong = || Error::invalid(format!("{address:#x} is not memory of a pool that can be shared"));
        let found = self.memory.find(address).ok_or_else(wrong)?;
        let Origin::Pool(pool) = &found.origin else { return Err(wrong()) };
        let (memory, start, bytes) = pool.physical_of(found.start).ok_or_else(wrong)?;
        let home = self.device(found.device)?.device.clone();
        let physical = home.physical().ok_or_else(wrong)?;
        let mut inner = self.memory.lock();
        let exposed = match inner.exposed.entry(start) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Exposed::new(physical.export(memory)?, bytes)),
        };
        exposed.ticket(found.start - start, found.bytes, pool.identity)
    }

    /// Makes memory of a pool that came from another process accessible.
    pub fn open_pooled(&self, pool: Handle<Pool>, ticket: &Ticket) -> Result<u64> {
        let pool = self.pools.get(pool)?;
        if ticket.pool == 0 || ticket.pool != pool.identity {
            return Err(Error::invalid("memory of another pool"));
        }
        let (session, _) = self.lane(StreamRef::Default)?;
        self.open(ticket, pool.traits.device, session.id, true)
    }

    /// A file that stands for a pool in other processes.
    pub fn export_pool(&self, pool: Handle<Pool>) -> Result<OwnedFd> {
        let pool = self.pools.get(pool)?;
        if pool.traits.handle_types == 0 || pool.imported {
            return Err(Error::invalid("the pool was not made to be shared"));
        }
        let uuid = self.device(pool.traits.device)?.device.caps().uuid;
        let text = [POOL_FILE.as_slice(), &pool.identity.to_ne_bytes(), &uuid].concat();
        sys::file_with(&text).map_err(|e| Error::invalid(format!("no file for a pool: {e}")))
    }

    /// The pool that a file stands for.
    pub fn import_pool(&self, file: OwnedFd, handle_types: u32) -> Result<Handle<Pool>> {
        let wrong = || Error::invalid("the file is no memory pool");
        let text = sys::contents(file).map_err(|_| wrong())?;
        let rest = text.strip_prefix(POOL_FILE).ok_or_else(wrong)?;
        let (identity, uuid) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
        let mut devices = 0..self.device_count();
        let device = devices.find(|&index| self.device(index).is_ok_and(|d| d.device.caps().uuid == uuid));
        let device = device.ok_or_else(|| Error::invalid("the pool's device is not one of this process"))?;
        let location = Location::Device(device);
        let traits = PoolTraits { kind: AllocationKind::Device, location, device, handle_types, most: 0 };
        Ok(self.imported_pool(traits, u64::from_ne_bytes(*identity)))
    }
}
