//! What is kept on disk from run to run: compiled code, printed texts, lifted modules.
//!
//! One file an entry, named by its key. A file is written under another name and renamed, so that a reader, also in
//! another process, sees all of it or nothing. What does not belong to this user, what others may write, what is
//! damaged and what was made for another key is not used.

mod digest;
mod sys;

pub use digest::{BYTES, Digest, Hasher, digest, hex};

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

const MAGIC: [u8; 8] = *b"hetgpujc";
const VERSION: u32 = 3;
/// Magic, version, bytes of the contents, key, digest of all the rest.
const HEADER: usize = 8 + 4 + 8 + BYTES + BYTES;
/// Ends of the names of entries and of files that are being written.
const ENTRY: &str = "code";
const UNFINISHED: &str = "part";
/// A file that is being written for longer belongs to a process that is gone.
const STALE: Duration = Duration::from_secs(600);
/// So many entries are added before the folder is looked through again, since other processes add to it too.
const LOOK_EVERY: u32 = 16;

/// The folder that is meant where none is named: `$XDG_CACHE_HOME/hetgpu`, else `~/.cache/hetgpu`.
pub fn default_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("hetgpu"))
}

/// A folder of entries.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    limit: u64,
    user: u32,
    size: Mutex<Size>,
}

/// What is known of the folder's size.
#[derive(Debug, Default)]
struct Size {
    bytes: u64,
    /// Entries that may be added before it is determined again.
    credit: u32,
}

impl Cache {
    /// A cache in this folder, which is made where it is missing, with so many bytes at most.
    ///
    /// # Errors
    /// The folder cannot be made, is another user's, or others may write to it.
    pub fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let user = sys::effective_user();
        let metadata = fs::metadata(folder)?;
        let refuse = |why: &str| Err(io::Error::other(format!("{}: {why}", folder.display())));
        if !metadata.is_dir() {
            return refuse("not a folder");
        }
        if metadata.uid() != user {
            return refuse("belongs to another user");
        }
        if metadata.mode() & 0o022 != 0 {
            return refuse("others may write to it");
        }
        Ok(Self { folder: folder.to_path_buf(), limit, user, size: Mutex::default() })
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.folder.join(hex(key)).with_extension(ENTRY)
    }

    /// The entry of this key. A file that cannot be one is removed.
    pub fn load(&self, key: &Digest) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut file =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path).ok()?;
        let contents = self.read(&mut file, key);
        match contents {
            // The least recently used entries go first; a time that cannot be set makes this one look older than it is.
            Some(_) => drop(file.set_modified(SystemTime::now())),
            None => self.remove(key),
        }
        contents
    }

    fn read(&self, file: &mut File, key: &Digest) -> Option<Vec<u8>> {
        let metadata = file.metadata().ok()?;
        let length = usize::try_from(metadata.len()).ok()?;
        if !self.ours(&metadata) || length < HEADER {
            return None;
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header).ok()?;
        // The room is made by what the header says only where the file is as long as that.
        let bytes = content_length(&header).filter(|bytes| Some(*bytes) == length.checked_sub(HEADER))?;
        let mut contents = Vec::new();
        contents.try_reserve_exact(bytes).ok()?;
        file.take(bytes as u64).read_to_end(&mut contents).ok()?;
        is_sound(&header, &contents, key).then_some(contents)
    }

    fn ours(&self, metadata: &Metadata) -> bool {
        metadata.is_file() && metadata.uid() == self.user && metadata.mode() & 0o022 == 0
    }

    /// Drops the entry of this key.
    pub fn remove(&self, key: &Digest) {
        // Nothing to do where it is gone already or may not be removed: it is not used in any case.
        drop(fs::remove_file(self.path(key)));
    }

    /// Keeps an entry.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store(&self, key: &Digest, contents: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let header = header(contents, key);
        let length = (header.len() + contents.len()) as u64;
        if length > self.limit {
            return Ok(());
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = self.folder.join(format!("{}-{}-{number}.{UNFINISHED}", hex(key), std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)
            .and_then(|mut file| file.write_all(&header).and_then(|()| file.write_all(contents)))
            .and_then(|()| fs::rename(&part, self.path(key)));
        if written.is_err() {
            drop(fs::remove_file(&part));
        }
        written?;
        self.keep_to_limit(length);
        Ok(())
    }

    /// Removes what was not used for longest where the folder has become too large by this many bytes.
    fn keep_to_limit(&self, added: u64) {
        let mut size = self.size.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        size.bytes += added;
        if size.credit > 0 && size.bytes <= self.limit {
            size.credit -= 1;
            return;
        }
        let mut entries = self.entries();
        entries.sort_by_key(|entry| entry.used);
        let mut bytes: u64 = entries.iter().map(|entry| entry.length).sum();
        if bytes > self.limit {
            // More than needed goes, so that a full folder is not looked through at each entry.
            let enough = self.limit - self.limit / 8;
            for entry in &entries {
                if bytes <= enough {
                    break;
                }
                if fs::remove_file(&entry.path).is_ok() {
                    bytes -= entry.length;
                }
            }
        }
        *size = Size { bytes, credit: LOOK_EVERY };
    }

    /// Every entry, without files that processes left unfinished, which are removed.
    fn entries(&self) -> Vec<Kept> {
        let now = SystemTime::now();
        let mut out = Vec::new();
        for file in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = file.path();
            let Ok(metadata) = file.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(ENTRY) => out.push(Kept { path, length: metadata.len(), used }),
                Some(UNFINISHED) if now.duration_since(used).is_ok_and(|age| age > STALE) => {
                    drop(fs::remove_file(path))
                }
                _ => {}
            }
        }
        out
    }
}

/// An entry in the folder.
struct Kept {
    path: PathBuf,
    length: u64,
    used: SystemTime,
}

fn header(contents: &[u8], key: &Digest) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((contents.len() as u64).to_le_bytes());
    header.extend(key);
    let sum = checksum(&header, contents);
    header.extend(sum);
    header
}

fn content_length(header: &[u8; HEADER]) -> Option<usize> {
    let (magic, rest) = header.split_first_chunk::<8>()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (length, _) = rest.split_first_chunk::<8>()?;
    if *magic != MAGIC || u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    usize::try_from(u64::from_le_bytes(*length)).ok()
}

/// Whether what a file holds is what was written for this key.
fn is_sound(header: &[u8; HEADER], contents: &[u8], key: &Digest) -> bool {
    let Some((fields, sum)) = header.split_last_chunk::<BYTES>() else { return false };
    let stored = fields.split_last_chunk::<BYTES>().map(|(_, stored)| stored);
    stored == Some(key) && checksum(fields, contents) == *sum
}

fn checksum(fields: &[u8], contents: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(fields);
    hasher.update(contents);
    hasher.finish()
}

/// A folder of a test's own, which goes when this is dropped.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// An empty folder that only this user may use.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hetgpu-cache-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests;
