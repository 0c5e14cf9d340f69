//! The container: a header with a table of sections, readable without any codec.
//!
//! All numbers are little-endian. The header takes the first 4096 bytes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `HETGPUSN` |
//! | 8 | 4 | version of the format, 1 |
//! | 12 | 4 | sections, at most 64 |
//! | 16 | 8 | bytes of the file |
//! | 24 | 32 | identity: BLAKE3 of the table and of all sections but `Data` |
//! | 64 | 32 each | the table |
//! | 4092 | 4 | CRC-32C of all before it |
//!
//! What is not named is 0. An entry of the table is kind (2 bytes), version of the section (2), flags (4), offset (8), length
//! (8), CRC-32C (4) and 0 (4). Sections lie behind the header in the order of the table and do not overlap. `Data` has no
//! checksum of its own: each chunk in it has its digest in the section `Chunks`. A reader ignores sections of a kind that it
//! does not know if their flag says that it may, and refuses the file otherwise.

use crate::disk::{DiskFile, read_all};
use crate::{Digest, Error, ErrorKind, Result, crc32c};
use std::path::Path;

/// Bytes of the header.
pub const HEADER: usize = 4096;
/// What a snapshot begins with.
pub const MAGIC: [u8; 8] = *b"HETGPUSN";
/// The version of the format that is written.
pub const VERSION: u32 = 1;
/// Most sections.
const SECTIONS: usize = 64;
/// Most bytes of a section that is held in memory.
pub(crate) const SECTION: u64 = 1 << 30;
const TABLE: usize = 64;
const ENTRY: usize = 32;
const CHECK: usize = HEADER - 4;

/// A reader that does not know the section may go on without it.
pub const OPTIONAL: u32 = 1;

macro_rules! sections {
    ($($(#[$doc:meta])* $kind:ident = $number:literal $name:literal,)+) => {
        /// What sections hold. Numbers are never used again for something else.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum SectionKind { $($(#[$doc])* $kind = $number,)+ }

        impl SectionKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// What people call it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            fn of(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$kind),)+ _ => None }
            }
        }
    };
}
sections! {
    /// `wire::Manifest`.
    Manifest = 1 "manifest",
    /// `wire::Contexts`.
    Contexts = 2 "contexts",
    /// `wire::Memory`.
    Memory = 3 "memory",
    /// `wire::CodeTables`.
    Code = 4 "code",
    /// `wire::Streams`.
    Streams = 5 "streams",
    /// Events.
    Events = 6 "events",
    /// `wire::TexelTables`.
    Texels = 7 "texels",
    /// `wire::Graphs`.
    Graphs = 8 "graphs",
    /// Launches.
    Launches = 9 "launches",
    /// What suspended launches left.
    Frames = 10 "frames",
    /// Which snapshot this one is built on, if any.
    Base = 11 "base",
    /// Which contents lie where.
    Map = 12 "map",
    /// Which contents are in this file, and where.
    Chunks = 13 "chunks",
    /// Contents.
    Data = 14 "data",
}

/// A section's entry in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// What it holds, by number.
    pub number: u16,
    /// Which version of that.
    pub version: u16,
    /// `OPTIONAL` or 0.
    pub flags: u32,
    /// Where it begins.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
    /// Their checksum; 0 for `Data`.
    pub crc: u32,
}

impl Section {
    /// What it holds; none where this version does not know.
    pub fn kind(&self) -> Option<SectionKind> {
        SectionKind::of(self.number)
    }

    fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }
}

/// A header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The format's version.
    pub version: u32,
    /// Bytes of the file.
    pub bytes: u64,
    /// Names this snapshot and no other.
    pub identity: Digest,
    /// The table.
    pub sections: Vec<Section>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl Header {
    /// The bytes of the table.
    fn table(sections: &[Section]) -> Vec<u8> {
        let mut out = Vec::with_capacity(sections.len() * ENTRY);
        for section in sections {
            out.extend(section.number.to_le_bytes());
            out.extend(section.version.to_le_bytes());
            out.extend(section.flags.to_le_bytes());
            out.extend(section.offset.to_le_bytes());
            out.extend(section.length.to_le_bytes());
            out.extend(section.crc.to_le_bytes());
            out.extend([0; 4]);
        }
        out
    }

    /// What names a snapshot with this table and these sections, `Data` left out.
    pub fn identify<'s>(sections: &[Section], contents: impl Iterator<Item = &'s [u8]>) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("hetgpu snapshot identity 1");
        hasher.update(&Self::table(sections));
        contents.for_each(|section| {
            hasher.update(&(section.len() as u64).to_le_bytes());
            hasher.update(section);
        });
        Digest(*hasher.finalize().as_bytes())
    }

    /// The header's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[12..16].copy_from_slice(&(self.sections.len() as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        out[24..56].copy_from_slice(&self.identity.0);
        let table = Self::table(&self.sections);
        out[TABLE..TABLE + table.len()].copy_from_slice(&table);
        let crc = crc32c(&out[..CHECK]);
        out[CHECK..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header of a file that has so many bytes.
    pub fn decode(bytes: &[u8], file: u64) -> std::result::Result<Self, (ErrorKind, String)> {
        let damaged = |what: String| (ErrorKind::Damaged, what);
        if bytes.len() < MAGIC.len() || bytes[..8] != MAGIC {
            let torn = !bytes.is_empty() && bytes.iter().all(|&byte| byte == 0);
            let what = if torn { "its header was never written" } else { "it is no snapshot of hetGPU" };
            return Err((ErrorKind::NotASnapshot, what.into()));
        }
        if bytes.len() < HEADER {
            return Err(damaged(format!("it ends inside of its header, at byte {}", bytes.len())));
        }
        let bytes = &bytes[..HEADER];
        let version = u32::from_le_bytes(number(bytes, 8));
        let right = u32::from_le_bytes(number(bytes, CHECK)) == crc32c(&bytes[..CHECK]);
        match version {
            VERSION if right => {}
            // A version to come may keep its checksum elsewhere.
            0 | VERSION => return Err(damaged("the header's checksum is wrong".into())),
            later => {
                let text =
                    format!("it has format version {later}, and this hetGPU reads up to {VERSION}: use a newer one");
                return Err((ErrorKind::Version, text));
            }
        }
        let count = u32::from_le_bytes(number(bytes, 12)) as usize;
        if count > SECTIONS {
            return Err(damaged(format!("{count} sections, at most {SECTIONS}")));
        }
        let header = Self {
            version,
            bytes: u64::from_le_bytes(number(bytes, 16)),
            identity: Digest(number(bytes, 24)),
            sections: (0..count).map(|index| Self::entry(&bytes[TABLE + index * ENTRY..][..ENTRY])).collect(),
        };
        if header.encode() != bytes {
            return Err(damaged("the header has something where nothing belongs".into()));
        }
        header.check(file).map_err(damaged)?;
        Ok(header)
    }

    fn entry(bytes: &[u8]) -> Section {
        Section {
            number: u16::from_le_bytes(number(bytes, 0)),
            version: u16::from_le_bytes(number(bytes, 2)),
            flags: u32::from_le_bytes(number(bytes, 4)),
            offset: u64::from_le_bytes(number(bytes, 8)),
            length: u64::from_le_bytes(number(bytes, 16)),
            crc: u32::from_le_bytes(number(bytes, 24)),
        }
    }

    fn check(&self, file: u64) -> std::result::Result<(), String> {
        if self.bytes != file {
            return Err(format!("it has {file} bytes, and {} by its header", self.bytes));
        }
        let mut end = HEADER as u64;
        for (index, section) in self.sections.iter().enumerate() {
            let name = section.kind().map_or_else(|| format!("section {}", section.number), |kind| kind.name().into());
            let section_end = section.end().filter(|&last| section.offset >= end && last <= file);
            end = section_end.ok_or_else(|| {
                format!("{name} lies at {} with {} bytes, where it cannot", section.offset, section.length)
            })?;
            if self.sections[..index].iter().any(|other| other.number == section.number) {
                return Err(format!("{name} is there twice"));
            }
            if section.flags & !OPTIONAL != 0 {
                return Err(format!("{name} has flags {:#x}, which mean nothing", section.flags));
            }
            match section.kind() {
                Some(SectionKind::Data) if section.crc != 0 => return Err(format!("{name} has a checksum")),
                Some(SectionKind::Data) => {}
                None if section.flags & OPTIONAL == 0 => {
                    return Err(format!("{name} is not known to this hetGPU, and cannot be left out"));
                }
                _ if section.length > SECTION => {
                    return Err(format!("{name} has {} bytes, at most {SECTION}", section.length));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A section of that kind.
    pub fn section(&self, kind: SectionKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind() == Some(kind))
    }
}

/// Reads the header of an open file.
pub(crate) fn read_header(file: &dyn DiskFile, path: &Path) -> Result<Header> {
    let about = file.about().map_err(|refused| Error::disk(path, "looking at it", &refused))?;
    let mut bytes = vec![0; (about.bytes.min(HEADER as u64)) as usize];
    read_all(file, &mut bytes, 0).map_err(|refused| Error::disk(path, "reading its header", &refused))?;
    Header::decode(&bytes, about.bytes).map_err(|(kind, what)| Error::new(kind, format!("{}: {what}", path.display())))
}

/// Reads a section and checks it.
pub(crate) fn read_section(file: &dyn DiskFile, path: &Path, section: &Section) -> Result<Vec<u8>> {
    let name = section.kind().map_or("a section", SectionKind::name);
    let mut bytes = vec![0; section.length as usize];
    let wrong = |refused| Error::disk(path, &format!("reading the section {name}"), &refused);
    read_all(file, &mut bytes, section.offset).map_err(wrong)?;
    if crc32c(&bytes) != section.crc {
        let Section { offset, length, .. } = section;
        let what = format!("the checksum of section {name} is wrong (bytes {offset} to {})", offset + length);
        return Err(Error::damaged(path, what));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let section = |number, offset, length| Section { number, version: 1, flags: 0, offset, length, crc: 0 };
        Header {
            version: 1,
            bytes: 5000,
            identity: Digest([7; 32]),
            sections: vec![section(14, 4096, 100), section(1, 4200, 800)],
        }
    }

    fn why(header: &Header, file: u64) -> String {
        Header::decode(&header.encode(), file).unwrap_err().1
    }

    #[test]
    fn a_header_reads_back() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(Header::decode(&bytes, 5000), Ok(header()));
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let bytes = header().encode();
        for at in 0..HEADER {
            for bit in [1, 0x80] {
                let mut wrong = bytes.clone();
                wrong[at] ^= bit;
                assert!(Header::decode(&wrong, 5000).is_err(), "byte {at}");
            }
        }
        for end in [0, 3, 8, 100, HEADER - 1] {
            assert!(Header::decode(&bytes[..end], end as u64).is_err());
        }
    }

    #[test]
    fn tables_that_cannot_be_are_refused_though_their_checksum_is_right() {
        let change = |change: &dyn Fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            why(&header, 5000)
        };
        assert!(change(&|h| h.sections[1].offset = 4100).contains("where it cannot"));
        assert!(change(&|h| h.sections[0].offset = 0).contains("where it cannot"));
        assert!(change(&|h| h.sections[1].length = u64::MAX).contains("where it cannot"));
        assert!(change(&|h| h.sections[1].length = 801).contains("where it cannot"));
        assert!(change(&|h| h.sections[1].number = 14).contains("twice"));
        assert!(change(&|h| h.sections[1].number = 99).contains("not known"));
        assert!(change(&|h| h.sections[1].flags = 2).contains("flags"));
        assert!(change(&|h| h.bytes = 4999).contains("5000 bytes, and 4999"));
        assert!(change(&|h| h.version = 2).contains("use a newer one"));
        let mut optional = header();
        (optional.sections[1].number, optional.sections[1].flags) = (99, OPTIONAL);
        assert!(Header::decode(&optional.encode(), 5000).is_ok());
    }

    #[test]
    fn the_kinds_have_the_numbers_that_they_always_had() {
        let numbers: Vec<u16> = SectionKind::ALL.iter().map(|&kind| kind as u16).collect();
        assert_eq!(numbers, (1..=14).collect::<Vec<u16>>());
        assert_eq!(SectionKind::of(8), Some(SectionKind::Graphs));
    }
}
