//! What `HETGPU_DUMP` asks for: every module as it came and as it was understood, in files that people read.

use crate::log;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// From now on modules are saved in this folder.
pub(crate) fn into(folder: &Path) {
    let _ = FOLDER.set(folder.to_path_buf());
}

pub(crate) fn wanted() -> bool {
    FOLDER.get().is_some()
}

/// 64 bits that tell texts apart (FNV-1a).
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Saves one form of the module with this text, if modules are saved. Its files are named by a digest of the text, so that
/// loading it twice changes nothing.
pub(crate) fn save(text: &str, form: &str, contents: impl FnOnce() -> Vec<u8>) {
    if let Some(folder) = FOLDER.get() {
        write(folder, text, form, &contents());
    }
}

/// What cannot be written is said once, and is no reason to fail.
fn write(folder: &Path, text: &str, form: &str, contents: &[u8]) {
    let path = folder.join(format!("{:016x}.{form}", digest(text.as_bytes())));
    match fs::create_dir_all(folder).and_then(|()| fs::write(&path, contents)) {
        Ok(()) => log::info(format_args!("saved {}", path.display())),
        Err(error) if log::first("HETGPU_DUMP") => {
            log::warn(format_args!("HETGPU_DUMP: modules are not saved: {}: {error}", path.display()));
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_module_lie_side_by_side() {
        let folder = std::env::temp_dir().join(format!("hetgpu-dump-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        write(&folder, "a", "image", b"raw");
        write(&folder, "a", "ptx", b"a");
        // The digest of "a" is one of the function's published examples.
        assert_eq!(fs::read(folder.join("af63dc4c8601ec8c.image")).unwrap(), b"raw");
        assert_eq!(fs::read(folder.join("af63dc4c8601ec8c.ptx")).unwrap(), b"a");
        fs::remove_dir_all(&folder).unwrap();
    }
}
