//! Random programs: well typed, free of races and faults, and with a result that does not depend on the order in which
//! threads run. Pure ops are drawn from the op table by their signatures; what the verifier's rules forbid is drawn
//! again. So a new row is tried without a change here.
//!
//! Control flow is structured: branches, switches and loops of a few iterations, divergent ones among them, with
//! barriers where all threads of a block come by, and warp ops with exactly the lanes that do. Threads share nothing but
//! read-only input, words of shared memory that barriers separate, and counters on which only commuting atomics work.

mod function;
mod memory;
mod pure;
mod source;
mod warp;

pub use source::Source;

use crate::attr::Space;
use crate::diag::Span;
use crate::entity::{FuncId, GlobalId};
use crate::interp::{self, Arena, Checks, Fault, Launch, Options, place_globals};
use crate::ir::{Function, FunctionKind, Global, KernelParam, LaunchBounds, Linkage, Module, Signature};
use crate::types::Type;

/// Bytes of the input buffer that loads reach by their address; offsets reach [`INPUT_SLACK`] further.
const INPUT_BYTES: u64 = 1024;
const INPUT_SLACK: u64 = 64;
/// Bytes of output a thread has for itself: the first are its own memory, the others take results in the end.
const PRIVATE_BYTES: u64 = 64;
const RESULT_BYTES: u64 = 128;
const OUTPUT_STRIDE: u64 = 256;
/// Bytes of the table in `const` space.
const TABLE_BYTES: u64 = 64;
/// Most threads a block.
const MAX_BLOCK: u32 = 64;
/// Bytes of shared memory a thread.
const EXCHANGE_BYTES: u64 = 16;
/// Eight bytes for each commuting atomic, in global and in shared memory.
const COUNTER_BYTES: u64 = 256;
/// Steps of the interpreter after which a program is stopped; no program comes near it.
const MAX_STEPS: u64 = 50_000_000;

const TABLE: GlobalId = GlobalId::new(0);
const COUNTERS: GlobalId = GlobalId::new(1);
const SHARED_COUNTERS: GlobalId = GlobalId::new(2);
const EXCHANGE: GlobalId = GlobalId::new(3);

/// What programs are made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// About how many statements a function has.
    pub statements: usize,
    /// Most device functions.
    pub functions: usize,
    /// Approximate functions, whose bits devices may differ in.
    pub approximate: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { statements: 30, functions: 2, approximate: true }
    }
}

/// A module with a kernel, and a launch of it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The module.
    pub module: Module,
    /// Its kernel.
    pub kernel: FuncId,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads a block.
    pub block: [u32; 3],
    /// The first parameter's buffer, which is only read.
    pub input: Vec<u8>,
    /// Size of the second parameter's buffer, which is zero at first.
    pub output_bytes: usize,
}

/// Makes a program.
pub fn program(source: &mut Source<'_>, config: &Config) -> Program {
    let mut module = Module::default();
    // Data has a source of its own: it would take most of what a few bytes can decide.
    let mut data = Source::from_seed(source.bits());
    let table: Vec<u8> = (0..TABLE_BYTES).map(|_| data.bits() as u8).collect();
    let global = |name: &str, space, size, init| Global {
        name: name.into(),
        space,
        size,
        align: 32,
        linkage: Linkage::Visible,
        managed: false,
        init,
        relocations: Vec::new(),
        opaque: None,
        fields: Vec::new(),
        span: Span::default(),
    };
    module.globals = vec![
        global("table", Space::Const, TABLE_BYTES, table),
        global("counters", Space::Global, COUNTER_BYTES, Vec::new()),
        global("shared_counters", Space::Shared, COUNTER_BYTES, Vec::new()),
        global("exchange", Space::Shared, EXCHANGE_BYTES * u64::from(MAX_BLOCK), Vec::new()),
    ];
    for n in 0..source.below(config.functions + 1) {
        let mut types =
            |most: usize| -> Vec<Type> { (0..source.below(most + 1)).map(|_| pure::any_type(source)).collect() };
        // Members, input and own memory, then anything.
        let mut params = vec![Type::I32, Type::I64, Type::I64];
        params.extend(types(3));
        let mut f = Function::new(format!("f{n}"), FunctionKind::Device);
        f.linkage = Linkage::Local;
        f.signature = Signature { params, results: types(3) };
        function::generate(source, config, &mut module, f);
    }
    let params = ["input", "output"];
    let params = params.into_iter().zip([0, 8]).map(|(name, offset)| KernelParam {
        name: name.into(),
        offset,
        size: 8,
        align: 8,
        opaque: None,
    });
    let kernel = FunctionKind::Kernel { params: params.collect(), bounds: LaunchBounds::default() };
    function::generate(source, config, &mut module, Function::new("main", kernel));
    let block = [32 << source.below(2), 1, 1];
    let grid = [1 + source.below(3) as u32, 1, 1];
    let threads = u64::from(block[0]) * u64::from(grid[0]);
    Program {
        kernel: FuncId::new(module.functions.len() - 1),
        module,
        grid,
        block,
        input: (0..INPUT_BYTES + INPUT_SLACK).map(|_| pure::edge_bits(&mut data, Type::I8) as u8).collect(),
        output_bytes: (threads * OUTPUT_STRIDE) as usize,
    }
}

impl Program {
    /// Runs the program in the form that a module gives it, and gives what it leaves in its output and its counters.
    ///
    /// # Errors
    /// Any fault: a program has none.
    pub fn run(&self, module: &Module, seed: u64) -> Result<Vec<u8>, Box<Fault>> {
        let mut memory = Arena::new();
        let input = memory.alloc("input", self.input.clone());
        let output = memory.alloc("output", vec![0; self.output_bytes]);
        let mut places: Vec<u64> = module
            .globals
            .iter()
            .filter(|g| g.space != Space::Shared)
            .map(|g| memory.alloc(g.name.clone(), vec![0; g.size as usize]))
            .collect();
        places.reverse();
        let globals = place_globals(module, |_| places.pop().unwrap_or(0), &mut memory).unwrap_or_default();
        let params: Vec<u8> = [input, output].iter().flat_map(|a| a.to_le_bytes()).collect();
        let launch = Launch {
            grid: self.grid,
            block: self.block,
            params: &params,
            globals: &globals,
            ..Launch::new(module, self.kernel)
        };
        let checks = Checks { races: true, uninitialised: true };
        let mut options = Options { seed, checks, max_steps: Some(MAX_STEPS), ..Options::default() };
        interp::run(&launch, &mut memory, &mut options)?;
        let counters = globals.get(COUNTERS.index()).copied().unwrap_or(0);
        let bytes = |base| memory.region(base).map(|r| r.data.clone()).unwrap_or_default();
        Ok([bytes(output), bytes(counters)].concat())
    }
}
