//! The body of a function: registers, blocks and the edges between them.
//!
//! A value has one register, a block's parameter two: edges write the first, and the block begins by copying it to the
//! second. So what an edge writes is live on that edge alone, and may be written before a branch, whichever way it goes.
//!
//! A guarded instruction was lifted to a branch around it. It is found again by its place in the text: a block between a
//! branch and the block where the ways meet, all of whose instructions come from the one that the branch comes from.

use super::address::Deltas;
use super::context::Context;
use super::stop::{self, Sites, Stopping};
use super::text::{Class, Code, Guard, Operand, Reg, integer};
use super::{Unprintable, constant};
use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::Dominators;
use hetir::analysis::loops::LoopForest;
use hetir::attr::Attr;
use hetir::diag::Span;
use hetir::entity::{Block, FuncId, Inst, Value};
use hetir::ir::{Body, Def, Function, InstData};
use hetir::op::Op;
use hetir::types::{Scalar, Type};
use std::collections::{HashMap, HashSet};

pub(super) type Printing = Result<(), Unprintable>;

/// What an operand is: a register, or the bits of a constant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Reg(Reg),
    Const(u64),
}

impl From<Reg> for Source {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

/// The kind of register that holds a type. A byte is the low bits of a word, whose others mean nothing.
pub(super) const fn class(ty: Type) -> Class {
    match ty.bits() {
        1 => Class::Pred,
        16 => Class::Half,
        8 | 32 => Class::Word,
        64 => Class::Long,
        _ => Class::Quad,
    }
}

/// A branch around a guarded instruction.
#[derive(Clone, Copy, Debug)]
struct Detour {
    inside: Block,
    join: Block,
    /// The instruction is executed where the condition does not hold.
    negated: bool,
}

/// Prints one function.
pub(super) struct Printer<'c, 'a> {
    pub(super) cx: &'c mut Context<'a>,
    pub(super) function: &'a Function,
    pub(super) body: &'a Body,
    pub(super) code: Code,
    /// The instruction at hand.
    pub(super) span: Span,
    /// The value that has this one's register.
    same: Vec<Value>,
    /// Whether another value has this one's register.
    shares: Vec<bool>,
    regs: Vec<Option<Reg>>,
    /// What edges write.
    incoming: HashMap<Value, Reg>,
    /// How often each value is used.
    uses: Vec<u32>,
    /// 32-bit registers whose extension by zeros is the value.
    pub(super) low_words: HashMap<Value, Reg>,
    /// Instructions that another one stands for.
    pub(super) absorbed: Vec<bool>,
    /// What the carry flag holds, and whether it is negated.
    pub(super) carry: Option<(Value, bool)>,
    /// What is added to logical addresses.
    pub(super) deltas: Deltas,
    /// What a caller hands over, or what callees are handed.
    pub(super) extras: Vec<Reg>,
    /// The block's coordinates, where they are not the hardware's.
    pub(super) block_place: Option<[Reg; 3]>,
    /// What the kernel keeps that can be stopped.
    pub(super) stopping: Option<Stopping>,
    /// Blocks of which the end is known to go one way, and which.
    decided: HashMap<Block, usize>,
    /// The block at hand is in a loop.
    pub(super) in_loop: bool,
    /// For each value the variable of constant memory whose native address it is.
    pub(super) native: Vec<Option<usize>>,
    /// Sums of products of warp groups whose registers hold what they begin with.
    pub(super) begun_sums: HashSet<Value>,
    /// The instructions among which the one at hand stands.
    pub(super) here: &'a [Inst],
    labels: u32,
    /// Blocks that hand something over on the way to their target, behind everything else.
    stubs: Vec<(String, Block, Vec<Value>)>,
    /// The last instruction that uses each value.
    users: Vec<Option<Inst>>,
}

impl<'c, 'a> Printer<'c, 'a> {
    pub(super) fn new(cx: &'c mut Context<'a>, id: FuncId, body: &'a Body) -> Self {
        let function = &cx.request.module.functions[id.index()];
        let count = body.values.len();
        let mut code = Code::default();
        let deltas = Deltas {
            shared: code.reg(Class::Word),
            local: code.reg(Class::Long),
            generic: [0; 3].map(|_| code.reg(Class::Long)),
        };
        let native = constant::native(cx.request.module, body);
        let mut printer = Self {
            cx,
            function,
            body,
            code,
            span: function.span,
            same: (0..count).map(Value::new).collect(),
            shares: vec![false; count],
            regs: vec![None; count],
            incoming: HashMap::new(),
            uses: vec![0; count],
            low_words: HashMap::new(),
            absorbed: vec![false; body.insts.len()],
            carry: None,
            deltas,
            extras: Vec::new(),
            block_place: None,
            stopping: None,
            decided: HashMap::new(),
            in_loop: false,
            native,
            begun_sums: HashSet::new(),
            here: &[],
            labels: 0,
            stubs: Vec::new(),
            users: vec![None; count],
        };
        printer.look_at_uses();
        printer
    }

    fn look_at_uses(&mut self) {
        let body = self.body;
        for &inst in body.blocks.iter().flat_map(|b| &b.insts) {
            for v in body.args(inst) {
                self.uses[v.index()] += 1;
                self.users[v.index()] = Some(inst);
            }
            for target in body.targets(inst) {
                body.target_args(*target).iter().for_each(|v| self.uses[v.index()] += 1);
            }
            let data = body.inst(inst);
            let same = match data.op {
                Op::Bitcast => Some(body.args(inst)[0]),
                Op::Trunc => self.extended(body.args(inst)[0]).filter(|v| body.ty(*v) == data.ty),
                _ => None,
            };
            if let Some(same) = same.filter(|v| class(body.ty(*v)) == class(body.ty(body.results(inst)[0]))) {
                self.same[body.results(inst)[0].index()] = same;
                self.shares[same.index()] = true;
            }
        }
    }

    /// What a value is the extension of.
    fn extended(&self, value: Value) -> Option<Value> {
        let Def::Result(inst) = self.body.values[value.index()].def else { return None };
        matches!(self.body.inst(inst).op, Op::Zext | Op::Sext).then(|| self.body.args(inst)[0])
    }

    // Values.

    /// The value whose register this one has.
    pub(super) fn root(&self, value: Value) -> Value {
        let mut at = value;
        while self.same[at.index()] != at {
            at = self.same[at.index()];
        }
        at
    }
    /// The instruction that computes a value.
    pub(super) fn def(&self, value: Value) -> Option<(Inst, &'a InstData)> {
        match self.body.values[self.root(value).index()].def {
            Def::Result(inst) => Some((inst, self.body.inst(inst))),
            Def::Param(_) | Def::None => None,
        }
    }
    /// The instruction, where it is the op's.
    pub(super) fn def_by(&self, value: Value, op: Op) -> Option<(Inst, &'a InstData)> {
        self.def(value).filter(|(_, data)| data.op == op)
    }
    /// The bits of a constant.
    pub(super) fn constant(&self, value: Value) -> Option<u64> {
        self.body.constant(self.root(value))
    }
    pub(super) fn ty(&self, value: Value) -> Type {
        self.body.ty(value)
    }
    /// The instruction that uses a value, where it is the only one.
    pub(super) fn only_user(&self, value: Value) -> Option<Inst> {
        self.users[value.index()].filter(|_| self.uses[value.index()] == 1 && !self.shares[value.index()])
    }
    /// How often a value is used.
    pub(super) fn uses(&self, value: Value) -> u32 {
        self.uses[value.index()]
    }
    pub(super) fn source(&mut self, value: Value) -> Source {
        match self.constant(value) {
            Some(bits) => Source::Const(bits),
            None => Source::Reg(self.reg_of(value)),
        }
    }
    fn reg_of(&mut self, value: Value) -> Reg {
        let root = self.root(value);
        if let Some(reg) = self.regs[root.index()] {
            return reg;
        }
        let reg = self.code.reg(class(self.body.ty(root)));
        self.regs[root.index()] = Some(reg);
        reg
    }
    /// A fresh register for a type.
    pub(super) fn fresh(&mut self, ty: Type) -> Reg {
        self.code.reg(class(ty))
    }
    /// The register of an instruction's n-th result.
    pub(super) fn result(&mut self, inst: Inst, n: usize) -> Reg {
        self.reg_of(self.body.results(inst)[n])
    }
    /// A value in a register.
    pub(super) fn reg(&mut self, value: Value) -> Reg {
        let ty = self.ty(value);
        match self.source(value) {
            Source::Reg(reg) => reg,
            Source::Const(bits) => self.constant_reg(bits, ty),
        }
    }
    /// A constant in a register.
    pub(super) fn constant_reg(&mut self, bits: u64, ty: Type) -> Reg {
        let class = class(ty);
        let reg = self.code.reg(class);
        let text = match class {
            Class::Pred => (bits & 1).to_string(),
            _ => integer(bits, ty.bits()),
        };
        if class == Class::Quad {
            let low = self.constant_reg(bits, Type::I64);
            self.code.put_free("mov.b128", reg, [Operand::Vector(vec![low.into(), low.into()])]);
        } else {
            self.code.put_free(&format!("mov.{}", class.declared()), reg, [text.into()]);
        }
        reg
    }
    pub(super) fn hold(&mut self, source: Source, ty: Type) -> Reg {
        match source {
            Source::Reg(reg) => reg,
            Source::Const(bits) => self.constant_reg(bits, ty),
        }
    }
    /// An operand of an instruction on integers or bits.
    pub(super) fn int(&mut self, source: Source, ty: Type) -> Operand {
        match source {
            Source::Reg(reg) => reg.into(),
            Source::Const(bits) if matches!(ty.bits(), 16 | 32 | 64) => integer(bits, ty.bits()).into(),
            Source::Const(bits) => self.constant_reg(bits, ty).into(),
        }
    }
    /// An operand of an instruction on floats.
    pub(super) fn float(&mut self, source: Source, ty: Type) -> Operand {
        match source {
            Source::Reg(reg) => reg.into(),
            Source::Const(bits) if ty == Type::F32 => format!("0f{:08X}", bits as u32).into(),
            Source::Const(bits) if ty == Type::F64 => format!("0d{bits:016X}").into(),
            Source::Const(bits) => self.constant_reg(bits, ty).into(),
        }
    }
    /// An integer value as an operand.
    pub(super) fn word(&mut self, value: Value) -> Operand {
        let (source, ty) = (self.source(value), self.ty(value));
        self.int(source, ty)
    }
    /// A value moved as bits, which may be a number.
    pub(super) fn bits(&mut self, value: Value) -> Operand {
        let (source, ty) = (self.source(value), self.ty(value).as_int());
        self.int(source, ty)
    }

    // Errors.

    /// There is no PTX for something.
    pub(super) fn lacks<T>(&self, what: impl Into<String>) -> Result<T, Unprintable> {
        Err(Unprintable { what: what.into(), function: self.function.name.clone(), span: self.span })
    }
    /// There is no PTX for an instruction.
    pub(super) fn no_form(&self, data: &InstData) -> Printing {
        let mut text = data.op.info().name.to_string();
        for (kind, byte) in data.op.info().attrs.iter().zip(data.attrs) {
            let word = kind.spellings().get(byte as usize).copied().unwrap_or_default();
            if !word.is_empty() {
                text.push('.');
                text.push_str(word);
            }
        }
        if data.op.info().is_typed() {
            text = format!("{text}.{}", data.ty);
        }
        self.lacks(format!("the op `{text}`"))
    }

    // Blocks.

    /// A label of a block.
    fn block_label(block: Block) -> String {
        format!("$L_{}", block.index())
    }
    /// A label for code of an instruction's own.
    pub(super) fn own_label(&mut self) -> String {
        self.labels += 1;
        format!("$I_{}", self.labels)
    }

    /// Prints all blocks. `begin` prints what comes before them.
    pub(super) fn blocks(&mut self) -> Printing {
        let cfg = Cfg::of(self.body);
        let (order, detours) = self.order(&cfg);
        let dom = Dominators::of(&cfg);
        let loops = self.stopping.map(|_| LoopForest::of(&cfg, &dom));
        self.decided = stop::decided(self.body, &cfg, &dom);
        for (place, &block) in order.iter().enumerate() {
            self.in_loop = loops.as_ref().is_some_and(|l| l.innermost(block).is_some());
            let joined = detours.values().any(|d| d.join == block);
            if !joined {
                self.carry = None;
                self.begin(block);
            }
            let next = order.get(place + 1).copied();
            self.block(block, detours.get(&block), next)?;
        }
        for (label, block, args) in std::mem::take(&mut self.stubs) {
            self.code.label(label);
            self.hand_over(block, &args);
            self.jump(block);
        }
        Ok(())
    }

    /// The blocks in the order in which they are printed, without those that guards make superfluous.
    fn order(&self, cfg: &Cfg) -> (Vec<Block>, HashMap<Block, Detour>) {
        let mut sorted = cfg.order().to_vec();
        let sites = Sites::of(self.body, cfg);
        // What is rarely executed stands behind everything else, and so does what stands nowhere in the program's text.
        let place = |block: Block| {
            let mut spans = self.body.blocks[block.index()].insts.iter().map(|i| self.body.spans[i.index()]);
            let start = spans.find(|s| !s.is_empty()).map_or(u32::MAX, |s| s.start);
            (block != Body::ENTRY, sites.as_ref().is_some_and(|s| s.cold[block.index()]), start)
        };
        // The sort is stable: where the text says nothing, the order of the graph stays.
        sorted.sort_by_key(|b| place(*b));
        let mut detours = HashMap::new();
        let mut placed = vec![false; self.body.blocks.len()];
        let mut order = Vec::with_capacity(sorted.len());
        for start in sorted {
            let mut at = start;
            while !std::mem::replace(&mut placed[at.index()], true) {
                order.push(at);
                let Some(detour) = self.detour(cfg, at) else { break };
                if placed[detour.inside.index()] || placed[detour.join.index()] {
                    break;
                }
                placed[detour.inside.index()] = true;
                detours.insert(at, detour);
                at = detour.join;
            }
        }
        (order, detours)
    }

    /// The guarded instruction that a block ends in a branch around.
    fn detour(&self, cfg: &Cfg, block: Block) -> Option<Detour> {
        let body = self.body;
        let branch = body.terminator(block).filter(|t| body.inst(*t).op == Op::BrIf)?;
        let span = body.spans[branch.index()];
        let [yes, no] = [0, 1].map(|n| body.targets(branch)[n].block);
        let around = |inside: Block, join: Block| {
            let insts = &body.blocks[inside.index()].insts;
            let (last, rest) = insts.split_last()?;
            let straight = body.inst(*last).op == Op::Br
                && body.targets(*last)[0].block == join
                && body.blocks[inside.index()].params.is_empty()
                && cfg.predecessors(inside).len() == 1
                && cfg.predecessors(join).len() == 2;
            let one = rest.iter().all(|i| body.spans[i.index()] == span && self.may_be_guarded(*i));
            (inside != join && inside != block && join != block && straight && one && !rest.is_empty()).then_some(())
        };
        if around(yes, no).is_some() {
            return Some(Detour { inside: yes, join: no, negated: false });
        }
        around(no, yes).map(|()| Detour { inside: no, join: yes, negated: true })
    }

    /// Whether an instruction is printed without branches.
    fn may_be_guarded(&self, inst: Inst) -> bool {
        !matches!(
            self.body.inst(inst).op,
            Op::Call | Op::CallIndirect | Op::Syscall | Op::StopBarrier | Op::StopAsked | Op::IAddC | Op::ISubB
        )
    }

    fn begin(&mut self, block: Block) {
        if block == Body::ENTRY {
            return;
        }
        self.code.label(Self::block_label(block));
        for &param in &self.body.blocks[block.index()].params {
            let (incoming, reg) = (self.incoming(param), self.reg_of(param));
            self.move_to(reg, incoming.into(), self.body.ty(param));
        }
    }

    fn incoming(&mut self, param: Value) -> Reg {
        if let Some(reg) = self.incoming.get(&param) {
            return *reg;
        }
        let reg = self.fresh(self.body.ty(param));
        self.incoming.insert(param, reg);
        reg
    }

    /// Copies to a register.
    pub(super) fn move_to(&mut self, to: Reg, from: Source, ty: Type) {
        if from == Source::Reg(to) {
            return;
        }
        let from = match (to.class, from) {
            (Class::Pred, Source::Const(bits)) => Operand::from((bits & 1).to_string()),
            (Class::Quad, from) => self.hold(from, ty).into(),
            (_, Source::Const(bits)) => integer(bits, ty.bits()).into(),
            (_, Source::Reg(reg)) => reg.into(),
        };
        self.code.put(&format!("mov.{}", to.class.declared()), to, [from]);
    }

    /// Writes what an edge hands to a block. What parameters of the block itself hold is read before these are written, as far as
    /// that goes, so that a parameter and what is written for it may be one register.
    fn hand_over(&mut self, block: Block, args: &[Value]) {
        let params = &self.body.blocks[block.index()].params;
        let mut left: Vec<usize> = (0..args.len()).collect();
        let mut readers: HashMap<Value, usize> = HashMap::new();
        for arg in args {
            *readers.entry(self.root(*arg)).or_default() += 1;
        }
        while !left.is_empty() {
            let free = |n: &usize| {
                let own = usize::from(self.root(args[*n]) == params[*n]);
                readers.get(&params[*n]).copied().unwrap_or(0) == own
            };
            let place = left.iter().position(free).unwrap_or(0);
            let n = left.remove(place);
            if let Some(count) = readers.get_mut(&self.root(args[n])) {
                *count -= 1;
            }
            let (to, from) = (self.incoming(params[n]), self.source(args[n]));
            self.move_to(to, from, self.body.ty(params[n]));
        }
    }

    fn jump(&mut self, block: Block) {
        self.code.jump(&Self::block_label(block));
    }

    fn block(&mut self, block: Block, detour: Option<&Detour>, next: Option<Block>) -> Printing {
        let body = self.body;
        let Some((&last, rest)) = body.blocks[block.index()].insts.split_last() else { return Ok(()) };
        self.here = &body.blocks[block.index()].insts;
        for &inst in rest {
            self.print(inst)?;
        }
        self.span = body.spans[last.index()];
        if let Some(detour) = detour {
            return self.guarded(last, detour);
        }
        let targets: Vec<(Block, Vec<Value>)> =
            body.targets(last).iter().map(|t| (t.block, body.target_args(*t).to_vec())).collect();
        let data = body.inst(last);
        match data.op {
            Op::Br => {
                let (target, args) = &targets[0];
                self.hand_over(*target, args);
                if next != Some(*target) {
                    self.jump(*target);
                }
                Ok(())
            }
            Op::BrIf if let Some(&way) = self.decided.get(&block) => {
                let (target, args) = &targets[way];
                self.hand_over(*target, args);
                if next != Some(*target) {
                    self.jump(*target);
                }
                Ok(())
            }
            Op::BrIf => {
                self.branch(body.args(last)[0], &targets, next);
                Ok(())
            }
            Op::Switch => {
                self.switch(body.args(last)[0], &targets);
                Ok(())
            }
            _ => self.print(last),
        }
    }

    fn branch(&mut self, condition: Value, targets: &[(Block, Vec<Value>)], next: Option<Block>) {
        let [(yes, yes_args), (no, no_args)] = [&targets[0], &targets[1]];
        let guard = self.guard(condition);
        if yes == no {
            let otherwise = self.own_label();
            self.code.branch(Guard { negated: !guard.negated, ..guard }, &otherwise);
            self.hand_over(*yes, yes_args);
            self.jump(*yes);
            self.code.label(otherwise);
            self.hand_over(*no, no_args);
            self.jump(*no);
            return;
        }
        self.hand_over(*yes, yes_args);
        self.hand_over(*no, no_args);
        let together = stop::together(self.body, condition);
        if next == Some(*yes) {
            self.code.branch_all(Guard { negated: !guard.negated, ..guard }, &Self::block_label(*no), together);
        } else {
            self.code.branch_all(guard, &Self::block_label(*yes), together);
            if next != Some(*no) {
                self.jump(*no);
            }
        }
    }

    /// A condition without the negations around it.
    pub(super) fn positive(&self, condition: Value) -> (Value, bool) {
        let (mut at, mut negated) = (self.root(condition), false);
        while let Some((inst, _)) = self.def_by(at, Op::Not).filter(|(_, data)| data.ty == Type::B1) {
            at = self.root(self.body.args(inst)[0]);
            negated = !negated;
        }
        (at, negated)
    }
    /// A condition as a guard.
    pub(super) fn guard(&mut self, condition: Value) -> Guard {
        let (value, negated) = self.positive(condition);
        Guard { pred: self.reg(value), negated }
    }
    /// A condition as an operand.
    pub(super) fn condition(&mut self, condition: Value) -> Operand {
        match self.guard(condition) {
            Guard { pred, negated: false } => pred.into(),
            Guard { pred, negated: true } => Operand::Not(pred),
        }
    }

    fn switch(&mut self, index: Value, targets: &[(Block, Vec<Value>)]) {
        let mut labels = Vec::new();
        for (block, args) in targets {
            if args.is_empty() {
                labels.push(Self::block_label(*block));
            } else {
                let label = self.own_label();
                self.stubs.push((label.clone(), *block, args.clone()));
                labels.push(label);
            }
        }
        let (index, within) = (self.word(index), self.fresh(Type::I32));
        self.code.put("min.u32", within, [index, (targets.len() - 1).to_string().into()]);
        let list = self.own_label();
        self.code.jump_among(&list, within, &labels);
    }

    /// The instruction that a branch leads around.
    fn guarded(&mut self, branch: Inst, detour: &Detour) -> Printing {
        let body = self.body;
        let guard = self.guard(body.args(branch)[0]);
        let guard = Guard { negated: guard.negated != detour.negated, ..guard };
        let around = body.targets(branch)[usize::from(!detour.negated)];
        let Some((&last, insts)) = body.blocks[detour.inside.index()].insts.split_last() else { return Ok(()) };
        let params = &body.blocks[detour.join.index()].params;
        let (outer, inner) = (body.target_args(around).to_vec(), body.target_args(body.targets(last)[0]).to_vec());
        for ((&param, &arg), &inside) in params.iter().zip(&outer).zip(&inner) {
            let (to, from) = (self.reg_of(param), self.source(arg));
            self.move_to(to, from, body.ty(param));
            // What is computed inside and goes nowhere else is computed in the parameter's register.
            let root = self.root(inside);
            let own = self.def(root).is_some_and(|(inst, _)| insts.contains(&inst));
            let once = inner.iter().filter(|v| self.root(**v) == root).count() == 1;
            if own && once && self.regs[root.index()].is_none() && class(body.ty(root)) == to.class {
                self.regs[root.index()] = Some(to);
            }
        }
        self.carry = None;
        self.here = insts;
        self.code.guard = Some(guard);
        let printed = insts.iter().try_for_each(|&inst| self.print(inst));
        for (&param, &inside) in params.iter().zip(&inner) {
            let (to, from) = (self.reg_of(param), self.source(inside));
            self.move_to(to, from, body.ty(param));
        }
        self.code.guard = None;
        self.carry = None;
        printed
    }
}

/// An attribute as a suffix, `.word`; nothing for a silent one.
pub(super) fn suffix<A: Attr>(data: &InstData) -> String {
    let attr: A = data.attr();
    match A::KIND.spellings().get(attr.byte() as usize) {
        Some(&"") | None => String::new(),
        Some(word) => format!(".{word}"),
    }
}

/// Untyped bits of a type.
pub(super) const fn bits_name(ty: Type) -> &'static str {
    match ty.bits() {
        8 => "b8",
        16 => "b16",
        32 => "b32",
        64 => "b64",
        _ => "b128",
    }
}

/// The name of a type of floats.
pub(super) const fn float_name(ty: Type) -> &'static str {
    match (ty.scalar, ty.lanes) {
        (Scalar::F16, 1) => "f16",
        (Scalar::F16, _) => "f16x2",
        (Scalar::Bf16, 1) => "bf16",
        (Scalar::Bf16, _) => "bf16x2",
        (Scalar::F64, _) => "f64",
        (_, 1) => "f32",
        _ => "f32x2",
    }
}
