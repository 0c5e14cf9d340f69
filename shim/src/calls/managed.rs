//! Managed memory: advice, and bringing it to places.

use super::location::{self, Place, wrong};
use crate::abi::{Call, CuStream, In, Out, Pointer};
use crate::result::{Code, Outcome};
use hetgpu_runtime::{Advise, AllocationKind, Location, StreamRef, Wishes};

const SET_READ_MOSTLY: u32 = 1;
const UNSET_READ_MOSTLY: u32 = 2;
const SET_PREFERRED: u32 = 3;
const UNSET_PREFERRED: u32 = 4;
const SET_ACCESSED_BY: u32 = 5;
const UNSET_ACCESSED_BY: u32 = 6;

fn give_advice(call: &Call, pointer: Pointer, bytes: usize, advice: u32, place: Place, no_device: Code) -> Outcome {
    let runtime = call.runtime()?;
    let location = || place.location(runtime, no_device);
    let advise = match advice {
        SET_READ_MOSTLY => Advise::ReadMostly(true),
        UNSET_READ_MOSTLY => Advise::ReadMostly(false),
        SET_PREFERRED => Advise::Preferred(Some(match location()? {
            Location::Anywhere => return Err(wrong("no preferred location")),
            Location::Device(index) => Location::Device(index),
            // The host is one node.
            Location::Host | Location::HostNode(_) | Location::HostNodeHere => Location::Host,
        })),
        UNSET_PREFERRED => Advise::Preferred(None),
        SET_ACCESSED_BY | UNSET_ACCESSED_BY => match location()? {
            who @ (Location::Device(_) | Location::Host) => Advise::AccessedBy(who, advice == SET_ACCESSED_BY),
            Location::Anywhere | Location::HostNode(_) | Location::HostNodeHere => {
                return Err(wrong("neither a device nor the host"));
            }
        },
        _ => return Err(wrong(format!("no advice {advice}"))),
    };
    Ok(runtime.advise(pointer.0, bytes as u64, advise)?)
}

pub(crate) fn advise(call: &Call, pointer: Pointer, bytes: usize, advice: u32, device: i32) -> Outcome {
    give_advice(call, pointer, bytes, advice, Place::of_device(device), Code::ERROR_INVALID_DEVICE)
}

pub(crate) fn advise_at(call: &Call, pointer: Pointer, bytes: usize, advice: u32, place: Place) -> Outcome {
    if !(location::DEVICE..=location::HOST_NODE_HERE).contains(&place.kind) {
        return Err(wrong(format!("a location of type {}", place.kind)));
    }
    give_advice(call, pointer, bytes, advice, place, Code::ERROR_INVALID_VALUE)
}

fn target(call: &Call, place: Place) -> Outcome<Location> {
    match place.location(call.runtime()?, Code::ERROR_INVALID_DEVICE)? {
        Location::Anywhere => Err(wrong("memory is brought to a location")),
        location => Ok(location),
    }
}

pub(crate) fn prefetch(call: &Call, pointer: Pointer, bytes: usize, device: i32, stream: CuStream) -> Outcome {
    prefetch_to(call, pointer, bytes, Place::of_device(device), 0, stream)
}

pub(crate) fn prefetch_to(
    call: &Call,
    pointer: Pointer,
    bytes: usize,
    place: Place,
    flags: u32,
    stream: CuStream,
) -> Outcome {
    if flags != 0 {
        return Err(wrong(format!("flags {flags}")));
    }
    let range = (pointer.0, bytes as u64, target(call, place)?);
    Ok(call.runtime()?.prefetch(call.stream(stream)?, &[range])?)
}

/// Which entry of a list of settings each item has: settings begin at the items that a list of indices names.
pub(crate) fn settings_of(indices: In<usize>, settings: usize, items: usize) -> Outcome<Vec<usize>> {
    let indices = indices.list(settings)?;
    let right = indices.first() == Some(&0) && indices.is_sorted_by(|a, b| a < b) && indices.iter().all(|&i| i < items);
    if !right {
        return Err(wrong("indices must begin with 0, ascend, and be smaller than the count"));
    }
    Ok((0..items).map(|item| indices.partition_point(|&first| first <= item) - 1).collect())
}

/// The stream of a batch, which is not the context's default one.
pub(crate) fn batch_stream(call: &Call, stream: CuStream) -> Outcome<StreamRef> {
    match call.stream(stream)? {
        StreamRef::Default => Err(wrong("a batch does not go to the default stream")),
        other => Ok(other),
    }
}

fn ranges(pointers: In<Pointer>, sizes: In<usize>, count: usize) -> Outcome<Vec<(u64, u64)>> {
    let (pointers, sizes) = (pointers.list(count)?, sizes.list(count)?);
    Ok(pointers.iter().zip(sizes).map(|(pointer, bytes)| (pointer.0, bytes as u64)).collect())
}

#[expect(clippy::too_many_arguments, reason = "so the call is")]
fn places(
    call: &Call,
    pointers: In<Pointer>,
    sizes: In<usize>,
    count: usize,
    places: In<Place>,
    indices: In<usize>,
    place_count: usize,
    flags: u64,
) -> Outcome<Vec<(u64, u64, Location)>> {
    if flags != 0 || count == 0 || place_count == 0 {
        return Err(wrong(format!("{count} ranges, {place_count} locations, flags {flags}")));
    }
    let which = settings_of(indices, place_count, count)?;
    let places = places.list(place_count)?.into_iter().map(|place| target(call, place)).collect::<Outcome<Vec<_>>>()?;
    let ranges = ranges(pointers, sizes, count)?;
    Ok(ranges.into_iter().zip(which).map(|((at, bytes), which)| (at, bytes, places[which])).collect())
}

#[expect(clippy::too_many_arguments, reason = "so the call is")]
pub(crate) fn prefetch_batch(
    call: &Call,
    pointers: In<Pointer>,
    sizes: In<usize>,
    count: usize,
    locations: In<Place>,
    indices: In<usize>,
    location_count: usize,
    flags: u64,
    stream: CuStream,
) -> Outcome {
    let stream = batch_stream(call, stream)?;
    let ranges = places(call, pointers, sizes, count, locations, indices, location_count, flags)?;
    Ok(call.runtime()?.prefetch(stream, &ranges)?)
}

pub(crate) fn discard_batch(
    call: &Call,
    pointers: In<Pointer>,
    sizes: In<usize>,
    count: usize,
    flags: u64,
    stream: CuStream,
) -> Outcome {
    let stream = batch_stream(call, stream)?;
    if flags != 0 || count == 0 {
        return Err(wrong(format!("{count} ranges, flags {flags}")));
    }
    Ok(call.runtime()?.discard(stream, &ranges(pointers, sizes, count)?)?)
}

#[expect(clippy::too_many_arguments, reason = "so the call is")]
pub(crate) fn discard_and_prefetch_batch(
    call: &Call,
    pointers: In<Pointer>,
    sizes: In<usize>,
    count: usize,
    locations: In<Place>,
    indices: In<usize>,
    location_count: usize,
    flags: u64,
    stream: CuStream,
) -> Outcome {
    let stream = batch_stream(call, stream)?;
    let there = places(call, pointers, sizes, count, locations, indices, location_count, flags)?;
    let runtime = call.runtime()?;
    let ranges: Vec<(u64, u64)> = there.iter().map(|&(at, bytes, _)| (at, bytes)).collect();
    runtime.discard(stream, &ranges)?;
    Ok(runtime.prefetch(stream, &there)?)
}

/// `CU_DEVICE_INVALID`.
const NO_DEVICE: i32 = -2;
const CPU: i32 = -1;

/// Type and id, as attributes of ranges tell them.
fn told(location: Option<Location>) -> (i32, i32) {
    match location {
        None | Some(Location::Anywhere) => (location::NONE, NO_DEVICE),
        Some(Location::Device(index)) => (location::DEVICE, index as i32),
        Some(Location::Host) => (location::HOST, CPU),
        Some(Location::HostNode(node)) => (location::HOST_NODE, node),
        Some(Location::HostNodeHere) => (location::HOST_NODE_HERE, 0),
    }
}

/// The same as the number of a device.
fn told_as_device(location: Option<Location>) -> i32 {
    match told(location) {
        (location::HOST_NODE | location::HOST_NODE_HERE, _) => CPU,
        (_, id) => id,
    }
}

/// What all parts of a range have in common.
fn common(wishes: &[Wishes], of: impl Fn(&Wishes) -> Option<Location>) -> Option<Location> {
    let first = wishes.first().and_then(&of);
    wishes.iter().all(|other| of(other) == first).then_some(first).flatten()
}

/// The words that an attribute of a range is, `count` of them.
fn range_attribute(wishes: &[Wishes], attribute: u32, count: usize) -> Outcome<Vec<i32>> {
    const READ_MOSTLY: u32 = 1;
    const PREFERRED: u32 = 2;
    const ACCESSED_BY: u32 = 3;
    const PREFETCHED: u32 = 4;
    const PREFERRED_TYPE: u32 = 5;
    const PREFERRED_ID: u32 = 6;
    const PREFETCHED_TYPE: u32 = 7;
    const PREFETCHED_ID: u32 = 8;
    let (preferred, prefetched) = (common(wishes, |w| w.preferred), common(wishes, |w| w.prefetched));
    let value = match attribute {
        READ_MOSTLY => i32::from(wishes.iter().all(|wishes| wishes.read_mostly)),
        PREFERRED => told_as_device(preferred),
        ACCESSED_BY => {
            let Some((first, rest)) = wishes.split_first() else { return Ok(vec![NO_DEVICE; count]) };
            let everywhere = |who: &&Location| rest.iter().all(|wishes| wishes.accessed_by.contains(who));
            let users = first.accessed_by.iter().filter(everywhere).map(|&who| told_as_device(Some(who)));
            return Ok(users.chain(std::iter::repeat(NO_DEVICE)).take(count).collect());
        }
        PREFETCHED => told_as_device(prefetched),
        PREFERRED_TYPE => told(preferred).0,
        PREFERRED_ID => told(preferred).1,
        PREFETCHED_TYPE => told(prefetched).0,
        PREFETCHED_ID => told(prefetched).1,
        _ => return Err(wrong(format!("no attribute {attribute} of a range"))),
    };
    match count {
        1 => Ok(vec![value]),
        _ => Err(wrong("this attribute is one word")),
    }
}

pub(crate) fn attribute(
    call: &Call,
    data: Out<i32>,
    bytes: usize,
    attribute: u32,
    pointer: Pointer,
    range: usize,
) -> Outcome {
    const WORD: usize = size_of::<i32>();
    let wishes = call.runtime()?.wishes(pointer.0, range as u64)?;
    if bytes == 0 || !bytes.is_multiple_of(WORD) {
        return Err(wrong(format!("{bytes} bytes for an attribute of a range")));
    }
    let words = range_attribute(&wishes, attribute, bytes / WORD)?;
    words.into_iter().enumerate().try_for_each(|(index, word)| data.at(index).set(word))
}

pub(crate) fn attributes(
    call: &Call,
    data: In<Out<i32>>,
    bytes: In<usize>,
    attributes: In<u32>,
    count: usize,
    pointer: Pointer,
    range: usize,
) -> Outcome {
    if count == 0 {
        return Err(wrong("no attributes"));
    }
    for index in 0..count {
        attribute(call, data.at(index)?, bytes.at(index)?, attributes.at(index)?, pointer, range)?;
    }
    Ok(())
}

/// Host and devices reach managed memory at the same time, so that a stream has nothing to wait for.
pub(crate) fn attach(call: &Call, stream: CuStream, pointer: Pointer, bytes: usize, flags: u32) -> Outcome {
    const GLOBAL: u32 = 1;
    const HOST: u32 = 2;
    const SINGLE: u32 = 4;
    let (runtime, stream) = (call.runtime()?, call.stream(stream)?);
    runtime.stream_session(stream)?;
    let found = runtime.memory.find(pointer.0).filter(|found| found.kind == AllocationKind::Managed);
    let found = found.filter(|found| found.start == pointer.0 && (bytes == 0 || bytes as u64 == found.bytes));
    if found.is_none() {
        return Err(wrong(format!("{bytes} bytes at {pointer:?} are not all of an allocation of managed memory")));
    }
    match flags {
        SINGLE if stream == StreamRef::Default => Err(wrong("memory of the default stream alone")),
        GLOBAL | HOST | SINGLE => Ok(()),
        _ => Err(wrong(format!("flags {flags:#x}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_a_range_reads_as_nothing() {
        let here = Wishes { preferred: Some(Location::Device(1)), read_mostly: true, ..Wishes::default() };
        let there = Wishes { preferred: Some(Location::Host), read_mostly: true, ..Wishes::default() };
        assert_eq!(range_attribute(&[here.clone(), here.clone()], 2, 1).unwrap(), [1]);
        assert_eq!(range_attribute(&[here.clone(), there], 2, 1).unwrap(), [NO_DEVICE]);
        assert_eq!(range_attribute(&[here.clone(), here.clone()], 1, 1).unwrap(), [1]);
        assert_eq!(range_attribute(&[here.clone(), Wishes::default()], 1, 1).unwrap(), [0]);
        assert!(range_attribute(&[here], 1, 2).is_err());
    }
}
