//! What can go wrong, said so that a person knows what happened, where, and what to do.

use std::fmt;
use std::path::Path;

/// Kinds of errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// There is no such snapshot.
    Missing,
    /// The file is no snapshot.
    NotASnapshot,
    /// It was written by a version that this one does not know.
    Version,
    /// It is torn, cut, changed, or was never right.
    Damaged,
    /// It belongs to another user, or others may read or change it.
    NotOurs,
    /// It is missing, changed or too far down the chain.
    Base,
    /// A name, size or number that is not allowed.
    Invalid,
    /// There is something of that name, or something needs it.
    InUse,
    /// The file system said no.
    Disk,
    /// The job's memory could not be read, or not be written.
    Memory,
    /// The other side said something that it must not, or nothing.
    Peer,
    /// The other side does not have the same key.
    Key,
    /// The other side may run the job or not, and has to be asked: it stands still here.
    Unsettled,
    /// The job changes its memory faster than it can be sent.
    TooBusy,
}

/// What went wrong.
#[derive(Clone, Debug)]
pub struct Error {
    /// Its kind.
    pub kind: ErrorKind,
    /// What happened, where, and what to do.
    pub text: String,
}

/// What may go wrong.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(crate) fn damaged(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Damaged, format!("{}: {what}; the snapshot cannot be used", path.display()))
    }

    pub(crate) fn disk(path: &Path, what: &str, refused: &std::io::Error) -> Self {
        Self::new(ErrorKind::Disk, format!("{}: {what}: {refused}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
