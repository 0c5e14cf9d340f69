//! The process that talks to the driver. It reads `RUN PATH` lines, runs the file from that run on, and answers with one
//! JSON object a line for each run and `{"done": true}` behind the last. A fault leaves the context unusable, so the
//! process ends after it.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use hetgpu_tests::engine::{self, Engine, Failure, Printed, initial_buffers, judge, needs_oracle};
use hetgpu_tests::engines;
use hetgpu_tests::files::fingerprint;
use hetgpu_tests::header::{Arg, Filetest, Run};
use serde_json::{Value, json};

use crate::driver::Driver;
use crate::hardware;

/// So many elements of a wrong buffer are reported.
const SHOWN: usize = 256;

/// What runs the files.
enum Runner {
    Driver(Box<Driver>),
    Engine(Arc<dyn Engine>),
}

impl Runner {
    fn skips(&self, filetest: &Filetest, source: &str, run: &Run, device: &str) -> Option<String> {
        match self {
            Self::Driver(driver) => hardware::skipped(filetest, run, device, &driver.has_images()),
            Self::Engine(engine) => {
                engine.skips(source, run).or_else(|| hardware::skipped(filetest, run, device, &Ok(())))
            }
        }
    }

    fn run(&self, source: &str, run: &Run, buffers: &mut [Vec<u8>]) -> Result<Printed, Failure> {
        match self {
            Self::Driver(driver) => hardware::run(driver, source, run, buffers),
            Self::Engine(engine) => engine.run(source, run, 0, buffers),
        }
    }
}

/// Serves with the driver at a path, or with an engine.
pub(crate) fn serve(libcuda: &Path, device: &str, engine: Option<&str>) -> Result<(), String> {
    let runner = match engine {
        Some(name) => Runner::Engine(engines::named(name)?),
        None => Runner::Driver(Box::new(Driver::open(libcuda)?)),
    };
    match &runner {
        Runner::Driver(driver) => {
            answer(&json!({ "device": driver.device, "cuda": driver.version, "driver": release() }))?;
        }
        Runner::Engine(engine) => answer(&json!({ "device": engine.name(), "cuda": 0, "driver": release() }))?,
    }
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let (first, path) = line.split_once(' ').ok_or("a request is `RUN PATH`")?;
        let first = first.parse().map_err(|_| "a request begins with a number")?;
        if file(&runner, device, Path::new(path), first)? == Context::Lost {
            return Ok(());
        }
        answer(&json!({ "done": true }))?;
    }
    Ok(())
}

/// The release of the driver, which its own interface does not tell.
pub(crate) fn release() -> String {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let mut words = text.split_whitespace().filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    words.find(|word| word.contains('.')).unwrap_or("unknown").to_string()
}

#[derive(PartialEq, Eq)]
enum Context {
    Usable,
    Lost,
}

fn answer(value: &Value) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    // The driver writes what kernels print to the same stream, with or without an end of line.
    writeln!(out, "\n{value}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}

fn file(runner: &Runner, device: &str, path: &Path, first: usize) -> Result<Context, String> {
    let parsed = std::fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|source| {
        Filetest::parse(&source).map(|filetest| (source, filetest)).map_err(|error| error.to_string())
    });
    let (source, filetest) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            answer(&json!({ "status": "broken", "detail": error }))?;
            return Ok(Context::Usable);
        }
    };
    for (index, run) in filetest.runs.iter().enumerate().skip(first) {
        let (mut report, context) = match runner.skips(&filetest, &source, run, device) {
            Some(reason) => (json!({ "status": "skipped", "detail": reason }), Context::Usable),
            None => one(runner, device, &source, run),
        };
        report["fingerprint"] = json!(format!("{:016x}", fingerprint(&source)));
        report["run"] = json!(index);
        report["kernel"] = json!(run.kernel);
        answer(&report)?;
        if context == Context::Lost {
            return Ok(context);
        }
    }
    Ok(Context::Usable)
}

fn one(runner: &Runner, device: &str, source: &str, run: &Run) -> (Value, Context) {
    let mut reference = None;
    if needs_oracle(run) {
        let mut buffers = initial_buffers(run);
        let computed = engines::oracle().run(source, run, 0, &mut buffers);
        if let Err(failure) = computed {
            return (json!({ "status": "broken", "detail": format!("the oracle itself: {failure}") }), Context::Usable);
        }
        reference = Some(buffers);
    }
    let mut buffers = initial_buffers(run);
    let result = runner.run(source, run, &mut buffers);
    // An engine that broke may have lost its device.
    let lost = match &result {
        Err(Failure::Fault { .. }) => true,
        Err(Failure::Broken(_)) => matches!(runner, Runner::Engine(_)),
        _ => false,
    };
    let context = if lost { Context::Lost } else { Context::Usable };
    let status = match &result {
        Ok(_) => "mismatch",
        Err(Failure::Refused { .. }) => "refused",
        Err(Failure::Fault { .. }) => "fault",
        Err(Failure::Broken(_)) => "broken",
    };
    let mismatch = result.is_ok();
    let verdict = judge(run, result, &buffers, reference.as_deref());
    let report = match engine::with_xfail(run, device, verdict) {
        Ok(()) => json!({ "status": "ok" }),
        Err(detail) if mismatch => json!({ "status": status, "detail": detail, "got": got(run, &buffers) }),
        Err(detail) => json!({ "status": status, "detail": detail }),
    };
    (report, context)
}

/// What the buffers hold, as literals.
fn got(run: &Run, buffers: &[Vec<u8>]) -> Value {
    let mut all = serde_json::Map::new();
    let mut buffers = buffers.iter();
    for (index, arg) in run.args.iter().enumerate() {
        let Arg::Buffer(buffer) = arg else { continue };
        let Some(bytes) = buffers.next() else { break };
        let width = 2 * buffer.elem.size();
        let literal = |k| format!("0x{:0width$x}", buffer.elem.load(bytes, k));
        all.insert(format!("arg{index}"), (0..buffer.len.min(SHOWN)).map(literal).collect());
    }
    Value::Object(all)
}
