//! A job on its way: it comes whole and runs once, whatever happens to the connection.

mod common;

use common::{BASE, CHUNK, Ram, Random, job};
use hetgpu_checkpoint::transport::{Budget, Key, Landing, Live, Offer, Progress, Received, ask, receive, send};
use hetgpu_checkpoint::wire::{Address, Blob, Job, Manifest, Range};
use hetgpu_checkpoint::{Error, ErrorKind, Result, Source};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A job that changes its memory each time it is looked at, until it stands still.
struct Runner {
    ram: Ram,
    random: Random,
    /// Pages that change in a round.
    busy: u64,
    /// Ranges that come and go in a round.
    moves: bool,
    asked: bool,
    state: State,
    text: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Runs,
    Still,
    Gone,
}

impl Runner {
    fn new(seed: u64, busy: u64, moves: bool) -> Self {
        let mut random = Random(seed);
        let mut ram = Ram::default();
        for (number, bytes) in [(0u64, 3 * CHUNK), (1, 100), (2, CHUNK + 4097), (3, 20 * CHUNK)] {
            let mut contents = random.bytes(bytes);
            if number == 3 {
                contents[5 * CHUNK..9 * CHUNK].fill(0);
            }
            ram.0.insert(BASE + number * (4 << 20) + number * 512, contents);
        }
        let text = random.bytes(3 * CHUNK / 2);
        Self { ram, random, busy, moves, asked: false, state: State::Runs, text }
    }
}

impl Live for Runner {
    fn manifest(&self) -> Manifest {
        job(Blob(0)).manifest
    }

    fn ranges(&mut self) -> Result<Vec<Range>> {
        if self.moves && self.asked && self.state == State::Runs {
            let start = BASE + (64 << 20) + self.random.below(8) * (1 << 20);
            let bytes = self.random.below(3 * CHUNK as u64) as usize + 1;
            match self.ram.0.remove(&start) {
                // It grows, and keeps what it has.
                Some(mut old) if self.random.below(2) == 0 => {
                    old.resize(bytes.max(old.len()), 0);
                    self.ram.0.insert(start, old);
                }
                Some(_) => {}
                None => drop(self.ram.0.insert(start, self.random.bytes(bytes))),
            }
        }
        Ok(self.ram.ranges())
    }

    fn dirty(&mut self) -> Result<Vec<Range>> {
        if !self.asked {
            self.asked = true;
            return Ok(self.ram.ranges());
        }
        // What it changed before it was asked, or before it was stopped.
        let mut dirty = Vec::new();
        let starts: Vec<u64> = self.ram.0.keys().copied().collect();
        for _ in 0..self.busy {
            let start = starts[self.random.below(starts.len() as u64) as usize];
            let bytes = self.ram.0.get_mut(&start).unwrap();
            let at = self.random.below(bytes.len() as u64) as usize;
            bytes[at] = self.random.next() as u8;
            dirty.push(Range { start: Address(start + at as u64), bytes: 1 });
        }
        if self.state == State::Runs && self.busy > 0 {
            self.busy /= 2;
        }
        Ok(dirty)
    }

    fn memory(&self) -> &dyn Source {
        &self.ram
    }

    fn blob_bytes(&self) -> u64 {
        self.text.len() as u64
    }

    fn freeze(&mut self) -> Result<()> {
        assert_eq!(self.state, State::Runs);
        self.state = State::Still;
        Ok(())
    }

    fn record(&mut self) -> Result<(Job, Vec<u64>)> {
        assert_eq!(self.state, State::Still);
        Ok((job(Blob(0)), vec![self.text.len() as u64]))
    }

    fn blob(&self, index: u32, at: u64, out: &mut [u8]) -> io::Result<()> {
        assert_eq!(index, 0);
        self.text.as_slice().read(at, out)
    }

    fn thaw(&mut self) {
        assert_eq!(self.state, State::Still);
        self.state = State::Runs;
    }

    fn gone(&mut self) {
        assert_eq!(self.state, State::Still);
        self.state = State::Gone;
    }
}

/// Where it lands.
#[derive(Default)]
struct Ground {
    ram: Ram,
    text: Vec<u8>,
    job: Option<Job>,
    runs: bool,
    sessions: BTreeMap<[u8; 16], bool>,
    refuse: bool,
    fail_go: bool,
    touched: bool,
}

impl Landing for Ground {
    fn offered(&mut self, offer: &Offer) -> Result<()> {
        self.touched = true;
        assert_eq!(offer.manifest.job, "example");
        self.sessions.insert(offer.session, false);
        match self.refuse {
            true => Err(Error::new(ErrorKind::Memory, "2 GiB are wanted and 1 GiB is free\u{1b}[2J")),
            false => Ok(()),
        }
    }

    fn layout(&mut self, ranges: &[Range]) -> Result<()> {
        let old = std::mem::take(&mut self.ram.0);
        for Range { start, bytes } in ranges {
            let mut new = old.get(&start.0).cloned().unwrap_or_default();
            new.resize(*bytes as usize, 0);
            self.ram.0.insert(start.0, new);
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let (start, room) = self.ram.0.range_mut(..=at).next_back().expect("checked before");
        room[(at - start) as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn zero(&mut self, at: u64, bytes: u64) -> Result<()> {
        self.write(at, &vec![0; bytes as usize])
    }

    fn blobs(&mut self, bytes: &[u64]) -> Result<()> {
        if bytes.iter().any(|&bytes| bytes > 1 << 20) {
            return Err(Error::new(ErrorKind::Memory, "too much"));
        }
        self.text = vec![0; bytes[0] as usize];
        Ok(())
    }

    fn blob(&mut self, _: u32, at: u64, bytes: &[u8]) -> Result<()> {
        self.text[at as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn ready(&mut self, job: &Job) -> Result<()> {
        self.job = Some(job.clone());
        Ok(())
    }

    fn go(&mut self, session: [u8; 16]) -> Result<()> {
        if self.fail_go {
            return Err(Error::new(ErrorKind::Memory, "the device is gone"));
        }
        self.runs = true;
        self.sessions.insert(session, true);
        Ok(())
    }

    fn forget(&mut self) {
        assert!(!self.runs);
        self.ram = Ram::default();
    }

    fn ran(&mut self, session: [u8; 16]) -> Option<bool> {
        self.sessions.get(&session).copied()
    }
}

/// One direction of a connection in memory.
#[derive(Clone, Default)]
struct Pipe(Arc<Inside>);

/// What is on its way, and whether an end is closed.
#[derive(Default)]
struct Inside {
    state: Mutex<(VecDeque<u8>, bool)>,
    changed: Condvar,
}

/// An end of one, which does something to what passes.
struct End {
    pipe: Pipe,
    passed: u64,
    cut: u64,
    flip: Option<(u64, u8)>,
    record: Option<Arc<Mutex<Vec<u8>>>>,
    patience: Duration,
}

impl End {
    fn new(pipe: &Pipe) -> Self {
        Self {
            pipe: pipe.clone(),
            passed: 0,
            cut: u64::MAX,
            flip: None,
            record: None,
            patience: Duration::from_secs(20),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.pipe.0.state.lock().unwrap().1 = true;
        self.pipe.0.changed.notify_all();
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.pipe.0.state.lock().unwrap();
        if state.1 || self.passed >= self.cut {
            state.1 = true;
            self.pipe.0.changed.notify_all();
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min((self.cut - self.passed) as usize);
        for (number, &byte) in bytes[..count].iter().enumerate() {
            let change = self.flip.filter(|(at, _)| *at == self.passed + number as u64).map_or(0, |(_, bit)| bit);
            state.0.push_back(byte ^ change);
        }
        if let Some(record) = &self.record {
            record.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
        self.passed += count as u64;
        self.pipe.0.changed.notify_all();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for End {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut state = self.pipe.0.state.lock().unwrap();
        while state.0.is_empty() && !state.1 {
            let (next, waited) = self.pipe.0.changed.wait_timeout(state, self.patience).unwrap();
            state = next;
            if waited.timed_out() && state.0.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        let count = bytes.len().min(state.0.len());
        state.0.drain(..count).zip(bytes).for_each(|(byte, out)| *out = byte);
        Ok(count)
    }
}

/// What is done to the connection: bytes after which each direction is cut, and a bit that is changed in each.
#[derive(Clone, Copy, Default, Debug)]
struct Trouble {
    cut_forward: Option<u64>,
    cut_back: Option<u64>,
    flip_forward: Option<(u64, u8)>,
    flip_back: Option<(u64, u8)>,
    impatient: bool,
}

struct Outcome {
    sent: Result<hetgpu_checkpoint::transport::Sent>,
    received: Result<Received>,
    bytes: [u64; 2],
}

fn key() -> Key {
    Key::from_bytes(b"a secret of both")
}

fn transfer(runner: &mut Runner, ground: &mut Ground, keys: [&Key; 2], trouble: Trouble) -> Outcome {
    let (forward, back) = (Pipe::default(), Pipe::default());
    let budget = Budget { freeze: Duration::from_secs(60), rounds: 8 };
    let mut out = End::new(&forward);
    (out.cut, out.flip) = (trouble.cut_forward.unwrap_or(u64::MAX), trouble.flip_forward);
    let mut reply = End::new(&back);
    (reply.cut, reply.flip) = (trouble.cut_back.unwrap_or(u64::MAX), trouble.flip_back);
    let patience = if trouble.impatient { Duration::from_millis(300) } else { Duration::from_secs(20) };
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut reader = End::new(&forward);
            reader.patience = patience;
            let received = receive(&mut reader, &mut reply, keys[1], ground);
            let bytes = reply.passed;
            drop((reader, reply));
            (received, bytes)
        });
        let mut reader = End::new(&back);
        reader.patience = patience;
        let sent = send(&mut reader, &mut out, keys[0], runner, &budget, &mut |_| {});
        let forward = out.passed;
        drop((reader, out));
        let (received, back) = receiver.join().unwrap();
        Outcome { sent, received, bytes: [forward, back] }
    })
}

/// The job is in one place, whole, and runs there and nowhere else.
fn check(runner: &Runner, ground: &Ground, outcome: &Outcome, why: &dyn std::fmt::Debug) {
    match &outcome.sent {
        Ok(_) => {
            assert_eq!(runner.state, State::Gone, "{why:?}");
            assert!(ground.runs, "{why:?}: it runs nowhere");
        }
        Err(error) if error.kind == ErrorKind::Unsettled => {
            assert_eq!(runner.state, State::Still, "{why:?}: {error}");
            let ran = ground.sessions.values().next().copied();
            assert_eq!(ran.unwrap_or(false), ground.runs, "{why:?}: what an answer would say");
        }
        Err(error) => {
            assert_eq!(runner.state, State::Runs, "{why:?}: {error}");
            assert!(!ground.runs, "{why:?}: it runs twice");
        }
    }
    if ground.runs {
        for (start, bytes) in &runner.ram.0 {
            let there = ground.ram.0.get(start).map(Vec::as_slice).unwrap_or_default();
            let wrong = bytes.iter().zip(there).position(|(a, b)| a != b);
            assert!(
                wrong.is_none() && there.len() == bytes.len(),
                "{why:?}: {} of {} bytes at {start:#x}, wrong from {wrong:?}",
                there.len(),
                bytes.len()
            );
        }
        assert_eq!(ground.ram.0.len(), runner.ram.0.len(), "{why:?}: memory that is gone");
        assert!(ground.text == runner.text && ground.job.as_ref() == Some(&job(Blob(0))), "{why:?}");
    } else {
        assert!(ground.ram == Ram::default(), "{why:?}: something was left");
    }
}

#[test]
fn a_job_comes_whole_while_it_changes_and_memory_comes_and_goes() {
    for seed in 0..20 {
        let (mut runner, mut ground) = (Runner::new(seed, 40, seed % 2 == 1), Ground::default());
        let key = if seed % 3 == 0 { Key::none() } else { key() };
        let outcome = transfer(&mut runner, &mut ground, [&key, &key], Trouble::default());
        let sent = outcome.sent.as_ref().unwrap();
        assert!(sent.rounds >= 1 && sent.bytes == outcome.bytes[0] - 48);
        check(&runner, &ground, &outcome, &seed);
    }
}

#[test]
fn a_cut_anywhere_leaves_the_job_in_one_place() {
    let whole = {
        let (mut runner, mut ground) = (Runner::new(1, 6, true), Ground::default());
        transfer(&mut runner, &mut ground, [&key(), &key()], Trouble::default()).bytes
    };
    let mut random = Random(3);
    let (mut cuts, mut here, mut unsettled, mut there) = (0, 0, 0, 0);
    let near = |end: u64| end.saturating_sub(400)..=end;
    let mut places: Vec<Trouble> = Vec::new();
    places.extend((0..200).chain(near(whole[0])).map(|at| Trouble { cut_forward: Some(at), ..Trouble::default() }));
    places.extend((0..600).map(|_| Trouble { cut_forward: Some(random.below(whole[0])), ..Trouble::default() }));
    places.extend((0..=whole[1]).map(|at| Trouble { cut_back: Some(at), ..Trouble::default() }));
    for trouble in places {
        let (mut runner, mut ground) = (Runner::new(1, 6, true), Ground::default());
        let outcome = transfer(&mut runner, &mut ground, [&key(), &key()], trouble);
        check(&runner, &ground, &outcome, &trouble);
        cuts += 1;
        match &outcome.sent {
            Ok(_) => there += 1,
            Err(error) if error.kind == ErrorKind::Unsettled => {
                unsettled += 1;
                // Another connection settles it.
                let session = *ground.sessions.keys().next().unwrap();
                let ran = question(&mut ground, session).unwrap();
                assert_eq!(ran, Some(ground.runs), "{trouble:?}");
            }
            Err(_) => here += 1,
        }
    }
    assert!(cuts > 1500 && here > 1000 && unsettled > 50 && there > 0, "{cuts} {here} {unsettled} {there}");
}

fn question(ground: &mut Ground, session: [u8; 16]) -> Result<Option<bool>> {
    let (forward, back) = (Pipe::default(), Pipe::default());
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&mut End::new(&forward), &mut End::new(&back), &key(), ground).unwrap());
        let answer = ask(&mut End::new(&back), &mut End::new(&forward), &key(), session);
        assert_eq!(receiver.join().unwrap(), Received::Question);
        answer
    })
}

#[test]
fn a_question_about_nothing_is_answered_so() {
    assert_eq!(question(&mut Ground::default(), [1; 16]).unwrap(), None);
}

#[test]
fn changed_bytes_never_arrive() {
    let whole = {
        let (mut runner, mut ground) = (Runner::new(1, 6, false), Ground::default());
        transfer(&mut runner, &mut ground, [&key(), &key()], Trouble::default()).bytes
    };
    let mut random = Random(4);
    let mut places: Vec<Trouble> = Vec::new();
    let bit = |random: &mut Random| 1u8 << random.below(8);
    for at in (0..400).chain(whole[0] - 400..whole[0]) {
        places.push(Trouble { flip_forward: Some((at, bit(&mut random))), ..Trouble::default() });
    }
    for _ in 0..400 {
        places.push(Trouble { flip_forward: Some((random.below(whole[0]), bit(&mut random))), ..Trouble::default() });
    }
    for at in 0..whole[1] {
        places.push(Trouble { flip_back: Some((at, bit(&mut random))), ..Trouble::default() });
    }
    for trouble in places {
        let (mut runner, mut ground) = (Runner::new(1, 6, false), Ground::default());
        // Where a length was made larger, both sides wait.
        let trouble = Trouble { impatient: true, ..trouble };
        let outcome = transfer(&mut runner, &mut ground, [&key(), &key()], trouble);
        check(&runner, &ground, &outcome, &trouble);
        let noticed = outcome.sent.is_err() || outcome.received.is_err();
        assert!(noticed, "{trouble:?} went unnoticed");
    }
}

#[test]
fn only_those_with_the_key_are_heard() {
    let other = Key::from_bytes(b"another secret!!");
    for (keys, part) in
        [([&key(), &other], "another key"), ([&key(), &Key::none()], "no key"), ([&Key::none(), &key()], "wants a key")]
    {
        let (mut runner, mut ground) = (Runner::new(1, 6, false), Ground::default());
        let outcome = transfer(&mut runner, &mut ground, keys, Trouble::default());
        let (sent, received) = (outcome.sent.as_ref().unwrap_err(), outcome.received.as_ref().unwrap_err());
        assert!(sent.kind == ErrorKind::Key || received.kind == ErrorKind::Key, "{sent} {received}");
        assert!(sent.text.contains(part) || received.text.contains(part), "{part}: {sent} {received}");
        assert!(!ground.touched, "nothing is believed before the proof");
        assert_eq!(runner.state, State::Runs);
    }
}

#[test]
fn what_was_heard_cannot_be_said_again() {
    let (forward, back) = (Pipe::default(), Pipe::default());
    let record = Arc::new(Mutex::new(Vec::new()));
    let (mut runner, mut ground) = (Runner::new(1, 0, false), Ground::default());
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&mut End::new(&forward), &mut End::new(&back), &key(), &mut ground));
        let mut out = End::new(&forward);
        out.record = Some(record.clone());
        send(&mut End::new(&back), &mut out, &key(), &mut runner, &Budget::default(), &mut |_| {}).unwrap();
        receiver.join().unwrap().unwrap();
    });
    let said = record.lock().unwrap().clone();
    let mut ground = Ground::default();
    let error = receive(&mut said.as_slice(), &mut Vec::new(), &key(), &mut ground).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Key, "{error}");
    assert!(!ground.touched);
    // Nor can it be sent back to who said it.
    let mut runner = Runner::new(1, 0, false);
    let error = send(&mut said.as_slice(), &mut Vec::new(), &key(), &mut runner, &Budget::default(), &mut |_| {});
    assert!(error.unwrap_err().text.contains("both sides"));
}

#[test]
fn sizes_are_not_believed() {
    // Without a key anybody can say anything: a hello, a proof of nothing, and then a length.
    let mut hello = b"HETGPUMV".to_vec();
    hello.extend([1, 1, 0, 0, 0, 0, 0, 0]);
    hello.extend([7; 32]);
    for length in [hetgpu_checkpoint::transport::FRAME as u32 + 1, u32::MAX] {
        let mut said = hello.clone();
        let mut head = [0; 32];
        head[0] = 1;
        head[4..8].copy_from_slice(&length.to_le_bytes());
        said.extend(head);
        let error = receive(&mut said.as_slice(), &mut Vec::new(), &Key::none(), &mut Ground::default()).unwrap_err();
        assert!(error.text.contains("at most"), "{error}");
    }
    let mut later = hello.clone();
    later[8] = 9;
    let error = receive(&mut later.as_slice(), &mut Vec::new(), &Key::none(), &mut Ground::default()).unwrap_err();
    assert!(error.text.contains("version 9"), "{error}");
    let error = receive(&mut &[b'x'; 100][..], &mut Vec::new(), &Key::none(), &mut Ground::default()).unwrap_err();
    assert!(error.text.contains("no hetGPU"), "{error}");
}

#[test]
fn a_refusal_says_why_and_the_job_runs_on() {
    let (mut runner, mut ground) = (Runner::new(1, 6, false), Ground { refuse: true, ..Ground::default() });
    let outcome = transfer(&mut runner, &mut ground, [&key(), &key()], Trouble::default());
    let error = outcome.sent.as_ref().unwrap_err();
    assert!(error.text.contains("1 GiB is free") && !error.text.contains('\u{1b}'), "{error}");
    check(&runner, &ground, &outcome, &"refused");
}

#[test]
fn what_fails_at_the_very_end_on_the_other_side_comes_back() {
    let (mut runner, mut ground) = (Runner::new(1, 6, false), Ground { fail_go: true, ..Ground::default() });
    let outcome = transfer(&mut runner, &mut ground, [&key(), &key()], Trouble::default());
    let error = outcome.sent.as_ref().unwrap_err();
    assert!(error.kind == ErrorKind::Peer && error.text.contains("the device is gone"), "{error}");
    check(&runner, &ground, &outcome, &"go failed");
}

/// Slow, so that a rate can be told.
struct Slow<W>(W);

impl<W: Write> Write for Slow<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_nanos(bytes.len() as u64 * 50));
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_job_that_changes_too_much_is_not_stopped() {
    let mut runner = Runner::new(1, 0, false);
    // As much in each round.
    struct Busy<'r>(&'r mut Runner, u32);
    impl Live for Busy<'_> {
        fn manifest(&self) -> Manifest {
            self.0.manifest()
        }
        fn ranges(&mut self) -> Result<Vec<Range>> {
            self.0.ranges()
        }
        fn dirty(&mut self) -> Result<Vec<Range>> {
            self.1 += 1;
            let round = self.1 as u8;
            self.0.ram.0.values_mut().for_each(|bytes| bytes.iter_mut().step_by(512).for_each(|byte| *byte = round));
            Ok(self.0.ram.ranges())
        }
        fn memory(&self) -> &dyn Source {
            self.0.memory()
        }
        fn blob_bytes(&self) -> u64 {
            0
        }
        fn freeze(&mut self) -> Result<()> {
            panic!("it must not be stopped");
        }
        fn record(&mut self) -> Result<(Job, Vec<u64>)> {
            self.0.record()
        }
        fn blob(&self, index: u32, at: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.blob(index, at, out)
        }
        fn thaw(&mut self) {
            panic!("it was never stopped");
        }
        fn gone(&mut self) {
            panic!("it is here");
        }
    }
    let (forward, back) = (Pipe::default(), Pipe::default());
    let mut ground = Ground::default();
    let budget = Budget { freeze: Duration::from_millis(5), rounds: 30 };
    let mut rounds: Vec<Progress> = Vec::new();
    let error = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&mut End::new(&forward), &mut End::new(&back), &key(), &mut ground));
        let mut out = Slow(End::new(&forward));
        let mut live = Busy(&mut runner, 0);
        let sent = send(&mut End::new(&back), &mut out, &key(), &mut live, &budget, &mut |p| rounds.push(*p));
        drop(out);
        assert!(receiver.join().unwrap().unwrap_err().text.contains("gave up"));
        sent.unwrap_err()
    });
    assert_eq!(error.kind, ErrorKind::TooBusy);
    assert!(error.text.contains("a second and the link carries"), "{error}");
    assert_eq!(rounds.len(), 4, "as soon as it is clear that it will not end");
    assert!(rounds.iter().all(|round| round.rate > 0.0 && round.freeze > 0.005));
    assert!(ground.ram == Ram::default());
}

#[test]
fn over_sockets_with_a_key_from_a_file() {
    let folder = common::Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, [5; 32]).unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    assert!(Key::from_file(&path).err().unwrap().text.contains("chmod 600"));
    mode(0o600);
    let key = Key::from_file(&path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut runner, mut ground) = (Runner::new(9, 100, true), Ground::default());
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            receive(&mut &stream, &mut &stream, &key, &mut ground)
        });
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        send(&mut &stream, &mut &stream, &key, &mut runner, &Budget::default(), &mut |_| {}).unwrap();
        receiver.join().unwrap().unwrap();
    });
    assert!(ground.runs && ground.ram == runner.ram && runner.state == State::Gone);
    // A side that says nothing is given up.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(silent.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut runner = Runner::new(9, 0, false);
    let error = send(&mut &stream, &mut &stream, &key, &mut runner, &Budget::default(), &mut |_| {}).unwrap_err();
    assert!(error.text.contains("silent"), "{error}");
    assert_eq!(runner.state, State::Runs);
}
