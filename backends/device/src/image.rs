use crate::{ImageCaps, Shape};
pub use hetir::interp::texture::{AddressMode, Channel, Compare, Filter, Sampler};

/// An image that a device holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ImageId(pub u64);

/// Texels of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Type of the channels.
    pub channel: Channel,
    /// Channels a texel: 1, 2 or 4.
    pub channels: u8,
}

impl Format {
    /// Bytes of a texel.
    pub const fn texel_bytes(self) -> usize {
        self.channel.bytes() * self.channels as usize
    }
}

/// What an image is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageDescription {
    /// Its texels.
    pub format: Format,
    /// How many dimensions it has.
    pub dimensions: Dimensions,
    /// Width, height and depth; 1 where it has no such dimension.
    pub extent: [u32; 3],
    /// Layers, six for each cube; 1 without layers.
    pub layers: u32,
    /// Mip levels, each with half the extents of the one before, rounded down, 1 at least.
    pub levels: u32,
    /// Samples a texel.
    pub samples: u32,
    /// Kernels may write to it.
    pub writable: bool,
}

/// The dimensions of an image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dimensions {
    /// One.
    One,
    /// Two.
    Two,
    /// Three.
    Three,
    /// Two, on the six faces of a cube.
    Cube,
}

impl ImageDescription {
    /// An image of one layer, level and sample that kernels only read.
    pub fn new(format: Format, dimensions: Dimensions, extent: [u32; 3]) -> Self {
        let layers = if dimensions == Dimensions::Cube { 6 } else { 1 };
        Self { format, dimensions, extent, layers, levels: 1, samples: 1, writable: false }
    }

    /// Width, height, and the slices or layers of a level.
    pub fn extents(&self, level: u32) -> [u32; 3] {
        let shrink = |n: u32| n.checked_shr(level).unwrap_or(0).max(1);
        let [width, height, depth] = self.extent.map(shrink);
        [width, height, depth.saturating_mul(self.layers)]
    }

    /// What is wrong with it on any device.
    pub fn wrong(&self) -> Option<&'static str> {
        let [width, height, depth] = self.extent;
        let flat = match self.dimensions {
            Dimensions::One => height == 1 && depth == 1,
            Dimensions::Two => depth == 1,
            Dimensions::Three => self.layers == 1,
            Dimensions::Cube => depth == 1 && width == height && self.layers.is_multiple_of(6),
        };
        let most = 32 - width.max(height).max(depth).leading_zeros();
        match () {
            () if width == 0 || height == 0 || depth == 0 || self.layers == 0 => Some("an image without texels"),
            () if !flat => Some("extents that its dimensions do not have"),
            () if ![1, 2, 4].contains(&self.format.channels) => Some("a texel has 1, 2 or 4 channels"),
            () if self.levels == 0 || self.levels > most => Some("more levels than halvings of its extents, or none"),
            () if !self.samples.is_power_of_two() => Some("samples are a power of two"),
            () => None,
        }
    }
}

impl ImageDescription {
    /// Whether rows of a copy that begin at a place are whole texels of the image.
    pub fn holds(&self, place: &ImagePlace, shape: &Shape) -> bool {
        let texel = self.format.texel_bytes() as u64 * u64::from(self.samples);
        let [width, height, slices] = self.extents(place.level).map(u64::from);
        let [x, y, z] = place.origin.map(u64::from);
        let within = |first: u64, count: u64, all: u64| first.checked_add(count).is_some_and(|end| end <= all);
        place.level < self.levels
            && shape.row.is_multiple_of(texel)
            && within(x, shape.row / texel, width)
            && within(y, shape.rows, height)
            && within(z, shape.slices, slices)
    }

    /// What about it is more than a device has.
    pub fn beyond(&self, caps: &ImageCaps) -> Option<&'static str> {
        let [width, height, _] = self.extent;
        let fits = match self.dimensions {
            Dimensions::One => width <= caps.width_1d,
            Dimensions::Two => width <= caps.extent_2d[0] && height <= caps.extent_2d[1],
            Dimensions::Three => [caps.extent_3d, caps.extent_3d_alternate]
                .iter()
                .any(|most| self.extent.iter().zip(most).all(|(extent, most)| extent <= most)),
            Dimensions::Cube => width <= caps.width_cube,
        };
        match () {
            () if !fits => Some("an image that is too large"),
            () if self.layers > caps.layers => Some("an image of too many layers"),
            () if self.samples > 1 && !caps.multisample => Some("several samples a texel"),
            () => None,
        }
    }
}

/// Texels in memory at a logical address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinearImage {
    /// The texels.
    pub format: Format,
    /// Its first texel.
    pub at: u64,
    /// Texels a row.
    pub width: u32,
    /// Rows; 1 where there is one dimension.
    pub height: u32,
    /// Bytes from one row to the next.
    pub pitch: u64,
}

/// A part of an image's levels and layers, with texels of another format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageView {
    /// The image.
    pub image: ImageId,
    /// What its texels are taken for: as many bytes as they have.
    pub format: Format,
    /// The first level seen, and how many.
    pub levels: (u32, u32),
    /// The first layer seen, and how many.
    pub layers: (u32, u32),
}

/// What the texels of an object are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Texels {
    /// An image of the device; a texture sees the levels from `first_level` on.
    Image {
        /// The image.
        image: ImageId,
        /// The first level seen.
        first_level: u32,
    },
    /// A part of an image.
    View(ImageView),
    /// Memory.
    Linear(LinearImage),
}

/// What a kernel names by a handle.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ImageObject {
    /// A texture.
    Texture {
        /// Its texels.
        texels: Texels,
        /// How it is read where no sampler is named.
        sampler: Sampler,
        /// Integers of 8 and 16 bits are read as numbers from 0 or -1 to 1.
        normalized_floats: bool,
    },
    /// A sampler.
    Sampler(Sampler),
    /// A surface: one level, which kernels read and write.
    Surface(Texels),
}

/// A part of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImagePlace {
    /// The image.
    pub image: ImageId,
    /// The level.
    pub level: u32,
    /// The first texel: column, row, and slice or layer.
    pub origin: [u32; 3],
}
