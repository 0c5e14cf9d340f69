//! What is kept of compiled code: an object file, and what the device must do for it.

use crate::host::Needs;

pub use hetgpu_cache::default_folder;

/// What an entry holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) needs: Needs,
    /// An object file.
    pub(crate) object: Vec<u8>,
}

impl Entry {
    /// The object file, then local bytes and flags.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Needs { barriers, waits, lanes_wait, local_bytes, images, clusters, recursive } = self.needs;
        let flags = [barriers, waits, lanes_wait, recursive, images, clusters];
        let flags = flags.iter().enumerate().fold(0, |byte, (bit, flag)| byte | u8::from(*flag) << bit);
        [&self.object, &local_bytes.to_le_bytes()[..], &[flags]].concat()
    }

    pub(crate) fn decode(mut contents: Vec<u8>) -> Option<Self> {
        let flags = contents.pop().filter(|flags| *flags < 1 << 6)?;
        let (object, local_bytes) = contents.split_last_chunk::<4>()?;
        let (length, local_bytes) = (object.len(), u32::from_le_bytes(*local_bytes));
        contents.truncate(length);
        let flag = |bit: u32| flags & 1 << bit != 0;
        let needs = Needs {
            barriers: flag(0),
            waits: flag(1),
            lanes_wait: flag(2),
            recursive: flag(3),
            images: flag(4),
            clusters: flag(5),
            local_bytes,
        };
        Some(Self { needs, object: contents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_kept() {
        for flags in 0..64u32 {
            let on = |bit: u32| flags & 1 << bit != 0;
            let needs = Needs {
                barriers: on(0),
                waits: on(1),
                lanes_wait: on(2),
                recursive: on(3),
                images: on(4),
                clusters: on(5),
                local_bytes: flags * 1000,
            };
            let entry = Entry { needs, object: vec![1, 2, 3] };
            assert_eq!(Entry::decode(entry.encode()), Some(entry));
        }
    }

    #[test]
    fn what_is_too_short_or_has_unknown_flags_is_none() {
        assert_eq!(Entry::decode(vec![0; 4]), None);
        assert!(Entry::decode(vec![0; 5]).is_some());
        assert_eq!(Entry::decode(vec![0, 0, 0, 0, 1 << 6]), None);
    }
}
