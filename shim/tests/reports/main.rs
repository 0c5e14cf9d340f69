//! What a program learns from the library about itself: logs, core dump attributes, traces; and what the environment changes.
//!
//! Codes, sizes and the forms of lines are those of NVIDIA's driver 580 on an H200.

#[path = "../library/sys.rs"]
mod sys;

use libloading::Library;
use std::ffi::{CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::sync::Mutex;
use sys::symbol;

const INVALID_VALUE: u32 = 1;
const NO_DEVICE: u32 = 100;
const INVALID_DEVICE: u32 = 101;
const INVALID_CONTEXT: u32 = 201;
const NOT_SUPPORTED: u32 = 801;

fn open() -> Library {
    sys::open(&std::env::current_exe().unwrap().with_file_name("libcuda.so"))
}

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hetgpu-reports-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

type Dump = extern "C" fn(*mut u32, *mut u8, *mut usize, u32) -> u32;

fn dump(library: &Library, from: Option<&mut u32>, room: usize) -> (u32, String) {
    let mut buffer = vec![0xee; room];
    let mut size = room;
    let from = from.map_or(ptr::null_mut(), ptr::from_mut);
    let code = symbol::<Dump>(library, "cuLogsDumpToMemory")(from, buffer.as_mut_ptr(), &mut size, 0);
    if code == 0 {
        assert_eq!(buffer[size], 0, "a text ends with a NUL");
    }
    (code, String::from_utf8(buffer[..size].to_vec()).unwrap())
}

static HEARD: Mutex<Vec<(usize, u32, String)>> = Mutex::new(Vec::new());

extern "C" fn hear(data: usize, level: u32, text: *const c_char, length: usize) {
    let text = sys::text(text);
    assert_eq!(text.len(), length);
    HEARD.lock().unwrap().push((data, level, text));
}

/// Held by tests that make calls fail, because a process has one log.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn failed_calls_stand_in_the_log_and_listeners_hear_of_them() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let library = open();
    type Register = extern "C" fn(Option<extern "C" fn(usize, u32, *const c_char, usize)>, usize, *mut usize) -> u32;
    type One = extern "C" fn(usize) -> u32;
    let mut listener = 0;
    let register: Register = symbol(&library, "cuLogsRegisterCallback");
    assert_eq!(register(None, 7, &mut listener), INVALID_VALUE);
    assert_eq!(register(Some(hear), 7, &mut listener), 0);
    assert_eq!(symbol::<One>(&library, "cuInit")(0), 0);

    let mut place = 0u32;
    type Current = extern "C" fn(*mut u32, u32) -> u32;
    let current: Current = symbol(&library, "cuLogsCurrent");
    assert_eq!(current(&mut place, 1), INVALID_VALUE);
    assert_eq!(current(&mut place, 0), 0);
    assert_eq!(dump(&library, Some(&mut place.clone()), 1000), (0, String::new()));

    type Get = extern "C" fn(*mut i32, i32) -> u32;
    let mut device = 0;
    assert_eq!(symbol::<Get>(&library, "cuDeviceGet")(&mut device, 99), INVALID_DEVICE);
    let heard = HEARD.lock().unwrap().clone();
    let last = (7, 0, "Returning 101 (CUDA_ERROR_INVALID_DEVICE) from cuDeviceGet".to_owned());
    assert_eq!(heard.last(), Some(&last));

    let before = place;
    let (code, text) = dump(&library, Some(&mut place), 1000);
    assert_eq!(code, 0);
    let line = text.lines().last().unwrap();
    let (time, rest) = line[1..].split_once(']').unwrap();
    assert!(time.len() == 12 && time.as_bytes()[2] == b':' && time.as_bytes()[8] == b'.', "{line}");
    let (thread, rest) = rest[1..].split_once(']').unwrap();
    assert!(thread.parse::<u64>().is_ok(), "{line}");
    assert_eq!(rest, format!("[CUDA][E] {}", last.2));
    assert!(place > before, "the place moves on");
    assert_eq!(dump(&library, Some(&mut place), 1000), (0, String::new()));
    assert_eq!(dump(&library, None, 5).0, INVALID_VALUE, "no room for a line");

    let folder = scratch("logs");
    let path = folder.join("log");
    type ToFile = extern "C" fn(*mut u32, *const c_char, u32) -> u32;
    let to_file: ToFile = symbol(&library, "cuLogsDumpToFile");
    let name = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
    assert_eq!(to_file(ptr::null_mut(), name(&path).as_ptr(), 0), 0);
    assert!(std::fs::read_to_string(&path).unwrap().contains("from cuDeviceGet\n"));
    assert_eq!(to_file(ptr::null_mut(), name(&folder.join("none/log")).as_ptr(), 0), INVALID_VALUE);

    assert_eq!(symbol::<One>(&library, "cuLogsUnregisterCallback")(listener), 0);
    assert_eq!(symbol::<One>(&library, "cuLogsUnregisterCallback")(listener), INVALID_VALUE);
    let heard = HEARD.lock().unwrap().len();
    symbol::<Get>(&library, "cuDeviceGet")(&mut device, 99);
    assert_eq!(HEARD.lock().unwrap().len(), heard, "nobody listens any more");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Not a test of its own: a program that only looks whether there is a driver.
#[test]
fn looks_and_closes() {
    let Some(_) = std::env::var_os("HETGPU_TEST_CHILD") else { return };
    let library = open();
    assert_eq!(symbol::<extern "C" fn(u32) -> u32>(&library, "cuInit")(0), 0);
    drop(library);
    println!("\nthere: {}", std::fs::read_to_string("/proc/self/maps").unwrap().contains("/libcuda.so"));
}

/// Threads that end later have something of it to tidy up.
#[test]
fn it_stays_when_it_is_closed() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "looks_and_closes", "--nocapture"]).env("HETGPU_TEST_CHILD", "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.lines().any(|line| line == "there: true"), "{text}");
}

#[test]
fn core_dump_attributes_are_kept() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let library = open();
    type Access = extern "C" fn(u32, *mut c_void, *mut usize) -> u32;
    type One = extern "C" fn(usize) -> u32;
    type Two = extern "C" fn(*mut usize, i32) -> u32;
    let call = |name: &str, attribute: u32, value: &mut [u8], mut size: usize| {
        symbol::<Access>(&library, name)(attribute, value.as_mut_ptr().cast(), &mut size)
    };
    let (get, set) = ("cuCoredumpGetAttribute", "cuCoredumpSetAttribute");
    let (get_global, set_global) = ("cuCoredumpGetAttributeGlobal", "cuCoredumpSetAttributeGlobal");
    assert_eq!(symbol::<One>(&library, "cuInit")(0), 0);
    let mut value = [0xee; 1024];
    assert_eq!(call(get, 1, &mut value, 1), INVALID_CONTEXT);
    let mut context = 0;
    assert_eq!(symbol::<Two>(&library, "cuDevicePrimaryCtxRetain")(&mut context, 0), 0);
    assert_eq!(symbol::<One>(&library, "cuCtxSetCurrent")(context), 0);

    for (attribute, default) in [(1, 0), (2, 1), (3, 0)] {
        assert_eq!((call(get, attribute, &mut value, 1), value[0]), (0, default), "{attribute}");
        assert_eq!(call(get, attribute, &mut value, 4), INVALID_VALUE, "{attribute} has one byte");
    }
    assert_eq!((call(get, 7, &mut value, 4), &value[..4]), (0, &[0; 4][..]));
    for attribute in [0, 4, 6, 8] {
        assert_eq!(call(get, attribute, &mut value, 1), INVALID_VALUE, "contexts have no attribute {attribute}");
    }
    assert_eq!(call(get_global, 4, &mut value, 1), 0);
    assert_eq!((call(get_global, 5, &mut value, 1024), &value[..4]), (0, &[0; 4][..]));
    let mut size = 0;
    assert_eq!(symbol::<Access>(&library, get)(5, ptr::null_mut(), &mut size), 0);
    assert_eq!(size, 1024);

    assert_eq!(call(set, 5, &mut b"dumps/here".to_owned(), 10), 0);
    assert_eq!((call(get, 5, &mut value, 1024), &value[..11]), (0, &b"dumps/here\0"[..]));
    assert_eq!((call(get_global, 5, &mut value, 1024), value[0]), (0, 0), "the global one is another");
    assert_eq!(call(set_global, 3, &mut [1], 1), 0);
    assert_eq!((call(get, 3, &mut value, 1), value[0]), (0, 1), "contexts have what is set for all");
    assert_eq!(call(set, 1, &mut [1, 0], 2), INVALID_VALUE);
    assert_eq!(call(set_global, 4, &mut [1], 1), 0);
    assert_eq!(call(set_global, 6, &mut b"pipe".to_owned(), 4), NOT_SUPPORTED, "the trigger is on");

    type Nothing = extern "C" fn() -> u32;
    for name in ["cuProfilerStart", "cuProfilerStart", "cuProfilerStop", "cuProfilerStop"] {
        assert_eq!(symbol::<Nothing>(&library, name)(), 0);
    }
    type Three = extern "C" fn(usize, usize, u32) -> u32;
    assert_eq!(symbol::<Three>(&library, "cuProfilerInitialize")(0, 0, 0), NOT_SUPPORTED);
}

/// Not a test of its own: the program that the tests below start with other environments.
#[test]
fn child() {
    let Some(_) = std::env::var_os("HETGPU_TEST_CHILD") else { return };
    let library = open();
    type Init = extern "C" fn(u32) -> u32;
    type Out = extern "C" fn(*mut i32) -> u32;
    type Attribute = extern "C" fn(*mut i32, i32, i32) -> u32;
    type HostAlloc = extern "C" fn(*mut usize, usize, u32) -> u32;
    let code = symbol::<Init>(&library, "cuInit")(0);
    let (mut count, mut version, mut major, mut host) = (0, 0, 0, 0);
    symbol::<Out>(&library, "cuDeviceGetCount")(&mut count);
    symbol::<Out>(&library, "cuDriverGetVersion")(&mut version);
    symbol::<Attribute>(&library, "cuDeviceGetAttribute")(&mut major, 75, 0);
    symbol::<HostAlloc>(&library, "cuMemHostAlloc")(&mut host, 64, 3);
    for name in MISSING.iter().chain(MISSING) {
        assert_eq!(symbol::<Init>(&library, name)(0), NOT_SUPPORTED);
    }
    println!("\nanswer {code} {count} {version} {major}");
}

/// Some of the calls that are not there yet.
const MISSING: &[&str] = &[
    "cuMulticastAddDevice",
    "cuMulticastBindMem",
    "cuMulticastCreate",
    "cuMulticastGetGranularity",
    "cuMulticastUnbind",
    "cuTensorMapEncodeIm2colWide",
];

fn answer(environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env("HETGPU_TEST_CHILD", "1").env_remove("CUDA_VISIBLE_DEVICES");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("answer ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn the_environment_chooses_devices_and_versions() {
    assert_eq!(answer(&[]), "0 1 13000 9");
    assert_eq!(answer(&[("HETGPU_DEVICE", "cpu,interp")]), "0 2 13000 9");
    assert_eq!(answer(&[("HETGPU_DEVICE", "cpu,interp"), ("CUDA_VISIBLE_DEVICES", "1")]), "0 1 13000 9");
    assert_eq!(answer(&[("CUDA_VISIBLE_DEVICES", "")]), format!("{NO_DEVICE} 0 13000 0"));
    assert_eq!(answer(&[("CUDA_VISIBLE_DEVICES", "0,0")]), format!("{INVALID_DEVICE} 0 13000 0"));
    assert_eq!(answer(&[("HETGPU_DRIVER_VERSION", "12040"), ("HETGPU_COMPUTE", "8.6")]), "0 1 12040 8");
}

#[test]
fn calls_are_traced_with_names_results_and_times() {
    let folder = scratch("trace");
    let log = folder.join("log");
    answer(&[("HETGPU_LOG", &format!("off,api:{}", log.display()))]);
    let text = std::fs::read_to_string(&log).unwrap();
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{text}"));
    let traced = line("cuDeviceGetAttribute(");
    assert!(traced.contains(" <- 9, attribute: 75 COMPUTE_CAPABILITY_MAJOR, device: 0) = CUDA_SUCCESS, "), "{traced}");
    assert!(traced.ends_with(" us"), "{traced}");
    let traced = line("cuMemHostAlloc(");
    assert!(traced.contains("bytes: 64, flags: 3 PORTABLE|DEVICEMAP) = CUDA_ERROR_INVALID_CONTEXT: "), "{traced}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_missing_is_said_once() {
    let folder = scratch("missing");
    let log = folder.join("log");
    answer(&[("HETGPU_LOG", &format!("warn:{}", log.display()))]);
    let text = std::fs::read_to_string(&log).unwrap();
    for name in MISSING {
        assert_eq!(text.matches(&format!("{name} is not supported")).count(), 1, "{text}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn modules_and_what_they_become_are_saved() {
    let folder = scratch("dump");
    let file = folder.join("one.ptx");
    let ptx = ".version 7.5\n.target sm_75\n.address_size 64\n.visible .entry nothing() { ret; }\n";
    std::fs::write(&file, ptx).unwrap();
    let saved = folder.join("saved");
    let mut command = Command::new(env!("CARGO_BIN_EXE_hetgpu-run"));
    command.arg(&file).args(["--block", "64"]).env("HETGPU_DUMP", &saved).env_remove("CUDA_VISIBLE_DEVICES");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names: Vec<_> =
        std::fs::read_dir(&saved).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let with_end = |end: &str| {
        let found = names.iter().find(|name| name.ends_with(end)).unwrap_or_else(|| panic!("no {end} in {names:?}"));
        (found.clone(), std::fs::read(saved.join(found)).unwrap())
    };
    assert_eq!(with_end(".ptx").1, ptx.as_bytes());
    assert_eq!(with_end(".image").1, ptx.as_bytes());
    assert!(String::from_utf8(with_end(".het").1).unwrap().contains("nothing"));
    for end in [".ll", ".opt.ll", ".s"] {
        let (name, contents) = with_end(end);
        assert!(name.starts_with("nothing.64x1x1.warp.") && !contents.is_empty(), "{name}");
    }
    assert!(with_end(".o").1.starts_with(b"\x7fELF"));
    std::fs::remove_dir_all(&folder).unwrap();
}
