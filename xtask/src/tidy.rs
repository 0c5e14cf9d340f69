//! `cargo xtask tidy`: rules of the house that no compiler checks. Each rule is one function over the tree and gives
//! findings; the count is of rules.

mod crates;
mod names;
mod rooms;
mod rust;
mod texts;

use std::path::PathBuf;
use std::process::Command;

use crate::report::Counts;
use crate::tool::root;

/// A file that git knows or would know.
pub(crate) struct File {
    /// Path from the top folder, with slashes.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// What the rules look at.
pub(crate) struct Tree {
    root: PathBuf,
    files: Vec<File>,
}

impl Tree {
    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// What a rule found, each as `place: what`.
type Findings = Vec<String>;
type Rule = (&'static str, fn(&Tree) -> Result<Findings, String>);

const RULES: &[Rule] = &[
    ("rooms depend as the design says", rooms::dependencies),
    ("every package has the licence", rooms::licences),
    ("crates from outside are allowed", crates::outside),
    ("rooms without unsafe forbid it", rust::forbid_unsafe),
    ("unsafe stands in few files", rust::unsafe_files),
    ("files are short", rust::file_sizes),
    ("ignored tests say why", rust::ignored_tests),
    ("no vendor's name in neutral rooms", names::vendors),
    ("nothing is left unfinished", texts::unfinished),
    ("no paths of one machine", texts::machine_paths),
];

/// Runs every rule.
pub(crate) fn run() -> Result<Counts, String> {
    let tree = read_tree()?;
    let mut counts = Counts::default();
    for (name, rule) in RULES {
        let findings = rule(&tree)?;
        counts += Counts::one(findings.is_empty());
        if !findings.is_empty() {
            println!("tidy: {name}:");
            findings.iter().for_each(|finding| println!("  {finding}"));
        }
    }
    Ok(counts)
}

fn read_tree() -> Result<Tree, String> {
    let root = root();
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .map_err(|error| format!("git does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut paths: Vec<&str> = names.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    // Files that are no text (fatbins, images) and files deleted but not yet committed have nothing to say here.
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let files = paths.iter().filter_map(|path| Some(File { path: (*path).to_string(), text: read(path)? })).collect();
    Ok(Tree { root, files })
}

#[cfg(test)]
fn tree(files: &[(&str, &str)]) -> Tree {
    let files = files.iter().map(|(path, text)| File { path: (*path).into(), text: (*text).into() }).collect();
    Tree { root: PathBuf::from("/nowhere"), files }
}
