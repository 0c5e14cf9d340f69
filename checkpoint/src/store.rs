//! A folder of snapshots.

use crate::container::read_header;
use crate::disk::{Disk, SystemDisk};
use crate::map::{BaseLink, DEPTH};
use crate::read::{EXTENSION, Snapshot, open_own};
use crate::write::{WriteOptions, Writer};
use crate::{Digest, Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// What files end with that are no snapshots yet.
const PART: &str = "part";

/// A folder of snapshots that belongs to one user.
#[derive(Clone)]
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// Held while a name is taken or given up, so that nobody takes a base away from another.
    names: Arc<Mutex<()>>,
}

/// What stands in a snapshot's header and about its base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub identity: Digest,
    /// Bytes of the file.
    pub bytes: u64,
    /// The identity of the one that it is built on.
    pub base: Option<Digest>,
}

/// Names are of letters, digits, `-`, `_` and `.`, at most 100, and begin with a letter or a digit.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if begins && name.len() <= 100 && name.chars().all(fits) {
        return Ok(());
    }
    let text = format!("`{name}` is no name for a snapshot: letters, digits, `-`, `_` and `.`, at most 100");
    Err(Error::new(ErrorKind::Invalid, text))
}

impl Store {
    /// A folder, made if it is not there: only its owner may enter.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_on(Arc::new(SystemDisk), folder)
    }

    /// The same on another file system.
    pub fn open_on(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self> {
        let wrong = |what: &str| {
            let what = what.to_owned();
            move |refused: std::io::Error| Error::disk(folder, &what, &refused)
        };
        disk.make_folder(folder).map_err(wrong("making the folder"))?;
        let about = disk.about_folder(folder).map_err(wrong("looking at it"))?;
        let user = disk.user().map_err(wrong("asking who this is"))?;
        if about.owner != user || about.mode & 0o077 != 0 {
            let (owner, mode) = (about.owner, about.mode);
            let what = format!(
                "belongs to user {owner} with mode {mode:03o}, and snapshots are as secret as the job's memory"
            );
            let text = format!("{}: the folder {what}: use one of user {user}'s own, with mode 700", folder.display());
            return Err(Error::new(ErrorKind::NotOurs, text));
        }
        let store = Self { disk, folder: folder.into(), names: Arc::default() };
        store.clean();
        Ok(store)
    }

    /// Removes what writers left that no longer run.
    fn clean(&self) {
        for name in self.disk.names(&self.folder).unwrap_or_default() {
            let mut words = name.rsplit('.');
            let (end, _, process) = (words.next(), words.next(), words.next());
            let process = process.and_then(|word| word.parse().ok());
            if name.starts_with('.') && end == Some(PART) && process.is_some_and(|process| !self.disk.runs(process)) {
                let _ = self.disk.remove(&self.folder.join(&name));
            }
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.folder.join(format!("{name}.{EXTENSION}")))
    }

    /// Names of the snapshots, in order.
    pub fn names(&self) -> Result<Vec<String>> {
        let refused = |refused| Error::disk(&self.folder, "reading the folder", &refused);
        let all = self.disk.names(&self.folder).map_err(refused)?;
        let end = format!(".{EXTENSION}");
        let mut names: Vec<String> = all.iter().filter_map(|name| name.strip_suffix(&end)).map(String::from).collect();
        names.retain(|name| check_name(name).is_ok());
        names.sort();
        Ok(names)
    }

    /// A snapshot with what it is built on.
    pub fn load(&self, name: &str) -> Result<Snapshot> {
        Snapshot::open(&self.disk, &self.path(name)?)
    }

    /// The same, where the one that it is built on may be open already.
    pub fn load_on(&self, name: &str, base: Option<&Arc<Snapshot>>) -> Result<Snapshot> {
        Snapshot::open_on(&self.disk, &self.path(name)?, base)
    }

    /// What its header says.
    pub fn entry(&self, name: &str) -> Result<Entry> {
        let path = self.path(name)?;
        let file = open_own(self.disk.as_ref(), &path, false)?;
        let header = read_header(file.as_ref(), &path)?;
        let section = header.section(crate::SectionKind::Base);
        let section = section.ok_or_else(|| Error::damaged(&path, "it has no section base"))?;
        let bytes = crate::container::read_section(file.as_ref(), &path, section)?;
        let link: Option<BaseLink> =
            crate::codec::decode(&bytes).map_err(|flaw| Error::damaged(&path, format!("section base: {}", flaw.0)))?;
        let base = link.map(|link| link.identity);
        Ok(Entry { name: name.into(), identity: header.identity, bytes: header.bytes, base })
    }

    /// Looks for damage in a snapshot and in those that it is built on.
    pub fn verify(&self, name: &str, threads: usize) -> Result<crate::Verdict> {
        Ok(crate::verify::verify(&self.disk, &self.path(name)?, threads))
    }

    /// Begins a snapshot. It is there when the writer has finished, in place of an older one of that name, and not before.
    pub fn write(&self, name: &str, options: WriteOptions) -> Result<Writer> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = self.path(name)?;
        if let Some(base) = &options.base {
            let invalid = |text: String| Err(Error::new(ErrorKind::Invalid, text));
            if base.path().parent() != Some(&self.folder) {
                return invalid(format!("{}: a snapshot lies in the folder of its base", base.path().display()));
            }
            if base.depth() + 1 >= DEPTH {
                return invalid(format!(
                    "`{}` is the last of a chain of {DEPTH}: make a snapshot that is built on nothing",
                    base.name()
                ));
            }
        }
        self.free(name)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let part = self.folder.join(format!(".{name}.{}.{number}.{PART}", std::process::id()));
        Writer::new(self.clone(), name, path, part, options)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Fails where another snapshot is built on one.
    pub(crate) fn free(&self, name: &str) -> Result<()> {
        let Ok(own) = self.entry(name) else { return Ok(()) };
        for other in self.names()? {
            if other != name && self.entry(&other).is_ok_and(|entry| entry.base == Some(own.identity)) {
                let text =
                    format!("`{name}` is needed: `{other}` is built on it. Remove that first, or use another name");
                return Err(Error::new(ErrorKind::InUse, text));
            }
        }
        Ok(())
    }

    /// Removes a snapshot that no other is built on.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let _names = self.lock();
        self.free(name)?;
        self.disk.remove(&path).map_err(|refused| match refused.kind() {
            std::io::ErrorKind::NotFound => Error::new(ErrorKind::Missing, format!("there is no snapshot `{name}`")),
            _ => Error::disk(&path, "removing it", &refused),
        })?;
        self.disk.sync_folder(&self.folder).map_err(|refused| Error::disk(&self.folder, "making that last", &refused))
    }
}
