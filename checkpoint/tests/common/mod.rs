//! What the tests share: memory of a job that is not there, folders that go away, a job with something of everything.
#![allow(dead_code)]

use hetgpu_checkpoint::wire::{self, Address, Job, Range};
use hetgpu_checkpoint::{Digest, Sink, Source};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that look random and are the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut out: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        out.truncate(count);
        out
    }
}

/// Memory by the start of each range.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Ram(pub(crate) BTreeMap<u64, Vec<u8>>);

impl Ram {
    pub(crate) fn ranges(&self) -> Vec<Range> {
        self.0.iter().map(|(&start, bytes)| Range { start: Address(start), bytes: bytes.len() as u64 }).collect()
    }

    /// The same ranges, of something else than zeros.
    pub(crate) fn blank(&self) -> Self {
        Self(self.0.iter().map(|(&start, bytes)| (start, vec![0xcc; bytes.len()])).collect())
    }

    fn part(&self, at: u64, count: usize) -> Result<&[u8]> {
        let found = self.0.range(..=at).next_back();
        let part = found.and_then(|(start, bytes)| bytes.get((at - start) as usize..)?.get(..count));
        part.ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Source for Ram {
    fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(self.part(at, out.len())?);
        Ok(())
    }
}

/// Memory that is written to.
pub(crate) struct Target(pub(crate) Mutex<Ram>);

impl Sink for Target {
    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let mut ram = self.0.lock().unwrap();
        let found = ram.0.range_mut(..=at).next_back();
        let part = found.and_then(|(start, room)| room.get_mut((at - start) as usize..)?.get_mut(..bytes.len()));
        part.ok_or(ErrorKind::NotFound)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// A folder that goes with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hetgpu-checkpoint-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) const BASE: u64 = 0x10_0000_0000;
pub(crate) const CHUNK: usize = hetgpu_checkpoint::CHUNK as usize;

/// Ranges of all sizes, with zeros, with what is there twice, with borders everywhere.
pub(crate) fn ram(seed: u64) -> Ram {
    let mut random = Random(seed);
    let mut ram = Ram::default();
    let mut at = BASE;
    let twice = random.bytes(3 * CHUNK);
    for bytes in [1, 512, 4096, CHUNK, CHUNK + 1, 3 * CHUNK, 100 * CHUNK + 17, 5 << 20] {
        let mut contents = random.bytes(bytes);
        match random.below(4) {
            0 => contents.fill(0),
            1 if bytes > 2 * CHUNK => contents[CHUNK..].fill(0),
            _ => {}
        }
        ram.0.insert(at, contents);
        at = (at + bytes as u64 + random.below(1 << 20))
            .next_multiple_of([1, 512, 4096, 2 << 20][random.below(4) as usize]);
    }
    for _ in 0..2 {
        at = at.next_multiple_of(CHUNK as u64);
        ram.0.insert(at, twice.clone());
        at += twice.len() as u64;
    }
    ram
}

/// A job with something in every list that has its own kind of record.
pub(crate) fn job(text: wire::Blob) -> Job {
    use wire::*;
    let point = Point { device: 0, lane: 3, serial: 9 };
    let sampler = Sampler { border: [0.0, 0.5, 1.0, -1.0], level_range: [0.0, 4.0], ..Sampler::default() };
    let shape = LaunchShape {
        grid: [8, 4, 1],
        block: [128, 1, 1],
        cluster: [1, 1, 1],
        dynamic_shared: 1024,
        cooperative: false,
        params: (0..24).collect(),
    };
    let range = Range { start: Address(BASE), bytes: 2 << 20 };
    let allocation = |start, bytes, kind, origin| Allocation {
        start: Address(start),
        bytes,
        reserved: bytes,
        kind,
        session: 7,
        program: true,
        id: 1,
        name: "an allocation".into(),
        origin,
        ..Allocation::default()
    };
    Job {
        manifest: Manifest {
            written_by: "hetgpu-checkpoint's tests".into(),
            written_at: 1_800_000_000,
            host: "host".into(),
            process: 4242,
            program: vec!["./train".into(), "--epochs=3".into()],
            job: "example".into(),
            devices: vec![DeviceNote {
                kind: "cpu".into(),
                name: "a processor".into(),
                uuid: [9; 16],
                compute: [9, 0],
                memory: 16 << 30,
                used: 2 << 20,
                multiprocessors: 2,
            }],
            settings: vec![("HETGPU_DEVICE".into(), "cpu".into())],
            next_id: 99,
            frozen: 1500,
        },
        contexts: Contexts {
            contexts: vec![Context {
                handle: Handle(0x4300_0001_0000_0000),
                id: 1,
                primary: true,
                retained: 1,
                session: Some(Session {
                    id: 7,
                    stack: 1024,
                    heap_limit: 8 << 20,
                    heap: Some(Heap { base: Address(BASE + 4096), bytes: 8 << 20 }),
                    locals: vec![(1, 2)],
                    printed: b"hello".to_vec(),
                    lanes: vec![
                        Lane { lane: 3, kind: LaneKind::Blocking, priority: -1, attributes: vec![(1, [1; 16])] },
                        Lane { lane: 4, kind: LaneKind::Thread { thread: 4243 }, ..Lane::default() },
                    ],
                    gates: vec![point.clone()],
                    fault: Some(Fault { kind: "out-of-bounds".into(), text: "no".into() }),
                    ..Session::default()
                }),
                ..Context::default()
            }],
            threads: vec![Thread { thread: 4243, contexts: vec![Handle(0x4300_0001_0000_0000)], capture_mode: 0 }],
        },
        memory: Memory {
            next_id: 12,
            allocations: vec![
                allocation(BASE, 2 << 20, MemoryKind::Device, Origin::Own),
                allocation(BASE + (2 << 20), 100, MemoryKind::Device, Origin::Pool { identity: 5 }),
                Allocation {
                    wishes: vec![Wish {
                        pages: range.clone(),
                        read_mostly: true,
                        preferred: Some(Location::Host),
                        accessed_by: vec![Location::Device { device: 0 }, Location::HostNode { node: -1 }],
                        prefetched: None,
                    }],
                    ..allocation(BASE + (4 << 20), 4096, MemoryKind::Managed, Origin::Graph { live: true })
                },
                allocation(
                    BASE + (6 << 20),
                    2 << 20,
                    MemoryKind::Mapped,
                    Origin::Mapping { physical: 0, reserved: range.clone(), access: vec![(0, Access::ReadWrite)] },
                ),
            ],
            shared: vec![DeviceRange { device: 0, start: Address(BASE), bytes: 2 << 20 }],
            pools: vec![Pool {
                handle: Some(Handle(0x5000_0001_0000_0000)),
                identity: 5,
                reuse: [1, 1, 0],
                chunks: vec![PoolChunk {
                    range: range.clone(),
                    bytes: 2 << 20,
                    shared: false,
                    free: vec![range.clone()],
                }],
                pending: vec![PoolPending { range: range.clone(), device: 0, lane: 3, turn: 8 }],
                reached: vec![0],
                ..Pool::default()
            }],
            chosen: vec![ChosenPool::default()],
            reservations: vec![range.clone()],
            physical: vec![Physical {
                handle: None,
                count: 0,
                bytes: 2 << 20,
                contents: Some(text),
                ..Physical::default()
            }],
        },
        code: CodeTables {
            codes: vec![Code { name: "kernels.ptx".into(), image: None, text, hetir: Digest::of(b"hetir") }],
            modules: vec![Module {
                handle: Handle(0x4d00_0001_0000_0000),
                session: 7,
                code: 0,
                library: None,
                globals: vec![Address(BASE + 512)],
                functions: vec![KernelHandle { name: "saxpy".into(), carveout: Some(-1), ..KernelHandle::default() }],
            }],
            libraries: vec![Library { instances: vec![(7, Handle(0x4d00_0001_0000_0000))], ..Library::default() }],
            linkers: vec![Linker { compute: [9, 0], inputs: vec![text], ..Linker::default() }],
        },
        streams: Streams {
            streams: vec![Stream { handle: Handle(0x5300_0001_0000_0000), id: 2, session: 7, flags: 1, lane: 3 }],
            work: vec![
                Work {
                    point: point.clone(),
                    session: 7,
                    after: vec![point.clone()],
                    operation: Operation::Copy {
                        to: Place::Device { at: Address(BASE) },
                        from: Place::Bytes { contents: text },
                        shape: Shape { row: 4, rows: 1, slices: 1, ..Shape::default() },
                    },
                },
                Work { operation: Operation::Launch { number: 1 }, ..Work::default() },
                Work {
                    operation: Operation::WaitWord { at: Address(BASE), wide: true, compare: Compare::Equal, value: 3 },
                    ..Work::default()
                },
            ],
        },
        events: vec![Event {
            handle: Handle(0x4500_0001_0000_0000),
            timed: true,
            last: Recorded::Work { point: point.clone(), session: 7, passed: Some(5) },
            shared: Some(SharedEvent { recorded: 2, passed: 1 }),
            ..Event::default()
        }],
        texels: TexelTables {
            storages: vec![Storage {
                id: 1,
                description: ArrayDescription {
                    channels: 4,
                    extent: [8, 8, 1],
                    layers: 1,
                    ..ArrayDescription::default()
                },
                levels: 1,
                contents: vec![text],
                ..Storage::default()
            }],
            arrays: vec![Array { handle: Handle(0x6100_0001_0000_0000), storage: 1, ..Array::default() }],
            levels: vec![Levels { arrays: vec![Handle(1)], ..Levels::default() }],
            objects: vec![TexelObject {
                texels: Seen::Part { storage: 1, channel: Channel::F32, channels: 1, levels: [0, 1], layers: [0, 1] },
                sampler: sampler.clone(),
                ..TexelObject::default()
            }],
            references: vec![Reference { name: "tex".into(), sampler, ..Reference::default() }],
            next_handle: 0x7e00_0000_0002,
        },
        graphs: Graphs {
            graphs: vec![Graph {
                handle: Some(Handle(0x4700_0001_0000_0000)),
                next: 2,
                nodes: vec![Node {
                    handle: Handle(0x4e00_0001_0000_0000),
                    serial: 1,
                    before: vec![Edge { node: 0, ports: [1, 0, 1] }],
                    body: Body::Kernel {
                        session: 7,
                        named: Handle(5),
                        module: Handle(6),
                        kernel: 0,
                        launch: shape.clone(),
                        attributes: vec![(2, [3; 16])],
                    },
                    ..Node::default()
                }],
                conditions: vec![Condition { address: Address(BASE), default: Some(1), ..Condition::default() }],
                objects: vec![(Handle(9), 2)],
                ..Graph::default()
            }],
            executables: vec![Executable { last: Some(point), ..Executable::default() }],
            objects: vec![UserObject { handle: Handle(9), count: 2, destroy: (Address(1), Address(2)) }],
            captures: vec![Capture {
                members: vec![CaptureMember { frontier: vec![(Handle(1), [0; 3])], ..CaptureMember::default() }],
                ..Capture::default()
            }],
        },
        launches: vec![Launch {
            number: 1,
            grid_id: 17,
            session: 7,
            lane: 3,
            module: Handle(0x4d00_0001_0000_0000),
            name: "saxpy".into(),
            shape,
            progress: Progress::Suspended {
                suspension: Suspension {
                    flag: Address(BASE + 64),
                    flag_copies: 64,
                    left: Address(BASE + 128),
                    marks: Address(BASE + 256),
                    sequence: 2,
                    frames: Address(BASE + 1024),
                    frame_bytes: 4096,
                },
                left: 3,
            },
            ..Launch::default()
        }],
        frames: vec![Frames {
            launch: 1,
            code: Digest::of(b"hetir"),
            layout: 1,
            block_bytes: 2048,
            done: 29,
            fresh: 1,
            sites: vec![Site { number: 0, kind: "barrier".into(), line: 31, values: 5, bytes: 24 }],
            blocks: vec![
                SuspendedBlock { block: 29, threads: vec![(0, 128)], returned: 0 },
                SuspendedBlock { block: 30, threads: vec![(0, 96)], returned: 32 },
            ],
        }],
    }
}
