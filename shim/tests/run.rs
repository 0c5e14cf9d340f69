//! `hetgpu-run` from the command line.

use std::path::PathBuf;
use std::process::{Command, Output};

/// data[i] *= k for i below n.
const SCALE: &str = "\
.version 7.5
.target sm_75
.address_size 64
.visible .entry scale(.param .u64 data, .param .u32 n, .param .f32 k)
{
    .reg .pred %p<2>;
    .reg .b32 %r<6>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [data];
    ld.param.u32 %r1, [n];
    ld.param.f32 %f1, [k];
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, %ctaid.x;
    mov.u32 %r4, %ntid.x;
    mad.lo.u32 %r5, %r3, %r4, %r2;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra $done;
    mul.wide.u32 %rd2, %r5, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.f32 %f2, [%rd3];
    mul.f32 %f3, %f2, %f1;
    st.global.f32 [%rd3], %f3;
$done:
    ret;
}
";

/// Every thread stores its number at the same place.
const RACE: &str = "\
.version 7.5
.target sm_75
.address_size 64
.visible .entry race(.param .u64 data)
{
    .reg .b32 %r<2>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [data];
    mov.u32 %r1, %tid.x;
    st.global.u32 [%rd1], %r1;
    ret;
}
";

/// Every block stores its rank in its cluster.
const RANK: &str = "\
.version 8.5
.target sm_90
.address_size 64
.visible .entry rank(.param .u64 data)
{
    .reg .b32 %r<3>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [data];
    mov.u32 %r1, %cluster_ctarank;
    mov.u32 %r2, %ctaid.x;
    mul.wide.u32 %rd2, %r2, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r1;
    ret;
}
";

/// A folder of its own, gone at the end.
struct Work(PathBuf);

impl Work {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hetgpu-run-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hetgpu-run")).args(words).env_remove("HETGPU_LOG").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_buffer_is_printed_as_the_kernel_left_it() {
    let work = Work::new("buffer");
    let file = work.file("scale.ptx", SCALE);
    let output = run(&[&file, "--grid", "2", "--block", "3", "buf:f32:1,2,3,4,5,6", "u32:5", "f32:1.5"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "1: 1.5 3.0 4.5 6.0 7.5 6.0\n"));
    let output = run(&[&file, "--block", "8", "--show", "3", "buf:f32:len=8,fill=2", "u32:2", "f32:-1"]);
    assert_eq!(stdout(&output), "1: -2.0 -2.0 2.0 ... 5 more\n");
}

#[test]
fn blocks_are_launched_in_clusters_where_asked() {
    let work = Work::new("cluster");
    let file = work.file("rank.ptx", RANK);
    let output = run(&[&file, "--grid", "6", "buf:u32:len=6,fill=9"]);
    assert_eq!(stdout(&output), "1: 0 0 0 0 0 0\n", "{}", stderr(&output));
    let output = run(&[&file, "--grid", "6", "--cluster", "3", "buf:u32:len=6,fill=9"]);
    assert_eq!(stdout(&output), "1: 0 1 2 0 1 2\n", "{}", stderr(&output));
    let output = run(&[&file, "--grid", "16", "--cluster", "16", "buf:u32:len=16,fill=9"]);
    assert_eq!(stdout(&output), "1: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n", "{}", stderr(&output));
    for (cluster, why) in [("4", "cannot be cut into clusters"), ("17", "at most 16"), ("0", "clusters of [0, 1, 1]")] {
        let output = run(&[&file, "--grid", "6", "--cluster", cluster, "buf:u32:len=6"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hetgpu-run"));
    let output = command.arg("--help").stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_file_is_written_back_only_where_asked() {
    let work = Work::new("file");
    let file = work.file("scale.ptx", SCALE);
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let data = work.file("data", floats(&[1.0, 2.0]));
    for (argument, expected) in [(format!("file:{data}"), [1.0, 2.0]), (format!("file:{data}:rw"), [3.0, 6.0])] {
        let output = run(&[&file, "--block", "2", &argument, "u32:2", "f32:3"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(std::fs::read(&data).unwrap(), floats(&expected));
    }
}

#[test]
fn a_fault_names_line_kernel_thread_and_buffer() {
    let work = Work::new("fault");
    let file = work.file("scale.ptx", SCALE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hetgpu-run"));
    command.args([&file, "--block", "5", "buf:f32:1,2,3", "u32:5", "f32:1"]).env_remove("HETGPU_LOG");
    // The processor itself notices only accesses beyond a page.
    let output = command.env("HETGPU_CHECK", "memory").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for part in ["scale.ptx:21:", "\"data\"", "kernel scale", "thread (3, 0, 0)", "ld.global.f32 %f2, [%rd3];"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn what_cannot_be_started_says_why() {
    let work = Work::new("refused");
    let file = work.file("scale.ptx", SCALE);
    let broken = work.file("broken.ptx", SCALE.replace("mul.f32", "mull.f32"));
    let cases: [(&[&str], &str); 8] = [
        (&[&broken, "buf:f32:1", "u32:1", "f32:1"], "broken.ptx:22:5: error: unknown instruction `mull`"),
        (&[&file, "u32:1", "u32:1", "f32:1"], "argument 1: 4 bytes, but data takes 8"),
        (&[&file, "buf:f32:1"], "1 arguments, 3 wanted"),
        (&[&file, "--kernel", "other"], "no kernel other; there are\n  scale("),
        (&[&file, "--block", "2000", "buf:f32:1", "u32:1", "f32:1"], "a block of [2000, 1, 1]"),
        (&[&file, "--sideways"], "no option --sideways"),
        (&["/nonexistent.ptx"], "/nonexistent.ptx: No such file"),
        (&[&file, "buf:f33:1", "u32:1", "f32:1"], "no such type"),
    ];
    for (words, part) in cases {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains(part), "{part} is not in\n{}", stderr(&output));
    }
}

#[test]
fn races_are_found_when_asked_for() {
    let work = Work::new("race");
    let file = work.file("race.ptx", RACE);
    let words = [file.as_str(), "--block", "2", "buf:u32:9"];
    assert_eq!(run(&words).status.code(), Some(0));
    let output = run(&[&words[..], &["--check"]].concat());
    assert!(matches!(output.status.code(), Some(1 | 3)), "{:?}", output.status);
    assert!(stderr(&output).contains("race.ptx:10:"), "{}", stderr(&output));
}
