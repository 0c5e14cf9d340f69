//! The host's processors as a device: kernels are compiled for them, and run on a pool of threads.
//!
//! Global memory is mapped at its logical address, so that compiled code accesses it directly. What a kernel does wrong
//! arrives as a signal of the processor, ends the launch with an error, and harms nothing else.
#![warn(missing_docs)]

mod barrier;
mod compile;
mod device;
mod effect;
mod job;
mod kernels;
mod peers;
mod pool;
mod sched;
mod sregs;
mod sys;
mod trouble;

pub use device::{Check, CpuDevice, Options};

/// The folder where compiled code is kept, where none is named.
pub use hetgpu_llvm::cache::default_folder as default_cache;
pub use hetgpu_llvm::host::Features;
