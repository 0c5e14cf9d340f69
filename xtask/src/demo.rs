//! `cargo xtask demo`: the main job. A CUDA program built by nvcc with its static runtime, started with our
//! libcuda.so.1 in the library path.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Counts;
use crate::tool::{cargo, nvcc, root, succeeds};

/// The text that vectorAdd prints when the sum is right.
const RIGHT: &str = "Test PASSED";

pub(crate) fn run() -> Result<Counts, String> {
    let root = root();
    let nvcc = nvcc()?;
    let work = root.join(".build/demo");
    std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;

    println!("building libcuda.so.1");
    if !succeeds(cargo().args(["build", "--quiet", "--package", "hetgpu-shim"]))? {
        return Ok(Counts::one(false));
    }
    let library = root.join("target/debug/libcuda.so");
    let link = work.join("libcuda.so.1");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(&library, &link).map_err(|error| format!("{}: {error}", link.display()))?;

    println!("building vectorAdd with nvcc");
    let program = vector_add(&nvcc, &work)?;
    println!("running it");
    is_right(Command::new(&program).env("LD_LIBRARY_PATH", &work)).map(Counts::one)
}

/// Builds the program in a folder.
pub(crate) fn vector_add(nvcc: &Path, work: &Path) -> Result<PathBuf, String> {
    let program = work.join("vectorAdd");
    let source = root().join("tests/programs/vectorAdd.cu");
    let mut compile = Command::new(nvcc);
    compile.args(["-gencode", "arch=compute_75,code=compute_75", "-o"]).arg(&program).arg(&source);
    match succeeds(&mut compile)? {
        true => Ok(program),
        false => Err("nvcc does not build vectorAdd".into()),
    }
}

/// Runs it; true if it came to the right sum.
pub(crate) fn is_right(command: &mut Command) -> Result<bool, String> {
    let program = format!("{command:?}");
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let right = output.status.success() && text.contains(RIGHT);
    if !right {
        println!("vectorAdd ended with {} and did not print `{RIGHT}`", output.status);
    }
    Ok(right)
}
