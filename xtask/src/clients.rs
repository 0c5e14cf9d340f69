//! `cargo xtask clients`: real programs that speak to libcuda, and the page about them.
//!
//! A case counts only if it fails where kernels do nothing. Scripts of ours also run on a library whose launches are
//! dropped (feature `idle`), and there every case has to fail. Of the tests that clients bring along, those that do are
//! listed in `tests/clients/suites`, with those that are known to fail; `--write` finds out which they are.

mod suite;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Counts;
use crate::tool::{cargo, root, succeeds};
use suite::Suite;

/// A client: its package, what is run of it, and how it is made to hand over PTX.
struct Client {
    package: &'static str,
    /// Of the script, or of the list of tests.
    name: &'static str,
    what: What,
    how: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// A script of ours.
    Script,
    /// A program of ours in Rust.
    Program,
    /// Tests of the client's own, run by a script.
    Tests,
    /// Tests of the client's own, run by cargo.
    CargoTests,
}

const CLIENTS: &[Client] = &[
    Client {
        package: "numba-cuda",
        name: "numba_kernels",
        what: What::Script,
        how: "as installed, without nvidia-nvjitlink",
        settings: &[],
    },
    Client {
        package: "cuda-core",
        name: "cuda_core_programs",
        what: What::Script,
        how: "`compile(\"ptx\")`",
        settings: &[],
    },
    Client {
        package: "cupy-cuda13x",
        name: "cupy_arrays",
        what: What::Script,
        how: "`CUPY_COMPILE_WITH_PTX=1`",
        settings: &[("CUPY_COMPILE_WITH_PTX", "1")],
    },
    Client {
        package: "triton",
        name: "triton_kernels",
        what: What::Script,
        how: "`TRITON_PTXAS_PATH` names a program that copies",
        settings: &[],
    },
    // It assembles its PTX itself for drivers that are older than its toolkit.
    Client {
        package: "warp-lang",
        name: "warp_kernels",
        what: What::Script,
        how: "`warp.config.cuda_output = \"ptx\"` and `HETGPU_DRIVER_VERSION=13050`",
        settings: &[("HETGPU_DRIVER_VERSION", "13050")],
    },
    Client { package: "taichi", name: "taichi_kernels", what: What::Script, how: "as installed", settings: &[] },
    Client { package: "cubecl", name: "cubecl_kernels", what: What::Program, how: "as it is", settings: &[] },
    Client { package: "numba-cuda", name: "numba_tests", what: What::Tests, how: "as above", settings: &[] },
    Client { package: "cudarc", name: "cudarc_tests", what: What::CargoTests, how: "as it is", settings: &[] },
];

const PAGE: &str = "docs/compatibility.md";

/// What was said of a case or test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Ok,
    Failed,
    Skipped,
}

type Results = BTreeMap<String, Said>;

/// Runs the clients with `name` in their name. `write`: finds out anew which tests of the clients' own count, and writes
/// the page if all ran.
pub(crate) fn run(name: Option<&str>, write: bool) -> Result<Counts, String> {
    let wanted: Vec<_> = CLIENTS.iter().filter(|client| name.is_none_or(|name| client.name.contains(name))).collect();
    if wanted.is_empty() {
        let known: Vec<_> = CLIENTS.iter().map(|client| client.name).collect();
        return Err(format!("no client has `{}` in its name; there are {}", name.unwrap_or(""), known.join(" ")));
    }
    let root = root();
    if !succeeds(Command::new("bash").arg(root.join("tests/clients/setup.sh")))? {
        return Err("the clients could not be installed: see above; they come from PyPI and crates.io".into());
    }
    let idle = library("idle", &["--features", "idle"])?;
    let ours = library("clients", &[])?;
    let versions = versions(&root)?;
    let mut counts = Counts::default();
    let mut page = String::from(HEAD);
    for client in &wanted {
        let version = versions.get(client.package).map_or("?", String::as_str);
        let (results, ended) = start(&root, client, &ours)?;
        if results.is_empty() || !ended {
            // What ends early would otherwise look like something with few cases.
            counts += Counts::one(false);
            println!("{:<14} {version:<9} {} did not end well", client.package, client.name);
        }
        let (what, right) = match client.what {
            What::Script | What::Program => {
                let (without, _) = start(&root, client, &idle)?;
                let hollow = |case: &str| without.get(case) == Some(&Said::Ok);
                for (case, &said) in &results {
                    counts += Counts::one(said == Said::Ok && !hollow(case));
                    let word = match (said, hollow(case)) {
                        (Said::Ok, false) => "ok",
                        (Said::Ok, true) => "FAILED: it passes where kernels do nothing",
                        (Said::Failed | Said::Skipped, _) => "FAILED",
                    };
                    println!("{:<14} {version:<9} {case:<16} {word}", client.package);
                }
                let cases: Vec<_> = results.keys().map(|case| case.replace('_', " ")).collect();
                let passed = results.iter().filter(|(case, said)| **said == Said::Ok && !hollow(case)).count();
                (cases.join(", "), format!("{passed} of {}", results.len()))
            }
            What::Tests | What::CargoTests => {
                let path = root.join("tests/clients/suites").join(client.name).with_extension("tsv");
                let mut suite = Suite::read(&path)?;
                if write {
                    let (without, _) = start(&root, client, &idle)?;
                    suite.choose(&results, &without);
                    suite.write(&path)?;
                }
                let verdict = suite.judge(&results);
                verdict.wrong.iter().for_each(|line| println!("{:<14} {version:<9} {line}", client.package));
                println!("{:<14} {version:<9} {}: {}", client.package, client.name, verdict.summary);
                counts += verdict.counts;
                (format!("its own tests: {}", suite.parts()), verdict.summary)
            }
        };
        page += &format!("| {} | {version} | {} | {what} | {right} |\n", client.package, client.how);
    }
    if write && name.is_none() {
        std::fs::write(root.join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))?;
        println!("wrote {PAGE}");
    }
    Ok(counts)
}

const HEAD: &str = "\
# Compatibility

Written by `cargo xtask clients --write`: what clients of CUDA do on the CPU device. Scripts and programs of
`tests/clients` are compared with NumPy or plain code. Of the tests that clients bring along, a part is run. A case or test
counts only if it fails on a library that drops its launches.

| client | version | how it hands over PTX | what was run | right |
|---|---|---|---|---|
";

/// A folder with our library, built with those flags.
fn library(folder: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let root = root();
    if !succeeds(cargo().args(["build", "--quiet", "--package", "hetgpu-shim"]).args(flags))? {
        return Err("libcuda.so.1 does not build".into());
    }
    let folder = root.join(".build").join(folder);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    // Replaced as a whole: a program that has the old one open keeps it.
    let new = folder.join("new");
    std::fs::copy(root.join("target/debug/libcuda.so"), &new).map_err(failed)?;
    std::fs::rename(&new, folder.join("libcuda.so.1")).map_err(failed)?;
    // Some clients look for the name that programs are linked with.
    let plain = folder.join("libcuda.so");
    if !plain.exists() {
        std::os::unix::fs::symlink("libcuda.so.1", &plain).map_err(failed)?;
    }
    Ok(folder)
}

/// Versions of what was installed, by the names of packages.
fn versions(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut pip = Command::new(root.join(".build/clients/venv/bin/pip"));
    let output = pip.args(["list", "--format", "freeze"]).output().map_err(|error| format!("pip: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let pair = |(name, version): (&str, &str)| (name.to_owned(), version.to_owned());
    let mut versions: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once("==")).map(pair).collect();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"));
    versions.insert("cudarc".into(), read(".build/clients/cudarc/pins")?);
    let manifest = read("tests/clients/cubecl_kernels/Cargo.toml")?;
    let cubecl = manifest.lines().find_map(|line| line.strip_prefix("cubecl = { version = \"=")?.split('"').next());
    versions.insert("cubecl".into(), cubecl.unwrap_or("?").to_owned());
    Ok(versions)
}

fn joined(folders: &[&Path]) -> Result<std::ffi::OsString, String> {
    std::env::join_paths(folders).map_err(|error| error.to_string())
}

/// Runs what a client is on a library: what was said of cases, and whether all ended as it should.
fn start(root: &Path, client: &Client, library: &Path) -> Result<(Results, bool), String> {
    let clients = root.join(".build/clients");
    let venv = clients.join("venv");
    let toolkits = std::fs::read_dir(venv.join("lib")).map_err(|error| format!("{}: {error}", venv.display()))?;
    let toolkit = toolkits.flatten().map(|entry| entry.path().join("site-packages/nvidia/cu13")).find(|p| p.is_dir());
    let toolkit = toolkit.ok_or("the clients' toolkit is not there: remove .build/clients and run this again")?;
    let mut command = Command::new("timeout");
    command.arg("1500");
    match client.what {
        What::Script | What::Tests => {
            command.arg(venv.join("bin/python")).args(["-W", "ignore"]);
            command.arg(root.join("tests/clients").join(client.name).with_extension("py"));
            command.env("LD_LIBRARY_PATH", library).env("CUDA_PATH", &toolkit);
        }
        What::Program => {
            let cuda = clients.join("cuda-12/nvidia");
            command.arg("cargo").args(["run", "--quiet", "--locked", "--manifest-path"]);
            command.arg(root.join("tests/clients").join(client.name).join("Cargo.toml"));
            command.env("CARGO_TARGET_DIR", clients.join("target")).env("CUDA_PATH", cuda.join("cuda_runtime"));
            command.env("LD_LIBRARY_PATH", joined(&[library, &cuda.join("cuda_nvrtc/lib")])?);
        }
        What::CargoTests => {
            command.arg("cargo").args(["test", "--quiet", "--locked", "--manifest-path"]);
            command.arg(clients.join("cudarc/source/Cargo.toml")).args(["--lib", "--no-default-features"]);
            command.args(["--features", "std,driver,nvrtc,dynamic-loading,cuda-13000"]);
            command.args(["--", "--test-threads=1", "--format=pretty"]);
            command.env("CARGO_TARGET_DIR", clients.join("target"));
            command.env("LD_LIBRARY_PATH", joined(&[library, &toolkit.join("lib")])?);
        }
    }
    // Caches of compiled code must not bring in what another library made.
    let caches = clients.join("cache");
    command.envs(client.settings.iter().copied()).current_dir(&clients);
    command.env("CUPY_CACHE_DIR", caches.join("cupy")).env("TRITON_CACHE_DIR", caches.join("triton"));
    command.env("WARP_CACHE_PATH", caches.join("warp")).env("PYTHONDONTWRITEBYTECODE", "1");
    if matches!(client.what, What::Tests | What::CargoTests) {
        // They provoke errors.
        command.env("HETGPU_LOG", "off");
    }
    let output = command.output().map_err(|error| format!("{} does not start: {error}", client.name))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let results: Results = text.lines().filter_map(said).collect();
    let ended = match client.what {
        // Failures are judged one by one.
        What::Tests => text.lines().any(|line| line == "end"),
        What::CargoTests => text.contains("test result: "),
        What::Script | What::Program => output.status.success(),
    };
    if !ended && !library.ends_with("idle") {
        print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((results, ended))
}

/// A line of a script, `ok NAME`, or of Rust's test harness, `test NAME ... ok`.
fn said(line: &str) -> Option<(String, Said)> {
    let (word, name) = match line.strip_prefix("test ") {
        Some(rest) => rest.split_once(" ... ").map(|(name, word)| (word, name))?,
        None => line.split_once(' ')?,
    };
    let said = match word.split([' ', ',']).next()? {
        "ok" => Said::Ok,
        "FAILED" => Said::Failed,
        "skipped" | "ignored" => Said::Skipped,
        _ => return None,
    };
    Some((name.split(' ').next()?.to_owned(), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_scripts_and_of_the_harness_are_read() {
        assert_eq!(said("ok sort"), Some(("sort".into(), Said::Ok)));
        assert_eq!(said("FAILED sort x: differs by 3"), Some(("sort".into(), Said::Failed)));
        assert_eq!(said("test a::b ... ignored, a reason"), Some(("a::b".into(), Said::Skipped)));
        assert_eq!(said("test a::b - should panic ... ok"), Some(("a::b".into(), Said::Ok)));
        assert_eq!(said("test result: ok. 1 passed"), None);
        assert_eq!(said("something else"), None);
    }
}
