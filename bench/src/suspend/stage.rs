//! Kernels of the suite on the CPU device itself, in this process, each in two forms.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hetgpu_cpu::{CpuDevice, Options};
use hetgpu_device::{Device, Extent, Launch, LoadedModule, Queue, Queued, WORKSPACE_BYTES, Work};
use hetir::attr::Space;
use hetir::entity::FuncId;
use hetir::ir::{FunctionKind, Module};
use hetir::passes::suspend::Plan;
use hetir::passes::suspend::state::{Areas, Control, Shape};

use crate::cpu::case::{Argument, Case};

/// Below everything of the host.
const FIRST_ADDRESS: u64 = 0x12_0000_0000;
const STEP: u64 = 2 << 20;

/// The device, and where the next memory goes.
pub(super) struct Stage {
    pub(super) device: Arc<dyn Device>,
    next: u64,
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Stage {
    pub(super) fn new(threads: u32) -> Self {
        let device = CpuDevice::new(Options { threads, ..Options::default() });
        Self { device: Arc::new(Queued::new(device)), next: FIRST_ADDRESS }
    }

    /// Zeroed memory.
    pub(super) fn map(&mut self, bytes: u64) -> Result<u64, String> {
        let bytes = bytes.max(1).next_multiple_of(STEP);
        let at = self.next;
        self.next += bytes + STEP;
        self.device.map(at, bytes, "bench").map_err(text)?;
        Ok(at)
    }
}

/// The two forms of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Plain,
    Suspendable,
}

/// One launch of a kernel's case.
struct Step {
    plan: Plan,
    plain: Launch,
    /// The same as what can be suspended, where the kernel has sites.
    suspendable: Option<Launch>,
    shape: Shape,
    /// The word that the plain form looks at.
    word: u64,
}

/// Module, data and launches.
pub(super) struct Scene {
    device: Arc<dyn Device>,
    queue: Box<dyn Queue>,
    buffers: Vec<(u64, usize)>,
    steps: Vec<Step>,
    loaded: Vec<LoadedModule>,
    mapped: Vec<u64>,
    /// Seconds that it took to compile all steps in each form.
    pub(super) compile: [f64; 2],
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.loaded.drain(..).for_each(|loaded| self.device.unload(loaded));
        self.mapped.drain(..).for_each(|at| self.device.unmap(at));
    }
}

/// How a pause went.
pub(super) struct Pause {
    /// From the request to the end of the launch.
    pub(super) latency: Duration,
    /// Threads that left in the middle; none where the launch had ended by itself.
    pub(super) frames: Option<u64>,
}

impl Scene {
    pub(super) fn new(stage: &mut Stage, source: &Path, case: &Case) -> Result<Self, String> {
        let ptx = std::fs::read_to_string(source).map_err(|error| format!("{}: {error}", source.display()))?;
        let lifted = ptx_frontend::lift_text(&ptx, ptx_frontend::Options { lenient: false });
        let refused =
            |all: Vec<hetir::diag::Diagnostic>| hetir::diag::render(&all, &source.display().to_string(), &ptx);
        let module = Arc::new(lifted.into_result().map_err(refused)?);
        let device = stage.device.clone();
        let queue = device.open_queue(0).map_err(text)?;
        let mut scene = Self {
            device,
            queue,
            buffers: Vec::new(),
            steps: Vec::new(),
            loaded: Vec::new(),
            mapped: Vec::new(),
            compile: [0.0; 2],
        };
        for buffer in &case.buffers {
            let at = scene.map(stage, buffer.bytes.len() as u64)?;
            scene.device.write(at, &buffer.bytes).map_err(text)?;
            scene.buffers.push((at, buffer.bytes.len()));
        }
        let mut globals = Vec::new();
        for global in &module.globals {
            globals.push(if global.space == Space::Shared { 0 } else { scene.map(stage, global.size)? });
        }
        for (global, at) in module.globals.iter().zip(&globals).filter(|(_, at)| **at != 0) {
            let image = hetir::interp::initial_image(&module, global, &globals);
            scene.device.write(*at, &image).map_err(text)?;
        }
        let plain = scene.load(&module, &globals)?;
        for step in &case.steps {
            let kernel = module.function(step.function).ok_or_else(|| format!("no kernel {}", step.function))?;
            let word = scene.map(stage, 4)?;
            let launch = Launch {
                grid: step.grid,
                block: step.block,
                params: parameters(&module, kernel, &step.arguments, &scene.buffers).into(),
                cooperative: step.cooperative,
                workspace: if step.cooperative { scene.map(stage, WORKSPACE_BYTES)? } else { 0 },
                // The blocks of a cooperative launch wait for each other: none may be left for later.
                stop: if step.cooperative { 0 } else { word },
                ..Launch::new(plain, kernel)
            };
            scene.compile[0] += scene.prepare(&launch)?;
            let plan = Plan::of(&module, kernel, step.block).ok_or("no kernel")?;
            let shape = Shape { grid: step.grid, block: step.block, dynamic_shared: 0 };
            let suspendable = if plan.has_sites() {
                let module = scene.load(&Arc::new(plan.suspendable()), &globals)?;
                let launch = Launch { module, ..launch.clone() };
                scene.compile[1] += scene.prepare(&launch)?;
                Some(launch)
            } else {
                None
            };
            scene.steps.push(Step { plan, plain: launch, suspendable, shape, word });
        }
        for step in 0..scene.steps.len() {
            scene.renew(stage, step)?;
        }
        Ok(scene)
    }

    fn map(&mut self, stage: &mut Stage, bytes: u64) -> Result<u64, String> {
        let at = stage.map(bytes)?;
        self.mapped.push(at);
        Ok(at)
    }

    fn load(&mut self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, String> {
        let loaded = self.device.load(module, globals).map_err(text)?;
        self.loaded.push(loaded);
        Ok(loaded)
    }

    fn prepare(&self, launch: &Launch) -> Result<f64, String> {
        let start = Instant::now();
        let extent = if launch.blocks.are_all() { Extent::Whole } else { Extent::Rest };
        self.device.prepare(launch.module, launch.kernel, launch.block, extent).map_err(text)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Sites of all steps.
    pub(super) fn sites(&self) -> usize {
        self.steps.iter().map(|step| step.plan.sites.len()).sum()
    }

    /// Whether what runs is the form that can be suspended, where that is asked for: larger launches have no room for frames.
    pub(super) fn is_suspended(&self) -> bool {
        self.steps.iter().all(|step| step.plan.areas(&step.shape).is_some())
    }

    fn areas(step: &Step) -> Option<Areas> {
        // Without a request nothing is stored, so that any piece of memory serves to measure the form.
        let small = Shape { grid: [1; 3], ..step.shape };
        step.plan.areas(&step.shape).or_else(|| step.plan.areas(&small))
    }

    /// Gives a step's suspendable form memory that nothing has been stored in.
    fn renew(&mut self, stage: &mut Stage, step: usize) -> Result<(), String> {
        let Some(areas) = Self::areas(&self.steps[step]) else { return Ok(()) };
        let at = self.map(stage, areas.bytes)?;
        self.device.write(at, &areas.control(at)).map_err(text)?;
        let step = &mut self.steps[step];
        let (offset, bytes) = step.plan.control_place();
        let Some(launch) = &mut step.suspendable else { return Ok(()) };
        let mut params = step.plain.params.to_vec();
        params.resize(bytes as usize, 0);
        params[offset as usize..].copy_from_slice(&at.to_le_bytes());
        let old = std::mem::replace(&mut launch.stop, at);
        launch.params = params.into();
        if let Some(place) = self.mapped.iter().position(|mapped| *mapped == old && old != step.word) {
            self.mapped.swap_remove(place);
            self.device.unmap(old);
        }
        Ok(())
    }

    fn launch(&self, step: usize, form: Form) -> &Launch {
        let step = &self.steps[step];
        step.suspendable.as_ref().filter(|_| form == Form::Suspendable).unwrap_or(&step.plain)
    }

    /// Sets the buffers again that launches change and read, and those that they write.
    pub(super) fn reset(&self, case: &Case) -> Result<(), String> {
        self.buffers
            .iter()
            .zip(&case.buffers)
            .try_for_each(|((at, _), buffer)| self.device.write(*at, &buffer.bytes).map_err(text))
    }

    /// Seconds of all steps.
    pub(super) fn time(&self, form: Form) -> Result<f64, String> {
        let start = Instant::now();
        for step in 0..self.steps.len() {
            self.queue.run(Work::Launch(Box::new(self.launch(step, form).clone()))).map_err(text)?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// The step that takes longest, and its share of so many seconds.
    pub(super) fn longest(&self, all: f64) -> Result<(usize, f64), String> {
        let mut longest = (0, 0.0);
        let mut sum = 0.0;
        for step in 0..self.steps.len() {
            let start = Instant::now();
            self.queue.run(Work::Launch(Box::new(self.launch(step, Form::Suspendable).clone()))).map_err(text)?;
            let took = start.elapsed().as_secs_f64();
            sum += took;
            if took > longest.1 {
                longest = (step, took);
            }
        }
        Ok((longest.0, longest.1 / sum * all))
    }

    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>, String> {
        let (at, bytes) = self.buffers[index];
        let mut out = vec![0; bytes];
        self.device.read(at, &mut out).map_err(text)?;
        Ok(out)
    }

    /// Runs the steps up to one, and asks that to stop after a while. The form is the one that can be suspended, if there is
    /// room for what it stores.
    pub(super) fn pause(&mut self, stage: &mut Stage, last: usize, after: Duration) -> Result<Pause, String> {
        let form = if self.is_suspended() { Form::Suspendable } else { Form::Plain };
        for step in 0..last {
            self.queue.run(Work::Launch(Box::new(self.launch(step, form).clone()))).map_err(text)?;
        }
        let launch = self.launch(last, form).clone();
        let (stop, suspends) = (launch.stop, form == Form::Suspendable && self.steps[last].suspendable.is_some());
        let device = &self.device;
        let (asked, ran, ended) = std::thread::scope(|scope| {
            // Whoever submits may be the one who runs the kernel.
            let asker = scope.spawn(move || {
                std::thread::sleep(after);
                let asked = Instant::now();
                device.write(stop, &1u32.to_le_bytes()).map(|()| asked)
            });
            let ran = self.queue.run(Work::Launch(Box::new(launch)));
            let ended = Instant::now();
            (asker.join(), ran, ended)
        });
        ran.map_err(text)?;
        let asked = asked.map_err(|_| "the thread that asks has ended")?.map_err(text)?;
        let latency = ended.saturating_duration_since(asked);
        let mut frames = [0; 8];
        if suspends {
            self.device.read(stop + Control::Frames as u64, &mut frames).map_err(text)?;
            self.renew(stage, last)?;
        } else {
            self.device.write(stop, &0u32.to_le_bytes()).map_err(text)?;
        }
        let frames = (!latency.is_zero()).then(|| u64::from_le_bytes(frames));
        Ok(Pause { latency, frames })
    }
}

fn parameters(module: &Module, kernel: FuncId, given: &[Argument], buffers: &[(u64, usize)]) -> Vec<u8> {
    let function = &module.functions[kernel.index()];
    let mut out = vec![0; function.param_bytes() as usize];
    if let FunctionKind::Kernel { params, .. } = &function.kind {
        for (param, argument) in params.iter().zip(given) {
            let (value, size) = match *argument {
                Argument::Buffer(index) => (buffers[index].0, 8),
                Argument::U32(value) => (value.into(), 4),
                Argument::F32(value) => (value.to_bits().into(), 4),
            };
            let at = param.offset as usize;
            out[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        }
    }
    out
}
