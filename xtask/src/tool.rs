//! Running other programs, and reading the counts that they print.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::Counts;

/// The repository's top folder.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// The variable that names a CUDA toolkit: a folder with `bin`.
const TOOLKIT: &str = "HETGPU_CUDA_TOOLKIT";

/// The CUDA compiler.
pub(crate) fn nvcc() -> Result<PathBuf, String> {
    let toolkit = std::env::var_os(TOOLKIT).map_or_else(|| root().join(".build/cuda/toolkit"), PathBuf::from);
    let nvcc = toolkit.join("bin/nvcc");
    if nvcc.is_file() {
        return Ok(nvcc);
    }
    Err(format!("no nvcc at {}: run ./setup.sh, or let {TOOLKIT} name a CUDA toolkit", nvcc.display()))
}

/// Cargo, in the top folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Set by the outer cargo for this program's own package; the inner one finds its own.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME");
    command
}

/// Runs a program to its end; true if it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).status().map_err(|error| format!("{program} does not start: {error}"))?;
    Ok(status.success())
}

/// Runs a program, passes its standard output on, and sums the counts that `read` finds in its lines. A program that
/// fails without having counted a failure counts as one.
pub(crate) fn counted(command: &mut Command, mut read: impl FnMut(&str) -> Option<Counts>) -> Result<Counts, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program} does not start: {error}"))?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.map_err(|error| format!("reading from {program}: {error}"))?;
            let line = String::from_utf8_lossy(&line);
            match read(&line) {
                Some(more) => counts += more,
                None => println!("{line}"),
            }
        }
    }
    let status = child.wait().map_err(|error| format!("waiting for {program}: {error}"))?;
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

/// Runs the filetests whose name contains `name`.
pub(crate) fn filetest(name: Option<&str>, device: &str) -> Result<Counts, String> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "hetgpu-tests", "--test", "filetests", "--", "--on", device]);
    command.args(["--format", "terse"]).args(name);
    let counts = counted(&mut command, Counts::closing_line)?;
    match name {
        Some(name) if counts == Counts::default() => Err(format!("no filetest on {device} has `{name}` in its name")),
        _ => Ok(counts),
    }
}

/// Checks on a device what every device must do; only what has `name` in its name.
pub(crate) fn conformance(device: &str, name: Option<&str>) -> Result<Counts, String> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "hetgpu-tests", "--bin", "hetgpu-conformance", "--", device]);
    counted(command.args(name), Counts::closing_line)
}

/// Compares what the front end and the assembler accept.
pub(crate) fn accept(flags: &[String]) -> Result<Counts, String> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "hetgpu-tests", "--bin", "hetgpu-accept", "--"]).args(flags);
    counted(&mut command, Counts::closing_line)
}

/// Writes the generated pages, or compares them with what they would become.
pub(crate) fn generate(check: bool) -> Result<Counts, String> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "hetgpu-tests", "--bin", "hetgpu-gen", "--"]);
    command.args(check.then_some("--check"));
    counted(&mut command, Counts::closing_line)
}

/// Accepts what generated pages and golden files would become.
pub(crate) fn bless() -> Result<Counts, String> {
    let mut counts = generate(false)?;
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--workspace"]).env("HETGPU_BLESS", "1").env("HETGPU_TEST_ON", "");
    counts += counted(&mut tests, Counts::test_result)?;
    Ok(counts)
}
