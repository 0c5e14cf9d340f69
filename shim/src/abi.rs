//! What crosses the C boundary: argument types, and the one door through which every call comes in.
//!
//! The argument types stand for pointers that a C program passed. They can only come into being as arguments of the
//! functions in `entry.rs`, `tables.rs` and as fields of structures read through them, so that the rules of the API (out
//! parameters are writable, strings are NUL-terminated, arrays are as long as the count beside them) are what makes the
//! dereferences here sound. Null is checked.

use crate::result::{Code, Failure, Outcome};
use crate::state;
use hetgpu_runtime::log::{self, Level};
use hetgpu_runtime::{Handle, Kind, Runtime, StreamRef};
use std::ffi::{CStr, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
    pub(crate) fn runtime(&self) -> Outcome<&'static Runtime> {
        state::runtime()
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
    arguments: &dyn Fn() -> String,
    serve: impl FnOnce(&Call) -> Outcome,
) -> Code {
    if log::enabled(Level::Trace) {
        log::write(Level::Trace, format_args!("{name}({})", arguments()));
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| serve(&Call { name, flavour })));
    match outcome {
        Ok(Ok(())) => Code::SUCCESS,
        Ok(Err(Failure { code, text })) => {
            let level = if code == Code::ERROR_NOT_READY { Level::Trace } else { Level::Info };
            log::write(level, format_args!("{name} -> {code:?}{}{text}", if text.is_empty() { "" } else { ": " }));
            code
        }
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
            log::error(format_args!("{name}: internal error: {text}"));
            Code::ERROR_UNKNOWN
        }
    }
}

/// An entry point that does nothing yet but say so, once.
pub(crate) fn not_supported(name: &'static str) -> Code {
    if log::first(name) {
        log::warn(format_args!("{name} is not supported"));
    }
    Code::ERROR_NOT_SUPPORTED
}

/// An entry point's address, for tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) *const ());

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

    /// Element `index` of an array of out parameters.
    pub(crate) fn at(self, index: usize) -> Self {
        Self(if self.0.is_null() { self.0 } else { self.0.wrapping_add(index) })
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
        match self.get() {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => f.write_str("null"),
        }
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
pub(crate) type CuStream = Cu<hetgpu_runtime::Stream>;
pub(crate) type CuEvent = Cu<hetgpu_runtime::Event>;
pub(crate) type CuModule = Cu<hetgpu_runtime::Module>;
pub(crate) type CuLibrary = Cu<hetgpu_runtime::Library>;
pub(crate) type CuFunction = Cu<hetgpu_runtime::Function>;
pub(crate) type CuKernel = Cu<hetgpu_runtime::Kernel>;

/// A function of the program, called later with the pointer that came with it.
pub(crate) type HostFunction = Option<extern "C" fn(Pointer)>;

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

/// The process, and the low half of the thread's `pthread_self`.
pub(crate) fn who_calls() -> (u32, u32) {
    // SAFETY: these two have no preconditions.
    let (process, thread) = unsafe { (libc::getpid(), libc::pthread_self()) };
    (process as u32, thread as u32)
}
