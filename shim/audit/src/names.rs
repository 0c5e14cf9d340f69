//! Which libraries are taken instead of which.

/// A library by its name without a version, and ours for it.
const LIBRARIES: [(&str, &str); 2] = [("libcuda.so", "libcuda.so.1"), ("libnvidia-ml.so", "libnvidia-ml.so.1")];

/// The name in our folder for what a program asks for by name or path; none where it is nothing of ours.
pub(crate) fn ours(asked: &str) -> Option<&'static str> {
    let name = asked.rsplit('/').next()?;
    let versioned =
        |base| name.strip_prefix(base).is_some_and(|version: &str| version.is_empty() || version.starts_with('.'));
    LIBRARIES.iter().find(|library| versioned(library.0)).map(|library| library.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_versions_are_known_and_similar_names_are_not() {
        for asked in ["libcuda.so.1", "libcuda.so", "/usr/lib/libcuda.so.580.65.06", "stubs/libcuda.so"] {
            assert_eq!(ours(asked), Some("libcuda.so.1"), "{asked}");
        }
        assert_eq!(ours("libnvidia-ml.so.1"), Some("libnvidia-ml.so.1"));
        for asked in ["libcudart.so.13", "libcuda.so2", "libc.so.6", "libcuda.so.1/libx.so", "", "/"] {
            assert_eq!(ours(asked), None, "{asked}");
        }
    }
}
