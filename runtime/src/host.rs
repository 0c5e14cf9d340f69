//! Host memory that a program names in a call.

use crate::sys;

/// A range of the program's own memory. Its contents are the program's business until an operation runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostRange {
    pub address: u64,
    pub bytes: u64,
}

impl HostRange {
    pub fn new(address: u64, bytes: u64) -> Self {
        Self { address, bytes }
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes as usize];
        sys::read(self.address, &mut bytes);
        bytes
    }
}
