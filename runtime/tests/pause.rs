//! What stands still in a pause, and what goes on after it.

mod common;

use common::{copy, enter, fill, kernel, stopping_runtime, touch, wide_runtime};
use hetgpu_runtime::{
    Compare, Dependency, Edge, Error, Handle, HostCall, Node, NodeRequest, Runtime, Stage, StreamRef, TroubleKind,
    Word, WordOperation,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Long enough for somebody to do what he must not do.
const A_WHILE: Duration = Duration::from_millis(60);
/// Far more than a pause takes.
const LONG: Duration = Duration::from_secs(20);

fn stream(runtime: &Runtime) -> StreamRef {
    StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap())
}

fn pause(runtime: &Runtime) {
    runtime.pause(None, LONG).unwrap();
}

/// Lets the job go on where a test has failed, so that its threads end.
struct Resumed<'r>(&'r Runtime);

impl Drop for Resumed<'_> {
    fn drop(&mut self) {
        let _ = self.0.resume(None);
    }
}

#[test]
fn a_kernel_stops_between_two_blocks_and_goes_on_with_those_that_are_left() {
    let (runtime, device) = stopping_runtime();
    let kernel = kernel(&runtime);
    let at = runtime.allocate(300).unwrap();
    runtime.launch(kernel, StreamRef::Default, touch(at, 300)).unwrap();
    assert_eq!(runtime.query_stream(StreamRef::Default), Err(Error::NotReady));
    for stop in 1..4 {
        device.wait_for_blocks(stop * 20);
        pause(&runtime);
        let done = device.blocks();
        assert!(done < 300, "it ran on");
        std::thread::sleep(A_WHILE);
        assert_eq!(device.blocks(), done, "a block began in the pause");
        assert_eq!(runtime.status()[0].flights[0].kernel, "touch");
        runtime.resume(None).unwrap();
    }
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 300).unwrap(), [1; 300], "each block runs once");
    assert!(runtime.status()[0].flights.is_empty());
}

#[test]
fn a_pause_does_not_wait_for_a_compiler() {
    let (runtime, device) = stopping_runtime();
    let kernel = kernel(&runtime);
    let at = runtime.allocate(100).unwrap();
    device.hold_compiler();
    runtime.launch(kernel, StreamRef::Default, touch(at, 100)).unwrap();
    assert_eq!(runtime.query_stream(StreamRef::Default), Err(Error::NotReady));
    device.wait_for_compiler();
    let paused = runtime.pause(None, A_WHILE * 10);
    device.release_compiler();
    paused.unwrap();
    std::thread::sleep(A_WHILE);
    assert_eq!(device.blocks(), 0, "a block began in the pause");
    runtime.resume(None).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 100).unwrap(), [1; 100]);
    // Others are counted as before.
    runtime.launch(kernel, StreamRef::Default, touch(at, 100)).unwrap();
    device.wait_for_blocks(110);
    pause(&runtime);
    let done = device.blocks();
    std::thread::sleep(A_WHILE);
    assert_eq!(device.blocks(), done, "a block began in the pause");
    runtime.resume(None).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 100).unwrap(), [2; 100]);
}

#[test]
fn what_is_queued_behind_a_paused_kernel_stays_behind_it() {
    let (runtime, device) = stopping_runtime();
    let kernel = kernel(&runtime);
    let (at, other) = (runtime.allocate(100).unwrap(), runtime.allocate(100).unwrap());
    let (first, second) = (stream(&runtime), stream(&runtime));
    let event = runtime.create_event(true, 0).unwrap();
    let called = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&called);
    runtime.launch(kernel, first, touch(at, 100)).unwrap();
    // A copy that overwrites what the kernel still writes to, a kernel, an event, a function, and another stream.
    runtime.fill(first, fill(at, 9, 100), false).unwrap();
    runtime.launch(kernel, first, touch(at, 100)).unwrap();
    runtime.record_event(event, first).unwrap();
    runtime.stream_call(first, move |_| says.store(true, Ordering::SeqCst)).unwrap();
    runtime.stream_wait(second, event).unwrap();
    runtime.copy(second, copy(other, at, 100), false).unwrap();
    let _ = runtime.query_stream(second);
    device.wait_for_blocks(10);
    pause(&runtime);
    let before = (device.blocks(), device.peek(at, 100));
    std::thread::sleep(A_WHILE);
    assert_eq!((device.blocks(), device.peek(at, 100)), before);
    assert_eq!(runtime.query_event(event), Err(Error::NotReady));
    assert_eq!(runtime.query_stream(second), Err(Error::NotReady));
    assert!(!called.load(Ordering::SeqCst) && device.fills() == 0);
    runtime.resume(None).unwrap();
    runtime.synchronise_stream(second).unwrap();
    assert_eq!(runtime.read(other, 100).unwrap(), [10; 100]);
    runtime.synchronise_stream(first).unwrap();
    assert!(called.load(Ordering::SeqCst));
}

#[test]
fn threads_that_wait_go_on_waiting_also_where_they_run_the_work_themselves() {
    let (runtime, device) = stopping_runtime();
    let kernel = kernel(&runtime);
    let at = runtime.allocate(400).unwrap();
    let (sender, woken) = channel();
    std::thread::scope(|scope| {
        // The launcher itself, a thread behind it in the same stream, and one that waits for an event of it.
        let event = runtime.create_event(false, 2).unwrap();
        let stream = stream(&runtime);
        runtime.launch(kernel, stream, touch(at, 400)).unwrap();
        runtime.record_event(event, stream).unwrap();
        for how in 0..3 {
            let (runtime, sender) = (&runtime, sender.clone());
            scope.spawn(move || {
                enter(runtime);
                match how {
                    0 => runtime.synchronise_stream(stream).unwrap(),
                    1 => runtime.synchronise_event(event).unwrap(),
                    _ => runtime.session().unwrap().synchronise().unwrap(),
                }
                sender.send(()).unwrap();
            });
        }
        device.wait_for_blocks(20);
        let _resumed = Resumed(&runtime);
        pause(&runtime);
        assert!(woken.recv_timeout(A_WHILE).is_err(), "somebody woke in the pause");
        runtime.resume(None).unwrap();
        (0..3).for_each(|_| assert_eq!(woken.recv_timeout(LONG), Ok(())));
    });
    assert_eq!(runtime.read(at, 400).unwrap(), [1; 400]);
}

#[test]
fn calls_that_need_the_device_stay_in_front_of_it_and_others_do_not() {
    let (runtime, device) = wide_runtime(4);
    let at = runtime.allocate(8).unwrap();
    let mapped = device.mapped().len();
    pause(&runtime);
    let (sender, done) = channel();
    std::thread::scope(|scope| {
        let _resumed = Resumed(&runtime);
        let calls: [fn(&Runtime, u64); 4] = [
            |runtime, _| assert!(runtime.allocate(4096).is_ok()),
            |runtime, at| runtime.write(at, vec![7; 8]).unwrap(),
            |runtime, at| runtime.fill(StreamRef::Thread, fill(at, 7, 8), true).unwrap(),
            |runtime, at| drop(runtime.read(at, 8).unwrap()),
        ];
        for call in calls {
            let (runtime, sender) = (&runtime, sender.clone());
            scope.spawn(move || {
                enter(runtime);
                call(runtime, at);
                sender.send(()).unwrap();
            });
        }
        assert!(done.recv_timeout(A_WHILE).is_err(), "a call came back");
        assert_eq!((device.mapped().len(), device.fills()), (mapped, 0));
        // A stream can be asked; whether the write stands in it depends on which call came first.
        assert!(matches!(runtime.query_stream(StreamRef::Default), Ok(()) | Err(Error::NotReady)));
        runtime.create_event(false, 2).unwrap();
        runtime.resume(None).unwrap();
        (0..4).for_each(|_| done.recv_timeout(LONG).unwrap());
    });
    assert_eq!(runtime.read(at, 8).unwrap(), [7; 8]);
}

#[test]
fn work_that_does_not_stop_is_named_and_the_job_goes_on() {
    let (runtime, device) = stopping_runtime();
    let kernel = kernel(&runtime);
    let at = runtime.allocate(200).unwrap();
    device.be_stubborn();
    runtime.launch(kernel, StreamRef::Default, touch(at, 200)).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    device.wait_for_blocks(5);
    let trouble = runtime.pause(None, Duration::from_millis(20)).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Held);
    assert!(trouble.text.contains("kernel touch"), "{}", trouble.text);
    assert_eq!(runtime.stage(0), Stage::Running);
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 200).unwrap(), [1; 200]);
    // Its word is set and nobody has asked it to stop: it goes on as if it were not.
    let again = runtime.allocate(50).unwrap();
    runtime.launch(kernel, StreamRef::Default, touch(again, 50)).unwrap();
    assert_eq!(runtime.read(again, 50).unwrap(), [1; 50]);
}

#[test]
fn a_launch_whose_blocks_have_all_begun_is_waited_for() {
    let (runtime, device) = stopping_runtime();
    let kernel = kernel(&runtime);
    let at = runtime.allocate(8).unwrap();
    runtime.launch(kernel, StreamRef::Default, touch(at, 1)).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    device.wait_for_blocks(1);
    pause(&runtime);
    assert_eq!(device.blocks(), 1);
    runtime.resume(None).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
}

#[test]
fn a_function_of_the_program_may_wait_for_what_another_thread_asks_of_the_device() {
    let (runtime, _) = wide_runtime(4);
    let (begun, has_begun) = channel();
    let (allow, allowed) = channel::<()>();
    runtime
        .stream_call(StreamRef::Default, move |_| {
            begun.send(()).unwrap();
            let _ = allowed.recv_timeout(LONG);
        })
        .unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    has_begun.recv_timeout(LONG).unwrap();
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| runtime.pause(None, LONG));
        while runtime.stage(0) != Stage::Pausing {
            std::thread::yield_now();
        }
        std::thread::sleep(A_WHILE);
        runtime.allocate(4096).unwrap();
        allow.send(()).unwrap();
        pausing.join().unwrap().unwrap();
    });
    runtime.resume(None).unwrap();
}

#[test]
fn words_do_not_let_streams_go_on_in_a_pause() {
    let (runtime, device) = wide_runtime(4);
    let (word, at) = (runtime.allocate(4).unwrap(), runtime.allocate(4).unwrap());
    let stream = stream(&runtime);
    let wait = WordOperation::Wait(Word { at: word, wide: false }, Compare::Equal, 5);
    runtime.words(stream, &[wait], || Arc::new(())).unwrap();
    runtime.fill(stream, fill(at, 3, 4), false).unwrap();
    assert_eq!(runtime.query_stream(stream), Err(Error::NotReady));
    pause(&runtime);
    device.poke(word, &5u32.to_le_bytes());
    std::thread::sleep(A_WHILE);
    assert_eq!((runtime.query_stream(stream), device.fills()), (Err(Error::NotReady), 0));
    runtime.resume(None).unwrap();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(runtime.read(at, 4).unwrap(), [3; 4]);
}

fn node(
    runtime: &Runtime,
    graph: Handle<hetgpu_runtime::Graph>,
    after: &[Handle<Node>],
    what: NodeRequest,
) -> Handle<Node> {
    let after: Vec<_> = after.iter().map(|&node| Dependency { node, edge: Edge::default() }).collect();
    runtime.add_node(graph, &after, what).unwrap()
}

#[test]
fn a_graph_stays_where_it_is_and_goes_on_in_order() {
    let (runtime, device) = wide_runtime(4);
    let at = runtime.allocate(4).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let graph = runtime.create_graph();
    let say = |what: &'static str| {
        let order = Arc::clone(&order);
        NodeRequest::Host(HostCall::new(1, 2, Arc::new(move || order.lock().unwrap().push(what))))
    };
    let filled = |value| NodeRequest::Fill { request: fill(at, value, 4), context: None };
    let first = node(&runtime, graph, &[], say("first"));
    let second = node(&runtime, graph, &[first], filled(1));
    let third = node(&runtime, graph, &[second], say("third"));
    let fourth = node(&runtime, graph, &[third], filled(2));
    node(&runtime, graph, &[fourth], say("fifth"));
    let executable = runtime.instantiate_graph(graph, 0, false).unwrap();
    device.hold();
    runtime.launch_graph(executable, StreamRef::Default).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    device.wait_for_fills(1);
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| runtime.pause(None, LONG));
        while runtime.stage(0) != Stage::Pausing {
            std::thread::yield_now();
        }
        device.release();
        pausing.join().unwrap().unwrap();
    });
    std::thread::sleep(A_WHILE);
    assert_eq!((order.lock().unwrap().clone(), device.fills()), (vec!["first"], 1));
    runtime.resume(None).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(*order.lock().unwrap(), ["first", "third", "fifth"]);
    assert_eq!(runtime.read(at, 4).unwrap(), [2; 4]);
}

#[test]
fn stages_are_kept_apart_and_a_pause_can_be_given_up() {
    let (runtime, device) = wide_runtime(2);
    let at = runtime.allocate(4).unwrap();
    assert_eq!(runtime.resume(None).unwrap_err().kind, TroubleKind::Stage);
    assert!(!runtime.abort(None).unwrap());
    assert_eq!(runtime.pause(Some(3), LONG).unwrap_err().kind, TroubleKind::NoDevice);
    device.hold();
    runtime.fill(StreamRef::Default, fill(at, 1, 4), false).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    device.wait_for_fills(1);
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| runtime.pause(None, LONG));
        let start = Instant::now();
        while !runtime.abort(None).unwrap() {
            assert!(start.elapsed() < LONG);
        }
        // The flag may have been taken for one of an earlier request.
        while !pausing.is_finished() {
            let _ = runtime.abort(None);
            std::thread::yield_now();
        }
        assert_eq!(pausing.join().unwrap().unwrap_err().kind, TroubleKind::Aborted);
    });
    device.release();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    pause(&runtime);
    assert_eq!(runtime.pause(None, LONG).unwrap_err().kind, TroubleKind::Stage);
    runtime.resume(None).unwrap();
}

#[test]
fn who_has_a_job_stand_still_does_so_for_his_own_turn() {
    let (runtime, _) = stopping_runtime();
    let at = runtime.allocate(4).unwrap();
    runtime.fill(StreamRef::Default, fill(at, 3, 4), true).unwrap();
    assert_eq!(runtime.turn_of_pause(None).unwrap_err().kind, TroubleKind::Stage, "it runs");
    let first = runtime.pause(None, LONG).unwrap();
    assert_eq!(runtime.turn_of_pause(None), Ok(first));
    runtime.resume(None).unwrap();
    assert_eq!(runtime.end_turn(None, first), Ok(false), "somebody else was quicker");
    let second = runtime.pause(None, LONG).unwrap();
    assert_eq!((runtime.end_turn(None, first), runtime.stage(0)), (Ok(false), Stage::Paused), "it is another's");
    assert_eq!((runtime.end_turn(None, second), runtime.stage(0)), (Ok(true), Stage::Running));
    assert_eq!(runtime.end_turn(None, second), Ok(false), "and once");
    assert_eq!(runtime.read(at, 4).unwrap(), [3; 4]);
}
