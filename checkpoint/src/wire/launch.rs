//! Launches, and what suspended ones left.

use super::{Address, Handle, Heap};
use crate::Digest;
use crate::codec::wire;

wire! {
    /// A launch that has not ended.
    pub struct Launch {
        /// Numbers it in this snapshot; work and frames name it by that.
        pub number: u64,
        /// Numbers the launches of a context; kernels can read it.
        pub grid_id: u64,
        /// Its session.
        pub session: u64,
        /// Its device.
        pub device: u32,
        /// Its lane.
        pub lane: u64,
        /// The module that it runs.
        pub module: Handle,
        /// Which kernel of the module.
        pub kernel: u32,
        /// The kernel's name.
        pub name: String,
        /// How it was launched.
        pub shape: LaunchShape,
        /// Memory for the grid barrier of a cooperative launch, or 0.
        pub workspace: Address,
        /// For device-side allocation.
        pub heap: Option<Heap>,
        /// How far it is.
        pub progress: Progress,
    }

    /// How a kernel is launched.
    pub struct LaunchShape {
        /// Blocks.
        pub grid: [u32; 3],
        /// Threads a block.
        pub block: [u32; 3],
        /// Blocks a cluster.
        pub cluster: [u32; 3],
        /// Bytes of dynamic shared memory.
        pub dynamic_shared: u32,
        /// All blocks are resident together.
        pub cooperative: bool,
        /// The parameters, packed.
        pub params: Vec<u8>,
    }

    /// How far a launch is.
    pub enum Progress {
        /// Nothing of it has begun.
        #[default]
        0 = Waiting,
        /// It was suspended.
        1 = Suspended {
            /// Where its state lies, which is a part of the job's memory.
            suspension: Suspension,
            /// Blocks that saved themselves or did not start.
            left: u64,
        },
    }

    /// Where a suspended launch has its state: memory at logical addresses, in the layout that is the same on every device.
    pub struct Suspension {
        /// The copies of the flag.
        pub flag: Address,
        /// How many.
        pub flag_copies: u32,
        /// The count of blocks that are left.
        pub left: Address,
        /// A mark for each block.
        pub marks: Address,
        /// What the mark of a done block holds.
        pub sequence: u64,
        /// The frames.
        pub frames: Address,
        /// Their size.
        pub frame_bytes: u64,
    }

    /// What a suspended launch left, as far as people ask and a restore has to check.
    pub struct Frames {
        /// The launch's number.
        pub launch: u64,
        /// Of the text of the kernel's hetIR in the form that made the frames. No other code can go on from them.
        pub code: Digest,
        /// Names the layout of frames.
        pub layout: u32,
        /// Bytes of a block's frame.
        pub block_bytes: u64,
        /// Blocks that ran to their end.
        pub done: u64,
        /// Blocks that have not begun.
        pub fresh: u64,
        /// The places where threads stand.
        pub sites: Vec<Site>,
        /// The blocks that saved themselves.
        pub blocks: Vec<SuspendedBlock>,
    }

    /// A place where threads may stop.
    pub struct Site {
        /// Its number.
        pub number: u32,
        /// What it is: a barrier, a loop.
        pub kind: String,
        /// The line of the text, or 0.
        pub line: u32,
        /// Values that a thread saves there.
        pub values: u32,
        /// Bytes of them.
        pub bytes: u32,
    }

    /// A block that saved itself.
    pub struct SuspendedBlock {
        /// Its place in the grid: x fastest.
        pub block: u64,
        /// Where its threads stand: site, and how many.
        pub threads: Vec<(u32, u32)>,
        /// Threads that have returned.
        pub returned: u32,
    }
}
