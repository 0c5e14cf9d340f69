//! Memory pools: what is reused, what is kept, what is given back, and what is refused.

mod common;

use common::{copy, fill, runtime};
use hetgpu_runtime::{AllocationKind, Error, Handle, Level, Location, Pool, PoolTraits, Runtime, StreamRef};

const CHUNK: u64 = 32 << 20;

fn default_pool(runtime: &Runtime) -> Handle<Pool> {
    runtime.default_pool(runtime.device_pool(0)).unwrap()
}

fn levels(runtime: &Runtime, pool: Handle<Pool>) -> (Level, Level) {
    let pool = runtime.pools.get(pool).unwrap();
    (pool.reserved(), pool.used())
}

fn stream(runtime: &Runtime) -> StreamRef {
    StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap())
}

#[test]
fn a_chunk_holds_many_allocations() {
    let (runtime, device) = runtime(1 << 30, 1);
    let stream = stream(&runtime);
    let all: Vec<u64> = (0..10).map(|_| runtime.allocate_in(stream, 1000).unwrap()).collect();
    assert_eq!(device.mapped().len(), 1);
    assert!(all.iter().all(|at| at.is_multiple_of(512)) && all.windows(2).all(|two| two[1] - two[0] >= 1000));
    let (reserved, used) = levels(&runtime, default_pool(&runtime));
    assert_eq!((reserved.now, used.now), (CHUNK, 10_000));
}

#[test]
fn an_allocation_lies_in_one_chunk() {
    const M: u64 = 1 << 20;
    let (runtime, device) = runtime(1 << 30, 1);
    let (_, second) =
        (runtime.allocate_in(StreamRef::Default, 20 * M), runtime.allocate_in(StreamRef::Default, 20 * M));
    runtime.free(second.unwrap()).unwrap();
    // The end of the first chunk and all of the second are free, and lie side by side.
    let at = runtime.allocate_in(StreamRef::Default, 30 * M).unwrap();
    let holds = |&(start, bytes): &(u64, u64)| start <= at && at + 30 * M <= start + bytes;
    assert!(device.mapped().iter().any(holds), "{at:#x} in {:x?}", device.mapped());
}

#[test]
fn memory_freed_in_a_stream_is_reused_there_at_once_and_elsewhere_when_it_is_free() {
    let (runtime, device) = runtime(1 << 30, 1);
    let (one, two) = (stream(&runtime), stream(&runtime));
    let at = runtime.allocate_in(one, 4096).unwrap();
    device.hold();
    runtime.fill(one, fill(at, 1, 4096), false).unwrap();
    runtime.free_in(one, at).unwrap();
    assert_ne!(runtime.allocate_in(two, 4096).unwrap(), at, "the fill may still write there");
    assert_eq!(runtime.allocate_in(one, 1024).unwrap(), at);
    assert_eq!(runtime.allocate_in(one, 1024).unwrap(), at + 1024);
    device.release();
    runtime.synchronise_stream(one).unwrap();
    assert_eq!(runtime.allocate_in(two, 2048).unwrap(), at + 2048, "the rest of it is free for everybody");
}

#[test]
fn a_threshold_says_how_much_is_kept_when_the_program_waits() {
    let (runtime, device) = runtime(1 << 30, 1);
    let (stream, pool) = (stream(&runtime), default_pool(&runtime));
    let cycle = || {
        let at = runtime.allocate_in(stream, 40 << 20).unwrap();
        runtime.free_in(stream, at).unwrap();
        runtime.synchronise_stream(stream).unwrap();
        device.mapped().len()
    };
    assert_eq!(cycle(), 0);
    runtime.pools.get(pool).unwrap().set_threshold(100 << 20);
    assert_eq!(cycle(), 1);
    let (reserved, used) = levels(&runtime, pool);
    assert_eq!((reserved, used), (Level { now: 2 * CHUNK, high: 2 * CHUNK }, Level { now: 0, high: 40 << 20 }));
    runtime.trim_pool(pool, 0).unwrap();
    assert_eq!(device.mapped(), []);
    assert_eq!(levels(&runtime, pool).0, Level { now: 0, high: 2 * CHUNK });
}

#[test]
fn a_pool_holds_no_more_than_it_was_made_for() {
    let (runtime, _) = runtime(1 << 30, 1);
    let stream = stream(&runtime);
    let traits = PoolTraits { most: 4 << 20, ..runtime.device_pool(0) };
    let pool = runtime.create_pool(traits).unwrap();
    runtime.allocate_from(pool, stream, 3 << 20).unwrap();
    let error = runtime.allocate_from(pool, stream, 40 << 20).unwrap_err();
    assert!(error.to_string().contains("4194304 bytes"), "{error}");
    assert_eq!(runtime.allocate_from(pool, stream, 0).unwrap(), 0);
}

#[test]
fn a_pool_that_is_destroyed_lives_until_its_memory_is_free() {
    let (runtime, device) = runtime(1 << 30, 1);
    let stream = stream(&runtime);
    let pool = runtime.create_pool(runtime.device_pool(0)).unwrap();
    runtime.set_current_pool(runtime.device_pool(0), pool).unwrap();
    let at = runtime.allocate_in(stream, 100).unwrap();
    runtime.destroy_pool(pool).unwrap();
    assert_eq!(runtime.current_pool(runtime.device_pool(0)).unwrap(), default_pool(&runtime));
    runtime.fill(stream, fill(at, 7, 100), true).unwrap();
    assert_eq!(runtime.read(at, 100).unwrap(), [7; 100]);
    runtime.free_in(stream, at).unwrap();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(device.mapped(), []);
    assert!(matches!(runtime.destroy_pool(pool), Err(Error::InvalidHandle("memory pool"))));
    assert!(runtime.destroy_pool(default_pool(&runtime)).is_err());
}

#[test]
fn what_the_device_cannot_is_refused() {
    let (runtime, _) = runtime(1 << 30, 1);
    let shared = PoolTraits { handle_types: 1, ..runtime.device_pool(0) };
    assert!(matches!(runtime.create_pool(shared), Err(Error::NotSupported(_))));
    let host = PoolTraits { kind: AllocationKind::Pinned, location: Location::Host, ..runtime.device_pool(0) };
    assert!(matches!(runtime.create_pool(host), Err(Error::NotSupported(_))));
    assert!(matches!(runtime.create_physical(0, 2 << 20, Default::default()), Err(Error::NotSupported(_))));
    let at = runtime.allocate(64).unwrap();
    assert!(matches!(runtime.share_memory(at), Err(Error::NotSupported(_))));
}

#[test]
fn memory_of_a_pool_is_freed_by_any_of_the_two_calls_and_only_once() {
    let (runtime, _) = runtime(1 << 30, 1);
    let stream = stream(&runtime);
    let (one, two) = (runtime.allocate_in(stream, 64).unwrap(), runtime.allocate_in(stream, 64).unwrap());
    runtime.copy(stream, copy(two, one, 64), true).unwrap();
    runtime.free(one).unwrap();
    runtime.free_in(stream, two).unwrap();
    assert!(runtime.free(one).is_err() && runtime.free_in(stream, two).is_err());
    assert_eq!(levels(&runtime, default_pool(&runtime)).1.now, 0);
}

#[test]
fn memory_of_a_session_goes_with_it() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate_in(StreamRef::Default, 64).unwrap();
    runtime.reset_primary(0).unwrap();
    assert!(runtime.memory.find(at).is_none());
    runtime.trim_pool(default_pool(&runtime), 0).unwrap();
    assert_eq!(device.mapped(), []);
}
