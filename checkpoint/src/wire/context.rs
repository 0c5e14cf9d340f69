//! Contexts and their sessions.

use super::{Address, Handle};
use crate::codec::wire;

wire! {
    /// Contexts, and which of them are current.
    pub struct Contexts {
        /// All of them, primary ones too.
        pub contexts: Vec<Context>,
        /// Threads that have a current context.
        pub threads: Vec<Thread>,
    }

    /// What a program holds on to.
    pub struct Context {
        /// Its handle.
        pub handle: Handle,
        /// Its number.
        pub id: u64,
        /// Its device.
        pub device: u32,
        /// Every device has one of these.
        pub primary: bool,
        /// The interface's version that it was made with.
        pub version: u32,
        /// As the interface means them.
        pub flags: u32,
        /// How often a primary one was retained.
        pub retained: u32,
        /// None where it is not active.
        pub session: Option<Session>,
    }

    /// What dies when a context is destroyed or reset.
    pub struct Session {
        /// Its number.
        pub id: u64,
        /// The fault that poisoned it.
        pub fault: Option<Fault>,
        /// Limits that the program asked for: bytes of stack.
        pub stack: u64,
        /// Bytes that kernels may print.
        pub printf_fifo: u64,
        /// Bytes that kernels may allocate.
        pub heap_limit: u64,
        /// Where kernels allocate, once they may.
        pub heap: Option<Heap>,
        /// Data attached to it: key and value.
        pub locals: Vec<(u64, u64)>,
        /// What kernels printed and the program has not seen yet.
        pub printed: Vec<u8>,
        /// Warnings about kernels so far.
        pub noticed: u64,
        /// Its lanes.
        pub lanes: Vec<Lane>,
        /// What new lanes wait for.
        pub gates: Vec<Point>,
    }

    /// Why a session takes no more work.
    pub struct Fault {
        /// Its kind, as errors are named.
        pub kind: String,
        /// What is said of it.
        pub text: String,
    }

    /// Memory that kernels allocate from.
    pub struct Heap {
        /// Its first byte.
        pub base: Address,
        /// Its size.
        pub bytes: u64,
    }

    /// A line of work of a device.
    pub struct Lane {
        /// Its number.
        pub lane: u64,
        /// What it is.
        pub kind: LaneKind,
        /// Its priority.
        pub priority: i32,
        /// What the program set, by the interface's numbers.
        pub attributes: Vec<(u32, [u32; 16])>,
    }

    /// What a lane is.
    pub enum LaneKind {
        /// The default lane: it waits for the blocking ones and they for it.
        #[default]
        0 = Default,
        /// It synchronises with the default lane.
        1 = Blocking,
        /// It does not.
        2 = Free,
        /// The default lane of a thread.
        3 = Thread {
            /// The thread, as the system numbers it.
            thread: u64,
        },
    }

    /// A place in the order of a lane.
    pub struct Point {
        /// The device.
        pub device: u32,
        /// The lane.
        pub lane: u64,
        /// Which operation of it; all before it are done when it is.
        pub serial: u64,
    }

    /// A thread of the program.
    pub struct Thread {
        /// As the system numbers it.
        pub thread: u64,
        /// Its contexts, the current one last.
        pub contexts: Vec<Handle>,
        /// The mode in which its captures interfere, as the interface counts.
        pub capture_mode: u8,
    }
}
