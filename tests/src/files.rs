//! Finds filetests.

use std::io;
use std::path::{Path, PathBuf};

/// A filetest on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Path below the root without the extension, such as `int/popc`.
    pub name: String,
    pub path: PathBuf,
}

/// All .ptx files below a folder, by name.
pub fn find(root: &Path) -> io::Result<Vec<File>> {
    let mut out = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "ptx") {
                let below = path.strip_prefix(root).unwrap_or(&path).with_extension("");
                out.push(File { name: below.to_string_lossy().replace('\\', "/"), path });
            }
        }
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

/// A number that changes with the text of a file: FNV-1a.
pub fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The folder of the filetests in this repository.
pub fn default_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ptx")
}
