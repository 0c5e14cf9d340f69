//! Tensor maps: programs get 128 bytes and hand them to their kernels.

use super::location::wrong;
use crate::abi::{Call, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{MAX_TENSOR_RANK, MapElement, TENSOR_MAP_ALIGN, TENSOR_MAP_BYTES, TensorMap};

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
const PACKED: std::ops::RangeInclusive<u32> = 13..=15;
const INTERLEAVED: std::ops::RangeInclusive<u32> = 1..=2;
/// Swizzles of more than 16 bytes together.
const LARGE_ATOMS: std::ops::RangeInclusive<u32> = 4..=6;
const SWIZZLES: u32 = 3;
const PROMOTIONS: u32 = 3;
const NAN: u32 = 1;
const MOST_EXTENT: u64 = 1 << 32;
const MOST_STRIDE: u64 = 1 << 40;
const MOST_PART: u32 = 256;
const MOST_STEP: u32 = 8;
const UNIT: u64 = 16;

fn unsupported(what: &str) -> Failure {
    Failure::new(Code::ERROR_NOT_SUPPORTED, format!("tensor maps of {what}"))
}

fn is_aligned(map: Out<Map>) -> bool {
    !map.is_null() && map.address().0.is_multiple_of(TENSOR_MAP_ALIGN)
}

fn address_of(pointer: Pointer) -> Outcome<u64> {
    match pointer.0.is_multiple_of(UNIT) {
        true => Ok(pointer.0),
        false => Err(wrong(format!("a tensor at {pointer:?}, which is no multiple of {UNIT}"))),
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
    call.runtime()?;
    // It may lie anywhere: so it may for NVIDIA's driver.
    if map.is_null() {
        return Err(wrong("null for the tensor map"));
    }
    if PACKED.contains(&element) {
        return Err(unsupported("packed elements of 4 and 6 bits"));
    }
    if INTERLEAVED.contains(&interleave) {
        return Err(unsupported("interleaved elements"));
    }
    if LARGE_ATOMS.contains(&swizzle) {
        return Err(unsupported("swizzles that move more than 16 bytes together"));
    }
    let count = rank as usize;
    let Some(&element) = ELEMENTS.get(element as usize) else {
        return Err(wrong(format!("element type {element}")));
    };
    if !(1..=MAX_TENSOR_RANK).contains(&count) || interleave != 0 || promotion > PROMOTIONS || fill > NAN {
        return Err(wrong(format!("rank {rank}, interleave {interleave}, promotion {promotion}, fill {fill}")));
    }
    if swizzle > SWIZZLES || fill == NAN && !element.is_float() {
        return Err(wrong(format!("swizzle {swizzle}, fill {fill} of {element:?}")));
    }
    let steps = steps.list(count)?;
    let tensor = TensorMap {
        address: address_of(address)?,
        element,
        extents: extents.list(count)?,
        strides: if count > 1 { strides.list(count - 1)? } else { Vec::new() },
        part: part.list(count)?,
        steps,
        swizzle: swizzle as u8,
        nan: fill == NAN,
    };
    let fits = |ok: bool, what: String| if ok { Ok(()) } else { Err(wrong(what)) };
    let TensorMap { extents, strides, part, steps, .. } = &tensor;
    fits(extents.iter().all(|n| (1..=MOST_EXTENT).contains(n)), format!("extents {extents:?}"))?;
    fits(strides.iter().all(|n| n.is_multiple_of(UNIT) && *n < MOST_STRIDE), format!("strides {strides:?}"))?;
    fits(part.iter().all(|n| (1..=MOST_PART).contains(n)), format!("a box of {part:?}"))?;
    fits(steps.iter().all(|n| (1..=MOST_STEP).contains(n)), format!("steps {steps:?}"))?;
    let line = u64::from(part[0]) * element.bytes() as u64;
    fits(line.is_multiple_of(UNIT), format!("a box whose lines have {line} bytes"))?;
    let widest = UNIT << swizzle;
    fits(swizzle == 0 || line <= widest, format!("lines of {line} bytes, and a swizzle of {widest}"))?;
    map.set(Map(tensor.encode()))
}

pub(crate) fn replace_address(call: &Call, map: Out<Map>, address: Pointer) -> Outcome {
    call.runtime()?;
    let Some(Map(bytes)) = map.peek().filter(|_| is_aligned(map)) else {
        return Err(wrong(format!("a tensor map that is not at a multiple of {TENSOR_MAP_ALIGN}")));
    };
    let mut tensor = TensorMap::decode(&bytes).map_err(wrong)?;
    tensor.address = address_of(address)?;
    map.set(Map(tensor.encode()))
}
