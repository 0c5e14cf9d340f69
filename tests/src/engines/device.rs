//! A device as an engine: filetests run on it the way that the runtime uses it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hetgpu_device::{
    Device, DeviceError, Dimensions, ErrorKind, Extent, Format, HostBuffer, ImageDescription, ImageId, ImageObject,
    ImagePlace, Launch, Listener, LoadedModule, Place, Shape, Texels, Transfer, Work,
};
use hetir::attr::Space;
use hetir::diag::render;
use hetir::entity::FuncId;
use hetir::ir::Module;

use super::interp::{FILE, HEAP_BYTES, WORKSPACE_BYTES, lift, parameters};
use crate::devices;
use crate::engine::{Engine, Failure, Printed};
use crate::fault::{self, FaultKind};
use crate::header::{Arg, Run, View};

/// Where memory is mapped: below everything of the host, above the interpreter's windows.
pub(super) const FIRST_ADDRESS: u64 = 0x12_0000_0000;

/// Far more than any filetest needs.
const LIMIT: Duration = Duration::from_secs(60);

/// Alignment of every buffer.
const ALIGNMENT: u64 = 256;

/// An engine that runs filetests on a device.
pub struct OnDevice {
    name: String,
    device: Arc<dyn Device>,
    uncompiled: Option<fn() -> Option<String>>,
    /// The next address. Held while a run lasts where a fault would take other runs with it.
    next: Mutex<u64>,
}

impl OnDevice {
    /// The device of that name.
    pub fn open(name: &str) -> Result<Self, String> {
        let devices::Opened { device, uncompiled } = devices::open(name)?;
        Ok(Self { name: name.into(), device, uncompiled, next: Mutex::new(FIRST_ADDRESS) })
    }

    /// The same under another name.
    pub fn called(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Whether the device compiles a kernel exactly if the header does not say otherwise.
    fn check_compiled(&self, run: &Run, launch: &Launch) -> Result<(), Failure> {
        let Some(uncompiled) = self.uncompiled else { return Ok(()) };
        // What is wrong with the kernel the launch says too.
        let _ = self.device.prepare(launch.module, launch.kernel, launch.block, Extent::Whole);
        let name = self.name.split('-').next().unwrap_or_default();
        match (uncompiled(), run.interpreted.get(name)) {
            (None, None) | (Some(_), Some(_)) => Ok(()),
            (Some(why), None) => Err(Failure::Broken(why)),
            (None, Some(reason)) => {
                let message = format!("the kernel is compiled, and the header says that it is not because: {reason}");
                Err(Failure::Broken(message))
            }
        }
    }

    fn next(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// How a launch ended, if it did.
    fn within_limit(&self, launch: Launch) -> Option<Result<(), DeviceError>> {
        let begin = || {
            let queue = self.device.open_queue(0)?;
            queue.submit(Work::Launch(Box::new(launch)))?;
            queue.mark(false)
        };
        let mark = match begin() {
            Ok(mark) => mark,
            Err(error) => return Some(Err(error)),
        };
        let start = Instant::now();
        let mut pause = Duration::from_micros(20);
        while start.elapsed() < LIMIT {
            match mark.poll() {
                Ok(false) => std::thread::sleep(pause),
                Ok(true) => return Some(Ok(())),
                Err(error) => return Some(Err(error)),
            }
            pause = (pause * 2).min(Duration::from_millis(10));
        }
        None
    }

    /// Addresses for so many bytes, and as many again behind them that nothing has.
    fn place(next: &mut u64, bytes: u64) -> u64 {
        const STEP: u64 = 2 << 20;
        let at = *next;
        *next += (2 * bytes).next_multiple_of(STEP) + STEP;
        at
    }
}

/// What a run has made on the device; it goes with the run.
pub(super) struct Scene<'d> {
    pub(super) device: &'d dyn Device,
    /// Where memory begins, and its bytes.
    pub(super) mapped: Vec<(u64, u64)>,
    images: Vec<ImageId>,
    handles: Vec<u64>,
    pub(super) module: Option<LoadedModule>,
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.module.iter().for_each(|&module| self.device.unload(module));
        self.handles.iter().for_each(|&handle| self.device.unbind(handle));
        self.images.iter().for_each(|&image| self.device.destroy_image(image));
        self.mapped.iter().for_each(|&(at, _)| self.device.unmap(at));
    }
}

impl<'d> Scene<'d> {
    pub(super) fn on(device: &'d dyn Device) -> Self {
        Self { device, mapped: vec![], images: vec![], handles: vec![], module: None }
    }

    /// Memory with these contents, which ends as near to unmapped memory as alignment allows.
    pub(super) fn memory(&mut self, next: &mut u64, name: &str, contents: &[u8]) -> Result<u64, DeviceError> {
        let bytes = contents.len().max(1) as u64;
        let mapped = bytes.next_multiple_of(self.device.caps().map_granularity);
        let start = OnDevice::place(next, mapped);
        self.device.map(start, mapped, name)?;
        self.mapped.push((start, mapped));
        let at = (start + mapped - bytes) / ALIGNMENT * ALIGNMENT;
        self.device.write(at, contents)?;
        Ok(at)
    }

    fn image(&mut self, view: &View, contents: &[u8]) -> Result<ImageId, DeviceError> {
        let image = self.device.create_image(&description(view))?;
        self.images.push(image);
        let host = HostBuffer::from(contents.to_vec());
        self.texels(image, view, &host, |host, image| (image, host))?;
        Ok(image)
    }

    /// Copies all texels between an image and host memory in the order that `sides` puts them in.
    fn texels(
        &self,
        image: ImageId,
        view: &View,
        host: &HostBuffer,
        sides: impl Fn(Place, Place) -> (Place, Place),
    ) -> Result<(), DeviceError> {
        let (queue, about) = (self.device.open_queue(0)?, &view.image);
        for (level, plane) in about.levels.iter().enumerate() {
            let [width, rows, depth] = about.extents(level).map(u64::from);
            let shape = Shape {
                row: width * about.texel_bytes() as u64 * u64::from(about.samples),
                rows,
                slices: depth * u64::from(about.layers),
                from_pitch: plane.row,
                to_pitch: plane.row,
                from_slice: plane.slice,
                to_slice: plane.slice,
            };
            let start = plane.address as usize;
            let part = host.span().part(start, host.span().bytes().saturating_sub(start));
            let part = part.ok_or_else(|| DeviceError::new(ErrorKind::InvalidRequest, "a level beyond its buffer"))?;
            let place = Place::Image(ImagePlace { image, level: level as u32, origin: [0; 3] });
            let (to, from) = sides(Place::Host(part), place);
            queue.run(Work::Copy(Transfer { to, from, shape }))?;
        }
        Ok(())
    }
}

fn description(view: &View) -> ImageDescription {
    let image = &view.image;
    let dimensions = match (view.cube, image.height, image.depth) {
        (true, ..) => Dimensions::Cube,
        (false, 1, 1) => Dimensions::One,
        (false, _, 1) => Dimensions::Two,
        (false, ..) => Dimensions::Three,
    };
    ImageDescription {
        format: Format { channel: image.channel, channels: image.channels },
        dimensions,
        extent: [image.width, image.height, image.depth],
        layers: image.layers,
        levels: image.levels.len() as u32,
        samples: image.samples,
        writable: view.texture.is_none(),
    }
}

/// Takes what a kernel prints.
#[derive(Default)]
pub(super) struct Printer(pub(super) Mutex<Vec<u8>>);

impl Listener for Printer {
    fn print(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).extend_from_slice(bytes);
    }
}

impl Engine for OnDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_lost_by_faults(&self) -> bool {
        !self.device.caps().survives_faults
    }

    fn skips(&self, _ptx: &str, run: &Run) -> Option<String> {
        let unnoticed = run.fault.as_ref().filter(|fault| !fault.everywhere && !must_notice(fault.kind));
        if let Some(fault) = unnoticed {
            return Some(format!("a device need not notice the fault `{}`", fault::name(fault.kind)));
        }
        let caps = self.device.caps().images;
        let needs = |arg: &Arg| match arg {
            Arg::Value(_) => None,
            Arg::Sampler(_) => caps.is_none().then_some("images"),
            Arg::Buffer(buffer) => match (&buffer.view, caps) {
                (None, _) => None,
                (Some(_), None) => Some("images"),
                (Some(view), Some(caps)) => {
                    (view.what.image.samples > 1 && !caps.multisample).then_some("images of several samples")
                }
            },
        };
        let lacks = run.args.iter().find_map(needs)?;
        Some(format!("the device has no {lacks}"))
    }

    fn run(&self, ptx: &str, run: &Run, _seed: u32, buffers: &mut [Vec<u8>]) -> Result<Printed, Failure> {
        let module = Arc::new(lift(ptx)?);
        let survives = self.device.caps().survives_faults;
        let mut next = self.next();
        let mut scene = Scene::on(&*self.device);
        let broken = |error: DeviceError| Failure::Broken(error.to_string());
        let prepared = prepare(&mut scene, &mut next, &module, run, buffers);
        let Prepared { launch, printer, places, .. } = prepared?;
        self.check_compiled(run, &launch)?;
        // A device that goes on after a fault takes the other runs beside this one.
        let held = if survives {
            drop(next);
            None
        } else {
            Some(next)
        };
        let outcome = match self.within_limit(launch) {
            Some(outcome) => outcome,
            None => {
                // The kernel may still use what the run has made.
                std::mem::forget(scene);
                return Err(Failure::Broken(format!("no end after {LIMIT:?}")));
            }
        };
        if let Err(error) = outcome {
            if !survives && error.kind.poisons() {
                std::mem::forget(scene);
                // Where only another process gets it back, whoever runs files sees the fault and goes on there.
                match self.device.reset() {
                    Err(error) if error.kind == ErrorKind::Lost => {}
                    reset => reset.map_err(broken)?,
                }
            }
            drop(held);
            return Err(failure(run, &error, ptx));
        }
        for ((buffer, place), view) in buffers.iter_mut().zip(&places).zip(views(run)) {
            match (place, view) {
                (Contents::Memory(at), _) => self.device.read(*at, buffer).map_err(broken)?,
                (Contents::Image(image), Some(view)) => {
                    let host = HostBuffer::from(buffer.clone());
                    scene.texels(*image, view, &host, |host, image| (host, image)).map_err(broken)?;
                    *buffer = host.to_vec();
                }
                (Contents::Image(_), None) => return Err(Failure::Broken("an image has no view".into())),
            }
        }
        let printed = printer.0.lock().unwrap_or_else(|e| e.into_inner());
        Ok(Some(String::from_utf8_lossy(&printed).into_owned()))
    }
}

/// The views of a run's buffers.
fn views(run: &Run) -> impl Iterator<Item = Option<&View>> {
    run.args.iter().filter_map(|arg| match arg {
        Arg::Buffer(buffer) => Some(buffer.view.as_ref().map(|view| &view.what)),
        Arg::Value(_) | Arg::Sampler(_) => None,
    })
}

/// Where the contents of a buffer argument are.
pub(super) enum Contents {
    Memory(u64),
    Image(ImageId),
}

/// A launch with everything that it needs on the device.
pub(super) struct Prepared {
    pub(super) launch: Launch,
    pub(super) printer: Arc<Printer>,
    pub(super) places: Vec<Contents>,
    pub(super) globals: Vec<u64>,
}

pub(super) fn prepare(
    scene: &mut Scene<'_>,
    next: &mut u64,
    module: &Arc<Module>,
    run: &Run,
    buffers: &[Vec<u8>],
) -> Result<Prepared, Failure> {
    let broken = |error: DeviceError| Failure::Broken(error.to_string());
    let index = module.functions.iter().position(|function| function.name == run.kernel);
    let index = index.ok_or_else(|| Failure::Broken(format!("there is no kernel `{}`", run.kernel)))?;
    let mut places = Vec::new();
    for (bytes, view) in buffers.iter().zip(views(run)) {
        let place = match view {
            None => scene.memory(next, "buffer", bytes).map(Contents::Memory),
            Some(view) => scene.image(view, bytes).map(Contents::Image),
        };
        places.push(place.map_err(broken)?);
    }
    let mut globals = Vec::new();
    for global in &module.globals {
        let at = match global.space {
            Space::Shared => Ok(0),
            _ => scene.memory(next, &global.name, &vec![0; global.size as usize]),
        };
        globals.push(at.map_err(broken)?);
    }
    for (global, &at) in module.globals.iter().zip(&globals).filter(|(global, _)| global.space != Space::Shared) {
        scene.device.write(at, &hetir::interp::initial_image(module, global, &globals)).map_err(broken)?;
    }
    let handles = bind(scene, run, &places, module, &globals)?;
    let addresses: Vec<u64> = places
        .iter()
        .map(|place| match place {
            Contents::Memory(at) => *at,
            Contents::Image(_) => 0,
        })
        .collect();
    let params = parameters(&module.functions[index], run, &addresses, |n| handles[n]).map_err(Failure::Broken)?;
    let loaded = scene.device.load(module, &globals).map_err(|error| Failure::Refused { log: error.to_string() })?;
    scene.module = Some(loaded);
    let heap = match module.function("malloc") {
        Some(_) => {
            let base = scene.memory(next, "heap", &vec![0; HEAP_BYTES as usize]).map_err(broken)?;
            Some(hetgpu_device::Heap { base, bytes: HEAP_BYTES })
        }
        None => None,
    };
    let workspace = match run.cooperative {
        true => scene.memory(next, "workspace", &[0; WORKSPACE_BYTES]).map_err(broken)?,
        false => 0,
    };
    let printer = Arc::new(Printer::default());
    let launch = Launch {
        grid: run.grid,
        block: run.block,
        cluster: run.cluster,
        dynamic_shared: run.shared,
        params: params.into(),
        cooperative: run.cooperative,
        workspace,
        heap,
        listener: printer.clone(),
        ..Launch::new(loaded, FuncId::new(index))
    };
    Ok(Prepared { launch, printer, places, globals })
}

/// Makes the textures, samplers and surfaces among the arguments; gives their handles, by argument, and 0 for others.
fn bind(
    scene: &mut Scene<'_>,
    run: &Run,
    places: &[Contents],
    module: &Module,
    globals: &[u64],
) -> Result<Vec<u64>, Failure> {
    let broken = |error: DeviceError| Failure::Broken(error.to_string());
    let mut places = places.iter();
    let mut handles = Vec::new();
    for arg in &run.args {
        let (object, variable) = match arg {
            Arg::Value(_) => (None, &None),
            Arg::Sampler(sampler) => (Some(ImageObject::Sampler(sampler.what)), &sampler.variable),
            Arg::Buffer(buffer) => match (places.next(), &buffer.view) {
                (Some(&Contents::Image(image)), Some(view)) => {
                    let texels = Texels::Image { image, first_level: 0 };
                    let object = match view.what.texture {
                        Some((sampler, normalized_floats)) => {
                            ImageObject::Texture { texels, sampler, normalized_floats }
                        }
                        None => ImageObject::Surface(texels),
                    };
                    (Some(object), &view.variable)
                }
                _ => (None, &None),
            },
        };
        let Some(object) = object else {
            handles.push(0);
            continue;
        };
        let handle = scene.device.bind(None, &object).map_err(broken)?;
        scene.handles.push(handle);
        handles.push(handle);
        if let Some(name) = variable {
            let place = module.globals.iter().position(|g| g.name == *name && g.opaque.is_some());
            let place = place
                .ok_or_else(|| Failure::Broken(format!("there is no texture, sampler or surface variable `{name}`")))?;
            scene.device.write(globals[place], &handle.to_le_bytes()).map_err(broken)?;
        }
    }
    Ok(handles)
}

/// Whether every device must notice a fault. The others are optional checks, or uses that PTX leaves undefined.
fn must_notice(kind: FaultKind) -> bool {
    group_of(ErrorKind::LaunchFailed).contains(&kind)
        || matches!(
            kind,
            FaultKind::OutOfBounds
                | FaultKind::Misaligned
                | FaultKind::AssertFail
                | FaultKind::StackOverflow
                | FaultKind::BadCall
                | FaultKind::BadLaunch
        )
}

/// The faults that a device may mean by an error.
fn group_of(kind: ErrorKind) -> &'static [FaultKind] {
    match kind {
        ErrorKind::IllegalAddress | ErrorKind::InvalidAddressSpace => {
            &[FaultKind::OutOfBounds, FaultKind::StackOverflow]
        }
        ErrorKind::Misaligned => &[FaultKind::Misaligned],
        ErrorKind::Assert => &[FaultKind::AssertFail],
        ErrorKind::LaunchFailed => &[FaultKind::Trap, FaultKind::Breakpoint],
        ErrorKind::IllegalInstruction => &[FaultKind::BadOperand],
        ErrorKind::InvalidCall => &[FaultKind::BadCall],
        ErrorKind::StackOverflow => &[FaultKind::StackOverflow],
        ErrorKind::Deadlock => &[FaultKind::Deadlock],
        ErrorKind::Timeout => &[FaultKind::StepLimit],
        ErrorKind::OutOfResources | ErrorKind::InvalidRequest => &[FaultKind::BadLaunch],
        ErrorKind::NotSupported => &[FaultKind::Unsupported],
        ErrorKind::OutOfMemory | ErrorKind::InvalidImage | ErrorKind::Lost => &[],
    }
}

/// The fault behind an error: what its diagnostic says, else the expected one if the error may mean it, message included,
/// for a device that does not know more.
fn failure(run: &Run, error: &DeviceError, ptx: &str) -> Failure {
    let told = error.diagnostic.as_ref().and_then(|diagnostic| {
        let kind = FaultKind::ALL.into_iter().find(|kind| kind.code() == diagnostic.code)?;
        Some(Failure::Fault { kind, message: render(std::slice::from_ref(diagnostic), FILE, ptx) })
    });
    let group = group_of(error.kind);
    told.unwrap_or_else(|| match (run.fault.as_ref().filter(|expected| group.contains(&expected.kind)), group) {
        (Some(expected), _) => Failure::Fault { kind: expected.kind, message: expected.message.clone() },
        (None, [kind, ..]) => Failure::Fault { kind: *kind, message: error.to_string() },
        (None, []) => Failure::Broken(error.to_string()),
    })
}
