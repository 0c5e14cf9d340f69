use super::*;
use std::os::unix::fs::PermissionsExt;

fn key(n: u8) -> Digest {
    [n; BYTES]
}

fn entry(n: u8, length: usize) -> Vec<u8> {
    vec![n; length]
}

#[test]
fn what_is_stored_is_found() {
    let folder = Temporary::new().unwrap();
    let cache = Cache::open(&folder.path().join("a/b"), 1 << 20).unwrap();
    assert_eq!(cache.load(&key(1)), None);
    for (n, length) in [(1, 100), (2, 0), (3, 70_000)] {
        cache.store(&key(n), &entry(n, length)).unwrap();
    }
    for (n, length) in [(1, 100), (2, 0), (3, 70_000)] {
        assert_eq!(cache.load(&key(n)), Some(entry(n, length)));
    }
    cache.store(&key(1), &entry(9, 5)).unwrap();
    assert_eq!(Cache::open(&folder.path().join("a/b"), 0).unwrap().load(&key(1)), Some(entry(9, 5)));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path().join("a/b")), 0o700);
    assert_eq!(mode(cache.path(&key(1))), 0o600);
    cache.remove(&key(1));
    assert_eq!(cache.load(&key(1)), None);
}

#[test]
fn damaged_files_are_not_used() {
    let folder = Temporary::new().unwrap();
    let cache = Cache::open(folder.path(), 1 << 20).unwrap();
    let path = cache.path(&key(1));
    cache.store(&key(1), &entry(1, 50)).unwrap();
    let good = fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&path, bytes).unwrap();
        assert_eq!(cache.load(&key(1)), None, "{what}");
        assert!(!path.exists(), "{what}");
    };
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            refused(&bytes, &format!("bit {bit} of byte {at}"));
        }
        refused(&good[..at], &format!("cut to {at} bytes"));
    }
    refused(&[&good[..], &[0]].concat(), "a byte more");
    let mut long = good.clone();
    long[12..20].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&long, "an absurd length");
    // The right file of another key, whose name alone was changed.
    cache.store(&key(2), &entry(2, 50)).unwrap();
    refused(&fs::read(cache.path(&key(2))).unwrap(), "for another key");
    fs::write(&path, &good).unwrap();
    assert_eq!(cache.load(&key(1)), Some(entry(1, 50)));
}

#[test]
fn what_others_may_write_is_not_used() {
    let folder = Temporary::new().unwrap();
    let cache = Cache::open(folder.path(), 1 << 20).unwrap();
    let path = cache.path(&key(1));
    let with_mode = |mode| {
        cache.store(&key(1), &entry(1, 50)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        cache.load(&key(1)).is_some()
    };
    assert!(with_mode(0o600) && with_mode(0o644));
    assert!(!with_mode(0o620) && !with_mode(0o602));

    // Neither a link, which may lead anywhere, nor a pipe, which may be waited on for ever.
    cache.store(&key(2), &entry(1, 50)).unwrap();
    std::os::unix::fs::symlink(cache.path(&key(2)), &path).unwrap();
    assert_eq!(cache.load(&key(1)), None);

    // One that belongs to another user.
    let other =
        Cache { user: cache.user + 1, size: Mutex::default(), folder: cache.folder.clone(), limit: cache.limit };
    assert_eq!(other.load(&key(2)), None);

    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(Cache::open(folder.path(), 0).unwrap_err().to_string().contains("others may write"));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(Cache::open(Path::new("/dev/null"), 0).is_err());
}

/// Sets when an entry was used last: so many seconds ago.
fn age(cache: &Cache, n: u8, seconds: u64) {
    let file = File::open(cache.path(&key(n))).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let folder = Temporary::new().unwrap();
    let length = (HEADER + 1000) as u64;
    let cache = Cache::open(folder.path(), 8 * length).unwrap();
    for n in 0..8 {
        cache.store(&key(n), &entry(n, 1000)).unwrap();
        age(&cache, n, 100 - u64::from(n));
    }
    assert_eq!(cache.entries().len(), 8);
    // The oldest is used, so the next two are the oldest ones.
    assert!(cache.load(&key(0)).is_some());
    cache.store(&key(8), &entry(8, 1000)).unwrap();
    let left: Vec<u8> = (0..9).filter(|n| cache.path(&key(*n)).exists()).collect();
    assert_eq!(left, [0, 3, 4, 5, 6, 7, 8]);
    // One that alone is too large leaves the others.
    cache.store(&key(9), &entry(9, 9000)).unwrap();
    assert!(!cache.path(&key(9)).exists());
    assert_eq!(cache.entries().len(), 7);
}

#[test]
fn unfinished_files_go_when_nobody_can_be_writing_them() {
    let folder = Temporary::new().unwrap();
    let cache = Cache::open(folder.path(), 1 << 20).unwrap();
    let (old, new) = (folder.path().join("a.part"), folder.path().join("b.part"));
    fs::write(&old, "x").unwrap();
    fs::write(&new, "x").unwrap();
    File::open(&old).unwrap().set_modified(SystemTime::now() - 2 * STALE).unwrap();
    fs::write(folder.path().join("somebody's"), "x").unwrap();
    cache.store(&key(1), &entry(1, 10)).unwrap();
    assert!(!old.exists() && new.exists() && folder.path().join("somebody's").exists());
}

#[test]
fn threads_and_folders_in_common() {
    let folder = Temporary::new().unwrap();
    let caches: Vec<Cache> = (0..4).map(|_| Cache::open(folder.path(), 20_000).unwrap()).collect();
    std::thread::scope(|scope| {
        for (thread, cache) in caches.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..300usize {
                    let n = (round * 7 + thread * 3) % 10;
                    match cache.load(&key(n as u8)) {
                        Some(found) => assert_eq!(found, entry(n as u8, n * 500)),
                        None => cache.store(&key(n as u8), &entry(n as u8, n * 500)).unwrap(),
                    }
                }
            });
        }
    });
    assert!(caches[0].entries().iter().map(|entry| entry.length).sum::<u64>() <= 20_000 + 4 * 5_000);
    assert!(fs::read_dir(folder.path()).unwrap().flatten().all(|file| file.path().extension().unwrap() == ENTRY));
}

/// What a child of [`processes_in_common`] is told by.
const CHILD: &str = "HETGPU_TEST_CACHE_CHILD";

#[test]
fn processes_in_common() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let cache = Cache::open(Path::new(&folder), 1 << 20).unwrap();
        for round in 0..400u32 {
            let n = (round % 5) as u8;
            if round % 3 == 0 {
                cache.store(&key(n), &entry(n, 20_000)).unwrap();
            } else if let Some(found) = cache.load(&key(n)) {
                assert_eq!(found, entry(n, 20_000));
            }
        }
        return;
    }
    let folder = Temporary::new().unwrap();
    let child = || {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tests::processes_in_common"]).env(CHILD, folder.path());
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let children = [child(), child(), child()];
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let cache = Cache::open(folder.path(), 1 << 20).unwrap();
    for n in 0..5 {
        assert_eq!(cache.load(&key(n)), Some(entry(n, 20_000)));
    }
}
