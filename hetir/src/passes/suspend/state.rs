//! What a suspended launch leaves, seen from outside: the memory that it is given, what stands there afterwards, and how
//! another launch finds it.
//!
//! All of it lies in one piece of device memory. The *control block* comes first: the word that asks to stop, counters, and
//! addresses of the other parts. A thread that leaves takes the next frame; the threads of a block with shared memory take
//! a record together. The resuming launch is given tables that lead from block and thread to frame and record.

use super::{FRAME_HEADER, Plan};
use std::collections::BTreeMap;
use std::ops::Range;

/// Offsets in the control block. Fields are 8 bytes but for the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Control {
    /// 4 bytes: not 0 asks the launch to stop. It must not be cleared while the launch runs.
    Stop = 0,
    /// Frames taken.
    Frames = 64,
    /// Records taken.
    Records = 72,
    /// Where frames are stored.
    FrameArea = 80,
    /// Where records are stored.
    RecordArea = 88,
    /// Sixteen bytes a block of the grid, zero before: threads of it that have gathered (4 bytes), and behind 8 bytes its record
    /// and one.
    Marks = 96,
    /// Bytes of shared memory that a record has.
    SharedBytes = 104,
    /// To resume: for each block of the grid 4 bytes, its place among the suspended ones and one; 0 for one that begins.
    Blocks = 112,
    /// To resume: for each suspended block and thread 4 bytes, its frame and one; 0 for one that has ended.
    Threads = 120,
    /// To resume: where the frames are that were stored before.
    OldFrames = 128,
    /// To resume: where the shared memory of suspended blocks is, in their order.
    OldShared = 136,
    /// For tests: so many sites are passed before the kernel asks itself to stop; 0 for never.
    Force = 144,
    /// A byte for each thread of the grid, zero before: whether it has stored itself and has still to meet its warp.
    Stored = 152,
    /// The end.
    Bytes = 256,
}

/// The largest grid whose blocks can be suspended in their middle, and most threads that can be.
pub const MOST_BLOCKS: u64 = 1 << 26;
/// See [`MOST_BLOCKS`]. Each thread of the grid has room for a frame: nothing in the kernel looks whether there is.
pub const MOST_THREADS: u64 = 1 << 20;

/// The shape of a launch, as far as its state depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block.
    pub block: [u32; 3],
    /// Bytes of shared memory beyond the static variables.
    pub dynamic_shared: u32,
}

impl Shape {
    fn blocks(&self) -> u64 {
        self.grid.iter().fold(1u64, |p, &n| p.saturating_mul(n.into()))
    }
    fn threads(&self) -> u64 {
        self.block.iter().map(|&n| u64::from(n)).product()
    }
}

/// A suspended block.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BlockState {
    /// Frames of the threads that have not ended, without their headers, with their sites.
    pub threads: BTreeMap<u32, (u32, Vec<u8>)>,
    /// Its shared memory.
    pub shared: Vec<u8>,
}

/// The suspended blocks of a launch, by number in the grid.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// Blocks of which at least one thread has not ended.
    pub blocks: BTreeMap<u64, BlockState>,
}

/// Where the parts of a launch's memory lie, behind its beginning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Areas {
    frames: u64,
    records: u64,
    marks: u64,
    stored: u64,
    tables: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Shared memory of a block: its bytes, and from one record to the next.
    shared: u64,
    record: u64,
    stride: u64,
    most_frames: u64,
    most_records: u64,
    blocks: u64,
    threads: u64,
}

/// Why what a launch left is not what the kernel leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Broken<E> {
    /// Memory could not be read.
    Memory(E),
    /// What stands there cannot be.
    Contents(String),
}

fn align(bytes: u64) -> u64 {
    bytes.next_multiple_of(64)
}

impl Plan {
    /// The memory of a launch of that shape; nothing where the grid is too large or the kernel has no sites. A resuming launch
    /// needs more: [`Areas::resuming`].
    pub fn areas(&self, shape: &Shape) -> Option<Areas> {
        let (blocks, threads) = (shape.blocks(), shape.threads());
        if !self.has_sites() || blocks > MOST_BLOCKS || threads == 0 || blocks.saturating_mul(threads) > MOST_THREADS {
            return None;
        }
        let shared = self.shared_bytes(shape.dynamic_shared);
        let record = shared.next_multiple_of(16);
        let most_frames = blocks.saturating_mul(threads);
        let most_records = if self.has_shared { most_frames.div_ceil(threads) } else { 0 };
        let frames = u64::from(Control::Bytes as u32);
        let stride = u64::from(self.frame_bytes);
        let marks = align(frames + most_frames * stride);
        let stored = align(marks + if self.has_shared { blocks * 16 } else { 0 });
        let meets = self.meetings.iter().any(Option::is_some);
        let records = align(stored + if meets { most_frames } else { 0 });
        let tables = align(records + most_records * record);
        Some(Areas {
            frames,
            records,
            marks,
            stored,
            tables,
            bytes: tables,
            shared,
            record,
            stride,
            most_frames,
            most_records,
            blocks,
            threads,
        })
    }

    /// Whether a state is one that this kernel can have left.
    pub fn accepts(&self, areas: &Areas, state: &State) -> Result<(), String> {
        for (number, block) in &state.blocks {
            let wrong = |what: &str| Err(format!("block {number}: {what}"));
            if *number >= areas.blocks {
                return wrong("the grid has no such block");
            }
            if block.shared.len() as u64 != areas.shared {
                return wrong("shared memory of another size");
            }
            for (thread, (site, frame)) in &block.threads {
                if u64::from(*thread) >= areas.threads {
                    return wrong("it has no such thread");
                }
                if *site as usize >= self.sites.len() {
                    return wrong("a thread is at a site that the kernel does not have");
                }
                if frame.len() as u64 + u64::from(FRAME_HEADER) != areas.stride {
                    return wrong("a frame of another size");
                }
            }
        }
        Ok(())
    }

    /// The sites that threads are at.
    pub fn used_sites(&self, state: &State) -> Vec<u32> {
        let sites = state.blocks.values().flat_map(|b| b.threads.values()).map(|t| t.0);
        sites.collect::<std::collections::BTreeSet<u32>>().into_iter().collect()
    }
}

impl Areas {
    /// The bytes that stand at the beginning of a launch's memory, which is zero otherwise, when it lies at `at`.
    pub fn control(&self, at: u64) -> Vec<u8> {
        let mut bytes = vec![0; Control::Bytes as usize];
        put(&mut bytes, Control::FrameArea, at + self.frames);
        put(&mut bytes, Control::RecordArea, at + self.records);
        put(&mut bytes, Control::Marks, at + self.marks);
        put(&mut bytes, Control::Stored, at + self.stored);
        put(&mut bytes, Control::SharedBytes, self.shared);
        bytes
    }

    /// What the launch left that ran with this memory at `at`. `read` reads device memory.
    pub fn collect<E>(
        &self,
        at: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<State, Broken<E>> {
        let mut get = |from: u64, bytes: u64| -> Result<Vec<u8>, Broken<E>> {
            let mut out = vec![0; bytes as usize];
            read(at + from, &mut out).map_err(Broken::Memory)?;
            Ok(out)
        };
        let broken = |what: String| Err(Broken::Contents(what));
        let control = get(0, Control::Bytes as u64)?;
        let frames = take(&control, Control::Frames as usize);
        if frames > self.most_frames {
            return broken(format!("{frames} frames, and there is room for {}", self.most_frames));
        }
        let all = get(self.frames, frames * self.stride)?;
        let mut state = State::default();
        for frame in all.chunks_exact(self.stride as usize) {
            let (block, thread) = (take(frame, 0), u32::from_le_bytes(word(frame, 8)));
            let site = u32::from_le_bytes(word(frame, 12));
            if block >= self.blocks || u64::from(thread) >= self.threads {
                return broken(format!("a frame of thread {thread} of block {block}"));
            }
            let kept = frame[FRAME_HEADER as usize..].to_vec();
            let block = state.blocks.entry(block).or_default();
            if block.threads.insert(thread, (site, kept)).is_some() {
                return broken(format!("two frames of thread {thread} of one block"));
            }
        }
        if self.shared > 0 {
            for (&number, block) in &mut state.blocks {
                let mark = get(self.marks + number * 16, 16)?;
                let record = take(&mark, 8);
                if record == 0 || record > self.most_records {
                    return broken(format!("block {number} has record {record} of {}", self.most_records));
                }
                block.shared = get(self.records + (record - 1) * self.record, self.shared)?;
            }
        }
        Ok(state)
    }

    /// The same with room behind it for what a launch needs to go on from a state.
    pub fn resuming(&self, state: &State) -> Self {
        let tables = Tables::of(self, state);
        Self { bytes: tables.end, ..self.clone() }
    }

    /// The control block of a launch that goes on from a state, when its memory lies at `at`, and other bytes with their
    /// addresses. The rest is zero.
    pub fn resume(&self, at: u64, state: &State) -> (Vec<u8>, Vec<(u64, Vec<u8>)>) {
        let tables = Tables::of(self, state);
        let mut control = self.control(at);
        put(&mut control, Control::Blocks, at + tables.blocks);
        put(&mut control, Control::Threads, at + tables.threads);
        put(&mut control, Control::OldFrames, at + tables.frames);
        put(&mut control, Control::OldShared, at + tables.shared);
        let mut pieces = Vec::new();
        let mut threads = vec![0u8; (state.blocks.len() as u64 * self.threads * 4) as usize];
        let (mut frames, mut shared) = (Vec::new(), Vec::new());
        let mut count = 0u32;
        for (place, (number, block)) in (0u32..).zip(&state.blocks) {
            pieces.push((at + tables.blocks + number * 4, (place + 1).to_le_bytes().to_vec()));
            for (thread, (site, kept)) in &block.threads {
                count += 1;
                let entry = (u64::from(place) * self.threads + u64::from(*thread)) as usize * 4;
                threads[entry..entry + 4].copy_from_slice(&count.to_le_bytes());
                frames.extend(number.to_le_bytes());
                frames.extend(thread.to_le_bytes());
                frames.extend(site.to_le_bytes());
                frames.extend(kept);
            }
            shared.extend(&block.shared);
            shared.resize(shared.len().next_multiple_of(16), 0);
        }
        pieces.push((at + tables.threads, threads));
        pieces.push((at + tables.frames, frames));
        pieces.push((at + tables.shared, shared));
        pieces.retain(|(_, bytes)| !bytes.is_empty());
        (control, pieces)
    }

    /// What a launch left that was to go on from a state, when it did not begin these blocks.
    pub fn carry(earlier: &State, unstarted: &[Range<u64>], mut now: State) -> State {
        for (number, block) in &earlier.blocks {
            if unstarted.iter().any(|r| r.contains(number)) {
                now.blocks.insert(*number, block.clone());
            }
        }
        now
    }
}

/// Where the tables of a resuming launch lie.
struct Tables {
    blocks: u64,
    threads: u64,
    frames: u64,
    shared: u64,
    end: u64,
}

impl Tables {
    fn of(areas: &Areas, state: &State) -> Self {
        let suspended = state.blocks.len() as u64;
        let kept: u64 = state.blocks.values().map(|b| b.threads.len() as u64).sum();
        let threads = align(areas.tables + areas.blocks * 4);
        let frames = align(threads + suspended * areas.threads * 4);
        let shared = align(frames + kept * areas.stride);
        Self { blocks: areas.tables, threads, frames, shared, end: align(shared + suspended * areas.record) }
    }
}

fn put(bytes: &mut [u8], field: Control, value: u64) {
    let at = field as usize;
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn take(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

fn word(bytes: &[u8], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}
