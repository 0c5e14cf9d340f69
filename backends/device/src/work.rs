//! What a queue is given to do.

use crate::{DeviceError, ErrorKind, HostSpan, ImagePlace};
use hetir::blocks::Blocks;
use hetir::diag::Diagnostic;
use hetir::entity::FuncId;
use std::ops::Range;
use std::sync::Arc;

/// A module that a device has loaded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LoadedModule(pub u64);

/// Memory that device-side allocation takes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heap {
    /// First address, a multiple of 16.
    pub base: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One piece of work.
#[derive(Clone, Debug)]
pub enum Work {
    /// Bytes from one place to another.
    Copy(Transfer),
    /// A pattern over and over.
    Fill(Fill),
    /// A kernel.
    Launch(Box<Launch>),
}

/// One piece of an assembly.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub work: Work,
    /// The numbers of the steps that are done before; all of them are smaller than its own.
    pub after: Vec<usize>,
}

/// One side of a copy.
#[derive(Clone, Debug)]
pub enum Place {
    /// Memory at a logical address: the device's, what it shares with the host, and what it reaches of a peer.
    Device(u64),
    /// Host memory. It is read or written at some time between submission and the end of the work.
    Host(HostSpan),
    /// Texels.
    Image(ImagePlace),
}

/// A copy of rows. At least one side is the device's.
///
/// A single row between two ranges of device memory that overlap arrives as if it had been read first; where several
/// rows are copied, the two sides have no byte in common.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Where to.
    pub to: Place,
    /// Where from.
    pub from: Place,
    /// How much, and how far apart.
    pub shape: Shape,
}

/// Rows of `row` bytes, `rows` to a slice, `slices` of them. The pitches of an image's side are the image's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shape {
    /// Bytes of a row; whole texels where a side is an image.
    pub row: u64,
    /// Rows of a slice.
    pub rows: u64,
    /// Slices.
    pub slices: u64,
    /// Bytes from one row to the next at the source, and at the destination.
    pub from_pitch: u64,
    /// See `from_pitch`.
    pub to_pitch: u64,
    /// Bytes from one slice to the next at the source, and at the destination.
    pub from_slice: u64,
    /// See `from_slice`.
    pub to_slice: u64,
}

impl Shape {
    /// One row.
    pub fn line(bytes: u64) -> Self {
        Self { row: bytes, rows: 1, slices: 1, ..Self::default() }
    }

    /// Rows and slices without gaps on both sides.
    pub fn packed(row: u64, rows: u64, slices: u64) -> Self {
        let slice = row.saturating_mul(rows);
        Self { row, rows, slices, from_pitch: row, to_pitch: row, from_slice: slice, to_slice: slice }
    }

    /// True where nothing is copied.
    pub fn is_empty(&self) -> bool {
        self.row == 0 || self.rows == 0 || self.slices == 0
    }

    fn span(&self, pitch: u64, slice: u64) -> Option<u64> {
        if self.is_empty() {
            return Some(0);
        }
        let (slices, rows) = ((self.slices - 1).checked_mul(slice)?, (self.rows - 1).checked_mul(pitch)?);
        slices.checked_add(rows)?.checked_add(self.row)
    }

    /// Bytes from the first to the last that the source side touches; none where they are too many for an address.
    pub fn from_span(&self) -> Option<u64> {
        self.span(self.from_pitch, self.from_slice)
    }

    /// Bytes from the first to the last that the destination side touches; none where they are too many.
    pub fn to_span(&self) -> Option<u64> {
        self.span(self.to_pitch, self.to_slice)
    }
}

/// `pattern` over and over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Where: a multiple of the pattern's length.
    pub at: u64,
    /// What.
    pub pattern: Pattern,
    /// Patterns a row.
    pub count: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes from one row to the next: a multiple of the pattern's length.
    pub pitch: u64,
}

impl Fill {
    /// One row.
    pub fn line(at: u64, pattern: Pattern, count: u64) -> Self {
        Self { at, pattern, count, rows: 1, pitch: 0 }
    }
}

/// 1, 2, 4, 8 or 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pattern {
    bytes: [u8; 16],
    length: u8,
}

impl Pattern {
    /// These bytes, if they are as many as a pattern may have.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut pattern = Self { bytes: [0; 16], length: bytes.len() as u8 };
        if ![1, 2, 4, 8, 16].contains(&bytes.len()) {
            return None;
        }
        pattern.bytes[..bytes.len()].copy_from_slice(bytes);
        Some(pattern)
    }

    /// One byte.
    pub fn byte(byte: u8) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = byte;
        Self { bytes, length: 1 }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Memory that a grid barrier uses.
pub const WORKSPACE_BYTES: u64 = 4096;

/// One launch of a kernel. The runtime has checked it against the device's limits and the kernel's bounds.
#[derive(Clone)]
pub struct Launch {
    /// What `Device::load` returned.
    pub module: LoadedModule,
    /// The kernel.
    pub kernel: FuncId,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block.
    pub block: [u32; 3],
    /// Blocks a cluster; all 1 without clusters.
    pub cluster: [u32; 3],
    /// Bytes of shared memory beyond the static variables.
    pub dynamic_shared: u32,
    /// The kernel's parameters.
    pub params: Arc<[u8]>,
    /// All blocks are resident and may wait for each other.
    pub cooperative: bool,
    /// Memory for the grid barrier of a cooperative launch, [`WORKSPACE_BYTES`], or 0. It holds zeros when the launch begins.
    pub workspace: u64,
    /// The device sees to that.
    pub clears_workspace: bool,
    /// Numbers the launches of a context.
    pub grid_id: u64,
    /// For device-side allocation, if there is any.
    pub heap: Option<Heap>,
    /// The multiprocessors that it may run on, at least one of them; none for all.
    pub multiprocessors: Option<Arc<[u32]>>,
    /// Which blocks run. All but the whole grid need `Caps::suspends`.
    pub blocks: Blocks,
    /// The logical address of a 32-bit word that asks the launch to stop: while it is not 0, no further block is begun.
    /// It is set from another queue or by the host while the launch runs. 0 for none; else it needs `Caps::suspends`.
    pub stop: u64,
    /// Hears of it.
    pub listener: Arc<dyn Listener>,
}

impl Launch {
    /// A plain launch of one block of one thread that nobody listens to.
    pub fn new(module: LoadedModule, kernel: FuncId) -> Self {
        Self {
            module,
            kernel,
            grid: [1; 3],
            block: [1; 3],
            cluster: [1; 3],
            dynamic_shared: 0,
            params: Arc::new([]),
            cooperative: false,
            workspace: 0,
            clears_workspace: false,
            grid_id: 1,
            heap: None,
            multiprocessors: None,
            blocks: Blocks::default(),
            stop: 0,
            listener: Arc::new(()),
        }
    }

    /// The same of some of its blocks, which nobody asks to stop.
    pub fn part(&self, blocks: Range<u64>) -> Self {
        Self { blocks: Blocks::some([blocks]), stop: 0, ..self.clone() }
    }
}

/// How much of a grid a launch runs, as far as a device has code for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What [`Queue::run_parts`](crate::Queue::run_parts) runs at a time.
    Part,
    /// What is left of a launch that was stopped.
    Rest,
}

impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { module, kernel, grid, block, .. } = self;
        f.debug_struct("Launch")
            .field("module", module)
            .field("kernel", kernel)
            .field("grid", grid)
            .field("block", block)
            .finish_non_exhaustive()
    }
}

/// How a launch ended that did not fail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Every block was begun, and every thread has ended.
    Finished,
    /// It was asked to stop, and every thread of the blocks that were begun has ended.
    Stopped {
        /// The blocks that were not begun, in the order in which they would have been; clusters where it has such.
        unstarted: Vec<Range<u64>>,
    },
}

impl Outcome {
    /// That of a launch which did not begin these blocks.
    pub fn of(unstarted: Vec<Range<u64>>) -> Self {
        if unstarted.is_empty() { Self::Finished } else { Self::Stopped { unstarted } }
    }
}

/// Hears of a launch: on any thread, in the order of events, and before a mark behind the launch is seen to be passed.
pub trait Listener: Send + Sync {
    /// What the kernel prints.
    fn print(&self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// What failed assertions say.
    fn complain(&self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// What was noticed and did no harm.
    fn warn(&self, warning: &Diagnostic) {
        let _ = warning;
    }

    /// The last that is heard of a launch that did not fail.
    fn ended(&self, outcome: Outcome) {
        let _ = outcome;
    }
}

/// Nobody.
impl Listener for () {}

impl Work {
    /// What is wrong with it on any device, whatever is mapped there.
    pub fn check(&self) -> Result<(), DeviceError> {
        let wrong = match self {
            Self::Copy(Transfer { to: Place::Host(_), from: Place::Host(_), .. }) => {
                return Err(DeviceError::new(ErrorKind::NotSupported, "a copy between two places of the host"));
            }
            Self::Copy(Transfer { to, from, shape }) => transfer_wrong(to, from, shape),
            Self::Fill(fill) => {
                let size = fill.pattern.bytes().len() as u64;
                let row = fill.count.checked_mul(size);
                let shape = row.map(|row| Shape { rows: fill.rows, to_pitch: fill.pitch, ..Shape::line(row) });
                let span = shape.and_then(|shape| shape.to_span());
                match span {
                    None => Some("a fill that reaches past the end of the address space"),
                    Some(span) if fill.at.checked_add(span).is_none() => Some("a fill past the end of the addresses"),
                    Some(0) => None,
                    Some(_) if !fill.at.is_multiple_of(size) => Some("a fill that is not aligned to its pattern"),
                    Some(_) if fill.rows > 1 && !fill.pitch.is_multiple_of(size) => {
                        Some("a pitch that splits a pattern")
                    }
                    Some(_) => None,
                }
            }
            Self::Launch(_) => None,
        };
        wrong.map_or(Ok(()), |wrong| Err(DeviceError::new(ErrorKind::InvalidRequest, wrong)))
    }
}

fn transfer_wrong(to: &Place, from: &Place, shape: &Shape) -> Option<&'static str> {
    let (Some(to_span), Some(from_span)) = (shape.to_span(), shape.from_span()) else {
        return Some("a copy that reaches past the end of the address space");
    };
    for (place, span) in [(to, to_span), (from, from_span)] {
        match place {
            Place::Device(at) if at.checked_add(span).is_none() => return Some("a copy past the end of the addresses"),
            Place::Host(host) if host.bytes() as u64 >= span => {}
            Place::Host(_) => return Some("a copy of more bytes than the host's span has"),
            Place::Device(_) | Place::Image(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_end_at_the_last_byte_touched() {
        let shape = Shape { rows: 3, from_pitch: 16, to_pitch: 8, ..Shape::line(8) };
        assert_eq!((shape.from_span(), shape.to_span()), (Some(40), Some(24)));
        let cube = Shape { slices: 2, from_slice: 64, ..shape };
        assert_eq!(cube.from_span(), Some(104));
        assert_eq!(Shape { rows: 0, ..shape }.from_span(), Some(0));
        assert_eq!(Shape { rows: u64::MAX, ..shape }.from_span(), None);
        assert_eq!(Shape::packed(4, 3, 2).to_span(), Some(24));
    }

    #[test]
    fn patterns_have_the_lengths_of_numbers() {
        assert_eq!(Pattern::new(&[7]), Some(Pattern::byte(7)));
        assert_eq!(Pattern::new(&[1; 16]).unwrap().bytes(), [1; 16]);
        assert!([0, 3, 5, 17].iter().all(|&length| Pattern::new(&vec![0; length]).is_none()));
    }
}
