//! What the ops on matrices mean: a matrix is spread over the registers of a warp's 32 lanes as a [`Fragment`], and a
//! [`Product`] computes D = A * B + C of fragments.
//!
//! Lanes are named by `g = lane / 4` and `t = lane % 4`. A tile is 8 rows of 4 * e elements: lane (g, t) holds the e
//! elements of row g from column t * e on, where e is as many as a 32-bit register holds (1 of 32 or 64 bits), and 2
//! of C and D. Elements of less than 32 bits lie side by side in a register, the first one in the low bits; others have
//! a register each. A fragment is a list of tiles; of B, and of C and D of shape m8n32k16, the tiles are transposed.
//!
//! | matrix | tiles in the order of the registers |
//! |---|---|
//! | A | blocks of 16 rows; in a block, columns; in a column of tiles, rows |
//! | B | columns; in a column of tiles, rows |
//! | B of m8n32k16 | blocks of 16 columns; in a block, rows; in a row of tiles, columns |
//! | C and D | columns; in a column of tiles, rows |
//!
//! So they are for `m16n8...` and `m8n8...` shapes in PTX. For the shapes of `wmma_load`, which PTX leaves open, they
//! are what NVIDIA's assembler makes for sm_80 to sm_90, whatever the layout in memory. There an f16 A or B has 8
//! registers also where fewer are enough; then they repeat, and a product reads the first ones.
//!
//! Shape m8n8k4 of f16 is four products, one for the lanes 4q to 4q + 3 and 4q + 16 to 4q + 19 each. With r = lane % 4,
//! and 4 more in the upper half of the warp: A holds row r of its 8 x 4 matrix (column lane % 4 of rows 0 to 3 or 4 to 7
//! where it is stored by columns), B the column r of its 4 x 8 matrix (row lane % 4, columns 0 to 3 or 4 to 7 where stored
//! by rows), C and D of f16 row r; of f32 element i of C and D is in row (lane % 2) + (i & 2), 4 more in the upper half,
//! and column (i & 4) + (lane & 2) + (i & 1).
//!
//! What a group of warps computes is a [`GroupProduct`].
//!
//! A sparse A is stored as the fragment of the matrix of half as many columns; see [`Metadata`].
//!
//! How floating-point products are summed is in [`sum`].

mod element;
mod fragment;
pub(crate) mod group;
mod memory;
mod metadata;
mod product;
pub mod sum;
#[cfg(test)]
mod tests;

pub use fragment::{Fragment, Position};
pub use group::GroupProduct;
pub use memory::{Tiled, access};
pub use metadata::Metadata;
pub use product::Product;

use crate::attr::{MatrixShape, Tiles};

/// The lanes' bits of one register.
pub type Column = [u64; 32];

impl MatrixShape {
    /// Rows of A, columns of B, columns of A.
    pub const fn size(self) -> (usize, usize, usize) {
        match self {
            Self::M8N8K4 => (8, 8, 4),
            Self::M8N8K16 => (8, 8, 16),
            Self::M8N8K32 => (8, 8, 32),
            Self::M8N8K128 => (8, 8, 128),
            Self::M16N8K4 => (16, 8, 4),
            Self::M16N8K8 => (16, 8, 8),
            Self::M16N8K16 => (16, 8, 16),
            Self::M16N8K32 => (16, 8, 32),
            Self::M16N8K64 => (16, 8, 64),
            Self::M16N8K128 => (16, 8, 128),
            Self::M16N8K256 => (16, 8, 256),
            Self::M16N16K8 => (16, 16, 8),
            Self::M16N16K16 => (16, 16, 16),
            Self::M8N32K16 => (8, 32, 16),
            Self::M32N8K16 => (32, 8, 16),
        }
    }
    /// Shapes whose fragments only `wmma_load` makes.
    pub const fn is_wmma_only(self) -> bool {
        matches!(self, Self::M16N16K8 | Self::M16N16K16 | Self::M8N32K16 | Self::M32N8K16)
    }
}

impl Tiles {
    /// How many.
    pub const fn count(self) -> usize {
        match self {
            Self::X1 => 1,
            Self::X2 => 2,
            Self::X4 => 4,
        }
    }
}

/// Moves between the registers of tiles of 8 x 8 elements of 16 bits and their rows: the register of lane (g, t) holds
/// elements 2t and 2t + 1 of row g, or of column g where `transposed`. `rows` is indexed by row and column.
pub fn tile_from_rows(rows: &[[u16; 8]; 8], transposed: bool) -> Column {
    std::array::from_fn(|lane| {
        let at = |i: usize| {
            let (row, col) = tile_place(lane, i, transposed);
            u64::from(rows[row][col])
        };
        at(0) | at(1) << 16
    })
}

/// The inverse of [`tile_from_rows`].
pub fn tile_to_rows(register: &Column, transposed: bool) -> [[u16; 8]; 8] {
    let mut rows = [[0; 8]; 8];
    for (lane, bits) in register.iter().enumerate() {
        for i in 0..2 {
            let (row, col) = tile_place(lane, i, transposed);
            rows[row][col] = (bits >> (16 * i)) as u16;
        }
    }
    rows
}

const fn tile_place(lane: usize, i: usize, transposed: bool) -> (usize, usize) {
    let (g, k) = (lane / 4, lane % 4 * 2 + i);
    if transposed { (k, g) } else { (g, k) }
}
