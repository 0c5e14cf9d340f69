//! Memory operations of streams.

use crate::abi::{Call, CuStream, In, Pointer};
use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{AsGiven, Compare, Word, WordOperation};
use std::sync::Arc;

/// `CUstreamBatchMemOpParams`: an operation, and what its kind needs.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Parameters {
    operation: u32,
    /// Of barriers and flushes.
    kind: u32,
    address: Pointer,
    value: u64,
    flags: u32,
    padding: u32,
    alias: u64,
    rest: u64,
}

/// Which version of the interface was called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    First,
    Second,
    /// For nodes of graphs, which take what either takes.
    Node,
}

/// What a node remembers: the context that it was given, and the operations.
pub(super) type Origin = (u64, Vec<Parameters>);

const WAIT_32: u32 = 1;
const WRITE_32: u32 = 2;
const FLUSH: u32 = 3;
const WAIT_64: u32 = 4;
const WRITE_64: u32 = 5;
const BARRIER: u32 = 6;

fn unknown(flags: u32) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags:#x}"))
}

fn wait_for(at: Pointer, value: u64, flags: u32, wide: bool) -> Outcome<WordOperation> {
    // Writes of others reach a word and what lies before it in one order: there is nothing to flush.
    const FLUSH: u32 = 1 << 30;
    let compare = match flags & !FLUSH {
        0 => Compare::Reached,
        1 => Compare::Equal,
        2 => Compare::AnyBit,
        3 => Compare::NoBit,
        _ => return Err(unknown(flags)),
    };
    Ok(WordOperation::Wait(Word { at: at.0, wide }, compare, value))
}

/// The write comes after everything before it, also where that is not asked for.
fn write_of(at: Pointer, value: u64, flags: u32, wide: bool, version: Version) -> Outcome<WordOperation> {
    const NO_MEMORY_BARRIER: u32 = 1;
    match (flags, version) {
        (0, _) | (NO_MEMORY_BARRIER, Version::First | Version::Node) => {
            Ok(WordOperation::Write(Word { at: at.0, wide }, value))
        }
        _ => Err(unknown(flags)),
    }
}

/// An operation as a batch has it.
fn parameters_of(operation: &WordOperation) -> Parameters {
    let (operation, word, value, flags) = match *operation {
        WordOperation::Wait(word, compare, value) => {
            let flags = match compare {
                Compare::Reached => 0,
                Compare::Equal => 1,
                Compare::AnyBit => 2,
                Compare::NoBit => 3,
            };
            (if word.wide { WAIT_64 } else { WAIT_32 }, Some(word), value, flags)
        }
        WordOperation::Write(word, value) => (if word.wide { WRITE_64 } else { WRITE_32 }, Some(word), value, 0),
        WordOperation::Barrier => (BARRIER, None, 0, 0),
    };
    let address = Pointer(word.map_or(0, |word| word.at));
    Parameters { operation, kind: 0, address, value, flags, padding: 0, alias: 0, rest: 0 }
}

fn submit(call: &Call, stream: CuStream, operations: &[WordOperation]) -> Outcome {
    let origin = || -> AsGiven { Arc::<Origin>::new((0, operations.iter().map(parameters_of).collect())) };
    Ok(call.runtime()?.words(call.stream(stream)?, operations, origin)?)
}

pub(crate) fn wait_32(call: &Call, stream: CuStream, at: Pointer, value: u32, flags: u32) -> Outcome {
    submit(call, stream, &[wait_for(at, value.into(), flags, false)?])
}

pub(crate) fn wait_64(call: &Call, stream: CuStream, at: Pointer, value: u64, flags: u32) -> Outcome {
    submit(call, stream, &[wait_for(at, value, flags, true)?])
}

pub(crate) fn write_32_v1(call: &Call, stream: CuStream, at: Pointer, value: u32, flags: u32) -> Outcome {
    submit(call, stream, &[write_of(at, value.into(), flags, false, Version::First)?])
}

pub(crate) fn write_64_v1(call: &Call, stream: CuStream, at: Pointer, value: u64, flags: u32) -> Outcome {
    submit(call, stream, &[write_of(at, value, flags, true, Version::First)?])
}

pub(crate) fn write_32(call: &Call, stream: CuStream, at: Pointer, value: u32, flags: u32) -> Outcome {
    submit(call, stream, &[write_of(at, value.into(), flags, false, Version::Second)?])
}

pub(crate) fn write_64(call: &Call, stream: CuStream, at: Pointer, value: u64, flags: u32) -> Outcome {
    submit(call, stream, &[write_of(at, value, flags, true, Version::Second)?])
}

fn batch_of(count: u32, list: In<Parameters>, flags: u32, version: Version) -> Outcome<Vec<WordOperation>> {
    const TOO_MANY: u32 = 256;
    if flags != 0 || count >= TOO_MANY {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("{count} operations, flags {flags:#x}")));
    }
    operations_of(&list.list(count as usize)?, version)
}

/// What a list asks for.
pub(super) fn operations_of(list: &[Parameters], version: Version) -> Outcome<Vec<WordOperation>> {
    /// Barriers for the system, and for the device.
    const BARRIERS: u32 = 2;
    let mut operations = Vec::with_capacity(list.len());
    for &one in list {
        let Parameters { operation, kind, address, value, flags, .. } = one;
        let narrow = value & u64::from(u32::MAX);
        operations.push(match operation {
            WAIT_32 => wait_for(address, narrow, flags, false)?,
            WAIT_64 => wait_for(address, value, flags, true)?,
            WRITE_32 => write_of(address, narrow, flags, false, version)?,
            WRITE_64 => write_of(address, value, flags, true, version)?,
            // Every operation of a stream comes after those before it.
            FLUSH if kind == 0 => continue,
            BARRIER if version != Version::First && kind < BARRIERS => WordOperation::Barrier,
            other => return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("memory operation {other}"))),
        });
    }
    Ok(operations)
}

pub(crate) fn batch_v1(call: &Call, stream: CuStream, count: u32, list: In<Parameters>, flags: u32) -> Outcome {
    submit(call, stream, &batch_of(count, list, flags, Version::First)?)
}

pub(crate) fn batch(call: &Call, stream: CuStream, count: u32, list: In<Parameters>, flags: u32) -> Outcome {
    submit(call, stream, &batch_of(count, list, flags, Version::Second)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn the_union_is_laid_out_as_in_c() {
        assert_eq!(size_of::<Parameters>(), 48);
        assert_eq!((offset_of!(Parameters, kind), offset_of!(Parameters, address)), (4, 8));
        assert_eq!((offset_of!(Parameters, value), offset_of!(Parameters, flags)), (16, 24));
    }

    #[test]
    fn flags_are_of_the_version_that_was_called() {
        let at = Pointer(64);
        assert!(write_of(at, 1, 1, false, Version::First).is_ok());
        assert!(write_of(at, 1, 1, false, Version::Second).is_err());
        let flushed = wait_for(at, 1, 1 << 30 | 3, true).unwrap();
        assert_eq!(flushed, WordOperation::Wait(Word { at: 64, wide: true }, Compare::NoBit, 1));
        assert_eq!(wait_for(at, 1, 4, true).unwrap_err().code, Code::ERROR_INVALID_VALUE);
    }
}
