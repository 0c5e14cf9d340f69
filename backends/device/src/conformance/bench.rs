//! What trials have in common: memory that goes away by itself, kernels by name, and questions with one answer.

use super::{Stop, Verdict, ensure};
use crate::{
    Caps, Device, DeviceError, ErrorKind, Extent, Fill, HostBuffer, Launch, Listener, LoadedModule, Mark, Outcome,
    Pattern, Place, Queue, Shape, Transfer, Work,
};
use hetir::attr::Space;
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Kernels that use no images.
pub(super) const KERNELS: &str = include_str!("kernels.het");
/// Kernels that use images.
pub(super) const TEXTURES: &str = include_str!("textures.het");

/// Where trials put memory: no host of ours puts its own there.
const FIRST: u64 = 0x11_0000_0000;
/// Mappings begin at multiples of this, or of the device's granularity.
const STEP: u64 = 2 << 20;

static NEXT: AtomicU64 = AtomicU64::new(FIRST);

/// How long anything may take that should be done.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A device and what a trial does to it.
pub(super) struct Bench {
    pub(super) device: Arc<dyn Device>,
    hurt: AtomicBool,
}

/// Mapped memory; unmapped when it goes.
pub(super) struct Mapped<'b> {
    bench: &'b Bench,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        if !self.bench.is_lost() {
            self.bench.device.unmap(self.at);
        }
    }
}

/// Kernels that a device has loaded; unloaded when they go.
pub(super) struct Kernels<'b> {
    bench: &'b Bench,
    module: Arc<Module>,
    pub(super) loaded: LoadedModule,
    globals: Vec<u64>,
    _memory: Mapped<'b>,
}

impl Drop for Kernels<'_> {
    fn drop(&mut self) {
        if !self.bench.is_lost() {
            self.bench.device.unload(self.loaded);
        }
    }
}

/// Parameters, one after the other at multiples of their size.
#[derive(Clone, Default)]
pub(super) struct Params(Vec<u8>);

impl Params {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.0.resize(self.0.len().next_multiple_of(bytes.len()), 0);
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.put(&value.to_le_bytes())
    }

    pub(super) fn f32(self, value: f32) -> Self {
        self.put(&value.to_le_bytes())
    }

    pub(super) fn u64(self, value: u64) -> Self {
        self.put(&value.to_le_bytes())
    }
}

/// Remembers what it heard.
#[derive(Default)]
pub(super) struct Ears(Mutex<Heard>);

#[derive(Clone, Default)]
pub(super) struct Heard {
    pub(super) printed: Vec<u8>,
    pub(super) complaints: Vec<u8>,
    pub(super) ends: Vec<Outcome>,
}

impl Ears {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn heard(&self) -> Heard {
        self.lock().clone()
    }
}

impl Listener for Ears {
    fn print(&self, bytes: &[u8]) {
        self.lock().printed.extend_from_slice(bytes);
    }

    fn complain(&self, bytes: &[u8]) {
        self.lock().complaints.extend_from_slice(bytes);
    }

    fn ended(&self, outcome: Outcome) {
        self.lock().ends.push(outcome);
    }
}

impl Bench {
    pub(super) fn new(device: Arc<dyn Device>) -> Self {
        Self { device, hurt: AtomicBool::new(false) }
    }

    pub(super) fn caps(&self) -> &Caps {
        self.device.caps()
    }

    pub(super) fn was_hurt(&self) -> bool {
        self.hurt.load(Ordering::Relaxed)
    }

    /// The device took everything with it.
    fn is_lost(&self) -> bool {
        self.was_hurt() && !self.caps().survives_faults
    }

    /// Says that a kernel faulted.
    pub(super) fn hurt(&self) {
        self.hurt.store(true, Ordering::Relaxed);
    }

    /// Brings a lost device back; the trial makes everything anew.
    pub(super) fn recover(&self) -> Verdict {
        if self.is_lost() {
            match self.device.reset() {
                Err(error) if error.kind == ErrorKind::Lost => return Err(Stop::Enough),
                reset => reset?,
            }
            self.hurt.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Addresses that nothing has had before.
    pub(super) fn addresses(&self, bytes: u64) -> u64 {
        let step = STEP.max(self.caps().map_granularity);
        NEXT.fetch_add((bytes.next_multiple_of(step) + step).next_multiple_of(step), Ordering::Relaxed)
            .next_multiple_of(step)
    }

    /// Mapped memory of at least so many bytes.
    pub(super) fn map(&self, bytes: u64) -> Result<Mapped<'_>, Stop> {
        let bytes = bytes.max(1).next_multiple_of(self.caps().map_granularity);
        let at = self.addresses(bytes);
        self.device.map(at, bytes, "trial")?;
        Ok(Mapped { bench: self, at, bytes })
    }

    /// Mapped memory with these contents.
    pub(super) fn filled(&self, data: &[u8]) -> Result<Mapped<'_>, Stop> {
        let mapped = self.map(data.len() as u64)?;
        self.device.write(mapped.at, data)?;
        Ok(mapped)
    }

    /// Mapped memory with these numbers.
    pub(super) fn numbers(&self, numbers: &[u32]) -> Result<Mapped<'_>, Stop> {
        self.filled(&bytes_of(numbers))
    }

    pub(super) fn read(&self, at: u64, bytes: usize) -> Result<Vec<u8>, Stop> {
        let mut out = vec![0xcd; bytes];
        self.device.read(at, &mut out)?;
        Ok(out)
    }

    pub(super) fn read_numbers(&self, at: u64, count: usize) -> Result<Vec<u32>, Stop> {
        Ok(numbers_of(&self.read(at, count * 4)?))
    }

    pub(super) fn queue(&self) -> Result<Box<dyn Queue>, Stop> {
        Ok(self.device.open_queue(self.caps().priorities.0)?)
    }

    /// Does work in a queue of its own.
    pub(super) fn run(&self, work: Work) -> Verdict {
        Ok(self.queue()?.run(work)?)
    }

    /// The same, with the device's own answer.
    pub(super) fn run_raw(&self, work: Work) -> Result<(), DeviceError> {
        self.device.open_queue(self.caps().priorities.0)?.run(work)
    }

    /// The module of a text, with memory for its variables.
    pub(super) fn load(&self, text: &str) -> Result<Kernels<'_>, Stop> {
        let module = module(text)?;
        let places = module.globals.iter().scan(0u64, |end, global| {
            let at = end.next_multiple_of(global.align.max(16).into());
            *end = at + global.size;
            Some(at)
        });
        let places: Vec<u64> = places.collect();
        let bytes = module.globals.iter().zip(&places).map(|(global, at)| at + global.size).max().unwrap_or(0);
        let memory = self.map(bytes)?;
        let has_address = |space| space != Space::Shared;
        let at =
            |(global, place): (&hetir::ir::Global, &u64)| if has_address(global.space) { memory.at + place } else { 0 };
        let globals: Vec<u64> = module.globals.iter().zip(&places).map(at).collect();
        for (global, &at) in module.globals.iter().zip(&globals).filter(|(global, _)| has_address(global.space)) {
            self.device.write(at, &hetir::interp::initial_image(&module, global, &globals))?;
        }
        let loaded = self.device.load(&module, &globals)?;
        Ok(Kernels { bench: self, module, loaded, globals, _memory: memory })
    }

    /// Asks until it is so, or too long.
    pub(super) fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool, DeviceError>) -> Verdict {
        let start = Instant::now();
        while !holds()? {
            ensure!(start.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    pub(super) fn needs(&self, has: bool, what: &str) -> Verdict {
        if has { Ok(()) } else { Err(Stop::Skipped(format!("the device has no {what}"))) }
    }
}

impl Kernels<'_> {
    pub(super) fn id(&self, name: &str) -> Result<FuncId, Stop> {
        let index = self.module.functions.iter().position(|function| function.name == name);
        Ok(FuncId::new(index.ok_or_else(|| format!("the suite has no kernel {name}"))?))
    }

    /// A launch of one block of one thread.
    pub(super) fn launch(&self, name: &str, params: Params) -> Result<Launch, Stop> {
        Ok(Launch { params: params.0.into(), ..Launch::new(self.loaded, self.id(name)?) })
    }

    /// Where a variable is.
    pub(super) fn variable(&self, name: &str) -> Result<u64, Stop> {
        let index = self.module.globals.iter().position(|global| global.name == name);
        Ok(self.globals[index.ok_or_else(|| format!("the suite has no variable {name}"))?])
    }
}

/// A verified module.
pub(super) fn module(text: &str) -> Result<Arc<Module>, Stop> {
    let shown = |errors: Vec<_>| Stop::Failed(hetir::diag::render(&errors, "conformance", text));
    let module = hetir::text::parse(text).map_err(shown)?;
    hetir::verify::verify(&module).map_err(shown)?;
    Ok(Arc::new(module))
}

pub(super) fn launch(launch: Launch) -> Work {
    Work::Launch(Box::new(launch))
}

pub(super) fn bytes_of(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

pub(super) fn numbers_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

/// Bytes that differ from their neighbours and from those of another seed.
pub fn noise(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// A copy of one row.
pub(super) fn line(to: Place, from: Place, bytes: u64) -> Work {
    Work::Copy(Transfer { to, from, shape: Shape::line(bytes) })
}

pub(super) fn fill(at: u64, byte: u8, bytes: u64) -> Work {
    Work::Fill(Fill::line(at, Pattern::byte(byte), bytes))
}

pub(super) fn host(bytes: usize) -> Result<HostBuffer, Stop> {
    Ok(HostBuffer::new(bytes).ok_or("no host memory for a trial")?)
}

/// Fails where the first difference is.
pub(super) fn same(what: &str, got: &[u8], want: &[u8]) -> Verdict {
    ensure!(got.len() == want.len(), "{what}: {} bytes, expected {}", got.len(), want.len());
    match got.iter().zip(want).position(|(got, want)| got != want) {
        None => Ok(()),
        Some(at) => Err(format!("{what}: byte {at} is {:#04x}, expected {:#04x}", got[at], want[at]).into()),
    }
}

/// Fails where the first difference is.
pub(super) fn same_numbers(what: &str, got: &[u32], want: &[u32]) -> Verdict {
    ensure!(got.len() == want.len(), "{what}: {} numbers, expected {}", got.len(), want.len());
    match got.iter().zip(want).position(|(got, want)| got != want) {
        None => Ok(()),
        Some(at) => Err(format!("{what}: number {at} is {}, expected {}", got[at], want[at]).into()),
    }
}

/// Fails unless it was refused for that reason.
pub(super) fn refused<T>(what: &str, got: Result<T, DeviceError>, kinds: &[ErrorKind]) -> Verdict {
    match got {
        Ok(_) => Err(format!("{what}: it was taken, expected {kinds:?}").into()),
        Err(error) if kinds.contains(&error.kind) => {
            ensure!(!error.to_string().is_empty(), "{what}: {:?} without a message", error.kind);
            Ok(())
        }
        Err(error) => Err(format!("{what}: {:?} ({error}), expected {kinds:?}", error.kind).into()),
    }
}

/// A queue whose work waits until the gate is opened; it is opened at the latest when the gate goes.
pub(super) struct Gate<'b> {
    bench: &'b Bench,
    pub(super) queue: Box<dyn Queue>,
    shared: Option<HostBuffer>,
    flag: u64,
    out: Mapped<'b>,
    mark: Arc<dyn Mark>,
}

impl<'b> Gate<'b> {
    pub(super) fn new(bench: &'b Bench, kernels: &Kernels<'b>) -> Result<Self, Stop> {
        // The second word is what the kernel leaves; the first is the flag where host memory cannot be shared.
        let out = bench.map(8)?;
        let shared = if bench.caps().shares_host_memory { Some(host(4096)?) } else { None };
        let flag = match &shared {
            Some(buffer) => {
                bench.device.share(buffer.span())?;
                buffer.address()
            }
            None => out.at,
        };
        // A device may compile at the first launch, and wait with that until nothing runs.
        for name in ["wait", "signal", "add", "scale"] {
            let block = if name == "scale" { [64, 1, 1] } else { [1; 3] };
            bench.device.prepare(kernels.loaded, kernels.id(name)?, block, Extent::Whole)?;
        }
        let queue = bench.queue()?;
        queue.submit(launch(kernels.launch("wait", Params::new().u64(flag).u64(out.at + 4))?))?;
        let mark = queue.mark(false)?;
        Ok(Self { bench, queue, shared, flag, out, mark })
    }

    /// The mark behind the work that waits.
    pub(super) fn mark(&self) -> &dyn Mark {
        self.mark.as_ref()
    }

    pub(super) fn open(&self) -> Verdict {
        match &self.shared {
            Some(buffer) => _ = buffer.write(0, &1u32.to_le_bytes()),
            None => self.bench.device.write(self.flag, &1u32.to_le_bytes())?,
        }
        Ok(())
    }

    /// Opens it and waits for the work behind it.
    pub(super) fn pass(&self) -> Verdict {
        self.open()?;
        self.queue.mark(false)?.wait()?;
        same("what waited", &self.bench.read(self.out.at + 4, 4)?, &1u32.to_le_bytes())
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let _ = self.open();
        let _ = self.mark.wait();
        if self.shared.is_some() {
            self.bench.device.unmap(self.flag);
        }
    }
}
