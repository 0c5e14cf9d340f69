//! The side that has the job.

use super::frame::{FRAME, Frame, Key, Message, Role, Wire, nonce, said};
use super::{BLOBS, Last, MEMORY_SPACE, Offer, RECORD, RECORD_SPACE, Seen, check_layout, forget, peer, range_of, sum};
use crate::codec::encode;
use crate::inspect::size;
use crate::map::{PAGE, pieces};
use crate::source::Source;
use crate::wire::{Job, Manifest, Range};
use crate::write::is_zero;
use crate::{Digest, Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// A job that runs, and can be stopped for a moment.
pub trait Live {
    /// Whose job it is.
    fn manifest(&self) -> Manifest;

    /// The transfer has this name: by it the other side can be asked later (`ask`).
    fn named(&mut self, session: [u8; 16]) {
        let _ = session;
    }

    /// Its memory by now: ranges in order.
    fn ranges(&mut self) -> Result<Vec<Range>>;

    /// What may have changed since it was last asked, in any order; all memory the first time. Asked behind `ranges`, so that what
    /// is in no range any more may be in it.
    fn dirty(&mut self) -> Result<Vec<Range>>;

    /// Its memory. While it runs it may change as it is read: then it is dirty later.
    fn memory(&self) -> &dyn Source;

    /// Bytes of contents without an address, which are sent while it stands still.
    fn blob_bytes(&self) -> u64;

    /// Stops it. Where that fails, it runs.
    fn freeze(&mut self) -> Result<()>;

    /// Everything about it but memory, once it stands still, and the bytes of each of its contents without an address.
    fn record(&mut self) -> Result<(Job, Vec<u64>)>;

    /// Reads of contents without an address.
    fn blob(&self, index: u32, at: u64, out: &mut [u8]) -> std::io::Result<()>;

    /// From here on it may run on the other side: whoever finds it here must know that. An error keeps it here.
    fn leaving(&mut self) -> Result<()> {
        Ok(())
    }

    /// Lets it run again: it stays here.
    fn thaw(&mut self);

    /// It is the other side's: nothing of it may run here again.
    fn gone(&mut self);
}

/// What is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// How long the job may stand still.
    pub freeze: Duration,
    /// Rounds before it is given up.
    pub rounds: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { freeze: Duration::from_millis(500), rounds: 30 }
    }
}

/// How it goes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Progress {
    /// The round, from 1.
    pub round: u32,
    /// Bytes of memory that it sent.
    pub sent: u64,
    /// Bytes of memory that it found unchanged or zero.
    pub spared: u64,
    /// Bytes a second over the link.
    pub rate: f64,
    /// Bytes that the job changed meanwhile.
    pub dirty: u64,
    /// How long the job would stand still now, in seconds.
    pub freeze: f64,
}

/// A transfer that succeeded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sent {
    /// Rounds while the job ran.
    pub rounds: u32,
    /// Bytes on the wire.
    pub bytes: u64,
    /// How long it took.
    pub time: Duration,
    /// How long the job stood still.
    pub frozen: Duration,
    /// Names the transfer.
    pub session: [u8; 16],
}

/// A part of the time that a job may stand still which is not worth another round.
const LITTLE: f64 = 0.005;

/// Bytes of a round that say how fast the link is.
const TELLING: u64 = 16 << 20;

/// Sends a job. On every error but `Unsettled` it stays here and runs.
pub fn send(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    key: &Key,
    live: &mut dyn Live,
    budget: &Budget,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Sent> {
    let start = Instant::now();
    let mut wire = Wire::open(reader, writer, key, Role::Sender)?;
    let mut session = [0; 16];
    session.copy_from_slice(&nonce()?[..16]);
    live.named(session);
    let mut sender = Sender {
        wire: &mut wire,
        live,
        seen: Seen::new(),
        layout: Vec::new(),
        again: Vec::new(),
        parted: BTreeSet::new(),
        buffer: vec![0; FRAME],
    };
    let mut frozen = None;
    let ended = sender.all(session, budget, progress, &mut frozen);
    let rounds = match ended {
        Ok(rounds) => rounds,
        Err(error) if error.kind == ErrorKind::Unsettled => return Err(error),
        Err(error) => {
            if frozen.is_some() {
                sender.live.thaw();
            }
            // The other side may be gone.
            let text = error.text.as_bytes();
            let _ = sender.wire.say_with(Message::Abort, 0, &text[..text.len().min(2000)]);
            return Err(error);
        }
    };
    let frozen = frozen.map_or(Duration::ZERO, |since: Instant| since.elapsed());
    sender.live.gone();
    Ok(Sent { rounds, bytes: wire.bytes, time: start.elapsed(), frozen, session })
}

/// Asks a receiver whether the job of a transfer runs there: true or false, or none where it knows nothing of it.
pub fn ask(reader: &mut dyn Read, writer: &mut dyn Write, key: &Key, session: [u8; 16]) -> Result<Option<bool>> {
    let mut wire = Wire::open(reader, writer, key, Role::Sender)?;
    wire.say_with(Message::Ask, 0, &session)?;
    match wire.expect(Message::Answer)?.bytes.as_slice() {
        [0] => Ok(Some(false)),
        [1] => Ok(Some(true)),
        [2] => Ok(None),
        _ => Err(peer("an answer that means nothing")),
    }
}

struct Sender<'w, 's, 'l> {
    wire: &'w mut Wire<'s>,
    live: &'l mut dyn Live,
    seen: Seen,
    layout: Vec<Range>,
    /// Memory that has to be sent, dirty or not.
    again: Vec<Range>,
    /// Chunks of which pages were sent.
    parted: BTreeSet<u64>,
    buffer: Vec<u8>,
}

impl Sender<'_, '_, '_> {
    fn all(
        &mut self,
        session: [u8; 16],
        budget: &Budget,
        progress: &mut dyn FnMut(&Progress),
        frozen: &mut Option<Instant>,
    ) -> Result<u32> {
        let ranges = self.live.ranges()?;
        check_layout(&ranges)?;
        let offer =
            Offer { session, manifest: self.live.manifest(), ranges: ranges.clone(), blobs: self.live.blob_bytes() };
        self.offer(&offer)?;
        let (rounds, mut left) = self.rounds(budget, progress)?;
        let since = Instant::now();
        self.live.freeze()?;
        *frozen = Some(since);
        self.layout()?;
        left.extend(self.dirty()?);
        self.memory(&left)?;
        self.record()?;
        let digest = sum(&self.seen);
        self.wire.say_with(Message::End, 0, &digest.0)?;
        self.wire.expect(Message::Ready)?;
        // From here on the job may be the other side's.
        let unsettled = |error: Error| {
            let text = format!(
                "whether the job runs on the other side is not known: {}; it stands still here until that is asked",
                error.text
            );
            Error::new(ErrorKind::Unsettled, text)
        };
        self.live.leaving()?;
        self.wire.say(Message::Go).map_err(unsettled)?;
        match self.wire.hear() {
            Ok(Frame { message: Message::Running, .. }) => Ok(rounds),
            // It says itself that it does not run there.
            Ok(Frame { message: Message::Abort, bytes, .. }) => {
                Err(peer(format!("the other side gave up: {}", said(&bytes))))
            }
            Ok(other) => Err(unsettled(peer(format!("{:?} came where Running belongs", other.message)))),
            Err(error) => Err(unsettled(error)),
        }
    }

    /// The offer, in as many messages as it takes.
    fn offer(&mut self, offer: &Offer) -> Result<()> {
        let bytes = encode(offer);
        for (number, part) in bytes.chunks(FRAME).enumerate() {
            self.wire.say_with(Message::Offer, (number * FRAME) as u64, part)?;
        }
        self.wire.say_with(Message::Offer, bytes.len() as u64, &[])?;
        match self.wire.hear()? {
            Frame { message: Message::Accept, .. } => {}
            Frame { message: Message::Refuse | Message::Abort, bytes, .. } => {
                return Err(peer(format!("the other side does not take the job: {}", said(&bytes))));
            }
            other => return Err(peer(format!("{:?} came where Accept belongs", other.message))),
        }
        self.layout = offer.ranges.clone();
        Ok(())
    }

    /// Says where memory is, if that has changed.
    fn layout(&mut self) -> Result<()> {
        let ranges = self.live.ranges()?;
        check_layout(&ranges)?;
        if ranges == self.layout {
            return Ok(());
        }
        let bytes = encode(&ranges);
        for (number, part) in bytes.chunks(FRAME).enumerate() {
            self.wire.say_with(Message::Layout, (number * FRAME) as u64, part)?;
        }
        self.wire.say_with(Message::Layout, bytes.len() as u64, &[])?;
        forget(&mut self.seen, &self.layout, &ranges);
        // What is new there is sent, whatever the job says of it.
        self.again.extend(ranges.iter().filter(|range| !self.layout.contains(range)).cloned());
        self.layout = ranges;
        Ok(())
    }

    fn dirty(&mut self) -> Result<Vec<Range>> {
        let mut dirty = self.live.dirty()?;
        dirty.append(&mut self.again);
        Ok(dirty)
    }

    /// Rounds while the job runs, until what is left fits: how many, and what that is.
    fn rounds(&mut self, budget: &Budget, progress: &mut dyn FnMut(&Progress)) -> Result<(u32, Vec<Range>)> {
        let mut dirty = self.dirty()?;
        let mut before = u64::MAX;
        let (mut fruitless, mut rate) = (0, 0.0f64);
        for round in 1..=budget.rounds.max(1) {
            let (start, wire) = (Instant::now(), self.wire.bytes);
            let (sent, spared) = self.memory(&dirty)?;
            self.wire.say_with(Message::Round, u64::from(round), &[])?;
            if self.wire.expect(Message::Ack)?.at != u64::from(round) {
                return Err(peer("an answer to another round"));
            }
            let time = start.elapsed().as_secs_f64().max(1e-6);
            self.layout()?;
            dirty = self.dirty()?;
            let left: u64 = dirty.iter().map(|range| range.bytes).sum();
            // What is spared is looked at all the same, so that it counts as if it had been sent.
            let moved = (self.wire.bytes - wire).max(sent + spared);
            // How fast little goes says more about waiting than about the link.
            rate = if moved >= TELLING { moved as f64 / time } else { rate.max(moved as f64 / time) };
            let freeze = (left + self.live.blob_bytes()) as f64 / rate;
            progress(&Progress { round, sent, spared, rate, dirty: left, freeze });
            // Where it fits, another round is worth it as long as it leaves much less to the end.
            let little = left as f64 / rate <= budget.freeze.as_secs_f64() * LITTLE || left > before / 2;
            if freeze <= budget.freeze.as_secs_f64() && (little || round == budget.rounds.max(1)) {
                return Ok((round, dirty));
            }
            fruitless = if left >= before { fruitless + 1 } else { 0 };
            before = left;
            if fruitless >= 3 || round == budget.rounds.max(1) {
                let changes = left as f64 / time;
                let text = format!(
                    "the job changes {} a second and the link carries {}: after {round} rounds {} are left, so that it would stand still for {:.1} s, \
                     and {:.1} s are allowed; allow more, or move it when it does less",
                    size(changes as u64),
                    size(rate as u64),
                    size(left),
                    freeze,
                    budget.freeze.as_secs_f64()
                );
                return Err(Error::new(ErrorKind::TooBusy, text));
            }
        }
        Err(Error::new(ErrorKind::TooBusy, "no rounds"))
    }

    /// Sends memory; returns the bytes sent, and those that need not be.
    fn memory(&mut self, dirty: &[Range]) -> Result<(u64, u64)> {
        let (mut sent, mut spared) = (0, 0);
        for range in dirty {
            // Memory is sent in whole chunks, cut to its ranges.
            let mut at = range.start.0;
            let Some(end) = at.checked_add(range.bytes) else {
                return Err(Error::new(ErrorKind::Invalid, "changed memory past the end of addresses"));
            };
            while at < end {
                let Some(Range { start, bytes }) = range_of(&self.layout, at) else {
                    // It is gone by now.
                    let next = self.layout.iter().find(|range| range.start.0 > at).map_or(end, |range| range.start.0);
                    at = next.min(end);
                    continue;
                };
                let chunk = crate::map::CHUNK;
                let last = start.0 + bytes;
                let mut from = (at - at % chunk).max(start.0);
                let mut to = (at - at % chunk).saturating_add(chunk).min(last);
                // Pages of it go by themselves where no more has changed.
                let whole = |place: u64| place.is_multiple_of(PAGE as u64) || place == start.0 || place == last;
                let (first, next) = (at.max(from), end.min(to));
                if (first, next) != (from, to) && whole(first) && whole(next) {
                    (from, to) = (first, next);
                    self.parted.insert(at - at % chunk);
                }
                let done = self.piece(MEMORY_SPACE, from, to - from)?;
                sent += done;
                spared += to - from - done;
                at = to;
            }
        }
        self.wire.flush()?;
        Ok((sent, spared))
    }

    /// Sends a chunk, unless the other side has it.
    fn piece(&mut self, space: u32, at: u64, bytes: u64) -> Result<u64> {
        let out = &mut self.buffer[..bytes as usize];
        let read = match space {
            MEMORY_SPACE => self.live.memory().read(at, out),
            blob => self.live.blob(blob - 1, at, out),
        };
        read.map_err(|refused| {
            Error::new(ErrorKind::Memory, format!("{bytes} bytes at {at:#x} could not be read: {refused}"))
        })?;
        let digest = Digest::of(out);
        let same = self.seen.insert((space, at), digest) == Some(digest);
        // What was sent of a chunk page by page has made what was seen of it untrue.
        if same && !(space == MEMORY_SPACE && self.parted.contains(&(at - at % crate::map::CHUNK))) {
            return Ok(0);
        }
        if is_zero(out) {
            self.wire.send(Message::Zeros, space, at, &bytes.to_le_bytes(), &Digest::of(&bytes.to_le_bytes()))?;
            return Ok(0);
        }
        self.wire.send(Message::Data, space, at, &self.buffer[..bytes as usize], &digest)?;
        Ok(bytes)
    }

    /// The record of the job and contents without an address.
    fn record(&mut self) -> Result<()> {
        let (job, blobs) = self.live.record()?;
        let record = encode_job(&job);
        if record.len() as u64 > RECORD || blobs.len() > BLOBS {
            let text = format!("{} that describe a job, at most {}", size(record.len() as u64), size(RECORD));
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let last = encode(&Last { record: record.len() as u64, blobs: blobs.clone() });
        for (number, part) in last.chunks(FRAME).enumerate() {
            self.wire.say_with(Message::Last, (number * FRAME) as u64, part)?;
        }
        self.wire.say_with(Message::Last, last.len() as u64, &[])?;
        for (index, bytes) in blobs.iter().enumerate() {
            for (at, bytes) in pieces(0, *bytes) {
                self.piece(index as u32 + 1, at, bytes)?;
            }
        }
        for (number, part) in record.chunks(FRAME).enumerate() {
            let (at, digest) = ((number * FRAME) as u64, Digest::of(part));
            self.seen.insert((RECORD_SPACE, at), digest);
            self.wire.send(Message::Data, RECORD_SPACE, at, part, &digest)?;
        }
        self.wire.flush()
    }
}

/// A job's sections, one behind the other.
pub(crate) fn encode_job(job: &Job) -> Vec<u8> {
    let mut out = Vec::new();
    for section in [
        encode(&job.manifest),
        encode(&job.contexts),
        encode(&job.memory),
        encode(&job.code),
        encode(&job.streams),
        encode(&job.events),
        encode(&job.texels),
        encode(&job.graphs),
        encode(&job.launches),
        encode(&job.frames),
    ] {
        out.extend(section);
    }
    out
}
