//! `cargo xtask clients`: real programs that speak to libcuda, each with cases that are compared with NumPy, and the
//! page about them.
//!
//! A case counts only if it fails where kernels do nothing: each script also runs on a library whose launches are
//! dropped (feature `idle`), and there every case has to fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Counts;
use crate::tool::{cargo, root, succeeds};

/// A client: its package, its script, and how it is made to hand over PTX.
struct Client {
    package: &'static str,
    script: &'static str,
    how: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

const CLIENTS: &[Client] = &[
    Client {
        package: "numba-cuda",
        script: "numba_kernels",
        how: "as installed, without nvidia-nvjitlink",
        settings: &[],
    },
    Client { package: "cuda-core", script: "cuda_core_programs", how: "`compile(\"ptx\")`", settings: &[] },
    Client {
        package: "cupy-cuda13x",
        script: "cupy_arrays",
        how: "`CUPY_COMPILE_WITH_PTX=1`",
        settings: &[("CUPY_COMPILE_WITH_PTX", "1")],
    },
    Client {
        package: "triton",
        script: "triton_kernels",
        how: "`TRITON_PTXAS_PATH` names a program that copies",
        settings: &[],
    },
    // It assembles its PTX itself for drivers that are older than its toolkit.
    Client {
        package: "warp-lang",
        script: "warp_kernels",
        how: "`warp.config.cuda_output = \"ptx\"` and `HETGPU_DRIVER_VERSION=13050`",
        settings: &[("HETGPU_DRIVER_VERSION", "13050")],
    },
    Client { package: "taichi", script: "taichi_kernels", how: "as installed", settings: &[] },
];

const PAGE: &str = "docs/compatibility.md";

/// What a script said of a case.
type Results = BTreeMap<String, bool>;

/// Runs the clients whose script's name contains `name`, and writes the page if all ran.
pub(crate) fn run(name: Option<&str>, write: bool) -> Result<Counts, String> {
    let wanted: Vec<_> = CLIENTS.iter().filter(|client| name.is_none_or(|name| client.script.contains(name))).collect();
    if wanted.is_empty() {
        let known: Vec<_> = CLIENTS.iter().map(|client| client.script).collect();
        return Err(format!("no client has `{}` in its name; there are {}", name.unwrap_or(""), known.join(" ")));
    }
    let root = root();
    if !succeeds(Command::new("bash").arg(root.join("tests/clients/setup.sh")))? {
        return Err("the clients could not be installed: see above; they come from PyPI".into());
    }
    let idle = library("idle", &["--features", "idle"])?;
    let ours = library("clients", &[])?;
    let versions = versions(&root)?;
    let mut counts = Counts::default();
    let mut page = String::from(HEAD);
    for client in &wanted {
        let version = versions.get(client.package).map_or("?", String::as_str);
        let (results, exited) = script(&root, client, &ours)?;
        let (without, _) = script(&root, client, &idle)?;
        let hollow: Vec<_> = without.iter().filter(|(_, passed)| **passed).map(|(case, _)| case.as_str()).collect();
        let good = |case: &str, passed: bool| passed && !hollow.contains(&case);
        for (case, &passed) in &results {
            counts += Counts::one(good(case, passed));
            let word = match (passed, hollow.contains(&case.as_str())) {
                (false, _) => "FAILED",
                (true, true) => "FAILED: it passes where kernels do nothing",
                (true, false) => "ok",
            };
            println!("{:<14} {version:<9} {case:<16} {word}", client.package);
        }
        if results.is_empty() || !exited {
            // A script that ends early would otherwise look like one with few cases.
            counts += Counts::one(false);
            println!("{:<14} {version:<9} the script did not end well", client.package);
        }
        let cases: Vec<_> = results.keys().map(|case| case.replace('_', " ")).collect();
        let passed = results.iter().filter(|(case, passed)| good(case, **passed)).count();
        page += &format!(
            "| {} | {version} | {} | {} | {passed} of {} |\n",
            client.package,
            client.how,
            cases.join(", "),
            results.len()
        );
    }
    if write && name.is_none() {
        std::fs::write(root.join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))?;
        println!("wrote {PAGE}");
    }
    Ok(counts)
}

const HEAD: &str = "\
# Compatibility

Written by `cargo xtask clients --write`: each client runs a script of `tests/clients` on the CPU device, compared with
NumPy. A case counts only if it fails on a library that drops its launches.

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

fn versions(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut pip = Command::new(root.join(".build/clients/venv/bin/pip"));
    let output = pip.args(["list", "--format", "freeze"]).output().map_err(|error| format!("pip: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split_once("==")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
}

/// Runs a script on a library: what it said of its cases, and whether all were right.
fn script(root: &Path, client: &Client, library: &Path) -> Result<(Results, bool), String> {
    let venv = root.join(".build/clients/venv");
    let toolkits = std::fs::read_dir(venv.join("lib")).map_err(|error| format!("{}: {error}", venv.display()))?;
    let toolkit = toolkits.flatten().map(|entry| entry.path().join("site-packages/nvidia/cu13")).find(|p| p.is_dir());
    // Caches of compiled code must not bring in what another library made.
    let caches = root.join(".build/clients/cache");
    let mut command = Command::new("timeout");
    command.arg("600").arg(venv.join("bin/python")).args(["-W", "ignore"]);
    command.arg(root.join("tests/clients").join(client.script).with_extension("py"));
    command.env("LD_LIBRARY_PATH", library).envs(client.settings.iter().copied());
    command.env("CUPY_CACHE_DIR", caches.join("cupy")).env("TRITON_CACHE_DIR", caches.join("triton"));
    command.env("WARP_CACHE_PATH", caches.join("warp")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(toolkit.map(|toolkit| ("CUDA_PATH", toolkit)));
    let output = command.output().map_err(|error| format!("python does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut results = Results::new();
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let case = rest.split(' ').next().unwrap_or("");
        if word == "ok" || word == "FAILED" {
            results.insert(case.to_owned(), word == "ok");
        }
    }
    let idle = library.ends_with("idle");
    if !output.status.success() && !idle {
        print!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((results, output.status.success()))
}
