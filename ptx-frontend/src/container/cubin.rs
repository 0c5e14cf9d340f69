//! What a cubin says of its kernels and variables: how a launch passes parameters, and what a block needs.
//!
//! Beside each kernel's section `.text.NAME` stands `.nv.info.NAME`, a list of attributes: a byte that says how the value is stored, a byte
//! that says what it is, and the value. Those that are not known here are stepped over.

use super::elf::{Elf, Section};
use super::{u16_at, u32_at, u64_at};
use hetir::diag::Diagnostic;
use std::collections::HashMap;

/// A kernel of a cubin.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CubinKernel {
    /// Its name.
    pub name: String,
    /// Where each parameter lies in the packed ones, and its bytes.
    pub params: Vec<(u32, u32)>,
    /// Most threads a block, by dimension; 0 where nothing is said.
    pub max_threads: [u32; 3],
    /// Exact threads a block, by dimension; 0 where nothing is said.
    pub required_threads: [u32; 3],
    /// Exact blocks a cluster, by dimension; 0 where nothing is said.
    pub required_cluster: [u32; 3],
    /// Bytes of shared memory that each block has.
    pub static_shared: u32,
}

/// What a cubin holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cubin {
    /// Its kernels, in the order of its symbols.
    pub kernels: Vec<CubinKernel>,
    /// Names of its variables.
    pub variables: Vec<String>,
}

/// Types and bits of symbols.
const SYMBOLS: u32 = 2;
const SYMBOL: usize = 24;
const OBJECT: u8 = 1;
const FUNCTION: u8 = 2;
const ENTRY: u8 = 0x10;
const UNDEFINED: u16 = 0;

/// How often a byte of the file may be part of something.
const SHARED: usize = 4;

/// How values are stored: in no bytes, in one or two of the word itself, or behind a size.
const SIZED: u8 = 4;

const MAX_THREADS: u8 = 0x05;
const REQUIRED_THREADS: u8 = 0x10;
const PARAMETER: u8 = 0x17;
/// Where all of them together are larger than 4 KiB.
const LARGE_PARAMETER: u8 = 0x45;
const CLUSTER: u8 = 0x3d;

/// The section for what every block's shared memory begins with, and its bytes.
const RESERVED: &[u8] = b".nv.shared.reserved.0";
const RESERVED_BYTES: u64 = 1024;

fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

impl Cubin {
    /// Reads the file's symbols and what stands beside its kernels.
    pub fn read(elf: &Elf<'_>) -> Result<Self, Diagnostic> {
        let wrong = |what: &str| Diagnostic::error("container::cubin", format!("machine code {what}"));
        if !elf.is_cubin() {
            return Err(wrong("for another kind of processor"));
        }
        // Names and lists that overlap would make the work quadratic.
        let mut left = elf.bytes().len().saturating_mul(SHARED);
        let mut spend = |bytes: usize| {
            left = left.checked_sub(bytes).ok_or_else(|| wrong("whose names overlap"))?;
            Ok::<_, Diagnostic>(())
        };
        let mut sections: HashMap<&[u8], Section> = HashMap::new();
        for section in elf.sections() {
            let name = elf.name(&section).map(text).unwrap_or_default();
            spend(name.len())?;
            sections.insert(name, section);
        }
        let reserved = if sections.contains_key(RESERVED) { RESERVED_BYTES } else { 0 };
        let mut found = Self::default();
        for table in elf.sections().filter(|section| section.kind == SYMBOLS) {
            let names = elf.section(table.link).ok_or_else(|| wrong("whose symbols have no names"))?;
            let (names, symbols) = (elf.contents(&names)?, elf.contents(&table)?);
            for symbol in symbols.chunks_exact(SYMBOL) {
                let (info, other, place) = (symbol[4], symbol[5], u16_at(symbol, 6).unwrap_or(UNDEFINED));
                let name = u32_at(symbol, 0).and_then(|at| names.get(at as usize..)).map(text).unwrap_or_default();
                spend(name.len())?;
                if place == UNDEFINED || name.is_empty() {
                    continue;
                }
                let known =
                    || std::str::from_utf8(name).map(str::to_owned).map_err(|_| wrong("with a name that is not UTF-8"));
                match info & 0xf {
                    FUNCTION if other & ENTRY != 0 => {
                        let beside = |prefix: &str| sections.get(&[prefix.as_bytes(), name].concat()[..]);
                        let mut kernel = CubinKernel { name: known()?, ..CubinKernel::default() };
                        let shared = beside(".nv.shared.").map_or(0, |section| section.size.saturating_sub(reserved));
                        kernel.static_shared = shared.try_into().unwrap_or(u32::MAX);
                        if let Some(about) = beside(".nv.info.") {
                            let list = elf.contents(about)?;
                            spend(list.len())?;
                            kernel.note(list);
                        }
                        found.kernels.push(kernel);
                    }
                    OBJECT if u64_at(symbol, 16) != Some(0) => found.variables.push(known()?),
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

impl CubinKernel {
    /// Takes what is known out of a list of attributes.
    fn note(&mut self, mut list: &[u8]) {
        let mut params: Vec<(u16, u32, u32)> = Vec::new();
        while let [form, what, low, high, rest @ ..] = list {
            let bytes = if *form == SIZED { usize::from(u16::from_le_bytes([*low, *high])) } else { 0 };
            let Some((value, behind)) = rest.split_at_checked(bytes) else { break };
            list = behind;
            let three = || [0, 4, 8].map(|at| u32_at(value, at).unwrap_or(0));
            match (*form, *what) {
                (SIZED, PARAMETER | LARGE_PARAMETER) => {
                    // Place in the list, place in memory, and the size, which is the upper bits of a word or all of it.
                    if let (Some(place), Some(offset), Some(about)) =
                        (u16_at(value, 4), u16_at(value, 6), u32_at(value, 8))
                    {
                        params.push((place, offset.into(), if *what == PARAMETER { about >> 18 } else { about }));
                    }
                }
                (SIZED, MAX_THREADS) => self.max_threads = three(),
                (SIZED, REQUIRED_THREADS) => self.required_threads = three(),
                (SIZED, CLUSTER) => self.required_cluster = three(),
                _ => {}
            }
        }
        params.sort_unstable();
        self.params = params.into_iter().map(|(_, offset, bytes)| (offset, bytes)).collect();
    }
}
