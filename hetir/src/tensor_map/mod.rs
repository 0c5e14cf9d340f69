//! Tensor maps: 128 bytes that describe a tensor in global memory, and what of it one copy moves. Programs do not look
//! inside. The bytes are those that NVIDIA's driver and hardware know (`layout`), so that a map is the same everywhere.
//!
//! A box lies in shared memory without gaps, its innermost dimension first. There, with a swizzle of `2^n` units of 16
//! bytes, the lowest n bits of a unit's number are combined by exclusive or with those from bit 3 on, so that the units
//! of eight lines of 128 bytes lie in different places: as matrix descriptors have it. Lines that are shorter than the
//! swizzle is wide have gaps behind them then, since units go there.
//!
//! Elements outside of the tensor are filled in by loads and left out by stores. A box begins at a multiple of 16 bytes of
//! the innermost dimension, and one that is stored does not begin in front of the tensor: an H200 takes no others.

mod check;
mod layout;
#[cfg(test)]
mod tests;

pub use layout::BYTES;

use crate::attr::{AtomOp, MapReduction};
use crate::mbarrier::MAX;
use crate::types::Type;

/// Most dimensions of a tensor.
pub const MAX_RANK: usize = 5;
/// What a map in memory begins at a multiple of.
pub const ALIGN: u64 = 64;
/// What a box in shared memory begins at a multiple of.
pub const BOX_ALIGN: u64 = 128;
/// The NaN for elements outside, 16 bits.
const OUTSIDE: u16 = 0x7ff7;
/// Bytes that a swizzle moves together.
const UNIT: u64 = 16;

/// What a tensor consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum MapElement {
    U8,
    U16,
    U32,
    S32,
    U64,
    S64,
    F16,
    F32,
    F32Ftz,
    F64,
    Bf16,
    Tf32,
    Tf32Ftz,
}

impl MapElement {
    /// All, by number.
    pub const ALL: [Self; 13] = [
        Self::U8,
        Self::U16,
        Self::U32,
        Self::S32,
        Self::U64,
        Self::S64,
        Self::F16,
        Self::F32,
        Self::F32Ftz,
        Self::F64,
        Self::Bf16,
        Self::Tf32,
        Self::Tf32Ftz,
    ];
    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::S32 | Self::F32 | Self::F32Ftz | Self::Tf32 | Self::Tf32Ftz => 4,
            Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }
    /// Whether they have a NaN.
    pub const fn is_float(self) -> bool {
        !matches!(self, Self::U8 | Self::U16 | Self::U32 | Self::S32 | Self::U64 | Self::S64)
    }
    /// What a reduction does with each element, where there is such a one.
    pub const fn reduction(self, op: MapReduction) -> Option<(AtomOp, Type)> {
        use MapReduction as R;
        let op = match (op, self) {
            (R::Add, Self::U32 | Self::S32 | Self::U64) => AtomOp::Add,
            (R::Add, Self::F16 | Self::Bf16 | Self::F32 | Self::F32Ftz | Self::F64) => AtomOp::FAdd,
            (R::Min, Self::U32 | Self::U64) => AtomOp::UMin,
            (R::Max, Self::U32 | Self::U64) => AtomOp::UMax,
            (R::Min, Self::S32 | Self::S64) => AtomOp::SMin,
            (R::Max, Self::S32 | Self::S64) => AtomOp::SMax,
            (R::Min, Self::F16 | Self::Bf16) => AtomOp::FMin,
            (R::Max, Self::F16 | Self::Bf16) => AtomOp::FMax,
            (R::Inc, Self::U32) => AtomOp::Inc,
            (R::Dec, Self::U32) => AtomOp::Dec,
            (R::And, Self::U32 | Self::S32 | Self::U64 | Self::S64) => AtomOp::And,
            (R::Or, Self::U32 | Self::S32 | Self::U64 | Self::S64) => AtomOp::Or,
            (R::Xor, Self::U32 | Self::S32 | Self::U64 | Self::S64) => AtomOp::Xor,
            _ => return None,
        };
        let ty = match self {
            Self::U64 | Self::S64 => Type::I64,
            Self::F16 => Type::F16,
            Self::Bf16 => Type::BF16,
            Self::F32 | Self::F32Ftz => Type::F32,
            Self::F64 => Type::F64,
            _ => Type::I32,
        };
        Some((op, ty))
    }
}

/// A tensor and what a copy moves of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorMap {
    /// Where the tensor is.
    pub address: u64,
    /// What it consists of.
    pub element: MapElement,
    /// Its extents, from the innermost one on; as many as it has dimensions.
    pub extents: Vec<u64>,
    /// Bytes from an element to the next one of each dimension but the innermost.
    pub strides: Vec<u64>,
    /// Of each dimension, every so manieth element is copied; of a box's innermost, every one.
    pub steps: Vec<u32>,
    /// What a copy moves.
    pub form: Form,
    /// How elements are interleaved: 0 not, 1 and 2 in slices of 16 and 32 bytes. No copy follows that.
    pub interleave: u8,
    /// Units of 16 bytes that a swizzle moves are `2^swizzle`.
    pub swizzle: u8,
    /// What a swizzle moves; 0: 16 bytes. No copy follows others.
    pub atoms: u8,
    /// What the L2 cache fetches together: a hint.
    pub promotion: u8,
    /// Elements outside are NaN.
    pub nan: bool,
}

/// What of a tensor a copy moves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// A box of these extents, in elements of the tensor.
    Box(Vec<u32>),
    /// Pixels with their channels, for convolutions. No copy follows them.
    Columns(Columns),
}

/// The innermost dimension of the tensor are channels, the outermost images, those between them places in an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Columns {
    /// Of each dimension of an image, the first place, as a distance from the beginning.
    pub lower: Vec<i32>,
    /// The last place, as a distance from the end.
    pub upper: Vec<i32>,
    /// Channels of a pixel.
    pub channels: u32,
    /// Pixels.
    pub pixels: u32,
}

/// Which way a box goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the tensor to shared memory.
    Load,
    /// To the tensor, or into what its elements are combined with.
    Store,
}

/// A part of a copy: neighbours in both memories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Where it is in shared memory.
    pub shared: u64,
    /// Where it is in global memory; `None` outside of the tensor.
    pub global: Option<u64>,
    /// Bytes.
    pub bytes: usize,
}

impl TensorMap {
    /// Extents of the box.
    fn part(&self) -> &[u32] {
        match &self.form {
            Form::Box(extents) => extents,
            Form::Columns(_) => &[],
        }
    }
    /// Elements of a box that are copied, in each dimension.
    fn counts(&self) -> impl Iterator<Item = u32> {
        let steps = std::iter::once(1).chain(self.steps.iter().skip(1).copied());
        self.part().iter().zip(steps).map(|(extent, step)| extent.div_ceil(step))
    }
    /// Bytes of a line: of what is copied of the innermost dimension.
    fn line(&self) -> usize {
        let count = match &self.form {
            Form::Box(extents) => extents.first().copied().unwrap_or(0),
            Form::Columns(columns) => columns.channels,
        };
        count as usize * self.element.bytes()
    }
    /// From one line of a box in shared memory to the next.
    fn pitch(&self) -> u64 {
        let width = if self.swizzle == 0 { 0 } else { UNIT << self.swizzle };
        width.max(self.line() as u64)
    }
    /// Bytes of a box, without gaps.
    pub fn bytes(&self) -> usize {
        self.counts().map(|n| n as usize).product::<usize>() * self.element.bytes()
    }
    /// What stands for bytes outside of the tensor: so many of them, from the beginning of an element on.
    pub fn outside(&self, bytes: usize) -> Vec<u8> {
        let pattern = if self.nan { OUTSIDE.to_le_bytes() } else { [0; 2] };
        (0..bytes).map(|n| pattern[n % 2]).collect()
    }
    /// What a reduction does with each element.
    ///
    /// # Errors
    /// Why there is no such reduction.
    pub fn reduction(&self, op: MapReduction) -> Result<(AtomOp, Type), String> {
        let missing = || format!("there is no {} of a tensor of {:?}", op.name(), self.element);
        self.element.reduction(op).ok_or_else(missing)
    }
    /// Where a swizzle moves an address in shared memory.
    fn moved(&self, address: u64) -> u64 {
        let mask = (1 << self.swizzle) - 1;
        address ^ (((address / (8 * UNIT)) & mask) * UNIT)
    }

    /// The parts of a copy of the box at coordinates, from the innermost one on, and a place in shared memory.
    ///
    /// # Errors
    /// Why there is no such copy.
    pub fn pieces(&self, way: Way, shared: u64, coordinates: &[i32]) -> Result<Vec<Piece>, String> {
        let rank = self.extents.len();
        if matches!(self.form, Form::Columns(_)) {
            return Err("a tensor map of columns (im2col), where one of boxes is needed".into());
        }
        if self.interleave != 0 || self.atoms != 0 {
            return Err(format!(
                "a copy by a tensor map of interleave {} and swizzle atoms {}: there are only those of 0 yet",
                self.interleave, self.atoms
            ));
        }
        if !(self.line() as u64).is_multiple_of(UNIT) {
            return Err(format!("a tensor map whose boxes have lines of {} bytes, no multiple of {UNIT}", self.line()));
        }
        if coordinates.len() != rank {
            return Err(format!("{} coordinates for a tensor map of rank {rank}", coordinates.len()));
        }
        let size = self.element.bytes() as u64;
        let first = i64::from(coordinates[0]);
        if first * size as i64 % UNIT as i64 != 0 {
            return Err(format!(
                "a box from element {first} of the innermost dimension on, of {size} bytes each: it begins at no multiple of {UNIT}"
            ));
        }
        if way == Way::Store && coordinates.iter().any(|at| *at < 0) {
            return Err(format!("a box at {coordinates:?} to be stored: it begins in front of the tensor"));
        }
        if !shared.is_multiple_of(BOX_ALIGN) {
            return Err(format!("a box at {shared:#x} of shared memory, which is no multiple of {BOX_ALIGN}"));
        }
        if self.bytes() > MAX as usize {
            return Err(format!("a box of {} bytes, and at most {MAX} are copied", self.bytes()));
        }
        let counts: Vec<u32> = self.counts().collect();
        let lines: u64 = counts[1..].iter().map(|n| u64::from(*n)).product();
        // Of a line, the elements that are in the tensor.
        let width = i64::from(counts[0]);
        let inside = |at: i64| at.clamp(0, width) as u64 * size;
        let (begin, end) = (inside(-first), inside(self.extents[0] as i64 - first).max(inside(-first)));
        let mut pieces = Vec::new();
        for line in 0..lines {
            let mut rest = line;
            let mut address = Some(self.address.wrapping_add((first as u64).wrapping_mul(size)));
            for n in 1..rank {
                let number = rest % u64::from(counts[n]);
                rest /= u64::from(counts[n]);
                let index = i64::from(coordinates[n]) + number as i64 * i64::from(self.steps[n]);
                let is_inside = (0..self.extents[n] as i64).contains(&index);
                let ahead = (index as u64).wrapping_mul(self.strides[n - 1]);
                address = address.filter(|_| is_inside).map(|a| a.wrapping_add(ahead));
            }
            let start = shared.wrapping_add(line * self.pitch());
            let (begin, end) = if address.is_some() { (begin, end) } else { (0, 0) };
            for (from, to, is_inside) in [(0, begin, false), (begin, end, true), (end, self.line() as u64, false)] {
                let mut at = from;
                while at < to {
                    // A swizzle tears units apart.
                    let next = if self.swizzle == 0 { to } else { to.min((at / UNIT + 1) * UNIT) };
                    pieces.push(Piece {
                        shared: self.moved(start.wrapping_add(at)),
                        global: address.filter(|_| is_inside).map(|a| a.wrapping_add(at)),
                        bytes: (next - at) as usize,
                    });
                    at = next;
                }
            }
        }
        Ok(pieces)
    }
}
