//! The driver's functions for arrays, textures and surfaces, and what they take.

use super::Number;
use std::ffi::{c_int, c_uint};

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ArrayDescription {
    pub(crate) extents: [usize; 3],
    pub(crate) format: c_uint,
    pub(crate) channels: c_uint,
    pub(crate) flags: c_uint,
}

pub(crate) const LAYERED: c_uint = 1;
pub(crate) const SURFACE: c_uint = 2;
pub(crate) const CUBE: c_uint = 4;
pub(crate) const GATHER: c_uint = 8;

/// What a texture or surface is over: an array's or a mipmapped array's handle, or an address with what describes the texels.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Resource {
    pub(crate) kind: c_uint,
    pub(crate) pointer: Number,
    pub(crate) format: c_uint,
    pub(crate) channels: c_uint,
    /// Bytes; or width, height and pitch.
    pub(crate) sizes: [usize; 3],
    pub(crate) rest: [u64; 11],
    pub(crate) flags: c_uint,
}

const _: () = assert!(size_of::<Resource>() == 144);

pub(crate) const RESOURCE_ARRAY: c_uint = 0;
pub(crate) const RESOURCE_LEVELS: c_uint = 1;
pub(crate) const RESOURCE_LINEAR: c_uint = 2;
pub(crate) const RESOURCE_PITCH: c_uint = 3;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Sampling {
    pub(crate) address: [c_uint; 3],
    pub(crate) filter: c_uint,
    pub(crate) flags: c_uint,
    pub(crate) anisotropy: c_uint,
    pub(crate) level_filter: c_uint,
    pub(crate) level_bias: f32,
    pub(crate) level_range: [f32; 2],
    pub(crate) border: [f32; 4],
    pub(crate) reserved: [c_int; 12],
}

const _: () = assert!(size_of::<Sampling>() == 104);

pub(crate) const READ_AS_INTEGER: c_uint = 1;
pub(crate) const NORMALIZED_COORDINATES: c_uint = 2;

/// A part of an array, with texels of another format.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) format: c_uint,
    pub(crate) extents: [usize; 3],
    pub(crate) levels: [c_uint; 2],
    pub(crate) layers: [c_uint; 2],
    pub(crate) reserved: [c_uint; 16],
}

const _: () = assert!(size_of::<View>() == 112);
