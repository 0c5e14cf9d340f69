//! Texture and surface objects.

use super::image::{extents, format};
use crate::abi::{Call, CuArray, CuLevels, In, Out, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{
    AddressMode, Dimensions, Filter, LinearImage, Resource, Runtime, Sampler, TextureRequest, View, log,
};

/// `CUDA_RESOURCE_DESC`: the union is a handle, or an address with what describes its texels.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ResourceDescriptor {
    kind: u32,
    pointer: Pointer,
    format: u32,
    channels: u32,
    /// Bytes of a line; width, height and pitch of rows.
    sizes: [usize; 3],
    reserved: [u64; 11],
    flags: u32,
}

/// `CUDA_TEXTURE_DESC`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct TextureDescriptor {
    address: [u32; 3],
    filter: u32,
    flags: u32,
    anisotropy: u32,
    level_filter: u32,
    level_bias: f32,
    level_range: [f32; 2],
    border: [f32; 4],
    reserved: [i32; 12],
}

/// `CUDA_RESOURCE_VIEW_DESC`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ViewDescriptor {
    format: u32,
    width: usize,
    height: usize,
    depth: usize,
    levels: [u32; 2],
    layers: [u32; 2],
    reserved: [u32; 16],
}

/// What a texture was made from.
#[derive(Clone, Copy)]
struct Made {
    resource: ResourceDescriptor,
    texture: TextureDescriptor,
    view: Option<ViewDescriptor>,
}

const ARRAY: u32 = 0;
const LEVELS: u32 = 1;
const LINE: u32 = 2;
const ROWS: u32 = 3;

pub(super) const AS_INTEGER: u32 = 0x01;
pub(super) const NORMALIZED: u32 = 0x02;
pub(super) const SRGB: u32 = 0x10;
pub(super) const NO_TRILINEAR_OPTIMIZATION: u32 = 0x20;
const SEAMLESS_CUBE: u32 = 0x40;
/// Bits that mean nothing and are taken.
pub(super) const IDLE: u32 = 0x0c;
const FLAGS: u32 = AS_INTEGER | NORMALIZED | IDLE | SRGB | NO_TRILINEAR_OPTIMIZATION | SEAMLESS_CUBE;

fn wrong<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::new(Code::ERROR_INVALID_VALUE, text))
}

pub(super) fn address_mode(mode: u32) -> Outcome<AddressMode> {
    Ok(match mode {
        0 => AddressMode::Wrap,
        1 => AddressMode::Clamp,
        2 => AddressMode::Mirror,
        3 => AddressMode::Border,
        _ => return wrong(format!("address mode {mode}")),
    })
}

pub(super) fn address_number(mode: AddressMode) -> u32 {
    match mode {
        AddressMode::Wrap => 0,
        AddressMode::Clamp => 1,
        AddressMode::Mirror => 2,
        AddressMode::Border => 3,
    }
}

pub(super) fn filter_mode(filter: u32) -> Outcome<Filter> {
    match filter {
        0 => Ok(Filter::Nearest),
        1 => Ok(Filter::Linear),
        _ => wrong(format!("filter {filter}")),
    }
}

/// Channel type and channels of a view's format, by number from 1 on: number of the array format, channels.
const VIEWS: [(u32, u32); 24] = [
    (0x01, 1),
    (0x01, 2),
    (0x01, 4),
    (0x08, 1),
    (0x08, 2),
    (0x08, 4),
    (0x02, 1),
    (0x02, 2),
    (0x02, 4),
    (0x09, 1),
    (0x09, 2),
    (0x09, 4),
    (0x03, 1),
    (0x03, 2),
    (0x03, 4),
    (0x0a, 1),
    (0x0a, 2),
    (0x0a, 4),
    (0x10, 1),
    (0x10, 2),
    (0x10, 4),
    (0x20, 1),
    (0x20, 2),
    (0x20, 4),
];
const LAST_VIEW: u32 = 0x22;

impl ResourceDescriptor {
    fn resource(&self) -> Outcome<Resource> {
        if self.flags != 0 {
            return wrong("a resource's flags must be 0");
        }
        let extent = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(match self.kind {
            ARRAY | LEVELS if self.pointer.0 == 0 => return wrong("null for a resource's array"),
            ARRAY => Resource::Array(CuArray::from_bits(self.pointer.0).get()?),
            LEVELS => Resource::Levels(CuLevels::from_bits(self.pointer.0).get()?),
            LINE => {
                let (format, _) = format(self.format, self.channels)?;
                let width = extent(self.sizes[0] / format.texel_bytes());
                Resource::Memory(LinearImage { format, at: self.pointer.0, width, height: 1, pitch: 0 })
            }
            ROWS => {
                let (format, _) = format(self.format, self.channels)?;
                let [width, height, pitch] = self.sizes;
                if pitch == 0 {
                    return wrong("rows without a pitch");
                }
                let (width, height) = (extent(width), extent(height));
                Resource::Memory(LinearImage { format, at: self.pointer.0, width, height, pitch: pitch as u64 })
            }
            other => return wrong(format!("resource type {other}")),
        })
    }

    fn fractions(&self, runtime: &Runtime, resource: Resource) -> Outcome<bool> {
        Ok(match resource.described(runtime)? {
            Some((description, _)) => description.fractions,
            None => format(self.format, self.channels)?.1,
        })
    }
}

impl TextureDescriptor {
    fn sampler(&self) -> Outcome<Sampler> {
        if self.reserved != [0; 12] {
            return wrong("reserved words of a texture descriptor must be 0");
        }
        if self.flags & !FLAGS != 0 {
            return wrong(format!("texture flags {:#x}", self.flags));
        }
        let [x, y, z] = self.address;
        Ok(Sampler {
            address: [address_mode(x)?, address_mode(y)?, address_mode(z)?],
            filter: filter_mode(self.filter)?,
            mip_filter: filter_mode(self.level_filter)?,
            normalized: self.flags & NORMALIZED != 0,
            border: self.border,
            level_bias: self.level_bias,
            level_range: self.level_range,
            ..Sampler::default()
        })
    }
}

/// What cannot be done about how a texture is read.
pub(super) fn check_reading(flags: u32, anisotropy: u32, eight_bits_as_fractions: bool) -> Outcome {
    if flags & SRGB != 0 && eight_bits_as_fractions {
        return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "textures of sRGB values"));
    }
    if anisotropy > 1 && log::first("anisotropic filtering") {
        log::warn(format_args!("textures are filtered the same in all directions, whatever anisotropy is asked for"));
    }
    Ok(())
}

fn view(runtime: &Runtime, descriptor: &ViewDescriptor, resource: Resource) -> Outcome<View> {
    let own = match descriptor.format {
        0 => return wrong("a view without a format"),
        number if number as usize <= VIEWS.len() => {
            let (number, channels) = VIEWS[number as usize - 1];
            format(number, channels)?.0
        }
        number if number <= LAST_VIEW => {
            return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "views of block-compressed formats"));
        }
        number => return wrong(format!("view format {number:#x}")),
    };
    let ViewDescriptor { width, height, depth, levels, layers, .. } = *descriptor;
    // Memory has one level and one layer, whatever the view says.
    let Some((description, count)) = resource.described(runtime)? else {
        return Ok(View { format: Some(own), levels: (0, 0), layers: (0, 0) });
    };
    if [width, height, depth] != extents(&description) {
        return wrong("a view with other extents than its array");
    }
    let part = |[first, last]: [u32; 2], several: bool, count: u32, what: &str| match several {
        true if first <= last && first < count => Ok((first, last.min(count - 1))),
        false if first == 0 && last == 0 => Ok((0, count - 1)),
        _ => wrong(format!("{what} {first} to {last} of {count}")),
    };
    Ok(View {
        format: Some(own),
        levels: part(levels, matches!(resource, Resource::Levels(_)), count, "levels")?,
        layers: part(layers, description.layered, description.layers, "layers")?,
    })
}

pub(crate) fn texture_create(
    call: &Call,
    object: Out<u64>,
    resource: In<ResourceDescriptor>,
    texture: In<TextureDescriptor>,
    part: In<ViewDescriptor>,
) -> Outcome {
    if object.is_null() {
        return wrong("null for a texture object");
    }
    let runtime = call.runtime()?;
    let made = Made {
        resource: resource.get()?,
        texture: texture.get()?,
        view: if part.is_null() { None } else { Some(part.get()?) },
    };
    runtime.session()?;
    let resource = made.resource.resource()?;
    let mut sampler = made.texture.sampler()?;
    let described = resource.described(runtime)?;
    let view = made.view.map(|descriptor| view(runtime, &descriptor, resource)).transpose()?;
    let own = match (view.and_then(|view| view.format), &described, &resource) {
        (Some(format), ..) => format,
        (None, Some((description, _)), _) => description.format,
        (None, None, Resource::Memory(linear)) => linear.format,
        (None, None, _) => return wrong("a resource without texels"),
    };
    let fractions = made.resource.fractions(runtime, resource)? && view.is_none_or(|view| view.format.is_none());
    let normalized_floats = fractions || made.texture.flags & AS_INTEGER == 0;
    let is_float = own.channel.is_float() || normalized_floats && own.channel.bytes() < 4;
    match resource {
        Resource::Memory(LinearImage { pitch: 0, .. }) => {
            // Texels of a line are named by number.
            sampler = Sampler { level_range: sampler.level_range, ..Sampler::default() };
        }
        Resource::Array(_) | Resource::Levels(_) | Resource::Memory(_) => {}
    }
    let is_cube = described.is_some_and(|(description, _)| description.dimensions == Dimensions::Cube);
    if made.texture.flags & SEAMLESS_CUBE != 0 {
        match (is_cube, sampler.filter) {
            (false, _) => return wrong("seamless filtering of what is no cube"),
            (true, Filter::Nearest) => sampler.address = [AddressMode::Clamp; 3],
            (true, Filter::Linear) => {
                return Err(Failure::new(Code::ERROR_NOT_SUPPORTED, "filtering across the edges of cubes"));
            }
        }
    }
    check_reading(made.texture.flags, made.texture.anisotropy, is_float && own.channel.bytes() == 1)?;
    object.set(runtime.create_texture(TextureRequest { resource, sampler, normalized_floats, view }, made)?)
}

pub(crate) fn texture_destroy(call: &Call, object: u64) -> Outcome {
    Ok(call.runtime()?.destroy_image_object(object, true)?)
}

fn made(call: &Call, object: u64) -> Outcome<Made> {
    Ok(call.runtime()?.image_object(object, true)?)
}

pub(crate) fn texture_resource(call: &Call, resource: Out<ResourceDescriptor>, object: u64) -> Outcome {
    resource.set(made(call, object)?.resource)
}

pub(crate) fn texture_descriptor(call: &Call, texture: Out<TextureDescriptor>, object: u64) -> Outcome {
    texture.set(made(call, object)?.texture)
}

pub(crate) fn texture_view(call: &Call, view: Out<ViewDescriptor>, object: u64) -> Outcome {
    const NONE: ViewDescriptor =
        ViewDescriptor { format: 0, width: 0, height: 0, depth: 0, levels: [0; 2], layers: [0; 2], reserved: [0; 16] };
    view.set(made(call, object)?.view.unwrap_or(NONE))
}

pub(crate) fn surface_create(call: &Call, object: Out<u64>, resource: In<ResourceDescriptor>) -> Outcome {
    if object.is_null() {
        return wrong("null for a surface object");
    }
    let runtime = call.runtime()?;
    let descriptor = resource.get()?;
    runtime.session()?;
    match descriptor.resource()? {
        Resource::Array(array) => object.set(runtime.create_surface(array, descriptor)?),
        Resource::Levels(_) | Resource::Memory(_) => wrong("a surface over what is no array"),
    }
}

pub(crate) fn surface_destroy(call: &Call, object: u64) -> Outcome {
    Ok(call.runtime()?.destroy_image_object(object, false)?)
}

pub(crate) fn surface_resource(call: &Call, resource: Out<ResourceDescriptor>, object: u64) -> Outcome {
    resource.set(call.runtime()?.image_object(object, false)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_structures_are_laid_out_as_in_c() {
        assert_eq!(size_of::<ResourceDescriptor>(), 144);
        assert_eq!((offset_of!(ResourceDescriptor, pointer), offset_of!(ResourceDescriptor, sizes)), (8, 24));
        assert_eq!(offset_of!(ResourceDescriptor, flags), 136);
        assert_eq!(size_of::<TextureDescriptor>(), 104);
        assert_eq!(offset_of!(TextureDescriptor, border), 40);
        assert_eq!(size_of::<ViewDescriptor>(), 112);
        assert_eq!(offset_of!(ViewDescriptor, levels), 32);
    }

    #[test]
    fn address_modes_have_numbers_both_ways() {
        for mode in 0..4 {
            assert_eq!(address_number(address_mode(mode).unwrap()), mode);
        }
        assert!(address_mode(4).is_err() && filter_mode(2).is_err());
    }
}
