//! The suite's kernels, suspended inside of their blocks again and again, and moved to the next device of a ring each time:
//! they leave the bytes that they leave undisturbed.

use std::path::Path;
use std::sync::Arc;

use hetgpu_tests::engine::Engine;
use hetgpu_tests::engines;
use hetgpu_tests::header::{Filetest, Run};

use crate::cpu::case::{Argument, Case, Size, Step};
use crate::cpu::cases::KERNELS;

/// The engine that runs without pauses.
const UNDISTURBED: &str = "cpu";

/// Runs each kernel whose name is among `only`, or all, so often on a ring such as `ring:cpu+interp`.
pub(crate) fn run(ring: &str, ptx: &Path, times: u32, only: &[&str]) -> Result<(), String> {
    let (plain, ring) = (engines::named(UNDISTURBED)?, engines::named(ring)?);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for kernel in KERNELS.iter().filter(|kernel| only.is_empty() || only.contains(&kernel.name)) {
        let path = ptx.join(kernel.name).with_extension("ptx");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let case = (kernel.case)(Size::Tiny);
        let runs = case.steps.iter().map(|step| header(&case, step)).collect::<Result<Vec<_>, String>>()?;
        let still: Vec<Option<String>> = runs.iter().map(|run| ring.skips(&text, run)).collect();
        if let Some(why) = still.iter().cloned().collect::<Option<Vec<String>>>() {
            println!("skipped {}: {}", kernel.name, why.join("; "));
            skipped += 1;
            continue;
        }
        let engine = |step: usize| if still[step].is_some() { &plain } else { &ring };
        let expected = steps(&|_| &plain, &text, &case, &runs, 0)?;
        for seed in 0..times {
            match steps(&engine, &text, &case, &runs, seed) {
                Ok(left) if left == expected => passed += 1,
                Ok(_) => {
                    println!("{}: seed {seed}: what it leaves is different", kernel.name);
                    failed += 1;
                }
                Err(why) => {
                    println!("{}: seed {seed}: {why}", kernel.name);
                    failed += 1;
                }
            }
        }
    }
    println!("{}: {}", ring.name(), ring.note().unwrap_or_default());
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 { Err(format!("{failed} runs left something different")) } else { Ok(()) }
}

/// What all steps leave in the case's buffers.
fn steps<'e>(
    engine: &dyn Fn(usize) -> &'e Arc<dyn Engine>,
    ptx: &str,
    case: &Case,
    runs: &[Run],
    seed: u32,
) -> Result<Vec<Vec<u8>>, String> {
    let mut all: Vec<Vec<u8>> = case.buffers.iter().map(|buffer| buffer.bytes.clone()).collect();
    for (number, (step, run)) in case.steps.iter().zip(runs).enumerate() {
        let of_step: Vec<usize> = buffers(step).collect();
        let mut given: Vec<Vec<u8>> = of_step.iter().map(|index| all[*index].clone()).collect();
        engine(number).run(ptx, run, seed, &mut given).map_err(|failure| failure.to_string())?;
        for (index, bytes) in of_step.into_iter().zip(given) {
            all[index] = bytes;
        }
    }
    Ok(all)
}

fn buffers(step: &Step) -> impl Iterator<Item = usize> {
    step.arguments.iter().filter_map(|argument| match argument {
        Argument::Buffer(index) => Some(*index),
        Argument::U32(_) | Argument::F32(_) => None,
    })
}

/// The step as the header of a filetest; the contents of buffers are given beside it.
fn header(case: &Case, step: &Step) -> Result<Run, String> {
    let arguments = step.arguments.iter().map(|argument| match *argument {
        Argument::Buffer(index) => format!("{{ buf = \"u8\", len = {} }}", case.buffers[index].bytes.len()),
        Argument::U32(value) => format!("{{ u32 = {value} }}"),
        Argument::F32(value) => format!("{{ u32 = {} }}", value.to_bits()),
    });
    let arguments: Vec<String> = arguments.collect();
    let text = format!(
        "//! [[run]]\n//! kernel = \"{}\"\n//! grid = {:?}\n//! block = {:?}\n//! args = [{}]\n//! prints = \"\"\n",
        step.function,
        step.grid,
        step.block,
        arguments.join(", ")
    );
    let header = Filetest::parse(&text).map_err(|error| format!("{}: {error:?}", step.function))?;
    header.runs.into_iter().next().ok_or_else(|| format!("{}: no run", step.function))
}
