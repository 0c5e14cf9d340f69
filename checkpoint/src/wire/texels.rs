//! Arrays of texels, and what kernels see of them.

use super::{Address, Blob, Handle};
use crate::codec::wire;

wire! {
    /// Arrays, textures, surfaces.
    pub struct TexelTables {
        /// Texels.
        pub storages: Vec<Storage>,
        /// Arrays without levels, and levels.
        pub arrays: Vec<Array>,
        /// Arrays with levels.
        pub levels: Vec<Levels>,
        /// Objects that kernels name by a handle.
        pub objects: Vec<TexelObject>,
        /// References.
        pub references: Vec<Reference>,
        /// The next object's handle.
        pub next_handle: u64,
    }

    /// Texels of an array, with or without levels.
    pub struct Storage {
        /// Names it in this snapshot.
        pub id: u64,
        /// Where it lies.
        pub device: u32,
        /// What it is.
        pub description: ArrayDescription,
        /// Levels.
        pub levels: u32,
        /// Contents of each level: rows, slices and layers without gaps.
        pub contents: Vec<Blob>,
    }

    /// What an array is.
    pub struct ArrayDescription {
        /// Type of the channels.
        pub channel: Channel,
        /// Channels a texel.
        pub channels: u8,
        /// Its texels are fractions, whoever reads them.
        pub fractions: bool,
        /// Its dimensions.
        pub dimensions: Dimensions,
        /// Width, height and depth; 1 where it has no such dimension.
        pub extent: [u32; 3],
        /// Layers, six for each cube.
        pub layers: u32,
        /// It has layers, be it one.
        pub layered: bool,
        /// Kernels may write to it.
        pub writable: bool,
        /// Four texels may be gathered at once.
        pub gathered: bool,
        /// What the interface remembers: format and flags.
        pub notes: [u32; 2],
    }

    /// Types of channels.
    pub enum Channel {
        /// Unsigned, 8 bits.
        #[default]
        0 = U8,
        /// Unsigned, 16 bits.
        1 = U16,
        /// Unsigned, 32 bits.
        2 = U32,
        /// Signed, 8 bits.
        3 = S8,
        /// Signed, 16 bits.
        4 = S16,
        /// Signed, 32 bits.
        5 = S32,
        /// Floating point, 16 bits.
        6 = F16,
        /// Floating point, 32 bits.
        7 = F32,
    }

    /// Dimensions.
    pub enum Dimensions {
        /// One.
        #[default]
        0 = One,
        /// Two.
        1 = Two,
        /// Three.
        2 = Three,
        /// Two, on the faces of a cube.
        3 = Cube,
    }

    /// An array without levels, or a level.
    pub struct Array {
        /// Its handle.
        pub handle: Handle,
        /// Its session.
        pub session: u64,
        /// Its texels.
        pub storage: u64,
        /// The level.
        pub level: u32,
        /// It goes with an array that has levels.
        pub of_levels: bool,
    }

    /// An array with levels.
    pub struct Levels {
        /// Its handle.
        pub handle: Handle,
        /// Its session.
        pub session: u64,
        /// Its texels.
        pub storage: u64,
        /// Handles of its levels.
        pub arrays: Vec<Handle>,
    }

    /// What kernels name by a handle.
    pub struct TexelObject {
        /// The handle.
        pub handle: Handle,
        /// The device.
        pub device: u32,
        /// Its session.
        pub session: u64,
        /// A texture; else a surface.
        pub texture: bool,
        /// Its texels.
        pub texels: Seen,
        /// How a texture is read.
        pub sampler: Sampler,
        /// Integers are read as fractions.
        pub normalized_floats: bool,
        /// What the interface shows when it is asked, in its own layout.
        pub note: Vec<u8>,
    }

    /// Texels that are seen.
    pub enum Seen {
        /// None yet.
        #[default]
        0 = Nothing,
        /// A part of a storage.
        1 = Part {
            /// The storage.
            storage: u64,
            /// What its texels are taken for.
            channel: Channel,
            /// Channels of that.
            channels: u8,
            /// The first level, and how many.
            levels: [u32; 2],
            /// The first layer, and how many.
            layers: [u32; 2],
        },
        /// Memory.
        2 = Linear {
            /// The first texel.
            at: Address,
            /// Type of the channels.
            channel: Channel,
            /// Channels a texel.
            channels: u8,
            /// Texels a row.
            width: u32,
            /// Rows.
            height: u32,
            /// Bytes from row to row; 0 for a line.
            pitch: u64,
        },
    }

    /// How textures are read.
    pub struct Sampler {
        /// By dimension: 0 clamp, 1 border, 2 wrap, 3 mirror.
        pub address: [u8; 3],
        /// Texels are mixed.
        pub linear: bool,
        /// Levels are mixed.
        pub linear_levels: bool,
        /// Coordinates from 0 to 1 span the texels.
        pub normalized: bool,
        /// What lies beyond.
        pub border: [f32; 4],
        /// Added to the level.
        pub level_bias: f32,
        /// Bounds of the level.
        pub level_range: [f32; 2],
        /// How depths are compared; 0 for not at all.
        pub compare: u8,
    }

    /// A reference: a variable of a module that stands for what the program sets it to, or one of no module.
    pub struct Reference {
        /// Its handle.
        pub handle: Handle,
        /// Its session.
        pub session: u64,
        /// A texture; else a surface.
        pub texture: bool,
        /// The module whose variable it is.
        pub module: Option<Handle>,
        /// The variable's name.
        pub name: String,
        /// The array that it is set to.
        pub array: Option<Handle>,
        /// The array with levels.
        pub levels: Option<Handle>,
        /// Or memory.
        pub memory: Seen,
        /// The handle that it is bound by, where it is.
        pub bound: Option<Handle>,
        /// How it is read.
        pub sampler: Sampler,
        /// Integers are read as fractions.
        pub normalized_floats: bool,
        /// What the interface remembers.
        pub notes: [u32; 4],
    }
}
