//! Where NVIDIA's driver library is: by a setting, by what the dynamic linker knows, by the usual places. Never by name
//! alone, since that name is ours too.

use std::path::{Path, PathBuf};

/// Folders in which systems keep the driver.
const FOLDERS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib/wsl/lib",
    "/run/opengl-driver/lib",
];

const LINKER_CACHE: &str = "/etc/ld.so.cache";
const NAME: &str = "libcuda.so.1";

/// The driver's library.
///
/// # Errors
/// There is none; the text says where it was looked for.
pub(crate) fn library(setting: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = setting {
        return match path.is_absolute() && path.is_file() {
            true => Ok(path.to_owned()),
            false => Err(format!("{}: not the absolute path of a file", path.display())),
        };
    }
    let known = std::fs::read(LINKER_CACHE).map(|cache| listed(&cache)).unwrap_or_default();
    let usual = FOLDERS.iter().map(|folder| Path::new(folder).join(NAME));
    let mut all = known.into_iter().chain(usual);
    all.find_map(|path| std::fs::canonicalize(path).ok().filter(|path| is_drivers(path)))
        .ok_or_else(|| format!("no {NAME} of NVIDIA's in {LINKER_CACHE} or in {}", FOLDERS.join(", ")))
}

/// The paths of libraries of that name in the dynamic linker's cache, whose strings end with a NUL each.
fn listed(cache: &[u8]) -> Vec<PathBuf> {
    let texts = cache.split(|&byte| byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
    let paths = texts.filter(|text| text.starts_with('/') && text.ends_with(&format!("/{NAME}")));
    paths.map(PathBuf::from).collect()
}

/// NVIDIA's file carries the driver's version in its name; ours does not.
fn is_drivers(path: &Path) -> bool {
    let version = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("libcuda.so."));
    version.is_some_and(|version| {
        let mut parts = version.split('.');
        version.contains('.') && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_cache_is_searched_for_whole_names() {
        let cache = b"glibc-ld.so.cache1.1\0\x01\xff\0/opt/x/libcuda.so.1\0libcuda.so.1\0/usr/lib64/libcuda.so.10\0";
        assert_eq!(listed(cache), [Path::new("/opt/x/libcuda.so.1")]);
    }

    #[test]
    fn a_drivers_file_names_its_version() {
        let is = |name: &str| is_drivers(&Path::new("/usr/lib").join(name));
        assert!(is("libcuda.so.580.159.04") && is("libcuda.so.1.1"));
        assert!(!is("libcuda.so.1") && !is("libcuda.so") && !is("libhetgpu.so.1.0") && !is("libcuda.so.1."));
    }

    #[test]
    fn a_setting_is_taken_at_its_word() {
        assert!(library(Some(Path::new("/nowhere/libcuda.so.1"))).is_err_and(|why| why.contains("/nowhere")));
        assert!(library(Some(Path::new("libcuda.so.1"))).is_err());
    }
}
