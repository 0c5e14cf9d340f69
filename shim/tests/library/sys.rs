use libloading::Library;
use std::path::Path;

pub(crate) fn open(path: &Path) -> Library {
    // SAFETY: our library does nothing when it is loaded.
    unsafe { Library::new(path) }.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The address of a function, as the type of it that the caller names.
pub(crate) fn symbol<F: Copy>(library: &Library, name: &str) -> F {
    // SAFETY: each caller names the type that the API gives the function.
    unsafe { *library.get::<F>(name).unwrap_or_else(|error| panic!("{name}: {error}")) }
}
