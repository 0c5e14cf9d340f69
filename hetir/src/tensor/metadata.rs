//! Where the stored elements of a sparse A belong.

use super::Column;
use crate::attr::Element;

/// How the metadata of a sparse A is laid out.
///
/// A row is divided into chunks of 4 columns (2 of tf32, 8 of s4 and u4) of which half are stored, and each chunk has 4
/// bits of metadata: the index of the first stored element in the low two, that of the second one above. Elements of 4
/// bits are stored in pairs, and the indices are those of pairs. Of tf32 the bits are those of the halves of the one
/// stored element: 0b0100 for column 0 of the chunk and 0b1110 for column 1. Chunks follow each other from the low bits
/// on. With s the selector, row g, and row g + 8 have theirs in
///
/// | elements | shape | row g | row g + 8 |
/// |---|---|---|---|
/// | f16, bf16, tf32 | 4 chunks a row | low half of lane 4g + s | high half of it |
/// | f16, bf16, tf32 | 8 chunks a row | low halves of lanes 4g + 2s and the next | high halves of them |
/// | of 8 and 4 bits | 8 chunks a row | lane 4g + 2s | the lane behind it |
/// | of 8 and 4 bits | 16 chunks a row | lanes 4g and 4g + 2 | lanes 4g + 1 and 4g + 3 |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    element: Element,
    chunks: usize,
    selector: usize,
}

impl Metadata {
    /// The metadata of a matrix of `stored` columns that are stored.
    pub fn new(element: Element, stored: usize, selector: usize) -> Self {
        Self { element, chunks: stored / Self::stored_per_chunk(element), selector }
    }
    /// How many selectors there are.
    pub fn selectors(&self) -> usize {
        match (self.element.bits() >= 16, self.chunks) {
            (true, 4) => 4,
            (true, _) | (false, 8) => 2,
            (false, _) => 1,
        }
    }
    const fn stored_per_chunk(element: Element) -> usize {
        match element.bits() {
            32 => 1,
            4 => 4,
            _ => 2,
        }
    }
    /// The column of a row's n-th stored element.
    pub fn column(&self, metadata: &Column, row: usize, n: usize) -> usize {
        let per_chunk = Self::stored_per_chunk(self.element);
        let chunk = n / per_chunk;
        let bits = self.bits(metadata, row, chunk);
        let index = |which: usize| bits >> (2 * which) & 3;
        chunk * per_chunk * 2
            + match self.element.bits() {
                32 => bits >> 1 & 1,
                4 => index(n / 2 % 2) * 2 + n % 2,
                _ => index(n % 2),
            }
    }
    /// The four bits of a chunk.
    fn bits(&self, metadata: &Column, row: usize, chunk: usize) -> usize {
        let (g, lower) = (row % 8, row / 8);
        let (lane, bit) = if self.element.bits() >= 16 {
            let lanes = self.chunks / 4;
            (self.selector % (4 / lanes) * lanes + chunk / 4, 16 * lower + chunk % 4 * 4)
        } else {
            let first = if self.chunks > 8 { chunk / 8 } else { self.selector % 2 };
            (2 * first + lower, chunk % 8 * 4)
        };
        (metadata[4 * g + lane] >> bit & 15) as usize
    }
}
