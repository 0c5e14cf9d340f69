//! Memory of our own, beside that of the program.
//!
//! What is large comes from the system and goes back to it at once. The C library's allocator would keep it for later, and whoever saves
//! the process saves all that is kept, while the job stands still: after a snapshot many megabytes that nobody uses.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// From so many bytes on. The C library does the same from an eighth of it on, until the first of these is freed.
const LARGE: usize = 1 << 20;
const PAGE: usize = 4096;

pub(crate) struct Allocator;

fn is_large(bytes: usize, align: usize) -> bool {
    bytes >= LARGE && align <= PAGE
}

// SAFETY: which of the two a block comes from depends on its layout alone, and it goes back there; both keep to the contract: a mapping
// of its own begins at a page, is as long as was asked for, is nobody else's, and is zeros.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout.size(), layout.align()) {
            // SAFETY: passed on as it is.
            return unsafe { System.alloc(layout) };
        }
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: it can only add a mapping where there is none.
        let got = unsafe { libc::mmap(ptr::null_mut(), layout.size(), access, flags, -1, 0) };
        if got == libc::MAP_FAILED { ptr::null_mut() } else { got.cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_large(layout.size(), layout.align()) {
            // SAFETY: passed on as it is; fresh mappings are zeros.
            true => unsafe { self.alloc(layout) },
            // SAFETY: passed on as it is.
            false => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match is_large(layout.size(), layout.align()) {
            // SAFETY: `alloc` made the mapping for this block, of the same size.
            true => drop(unsafe { libc::munmap(block.cast(), layout.size()) }),
            // SAFETY: it came from there.
            false => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        match (is_large(layout.size(), layout.align()), is_large(bytes, layout.align())) {
            (true, true) => {
                // SAFETY: as in `dealloc`; the block may lie elsewhere afterwards, as the caller expects.
                let got = unsafe { libc::mremap(block.cast(), layout.size(), bytes, libc::MREMAP_MAYMOVE) };
                if got == libc::MAP_FAILED { ptr::null_mut() } else { got.cast() }
            }
            // SAFETY: both come from there.
            (false, false) => unsafe { System.realloc(block, layout, bytes) },
            _ => {
                // SAFETY: the size is that of a layout with the same alignment, by the contract of this function.
                let wanted = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
                // SAFETY: nobody asks for a size of 0.
                let got = unsafe { self.alloc(wanted) };
                if !got.is_null() {
                    // SAFETY: both have as many bytes, and do not overlap.
                    unsafe { ptr::copy_nonoverlapping(block, got, layout.size().min(bytes)) };
                    // SAFETY: the caller uses the other one from now on.
                    unsafe { self.dealloc(block, layout) };
                }
                got
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_what_they_hold_as_they_grow_and_shrink_and_are_gone_when_they_are_freed() {
        let align = 64;
        let layout = |bytes| Layout::from_size_align(bytes, align).unwrap();
        let sizes = [100, LARGE - 1, LARGE, 5 * LARGE + 17, LARGE + 1, 3000, 2 * LARGE, 8];
        let mut bytes = 16;
        // SAFETY: each block is used within its size, with the layout that it has by then.
        unsafe {
            let mut block = Allocator.alloc_zeroed(layout(bytes));
            for size in sizes {
                (0..bytes).for_each(|at| block.add(at).write(at as u8));
                block = Allocator.realloc(block, layout(bytes), size);
                assert!(!block.is_null() && block.addr().is_multiple_of(align));
                assert!((0..bytes.min(size)).all(|at| block.add(at).read() == at as u8), "{bytes} to {size}");
                bytes = size;
            }
            Allocator.dealloc(block, layout(bytes));
            let large = Allocator.alloc_zeroed(layout(3 * LARGE));
            assert!((0..3 * LARGE).all(|at| large.add(at).read() == 0));
            Allocator.dealloc(large, layout(3 * LARGE));
            // Nothing is there any more.
            let mut there = 0;
            assert_eq!(libc::mincore(large.cast(), PAGE, &mut there), -1);
        }
        let refused = Layout::from_size_align(isize::MAX as usize - PAGE, 1).unwrap();
        // SAFETY: the size is not 0.
        assert!(unsafe { Allocator.alloc(refused) }.is_null());
    }
}
