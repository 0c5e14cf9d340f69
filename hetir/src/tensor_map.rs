//! Tensor maps: 128 bytes that describe a tensor in global memory, and the box of it that one copy moves. Programs do not
//! look inside; the bytes are ours.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 to 7 | address of the tensor |
//! | 8 | its rank, less one |
//! | 9 | what it consists of, a [`MapElement`] |
//! | 10 | how elements are interleaved; 0: not |
//! | 11 | width of the swizzle: 0, 32, 64 or 128 bytes as 0 to 3 |
//! | 12 | what the swizzle moves; 0: 16 bytes |
//! | 13 | what stands for elements outside of the tensor: 0, or the NaN of [`crate::num::fma_oob`] |
//! | 16 to 35 | extents, less one, from the innermost one on |
//! | 40 to 71 | bytes from an element to the next one of each dimension but the innermost |
//! | 72 to 91 | extents of the box |
//! | 92 to 96 | steps of the box: every so manieth element is copied |
//!
//! A box lies in shared memory without gaps, its innermost dimension first. There, with a swizzle of `2^n` units of 16
//! bytes, the lowest n bits of a unit's number are combined by exclusive or with those from bit 3 on, so that the units
//! of eight lines of 128 bytes lie in different places: as matrix descriptors have it. Lines that are shorter than the
//! swizzle is wide have gaps behind them then, since units go there.
//!
//! Elements outside of the tensor are filled in by loads and left out by stores. A box begins at a multiple of 16 bytes of
//! the innermost dimension, and one that is stored does not begin in front of the tensor: an H200 takes no others.

use crate::attr::{AtomOp, MapField, MapReduction};
use crate::mbarrier::MAX;
use crate::types::Type;

/// Bytes of a map.
pub const BYTES: usize = 128;
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

/// A tensor and a box.
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
    /// Extents of the box, in elements of the tensor.
    pub part: Vec<u32>,
    /// Of each dimension, every so manieth element of the box is copied; of the innermost, every one.
    pub steps: Vec<u32>,
    /// Units of 16 bytes that a swizzle moves are `2^swizzle`.
    pub swizzle: u8,
    /// Elements outside are NaN.
    pub nan: bool,
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

fn word<const N: usize>(bytes: &[u8; BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|n| bytes[at + n])
}

impl TensorMap {
    /// The bytes of a map.
    pub fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8] = self.extents.len().saturating_sub(1) as u8;
        bytes[9] = self.element as u8;
        bytes[11] = self.swizzle;
        bytes[13] = self.nan.into();
        for (n, extent) in self.extents.iter().take(MAX_RANK).enumerate() {
            bytes[16 + 4 * n..][..4].copy_from_slice(&(extent.wrapping_sub(1) as u32).to_le_bytes());
        }
        for (n, stride) in self.strides.iter().take(MAX_RANK - 1).enumerate() {
            bytes[40 + 8 * n..][..8].copy_from_slice(&stride.to_le_bytes());
        }
        for (n, (extent, step)) in self.part.iter().zip(&self.steps).take(MAX_RANK).enumerate() {
            bytes[72 + 4 * n..][..4].copy_from_slice(&extent.to_le_bytes());
            bytes[92 + n] = *step as u8;
        }
        bytes
    }

    /// The map that bytes stand for.
    ///
    /// # Errors
    /// Why it is none that copies can follow.
    pub fn decode(bytes: &[u8; BYTES]) -> Result<Self, String> {
        let rank = usize::from(bytes[8]) + 1;
        let element = MapElement::ALL.get(usize::from(bytes[9])).copied();
        let (Some(element), 1..=MAX_RANK) = (element, rank) else {
            return Err(format!("a tensor map of rank {rank} and element type {}", bytes[9]));
        };
        if bytes[10] != 0 || bytes[12] != 0 || bytes[11] > 3 {
            return Err(format!(
                "a tensor map of interleave {}, swizzle {} of atoms {}",
                bytes[10], bytes[11], bytes[12]
            ));
        }
        let map = Self {
            address: u64::from_le_bytes(word(bytes, 0)),
            element,
            extents: (0..rank).map(|n| u64::from(u32::from_le_bytes(word(bytes, 16 + 4 * n))) + 1).collect(),
            strides: (1..rank).map(|n| u64::from_le_bytes(word(bytes, 32 + 8 * n))).collect(),
            part: (0..rank).map(|n| u32::from_le_bytes(word(bytes, 72 + 4 * n))).collect(),
            steps: (0..rank).map(|n| bytes[92 + n].into()).collect(),
            swizzle: bytes[11],
            nan: bytes[13] != 0,
        };
        let fits = |n: &u32, most| (1..=most).contains(n);
        if !map.part.iter().all(|n| fits(n, 256)) || !map.steps.iter().all(|n| fits(n, 8)) {
            return Err(format!("a tensor map of a box of {:?} in steps of {:?}", map.part, map.steps));
        }
        if !(map.line() as u64).is_multiple_of(UNIT) {
            return Err(format!("a tensor map whose boxes have lines of {} bytes, no multiple of {UNIT}", map.line()));
        }
        Ok(map)
    }

    /// Changes a field of a map's bytes.
    ///
    /// # Errors
    /// Why there is no such field or value.
    pub fn replace(bytes: &mut [u8; BYTES], field: MapField, ordinal: u32, value: u64) -> Result<(), String> {
        let n = ordinal as usize;
        let dimensions = if field == MapField::GlobalStride { MAX_RANK - 1 } else { MAX_RANK };
        if n >= dimensions {
            return Err(format!("a tensor map has no {} {ordinal}", field.name()));
        }
        match field {
            MapField::GlobalAddress => bytes[..8].copy_from_slice(&value.to_le_bytes()),
            MapField::Rank => bytes[8] = value.min(255) as u8,
            MapField::ElemType => bytes[9] = value.min(255) as u8,
            MapField::Interleave => bytes[10] = value.min(255) as u8,
            MapField::SwizzleMode => bytes[11] = value.min(255) as u8,
            MapField::SwizzleAtomicity => bytes[12] = value.min(255) as u8,
            MapField::FillMode => bytes[13] = value.min(255) as u8,
            MapField::GlobalDim => {
                bytes[16 + 4 * n..][..4].copy_from_slice(&(value as u32).wrapping_sub(1).to_le_bytes());
            }
            MapField::GlobalStride => bytes[40 + 8 * n..][..8].copy_from_slice(&value.to_le_bytes()),
            MapField::BoxDim => bytes[72 + 4 * n..][..4].copy_from_slice(&(value as u32).to_le_bytes()),
            MapField::ElementStride => bytes[92 + n] = value.min(255) as u8,
        }
        Ok(())
    }

    /// Elements of a box that are copied, in each dimension.
    fn counts(&self) -> impl Iterator<Item = u32> {
        let steps = std::iter::once(1).chain(self.steps.iter().skip(1).copied());
        self.part.iter().zip(steps).map(|(extent, step)| extent.div_ceil(step))
    }
    /// Bytes of a line of a box: of its innermost dimension.
    fn line(&self) -> usize {
        self.part.first().map_or(0, |n| *n as usize * self.element.bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plane() -> TensorMap {
        TensorMap {
            address: 0x1000,
            element: MapElement::F16,
            extents: vec![20, 3],
            strides: vec![64],
            part: vec![16, 2],
            steps: vec![1, 1],
            swizzle: 0,
            nan: true,
        }
    }

    #[test]
    fn bytes_stand_for_the_map_that_they_were_made_of() {
        let map = TensorMap { extents: vec![1 << 32, 3], swizzle: 3, ..plane() };
        assert_eq!(TensorMap::decode(&map.encode()), Ok(map));
    }

    #[test]
    fn a_map_may_be_made_field_by_field() {
        use MapField as F;
        let mut bytes = [0; BYTES];
        let fields = [
            (F::GlobalAddress, 0, 0x1000),
            (F::Rank, 0, 1),
            (F::ElemType, 0, 6),
            (F::FillMode, 0, 1),
            (F::GlobalDim, 0, 20),
            (F::GlobalDim, 1, 3),
            (F::GlobalStride, 0, 64),
            (F::BoxDim, 0, 16),
            (F::BoxDim, 1, 2),
            (F::ElementStride, 0, 1),
            (F::ElementStride, 1, 1),
        ];
        for (field, ordinal, value) in fields {
            assert_eq!(TensorMap::replace(&mut bytes, field, ordinal, value), Ok(()));
        }
        assert_eq!(bytes, plane().encode());
        assert!(TensorMap::replace(&mut bytes, F::GlobalStride, 4, 0).is_err());
    }

    #[test]
    fn what_is_outside_has_no_place_in_global_memory() {
        let piece = |shared, global, bytes| Piece { shared, global, bytes };
        // Columns -8 to 7 of the rows 2 and 3, of which there is no 3.
        let pieces = plane().pieces(Way::Load, 0x400, &[-8, 2]);
        let expected = vec![piece(0x400, None, 16), piece(0x410, Some(0x1080), 16), piece(0x420, None, 32)];
        assert_eq!(pieces, Ok(expected));
        // Columns 16 to 31, of which there are four.
        let pieces = plane().pieces(Way::Load, 0x400, &[16, 0]);
        let both = [(0x400, 0x1020), (0x420, 0x1060)];
        let expected: Vec<Piece> =
            both.iter().flat_map(|&(s, g)| [piece(s, Some(g), 8), piece(s + 8, None, 24)]).collect();
        assert_eq!(pieces, Ok(expected));
        assert_eq!(plane().outside(4), [0xf7, 0x7f, 0xf7, 0x7f]);
    }

    #[test]
    fn swizzled_lines_are_cut_into_units() {
        let map = TensorMap { extents: vec![64, 64], strides: vec![128], part: vec![64, 2], swizzle: 3, ..plane() };
        let pieces = map.pieces(Way::Load, 0x400, &[0, 0]).unwrap();
        assert_eq!(pieces.len(), 16);
        assert_eq!(pieces[1], Piece { shared: 0x410, global: Some(0x1010), bytes: 16 });
        assert_eq!(pieces[8], Piece { shared: 0x490, global: Some(0x1080), bytes: 16 });
        assert_eq!(pieces[9], Piece { shared: 0x480, global: Some(0x1090), bytes: 16 });
    }

    #[test]
    fn lines_shorter_than_their_swizzle_lie_apart() {
        let map = TensorMap { part: vec![16, 2], swizzle: 3, ..plane() };
        let places: Vec<u64> =
            map.pieces(Way::Load, 0x400, &[0, 0]).unwrap().iter().map(|piece| piece.shared).collect();
        assert_eq!(places, [0x400, 0x410, 0x490, 0x480]);
        assert_eq!(map.bytes(), 64);
    }

    #[test]
    fn what_no_copy_can_follow_is_an_error() {
        let broken = |at: usize, value: u8| {
            let mut bytes = plane().encode();
            bytes[at] = value;
            TensorMap::decode(&bytes).is_err()
        };
        assert!(broken(8, 5) && broken(9, 13) && broken(10, 1) && broken(11, 4) && broken(72, 0) && broken(92, 9));
        assert!(TensorMap::decode(&[0; BYTES]).is_err());
        let large =
            TensorMap { extents: vec![4; 3], strides: vec![64; 2], part: vec![256; 3], steps: vec![1; 3], ..plane() };
        assert!(large.pieces(Way::Load, 0x400, &[0; 3]).is_err());
        let is_wrong = |way, shared, coordinates: &[i32]| plane().pieces(way, shared, coordinates).is_err();
        assert!(is_wrong(Way::Load, 0x400, &[0]) && is_wrong(Way::Load, 0x410, &[0, 0]));
        assert!(is_wrong(Way::Load, 0x400, &[4, 0]) && is_wrong(Way::Store, 0x400, &[-4, 0]));
        for (coordinates, stored) in [([8, 0], true), ([-8, 0], false), ([0, -1], false)] {
            assert!(!is_wrong(Way::Load, 0x400, &coordinates));
            assert_eq!(is_wrong(Way::Store, 0x400, &coordinates), !stored, "{coordinates:?}");
        }
    }
}
