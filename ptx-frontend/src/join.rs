//! Several texts of one program as one: what a device linker does, before there is any code to link.
//!
//! Texts made from separate source files refer to each other by declarations, which give way to the definition in the same
//! text. What may be defined many times (`.weak`: inline functions, templates; `.common`: variables) stays once. Names that a text keeps to
//! itself are changed where an earlier text has them too.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// The compute capability that a text was written for, times ten; 0 where it does not say.
pub fn target(text: &str) -> u32 {
    let after = text.split_once(".target").map_or("", |(_, after)| after.trim_start());
    let digits = after.strip_prefix("sm_").unwrap_or("").split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Major and minor number behind `.version`; 0 where there is none.
pub fn version(text: &str) -> (u32, u32) {
    let after = text.split_once(".version").map_or("", |(_, after)| after.trim_start());
    let word = after.split_whitespace().next().unwrap_or("");
    let (major, minor) = word.split_once('.').unwrap_or((word, ""));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

/// One text of several. The header of the highest version and target is kept.
pub fn join(texts: &[String]) -> String {
    let highest = texts.iter().max_by_key(|text| (version(text), target(text)));
    let mut out = String::new();
    for line in highest.into_iter().flat_map(|text| text.lines()).filter(|line| is_header(line)) {
        out.push_str(line);
        out.push('\n');
    }
    let (mut declared, mut defined) = (HashSet::new(), HashSet::new());
    let mut taken: HashSet<String> =
        texts.iter().flat_map(|text| Items::of(text)).filter_map(visible).map(|item| item.name.to_owned()).collect();
    let texts: Vec<Cow<'_, str>> = texts.iter().map(|text| own_names(text, &mut taken)).collect();
    for text in &texts {
        for item in Items::of(text) {
            let superfluous = visible(item).is_some_and(|Visible { name, linkage, defines }| {
                let known = defined.contains(name);
                let again = !declared.insert(name);
                let drop = match (linkage, defines) {
                    (".extern", _) => again,
                    (".weak" | ".common", _) | (_, false) => known,
                    (_, true) => false,
                };
                if defines {
                    defined.insert(name);
                }
                drop
            });
            if !superfluous && !is_header(item) {
                out.push_str(item);
            }
        }
        out.push('\n');
    }
    out
}

/// The text with names of its own for what it keeps to itself; `taken` are those of the texts before it, and all
/// that texts speak of to each other.
fn own_names<'a>(text: &'a str, taken: &mut HashSet<String>) -> Cow<'a, str> {
    let own: HashSet<&str> = Items::of(text).filter_map(hidden).collect();
    let mut changed = HashMap::new();
    for &name in own.iter().filter(|name| taken.contains(**name)) {
        let mut number = 2u32;
        let other = loop {
            let other = format!("{name}${number}");
            if !taken.contains(&other) && !text.contains(&other) {
                break other;
            }
            number += 1;
        };
        changed.insert(name, other);
    }
    taken.extend(own.iter().filter(|name| !changed.contains_key(*name)).map(|name| (*name).to_owned()));
    taken.extend(changed.values().cloned());
    if changed.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(renamed(text, &changed)) }
}

/// The text with other names; strings and comments stay.
fn renamed(text: &str, names: &HashMap<&str, String>) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if is_name(first) {
            let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            if let Some(other) = names.get(&rest[..length]) {
                out.push_str(other);
                rest = &rest[length..];
                continue;
            }
            length
        } else if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.find("*/").map_or(rest.len(), |end| end + 4)
        } else {
            first.len_utf8()
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%')
}

/// The name of a function or variable that other texts cannot speak of.
fn hidden(item: &str) -> Option<&str> {
    let item = strip(item);
    let kinds = [".func", ".entry", ".global", ".const", ".shared"];
    kinds.iter().any(|kind| item.starts_with(kind)).then(|| named(item).0)
}

fn is_header(item: &str) -> bool {
    let item = strip(item);
    [".version", ".target", ".address_size"].iter().any(|directive| item.starts_with(directive))
}

/// Without the white space and comments before it.
fn strip(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        let end = if text.starts_with("//") {
            text.find('\n')
        } else if text.starts_with("/*") {
            text.find("*/").map(|end| end + 1)
        } else {
            return text;
        };
        text = end.map_or("", |end| &text[end + 1..]);
    }
}

/// What an item says to other texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Visible<'a> {
    linkage: &'a str,
    name: &'a str,
    /// A function with its body, or a variable that is not `.extern`.
    defines: bool,
}

/// The function or variable that an item declares or defines, if other texts may speak of it.
fn visible(item: &str) -> Option<Visible<'_>> {
    let item = strip(item);
    let (linkage, item) = item.split_at(item.find(char::is_whitespace)?);
    if ![".extern", ".visible", ".weak", ".common"].contains(&linkage) {
        return None;
    }
    let (name, is_function) = named(item);
    let defines = if is_function { item.contains('{') } else { linkage != ".extern" };
    Some(Visible { linkage, name, defines })
}

/// The name that a function or variable has, behind its linkage, and whether it is a function.
fn named(item: &str) -> (&str, bool) {
    let item = item.trim_start();
    let function = item.strip_prefix(".func").or_else(|| item.strip_prefix(".entry"));
    if let Some(rest) = function {
        // Attributes and the results of a function come before its name.
        let mut rest = rest.trim_start();
        while rest.starts_with(['.', '(']) {
            let end = if rest.starts_with('(') || rest.starts_with(".attribute") {
                rest.find(')').map(|end| end + 1)
            } else {
                rest.find(char::is_whitespace)
            };
            rest = end.map_or("", |end| rest[end..].trim_start());
        }
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        return (&rest[..end], true);
    }
    let declarator = item.split(['=', '[', ';']).next().unwrap_or("").trim_end();
    let start = declarator.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
    (&declarator[start..], false)
}

/// The items of a text, each with the white space and comments before it: a directive line, a declaration up to its
/// semicolon, a definition up to its closing brace.
struct Items<'a> {
    rest: &'a str,
}

impl<'a> Items<'a> {
    fn of(rest: &'a str) -> Self {
        Self { rest }
    }

    /// Length of the first item.
    fn length(&self) -> usize {
        let bytes = self.rest.as_bytes();
        let body = strip(self.rest);
        let start = self.rest.len() - body.len();
        if is_header(body) || body.starts_with(".file") || body.starts_with(".loc") {
            return body.find('\n').map_or(bytes.len(), |end| start + end + 1);
        }
        let mut depth = 0u32;
        let mut is_variable = false;
        let mut at = start;
        while at < bytes.len() {
            let here = &bytes[at..];
            if here.starts_with(b"//") {
                at += here.iter().position(|&byte| byte == b'\n').unwrap_or(here.len());
                continue;
            }
            if here.starts_with(b"/*") {
                at += here.windows(2).position(|pair| pair == b"*/").map_or(here.len(), |end| end + 2);
                continue;
            }
            match here[0] {
                b'"' => at += here[1..].iter().position(|&byte| byte == b'"').map_or(here.len() - 1, |end| end + 1),
                b'{' => depth += 1,
                b'=' if depth == 0 => is_variable = true,
                b'}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && !is_variable {
                        return at + 1;
                    }
                }
                b';' if depth == 0 => return at + 1,
                _ => {}
            }
            at += 1;
        }
        bytes.len()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (item, rest) = self.rest.split_at(self.length());
        self.rest = rest;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_a_text() {
        let text = ".version 8.5 // of the ISA\n.target sm_90a, debug\n.address_size 64\n";
        assert_eq!((version(text), target(text)), ((8, 5), 90));
        assert_eq!((version(""), target(".target\n")), ((0, 0), 0));
    }

    #[test]
    fn the_items_of_a_text_are_the_text() {
        let text = "// head {\n.version 8.0\n.target sm_80\n.file 1 \"a;b}.cu\"\n.global .b8 x[2] = {1, 2};\n\
                    .extern .func (.param .b32 r) f\n(\n.param .b32 p\n)\n;\n.func g() { { /* } */ ret; } }\n.section .d { .b8 1 }\n";
        let items: Vec<_> = Items::of(text).collect();
        assert_eq!(items.concat(), text);
        let heads: Vec<_> = items.iter().map(|item| strip(item).split_whitespace().next().unwrap_or("")).collect();
        assert_eq!(heads, [".version", ".target", ".file", ".global", ".extern", ".func", ".section", ""]);
    }

    #[test]
    fn what_an_item_says_to_others() {
        let of = |linkage, name, defines| Some(Visible { linkage, name, defines });
        for (item, expected) in [
            (".weak .func (.param .b32 r) _Z1fv\n(\n)\n{ ret; }", of(".weak", "_Z1fv", true)),
            ("// c\n.visible .entry k(.param .u64 p) { ret; }", of(".visible", "k", true)),
            (".weak .global .align 4 .b8 table$1[8] = {1};", of(".weak", "table$1", true)),
            (".common .global .u32 n;", of(".common", "n", true)),
            (".extern .global .u32 n;", of(".extern", "n", false)),
            (".extern .shared .align 16 .b8 s[];", of(".extern", "s", false)),
            (".weak .func f\n(\n)\n;", of(".weak", "f", false)),
            (".func f() { ret; }", None),
            (".global .u32 n;", None),
        ] {
            assert_eq!(visible(item), expected, "{item}");
        }
    }

    #[test]
    fn parts_become_one_text() {
        let header = ".version 7.0\n.target sm_75\n.address_size 64\n";
        let a = format!(
            "{header}.extern .func f();\n.weak .func t();\n.weak .func t() {{ ret; }}\n.extern .global .u32 n;\n\
             .visible .func g() {{ ret; }}\n.common .global .u32 c;\n"
        );
        let b = format!(
            "{}.extern .func g();\n.weak .func t();\n.visible .func f() {{ ret; }}\n.weak .func t() {{ ret; }}\n\
             .visible .global .u32 n = 41;\n.common .global .u32 c;\n",
            header.replace("7.0", "9.0")
        );
        for texts in [[a.clone(), b.clone()], [b, a]] {
            let joined = join(&texts);
            assert!(joined.starts_with(".version 9.0\n.target sm_75\n.address_size 64\n"));
            let count = |part| joined.matches(part).count();
            assert_eq!((count(".version"), count(".weak .func t() {"), count(".visible")), (1, 1, 3), "{joined}");
            let module = crate::lift_text(&joined, crate::Options::default()).into_result().unwrap();
            let bodies = module.functions.iter().filter(|function| function.body.is_some());
            assert_eq!((module.globals.len(), bodies.count()), (2, 3));
        }
    }

    #[test]
    fn names_that_two_texts_keep_to_themselves_differ() {
        let part = |name: &str, text: &str| {
            format!(
                ".version 7.0\n.target sm_75\n.address_size 64\n.global .align 1 .b8 $str[2] = {{{text}, 0}};\n\
                 .func (.param .b32 r) own(.param .b32 p)\n{{ // own\n ret; }}\n\
                 .visible .func {name}() {{ .reg .b64 %r; mov.u64 %r, $str; ret; }}\n"
            )
        };
        let joined = join(&[part("a", "65"), part("b", "66"), part("c", "67")]);
        let module = crate::lift_text(&joined, crate::Options::default()).into_result().unwrap();
        let names: Vec<_> = module.globals.iter().map(|global| (global.name.as_str(), global.init[0])).collect();
        assert_eq!(names, [("$str", 65), ("$str$2", 66), ("$str$3", 67)]);
        assert_eq!((module.functions.len(), joined.matches("// own\n").count()), (6, 3));
    }

    #[test]
    fn texts_without_an_end_are_taken_as_they_are() {
        for text in ["", "/*", "\"", ".func {", "}", ".weak", ".weak .func (", "//", ".file"] {
            assert_eq!(Items::of(text).collect::<Vec<_>>().concat(), text);
            join(&[text.to_owned(), text.to_owned()]);
        }
    }
}
