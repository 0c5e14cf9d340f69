//! Rules of bodies: blocks, values, targets and dominance.

use super::{Errors, Rule, inst, is_type};
use crate::analysis::cfg::Cfg;
use crate::analysis::dom::Dominators;
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, Def, Function, FunctionKind, Module};
use crate::op::Op;
use crate::text::Printer;
use crate::types::Type;

/// Where a value is defined: a block, and a place in it (0 for parameters, then one more for each instruction).
type Place = (Block, usize);

pub(super) struct Checker<'a> {
    pub(super) module: &'a Module,
    pub(super) function: &'a Function,
    pub(super) body: &'a Body,
    printer: Option<Printer<'a>>,
    places: Vec<Option<Place>>,
    /// Whether the blocks, instructions, values and targets are whole, so that dominance means something.
    whole: bool,
    errors: &'a mut Errors,
}

pub(super) fn check(module: &Module, function: &Function, errors: &mut Errors) {
    let Some(body) = &function.body else { return };
    let places = vec![None; body.values.len()];
    let mut checker = Checker { module, function, body, printer: None, places, whole: true, errors };
    if body.blocks.is_empty() {
        checker.at_function(Rule::Blocks, "the body has no block".into());
        return;
    }
    for (n, value) in body.values.iter().enumerate().filter(|(_, v)| !is_type(v.ty)) {
        let shown = checker.value(Value::new(n));
        checker.at_function(Rule::Types, format!("{shown} is of {}, which is no type", value.ty));
        checker.whole = false;
    }
    checker.place();
    if !checker.whole {
        return;
    }
    for block in body.block_ids() {
        for &inst in &body.blocks[block.index()].insts {
            if checker.errors.full() {
                return;
            }
            inst::check(&mut checker, inst);
            checker.targets(inst);
        }
    }
    checker.entry();
    if checker.whole {
        checker.dominance();
    }
}

/// Whether one instruction of a body keeps to the rules of single instructions.
pub(super) fn accepts(body: &Body, inst: Inst) -> bool {
    let (module, function) = (Module::default(), Function::new("", FunctionKind::Device));
    let mut errors = Errors { list: Vec::new() };
    let mut checker = Checker {
        module: &module,
        function: &function,
        body,
        printer: None,
        places: Vec::new(),
        whole: true,
        errors: &mut errors,
    };
    inst::check(&mut checker, inst);
    errors.list.is_empty()
}

impl<'a> Checker<'a> {
    fn at_function(&mut self, rule: Rule, message: String) {
        let name = &self.function.name;
        self.errors.add(rule, self.function.span, message, || format!("in function @{name}"));
    }
    fn at_block(&mut self, rule: Rule, block: Block, message: String) {
        let name = &self.function.name;
        let body = self.body;
        // The nearest place in the source: the block's first instruction.
        let first = body.blocks[block.index()].insts.first().and_then(|i| body.spans.get(i.index()));
        let span = first.copied().filter(|s| !s.is_empty()).unwrap_or(self.function.span);
        self.errors.add(rule, span, message, || format!("in function @{name}, {block}"));
    }
    pub(super) fn at_inst(&mut self, rule: Rule, inst: Inst, message: impl Into<String>) {
        let (module, function, body) = (self.module, self.function, self.body);
        let printer = self.printer.get_or_insert_with(|| Printer::new(Some(module), body));
        let span = body.spans.get(inst.index()).copied().unwrap_or_default();
        self.errors.add(rule, span, message, || {
            let block = body.block_ids().find(|b| body.blocks[b.index()].insts.contains(&inst));
            let block = block.map_or(String::new(), |b| format!(", {b}"));
            format!("in function @{}{block}: `{}`", function.name, printer.inst(inst))
        });
    }
    /// A value as the text names it.
    pub(super) fn value(&mut self, value: Value) -> Value {
        let (module, body) = (self.module, self.body);
        self.printer.get_or_insert_with(|| Printer::new(Some(module), body)).value(value)
    }
    pub(super) fn ty(&self, value: Value) -> Type {
        self.body.values.get(value.index()).map_or(Type::B1, |v| v.ty)
    }

    /// Finds the place of every value and instruction.
    fn place(&mut self) {
        let body = self.body;
        let mut placed = vec![false; body.insts.len()];
        if body.spans.len() != body.insts.len() {
            let message = format!("{} spans for {} instructions", body.spans.len(), body.insts.len());
            self.at_function(Rule::Placement, message);
            self.whole = false;
        }
        for block in body.block_ids() {
            let data = &body.blocks[block.index()];
            for &param in &data.params {
                self.define(param, Def::Param(block), (block, 0));
            }
            for (n, &inst) in data.insts.iter().enumerate() {
                match placed.get_mut(inst.index()) {
                    None => {
                        self.at_function(Rule::Placement, format!("{block} holds {inst}, which does not exist"));
                        self.whole = false;
                        continue;
                    }
                    Some(done) if *done => {
                        self.at_inst(Rule::Placement, inst, "the instruction stands in two places");
                        self.whole = false;
                        continue;
                    }
                    Some(done) => *done = true,
                }
                for &result in body.results(inst) {
                    self.define(result, Def::Result(inst), (block, n + 1));
                }
                let last = n + 1 == data.insts.len();
                match (body.inst(inst).op.is_terminator(), last) {
                    (true, false) => self.at_inst(Rule::Blocks, inst, "a terminator before the end of its block"),
                    (false, true) => {
                        self.at_inst(Rule::Blocks, inst, format!("{block} does not end in a terminator"));
                    }
                    _ => {}
                }
            }
            if data.insts.is_empty() {
                self.at_block(Rule::Blocks, block, format!("{block} is empty"));
            }
        }
    }

    fn define(&mut self, value: Value, def: Def, place: Place) {
        let problem = match self.body.values.get(value.index()) {
            None => "does not exist",
            Some(_) if self.places[value.index()].is_some() => "is defined twice",
            Some(data) if data.def != def => "has data that names another definition",
            Some(_) => {
                self.places[value.index()] = Some(place);
                return;
            }
        };
        let message = format!("{} {problem}", self.value(value));
        match def {
            Def::Result(inst) => self.at_inst(Rule::Definitions, inst, message),
            Def::Param(block) => self.at_block(Rule::Definitions, block, message),
            Def::None => {}
        }
        self.whole = false;
    }

    fn targets(&mut self, inst: Inst) {
        let body = self.body;
        let targets = body.targets(inst);
        let op = body.inst(inst).op;
        let right = match op {
            Op::Br => targets.len() == 1,
            Op::BrIf => targets.len() == 2,
            Op::Switch => !targets.is_empty(),
            _ => targets.is_empty(),
        };
        if !right {
            let message = format!("{} cannot have {} targets", op.info().name, targets.len());
            self.at_inst(Rule::Targets, inst, message);
        }
        for target in targets {
            let block = target.block;
            let Some(data) = body.blocks.get(block.index()) else {
                self.at_inst(Rule::Targets, inst, format!("there is no {block}"));
                self.whole = false;
                continue;
            };
            if block == Body::ENTRY {
                self.at_inst(Rule::Entry, inst, "nothing may lead to the entry block");
            }
            let args = body.target_args(*target);
            if args.len() != data.params.len() {
                let message = format!("{block} has {} parameters and is handed {}", data.params.len(), args.len());
                self.at_inst(Rule::Targets, inst, message);
            }
            for (&arg, &param) in args.iter().zip(&data.params) {
                let (have, want) = (self.ty(arg), self.ty(param));
                if have != want && body.values.get(arg.index()).is_some() {
                    let (arg, param) = (self.value(arg), self.value(param));
                    self.at_inst(Rule::Targets, inst, format!("{arg} is {have}, but {param} of {block} is {want}"));
                }
            }
        }
    }

    fn entry(&mut self) {
        let types: Vec<Type> = self.body.blocks[0].params.iter().map(|p| self.ty(*p)).collect();
        let wanted: &[Type] = if self.function.is_kernel() { &[] } else { &self.function.signature.params };
        if types != wanted {
            let message = format!("the entry block has parameters {types:?}, the function {wanted:?}");
            self.at_function(Rule::Entry, message);
        }
    }

    fn dominance(&mut self) {
        let body = self.body;
        let cfg = Cfg::of(body);
        let dom = Dominators::of(&cfg);
        for block in body.block_ids() {
            for (n, &inst) in body.blocks[block.index()].insts.iter().enumerate() {
                let handed = body.targets(inst).iter().flat_map(|t| body.target_args(*t));
                for &value in body.args(inst).iter().chain(handed) {
                    let Some(&place) = self.places.get(value.index()) else {
                        self.at_inst(Rule::Definitions, inst, format!("{value} does not exist"));
                        continue;
                    };
                    let Some((definition, at)) = place else {
                        let shown = self.value(value);
                        self.at_inst(Rule::Definitions, inst, format!("{shown} is not defined in any block"));
                        continue;
                    };
                    let fine = if definition == block {
                        at <= n
                    } else {
                        !cfg.is_reachable(block) || dom.dominates(definition, block)
                    };
                    if !fine {
                        let shown = self.value(value);
                        self.at_inst(Rule::Dominance, inst, format!("{shown} is not defined on every way to its use"));
                    }
                }
            }
        }
    }
}
