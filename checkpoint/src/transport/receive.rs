//! The side that takes the job.

use super::frame::{FRAME, Frame, Key, Message, Role, Wire};
use super::{BLOBS, Last, MEMORY_SPACE, Offer, RECORD, RECORD_SPACE, Seen, check_layout, forget, peer, range_of, sum};
use crate::codec::{Reader, Wire as Record, decode};
use crate::map::{CHUNK, piece_count};
use crate::wire::{Job, Range};
use crate::{Digest, Error, Result};
use std::io::{Read, Write};

/// Most bytes of an offer or a layout.
const LIST: usize = 64 << 20;

/// Where a job comes to run.
pub trait Landing {
    /// Whether it is taken: an error says why not.
    fn offered(&mut self, offer: &Offer) -> Result<()>;

    /// Where memory is from now on: what is new is zeros, what is in no range any more is gone.
    fn layout(&mut self, ranges: &[Range]) -> Result<()>;

    /// Memory in one of the ranges.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()>;

    /// Zeros in one of the ranges.
    fn zero(&mut self, at: u64, bytes: u64) -> Result<()>;

    /// A round is over while the job runs. What takes long when all is here may be done for what is here by now.
    fn round(&mut self) -> Result<()> {
        Ok(())
    }

    /// The sizes of contents without an address, which come next: an error if that is too much.
    fn blobs(&mut self, bytes: &[u64]) -> Result<()>;

    /// A part of such contents.
    fn blob(&mut self, index: u32, at: u64, bytes: &[u8]) -> Result<()>;

    /// All is here. Puts everything back so far that only `go` is left.
    fn ready(&mut self, job: &Job) -> Result<()>;

    /// The job is here and runs. Remembers that it does, for those who ask.
    fn go(&mut self, session: [u8; 16]) -> Result<()>;

    /// It does not come: everything of it goes.
    fn forget(&mut self);

    /// Whether the job of an earlier transfer runs here; none where nothing is known of it. Where it does not, it never will.
    fn ran(&mut self, session: [u8; 16]) -> Option<bool>;
}

/// What came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// A job, which runs.
    Job {
        /// The transfer.
        session: [u8; 16],
    },
    /// A question about an earlier one, which was answered.
    Question,
}

/// Takes a job, or answers a question. On an error nothing of the job is here, unless `go` succeeded before it.
pub fn receive(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    key: &Key,
    landing: &mut dyn Landing,
) -> Result<Received> {
    let mut wire = Wire::open(reader, writer, key, Role::Receiver)?;
    let first = wire.hear()?;
    if first.message == Message::Ask {
        let session: [u8; 16] = first.bytes.as_slice().try_into().map_err(|_| peer("a question about nothing"))?;
        let answer = match landing.ran(session) {
            Some(false) => 0,
            Some(true) => 1,
            None => 2,
        };
        wire.say_with(Message::Answer, 0, &[answer])?;
        return Ok(Received::Question);
    }
    let mut receiver = Receiver { wire: &mut wire, landing, seen: Seen::new(), layout: Vec::new() };
    let mut runs = false;
    let session = receiver.all(first, &mut runs);
    match session {
        Ok(session) => Ok(Received::Job { session }),
        Err(error) if runs => Err(error),
        Err(error) => {
            receiver.landing.forget();
            let text = error.text.as_bytes();
            let _ = receiver.wire.say_with(Message::Abort, 0, &text[..text.len().min(2000)]);
            Err(error)
        }
    }
}

struct Receiver<'w, 's, 'l> {
    wire: &'w mut Wire<'s>,
    landing: &'l mut dyn Landing,
    seen: Seen,
    layout: Vec<Range>,
}

impl Receiver<'_, '_, '_> {
    fn all(&mut self, first: Frame, runs: &mut bool) -> Result<[u8; 16]> {
        let offer: Offer = self.list(first, Message::Offer)?;
        check_layout(&offer.ranges)?;
        let taken = self.landing.offered(&offer).and_then(|()| self.landing.layout(&offer.ranges));
        if let Err(error) = taken {
            let text = error.text.as_bytes();
            self.wire.say_with(Message::Refuse, 0, &text[..text.len().min(2000)])?;
            return Err(error);
        }
        self.layout = offer.ranges;
        self.wire.say(Message::Accept)?;
        let last = self.rounds()?;
        let record = self.contents(&last)?;
        let job = decode_job(&record).map_err(|flaw| peer(format!("the record of the job: {flaw}")))?;
        if crate::check::blobs(&job).iter().any(|blob| blob.0 as usize >= last.blobs.len()) {
            return Err(peer("the record of the job speaks of contents that did not come"));
        }
        self.landing.ready(&job)?;
        self.wire.say(Message::Ready)?;
        self.wire.expect(Message::Go)?;
        self.landing.go(offer.session)?;
        *runs = true;
        self.wire.say(Message::Running)?;
        Ok(offer.session)
    }

    /// A record in several messages, of which the last one is empty.
    fn list<T: Record>(&mut self, first: Frame, kind: Message) -> Result<T> {
        let mut bytes = Vec::new();
        let mut frame = first;
        loop {
            if frame.message != kind || frame.at != bytes.len() as u64 {
                return Err(peer(format!("{:?} came where {kind:?} belongs", frame.message)));
            }
            if frame.bytes.is_empty() {
                return decode(&bytes).map_err(|flaw| peer(format!("{kind:?}: {}", flaw.0)));
            }
            if bytes.len() + frame.bytes.len() > LIST {
                return Err(peer(format!("{kind:?} of more than {LIST} bytes")));
            }
            bytes.extend(frame.bytes);
            frame = self.wire.hear()?;
        }
    }

    fn rounds(&mut self) -> Result<Last> {
        let mut next = 1;
        loop {
            let frame = self.wire.hear()?;
            match frame.message {
                Message::Data | Message::Zeros => self.memory(&frame)?,
                Message::Round if frame.at == next => {
                    self.landing.round()?;
                    self.wire.say_with(Message::Ack, next, &[])?;
                    next += 1;
                }
                Message::Layout => {
                    let ranges: Vec<Range> = self.list(frame, Message::Layout)?;
                    check_layout(&ranges)?;
                    self.landing.layout(&ranges)?;
                    forget(&mut self.seen, &self.layout, &ranges);
                    self.layout = ranges;
                }
                Message::Last => {
                    let last: Last = self.list(frame, Message::Last)?;
                    if last.record > RECORD || last.blobs.len() > BLOBS {
                        return Err(peer("a job that is described by too much"));
                    }
                    self.landing.blobs(&last.blobs)?;
                    return Ok(last);
                }
                other => return Err(self.unexpected(other, &frame.bytes)),
            }
        }
    }

    fn unexpected(&self, message: Message, bytes: &[u8]) -> Error {
        match message {
            Message::Abort => peer(format!("the other side gave up: {}", super::frame::said(bytes))),
            other => peer(format!("{other:?} came where it does not belong")),
        }
    }

    fn memory(&mut self, frame: &Frame) -> Result<()> {
        let bytes = length(frame)?;
        let range = range_of(&self.layout, frame.at);
        let fits = range.is_some_and(|range| bytes <= range.bytes - (frame.at - range.start.0));
        if frame.space != MEMORY_SPACE || !fits {
            return Err(peer(format!("{bytes} bytes at {:#x}, where the job has no memory", frame.at)));
        }
        match frame.message {
            Message::Zeros => self.landing.zero(frame.at, bytes)?,
            _ => self.landing.write(frame.at, &frame.bytes)?,
        }
        self.note(frame, bytes);
        Ok(())
    }

    fn note(&mut self, frame: &Frame, bytes: u64) {
        let digest = if frame.message == Message::Zeros { zeros(bytes) } else { frame.digest };
        self.seen.insert((frame.space, frame.at), digest);
    }

    /// Contents without an address and the record, up to the end.
    fn contents(&mut self, last: &Last) -> Result<Vec<u8>> {
        let mut record = Vec::new();
        let mut came = 0;
        let pieces: u64 = last.blobs.iter().map(|&bytes| piece_count(0, bytes)).fold(0, u64::saturating_add);
        loop {
            let frame = self.wire.hear()?;
            match (frame.message, frame.space) {
                (Message::Data, RECORD_SPACE) => {
                    if frame.at != record.len() as u64 || frame.bytes.len() as u64 > last.record - frame.at {
                        return Err(peer("a record of the job that is not in order"));
                    }
                    record.extend_from_slice(&frame.bytes);
                    self.note(&frame, 0);
                }
                (Message::Data | Message::Zeros, space) if space != MEMORY_SPACE => {
                    let (index, bytes) = (space - 1, length(&frame)?);
                    let size = last.blobs.get(index as usize).copied().unwrap_or(0);
                    if frame.at.checked_add(bytes).is_none_or(|end| end > size) {
                        return Err(peer(format!("{bytes} bytes of contents {index}, which has {size}")));
                    }
                    match frame.message {
                        Message::Zeros => self.landing.blob(index, frame.at, &vec![0; bytes as usize])?,
                        _ => self.landing.blob(index, frame.at, &frame.bytes)?,
                    }
                    came += 1;
                    self.note(&frame, bytes);
                }
                (Message::End, _) => {
                    if frame.bytes != sum(&self.seen).0 || record.len() as u64 != last.record || came != pieces {
                        return Err(peer("what came is not what was sent"));
                    }
                    return Ok(record);
                }
                (other, _) => return Err(self.unexpected(other, &frame.bytes)),
            }
        }
    }
}

/// Bytes that data or zeros stand for: a chunk at most.
fn length(frame: &Frame) -> Result<u64> {
    let bytes = match frame.message {
        Message::Zeros => {
            u64::from_le_bytes(frame.bytes.as_slice().try_into().map_err(|_| peer("zeros without a number"))?)
        }
        _ => frame.bytes.len() as u64,
    };
    if bytes == 0 || bytes > FRAME as u64 {
        return Err(peer(format!("a piece of {bytes} bytes")));
    }
    Ok(bytes)
}

fn zeros(bytes: u64) -> Digest {
    static ZEROS: [u8; CHUNK as usize] = [0; CHUNK as usize];
    Digest::of(&ZEROS[..bytes as usize])
}

fn decode_job(bytes: &[u8]) -> std::result::Result<Job, String> {
    let mut reader = Reader::new(bytes);
    let mut take = || -> crate::codec::Take<Job> {
        let from = &mut reader;
        let job = Job {
            manifest: Record::take(from)?,
            contexts: Record::take(from)?,
            memory: Record::take(from)?,
            code: Record::take(from)?,
            streams: Record::take(from)?,
            events: Record::take(from)?,
            texels: Record::take(from)?,
            graphs: Record::take(from)?,
            launches: Record::take(from)?,
            frames: Record::take(from)?,
        };
        from.end()?;
        Ok(job)
    };
    take().map_err(|flaw| flaw.0)
}
