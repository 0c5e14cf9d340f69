//! How fast snapshots are written, checked and read, beside copies in memory and plain files on the same disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hetgpu_checkpoint::wire::{Address, Job, Range};
use hetgpu_checkpoint::{BLOCK, Digest, Disk, ReadOptions, Sink, Source, Store, SystemDisk, WriteOptions, size};
use serde_json::{Value, json};

use crate::cpu::case::today;

pub(crate) struct Options {
    /// Mebibytes of memory.
    pub(crate) mebibytes: u64,
    /// Where snapshots go: the disk that is measured.
    pub(crate) folder: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) json: Option<PathBuf>,
}

/// Bytes of plain copies, writes and reads at a time.
const PIECE: usize = 4 << 20;
const BASE: u64 = 0x10_0000_0000;

/// Memory of a job that does not repeat itself.
struct Memory(Vec<u8>);

impl Memory {
    fn new(bytes: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let mut memory = vec![0; bytes];
        memory.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&next()));
        Self(memory)
    }

    fn range(&self) -> Range {
        Range { start: Address(BASE), bytes: self.0.len() as u64 }
    }
}

impl Source for Memory {
    fn read(&self, at: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.as_slice().read(at - BASE, out)
    }
}

/// Memory that is written by many threads, piece by piece.
struct Target(Vec<Mutex<Vec<u8>>>);

impl Target {
    fn new(bytes: usize) -> Self {
        // Written once, so that no page is the system's to make while it is measured.
        Self((0..bytes.div_ceil(PIECE)).map(|_| Mutex::new(vec![0xcc; PIECE])).collect())
    }

    fn holds(&self, memory: &Memory) -> bool {
        let pieces = memory.0.chunks(PIECE).zip(&self.0);
        pieces.into_iter().all(|(piece, own)| own.lock().is_ok_and(|own| own[..piece.len()] == *piece))
    }
}

impl Sink for Target {
    fn write(&self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        let mut at = (at - BASE) as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, first) = (at / PIECE, at % PIECE);
            let count = rest.len().min(PIECE - first);
            let mut own = self.0[piece].lock().unwrap_or_else(|e| e.into_inner());
            own[first..first + count].copy_from_slice(&rest[..count]);
            (at, rest) = (at + count, &rest[count..]);
        }
        Ok(())
    }
}

struct Bench<'o> {
    options: &'o Options,
    bytes: u64,
    /// Bytes a second of a copy in memory, and of plain files.
    memcpy: f64,
    write: f64,
    read: f64,
    rows: Vec<Value>,
}

/// Which plain file a row is compared with.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    Written,
    Read,
}

impl Bench<'_> {
    /// Measures; returns bytes a second of the median.
    fn row(&mut self, name: &str, beside: Beside, mut one: impl FnMut() -> Result<(), String>) -> Result<f64, String> {
        let mut times = Vec::new();
        for _ in 0..self.options.rounds {
            let start = Instant::now();
            one()?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let (median, best) = (self.bytes as f64 / times[times.len() / 2], self.bytes as f64 / times[0]);
        let disk = match beside {
            Beside::Nothing => 0.0,
            Beside::Written => self.write,
            Beside::Read => self.read,
        };
        let share = |of: f64| if of > 0.0 { format!("{:.0} %", 100.0 * median / of) } else { String::new() };
        let (of_memcpy, of_disk) = (share(self.memcpy), share(disk));
        println!("{name:<44} {:>8.2} {:>8.2} {of_memcpy:>8} {of_disk:>8}", median / 1e9, best / 1e9);
        let number = |of: f64| if of > 0.0 { json!(median / of) } else { Value::Null };
        self.rows.push(json!({
            "name": name, "median": median, "best": best, "of_memcpy": number(self.memcpy), "of_disk": number(disk)
        }));
        Ok(median)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let bytes = options.mebibytes << 20;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut memory = Memory::new(bytes as usize);
    let target = Target::new(bytes as usize);
    let mut bench = Bench { options, bytes, memcpy: 0.0, write: 0.0, read: 0.0, rows: Vec::new() };
    println!("{} of memory, {threads} threads, {}", size(bytes), options.folder.display());
    println!("{:<44} {:>8} {:>8} {:>8} {:>8}", "GB/s", "median", "best", "memcpy", "disk");
    bench.memcpy = bench.row("copy in memory", Beside::Nothing, || {
        copy(&memory, &target, threads);
        Ok(())
    })?;
    bench.row("digests of chunks", Beside::Nothing, || {
        digests(&memory, threads);
        Ok(())
    })?;
    let store = Store::open(&options.folder).map_err(text)?;
    plain_files(&mut bench, &memory)?;
    for (name, direct) in [("written past the page cache", true), ("written through the page cache", false)] {
        bench.row(name, Beside::Written, || save(&store, "full", &memory, direct, None).map(drop))?;
    }
    let snapshot = store.load("full").map_err(text)?;
    for (name, direct) in [("read past the page cache", true), ("read from the page cache", false)] {
        bench.row(name, Beside::Read, || snapshot.restore(&target, ReadOptions { threads, direct }).map_err(text))?;
        if !target.holds(&memory) {
            return Err("what was read is not what was written".into());
        }
    }
    bench.row("verified in the page cache", Beside::Read, || match store.verify("full", threads).map_err(text)? {
        verdict if verdict.is_whole() => Ok(()),
        verdict => Err(verdict.to_string()),
    })?;
    drop(snapshot);
    let shares = incremental(&mut bench, &store, &mut memory)?;
    in_memory(&mut bench, &memory)?;
    for name in ["together", "scattered", "full"] {
        store.remove(name).map_err(text)?;
    }
    let [scattered, together] = shares;
    let json = json!({
        "date": today(), "processors": threads, "unit": "bytes a second", "bytes": bytes, "rounds": options.rounds,
        "rows": bench.rows, "one_percent_scattered": scattered, "one_percent_together": together,
    });
    match &options.json {
        Some(path) => {
            std::fs::write(path, format!("{json:#}\n")).map_err(|error| format!("{}: {error}", path.display()))
        }
        None => Ok(()),
    }
}

/// A copy by as many threads as save a snapshot.
fn copy(memory: &Memory, target: &Target, threads: usize) {
    each(memory, threads, |number, piece| {
        let mut own = target.0[number].lock().unwrap_or_else(|e| e.into_inner());
        own[..piece.len()].copy_from_slice(piece);
    });
}

fn digests(memory: &Memory, threads: usize) {
    each(memory, threads, |_, piece| {
        for chunk in piece.chunks(64 << 10) {
            std::hint::black_box(Digest::of(chunk));
        }
    });
}

fn each(memory: &Memory, threads: usize, work: impl Fn(usize, &[u8]) + Sync) {
    let work = &work;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                memory.0.chunks(PIECE).enumerate().skip(thread).step_by(threads).for_each(|(n, piece)| work(n, piece));
            });
        }
    });
}

fn save(store: &Store, name: &str, memory: &Memory, direct: bool, base: Option<&str>) -> Result<u64, String> {
    let base = base.map(|base| store.load(base).map(Arc::new)).transpose().map_err(text)?;
    let mut writer = store.write(name, WriteOptions { direct, base, ..WriteOptions::default() }).map_err(text)?;
    writer.memory(&[memory.range()], memory).map_err(text)?;
    Ok(writer.finish(&Job::default()).map_err(text)?.stats.file)
}

/// What `dd` does with direct access and a synchronisation at the end.
fn plain_files(bench: &mut Bench<'_>, memory: &Memory) -> Result<(), String> {
    let path = bench.options.folder.join(".plain");
    let disk = SystemDisk;
    let write = |path: &Path| -> std::io::Result<()> {
        let file = disk.create(path, true)?;
        let mut room = vec![0; PIECE + BLOCK];
        let first = room.as_ptr().align_offset(BLOCK);
        for (number, piece) in memory.0.chunks(PIECE).enumerate() {
            let aligned = &mut room[first..first + piece.len()];
            aligned.copy_from_slice(piece);
            let mut done = 0;
            while done < aligned.len() {
                done += file.write_at(&aligned[done..], (number * PIECE + done) as u64)?;
            }
        }
        file.sync()
    };
    let read = |path: &Path| -> std::io::Result<()> {
        let file = disk.open(path, true)?;
        let mut room = vec![0; PIECE + BLOCK];
        let first = room.as_ptr().align_offset(BLOCK);
        let mut at = 0;
        loop {
            match file.read_at(&mut room[first..first + PIECE], at)? {
                0 => return Ok(()),
                count => at += count as u64,
            }
        }
    };
    let gone = || drop(std::fs::remove_file(&path));
    gone();
    bench.write = bench.row("plain file, written as dd does", Beside::Nothing, || {
        gone();
        write(&path).map_err(text)
    })?;
    bench.read = bench.row("plain file, read as dd does", Beside::Nothing, || read(&path).map_err(text))?;
    gone();
    Ok(())
}

/// One page in a hundred has changed, anywhere and side by side: the share of the full size that this takes.
fn incremental(bench: &mut Bench<'_>, store: &Store, memory: &mut Memory) -> Result<[f64; 2], String> {
    let full = store.entry("full").map_err(text)?.bytes as f64;
    let pages = memory.0.len() / 4096;
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..pages / 100 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let page = (state % pages as u64) as usize;
        memory.0[page * 4096 + 100] ^= 1;
    }
    let mut bytes = [0; 2];
    let name = "one page in a hundred changed, anywhere";
    bench.row(name, Beside::Nothing, || {
        bytes[0] = save(store, "scattered", memory, false, Some("full"))?;
        Ok(())
    })?;
    let first = memory.0.len() / 3;
    let last = first + memory.0.len() / 100;
    memory.0[first..last].iter_mut().step_by(4096).for_each(|byte| *byte ^= 1);
    bench.row("one page in a hundred changed, together", Beside::Nothing, || {
        bytes[1] = save(store, "together", memory, false, Some("scattered"))?;
        Ok(())
    })?;
    let shares = bytes.map(|bytes| bytes as f64 / full);
    for (name, share) in ["anywhere", "together"].iter().zip(shares) {
        println!("one page in a hundred changed, {name}: {:.2} % of the full size", share * 100.0);
    }
    Ok(shares)
}

/// Without a disk: what the work itself costs.
fn in_memory(bench: &mut Bench<'_>, memory: &Memory) -> Result<(), String> {
    let shared = Path::new("/dev/shm");
    if !shared.is_dir() {
        return Ok(());
    }
    let folder = shared.join(format!("hetgpu-bench-{}", std::process::id()));
    let measured = Store::open(&folder).map_err(text).and_then(|store| {
        bench
            .row("written to memory", Beside::Nothing, || save(&store, "full", memory, false, None).map(drop))
            .map(drop)
    });
    std::fs::remove_dir_all(&folder).map_err(text)?;
    measured
}
