//! The way of a running job to another machine, over any stream of bytes: memory is sent while the job goes on, what it has
//! changed meanwhile is sent again, and when what is left fits the time that it may stand still, it is stopped for that.
//!
//! ```text
//! sender                                       receiver
//! hello (nonce)                 ─►◄─           hello (nonce)
//! proof                         ─►◄─           proof             each has the key
//! offer: whose job, how much    ─►
//!                                 ◄─           accept, or refuse and why
//! layout, data, zeros, round    ─►             memory, again and again
//!                                 ◄─           ack               so that the link's rate is known
//! (the job stands still)
//! layout, data, zeros, last     ─►
//! record of the job, contents   ─►
//! end: digest of all            ─►             compared with what arrived
//!                                 ◄─           ready             it could run from here on
//! go                            ─►             now it is the receiver's
//!                                 ◄─           running
//! ```
//!
//! A cut before `go` was sent leaves the job with the sender, which lets it run again; the receiver forgets it. A cut behind that
//! leaves open whether `go` arrived: the sender keeps the job still, and asks in another connection (`ask`). So it never runs twice.
//!
//! Every message behind the proof has a tag: BLAKE3 keyed with a key of this session and direction, over its head, which counts
//! messages, and the digest of its contents. What is sent is authenticated and not hidden: on a network that others read, let ssh
//! carry it (`Key::none`, since ssh knows who is who).
//!
//! Absent: resuming a transfer that was cut (it begins anew), several connections for one job, contents without an address ahead of the
//! job's stop.

mod frame;
mod receive;
mod send;

pub use frame::{FRAME, Key};
pub use receive::{Landing, Received, receive};
pub(crate) use send::encode_job;
pub use send::{Budget, Live, Progress, Sent, ask, send};

use crate::codec::wire;
use crate::wire::{Manifest, Range};
use crate::{Digest, Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// Most bytes of a job's record.
const RECORD: u64 = 256 << 20;
/// Most contents without an address.
const BLOBS: usize = 1 << 20;
/// The record's place among contents.
const RECORD_SPACE: u32 = u32::MAX;
/// Memory's place.
const MEMORY_SPACE: u32 = 0;

wire! {
    /// What a sender says first.
    pub struct Offer {
        /// Names the transfer, and nothing else ever.
        pub session: [u8; 16],
        /// Whose job it is.
        pub manifest: Manifest,
        /// Its memory by now.
        pub ranges: Vec<Range>,
        /// Bytes of contents without an address.
        pub blobs: u64,
    }

    /// What is behind the last round: the record of the job, and contents without an address.
    pub(crate) struct Last {
        /// Bytes of the record.
        pub record: u64,
        /// Bytes of each of the contents.
        pub blobs: Vec<u64>,
    }
}

/// Digests of what was sent or came, by space and address.
type Seen = BTreeMap<(u32, u64), Digest>;

/// A digest of all that was sent, in an order that both sides know.
fn sum(seen: &Seen) -> Digest {
    /// Bytes that are hashed at once: many small pieces would take several times as long.
    const PIECE: usize = 64 << 10;
    let mut hasher = blake3::Hasher::new_derive_key("hetgpu transfer 1");
    let mut piece = Vec::with_capacity(2 * PIECE);
    for ((space, at), digest) in seen {
        piece.extend_from_slice(&space.to_le_bytes());
        piece.extend_from_slice(&at.to_le_bytes());
        piece.extend_from_slice(&digest.0);
        if piece.len() >= PIECE {
            hasher.update(&piece);
            piece.clear();
        }
    }
    hasher.update(&piece);
    Digest(*hasher.finalize().as_bytes())
}

fn peer(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Peer, what)
}

/// Ranges in order, which do not overlap and do not reach past the end of addresses.
fn check_layout(ranges: &[Range]) -> Result<u64> {
    let mut end = 0;
    let mut sum = 0u64;
    for range in ranges {
        let last = range.start.0.checked_add(range.bytes);
        let fits = last.filter(|_| range.bytes > 0 && range.start.0 >= end);
        end = fits.ok_or_else(|| peer(format!("a layout of memory with {} bytes at {}", range.bytes, range.start)))?;
        sum = sum.checked_add(range.bytes).ok_or_else(|| peer("more memory than there are addresses"))?;
    }
    Ok(sum)
}

/// Forgets what lies in a range that is gone or has another size now.
fn forget(seen: &mut Seen, old: &[Range], new: &[Range]) {
    let same = |at| range_of(new, at).is_some_and(|range| range_of(old, at) == Some(range));
    seen.retain(|&(space, at), _| space != MEMORY_SPACE || same(at));
}

/// The range that holds an address.
fn range_of(ranges: &[Range], at: u64) -> Option<&Range> {
    let after = ranges.partition_point(|range| range.start.0 <= at);
    ranges.get(after.checked_sub(1)?).filter(|range| at - range.start.0 < range.bytes)
}
