//! Devices of one process reach each other's memory: it lies at the same addresses for all of them.

use crate::sys::memory::Memory;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A device's identity and its memory.
type Neighbour = ([u8; 16], Weak<Memory>);

/// What every device has in common with those that are made beside it.
#[derive(Clone, Default)]
pub struct Neighbours(Arc<Mutex<Vec<Neighbour>>>);

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Neighbours")
    }
}

impl Neighbours {
    pub(crate) fn join(&self, uuid: [u8; 16], memory: &Arc<Memory>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((uuid, Arc::downgrade(memory)));
    }

    /// The memory of the device of that identity.
    pub(crate) fn find(&self, uuid: [u8; 16]) -> Option<Arc<Memory>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(known, _)| *known == uuid)?.1.upgrade()
    }
}

/// The identity of the device of a number.
pub(crate) fn identity(number: u32) -> [u8; 16] {
    let mut uuid = *b"hetgpu-cpu-00000";
    let mut rest = number;
    for digit in uuid.iter_mut().rev().take(5) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CpuDevice, Options};
    use hetgpu_device::SyncDevice;

    #[test]
    fn memory_of_a_peer_is_reached_until_it_is_taken_back() {
        let neighbours = Neighbours::default();
        let make = |number| {
            let options = Options { number, count: 2, neighbours: neighbours.clone(), ..Options::default() };
            CpuDevice::with_compiler(options, None)
        };
        let (one, two) = (make(0), make(1));
        let (at, mut found) = (0x28_0000_0000, [0; 2]);
        one.map(at, 4096, "there").unwrap();
        one.write(at, &[7, 8]).unwrap();
        assert!(two.read(at, &mut found).is_err(), "not before it was let");
        assert!(two.reach(one.caps().uuid, at + 4096).is_err() && two.reach(two.caps().uuid, at).is_err());
        two.reach(one.caps().uuid, at).unwrap();
        two.read(at, &mut found).unwrap();
        assert_eq!(found, [7, 8]);
        two.fill(at, &[9], 1).unwrap();
        two.unmap(at);
        assert!(two.read(at, &mut found).is_err(), "it was taken back");
        one.read(at, &mut found).unwrap();
        assert_eq!(found, [9, 8], "its own memory stays");
    }

    #[test]
    fn devices_are_told_apart_by_their_numbers() {
        assert_eq!(identity(0), *b"hetgpu-cpu-00000");
        assert_eq!(identity(12_034), *b"hetgpu-cpu-12034");
    }
}
