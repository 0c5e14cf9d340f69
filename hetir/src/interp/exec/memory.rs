//! Loads and stores in every state space.

use super::{Next, Step, Trouble, column, lanes, trouble};
use crate::attr::Space;
use crate::interp::code::Column;
use crate::interp::space::{SHARED_STRIDE, Window, window};
use crate::interp::{FaultKind, MemoryFault};
use crate::types::Scalar;

/// Most bytes of one access.
const MAX_ACCESS: usize = 256;

/// What an access does, for messages and checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::interp) enum Kind {
    Read,
    Write,
    Atomic,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Atomic => "atomic access",
        }
    }
}

/// Memory that a lane's address lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::interp) enum Place {
    /// Global memory, constants included.
    Global,
    /// The shared memory of the block of this rank.
    Shared(u32),
    /// The thread's stack.
    Local,
    /// The parameters.
    Param,
}

impl Place {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Shared(_) => "shared",
            Self::Local => "local",
            Self::Param => "parameter",
        }
    }
}

/// Where an address of a space is, and its offset there. `Err` where it is in no memory.
#[inline]
pub(super) fn resolve(space: Space, address: u64, rank: u32) -> Result<(Place, u64), ()> {
    let (space, address) = match space {
        Space::Generic => match window(address) {
            (Window::Global, a) => return Ok((Place::Global, a)),
            (Window::Local, a) => return Ok((Place::Local, a)),
            (Window::Param, a) => return Ok((Place::Param, a)),
            (Window::Shared, a) => (Space::Cluster, a),
            (Window::Function, _) => return Err(()),
        },
        other => (other, address),
    };
    match space {
        Space::Global | Space::Const | Space::Generic => Ok((Place::Global, address)),
        Space::Local => Ok((Place::Local, address)),
        Space::Param => Ok((Place::Param, address)),
        Space::Cluster => match u32::try_from(address / SHARED_STRIDE) {
            Ok(of) => Ok((Place::Shared(of), address % SHARED_STRIDE)),
            Err(_) => Err(()),
        },
        // An offset without a rank is the block's own, too.
        Space::Shared => match address / SHARED_STRIDE {
            of if of == 0 || of == u64::from(rank) => Ok((Place::Shared(rank), address % SHARED_STRIDE)),
            _ => Err(()),
        },
    }
}

#[inline]
fn read_bytes(bytes: &[u8], at: usize, size: usize) -> u64 {
    let mut value = [0; 8];
    value[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(value)
}

impl Step<'_, '_> {
    /// The addresses of an access, the immediate added.
    pub(super) fn addresses(&mut self) -> Column {
        let offset = self.ins.imm;
        let mut addresses = self.arg(0);
        for a in &mut addresses {
            *a = a.wrapping_add(offset);
        }
        addresses
    }

    /// Refuses addresses that are no multiples of the access's size.
    pub(super) fn check_alignment(&self, addresses: &Column, size: usize, kind: Kind) -> Result<(), Box<Trouble>> {
        let size = size as u64;
        let wrong = |l: &usize| {
            if size.is_power_of_two() { addresses[*l] & (size - 1) != 0 } else { !addresses[*l].is_multiple_of(size) }
        };
        match lanes(self.lanes).find(wrong) {
            Some(lane) => {
                let message =
                    format!("{size}-byte {} at {:#x}, which is no multiple of {size}", kind.name(), addresses[lane]);
                trouble(FaultKind::Misaligned, lane as u32, message)
            }
            None => Ok(()),
        }
    }

    /// The place that all lanes' addresses lie in, the lowest offset and the end of the highest access; `None` where
    /// lanes differ or an address is bad.
    #[inline]
    fn common_place(&self, addresses: &mut Column, size: usize) -> Option<(Place, u64, u64)> {
        let space = self.ins.space;
        let mut common = None;
        let (mut low, mut high) = (u64::MAX, 0);
        if matches!(space, Space::Global | Space::Const) {
            common = Some(Place::Global);
            for lane in lanes(self.lanes) {
                low = low.min(addresses[lane]);
                high = high.max(addresses[lane]);
            }
        } else {
            for lane in lanes(self.lanes) {
                let (place, offset) = resolve(space, addresses[lane], self.block.rank).ok()?;
                if *common.get_or_insert(place) != place {
                    return None;
                }
                low = low.min(offset);
                high = high.max(offset);
            }
            // All lie in one window, so that offsets are the low bits.
            if common != Some(Place::Global) {
                let keep = if let Some(Place::Shared(_)) = common { SHARED_STRIDE - 1 } else { u64::from(u32::MAX) };
                let whole = matches!(space, Space::Local | Space::Param);
                if !whole {
                    addresses.iter_mut().for_each(|a| *a &= keep);
                }
            }
        }
        Some((common?, low, high.checked_add(size as u64)?))
    }

    /// The bytes of a place from `low` to `high`, where they can be had at once.
    #[inline]
    fn span(&mut self, place: Place, low: u64, high: u64) -> Option<&mut [u8]> {
        let len = usize::try_from(high - low).ok()?;
        match place {
            Place::Global => self.env.memory.bytes(low, len),
            Place::Shared(rank) => {
                let shared = self.cluster.shared.get_mut(rank as usize)?;
                shared.get_mut(usize::try_from(low).ok()?..usize::try_from(high).ok()?)
            }
            Place::Local | Place::Param => None,
        }
    }

    /// Reads one lane's bytes.
    pub(super) fn read(&mut self, lane: usize, address: u64, out: &mut [u8], kind: Kind) -> Result<(), Box<Trouble>> {
        self.read_space(lane, self.ins.space, address, out, kind)
    }

    /// Reads one lane's bytes of a space.
    pub(super) fn read_space(
        &mut self,
        lane: usize,
        space: Space,
        address: u64,
        out: &mut [u8],
        kind: Kind,
    ) -> Result<(), Box<Trouble>> {
        let Ok((place, offset)) = resolve(space, address, self.block.rank) else {
            return self.nowhere(lane, address, out.len(), kind);
        };
        let range = offset as usize..(offset as usize).saturating_add(out.len());
        if self.env.checks.any() {
            self.check_access(lane, place, offset, out.len(), kind, None)?;
        }
        let bytes = match place {
            Place::Global => match self.env.memory.read(address, out) {
                Ok(()) => return Ok(()),
                Err(fault) => return self.outside(lane, place, address, out.len(), kind, Some(fault)),
            },
            Place::Shared(rank) => self.cluster.shared.get(rank as usize).and_then(|s| s.get(range)),
            Place::Local => {
                let top = self.warp.top[lane] as usize;
                self.warp.stacks.get(lane).filter(|_| range.end <= top).and_then(|s| s.get(range))
            }
            Place::Param => self.env.launch.params.get(range),
        };
        match bytes {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return self.outside(lane, place, address, out.len(), kind, None),
        }
        Ok(())
    }

    /// Writes one lane's bytes.
    pub(super) fn write(&mut self, lane: usize, address: u64, data: &[u8], kind: Kind) -> Result<(), Box<Trouble>> {
        self.write_space(lane, self.ins.space, address, data, kind)
    }

    /// Writes one lane's bytes of a space.
    pub(super) fn write_space(
        &mut self,
        lane: usize,
        space: Space,
        address: u64,
        data: &[u8],
        kind: Kind,
    ) -> Result<(), Box<Trouble>> {
        let Ok((place, offset)) = resolve(space, address, self.block.rank) else {
            return self.nowhere(lane, address, data.len(), kind);
        };
        let range = offset as usize..(offset as usize).saturating_add(data.len());
        if self.env.checks.any() {
            self.check_access(lane, place, offset, data.len(), kind, Some(data))?;
        }
        let bytes = match place {
            Place::Global => match self.env.memory.write(address, data) {
                Ok(()) => return Ok(()),
                Err(fault) => return self.outside(lane, place, address, data.len(), kind, Some(fault)),
            },
            Place::Shared(rank) => self.cluster.shared.get_mut(rank as usize).and_then(|s| s.get_mut(range)),
            Place::Local => {
                let top = self.warp.top[lane] as usize;
                self.warp.stacks.get_mut(lane).filter(|_| range.end <= top).and_then(|s| s.get_mut(range))
            }
            Place::Param => None,
        };
        match bytes {
            Some(bytes) => bytes.copy_from_slice(data),
            None => return self.outside(lane, place, address, data.len(), kind, None),
        }
        Ok(())
    }

    #[cold]
    pub(super) fn nowhere(&self, lane: usize, address: u64, size: usize, kind: Kind) -> Result<(), Box<Trouble>> {
        let message =
            format!("{size}-byte {} at {address:#x}, which is in no memory that can be accessed", kind.name());
        trouble(FaultKind::OutOfBounds, lane as u32, message)
    }

    #[cold]
    pub(super) fn outside(
        &self,
        lane: usize,
        place: Place,
        address: u64,
        size: usize,
        kind: Kind,
        fault: Option<MemoryFault>,
    ) -> Result<(), Box<Trouble>> {
        let limit = match place {
            Place::Global => fault.map_or_else(String::new, |f| f.to_string()),
            Place::Shared(rank) if self.cluster.shared.len() <= rank as usize => {
                format!("the cluster has no block {rank}")
            }
            Place::Shared(_) => format!("the block has {} bytes of shared memory", self.env.shared_bytes),
            Place::Local => format!("the thread's stack ends at {:#x}", self.warp.top[lane]),
            Place::Param if kind != Kind::Read => "parameters are read-only".to_owned(),
            Place::Param => format!("the launch has {} bytes of parameters", self.env.launch.params.len()),
        };
        let message = format!("{size}-byte {} of {} memory at {address:#x}: {limit}", kind.name(), place.name());
        trouble(FaultKind::OutOfBounds, lane as u32, message)
    }
}

/// Bytes of a register of the access: an `i128` is two registers.
pub(super) fn element(scalar: Scalar, bytes: u32) -> usize {
    if scalar == Scalar::I128 { 8 } else { bytes as usize }
}

pub(super) fn load(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let i = step.ins;
    let results = step.code.results(i);
    let size = element(i.ty.scalar, i.ty.bytes());
    let total = size * results.len();
    if total > MAX_ACCESS {
        return trouble(FaultKind::Unsupported, step.lanes.trailing_zeros(), format!("an access of {total} bytes"));
    }
    let mut addresses = step.addresses();
    step.check_alignment(&addresses, total, Kind::Read)?;
    let mask = step.lanes;
    let one_bit = if i.ty.scalar == Scalar::B1 { 1 } else { u64::MAX };
    let unchanged = addresses;
    if !step.env.checks.any()
        && let Some((place, low, high)) = step.common_place(&mut addresses, total)
    {
        let frame = step.group().frame as usize;
        let mut registers = std::mem::take(&mut step.warp.frames[frame].registers);
        let found = step.span(place, low, high).map(|bytes| {
            for (n, &r) in results.iter().enumerate() {
                let to = &mut registers[r as usize];
                let at = n * size;
                match size {
                    4 => lanes(mask).for_each(|l| to[l] = read_bytes(bytes, (addresses[l] - low) as usize + at, 4)),
                    8 => lanes(mask).for_each(|l| to[l] = read_bytes(bytes, (addresses[l] - low) as usize + at, 8)),
                    _ => lanes(mask)
                        .for_each(|l| to[l] = read_bytes(bytes, (addresses[l] - low) as usize + at, size) & one_bit),
                }
            }
        });
        step.warp.frames[frame].registers = registers;
        if found.is_some() {
            return Ok(Next::Advance);
        }
    }
    let mut buffer = [0; MAX_ACCESS];
    for lane in lanes(mask) {
        step.read(lane, unchanged[lane], &mut buffer[..total], Kind::Read)?;
        for n in 0..results.len() {
            step.set(n, lane, read_bytes(&buffer, n * size, size) & one_bit);
        }
    }
    Ok(Next::Advance)
}

pub(super) fn store(step: &mut Step<'_, '_>) -> Result<Next, Box<Trouble>> {
    let i = step.ins;
    let values = &step.code.args(i)[1..];
    let size = element(i.ty.scalar, i.ty.bytes());
    let total = size * values.len();
    if total > MAX_ACCESS {
        return trouble(FaultKind::Unsupported, step.lanes.trailing_zeros(), format!("an access of {total} bytes"));
    }
    let mut addresses = step.addresses();
    step.check_alignment(&addresses, total, Kind::Write)?;
    let mask = step.lanes;
    let unchanged = addresses;
    if !step.env.checks.any()
        && let Some((place, low, high)) = step.common_place(&mut addresses, total)
    {
        let frame = step.group().frame as usize;
        let registers = std::mem::take(&mut step.warp.frames[frame].registers);
        let constants = &step.code.constants;
        let found = step.span(place, low, high).map(|bytes| {
            for (n, &r) in values.iter().enumerate() {
                let from = column(&registers, constants, r);
                let at = n * size;
                for l in lanes(mask) {
                    let start = (addresses[l] - low) as usize + at;
                    match size {
                        4 => bytes[start..start + 4].copy_from_slice(&from[l].to_le_bytes()[..4]),
                        8 => bytes[start..start + 8].copy_from_slice(&from[l].to_le_bytes()),
                        _ => bytes[start..start + size].copy_from_slice(&from[l].to_le_bytes()[..size]),
                    }
                }
            }
        });
        step.warp.frames[frame].registers = registers;
        if found.is_some() {
            return Ok(Next::Advance);
        }
    }
    let columns: Vec<Column> = values.iter().map(|&r| step.get(r)).collect();
    let mut buffer = [0; MAX_ACCESS];
    for lane in lanes(mask) {
        for (n, c) in columns.iter().enumerate() {
            buffer[n * size..][..size].copy_from_slice(&c[lane].to_le_bytes()[..size]);
        }
        step.write(lane, unchanged[lane], &buffer[..total], Kind::Write)?;
    }
    Ok(Next::Advance)
}
