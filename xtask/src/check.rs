//! `cargo xtask check`: the stages that CI runs, each with its time, and their sum.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
        counts += jobs::slurm()?;
        counts += jobs::podman()?;
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

/// Of a stage that failed, how many of its last lines are told once more at the end.
const TOLD_AGAIN: usize = 100;

/// Runs the stages named, or all of them; a failed stage does not stop the others.
pub(crate) fn run(names: &[String]) -> Result<Counts, String> {
    if let Some(unknown) = names.iter().find(|name| !STAGES.iter().any(|stage| stage.0 == *name)) {
        let known: Vec<_> = STAGES.iter().map(|stage| stage.0).collect();
        return Err(format!("there is no stage `{unknown}`; there are {}", known.join(" ")));
    }
    if let [name] = names {
        let stage = STAGES.iter().find(|stage| stage.0 == *name);
        return stage.map_or(Ok(Counts::default()), |(_, stage)| stage());
    }
    let logs = root().join(".build/check");
    std::fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    let mut sum = Counts::default();
    for (name, _) in STAGES.iter().filter(|stage| names.is_empty() || names.iter().any(|name| name == stage.0)) {
        println!("== {name}");
        let start = Instant::now();
        let log = logs.join(format!("{name}.log"));
        let counts = apart(name, &log).map_err(|error| format!("stage {name}: {error}"))?;
        let line = format!("{name:<10} {:>7.1} s   {counts}", start.elapsed().as_secs_f64());
        println!("-- {line}");
        if counts.failed > 0 {
            failures.push((*name, log));
        }
        sum += counts;
        lines.push(line);
    }
    for (name, log) in failures {
        let said = std::fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let said = String::from_utf8_lossy(&said);
        let said: Vec<&str> = said.lines().collect();
        let last = &said[said.len().saturating_sub(TOLD_AGAIN)..];
        println!("\n== {name} failed; its last lines, of all in {}:\n{}", log.display(), last.join("\n"));
    }
    println!("\n{}", lines.join("\n"));
    Ok(sum)
}

/// Runs one stage as a process of its own, which says what it says into a file, and passes that on. It is a file and no pipe:
/// what a stage leaves behind does not keep this waiting.
fn apart(name: &str, log: &Path) -> std::io::Result<Counts> {
    const LOOK: Duration = Duration::from_millis(100);
    let file = File::create(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["check", name]).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn()?;
    let mut said = File::open(log)?;
    let mut line = Vec::new();
    let mut counts = None;
    loop {
        // What was said before the end is there when the end has been seen.
        let ended = child.try_wait()?;
        let mut more = Vec::new();
        said.read_to_end(&mut more)?;
        for byte in more {
            line.push(byte);
            if byte == b'\n' {
                let text = String::from_utf8_lossy(&line);
                match Counts::closing_line(&text) {
                    Some(closing) => counts = Some(closing),
                    None => print!("{text}"),
                }
                line.clear();
            }
        }
        if let Some(status) = ended {
            if !line.is_empty() {
                println!("{}", String::from_utf8_lossy(&line));
            }
            let counts = counts.unwrap_or_default();
            let silent = !status.success() && counts.failed == 0;
            return Ok(Counts { failed: counts.failed + u64::from(silent), ..counts });
        }
        std::thread::sleep(LOOK);
    }
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
