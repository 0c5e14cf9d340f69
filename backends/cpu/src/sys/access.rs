//! Memory as helpers access it for a lane. Global memory is the host's: where nothing is, the access faults, and the
//! strand ends as it does when compiled code faults. Nothing is held across an access that would be lost then.

use super::strand::Strand;
use crate::trouble::Trouble;
use hetgpu_llvm::abi::Warp;
use hetir::attr::Space;
use hetir::interp::FaultKind;
use hetir::interp::space::{SHARED_STRIDE, Window, window};
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Where a lane's address is.
#[derive(Clone, Copy)]
enum Spot {
    /// Memory of the host.
    Host(*mut u8),
    /// Bytes of local memory from here on, which is interleaved.
    Local(u32),
}

/// What an access does, for messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    Write,
    Atomic,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Atomic => "atomic access",
        }
    }
}

/// An access of global memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Access {
    pub lane: u32,
    pub kind: Kind,
    pub bytes: usize,
    pub address: u64,
}

type Done<T> = Result<T, Box<Trouble>>;

fn outside<T>(lane: usize, kind: Kind, name: &str, address: u64, bytes: usize, limit: &str) -> Done<T> {
    let message = format!("{bytes}-byte {} of {name} memory at {address:#x}: {limit}", kind.name());
    Err(Trouble::new(FaultKind::OutOfBounds, lane, message))
}

/// Whether an address lies in global memory.
pub(crate) fn is_global(space: Space, address: u64) -> bool {
    match space {
        Space::Generic => window(address).0 == Window::Global,
        Space::Global | Space::Const => true,
        Space::Shared | Space::Cluster | Space::Local | Space::Param => false,
    }
}

/// The rank of the block whose shared memory an address is in.
fn block_of(space: Space, address: u64, warp: &Warp) -> Option<u64> {
    let (rank, own) = (address / SHARED_STRIDE, u64::from(warp.rank));
    match space {
        Space::Cluster => (rank < warp.cluster_blocks.into()).then_some(rank),
        _ => (rank == 0 || rank == own).then_some(own),
    }
}

impl Strand {
    fn spot(&self, lane: usize, space: Space, address: u64, bytes: usize, kind: Kind) -> Done<Spot> {
        let (space, offset) = match space {
            Space::Generic => match window(address) {
                (Window::Global, a) => (Space::Global, a),
                (Window::Local, a) => (Space::Local, a),
                (Window::Param, a) => (Space::Param, a),
                (Window::Shared, a) => (Space::Cluster, a),
                (Window::Function, _) => {
                    let message = format!(
                        "{bytes}-byte {} at {address:#x}, which is in no memory that can be accessed",
                        kind.name()
                    );
                    return Err(Trouble::new(FaultKind::OutOfBounds, lane, message));
                }
            },
            other => (other, address),
        };
        let warp = self.warp();
        let inside = |size: u64| offset <= size && size - offset >= bytes as u64;
        let in_block = |offset: u64| offset % SHARED_STRIDE + bytes as u64 <= warp.total_shared.into();
        match space {
            Space::Global | Space::Const | Space::Generic => {
                if space == Space::Const && kind != Kind::Read {
                    return outside(lane, kind, "constant", address, bytes, "it is read-only");
                }
                self.accesses(Access { lane: lane as u32, kind, bytes, address });
                Ok(Spot::Host(ptr::with_exposed_provenance_mut(offset as usize)))
            }
            // Shared memories of a cluster's blocks follow each other; a block's own may be named without its rank.
            Space::Shared | Space::Cluster => match block_of(space, offset, &warp).filter(|_| in_block(offset)) {
                Some(rank) => {
                    let first = warp.shared.wrapping_sub(warp.rank as usize * SHARED_STRIDE as usize);
                    Ok(Spot::Host(first.wrapping_add((rank * SHARED_STRIDE + offset % SHARED_STRIDE) as usize)))
                }
                None => {
                    let limit = format!("the block has {} bytes of shared memory", warp.total_shared);
                    outside(lane, kind, "shared", address, bytes, &limit)
                }
            },
            Space::Local => match inside(warp.local_bytes.into()) {
                true => Ok(Spot::Local(offset as u32)),
                false => {
                    let limit = format!("a thread has {} bytes of local memory", warp.local_bytes);
                    outside(lane, kind, "local", address, bytes, &limit)
                }
            },
            Space::Param if kind != Kind::Read => {
                outside(lane, kind, "parameter", address, bytes, "parameters are read-only")
            }
            Space::Param => match inside(self.job().param_bytes as u64) {
                true => Ok(Spot::Host(warp.params.cast_mut().wrapping_add(offset as usize))),
                false => {
                    let limit = format!("the launch has {} bytes of parameters", self.job().param_bytes);
                    outside(lane, kind, "parameter", address, bytes, &limit)
                }
            },
        }
    }

    /// A byte of a lane's local memory.
    fn local_byte(&self, lane: usize, at: u32) -> *mut u8 {
        let lane = self.lane().map_or(lane, |l| l as usize);
        self.warp().local.wrapping_add((at as usize / 4) * 128 + lane * 4 + at as usize % 4)
    }

    /// Reads a lane's bytes.
    pub(crate) fn read(&self, lane: usize, space: Space, address: u64, out: &mut [u8]) -> Done<()> {
        match self.spot(lane, space, address, out.len(), Kind::Read)? {
            // SAFETY: bounds are checked in the spaces that have them; elsewhere a bad address faults, which ends the
            // strand. Single bytes, halves and words are read whole, as others may write them at the same time.
            Spot::Host(from) => unsafe { load(from, out) },
            Spot::Local(at) => {
                for (byte, at) in out.iter_mut().zip(at..) {
                    // SAFETY: inside the lane's local memory, which only this thread accesses.
                    *byte = unsafe { self.local_byte(lane, at).read() };
                }
            }
        }
        Ok(())
    }

    /// Writes a lane's bytes.
    pub(crate) fn write(&self, lane: usize, space: Space, address: u64, data: &[u8]) -> Done<()> {
        match self.spot(lane, space, address, data.len(), Kind::Write)? {
            // SAFETY: as in `read`.
            Spot::Host(to) => unsafe { store(to, data) },
            Spot::Local(at) => {
                for (byte, at) in data.iter().zip(at..) {
                    // SAFETY: as in `read`.
                    unsafe { self.local_byte(lane, at).write(*byte) };
                }
            }
        }
        Ok(())
    }

    /// Copies bytes between spaces; the ranges do not overlap.
    pub(crate) fn copy(&self, lane: usize, to: (Space, u64), from: (Space, u64), bytes: usize) -> Done<()> {
        let source = self.spot(lane, from.0, from.1, bytes, Kind::Read)?;
        let target = self.spot(lane, to.0, to.1, bytes, Kind::Write)?;
        match (source, target) {
            // SAFETY: as in `read`; `copy` also allows ranges that overlap after all.
            (Spot::Host(from), Spot::Host(to)) => unsafe { ptr::copy(from, to, bytes) },
            _ => {
                let mut piece = [0; 64];
                for at in (0..bytes).step_by(piece.len()) {
                    let piece = &mut piece[..(bytes - at).min(64)];
                    self.read(lane, from.0, from.1 + at as u64, piece)?;
                    self.write(lane, to.0, to.1 + at as u64, piece)?;
                }
            }
        }
        Ok(())
    }

    /// Replaces memory of 1, 2, 4, 8 or 16 bytes by a function of itself, as one step; what it was. `None` leaves it.
    pub(crate) fn update(
        &self,
        lane: usize,
        space: Space,
        address: u64,
        bytes: usize,
        replace: impl Fn(u128) -> Option<u128>,
    ) -> Done<u128> {
        if !address.is_multiple_of(bytes as u64) {
            let message = format!("{bytes}-byte atomic access at {address:#x}, which is no multiple of {bytes}");
            return Err(Trouble::new(FaultKind::Misaligned, lane, message));
        }
        match self.spot(lane, space, address, bytes, Kind::Atomic)? {
            Spot::Host(at) => {
                macro_rules! cell {
                    ($cell:ty, $word:ty) => {{
                        // SAFETY: aligned, as checked; valid as in `read`.
                        let cell = unsafe { <$cell>::from_ptr(at.cast()) };
                        let change = |old: $word| replace(old.into()).map(|new| new as $word);
                        match cell.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change) {
                            Ok(old) | Err(old) => old.into(),
                        }
                    }};
                }
                Ok(match bytes {
                    1 => cell!(AtomicU8, u8),
                    2 => cell!(AtomicU16, u16),
                    4 => cell!(AtomicU32, u32),
                    8 => cell!(AtomicU64, u64),
                    // SAFETY: as above.
                    _ => unsafe { update_wide(at.cast(), replace) },
                })
            }
            Spot::Local(_) => {
                let mut old = [0; 16];
                self.read(lane, space, address, &mut old[..bytes])?;
                let old = u128::from_le_bytes(old);
                if let Some(new) = replace(old) {
                    self.write(lane, space, address, &new.to_le_bytes()[..bytes])?;
                }
                Ok(old)
            }
        }
    }
}

pub(super) unsafe fn load(from: *const u8, out: &mut [u8]) {
    // SAFETY: the caller answers for the address; the casts are of aligned pointers.
    unsafe {
        match (out.len(), from.addr().is_multiple_of(out.len().max(1))) {
            (1, _) => out[0] = AtomicU8::from_ptr(from.cast_mut()).load(Ordering::Relaxed),
            (2, true) => {
                out.copy_from_slice(&AtomicU16::from_ptr(from.cast_mut().cast()).load(Ordering::Relaxed).to_ne_bytes())
            }
            (4, true) => {
                out.copy_from_slice(&AtomicU32::from_ptr(from.cast_mut().cast()).load(Ordering::Relaxed).to_ne_bytes())
            }
            (8, true) => {
                out.copy_from_slice(&AtomicU64::from_ptr(from.cast_mut().cast()).load(Ordering::Relaxed).to_ne_bytes())
            }
            (n, _) => ptr::copy_nonoverlapping(from, out.as_mut_ptr(), n),
        }
    }
}

pub(super) unsafe fn store(to: *mut u8, data: &[u8]) {
    // SAFETY: as in `load`.
    unsafe {
        match (data, to.addr().is_multiple_of(data.len().max(1))) {
            (&[a], _) => AtomicU8::from_ptr(to).store(a, Ordering::Relaxed),
            (&[a, b], true) => AtomicU16::from_ptr(to.cast()).store(u16::from_ne_bytes([a, b]), Ordering::Relaxed),
            (&[a, b, c, d], true) => {
                AtomicU32::from_ptr(to.cast()).store(u32::from_ne_bytes([a, b, c, d]), Ordering::Relaxed);
            }
            (&[a, b, c, d, e, f, g, h], true) => {
                AtomicU64::from_ptr(to.cast()).store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]), Ordering::Relaxed);
            }
            (data, _) => ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()),
        }
    }
}

/// # Safety
/// `at` is a multiple of 16.
unsafe fn update_wide(at: *mut u128, replace: impl Fn(u128) -> Option<u128>) -> u128 {
    // Exchanging 0 for 0 reads, without anything being changed.
    // SAFETY: aligned, as the caller says; a bad address faults.
    let mut old = unsafe { exchange_wide(at, 0, 0) };
    loop {
        let Some(new) = replace(old) else { return old };
        // SAFETY: as above.
        let seen = unsafe { exchange_wide(at, old, new) };
        if seen == old {
            return old;
        }
        old = seen;
    }
}

/// Writes `new` where memory holds `old`; what it held.
#[cfg(target_arch = "x86_64")]
unsafe fn exchange_wide(at: *mut u128, old: u128, new: u128) -> u128 {
    let (mut low, mut high) = (old as u64, (old >> 64) as u64);
    // SAFETY: the instruction needs an aligned address and the registers named; rbx is LLVM's, and is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, rsi",
            "lock cmpxchg16b [rdi]",
            "mov rbx, rsi",
            inout("rsi") new as u64 => _,
            in("rdi") at,
            inout("rax") low,
            inout("rdx") high,
            in("rcx") (new >> 64) as u64,
            options(nostack),
        );
    }
    u128::from(high) << 64 | u128::from(low)
}

/// Writes `new` where memory holds `old`; what it held.
#[cfg(target_arch = "aarch64")]
unsafe fn exchange_wide(at: *mut u128, old: u128, new: u128) -> u128 {
    let (low, high): (u64, u64);
    // SAFETY: the instructions need an aligned address. A pair that was read is only known to be whole when it has been
    // written back.
    unsafe {
        std::arch::asm!(
            "2:",
            "ldaxp {low}, {high}, [{at}]",
            "cmp {low}, {old_low}",
            "ccmp {high}, {old_high}, #0, eq",
            "csel {put_low}, {new_low}, {low}, eq",
            "csel {put_high}, {new_high}, {high}, eq",
            "stlxp {failed:w}, {put_low}, {put_high}, [{at}]",
            "cbnz {failed:w}, 2b",
            at = in(reg) at,
            low = out(reg) low,
            high = out(reg) high,
            old_low = in(reg) old as u64,
            old_high = in(reg) (old >> 64) as u64,
            new_low = in(reg) new as u64,
            new_high = in(reg) (new >> 64) as u64,
            put_low = out(reg) _,
            put_high = out(reg) _,
            failed = out(reg) _,
            options(nostack),
        );
    }
    u128::from(high) << 64 | u128::from(low)
}
