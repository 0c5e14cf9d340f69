//! A seat for a device: what the runtime takes for a device, and in which one device can take another's place.
//!
//! The seat keeps a record of all that a device was asked for and that still holds. It names modules, images and physical
//! memory itself, so that whoever has such a name need not know which device is there. While the gate is closed nobody
//! reaches the device; then, and only then, it is exchanged.

mod assembly;
mod exchange;
mod gate;
mod record;
mod vault;

pub(crate) use exchange::{Contents, Kept, Progress, There, physical_of, slices};
pub(crate) use gate::{Held, InOperation, Mode, aside};
pub(crate) use record::{Bulk, Exposure, Kind, PLACES, Picture, Record, Region};
pub(crate) use vault::Vault;

use assembly::SeatAssembly;
use gate::{Gate, Inside};
use hetgpu_device::{
    Access, Assembly, Caps, Device, DeviceError, ErrorKind, Extent, Fetched, HeapState, HostSpan, ImageDescription,
    ImageId, ImageObject, KernelAttributes, KnownLaunch, Launch, LoadedModule, Mark, PhysicalId, PhysicalMemory, Queue,
    Step, Work,
};
use hetir::entity::FuncId;
use hetir::ir::Module;
use record::Loaded;
use std::collections::BTreeSet;
use std::ops::{Deref, Range};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, Weak};

/// What a device in this seat looks like, one for each that was here.
#[derive(Debug)]
struct Look {
    caps: Caps,
    next: OnceLock<Box<Look>>,
}

/// A device that can become another one.
#[derive(Clone)]
pub(crate) struct Seat(Arc<Inner>);

pub(crate) struct Inner {
    gate: Gate,
    present: RwLock<Arc<dyn Device>>,
    looks: Look,
    /// Which of the looks is the present one's.
    look: AtomicU32,
    /// The program knows that this device and others reach each other's memory.
    neighbourly: AtomicBool,
    record: Mutex<Record>,
    /// Queues that are open, to be opened anew on another device.
    lines: Mutex<Vec<Weak<Line>>>,
    /// Work that was put together, to be put together anew.
    assemblies: Mutex<Vec<Weak<SeatAssembly>>>,
}

impl Deref for Seat {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Seat {
    pub(crate) fn new(device: Arc<dyn Device>) -> Self {
        let looks = Look { caps: device.caps().clone(), next: OnceLock::new() };
        let (gate, look, present) = (Gate::new(), AtomicU32::new(0), RwLock::new(device));
        let (record, lines, assemblies) = (Mutex::default(), Mutex::default(), Mutex::default());
        let neighbourly = AtomicBool::new(false);
        Self(Arc::new(Inner { gate, present, looks, look, neighbourly, record, lines, assemblies }))
    }
}

impl Inner {
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    fn present(&self) -> RwLockReadGuard<'_, Arc<dyn Device>> {
        self.present.read().unwrap_or_else(|e| e.into_inner())
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Weak<Line>>> {
        self.lines.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn assemblies(&self) -> MutexGuard<'_, Vec<Weak<SeatAssembly>>> {
        self.assemblies.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// All that was asked of the device and still holds.
    pub(crate) fn record_now(&self) -> Record {
        self.record().clone()
    }

    /// Looks anew by which numbers the system knows files of memory: a process that came back has other ones. Nobody reaches the
    /// device meanwhile.
    pub(crate) fn number_files(&self) {
        let mut record = self.record();
        let present = self.present();
        let Some(physical) = present.physical().filter(|physical| physical.has_host_files()) else { return };
        let now = |here| physical.export(here).and_then(|file| number(&file));
        for bulk in record.physical.values_mut().filter(|bulk| bulk.shared.is_some()) {
            bulk.shared = now(bulk.here).ok().or(bulk.shared);
        }
        for (&at, exposure) in &mut record.exposed {
            if let Ok(here) = physical.expose(at, exposure.bytes) {
                exposure.file = now(here).unwrap_or(exposure.file);
                physical.destroy(here);
            }
        }
    }

    /// Files of memory that other processes have too, or may.
    pub(crate) fn shared(&self) -> BTreeSet<u64> {
        self.record().shared()
    }

    /// Bytes of the device that are in use, as it was asked for them.
    pub(crate) fn bytes(&self) -> u64 {
        self.record().bytes()
    }

    /// The caps of a device that takes a place in this seat: its own, but for what the program has been told once and for
    /// all, and what the runtime has planned by.
    fn look_of(&self, caps: &Caps) -> Caps {
        let first = &self.looks.caps;
        Caps {
            uuid: first.uuid,
            pci: first.pci,
            compute: first.compute,
            map_granularity: first.map_granularity,
            shares_host_memory: first.shares_host_memory,
            ..caps.clone()
        }
    }

    fn set_look(&self, caps: &Caps) {
        let wanted = self.look_of(caps);
        let (mut at, mut look) = (0, &self.looks);
        while look.caps != wanted {
            look = look.next.get_or_init(|| Box::new(Look { caps: wanted.clone(), next: OnceLock::new() }));
            at += 1;
        }
        self.look.store(at, Ordering::Release);
    }

    fn module(&self, module: LoadedModule) -> Result<LoadedModule, DeviceError> {
        self.record().module(module)
    }
}

impl Device for Seat {
    fn caps(&self) -> &Caps {
        let mut look = &self.looks;
        for _ in 0..self.look.load(Ordering::Acquire) {
            look = look.next.get().map_or(look, |next| next);
        }
        &look.caps
    }

    fn free_memory(&self) -> Option<u64> {
        let _inside = self.gate.enter();
        self.present().free_memory()
    }

    fn map(&self, at: u64, bytes: u64, name: &str) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.present().map(at, bytes, name)?;
        self.record().put(at, bytes, name, Kind::Own);
        Ok(())
    }

    fn map_file(&self, at: u64, bytes: u64, name: &str, file: OwnedFd) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.present().map_file(at, bytes, name, file)?;
        self.record().put(at, bytes, name, Kind::Own);
        Ok(())
    }

    fn written(&self, at: u64, bytes: u64) -> Option<Vec<Range<u64>>> {
        let _inside = self.gate.enter();
        self.present().written(at, bytes)
    }

    fn share(&self, host: HostSpan) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.present().share(host.clone())?;
        let (at, bytes) = (host.start().addr() as u64, host.bytes() as u64);
        self.record().put(at, bytes, "host memory", Kind::Host(host));
        Ok(())
    }

    fn reach(&self, peer: [u8; 16], at: u64) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.present().reach(peer, at)?;
        self.record().put(at, 0, "", Kind::Peer);
        Ok(())
    }

    fn physical(&self) -> Option<&dyn PhysicalMemory> {
        let _inside = self.gate.enter();
        self.present().physical().is_some().then_some(self)
    }

    fn unmap(&self, at: u64) {
        let _inside = self.gate.enter();
        let mut record = self.record();
        let mut gone = None;
        if let Some(region) = record.regions.remove(&at) {
            if let Kind::Physical { memory, .. } = region.kind {
                gone = record.drop_bulk(memory);
            }
            let end = at + region.bytes;
            // An exposed range is forgotten with the last that lies in it.
            let around =
                record.exposed.range(..end).next_back().map(|(&start, exposure)| start..start + exposure.bytes);
            if let Some(around) = around.filter(|around| record.regions.range(around.clone()).next().is_none()) {
                record.exposed.remove(&around.start);
            }
        }
        drop(record);
        self.present().unmap(at);
        self.destroy_here(gone);
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.present().write(at, data)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.present().read(at, out)
    }

    fn fetch(&self, at: u64, bytes: u64) -> Result<Option<Fetched>, DeviceError> {
        let _inside = self.gate.enter();
        self.present().fetch(at, bytes)
    }

    fn put(&self, at: u64, fetched: &Fetched) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.present().put(at, fetched)
    }

    fn digests(&self, at: u64, bytes: u64) -> Result<Option<Vec<[u8; 32]>>, DeviceError> {
        let _inside = self.gate.enter();
        self.present().digests(at, bytes)
    }

    fn load(&self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, DeviceError> {
        let _inside = self.gate.enter();
        let here = self.present().load(module, globals)?;
        let mut record = self.record();
        let name = LoadedModule(record.name());
        record.modules.insert(name, Loaded { module: Arc::clone(module), globals: globals.into(), here });
        Ok(name)
    }

    fn variable(&self, module: LoadedModule, name: &str) -> Result<(u64, u64), DeviceError> {
        let _inside = self.gate.enter();
        let module = self.module(module)?;
        self.present().variable(module, name)
    }

    fn unload(&self, module: LoadedModule) {
        let _inside = self.gate.enter();
        let known = self.record().modules.remove(&module);
        if let Some(known) = known {
            self.present().unload(known.here);
        }
    }

    fn kernel(&self, module: LoadedModule, kernel: FuncId) -> Result<KernelAttributes, DeviceError> {
        let _inside = self.gate.enter();
        let module = self.module(module)?;
        self.present().kernel(module, kernel)
    }

    fn prepare(
        &self,
        module: LoadedModule,
        kernel: FuncId,
        block: [u32; 3],
        extent: Extent,
    ) -> Result<(), DeviceError> {
        // It takes long, and reaches nothing that is the job's: a pause does not wait for it, and who puts another device here does.
        let (present, module) = {
            let _inside = self.gate.enter();
            (self.present(), self.module(module)?)
        };
        present.prepare(module, kernel, block, extent)
    }

    fn resident_blocks(&self, module: LoadedModule, kernel: FuncId, threads: u32, dynamic_shared: u32) -> Option<u32> {
        let _inside = self.gate.enter();
        let module = self.module(module).ok()?;
        self.present().resident_blocks(module, kernel, threads, dynamic_shared)
    }

    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        let _inside = self.gate.enter();
        let here = self.present().create_image(description)?;
        let mut record = self.record();
        let name = ImageId(record.name());
        record.images.insert(name, Picture { description: *description, here });
        Ok(name)
    }

    fn destroy_image(&self, image: ImageId) {
        let _inside = self.gate.enter();
        let known = self.record().images.remove(&image);
        if let Some(known) = known {
            self.present().destroy_image(known.here);
        }
    }

    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        let _inside = self.gate.enter();
        let here = self.record().object(object)?;
        let handle = self.present().bind(handle, &here)?;
        self.record().objects.insert(handle, *object);
        Ok(handle)
    }

    fn unbind(&self, handle: u64) {
        let _inside = self.gate.enter();
        self.record().objects.remove(&handle);
        self.present().unbind(handle);
    }

    fn heaps(&self) -> Vec<HeapState> {
        let _inside = self.gate.enter();
        self.present().heaps()
    }

    fn set_heap(&self, state: &HeapState) {
        let _inside = self.gate.enter();
        self.present().set_heap(state);
    }

    fn assemble(&self, steps: &[Step]) -> Result<Option<Arc<dyn Assembly>>, DeviceError> {
        let _inside = self.gate.enter();
        self.assemble_steps(steps)
    }

    fn open_queue(&self, priority: i32) -> Result<Box<dyn Queue>, DeviceError> {
        let _inside = self.gate.enter();
        let here: Arc<dyn Queue> = Arc::from(self.present().open_queue(priority)?);
        let line = Arc::new(Line { priority, here: Mutex::new(Some(here)) });
        let mut lines = self.lines();
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&line));
        drop(lines);
        Ok(Box::new(SeatQueue { seat: self.clone(), line }))
    }

    fn reset(&self) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.present().reset()?;
        let mut record = self.record();
        record.regions.clear();
        record.physical.clear();
        record.exposed.clear();
        record.modules.clear();
        record.images.clear();
        record.objects.clear();
        Ok(())
    }
}

impl PhysicalMemory for Seat {
    fn create(&self, bytes: u64) -> Result<PhysicalId, DeviceError> {
        let _inside = self.gate.enter();
        let here = self.with_physical(|physical| physical.create(bytes))?;
        Ok(self.record().bulk(here, bytes, None))
    }

    fn destroy(&self, memory: PhysicalId) {
        let _inside = self.gate.enter();
        let mut record = self.record();
        if let Some(bulk) = record.physical.get_mut(&memory) {
            bulk.named = false;
        }
        // As long as it is mapped its contents may be asked for.
        let gone = record.drop_bulk(memory);
        drop(record);
        self.destroy_here(gone);
    }

    fn gives_contents(&self) -> bool {
        let _inside = self.gate.enter();
        self.present().physical().is_some_and(PhysicalMemory::gives_contents)
    }

    fn read(&self, memory: PhysicalId, offset: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        let here = self.record().memory(memory)?.here;
        self.with_physical(|physical| physical.read(here, offset, out))
    }

    fn write(&self, memory: PhysicalId, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        let here = self.record().memory(memory)?.here;
        self.with_physical(|physical| physical.write(here, offset, data))
    }

    fn map(&self, memory: PhysicalId, at: u64, name: &str) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        let bulk = self.record().memory(memory)?;
        self.with_physical(|physical| physical.map(bulk.here, at, name))?;
        self.record().put(at, bulk.bytes, name, Kind::Physical { memory, access: Access::None });
        Ok(())
    }

    fn allow(&self, at: u64, access: Access) -> Result<(), DeviceError> {
        let _inside = self.gate.enter();
        self.with_physical(|physical| physical.allow(at, access))?;
        if let Some(Region { kind: Kind::Physical { access: now, .. }, .. }) = self.record().regions.get_mut(&at) {
            *now = access;
        }
        Ok(())
    }

    fn expose(&self, at: u64, bytes: u64) -> Result<PhysicalId, DeviceError> {
        let _inside = self.gate.enter();
        let (here, file) = self.with_physical(|physical| {
            let here = physical.expose(at, bytes)?;
            let file = physical.export(here).and_then(|file| number(&file));
            Ok((here, file.inspect_err(|_| physical.destroy(here))?))
        })?;
        let mut record = self.record();
        record.exposed.insert(at, Exposure { bytes, file });
        Ok(record.bulk(here, bytes, Some(file)))
    }

    fn expose_file(&self, at: u64, bytes: u64) -> Result<OwnedFd, DeviceError> {
        // Once, so that it is all on one device.
        let _inside = self.gate.enter();
        let file = self.with_physical(|physical| physical.expose_file(at, bytes))?;
        let exposure = Exposure { bytes, file: number(&file)? };
        self.record().exposed.insert(at, exposure);
        Ok(file)
    }

    fn export(&self, memory: PhysicalId) -> Result<OwnedFd, DeviceError> {
        let _inside = self.gate.enter();
        let here = self.record().memory(memory)?.here;
        let file = self.with_physical(|physical| physical.export(here))?;
        let shared = Some(number(&file)?);
        if let Some(bulk) = self.record().physical.get_mut(&memory) {
            bulk.shared = shared;
        }
        Ok(file)
    }

    fn import(&self, file: OwnedFd) -> Result<(PhysicalId, u64), DeviceError> {
        self.take_in(file, |physical, file| physical.import(file))
    }

    fn import_known(&self, file: OwnedFd, bytes: u64) -> Result<PhysicalId, DeviceError> {
        let taken = self.take_in(file, |physical, file| Ok((physical.import_known(file, bytes)?, bytes)));
        taken.map(|(memory, _)| memory)
    }
}

/// The number by which the system knows a file of memory, in whatever process it is open.
fn number(file: &OwnedFd) -> Result<u64, DeviceError> {
    let failed = |error| DeviceError::new(ErrorKind::OutOfResources, format!("a file of memory: {error}"));
    crate::sys::inode(file).map_err(failed)
}

impl Inner {
    /// Memory that a file stands for, of whatever size the device says that it is.
    fn take_in(
        &self,
        file: OwnedFd,
        import: impl FnOnce(&dyn PhysicalMemory, OwnedFd) -> Result<(PhysicalId, u64), DeviceError>,
    ) -> Result<(PhysicalId, u64), DeviceError> {
        let _inside = self.gate.enter();
        // Who acts on all that have it waits until this process is one of them, or is waited for.
        let _opening = crate::sys::opening(&file);
        let shared = Some(number(&file)?);
        let (here, bytes) = self.with_physical(|physical| import(physical, file))?;
        Ok((self.record().bulk(here, bytes, shared), bytes))
    }

    fn with_physical<R>(
        &self,
        act: impl FnOnce(&dyn PhysicalMemory) -> Result<R, DeviceError>,
    ) -> Result<R, DeviceError> {
        let present = self.present();
        let none = || DeviceError::new(ErrorKind::NotSupported, "the device has no memory apart from its addresses");
        act(present.physical().ok_or_else(none)?)
    }

    fn destroy_here(&self, gone: Option<PhysicalId>) {
        let Some(here) = gone else { return };
        let _ = self.with_physical(|physical| {
            physical.destroy(here);
            Ok(())
        });
    }
}

/// What a queue is to the seat.
pub(crate) struct Line {
    priority: i32,
    /// The present device's queue; none where that has not been needed yet.
    here: Mutex<Option<Arc<dyn Queue>>>,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Queue>>> {
        self.here.lock().unwrap_or_else(|e| e.into_inner())
    }
}

struct SeatQueue {
    seat: Seat,
    line: Arc<Line>,
}

impl SeatQueue {
    fn here(&self) -> Result<Arc<dyn Queue>, DeviceError> {
        let mut here = self.line.lock();
        match &*here {
            Some(queue) => Ok(Arc::clone(queue)),
            None => {
                let queue: Arc<dyn Queue> = Arc::from(self.seat.present().open_queue(self.line.priority)?);
                Ok(Arc::clone(here.insert(queue)))
            }
        }
    }

    /// Passes the gate. What an operation has submitted before is done when it stays in front: in a pause nothing is under way that
    /// nobody knows of.
    fn enter(&self) -> Result<Inside<'_>, DeviceError> {
        self.seat.gate.enter_settled(&|| {
            let here = self.line.lock().clone();
            here.map_or(Ok(()), |queue| queue.finish())
        })
    }
}

/// What is submitted without being waited for is not seen by who closes the gate: the runtime runs its work.
impl Queue for SeatQueue {
    fn submit(&self, work: Work) -> Result<(), DeviceError> {
        let _inside = self.enter()?;
        let work = self.seat.record().work(work)?;
        self.here()?.submit(work)
    }

    fn mark(&self, timed: bool) -> Result<Arc<dyn Mark>, DeviceError> {
        let _inside = self.enter()?;
        self.here()?.mark(timed)
    }

    fn follow(&self, mark: &dyn Mark) -> Result<(), DeviceError> {
        let _inside = self.enter()?;
        self.here()?.follow(mark)
    }

    fn submit_assembly(&self, assembly: &Arc<dyn Assembly>) -> Result<(), DeviceError> {
        let _inside = self.enter()?;
        self.submit_steps(assembly)
    }

    fn known(&self, module: LoadedModule, kernel: FuncId) -> Option<Arc<dyn KnownLaunch>> {
        let _inside = self.enter().ok()?;
        let module = self.seat.module(module).ok()?;
        self.here().ok()?.known(module, kernel)
    }

    fn finish(&self) -> Result<(), DeviceError> {
        let _inside = self.enter()?;
        self.here()?.finish()
    }

    fn run(&self, work: Work) -> Result<(), DeviceError> {
        let _inside = self.enter()?;
        let work = self.seat.record().work(work)?;
        self.here()?.run(work)
    }

    fn run_parts(&self, launch: &Launch, next: &mut dyn FnMut() -> Option<Range<u64>>) -> Result<(), DeviceError> {
        let _inside = self.enter()?;
        let module = self.seat.module(launch.module)?;
        self.here()?.run_parts(&Launch { module, ..launch.clone() }, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hetgpu_device::{Fill, Pattern, Queued};
    use std::sync::{Condvar, mpsc};
    use std::time::Duration;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    /// A queue whose work ends when it is let, and fails then if it is to.
    struct Slow {
        told: mpsc::Sender<&'static str>,
        ends: Mutex<bool>,
        changed: Condvar,
        fails: bool,
    }

    impl Slow {
        fn end(&self) {
            *self.ends.lock().unwrap() = true;
            self.changed.notify_all();
        }
    }

    impl Queue for Slow {
        fn submit(&self, _work: Work) -> Result<(), DeviceError> {
            self.told.send("submit").unwrap();
            Ok(())
        }

        fn mark(&self, _timed: bool) -> Result<Arc<dyn Mark>, DeviceError> {
            Err(DeviceError::new(ErrorKind::NotSupported, "nobody asks for it"))
        }

        fn follow(&self, _mark: &dyn Mark) -> Result<(), DeviceError> {
            Ok(())
        }

        fn finish(&self) -> Result<(), DeviceError> {
            self.told.send("finish").unwrap();
            drop(self.changed.wait_while(self.ends.lock().unwrap(), |ends| !*ends).unwrap());
            if self.fails { Err(DeviceError::new(ErrorKind::LaunchFailed, "it failed")) } else { Ok(()) }
        }
    }

    #[test]
    fn an_operation_that_stays_in_front_of_the_gate_has_nothing_under_way() {
        for fails in [false, true] {
            let (told, heard) = mpsc::channel();
            let slow = Arc::new(Slow { told, ends: Mutex::default(), changed: Condvar::new(), fails });
            let seat = Seat::new(Arc::new(Queued::new(Vault::new(&Caps::default()))));
            let here: Arc<dyn Queue> = slow.clone();
            let line = Arc::new(Line { priority: 0, here: Mutex::new(Some(here)) });
            let queue = SeatQueue { seat: seat.clone(), line };
            let held = Arc::new(Held::default());
            let (close, closed) = mpsc::channel();
            let of = Arc::clone(&held);
            let operation = std::thread::spawn(move || {
                let _operation = InOperation::begin(&of);
                let work = || Work::Fill(Fill::line(0, Pattern::byte(0), 0));
                queue.submit(work()).unwrap();
                closed.recv().unwrap();
                queue.submit(work())
            });
            assert_eq!(heard.recv_timeout(LONG).unwrap(), "submit");
            seat.gate.set(Mode::Calls);
            close.send(()).unwrap();
            assert_eq!(heard.recv_timeout(LONG).unwrap(), "finish");
            std::thread::sleep(SOON);
            assert_eq!(held.count(), 0, "what it submitted is still under way");
            slow.end();
            if fails {
                assert_eq!(operation.join().unwrap().unwrap_err().kind, ErrorKind::LaunchFailed);
                continue;
            }
            while held.count() == 0 {
                std::thread::yield_now();
            }
            assert!(heard.try_recv().is_err(), "it stays");
            seat.gate.set(Mode::Open);
            operation.join().unwrap().unwrap();
            assert_eq!(heard.recv_timeout(LONG).unwrap(), "submit");
        }
    }
}
