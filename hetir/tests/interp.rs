//! What launches do, on small functions built by hand.

use hetir::attr::{
    Aligned, AtomOp, BarrierOp, IntCmp, Order, Round, Scope, ShuffleMode, Sign, Space, Sreg, Syscall, VoteMode,
};
use hetir::build::{Attrs, Builder};
use hetir::entity::{Block, FuncId, Value};
use hetir::interp::{Arena, Checks, Fault, FaultKind, Heap, Launch, Options, Report, place_globals, run, space};
use hetir::ir::{
    Body, Function, FunctionKind, Global, KernelParam, LaunchBounds, Linkage, Module, Relocation, RelocationTarget,
    Signature, SlotData,
};
use hetir::op::Op;
use hetir::types::Type;

const I32: Type = Type::I32;
const I64: Type = Type::I64;
const F32: Type = Type::F32;

/// A kernel with 8-byte parameters.
fn kernel(name: &str, params: u32, build: impl FnOnce(&mut K<'_>)) -> Function {
    let params = (0..params)
        .map(|n| KernelParam { name: format!("p{n}"), offset: n * 8, size: 8, align: 8, opaque: None })
        .collect();
    let mut f = Function::new(name, FunctionKind::Kernel { params, bounds: LaunchBounds::default() });
    let mut body = Body::default();
    let entry = body.add_block();
    build(&mut K { b: Builder::new(&mut body, entry) });
    f.body = Some(body);
    f
}

/// A device function.
fn device(name: &str, params: &[Type], results: &[Type], build: impl FnOnce(&mut K<'_>, &[Value])) -> Function {
    let mut f = Function::new(name, FunctionKind::Device);
    f.signature = Signature { params: params.to_vec(), results: results.to_vec() };
    let mut body = Body::default();
    let entry = body.add_block();
    let values: Vec<Value> = params.iter().map(|&t| body.add_param(entry, t)).collect();
    build(&mut K { b: Builder::new(&mut body, entry) }, &values);
    f.body = Some(body);
    f
}

/// Shorthands for the builder.
struct K<'a> {
    b: Builder<'a>,
}

impl K<'_> {
    fn c32(&mut self, v: u32) -> Value {
        self.b.constant(I32, v.into())
    }
    fn c64(&mut self, v: u64) -> Value {
        self.b.constant(I64, v)
    }
    fn op(&mut self, op: impl Into<Attrs>, ty: Type, args: &[Value]) -> Value {
        self.b.op(op, ty, args)
    }
    fn add(&mut self, a: Value, b: Value) -> Value {
        let ty = self.b.body.ty(a);
        self.op(Op::IAdd, ty, &[a, b])
    }
    fn sreg(&mut self, s: Sreg) -> Value {
        self.op(Attrs::of(Op::Sreg).with(s), I32, &[])
    }
    fn tid(&mut self) -> Value {
        self.sreg(Sreg::TidX)
    }
    /// The index of the thread in a grid of one dimension.
    fn global_id(&mut self) -> Value {
        let (t, b, n) = (self.tid(), self.sreg(Sreg::CtaidX), self.sreg(Sreg::NtidX));
        let base = self.op(Op::IMul, I32, &[b, n]);
        self.add(base, t)
    }
    fn cmp(&mut self, cmp: IntCmp, a: Value, b: Value) -> Value {
        let ty = self.b.body.ty(a);
        let attrs = Attrs::of(Op::ICmp).with(cmp).with(Sign::U);
        self.b.inst_with(attrs, ty, 0, &[a, b], &[Type::B1]);
        let last = *self.b.body.blocks[self.b.block.index()].insts.last().unwrap();
        self.b.body.results(last)[0]
    }
    fn load(&mut self, space: Space, ty: Type, address: Value, offset: i64) -> Value {
        let attrs = Attrs::of(Op::Load).with(space);
        let inst = self.b.inst_with(attrs, ty, offset as u64, &[address], &[ty]);
        self.b.body.results(inst)[0]
    }
    fn store(&mut self, space: Space, address: Value, value: Value) {
        let ty = self.b.body.ty(value);
        self.b.effect(Attrs::of(Op::Store).with(space), ty, 0, &[address, value]);
    }
    fn param(&mut self, n: u64) -> Value {
        let at = self.c64(n * 8);
        self.load(Space::Param, I64, at, 0)
    }
    /// The address of element `index` (an i32) of `size` bytes.
    fn element(&mut self, base: Value, index: Value, size: u64) -> Value {
        let wide = self.b.inst_with(Op::Zext, I64, 0, &[index], &[I64]);
        let wide = self.b.body.results(wide)[0];
        let size = self.c64(size);
        let offset = self.op(Op::IMul, I64, &[wide, size]);
        self.add(base, offset)
    }
    fn block(&mut self) -> Block {
        self.b.body.add_block()
    }
    fn at(&mut self, block: Block) {
        self.b.block = block;
    }
    fn br(&mut self, to: Block, args: &[Value]) {
        self.b.jump(to, args);
    }
    fn brif(&mut self, c: Value, yes: (Block, &[Value]), no: (Block, &[Value])) {
        self.b.branch(c, yes, no);
    }
    fn ret(&mut self, values: &[Value]) {
        self.b.effect(Op::Ret, Type::B1, 0, values);
    }
    fn barrier(&mut self) {
        let zero = self.c32(0);
        self.b.effect(Attrs::of(Op::Barrier).with(Aligned::Yes), Type::B1, 0, &[zero, zero]);
    }
    fn global(&mut self, id: usize) -> Value {
        self.b.op_imm(Op::GlobalAddr, Type::B1, id as u64, &[])
    }
    fn call(&mut self, f: usize, args: &[Value], results: &[Type]) -> Vec<Value> {
        let inst = self.b.inst_with(Op::Call, Type::B1, f as u64, args, results);
        self.b.body.results(inst).to_vec()
    }
    fn shuffle(&mut self, mode: ShuffleMode, value: Value, selector: u32) -> Value {
        let (s, c, m) = (self.c32(selector), self.c32(31), self.c32(u32::MAX));
        let inst =
            self.b.inst_with(Attrs::of(Op::Shuffle).with(mode), Type::B1, 0, &[value, s, c, m], &[I32, Type::B1]);
        self.b.body.results(inst)[0]
    }
    fn atom(&mut self, op: AtomOp, space: Space, address: Value, value: Value) -> Value {
        let ty = self.b.body.ty(value);
        let attrs = Attrs::of(Op::Atom).with(op).with(space).with(Order::Relaxed).with(Scope::Gpu);
        self.op(attrs, ty, &[address, value])
    }
}

fn shared(name: &str, size: u64) -> Global {
    Global {
        name: name.into(),
        space: Space::Shared,
        size,
        align: 16,
        linkage: Linkage::Local,
        managed: false,
        init: Vec::new(),
        relocations: Vec::new(),
        opaque: None,
        fields: Vec::new(),
        span: Default::default(),
    }
}

fn module(functions: Vec<Function>) -> Module {
    Module { functions, ..Module::default() }
}

/// A run of function 0 with one buffer of u32 as the first parameter and numbers behind it.
struct Run {
    grid: u32,
    block: u32,
    buffer: Vec<u32>,
    more: Vec<u64>,
    seed: u64,
    checks: Checks,
    max_steps: Option<u64>,
    cooperative: bool,
    dynamic_shared: u32,
    printed: Vec<u8>,
}

impl Run {
    fn new(grid: u32, block: u32, buffer: Vec<u32>) -> Self {
        Self {
            grid,
            block,
            buffer,
            more: Vec::new(),
            seed: 0,
            checks: Checks::default(),
            max_steps: Some(50_000_000),
            cooperative: false,
            dynamic_shared: 0,
            printed: Vec::new(),
        }
    }
    fn go(&mut self, module: &Module) -> Result<Report, Box<Fault>> {
        if let Err(errors) = hetir::verify::verify(module) {
            panic!("{errors:?}");
        }
        let mut arena = Arena::new();
        let bytes = self.buffer.iter().flat_map(|v| v.to_le_bytes()).collect();
        let base = arena.alloc("buffer", bytes);
        let mut next = 0x20_0000_0000u64;
        let mut placed = Vec::new();
        for g in &module.globals {
            if g.space != Space::Shared {
                assert!(arena.map(next, g.name.clone(), vec![0; g.size as usize]));
                placed.push(next);
                next += 0x10000;
            }
        }
        let mut iter = placed.into_iter();
        let globals = place_globals(module, |_| iter.next().unwrap(), &mut arena).unwrap();
        let heap_base = arena.alloc("heap", vec![0; 4096]);
        let mut heap = Heap::new(heap_base, 4096);
        let mut params = base.to_le_bytes().to_vec();
        params.extend(self.more.iter().flat_map(|v| v.to_le_bytes()));
        let launch = Launch {
            grid: [self.grid, 1, 1],
            block: [self.block, 1, 1],
            params: &params,
            globals: &globals,
            cooperative: self.cooperative,
            dynamic_shared: self.dynamic_shared,
            ..Launch::new(module, FuncId::new(0))
        };
        let mut printed = Vec::new();
        let mut sink = |text: &[u8]| printed.extend_from_slice(text);
        let mut options = Options {
            seed: self.seed,
            checks: self.checks,
            max_steps: self.max_steps,
            heap: Some(&mut heap),
            print: Some(&mut sink),
            ..Options::default()
        };
        let result = run(&launch, &mut arena, &mut options);
        self.printed = printed;
        let bytes = &arena.region(base).unwrap().data;
        self.buffer = bytes.chunks_exact(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect();
        result
    }
}

fn fails(module: &Module, run: &mut Run, kind: FaultKind) -> Box<Fault> {
    let fault = run.go(module).expect_err("the launch must fail");
    assert_eq!(fault.kind, kind, "{fault}");
    fault
}

#[test]
fn saxpy_over_several_blocks_with_a_guard() {
    let m = module(vec![kernel("saxpy", 2, |k| {
        let (data, n) = (k.param(0), k.param(1));
        let i = k.global_id();
        let n = k.b.inst_with(Op::Trunc, I32, 0, &[n], &[I32]);
        let n = k.b.body.results(n)[0];
        let (work, end) = (k.block(), k.block());
        let inside = k.cmp(IntCmp::Lt, i, n);
        k.brif(inside, (work, &[]), (end, &[]));
        k.at(work);
        let at = k.element(data, i, 4);
        let x = k.load(Space::Global, F32, at, 0);
        let two = k.b.constant(F32, 2f32.to_bits().into());
        let one = k.b.constant(F32, 1f32.to_bits().into());
        let y = k.op(Attrs::of(Op::FFma).with(Round::Rn), F32, &[x, two, one]);
        k.store(Space::Global, at, y);
        k.br(end, &[]);
        k.at(end);
        k.ret(&[]);
    })]);
    let input: Vec<u32> = (0..200).map(|i| (i as f32).to_bits()).collect();
    let mut r = Run::new(3, 70, input);
    r.more = vec![200];
    r.go(&m).unwrap();
    for (i, v) in r.buffer.iter().enumerate() {
        assert_eq!(f32::from_bits(*v), 2.0 * i as f32 + 1.0);
    }
}

/// sum over i < tid of (i odd ? 3i : i + 1), with an inner loop that adds one at a time.
fn nested() -> Module {
    module(vec![kernel("nested", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let zero = k.c32(0);
        let (head, body, odd, even, inner, next, end) =
            (k.block(), k.block(), k.block(), k.block(), k.block(), k.block(), k.block());
        k.br(head, &[zero, zero]);
        let (i, sum) = (k.b.body.add_param(head, I32), k.b.body.add_param(head, I32));
        k.at(head);
        let more = k.cmp(IntCmp::Lt, i, t);
        k.brif(more, (body, &[]), (end, &[sum]));
        k.at(body);
        let one = k.c32(1);
        let low = k.op(Op::And, I32, &[i, one]);
        let is_odd = k.cmp(IntCmp::Ne, low, zero);
        k.brif(is_odd, (odd, &[]), (even, &[]));
        k.at(odd);
        let three = k.c32(3);
        let times = k.op(Op::IMul, I32, &[i, three]);
        k.br(inner, &[times, sum]);
        k.at(even);
        let plus = k.add(i, one);
        k.br(inner, &[plus, sum]);
        let (left, total) = (k.b.body.add_param(inner, I32), k.b.body.add_param(inner, I32));
        k.at(inner);
        let less = k.op(Op::ISub, I32, &[left, one]);
        let grown = k.add(total, one);
        let again = k.cmp(IntCmp::Ne, less, zero);
        k.brif(again, (inner, &[less, grown]), (next, &[]));
        k.at(next);
        let following = k.add(i, one);
        k.br(head, &[following, grown]);
        let result = k.b.body.add_param(end, I32);
        k.at(end);
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, result);
        k.ret(&[]);
    })])
}

#[test]
fn nested_divergent_loops() {
    let m = nested();
    for seed in 0..4 {
        let mut r = Run::new(1, 64, vec![0; 64]);
        r.seed = seed;
        r.go(&m).unwrap();
        for (t, v) in r.buffer.iter().enumerate() {
            let expected: usize = (0..t).map(|i| if i % 2 == 1 { 3 * i } else { i + 1 }).sum();
            assert_eq!(*v as usize, expected, "thread {t}");
        }
    }
}

#[test]
fn loop_parameters_swap_at_once() {
    let m = module(vec![kernel("fibonacci", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let (zero, one) = (k.c32(0), k.c32(1));
        let (head, end) = (k.block(), k.block());
        k.br(head, &[zero, one, zero]);
        let (a, b, n) = (k.b.body.add_param(head, I32), k.b.body.add_param(head, I32), k.b.body.add_param(head, I32));
        k.at(head);
        let next = k.add(n, one);
        let more = k.cmp(IntCmp::Lt, n, t);
        // (a, b) = (b, a): after t swaps a is t % 2.
        k.brif(more, (head, &[b, a, next]), (end, &[]));
        k.at(end);
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, a);
        k.ret(&[]);
    })]);
    let mut r = Run::new(1, 32, vec![9; 32]);
    r.go(&m).unwrap();
    for (t, v) in r.buffer.iter().enumerate() {
        assert_eq!(*v as usize, t % 2);
    }
}

/// Every lane takes a lock in turn, adds to a counter without atomics, and gives the lock back.
#[test]
fn a_spin_lock_between_the_lanes_of_a_warp_ends() {
    let m = module(vec![kernel("lock", 1, |k| {
        let data = k.param(0);
        let (zero, one) = (k.c32(0), k.c32(1));
        let four = k.c64(4);
        let counter = k.add(data, four);
        let (spin, held, end) = (k.block(), k.block(), k.block());
        k.br(spin, &[]);
        k.at(spin);
        let old =
            k.op(Attrs::of(Op::Cas).with(Space::Global).with(Order::Relaxed).with(Scope::Gpu), I32, &[data, zero, one]);
        let got = k.cmp(IntCmp::Eq, old, zero);
        k.brif(got, (held, &[]), (spin, &[]));
        k.at(held);
        let v = k.load(Space::Global, I32, counter, 0);
        let v = k.add(v, one);
        k.store(Space::Global, counter, v);
        k.atom(AtomOp::Exch, Space::Global, data, zero);
        k.br(end, &[]);
        k.at(end);
        k.ret(&[]);
    })]);
    for seed in 0..3 {
        let mut r = Run::new(2, 96, vec![0, 0]);
        r.seed = seed;
        r.go(&m).unwrap();
        assert_eq!(r.buffer, [0, 192]);
    }
}

#[test]
fn a_butterfly_of_shuffles_sums_a_warp() {
    let m = module(vec![kernel("sum", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let mut sum = k.add(t, t);
        for distance in [16, 8, 4, 2, 1] {
            let other = k.shuffle(ShuffleMode::Bfly, sum, distance);
            sum = k.add(sum, other);
        }
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, sum);
        k.ret(&[]);
    })]);
    let mut r = Run::new(1, 64, vec![0; 64]);
    r.go(&m).unwrap();
    let low: u32 = (0..32).map(|i| 2 * i).sum();
    let high: u32 = (32..64).map(|i| 2 * i).sum();
    assert_eq!(r.buffer, [[low; 32], [high; 32]].concat());
}

/// Lanes come to the same vote over different paths; some have ended before.
#[test]
fn a_warp_op_gathers_lanes_from_several_paths() {
    let m = module(vec![kernel("gather", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let (eight, sixteen) = (k.c32(8), k.c32(16));
        let (stay, gone, low, high, join) = (k.block(), k.block(), k.block(), k.block(), k.block());
        let ends = k.cmp(IntCmp::Lt, t, eight);
        k.brif(ends, (gone, &[]), (stay, &[]));
        k.at(gone);
        k.b.effect(Op::Exit, Type::B1, 0, &[]);
        k.at(stay);
        let first = k.cmp(IntCmp::Lt, t, sixteen);
        k.brif(first, (low, &[]), (high, &[]));
        let ballot = |k: &mut K<'_>, predicate: Value| {
            let members = k.c32(u32::MAX);
            let inst = k.b.inst_with(Op::Ballot, Type::B1, 0, &[predicate, members], &[I32]);
            k.b.body.results(inst)[0]
        };
        k.at(low);
        let yes = k.b.constant(Type::B1, 1);
        let a = ballot(k, yes);
        k.br(join, &[a]);
        k.at(high);
        let no = k.b.constant(Type::B1, 0);
        let b = ballot(k, no);
        k.br(join, &[b]);
        let votes = k.b.body.add_param(join, I32);
        k.at(join);
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, votes);
        k.ret(&[]);
    })]);
    let mut r = Run::new(1, 32, vec![7; 32]);
    r.go(&m).unwrap();
    assert_eq!(r.buffer, [vec![7; 8], vec![0xff00; 24]].concat());
}

#[test]
fn votes_without_all_lanes_name_the_lanes_that_miss() {
    let m = module(vec![kernel("deadlock", 1, |k| {
        let t = k.tid();
        let sixteen = k.c32(16);
        let (low, high) = (k.block(), k.block());
        let first = k.cmp(IntCmp::Lt, t, sixteen);
        k.brif(first, (low, &[]), (high, &[]));
        k.at(low);
        let all_low = k.c32(u32::MAX);
        k.b.effect(Op::WarpSync, Type::B1, 0, &[all_low]);
        k.ret(&[]);
        k.at(high);
        let yes = k.b.constant(Type::B1, 1);
        let members = k.c32(u32::MAX);
        k.b.inst_with(Attrs::of(Op::Vote).with(VoteMode::All), Type::B1, 0, &[yes, members], &[Type::B1]);
        k.ret(&[]);
    })]);
    let fault = fails(&m, &mut Run::new(1, 32, vec![0]), FaultKind::Deadlock);
    assert_eq!(fault.related.len(), 2);
    assert!(fault.related[0].1.contains("16 threads of warp 0"), "{fault:?}");
    assert!(fault.related.iter().any(|r| r.1.contains("`vote` for the lanes 0xffffffff")), "{fault:?}");
}

#[test]
fn a_lane_outside_its_own_mask_is_refused() {
    let m = module(vec![kernel("mask", 1, |k| {
        let mask = k.c32(0xffff_fffb);
        k.b.effect(Op::WarpSync, Type::B1, 0, &[mask]);
        k.ret(&[]);
    })]);
    let fault = fails(&m, &mut Run::new(1, 32, vec![0]), FaultKind::BadMask);
    assert_eq!(fault.place.unwrap().thread, [2, 0, 0]);
}

/// A tree sum in shared memory.
fn reduction(with_barriers: bool) -> Module {
    let mut m = module(vec![kernel("reduce", 1, |k| {
        let data = k.param(0);
        let tile = k.global(0);
        let (t, gid) = (k.tid(), k.global_id());
        let from = k.element(data, gid, 4);
        let v = k.load(Space::Global, I32, from, 0);
        let mine = k.element(tile, t, 4);
        k.store(Space::Shared, mine, v);
        if with_barriers {
            k.barrier();
        }
        let half = k.c32(64);
        let (head, add, joined, end, write, done) = (k.block(), k.block(), k.block(), k.block(), k.block(), k.block());
        k.br(head, &[half]);
        let step = k.b.body.add_param(head, I32);
        k.at(head);
        let zero = k.c32(0);
        let more = k.cmp(IntCmp::Ne, step, zero);
        k.brif(more, (add, &[]), (end, &[]));
        k.at(add);
        let active = k.cmp(IntCmp::Lt, t, step);
        let work = k.block();
        k.brif(active, (work, &[]), (joined, &[]));
        k.at(work);
        let partner = k.add(t, step);
        let other = k.element(tile, partner, 4);
        let (a, b) = (k.load(Space::Shared, I32, mine, 0), k.load(Space::Shared, I32, other, 0));
        let sum = k.add(a, b);
        k.store(Space::Shared, mine, sum);
        k.br(joined, &[]);
        k.at(joined);
        if with_barriers {
            k.barrier();
        }
        let one = k.c32(1);
        let next = k.op(Attrs::of(Op::Shr).with(Sign::U), I32, &[step, one]);
        k.br(head, &[next]);
        k.at(end);
        let leader = k.cmp(IntCmp::Eq, t, zero);
        k.brif(leader, (write, &[]), (done, &[]));
        k.at(write);
        let b = k.sreg(Sreg::CtaidX);
        let to = k.element(data, b, 4);
        let total = k.load(Space::Shared, I32, tile, 0);
        k.store(Space::Global, to, total);
        k.br(done, &[]);
        k.at(done);
        k.ret(&[]);
    })]);
    m.globals.push(shared("tile", 512));
    m
}

#[test]
fn a_barrier_reduction_sums_blocks() {
    for seed in 0..4 {
        let mut r = Run::new(1, 128, (0..128).collect());
        r.seed = seed;
        r.go(&reduction(true)).unwrap();
        assert_eq!(r.buffer[0], 127 * 128 / 2);
    }
}

/// fact(n) by recursion, each thread another depth.
fn recursion() -> Module {
    let main = kernel("main", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let f = k.call(1, &[t], &[I32])[0];
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, f);
        k.ret(&[]);
    });
    let fact = device("fact", &[I32], &[I32], |k, p| {
        let (more, end) = (k.block(), k.block());
        let one = k.c32(1);
        let deep = k.cmp(IntCmp::Gt, p[0], one);
        k.brif(deep, (more, &[]), (end, &[]));
        k.at(more);
        let less = k.op(Op::ISub, I32, &[p[0], one]);
        let f = k.call(1, &[less], &[I32])[0];
        let r = k.op(Op::IMul, I32, &[f, p[0]]);
        k.ret(&[r]);
        k.at(end);
        k.ret(&[one]);
    });
    module(vec![main, fact])
}

#[test]
fn recursion_returns_to_the_right_lanes() {
    let mut r = Run::new(1, 32, vec![0; 32]);
    r.go(&recursion()).unwrap();
    for (t, v) in r.buffer.iter().enumerate() {
        assert_eq!(*v, (1..=t as u32).fold(1u32, |p, n| p.wrapping_mul(n)), "{t}");
    }
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let mut m = recursion();
    m.functions[1] = device("fact", &[I32], &[I32], |k, p| {
        let f = k.call(1, &[p[0]], &[I32])[0];
        k.ret(&[f]);
    });
    fails(&m, &mut Run::new(1, 32, vec![0; 32]), FaultKind::StackOverflow);
}

/// Calls function 1 or 2 through a table in memory, by the lane's lowest bit.
fn indirect() -> Module {
    let unary = Signature { params: vec![I32], results: vec![I32] };
    let main = kernel("main", 1, |k| {
        let data = k.param(0);
        let table = k.global(0);
        let t = k.tid();
        let one = k.c32(1);
        let low = k.op(Op::And, I32, &[t, one]);
        let entry = k.element(table, low, 8);
        let f = k.load(Space::Global, I64, entry, 0);
        let inst = k.b.inst_with(Op::CallIndirect, Type::B1, 0, &[f, t], &[I32]);
        let r = k.b.body.results(inst)[0];
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, r);
        k.ret(&[]);
    });
    let double = device("double", &[I32], &[I32], |k, p| {
        let r = k.add(p[0], p[0]);
        k.ret(&[r]);
    });
    let negate = device("negate", &[I32], &[I32], |k, p| {
        let r = k.op(Op::INeg, I32, &[p[0]]);
        k.ret(&[r]);
    });
    let mut m = module(vec![main, double, negate]);
    m.signature(unary);
    let mut table = shared("table", 16);
    table.space = Space::Global;
    table.relocations = (0..2)
        .map(|n| Relocation {
            offset: n * 8,
            target: RelocationTarget::Func(FuncId::new(1 + n as usize)),
            addend: 0,
            size: 8,
            shift: 0,
            generic: false,
        })
        .collect();
    m.globals.push(table);
    m
}

#[test]
fn indirect_calls_go_where_each_lane_points() {
    let mut r = Run::new(1, 32, vec![0; 32]);
    r.go(&indirect()).unwrap();
    for (t, v) in r.buffer.iter().enumerate() {
        let t = t as u32;
        assert_eq!(*v, if t.is_multiple_of(2) { 2 * t } else { t.wrapping_neg() });
    }
}

#[test]
fn an_indirect_call_of_something_else_is_refused() {
    let mut m = indirect();
    m.globals[0].relocations.pop();
    let fault = fails(&m, &mut Run::new(1, 32, vec![0; 32]), FaultKind::BadCall);
    assert_eq!(fault.place.as_ref().unwrap().thread, [1, 0, 0]);
    assert!(fault.message.contains("0x0, which is no function"), "{fault}");
    let mut m = indirect();
    m.functions[2] = device("negate", &[I64], &[I32], |k, _| {
        let z = k.c32(0);
        k.ret(&[z]);
    });
    let fault = fails(&m, &mut Run::new(1, 32, vec![0; 32]), FaultKind::BadCall);
    assert!(fault.message.contains("negate, which has another signature"), "{fault}");
}

/// Stores the thread's number at `data + tid * stride + offset`.
fn strided(stride: u64, offset: u64) -> Module {
    module(vec![kernel("strided", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let at = k.element(data, t, stride);
        let offset = k.c64(offset);
        let at = k.add(at, offset);
        k.store(Space::Global, at, t);
        k.ret(&[]);
    })])
}

#[test]
fn out_of_bounds_names_the_access_the_thread_and_what_is_near() {
    let fault = fails(&strided(4, 8), &mut Run::new(1, 40, vec![0; 40]), FaultKind::OutOfBounds);
    let place = fault.place.clone().unwrap();
    assert_eq!((place.thread, place.block, place.op), ([38, 0, 0], [0, 0, 0], "store"));
    assert!(fault.message.starts_with("4-byte write of global memory at 0x10000000a0:"), "{fault}");
    assert!(fault.message.contains("0 bytes after the end of \"buffer\" (0x1000000000, 160 bytes)"), "{fault}");
}

#[test]
fn misaligned_access_is_refused() {
    let fault = fails(&strided(4, 2), &mut Run::new(1, 8, vec![0; 40]), FaultKind::Misaligned);
    assert!(fault.message.contains("at 0x1000000002, which is no multiple of 4"), "{fault}");
}

#[test]
fn shared_and_local_accesses_have_their_bounds() {
    for (space, message) in [
        (Space::Shared, "the block has 64 bytes of shared memory"),
        (Space::Local, "the thread's stack ends at 0x40"),
        (Space::Generic, "parameters are read-only"),
    ] {
        let mut m = module(vec![kernel("k", 1, |k| {
            k.global(0);
            let at = k.c64(if space == Space::Generic { space::PARAM_WINDOW } else { 64 });
            let v = k.c32(1);
            k.store(space, at, v);
            k.ret(&[]);
        })]);
        m.globals.push(shared("s", 64));
        let fault = fails(&m, &mut Run::new(1, 1, vec![0]), FaultKind::OutOfBounds);
        assert!(fault.message.contains(message), "{fault}");
    }
}

#[test]
fn generic_addresses_reach_every_window() {
    let mut main = kernel("k", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let tile = k.global(0);
        let slot = k.b.op_imm(Op::SlotAddr, Type::B1, 0, &[]);
        let zero = k.c64(0);
        let to_generic = |k: &mut K<'_>, s: Space, v: Value| k.op(Attrs::of(Op::ToGeneric).with(s), Type::B1, &[v]);
        let (s, l, p) =
            (to_generic(k, Space::Shared, tile), to_generic(k, Space::Local, slot), to_generic(k, Space::Param, zero));
        let s = k.element(s, t, 4);
        k.store(Space::Generic, s, t);
        let ten = k.c32(10);
        let more = k.add(t, ten);
        k.store(Space::Generic, l, more);
        let (a, b) = (k.load(Space::Generic, I32, s, 0), k.load(Space::Local, I32, slot, 0));
        let low = k.load(Space::Generic, I32, p, 0);
        let sum = k.add(a, b);
        let sum = k.add(sum, low);
        let at = k.element(data, t, 4);
        k.store(Space::Generic, at, sum);
        k.ret(&[]);
    });
    main.slots.push(SlotData { size: 8, align: 8 });
    let mut m = module(vec![main]);
    m.globals.push(shared("tile", 256));
    let mut r = Run::new(1, 32, vec![0; 32]);
    r.go(&m).unwrap();
    // The low half of the parameter, an address that the arena chose, is 0.
    for (t, v) in r.buffer.iter().enumerate() {
        assert_eq!(*v as usize, 2 * t + 10);
    }
    assert_eq!(space::window(0x1_0000_0010), (space::Window::Shared, 16));
}

#[test]
fn lanes_of_a_warp_at_two_aligned_barriers_are_reported() {
    let m = module(vec![kernel("split", 1, |k| {
        let t = k.tid();
        let sixteen = k.c32(16);
        let (low, high) = (k.block(), k.block());
        let first = k.cmp(IntCmp::Lt, t, sixteen);
        k.brif(first, (low, &[]), (high, &[]));
        for b in [low, high] {
            k.at(b);
            k.barrier();
            k.ret(&[]);
        }
    })]);
    let fault = fails(&m, &mut Run::new(1, 64, vec![0]), FaultKind::DivergentBarrier);
    assert_eq!(fault.related.len(), 1);
}

#[test]
fn threads_that_ended_do_not_hold_a_barrier_back() {
    let m = module(vec![kernel("early", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let forty = k.c32(40);
        let (stay, gone) = (k.block(), k.block());
        let ends = k.cmp(IntCmp::Ge, t, forty);
        k.brif(ends, (gone, &[]), (stay, &[]));
        k.at(gone);
        k.ret(&[]);
        k.at(stay);
        k.barrier();
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, t);
        k.ret(&[]);
    })]);
    let mut r = Run::new(1, 128, vec![99; 128]);
    r.go(&m).unwrap();
    assert_eq!(r.buffer[..40], (0..40).collect::<Vec<u32>>());
    assert_eq!(r.buffer[40], 99);
}

#[test]
fn a_barrier_that_some_never_reach_is_a_deadlock() {
    let m = module(vec![kernel("counted", 1, |k| {
        let (one, n) = (k.c32(1), k.c32(96));
        k.b.effect(Attrs::of(Op::Barrier).with(Aligned::Yes), Type::B1, 0, &[one, n]);
        k.ret(&[]);
    })]);
    Run::new(1, 96, vec![0]).go(&m).unwrap();
    let m = module(vec![kernel("counted", 1, |k| {
        let t = k.tid();
        let (one, n, limit) = (k.c32(1), k.c32(96), k.c32(64));
        let (stay, gone) = (k.block(), k.block());
        let first = k.cmp(IntCmp::Lt, t, limit);
        k.brif(first, (stay, &[]), (gone, &[]));
        k.at(gone);
        k.ret(&[]);
        k.at(stay);
        k.b.effect(Attrs::of(Op::Barrier).with(Aligned::Yes), Type::B1, 0, &[one, n]);
        k.ret(&[]);
    })]);
    let fault = fails(&m, &mut Run::new(1, 96, vec![0]), FaultKind::Deadlock);
    assert!(fault.message.contains("barrier 1, at which 64 of 96 threads have arrived"), "{fault}");
}

#[test]
fn reducing_barriers_count_the_predicates_of_all_threads() {
    let m = module(vec![kernel("red", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let (zero, limit, three) = (k.c32(0), k.c32(40), k.c32(3));
        let p = k.cmp(IntCmp::Lt, t, limit);
        let red = |k: &mut K<'_>, op: BarrierOp, ty: Type| {
            let attrs = Attrs::of(Op::BarrierRed).with(op).with(Aligned::Yes);
            let inst = k.b.inst_with(attrs, ty, 0, &[zero, zero, p], &[ty]);
            k.b.body.results(inst)[0]
        };
        let count = red(k, BarrierOp::Popc, I32);
        let all = red(k, BarrierOp::And, Type::B1);
        let any = red(k, BarrierOp::Or, Type::B1);
        let (hundred, thousand) = (k.c32(100), k.c32(1000));
        let all = k.op(Op::Select, I32, &[all, thousand, zero]);
        let any = k.op(Op::Select, I32, &[any, hundred, three]);
        let sum = k.add(count, all);
        let sum = k.add(sum, any);
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, sum);
        k.ret(&[]);
    })]);
    let mut r = Run::new(1, 64, vec![0; 64]);
    r.go(&m).unwrap();
    assert_eq!(r.buffer, [140; 64]);
}

/// Blocks wait for each other at a barrier in global memory.
#[test]
fn blocks_that_wait_for_each_other_all_get_on() {
    let m = module(vec![kernel("grid", 1, |k| {
        let data = k.param(0);
        let blocks = k.sreg(Sreg::NctaidX);
        let one = k.c32(1);
        let (spin, end) = (k.block(), k.block());
        k.atom(AtomOp::Add, Space::Global, data, one);
        k.br(spin, &[]);
        k.at(spin);
        let n = k.load(Space::Global, I32, data, 0);
        let waiting = k.cmp(IntCmp::Lt, n, blocks);
        k.brif(waiting, (spin, &[]), (end, &[]));
        k.at(end);
        let four = k.c64(4);
        let done = k.add(data, four);
        k.atom(AtomOp::Add, Space::Global, done, one);
        k.ret(&[]);
    })]);
    for cooperative in [false, true] {
        let mut r = Run::new(50, 1, vec![0, 0]);
        r.cooperative = cooperative;
        r.go(&m).unwrap();
        assert_eq!(r.buffer, [50, 50]);
    }
}

#[test]
fn an_endless_loop_ends_at_the_step_limit() {
    let m = module(vec![kernel("forever", 1, |k| {
        let spin = k.block();
        k.br(spin, &[]);
        k.at(spin);
        k.br(spin, &[]);
    })]);
    let mut r = Run::new(1, 1, vec![0]);
    r.max_steps = Some(10_000);
    fails(&m, &mut r, FaultKind::StepLimit);
}

#[test]
fn trap_and_breakpoint_fault() {
    for (op, kind) in [(Op::Trap, FaultKind::Trap), (Op::Breakpoint, FaultKind::Breakpoint)] {
        let m = module(vec![kernel("k", 1, |k| {
            k.b.effect(op, Type::B1, 0, &[]);
            if op == Op::Breakpoint {
                k.ret(&[]);
            }
        })]);
        fails(&m, &mut Run::new(1, 1, vec![0]), kind);
    }
}

fn text(name: &str, s: &str) -> Global {
    let mut g = shared(name, s.len() as u64 + 1);
    g.space = Space::Const;
    g.init = s.as_bytes().to_vec();
    g
}

#[test]
fn printf_formats_arguments_from_memory() {
    let mut main = kernel("hello", 1, |k| {
        let t = k.tid();
        let (format, name) = (k.global(0), k.global(1));
        let args = k.b.op_imm(Op::SlotAddr, Type::B1, 0, &[]);
        let attrs = Attrs::of(Op::Store).with(Space::Local);
        k.b.effect(attrs, I32, 0, &[args, t]);
        k.b.effect(attrs, I64, 8, &[args, name]);
        let number = k.b.constant(Type::F64, 2.71866f64.to_bits());
        k.b.effect(attrs, Type::F64, 16, &[args, number]);
        let generic = k.op(Attrs::of(Op::ToGeneric).with(Space::Local), Type::B1, &[args]);
        let print = Attrs::of(Op::Syscall).with(Syscall::Vprintf);
        k.b.inst_with(print, Type::B1, 0, &[format, generic], &[I32]);
        k.ret(&[]);
    });
    main.slots.push(SlotData { size: 24, align: 8 });
    let mut m = module(vec![main]);
    m.globals = vec![text("format", "%03d|%-6s|%8.3f|%%\n"), text("name", "two")];
    let mut r = Run::new(1, 2, vec![0]);
    r.go(&m).unwrap();
    assert_eq!(String::from_utf8_lossy(&r.printed), "000|two   |   2.719|%\n001|two   |   2.719|%\n");
}

#[test]
fn a_failed_assertion_prints_its_line_and_faults() {
    let mut m = module(vec![kernel("check", 1, |k| {
        let t = k.tid();
        let five = k.c32(5);
        let (bad, good) = (k.block(), k.block());
        let wrong = k.cmp(IntCmp::Eq, t, five);
        k.brif(wrong, (bad, &[]), (good, &[]));
        k.at(bad);
        let (message, file, function) = (k.global(0), k.global(1), k.global(2));
        let (line, size) = (k.c32(42), k.c64(1));
        let attrs = Attrs::of(Op::Syscall).with(Syscall::AssertFail);
        k.b.inst_with(attrs, Type::B1, 0, &[message, file, line, function, size], &[]);
        k.br(good, &[]);
        k.at(good);
        k.ret(&[]);
    })]);
    m.globals = vec![text("m", "x < 5"), text("f", "a.cu"), text("fn", "void check()")];
    let mut r = Run::new(1, 32, vec![0]);
    let fault = fails(&m, &mut r, FaultKind::AssertFail);
    let line = "a.cu:42: void check(): block: [0,0,0], thread: [5,0,0] Assertion `x < 5` failed.";
    assert_eq!(fault.message, line);
    assert_eq!(String::from_utf8_lossy(&r.printed), format!("{line}\n"));
}

#[test]
fn malloc_gives_memory_that_free_takes_back() {
    let m = module(vec![kernel("heap", 1, |k| {
        let data = k.param(0);
        let t = k.tid();
        let size = k.c64(64);
        let attrs = Attrs::of(Op::Syscall).with(Syscall::Malloc);
        let inst = k.b.inst_with(attrs, Type::B1, 0, &[size], &[I64]);
        let p = k.b.body.results(inst)[0];
        k.store(Space::Generic, p, t);
        let v = k.load(Space::Generic, I32, p, 0);
        let at = k.element(data, t, 4);
        k.store(Space::Global, at, v);
        k.b.inst_with(Attrs::of(Op::Syscall).with(Syscall::Free), Type::B1, 0, &[p], &[]);
        k.ret(&[]);
    })]);
    let mut r = Run::new(1, 32, vec![9; 32]);
    r.go(&m).unwrap();
    assert_eq!(r.buffer, (0..32).collect::<Vec<u32>>());
}

#[test]
fn launches_that_do_not_fit_are_refused() {
    let m = module(vec![kernel("k", 1, |k| k.ret(&[]))]);
    for (grid, block) in [(0, 1), (1, 0), (1, 1025)] {
        fails(&m, &mut Run::new(grid, block, vec![0]), FaultKind::BadLaunch);
    }
    let mut r = Run::new(1, 1, vec![0]);
    r.dynamic_shared = 1 << 20;
    let fault = fails(&m, &mut r, FaultKind::BadLaunch);
    assert!(fault.message.contains("1048576 bytes of shared memory"), "{fault}");
}

#[test]
fn the_same_seed_gives_the_same_order() {
    // Threads append their number; the order is the schedule.
    let m = module(vec![kernel("order", 1, |k| {
        let data = k.param(0);
        let (t, one) = (k.global_id(), k.c32(1));
        let place = k.atom(AtomOp::Add, Space::Global, data, one);
        let next = k.add(place, one);
        let at = k.element(data, next, 4);
        k.store(Space::Global, at, t);
        k.ret(&[]);
    })]);
    let run = |seed| {
        let mut r = Run::new(4, 64, vec![0; 257]);
        r.seed = seed;
        r.go(&m).unwrap();
        r.buffer
    };
    assert_eq!(run(1), run(1));
    assert_eq!(run(1)[0], 256);
}
