//! Where the CUDA toolkit is.

use std::path::{Path, PathBuf};

/// The variable that names it: a folder with `bin`.
pub const VARIABLE: &str = "HETGPU_CUDA_TOOLKIT";

/// The path of one of its programs, or what to do to have it.
pub fn locate(program: &str) -> Result<PathBuf, String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.build/cuda/toolkit");
    let toolkit = std::env::var_os(VARIABLE).map_or(own, PathBuf::from);
    let path = toolkit.join("bin").join(program);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("no {program} at {}: run ./setup.sh, or let {VARIABLE} name a CUDA toolkit", path.display()))
}
