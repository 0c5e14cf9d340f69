//! Pure ops and values, drawn by the table's signatures.

use super::Source;
use super::function::Generator;
use crate::attr::{Attr, Sreg};
use crate::build::Attrs;
use crate::entity::Value;
use crate::eval::is_pure;
use crate::ir::MAX_ATTRS;
use crate::op::{Class, Imm, Op, Pattern};
use crate::types::{Scalar, Type};
use crate::verify;

/// How often something that the rules forbid is drawn again.
const TRIES: usize = 12;

pub(super) fn any_type(source: &mut Source<'_>) -> Type {
    // The types that most ops work on come more often.
    if source.one_in(2) {
        Type::ALL[source.below(Type::ALL.len())]
    } else {
        [Type::I32, Type::I64, Type::F32, Type::B1][source.below(4)]
    }
}

fn type_of(source: &mut Source<'_>, class: Class) -> Type {
    for _ in 0..TRIES {
        let t = any_type(source);
        if class.holds(t) {
            return t;
        }
    }
    let fitting: Vec<Type> = Type::ALL.iter().copied().filter(|t| class.holds(*t)).collect();
    source.pick(&fitting).unwrap_or(Type::I32)
}

/// Bits of a type, often at an edge: few, a power of two, or special floats.
pub(super) fn edge_bits(source: &mut Source<'_>, ty: Type) -> u64 {
    const FLOATS: [u64; 12] = [
        0x3f80_0000,
        0x7f80_0000,
        0x7fc0_0000,
        0x0000_0001,
        0x007f_ffff,
        0x3c00_3c00,
        0x7c00_fc00,
        0x7e01_0001,
        0x3ff0_0000_0000_0000,
        0x7ff0_0000_0000_0000,
        0x000f_ffff_ffff_ffff,
        0xff80_3f80,
    ];
    let bits = match source.below(7) {
        0 => source.below(70) as u64,
        6 => [0, 1, u64::MAX][source.below(3)],
        1 => (source.below(70) as u64).wrapping_neg(),
        2 => 1 << source.below(64),
        3 => (1u64 << source.below(64)).wrapping_sub(1),
        4 => FLOATS[source.below(FLOATS.len())],
        _ => source.bits(),
    };
    bits & ty.mask()
}

/// Attributes of an op, drawn by its row.
pub(super) fn attributes(source: &mut Source<'_>, op: Op) -> [u8; MAX_ATTRS] {
    let mut bytes = [0; MAX_ATTRS];
    for (byte, kind) in bytes.iter_mut().zip(op.info().attrs) {
        let count = kind.spellings().len();
        // What has a silent default is mostly left out.
        let silent = kind.spellings()[0].is_empty();
        *byte = if silent && !source.one_in(3) { 0 } else { source.below(count) as u8 };
    }
    bytes
}

/// Places an attribute among those drawn.
pub(super) fn set<A: Attr>(op: Op, bytes: &mut [u8; MAX_ATTRS], attr: A) {
    if let Some(place) = op.info().attrs.iter().position(|k| *k == A::KIND) {
        bytes[place] = attr.byte();
    }
}

impl Generator<'_, '_> {
    /// A value of a type: one that is there, something made of another one, or a constant.
    pub(super) fn value(&mut self, ty: Type) -> Value {
        if self.source.one_in(6) {
            return self.any_constant(ty);
        }
        let start = self.source.below(self.scope.len());
        let (behind, before) = self.scope.split_at(start);
        let found = before.iter().chain(behind).find(|v| self.body.ty(**v) == ty).copied();
        found.unwrap_or_else(|| self.made_of_another(ty))
    }

    fn any_constant(&mut self, ty: Type) -> Value {
        if ty.scalar == Scalar::I128 {
            let halves = [edge_bits(self.source, Type::I64), edge_bits(self.source, Type::I64)];
            let halves = halves.map(|bits| self.constant(Type::I64, bits));
            return self.op(Op::Pack, ty, &halves);
        }
        let bits = edge_bits(self.source, ty);
        self.constant(ty, bits)
    }

    fn made_of_another(&mut self, ty: Type) -> Value {
        let whole = ty.as_int();
        match ty {
            Type::B1 => {
                let (a, b) = (self.value(Type::I32), self.value(Type::I32));
                let attrs = attributes(self.source, Op::ICmp);
                self.emit(Op::ICmp, Type::I32, attrs, 0, &[a, b], &[ty])[0]
            }
            Type::I128 => {
                let halves = [self.value(Type::I64), self.value(Type::I64)];
                self.op(Op::Pack, ty, &halves)
            }
            Type::I64 => {
                let halves = [self.value(Type::I32), self.value(Type::I32)];
                self.op(Op::Pack, ty, &halves)
            }
            Type::I8 | Type::I16 => {
                let word = self.value(Type::I32);
                self.op(Op::Trunc, ty, &[word])
            }
            // In device functions there may be nothing yet.
            Type::I32 => self.op(Attrs::of(Op::Sreg).with(Sreg::LaneId), ty, &[]),
            _ => {
                let bits = self.value(whole);
                self.op(Op::Bitcast, ty, &[bits])
            }
        }
    }

    /// A pure op on values that are there.
    pub(super) fn pure(&mut self) {
        for _ in 0..TRIES {
            let op = Op::ALL[self.source.below(Op::ALL.len())];
            let approximate = matches!(op, Op::FApprox | Op::FDivApprox);
            if is_pure(op) && (!approximate || self.config.approximate) && self.try_pure(op) {
                return;
            }
        }
    }

    fn try_pure(&mut self, op: Op) -> bool {
        let info = op.info();
        let uses = |p: &[Pattern]| info.args.iter().chain(&info.results).any(|q| p.contains(q));
        for _ in 0..TRIES {
            let t = if info.is_typed() { type_of(self.source, info.t) } else { Type::B1 };
            let u = if uses(&[Pattern::U, Pattern::ManyU]) { type_of(self.source, info.u) } else { t };
            let types = |patterns: &[Pattern]| -> Option<Vec<Type>> {
                let mut out = Vec::new();
                for p in patterns {
                    match p {
                        Pattern::T => out.push(t),
                        Pattern::U => out.push(u),
                        Pattern::Wide => out.push(t.widened()?),
                        Pattern::Is(t) => out.push(*t),
                        // As many parts as make up the whole.
                        Pattern::ManyT => out.extend(vec![t; (u.bits() / t.bits()) as usize]),
                        Pattern::ManyU => out.extend(vec![u; (t.bits() / u.bits()) as usize]),
                        Pattern::Rest => return None,
                    }
                }
                Some(out)
            };
            let (Some(args), Some(results)) = (types(&info.args), types(&info.results)) else { continue };
            let attrs = attributes(self.source, op);
            let imm = match info.imm {
                Imm::Int if op == Op::Const => edge_bits(self.source, t),
                Imm::Int => self.source.below(256) as u64,
                _ => 0,
            };
            if !verify::accepts(op, t, attrs, imm, &args, &results) {
                continue;
            }
            let args: Vec<Value> = args.into_iter().map(|t| self.value(t)).collect();
            let results = self.emit(op, t, attrs, imm, &args, &results);
            self.scope.extend(results);
            return true;
        }
        false
    }
}
