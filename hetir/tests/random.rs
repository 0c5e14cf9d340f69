//! Random programs: the verifier accepts them, their text reads back, and passes keep what they mean.

mod common;

use common::assert_same;
use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::{Dominators, PostDominators};
use hetir::analysis::live::Liveness;
use hetir::analysis::loops::LoopForest;
use hetir::analysis::uniform::Uniform;
use hetir::diag::render;
use hetir::eval::is_pure;
use hetir::ir::{InstData, Module};
use hetir::op::Op;
use hetir::passes::{self, expand};
use hetir::random::{Config, Program, Source, program};
use hetir::text;
use hetir::types::Type;
use hetir::verify::verify;
use std::collections::BTreeSet;

const PROGRAMS: u64 = 400;

fn programs() -> impl Iterator<Item = (u64, Program)> {
    (0..PROGRAMS).map(|seed| {
        let config = Config { statements: 10 + seed as usize % 60, ..Config::default() };
        (seed, program(&mut Source::from_seed(seed), &config))
    })
}

fn verified(module: &Module, what: &str) {
    if let Err(errors) = verify(module) {
        panic!("{what} does not verify:\n{}\n{module}", render(&errors, "program", ""));
    }
}

#[test]
fn programs_verify_and_their_text_reads_back() {
    let mut ops = BTreeSet::new();
    for (seed, p) in programs() {
        verified(&p.module, &format!("program {seed}"));
        let printed = text::print(&p.module);
        let read = text::parse(&printed).unwrap_or_else(|e| panic!("{}\n{printed}", render(&e, "printed", &printed)));
        assert_same(&p.module, &read);
        assert_eq!(text::print(&read), printed);
        for f in &p.module.functions {
            let body = f.body.as_ref().unwrap();
            ops.extend(body.insts.iter().map(|i| i.op));
            let cfg = Cfg::of(body);
            let loops = LoopForest::of(&cfg, &Dominators::of(&cfg));
            assert!(!loops.is_irreducible());
            Liveness::of(body, &cfg);
            Uniform::of(f, &cfg, &PostDominators::of(&cfg), &loops);
        }
    }
    let others = [
        Op::Load,
        Op::Store,
        Op::Atom,
        Op::Cas,
        Op::Fence,
        Op::ToGeneric,
        Op::FromGeneric,
        Op::IsSpace,
        Op::Alloca,
        Op::Sreg,
        Op::WarpSync,
        Op::Elect,
        Op::Shuffle,
        Op::Vote,
        Op::Ballot,
        Op::MatchAny,
        Op::MatchAll,
        Op::Redux,
        Op::Mma,
        Op::MovMatrix,
        Op::Barrier,
        Op::BarrierRed,
        Op::Call,
        Op::CallIndirect,
        Op::Br,
        Op::BrIf,
        Op::Switch,
        Op::Ret,
        Op::Exit,
    ];
    let wanted = Op::ALL.iter().filter(|op| is_pure(**op)).chain(&others);
    let missing: Vec<&Op> = wanted.filter(|op| !ops.contains(op)).collect();
    assert!(missing.is_empty(), "no program holds {missing:?}");
}

fn run(p: &Program, module: &Module, seed: u64, what: &str) -> Vec<u8> {
    p.run(module, seed).unwrap_or_else(|fault| panic!("{what}: {fault}\n{module}"))
}

/// A device that has nothing that can be expanded.
fn has_nothing(_: &InstData, _: Type) -> bool {
    false
}

#[test]
fn passes_keep_what_programs_mean() {
    for (seed, p) in programs() {
        let expected = run(&p, &p.module, 1, &format!("program {seed}"));
        assert_eq!(
            run(&p, &p.module, 2, "another order"),
            expected,
            "program {seed} depends on the order:\n{}",
            p.module
        );
        let mut cleaned = p.module.clone();
        passes::cleanup(&mut cleaned);
        verified(&cleaned, "the cleaned program");
        assert_eq!(run(&p, &cleaned, 1, "cleaned"), expected, "program {seed}:\n{}\ncleaned:\n{cleaned}", p.module);
        let mut expanded = p.module.clone();
        expand::run(&mut expanded, &has_nothing);
        verified(&expanded, "the expanded program");
        assert_eq!(run(&p, &expanded, 1, "expanded"), expected, "program {seed}:\n{}\nexpanded:\n{expanded}", p.module);
        passes::cleanup(&mut expanded);
        verified(&expanded, "the expanded and cleaned program");
        assert_eq!(run(&p, &expanded, 1, "both"), expected, "program {seed}:\n{}\nboth:\n{expanded}", p.module);
    }
}

/// Sums and products that may be joined, of small whole numbers: nothing is rounded, whichever way they are computed.
fn whole_numbers(random: &mut common::Random) -> String {
    const INPUTS: usize = 6;
    let mut pick = |count: usize| (random.next() % count as u64) as usize;
    let mut lines = vec![String::from("    v0: f32 = const 0x3f800000")];
    for n in 1..=INPUTS {
        let sign = ["fadd", "fsub"][pick(2)];
        lines.push(format!("    v{n}: f32 = {sign}.rn v{}, v0", n - 1));
    }
    let first = lines.len();
    let last = first + 4 + pick(12);
    for n in first..last {
        let op = ["fmul", "fmul", "fadd", "fadd", "fsub", "fneg"][pick(6)];
        let [x, y] = [0; 2].map(|_| if op == "fmul" || n == first { pick(INPUTS) } else { n - 1 - pick(n.min(7)) });
        let contract = if pick(8) == 0 { "" } else { ".contract" };
        lines.push(match op {
            "fneg" => format!("    v{n}: f32 = fneg v{x}"),
            _ => format!("    v{n}: f32 = {op}.rn{contract} v{x}, v{y}"),
        });
    }
    let results = [last - 1, last - 2, first + pick(last - first)];
    format!(
        "func @f() -> (f32, f32, f32) {{\nblock0:\n{}\n    ret v{}, v{}, v{}\n}}\n",
        lines.join("\n"),
        results[0],
        results[1],
        results[2]
    )
}

#[test]
fn joining_products_and_sums_changes_nothing_where_nothing_is_rounded() {
    let mut joined = 0;
    let mut random = common::Random(11);
    for _ in 0..PROGRAMS {
        let source = whole_numbers(&mut random);
        let results = |joins: bool| {
            let mut module =
                text::parse(&source).unwrap_or_else(|e| panic!("{}\n{source}", render(&e, "source", &source)));
            let body = module.functions[0].body.as_mut().unwrap();
            let changed = joins && passes::contract::run(body);
            assert!(!changed || !passes::contract::run(body), "the second run joins more:\n{source}");
            let fused = body.blocks[0].insts.iter().any(|i| body.inst(*i).op == Op::FFma);
            assert_eq!(fused, changed, "{source}");
            verified(&module, "the joined program");
            passes::cleanup(&mut module);
            let body = module.functions[0].body.as_ref().unwrap();
            let end = *body.blocks[0].insts.last().unwrap();
            let values: Option<Vec<u64>> = body.args(end).iter().map(|v| body.constant(*v)).collect();
            (values.unwrap_or_else(|| panic!("not all is constant:\n{module}")), changed)
        };
        let ((plain, _), (fused, changed)) = (results(false), results(true));
        assert_eq!(plain, fused, "{source}");
        joined += usize::from(changed);
    }
    assert!(joined > PROGRAMS as usize / 4, "only {joined} programs had anything to join");
}

#[test]
fn any_bytes_are_a_program() {
    let mut random = common::Random(5);
    for length in [0, 1, 10, 100, 1000, 10_000] {
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let p = program(&mut Source::from_bytes(&bytes), &Config::default());
        verified(&p.module, "the program");
        run(&p, &p.module, 1, "the program");
    }
}

/// Lanes that come to a barrier at different times count once.
#[test]
fn lanes_of_a_warp_meet_at_a_counted_barrier() {
    let module = text::parse(
        "kernel @k(input: 8 align 8 at 0, output: 8 align 8 at 8) {
block0:
    v0: i32 = sreg.tid.x
    v1: i32 = const 7
    v2: i32 = const 32
    v3: b1 = icmp.lt.u v0, v1
    brif v3, block1, block2
block1:
    exit
block2:
    v4: i32 = const 9
    v5: b1 = icmp.lt.u v0, v4
    brif v5, block3, block4
block3:
    barrier.aligned v1, v2
    ret
block4:
    v6: i32 = shl v0, v4
    br block5(v6)
block5(v7: i32):
    v8: i32 = isub v7, v4
    v9: b1 = icmp.gt.s v8, v1
    brif v9, block5(v8), block3
}
",
    )
    .unwrap();
    verified(&module, "the kernel");
    let kernel = module.function("k").unwrap();
    let p = Program { module, kernel, grid: [1; 3], block: [32, 1, 1], input: vec![0], output_bytes: 1 };
    for seed in 0..20 {
        run(&p, &p.module, seed, "the kernel");
    }
}
