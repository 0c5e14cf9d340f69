//! Threads that each do what comes, in streams of their own, and know what must come out. `HETGPU_STRESS_SECONDS` is how
//! long (5), `HETGPU_STRESS_SEED` what comes (1). When they are through, nothing of what they asked for is left.

#[path = "library/api.rs"]
mod api;
#[path = "library/sys.rs"]
mod sys;

use api::{Driver, INVALID_HANDLE, INVALID_VALUE, NOT_READY, SUCCESS, driver};
use std::time::{Duration, Instant};

const THREADS: u64 = 8;
const EQ: u32 = 1;

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

struct Buffer {
    at: u64,
    /// What it will hold when everything is done that was asked for.
    expected: Vec<u32>,
    /// Which stream used it last.
    stream: usize,
}

struct Thread {
    driver: &'static Driver,
    chance: Chance,
    streams: Vec<usize>,
    events: Vec<usize>,
    buffers: Vec<Buffer>,
    /// A word for streams to write and wait for, and what was written last.
    word: u64,
    written: u32,
    /// Counted by functions of the host.
    calls: Box<u64>,
    asked: u64,
}

extern "C" fn count(calls: *mut u64) {
    sys::put(calls, sys::take(calls) + 1);
}

fn ok(code: u32) {
    assert_eq!(code, SUCCESS);
}

impl Thread {
    fn new(seed: u64) -> Self {
        let driver = driver();
        Self {
            driver,
            chance: Chance(seed),
            streams: (0..3).map(|_| driver.stream()).collect(),
            events: (0..3).map(|_| driver.event(0)).collect(),
            buffers: Vec::new(),
            word: driver.words(1),
            written: 0,
            calls: Box::new(0),
            asked: 0,
        }
    }

    /// A stream in which a buffer can be used now: after what another one does with it.
    fn stream_for(&mut self, buffer: usize) -> usize {
        let chosen = self.chance.below(self.streams.len());
        let before = std::mem::replace(&mut self.buffers[buffer].stream, chosen);
        let event = self.events[self.chance.below(self.events.len())];
        if before != chosen {
            ok((self.driver.api.cuEventRecord)(event, self.streams[before]));
            ok((self.driver.api.cuStreamWaitEvent)(self.streams[chosen], event, 0));
        }
        self.streams[chosen]
    }

    fn synchronise(&self, stream: usize) {
        ok((self.driver.api.cuStreamSynchronize)(stream));
    }

    fn check(&mut self, buffer: usize) {
        let stream = self.stream_for(buffer);
        self.synchronise(stream);
        let Buffer { at, expected, .. } = &self.buffers[buffer];
        assert_eq!(self.driver.read(*at, expected.len()), *expected);
    }

    fn step(&mut self) {
        let api = &self.driver.api;
        if self.buffers.is_empty() {
            return self.allocate();
        }
        let buffer = self.chance.below(self.buffers.len());
        match self.chance.below(16) {
            0..=3 => {
                let (stream, number) = (self.stream_for(buffer), self.chance.below(1000) as u32);
                let Buffer { at, expected, .. } = &mut self.buffers[buffer];
                ok(self.driver.add(stream, *at, expected.len() as u32, number));
                expected.iter_mut().for_each(|word| *word = word.wrapping_add(number));
            }
            4 => {
                let stream = self.stream_for(buffer);
                let data: Vec<u32> =
                    self.buffers[buffer].expected.iter().map(|_| self.chance.below(1 << 20) as u32).collect();
                let Buffer { at, expected, .. } = &mut self.buffers[buffer];
                // The bytes are read before the call returns.
                ok((api.cuMemcpyHtoDAsync_v2)(*at, data.as_ptr(), data.len() * 4, stream));
                *expected = data;
            }
            5 => {
                let (stream, number) = (self.stream_for(buffer), self.chance.below(1 << 20) as u32);
                let Buffer { at, expected, .. } = &mut self.buffers[buffer];
                ok((api.cuMemsetD32Async)(*at, number, expected.len(), stream));
                expected.fill(number);
            }
            6 => self.check(buffer),
            7 => {
                let event = self.chance.below(self.events.len());
                ok((api.cuEventRecord)(self.events[event], self.streams[self.chance.below(3)]));
                let code = (api.cuEventQuery)(self.events[event]);
                assert!(code == SUCCESS || code == NOT_READY, "{code}");
                ok((api.cuEventSynchronize)(self.events[event]));
                ok((api.cuEventQuery)(self.events[event]));
            }
            8 => {
                let n = self.chance.below(self.events.len());
                ok((api.cuEventDestroy_v2)(self.events[n]));
                assert_eq!((api.cuEventQuery)(self.events[n]), INVALID_HANDLE);
                self.events[n] = self.driver.event(0);
            }
            9 => {
                let n = self.chance.below(self.streams.len());
                // What it holds still runs, but nobody can wait for it by its name.
                self.synchronise(self.streams[n]);
                ok((api.cuStreamDestroy_v2)(self.streams[n]));
                assert_eq!((api.cuStreamSynchronize)(self.streams[n]), INVALID_HANDLE);
                self.streams[n] = self.driver.stream();
            }
            10 => {
                let stream = self.streams[self.chance.below(3)];
                self.asked += 1;
                ok((api.cuLaunchHostFunc)(stream, count, &raw mut *self.calls));
                self.synchronise(stream);
                assert_eq!(sys::take(&raw const *self.calls), self.asked);
            }
            11 => {
                let (waiter, writer) = (self.streams[self.chance.below(3)], self.driver.stream());
                self.written += 1;
                ok((api.cuStreamWaitValue32_v2)(waiter, self.word, self.written, EQ));
                ok((api.cuStreamWriteValue32_v2)(writer, self.word, self.written, 0));
                // A value that is waited for must not be overwritten before it was seen.
                self.synchronise(waiter);
                ok((api.cuStreamDestroy_v2)(writer));
            }
            12 => ok((api.cuCtxSynchronize)()),
            13 => {
                let stream = self.streams[self.chance.below(3)];
                let code = (api.cuStreamQuery)(stream);
                assert!(code == SUCCESS || code == NOT_READY, "{code}");
            }
            14 => {
                self.check(buffer);
                let Buffer { at, .. } = self.buffers.swap_remove(buffer);
                ok((api.cuMemFree_v2)(at));
            }
            _ => self.allocate(),
        }
    }

    fn allocate(&mut self) {
        const MOST: usize = 6;
        if self.buffers.len() == MOST {
            assert_eq!((self.driver.api.cuMemFree_v2)(self.buffers[0].at + 4), INVALID_VALUE);
            return;
        }
        let count = 1 + self.chance.below(5000);
        let (at, stream) = (self.driver.words(count), self.chance.below(3));
        ok((self.driver.api.cuMemsetD32Async)(at, 3, count, self.streams[stream]));
        self.buffers.push(Buffer { at, expected: vec![3; count], stream });
    }

    fn end(mut self) {
        (0..self.buffers.len()).for_each(|buffer| self.check(buffer));
        self.buffers.iter().for_each(|buffer| ok((self.driver.api.cuMemFree_v2)(buffer.at)));
        self.streams.iter().for_each(|&stream| ok((self.driver.api.cuStreamDestroy_v2)(stream)));
        self.events.iter().for_each(|&event| ok((self.driver.api.cuEventDestroy_v2)(event)));
        ok((self.driver.api.cuMemFree_v2)(self.word));
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// Lets the threads work for a time, and returns how many steps they did.
fn round(seed: u64, time: Duration) -> u64 {
    let end = Instant::now() + time;
    let work = |n: u64| {
        let mut thread = Thread::new(seed * THREADS + n);
        let mut steps = 0u64;
        while Instant::now() < end {
            thread.step();
            steps += 1;
        }
        thread.end();
        steps
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || work(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// What the allocator keeps for each thread would count as in use. It is told so before a process begins.
const NOTHING_KEPT: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");

#[test]
fn threads_get_their_own_results_whatever_the_others_do() {
    let (name, value) = NOTHING_KEPT;
    if std::env::var(name).as_deref() != Ok(value) {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(std::env::args_os().skip(1).filter(|argument| argument != "--nocapture")).arg("--nocapture");
        assert!(again.env(name, value).status().unwrap().success());
        return;
    }
    // Opening the library takes long where every access is checked.
    driver();
    let (seconds, seed) = (setting("HETGPU_STRESS_SECONDS", 5), setting("HETGPU_STRESS_SEED", 1));
    let time = Duration::from_secs(seconds);
    let first = round(2 * seed, time / 4);
    let before = sys::allocated();
    let second = round(2 * seed + 1, time - time / 4);
    let grown = sys::allocated().saturating_sub(before);
    println!("{} steps, seed {seed}; {grown} bytes more allocated after the last {second}", first + second);
    assert!(second > THREADS, "something was done");
    // Lists grow now and then; an allocation lost in a rare step would be far more.
    assert!(grown < 64 << 10, "something is lost: {grown} bytes after {second} steps");
}
