//! Just enough ELF: 64-bit little-endian files, their sections by name, and what a cubin says of itself.

use hetir::diag::Diagnostic;

use super::{slice, span, truncated, u16_at, u32_at, u64_at};

/// The first word of every ELF file.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");
/// Size of the file header.
pub(super) const HEADER: usize = 64;
/// Size of a section header.
const SECTION: u64 = 64;
/// Size of a program header.
const SEGMENT: u64 = 56;
const MACHINE_CUBIN: u16 = 190;
/// Section type of those that take no room in the file.
const NOBITS: u32 = 8;
/// First of the section types whose meaning depends on the system or machine.
const SPECIFIC: u32 = 0x6000_0000;
/// The sections in which `nvcc` puts fatbins; the second one holds those that take part in device linking.
const FATBIN_SECTIONS: [&str; 2] = [".nv_fatbin", "__nv_relfatbin"];

/// A 64-bit little-endian ELF file.
#[derive(Clone, Copy, Debug)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    header: &'a [u8; HEADER],
    /// The section headers.
    table: &'a [u8],
    /// The section names.
    names: &'a [u8],
}

/// A section of a host file that holds fatbins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FatbinSection<'a> {
    /// `.nv_fatbin` or `__nv_relfatbin`.
    pub name: &'static str,
    /// Where it begins in the file.
    pub offset: usize,
    /// Its contents, for [`images`](super::images).
    pub bytes: &'a [u8],
}

/// A section header, as far as it is of use.
pub(super) struct Section {
    name: u32,
    pub(super) kind: u32,
    offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
}

impl Section {
    /// The header at the start of `bytes`.
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            name: u32_at(bytes, 0)?,
            kind: u32_at(bytes, 4)?,
            offset: u64_at(bytes, 24)?,
            size: u64_at(bytes, 32)?,
            link: u32_at(bytes, 40)?,
        })
    }

    /// Where it is sure to end in the file. Some of the types that are particular to cubins take no room, such as that
    /// of `.nv.global` in one that is not linked yet.
    fn end(&self) -> u64 {
        if self.kind == NOBITS || self.kind >= SPECIFIC { 0 } else { self.offset.saturating_add(self.size) }
    }
}

fn bad(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("container::elf", message)
}

/// A fault of the section table, which the word at `at` of the file header describes.
fn bad_table(message: &str, at: usize) -> Diagnostic {
    bad(message).at(span(at, 8), "stated here")
}

/// Checks what the first bytes say of the file as a whole.
fn check_header(header: &[u8; HEADER]) -> Result<(), Diagnostic> {
    if u32_at(header, 0) != Some(MAGIC) {
        return Err(bad("not an ELF file").at(span(0, 4), "no ELF magic"));
    }
    if header[4..6] != [2, 1] {
        return Err(bad("only 64-bit little-endian ELF files are known").at(span(4, 2), "class and byte order"));
    }
    Ok(())
}

/// Place and size of the section and program header tables, in that order. An executable of more than 65,279 sections
/// states their number in the first one, which `first_section` reads (ELF, "Extended numbering").
fn tables(
    header: &[u8; HEADER],
    first_section: impl FnOnce(u64) -> Result<Option<Section>, Diagnostic>,
) -> Result<[(u64, u64); 2], Diagnostic> {
    let half = |at| u64::from(u16_at(header, at).unwrap_or_default());
    let long = |at| u64_at(header, at).unwrap_or_default();
    let sections = match (long(40), half(60)) {
        (0, _) => 0,
        (offset, 0) => first_section(offset)?.map_or(0, |first| first.size),
        (_, count) => count,
    };
    let segments = if long(32) == 0 { 0 } else { half(56) };
    if sections != 0 && half(58) != SECTION {
        return Err(bad_table("section headers of an unknown size", 58));
    }
    if segments != 0 && half(54) != SEGMENT {
        return Err(bad_table("program headers of an unknown size", 54));
    }
    Ok([(long(40), sections.saturating_mul(SECTION)), (long(32), segments * SEGMENT)])
}

/// Size of the file that begins with `header`, by what its tables refer to; `read` gives parts of it. `ptxas` and
/// `nvlink` put the tables last.
pub(super) fn stated_size(
    header: &[u8; HEADER],
    mut read: impl FnMut(u64, u64) -> Result<Vec<u8>, Diagnostic>,
) -> Result<u64, Diagnostic> {
    check_header(header)?;
    let [sections, segments] = tables(header, |offset| Ok(Section::read(&read(offset, SECTION)?)))?;
    let mut end = HEADER as u64;
    for (offset, size) in [sections, segments] {
        end = end.max(offset.saturating_add(size));
    }
    let section_table = read(sections.0, sections.1)?;
    for section in section_table.chunks_exact(SECTION as usize).filter_map(Section::read) {
        end = end.max(section.end());
    }
    let segment_table = read(segments.0, segments.1)?;
    for segment in segment_table.chunks_exact(SEGMENT as usize) {
        let (offset, size) = (u64_at(segment, 8).unwrap_or_default(), u64_at(segment, 32).unwrap_or_default());
        end = end.max(offset.saturating_add(size));
    }
    Ok(end)
}

impl<'a> Elf<'a> {
    /// Reads the file header and finds the section table.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Diagnostic> {
        let header = bytes.first_chunk::<HEADER>().ok_or_else(|| truncated("an ELF header", 0, bytes))?;
        check_header(header)?;
        let first = |offset| Ok(slice(bytes, offset, SECTION).and_then(Section::read));
        let [(offset, size), _] = tables(header, first)?;
        let outside = || bad_table("the section table lies outside the file", 40);
        let table = if size == 0 { &[] } else { slice(bytes, offset, size).ok_or_else(outside)? };
        let mut elf = Self { bytes, header, table, names: &[] };
        let names = match u16_at(header, 62).unwrap_or_default() {
            0xFFFF => elf.section(0).map_or(0, |first| first.link),
            index => u32::from(index),
        };
        if names != 0 {
            let section =
                elf.section(names).ok_or_else(|| bad_table("there is no section with the section names", 62))?;
            elf.names = elf.contents(&section)?;
        }
        Ok(elf)
    }

    /// All of the file.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it is device code.
    pub fn is_cubin(&self) -> bool {
        u16_at(self.header, 18) == Some(MACHINE_CUBIN)
    }

    /// The target of a cubin, ten times the major plus the minor compute capability. Up to version 7 of its ABI the low
    /// byte of the flags has it, from version 8 the second byte.
    pub fn sm(&self) -> Option<u32> {
        let flags = u32_at(self.header, 48).unwrap_or_default();
        let shift = if self.header[8] >= 8 { 8 } else { 0 };
        self.is_cubin().then_some(flags >> shift & 0xFF)
    }

    /// The names of the functions of a cubin: those of the sections `.text.NAME`. In one that is not linked yet, some
    /// may be device functions; otherwise they are kernels.
    pub fn functions(&self) -> Result<Vec<&'a str>, Diagnostic> {
        let mut functions = Vec::new();
        let mut length = 0;
        for section in self.sections() {
            let Some(name) = self.name(&section).and_then(|rest| rest.strip_prefix(b".text.")) else { continue };
            let name = name.split(|&b| b == 0).next().unwrap_or_default();
            length += name.len();
            // Functions have names of their own. More of them than the table has room for means that many sections
            // refer to the same bytes, which would make the work quadratic.
            if length > self.names.len() {
                return Err(bad("the names of its sections overlap"));
            }
            let name = std::str::from_utf8(name).map_err(|_| bad("the name of a function is not UTF-8"))?;
            functions.push(name);
        }
        Ok(functions)
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = Section> {
        self.table.chunks_exact(SECTION as usize).filter_map(Section::read)
    }

    pub(super) fn section(&self, index: u32) -> Option<Section> {
        slice(self.table, u64::from(index) * SECTION, SECTION).and_then(Section::read)
    }

    /// The name of a section, and all that follows it in the table of names.
    pub(super) fn name(&self, section: &Section) -> Option<&'a [u8]> {
        self.names.get(usize::try_from(section.name).ok()?..)
    }

    pub(super) fn contents(&self, section: &Section) -> Result<&'a [u8], Diagnostic> {
        if section.kind == NOBITS {
            return Ok(&[]);
        }
        slice(self.bytes, section.offset, section.size)
            .ok_or_else(|| truncated("a section", usize::try_from(section.offset).unwrap_or(usize::MAX), self.bytes))
    }
}

/// The sections of a host object, shared object or executable that hold fatbins.
pub fn fatbins_in_elf(bytes: &[u8]) -> Result<Vec<FatbinSection<'_>>, Diagnostic> {
    let elf = Elf::parse(bytes)?;
    let mut found = Vec::new();
    let mut length = 0;
    for section in elf.sections() {
        let Some(rest) = elf.name(&section) else { continue };
        let is = |name: &&str| rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(&[0]));
        let Some(name) = FATBIN_SECTIONS.into_iter().find(is) else { continue };
        let contents = elf.contents(&section)?;
        if contents.is_empty() {
            continue;
        }
        length += contents.len();
        if length > bytes.len() {
            return Err(bad("its sections of fatbins overlap"));
        }
        // It lies within `bytes`, so the offset fits.
        let offset = usize::try_from(section.offset).unwrap_or(usize::MAX);
        found.push(FatbinSection { name, offset, bytes: contents });
    }
    Ok(found)
}
