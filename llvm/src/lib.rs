//! Machine code from hetIR, by LLVM. The only place that knows LLVM.
//!
//! [`host`] compiles kernels for the processor that this runs on: a warp is vector code.

pub mod abi;
pub mod cache;
pub mod host;
mod lower;
mod sys;
