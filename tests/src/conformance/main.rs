//! `hetgpu-conformance DEVICE [NAME]`: what every device must do, checked on one; only trials with NAME in their name.

use hetgpu_device::conformance::{self, Stop, Trial};
use hetgpu_tests::devices;
use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Far more than any trial needs.
const LIMIT: Duration = Duration::from_secs(120);

/// The verdict of a trial that comes to an end. A device that hangs is of no use to those behind it.
fn within_limit(trial: Trial) -> Option<Result<(), Stop>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(trial.run()));
    receive.recv_timeout(LIMIT).ok()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (device, part) = match &arguments[..] {
        [device] => (device, ""),
        [device, part] => (device, part.as_str()),
        _ => {
            eprintln!("hetgpu-conformance DEVICE [NAME]; DEVICE: {}", devices::names());
            return ExitCode::FAILURE;
        }
    };
    let device = match devices::open(device) {
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
    trials.retain(|trial| trial.name.contains(part));
    while let Some(trial) = trials.pop_front() {
        let (name, start) = (trial.name.clone(), Instant::now());
        let Some(verdict) = within_limit(trial) else {
            failed += 1 + trials.len();
            println!("FAILED  {name}: no end after {LIMIT:?}; {} trials behind it were not tried", trials.len());
            break;
        };
        let time = start.elapsed().as_secs_f64() * 1e3;
        match verdict {
            Ok(()) => {
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
