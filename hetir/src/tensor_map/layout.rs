//! Where a map's bytes have what: 32 words of which each field has some bits. Which ones was read from maps that NVIDIA's
//! driver made for an H200 and from the code that ptxas makes of `tensormap.replace`.
//!
//! | word | bits | meaning |
//! |---|---|---|
//! | 0, 1 | all | address of the tensor |
//! | 2 | 0 to 3 | what a copy moves: 0 a box, 1 columns (im2col) |
//! | 2 | 4 to 6 | rank, less one |
//! | 2 | 7 to 10 | elements; tf32 is f32 with bit 16 |
//! | 2 | 11, 12 | how elements are interleaved: 0 not, 1 and 2 in slices of 16 and 32 bytes |
//! | 2 | 13, 14 | width of the swizzle: 0, 32, 64 or 128 bytes |
//! | 2 | 15 | what stands outside of the tensor: 0, or the NaN of [`crate::num::fma_oob`] |
//! | 2 | 17, 18 | what the L2 cache fetches together: a hint |
//! | 2 | 19 to 21 | what the swizzle moves; 0: 16 bytes |
//! | 2 | 22 | a swizzle that only later devices have |
//! | 3 to 6 | all | of each dimension but the innermost, units of 16 bytes from an element to the next one: the low 32 bits |
//! | 7 | 4 each | their high bits |
//! | 8 to 12 | all | extents, less one, from the innermost one on |
//! | 13 | 3 each | steps, less one |
//! | 13 | 24 to 31 | the innermost extent of a box, or the channels of columns, less one |
//! | 14 | 8 each | a box's other extents, less one |
//! | 14 | 16, 8 or 5 each | of columns, the lower corner in the low half and the upper one in the high half |
//! | 15 | 0 to 9 | pixels of columns, less one |
//! | 16 | all | bytes that a copy moves, rounded down where steps do not divide extents; copies do not look at it |
//! | 18 | all | what the place in shared memory is to be a multiple of; nor at this |
//!
//! `tensormap.replace` changes the field that it names and nothing else. So it leaves the bit of tf32 where an element of
//! another type is named, and the two words that copies do not look at.

use super::{Columns, Form, MAX_RANK, MapElement, TensorMap};
use crate::attr::MapField;

/// Bytes of a map.
pub const BYTES: usize = 128;
/// A unit of distances.
const UNIT: u64 = 16;
/// The first element that is another one with a flag, and how many numbers before it that one is.
const FIRST_TF32: usize = MapElement::Tf32 as usize;
const BEFORE_TF32: usize = FIRST_TF32 - MapElement::F32 as usize;

/// Bits of one word.
#[derive(Clone, Copy)]
struct Field {
    word: usize,
    first: u32,
    bits: u32,
}

const fn field(word: usize, first: u32, bits: u32) -> Field {
    Field { word, first, bits }
}

const KIND: Field = field(2, 0, 4);
const RANK: Field = field(2, 4, 3);
const ELEMENT: Field = field(2, 7, 4);
const INTERLEAVE: Field = field(2, 11, 2);
const SWIZZLE: Field = field(2, 13, 2);
const FILL: Field = field(2, 15, 1);
const TF32: Field = field(2, 16, 1);
const PROMOTION: Field = field(2, 17, 2);
const ATOMS: Field = field(2, 19, 3);
const LATER_SWIZZLE: Field = field(2, 22, 1);
const PIXELS: Field = field(15, 0, 10);
const MOVED: Field = field(16, 0, 32);
const PLACE: Field = field(18, 0, 32);

const fn extent(n: usize) -> Field {
    field(8 + n, 0, 32)
}
const fn stride(n: usize) -> [Field; 2] {
    [field(3 + n, 0, 32), field(7, 4 * n as u32, 4)]
}
const fn step(n: usize) -> Field {
    field(13, 3 * n as u32, 3)
}
const fn part(n: usize) -> Field {
    match n {
        0 => field(13, 24, 8),
        n => field(14, 8 * (n as u32 - 1), 8),
    }
}
/// Bits of a corner's coordinate.
pub(super) const fn corner_bits(rank: usize) -> u32 {
    match rank {
        3 => 16,
        4 => 8,
        _ => 5,
    }
}
const fn corner(rank: usize, upper: bool, n: usize) -> Field {
    let bits = corner_bits(rank);
    field(14, bits * n as u32 + if upper { 16 } else { 0 }, bits)
}

impl Field {
    const fn mask(self) -> u32 {
        u32::MAX >> (32 - self.bits)
    }
    fn get(self, bytes: &[u8; BYTES]) -> u32 {
        let word = u32::from_le_bytes(std::array::from_fn(|n| bytes[4 * self.word + n]));
        word >> self.first & self.mask()
    }
    /// The low bits of a value become the field's.
    fn set(self, bytes: &mut [u8; BYTES], value: u32) {
        let old = self.get(bytes) << self.first;
        let word = u32::from_le_bytes(std::array::from_fn(|n| bytes[4 * self.word + n]));
        let word = word ^ old | (value & self.mask()) << self.first;
        bytes[4 * self.word..][..4].copy_from_slice(&word.to_le_bytes());
    }
    /// The field of a number that is stored less one.
    fn set_count(self, bytes: &mut [u8; BYTES], count: u64) {
        self.set(bytes, count.wrapping_sub(1) as u32);
    }
    fn count(self, bytes: &[u8; BYTES]) -> u32 {
        self.get(bytes) + 1
    }
    fn signed(self, bytes: &[u8; BYTES]) -> i32 {
        (self.get(bytes) << (32 - self.bits)) as i32 >> (32 - self.bits)
    }
}

fn set_element(bytes: &mut [u8; BYTES], number: usize) {
    let tf32 = number >= FIRST_TF32;
    ELEMENT.set(bytes, if tf32 { number - BEFORE_TF32 } else { number } as u32);
    if tf32 {
        TF32.set(bytes, 1);
    }
}

fn set_stride(bytes: &mut [u8; BYTES], n: usize, value: u64) {
    let [low, high] = stride(n);
    low.set(bytes, (value / UNIT) as u32);
    high.set(bytes, ((value / UNIT) >> 32) as u32);
}

impl TensorMap {
    /// The bytes of a map.
    pub fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let rank = self.extents.len();
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        RANK.set_count(&mut bytes, rank as u64);
        set_element(&mut bytes, self.element as usize);
        INTERLEAVE.set(&mut bytes, self.interleave.into());
        SWIZZLE.set(&mut bytes, self.swizzle.into());
        FILL.set(&mut bytes, self.nan.into());
        PROMOTION.set(&mut bytes, self.promotion.into());
        ATOMS.set(&mut bytes, self.atoms.into());
        for (n, value) in self.extents.iter().take(MAX_RANK).enumerate() {
            extent(n).set_count(&mut bytes, *value);
        }
        for (n, value) in self.strides.iter().take(MAX_RANK - 1).enumerate() {
            set_stride(&mut bytes, n, *value);
        }
        for (n, value) in self.steps.iter().take(MAX_RANK).enumerate() {
            step(n).set_count(&mut bytes, (*value).into());
        }
        match &self.form {
            Form::Box(extents) => {
                for (n, value) in extents.iter().take(MAX_RANK).enumerate() {
                    part(n).set_count(&mut bytes, (*value).into());
                }
            }
            Form::Columns(columns) => {
                KIND.set(&mut bytes, 1);
                part(0).set_count(&mut bytes, columns.channels.into());
                PIXELS.set_count(&mut bytes, columns.pixels.into());
                for (upper, place) in [(false, &columns.lower), (true, &columns.upper)] {
                    for (n, value) in place.iter().take(MAX_RANK - 2).enumerate() {
                        corner(rank, upper, n).set(&mut bytes, *value as u32);
                    }
                }
            }
        }
        MOVED.set(&mut bytes, self.noted_bytes() as u32);
        PLACE.set(&mut bytes, if self.swizzle == 0 { UNIT as u32 } else { 128 << self.swizzle });
        bytes
    }

    /// The map that bytes stand for.
    ///
    /// # Errors
    /// Why there is none.
    pub fn decode(bytes: &[u8; BYTES]) -> Result<Self, String> {
        let rank = RANK.count(bytes) as usize;
        let number = ELEMENT.get(bytes) as usize;
        // The bit says something of f32 alone.
        let flagged =
            TF32.get(bytes) == 1 && (number + BEFORE_TF32) >= FIRST_TF32 && number + BEFORE_TF32 < FIRST_TF32 + 2;
        let number = if flagged { number + BEFORE_TF32 } else { number };
        let element = MapElement::ALL.get(number).copied().filter(|_| flagged || number < FIRST_TF32);
        let (Some(element), 1..=MAX_RANK) = (element, rank) else {
            return Err(format!("a tensor map of rank {rank} and element type {number}"));
        };
        let form = match KIND.get(bytes) {
            0 => Form::Box((0..rank).map(|n| part(n).count(bytes)).collect()),
            1 if rank > 2 => {
                let place = |upper| (0..rank - 2).map(|n| corner(rank, upper, n).signed(bytes)).collect();
                Form::Columns(Columns {
                    lower: place(false),
                    upper: place(true),
                    channels: part(0).count(bytes),
                    pixels: PIXELS.count(bytes),
                })
            }
            kind => return Err(format!("a tensor map of kind {kind} and rank {rank}")),
        };
        if LATER_SWIZZLE.get(bytes) == 1 {
            return Err("a tensor map with a swizzle that this device has not".into());
        }
        let far = |n| {
            let [low, high] = stride(n);
            (u64::from(high.get(bytes)) << 32 | u64::from(low.get(bytes))) * UNIT
        };
        Ok(Self {
            address: u64::from_le_bytes(std::array::from_fn(|n| bytes[n])),
            element,
            extents: (0..rank).map(|n| u64::from(extent(n).get(bytes)) + 1).collect(),
            strides: (0..rank - 1).map(far).collect(),
            steps: (0..rank).map(|n| step(n).count(bytes)).collect(),
            form,
            interleave: INTERLEAVE.get(bytes) as u8,
            swizzle: SWIZZLE.get(bytes) as u8,
            atoms: ATOMS.get(bytes) as u8,
            promotion: PROMOTION.get(bytes) as u8,
            nan: FILL.get(bytes) == 1,
        })
    }

    /// Changes a field of a map's bytes, as the hardware does: bits of a value that the field has no room for are lost.
    ///
    /// # Errors
    /// Why there is no such field.
    pub fn replace(bytes: &mut [u8; BYTES], of: MapField, ordinal: u32, value: u64) -> Result<(), String> {
        let n = ordinal as usize;
        let dimensions = if of == MapField::GlobalStride { MAX_RANK - 1 } else { MAX_RANK };
        if n >= dimensions {
            return Err(format!("a tensor map has no {} {ordinal}", of.name()));
        }
        let low = value as u32;
        match of {
            MapField::GlobalAddress => bytes[..8].copy_from_slice(&value.to_le_bytes()),
            MapField::Rank => RANK.set(bytes, low),
            MapField::ElemType if value < MapElement::ALL.len() as u64 => set_element(bytes, low as usize),
            MapField::ElemType => return Err(format!("a tensor map has no elements of type {value}")),
            MapField::Interleave => INTERLEAVE.set(bytes, low),
            MapField::SwizzleMode => {
                SWIZZLE.set(bytes, low);
                LATER_SWIZZLE.set(bytes, low >> 2);
            }
            MapField::SwizzleAtomicity => ATOMS.set(bytes, low),
            MapField::FillMode => FILL.set(bytes, low),
            MapField::GlobalDim => extent(n).set_count(bytes, value),
            MapField::GlobalStride => set_stride(bytes, n, value),
            MapField::BoxDim => part(n).set_count(bytes, value),
            MapField::ElementStride => step(n).set_count(bytes, value),
        }
        Ok(())
    }
}
