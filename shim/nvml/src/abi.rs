//! What crosses the C boundary. The argument types only come into being as arguments of the functions in `entry.rs`, so
//! that the rules of the interface (out parameters are writable, texts are NUL-terminated, buffers are as long as the
//! length beside them) are what makes the accesses here sound. Null is checked.

use crate::result::{Code, Outcome};
use hetgpu_runtime::log::{self, Level};
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a call: nothing that goes wrong inside gets out as anything but a code.
pub(crate) fn enter(name: &'static str, serve: impl FnOnce() -> Outcome) -> Code {
    match catch_unwind(AssertUnwindSafe(serve)) {
        Ok(Ok(())) => Code::SUCCESS,
        Ok(Err(code)) => {
            log::write(Level::Info, format_args!("{name} -> {code:?}"));
            code
        }
        Err(_) => {
            log::error(format_args!("{name}: internal error"));
            Code::UNKNOWN
        }
    }
}

/// An entry point that is not served. Tools ask for dozens of them in passing, so that this is no warning.
pub(crate) fn not_supported(name: &'static str) -> Code {
    if log::first(name) {
        log::info(format_args!("{name} is not supported"));
    }
    Code::NOT_SUPPORTED
}

/// A text that is handed out and lives as long as the process.
#[repr(transparent)]
pub(crate) struct TextOut(*const c_char);

impl From<&'static CStr> for TextOut {
    fn from(text: &'static CStr) -> Self {
        Self(text.as_ptr())
    }
}

/// An out parameter, or a buffer.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Out<T> {}

impl<T: Copy> Out<T> {
    /// The same memory as something else.
    pub(crate) fn cast<U>(self) -> Out<U> {
        Out(self.0.cast())
    }

    pub(crate) fn set(self, value: T) -> Outcome {
        self.set_at(0, value)
    }

    pub(crate) fn set_at(self, index: usize, value: T) -> Outcome {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: a non-null out parameter is writable by the interface's rules; callers pass indices below the length that
        // came with the buffer.
        unsafe { self.0.add(index).write_unaligned(value) };
        Ok(())
    }

    /// What stands there, where the interface says that the caller put something there.
    pub(crate) fn get(self) -> Outcome<T> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: a parameter that goes both ways is readable by the interface's rules, and holds plain numbers.
        Ok(unsafe { self.0.read_unaligned() })
    }
}

impl Out<c_char> {
    /// Writes a text and a NUL, where there is room for both.
    pub(crate) fn set_text(self, text: &str, room: u32) -> Outcome {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        match text.len() < room as usize {
            true => self.set_bytes(text.as_bytes(), room),
            false => Err(Code::INSUFFICIENT_SIZE),
        }
    }

    /// Writes as many bytes as fit, and a NUL.
    pub(crate) fn set_bytes(self, bytes: &[u8], room: u32) -> Outcome {
        let most = (room as usize).checked_sub(1).ok_or(Code::INVALID_ARGUMENT)?;
        let bytes = bytes.iter().copied().take(most).chain([0]);
        bytes.enumerate().try_for_each(|(index, byte)| self.set_at(index, byte as c_char))
    }
}

/// A NUL-terminated text.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Text(*const c_char);

impl Text {
    pub(crate) fn get(self) -> Outcome<String> {
        if self.0.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        // SAFETY: a non-null text is NUL-terminated by the interface's rules.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_string_lossy().into_owned())
    }
}
