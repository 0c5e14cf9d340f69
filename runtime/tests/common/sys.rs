//! Parameters as programs pass them.

use hetgpu_runtime::ParamPointers;

/// The parameters of the kernel of these tests, which is one word.
pub(crate) fn with_word<R>(word: u64, act: impl FnOnce(ParamPointers) -> R) -> R {
    let pointers = [(&raw const word).cast()];
    // SAFETY: the kernel has one parameter of eight bytes, and both arrays are there until this returns.
    act(unsafe { ParamPointers::new(pointers.as_ptr()) })
}
