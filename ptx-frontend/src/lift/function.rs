//! One function's body: blocks, guards, and what the rows of the instruction tables work with.

use super::call::{self, Piece};
use super::ssa::{Ssa, Var};
use super::{Context, Named, Ty, data};
use crate::ast::{self, BaseKind, Operand, OperandKind, Statement};
use crate::isa::{self, Chosen, Lifted, Pattern};
use hetir::build::{Attrs, Builder};
use hetir::diag::{Diagnostic, Span};
use hetir::entity::{Block, FuncId, GlobalId, Inst, Slot, Value};
use hetir::ir::{Body, DebugLine, SlotData};
use hetir::op::Op;
use hetir::types::Type;
use hetir::verify::MAX_SLOT_BYTES;
use std::collections::HashMap;

/// Forms that an opcode fits, or why it fits none.
pub(crate) type Resolved = Result<Vec<(&'static Pattern, Chosen)>, Box<Diagnostic>>;

/// Most errors that are collected of one function.
const MAX_ERRORS: usize = 50;

/// Where a variable of the function lives.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a kernel's parameters, from this byte on.
    KernelParam(u32),
    /// In SSA variables, one a piece.
    Pieces(Vec<(Piece, Var)>),
    /// In local memory.
    Slot(Slot),
    /// In a module variable.
    Global(GlobalId),
    /// It is a declaration of registers.
    Registers,
}

/// Lifts one body. The rows of `isa` read operands from it and append instructions to it.
pub(crate) struct Lifter<'a, 't> {
    pub(crate) cx: &'a mut Context,
    pub(crate) ast: &'a ast::Module<'t>,
    pub(crate) function: &'a ast::Function,
    pub(crate) code: &'a ast::Body,
    pub(crate) body: Body,
    pub(crate) slots: Vec<SlotData>,
    /// The block that instructions are appended to; `None` behind a terminator.
    block: Option<Block>,
    pub(crate) ssa: Ssa,
    /// First variable of each register.
    registers: Vec<Var>,
    places: Vec<Place>,
    carry: Option<Var>,
    label_blocks: Vec<Option<Block>>,
    /// Edges that each label's block will have from branches; `None` where that is not known beforehand.
    expected: HashMap<Block, usize>,
    entered: Vec<bool>,
    id: FuncId,
    // The instruction at hand.
    pub(crate) inst: ast::Inst,
    pub(crate) pattern: Option<(&'static Pattern, Chosen)>,
}

/// Lifts a body and puts it into the module.
pub(crate) fn lift_body(
    cx: &mut Context,
    ast: &ast::Module<'_>,
    function: &ast::Function,
    code: &ast::Body,
    id: FuncId,
) -> Result<(), Vec<Diagnostic>> {
    let empty =
        ast::Inst { opcode: ast::Symbol::EMPTY, guard: None, first: 0, count: 0, unified: false, span: function.span };
    let mut lifter = Lifter {
        cx,
        ast,
        function,
        code,
        body: Body::default(),
        slots: Vec::new(),
        block: None,
        ssa: Ssa::default(),
        registers: Vec::new(),
        places: Vec::new(),
        carry: None,
        label_blocks: vec![None; code.labels.len()],
        expected: HashMap::new(),
        entered: Vec::new(),
        id,
        inst: empty,
        pattern: None,
    };
    let errors = lifter.run();
    if errors.is_empty() {
        let Lifter { body, slots, ssa, .. } = lifter;
        let mut body = body;
        ssa.finish(&mut body);
        body.remove_unreachable();
        let function = &mut cx.module.functions[id.index()];
        function.body = Some(body);
        function.slots = slots;
        Ok(())
    } else {
        Err(errors)
    }
}

impl Lifter<'_, '_> {
    fn run(&mut self) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        if let Err(d) = self.set_up() {
            return vec![*d];
        }
        let code = self.code;
        let mut pending_loc = None;
        for statement in &code.statements {
            match *statement {
                Statement::Label(label) => self.enter_label(label),
                Statement::Loc(n) => pending_loc = Some(n),
                Statement::Pragma(text) => self.pragma(text),
                Statement::Inst(inst) => {
                    if let Some(n) = pending_loc.take() {
                        let loc = code.locs[n as usize];
                        let (file, line, column) = (loc.file, loc.line, loc.column);
                        self.cx.module.lines.push(DebugLine { start: inst.span.start, file, line, column });
                    }
                    self.inst = inst;
                    if let Err(d) = self.statement() {
                        errors.push(*d);
                        if errors.len() >= MAX_ERRORS {
                            return errors;
                        }
                    }
                }
            }
        }
        self.inst.span = Span::new(code.span.end.saturating_sub(1), code.span.end);
        if self.block.is_some()
            && let Err(d) = self.return_values()
        {
            errors.push(*d);
        }
        errors
    }

    fn set_up(&mut self) -> Lifted {
        let entry = self.body.add_block();
        self.block = Some(entry);
        self.ssa.seal(&mut self.body, entry);
        for reg in &self.code.regs {
            let var = self.function.var(reg.var);
            let ty = Ty::of_declared(var.ty);
            let first = self.ssa.add_var(ty);
            for _ in 1..var.lanes {
                self.ssa.add_var(ty);
            }
            self.registers.push(first);
        }
        // Registers as parameters of functions: the declaration is the register.
        let addressed = self.addressed_params();
        let first_param = self.function.return_count as usize;
        let last_param = first_param + self.function.param_count as usize;
        let kernel: Vec<u32> =
            self.cx.module.functions[self.id.index()].kernel_params().iter().map(|p| p.offset).collect();
        for (n, variable) in self.function.vars.iter().enumerate() {
            let is_param = (first_param..last_param).contains(&n);
            let place = match variable.space {
                ast::Space::Reg if n < last_param => self.piece_place(variable),
                ast::Space::Reg => Place::Registers,
                ast::Space::Param if self.function.is_kernel && is_param => Place::KernelParam(kernel[n - first_param]),
                ast::Space::Param => {
                    if variable.bytes() > call::MAX_PARAM_BYTES {
                        return Err(self.error_at(
                            variable.span,
                            format!("a parameter of {} bytes is larger than 32 KiB", variable.bytes()),
                        ));
                    }
                    self.piece_place(variable)
                }
                ast::Space::Local => {
                    let size = u32::try_from(variable.bytes()).ok().filter(|s| u64::from(*s) <= MAX_SLOT_BYTES);
                    let Some(size) = size else {
                        return Err(self.error_at(variable.span, "a local variable is larger than 16 MiB"));
                    };
                    Place::Slot(self.add_slot(size, variable.alignment() as u32))
                }
                ast::Space::Shared | ast::Space::Global | ast::Space::Const | ast::Space::Tex => {
                    let name = format!("{}.{}", self.ast.name(self.function.name), self.ast.name(variable.name));
                    let id = data::declare(&mut self.cx.module, self.ast, variable, name)?;
                    if let Some(init) = variable.init() {
                        let names = &self.cx.names;
                        data::initialise(&mut self.cx.module, self.ast, id, variable, init, |s| {
                            names.get(&s).copied()
                        })?;
                    }
                    Place::Global(id)
                }
            };
            self.places.push(place);
        }
        // A device function's parameters arrive as values of the entry block.
        if !self.function.is_kernel {
            for n in first_param..last_param {
                let Place::Pieces(pieces) = self.places[n].clone() else { continue };
                let values: Vec<(Piece, Value)> = pieces
                    .iter()
                    .map(|(piece, var)| {
                        let value = self.body.add_param(entry, piece.ty);
                        self.ssa.write(entry, *var, value);
                        (*piece, value)
                    })
                    .collect();
                if addressed.contains(&n) {
                    self.spill_param(n, &values);
                }
            }
            // A parameter that is a register gives that register its first value.
            for (r, reg) in self.code.regs.iter().enumerate() {
                if (first_param..last_param).contains(&reg.var.index())
                    && let Place::Pieces(pieces) = &self.places[reg.var.index()]
                    && let Some((_, var)) = pieces.first()
                {
                    let value = self.ssa.read(&mut self.body, entry, *var);
                    let ty = self.ssa.types[self.registers[r].0 as usize];
                    let value = self.cast(value, ty);
                    self.ssa.write(entry, self.registers[r], value);
                }
            }
        }
        // The entry has no predecessor, also where the text begins with a label that is branched to.
        let first = self.body.add_block();
        self.jump(first);
        self.ssa.seal(&mut self.body, first);
        self.block = Some(first);
        self.count_edges();
        Ok(())
    }

    /// A pragma applies to the loop that begins here; others than this one change nothing that is kept.
    fn pragma(&mut self, text: ast::Symbol) {
        if self.ast.name(text) == "nounroll" && self.block.is_some() {
            let span = std::mem::take(&mut self.inst.span);
            self.effect(Op::NoUnroll, Type::B1, 0, &[]);
            self.inst.span = span;
        }
    }

    fn piece_place(&mut self, variable: &ast::Variable) -> Place {
        Place::Pieces(call::pieces(variable).into_iter().map(|p| (p, self.ssa.add_var(p.ty))).collect())
    }

    /// Parameters of a device function whose address is taken: they live in memory.
    fn addressed_params(&self) -> Vec<usize> {
        let mut found = Vec::new();
        if !self.function.is_kernel {
            for operand in &self.code.operands {
                if let OperandKind::Ref { base, .. } | OperandKind::Element { base, memory: false, .. } = operand.kind
                    && let BaseKind::Var(v) = base.kind()
                    && self.function.var(v).space == ast::Space::Param
                    && self.function.param_index(v).is_some()
                {
                    found.push(v.index());
                }
            }
        }
        found
    }

    fn spill_param(&mut self, n: usize, values: &[(Piece, Value)]) {
        let variable = &self.function.vars[n];
        let slot = self.add_slot(variable.bytes() as u32, (variable.alignment() as u32).max(8));
        for (piece, value) in values {
            let address = self.op_imm(Op::SlotAddr, Type::I64, slot.index() as u64, &[]);
            let store = Attrs::of(Op::Store).with(hetir::attr::Space::Local);
            self.b().effect(store, piece.ty, u64::from(piece.offset), &[address, *value]);
        }
        self.places[n] = Place::Slot(slot);
    }

    pub(crate) fn add_slot(&mut self, size: u32, align: u32) -> Slot {
        self.slots.push(SlotData { size, align: align.max(1) });
        Slot::new(self.slots.len() - 1)
    }

    /// Counts the branches to each label, so that a block can be sealed when the last one is there.
    fn count_edges(&mut self) {
        let code = self.code;
        let mut counts = vec![0usize; code.labels.len()];
        let mut open = vec![false; code.labels.len()];
        for label in &code.labels {
            if let ast::LabelKind::BranchTargets(targets) = label.kind {
                for operand in code.operands(targets) {
                    if let OperandKind::Label(l) = operand.kind {
                        open[l.index()] = true;
                    }
                }
            }
        }
        for statement in &code.statements {
            if let Statement::Inst(inst) = statement {
                for operand in code.args(inst) {
                    if let OperandKind::Label(l) = operand.kind {
                        counts[l.index()] += 1;
                    }
                }
            }
        }
        for (n, label) in code.labels.iter().enumerate() {
            if label.kind == ast::LabelKind::Code {
                let block = self.body.add_block();
                self.label_blocks[n] = Some(block);
                if !open[n] {
                    self.expected.insert(block, counts[n]);
                }
            }
        }
    }

    fn enter_label(&mut self, label: ast::LabelId) {
        let Some(block) = self.label_blocks[label.index()] else { return };
        if self.block.is_some() {
            if let Some(expected) = self.expected.get_mut(&block) {
                *expected += 1;
            }
            self.jump(block);
        }
        self.block = Some(block);
        if self.entered.len() <= block.index() {
            self.entered.resize(block.index() + 1, false);
        }
        self.entered[block.index()] = true;
        self.seal_if_complete(block);
    }

    /// Seals a label's block when it has been reached in the text and all its edges are there.
    fn seal_if_complete(&mut self, block: Block) {
        let entered = self.entered.get(block.index()).copied().unwrap_or(false);
        if entered && self.expected.get(&block) == Some(&self.ssa.edge_count(block)) {
            self.ssa.seal(&mut self.body, block);
        }
    }

    fn statement(&mut self) -> Lifted {
        if self.block.is_none() {
            // Code behind a jump that no label leads to.
            let block = self.body.add_block();
            self.ssa.seal(&mut self.body, block);
            self.block = Some(block);
        }
        let opcode = self.inst.opcode;
        if !self.cx.resolved.contains_key(&opcode) {
            let text = self.ast.name(opcode);
            let forms = isa::resolve(text);
            let resolved = if forms.is_empty() {
                let (message, notes) = isa::explain(text);
                let mut d = Diagnostic::error("ptx::instruction", message);
                d.notes = notes;
                Err(Box::new(d))
            } else {
                match isa::unmet(self.ast, text) {
                    Some(message) => Err(Box::new(Diagnostic::error("ptx::target", message))),
                    None => Ok(forms),
                }
            };
            self.cx.resolved.insert(opcode, resolved);
        }
        let operands = self.code.args(&self.inst);
        let chosen = match &self.cx.resolved[&opcode] {
            Err(d) => {
                let mut d = d.clone();
                d.labels.push(hetir::diag::Label { span: self.inst.span, text: String::new() });
                return Err(d);
            }
            Ok(forms) => forms.iter().find(|(p, _)| p.fits(operands)).copied().ok_or_else(|| forms[0].0),
        };
        let (pattern, chosen) = match chosen {
            Ok(found) => found,
            Err(pattern) => {
                let message = format!("the operands do not fit `{}`", self.ast.name(opcode));
                return Err(Box::new((*self.error(message)).note(format!("form: {}", pattern.form.syntax))));
            }
        };
        self.cx.used.add(pattern, &chosen);
        self.pattern = Some((pattern, chosen));
        match self.inst.guard {
            // A guarded branch needs no block of its own.
            Some(guard) if pattern.base != "bra" => self.guarded(guard, pattern),
            _ => (pattern.form.lift)(self),
        }
    }

    fn guarded(&mut self, guard: ast::Guard, pattern: &'static Pattern) -> Lifted {
        let condition = self.guard_value(guard)?;
        let (then, join) = (self.body.add_block(), self.body.add_block());
        let (yes, no) = if guard.negated { (join, then) } else { (then, join) };
        self.branch(condition, yes, no);
        self.ssa.seal(&mut self.body, then);
        self.block = Some(then);
        (pattern.form.lift)(self)?;
        if self.block.is_some() {
            self.jump(join);
        }
        self.ssa.seal(&mut self.body, join);
        self.block = Some(join);
        Ok(())
    }

    /// The value of a guard's predicate, not negated.
    pub(crate) fn guard_value(&mut self, guard: ast::Guard) -> Result<Value, Box<Diagnostic>> {
        let reg = self.code.regs[guard.reg.index()];
        if self.function.var(reg.var).ty != ast::Type::Pred {
            return Err(self.error(format!("the guard `{}` is not a predicate", self.ast.name(reg.name))));
        }
        Ok(self.read_var(self.registers[guard.reg.index()]))
    }

    // What rows use to append instructions.

    /// The block at hand. Rows are only called where there is one.
    fn here(&self) -> Block {
        self.block.unwrap_or(Body::ENTRY)
    }
    /// A cursor at the end of the block at hand.
    pub(crate) fn b(&mut self) -> Builder<'_> {
        let block = self.here();
        let mut b = Builder::new(&mut self.body, block);
        b.span = self.inst.span;
        b
    }
    /// Appends an instruction with one result.
    pub(crate) fn op(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value]) -> Value {
        self.b().op(op, ty, args)
    }
    /// Appends an instruction with an immediate and one result.
    pub(crate) fn op_imm(&mut self, op: impl Into<Attrs>, ty: Type, imm: u64, args: &[Value]) -> Value {
        self.b().op_imm(op, ty, imm, args)
    }
    /// Appends an instruction with two results.
    pub(crate) fn op2(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value]) -> (Value, Value) {
        self.b().op2(op, ty, args)
    }
    /// Appends an instruction with results of the types given.
    pub(crate) fn op_many(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value], results: &[Type]) -> Vec<Value> {
        self.op_many_imm(op, ty, 0, args, results)
    }
    /// Appends an instruction with an immediate and results of the types given.
    pub(crate) fn op_many_imm(
        &mut self,
        op: impl Into<Attrs>,
        ty: Type,
        imm: u64,
        args: &[Value],
        results: &[Type],
    ) -> Vec<Value> {
        let inst = self.b().inst_with(op, ty, imm, args, results);
        self.body.results(inst).to_vec()
    }
    /// Appends an instruction without results.
    pub(crate) fn effect(&mut self, op: impl Into<Attrs>, ty: Type, imm: u64, args: &[Value]) {
        self.b().effect(op, ty, imm, args);
    }
    /// A constant; bits beyond the type are cut.
    pub(crate) fn constant(&mut self, ty: Type, bits: u64) -> Value {
        if ty == Type::I128 {
            let (low, high) = (self.constant(Type::I64, bits), self.constant(Type::I64, 0));
            return self.op_many(Op::Pack, Type::I128, &[low, high], &[Type::I128])[0];
        }
        self.b().constant(ty, bits)
    }
    /// The same bits as another type of the same width.
    pub(crate) fn cast(&mut self, value: Value, ty: Type) -> Value {
        if self.body.ty(value) == ty { value } else { self.op(Op::Bitcast, ty, &[value]) }
    }
    /// Ends the block with a terminator that has its targets.
    pub(crate) fn terminate(&mut self, inst: Inst) {
        let from = self.here();
        self.ssa.add_edges(&self.body, from, inst);
        self.block = None;
        let targets: Vec<Block> = self.body.targets(inst).iter().map(|t| t.block).collect();
        for target in targets {
            self.seal_if_complete(target);
        }
    }
    /// Goes on at a block.
    pub(crate) fn jump(&mut self, block: Block) {
        let inst = self.b().jump(block, &[]);
        self.terminate(inst);
    }
    /// Goes on at one of two blocks.
    pub(crate) fn branch(&mut self, condition: Value, yes: Block, no: Block) {
        let inst = self.b().branch(condition, (yes, &[]), (no, &[]));
        self.terminate(inst);
    }
    /// Goes on at one of many blocks.
    pub(crate) fn switch(&mut self, index: Value, targets: &[Block]) {
        let inst = self.b().effect(Op::Switch, Type::B1, 0, &[index]);
        let targets: Vec<(Block, &[Value])> = targets.iter().map(|b| (*b, [].as_slice())).collect();
        self.body.set_targets(inst, &targets);
        self.terminate(inst);
    }
    /// Ends the block with a terminator that leads nowhere.
    pub(crate) fn stop(&mut self, op: Op, args: &[Value]) {
        let inst = self.b().effect(op, Type::B1, 0, args);
        self.terminate(inst);
    }
    /// A new block, entered here; only for blocks whose single predecessor was just terminated.
    pub(crate) fn continue_in(&mut self, block: Block) {
        self.ssa.seal(&mut self.body, block);
        self.block = Some(block);
    }
    /// An empty block.
    pub(crate) fn new_block(&mut self) -> Block {
        self.body.add_block()
    }
    /// The block of a label.
    pub(crate) fn label_block(&self, label: ast::LabelId) -> Option<Block> {
        self.label_blocks[label.index()]
    }
    /// Returns from the function: a device function with the values of its return parameters.
    pub(crate) fn return_values(&mut self) -> Lifted {
        let mut values = Vec::new();
        for n in 0..self.function.return_count as usize {
            if let Place::Pieces(pieces) = self.places[n].clone() {
                for (piece, var) in pieces {
                    // A return parameter that is a register is that register.
                    let register = self.code.regs.iter().position(|r| r.var.index() == n);
                    let var = register.map_or(var, |r| self.registers[r]);
                    let value = self.read_var(var);
                    values.push(self.cast(value, piece.ty));
                }
            }
        }
        self.stop(Op::Ret, &values);
        Ok(())
    }

    // Variables.

    pub(crate) fn read_var(&mut self, var: Var) -> Value {
        let block = self.here();
        self.ssa.read(&mut self.body, block, var)
    }
    pub(crate) fn write_var(&mut self, var: Var, value: Value) {
        let block = self.here();
        self.ssa.write(block, var, value);
    }
    /// The SSA variable of a register's lane.
    pub(crate) fn register(&self, reg: ast::RegId, lane: u8) -> Var {
        Var(self.registers[reg.index()].0 + u32::from(lane))
    }
    /// Where a variable of the function lives.
    pub(crate) fn place(&self, var: ast::VarId) -> &Place {
        &self.places[var.index()]
    }
    /// The carry flag.
    pub(crate) fn carry(&mut self) -> Value {
        let var = self.carry_var();
        self.read_var(var)
    }
    /// Sets the carry flag.
    pub(crate) fn set_carry(&mut self, value: Value) {
        let var = self.carry_var();
        self.write_var(var, value);
    }
    fn carry_var(&mut self) -> Var {
        *self.carry.get_or_insert_with(|| self.ssa.add_var(Type::B1))
    }
    /// What a module-level name means.
    pub(crate) fn named(&self, symbol: ast::Symbol) -> Option<Named> {
        self.cx.names.get(&symbol).copied()
    }

    // The instruction at hand.

    /// The operands.
    pub(crate) fn operands(&self) -> &[Operand] {
        self.code.args(&self.inst)
    }
    /// The form of the opcode; none outside instructions.
    pub(crate) fn form(&self) -> Option<&'static Pattern> {
        self.pattern.as_ref().map(|(pattern, _)| *pattern)
    }
    /// The word that a part of the opcode stands for.
    pub(crate) fn word(&self, part: &str) -> Option<&'static str> {
        self.pattern.as_ref().and_then(|(p, chosen)| p.word(chosen, part))
    }
    /// Whether the opcode has a modifier.
    pub(crate) fn has(&self, part: &str) -> bool {
        self.word(part).is_some()
    }
    /// The type that a part of the opcode stands for.
    pub(crate) fn part_ty(&self, part: &str) -> Result<Ty, Box<Diagnostic>> {
        let word = self.word(part).unwrap_or(part);
        Ty::from_name(word).ok_or_else(|| self.error(format!("`.{word}` is not a type that values have")))
    }
    /// The instruction's type: the part named `type`, or the last modifier that is a type.
    pub(crate) fn ty(&self) -> Result<Ty, Box<Diagnostic>> {
        if self.has("type") {
            return self.part_ty("type");
        }
        let found = self.pattern.as_ref().and_then(|(p, chosen)| {
            p.parts.iter().rev().find_map(|part| p.word(chosen, part.name).and_then(Ty::from_name))
        });
        found.ok_or_else(|| self.error("the instruction has no type"))
    }
    /// An error at the instruction.
    pub(crate) fn error(&self, message: impl Into<String>) -> Box<Diagnostic> {
        self.error_at(self.inst.span, message)
    }
    /// The error of a form that is known and refused.
    pub(crate) fn unsupported(&self) -> Box<Diagnostic> {
        let reason = self.pattern.as_ref().and_then(|(p, _)| p.form.refusal).unwrap_or_default();
        let opcode = self.ast.name(self.inst.opcode);
        let message = format!("`{opcode}` is not supported: {reason}");
        Box::new(Diagnostic::error("ptx::unsupported", message).at(self.inst.span, ""))
    }
    /// An error somewhere in it.
    pub(crate) fn error_at(&self, span: Span, message: impl Into<String>) -> Box<Diagnostic> {
        let opcode = self.ast.name(self.inst.opcode);
        let label = if opcode.is_empty() { String::new() } else { format!("in `{opcode}`") };
        Box::new(Diagnostic::error("ptx::lift", message).at(span, label))
    }
}
