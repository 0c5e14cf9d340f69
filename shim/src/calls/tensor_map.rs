//! Tensor maps: programs get 128 bytes and hand them to their kernels.

use super::location::wrong;
use crate::abi::{Call, In, Out, Pointer};
use crate::result::Outcome;
use hetgpu_runtime::{
    MAX_TENSOR_RANK, MapElement, TENSOR_MAP_ALIGN, TENSOR_MAP_BYTES, TensorColumns, TensorForm, TensorMap,
};

/// `CUtensorMap`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Map([u8; TENSOR_MAP_BYTES]);

/// By the API's numbers.
const ELEMENTS: [MapElement; 13] = [
    MapElement::U8,
    MapElement::U16,
    MapElement::U32,
    MapElement::S32,
    MapElement::U64,
    MapElement::S64,
    MapElement::F16,
    MapElement::F32,
    MapElement::F64,
    MapElement::Bf16,
    MapElement::F32Ftz,
    MapElement::Tf32,
    MapElement::Tf32Ftz,
];
const NAN: u32 = 1;
/// What stands for an enumerator that no map knows.
const UNKNOWN: u8 = u8::MAX;

fn is_aligned(map: Out<Map>) -> bool {
    !map.is_null() && map.address().0.is_multiple_of(TENSOR_MAP_ALIGN)
}

/// What both kinds of maps are made of.
struct Asked {
    map: Out<Map>,
    element: u32,
    rank: u32,
    address: Pointer,
    extents: In<u64>,
    strides: In<u64>,
    steps: In<u32>,
    interleave: u32,
    swizzle: u32,
    promotion: u32,
    fill: u32,
}

impl Asked {
    /// Makes the map, of a form that is given the rank.
    fn make(self, call: &Call, form: impl FnOnce(usize) -> Outcome<TensorForm>) -> Outcome {
        call.runtime()?;
        // It may lie anywhere: so it may for NVIDIA's driver.
        if self.map.is_null() {
            return Err(wrong("null for the tensor map"));
        }
        let Some(&element) = ELEMENTS.get(self.element as usize) else {
            return Err(wrong(format!("element type {}: an H200 has none of that number", self.element)));
        };
        let rank = self.rank as usize;
        if !(1..=MAX_TENSOR_RANK).contains(&rank) || self.fill > NAN {
            return Err(wrong(format!("rank {rank}, fill {}", self.fill)));
        }
        let small = |n: u32| u8::try_from(n).unwrap_or(UNKNOWN);
        let tensor = TensorMap {
            address: self.address.0,
            element,
            extents: self.extents.list(rank)?,
            strides: if rank > 1 { self.strides.list(rank - 1)? } else { Vec::new() },
            steps: self.steps.list(rank)?,
            form: form(rank)?,
            interleave: small(self.interleave),
            swizzle: small(self.swizzle),
            atoms: 0,
            promotion: small(self.promotion),
            nan: self.fill == NAN,
        };
        tensor.check().map_err(wrong)?;
        self.map.set(Map(tensor.encode()))
    }
}

#[allow(clippy::too_many_arguments, reason = "they are the API's")]
pub(crate) fn encode_tiled(
    call: &Call,
    map: Out<Map>,
    element: u32,
    rank: u32,
    address: Pointer,
    extents: In<u64>,
    strides: In<u64>,
    part: In<u32>,
    steps: In<u32>,
    interleave: u32,
    swizzle: u32,
    promotion: u32,
    fill: u32,
) -> Outcome {
    let asked = Asked { map, element, rank, address, extents, strides, steps, interleave, swizzle, promotion, fill };
    asked.make(call, |rank| Ok(TensorForm::Box(part.list(rank)?)))
}

#[allow(clippy::too_many_arguments, reason = "they are the API's")]
pub(crate) fn encode_columns(
    call: &Call,
    map: Out<Map>,
    element: u32,
    rank: u32,
    address: Pointer,
    extents: In<u64>,
    strides: In<u64>,
    lower: In<i32>,
    upper: In<i32>,
    channels: u32,
    pixels: u32,
    steps: In<u32>,
    interleave: u32,
    swizzle: u32,
    promotion: u32,
    fill: u32,
) -> Outcome {
    let asked = Asked { map, element, rank, address, extents, strides, steps, interleave, swizzle, promotion, fill };
    asked.make(call, |rank| {
        let places = rank.saturating_sub(2);
        let (lower, upper) = (lower.list(places)?, upper.list(places)?);
        Ok(TensorForm::Columns(TensorColumns { lower, upper, channels, pixels }))
    })
}

pub(crate) fn replace_address(call: &Call, map: Out<Map>, address: Pointer) -> Outcome {
    call.runtime()?;
    let Some(Map(bytes)) = map.peek().filter(|_| is_aligned(map)) else {
        return Err(wrong(format!("a tensor map that is not at a multiple of {TENSOR_MAP_ALIGN}")));
    };
    let tensor = TensorMap::decode(&bytes).map_err(wrong)?;
    let unit = tensor.unit();
    if !address.0.is_multiple_of(unit) {
        return Err(wrong(format!("a tensor at {address:?}, which is no multiple of {unit}")));
    }
    map.set(Map(TensorMap { address: address.0, ..tensor }.encode()))
}
