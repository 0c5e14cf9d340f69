//! `hetgpu-conformance DEVICE [NAME]`: what every device must do, checked on one; only trials with NAME in their name.

use hetgpu_device::conformance::{self, Stop};
use hetgpu_tests::devices;
use std::process::ExitCode;
use std::time::Instant;

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
    for trial in conformance::trials(&device).into_iter().filter(|trial| trial.name.contains(part)) {
        let (name, start) = (trial.name.clone(), Instant::now());
        let verdict = trial.run();
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
