//! Where decisions come from.

/// A stream of decisions: bytes that are given, or numbers from a seed. Behind the end of the bytes every decision is
/// the first choice.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    kind: Kind<'a>,
}

#[derive(Clone, Debug)]
enum Kind<'a> {
    Bytes(&'a [u8]),
    Seed(u64),
}

impl<'a> Source<'a> {
    /// Decisions that repeat for a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { kind: Kind::Seed(seed) }
    }
    /// Decisions that bytes describe, so that small changes of the bytes change little.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self { kind: Kind::Bytes(bytes) }
    }
    fn next(&mut self, wanted: usize) -> u64 {
        match &mut self.kind {
            Kind::Seed(state) => {
                // SplitMix64.
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
            Kind::Bytes(bytes) => {
                let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
                *bytes = rest;
                taken.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
            }
        }
    }
    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.next(8)
    }
    /// A number below `end`, which is at most 65536; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let wanted = if end <= 256 { 1 } else { 2 };
        (self.next(wanted) & 0xffff) as usize % end.max(1)
    }
    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) + 1 == n
    }
    /// One of these; `None` where there is none.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.below(all.len())).copied()
    }
}
