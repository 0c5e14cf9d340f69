//! Loads, stores and atomics that reach only what is there.

use super::function::Generator;
use super::pure::{any_type, attributes, set};
use super::{COUNTERS, INPUT_BYTES, INPUT_SLACK, PRIVATE_BYTES, SHARED_COUNTERS, TABLE, TABLE_BYTES};
use crate::attr::{AtomOp, Attr, AttrKind, Order, Path, Policy, Scope, Space};
use crate::build::Attrs;
use crate::entity::{GlobalId, Value};
use crate::ir::{MAX_ATTRS, SlotData, attr_bytes};
use crate::op::Op;
use crate::types::Type;
use crate::verify;

impl Generator<'_, '_> {
    pub(super) fn global(&mut self, id: GlobalId) -> Value {
        self.emit(Op::GlobalAddr, Type::B1, [0; MAX_ATTRS], id.index() as u64, &[], &[Type::I64])[0]
    }

    /// A type that memory holds.
    pub(super) fn storable_type(&mut self) -> Type {
        let t = any_type(self.source);
        if t == Type::B1 {
            Type::I32
        } else if t.lanes > 1 {
            t.as_int()
        } else {
            t
        }
    }

    /// Attributes of an access: a space, and hints and an order as drawn.
    fn access_attrs(&mut self, op: Op, space: Space) -> [u8; MAX_ATTRS] {
        let mut attrs = attributes(self.source, op);
        set(op, &mut attrs, space);
        set(op, &mut attrs, Policy::No);
        if !self.source.one_in(4) {
            set(op, &mut attrs, Order::Weak);
            set(op, &mut attrs, Scope::None);
        }
        // Both paths promise what only some addresses keep.
        set(op, &mut attrs, Path::Default);
        attrs
    }

    fn plain(op: Op, space: Space) -> [u8; MAX_ATTRS] {
        attr_bytes(op, &[(AttrKind::Space, space.byte())])
    }

    pub(super) fn load(&mut self, space: Space, address: Value, offset: u64, ty: Type, count: usize) -> Vec<Value> {
        let results = vec![ty; count];
        let mut attrs = self.access_attrs(Op::Load, space);
        if !verify::accepts(Op::Load, ty, attrs, offset, &[Type::I64], &results) {
            attrs = Self::plain(Op::Load, space);
        }
        self.emit(Op::Load, ty, attrs, offset, &[address], &results)
    }

    pub(super) fn store(&mut self, space: Space, address: Value, offset: u64, values: &[Value]) {
        let ty = self.body.ty(values[0]);
        let mut types = vec![Type::I64];
        types.extend(vec![ty; values.len()]);
        let mut attrs = self.access_attrs(Op::Store, space);
        if !verify::accepts(Op::Store, ty, attrs, offset, &types, &[]) {
            attrs = Self::plain(Op::Store, space);
        }
        let mut args = vec![address];
        args.extend(values);
        self.emit(Op::Store, ty, attrs, offset, &args, &[]);
    }

    /// A type and how many values of it one access of at most `most` bytes moves.
    fn shape(&mut self, most: u32) -> (Type, usize) {
        loop {
            let ty = self.storable_type();
            let count = 1usize << self.source.below(4);
            let bytes = ty.bytes() * count as u32;
            if bytes <= most.min(32) {
                return (ty, count);
            }
            if ty.bytes() <= most {
                return (ty, 1);
            }
        }
    }

    /// An address in a region of a power of two bytes, for an access of `bytes` bytes.
    fn address_in(&mut self, base: Value, region: u64, bytes: u64) -> Value {
        let offset = self.value(Type::I32);
        let mask = self.constant(Type::I32, (region - 1) & !(bytes - 1));
        let offset = self.op(Op::And, Type::I32, &[offset, mask]);
        let offset = self.op(Op::Zext, Type::I64, &[offset]);
        self.op(Op::IAdd, Type::I64, &[base, offset])
    }

    /// Sometimes the generic address of the same place.
    fn maybe_generic(&mut self, space: Space, address: Value) -> (Space, Value) {
        if !self.source.one_in(3) {
            return (space, address);
        }
        let generic = self.op(Attrs::of(Op::ToGeneric).with(space), Type::I64, &[address]);
        match self.source.below(3) {
            0 => {
                let back = self.op(Attrs::of(Op::FromGeneric).with(space), Type::I64, &[generic]);
                (space, back)
            }
            1 => {
                let inside = self.one(Attrs::of(Op::IsSpace).with(space), Type::B1, &[generic], Type::B1);
                self.scope.push(inside);
                (Space::Generic, generic)
            }
            _ => (Space::Generic, generic),
        }
    }

    /// The address of sixteen bytes of the input, by the thread's number.
    pub(super) fn input_of(&mut self, number: Value) -> Value {
        let sixteen = self.constant(Type::I32, 16);
        let offset = self.op(Op::IMul, Type::I32, &[number, sixteen]);
        let mask = self.constant(Type::I32, (INPUT_BYTES - 1) & !15);
        let offset = self.op(Op::And, Type::I32, &[offset, mask]);
        let offset = self.op(Op::Zext, Type::I64, &[offset]);
        self.op(Op::IAdd, Type::I64, &[self.input, offset])
    }

    /// Reads the input or the constant table.
    pub(super) fn read_input(&mut self) {
        let (ty, count) = self.shape(32);
        let bytes = u64::from(ty.bytes()) * count as u64;
        let (space, address, offset) = if self.source.one_in(4) {
            let base = self.global(TABLE);
            (Space::Const, self.address_in(base, TABLE_BYTES, bytes), 0)
        } else {
            let base = self.input;
            let address = self.address_in(base, INPUT_BYTES, bytes);
            let offset = self.source.below((INPUT_SLACK / bytes) as usize + 1) as u64 * bytes;
            (Space::Global, address, offset)
        };
        let (space, address) = self.maybe_generic(space, address);
        let values = self.load(space, address, offset, ty, count);
        self.scope.extend(values);
    }

    /// Writes and reads memory that belongs to the thread alone.
    pub(super) fn own_memory(&mut self) {
        let (base, space, region) = match self.source.below(3) {
            0 => (self.own, Space::Global, PRIVATE_BYTES),
            1 => match self.slot {
                Some(slot) => (slot, Space::Local, 64),
                None => (self.own, Space::Global, PRIVATE_BYTES),
            },
            _ => {
                let size = 32u64 << self.source.below(2);
                let size_value = self.constant(Type::I64, size);
                let base = self.emit(Op::Alloca, Type::B1, [0; MAX_ATTRS], 32, &[size_value], &[Type::I64])[0];
                let zero = self.constant(Type::I64, 0);
                for at in (0..size).step_by(8) {
                    self.store(Space::Local, base, at, &[zero]);
                }
                (base, Space::Local, size)
            }
        };
        for _ in 0..1 + self.source.below(2) {
            let (ty, count) = self.shape(32);
            let bytes = u64::from(ty.bytes()) * count as u64;
            let address = self.address_in(base, region, bytes);
            let (space, address) = self.maybe_generic(space, address);
            if self.source.one_in(2) {
                let values = self.load(space, address, 0, ty, count);
                self.scope.extend(values);
            } else {
                let values: Vec<Value> = (0..count).map(|_| self.value(ty)).collect();
                self.store(space, address, 0, &values);
            }
        }
    }

    /// An atomic on memory of the thread's own, where the old value is known.
    pub(super) fn own_atomic(&mut self) {
        let base = self.own;
        let cas = self.source.one_in(3);
        let op = if cas { Op::Cas } else { Op::Atom };
        for _ in 0..8 {
            let ty = any_type(self.source);
            let attrs = {
                let mut attrs = attributes(self.source, op);
                set(op, &mut attrs, Space::Global);
                set(op, &mut attrs, Policy::No);
                set(op, &mut attrs, Order::Relaxed);
                set(op, &mut attrs, Scope::Gpu);
                attrs
            };
            let count = if cas { 2 } else { 1 };
            let mut types = vec![Type::I64];
            types.extend(vec![ty; count]);
            if verify::accepts(op, ty, attrs, 0, &types, &[ty]) {
                let mut args = vec![self.address_in(base, PRIVATE_BYTES, ty.bytes().into())];
                args.extend((0..count).map(|_| self.value(ty)).collect::<Vec<_>>());
                let old = self.emit(op, ty, attrs, 0, &args, &[ty])[0];
                self.scope.push(old);
                return;
            }
        }
    }

    /// An atomic on a counter that threads share; only ops that commute meet on one counter, and nobody looks at the
    /// old value.
    pub(super) fn counter(&mut self) {
        const OPS: [AtomOp; 8] =
            [AtomOp::Add, AtomOp::And, AtomOp::Or, AtomOp::Xor, AtomOp::SMin, AtomOp::SMax, AtomOp::UMin, AtomOp::UMax];
        let n = self.source.below(OPS.len());
        let wide = self.source.below(2);
        let ty = if wide == 1 { Type::I64 } else { Type::I32 };
        let (id, space, scope) = if self.source.one_in(2) {
            (SHARED_COUNTERS, Space::Shared, Scope::Cta)
        } else {
            (COUNTERS, Space::Global, Scope::Gpu)
        };
        let base = self.global(id);
        let value = self.value(ty);
        let attrs = Attrs::of(Op::Atom).with(OPS[n]).with(space).with(Order::Relaxed).with(scope);
        self.emit(Op::Atom, ty, attrs.bytes(), (n * 2 + wide) as u64 * 8, &[base, value], &[ty]);
    }

    /// Adds a slot of 64 bytes and fills it.
    pub(super) fn make_slot(&mut self, slots: &mut Vec<SlotData>) {
        slots.push(SlotData { size: 64, align: 32 });
        let n = slots.len() as u64 - 1;
        let base = self.emit(Op::SlotAddr, Type::B1, [0; MAX_ATTRS], n, &[], &[Type::I64])[0];
        for at in (0..64).step_by(8) {
            let value = self.value(Type::I64);
            self.store(Space::Local, base, at, &[value]);
        }
        self.slot = Some(base);
    }
}
