//! Streams, what they hold, and events.

use super::{Address, Blob, Handle, Point};
use crate::codec::wire;

wire! {
    /// Streams and what they hold.
    pub struct Streams {
        /// Streams that the program has handles of.
        pub streams: Vec<Stream>,
        /// Work that is not done, by device and in an order in which it may be appended.
        pub work: Vec<Work>,
    }

    /// A stream.
    pub struct Stream {
        /// Its handle.
        pub handle: Handle,
        /// Its number.
        pub id: u64,
        /// Its session.
        pub session: u64,
        /// As the interface means them.
        pub flags: u32,
        /// Its lane.
        pub lane: u64,
    }

    /// An operation that is not done.
    pub struct Work {
        /// Where it stands.
        pub point: Point,
        /// Its session.
        pub session: u64,
        /// What must be done before, beside what stands before it in its lane.
        pub after: Vec<Point>,
        /// What to do.
        pub operation: Operation,
    }

    /// What to do.
    pub enum Operation {
        /// Only the order that it stands for.
        #[default]
        0 = Nothing,
        /// Copy rows.
        1 = Copy {
            /// Where to.
            to: Place,
            /// Where from.
            from: Place,
            /// How much.
            shape: Shape,
        },
        /// Write a pattern over and over.
        2 = Fill {
            /// Where.
            at: Address,
            /// 1, 2, 4, 8 or 16 bytes.
            pattern: Vec<u8>,
            /// Patterns a row.
            count: u64,
            /// Rows.
            rows: u64,
            /// Bytes from one row to the next.
            pitch: u64,
        },
        /// A kernel, in the list of launches.
        3 = Launch {
            /// Its number there.
            number: u64,
        },
        /// An event is passed.
        4 = Stamp {
            /// The event; none where the program has destroyed it.
            event: Option<Handle>,
        },
        /// A part of a graph's launch.
        5 = Graph {
            /// The executable, by its place in the list.
            executable: u32,
            /// Which launch of it.
            launch: u64,
            /// The part, in the order of the plan that is made of it.
            segment: u32,
        },
        /// Wait for a word of memory.
        6 = WaitWord {
            /// Where.
            at: Address,
            /// It has 64 bits.
            wide: bool,
            /// What it must be.
            compare: Compare,
            /// Beside this.
            value: u64,
        },
        /// Write a word of memory.
        7 = WriteWord {
            /// Where.
            at: Address,
            /// It has 64 bits.
            wide: bool,
            /// What.
            value: u64,
        },
        /// Wait for a recording of an event that other processes see.
        8 = WaitShared {
            /// The event.
            event: Handle,
            /// Which recording.
            count: u64,
        },
        /// A function of the program, which is there after a restore only in the process that was saved with it.
        9 = Host {
            /// The function.
            function: Address,
            /// What it is given.
            data: Address,
            /// It is told of faults.
            hears_faults: bool,
        },
        /// Memory of a pool is free from here on.
        10 = PoolFree {
            /// The pool's identity.
            pool: u64,
            /// Which free.
            turn: u64,
        },
        /// Managed memory is brought to where it was wished.
        11 = Prefetch {
            /// First byte.
            at: Address,
            /// Bytes.
            bytes: u64,
        },
        /// Contents of managed memory are given up.
        12 = Discard {
            /// First byte.
            at: Address,
            /// Bytes.
            bytes: u64,
        },
    }

    /// One side of a copy.
    pub enum Place {
        /// Nowhere yet.
        #[default]
        0 = Nowhere,
        /// Memory at a logical address.
        1 = Device {
            /// Which.
            at: Address,
        },
        /// The host's memory.
        2 = Host {
            /// Where.
            at: Address,
        },
        /// Bytes that were read when the copy was asked for.
        3 = Bytes {
            /// These.
            contents: Blob,
        },
        /// Memory of another device.
        4 = Elsewhere {
            /// Which device.
            device: u32,
            /// Where.
            at: Address,
        },
        /// Texels.
        5 = Texels {
            /// Their storage.
            storage: u64,
            /// The level.
            level: u32,
            /// The first texel: column, row, slice or layer.
            origin: [u32; 3],
        },
    }

    /// Rows and slices.
    pub struct Shape {
        /// Bytes of a row.
        pub row: u64,
        /// Rows of a slice.
        pub rows: u64,
        /// Slices.
        pub slices: u64,
        /// Bytes from row to row at the source.
        pub from_pitch: u64,
        /// And at the destination.
        pub to_pitch: u64,
        /// Bytes from slice to slice at the source.
        pub from_slice: u64,
        /// And at the destination.
        pub to_slice: u64,
    }

    /// When a wait for a word is over.
    pub enum Compare {
        /// It is not before the value, in a circle of all values.
        #[default]
        0 = Reached,
        /// It is the value.
        1 = Equal,
        /// It has one of the value's bits.
        2 = AnyBit,
        /// It lacks a bit that the value lacks too.
        3 = NoBit,
    }

    /// An event.
    pub struct Event {
        /// Its handle.
        pub handle: Handle,
        /// Its session.
        pub session: u64,
        /// As the interface means them.
        pub flags: u32,
        /// Time between two of them can be asked for.
        pub timed: bool,
        /// What it stands for.
        pub last: Recorded,
        /// Other processes see it.
        pub shared: Option<SharedEvent>,
    }

    /// What an event stands for.
    pub enum Recorded {
        /// Nothing: it was never recorded.
        #[default]
        0 = Nothing,
        /// Work.
        1 = Work {
            /// Up to here.
            point: Point,
            /// The session of that work.
            session: u64,
            /// When it was passed: nanoseconds before the snapshot. None where it is ahead.
            passed: Option<u64>,
        },
        /// Nodes of a graph that is being captured.
        2 = Captured {
            /// The capture.
            capture: u64,
            /// The nodes.
            frontier: Vec<Handle>,
        },
    }

    /// Counters of an event that other processes see.
    pub struct SharedEvent {
        /// Recordings so far.
        pub recorded: u64,
        /// The latest that was passed.
        pub passed: u64,
    }
}
