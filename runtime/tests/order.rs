//! Streams, events, contexts: what waits for what.

mod common;

use common::{copy, enter, fill, runtime};
use hetgpu_runtime::{Compare, Error, StreamRef, Word, WordOperation};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Long enough for a worker to do what it must not do.
const A_WHILE: Duration = Duration::from_millis(50);

#[test]
fn work_is_not_done_when_it_is_asked_for_but_when_it_is_waited_for() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(8).unwrap();
    let stream = StreamRef::Handle(runtime.create_stream(true, 0, 0).unwrap());
    device.hold();
    runtime.fill(stream, fill(at, 7, 8), false).unwrap();
    assert_eq!(runtime.query_stream(stream), Err(Error::NotReady));
    device.release();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(runtime.query_stream(stream), Ok(()));
    assert_eq!(runtime.read(at, 8).unwrap(), [7; 8]);
}

#[test]
fn the_default_stream_waits_for_blocking_streams_and_they_for_it() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(8).unwrap();
    let blocking = StreamRef::Handle(runtime.create_stream(true, 0, 0).unwrap());
    device.hold();
    runtime.fill(blocking, fill(at, 1, 8), false).unwrap();
    runtime.fill(StreamRef::Default, fill(at, 2, 4), false).unwrap();
    runtime.fill(blocking, fill(at, 3, 2), false).unwrap();
    assert_eq!(runtime.query_stream(StreamRef::Default), Err(Error::NotReady));
    device.release();
    runtime.synchronise_stream(blocking).unwrap();
    assert_eq!(runtime.read(at, 8).unwrap(), [3, 3, 2, 2, 1, 1, 1, 1]);
}

#[test]
fn a_stream_that_does_not_block_is_not_waited_for() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(8).unwrap();
    let free = StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap());
    device.hold();
    runtime.fill(free, fill(at, 1, 8), false).unwrap();
    assert_eq!(runtime.query_stream(StreamRef::Default), Ok(()));
    assert_eq!(runtime.query_stream(StreamRef::Thread), Ok(()));
    assert_eq!(runtime.query_stream(free), Err(Error::NotReady));
    device.release();
    runtime.session().unwrap().synchronise().unwrap();
    assert_eq!(runtime.query_stream(free), Ok(()));
}

#[test]
fn each_thread_has_a_default_stream_of_its_own() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(8).unwrap();
    device.hold();
    runtime.fill(StreamRef::Thread, fill(at, 1, 8), false).unwrap();
    assert_eq!(runtime.query_stream(StreamRef::Thread), Err(Error::NotReady));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter(&runtime);
            assert_eq!(runtime.query_stream(StreamRef::Thread), Ok(()));
        });
    });
    device.release();
    runtime.synchronise_stream(StreamRef::Thread).unwrap();
}

#[test]
fn an_event_holds_back_another_stream_until_it_is_passed() {
    let (runtime, device) = runtime(1 << 30, 1);
    let (a, b) = (runtime.allocate(4).unwrap(), runtime.allocate(4).unwrap());
    let make = || StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap());
    let (first, second) = (make(), make());
    let event = runtime.create_event(true, 0).unwrap();
    assert_eq!(runtime.query_event(event), Ok(()), "never recorded");
    device.hold();
    runtime.fill(first, fill(a, 9, 4), false).unwrap();
    runtime.record_event(event, first).unwrap();
    runtime.stream_wait(second, event).unwrap();
    runtime.copy(second, copy(b, a, 4), false).unwrap();
    std::thread::sleep(A_WHILE);
    assert_eq!(runtime.query_event(event), Err(Error::NotReady));
    assert_eq!(runtime.query_stream(second), Err(Error::NotReady));
    device.release();
    runtime.synchronise_stream(second).unwrap();
    assert_eq!(runtime.query_event(event), Ok(()));
    assert_eq!(runtime.read(b, 4).unwrap(), [9; 4]);
}

#[test]
fn time_between_events_is_the_time_of_the_work_between_them() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(4).unwrap();
    let (start, end) = (runtime.create_event(true, 0).unwrap(), runtime.create_event(true, 0).unwrap());
    assert!(matches!(runtime.elapsed(start, end), Err(Error::InvalidHandle(_))), "never recorded");
    device.hold();
    runtime.record_event(start, StreamRef::Default).unwrap();
    runtime.fill(StreamRef::Default, fill(at, 1, 4), false).unwrap();
    runtime.record_event(end, StreamRef::Default).unwrap();
    assert_eq!(runtime.elapsed(start, end), Err(Error::NotReady));
    std::thread::sleep(A_WHILE);
    device.release();
    runtime.synchronise_event(end).unwrap();
    assert!(runtime.elapsed(start, end).unwrap() >= 40.0);
    assert!(runtime.elapsed(end, start).unwrap() <= -40.0);
    let untimed = runtime.create_event(false, 2).unwrap();
    runtime.record_event(untimed, StreamRef::Default).unwrap();
    runtime.synchronise_event(untimed).unwrap();
    assert!(matches!(runtime.elapsed(start, untimed), Err(Error::InvalidHandle(_))));
}

#[test]
fn functions_of_the_host_run_in_the_order_of_their_stream() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(4).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    device.hold();
    for number in 0..3 {
        let seen = seen.clone();
        runtime.fill(StreamRef::Default, fill(at, 1, 4), false).unwrap();
        runtime
            .stream_call(StreamRef::Default, move |fault| seen.lock().unwrap().push((number, fault.is_some())))
            .unwrap();
    }
    std::thread::sleep(A_WHILE);
    assert!(seen.lock().unwrap().is_empty());
    device.release();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(0, false), (1, false), (2, false)]);
}

#[test]
fn a_destroyed_stream_finishes_and_its_handle_is_dead() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(4).unwrap();
    let handle = runtime.create_stream(false, 1, 0).unwrap();
    device.hold();
    runtime.fill(StreamRef::Handle(handle), fill(at, 5, 4), false).unwrap();
    runtime.destroy_stream(handle).unwrap();
    assert!(matches!(runtime.query_stream(StreamRef::Handle(handle)), Err(Error::InvalidHandle("stream"))));
    device.release();
    runtime.session().unwrap().synchronise().unwrap();
    assert_eq!(runtime.read(at, 4).unwrap(), [5; 4]);
}

#[test]
fn memory_freed_in_a_stream_lives_until_the_stream_gets_there() {
    let (runtime, device) = runtime(1 << 30, 1);
    let stream = StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap());
    let at = runtime.allocate_in(stream, 4).unwrap();
    device.hold();
    runtime.fill(stream, fill(at, 1, 4), false).unwrap();
    runtime.free_in(stream, at).unwrap();
    std::thread::sleep(A_WHILE);
    assert_eq!(device.mapped(), [(at, 32 << 20)], "what a pool takes at a time");
    assert!(matches!(runtime.free_in(stream, at), Err(Error::InvalidValue(_))), "freed already");
    device.release();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(device.mapped(), []);
}

#[test]
fn a_free_waits_for_the_work_that_may_use_the_memory() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(4).unwrap();
    device.hold();
    runtime.fill(StreamRef::Default, fill(at, 1, 4), false).unwrap();
    std::thread::scope(|scope| {
        let free = scope.spawn(|| {
            enter(&runtime);
            runtime.free(at)
        });
        std::thread::sleep(A_WHILE);
        assert!(!free.is_finished());
        device.release();
        free.join().unwrap().unwrap();
    });
    assert_eq!(device.mapped(), []);
}

#[test]
fn bytes_of_the_caller_are_read_before_an_asynchronous_copy_returns() {
    let (runtime, device) = runtime(1 << 30, 1);
    let (gate, at) = (runtime.allocate(1).unwrap(), runtime.allocate(4).unwrap());
    device.hold();
    runtime.fill(StreamRef::Default, fill(gate, 1, 1), false).unwrap();
    let mut own = vec![1u8, 2, 3, 4];
    let mut request = copy(at, own.as_mut_ptr().expose_provenance() as u64, 4);
    request.from_device = false;
    runtime.copy(StreamRef::Default, request, false).unwrap();
    own.fill(0);
    device.release();
    assert_eq!(runtime.read(at, 4).unwrap(), [1, 2, 3, 4]);
}

#[test]
fn a_fault_stays_with_its_context_and_drops_what_is_behind_it() {
    let (runtime, device) = runtime(1 << 30, 1);
    let context = runtime.create_context(0, 0, 0).unwrap();
    let at = runtime.allocate(4).unwrap();
    let told = Arc::new(AtomicU32::new(0));
    device.hold();
    runtime.fill(StreamRef::Default, fill(at, 1, 4), false).unwrap();
    let mut bad = fill(at, 1, 4);
    // The runtime's own check does not see that the device has lost the memory.
    hetgpu_device::SyncDevice::unmap(device.as_ref(), at);
    bad.count = 2;
    runtime.fill(StreamRef::Default, bad, false).unwrap();
    let seen = told.clone();
    let note = move |fault: Option<Error>| seen.store(1 + u32::from(fault.is_some()), Ordering::SeqCst);
    runtime.stream_call(StreamRef::Default, note).unwrap();
    device.release();
    let fault = runtime.synchronise_stream(StreamRef::Default).unwrap_err();
    assert!(matches!(&fault, Error::Device(error) if error.kind == hetgpu_device::ErrorKind::IllegalAddress));
    assert_eq!(told.load(Ordering::SeqCst), 2, "the host function ran and was told");
    assert_eq!(device.fills(), 1, "the second fill was dropped");
    assert_eq!(runtime.allocate(4), Err(fault));

    // Memory that the device lost cannot be unmapped: it is put back for the end of the context.
    hetgpu_device::SyncDevice::map(device.as_ref(), at, 4, "").unwrap();
    runtime.destroy_context(context).unwrap();
    enter(&runtime);
    assert!(runtime.allocate(4).is_ok(), "another context is sound");
}

#[test]
fn contexts_form_a_stack_on_each_thread() {
    let (runtime, _) = runtime(1 << 30, 1);
    let bottom = runtime.current().unwrap();
    let one = runtime.create_context(0, 0, 0).unwrap();
    let two = runtime.create_context(0, 0, 0).unwrap();
    assert_eq!(runtime.current(), Some(two));
    assert_eq!(runtime.pop_current(), Ok(two));
    assert_eq!(runtime.current(), Some(one));
    runtime.push_current(two).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(runtime.current(), None));
    });
    runtime.destroy_context(two).unwrap();
    assert_eq!(runtime.current(), Some(one));
    assert_eq!(runtime.push_current(two), Err(Error::InvalidContext));
    runtime.destroy_context(one).unwrap();
    assert_eq!(runtime.current(), Some(bottom));
    assert_eq!(runtime.destroy_context(bottom), Err(Error::InvalidContext), "a primary context is not destroyed");
}

#[test]
fn a_context_destroyed_elsewhere_is_noticed() {
    let (runtime, _) = runtime(1 << 30, 1);
    let context = runtime.create_context(0, 0, 0).unwrap();
    let stream = runtime.create_stream(true, 0, 0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| runtime.destroy_context(context).unwrap());
    });
    assert_eq!(runtime.allocate(4), Err(Error::ContextDestroyed));
    assert!(runtime.query_stream(StreamRef::Handle(stream)).is_err());
}

#[test]
fn the_primary_context_is_active_while_it_is_retained() {
    let (runtime, device) = runtime(1 << 30, 1);
    assert_eq!(runtime.primary_state(0), Ok((0, true)));
    runtime.retain_primary(0).unwrap();
    runtime.allocate(4).unwrap();
    runtime.release_primary(0).unwrap();
    assert_eq!(runtime.primary_state(0), Ok((0, true)));
    runtime.reset_primary(0).unwrap();
    assert_eq!(device.mapped(), []);
    assert_eq!(runtime.allocate(4), Err(Error::ContextDestroyed));
    runtime.retain_primary(0).unwrap();
    assert!(runtime.allocate(4).is_ok());
    runtime.release_primary(0).unwrap();
    runtime.release_primary(0).unwrap();
    assert_eq!(runtime.release_primary(0), Err(Error::InvalidContext), "released more often than retained");
}

#[test]
fn who_waits_runs_what_stands_before_him_where_nobody_has_begun() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(4).unwrap();
    let stream = StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap());
    let me = Some(std::thread::current().id());
    // A worker that has just been called may come first.
    let helped = (0..1000).any(|_| {
        runtime.fill(stream, fill(at, 1, 4), false).unwrap();
        runtime.synchronise_stream(stream).unwrap();
        device.filler() == me
    });
    assert!(helped);
}

#[test]
fn a_thread_with_little_stack_leaves_the_work_to_others() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(4).unwrap();
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(256 << 10);
        let work = || {
            enter(&runtime);
            (0..100).for_each(|_| {
                runtime.fill(StreamRef::Thread, fill(at, 1, 4), false).unwrap();
                runtime.synchronise_stream(StreamRef::Thread).unwrap();
                assert_ne!(device.filler(), Some(std::thread::current().id()));
            });
        };
        small.spawn_scoped(scope, work).unwrap().join().unwrap();
    });
    assert_eq!(device.fills(), 100);
}

#[test]
fn functions_of_the_host_run_on_a_thread_of_their_own() {
    let (runtime, _) = runtime(1 << 30, 1);
    let me = std::thread::current().id();
    for _ in 0..100 {
        let (send, receive) = std::sync::mpsc::channel();
        let call = move |_| send.send((std::thread::current().id(), hetgpu_runtime::in_host_function())).unwrap();
        runtime.stream_call(StreamRef::Default, call).unwrap();
        runtime.synchronise_stream(StreamRef::Default).unwrap();
        let (thread, inside) = receive.try_recv().unwrap();
        assert!(thread != me && inside);
    }
    assert!(!hetgpu_runtime::in_host_function());
}

#[test]
fn work_that_nobody_waits_for_is_done_all_the_same() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(4).unwrap();
    for round in 1..=200 {
        runtime.fill(StreamRef::Default, fill(at, 1, 4), false).unwrap();
        let start = std::time::Instant::now();
        while device.fills() < round {
            assert!(start.elapsed() < Duration::from_secs(10), "round {round}");
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(round as u64 * 7 % 400));
    }
}

#[test]
fn a_stream_waits_for_a_word_that_another_one_writes() {
    let (runtime, device) = runtime(1 << 30, 1);
    let (word, at) = (runtime.allocate(8).unwrap(), runtime.allocate(4).unwrap());
    let make = || StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap());
    let (first, second) = (make(), make());
    let word = Word { at: word, wide: true };
    runtime.words(second, &[WordOperation::Wait(word, Compare::Equal, 9)], || Arc::new(())).unwrap();
    runtime.fill(second, fill(at, 4, 4), false).unwrap();
    std::thread::sleep(A_WHILE);
    assert_eq!(runtime.query_stream(second), Err(Error::NotReady));
    assert_eq!(device.fills(), 0);
    runtime.words(first, &[WordOperation::Write(word, 9)], || Arc::new(())).unwrap();
    runtime.synchronise_stream(second).unwrap();
    assert_eq!(runtime.read(at, 4).unwrap(), [4; 4]);
}

#[test]
fn a_poisoned_context_waits_for_no_word() {
    let (runtime, device) = runtime(1 << 30, 1);
    runtime.create_context(0, 0, 0).unwrap();
    let (word, at) = (runtime.allocate(8).unwrap(), runtime.allocate(4).unwrap());
    let make = || StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap());
    let (first, second) = (make(), make());
    runtime
        .words(second, &[WordOperation::Wait(Word { at: word, wide: true }, Compare::Equal, 9)], || Arc::new(()))
        .unwrap();
    // The runtime's own check does not see that the device has lost the memory.
    hetgpu_device::SyncDevice::unmap(device.as_ref(), at);
    runtime.fill(first, fill(at, 1, 4), false).unwrap();
    let session = runtime.stream_session(second).unwrap();
    assert!(session.synchronise().is_err());
}
