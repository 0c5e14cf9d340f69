//! Relocatable object files, as far as code generators write them. Nothing in them is trusted: they may come from a disk.

/// Sections that take memory when loaded.
pub(super) const ALLOC: u64 = 2;
/// Sections that are written to.
pub(super) const WRITE: u64 = 1;
/// Sections of instructions.
pub(super) const EXECUTE: u64 = 4;
/// A section of zeros.
pub(super) const NOBITS: u32 = 8;

const SYMTAB: u32 = 2;
const RELA: u32 = 4;
const RELOCATABLE: u16 = 1;
const UNDEFINED: u16 = 0;
const ABSOLUTE: u16 = 0xfff1;
const RESERVED: u16 = 0xff00;

const HEADER: usize = 64;
const SECTION: usize = 64;
const SYMBOL: usize = 24;
const RELOCATION: usize = 24;

/// The processor that an object is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
}

/// An object file.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pub(super) arch: Arch,
    pub(super) sections: Vec<Section<'a>>,
    pub(super) symbols: Vec<Symbol<'a>>,
    pub(super) relocations: Vec<Relocation>,
}

/// A section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) align: u64,
    pub(super) size: u64,
    /// Contents, none of a section of zeros.
    pub(super) bytes: &'a [u8],
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
}

/// Where a symbol is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Elsewhere,
    At(u64),
    In { section: usize, offset: u64 },
}

/// A place that the address of a symbol goes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    pub(super) section: usize,
    pub(super) offset: u64,
    pub(super) kind: u32,
    pub(super) symbol: usize,
    pub(super) addend: i64,
}

impl<'a> Object<'a> {
    /// Reads an object file; says what is wrong with it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let header = part(bytes, 0, HEADER).ok_or("no header")?;
        if !header.starts_with(b"\x7fELF\x02\x01\x01") || u16_at(header, 16) != Some(RELOCATABLE) {
            return Err("not a 64-bit little-endian relocatable object");
        }
        let arch = match u16_at(header, 18) {
            Some(62) => Arch::X86_64,
            Some(183) => Arch::Aarch64,
            _ => return Err("for another processor"),
        };
        let raw = raw_sections(bytes, header).ok_or("its section table is broken")?;
        let names = u16_at(header, 62).and_then(|index| raw.get(usize::from(index))).ok_or("no section names")?;
        let sections: Option<Vec<_>> = raw.iter().map(|section| section.named(names.bytes)).collect();
        let sections = sections.ok_or("a section has no name")?;
        let mut symbols = Vec::new();
        if let Some(table) = raw.iter().find(|section| section.kind == SYMTAB) {
            let names = raw.get(table.link as usize).ok_or("no symbol names")?;
            let read = table.bytes.chunks_exact(SYMBOL).map(|entry| symbol(entry, names.bytes, sections.len()));
            symbols = read.collect::<Option<_>>().ok_or("a symbol is broken")?;
        }
        let mut relocations = Vec::new();
        for table in raw.iter().filter(|section| section.kind == RELA) {
            let section = table.info as usize;
            for entry in table.bytes.chunks_exact(RELOCATION) {
                let relocation = relocation(entry, section).ok_or("a relocation is broken")?;
                if section >= sections.len() || relocation.symbol >= symbols.len() {
                    return Err("a relocation names what is not there");
                }
                relocations.push(relocation);
            }
        }
        Ok(Self { arch, sections, symbols, relocations })
    }
}

/// A section header and what it refers to.
struct Raw<'a> {
    name: u32,
    kind: u32,
    flags: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    fn named(&self, names: &'a [u8]) -> Option<Section<'a>> {
        let &Self { kind, flags, align, size, bytes, .. } = self;
        let align = align.max(1);
        (align.is_power_of_two()).then_some(())?;
        Some(Section { name: text(names, self.name)?, kind, flags, align, size, bytes })
    }
}

fn raw_sections<'a>(bytes: &'a [u8], header: &[u8]) -> Option<Vec<Raw<'a>>> {
    let start = usize::try_from(u64_at(header, 40)?).ok()?;
    let (entry, count) = (u16_at(header, 58)?, u16_at(header, 60)?);
    if usize::from(entry) != SECTION {
        return None;
    }
    let table = part(bytes, start, usize::from(count) * SECTION)?;
    let read = |entry: &[u8]| {
        let kind = u32_at(entry, 4)?;
        let (offset, size) = (u64_at(entry, 24)?, u64_at(entry, 32)?);
        let contents = match kind {
            NOBITS => &[],
            _ => part(bytes, usize::try_from(offset).ok()?, usize::try_from(size).ok()?)?,
        };
        Some(Raw {
            name: u32_at(entry, 0)?,
            kind,
            flags: u64_at(entry, 8)?,
            size,
            link: u32_at(entry, 40)?,
            info: u32_at(entry, 44)?,
            align: u64_at(entry, 48)?,
            bytes: contents,
        })
    };
    table.chunks_exact(SECTION).map(read).collect()
}

fn symbol<'a>(entry: &[u8], names: &'a [u8], sections: usize) -> Option<Symbol<'a>> {
    let value = u64_at(entry, 8)?;
    let place = match u16_at(entry, 6)? {
        UNDEFINED => Place::Elsewhere,
        ABSOLUTE => Place::At(value),
        index if index < RESERVED && usize::from(index) < sections => {
            Place::In { section: usize::from(index), offset: value }
        }
        _ => return None,
    };
    Some(Symbol { name: text(names, u32_at(entry, 0)?)?, place })
}

fn relocation(entry: &[u8], section: usize) -> Option<Relocation> {
    let info = u64_at(entry, 8)?;
    Some(Relocation {
        section,
        offset: u64_at(entry, 0)?,
        kind: info as u32,
        symbol: (info >> 32) as usize,
        addend: u64_at(entry, 16)? as i64,
    })
}

fn part(bytes: &[u8], start: usize, length: usize) -> Option<&[u8]> {
    bytes.get(start..start.checked_add(length)?)
}

fn text(names: &[u8], at: u32) -> Option<&str> {
    let name = names.get(at as usize..)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&name[..end]).ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
