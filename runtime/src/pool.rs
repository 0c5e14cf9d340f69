//! Memory pools: memory that is handed out and taken back in the order of streams.

use crate::capture::Target;
use crate::handle::{Handle, Kind};
use crate::memory::{ALIGNMENT, AllocationKind, Chunk, Memory, New, Origin, Owner, PAGE};
use crate::queue::{Lane, Operation};
use crate::space::Space;
use crate::{Error, Location, Result, Runtime, StreamRef};
use hetgpu_device::PhysicalId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// What a pool asks of a device at a time.
const CHUNK: u64 = 32 << 20;

/// What a pool was made to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolTraits {
    /// Device, pinned or managed.
    pub kind: AllocationKind,
    /// Where its memory lies.
    pub location: Location,
    /// The device that it belongs to, or whose space of addresses it uses.
    pub device: usize,
    /// Ways to share it that were asked for, as the interface counts them.
    pub handle_types: u32,
    /// Most bytes that it may hold; 0 for as many as there are.
    pub most: u64,
}

/// What the program may set about reuse; memory freed in a stream is reused in that stream at once, whatever it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reuse {
    pub follow_events: bool,
    pub opportunistic: bool,
    pub internal_dependencies: bool,
}

/// Bytes of a pool, now and at most since that was last reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Level {
    pub now: u64,
    pub high: u64,
}

impl Level {
    fn add(&mut self, bytes: u64) {
        self.now += bytes;
        self.high = self.high.max(self.now);
    }
}

struct Held {
    chunk: Chunk,
    memory: Option<PhysicalId>,
    /// Ranges are not joined with those of the next chunk: devices know of each by itself.
    free: Space,
}

impl Held {
    fn take(&mut self, bytes: u64) -> Option<u64> {
        let at = self.free.find(0, bytes, ALIGNMENT)?;
        self.free.take(at, bytes);
        Some(at)
    }
}

/// Lanes are numbered by device.
type DeviceLane = (usize, Lane);

/// Freed by the program, and perhaps still in use by what stands before that in the stream.
#[derive(Clone, Copy, Debug)]
struct Pending {
    at: u64,
    bytes: u64,
    lane: DeviceLane,
    /// Which free it was.
    turn: u64,
}

struct State {
    chunks: BTreeMap<u64, Held>,
    pending: Vec<Pending>,
    next_turn: u64,
    reuse: Reuse,
    /// So much is kept when the program waits.
    threshold: u64,
    reserved: Level,
    used: Level,
}

/// A pool of memory.
pub struct Pool {
    pub traits: PoolTraits,
    /// True for one that every device has.
    pub permanent: bool,
    /// The same in every process that knows the pool.
    pub identity: u64,
    /// True in a process that has it from another: nothing is allocated there.
    pub imported: bool,
    handle: OnceLock<Handle<Pool>>,
    state: Mutex<State>,
    /// Free memory may be more than is to be kept.
    loose: AtomicBool,
    /// The program has let go of it: nothing is kept.
    over: AtomicBool,
    /// Devices that the program let reach the memory in it. The host's they all do; there it is what they are asked for that
    /// counts.
    reached: Mutex<BTreeSet<usize>>,
}

impl Kind for Pool {
    const TAG: u8 = 0x50;
    const NAME: &'static str = "memory pool";
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({:?})", self.traits)
    }
}

impl Pool {
    /// Lets a device reach the pool's memory, or no more; nothing that uses it may be running then.
    pub fn set_reached(&self, memory: &Memory, device: usize, reached: bool) -> Result<()> {
        let state = self.state();
        let mut devices = self.reached.lock().unwrap_or_else(|e| e.into_inner());
        let changed = if reached { devices.insert(device) } else { devices.remove(&device) };
        if !changed || !self.is_lent() {
            return Ok(());
        }
        let starts: Vec<u64> = state.chunks.keys().copied().collect();
        for (done, &start) in starts.iter().enumerate() {
            match reached {
                false => memory.withdraw(device, start),
                true => memory.lend(self.traits.device, device, start).inspect_err(|_| {
                    devices.remove(&device);
                    starts[..done].iter().for_each(|&start| memory.withdraw(device, start));
                })?,
            }
        }
        Ok(())
    }

    /// Other devices reach its memory only where they are let.
    fn is_lent(&self) -> bool {
        self.traits.kind == AllocationKind::Device
    }

    fn borrowers(&self) -> Vec<usize> {
        let devices = self.reached.lock().unwrap_or_else(|e| e.into_inner());
        if self.is_lent() { devices.iter().copied().collect() } else { Vec::new() }
    }

    /// Memory of a chunk, for those too that reach the pool.
    fn map_chunk(&self, memory: &Memory, chunk: &Chunk) -> Result<(u64, Option<PhysicalId>)> {
        let (start, physical) = memory.map_chunk(chunk)?;
        for device in self.borrowers() {
            if let Err(error) = memory.lend(self.traits.device, device, start) {
                self.unmap_chunk(memory, chunk, start, physical);
                return Err(error.into());
            }
        }
        Ok((start, physical))
    }

    fn unmap_chunk(&self, memory: &Memory, chunk: &Chunk, start: u64, physical: Option<PhysicalId>) {
        self.borrowers().into_iter().for_each(|device| memory.withdraw(device, start));
        memory.unmap_chunk(chunk, start, physical);
    }

    pub fn is_reached(&self, device: usize) -> bool {
        self.reached.lock().unwrap_or_else(|e| e.into_inner()).contains(&device)
    }

    fn new(traits: PoolTraits, permanent: bool, imported: Option<u64>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let own = u64::from(std::process::id()) << 32 | NEXT.fetch_add(1, Ordering::Relaxed);
        let state = State {
            chunks: BTreeMap::new(),
            pending: Vec::new(),
            next_turn: 0,
            reuse: Reuse { follow_events: true, opportunistic: true, internal_dependencies: true },
            threshold: 0,
            reserved: Level::default(),
            used: Level::default(),
        };
        Arc::new(Self {
            traits,
            permanent,
            identity: imported.unwrap_or(own),
            imported: imported.is_some(),
            handle: OnceLock::new(),
            state: Mutex::new(state),
            loose: AtomicBool::new(false),
            over: AtomicBool::new(false),
            reached: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What programs call it, or called it while they had it.
    pub fn handle(&self) -> Option<Handle<Self>> {
        self.handle.get().copied()
    }

    pub fn reuse(&self) -> Reuse {
        self.state().reuse
    }

    pub fn set_reuse(&self, change: impl FnOnce(&mut Reuse)) {
        change(&mut self.state().reuse);
    }

    pub fn threshold(&self) -> u64 {
        self.state().threshold
    }

    pub fn set_threshold(&self, bytes: u64) {
        self.state().threshold = bytes;
    }

    /// Bytes taken from the device.
    pub fn reserved(&self) -> Level {
        self.state().reserved
    }

    /// Bytes that the program has, as asked for.
    pub fn used(&self) -> Level {
        self.state().used
    }

    pub fn reset_reserved_high(&self) {
        let level = &mut self.state().reserved;
        level.high = level.now;
    }

    pub fn reset_used_high(&self) {
        let level = &mut self.state().used;
        level.high = level.now;
    }

    /// The chunk that holds an address: start and size.
    pub fn chunk_of(&self, address: u64) -> Option<(u64, u64)> {
        let state = self.state();
        let (&start, held) = state.chunks.range(..=address).next_back()?;
        (address - start < held.chunk.reserved).then_some((start, held.chunk.reserved))
    }

    /// The physical memory of the chunk that holds an address, where the chunk begins, and its bytes.
    pub(crate) fn physical_of(&self, address: u64) -> Option<(PhysicalId, u64, u64)> {
        let state = self.state();
        let (&start, held) = state.chunks.range(..=address).next_back()?;
        held.memory.filter(|_| address - start < held.chunk.reserved).map(|memory| (memory, start, held.chunk.reserved))
    }

    /// Memory for what comes next in a lane.
    fn take(&self, memory: &Memory, lane: DeviceLane, bytes: u64) -> Result<u64> {
        let too_much = || Error::out_of_memory(format!("{bytes} bytes wanted of a memory pool"));
        let room = bytes.checked_next_multiple_of(ALIGNMENT).ok_or_else(too_much)?;
        let mut state = self.state();
        // Work in a lane is done in order, so that memory freed there is free for what follows.
        let fits = |old: &Pending| !memory.exact && old.lane == lane && old.bytes >= room;
        let reusable = state.pending.iter().position(fits);
        let at = if let Some(found) = reusable {
            let old = &mut state.pending[found];
            let at = old.at;
            (old.at, old.bytes) = (at + room, old.bytes - room);
            if old.bytes == 0 {
                state.pending.swap_remove(found);
            }
            at
        } else if let Some(at) = state.chunks.values_mut().find_map(|held| held.take(room)) {
            at
        } else {
            let reserved =
                room.checked_next_multiple_of(if memory.exact { PAGE } else { CHUNK }).ok_or_else(too_much)?;
            let most = if self.traits.most == 0 { u64::MAX } else { self.traits.most.next_multiple_of(CHUNK) };
            if reserved > most.saturating_sub(state.reserved.now) {
                return Err(Error::out_of_memory(format!(
                    "{bytes} bytes wanted of a pool of {} bytes",
                    self.traits.most
                )));
            }
            let PoolTraits { kind, device, handle_types, .. } = self.traits;
            let size = if memory.exact { bytes } else { reserved };
            let chunk = Chunk { kind, device, bytes: size, reserved, shared: handle_types != 0 };
            let (start, physical) = self.map_chunk(memory, &chunk)?;
            let mut free = Space::default();
            if !memory.exact && reserved > room {
                free.give(start + room, reserved - room);
            }
            state.chunks.insert(start, Held { chunk, memory: physical, free });
            state.reserved.add(reserved);
            start
        };
        state.used.add(bytes);
        Ok(at)
    }

    /// The program has given memory back that what stands in the lane may still use.
    fn leave(&self, lane: DeviceLane, at: u64, bytes: u64) -> u64 {
        let mut state = self.state();
        let turn = state.next_turn;
        state.next_turn += 1;
        state.used.now -= bytes;
        state.pending.push(Pending { at, bytes: bytes.next_multiple_of(ALIGNMENT), lane, turn });
        turn
    }

    /// The lane has come to a free. What was reused meanwhile is no longer of that turn.
    fn pass(&self, memory: &Memory, turn: u64) {
        let mut state = self.state();
        let (free, pending) = state.pending.iter().partition(|old| old.turn == turn);
        let free: Vec<Pending> = free;
        state.pending = pending;
        for Pending { at, bytes, .. } in free {
            self.give(memory, &mut state, at, bytes);
        }
        drop(state);
        self.finish(memory);
    }

    /// What is free of a pool that is over goes at once: nobody asks later.
    fn finish(&self, memory: &Memory) {
        if self.over.load(Ordering::Acquire) {
            self.trim(memory, 0);
        }
    }

    /// Takes memory back that nothing uses any more.
    pub(crate) fn take_back(&self, memory: &Memory, at: u64, bytes: u64) {
        let mut state = self.state();
        state.used.now -= bytes;
        self.give(memory, &mut state, at, bytes.next_multiple_of(ALIGNMENT));
        drop(state);
        self.finish(memory);
    }

    fn give(&self, memory: &Memory, state: &mut State, at: u64, room: u64) {
        if memory.exact {
            if let Some(held) = state.chunks.remove(&at) {
                state.reserved.now -= held.chunk.reserved;
                self.unmap_chunk(memory, &held.chunk, at, held.memory);
            }
            return;
        }
        if let Some((_, held)) = state.chunks.range_mut(..=at).next_back() {
            held.free.give(at, room);
        }
        self.loose.store(true, Ordering::Release);
    }

    /// Gives chunks that are free as a whole back to the device, as long as more than `keep` bytes are reserved.
    pub fn trim(&self, memory: &Memory, keep: u64) {
        let mut state = self.state();
        let starts: Vec<u64> = state.chunks.keys().copied().collect();
        for start in starts {
            let reserved = state.chunks[&start].chunk.reserved;
            if state.reserved.now > keep && state.chunks[&start].free.holds(start, reserved) {
                state.reserved.now -= reserved;
                if let Some(held) = state.chunks.remove(&start) {
                    self.unmap_chunk(memory, &held.chunk, start, held.memory);
                }
            }
        }
    }

    /// The program has waited: what is free beyond the threshold goes.
    fn settle(&self, memory: &Memory) {
        if self.loose.swap(false, Ordering::AcqRel) {
            self.trim(memory, self.threshold());
        }
    }
}

/// Kind and location.
type Place = (u8, Location);

/// The pools of a kind and location that calls mean where they name none.
#[derive(Clone, Copy)]
struct Chosen {
    default: Handle<Pool>,
    current: Handle<Pool>,
}

/// The pools that exist without being made, and those that are in use.
#[derive(Default)]
pub(crate) struct Pools {
    chosen: Mutex<BTreeMap<Place, Chosen>>,
    /// All that may have memory.
    all: Mutex<Vec<std::sync::Weak<Pool>>>,
}

impl Runtime {
    pub(crate) fn keep_pool(&self, pool: Arc<Pool>) -> Handle<Pool> {
        let mut all = self.known_pools.all.lock().unwrap_or_else(|e| e.into_inner());
        all.retain(|pool| pool.strong_count() > 0);
        all.push(Arc::downgrade(&pool));
        let handle = self.pools.insert(pool.clone());
        let _ = pool.handle.set(handle);
        handle
    }

    pub fn create_pool(&self, traits: PoolTraits) -> Result<Handle<Pool>> {
        self.check_pool(&traits)?;
        Ok(self.keep_pool(Pool::new(traits, false, None)))
    }

    fn check_pool(&self, traits: &PoolTraits) -> Result<()> {
        let caps = self.device(traits.device)?.device.caps();
        if traits.kind != AllocationKind::Device && !caps.shares_host_memory {
            return Err(Error::NotSupported(format!("{} cannot reach host memory", caps.name)));
        }
        if traits.handle_types != 0 && (traits.kind != AllocationKind::Device || !caps.physical) {
            return Err(Error::NotSupported("a pool of this kind that other processes share".into()));
        }
        Ok(())
    }

    pub(crate) fn imported_pool(&self, traits: PoolTraits, identity: u64) -> Handle<Pool> {
        self.keep_pool(Pool::new(traits, false, Some(identity)))
    }

    /// The handle is dead at once; memory lasts until it is freed. Where it was in use, the default one is from now on.
    pub fn destroy_pool(&self, handle: Handle<Pool>) -> Result<()> {
        if self.pools.get(handle)?.permanent {
            return Err(Error::invalid("a default memory pool is not destroyed"));
        }
        let pool = self.pools.remove(handle)?;
        let mut chosen = self.known_pools.chosen.lock().unwrap_or_else(|e| e.into_inner());
        for chosen in chosen.values_mut().filter(|chosen| chosen.current == handle) {
            chosen.current = chosen.default;
        }
        drop(chosen);
        pool.over.store(true, Ordering::Release);
        pool.finish(&self.memory);
        Ok(())
    }

    fn chosen_pools(&self, traits: PoolTraits) -> Result<Chosen> {
        self.check_pool(&traits)?;
        let key = (traits.kind as u8, traits.location);
        let mut chosen = self.known_pools.chosen.lock().unwrap_or_else(|e| e.into_inner());
        Ok(*chosen.entry(key).or_insert_with(|| {
            let handle = self.keep_pool(Pool::new(traits, true, None));
            Chosen { default: handle, current: handle }
        }))
    }

    /// The default pool of a kind and place.
    pub fn default_pool(&self, traits: PoolTraits) -> Result<Handle<Pool>> {
        Ok(self.chosen_pools(traits)?.default)
    }

    /// The one in use.
    pub fn current_pool(&self, traits: PoolTraits) -> Result<Handle<Pool>> {
        Ok(self.chosen_pools(traits)?.current)
    }

    /// Puts a pool of that kind and place in use.
    pub fn set_current_pool(&self, traits: PoolTraits, handle: Handle<Pool>) -> Result<()> {
        let pool = self.pools.get(handle)?;
        if (pool.traits.kind, pool.traits.location) != (traits.kind, traits.location) || pool.imported {
            return Err(Error::invalid("a memory pool of another kind or place"));
        }
        let Chosen { default, .. } = self.chosen_pools(traits)?;
        let mut chosen = self.known_pools.chosen.lock().unwrap_or_else(|e| e.into_inner());
        chosen.insert((traits.kind as u8, traits.location), Chosen { default, current: handle });
        Ok(())
    }

    /// What the pools of a device are made of.
    pub fn device_pool(&self, device: usize) -> PoolTraits {
        let location = Location::Device(device);
        PoolTraits { kind: AllocationKind::Device, location, device, handle_types: 0, most: 0 }
    }

    /// Memory of a device's current pool, usable from this point of the stream on.
    pub fn allocate_in(&self, stream: StreamRef, bytes: u64) -> Result<u64> {
        let session = match self.target(stream)? {
            Target::Lane(session, _) => session,
            Target::Capture(capture) => return self.capture_allocate(&capture, bytes),
        };
        let pool = self.current_pool(self.device_pool(session.device.index))?;
        self.allocate_from(pool, stream, bytes)
    }

    /// Memory of a pool, usable from this point of the stream on. No bytes are at 0.
    pub fn allocate_from(&self, pool: Handle<Pool>, stream: StreamRef, bytes: u64) -> Result<u64> {
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            // The memory of a graph is its own, of whatever pool.
            Target::Capture(capture) => return self.capture_allocate(&capture, bytes),
        };
        let pool = self.pools.get(pool)?;
        if pool.imported {
            return Err(Error::invalid("a memory pool of another process"));
        }
        if bytes == 0 {
            return Ok(0);
        }
        let start = pool.take(&self.memory, (session.device.index, lane), bytes)?;
        let PoolTraits { kind, device, .. } = pool.traits;
        let (owner, origin) = (Owner::program(session.id), Origin::Pool(pool));
        let reserved = bytes.next_multiple_of(ALIGNMENT);
        self.memory.lock().record(New { start, bytes, kind, device, owner, flags: 0, origin, reserved });
        Ok(start)
    }

    /// Frees memory when the stream gets there.
    pub fn free_in(&self, stream: StreamRef, start: u64) -> Result<()> {
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            Target::Capture(capture) => return self.capture_free(&capture, start),
        };
        if let Some(block) = self.graphs.blocks.end(start)? {
            session.push(lane, Vec::new(), Operation::Call(Box::new(move |_| drop(block))))?;
            return Ok(());
        }
        let allocation = self.memory.forget(start, |allocation| match (&allocation.origin, allocation.kind) {
            _ if !allocation.owner.program => Err(Error::invalid("the program did not allocate this memory")),
            (Origin::Pool(_) | Origin::Foreign(_), _) | (Origin::Own, AllocationKind::Device) => Ok(()),
            _ => Err(Error::invalid("only memory of devices and pools is freed in the order of a stream")),
        })?;
        let memory = self.memory.clone();
        let free: Box<dyn FnOnce() + Send> = match &allocation.origin {
            Origin::Pool(pool) => {
                let pool = pool.clone();
                let turn = pool.leave((session.device.index, lane), start, allocation.bytes);
                Box::new(move || pool.pass(&memory, turn))
            }
            _ => Box::new(move || memory.release(&allocation)),
        };
        session.push(lane, Vec::new(), Operation::Own(free))?;
        Ok(())
    }

    /// The program has waited for something: pools keep no more than they are to keep.
    pub fn settle_pools(&self) {
        let all = self.known_pools.all.lock().unwrap_or_else(|e| e.into_inner());
        let pools: Vec<Arc<Pool>> = all.iter().filter_map(std::sync::Weak::upgrade).collect();
        drop(all);
        pools.iter().for_each(|pool| pool.settle(&self.memory));
    }

    /// Gives memory of a pool that is not in use back, but for so many bytes.
    pub fn trim_pool(&self, pool: Handle<Pool>, keep: u64) -> Result<()> {
        self.pools.get(pool)?.trim(&self.memory, keep);
        Ok(())
    }
}
