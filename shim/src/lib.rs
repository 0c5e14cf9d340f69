//! `libcuda.so.1`: the CUDA driver API over the hetGPU runtime.
//!
//! - `entry.rs` is the one table of exported names: symbol, version, flavour of the default stream, and the function that
//!   does the work. Symbols, `cuGetProcAddress` and the names in the log all come from it.
//! - `abi.rs` holds what crosses the C boundary: argument types, and `enter`, which every call passes through.
//! - `calls/` does the work, in safe code, and `result.rs` alone knows which runtime error is which `CUresult`.
//! - `tables.rs` and `integrity.rs` are the private tables that the CUDA runtime library asks for.
//! - `sys.rs` is the memory that our own code has.
//! - the crate in `registry/` alone knows which devices there are.
#![warn(unreachable_pub)]

mod abi;
mod attributes;
mod calls;
mod decode;
mod entry;
#[cfg(feature = "integrity")]
mod integrity;
mod journal;
mod result;
mod state;
mod sys;
mod tables;

pub use hetgpu_registry as registry;

#[global_allocator]
static ALLOCATOR: sys::Allocator = sys::Allocator;
