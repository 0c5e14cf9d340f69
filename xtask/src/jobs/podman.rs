//! `cargo xtask podman`: the example for containers in `docs/jobs`, with podman and runc themselves. A program in a container is frozen, saved
//! with its container, brought back, let go on, and prints what it would have printed undisturbed.

use super::{Bench, skipped, text};
use crate::report::Counts;
use crate::tool::root;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const WHAT: &str = "the example of a container";
const BODIES: u32 = 2048;
const STEPS: u32 = 600;
/// Milliseconds that it rests after each step: on any machine it computes still when it is frozen.
const REST: u32 = 10;

/// The script's status where it can do nothing on this system.
const NOT_HERE: i32 = 77;

fn packages() -> PathBuf {
    root().join(".build/podman/files")
}

/// Why it cannot be tested here.
fn missing(bench: &Bench) -> Option<String> {
    if !packages().join("usr/bin/podman").is_file() {
        return Some("there is no podman (tests/podman/setup.sh fetches Debian's)".into());
    }
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        return Some("it wants to be started by root".into());
    }
    let systems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !systems.lines().any(|line| line.ends_with("overlay")) {
        return Some("the system has no overlays, by which podman is not installed".into());
    }
    bench.criu.as_ref().err().cloned()
}

pub(crate) fn run() -> Result<Counts, String> {
    println!("{WHAT}, by podman and runc");
    let bench = Bench::new("podman")?;
    if let Some(why) = missing(&bench) {
        return Ok(skipped(WHAT, &why));
    }
    let criu = bench.criu.clone()?;
    let expected = bench.undisturbed(BODIES, STEPS)?;
    let place = bench.work.join("podman");
    let _ = std::fs::remove_dir_all(&place);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--fork", "--kill-child"]).arg(root().join("tests/podman/test.sh"));
    command.arg(packages()).arg(&bench.work).arg(criu);
    command.args([BODIES, STEPS, REST].map(|number| number.to_string())).stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("unshare: {error}"))?;
    let said = text(&output);
    println!("{}", said.trim_end());
    if output.status.code() == Some(NOT_HERE) {
        return Ok(skipped(WHAT, "the system does not let packages be laid over its folders"));
    }
    if !output.status.success() || said.trim_end().lines().last() != Some(&expected) {
        println!("{WHAT}: {}; {expected} was expected", output.status);
        return Ok(Counts::one(false));
    }
    let _ = std::fs::remove_dir_all(&place);
    Ok(Counts::one(true))
}
