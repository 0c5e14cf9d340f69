//! What is on a job's devices, in a file and back.

mod common;

use common::{TestDevice, enter, fill, kernel, runtime, stopping_device, stopping_runtime, touch};
use hetgpu_checkpoint::{Snapshot, SystemDisk};
use hetgpu_device::{Caps, Device, Queued};
use hetgpu_runtime::{
    ArrayDescription, Channel, Corner, Dimensions, Format, Notes, Runtime, SaveRequest, Saved, Stage, StreamRef,
    Targets, TexelCopy, TexelSide, Then, Trouble, TroubleKind,
};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

/// A folder that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hetgpu-snapshots-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn open(&self, name: &str) -> Snapshot {
        Snapshot::open(&(Arc::new(SystemDisk) as _), &self.0.join(format!("{name}.snapshot"))).unwrap()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(&self.0).map_or(0, |entries| entries.count())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn request(folder: &Scratch, name: &str, then: Then) -> SaveRequest {
    SaveRequest {
        folder: folder.0.clone(),
        name: name.into(),
        base: None,
        then,
        running: false,
        copy: false,
        most: Some(LONG),
        fleeting: false,
        shared: None,
    }
}

fn save(runtime: &Runtime, request: &SaveRequest) -> Result<Saved, Trouble> {
    runtime.save(request, &|_, _| {})
}

fn rewind(runtime: &Runtime, folder: &Path, name: &str) -> Result<(), TroubleKind> {
    runtime.rewind(folder, name, false, &|_, _| {}).map(drop).map_err(|trouble| trouble.kind)
}

/// A device of that name, and another that cannot take anything.
struct Spare(Arc<TestDevice>);

impl Targets for Spare {
    fn names(&self) -> Vec<String> {
        vec!["spare".into()]
    }

    fn caps(&self, name: &str) -> Option<Caps> {
        (name == "spare").then(|| Queued::from(self.0.clone()).caps().clone())
    }

    fn make(&self, name: &str) -> Option<Arc<dyn Device>> {
        (name == "spare").then(|| Arc::new(Queued::from(self.0.clone())) as _)
    }
}

#[test]
fn a_job_that_let_its_devices_go_is_in_the_file_and_goes_on_from_there() {
    let (runtime, first) = stopping_runtime();
    let (spare, folder) = (stopping_device(), Scratch::new("let-go"));
    runtime.offer(Arc::new(Spare(spare.clone())), vec!["spare".into()]);
    let kernel = kernel(&runtime);
    let (at, large) = (runtime.allocate(300).unwrap(), runtime.allocate(9 << 20).unwrap());
    runtime.fill(StreamRef::Default, fill(large + (5 << 20), 3, 7), true).unwrap();
    runtime.launch(kernel, StreamRef::Default, touch(at, 300)).unwrap();
    let _ = runtime.query_stream(StreamRef::Default);
    first.wait_for_blocks(20);
    let saved = save(&runtime, &request(&folder, "a", Then::LetsGo)).unwrap();
    assert!(saved.stats.memory >= 9 << 20 && saved.stats.file < 4 << 20, "{saved:?}");
    assert_eq!((first.mapped(), first.modules(), runtime.stage(0)), (vec![], 0, Stage::Released));
    assert_eq!(runtime.filed().unwrap().name, "a");
    let summary = folder.open("a").summary();
    assert_eq!((summary.launches.len(), summary.manifest.process), (1, std::process::id()));
    assert_eq!(runtime.resume(None).unwrap_err().kind, TroubleKind::Stage, "it has no device");
    // A target without room, and one that there is not.
    spare.fail_after(0);
    assert_eq!(runtime.load(None, &[], &|_, _| {}).unwrap_err().kind, TroubleKind::Failed);
    let nowhere = runtime.load(None, &[Some("nowhere".into())], &|_, _| {}).unwrap_err();
    assert_eq!((nowhere.kind, runtime.stage(0), spare.mapped()), (TroubleKind::NoDevice, Stage::Released, vec![]));
    spare.fail_after(1000);
    runtime.load(None, &[], &|_, _| {}).unwrap();
    assert_eq!((runtime.stage(0), runtime.filed()), (Stage::Paused, None));
    runtime.resume(None).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    assert_eq!(runtime.read(at, 300).unwrap(), [1; 300]);
    assert_eq!(runtime.read(large + (5 << 20), 8).unwrap(), [3, 3, 3, 3, 3, 3, 3, 0]);
    assert_eq!(first.blocks() + spare.blocks(), 300);
}

#[test]
fn a_damaged_file_or_another_is_not_loaded() {
    let (runtime, _) = stopping_runtime();
    let folder = Scratch::new("damaged");
    let spare = stopping_device();
    runtime.offer(Arc::new(Spare(spare.clone())), vec!["spare".into()]);
    let at = runtime.allocate(1 << 20).unwrap();
    runtime.write(at, (0..1 << 20).map(|n: u32| n as u8 | 1).collect()).unwrap();
    save(&runtime, &request(&folder, "other", Then::GoesOn)).unwrap();
    runtime.write(at, vec![7]).unwrap();
    save(&runtime, &request(&folder, "own", Then::LetsGo)).unwrap();
    let load = |name: &str| runtime.load(Some((folder.0.clone(), name.into())), &[], &|_, _| {}).map_err(|t| t.kind);
    assert_eq!(load("other").unwrap_err(), TroubleKind::Snapshot);
    assert_eq!(load("none").unwrap_err(), TroubleKind::Snapshot);
    let path = folder.0.join("own.snapshot");
    let place = 8192 + 100;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 1], place).unwrap();
    assert!(load("own").is_err());
    assert_eq!((runtime.stage(0), spare.mapped()), (Stage::Released, vec![]));
    file.write_all_at(&byte, place).unwrap();
    load("own").unwrap();
    runtime.resume(None).unwrap();
    assert_eq!(runtime.read(at, 3).unwrap(), [7, 1, 3]);
}

#[test]
fn a_job_goes_on_while_its_copy_is_written_and_is_rewound() {
    for copy in [false, true] {
        let (runtime, device) = runtime(1 << 30, 1);
        let folder = Scratch::new(if copy { "copy" } else { "direct" });
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
        let (at, texels) = (runtime.allocate(3 << 20).unwrap(), runtime.allocate(16).unwrap());
        let array = runtime.create_array(description).unwrap();
        let memory = TexelSide::Memory { at: texels, device: true, pitch: 8, slice: 0 };
        let texel_copy = |to, from| {
            runtime.copy_texels(StreamRef::Default, TexelCopy { to, from, row: 8, rows: 2, slices: 1 }, true).unwrap();
        };
        runtime.write(texels, (0..16).collect()).unwrap();
        texel_copy(TexelSide::Array(array, Corner::default()), memory);
        runtime.fill(StreamRef::Default, fill(at, 6, 3 << 20), true).unwrap();
        let wanted = SaveRequest { copy, ..request(&folder, "a", Then::GoesOn) };
        let saved = save(&runtime, &wanted).unwrap();
        assert_eq!((saved.stats.memory > 3 << 20, runtime.stage(0)), (true, Stage::Running));
        runtime.fill(StreamRef::Default, fill(at, 9, 3 << 20), true).unwrap();
        runtime.write(texels, vec![1; 16]).unwrap();
        texel_copy(TexelSide::Array(array, Corner::default()), memory);
        rewind(&runtime, &folder.0, "a").unwrap();
        assert_eq!(runtime.read(at, 3 << 20).unwrap(), vec![6; 3 << 20]);
        texel_copy(memory, TexelSide::Array(array, Corner::default()));
        assert_eq!(runtime.read(texels, 16).unwrap(), (0..16).collect::<Vec<u8>>());
        // What was freed meanwhile cannot come back, be there something at its place or not.
        runtime.free(at).unwrap();
        assert_eq!(rewind(&runtime, &folder.0, "a"), Err(TroubleKind::Unfit));
        // It is there, but where another test has taken it meanwhile.
        runtime.allocate(3 << 20).unwrap();
        assert_eq!(rewind(&runtime, &folder.0, "a"), Err(TroubleKind::Unfit));
        assert!(!device.mapped().is_empty());
    }
}

#[test]
fn an_incremental_snapshot_holds_what_has_changed() {
    let (runtime, _) = runtime(1 << 30, 1);
    let folder = Scratch::new("base");
    let at = runtime.allocate(16 << 20).unwrap();
    let mut seed = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    .take(16 << 20)
    .collect();
    runtime.write(at, noise).unwrap();
    let running = SaveRequest { running: true, ..request(&folder, "before", Then::GoesOn) };
    let first = save(&runtime, &running).unwrap();
    assert!(first.stats.stored >= 16 << 20 && first.freeze.is_zero());
    runtime.write(at + 12345, vec![0xaa; 100]).unwrap();
    let second = SaveRequest { base: Some("before".into()), ..request(&folder, "after", Then::GoesOn) };
    let second = save(&runtime, &second).unwrap();
    assert!(second.stats.file < (16 << 20) * 3 / 100, "{second:?}");
    let mut out = [0; 4];
    folder.open("after").read(at + 12345 + 98, &mut out).unwrap();
    assert_eq!(out[..2], [0xaa; 2]);
    let nobody = SaveRequest { base: Some("nobody".into()), ..request(&folder, "x", Then::GoesOn) };
    assert_eq!(save(&runtime, &nobody).unwrap_err().kind, TroubleKind::Snapshot);
}

#[test]
fn whatever_fails_the_job_goes_on_and_no_file_is_left() {
    let (runtime, device) = stopping_runtime();
    let folder = Scratch::new("fails");
    let kernel = kernel(&runtime);
    let at = runtime.allocate(1 << 20).unwrap();
    std::thread::scope(|scope| {
        for copy in [false, true] {
            // Reading fails.
            device.be_blind(true);
            let wanted = SaveRequest { copy, ..request(&folder, "a", Then::GoesOn) };
            assert!(save(&runtime, &wanted).is_err());
            device.be_blind(false);
            assert_eq!((runtime.stage(0), folder.files()), (Stage::Running, 0));
        }
        // It is given up, and there is no time.
        let runtime = &runtime;
        let give_up = |_, _| {
            assert!(runtime.abort(None).unwrap());
            device.hold_reads(false);
        };
        let big = runtime.allocate(256 << 20).unwrap();
        device.hold_reads(true);
        let ended = runtime.save(&request(&folder, "a", Then::LetsGo), &give_up);
        assert_eq!(ended.unwrap_err().kind, TroubleKind::Aborted);
        if runtime.stage(0) == Stage::Running {
            let hurried = SaveRequest { most: Some(Duration::ZERO), ..request(&folder, "a", Then::LetsGo) };
            let kind = save(runtime, &hurried).unwrap_err().kind;
            assert!([TroubleKind::TooLong, TroubleKind::Held].contains(&kind), "{kind:?}");
            assert_eq!((runtime.stage(0), folder.files()), (Stage::Running, 0));
            runtime.free(big).unwrap();
            runtime.launch(kernel, StreamRef::Default, touch(at, 30)).unwrap();
            scope.spawn(move || {
                enter(runtime);
                runtime.synchronise_stream(StreamRef::Default).unwrap();
            });
        }
    });
}

#[test]
fn a_folder_that_others_may_enter_is_refused_before_anything_stops() {
    use std::os::unix::fs::PermissionsExt;
    let (runtime, _) = runtime(1 << 30, 1);
    let folder = Scratch::new("open");
    std::fs::create_dir(&folder.0).unwrap();
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let trouble = save(&runtime, &request(&folder, "a", Then::LetsGo)).unwrap_err();
    assert_eq!((trouble.kind, runtime.stage(0)), (TroubleKind::Snapshot, Stage::Running));
    assert!(trouble.text.contains("mode 755"), "{trouble}");
}

#[test]
fn what_a_device_says_that_it_holds_as_before_is_not_read() {
    const CHUNK: u64 = 64 << 10;
    let (runtime, device) = runtime(1 << 30, CHUNK);
    let folder = Scratch::new("digests");
    let at = runtime.allocate(40 * CHUNK).unwrap();
    let bytes = |seed: u64| (0..CHUNK).map(move |n| (n * n * 31 + seed * 7) as u8).collect::<Vec<u8>>();
    for chunk in 0..20 {
        runtime.write(at + chunk * CHUNK, bytes(chunk)).unwrap();
    }
    save(&runtime, &request(&folder, "first", Then::GoesOn)).unwrap();
    assert_eq!(device.digests_told(), 0, "nothing is built on another");
    device.tell_digests();
    // One is changed, one becomes zeros, one is no longer zeros, and one is changed and changed back.
    runtime.write(at + 3 * CHUNK, bytes(99)).unwrap();
    runtime.write(at + 4 * CHUNK, vec![0; CHUNK as usize]).unwrap();
    runtime.write(at + 30 * CHUNK + 5, vec![1]).unwrap();
    runtime.write(at + 5 * CHUNK, bytes(98)).unwrap();
    runtime.write(at + 5 * CHUNK, bytes(5)).unwrap();
    let on = |name: &str, base: &str| SaveRequest { base: Some(base.into()), ..request(&folder, name, Then::GoesOn) };
    let second = save(&runtime, &on("second", "first")).unwrap();
    assert!(device.digests_told() >= 40 * CHUNK);
    assert_eq!(second.stats.memory - second.stats.unread, 3 * CHUNK, "{second:?}");
    let third = save(&runtime, &SaveRequest { running: true, ..on("third", "second") }).unwrap();
    assert_eq!(third.stats.memory, third.stats.unread, "{third:?}");
    let now = runtime.read(at, 40 * CHUNK).unwrap();
    for name in ["second", "third"] {
        let mut saved = vec![0; 40 * CHUNK as usize];
        folder.open(name).read(at, &mut saved).unwrap();
        assert!(saved == now, "{name}");
    }
    runtime.fill(StreamRef::Default, fill(at, 7, 40 * CHUNK), true).unwrap();
    rewind(&runtime, &folder.0, "third").unwrap();
    assert!(runtime.read(at, 40 * CHUNK).unwrap() == now);
}
