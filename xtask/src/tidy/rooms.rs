//! Who may depend on whom.

use serde_json::Value;

use super::{Findings, Tree};
use crate::tool::cargo;

const LICENCE: &str = "MIT OR Apache-2.0";

/// A folder, and the rooms that it may depend on. `/*` at the end stands for every folder below that has no row of its
/// own; `*` for every room.
const ROOMS: &[(&str, &[&str])] = &[
    ("hetir", &[]),
    ("ptx-frontend", &["hetir"]),
    ("checkpoint", &["hetir"]),
    ("llvm", &["backends/cache", "hetir"]),
    ("backends/cache", &[]),
    ("backends/device", &["hetir"]),
    ("backends/spirv", &["hetir"]),
    ("backends/*", &["backends/device", "backends/spirv", "llvm", "backends/cache", "hetir"]),
    ("runtime", &["ptx-frontend", "backends/cache", "checkpoint", "backends/device", "hetir"]),
    ("shim/registry", &["runtime", "backends/*", "backends/device"]),
    ("shim/audit", &[]),
    ("shim/command", &["shim/audit", "shim/registry", "runtime", "checkpoint", "ptx-frontend", "hetir"]),
    ("shim/nvml", &["shim/registry", "runtime", "backends/device"]),
    ("shim", &["shim/registry", "runtime", "backends/device"]),
    ("tests", &["*"]),
    ("bench", &["*"]),
    ("fuzz", &["*"]),
    ("xtask", &[]),
];

/// Crates from outside that only some rooms may name.
const GUESTS: &[(&str, &[&str])] = &[
    ("inkwell", &["llvm"]),
    ("llvm-sys", &["llvm"]),
    ("rspirv", &["backends/spirv"]),
    ("ash", &["backends/vulkan"]),
    ("blake3", &["checkpoint"]),
    ("libloading", &["backends/*", "bench", "shim", "tests"]),
];

/// A package of the workspace.
struct Package {
    name: String,
    folder: String,
    licence: Option<String>,
    /// Folder of a package of ours, or name of one from outside.
    dependencies: Vec<Result<String, String>>,
}

pub(super) fn dependencies(tree: &Tree) -> Result<Findings, String> {
    Ok(packages(tree)?.iter().flat_map(findings).collect())
}

pub(super) fn licences(tree: &Tree) -> Result<Findings, String> {
    let mut out: Findings = packages(tree)?
        .iter()
        .filter(|package| package.licence.as_deref() != Some(LICENCE))
        .map(|package| format!("{}/Cargo.toml: {} needs `license = \"{LICENCE}\"`", package.folder, package.name))
        .collect();
    let texts = ["LICENSE-MIT", "LICENSE-APACHE"];
    out.extend(texts.iter().filter(|path| tree.file(path).is_none()).map(|path| format!("{path}: missing")));
    Ok(out)
}

/// The row that a folder falls under: its own, else the longest one with `/*` that holds it.
fn room(folder: &str) -> Option<&'static str> {
    let rows = || ROOMS.iter().map(|room| room.0);
    rows().find(|row| *row == folder).or_else(|| rows().filter(|row| covers(row, folder)).max_by_key(|row| row.len()))
}

fn covers(pattern: &str, folder: &str) -> bool {
    pattern == "*" || pattern == folder || pattern.strip_suffix('*').is_some_and(|prefix| folder.starts_with(prefix))
}

/// Whether a list of rooms holds the room of a folder. `backends/*` holds a vendor's folder, but no folder with a row of its own.
fn allowed(list: &[&str], folder: &str) -> bool {
    list.iter().any(|pattern| *pattern == "*" || Some(*pattern) == room(folder))
}

fn findings(package: &Package) -> Findings {
    let Some(row) = room(&package.folder) else {
        return vec![format!("{}: no row in xtask/src/tidy/rooms.rs says what it may depend on", package.folder)];
    };
    let may = ROOMS.iter().find(|room| room.0 == row).map_or(&[][..], |room| room.1);
    let mut out = Vec::new();
    for dependency in &package.dependencies {
        match dependency {
            Ok(folder) if *folder != package.folder && !allowed(may, folder) => {
                out.push(format!("{}: may not depend on {folder}", package.folder));
            }
            Ok(_) => {}
            Err(guest) => {
                let rooms = GUESTS.iter().find(|row| row.0 == guest).map(|row| row.1);
                if rooms.is_some_and(|rooms| !allowed(rooms, &package.folder)) {
                    out.push(format!(
                        "{}: only {} may depend on {guest}",
                        package.folder,
                        rooms.unwrap_or(&[]).join(" ")
                    ));
                }
            }
        }
    }
    out.sort();
    out.dedup();
    out
}

fn packages(tree: &Tree) -> Result<Vec<Package>, String> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    parse(&metadata, &tree.root.to_string_lossy()).ok_or_else(|| "cargo metadata has an unknown form".into())
}

fn parse(metadata: &Value, root: &str) -> Option<Vec<Package>> {
    let below = |path: &str| path.strip_prefix(root).map(|path| path.trim_matches('/').to_string());
    let mut out = Vec::new();
    for package in metadata["packages"].as_array()? {
        let mut dependencies = Vec::new();
        for dependency in package["dependencies"].as_array()? {
            let ours = dependency["path"].as_str().map(|path| below(path).unwrap_or_else(|| path.to_string()));
            dependencies.push(ours.ok_or(dependency["name"].as_str()?.to_string()));
        }
        let manifest = below(package["manifest_path"].as_str()?)?;
        out.push(Package {
            name: package["name"].as_str()?.to_string(),
            folder: manifest.strip_suffix("Cargo.toml")?.trim_end_matches('/').to_string(),
            licence: package["license"].as_str().map(String::from),
            dependencies,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, dependencies: &[Result<&str, &str>]) -> Package {
        let dependencies = dependencies.iter().map(|d| d.map(String::from).map_err(String::from)).collect();
        Package { name: "p".into(), folder: folder.into(), licence: None, dependencies }
    }

    #[test]
    fn directions() {
        for (folder, dependency, right) in [
            ("hetir", "ptx-frontend", false),
            ("ptx-frontend", "hetir", true),
            ("backends/cpu", "backends/device", true),
            ("backends/cpu", "backends/nvidia", false),
            ("backends/cpu", "llvm", true),
            ("backends/cpu", "ptx-frontend", false),
            ("backends/device", "backends/cpu", false),
            ("runtime", "backends/device", true),
            ("runtime", "backends/cpu", false),
            ("shim/registry", "backends/cpu", true),
            ("shim", "backends/cpu", false),
            ("shim", "checkpoint", false),
            ("tests", "shim", true),
            ("xtask", "hetir", false),
        ] {
            let found = findings(&package(folder, &[Ok(dependency)]));
            assert_eq!(found.is_empty(), right, "{folder} -> {dependency}: {found:?}");
        }
    }

    #[test]
    fn guests_and_unknown_rooms() {
        assert!(findings(&package("llvm", &[Err("inkwell")])).is_empty());
        assert_eq!(findings(&package("runtime", &[Err("inkwell")])), ["runtime: only llvm may depend on inkwell"]);
        assert!(findings(&package("backends/amd", &[Err("libloading"), Err("serde")])).is_empty());
        assert_eq!(findings(&package("hetir", &[Err("libloading")])).len(), 1);
        assert_eq!(findings(&package("attic", &[])).len(), 1);
    }

    #[test]
    fn metadata_is_read() {
        let text = r#"{"packages": [{"name": "hetir", "license": "MIT", "manifest_path": "/top/hetir/Cargo.toml",
            "dependencies": [{"name": "serde", "path": null}, {"name": "x", "path": "/top/backends/x"}]}]}"#;
        let all = parse(&serde_json::from_str(text).unwrap(), "/top").unwrap();
        assert_eq!((all[0].folder.as_str(), all[0].licence.as_deref()), ("hetir", Some("MIT")));
        assert_eq!(all[0].dependencies, [Err("serde".into()), Ok("backends/x".into())]);
    }
}
