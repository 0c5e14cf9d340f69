//! Texture and surface references.

use super::image::format;
use super::image_object::{
    AS_INTEGER, IDLE, NO_TRILINEAR_OPTIMIZATION, NORMALIZED, SRGB, address_mode, address_number, check_reading,
    filter_mode,
};
use crate::abi::{Call, Cu, CuArray, CuFunction, CuLevels, CuModule, CuReference, In, Out, Pointer, Text};
use crate::calls::image::Descriptor;
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Filter, LinearImage, Reference, ReferenceState, Resource, Sampler};
use std::sync::Arc;

const FORMAT: usize = 0;
const CHANNELS: usize = 1;
const SET_FLAGS: usize = 2;
const ANISOTROPY: usize = 3;

const OVERRIDE_FORMAT: u32 = 0x01;

/// What a reference is before anything is set.
fn initial() -> ReferenceState {
    const FLOAT: u32 = 0x20;
    ReferenceState {
        sampler: Sampler { level_range: [0.0; 2], ..Sampler::default() },
        normalized_floats: true,
        resource: None,
        notes: [FLOAT, 1, 0, 0],
    }
}

fn wrong<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::new(Code::ERROR_INVALID_VALUE, text))
}

fn reference(call: &Call, handle: CuReference, is_texture: bool) -> Outcome<Arc<Reference>> {
    let reference = call.runtime()?.images.references.get(handle.get()?)?;
    match reference.is_texture == is_texture {
        true => Ok(reference),
        false => Err(Failure::new(Code::ERROR_INVALID_HANDLE, "a reference of the other kind")),
    }
}

fn state(call: &Call, handle: CuReference) -> Outcome<ReferenceState> {
    Ok(reference(call, handle, true)?.state())
}

fn change(call: &Call, handle: CuReference, change: impl FnOnce(&mut ReferenceState)) -> Outcome {
    let reference = reference(call, handle, true)?;
    Ok(call.runtime()?.change_reference(&reference, change)?)
}

pub(crate) fn variable(call: &Call, out: Out<CuReference>, module: CuModule, name: Text) -> Outcome {
    if out.is_null() {
        return wrong("null for a reference");
    }
    let name = name.get()?;
    out.set(Cu::new(call.runtime()?.variable_reference(module.get()?, &name, true, initial())?))
}

pub(crate) fn surface_variable(call: &Call, out: Out<CuReference>, module: CuModule, name: Text) -> Outcome {
    if out.is_null() {
        return wrong("null for a reference");
    }
    let name = name.get()?;
    out.set(Cu::new(call.runtime()?.variable_reference(module.get()?, &name, false, initial())?))
}

pub(crate) fn create(call: &Call, out: Out<CuReference>) -> Outcome {
    if out.is_null() {
        return wrong("null for a reference");
    }
    out.set(Cu::new(call.runtime()?.create_reference(initial())?))
}

pub(crate) fn destroy(call: &Call, handle: CuReference) -> Outcome {
    Ok(call.runtime()?.destroy_reference(handle.get()?)?)
}

/// A module's references belong to all of its functions already.
pub(crate) fn function_reference(call: &Call, function: CuFunction, _unit: i32, handle: CuReference) -> Outcome {
    super::function::function(call.runtime()?, function)?;
    match reference(call, handle, true)?.is_variable() {
        true => Ok(()),
        false => wrong("a reference that is no variable of a module"),
    }
}

// Setters.

pub(crate) fn set_array(call: &Call, handle: CuReference, array: CuArray, flags: u32) -> Outcome {
    if flags & !OVERRIDE_FORMAT != 0 {
        return wrong(format!("flags {flags:#x}"));
    }
    set_resource(call, handle, Resource::Array(array.get()?), flags)
}

pub(crate) fn set_levels(call: &Call, handle: CuReference, levels: CuLevels, flags: u32) -> Outcome {
    if flags & !OVERRIDE_FORMAT != 0 {
        return wrong(format!("flags {flags:#x}"));
    }
    set_resource(call, handle, Resource::Levels(levels.get()?), flags)
}

fn set_resource(call: &Call, handle: CuReference, resource: Resource, flags: u32) -> Outcome {
    let described = resource.described(call.runtime()?)?;
    let Some((description, _)) = described else { return wrong("a reference to no array") };
    let own = [description.notes.format, description.format.channels.into()];
    change(call, handle, |state| {
        if flags & OVERRIDE_FORMAT != 0 {
            state.notes[..2].copy_from_slice(&own);
        }
        state.resource = Some(resource);
    })
}

/// Memory need not be aligned: what is too much is given back, in bytes, and the texture begins before.
pub(crate) fn set_address(call: &Call, offset: Out<usize>, handle: CuReference, at: Pointer, bytes: usize) -> Outcome {
    let runtime = call.runtime()?;
    let reference = reference(call, handle, true)?;
    if at.0 == 0 {
        offset.set_if_wanted(0);
        return Ok(runtime.change_reference(&reference, |state| state.resource = None)?);
    }
    let images = reference.session.device.device.caps().images.unwrap_or_default();
    let misplaced = at.0 % u64::from(images.alignment);
    if misplaced != 0 && offset.is_null() {
        return wrong(format!("{at:?} is no multiple of {}", images.alignment));
    }
    let [number, channels, ..] = reference.state().notes;
    let (format, _) = format(number, channels)?;
    let width = (bytes + misplaced as usize) / format.texel_bytes();
    let width = u32::try_from(width).unwrap_or(u32::MAX);
    let linear = LinearImage { format, at: at.0 - misplaced, width, height: 1, pitch: 0 };
    runtime.change_reference(&reference, |state| state.resource = Some(Resource::Memory(linear)))?;
    offset.set_if_wanted(misplaced as usize);
    Ok(())
}

pub(crate) fn set_address_2d(
    call: &Call,
    handle: CuReference,
    descriptor: In<Descriptor>,
    at: Pointer,
    pitch: usize,
) -> Outcome {
    let (width, height, number, channels) = descriptor.get()?.rows();
    let (format, _) = format(number, channels)?;
    let extent = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    if pitch == 0 {
        return wrong("rows without a pitch");
    }
    let (width, height) = (extent(width), extent(height));
    let linear = LinearImage { format, at: at.0, width, height, pitch: pitch as u64 };
    change(call, handle, |state| {
        state.notes[FORMAT] = number;
        state.notes[CHANNELS] = channels;
        state.resource = Some(Resource::Memory(linear));
    })
}

pub(crate) fn set_format(call: &Call, handle: CuReference, number: u32, channels: i32) -> Outcome {
    let channels = u32::try_from(channels).unwrap_or(0);
    format(number, channels)?;
    change(call, handle, |state| {
        state.notes[FORMAT] = number;
        state.notes[CHANNELS] = channels;
    })
}

pub(crate) fn set_address_mode(call: &Call, handle: CuReference, dimension: i32, mode: u32) -> Outcome {
    let mode = address_mode(mode)?;
    let dimension = dimension_of(dimension)?;
    change(call, handle, |state| state.sampler.address[dimension] = mode)
}

fn dimension_of(dimension: i32) -> Outcome<usize> {
    match usize::try_from(dimension) {
        Ok(dimension @ 0..=2) => Ok(dimension),
        _ => wrong(format!("dimension {dimension}")),
    }
}

pub(crate) fn set_filter(call: &Call, handle: CuReference, filter: u32) -> Outcome {
    let filter = filter_mode(filter)?;
    change(call, handle, |state| state.sampler.filter = filter)
}

pub(crate) fn set_level_filter(call: &Call, handle: CuReference, filter: u32) -> Outcome {
    let filter = filter_mode(filter)?;
    change(call, handle, |state| state.sampler.mip_filter = filter)
}

pub(crate) fn set_level_bias(call: &Call, handle: CuReference, bias: f32) -> Outcome {
    change(call, handle, |state| state.sampler.level_bias = bias)
}

pub(crate) fn set_level_range(call: &Call, handle: CuReference, least: f32, most: f32) -> Outcome {
    change(call, handle, |state| state.sampler.level_range = [least, most])
}

pub(crate) fn set_anisotropy(call: &Call, handle: CuReference, most: u32) -> Outcome {
    check_reading(0, most, false)?;
    change(call, handle, |state| state.notes[ANISOTROPY] = most)
}

pub(crate) fn set_border(call: &Call, handle: CuReference, colour: In<f32>) -> Outcome {
    let colour = [colour.at(0)?, colour.at(1)?, colour.at(2)?, colour.at(3)?];
    change(call, handle, |state| state.sampler.border = colour)
}

pub(crate) fn set_flags(call: &Call, handle: CuReference, flags: u32) -> Outcome {
    if flags & !(AS_INTEGER | NORMALIZED | IDLE | SRGB | NO_TRILINEAR_OPTIMIZATION) != 0 {
        return wrong(format!("texture flags {flags:#x}"));
    }
    check_reading(flags, 0, flags & AS_INTEGER == 0)?;
    change(call, handle, |state| {
        state.notes[SET_FLAGS] = flags;
        state.sampler.normalized = flags & NORMALIZED != 0;
        state.normalized_floats = flags & AS_INTEGER == 0;
    })
}

// Getters.

pub(crate) fn address(call: &Call, at: Out<Pointer>, handle: CuReference) -> Outcome {
    match state(call, handle)?.resource {
        Some(Resource::Memory(linear)) => at.set(Pointer(linear.at)),
        _ => wrong("the reference is to no memory"),
    }
}

pub(crate) fn array(call: &Call, array: Out<CuArray>, handle: CuReference) -> Outcome {
    match state(call, handle)?.resource {
        Some(Resource::Array(own)) => array.set(Cu::new(own)),
        _ => wrong("the reference is to no array"),
    }
}

pub(crate) fn levels(call: &Call, levels: Out<CuLevels>, handle: CuReference) -> Outcome {
    match state(call, handle)?.resource {
        Some(Resource::Levels(own)) => levels.set(Cu::new(own)),
        _ => wrong("the reference is to no mipmapped array"),
    }
}

pub(crate) fn mode_of(call: &Call, mode: Out<u32>, handle: CuReference, dimension: i32) -> Outcome {
    let dimension = dimension_of(dimension)?;
    mode.set(address_number(state(call, handle)?.sampler.address[dimension]))
}

fn filter_number(filter: Filter) -> u32 {
    match filter {
        Filter::Nearest => 0,
        Filter::Linear => 1,
    }
}

pub(crate) fn filter(call: &Call, filter: Out<u32>, handle: CuReference) -> Outcome {
    filter.set(filter_number(state(call, handle)?.sampler.filter))
}

pub(crate) fn level_filter(call: &Call, filter: Out<u32>, handle: CuReference) -> Outcome {
    filter.set(filter_number(state(call, handle)?.sampler.mip_filter))
}

pub(crate) fn format_of(call: &Call, number: Out<u32>, channels: Out<i32>, handle: CuReference) -> Outcome {
    let notes = state(call, handle)?.notes;
    number.set_if_wanted(notes[FORMAT]);
    channels.set_if_wanted(notes[CHANNELS] as i32);
    Ok(())
}

pub(crate) fn level_bias(call: &Call, bias: Out<f32>, handle: CuReference) -> Outcome {
    bias.set(state(call, handle)?.sampler.level_bias)
}

pub(crate) fn level_range(call: &Call, least: Out<f32>, most: Out<f32>, handle: CuReference) -> Outcome {
    let range = state(call, handle)?.sampler.level_range;
    least.set_if_wanted(range[0]);
    most.set_if_wanted(range[1]);
    Ok(())
}

pub(crate) fn anisotropy(call: &Call, most: Out<i32>, handle: CuReference) -> Outcome {
    most.set(state(call, handle)?.notes[ANISOTROPY] as i32)
}

pub(crate) fn border(call: &Call, colour: Out<f32>, handle: CuReference) -> Outcome {
    let own = state(call, handle)?.sampler.border;
    own.into_iter().enumerate().try_for_each(|(index, part)| colour.at(index).set(part))
}

pub(crate) fn flags(call: &Call, flags: Out<u32>, handle: CuReference) -> Outcome {
    flags.set(state(call, handle)?.notes[SET_FLAGS])
}

// Surfaces.

pub(crate) fn surface_set_array(call: &Call, handle: CuReference, array: CuArray, flags: u32) -> Outcome {
    if flags != 0 {
        return wrong("a surface reference's flags must be 0");
    }
    let reference = reference(call, handle, false)?;
    Ok(call.runtime()?.set_surface_reference(&reference, array.get()?)?)
}

pub(crate) fn surface_array(call: &Call, array: Out<CuArray>, handle: CuReference) -> Outcome {
    match reference(call, handle, false)?.state().resource {
        Some(Resource::Array(own)) => array.set(Cu::new(own)),
        _ => wrong("the reference is to no array"),
    }
}
