//! Exchange between threads.

use super::function::Generator;
use super::pure::{attributes, set};
use super::{EXCHANGE, EXCHANGE_BYTES, MAX_BLOCK};
use crate::attr::{Aligned, BarrierOp, Selector, Space, Sparsity};
use crate::build::Attrs;
use crate::diag::Span;
use crate::entity::Value;
use crate::ir::{Body, MAX_ATTRS};
use crate::op::Op;
use crate::tensor::Product;
use crate::types::Type;

impl Generator<'_, '_> {
    /// The lanes that are here.
    pub(super) fn members(&mut self) -> Value {
        if self.full && self.source.one_in(2) { self.constant(Type::I32, u64::MAX) } else { self.mask }
    }

    pub(super) fn ballot(&mut self, predicate: Value) -> Value {
        let mask = self.mask;
        self.one(Op::Ballot, Type::B1, &[predicate, mask], Type::I32)
    }

    /// An op on the lanes that are here.
    pub(super) fn warp_op(&mut self) {
        let members = self.members();
        let ops = [
            Op::Vote,
            Op::Ballot,
            Op::Redux,
            Op::MatchAny,
            Op::MatchAll,
            Op::Elect,
            Op::WarpSync,
            // The lane that is read must be there.
            if self.full { Op::Shuffle } else { Op::Redux },
        ];
        let op = ops[self.source.below(ops.len())];
        let attrs = attributes(self.source, op);
        let (ty, args, results) = match op {
            Op::Vote => (Type::B1, vec![self.value(Type::B1), members], vec![Type::B1]),
            Op::Ballot => (Type::B1, vec![self.value(Type::B1), members], vec![Type::I32]),
            Op::Redux => {
                let ty = if self.source.one_in(3) { Type::F32 } else { Type::I32 };
                (ty, vec![self.value(ty), members], vec![ty])
            }
            Op::MatchAny | Op::MatchAll => {
                let ty = if self.source.one_in(2) { Type::I64 } else { Type::I32 };
                let results = if op == Op::MatchAny { vec![Type::I32] } else { vec![Type::I32, Type::B1] };
                (ty, vec![self.value(ty), members], results)
            }
            Op::Elect => (Type::B1, vec![members], vec![Type::I32, Type::B1]),
            Op::Shuffle => {
                let args = vec![self.value(Type::I32), self.value(Type::I32), self.value(Type::I32), members];
                (Type::B1, args, vec![Type::I32, Type::B1])
            }
            _ => (Type::B1, vec![members], vec![]),
        };
        let types: Vec<Type> = args.iter().map(|a| self.body.ty(*a)).collect();
        if crate::verify::accepts(op, ty, attrs, 0, &types, &results) {
            let results = self.emit(op, ty, attrs, 0, &args, &results);
            self.scope.extend(results);
        }
    }

    /// A product of matrices that the lanes of the warp hold together.
    pub(super) fn product(&mut self) {
        if self.source.one_in(4) {
            let value = self.value(Type::I32);
            let result = self.one(Op::MovMatrix, Type::B1, &[value], Type::I32);
            self.scope.push(result);
            return;
        }
        for _ in 0..40 {
            let mut attrs = attributes(self.source, Op::Mma);
            // Not all bits are metadata.
            set(Op::Mma, &mut attrs, Sparsity::Dense);
            set(Op::Mma, &mut attrs, Selector::First);
            let mut body = Body::default();
            let inst = body.make(Op::Mma, Type::B1, attrs, 0, &[], &[], Span::default());
            let Ok(product) = Product::of(body.inst(inst)) else { continue };
            let args: Vec<Value> = product.operands().into_iter().map(|t| self.value(t)).collect();
            let results = self.emit(Op::Mma, Type::B1, attrs, 0, &args, &product.results());
            self.scope.extend(results);
            return;
        }
    }

    /// A barrier of the whole block.
    pub(super) fn barrier(&mut self) {
        let id = self.source.below(16) as u64;
        let id = self.constant(Type::I32, id);
        let all = self.constant(Type::I32, 0);
        let count = match self.threads {
            Some(threads) if self.source.one_in(3) => threads,
            _ => all,
        };
        let aligned = if self.source.one_in(2) { Aligned::Yes } else { Aligned::No };
        if self.source.one_in(3) {
            let op = BarrierOp::ALL[self.source.below(BarrierOp::ALL.len())];
            let ty = if op == BarrierOp::Popc { Type::I32 } else { Type::B1 };
            let predicate = self.value(Type::B1);
            let attrs = Attrs::of(Op::BarrierRed).with(op).with(aligned);
            let result = self.one(attrs, ty, &[id, count, predicate], ty);
            self.scope.push(result);
        } else {
            self.effect(Attrs::of(Op::Barrier).with(aligned), Type::B1, &[id, count]);
        }
    }

    /// Each thread writes its place of the shared array, then reads one.
    pub(super) fn exchange(&mut self) {
        let ty = self.storable_type();
        let value = self.value(ty);
        let thread = self.thread;
        let own = self.exchange_place(thread);
        self.barrier();
        self.store(Space::Shared, own, 0, &[value]);
        self.barrier();
        let which = self.value(Type::I32);
        let last = self.last_thread;
        let which = self.op(Op::And, Type::I32, &[which, last]);
        let place = self.exchange_place(which);
        let read = self.load(Space::Shared, place, 0, ty, 1);
        self.scope.extend(read);
    }

    /// The address of a thread's place in the shared array; the thread is below [`MAX_BLOCK`].
    pub(super) fn exchange_place(&mut self, thread: Value) -> Value {
        debug_assert!(u64::from(MAX_BLOCK) * EXCHANGE_BYTES <= 1024);
        let base = self.global(EXCHANGE);
        let offset = self.op(Op::Zext, Type::I64, &[thread]);
        let four = self.constant(Type::I32, 4);
        let offset = self.op(Op::Shl, Type::I64, &[offset, four]);
        self.op(Op::IAdd, Type::I64, &[base, offset])
    }

    /// Ops that change nothing that a thread could see here.
    pub(super) fn hint(&mut self) {
        let none = [0; MAX_ATTRS];
        match self.source.below(4) {
            0 => {
                let mask = self.mask;
                self.emit(Op::WarpSync, Type::B1, none, 0, &[mask], &[]);
            }
            1 => {
                let mask = self.source.below(0x1_0000) as u64;
                self.emit(Op::PmEvent, Type::B1, none, mask, &[], &[]);
                self.emit(Op::NoUnroll, Type::B1, none, 0, &[], &[]);
            }
            2 => {
                let attrs = attributes(self.source, Op::Fence);
                if crate::verify::accepts(Op::Fence, Type::B1, attrs, 0, &[], &[]) {
                    self.emit(Op::Fence, Type::B1, attrs, 0, &[], &[]);
                }
            }
            _ => {
                let address = self.input;
                let attrs = Attrs::of(Op::PrefetchOp).with(Space::Global);
                self.effect(attrs, Type::B1, &[address]);
            }
        }
    }
}
