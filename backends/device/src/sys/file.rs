//! Memory of the host with a file descriptor, which may be mapped at several addresses and in several processes.

use super::HostSpan;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the host maps at a time.
const PAGE: u64 = 4096;
/// What the system shows as the name of such files.
const NAME: &std::ffi::CStr = c"hetgpu-device";
/// How the system shows one that is open.
pub const MEMORY_FILE: &str = "/memfd:hetgpu-device";
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

/// A file of memory. All devices that keep memory on the host can have the same one.
#[derive(Clone, Debug)]
pub struct MemoryFile {
    file: Arc<OwnedFd>,
    bytes: u64,
    _charge: Option<Arc<Charge>>,
}

/// A file that is mapped somewhere, as long as this lives.
struct Mapped {
    start: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: it is a range of addresses of its own; who accesses it is the business of those who hand out spans.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and no span of it is left.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

impl MemoryFile {
    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it, at an address that the host chooses.
    pub fn span(&self) -> io::Result<HostSpan> {
        let bytes = usize::try_from(self.bytes).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_NORESERVE);
        // SAFETY: a new mapping where the host has room touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, self.file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let owner: super::Owner = Arc::new(Mapped { start, bytes });
        Ok(HostSpan { start: start.cast(), bytes, owner: Some(owner) })
    }

    /// So many zeroed bytes.
    pub fn new(bytes: u64) -> io::Result<Self> {
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
    pub fn counted(bytes: u64, total: &Arc<AtomicU64>) -> io::Result<Self> {
        let file = Self::new(bytes)?;
        total.fetch_add(bytes, Ordering::Relaxed);
        let _charge = Some(Arc::new(Charge { bytes, total: Arc::clone(total) }));
        Ok(Self { _charge, ..file })
    }

    /// What another process, or this one, has exported.
    pub fn import(file: OwnedFd) -> io::Result<Self> {
        let wrong = || io::Error::from_raw_os_error(libc::EINVAL);
        let descriptor = file.as_raw_fd();
        let link = std::fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
        // SAFETY: a query about an open file.
        let seals = unsafe { libc::fcntl(descriptor, libc::F_GET_SEALS) };
        if !link.to_string_lossy().starts_with(MEMORY_FILE) || seals & SEALS != SEALS {
            return Err(wrong());
        }
        let bytes = std::fs::File::from(file.try_clone()?).metadata()?.len();
        match bytes > 0 && bytes.is_multiple_of(PAGE) {
            true => Ok(Self { file: Arc::new(file), bytes, _charge: None }),
            false => Err(wrong()),
        }
    }

    /// Memory that somebody else has filled, of at least so many bytes. Nobody makes it shorter.
    pub fn lent(file: OwnedFd, bytes: u64) -> io::Result<Self> {
        // SAFETY: a query about an open file.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        let long = std::fs::File::from(file.try_clone()?).metadata()?.len() >= bytes;
        match seals >= 0 && seals & libc::F_SEAL_SHRINK != 0 && long {
            true => Ok(Self { file: Arc::new(file), bytes, _charge: None }),
            false => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// Its contents at an offset.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        std::fs::File::from(self.file.try_clone()?).read_exact_at(out, offset)
    }

    /// The file, for others.
    pub fn export(&self) -> io::Result<OwnedFd> {
        self.file.try_clone()
    }

    /// Its number in this process.
    pub fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Puts contents at an offset.
    pub fn write(&self, offset: u64, contents: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        std::fs::File::from(self.file.try_clone()?).write_all_at(contents, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_ours_are_imported() {
        let file = MemoryFile::new(8192).unwrap();
        let other = MemoryFile::import(file.export().unwrap()).unwrap();
        assert_eq!(other.bytes, 8192);
        let (one, two) = (file.span().unwrap(), other.span().unwrap());
        drop((file, other));
        let mut back = [0; 3];
        assert!(one.write(4096, &[1, 2, 3]) && two.read(4096, &mut back) && back == [1, 2, 3]);
        assert!(MemoryFile::import(std::fs::File::open("/dev/zero").unwrap().into()).is_err());
        assert!(MemoryFile::import(std::fs::File::open("/proc/self/exe").unwrap().into()).is_err());
    }

    #[test]
    fn what_is_counted_is_given_back_with_the_last_clone() {
        let total = Arc::new(AtomicU64::new(0));
        let file = MemoryFile::counted(4096, &total).unwrap();
        let other = file.clone();
        drop(file);
        assert_eq!(total.load(Ordering::Relaxed), 4096);
        drop(other);
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }
}
