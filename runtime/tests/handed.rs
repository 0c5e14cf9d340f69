//! What a device that works on its own is handed: graphs and launches that nobody waits for in between.

mod common;

use common::{TestDevice, copy, enter, fill, kernel, stopping_device, swift_runtime, touch};
use hetgpu_device::Queued;
use hetgpu_runtime::{
    CopyAsked, Dependency, Edge, Error, Executable, Graph, Handle, Launchable, Node, NodeRequest, Runtime, StreamRef,
};
use std::sync::Arc;
use std::time::Duration;

/// Long enough for somebody to do what he must not do.
const A_WHILE: Duration = Duration::from_millis(60);
/// Far more than a pause takes.
const LONG: Duration = Duration::from_secs(20);

fn stream(runtime: &Runtime) -> StreamRef {
    StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap())
}

fn add(runtime: &Runtime, graph: Handle<Graph>, after: &[Handle<Node>], request: NodeRequest) -> Handle<Node> {
    let after: Vec<_> = after.iter().map(|&node| Dependency { node, edge: Edge::default() }).collect();
    runtime.add_node(graph, &after, request).unwrap()
}

fn touching(what: Launchable, buffer: u64, blocks: u32) -> NodeRequest {
    NodeRequest::Kernel { what, context: None, request: touch(buffer, blocks) }
}

fn filling(at: u64, value: u8, count: u64) -> NodeRequest {
    NodeRequest::Fill { request: fill(at, value, count), context: None }
}

fn copying(to: u64, from: u64, bytes: u64) -> NodeRequest {
    NodeRequest::Copy { asked: CopyAsked::Rows(copy(to, from, bytes)), origin: None, context: None }
}

fn instance(runtime: &Runtime, graph: Handle<Graph>) -> Handle<Executable> {
    runtime.instantiate_graph(graph, 0, false).unwrap()
}

/// A graph that adds 2 to the first byte of a buffer of two, by two kernels in a row, and copies it to the second.
fn twice_touched(runtime: &Runtime, what: Launchable, buffer: u64) -> Handle<Executable> {
    let graph = runtime.create_graph();
    let first = add(runtime, graph, &[], touching(what, buffer, 1));
    let second = add(runtime, graph, &[first], touching(what, buffer, 1));
    let empty = add(runtime, graph, &[second], NodeRequest::Empty);
    add(runtime, graph, &[empty], copying(buffer + 1, buffer, 1));
    instance(runtime, graph)
}

/// Has a kernel's time known.
fn know(runtime: &Runtime, what: Launchable) {
    let at = runtime.allocate(1).unwrap();
    runtime.launch(what, StreamRef::Default, touch(at, 1)).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
}

fn peek(device: &TestDevice, at: u64, count: u64) -> Vec<u8> {
    device.peek(at, count).unwrap()
}

#[test]
fn launches_of_a_graph_that_nobody_waits_for_are_done_once_each_and_in_order() {
    let (runtime, device) = swift_runtime();
    let (what, at) = (kernel(&runtime), runtime.allocate(2).unwrap());
    let executable = twice_touched(&runtime, what, at);
    let stream = stream(&runtime);
    for _ in 0..40 {
        runtime.launch_graph(executable, stream).unwrap();
    }
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(peek(&device, at, 2), [80, 80]);
}

#[test]
fn an_executable_that_was_changed_does_what_it_does_now() {
    let (runtime, device) = swift_runtime();
    let at = runtime.allocate(12).unwrap();
    let graph = runtime.create_graph();
    let first = add(&runtime, graph, &[], filling(at, 1, 4));
    add(&runtime, graph, &[first], copying(at + 4, at, 4));
    let executable = instance(&runtime, graph);
    let stream = stream(&runtime);
    for value in 1..6 {
        runtime.set_executable_node(executable, first, filling(at, value, 4)).unwrap();
        for round in 0..3 {
            runtime.fill(stream, fill(at, 9, 8), false).unwrap();
            runtime.launch_graph(executable, stream).unwrap();
            runtime.synchronise_stream(stream).unwrap();
            assert_eq!(peek(&device, at, 12), [[value; 8].as_slice(), &[0; 4]].concat(), "round {round}");
        }
    }
    // Launches under way do what the executable did when they were launched.
    device.hold();
    runtime.launch_graph(executable, stream).unwrap();
    runtime.copy(stream, copy(at + 8, at + 4, 4), false).unwrap();
    runtime.set_executable_node(executable, first, filling(at, 77, 4)).unwrap();
    runtime.launch_graph(executable, stream).unwrap();
    device.release();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(peek(&device, at, 12), [[77; 8].as_slice(), &[5; 4]].concat());
}

#[test]
fn a_graph_that_is_destroyed_while_it_runs_runs_to_its_end() {
    let (runtime, device) = swift_runtime();
    let at = runtime.allocate(8).unwrap();
    let graph = runtime.create_graph();
    let first = add(&runtime, graph, &[], filling(at, 1, 4));
    add(&runtime, graph, &[first], copying(at + 4, at, 4));
    let executable = instance(&runtime, graph);
    let stream = stream(&runtime);
    for _ in 0..3 {
        runtime.launch_graph(executable, stream).unwrap();
        runtime.synchronise_stream(stream).unwrap();
    }
    runtime.fill(stream, fill(at, 0, 8), true).unwrap();
    device.hold();
    runtime.launch_graph(executable, stream).unwrap();
    runtime.destroy_executable(executable).unwrap();
    runtime.destroy_graph(graph).unwrap();
    assert_eq!(runtime.launch_graph(executable, stream), Err(Error::InvalidHandle("executable graph")));
    assert_eq!(runtime.query_stream(stream), Err(Error::NotReady));
    device.release();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(peek(&device, at, 8), [1; 8]);
}

#[test]
fn a_graph_that_is_launched_while_a_pause_is_asked_for_goes_on_behind_it() {
    let (runtime, device) = swift_runtime();
    let (what, at) = (kernel(&runtime), runtime.allocate(2).unwrap());
    know(&runtime, what);
    let executable = twice_touched(&runtime, what, at);
    let stream = stream(&runtime);
    let launched = std::thread::scope(|scope| {
        let launcher = scope.spawn(|| {
            enter(&runtime);
            for _ in 0..100 {
                runtime.launch_graph(executable, stream).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
            runtime.synchronise_stream(stream).unwrap();
        });
        for stop in 1..4 {
            device.wait_for_blocks(stop * 30);
            runtime.pause(None, LONG).unwrap();
            let before = (device.blocks(), peek(&device, at, 2));
            std::thread::sleep(A_WHILE);
            let after = (device.blocks(), peek(&device, at, 2));
            runtime.resume(None).unwrap();
            assert_eq!(before, after, "the device did something in a pause");
        }
        launcher.join().is_ok()
    });
    assert!(launched);
    assert_eq!(peek(&device, at, 2), [200, 200]);
}

#[test]
fn a_graph_goes_on_on_another_device() {
    let (runtime, _) = swift_runtime();
    let (what, at) = (kernel(&runtime), runtime.allocate(2).unwrap());
    know(&runtime, what);
    let executable = twice_touched(&runtime, what, at);
    let stream = stream(&runtime);
    let mut done = 0;
    for _ in 0..3 {
        for _ in 0..7 {
            runtime.launch_graph(executable, stream).unwrap();
            done += 2;
        }
        // What was launched is partly done by the device that goes, and partly by the one that comes.
        let next = Arc::new(Queued::from(stopping_device()));
        runtime.move_onto(0, next, None, &|_, _| {}).unwrap();
    }
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(runtime.read(at, 2).unwrap(), [done, done]);
}

#[test]
fn events_of_a_graph_are_passed_when_what_stands_before_them_is_done() {
    let (runtime, device) = swift_runtime();
    let at = runtime.allocate(12).unwrap();
    let (before, between) = (runtime.create_event(false, 2).unwrap(), runtime.create_event(true, 0).unwrap());
    let graph = runtime.create_graph();
    let first = add(&runtime, graph, &[], filling(at, 1, 4));
    let recorded = add(&runtime, graph, &[first], NodeRequest::EventRecord(between));
    let waited = add(&runtime, graph, &[recorded], NodeRequest::EventWait(before));
    add(&runtime, graph, &[waited], copying(at + 4, at, 8));
    let executable = instance(&runtime, graph);
    let (stream, other) = (stream(&runtime), stream(&runtime));
    for round in 1..4 {
        device.hold();
        runtime.fill(other, fill(at + 4, round, 4), false).unwrap();
        runtime.record_event(before, other).unwrap();
        runtime.launch_graph(executable, stream).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(runtime.query_event(between), Err(Error::NotReady));
        device.release();
        runtime.synchronise_event(between).unwrap();
        assert_eq!(peek(&device, at, 4), [1; 4]);
        runtime.synchronise_stream(stream).unwrap();
        assert_eq!(peek(&device, at, 12), [[1; 8].as_slice(), &[round; 4]].concat(), "round {round}");
    }
}

#[test]
fn eight_threads_launch_into_streams_of_their_own() {
    const THREADS: u64 = 8;
    const LAUNCHES: u8 = 40;
    let (runtime, device) = swift_runtime();
    let (what, at) = (kernel(&runtime), runtime.allocate(THREADS).unwrap());
    know(&runtime, what);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let runtime = &runtime;
            scope.spawn(move || {
                enter(runtime);
                let own = stream(runtime);
                for launch in 0..LAUNCHES {
                    runtime.launch(what, own, touch(at + thread, 1)).unwrap();
                    if launch % 8 == 0 {
                        runtime.synchronise_stream(own).unwrap();
                    }
                }
                runtime.synchronise_stream(own).unwrap();
            });
        }
    });
    assert_eq!(peek(&device, at, THREADS), [LAUNCHES; THREADS as usize]);
}

/// Has a kernel's launches known as long ones.
fn know_as_long(runtime: &Runtime, what: Launchable) {
    let at = runtime.allocate(40).unwrap();
    runtime.launch(what, StreamRef::Default, touch(at, 40)).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
}

#[test]
fn a_long_launch_goes_in_parts_and_stops_between_two() {
    let (runtime, device) = swift_runtime();
    let what = kernel(&runtime);
    know_as_long(&runtime, what);
    let (at, before) = (runtime.allocate(400).unwrap(), device.blocks());
    runtime.launch(what, StreamRef::Default, touch(at, 400)).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    for stop in 1..4 {
        device.wait_for_blocks(before + stop * 20);
        runtime.pause(None, LONG).unwrap();
        let done = device.blocks();
        assert!(done < before + 400, "it ran on");
        std::thread::sleep(A_WHILE);
        assert_eq!(device.blocks(), done, "a block began in the pause");
        assert!(runtime.status()[0].flights[0].unstarted.is_some_and(|left| left > 0));
        runtime.resume(None).unwrap();
    }
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 400).unwrap(), [1; 400], "each block runs once");
}

#[test]
fn what_is_left_of_a_launch_in_parts_runs_on_a_device_that_works_otherwise() {
    let (runtime, device) = swift_runtime();
    let what = kernel(&runtime);
    know_as_long(&runtime, what);
    let (at, before) = (runtime.allocate(300).unwrap(), device.blocks());
    runtime.launch(what, StreamRef::Default, touch(at, 300)).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    device.wait_for_blocks(before + 20);
    // Parts on the first, asked by a word on the second, and parts again.
    let (second, third) = (stopping_device(), common::swift_device());
    runtime.move_onto(0, Arc::new(Queued::from(second.clone())), None, &|_, _| {}).unwrap();
    second.wait_for_blocks(20);
    runtime.move_onto(0, Arc::new(Queued::from(third.clone())), None, &|_, _| {}).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 300).unwrap(), [1; 300], "each block runs once");
    let ran = [device.blocks() - before, second.blocks(), third.blocks()];
    assert!(ran.iter().sum::<usize>() == 300 && ran.iter().all(|&blocks| blocks > 0), "{ran:?}");
}
