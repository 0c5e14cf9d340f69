//! `cargo xtask check`: the stages that CI runs, each with its time, and their sum.

use std::process::Command;
use std::time::Instant;

use crate::report::Counts;
use crate::tool::{accept, cargo, conformance, counted, filetest, generate, root, succeeds};
use crate::{bench, clients, demo, dist, jobs, tidy, tsan};

type Stage = (&'static str, fn() -> Result<Counts, String>);

const STAGES: &[Stage] = &[
    ("fmt", || one(cargo().args(["fmt", "--all", "--", "--check"]))),
    ("clippy", || {
        let mut counts =
            one(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
        // What is left out without features must not leave anything unused.
        let mut bare = cargo();
        bare.args(["clippy", "--quiet", "--package", "hetgpu-shim", "--lib", "--no-default-features"]);
        counts += one(bare.args(["--", "-D", "warnings"]))?;
        Ok(counts)
    }),
    ("tidy", tidy::run),
    ("deny", deny),
    ("gen", || generate(true)),
    ("test", test),
    ("conformance", || conformance("interp", None)),
    ("filetest", || filetest(None, "interp")),
    ("device", || filetest(None, "device:interp")),
    ("cpu", || {
        let mut counts = conformance("cpu", None)?;
        counts += filetest(None, "cpu")?;
        Ok(counts)
    }),
    ("levels", levels),
    ("ring", || crate::ring::run(&[])),
    ("stand-in", crate::standin::run),
    ("coverage", || filetest(None, "coverage")),
    ("ptxas", || filetest(None, "ptxas")),
    ("reprint", || filetest(None, "reprint")),
    ("print", || filetest(None, "print")),
    ("accept", || accept(&[])),
    ("fuzz", fuzz),
    ("demo", demo::run),
    ("jobs", || {
        let mut counts = jobs::demo()?;
        counts += jobs::faults(&[])?;
        counts += jobs::pairs(&[])?;
        Ok(counts)
    }),
    ("dist", dist::check),
    ("library", library),
    ("bench", bench::smoke),
    ("clients", || clients::run(None, false)),
    ("valgrind", valgrind),
    ("tsan", tsan::run),
    ("doc", || one(cargo().args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))),
];

/// Runs the stages named, or all of them; a failed stage does not stop the others.
pub(crate) fn run(names: &[String]) -> Result<Counts, String> {
    if let Some(unknown) = names.iter().find(|name| !STAGES.iter().any(|stage| stage.0 == *name)) {
        let known: Vec<_> = STAGES.iter().map(|stage| stage.0).collect();
        return Err(format!("there is no stage `{unknown}`; there are {}", known.join(" ")));
    }
    let mut lines = Vec::new();
    let mut sum = Counts::default();
    for (name, stage) in STAGES.iter().filter(|stage| names.is_empty() || names.iter().any(|name| name == stage.0)) {
        println!("== {name}");
        let start = Instant::now();
        let counts = stage().unwrap_or_else(|message| {
            eprintln!("{message}");
            Counts::one(false)
        });
        let line = format!("{name:<10} {:>7.1} s   {counts}", start.elapsed().as_secs_f64());
        println!("-- {line}");
        sum += counts;
        lines.push(line);
    }
    println!("\n{}", lines.join("\n"));
    Ok(sum)
}

fn one(command: &mut Command) -> Result<Counts, String> {
    succeeds(command).map(Counts::one)
}

/// All tests but the filetests, which are stages of their own.
fn test() -> Result<Counts, String> {
    counted(cargo().args(["test", "--quiet", "--workspace"]).env("HETGPU_TEST_ON", ""), Counts::test_result)
}

/// The filetests once more, through the whole of our libcuda.so.1.
fn library() -> Result<Counts, String> {
    if !succeeds(cargo().args(["build", "--quiet", "--package", "hetgpu-shim", "--package", "hetgpu-tests"]))? {
        return Ok(Counts::one(false));
    }
    let mut command = Command::new(root().join("target/debug/hetgpu-hwcheck"));
    command.current_dir(root()).arg("--libcuda").arg(root().join("target/debug/libcuda.so"));
    command.args(["--device", "cpu", "--jobs", "2", "tests/ptx"]).env("HETGPU_LOG", "off");
    let mut counts = counted(&mut command, Counts::closing_line)?;
    // Once more in the form in which kernels can be suspended.
    let mut command = Command::new(root().join("target/debug/hetgpu-hwcheck"));
    command.current_dir(root()).arg("--libcuda").arg(root().join("target/debug/libcuda.so"));
    command.args(["--device", "cpu", "--jobs", "2", "tests/ptx/suspend"]);
    command.env("HETGPU_LOG", "off").env("HETGPU_SUSPEND", "always");
    counts += counted(&mut command, Counts::closing_line)?;
    Ok(counts)
}

/// Filetests on the CPU device once more, for processors with fewer instructions than this one: those of what is computed
/// by other instructions there.
fn levels() -> Result<Counts, String> {
    let mut counts = Counts::default();
    for (device, there) in [("cpu-avx2", has_avx2()), ("cpu-sse2", cfg!(target_arch = "x86_64"))] {
        if there {
            for part in ["float/", "cvt/", "warp/"] {
                counts += filetest(Some(part), device)?;
            }
        } else {
            println!("skipped {device}: this processor does not have its instructions");
            counts.skipped += 1;
        }
    }
    Ok(counts)
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

fn deny() -> Result<Counts, String> {
    let installed = Command::new("cargo-deny").arg("--version").output().is_ok_and(|output| output.status.success());
    if !installed {
        println!(
            "skipped deny: cargo-deny is not installed (cargo install cargo-deny); all but advisories is checked by tidy"
        );
        return Ok(Counts { skipped: 1, ..Counts::default() });
    }
    let mut counts = one(cargo().args(["deny", "--workspace", "check", "bans", "licenses", "sources"]))?;
    let mut advisories = cargo();
    advisories.args(["deny", "--workspace", "check", "advisories"]);
    let output = advisories.output().map_err(|error| format!("cargo deny: {error}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    if log.contains("failed to fetch advisory database") {
        println!("skipped deny advisories: their database cannot be fetched here");
        counts.skipped += 1;
    } else {
        eprint!("{log}");
        counts += Counts::one(output.status.success());
    }
    Ok(counts)
}

/// Random calls from many threads, with every access and every allocation of the library watched. valgrind does not have
/// so many addresses as the CPU device reserves: the interpreter executes the kernels.
fn valgrind() -> Result<Counts, String> {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped valgrind: it is not installed (./setup.sh installs it)");
        return Ok(Counts { skipped: 1, ..Counts::default() });
    }
    let runner = "valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite";
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "hetgpu-shim", "--test", "stress"]);
    command
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner)
        .env("HETGPU_STRESS_SECONDS", "20")
        .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
        .env("HETGPU_DEVICE", "interp");
    counted(&mut command, Counts::test_result)
}

/// A short run of every fuzz target, with less memory than a believed size would take.
fn fuzz() -> Result<Counts, String> {
    if !succeeds(cargo().args(["build", "--quiet", "--package", "hetgpu-fuzz"]))? {
        return Ok(Counts::one(false));
    }
    let mut command = Command::new("sh");
    command.current_dir(root()).args(["-c", "ulimit -v 4194304; exec \"$@\"", "fuzz"]);
    command.arg(root().join("target/debug/hetgpu-fuzz")).args(["--seconds", "8"]);
    let mut counts = counted(&mut command, Counts::closing_line)?;
    // This one reserves more addresses than that.
    let mut command = Command::new(root().join("target/debug/hetgpu-fuzz"));
    command.current_dir(root()).args(["cpu", "--seconds", "16"]);
    counts += counted(&mut command, Counts::closing_line)?;
    Ok(counts)
}
