//! `cargo xtask dist`: what is handed to users. A folder, the same as an archive, and a Debian package, each tried with a
//! CUDA program.
//!
//! The package puts everything below `/usr/lib/hetgpu` and links the commands from `/usr/bin`, so that no other driver's
//! libraries are shadowed: programs get ours when they are run by `hetgpu run`.

mod licences;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::demo;
use crate::report::Counts;
use crate::tool::{cargo, nvcc, root, succeeds};

/// A file that is handed out.
struct File {
    package: &'static str,
    /// Cargo's profile: `small` for what only describes devices, so that the compiler behind them is left out.
    profile: &'static str,
    built: &'static str,
    /// Where it goes.
    place: &'static str,
}

const fn file(package: &'static str, profile: &'static str, built: &'static str, place: &'static str) -> File {
    File { package, profile, built, place }
}

const FILES: &[File] = &[
    file("hetgpu-shim", "release", "libcuda.so", "lib/libcuda.so.1"),
    file("hetgpu-shim", "release", "hetgpu-run", "bin/hetgpu-run"),
    file("hetgpu-nvml", "small", "libnvidia_ml.so", "lib/libnvidia-ml.so.1"),
    file("hetgpu-audit", "small", "libhetgpu_audit.so", "lib/libhetgpu_audit.so"),
    file("hetgpu", "small", "hetgpu", "bin/hetgpu"),
];

/// Names by which linkers look for libraries, and by which the command is called in the place of an assembler.
const LINKS: &[(&str, &str)] = &[
    ("lib/libcuda.so", "libcuda.so.1"),
    ("lib/libnvidia-ml.so", "libnvidia-ml.so.1"),
    ("bin/hetgpu-ptxas", "hetgpu"),
    ("bin/hetgpu-migrate", "hetgpu"),
];

/// Those that have completions and a manual page.
const COMMANDS: [&str; 2] = ["hetgpu", "hetgpu-migrate"];
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Packages that the libraries are linked with, besides the C library.
const NEEDED: &str = "libffi8, libgcc-s1, libstdc++6, libzstd1, zlib1g";

const VERSION: &str = env!("CARGO_PKG_VERSION");

type Result<T = ()> = std::result::Result<T, String>;

/// How much is done for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// As users get it.
    ToHandOut,
    /// As fast as can be, to see that all its parts are there and fit together.
    ToTry,
}

impl Made {
    /// Where it lies in `.build`.
    fn folder(self) -> &'static str {
        match self {
            Self::ToHandOut => ".build/dist",
            Self::ToTry => ".build/dist-tried",
        }
    }
    /// Cargo's profile for a file.
    fn profile(self, file: &File) -> &'static str {
        match self {
            Self::ToHandOut => file.profile,
            Self::ToTry => "dev",
        }
    }
    /// How the package is compressed.
    fn compression(self) -> &'static [&'static str] {
        match self {
            Self::ToHandOut => &["-Zxz"],
            Self::ToTry => &["-Zgzip", "-z1"],
        }
    }
}

pub(crate) fn run() -> Result<Counts> {
    make_all(Made::ToHandOut)
}

/// The same from what the other stages have built: how it is put together, and what users do with it first.
pub(crate) fn check() -> Result<Counts> {
    make_all(Made::ToTry)
}

fn make_all(made: Made) -> Result<Counts> {
    let out = root().join(made.folder());
    let name = format!("hetgpu-{VERSION}-x86_64-linux");
    let folder = out.join(&name);
    println!("building");
    build(made)?;
    assemble(made, &folder)?;
    let archive = out.join(format!("{name}.tar.zst"));
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "--owner=0", "--group=0", "--sort=name", "-cf"]).arg(&archive).arg("-C").arg(&out).arg(&name);
    did(&mut tar)?;
    let package = debian(made, &out, &folder)?;
    for path in [&folder.join("lib/libcuda.so.1"), &folder.join("lib/libnvidia-ml.so.1"), &archive, &package] {
        let bytes = fs::metadata(path).map_err(|error| at(path, &error))?.len();
        println!("{:>8.1} MiB  {}", bytes as f64 / f64::from(1 << 20), path.display());
    }
    try_out(&out, &archive, &package, &name)
}

fn at(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn did(command: &mut Command) -> Result {
    let shown = format!("{command:?}");
    match succeeds(command)? {
        true => Ok(()),
        false => Err(format!("failed: {shown}")),
    }
}

/// One package at a time: what one of them needs of the others' dependencies must not become part of it.
fn build(made: Made) -> Result {
    for file in FILES {
        let mut command = cargo();
        let profile = made.profile(file);
        match profile {
            // As a library for programs alone: cargo optimises what Rust is to link with in parts only.
            "small" if file.built.ends_with(".so") => command.args(["rustc", "--lib", "--crate-type", "cdylib"]),
            _ => command.arg("build"),
        };
        did(command.args(["--quiet", "--profile", profile, "--package", file.package]))?;
    }
    Ok(())
}

fn make(folder: &Path) -> Result {
    fs::create_dir_all(folder).map_err(|error| at(folder, &error))
}

fn emptied(folder: &Path) -> Result {
    let _ = fs::remove_dir_all(folder);
    make(folder)
}

fn put(path: &Path, contents: impl AsRef<[u8]>) -> Result {
    fs::write(path, contents).map_err(|error| at(path, &error))
}

fn copy(from: &Path, to: &Path) -> Result {
    fs::copy(from, to).map(drop).map_err(|error| at(from, &error))
}

fn assemble(made: Made, folder: &Path) -> Result {
    emptied(folder)?;
    for part in ["lib", "bin", "completions", "man"] {
        make(&folder.join(part))?;
    }
    for file in FILES {
        let place = folder.join(file.place);
        let built = match made.profile(file) {
            "dev" => "debug",
            other => other,
        };
        copy(&root().join("target").join(built).join(file.built), &place)?;
        did(Command::new("strip").arg("--strip-unneeded").arg(&place))?;
    }
    for (link, target) in LINKS {
        symlink(target, folder.join(link)).map_err(|error| at(&folder.join(link), &error))?;
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&root().join(file), &folder.join(file))?;
    }
    copy(&root().join("xtask/dist/GUIDE.md"), &folder.join("GUIDE.md"))?;
    copy(&root().join("xtask/dist/Containerfile"), &folder.join("Containerfile"))?;
    put(&folder.join("LICENSES-THIRD-PARTY.md"), licences::text(FILES.iter().map(|file| file.package))?)?;
    for command in COMMANDS {
        let binary = folder.join("bin").join(command);
        let said = |words: &[&str]| {
            let output = Command::new(&binary).args(words).output();
            output.map(|output| output.stdout).map_err(|error| at(&binary, &error))
        };
        for shell in SHELLS {
            put(&folder.join("completions").join(format!("{command}.{shell}")), said(&["completions", shell])?)?;
        }
        put(&folder.join("man").join(format!("{command}.1")), said(&["man"])?)?;
    }
    Ok(())
}

/// The newest version of the C library that any of the files asks for.
fn c_library(folder: &Path) -> Result<(u32, u32)> {
    let mut newest = (2, 17);
    for file in FILES {
        let output = Command::new("objdump").arg("-T").arg(folder.join(file.place)).output();
        let output = output.map_err(|error| format!("objdump: {error}"))?;
        newest = newest.max(newest_of(&String::from_utf8_lossy(&output.stdout)));
    }
    Ok(newest)
}

fn newest_of(symbols: &str) -> (u32, u32) {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let mut parts = rest[..digits].split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    versions.max().unwrap_or_default()
}

fn debian(made: Made, out: &Path, folder: &Path) -> Result<PathBuf> {
    let tree = out.join("debian");
    emptied(&tree)?;
    let home = tree.join("usr/lib/hetgpu");
    let documents = tree.join("usr/share/doc/hetgpu");
    for part in [&home, &documents, &tree.join("usr/bin"), &tree.join("DEBIAN")] {
        make(part)?;
    }
    for part in ["lib", "bin"] {
        did(Command::new("cp").arg("-a").arg(folder.join(part)).arg(&home))?;
    }
    for command in ["hetgpu", "hetgpu-migrate", "hetgpu-run"] {
        let link = tree.join("usr/bin").join(command);
        symlink(format!("../lib/hetgpu/bin/{command}"), &link).map_err(|error| at(&link, &error))?;
    }
    copy(&folder.join("GUIDE.md"), &documents.join("GUIDE.md"))?;
    let mut copyright = String::from("hetGPU is licensed under MIT or Apache-2.0, at your option.\n\n");
    for file in ["LICENSE-MIT", "LICENSE-APACHE", "LICENSES-THIRD-PARTY.md"] {
        let path = folder.join(file);
        copyright += &fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
        copyright += "\n";
    }
    put(&documents.join("copyright"), copyright)?;
    for command in COMMANDS {
        for (shell, place) in [
            ("bash", format!("bash-completion/completions/{command}")),
            ("zsh", format!("zsh/vendor-completions/_{command}")),
            ("fish", format!("fish/vendor_completions.d/{command}.fish")),
        ] {
            let place = tree.join("usr/share").join(place);
            make(place.parent().unwrap_or(&tree))?;
            copy(&folder.join("completions").join(format!("{command}.{shell}")), &place)?;
        }
        let page = format!("{command}.1");
        let pages = tree.join("usr/share/man/man1");
        make(&pages)?;
        copy(&folder.join("man").join(&page), &pages.join(&page))?;
    }
    let (major, minor) = c_library(folder)?;
    let control = format!(
        "Package: hetgpu\nVersion: {VERSION}\nArchitecture: amd64\nMaintainer: hetGPU developers <hetgpu@localhost>\n\
         Section: libs\nPriority: optional\nDepends: libc6 (>= {major}.{minor}), {NEEDED}\n\
         Description: runs CUDA programs on devices that are there\n \
         A CUDA driver library of its own, which executes device code on the machine's processors,\n \
         and the command `hetgpu`, which runs programs on it. A GPU driver that is installed is not touched.\n"
    );
    put(&tree.join("DEBIAN/control"), control)?;
    let package = out.join(format!("hetgpu_{VERSION}_amd64.deb"));
    did(Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .args(made.compression())
        .arg(&tree)
        .arg(&package))?;
    Ok(package)
}

/// Unpacks both as a user would, runs a program on each, and lets each look for the usual problems.
fn try_out(out: &Path, archive: &Path, package: &Path, name: &str) -> Result<Counts> {
    let scratch = out.join("scratch");
    emptied(&scratch)?;
    did(Command::new("tar").args(["--zstd", "-xf"]).arg(archive).arg("-C").arg(&scratch))?;
    let installed = scratch.join("installed");
    did(Command::new("dpkg-deb").arg("-x").arg(package).arg(&installed))?;
    let mut counts = Counts::one(only_ours(&installed)?);
    let program = match nvcc() {
        Ok(nvcc) => demo::vector_add(&nvcc, &scratch)?,
        Err(why) => {
            println!("skipped: {why}");
            counts += Counts { skipped: 4, ..Counts::default() };
            return Ok(counts);
        }
    };
    for hetgpu in [scratch.join(name).join("bin/hetgpu"), installed.join("usr/bin/hetgpu")] {
        let mut command = Command::new(&hetgpu);
        command.arg("run").arg(&program).env_remove("LD_LIBRARY_PATH").env_remove("HETGPU_LIBRARIES");
        counts += Counts::one(demo::is_right(&mut command)?);
        let mut command = Command::new(&hetgpu);
        command.arg("doctor").arg(&program).env_remove("LD_LIBRARY_PATH").env_remove("HETGPU_LIBRARIES");
        counts += Counts::one(succeeds(&mut command)?);
    }
    Ok(counts)
}

/// True if nothing of a package lies where another driver's files could.
fn only_ours(installed: &Path) -> Result<bool> {
    let output = Command::new("find").arg(installed).args(["!", "-type", "d", "-printf", "%P\\n"]).output();
    let output = output.map_err(|error| format!("find: {error}"))?;
    let files = String::from_utf8_lossy(&output.stdout);
    let foreign: Vec<_> = files
        .lines()
        .filter(|file| !["usr/lib/hetgpu/", "usr/bin/hetgpu", "usr/share/"].iter().any(|place| file.starts_with(place)))
        .collect();
    foreign.iter().for_each(|file| println!("the package holds /{file}"));
    Ok(foreign.is_empty() && files.contains("usr/lib/hetgpu/lib/libcuda.so.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_the_c_library_wins() {
        let symbols =
            "0000 DF *UND* (GLIBC_2.4) memcpy\n0000 DF *UND* (GLIBC_2.34) x\n0 (GLIBC_2.2.5) y\n0 (GLIBC_PRIVATE) z";
        assert_eq!(newest_of(symbols), (2, 34));
    }
}
