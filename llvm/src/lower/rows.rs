//! Accesses of 16 bytes a lane at addresses of which nothing is known: an access of the processor each, and shuffles,
//! instead of gathers and scatters of the elements one after the other.

use super::Lowering;
use crate::sys::{Ty, Val};

/// Bytes of a row.
pub(super) const ROW: u32 = 16;

impl<'c> Lowering<'_, '_, 'c> {
    /// Whether rows of so many elements are accessed in this way, by all lanes.
    pub(super) fn takes_rows(&self, elements: u32, bytes: u32) -> bool {
        self.lanes > 1 && self.mask.is_none() && elements > 1 && bytes == ROW
    }

    /// The elements of all lanes' rows.
    pub(super) fn load_rows(&self, pointers: Val<'c>, element: Ty<'c>, count: u32) -> Vec<Val<'c>> {
        let e = self.e;
        let row = element.vector(count);
        let mut rows: Vec<Val<'c>> =
            (0..32).map(|lane| e.load(row, e.extract(pointers, self.c32(lane)), ROW)).collect();
        let mut length = count;
        while rows.len() > 1 {
            let order: Vec<u32> = (0..2 * length).collect();
            rows = rows.chunks(2).map(|two| e.shuffle(two[0], two[1], &order)).collect();
            length *= 2;
        }
        (0..count).map(|n| e.shuffle(rows[0], rows[0], &(0..32).map(|l| l * count + n).collect::<Vec<_>>())).collect()
    }

    /// Stores all lanes' rows.
    pub(super) fn store_rows(&self, pointers: Val<'c>, elements: &[Val<'c>]) {
        let e = self.e;
        let count = elements.len() as u32;
        let mut parts = elements.to_vec();
        let mut length = 32;
        while parts.len() > 1 {
            let order: Vec<u32> = (0..2 * length).collect();
            parts = parts.chunks(2).map(|two| e.shuffle(two[0], two[1], &order)).collect();
            length *= 2;
        }
        for lane in 0..32 {
            let order: Vec<u32> = (0..count).map(|n| n * 32 + lane).collect();
            let row = e.shuffle(parts[0], parts[0], &order);
            e.store(row, e.extract(pointers, self.c32(lane)), ROW);
        }
    }
}
