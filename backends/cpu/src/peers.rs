//! Devices of one process reach each other's memory: it lies at the same addresses for all of them.

use crate::sys::memory::Memory;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The memory of each CPU device of this process.
static ALL: Mutex<Vec<Weak<Memory>>> = Mutex::new(Vec::new());

fn all() -> MutexGuard<'static, Vec<Weak<Memory>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn join(memory: &Arc<Memory>) {
    let mut all = all();
    all.retain(|known| known.strong_count() > 0);
    all.push(Arc::downgrade(memory));
}

/// The memory, other than this one, that has something of its own at an address.
pub(crate) fn holder(at: u64, other_than: &Arc<Memory>) -> Option<Arc<Memory>> {
    let known: Vec<Arc<Memory>> = all().iter().filter_map(Weak::upgrade).collect();
    known.into_iter().find(|memory| !Arc::ptr_eq(memory, other_than) && memory.owns(at))
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
        let make = |number| CpuDevice::with_compiler(Options { number, count: 2, ..Options::default() }, None);
        let (one, two) = (make(0), make(1));
        let (at, mut found) = (0x28_0000_0000, [0; 2]);
        one.map(at, 4096, "there").unwrap();
        one.write(at, &[7, 8]).unwrap();
        assert!(two.read(at, &mut found).is_err(), "not before it was let");
        assert!(two.reach(one.caps().uuid, at + 4096).is_err() && one.reach(two.caps().uuid, at).is_err());
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
