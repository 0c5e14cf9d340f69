use libloading::Library;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) fn open(path: &Path) -> Library {
    // SAFETY: our library does nothing when it is loaded.
    unsafe { Library::new(path) }.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The address of a function, as the type of it that the caller names.
pub(crate) fn symbol<F: Copy>(library: &Library, name: &str) -> F {
    // SAFETY: each caller names the type that the API gives the function.
    unsafe { *library.get::<F>(name).unwrap_or_else(|error| panic!("{name}: {error}")) }
}

/// A text that the library passes to a function of ours.
#[allow(dead_code, reason = "not every test that opens the library is passed texts")]
pub(crate) fn text(text: *const std::ffi::c_char) -> String {
    // SAFETY: the API says that it is NUL-terminated.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

/// Writes a word that others may look at meanwhile.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn put(to: *mut u64, value: u64) {
    // SAFETY: callers pass the address of a word of their own, or of memory that the API gave them.
    unsafe { AtomicU64::from_ptr(to) }.store(value, Ordering::SeqCst);
}

/// Reads such a word.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn take(from: *const u64) -> u64 {
    // SAFETY: as in `put`.
    unsafe { AtomicU64::from_ptr(from.cast_mut()) }.load(Ordering::SeqCst)
}

/// Bytes of this process's heap that are in use.
#[allow(dead_code, reason = "each test file uses its part")]
pub(crate) fn allocated() -> u64 {
    // SAFETY: it only reads the allocator's own counts.
    unsafe { libc::mallinfo2() }.uordblks as u64
}
