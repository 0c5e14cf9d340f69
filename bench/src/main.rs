//! `hetgpu-bench`: benchmarks. Each prints a table and writes JSON.

mod api;
mod cpu;
mod jit;
mod load;
mod parse;
mod ring;
mod snapshot;
mod suspend;
mod sys;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cpu::case::Size;

const USAGE: &str = "\
hetgpu-bench parse FILE.ptx [--json FILE]
  parses and lifts a PTX text: time, rate, and memory against the text's size
hetgpu-bench jit FEATURES [FOLDER [--json FILE]]
  how long kernels take to compile, from nothing and from the cache; FEATURES: native, sse2, avx2, avx512
hetgpu-bench load FOLDER... [--json FILE]
  how long modules take on their way to a card's driver: lifted and printed, and from what was kept of that
hetgpu-bench show STAGE FEATURES KERNEL FILE.ptx
  what a kernel becomes; STAGE: lowered, optimised, assembly; KERNEL+sites: in the form that can be suspended
hetgpu-bench api [--smoke] [--only NAME] [--libcuda FILE] [--json FILE]
  what calls of the driver API cost: launches, waits, events, copies, memory, streams, the start of a program
hetgpu-bench snapshot [--mebibytes N] [--folder PATH] [--rounds N] [--json FILE]
  snapshots of so much memory (1024) written, verified and read, beside copies in memory and plain files in the folder
hetgpu-bench ring RING TIMES [NAME...]
  the suite's kernels in their smallest size, suspended and moved around a ring of devices such as ring:cpu+interp
hetgpu-bench suspend [FLAGS]
  the suite's kernels in their plain form and in the one that can be suspended, and how soon they stop
  --size, --only, --rounds, --ptx, --json as below
  --places N                 how often code and data are made anew, each time with so many rounds (7)
  --pauses N                 requests to stop each kernel (200)
  --threads N                threads of the device (as many as there are processors)
  --page FILE                where a page with the figures goes (nowhere)
hetgpu-bench cpu [FLAGS]
  a suite of kernels by our driver API and by OpenCL for processors
  --size tiny|small|normal   how large the problems are (normal)
  --only NAME,...            these kernels
  --with NAME,...            these of the contestants ours, pocl, intel
  --rounds N                 turns that each contestant gets for each kernel (7)
  --libcuda FILE             our library (target/release/libcuda.so)
  --ptx FOLDER               the kernels in PTX (bench/kernels)
  --peers FOLDER             where bench/peers.sh has installed peers (.build/peers)
  --json FILE, --svg FILE    where the figures and their chart go (nowhere)";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().ok_or(USAGE)?;
    let rest: Vec<String> = arguments.collect();
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    match (command.as_str(), words.as_slice()) {
        ("parse", [file]) => parse::run(file.as_ref(), None),
        ("parse", [file, "--json", json]) => parse::run(file.as_ref(), Some(json.as_ref())),
        // One stage in a process of its own, so that the memory it takes can be seen.
        ("memory", [stage, file]) => parse::memory(stage, file.as_ref()),
        ("jit", [features]) => jit::run(&kernels, features, None),
        ("jit", [features, folder]) => jit::run(folder.as_ref(), features, None),
        ("jit", [features, folder, "--json", json]) => jit::run(folder.as_ref(), features, Some(json.as_ref())),
        ("load", [folders @ .., "--json", json]) => load::run(folders, Some(json.as_ref())),
        ("load", folders) if !folders.is_empty() => load::run(folders, None),
        // One module in a process of its own.
        ("load-one", [file, cache]) => load::one(file.as_ref(), cache.as_ref()),
        ("show", [stage, features, kernel, file]) => jit::show(stage, features, kernel, file.as_ref()),
        // One kernel in a process of its own.
        ("compile", [features, kernel, file, cache]) => jit::compile(features, kernel, file.as_ref(), cache.as_ref()),
        ("cpu", ["--help"]) => {
            println!("{USAGE}");
            Ok(())
        }
        ("cpu", flags) => cpu::run(&options(flags)?),
        ("api", flags) => api::run(&api_options(flags, &kernels)?),
        // The start of a program, in a process of its own.
        ("start", [libcuda, kernel]) => api::start(libcuda.as_ref(), kernel.as_ref()),
        ("snapshot", flags) => snapshot::run(&snapshot_options(flags)?),
        ("ring", [ring, times, only @ ..]) => ring::run(ring, &kernels, times.parse().map_err(|_| USAGE)?, only),
        ("suspend", flags) => suspend::run(&suspend_options(flags)?),
        ("worker", words) => cpu::worker::run(words),
        _ => Err(USAGE.into()),
    }
}

fn api_options(flags: &[&str], kernels: &Path) -> Result<api::Options, String> {
    let libcuda = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/libcuda.so");
    let mut options =
        api::Options { smoke: false, libcuda, kernel: kernels.join("empty.ptx"), json: None, only: String::new() };
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        match (*flag, flags.as_slice().first()) {
            ("--smoke", _) => {
                options.smoke = true;
                continue;
            }
            ("--libcuda", Some(file)) => options.libcuda = file.into(),
            ("--json", Some(file)) => options.json = Some(file.into()),
            ("--only", Some(part)) => options.only = (*part).into(),
            _ => return Err(USAGE.into()),
        }
        flags.next();
    }
    Ok(options)
}

fn snapshot_options(flags: &[&str]) -> Result<snapshot::Options, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.build/bench/snapshots");
    let mut options = snapshot::Options { mebibytes: 1024, folder, rounds: 5, json: None };
    for pair in flags.chunks(2) {
        let number = |text: &str| text.parse().ok().filter(|&number: &usize| number > 0).ok_or(USAGE);
        match pair {
            ["--mebibytes", value] => options.mebibytes = number(value)? as u64,
            ["--folder", value] => options.folder = value.into(),
            ["--rounds", value] => options.rounds = number(value)?,
            ["--json", value] => options.json = Some(value.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn suspend_options(flags: &[&str]) -> Result<suspend::Options, String> {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut options = suspend::Options {
        size: Size::Normal,
        only: Vec::new(),
        rounds: 9,
        places: 7,
        pauses: 200,
        threads: 0,
        ptx: kernels,
        json: None,
        page: None,
    };
    for pair in flags.chunks(2) {
        let &[flag, value] = pair else { return Err(USAGE.into()) };
        match flag {
            "--size" => options.size = Size::parse(value)?,
            "--only" => options.only = value.split(',').map(String::from).collect(),
            "--rounds" => options.rounds = value.parse().map_err(|_| USAGE)?,
            "--places" => options.places = value.parse().map_err(|_| USAGE)?,
            "--pauses" => options.pauses = value.parse().map_err(|_| USAGE)?,
            "--threads" => options.threads = value.parse().map_err(|_| USAGE)?,
            "--ptx" => options.ptx = value.into(),
            "--json" => options.json = Some(value.into()),
            "--page" => options.page = Some(value.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

fn options(flags: &[&str]) -> Result<cpu::Options, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut options = cpu::Options {
        size: Size::Normal,
        only: Vec::new(),
        contestants: Vec::new(),
        rounds: 7,
        libcuda: root.join("target/release/libcuda.so"),
        ptx: kernels.clone(),
        opencl: kernels,
        peers: root.join(".build/peers"),
        work: root.join(".build/bench"),
        json: None,
        chart: None,
    };
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        let value = *flags.next().ok_or(USAGE)?;
        let list = || value.split(',').map(String::from).collect();
        match *flag {
            "--size" => options.size = Size::parse(value)?,
            "--only" => options.only = list(),
            "--with" => options.contestants = list(),
            "--rounds" => options.rounds = value.parse().map_err(|_| USAGE)?,
            "--libcuda" => options.libcuda = value.into(),
            "--ptx" => options.ptx = value.into(),
            "--peers" => options.peers = value.into(),
            "--json" => options.json = Some(PathBuf::from(value)),
            "--svg" => options.chart = Some(PathBuf::from(value)),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}
