//! Random well-typed programs: the input seeds a generator whose functions the verifier must accept, whose text must read
//! back, which the interpreter must execute without a panic, the same way each time, and whose result passes keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use hetir::attr::Space;
use hetir::build::{Attrs, Builder};
use hetir::diag::render;
use hetir::entity::{Block, FuncId, Value};
use hetir::interp::{Arena, Checks, FaultKind, Launch, Options, run as interpret};
use hetir::ir::{Body, Function, FunctionKind, InstData, KernelParam, LaunchBounds, MAX_ATTRS, Module};
use hetir::op::{Class, Effects, Imm, Op, Pattern};
use hetir::types::Type;
use hetir::{passes, text, verify};

use super::Answer;
use crate::random::Random;

/// Instructions of these shapes are tried for each op.
const TRIES: usize = 150;

/// Shapes kept for each op.
const KEPT: usize = 24;

/// Most lane-ops of a program: loops are left open.
const MAX_STEPS: u64 = 4_000;

/// Bytes of the buffer that every program gets.
const BUFFER: usize = 256;

/// What must not change a program that ends: the clean-up, and the expansion for a device that has nothing of its own.
const PASSES: [&str; 3] = ["cleanup", "expand", "expand and cleanup"];

fn pass(name: &str, module: &mut Module) {
    if name.starts_with("expand") {
        passes::expand::run(module, &|_: &InstData, _: Type| false);
    }
    if name.ends_with("cleanup") {
        passes::cleanup(module);
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    (0u64..16).map(|seed| seed.to_le_bytes().to_vec()).collect()
}

pub(super) fn run(bytes: &[u8]) -> Answer {
    let seed = bytes.iter().fold(0, |seed: u64, &byte| seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
    let module = program(&mut Random(seed));
    let printed = text::print(&module);
    if let Err(errors) = verify::verify(&module) {
        panic!("a well-typed program does not verify: {}\n{printed}", render(&errors, "program", ""));
    }
    let again = text::parse(&printed)
        .unwrap_or_else(|errors| panic!("what was printed does not parse: {}", render(&errors, "printed", &printed)));
    assert_eq!(text::print(&again), printed, "printing is not stable");
    let threads = [1, 3, 32, 40][(seed % 4) as usize];
    let first = execute(&module, seed, threads, MAX_STEPS);
    assert_eq!(first, execute(&module, seed, threads, MAX_STEPS), "two runs with one seed differ:\n{printed}");
    // Threads that write to one place race, and passes change who comes first: one thread does not.
    let alone = execute(&module, seed, 1, MAX_STEPS);
    if alone.0.is_none() {
        for name in PASSES {
            let mut changed = module.clone();
            pass(name, &mut changed);
            let after = text::print(&changed);
            if let Err(errors) = verify::verify(&changed) {
                panic!("{name} breaks a program: {}\n{printed}\n{after}", render(&errors, "program", ""));
            }
            // An expansion takes more steps.
            let result = execute(&changed, seed, 1, 200 * MAX_STEPS);
            assert_eq!(alone, result, "{name} changes what a program does:\n{printed}\n{after}");
        }
    }
    let ending = first.0.map_or("end".into(), |kind| kind.code().to_string());
    let ops: BTreeSet<&str> =
        printed.lines().filter_map(|line| line.split('=').next_back()?.split_whitespace().next()).collect();
    Answer::NONE.with(&ending).with(&ops.into_iter().take(3).collect::<String>())
}

/// How a program ended, and what it left in its buffer.
fn execute(module: &Module, seed: u64, threads: u32, max_steps: u64) -> (Option<FaultKind>, Vec<u8>) {
    let mut memory = Arena::new();
    let buffer = memory.alloc("buffer", (0..BUFFER).map(|byte| byte as u8).collect());
    let params = buffer.to_le_bytes();
    let launch = Launch { block: [threads, 1, 1], params: &params, ..Launch::new(module, FuncId::new(0)) };
    let mut options = Options {
        seed,
        checks: Checks { races: seed & 16 == 0, uninitialised: seed & 32 == 0 },
        max_steps: Some(max_steps),
        stack_bytes: 4096,
        ..Options::default()
    };
    let ended = interpret(&launch, &mut memory, &mut options);
    (ended.err().map(|fault| fault.kind), memory.unmap(buffer).map_or(Vec::new(), |region| region.data))
}

/// The shape of an instruction that the verifier accepts.
struct Template {
    op: Op,
    ty: Type,
    attrs: [u8; MAX_ATTRS],
    imm: u64,
    args: Vec<Type>,
    results: Vec<Type>,
}

fn templates() -> &'static [Template] {
    static ALL: OnceLock<Vec<Template>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut random = Random(1);
        let mut all = Vec::new();
        for &op in Op::ALL {
            // What varies (clocks and the like) may differ where passes have changed how long things take.
            let varies = op.info().effects.has(Effects::VARIES);
            if op.is_terminator() || varies || matches!(op.info().imm, Imm::Global | Imm::Func | Imm::Slot | Imm::Sig) {
                continue;
            }
            let tries = (0..TRIES).filter_map(|_| guess(&mut random, op));
            all.extend(tries.filter(is_legal).take(KEPT));
        }
        all
    })
}

fn guess(random: &mut Random, op: Op) -> Option<Template> {
    let info = op.info();
    let pick = |random: &mut Random, class: Class| {
        let fit: Vec<Type> = Type::ALL.iter().copied().filter(|ty| class.holds(*ty)).collect();
        random.pick(&fit).copied()
    };
    let (t, u) = (pick(random, info.t)?, pick(random, info.u)?);
    let mut types = |patterns: &[Pattern]| -> Option<Vec<Type>> {
        let mut out = Vec::new();
        for pattern in patterns {
            match pattern {
                Pattern::T => out.push(t),
                Pattern::U => out.push(u),
                Pattern::Wide => out.push(t.widened()?),
                Pattern::Is(ty) => out.push(*ty),
                Pattern::ManyT => out.extend(vec![t; [1, 2, 4][random.below(3)]]),
                Pattern::ManyU => out.extend(vec![u; [1, 2, 4][random.below(3)]]),
                Pattern::Rest => {}
            }
        }
        Some(out)
    };
    let (args, results) = (types(&info.args)?, types(&info.results)?);
    let mut attrs = [0; MAX_ATTRS];
    for (byte, kind) in attrs.iter_mut().zip(info.attrs) {
        // Most attributes are left at their defaults: few ops take many at a time.
        if random.one_in(2) {
            *byte = random.below(kind.spellings().len()) as u8;
        }
    }
    let imm = match info.imm {
        Imm::Int => [0, 1, 2, 4, 7, 16, 200, 255][random.below(8)],
        Imm::Offset => [0, 4, 8, 16, 64, u64::MAX - 3][random.below(6)],
        Imm::None | Imm::Global | Imm::Func | Imm::Slot | Imm::Sig => 0,
    };
    let ty = if info.is_typed() { t } else { Type::B1 };
    Some(Template { op, ty, attrs, imm, args, results })
}

fn is_legal(template: &Template) -> bool {
    let mut body = Body::default();
    let entry = body.add_block();
    let args: Vec<Value> = template.args.iter().map(|ty| body.add_param(entry, *ty)).collect();
    append(&mut body, entry, template, &args);
    Builder::new(&mut body, entry).effect(Op::Exit, Type::B1, 0, &[]);
    let mut function = Function::new("f", FunctionKind::Device);
    function.signature.params.clone_from(&template.args);
    function.body = Some(body);
    let mut module = Module::default();
    module.functions.push(function);
    verify::verify(&module).is_ok()
}

fn append(body: &mut Body, block: Block, template: &Template, args: &[Value]) -> Vec<Value> {
    let Template { op, ty, attrs, imm, results, .. } = template;
    let inst = body.make(*op, *ty, *attrs, *imm, args, results, Default::default());
    body.append(block, inst);
    body.results(inst).to_vec()
}

/// Values that a block may use, by type.
type Pool = BTreeMap<String, Vec<Value>>;

struct Generator<'r> {
    random: &'r mut Random,
    body: Body,
    /// The values of the entry, which every block may use.
    common: Pool,
}

fn program(random: &mut Random) -> Module {
    let mut generator = Generator { random, body: Body::default(), common: Pool::new() };
    generator.fill();
    let param = KernelParam { name: "buffer".into(), offset: 0, size: 8, align: 8, opaque: None };
    let mut function =
        Function::new("k", FunctionKind::Kernel { params: vec![param], bounds: LaunchBounds::default() });
    function.body = Some(generator.body);
    let mut module = Module::default();
    module.functions.push(function);
    module
}

impl Generator<'_> {
    fn fill(&mut self) {
        let blocks: Vec<Block> = (0..2 + self.random.below(6)).map(|_| self.body.add_block()).collect();
        for &block in &blocks[1..] {
            for _ in 0..self.random.below(4) {
                let ty = Type::ALL[self.random.below(Type::ALL.len())];
                if Class::Small.holds(ty) {
                    self.body.add_param(block, ty);
                }
            }
        }
        for &block in &blocks {
            let mut pool = self.common.clone();
            if block == Body::ENTRY {
                self.prologue(&mut pool);
            }
            let params: Vec<Value> = self.body.blocks[block.index()].params.clone();
            params.into_iter().for_each(|param| self.offer(&mut pool, param));
            for _ in 0..self.random.below(12) {
                let template = self.template();
                let Some(args) = template.args.iter().map(|ty| self.take(&pool, *ty)).collect::<Option<Vec<_>>>()
                else {
                    continue;
                };
                for value in append(&mut self.body, block, template, &args) {
                    self.offer(&mut pool, value);
                }
            }
            self.store(block, &pool);
            if block == Body::ENTRY {
                self.common.clone_from(&pool);
            }
            self.terminate(block, &blocks, &pool);
        }
        self.body.remove_unreachable();
    }

    /// Mostly ops that only compute: others end most programs, since random addresses and masks are faults.
    fn template(&mut self) -> &'static Template {
        let all = templates();
        let mut pick = || &all[self.random.below(all.len())];
        let mut template = pick();
        for _ in 0..4 {
            if template.op.info().effects.mergeable() {
                break;
            }
            template = pick();
        }
        template
    }

    /// A constant of each type, the buffer's address, and the thread's number.
    fn prologue(&mut self, pool: &mut Pool) {
        let mut values = Vec::new();
        for ty in Type::ALL.iter().copied().filter(|ty| Class::Small.holds(*ty)) {
            for bits in [0, 1, self.random.bits()] {
                values.push(Builder::new(&mut self.body, Body::ENTRY).constant(ty, bits));
            }
        }
        let mut builder = Builder::new(&mut self.body, Body::ENTRY);
        let zero = builder.constant(Type::I64, 0);
        let load = Attrs::of(Op::Load).with(Space::Param);
        values.push(builder.op(load, Type::I64, &[zero]));
        values.push(builder.op(Op::Sreg, Type::I32, &[]));
        values.into_iter().for_each(|value| self.offer(pool, value));
    }

    fn offer(&self, pool: &mut Pool, value: Value) {
        pool.entry(self.body.ty(value).to_string()).or_default().push(value);
    }

    fn take(&mut self, pool: &Pool, ty: Type) -> Option<Value> {
        let all = pool.get(&ty.to_string())?;
        // Late values are more interesting than the constants.
        let late = all.len().saturating_sub(4);
        let from = if self.random.one_in(3) { all } else { &all[late..] };
        self.random.pick(from).copied()
    }

    /// Writes a value to the buffer, so that what was computed shows.
    fn store(&mut self, block: Block, pool: &Pool) {
        let (Some(address), Some(value)) = (self.buffer(), self.take(pool, Type::I32)) else { return };
        let offset = 4 * self.random.below(BUFFER / 4) as u64;
        let attrs = Attrs::of(Op::Store).with(Space::Global);
        Builder::new(&mut self.body, block).effect(attrs, Type::I32, offset, &[address, value]);
    }

    /// The buffer's address: the result of the entry's load.
    fn buffer(&self) -> Option<Value> {
        let entry = &self.body.blocks[Body::ENTRY.index()];
        let load = entry.insts.iter().find(|inst| self.body.inst(**inst).op == Op::Load)?;
        self.body.results(*load).first().copied()
    }

    fn terminate(&mut self, block: Block, blocks: &[Block], pool: &Pool) {
        let target = |generator: &mut Self| {
            // Mostly forward, so that most programs end.
            let ahead: Vec<Block> = blocks.iter().copied().filter(|b| b.index() > block.index()).collect();
            let others = &blocks[1..];
            let from = if ahead.is_empty() || generator.random.one_in(5) { others } else { &ahead };
            let to = *generator.random.pick(from)?;
            let types: Vec<Type> =
                generator.body.blocks[to.index()].params.iter().map(|param| generator.body.ty(*param)).collect();
            let args = types.iter().map(|ty| generator.take(pool, *ty)).collect::<Option<Vec<_>>>()?;
            Some((to, args))
        };
        let kind = self.random.below(if block.index() + 1 == blocks.len() { 10 } else { 4 });
        let condition = self.take(pool, Type::B1);
        let (yes, no) = (target(self), target(self));
        let mut builder = Builder::new(&mut self.body, block);
        match (kind, condition, yes, no) {
            (0, _, Some((to, args)), _) => drop(builder.jump(to, &args)),
            (1..4, Some(condition), Some((a, a_args)), Some((b, b_args))) => {
                builder.branch(condition, (a, &a_args), (b, &b_args));
            }
            _ => drop(builder.effect(Op::Exit, Type::B1, 0, &[])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_ops_have_templates() {
        let with: BTreeSet<Op> = templates().iter().map(|template| template.op).collect();
        let without: Vec<&str> = Op::ALL.iter().filter(|op| !with.contains(op)).map(|op| op.info().name).collect();
        assert!(without.len() * 4 < Op::ALL.len(), "{without:?}");
    }

    #[test]
    fn programs_run_to_their_end_often_enough() {
        let ends =
            (0..200).filter(|seed| execute(&program(&mut Random(*seed)), *seed, 1, MAX_STEPS).0.is_none()).count();
        assert!(ends > 40, "{ends} of 200");
    }
}
