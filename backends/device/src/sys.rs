//! Bytes of the host that others may touch at the same time: the only unsafe code of this crate.

mod file;

pub use file::{MEMORY_FILE, MemoryFile};
use std::any::Any;
use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::sync::Arc;

/// What must stay alive while a span is in use.
type Owner = Arc<dyn Any + Send + Sync>;

/// Where the parameters of a launch stand: a pointer to each, as programs pass them.
#[derive(Clone, Copy, Debug)]
pub struct ParamPointers(*const *const c_void);

impl ParamPointers {
    /// # Safety
    /// It points to as many pointers as the kernel that is launched with them has parameters, each to as many readable bytes as that
    /// parameter has, until the launch returns.
    pub unsafe fn new(pointers: *const *const c_void) -> Self {
        Self(pointers)
    }

    /// Copies the parameters to where they lie among so many bytes, each at its offset with its size; they are the kernel's.
    pub fn gather(self, bytes: usize, layout: &[(u32, u32)]) -> Vec<u8> {
        let mut gathered = vec![0; bytes];
        for (index, &(offset, size)) in layout.iter().enumerate() {
            let place = &mut gathered[offset as usize..][..size as usize];
            // SAFETY: by the contract of `new` there are so many pointers, each to so many bytes.
            unsafe {
                ptr::copy_nonoverlapping(self.0.add(index).read_unaligned().cast(), place.as_mut_ptr(), place.len())
            };
        }
        gathered
    }

    /// As a driver takes it.
    pub fn as_ptr(self) -> *const *const c_void {
        self.0
    }
}

/// Host memory that a device may reach. Whoever uses it keeps the span, or a clone of it, as long as that lasts.
#[derive(Clone)]
pub struct HostSpan {
    start: *mut u8,
    bytes: usize,
    owner: Option<Owner>,
}

// SAFETY: it names a range of plain memory that any thread may access; whoever made it answers for that.
unsafe impl Send for HostSpan {}
// SAFETY: as above.
unsafe impl Sync for HostSpan {}

impl HostSpan {
    /// # Safety
    /// The memory stays readable and writable, for any thread, until every device that was given the span has unmapped
    /// it and all work that names it has ended. A span that is only copied from need not be writable. Others may access
    /// it at the same time, so that it must only be touched atomically or by raw pointer.
    pub unsafe fn new(start: *mut u8, bytes: usize) -> Self {
        Self { start, bytes, owner: None }
    }

    /// Where it begins; the address that a device uses for it too.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, which keeps something else alive too.
    #[must_use]
    pub fn keeping(self, other: impl Any + Send + Sync) -> Self {
        let owner: Owner = Arc::new((self.owner, other));
        Self { owner: Some(owner), ..self }
    }

    /// A part of it, if it has that part.
    pub fn part(&self, offset: usize, bytes: usize) -> Option<Self> {
        let fits = offset <= self.bytes && self.bytes - offset >= bytes;
        fits.then(|| Self { start: self.start.wrapping_add(offset), bytes, owner: self.owner.clone() })
    }

    /// Copies bytes out of it; false where it has not so many there.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        let Some(from) = self.part(offset, out.len()) else { return false };
        // SAFETY: `part` found the range inside the span, which is readable by the contract of `new`; `out` is a unique
        // borrow of other memory, or of the program's own copy of the same, for which `copy` allows an overlap.
        unsafe { ptr::copy(from.start, out.as_mut_ptr(), out.len()) };
        true
    }

    /// Copies bytes into it; false where it has not so much room there.
    pub fn write(&self, offset: usize, data: &[u8]) -> bool {
        let Some(to) = self.part(offset, data.len()) else { return false };
        // SAFETY: as in `read`; the range is writable by the same contract.
        unsafe { ptr::copy(data.as_ptr(), to.start, data.len()) };
        true
    }

    /// Copies bytes of another span into it, which may overlap; false where one of them has not so many there.
    pub fn copy(&self, offset: usize, from: &Self, from_offset: usize, bytes: usize) -> bool {
        let (Some(to), Some(from)) = (self.part(offset, bytes), from.part(from_offset, bytes)) else { return false };
        // SAFETY: `part` found both ranges inside their spans, which may be accessed by the contract of `new`.
        unsafe { ptr::copy(from.start, to.start, bytes) };
        true
    }
}

impl HostSpan {
    /// Whether all of it is zeros.
    pub fn is_zero(&self) -> bool {
        const BLOCK: usize = 4096;
        let mut block = [0; BLOCK];
        let mut offset = 0;
        while offset < self.bytes {
            let some = &mut block[..BLOCK.min(self.bytes - offset)];
            // Others may write meanwhile, so that it is looked at in a copy, which stays in the cache.
            if !self.read(offset, some) || some.iter().fold(0, |all, &byte| all | byte) != 0 {
                return false;
            }
            offset += BLOCK;
        }
        true
    }
}

impl fmt::Debug for HostSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostSpan({:#x}, {} bytes)", self.start.addr(), self.bytes)
    }
}

/// Host memory that lives as long as one of its spans.
#[derive(Clone, Debug)]
pub struct HostBuffer(HostSpan);

/// A page of the host, as `Vec` aligns it.
#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

impl HostBuffer {
    /// So many zeroed bytes, aligned to 4096; none where the host has no room.
    pub fn new(bytes: usize) -> Option<Self> {
        let pages = bytes.div_ceil(size_of::<Page>()).max(1);
        let mut memory: Vec<Page> = Vec::new();
        memory.try_reserve_exact(pages).ok()?;
        memory.resize(pages, Page([0; 4096]));
        let start = memory.as_mut_ptr().cast();
        // The vector is never touched again, so that the pointer stays the only way to its bytes.
        Some(Self(HostSpan { start, bytes, owner: Some(Arc::new(memory)) }))
    }

    /// The same, in the system's large pages where it has such: they are had, and made known to devices, in a fraction of the time.
    pub(crate) fn in_large_pages(bytes: usize) -> Option<Self> {
        let pages = bytes.div_ceil(size_of::<Page>()).max(1);
        let mut memory: Vec<Page> = Vec::new();
        memory.try_reserve_exact(pages).ok()?;
        // SAFETY: the range is the vector's own, from page to page, and nobody has touched it; advice changes no contents.
        unsafe { libc::madvise(memory.as_mut_ptr().cast(), pages * size_of::<Page>(), libc::MADV_HUGEPAGE) };
        memory.resize(pages, Page([0; 4096]));
        let start = memory.as_mut_ptr().cast();
        Some(Self(HostSpan { start, bytes, owner: Some(Arc::new(memory)) }))
    }

    /// All of it.
    pub fn span(&self) -> HostSpan {
        self.0.clone()
    }

    /// A part of it, which shares its bytes, if it has that part.
    pub fn part(&self, offset: usize, bytes: usize) -> Option<Self> {
        self.0.part(offset, bytes).map(Self)
    }

    /// The address that a device uses for it.
    pub fn address(&self) -> u64 {
        self.0.start.expose_provenance() as u64
    }

    /// Its contents. No work that writes to it may be running.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.0.bytes];
        self.0.read(0, &mut out);
        out
    }

    /// Copies bytes into it; false where it has not so much room there.
    pub fn write(&self, offset: usize, data: &[u8]) -> bool {
        self.0.write(offset, data)
    }
}

/// With these contents, where they lie.
impl From<Vec<u8>> for HostBuffer {
    fn from(mut data: Vec<u8>) -> Self {
        let (start, bytes) = (data.as_mut_ptr(), data.len());
        Self(HostSpan { start, bytes, owner: Some(Arc::new(data)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_keeps_its_buffer_and_its_bounds() {
        let span = HostBuffer::from(vec![1, 2, 3, 4, 5]).span();
        let mut out = [0; 3];
        assert!(span.read(2, &mut out) && out == [3, 4, 5]);
        assert!(!span.read(3, &mut out) && !span.read(usize::MAX, &mut out));
        assert!(span.part(1, 2).unwrap().write(0, &[8, 9]) && !span.part(1, 2).unwrap().write(1, &[0, 0]));
        assert!(span.copy(0, &span, 1, 4) && !span.copy(2, &span, 0, 4));
        let mut all = [0; 5];
        assert!(span.read(0, &mut all) && all == [8, 9, 4, 5, 5]);
    }

    #[test]
    fn an_empty_buffer_has_an_address() {
        let empty = HostBuffer::new(0).unwrap();
        assert!(empty.address() != 0 && empty.address().is_multiple_of(4096) && empty.to_vec().is_empty());
        assert!(HostBuffer::new(usize::MAX / 2).is_none());
    }
}
