use crate::{
    Caps, DeviceError, ErrorKind, Extent, Fetched, Heap, HostBuffer, HostSpan, ImageDescription, ImageId, ImageObject,
    KnownLaunch, Launch, LoadedModule, PhysicalMemory, Place, Shape, Step, Transfer, Work,
};
use hetir::entity::FuncId;
use hetir::ir::Module;
use std::any::Any;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Bytes of which a device tells digests.
pub const DIGEST_CHUNK: u64 = 64 << 10;

/// A device: memory by logical address, kernels, images, and queues of work.
///
/// Addresses are the runtime's: the same on every device, unique in the process, and valid only between `map` (or
/// `share`, `reach`) and `unmap`. Every function may be called from any thread, also at the same time; those that are
/// not about queues are done when they return, and are ordered against work only by waiting for it.
pub trait Device: Any + Send + Sync {
    /// What the device is and can do.
    fn caps(&self) -> &Caps;

    /// Bytes of memory that are free now, where the device knows: others may use it too.
    fn free_memory(&self) -> Option<u64> {
        None
    }

    /// Makes `bytes` of zeroed device memory appear at `at`. Both are multiples of `Caps::map_granularity`. Messages
    /// about accesses near it call it `name`. `InvalidRequest` where something is mapped there already. On the host
    /// nothing else lies at these addresses; a device that takes host memory puts it there, and leaves the addresses
    /// reserved when it is unmapped.
    fn map(&self, at: u64, bytes: u64, name: &str) -> Result<(), DeviceError>;

    /// The same, with the contents of a file of memory that is at least as long and never becomes shorter: its pages are the device's from
    /// then on, and nobody else writes to them. `NotSupported` where the device cannot; then nothing has changed.
    fn map_file(&self, at: u64, bytes: u64, name: &str, file: OwnedFd) -> Result<(), DeviceError> {
        let _ = (at, bytes, name, file);
        Err(no_files())
    }

    /// What may have been written of a range that `map` made since this was asked for it the last time, and perhaps something beside it;
    /// all of it at the first time. None where the device cannot tell. Work may go on meanwhile: what it writes later is said later.
    fn written(&self, at: u64, bytes: u64) -> Option<Vec<Range<u64>>> {
        let _ = (at, bytes);
        None
    }

    /// Makes host memory appear at its own address. A kernel and the host then see each other's writes.
    fn share(&self, host: HostSpan) -> Result<(), DeviceError>;

    /// Makes accessible, at the same address, what the peer of that identity has mapped at `at`. It is unmapped here
    /// before the peer unmaps it.
    fn reach(&self, peer: [u8; 16], at: u64) -> Result<(), DeviceError> {
        let _ = (peer, at);
        Err(DeviceError::new(ErrorKind::NotSupported, "the device has no peers"))
    }

    /// Memory apart from its addresses, where `Caps::physical` says that there is such.
    fn physical(&self) -> Option<&dyn PhysicalMemory> {
        None
    }

    /// Takes away what `map`, `share`, `reach` or `PhysicalMemory::map` put at `at`. No work that uses it may be running.
    fn unmap(&self, at: u64);

    /// Host to device, at once.
    fn write(&self, at: u64, data: &[u8]) -> Result<(), DeviceError> {
        let host = HostBuffer::from(data.to_vec());
        let shape = Shape::line(data.len() as u64);
        let transfer = Transfer { to: Place::Device(at), from: Place::Host(host.span()), shape };
        self.open_queue(0)?.run(Work::Copy(transfer))
    }

    /// Device to host, at once.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let host = HostBuffer::new(out.len()).ok_or_else(no_host_memory)?;
        let shape = Shape::line(out.len() as u64);
        let transfer = Transfer { to: Place::Host(host.span()), from: Place::Device(at), shape };
        self.open_queue(0)?.run(Work::Copy(transfer))?;
        host.span().read(0, out);
        Ok(())
    }

    /// Reads at most [`PIECE`](crate::PIECE) bytes into host memory from where contents go on fast. None where the device has no such
    /// memory, or no room there: then `read` does it.
    fn fetch(&self, at: u64, bytes: u64) -> Result<Option<Fetched>, DeviceError> {
        let _ = (at, bytes);
        Ok(None)
    }

    /// Writes what a device fetched, at once.
    fn put(&self, at: u64, fetched: &Fetched) -> Result<(), DeviceError> {
        let host = fetched.span().clone();
        let shape = Shape::line(host.bytes() as u64);
        let transfer = Transfer { to: Place::Device(at), from: Place::Host(host), shape };
        self.open_queue(0)?.run(Work::Copy(transfer))
    }

    /// Digests (BLAKE3) of each [`DIGEST_CHUNK`] bytes of a range that `map` made, as they are at some time of the call. None where the device is
    /// no faster at that than who reads it, or where the range is not made of whole chunks.
    fn digests(&self, at: u64, bytes: u64) -> Result<Option<Vec<[u8; 32]>>, DeviceError> {
        let _ = (at, bytes);
        Ok(None)
    }

    /// Takes a verified module. `globals` has the address of each module variable, by its id; those in shared memory
    /// have none. A device may leave compilation to `prepare` or to the first launch.
    fn load(&self, module: &Arc<Module>, globals: &[u64]) -> Result<LoadedModule, DeviceError>;

    /// Address and bytes of a variable of a module of machine code (`Module::machine`), which lies where the device has put it.
    fn variable(&self, module: LoadedModule, name: &str) -> Result<(u64, u64), DeviceError> {
        let _ = module;
        Err(DeviceError::new(ErrorKind::NotSupported, format!("no variable named {name}")))
    }

    /// Forgets a module. No launch of it may be running.
    fn unload(&self, module: LoadedModule);

    /// What became of a kernel.
    fn kernel(&self, module: LoadedModule, kernel: FuncId) -> Result<KernelAttributes, DeviceError>;

    /// Compiles ahead of the first launch with that block shape, of so much of a grid; its error is the one that the launch would
    /// have. A launch never needs it.
    fn prepare(
        &self,
        module: LoadedModule,
        kernel: FuncId,
        block: [u32; 3],
        extent: Extent,
    ) -> Result<(), DeviceError> {
        let _ = (block, extent);
        self.kernel(module, kernel).map(drop)
    }

    /// Blocks of a kernel that a multiprocessor holds at once, where the device knows better than its caps tell.
    fn resident_blocks(&self, module: LoadedModule, kernel: FuncId, threads: u32, dynamic_shared: u32) -> Option<u32> {
        let _ = (module, kernel, threads, dynamic_shared);
        None
    }

    /// Makes an image. What it holds is unknown until it is written. `InvalidRequest` for a description that is wrong,
    /// `NotSupported` for one that goes beyond `Caps::images`.
    fn create_image(&self, description: &ImageDescription) -> Result<ImageId, DeviceError> {
        let _ = description;
        Err(no_images())
    }

    /// Destroys an image. No work that uses it may be running, and no object may be bound to it.
    fn destroy_image(&self, image: ImageId) {
        let _ = image;
    }

    /// Gives an object a handle that kernels launched from now on can use; it is not 0. With `handle` it is that one,
    /// which needs `ImageCaps::chooses_handles` and must not be bound already.
    fn bind(&self, handle: Option<u64>, object: &ImageObject) -> Result<u64, DeviceError> {
        let _ = (handle, object);
        Err(no_images())
    }

    /// Takes a handle back. No launch that uses it may be running.
    fn unbind(&self, handle: u64) {
        let _ = handle;
    }

    /// What device-side allocation has handed out, for each heap that launches have named.
    fn heaps(&self) -> Vec<HeapState> {
        Vec::new()
    }

    /// Goes on handing out memory of a heap from there. Its memory is mapped, and no launch has named it here.
    fn set_heap(&self, state: &HeapState) {
        let _ = state;
    }

    /// Whether [`Self::adopt`] knows how.
    fn adopts(&self, from: &dyn Device) -> bool {
        let _ = from;
        false
    }

    /// Takes over all memory that another device has, where both keep it in the same way: what was mapped, shared and
    /// made apart from addresses stays as it is, and is this device's from now on; images and modules are not memory.
    /// False where that cannot be done, and then nothing has changed. Neither has work under way, and this one has no
    /// memory yet.
    fn adopt(&self, from: &dyn Device) -> bool {
        let _ = from;
        false
    }

    /// Puts together pieces of work that will be done again and again, so that [`Queue::submit_assembly`] takes less time than to submit
    /// them one by one. Launches among them are whole and plain: without stop words, parts of grids, workspaces and heaps; nobody
    /// listens to them. None where the device has no way that is better, or knows that it would be wrong.
    fn assemble(&self, steps: &[Step]) -> Result<Option<Arc<dyn Assembly>>, DeviceError> {
        let _ = steps;
        Ok(None)
    }

    /// A line of work of its own. A priority beyond `Caps::priorities` is the nearest within.
    fn open_queue(&self, priority: i32) -> Result<Box<dyn Queue>, DeviceError>;

    /// Brings a device back that a fault took with it: nothing is mapped, loaded, made or bound then, and queues that
    /// were open keep their error. `Lost` where only another process gets it back.
    fn reset(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// Devices that do not run machine code refuse modules that have nothing else.
///
/// # Errors
/// `NotSupported`, with what it is and what can be done.
pub fn refuse_machine_code(module: &Module) -> Result<(), DeviceError> {
    let Some(machine) = &module.machine else { return Ok(()) };
    let name = module.functions.first().map_or("without kernels", |function| &function.name);
    let text = format!(
        "a module ({name}, {} kernels in all) is machine code for {} and has no PTX, so that no other kind of device runs it: build it with PTX",
        module.functions.len(),
        machine.target
    );
    Err(DeviceError::new(ErrorKind::NotSupported, text))
}

fn no_host_memory() -> DeviceError {
    DeviceError::new(ErrorKind::OutOfMemory, "no host memory for a copy")
}

pub(crate) fn no_files() -> DeviceError {
    DeviceError::new(ErrorKind::NotSupported, "the device takes no memory from files")
}

fn no_images() -> DeviceError {
    DeviceError::new(ErrorKind::NotSupported, "the device has no images")
}

/// Work that is done in order. Dropping a queue closes it: what it holds is still done.
///
/// Work that fails ends its queue: what stands behind it is not done, and every mark behind it gives the same error.
/// Other queues go on, also those that wait for a mark of it.
pub trait Queue: Send + Sync {
    /// Appends work. An error here means that it was not appended, and the queue goes on.
    fn submit(&self, work: Work) -> Result<(), DeviceError>;

    /// A mark behind all work so far. `timed` ones can be asked for the time between them.
    fn mark(&self, timed: bool) -> Result<Arc<dyn Mark>, DeviceError>;

    /// What is appended from now on waits for a mark of another queue of the same device.
    fn follow(&self, mark: &dyn Mark) -> Result<(), DeviceError>;

    /// Appends what [`Device::assemble`] made, as if its steps were submitted in their order.
    fn submit_assembly(&self, assembly: &Arc<dyn Assembly>) -> Result<(), DeviceError> {
        let _ = assembly;
        Err(DeviceError::new(ErrorKind::InvalidRequest, "an assembly of another device"))
    }

    /// A kernel for launches that are handed over without being looked at, once it was launched here; none where its launches want more than
    /// that.
    fn known(&self, module: LoadedModule, kernel: FuncId) -> Option<Arc<dyn KnownLaunch>> {
        let _ = (module, kernel);
        None
    }

    /// Waits until all work so far is done.
    fn finish(&self) -> Result<(), DeviceError> {
        self.mark(false)?.wait()
    }

    /// Appends work and waits for it.
    fn run(&self, work: Work) -> Result<(), DeviceError> {
        self.submit(work)?;
        self.finish()
    }

    /// Runs blocks of a launch, whatever its own say, as they are named until none are, and waits for all. The next ones are asked for while
    /// others run, early enough that the device is never without any.
    fn run_parts(&self, launch: &Launch, next: &mut dyn FnMut() -> Option<Range<u64>>) -> Result<(), DeviceError> {
        while let Some(part) = next() {
            self.run(Work::Launch(Box::new(launch.part(part))))?;
        }
        Ok(())
    }
}

/// Several pieces of work that a device has put together, to be done any number of times. It is a device's own type, which the
/// device finds again by [`Any`]. Work under way does not need it any more.
pub trait Assembly: Any + Send + Sync {}

/// A point in a queue. It is a device's own type, which the device finds again by [`Any`].
pub trait Mark: Any + Send + Sync {
    /// Whether all work before it is done; the error if some of it failed.
    fn poll(&self) -> Result<bool, DeviceError>;

    /// Waits until all work before it is done.
    fn wait(&self) -> Result<(), DeviceError>;

    /// Nanoseconds from an earlier mark of the same device to this one; negative if it was the other way round. Both are
    /// timed and passed.
    fn since(&self, earlier: &dyn Mark) -> Result<i64, DeviceError>;
}

/// How a heap for device-side allocation stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeapState {
    /// Where it is.
    pub heap: Heap,
    /// What was handed out and not taken back: address and bytes.
    pub taken: Vec<(u64, u64)>,
}

/// What a device knows about a kernel. What it does not know is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KernelAttributes {
    /// 32-bit registers a thread.
    pub registers: Option<u32>,
    /// Bytes of local memory a thread.
    pub local_bytes: Option<u32>,
    /// Most threads a block that its registers allow.
    pub max_threads: Option<u32>,
    /// Bytes of machine code.
    pub binary_bytes: Option<u64>,
}

/// What a process offers to the devices that it makes.
#[derive(Clone, Default)]
pub struct Services {
    /// Where compiled code is kept from run to run; nowhere if none.
    pub cache: Option<Cache>,
    /// Takes lines about what the device does.
    pub log: Option<Log>,
    /// Where everything that is compiled is saved, for people to read; nowhere if none.
    pub dump: Option<std::path::PathBuf>,
}

/// A folder that belongs to this user, and how much may lie there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    /// The folder; it need not exist.
    pub folder: std::path::PathBuf,
    /// Most bytes.
    pub limit: u64,
}

/// Takes a line and how much it matters.
pub type Log = Arc<dyn Fn(Importance, std::fmt::Arguments<'_>) + Send + Sync>;

/// How much a line of the log matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Importance {
    /// Something will be slower or less than was asked for.
    Warning,
    /// What was compiled, loaded, found.
    Info,
}
