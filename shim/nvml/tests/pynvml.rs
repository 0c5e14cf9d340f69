//! `devices.py`, which asks through NVIDIA's own module for Python. `setup.sh` installs it in `.build/python`.

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn run() -> Result<Completion, Failed> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../.build/python/bin/python");
    let built = |name: &str| std::env::current_exe().map(|test| test.with_file_name(name));
    let (management, cuda) = (built("libnvidia_ml.so")?, built("libcuda.so")?);
    for (path, remedy) in [(&python, "./setup.sh"), (&cuda, "cargo test -p hetgpu-shim --no-run")] {
        if !path.exists() {
            return Ok(Completion::ignored_with(format!("no {}: {remedy}", path.display())));
        }
    }
    let work = std::env::temp_dir().join(format!("hetgpu-nvml-{}", std::process::id()));
    let result = ask(&work, &python, &management, &cuda, &here.join("tests/devices.py"));
    let _ = std::fs::remove_dir_all(&work);
    result.map(|()| Completion::Completed)
}

fn ask(work: &Path, python: &Path, management: &PathBuf, cuda: &Path, script: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(work)?;
    std::os::unix::fs::symlink(management, work.join("libnvidia-ml.so.1"))?;
    let mut command = Command::new(python);
    // A folder of its own, so that other programs that run now are not seen.
    command.env("XDG_RUNTIME_DIR", work).env("LD_LIBRARY_PATH", work).env_remove("CUDA_VISIBLE_DEVICES");
    let output = command.arg(script).arg(cuda).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() && text(&output.stdout) == "right\n" {
        true => Ok(()),
        false => Err(format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr)).into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, vec![Trial::ignorable_test("devices", run)]).exit_code()
}
