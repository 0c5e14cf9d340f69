use std::ops::Range;

/// What a device is and how much of everything it has.
///
/// `Caps::default()` describes a plain device of compute capability 9.0 that offers nothing optional; a device names
/// what it has and takes the rest from there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Name shown to users.
    pub name: String,
    /// Identity that stays the same from run to run.
    pub uuid: [u8; 16],
    /// Compute capability, major and minor: which PTX targets it accepts.
    pub compute: (u32, u32),
    /// Compute capability, times ten, for which it runs NVIDIA's machine code as it is; none where it runs none.
    pub machine: Option<u32>,
    /// Where it sits, if it sits on a bus.
    pub pci: Option<Pci>,
    /// Its memory is the host's.
    pub integrated: bool,
    /// Memory errors are corrected.
    pub ecc: bool,
    /// The system ends kernels that run for long.
    pub time_limit: bool,

    /// Bytes of device memory.
    pub memory: u64,
    /// `Device::map` takes multiples of this, at multiples of this. A power of two.
    pub map_granularity: u64,
    /// Addresses that the device keeps free on the host for what is mapped there; whoever hands addresses out need not.
    pub reserved: Option<Range<u64>>,
    /// `Device::share` works.
    pub shares_host_memory: bool,
    /// Atomics of a kernel and of the host on shared memory see each other.
    pub host_atomics: bool,
    /// `Device::physical` has memory apart from its addresses, which other processes can map too.
    pub physical: bool,
    /// Devices whose memory `Device::reach` makes accessible, by `uuid`.
    pub peers: Vec<[u8; 16]>,
    /// So is memory of whatever other device of the process has this, too: such may take the places of each other's peers.
    pub neighbourly: bool,
    /// Images; none where kernels cannot use any.
    pub images: Option<ImageCaps>,

    /// Work goes on by itself once it was submitted, and each wait for it costs time that the device could work.
    pub asynchronous: bool,
    /// Queues that make progress at the same time; at least 1.
    pub concurrent_queues: u32,
    /// Copies that run beside kernels.
    pub copy_engines: u32,
    /// Priorities of queues, from the least to the greatest; a smaller number is a greater priority.
    pub priorities: (i32, i32),
    /// A fault ends the launch that caused it and nothing else. Where it is false everything on the device is lost with
    /// it, until `Device::reset`.
    pub survives_faults: bool,
    /// Launches of a part of a grid, and such as can be asked to stop, are taken.
    pub suspends: bool,
    /// All blocks of a grid that fits can be resident and wait for each other.
    pub cooperative: bool,
    /// Blocks a cluster may have; 0 without clusters.
    pub cluster_blocks: u32,

    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Core clock in kHz.
    pub clock_khz: u32,
    /// Memory clock in kHz.
    pub memory_clock_khz: u32,
    /// Width of the memory bus in bits.
    pub memory_bus_bits: u32,
    /// Bytes of level 2 cache.
    pub l2_bytes: u32,
    /// How much faster f32 arithmetic is than f64.
    pub single_to_double: u32,
    /// Threads a block may have.
    pub threads_per_block: u32,
    /// Threads that a multiprocessor can hold.
    pub threads_per_multiprocessor: u32,
    /// Blocks that a multiprocessor can hold.
    pub blocks_per_multiprocessor: u32,
    /// Threads a block may have in each dimension.
    pub block: [u32; 3],
    /// Blocks a grid may have in each dimension.
    pub grid: [u32; 3],
    /// Shared memory a block has without asking for more.
    pub shared_per_block: u32,
    /// Shared memory a block may ask for.
    pub shared_per_block_max: u32,
    /// Shared memory of a multiprocessor.
    pub shared_per_multiprocessor: u32,
    /// Shared memory that each block loses to the system.
    pub shared_reserved_per_block: u32,
    /// 32-bit registers of a block, and of a multiprocessor.
    pub registers: u32,
    /// Bytes of constant memory a module may have.
    pub constant_bytes: u32,
}

/// A place on the bus.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pci {
    /// Domain.
    pub domain: u16,
    /// Bus.
    pub bus: u8,
    /// Device.
    pub device: u8,
}

/// How large images may be, and what the device can do with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageCaps {
    /// Kernels see an object under the handle that the runtime names; otherwise only under one that the device chooses.
    pub chooses_handles: bool,
    /// Objects over memory at a logical address work, not only those over images.
    pub linear: bool,
    /// Images of several samples a texel work.
    pub multisample: bool,
    /// Addresses and pitches of linear images are multiples of this.
    pub alignment: u32,
    /// Pitches of linear images are multiples of this.
    pub pitch_alignment: u32,
    /// Texels of a one-dimensional image.
    pub width_1d: u32,
    /// Texels of a one-dimensional image in linear memory.
    pub width_1d_linear: u32,
    /// Width and height of a two-dimensional image.
    pub extent_2d: [u32; 2],
    /// Width and height of a two-dimensional image in linear memory, and its largest pitch in bytes.
    pub extent_2d_linear: [u32; 3],
    /// Extents of a three-dimensional image.
    pub extent_3d: [u32; 3],
    /// Width of a cube's face.
    pub width_cube: u32,
    /// Layers.
    pub layers: u32,
    /// Texels of a line of several layers.
    pub width_1d_layered: u32,
    /// Width and height of several layers.
    pub extent_2d_layered: [u32; 2],
    /// Width of a face of several cubes.
    pub width_cube_layered: u32,
    /// Layers of several cubes, six for each.
    pub layers_cube: u32,
    /// Width and height of what four texels are gathered from.
    pub extent_2d_gather: [u32; 2],
    /// Extents of a three-dimensional image that exceeds `extent_3d` in one and is smaller in others.
    pub extent_3d_alternate: [u32; 3],
    /// Texels of a one-dimensional image with levels.
    pub width_1d_levels: u32,
    /// Width and height of a two-dimensional image with levels.
    pub extent_2d_levels: [u32; 2],
    /// What kernels may write to.
    pub surface: SurfaceCaps,
}

/// How large images may be that kernels write to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SurfaceCaps {
    /// Their addresses are multiples of this.
    pub alignment: u32,
    /// Texels of a one-dimensional image.
    pub width_1d: u32,
    /// Width and height of a two-dimensional image.
    pub extent_2d: [u32; 2],
    /// Extents of a three-dimensional image.
    pub extent_3d: [u32; 3],
    /// Texels of a line of several layers.
    pub width_1d_layered: u32,
    /// Width and height of several layers.
    pub extent_2d_layered: [u32; 2],
    /// Width of a cube's face.
    pub width_cube: u32,
    /// Width of a face of several cubes.
    pub width_cube_layered: u32,
    /// Layers.
    pub layers: u32,
    /// Layers of several cubes, six for each.
    pub layers_cube: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            machine: None,
            name: String::new(),
            uuid: [0; 16],
            compute: (9, 0),
            pci: None,
            integrated: false,
            ecc: false,
            time_limit: false,
            memory: 0,
            map_granularity: 1,
            reserved: None,
            shares_host_memory: false,
            host_atomics: false,
            physical: false,
            peers: Vec::new(),
            neighbourly: false,
            images: None,
            asynchronous: false,
            concurrent_queues: 1,
            copy_engines: 1,
            priorities: (0, 0),
            survives_faults: false,
            suspends: false,
            cooperative: false,
            cluster_blocks: 0,
            multiprocessors: 1,
            clock_khz: 1_000_000,
            memory_clock_khz: 1_000_000,
            memory_bus_bits: 64,
            l2_bytes: 4 << 20,
            single_to_double: 2,
            threads_per_block: 1024,
            threads_per_multiprocessor: 2048,
            blocks_per_multiprocessor: 32,
            block: [1024, 1024, 64],
            grid: [i32::MAX as u32, 65_535, 65_535],
            shared_per_block: 48 << 10,
            shared_per_block_max: 227 << 10,
            shared_per_multiprocessor: 228 << 10,
            shared_reserved_per_block: 1 << 10,
            registers: 65_536,
            constant_bytes: 65_536,
        }
    }
}

impl Default for ImageCaps {
    fn default() -> Self {
        Self {
            chooses_handles: false,
            linear: false,
            multisample: false,
            alignment: 512,
            pitch_alignment: 32,
            width_1d: 131_072,
            width_1d_linear: 268_435_456,
            extent_2d: [131_072, 65_536],
            extent_2d_linear: [131_072, 65_000, 2_097_120],
            extent_3d: [16_384; 3],
            width_cube: 32_768,
            layers: 2048,
            width_1d_layered: 32_768,
            extent_2d_layered: [32_768; 2],
            width_cube_layered: 32_768,
            layers_cube: 2046,
            extent_2d_gather: [32_768; 2],
            extent_3d_alternate: [8192, 8192, 32_768],
            width_1d_levels: 32_768,
            extent_2d_levels: [32_768; 2],
            surface: SurfaceCaps::default(),
        }
    }
}

impl Default for SurfaceCaps {
    fn default() -> Self {
        Self {
            alignment: 512,
            width_1d: 32_768,
            extent_2d: [131_072, 65_536],
            extent_3d: [16_384; 3],
            width_1d_layered: 32_768,
            extent_2d_layered: [32_768; 2],
            width_cube: 32_768,
            width_cube_layered: 32_768,
            layers: 2048,
            layers_cube: 2046,
        }
    }
}
