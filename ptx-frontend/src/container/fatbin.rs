//! Fatbins: a header, then entries, each one image for one target. `nvcc` and the host linker put several behind one
//! another.

use std::borrow::Cow;
use std::cmp::Reverse;

use hetir::diag::Diagnostic;

use super::{FATBIN_MAGIC, decompress, slice, span, truncated, u16_at, u32_at, u64_at};

/// Bytes of a fatbin header that are understood.
pub(super) const HEADER: usize = 16;
/// Bytes of an entry header that are understood; later ones hold compiler options and the like.
const ENTRY_HEADER: usize = 64;

const FLAG_64_BIT: u64 = 1;
const FLAG_LINUX: u64 = 0x10;
const FLAG_LZ4: u64 = 0x2000;
const FLAG_ZSTD: u64 = 0x8000;
const FLAG_ARCHITECTURE: u64 = 0x10_0000;
const FLAG_FAMILY: u64 = 0x20_0000;

/// What an entry of a fatbin holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ImageKind {
    /// PTX text.
    Ptx,
    /// A cubin: SASS in ELF.
    Elf,
    /// Something else, such as link-time intermediate code (8).
    Other(u16),
}

/// On which other devices than `sm` an image may run (PTX ISA, `.target`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Variant {
    /// All later ones.
    Portable,
    /// Later ones of the same family: the suffix `f`.
    Family,
    /// None: the suffix `a`.
    Architecture,
}

/// One image of a fatbin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image<'a> {
    /// What it holds.
    pub kind: ImageKind,
    /// The target, ten times the major plus the minor compute capability.
    pub sm: u32,
    /// Major and minor version of the PTX ISA for PTX; a format version otherwise.
    pub ptx_version: (u16, u16),
    /// All flags, as they stand in the entry.
    pub flags: u64,
    /// The name of the source file, which debug and relocatable builds note.
    pub ident: Option<String>,
    /// The contents, still compressed.
    pub payload: Payload<'a>,
}

/// How a payload is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// One LZ4 block.
    Lz4,
    /// One Zstandard frame.
    Zstd,
    /// Compressed, and the flags do not say in which of the known ways.
    Unknown,
}

/// The contents of an image as they are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload<'a> {
    /// The stored bytes. Raw ones may be followed by zeros up to a multiple of eight.
    pub stored: &'a [u8],
    /// How they are stored.
    pub encoding: Encoding,
    /// The uncompressed size that the entry states; 0 for raw ones.
    pub stated_size: u64,
    /// Where the stored bytes begin.
    pub offset: usize,
}

impl<'a> Payload<'a> {
    /// The contents, uncompressed if need be into a buffer of the stated size, which may be at most `limit`.
    pub fn decode(&self, limit: u64) -> Result<Cow<'a, [u8]>, Diagnostic> {
        let place = span(self.offset, self.stored.len());
        let too_large = |size: u64| {
            Diagnostic::error("container::too-large", format!("an image of {size} bytes exceeds the limit of {limit}"))
                .at(place, "this entry")
        };
        let size = match self.encoding {
            Encoding::Raw => self.stored.len() as u64,
            Encoding::Lz4 | Encoding::Zstd | Encoding::Unknown => self.stated_size,
        };
        if size > limit {
            return Err(too_large(size));
        }
        let size = usize::try_from(size).map_err(|_| too_large(size))?;
        let decoded = match self.encoding {
            Encoding::Raw => return Ok(Cow::Borrowed(self.stored)),
            Encoding::Lz4 => decompress::lz4(self.stored, size),
            Encoding::Zstd => decompress::zstd(self.stored, size),
            Encoding::Unknown => Err("its kind of compression is not known".to_owned()),
        };
        decoded.map(Cow::Owned).map_err(|why| {
            let name = match self.encoding {
                Encoding::Raw | Encoding::Unknown => "stored",
                Encoding::Lz4 => "LZ4",
                Encoding::Zstd => "Zstandard",
            };
            Diagnostic::error("container::compression", format!("a {name} image cannot be decompressed: {why}"))
                .at(place, "this entry")
        })
    }
}

impl<'a> Image<'a> {
    /// On which other devices it may run.
    pub fn variant(&self) -> Variant {
        if self.flags & FLAG_ARCHITECTURE != 0 {
            Variant::Architecture
        } else if self.flags & FLAG_FAMILY != 0 {
            Variant::Family
        } else {
            Variant::Portable
        }
    }

    /// The target as PTX writes it, such as `sm_90a`.
    pub fn target(&self) -> String {
        let suffix = match self.variant() {
            Variant::Portable => "",
            Variant::Family => "f",
            Variant::Architecture => "a",
        };
        format!("sm_{}{suffix}", self.sm)
    }

    /// The PTX text, without the zeros that may follow it. At most `limit` bytes are decompressed.
    pub fn ptx(&self, limit: u64) -> Result<Cow<'a, str>, Diagnostic> {
        let place = span(self.payload.offset, self.payload.stored.len());
        if self.kind != ImageKind::Ptx {
            return Err(Diagnostic::error("container::not-ptx", format!("the {} image is not PTX", self.target()))
                .at(place, "this entry"));
        }
        let not_text = |valid: usize| {
            Diagnostic::error("container::not-utf8", format!("the PTX for {} is not UTF-8", self.target()))
                .at(place, format!("byte {valid} of its text"))
        };
        match self.payload.decode(limit)? {
            Cow::Borrowed(bytes) => {
                let text = std::str::from_utf8(without_trailing_zeros(bytes)).map_err(|e| not_text(e.valid_up_to()))?;
                Ok(Cow::Borrowed(text))
            }
            Cow::Owned(mut bytes) => {
                bytes.truncate(without_trailing_zeros(&bytes).len());
                let text = String::from_utf8(bytes).map_err(|e| not_text(e.utf8_error().valid_up_to()))?;
                Ok(Cow::Owned(text))
            }
        }
    }
}

fn without_trailing_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1)]
}

/// The images of a fatbin, and of those that follow it with nothing but zeros between them.
pub fn images(bytes: &[u8]) -> Result<Vec<Image<'_>>, Diagnostic> {
    let mut images = Vec::new();
    let mut at = fatbin(bytes, 0, &mut images)?;
    while let Some(gap) = bytes[at..].iter().position(|&b| b != 0) {
        at = fatbin(bytes, at + gap, &mut images)?;
    }
    Ok(images)
}

/// The size of the whole fatbin that begins with `header`.
pub(super) fn stated_size(header: &[u8; HEADER]) -> Result<u64, Diagnostic> {
    let magic = u32_at(header, 0).unwrap_or_default();
    if magic != FATBIN_MAGIC {
        return Err(Diagnostic::error(
            "container::fatbin-magic",
            format!("not a fatbin: it begins with {magic:#010x}"),
        ));
    }
    let version = u16_at(header, 4).unwrap_or_default();
    if version != 1 {
        return Err(Diagnostic::error("container::fatbin-version", format!("fatbin version {version} is not known")));
    }
    let header_size = u16_at(header, 6).unwrap_or_default();
    if usize::from(header_size) < HEADER {
        let message = format!("a fatbin header of {header_size} bytes is too small");
        return Err(Diagnostic::error("container::fatbin-header", message));
    }
    Ok(u64_at(header, 8).unwrap_or_default().saturating_add(u64::from(header_size)))
}

/// Adds the images of the fatbin at `start`; returns where it ends.
fn fatbin<'a>(bytes: &'a [u8], start: usize, images: &mut Vec<Image<'a>>) -> Result<usize, Diagnostic> {
    let rest = &bytes[start..];
    let header = rest.first_chunk::<HEADER>().ok_or_else(|| truncated("a fatbin header", start, bytes))?;
    let size = stated_size(header).map_err(|d| d.at(span(start, HEADER), "this header"))?;
    let Some(whole) = slice(rest, 0, size) else {
        return Err(truncated("a fatbin", start, bytes).note(format!("its header states {size} bytes")));
    };
    let end = start + whole.len();
    let mut at = start + usize::from(u16_at(header, 6).unwrap_or_default());
    while at < end {
        let (image, next) = entry(&bytes[..end], at)?;
        images.push(image);
        at = next;
    }
    Ok(end)
}

/// The entry at `start` of a fatbin that ends with `bytes`, and where it ends.
fn entry(bytes: &[u8], start: usize) -> Result<(Image<'_>, usize), Diagnostic> {
    let rest = &bytes[start..];
    let fixed = rest.first_chunk::<ENTRY_HEADER>().ok_or_else(|| truncated("a fatbin entry", start, bytes))?;
    let half = |at| u16_at(fixed, at).unwrap_or_default();
    let word = |at| u32_at(fixed, at).unwrap_or_default();
    let long = |at| u64_at(fixed, at).unwrap_or_default();

    let bad =
        |message: String| Diagnostic::error("container::fatbin-entry", message).at(span(start, ENTRY_HEADER), "here");
    let header_size = u64::from(word(4));
    if header_size < ENTRY_HEADER as u64 {
        return Err(bad(format!("a header of {header_size} bytes is too small for a fatbin entry")));
    }
    let padded_size = long(8);
    let (Some(header), Some(padded)) = (slice(rest, 0, header_size), slice(rest, header_size, padded_size)) else {
        let stated = format!("it states {header_size} bytes of header and {padded_size} of contents");
        return Err(truncated("a fatbin entry", start, bytes).note(stated));
    };

    let flags = long(40);
    let compressed_size = word(16);
    let encoding = match (compressed_size, flags & FLAG_LZ4 != 0, flags & FLAG_ZSTD != 0) {
        (0, _, _) => Encoding::Raw,
        (_, true, false) => Encoding::Lz4,
        (_, false, true) => Encoding::Zstd,
        (_, _, _) => Encoding::Unknown,
    };
    let stored = match encoding {
        Encoding::Raw => padded,
        Encoding::Lz4 | Encoding::Zstd | Encoding::Unknown => slice(padded, 0, u64::from(compressed_size))
            .ok_or_else(|| bad(format!("{compressed_size} compressed bytes are stated in a space of {padded_size}")))?,
    };
    let ident = match slice(header, u64::from(word(32)), u64::from(word(36))) {
        None | Some([]) => None,
        Some(name) => Some(String::from_utf8_lossy(without_trailing_zeros(name)).into_owned()),
    };
    let offset = start + header.len();
    let image = Image {
        kind: match half(0) {
            1 => ImageKind::Ptx,
            2 => ImageKind::Elf,
            other => ImageKind::Other(other),
        },
        sm: word(28),
        ptx_version: (half(26), half(24)),
        flags,
        ident,
        payload: Payload { stored, encoding, stated_size: long(56), offset },
    };
    Ok((image, offset + padded.len()))
}

/// What a device can make of the images of a module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice<'i, 'a> {
    /// This PTX fits best.
    Ptx(&'i Image<'a>),
    /// There is PTX, but all of it is for later devices; their targets.
    TooNew(Vec<String>),
    /// There is SASS and no PTX; the targets of the SASS.
    ElfOnly(Vec<String>),
    /// There is neither.
    Nothing,
}

impl Choice<'_, '_> {
    /// Why there is no PTX for the device, and what can be done; `None` where there is.
    pub fn diagnostic(&self, device_sm: u32) -> Option<Diagnostic> {
        let error = |message: String| Diagnostic::error("container::no-ptx", message);
        let arch = format!("arch=compute_{device_sm},code=compute_{device_sm}");
        match self {
            Self::Ptx(_) => None,
            Self::TooNew(targets) => Some(
                error(format!("the PTX is for {}, later than this device's sm_{device_sm}", targets.join(", ")))
                    .note(format!("build the program with -gencode {arch}")),
            ),
            Self::ElfOnly(targets) => Some(
                error(format!("the module holds machine code for {} and no PTX", targets.join(", ")))
                    .note("machine code runs only on the devices that it was made for, and is not translated")
                    .note(format!("build the program with PTX in it: -gencode {arch}")),
            ),
            Self::Nothing => Some(error("the module holds neither PTX nor machine code".to_owned())),
        }
    }
}

/// The PTX image with the highest target that is not above the device's. Images of architecture- and family-specific
/// targets come after all portable ones unless the device is of that architecture or family; among equal targets the
/// most portable, and then the first, is taken.
pub fn choose<'i, 'a>(images: &'i [Image<'a>], device_sm: u32) -> Choice<'i, 'a> {
    let rank = |image: &Image<'_>| {
        let promised = match image.variant() {
            Variant::Portable => true,
            Variant::Family => image.sm / 10 == device_sm / 10,
            Variant::Architecture => image.sm == device_sm,
        };
        (promised, image.sm, Reverse(image.variant()))
    };
    let of_kind = |kind| images.iter().filter(move |image| image.kind == kind);
    let best = of_kind(ImageKind::Ptx)
        .filter(|image| image.sm <= device_sm)
        .reduce(|best, image| if rank(image) > rank(best) { image } else { best });
    if let Some(best) = best {
        return Choice::Ptx(best);
    }
    let targets = |kind| {
        let mut found: Vec<_> = of_kind(kind).map(|image| (image.sm, image.variant(), image.target())).collect();
        found.sort();
        found.dedup();
        found.into_iter().map(|(_, _, target)| target).collect::<Vec<_>>()
    };
    let (ptx, elf) = (targets(ImageKind::Ptx), targets(ImageKind::Elf));
    match (ptx.is_empty(), elf.is_empty()) {
        (false, _) => Choice::TooNew(ptx),
        (true, false) => Choice::ElfOnly(elf),
        (true, true) => Choice::Nothing,
    }
}

/// The machine code for a device with that compute capability, times ten: what was made for it alone, else for it, else for the latest
/// before it of the same major version.
pub fn machine_code<'i, 'a>(images: &'i [Image<'a>], device_sm: u32) -> Option<&'i Image<'a>> {
    let runs = |image: &&Image<'_>| {
        let promised = match image.variant() {
            Variant::Architecture => image.sm == device_sm,
            Variant::Portable | Variant::Family => image.sm / 10 == device_sm / 10 && image.sm <= device_sm,
        };
        image.kind == ImageKind::Elf && promised
    };
    let rank = |image: &Image<'_>| (image.sm, image.variant());
    images.iter().filter(runs).reduce(|best, image| if rank(image) > rank(best) { image } else { best })
}

/// Of images whose PTX is all for later devices, the PTX for the earliest of them. Whoever translates PTX rather than
/// handing it to one device's compiler can use it as far as its instructions are known.
pub fn earliest<'i, 'a>(images: &'i [Image<'a>]) -> Option<&'i Image<'a>> {
    let ptx = images.iter().filter(|image| image.kind == ImageKind::Ptx);
    ptx.min_by_key(|image| (image.sm, image.variant()))
}

/// A fatbin that holds one PTX text.
pub fn fatbin_of(text: &str, (major, minor): (u32, u32), sm: u32) -> Vec<u8> {
    let mut payload = text.as_bytes().to_vec();
    payload.resize((payload.len() + 1).next_multiple_of(8), 0);
    let mut out = Vec::with_capacity(HEADER + ENTRY_HEADER + payload.len());
    let half = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&(value as u16).to_le_bytes());
    let word = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_le_bytes());
    let long = |out: &mut Vec<u8>, value: u64| out.extend_from_slice(&value.to_le_bytes());
    word(&mut out, super::FATBIN_MAGIC);
    half(&mut out, 1);
    half(&mut out, HEADER as u32);
    long(&mut out, (ENTRY_HEADER + payload.len()) as u64);
    half(&mut out, 1);
    half(&mut out, 0x101);
    word(&mut out, ENTRY_HEADER as u32);
    long(&mut out, payload.len() as u64);
    // Not compressed, no options.
    word(&mut out, 0);
    word(&mut out, 0);
    half(&mut out, minor);
    half(&mut out, major);
    word(&mut out, sm);
    // No name.
    word(&mut out, 0);
    word(&mut out, 0);
    long(&mut out, FLAG_64_BIT | FLAG_LINUX);
    long(&mut out, 0);
    long(&mut out, 0);
    out.extend_from_slice(&payload);
    out
}
