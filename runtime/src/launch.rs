//! Launches: what may be asked for, and how it gets to the device.

use crate::capture::Target;
use crate::code::KernelInfo;
use crate::flight::InFlight;
use crate::graph::Attributes;
use crate::handle::Handle;
use crate::memory::{Memory, Owner};
use crate::module::{Function, FunctionSettings, Kernel, Module};
use crate::parts::Parts;
use crate::queue::{Lane, Operation};
use crate::seat::aside;
use crate::session::Session;
use crate::stream::StreamRef;
use crate::twin::{Sitting, Suspending};
use crate::{Error, Result, Runtime, log};
use hetgpu_device::{Caps, DeviceError, Extent, Heap, Listener, Outcome, Queue, WORKSPACE_BYTES, Work};
use hetir::blocks::Blocks;
use hetir::diag::Diagnostic;
use hetir::entity::FuncId;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How a call names a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Launchable {
    Function(Handle<Function>),
    /// Launched in the context of the stream.
    Kernel(Handle<Kernel>),
}

/// A launch as asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaunchRequest {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Blocks a cluster; all 1 where the launch asks for none.
    pub cluster: [u32; 3],
    pub dynamic_shared: u32,
    pub cooperative: bool,
    /// The kernel's parameters, packed.
    pub params: Arc<[u8]>,
    /// What else the program said of it, which a node of a graph keeps.
    pub attributes: Attributes,
}

/// How many blocks a launch has and how large they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaunchShape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Blocks a cluster; all 1 where the launch asks for none.
    pub cluster: [u32; 3],
    pub dynamic_shared: u32,
    pub cooperative: bool,
}

impl LaunchShape {
    /// A launch without clusters whose blocks do not wait for each other.
    pub fn plain(grid: [u32; 3], block: [u32; 3], dynamic_shared: u32) -> Self {
        Self { grid, block, cluster: [1; 3], dynamic_shared, cooperative: false }
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.grid.iter().fold(1, |blocks, &n| blocks.saturating_mul(n.into()))
    }
}

impl LaunchRequest {
    fn shape(&self) -> LaunchShape {
        let Self { grid, block, cluster, dynamic_shared, cooperative, .. } = *self;
        LaunchShape { grid, block, cluster, dynamic_shared, cooperative }
    }
}

/// A launch that was checked and can be made any number of times.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) session: Arc<Session>,
    pub(crate) module: Arc<Module>,
    pub(crate) function: Arc<Function>,
    pub(crate) kernel: FuncId,
    pub(crate) request: LaunchRequest,
    /// Where it runs; none for everywhere.
    processors: Option<Arc<[u32]>>,
    heap: Option<Heap>,
    pub(crate) suspending: Suspending,
}

/// A launch in a queue.
pub(crate) struct QueuedLaunch {
    prepared: Prepared,
    workspace: u64,
    grid_id: u64,
    memory: Arc<Memory>,
}

impl QueuedLaunch {
    /// Nanoseconds that it will take by what earlier launches of the kernel took.
    pub(crate) fn guess(&self) -> Option<u64> {
        self.prepared.guess()
    }

    /// Whether the device may be given it without anybody looking after it.
    pub(crate) fn may_follow(&self) -> bool {
        self.prepared.may_follow()
    }

    pub(crate) fn measured(&self) -> Measured {
        Measured::new(&self.prepared.function, self.prepared.blocks())
    }

    /// The kernel and how many blocks of it: launches of which this is equal take the same time.
    pub(crate) fn kind(&self) -> (usize, u64) {
        (Arc::as_ptr(&self.prepared.function).addr(), self.prepared.blocks())
    }
}

/// A launch whose time is found out by the way.
pub(crate) struct Measured {
    function: Arc<Function>,
    blocks: u64,
}

impl Measured {
    pub(crate) fn new(function: &Arc<Function>, blocks: u64) -> Self {
        Self { function: Arc::clone(function), blocks }
    }

    /// It and others took so long together, and more was thought.
    pub(crate) fn scale(&self, took: Duration, thought: Duration) {
        self.function.pace.scale(took.as_nanos() as u64, thought.as_nanos() as u64);
    }

    /// It took no longer than that.
    pub(crate) fn at_most(&self, time: Duration) {
        self.function.pace.at_most(time.as_nanos() as u64, self.blocks);
    }
}

/// How long launches of a kernel take.
#[derive(Default)]
pub(crate) struct Pace {
    /// Nanoseconds and blocks of the last launch; 0 before it.
    last: AtomicU64,
}

impl Pace {
    /// Nanoseconds are worth knowing up to a tenth of a second, blocks up to more than any device runs at once.
    const MOST: u64 = u32::MAX as u64;

    fn took(&self, nanoseconds: u64, blocks: u64) {
        let (nanoseconds, blocks) = (nanoseconds.clamp(1, Self::MOST), blocks.clamp(1, Self::MOST));
        self.last.store(nanoseconds << 32 | blocks, Ordering::Relaxed);
    }

    /// A launch took no longer than that: the first one of a kernel says too much where the device was not warm.
    fn at_most(&self, nanoseconds: u64, blocks: u64) {
        let before = self.last.load(Ordering::Relaxed) & Self::MOST;
        if blocks >= before && self.of(blocks).is_some_and(|known| nanoseconds < known) {
            self.took(nanoseconds, blocks);
        }
    }

    /// Of launches that took so long together, more was thought by so much.
    fn scale(&self, took: u64, thought: u64) {
        let last = self.last.load(Ordering::Relaxed);
        let (nanoseconds, blocks) = (last >> 32, last & Self::MOST);
        if last != 0 && took < thought {
            let scaled = u128::from(nanoseconds) * u128::from(took) / u128::from(thought);
            self.took(scaled as u64, blocks);
        }
    }

    /// For so many blocks; fewer than the last time may take as long.
    pub(crate) fn of(&self, blocks: u64) -> Option<u64> {
        let last = self.last.load(Ordering::Relaxed);
        let (nanoseconds, before) = (last >> 32, last & Self::MOST);
        (last != 0).then(|| nanoseconds.saturating_mul(blocks.div_ceil(before)))
    }

    /// For one block, where so many run at the same time.
    pub(crate) fn of_block(&self, processors: u64) -> Option<u64> {
        let last = self.last.load(Ordering::Relaxed);
        let (nanoseconds, blocks) = (last >> 32, last & Self::MOST);
        (last != 0).then(|| nanoseconds / blocks.div_ceil(processors))
    }
}

/// Blocks of a kernel that a multiprocessor holds at once.
pub fn resident_blocks(caps: &Caps, info: &KernelInfo, threads: u32, dynamic_shared: u32) -> u32 {
    let warps = threads.div_ceil(32).max(1);
    let by_threads = caps.threads_per_multiprocessor / (warps * 32);
    let shared = info.static_shared.saturating_add(dynamic_shared);
    let by_shared = match shared {
        0 => u32::MAX,
        _ => caps.shared_per_multiprocessor / shared.saturating_add(caps.shared_reserved_per_block),
    };
    by_threads.min(by_shared).min(caps.blocks_per_multiprocessor)
}

/// Dynamic shared memory that launches of a kernel may ask for.
pub fn dynamic_shared_limit(caps: &Caps, info: &KernelInfo, settings: FunctionSettings) -> u32 {
    settings.max_dynamic_shared.unwrap_or_else(|| caps.shared_per_block.saturating_sub(info.static_shared))
}

/// Threads that a block of a kernel may have.
pub fn threads_limit(caps: &Caps, info: &KernelInfo) -> u32 {
    match info.max_threads {
        0 => caps.threads_per_block,
        most => most.min(caps.threads_per_block),
    }
}

/// Blocks a cluster that every device with clusters takes.
const PORTABLE_CLUSTER: u32 = 8;

/// Blocks that a cluster of a kernel may have; 0 without clusters.
pub fn cluster_limit(caps: &Caps, info: &KernelInfo, settings: FunctionSettings) -> u32 {
    let portable = if settings.large_clusters { u32::MAX } else { PORTABLE_CLUSTER };
    let own = if info.max_cluster == 0 { u32::MAX } else { info.max_cluster };
    caps.cluster_blocks.min(portable).min(own)
}

/// The clusters of a launch: those asked for, else (all 0 or all 1) those that the kernel was compiled for or set to.
pub fn cluster_of(info: &KernelInfo, settings: FunctionSettings, asked: [u32; 3]) -> [u32; 3] {
    match (info.required_cluster, settings.cluster) {
        _ if asked != [1; 3] && asked != [0; 3] => asked,
        ([0, 0, 0], [0, 0, 0]) => asked,
        // Some of it was set and some was not, which no launch passes.
        ([0, 0, 0], set) => set,
        (required, _) => required.map(|blocks| blocks.max(1)),
    }
}

/// What a launch on so many multiprocessors is checked for before it goes anywhere.
pub fn check(
    caps: &Caps,
    info: &KernelInfo,
    settings: FunctionSettings,
    request: &LaunchRequest,
    multiprocessors: u32,
) -> Result<()> {
    if request.params.len() < info.param_bytes as usize {
        return Err(Error::invalid(format!(
            "{}: {} bytes of parameters, the kernel takes {}",
            info.name.to_string_lossy(),
            request.params.len(),
            info.param_bytes
        )));
    }
    check_shape(caps, info, settings, &request.shape(), multiprocessors)
}

/// The same, but for its parameters.
pub(crate) fn check_shape(
    caps: &Caps,
    info: &KernelInfo,
    settings: FunctionSettings,
    request: &LaunchShape,
    multiprocessors: u32,
) -> Result<()> {
    let name = || info.name.to_string_lossy();
    for (what, given, most) in [("grid", request.grid, caps.grid), ("block", request.block, caps.block)] {
        if given.iter().zip(most).any(|(&given, most)| given == 0 || given > most) {
            return Err(Error::invalid(format!("{}: a {what} of {given:?}; each must be 1 to {most:?}", name())));
        }
    }
    let threads: u32 = request.block.iter().product();
    if threads > caps.threads_per_block {
        return Err(Error::invalid(format!(
            "{}: {threads} threads a block, at most {}",
            name(),
            caps.threads_per_block
        )));
    }
    if threads > threads_limit(caps, info) {
        return Err(Error::invalid(format!(
            "{}: {threads} threads a block, but the kernel was compiled for at most {}",
            name(),
            info.max_threads
        )));
    }
    let required = info.required_threads;
    if required != [0; 3] && request.block != required.map(|threads| threads.max(1)) {
        return Err(Error::invalid(format!(
            "{}: blocks of {:?}, but the kernel wants {required:?}",
            name(),
            request.block
        )));
    }
    let limit = dynamic_shared_limit(caps, info, settings);
    if request.dynamic_shared > limit {
        return Err(Error::invalid(format!(
            "{}: {} bytes of dynamic shared memory, at most {limit}",
            name(),
            request.dynamic_shared
        )));
    }
    check_cluster(caps, info, settings, request.cluster)?;
    if request.grid.iter().zip(request.cluster).any(|(blocks, cluster)| cluster == 0 || blocks % cluster != 0) {
        return Err(Error::invalid(format!(
            "{}: a grid of {:?} blocks cannot be cut into clusters of {:?}",
            name(),
            request.grid,
            request.cluster
        )));
    }
    if request.cooperative {
        let blocks: u64 = request.grid.iter().map(|&blocks| u64::from(blocks)).product();
        let room = resident_blocks(caps, info, threads, request.dynamic_shared) * multiprocessors;
        if blocks > u64::from(room) {
            return Err(Error::CooperativeTooLarge(format!(
                "{}: {blocks} blocks, at most {room} are resident",
                name()
            )));
        }
    }
    Ok(())
}

/// Whether a kernel may be launched in such clusters.
pub fn check_cluster(caps: &Caps, info: &KernelInfo, settings: FunctionSettings, cluster: [u32; 3]) -> Result<()> {
    let name = || info.name.to_string_lossy();
    let blocks = cluster.iter().fold(1u32, |product, &blocks| product.saturating_mul(blocks));
    let limit = cluster_limit(caps, info, settings).max(1);
    if blocks == 0 || blocks > limit {
        return Err(Error::InvalidCluster(format!(
            "{}: clusters of {cluster:?} blocks, at most {limit} in all",
            name()
        )));
    }
    if info.required_cluster != [0; 3] && cluster != cluster_of(info, settings, [1; 3]) {
        return Err(Error::InvalidCluster(format!(
            "{}: clusters of {cluster:?} blocks, but the kernel requires {:?}",
            name(),
            info.required_cluster
        )));
    }
    Ok(())
}

impl Runtime {
    /// Puts a launch into a stream.
    pub fn launch(&self, what: Launchable, stream: StreamRef, request: LaunchRequest) -> Result<()> {
        match self.target(stream)? {
            Target::Lane(session, lane) => self.launch_in(&session, lane, what, Some(stream), request),
            Target::Capture(capture) => self.capture_launch(&capture, what, request),
        }
    }

    /// Puts a launch into a stream's lane, whether the stream is captured or not.
    pub fn launch_uncaptured(&self, what: Launchable, stream: StreamRef, request: LaunchRequest) -> Result<()> {
        let (session, lane) = self.lane_beside_capture(stream)?;
        self.launch_in(&session, lane, what, None, request)
    }

    /// The stream is one whose next launch may go the short way.
    fn launch_in(
        &self,
        session: &Arc<Session>,
        lane: Lane,
        what: Launchable,
        stream: Option<StreamRef>,
        request: LaunchRequest,
    ) -> Result<()> {
        let (_, processors) = session.part_of(lane);
        let prepared = self.prepare(what, session, request, processors)?;
        let workspace = match prepared.request.cooperative {
            true => session.workspace(lane, || self.memory.workspace(session))?,
            false => 0,
        };
        let short = stream.filter(|_| prepared.is_plain());
        let Prepared { module, function, kernel, .. } = &prepared;
        let candidate = short.and_then(|stream| self.candidate(what, stream, function, module.loaded, *kernel));
        let queued = QueuedLaunch { prepared, workspace, grid_id: self.next_id(), memory: self.memory.clone() };
        session.push(lane, Vec::new(), Operation::Launch(Box::new(queued)))?;
        if let Some(candidate) = candidate {
            self.remember(session, lane, candidate);
        }
        Ok(())
    }

    /// Checks a launch, for a session in which the kernel is or will be loaded.
    pub(crate) fn prepare(
        &self,
        what: Launchable,
        session: &Arc<Session>,
        mut request: LaunchRequest,
        processors: Option<Arc<[u32]>>,
    ) -> Result<Prepared> {
        let function = match what {
            Launchable::Function(handle) => self.functions.get(handle)?,
            Launchable::Kernel(handle) => self.functions.get(self.kernel_function_in(handle, session)?)?,
        };
        let settings = function.settings();
        let module = self.modules.get(function.module)?;
        if module.session.id != session.id {
            return Err(Error::InvalidHandle("function"));
        }
        let info = function.info();
        if let Some(reason) = &info.refused {
            return Err(Error::InvalidCode(reason.clone()));
        }
        request.cluster = cluster_of(info, settings, request.cluster);
        let caps = session.device.device.caps();
        let multiprocessors = processors.as_ref().map_or(caps.multiprocessors, |some| some.len() as u32);
        check(caps, info, settings, &request, multiprocessors)?;
        let heap = if module.code.allocates { Some(self.heap(session)?) } else { None };
        let kernel = info.function;
        let suspending = self.settings.suspending;
        Ok(Prepared { session: session.clone(), module, function, kernel, request, processors, heap, suspending })
    }

    /// The session's heap for device-side allocation, made when it is first needed.
    fn heap(&self, session: &Session) -> Result<Heap> {
        session.heap_or(|bytes| {
            let base = self.memory.allocate(session.device.index, Owner::system(session.id), bytes, "device heap")?;
            Ok(Heap { base, bytes })
        })
    }
}

/// Passes on what a launch says.
struct Ears {
    session: Arc<Session>,
    module: Arc<Module>,
    outcome: OnceLock<Outcome>,
}

impl Ears {
    /// Blocks that a launch which has ended did not begin.
    fn unstarted(&self) -> Vec<Range<u64>> {
        match self.outcome.get() {
            Some(Outcome::Stopped { unstarted }) => unstarted.clone(),
            Some(Outcome::Finished) | None => Vec::new(),
        }
    }
}

impl Listener for Ears {
    fn print(&self, bytes: &[u8]) {
        self.session.print(bytes);
    }

    fn complain(&self, bytes: &[u8]) {
        let _ = std::io::stderr().write_all(bytes);
    }

    fn warn(&self, warning: &Diagnostic) {
        log::warn(format_args!("{}", self.module.code.render(warning)));
        self.session.notice();
    }

    fn ended(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
    }
}

impl Memory {
    /// For the grid barriers of cooperative launches, one after the other.
    pub(crate) fn workspace(&self, session: &Session) -> Result<u64> {
        self.allocate(session.device.index, Owner::system(session.id), WORKSPACE_BYTES, "grid barrier")
    }
}

/// Runs a launch; its error says where in the kernel it happened.
pub(crate) fn run(queue: &dyn Queue, session: &Arc<Session>, queued: QueuedLaunch) -> Result<()> {
    let QueuedLaunch { prepared, workspace, grid_id, memory } = queued;
    prepared.run(queue, session, &memory, workspace, grid_id)
}

/// Gives the device a launch that nobody waits for.
pub(crate) fn submit(queue: &dyn Queue, queued: QueuedLaunch) -> Result<()> {
    let QueuedLaunch { prepared, workspace, grid_id, .. } = queued;
    let launch = prepared.as_it_is(workspace, grid_id);
    queue.submit(Work::Launch(launch)).map_err(|error| named(error, &prepared.module).into())
}

impl Prepared {
    /// Whether the device may be given it without anybody looking after it.
    pub(crate) fn may_follow(&self) -> bool {
        let Self { heap, suspending, .. } = self;
        heap.is_none() && *suspending != Suspending::Always && !cfg!(feature = "idle")
    }

    /// Whether a device that works on its own needs no more for it than the kernel, the shape and the parameters.
    fn is_plain(&self) -> bool {
        let Self { session, request, processors, .. } = self;
        let simple = !request.cooperative && request.cluster == [1; 3] && processors.is_none();
        simple && self.may_follow() && session.device.device.caps().asynchronous
    }

    /// The launch of the kernel's plain form, whole.
    pub(crate) fn as_it_is(&self, workspace: u64, grid_id: u64) -> Box<hetgpu_device::Launch> {
        let Self { kernel, request, processors, heap, .. } = self;
        Box::new(hetgpu_device::Launch {
            module: self.module.loaded,
            kernel: *kernel,
            grid: request.grid,
            block: request.block,
            cluster: request.cluster,
            dynamic_shared: request.dynamic_shared,
            params: Arc::clone(&request.params),
            cooperative: request.cooperative,
            workspace,
            clears_workspace: workspace != 0,
            grid_id,
            heap: *heap,
            multiprocessors: processors.clone(),
            blocks: Blocks::default(),
            stop: 0,
            listener: self.listener(),
        })
    }

    /// Hears what launches say whose outcome nobody asks for.
    fn listener(&self) -> Arc<dyn Listener> {
        let ears = || {
            let (session, module) = (self.session.clone(), self.module.clone());
            Arc::new(Ears { session, module, outcome: OnceLock::new() })
        };
        self.function.ears.get_or_init(|| ears()).clone()
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.request.shape().blocks()
    }

    /// Nanoseconds that it will take by what earlier launches of the kernel took.
    pub(crate) fn guess(&self) -> Option<u64> {
        self.function.pace.of(self.blocks())
    }

    /// Runs the launch with memory for its grid barrier, or 0. In a pause it stops between two blocks, and goes on
    /// afterwards with those that are left, on whatever device is there.
    pub(crate) fn run(
        &self,
        queue: &dyn Queue,
        session: &Arc<Session>,
        memory: &Memory,
        workspace: u64,
        grid_id: u64,
    ) -> Result<()> {
        if cfg!(feature = "idle") {
            return Ok(());
        }
        let Self { module, function, kernel, request, processors, heap, .. } = self;
        let mut sitting = self.sit(session, memory)?;
        let word = sitting.as_ref().map(Sitting::stop);
        let mut flight = session.device.take_off(memory, function, request, self.guess(), word)?;
        let prepare = |module, extent| {
            let _ = aside(|| session.device.device.prepare(module, *kernel, request.block, extent));
        };
        if self.guess().is_none() {
            // Compilation is no part of what a launch takes; what is wrong with the kernel the launch says, too.
            prepare(sitting.as_ref().map_or(self.module.loaded, |sitting| sitting.module), Extent::Whole);
        }
        let mut blocks = Blocks::default();
        let mut took = Duration::ZERO;
        loop {
            let in_parts = sitting.is_none() && self.may_be_parted(flight.stop);
            if in_parts {
                // The gate is not passed by who compiles.
                prepare(self.module.loaded, Extent::Part);
            }
            let ears = Arc::new(Ears { session: session.clone(), module: module.clone(), outcome: OnceLock::new() });
            let launch = hetgpu_device::Launch {
                module: sitting.as_ref().map_or(self.module.loaded, |sitting| sitting.module),
                kernel: *kernel,
                grid: request.grid,
                block: request.block,
                cluster: request.cluster,
                dynamic_shared: request.dynamic_shared,
                params: sitting.as_ref().map_or(&request.params, |sitting| &sitting.params).clone(),
                cooperative: request.cooperative,
                workspace,
                // Who goes on goes on with what is there.
                clears_workspace: workspace != 0 && took.is_zero(),
                grid_id,
                heap: *heap,
                multiprocessors: processors.clone(),
                blocks: blocks.clone(),
                stop: flight.stop,
                listener: ears.clone(),
            };
            let start = Instant::now();
            let outcome = match in_parts {
                true => self.run_parts(queue, &launch, &flight),
                false => queue.run(Work::Launch(Box::new(launch))).map(|()| ears.unstarted()),
            };
            took += start.elapsed();
            let unstarted = outcome.map_err(|error| named(error, &self.module))?;
            let unstarted = &unstarted[..];
            match sitting {
                Some(sitting) if !flight.retire() && unstarted.is_empty() => {
                    sitting.untouched();
                    break;
                }
                Some(ref mut sitting) => {
                    flight.stopped(unstarted.iter().map(|blocks| blocks.end - blocks.start).sum());
                    self.session.device.queue.stay();
                    match aside(|| sitting.go_on(&self.session, unstarted, &request.params))? {
                        Some(left) => blocks = left,
                        None => break,
                    }
                    prepare(sitting.module, Extent::Rest);
                    flight.other_word(sitting.stop());
                }
                None if unstarted.is_empty() => break,
                None => {
                    flight.stopped(unstarted.iter().map(|blocks| blocks.end - blocks.start).sum());
                    blocks = Blocks::some(unstarted.iter().cloned());
                    self.session.device.queue.stay();
                    flight.go_on()?;
                }
            }
        }
        function.pace.took(took.as_nanos() as u64, self.blocks());
        Ok(())
    }
}

impl Prepared {
    /// Whether a launch with a word that asks it to stop goes in parts instead, each with the code of launches that nobody stops: the
    /// device can have the next ready, and none of its blocks has to look at the word.
    fn may_be_parted(&self, word: u64) -> bool {
        let whole =
            self.request.cooperative || self.request.cluster != [1; 3] || self.module.code.module.machine.is_some();
        word != 0 && !whole && self.session.device.device.caps().asynchronous
    }

    /// Runs blocks of a launch in parts, until all have run or it is asked to stop; those that have not.
    fn run_parts(
        &self,
        queue: &dyn Queue,
        launch: &hetgpu_device::Launch,
        flight: &InFlight<'_>,
    ) -> std::result::Result<Vec<Range<u64>>, DeviceError> {
        let device = &self.session.device.device;
        let (threads, shared) = (self.request.block.iter().product(), self.request.dynamic_shared);
        let resident = device.resident_blocks(self.module.loaded, self.kernel, threads, shared).unwrap_or(1);
        let at_once = u64::from(resident.max(1)) * u64::from(device.caps().multiprocessors.max(1));
        let mut parts = Parts::new(launch.grid, &launch.blocks, at_once, self.guess());
        queue.run_parts(launch, &mut || if flight.is_asked() { None } else { parts.next(Instant::now()) })?;
        Ok(parts.left())
    }
}

/// The error with its place in the text that the kernel was written in.
pub(crate) fn named(mut error: DeviceError, module: &Module) -> DeviceError {
    if let Some(diagnostic) = &error.diagnostic {
        error.message = module.code.render(diagnostic);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Param;
    use std::ffi::CString;

    fn caps() -> Caps {
        Caps { memory: 1 << 30, cooperative: true, cluster_blocks: 16, multiprocessors: 2, ..Caps::default() }
    }

    fn info() -> KernelInfo {
        KernelInfo {
            function: FuncId::new(0),
            name: CString::from(c"k"),
            params: vec![Param { name: "p".into(), offset: 0, size: 8 }],
            param_bytes: 8,
            max_threads: 0,
            required_threads: [0; 3],
            required_cluster: [0; 3],
            max_cluster: 0,
            explicit_cluster: false,
            static_shared: 0,
            local: 0,
            refused: None,
        }
    }

    fn request(grid: [u32; 3], block: [u32; 3]) -> LaunchRequest {
        LaunchRequest {
            grid,
            block,
            cluster: [1; 3],
            dynamic_shared: 0,
            cooperative: false,
            params: [0; 8].into(),
            attributes: Attributes::new(),
        }
    }

    fn verdict(info: &KernelInfo, request: LaunchRequest) -> Result<()> {
        check(&caps(), info, FunctionSettings::default(), &request, caps().multiprocessors)
    }

    fn is_invalid(result: Result<()>) -> bool {
        matches!(result, Err(Error::InvalidValue(_)))
    }

    #[test]
    fn limits_of_the_device() {
        assert_eq!(verdict(&info(), request([1, 1, 1], [1024, 1, 1])), Ok(()));
        assert!(is_invalid(verdict(&info(), request([1, 1, 1], [1025, 1, 1]))));
        assert!(is_invalid(verdict(&info(), request([1, 1, 1], [1, 1, 65]))));
        assert!(is_invalid(verdict(&info(), request([1, 1, 1], [32, 33, 1]))), "1056 threads in all");
        assert!(is_invalid(verdict(&info(), request([0, 1, 1], [1, 1, 1]))));
        assert!(is_invalid(verdict(&info(), request([1, 65_536, 1], [1, 1, 1]))));
    }

    #[test]
    fn bounds_of_the_kernel() {
        let bounded = KernelInfo { max_threads: 128, ..info() };
        assert_eq!(verdict(&bounded, request([1, 1, 1], [128, 1, 1])), Ok(()));
        assert!(is_invalid(verdict(&bounded, request([1, 1, 1], [129, 1, 1]))));
        let exact = KernelInfo { max_threads: 64, required_threads: [8, 8, 0], ..info() };
        assert_eq!(verdict(&exact, request([1, 1, 1], [8, 8, 1])), Ok(()));
        assert!(is_invalid(verdict(&exact, request([1, 1, 1], [64, 1, 1]))));
    }

    #[test]
    fn shared_memory_beyond_the_default_must_be_asked_for() {
        let info = KernelInfo { static_shared: 8 << 10, ..info() };
        let with = |dynamic_shared| LaunchRequest { dynamic_shared, ..request([1, 1, 1], [1, 1, 1]) };
        assert_eq!(verdict(&info, with(40 << 10)), Ok(()));
        assert!(is_invalid(verdict(&info, with((40 << 10) + 1))));
        let settings = FunctionSettings { max_dynamic_shared: Some(100 << 10), ..FunctionSettings::default() };
        assert_eq!(check(&caps(), &info, settings, &with(100 << 10), 2), Ok(()));
    }

    #[test]
    fn too_few_parameters_are_refused() {
        let short = LaunchRequest { params: [0; 7].into(), ..request([1, 1, 1], [1, 1, 1]) };
        assert!(is_invalid(verdict(&info(), short)));
    }

    #[test]
    fn a_grid_is_cut_into_whole_clusters() {
        let clusters = |cluster| LaunchRequest { cluster, ..request([4, 3, 1], [32, 1, 1]) };
        assert_eq!(verdict(&info(), clusters([2, 3, 1])), Ok(()));
        for cluster in [[3, 1, 1], [1, 2, 1], [2, 0, 1]] {
            assert!(verdict(&info(), clusters(cluster)).is_err(), "{cluster:?}");
        }
    }

    #[test]
    fn clusters_have_limits() {
        let large = FunctionSettings { large_clusters: true, ..FunctionSettings::default() };
        let of = |info: &KernelInfo, settings, cluster| {
            let request = LaunchRequest { cluster, ..request([16, 16, 16], [32, 1, 1]) };
            check(&caps(), info, settings, &request, 2)
        };
        let is_cluster = |result| matches!(result, Err(Error::InvalidCluster(_)));
        assert_eq!(of(&info(), FunctionSettings::default(), [2, 2, 2]), Ok(()));
        assert!(is_cluster(of(&info(), FunctionSettings::default(), [16, 1, 1])));
        assert_eq!(of(&info(), large, [16, 1, 1]), Ok(()));
        assert!(is_cluster(of(&info(), large, [16, 2, 1])));
        assert!(is_cluster(of(&info(), large, [1 << 16, 1 << 16, 1])), "the product does not fit 32 bits");
        let small = KernelInfo { max_cluster: 2, ..info() };
        assert_eq!(of(&small, large, [2, 1, 1]), Ok(()));
        assert!(is_cluster(of(&small, large, [4, 1, 1])));
    }

    #[test]
    fn a_kernel_may_require_its_clusters() {
        let info = KernelInfo { required_cluster: [2, 0, 0], ..info() };
        assert_eq!(cluster_of(&info, FunctionSettings::default(), [1; 3]), [2, 1, 1]);
        let with = |cluster| LaunchRequest { cluster, ..request([4, 4, 1], [32, 1, 1]) };
        assert_eq!(verdict(&info, with([2, 1, 1])), Ok(()));
        assert!(matches!(verdict(&info, with([1, 2, 1])), Err(Error::InvalidCluster(_))));
    }

    #[test]
    fn a_cooperative_grid_must_be_resident() {
        let cooperative = |blocks| LaunchRequest { cooperative: true, ..request([blocks, 1, 1], [1024, 1, 1]) };
        assert_eq!(verdict(&info(), cooperative(4)), Ok(()));
        assert!(matches!(verdict(&info(), cooperative(5)), Err(Error::CooperativeTooLarge(_))));
    }

    #[test]
    fn residency_is_bound_by_threads_shared_memory_and_blocks() {
        assert_eq!(resident_blocks(&caps(), &info(), 256, 0), 8);
        assert_eq!(resident_blocks(&caps(), &info(), 33, 0), 32);
        assert_eq!(resident_blocks(&caps(), &info(), 1, 0), 32);
        assert_eq!(resident_blocks(&caps(), &info(), 32, 75 << 10), 3);
        assert_eq!(resident_blocks(&caps(), &info(), 32, 300 << 10), 0);
    }
}
