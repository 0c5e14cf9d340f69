//! Rules about crates from outside. `deny.toml` says what is allowed; here it is checked without cargo-deny and without
//! its database, which leaves only the advisories to it.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Findings, Tree};
use crate::tool::cargo;

const SETTINGS: &str = "deny.toml";
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate from outside, or one of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Crate {
    name: String,
    version: String,
    licence: Option<String>,
    /// `None` for a folder.
    source: Option<String>,
    manifest: String,
    /// What it depends on by any version.
    wildcards: Vec<String>,
}

/// What `deny.toml` says.
struct Settings {
    targets: Vec<String>,
    licences: Vec<String>,
    banned: Vec<String>,
    /// Crates that may be there in several versions.
    several: Vec<String>,
}

pub(super) fn outside(tree: &Tree) -> Result<Findings, String> {
    let text = tree.file(SETTINGS).ok_or_else(|| format!("{SETTINGS}: missing"))?;
    let settings = settings(&text.text).map_err(|why| format!("{SETTINGS}: {why}"))?;
    let mut crates = BTreeMap::new();
    for target in &settings.targets {
        for one in crates_for(target)? {
            crates.insert((one.name.clone(), one.version.clone()), one);
        }
    }
    let crates: Vec<_> = crates.into_values().collect();
    Ok(findings(&crates, &settings, &tree.root.to_string_lossy()))
}

fn settings(text: &str) -> Result<Settings, String> {
    let table = DeTable::parse(text).map_err(|error| error.to_string())?;
    // A crate is named by a string or by a table with its reason.
    let name = |value: &Spanned<DeValue>| {
        let value = value.get_ref();
        value.as_str().or_else(|| value.get("crate")?.get_ref().as_str()).map(String::from)
    };
    let list = |section: &str, key: &str| -> Result<Vec<String>, String> {
        let section_table = table.get_ref().get(section).map(Spanned::get_ref);
        let Some(values) = section_table.and_then(|section| section.get(key)) else { return Ok(Vec::new()) };
        let values = values.get_ref().as_array();
        let names = values.and_then(|values| values.iter().map(name).collect::<Option<Vec<_>>>());
        names.ok_or_else(|| format!("{section}.{key} is no list of names"))
    };
    Ok(Settings {
        targets: list("graph", "targets")?,
        licences: list("licenses", "allow")?,
        banned: list("bans", "deny")?,
        several: list("bans", "skip")?,
    })
}

fn crates_for(target: &str) -> Result<Vec<Crate>, String> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--locked", "--all-features", "--filter-platform", target])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    parse(&metadata).ok_or_else(|| "cargo metadata has an unknown form".into())
}

fn parse(metadata: &Value) -> Option<Vec<Crate>> {
    let text = |value: &Value| value.as_str().map(String::from);
    let one = |package: &Value| {
        let any = |dependency: &&Value| dependency["req"] == "*" && dependency["path"].is_null();
        Some(Crate {
            name: text(&package["name"])?,
            version: text(&package["version"])?,
            licence: text(&package["license"]),
            source: text(&package["source"]),
            manifest: text(&package["manifest_path"])?,
            wildcards: package["dependencies"]
                .as_array()?
                .iter()
                .filter(any)
                .filter_map(|d| text(&d["name"]))
                .collect(),
        })
    };
    metadata["packages"].as_array()?.iter().map(one).collect()
}

fn findings(crates: &[Crate], settings: &Settings, root: &str) -> Findings {
    let mut out = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Crate { name, version, licence, source, manifest, wildcards } in crates {
        versions.entry(name).or_default().push(version);
        match licence.as_deref() {
            None => out.push(format!("{name} {version}: names no licence")),
            Some(licence) if !fits(licence, &settings.licences) => {
                out.push(format!("{name} {version}: {licence} is not among the licences that {SETTINGS} allows"));
            }
            Some(_) => {}
        }
        let ours = manifest.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        match source.as_deref() {
            Some(REGISTRY) => {}
            None if ours => {}
            other => out.push(format!("{name} {version}: comes from {}", other.unwrap_or(manifest))),
        }
        if settings.banned.contains(name) {
            out.push(format!("{name} {version}: {SETTINGS} bans it"));
        }
        if ours {
            out.extend(wildcards.iter().map(|other| format!("{name}: takes any version of {other}")));
        }
    }
    for (name, versions) in versions {
        if versions.len() > 1 && !settings.several.iter().any(|other| other == name) {
            out.push(format!("{name}: there are {}", versions.join(" and ")));
        }
    }
    out
}

/// Whether an SPDX expression can be met by these licences. Older crates write `/` for `OR`.
fn fits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    either(&mut rest, allowed) == Some(true) && rest.is_empty()
}

fn either(rest: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut met = both(rest, allowed)?;
    while let Some((&"OR", after)) = rest.split_first() {
        *rest = after;
        met |= both(rest, allowed)?;
    }
    Some(met)
}

fn both(rest: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut met = licence(rest, allowed)?;
    while let Some((&"AND", after)) = rest.split_first() {
        *rest = after;
        met &= licence(rest, allowed)?;
    }
    Some(met)
}

fn licence(rest: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if *first == "(" {
        let met = either(rest, allowed)?;
        *rest = rest.strip_prefix(&[")"])?;
        return Some(met);
    }
    let mut name = (*first).to_string();
    if let ["WITH", exception, after @ ..] = *rest {
        name = format!("{name} WITH {exception}");
        *rest = after;
    }
    Some(allowed.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outsider(name: &str, version: &str) -> Crate {
        let text = |text: &str| Some(text.to_string());
        Crate {
            name: name.into(),
            version: version.into(),
            licence: text("MIT"),
            source: text(REGISTRY),
            manifest: "/cache/Cargo.toml".into(),
            wildcards: vec!["its-own-affair".into()],
        }
    }

    fn rules() -> Settings {
        settings(
            r#"
            graph.targets = ["a"]
            licenses.allow = ["MIT", "Apache-2.0 WITH LLVM-exception"]
            bans.deny = [{ crate = "bad", reason = "r" }]
            bans.skip = ["twice"]
            "#,
        )
        .unwrap()
    }

    #[test]
    fn licences() {
        let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from);
        for (expression, right) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("MIT AND ISC", true),
            ("(GPL-3.0 OR MIT) AND ISC", true),
            ("(GPL-3.0 OR MIT) AND GPL-3.0", false),
            ("MIT OR GPL-3.0 AND GPL-2.0", true),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0", true),
            ("MIT ISC", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(fits(expression, &allowed), right, "{expression}");
        }
    }

    #[test]
    fn what_is_allowed() {
        let ours =
            Crate { source: None, manifest: "/top/a/Cargo.toml".into(), wildcards: vec![], ..outsider("a", "1") };
        let crates = [ours, outsider("b", "1"), outsider("twice", "1"), outsider("twice", "2")];
        assert_eq!(findings(&crates, &rules(), "/top"), [""; 0]);
    }

    #[test]
    fn what_is_found() {
        let git = Some("git+https://example.com/a".to_string());
        for (one, finding) in [
            (Crate { licence: None, ..outsider("a", "1") }, "a 1: names no licence"),
            (
                Crate { licence: Some("GPL-3.0".into()), ..outsider("a", "1") },
                "a 1: GPL-3.0 is not among the licences that deny.toml allows",
            ),
            (Crate { source: git, ..outsider("a", "1") }, "a 1: comes from git+https://example.com/a"),
            (
                Crate { source: None, manifest: "/topmost/Cargo.toml".into(), ..outsider("a", "1") },
                "a 1: comes from /topmost/Cargo.toml",
            ),
            (outsider("bad", "1"), "bad 1: deny.toml bans it"),
            (outsider("b", "2"), "b: there are 1 and 2"),
            (
                Crate { source: None, manifest: "/top/x/Cargo.toml".into(), ..outsider("x", "1") },
                "x: takes any version of its-own-affair",
            ),
        ] {
            assert_eq!(findings(&[outsider("b", "1"), one], &rules(), "/top"), [finding]);
        }
    }

    #[test]
    fn settings_are_read() {
        let rules = rules();
        assert_eq!(
            (&rules.targets[..], &rules.banned[..], &rules.several[..]),
            (&["a".to_string()][..], &["bad".to_string()][..], &["twice".to_string()][..])
        );
        assert!(settings("licenses.allow = 1").is_err());
        assert!(settings("[").is_err());
    }
}
