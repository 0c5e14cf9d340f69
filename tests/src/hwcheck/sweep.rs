//! The sweep on the GPU: the same kernels and inputs on the interpreter and on the driver, results compared.

use std::collections::BTreeMap;
use std::path::Path;

use hetgpu_tests::engines::interp;
use hetgpu_tests::record::{Sweep, Swept};
use hetgpu_tests::sweep::{BLOCK, Case, HEADER, Operand, cases, inputs};
use hetir::interp::{Arena, Launch, Options, run};
use hetir::num::{self, Approx, Format, Mode, error_bound, reference};
use serde_json::{Value, json};

use crate::driver::{Driver, Shape};

/// Kernels in one module; a refused module is tried again kernel by kernel.
const BATCH: usize = 24;

/// Differences shown of one case.
const SHOWN: usize = 6;

/// What became of the cases of one form.
#[derive(Default)]
struct Tally {
    form: usize,
    cases: usize,
    values: u64,
    exact: u64,
    refused: BTreeMap<String, String>,
    different: Vec<Value>,
}

/// Runs every case whose opcode contains `only`; true if nothing differs. The report is written as JSON.
pub(crate) fn sweep(
    libcuda: &Path,
    count: usize,
    only: &str,
    report: Option<&Path>,
    record: Option<&Path>,
    date: String,
) -> Result<bool, String> {
    let count = count.next_multiple_of(BLOCK as usize);
    let driver = Driver::open(libcuda)?;
    let all: Vec<Case> = cases().into_iter().filter(|case| case.opcode.contains(only)).collect();
    let mut tallies: BTreeMap<(usize, &'static str), Tally> = BTreeMap::new();
    for batch in all.chunks(BATCH) {
        let text = module(batch);
        let together = driver.load(&text);
        for (n, case) in batch.iter().enumerate() {
            let tally = tallies.entry((case.form, case.syntax)).or_default();
            tally.form = case.form;
            tally.cases += 1;
            let single;
            let (loaded, name) = match &together {
                Ok(loaded) => (loaded, format!("k{n}")),
                Err(_) => match driver.load(&module(std::slice::from_ref(case))) {
                    Ok(alone) => {
                        single = alone;
                        (&single, "k0".to_string())
                    }
                    Err(error) => {
                        tally.refused.insert(case.opcode.clone(), error.message);
                        continue;
                    }
                },
            };
            let data = inputs(case, count);
            let expected = interpreted(case, &data, count)?;
            let function = loaded.function(&name).map_err(|e| e.message)?;
            let mut memory = Vec::new();
            for buffer in &data {
                memory.push(driver.memory(buffer).map_err(|e| e.message)?);
            }
            for output in &case.outputs {
                memory.push(driver.memory(&vec![0xa5; output.bytes() * count]).map_err(|e| e.message)?);
            }
            let arguments: Vec<Vec<u8>> = memory.iter().map(|m| m.address.to_le_bytes().to_vec()).collect();
            let grid = [count as u32 / BLOCK, 1, 1];
            let shape = Shape { grid, block: [BLOCK, 1, 1], cluster: [1; 3], shared: 0, cooperative: false };
            driver.launch(&function, &shape, &arguments).map_err(|e| format!("{}: {}", case.opcode, e.message))?;
            let mut got = Vec::new();
            for allocation in &memory[data.len()..] {
                got.push(allocation.read().map_err(|e| e.message)?);
            }
            compare(case, &data, &expected, &got, count, tally);
        }
    }
    for ((_, syntax), tally) in &tallies {
        for difference in &tally.different {
            println!("{syntax}: {difference}");
        }
    }
    let different: usize = tallies.values().map(|t| t.different.len()).sum();
    let refused: usize = tallies.values().map(|t| t.refused.len()).sum();
    let total: usize = tallies.values().map(|t| t.cases).sum();
    let values: u64 = tallies.values().map(|t| t.values).sum();
    if let Some(path) = report {
        let forms: Vec<Value> = tallies
            .iter()
            .map(|((_, syntax), t)| {
                json!({ "form": syntax, "cases": t.cases, "values": t.values, "equal": t.exact,
                    "refused": t.refused, "different": t.different })
            })
            .collect();
        let report = json!({ "device": driver.device, "driver": driver.version, "inputs": count, "cases": total,
            "values": values, "different": different, "refused": refused, "forms": forms });
        std::fs::write(path, format!("{report:#}\n")).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = record {
        let mut sweep =
            Sweep { device: driver.device.clone(), driver: crate::worker::release(), date, ..Sweep::default() };
        for ((_, syntax), t) in &tallies {
            let n = sweep.results.keys().filter(|(s, _)| s == syntax).count();
            let (ran, refused) = (t.cases - t.refused.len(), t.refused.len());
            let swept = Swept { ran, refused, different: t.different.len(), values: t.values, equal: t.exact };
            sweep.results.insert((syntax.to_string(), n), swept);
        }
        std::fs::write(path, sweep.print()).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("{values} values on {} with driver {}", driver.device, driver.version);
    println!("{} passed, {different} failed, {refused} skipped", total.saturating_sub(different + refused));
    Ok(different == 0)
}

fn module(cases: &[Case]) -> String {
    let mut text = HEADER.to_string();
    for (n, case) in cases.iter().enumerate() {
        text += &case.kernel(&format!("k{n}"));
    }
    text
}

/// What the interpreter makes of a case's inputs.
fn interpreted(case: &Case, data: &[Vec<u8>], count: usize) -> Result<Vec<Vec<u8>>, String> {
    let module = interp::lift(&module(std::slice::from_ref(case))).map_err(|e| format!("{}: {e}", case.opcode))?;
    let kernel = module.function("k0").ok_or("no kernel")?;
    let mut memory = Arena::new();
    let mut addresses: Vec<u64> = data.iter().map(|b| memory.alloc("input", b.clone())).collect();
    let outputs: Vec<u64> =
        case.outputs.iter().map(|o| memory.alloc("output", vec![0xa5; o.bytes() * count])).collect();
    addresses.extend(&outputs);
    let params: Vec<u8> = addresses.iter().flat_map(|a| a.to_le_bytes()).collect();
    let launch = Launch {
        grid: [count as u32 / BLOCK, 1, 1],
        block: [BLOCK, 1, 1],
        params: &params,
        ..Launch::new(&module, kernel)
    };
    run(&launch, &mut memory, &mut Options::default()).map_err(|fault| format!("{}: {fault}", case.opcode))?;
    Ok(outputs.iter().map(|a| memory.region(*a).map(|r| r.data.clone()).unwrap_or_default()).collect())
}

fn element(bytes: &[u8], size: usize, n: usize) -> u64 {
    let mut word = [0; 8];
    word[..size].copy_from_slice(&bytes[n * size..][..size]);
    u64::from_le_bytes(word)
}

fn compare(case: &Case, data: &[Vec<u8>], expected: &[Vec<u8>], got: &[Vec<u8>], count: usize, tally: &mut Tally) {
    let mut wrong = Vec::new();
    let mut wrong_count = 0u64;
    for (k, output) in case.outputs.iter().enumerate() {
        let size = output.bytes();
        for n in 0..count {
            tally.values += 1;
            let (want, have) = (element(&expected[k], size, n), element(&got[k], size, n));
            if want == have {
                tally.exact += 1;
                continue;
            }
            let operands: Vec<u64> = case.inputs.iter().zip(data).map(|(o, b)| element(b, o.bytes(), n)).collect();
            if case.approx.is_some_and(|fun| near(case, fun, *output, &operands, want, have)) {
                continue;
            }
            wrong_count += 1;
            if wrong.len() < SHOWN {
                let operands: Vec<String> = operands.iter().map(|v| format!("{v:#x}")).collect();
                wrong.push(
                    json!({ "result": k, "of": operands, "here": format!("{want:#x}"), "there": format!("{have:#x}") }),
                );
            }
        }
    }
    if wrong_count > 0 {
        tally.different.push(
            json!({ "opcode": case.opcode, "kernel": case.kernel("k"), "count": wrong_count, "examples": wrong }),
        );
    }
}

/// Whether a device's result of an approximate function is near enough to the exact value, in each lane.
fn near(case: &Case, fun: Approx, output: Operand, operands: &[u64], want: u64, have: u64) -> bool {
    let Operand::Float(format, lanes) = output else { return false };
    let ftz = case.opcode.contains("ftz");
    (0..lanes).all(|lane| {
        let part = |v: u64| (v >> (lane * format.bits())) & format.mask();
        let (want, have) = (part(want), part(have));
        let flush = |v: u64| if ftz && v & format.infinity() == 0 { v & format.sign_bit() } else { v };
        let value = |v: u64| f64::from_bits(num::convert(format, Format::F64, v, Mode::RN));
        let a = value(flush(part(operands[0])));
        let b = operands.get(1).map_or(0.0, |b| value(flush(part(*b))));
        if want == have {
            return true;
        }
        // Special results are exact: the interpreter's, that is.
        if value(want).is_nan() || value(want).is_infinite() {
            return false;
        }
        let at = if operands.len() > 1 { b } else { a };
        error_bound(format, fun).allows(format, at, reference(fun, a, b), have)
            || (value(want) == 0.0 && value(have).abs() < value(format.min_normal()))
    })
}
