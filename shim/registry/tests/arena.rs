//! What lies on a device is set aside in memory and put back, also where the pinned memory for that is smaller than the contents. On the
//! device that `HETGPU_DEVICE` names, the CPU otherwise. It is one test, since a process has a card's addresses once.

use hetgpu_device::conformance::noise;
use hetgpu_registry::Kinds;
use hetgpu_runtime::{Runtime, Settings, Stage, Targets, TroubleKind};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;
/// MiB, where `HETGPU_ARENA` names no other: room for two pieces of 4 MiB beside what is never kept.
const ARENA: &str = "72";
/// Less than a piece, parts of pages, several pieces and a part.
const SIZES: &[usize] = &[1, 5000, MIB - 1, MIB, 2 * MIB + 12_345, 4 * MIB, 9 * MIB + 1];

fn device() -> String {
    std::env::var("HETGPU_DEVICE").unwrap_or_else(|_| "cpu".into())
}

fn start() -> (Runtime, Arc<Kinds>) {
    let (settings, _) = Settings::read(|name| match name {
        "HETGPU_DEVICE" => Some(device()),
        "HETGPU_ARENA" => Some(std::env::var(name).unwrap_or_else(|_| ARENA.into())),
        "HETGPU_VENDOR_DRIVER" => std::env::var(name).ok(),
        _ => None,
    });
    let kinds = Arc::new(Kinds(settings.clone()));
    let runtime = Runtime::new(settings, vec![kinds.make(&device()).unwrap()]);
    runtime.offer(kinds.clone(), vec![device()]);
    let context = runtime.retain_primary(0).unwrap();
    runtime.set_current(Some(context)).unwrap();
    (runtime, kinds)
}

/// Memory, and what is in it.
struct Contents(Vec<(u64, Vec<u8>)>);

impl Contents {
    /// Each size once, and zeros between.
    fn new(runtime: &Runtime, seed: u32) -> Self {
        let mut all = Vec::new();
        for (&size, n) in SIZES.iter().zip(seed..) {
            let at = runtime.allocate(size as u64).unwrap();
            let data = noise(n, size);
            runtime.write(at, data.clone()).unwrap();
            all.push((at, data));
            all.push((runtime.allocate(size as u64).unwrap(), vec![0; size]));
        }
        Self(all)
    }

    fn change(&mut self, runtime: &Runtime, round: u32) {
        for (at, data) in &mut self.0 {
            let (from, count) = (data.len() / 3, (data.len() / 100).max(1));
            data[from..from + count].copy_from_slice(&noise(1000 + round, count));
            runtime.write(*at + from as u64, data[from..from + count].to_vec()).unwrap();
        }
    }

    fn check(&self, runtime: &Runtime, when: &str) {
        for (at, data) in &self.0 {
            let back = runtime.read(*at, data.len() as u64).unwrap();
            let wrong = back.iter().zip(data).position(|(back, data)| back != data);
            assert_eq!(wrong, None, "{when}: first wrong byte of {} at {at:#x}", data.len());
        }
    }
}

fn set_aside(runtime: &Runtime) {
    runtime.pause(None, LONG).unwrap();
    runtime.release_devices(None).unwrap();
    assert_eq!(runtime.stage(0), Stage::Released);
}

fn put_back(runtime: &Runtime) {
    runtime.restore_devices(None).unwrap();
    runtime.resume(None).unwrap();
}

#[test]
fn every_byte_comes_back() {
    let (runtime, kinds) = start();
    let mut contents = Contents::new(&runtime, 1);
    memory_is_free_meanwhile(&runtime, &kinds, &mut contents);
    all_contexts_have_theirs(&runtime, &contents);
    a_move_that_ends_half_way_leaves_the_job_where_it_was(&runtime, &contents);
}

fn memory_is_free_meanwhile(runtime: &Runtime, kinds: &Kinds, contents: &mut Contents) {
    // Another device of the same card sees how much of it is free, where devices know that.
    let witness = kinds.make(&device()).unwrap();
    let all: u64 = contents.0.iter().map(|(_, data)| data.len() as u64).sum();
    for round in 0..3 {
        let before = witness.free_memory();
        set_aside(runtime);
        if let Some((before, meanwhile)) = before.zip(witness.free_memory()) {
            assert!(
                meanwhile >= before + all,
                "{all} bytes are on the device, and {} were freed",
                meanwhile.saturating_sub(before)
            );
        }
        put_back(runtime);
        contents.check(runtime, &format!("round {round}"));
        contents.change(runtime, round);
        contents.check(runtime, &format!("changed in round {round}"));
    }
}

fn all_contexts_have_theirs(runtime: &Runtime, first: &Contents) {
    let other = runtime.create_context(0, 0, 0).unwrap();
    runtime.push_current(other).unwrap();
    let second = Contents::new(runtime, 200);
    set_aside(runtime);
    put_back(runtime);
    second.check(runtime, "the second context");
    runtime.pop_current().unwrap();
    first.check(runtime, "the first context");
}

fn a_move_that_ends_half_way_leaves_the_job_where_it_was(runtime: &Runtime, contents: &Contents) {
    // The interpreter keeps memory in another way, so that all of it is copied.
    let give_up = |done: u64, all: u64| {
        if done > all / 2 {
            runtime.abort(Some(0)).unwrap();
        }
    };
    let trouble = runtime.move_to(0, "interp", Some(LONG), &give_up).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Aborted, "{trouble}");
    assert_eq!(runtime.stage(0), Stage::Running);
    contents.check(runtime, "after a move that was given up");
    let moved = runtime.move_to(0, "interp", Some(LONG), &|_, _| {}).unwrap();
    assert!(moved.copied > 0 && moved.copied < moved.bytes, "zeros are not copied: {moved:?}");
    contents.check(runtime, "on the interpreter");
    runtime.move_to(0, &device(), Some(LONG), &|_, _| {}).unwrap();
    contents.check(runtime, "back on the device");
}
