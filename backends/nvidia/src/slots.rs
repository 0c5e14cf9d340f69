//! Small pieces of memory that launches borrow.

use crate::driver::{Context, Pinned, Scratch, Stream};
use hetgpu_device::{DeviceError, ErrorKind, HostBuffer, HostSpan};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Words of host memory that the device copies to without a detour.
#[derive(Clone)]
pub(crate) struct Slots(Arc<Page>);

struct Page {
    free: Mutex<Vec<HostBuffer>>,
    /// Without it copies take longer, and no more.
    _pinned: Option<Pinned>,
}

/// A word.
pub(crate) struct Slot {
    word: HostBuffer,
    of: Slots,
}

/// Bytes of all words together.
const PAGE_BYTES: usize = 4096;
const WORD: usize = 4;

impl Slots {
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        let none = || DeviceError::new(ErrorKind::OutOfMemory, "no host memory for the device's answers");
        let page = HostBuffer::new(PAGE_BYTES).ok_or_else(none)?;
        let words = (0..PAGE_BYTES / WORD).filter_map(|n| page.part(n * WORD, WORD));
        Ok(Self(Arc::new(Page { free: Mutex::new(words.collect()), _pinned: context.pin(&page.span()).ok() })))
    }

    pub(crate) fn take(&self) -> Result<Slot, DeviceError> {
        let none = || DeviceError::new(ErrorKind::OutOfMemory, "too many launches at once");
        let word = lock(&self.0.free).pop().ok_or_else(none)?;
        Ok(Slot { word, of: self.clone() })
    }
}

impl Slot {
    pub(crate) fn span(&self) -> HostSpan {
        self.word.span()
    }

    pub(crate) fn value(&self) -> u32 {
        let mut bytes = [0; WORD];
        self.word.span().read(0, &mut bytes);
        u32::from_le_bytes(bytes)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.of.0.free).push(self.word.clone());
    }
}

/// Arrays in which blocks say that they have begun.
#[derive(Clone, Default)]
pub(crate) struct Arrays(Arc<Mutex<Vec<Scratch>>>);

/// An array; it goes back when it is dropped.
pub(crate) struct Begun {
    memory: Option<Scratch>,
    of: Arrays,
}

impl Arrays {
    /// An array for so many blocks, which holds numbers of earlier launches at most.
    pub(crate) fn take(&self, blocks: u64, context: &Arc<Context>, stream: &Stream) -> Result<Begun, DeviceError> {
        let bytes = (blocks * 4).next_power_of_two().max(4096);
        let known = {
            let mut known = lock(&self.0);
            let place = known.iter().position(|memory| memory.bytes == bytes);
            place.map(|place| known.swap_remove(place))
        };
        let memory = match known {
            Some(memory) => memory,
            None => {
                let memory = context.scratch(bytes)?;
                stream.fill(memory.at, &[0; 4], bytes / 4)?;
                memory
            }
        };
        Ok(Begun { memory: Some(memory), of: self.clone() })
    }
}

impl Begun {
    pub(crate) fn at(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.at)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        lock(&self.of.0).extend(self.memory.take());
    }
}
