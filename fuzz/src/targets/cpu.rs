//! Programs of many threads that hetIR's own generator makes of the input: the host's processors leave the memory that the
//! interpreter leaves, byte for byte, whatever instructions they use and whether lanes go together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hetgpu_cpu::{CpuDevice, Features, Options};
use hetgpu_device::{DeviceError, Importance, Launch, LoadedModule, Services, SyncDevice};
use hetgpu_interp::InterpDevice;
use hetir::attr::Space;
use hetir::interp::initial_image;
use hetir::ir::Module;
use hetir::random::{Config, Program, Source, program};

use super::Answer;
use crate::random::Random;

/// Where memory lies on every device: programs compute with addresses.
const FIRST: u64 = 0x2000_0000_0000;

/// Between two buffers, with room that is not mapped.
const STEP: u64 = 1 << 20;

/// Most statements of a function: compiling takes most of the time.
const STATEMENTS: usize = 40;

/// A device, and whether it has just said that the interpreter executes a kernel.
struct Engine {
    name: String,
    device: CpuDevice,
    interpreted: Arc<AtomicBool>,
}

impl Engine {
    /// None where this processor lacks what is asked.
    fn new(features: Features, lane_by_lane: bool) -> Option<Self> {
        let interpreted = Arc::new(AtomicBool::new(false));
        let warned = Arc::clone(&interpreted);
        let log = move |importance, _: std::fmt::Arguments<'_>| {
            if importance == Importance::Warning {
                warned.store(true, Ordering::Relaxed);
            }
        };
        let services = Services { log: Some(Arc::new(log)), ..Services::default() };
        let device = CpuDevice::new(Options { threads: 2, features, lane_by_lane, services, ..Options::default() });
        let form = if lane_by_lane { "lane" } else { "warp" };
        let missing = interpreted.swap(false, Ordering::Relaxed);
        (!missing).then(|| Self { name: format!("{features:?} {form}"), device, interpreted })
    }
}

fn engines() -> &'static [Engine] {
    static ALL: OnceLock<Vec<Engine>> = OnceLock::new();
    ALL.get_or_init(|| {
        let levels = [Features::Native, Features::Sse2, Features::Avx2, Features::Avx512];
        let warps = levels.into_iter().filter_map(|features| Engine::new(features, false));
        warps.chain(Engine::new(Features::Native, true)).collect()
    })
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    (0..24).map(|seed| (0..256 << (seed / 6)).map(|n| Random(seed << 32 | n).bits() as u8).collect()).collect()
}

pub(super) fn run(bytes: &[u8]) -> Answer {
    let statements = 8 + bytes.len().min(4096) * (STATEMENTS - 8) / 4096;
    let program =
        program(&mut Source::from_bytes(bytes), &Config { statements, approximate: false, ..Config::default() });
    let module = Arc::new(program.module.clone());
    let interpreter =
        InterpDevice::new(16 * STEP, hetgpu_interp::Options { seed: 1, check: true, ..Default::default() });
    let expected = result(&interpreter, &program, &module)
        .unwrap_or_else(|error| panic!("the interpreter: {error}\n{}", program.module));
    // Each engine gets its share of the inputs, and mutants of an input go to others.
    let share = bytes.iter().fold(0, |sum: u64, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let all = engines();
    let Some(engine) = all.get((share >> 8) as usize % all.len().max(1)) else { return Answer::NONE };
    let name = &engine.name;
    let found = result(&engine.device, &program, &module)
        .unwrap_or_else(|error| panic!("{name} fails: {error}\n{}", program.module));
    if let Some(at) = (0..expected.len()).find(|&at| expected[at] != found[at]) {
        let word = |all: &[u8]| all[at & !7..].iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
        let (right, wrong) = (word(&expected), word(&found));
        panic!("{name} differs at byte {at}: {wrong}, not {right}\n{}", program.module);
    }
    let interpreted = engine.interpreted.swap(false, Ordering::Relaxed);
    Answer::NONE.with(name).with(if interpreted { "interpreted" } else { "compiled" }).with(&shape(&program.module))
}

/// What a program leaves in its output and its variables.
fn result(device: &dyn SyncDevice, program: &Program, module: &Arc<Module>) -> Result<Vec<u8>, DeviceError> {
    // The addresses are the same each time.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut memory = Buffers { device, mapped: Vec::new() };
    let input = memory.add(&program.input)?;
    let output = memory.add(&vec![0; program.output_bytes])?;
    let mut globals = Vec::new();
    for global in &module.globals {
        globals.push(match global.space {
            Space::Shared => 0,
            _ => memory.add(&initial_image(module, global, &[]))?,
        });
    }
    let loaded = Loaded { device, module: device.load(module, &globals)? };
    let params: Vec<u8> = [input, output].iter().flat_map(|address| address.to_le_bytes()).collect();
    device.launch(&Launch {
        grid: program.grid,
        block: program.block,
        params: params.into(),
        ..Launch::new(loaded.module, program.kernel)
    })?;
    let mut all = Vec::new();
    for &(at, bytes) in &memory.mapped {
        let start = all.len();
        all.resize(start + bytes, 0);
        device.read(at, &mut all[start..])?;
    }
    Ok(all)
}

/// Memory that is unmapped in the end.
struct Buffers<'d> {
    device: &'d dyn SyncDevice,
    mapped: Vec<(u64, usize)>,
}

impl Buffers<'_> {
    fn add(&mut self, data: &[u8]) -> Result<u64, DeviceError> {
        let at = FIRST + STEP * self.mapped.len() as u64;
        self.device.map(at, data.len() as u64, "a buffer")?;
        self.mapped.push((at, data.len()));
        self.device.write(at, data)?;
        Ok(at)
    }
}

impl Drop for Buffers<'_> {
    fn drop(&mut self) {
        self.mapped.iter().for_each(|(at, _)| self.device.unmap(*at));
    }
}

/// A module that is unloaded in the end.
struct Loaded<'d> {
    device: &'d dyn SyncDevice,
    module: LoadedModule,
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        self.device.unload(self.module);
    }
}

/// How many blocks there are, by the powers of two, and the ops that functions use last.
fn shape(module: &Module) -> String {
    let bodies = module.functions.iter().filter_map(|function| function.body.as_ref());
    bodies
        .map(|body| {
            let mut names: Vec<&str> = Vec::new();
            for inst in body.blocks.iter().flat_map(|block| &block.insts) {
                let name = body.inst(*inst).op.info().name;
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let last = names[names.len().saturating_sub(3)..].concat();
            format!("{}{last}", "+".repeat(body.blocks.len().ilog2() as usize))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warps_and_lanes_are_compiled() {
        let names: Vec<&str> = engines().iter().map(|engine| engine.name.as_str()).collect();
        assert!(names.contains(&"Native warp") && names.contains(&"Native lane"), "{names:?}");
    }
}
