//! Random control flow: a launch gives what one thread after the other gives when its blocks are followed by hand.

mod common;

use common::Random;
use hetir::attr::{IntCmp, Sign, Space, Sreg};
use hetir::build::{Attrs, Builder};
use hetir::entity::{Block, FuncId, Value};
use hetir::eval::Pure;
use hetir::interp::{Arena, Launch, Options, run};
use hetir::ir::{Body, Function, FunctionKind, KernelParam, LaunchBounds, Module};
use hetir::op::Op;
use hetir::types::Type;

const THREADS: u32 = 48;
const TYPES: [Type; 5] = [Type::I32, Type::I64, Type::I128, Type::B1, Type::I16];

struct Maker<'r> {
    body: Body,
    random: &'r mut Random,
    /// Blocks that anyone may go to: a fuel counter and some values.
    joins: Vec<(Block, Vec<Type>)>,
    end: Block,
}

impl Maker<'_> {
    fn pick(&mut self, ty: Type, seen: &[Value]) -> Option<Value> {
        let fit: Vec<Value> = seen.iter().copied().filter(|&v| self.body.ty(v) == ty).collect();
        (!fit.is_empty()).then(|| fit[self.random.below(fit.len())])
    }
    /// A value of a type, made up where there is none.
    fn value(&mut self, block: Block, ty: Type, seen: &[Value]) -> Value {
        if self.random.below(8) > 0
            && let Some(v) = self.pick(ty, seen)
        {
            return v;
        }
        let bits = self.random.next();
        let mut b = Builder::new(&mut self.body, block);
        if ty == Type::I128 {
            let (low, high) = (b.constant(Type::I64, bits), b.constant(Type::I64, bits >> 7));
            let inst = b.inst_with(Op::Pack, ty, 0, &[low, high], &[ty]);
            return b.body.results(inst)[0];
        }
        b.constant(ty, bits)
    }
    fn compute(&mut self, block: Block, seen: &mut Vec<Value>) {
        for _ in 0..self.random.below(6) {
            let ty = TYPES[self.random.below(TYPES.len())];
            let kind = self.random.below(6);
            let (a, b) = (self.value(block, ty, seen), self.value(block, ty, seen));
            let condition = self.value(block, Type::B1, seen);
            let i64_value = self.value(block, Type::I64, seen);
            let i128_value = self.value(block, Type::I128, seen);
            let i32_value = self.value(block, Type::I32, seen);
            let mut builder = Builder::new(&mut self.body, block);
            let new = match kind {
                0 if ty != Type::I128 && ty != Type::B1 => builder.op(Op::IAdd, ty, &[a, b]),
                0 | 1 if ty != Type::I128 => builder.op(Op::Xor, ty, &[a, b]),
                2 if ty == Type::I128 || ty == Type::B1 => {
                    builder.op(Attrs::of(Op::ICmp).with(IntCmp::Ne).with(Sign::U), ty, &[a, b])
                }
                2 => builder.op(Attrs::of(Op::ICmp).with(IntCmp::Lt).with(Sign::S), ty, &[a, b]),
                0 | 1 | 3 => builder.op(Op::Select, ty, &[condition, a, b]),
                4 => {
                    let inst = builder.inst_with(Op::Unpack, Type::I64, 0, &[i128_value], &[Type::I64, Type::I64]);
                    seen.push(builder.body.results(inst)[1]);
                    builder.body.results(inst)[0]
                }
                _ => {
                    let inst = builder.inst_with(Op::Zext, Type::I64, 0, &[i32_value], &[Type::I64]);
                    let wide = builder.body.results(inst)[0];
                    builder.op(Op::IMul, Type::I64, &[wide, i64_value])
                }
            };
            seen.push(new);
        }
    }
    /// A target, and the values for it.
    fn target(&mut self, block: Block, fuel: Value, seen: &[Value]) -> (Block, Vec<Value>) {
        let at = self.random.below(self.joins.len());
        let (to, types) = self.joins[at].clone();
        let mut args = vec![fuel];
        for ty in types {
            args.push(self.value(block, ty, seen));
        }
        (to, args)
    }
    /// Fills a block and what only it leads to.
    fn fill(&mut self, block: Block, fuel: Value, mut seen: Vec<Value>, depth: u32) {
        self.compute(block, &mut seen);
        let private = depth < 3 && self.random.below(2) == 0;
        let ways = 1 + self.random.below(3);
        let mut targets: Vec<(Block, Vec<Value>)> = Vec::new();
        let mut children = Vec::new();
        for _ in 0..ways {
            if private && self.random.below(2) == 0 {
                let child = self.body.add_block();
                children.push(child);
                targets.push((child, Vec::new()));
            } else {
                targets.push(self.target(block, fuel, &seen));
            }
        }
        let condition = self.value(block, Type::B1, &seen);
        let selector = {
            let v = self.value(block, Type::I32, &seen);
            let three = Builder::new(&mut self.body, block).constant(Type::I32, 3);
            Builder::new(&mut self.body, block).op(Op::And, Type::I32, &[v, three])
        };
        let mut b = Builder::new(&mut self.body, block);
        match &targets[..] {
            [one] => {
                b.jump(one.0, &one.1);
            }
            [one, two] => {
                b.branch(condition, (one.0, &one.1), (two.0, &two.1));
            }
            all => {
                let inst = b.effect(Op::Switch, Type::B1, 0, &[selector]);
                let all: Vec<(Block, &[Value])> = all.iter().map(|(b, v)| (*b, &v[..])).collect();
                b.body.set_targets(inst, &all);
            }
        }
        for child in children {
            self.fill(child, fuel, seen.clone(), depth + 1);
        }
    }
}

/// A kernel that ends by storing a checksum of 8 bytes for each thread.
fn kernel(random: &mut Random) -> Module {
    let mut body = Body::default();
    let entry = body.add_block();
    let end = body.add_block();
    let result = body.add_param(end, Type::I64);
    let mut joins = Vec::new();
    for _ in 0..2 + random.below(5) {
        let block = body.add_block();
        body.add_param(block, Type::I32);
        let types: Vec<Type> = (0..random.below(6)).map(|_| TYPES[random.below(TYPES.len())]).collect();
        for &ty in &types {
            body.add_param(block, ty);
        }
        joins.push((block, types));
    }
    let mut m = Maker { body, random, joins: joins.clone(), end };
    let mut b = Builder::new(&mut m.body, entry);
    let zero = b.constant(Type::I64, 0);
    let inst = b.inst_with(Attrs::of(Op::Load).with(Space::Param), Type::I64, 0, &[zero], &[Type::I64]);
    let base = b.body.results(inst)[0];
    let tid = b.op(Attrs::of(Op::Sreg).with(Sreg::TidX), Type::I32, &[]);
    let wide = b.inst_with(Op::Zext, Type::I64, 0, &[tid], &[Type::I64]);
    let wide = b.body.results(wide)[0];
    let eight = b.constant(Type::I64, 8);
    let offset = b.op(Op::IMul, Type::I64, &[wide, eight]);
    let mine = b.op(Op::IAdd, Type::I64, &[base, offset]);
    let fuel = b.constant(Type::I32, 40);
    let mut seen = vec![tid, wide, fuel];
    m.compute(entry, &mut seen);
    let (to, args) = m.target(entry, fuel, &seen);
    Builder::new(&mut m.body, entry).jump(to, &args);
    for (block, _) in joins {
        let params = m.body.blocks[block.index()].params.clone();
        let mut visible = seen.clone();
        visible.extend(&params[1..]);
        let work = m.body.add_block();
        let sum = {
            let picked = m.value(block, Type::I64, &visible);
            let narrow = m.value(block, Type::I32, &visible);
            let mut b = Builder::new(&mut m.body, block);
            let wide = b.inst_with(Op::Sext, Type::I64, 0, &[narrow], &[Type::I64]);
            let wide = b.body.results(wide)[0];
            b.op(Op::IAdd, Type::I64, &[picked, wide])
        };
        let mut b = Builder::new(&mut m.body, block);
        let (zero, one) = (b.constant(Type::I32, 0), b.constant(Type::I32, 1));
        let out = b.op(Attrs::of(Op::ICmp).with(IntCmp::Eq).with(Sign::U), Type::I32, &[params[0], zero]);
        let less = b.op(Op::ISub, Type::I32, &[params[0], one]);
        let end = m.end;
        Builder::new(&mut m.body, block).branch(out, (end, &[sum]), (work, &[]));
        m.fill(work, less, visible, 0);
    }
    let mut b = Builder::new(&mut m.body, end);
    b.effect(Attrs::of(Op::Store).with(Space::Global), Type::I64, 0, &[mine, result]);
    b.effect(Op::Ret, Type::B1, 0, &[]);
    let mut body = m.body;
    body.remove_unreachable();
    let param = KernelParam { name: "data".into(), offset: 0, size: 8, align: 8, opaque: None };
    let kind = FunctionKind::Kernel { params: vec![param], bounds: LaunchBounds::default() };
    let mut f = Function::new("k", kind);
    f.body = Some(body);
    Module { functions: vec![f], ..Module::default() }
}

/// What one thread stores, and the number of instructions that it executes.
fn follow(body: &Body, tid: u32) -> (u64, u64) {
    let mut values = vec![0u128; body.values.len()];
    let mut block = Body::ENTRY;
    let mut steps = 0;
    loop {
        let mut next = None;
        for &inst in &body.blocks[block.index()].insts {
            steps += 1;
            let data = body.inst(inst);
            let args: Vec<u128> = body.args(inst).iter().map(|v| values[v.index()]).collect();
            let results = body.results(inst);
            let target = |n: usize| Some(body.targets(inst)[n.min(body.targets(inst).len() - 1)]);
            match data.op {
                Op::Sreg => values[results[0].index()] = tid.into(),
                Op::Load => {}
                Op::Store => return (args[1] as u64, steps + 1),
                Op::Br => next = target(0),
                Op::BrIf => next = target(usize::from(args[0] == 0)),
                Op::Switch => next = target(args[0] as usize),
                _ => {
                    let src = body.args(inst).first().map_or(data.ty, |&v| body.ty(v));
                    let mut out = vec![0; results.len()];
                    Pure::of(data, src).expect("only pure ops are left").eval(&args, &mut out);
                    for (r, v) in results.iter().zip(out) {
                        values[r.index()] = v;
                    }
                }
            }
        }
        let to = next.expect("a terminator with targets");
        let handed: Vec<u128> = body.target_args(to).iter().map(|v| values[v.index()]).collect();
        for (p, v) in body.blocks[to.block.index()].params.iter().zip(handed) {
            values[p.index()] = v;
        }
        block = to.block;
    }
}

#[test]
fn random_control_flow_gives_what_each_thread_gives_alone() {
    let mut random = Random(0x5eed);
    let mut steps = 0;
    for round in 0..300 {
        let module = kernel(&mut random);
        if let Err(errors) = hetir::verify::verify(&module) {
            panic!("round {round}: {errors:?}\n{module}");
        }
        let mut memory = Arena::new();
        let base = memory.alloc("data", vec![0; THREADS as usize * 8]);
        let params = base.to_le_bytes();
        let launch = Launch { block: [THREADS, 1, 1], params: &params, ..Launch::new(&module, FuncId::new(0)) };
        let report = match run(&launch, &mut memory, &mut Options { seed: round, ..Options::default() }) {
            Ok(report) => report,
            Err(fault) => panic!("round {round}: {fault}\n{module}"),
        };
        let data = &memory.region(base).expect("it was mapped").data;
        let body = module.functions[0].body.as_ref().expect("a body");
        let mut expected_steps = 0;
        for t in 0..THREADS {
            let (expected, alone) = follow(body, t);
            expected_steps += alone;
            let at = t as usize * 8;
            let got = u64::from_le_bytes(data[at..at + 8].try_into().expect("8 bytes"));
            assert!(got == expected, "round {round}, thread {t}: {got:#x}, alone {expected:#x}\n{module}");
        }
        steps += expected_steps;
        // Constants and the like take no step.
        assert!((1..=expected_steps).contains(&report.steps), "round {round}: {} steps", report.steps);
    }
    assert!(steps > 1_000_000, "{steps} steps in all: too little to show anything");
}
