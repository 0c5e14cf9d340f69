//! Rules about Rust source.

use super::{Findings, Tree};

/// Longer files are split: nobody finds his way in them.
const LINES: usize = 1200;

/// Rooms whose crate root forbids unsafe code.
const SAFE: [&str; 4] = ["hetir", "ptx-frontend", "checkpoint", "xtask"];

/// The modules that may hold unsafe code: as a file, or as a folder of files.
const UNSAFE: [&str; 4] = ["sys", "driver", "abi", "entry"];

pub(super) fn forbid_unsafe(tree: &Tree) -> Result<Findings, String> {
    let mut out = Vec::new();
    for room in SAFE {
        let file = ["lib.rs", "main.rs"].iter().find_map(|name| tree.file(&format!("{room}/src/{name}")));
        if let Some(file) = file.filter(|file| !file.text.lines().any(|line| line == "#![forbid(unsafe_code)]")) {
            out.push(format!("{}: needs `#![forbid(unsafe_code)]`", file.path));
        }
    }
    Ok(out)
}

pub(super) fn unsafe_files(tree: &Tree) -> Result<Findings, String> {
    let mut out = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let mut parts = file.path.trim_end_matches(".rs").split('/');
        if parts.any(|part| UNSAFE.contains(&part)) {
            continue;
        }
        for (number, line) in code(&file.text, Strings::Drop).lines().enumerate() {
            if words(line).any(|word| word == "unsafe") {
                out.push(format!("{}:{}: unsafe outside {}", file.path, number + 1, UNSAFE.join(".rs, ") + ".rs"));
            }
        }
    }
    Ok(out)
}

pub(super) fn file_sizes(tree: &Tree) -> Result<Findings, String> {
    let long = tree.files.iter().filter(|file| file.is_rust()).map(|file| (file, file.text.lines().count()));
    Ok(long
        .filter(|(_, lines)| *lines > LINES)
        .map(|(file, lines)| format!("{}: {lines} lines, more than {LINES}", file.path))
        .collect())
}

pub(super) fn ignored_tests(tree: &Tree) -> Result<Findings, String> {
    let mut out = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        for (number, line) in code(&file.text, Strings::Keep).lines().enumerate() {
            if line.trim() == "#[ignore]" {
                out.push(format!("{}:{}: `#[ignore = \"reason\"]`", file.path, number + 1));
            }
        }
    }
    Ok(out)
}

/// Identifiers and numbers of a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// What [`code`] does with string literals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    Keep,
    Drop,
}

/// Rust source without its comments, line breaks kept.
pub(super) fn code(text: &str, strings: Strings) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if first == '"' {
            (string(rest), strings == Strings::Keep)
        } else if let Some(length) = raw_string(rest) {
            (length, strings == Strings::Keep)
        } else if first == '\'' {
            (character(rest), true)
        } else if first.is_alphanumeric() || first == '_' {
            // A whole word, so that the `r` at its end does not begin a raw string.
            (rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()), true)
        } else {
            (first.len_utf8(), true)
        };
        let (piece, after) = rest.split_at(length);
        if keep {
            out.push_str(piece);
        } else {
            out.push(' ');
            out.extend(piece.matches('\n'));
        }
        rest = after;
    }
    out
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let body_start = text.len() - body.len() + hashes;
    if !text[body_start..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let from = body_start + 1;
    Some(text[from..].find(&end).map_or(text.len(), |at| from + at + end.len()))
}

/// A character literal, or the quote of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let source = "a // unsafe\n/* unsafe /* x */ unsafe */ b \"unsafe \\\" unsafe\" c r#\"un\"safe\"# 'x' '\"' d '\\'' e<'f> \"\"g";
        assert_eq!(code(source, Strings::Drop), "a  \n  b   c   'x' '\"' d '\\'' e<'f>  g");
        assert_eq!(code("for\"x\" // y", Strings::Keep), "for\"x\"  ");
        assert_eq!(code("\"/* no comment */\" z", Strings::Keep), "\"/* no comment */\" z");
    }

    #[test]
    fn unsafe_is_found_outside_its_files() {
        let files = [
            ("a/src/lib.rs", "#![deny(unsafe_op_in_unsafe_fn)]\nfn f() { unsafe { g() } }\n"),
            ("a/src/sys.rs", "unsafe fn g() {}"),
            ("a/src/entry/memory.rs", "#[unsafe(no_mangle)]"),
            ("a/src/b.rs", "// unsafe\n"),
        ];
        let found = unsafe_files(&tree(&files)).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("a/src/lib.rs:2: "));
    }

    #[test]
    fn the_other_rules() {
        let long = "\n".repeat(LINES + 1);
        let files = [
            ("hetir/src/lib.rs", "//! #![forbid(unsafe_code)]\n"),
            ("xtask/src/main.rs", "#![forbid(unsafe_code)]\n"),
            ("a/src/long.rs", long.as_str()),
            ("a/src/b.rs", "#[ignore]\n#[ignore = \"slow\"]\n"),
        ];
        let tree = tree(&files);
        assert_eq!(forbid_unsafe(&tree).unwrap(), ["hetir/src/lib.rs: needs `#![forbid(unsafe_code)]`"]);
        assert_eq!(file_sizes(&tree).unwrap().len(), 1);
        assert_eq!(ignored_tests(&tree).unwrap(), ["a/src/b.rs:1: `#[ignore = \"reason\"]`"]);
    }
}
