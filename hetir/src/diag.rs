//! Diagnostics: what happened, where, and what can be done. One type for every stage, one renderer for every reader.

use std::fmt::{self, Write};

/// A byte range of a source text. The text itself is not kept here; the renderer is given it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range from `start` to `end`.
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }
    /// True where nothing is known of the origin.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }
    /// The smallest range that holds both.
    pub fn join(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Note,
    /// Something was accepted that is probably not meant.
    Warning,
    /// The input is refused.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One place in the source and what is said of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is said of it; may be empty.
    pub text: String,
}

/// One message. The first label is the main place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable short name, such as `ptx::unknown-instruction`.
    pub code: &'static str,
    /// One sentence without a full stop.
    pub message: String,
    /// Places, the main one first.
    pub labels: Vec<Label>,
    /// What can be done, and other remarks.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// An error with a stable code.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), labels: Vec::new(), notes: Vec::new() }
    }
    /// A warning with a stable code.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }
    /// Adds a place; the first one added is the main one.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }
    /// Adds a remark.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }
    /// The main place, if there is one.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|l| l.span)
    }
}

/// Line and column (both from 1, columns in bytes) of a byte offset.
pub fn line_column(source: &str, offset: u32) -> (usize, usize) {
    let offset = (offset as usize).min(source.len());
    let before = &source.as_bytes()[..offset];
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |p| p + 1);
    (line, offset - start + 1)
}

/// Longest part of a source line that is quoted.
const QUOTED: usize = 200;

/// Renders diagnostics as text without colour: `file:line:column: error: message [code]`, then the line itself
/// with the place underlined, then the notes.
pub fn render(diagnostics: &[Diagnostic], file: &str, source: &str) -> String {
    let mut out = String::new();
    for d in diagnostics {
        render_one(&mut out, d, file, source);
    }
    out
}

fn render_one(out: &mut String, d: &Diagnostic, file: &str, source: &str) {
    let write = |out: &mut String, args: fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = out.write_fmt(args);
    };
    match d.span() {
        Some(span) => {
            let (line, column) = line_column(source, span.start);
            write(out, format_args!("{file}:{line}:{column}: {}: {} [{}]\n", d.severity, d.message, d.code));
        }
        None => write(out, format_args!("{file}: {}: {} [{}]\n", d.severity, d.message, d.code)),
    }
    for label in &d.labels {
        let (line, column) = line_column(source, label.span.start);
        let Some(text) = source.lines().nth(line - 1) else { continue };
        if text.len() > QUOTED || !text.is_char_boundary(column - 1) {
            continue;
        }
        let width = (label.span.end.saturating_sub(label.span.start) as usize)
            .clamp(1, (text.len() + 1 - column.min(text.len())).max(1));
        let pad: String = text[..column - 1].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write(out, format_args!("{line:>5} | {text}\n      | {pad}{} {}\n", "^".repeat(width), label.text));
    }
    for note in &d.notes {
        write(out, format_args!("      = {note}\n"));
    }
}
