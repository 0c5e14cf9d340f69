//! Memory operations of streams, attributes, events: what the calls answer, and what waits for what.

#[path = "library/api.rs"]
mod api;
#[path = "library/sys.rs"]
mod sys;

use api::{Driver, INVALID_HANDLE, INVALID_VALUE, NOT_PERMITTED, NOT_READY, SUCCESS, Ticket, driver};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const GEQ: u32 = 0;
const EQ: u32 = 1;
const AND: u32 = 2;
const NOR: u32 = 3;
const FLUSH: u32 = 1 << 30;

const DISABLE_TIMING: u32 = 2;
const INTERPROCESS: u32 = 4;

/// A stream that stands still until `release`.
struct Held {
    stream: usize,
    word: u64,
}

fn held(driver: &Driver) -> Held {
    let held = Held { stream: driver.stream(), word: driver.words(1) };
    assert_eq!((driver.api.cuStreamWaitValue32_v2)(held.stream, held.word, 1, EQ), SUCCESS);
    held
}

impl Held {
    fn release(&self, driver: &Driver) {
        let stream = driver.stream();
        assert_eq!((driver.api.cuStreamWriteValue32_v2)(stream, self.word, 1, 0), SUCCESS);
        assert_eq!((driver.api.cuStreamSynchronize)(stream), SUCCESS);
        assert_eq!((driver.api.cuStreamSynchronize)(self.stream), SUCCESS);
    }
}

#[test]
fn a_hundred_streams_that_wait_keep_no_other_from_working() {
    let driver = driver();
    let (gate, sums) = (driver.words(1), driver.words(100));
    let waiting: Vec<usize> = (0..100).map(|_| driver.stream()).collect();
    for (n, &stream) in waiting.iter().enumerate() {
        assert_eq!((driver.api.cuStreamWaitValue32_v2)(stream, gate, 5, GEQ), SUCCESS);
        assert_eq!(driver.add(stream, sums + n as u64 * 4, 1, 7), SUCCESS);
    }
    let other = driver.stream();
    let free = driver.words(64);
    for _ in 0..50 {
        assert_eq!(driver.add(other, free, 64, 1), SUCCESS);
        assert_eq!((driver.api.cuStreamSynchronize)(other), SUCCESS);
    }
    assert!(waiting.iter().all(|&stream| (driver.api.cuStreamQuery)(stream) == NOT_READY));
    assert_eq!((driver.api.cuStreamWriteValue32_v2)(other, gate, 6, 0), SUCCESS);
    for &stream in &waiting {
        assert_eq!((driver.api.cuStreamSynchronize)(stream), SUCCESS);
        assert_eq!((driver.api.cuStreamDestroy_v2)(stream), SUCCESS);
    }
    assert_eq!(driver.read(sums, 100), [7; 100]);
    assert_eq!(driver.read(free, 64), [50; 64]);
}

#[test]
fn each_comparison_waits_for_what_it_says() {
    let driver = driver();
    let mut host = 0;
    assert_eq!((driver.api.cuMemAllocHost_v2)(&mut host, 8), SUCCESS);
    for word in [host, driver.words(2)] {
        for (start, compare, value, then) in
            [(1u64 << 32, EQ, 3, 3), (0xffff_ffff_ffff_fff0, GEQ, 2, 2), (8, AND | FLUSH, 6, 12), (!0, NOR, 1, !2)]
        {
            let (writer, waiter) = (driver.stream(), driver.stream());
            let write = |value| (driver.api.cuStreamWriteValue64_v2)(writer, word, value, 0);
            assert_eq!(write(start), SUCCESS);
            assert_eq!((driver.api.cuStreamSynchronize)(writer), SUCCESS);
            assert_eq!((driver.api.cuStreamWaitValue64_v2)(waiter, word, value, compare), SUCCESS);
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert_eq!((driver.api.cuStreamQuery)(waiter), NOT_READY, "{start:#x} {compare} {value}");
            assert_eq!(write(then), SUCCESS);
            assert_eq!((driver.api.cuStreamSynchronize)(waiter), SUCCESS);
        }
    }
}

#[test]
fn a_batch_is_done_as_a_whole_or_not_at_all() {
    let driver = driver();
    let (stream, words) = (driver.stream(), driver.words(4));
    let write_32 = |at, value: u32| [2, at, value.into(), 0, 0, 0];
    let write_64 = |at, value| [5, at, value, 0, 0, 0];
    let (barrier, flush) = ([6, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]);
    let wait = [1, words, 9, EQ.into(), 0, 0];
    let batch = |list: &[[u64; 6]]| (driver.api.cuStreamBatchMemOp_v2)(stream, list.len() as u32, list.as_ptr(), 0);
    assert_eq!(batch(&[write_32(words + 4, 1), write_32(words + 2, 1)]), INVALID_VALUE, "an address that is not even");
    assert_eq!(batch(&[write_32(words + 4, 1), [99, 0, 0, 0, 0, 0]]), INVALID_VALUE);
    assert_eq!(driver.read(words, 4), [0; 4]);
    assert_eq!(batch(&[write_32(words, 9), barrier, wait, flush, write_64(words + 8, 7 << 32 | 5)]), SUCCESS);
    assert_eq!((driver.api.cuStreamSynchronize)(stream), SUCCESS);
    assert_eq!(driver.read(words, 4), [9, 0, 5, 7]);
    assert_eq!((driver.api.cuStreamBatchMemOp_v2)(stream, 256, std::ptr::null(), 0), INVALID_VALUE);
}

#[test]
fn wrong_words_are_refused() {
    let driver = driver();
    let (stream, word) = (driver.stream(), driver.words(1));
    let api = &driver.api;
    assert_eq!((api.cuStreamWaitValue32_v2)(stream, word + 1, 0, EQ), INVALID_VALUE);
    assert_eq!((api.cuStreamWaitValue64_v2)(stream, word + 4, 0, EQ), INVALID_VALUE);
    assert_eq!((api.cuStreamWaitValue32_v2)(stream, 64, 0, EQ), INVALID_VALUE);
    assert_eq!((api.cuStreamWaitValue32_v2)(stream, word, 0, 4), INVALID_VALUE);
    assert_eq!((api.cuStreamWriteValue32)(stream, word, 1, 1), SUCCESS, "the first version may leave the barrier out");
    assert_eq!((api.cuStreamWriteValue32_v2)(stream, word, 1, 1), INVALID_VALUE);
    assert_eq!((api.cuStreamWriteValue32_v2)(stream ^ 1 << 40, word, 1, 0), INVALID_HANDLE);
}

#[test]
fn attributes_are_remembered_by_stream() {
    const SYNCHRONISATION_POLICY: u32 = 3;
    const PRIORITY: u32 = 8;
    let driver = driver();
    let api = &driver.api;
    let (one, two) = (driver.stream(), driver.stream());
    let get = |stream, id| {
        let mut value = [0xff; 16];
        assert_eq!((api.cuStreamGetAttribute)(stream, id, &mut value), SUCCESS);
        value[0]
    };
    let value = |first: i32| {
        let mut value = [0; 16];
        value[0] = first.cast_unsigned();
        value
    };
    assert_eq!((get(one, SYNCHRONISATION_POLICY), get(one, PRIORITY)), (1, 0));
    assert_eq!((api.cuStreamSetAttribute)(one, SYNCHRONISATION_POLICY, &value(4)), SUCCESS);
    assert_eq!((api.cuStreamSetAttribute)(one, PRIORITY, &value(-3)), SUCCESS);
    assert_eq!((api.cuStreamSetAttribute)(one, SYNCHRONISATION_POLICY, &value(5)), INVALID_VALUE);
    assert_eq!((api.cuStreamSetAttribute)(one, 2, &value(1)), INVALID_VALUE, "cooperation is for launches");
    assert_eq!((get(one, SYNCHRONISATION_POLICY), get(two, SYNCHRONISATION_POLICY)), (4, 1));
    assert_eq!((api.cuStreamCopyAttributes)(two, one), SUCCESS);
    let mut priority = 0;
    assert_eq!(((api.cuStreamGetPriority)(two, &mut priority), priority), (SUCCESS, -3));
    assert_eq!(get(two, SYNCHRONISATION_POLICY), 4);
    assert_eq!(get(0, SYNCHRONISATION_POLICY), 1, "the default stream has its own");
}

#[test]
fn events_answer_by_what_they_were_made_for() {
    let driver = driver();
    let api = &driver.api;
    let mut none = 0;
    assert_eq!((api.cuEventCreate)(&mut none, 8), INVALID_VALUE);
    assert_eq!((api.cuEventCreate)(&mut none, INTERPROCESS), INVALID_VALUE, "such events are not timed");
    let (start, end, untimed) = (driver.event(0), driver.event(0), driver.event(DISABLE_TIMING));
    let elapsed = |from, to| (api.cuEventElapsedTime)(&mut 0.0, from, to);
    assert_eq!(elapsed(start, end), INVALID_HANDLE, "never recorded");
    let held = held(driver);
    let free = driver.stream();
    assert_eq!((api.cuEventRecord)(start, free), SUCCESS);
    assert_eq!((api.cuEventSynchronize)(start), SUCCESS);
    for event in [end, untimed] {
        assert_eq!((api.cuEventRecord)(event, held.stream), SUCCESS);
        assert_eq!((api.cuEventQuery)(event), NOT_READY);
    }
    assert_eq!((elapsed(start, end), elapsed(start, untimed)), (NOT_READY, INVALID_HANDLE));
    held.release(driver);
    assert_eq!((elapsed(start, end), elapsed(start, untimed)), (SUCCESS, INVALID_HANDLE));
}

#[test]
fn an_event_of_a_context_stands_for_all_its_streams() {
    let driver = driver();
    let api = &driver.api;
    // Of its own, so that no other test's streams are meant.
    let mut context = 0;
    assert_eq!((api.cuCtxCreate_v2)(&mut context, 0, 0), SUCCESS);
    // What the host writes itself: the context's streams will wait.
    let (mut word, stream) = (0, driver.stream());
    assert_eq!((api.cuMemAllocHost_v2)(&mut word, 8), SUCCESS);
    assert_eq!((api.cuStreamWaitValue64_v2)(stream, word, 1, EQ), SUCCESS);
    let event = driver.event(0);
    assert_eq!((api.cuCtxRecordEvent)(context, event), SUCCESS);
    assert_eq!((api.cuEventQuery)(event), NOT_READY);
    let (before, filled) = (driver.stream(), driver.words(2));
    assert_eq!((api.cuCtxWaitEvent)(context, event), SUCCESS);
    let after = driver.stream();
    for (n, stream) in [before, after].into_iter().enumerate() {
        assert_eq!((api.cuMemsetD32Async)(filled + n as u64 * 4, 5, 1, stream), SUCCESS);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!((api.cuStreamQuery)(stream), NOT_READY);
    }
    sys::put(std::ptr::with_exposed_provenance_mut(word as usize), 1);
    assert_eq!((api.cuEventSynchronize)(event), SUCCESS);
    assert_eq!((api.cuCtxSynchronize)(), SUCCESS);
    assert_eq!(driver.read(filled, 2), [5, 5]);
    assert_eq!((api.cuCtxDestroy_v2)(context), SUCCESS);
}

#[test]
fn a_function_of_the_host_may_not_call_the_api() {
    extern "C" fn ask(answer: *mut u64) {
        sys::put(answer, (api::loaded().api.cuCtxSynchronize)().into());
    }
    let driver = driver();
    let (stream, mut answer) = (driver.stream(), 77u64);
    assert_eq!((driver.api.cuLaunchHostFunc)(stream, ask, &raw mut answer), SUCCESS);
    assert_eq!((driver.api.cuStreamSynchronize)(stream), SUCCESS);
    assert_eq!(sys::take(&raw const answer), NOT_PERMITTED.into());
}

/// In the other process this holds the event's ticket.
const TICKET: &str = "HETGPU_TEST_TICKET";

#[test]
fn an_event_is_waited_for_in_another_process() {
    let driver = driver();
    let api = &driver.api;
    if let Ok(ticket) = std::env::var(TICKET) {
        let words: Vec<u64> = ticket.split(',').map(|word| word.parse().unwrap()).collect();
        return in_the_other_process(driver, Ticket(words.try_into().unwrap()));
    }
    let event = driver.event(DISABLE_TIMING | INTERPROCESS);
    let held = held(driver);
    assert_eq!((api.cuEventRecord)(event, held.stream), SUCCESS);
    let mut ticket = [0; 8];
    assert_eq!((api.cuIpcGetEventHandle)(&mut ticket, driver.event(0)), INVALID_VALUE);
    assert_eq!((api.cuIpcGetEventHandle)(&mut ticket, event), SUCCESS);
    let ticket: Vec<String> = ticket.iter().map(u64::to_string).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "an_event_is_waited_for_in_another_process", "--nocapture"]);
    command.env(TICKET, ticket.join(",")).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"), "the other process came so far");
    held.release(driver);
    assert!(lines.any(|line| line.unwrap() == "done"), "and went on");
    assert!(child.wait().unwrap().success());
}

fn in_the_other_process(driver: &Driver, ticket: Ticket) {
    let api = &driver.api;
    let mut event = 0;
    let mut wrong = ticket;
    wrong.0[1] ^= 1;
    assert_eq!((api.cuIpcOpenEventHandle)(&mut event, wrong), INVALID_HANDLE);
    assert_eq!((api.cuIpcOpenEventHandle)(&mut event, ticket), SUCCESS);
    assert_eq!((api.cuEventQuery)(event), NOT_READY);
    let (stream, sum) = (driver.stream(), driver.words(1));
    assert_eq!((api.cuStreamWaitEvent)(stream, event, 0), SUCCESS);
    assert_eq!(driver.add(stream, sum, 1, 3), SUCCESS);
    assert_eq!((api.cuStreamQuery)(stream), NOT_READY);
    println!("\nheld");
    std::io::stdout().flush().unwrap();
    assert_eq!((api.cuEventSynchronize)(event), SUCCESS);
    assert_eq!((api.cuStreamSynchronize)(stream), SUCCESS);
    assert_eq!(driver.read(sum, 1), [3]);
    println!("\ndone");
}
