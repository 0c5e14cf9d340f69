//! Global memory as the interpreter sees it.

use std::collections::BTreeMap;
use std::fmt;

/// Why an access of global memory failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryFault {
    /// First byte that is not accessible.
    pub address: u64,
    /// What is near it, for the message: `16 bytes after "out" (0x1000, 64 bytes)`; may be empty.
    pub nearest: String,
}

impl fmt::Display for MemoryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory at {:#x}", self.address)?;
        if self.nearest.is_empty() { Ok(()) } else { write!(f, ", {}", self.nearest) }
    }
}

/// Global memory. An access of several bytes succeeds or fails as a whole.
pub trait Memory {
    /// Reads bytes.
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault>;
    /// Writes bytes.
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault>;
    /// The bytes themselves, where they can be lent; a faster way for many accesses near each other. `None` says
    /// nothing: the caller then uses `read` and `write`.
    fn bytes(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let _ = (address, len);
        None
    }
    /// Called from time to time during a launch, so that others can come in between where the memory is shared.
    fn pause(&mut self) {}
}

/// A piece of an [`Arena`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// What messages call it.
    pub name: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Memory that is a set of named regions.
#[derive(Clone, Default, Debug)]
pub struct Arena {
    index: BTreeMap<u64, usize>,
    regions: Vec<(u64, Region)>,
    free: Vec<usize>,
    last: usize,
    next: u64,
}

/// Where [`Arena::alloc`] begins: beyond the interpreter's windows.
const ARENA_BASE: u64 = 0x10_0000_0000;
/// Unmapped bytes between two regions of [`Arena::alloc`].
const GAP: u64 = 256;

impl Arena {
    /// No memory at all.
    pub fn new() -> Self {
        Self { next: ARENA_BASE, ..Self::default() }
    }
    /// Maps bytes at an address; false where they would overlap others or the end of the address space.
    pub fn map(&mut self, base: u64, name: impl Into<String>, data: Vec<u8>) -> bool {
        let Some(end) = base.checked_add(data.len() as u64) else { return false };
        let before = self.index.range(..=base).next_back();
        if before.is_some_and(|(&b, &i)| b == base || b + self.regions[i].1.data.len() as u64 > base)
            || self.index.range(base..end).next().is_some()
        {
            return false;
        }
        let entry = (base, Region { name: name.into(), data });
        let place = match self.free.pop() {
            Some(place) => {
                self.regions[place] = entry;
                place
            }
            None => {
                self.regions.push(entry);
                self.regions.len() - 1
            }
        };
        self.index.insert(base, place);
        true
    }
    /// Maps bytes at a fresh address that is a multiple of 256, with unmapped bytes around.
    pub fn alloc(&mut self, name: impl Into<String>, data: Vec<u8>) -> u64 {
        let name = name.into();
        let mut base = self.next.max(ARENA_BASE);
        while let Some((&b, &i)) = self.index.range(..base + data.len() as u64 + GAP).next_back() {
            let end = b + self.regions[i].1.data.len() as u64;
            if end + GAP <= base {
                break;
            }
            base = (end + 2 * GAP - 1) / GAP * GAP;
        }
        self.next = (base + data.len() as u64 + 2 * GAP - 1) / GAP * GAP;
        self.map(base, name, data);
        base
    }
    /// Takes a region away; its bytes, if there was one at this base.
    pub fn unmap(&mut self, base: u64) -> Option<Region> {
        let place = self.index.remove(&base)?;
        self.free.push(place);
        let gone = (0, Region { name: String::new(), data: Vec::new() });
        Some(std::mem::replace(&mut self.regions[place], gone).1)
    }
    /// The region with this base.
    pub fn region(&self, base: u64) -> Option<&Region> {
        self.index.get(&base).map(|&i| &self.regions[i].1)
    }
    /// The region with this base, to be changed.
    pub fn region_mut(&mut self, base: u64) -> Option<&mut Region> {
        self.index.get(&base).map(|&i| &mut self.regions[i].1)
    }
    /// All regions with their bases, in order of address.
    pub fn regions(&self) -> impl Iterator<Item = (u64, &Region)> {
        self.index.iter().map(|(&base, &i)| (base, &self.regions[i].1))
    }

    fn find(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let inside = |(base, region): &(u64, Region)| {
            let size = region.data.len();
            let offset = usize::try_from(address.checked_sub(*base)?).ok()?;
            (offset <= size && size - offset >= len && size > 0).then_some(offset)
        };
        let (place, offset) = match self.regions.get(self.last).and_then(inside) {
            Some(offset) => (self.last, offset),
            None => {
                let place = *self.index.range(..=address).next_back()?.1;
                (place, inside(&self.regions[place])?)
            }
        };
        self.last = place;
        Some(&mut self.regions[place].1.data[offset..offset + len])
    }
    fn fault(&self, address: u64, len: usize) -> MemoryFault {
        let before = self.index.range(..=address).next_back().map(|(&b, &i)| (b, &self.regions[i].1));
        let after = self.index.range(address..).next().map(|(&b, &i)| (b, &self.regions[i].1));
        let mut first = address;
        let mut best: Option<(u64, String)> = None;
        if let Some((base, r)) = before {
            let size = r.data.len() as u64;
            let describe =
                |distance: u64, word: &str| format!("{distance} bytes {word} {:?} ({base:#x}, {size} bytes)", r.name);
            if address - base < size {
                first = base + size;
                best = Some((
                    0,
                    format!("the {len}-byte access begins {}", describe(base + size - address, "before the end of")),
                ));
            } else {
                let distance = address - base - size;
                best = Some((distance, describe(distance, "after the end of")));
            }
        }
        if let Some((base, r)) = after.filter(|(b, _)| best.as_ref().is_none_or(|(d, _)| b - address < *d)) {
            let text = format!("{} bytes before {:?} ({base:#x}, {} bytes)", base - address, r.name, r.data.len());
            best = Some((0, text));
        }
        MemoryFault { address: first, nearest: best.map(|(_, text)| text).unwrap_or_default() }
    }
}

impl Memory for Arena {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), MemoryFault> {
        match self.find(address, out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(self.fault(address, out.len())),
        }
        Ok(())
    }
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), MemoryFault> {
        match self.find(address, data.len()) {
            Some(bytes) => bytes.copy_from_slice(data),
            None => return Err(self.fault(address, data.len())),
        }
        Ok(())
    }
    fn bytes(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        self.find(address, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_do_not_overlap_and_accesses_stay_inside() {
        let mut arena = Arena::new();
        assert!(arena.map(0x1000, "a", vec![1; 16]));
        assert!(!arena.map(0x100f, "b", vec![0; 1]));
        assert!(!arena.map(0xfff, "b", vec![0; 2]));
        assert!(arena.map(0x1010, "b", vec![2; 16]));
        let mut two = [0; 2];
        assert_eq!(arena.read(0x100f, &mut two).unwrap_err().address, 0x1010);
        arena.read(0x1010, &mut two).unwrap();
        assert_eq!(two, [2, 2]);
        assert!(arena.unmap(0x1000).is_some());
        assert!(arena.read(0x1000, &mut two).is_err());
        assert!(arena.map(0x1000, "c", vec![3; 16]));
        arena.read(0x1002, &mut two).unwrap();
        assert_eq!(two, [3, 3]);
        assert!(arena.bytes(0x1008, 8).is_some() && arena.bytes(0x1008, 9).is_none());
        assert!(!arena.map(u64::MAX, "end", vec![0; 2]));
    }

    #[test]
    fn fresh_regions_have_unmapped_bytes_around() {
        let mut arena = Arena::new();
        let a = arena.alloc("a", vec![0; 300]);
        let b = arena.alloc("b", vec![0; 1]);
        assert!(b >= a + 300 + GAP && b.is_multiple_of(256));
        let fault = arena.read(a + 300, &mut [0]).unwrap_err();
        assert_eq!(fault.nearest, format!("0 bytes after the end of \"a\" ({a:#x}, 300 bytes)"));
        let fault = arena.read(b - 4, &mut [0]).unwrap_err();
        assert_eq!(fault.nearest, format!("4 bytes before \"b\" ({b:#x}, 1 bytes)"));
        let fault = arena.read(a + 298, &mut [0; 4]).unwrap_err();
        assert!(fault.nearest.contains("begins 2 bytes before the end of"), "{fault}");
        assert_eq!(fault.address, a + 300);
    }
}
