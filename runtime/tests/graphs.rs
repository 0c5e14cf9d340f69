//! Graphs and capture on a device whose work the test can hold up: what runs at the same time, what waits, what is refused.

mod common;

use common::{TestDevice, copy, enter, fill, runtime, wide_runtime};
use hetgpu_runtime::{
    CaptureError, CaptureMode, CaptureStatus, CopyAsked, Dependency, Edge, Error, Executable, Graph, Handle, HostCall,
    InstantiateError, Node, NodeRequest, NodeType, Runtime, StreamRef, UpdateProblem, exchange_capture_mode,
};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Long enough for a worker to do what it must not do.
const A_WHILE: Duration = Duration::from_millis(50);
/// Far more than it takes a worker to do what it must.
const LONG: Duration = Duration::from_secs(20);

fn add(runtime: &Runtime, graph: Handle<Graph>, after: &[Handle<Node>], request: NodeRequest) -> Handle<Node> {
    let after: Vec<_> = after.iter().map(|&node| Dependency { node, edge: Edge::default() }).collect();
    runtime.add_node(graph, &after, request).unwrap()
}

fn filling(at: u64, value: u8, count: u64) -> NodeRequest {
    NodeRequest::Fill { request: fill(at, value, count), context: None }
}

fn calling(call: impl Fn() + Send + Sync + 'static) -> NodeRequest {
    NodeRequest::Host(HostCall::new(1, 2, Arc::new(call)))
}

fn instance(runtime: &Runtime, graph: Handle<Graph>) -> Handle<Executable> {
    runtime.instantiate_graph(graph, 0, false).unwrap()
}

fn stream(runtime: &Runtime, blocking: bool) -> StreamRef {
    StreamRef::Handle(runtime.create_stream(blocking, u32::from(!blocking), 0).unwrap())
}

fn wait_for_fills(device: &TestDevice, count: usize) {
    let start = Instant::now();
    while device.fills() < count {
        assert!(start.elapsed() < LONG, "only {} of {count} fills have begun", device.fills());
        std::thread::yield_now();
    }
}

#[test]
fn branches_run_at_the_same_time_and_what_follows_waits_for_all() {
    let (runtime, device) = wide_runtime(4);
    let at = runtime.allocate(16).unwrap();
    let graph = runtime.create_graph();
    let root = add(&runtime, graph, &[], NodeRequest::Empty);
    let left = add(&runtime, graph, &[root], filling(at, 1, 4));
    let right = add(&runtime, graph, &[root], filling(at + 4, 2, 4));
    add(
        &runtime,
        graph,
        &[left, right],
        NodeRequest::Copy { asked: CopyAsked::Rows(copy(at + 8, at, 8)), origin: None, context: None },
    );
    let executable = instance(&runtime, graph);
    let stream = stream(&runtime, false);
    device.hold();
    runtime.launch_graph(executable, stream).unwrap();
    wait_for_fills(&device, 2);
    assert_eq!(runtime.query_stream(stream), Err(Error::NotReady));
    device.release();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(runtime.read(at, 16).unwrap(), [1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2]);
}

#[test]
fn a_launch_is_one_unit_in_its_stream_and_waits_for_the_last_one() {
    let (runtime, device) = wide_runtime(4);
    let at = runtime.allocate(8).unwrap();
    let graph = runtime.create_graph();
    add(&runtime, graph, &[], filling(at, 1, 4));
    add(&runtime, graph, &[], filling(at + 4, 2, 4));
    let executable = instance(&runtime, graph);
    let (first, second) = (stream(&runtime, false), stream(&runtime, false));
    device.hold();
    runtime.launch_graph(executable, first).unwrap();
    runtime.fill(first, fill(at, 9, 8), false).unwrap();
    runtime.launch_graph(executable, second).unwrap();
    wait_for_fills(&device, 2);
    std::thread::sleep(A_WHILE);
    assert_eq!(device.fills(), 2, "neither the fill behind the launch nor the second launch has begun");
    device.release();
    runtime.synchronise_stream(first).unwrap();
    runtime.synchronise_stream(second).unwrap();
    assert_eq!(device.fills(), 5);
}

#[test]
fn the_default_stream_waits_for_a_launch_in_a_blocking_one() {
    let (runtime, device) = wide_runtime(4);
    let at = runtime.allocate(8).unwrap();
    let graph = runtime.create_graph();
    add(&runtime, graph, &[], filling(at, 1, 8));
    add(&runtime, graph, &[], filling(at, 1, 8));
    let executable = instance(&runtime, graph);
    device.hold();
    runtime.launch_graph(executable, stream(&runtime, true)).unwrap();
    runtime.fill(StreamRef::Default, fill(at, 2, 4), false).unwrap();
    wait_for_fills(&device, 2);
    device.release();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 8).unwrap(), [2, 2, 2, 2, 1, 1, 1, 1]);
}

#[test]
fn every_order_of_a_random_graph_respects_its_edges() {
    let (runtime, _) = wide_runtime(3);
    let graph = runtime.create_graph();
    let done = Arc::new(Mutex::new(Vec::new()));
    let (mut nodes, mut edges, mut seed) = (Vec::new(), Vec::new(), 1u64);
    for index in 0..40usize {
        let mut before = Vec::new();
        for from in 0..index {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if seed >> 60 == 0 {
                before.push(from);
                edges.push((from, index));
            }
        }
        let done = done.clone();
        let after: Vec<_> = before.iter().map(|&from| nodes[from]).collect();
        nodes.push(add(&runtime, graph, &after, calling(move || done.lock().unwrap().push(index))));
    }
    assert!(edges.len() > 20);
    let executable = instance(&runtime, graph);
    let stream = stream(&runtime, false);
    for _ in 0..20 {
        runtime.launch_graph(executable, stream).unwrap();
        runtime.synchronise_stream(stream).unwrap();
        let order = std::mem::take(&mut *done.lock().unwrap());
        assert_eq!(order.len(), 40);
        let place = |index| order.iter().position(|&other| other == index);
        assert!(edges.iter().all(|&(from, to)| place(from) < place(to)), "{order:?}");
    }
}

#[test]
fn threads_that_launch_one_executable_do_not_run_it_twice_at_once() {
    let (runtime, _) = wide_runtime(4);
    let graph = runtime.create_graph();
    let (inside, runs) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counters = (inside.clone(), runs.clone());
    add(
        &runtime,
        graph,
        &[],
        calling(move || {
            assert_eq!(counters.0.fetch_add(1, Ordering::SeqCst), 0, "two launches run at once");
            std::thread::yield_now();
            counters.0.fetch_sub(1, Ordering::SeqCst);
            counters.1.fetch_add(1, Ordering::SeqCst);
        }),
    );
    let executable = instance(&runtime, graph);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                enter(&runtime);
                let own = stream(&runtime, false);
                for _ in 0..50 {
                    runtime.launch_graph(executable, own).unwrap();
                }
                runtime.synchronise_stream(own).unwrap();
            });
        }
    });
    assert_eq!(runs.load(Ordering::SeqCst), 200);
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}

#[test]
fn a_launch_under_way_outlives_its_executable_and_its_graph() {
    let (runtime, device) = wide_runtime(4);
    let at = runtime.allocate(8).unwrap();
    let graph = runtime.create_graph();
    add(&runtime, graph, &[], filling(at, 1, 4));
    add(&runtime, graph, &[], filling(at + 4, 1, 4));
    let executable = instance(&runtime, graph);
    let stream = stream(&runtime, false);
    device.hold();
    runtime.launch_graph(executable, stream).unwrap();
    runtime.destroy_executable(executable).unwrap();
    runtime.destroy_graph(graph).unwrap();
    assert_eq!(runtime.launch_graph(executable, stream), Err(Error::InvalidHandle("executable graph")));
    device.release();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(runtime.read(at, 8).unwrap(), [1; 8]);
}

#[test]
fn a_cycle_is_found_and_named() {
    let (runtime, _) = runtime(1 << 30, 1);
    let graph = runtime.create_graph();
    let first = add(&runtime, graph, &[], NodeRequest::Empty);
    let second = add(&runtime, graph, &[first], NodeRequest::Empty);
    let back = (first, Dependency { node: second, edge: Edge::default() });
    runtime.add_edges(graph, &[back]).unwrap();
    let error = runtime.instantiate_graph(graph, 0, false).unwrap_err();
    assert!(matches!(error, InstantiateError::Structure(node) if node == first || node == second), "{error:?}");
    runtime.remove_edges(graph, &[back], true).unwrap();
    instance(&runtime, graph);
}

#[test]
fn an_update_names_the_node_that_differs() {
    let (runtime, _) = runtime(1 << 30, 1);
    let at = runtime.allocate(8).unwrap();
    let pair = |first: NodeRequest, second: NodeRequest, joined: bool| {
        let graph = runtime.create_graph();
        let one = add(&runtime, graph, &[], first);
        let two = add(&runtime, graph, if joined { std::slice::from_ref(&one) } else { &[] }, second);
        (graph, one, two)
    };
    let (graph, ..) = pair(filling(at, 1, 4), NodeRequest::Empty, true);
    let executable = instance(&runtime, graph);
    let report = |graph| runtime.update_executable(executable, graph).unwrap().map(|r| (r.problem, r.node));
    assert_eq!(report(pair(filling(at, 7, 8), NodeRequest::Empty, true).0), None);
    let (other, first, _) = pair(NodeRequest::Empty, NodeRequest::Empty, true);
    assert_eq!(report(other), Some((UpdateProblem::NodeType, Some(first))));
    let (other, ..) = pair(filling(at, 1, 4), NodeRequest::Empty, false);
    assert!(matches!(report(other), Some((UpdateProblem::Topology, Some(_)))));
    let three = pair(filling(at, 1, 4), NodeRequest::Empty, true).0;
    add(&runtime, three, &[], NodeRequest::Empty);
    assert_eq!(report(three), Some((UpdateProblem::Topology, None)));
    let stream = stream(&runtime, false);
    runtime.launch_graph(executable, stream).unwrap();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(runtime.read(at, 8).unwrap(), [7; 8], "as the update that succeeded left it");
}

#[test]
fn captured_calls_become_nodes_in_their_order() {
    let (runtime, device) = runtime(1 << 30, 1);
    let at = runtime.allocate(8).unwrap();
    let stream = stream(&runtime, true);
    runtime.begin_capture(stream, CaptureMode::Global, None).unwrap();
    runtime.fill(stream, fill(at, 3, 4), false).unwrap();
    runtime.copy(stream, copy(at + 4, at, 4), false).unwrap();
    let info = runtime.capture_info(stream, true).unwrap();
    assert_eq!((info.status, info.count), (CaptureStatus::Active, 1));
    let graph = runtime.end_capture(stream).unwrap();
    assert_eq!(Some(graph), info.graph);
    assert_eq!(device.fills(), 0);
    let kinds: Vec<_> =
        runtime.graph_nodes(graph).unwrap().into_iter().map(|node| runtime.node_body(node).unwrap().kind()).collect();
    assert_eq!(kinds, [NodeType::Fill, NodeType::Copy]);
    assert_eq!(runtime.graph_edges(graph).unwrap().len(), 1);
    runtime.launch_graph(instance(&runtime, graph), stream).unwrap();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(runtime.read(at, 8).unwrap(), [3; 8]);
}

fn refused(reason: CaptureError) -> Error {
    Error::Capture(reason)
}

#[test]
fn what_capture_cannot_express_invalidates_it() {
    let (runtime, _) = runtime(1 << 30, 1);
    let at = runtime.allocate(8).unwrap();
    let (captured, event) = (stream(&runtime, true), runtime.create_event(false, 2).unwrap());
    let attempt = |call: &dyn Fn() -> hetgpu_runtime::Result<()>, reason| {
        runtime.begin_capture(captured, CaptureMode::Global, None).unwrap();
        assert_eq!(call(), Err(refused(reason)));
        assert_eq!(runtime.capture_info(captured, true).unwrap().status, CaptureStatus::Invalidated);
        assert_eq!(runtime.fill(captured, fill(at, 1, 4), false), Err(refused(CaptureError::Invalidated)));
        assert_eq!(runtime.end_capture(captured).unwrap_err(), refused(CaptureError::Invalidated));
        assert_eq!(runtime.capture_info(captured, true).unwrap().status, CaptureStatus::None);
    };
    attempt(&|| runtime.synchronise_stream(captured), CaptureError::Unsupported);
    attempt(&|| runtime.query_stream(captured), CaptureError::Unsupported);
    attempt(&|| runtime.query_event(event), CaptureError::Unsupported);
    attempt(&|| runtime.fill(StreamRef::Default, fill(at, 1, 4), false), CaptureError::Implicit);
    attempt(&|| runtime.fill(captured, fill(at, 1, 4), true), CaptureError::Unsupported);
    attempt(&|| runtime.stream_call(captured, |_| ()), CaptureError::Unsupported);
    attempt(&|| runtime.may_wait_for_all(), CaptureError::Unsupported);
    runtime.record_event(event, stream(&runtime, false)).unwrap();
    attempt(&|| runtime.stream_wait(captured, event), CaptureError::Isolation);
    attempt(
        &|| {
            runtime.record_event(event, captured)?;
            runtime.synchronise_event(event)
        },
        CaptureError::Event,
    );
    assert!(matches!(runtime.query_event(event), Err(Error::InvalidValue(_))), "its capture has ended");
    runtime.fill(StreamRef::Default, fill(at, 1, 4), true).unwrap();
}

#[test]
fn a_capture_ends_where_it_began_and_by_whom() {
    let (runtime, _) = runtime(1 << 30, 1);
    let at = runtime.allocate(8).unwrap();
    let (one, two) = (stream(&runtime, false), stream(&runtime, false));
    let event = runtime.create_event(false, 2).unwrap();
    let fork = || {
        runtime.begin_capture(one, CaptureMode::ThreadLocal, None).unwrap();
        runtime.record_event(event, one).unwrap();
        runtime.stream_wait(two, event).unwrap();
        runtime.fill(two, fill(at, 1, 4), false).unwrap();
    };
    assert!(matches!(runtime.end_capture(one), Err(Error::IllegalState(_))));
    assert_eq!(
        runtime.begin_capture(StreamRef::Default, CaptureMode::Relaxed, None),
        Err(refused(CaptureError::Unsupported))
    );
    fork();
    assert_eq!(runtime.end_capture(one).unwrap_err(), refused(CaptureError::Unjoined));
    fork();
    assert_eq!(runtime.end_capture(two).unwrap_err(), refused(CaptureError::Unmatched));
    assert_eq!(runtime.end_capture(one).unwrap_err(), refused(CaptureError::Invalidated));
    fork();
    runtime.record_event(event, two).unwrap();
    runtime.stream_wait(one, event).unwrap();
    runtime.end_capture(one).unwrap();

    runtime.begin_capture(one, CaptureMode::ThreadLocal, None).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            enter(&runtime);
            assert_eq!(runtime.may_interfere(), Ok(()), "another thread's capture is none of its business");
            assert_eq!(runtime.end_capture(one).unwrap_err(), refused(CaptureError::WrongThread));
        });
    });
    assert!(matches!(runtime.end_capture(one), Err(Error::IllegalState(_))));

    runtime.begin_capture(one, CaptureMode::Global, None).unwrap();
    let old = exchange_capture_mode(CaptureMode::Relaxed);
    assert_eq!(old, CaptureMode::Global);
    assert_eq!(runtime.may_interfere(), Ok(()));
    exchange_capture_mode(old);
    runtime.end_capture(one).unwrap();
}

#[test]
fn two_captures_do_not_merge_and_a_destroyed_stream_ends_its_own() {
    let (runtime, _) = runtime(1 << 30, 1);
    let (one, two) = (stream(&runtime, false), stream(&runtime, false));
    let event = runtime.create_event(false, 2).unwrap();
    runtime.begin_capture(one, CaptureMode::Global, None).unwrap();
    runtime.begin_capture(two, CaptureMode::Global, None).unwrap();
    runtime.record_event(event, one).unwrap();
    assert_eq!(runtime.stream_wait(two, event), Err(refused(CaptureError::Merge)));
    for stream in [one, two] {
        assert_eq!(runtime.end_capture(stream).unwrap_err(), refused(CaptureError::Invalidated));
    }
    runtime.begin_capture(one, CaptureMode::Global, None).unwrap();
    let StreamRef::Handle(handle) = one else { panic!("made by its handle") };
    runtime.destroy_stream(handle).unwrap();
    assert!(!runtime.captures());
}

#[test]
fn memory_of_a_graph_goes_with_the_last_that_has_it() {
    let (runtime, device) = runtime(1 << 30, 1);
    let before = device.mapped().len();
    let graph = runtime.create_graph();
    let allocation = add(&runtime, graph, &[], NodeRequest::Allocate { device: 0, bytes: 64 });
    let hetgpu_runtime::Body::Allocate(block) = runtime.node_body(allocation).unwrap() else { panic!("an allocation") };
    let start = block.start;
    drop(block);
    add(&runtime, graph, &[allocation], filling(start, 5, 64));
    assert!(runtime.free(start).is_err(), "no launch has allocated it");
    let executable = instance(&runtime, graph);
    let stream = stream(&runtime, false);
    runtime.launch_graph(executable, stream).unwrap();
    assert!(matches!(runtime.launch_graph(executable, stream), Err(Error::InvalidValue(_))), "not freed");
    runtime.destroy_executable(executable).unwrap();
    runtime.destroy_graph(graph).unwrap();
    assert_eq!(runtime.read(start, 64).unwrap(), [5; 64], "the program has it still");
    runtime.free(start).unwrap();
    assert_eq!(device.mapped().len(), before);
    assert_eq!(runtime.graph_memory(0).unwrap().used, 0);
}
