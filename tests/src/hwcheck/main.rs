//! `hetgpu-hwcheck`: runs filetests on NVIDIA's own driver and compares. It needs nothing but this binary, the files and
//! libcuda.so.1.

mod driver;
mod hardware;
mod sweep;
mod textures;
mod worker;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hetgpu_tests::files::{self, File};
use hetgpu_tests::record::{Outcome, Record};
use serde_json::{Value, json};

const USAGE: &str = "\
hetgpu-hwcheck [--libcuda PATH] [--device NAME] [--report FILE] [--record FILE] [--only NAME] [--jobs N] [--seconds N] DIR...
  runs every .ptx file below the folders on device 0 of NVIDIA's driver and compares it with its header
  --libcuda PATH  the driver library; else the usual places are tried
  --device NAME   the device that `xfail` names (hardware); another one is tried on what the hardware cannot do, too
  --engine NAME   instead of the driver itself, a device of this project (nvidia), or a ring of them (ring:nvidia+cpu)
  --report FILE   writes the results as JSON, with what the wrong buffers hold
  --record FILE   writes the results as tests/hardware/h200.tsv has them
  --only NAME     only files whose name contains NAME
  --jobs N        processes at the same time (4)
  --seconds N     longest time for one launch (60)
  --sweep N       instead of files, N inputs to each form of arithmetic and conversion, against the interpreter
  --texture-sweep N  instead of files, N inputs to each way of reading textures, against the interpreter; --record FILE is
                  where the raw outcomes go
  --texture-replay N  compares what --texture-sweep recorded with the interpreter, without a driver
  --seed N        other inputs to textures
  --interpreter   the interpreter in place of the driver, in the sweep of textures";

/// Where the driver's library usually is. It is opened by an absolute path so that a library of the same name in the
/// search path is not taken for it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
];

/// A file that makes the process end before it says how many runs there are is given up after so many.
const MOST_RUNS: usize = 100;

struct Settings {
    libcuda: Option<PathBuf>,
    device: String,
    engine: Option<String>,
    report: Option<PathBuf>,
    record: Option<PathBuf>,
    only: String,
    jobs: usize,
    seconds: u64,
    folders: Vec<PathBuf>,
    is_worker: bool,
    sweep: Option<usize>,
    textures: Option<Textures>,
}

/// The sweep of textures.
#[derive(Default)]
struct Textures {
    count: usize,
    seed: usize,
    is_replay: bool,
    on_interpreter: bool,
    /// In a process that runs the cases from this one on.
    first: Option<usize>,
}

fn main() -> ExitCode {
    let result = settings().and_then(|settings| {
        if let Some(count) = settings.sweep {
            let library = library(&settings)?;
            let (report, record) = (settings.report.as_deref(), settings.record.as_deref());
            return sweep::sweep(&library, count, &settings.only, report, record, today());
        }
        if let Some(textures) = &settings.textures {
            return sweep_textures(&settings, textures);
        }
        if !settings.is_worker {
            return check(&settings);
        }
        let library = library(&settings)?;
        worker::serve(&library, &settings.device, settings.engine.as_deref()).map(|()| true)
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn settings() -> Result<Settings, String> {
    let mut out = Settings {
        libcuda: None,
        device: hardware::HARDWARE.into(),
        engine: None,
        report: None,
        record: None,
        only: String::new(),
        jobs: 4,
        seconds: 60,
        folders: Vec::new(),
        is_worker: false,
        sweep: None,
        textures: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        let number = |text: String| match text.parse::<usize>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("`{text}` is no positive number")),
        };
        match argument.as_str() {
            "--libcuda" => out.libcuda = Some(value()?.into()),
            "--device" => out.device = value()?,
            "--engine" => out.engine = Some(value()?),
            "--report" => out.report = Some(value()?.into()),
            "--record" => out.record = Some(value()?.into()),
            "--only" => out.only = value()?,
            "--jobs" => out.jobs = number(value()?)?,
            "--seconds" => out.seconds = number(value()?)? as u64,
            "--sweep" => out.sweep = Some(number(value()?)?),
            "--texture-sweep" => out.textures.get_or_insert_default().count = number(value()?)?,
            "--texture-replay" => {
                let textures = out.textures.get_or_insert_default();
                (textures.count, textures.is_replay) = (number(value()?)?, true);
            }
            "--seed" => {
                let seed = value()?.parse().map_err(|_| "`--seed` needs a number")?;
                out.textures.get_or_insert_default().seed = seed;
            }
            "--interpreter" => out.textures.get_or_insert_default().on_interpreter = true,
            "--texture-worker" => {
                let first = value()?.parse().map_err(|_| "`--texture-worker` needs a number")?;
                out.textures.get_or_insert_default().first = Some(first);
            }
            "--worker" => out.is_worker = true,
            flag if flag.starts_with('-') => return Err(USAGE.into()),
            folder => out.folders.push(folder.into()),
        }
    }
    if out.folders.is_empty() && !out.is_worker && out.sweep.is_none() && out.textures.is_none() {
        return Err(USAGE.into());
    }
    Ok(out)
}

fn sweep_textures(settings: &Settings, textures: &Textures) -> Result<bool, String> {
    let Some(record) = &settings.record else {
        return Err(format!("the sweep of textures needs --record\n{USAGE}"));
    };
    let plan = textures::Plan { count: textures.count, seed: textures.seed as u64, only: &settings.only, record };
    if textures.is_replay {
        return textures::replay(&plan);
    }
    let library = if textures.on_interpreter { None } else { Some(library(settings)?) };
    match textures.first {
        Some(first) => textures::work(&plan, library.as_deref(), first),
        None => textures::sweep(&plan, library.as_deref()),
    }
}

fn library(settings: &Settings) -> Result<PathBuf, String> {
    let mut usual = LIBRARIES.iter().map(PathBuf::from);
    let found = settings.libcuda.clone().or_else(|| usual.find(|path| path.exists()));
    found.ok_or_else(|| format!("no libcuda.so.1 in the usual places; name it with --libcuda\n{USAGE}"))
}

/// Runs all files and prints what is wrong; true if nothing is.
fn check(settings: &Settings) -> Result<bool, String> {
    let library = library(settings)?;
    let mut queue = VecDeque::new();
    for folder in &settings.folders {
        let found = files::find(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        queue.extend(found.into_iter().filter(|file| file.name.contains(&settings.only)));
    }
    if queue.is_empty() {
        return Err("no files".into());
    }
    let queue = Mutex::new(queue);
    let state = Mutex::new((Value::Null, Vec::new()));
    std::thread::scope(|scope| {
        let jobs: Vec<_> =
            (0..settings.jobs).map(|_| scope.spawn(|| job(settings, &library, &queue, &state))).collect();
        jobs.into_iter().try_for_each(|job| job.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    })?;
    let (machine, mut results) = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|result: &Value| (result["file"].to_string(), result["run"].as_u64()));
    for result in &results {
        let status = result["status"].as_str().unwrap_or_default();
        if !matches!(status, "ok" | "skipped") {
            let detail = result["detail"].as_str().unwrap_or_default();
            println!("{} run {}: {status}: {detail}", result["file"].as_str().unwrap_or_default(), result["run"]);
        }
    }
    let count = |wanted: &[&str]| {
        results.iter().filter(|result| result["status"].as_str().is_some_and(|s| wanted.contains(&s))).count()
    };
    let (passed, skipped) = (count(&["ok"]), count(&["skipped"]));
    let failed = results.len() - passed - skipped;
    if let Some(path) = &settings.report {
        let report = json!({
            "device": machine["device"], "driver": machine["driver"], "cuda": machine["cuda"], "date": today(),
            "passed": passed, "failed": failed, "skipped": skipped, "results": results,
        });
        std::fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &settings.record {
        let text = record(&machine, &results).print();
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let text = |field: &str| machine[field].as_str().unwrap_or("unknown").to_string();
    println!("{}, driver {}, CUDA {}", text("device"), text("driver"), machine["cuda"]);
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}

fn record(machine: &Value, results: &[Value]) -> Record {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let outcome = |result: &Value| {
        let fingerprint = u64::from_str_radix(result["fingerprint"].as_str()?, 16).ok()?;
        let key = (text(&result["file"]), result["run"].as_u64()? as usize);
        Some((key, Outcome { fingerprint, status: text(&result["status"]), detail: text(&result["detail"]) }))
    };
    Record {
        device: text(&machine["device"]),
        driver: text(&machine["driver"]),
        date: today(),
        results: results.iter().filter_map(outcome).collect(),
    }
}

/// Today's date (UTC), as `2026-11-20`.
fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date((now.as_secs() / 86_400) as i64)
}

/// The date of a day counted from 1970-01-01, by the proleptic Gregorian calendar: years begin in March, so that the
/// day that may be missing is the last one, and repeat every 400.
fn date(days: i64) -> String {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + carry)
}

type State = Mutex<(Value, Vec<Value>)>;

/// Takes files from the queue until it is empty.
fn job(settings: &Settings, library: &Path, queue: &Mutex<VecDeque<File>>, state: &State) -> Result<(), String> {
    let mut worker = None;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(file) = next else { return Ok(()) };
        let mut next_run = 0;
        loop {
            let mut running = match worker.take() {
                Some(running) => running,
                None => Worker::start(library, settings, state)?,
            };
            let end = running.file(&file, next_run, Duration::from_secs(settings.seconds), &mut |mut result| {
                result["file"] = json!(file.name);
                next_run = result["run"].as_u64().map_or(MOST_RUNS, |run| run as usize + 1);
                state.lock().unwrap_or_else(PoisonError::into_inner).1.push(result);
            });
            let (status, detail) = match end {
                End::Done => {
                    worker = Some(running);
                    break;
                }
                // The process ended itself after a fault that it reported: the runs behind it go to another one.
                End::Gone { reported: true } => continue,
                End::Gone { reported: false } => ("crashed", "the process that talks to the driver ended".to_string()),
                End::Silent => ("timeout", format!("no answer within {} seconds", settings.seconds)),
            };
            let result = json!({ "file": file.name, "run": next_run, "status": status, "detail": detail });
            state.lock().unwrap_or_else(PoisonError::into_inner).1.push(result);
            next_run += 1;
            if next_run > MOST_RUNS {
                break;
            }
        }
    }
}

/// A process that talks to the driver.
struct Worker {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
}

/// How a request ended.
enum End {
    Done,
    /// The process ended, with or without having reported a run of this request.
    Gone {
        reported: bool,
    },
    Silent,
}

impl Worker {
    fn start(library: &Path, settings: &Settings, state: &State) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .arg("--worker")
            .arg("--libcuda")
            .arg(library)
            .args(["--device", &settings.device])
            .args(settings.engine.iter().flat_map(|engine| ["--engine", engine]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (Some(requests), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the process has no pipes".into());
        };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            // Lines that are no JSON object are what kernels print.
            let lines = BufReader::new(stdout).split(b'\n').map_while(Result::ok);
            for answer in lines.filter_map(|line| serde_json::from_slice::<Value>(&line).ok()).filter(Value::is_object)
            {
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let worker = Self { child, requests, answers };
        // The first answer names the machine; without it the driver did not start, and no file will do better.
        let Ok(hello) = worker.answers.recv_timeout(Duration::from_secs(120)) else {
            return Err("the driver did not start".into());
        };
        state.lock().unwrap_or_else(PoisonError::into_inner).0 = hello;
        Ok(worker)
    }

    fn file(&mut self, file: &File, first: usize, patience: Duration, report: &mut dyn FnMut(Value)) -> End {
        let mut reported = false;
        if writeln!(self.requests, "{first} {}", file.path.display()).is_err() {
            return End::Gone { reported };
        }
        loop {
            match self.answers.recv_timeout(patience) {
                Ok(answer) if answer["done"] == true => return End::Done,
                Ok(answer) => {
                    report(answer);
                    reported = true;
                }
                Err(RecvTimeoutError::Disconnected) => return End::Gone { reported },
                Err(RecvTimeoutError::Timeout) => return End::Silent,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(11_017), "2000-03-01");
        assert_eq!(date(20_454), "2026-01-01");
        assert_eq!(date(20_453), "2025-12-31");
    }
}
