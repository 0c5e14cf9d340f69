//! CUDA programs from `tests/programs`, built by nvcc and run on our library.
//!
//! Lines of a source that begin with `//> ` are what the program must print, and nothing else; it must exit with 0. All
//! of it is what NVIDIA's driver makes the programs print on an H200. Programs that include `cuda.h` are linked with our
//! library, the others have NVIDIA's runtime library inside. `//+ FILE` names another source; such programs are linked
//! from relocatable device code. `//= compute_90a` names what nvcc compiles for.

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Far more than any of the programs needs on a slow machine.
const LIMIT: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The toolkit that `HETGPU_CUDA_TOOLKIT` names (itself, or a Python environment that holds one), else the one that
/// `setup.sh` installs.
fn nvcc() -> Result<PathBuf, String> {
    let named = std::env::var_os("HETGPU_CUDA_TOOLKIT").map(PathBuf::from);
    let toolkit = named.unwrap_or_else(|| root().join(".build/cuda/toolkit"));
    // lib/python3.N/site-packages/VENDOR/RELEASE
    const DEPTH: usize = 5;
    let mut folders = vec![toolkit.clone()];
    for _ in 0..=DEPTH {
        if let Some(folder) = folders.iter().find(|folder| folder.join("bin/nvcc").is_file()) {
            return Ok(folder.join("bin/nvcc"));
        }
        folders = folders.iter().flat_map(std::fs::read_dir).flatten().flatten().map(|entry| entry.path()).collect();
    }
    Err(format!("no nvcc in {}; HETGPU_CUDA_TOOLKIT can name a CUDA toolkit", toolkit.display()))
}

/// A folder with our library under the names that programs and linkers look for.
fn library_folder(work: &Path) -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|e| e.to_string())?;
    let built = test.parent().ok_or("the test has no folder")?.join("libcuda.so");
    if !built.is_file() {
        return Err(format!("{} was not built", built.display()));
    }
    let folder = work.join("lib");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    for name in ["libcuda.so.1", "libcuda.so"] {
        let link = folder.join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&built, &link).map_err(|e| e.to_string())?;
    }
    Ok(folder)
}

struct Setup {
    nvcc: PathBuf,
    work: PathBuf,
    library: PathBuf,
}

fn setup() -> Result<Setup, String> {
    let nvcc = nvcc()?;
    let work = std::env::temp_dir().join(format!("hetgpu-programs-{}", std::process::id()));
    let library = library_folder(&work)?;
    Ok(Setup { nvcc, work, library })
}

fn show(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

fn build(setup: &Setup, source: &Path, text: &str, name: &str) -> Result<PathBuf, Failed> {
    let program = setup.work.join(name);
    let mut compile = Command::new(&setup.nvcc);
    let arch = marked(text, "//= ").first().copied().unwrap_or("compute_75");
    let code = format!("arch={arch},code={arch}");
    compile.args(["-std=c++17", "-gencode", &code, "-o"]).arg(&program).arg(source);
    let others = marked(text, "//+ ");
    if !others.is_empty() {
        compile.arg("-rdc=true").args(others.iter().map(|other| source.with_file_name(other)));
    }
    if text.contains("#include <cuda.h>") {
        compile.arg("-L").arg(&setup.library).arg("-lcuda");
    }
    let output = compile.output()?;
    match output.status.success() {
        true => Ok(program),
        false => Err(format!("nvcc: {}", show(&output)).into()),
    }
}

/// Runs a program for at most `LIMIT`.
fn execute(setup: &Setup, program: &Path) -> Result<Output, Failed> {
    let mut child = Command::new(program)
        .env("LD_LIBRARY_PATH", &setup.library)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > LIMIT {
            child.kill()?;
            let output = child.wait_with_output()?;
            return Err(format!("not finished after {LIMIT:?}: {}", show(&output)).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(child.wait_with_output()?)
}

/// The rest of the lines that begin with a mark.
fn marked<'t>(text: &'t str, mark: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(mark)).collect()
}

fn trial(setup: &Setup, source: &Path, name: &str) -> Result<Completion, Failed> {
    let text = std::fs::read_to_string(source)?;
    let expected = marked(&text, "//> ");
    if expected.is_empty() {
        return Err("the program does not say what it prints".into());
    }
    let program = build(setup, source, &text, name)?;
    let output = execute(setup, &program)?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && printed.lines().eq(expected.iter().copied()) {
        return Ok(Completion::Completed);
    }
    let mut message = String::new();
    for (line, (wanted, got)) in expected.iter().zip(printed.lines()).enumerate() {
        if *wanted != got {
            let _ = writeln!(message, "line {}: expected `{wanted}`, printed `{got}`", line + 1);
        }
    }
    Err(format!("{message}{}", show(&output)).into())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = root().join("tests/programs");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut sources: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "cu")).collect();
    sources.sort();
    if sources.is_empty() {
        eprintln!("no programs in {}", folder.display());
        return ExitCode::FAILURE;
    }
    let setup = Arc::new(setup());
    let trials = sources.into_iter().map(|source| {
        let setup = setup.clone();
        let name = source.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Trial::ignorable_test(name.clone(), move || match setup.as_ref() {
            Ok(setup) => trial(setup, &source, &name),
            Err(reason) => Ok(Completion::ignored_with(reason)),
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Ok(setup) = setup.as_ref() {
        let _ = std::fs::remove_dir_all(&setup.work);
    }
    conclusion.exit_code()
}
