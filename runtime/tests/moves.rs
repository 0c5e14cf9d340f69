//! A job that moves from one device to another, and one that cannot.

mod common;

use common::{BLOCK, TestDevice, copy, enter, fill, kernel, runtime, stopping_device, stopping_runtime, touch};
use hetgpu_device::{Caps, Device, Heap, HeapState, Queued, SyncDevice};
use hetgpu_runtime::{
    ArrayDescription, Channel, Corner, Dimensions, Error, Format, Moved, Notes, Resource, Runtime, Sampler, Stage,
    StreamRef, Targets, TexelCopy, TexelSide, TextureRequest, Trouble, TroubleKind,
};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn queued(device: &Arc<TestDevice>) -> Arc<dyn Device> {
    Arc::new(Queued::from(device.clone()))
}

fn move_to(runtime: &Runtime, device: &Arc<TestDevice>) -> Result<Moved, Trouble> {
    runtime.move_onto(0, queued(device), Some(LONG), &|_, _| {})
}

#[test]
fn everything_of_the_first_device_is_on_the_second_and_nothing_is_left() {
    let (runtime, first) = stopping_runtime();
    let second = stopping_device();
    let kernel = kernel(&runtime);
    let (small, large) = (runtime.allocate(100).unwrap(), runtime.allocate(9 << 20).unwrap());
    let pooled = runtime.allocate_in(StreamRef::Default, 1000).unwrap();
    runtime.write(small, (0..100).collect()).unwrap();
    runtime.fill(StreamRef::Default, fill(large + (5 << 20), 3, 7), true).unwrap();
    runtime.fill(StreamRef::Default, fill(pooled, 4, 1000), true).unwrap();
    SyncDevice::set_heap(first.as_ref(), &HeapState { heap: Heap { base: 16, bytes: 64 }, taken: vec![(16, 8)] });
    let before = first.mapped();
    let moved = move_to(&runtime, &second).unwrap();
    assert!(moved.bytes >= 9 << 20 && moved.copied < 40 << 20, "{moved:?}");
    assert_eq!((first.mapped(), first.modules()), (vec![], 0));
    assert_eq!((second.mapped(), second.modules()), (before, 1));
    assert_eq!(SyncDevice::heaps(second.as_ref())[0].taken, [(16, 8)]);
    assert_eq!(runtime.read(small, 100).unwrap(), (0..100).collect::<Vec<u8>>());
    assert_eq!(runtime.read(large + (5 << 20), 8).unwrap(), [3, 3, 3, 3, 3, 3, 3, 0]);
    assert_eq!(runtime.read(pooled, 1000).unwrap(), [4; 1000]);
    // Handles and pointers are what they were.
    let stream = StreamRef::Handle(runtime.create_stream(false, 1, 0).unwrap());
    runtime.launch(kernel, stream, touch(small, 100)).unwrap();
    runtime.synchronise_stream(stream).unwrap();
    assert_eq!(runtime.read(small, 100).unwrap(), (1..101).collect::<Vec<u8>>());
    assert_eq!((first.blocks(), second.blocks()), (0, 100));
    runtime.free(large).unwrap();
    runtime.free(small).unwrap();
}

#[test]
fn a_kernel_that_runs_goes_on_over_there_and_who_waits_for_it_wakes() {
    let (runtime, first) = stopping_runtime();
    let second = stopping_device();
    let kernel = kernel(&runtime);
    let at = runtime.allocate(300).unwrap();
    let (sender, woken) = channel();
    std::thread::scope(|scope| {
        runtime.launch(kernel, StreamRef::Default, touch(at, 300)).unwrap();
        runtime.fill(StreamRef::Default, fill(at, 9, 1), false).unwrap();
        let waiting = &runtime;
        scope.spawn(move || {
            enter(waiting);
            waiting.synchronise_stream(StreamRef::Default).unwrap();
            sender.send(()).unwrap();
        });
        first.wait_for_blocks(50);
        let moved = move_to(&runtime, &second).unwrap();
        assert!(moved.freeze >= moved.stop && moved.stop < LONG);
        woken.recv_timeout(LONG).unwrap();
    });
    assert_eq!(first.blocks() + second.blocks(), 300);
    assert!(first.blocks() >= 50 && second.blocks() > 0 && first.fills() == 0);
    let mut expected = [1; 300];
    expected[0] = 9;
    assert_eq!(runtime.read(at, 300).unwrap(), expected);
}

#[test]
fn a_device_does_not_go_while_it_compiles() {
    let (runtime, first) = stopping_runtime();
    let second = stopping_device();
    let kernel = kernel(&runtime);
    let at = runtime.allocate(100).unwrap();
    first.hold_compiler();
    runtime.launch(kernel, StreamRef::Default, touch(at, 100)).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    first.wait_for_compiler();
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| move_to(&runtime, &second));
        std::thread::sleep(BLOCK * 100);
        assert!(!moving.is_finished(), "it went while its compiler was at work");
        first.release_compiler();
        moving.join().unwrap().unwrap();
    });
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!((first.blocks(), second.blocks()), (0, 100));
    assert_eq!(runtime.read(at, 100).unwrap(), [1; 100]);
}

#[test]
fn a_job_that_cannot_move_goes_on_where_it_was() {
    let (runtime, first) = stopping_runtime();
    let kernel = kernel(&runtime);
    let at = runtime.allocate(200).unwrap();
    runtime.allocate(4 << 20).unwrap();
    runtime.launch(kernel, StreamRef::Default, touch(at, 200)).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    first.wait_for_blocks(10);
    let before = first.mapped();
    for mappings in 0..3 {
        let second = stopping_device();
        second.fail_after(mappings);
        let trouble = move_to(&runtime, &second).unwrap_err();
        assert_eq!((trouble.kind, runtime.stage(0)), (TroubleKind::Failed, Stage::Running), "{trouble}");
        assert!(trouble.text.contains("no more of this"), "{trouble}");
        assert_eq!((second.mapped(), second.modules(), first.mapped()), (vec![], 0, before.clone()));
    }
    let tiny = TestDevice::new(1 << 20, 1);
    let trouble = move_to(&runtime, &tiny).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unfit);
    assert!(trouble.text.contains("bytes are in use, test device has 1048576"), "{trouble}");
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(first.blocks(), 200);
    assert_eq!(runtime.read(at, 200).unwrap(), [1; 200]);
}

#[test]
fn a_move_that_takes_too_long_or_is_given_up_leaves_the_job_where_it_was() {
    let (runtime, first) = stopping_runtime();
    let at = runtime.allocate(64 << 20).unwrap();
    runtime.fill(StreamRef::Default, fill(at, 5, 64 << 20), true).unwrap();
    let second = stopping_device();
    let slowly = |_, _| std::thread::sleep(BLOCK * 20);
    let most = Some(Duration::from_millis(30));
    let trouble = runtime.move_onto(0, queued(&second), most, &slowly).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::TooLong, "{trouble}");
    assert!(second.mapped().is_empty());
    let give_up = |done, _| {
        if done > 0 {
            assert!(runtime.abort(Some(0)).unwrap());
        }
    };
    let trouble = runtime.move_onto(0, queued(&second), Some(LONG), &give_up).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Aborted, "{trouble}");
    assert!(second.mapped().is_empty() && !first.mapped().is_empty());
    assert_eq!(runtime.read(at + (64 << 20) - 4, 4).unwrap(), [5; 4]);
}

#[test]
fn a_paused_job_moves_and_stays_paused() {
    let (runtime, _) = stopping_runtime();
    let second = stopping_device();
    let (at, to) = (runtime.allocate(8).unwrap(), runtime.allocate(8).unwrap());
    runtime.fill(StreamRef::Default, fill(at, 6, 8), true).unwrap();
    runtime.pause(None, LONG).unwrap();
    runtime.copy(StreamRef::Default, copy(to, at, 8), false).unwrap_or_else(|e| panic!("{e}"));
    move_to(&runtime, &second).unwrap();
    assert_eq!((runtime.stage(0), runtime.query_stream(StreamRef::Default)), (Stage::Paused, Err(Error::NotReady)));
    runtime.resume(None).unwrap();
    assert_eq!(runtime.read(to, 8).unwrap(), [6; 8]);
}

#[test]
fn jobs_move_there_and_back() {
    let (runtime, _) = runtime(1 << 30, 1);
    let at = runtime.allocate(4096).unwrap();
    for round in 0..5u8 {
        let next = TestDevice::new(1 << 30, 1);
        runtime.fill(StreamRef::Default, fill(at + u64::from(round), round + 1, 1), false).unwrap();
        move_to(&runtime, &next).unwrap();
        assert_eq!(runtime.status()[0].shown, "test device");
    }
    assert_eq!(runtime.read(at, 6).unwrap(), [1, 2, 3, 4, 5, 0]);
    runtime.free(at).unwrap();
}

#[test]
fn images_and_objects_keep_their_handles() {
    let (runtime, first) = runtime(1 << 30, 1);
    let second = TestDevice::new(1 << 30, 1);
    let format = Format { channel: Channel::U16, channels: 1 };
    let description = ArrayDescription {
        format,
        fractions: false,
        dimensions: Dimensions::Two,
        extent: [4, 2, 1],
        layers: 1,
        layered: false,
        writable: true,
        gathered: false,
        notes: Notes::default(),
    };
    let (at, back) = (runtime.allocate(16).unwrap(), runtime.allocate(16).unwrap());
    runtime.write(at, (0..16).collect()).unwrap();
    let array = runtime.create_array(description).unwrap();
    let memory = |at| TexelSide::Memory { at, device: true, pitch: 8, slice: 0 };
    let copied = |to, from| {
        runtime.copy_texels(StreamRef::Default, TexelCopy { to, from, row: 8, rows: 2, slices: 1 }, true).unwrap();
    };
    copied(TexelSide::Array(array, Corner::default()), memory(at));
    let texture = TextureRequest {
        resource: Resource::Array(array),
        sampler: Sampler::default(),
        normalized_floats: false,
        view: None,
    };
    let object = runtime.create_texture(texture, 7u8).unwrap();
    move_to(&runtime, &second).unwrap();
    assert_eq!((first.images(), second.images()), ((0, 0), (1, 1)));
    copied(memory(back), TexelSide::Array(array, Corner::default()));
    assert_eq!(runtime.read(back, 16).unwrap(), (0..16).collect::<Vec<u8>>());
    assert_eq!(runtime.image_object::<u8>(object, true), Ok(7));
    runtime.destroy_image_object(object, true).unwrap();
    runtime.destroy_array(array).unwrap();
    assert_eq!(second.images(), (0, 0));
}

#[test]
fn a_released_job_leaves_its_device_empty_and_goes_on_when_it_is_restored() {
    let (runtime, first) = stopping_runtime();
    let spare = stopping_device();
    runtime.offer(Arc::new(Spare(spare.clone())), vec!["spare".into()]);
    let kernel = kernel(&runtime);
    let at = runtime.allocate(300).unwrap();
    runtime.launch(kernel, StreamRef::Default, touch(at, 300)).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    first.wait_for_blocks(20);
    assert_eq!(runtime.release_devices(None).unwrap_err().kind, TroubleKind::Stage, "it runs");
    let turn = runtime.pause(None, LONG).unwrap();
    runtime.release_devices(None).unwrap();
    assert_eq!((first.mapped(), first.modules(), runtime.stage(0)), (vec![], 0, Stage::Released));
    assert_eq!(runtime.resume(None).unwrap_err().kind, TroubleKind::Stage, "it has no device");
    assert_eq!(move_to(&runtime, &stopping_device()).unwrap_err().kind, TroubleKind::Stage);
    spare.fail_after(0);
    assert_eq!(runtime.restore_devices(None).unwrap_err().kind, TroubleKind::Failed);
    assert_eq!((runtime.stage(0), spare.mapped()), (Stage::Released, vec![]));
    assert_eq!(runtime.end_turn(None, turn).unwrap_err().kind, TroubleKind::Failed, "who let it go may be gone");
    spare.fail_after(100);
    assert_eq!((runtime.end_turn(None, turn), runtime.stage(0)), (Ok(true), Stage::Running));
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 300).unwrap(), [1; 300]);
    assert_eq!(first.blocks() + spare.blocks(), 300);
}

struct Spare(Arc<TestDevice>);

impl Targets for Spare {
    fn names(&self) -> Vec<String> {
        vec!["spare".into()]
    }

    fn caps(&self, name: &str) -> Option<Caps> {
        (name == "spare").then(|| queued(&self.0).caps().clone())
    }

    fn make(&self, name: &str) -> Option<Arc<dyn Device>> {
        (name == "spare").then(|| queued(&self.0))
    }
}
