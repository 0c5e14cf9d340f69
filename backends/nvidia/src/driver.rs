//! Owning handles over the driver's functions. What is made here goes when it is dropped.

mod graphs;
mod images;

pub(crate) use graphs::{Graph, Node};
pub(crate) use images::{Array, ArrayShape, Object, Over};

use crate::sys::{self, Functions, Handle, Number, Status};
use hetgpu_device::{Access, DeviceError, ErrorKind, HostSpan, ParamPointers};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// NVIDIA's driver, open and initialised.
pub(crate) struct Driver {
    functions: Functions,
    /// 13000 for 13.0.
    pub(crate) version: i32,
}

const NOT_READY: Status = 600;

/// What an error number comes to.
fn kind(status: Status) -> ErrorKind {
    match status {
        2 => ErrorKind::OutOfMemory,
        1 | 101 | 400 => ErrorKind::InvalidRequest,
        200 | 209 | 218 | 221..=225 | 300..=303 | 500 => ErrorKind::InvalidImage,
        700 => ErrorKind::IllegalAddress,
        701 | 720 | 912 => ErrorKind::OutOfResources,
        702 => ErrorKind::Timeout,
        710 => ErrorKind::Assert,
        714 => ErrorKind::StackOverflow,
        715 => ErrorKind::IllegalInstruction,
        716 => ErrorKind::Misaligned,
        717 => ErrorKind::InvalidAddressSpace,
        718 | 719 => ErrorKind::LaunchFailed,
        801 => ErrorKind::NotSupported,
        _ => ErrorKind::Lost,
    }
}

impl Driver {
    /// Opens the library at an absolute path.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, String> {
        let functions = Functions::open(path)?;
        let mut driver = Self { functions, version: 0 };
        let mut version = 0;
        // SAFETY: the result is a local variable.
        let started = unsafe {
            let started = driver.check("cuInit", (driver.functions.init)(0));
            started.and_then(|()| driver.check("cuDriverGetVersion", (driver.functions.version)(&mut version)))
        };
        started.map_err(|error| format!("{}: {error}", path.display()))?;
        driver.version = version;
        Ok(Arc::new(driver))
    }

    fn check(&self, function: &str, status: Status) -> Result<(), DeviceError> {
        if status == 0 {
            return Ok(());
        }
        let mut name = ptr::null();
        // SAFETY: the driver stores a static string, or nothing for a number that it does not know.
        let known = unsafe { (self.functions.error_name)(status, &mut name) } == 0 && !name.is_null();
        let name = match known {
            // SAFETY: as above; it ends with a NUL.
            true => unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned(),
            false => format!("error {status}"),
        };
        Err(DeviceError::new(kind(status), format!("{function}: {name}")))
    }

    /// How many devices there are.
    pub(crate) fn devices(&self) -> Result<u32, DeviceError> {
        let mut count = 0;
        // SAFETY: the result is a local variable.
        self.check("cuDeviceGetCount", unsafe { (self.functions.device_count)(&mut count) })?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// The device of that number.
    pub(crate) fn device(self: &Arc<Self>, number: u32) -> Result<Card, DeviceError> {
        let mut device = 0;
        // SAFETY: the result is a local variable.
        self.check("cuDeviceGet", unsafe { (self.functions.device)(&mut device, number as c_int) })?;
        Ok(Card { driver: Arc::clone(self), device })
    }
}

/// A device that the driver knows.
#[derive(Clone)]
pub(crate) struct Card {
    driver: Arc<Driver>,
    device: c_int,
}

impl Card {
    pub(crate) fn name(&self) -> Result<String, DeviceError> {
        let mut name = [0u8; 256];
        // SAFETY: the buffer is given with its length.
        let named =
            unsafe { (self.driver.functions.device_name)(name.as_mut_ptr().cast(), name.len() as c_int, self.device) };
        self.driver.check("cuDeviceGetName", named)?;
        Ok(CStr::from_bytes_until_nul(&name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
    }

    pub(crate) fn uuid(&self) -> Result<[u8; 16], DeviceError> {
        let mut uuid = [0; 16];
        // SAFETY: the result is a local variable of 16 bytes.
        self.driver.check("cuDeviceGetUuid", unsafe { (self.driver.functions.device_uuid)(&mut uuid, self.device) })?;
        Ok(uuid)
    }

    pub(crate) fn memory(&self) -> Result<u64, DeviceError> {
        let mut bytes = 0;
        // SAFETY: the result is a local variable.
        let asked = unsafe { (self.driver.functions.device_memory)(&mut bytes, self.device) };
        self.driver.check("cuDeviceTotalMem", asked)?;
        Ok(bytes as u64)
    }

    /// An attribute by its number; 0 where the driver does not know it.
    pub(crate) fn attribute(&self, number: c_int) -> u32 {
        let mut value = 0;
        // SAFETY: the result is a local variable.
        let asked = unsafe { (self.driver.functions.device_attribute)(&mut value, number, self.device) };
        if asked == 0 { u32::try_from(value).unwrap_or(0) } else { 0 }
    }

    /// The device's primary context, which is made where there is none.
    pub(crate) fn context(&self) -> Result<Arc<Context>, DeviceError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the result is a local variable.
        let got = unsafe { (self.driver.functions.retain)(&mut handle, self.device) };
        self.driver.check("cuDevicePrimaryCtxRetain", got)?;
        Ok(Arc::new(Context { card: self.clone(), handle, events: Default::default() }))
    }
}

thread_local! {
    /// The context that this thread has made current.
    static CURRENT: Cell<Handle> = const { Cell::new(ptr::null_mut()) };
}

/// A device's context.
pub(crate) struct Context {
    card: Card,
    handle: Handle,
    /// Events that nobody has at present, without times and with: whoever launches and waits needs one each time.
    events: [Mutex<Vec<Handle>>; 2],
}

/// So many events of a kind are kept at most.
const MOST_EVENTS: usize = 1024;

// SAFETY: the driver's functions may be called from any thread, with the context made current there.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        for event in [false, true].into_iter().flat_map(|timed| std::mem::take(&mut *self.unused(timed))) {
            // SAFETY: nobody has it.
            let _ = self.call("cuEventDestroy", |f| unsafe { (f.event_destroy)(event) });
        }
        // SAFETY: it was retained once; all that was made in it holds it and is gone.
        let _ = unsafe { (self.functions().release)(self.card.device) };
        CURRENT.with(|current| current.set(ptr::null_mut()));
    }
}

impl Context {
    fn functions(&self) -> &Functions {
        &self.card.driver.functions
    }

    /// Makes the context current in this thread, and checks what a call says.
    fn call(&self, name: &str, call: impl FnOnce(&Functions) -> Status) -> Result<(), DeviceError> {
        self.enter()?;
        self.card.driver.check(name, call(self.functions()))
    }

    fn enter(&self) -> Result<(), DeviceError> {
        CURRENT.with(|current| {
            if current.get() != self.handle {
                // SAFETY: the handle is a context's that this holds.
                let set = unsafe { (self.functions().set_current)(self.handle) };
                self.card.driver.check("cuCtxSetCurrent", set)?;
                current.set(self.handle);
            }
            Ok(())
        })
    }

    pub(crate) fn priorities(&self) -> Result<(i32, i32), DeviceError> {
        let (mut least, mut greatest) = (0, 0);
        // SAFETY: the results are local variables.
        self.call("cuCtxGetStreamPriorityRange", |f| unsafe { (f.priorities)(&mut least, &mut greatest) })?;
        Ok((least, greatest))
    }

    pub(crate) fn free_memory(&self) -> Result<u64, DeviceError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the results are local variables.
        self.call("cuMemGetInfo", |f| unsafe { (f.memory_info)(&mut free, &mut total) })?;
        Ok(free as u64)
    }

    /// Takes addresses; where they are not free the driver chooses others.
    pub(crate) fn reserve(&self, at: u64, bytes: u64) -> Result<u64, DeviceError> {
        let mut got = 0;
        // SAFETY: the result is a local variable; nothing that exists is touched.
        self.call("cuMemAddressReserve", |f| unsafe { (f.address_reserve)(&mut got, bytes as usize, 0, at, 0) })?;
        Ok(got)
    }

    /// Gives addresses back that nothing is mapped at. The driver unmaps what the host has there too.
    pub(crate) fn give_back(&self, at: u64, bytes: u64) {
        // SAFETY: the range came from `reserve`; callers have put nothing of the host's into it.
        let _ = self.call("cuMemAddressFree", |f| unsafe { (f.address_free)(at, bytes as usize) });
    }

    fn here(&self) -> sys::Location {
        sys::Location { kind: sys::LOCATION_DEVICE, number: self.card.device }
    }

    /// Memory without an address.
    pub(crate) fn create(self: &Arc<Self>, bytes: u64) -> Result<Physical, DeviceError> {
        let properties = sys::AllocationProperties {
            kind: sys::ALLOCATION_PINNED,
            handle_types: sys::HANDLE_FILE,
            location: self.here(),
            windows: ptr::null_mut(),
            compression: 0,
            direct: 0,
            usage: 0,
            reserved: [0; 4],
        };
        let mut handle = 0;
        // SAFETY: the result and the description are local variables.
        self.call("cuMemCreate", |f| unsafe { (f.memory_create)(&mut handle, bytes as usize, &properties, 0) })?;
        Ok(Physical { context: Arc::clone(self), handle, bytes })
    }

    /// The memory that a file stands for; its size is not known.
    pub(crate) fn import(self: &Arc<Self>, file: &OwnedFd) -> Result<Physical, DeviceError> {
        let mut handle = 0;
        let number = ptr::without_provenance_mut::<c_void>(file.as_raw_fd() as usize);
        // SAFETY: for this kind of handle the driver takes the descriptor's number in the place of a pointer.
        self.call("cuMemImportFromShareableHandle", |f| unsafe {
            (f.memory_import)(&mut handle, number, sys::HANDLE_FILE)
        })?;
        Ok(Physical { context: Arc::clone(self), handle, bytes: 0 })
    }

    /// Makes memory appear at reserved addresses, inaccessible.
    pub(crate) fn show(&self, memory: &Physical, at: u64) -> Result<(), DeviceError> {
        // SAFETY: the handle is alive; the driver refuses addresses that are not reserved, or mapped already.
        self.call("cuMemMap", |f| unsafe { (f.memory_map)(at, memory.bytes as usize, 0, memory.handle, 0) })
    }

    /// What may be done with what `show` put at an address.
    pub(crate) fn allow(&self, at: u64, bytes: u64, access: Access) -> Result<(), DeviceError> {
        let access = match access {
            Access::None => sys::ACCESS_NONE,
            Access::Read => sys::ACCESS_READ,
            Access::ReadWrite => sys::ACCESS_READ_WRITE,
        };
        let description = sys::AccessDescription { location: self.here(), access };
        // SAFETY: the description is a local variable.
        self.call("cuMemSetAccess", |f| unsafe { (f.memory_access)(at, bytes as usize, &description, 1) })
    }

    pub(crate) fn hide(&self, at: u64, bytes: u64) {
        // SAFETY: by the contract of `Device::unmap` no work uses the range.
        let _ = self.call("cuMemUnmap", |f| unsafe { (f.memory_unmap)(at, bytes as usize) });
    }

    /// Memory at an address that the driver chooses, for what no program is told.
    pub(crate) fn scratch(self: &Arc<Self>, bytes: u64) -> Result<Scratch, DeviceError> {
        let mut at = 0;
        // SAFETY: the result is a local variable.
        self.call("cuMemAlloc", |f| unsafe { (f.memory_alloc)(&mut at, bytes.max(1) as usize) })?;
        Ok(Scratch { context: Arc::clone(self), at, bytes })
    }

    /// Lets the device reach host memory, at the address that the result says.
    pub(crate) fn register(&self, host: &HostSpan) -> Result<u64, DeviceError> {
        let mut at = 0;
        let start = host.start().cast::<c_void>();
        // SAFETY: the span's contract is that its memory stays until it is unregistered, which its holder sees to.
        self.call("cuMemHostRegister", |f| unsafe {
            (f.host_register)(start, host.bytes(), sys::REGISTER_PORTABLE_MAPPED)
        })?;
        // SAFETY: the result is a local variable; the memory was registered just now.
        self.call("cuMemHostGetDevicePointer", |f| unsafe { (f.host_pointer)(&mut at, start, 0) })
            .inspect_err(|_| self.unregister(host))?;
        Ok(at)
    }

    /// Host memory that the driver has pinned for as long as what this gives is there.
    pub(crate) fn pin(self: &Arc<Self>, memory: &HostSpan) -> Result<Pinned, DeviceError> {
        self.register(memory)?;
        Ok(Pinned { context: Arc::clone(self), memory: memory.clone() })
    }

    pub(crate) fn unregister(&self, host: &HostSpan) {
        // SAFETY: the driver refuses what is not registered; no work uses the memory by the contract of `Device::unmap`.
        let _ = self.call("cuMemHostUnregister", |f| unsafe { (f.host_unregister)(host.start().cast()) });
    }

    /// A line of work; a smaller number is a greater priority.
    pub(crate) fn stream(self: &Arc<Self>, priority: i32) -> Result<Stream, DeviceError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the result is a local variable.
        self.call("cuStreamCreate", |f| unsafe { (f.stream_create)(&mut handle, sys::STREAM_NON_BLOCKING, priority) })?;
        Ok(Stream { context: Arc::clone(self), handle })
    }

    pub(crate) fn event(self: &Arc<Self>, timed: bool) -> Result<Event, DeviceError> {
        let mut handle = ptr::null_mut();
        let known = self.unused(timed).pop();
        match known {
            Some(known) => handle = known,
            None => {
                let flags = if timed { 0 } else { sys::EVENT_UNTIMED };
                // SAFETY: the result is a local variable.
                self.call("cuEventCreate", |f| unsafe { (f.event_create)(&mut handle, flags) })?;
            }
        }
        Ok(Event { context: Arc::clone(self), handle, timed })
    }

    /// Events of a kind that nobody has.
    fn unused(&self, timed: bool) -> MutexGuard<'_, Vec<Handle>> {
        self.events[usize::from(timed)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compiles PTX, or loads what was compiled. The error has the compiler's words.
    /// Loads PTX, or a cubin, whose own size stands in it.
    pub(crate) fn load(self: &Arc<Self>, image: Image<'_>) -> Result<Module, DeviceError> {
        let start = match image {
            Image::Text(text) => text.as_ptr().cast::<c_void>(),
            Image::Cubin(cubin) => cubin.as_ptr().cast(),
        };
        let mut log = vec![0u8; 16 << 10];
        let mut options = [sys::JIT_ERROR_LOG, sys::JIT_ERROR_LOG_BYTES];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), ptr::without_provenance_mut(log.len())];
        let mut handle = ptr::null_mut();
        // SAFETY: two options and their values, the second the size of the first; the text ends with a NUL, and a cubin was read
        // to where its sections end.
        let loaded = self.call("cuModuleLoadData", |f| unsafe {
            let (count, values) = (options.len() as u32, values.as_mut_ptr());
            (f.module_load)(&mut handle, start, count, options.as_mut_ptr(), values)
        });
        loaded.map_err(|mut error| {
            if let Ok(log) = CStr::from_bytes_until_nul(&log)
                && !log.is_empty()
            {
                error.message = format!("{}: {}", error.message, log.to_string_lossy().trim_end());
            }
            error
        })?;
        Ok(Module { context: Arc::clone(self), handle })
    }
}

/// Memory without an address.
pub(crate) struct Physical {
    context: Arc<Context>,
    handle: Number,
    pub(crate) bytes: u64,
}

impl Physical {
    /// A file that stands for it.
    pub(crate) fn export(&self) -> Result<OwnedFd, DeviceError> {
        let mut file: c_int = -1;
        // SAFETY: for this kind of handle the driver stores a descriptor, which is a C int.
        self.context.call("cuMemExportToShareableHandle", |f| unsafe {
            (f.memory_export)((&raw mut file).cast(), self.handle, sys::HANDLE_FILE, 0)
        })?;
        // SAFETY: the descriptor was made just now for the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(file) })
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        // SAFETY: the handle is alive and is used nowhere else afterwards; mappings keep the memory.
        let _ = self.context.call("cuMemRelease", |f| unsafe { (f.memory_release)(self.handle) });
    }
}

/// Memory of the device's own.
pub(crate) struct Scratch {
    context: Arc<Context>,
    pub(crate) at: u64,
    pub(crate) bytes: u64,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the address is an allocation's and is used nowhere else afterwards.
        let _ = self.context.call("cuMemFree", |f| unsafe { (f.memory_free)(self.at) });
    }
}

/// A line of work.
pub(crate) struct Stream {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the handle is used nowhere else afterwards; the driver lets work that is under way end.
        let _ = self.context.call("cuStreamDestroy", |f| unsafe { (f.stream_destroy)(self.handle) });
    }
}

/// One side of a copy of rows.
#[derive(Clone)]
pub(crate) enum Side {
    /// Device memory at an address, and bytes from row to row.
    Device(u64, u64),
    /// Host memory from an offset on, and bytes from row to row.
    Host(HostSpan, u64, u64),
    /// A level of an array, from bytes, row and slice on.
    Array(Arc<Array>, u32, [u64; 3]),
}

impl Stream {
    /// Copies to the device; the span lives until that is done.
    pub(crate) fn copy_in(&self, to: u64, from: &HostSpan) -> Result<(), DeviceError> {
        // SAFETY: the span is readable by its contract for as long as it lives, which the caller sees to.
        self.context.call("cuMemcpyHtoD", |f| unsafe {
            (f.copy_in)(to, from.start().cast_const().cast(), from.bytes(), self.handle)
        })
    }

    /// Copies from the device; the span lives until that is done.
    pub(crate) fn copy_out(&self, to: &HostSpan, from: u64) -> Result<(), DeviceError> {
        // SAFETY: the span is writable by its contract for as long as it lives, which the caller sees to.
        self.context.call("cuMemcpyDtoH", |f| unsafe { (f.copy_out)(to.start().cast(), from, to.bytes(), self.handle) })
    }

    /// Copies within the device, and what it reaches. The ranges have no byte in common.
    pub(crate) fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), DeviceError> {
        // SAFETY: both are addresses of the device; the driver checks what is mapped there.
        self.context.call("cuMemcpyDtoD", |f| unsafe { (f.copy_within)(to, from, bytes as usize, self.handle) })
    }

    /// Copies rows.
    pub(crate) fn copy_rows(&self, to: Side, from: Side, row: u64, rows: u64) -> Result<(), DeviceError> {
        let side = |side: &Side| -> Result<sys::BoxSide, DeviceError> {
            let mut out = sys::BoxSide {
                x_bytes: 0,
                y: 0,
                z: 0,
                level: 0,
                kind: 0,
                host: ptr::null_mut(),
                device: 0,
                array: ptr::null_mut(),
                reserved: ptr::null_mut(),
                pitch: 0,
                height: rows as usize,
            };
            match side {
                Side::Device(at, pitch) => {
                    (out.kind, out.device, out.pitch) = (sys::MEMORY_DEVICE, *at, *pitch as usize);
                }
                Side::Host(span, offset, pitch) => {
                    out.kind = sys::MEMORY_HOST;
                    out.host = span.start().wrapping_add(*offset as usize).cast();
                    out.pitch = *pitch as usize;
                }
                Side::Array(array, level, [x, y, z]) => {
                    (out.kind, out.array) = (sys::MEMORY_ARRAY, array.level(*level)?);
                    (out.x_bytes, out.y, out.z) = (*x as usize, *y as usize, *z as usize);
                }
            }
            Ok(out)
        };
        let copy = sys::BoxCopy {
            from: side(&from)?,
            to: side(&to)?,
            width_bytes: row as usize,
            height: rows as usize,
            depth: 1,
        };
        // SAFETY: host sides are spans whose extent the caller has checked against rows and pitch; the rest is checked by
        // the driver.
        self.context.call("cuMemcpy3D", |f| unsafe { (f.copy_box)(&copy, self.handle) })
    }

    /// Fills `count` words of 1, 2 or 4 bytes.
    pub(crate) fn fill(&self, at: u64, word: &[u8], count: u64) -> Result<(), DeviceError> {
        let count = count as usize;
        // SAFETY: an address of the device and numbers.
        self.context.call("cuMemset", |f| unsafe {
            match *word {
                [a] => (f.fill8)(at, a, count, self.handle),
                [a, b] => (f.fill16)(at, u16::from_le_bytes([a, b]), count, self.handle),
                [a, b, c, d] => (f.fill32)(at, u32::from_le_bytes([a, b, c, d]), count, self.handle),
                _ => 1,
            }
        })
    }

    pub(crate) fn record(&self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: both handles are alive.
        self.context.call("cuEventRecord", |f| unsafe { (f.event_record)(event.handle, self.handle) })
    }

    /// What comes from now on waits for an event.
    pub(crate) fn follow(&self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: both handles are alive.
        self.context.call("cuStreamWaitEvent", |f| unsafe { (f.stream_wait)(self.handle, event.handle, 0) })
    }

    pub(crate) fn synchronize(&self) -> Result<(), DeviceError> {
        // SAFETY: the handle is alive.
        self.context.call("cuStreamSynchronize", |f| unsafe { (f.stream_synchronize)(self.handle) })
    }

    /// Launches a kernel with parameters that begin at these offsets.
    ///
    /// Each is handed over by itself. The driver takes all of them in one piece too, but then as they lie among the kernel's
    /// constants: for `sm_90` from 0x210 on, so that a parameter that is aligned to 128 bytes, as a tensor map is, lies 0x70
    /// bytes further there than in a buffer that begins with it.
    pub(crate) fn launch(
        &self,
        function: &Function,
        shape: &LaunchShape,
        params: &[u8],
        offsets: &[u32],
    ) -> Result<(), DeviceError> {
        let mut few = [ptr::null_mut(); 16];
        let mut many = Vec::new();
        let places: &mut [*mut c_void] = match few.get_mut(..offsets.len()) {
            Some(few) => few,
            None => {
                many.resize(offsets.len(), ptr::null_mut());
                &mut many
            }
        };
        for (place, &at) in places.iter_mut().zip(offsets) {
            let short = || DeviceError::new(ErrorKind::InvalidRequest, "a launch with too few bytes of parameters");
            *place = params.get(at as usize..).ok_or_else(short)?.as_ptr().cast_mut().cast();
        }
        self.launch_with(function, shape, places.as_mut_ptr())
    }

    /// Launches a kernel with the parameters that a program has.
    pub(crate) fn launch_known(
        &self,
        function: &Function,
        shape: &LaunchShape,
        params: ParamPointers,
    ) -> Result<(), DeviceError> {
        // The driver reads them.
        self.launch_with(function, shape, params.as_ptr().cast_mut().cast())
    }

    /// `params` points to a pointer to each parameter.
    fn launch_with(
        &self,
        function: &Function,
        shape: &LaunchShape,
        params: *mut *mut c_void,
    ) -> Result<(), DeviceError> {
        let attribute = |id, first: [u32; 3]| {
            let mut value = [0; 16];
            value[..3].copy_from_slice(&first);
            sys::LaunchAttribute { id, padding: 0, value }
        };
        let mut attributes = [attribute(0, [0; 3]); 2];
        let mut count = 0;
        if shape.cluster != [1; 3] {
            attributes[count] = attribute(sys::LAUNCH_CLUSTER, shape.cluster);
            count += 1;
        }
        if shape.cooperative {
            attributes[count] = attribute(sys::LAUNCH_COOPERATIVE, [1, 0, 0]);
            count += 1;
        }
        let config = sys::LaunchConfig {
            grid: shape.grid,
            block: shape.block,
            shared: shape.shared,
            stream: self.handle,
            attributes: attributes.as_mut_ptr(),
            attribute_count: count as u32,
        };
        // SAFETY: the function belongs to a loaded module that the caller keeps. Its text declares parameters of the sizes for which the
        // offsets in `launch` make room, or those of the kernel for which the pointers are by their contract; they are read during
        // the call alone.
        self.context
            .call("cuLaunchKernel", |f| unsafe { (f.launch)(&config, function.handle, params, ptr::null_mut()) })
    }
}

/// The shape of a launch.
pub(crate) struct LaunchShape {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared: u32,
    pub(crate) cooperative: bool,
}

/// A point in a stream.
pub(crate) struct Event {
    context: Arc<Context>,
    handle: Handle,
    timed: bool,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Drop for Event {
    fn drop(&mut self) {
        // It may be recorded anew whatever became of it: who waits for it in a stream waits for what it was then.
        let mut unused = self.context.unused(self.timed);
        if unused.len() < MOST_EVENTS {
            return unused.push(self.handle);
        }
        drop(unused);
        // SAFETY: the handle is used nowhere else afterwards.
        let _ = self.context.call("cuEventDestroy", |f| unsafe { (f.event_destroy)(self.handle) });
    }
}

impl Event {
    pub(crate) fn is_passed(&self) -> Result<bool, DeviceError> {
        self.context.enter()?;
        // SAFETY: the handle is alive.
        match unsafe { (self.context.functions().event_query)(self.handle) } {
            NOT_READY => Ok(false),
            status => self.context.card.driver.check("cuEventQuery", status).map(|()| true),
        }
    }

    pub(crate) fn wait(&self) -> Result<(), DeviceError> {
        // SAFETY: the handle is alive.
        self.context.call("cuEventSynchronize", |f| unsafe { (f.event_synchronize)(self.handle) })
    }

    /// Nanoseconds since an earlier event; none where one of them is not timed, or not passed.
    pub(crate) fn since(&self, earlier: &Self) -> Result<Option<i64>, DeviceError> {
        if !self.timed || !earlier.timed {
            return Ok(None);
        }
        self.context.enter()?;
        let mut milliseconds = 0f32;
        // SAFETY: both handles are alive; the result is a local variable.
        let asked = unsafe { (self.context.functions().event_elapsed)(&mut milliseconds, earlier.handle, self.handle) };
        if asked == NOT_READY {
            return Ok(None);
        }
        self.context.card.driver.check("cuEventElapsedTime", asked)?;
        Ok(Some((f64::from(milliseconds) * 1e6).round() as i64))
    }
}

/// Pinned host memory, which is there at least as long.
pub(crate) struct Pinned {
    context: Arc<Context>,
    memory: HostSpan,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.context.unregister(&self.memory);
    }
}

/// A loaded module.
pub(crate) struct Module {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: by the contract of `Device::unload` nothing of it runs; the handle is used nowhere else afterwards.
        let _ = self.context.call("cuModuleUnload", |f| unsafe { (f.module_unload)(self.handle) });
    }
}

fn c_string(name: &str) -> Result<CString, DeviceError> {
    CString::new(name).map_err(|_| DeviceError::new(ErrorKind::InvalidImage, "a name with a NUL in it"))
}

impl Module {
    pub(crate) fn function(self: &Arc<Self>, name: &str) -> Result<Function, DeviceError> {
        let mut handle = ptr::null_mut();
        let name = c_string(name)?;
        // SAFETY: the result is a local variable; the name ends with a NUL.
        let found = self
            .context
            .call("cuModuleGetFunction", |f| unsafe { (f.module_function)(&mut handle, self.handle, name.as_ptr()) });
        found?;
        Ok(Function { module: Arc::clone(self), handle })
    }

    /// Where the driver has put a variable, and its bytes.
    pub(crate) fn variable(&self, name: &str) -> Result<(u64, u64), DeviceError> {
        let (mut at, mut bytes) = (0, 0);
        let name = c_string(name)?;
        // SAFETY: the results are local variables; the name ends with a NUL.
        self.context.call("cuModuleGetGlobal", |f| unsafe {
            (f.module_global)(&mut at, &mut bytes, self.handle, name.as_ptr())
        })?;
        Ok((at, bytes as u64))
    }
}

/// What a module is loaded from.
#[derive(Clone, Copy)]
pub(crate) enum Image<'i> {
    Text(&'i CStr),
    Cubin(&'i [u8]),
}

/// A kernel of a loaded module.
pub(crate) struct Function {
    module: Arc<Module>,
    handle: Handle,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    pub(crate) fn attribute(&self, number: c_int) -> Result<u32, DeviceError> {
        let mut value = 0;
        let context = &self.module.context;
        // SAFETY: the result is a local variable.
        context.call("cuFuncGetAttribute", |f| unsafe { (f.function_attribute)(&mut value, number, self.handle) })?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    pub(crate) fn set(&self, number: c_int, value: u32) -> Result<(), DeviceError> {
        // SAFETY: numbers alone are passed.
        self.module.context.call("cuFuncSetAttribute", |f| unsafe {
            (f.function_set)(self.handle, number, c_int::try_from(value).unwrap_or(c_int::MAX))
        })
    }

    /// Blocks that a multiprocessor holds.
    pub(crate) fn resident(&self, threads: u32, shared: u32) -> Result<u32, DeviceError> {
        let mut blocks = 0;
        // SAFETY: the result is a local variable.
        self.module.context.call("cuOccupancyMaxActiveBlocksPerMultiprocessor", |f| unsafe {
            (f.occupancy)(&mut blocks, self.handle, threads as c_int, shared as usize)
        })?;
        Ok(u32::try_from(blocks).unwrap_or(0))
    }
}
