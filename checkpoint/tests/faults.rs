//! Whatever goes wrong while a snapshot is written, and at whatever step: what was there is there, and what is new is there as
//! a whole or not at all.

mod common;

use common::{BASE, CHUNK, Ram, Random, Target, job};
use hetgpu_checkpoint::{Disk, Fault, MemoryDisk, ReadOptions, Result, Snapshot, Store, WriteOptions, Written};
use std::path::Path;
use std::sync::{Arc, Mutex};

const FOLDER: &str = "/snapshots";
const FAULTS: [Fault; 4] = [Fault::Error, Fault::Full, Fault::Short, Fault::Death];
/// Failures of power that are tried for each step.
const OUTCOMES: usize = 10;

fn store(disk: &MemoryDisk) -> Result<Store> {
    Store::open_on(Arc::new(disk.clone()), Path::new(FOLDER))
}

fn save(store: &Store, name: &str, ram: &Ram, base: Option<Snapshot>) -> Result<Written> {
    let options = WriteOptions { threads: 1, direct: false, base: base.map(Arc::new), lasts: true };
    let mut writer = store.write(name, options)?;
    let text = writer.blob(&Random(9).bytes(3000))?;
    for range in ram.ranges() {
        writer.memory(&[range], ram)?;
    }
    writer.finish(&job(text))
}

fn restored(snapshot: &Snapshot, like: &Ram) -> Result<Ram> {
    let target = Target(Mutex::new(like.blank()));
    snapshot.restore(&target, ReadOptions { threads: 1, direct: false })?;
    Ok(target.0.into_inner().unwrap())
}

/// Small, and yet written in several steps.
fn memory(seed: u64) -> Ram {
    let mut random = Random(seed);
    let mut ram = Ram::default();
    for number in 0..4 {
        ram.0.insert(BASE + number * (2 << 20), random.bytes(2 * CHUNK + number as usize * 300));
    }
    ram.0.insert(BASE + (64 << 20), random.bytes((1 << 20) + 100));
    ram
}

/// A step of a job's life, and what must be there before and after it.
struct Scenario {
    name: &'static str,
    before: Vec<(&'static str, Ram)>,
    act: fn(&Store, &Ram) -> Result<()>,
    saved: &'static str,
    new: Ram,
}

fn scenarios() -> Vec<Scenario> {
    let mut changed = memory(1);
    changed.0.get_mut(&BASE).unwrap()[7] ^= 1;
    changed.0.get_mut(&(BASE + (64 << 20))).unwrap()[CHUNK..3 * CHUNK].fill(5);
    let plain: fn(&Store, &Ram) -> Result<()> = |store, ram| save(store, "new", ram, None).map(drop);
    let replace: fn(&Store, &Ram) -> Result<()> = |store, ram| save(store, "old", ram, None).map(drop);
    let build: fn(&Store, &Ram) -> Result<()> =
        |store, ram| save(store, "new", ram, Some(store.load("old")?)).map(drop);
    let old = || vec![("old", memory(1))];
    vec![
        Scenario { name: "the first one", before: vec![], act: plain, saved: "new", new: memory(2) },
        Scenario { name: "another one", before: old(), act: plain, saved: "new", new: memory(2) },
        Scenario { name: "in place of one", before: old(), act: replace, saved: "old", new: memory(2) },
        Scenario { name: "built on one", before: old(), act: build, saved: "new", new: changed },
    ]
}

impl Scenario {
    fn disk(&self) -> MemoryDisk {
        let disk = MemoryDisk::default();
        let store = store(&disk).unwrap();
        self.before.iter().for_each(|(name, ram)| drop(save(&store, name, ram, None).unwrap()));
        disk
    }

    /// Whether the new one is there; what is there is right.
    fn check(&self, disk: &MemoryDisk, why: &str) -> bool {
        let store = store(disk).unwrap();
        let names = store.names().unwrap();
        let mut there = false;
        for name in &names {
            let snapshot = store.load(name).unwrap_or_else(|error| panic!("{}, {why}: {error}", self.name));
            let like = if name == self.saved { &self.new } else { &self.before[0].1 };
            let found = restored(&snapshot, like).unwrap_or_else(|error| panic!("{}, {why}: {error}", self.name));
            let is_new = name == self.saved && found == self.new;
            let is_old = self.before.iter().any(|(old, ram)| old == name && found == *ram);
            assert!(is_new || is_old, "{}, {why}: {name} is neither the old one nor the new one", self.name);
            there |= is_new;
        }
        for (name, _) in &self.before {
            assert!(names.iter().any(|found| found == name), "{}, {why}: {name} is lost", self.name);
        }
        let parts = disk.names(Path::new(FOLDER)).unwrap().len() - names.len();
        assert_eq!(parts, 0, "{}, {why}: something was left behind", self.name);
        there
    }
}

#[test]
fn nothing_is_lost_and_nothing_is_half_there() {
    let (mut injections, mut came, mut did_not) = (0, 0, 0);
    let mut random = Random(77);
    for scenario in scenarios() {
        let whole = scenario.disk();
        let before = whole.steps();
        (scenario.act)(&store(&whole).unwrap(), &scenario.new).unwrap();
        let steps = whole.steps() - before;
        assert!(scenario.check(&whole, "without a fault"));
        for step in 1..=steps {
            for fault in FAULTS {
                let disk = scenario.disk();
                disk.fail(step, fault);
                let why = format!("{fault:?} at step {step} of {steps}");
                let done = store(&disk).and_then(|store| (scenario.act)(&store, &scenario.new));
                injections += 1;
                if fault == Fault::Short {
                    assert!(done.is_ok(), "{}, {why}: {done:?}", scenario.name);
                }
                if let Err(error) = &done {
                    assert!(!error.text.is_empty());
                }
                // The next process, with power and without.
                let there = scenario.check(&disk.after_death(), &why);
                assert!(there || done.is_err(), "{}, {why}: it was said to be there", scenario.name);
                if there {
                    came += 1
                } else {
                    did_not += 1
                }
                for outcome in 0..OUTCOMES {
                    let luck = random.below(5);
                    let failed = disk.after_power_failure(|| match luck {
                        0 => false,
                        1 => true,
                        _ => random.below(4) < luck,
                    });
                    let why = format!("{why}, and power fails, outcome {outcome}");
                    let there = scenario.check(&failed, &why);
                    assert!(there || done.is_err(), "{}, {why}: it was said to last", scenario.name);
                    injections += 1;
                }
            }
        }
    }
    assert!(injections > 4000 && came > 100 && did_not > 100, "{injections} {came} {did_not}");
    println!("{injections} injections");
}

#[test]
fn after_a_fault_the_same_process_tries_again_and_succeeds() {
    for scenario in scenarios() {
        let whole = scenario.disk();
        let before = whole.steps();
        (scenario.act)(&store(&whole).unwrap(), &scenario.new).unwrap();
        for step in 1..=whole.steps() - before {
            let disk = scenario.disk();
            disk.fail(step, Fault::Error);
            let store = match store(&disk) {
                Ok(store) => store,
                Err(_) => continue,
            };
            if (scenario.act)(&store, &scenario.new).is_err() {
                (scenario.act)(&store, &scenario.new)
                    .unwrap_or_else(|error| panic!("{}, {step}: {error}", scenario.name));
            }
            assert!(scenario.check(&disk, &format!("a second try after step {step}")));
        }
    }
}

#[test]
fn reading_fails_and_does_not_lie() {
    let scenario = scenarios().remove(3);
    let disk = scenario.disk();
    (scenario.act)(&store(&disk).unwrap(), &scenario.new).unwrap();
    let before = disk.steps();
    let read = |disk: &MemoryDisk| {
        let snapshot = store(disk)?.load("new")?;
        restored(&snapshot, &scenario.new)
    };
    assert!(read(&disk).unwrap() == scenario.new);
    let steps = disk.steps() - before;
    assert!(steps > 50, "{steps}");
    for step in 1..=steps {
        for fault in FAULTS {
            let disk = disk.after_death();
            disk.fail(step, fault);
            match read(&disk) {
                Ok(found) => assert!(found == scenario.new, "{fault:?} at step {step}"),
                Err(error) => assert!(fault != Fault::Short, "step {step}: {error}"),
            }
        }
    }
}
