//! The containers in which device code reaches a CUDA driver: fatbins, ELF images, and the wrapper structures by which a
//! host program points at them.
//!
//! Everything here reads untrusted bytes: no function panics on any input, sizes found in the input are only believed
//! as far as data stands behind them, and the work done is linear in the input and in the output that was allowed for.
//! Spans of diagnostics are byte offsets into the slice that was passed in. Addresses in the host process are given as
//! numbers in the message, since they do not fit a span.
//!
//! What is absent: SASS is not decoded, ELF relocations are not applied, and no pointer is followed here.
//! [`HostMemory`] is the only way to the memory of the host program, and whoever implements it has the unsafe code.
//!
//! # Decompression
//! LZ4 blocks are decoded here: the format is one page, and a decoder that grows its output as data arrives is shorter
//! than the guards around one that wants the whole buffer up front.
//! Zstandard frames are decoded by `ruzstd`, which is Rust throughout (its unsafe code is one ring buffer) and needs no
//! C compiler. It checks each block against the format's limit, refuses windows above a bound that we set, and keeps
//! no more than one window and one block, so that the output can be bounded block by block. Content checksums are not
//! verified; `nvcc` writes none.

mod archive;
mod cubin;
mod decompress;
mod elf;
mod fatbin;
mod host;

use hetir::diag::{Diagnostic, Span};

pub use archive::{is_archive, members};
pub use cubin::{Cubin, CubinKernel};
pub use elf::{Elf, FatbinSection, fatbins_in_elf};
pub use fatbin::{
    Choice, Encoding, Image, ImageKind, Payload, Variant, choose, earliest, fatbin_of, images, machine_code,
};
pub use host::{HostFatbins, HostMemory, HostModule, Wrapper, read_fatbin, read_module, read_wrapper};

/// First word of a fatbin.
pub const FATBIN_MAGIC: u32 = 0xBA55_ED50;
/// First word of the wrapper by which a host program refers to its fatbins.
pub const WRAPPER_MAGIC: u32 = 0x4662_43B1;

/// How far sizes that are stated in the input are believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest uncompressed image, in bytes.
    pub image: u64,
    /// Most bytes read from host memory for one module, all its parts together.
    pub module: u64,
    /// Most fatbins that one relinked wrapper may list.
    pub prelinked: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { image: 1 << 30, module: 2 << 30, prelinked: 1 << 16 }
    }
}

/// What a block of bytes is, by how it begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A wrapper structure, which holds pointers of the host process.
    Wrapper,
    /// A fatbin.
    Fatbin,
    /// An ELF image: a cubin, or a host object or executable.
    Elf,
    /// PTX text.
    Ptx,
    /// None of these.
    Unknown,
}

/// What `bytes` is, by its first bytes. PTX text is recognised by its `.version` directive, which the PTX ISA wants
/// before all else but comments.
pub fn sniff(bytes: &[u8]) -> Kind {
    match u32_at(bytes, 0) {
        Some(WRAPPER_MAGIC) => Kind::Wrapper,
        Some(FATBIN_MAGIC) => Kind::Fatbin,
        Some(elf::MAGIC) => Kind::Elf,
        _ if skip_comments(bytes).starts_with(b".version") => Kind::Ptx,
        _ => Kind::Unknown,
    }
}

/// What follows the white space and comments at the start of a PTX text; empty if a comment has no end.
fn skip_comments(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let after = if text.starts_with(b"//") {
            text.iter().position(|&b| b == b'\n')
        } else if text.starts_with(b"/*") {
            text.windows(2).skip(2).position(|w| w == b"*/").map(|p| p + 4)
        } else {
            return text;
        };
        text = after.and_then(|p| text.get(p..)).unwrap_or_default();
    }
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

/// `len` bytes of `bytes` from `start`, both as stated by the input.
fn slice(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let end = start.checked_add(len)?;
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn span(start: usize, len: usize) -> Span {
    let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    Span::new(clamp(start), clamp(start.saturating_add(len)))
}

fn truncated(what: &str, start: usize, bytes: &[u8]) -> Diagnostic {
    Diagnostic::error("container::truncated", format!("the data ends inside {what}"))
        .at(span(start, bytes.len().saturating_sub(start)), "this is all there is")
}
