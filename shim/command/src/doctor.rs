//! `hetgpu doctor`: each check is one function that says what it found and, where that is a problem, what to do.

use crate::line::Line;
use crate::{Outcome, images, libraries, refused, say};
use hetgpu_registry as registry;
use hetgpu_runtime::{Code, ImageSource, Settings};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Finding {
    Good(String),
    /// It works, and could work better.
    Note(String),
    /// What is wrong, and what to do about it.
    Problem(String, String),
}
use Finding::{Good, Note, Problem};

fn problem(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Problem(what.into(), remedy.into())
}

type Check = (&'static str, fn() -> Vec<Finding>);

const CHECKS: &[Check] = &[
    ("libraries", our_libraries),
    ("other libraries", other_libraries),
    ("processor", processor),
    ("memory", memory),
    ("limits", limits),
    ("cache", cache),
    ("settings", settings),
    ("devices", devices),
];

pub(crate) fn run(line: &Line) -> Outcome {
    let program = match &line.arguments[..] {
        [] => None,
        [program] => Some(found_in_path(program).ok_or_else(|| refused(format!("{program}: no such program")))?),
        [_, extra, ..] => return Err(refused(format!("'{extra}' is one argument too many"))),
    };
    let mut problems = 0;
    let mut show = |name: &str, findings: Vec<Finding>| {
        for finding in findings {
            match finding {
                Good(text) => say(format_args!("ok       {name}: {text}")),
                Note(text) => say(format_args!("note     {name}: {text}")),
                Problem(text, remedy) => {
                    problems += 1;
                    say(format_args!("problem  {name}: {text}\n         do: {remedy}"));
                }
            }
        }
    };
    for (name, check) in CHECKS {
        show(name, check());
    }
    if let Some(path) = &program {
        show("program", program_of(path));
    }
    say(match problems {
        0 => "nothing is wrong".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    });
    Ok(u8::from(problems > 0))
}

/// The file that a shell would execute under that name.
pub(crate) fn found_in_path(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The libraries of ours, and whether the system's linker and C library can load them.
fn our_libraries() -> Vec<Finding> {
    const LINKER: &str = "/lib64/ld-linux-x86-64.so.2";
    let folder = match libraries::folder() {
        Ok(folder) => folder,
        Err(why) => return vec![problem(why, "unpack or install the whole archive; bin/ and lib/ belong together")],
    };
    let mut findings = Vec::new();
    for name in [libraries::CUDA, "libnvidia-ml.so.1", libraries::AUDIT] {
        let path = folder.join(name);
        if !path.exists() {
            findings.push(problem(format!("{} is missing", path.display()), "install hetGPU as a whole"));
            continue;
        }
        // Besides what it needs, its complaints name versions of the C library that are not there.
        let listed = Command::new(LINKER).arg("--list").arg(&path).stdin(Stdio::null()).output();
        let Ok(listed) = listed else {
            findings.push(Note(format!("{LINKER} cannot be asked what {name} needs")));
            continue;
        };
        let text = [listed.stdout, listed.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        match missing(&text) {
            missing if missing.is_empty() && listed.status.success() => {}
            missing => findings.push(problem(
                format!("{name} cannot be loaded: {}", missing.join("; ")),
                "install these libraries (Debian: libc6 libffi8 zlib1g libzstd1 libstdc++6); for GLIBC versions a \
                 newer system is needed: Debian 12, Ubuntu 24.04 or later",
            )),
        }
    }
    if findings.is_empty() {
        findings.push(Good(format!("all in {}", folder.display())));
    }
    findings
}

/// The lines of the linker's list that say that something is missing.
fn missing(listed: &str) -> Vec<&str> {
    listed.lines().map(str::trim).filter(|line| line.contains("not found") || line.contains("cannot open")).collect()
}

/// Other libraries of the same name that a program would find first, and a driver that is loaded.
fn other_libraries() -> Vec<Finding> {
    let ours = libraries::folder().ok();
    let is_ours = |path: &Path| {
        let real = fs::canonicalize(path).ok();
        ours.as_ref().is_some_and(|folder| real == fs::canonicalize(folder.join(libraries::CUDA)).ok())
    };
    let mut findings = Vec::new();
    let first = candidates().into_iter().find(|path| path.exists());
    match first {
        Some(path) if is_ours(&path) => findings.push(Good(format!("programs find ours first: {}", path.display()))),
        Some(path) => findings.push(Note(format!(
            "without `hetgpu run` programs find {} first; put our folder first in LD_LIBRARY_PATH, or use `hetgpu run`",
            path.display()
        ))),
        None => findings.push(Note(
            "without `hetgpu run` programs find no libcuda.so.1: use `hetgpu run`, or name our folder in LD_LIBRARY_PATH"
                .to_owned(),
        )),
    }
    if Path::new("/proc/driver/nvidia/version").exists() {
        findings.push(Note("a GPU driver is loaded; programs run by `hetgpu run` do not use it".to_owned()));
    }
    findings
}

/// Where a program without a path of its own looks for the library, in order.
fn candidates() -> Vec<PathBuf> {
    let variable = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let mut paths: Vec<_> = std::env::split_paths(&variable).map(|folder| folder.join(libraries::CUDA)).collect();
    let listed = Command::new("ldconfig").arg("-p").stdin(Stdio::null()).output();
    let listed = listed.or_else(|_| Command::new("/sbin/ldconfig").arg("-p").stdin(Stdio::null()).output());
    let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let cached = text.lines().filter(|line| line.trim_start().starts_with(libraries::CUDA));
    paths.extend(cached.filter_map(|line| Some(PathBuf::from(line.split_once("=> ")?.1))));
    for folder in ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"] {
        paths.push(Path::new(folder).join(libraries::CUDA));
    }
    paths
}

#[cfg(target_arch = "x86_64")]
fn processor() -> Vec<Finding> {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma");
    let avx512 = has!("avx512f") && has!("avx512cd") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    match (avx512, avx2) {
        (true, _) => vec![Good("AVX-512".to_owned())],
        (false, true) => vec![Good("AVX2; AVX-512 would be faster".to_owned())],
        (false, false) => vec![Note(
            "neither AVX2 nor AVX-512: kernels run with SSE2, several times slower; in a virtual machine, let it have \
             the host's processor model"
                .to_owned(),
        )],
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> Vec<Finding> {
    vec![Note(format!("kernels have not been tried on {}", std::env::consts::ARCH))]
}

/// The number in a line like `MemTotal:  123 kB`, in bytes.
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

fn memory() -> Vec<Finding> {
    const LEAST: u64 = 1 << 30;
    const LEAST_SHARED: u64 = 64 << 20;
    let mebibytes = |bytes: u64| bytes >> 20;
    let mut findings = Vec::new();
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match meminfo(&text, "MemAvailable") {
        Some(bytes) if bytes < LEAST => findings.push(problem(
            format!("{} MiB are free", mebibytes(bytes)),
            "end other programs, or give the machine or container more memory",
        )),
        Some(bytes) => findings.push(Good(format!("{} MiB are free", mebibytes(bytes)))),
        None => findings.push(Note("the system does not say how much memory is free".to_owned())),
    }
    let shared =
        Command::new("df").args(["--block-size=1", "--output=avail", "/dev/shm"]).stdin(Stdio::null()).output();
    let shared = shared.ok().and_then(|output| {
        String::from_utf8_lossy(&output.stdout).lines().nth(1).and_then(|line| line.trim().parse::<u64>().ok())
    });
    match shared {
        Some(bytes) if bytes < LEAST_SHARED => findings.push(problem(
            format!("/dev/shm has room for {} MiB; memory that processes share lies there", mebibytes(bytes)),
            "docker run --shm-size=1g, or mount -o remount,size=1g /dev/shm",
        )),
        Some(_) => {}
        None => findings.push(Note("there is no /dev/shm: memory cannot be shared between processes".to_owned())),
    }
    findings
}

/// Addresses are reserved by the terabyte, which costs nothing unless it is forbidden.
fn limits() -> Vec<Finding> {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let space = text.lines().find_map(|line| line.strip_prefix("Max address space"));
    let limited = space.and_then(|line| line.split_ascii_whitespace().next()).filter(|&soft| soft != "unlimited");
    let mut findings = Vec::new();
    if let Some(bytes) = limited {
        findings.push(problem(format!("address space is limited to {bytes} bytes"), "ulimit -v unlimited"));
    }
    if fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|text| text.trim() == "2") {
        findings.push(problem(
            "the system refuses to reserve more memory than it has (vm.overcommit_memory = 2)",
            "sysctl vm.overcommit_memory=0",
        ));
    }
    if findings.is_empty() {
        findings.push(Good("addresses can be reserved".to_owned()));
    }
    findings
}

fn cache() -> Vec<Finding> {
    const REMEDY: &str = "let XDG_CACHE_HOME name a folder that belongs to you and that others cannot write to";
    let Some(folder) = registry::default_cache() else {
        return vec![problem("neither HOME nor XDG_CACHE_HOME is set: kernels are compiled anew in each run", REMEDY)];
    };
    let probe = folder.join(format!("doctor-{}.part", std::process::id()));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&probe, b"x"));
    let _ = fs::remove_file(&probe);
    let open = fs::metadata(&folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o022 != 0);
    match written {
        Err(error) => {
            vec![problem(format!("{}: {error}: kernels are compiled anew in each run", folder.display()), REMEDY)]
        }
        Ok(()) if open => {
            vec![problem(format!("{}: others may write to it, so it is not used", folder.display()), REMEDY)]
        }
        Ok(()) => vec![Good(format!("compiled kernels are kept in {}", folder.display()))],
    }
}

fn settings() -> Vec<Finding> {
    let (settings, mut complaints) = Settings::read(|name| std::env::var(name).ok());
    let known = registry::names();
    let unknown = settings.devices.iter().filter(|name| !known.contains(&name.as_str()));
    complaints.extend(unknown.map(|name| format!("HETGPU_DEVICE: no device '{name}'; there are {}", known.join(", "))));
    match complaints.is_empty() {
        true => vec![Good("understood".to_owned())],
        false => complaints.into_iter().map(|what| problem(what, "`hetgpu settings` lists them")).collect(),
    }
}

fn devices() -> Vec<Finding> {
    let (settings, _) = Settings::read(|name| std::env::var(name).ok());
    match registry::seen(&settings) {
        Err(repeated) => vec![problem(repeated.to_string(), "cuInit fails as it does on hardware")],
        Ok(devices) if devices.is_empty() && registry::descriptions(&settings).is_empty() => {
            let (named, there) = (settings.devices.join(", "), registry::there(&settings).join(", "));
            vec![problem(format!("this machine has none of {named}"), format!("let HETGPU_DEVICE name one of {there}"))]
        }
        Ok(devices) if devices.is_empty() => {
            vec![problem(format!("{} hides every device", registry::VISIBLE), format!("unset {}", registry::VISIBLE))]
        }
        Ok(devices) => {
            let names: Vec<_> =
                devices.iter().map(|device| format!("{} ({})", device.caps.name, device.name)).collect();
            vec![Good(names.join(", "))]
        }
    }
}

/// A program: whether it can be given our libraries, and whether there is code in it for them.
fn program_of(path: &Path) -> Vec<Finding> {
    let mut bytes = Vec::new();
    if let Err(error) = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        return vec![problem(format!("{}: {error}", path.display()), "let it be readable")];
    }
    if bytes.starts_with(b"#!") {
        return vec![Note("a script: look at the libraries that it loads (`hetgpu explain FILE.so`)".to_owned())];
    }
    let contents = match images::read(&bytes) {
        Ok(contents) => contents,
        Err(why) => return vec![problem(format!("{}: {why}", path.display()), "name a program")],
    };
    let mut findings = Vec::new();
    if contents.kind == "an ELF file" && !bytes.windows(LOADER.len()).any(|window| window == LOADER) {
        findings.push(problem("it is linked statically and loads no libraries", "link it with the shared C library"));
    }
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o6000 != 0) {
        findings.push(problem(
            "it changes the user it runs as, so that the system ignores which libraries it is to take",
            "run a copy of it without the set-user-id bit",
        ));
    }
    match (contents.images.is_empty(), contents.has_ptx()) {
        (true, _) => findings.push(Note("no device code in it: it may bring some in its libraries or make it itself".to_owned())),
        (false, false) => findings.push(problem(
            format!("only machine code for {}: nothing that can be run elsewhere", contents.targets()),
            "build it with PTX: nvcc -gencode arch=compute_75,code=compute_75; CMake: CMAKE_CUDA_ARCHITECTURES=75-virtual",
        )),
        (false, true) => findings.extend(kernels(&bytes, path)),
    }
    findings
}

/// What asks for the dynamic linker stands in the file by its path.
const LOADER: &[u8] = b"/ld-linux";

fn kernels(bytes: &[u8], path: &Path) -> Vec<Finding> {
    let (settings, _) = Settings::read(|name| std::env::var(name).ok());
    match Code::load(ImageSource::Bytes(bytes), &path.to_string_lossy(), settings.compute) {
        Err(error) => vec![problem(error.to_string(), "`hetgpu explain` says more")],
        Ok(code) => {
            let refused: Vec<_> = code.kernels.iter().filter(|kernel| kernel.refused.is_some()).collect();
            let names: Vec<_> = refused.iter().take(3).map(|kernel| kernel.name.to_string_lossy()).collect();
            match refused.len() {
                0 if code.kernels.is_empty() => {
                    vec![Note("no kernels in it: it may bring some in its libraries or make them itself".to_owned())]
                }
                0 => vec![Good(format!("its PTX is understood; kernels: {}", code.kernels.len()))],
                count => vec![problem(
                    format!("{count} of {} kernels cannot be launched: {}", code.kernels.len(), names.join(", ")),
                    format!("`hetgpu explain {}` says why", path.display()),
                )],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_complaints_are_found() {
        let listed = "\tlibffi.so.8 => not found\n\tlibm.so.6 => /lib/libm.so.6 (0x7f)\n./x: /lib/libc.so.6: version `GLIBC_2.99' not found (required by ./x)\n";
        assert_eq!(missing(listed).len(), 2);
        assert!(missing("\tstatically linked\n").is_empty());
    }

    #[test]
    fn sizes_are_read_in_bytes() {
        assert_eq!(meminfo("MemTotal:       16 kB\nMemAvailable:    2 kB\n", "MemAvailable"), Some(2048));
        assert_eq!(meminfo("MemTotal: x kB\n", "MemTotal"), None);
    }
}
