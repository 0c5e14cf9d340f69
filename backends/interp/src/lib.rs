//! The hetIR interpreter as a device: slow, exact, and it says what went wrong.
//!
//! Device memory is exactly as large as what was asked for, so that an access one byte past the end of an allocation is
//! found where a GPU, which maps whole pages, would let it pass.
#![warn(missing_docs)]

mod device;
mod physical;
mod sys;
mod turns;

pub use device::{InterpDevice, Options};
