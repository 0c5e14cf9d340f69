use super::bench::{
    Bench, Ears, Gate, KERNELS, PATIENCE, Params, bytes_of, fill, host, launch, line, noise, refused, same,
    same_numbers,
};
use super::{Check, Stop, Verdict, checks, ensure};
use crate::{Assembly, DeviceError, ErrorKind, Extent, Fill, HostBuffer, Mark, Pattern, Place, Step, Work};
use std::sync::Arc;
use std::time::{Duration, Instant};

checks! {
    work_is_done_in_order
    an_idle_queue_has_passed_its_marks
    submitting_does_not_wait_for_the_work
    host_memory_is_read_until_the_work_is_done
    marks_tell_the_time_between_them
    marks_without_a_time_are_refused
    a_queue_follows_another
    a_queue_follows_what_has_passed
    a_queue_follows_itself
    a_chain_of_queues_is_in_order
    marks_of_others_are_refused
    a_closed_queue_still_does_its_work
    a_mark_outlives_its_queue
    queues_of_all_priorities_work
    many_queues_work
    threads_have_queues_of_their_own
    threads_share_a_queue
    running_is_submitting_and_waiting
    queues_make_progress_at_the_same_time
    listeners_hear_before_marks_pass
    assembled_steps_are_done_each_time
    an_assembly_is_done_though_nobody_has_it
    assemblies_of_others_are_refused
}

fn work_is_done_in_order(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let (memory, copy) = (bench.map(4096)?, bench.map(4096)?);
    let queue = bench.queue()?;
    let mut marks = Vec::new();
    for round in 0..100u32 {
        queue.submit(fill(memory.at, round as u8, 4096))?;
        queue.submit(launch(kernels.launch("add", Params::new().u64(memory.at + 4 * u64::from(round)).u32(1))?))?;
        queue.submit(line(Place::Device(copy.at), Place::Device(memory.at), 4096))?;
        marks.push(queue.mark(false)?);
    }
    // The last first: it stands for all before it.
    for mark in marks.iter().rev() {
        mark.wait()?;
        ensure!(mark.poll()?, "a mark that was waited for is not passed");
    }
    let mut want = vec![99; 4096];
    want[396] = 100;
    same("what was done last", &bench.read(copy.at, 4096)?, &want)
}

fn an_idle_queue_has_passed_its_marks(bench: &Bench) -> Verdict {
    let queue = bench.queue()?;
    for timed in [false, true] {
        queue.mark(timed)?.wait()?;
        let mark = queue.mark(timed)?;
        bench.until("a mark of an idle queue", || mark.poll())?;
        mark.wait()?;
    }
    Ok(())
}

fn submitting_does_not_wait_for_the_work(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let gate = Gate::new(bench, &kernels)?;
    let memory = HostBuffer::from(vec![0; 8]);
    let (mark, timed) = (gate.queue.mark(false)?, gate.queue.mark(true)?);
    ensure!(!gate.mark().poll()? && !mark.poll()? && !timed.poll()?, "marks are passed while work before them waits");
    std::thread::sleep(Duration::from_millis(5));
    ensure!(!gate.mark().poll()?, "a kernel that waits for the host has not waited");
    drop(memory);
    gate.pass()?;
    ensure!(mark.poll()? && timed.poll()?, "marks are not passed after work behind them");
    Ok(())
}

fn host_memory_is_read_until_the_work_is_done(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let gate = Gate::new(bench, &kernels)?;
    let to = bench.map(64)?;
    let from = HostBuffer::from(vec![1; 64]);
    gate.queue.submit(line(Place::Device(to.at), Place::Host(from.span()), 64))?;
    from.write(0, &[2; 64]);
    gate.pass()?;
    let got = bench.read(to.at, 64)?;
    match got[0] {
        1 => same("what was copied early", &got, &[1; 64]),
        _ => same("what was copied", &got, &[2; 64]),
    }
}

fn marks_tell_the_time_between_them(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    const HELD: Duration = Duration::from_millis(30);
    let gate = Gate::new(bench, &kernels)?;
    let other = bench.queue()?;
    let start = Instant::now();
    let before = other.mark(true)?;
    before.wait()?;
    let after = gate.queue.mark(true)?;
    std::thread::sleep(HELD);
    gate.pass()?;
    let most = start.elapsed();
    let time = after.since(before.as_ref())?;
    let bounds = HELD.as_nanos() as i64 * 9 / 10..=most.as_nanos() as i64 * 11 / 10 + 1_000_000;
    ensure!(bounds.contains(&time), "{time} ns between two marks, expected {bounds:?}");
    ensure!(before.since(after.as_ref())? == -time, "the time backwards is not the negative of the time forwards");
    ensure!(after.since(after.as_ref())? == 0, "a mark is not at its own time");
    let marks = (0..10).map(|_| gate.queue.mark(true)).collect::<Result<Vec<_>, _>>()?;
    gate.queue.mark(false)?.wait()?;
    for pair in marks.windows(2) {
        ensure!(pair[1].since(pair[0].as_ref())? >= 0, "time goes backwards within a queue");
    }
    Ok(())
}

fn marks_without_a_time_are_refused(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let gate = Gate::new(bench, &kernels)?;
    let queue = bench.queue()?;
    let (plain, timed, waiting) = (queue.mark(false)?, queue.mark(true)?, gate.queue.mark(true)?);
    timed.wait()?;
    let invalid = &[ErrorKind::InvalidRequest];
    refused("the time of a mark without one", plain.since(timed.as_ref()), invalid)?;
    refused("the time since a mark without one", timed.since(plain.as_ref()), invalid)?;
    refused("the time of a mark that is not passed", waiting.since(timed.as_ref()), invalid)?;
    gate.pass()
}

fn a_queue_follows_another(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let gate = Gate::new(bench, &kernels)?;
    let memory = bench.map(64)?;
    let queue = bench.queue()?;
    queue.follow(gate.mark())?;
    queue.submit(fill(memory.at, 2, 64))?;
    let second = queue.mark(false)?;
    gate.queue.submit(fill(memory.at, 1, 32))?;
    std::thread::sleep(Duration::from_millis(5));
    ensure!(!second.poll()?, "a queue does not wait for the mark that it follows");
    gate.pass()?;
    second.wait()?;
    // What the first queue did behind the mark has no order with the second.
    same("what was done behind the mark", &bench.read(memory.at + 32, 32)?, &[2; 32])
}

fn a_queue_follows_what_has_passed(bench: &Bench) -> Verdict {
    let memory = bench.map(64)?;
    let (first, second) = (bench.queue()?, bench.queue()?);
    first.submit(fill(memory.at, 1, 64))?;
    let mark = first.mark(false)?;
    mark.wait()?;
    drop(first);
    second.follow(mark.as_ref())?;
    second.run(fill(memory.at, 2, 64))?;
    same("what followed", &bench.read(memory.at, 64)?, &[2; 64])
}

fn a_queue_follows_itself(bench: &Bench) -> Verdict {
    let memory = bench.map(64)?;
    let queue = bench.queue()?;
    queue.submit(fill(memory.at, 1, 64))?;
    let mark = queue.mark(true)?;
    queue.follow(mark.as_ref())?;
    queue.run(fill(memory.at, 2, 64))?;
    same("what followed", &bench.read(memory.at, 64)?, &[2; 64])
}

fn a_chain_of_queues_is_in_order(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let gate = Gate::new(bench, &kernels)?;
    let numbers: Vec<u32> = (0..64).collect();
    let memory = bench.numbers(&numbers)?;
    let queues = (0..4).map(|_| bench.queue()).collect::<Result<Vec<_>, _>>()?;
    queues[0].follow(gate.mark())?;
    let mut last: Option<Arc<dyn Mark>> = None;
    for round in 0..12usize {
        let queue = &queues[round % 4];
        if let Some(mark) = &last {
            queue.follow(mark.as_ref())?;
        }
        let params = Params::new().u64(memory.at).u64(memory.at).u32(3).u32(64);
        queue.submit(launch(crate::Launch { block: [64, 1, 1], ..kernels.launch("scale", params)? }))?;
        queue.submit(launch(kernels.launch("add", Params::new().u64(memory.at).u32(1))?))?;
        last = Some(queue.mark(false)?);
    }
    gate.pass()?;
    last.ok_or("no marks")?.wait()?;
    let factor = 3u32.pow(12);
    let mut want: Vec<u32> = numbers.iter().map(|n| n.wrapping_mul(factor)).collect();
    // n becomes 3n + 1 twelve times.
    want[0] = (factor - 1) / 2;
    same_numbers("what came out of the chain", &bench.read_numbers(memory.at, 64)?, &want)
}

struct Stranger;

impl Assembly for Stranger {}

impl Mark for Stranger {
    fn poll(&self) -> Result<bool, DeviceError> {
        Ok(true)
    }

    fn wait(&self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn since(&self, _earlier: &dyn Mark) -> Result<i64, DeviceError> {
        Ok(0)
    }
}

fn marks_of_others_are_refused(bench: &Bench) -> Verdict {
    let queue = bench.queue()?;
    let invalid = &[ErrorKind::InvalidRequest];
    refused("following a stranger", queue.follow(&Stranger), invalid)?;
    let mark = queue.mark(true)?;
    mark.wait()?;
    refused("the time since a stranger", mark.since(&Stranger), invalid)
}

fn a_closed_queue_still_does_its_work(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    for _ in 0..20 {
        let queue = bench.queue()?;
        for _ in 0..20 {
            queue.submit(launch(kernels.launch("add", Params::new().u64(memory.at).u32(1))?))?;
        }
        let mark = queue.mark(false)?;
        drop(queue);
        mark.wait()?;
    }
    same_numbers("what closed queues added", &bench.read_numbers(memory.at, 1)?, &[400])
}

fn a_mark_outlives_its_queue(bench: &Bench) -> Verdict {
    let (first, second) = (bench.queue()?, bench.queue()?);
    let (a, b) = (first.mark(true)?, second.mark(true)?);
    drop((first, second));
    a.wait()?;
    b.wait()?;
    ensure!(a.poll()? && b.poll()?, "marks of closed queues are not passed");
    ensure!(a.since(b.as_ref())? == -b.since(a.as_ref())?, "marks of closed queues have no times");
    Ok(())
}

fn queues_of_all_priorities_work(bench: &Bench) -> Verdict {
    let memory = bench.map(64)?;
    let (least, greatest) = bench.caps().priorities;
    for (n, priority) in [least, greatest, i32::MAX, i32::MIN].into_iter().enumerate() {
        let queue = bench.device.open_queue(priority)?;
        queue.run(fill(memory.at, n as u8 + 1, 64))?;
        same("what a queue did", &bench.read(memory.at, 64)?, &[n as u8 + 1; 64])?;
    }
    Ok(())
}

fn many_queues_work(bench: &Bench) -> Verdict {
    const COUNT: usize = 100;
    let memory = bench.map(COUNT as u64 * 16)?;
    let queues = (0..COUNT).map(|_| bench.queue()).collect::<Result<Vec<_>, _>>()?;
    for (n, queue) in queues.iter().enumerate() {
        queue.submit(fill(memory.at + n as u64 * 16, n as u8, 16))?;
    }
    for queue in &queues {
        queue.mark(false)?.wait()?;
    }
    let want: Vec<u8> = (0..COUNT).flat_map(|n| [n as u8; 16]).collect();
    same("what many queues did", &bench.read(memory.at, want.len())?, &want)
}

/// Runs threads that each give a verdict.
fn together(count: u32, each: impl Fn(u32) -> Verdict + Sync) -> Verdict {
    std::thread::scope(|scope| {
        let each = &each;
        let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || each(n))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })
}

fn threads_have_queues_of_their_own(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    together(8, |thread| {
        const BYTES: usize = 4096;
        let (memory, result) = (bench.map(BYTES as u64)?, host(BYTES)?);
        let queue = bench.queue()?;
        for round in 0..25 {
            let data = noise(thread * 100 + round, BYTES);
            let from = HostBuffer::from(data.clone());
            queue.submit(line(Place::Device(memory.at), Place::Host(from.span()), BYTES as u64))?;
            let params = Params::new().u64(memory.at).u64(memory.at).u32(thread + 2).u32(BYTES as u32 / 4);
            let grid = [BYTES as u32 / 4 / 128, 1, 1];
            queue.submit(launch(crate::Launch { grid, block: [128, 1, 1], ..kernels.launch("scale", params)? }))?;
            queue.submit(line(Place::Host(result.span()), Place::Device(memory.at), BYTES as u64))?;
            queue.mark(round % 2 == 0)?.wait()?;
            let scaled = super::bench::numbers_of(&data).into_iter().map(|n| n.wrapping_mul(thread + 2));
            same("what a thread's queue did", &result.to_vec(), &bytes_of(&scaled.collect::<Vec<_>>()))?;
        }
        Ok(())
    })
}

fn threads_share_a_queue(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    let queue = bench.queue()?;
    together(8, |thread| {
        for round in 0..50 {
            let work = launch(kernels.launch("add", Params::new().u64(memory.at).u32(thread + 1))?);
            match round % 5 {
                0 => queue.run(work)?,
                _ => queue.submit(work)?,
            }
        }
        Ok(queue.mark(false)?.wait()?)
    })?;
    same_numbers("what threads added", &bench.read_numbers(memory.at, 1)?, &[50 * 36])
}

fn running_is_submitting_and_waiting(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    let queue = bench.queue()?;
    let add = |value| Ok::<_, Stop>(launch(kernels.launch("add", Params::new().u64(memory.at).u32(value))?));
    queue.run(add(1)?)?;
    same_numbers("after one", &bench.read_numbers(memory.at, 1)?, &[1])?;
    for _ in 0..10 {
        queue.submit(add(10)?)?;
    }
    queue.run(add(1)?)?;
    same_numbers("behind others", &bench.read_numbers(memory.at, 1)?, &[102])?;
    let gate = Gate::new(bench, &kernels)?;
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| gate.queue.run(add(1)?).map_err(Stop::from));
        std::thread::sleep(Duration::from_millis(5));
        let early = runner.is_finished();
        gate.open()?;
        runner.join().unwrap_or_else(|_| Err("a thread panicked".into()))?;
        ensure!(!early, "work was run before what stands before it");
        Ok(())
    })?;
    same_numbers("behind a gate", &bench.read_numbers(memory.at, 1)?, &[103])
}

fn assembled(bench: &Bench, steps: &[Step]) -> Result<Arc<dyn Assembly>, Stop> {
    let made = bench.device.assemble(steps)?;
    made.ok_or_else(|| Stop::Skipped("the device puts no steps together".into()))
}

fn assembled_steps_are_done_each_time(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let (memory, host) = (bench.numbers(&[0; 64])?, host(256)?);
    let [a, b, c] = [memory.at, memory.at + 64, memory.at + 128];
    let add = |at, value| Ok::<_, Stop>(launch(kernels.launch("add", Params::new().u64(at).u32(value))?));
    let wide = Fill::line(b, Pattern::new(&7u64.to_le_bytes()).ok_or("a pattern of eight bytes")?, 2);
    let steps = [
        // Two branches, and what comes of both.
        Step { work: add(a, 1)?, after: vec![] },
        Step { work: Work::Fill(wide), after: vec![] },
        Step { work: add(b, 5)?, after: vec![1] },
        Step { work: line(Place::Device(c), Place::Device(a), 4), after: vec![0] },
        Step { work: line(Place::Device(c + 4), Place::Device(b), 16), after: vec![2] },
        Step { work: add(c + 4, 100)?, after: vec![3, 4] },
        Step { work: line(Place::Host(host.span()), Place::Device(memory.at), 256), after: vec![0, 5] },
    ];
    let assembly = assembled(bench, &steps)?;
    let queue = bench.queue()?;
    let mut want = vec![0; 64];
    (want[16], want[18]) = (12, 7);
    for round in 1..=20 {
        queue.submit_assembly(&assembly)?;
        // What stands behind it waits for all of it.
        queue.submit(launch(kernels.launch("add", Params::new().u64(c).u32(1000))?))?;
        queue.finish()?;
        (want[0], want[32]) = (round, round);
        (want[33], want[35]) = (112, 7);
        same_numbers("what the host was given", &super::bench::numbers_of(&host.to_vec()), &want)?;
        want[32] = round + 1000;
        same_numbers("what is there", &bench.read_numbers(memory.at, 64)?, &want)?;
        want[32] = 0;
    }
    Ok(())
}

fn an_assembly_is_done_though_nobody_has_it(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    let add = || Ok::<_, Stop>(launch(kernels.launch("add", Params::new().u64(memory.at).u32(1))?));
    let steps: Vec<Step> = (0..20usize)
        .map(|number| Ok(Step { work: add()?, after: number.checked_sub(1).into_iter().collect() }))
        .collect::<Result<_, Stop>>()?;
    let assembly = assembled(bench, &steps)?;
    let gate = Gate::new(bench, &kernels)?;
    gate.queue.submit_assembly(&assembly)?;
    gate.queue.submit_assembly(&assembly)?;
    drop((assembly, steps));
    same_numbers("in front of the gate", &bench.read_numbers(memory.at, 1)?, &[0])?;
    gate.pass()?;
    same_numbers("behind it", &bench.read_numbers(memory.at, 1)?, &[40])
}

fn assemblies_of_others_are_refused(bench: &Bench) -> Verdict {
    let stranger: Arc<dyn Assembly> = Arc::new(Stranger);
    refused("a stranger's assembly", bench.queue()?.submit_assembly(&stranger), &[ErrorKind::InvalidRequest])
}

fn queues_make_progress_at_the_same_time(bench: &Bench) -> Verdict {
    if bench.caps().concurrent_queues < 2 {
        return Err(Stop::Skipped("the device says that one queue makes progress at a time".into()));
    }
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(8)?;
    for name in ["wait", "signal"] {
        bench.device.prepare(kernels.loaded, kernels.id(name)?, [1; 3], Extent::Whole)?;
    }
    let (waits, signals) = (bench.queue()?, bench.queue()?);
    waits.submit(launch(kernels.launch("wait", Params::new().u64(memory.at).u64(memory.at + 4))?))?;
    let mark = waits.mark(false)?;
    std::thread::sleep(Duration::from_millis(2));
    signals.submit(launch(kernels.launch("signal", Params::new().u64(memory.at).u32(5))?))?;
    let start = Instant::now();
    while !mark.poll()? && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(200));
    }
    ensure!(mark.poll()?, "a kernel never saw what a kernel of another queue wrote");
    same_numbers("what was seen", &bench.read_numbers(memory.at, 2)?, &[5, 5])
}

fn listeners_hear_before_marks_pass(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let queue = bench.queue()?;
    let ears: Vec<Arc<Ears>> = (0..10).map(|_| Arc::default()).collect();
    for ears in &ears {
        let listener: Arc<dyn crate::Listener> = ears.clone();
        queue.submit(launch(crate::Launch { listener, ..kernels.launch("say", Params::new())? }))?;
    }
    queue.mark(false)?.wait()?;
    for ears in &ears {
        let heard = ears.heard();
        same("what was printed", &heard.printed, b"thread 0\n")?;
        ensure!(heard.ends == [crate::Outcome::Finished], "the ends of a launch: {:?}", heard.ends);
        ensure!(heard.complaints.is_empty(), "a complaint about nothing");
    }
    Ok(())
}
