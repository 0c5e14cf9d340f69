//! NVIDIA's hardware as a device, by way of NVIDIA's own driver.
//!
//! - [`ptx`] prints kernels of hetIR as PTX, which the driver compiles.
#![warn(missing_docs)]

pub mod ptx;
