//! Graphs and captures.

use super::{Address, Compare, Handle, LaunchShape, Place, Point, Shape};
use crate::codec::wire;

wire! {
    /// Graphs and captures.
    pub struct Graphs {
        /// Graphs, those inside of nodes too.
        pub graphs: Vec<Graph>,
        /// Executables, and what is left of destroyed ones that still run.
        pub executables: Vec<Executable>,
        /// Objects of the program that graphs keep alive.
        pub objects: Vec<UserObject>,
        /// Captures under way.
        pub captures: Vec<Capture>,
    }

    /// A graph.
    pub struct Graph {
        /// Its handle; none for what only an executable holds.
        pub handle: Option<Handle>,
        /// The next node's number.
        pub next: u64,
        /// It belongs to a node.
        pub embedded: bool,
        /// The graph that it is a copy of.
        pub original: Option<Handle>,
        /// Its nodes, in the order of their creation.
        pub nodes: Vec<Node>,
        /// Its conditions.
        pub conditions: Vec<Condition>,
        /// Objects that it holds, and how often.
        pub objects: Vec<(Handle, u64)>,
    }

    /// A node.
    pub struct Node {
        /// Its handle.
        pub handle: Handle,
        /// Its number in its graph.
        pub serial: u64,
        /// The node that it is a copy of.
        pub original: Option<Handle>,
        /// The nodes that it depends on.
        pub before: Vec<Edge>,
        /// What it does.
        pub body: Body,
    }

    /// A dependency.
    pub struct Edge {
        /// The other node's number.
        pub node: u64,
        /// Ports and kind.
        pub ports: [u8; 3],
    }

    /// What a node does.
    pub enum Body {
        /// Nothing.
        #[default]
        0 = Empty,
        /// Launches a kernel.
        1 = Kernel {
            /// Its session.
            session: u64,
            /// The function, or the library's kernel, that the program named.
            named: Handle,
            /// The module in that session.
            module: Handle,
            /// Which kernel of the module.
            kernel: u32,
            /// How it is launched.
            launch: LaunchShape,
            /// What the program set, by the interface's numbers.
            attributes: Vec<(u32, [u32; 16])>,
        },
        /// Copies.
        2 = Copy {
            /// Its session.
            session: u64,
            /// Where to.
            to: Place,
            /// Where from.
            from: Place,
            /// How much.
            shape: Shape,
            /// The program's request in the interface's own layout.
            given: Vec<u8>,
        },
        /// Fills.
        3 = Fill {
            /// Its session.
            session: u64,
            /// Where.
            at: Address,
            /// What.
            pattern: Vec<u8>,
            /// Patterns a row.
            count: u64,
            /// Rows.
            rows: u64,
            /// Bytes from row to row.
            pitch: u64,
        },
        /// Calls a function of the program.
        4 = Host {
            /// The function.
            function: Address,
            /// What it is given.
            data: Address,
        },
        /// Does what another graph says.
        5 = Child {
            /// Which, by its place in the list.
            graph: u32,
        },
        /// Records an event.
        6 = EventRecord {
            /// Which.
            event: Handle,
        },
        /// Waits for an event.
        7 = EventWait {
            /// Which.
            event: Handle,
        },
        /// Allocates.
        8 = Allocate {
            /// The memory.
            at: Address,
            /// Its size.
            bytes: u64,
            /// Its device.
            device: u32,
        },
        /// Frees.
        9 = Free {
            /// The memory.
            at: Address,
        },
        /// Operates on words of memory.
        10 = Batch {
            /// Its session.
            session: u64,
            /// In order.
            operations: Vec<WordOperation>,
            /// The program's request in the interface's own layout.
            given: Vec<u8>,
        },
        /// Does what other graphs say, as a condition says.
        11 = Conditional {
            /// The condition.
            condition: Address,
            /// If, while, switch: 0, 1, 2.
            kind: u8,
            /// The graphs, by their places in the list.
            bodies: Vec<u32>,
        },
    }

    /// An operation on a word of memory.
    pub enum WordOperation {
        /// Writes before it are seen before those behind it.
        #[default]
        0 = Barrier,
        /// Waits.
        1 = Wait {
            /// Where.
            at: Address,
            /// It has 64 bits.
            wide: bool,
            /// What it must be.
            compare: Compare,
            /// Beside this.
            value: u64,
        },
        /// Writes.
        2 = Write {
            /// Where.
            at: Address,
            /// It has 64 bits.
            wide: bool,
            /// What.
            value: u64,
        },
    }

    /// A word that kernels set.
    pub struct Condition {
        /// Where; that is its handle too.
        pub address: Address,
        /// What launches set it to.
        pub default: Option<u32>,
        /// Its session.
        pub session: u64,
        /// A node has it.
        pub taken: bool,
        /// Its number.
        pub id: u64,
    }

    /// A graph that can be launched.
    pub struct Executable {
        /// Its handle; none where only its launches are left.
        pub handle: Option<Handle>,
        /// As the interface means them.
        pub flags: u64,
        /// Launches free first what earlier ones allocated.
        pub free_before_launch: bool,
        /// What it does: a graph without a handle, by its place in the list.
        pub graph: u32,
        /// The graph that it was made of last.
        pub made_of: Option<Handle>,
        /// Nodes that do nothing.
        pub disabled: Vec<Handle>,
        /// The session that its lanes are in.
        pub session: Option<u64>,
        /// Its lanes behind the first.
        pub lanes: Vec<u64>,
        /// Where its last launch ends.
        pub last: Option<Point>,
        /// Objects that it holds, and how often.
        pub objects: Vec<(Handle, u64)>,
    }

    /// An object of the program.
    pub struct UserObject {
        /// Its handle.
        pub handle: Handle,
        /// References of the program and of graphs.
        pub count: u64,
        /// The function that destroys it, and what that is given.
        pub destroy: (Address, Address),
    }

    /// A capture under way.
    pub struct Capture {
        /// Its number.
        pub id: u64,
        /// The graph that it makes.
        pub graph: Handle,
        /// It made the graph.
        pub owned: bool,
        /// As the interface counts them.
        pub mode: u8,
        /// The thread that began it.
        pub thread: u64,
        /// The device and lane where it was begun.
        pub origin: (u32, u64),
        /// Nothing has gone wrong.
        pub valid: bool,
        /// The lanes in it.
        pub members: Vec<CaptureMember>,
    }

    /// A lane in a capture.
    pub struct CaptureMember {
        /// The device.
        pub device: u32,
        /// The lane.
        pub lane: u64,
        /// What its next node depends on: the node, ports and kind.
        pub frontier: Vec<(Handle, [u8; 3])>,
    }
}
