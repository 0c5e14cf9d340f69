//! The file system, as little of it as snapshots need, behind a trait, so that tests can let any step fail.

mod memory;

pub use memory::{Fault, MemoryDisk};

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Blocks of direct reads and writes: offset, length and memory are multiples of it.
pub const BLOCK: usize = 4096;

/// What the system says of a file or folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct About {
    /// Its bytes.
    pub bytes: u64,
    /// Its owner.
    pub owner: u32,
    /// Who may do what.
    pub mode: u32,
    /// A plain file.
    pub is_file: bool,
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes some of the bytes at an offset, and says how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize>;

    /// Reads some bytes at an offset, and says how many; 0 at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize>;

    /// What was written survives a failure of power when this returns.
    fn sync(&self) -> Result<()>;

    /// Gives the file a length.
    fn resize(&self, bytes: u64) -> Result<()>;

    /// What the system says of it.
    fn about(&self) -> Result<About>;
}

/// A file system.
pub trait Disk: Send + Sync {
    /// Makes a folder that nobody else may enter, unless it is there.
    fn make_folder(&self, path: &Path) -> Result<()>;

    /// What the system says of a folder.
    fn about_folder(&self, path: &Path) -> Result<About>;

    /// Names in a folder.
    fn names(&self, path: &Path) -> Result<Vec<String>>;

    /// Makes a file that was not there, and that nobody else may read. `direct`: past the page cache, where that is possible.
    fn create(&self, path: &Path, direct: bool) -> Result<Box<dyn DiskFile>>;

    /// Opens a file for reading. Links are not followed.
    fn open(&self, path: &Path, direct: bool) -> Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Names given and taken so far survive a failure of power when this returns.
    fn sync_folder(&self, path: &Path) -> Result<()>;

    /// The user whose files this process makes.
    fn user(&self) -> Result<u32>;

    /// Whether a process of that number runs.
    fn runs(&self, process: u32) -> bool;
}

/// The system's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

struct SystemFile(File);

fn about(found: &std::fs::Metadata) -> About {
    About { bytes: found.len(), owner: found.uid(), mode: found.mode() & 0o7777, is_file: found.is_file() }
}

impl DiskFile for SystemFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync_all()
    }

    fn resize(&self, bytes: u64) -> Result<()> {
        self.0.set_len(bytes)
    }

    fn about(&self) -> Result<About> {
        self.0.metadata().map(|found| about(&found))
    }
}

/// Opens with the flag for direct access, and without it where the file system has none.
fn open(options: &OpenOptions, path: &Path, direct: bool) -> Result<Box<dyn DiskFile>> {
    let with = |flags| options.clone().custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | flags).open(path);
    let file = match direct {
        true => with(libc::O_DIRECT).or_else(|refused| match refused.kind() {
            ErrorKind::InvalidInput => with(0),
            _ => Err(refused),
        }),
        false => with(0),
    };
    Ok(Box::new(SystemFile(file?)))
}

impl Disk for SystemDisk {
    fn make_folder(&self, path: &Path) -> Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn about_folder(&self, path: &Path) -> Result<About> {
        let found = std::fs::metadata(path)?;
        if found.is_dir() { Ok(about(&found)) } else { Err(ErrorKind::NotADirectory.into()) }
    }

    fn names(&self, path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, path: &Path, direct: bool) -> Result<Box<dyn DiskFile>> {
        let made = open(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600), path, direct);
        // A file system without direct access may have made the file before it said so.
        let made = match made {
            Err(refused) if direct && refused.kind() == ErrorKind::AlreadyExists && self.is_empty(path) => {
                open(OpenOptions::new().read(true).write(true), path, false)
            }
            other => other,
        };
        // The mode that a file is made with is cut by the process's mask, never widened; it must not be narrower either.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        made
    }

    fn open(&self, path: &Path, direct: bool) -> Result<Box<dyn DiskFile>> {
        open(OpenOptions::new().read(true), path, direct)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> Result<()> {
        File::open(path)?.sync_all()
    }

    fn user(&self) -> Result<u32> {
        std::fs::metadata("/proc/self").map(|found| found.uid())
    }

    fn runs(&self, process: u32) -> bool {
        Path::new("/proc").join(process.to_string()).exists()
    }
}

impl SystemDisk {
    fn is_empty(&self, path: &Path) -> bool {
        std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
    }
}

/// Writes all of it.
pub(crate) fn write_all(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count.min(bytes.len())..];
                offset += count as u64;
            }
            Err(refused) if refused.kind() == ErrorKind::Interrupted => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(())
}

/// Reads all of it.
pub(crate) fn read_all(file: &dyn DiskFile, mut bytes: &mut [u8], mut offset: u64) -> Result<()> {
    while !bytes.is_empty() {
        match file.read_at(bytes, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                let count = count.min(bytes.len());
                bytes = &mut bytes[count..];
                offset += count as u64;
            }
            Err(refused) if refused.kind() == ErrorKind::Interrupted => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(())
}

/// Memory for direct reads and writes.
pub(crate) struct Aligned {
    room: Vec<u8>,
    first: usize,
    bytes: usize,
}

impl Aligned {
    pub(crate) fn new(bytes: usize) -> Self {
        let room = vec![0; bytes + BLOCK];
        let first = room.as_ptr().align_offset(BLOCK).min(BLOCK);
        Self { room, first, bytes }
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.first..self.first + self.bytes]
    }

    pub(crate) fn get(&self) -> &[u8] {
        &self.room[self.first..self.first + self.bytes]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.into(),
        _ => ".".into(),
    }
}
