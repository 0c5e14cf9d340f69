//! Launches past the order of a lane, on a device that works on its own: they are done once each, where they belong.

mod common;

use common::sys::with_word;
use common::{TestDevice, copy, fill, kernel, swift_runtime, touch};
use hetgpu_runtime::{CaptureMode, Error, Handle, LaunchShape, Launchable, Module, Runtime, StreamRef};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Long enough for somebody to do what he must not do.
const A_WHILE: Duration = Duration::from_millis(60);
/// Far more than a pause takes.
const LONG: Duration = Duration::from_secs(20);

fn quick_runtime() -> (Runtime, Arc<TestDevice>) {
    let (runtime, device) = swift_runtime();
    device.be_quick();
    (runtime, device)
}

fn stream(runtime: &Runtime, blocking: bool) -> StreamRef {
    StreamRef::Handle(runtime.create_stream(blocking, 1, 0).unwrap())
}

fn bits(what: Launchable) -> u64 {
    match what {
        Launchable::Function(function) => function.bits(),
        Launchable::Kernel(kernel) => kernel.bits(),
    }
}

/// Adds 1 to the first bytes of a buffer, the short way; false where that is not open.
fn at_once(runtime: &Runtime, what: Launchable, stream: StreamRef, buffer: u64, blocks: u32) -> bool {
    let shape = LaunchShape::plain([blocks, 1, 1], [1; 3], 0);
    let launched = with_word(buffer, |params| {
        runtime.launch_at_once(bits(what), stream, &shape, |count| (count == 1).then_some(params))
    });
    launched.is_some_and(|launched| launched.is_ok())
}

/// As a program's launch goes; whether it went the short way.
fn launch(runtime: &Runtime, what: Launchable, stream: StreamRef, buffer: u64) -> bool {
    let short = at_once(runtime, what, stream, buffer, 1);
    if !short {
        runtime.launch(what, stream, touch(buffer, 1)).unwrap();
    }
    short
}

/// Launches until the short way is open, and says how many it took.
fn open(runtime: &Runtime, what: Launchable, stream: StreamRef, buffer: u64) -> u8 {
    for launched in 1..100 {
        if launch(runtime, what, stream, buffer) {
            return launched;
        }
        runtime.synchronise_stream(stream).unwrap();
    }
    panic!("the short way is never open");
}

#[test]
fn launches_and_all_else_of_a_stream_are_done_once_each_and_in_order() {
    let (runtime, device) = quick_runtime();
    let (what, stream) = (kernel(&runtime), stream(&runtime, false));
    let at = runtime.allocate(4).unwrap();
    open(&runtime, what, stream, at);
    let mut short = 0;
    for value in 1..40 {
        runtime.fill(stream, fill(at, value, 1), false).unwrap();
        for _ in 0..value {
            short += u32::from(launch(&runtime, what, stream, at));
        }
        runtime.copy(stream, copy(at + 1, at, 1), false).unwrap();
        launch(&runtime, what, stream, at);
        runtime.synchronise_stream(stream).unwrap();
        assert_eq!(device.peek(at, 2).unwrap(), [2 * value + 1, 2 * value]);
    }
    assert!(short > 100, "only {short} went the short way");
}

#[test]
fn more_launches_than_are_counted_at_once_are_all_done() {
    let (runtime, device) = quick_runtime();
    let (what, stream) = (kernel(&runtime), stream(&runtime, false));
    let at = runtime.allocate(1).unwrap();
    let before = usize::from(open(&runtime, what, stream, at));
    for _ in 0..5000 {
        launch(&runtime, what, stream, at);
    }
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(device.blocks(), before + 5000);
}

#[test]
fn an_event_stands_for_launches_that_went_the_short_way() {
    let (runtime, device) = quick_runtime();
    let (what, stream) = (kernel(&runtime), stream(&runtime, false));
    let (at, event) = (runtime.allocate(2).unwrap(), runtime.create_event(true, 0).unwrap());
    open(&runtime, what, stream, at);
    runtime.fill(stream, fill(at, 0, 2), false).unwrap();
    launch(&runtime, what, stream, at);
    runtime.synchronise_stream(stream).unwrap();
    device.hold();
    runtime.fill(stream, fill(at, 5, 1), false).unwrap();
    assert!((0..3).any(|_| launch(&runtime, what, stream, at)));
    runtime.record_event(event, stream).unwrap();
    assert_eq!(runtime.query_event(event), Err(Error::NotReady));
    assert_eq!(runtime.query_stream(stream), Err(Error::NotReady));
    device.release();
    runtime.synchronise_event(event).unwrap();
    assert!(device.peek(at, 1).unwrap()[0] > 5);
}

#[test]
fn the_default_stream_and_blocking_streams_wait_for_each_other() {
    let (runtime, device) = quick_runtime();
    let (what, blocking) = (kernel(&runtime), stream(&runtime, true));
    let at = runtime.allocate(2).unwrap();
    for stream in [blocking, StreamRef::Default, blocking] {
        open(&runtime, what, stream, at);
        runtime.synchronise_stream(stream).unwrap();
    }
    for (first, second) in [(StreamRef::Default, blocking), (blocking, StreamRef::Default)] {
        open(&runtime, what, second, at);
        for stream in [first, second] {
            runtime.synchronise_stream(stream).unwrap();
        }
        let before = device.blocks();
        device.hold();
        runtime.fill(first, fill(at, 0, 1), false).unwrap();
        launch(&runtime, what, second, at);
        launch(&runtime, what, second, at);
        std::thread::sleep(A_WHILE);
        assert_eq!(device.blocks(), before, "{second:?} did not wait for {first:?}");
        device.release();
        runtime.synchronise_stream(second).unwrap();
        assert_eq!(device.peek(at, 1).unwrap(), [2]);
    }
}

#[test]
fn nothing_goes_to_the_device_in_a_pause_and_nothing_is_lost() {
    let (runtime, device) = quick_runtime();
    let what = kernel(&runtime);
    let (over, launched, short) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let streams: Vec<StreamRef> = (0..4).map(|_| stream(&runtime, false)).collect();
    let at = runtime.allocate(1).unwrap();
    let context = runtime.current();
    std::thread::scope(|scope| {
        for &stream in &streams {
            let (runtime, over, launched, short) = (&runtime, &over, &launched, &short);
            scope.spawn(move || {
                runtime.set_current(context).unwrap();
                while !over.load(Ordering::Relaxed) {
                    for _ in 0..20 {
                        short.fetch_add(launch(runtime, what, stream, at).into(), Ordering::Relaxed);
                        launched.fetch_add(1, Ordering::Relaxed);
                    }
                    runtime.synchronise_stream(stream).unwrap();
                }
            });
        }
        for _ in 0..30 {
            std::thread::sleep(Duration::from_millis(2));
            runtime.pause(None, LONG).unwrap();
            let done = device.blocks();
            std::thread::sleep(Duration::from_millis(2));
            let after = device.blocks();
            runtime.resume(None).unwrap();
            if done != after {
                over.store(true, Ordering::Relaxed);
                panic!("{} blocks ran in the pause", after - done);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(device.blocks() as u64, launched.load(Ordering::Relaxed));
    assert!(short.load(Ordering::Relaxed) > 100, "only {short:?} went the short way");
}

#[test]
fn threads_that_share_a_stream_each_find_done_what_they_have_waited_for() {
    const ROUNDS: u8 = 200;
    let (runtime, device) = quick_runtime();
    let (what, stream, context) = (kernel(&runtime), stream(&runtime, false), runtime.current());
    let buffers: Vec<u64> = (0..4).map(|_| runtime.allocate(1).unwrap()).collect();
    std::thread::scope(|scope| {
        for &at in &buffers {
            let (runtime, device) = (&runtime, &device);
            scope.spawn(move || {
                runtime.set_current(context).unwrap();
                for round in 1..=ROUNDS {
                    for _ in 0..5 {
                        launch(runtime, what, stream, at);
                    }
                    runtime.synchronise_stream(stream).unwrap();
                    assert_eq!(device.peek(at, 1).unwrap(), [round.wrapping_mul(5)], "round {round}");
                }
            });
        }
    });
}

#[test]
fn what_was_set_or_unloaded_meanwhile_counts() {
    let (runtime, _) = quick_runtime();
    let (what, stream) = (kernel(&runtime), stream(&runtime, false));
    let at = runtime.allocate(1).unwrap();
    open(&runtime, what, stream, at);
    let Launchable::Function(function) = what else { panic!("a kernel of a library") };
    let function = runtime.functions.get(function).unwrap();
    function.change_settings(|settings| settings.cluster = [2, 1, 1]);
    assert!(!at_once(&runtime, what, stream, at, 1), "it would be launched without clusters");
    function.change_settings(|settings| settings.cluster = [0; 3]);
    open(&runtime, what, stream, at);
    assert!(!at_once(&runtime, what, stream, at, 0), "a grid without blocks");
    let module: Handle<Module> = function.module;
    runtime.unload_module(module).unwrap();
    assert!(!at_once(&runtime, what, stream, at, 1), "its module is unloaded");
    assert!(runtime.launch(what, stream, touch(at, 1)).is_err());
}

#[test]
fn captured_streams_and_those_that_are_gone_take_nothing_at_once() {
    let (runtime, device) = quick_runtime();
    let (what, stream) = (kernel(&runtime), stream(&runtime, false));
    let at = runtime.allocate(1).unwrap();
    open(&runtime, what, stream, at);
    runtime.synchronise_stream(stream).unwrap();
    let before = device.blocks();
    runtime.begin_capture(stream, CaptureMode::Relaxed, None).unwrap();
    assert!(!launch(&runtime, what, stream, at));
    runtime.end_capture(stream).unwrap();
    assert_eq!(device.blocks(), before, "it was captured");
    let StreamRef::Handle(handle) = stream else { panic!("a default stream") };
    assert!(at_once(&runtime, what, stream, at, 1));
    runtime.destroy_stream(handle).unwrap();
    assert!(!at_once(&runtime, what, stream, at, 1));
}
