//! Damage is found, said with its place, and never believed.

mod common;

use common::{BASE, CHUNK, Folder, Ram, Random, Target, job};
use hetgpu_checkpoint::{ErrorKind, HEADER, ReadOptions, SectionKind, Store, WriteOptions};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

struct Saved {
    folder: Folder,
    store: Store,
    path: PathBuf,
    bytes: Vec<u8>,
    ram: Ram,
}

/// A small snapshot on a base, with changed chunks, whole ones, zeros and repeated ones.
fn saved() -> Saved {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut ram = Ram::default();
    let mut contents = Random(1).bytes(6 * CHUNK);
    contents[CHUNK..2 * CHUNK].fill(0);
    ram.0.insert(BASE, contents);
    let save = |name: &str, ram: &Ram, base| {
        let options = WriteOptions { threads: 1, base, ..WriteOptions::default() };
        let mut writer = store.write(name, options).unwrap();
        let text = writer.blob(b"text of a module").unwrap();
        writer.memory(&ram.ranges(), ram).unwrap();
        writer.finish(&job(text)).unwrap().path
    };
    save("below", &ram, None);
    let contents = ram.0.get_mut(&BASE).unwrap();
    contents[5] ^= 1;
    let fresh = Random(2).bytes(CHUNK);
    contents[3 * CHUNK..4 * CHUNK].copy_from_slice(&fresh);
    contents[4 * CHUNK..5 * CHUNK].copy_from_slice(&fresh);
    let path = save("s", &ram, Some(Arc::new(store.load("below").unwrap())));
    let bytes = std::fs::read(&path).unwrap();
    Saved { folder, store, path, bytes, ram }
}

impl Saved {
    fn with(&self, bytes: &[u8]) {
        std::fs::write(&self.path, bytes).unwrap();
    }

    /// What comes back, where anything does.
    fn restored(&self) -> Result<Ram, ErrorKind> {
        let snapshot = self.store.load("s").map_err(|error| error.kind)?;
        let target = Target(Mutex::new(self.ram.blank()));
        snapshot.restore(&target, ReadOptions { threads: 1, direct: false }).map_err(|error| error.kind)?;
        Ok(target.0.into_inner().unwrap())
    }
}

#[test]
fn every_cut_is_refused() {
    let saved = saved();
    let mut ends: Vec<usize> = (0..300).collect();
    ends.extend((0..saved.bytes.len()).step_by(977));
    ends.extend(saved.bytes.len() - 300..saved.bytes.len());
    for end in ends {
        saved.with(&saved.bytes[..end]);
        assert!(saved.restored().is_err(), "{end} of {} bytes", saved.bytes.len());
        assert!(!saved.store.verify("s", 1).unwrap().is_whole(), "{end}");
    }
    let longer = [&saved.bytes[..], &[0]].concat();
    saved.with(&longer);
    assert_eq!(saved.restored().unwrap_err(), ErrorKind::Damaged);
}

#[test]
fn every_changed_bit_is_found_unless_nothing_stands_there() {
    let saved = saved();
    let snapshot = saved.store.load("s").unwrap();
    let data = *snapshot.header().section(SectionKind::Data).unwrap();
    let first_behind = (data.offset + data.length) as usize;
    drop(snapshot);
    let mut random = Random(3);
    let mut places: Vec<usize> = (0..HEADER).step_by(7).chain(first_behind..saved.bytes.len()).collect();
    places.extend((0..500).map(|_| HEADER + random.below(data.length) as usize));
    let (mut found, mut padding) = (0, 0);
    for at in places {
        let mut bytes = saved.bytes.clone();
        bytes[at] ^= 1 << random.below(8);
        saved.with(&bytes);
        match saved.restored() {
            Err(_) => found += 1,
            // Between contents there is room that nobody reads.
            Ok(ram) => {
                assert!(ram == saved.ram, "byte {at} changed what came back");
                assert!((data.offset as usize..first_behind).contains(&at), "byte {at}");
                padding += 1;
            }
        }
    }
    assert!(found > 4000 && padding < 60, "{found} {padding}");
}

#[test]
fn verify_says_which_memory_is_lost() {
    let saved = saved();
    let whole = saved.store.verify("s", 2).unwrap();
    assert!(whole.is_whole(), "{whole}");
    assert_eq!(whole.right, 4 * CHUNK as u64 + 16, "two chunks are the same, one is zeros, and there is a text");
    let fresh = &saved.ram.0[&BASE][3 * CHUNK..3 * CHUNK + 64];
    let at = saved.bytes.windows(64).position(|window| window == fresh).unwrap();
    let mut bytes = saved.bytes.clone();
    bytes[at + 100] ^= 4;
    saved.with(&bytes);
    let verdict = saved.store.verify("s", 2).unwrap();
    assert_eq!(verdict.damage.len(), 1, "{verdict}");
    let damage = &verdict.damage[0];
    assert_eq!((damage.offset, damage.bytes, damage.section.as_str()), (at as u64, CHUNK as u64, "data"));
    let lost: Vec<u64> = damage.memory.iter().map(|range| range.start.0).collect();
    assert_eq!(lost, [BASE + 3 * CHUNK as u64, BASE + 4 * CHUNK as u64]);
    assert!(verdict.to_string().contains("memory at 0x1000030000, 64.0 KiB"), "{verdict}");
    assert_eq!(verdict.json()["damage"][0]["offset"], at);
    // A section, and one further down.
    let mut bytes = saved.bytes.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    saved.with(&bytes);
    assert_eq!(saved.store.verify("s", 1).unwrap().damage[0].section, "chunks");
    saved.with(&saved.bytes);
    let below = saved.folder.path().join("below.snapshot");
    let mut bytes = std::fs::read(&below).unwrap();
    bytes[HEADER + 3 * 4096] ^= 1;
    std::fs::write(&below, bytes).unwrap();
    let verdict = saved.store.verify("s", 1).unwrap();
    assert!(
        verdict.damage.iter().all(|damage| damage.file.ends_with("below.snapshot") && damage.bytes == CHUNK as u64),
        "{verdict}"
    );
}

#[test]
fn other_files_are_no_snapshots() {
    let saved = saved();
    for bytes in [&b""[..], b"text", &[0; 5000], &[0xff; 5000]] {
        saved.with(bytes);
        assert_eq!(saved.restored().unwrap_err(), ErrorKind::NotASnapshot);
    }
    let mut later = saved.bytes.clone();
    later[8] = 2;
    saved.with(&later);
    let error = saved.store.load("s").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Version);
    assert!(error.text.contains("version 2") && error.text.contains("use a newer one"), "{error}");
}

#[test]
fn a_summary_says_what_is_there() {
    let saved = saved();
    let summary = saved.store.load("s").unwrap().summary();
    assert_eq!(summary.chain[0].name, "below");
    let memory = &summary.memory;
    assert_eq!((memory.bytes, memory.zeros, memory.repeated), (6 * CHUNK as u64, CHUNK as u64, CHUNK as u64));
    // The text is below too.
    assert_eq!(
        (memory.below, memory.whole, memory.patches, memory.patched),
        (2 * CHUNK as u64 + 16, CHUNK as u64, 1, 4096)
    );
    let launch = &summary.launches[0];
    assert_eq!((launch.kernel.as_str(), launch.done, launch.saved, launch.fresh), ("saxpy", 29, 2, 1));
    assert_eq!((launch.sites[0].blocks, launch.sites[0].threads), (2, 224));
    let text = summary.to_string();
    for part in [
        "example: ./train --epochs=3 (process 4242 on host",
        "built on below",
        "device allocations: 2",
        "launch 1: saxpy <<<8x4x1, 128x1x1>>> suspended",
        "blocks: 29 done, 2 saved, 1 not begun; frames 4.0 KiB",
        "at site 0 (barrier, line 31): 224 threads of 2 blocks",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert_eq!(summary.json()["launches"][0]["sites"][0]["threads"], 224);
    let details = saved.store.load("s").unwrap().details();
    assert_eq!(details["launches"][0]["progress"]["Suspended"]["suspension"]["flag"], "0x1000000040");
    assert_eq!(details["memory"]["allocations"][1]["origin"]["Pool"]["identity"], 5);
}
