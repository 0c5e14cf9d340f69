use super::bench::{Bench, Ears, Gate, KERNELS, Params, fill, launch, noise, refused, same, same_numbers};
use super::{Check, Stop, Verdict, checks, ensure};
use crate::{DeviceError, ErrorKind, Launch, Work};
use std::sync::Arc;

checks! {
    a_trap_ends_its_launch
    a_write_outside_of_memory_is_an_error
    a_read_outside_of_memory_is_an_error
    a_misaligned_access_is_an_error
    endless_recursion_is_an_error
    a_failed_assertion_complains
    too_much_shared_memory_is_refused
    blocks_that_are_too_large_are_refused
    empty_grids_are_refused
    a_fault_names_its_kernel
    a_fault_ends_its_queue
    a_fault_leaves_other_queues_alone
    a_queue_goes_on_behind_a_fault_that_it_follows
    faults_leave_memory_alone
    faults_beside_other_threads
}

/// Faults of a kernel: the one that the manuals name first.
const ADDRESS: &[ErrorKind] = &[ErrorKind::IllegalAddress];

/// A launch that must fail, and everything after it that must not.
fn fault(bench: &Bench, kernel: &str, params: Params, kinds: &[ErrorKind]) -> Verdict {
    {
        let kernels = bench.load(KERNELS)?;
        let outcome = bench.run_raw(launch(kernels.launch(kernel, params)?));
        bench.hurt();
        refused(kernel, outcome, kinds)?;
    }
    bench.recover()?;
    works(bench)
}

/// A device does what it should.
fn works(bench: &Bench) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(256)?;
    let description = kernels.launch("index", Params::new().u64(memory.at))?;
    bench.run(launch(Launch { grid: [2, 1, 1], block: [32, 1, 1], ..description }))?;
    let want: Vec<u32> = (1..=64).collect();
    same_numbers("a launch after a fault", &bench.read_numbers(memory.at, 64)?, &want)
}

fn a_trap_ends_its_launch(bench: &Bench) -> Verdict {
    fault(bench, "crash", Params::new(), &[ErrorKind::LaunchFailed])
}

fn a_write_outside_of_memory_is_an_error(bench: &Bench) -> Verdict {
    for at in [0, 64, bench.addresses(4096), 0x7fff_ffff_ffff_f000, u64::MAX - 3] {
        fault(bench, "write_at", Params::new().u64(at).u32(1), ADDRESS)?;
    }
    let memory = bench.map(4096)?;
    let (at, end) = (memory.at, memory.at + memory.bytes);
    fault(bench, "write_at", Params::new().u64(end).u32(1), ADDRESS)?;
    drop(memory);
    fault(bench, "write_at", Params::new().u64(at).u32(1), ADDRESS)
}

fn a_read_outside_of_memory_is_an_error(bench: &Bench) -> Verdict {
    for at in [0, bench.addresses(4096)] {
        let out = bench.map(4)?;
        fault(bench, "read_at", Params::new().u64(at).u64(out.at), ADDRESS)?;
    }
    Ok(())
}

fn a_misaligned_access_is_an_error(bench: &Bench) -> Verdict {
    let memory = bench.map(64)?;
    fault(bench, "write_at", Params::new().u64(memory.at + 2).u32(1), &[ErrorKind::Misaligned])
}

fn endless_recursion_is_an_error(bench: &Bench) -> Verdict {
    let out = bench.map(4)?;
    let kinds = [ErrorKind::StackOverflow, ErrorKind::IllegalAddress, ErrorKind::LaunchFailed];
    fault(bench, "deep", Params::new().u64(out.at), &kinds)
}

fn a_failed_assertion_complains(bench: &Bench) -> Verdict {
    {
        let kernels = bench.load(KERNELS)?;
        let quiet = Arc::new(Ears::default());
        let description = kernels.launch("claim", Params::new().u32(2))?;
        bench.run(launch(Launch { listener: quiet.clone(), block: [32, 1, 1], ..description }))?;
        ensure!(quiet.heard().complaints.is_empty(), "a complaint about what holds");
        let ears = Arc::new(Ears::default());
        let description = kernels.launch("claim", Params::new().u32(3))?;
        let outcome = bench.run_raw(launch(Launch { listener: ears.clone(), ..description }));
        bench.hurt();
        refused("claim", outcome, &[ErrorKind::Assert])?;
        let heard = ears.heard();
        let text = String::from_utf8_lossy(&heard.complaints).into_owned();
        ensure!(text.contains("x < 3") && text.contains("a.het") && text.contains('7'), "the complaint is {text:?}");
        ensure!(heard.ends.is_empty(), "a launch that failed has ended well: {:?}", heard.ends);
    }
    bench.recover()?;
    works(bench)
}

/// What is wrong with a launch before it begins; the device goes on.
fn impossible(bench: &Bench, change: impl FnOnce(&mut Launch)) -> Verdict {
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(4)?;
    let mut description = kernels.launch("add", Params::new().u64(memory.at).u32(1))?;
    change(&mut description);
    let outcome = bench.run_raw(launch(description));
    refused("an impossible launch", outcome, &[ErrorKind::OutOfResources, ErrorKind::InvalidRequest])?;
    same_numbers("untouched memory", &bench.read_numbers(memory.at, 1)?, &[0])?;
    works(bench)
}

fn too_much_shared_memory_is_refused(bench: &Bench) -> Verdict {
    impossible(bench, |launch| launch.dynamic_shared = bench.caps().shared_per_block_max + 16)?;
    impossible(bench, |launch| launch.dynamic_shared = u32::MAX - 15)
}

fn blocks_that_are_too_large_are_refused(bench: &Bench) -> Verdict {
    impossible(bench, |launch| launch.block = [bench.caps().threads_per_block, 2, 1])?;
    impossible(bench, |launch| launch.block = [u32::MAX; 3])
}

fn empty_grids_are_refused(bench: &Bench) -> Verdict {
    impossible(bench, |launch| launch.grid = [1, 0, 1])?;
    impossible(bench, |launch| launch.block = [1, 1, 0])
}

fn a_fault_names_its_kernel(bench: &Bench) -> Verdict {
    if !bench.caps().survives_faults {
        return Err(Stop::Skipped("the hardware does not say which kernel it was".into()));
    }
    let kernels = bench.load(KERNELS)?;
    match bench.run_raw(launch(kernels.launch("crash", Params::new())?)) {
        Err(error) => {
            ensure!(error.to_string().contains("crash"), "the message is {error}");
            Ok(())
        }
        Ok(()) => Err("a trap did not end its launch".into()),
    }
}

fn kind(result: Result<(), DeviceError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

fn a_fault_ends_its_queue(bench: &Bench) -> Verdict {
    {
        let kernels = bench.load(KERNELS)?;
        let memory = bench.map(64)?;
        let queue = bench.queue()?;
        let before = queue.mark(false)?;
        queue.submit(launch(kernels.launch("crash", Params::new())?))?;
        bench.hurt();
        // A device may notice the fault when more is submitted, or at the mark.
        let failed = Some(ErrorKind::LaunchFailed);
        let more = kind(queue.submit(fill(memory.at, 1, 64)));
        ensure!(more.is_none() || more == failed, "more work: {more:?}");
        for timed in [false, true] {
            let mark = queue.mark(timed).and_then(|mark| mark.wait().map(|()| mark));
            ensure!(kind(mark.map(drop)) == failed, "a mark behind a fault is passed");
        }
        ensure!(kind(queue.run(fill(memory.at, 1, 64))) == failed, "work behind a fault was done");
        if bench.caps().survives_faults {
            before.wait()?;
            ensure!(before.poll()?, "a mark before a fault is not passed");
            same("untouched memory", &bench.read(memory.at, 64)?, &[0; 64])?;
        }
    }
    bench.recover()?;
    works(bench)
}

fn survives(bench: &Bench) -> Verdict {
    match bench.caps().survives_faults {
        true => Ok(()),
        false => Err(Stop::Skipped("a fault takes the device with it".into())),
    }
}

fn a_fault_leaves_other_queues_alone(bench: &Bench) -> Verdict {
    survives(bench)?;
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(64)?;
    let (bad, good) = (bench.queue()?, bench.queue()?);
    for round in 0..10 {
        good.submit(fill(memory.at, round, 64))?;
        // The first one ends its queue.
        let _ = bad.submit(launch(kernels.launch("crash", Params::new())?));
    }
    ensure!(bad.mark(false)?.wait().is_err(), "a trap did not end its launch");
    good.mark(false)?.wait()?;
    same("what the other queue did", &bench.read(memory.at, 64)?, &[9; 64])
}

fn a_queue_goes_on_behind_a_fault_that_it_follows(bench: &Bench) -> Verdict {
    survives(bench)?;
    let kernels = bench.load(KERNELS)?;
    let memory = bench.map(64)?;
    let gate = Gate::new(bench, &kernels)?;
    let follower = bench.queue()?;
    gate.queue.submit(launch(kernels.launch("crash", Params::new())?))?;
    let mark = gate.queue.mark(false)?;
    follower.follow(mark.as_ref())?;
    follower.submit(fill(memory.at, 3, 64))?;
    let done = follower.mark(false)?;
    ensure!(!done.poll()?, "a queue does not wait for the mark that it follows");
    gate.open()?;
    ensure!(kind(mark.wait()) == Some(ErrorKind::LaunchFailed), "a mark behind a fault is passed");
    done.wait()?;
    same("what the following queue did", &bench.read(memory.at, 64)?, &[3; 64])
}

fn faults_leave_memory_alone(bench: &Bench) -> Verdict {
    survives(bench)?;
    let kernels = bench.load(KERNELS)?;
    let data = noise(5, 10_000);
    let memory = bench.filled(&data)?;
    let nowhere = bench.addresses(4096);
    for round in 0..20u32 {
        let work = match round % 3 {
            0 => kernels.launch("crash", Params::new())?,
            1 => kernels.launch("write_at", Params::new().u64(nowhere).u32(1))?,
            _ => kernels.launch("write_at", Params::new().u64(memory.at + 1).u32(1))?,
        };
        let work: Work = launch(Launch { grid: [3, 1, 1], block: [64, 1, 1], ..work });
        ensure!(bench.run_raw(work).is_err(), "a fault did not end its launch");
        works(bench)?;
    }
    same("memory after many faults", &bench.read(memory.at, data.len())?, &data)
}

fn faults_beside_other_threads(bench: &Bench) -> Verdict {
    survives(bench)?;
    let kernels = bench.load(KERNELS)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|thread| {
                let kernels = &kernels;
                scope.spawn(move || -> Verdict {
                    for _ in 0..10 {
                        if thread % 2 == 0 {
                            works(bench)?;
                        } else {
                            let outcome = bench.run_raw(launch(kernels.launch("crash", Params::new())?));
                            ensure!(kind(outcome) == Some(ErrorKind::LaunchFailed), "a trap did not end its launch");
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })
}
