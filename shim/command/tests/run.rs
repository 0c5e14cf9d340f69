//! The command as a user has it: programs with paths to another libcuda get ours, and what it prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the other library answers, so that it is known which one was called.
const OTHER: &str = "int cuInit(unsigned flags) { (void)flags; return 77; }\n";

/// Calls cuInit by its name, or, with an argument, out of the library at that path.
const PROGRAM: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
int cuInit(unsigned);
int main(int count, char **words) {
    int (*init)(unsigned) = cuInit;
    if (count > 1) {
        void *library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
        if (!library) { puts(dlerror()); return 1; }
        init = (int (*)(unsigned))dlsym(library, "cuInit");
    }
    printf("%d\n", init(0));
    return 0;
}
"#;

struct Work(PathBuf);

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Work {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hetgpu-command-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("lib")).unwrap();
        Self(folder)
    }

    /// Our libraries under the names that they have when they are installed; a stand-in for libcuda, which another package
    /// builds: it answers 0.
    fn libraries(&self) -> PathBuf {
        let folder = self.0.join("lib");
        let built = std::env::current_exe().unwrap().with_file_name("libhetgpu_audit.so");
        std::os::unix::fs::symlink(built, folder.join("libhetgpu_audit.so")).unwrap();
        self.library(&folder, &OTHER.replace("77", "0"));
        folder
    }

    fn library(&self, folder: &Path, source: &str) {
        fs::create_dir_all(folder).unwrap();
        let file = folder.join("cuda.c");
        fs::write(&file, source).unwrap();
        cc(&["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"], &[&folder.join("libcuda.so.1"), &file]);
    }
}

fn cc(flags: &[&str], paths: &[&Path]) {
    let output = Command::new("cc").args(flags).args(paths).output().expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn hetgpu(libraries: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hetgpu"));
    for variable in ["LD_LIBRARY_PATH", "LD_AUDIT", "HETGPU_LOG", "HETGPU_DEVICE", "CUDA_VISIBLE_DEVICES"] {
        command.env_remove(variable);
    }
    command.env("HETGPU_LIBRARIES", libraries).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// CRIU's part is played by a shell, which begins the command as CRIU begins what it is to ask at each of its steps.
#[test]
fn who_saves_a_process_waits_until_it_may_and_gives_up_where_nobody_is_left() {
    use std::io::Write;
    use std::process::Stdio;
    let ask = |step: &str, said: Option<&[u8]>| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$0\"; status=$?; exit $status", env!("CARGO_BIN_EXE_hetgpu")]);
        shell.env("HETGPU_CRIU_WAITS", "1").env("CRTOOLS_SCRIPT_ACTION", step);
        let mut child = shell.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let waits = child.try_wait().unwrap().is_none();
        if let Some(said) = said {
            // It may have ended.
            let _ = input.as_mut().unwrap().write_all(said);
        } else {
            drop(input.take());
        }
        (waits, child.wait().unwrap().code())
    };
    assert_eq!(ask("pre-dump", Some(b"\n")), (true, Some(0)));
    assert_eq!(ask("pre-dump", None), (true, Some(1)));
    assert_eq!(ask("post-dump", Some(b"")), (false, Some(0)));
}

#[test]
fn a_program_gets_our_library_whatever_path_it_has_to_another() {
    let work = Work::new("paths");
    let libraries = work.libraries();
    let other = work.0.join("other");
    work.library(&other, OTHER);
    let source = work.0.join("program.c");
    fs::write(&source, PROGRAM).unwrap();
    let link = |name: &str, tags: &str| {
        let program = work.0.join(name);
        let rpath = format!("-Wl,{tags},-rpath,{}", other.display());
        cc(&[&rpath, "-o"], &[&program, &source, &other.join("libcuda.so.1"), Path::new("-ldl")]);
        program
    };
    let absolute = other.join("libcuda.so.1");
    for (name, tags) in [("rpath", "--disable-new-dtags"), ("runpath", "--enable-new-dtags")] {
        let program = link(name, tags);
        let program = program.to_str().unwrap();
        for arguments in [&[][..], &["libcuda.so.1"], &["libcuda.so"], &[absolute.to_str().unwrap()]] {
            if arguments != ["libcuda.so"] {
                let plain = Command::new(program).args(arguments).env_remove("LD_LIBRARY_PATH").output().unwrap();
                assert_eq!(text(&plain.stdout), "77\n", "{name} {arguments:?}: the other library answers by itself");
            }
            let words = [&["run", "--", program][..], arguments].concat();
            let output = hetgpu(&libraries, &words);
            assert_eq!(text(&output.stdout), "0\n", "{name} {arguments:?}: {}", text(&output.stderr));
            assert!(output.status.success());
        }
    }
}

#[test]
fn which_device_it_is_is_said_in_one_line() {
    let work = Work::new("device");
    let libraries = work.libraries();
    let output = hetgpu(&libraries, &["run", "--device", "interp", "sh", "-c", "echo $HETGPU_DEVICE; exit 5"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(5), "interp\n".to_owned()));
    assert_eq!(text(&output.stderr), "hetgpu: sh runs on hetGPU interpreter (interp)\n");
    assert_eq!(text(&hetgpu(&libraries, &["run", "--quiet", "true"]).stderr), "");
    let output = hetgpu(&libraries, &["run", "--device", "abacus", "true"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("hetgpu: there is no device 'abacus'; there are cpu"));
    let output = hetgpu(&libraries, &["run", "/no/such/program"]);
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(text(&output.stderr), "hetgpu: /no/such/program: no such program\n", "and no word of a device");
    let source = work.0.join("kernel.cu");
    fs::write(&source, "").unwrap();
    let output = hetgpu(&libraries, &["run", source.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(126));
    assert!(text(&output.stderr).contains("build it first, nvcc"), "{}", text(&output.stderr));
    let output = hetgpu(&work.0, &["run", "true"]);
    assert_eq!(output.status.code(), Some(2), "the libraries are missing");
    assert!(text(&output.stderr).contains("HETGPU_LIBRARIES"));
}

#[test]
fn kernels_are_explained_and_what_is_refused_is_named() {
    let work = Work::new("explain");
    let file = work.0.join("two.ptx");
    let ptx = ".version 7.5\n.target sm_75\n.address_size 64\n\
        .visible .entry good(.param .u64 data, .param .u32 n) .maxntid 128 { .shared .align 4 .b8 room[64]; ret; }\n\
        .visible .entry bad() { nothing.u32; ret; }\n";
    fs::write(&file, ptx).unwrap();
    let file = file.to_str().unwrap();
    let output = hetgpu(&work.0, &["explain", file]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "one kernel is refused: {said}{}", text(&output.stderr));
    for line in ["  PTX for sm_75", "kernel good", "  parameter n: 4 bytes at 8", "kernel bad", "  cannot be launched:"]
    {
        assert!(said.contains(line), "no `{line}` in\n{said}");
    }
    assert!(said.contains("two.ptx:5:"), "{said}");
    let json = text(&hetgpu(&work.0, &["explain", "--json", file]).stdout);
    assert!(json.contains(r#""name":"good""#) && json.contains(r#""target":"sm_75""#), "{json}");
    let output = hetgpu(&work.0, &["explain", env!("CARGO_MANIFEST_DIR")]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn devices_and_settings_are_listed() {
    let work = Work::new("lists");
    let devices = text(&hetgpu(&work.0, &["devices"]).stdout);
    assert!(devices.contains("hetGPU CPU") && devices.contains("GPU-"), "{devices}");
    let json = text(&hetgpu(&work.0, &["devices", "--json"]).stdout);
    assert!(json.starts_with('[') && json.contains(r#""name":"cpu""#), "{json}");
    let settings = text(&hetgpu(&work.0, &["settings"]).stdout);
    for variable in ["HETGPU_LOG", "HETGPU_DEVICE", "HETGPU_DUMP", "HETGPU_COMPUTE"] {
        assert!(settings.contains(variable), "{settings}");
    }
    assert_eq!(text(&hetgpu(&work.0, &["--version"]).stdout), format!("hetgpu {}\n", env!("CARGO_PKG_VERSION")));
    let completions = text(&hetgpu(&work.0, &["completions", "bash"]).stdout);
    let checked = Command::new("bash").args(["-n", "-c", &completions]).status();
    assert!(checked.is_ok_and(|status| status.success()), "{completions}");
}

#[test]
fn the_doctor_finds_a_program_without_ptx_and_a_missing_library() {
    let work = Work::new("doctor");
    let cubin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ptx-frontend/tests/data/container/scale.sm_90.cubin");
    let output = hetgpu(&work.0, &["doctor", cubin.to_str().unwrap()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("problem  libraries: libcuda.so.1 is not in"), "{said}");
    assert!(said.contains("problem  program: only machine code for sm_90"), "{said}");
    assert!(said.contains("-gencode arch=compute_75,code=compute_75"), "{said}");
    let limited = Command::new("sh")
        .args(["-c", "ulimit -v 8000000; exec \"$0\" doctor", env!("CARGO_BIN_EXE_hetgpu")])
        .env("HETGPU_COMPUTE", "none")
        .output()
        .unwrap();
    let said = text(&limited.stdout);
    assert!(said.contains("address space is limited") && said.contains("ulimit -v unlimited"), "{said}");
    assert!(said.contains("problem  settings: HETGPU_COMPUTE: 'none'"), "{said}");
}

#[test]
fn under_the_name_of_an_assembler_it_copies_ptx() {
    use std::os::unix::process::CommandExt;
    let folder = std::env::temp_dir().join(format!("hetgpu-ptxas-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (input, output) = (folder.join("in.ptx"), folder.join("out.cubin"));
    std::fs::write(&input, ".version 8.0\n").unwrap();
    let mut assembler = Command::new(env!("CARGO_BIN_EXE_hetgpu"));
    assembler.arg0("/somewhere/hetgpu-ptxas").args(["-lineinfo", "-v", "--gpu-name=sm_90a", "-arch", "sm_90"]);
    let done = assembler.arg(&input).arg("-o").arg(&output).output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(std::fs::read(&output).unwrap(), b".version 8.0\n\0");
    let nothing = Command::new(env!("CARGO_BIN_EXE_hetgpu")).arg0("hetgpu-ptxas").output().unwrap();
    assert!(!nothing.status.success() && text(&nothing.stderr).contains("no input"));
    std::fs::remove_dir_all(&folder).unwrap();
}
