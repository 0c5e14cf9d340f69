//! `cargo xtask`: the project's own commands. Each that checks something closes with one line of counts.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod clients;
mod demo;
mod dist;
mod jobs;
mod report;
mod ring;
mod standin;
mod tidy;
mod tool;
mod tsan;

use std::process::ExitCode;

use report::Counts;

const USAGE: &str = "\
cargo xtask check [STAGE...]            everything that CI runs, or the stages named
cargo xtask tidy                        the rules of the house: rooms, names, unsafe, sizes, licences
cargo xtask filetest [NAME] [--on DEV]  filetests whose name contains NAME; DEV: a device, ptxas, print, reprint, coverage
cargo xtask conformance DEV [NAME]      what every device must do, checked on one
cargo xtask gen [--check]               writes the generated pages of docs/, or compares them
cargo xtask accept [FLAG...]            what the front end and ptxas accept, compared: a sample, or --whole
cargo xtask bless                       accepts what the golden files and generated pages would become
cargo xtask clients [NAME] [--write]    clients of CUDA from Python and Rust, run on the CPU device, and their own tests
cargo xtask ring [NAME...]              kernels that are suspended again and again, and move between devices; --long: more often
cargo xtask demo                        a CUDA program built by nvcc, run through our libcuda.so.1
cargo xtask demo-migrate                the same of a program that is moved, saved, killed and brought back
cargo xtask faults [COUNT [SEED [LANES]]] [--release]
                                        jobs that are moved and saved while commands, jobs, agents and CRIU are killed, in front of any of their
                                        steps, disks are full, writes are short, files are torn, memory is missing, and CRIU fails:
                                        nothing may be lost; a long run (1000 faults, --release) is added to docs/bench/faults.md
cargo xtask pairs [COUNT [SEED]]        two processes with the same memory are moved and saved together, and commands and processes killed
cargo xtask slurm                       the example of a batch job in docs/jobs, with Slurm's own programs
cargo xtask podman                      the example of a container in docs/jobs, with podman and runc
cargo xtask dist                        an archive and a Debian package for users, in .build/dist, and tries them
cargo xtask bench parse                 how fast a large PTX module is parsed and lifted
cargo xtask bench load                  how long modules take on their way to a card's driver, and from what was kept of that
cargo xtask bench jit [FEATURES]        how long kernels take to compile; native (default), sse2, avx2 or avx512
cargo xtask bench cpu [FLAGS]           a suite of kernels beside OpenCL for processors; --help lists the flags
cargo xtask bench api                   what calls of the driver API cost
cargo xtask bench snapshot [FLAGS]      how fast snapshots are written, verified and read
cargo xtask bench suspend [FLAGS]       what it costs that kernels can be suspended, and how soon they stop
cargo xtask bench jobs [FLAGS]          how long a job with much memory stands still while it is saved, sent and moved
cargo xtask bench nvidia [FLAGS]        a card's own driver behind our library and by itself; --help lists the flags
cargo xtask bench ptx                   compiles the suites' kernels anew";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match command {
        "check" => check::run(rest),
        "tidy" => none_left(rest).and_then(|()| tidy::run()),
        "filetest" => filetest(rest),
        "conformance" => match rest {
            [device] => tool::conformance(device, None),
            [device, name] => tool::conformance(device, Some(name)),
            _ => Err(format!("conformance takes a device and part of a name\n{USAGE}")),
        },
        "gen" => match rest {
            [] => tool::generate(false),
            [flag] if flag == "--check" => tool::generate(true),
            _ => Err("gen takes only --check".into()),
        },
        "accept" => tool::accept(rest),
        "bless" => none_left(rest).and_then(|()| tool::bless()),
        "clients" => clients(rest),
        "demo" => none_left(rest).and_then(|()| demo::run()),
        "demo-migrate" => none_left(rest).and_then(|()| jobs::demo()),
        "faults" => jobs::faults(rest),
        "pairs" => jobs::pairs(rest),
        "ring" => ring::run(rest),
        "podman" => none_left(rest).and_then(|()| jobs::podman()),
        "slurm" => none_left(rest).and_then(|()| jobs::slurm()),
        "dist" => none_left(rest).and_then(|()| dist::run()),
        "bench" => match rest {
            [name] if name == "parse" => bench::parse(),
            [name] if name == "api" => bench::api(),
            [name] if name == "ptx" => bench::ptx(),
            [name] if name == "load" => bench::load(),
            [name] if name == "jit" => bench::jit("native"),
            [name, features] if name == "jit" => bench::jit(features),
            [name, flags @ ..] if name == "cpu" => bench::cpu(flags),
            [name, flags @ ..] if name == "snapshot" => bench::snapshot(flags),
            [name, flags @ ..] if name == "suspend" => bench::suspend(flags),
            [name, flags @ ..] if name == "jobs" => jobs::large(flags),
            [name, flags @ ..] if name == "nvidia" => bench::nvidia::run(flags),
            _ => Err(
                "there are nine benchmarks, parse, load, jit, cpu, api, snapshot, suspend, jobs and nvidia, and ptx"
                    .into(),
            ),
        },
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => Err(format!("there is no command `{other}`\n{USAGE}")),
    };
    match result {
        Ok(counts) => {
            println!("{counts}");
            if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn none_left(rest: &[String]) -> Result<(), String> {
    rest.first().map_or(Ok(()), |extra| Err(format!("`{extra}` is one argument too many\n{USAGE}")))
}

fn clients(rest: &[String]) -> Result<Counts, String> {
    let (flags, names): (Vec<_>, Vec<_>) = rest.iter().partition(|argument| argument.starts_with('-'));
    match (&flags[..], &names[..]) {
        ([], []) => clients::run(None, false),
        ([flag], []) if *flag == "--write" => clients::run(None, true),
        ([], [name]) => clients::run(Some(name), false),
        ([flag], [name]) if *flag == "--write" => clients::run(Some(name), true),
        _ => Err(format!("clients takes part of a name, and --write\n{USAGE}")),
    }
}

fn filetest(rest: &[String]) -> Result<Counts, String> {
    let mut device = "interp";
    let mut name = None;
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--on" => device = rest.next().ok_or("--on needs a device")?,
            flag if flag.starts_with('-') => return Err(format!("there is no flag `{flag}`\n{USAGE}")),
            argument if name.is_none() => name = Some(argument),
            extra => return Err(format!("`{extra}` is one argument too many\n{USAGE}")),
        }
    }
    tool::filetest(name, device)
}
