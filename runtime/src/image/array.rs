//! Arrays, with and without levels.

use crate::handle::{Handle, Kind};
use crate::memory::Memory;
use crate::session::Session;
use crate::{Error, Result, Runtime};
use hetgpu_device::{Device, Dimensions, Format, ImageCaps, ImageDescription, ImageId};
use std::sync::Arc;

/// What the interface wants to remember about an array.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Notes {
    pub format: u32,
    pub flags: u32,
}

/// An array as asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArrayDescription {
    pub format: Format,
    /// Its texels are fractions, whoever reads them.
    pub fractions: bool,
    pub dimensions: Dimensions,
    /// Width, height and depth; 1 where it has no such dimension.
    pub extent: [u32; 3],
    /// Layers, six for each cube; 1 without layers.
    pub layers: u32,
    /// It has layers, be it only one.
    pub layered: bool,
    /// Kernels may write to it.
    pub writable: bool,
    /// Four texels may be gathered at once.
    pub gathered: bool,
    pub notes: Notes,
}

/// Images of that many dimensions, with that many layers.
struct Most {
    extent: [u32; 3],
    layers: u32,
}

fn flat([width, height]: [u32; 2]) -> [u32; 3] {
    [width, height, 1]
}

impl ArrayDescription {
    /// All limits that it has to keep.
    fn limits(&self, caps: &ImageCaps, with_levels: bool) -> Vec<Most> {
        let surface = &caps.surface;
        let (one, many) = (|extent| Most { extent, layers: 1 }, |extent, layers| Most { extent, layers });
        let (texture, surface) = match (self.dimensions, self.layered) {
            (Dimensions::One, false) => (one([caps.width_1d, 1, 1]), one([surface.width_1d, 1, 1])),
            (Dimensions::One, true) => (
                many([caps.width_1d_layered, 1, 1], caps.layers),
                many([surface.width_1d_layered, 1, 1], surface.layers),
            ),
            (Dimensions::Two, false) => (one(flat(caps.extent_2d)), one(flat(surface.extent_2d))),
            (Dimensions::Two, true) => {
                (many(flat(caps.extent_2d_layered), caps.layers), many(flat(surface.extent_2d_layered), surface.layers))
            }
            (Dimensions::Three, _) => {
                let fits = self.extent.iter().zip(caps.extent_3d).all(|(&extent, most)| extent <= most);
                (one(if fits { caps.extent_3d } else { caps.extent_3d_alternate }), one(surface.extent_3d))
            }
            (Dimensions::Cube, false) => (many(flat([caps.width_cube; 2]), 6), many(flat([surface.width_cube; 2]), 6)),
            (Dimensions::Cube, true) => (
                many(flat([caps.width_cube_layered; 2]), caps.layers_cube),
                many(flat([surface.width_cube_layered; 2]), surface.layers_cube),
            ),
        };
        let mut limits = vec![texture];
        if self.writable {
            limits.push(surface);
        }
        match (self.dimensions, self.layered) {
            (Dimensions::One, false) if with_levels => limits.push(one([caps.width_1d_levels, 1, 1])),
            (Dimensions::Two, false) if with_levels => limits.push(one(flat(caps.extent_2d_levels))),
            _ => {}
        }
        if self.gathered {
            limits.push(one(flat(caps.extent_2d_gather)));
        }
        limits
    }

    fn check(&self, caps: &ImageCaps, with_levels: bool) -> Result<()> {
        if self.gathered && (self.dimensions != Dimensions::Two || self.layered) {
            return Err(Error::invalid("texels are gathered from two dimensions without layers only"));
        }
        let within = |most: &Most| {
            self.layers <= most.layers && self.extent.iter().zip(most.extent).all(|(&extent, most)| extent <= most)
        };
        match self.limits(caps, with_levels).into_iter().find(|most| !within(most)) {
            None => Ok(()),
            Some(Most { extent, layers }) => Err(Error::invalid(format!(
                "an array of {:?} texels and {} layers, at most {extent:?} and {layers}",
                self.extent, self.layers
            ))),
        }
    }

    fn image(&self, levels: u32) -> ImageDescription {
        let Self { format, dimensions, extent, layers, writable, .. } = *self;
        ImageDescription { format, dimensions, extent, layers, levels, samples: 1, writable }
    }

    /// A level of it.
    fn level(&self, level: u32) -> Self {
        let [width, height, depth] = self.image(1).extents(level);
        Self { extent: [width, height, depth / self.layers], ..*self }
    }

    /// Bytes of all texels of so many levels; none where they are too many.
    fn bytes(&self, levels: u32) -> Option<u64> {
        let image = self.image(levels);
        (0..levels).try_fold(0u64, |sum, level| {
            let texels = image.extents(level).into_iter().map(u64::from).try_fold(1, u64::checked_mul)?;
            sum.checked_add(texels.checked_mul(self.format.texel_bytes() as u64)?)
        })
    }
}

/// An image of a device, which goes when nobody holds it.
pub struct Storage {
    device: Arc<dyn Device>,
    index: usize,
    memory: Arc<Memory>,
    bytes: u64,
    pub(crate) image: ImageId,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").field("image", &self.image).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.device.destroy_image(self.image);
        self.memory.discharge(self.index, self.bytes);
    }
}

/// An array of texels.
pub struct Array {
    pub session: Arc<Session>,
    pub description: ArrayDescription,
    pub(crate) storage: Arc<Storage>,
    pub(crate) level: u32,
    /// It is a level of another array, and goes with that.
    of_levels: bool,
}

/// An array of texels in several levels.
pub struct Levels {
    pub session: Arc<Session>,
    pub description: ArrayDescription,
    pub count: u32,
    pub(crate) storage: Arc<Storage>,
    arrays: Vec<Handle<Array>>,
}

impl Kind for Array {
    const TAG: u8 = 0x61;
    const NAME: &'static str = "array";
}

impl Kind for Levels {
    const TAG: u8 = 0x62;
    const NAME: &'static str = "mipmapped array";
}

impl Runtime {
    fn store(&self, session: &Session, description: &ArrayDescription, levels: u32) -> Result<Arc<Storage>> {
        let device = session.device.device.clone();
        let index = session.device.index;
        let bytes = description.bytes(levels).ok_or_else(|| Error::out_of_memory("texels beyond all memory"))?;
        self.memory.charge(index, bytes)?;
        let made = device.create_image(&description.image(levels));
        let image = made.inspect_err(|_| self.memory.discharge(index, bytes))?;
        Ok(Arc::new(Storage { device, index, memory: self.memory.clone(), bytes, image }))
    }

    fn image_caps(session: &Session) -> Result<ImageCaps> {
        let caps = session.device.device.caps();
        caps.images.ok_or_else(|| Error::NotSupported(format!("{} has no images", caps.name)))
    }

    /// An array of the current context.
    pub fn create_array(&self, description: ArrayDescription) -> Result<Handle<Array>> {
        let session = self.session()?;
        description.check(&Self::image_caps(&session)?, false)?;
        let storage = self.store(&session, &description, 1)?;
        Ok(self.images.arrays.insert(Arc::new(Array { session, description, storage, level: 0, of_levels: false })))
    }

    /// Destroys an array after all work that may use it; a level lives on with the array that it is of.
    pub fn destroy_array(&self, handle: Handle<Array>) -> Result<()> {
        if self.images.arrays.get(handle)?.of_levels {
            return Ok(());
        }
        let array = self.images.arrays.remove(handle)?;
        array.session.drain();
        Ok(())
    }

    /// An array of the current context with as many levels as asked for, one at least, or as it has halvings.
    pub fn create_levels(&self, description: ArrayDescription, count: u32) -> Result<Handle<Levels>> {
        let session = self.session()?;
        description.check(&Self::image_caps(&session)?, true)?;
        let longest = description.extent.into_iter().max().unwrap_or(1);
        let count = count.clamp(1, u32::BITS - longest.leading_zeros());
        let storage = self.store(&session, &description, count)?;
        let array = |level| Array {
            session: session.clone(),
            description: description.level(level),
            storage: storage.clone(),
            level,
            of_levels: true,
        };
        let arrays = (0..count).map(|level| self.images.arrays.insert(Arc::new(array(level)))).collect();
        let session = session.clone();
        Ok(self.images.levels.insert(Arc::new(Levels { session, description, count, storage, arrays })))
    }

    /// Destroys an array and its levels after all work that may use them.
    pub fn destroy_levels(&self, handle: Handle<Levels>) -> Result<()> {
        let levels = self.images.levels.remove(handle)?;
        for &array in &levels.arrays {
            let _ = self.images.arrays.remove(array);
        }
        levels.session.drain();
        Ok(())
    }

    /// One of its levels, which lives as long as it does.
    pub fn level(&self, handle: Handle<Levels>, level: u32) -> Result<Handle<Array>> {
        let levels = self.images.levels.get(handle)?;
        let array = levels.arrays.get(level as usize).copied();
        array.ok_or_else(|| Error::invalid(format!("level {level} of {}", levels.count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hetgpu_device::Channel;

    fn array(dimensions: Dimensions, extent: [u32; 3]) -> ArrayDescription {
        let format = Format { channel: Channel::U8, channels: 1 };
        let layers = if dimensions == Dimensions::Cube { 6 } else { 1 };
        ArrayDescription {
            format,
            fractions: false,
            dimensions,
            extent,
            layers,
            layered: false,
            writable: false,
            gathered: false,
            notes: Notes::default(),
        }
    }

    fn fits(description: &ArrayDescription) -> bool {
        description.check(&ImageCaps::default(), false).is_ok()
    }

    #[test]
    fn what_kernels_write_to_is_smaller() {
        let line = array(Dimensions::One, [131_072, 1, 1]);
        assert!(fits(&line));
        assert!(!fits(&ArrayDescription { writable: true, ..line }));
        assert!(fits(&ArrayDescription { writable: true, extent: [32_768, 1, 1], ..line }));
        assert!(!fits(&ArrayDescription { extent: [131_073, 1, 1], ..line }));
    }

    #[test]
    fn one_extent_of_a_volume_may_be_long_where_the_others_are_short() {
        let volume = |extent| array(Dimensions::Three, extent);
        assert!(fits(&volume([16_384, 1, 16_384])));
        assert!(fits(&volume([8192, 1, 32_768])));
        assert!(!fits(&volume([8193, 1, 32_768])));
        assert!(!fits(&ArrayDescription { writable: true, ..volume([1, 1, 32_768]) }));
    }

    #[test]
    fn gathers_and_layers_have_limits_of_their_own() {
        let flat = ArrayDescription { gathered: true, ..array(Dimensions::Two, [32_768, 1, 1]) };
        assert!(fits(&flat));
        assert!(!fits(&ArrayDescription { extent: [32_769, 1, 1], ..flat }));
        assert!(!fits(&ArrayDescription { gathered: true, ..array(Dimensions::One, [4, 1, 1]) }));
        let layers = ArrayDescription { layered: true, layers: 2048, ..array(Dimensions::Two, [32_768, 1, 1]) };
        assert!(fits(&layers));
        assert!(!fits(&ArrayDescription { layers: 2049, ..layers }));
        let cubes = ArrayDescription { layered: true, layers: 2046, ..array(Dimensions::Cube, [4, 4, 1]) };
        assert!(fits(&cubes));
        assert!(!fits(&ArrayDescription { layers: 2052, ..cubes }));
    }

    #[test]
    fn bytes_of_all_levels_are_counted() {
        assert_eq!(array(Dimensions::Two, [8, 6, 1]).bytes(3), Some(48 + 12 + 2));
        assert_eq!(array(Dimensions::Cube, [4, 4, 1]).bytes(1), Some(96));
        assert_eq!(array(Dimensions::Two, [8, 6, 1]).level(2).extent, [2, 1, 1]);
        assert_eq!(array(Dimensions::Cube, [4, 4, 1]).level(1).extent, [2, 2, 1]);
    }
}
