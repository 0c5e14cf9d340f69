//! The parser of function bodies.

use super::lex::Token;
use super::parse::{Kind, Parsed, Parser, PendingImm, handle};
use crate::diag::Span;
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def, Function, MAX_ATTRS};
use crate::op::{Imm, Op, OpInfo, Pattern};
use crate::types::Type;
use std::collections::HashMap;

/// One target as written: a block's number, its place, and the values handed over.
type Written = (u64, Span, Vec<Value>);

/// What the names of a body mean so far.
#[derive(Default)]
struct Scope {
    body: Body,
    values: HashMap<u64, Value>,
    /// The first place of each value.
    places: Vec<Span>,
    blocks: HashMap<u64, Block>,
    current: Option<Block>,
    targets: Vec<(Inst, Vec<Written>)>,
    pending: Vec<PendingImm>,
}

impl Scope {
    fn value(&mut self, number: u64, place: Span) -> Value {
        *self.values.entry(number).or_insert_with(|| {
            self.places.push(place);
            self.body.add_value(Type::B1, Def::None)
        })
    }
}

/// What stands behind an op's name.
#[derive(Default)]
struct Items {
    args: Vec<Value>,
    imm: Option<u64>,
    reference: Option<PendingImm>,
    targets: Vec<Written>,
}

impl Parser<'_> {
    /// A body behind its opening brace, up to the closing one. Gives the references that await the end of the text.
    pub(super) fn body(&mut self, function: &mut Function) -> Parsed<Vec<PendingImm>> {
        let mut scope = Scope::default();
        let errors = self.error_count();
        loop {
            self.skip_newlines();
            if self.eat('}') {
                break;
            }
            if self.token == Token::End || self.full() {
                return self.expected("`}`");
            }
            if self.body_line(function, &mut scope).is_err() {
                self.skip_line();
            }
        }
        if self.error_count() == errors {
            self.finish(&mut scope);
        }
        function.body = Some(scope.body);
        Ok(scope.pending)
    }

    /// Resolves what could be used before its definition: blocks, values, and the controlling types that follow.
    fn finish(&mut self, scope: &mut Scope) {
        let body = &mut scope.body;
        for (inst, targets) in &scope.targets {
            let mut resolved = Vec::with_capacity(targets.len());
            for (number, span, args) in targets {
                match scope.blocks.get(number) {
                    Some(&block) => resolved.push((block, args.as_slice())),
                    None => self.report(*span, format!("there is no block{number}")),
                }
            }
            body.set_targets(*inst, &resolved);
        }
        for (number, value) in &scope.values {
            if body.values[value.index()].def == Def::None {
                self.report(scope.places[value.index()], format!("v{number} is not defined"));
            }
        }
        for i in 0..body.insts.len() {
            let inst = Inst::new(i);
            let op = body.inst(inst).op;
            body.insts[i].ty = controlling_type(op, body, inst);
        }
    }

    fn body_line(&mut self, function: &mut Function, scope: &mut Scope) -> Parsed<()> {
        let start = self.span;
        let Token::Word(word) = self.token else { return self.expected("a slot, block or instruction") };
        if let Some(n) = handle(word, "slot") {
            if scope.current.is_some() {
                return self.fail(start, "slots stand before the first block");
            }
            return self.slot(function, n);
        }
        if let Some(n) = handle(word, "block") {
            return self.label(scope, n);
        }
        let Some(block) = scope.current else { return self.expected("a block") };
        let inst = self.inst(scope, start)?;
        scope.body.append(block, inst);
        Ok(())
    }

    fn label(&mut self, scope: &mut Scope, number: u64) -> Parsed<()> {
        let at = self.span;
        self.advance();
        let block = scope.body.add_block();
        scope.current = Some(block);
        if scope.blocks.insert(number, block).is_some() {
            return self.fail(at, format!("block{number} is defined twice"));
        }
        if self.token == Token::Sign('(') {
            let params = self.list('(', ')', |p| p.definition(scope, Def::Param(block)))?;
            scope.body.blocks[block.index()].params = params;
        }
        self.sign(':')?;
        self.line_end()
    }

    /// `v3: i32`
    fn definition(&mut self, scope: &mut Scope, def: Def) -> Parsed<Value> {
        let at = self.span;
        let number = self.value_number()?;
        self.sign(':')?;
        let ty = self.ty()?;
        let value = scope.value(number, at);
        let data = &mut scope.body.values[value.index()];
        if data.def != Def::None {
            return self.fail(at, format!("v{number} is defined twice"));
        }
        data.def = def;
        data.ty = ty;
        Ok(value)
    }

    fn value_number(&mut self) -> Parsed<u64> {
        match self.token {
            Token::Word(word) if handle(word, "v").is_some() => {
                self.advance();
                Ok(handle(word, "v").unwrap_or(0))
            }
            _ => self.expected("a value"),
        }
    }

    fn inst(&mut self, scope: &mut Scope, start: Span) -> Parsed<Inst> {
        let mut results = Vec::new();
        if matches!(self.token, Token::Word(word) if handle(word, "v").is_some()) {
            let def = Def::Result(Inst::new(scope.body.insts.len()));
            results.push(self.definition(scope, def)?);
            while self.eat(',') {
                results.push(self.definition(scope, def)?);
            }
            self.sign('=')?;
        }
        let at = self.span;
        let word = self.word("an op")?;
        let name = word.split('.').next().unwrap_or(word);
        let Some(op) = Op::from_name(name) else { return self.fail(at, format!("there is no op `{name}`")) };
        let info = op.info();
        let attrs = self.attributes(info, &word[name.len()..], at)?;
        let ty = match results.first() {
            Some(v) if op == Op::Const => scope.body.ty(*v),
            _ => Type::I64,
        };
        let items = self.items(scope, info, ty)?;
        let needed = !matches!(info.imm, Imm::None | Imm::Offset) && op != Op::Sreg;
        if needed && items.imm.is_none() && items.reference.is_none() {
            return self.fail(at, format!("{name} needs {}", describe(info.imm)));
        }
        let span = Span::new(start.start, self.previous_end);
        let inst = scope.body.make_with_results(op, ty, attrs, items.imm.unwrap_or(0), &items.args, &results, span);
        scope.pending.extend(items.reference);
        if !items.targets.is_empty() {
            scope.targets.push((inst, items.targets));
        }
        self.line_end()?;
        Ok(inst)
    }

    /// Attributes behind an op's name, in any order, each behind a dot.
    fn attributes(&mut self, info: &OpInfo, mut rest: &str, at: Span) -> Parsed<[u8; MAX_ATTRS]> {
        let mut bytes = [0; MAX_ATTRS];
        let mut given = [false; MAX_ATTRS];
        while let Some(tail) = rest.strip_prefix('.') {
            let fits =
                |s: &&str| !s.is_empty() && tail.strip_prefix(*s).is_some_and(|r| r.is_empty() || r.starts_with('.'));
            let spellings = info.attrs.iter().enumerate();
            let found = spellings
                .flat_map(|(place, kind)| kind.spellings().iter().enumerate().map(move |(byte, s)| (place, byte, s)))
                .filter(|(_, _, s)| fits(s))
                .max_by_key(|(_, _, s)| s.len());
            let Some((place, byte, spelling)) = found else {
                let word = tail.split('.').next().unwrap_or(tail);
                return self.fail(at, format!("{} has no attribute `{word}`", info.name));
            };
            if std::mem::replace(&mut given[place], true) {
                return self.fail(at, format!("`{spelling}` contradicts an attribute before it"));
            }
            bytes[place] = byte as u8;
            rest = &tail[spelling.len()..];
        }
        for (place, kind) in info.attrs.iter().enumerate() {
            let spellings = kind.spellings();
            if !given[place] && !spellings[0].is_empty() {
                let mut all = spellings[..spellings.len().min(8)].join(", ");
                if spellings.len() > 8 {
                    all.push_str(" ...");
                }
                return self.fail(at, format!("{} needs one of the attributes {all}", info.name));
            }
        }
        Ok(bytes)
    }

    fn items(&mut self, scope: &mut Scope, info: &OpInfo, ty: Type) -> Parsed<Items> {
        let mut items = Items::default();
        if matches!(self.token, Token::Newline | Token::End) {
            return Ok(items);
        }
        loop {
            let at = self.span;
            match self.token {
                Token::Word(word) if handle(word, "v").is_some() => {
                    items.args.push(self.use_of_value(scope)?);
                    if info.imm == Imm::Offset && items.args.len() == 1 {
                        items.imm = Some(self.addend()? as u64);
                    }
                }
                Token::Word(word) if handle(word, "block").is_some() => items.targets.push(self.target(scope)?),
                Token::Sign('[') => {
                    let targets = self.list('[', ']', |p| p.target(scope))?;
                    items.targets.extend(targets);
                }
                Token::Word(word) if info.imm == Imm::Slot => match handle(word, "slot") {
                    Some(n) => {
                        self.advance();
                        self.immediate(&mut items, info, n, at)?;
                    }
                    None => return self.expected("a slot"),
                },
                Token::Word(word) if info.imm == Imm::Sig => match handle(word, "sig") {
                    Some(n) => {
                        self.advance();
                        self.immediate(&mut items, info, n, at)?;
                    }
                    None => return self.expected("a signature or value"),
                },
                Token::Number(_) | Token::Sign('-') if info.imm == Imm::Int => {
                    let n = self.integer(ty)?;
                    self.immediate(&mut items, info, n, at)?;
                }
                Token::Word(_) | Token::Sign('@') if matches!(info.imm, Imm::Global | Imm::Func) => {
                    let reference = self.reference()?;
                    self.immediate(&mut items, info, 0, at)?;
                    let wanted = if info.imm == Imm::Global { Kind::Global } else { Kind::Func };
                    let inst = scope.body.insts.len();
                    items.reference = Some(PendingImm { inst, reference, wanted, span: at });
                }
                _ => return self.expected("an operand"),
            }
            if !self.eat(',') {
                break;
            }
        }
        Ok(items)
    }

    fn immediate(&mut self, items: &mut Items, info: &OpInfo, n: u64, at: Span) -> Parsed<()> {
        if items.imm.replace(n).is_some() {
            return self.fail(at, format!("{} has one immediate", info.name));
        }
        Ok(())
    }

    /// A number; a negative one that fits the type is cut to its width.
    fn integer(&mut self, ty: Type) -> Parsed<u64> {
        let at = self.span;
        if !self.eat('-') {
            return self.number("a number");
        }
        let Some(n) = 0i64.checked_sub_unsigned(self.number("a number")?) else {
            return self.fail(at, "a number of more than 64 bits");
        };
        let unused = 64 - ty.bits().min(64);
        let fits = (n << unused) >> unused == n;
        Ok(if fits { n as u64 & ty.mask() } else { n as u64 })
    }

    fn use_of_value(&mut self, scope: &mut Scope) -> Parsed<Value> {
        let at = self.span;
        let number = self.value_number()?;
        Ok(scope.value(number, at))
    }

    fn target(&mut self, scope: &mut Scope) -> Parsed<Written> {
        let at = self.span;
        let number = match self.token {
            Token::Word(word) => handle(word, "block"),
            _ => None,
        };
        let Some(number) = number else { return self.expected("a block") };
        self.advance();
        let args = match self.token {
            Token::Sign('(') => self.list('(', ')', |p| p.use_of_value(scope))?,
            _ => Vec::new(),
        };
        Ok((number, at, args))
    }
}

fn describe(imm: Imm) -> &'static str {
    match imm {
        Imm::None | Imm::Offset => "nothing",
        Imm::Int => "a number",
        Imm::Global => "a variable",
        Imm::Func => "a function",
        Imm::Slot => "a slot",
        Imm::Sig => "a signature",
    }
}

/// The type that `T` stands for in an instruction; `b1` where the op has none.
fn controlling_type(op: Op, body: &Body, inst: Inst) -> Type {
    let info = op.info();
    let first = |patterns: &[Pattern], values: &[Value]| {
        let place = patterns.iter().position(|p| matches!(p, Pattern::T | Pattern::ManyT))?;
        values.get(place).map(|v| body.ty(*v))
    };
    first(&info.results, body.results(inst)).or_else(|| first(&info.args, body.args(inst))).unwrap_or(Type::B1)
}
