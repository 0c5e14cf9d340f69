//! `cargo xtask bench nvidia`: the driver of a card by itself and behind our library. `bench/nvidia/run.py` measures, and
//! runs where there is no Rust; here figures and a page are made of what it wrote.

mod chart;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::report::Counts;
use crate::tool::{cargo, nvcc, root, succeeds};

const USAGE: &str = "\
cargo xtask bench nvidia                     measures on this machine's card and writes docs/bench/nvidia.json, .md and .svg
cargo xtask bench nvidia --report RAW.json   makes them of what bench/nvidia/run.py wrote on another machine
cargo xtask bench nvidia pauses|checkpoints [FLAGS]
                                             how long jobs on the card stand still: writes docs/bench/nvidia-checkpoints.md and .json;
                                             bench/nvidia/checkpoints.py --help lists the flags, and does it on another machine
cargo xtask bench nvidia programs [FLAGS]    whole programs of PyTorch, Triton, CuPy, JAX and Numba: writes docs/bench/nvidia-programs.md and .json;
                                             bench/nvidia/programs.py --help lists the flags, and does it on another machine";

/// What the suite's own kernels are compiled for, but for those that say otherwise.
const ARCHITECTURE: &str = "compute_90";
const ARCHITECTURES: &[(&str, &str)] = &[("fill", "compute_80"), ("matmul_wgmma", "compute_90a")];

pub(crate) fn run(flags: &[String]) -> Result<Counts, String> {
    match flags {
        [] => measure(),
        [flag] if flag == "--help" => {
            println!("{USAGE}");
            Ok(Counts::default())
        }
        [mode, ..] if STILL.contains(&mode.as_str()) => stand_still(flags),
        [mode, flags @ ..] if mode == "programs" => programs(flags),
        [flag, raw] if flag == "--report" => report(Path::new(raw), &root().join("docs/bench")),
        _ => Err(USAGE.into()),
    }
}

fn measure() -> Result<Counts, String> {
    let Some(library) = built()? else { return Ok(Counts::one(false)) };
    let work = super::folder(".build/bench")?;
    let raw = work.join("nvidia-raw.json");
    let mut runner = Command::new("python3");
    runner.arg(root().join("bench/nvidia/run.py")).args(["kernels", "api", "load", "--ours"]).arg(library);
    if !succeeds(runner.arg("--out").arg(&raw))? {
        return Ok(Counts::one(false));
    }
    report(&raw, &root().join("docs/bench"))
}

/// Builds what a run on the card needs: the folder with our library, and the command.
fn built() -> Result<Option<PathBuf>, String> {
    let packages = ["--package", "hetgpu-shim", "--package", "hetgpu"];
    if !succeeds(cargo().args(["build", "--quiet", "--release"]).args(packages))? {
        return Ok(None);
    }
    let library = super::folder(".build/bench/lib")?;
    let link = library.join("libcuda.so.1");
    std::fs::copy(root().join("target/release/libcuda.so"), &link)
        .map_err(|error| format!("{}: {error}", link.display()))?;
    Ok(Some(library))
}

/// What is measured of jobs that stand still.
const STILL: &[&str] = &["pauses", "checkpoints"];

fn stand_still(flags: &[String]) -> Result<Counts, String> {
    let Some(library) = built()? else { return Ok(Counts::one(false)) };
    let figures = |ending: &str| root().join(format!("docs/bench/nvidia-checkpoints.{ending}"));
    let mut runner = Command::new("python3");
    runner.arg(root().join("bench/nvidia/checkpoints.py")).args(flags).arg("--ours").arg(library);
    runner
        .arg("--hetgpu")
        .arg(root().join("target/release/hetgpu"))
        .arg("--folder")
        .arg(super::folder(".build/bench")?);
    succeeds(runner.arg("--out").arg(figures("json")).arg("--page").arg(figures("md"))).map(Counts::one)
}

fn programs(flags: &[String]) -> Result<Counts, String> {
    let Some(library) = built()? else { return Ok(Counts::one(false)) };
    let figures = |ending: &str| root().join(format!("docs/bench/nvidia-programs.{ending}"));
    let mut runner = Command::new("python3");
    runner.arg(root().join("bench/nvidia/programs.py")).args(flags).arg("--ours").arg(library);
    succeeds(runner.arg("--out").arg(figures("json")).arg("--page").arg(figures("md"))).map(Counts::one)
}

/// The same in small sizes, on the CPU device: measures nothing.
fn still_smoke(library: &Path, work: &Path) -> Result<Counts, String> {
    if !succeeds(cargo().args(["build", "--quiet", "--package", "hetgpu"]))? {
        return Ok(Counts::one(false));
    }
    let raw = work.join("nvidia-checkpoints-smoke.json");
    let _ = std::fs::remove_file(&raw);
    let mut runner = Command::new("python3");
    runner.arg(root().join("bench/nvidia/checkpoints.py")).args(STILL).arg("--ours").arg(library);
    runner.arg("--reference").arg(library).args(["--device", "cpu"]);
    runner.args(["--sizes", "1.5,9", "--rounds", "1", "--pauses", "2", "--kernel-s", "0.5", "--blocks", "4"]);
    runner.arg("--hetgpu").arg(root().join("target/debug/hetgpu")).arg("--page").arg(raw.with_extension("md"));
    runner.arg("--folder").arg(work);
    succeeds(runner.arg("--out").arg(raw)).map(Counts::one)
}

/// The chain from the program to the figures, on the CPU device and by a few kernels in small sizes: measures nothing.
pub(super) fn smoke() -> Result<Counts, String> {
    if let Err(why) = nvcc() {
        println!("bench nvidia: not tried: {why}");
        return Ok(Counts { skipped: 1, ..Counts::default() });
    }
    let (work, library) = (super::folder(".build/bench")?, super::folder(".build/bench/lib-debug")?);
    let link = library.join("libcuda.so.1");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(root().join("target/debug/libcuda.so"), &link)
        .map_err(|error| format!("{}: {error}", link.display()))?;
    let raw = work.join("nvidia-smoke.json");
    let _ = std::fs::remove_file(&raw);
    let mut runner = Command::new("python3");
    runner.arg(root().join("bench/nvidia/run.py")).args(["kernels", "--tiny", "--device", "cpu", "--only", "re"]);
    runner.args(["--rounds", "1", "--samples", "1", "--ours"]).arg(&library).arg("--reference").arg(&library);
    if !succeeds(runner.arg("--out").arg(&raw))? {
        return Ok(Counts::one(false));
    }
    let mut counts = report(&raw, &work)?;
    counts += still_smoke(&library, &work)?;
    let mut pretend = Command::new("python3");
    pretend.arg(root().join("bench/nvidia/pretend.py")).arg("--ours").arg(&library);
    counts += succeeds(&mut pretend).map(Counts::one)?;
    Ok(counts)
}

/// Writes the PTX beside the sources anew.
pub(super) fn ptx() -> Result<bool, String> {
    let nvcc = nvcc()?;
    super::compile_kernels(&root().join("bench/nvidia/kernels"), &root().join("bench/nvidia/kernels"), |name| {
        let own = ARCHITECTURES.iter().find(|(module, _)| *module == name);
        let mut compile = Command::new(&nvcc);
        compile.arg(format!("-arch={}", own.map_or(ARCHITECTURE, |(_, architecture)| *architecture)));
        compile
    })
}

fn report(raw: &Path, into: &Path) -> Result<Counts, String> {
    let text = std::fs::read_to_string(raw).map_err(|error| format!("{}: {error}", raw.display()))?;
    let measured: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", raw.display()))?;
    let (figures, counts) = digest(&measured);
    let mut files = vec![("nvidia.json", format!("{figures:#}\n")), ("nvidia.md", page(&figures))];
    let kernels = &figures["kernels"];
    if !kernels.is_null() {
        let title = format!(
            "{}, {}",
            kernels["card"].as_str().unwrap_or_default(),
            kernels["date"].as_str().unwrap_or_default()
        );
        files.push(("nvidia.svg", chart::draw(&title, list(kernels, "rows"))));
    }
    for (name, text) in files {
        let path = into.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(counts)
}

/// The middle of what was measured, and the quartiles' distance in parts of it.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Middle {
    value: f64,
    spread: f64,
}

impl Middle {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        // Between two neighbours where the place lies between them.
        let at = |part: f64| {
            let place = part * values.len().saturating_sub(1) as f64;
            let (low, high) = (values.get(place.floor() as usize)?, values.get(place.ceil() as usize)?);
            Some(low + (high - low) * place.fract())
        };
        let value = at(0.5)?;
        Some(Self { value, spread: (at(0.75)? - at(0.25)?) / value })
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// The middle of each turn.
fn turns(variant: &Value) -> Vec<f64> {
    list(variant, "rounds").iter().filter_map(|turn| Middle::of(numbers(turn))).map(|middle| middle.value).collect()
}

fn rounded(value: f64) -> Value {
    json!((value * 1e4).round() / 1e4)
}

/// What is published of a time beside the native one: the middle of the turns' ratios, so that what drifts falls out.
fn compared(native: &[f64], other: &[f64]) -> Option<(Middle, Middle)> {
    let ratio = Middle::of(native.iter().zip(other).map(|(native, other)| native / other).collect())?;
    Some((Middle::of(other.to_vec())?, ratio))
}

/// A kernel or call by all variants, and whether it is right.
fn subject(measured: &Value) -> (Value, bool) {
    let variants = &measured["variants"];
    let mut row = json!({ "name": measured["name"], "note": "" });
    let mut notes = Vec::new();
    let native = turns(&variants["native"]);
    if let Some(middle) = Middle::of(native.clone()) {
        row["native_us"] = rounded(middle.value);
        row["native_spread"] = rounded(middle.spread);
    }
    let sum = &variants["native"]["about"]["checksum"];
    for (name, variant) in variants.as_object().into_iter().flatten() {
        let about = &variant["about"];
        for key in ["error", "wrong"] {
            if let Some(text) = about[key].as_str().filter(|text| !text.is_empty()) {
                notes.push(format!("{name}: {text}"));
            }
        }
        if about["error"].is_null() && about["checksum"] != *sum {
            notes.push(format!("{name}: other results than native"));
        }
        if name == "native" {
            continue;
        }
        if let Some((time, ratio)) = compared(&native, &turns(variant)) {
            let prefix = if name == "ours" { String::new() } else { format!("{name}_") };
            row[format!("{name}_us")] = rounded(time.value);
            row[format!("{prefix}ratio")] = rounded(ratio.value);
            row[format!("{prefix}spread")] = rounded(ratio.spread);
            let pauses: Vec<f64> =
                list(variant, "pauses").iter().filter_map(Value::as_f64).filter(|us| *us >= 0.0).collect();
            if let Some(middle) = Middle::of(pauses.clone()) {
                row["pause_us"] = rounded(middle.value);
                row["longest_pause_us"] = rounded(pauses.into_iter().fold(0.0, f64::max));
            }
        } else if about["error"].is_null() {
            notes.push(format!("{name}: not measured"));
        }
    }
    row["right"] = json!(notes.is_empty());
    row["note"] = json!(notes.join("; "));
    (row, notes.is_empty())
}

fn geometric_mean(rows: &[Value], key: &str) -> Value {
    // What was wrong is not fast.
    let right = rows.iter().filter(|row| row["right"] == json!(true));
    let logarithms: Vec<f64> = right.filter_map(|row| row[key].as_f64()).map(f64::ln).collect();
    match logarithms.len() {
        0 => Value::Null,
        count => rounded((logarithms.iter().sum::<f64>() / count as f64).exp()),
    }
}

/// The times of a module in all runs of a variant with a state of the caches.
fn load_times(runs: &[Value], module: &str, variant: &str, cache: &str) -> Vec<f64> {
    let runs = runs.iter().filter(|run| run["variant"] == json!(variant) && run["cache"] == json!(cache));
    runs.flat_map(|run| list(run, "modules"))
        .filter(|row| row["name"] == json!(module))
        .filter_map(|row| row["total_us"].as_f64())
        .collect()
}

fn load(measured: &Value) -> (Value, Counts) {
    let runs = list(measured, "runs");
    let mut counts = Counts::default();
    let mut errors: Vec<&str> =
        runs.iter().filter_map(|run| run["error"].as_str()).filter(|text| !text.is_empty()).collect();
    errors.dedup();
    let mut modules: Vec<&str> =
        runs.iter().flat_map(|run| list(run, "modules")).filter_map(|row| row["name"].as_str()).collect();
    modules.sort_unstable();
    modules.dedup();
    let mut rows = Vec::new();
    for module in modules {
        let mut row = json!({ "name": module });
        for cache in ["cold", "warm"] {
            let native = load_times(runs, module, "native", cache);
            let Some((ours, ratio)) = compared(&native, &load_times(runs, module, "ours", cache)) else { continue };
            row[format!("{cache}_native_us")] = Middle::of(native).map_or(Value::Null, |middle| rounded(middle.value));
            row[format!("{cache}_ours_us")] = rounded(ours.value);
            row[format!("{cache}_ratio")] = rounded(ratio.value);
            row[format!("{cache}_spread")] = rounded(ratio.spread);
        }
        row["right"] = json!(row["warm_ratio"].is_number());
        counts += Counts::one(row["right"] == json!(true));
        rows.push(row);
    }
    let means = ["cold_ratio", "warm_ratio"].map(|key| geometric_mean(&rows, key));
    let [cold, warm] = means;
    (json!({ "modules": rows, "errors": errors, "geometric_mean_cold": cold, "geometric_mean_warm": warm }), counts)
}

/// The published figures, and how many rows are right.
fn digest(measured: &Value) -> (Value, Counts) {
    let mut figures = json!({});
    let mut counts = Counts::default();
    for (mode, part) in measured.as_object().into_iter().flatten() {
        let mut digested = if mode == "load" {
            let (digested, more) = load(part);
            counts += more;
            digested
        } else {
            let subjects: Vec<(Value, bool)> = list(part, "subjects").iter().map(subject).collect();
            subjects.iter().for_each(|(_, right)| counts += Counts::one(*right));
            let rows: Vec<Value> = subjects.into_iter().map(|(row, _)| row).collect();
            let mean = geometric_mean(&rows, "ratio");
            let mut digested =
                json!({ "geometric_mean": mean, "left_out": part["left_out"], "devices": part["devices"] });
            for variant in ["plain", "suspendable"] {
                let mean = geometric_mean(&rows, &format!("{variant}_ratio"));
                if !mean.is_null() {
                    digested[format!("{variant}_geometric_mean")] = mean;
                }
            }
            digested["rows"] = json!(rows);
            digested
        };
        digested["date"] = part["date"].clone();
        digested["card"] = part["card"].clone();
        figures[mode] = digested;
    }
    (figures, counts)
}

/// A cell of a table; empty where nothing was measured.
fn cell(value: &Value, digits: usize) -> String {
    value.as_f64().map_or_else(String::new, |number| format!("{number:.digits$}"))
}

/// A ratio with its spread.
fn ratio(row: &Value, ratio: &str, spread: &str) -> String {
    match row[spread].as_f64() {
        Some(spread) => format!("{} ± {:.1} %", cell(&row[ratio], 3), spread * 50.0),
        None => String::new(),
    }
}

/// What the pauses of a kernel took.
fn pauses(row: &Value) -> String {
    match &row["pause_us"] {
        Value::Null => String::new(),
        median => format!("{}, {}", cell(median, 0), cell(&row["longest_pause_us"], 0)),
    }
}

fn page(figures: &Value) -> String {
    let mut out = String::from(
        "# NVIDIA's driver behind our library, and by itself\n\n\
         Made by `cargo xtask bench nvidia`; the figures are in `nvidia.json`. One program runs with either library, in turn;\n\
         a ratio is the native time by ours, so that above 1 we are faster: the middle of all turns, with half the distance\n\
         of their quartiles. Results are compared by checksums.\n\n\
         Plain: no kernel stops in the middle of its blocks (`HETGPU_SUSPEND=never`). Ours: as it comes. In both, launches of more than 2 ms\n\
         go to the card in parts, so that they stop between two; where blocks take more than a millisecond, ours are in a form that stops in\n\
         the middle of them. Always: that form wherever there is one (`HETGPU_SUSPEND=always`); launches of more than a million threads have\n\
         none. Pauses: from a request at some moment of the launches until everything stands still, of 20, as it comes.\n",
    );
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let head = |out: &mut String, title: &str, part: &Value| {
        let _ = write!(out, "\n## {title}\n\n{}, {}.", text(&part["date"]), text(&part["card"]));
    };
    let kernels = &figures["kernels"];
    if !kernels.is_null() {
        head(&mut out, "Kernels", kernels);
        let _ = writeln!(
            out,
            " Geometric means: {} plain, {} as it comes, {} where always suspendable.\n\n![chart](nvidia.svg)\n\n\
             | kernel | native, µs | ours, µs | native / ours | native / plain | native / always | pause: median, longest, µs | |\n\
             |---|---:|---:|---:|---:|---:|---:|---|",
            cell(&kernels["plain_geometric_mean"], 3),
            cell(&kernels["geometric_mean"], 3),
            cell(&kernels["suspendable_geometric_mean"], 3)
        );
        for row in list(kernels, "rows") {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                text(&row["name"]),
                cell(&row["native_us"], 1),
                cell(&row["ours_us"], 1),
                ratio(row, "ratio", "spread"),
                ratio(row, "plain_ratio", "plain_spread"),
                ratio(row, "suspendable_ratio", "suspendable_spread"),
                pauses(row),
                marked(row)
            );
        }
    }
    let api = &figures["api"];
    if !api.is_null() {
        head(&mut out, "Calls", api);
        let _ = writeln!(
            out,
            " Geometric mean: {}.\n\n| call | native, µs | ours, µs | native / ours | |\n|---|---:|---:|---:|---|",
            cell(&api["geometric_mean"], 3)
        );
        for row in list(api, "rows") {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                text(&row["name"]),
                cell(&row["native_us"], 3),
                cell(&row["ours_us"], 3),
                ratio(row, "ratio", "spread"),
                marked(row)
            );
        }
    }
    let load = &figures["load"];
    if !load.is_null() {
        head(&mut out, "Modules", load);
        let _ = writeln!(
            out,
            " From a text to the end of the first launch of each kernel, with empty caches and with full ones. Geometric means: {} cold, {} warm.\n\n\
             | module | native, ms | ours, ms | native / ours | warm: native, ms | ours, ms | native / ours |\n|---|---:|---:|---:|---:|---:|---:|",
            cell(&load["geometric_mean_cold"], 3),
            cell(&load["geometric_mean_warm"], 3)
        );
        let milliseconds = |value: &Value| value.as_f64().map_or_else(String::new, |us| format!("{:.2}", us / 1e3));
        for row in list(load, "modules") {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                text(&row["name"]),
                milliseconds(&row["cold_native_us"]),
                milliseconds(&row["cold_ours_us"]),
                ratio(row, "cold_ratio", "cold_spread"),
                milliseconds(&row["warm_native_us"]),
                milliseconds(&row["warm_ours_us"]),
                ratio(row, "warm_ratio", "warm_spread")
            );
        }
    }
    out
}

/// What a table says of a row that is wrong.
fn marked(row: &Value) -> String {
    match row["note"].as_str() {
        Some(note) if !note.is_empty() => format!("**wrong**: {}", note.replace('|', "/").replace('\n', " ")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Value {
        let variant = |sum: &str, rounds: Value| json!({ "about": { "checksum": sum, "wrong": "" }, "rounds": rounds });
        let fast = json!({ "name": "fast", "variants": {
            "native": variant("a", json!([[9.0, 10.0, 30.0], [20.0], [40.0]])),
            "plain": variant("a", json!([[10.0], [20.0], [40.0]])),
            "ours": {
                "about": { "checksum": "a", "wrong": "" },
                "rounds": [[5.0], [10.0], [10.0]], "pauses": [300.0, 100.0, -1.0, 200.0],
            },
            "suspendable": variant("a", json!([[20.0], [40.0], [80.0]])),
        }});
        let other = json!({ "name": "other", "variants": {
            "native": variant("a", json!([[1.0]])),
            "ours": variant("b", json!([[1.0]])),
            "suspendable": { "about": { "error": "ended with status 1" }, "rounds": [] },
        }});
        let run = |variant: &str, cache: &str, us: f64| json!({ "turn": 0, "variant": variant, "cache": cache, "error": "", "modules": [{ "name": "m", "total_us": us }] });
        let runs = [
            run("native", "cold", 30.0),
            run("native", "warm", 4.0),
            run("ours", "cold", 40.0),
            run("ours", "warm", 2.0),
        ];
        json!({
            "kernels": { "subjects": [fast, other], "left_out": [], "date": "2026-11-30", "card": "a card" },
            "load": { "runs": runs, "date": "2026-11-30", "card": "a card" },
        })
    }

    #[test]
    fn the_middle_lies_between_neighbours() {
        assert_eq!(Middle::of(vec![4.0, 1.0, 2.0, 3.0]), Some(Middle { value: 2.5, spread: 0.6 }));
        assert_eq!(Middle::of(vec![7.0, f64::NAN]), Some(Middle { value: 7.0, spread: 0.0 }));
        assert_eq!(Middle::of(Vec::new()), None);
    }

    #[test]
    fn ratios_are_of_turns_and_native_by_ours() {
        let (figures, _) = digest(&raw());
        let row = &figures["kernels"]["rows"][0];
        // 10 / 5, 20 / 10 and 40 / 10.
        assert_eq!((&row["ratio"], &row["suspendable_ratio"]), (&json!(2.0), &json!(0.5)));
        assert_eq!((&row["native_us"], &row["ours_us"], &row["right"]), (&json!(20.0), &json!(10.0), &json!(true)));
        assert_eq!((&row["pause_us"], &row["longest_pause_us"]), (&json!(200.0), &json!(300.0)));
        assert_eq!(figures["kernels"]["plain_geometric_mean"], json!(1.0));
        assert!(page(&figures).contains("| 1.000 ± 0.0 % | 0.500 ± 0.0 % | 200, 300 |"), "{}", page(&figures));
        let load = &figures["load"];
        assert_eq!((&load["modules"][0]["cold_ratio"], &load["geometric_mean_warm"]), (&json!(0.75), &json!(2.0)));
    }

    #[test]
    fn other_results_are_wrong_and_not_counted_as_fast() {
        let (figures, counts) = digest(&raw());
        let row = &figures["kernels"]["rows"][1];
        assert_eq!(row["right"], json!(false));
        assert_eq!(row["note"], json!("ours: other results than native; suspendable: ended with status 1"));
        assert_eq!(counts, Counts { passed: 2, failed: 1, skipped: 0 });
        assert_eq!(figures["kernels"]["geometric_mean"], json!(2.0));
        assert!(page(&figures).contains("| other | 1.0 | 1.0 | 1.000 ± 0.0 % |  |  |  | **wrong**: ours: other"));
    }
}
