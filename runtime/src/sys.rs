//! The only unsafe code of the runtime: host address space and host bytes.

use hetgpu_device::{Device, DeviceError, HostSpan, MEMORY_FILE};
use std::cell::Cell;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Why the host's address space could not be changed.
pub(crate) type Refused = std::io::Error;

fn map(at: u64, bytes: u64, protection: i32, flags: i32) -> Result<u64, Refused> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | flags;
    // SAFETY: without MAP_FIXED the call can only add a mapping where there is none; MAP_FIXED is passed by `commit`
    // and `cover` alone, for a range that `reserve` took or that a device keeps free for us.
    let got = unsafe { libc::mmap(ptr::without_provenance_mut(at as usize), bytes as usize, protection, flags, -1, 0) };
    if got == libc::MAP_FAILED { Err(Refused::last_os_error()) } else { Ok(got.addr() as u64) }
}

/// Takes a range of host addresses, so that a device address is never also a host object's. Touching it faults.
pub(crate) fn reserve(at: u64, bytes: u64) -> Result<(), Refused> {
    let got = map(at, bytes, libc::PROT_NONE, libc::MAP_FIXED_NOREPLACE)?;
    if got == at {
        return Ok(());
    }
    // A kernel that does not know MAP_FIXED_NOREPLACE takes the address as a hint.
    release(got, bytes);
    Err(Refused::from_raw_os_error(libc::EEXIST))
}

/// Puts zeroed memory into a range that `reserve` took.
pub(crate) fn commit(at: u64, bytes: u64) -> Result<(), Refused> {
    map(at, bytes, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_FIXED).map(drop)
}

/// Takes away what `commit` put somewhere, and keeps the addresses.
pub(crate) fn cover(at: u64, bytes: u64) -> Result<(), Refused> {
    map(at, bytes, libc::PROT_NONE, libc::MAP_FIXED).map(drop)
}

/// Zeroed host memory, page aligned, wherever there is room.
pub(crate) fn allocate(bytes: u64) -> Result<u64, Refused> {
    map(0, bytes, libc::PROT_READ | libc::PROT_WRITE, 0)
}

/// Gives back what `reserve` or `allocate` took.
pub(crate) fn release(at: u64, bytes: u64) {
    // SAFETY: callers pass ranges that came from `reserve` or `allocate` and that nothing of ours refers to any more.
    unsafe { libc::munmap(ptr::without_provenance_mut(at as usize), bytes as usize) };
}

/// Makes the pages of a range be there. It is a hint: that the system cannot is no error.
pub(crate) fn populate(at: u64, bytes: u64) {
    // SAFETY: contents do not change.
    unsafe { libc::madvise(ptr::without_provenance_mut(at as usize), bytes as usize, libc::MADV_POPULATE_WRITE) };
}

/// Gives the pages of a range up; they read as zeros then.
pub(crate) fn discard(at: u64, bytes: u64) {
    // SAFETY: callers pass private anonymous memory (`commit`) whose contents the program has said it does not want.
    unsafe { libc::madvise(ptr::without_provenance_mut(at as usize), bytes as usize, libc::MADV_DONTNEED) };
}

/// A file of another process, by its number there.
pub(crate) fn file_of_process(process: u32, file: i32) -> Result<OwnedFd, Refused> {
    let path = format!("/proc/{process}/fd/{file}");
    if std::fs::metadata(&path)?.is_file() {
        return Ok(std::fs::OpenOptions::new().read(true).write(true).open(path)?.into());
    }
    // Opening a driver's file by its path gives another one.
    let owned = |made: libc::c_long| match i32::try_from(made) {
        // SAFETY: the call opened it just now, and it belongs to nobody else.
        Ok(made) if made >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(made) }),
        _ => Err(Refused::last_os_error()),
    };
    // SAFETY: the call takes numbers, and opens a file that stands for the process.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })?;
    // SAFETY: the call takes numbers, and opens what the process has open.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), file, 0) })
}

/// Waits while somebody acts on all processes that have a file of memory, and keeps whoever wants to from it as long as what it gives
/// is open.
pub(crate) fn opening(file: &OwnedFd) -> Option<std::fs::File> {
    // Opened anew: the lock of a copy is also that of those who have the others.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Opening something else may do something.
    let link = std::fs::read_link(&path).ok()?;
    let file = link.to_str()?.starts_with(MEMORY_FILE).then(|| std::fs::File::open(path))?.ok()?;
    file.lock_shared().ok().map(|()| file)
}

/// What a file is, however it was opened.
pub(crate) fn inode(file: &OwnedFd) -> Result<u64, Refused> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::File::from(file.try_clone()?).metadata()?.ino())
}

/// A file without a name, with these contents.
pub(crate) fn file_with(contents: &[u8]) -> Result<OwnedFd, Refused> {
    use std::os::unix::fs::FileExt;
    // SAFETY: the name is a C string; the call makes a file and nothing else.
    let made = unsafe { libc::memfd_create(c"hetgpu-pool".as_ptr(), libc::MFD_CLOEXEC) };
    if made < 0 {
        return Err(Refused::last_os_error());
    }
    // SAFETY: it was opened just now and belongs to nobody else.
    let file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(made) });
    file.write_all_at(contents, 0)?;
    Ok(file.into())
}

/// A file without a name, of so many zeros, which never becomes shorter.
pub(crate) fn memory_file(bytes: u64) -> Result<OwnedFd, Refused> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string; the call makes a file and nothing else.
    let made = unsafe { libc::memfd_create(c"hetgpu-memory".as_ptr(), flags) };
    if made < 0 {
        return Err(Refused::last_os_error());
    }
    // SAFETY: it was opened just now and belongs to nobody else.
    let file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(made) });
    file.set_len(bytes)?;
    // SAFETY: a call about an open file.
    match unsafe { libc::fcntl(made, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) } {
        0 => Ok(file.into()),
        _ => Err(Refused::last_os_error()),
    }
}

/// A pipe with a name, of this user alone.
pub(crate) fn named_pipe(path: &std::path::Path) -> Result<(), Refused> {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the name is a C string, and the call makes a file and nothing else.
    match unsafe { libc::mkfifo(name.as_ptr(), 0o600) } {
        0 => Ok(()),
        _ => Err(Refused::last_os_error()),
    }
}

/// The beginning of a file.
pub(crate) fn contents(file: OwnedFd) -> Result<Vec<u8>, Refused> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 4096];
    let got = std::fs::File::from(file).read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// A copy of a file descriptor that a program passed.
pub(crate) fn borrowed_file(file: i32) -> Result<OwnedFd, Refused> {
    if file < 0 {
        return Err(Refused::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is not kept beyond this call, which fails where it is not open.
    unsafe { BorrowedFd::borrow_raw(file) }.try_clone_to_owned()
}

/// A file descriptor that a program passes on for good.
pub(crate) fn adopted_file(file: i32) -> Result<OwnedFd, Refused> {
    // Whether it is open is found out first: a descriptor that is not could be another's by the time it is closed.
    drop(borrowed_file(file)?);
    // SAFETY: it is open, and the program has given it away by the rules of the call that it came in.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Makes host memory visible to a device; see `Device::share`.
pub(crate) fn share(device: &dyn Device, host: u64, bytes: u64) -> Result<(), DeviceError> {
    device.share(span(host, bytes))
}

/// Host memory that is shared with a device, or that a copy names.
pub(crate) fn span(host: u64, bytes: u64) -> HostSpan {
    // SAFETY: the memory is the runtime's own (`commit`, `allocate`) and is unmapped from the device before it is
    // released, or the program registered it or named it in a copy, whose contract is to keep it until it unregisters it
    // or the copy is done.
    unsafe { HostSpan::new(ptr::with_exposed_provenance_mut(host as usize), bytes as usize) }
}

/// Copies out of host memory that the program named.
pub(crate) fn read(from: u64, out: &mut [u8]) {
    // SAFETY: the program's contract for a copy is that the source is readable. `out` may overlap it: where a text ends is
    // only known by reading on to the end of its page, and `out` may have been allocated there.
    unsafe { ptr::copy(ptr::with_exposed_provenance(from as usize), out.as_mut_ptr(), out.len()) }
}

/// Copies into host memory that the program named.
pub(crate) fn write(to: u64, data: &[u8]) {
    // SAFETY: the program's contract for a copy is that the destination is writable; `data` is ours.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), ptr::with_exposed_provenance_mut(to as usize), data.len()) }
}

/// Writes to the program's standard output by way of the C library's buffer, where the program's own output waits too.
pub(crate) fn print(bytes: &[u8]) {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
    }
    // SAFETY: the C library sets `stdout` before any code of the program runs; `fwrite` locks it.
    unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), stdout) };
}

/// The word at an address of known host memory, as one access.
pub(crate) fn load(at: u64, wide: bool) -> u64 {
    // SAFETY: the address is aligned and lies in memory that stays until the work that names it has ended; others access
    // it at the same time, which is what atomics are for.
    unsafe {
        match wide {
            true => AtomicU64::from_ptr(ptr::with_exposed_provenance_mut(at as usize)).load(Ordering::Acquire),
            false => AtomicU32::from_ptr(ptr::with_exposed_provenance_mut(at as usize)).load(Ordering::Acquire).into(),
        }
    }
}

/// Writes a word of known host memory, as one access and after everything before it.
pub(crate) fn store(at: u64, wide: bool, value: u64) {
    // SAFETY: as in `load`.
    unsafe {
        match wide {
            true => AtomicU64::from_ptr(ptr::with_exposed_provenance_mut(at as usize)).store(value, Ordering::SeqCst),
            false => {
                let word = AtomicU32::from_ptr(ptr::with_exposed_provenance_mut(at as usize));
                word.store(value as u32, Ordering::SeqCst);
            }
        }
    }
}

/// Process and user at the other end of a socket, as the system knows them.
pub(crate) fn peer(socket: i32) -> Option<(u32, u32)> {
    let mut who = MaybeUninit::<libc::ucred>::uninit();
    let mut bytes = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the system writes no more than `bytes`, which is what there is room for; all bits are a `ucred`.
    unsafe {
        let place = who.as_mut_ptr().cast();
        let got = libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, place, &mut bytes);
        (got == 0 && bytes as usize == size_of::<libc::ucred>()).then(|| {
            let who = who.assume_init();
            (who.pid as u32, who.uid)
        })
    }
}

/// Whether somebody listens at a socket; where that cannot be found out, he may.
pub(crate) fn may_be_listened_at(path: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let mut address = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return true;
    }
    for (to, byte) in address.sun_path.iter_mut().zip(bytes) {
        *to = byte.cast_signed();
    }
    // SAFETY: a socket of our own, which nobody else has, and an address that is longer than the path, with zeros behind it.
    unsafe {
        // Nobody waits for one who listens and does not come to it.
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return true;
        }
        let bytes = size_of_val(&address) as libc::socklen_t;
        let connected = libc::connect(socket, (&raw const address).cast(), bytes);
        let refused = connected != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ECONNREFUSED);
        libc::close(socket);
        !refused
    }
}

/// Which file children close, or -1.
static CLOSED_IN_CHILDREN: AtomicI32 = AtomicI32::new(-1);

extern "C" fn close_in_child() {
    let file = CLOSED_IN_CHILDREN.swap(-1, Ordering::AcqRel);
    if file >= 0 {
        // SAFETY: the descriptor is the runtime's, and the thread that uses it is not in the child.
        unsafe { libc::close(file) };
    }
}

/// A file that stays open as long as this process lives, and that children which are forked do not have.
pub(crate) fn close_in_children(file: i32) {
    if CLOSED_IN_CHILDREN.swap(file, Ordering::AcqRel) == -1 {
        // SAFETY: the function may be called in any child: it only uses an atomic and closes a file.
        unsafe { libc::pthread_atfork(None, None, Some(close_in_child)) };
    }
}

/// Sends a signal to another process. Whether it got there.
pub(crate) fn signal(process: u32, signal: i32) -> bool {
    // SAFETY: the call takes numbers. A process has a number above 0: others stand for several.
    i32::try_from(process).is_ok_and(|process| process > 0 && unsafe { libc::kill(process, signal) } == 0)
}

/// Gives the system back what the program's allocator keeps of memory that nobody uses any more.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it looks at nothing that is in use.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// The calling thread, as the system numbers it.
pub(crate) fn thread() -> u32 {
    // SAFETY: a query without side effects.
    unsafe { libc::gettid() as u32 }
}

/// The program's signals are handled by its own threads.
pub(crate) fn leave_signals_to_others() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is filled before it is used. Signals that an instruction of this thread causes stay as they are.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for own in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
            libc::sigdelset(all.as_mut_ptr(), own);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}

/// A number that nobody can guess.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: no more is written than the array has. So few bytes come whole.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u64::from_ne_bytes(bytes)
}

/// A page that several processes have, zeroed when it is new, and only accessed by the atomics of `T`.
pub(crate) struct SharedPage<T> {
    page: *const T,
    /// The file it is in, where this process made it.
    file: Option<OwnedFd>,
}

// SAFETY: what is there is atomics.
unsafe impl<T: Sync> Send for SharedPage<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedPage<T> {}

const SHARED_PAGE: usize = 4096;

impl<T: Sync> SharedPage<T> {
    /// A new one, and the number of the file that it is in.
    pub(crate) fn new(name: &CStr) -> Result<(Self, u32), Refused> {
        // SAFETY: the name ends in a zero byte; a descriptor that comes back is nobody else's.
        let file = unsafe {
            match libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) {
                -1 => return Err(Refused::last_os_error()),
                file => OwnedFd::from_raw_fd(file),
            }
        };
        let file = std::fs::File::from(file);
        file.set_len(SHARED_PAGE as u64)?;
        let page = Self::map(&file)?;
        let number = file.as_raw_fd() as u32;
        Ok((Self { page, file: Some(file.into()) }, number))
    }

    /// One that another process made.
    pub(crate) fn open(process: u32, file: u32) -> Result<Self, Refused> {
        let mut options = std::fs::OpenOptions::new();
        // What is no regular file must not be waited for.
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(format!("/proc/{process}/fd/{file}"))?;
        let about = file.metadata()?;
        if !about.is_file() || about.len() < SHARED_PAGE as u64 {
            return Err(Refused::from_raw_os_error(libc::EINVAL));
        }
        Ok(Self { page: Self::map(&file)?, file: None })
    }

    fn map(file: &std::fs::File) -> Result<*const T, Refused> {
        const { assert!(size_of::<T>() <= SHARED_PAGE && align_of::<T>() <= SHARED_PAGE) };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the host has room.
        let got = unsafe { libc::mmap(ptr::null_mut(), SHARED_PAGE, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if got == libc::MAP_FAILED { Err(Refused::last_os_error()) } else { Ok(got.cast()) }
    }

    pub(crate) fn get(&self) -> &T {
        // SAFETY: the page is mapped as long as `self` lives, large enough, and any bytes are a `T`: callers choose structures
        // of atomics.
        unsafe { &*self.page }
    }
}

impl<T> Drop for SharedPage<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and nothing refers to it any more.
        unsafe { libc::munmap(self.page.cast_mut().cast(), SHARED_PAGE) };
        self.file = None;
    }
}

thread_local! {
    /// Where the thread's stack ends, and where it begins.
    static STACK: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// Bytes that are left of the calling thread's stack; none where it runs on another one.
pub(crate) fn stack_left() -> usize {
    let (low, high) = STACK.get().unwrap_or_else(|| {
        let stack = own_stack().unwrap_or_default();
        STACK.set(Some(stack));
        stack
    });
    let here = ptr::from_ref(&low).addr();
    if (low..high).contains(&here) { here - low } else { 0 }
}

fn own_stack() -> Option<(usize, usize)> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut bytes) = (ptr::null_mut(), 0);
    // SAFETY: the attributes are filled before they are read, and destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut bytes) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known.then(|| (start.addr(), start.addr() + bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_knows_how_much_of_its_stack_is_left() {
        #[inline(never)]
        fn deeper() -> usize {
            let room = std::hint::black_box([0u8; 64 << 10]);
            stack_left() - usize::from(room[1])
        }
        // It may be given a larger stack that another thread has left.
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        let (here, there) = thread.spawn(|| (stack_left(), deeper())).unwrap().join().unwrap();
        assert!(there > 0 && here >= there + (64 << 10), "{here} {there}");
    }

    #[test]
    fn a_reserved_range_is_refused_the_second_time() {
        let at = 0x4fff_0000_0000;
        reserve(at, 0x20_0000).unwrap();
        assert!(reserve(at + 0x10_0000, 0x20_0000).is_err());
        commit(at, 0x1000).unwrap();
        write(at, &[1, 2, 3]);
        let mut back = [9; 4];
        read(at, &mut back);
        assert_eq!(back, [1, 2, 3, 0]);
        release(at, 0x20_0000);
        reserve(at, 0x20_0000).unwrap();
        release(at, 0x20_0000);
    }
}
