//! Files of every released version of the format, in `tests/data`: they are read for ever, and today's writer makes the latest.
//!
//! A file is never made anew. Where the writer's bytes change, the version of a section or of the format has changed, or it chooses among what
//! all readers read, and there are new files beside the old ones: `cargo xtask bless` makes those that are missing.

mod common;

use common::{BASE, CHUNK, Folder, Ram, Random, Target, job};
use hetgpu_checkpoint::wire::Blob;
use hetgpu_checkpoint::{ReadOptions, Store, WriteOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const FULL: &str = "v1-full";
/// Lists the contents that it has itself, as the first writers did.
const CHANGED: &str = "v1-changed";
/// Lists those of the snapshot below first, used or not.
const LISTED: &str = "v1-listed";
const TEXT: &[u8] = b".version 9.0\n.target sm_90\n";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.snapshot"))
}

/// Small: what does not repeat itself are a few pages.
fn memory() -> [Ram; 2] {
    let mut random = Random(2026);
    let mut ram = Ram::default();
    let page = random.bytes(4096);
    ram.0.insert(BASE, page.repeat(CHUNK / 4096).repeat(3));
    ram.0.insert(BASE + (1 << 20), vec![0; 5 * CHUNK]);
    ram.0.insert(BASE + (2 << 20) + 512, random.bytes(700));
    let before = ram.clone();
    // The middle one of three chunks differs in one page, and there is new memory.
    ram.0.get_mut(&BASE).unwrap()[CHUNK + 4096 * 3] ^= 0xff;
    ram.0.insert(BASE + (4 << 20), random.bytes(64));
    [before, ram]
}

fn write(store: &Store) {
    let [before, after] = memory();
    for (name, ram, base) in [(FULL, before, None), (LISTED, after, Some(FULL))] {
        let base = base.map(|name| Arc::new(store.load(name).unwrap()));
        let mut writer =
            store.write(name, WriteOptions { threads: 1, direct: false, base, ..WriteOptions::default() }).unwrap();
        let text = writer.blob(TEXT).unwrap();
        writer.memory(&ram.ranges(), &ram).unwrap();
        writer.finish(&job(text)).unwrap();
    }
}

#[test]
fn todays_writer_makes_the_files_of_the_latest_version() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    write(&store);
    for name in [FULL, LISTED] {
        let bytes = std::fs::read(folder.path().join(format!("{name}.snapshot"))).unwrap();
        let path = data(name);
        if std::env::var_os("HETGPU_BLESS").is_some() && !path.exists() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let first = golden.iter().zip(&bytes).position(|(old, new)| old != new);
        assert!(
            first.is_none() && golden.len() == bytes.len(),
            "{name}: {} bytes, and {} in the golden file; they differ from byte {first:?} on. What was released is read for ever: \
             where its meaning has changed give the section a new version and keep the old record, and add files of another name",
            bytes.len(),
            golden.len()
        );
    }
}

#[test]
fn files_of_every_version_are_read() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    for name in [FULL, CHANGED, LISTED] {
        let copy = folder.path().join(format!("{name}.snapshot"));
        std::fs::copy(data(name), &copy).unwrap();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let [before, after] = memory();
    for (name, ram) in [(FULL, before), (CHANGED, after.clone()), (LISTED, after)] {
        let snapshot = store.load(name).unwrap();
        assert_eq!(snapshot.job(), &job(Blob(0)), "{name}");
        assert_eq!(snapshot.blob(Blob(0), 1000).unwrap(), TEXT);
        let target = Target(Mutex::new(ram.blank()));
        snapshot.restore(&target, ReadOptions { threads: 1, direct: false }).unwrap();
        assert!(target.0.into_inner().unwrap() == ram, "{name}");
        assert!(store.verify(name, 1).unwrap().is_whole());
    }
    for name in [CHANGED, LISTED] {
        let snapshot = store.load(name).unwrap();
        assert_eq!((snapshot.depth(), snapshot.summary().memory.patches), (1, 1), "{name}");
    }
}
