//! Appends instructions to a block, working out the results' types.

use crate::attr::Attr;
use crate::diag::Span;
use crate::entity::{Block, Inst, Value};
use crate::ir::{Body, MAX_ATTRS, attr_bytes};
use crate::op::{Op, Pattern};
use crate::types::Type;

/// A cursor at the end of a block.
#[derive(Debug)]
pub struct Builder<'a> {
    /// The body that grows.
    pub body: &'a mut Body,
    /// The block that instructions are appended to.
    pub block: Block,
    /// The origin given to new instructions.
    pub span: Span,
}

/// Attribute bytes of an op, built up one attribute at a time: `Attrs::of(Op::FAdd).with(Round::Rz)`.
#[derive(Clone, Copy, Debug)]
pub struct Attrs {
    op: Op,
    bytes: [u8; MAX_ATTRS],
}

impl Attrs {
    /// No attribute but the defaults.
    pub fn of(op: Op) -> Self {
        Self { op, bytes: [0; MAX_ATTRS] }
    }
    /// Sets an attribute that the op has.
    #[must_use]
    pub fn with<A: Attr>(mut self, attr: A) -> Self {
        let set = attr_bytes(self.op, &[(A::KIND, attr.byte())]);
        for (mine, new) in self.bytes.iter_mut().zip(set) {
            *mine |= new;
        }
        self
    }
    /// The op.
    pub fn op(&self) -> Op {
        self.op
    }
    /// The bytes.
    pub fn bytes(&self) -> [u8; MAX_ATTRS] {
        self.bytes
    }
}

impl From<Op> for Attrs {
    fn from(op: Op) -> Self {
        Self::of(op)
    }
}

/// The result types of an op whose results follow from `T`, as a list of at most two.
pub fn result_types(op: Op, ty: Type) -> impl Iterator<Item = Type> {
    op.info().results.iter().map(move |p| match p {
        Pattern::Wide => ty.widened().unwrap_or(ty),
        Pattern::Is(t) => *t,
        _ => ty,
    })
}

impl<'a> Builder<'a> {
    /// A cursor at the end of a block.
    pub fn new(body: &'a mut Body, block: Block) -> Self {
        Self { body, block, span: Span::default() }
    }
    /// Appends an instruction whose result types follow from the controlling type.
    pub fn inst(&mut self, op: impl Into<Attrs>, ty: Type, imm: u64, args: &[Value]) -> Inst {
        let attrs = op.into();
        let mut types = [Type::B1; 2];
        let mut count = 0;
        for t in result_types(attrs.op, ty) {
            types[count] = t;
            count += 1;
        }
        self.inst_with(attrs, ty, imm, args, &types[..count])
    }
    /// Appends an instruction with results of the types given.
    pub fn inst_with(&mut self, op: impl Into<Attrs>, ty: Type, imm: u64, args: &[Value], results: &[Type]) -> Inst {
        let attrs = op.into();
        // An op without a controlling type records none.
        let ty = if attrs.op.info().is_typed() { ty } else { Type::B1 };
        let inst = self.body.make(attrs.op, ty, attrs.bytes, imm, args, results, self.span);
        self.body.append(self.block, inst);
        inst
    }
    /// Appends an instruction with one result.
    pub fn op(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value]) -> Value {
        let inst = self.inst(op, ty, 0, args);
        self.body.results(inst)[0]
    }
    /// Appends an instruction with an immediate and one result.
    pub fn op_imm(&mut self, op: impl Into<Attrs>, ty: Type, imm: u64, args: &[Value]) -> Value {
        let inst = self.inst(op, ty, imm, args);
        self.body.results(inst)[0]
    }
    /// Appends an instruction with two results.
    pub fn op2(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value]) -> (Value, Value) {
        let inst = self.inst(op, ty, 0, args);
        let results = self.body.results(inst);
        (results[0], results[1])
    }
    /// Appends an instruction without results.
    pub fn effect(&mut self, op: impl Into<Attrs>, ty: Type, imm: u64, args: &[Value]) -> Inst {
        self.inst_with(op, ty, imm, args, &[])
    }
    /// A constant; bits beyond the type are cut.
    pub fn constant(&mut self, ty: Type, bits: u64) -> Value {
        self.op_imm(Op::Const, ty, bits & ty.mask(), &[])
    }
    /// Goes on at a block.
    pub fn jump(&mut self, block: Block, args: &[Value]) -> Inst {
        let inst = self.effect(Op::Br, Type::B1, 0, &[]);
        self.body.set_targets(inst, &[(block, args)]);
        inst
    }
    /// Goes on at one of two blocks.
    pub fn branch(&mut self, condition: Value, yes: (Block, &[Value]), no: (Block, &[Value])) -> Inst {
        let inst = self.effect(Op::BrIf, Type::B1, 0, &[condition]);
        self.body.set_targets(inst, &[yes, no]);
        inst
    }
}
