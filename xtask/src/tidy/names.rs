//! Names that a room may not know.

use super::rust::{Strings, code, words};
use super::{File, Findings, Tree};

/// Vendors and their interfaces, in lower case.
const VENDORS: [&str; 11] =
    ["nvidia", "geforce", "amd", "radeon", "rocm", "hip", "hsa", "intel", "oneapi", "vulkan", "lavapipe"];

/// Spellings of the interface in front of us.
const CUDA: [&str; 2] = ["cuda", "cudart"];

/// Spellings of the language that comes in.
const PTX: [&str; 2] = ["ptx", "ptxas"];

/// Rooms that may know a group of names, as path prefixes. Tests, benchmarks and this program check and measure what
/// others do, so they may name everyone.
const EVERYTHING: [&str; 4] = ["tests/", "bench/", "fuzz/", "xtask/"];
const VENDOR_ROOMS: [&str; 3] = ["backends/", "llvm/src/targets/", "shim/registry/"];
const CUDA_ROOMS: [&str; 2] = ["shim/", "backends/nvidia/"];
const PTX_ROOMS: [&str; 4] = ["ptx-frontend/", "runtime/", "shim/", "backends/nvidia/"];

/// Single exceptions: file, word, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("shim/command/src/doctor.rs", "nvidia", "where the system says that another driver is loaded"),
    ("ptx-frontend/src/builtin.rs", "cuda", "programs declare the driver's functions by these names"),
    ("ptx-frontend/src/isa/control.rs", "cuda", "programs declare the driver's functions by these names"),
    ("shim/src/decode/names.rs", "vulkan", "an attribute of the interface is called so"),
];

/// Comments may give a fact about a vendor's hardware as a reason. Strings may speak of PTX, the language that a user
/// wrote, but not name a vendor.
pub(super) fn vendors(tree: &Tree) -> Result<Findings, String> {
    Ok(findings(tree, EXCEPTIONS))
}

fn findings(tree: &Tree, exceptions: &[(&str, &str, &str)]) -> Findings {
    let groups: [(&[&str], &[&str], Strings); 3] = [
        (&VENDORS, &VENDOR_ROOMS, Strings::Keep),
        (&CUDA, &CUDA_ROOMS, Strings::Keep),
        (&PTX, &PTX_ROOMS, Strings::Drop),
    ];
    let mut out = Vec::new();
    let mut used = vec![false; exceptions.len()];
    let exempt = |file: &File| within(&file.path, &EVERYTHING) || file.path.contains("/tests/");
    let neutral = tree.files.iter().filter(|file| file.is_rust() && !exempt(file));
    for file in neutral {
        for (group, _, strings) in groups.iter().filter(|(_, rooms, _)| !within(&file.path, rooms)) {
            for (number, line) in code(&file.text, *strings).lines().enumerate() {
                for word in words(line).flat_map(parts).filter(|word| group.contains(&word.as_str())) {
                    match exceptions.iter().position(|row| row.0 == file.path && row.1 == word) {
                        Some(row) => used[row] = true,
                        None => out.push(format!("{}:{}: `{word}` is not known in this room", file.path, number + 1)),
                    }
                }
            }
        }
    }
    for (row, _) in exceptions.iter().zip(used).filter(|(_, used)| !used) {
        out.push(format!("xtask/src/tidy/names.rs: the exception for `{}` in {} is not needed", row.1, row.0));
    }
    out
}

fn within(path: &str, rooms: &[&str]) -> bool {
    rooms.iter().any(|room| path.starts_with(room))
}

/// The parts of an identifier in lower case: `cudaError_t` is `cuda`, `error`, `t`.
fn parts(word: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut part = String::new();
    let mut after_lower = false;
    for c in word.chars() {
        if c == '_' || c.is_uppercase() && after_lower {
            out.push(std::mem::take(&mut part));
        }
        if c != '_' {
            part.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    out.push(part);
    out.retain(|part| !part.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn identifiers_have_parts() {
        assert_eq!(parts("cudaError_t"), ["cuda", "error", "t"]);
        assert_eq!(parts("NVIDIA_SMI"), ["nvidia", "smi"]);
        assert_eq!(parts("AmdDevice"), ["amd", "device"]);
        assert_eq!(parts("chip"), ["chip"]);
    }

    #[test]
    fn names_are_found_in_neutral_rooms() {
        let files = [
            ("hetir/src/a.rs", "// NVIDIA rounds so\nlet chip = 1;\nlet amd_wave = \"Vulkan\";\n"),
            ("hetir/src/b.rs", "fn ptx() { \"PTX\" }\n"),
            ("runtime/src/a.rs", "use ptx_frontend::x; fn cuda() {}\n"),
            ("backends/amd/src/lib.rs", "struct Amd;\n"),
            ("shim/registry/src/lib.rs", "nvidia cuda\n"),
            ("shim/src/lib.rs", "cuda nvidia\n"),
            ("tests/src/lib.rs", "nvidia ptx cuda\n"),
            ("runtime/tests/a.rs", "nvidia\n"),
            ("README.md", "nvidia\n"),
        ];
        let found = findings(&tree(&files), &[]);
        let places: Vec<&str> = found.iter().map(|finding| finding.rsplit_once(": ").unwrap().0).collect();
        let expected =
            ["hetir/src/a.rs:3", "hetir/src/a.rs:3", "hetir/src/b.rs:1", "runtime/src/a.rs:1", "shim/src/lib.rs:1"];
        assert_eq!(places, expected, "{found:?}");
        let exceptions = [("runtime/src/a.rs", "cuda", "a reason"), ("hetir/src/b.rs", "cuda", "none")];
        let found = findings(&tree(&files), &exceptions);
        assert!(!found.iter().any(|finding| finding.starts_with("runtime/src/a.rs")), "{found:?}");
        assert!(
            found.iter().any(|finding| finding.contains("the exception for `cuda` in hetir/src/b.rs")),
            "{found:?}"
        );
    }
}
