//! The parser: one line of items at a time. After an error it goes on at the next line, or behind the item's body.

use super::lex::{Lexer, Token, unescape};
use crate::attr::Space;
use crate::diag::{Diagnostic, Span};
use crate::entity::{FuncId, GlobalId};
use crate::ir::{
    Function, FunctionKind, Global, KernelParam, LaunchBounds, Linkage, Module, Opaque, Relocation, RelocationTarget,
    Signature, SlotData,
};
use crate::types::Type;
use std::collections::HashMap;

/// Longest text that is read, in bytes.
pub const MAX_SOURCE: usize = 1 << 30;
/// Errors after which the parser stops.
pub const MAX_ERRORS: usize = 64;

/// An error has been recorded; the caller goes on behind it.
pub(super) struct Failed;
pub(super) type Parsed<T> = Result<T, Failed>;

/// A reference to a global or function that may be defined further down.
#[derive(Clone, Debug)]
pub(super) enum Reference {
    /// By name.
    Name(String),
    /// By handle: `global3` or `func3`.
    Handle(Kind, u64),
}

/// Which list a handle counts in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Global,
    Func,
}

/// An immediate that awaits the end of the text.
#[derive(Debug)]
pub(super) struct PendingImm {
    pub(super) inst: usize,
    pub(super) reference: Reference,
    pub(super) wanted: Kind,
    pub(super) span: Span,
}

#[derive(Debug)]
struct PendingRelocation {
    global: usize,
    index: usize,
    reference: Reference,
    span: Span,
}

pub(super) struct Parser<'a> {
    lexer: Lexer<'a>,
    pub(super) token: Token<'a>,
    pub(super) span: Span,
    /// Where the token before this one ends.
    pub(super) previous_end: u32,
    module: Module,
    errors: Vec<Diagnostic>,
    pending_imms: Vec<(usize, Vec<PendingImm>)>,
    pending_relocations: Vec<PendingRelocation>,
}

/// Reads a module. All errors are collected, up to [`MAX_ERRORS`]. What is read is not verified.
///
/// # Errors
/// What is wrong with the text, each with its place.
pub fn parse(source: &str) -> Result<Module, Vec<Diagnostic>> {
    if source.len() > MAX_SOURCE {
        return Err(vec![Diagnostic::error("text::size", format!("the text is longer than {MAX_SOURCE} bytes"))]);
    }
    let mut parser = Parser::new(source);
    parser.run();
    if parser.errors.is_empty() { Ok(parser.module) } else { Err(parser.errors) }
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Self {
        let mut lexer = Lexer::new(source);
        let (token, span) = lexer.next();
        Self {
            lexer,
            token,
            span,
            previous_end: 0,
            module: Module::default(),
            errors: Vec::new(),
            pending_imms: Vec::new(),
            pending_relocations: Vec::new(),
        }
    }

    fn run(&mut self) {
        loop {
            self.skip_newlines();
            if self.token == Token::End || self.full() {
                break;
            }
            if self.item().is_err() {
                self.skip_item();
            }
        }
        self.resolve();
    }

    /// True where no more errors are wanted.
    pub(super) fn full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    pub(super) fn advance(&mut self) {
        self.previous_end = self.span.end;
        (self.token, self.span) = self.lexer.next();
    }

    /// How many errors there are.
    pub(super) fn error_count(&self) -> usize {
        self.errors.len()
    }

    pub(super) fn report(&mut self, span: Span, message: impl Into<String>) {
        if !self.full() {
            self.errors.push(Diagnostic::error("text::syntax", message).at(span, ""));
        }
    }

    pub(super) fn fail<T>(&mut self, span: Span, message: impl Into<String>) -> Parsed<T> {
        self.report(span, message);
        Err(Failed)
    }

    /// Fails at the current token.
    pub(super) fn expected<T>(&mut self, what: &str) -> Parsed<T> {
        let message = match self.token {
            Token::Bad(bad) => bad.to_string(),
            token => format!("expected {what}, found {}", token.describe()),
        };
        self.fail(self.span, message)
    }

    pub(super) fn skip_newlines(&mut self) {
        while self.token == Token::Newline {
            self.advance();
        }
    }

    /// Goes to the end of this line; true where the line ended in an opening brace.
    pub(super) fn skip_line(&mut self) -> bool {
        let mut open = false;
        while !matches!(self.token, Token::Newline | Token::End) {
            open = self.token == Token::Sign('{');
            self.advance();
        }
        open
    }

    fn skip_item(&mut self) {
        if self.skip_line() {
            loop {
                self.skip_newlines();
                let done = matches!(self.token, Token::Sign('}') | Token::End);
                self.skip_line();
                if done {
                    break;
                }
            }
        }
    }

    pub(super) fn eat(&mut self, sign: char) -> bool {
        let found = self.token == Token::Sign(sign);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn sign(&mut self, sign: char) -> Parsed<()> {
        if self.eat(sign) { Ok(()) } else { self.expected(&format!("`{sign}`")) }
    }

    /// Takes the current word where it is this one.
    fn keyword(&mut self, word: &str) -> bool {
        let found = self.token == Token::Word(word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn word(&mut self, what: &str) -> Parsed<&'a str> {
        let Token::Word(word) = self.token else { return self.expected(what) };
        self.advance();
        Ok(word)
    }

    pub(super) fn line_end(&mut self) -> Parsed<()> {
        match self.token {
            Token::Newline | Token::End => Ok(()),
            _ => self.expected("the end of the line"),
        }
    }

    pub(super) fn number(&mut self, what: &str) -> Parsed<u64> {
        let Token::Number(n) = self.token else { return self.expected(what) };
        self.advance();
        Ok(n)
    }

    fn small<T: TryFrom<u64>>(&mut self, what: &str) -> Parsed<T> {
        let span = self.span;
        let n = self.number(what)?;
        T::try_from(n).or_else(|_| self.fail(span, format!("{n} is too large for {what}")))
    }

    pub(super) fn string(&mut self) -> Parsed<String> {
        let Token::Quoted(text) = self.token else { return self.expected("a string") };
        match unescape(text) {
            Some(text) => {
                self.advance();
                Ok(text)
            }
            None => self.fail(self.span, "a string with an escape that means nothing"),
        }
    }

    fn name(&mut self) -> Parsed<String> {
        match self.token {
            Token::Quoted(_) => self.string(),
            _ => self.word("a name").map(str::to_owned),
        }
    }

    fn at_name(&mut self) -> Parsed<String> {
        self.sign('@')?;
        self.name()
    }

    /// `@name`, `global3` or `func3`.
    pub(super) fn reference(&mut self) -> Parsed<Reference> {
        if let Token::Word(word) = self.token {
            for (prefix, kind) in [("global", Kind::Global), ("func", Kind::Func)] {
                if let Some(n) = handle(word, prefix) {
                    self.advance();
                    return Ok(Reference::Handle(kind, n));
                }
            }
        }
        if self.token != Token::Sign('@') {
            return self.expected("`@name`");
        }
        self.at_name().map(Reference::Name)
    }

    /// ` + 16` or ` - 4` or nothing.
    pub(super) fn addend(&mut self) -> Parsed<i64> {
        let negative = match self.token {
            Token::Sign('+') => false,
            Token::Sign('-') => true,
            _ => return Ok(0),
        };
        self.advance();
        let span = self.span;
        let n = self.number("a number of bytes")?;
        match if negative { 0i64.checked_sub_unsigned(n) } else { i64::try_from(n).ok() } {
            Some(n) => Ok(n),
            None => self.fail(span, "an offset of more than 64 bits"),
        }
    }

    /// Items between brackets, with commas between them; line ends are allowed.
    pub(super) fn list<T>(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.sign(open)?;
        self.skip_newlines();
        let mut items = Vec::new();
        while !self.eat(close) {
            items.push(item(self)?);
            self.skip_newlines();
            if !self.eat(',') {
                self.sign(close)?;
                break;
            }
            self.skip_newlines();
        }
        Ok(items)
    }

    pub(super) fn ty(&mut self) -> Parsed<Type> {
        let span = self.span;
        let word = self.word("a type")?;
        Type::from_name(word).map_or_else(|| self.fail(span, format!("there is no type `{word}`")), Ok)
    }

    fn item(&mut self) -> Parsed<()> {
        let start = self.span;
        let mut linkage = Linkage::Local;
        let mut managed = false;
        let mut opaque = None;
        loop {
            let Token::Word(word) = self.token else { return self.expected("a signature, variable or function") };
            let at = self.span;
            if let Some(n) = handle(word, "sig") {
                self.advance();
                return self.signature_item(at, n);
            }
            self.advance();
            if let Some(l) = find(&Linkage::NAMES, word) {
                linkage = l;
            } else if let Some(o) = find(&Opaque::NAMES, word) {
                opaque = Some(o);
            } else if word == "managed" {
                managed = true;
            } else if word == "kernel" || word == "func" {
                if managed || opaque.is_some() {
                    return self.fail(start, "only a variable is managed or an opaque reference");
                }
                return self.function_item(start, linkage, word == "kernel");
            } else if let Some(space) = Space::ALL.iter().copied().find(|s| s.name() == word) {
                return self.global_item(start, linkage, managed, opaque, space);
            } else {
                return self.fail(at, format!("expected a signature, variable or function, found `{word}`"));
            }
        }
    }

    fn signature(&mut self) -> Parsed<Signature> {
        let params = self.list('(', ')', Self::ty)?;
        let results = if self.token == Token::Arrow {
            self.advance();
            self.list('(', ')', Self::ty)?
        } else {
            Vec::new()
        };
        Ok(Signature { params, results })
    }

    fn signature_item(&mut self, at: Span, n: u64) -> Parsed<()> {
        let next = self.module.signatures.len();
        if n != next as u64 {
            return self.fail(at, format!("signatures are numbered in order: expected sig{next}"));
        }
        self.sign(':')?;
        let signature = self.signature()?;
        self.line_end()?;
        self.module.signatures.push(signature);
        Ok(())
    }

    fn align(&mut self) -> Parsed<u32> {
        if self.keyword("align") { self.small("an alignment") } else { self.expected("`align`") }
    }

    fn global_item(
        &mut self,
        start: Span,
        linkage: Linkage,
        managed: bool,
        opaque: Option<Opaque>,
        space: Space,
    ) -> Parsed<()> {
        let name = self.at_name()?;
        self.sign(':')?;
        let size = self.number("a size")?;
        let align = self.align()?;
        let span = Span::new(start.start, self.previous_end);
        let mut global = Global {
            name,
            space,
            size,
            align,
            linkage,
            managed,
            init: Vec::new(),
            relocations: Vec::new(),
            opaque,
            fields: Vec::new(),
            span,
        };
        if self.eat('{') {
            self.line_end()?;
            loop {
                self.skip_newlines();
                if self.eat('}') {
                    break;
                }
                if self.token == Token::End || self.full() {
                    return self.expected("`}`");
                }
                if self.initial(&mut global).is_err() {
                    self.skip_line();
                }
            }
        }
        self.line_end()?;
        self.module.globals.push(global);
        Ok(())
    }

    /// One line of an initial value.
    fn initial(&mut self, global: &mut Global) -> Parsed<()> {
        if self.keyword("bytes") {
            let span = self.span;
            let Token::Quoted(digits) = self.token else { return self.expected("bytes in hexadecimal") };
            self.advance();
            let pairs = digits.as_bytes().chunks(2);
            let bytes = pairs.map(|pair| match pair {
                &[hi, lo] => Some((char::from(hi).to_digit(16)? * 16 + char::from(lo).to_digit(16)?) as u8),
                _ => None,
            });
            match bytes.collect::<Option<Vec<u8>>>() {
                Some(bytes) => global.init.extend(bytes),
                None => return self.fail(span, "expected two hexadecimal digits a byte"),
            }
        } else if self.keyword("reloc") {
            let offset = self.number("an offset")?;
            self.sign(':')?;
            let span = self.span;
            let reference = self.reference()?;
            let addend = self.addend()?;
            if !self.keyword("size") {
                return self.expected("`size`");
            }
            let size = self.small("a size")?;
            let shift = if self.keyword("shift") { self.small("a shift")? } else { 0 };
            let generic = self.keyword("generic");
            let target = RelocationTarget::Global(GlobalId::new(0));
            let (global_index, index) = (self.module.globals.len(), global.relocations.len());
            global.relocations.push(Relocation { offset, target, addend, size, shift, generic });
            self.pending_relocations.push(PendingRelocation { global: global_index, index, reference, span });
        } else if self.keyword("field") {
            let name = self.name()?;
            global.fields.push((name, self.string()?));
        } else {
            return self.expected("`bytes`, `reloc`, `field` or `}`");
        }
        self.line_end()
    }

    fn kernel_param(&mut self) -> Parsed<KernelParam> {
        let name = self.name()?;
        self.sign(':')?;
        let size = self.small("a size")?;
        let align = self.align()?;
        if !self.keyword("at") {
            return self.expected("`at`");
        }
        let offset = self.small("an offset")?;
        let mut opaque = None;
        if let Token::Word(word) = self.token {
            opaque = find(&Opaque::NAMES, word);
            if opaque.is_some() {
                self.advance();
            }
        }
        Ok(KernelParam { name, offset, size, align, opaque })
    }

    fn triple(&mut self) -> Parsed<[u32; 3]> {
        let span = self.span;
        let list = self.list('(', ')', |p| p.small("a dimension"))?;
        list.try_into().or_else(|_| self.fail(span, "expected three dimensions"))
    }

    fn bounds(&mut self) -> Parsed<LaunchBounds> {
        let mut bounds = LaunchBounds::default();
        while let Token::Word(word) = self.token {
            if word == "unavailable" {
                break;
            }
            let at = self.span;
            self.advance();
            match word {
                "max_threads" => bounds.max_threads = self.triple()?,
                "required_threads" => bounds.required_threads = self.triple()?,
                "min_blocks" => bounds.min_blocks = self.small("a number of blocks")?,
                "max_registers" => bounds.max_registers = self.small("a number of registers")?,
                "required_cluster" => bounds.required_cluster = self.triple()?,
                "max_cluster" => bounds.max_cluster = self.small("a number of blocks")?,
                "explicit_cluster" => bounds.explicit_cluster = true,
                _ => return self.fail(at, format!("there is no launch bound `{word}`")),
            }
        }
        Ok(bounds)
    }

    fn function_item(&mut self, start: Span, linkage: Linkage, kernel: bool) -> Parsed<()> {
        let name = self.at_name()?;
        let mut function = Function::new(name, FunctionKind::Device);
        function.linkage = linkage;
        if kernel {
            let params = self.list('(', ')', Self::kernel_param)?;
            function.kind = FunctionKind::Kernel { params, bounds: self.bounds()? };
        } else {
            function.signature = self.signature()?;
        }
        while self.keyword("unavailable") {
            let reason = self.string()?;
            function.unavailable.push(Diagnostic::error("text::unavailable", reason));
        }
        function.span = Span::new(start.start, self.previous_end);
        if self.eat('{') {
            self.line_end()?;
            let pending = self.body(&mut function)?;
            self.line_end()?;
            self.pending_imms.push((self.module.functions.len(), pending));
        } else {
            self.line_end()?;
        }
        self.module.functions.push(function);
        Ok(())
    }

    pub(super) fn slot(&mut self, function: &mut Function, n: u64) -> Parsed<()> {
        let at = self.span;
        self.advance();
        let next = function.slots.len();
        if n != next as u64 {
            return self.fail(at, format!("slots are numbered in order: expected slot{next}"));
        }
        self.sign(':')?;
        let size = self.small("a size")?;
        let align = self.align()?;
        function.slots.push(SlotData { size, align });
        self.line_end()
    }

    /// Puts handles in the places of names.
    fn resolve(&mut self) {
        let mut names: HashMap<&str, RelocationTarget> = HashMap::new();
        for (i, f) in self.module.functions.iter().enumerate() {
            names.entry(&f.name).or_insert(RelocationTarget::Func(FuncId::new(i)));
        }
        for (i, g) in self.module.globals.iter().enumerate() {
            names.entry(&g.name).or_insert(RelocationTarget::Global(GlobalId::new(i)));
        }
        // An item with errors is left out, so that what refers to it would only repeat them.
        if !self.errors.is_empty() {
            return;
        }
        let mut errors = Vec::new();
        let mut relocations = Vec::new();
        for p in &self.pending_relocations {
            match look_up(&names, &p.reference, None) {
                Ok(target) => relocations.push((p.global, p.index, target)),
                Err(message) => errors.push((p.span, message)),
            }
        }
        let mut imms = Vec::new();
        for (function, pending) in &self.pending_imms {
            for p in pending {
                match look_up(&names, &p.reference, Some(p.wanted)) {
                    Ok(RelocationTarget::Global(id)) => imms.push((*function, p.inst, id.index())),
                    Ok(RelocationTarget::Func(id)) => imms.push((*function, p.inst, id.index())),
                    Err(message) => errors.push((p.span, message)),
                }
            }
        }
        for (span, message) in errors {
            self.report(span, message);
        }
        for (global, index, target) in relocations {
            self.module.globals[global].relocations[index].target = target;
        }
        for (function, inst, index) in imms {
            if let Some(body) = &mut self.module.functions[function].body {
                body.insts[inst].imm = index as u64;
            }
        }
    }
}

fn look_up(
    names: &HashMap<&str, RelocationTarget>,
    reference: &Reference,
    wanted: Option<Kind>,
) -> Result<RelocationTarget, String> {
    let what = match wanted {
        None => "variable or function",
        Some(Kind::Global) => "variable",
        Some(Kind::Func) => "function",
    };
    let found = match reference {
        Reference::Name(name) => {
            names.get(name.as_str()).copied().ok_or_else(|| format!("there is no {what} @{name}"))?
        }
        Reference::Handle(Kind::Global, n) => RelocationTarget::Global(GlobalId::new(*n as usize)),
        Reference::Handle(Kind::Func, n) => RelocationTarget::Func(FuncId::new(*n as usize)),
    };
    match (wanted, found) {
        (Some(Kind::Global), RelocationTarget::Func(_)) | (Some(Kind::Func), RelocationTarget::Global(_)) => {
            Err(format!("expected a {what}"))
        }
        _ => Ok(found),
    }
}

fn find<T: Copy>(names: &[(T, &str)], word: &str) -> Option<T> {
    names.iter().find(|(_, n)| *n == word).map(|(t, _)| *t)
}

/// The number of a handle such as `v3`, if it fits one.
pub(super) fn handle(word: &str, prefix: &str) -> Option<u64> {
    let digits = word.strip_prefix(prefix)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse::<u32>().ok().map(u64::from) } else { None }
}
