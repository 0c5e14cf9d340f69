//! Memory for compiled code, and what LLVM asks of the process.

use crate::abi::Entry;
use inkwell::context::{AsContextRef, Context};
use inkwell::llvm_sys::LLVMDiagnosticSeverity;
use inkwell::llvm_sys::core::{
    LLVMContextSetDiagnosticHandler, LLVMDisposeMessage, LLVMGetDiagInfoDescription, LLVMGetDiagInfoSeverity,
};
use inkwell::llvm_sys::prelude::LLVMDiagnosticInfoRef;
use inkwell::llvm_sys::support::LLVMParseCommandLineOptions;
use std::ffi::{CStr, c_void};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Mutex;

/// Sets options of LLVM that have no place in its interface. The process's other LLVMs, if any, have options of their own.
pub(super) fn set_options(options: &[&CStr]) {
    let all: Vec<_> = std::iter::once(c"hetgpu").chain(options.iter().copied()).map(CStr::as_ptr).collect();
    // SAFETY: the strings end with zero bytes and outlive the call; the count is that of the list. Our LLVM is linked
    // statically, so that nobody else reads these options while they change.
    unsafe { LLVMParseCommandLineOptions(all.len() as i32, all.as_ptr(), std::ptr::null()) };
}

/// Bytes of a page.
pub(super) fn page() -> usize {
    // SAFETY: it has no conditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// What may be done with pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protection {
    Read,
    ReadWrite,
    Execute,
}

/// Pages of their own, given back when dropped. Never writable and executable at once.
#[derive(Debug)]
pub(super) struct Memory {
    base: NonNull<u8>,
    length: usize,
    sealed: bool,
}

// SAFETY: the pages belong to this value alone and nothing in it depends on the thread.
unsafe impl Send for Memory {}
// SAFETY: shared references give only the address.
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeroed pages that can be written.
    pub(super) fn new(length: usize) -> io::Result<Self> {
        let length = length.max(1).checked_next_multiple_of(page()).ok_or(io::ErrorKind::OutOfMemory)?;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: no address is asked for, so nothing that is mapped changes.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, length, sealed: false })
    }

    /// Where it is.
    pub(super) fn addresses(&self) -> Range<usize> {
        let base = self.base.as_ptr() as usize;
        base..base + self.length
    }

    /// The bytes, until they are sealed.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        let length = if self.sealed { 0 } else { self.length };
        // SAFETY: the pages are mapped, initialised by the system, writable until sealed, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), length) }
    }

    /// Gives parts, which begin at pages, their protection; all the rest stays readable. Nothing can be written by
    /// [`Memory::bytes`] afterwards.
    pub(super) fn seal(&mut self, parts: &[(Range<usize>, Protection)]) -> io::Result<()> {
        self.sealed = true;
        self.protect(0..self.length, Protection::Read)?;
        for (part, protection) in parts.iter().filter(|(part, _)| !part.is_empty()) {
            self.protect(part.clone(), *protection)?;
            if *protection == Protection::Execute {
                self.synchronise(part.clone());
            }
        }
        Ok(())
    }

    fn protect(&self, part: Range<usize>, protection: Protection) -> io::Result<()> {
        if !part.start.is_multiple_of(page()) || part.start > part.end || part.end > self.length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bits = match protection {
            Protection::Read => libc::PROT_READ,
            Protection::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
            Protection::Execute => libc::PROT_READ | libc::PROT_EXEC,
        };
        // SAFETY: the part lies in pages of this value, of which no slice is held: `self` is borrowed.
        let result = unsafe { libc::mprotect(self.base.as_ptr().add(part.start).cast(), part.len(), bits) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// x86-64 keeps instruction caches coherent by itself.
    #[cfg(not(target_arch = "aarch64"))]
    fn synchronise(&self, _part: Range<usize>) {}

    /// Makes instructions that were written as data visible to instruction fetch.
    #[cfg(target_arch = "aarch64")]
    fn synchronise(&self, part: Range<usize>) {
        use std::arch::asm;
        let base = self.base.as_ptr() as usize;
        let types: u64;
        // SAFETY: reading the cache type register has no effect.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) types, options(nomem, nostack)) };
        let lines = |shift: u32| {
            let line = 4usize << (types >> shift & 15);
            (base + part.start & !(line - 1)..base + part.end).step_by(line)
        };
        for line in lines(16) {
            // SAFETY: cleaning a cache line of mapped memory changes no contents.
            unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("dsb ish", options(nostack)) };
        for line in lines(0) {
            // SAFETY: dropping an instruction cache line changes no contents.
            unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack)) };
        }
        // SAFETY: barriers.
        unsafe { asm!("dsb ish", "isb", options(nostack)) };
    }

    /// The code at this place as a function. Calling it is unsafe; this is not.
    pub(super) fn entry(&self, place: usize) -> Option<Entry> {
        if place >= self.length {
            return None;
        }
        let address = self.base.as_ptr().wrapping_add(place);
        // SAFETY: the address is not null, and a function pointer has the size of an address. Whoever calls it answers
        // for what is there and for its life.
        Some(unsafe { std::mem::transmute::<*mut u8, Entry>(address) })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the pages belong to this value, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// Errors that LLVM reports while it works with a context. Without a handler it would print them and end the process.
#[derive(Debug)]
pub(super) struct Reports<'a> {
    context: &'a Context,
    errors: Box<Mutex<Vec<String>>>,
}

impl<'a> Reports<'a> {
    /// Begins to collect.
    pub(super) fn of(context: &'a Context) -> Self {
        let errors = Box::new(Mutex::new(Vec::new()));
        let place = (&raw const *errors).cast_mut().cast();
        // SAFETY: the context is alive, and the list outlives the handler, which `drop` takes out.
        unsafe { LLVMContextSetDiagnosticHandler(context.as_ctx_ref(), Some(report), place) };
        Self { context, errors }
    }

    /// What was reported so far.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Drop for Reports<'_> {
    fn drop(&mut self) {
        // SAFETY: the context is alive, being borrowed.
        unsafe { LLVMContextSetDiagnosticHandler(self.context.as_ctx_ref(), None, std::ptr::null_mut()) };
    }
}

extern "C" fn report(info: LLVMDiagnosticInfoRef, place: *mut c_void) {
    // SAFETY: LLVM hands over a live diagnostic.
    if unsafe { LLVMGetDiagInfoSeverity(info) } != LLVMDiagnosticSeverity::LLVMDSError {
        return;
    }
    // SAFETY: as above; the text is ours until it is disposed.
    let text = unsafe { LLVMGetDiagInfoDescription(info) };
    // SAFETY: it is a C string.
    let message = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: it was made by LLVM and is not used any more.
    unsafe { LLVMDisposeMessage(text) };
    // SAFETY: `Reports::of` gave this place, and keeps it while the handler is set.
    let errors = unsafe { &*place.cast::<Mutex<Vec<String>>>() };
    errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(message);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::abi::Warp;

    /// Runs code that reads only a warp's parameters.
    pub(in crate::host) fn call(entry: Entry, params: *const u8) {
        // SAFETY: a warp is numbers and addresses, for which zero stands.
        let mut warp: Warp = unsafe { std::mem::zeroed() };
        warp.params = params;
        // SAFETY: the caller answers for the code, which a test has made, and for the parameters that it reads.
        unsafe { entry(&raw mut warp) };
    }

    #[test]
    fn memory_is_written_then_sealed() {
        let mut memory = Memory::new(page() + 1).unwrap();
        assert_eq!(memory.bytes().len(), 2 * page());
        memory.bytes().fill(7);
        let second = page()..2 * page();
        assert!(memory.seal(&[(1..5, Protection::Execute)]).is_err());
        memory.seal(&[(second, Protection::ReadWrite)]).unwrap();
        assert!(memory.bytes().is_empty());
        assert!(memory.entry(2 * page()).is_none());
    }
}
