//! Addresses and what lies there.

use super::{Address, Blob, Handle};
use crate::codec::wire;

wire! {
    /// Addresses and what lies there.
    pub struct Memory {
        /// The next allocation's number.
        pub next_id: u64,
        /// Live allocations.
        pub allocations: Vec<Allocation>,
        /// Ranges that small allocations share, by device.
        pub shared: Vec<DeviceRange>,
        /// Pools.
        pub pools: Vec<Pool>,
        /// Pools that calls mean where they name none.
        pub chosen: Vec<ChosenPool>,
        /// Addresses that the program reserved.
        pub reservations: Vec<Range>,
        /// Memory apart from addresses.
        pub physical: Vec<Physical>,
    }

    /// A range of addresses.
    pub struct Range {
        /// Its first byte.
        pub start: Address,
        /// Its size.
        pub bytes: u64,
    }

    /// A range of a device's addresses.
    pub struct DeviceRange {
        /// The device.
        pub device: u32,
        /// Its first byte.
        pub start: Address,
        /// Its size.
        pub bytes: u64,
    }

    /// An allocation.
    pub struct Allocation {
        /// Its first byte.
        pub start: Address,
        /// As asked for.
        pub bytes: u64,
        /// Addresses taken for it.
        pub reserved: u64,
        /// What kind of memory it is.
        pub kind: MemoryKind,
        /// The device that it belongs to, or was made for.
        pub device: u32,
        /// The session that it dies with; 0 for none.
        pub session: u64,
        /// The program asked for it and may free it.
        pub program: bool,
        /// Its number.
        pub id: u64,
        /// As the interface means them.
        pub flags: u32,
        /// What is asked for about it is done when a call returns.
        pub synchronises: bool,
        /// What messages call it.
        pub name: String,
        /// Where it comes from.
        pub origin: Origin,
        /// For managed memory: what the program said of its pages.
        pub wishes: Vec<Wish>,
    }

    /// Kinds of memory.
    pub enum MemoryKind {
        /// Memory of one device.
        #[default]
        0 = Device,
        /// Memory that host and device both reach at one address.
        1 = Managed,
        /// Host memory that the runtime allocated.
        2 = Pinned,
        /// Host memory of the program, made known to devices.
        3 = Registered,
        /// Physical memory that the program mapped.
        4 = Mapped,
    }

    /// Where an allocation comes from.
    pub enum Origin {
        /// It is the allocation's own.
        #[default]
        0 = Own,
        /// A part of a pool.
        1 = Pool {
            /// The pool's identity.
            identity: u64,
        },
        /// A mapping of physical memory.
        2 = Mapping {
            /// The physical memory, by its place in the list.
            physical: u32,
            /// The range that was reserved.
            reserved: Range,
            /// What each device may do with it.
            access: Vec<(u32, Access)>,
        },
        /// A block of a graph's allocation node.
        3 = Graph {
            /// A launch allocated it and nothing has freed it.
            live: bool,
        },
        /// Another process's, which a snapshot of this one does not hold.
        4 = Foreign {
            /// That process.
            process: u32,
            /// It came by way of a pool.
            pooled: bool,
        },
    }

    /// What a device may do with memory.
    pub enum Access {
        /// Nothing.
        #[default]
        0 = None,
        /// Read.
        1 = Read,
        /// Read and write.
        2 = ReadWrite,
    }

    /// What the program said of pages of managed memory.
    pub struct Wish {
        /// The pages.
        pub pages: Range,
        /// They are mostly read.
        pub read_mostly: bool,
        /// Where they should lie.
        pub preferred: Option<Location>,
        /// Who uses them.
        pub accessed_by: Vec<Location>,
        /// Where they were last asked to be brought.
        pub prefetched: Option<Location>,
    }

    /// Where memory may lie.
    pub enum Location {
        /// Nowhere in particular.
        #[default]
        0 = Anywhere,
        /// On a device.
        1 = Device {
            /// Which.
            device: u32,
        },
        /// On the host.
        2 = Host,
        /// On a part of the host.
        3 = HostNode {
            /// Which.
            node: i32,
        },
        /// On the part of the host where the thread ran that said so.
        4 = HostNodeHere,
    }

    /// A pool of memory.
    pub struct Pool {
        /// Its handle; none where the program has let go of it.
        pub handle: Option<Handle>,
        /// Its identity.
        pub identity: u64,
        /// What kind of memory it has.
        pub kind: MemoryKind,
        /// Where its memory lies.
        pub location: Location,
        /// The device that it belongs to.
        pub device: u32,
        /// As the interface counts them.
        pub handle_types: u32,
        /// Most bytes; 0 for as many as there are.
        pub most: u64,
        /// One that every device has.
        pub permanent: bool,
        /// It is another process's.
        pub imported: bool,
        /// Reuse that the program allows: by events, by chance, by new dependencies.
        pub reuse: [u8; 3],
        /// So much is kept when the program waits.
        pub threshold: u64,
        /// Most bytes taken from the device so far.
        pub reserved_high: u64,
        /// Most bytes in use so far.
        pub used_high: u64,
        /// What it has from the device.
        pub chunks: Vec<PoolChunk>,
        /// Freed, and perhaps still in use by what stands before that.
        pub pending: Vec<PoolPending>,
        /// Devices that the program let reach the host's memory in it.
        pub reached: Vec<u32>,
    }

    /// What a pool takes at a time.
    pub struct PoolChunk {
        /// Its addresses.
        pub range: Range,
        /// Bytes of them that are mapped.
        pub bytes: u64,
        /// Other processes may map it.
        pub shared: bool,
        /// What is free of it.
        pub free: Vec<Range>,
    }

    /// Memory that is free when a lane gets there.
    pub struct PoolPending {
        /// The memory.
        pub range: Range,
        /// The device.
        pub device: u32,
        /// The lane.
        pub lane: u64,
        /// Which free it was.
        pub turn: u64,
    }

    /// What calls mean where they name no pool.
    pub struct ChosenPool {
        /// Kind of memory.
        pub kind: MemoryKind,
        /// Where.
        pub location: Location,
        /// The pool that is always there.
        pub default: Handle,
        /// The pool in use.
        pub current: Handle,
    }

    /// Memory apart from addresses.
    pub struct Physical {
        /// Its handle; none where only mappings hold it.
        pub handle: Option<Handle>,
        /// How often the program holds it.
        pub count: u32,
        /// Where it lies.
        pub device: u32,
        /// Its size.
        pub bytes: u64,
        /// As the interface spells it.
        pub handle_types: u32,
        /// As the interface spells them.
        pub flags: [u8; 8],
        /// Its contents, where it is mapped nowhere.
        pub contents: Option<Blob>,
    }
}
