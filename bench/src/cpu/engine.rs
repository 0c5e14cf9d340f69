//! What executes kernels: the driver API of ours, or a peer's OpenCL.

use super::case::Case;

pub(crate) trait Engine {
    fn device(&self) -> String;

    /// Compiles a source with build options and puts the case's data where its launches find it.
    fn prepare<'a>(&'a self, source: &str, options: &str, case: &Case) -> Result<Box<dyn Prepared + 'a>, String>;
}

/// A kernel with its data, ready to be launched any number of times.
pub(crate) trait Prepared {
    /// Sets the buffers again that a launch changes and reads.
    fn reset(&mut self, case: &Case) -> Result<(), String>;

    /// Launches every step.
    fn enqueue(&mut self) -> Result<(), String>;

    /// Waits for the end of what was launched.
    fn finish(&mut self) -> Result<(), String>;

    fn read(&mut self, index: usize) -> Result<Vec<u8>, String>;
}
