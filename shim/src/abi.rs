//! What crosses the C boundary: argument types, and the one door through which every call comes in.
//!
//! The argument types stand for pointers that a C program passed. They can only come into being as arguments of the
//! functions in `entry.rs`, `tables.rs` and as fields of structures read through them, so that the rules of the API (out
//! parameters are writable, strings are NUL-terminated, arrays are as long as the count beside them) are what makes the
//! dereferences here sound. Null is checked.

use crate::calls::capture;
use crate::journal;
use crate::result::{Code, Failure, Outcome};
use crate::state;
use hetgpu_runtime::log::{self, Level, Topic};
use hetgpu_runtime::{Handle, Kind, ParamPointers, Runtime, StreamRef};
use std::ffi::{CStr, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Which stream the handle 0 means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flavour {
    /// The context's one default stream.
    Legacy,
    /// The calling thread's own.
    PerThread,
}

/// The call that is being served.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) flavour: Flavour,
}

impl Call {
    /// Functions of the host that a stream runs have no part in the API: they could wait for what waits for them.
    pub(crate) fn runtime(&self) -> Outcome<&'static Runtime> {
        match hetgpu_runtime::in_host_function() {
            true => Err(Failure::new(Code::ERROR_NOT_PERMITTED, "called by a function that a stream runs")),
            false => state::runtime(),
        }
    }

    pub(crate) fn stream(&self, stream: CuStream) -> Outcome<StreamRef> {
        const LEGACY: u64 = 1;
        const PER_THREAD: u64 = 2;
        Ok(match (stream.0, self.flavour) {
            (LEGACY, _) | (0, Flavour::Legacy) => StreamRef::Default,
            (PER_THREAD, _) | (0, Flavour::PerThread) => StreamRef::Thread,
            _ => StreamRef::Handle(stream.get()?),
        })
    }
}

/// Runs a call: nothing that goes wrong inside gets out as anything but a code.
pub(crate) fn enter(
    name: &'static str,
    flavour: Flavour,
    arguments: &dyn Fn(Moment) -> String,
    serve: impl FnOnce(&Call) -> Outcome,
) -> Code {
    if log::enabled(Level::Trace) {
        log::write(Level::Trace, format_args!("{name}({})", arguments(Moment::Before)));
    }
    let traced = log::follows(Topic::Api);
    let start = traced.then(Instant::now);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        capture::permit(name)?;
        serve(&Call { name, flavour })
    }));
    let took = start.map(|start| start.elapsed());
    let (code, text) = match outcome {
        Ok(Ok(())) => (Code::SUCCESS, String::new()),
        Ok(Err(Failure { code, text })) => (code, text),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
            log::error(format_args!("{name}: internal error: {text}"));
            (Code::ERROR_UNKNOWN, text.to_owned())
        }
    };
    let reason = format_args!("{}{text}", if text.is_empty() { "" } else { ": " });
    if let Some(took) = took {
        let moment = if code == Code::SUCCESS { Moment::After } else { Moment::Before };
        let arguments = arguments(moment);
        log::about(
            Topic::Api,
            format_args!("{name}({arguments}) = {code:?}{reason}, {:.1} us", took.as_nanos() as f64 / 1e3),
        );
    } else if code != Code::SUCCESS && code != Code::ERROR_NOT_READY {
        log::info(format_args!("{name} -> {code:?}{reason}"));
    }
    // The runtime library asks its private tables for what is not there as a matter of course.
    let of_the_api = name.starts_with("cu");
    if code != Code::SUCCESS && code != Code::ERROR_NOT_READY && of_the_api {
        if !text.is_empty() {
            journal::record(&text);
        }
        journal::record(&format!("Returning {} ({code:?}) from {name}", code.0));
    }
    code
}

/// When arguments are shown: out parameters hold something only after a call that succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    Before,
    After,
}

/// Reads memory of the program that may not be there: arguments are shown before anybody has checked them.
pub(crate) fn peek<T: Copy>(from: *const T) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let here = libc::iovec { iov_base: value.as_mut_ptr().cast(), iov_len: size_of::<T>() };
    let there = libc::iovec { iov_base: from.cast_mut().cast(), iov_len: size_of::<T>() };
    // SAFETY: the system checks the addresses that it reads from, and writes to a place of the right size.
    let got = unsafe { libc::process_vm_readv(libc::getpid(), &here, 1, &there, 1, 0) };
    // SAFETY: all of it was written; the types that are shown are numbers, handles and structures of them, for which all
    // bits are right.
    (got == size_of::<T>() as isize).then(|| unsafe { value.assume_init() })
}

/// An entry point that does nothing yet but say so, once.
pub(crate) fn not_supported(name: &'static str) -> Code {
    if log::first(name) {
        log::warn(format_args!("{name} is not supported"));
    }
    log::about(Topic::Api, format_args!("{name}(...) = {:?}", Code::ERROR_NOT_SUPPORTED));
    journal::record(&format!(
        "Returning {} ({:?}) from {name}",
        Code::ERROR_NOT_SUPPORTED.0,
        Code::ERROR_NOT_SUPPORTED
    ));
    Code::ERROR_NOT_SUPPORTED
}

/// An entry point's address, for tables.
#[derive(Clone, Copy)]
pub(crate) struct Address(pub(crate) *const ());

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}

// SAFETY: the address of a function; it is only ever handed out, never dereferenced.
unsafe impl Sync for Address {}
// SAFETY: as above.
unsafe impl Send for Address {}

fn null(what: &str) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, format!("null for {what}"))
}

/// An out parameter.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Out<T> {}

impl<T> Out<T> {
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    pub(crate) fn set(self, value: T) -> Outcome {
        if self.0.is_null() {
            return Err(null("an out parameter"));
        }
        // SAFETY: a non-null out parameter is writable by the API's rules (see the module comment). Unaligned, because the
        // untyped out parameters of attribute queries promise no alignment.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Sets it unless it is null, for those that may be.
    pub(crate) fn set_if_wanted(self, value: T) {
        if !self.0.is_null() {
            let _ = self.set(value);
        }
    }

    /// Where it points.
    pub(crate) fn address(self) -> Pointer {
        Pointer(self.0.expose_provenance() as u64)
    }

    /// Element `index` of an array of out parameters.
    pub(crate) fn at(self, index: usize) -> Self {
        Self(if self.0.is_null() { self.0 } else { self.0.wrapping_add(index) })
    }

    /// The same memory, read.
    pub(crate) fn as_in(self) -> In<T> {
        In(self.0)
    }

    /// What stands there, if the memory is there at all.
    pub(crate) fn peek(self) -> Option<T>
    where
        T: Copy,
    {
        peek(self.0)
    }

    /// The same memory as something else.
    pub(crate) fn cast<U>(self) -> Out<U> {
        Out(self.0.cast())
    }
}

impl<T> fmt::Debug for Out<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}

impl Out<c_char> {
    pub(crate) fn show(self) -> String {
        show_text(self.0)
    }

    /// Writes as much of a text as fits, and a NUL.
    pub(crate) fn set_text(self, text: &str, room: usize) -> Outcome {
        let Some(most) = room.checked_sub(1) else { return Err(null("room for a text")) };
        let text = text.bytes().take(most).chain([0]);
        text.enumerate().try_for_each(|(index, byte)| self.at(index).set(byte as c_char))
    }
}

/// A pointer to something to read, or to an array of it.
#[repr(transparent)]
pub(crate) struct In<T>(*const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for In<T> {}

impl<T> In<T> {
    pub(crate) const NULL: Self = Self(std::ptr::null());

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// What stands there, if the memory is there at all.
    pub(crate) fn peek(self) -> Option<T>
    where
        T: Copy,
    {
        peek(self.0)
    }

    /// The same memory as something else.
    pub(crate) fn cast<U>(self) -> In<U> {
        In(self.0.cast())
    }

    /// Element `index` of an array that the callee may write to.
    pub(crate) fn slot(self, index: usize) -> Out<T> {
        Out(if self.0.is_null() { self.0.cast_mut() } else { self.0.wrapping_add(index).cast_mut() })
    }
}

impl<T: Copy> In<T> {
    pub(crate) fn get(self) -> Outcome<T> {
        self.at(0)
    }

    pub(crate) fn at(self, index: usize) -> Outcome<T> {
        if self.0.is_null() {
            return Err(null("an argument"));
        }
        // SAFETY: a non-null argument points to as many readable values as the API says (see the module comment); all types
        // used here are plain integers, pointers and structures of them.
        Ok(unsafe { self.0.add(index).read_unaligned() })
    }

    pub(crate) fn list(self, count: usize) -> Outcome<Vec<T>> {
        (0..count).map(|index| self.at(index)).collect()
    }
}

impl In<Pointer> {
    /// Pointers to a kernel's parameters, if the first so many of them are there.
    pub(crate) fn params(self, count: usize) -> Option<ParamPointers> {
        if count > 0 && (self.is_null() || (0..count).any(|index| !self.at(index).is_ok_and(|pointer| pointer.0 != 0)))
        {
            return None;
        }
        // SAFETY: the API wants a pointer to each parameter of the kernel, readable during the call.
        Some(unsafe { ParamPointers::new(self.0.cast()) })
    }
}

impl In<u8> {
    /// As many bytes as there is room for.
    pub(crate) fn copy_to(self, to: &mut [u8]) -> Outcome {
        if self.0.is_null() && !to.is_empty() {
            return Err(null("bytes"));
        }
        // SAFETY: a non-null pointer to so many bytes is readable by the API's rules; what is ours is nowhere the program's.
        unsafe { std::ptr::copy_nonoverlapping(self.0, to.as_mut_ptr(), to.len()) };
        Ok(())
    }
}

impl<T> fmt::Debug for In<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}

/// A NUL-terminated string.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Text(*const c_char);

impl Text {
    pub(crate) fn get(self) -> Outcome<String> {
        if self.0.is_null() {
            return Err(null("a name"));
        }
        // SAFETY: a non-null string argument is NUL-terminated by the API's rules.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_string_lossy().into_owned())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", show_text(self.0))
    }
}

/// A text as people read it, as much as a line has room for.
pub(crate) fn show_text(from: *const c_char) -> String {
    const MOST: usize = 200;
    if from.is_null() {
        return "null".to_owned();
    }
    let mut bytes = Vec::new();
    for at in 0..MOST {
        match peek(from.wrapping_add(at)) {
            None => return format!("{from:p}"),
            Some(0) => return format!("{:?}", String::from_utf8_lossy(&bytes)),
            Some(byte) => bytes.push(byte as u8),
        }
    }
    format!("{:?}...", String::from_utf8_lossy(&bytes))
}

impl fmt::Debug for TextOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_text(self.0))
    }
}

/// A string handed out; it lives as long as the process or the object that it names.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct TextOut(*const c_char);

impl TextOut {
    pub(crate) const NULL: Self = Self(std::ptr::null());

    pub(crate) fn new(text: &CStr) -> Self {
        Self(text.as_ptr())
    }
}

/// An address of the program, or of a device.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub(crate) struct Pointer(pub(crate) u64);

impl Pointer {
    /// What it points to, where the API says that it does.
    pub(crate) fn as_in<T>(self) -> In<T> {
        In(std::ptr::with_exposed_provenance(self.0 as usize))
    }

    pub(crate) fn as_out<T>(self) -> Out<T> {
        Out(std::ptr::with_exposed_provenance_mut(self.0 as usize))
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A handle of kind `T`, as the program passes it.
#[repr(transparent)]
pub(crate) struct Cu<T>(pub(crate) u64, PhantomData<fn() -> T>);

impl<T> Clone for Cu<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Cu<T> {}

impl<T: Kind> Cu<T> {
    pub(crate) const NULL: Self = Self(0, PhantomData);

    pub(crate) fn new(handle: Handle<T>) -> Self {
        Self(handle.bits(), PhantomData)
    }

    /// What a program passed as another kind of handle.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits, PhantomData)
    }

    pub(crate) fn get(self) -> Outcome<Handle<T>> {
        Ok(Handle::from_bits(self.0).ok_or(hetgpu_runtime::Error::InvalidHandle(T::NAME))?)
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == 0
    }
}

impl<T: Kind> fmt::Debug for Cu<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Handle::<T>::from_bits(self.0) {
            Some(handle) => handle.fmt(f),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

pub(crate) type CuContext = Cu<hetgpu_runtime::Context>;
pub(crate) type CuGreen = Cu<hetgpu_runtime::GreenContext>;
pub(crate) type CuResources = Cu<hetgpu_runtime::ResourceDescription>;
pub(crate) type CuExternalMemory = Cu<hetgpu_runtime::ExternalMemory>;
pub(crate) type CuStream = Cu<hetgpu_runtime::Stream>;
pub(crate) type CuEvent = Cu<hetgpu_runtime::Event>;
pub(crate) type CuModule = Cu<hetgpu_runtime::Module>;
pub(crate) type CuLibrary = Cu<hetgpu_runtime::Library>;
pub(crate) type CuFunction = Cu<hetgpu_runtime::Function>;
pub(crate) type CuKernel = Cu<hetgpu_runtime::Kernel>;
pub(crate) type CuGraph = Cu<hetgpu_runtime::Graph>;
pub(crate) type CuNode = Cu<hetgpu_runtime::Node>;
pub(crate) type CuGraphExec = Cu<hetgpu_runtime::Executable>;
pub(crate) type CuUserObject = Cu<hetgpu_runtime::UserObject>;
pub(crate) type CuArray = Cu<hetgpu_runtime::Array>;
pub(crate) type CuLevels = Cu<hetgpu_runtime::Levels>;
pub(crate) type CuReference = Cu<hetgpu_runtime::Reference>;
pub(crate) type CuLinker = Cu<hetgpu_runtime::Linker>;

pub(crate) type CuMemoryPool = Cu<hetgpu_runtime::Pool>;
pub(crate) type CuPhysical = Cu<hetgpu_runtime::Physical>;

/// A function of the program, called later with the pointer that came with it.
pub(crate) type HostFunction = Option<extern "C" fn(Pointer)>;

/// A function of the program that hears of lines of the log: its data, level, text and length.
pub(crate) type LogFunction = extern "C" fn(Pointer, u32, *const c_char, usize);

/// A slot of a private table.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union Slot {
    pub(crate) number: usize,
    pub(crate) function: *const (),
}

/// A private table of the runtime library.
#[repr(transparent)]
pub(crate) struct Table<const N: usize>(pub(crate) [Slot; N]);

// SAFETY: a table is never written.
unsafe impl<const N: usize> Sync for Table<N> {}

impl<const N: usize> Table<N> {
    /// What entry 0 of most tables is.
    pub(crate) const BYTES: Slot = Slot { number: N * size_of::<Slot>() };

    pub(crate) fn address(&'static self) -> Address {
        Address((&raw const self.0).cast())
    }
}

/// The thread's whole `pthread_self`.
pub(crate) fn who_calls_whole() -> u64 {
    // SAFETY: it has no preconditions.
    unsafe { libc::pthread_self() }
}

/// The process, and the low half of the thread's `pthread_self`.
#[cfg(feature = "integrity")]
pub(crate) fn who_calls() -> (u32, u32) {
    // SAFETY: these two have no preconditions.
    let (process, thread) = unsafe { (libc::getpid(), libc::pthread_self()) };
    (process as u32, thread as u32)
}
