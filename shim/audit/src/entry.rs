//! What the dynamic linker calls.

use crate::names::ours;
use std::ffi::{CStr, CString, OsStr, c_char, c_uint};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The folder of our libraries.
const FOLDER: &str = "HETGPU_LIBRARIES";

/// The name as the program asked for it, before any path is tried.
const AS_ASKED: c_uint = 1;

/// What the cookie of an object is that is one of ours; others keep theirs, which is an address.
const OWN: usize = 1;

fn folder() -> Option<&'static PathBuf> {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os(FOLDER).map(PathBuf::from)).as_ref()
}

/// The beginning of `struct link_map`, which is the same everywhere.
#[repr(C)]
pub(crate) struct LinkMap {
    address: usize,
    name: *const c_char,
}

/// Says which version of the interface is spoken: what is used here is the same in all.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn la_version(offered: c_uint) -> c_uint {
    offered
}

/// Hears of every object that is loaded, and marks our own.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn la_objopen(map: *const LinkMap, _namespace: isize, cookie: *mut usize) -> c_uint {
    // SAFETY: the linker passes the object's description, whose name is NUL-terminated text, and a word that it keeps for us.
    unsafe {
        let name = OsStr::from_bytes(CStr::from_ptr((*map).name).to_bytes());
        if folder().is_some_and(|folder| PathBuf::from(name).parent() == Some(folder)) {
            *cookie = OWN;
        }
    }
    // No calls between objects are to be watched.
    0
}

/// Answers where a library is to be looked for.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn la_objsearch(name: *const c_char, cookie: *const usize, how: c_uint) -> *const c_char {
    // SAFETY: the linker passes the word that belongs to the object that asks.
    let asked_by_ours = !cookie.is_null() && unsafe { *cookie } == OWN;
    if how != AS_ASKED || asked_by_ours {
        return name;
    }
    // SAFETY: the linker passes NUL-terminated text.
    let asked = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let path = ours(&asked).and_then(|ours| Some(folder()?.join(ours))).filter(|path| path.exists());
    match path.map(|path| CString::new(path.into_os_string().into_vec())) {
        // The linker keeps the text.
        Some(Ok(path)) => path.into_raw(),
        _ => name,
    }
}
