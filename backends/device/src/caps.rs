/// What a device is and how much of everything it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Name shown to users.
    pub name: String,
    /// Identity that stays the same from run to run.
    pub uuid: [u8; 16],
    /// Compute capability, major and minor: which PTX targets it accepts.
    pub compute: (u32, u32),
    /// Bytes of device memory.
    pub memory: u64,
    /// `Device::map` takes multiples of this, at multiples of this. A power of two.
    pub map_granularity: u64,
    /// `Device::share` works.
    pub shares_host_memory: bool,
    /// All blocks of a grid that fits can be resident and wait for each other.
    pub cooperative: bool,
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
