//! `CUmemLocation`: places where memory lies.

use crate::result::{Code, Failure, Outcome};
use hetgpu_runtime::{Location, Runtime};

/// `CUmemLocation`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Place {
    pub(crate) kind: i32,
    pub(crate) id: i32,
}

pub(crate) const NONE: i32 = 0;
pub(crate) const DEVICE: i32 = 1;
pub(crate) const HOST: i32 = 2;
pub(crate) const HOST_NODE: i32 = 3;
pub(crate) const HOST_NODE_HERE: i32 = 4;
/// `CU_DEVICE_CPU`, where a call names a device.
const CPU: i32 = -1;

pub(crate) fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Code::ERROR_INVALID_VALUE, text)
}

/// The device of that number, or the code that the call answers with where there is none.
pub(crate) fn device(runtime: &Runtime, device: i32, code: Code) -> Outcome<usize> {
    let found = usize::try_from(device).ok().filter(|&index| runtime.device(index).is_ok());
    found.ok_or_else(|| Failure::new(code, format!("no device {device}")))
}

impl Place {
    /// A place by the number of a device, as older calls name it.
    pub(crate) fn of_device(device: i32) -> Self {
        if device == CPU { Self { kind: HOST, id: 0 } } else { Self { kind: DEVICE, id: device } }
    }

    /// The place, with the code for a device that there is not.
    pub(crate) fn location(self, runtime: &Runtime, no_device: Code) -> Outcome<Location> {
        match self.kind {
            NONE => Ok(Location::Anywhere),
            DEVICE => Ok(Location::Device(device(runtime, self.id, no_device)?)),
            HOST => Ok(Location::Host),
            // Nodes are not told apart: there is one.
            HOST_NODE if self.id == 0 => Ok(Location::HostNode(0)),
            HOST_NODE_HERE => Ok(Location::HostNodeHere),
            _ => Err(wrong(format!("no location of type {} and id {}", self.kind, self.id))),
        }
    }
}
