//! A function in the form that is executed: a flat list of instructions over registers.
//!
//! A register is a column of 64 bits for each lane of a warp; an `i128` takes two, the low half first. Values that are
//! the same bits (`bitcast`, `zext`) share a register. Constants are columns of their own, shared by all warps.
//! Block parameters are passed by moves on the edges.

use super::SharedLayout;
use super::allocate::{Home, allocate, resolve};
use super::exec::{Exec, select};
use super::order::layout;
use super::space::function_address;
use crate::attr::{Attr, BarrierOp, Space};
use crate::entity::{Block, FuncId, Inst, Value};
use crate::eval::{Modes, Pure};
use crate::ir::{Body, Function, slot_places};
use crate::op::Op;
use crate::types::{Scalar, Type};
use std::collections::HashMap;

/// A register's 32 lanes.
pub(super) type Column = [u64; 32];

/// A register, or a constant where the top bit is set.
pub(super) type Reg = u32;

/// The bit that marks a constant.
pub(super) const CONSTANT: Reg = 1 << 31;

/// One instruction.
#[derive(Clone, Copy)]
pub(super) struct Ins {
    /// What executes it.
    pub exec: Exec,
    /// First result; of jumps nothing.
    pub d: Reg,
    /// Operands; of jumps and branches also places in the code.
    pub a: u32,
    pub b: u32,
    pub c: u32,
    /// Where its registers stand in `lists`: operands, then results, an `i128` as two.
    pub list: u32,
    /// How many operand registers.
    pub args: u16,
    /// How many result registers.
    pub results: u16,
    /// The immediate.
    pub imm: u64,
    /// The controlling type.
    pub ty: Type,
    /// The op.
    pub op: Op,
    /// State space of an access.
    pub space: Space,
    /// The instruction of the body.
    pub inst: Inst,
}

/// A function.
pub(super) struct Code {
    pub id: FuncId,
    pub ins: Vec<Ins>,
    /// Registers of an activation.
    pub registers: u32,
    pub constants: Vec<Column>,
    pub lists: Vec<Reg>,
    /// Ops without effects that have no instruction of their own, by `Ins::c` or `Ins::imm`.
    pub pures: Vec<Pure>,
    /// What warp ops do, by `Ins::imm`.
    pub modes: Vec<Modes>,
    /// Registers of the parameters.
    pub params: Vec<Reg>,
    /// Bytes of the slots and their offsets and alignment.
    pub frame_bytes: u32,
    pub frame_align: u32,
    pub slots: Vec<u32>,
}

impl Code {
    /// Operand registers of an instruction.
    pub(crate) fn args(&self, i: &Ins) -> &[Reg] {
        let start = i.list as usize;
        &self.lists[start..start + i.args as usize]
    }
    /// Result registers of an instruction.
    pub(crate) fn results(&self, i: &Ins) -> &[Reg] {
        let start = i.list as usize + i.args as usize;
        &self.lists[start..start + i.results as usize]
    }
}

/// Registers that a value of this type takes.
pub(super) const fn width(ty: Type) -> u32 {
    if matches!(ty.scalar, Scalar::I128) { 2 } else { 1 }
}

struct Decoder<'a> {
    globals: &'a [u64],
    shared: &'a SharedLayout,
    body: &'a Body,
    homes: Vec<Home>,
    map: Vec<Reg>,
    /// A register for moves in a circle.
    spare: Option<Reg>,
    constant_index: HashMap<u64, Reg>,
    code: Code,
    starts: Vec<u32>,
    fixups: Vec<(usize, Field, Block)>,
}

#[derive(Clone, Copy)]
enum Field {
    A,
    B,
    C,
    List(usize),
}

/// Decodes a function that has a body, for a kernel with that shared memory.
pub(super) fn decode(globals: &[u64], shared: &SharedLayout, id: FuncId, f: &Function, body: &Body) -> Code {
    let (slots, bytes) = slot_places(&f.slots);
    let align = f.slots.iter().map(|slot| slot.align.max(4)).max().unwrap_or(4);
    let mut d = Decoder {
        globals,
        shared,
        body,
        homes: vec![Home::None; body.values.len()],
        map: Vec::new(),
        spare: None,
        constant_index: HashMap::new(),
        code: Code {
            id,
            ins: Vec::new(),
            registers: 0,
            constants: Vec::new(),
            lists: Vec::new(),
            pures: Vec::new(),
            modes: Vec::new(),
            params: Vec::new(),
            frame_bytes: bytes,
            frame_align: align,
            slots,
        },
        starts: vec![0; body.blocks.len()],
        fixups: Vec::new(),
    };
    let order = layout(body);
    for &block in &order {
        d.settle(block);
    }
    (d.map, d.code.registers) = allocate(body, &order, &d.homes);
    if let Some(entry) = body.blocks.first() {
        d.code.params = entry.params.iter().flat_map(|&p| d.registers_of(p)).collect();
    }
    for &block in &order {
        d.block(block);
    }
    for (at, field, block) in std::mem::take(&mut d.fixups) {
        let pc = d.starts[block.index()];
        match field {
            Field::A => d.code.ins[at].a = pc,
            Field::B => d.code.ins[at].b = pc,
            Field::C => d.code.ins[at].c = pc,
            Field::List(place) => d.code.lists[place] = pc,
        }
    }
    d.code
}

impl Decoder<'_> {
    fn constant(&mut self, bits: u64) -> Reg {
        let constants = &mut self.code.constants;
        *self.constant_index.entry(bits).or_insert_with(|| {
            constants.push([bits; 32]);
            CONSTANT | (constants.len() - 1) as u32
        })
    }
    /// Says where the values of a block are.
    fn settle(&mut self, block: Block) {
        let body = self.body;
        for &p in &body.blocks[block.index()].params {
            self.homes[p.index()] = Home::Own;
        }
        for &inst in &body.blocks[block.index()].insts {
            let data = body.inst(inst);
            let results = body.results(inst);
            let home = match (data.op, results) {
                (Op::Const, [r]) if width(body.ty(*r)) == 1 => Home::Constant(self.constant(data.imm & data.ty.mask())),
                (Op::FuncAddr, [_]) => Home::Constant(self.constant(function_address(data.imm as usize))),
                (Op::GlobalAddr, [_]) if self.shared.offset(data.imm as usize).is_none() => {
                    let address = self.globals.get(data.imm as usize).copied().unwrap_or(0);
                    Home::Constant(self.constant(address))
                }
                (Op::Bitcast | Op::Zext, [r]) if width(body.ty(*r)) == width(body.ty(body.args(inst)[0])) => {
                    Home::Same(body.args(inst)[0])
                }
                _ => Home::Own,
            };
            for &r in results {
                self.homes[r.index()] = home;
            }
        }
    }
    /// A value's register or constant; a constant 0 for what has no definition.
    fn reg(&mut self, v: Value) -> Reg {
        let mut v = v;
        while let Home::Same(other) = self.homes[v.index()] {
            v = other;
        }
        match (self.homes[v.index()], resolve(&self.homes, v)) {
            (Home::Constant(r), _) => r,
            (_, Some(own)) if self.map[own.index()] != Reg::MAX => self.map[own.index()],
            _ => self.constant(0),
        }
    }
    fn registers_of(&mut self, v: Value) -> impl Iterator<Item = Reg> + use<> {
        let r = self.reg(v);
        (0..width(self.body.ty(v))).map(move |half| if r & CONSTANT != 0 { r } else { r + half })
    }

    fn block(&mut self, block: Block) {
        self.starts[block.index()] = self.code.ins.len() as u32;
        let body = self.body;
        for &inst in &body.blocks[block.index()].insts {
            let folded = matches!(body.results(inst), [r] if self.homes[r.index()] != Home::Own);
            if !folded {
                self.instruction(inst);
            }
        }
    }

    fn instruction(&mut self, inst: Inst) {
        let body = self.body;
        let data = body.inst(inst);
        let (args, _) = body.args_and_policy(inst);
        let list = self.code.lists.len() as u32;
        for &a in args {
            let registers = self.registers_of(a);
            self.code.lists.extend(registers);
        }
        let arg_count = self.code.lists.len() as u32 - list;
        for &r in body.results(inst) {
            let registers = self.registers_of(r);
            self.code.lists.extend(registers);
        }
        let result_count = self.code.lists.len() as u32 - list - arg_count;
        let at = |n: u32| {
            if n < arg_count { self.code.lists[(list + n) as usize] } else { 0 }
        };
        let src = args.first().map_or(data.ty, |&a| body.ty(a));
        let pure = Pure::of(data, src);
        let mut i = Ins {
            exec: select(data, pure.as_ref()),
            d: if result_count > 0 { self.code.lists[(list + arg_count) as usize] } else { 0 },
            a: at(0),
            b: at(1),
            c: at(2),
            list,
            args: arg_count as u16,
            results: result_count as u16,
            imm: data.imm,
            ty: data.ty,
            op: data.op,
            space: data.attr(),
            inst,
        };
        if let (Exec::Word | Exec::Many, Some(pure)) = (i.exec, pure) {
            i.imm = self.code.pures.len() as u64;
            self.code.pures.push(pure);
        }
        if let Some(modes) = Modes::of(data) {
            i.imm = self.code.modes.len() as u64;
            self.code.modes.push(modes);
        }
        match data.op {
            Op::GlobalAddr => i.imm = self.shared.offset(data.imm as usize).unwrap_or(0),
            Op::StopBarrier => i.imm = BarrierOp::Or.byte().into(),
            Op::BarrierRed => i.imm = data.attr::<BarrierOp>().byte().into(),
            Op::SlotAddr => i.imm = self.code.slots.get(data.imm as usize).copied().unwrap_or(0).into(),
            Op::Br | Op::BrIf | Op::Switch => return self.branch(inst, i),
            _ => {}
        }
        self.code.ins.push(i);
    }

    /// A branch, and the moves that its edges need behind it.
    fn branch(&mut self, inst: Inst, mut i: Ins) {
        let targets = self.body.targets(inst);
        match i.op {
            Op::Br => {
                if let [target] = targets {
                    self.moves(inst, i, 0);
                    i.exec = Exec::Jump;
                    self.fixups.push((self.code.ins.len(), Field::A, target.block));
                    self.code.ins.push(i);
                }
            }
            Op::BrIf => {
                let at = self.code.ins.len();
                self.code.ins.push(i);
                for (n, target) in targets.iter().enumerate().take(2) {
                    let field = if n == 0 { Field::B } else { Field::C };
                    let here = self.code.ins.len() as u32;
                    if self.edge(inst, i, n) {
                        let place = if n == 0 { &mut self.code.ins[at].b } else { &mut self.code.ins[at].c };
                        *place = here;
                    } else {
                        self.fixups.push((at, field, target.block));
                    }
                }
            }
            _ => {
                i.list = self.code.lists.len() as u32;
                i.imm = targets.len() as u64;
                self.code.lists.resize(self.code.lists.len() + targets.len(), 0);
                self.code.ins.push(i);
                for (n, target) in targets.iter().enumerate() {
                    let here = self.code.ins.len() as u32;
                    let place = i.list as usize + n;
                    if self.edge(inst, i, n) {
                        self.code.lists[place] = here;
                    } else {
                        self.fixups.push((0, Field::List(place), target.block));
                    }
                }
            }
        }
    }

    /// An edge's moves and a jump; false where it needs none.
    fn edge(&mut self, inst: Inst, i: Ins, n: usize) -> bool {
        if !self.moves(inst, i, n) {
            return false;
        }
        self.fixups.push((self.code.ins.len(), Field::A, self.body.targets(inst)[n].block));
        self.code.ins.push(Ins { exec: Exec::EdgeJump, ..i });
        true
    }

    /// Moves for the values that an edge hands over, as if all happened at once.
    fn moves(&mut self, inst: Inst, i: Ins, n: usize) -> bool {
        let body = self.body;
        let target = body.targets(inst)[n];
        let params = &body.blocks[target.block.index()].params;
        let mut pending: Vec<(Reg, Reg)> = Vec::new();
        for (&p, &a) in params.iter().zip(body.target_args(target)) {
            let (to, from) = (self.registers_of(p), self.registers_of(a));
            pending.extend(to.zip(from).filter(|(to, from)| to != from));
        }
        let any = !pending.is_empty();
        let mut readers: HashMap<Reg, u32> = HashMap::new();
        for (_, from) in &pending {
            *readers.entry(*from).or_default() += 1;
        }
        let emit = |code: &mut Code, to: Reg, from: Reg| {
            code.ins.push(Ins { exec: Exec::Move, d: to, a: from, ..i });
        };
        let mut ready: Vec<usize> = (0..pending.len()).filter(|&m| !readers.contains_key(&pending[m].0)).collect();
        let by_target: HashMap<Reg, usize> = pending.iter().enumerate().map(|(m, p)| (p.0, m)).collect();
        let mut done = vec![false; pending.len()];
        let mut rest = 0;
        loop {
            while let Some(m) = ready.pop() {
                let (to, from) = pending[m];
                emit(&mut self.code, to, from);
                done[m] = true;
                let left = readers.get_mut(&from).map_or(0, |c| {
                    *c -= 1;
                    *c
                });
                if let Some(&freed) = by_target.get(&from).filter(|&&f| left == 0 && !done[f]) {
                    ready.push(freed);
                }
            }
            // What is left are cycles: one register is saved, and its readers read the copy.
            while rest < pending.len() && done[rest] {
                rest += 1;
            }
            if rest == pending.len() {
                return any;
            }
            let (to, _) = pending[rest];
            let copy = *self.spare.get_or_insert_with(|| {
                self.code.registers += 1;
                self.code.registers - 1
            });
            emit(&mut self.code, copy, to);
            for (m, p) in pending.iter_mut().enumerate() {
                if !done[m] && p.1 == to {
                    p.1 = copy;
                }
            }
            let moved = readers.remove(&to).unwrap_or(0);
            readers.insert(copy, moved);
            ready.push(rest);
        }
    }
}
