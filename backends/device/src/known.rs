//! Launches of a kernel that a queue knows already.

use crate::{DeviceError, ParamPointers};

/// Launches of one kernel in one queue, of the whole grid and to their ends, with nothing that has to be looked up for them. They are in
/// the queue's order like all other work; whoever launches so tells nobody of it, and sees to it that nobody is surprised.
pub trait KnownLaunch: Send + Sync {
    /// Appends a launch, which was checked as others are.
    fn launch(
        &self,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        params: ParamPointers,
    ) -> Result<(), DeviceError>;
}
