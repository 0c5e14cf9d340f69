//! Snapshots of jobs: the file format, the chunk store, verification, and the way to another machine.
//!
//! This crate knows nothing of devices and of the runtime: it is given a description of a job (`wire`) and the job's memory,
//! and gives both back. A snapshot is one file of mode 0600 in a folder of mode 0700.
//!
//! # Saving
//! ```no_run
//! # fn save(memory: &dyn hetgpu_checkpoint::Source) -> hetgpu_checkpoint::Result<()> {
//! use hetgpu_checkpoint::{Store, WriteOptions, wire};
//! let store = Store::open("snapshots".as_ref())?;
//! let base = store.load("before").ok().map(std::sync::Arc::new);
//! let mut writer = store.write("now", WriteOptions { base, ..WriteOptions::default() })?;
//! let mut job = wire::Job::default();
//! let text = writer.blob(b"...")?;
//! job.code.codes.push(wire::Code { text, ..wire::Code::default() });
//! let range = wire::Range { start: wire::Address(0x10_0000_0000), bytes: 2 << 20 };
//! // Many threads read `memory`; when this returns it is no longer needed, and the job may run.
//! writer.memory(&[range], memory)?;
//! // From here on the snapshot is there, also after a failure of power. A writer that is dropped before leaves nothing.
//! writer.finish(&job)?;
//! # Ok(()) }
//! ```
//!
//! # Restoring
//! ```no_run
//! # fn restore(memory: &dyn hetgpu_checkpoint::Sink) -> hetgpu_checkpoint::Result<()> {
//! use hetgpu_checkpoint::{ReadOptions, Store};
//! let snapshot = Store::open("snapshots".as_ref())?.load("now")?;
//! let text = snapshot.blob(snapshot.job().code.codes[0].text, 64 << 20)?;
//! // Once memory is mapped as `snapshot.job().memory` says: many threads write to it.
//! snapshot.restore(memory, ReadOptions::default())?;
//! # Ok(()) }
//! ```
//!
//! # Looking at it
//! `Snapshot::summary` is what a person wants to know, and prints itself as text or JSON; `Snapshot::details` has every
//! record; `Store::verify` reads all of it and says what is damaged and which memory is lost by that.
//!
//! What is suspended is memory like all other: flag, marks and frames of a `wire::Suspension` lie in allocations of the
//! system; `wire::Frames` says beside that where threads stand, for people, and for what code the frames are.
//!
//! # The format
//! `container` has the bytes of the header, `wire` what sections say, `codec` how that is written. Contents are cut into
//! chunks of 64 KiB and named by their digests: zeros are not stored, nothing is stored twice, and what the snapshot below
//! has is not stored again. A chunk of which few pages have changed is stored as those pages. Every version of a section
//! that was released stays readable: `tests/data` has files of each.
//!
//! Absent: compression (slower than any disk worth having), encryption (the file system's business), live types.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod check;
mod codec;
mod container;
mod digest;
mod disk;
mod error;
mod inspect;
mod map;
mod read;
mod source;
mod store;
pub mod transport;
mod verify;
pub mod wire;
mod write;

pub use container::{HEADER, Header, MAGIC, OPTIONAL, Section, SectionKind, VERSION};
pub use digest::{Digest, crc32c};
pub use disk::{About, BLOCK, Disk, DiskFile, Fault, MemoryDisk, SystemDisk};
pub use error::{Error, ErrorKind, Result};
pub use inspect::{ChainLink, LaunchNote, MemoryNote, SectionNote, SiteNote, Summary, list, size};
pub use map::{CHUNK, DEPTH};
pub use read::{EXTENSION, ReadOptions, Snapshot};
pub use source::{Pages, Sink, Source};
pub use store::{Entry, Store};
pub use verify::{Damage, Verdict, verify};
pub use write::{Stats, WriteOptions, Writer, Written};
