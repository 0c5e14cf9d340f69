//! `cargo xtask check tsan`: the tests of the runtime's queues once more, with every access of every thread watched by
//! ThreadSanitizer, which finds those that nothing puts in an order. The standard library is built so too; it would not see
//! what locks do otherwise. The CPU device is not among them: LLVM is not built so.

use crate::report::Counts;
use crate::tool::{cargo, counted};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is run, as arguments of `cargo test`.
const SUITE: &[&str] = &[
    "--package=hetgpu-device",
    "--package=hetgpu-interp",
    "--package=hetgpu-runtime",
    "--lib",
    "--test=graphs",
    "--test=moves",
    "--test=order",
    "--test=pause",
    "--test=pools",
    "--test=snapshots",
];

/// Tests that cannot pass here, and why.
const LEFT_OUT: &[(&str, &str)] = &[(
    "sys::tests::a_reserved_range_is_refused_the_second_time",
    "its address is one of those that ThreadSanitizer keeps for itself: all above 2 TiB but where programs and stacks lie",
)];

pub(crate) fn run() -> Result<Counts, String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    if let Some(missing) = missing(&target)? {
        println!("skipped tsan: {missing}");
        return Ok(Counts { skipped: 1, ..Counts::default() });
    }
    let mut command = cargo();
    command.args(["test", "--quiet", "--no-fail-fast", "-Zbuild-std", "--target", &target]).args(SUITE);
    // What is built so fits nothing else.
    command.args(["--target-dir", "target/tsan"]);
    command.arg("--").args(LEFT_OUT.iter().flat_map(|(name, _)| ["--skip", name]));
    // Stable compilers take the flags then.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=thread").env("CARGO_INCREMENTAL", "0");
    counted(&mut command, Counts::test_result)
}

/// What the toolchain lacks, and what can be done.
fn missing(target: &str) -> Result<Option<String>, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().map_err(|e| format!("rustc: {e}"))?;
    let rustlib = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()).join("lib/rustlib");
    if !has_runtime(&rustlib.join(target).join("lib")) {
        return Ok(Some(format!("the Rust in {} has no ThreadSanitizer for {target}", rustlib.display())));
    }
    if !rustlib.join("src/rust/library/Cargo.toml").is_file() {
        let why = "the sources of the standard library are not there (./setup.sh or `rustup component add rust-src`)";
        return Ok(Some(why.into()));
    }
    Ok(None)
}

/// Its name holds that of the channel.
fn has_runtime(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.tsan.a"))
}
