//! How long a module takes on its way to a card's driver: lifted and printed, and from what was kept of that.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use hetgpu_device::{Cache, Services};
use hetgpu_nvidia::Kept;
use hetgpu_nvidia::ptx::{Addresses, Part, Request, Target};
use hetgpu_runtime::Code;
use hetir::entity::FuncId;
use serde_json::{Value, json};

/// Processes that are timed for each figure; the best counts, since everything else on the machine only makes one slower.
const ROUNDS: usize = 7;

/// Measures the modules of folders of PTX.
pub(crate) fn run(folders: &[&str], json: Option<&Path>) -> Result<(), String> {
    let mut files = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.retain(|path: &PathBuf| path.extension().is_some_and(|extension| extension == "ptx"));
    files.sort_by_key(|path| path.file_stem().map(ToOwned::to_owned));
    let work = std::env::temp_dir().join(format!("hetgpu-bench-load-{}", std::process::id()));
    println!("best of {ROUNDS} processes; milliseconds");
    println!(
        "{:<20} {:>9} {:>8} {:>8} {:>8} {:>9} {:>11} {:>8}",
        "module", "bytes", "kernels", "lift", "print", "kept: all", "of that lift", "ratio"
    );
    let mut rows = Vec::new();
    for file in &files {
        let result = row(file, &work);
        // What is left behind is in a folder for what may be lost.
        drop(std::fs::remove_dir_all(&work));
        rows.extend(result?);
    }
    let ratios = rows.iter().filter_map(|row: &Value| row["ratio"].as_f64());
    let (sum, count) = ratios.fold((0.0, 0), |(sum, count), ratio| (sum + ratio.ln(), count + 1));
    println!("geometric mean of the ratios: {:.3}", (sum / f64::from(count.max(1))).exp());
    if let Some(path) = json {
        let report = json!({ "bench": "load", "rounds": ROUNDS, "modules": rows });
        std::fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// One module's line; none where there is nothing to print.
fn row(file: &Path, work: &Path) -> Result<Option<Value>, String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut best: [Option<[u64; 3]>; 2] = [None, None];
    for _ in 0..ROUNDS {
        for best in &mut best {
            let [lift, print, kernels] = once(file, work)?;
            let is_better = best.is_none_or(|known| lift + print < known[0] + known[1]);
            if is_better {
                *best = Some([lift, print, kernels]);
            }
        }
        std::fs::remove_dir_all(work).map_err(|error| format!("{}: {error}", work.display()))?;
    }
    let [Some([lift, print, kernels]), Some([kept_lift, kept_print, _])] = best else { return Ok(None) };
    if kernels == 0 {
        return Ok(None);
    }
    let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let ratio = (kept_lift + kept_print) as f64 / (lift + print).max(1) as f64;
    let ms = |us: u64| us as f64 / 1e3;
    let (lift, print, kept, kept_lift) = (ms(lift), ms(print), ms(kept_lift + kept_print), ms(kept_lift));
    println!("{name:<20} {bytes:>9} {kernels:>8} {lift:>8.2} {print:>8.2} {kept:>9.2} {kept_lift:>11.2} {ratio:>8.3}");
    Ok(Some(json!({ "name": name, "bytes": bytes, "kernels": kernels, "lift_ms": lift, "print_ms": print,
        "kept_ms": kept, "kept_lift_ms": kept_lift, "ratio": ratio })))
}

/// In a process of its own, which knows nothing before: microseconds for lifting, and for printing each kernel, and how many.
fn once(file: &Path, cache: &Path) -> Result<[u64; 3], String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).arg("load-one").arg(file).arg(cache).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    figures
        .try_into()
        .map_err(|_| format!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim_end()))
}

/// What [`once`] runs.
pub(crate) fn one(file: &Path, cache: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let place = Cache { folder: cache.to_path_buf(), limit: 1 << 30 };
    hetgpu_runtime::keep_modules(&place);
    let kept = Kept::new(&Services { cache: Some(place), ..Services::default() });
    let start = Instant::now();
    let code = Code::from_text(text, "module").map_err(|error| error.to_string())?;
    let lift = start.elapsed().as_micros();
    let module = &code.module;
    // Variables are where a program may find them.
    let globals: Vec<u64> = (0..module.globals.len() as u64).map(|n| 0x7000_0000_0000 + (n << 12)).collect();
    let target = Target { compute: (9, 0), architecture_specific: true, isa: (9, 0) };
    let start = Instant::now();
    let mut kernels = 0;
    for (n, _) in module.functions.iter().enumerate().filter(|(_, f)| f.is_kernel() && f.body.is_some()) {
        let (kernel, addresses) = (FuncId::new(n), Addresses::Native);
        let request =
            Request { module, kernel, globals: &globals, target: &target, addresses, part: Part::Whole, stops: false };
        kept.print(&request).map_err(|error| format!("{}: {error}", file.display()))?;
        kernels += 1;
    }
    println!("{lift} {} {kernels}", start.elapsed().as_micros());
    Ok(())
}
