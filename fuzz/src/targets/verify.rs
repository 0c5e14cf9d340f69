//! hetIR text that parses but need not be right: the verifier says what is wrong, and of what it accepts nothing makes
//! analyses, passes or the interpreter panic.

use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::{Dominators, PostDominators};
use hetir::analysis::live::Liveness;
use hetir::analysis::loops::LoopForest;
use hetir::analysis::uniform::Uniform;
use hetir::diag::render;
use hetir::entity::FuncId;
use hetir::interp::{self, Arena, Checks, Launch, Options, place_globals};
use hetir::ir::{InstData, Module};
use hetir::random::{Config, Source, program};
use hetir::types::Type;
use hetir::{passes, text, verify};

use super::{Answer, kind_of};
use crate::seeds::files;

/// Most lane-ops of a program.
const MAX_STEPS: u64 = 20_000;
/// Bytes of all variables together that a program is still run with.
const MAX_GLOBALS: u64 = 1 << 20;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = files("tests/verify", &["het"]);
    seeds.extend(files("fuzz/seeds", &["het"]));
    let config = Config { statements: 12, ..Config::default() };
    seeds.extend((0..24).map(|seed| program(&mut Source::from_seed(seed), &config).module.to_string().into_bytes()));
    seeds
}

pub(super) fn run(bytes: &[u8]) -> Answer {
    let source = String::from_utf8_lossy(bytes);
    let Ok(mut module) = text::parse(&source) else { return Answer::NONE };
    let named = Answer::NONE.with("parsed");
    if let Err(errors) = verify::verify(&module) {
        let _ = render(&errors, "input", &source);
        // The errors of text without spans are told in another way.
        if let Ok(again) = text::parse(&text::print(&module)) {
            assert!(verify::verify(&again).is_err(), "what does not verify does after printing");
        }
        return errors.iter().take(3).fold(named, |a, d| a.with(d.code).with(&kind_of(&d.message)));
    }
    let mut answer = named.with("ok");
    for function in &module.functions {
        let Some(body) = &function.body else { continue };
        let cfg = Cfg::of(body);
        let loops = LoopForest::of(&cfg, &Dominators::of(&cfg));
        Uniform::of(function, &cfg, &PostDominators::of(&cfg), &loops);
        Liveness::of(body, &cfg);
        answer = answer.with(&"(".repeat(loops.len())).with(if loops.is_irreducible() { "knot" } else { "" });
    }
    answer = answer.with(&execute(&module));
    passes::cleanup(&mut module);
    passes::expand::run(&mut module, &|_: &InstData, _: Type| false);
    passes::cleanup(&mut module);
    if let Err(errors) = verify::verify(&module) {
        panic!("passes break it: {}\n{source}\n{module}", render(&errors, "input", ""));
    }
    execute(&module);
    answer
}

/// Runs each kernel with parameters of zeros and a little memory. Gives how they ended.
fn execute(module: &Module) -> String {
    let size: u64 = module.globals.iter().map(|g| g.size).sum();
    if size > MAX_GLOBALS {
        return String::new();
    }
    let mut ends = String::new();
    for (n, kernel) in module.functions.iter().enumerate().filter(|(_, f)| f.is_kernel()) {
        let mut memory = Arena::new();
        let buffer = memory.alloc("buffer", vec![0; 256]);
        let mut places: Vec<u64> =
            module.globals.iter().map(|g| memory.alloc(g.name.clone(), vec![0; g.size as usize])).collect();
        places.reverse();
        let Ok(globals) = place_globals(module, |_| places.pop().unwrap_or_default(), &mut memory) else { continue };
        let params: Vec<u8> = buffer.to_le_bytes().into_iter().cycle().take(kernel.param_bytes() as usize).collect();
        let launch = Launch {
            block: [40, 1, 1],
            params: &params,
            globals: &globals,
            dynamic_shared: 64,
            ..Launch::new(module, FuncId::new(n))
        };
        let mut options = Options {
            checks: Checks { races: true, uninitialised: true },
            max_steps: Some(MAX_STEPS),
            stack_bytes: 4096,
            ..Options::default()
        };
        let ended = interp::run(&launch, &mut memory, &mut options);
        ends.push_str(ended.err().map_or("end", |fault| fault.kind.code()));
    }
    ends
}
