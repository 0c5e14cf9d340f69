//! Directives outside functions, and the heads of functions.

use super::decl::ParamsOf;
use super::target::{is_target, is_version, too_old};
use super::{Parse, Parser};
use crate::ast::{
    Alias, Code, Directive, DirectiveKind, File, Function, Item, Linkage, Name, Space, Symbol, Text, Version,
};
use hetir::diag::{Diagnostic, Span};

impl<'a> Parser<'a> {
    /// The whole module.
    pub(super) fn module(&mut self) {
        if let Err(error) = self.header() {
            self.bad_header = true;
            self.report(*error);
            self.resume();
        }
        while !self.cur.is_end() {
            let start = self.cur.pos;
            self.func.open_braces = 0;
            if let Err(error) = self.top_level() {
                self.report(*error);
                if self.cur.pos == start {
                    self.cur.pos += 1;
                    self.skip_word();
                }
                self.resume();
            }
        }
        if !self.told_comment
            && let Some(error) = self.open_comment()
        {
            self.report(error);
        }
    }

    /// Goes on after an error outside functions: before the next directive that can only stand there.
    fn resume(&mut self) {
        loop {
            match self.cur.peek() {
                b'.' => {
                    let start = self.cur.pos;
                    let word = self.cur.dotted().map_or("", |range| self.slice(range));
                    if is_module_word(word) {
                        self.cur.pos = start;
                        return;
                    }
                    if self.cur.pos > start {
                        continue;
                    }
                }
                b'"' if self.cur.string().is_some() => continue,
                0 if self.cur.is_end() => return,
                _ => {}
            }
            self.cur.pos += 1;
            self.skip_word();
            // What is glued to a name with a dot belongs to it: `st.global`.
            while self.cur.byte() == b'.' && self.cur.word_end(self.cur.pos + 1) > self.cur.pos + 1 {
                self.cur.pos += 1;
                self.skip_word();
            }
        }
    }

    /// `.version` and `.target`, which every module begins with.
    fn header(&mut self) -> Parse<()> {
        self.cur.skip();
        let start = self.cur.pos;
        if !self.cur.eat_dotted("version") {
            return self.expected("`.version` at the beginning of the module");
        }
        let major = self.digits("the version")?;
        self.expect(b'.', "in the version")?;
        let minor = self.digits("the version")?;
        if !is_version(major, minor) {
            let message = format!("there is no PTX ISA {major}.{minor}");
            return Err(Box::new(Diagnostic::error("ptx::version", message).at(self.span_from(start), "")));
        }
        self.module.version = Some(Version { major, minor, span: self.span_from(start) });
        if !self.cur.eat_dotted("target") {
            return self.expected("`.target` after `.version`");
        }
        loop {
            let (symbol, span) = self.expect_name("a target such as `sm_80`")?;
            if !is_target(self.name(symbol)) {
                let message = format!("`{}` is not a target", self.name(symbol));
                return Err(Box::new(Diagnostic::error("ptx::version", message).at(span, "")));
            }
            if let Some(message) = too_old((major, minor), self.name(symbol)) {
                self.report(Diagnostic::error("ptx::version", message).at(span, ""));
            }
            self.module.targets.push(Name { symbol, span });
            if !self.cur.eat(b',') {
                break;
            }
        }
        if self.cur.eat_dotted("address_size") {
            self.cur.skip();
            let start = self.cur.pos;
            let size = self.natural32("the address size")?;
            if !matches!(size, 32 | 64) {
                let message = format!("the address size is {size}, neither 32 nor 64");
                return Err(Box::new(Diagnostic::error("ptx::literal", message).at(self.span_from(start), "")));
            }
            self.module.address_size = size;
        }
        Ok(())
    }

    fn digits(&mut self, what: &str) -> Parse<u32> {
        self.cur.skip();
        let start = self.cur.pos;
        let end = self.cur.word_end(start);
        match self.slice((start, end)).parse() {
            Ok(n) => {
                self.cur.pos = end;
                Ok(n)
            }
            Err(_) => self.expected(format_args!("{what}, as in `9.0`")),
        }
    }

    fn top_level(&mut self) -> Parse<()> {
        let start = self.cur.pos;
        let mut linkage = Linkage::Internal;
        if self.cur.byte() == b'@' && self.cur.at(start + 1) == b'@' {
            self.skip_line();
            return Ok(());
        }
        loop {
            let at = self.cur.pos;
            let Some(range) = self.cur.dotted() else {
                return self.expected("a directive such as `.entry`, `.func` or `.global`");
            };
            let word = self.slice(range);
            if let Some(kind) = linkage_of(word) {
                if linkage != Linkage::Internal {
                    let message = format!("`.{word}`: this declaration already has a linkage");
                    return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(self.span_from(at), "")));
                }
                linkage = kind;
                self.cur.skip();
                continue;
            }
            let is_variable = matches!(
                word,
                "global" | "const" | "shared" | "local" | "tex" | "reg" | "param" | "align" | "attribute"
            );
            return match word {
                "entry" => self.function(true, linkage),
                "func" => self.function(false, linkage),
                _ if is_variable || crate::ast::Type::from_name(word).is_some() => {
                    self.cur.pos = at;
                    self.module_declaration(linkage)
                }
                _ if linkage != Linkage::Internal => {
                    self.cur.pos = at;
                    self.expected("a function or variable after its linkage")
                }
                "file" => self.file(),
                "section" => self.section(),
                "alias" => self.alias(),
                "pragma" => self.pragma(),
                "version" | "target" | "address_size" if self.bad_header => {
                    self.resume();
                    Ok(())
                }
                "version" | "target" | "address_size" => {
                    let message = format!("`.{word}` stands once, at the beginning of the module");
                    Err(Box::new(Diagnostic::error("ptx::syntax", message).at(self.span_from(start), "")))
                }
                _ => {
                    let message = format!("`.{word}` is not a directive of a module");
                    Err(Box::new(Diagnostic::error("ptx::directive", message).at(self.span_from(start), "")))
                }
            };
        }
    }

    /// Enters a name at module level. A definition replaces declarations.
    pub(super) fn declare_item(&mut self, name: Symbol, span: Span, item: Item, is_definition: bool) -> Parse<()> {
        let index = name.index();
        if self.module.items.len() <= index {
            self.module.items.resize(index + 1, None);
        }
        let Some(old) = self.module.items[index] else {
            self.module.items[index] = Some(item);
            return Ok(());
        };
        let (old_span, old_is_definition) = match old {
            Item::Function(n) => {
                let f = &self.module.functions[n as usize];
                (f.span, f.code != Code::Declared)
            }
            Item::Variable(n) => {
                let v = &self.module.variables[n as usize];
                (v.span, v.linkage != Linkage::Extern)
            }
            Item::Alias(n) => (self.module.aliases[n as usize].name.span, true),
        };
        let is_same_kind = match item {
            Item::Variable(_) => matches!(old, Item::Variable(_)),
            Item::Function(_) => matches!(old, Item::Function(_) | Item::Alias(_)),
            Item::Alias(_) => matches!(old, Item::Function(_)),
        };
        let is_function = matches!(item, Item::Function(_));
        if !is_same_kind || old_is_definition && (is_definition || is_function) {
            let message =
                format!("`{}` is already {}", self.name(name), if is_same_kind { "defined" } else { "declared" });
            let error = Diagnostic::error("ptx::redeclared", message).at(span, "").at(old_span, "first here");
            return Err(Box::new(error));
        }
        if is_definition {
            self.module.items[index] = Some(item);
        }
        Ok(())
    }

    /// A function or kernel whose `.func` or `.entry` has been read.
    fn function(&mut self, is_kernel: bool, linkage: Linkage) -> Parse<()> {
        self.func.clear();
        self.scopes.clear();
        self.open_scope();
        let mut function = Function {
            name: Symbol::EMPTY,
            span: Span::default(),
            is_kernel,
            linkage,
            vars: Vec::new(),
            return_count: 0,
            param_count: 0,
            directives: Vec::new(),
            code: Code::Declared,
        };
        let head = self.head(&mut function);
        if function.name.is_empty() {
            return head;
        }
        let ends_at = head.and_then(|()| match self.cur.peek() {
            end @ (b';' | b'{') => Ok(end),
            _ => self.expected(format_args!("`{{` or `;` after the head of `{}`", self.name(function.name).to_owned())),
        });
        let is_definition = !matches!(ends_at, Ok(b';'));
        if is_definition && matches!(linkage, Linkage::Extern | Linkage::Common) {
            let message = format!("`{}` cannot be .extern or .common: it has a body", self.name(function.name));
            self.report_in_function(Diagnostic::error("ptx::syntax", message).at(function.span, ""));
        }
        let index = self.module.functions.len() as u32;
        let entered = self.declare_item(function.name, function.span, Item::Function(index), is_definition);
        function.code = match ends_at {
            Ok(b'{') => self.body(function.name),
            Ok(_) => {
                self.cur.pos += 1;
                Code::Declared
            }
            Err(error) => {
                self.report_in_function(*error);
                self.skip_function();
                Code::Broken(std::mem::take(&mut self.func.errors))
            }
        };
        function.vars = self.func.vars.as_slice().into();
        self.module.functions.push(function);
        entered
    }

    /// What stands before the body or the `;`.
    fn head(&mut self, function: &mut Function) -> Parse<()> {
        let start = self.cur.pos;
        if !function.is_kernel && self.cur.eat_dotted("attribute") {
            let mut unified = None;
            self.attributes(&mut false, &mut unified)?;
            if let Some((first, second)) = unified {
                function.directives.push(Directive {
                    kind: DirectiveKind::Unified,
                    values: [first, second, 0],
                    text: Symbol::EMPTY,
                    span: self.span_from(start),
                });
            }
        }
        let mut returns = Vec::new();
        if !function.is_kernel && self.cur.eat(b'(') {
            returns = self.parameters(ParamsOf::Function)?;
        }
        let what = if function.is_kernel { "the name of the kernel" } else { "the name of the function" };
        (function.name, function.span) = self.declared_name(what)?;
        if returns.len() > 1 && returns.iter().any(|r| r.space != Space::Reg) {
            let message = format!("`{}`: several values can only be returned in registers", self.name(function.name));
            return Err(Box::new(Diagnostic::error("ptx::syntax", message).at(function.span, "")));
        }
        for variable in returns {
            self.declare_local(variable)?;
            function.return_count += 1;
        }
        if self.cur.eat(b'(') {
            let of = if function.is_kernel { ParamsOf::Kernel } else { ParamsOf::Function };
            for variable in self.parameters(of)? {
                self.declare_local(variable)?;
                function.param_count += 1;
            }
        }
        let directives = self.function_directives(function.is_kernel)?;
        function.directives.extend(directives);
        Ok(())
    }

    /// Goes on after an error in the head of a function: behind its body, if it has one.
    fn skip_function(&mut self) {
        loop {
            match self.cur.peek() {
                b';' => {
                    self.cur.pos += 1;
                    return;
                }
                b'{' => {
                    self.cur.pos += 1;
                    self.skip_braces(1);
                    return;
                }
                b'.' if self.at_module_word() => return,
                b'"' if self.cur.string().is_some() => continue,
                0 if self.cur.is_end() => return,
                _ => {}
            }
            self.cur.pos += 1;
            self.skip_word();
        }
    }

    /// `.maxntid 128, 1, 1 .noreturn`
    pub(super) fn function_directives(&mut self, of_kernel: bool) -> Parse<Vec<Directive>> {
        let mut out = Vec::new();
        while self.cur.peek() == b'.' && !self.at_module_word() {
            let start = self.cur.pos;
            let word = self.cur.dotted().map_or("", |range| self.slice(range));
            let kind = match DirectiveKind::from_name(word) {
                Some(kind) if kind.is_for_kernels() == of_kernel && kind != DirectiveKind::Unified => kind,
                _ => {
                    self.cur.pos = start;
                    let (found, span) = self.cur.found();
                    let owner = if of_kernel { "kernel" } else { "function" };
                    let message = format!("{found} is not a directive of a {owner}");
                    return Err(Box::new(Diagnostic::error("ptx::directive", message).at(span, "")));
                }
            };
            if kind == DirectiveKind::Pragma {
                loop {
                    let range = self.expect_string("a string after `.pragma`")?;
                    let text = self.intern(range);
                    out.push(Directive { kind, values: [0; 3], text, span: self.span_from(start) });
                    if !self.cur.eat(b',') {
                        break;
                    }
                }
                self.expect(b';', "after `.pragma`")?;
                continue;
            }
            let (least, most) = kind.arity();
            let mut values = [if most == 3 { 1 } else { 0 }; 3];
            for (n, value) in values.iter_mut().take(most).enumerate() {
                if n >= least && !self.cur.eat(b',') || n > 0 && n < least {
                    break;
                }
                self.cur.skip();
                let at = self.cur.pos;
                *value = self.natural(&format!("the value of `.{word}`"), u64::from(u32::MAX))?;
                if *value < kind.least() {
                    let message = format!("the value of `.{word}` is {value}, less than {}", kind.least());
                    return Err(Box::new(Diagnostic::error("ptx::literal", message).at(self.span_from(at), "")));
                }
            }
            out.push(Directive { kind, values, text: Symbol::EMPTY, span: self.span_from(start) });
        }
        Ok(out)
    }

    /// `.file 1 "name" {, timestamp, size}`
    fn file(&mut self) -> Parse<()> {
        let index = self.natural32("the number of the file")?;
        let name = self.text("the name of the file")?;
        let mut file = File { index, name, timestamp: None, size: None };
        if self.cur.eat(b',') {
            file.timestamp = Some(self.natural("the time of the file", u64::MAX)?);
            self.expect(b',', "between the time and the size of the file")?;
            file.size = Some(self.natural("the size of the file", u64::MAX)?);
        }
        self.module.files.push(file);
        Ok(())
    }

    fn text(&mut self, what: &str) -> Parse<Text<'a>> {
        let range = self.expect_string(what)?;
        Ok(Text { text: self.slice(range), span: Span::new(range.0 as u32 - 1, range.1 as u32 + 1) })
    }

    /// `.section .name { ... }`, whose contents are debugging data.
    fn section(&mut self) -> Parse<()> {
        self.cur.skip();
        let start = self.cur.pos;
        let Some((_, end)) = self.cur.dotted() else {
            return self.expected("the name of the section");
        };
        let symbol = self.intern((start, end));
        let open = self.cur.peek();
        if open != b'{' {
            return self.expected("`{` after the name of the section");
        }
        let brace = self.cur.pos;
        if !self.skip_section() {
            let message = format!("the section `{}` has no closing `}}`", self.name(symbol));
            let error = Diagnostic::error("ptx::syntax", message).at(Span::new(brace as u32, brace as u32 + 1), "");
            return Err(Box::new(error));
        }
        self.module.sections.push(Name { symbol, span: self.span_from(start) });
        Ok(())
    }

    /// Skips from `{` to behind the matching `}`; false if there is none.
    fn skip_section(&mut self) -> bool {
        let bytes = self.cur.text.as_bytes();
        let mut depth = 0usize;
        while let Some(&b) = bytes.get(self.cur.pos) {
            match b {
                b'{' => depth += 1,
                b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        self.cur.pos += 1;
                        return true;
                    }
                }
                b'"' if self.cur.string().is_some() => continue,
                b'/' => {
                    let at = self.cur.pos;
                    self.cur.skip();
                    if self.cur.pos > at {
                        continue;
                    }
                }
                _ => {}
            }
            self.cur.pos += 1;
        }
        false
    }

    /// `.alias name, target;`
    fn alias(&mut self) -> Parse<()> {
        let name = self.function_name("the new name")?;
        self.expect(b',', "between the names of `.alias`")?;
        let target = self.function_name("the name of a function")?;
        self.expect(b';', "after `.alias`")?;
        if name.symbol == target.symbol {
            let message = format!("`{}` cannot be an alias of itself", self.name(name.symbol));
            return Err(Box::new(Diagnostic::error("ptx::redeclared", message).at(name.span, "")));
        }
        let index = self.module.aliases.len() as u32;
        self.module.aliases.push(Alias { name, target });
        self.declare_item(name.symbol, name.span, Item::Alias(index), true)
    }

    /// The name of a function that is declared.
    fn function_name(&mut self, what: &str) -> Parse<Name> {
        let (symbol, span) = self.expect_name(what)?;
        if !matches!(self.module.find(symbol), Some(Item::Function(_) | Item::Alias(_))) {
            let message = format!("the function `{}` is not declared", self.name(symbol));
            return Err(Box::new(Diagnostic::error("ptx::undeclared", message).at(span, "")));
        }
        Ok(Name { symbol, span })
    }

    /// `.pragma "text", "text";`
    fn pragma(&mut self) -> Parse<()> {
        loop {
            let text = self.text("a string after `.pragma`")?;
            self.module.pragmas.push(text);
            if !self.cur.eat(b',') {
                return self.expect(b';', "after `.pragma`");
            }
        }
    }
}

fn linkage_of(word: &str) -> Option<Linkage> {
    Some(match word {
        "visible" => Linkage::Visible,
        "extern" => Linkage::Extern,
        "weak" => Linkage::Weak,
        "common" => Linkage::Common,
        _ => return None,
    })
}

/// Directives at which reading goes on after an error outside functions.
fn is_module_word(word: &str) -> bool {
    linkage_of(word).is_some()
        || matches!(
            word,
            "entry" | "func" | "global" | "const" | "tex" | "file" | "section" | "alias" | "version" | "target"
        )
}
