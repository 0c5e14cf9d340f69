//! The interpreter: the engine that says what PTX means.

use hetir::attr::Space;
use hetir::diag::{Severity, line_column, render};
use hetir::entity::FuncId;
use hetir::interp::texture::{Kind, Object, Texture};
use hetir::interp::{self, Arena, Checks, Heap, Launch, Memory as _, Options, place_globals};
use hetir::ir::{Function, FunctionKind, Module};
use hetir::verify::verify;

use crate::engine::{Engine, Failure, Printed};
use crate::header::{Arg, Buffer, ExpectedError, Run};

/// More lane-ops than any filetest needs: a kernel that does not end is stopped.
const MAX_STEPS: u64 = 400_000_000;

/// Memory of device-side `malloc`.
pub(super) const HEAP_BYTES: u64 = 8 << 20;

/// The workspace of a cooperative launch.
pub(super) const WORKSPACE_BYTES: usize = 4096;

/// The first handle of a texture, sampler or surface; one after the other by argument.
const FIRST_HANDLE: u64 = 0x7e00_0000_0001;

/// The name of the text in messages.
pub(super) const FILE: &str = "filetest";

/// Lifts a text to hetIR, every function of it. What was lifted must verify.
pub fn lift(ptx: &str) -> Result<Module, Failure> {
    let output = ptx_frontend::lift_text(ptx, ptx_frontend::Options { lenient: false });
    let refused = |diagnostics: Vec<_>| Failure::Refused { log: render(&diagnostics, FILE, ptx) };
    let module = output.into_result().map_err(refused)?;
    let invalid = |diagnostics: Vec<_>| {
        Failure::Broken(format!("what was lifted does not verify:\n{}", render(&diagnostics, FILE, ptx)))
    };
    verify(&module).map_err(invalid)?;
    Ok(module)
}

/// Compares the errors of the front end with the expected ones; `Err` says what is wrong.
pub fn judge_errors(ptx: &str, expected: &[ExpectedError]) -> Result<(), String> {
    let output = ptx_frontend::lift_text(ptx, ptx_frontend::Options { lenient: false });
    let errors: Vec<_> = output.diagnostics.into_iter().filter(|d| d.severity == Severity::Error).collect();
    let rendered = render(&errors, FILE, ptx);
    for wanted in expected {
        let met = errors.iter().any(|error| {
            let line = error.span().map(|span| line_column(ptx, span.start).0);
            error.message.contains(&wanted.message) && (wanted.line.is_none() || wanted.line == line)
        });
        if !met {
            let place = wanted.line.map_or(String::new(), |line| format!(" on line {line}"));
            return Err(format!("no error{place} with {:?}; there are:\n{rendered}", wanted.message));
        }
    }
    if errors.len() > expected.len() {
        return Err(format!("{} errors are expected, there are:\n{rendered}", expected.len()));
    }
    Ok(())
}

/// What an engine executes, given a lifted text, the number of the kernel in it, and the addresses of variables.
pub struct Executed {
    pub module: Module,
    pub kernel: usize,
    pub globals: Vec<u64>,
    /// Behind the kernel's own parameters: where, and which bytes, given the address of the workspace.
    pub hidden: Vec<(u32, Vec<u8>)>,
}

/// The engine.
pub struct Interp;

impl Engine for Interp {
    fn name(&self) -> &str {
        "interp"
    }

    fn has_seeds(&self) -> bool {
        true
    }

    fn run(&self, ptx: &str, run: &Run, seed: u32, buffers: &mut [Vec<u8>]) -> Result<Printed, Failure> {
        execute(ptx, run, seed, buffers, |module, kernel, globals, _, _| {
            Ok(Executed { module, kernel, globals, hidden: Vec::new() })
        })
    }
}

/// Runs a kernel of a text, or what `prepare` makes of the lifted module, its kernel, the addresses of variables and that of the
/// workspace, and memory.
pub fn execute(
    ptx: &str,
    run: &Run,
    seed: u32,
    buffers: &mut [Vec<u8>],
    prepare: impl FnOnce(Module, usize, Vec<u64>, u64, &mut Arena) -> Result<Executed, Failure>,
) -> Result<Printed, Failure> {
    let module = lift(ptx)?;
    let index = module.functions.iter().position(|function| function.name == run.kernel);
    let Some(index) = index else {
        return Err(Failure::Broken(format!("there is no kernel `{}`", run.kernel)));
    };
    let mut memory = Arena::new();
    let addresses: Vec<u64> = buffers
        .iter()
        .enumerate()
        .map(|(index, bytes)| memory.alloc(format!("buffer {index}"), bytes.clone()))
        .collect();
    let mut params = parameters(&module.functions[index], run, &addresses, handle).map_err(Failure::Broken)?;
    let placed = module.globals.iter().filter(|g| g.space != Space::Shared);
    let mut places: Vec<u64> = placed.map(|g| memory.alloc(g.name.clone(), vec![0; g.size as usize])).collect();
    places.reverse();
    let globals = place_globals(&module, |_| places.pop().unwrap_or_default(), &mut memory)
        .map_err(|fault| Failure::Broken(fault.to_string()))?;
    let images = images(run, &addresses);
    for (object, variable) in &images {
        let Some(name) = variable else { continue };
        let place = module.globals.iter().position(|g| g.name == *name && g.opaque.is_some());
        let Some(place) = place else {
            return Err(Failure::Broken(format!("there is no texture, sampler or surface variable `{name}`")));
        };
        let written = memory.write(globals[place], &object.handle.to_le_bytes());
        written.map_err(|fault| Failure::Broken(fault.to_string()))?;
    }
    let images: Vec<Object> = images.into_iter().map(|(object, _)| object).collect();
    let mut heap = Heap::new(memory.alloc("heap", vec![0; HEAP_BYTES as usize]), HEAP_BYTES);
    let workspace = memory.alloc("workspace", vec![0; WORKSPACE_BYTES]);
    let Executed { module, kernel, globals, hidden } = prepare(module, index, globals, workspace, &mut memory)?;
    for (at, bytes) in hidden {
        params.resize(at as usize, 0);
        params.extend(bytes);
    }
    let launch = Launch {
        grid: run.grid,
        block: run.block,
        cluster: run.cluster,
        dynamic_shared: run.shared,
        params: &params,
        globals: &globals,
        cooperative: run.cooperative,
        workspace,
        images: &images,
        ..Launch::new(&module, FuncId::new(kernel))
    };
    let mut printed = Vec::new();
    let mut print = |bytes: &[u8]| printed.extend_from_slice(bytes);
    let mut options = Options {
        seed: u64::from(seed),
        checks: Checks {
            races: !run.unchecked.contains_key("race"),
            uninitialised: !run.unchecked.contains_key("uninitialised"),
        },
        max_steps: Some(MAX_STEPS),
        heap: Some(&mut heap),
        print: Some(&mut print),
        ..Options::default()
    };
    let outcome = interp::run(&launch, &mut memory, &mut options);
    for (buffer, address) in buffers.iter_mut().zip(&addresses) {
        if let Some(region) = memory.region(*address) {
            buffer.clone_from(&region.data);
        }
    }
    match outcome {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&printed).into_owned())),
        Err(fault) => {
            Err(Failure::Fault { kind: fault.kind, message: render(&[fault.diagnostic(Severity::Error)], FILE, ptx) })
        }
    }
}

/// The textures, samplers and surfaces among the arguments, with the variables that they are bound to.
fn images(run: &Run, addresses: &[u64]) -> Vec<(Object, Option<String>)> {
    let mut next = addresses.iter();
    let mut out = Vec::new();
    for (n, arg) in run.args.iter().enumerate() {
        let (kind, variable) = match arg {
            Arg::Value(_) => continue,
            Arg::Sampler(sampler) => (Kind::Sampler(sampler.what), &sampler.variable),
            Arg::Buffer(buffer) => {
                let address = next.next().copied().unwrap_or_default();
                let Some(view) = &buffer.view else { continue };
                let mut image = view.what.image.clone();
                image.levels.iter_mut().for_each(|level| level.address += address);
                let kind = match view.what.texture {
                    Some((sampler, normalized_floats)) => Kind::Texture(Texture { image, sampler, normalized_floats }),
                    None => Kind::Surface(image),
                };
                (kind, &view.variable)
            }
        };
        out.push((Object { handle: handle(n), kind }, variable.clone()));
    }
    out
}

/// The handle of an argument.
fn handle(argument: usize) -> u64 {
    FIRST_HANDLE + argument as u64
}

/// The parameter block of a launch, given the addresses of its buffers and the handles of its arguments.
pub(super) fn parameters(
    kernel: &Function,
    run: &Run,
    addresses: &[u64],
    handle: impl Fn(usize) -> u64,
) -> Result<Vec<u8>, String> {
    let FunctionKind::Kernel { params, .. } = &kernel.kind else {
        return Err(format!("`{}` is no kernel", run.kernel));
    };
    let mut next = addresses.iter();
    let values: Vec<Vec<u8>> = run
        .args
        .iter()
        .enumerate()
        .filter_map(|(n, arg)| {
            let handle = handle(n).to_le_bytes().to_vec();
            match arg {
                Arg::Value(bytes) => Some(bytes.clone()),
                Arg::Sampler(sampler) => Some(handle).filter(|_| sampler.variable.is_none()),
                Arg::Buffer(Buffer { view, .. }) => {
                    let address = next.next().copied().unwrap_or_default();
                    match view {
                        None => Some(address.to_le_bytes().to_vec()),
                        Some(view) => Some(handle).filter(|_| view.variable.is_none()),
                    }
                }
            }
        })
        .collect();
    let sizes: Vec<usize> = params.iter().map(|param| param.size as usize).collect();
    let given: Vec<usize> = values.iter().map(Vec::len).collect();
    if sizes != given {
        return Err(format!("the kernel's parameters have sizes {sizes:?}, given are {given:?}"));
    }
    let end = params.iter().map(|param| (param.offset + param.size) as usize).max().unwrap_or(0);
    let mut block = vec![0; end];
    for (param, value) in params.iter().zip(&values) {
        block[param.offset as usize..][..value.len()].copy_from_slice(value);
    }
    Ok(block)
}
