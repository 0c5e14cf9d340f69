//! CUDA programs built by nvcc and run on our libcuda.so.1, each with the static and with the shared CUDA runtime. A
//! program's `//>` lines are what it must print; it must end with success.
//!
//! `HETGPU_LIBCUDA` names the library, as `cargo xtask check programs` does; without it there are no trials. Without a
//! toolkit they are skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::SystemTime;

use hetgpu_tests::toolkit;
use libtest_mimic::{Arguments, Completion, Trial};

/// PTX for the oldest target that nvcc 13 knows, and no machine code.
const CODE: [&str; 2] = ["-gencode", "arch=compute_75,code=compute_75"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let listing = arguments.list;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let library = std::env::var_os("HETGPU_LIBCUDA").filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut sources: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    sources.sort();
    let mut trials = Vec::new();
    for (source, library) in sources.iter().zip(library.iter().cycle()) {
        for runtime in ["static", "shared"] {
            let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let (source, library) = (source.clone(), library.clone());
            let trial = move || match toolkit::locate("nvcc") {
                Ok(nvcc) => Ok(one(&nvcc, &library, &source, runtime).map(|()| Completion::Completed)?),
                Err(reason) => Ok(Completion::ignored_with(reason)),
            };
            trials.push(Trial::ignorable_test(format!("{name}::{runtime}"), trial));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing {
        let (passed, skipped) = (conclusion.num_passed, conclusion.num_ignored);
        println!("{passed} passed, {} failed, {skipped} skipped", conclusion.num_failed);
    }
    conclusion.exit_code()
}

fn one(nvcc: &Path, library: &Path, source: &Path, runtime: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(source).map_err(|error| format!("{}: {error}", source.display()))?;
    let expected: String = text.lines().filter_map(|l| l.strip_prefix("//> ")).map(|l| format!("{l}\n")).collect();
    if expected.is_empty() {
        return Err("the program has no `//>` lines that say what it prints".into());
    }
    let work = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.build/programs");
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    let program = work.join(format!("{stem}.{runtime}"));
    // The linker wants libcuda.so, the program libcuda.so.1.
    let libraries = work.join(format!("{stem}.{runtime}.lib"));
    std::fs::create_dir_all(&libraries).map_err(|error| error.to_string())?;
    for name in ["libcuda.so", "libcuda.so.1"] {
        let link = libraries.join(name);
        // It may be there from the last time, for another library.
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(library, &link).map_err(|error| format!("{}: {error}", link.display()))?;
    }
    if age(&program) <= age(source).max(age(&source.with_file_name("check.h"))) {
        let mut compile = Command::new(nvcc);
        compile.args(CODE).args(["-cudart", runtime, "-o"]).arg(&program).arg(source);
        compile.arg("-L").arg(&libraries).arg("-lcuda");
        run(&mut compile)?;
    }
    let toolkit = nvcc.parent().and_then(Path::parent).unwrap_or(nvcc);
    let path = format!("{}:{}", libraries.display(), toolkit.join("lib").display());
    let output = run(Command::new(&program).env("LD_LIBRARY_PATH", path))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if printed == expected {
        return Ok(());
    }
    let line = printed.lines().zip(expected.lines()).take_while(|(got, wanted)| got == wanted).count();
    Err(format!("line {} differs\n-- expected\n{expected}-- printed\n{printed}", line + 1))
}

/// When a file was last changed, or long ago if there is none.
fn age(path: &Path) -> SystemTime {
    path.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn run(command: &mut Command) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{program} ended with {}\n{out}{err}", output.status))
}
