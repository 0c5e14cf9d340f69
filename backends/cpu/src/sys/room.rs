//! Where kernels run: stacks, local memory and shared memory, each with inaccessible addresses around.

use super::map::{PAGE, Reservation};
use super::strand::Strand;
use hetgpu_llvm::host::Form;
use hetir::interp::space::SHARED_STRIDE;
use std::io;
use std::sync::Arc;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// Local memory of a lane, in bytes.
pub(crate) const LOCAL_BYTES: u32 = 512 << 10;

/// A warp's part of an arena: its stacks, then its local memory, then nothing.
const SLOT: usize = 64 * MIB;
/// Frames may be larger than a page, so that a stack's end must be wider than one.
const GUARD: usize = MIB;
/// Room for 32 lanes, and for beginning anywhere in a page.
const LOCAL: usize = 32 * LOCAL_BYTES as usize + PAGE as usize;
/// Where a warp's local memory begins in its slot: the stacks lie below.
const LOCAL_AT: usize = SLOT - LOCAL - GUARD;
/// Stacks of single lanes, and what lies between them.
const LANE_STACK: usize = MIB;
const LANE_GUARD: usize = 256 * KIB;
/// Slots of an arena.
const SLOTS: usize = 1024;
/// An offset in local memory has 32 bits, which interleaving multiplies by 32: that far no slot is followed by anything
/// of the host.
const REACH: usize = 128 * GIB + 64 * MIB;

/// Stacks and local memory of one warp.
pub(crate) struct Room {
    arena: Arc<Reservation>,
    offset: usize,
    form: Form,
}

/// What an address in a room is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Beyond the end of a stack.
    Stack,
    /// In or beyond local memory.
    Local,
}

impl Room {
    fn new(arena: Arc<Reservation>, index: usize, form: Form) -> io::Result<Self> {
        let room = Self { arena, offset: index * SLOT, form };
        match form {
            // The highest stack and local memory are neighbours, so that they are one mapping of the host.
            Form::Warp => room.arena.protect(room.offset + GUARD, SLOT - 2 * GUARD, true)?,
            Form::Lane => {
                for lane in 0..32 {
                    room.arena.protect(
                        room.offset + lane * (LANE_GUARD + LANE_STACK) + LANE_GUARD,
                        LANE_STACK,
                        true,
                    )?;
                }
                room.arena.protect(room.offset + LOCAL_AT, LOCAL, true)?;
            }
        }
        Ok(room)
    }

    /// The top of a stack, for the n-th strand. Tops differ in their place in a page, else all of them would compete for
    /// the same lines of the cache.
    pub(crate) fn stack(&self, n: usize) -> *mut u8 {
        let index = self.offset / SLOT;
        let top = match self.form {
            Form::Warp => LOCAL_AT,
            Form::Lane => (n % 32 + 1) * (LANE_GUARD + LANE_STACK),
        };
        self.arena.base().wrapping_add(self.offset + top - (index * 5 + n) % 61 * 64)
    }

    /// The warp's local memory. Its place in a page differs too.
    pub(crate) fn local(&self) -> *mut u8 {
        self.arena.base().wrapping_add(self.offset + LOCAL_AT + self.offset / SLOT % 16 * 256)
    }

    /// What is at an address, if it is in this room.
    pub(crate) fn part(&self, address: u64) -> Option<Part> {
        let start = self.arena.base().addr() as u64 + self.offset as u64;
        let offset = usize::try_from(address.checked_sub(start)?).ok().filter(|&o| o < SLOT)?;
        let stack = match self.form {
            Form::Warp => offset < GUARD,
            Form::Lane => offset < LOCAL_AT,
        };
        Some(if stack { Part::Stack } else { Part::Local })
    }

    /// True where an address is so near that only this launch's rooms are there.
    pub(crate) fn reaches(&self, address: u64) -> bool {
        self.arena.holds(address)
    }

    /// Gives back what a run-away recursion touched.
    pub(crate) fn shrink(&self) {
        match self.form {
            Form::Warp => self.arena.forget(self.offset + GUARD, SLOT - 2 * GUARD),
            Form::Lane => self.arena.forget(self.offset, LOCAL_AT),
        }
    }
}

/// How far an address in shared space reaches.
const SHARED_REACH: usize = 4 * GIB + 64 * KIB;

/// The shared memory of a block, or of the blocks of a cluster, which follow each other by [`SHARED_STRIDE`].
pub(crate) struct Shared {
    memory: Reservation,
    /// Accessible bytes of each block, and how many blocks have them.
    open: usize,
    blocks: usize,
}

impl Shared {
    fn new() -> io::Result<Self> {
        Ok(Self { memory: Reservation::new(SHARED_REACH)?, open: 0, blocks: 0 })
    }

    /// Makes so many bytes of each block accessible, and no page more.
    fn resize(&mut self, bytes: usize, blocks: usize) -> io::Result<()> {
        let wanted = bytes.next_multiple_of(PAGE as usize);
        for rank in 0..blocks.max(self.blocks) {
            let (before, after) =
                (if rank < self.blocks { self.open } else { 0 }, if rank < blocks { wanted } else { 0 });
            let (start, end) = (before.min(after), before.max(after));
            if start < end {
                self.memory.protect(rank * SHARED_STRIDE as usize + start, end - start, after > before)?;
            }
        }
        (self.open, self.blocks) = (wanted, blocks);
        Ok(())
    }

    /// Where the shared memory of the block of this rank begins.
    pub(crate) fn block(&self, rank: u32) -> *mut u8 {
        self.memory.base().wrapping_add(rank as usize * SHARED_STRIDE as usize)
    }

    /// The place in shared memory of an address of the host.
    pub(crate) fn offset(&self, address: u64) -> Option<u64> {
        self.memory.holds(address).then(|| address - self.memory.base().addr() as u64)
    }
}

/// What a worker keeps for later launches.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "compiled code has a strand's address")]
pub(crate) struct Rooms {
    /// Address space that slots are cut from, and how many are.
    arenas: Vec<(Arc<Reservation>, usize)>,
    warps: Vec<Room>,
    lanes: Vec<Room>,
    shared: Vec<Shared>,
    strands: Vec<Box<Strand>>,
}

impl Rooms {
    /// A room for a warp.
    pub(crate) fn room(&mut self, form: Form) -> io::Result<Room> {
        let free = if form == Form::Warp { &mut self.warps } else { &mut self.lanes };
        if let Some(room) = free.pop() {
            return Ok(room);
        }
        if self.arenas.last().is_none_or(|(_, used)| *used == SLOTS) {
            self.arenas.push((Arc::new(Reservation::new(SLOTS * SLOT + REACH)?), 0));
        }
        let Some((arena, used)) = self.arenas.last_mut() else { return Err(io::ErrorKind::OutOfMemory.into()) };
        let room = Room::new(Arc::clone(arena), *used, form)?;
        *used += 1;
        Ok(room)
    }

    /// Takes a room back.
    pub(crate) fn keep(&mut self, room: Room) {
        if room.form == Form::Warp { &mut self.warps } else { &mut self.lanes }.push(room);
    }

    /// Shared memory for so many blocks, so many bytes each.
    pub(crate) fn shared(&mut self, bytes: usize, blocks: u32) -> io::Result<Shared> {
        let mut shared = match self.shared.pop() {
            Some(shared) => shared,
            None => Shared::new()?,
        };
        shared.resize(bytes, blocks as usize)?;
        Ok(shared)
    }

    /// A strand.
    pub(crate) fn strand(&mut self) -> Box<Strand> {
        self.strands.pop().unwrap_or_else(Strand::new)
    }

    /// Takes a strand back.
    pub(crate) fn keep_strand(&mut self, strand: Box<Strand>) {
        self.strands.push(strand);
    }

    /// Takes shared memory back.
    pub(crate) fn keep_shared(&mut self, shared: Shared) {
        self.shared.push(shared);
    }
}
