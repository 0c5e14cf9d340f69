//! Which contents lie where: memory cut into chunks, and chunks named by what is in them.

use crate::Digest;
use crate::codec::wire;
use crate::wire::Address;

/// Bytes of a chunk. Chunks begin at multiples of it, whatever they are a part of, so that they are the same ones in every
/// snapshot of a job; the first and the last of a range may be shorter.
///
/// Larger ones would be hashed no faster, smaller ones need longer tables: 32 bytes are named by 64 KiB.
pub const CHUNK: u64 = 64 << 10;
/// What a changed chunk is compared by.
pub(crate) const PAGE: usize = 4096;
/// Snapshots that a chain may have.
pub const DEPTH: u32 = 16;

wire! {
    /// The snapshot that another is built on.
    pub(crate) struct BaseLink {
        /// Its identity.
        pub identity: Digest,
        /// The name that it had, in the same folder.
        pub name: String,
        /// How many it is built on itself.
        pub depth: u32,
    }

    /// Which contents lie where.
    pub(crate) struct Map {
        /// All contents that are not zeros.
        pub digests: Vec<Digest>,
        /// Memory, by address.
        pub regions: Vec<Extent>,
        /// Contents without an address.
        pub blobs: Vec<Extent>,
    }

    /// Contents that belong together.
    pub(crate) struct Extent {
        /// The first byte.
        pub start: Address,
        /// Bytes.
        pub bytes: u64,
        /// What its chunks are.
        pub runs: Vec<Run>,
    }

    /// Some chunks, one behind the other.
    pub(crate) struct Run {
        /// How many.
        pub count: u32,
        /// What they are.
        pub what: What,
    }

    /// What the chunks of a run are.
    pub(crate) enum What {
        /// Zeros.
        #[default]
        0 = Zeros,
        /// All the same.
        1 = Same {
            /// Where in the list of contents.
            index: u32,
        },
        /// One behind the other in the list of contents.
        2 = Ascending {
            /// Where in the list the first is.
            index: u32,
        },
    }

    /// Contents that are in the file.
    pub(crate) struct Chunk {
        /// What they are.
        pub digest: Digest,
        /// Where they begin in the section `Data`.
        pub offset: u64,
        /// Bytes of the contents.
        pub bytes: u32,
        /// How they are stored.
        pub form: Form,
    }

    /// How contents are stored.
    pub(crate) enum Form {
        /// As they are.
        #[default]
        0 = Whole,
        /// Those pages that are not as in other contents, which a snapshot further down has.
        1 = Patch {
            /// The other contents.
            on: Digest,
            /// A bit a page, the lowest for the first.
            pages: u16,
        },
    }
}

/// Pages of so many bytes that a bit stands for.
pub(crate) fn patched(bytes: usize, pages: u16) -> impl Iterator<Item = std::ops::Range<usize>> {
    let all = (0..bytes).step_by(PAGE).enumerate();
    all.filter(move |(page, _)| pages & (1 << page) != 0).map(move |(_, at)| at..bytes.min(at + PAGE))
}

impl Chunk {
    /// Bytes that it takes in the file; none where its form cannot be.
    pub(crate) fn stored(&self) -> Option<u64> {
        match self.form {
            Form::Whole => Some(self.bytes.into()),
            Form::Patch { pages, .. } => {
                let all = (self.bytes as usize).div_ceil(PAGE);
                let fits = all <= 16 && (all == 16 || pages >> all == 0);
                fits.then(|| patched(self.bytes as usize, pages).map(|page| page.len() as u64).sum())
            }
        }
    }
}

/// The chunk that holds an address, cut to a range that holds it too.
fn piece(at: u64, end: u64) -> u64 {
    (CHUNK - at % CHUNK).min(end - at)
}

/// The chunks of a range: address and bytes.
pub(crate) fn pieces(start: u64, bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = start + bytes;
    let mut at = start;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let length = piece(at, end);
            at += length;
            (at - length, length)
        })
    })
}

/// How many chunks a range has.
pub(crate) fn piece_count(start: u64, bytes: u64) -> u64 {
    match bytes {
        0 => 0,
        _ => (start + bytes - 1) / CHUNK - start / CHUNK + 1,
    }
}

/// Most chunks of memory that are not zeros and not the same again and again: 2 TiB.
pub(crate) const CHUNKS: u64 = crate::codec::LIST as u64;

/// Whether a map has more of them.
pub(crate) fn too_many(map: &Map) -> bool {
    let runs = map.regions.iter().chain(&map.blobs).flat_map(|extent| &extent.runs);
    runs.map(Run::distinct).fold(0, u64::saturating_add) > CHUNKS
}

/// Stands for zeros in a list of contents.
pub(crate) const ZEROS: u32 = u32::MAX;

/// Runs of a list of contents.
pub(crate) fn runs(indices: impl Iterator<Item = u32>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for index in indices {
        let joined = runs.last_mut().is_some_and(|run| {
            let (count, last) = (run.count, &mut run.what);
            let fits = match *last {
                _ if count == u32::MAX => false,
                What::Zeros => index == ZEROS,
                What::Same { index: same } if index == same => true,
                What::Same { index: first } if count == 1 && index == first.wrapping_add(1) && index != ZEROS => {
                    *last = What::Ascending { index: first };
                    true
                }
                What::Same { .. } => false,
                What::Ascending { index: first } => index != ZEROS && first.checked_add(count) == Some(index),
            };
            run.count += u32::from(fits);
            fits
        });
        if !joined {
            let what = if index == ZEROS { What::Zeros } else { What::Same { index } };
            runs.push(Run { count: 1, what });
        }
    }
    runs
}

impl Run {
    /// The contents of its chunk of that number.
    pub(crate) fn index(&self, number: u32) -> u32 {
        match self.what {
            What::Zeros => ZEROS,
            What::Same { index } => index,
            What::Ascending { index } => index.saturating_add(number),
        }
    }

    /// A part of it.
    pub(crate) fn part(&self, from: u32, count: u32) -> Self {
        let what = match &self.what {
            What::Ascending { index } => What::Ascending { index: index.saturating_add(from) },
            same => same.clone(),
        };
        Self { count, what }
    }

    /// Whether each of its chunks is the next in the list of contents.
    pub(crate) fn rises(&self) -> bool {
        matches!(self.what, What::Ascending { .. })
    }

    /// How many of its chunks are looked at one by one.
    pub(crate) fn distinct(&self) -> u64 {
        match self.what {
            What::Zeros | What::Same { .. } => 1,
            What::Ascending { .. } => self.count.into(),
        }
    }

    /// The largest place in the list of contents that it names.
    pub(crate) fn last(&self) -> Option<u64> {
        match self.what {
            What::Zeros => None,
            What::Same { index } => Some(index.into()),
            What::Ascending { index } => Some(u64::from(index) + u64::from(self.count) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_begin_where_they_always_begin() {
        let all: Vec<_> = pieces(CHUNK - 10, CHUNK + 30).collect();
        assert_eq!(all, [(CHUNK - 10, 10), (CHUNK, CHUNK), (2 * CHUNK, 20)]);
        assert_eq!(piece_count(CHUNK - 10, CHUNK + 30), 3);
        assert_eq!((piece_count(5, 0), pieces(5, 0).count()), (0, 0));
        assert_eq!(piece_count(0, CHUNK), 1);
        assert_eq!(piece_count(1, CHUNK), 2);
    }

    #[test]
    fn runs_say_what_the_list_said() {
        let lists: [&[u32]; 7] = [
            &[],
            &[ZEROS, ZEROS, 0, 1, 2, 2, 2, 2, 3, 4, ZEROS],
            &[5, 5, 6, 7, 6, 6],
            &[0, 1, 0, 1, 0],
            &[ZEROS - 1, ZEROS],
            &[ZEROS - 2, ZEROS - 1, ZEROS],
            &[3],
        ];
        for list in lists {
            let runs = runs(list.iter().copied());
            let back: Vec<u32> = runs.iter().flat_map(|run| (0..run.count).map(|number| run.index(number))).collect();
            assert_eq!(back, list);
            assert!(runs.iter().filter_map(Run::last).all(|last| list.contains(&(last as u32))));
        }
        assert_eq!(super::runs(0..1000).len(), 1);
    }

    #[test]
    fn a_patch_takes_as_much_as_its_pages() {
        let chunk =
            |bytes, pages| Chunk { bytes, form: Form::Patch { on: Digest::default(), pages }, ..Chunk::default() };
        assert_eq!(chunk(CHUNK as u32, 0b101).stored(), Some(8192));
        assert_eq!(chunk(5000, 0b11).stored(), Some(5000));
        assert_eq!(chunk(5000, 0b10).stored(), Some(904));
        assert_eq!(chunk(5000, 0b100).stored(), None);
        assert_eq!(chunk(CHUNK as u32 + 1, 1).stored(), None);
    }
}
