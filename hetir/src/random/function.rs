//! Functions: statements and control flow.

use super::pure::any_type;
use super::{COUNTER_BYTES, Config, OUTPUT_STRIDE, PRIVATE_BYTES, RESULT_BYTES, SHARED_COUNTERS, Source};
use crate::attr::{IntCmp, Sign, Space, Sreg};
use crate::build::Attrs;
use crate::diag::Span;
use crate::entity::{Block, Value};
use crate::ir::{Body, Function, MAX_ATTRS, Module};
use crate::op::Op;
use crate::types::Type;

/// Deepest nesting of control flow.
const DEPTH: usize = 3;

/// A function that grows at the end of a block.
pub(super) struct Generator<'a, 's> {
    pub(super) source: &'a mut Source<'s>,
    pub(super) config: &'a Config,
    module: &'a mut Module,
    pub(super) body: Body,
    block: Block,
    /// Values that may be used here.
    pub(super) scope: Vec<Value>,
    /// The lanes of the warp that are here, all of which come by.
    pub(super) mask: Value,
    /// All lanes of each warp are here.
    pub(super) full: bool,
    /// All threads of the block that have not ended are here.
    uniform: bool,
    /// Threads a block; `None` where some may have ended, and in device functions.
    pub(super) threads: Option<Value>,
    pub(super) thread: Value,
    pub(super) last_thread: Value,
    pub(super) input: Value,
    pub(super) own: Value,
    pub(super) slot: Option<Value>,
    kernel: bool,
    results: Vec<Type>,
    depth: usize,
    left: usize,
}

/// Fills a function's body and adds it to the module.
pub(super) fn generate(source: &mut Source<'_>, config: &Config, module: &mut Module, mut function: Function) {
    let mut body = Body::default();
    let entry = body.add_block();
    let params: Vec<Value> = function.signature.params.iter().map(|t| body.add_param(entry, *t)).collect();
    let kernel = function.is_kernel();
    let unset = Value::new(0);
    let first = |n: usize| params.get(n).copied().unwrap_or(unset);
    let mut g = Generator {
        source,
        config,
        module,
        body,
        block: entry,
        mask: first(0),
        input: first(1),
        own: first(2),
        scope: params,
        full: kernel,
        uniform: kernel,
        threads: None,
        thread: unset,
        last_thread: unset,
        slot: None,
        kernel,
        results: function.signature.results.clone(),
        depth: 0,
        left: config.statements,
    };
    if kernel {
        g.prologue();
    }
    if g.source.one_in(2) {
        g.make_slot(&mut function.slots);
    }
    g.statements();
    if kernel {
        g.epilogue()
    } else {
        g.ret()
    }
    function.body = Some(g.body);
    module.functions.push(function);
}

impl Generator<'_, '_> {
    pub(super) fn emit(
        &mut self,
        op: Op,
        ty: Type,
        attrs: [u8; MAX_ATTRS],
        imm: u64,
        args: &[Value],
        results: &[Type],
    ) -> Vec<Value> {
        let ty = if op.info().is_typed() { ty } else { Type::B1 };
        let inst = self.body.make(op, ty, attrs, imm, args, results, Span::default());
        self.body.append(self.block, inst);
        self.body.results(inst).to_vec()
    }
    pub(super) fn one(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value], result: Type) -> Value {
        let attrs = op.into();
        self.emit(attrs.op(), ty, attrs.bytes(), 0, args, &[result])[0]
    }
    pub(super) fn op(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value]) -> Value {
        self.one(op, ty, args, ty)
    }
    pub(super) fn effect(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value]) {
        let attrs = op.into();
        self.emit(attrs.op(), ty, attrs.bytes(), 0, args, &[]);
    }
    pub(super) fn constant(&mut self, ty: Type, bits: u64) -> Value {
        self.emit(Op::Const, ty, [0; MAX_ATTRS], bits & ty.mask(), &[], &[ty])[0]
    }
    fn sreg(&mut self, sreg: Sreg) -> Value {
        self.op(Attrs::of(Op::Sreg).with(sreg), Type::I32, &[])
    }
    fn compare(&mut self, how: IntCmp, a: Value, b: Value) -> Value {
        self.one(Attrs::of(Op::ICmp).with(how).with(Sign::U), Type::I32, &[a, b], Type::B1)
    }

    fn jump(&mut self, op: Op, args: &[Value], targets: &[(Block, &[Value])]) {
        let inst = self.body.make(op, Type::B1, [0; MAX_ATTRS], 0, args, &[], Span::default());
        self.body.set_targets(inst, targets);
        self.body.append(self.block, inst);
    }
    fn br(&mut self, to: Block, args: &[Value]) {
        self.jump(Op::Br, &[], &[(to, args)]);
    }
    fn ret(&mut self) {
        let types = self.results.clone();
        let values: Vec<Value> = types.into_iter().map(|t| self.value(t)).collect();
        self.jump(Op::Ret, &values, &[]);
    }

    /// What a kernel knows of its threads, and memory that is read before it is written otherwise.
    fn prologue(&mut self) {
        self.mask = self.constant(Type::I32, u64::MAX);
        let zero = self.constant(Type::I64, 0);
        let param = |g: &mut Self, at: u64| {
            let attrs = Attrs::of(Op::Load).with(Space::Param).bytes();
            g.emit(Op::Load, Type::I64, attrs, at, &[zero], &[Type::I64])[0]
        };
        self.input = param(self, 0);
        let output = param(self, 8);
        self.thread = self.sreg(Sreg::TidX);
        let threads = self.sreg(Sreg::NtidX);
        self.threads = Some(threads);
        let block = self.sreg(Sreg::CtaidX);
        // Blocks have a power of two threads.
        let one = self.constant(Type::I32, 1);
        self.last_thread = self.op(Op::ISub, Type::I32, &[threads, one]);
        let before = self.op(Op::IMul, Type::I32, &[block, threads]);
        let global = self.op(Op::IAdd, Type::I32, &[before, self.thread]);
        let stride = self.constant(Type::I32, OUTPUT_STRIDE);
        let offset = self.one(Attrs::of(Op::IMulWide).with(Sign::U), Type::I32, &[global, stride], Type::I64);
        self.own = self.op(Op::IAdd, Type::I64, &[output, offset]);
        self.scope.extend([self.thread, threads, block, global]);
        let place = self.input_of(global);
        for ty in [Type::I32, Type::I64, Type::F32, Type::F64] {
            let attrs = Attrs::of(Op::Load).with(Space::Global).bytes();
            let values = self.emit(Op::Load, ty, attrs, 0, &[place], &vec![ty; 16 / ty.bytes() as usize]);
            self.scope.extend(values);
        }

        // Each of the first 32 threads clears words at a distance of 128 bytes.
        let counters = self.global(SHARED_COUNTERS);
        let four = self.constant(Type::I32, 4);
        let place = self.one(Attrs::of(Op::IMulWide).with(Sign::U), Type::I32, &[self.thread, four], Type::I64);
        let place = self.op(Op::IAdd, Type::I64, &[counters, place]);
        let thirty_two = self.constant(Type::I32, 32);
        let first = self.compare(IntCmp::Lt, self.thread, thirty_two);
        let (clear, join) = (self.body.add_block(), self.body.add_block());
        self.jump(Op::BrIf, &[first], &[(clear, &[]), (join, &[])]);
        self.block = clear;
        for at in (0..COUNTER_BYTES).step_by(128) {
            let attrs = Attrs::of(Op::Store).with(Space::Shared).bytes();
            let zero = self.constant(Type::I32, 0);
            self.emit(Op::Store, Type::I32, attrs, at, &[place, zero], &[]);
        }
        self.br(join, &[]);
        self.block = join;
        let own = self.exchange_place(self.thread);
        let nothing = self.constant(Type::I64, 0);
        let attrs = Attrs::of(Op::Store).with(Space::Shared).bytes();
        self.emit(Op::Store, Type::I64, attrs, 0, &[own, nothing, nothing], &[]);
        self.barrier();
    }

    /// Writes results, so that everything that was computed may be seen.
    fn epilogue(&mut self) {
        self.barrier();
        let counters = self.global(SHARED_COUNTERS);
        let attrs = Attrs::of(Op::Load).with(Space::Shared).bytes();
        let at = self.source.below(COUNTER_BYTES as usize / 8) as u64 * 8;
        let mut results = self.emit(Op::Load, Type::I64, attrs, at, &[counters], &[Type::I64]);
        while results.len() < RESULT_BYTES as usize / 16 {
            let start = self.source.below(self.scope.len());
            results.extend(self.scope.get(start));
        }
        for (n, value) in results.into_iter().enumerate() {
            let ty = self.body.ty(value);
            let value = match ty {
                Type::B1 => self.op(Op::Zext, Type::I32, &[value]),
                t if t.lanes > 1 => self.op(Op::Bitcast, t.as_int(), &[value]),
                _ => value,
            };
            let attrs = Attrs::of(Op::Store).with(Space::Global).bytes();
            let ty = self.body.ty(value);
            self.emit(Op::Store, ty, attrs, PRIVATE_BYTES + n as u64 * 16, &[self.own, value], &[]);
        }
        self.jump(Op::Ret, &[], &[]);
    }

    fn statements(&mut self) {
        let count = match self.depth {
            0 => self.left,
            _ => 1 + self.source.below(6),
        };
        for _ in 0..count {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            self.statement();
        }
    }

    fn statement(&mut self) {
        match self.source.below(24) {
            0..=7 => self.pure(),
            8 | 9 => self.read_input(),
            10 | 11 => self.own_memory(),
            12 => self.own_atomic(),
            13 => self.counter(),
            14 | 15 => self.warp_op(),
            16 if self.uniform => self.exchange(),
            16 => self.warp_op(),
            17 if self.source.one_in(2) => self.hint(),
            18 if self.full => self.product(),
            17 | 18 => self.special_register(),
            19 => self.call(),
            20 if self.depth < DEPTH => self.branch(),
            21 if self.depth < DEPTH => self.switch(),
            22 if self.depth < DEPTH => self.repeat(),
            23 if self.depth == 0 => self.leave_early(),
            _ => self.pure(),
        }
    }

    fn special_register(&mut self) {
        const KNOWN: [Sreg; 18] = [
            Sreg::TidX,
            Sreg::TidY,
            Sreg::TidZ,
            Sreg::NtidX,
            Sreg::NtidY,
            Sreg::NtidZ,
            Sreg::CtaidX,
            Sreg::CtaidY,
            Sreg::CtaidZ,
            Sreg::NctaidX,
            Sreg::NctaidY,
            Sreg::NctaidZ,
            Sreg::LaneId,
            Sreg::LaneMaskEq,
            Sreg::LaneMaskLe,
            Sreg::LaneMaskLt,
            Sreg::LaneMaskGe,
            Sreg::LaneMaskGt,
        ];
        let which = KNOWN[self.source.below(KNOWN.len())];
        let value = self.sreg(which);
        self.scope.push(value);
    }

    /// Calls a function that is there already, directly or by its address.
    fn call(&mut self) {
        let n = self.source.below(self.module.functions.len());
        let Some(signature) = self.module.functions.get(n).map(|f| f.signature.clone()) else {
            return self.pure();
        };
        let indirect = self.source.one_in(3);
        let mut args = vec![self.members(), self.input, self.own];
        args.extend(signature.params[3..].iter().map(|t| self.value(*t)).collect::<Vec<_>>());
        let none = [0; MAX_ATTRS];
        let results = if indirect {
            let address = self.emit(Op::FuncAddr, Type::B1, none, n as u64, &[], &[Type::I64]);
            args.insert(0, address[0]);
            let results = signature.results.clone();
            let sig = self.module.signature(signature);
            self.emit(Op::CallIndirect, Type::B1, none, sig.index() as u64, &args, &results)
        } else {
            self.emit(Op::Call, Type::B1, none, n as u64, &args, &signature.results)
        };
        self.scope.extend(results);
    }

    /// Types of values that are handed to the block behind a branch or loop.
    fn carried(&mut self) -> Vec<Type> {
        let count = self.source.below(4);
        (0..count).map(|_| any_type(self.source)).collect()
    }
    fn params(&mut self, block: Block, types: &[Type]) -> Vec<Value> {
        types.iter().map(|t| self.body.add_param(block, *t)).collect()
    }
    fn values(&mut self, types: &[Type]) -> Vec<Value> {
        types.iter().map(|t| self.value(*t)).collect()
    }

    /// Statements in a block of their own, which goes on at another with values of these types.
    fn arm(&mut self, block: Block, mask: Option<Value>, join: Block, types: &[Type]) {
        let outside = (self.mask, self.full, self.uniform, self.threads, self.scope.len());
        self.block = block;
        if let Some(mask) = mask {
            (self.mask, self.full, self.uniform) = (mask, false, false);
        }
        self.depth += 1;
        self.statements();
        self.depth -= 1;
        let values = self.values(types);
        self.br(join, &values);
        (self.mask, self.full, self.uniform, self.threads) = (outside.0, outside.1, outside.2, outside.3);
        self.scope.truncate(outside.4);
    }

    /// A branch on a value that all threads of the block agree on, or on any.
    fn branch(&mut self) {
        let together = self.source.one_in(3);
        let condition = if together {
            let block = self.sreg(Sreg::CtaidX);
            let other = self.source.below(3) as u64;
            let other = self.constant(Type::I32, other);
            self.compare(IntCmp::Lt, block, other)
        } else {
            self.value(Type::B1)
        };
        let masks = (!together).then(|| {
            let yes = self.ballot(condition);
            let no = self.op(Op::Xor, Type::I32, &[self.mask, yes]);
            [yes, no]
        });
        let types = self.carried();
        let (yes, join) = (self.body.add_block(), self.body.add_block());
        let results = self.params(join, &types);
        if self.source.one_in(3) {
            // Without a second arm.
            let values = self.values(&types);
            self.jump(Op::BrIf, &[condition], &[(yes, &[]), (join, &values)]);
            self.arm(yes, masks.map(|m| m[0]), join, &types);
        } else {
            let no = self.body.add_block();
            self.jump(Op::BrIf, &[condition], &[(yes, &[]), (no, &[])]);
            self.arm(yes, masks.map(|m| m[0]), join, &types);
            self.arm(no, masks.map(|m| m[1]), join, &types);
        }
        self.block = join;
        self.scope.extend(results);
    }

    fn switch(&mut self) {
        let index = self.value(Type::I32);
        let three = self.constant(Type::I32, 3);
        let index = self.op(Op::And, Type::I32, &[index, three]);
        let types = self.carried();
        let count = 1 + self.source.below(4);
        let join = self.body.add_block();
        let mut arms = Vec::new();
        for n in 0..count {
            // The last target is for everything beyond the list, too.
            let how = if n + 1 == count { IntCmp::Ge } else { IntCmp::Eq };
            let number = self.constant(Type::I32, n as u64);
            let here = self.compare(how, index, number);
            let mask = self.ballot(here);
            arms.push((self.body.add_block(), mask));
        }
        let targets: Vec<(Block, &[Value])> = arms.iter().map(|(b, _)| (*b, &[][..])).collect();
        self.jump(Op::Switch, &[index], &targets);
        for (block, mask) in arms {
            self.arm(block, Some(mask), join, &types);
        }
        let results = self.params(join, &types);
        self.block = join;
        self.scope.extend(results);
    }

    /// A loop of as many iterations for all threads, or of a few that each thread chooses, and perhaps a way out of it and
    /// another one back to its beginning.
    fn repeat(&mut self) {
        if self.source.one_in(4) {
            return self.repeat_until();
        }
        let together = self.source.one_in(2);
        let count = if together {
            let count = self.source.below(4) as u64;
            self.constant(Type::I32, count)
        } else {
            let count = self.value(Type::I32);
            let three = self.constant(Type::I32, 3);
            self.op(Op::And, Type::I32, &[count, three])
        };
        let types = self.carried();
        let outside = (self.mask, self.full, self.uniform, self.threads, self.scope.len());
        let (header, inside, exit) = (self.body.add_block(), self.body.add_block(), self.body.add_block());
        let zero = self.constant(Type::I32, 0);
        let mut initial = vec![zero, self.mask];
        initial.extend(self.values(&types));
        self.br(header, &initial);

        let counter = self.body.add_param(header, Type::I32);
        let members = self.body.add_param(header, Type::I32);
        let carried = self.params(header, &types);
        let results = self.params(exit, &types);
        self.block = header;
        self.scope.push(counter);
        self.scope.extend(&carried);
        let more = self.compare(IntCmp::Lt, counter, count);
        if !together {
            self.mask = members;
            self.mask = self.ballot(more);
            (self.full, self.uniform) = (false, false);
        }
        self.jump(Op::BrIf, &[more], &[(inside, &[]), (exit, &carried)]);

        self.block = inside;
        self.depth += 1;
        self.statements();
        if !together && self.source.one_in(2) {
            let leave = self.value(Type::B1);
            let leaving = self.ballot(leave);
            self.mask = self.op(Op::Xor, Type::I32, &[self.mask, leaving]);
            let next = self.body.add_block();
            let values = self.values(&types);
            self.jump(Op::BrIf, &[leave], &[(exit, &values), (next, &[])]);
            self.block = next;
            self.statements();
        }
        let inside = (self.mask, self.full, self.uniform, self.threads);
        if self.source.one_in(3) {
            // Some go back to the header at once; nobody leaves behind this.
            let skip = self.value(Type::B1);
            let skipping = self.ballot(skip);
            let one = self.constant(Type::I32, 1);
            let mut values = vec![self.op(Op::IAdd, Type::I32, &[counter, one]), self.mask];
            values.extend(self.values(&types));
            self.mask = self.op(Op::Xor, Type::I32, &[self.mask, skipping]);
            (self.full, self.uniform) = (false, false);
            let next = self.body.add_block();
            self.jump(Op::BrIf, &[skip], &[(header, &values), (next, &[])]);
            self.block = next;
            self.statements();
        }
        (self.mask, self.full, self.uniform, self.threads) = inside;
        self.depth -= 1;
        let one = self.constant(Type::I32, 1);
        let mut values = vec![self.op(Op::IAdd, Type::I32, &[counter, one]), self.mask];
        values.extend(self.values(&types));
        self.br(header, &values);

        (self.mask, self.full, self.uniform, self.threads) = (outside.0, outside.1, outside.2, outside.3);
        self.scope.truncate(outside.4);
        self.block = exit;
        self.scope.extend(results);
    }

    /// A loop that is left at its end, and that some begin anew before they come there, up to three times.
    fn repeat_until(&mut self) {
        let types = self.carried();
        let outside = (self.mask, self.full, self.uniform, self.threads, self.scope.len());
        let (header, last, exit) = (self.body.add_block(), self.body.add_block(), self.body.add_block());
        let zero = self.constant(Type::I32, 0);
        let mut initial = vec![zero, self.mask];
        initial.extend(self.values(&types));
        self.br(header, &initial);

        let counter = self.body.add_param(header, Type::I32);
        let members = self.body.add_param(header, Type::I32);
        let carried = self.params(header, &types);
        let results = self.params(exit, &types);
        self.block = header;
        self.scope.push(counter);
        self.scope.extend(&carried);
        (self.mask, self.full, self.uniform) = (members, false, false);
        self.depth += 1;
        self.statements();
        let three = self.constant(Type::I32, 3);
        let early = self.compare(IntCmp::Lt, counter, three);
        let skip = self.value(Type::B1);
        let skip = self.op(Op::And, Type::B1, &[skip, early]);
        let done = if self.source.one_in(2) { self.value(Type::B1) } else { self.op(Op::Not, Type::B1, &[early]) };
        let late = self.op(Op::Not, Type::B1, &[early]);
        let done = self.op(Op::Or, Type::B1, &[done, late]);
        let comes = self.op(Op::Not, Type::B1, &[skip]);
        let leaves = self.op(Op::And, Type::B1, &[comes, done]);
        let (leaving, skipping) = (self.ballot(leaves), self.ballot(skip));
        let staying = self.op(Op::Xor, Type::I32, &[self.mask, leaving]);
        let one = self.constant(Type::I32, 1);
        let next = self.op(Op::IAdd, Type::I32, &[counter, one]);
        let mut values = vec![next, staying];
        values.extend(self.values(&types));
        self.mask = self.op(Op::Xor, Type::I32, &[self.mask, skipping]);
        self.jump(Op::BrIf, &[skip], &[(header, &values), (last, &[])]);

        self.block = last;
        self.statements();
        let left = self.values(&types);
        let mut values = vec![next, staying];
        values.extend(self.values(&types));
        self.jump(Op::BrIf, &[done], &[(exit, &left), (header, &values)]);
        self.depth -= 1;
        (self.mask, self.full, self.uniform, self.threads) = (outside.0, outside.1, outside.2, outside.3);
        self.scope.truncate(outside.4);
        self.block = exit;
        self.scope.extend(results);
    }

    /// Some threads return.
    fn leave_early(&mut self) {
        if self.kernel {
            // What a thread did before it ended is ordered by the barriers that it came by.
            self.barrier();
        }
        let condition = self.value(Type::B1);
        let leaving = self.ballot(condition);
        let staying = self.op(Op::Xor, Type::I32, &[self.mask, leaving]);
        let (out, on) = (self.body.add_block(), self.body.add_block());
        self.jump(Op::BrIf, &[condition], &[(out, &[]), (on, &[])]);
        self.block = out;
        if self.kernel && self.source.one_in(2) {
            self.jump(Op::Exit, &[], &[]);
        } else {
            self.ret();
        }
        self.block = on;
        (self.mask, self.full, self.threads) = (staying, false, None);
    }
}
