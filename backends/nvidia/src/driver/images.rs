//! Arrays of texels, and the textures and surfaces over them.

use super::{Context, DeviceError};
use crate::sys::images::{self as sys, ArrayDescription, Resource, Sampling, View};
use crate::sys::{Functions, Handle, Number, Status};
use hetgpu_device::{
    AddressMode, Channel, Dimensions, Filter, Format, ImageDescription, ImageView, LinearImage, Sampler,
};
use std::ptr;
use std::sync::Arc;

/// The largest level that a sampler's 4.8 bits hold.
const MOST_LEVEL: f32 = 4095.0 / 256.0;

const fn format(channel: Channel) -> u32 {
    match channel {
        Channel::U8 => 0x01,
        Channel::U16 => 0x02,
        Channel::U32 => 0x03,
        Channel::S8 => 0x08,
        Channel::S16 => 0x09,
        Channel::S32 => 0x0a,
        Channel::F16 => 0x10,
        Channel::F32 => 0x20,
    }
}

/// The number of a format for views: by kind of channel (8, 16, 32 bits; unsigned, signed, float), then by their count.
const fn view_format(format: Format) -> u32 {
    let first = match format.channel {
        Channel::U8 => 0x01,
        Channel::S8 => 0x04,
        Channel::U16 => 0x07,
        Channel::S16 => 0x0a,
        Channel::U32 => 0x0d,
        Channel::S32 => 0x10,
        Channel::F16 => 0x13,
        Channel::F32 => 0x16,
    };
    first
        + match format.channels {
            1 => 0,
            2 => 1,
            _ => 2,
        }
}

const fn filter(filter: Filter) -> u32 {
    match filter {
        Filter::Nearest => 0,
        Filter::Linear => 1,
    }
}

const fn address(mode: AddressMode) -> u32 {
    match mode {
        AddressMode::Wrap => 0,
        AddressMode::Clamp => 1,
        AddressMode::Mirror => 2,
        AddressMode::Border => 3,
    }
}

/// What an array is made as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArrayShape(pub(crate) ImageDescription);

/// Texels as the device arranges them.
pub(crate) struct Array {
    context: Arc<Context>,
    handle: Handle,
    /// Of a mipmapped one, its levels.
    levels: Vec<Handle>,
    pub(crate) description: ImageDescription,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Array {}
// SAFETY: as above.
unsafe impl Sync for Array {}

impl Drop for Array {
    fn drop(&mut self) {
        let mipmapped = !self.levels.is_empty();
        // SAFETY: the handle is an array's of this kind and is used nowhere else afterwards.
        let _ = self.context.call("cuArrayDestroy", |f| unsafe {
            if mipmapped { (f.levels_destroy)(self.handle) } else { (f.array_destroy)(self.handle) }
        });
    }
}

impl Array {
    /// An array for a level.
    pub(super) fn level(&self, level: u32) -> Result<Handle, DeviceError> {
        let found =
            if self.levels.is_empty() && level == 0 { Some(&self.handle) } else { self.levels.get(level as usize) };
        found.copied().ok_or_else(|| wrong("the image has no such level"))
    }
}

fn wrong(text: &str) -> DeviceError {
    DeviceError::new(hetgpu_device::ErrorKind::InvalidRequest, text)
}

/// What an object is over.
pub(crate) enum Over {
    /// An image from a level on.
    Array(Arc<Array>, u32),
    /// A part of an image.
    View(Arc<Array>, ImageView),
    /// Memory.
    Linear(LinearImage),
}

/// A texture or surface; it keeps what it is over.
pub(crate) struct Object {
    context: Arc<Context>,
    pub(crate) handle: Number,
    destroy: fn(&Functions) -> unsafe extern "C" fn(Number) -> Status,
    _over: Over,
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the function destroys objects of this kind; the handle is used nowhere else afterwards.
        let _ = self.context.call("cuTexObjectDestroy", |f| unsafe { (self.destroy)(f)(self.handle) });
    }
}

impl Over {
    fn resource(&self) -> Resource {
        let of = |array: &Array| Resource {
            kind: if array.levels.is_empty() { sys::RESOURCE_ARRAY } else { sys::RESOURCE_LEVELS },
            pointer: array.handle.addr() as u64,
            ..Resource::default()
        };
        match self {
            Self::Array(array, _) | Self::View(array, _) => of(array),
            Self::Linear(LinearImage { format: texel, at, width, height, pitch }) => {
                let row = *width as usize * texel.texel_bytes();
                let (kind, sizes) = match *height {
                    0 | 1 => (sys::RESOURCE_LINEAR, [row, 0, 0]),
                    rows => (sys::RESOURCE_PITCH, [*width as usize, rows as usize, *pitch as usize]),
                };
                let (format, channels) = (format(texel.channel), texel.channels.into());
                Resource { kind, pointer: *at, format, channels, sizes, ..Resource::default() }
            }
        }
    }

    /// The part that is seen, where it is not all.
    fn view(&self) -> Option<View> {
        // The driver wants the extents of the whole, with all layers for a depth.
        let extents = |array: &Array| {
            let [width, height, depth] = array.description.extent.map(|n| n as usize);
            let layers = array.description.layers as usize;
            match array.description.dimensions {
                Dimensions::One => [width, 0, if layers > 1 { layers } else { 0 }],
                Dimensions::Two => [width, height, if layers > 1 { layers } else { 0 }],
                Dimensions::Cube => [width, height, layers],
                Dimensions::Three => [width, height, depth],
            }
        };
        match self {
            Self::Array(_, 0) | Self::Linear(_) => None,
            Self::Array(array, first) => {
                let (last, layers) = (array.description.levels - 1, array.description.layers);
                let format = view_format(array.description.format);
                let (levels, layers) = ([*first, last], [0, layers - 1]);
                Some(View { format, extents: extents(array), levels, layers, reserved: [0; 16] })
            }
            Self::View(array, view) if is_whole(&array.description, view) => None,
            Self::View(array, view) => {
                let (levels, layers) = (view.levels, view.layers);
                Some(View {
                    format: view_format(view.format),
                    extents: extents(array),
                    levels: [levels.0, (levels.0 + levels.1).saturating_sub(1)],
                    layers: [layers.0, (layers.0 + layers.1).saturating_sub(1)],
                    reserved: [0; 16],
                })
            }
        }
    }
}

fn is_whole(image: &ImageDescription, view: &ImageView) -> bool {
    view.format == image.format && view.levels == (0, image.levels) && view.layers == (0, image.layers)
}

impl Context {
    /// Makes an array, whose texels are not known.
    pub(crate) fn array(self: &Arc<Self>, ArrayShape(description): ArrayShape) -> Result<Array, DeviceError> {
        let [width, height, depth] = description.extent.map(|n| n as usize);
        let (layers, layered) = (description.layers as usize, description.layers > 1);
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let (extents, flags) = match description.dimensions {
            Dimensions::One => ([width, 0, if layered { layers } else { 0 }], flag(layered, sys::LAYERED)),
            Dimensions::Two if layered => ([width, height, layers], sys::LAYERED),
            Dimensions::Two => ([width, height, 0], sys::GATHER),
            Dimensions::Three => ([width, height, depth], 0),
            Dimensions::Cube => ([width, height, layers], sys::CUBE | flag(layers > 6, sys::LAYERED)),
        };
        let flags = flags | flag(description.writable, sys::SURFACE);
        let (format, channels) = (format(description.format.channel), description.format.channels.into());
        let how = ArrayDescription { extents, format, channels, flags };
        let mut handle = ptr::null_mut();
        let several = description.levels > 1;
        // SAFETY: the result and the description are local variables.
        self.call("cuArray3DCreate", |f| unsafe {
            match several {
                true => (f.levels_create)(&mut handle, &how, description.levels),
                false => (f.array_create)(&mut handle, &how),
            }
        })?;
        let mut array = Array { context: Arc::clone(self), handle, levels: Vec::new(), description };
        for level in 0..if several { description.levels } else { 0 } {
            let mut part = ptr::null_mut();
            // SAFETY: the mipmapped array was made just now and has that many levels.
            self.call("cuMipmappedArrayGetLevel", |f| unsafe { (f.levels_get)(&mut part, handle, level) })?;
            array.levels.push(part);
        }
        Ok(array)
    }

    /// A texture.
    pub(crate) fn texture(
        self: &Arc<Self>,
        over: Over,
        sampler: &Sampler,
        normalized_floats: bool,
    ) -> Result<Object, DeviceError> {
        let integers = if normalized_floats { 0 } else { sys::READ_AS_INTEGER };
        let how = Sampling {
            address: sampler.address.map(address),
            filter: filter(sampler.filter),
            flags: integers | if sampler.normalized { sys::NORMALIZED_COORDINATES } else { 0 },
            anisotropy: 0,
            level_filter: filter(sampler.mip_filter),
            level_bias: sampler.level_bias,
            level_range: sampler.level_range.map(|level| level.min(MOST_LEVEL)),
            border: sampler.border,
            reserved: [0; 12],
        };
        let (resource, view) = (over.resource(), over.view());
        let view = view.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mut handle = 0;
        // SAFETY: the result and the descriptions are local variables; a view may be absent.
        self.call("cuTexObjectCreate", |f| unsafe { (f.texture_create)(&mut handle, &resource, &how, view) })?;
        Ok(Object { context: Arc::clone(self), handle, destroy: |f| f.texture_destroy, _over: over })
    }

    /// A surface.
    pub(crate) fn surface(self: &Arc<Self>, over: Over) -> Result<Object, DeviceError> {
        let mut resource = over.resource();
        let level = match &over {
            Over::Array(array, level) => Some(array.level(*level)?),
            Over::View(array, view) => Some(array.level(view.levels.0)?),
            Over::Linear(_) => None,
        };
        if let Some(level) = level {
            (resource.kind, resource.pointer) = (sys::RESOURCE_ARRAY, level.addr() as u64);
        }
        let mut handle = 0;
        // SAFETY: the result and the description are local variables.
        self.call("cuSurfObjectCreate", |f| unsafe { (f.surface_create)(&mut handle, &resource) })?;
        Ok(Object { context: Arc::clone(self), handle, destroy: |f| f.surface_destroy, _over: over })
    }
}
