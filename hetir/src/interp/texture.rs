//! Textures, samplers and surfaces: what their handles stand for.
//!
//! Absent: sRGB formats, compressed formats, anisotropic filtering, filtering across the edges of a cube's faces, and
//! partly resident images.

mod access;
mod filter;

pub use access::{Machine, execute};

/// The type of an image's channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// 8-bit unsigned.
    U8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 8-bit signed.
    S8,
    /// 16-bit signed.
    S16,
    /// 32-bit signed.
    S32,
    /// IEEE binary16.
    F16,
    /// IEEE binary32.
    F32,
}

impl Channel {
    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::S8 => 1,
            Self::U16 | Self::S16 | Self::F16 => 2,
            Self::U32 | Self::S32 | Self::F32 => 4,
        }
    }
    /// Whether it is a signed integer.
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32)
    }
    /// Whether it is a floating-point number.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32)
    }
}

/// Where a mip level lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plane {
    /// Its first texel.
    pub address: u64,
    /// Bytes from one row to the next.
    pub row: u64,
    /// Bytes from one slice, layer or face to the next.
    pub slice: u64,
}

/// Texels in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Type of the channels.
    pub channel: Channel,
    /// Channels a texel: 1, 2 or 4.
    pub channels: u8,
    /// Texels a row.
    pub width: u32,
    /// Rows; 1 where there is one dimension.
    pub height: u32,
    /// Slices; 1 where there are fewer than three dimensions.
    pub depth: u32,
    /// Layers, six for each cube; 1 without layers.
    pub layers: u32,
    /// Samples a texel, which lie side by side.
    pub samples: u32,
    /// The mip levels, the largest first; at least one. Each has half the extents of the one before, rounded down, 1 at least.
    pub levels: Vec<Plane>,
}

impl Image {
    /// An image whose levels lie one behind the other without gaps.
    pub fn packed(
        address: u64,
        channel: Channel,
        channels: u8,
        [width, height, depth]: [u32; 3],
        layers: u32,
        samples: u32,
        levels: u32,
    ) -> Self {
        let mut image = Self { channel, channels, width, height, depth, layers, samples, levels: Vec::new() };
        let mut address = address;
        for level in 0..levels.min(32) as usize {
            let [w, h, d] = image.extents(level).map(u64::from);
            let row = w * u64::from(samples) * image.texel_bytes() as u64;
            image.levels.push(Plane { address, row, slice: row.saturating_mul(h) });
            address = address.wrapping_add(row.wrapping_mul(h).wrapping_mul(d).wrapping_mul(layers.into()));
        }
        image
    }
    /// Width, height and depth of a level.
    pub fn extents(&self, level: usize) -> [u32; 3] {
        let shrink = |n: u32| n.checked_shr(level as u32).unwrap_or(0).max(1);
        [shrink(self.width), shrink(self.height), shrink(self.depth)]
    }
    /// Bytes of a texel, or of one of its samples.
    pub const fn texel_bytes(&self) -> usize {
        self.channel.bytes() * self.channels as usize
    }
    /// Bytes from the first texel to the end of the last level.
    pub fn packed_bytes(&self) -> u64 {
        let Some((first, last)) = self.levels.first().zip(self.levels.last()) else { return 0 };
        let slices = u64::from(self.extents(self.levels.len() - 1)[2]) * u64::from(self.layers);
        last.address.wrapping_sub(first.address).saturating_add(last.slice.saturating_mul(slices))
    }
}

/// What coordinates beyond the image mean. The last two exist only for normalized coordinates and are `Clamp` otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressMode {
    /// The nearest texel.
    Clamp,
    /// The border colour.
    Border,
    /// The image repeats.
    Wrap,
    /// The image repeats, every other time mirrored.
    Mirror,
}

/// Whether texels are mixed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filter {
    /// The texel that the coordinates lie in.
    Nearest,
    /// The texels around, by distance in steps of 1/256; of integers the nearest one.
    Linear,
}

/// How a depth is compared with a texel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// Not at all: the texel is the result.
    Off,
    /// Never.
    Never,
    /// Below the texel.
    Less,
    /// The same.
    Equal,
    /// At most the texel.
    LessEqual,
    /// Above the texel.
    Greater,
    /// Another.
    NotEqual,
    /// At least the texel.
    GreaterEqual,
    /// Always.
    Always,
}

/// How a texture is read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sampler {
    /// By dimension.
    pub address: [AddressMode; 3],
    /// Within a level.
    pub filter: Filter,
    /// Between levels.
    pub mip_filter: Filter,
    /// Coordinates from 0 to 1 span the image; else they count texels.
    pub normalized: bool,
    /// What lies beyond the image.
    pub border: [f32; 4],
    /// Added to the level.
    pub level_bias: f32,
    /// Bounds of the level.
    pub level_range: [f32; 2],
    /// How depths are compared.
    pub compare: Compare,
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            address: [AddressMode::Clamp; 3],
            filter: Filter::Nearest,
            mip_filter: Filter::Nearest,
            normalized: false,
            border: [0.0; 4],
            level_bias: 0.0,
            level_range: [0.0, f32::MAX],
            compare: Compare::Off,
        }
    }
}

/// A texture.
#[derive(Clone, PartialEq, Debug)]
pub struct Texture {
    /// Its texels.
    pub image: Image,
    /// How it is read where no sampler is named.
    pub sampler: Sampler,
    /// Integers of 8 and 16 bits are read as numbers from 0 or -1 to 1.
    pub normalized_floats: bool,
}

/// What a handle stands for.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// A texture.
    Texture(Texture),
    /// A sampler.
    Sampler(Sampler),
    /// A surface.
    Surface(Image),
}

/// A handle and what it stands for.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// What programs name it by; not 0.
    pub handle: u64,
    /// What it stands for.
    pub kind: Kind,
}
