//! What calls of the driver API cost by themselves: launches that do nothing, waits, events, small copies, memory,
//! streams, and the start of a program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cpu::case::today;
use crate::sys::api::{Address, Api, Handle};

pub(crate) struct Options {
    /// Everything a few times only: shows that it works, and measures nothing.
    pub(crate) smoke: bool,
    pub(crate) libcuda: PathBuf,
    /// An empty kernel, in PTX.
    pub(crate) kernel: PathBuf,
    pub(crate) json: Option<PathBuf>,
    /// Only what has this in its name.
    pub(crate) only: String,
}

/// Threads that launch at the same time.
const THREADS: usize = 8;
/// Blocks of a grid that is not one block.
const BLOCKS: u32 = 256;

/// What a call takes, in microseconds.
struct Row {
    name: String,
    median: f64,
    best: f64,
}

struct Bench<'a> {
    api: &'a Api,
    kernel: Handle,
    buffer: Address,
    only: &'a str,
    rounds: usize,
    /// Calls a round.
    calls: usize,
    rows: Vec<Row>,
}

impl Bench<'_> {
    /// Measures so many calls in each round; what `after` does is not counted.
    fn row(
        &mut self,
        name: impl Into<String>,
        calls: usize,
        mut call: impl FnMut() -> Result<(), String>,
        mut after: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let name = name.into();
        if !name.contains(self.only) {
            return Ok(());
        }
        let calls = calls.clamp(1, self.calls);
        let mut times = Vec::new();
        for _ in 0..=self.rounds {
            let start = Instant::now();
            for _ in 0..calls {
                call()?;
            }
            times.push(start.elapsed().as_secs_f64() * 1e6 / calls as f64);
            after()?;
        }
        // The first round warms up.
        self.add(name, times.split_off(1));
        Ok(())
    }

    fn add(&mut self, name: String, mut times: Vec<f64>) {
        times.sort_by(f64::total_cmp);
        let row = Row { name, median: times[times.len() / 2], best: times[0] };
        println!("{:<44} {:>10} {:>10}", row.name, digits(row.median), digits(row.best));
        self.rows.push(row);
    }

    fn launches(&mut self) -> Result<(), String> {
        let (api, kernel, buffer) = (self.api, self.kernel, self.buffer);
        let done = || api.synchronize();
        self.row("launch, not waited for", 1000, || api.launch(kernel, 1, 0, buffer), done)?;
        let waited = || api.launch(kernel, 1, 0, buffer).and_then(|()| api.synchronize());
        self.row("launch and cuCtxSynchronize", 1000, waited, done)?;
        let many = || api.launch(kernel, BLOCKS, 0, buffer).and_then(|()| api.synchronize());
        self.row(format!("launch of {BLOCKS} blocks and wait"), 1000, many, done)?;
        let stream = api.stream()?;
        let waited = || api.launch(kernel, 1, stream, buffer).and_then(|()| api.synchronize_stream(stream));
        self.row("launch and cuStreamSynchronize", 1000, waited, done)?;
        let ten = || (0..10).try_for_each(|_| api.launch(kernel, 1, stream, buffer));
        self.row("10 launches and one wait", 100, || ten().and_then(|()| api.synchronize_stream(stream)), done)?;
        let event = api.event()?;
        self.row("event record, not waited for", 1000, || api.record(event, stream), done)?;
        self.row("event query", 1000, || api.query(event).map(drop), done)?;
        let polled = || {
            api.launch(kernel, 1, stream, buffer)?;
            api.record(event, stream)?;
            while !api.query(event)? {
                std::hint::spin_loop();
            }
            Ok(())
        };
        self.row("launch, event record, query until passed", 200, polled, done)?;
        let waited = || {
            api.launch(kernel, 1, stream, buffer)?;
            api.record(event, stream)?;
            api.synchronize_event(event)
        };
        self.row("launch, event record, event synchronize", 1000, waited, done)?;
        self.row("stream create and destroy", 1000, || api.destroy_stream(api.stream()?), done)?;
        api.destroy_stream(stream)
    }

    fn threads(&mut self) -> Result<(), String> {
        let name = format!("launch and wait, {THREADS} threads, each by itself");
        if !name.contains(self.only) {
            return Ok(());
        }
        let (api, kernel, buffer, calls) = (self.api, self.kernel, self.buffer, self.calls.min(300));
        let mut times = Vec::new();
        for _ in 0..=self.rounds {
            let barrier = Barrier::new(THREADS);
            let work = || {
                let stream = api.enter().and_then(|()| api.stream());
                barrier.wait();
                let (stream, start) = (stream?, Instant::now());
                for _ in 0..calls {
                    api.launch(kernel, 1, stream, buffer)?;
                    api.synchronize_stream(stream)?;
                }
                let end = Instant::now();
                api.destroy_stream(stream).map(|()| (start, end))
            };
            let spans = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
                let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?);
                ended.collect::<Result<Vec<(Instant, Instant)>, String>>()
            })?;
            let first = spans.iter().map(|span| span.0).min();
            let last = spans.iter().map(|span| span.1).max();
            let time = last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first);
            times.push(time.as_secs_f64() * 1e6 / (THREADS * calls) as f64);
        }
        self.add(name, times.split_off(1));
        Ok(())
    }

    fn memory(&mut self) -> Result<(), String> {
        let api = self.api;
        for (name, bytes) in [("4 B", 4), ("64 KiB", 64 << 10), ("16 MiB", 16 << 20)] {
            let calls = (256 << 20) / bytes.max(256 << 10);
            let at = api.alloc(bytes)?;
            let mut host = vec![1u8; bytes];
            let mut other = vec![2u8; bytes];
            let nothing = || Ok(());
            let plain = || {
                other.copy_from_slice(&host);
                std::hint::black_box(&mut other);
                Ok(())
            };
            self.row(format!("memcpy of {name}"), calls, plain, nothing)?;
            self.row(format!("cuMemcpyHtoD of {name}"), calls, || api.copy_in(at, &host), nothing)?;
            self.row(format!("cuMemcpyDtoH of {name}"), calls, || api.copy_out(&mut host, at), nothing)?;
            api.free(at)?;
        }
        for (name, bytes) in [("256 B", 256), ("16 MiB", 16 << 20)] {
            self.row(format!("cuMemAlloc and cuMemFree of {name}"), 300, || api.free(api.alloc(bytes)?), || Ok(()))?;
        }
        Ok(())
    }

    /// The start of a process that launches a kernel which is in the cache.
    fn starts(&mut self, options: &Options) -> Result<(), String> {
        if !self.only.is_empty() {
            return Ok(());
        }
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let start = || -> Result<[f64; 2], String> {
            let mut command = Command::new(&program);
            command.arg("start").arg(&options.libcuda).arg(&options.kernel);
            let output = command.output().map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout);
            let times: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let wrong = |_| format!("the start failed: {}", String::from_utf8_lossy(&output.stderr));
            times.try_into().map_err(wrong)
        };
        let times = (0..=self.rounds).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
        self.add("loading the library".into(), times[1..].iter().map(|time| time[0]).collect());
        self.add("from cuInit to the end of a first launch".into(), times[1..].iter().map(|time| time[1]).collect());
        Ok(())
    }
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let api = Api::open(&options.libcuda)?;
    api.start()?;
    let kernel = api.kernel(&read(&options.kernel)?, "empty")?;
    let buffer = api.alloc(4)?;
    let (rounds, calls) = if options.smoke { (1, 3) } else { (21, 1000) };
    let only = options.only.as_str();
    let mut bench = Bench { api: &api, kernel, buffer, only, rounds, calls, rows: Vec::new() };
    println!("{:<44} {:>10} {:>10}", "microseconds", "median", "best");
    bench.launches()?;
    bench.threads()?;
    bench.memory()?;
    bench.starts(options)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let rows: Vec<_> = bench.rows.iter().map(|r| json!({"name": r.name, "median": r.median, "best": r.best})).collect();
    let json = json!({
        "date": today(), "processors": processors, "unit": "microseconds", "rounds": rounds, "calls": rows
    });
    match &options.json {
        Some(path) => {
            std::fs::write(path, format!("{json:#}\n")).map_err(|error| format!("{}: {error}", path.display()))
        }
        None => Ok(()),
    }
}

/// In a process of its own: prints the microseconds that loading the library takes, and those from its initialisation
/// to the end of the first launch.
pub(crate) fn start(libcuda: &Path, kernel: &Path) -> Result<(), String> {
    let ptx = read(kernel)?;
    let begin = Instant::now();
    let api = Api::open(libcuda)?;
    let loaded = Instant::now();
    api.start()?;
    let kernel = api.kernel(&ptx, "empty")?;
    let buffer = api.alloc(4)?;
    api.launch(kernel, 1, 0, buffer)?;
    api.synchronize()?;
    println!("{} {}", (loaded - begin).as_secs_f64() * 1e6, loaded.elapsed().as_secs_f64() * 1e6);
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn digits(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
