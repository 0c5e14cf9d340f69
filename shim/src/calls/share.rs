//! Memory of other processes, by handles of 64 bytes.

use super::location::wrong;
use crate::abi::{Call, Out, Pointer};
use crate::result::Outcome;
use hetgpu_runtime::Ticket;

/// `CUipcMemHandle` and `CUmemPoolPtrExportData`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Shared([u8; 64]);

const MARK: u32 = u32::from_le_bytes(*b"hetM");

impl Shared {
    pub(crate) fn new(ticket: &Ticket) -> Self {
        let Ticket { process, file, inode, offset, bytes, pool, total, identity } = *ticket;
        let whose = u64::from(MARK) | u64::from(process) << 32;
        let words = [whose, file as u32 as u64, inode, offset, bytes, pool, total, identity];
        let mut shared = Self([0; 64]);
        for (place, word) in shared.0.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        shared
    }

    pub(crate) fn ticket(&self) -> Outcome<Ticket> {
        let (words, _) = self.0.as_chunks::<8>();
        let word = |index: usize| words.get(index).map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        if word(0) as u32 != MARK {
            return Err(wrong("not a handle of memory"));
        }
        Ok(Ticket {
            process: (word(0) >> 32) as u32,
            file: word(1) as i32,
            inode: word(2),
            offset: word(3),
            bytes: word(4),
            pool: word(5),
            total: word(6),
            identity: word(7),
        })
    }
}

pub(crate) fn get(call: &Call, handle: Out<Shared>, pointer: Pointer) -> Outcome {
    let runtime = call.runtime()?;
    if handle.is_null() {
        return Err(wrong("null for a handle"));
    }
    handle.set(Shared::new(&runtime.share_memory(pointer.0)?))
}

pub(crate) fn open(call: &Call, pointer: Out<Pointer>, handle: Shared, flags: u32) -> Outcome {
    const LAZY_ENABLE_PEER_ACCESS: u32 = 1;
    let runtime = call.runtime()?;
    if flags & LAZY_ENABLE_PEER_ACCESS == 0 || pointer.is_null() {
        return Err(wrong(format!("flags {flags}")));
    }
    pointer.set(Pointer(runtime.open_memory(&handle.ticket()?)?))
}

pub(crate) fn close(call: &Call, pointer: Pointer) -> Outcome {
    Ok(call.runtime()?.close_memory(pointer.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_comes_back_and_other_bytes_are_no_handle() {
        let (process, file, inode, offset) = (7, 3, 1 << 40, 512);
        let ticket = Ticket { process, file, inode, offset, bytes: 1000, pool: 9, total: 1 << 21, identity: 5 };
        assert_eq!(Shared::new(&ticket).ticket().unwrap(), ticket);
        assert!(Shared([0; 64]).ticket().is_err() && Shared([b'a'; 64]).ticket().is_err());
    }
}
