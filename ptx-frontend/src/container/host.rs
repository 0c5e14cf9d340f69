//! What a host program hands to the driver by address: wrappers, fatbins, cubins and PTX text. How its memory is read
//! is left to [`HostMemory`]; what is read, and how much, is decided here.

use std::borrow::Cow;
use std::collections::HashSet;

use hetir::diag::Diagnostic;

use super::{Limits, WRAPPER_MAGIC, elf, fatbin, span, truncated, u32_at, u64_at};

/// The memory of the host program.
pub trait HostMemory {
    /// The `len` bytes from `address`. Nothing else may be touched: what lies beyond may not be mapped.
    fn read(&self, address: u64, len: usize) -> Result<Cow<'_, [u8]>, Diagnostic>;
}

/// Reads never go over a multiple of this unless something was found that lies on both sides.
const PAGE: u64 = 4096;
/// Size of a wrapper.
const WRAPPER: usize = 24;

/// The structure by which compiled host code refers to its device code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrapper {
    /// 1: `data` is all there is. 2: the program was linked from relocatable device code.
    pub version: u32,
    /// Address of a fatbin.
    pub data: u64,
    /// Version 1: of no use. Version 2: address of a list, ended by a null pointer, of the addresses of the fatbins that
    /// were linked.
    pub filename_or_fatbins: u64,
}

impl Wrapper {
    /// Reads the structure; no pointer is followed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Diagnostic> {
        let bytes = bytes.first_chunk::<WRAPPER>().ok_or_else(|| truncated("a fatbin wrapper", 0, bytes))?;
        let word = |at| u32_at(bytes, at).unwrap_or_default();
        let long = |at| u64_at(bytes, at).unwrap_or_default();
        if word(0) != WRAPPER_MAGIC {
            return Err(Diagnostic::error(
                "container::wrapper-magic",
                format!("not a fatbin wrapper: it begins with {:#010x}", word(0)),
            )
            .at(span(0, 4), "here"));
        }
        Ok(Self { version: word(4), data: long(8), filename_or_fatbins: long(16) })
    }
}

/// The fatbins that a wrapper leads to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostFatbins {
    /// The fatbin of the program or, where it was linked from relocatable device code, what the device linker made:
    /// machine code, or a fatbin without images if there was only PTX to link.
    pub data: Vec<u8>,
    /// The fatbins that were linked, one for each object file. Where `data` has no PTX, the PTX of all of these together
    /// is the program.
    pub prelinked: Vec<Vec<u8>>,
}

/// What was found at an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostModule {
    /// A wrapper.
    Wrapper(HostFatbins),
    /// A fatbin.
    Fatbin(Vec<u8>),
    /// An ELF file.
    Elf(Vec<u8>),
    /// A text ended by a zero byte, without it. Whether it is PTX has not been looked at.
    Text(Vec<u8>),
}

/// Host memory, and how much of it may still be read.
struct Reader<'m, M: ?Sized> {
    memory: &'m M,
    left: u64,
}

impl<'m, M: HostMemory + ?Sized> Reader<'m, M> {
    fn new(memory: &'m M, limits: &Limits) -> Self {
        Self { memory, left: limits.module }
    }

    fn read(&mut self, address: u64, len: u64) -> Result<Cow<'m, [u8]>, Diagnostic> {
        if len == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let too_large = || {
            let message = format!("device code of {len} bytes at address {address:#x} exceeds the limit of a module");
            Diagnostic::error("container::too-large", message)
        };
        self.left = self.left.checked_sub(len).ok_or_else(too_large)?;
        let at = |message: String| Diagnostic::error("container::host-memory", message);
        if address == 0 || address.checked_add(len).is_none() {
            return Err(at(format!("{len} bytes at address {address:#x} cannot be device code")));
        }
        let len = usize::try_from(len).map_err(|_| too_large())?;
        let bytes = self.memory.read(address, len)?;
        if bytes.len() != len {
            return Err(at(format!("{} of {len} bytes could be read at address {address:#x}", bytes.len())));
        }
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, address: u64) -> Result<[u8; N], Diagnostic> {
        let mut array = [0; N];
        array.copy_from_slice(&self.read(address, N as u64)?);
        Ok(array)
    }

    fn fatbin(&mut self, address: u64) -> Result<Vec<u8>, Diagnostic> {
        let size = fatbin::stated_size(&self.array(address)?).map_err(|d| d.note(format!("address {address:#x}")))?;
        Ok(self.read(address, size)?.into_owned())
    }

    fn elf(&mut self, address: u64) -> Result<Vec<u8>, Diagnostic> {
        let header = self.array(address)?;
        let size =
            elf::stated_size(&header, |offset, len| Ok(self.read(address.saturating_add(offset), len)?.into_owned()))
                .map_err(|d| d.note(format!("address {address:#x}")))?;
        Ok(self.read(address, size)?.into_owned())
    }

    fn text(&mut self, mut address: u64) -> Result<Vec<u8>, Diagnostic> {
        let mut text = Vec::new();
        loop {
            let chunk = PAGE - address % PAGE;
            let bytes = self.read(address, chunk)?;
            if let Some(end) = bytes.iter().position(|&b| b == 0) {
                text.extend_from_slice(&bytes[..end]);
                return Ok(text);
            }
            text.extend_from_slice(&bytes);
            address = address.saturating_add(chunk);
        }
    }

    fn wrapper(&mut self, address: u64, limits: &Limits) -> Result<HostFatbins, Diagnostic> {
        let wrapper = Wrapper::parse(&self.array::<WRAPPER>(address)?)?;
        let list = match wrapper.version {
            1 => 0,
            2 => wrapper.filename_or_fatbins,
            version => {
                let message = format!("version {version} of the fatbin wrapper at address {address:#x} is not known");
                return Err(Diagnostic::error("container::wrapper-version", message));
            }
        };
        let mut found = HostFatbins { data: self.fatbin(wrapper.data)?, prelinked: Vec::new() };
        if list == 0 {
            return Ok(found);
        }
        let mut seen = HashSet::from([address, wrapper.data, list]);
        for index in 0..=limits.prelinked as u64 {
            let part = u64::from_le_bytes(self.array(list.saturating_add(index.saturating_mul(8)))?);
            if part == 0 {
                return Ok(found);
            }
            if !seen.insert(part) {
                let message = format!("the list of linked fatbins at {list:#x} leads to address {part:#x} twice");
                return Err(Diagnostic::error("container::cyclic-wrapper", message));
            }
            found.prelinked.push(self.fatbin(part)?);
        }
        let message = format!("the list of linked fatbins at {list:#x} has more than {} entries", limits.prelinked);
        Err(Diagnostic::error("container::prelinked-list", message))
    }
}

/// Reads the fatbins that the wrapper at `address` leads to.
pub fn read_wrapper<M: HostMemory + ?Sized>(
    memory: &M,
    address: u64,
    limits: &Limits,
) -> Result<HostFatbins, Diagnostic> {
    Reader::new(memory, limits).wrapper(address, limits)
}

/// Reads the fatbin at `address`, as large as its header says.
pub fn read_fatbin<M: HostMemory + ?Sized>(memory: &M, address: u64, limits: &Limits) -> Result<Vec<u8>, Diagnostic> {
    Reader::new(memory, limits).fatbin(address)
}

/// Reads whatever `cuModuleLoadData` was given: a wrapper, a fatbin, an ELF file, or else a text ended by a zero byte.
pub fn read_module<M: HostMemory + ?Sized>(
    memory: &M,
    address: u64,
    limits: &Limits,
) -> Result<HostModule, Diagnostic> {
    let mut reader = Reader::new(memory, limits);
    // A text may end with its page. The containers are aligned, so their first word never lies on two pages.
    let magic = if address % PAGE > PAGE - 4 { None } else { u32_at(&reader.array::<4>(address)?, 0) };
    match magic {
        Some(WRAPPER_MAGIC) => reader.wrapper(address, limits).map(HostModule::Wrapper),
        Some(super::FATBIN_MAGIC) => reader.fatbin(address).map(HostModule::Fatbin),
        Some(elf::MAGIC) => reader.elf(address).map(HostModule::Elf),
        _ => reader.text(address).map(HostModule::Text),
    }
}
