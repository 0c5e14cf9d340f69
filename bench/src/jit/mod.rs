//! How long kernels take to compile, from nothing and from the cache.

mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use hetgpu_llvm::abi::HELPERS;
use hetgpu_llvm::host::{Features, Form, Jit, Options, Shape, Stage};
use hetir::entity::FuncId;
use hetir::ir::Module;
use hetir::passes::suspend::Plan;
use serde_json::{Value, json};

/// Processes that are timed for each figure; the best counts, since everything else on the machine only makes one slower.
const ROUNDS: usize = 5;

/// Instructions of the kernels that are made for this.
const LENGTHS: [usize; 3] = [100, 1000, 5000];

const BLOCK: [u32; 3] = [256, 1, 1];

/// Measures the kernels of a folder of PTX, and some of known length.
pub(crate) fn run(folder: &Path, features: &str, json: Option<&Path>) -> Result<(), String> {
    features_of(features)?;
    let work = std::env::temp_dir().join(format!("hetgpu-bench-jit-{}", std::process::id()));
    std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let result = table(folder, features, &work);
    // What is left behind is in a folder for what may be lost.
    drop(std::fs::remove_dir_all(&work));
    let rows = result?;
    if let Some(path) = json {
        let report = json!({ "bench": "jit", "features": features, "rounds": ROUNDS, "kernels": rows });
        std::fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn table(folder: &Path, features: &str, work: &Path) -> Result<Vec<Value>, String> {
    let mut files = Vec::new();
    for length in LENGTHS {
        let file = work.join(format!("{length} instructions")).with_extension("ptx");
        std::fs::write(&file, sample::kernel(length)).map_err(|error| format!("{}: {error}", file.display()))?;
        files.push(file);
    }
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut others: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    others.retain(|path| path.extension().is_some_and(|extension| extension == "ptx"));
    others.sort();
    files.extend(others);
    println!("{features}, best of {ROUNDS} processes, block of {BLOCK:?}; milliseconds");
    println!(
        "{:<32} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9}",
        "kernel", "insts", "lower", "optimise", "emit", "cold", "warm", "bytes"
    );
    let mut rows = Vec::new();
    for file in &files {
        for kernel in kernels(file)? {
            rows.push(row(file, &kernel, features, work)?);
        }
    }
    Ok(rows)
}

/// One kernel's line.
fn row(file: &Path, kernel: &str, features: &str, work: &Path) -> Result<Value, String> {
    let mut best: Option<[Vec<u64>; 2]> = None;
    for round in 0..ROUNDS {
        let cache = work.join(format!("cache-{round}"));
        let cold = once(file, kernel, features, &cache)?;
        let warm = once(file, kernel, features, &cache)?;
        std::fs::remove_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
        let [best_cold, best_warm] = best.get_or_insert_with(|| [cold.clone(), warm.clone()]);
        if cold[0] < best_cold[0] {
            *best_cold = cold;
        }
        if warm[0] < best_warm[0] {
            *best_warm = warm;
        }
    }
    let [cold, warm] = best.unwrap_or_default();
    let name = format!("{}: {kernel}", file.file_stem().unwrap_or_default().to_string_lossy());
    let ([all, lower, optimise, emit, bytes, insts, _], [warm, .., 1]) = (&cold[..], &warm[..]) else {
        return Err(format!("{name}: the second time, it did not come from the cache"));
    };
    let ms = |us: u64| us as f64 / 1e3;
    println!(
        "{name:<32} {insts:>7} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.2} {bytes:>9}",
        ms(*lower),
        ms(*optimise),
        ms(*emit),
        ms(*all),
        ms(*warm)
    );
    Ok(json!({ "name": name, "instructions": insts, "bytes": bytes, "lower_ms": ms(*lower),
        "optimise_ms": ms(*optimise), "emit_ms": ms(*emit), "cold_ms": ms(*all), "warm_ms": ms(*warm) }))
}

/// Compiles in a process of its own, which knows nothing of LLVM before. Gives microseconds in all, for lowering,
/// optimisation and emission, bytes of code, instructions of hetIR, and whether it came from the cache.
fn once(file: &Path, kernel: &str, features: &str, cache: &Path) -> Result<Vec<u64>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["compile", features, kernel]).arg(file).arg(cache);
    let output = command.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    if figures.len() == 7 {
        Ok(figures)
    } else {
        Err(format!("{}: {kernel}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim_end()))
    }
}

/// What [`once`] runs.
pub(crate) fn compile(features: &str, kernel: &str, file: &Path, cache: &Path) -> Result<(), String> {
    extern "C" fn never() {}
    let module = module(file)?;
    let kernel = module.function(kernel).ok_or("no such kernel")?;
    let start = Instant::now();
    let options = Options { features: features_of(features)?, cache: Some(cache.to_path_buf()), cache_limit: 1 << 30 };
    // The code is not run, so that its helpers need not be any.
    let helpers: Vec<_> = HELPERS.iter().map(|helper| (helper.name, never as *const () as usize)).collect();
    let jit = Jit::new(options, &helpers).map_err(|error| error.to_string())?;
    let shape = Shape { block: BLOCK, form: Form::Warp };
    let code = jit.compile(&module, kernel, &shape).map_err(|error| error.to_string())?;
    let all = start.elapsed().as_micros();
    let times = code.times();
    println!(
        "{all} {} {} {} {} {} {}",
        times.lower_us,
        times.optimise_us,
        times.emit_us,
        code.bytes(),
        instructions(&module, kernel),
        u8::from(times.cached)
    );
    Ok(())
}

/// Prints what a kernel becomes.
pub(crate) fn show(stage: &str, features: &str, kernel: &str, file: &Path) -> Result<(), String> {
    let stages = [("lowered", Stage::Lowered), ("optimised", Stage::Optimised), ("assembly", Stage::Assembly)];
    let (_, stage) =
        stages.into_iter().find(|(name, _)| *name == stage).ok_or_else(|| format!("no stage `{stage}`"))?;
    print!("{}", text(stage, features_of(features)?, kernel, file)?);
    Ok(())
}

/// What a kernel becomes.
fn text(stage: Stage, features: Features, kernel: &str, file: &Path) -> Result<String, String> {
    let mut module = module(file)?;
    let (name, sites) = kernel.strip_suffix("+sites").map_or((kernel, false), |name| (name, true));
    let kernel = module.function(name).ok_or("no such kernel")?;
    if sites {
        module = Plan::of(&module, kernel, BLOCK).ok_or("no such kernel")?.suspendable();
    }
    let options = Options { features, cache: None, cache_limit: 0 };
    let jit = Jit::new(options, &[]).map_err(|error| error.to_string())?;
    let shape = Shape { block: BLOCK, form: Form::Warp };
    jit.text(&module, kernel, &shape, stage).map_err(|error| error.to_string())
}

fn features_of(name: &str) -> Result<Features, String> {
    [("native", Features::Native), ("sse2", Features::Sse2), ("avx2", Features::Avx2), ("avx512", Features::Avx512)]
        .into_iter()
        .find_map(|(known, features)| (known == name).then_some(features))
        .ok_or_else(|| format!("no features `{name}`"))
}

fn module(file: &Path) -> Result<Module, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(ptx_frontend::lift_text(&text, ptx_frontend::Options { lenient: false }).module)
}

fn kernels(file: &Path) -> Result<Vec<String>, String> {
    let kernels = module(file)?.functions.into_iter().filter(|function| function.is_kernel());
    Ok(kernels.map(|kernel| kernel.name).collect())
}

fn instructions(module: &Module, kernel: FuncId) -> usize {
    let body = module.functions.get(kernel.index()).and_then(|function| function.body.as_ref());
    body.iter().flat_map(|body| &body.blocks).map(|block| block.insts.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack that is aligned takes a register from the whole kernel. Of these kernels the plain form needs none, and what
    /// the other form has more is hardly ever executed.
    #[test]
    fn kernels_that_can_be_suspended_keep_their_registers() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        for name in ["mandelbrot", "matmul_tiled", "nbody"] {
            let file = folder.join(name).with_extension("ptx");
            for kernel in [name.to_owned(), format!("{name}+sites")] {
                let assembly = text(Stage::Assembly, Features::Native, &kernel, &file).unwrap();
                let (_, code) = assembly.split_once("\nhetgpu_kernel:").unwrap();
                let (code, _) = code.split_once("-- End function").unwrap();
                let aligned = code.lines().find(|line| line.contains("and") && line.contains(", %rsp"));
                assert_eq!(aligned, None, "{kernel}");
            }
        }
    }
}
