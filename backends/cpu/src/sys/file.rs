//! Memory with a file descriptor, which may be mapped at several addresses and in several processes.

use super::map::PAGE;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the system shows as the name of such files.
const NAME: &std::ffi::CStr = c"hetgpu-cpu";
/// Nobody makes them longer or shorter, so that what is mapped stays there.
const SEALS: i32 = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;

/// Bytes that count as in use, while it lives.
#[derive(Debug)]
struct Charge {
    bytes: u64,
    total: Arc<AtomicU64>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct File {
    file: Arc<OwnedFd>,
    pub(crate) bytes: u64,
    _charge: Option<Arc<Charge>>,
}

impl File {
    /// So many zeroed bytes.
    pub(crate) fn new(bytes: u64) -> io::Result<Self> {
        // SAFETY: the name is a C string; the call makes a file and nothing else.
        let made = unsafe { libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was opened just now and belongs to nobody else.
        let file = unsafe { OwnedFd::from_raw_fd(made) };
        let length = i64::try_from(bytes).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        // SAFETY: calls about an open file.
        let sealed = unsafe { libc::ftruncate(made, length) == 0 && libc::fcntl(made, libc::F_ADD_SEALS, SEALS) == 0 };
        match sealed {
            true => Ok(Self { file: Arc::new(file), bytes, _charge: None }),
            false => Err(io::Error::last_os_error()),
        }
    }

    /// The same, counted in a total.
    pub(crate) fn counted(bytes: u64, total: &Arc<AtomicU64>) -> io::Result<Self> {
        let file = Self::new(bytes)?;
        total.fetch_add(bytes, Ordering::Relaxed);
        let _charge = Some(Arc::new(Charge { bytes, total: Arc::clone(total) }));
        Ok(Self { _charge, ..file })
    }

    /// What another process, or this one, has exported.
    pub(crate) fn import(file: OwnedFd) -> io::Result<Self> {
        let wrong = || io::Error::from_raw_os_error(libc::EINVAL);
        let descriptor = file.as_raw_fd();
        let link = std::fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
        let ours = format!("/memfd:{}", NAME.to_string_lossy());
        // SAFETY: a query about an open file.
        let seals = unsafe { libc::fcntl(descriptor, libc::F_GET_SEALS) };
        if !link.to_string_lossy().starts_with(&ours) || seals & SEALS != SEALS {
            return Err(wrong());
        }
        let bytes = std::fs::File::from(file.try_clone()?).metadata()?.len();
        match bytes > 0 && bytes.is_multiple_of(PAGE) {
            true => Ok(Self { file: Arc::new(file), bytes, _charge: None }),
            false => Err(wrong()),
        }
    }

    /// Memory that somebody else has filled, of at least so many bytes. Nobody makes it shorter.
    pub(crate) fn lent(file: OwnedFd, bytes: u64) -> io::Result<Self> {
        // SAFETY: a query about an open file.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        let long = std::fs::File::from(file.try_clone()?).metadata()?.len() >= bytes;
        match seals >= 0 && seals & libc::F_SEAL_SHRINK != 0 && long {
            true => Ok(Self { file: Arc::new(file), bytes, _charge: None }),
            false => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        std::fs::File::from(self.file.try_clone()?).read_exact_at(out, offset)
    }

    pub(crate) fn export(&self) -> io::Result<OwnedFd> {
        self.file.try_clone()
    }

    pub(crate) fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Puts contents at an offset.
    pub(crate) fn write(&self, offset: u64, contents: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        std::fs::File::from(self.file.try_clone()?).write_all_at(contents, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_ours_are_imported() {
        let file = File::new(8192).unwrap();
        assert_eq!(File::import(file.export().unwrap()).unwrap().bytes, 8192);
        assert!(File::import(std::fs::File::open("/dev/zero").unwrap().into()).is_err());
        assert!(File::import(std::fs::File::open("/proc/self/exe").unwrap().into()).is_err());
    }

    #[test]
    fn what_is_counted_is_given_back_with_the_last_clone() {
        let total = Arc::new(AtomicU64::new(0));
        let file = File::counted(4096, &total).unwrap();
        let other = file.clone();
        drop(file);
        assert_eq!(total.load(Ordering::Relaxed), 4096);
        drop(other);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
