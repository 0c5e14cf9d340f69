//! Where our libraries are.

use std::path::{Path, PathBuf};

/// Names the folder where it is none of the usual ones; also tells the auditing library.
pub(crate) const FOLDER: &str = "HETGPU_LIBRARIES";

/// What programs ask for.
pub(crate) const CUDA: &str = "libcuda.so.1";
pub(crate) const AUDIT: &str = "libhetgpu_audit.so";

/// The folder of our libraries: the one that is named, else `lib` beside the folder of this command.
pub(crate) fn folder() -> Result<PathBuf, String> {
    let named = std::env::var_os(FOLDER).map(PathBuf::from);
    let command = std::env::current_exe().and_then(std::fs::canonicalize).unwrap_or_default();
    let beside = command.parent().and_then(Path::parent).map(|folder| folder.join("lib"));
    let folder = named.or(beside).unwrap_or_default();
    match folder.join(CUDA).exists() {
        true => std::fs::canonicalize(&folder).map_err(|error| format!("{}: {error}", folder.display())),
        false => Err(format!(
            "{CUDA} is not in {}; install hetGPU as a whole, or let {FOLDER} name its folder",
            folder.display()
        )),
    }
}
