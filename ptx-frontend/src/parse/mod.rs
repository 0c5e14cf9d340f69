//! PTX text to [`crate::ast`].
//!
//! The parser knows directives and the syntax of operands, not which instructions exist. It reads once, from left to
//! right, and resolves names on the way: registers and variables where they are used, labels where their scope ends,
//! module-level names where the function ends (PTX wants them declared before).
//!
//! Errors are collected. After one, reading goes on behind the next `;`, so that a text with several mistakes shows them
//! all; a function with errors becomes [`Code::Broken`], and the rest of the module stays usable. All recursion is
//! bounded, and memory is in proportion to the text.

mod body;
mod decl;
mod expr;
mod module;
mod operand;
mod scope;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use target::architecture;

use crate::ast::{Code, Module, Names, Symbol};
use crate::lex::Cursor;
use hetir::diag::{Diagnostic, Span};
use std::fmt::Display;

/// What a text holds, and what is wrong with it.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// The module, as far as it could be read.
    pub module: Module<'a>,
    /// Errors outside functions; those of a function are in its [`Code::Broken`].
    pub diagnostics: Vec<Diagnostic>,
}

impl<'a> Parsed<'a> {
    /// The module if it has no errors, else all of them, in text order. Those of a function say in which.
    pub fn strict(self) -> Result<Module<'a>, Vec<Diagnostic>> {
        let is_broken = |code: &Code| matches!(code, Code::Broken(_));
        if self.diagnostics.is_empty() && !self.module.functions.iter().any(|f| is_broken(&f.code)) {
            return Ok(self.module);
        }
        let mut all = self.diagnostics;
        for function in self.module.functions {
            let Code::Broken(errors) = function.code else { continue };
            let kind = if function.is_kernel { "kernel" } else { "function" };
            let name = self.module.names.get(function.name);
            all.extend(errors.into_iter().map(|e| e.note(format!("in the {kind} `{name}`"))));
        }
        all.sort_by_key(|d| d.span().map_or(0, |s| s.start));
        Err(all)
    }
}

/// Parses a module.
pub fn parse(text: &str) -> Parsed<'_> {
    let mut parser = Parser::new(text);
    if text.len() > MAX_TEXT {
        parser.report(Diagnostic::error(
            "ptx::limit",
            format!("the text has {} bytes, more than the {MAX_TEXT} that are supported", text.len()),
        ));
    } else {
        parser.module();
    }
    Parsed { module: parser.module, diagnostics: parser.errors }
}

/// Longest text: spans and packed indices need it.
const MAX_TEXT: usize = 1 << 30;
/// Nested scopes of a function.
const MAX_SCOPES: usize = 256;
/// Errors that are kept for one function, and for all outside functions.
const MAX_ERRORS: usize = 20;
/// Errors that are kept for a module.
const MAX_ALL_ERRORS: usize = 200;

/// A result whose error is to be reported by whoever knows where to go on.
type Parse<T> = Result<T, Box<Diagnostic>>;

struct Parser<'a> {
    cur: Cursor<'a>,
    module: Module<'a>,
    /// Errors outside functions.
    errors: Vec<Diagnostic>,
    /// Errors kept so far, everywhere.
    kept: usize,
    scopes: scope::Scopes,
    /// The function that is being read.
    func: body::State,
    /// `.version` or `.target` is missing or wrong, which has been told.
    bad_header: bool,
    /// An open comment has been told.
    told_comment: bool,
    /// Names that `name<count>` outside `.reg` may still stand for.
    name_budget: u32,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            cur: Cursor::new(text),
            module: Module {
                text,
                names: Names::new(text),
                version: None,
                targets: Vec::new(),
                address_size: 32,
                variables: Vec::new(),
                functions: Vec::new(),
                aliases: Vec::new(),
                files: Vec::new(),
                sections: Vec::new(),
                pragmas: Vec::new(),
                items: Vec::new(),
            },
            errors: Vec::new(),
            kept: 0,
            scopes: scope::Scopes::default(),
            func: body::State::default(),
            bad_header: false,
            told_comment: false,
            name_budget: 1 << 16,
        }
    }

    fn slice(&self, (start, end): (usize, usize)) -> &'a str {
        &self.cur.text[start..end]
    }

    fn name(&self, symbol: Symbol) -> &str {
        self.module.names.get(symbol)
    }

    fn intern(&mut self, (start, end): (usize, usize)) -> Symbol {
        self.module.names.intern_source(start, end)
    }

    /// From `start` to here, without the white space before here.
    fn span_from(&self, start: usize) -> Span {
        let text = self.cur.text.as_bytes();
        let mut end = self.cur.pos;
        while end > start && text[end - 1].is_ascii_whitespace() {
            end -= 1;
        }
        Span::new(start as u32, end as u32)
    }

    /// An error outside functions.
    fn report(&mut self, error: Diagnostic) {
        if self.errors.len() < MAX_ERRORS && self.kept < MAX_ALL_ERRORS {
            self.kept += 1;
            self.errors.push(error);
        } else if self.errors.len() == MAX_ERRORS {
            self.errors.push(Diagnostic::error("ptx::limit", "further errors outside functions are not shown"));
        }
    }

    /// "expected ..., found ..."
    #[cold]
    fn expected<T>(&mut self, what: impl Display) -> Parse<T> {
        let (found, span) = self.cur.found();
        let error = match self.open_comment() {
            Some(error) => error,
            None => Diagnostic::error("ptx::syntax", format!("expected {what}, found {found}")).at(span, ""),
        };
        Err(Box::new(error))
    }

    /// The error for a comment that nothing ends, if there is one: it hides the rest of the text.
    fn open_comment(&mut self) -> Option<Diagnostic> {
        let start = self.cur.open_comment? as u32;
        self.told_comment = true;
        let span = Span::new(start, start + 2);
        Some(Diagnostic::error("ptx::unterminated", "this comment has no closing `*/`").at(span, ""))
    }

    /// Takes a byte that must come next.
    fn expect(&mut self, byte: u8, place: impl Display) -> Parse<()> {
        match self.cur.eat(byte) {
            true => Ok(()),
            false => self.expected(format_args!("`{}` {place}", char::from(byte))),
        }
    }

    /// Takes a name that must come next.
    fn expect_name(&mut self, what: impl Display) -> Parse<(Symbol, Span)> {
        self.cur.skip();
        let (start, end) = self.cur.word();
        if start == end {
            return self.expected(what);
        }
        Ok((self.intern((start, end)), Span::new(start as u32, end as u32)))
    }

    /// Takes a string that must come next; the range between its quotes.
    fn expect_string(&mut self, what: impl Display) -> Parse<(usize, usize)> {
        if self.cur.peek() != b'"' {
            return self.expected(what);
        }
        let start = self.cur.pos;
        self.cur.string().ok_or_else(|| {
            Box::new(
                Diagnostic::error("ptx::unterminated", "this string has no closing `\"` on its line")
                    .at(Span::new(start as u32, start as u32 + 1), ""),
            )
        })
    }

    /// Goes on after an error in a statement: behind the next `;`, or before a `{` or `}` that is not part of the statement.
    /// `open` is the number of braces that the statement itself has opened.
    fn recover(&mut self, mut open: u32) {
        loop {
            match self.cur.peek() {
                b';' => {
                    self.cur.pos += 1;
                    return;
                }
                b'{' | b'}' if open == 0 => return,
                b'{' => open += 1,
                b'}' => open -= 1,
                b'"' if self.cur.string().is_some() => continue,
                b'.' if self.at_module_word() => return,
                0 if self.cur.is_end() => return,
                _ => {}
            }
            self.cur.pos += 1;
            self.skip_word();
        }
    }

    /// Skips what belongs to the name or number in which the position stands.
    fn skip_word(&mut self) {
        self.cur.pos = self.cur.word_end(self.cur.pos);
    }

    /// Skips to behind the `}` that closes `depth` open braces, or to a word that only stands outside functions.
    fn skip_braces(&mut self, mut depth: usize) {
        while depth > 0 {
            match self.cur.peek() {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b'"' if self.cur.string().is_some() => continue,
                b'.' if self.at_module_word() => return,
                0 if self.cur.is_end() => return,
                _ => {}
            }
            self.cur.pos += 1;
            self.skip_word();
        }
    }

    /// True before a directive that can only stand outside functions.
    fn at_module_word(&mut self) -> bool {
        let start = self.cur.pos;
        let word = self.cur.dotted().map(|range| self.slice(range));
        self.cur.pos = start;
        word.is_some_and(|w| {
            matches!(w, "visible" | "extern" | "weak" | "common" | "entry" | "func" | "version" | "alias" | "section")
        })
    }
}
