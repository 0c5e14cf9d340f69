//! What the uniformity analysis claims of random programs is what happens: every thread writes down the blocks it
//! enters and the values that are claimed uniform, and lanes are compared where they execute the same instance.

use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::{Dominators, PostDominators};
use hetir::analysis::live::defining_blocks;
use hetir::analysis::loops::LoopForest;
use hetir::analysis::uniform::{Uniform, Uniformity};
use hetir::attr::{Sign, Space, Sreg};
use hetir::build::{Attrs, Builder};
use hetir::diag::render;
use hetir::entity::{Block, Value};
use hetir::ir::Body;
use hetir::op::Op;
use hetir::random::{Config, Program, Source, program};
use hetir::types::{Scalar, Type};
use hetir::verify::verify;
use std::collections::HashMap;

const PROGRAMS: u64 = 120;
const EVENTS: u64 = 4096;
const EVENT_BYTES: u64 = 16;
/// Bytes that a thread writes down, behind a count.
const STRIDE: u64 = (EVENTS + 1) * EVENT_BYTES;
/// An event's kind stands above its number.
const KIND: u32 = 24;
const BLOCK: u64 = 1;
const DEFINED: u64 = 2;
const USED: u64 = 3;

/// A claim: among whom the numbers of an event agree.
type Claims = HashMap<u64, Uniformity>;

struct Recorder<'a, 'b> {
    b: &'a mut Builder<'b>,
    /// Where this thread writes.
    base: Value,
}

impl Recorder<'_, '_> {
    fn event(&mut self, kind: u64, number: u64, value: Option<Value>) {
        let b = &mut *self.b;
        let load = Attrs::of(Op::Load).with(Space::Global);
        let store = Attrs::of(Op::Store).with(Space::Global);
        let bits = match value {
            None => b.constant(Type::I64, 0),
            Some(v) => {
                let ty = b.body.ty(v);
                let whole = if ty == Type::B1 || ty == ty.as_int() { v } else { b.op(Op::Bitcast, ty.as_int(), &[v]) };
                if b.body.ty(whole) == Type::I64 { whole } else { b.op(Op::Zext, Type::I64, &[whole]) }
            }
        };
        let count = b.op(load, Type::I64, &[self.base]);
        let last = b.constant(Type::I64, EVENTS - 1);
        let place = b.op(Op::And, Type::I64, &[count, last]);
        let size = b.constant(Type::I64, EVENT_BYTES);
        let place = b.op(Op::IMul, Type::I64, &[place, size]);
        let place = b.op(Op::IAdd, Type::I64, &[self.base, place]);
        let id = b.constant(Type::I64, kind << KIND | number);
        b.effect(store, Type::I64, EVENT_BYTES, &[place, id, bits]);
        let one = b.constant(Type::I64, 1);
        let count = b.op(Op::IAdd, Type::I64, &[count, one]);
        b.effect(store, Type::I64, 0, &[self.base, count]);
    }
}

/// Lets the kernel write down what happens. Gives what is claimed of the events.
fn instrument(p: &mut Program) -> (Claims, Cfg, LoopForest, Uniform) {
    let function = &mut p.module.functions[p.kernel.index()];
    let cfg = Cfg::of(function.body.as_ref().unwrap());
    let loops = LoopForest::of(&cfg, &Dominators::of(&cfg));
    let uniform = Uniform::of(function, &cfg, &PostDominators::of(&cfg), &loops);
    let body = function.body.as_mut().unwrap();
    let definitions = defining_blocks(body);
    let threads = u64::from(p.block[0]);
    let written = p.output_bytes as u64;
    p.output_bytes += (threads * STRIDE) as usize;
    let mut claims = Claims::new();
    let mut base = Value::new(0);
    for block in body.block_ids() {
        let insts = std::mem::take(&mut body.blocks[block.index()].insts);
        let params = body.blocks[block.index()].params.clone();
        let mut b = Builder::new(body, block);
        if block == Body::ENTRY {
            let zero = b.constant(Type::I64, 0);
            let output = b.inst(Attrs::of(Op::Load).with(Space::Param), Type::I64, 8, &[zero]);
            let output = b.body.results(output)[0];
            let thread = b.op(Attrs::of(Op::Sreg).with(Sreg::TidX), Type::I32, &[]);
            let stride = b.constant(Type::I32, STRIDE);
            let product =
                b.inst_with(Attrs::of(Op::IMulWide).with(Sign::U), Type::I32, 0, &[thread, stride], &[Type::I64]);
            let offset = b.body.results(product)[0];
            let start = b.constant(Type::I64, written);
            let offset = b.op(Op::IAdd, Type::I64, &[offset, start]);
            base = b.op(Op::IAdd, Type::I64, &[output, offset]);
        }
        let mut r = Recorder { b: &mut b, base };
        r.event(BLOCK, block.index() as u64, None);
        let traced = |r: &Recorder<'_, '_>, v: Value| r.b.body.ty(v).scalar != Scalar::I128;
        let mut defined = |r: &mut Recorder<'_, '_>, v: Value| {
            let claim = uniform.value(v);
            if claim != Uniformity::Divergent && traced(r, v) {
                claims.insert(DEFINED << KIND | v.index() as u64, claim);
                r.event(DEFINED, v.index() as u64, Some(v));
            }
        };
        for v in params {
            defined(&mut r, v);
        }
        let mut used: Vec<(u64, Uniformity)> = Vec::new();
        for inst in insts {
            let results = r.b.body.results(inst).to_vec();
            for v in r.b.body.args(inst).to_vec() {
                let claim = uniform.value_in(v, block);
                let here = definitions[v.index()] == Some(block);
                if claim != Uniformity::Divergent && !here && traced(&r, v) {
                    // One number a value and block.
                    let number = (block.index() * 4096 + v.index()) as u64;
                    used.push((USED << KIND | number, claim));
                    r.event(USED, number, Some(v));
                }
            }
            r.b.body.append(block, inst);
            for v in results {
                defined(&mut r, v);
            }
        }
        claims.extend(used);
    }
    (claims, cfg, loops, uniform)
}

/// The iterations of the loops around the block in which a thread is, from the outside in.
type Instance = Vec<(Block, u64)>;

fn enter(instance: &mut Instance, block: Block, loops: &LoopForest) {
    instance.retain(|(header, _)| loops.headed_by(*header).is_some_and(|l| loops.contains(l, block)));
    if loops.headed_by(block).is_some() {
        match instance.last_mut() {
            Some((header, n)) if *header == block => *n += 1,
            _ => instance.push((block, 0)),
        }
    }
}

#[test]
fn claims_hold_in_random_programs() {
    let (mut checked, mut skipped) = (0, 0);
    for seed in 0..PROGRAMS {
        let config = Config { statements: 5 + seed as usize % 30, ..Config::default() };
        let mut p = program(&mut Source::from_seed(seed), &config);
        p.grid = [1; 3];
        let written = (u64::from(p.block[0]) * 256) as usize;
        p.output_bytes = written;
        let original = p.module.clone();
        let (claims, cfg, loops, uniform) = instrument(&mut p);
        verify(&p.module).unwrap_or_else(|e| panic!("{}\n{}", render(&e, "program", ""), p.module));
        let output = p.run(&p.module, 1).unwrap_or_else(|fault| panic!("{fault}\n{}", p.module));
        let threads = p.block[0] as usize;
        let word = |at: usize| u64::from_le_bytes(output[at..at + 8].try_into().unwrap());
        // Who was where, and the first lane's number for each event and instance, by warp and for the block.
        let mut seen: HashMap<(u64, Instance, Option<usize>), (usize, u64)> = HashMap::new();
        let mut present: HashMap<(Block, Instance), Vec<usize>> = HashMap::new();
        let overflow = (0..threads).any(|t| word(written + t * STRIDE as usize) > EVENTS);
        if overflow {
            skipped += 1;
            continue;
        }
        for thread in 0..threads {
            let base = written + thread * STRIDE as usize;
            let mut instance = Instance::new();
            for n in 1..=word(base) as usize {
                let (id, bits) = (word(base + n * EVENT_BYTES as usize), word(base + n * EVENT_BYTES as usize + 8));
                if id >> KIND == BLOCK {
                    let block = Block::new((id & ((1 << KIND) - 1)) as usize);
                    enter(&mut instance, block, &loops);
                    present.entry((block, instance.clone())).or_default().push(thread);
                    continue;
                }
                let warp = (claims[&id] == Uniformity::Warp).then_some(thread / 32);
                let (first, expected) = *seen.entry((id, instance.clone(), warp)).or_insert((thread, bits));
                checked += 1;
                assert_eq!(
                    bits, expected,
                    "program {seed}: event {id:#x} of threads {thread} and {first} in {instance:?} differs:\n{original}"
                );
            }
        }
        for ((block, instance), there) in &present {
            assert!(cfg.is_reachable(*block));
            let complete = match uniform.control(*block) {
                Uniformity::Divergent => true,
                Uniformity::Block => there.len() == threads,
                Uniformity::Warp => {
                    (0..threads / 32).all(|w| [0, 32].contains(&there.iter().filter(|t| *t / 32 == w).count()))
                }
            };
            assert!(complete, "program {seed}: {block} in {instance:?} is entered by {there:?} only:\n{original}");
        }
    }
    assert!(checked > 100_000 && skipped < PROGRAMS / 4, "{checked} values, {skipped} programs too long");
}
