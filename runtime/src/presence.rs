//! Who uses devices now: a small file a process, in a folder of the user's, which tools that list devices read.
//!
//! The file of process 12 is named `12` and holds lines: `hetgpu 2`, `start N` (when the process began, so that a number
//! that is used again is not taken for it), `numbers N` (the namespace that its number is of: containers may share the folder),
//! and a line a device, `UUID BYTES`. Bytes are written over in place. A file whose process is gone, or that is no such file, is
//! removed by whoever finds it, but for those of other namespaces.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const FORMAT: &str = "hetgpu 2";
/// No file that is one is larger.
const LIMIT: u64 = 64 << 10;
/// Digits of a number of bytes.
const DIGITS: usize = 20;

/// What one process uses of one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Use {
    pub uuid: [u8; 16],
    pub bytes: u64,
}

/// A process that uses devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    pub pid: u32,
    /// In the order in which it numbers them.
    pub devices: Vec<Use>,
}

/// This process's own entry; it is gone when this is dropped.
#[derive(Debug)]
pub struct Presence {
    path: PathBuf,
    file: File,
    /// Where the bytes of each device stand.
    places: Vec<u64>,
    /// When this process began.
    start: u64,
}

/// `$XDG_RUNTIME_DIR/hetgpu`, else a folder of the user's in /tmp.
pub fn folder() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    match runtime.filter(|path| path.is_dir()) {
        Some(path) => path.join("hetgpu"),
        None => PathBuf::from(format!("/tmp/hetgpu-{}", user())),
    }
}

/// The folders of all users whose processes this one may ask about: its own, and for root everybody's.
pub fn folders() -> Vec<PathBuf> {
    let mut all = vec![folder()];
    if user() == 0 {
        let below = |folder: &str, inner: &str| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path().join(inner)).collect::<Vec<_>>()
        };
        let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("hetgpu-"));
        all.extend(below("/tmp", "").into_iter().filter(named));
        all.extend(below("/run/user", "hetgpu"));
    }
    all.retain(|folder| own(folder).is_ok());
    all.sort();
    all.dedup();
    all
}

/// Whoever this process acts as.
pub(crate) fn user() -> u32 {
    fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid())
}

/// When a process began, in the system's ticks; none where there is no such process. Processes whose clocks were moved, as
/// those of restored ones are, say the same as others but for a tick.
pub fn start_of(pid: u32) -> Option<u64> {
    const START_TIME: usize = 22;
    // The second field is a name in parentheses, which may hold anything.
    const AFTER_NAME: usize = 3;
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let start: i64 = fields.split_ascii_whitespace().nth(START_TIME - AFTER_NAME)?.parse().ok()?;
    Some(start.saturating_sub(own_offset()).max(0) as u64)
}

/// The namespace that this process knows others' numbers by.
fn numbers() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}

/// Ticks by which this process's clocks are ahead of the system's.
fn own_offset() -> i64 {
    let text = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    parse_offset(&text).unwrap_or(0)
}

fn parse_offset(text: &str) -> Option<i64> {
    /// A second of ticks, and one tick in nanoseconds.
    const SECOND: i64 = 100;
    const TICK: i64 = 10_000_000;
    let mut words = text.lines().find_map(|line| line.strip_prefix("boottime"))?.split_ascii_whitespace();
    let (seconds, nanoseconds): (i64, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(seconds.saturating_mul(SECOND).saturating_add(nanoseconds / TICK))
}

/// Lets a process go on that was stopped. Whether it was told so.
pub fn let_go_on(process: u32) -> bool {
    crate::sys::signal(process, libc::SIGCONT)
}

/// Ends a process, whatever it is at. Whether it was told so.
pub fn end(process: u32) -> bool {
    crate::sys::signal(process, libc::SIGKILL)
}

/// Whether the process of that number is one that began then.
pub fn began(pid: u32, start: u64) -> bool {
    start_of(pid).is_some_and(|found| found.abs_diff(start) <= 1)
}

/// Whether the process that began then still runs. One that has ended and that nobody has asked about yet does not.
pub(crate) fn runs(pid: u32, start: u64) -> bool {
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    began(pid, start) && !matches!(state(), Some('Z' | 'X') | None)
}

/// A folder that belongs to this user, and that nobody else writes to. Root may ask about anybody's.
fn own(folder: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    let user = user();
    match metadata.is_dir() && (metadata.uid() == user || user == 0) && metadata.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(io::Error::other(format!("{}: not a folder of this user alone", folder.display()))),
    }
}

/// Makes a folder for processes of this user, if it is not there.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    own(folder)
}

impl Presence {
    /// Says that this process uses these devices.
    pub fn announce(folder: &Path, uuids: &[[u8; 16]]) -> io::Result<Self> {
        make_folder(folder)?;
        let pid = std::process::id();
        let start = start_of(pid).unwrap_or(0);
        let mut text = format!("{FORMAT}\nstart {start}\nnumbers {}\n", numbers());
        let mut places = Vec::new();
        for uuid in uuids {
            text.extend(uuid.iter().map(|byte| format!("{byte:02x}")));
            text.push(' ');
            places.push(text.len() as u64);
            text.push_str(&format!("{:0DIGITS$}\n", 0));
        }
        let path = folder.join(pid.to_string());
        // Whole at once, and never through a link that somebody left there.
        let unfinished = folder.join(format!("{pid}.part"));
        let _ = fs::remove_file(&unfinished);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&unfinished, &path)?;
        Ok(Self { path, file, places, start })
    }

    /// Whether this process is the one that said so, and not one that was brought back since.
    pub(crate) fn is_right(&self) -> bool {
        began(std::process::id(), self.start)
    }

    /// Says how many bytes of a device are in use.
    pub fn used(&self, device: usize, bytes: u64) {
        if let Some(&place) = self.places.get(device) {
            // A tool that shows an old number is no reason to fail.
            let _ = self.file.write_all_at(format!("{bytes:0DIGITS$}").as_bytes(), place);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The processes that use devices now, by number.
pub fn processes(folder: &Path) -> Vec<Process> {
    let mut found = Vec::new();
    if own(folder).is_err() {
        return found;
    }
    let numbers = numbers();
    let foreign = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| entry.numbers != numbers);
    let entry_at = |path: &Path| read(path).and_then(|text| parse(&text));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Where a process listens; it is gone with it. One that has other numbers is not known here, and listens all the same.
        if let Some(pid) = name.strip_suffix(".sock").and_then(|pid| pid.parse::<u32>().ok()) {
            let elsewhere =
                || foreign(&entry_at(&folder.join(pid.to_string()))) || crate::sys::may_be_listened_at(&entry.path());
            if start_of(pid).is_none() && !elsewhere() {
                let _ = fs::remove_file(entry.path());
            }
            continue;
        }
        let Ok(pid) = name.trim_end_matches(".part").parse() else { continue };
        match entry_at(&entry.path()) {
            other if foreign(&other) => {}
            Some(Entry { start, devices, .. }) if began(pid, start) => {
                if !name.ends_with(".part") {
                    found.push(Process { pid, devices });
                }
            }
            // It is being written.
            None if start_of(pid).is_some() => {}
            _ => {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    found.sort_by_key(|process| process.pid);
    found
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What a file says.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    start: u64,
    numbers: u64,
    devices: Vec<Use>,
}

fn parse(text: &str) -> Option<Entry> {
    let mut lines = text.lines();
    if lines.next()? != FORMAT {
        return None;
    }
    let start = lines.next()?.strip_prefix("start ")?.parse().ok()?;
    let numbers = lines.next()?.strip_prefix("numbers ")?.parse().ok()?;
    let devices = lines.map(|line| {
        let (uuid, bytes) = line.split_once(' ')?;
        if uuid.len() != 32 || !uuid.is_ascii() {
            return None;
        }
        let mut parsed = [0; 16];
        for (at, byte) in parsed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&uuid[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Use { uuid: parsed, bytes: bytes.parse().ok()? })
    });
    Some(Entry { start, numbers, devices: devices.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("hetgpu-presence-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_process_is_seen_with_what_it_uses_until_it_is_gone() {
        let folder = scratch("seen");
        assert!(processes(&folder).is_empty());
        let uuids = [[0xab; 16], [0x01; 16]];
        let presence = Presence::announce(&folder, &uuids).unwrap();
        presence.used(1, 123_456_789);
        presence.used(7, 1);
        let devices = vec![Use { uuid: uuids[0], bytes: 0 }, Use { uuid: uuids[1], bytes: 123_456_789 }];
        assert_eq!(processes(&folder), [Process { pid: std::process::id(), devices }]);
        drop(presence);
        assert!(processes(&folder).is_empty());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn files_of_processes_that_are_gone_are_removed() {
        use std::os::unix::net::UnixListener;
        let folder = scratch("stale");
        drop(Presence::announce(&folder, &[]).unwrap());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        // A process of that number is not here, but somewhere else one listens.
        let socket = folder.join(format!("{}.sock", child.id()));
        let listener = UnixListener::bind(&socket).unwrap();
        processes(&folder);
        assert!(socket.exists(), "somebody listens there");
        drop(listener);
        processes(&folder);
        assert!(!socket.exists(), "nobody does any more");
        let own = std::process::id();
        let wrong_start = format!("{FORMAT}\nstart 1\nnumbers {}\n", numbers());
        fs::write(folder.join(child.id().to_string()), &wrong_start).unwrap();
        fs::write(folder.join(own.to_string()), &wrong_start).unwrap();
        fs::write(folder.join("notes"), "").unwrap();
        assert!(processes(&folder).is_empty());
        let left: Vec<_> = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["notes"], "what is none of ours stays");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn files_of_processes_with_numbers_of_another_namespace_stay() {
        let folder = scratch("foreign");
        drop(Presence::announce(&folder, &[]).unwrap());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (gone, socket) = (child.id().to_string(), format!("{}.sock", child.id()));
        for (numbers, left) in [(numbers() + 1, 2), (numbers(), 0)] {
            fs::write(folder.join(&gone), format!("{FORMAT}\nstart 1\nnumbers {numbers}\n")).unwrap();
            fs::write(folder.join(&socket), "").unwrap();
            assert!(processes(&folder).is_empty());
            // A socket may be looked at before the file beside it is removed.
            assert!(processes(&folder).is_empty());
            assert_eq!(fs::read_dir(&folder).unwrap().count(), left);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn clocks_that_were_moved_are_seen_through() {
        assert_eq!(parse_offset("monotonic           0         0\nboottime            0         0\n"), Some(0));
        assert_eq!(parse_offset("monotonic 5 0\nboottime  -1 500000000\n"), Some(-50));
        assert_eq!(parse_offset(""), None);
        let start = start_of(std::process::id()).unwrap();
        assert!(began(std::process::id(), start + 1) && !began(std::process::id(), start + 2));
    }

    #[test]
    fn what_is_not_whole_is_no_entry() {
        let uuid = "00112233445566778899aabbccddeeff";
        assert!(parse(&format!("{FORMAT}\nstart 5\nnumbers 6\n{uuid} 7\n")).is_some_and(|entry| (
            entry.start,
            entry.numbers,
            entry.devices[0].bytes
        ) == (5, 6, 7)));
        for text in ["", "hetgpu 1\nstart 5\nnumbers 6\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for rest in ["start x\nnumbers 6\n", "start 5\n", "start 5\nnumbers x\n", "start 5\nnumbers 6\n00 7\n"] {
            assert_eq!(parse(&format!("{FORMAT}\n{rest}")), None, "{rest}");
        }
        assert_eq!(parse(&format!("{FORMAT}\nstart 5\nnumbers 6\n{uuid}\n")), None);
    }
}
