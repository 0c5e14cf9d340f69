//! `cargo xtask bench`: builds what a benchmark needs, and runs it.

use std::process::Command;

use crate::report::Counts;
use crate::tool::{cargo, nvcc, root, succeeds};

/// Instances of each kernel template: so many make about five megabytes of PTX.
const INSTANCES: &str = "-DCOUNT=80";

/// The parse benchmark, on a module that nvcc makes of many kernels.
pub(crate) fn parse() -> Result<Counts, String> {
    let root = root();
    let work = root.join(".build/bench");
    std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
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
