//! Words of memory that streams write and wait for, and other conditions that nobody announces.

use crate::capture::Target;
use crate::graph::{AsGiven, BatchNode, Body};
use crate::ipc::SharedEvent;
use crate::queue::{Operation, Stamp};
use crate::session::Session;
use crate::stream::StreamRef;
use crate::{Error, Result, Runtime, sys};
use hetgpu_device::{Device, Fill, Pattern, Work};
use std::sync::Arc;

/// Where a word is, and whether it has 64 bits or 32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word {
    pub at: u64,
    pub wide: bool,
}

/// What a word must be, beside a value, for a stream to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// Not before it, in a circle of all values.
    Reached,
    Equal,
    /// Has one of its bits.
    AnyBit,
    /// Lacks a bit that it lacks too.
    NoBit,
}

/// An operation on a word, in the order of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WordOperation {
    Wait(Word, Compare, u64),
    Write(Word, u64),
    /// Writes before it are seen before those behind it.
    Barrier,
}

impl Word {
    fn bytes(self) -> u64 {
        if self.wide { 8 } else { 4 }
    }
}

impl Compare {
    pub(crate) fn holds(self, word: Word, found: u64, value: u64) -> bool {
        let mask = if word.wide { u64::MAX } else { u32::MAX.into() };
        match self {
            Self::Reached if word.wide => found.wrapping_sub(value).cast_signed() >= 0,
            Self::Reached => (found as u32).wrapping_sub(value as u32).cast_signed() >= 0,
            Self::Equal => found & mask == value & mask,
            Self::AnyBit => found & value & mask != 0,
            Self::NoBit => !(found | value) & mask != 0,
        }
    }
}

/// Something that becomes true without anybody saying so.
pub(crate) enum Condition {
    Word {
        device: Arc<dyn Device>,
        /// The host reaches it without the device.
        host: bool,
        word: Word,
        compare: Compare,
        value: u64,
    },
    /// A recording of an event that other processes see.
    Passed(Arc<SharedEvent>, u64),
    /// A recording on another device.
    Stamped(Stamp),
}

impl Condition {
    fn read(&self) -> Result<bool> {
        match self {
            Self::Word { device, host, word, compare, value } => {
                let found = match (host, word.wide) {
                    (true, wide) => sys::load(word.at, wide),
                    (false, wide) => {
                        let mut bytes = [0; 8];
                        device.read(word.at, &mut bytes[..if wide { 8 } else { 4 }])?;
                        u64::from_le_bytes(bytes)
                    }
                };
                Ok(compare.holds(*word, found, *value))
            }
            Self::Passed(event, count) => event.is_over(*count),
            Self::Stamped(stamp) => Ok(stamp.is_passed()),
        }
    }

    /// Whether the wait is over. Where the word cannot be read any more, it is, and `check` says why.
    pub(crate) fn holds(&self) -> bool {
        self.read().unwrap_or(true)
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.read().map(drop)
    }
}

impl Runtime {
    /// Whether the host reaches a word without the device; fails where it is no word that the device reaches.
    fn host_reaches(&self, session: &Session, word: Word) -> Result<bool> {
        if !word.at.is_multiple_of(word.bytes()) {
            return Err(Error::invalid(format!("{:#x} is no address of a word of {} bytes", word.at, word.bytes())));
        }
        let allocation = self.memory.find(word.at);
        let allocation = allocation.filter(|allocation| allocation.end() - word.at >= word.bytes());
        let known = allocation.ok_or_else(|| Error::invalid(format!("{:#x} is not in known memory", word.at)))?;
        match self.reaches(session, &known) {
            true => Ok(known.host_visible()),
            false => Err(Error::NotSupported("a word in another device's memory".into())),
        }
    }

    /// Fails where an operation is wrong.
    pub(crate) fn check_words(&self, session: &Session, operations: &[WordOperation]) -> Result<()> {
        operations.iter().try_for_each(|operation| match *operation {
            WordOperation::Wait(word, ..) | WordOperation::Write(word, _) => self.host_reaches(session, word).map(drop),
            WordOperation::Barrier => Ok(()),
        })
    }

    /// Writes words and waits for words, one after the other. None is done where one of them is wrong. A node that they
    /// become is shown as `origin` says.
    pub fn words(
        &self,
        stream: StreamRef,
        operations: &[WordOperation],
        origin: impl FnOnce() -> AsGiven,
    ) -> Result<()> {
        let (session, lane) = match self.target(stream)? {
            Target::Lane(session, lane) => (session, lane),
            Target::Capture(_) if operations.is_empty() => return Ok(()),
            Target::Capture(capture) => {
                self.check_words(&capture.session, operations)?;
                let (operations, session) = (operations.to_vec(), capture.session.clone());
                let node = BatchNode { operations, origin: origin(), session };
                return self.capture_node(&capture, Body::Batch(Arc::new(node))).map(drop);
            }
        };
        let place = |word| self.host_reaches(&session, word);
        let device = &session.device.device;
        let mut all = Vec::with_capacity(operations.len());
        for operation in operations {
            all.push(match *operation {
                // Every operation of a stream comes after those before it.
                WordOperation::Barrier => continue,
                WordOperation::Wait(word, compare, value) => {
                    let (device, host) = (Arc::clone(device), place(word)?);
                    Operation::Await(Condition::Word { device, host, word, compare, value })
                }
                WordOperation::Write(word, value) if place(word)? => {
                    Operation::Own(Box::new(move || sys::store(word.at, word.wide, value)))
                }
                WordOperation::Write(word, value) => {
                    let bytes = value.to_le_bytes();
                    let pattern = Pattern::new(&bytes[..word.bytes() as usize]);
                    let pattern = pattern.ok_or_else(|| Error::invalid("a word of no size"))?;
                    Operation::Run(Box::new(
                        move |queue, _| Ok(queue.run(Work::Fill(Fill::line(word.at, pattern, 1)))?),
                    ))
                }
            });
        }
        for operation in all {
            session.push(lane, Vec::new(), operation)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_of_the_word_s_own_width() {
        let (narrow, wide) = (Word { at: 0, wide: false }, Word { at: 0, wide: true });
        assert!(Compare::Reached.holds(narrow, 5, 5) && Compare::Reached.holds(narrow, 6, 5));
        assert!(!Compare::Reached.holds(narrow, 4, 5));
        assert!(Compare::Reached.holds(narrow, 3, 0xffff_fff0), "values go round");
        assert!(!Compare::Reached.holds(wide, 3, 0xffff_fff0));
        assert!(Compare::Equal.holds(narrow, 7, 1 << 32 | 7) && !Compare::Equal.holds(wide, 7, 1 << 32 | 7));
        assert!(Compare::AnyBit.holds(wide, 6, 4) && !Compare::AnyBit.holds(wide, 6, 9));
        assert!(Compare::NoBit.holds(narrow, 0xffff_fffe, 0) && !Compare::NoBit.holds(narrow, 0xffff_fffe, 1));
    }
}
