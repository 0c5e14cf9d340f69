//! The licences of what is linked into the files that are handed out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Result;
use crate::tool::cargo;

/// LLVM's, as the distribution's package states it.
const LLVM: &str = "/usr/share/doc/llvm-19-dev/copyright";

/// What files that hold a licence begin with, in capitals.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// Crates from outside by name and version, each with its licence and the texts that come with it, and LLVM.
pub(super) fn text<'a>(packages: impl Iterator<Item = &'a str>) -> Result<String> {
    let metadata = metadata()?;
    let mut out = String::from("# Licences of what hetGPU is linked with\n");
    let mut texts = BTreeMap::<String, Vec<String>>::new();
    for (name, version) in linked(packages)? {
        let Some(package) = found(&metadata, &name, &version) else { continue };
        let licence = package["license"].as_str().unwrap_or("stated in its files");
        out += &format!("\n- {name} {version}: {licence}");
        let folder = Path::new(package["manifest_path"].as_str().unwrap_or_default()).parent();
        for entry in folder.into_iter().flat_map(fs::read_dir).flatten().flatten() {
            let file = entry.file_name().to_string_lossy().to_uppercase();
            if NAMES.iter().any(|name| file.starts_with(name)) && entry.path().is_file() {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                texts.entry(text).or_default().push(format!("{name} {version}"));
            }
        }
    }
    out += "\n- Rust's standard library: MIT OR Apache-2.0\n- LLVM 19: Apache-2.0 WITH LLVM-exception\n";
    for (text, mut users) in texts {
        users.dedup();
        out += &format!("\n## {}\n\n{}\n", users.join(", "), text.trim());
    }
    let llvm = fs::read_to_string(LLVM).map_err(|error| format!("{LLVM}: {error}"))?;
    Ok(format!("{out}\n## LLVM\n\n{}\n", llvm.trim()))
}

fn metadata() -> Result<Value> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// A package from outside.
fn found<'m>(metadata: &'m Value, name: &str, version: &str) -> Option<&'m Value> {
    let mut packages = metadata["packages"].as_array()?.iter();
    packages.find(|package| package["name"] == name && package["version"] == version && !package["source"].is_null())
}

/// Name and version of everything that becomes part of the packages.
fn linked<'a>(packages: impl Iterator<Item = &'a str>) -> Result<Vec<(String, String)>> {
    let mut command = cargo();
    command.args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    packages.for_each(|package| {
        command.args(["--package", package]);
    });
    let output = command.output().map_err(|error| format!("cargo tree: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut all: Vec<_> = text.lines().filter_map(name_and_version).collect();
    all.sort();
    all.dedup();
    match all.is_empty() {
        true => Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr))),
        false => Ok(all),
    }
}

fn name_and_version(line: &str) -> Option<(String, String)> {
    let mut words = line.split_ascii_whitespace();
    Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tree_are_read() {
        assert_eq!(name_and_version("libc v0.2.1 (*)"), Some(("libc".into(), "0.2.1".into())));
        assert_eq!(name_and_version("hetir v0.1.0 (/x/hetir)"), Some(("hetir".into(), "0.1.0".into())));
        assert_eq!(name_and_version(""), None);
    }
}
