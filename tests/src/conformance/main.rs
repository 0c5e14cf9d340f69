//! `hetgpu-conformance DEVICE [NAME]`: what every device must do, checked on one; only trials with NAME in their name, or of the name that
//! follows `=`.

use hetgpu_device::conformance::{self, Stop, Trial};
use hetgpu_tests::devices;
use std::collections::VecDeque;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Far more than any trial needs.
const LIMIT: Duration = Duration::from_secs(120);

/// The verdict of a trial that comes to an end. A device that hangs is of no use to those behind it.
fn within_limit(trial: Trial) -> Option<Result<(), Stop>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(trial.run()));
    receive.recv_timeout(LIMIT).ok()
}

/// Each trial in a process of its own, for devices that a fault takes with it for good.
fn apart(device: &str, names: &[String]) -> Result<[usize; 3], String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let jobs = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_JOBS));
    let (next, counts) = (AtomicUsize::new(0), Mutex::new([0; 3]));
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let ran = Command::new(&program).args([device, &format!("={name}")]).output();
            let text = ran.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned()).unwrap_or_default();
            let verdict = text.lines().find(|line| VERDICTS.iter().any(|verdict| line.starts_with(verdict)));
            match verdict {
                Some(line) => println!("{line}"),
                None => println!("FAILED  {name}: its process ended without a verdict"),
            }
            let kind = verdict.and_then(|line| VERDICTS.iter().position(|verdict| line.starts_with(verdict)));
            counts.lock().unwrap_or_else(PoisonError::into_inner)[kind.unwrap_or(1)] += 1;
        }
    };
    std::thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
    let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(counts)
}

/// Processes at the same time.
const MOST_JOBS: usize = 8;

/// What a verdict's line begins with.
const VERDICTS: [&str; 3] = ["ok ", "FAILED ", "skipped "];

fn summary([passed, failed, skipped]: [usize; 3]) -> ExitCode {
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (device, part) = match &arguments[..] {
        [device] => (device, ""),
        [device, part] => (device, part.as_str()),
        _ => {
            eprintln!("hetgpu-conformance DEVICE [NAME|=NAME]; DEVICE: {}", devices::names());
            return ExitCode::FAILURE;
        }
    };
    let name = device;
    let device = match devices::open(name) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // What a panicking check says is part of its verdict.
    std::panic::set_hook(Box::new(|_| ()));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut trials: VecDeque<Trial> = conformance::trials(&device.device).into();
    trials.retain(|trial| match part.strip_prefix('=') {
        Some(whole) => trial.name == whole,
        None => trial.name.contains(part),
    });
    if !device.device.caps().survives_faults && !part.starts_with('=') {
        let names: Vec<String> = trials.iter().map(|trial| trial.name.clone()).collect();
        return match apart(name, &names) {
            Ok(counts) => summary(counts),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    while let Some(trial) = trials.pop_front() {
        let (name, start) = (trial.name.clone(), Instant::now());
        let Some(verdict) = within_limit(trial) else {
            failed += 1 + trials.len();
            println!("FAILED  {name}: no end after {LIMIT:?}; {} trials behind it were not tried", trials.len());
            break;
        };
        let time = start.elapsed().as_secs_f64() * 1e3;
        match verdict {
            Ok(()) | Err(Stop::Enough) => {
                passed += 1;
                println!("ok      {name} ({time:.0} ms)");
            }
            Err(Stop::Skipped(reason)) => {
                skipped += 1;
                println!("skipped {name}: {reason}");
            }
            Err(Stop::Failed(reason)) => {
                failed += 1;
                println!("FAILED  {name} ({time:.0} ms): {reason}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
