//! NVIDIA's hardware as a device, by way of NVIDIA's own driver.
//!
//! - [`NvidiaDevice`] is a card; its driver is found by an absolute path, since the name is ours too (`find`).
//! - [`ptx`] prints kernels of hetIR as PTX, which the driver compiles (`kernels`); texts are kept from run to run (`kept`).
//! - `driver` has owning handles over the driver's functions (`sys`); `memory`, `queue` and `device` are safe code.
#![warn(missing_docs)]

mod assembly;
mod caps;
mod device;
mod digest;
mod driver;
mod find;
mod kept;
mod kernels;
mod memory;
pub mod ptx;
mod queue;
mod slots;
mod staging;
mod sys;

pub use device::{NvidiaDevice, Options};
pub use digest::digest_kernel;
pub use kept::Kept;

/// Whether a driver's file is where it would be looked for. Nothing is loaded.
pub fn is_installed(library: Option<&std::path::Path>) -> bool {
    find::library(library).is_ok()
}
