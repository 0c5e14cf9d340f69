//! `cargo xtask bench`: builds what a benchmark needs, and runs it.

pub(crate) mod nvidia;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Counts;
use crate::tool::{cargo, nvcc, root, succeeds};

/// Instances of each kernel template: so many make about five megabytes of PTX.
const INSTANCES: &str = "-DCOUNT=80";

/// What the suite's kernels are compiled for: the first that has the matrix products they use.
const ARCHITECTURE: &str = "-arch=compute_80";

/// The parse benchmark, on a module that nvcc makes of many kernels.
pub(crate) fn parse() -> Result<Counts, String> {
    let root = root();
    let work = folder(".build/bench")?;
    let module = work.join("many.ptx");
    let mut compile = Command::new(nvcc()?);
    compile.args([INSTANCES, "-arch=compute_75", "-ptx", "-o"]).arg(&module).arg(root.join("bench/programs/many.cu"));
    if !succeeds(&mut compile)? {
        return Ok(Counts::one(false));
    }
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package", "hetgpu-bench", "--", "parse"]).arg(&module);
    bench.arg("--json").arg(work.join("parse.json"));
    succeeds(&mut bench).map(Counts::one)
}

/// How long kernels take to compile.
pub(crate) fn jit(features: &str) -> Result<Counts, String> {
    let work = folder(".build/bench")?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package", "hetgpu-bench", "--", "jit", features]);
    bench.arg(root().join("bench/kernels")).arg("--json").arg(work.join("jit.json"));
    succeeds(&mut bench).map(Counts::one)
}

/// How long modules take on their way to a card's driver.
pub(crate) fn load() -> Result<Counts, String> {
    let work = folder(".build/bench")?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package", "hetgpu-bench", "--", "load"]);
    bench.args(["bench/kernels", "bench/nvidia/kernels"].map(|folder| root().join(folder)));
    bench.arg("--json").arg(work.join("load.json"));
    succeeds(&mut bench).map(Counts::one)
}

/// The suite of kernels, ours beside OpenCL for processors. The flags are the benchmark's own.
pub(crate) fn cpu(flags: &[String]) -> Result<Counts, String> {
    let root = root();
    if !succeeds(cargo().args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "hetgpu-shim",
        "--package",
        "hetgpu-bench",
    ]))? {
        return Ok(Counts::one(false));
    }
    let mut bench = Command::new(root.join("target/release/hetgpu-bench"));
    bench.current_dir(&root).arg("cpu");
    // Without a toolkit, the PTX that stands beside the sources is measured.
    if let Ok(nvcc) = nvcc() {
        let compiled = folder(".build/bench/ptx")?;
        if !compile_suite(&nvcc, &compiled)? {
            return Ok(Counts::one(false));
        }
        bench.arg("--ptx").arg(compiled);
    }
    // Only the whole suite in its full size is published.
    let whole = !flags.iter().any(|flag| ["--size", "--only", "--with"].contains(&flag.as_str()));
    let results = root.join(if whole { "docs/bench" } else { ".build/bench" });
    bench.arg("--json").arg(results.join("cpu.json")).arg("--svg").arg(results.join("cpu.svg")).args(flags);
    succeeds(&mut bench).map(Counts::one)
}

/// How fast snapshots are written, verified and read.
pub(crate) fn snapshot(flags: &[String]) -> Result<Counts, String> {
    let work = folder(".build/bench")?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package", "hetgpu-bench", "--", "snapshot", "--json"]);
    bench.arg(work.join("snapshot.json")).args(flags);
    succeeds(&mut bench).map(Counts::one)
}

/// What it costs that kernels can be suspended. The flags are the benchmark's own.
pub(crate) fn suspend(flags: &[String]) -> Result<Counts, String> {
    // Only the whole suite in its full size is published.
    let whole = !flags.iter().any(|flag| ["--size", "--only", "--threads"].contains(&flag.as_str()));
    let results = if whole { root().join("docs/bench") } else { folder(".build/bench")? };
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package", "hetgpu-bench", "--", "suspend"]);
    bench.arg("--json").arg(results.join("suspend.json")).arg("--page").arg(results.join("suspend.md")).args(flags);
    succeeds(&mut bench).map(Counts::one)
}

/// Writes the PTX beside the suites' sources anew.
pub(crate) fn ptx() -> Result<Counts, String> {
    let mut counts = Counts::one(compile_suite(&nvcc()?, &root().join("bench/kernels"))?);
    counts += Counts::one(nvidia::ptx()?);
    Ok(counts)
}

/// What calls of the driver API cost.
pub(crate) fn api() -> Result<Counts, String> {
    let packages = ["--package", "hetgpu-shim", "--package", "hetgpu-bench"];
    if !succeeds(cargo().args(["build", "--quiet", "--release"]).args(packages))? {
        return Ok(Counts::one(false));
    }
    let mut bench = Command::new(root().join("target/release/hetgpu-bench"));
    bench.current_dir(root()).args(["api", "--json", "docs/bench/api.json"]);
    succeeds(&mut bench).map(Counts::one)
}

/// The suite in its smallest size: shows that every kernel runs and is right, and measures nothing.
pub(crate) fn smoke() -> Result<Counts, String> {
    if !succeeds(cargo().args(["build", "--quiet", "--package", "hetgpu-shim", "--package", "hetgpu-bench"]))? {
        return Ok(Counts::one(false));
    }
    let mut bench = Command::new(root().join("target/debug/hetgpu-bench"));
    bench.current_dir(root()).args(["cpu", "--size", "tiny", "--rounds", "1", "--libcuda", "target/debug/libcuda.so"]);
    let mut counts = succeeds(&mut bench).map(Counts::one)?;
    let mut bench = Command::new(root().join("target/debug/hetgpu-bench"));
    bench.current_dir(root()).args(["api", "--smoke", "--libcuda", "target/debug/libcuda.so"]);
    counts += succeeds(&mut bench).map(Counts::one)?;
    counts += nvidia::smoke()?;
    Ok(counts)
}

fn folder(path: &str) -> Result<PathBuf, String> {
    let folder = root().join(path);
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

fn compile_suite(nvcc: &Path, into: &Path) -> Result<bool, String> {
    compile_kernels(&root().join("bench/kernels"), into, |_| {
        let mut compile = Command::new(nvcc);
        compile.arg(ARCHITECTURE);
        compile
    })
}

/// Compiles the kernels whose PTX is older than their source, each by what `compiler` gives for its name.
fn compile_kernels(sources: &Path, into: &Path, compiler: impl Fn(&str) -> Command) -> Result<bool, String> {
    let entries = std::fs::read_dir(sources).map_err(|error| format!("{}: {error}", sources.display()))?;
    for entry in entries {
        let source = entry.map_err(|error| format!("{}: {error}", sources.display()))?.path();
        let Some(name) = source.file_stem().filter(|_| source.extension().is_some_and(|known| known == "cu")) else {
            continue;
        };
        let module = into.join(name).with_extension("ptx");
        let time = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if time(&module) > time(&source) {
            continue;
        }
        let mut compile = compiler(&name.to_string_lossy());
        if !succeeds(compile.args(["-ptx", "-o"]).arg(&module).arg(&source))? {
            return Ok(false);
        }
    }
    Ok(true)
}
