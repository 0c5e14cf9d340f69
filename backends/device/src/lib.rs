//! What a device offers to the runtime.
//!
//! A device is told *where* things go and does no planning of its own: addresses and the handles of images come from
//! the runtime, and so does the order of work, by way of queues. There is no allocator here, and no policy.
//!
//! - [`Device`] is what every device implements; one that does everything at once implements [`SyncDevice`] instead and
//!   goes into [`Queued`].
//! - [`conformance`] checks every promise made here on any device.
//! - [`Work`] is what a [`Queue`] is given: copies, fills, launches. A [`Mark`] is a point in a queue.
#![warn(missing_docs)]

pub mod conformance;

mod arena;
mod caps;
mod device;
mod error;
mod image;
mod images;
mod known;
mod numbers;
mod physical;
mod sync;
mod sys;
mod work;

pub use arena::{Arena, Fetched, PIECE, arena_memory};
pub use caps::{Caps, ImageCaps, Pci, SurfaceCaps};
pub use device::{
    Assembly, Cache, DIGEST_CHUNK, Device, HeapState, Importance, KernelAttributes, Log, Mark, Queue, Services,
    refuse_machine_code,
};
pub use error::{DeviceError, ErrorKind};
pub use image::{
    AddressMode, Channel, Compare, Dimensions, Filter, Format, ImageDescription, ImageId, ImageObject, ImagePlace,
    ImageView, LinearImage, Sampler, Texels,
};
pub use images::Images;
pub use known::KnownLaunch;
pub use numbers::{NumberHasher, NumberMap};
pub use physical::{Access, PHYSICAL_GRANULARITY, PhysicalId, PhysicalMemory};
pub use sync::{Queued, SyncDevice};
pub use sys::{HostBuffer, HostSpan, MEMORY_FILE, MemoryFile, ParamPointers};
pub use work::{
    Extent, Fill, Heap, Launch, Listener, LoadedModule, Outcome, Pattern, Place, Shape, Step, Transfer,
    WORKSPACE_BYTES, Work,
};
