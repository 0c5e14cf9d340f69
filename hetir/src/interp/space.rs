//! Where the interpreter keeps the state spaces in the generic address space. Everything outside the windows is global
//! memory (constants included).

/// Generic address of a block's shared memory; a cluster's blocks follow each other by [`SHARED_STRIDE`].
pub const SHARED_WINDOW: u64 = 0x1_0000_0000;
/// Distance between the shared memories of two blocks of a cluster. An address in `shared` or `cluster` space is an
/// offset into the window, so that it carries its block's rank.
pub const SHARED_STRIDE: u64 = 1 << 24;
/// Generic address of a thread's stack.
pub const LOCAL_WINDOW: u64 = 0x2_0000_0000;
/// Generic address of a kernel's parameters.
pub const PARAM_WINDOW: u64 = 0x3_0000_0000;
/// Address of function 0; functions follow each other by [`FUNCTION_STRIDE`].
pub const FUNCTION_WINDOW: u64 = 0x4_0000_0000;
/// Distance between two functions.
pub const FUNCTION_STRIDE: u64 = 16;
/// Length of each window.
pub const WINDOW_SIZE: u64 = 1 << 32;

/// The window that a generic address lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// No window: global memory.
    Global,
    /// Shared memory of the cluster's blocks.
    Shared,
    /// The thread's stack.
    Local,
    /// The kernel's parameters.
    Param,
    /// Functions; not readable.
    Function,
}

/// The window of a generic address, and the offset in it.
#[inline]
pub const fn window(address: u64) -> (Window, u64) {
    match address >> 32 {
        1 => (Window::Shared, address & 0xffff_ffff),
        2 => (Window::Local, address & 0xffff_ffff),
        3 => (Window::Param, address & 0xffff_ffff),
        4 => (Window::Function, address & 0xffff_ffff),
        _ => (Window::Global, address),
    }
}

/// The address of a function, as `func_addr` gives it and relocations store it.
pub const fn function_address(index: usize) -> u64 {
    FUNCTION_WINDOW + index as u64 * FUNCTION_STRIDE
}

/// The function at an address.
pub const fn function_at(address: u64) -> Option<usize> {
    match window(address) {
        (Window::Function, offset) if offset % FUNCTION_STRIDE == 0 => Some((offset / FUNCTION_STRIDE) as usize),
        _ => None,
    }
}
