//! Programs of many threads that hetIR's own generator makes of the input: they end without a fault, whatever the order
//! of their threads, and passes keep their result.

use hetir::diag::render;
use hetir::ir::{InstData, Module};
use hetir::random::{Config, Program, Source, program};
use hetir::types::Type;
use hetir::{passes, text, verify};

use super::Answer;
use crate::random::Random;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    (0..16).map(|seed| (0..256 << (seed / 3)).map(|n| Random(seed << 32 | n).bits() as u8).collect()).collect()
}

pub(super) fn run(bytes: &[u8]) -> Answer {
    let config = Config { statements: 8 + bytes.len().min(4096) / 64, ..Config::default() };
    let program = program(&mut Source::from_bytes(bytes), &config);
    let expected = result(&program, &program.module, 1, "as it is");
    assert_eq!(result(&program, &program.module, 2, "in another order"), expected, "{}", program.module);
    let mut answer = Answer::NONE;
    let mut expanded = program.module.clone();
    let changes = passes::expand::run(&mut expanded, &|_: &InstData, _: Type| false);
    assert_eq!(result(&program, &expanded, 1, "expanded"), expected, "{}\n{expanded}", program.module);
    for (mut module, what) in [(program.module.clone(), "cleaned"), (expanded, "expanded and cleaned")] {
        let cleaned = passes::cleanup(&mut module);
        assert_eq!(result(&program, &module, 1, what), expected, "{}\n{what}\n{module}", program.module);
        answer = answer.with(if cleaned { "cleaned" } else { "clean" }).with(&shape(&module));
    }
    answer.with(if changes { "expanded" } else { "" })
}

fn result(program: &Program, module: &Module, seed: u64, what: &str) -> Vec<u8> {
    if let Err(errors) = verify::verify(module) {
        panic!("{what} it does not verify: {}\n{module}", render(&errors, "program", ""));
    }
    let printed = text::print(module);
    match text::parse(&printed) {
        Ok(again) => assert_eq!(text::print(&again), printed, "printing is not stable"),
        Err(errors) => panic!("what was printed does not parse: {}", render(&errors, "printed", &printed)),
    }
    program.run(module, seed).unwrap_or_else(|fault| panic!("{what} it fails: {fault}\n{module}"))
}

/// How many blocks there are, by the powers of two, and ops among the last ones that functions begin to use.
fn shape(module: &Module) -> String {
    let bodies = module.functions.iter().filter_map(|f| f.body.as_ref());
    bodies
        .map(|body| {
            let mut ops: Vec<&str> = Vec::new();
            for inst in body.blocks.iter().flat_map(|b| &b.insts) {
                let name = body.inst(*inst).op.info().name;
                if !ops.contains(&name) {
                    ops.push(name);
                }
            }
            format!("{}{}", "+".repeat(body.blocks.len().ilog2() as usize), ops[ops.len().saturating_sub(3)..].concat())
        })
        .collect()
}
