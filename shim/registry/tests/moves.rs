//! Jobs that move between the devices that there are, also in the middle of a kernel.

use hetgpu_device::Access;
use hetgpu_registry::Kinds;
use hetgpu_runtime::{
    AllocationKind, Attributes, Code, LaunchRequest, Launchable, MemoryFile, Moved, PhysicalTraits, Runtime,
    SaveRequest, Saved, Settings, Stage, StreamRef, Targets, Then, Trouble, TroubleKind, VMM_GRANULARITY, memory_file,
};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn start(device: &str) -> Runtime {
    let (settings, _) = Settings::read(|name| (name == "HETGPU_DEVICE").then(|| device.to_owned()));
    let kinds = Kinds(settings.clone());
    let runtime = Runtime::new(settings, vec![kinds.make(device).unwrap()]);
    runtime.offer(Arc::new(kinds), vec![device.to_owned()]);
    enter(&runtime);
    runtime
}

fn enter(runtime: &Runtime) {
    let context = runtime.retain_primary(0).unwrap();
    runtime.set_current(Some(context)).unwrap();
}

fn go(runtime: &Runtime, to: &str) -> Result<Moved, Trouble> {
    runtime.move_to(0, to, Some(LONG), &|_, _| {})
}

/// `work` counts in each block to a bound and then writes what it has counted, and where a variable says that it is;
/// `keep` allocates on the device and leaves the address; `look` reads what lies there.
const TEXT: &str = "
.version 8.0
.target sm_80
.address_size 64
.global .u32 factor = 3;
.extern .func (.param .b64 r) malloc(.param .b64 n);
.visible .entry work(.param .u64 out, .param .u32 rounds)
{
    .reg .u64 %p, %i;
    .reg .u32 %b, %n, %s, %f;
    .reg .pred %go;
    ld.param.u64 %p, [out];
    ld.param.u32 %n, [rounds];
    mov.u32 %b, %ctaid.x;
    mov.u32 %s, %b;
loop:
    mad.lo.u32 %s, %s, 1664525, 1013904223;
    sub.u32 %n, %n, 1;
    setp.ne.u32 %go, %n, 0;
    @%go bra loop;
    ld.global.u32 %f, [factor];
    mul.lo.u32 %s, %s, %f;
    mul.wide.u32 %i, %b, 4;
    add.u64 %p, %p, %i;
    atom.global.add.u32 %f, [%p], %s;
    ret;
}
.visible .entry keep(.param .u64 out)
{
    .reg .u64 %p, %a;
    ld.param.u64 %p, [out];
    {
        .param .b64 n;
        .param .b64 r;
        st.param.b64 [n], 64;
        call (r), malloc, (n);
        ld.param.b64 %a, [r];
    }
    st.global.u64 [%p], %a;
    st.global.u32 [%a], 77;
    ret;
}
.visible .entry look(.param .u64 at, .param .u64 out)
{
    .reg .u64 %p, %a;
    .reg .u32 %v;
    ld.param.u64 %a, [at];
    ld.param.u64 %p, [out];
    ld.u32 %v, [%a];
    st.global.u32 [%p], %v;
    ret;
}
";

struct Kernels {
    work: Launchable,
    keep: Launchable,
    look: Launchable,
}

fn kernels(runtime: &Runtime) -> Kernels {
    let code = Code::from_text(TEXT.to_owned(), "moves.ptx").unwrap_or_else(|e| panic!("{e}"));
    let module = runtime.load_module(&code).unwrap();
    let named = |name| Launchable::Function(runtime.function(module, name).unwrap());
    Kernels { work: named("work"), keep: named("keep"), look: named("look") }
}

fn request(grid: u32, params: &[&[u8]]) -> LaunchRequest {
    let params = params.concat().into();
    LaunchRequest {
        grid: [grid, 1, 1],
        block: [1; 3],
        cluster: [1; 3],
        dynamic_shared: 0,
        cooperative: false,
        attributes: Attributes::default(),
        params,
    }
}

fn working(out: u64, blocks: u32, rounds: u32) -> LaunchRequest {
    request(blocks, &[&out.to_le_bytes(), &rounds.to_le_bytes()])
}

fn expected(blocks: u32, rounds: u32) -> Vec<u32> {
    let block = |b: u32| (0..rounds).fold(b, |s, _| s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    (0..blocks).map(|b| block(b).wrapping_mul(3)).collect()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

/// What a kernel finds at an address.
fn looked(runtime: &Runtime, kernels: &Kernels, at: u64) -> u32 {
    let out = runtime.allocate(4).unwrap();
    let looking = request(1, &[&at.to_le_bytes(), &out.to_le_bytes()]);
    runtime.launch(kernels.look, StreamRef::Default, looking).unwrap();
    let found = words(&runtime.read(out, 4).unwrap())[0];
    runtime.free(out).unwrap();
    found
}

#[test]
fn a_kernel_under_way_ends_on_another_device_with_the_same_result() {
    for (from, path) in [("cpu", ["interp", "cpu", "cpu"]), ("interp", ["cpu", "interp", "cpu"])] {
        let runtime = start(from);
        let kernels = kernels(&runtime);
        const BLOCKS: u32 = 400;
        let rounds = if from == "cpu" { 1_000_000 } else { 2_000 };
        let out = runtime.allocate(u64::from(BLOCKS) * 4).unwrap();
        runtime.launch(kernels.work, StreamRef::Default, working(out, BLOCKS, rounds)).unwrap();
        let _ = runtime.query_stream(StreamRef::Default);
        let (start, mut first) = (Instant::now(), [0; 4]);
        while runtime.device(0).unwrap().device.read(out, &mut first).is_ok() && first == [0; 4] {
            assert!(start.elapsed() < LONG, "the first block does not end");
            std::thread::yield_now();
        }
        let mut stopped = Vec::new();
        for to in path {
            runtime.pause(None, LONG).unwrap();
            stopped.push(runtime.status()[0].flights.len());
            go(&runtime, to).unwrap_or_else(|e| panic!("{from} to {to}: {e}"));
            runtime.resume(None).unwrap();
        }
        assert_eq!(stopped[0], 1, "the kernel had ended before anything moved");
        assert_eq!(runtime.status()[0].name, path[2]);
        runtime.synchronise_stream(StreamRef::Default).unwrap();
        assert_eq!(words(&runtime.read(out, u64::from(BLOCKS) * 4).unwrap()), expected(BLOCKS, rounds));
    }
}

#[test]
fn devices_that_reach_each_other_do_so_wherever_they_are() {
    let (settings, _) = Settings::read(|name| (name == "HETGPU_DEVICE").then(|| "cpu,cpu".to_owned()));
    let devices = hetgpu_registry::devices(&settings).unwrap_or_else(|_| panic!("two devices are one"));
    let runtime = Runtime::new(settings.clone(), devices);
    runtime.offer(Arc::new(Kinds(settings)), vec!["cpu".to_owned(); 2]);
    let [one, two] = [0, 1].map(|device| runtime.retain_primary(device).unwrap());
    let to = |device, name| runtime.move_to(device, name, Some(LONG), &|_, _| {}).map(drop);
    // Who was not told has no claim to it.
    to(1, "interp").unwrap();
    assert_eq!(runtime.can_reach(0, 1), Ok(false));
    to(1, "cpu").unwrap();
    assert_eq!(runtime.can_reach(0, 1), Ok(true));
    for device in [0, 1] {
        assert_eq!(to(device, "interp").unwrap_err().kind, TroubleKind::Unfit);
    }
    to(0, "cpu:sse2").unwrap();
    to(1, "cpu:sse2").unwrap();
    runtime.set_current(Some(two)).unwrap();
    let there = runtime.allocate(8).unwrap();
    let fill = hetgpu_runtime::FillRequest { at: there, pattern: vec![5], count: 4, rows: 1, pitch: 0 };
    runtime.fill(StreamRef::Default, fill, true).unwrap();
    runtime.set_current(Some(one)).unwrap();
    runtime.enable_peer(two).unwrap();
    assert_eq!(looked(&runtime, &kernels(&runtime), there), 0x0505_0505);
}

#[test]
fn memory_of_every_kind_is_where_it_was() {
    let runtime = start("cpu");
    let kernels = kernels(&runtime);
    let plain = runtime.allocate(100).unwrap();
    let pooled = runtime.allocate_in(StreamRef::Default, 4096).unwrap();
    let managed = runtime
        .memory
        .allocate_managed(0, hetgpu_runtime::Owner::program(runtime.session().unwrap().id), 4096, 0)
        .unwrap();
    let pinned = runtime.memory.allocate_pinned(0, runtime.session().unwrap().id, 4096, 0).unwrap();
    let mut own = vec![11u32; 2048];
    let registered = own.as_mut_ptr().expose_provenance() as u64;
    runtime.memory.register(0, runtime.session().unwrap().id, registered, 8192, 0).unwrap();
    let kept = runtime.allocate(8).unwrap();
    let fill = |at, value: u8| {
        let request = hetgpu_runtime::FillRequest { at, pattern: vec![value], count: 4, rows: 1, pitch: 0 };
        runtime.fill(StreamRef::Default, request, true).unwrap();
    };
    [(plain, 1), (pooled, 2), (managed, 3), (pinned, 4)].iter().for_each(|&(at, value)| fill(at, value));
    runtime.launch(kernels.keep, StreamRef::Default, request(1, &[&kept.to_le_bytes()])).unwrap();
    let heap = u64::from_le_bytes(runtime.read(kept, 8).unwrap().try_into().unwrap());
    for to in ["interp", "cpu", "interp", "cpu", "cpu"] {
        go(&runtime, to).unwrap_or_else(|e| panic!("to {to}: {e}"));
        let found = [plain, pooled, managed, pinned, registered, heap].map(|at| looked(&runtime, &kernels, at));
        assert_eq!(found, [0x0101_0101, 0x0202_0202, 0x0303_0303, 0x0404_0404, 11, 77], "on {to}");
        // What the device has handed out by itself is not handed out again.
        runtime.launch(kernels.keep, StreamRef::Default, request(1, &[&kept.to_le_bytes()])).unwrap();
        let another = u64::from_le_bytes(runtime.read(kept, 8).unwrap().try_into().unwrap());
        assert!(another > heap, "{another:#x} after {heap:#x} on {to}");
    }
    assert_eq!(runtime.memory.find(pinned).map(|found| found.kind), Some(AllocationKind::Pinned));
    runtime.free(plain).unwrap();
    runtime.free_host(registered, AllocationKind::Registered).unwrap();
    assert_eq!(own[0], 11);
}

#[test]
fn memory_apart_from_its_addresses_moves_as_it_lies_or_is_copied() {
    let runtime = start("cpu");
    let kernels = kernels(&runtime);
    let at = runtime.reserve_addresses(2 * VMM_GRANULARITY, 0, 0).unwrap();
    let physical = runtime.create_physical(0, VMM_GRANULARITY, PhysicalTraits::default()).unwrap();
    let second = at + VMM_GRANULARITY;
    for place in [at, second] {
        runtime.map_physical(place, VMM_GRANULARITY, 0, physical).unwrap();
        runtime.set_access(place, VMM_GRANULARITY, &[(0, Access::ReadWrite)]).unwrap();
    }
    runtime.write(at, vec![5; 4]).unwrap();
    let used = runtime.memory.used(0);
    assert!(go(&runtime, "interp").unwrap().copied >= VMM_GRANULARITY);
    assert_eq!(runtime.read(second, 4).unwrap(), [5; 4]);
    go(&runtime, "cpu").unwrap();
    let moved = go(&runtime, "cpu:avx2").unwrap();
    assert_eq!((moved.copied, runtime.memory.used(0)), (0, used));
    assert_eq!(looked(&runtime, &kernels, second), 0x0505_0505, "two addresses of the same memory");
    runtime.write(second, vec![6; 4]).unwrap();
    assert_eq!(runtime.read(at, 4).unwrap(), [6; 4]);
    runtime.unmap_physical(at, 2 * VMM_GRANULARITY).unwrap();
    runtime.release_physical(physical).unwrap();
    runtime.free_addresses(at, 2 * VMM_GRANULARITY).unwrap();
    go(&runtime, "interp").unwrap();
}

#[test]
fn what_there_is_not_is_said() {
    let runtime = start("interp");
    let trouble = go(&runtime, "toaster").unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::NoDevice);
    assert!(trouble.text.starts_with("there is no device 'toaster'; there are cpu"), "{trouble}");
}

#[test]
fn what_a_move_takes_is_said_before() {
    let runtime = start("cpu");
    kernels(&runtime);
    let at = runtime.allocate(LARGE).unwrap();
    runtime.write(at, noise(LARGE)).unwrap();
    // Memory stays where it lies between devices of one kind.
    let there = runtime.forecast(0, "cpu:sse2").unwrap();
    assert_eq!((there.against, there.copied, there.copying), (vec![], 0, Some(Duration::ZERO)));
    assert!(there.bytes >= LARGE, "{}", there.bytes);
    let other = runtime.forecast(0, "interp").unwrap();
    assert!(other.against.is_empty(), "{other:?}");
    if other.copied > 0 {
        let (rate, copying) = other.rate.zip(other.copying).unwrap();
        assert!((copying.as_secs_f64() * rate - other.copied as f64).abs() < rate * 1e-3, "{other:?}");
    }
    // It was asked, and nothing else.
    assert_eq!(runtime.status()[0].name, "cpu");
    let moved = go(&runtime, "interp").unwrap();
    assert!(moved.copied <= other.copied && moved.bytes == other.bytes, "{moved:?} {other:?}");
    assert_eq!(runtime.read(at, LARGE).unwrap(), noise(LARGE));
}

#[test]
fn what_a_job_changes_is_measured_and_snapshots_miss_nothing_of_it() {
    let (runtime, folder) = (start("cpu"), Scratch::new("changes"));
    let at = runtime.allocate(LARGE).unwrap();
    let mut contents = noise(LARGE);
    runtime.write(at, contents.clone()).unwrap();
    save(&runtime, &folder.0, "before", None, Then::GoesOn);
    if !knows_what_is_written() {
        assert_eq!(runtime.changes(0, Duration::ZERO), Ok(None));
        return;
    }
    assert_eq!(runtime.changes(0, Duration::from_millis(20)), Ok(Some(0.0)));
    contents[7 << 20] = 0;
    runtime.write(at + (7 << 20), vec![0]).unwrap();
    let (watch, pages) = (Duration::from_millis(400), 256);
    let measured = std::thread::scope(|scope| {
        let watching = scope.spawn(|| runtime.changes(0, watch).unwrap().unwrap() * watch.as_secs_f64());
        std::thread::sleep(watch / 4);
        for page in 0..pages {
            // Twice, which counts once.
            for value in [1, 2] {
                runtime.write(at + page * 4096, vec![value]).unwrap();
                contents[page as usize * 4096] = value;
            }
        }
        watching.join().unwrap()
    });
    // It may have taken longer than it was to, or a few pages more be counted.
    assert!(measured > 0.0 && measured <= (pages + 16) as f64 * 4096.0, "{measured}");
    let saved = save(&runtime, &folder.0, "after", Some("before"), Then::LetsGo);
    assert!(saved.stats.unread >= LARGE - (3 << 20), "{saved:?}");
    runtime.load(None, &[], &|_, _| {}).unwrap();
    runtime.resume(None).unwrap();
    assert!(runtime.read(at, LARGE).unwrap() == contents);
}

/// A folder that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hetgpu-moves-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn save(runtime: &Runtime, folder: &Path, name: &str, base: Option<&str>, then: Then) -> Saved {
    let base = base.map(str::to_owned);
    let (running, copy) = (base.is_none(), then == Then::GoesOn);
    let request = SaveRequest {
        folder: folder.into(),
        name: name.into(),
        base,
        then,
        running,
        copy,
        most: Some(LONG),
        fleeting: true,
        shared: None,
    };
    runtime.save(&request, &|_, _| {}).unwrap()
}

const LARGE: u64 = 24 << 20;

fn noise(bytes: u64) -> Vec<u8> {
    let mut seed = 1u32;
    let next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8 | 1
    };
    std::iter::repeat_with(next).take(bytes as usize).collect()
}

/// Whether the system tells the CPU device what was written.
fn knows_what_is_written() -> bool {
    let device = Kinds(Settings::read(|_| None).0).make("cpu").unwrap();
    let (at, bytes) = (0x48_0000_0000, 4 << 20);
    device.map(at, bytes, "some memory").unwrap();
    assert!(device.written(at + bytes, 1).is_none(), "nothing is there");
    let knows = device.written(at, bytes);
    if let Some(all) = &knows {
        assert_eq!(
            (all.first().map(|range| range.start), all.last().map(|range| range.end)),
            (Some(at), Some(at + bytes))
        );
        assert_eq!(device.written(at, bytes), Some(vec![]));
        device.write(at + 5000, &[1, 2]).unwrap();
        device.write(at + 4097 + (1 << 20), &[1; 4096]).unwrap();
        let page = at + (1 << 20) + 4096;
        assert_eq!(device.written(at, bytes), Some(vec![at + 4096..at + 8192, page..page + 8192]));
    }
    knows.is_some()
}

#[test]
fn what_was_not_written_since_the_snapshot_below_is_not_read_again() {
    let (runtime, folder) = (start("cpu"), Scratch::new("since"));
    let kernels = kernels(&runtime);
    let (at, small) = (runtime.allocate(LARGE).unwrap(), runtime.allocate(100).unwrap());
    let mut contents = noise(LARGE);
    runtime.write(at, contents.clone()).unwrap();
    save(&runtime, &folder.0, "before", None, Then::GoesOn);
    // By the host, by a kernel, and next to the end.
    contents[5 << 20..][..100].fill(0xaa);
    runtime.write(at + (5 << 20), vec![0xaa; 100]).unwrap();
    let out = at + (9 << 20);
    let old = u32::from_le_bytes(*contents[9 << 20..].first_chunk().unwrap());
    let new = old.wrapping_add(expected(1, 50)[0]);
    contents[9 << 20..][..4].copy_from_slice(&new.to_le_bytes());
    runtime.launch(kernels.work, StreamRef::Default, request(1, &[&out.to_le_bytes(), &50u32.to_le_bytes()])).unwrap();
    runtime.synchronise_stream(StreamRef::Default).unwrap();
    *contents.last_mut().unwrap() = 0;
    runtime.write(at + LARGE - 1, vec![0]).unwrap();
    runtime.write(small, vec![9; 100]).unwrap();
    // Moving to a device of the same kind changes no memory.
    go(&runtime, "cpu:sse2").unwrap();
    let saved = save(&runtime, &folder.0, "after", Some("before"), Then::GoesOn);
    let chunk = 64 << 10;
    if knows_what_is_written() {
        assert!(saved.stats.unread >= LARGE - 3 * chunk, "{saved:?}");
    }
    assert!(saved.stats.file < LARGE / 20, "{saved:?}");
    // It is saved once more, with nothing changed, and comes back as it was.
    let saved = save(&runtime, &folder.0, "last", Some("after"), Then::LetsGo);
    assert!(saved.stats.unread >= LARGE || !knows_what_is_written(), "{saved:?}");
    runtime.load(None, &[Some("cpu:avx2".into())], &|_, _| {}).unwrap();
    runtime.resume(None).unwrap();
    assert_eq!(runtime.read(at, LARGE).unwrap(), contents);
    assert_eq!(runtime.read(small, 100).unwrap(), [9; 100]);
}

#[test]
fn what_a_job_writes_while_its_copy_is_written_is_not_in_it() {
    let (runtime, folder) = (start("cpu"), Scratch::new("beside"));
    let at = runtime.allocate(LARGE).unwrap();
    let mut contents = noise(LARGE);
    runtime.write(at, contents.clone()).unwrap();
    save(&runtime, &folder.0, "s-0", None, Then::GoesOn);
    let (chunk, page) = (64 << 10, 4096);
    for round in 1..=4u8 {
        // One page of each chunk has changed by then, and its neighbour is changed as soon as the job may.
        for place in (0..LARGE as usize).step_by(chunk) {
            contents[place] = round;
            runtime.write(at + place as u64, vec![round]).unwrap();
        }
        let (name, base) = (format!("s-{round}"), format!("s-{}", round - 1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                enter(&runtime);
                while runtime.stage(0) != Stage::Saving {
                    std::thread::yield_now();
                }
                for place in (page..LARGE as usize).step_by(chunk) {
                    runtime.write(at + place as u64, vec![round]).unwrap();
                }
            });
            save(&runtime, &folder.0, &name, Some(&base), Then::GoesOn);
        });
        // What was written before it stood still is there, and nothing of what came after that; all of it can be read.
        let now = runtime.read(at, LARGE).unwrap();
        runtime.rewind(&folder.0, &name, false, &|_, _| {}).unwrap();
        let saved = runtime.read(at, LARGE).unwrap();
        let neighbours = (page..LARGE as usize).step_by(chunk);
        let before = neighbours.clone().take_while(|&place| saved[place] == round).count();
        neighbours.clone().take(before).for_each(|place| contents[place] = round);
        assert!(saved == contents, "round {round}");
        let mut after = contents.clone();
        neighbours.for_each(|place| after[place] = round);
        assert!(now == after, "round {round}");
    }
}

#[test]
fn memory_that_somebody_holds_is_taken_as_it_lies() {
    let (runtime, folder) = (start("cpu"), Scratch::new("held"));
    let bytes = LARGE + 1234;
    let (at, other) = (runtime.allocate(bytes).unwrap(), runtime.allocate(LARGE).unwrap());
    let contents = noise(bytes);
    runtime.write(at, contents.clone()).unwrap();
    runtime.write(other, contents[..LARGE as usize].to_vec()).unwrap();
    let held = |first: u8| {
        let file = File::from(memory_file(bytes).unwrap());
        file.write_all_at(&contents, 0).unwrap();
        file.write_all_at(&[first], 0).unwrap();
        vec![MemoryFile { start: at, bytes, file: file.into() }]
    };
    save(&runtime, &folder.0, "before", None, Then::GoesOn);
    save(&runtime, &folder.0, "one", Some("before"), Then::LetsGo);
    // What is in the file is seen to be what it has then; everything else is the snapshot's.
    runtime.load_with(None, &[], held(2), &|_, _| {}).unwrap();
    runtime.resume(None).unwrap();
    let now = runtime.read(at, bytes).unwrap();
    assert!(now[0] == 2 && now[1..] == contents[1..]);
    assert_eq!(runtime.read(other, LARGE).unwrap(), contents[..LARGE as usize]);
    // It is memory like other: it is written, moved, saved.
    runtime.write(at + bytes - 1, vec![7]).unwrap();
    go(&runtime, "cpu:avx2").unwrap();
    save(&runtime, &folder.0, "two", Some("before"), Then::LetsGo);
    // A device that cannot take it as it lies has a copy of what it is then.
    runtime.load_with(None, &[Some("interp".into())], held(3), &|_, _| {}).unwrap();
    runtime.resume(None).unwrap();
    let now = runtime.read(at, bytes).unwrap();
    assert!(now[0] == 3 && now[1..] == contents[1..]);
    assert_eq!(runtime.read(other, LARGE).unwrap(), contents[..LARGE as usize]);
}

#[test]
fn memory_apart_from_its_addresses_comes_back_from_a_snapshot() {
    const UNIT: u64 = VMM_GRANULARITY;
    let (runtime, folder) = (start("cpu"), Scratch::new("apart"));
    let make = |units: u64| runtime.create_physical(0, units * UNIT, PhysicalTraits::default()).unwrap();
    let (twice, apart, nameless) = (make(1), make(2), make(1));
    let at = runtime.reserve_addresses(5 * UNIT, 0, 0).unwrap();
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|number| at + number * UNIT);
    for (place, memory, units) in [(first, twice, 1), (second, twice, 1), (third, nameless, 1), (fourth, apart, 2)] {
        runtime.map_physical(place, units * UNIT, 0, memory).unwrap();
        runtime.set_access(place, units * UNIT, &[(0, Access::ReadWrite)]).unwrap();
    }
    runtime.write(first, vec![1; 4]).unwrap();
    runtime.write(third, vec![3; 4]).unwrap();
    let contents = noise(2 * UNIT);
    runtime.write(fourth, contents.clone()).unwrap();
    // One is mapped twice, and may only be read at one of the places; one is mapped nowhere; one has no handle.
    runtime.set_access(second, UNIT, &[(0, Access::Read)]).unwrap();
    runtime.unmap_physical(fourth, 2 * UNIT).unwrap();
    runtime.release_physical(nameless).unwrap();
    let used = runtime.memory.used(0);
    let is_back = |value: u8| {
        assert_eq!(runtime.read(second, 4).unwrap(), [value; 4]);
        assert!(runtime.write(second, vec![9]).is_err(), "it may only be read there");
        runtime.write(first, vec![value + 1; 4]).unwrap();
        assert_eq!(runtime.read(second, 4).unwrap(), [value + 1; 4], "it is the same memory");
        assert_eq!(runtime.read(third, 5).unwrap(), [3, 3, 3, 3, 0]);
        runtime.map_physical(fourth, 2 * UNIT, 0, apart).unwrap();
        runtime.set_access(fourth, 2 * UNIT, &[(0, Access::Read)]).unwrap();
        assert!(runtime.read(fourth, 2 * UNIT).unwrap() == contents);
        runtime.unmap_physical(fourth, 2 * UNIT).unwrap();
        assert_eq!(runtime.memory.used(0), used);
    };
    save(&runtime, &folder.0, "before", None, Then::GoesOn);
    save(&runtime, &folder.0, "one", Some("before"), Then::LetsGo);
    runtime.load(None, &[Some("cpu:avx2".into())], &|_, _| {}).unwrap();
    runtime.resume(None).unwrap();
    is_back(1);
    // In memory of the host, and back.
    runtime.pause(None, LONG).unwrap();
    runtime.release_devices(None).unwrap();
    runtime.restore_devices(None).unwrap();
    runtime.resume(None).unwrap();
    is_back(2);
    // Into the process as it has gone on.
    save(&runtime, &folder.0, "two", Some("before"), Then::GoesOn);
    runtime.write(first, vec![77; 4]).unwrap();
    runtime.rewind(&folder.0, "two", false, &|_, _| {}).unwrap();
    is_back(3);
    runtime.release_physical(apart).unwrap();
    let trouble = runtime.rewind(&folder.0, "two", false, &|_, _| {}).unwrap_err();
    assert!(trouble.text.contains("has been released"), "{trouble}");
    // What others may have stays where they have it.
    drop(runtime.export_physical(twice).unwrap());
    let request = SaveRequest {
        folder: folder.0.clone(),
        name: "three".into(),
        base: None,
        then: Then::GoesOn,
        running: false,
        copy: false,
        most: Some(LONG),
        fleeting: false,
        shared: None,
    };
    let trouble = runtime.save(&request, &|_, _| {}).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unfit);
    assert!(trouble.text.contains("shares memory with other processes"), "{trouble}");
    assert_eq!(go(&runtime, "cpu").unwrap().copied, 0);
    runtime.unmap_physical(at, 3 * UNIT).unwrap();
    runtime.release_physical(twice).unwrap();
    assert_eq!(runtime.save(&request, &|_, _| {}).map(|_| ()), Ok(()));
}

/// The same memory of two jobs. They are of one process here, which makes no difference to the file that it is.
#[test]
fn memory_of_two_jobs_is_the_same_wherever_each_of_them_is() {
    const UNIT: u64 = VMM_GRANULARITY;
    let folder = Scratch::new("two-jobs");
    let (one, two) = (start("cpu"), start("cpu"));
    let made = one.create_physical(0, UNIT, PhysicalTraits::default()).unwrap();
    let taken = two.import_physical(one.export_physical(made).unwrap(), PhysicalTraits::default()).unwrap();
    let mapped = |runtime: &Runtime, memory| {
        let at = runtime.reserve_addresses(UNIT, 0, 0).unwrap();
        runtime.map_physical(at, UNIT, 0, memory).unwrap();
        runtime.set_access(at, UNIT, &[(0, Access::ReadWrite)]).unwrap();
        at
    };
    let (here, there) = (mapped(&one, made), mapped(&two, taken));
    let is_same = |value: u8| {
        one.write(here, vec![value; 3]).unwrap();
        assert_eq!(two.read(there, 4).unwrap(), [value, value, value, 0]);
        two.write(there + 1, vec![value + 1]).unwrap();
        assert_eq!(one.read(here, 3).unwrap(), [value, value + 1, value]);
    };
    is_same(1);
    for (runtime, to) in [(&one, "interp"), (&two, "cpu:avx2"), (&two, "interp"), (&one, "cpu"), (&two, "cpu")] {
        assert_eq!(go(runtime, to).unwrap().copied, 0, "it stays where it is");
        is_same(3);
    }
    // One lets its device go, and finds what the other has written.
    one.pause(None, LONG).unwrap();
    one.release_devices(None).unwrap();
    two.write(there, vec![5; 3]).unwrap();
    one.restore_devices(None).unwrap();
    one.resume(None).unwrap();
    assert_eq!(one.read(here, 3).unwrap(), [5; 3]);
    let request = |name: &str, then, shared| SaveRequest {
        folder: folder.0.clone(),
        name: name.into(),
        base: None,
        then,
        running: false,
        copy: false,
        most: Some(LONG),
        fleeting: false,
        shared,
    };
    let save = |request: SaveRequest| one.save(&request, &|_, _| {}).map_err(|trouble| trouble.kind);
    assert!(matches!(save(request("alone", Then::GoesOn, None)), Err(TroubleKind::Unfit)));
    // The same for a snapshot that holds nothing of it; putting it back can be undone.
    save(request("let-go", Then::LetsGo, Some(BTreeSet::new()))).unwrap();
    two.write(there, vec![6; 3]).unwrap();
    one.load(None, &[Some("interp".into())], &|_, _| {}).unwrap();
    one.unload().unwrap();
    assert_eq!((one.status()[0].stage, one.status()[0].name.as_str()), (Stage::Released, "cpu"));
    one.load(None, &[], &|_, _| {}).unwrap();
    one.resume(None).unwrap();
    assert!(one.unload().is_err(), "it has gone on");
    assert_eq!(one.read(here, 3).unwrap(), [6; 3]);
    // A snapshot that holds it gives it back to both, where they are put back together.
    save(request("all", Then::GoesOn, Some(one.status()[0].shared.clone()))).unwrap();
    is_same(7);
    assert_eq!(one.rewind(&folder.0, "all", false, &|_, _| {}).unwrap_err().kind, TroubleKind::Unfit);
    one.rewind(&folder.0, "all", true, &|_, _| {}).unwrap();
    assert_eq!(two.read(there, 3).unwrap(), [6; 3]);
    is_same(9);
}
