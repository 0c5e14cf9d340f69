//! Gives an object file its place in memory.
//!
//! The image is: instructions and jumps to what is elsewhere; what is only read, and addresses; what is written. Each of
//! the three begins at a page.

use super::elf::{ALLOC, Arch, EXECUTE, NOBITS, Object, Place, Relocation, WRITE};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of a jump to an address that is kept in the image.
const STUB: usize = 16;
/// Larger images are refused: places in them must be reached by 32 bits.
const MOST: usize = 1 << 30;
const NO_ROOM: &str = "more code than fits";
const BAD_PLACE: &str = "a relocation lies outside its section";

/// Where everything in an object goes.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    object: &'a Object<'a>,
    /// By section, for those that are loaded.
    places: Vec<Option<usize>>,
    /// By symbol, where its address is kept and where a jump to it is.
    addresses: HashMap<usize, usize>,
    stubs: HashMap<usize, usize>,
    /// Instructions, constants, variables.
    pub(super) parts: [Range<usize>; 3],
}

/// What a relocation asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The symbol.
    Direct,
    /// The symbol, or a jump to it.
    Call,
    /// Where the symbol's address is kept.
    Address,
}

/// What a relocation computes and how it is put in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Absolute64,
    Relative64,
    Relative32,
    /// Parts of instructions of aarch64.
    Jump26,
    Branch19,
    Branch14,
    Page21,
    /// Low 12 bits of an address, without so many of the lowest.
    Low12(u32),
}

impl<'a> Layout<'a> {
    pub(super) fn new(object: &'a Object<'a>, page: usize) -> Result<Self, String> {
        let mut layout = Self {
            object,
            places: vec![None; object.sections.len()],
            addresses: HashMap::new(),
            stubs: HashMap::new(),
            parts: [const { 0..0 }; 3],
        };
        let mut end = 0;
        for kind in 0..3 {
            let start = advance(end, 0, page).ok_or(NO_ROOM)?;
            end = start;
            for (index, section) in object.sections.iter().enumerate() {
                let of = match section.flags & (EXECUTE | WRITE) {
                    0 => 1,
                    WRITE => 2,
                    _ => 0,
                };
                // Nothing unwinds through compiled code.
                if section.flags & ALLOC == 0 || of != kind || section.name == ".eh_frame" {
                    continue;
                }
                let size = usize::try_from(section.size).map_err(|_| NO_ROOM)?;
                let align = usize::try_from(section.align).ok().filter(|align| *align <= page).ok_or(NO_ROOM)?;
                let place = advance(end, 0, align).ok_or(NO_ROOM)?;
                layout.places[index] = Some(place);
                end = advance(place, size, 1).ok_or(NO_ROOM)?;
            }
            match kind {
                0 => end = layout.add_stubs(end)?,
                1 => end = layout.add_addresses(end)?,
                _ => {}
            }
            layout.parts[kind] = start..end;
        }
        Ok(layout)
    }

    /// Bytes of the image.
    pub(super) fn size(&self) -> usize {
        self.parts[2].end
    }

    /// Where a symbol is in the image.
    pub(super) fn symbol(&self, name: &str) -> Option<usize> {
        let symbol = self.object.symbols.iter().find(|symbol| symbol.name == name)?;
        let Place::In { section, offset } = symbol.place else { return None };
        self.places[section]?.checked_add(usize::try_from(offset).ok()?).filter(|place| *place < self.size())
    }

    fn loaded(&self) -> impl Iterator<Item = &'a Relocation> + '_ {
        self.object.relocations.iter().filter(|relocation| self.places[relocation.section].is_some())
    }

    fn elsewhere(&self, symbol: usize) -> bool {
        self.object.symbols[symbol].place == Place::Elsewhere
    }

    fn add_stubs(&mut self, mut end: usize) -> Result<usize, String> {
        for relocation in self.object.relocations.iter() {
            let (reach, _) = meaning(self.object.arch, relocation.kind)?;
            if reach == Reach::Call && self.elsewhere(relocation.symbol) && !self.stubs.contains_key(&relocation.symbol)
            {
                let place = advance(end, 0, STUB).ok_or(NO_ROOM)?;
                self.stubs.insert(relocation.symbol, place);
                end = advance(place, STUB, 1).ok_or(NO_ROOM)?;
            }
        }
        Ok(end)
    }

    fn add_addresses(&mut self, mut end: usize) -> Result<usize, String> {
        let mut wanted: Vec<usize> = self.stubs.keys().copied().collect();
        for relocation in self.loaded() {
            if meaning(self.object.arch, relocation.kind)?.0 == Reach::Address {
                wanted.push(relocation.symbol);
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        for symbol in wanted {
            let place = advance(end, 0, 8).ok_or(NO_ROOM)?;
            self.addresses.insert(symbol, place);
            end = advance(place, 8, 1).ok_or(NO_ROOM)?;
        }
        Ok(end)
    }

    /// Writes the image, which will be at `base`. `find` knows the addresses of what is elsewhere.
    pub(super) fn write(
        &self,
        image: &mut [u8],
        base: u64,
        find: impl Fn(&str) -> Option<usize>,
    ) -> Result<(), String> {
        for (section, place) in self.object.sections.iter().zip(&self.places) {
            if let (Some(place), false) = (place, section.kind == NOBITS) {
                let to = image.get_mut(*place..*place + section.bytes.len()).ok_or(NO_ROOM)?;
                to.copy_from_slice(section.bytes);
            }
        }
        let symbols: Vec<Option<u64>> = (0..self.object.symbols.len()).map(|i| self.address(i, base, &find)).collect();
        let known = |symbol: usize| {
            symbols[symbol].ok_or_else(|| format!("unresolved symbol `{}`", self.object.symbols[symbol].name))
        };
        for (symbol, place) in &self.addresses {
            put(image, *place, &known(*symbol)?.to_le_bytes()).ok_or(NO_ROOM)?;
        }
        for (symbol, place) in &self.stubs {
            let from = self.addresses.get(symbol).ok_or("a jump has no address")?;
            put(image, *place, &stub(self.object.arch, *place, *from, base)).ok_or(NO_ROOM)?;
        }
        for relocation in self.loaded() {
            let (reach, form) = meaning(self.object.arch, relocation.kind)?;
            let symbol = relocation.symbol;
            let target = match reach {
                Reach::Call if self.elsewhere(symbol) => self.stubs.get(&symbol).map(|at| base + *at as u64),
                Reach::Address => self.addresses.get(&symbol).map(|at| base + *at as u64),
                Reach::Direct | Reach::Call => Some(known(symbol)?),
            };
            let target = target.ok_or("a relocation has no target")?.wrapping_add_signed(relocation.addend);
            let section = &self.object.sections[relocation.section];
            let start = self.places[relocation.section].ok_or(BAD_PLACE)?;
            let within = usize::try_from(relocation.offset).map_err(|_| BAD_PLACE)?;
            let bytes = image.get_mut(start..start + section.bytes.len()).and_then(|bytes| bytes.get_mut(within..));
            let here = (base + start as u64).wrapping_add(relocation.offset);
            if apply(form, bytes.ok_or(BAD_PLACE)?, here, target).is_none() {
                let name = self.object.symbols[symbol].name;
                return Err(format!("relocation {} of `{name}` does not fit", relocation.kind));
            }
        }
        Ok(())
    }

    fn address(&self, symbol: usize, base: u64, find: impl Fn(&str) -> Option<usize>) -> Option<u64> {
        let symbol = &self.object.symbols[symbol];
        match symbol.place {
            Place::Elsewhere => find(symbol.name).map(|address| address as u64),
            Place::At(value) => Some(value),
            Place::In { section, offset } => Some((base + self.places[section]? as u64).wrapping_add(offset)),
        }
    }
}

/// The first multiple of `align` behind `size` bytes at `start`.
fn advance(start: usize, size: usize, align: usize) -> Option<usize> {
    start.checked_add(size)?.checked_next_multiple_of(align).filter(|end| *end <= MOST)
}

fn put(image: &mut [u8], place: usize, bytes: &[u8]) -> Option<()> {
    image.get_mut(place..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(())
}

/// A jump to the address kept at `from`. Places are within [`MOST`] of each other, so distances fit.
fn stub(arch: Arch, place: usize, from: usize, base: u64) -> [u8; STUB] {
    const BREAKPOINT: u8 = 0xcc;
    let mut out = [BREAKPOINT; STUB];
    match arch {
        Arch::X86_64 => {
            // jmp *[rip + distance]
            let distance = from as i64 - (place as i64 + 6);
            out[..2].copy_from_slice(&[0xff, 0x25]);
            out[2..6].copy_from_slice(&(distance as i32).to_le_bytes());
        }
        Arch::Aarch64 => {
            // adrp x16, page; ldr x16, [x16, low]; br x16; brk
            let words = [0x9000_0010u32, 0xf940_0210, 0xd61f_0200, 0xd420_0000];
            for (place, word) in out.chunks_exact_mut(4).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            let (here, target) = (base + place as u64, base + from as u64);
            // Both fit: the distance by `MOST`, the low part because addresses are kept at multiples of 8.
            let _ = apply(Form::Page21, &mut out, here, target);
            let _ = apply(Form::Low12(3), &mut out[4..], here + 4, target);
        }
    }
    out
}

/// Numbers of the psABIs.
fn meaning(arch: Arch, kind: u32) -> Result<(Reach, Form), String> {
    use Form::{Absolute64, Branch14, Branch19, Jump26, Low12, Page21, Relative32, Relative64};
    Ok(match (arch, kind) {
        (Arch::X86_64, 1) => (Reach::Direct, Absolute64),
        (Arch::X86_64, 2) => (Reach::Direct, Relative32),
        (Arch::X86_64, 4) => (Reach::Call, Relative32),
        (Arch::X86_64, 9 | 41 | 42) => (Reach::Address, Relative32),
        (Arch::X86_64, 24) => (Reach::Direct, Relative64),
        (Arch::Aarch64, 257) => (Reach::Direct, Absolute64),
        (Arch::Aarch64, 260) => (Reach::Direct, Relative64),
        (Arch::Aarch64, 261) => (Reach::Direct, Relative32),
        (Arch::Aarch64, 275) => (Reach::Direct, Page21),
        (Arch::Aarch64, 277 | 278) => (Reach::Direct, Low12(0)),
        (Arch::Aarch64, 279) => (Reach::Direct, Branch14),
        (Arch::Aarch64, 280) => (Reach::Direct, Branch19),
        (Arch::Aarch64, 282 | 283) => (Reach::Call, Jump26),
        (Arch::Aarch64, 284) => (Reach::Direct, Low12(1)),
        (Arch::Aarch64, 285) => (Reach::Direct, Low12(2)),
        (Arch::Aarch64, 286) => (Reach::Direct, Low12(3)),
        (Arch::Aarch64, 299) => (Reach::Direct, Low12(4)),
        (Arch::Aarch64, 311) => (Reach::Address, Page21),
        (Arch::Aarch64, 312) => (Reach::Address, Low12(3)),
        _ => return Err(format!("unknown relocation {kind}")),
    })
}

/// Puts a target in; `None` where it cannot be expressed.
fn apply(form: Form, bytes: &mut [u8], here: u64, target: u64) -> Option<()> {
    const PAGE: u64 = 0xfff;
    let distance = target.wrapping_sub(here) as i64;
    let scaled = |bits: u32| (distance % 4 == 0).then_some(distance / 4).and_then(|n| signed(n, bits));
    match form {
        Form::Absolute64 => put(bytes, 0, &target.to_le_bytes()),
        Form::Relative64 => put(bytes, 0, &distance.to_le_bytes()),
        Form::Relative32 => put(bytes, 0, &i32::try_from(distance).ok()?.to_le_bytes()),
        Form::Jump26 => field(bytes, 0, 26, scaled(26)?),
        Form::Branch19 => field(bytes, 5, 19, scaled(19)?),
        Form::Branch14 => field(bytes, 5, 14, scaled(14)?),
        Form::Page21 => {
            let pages = signed((target & !PAGE).wrapping_sub(here & !PAGE) as i64 >> 12, 21)?;
            field(bytes, 29, 2, pages & 3)?;
            field(bytes, 5, 19, pages >> 2)
        }
        Form::Low12(shift) => {
            let low = target & PAGE;
            (low.trailing_zeros() >= shift).then_some(())?;
            field(bytes, 10, 12, (low >> shift) as u32)
        }
    }
}

/// The low bits of a number, if it is in range as a signed one.
fn signed(n: i64, bits: u32) -> Option<u32> {
    let half = 1i64 << (bits - 1);
    (-half..half).contains(&n).then_some(n as u32 & ((1 << bits) - 1))
}

/// Sets a field of an instruction.
fn field(bytes: &mut [u8], at: u32, bits: u32, value: u32) -> Option<()> {
    let word: &mut [u8; 4] = bytes.first_chunk_mut()?;
    let mask = ((1u32 << bits) - 1) << at;
    *word = (u32::from_le_bytes(*word) & !mask | value << at & mask).to_le_bytes();
    Some(())
}

#[cfg(test)]
mod tests;
