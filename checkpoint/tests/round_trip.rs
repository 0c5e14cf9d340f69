//! What is saved is what is restored.

mod common;

use common::{BASE, CHUNK, Folder, Ram, Random, Target, job, ram};
use hetgpu_checkpoint::wire::{Address, Range};
use hetgpu_checkpoint::{ErrorKind, Pages, ReadOptions, SectionKind, Snapshot, Source, Store, WriteOptions, Written};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

fn save(store: &Store, name: &str, ram: &Ram, base: Option<Arc<Snapshot>>) -> Written {
    save_with(store, name, ram, WriteOptions { base, ..WriteOptions::default() })
}

fn save_with(store: &Store, name: &str, ram: &Ram, options: WriteOptions) -> Written {
    let mut writer = store.write(name, options).unwrap();
    let text = writer.blob(b".version 9.0\n").unwrap();
    writer.memory(&ram.ranges(), ram).unwrap();
    writer.finish(&job(text)).unwrap()
}

fn restored(snapshot: &Snapshot, like: &Ram, options: ReadOptions) -> Ram {
    let target = Target(Mutex::new(like.blank()));
    snapshot.restore(&target, options).unwrap();
    target.0.into_inner().unwrap()
}

#[test]
fn everything_comes_back_whatever_the_way() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    for (seed, threads, direct) in [(1, 1, false), (2, 4, false), (3, 1, true), (4, 3, true)] {
        let ram = ram(seed);
        let written = save_with(&store, "s", &ram, WriteOptions { threads, direct, ..WriteOptions::default() });
        let snapshot = store.load("s").unwrap();
        assert_eq!(snapshot.identity(), written.identity);
        assert_eq!(snapshot.job(), &job(hetgpu_checkpoint::wire::Blob(0)));
        assert_eq!(snapshot.blob(snapshot.job().code.codes[0].text, 100).unwrap(), b".version 9.0\n");
        assert_eq!(snapshot.memory(), ram.ranges());
        for options in [ReadOptions { threads: 1, direct }, ReadOptions { threads: 4, direct: !direct }] {
            assert!(restored(&snapshot, &ram, options) == ram, "{seed} {options:?}");
        }
        assert_eq!(written.stats.file, std::fs::metadata(&written.path).unwrap().len());
    }
    assert_eq!(store.names().unwrap(), ["s"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left but the snapshot");
}

#[test]
fn any_part_of_memory_can_be_read() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let ram = ram(5);
    save(&store, "s", &ram, None);
    let snapshot = store.load("s").unwrap();
    let mut random = Random(6);
    for (&start, bytes) in &ram.0 {
        for _ in 0..20 {
            let from = random.below(bytes.len() as u64);
            let count = random.below(bytes.len() as u64 - from + 1).min(200_000);
            let (mut out, mut expect) = (vec![1; count as usize], vec![2; count as usize]);
            snapshot.read(start + from, &mut out).unwrap();
            ram.read(start + from, &mut expect).unwrap();
            assert!(out == expect, "{count} bytes at {start:#x} + {from}");
        }
        let mut beyond = [0; 1];
        if !ram.0.contains_key(&(start + bytes.len() as u64)) {
            assert_eq!(snapshot.read(start + bytes.len() as u64, &mut beyond).unwrap_err().kind, ErrorKind::Invalid);
        }
    }
}

#[test]
fn zeros_take_no_room_and_nothing_is_stored_twice() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut ram = Ram::default();
    ram.0.insert(BASE, vec![0; 300 * CHUNK]);
    let zeros = save(&store, "zeros", &ram, None);
    assert!(zeros.stats.file < 16384, "{:?}", zeros.stats);
    assert_eq!(zeros.stats.zeros, 300 * CHUNK as u64);
    let pattern = Random(1).bytes(CHUNK);
    ram.0.insert(BASE, pattern.repeat(300));
    let same = save(&store, "same", &ram, None);
    assert!(same.stats.file < 2 * CHUNK as u64, "{:?}", same.stats);
    for name in ["zeros", "same"] {
        let snapshot = store.load(name).unwrap();
        let expect = if name == "zeros" { vec![0; 300 * CHUNK] } else { pattern.repeat(300) };
        assert!(restored(&snapshot, &ram, ReadOptions::default()).0[&BASE] == expect);
    }
}

#[test]
fn what_has_changed_is_what_is_stored() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut ram = Ram::default();
    let bytes = 32 << 20;
    ram.0.insert(BASE, Random(1).bytes(bytes));
    let mut names = vec!["full".to_string()];
    let full = save(&store, "full", &ram, None);
    let mut random = Random(2);
    let mut states = vec![ram.clone()];
    for step in 0..3 {
        // One page in a hundred, anywhere.
        for _ in 0..bytes / 4096 / 100 {
            let page = random.below(bytes as u64 / 4096) as usize * 4096;
            ram.0.get_mut(&BASE).unwrap()[page + 7] ^= 1;
        }
        let base = Arc::new(store.load(&names[step]).unwrap());
        names.push(format!("step{step}"));
        let written = save(&store, &names[step + 1], &ram, Some(base));
        assert!(written.stats.file * 100 < full.stats.file * 3, "{:?} after {:?}", written.stats, full.stats);
        states.push(ram.clone());
    }
    for (name, state) in names.iter().zip(&states) {
        let snapshot = store.load(name).unwrap();
        assert!(restored(&snapshot, &ram, ReadOptions::default()) == *state, "{name}");
        let direct = ReadOptions { threads: 2, direct: true };
        assert!(restored(&snapshot, &ram, direct) == *state, "{name}");
    }
    assert_eq!(store.load("step2").unwrap().depth(), 3);
}

#[test]
fn memory_comes_and_goes_between_snapshots() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut random = Random(3);
    let mut state = ram(7);
    save(&store, "a0", &state, None);
    for step in 0..8 {
        // A range goes, one grows, one comes, one moves, one changes.
        let starts: Vec<u64> = state.0.keys().copied().collect();
        state.0.remove(&starts[random.below(starts.len() as u64) as usize]);
        let (&last, bytes) = state.0.iter_mut().next_back().unwrap();
        let grown = random.below(100_000) as usize;
        bytes.extend(random.bytes(grown));
        let end = last + bytes.len() as u64;
        state.0.insert(end + random.below(1 << 20), random.bytes(step * 50_000 + 1));
        for bytes in state.0.values_mut() {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1;
        }
        let base = Arc::new(store.load(&format!("a{step}")).unwrap());
        let name = format!("a{}", step + 1);
        save(&store, &name, &state, Some(base));
        assert!(restored(&store.load(&name).unwrap(), &state, ReadOptions::default()) == state, "{name}");
    }
}

struct Knows<'r>(&'r Ram, Mutex<Vec<u64>>);

impl Source for Knows<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.1.lock().unwrap().push(at);
        self.0.read(at, out)
    }

    fn unchanged(&self, at: u64, _: u64) -> bool {
        at < BASE + (8 << 20)
    }
}

#[test]
fn what_is_known_to_be_unchanged_is_not_read() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut ram = Ram::default();
    ram.0.insert(BASE, Random(1).bytes(16 << 20));
    save(&store, "base", &ram, None);
    ram.0.get_mut(&BASE).unwrap()[9 << 20] ^= 1;
    let base = Some(Arc::new(store.load("base").unwrap()));
    let mut writer = store.write("next", WriteOptions { base, ..WriteOptions::default() }).unwrap();
    let source = Knows(&ram, Mutex::default());
    writer.memory(&ram.ranges(), &source).unwrap();
    let written = writer.finish(&Default::default()).unwrap();
    assert_eq!(written.stats.unread, 8 << 20);
    assert!(source.1.into_inner().unwrap().iter().all(|&at| at >= BASE + (8 << 20)));
    let next = store.load("next").unwrap();
    assert!(restored(&next, &ram, ReadOptions::default()) == ram);
    // It says which page that was; a snapshot whose base is at hand is the same.
    let base = Arc::new(store.load("base").unwrap());
    let page = Range { start: Address(BASE + (9 << 20)), bytes: 4096 };
    assert_eq!(next.changed_since(Some(&base)), std::slice::from_ref(&page));
    // That page is taken as it lies, what is beside it, or more than it, as always.
    for (at, bytes) in [(page.start.0, 4096), (page.start.0 + 4096, 4096), (page.start.0, 8192), (BASE + 5, 100)] {
        let (mut fresh, from) = (vec![0; bytes], (at - BASE) as usize);
        next.read_fresh(at, &mut fresh).unwrap();
        assert!(fresh == ram.0[&BASE][from..from + bytes], "{bytes} bytes at {at:#x}");
    }
    assert!(next.read_fresh(BASE + (16 << 20) - 4096, &mut [0; 8192]).is_err());
    assert!(Arc::ptr_eq(store.load_on("next", Some(&base)).unwrap().base().unwrap(), &base));
}

/// Memory that knows which of its chunks have changed.
struct Watched<'r> {
    ram: &'r Ram,
    changed: Vec<Range>,
}

impl Source for Watched<'_> {
    fn read(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.ram.read(at, out)
    }

    fn unchanged(&self, at: u64, bytes: u64) -> bool {
        !self.changed.iter().any(|range| range.start.0 < at + bytes && at < range.start.0 + range.bytes)
    }
}

#[test]
fn a_chain_of_which_each_has_the_list_of_the_one_below() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut random = Random(11);
    let mut ram = ram(12);
    let mut changed = ram.ranges();
    let mut below: Option<Arc<Snapshot>> = None;
    let (mut before, mut earlier) = (0, Ram::default());
    for number in 0..hetgpu_checkpoint::DEPTH {
        let name = format!("s{number}");
        let mut writer = store.write(&name, WriteOptions { base: below.clone(), ..WriteOptions::default() }).unwrap();
        let text = writer.blob(format!(".version {number}\n").as_bytes()).unwrap();
        writer.memory(&ram.ranges(), &Watched { ram: &ram, changed: changed.clone() }).unwrap();
        writer.finish(&job(text)).unwrap();
        let snapshot = Arc::new(store.load_on(&name, below.as_ref()).unwrap());
        assert!(restored(&snapshot, &ram, ReadOptions::default()) == ram, "{name}");
        assert!(restored(&store.load(&name).unwrap(), &ram, ReadOptions::default()) == ram, "{name}");
        let said = snapshot.changed_since(below.as_deref());
        let inside = |at: u64| said.iter().any(|range| (range.start.0..range.start.0 + range.bytes).contains(&at));
        for (start, contents) in &ram.0 {
            let old = earlier.0.get(start).map_or(&[][..], |old| &old[..]);
            for at in (0..contents.len()).step_by(4096) {
                let end = contents.len().min(at + 4096);
                let same = old.get(at..end) == Some(&contents[at..end]);
                assert!(below.is_none() || same || inside(start + at as u64), "{name}: {at} bytes behind {start:#x}");
            }
        }
        earlier.clone_from(&ram);
        let verdict = store.verify(&name, 2).unwrap();
        assert!(verdict.is_whole(), "{name}");
        let memory = snapshot.summary().memory;
        let distinct = memory.bytes + memory.blobs - memory.zeros - memory.repeated;
        assert_eq!(verdict.right, distinct, "{name}: what is used is verified, and once");
        // What is nowhere in memory any more is not listed for ever.
        let map = snapshot.header().sections.iter().find(|section| section.kind() == Some(SectionKind::Map)).unwrap();
        let (now, few) = (distinct / CHUNK as u64, 60);
        assert!(map.length < (2 * before + now + few) * 32, "{name}: {} bytes, {before} and {now} chunks", map.length);
        before = now;
        // A page somewhere, a range made anew, and one that is there in another size.
        changed.clear();
        let starts: Vec<u64> = ram.0.keys().copied().collect();
        for _ in 0..3 {
            let start = starts[random.below(starts.len() as u64) as usize];
            let contents = ram.0.get_mut(&start).unwrap();
            let at = random.below(contents.len() as u64) as usize;
            contents[at] ^= 0x55;
            changed.push(Range { start: Address(start + at as u64), bytes: 1 });
        }
        let start = starts[random.below(starts.len() as u64) as usize];
        let bytes = ram.0[&start].len();
        let contents = if number % 3 == 0 { vec![0; bytes] } else { random.bytes(bytes) };
        ram.0.insert(start, contents);
        changed.push(Range { start: Address(start), bytes: bytes as u64 });
        if number % 4 == 3 {
            let start = *starts.last().unwrap();
            ram.0.get_mut(&start).unwrap().push(number as u8);
            changed.push(Range { start: Address(start), bytes: ram.0[&start].len() as u64 });
        }
        below = Some(snapshot);
    }
}

#[test]
fn memory_may_be_set_aside_piece_by_piece() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let ram = ram(8);
    let mut pages = Pages::default();
    for (&start, bytes) in &ram.0 {
        bytes.chunks(10_000).enumerate().for_each(|(n, part)| pages.put(start + n as u64 * 10_000, part.to_vec()));
    }
    let mut writer = store.write("s", WriteOptions::default()).unwrap();
    // In several calls, and from the last to the first.
    for range in ram.ranges().into_iter().rev() {
        writer.memory(&[range], &pages).unwrap();
    }
    writer.finish(&Default::default()).unwrap();
    assert!(restored(&store.load("s").unwrap(), &ram, ReadOptions::default()) == ram);
}

#[test]
fn a_base_that_is_missing_changed_or_needed() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut ram = ram(9);
    save(&store, "one", &ram, None);
    ram.0.get_mut(&BASE).unwrap()[0] ^= 1;
    save(&store, "two", &ram, Some(Arc::new(store.load("one").unwrap())));
    let needed = store.remove("one").unwrap_err();
    assert_eq!(needed.kind, ErrorKind::InUse);
    assert!(needed.text.contains("`two` is built on it"), "{needed}");
    assert_eq!(store.write("one", WriteOptions::default()).err().unwrap().kind, ErrorKind::InUse);
    // Another name does no harm.
    let path = |name: &str| folder.path().join(format!("{name}.snapshot"));
    std::fs::rename(path("one"), path("first")).unwrap();
    assert!(restored(&store.load("two").unwrap(), &ram, ReadOptions::default()) == ram);
    std::fs::rename(path("first"), folder.path().join("elsewhere")).unwrap();
    let missing = store.load("two").unwrap_err();
    assert_eq!(missing.kind, ErrorKind::Base);
    assert!(missing.text.contains("built on `one`") && missing.text.contains("missing"), "{missing}");
    save(&store, "one", &ram, None);
    let changed = store.load("two").unwrap_err();
    assert_eq!(changed.kind, ErrorKind::Base);
    assert!(changed.text.contains("changed"), "{changed}");
}

#[test]
fn a_chain_has_an_end() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut ram = Ram::default();
    ram.0.insert(BASE, Random(1).bytes(10 * CHUNK));
    save(&store, "n0", &ram, None);
    let mut depth = 0;
    let full = loop {
        // Changes of changes of changes, all in one chunk.
        ram.0.get_mut(&BASE).unwrap()[(depth as usize % 16) * 4096] ^= 1;
        let base = Some(Arc::new(store.load(&format!("n{depth}")).unwrap()));
        match store.write(&format!("n{}", depth + 1), WriteOptions { base, ..WriteOptions::default() }) {
            Ok(mut writer) => {
                writer.memory(&ram.ranges(), &ram).unwrap();
                writer.finish(&Default::default()).unwrap();
                depth += 1;
            }
            Err(error) => break error,
        }
        assert!(restored(&store.load(&format!("n{depth}")).unwrap(), &ram, ReadOptions::default()) == ram, "{depth}");
    };
    assert_eq!(depth, hetgpu_checkpoint::DEPTH - 1);
    assert!(full.text.contains("built on nothing"), "{full}");
}

#[test]
fn nobody_else_reads_it_and_nobody_elses_is_read() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let written = save(&store, "s", &ram(1), None);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&written.path), mode(folder.path())), (0o600, 0o700));
    std::fs::set_permissions(&written.path, PermissionsExt::from_mode(0o640)).unwrap();
    let open = store.load("s").unwrap_err();
    assert_eq!(open.kind, ErrorKind::NotOurs);
    assert!(open.text.contains("chmod 600"), "{open}");
    std::fs::set_permissions(&written.path, PermissionsExt::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&written.path, folder.path().join("link.snapshot")).unwrap();
    assert_eq!(store.load("link").unwrap_err().kind, ErrorKind::Disk);
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(Store::open(folder.path()).err().unwrap().kind, ErrorKind::NotOurs);
    // Only root can give files away.
    if std::os::unix::fs::chown(&written.path, Some(12345), None).is_ok() {
        let other = store.load("s").unwrap_err();
        assert_eq!(other.kind, ErrorKind::NotOurs);
        assert!(other.text.contains("user 12345"), "{other}");
    }
}

#[test]
fn names_stay_in_their_folder() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    for name in ["", "../up", "a/b", ".hidden", "a b", "-x", &"n".repeat(101)] {
        assert_eq!(store.write(name, WriteOptions::default()).err().unwrap().kind, ErrorKind::Invalid, "{name}");
    }
    assert_eq!(store.load("nothing").unwrap_err().kind, ErrorKind::Missing);
    assert_eq!(store.remove("nothing").unwrap_err().kind, ErrorKind::Missing);
}

#[test]
fn memory_given_twice_or_unreadable_is_refused_and_leaves_nothing() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let mut ram = Ram::default();
    ram.0.insert(BASE, Random(1).bytes(10 * CHUNK));
    let mut writer = store.write("s", WriteOptions::default()).unwrap();
    writer.memory(&ram.ranges(), &ram).unwrap();
    writer.memory(&ram.ranges(), &ram).unwrap();
    assert!(writer.finish(&Default::default()).unwrap_err().text.contains("given twice"));
    let mut ranges = ram.ranges();
    ranges[0].bytes += 1;
    let mut writer = store.write("s", WriteOptions::default()).unwrap();
    assert_eq!(writer.memory(&ranges, &ram).unwrap_err().kind, ErrorKind::Memory);
    drop(writer);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
