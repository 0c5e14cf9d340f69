//! Which maps there are: those that NVIDIA's driver makes for an H200, with its verdicts as the test data has them.

use super::layout::corner_bits;
use super::{Form, MAX_RANK, TensorMap};

/// Most bytes that a copy may move: the shared memory that a multiprocessor has.
const MOST_BYTES: u64 = 228 << 10;
const UNIT: u64 = 16;
const MOST_EXTENT: u64 = 1 << 32;
const MOST_STRIDE: u64 = 1 << 40;
const MOST_PART: u32 = 256;
const MOST_PIXELS: u32 = 1024;
const MOST_STEP: u32 = 8;
const MOST_SWIZZLE: u8 = 3;
const MOST_PROMOTION: u8 = 3;
/// Slices of 16 bytes, and of 32.
const NARROW: u8 = 1;
const WIDE: u8 = 2;

fn need(fits: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if fits { Ok(()) } else { Err(what()) }
}

impl TensorMap {
    /// Bytes of what is copied, where no step cuts an extent short.
    pub(super) fn noted_bytes(&self) -> u64 {
        let size = self.element.bytes() as u64;
        match &self.form {
            Form::Box(part) => {
                let counts = part.iter().zip(&self.steps).map(|(n, step)| u64::from(n / step.max(&1)));
                counts.fold(size, u64::saturating_mul)
            }
            Form::Columns(columns) => size.saturating_mul(u64::from(columns.channels) * u64::from(columns.pixels)),
        }
    }

    /// What addresses and distances are multiples of.
    pub const fn unit(&self) -> u64 {
        if self.interleave == WIDE { 2 * UNIT } else { UNIT }
    }

    /// Whether there is such a map.
    ///
    /// # Errors
    /// Why there is none.
    pub fn check(&self) -> Result<(), String> {
        let Self { extents, strides, steps, interleave, swizzle, .. } = self;
        let (rank, unit, element) = (extents.len(), self.unit(), self.element);
        let least = if *interleave == 0 && matches!(self.form, Form::Box(_)) { 1 } else { 3 };
        need((least..=MAX_RANK).contains(&rank), || format!("a tensor map of rank {rank}, interleave {interleave}"))?;
        need(*interleave <= WIDE && *swizzle <= MOST_SWIZZLE, || {
            format!("interleave {interleave}, swizzle {swizzle}")
        })?;
        need(self.promotion <= MOST_PROMOTION, || format!("promotion {}", self.promotion))?;
        need(!self.nan || element.is_float(), || format!("{element:?} has no NaN to fill boxes with"))?;
        need(self.address.is_multiple_of(unit), || format!("a tensor at {:#x}, no multiple of {unit}", self.address))?;
        need(extents.iter().all(|n| (1..=MOST_EXTENT).contains(n)), || format!("extents {extents:?}"))?;
        let fits = strides.len() + 1 == rank && strides.iter().all(|n| n.is_multiple_of(unit) && *n < MOST_STRIDE);
        need(fits, || format!("strides {strides:?}"))?;
        let fits = steps.len() == rank && steps.iter().all(|n| (1..=MOST_STEP).contains(n));
        need(fits, || format!("steps {steps:?}"))?;
        let small = |n: &u32| (1..=MOST_PART).contains(n);
        match &self.form {
            Form::Box(part) => {
                need(part.len() == rank && part.iter().all(small), || format!("a box of {part:?}"))?;
                let fits = *interleave != WIDE || *swizzle == NARROW;
                need(fits, || format!("slices of 32 bytes, and a swizzle of {}", UNIT << swizzle))?;
            }
            Form::Columns(columns) => {
                let fits = small(&columns.channels) && (1..=MOST_PIXELS).contains(&columns.pixels);
                need(fits, || format!("{} channels of {} pixels", columns.channels, columns.pixels))?;
                let room = 1 << (corner_bits(rank) - 1);
                let corners = [&columns.lower, &columns.upper];
                let fits = |all: &Vec<i32>| all.len() == rank - 2 && all.iter().all(|n| (-room..room).contains(n));
                need(corners.into_iter().all(fits), || format!("corners {corners:?} of rank {rank}"))?;
                // Slices of channels are no dimension of their own.
                let places = &extents[if *interleave == 0 { 1 } else { 0 }..];
                let left = |n: usize| places[n] as i64 + i64::from(columns.upper[n]) - i64::from(columns.lower[n]);
                need((0..rank - 2).all(|n| left(n) > 0), || format!("corners {corners:?} with nothing between them"))?;
            }
        }
        let (line, widest) = (self.line() as u64, UNIT << swizzle);
        need(line.is_multiple_of(UNIT), || format!("lines of {line} bytes, no multiple of {UNIT}"))?;
        let fits = *interleave != 0 || *swizzle == 0 || line <= widest;
        need(fits, || format!("lines of {line} bytes, and a swizzle of {widest}"))?;
        let bytes = self.noted_bytes();
        need(bytes <= MOST_BYTES, || format!("{bytes} bytes, and at most {MOST_BYTES} are copied"))
    }
}
