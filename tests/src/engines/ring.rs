//! Runs that are suspended in the middle again and again, and go on on the next of several devices each time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hetgpu_device::{Device, DeviceError, Launch, Listener, LoadedModule, Outcome, Work};
use hetir::analysis::cfg::Cfg;
use hetir::analysis::dom::Dominators;
use hetir::analysis::loops::LoopForest;
use hetir::passes::suspend::state::{Areas, Broken, Control, Shape, State};
use hetir::passes::suspend::{Density, Plan, Strips};

use super::device::{Contents, FIRST_ADDRESS, Prepared, Printer, Scene, prepare};
use super::interp::lift;
use crate::devices;
use crate::engine::{Engine, Failure, Printed};
use crate::header::{Arg, Run};

/// Most pauses of one run; after that it runs to its end. Devices that compile take longer for each.
const MOST_PAUSES: u64 = 400;
const MOST_COMPILED: u64 = 40;

/// The variable that chooses other places at which runs are suspended.
const SEED: &str = "HETGPU_RING_SEED";

/// Instructions of a kernel of which several forms are compiled.
const FEW: usize = 300;

/// Instructions of the largest kernels that are tried on devices that compile.
const MOST: usize = 600;

/// Devices between which runs move.
pub struct Ring {
    name: String,
    devices: Vec<Arc<dyn Device>>,
    compiles: bool,
    /// Chooses where runs are suspended.
    seed: u64,
    /// Runs take turns: devices of the host place memory at the same addresses.
    next: Mutex<u64>,
    pauses: AtomicU64,
    /// Runs that were suspended at all.
    kernels: AtomicU64,
}

/// Hears how a launch ends.
struct Ears {
    printer: Arc<Printer>,
    outcome: Mutex<Option<Outcome>>,
}

impl Listener for Ears {
    fn print(&self, bytes: &[u8]) {
        self.printer.print(bytes);
    }
    fn ended(&self, outcome: Outcome) {
        *self.outcome.lock().unwrap_or_else(|e| e.into_inner()) = Some(outcome);
    }
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}

impl Ring {
    /// The devices of these names, joined by `+`.
    pub fn of(name: &str, devices: &str) -> Result<Self, String> {
        let opened = devices.split('+').map(devices::open).collect::<Result<Vec<_>, String>>()?;
        let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let compiles = opened.iter().any(|opened| opened.uncompiled.is_some());
        let devices = opened.into_iter().map(|opened| opened.device).collect();
        Ok(Self {
            name: name.into(),
            devices,
            compiles,
            seed,
            next: Mutex::new(FIRST_ADDRESS),
            pauses: AtomicU64::new(0),
            kernels: AtomicU64::new(0),
        })
    }

    /// How often runs were suspended up to now.
    pub fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }
}

/// A launch that moves.
struct Job<'r> {
    ring: &'r Ring,
    plan: Plan,
    areas: Areas,
    globals: Vec<u64>,
    launch: Launch,
    printer: Arc<Printer>,
    /// By device and the sites that threads are at; none where the kernel begins.
    loaded: BTreeMap<(usize, Option<Vec<u32>>), LoadedModule>,
    /// What is suspended, and what was not begun; none before the first pause.
    left: Option<(State, Vec<std::ops::Range<u64>>)>,
    random: u64,
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        for (&(device, _), &loaded) in &self.loaded {
            self.ring.devices[device].unload(loaded);
        }
    }
}

impl Job<'_> {
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.random >> 33) % below.max(1)
    }

    /// The kernel that begins, or the one that goes on from these sites, on a device.
    fn load(&mut self, device: &dyn Device, here: usize, used: Option<Vec<u32>>) -> Result<LoadedModule, Failure> {
        if let Some(&loaded) = self.loaded.get(&(here, used.clone())) {
            return Ok(loaded);
        }
        let module = match &used {
            None => self.plan.forced(),
            Some(used) => self.plan.resuming(used, true),
        };
        hetir::verify::verify(&module).map_err(|e| Failure::Broken(format!("{e:?}\n{module}")))?;
        let graph = module.functions[self.launch.kernel.index()].body.as_ref().map(Cfg::of);
        if graph.is_some_and(|cfg| LoopForest::of(&cfg, &Dominators::of(&cfg)).is_irreducible()) {
            return Err(broken(format!("a loop of the form for {used:?} is entered in its middle\n{module}")));
        }
        let loaded = device.load(&Arc::new(module), &self.globals).map_err(broken)?;
        self.loaded.insert((here, used), loaded);
        Ok(loaded)
    }

    /// Runs until it stops or ends; true at its end. `force` sites are passed before it stops, or all where 0.
    fn go(&mut self, scene: &mut Scene<'_>, here: usize, next: &mut u64, force: u32) -> Result<bool, Failure> {
        let device = scene.device;
        let state = self.left.take();
        // Where compilation takes long, one kernel serves whatever sites threads are at.
        let used = state.as_ref().map(|(state, _)| match self.plan.instructions() <= FEW {
            true => self.plan.used_sites(state),
            false => (0..self.plan.sites.len() as u32).collect(),
        });
        let loaded = self.load(device, here, used)?;
        let areas = state.as_ref().map_or_else(|| self.areas.clone(), |(state, _)| self.areas.resuming(state));
        let at = scene.memory(next, "state", &vec![0; areas.bytes as usize]).map_err(broken)?;
        let (mut control, pieces) = match &state {
            None => (areas.control(at), Vec::new()),
            Some((state, _)) => areas.resume(at, state),
        };
        let place = Control::Force as usize;
        control[place..place + 4].copy_from_slice(&force.to_le_bytes());
        device.write(at, &control).map_err(broken)?;
        for (to, bytes) in &pieces {
            device.write(*to, bytes).map_err(broken)?;
        }
        let (offset, bytes) = self.plan.control_place();
        let mut params = self.launch.params.to_vec();
        params.resize(bytes as usize, 0);
        params[offset as usize..].copy_from_slice(&at.to_le_bytes());
        let blocks = match &state {
            None => self.launch.blocks.clone(),
            Some((state, unstarted)) => Plan::blocks(state, unstarted),
        };
        let ears = Arc::new(Ears { printer: self.printer.clone(), outcome: Mutex::default() });
        let launch = Launch {
            module: loaded,
            params: params.into(),
            blocks,
            stop: at,
            listener: ears.clone(),
            ..self.launch.clone()
        };
        let result = device.open_queue(0).and_then(|queue| queue.run(Work::Launch(Box::new(launch))));
        result.map_err(broken)?;
        let outcome = ears.outcome.lock().unwrap_or_else(|e| e.into_inner()).take();
        let unstarted = match outcome {
            Some(Outcome::Finished) => Vec::new(),
            Some(Outcome::Stopped { unstarted }) => unstarted,
            None => return Err(broken("a launch has no end")),
        };
        let now = areas.collect(at, |from, out| device.read(from, out));
        let now = now.map_err(|e: Broken<DeviceError>| Failure::Broken(format!("{e:?}")))?;
        let now = match &state {
            Some((earlier, _)) => Areas::carry(earlier, &unstarted, now),
            None => now,
        };
        let place = scene.mapped.pop();
        place.iter().for_each(|&(at, _)| device.unmap(at));
        self.plan.accepts(&self.areas, &now).map_err(broken)?;
        if now.blocks.is_empty() && unstarted.is_empty() {
            return Ok(true);
        }
        self.left = Some((now, unstarted));
        self.ring.pauses.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }
}

/// The same memory on another device.
fn carry<'d>(mut from: Scene<'_>, to: &'d dyn Device) -> Result<Scene<'d>, DeviceError> {
    let mut contents = Vec::new();
    for &(at, bytes) in &from.mapped {
        let mut data = vec![0; bytes as usize];
        from.device.read(at, &mut data)?;
        contents.push((at, data));
    }
    from.mapped.iter().for_each(|&(at, _)| from.device.unmap(at));
    from.mapped.clear();
    drop(from);
    let mut scene = Scene::on(to);
    for (at, data) in contents {
        to.map(at, data.len() as u64, "moved")?;
        scene.mapped.push((at, data.len() as u64));
        to.write(at, &data)?;
    }
    Ok(scene)
}

impl Engine for Ring {
    fn name(&self) -> &str {
        &self.name
    }

    fn note(&self) -> Option<String> {
        let (pauses, kernels) = (self.pauses(), self.kernels.load(Ordering::Relaxed));
        Some(format!("{pauses} pauses of {kernels} launches"))
    }

    fn skips(&self, ptx: &str, run: &Run) -> Option<String> {
        if run.fault.is_some() {
            return Some("it ends with a fault".into());
        }
        let image = |arg: &Arg| match arg {
            Arg::Value(_) => false,
            Arg::Sampler(_) => true,
            Arg::Buffer(buffer) => buffer.view.is_some(),
        };
        if run.args.iter().any(image) {
            return Some("images are not moved here".into());
        }
        // What is wrong with the text the run says.
        let module = lift(ptx).ok()?;
        if module.function("malloc").is_some() {
            return Some("a device's heap is not moved here".into());
        }
        let plan = Plan::with(&module, module.function(&run.kernel)?, run.block, Density::Every, Strips::Counted)?;
        match plan.refusals.iter().find(|r| r.whole) {
            _ if self.compiles && plan.instructions() > MOST => {
                Some(format!("{} instructions take long to compile", plan.instructions()))
            }
            _ if plan.has_sites() => None,
            Some(refusal) => Some(format!("the kernel has no sites: {}", refusal.why)),
            None => Some("the kernel has no sites".into()),
        }
    }

    fn run(&self, ptx: &str, run: &Run, seed: u32, buffers: &mut [Vec<u8>]) -> Result<Printed, Failure> {
        let module = Arc::new(lift(ptx)?);
        let mut next = self.next.lock().unwrap_or_else(|e| e.into_inner());
        let mut scene = Scene::on(&*self.devices[0]);
        let Prepared { launch, printer, places, globals } = prepare(&mut scene, &mut next, &module, run, buffers)?;
        scene.module.take().into_iter().for_each(|module| scene.device.unload(module));
        // Of four runs two cut loops into strips, of either kind.
        let (density, strips) = match self.seed % 4 {
            1 => (Density::Strips, Strips::Bounded),
            3 => (Density::Strips, Strips::Counted),
            _ => (Density::Every, Strips::Counted),
        };
        let plan = Plan::with(&module, launch.kernel, launch.block, density, strips);
        let plan = plan.ok_or_else(|| broken("no such kernel"))?;
        let shape = Shape { grid: launch.grid, block: launch.block, dynamic_shared: launch.dynamic_shared };
        let areas = plan.areas(&shape).ok_or_else(|| broken("a launch without sites was not skipped"))?;
        let threads = u64::from(launch.block.iter().product::<u32>());
        let random = self.seed << 32 ^ u64::from(seed) ^ ptx.len() as u64;
        let printer_of_job = printer.clone();
        let mut job = Job {
            ring: self,
            plan,
            areas,
            globals,
            launch,
            printer: printer_of_job,
            loaded: BTreeMap::new(),
            left: None,
            random,
        };
        let mut turn = 0;
        loop {
            let live = match &job.left {
                None => threads,
                Some((state, _)) => state.blocks.values().map(|b| b.threads.len() as u64).sum(),
            };
            // Sometimes at the next site, sometimes later.
            let range = [1, 2, 5, 30][job.random(4) as usize];
            let force = live + job.random(live * range + 1) + 1;
            let most = match (self.compiles, job.plan.instructions() <= FEW) {
                (false, _) => MOST_PAUSES,
                (true, true) => MOST_COMPILED,
                (true, false) => MOST_COMPILED / 5,
            };
            let force = if turn < most { force.min(u32::MAX.into()) as u32 } else { 0 };
            let here = turn as usize % self.devices.len();
            if job.go(&mut scene, here, &mut next, force)? {
                break;
            }
            turn += 1;
            self.kernels.fetch_add(u64::from(turn == 1), Ordering::Relaxed);
            scene = carry(scene, &*self.devices[turn as usize % self.devices.len()]).map_err(broken)?;
        }
        drop(job);
        for (buffer, place) in buffers.iter_mut().zip(&places) {
            match place {
                Contents::Memory(at) => scene.device.read(*at, buffer).map_err(broken)?,
                Contents::Image(_) => return Err(broken("an image was not skipped")),
            }
        }
        let printed = printer.0.lock().unwrap_or_else(|e| e.into_inner());
        Ok(Some(String::from_utf8_lossy(&printed).into_owned()))
    }
}
