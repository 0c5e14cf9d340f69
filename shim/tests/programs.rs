//! CUDA programs from `tests/programs`, built by nvcc and run on our library.
//!
//! Lines of a source that begin with `//> ` are what the program must print, and nothing else; it must exit with 0. All
//! of it is what NVIDIA's driver makes the programs print on an H200, but for those that were not run there (`Next` in
//! `ARCHITECTURE.md` names them). Programs that include `cuda.h` are linked with our
//! library, the others have NVIDIA's runtime library inside. `//+ FILE` names another source; such programs are linked
//! from relocatable device code. `//= compute_90a` names what nvcc compiles for, `//$ VARIABLE=VALUE` sets a variable of
//! the environment. Programs of the runtime library alone also run with its shared form; programs that older compilers
//! know how to build are built by them too, with the runtime library of their time. `//- 11.8 REASON` leaves a release
//! out that lacks something, `//- stand-in REASON` leaves the program out where `HETGPU_VENDOR_DRIVER` names a copy of our own library as a
//! card's driver. `//% DEVICE REASON` says that the program does not print that where `HETGPU_DEVICE` is this device; it must
//! not, then. `//~ DEVICE...` moves the program to these devices, one after the other, while it runs.
//!
//! With `HETGPU_RING=ring:cpu+interp+...` every program is moved around these devices all the time, at moments that
//! `HETGPU_RING_SEED` chooses, and must print the same. What cannot take the program where it is then is passed over, and
//! `//^ interp REASON` leaves a device out that what the program asks later could not be had on.

use hetgpu_runtime::control;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    ring: Option<Ring>,
}

/// Devices that programs are moved around.
struct Ring {
    name: String,
    devices: Vec<String>,
    seed: u64,
    moves: AtomicU64,
    programs: AtomicU64,
}

impl Ring {
    fn named() -> Option<Self> {
        let name = std::env::var("HETGPU_RING").ok()?;
        let devices = name.strip_prefix("ring:").unwrap_or(&name).split('+').map(str::to_owned).collect();
        let seed = std::env::var("HETGPU_RING_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
        Some(Self { name, devices, seed, moves: AtomicU64::new(0), programs: AtomicU64::new(0) })
    }

    /// Moves a program until it ends.
    fn turn(&self, name: &str, left_out: &[&str], child: &mut Child) -> Result<(), String> {
        /// Milliseconds on a device at most.
        const STAY: u64 = 12;
        let start = Instant::now();
        let mut random = name.bytes().fold(self.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let mut next = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let out = |device: &&String| left_out.iter().any(|line| line.split(' ').next() == Some(device.as_str()));
        let mut turns = self.devices.iter().filter(|device| !out(device)).cycle();
        turns.next();
        self.programs.fetch_add(1, Ordering::Relaxed);
        while child.try_wait().map_err(|e| e.to_string())?.is_none() && start.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(next() % STAY));
            let to = turns.next().map_or("cpu", String::as_str);
            let request = serde_json::json!({ "request": "move", "to": to, "max_freeze_ms": 5_000 });
            match control::ask(child.id(), &request, LIMIT, &|_| {}) {
                Ok(answer) if answer["ok"] == true => _ = self.moves.fetch_add(1, Ordering::Relaxed),
                // It stays where it is: the device lacks something, or the work does not stop in the middle.
                Ok(answer) if ["unfit", "held", "too-long"].iter().any(|kind| answer["kind"] == **kind) => {}
                Ok(answer) => return Err(format!("it is not moved to {to}: {answer}")),
                // It has not begun, or has ended.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Which compiler and which runtime library a program has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runtime {
    /// The toolkit's, inside of the program.
    Own,
    /// The toolkit's, beside it.
    Beside,
    /// An older compiler's, with a runtime library beside the program, or a later one inside of it.
    Older { compiler: &'static str, inside: Option<&'static str> },
}

const RUNTIMES: [Runtime; 5] = [
    Runtime::Own,
    Runtime::Beside,
    Runtime::Older { compiler: "12.4", inside: Some("12.9") },
    Runtime::Older { compiler: "12.4", inside: None },
    Runtime::Older { compiler: "11.8", inside: None },
];

impl Runtime {
    fn label(self, program: &str) -> String {
        match self {
            Self::Own => program.to_owned(),
            Self::Beside => format!("{program}-shared"),
            Self::Older { compiler, inside } => format!("{program}-{}", inside.unwrap_or(compiler)),
        }
    }

    /// Whether a program is also built like this.
    fn fits(self, text: &str) -> bool {
        let left_out = |release| marked(text, "//- ").iter().any(|line| line.split(' ').next() == Some(release));
        // The driver API has no runtime library; device code that is linked needs the toolkit's own libraries.
        let (driver, linked) = (text.contains("#include <cuda.h>"), !marked(text, "//+ ").is_empty());
        match self {
            Self::Own => true,
            Self::Beside => !driver && !linked,
            Self::Older { compiler, inside } => {
                !linked && !left_out(compiler) && !inside.is_some_and(|release| driver || left_out(release))
            }
        }
    }

    fn nvcc(self, setup: &Setup) -> PathBuf {
        match self {
            Self::Own | Self::Beside => setup.nvcc.clone(),
            Self::Older { compiler, .. } => root().join(format!(".build/cuda/toolkit-{compiler}/bin/nvcc")),
        }
    }

    /// The folder of its library, where that is beside the program or comes from elsewhere.
    fn folder(self, setup: &Setup) -> Option<PathBuf> {
        match self {
            Self::Own => None,
            Self::Beside => Some(setup.nvcc.parent()?.parent()?.join("lib")),
            Self::Older { compiler, inside: None } => {
                Some(root().join(format!(".build/cuda/toolkit-{compiler}/lib64")))
            }
            Self::Older { inside: Some(release), .. } => {
                Some(root().join(format!(".build/cuda/runtime-{release}/nvidia/cuda_runtime/lib")))
            }
        }
    }
}

fn setup() -> Result<Setup, String> {
    let nvcc = nvcc()?;
    let work = std::env::temp_dir().join(format!("hetgpu-programs-{}", std::process::id()));
    let library = library_folder(&work)?;
    Ok(Setup { nvcc, work, library, ring: Ring::named() })
}

fn show(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

fn build(setup: &Setup, source: &Path, text: &str, name: &str, runtime: Runtime) -> Result<PathBuf, Failed> {
    let program = setup.work.join(runtime.label(name));
    let mut compile = Command::new(runtime.nvcc(setup));
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
    if let Runtime::Older { .. } = runtime {
        // The compilers of today's distributions are newer than these know.
        compile.args(["-allow-unsupported-compiler", "-cudadevrt", "none"]);
    }
    match runtime {
        Runtime::Own => {}
        Runtime::Beside | Runtime::Older { inside: None, .. } => _ = compile.args(["-cudart", "shared"]),
        Runtime::Older { inside: Some(_), .. } => {
            let library = runtime.folder(setup).unwrap_or_default().join("libcudart_static.a");
            compile.args(["-cudart", "none", "-Xlinker"]).arg(library).args(["-ldl", "-lrt", "-lpthread"]);
        }
    }
    let output = compile.output()?;
    match output.status.success() {
        true => Ok(program),
        false => Err(format!("nvcc: {}", show(&output)).into()),
    }
}

/// Runs a program for at most `LIMIT`.
fn execute(setup: &Setup, program: &Path, text: &str, runtime: Runtime) -> Result<Output, Failed> {
    let folders: Vec<_> = std::iter::once(setup.library.clone()).chain(runtime.folder(setup)).collect();
    let path = std::env::join_paths(folders)?;
    let variables = marked(text, "//$ ").into_iter().filter_map(|line| line.split_once('='));
    let mut child = Command::new(program)
        .envs(variables)
        .env("LD_LIBRARY_PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let start = Instant::now();
    let moved = match &setup.ring {
        Some(ring) => {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            ring.turn(&name, &marked(text, "//^ "), &mut child)
        }
        None => moved(&mut child, &marked(text, "//~ "), start),
    };
    while child.try_wait()?.is_none() {
        if moved.is_err() || start.elapsed() > LIMIT {
            child.kill()?;
            let output = child.wait_with_output()?;
            let why = moved.err().unwrap_or_else(|| format!("not finished after {LIMIT:?}"));
            return Err(format!("{why}: {}", show(&output)).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    match moved {
        Ok(()) => Ok(output),
        Err(why) => Err(format!("{why}: {}", show(&output)).into()),
    }
}

/// Moves a program to devices while it runs, some time after it has begun to use one and between two moves. One that ends before that
/// is too short.
fn moved(child: &mut Child, lines: &[&str], start: Instant) -> Result<(), String> {
    const BETWEEN: Duration = Duration::from_millis(20);
    for device in lines.iter().flat_map(|line| line.split_whitespace()) {
        std::thread::sleep(BETWEEN);
        let request = serde_json::json!({ "request": "move", "to": device, "max_freeze_ms": 30_000 });
        let answer = loop {
            match control::ask(child.id(), &request, LIMIT, &|_| {}) {
                Ok(answer) => break answer,
                Err(silence) if start.elapsed() > LIMIT => return Err(format!("it cannot be moved: {silence}")),
                Err(_) if child.try_wait().map_err(|e| e.to_string())?.is_some() => {
                    return Err(format!("it ended before it was moved to {device}"));
                }
                // It has not begun.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if answer["ok"] != true {
            return Err(format!("it is not moved to {device}: {answer}"));
        }
    }
    Ok(())
}

/// The rest of the lines that begin with a mark.
fn marked<'t>(text: &'t str, mark: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.strip_prefix(mark)).collect()
}

fn trial(setup: &Setup, source: &Path, text: &str, name: &str, runtime: Runtime) -> Result<Completion, Failed> {
    if let Runtime::Older { compiler, .. } = runtime
        && !runtime.nvcc(setup).is_file()
    {
        return Ok(Completion::ignored_with(format!("no nvcc {compiler}, which ./setup.sh fetches where it can")));
    }
    if std::env::var_os("HETGPU_VENDOR_DRIVER").is_some()
        && let Some(reason) = marked(text, "//- ").into_iter().find_map(|line| line.strip_prefix("stand-in "))
    {
        return Ok(Completion::ignored_with(reason));
    }
    let expected = marked(text, "//> ");
    if expected.is_empty() {
        return Err("the program does not say what it prints".into());
    }
    let program = build(setup, source, text, name, runtime)?;
    let device = std::env::var("HETGPU_DEVICE").unwrap_or_default();
    let lines = marked(text, "//% ").into_iter().filter_map(|line| line.split_once(' '));
    let fails = lines.into_iter().find(|(on, _)| *on == device).map(|(_, reason)| reason);
    match (fails, judge(setup, &program, text, runtime, &expected)) {
        (None, verdict) => verdict.map(|()| Completion::Completed),
        (Some(_), Err(_)) => Ok(Completion::Completed),
        (Some(reason), Ok(())) => {
            Err(format!("it prints what it should on {device}, unlike what it says: {reason}").into())
        }
    }
}

/// Runs a program, and compares what it prints.
fn judge(setup: &Setup, program: &Path, text: &str, runtime: Runtime, expected: &[&str]) -> Result<(), Failed> {
    let output = execute(setup, program, text, runtime)?;
    let printed = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && printed.lines().eq(expected.iter().copied()) {
        return Ok(());
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
    let mut trials = Vec::new();
    for source in sources {
        let name = source.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let text = Arc::new(std::fs::read_to_string(&source).unwrap_or_default());
        let rings = setup.as_ref().as_ref().is_ok_and(|setup| setup.ring.is_some());
        let wanted = |runtime: &Runtime| runtime.fits(&text) && (!rings || *runtime == Runtime::Own);
        for runtime in RUNTIMES.into_iter().filter(wanted) {
            let (setup, source, text, name) = (setup.clone(), source.clone(), text.clone(), name.clone());
            trials.push(Trial::ignorable_test(runtime.label(&name), move || match setup.as_ref() {
                Ok(setup) => trial(setup, &source, &text, &name, runtime),
                Err(reason) => Ok(Completion::ignored_with(reason)),
            }));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Ok(setup) = setup.as_ref() {
        if let Some(Ring { name, moves, programs, .. }) = &setup.ring {
            println!(
                "{name}: {} pauses of {} launches",
                moves.load(Ordering::Relaxed),
                programs.load(Ordering::Relaxed)
            );
        }
        let _ = std::fs::remove_dir_all(&setup.work);
    }
    conclusion.exit_code()
}
