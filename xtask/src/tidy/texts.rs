//! Rules about every text file.

use super::{Findings, Tree};

/// Words that mark unfinished work. They are put together here so that this file does not hold them.
const UNFINISHED: [&str; 7] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("not yet ", "implemented"),
];

/// Where home folders are.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

pub(super) fn unfinished(tree: &Tree) -> Result<Findings, String> {
    Ok(lines_with(tree, |line| UNFINISHED.into_iter().find(|word| holds_word(line, word)).map(String::from)))
}

pub(super) fn machine_paths(tree: &Tree) -> Result<Findings, String> {
    let mut prefixes: Vec<String> = HOMES.iter().map(|home| (*home).to_string()).collect();
    if let Some(parent) = tree.root.parent().filter(|parent| parent.components().count() > 1) {
        prefixes.push(format!("{}/", parent.display()));
    }
    Ok(lines_with(tree, |line| prefixes.iter().find(|prefix| line.contains(prefix.as_str())).cloned()))
}

/// True if the word stands in the line with no letter or digit directly before or after it.
fn holds_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
        open(before) && (open(after) || word.ends_with('('))
    })
}

fn lines_with(tree: &Tree, find: impl Fn(&str) -> Option<String>) -> Findings {
    let mut out = Vec::new();
    for file in tree.files.iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(found) = find(line) {
                out.push(format!("{}:{}: `{found}`", file.path, number + 1));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn words_are_whole() {
        assert!(holds_word(concat!("// TO", "DO: x"), UNFINISHED[0]));
        assert!(!holds_word(concat!("MASTO", "DON"), UNFINISHED[0]));
        assert!(holds_word(concat!("{ todo", "!(\"x\") }"), UNFINISHED[4]));
    }

    #[test]
    fn files_are_searched() {
        let files = [("a.md", concat!("fine\nFIX", "ME\n")), ("b.sh", concat!("cd /ho", "me/me\n"))];
        assert_eq!(unfinished(&tree(&files)).unwrap().len(), 1);
        assert_eq!(machine_paths(&tree(&files)).unwrap(), [concat!("b.sh:1: `/ho", "me/`")]);
    }
}
