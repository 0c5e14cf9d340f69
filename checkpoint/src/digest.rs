//! Digests and checksums.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// What names contents: BLAKE3, 32 bytes. It is as strong as SHA-256 and, by vector code, several times as fast on large
/// inputs, needs no instruction that a processor may lack, and the same function keyed is what authenticates messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The first digits, for people.
    pub fn short(&self) -> String {
        crate::codec::hex(&self.0[..6])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::codec::hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// Something for each of many contents.
pub(crate) type ByDigest<T> = HashMap<Digest, T, Keyed>;

/// Where a digest is found in a table. It is spread over all numbers already; two words that nobody knows keep those who write files from
/// choosing digests that are found at the same place.
#[derive(Clone)]
pub(crate) struct Keyed([u64; 2]);

impl Default for Keyed {
    fn default() -> Self {
        let word = |number: u64| RandomState::new().hash_one(number);
        Self([word(1), word(2)])
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { keys: self.0, state: 0 }
    }
}

pub(crate) struct Folded {
    keys: [u64; 2],
    state: u64,
}

impl Folded {
    fn add(&mut self, one: u64, two: u64) {
        let product = u128::from(one ^ self.keys[0] ^ self.state) * u128::from(two ^ self.keys[1]);
        self.state = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for pair in words.chunks(2) {
            self.add(u64::from_le_bytes(pair[0]), pair.get(1).map_or(0, |word| u64::from_le_bytes(*word)));
        }
        rest.iter().for_each(|&byte| self.add(byte.into(), 0));
    }

    /// The number of bytes, which is the same of all.
    fn write_usize(&mut self, _count: usize) {}

    fn finish(&self) -> u64 {
        self.state
    }
}

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Tables for eight bytes at a time.
const TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { POLYNOMIAL } else { 0 });
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
};

/// CRC-32C (Castagnoli), which the container has beside its sections: any tool can check it.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let low = crc ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let [a, b, c, d] = low.to_le_bytes().map(usize::from);
        crc = TABLES[7][a] ^ TABLES[6][b] ^ TABLES[5][c] ^ TABLES[4][d];
        let [e, f, g, h] = [word[4], word[5], word[6], word[7]].map(usize::from);
        crc ^= TABLES[3][e] ^ TABLES[2][f] ^ TABLES[1][g] ^ TABLES[0][h];
    }
    for &byte in rest {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_wherever_they_differ_and_elsewhere_in_each_table() {
        let keyed = Keyed::default();
        let mut all = std::collections::BTreeSet::from([keyed.hash_one(Digest::default())]);
        for byte in 0..32 {
            for bit in 0..8 {
                let mut digest = Digest::default();
                digest.0[byte] = 1 << bit;
                all.insert(keyed.hash_one(digest));
            }
        }
        assert_eq!(all.len(), 1 + 256);
        assert_ne!(Keyed::default().hash_one(Digest::of(b"a")), keyed.hash_one(Digest::of(b"a")));
    }

    #[test]
    fn known_values() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b""), 0);
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of(b"").to_string(), empty);
    }
}
