//! The device that is a card's own driver, where there is no card: a copy of our own library stands in for the driver, and runs what is
//! printed for the card on the CPU device. So the calls of the driver's interface and the printed kernels are checked by what they come to,
//! but for what only a card does; what only the stand-in cannot do is said where the test is.

use std::path::PathBuf;

use crate::report::Counts;
use crate::tool::{cargo, counted, root, succeeds};

/// The device that opens a driver.
const DEVICE: &str = "nvidia";

/// The variable that names the driver.
const DRIVER: &str = "HETGPU_VENDOR_DRIVER";

/// What the names of our settings begin with, and what they begin with in the copy: two libraries in one process have one
/// environment, and the inner one would use the outer one's device.
const SETTINGS: [&[u8]; 2] = [b"HETGPU_", b"BEHIND_"];

/// The filetests of what the device itself has a part in: memory, launches, images, faults. How single instructions are printed is checked
/// by `reprint`, which takes a tenth of the time.
const PARTS: &[&str] = &["async/", "cluster/", "control/", "memory/", "module/", "texture/"];

/// Trials of the conformance suite: those of what is put together for the driver, of threads that share it, and of what only cards have.
const TRIALS: &[&str] = &["assembl", "queues::threads_", "memory::digests_"];

/// Filetests whose kernels are suspended again and again, and go on on the other device each time.
const RING: &str = "ring:nvidia+cpu";
/// Those in which lanes of a warp leave at different places, and some others.
const SUSPENDED: &[&str] = &["nested_loops", "locks", "half_the_warps_loop", "loops_of_functions"];

/// MiB of pinned memory for what is set aside: none, less than is wanted, and more.
const ARENAS: [&str; 3] = ["0", "72", "256"];

pub(crate) fn run() -> Result<Counts, String> {
    if !succeeds(cargo().args(["build", "--quiet", "--package", "hetgpu-shim", "--lib"]))? {
        return Ok(Counts::one(false));
    }
    let driver = copy()?;
    let mut counts = Counts::default();
    let on = |device: &'static str, names: &'static [&str]| names.iter().map(move |name| (device, name));
    for (device, name) in on(DEVICE, PARTS).chain(on(RING, SUSPENDED)) {
        let mut command = cargo();
        command.args([
            "test",
            "--quiet",
            "--package",
            "hetgpu-tests",
            "--test",
            "filetests",
            "--",
            "--on",
            device,
            name,
        ]);
        command.args(["--format", "terse"]).env(DRIVER, &driver).env("HETGPU_LOG", "off");
        counts += counted(&mut command, Counts::closing_line)?;
    }
    for name in TRIALS {
        let mut command = cargo();
        command.args([
            "run",
            "--quiet",
            "--package",
            "hetgpu-tests",
            "--bin",
            "hetgpu-conformance",
            "--",
            DEVICE,
            name,
        ]);
        command.env(DRIVER, &driver).env("HETGPU_LOG", "off");
        counts += counted(&mut command, Counts::closing_line)?;
    }
    for arena in ARENAS {
        let mut command = cargo();
        command.args(["test", "--quiet", "--package", "hetgpu-registry", "--test", "arena", "--", "--format", "terse"]);
        command.env(DRIVER, &driver).env("HETGPU_DEVICE", DEVICE).env("HETGPU_ARENA", arena);
        counts += counted(&mut command, Counts::test_result)?;
    }
    // Threads that launch, copy and wait in streams of their own, in an order that comes by chance.
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "hetgpu-shim", "--test", "stress", "--", "--format", "terse"]);
    command.env(DRIVER, &driver).env("HETGPU_DEVICE", DEVICE);
    counts += counted(&mut command, Counts::test_result)?;
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "hetgpu-shim", "--test", "programs", "--", "--format", "terse"]);
    // Older compilers and libraries call the same functions of the driver.
    command.args(["--skip=-shared", "--skip=-11.", "--skip=-12."]);
    command.env(DRIVER, &driver).env("HETGPU_DEVICE", DEVICE);
    counts += counted(&mut command, Counts::test_result)?;
    Ok(counts)
}

/// A copy of our library that takes its settings from other variables.
fn copy() -> Result<PathBuf, String> {
    let (from, folder) = (root().join("target/debug/libcuda.so"), root().join(".build/stand-in"));
    let to = folder.join("libcuda.so.1");
    let failed = |error: std::io::Error| format!("{}: {error}", to.display());
    let mut library = std::fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
    let [ours, other] = SETTINGS;
    let places: Vec<usize> =
        library.windows(ours.len()).enumerate().filter(|(_, w)| *w == ours).map(|(at, _)| at).collect();
    if places.is_empty() {
        return Err(format!("{} has no settings", from.display()));
    }
    places.iter().for_each(|&at| library[at..at + ours.len()].copy_from_slice(other));
    std::fs::create_dir_all(&folder).map_err(failed)?;
    // A process that has the old one open keeps it.
    let _ = std::fs::remove_file(&to);
    std::fs::write(&to, &library).map_err(failed)?;
    Ok(to)
}
