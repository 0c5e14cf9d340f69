//! BLAKE2b (RFC 7693) without a key: names for what is kept from run to run.

use std::fmt;

/// Length of a digest.
pub const BYTES: usize = 32;

const BLOCK: usize = 128;

/// A digest.
pub type Digest = [u8; BYTES];

const IV: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

const SIGMA: [[u8; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// Takes bytes and gives their digest.
pub struct Hasher {
    state: [u64; 8],
    length: u128,
    block: [u8; BLOCK],
    filled: usize,
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Nothing was taken yet.
    pub fn new() -> Self {
        let mut state = IV;
        state[0] ^= 0x0101_0000 ^ BYTES as u64;
        Self { state, length: 0, block: [0; BLOCK], filled: 0 }
    }

    /// Takes more bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // The last block is compressed by `finish`, so a full one waits for what follows.
            if self.filled == BLOCK {
                self.compress(false);
            }
            let taken = bytes.len().min(BLOCK - self.filled);
            let (now, later) = bytes.split_at(taken);
            self.block[self.filled..self.filled + taken].copy_from_slice(now);
            self.filled += taken;
            bytes = later;
        }
    }

    /// Bytes whose end is part of what is hashed.
    pub fn field(&mut self, bytes: &[u8]) {
        self.update(&(bytes.len() as u64).to_le_bytes());
        self.update(bytes);
    }

    /// The digest of all of them.
    pub fn finish(mut self) -> Digest {
        self.block[self.filled..].fill(0);
        self.compress(true);
        let mut out = [0; BYTES];
        for (place, word) in out.chunks_exact_mut(8).zip(self.state) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    fn compress(&mut self, last: bool) {
        self.length += self.filled as u128;
        self.filled = 0;
        let mut m = [0u64; 16];
        for (word, bytes) in m.iter_mut().zip(self.block.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        let mut v = [0u64; 16];
        v[..8].copy_from_slice(&self.state);
        v[8..].copy_from_slice(&IV);
        v[12] ^= self.length as u64;
        v[13] ^= (self.length >> 64) as u64;
        if last {
            v[14] = !v[14];
        }
        for round in 0..12 {
            let s = &SIGMA[round % SIGMA.len()];
            let mut mix = |a: usize, b: usize, c: usize, d: usize, i: usize| {
                v[a] = v[a].wrapping_add(v[b]).wrapping_add(m[usize::from(s[i])]);
                v[d] = (v[d] ^ v[a]).rotate_right(32);
                v[c] = v[c].wrapping_add(v[d]);
                v[b] = (v[b] ^ v[c]).rotate_right(24);
                v[a] = v[a].wrapping_add(v[b]).wrapping_add(m[usize::from(s[i + 1])]);
                v[d] = (v[d] ^ v[a]).rotate_right(16);
                v[c] = v[c].wrapping_add(v[d]);
                v[b] = (v[b] ^ v[c]).rotate_right(63);
            };
            mix(0, 4, 8, 12, 0);
            mix(1, 5, 9, 13, 2);
            mix(2, 6, 10, 14, 4);
            mix(3, 7, 11, 15, 6);
            mix(0, 5, 10, 15, 8);
            mix(1, 6, 11, 12, 10);
            mix(2, 7, 8, 13, 12);
            mix(3, 4, 9, 14, 14);
        }
        for (i, word) in self.state.iter_mut().enumerate() {
            *word ^= v[i] ^ v[i + 8];
        }
    }
}

impl fmt::Write for Hasher {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.update(text.as_bytes());
        Ok(())
    }
}

/// The digest of some bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// Its spelling as the name of a file.
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `b2sum -l 256`.
    #[test]
    fn known_digests() {
        let of = |bytes: &[u8]| hex(&digest(bytes));
        assert_eq!(of(b""), "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
        assert_eq!(of(b"abc"), "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    }

    #[test]
    fn pieces_do_not_matter() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        for length in [127, 128, 129, 255, 256, 257, 1000] {
            for piece in [1, 3, 64, 127, 128, 129] {
                let mut hasher = Hasher::new();
                bytes[..length].chunks(piece).for_each(|piece| hasher.update(piece));
                assert_eq!(hasher.finish(), digest(&bytes[..length]), "{length} bytes in pieces of {piece}");
            }
        }
    }
}
