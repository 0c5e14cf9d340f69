//! Which element of a matrix is where in the registers of a warp.

use super::Column;
use crate::attr::{Element, Layout, Matrix, MatrixShape};
use crate::types::Type;

/// A place in the matrices of a product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Which of the four products of shape m8n8k4 of f16; else 0.
    pub product: usize,
    /// Row.
    pub row: usize,
    /// Column.
    pub col: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Spread {
    /// Tiles by their first row and column, both as in the transposed matrix where `transposed`.
    Tiles { first: Vec<(usize, usize)>, transposed: bool },
    /// Shape m8n8k4 of f16.
    Quads { matrix: Matrix, layout: Layout },
}

/// A matrix in the registers of a warp.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    element: Element,
    rows: usize,
    cols: usize,
    /// Consecutive elements of a row that a lane holds.
    run: usize,
    registers: usize,
    spread: Spread,
}

impl Fragment {
    /// The fragment of a matrix of a product. `k` is the shape's, or half of it for a sparse A. The layout counts for
    /// A and B of f16 in shape m8n8k4 only.
    pub fn new(matrix: Matrix, shape: MatrixShape, k: usize, element: Element, layout: Layout) -> Self {
        let (m, n, _) = shape.size();
        let (rows, cols) = match matrix {
            Matrix::A => (m, k),
            Matrix::B => (k, n),
            Matrix::C => (m, n),
        };
        let accumulator = matrix == Matrix::C;
        let run = if accumulator { 2 } else { element.per_register() };
        let mut fragment = Self {
            element,
            rows,
            cols,
            run,
            registers: 0,
            spread: Spread::Tiles { first: Vec::new(), transposed: false },
        };
        if shape == MatrixShape::M8N8K4 && element != Element::F64 {
            fragment.spread = Spread::Quads { matrix, layout };
            fragment.registers = fragment.elements() / element.per_register();
            return fragment;
        }
        let wide = shape == MatrixShape::M8N32K16;
        let transposed = match matrix {
            Matrix::A => false,
            Matrix::B => true,
            Matrix::C => wide,
        };
        let (major, minor) = if transposed { (cols, rows) } else { (rows, cols) };
        let width = 4 * run;
        // Of the side that the matrix unit takes in blocks of 16, a block comes before the next column.
        let blocks_of_16 = match matrix {
            Matrix::A => !wide,
            Matrix::B => wide,
            Matrix::C => false,
        };
        let block = match (accumulator, blocks_of_16) {
            (true, _) => major,
            (false, true) => 16.min(major),
            (false, false) => 8,
        };
        let mut first = Vec::new();
        for top in (0..major).step_by(block) {
            for left in (0..minor).step_by(width) {
                first.extend((top..top + block).step_by(8).map(|row| (row, left)));
            }
        }
        fragment.spread = Spread::Tiles { first, transposed };
        let needed = (fragment.elements() / element.per_register()).max(1);
        let eight = shape.is_wmma_only() && element == Element::F16 && !accumulator;
        fragment.registers = if eight { 8 } else { needed };
        fragment
    }

    /// The fragment that `wmma_load` and `wmma_store` move; `None` where there is none.
    pub fn in_memory(matrix: Matrix, shape: MatrixShape, element: Element, layout: Layout) -> Option<Self> {
        use Element::{B1, Bf16, F16, F32, F64, S4, S8, S32, Tf32, U4, U8};
        let factors: &[Element] = match shape {
            MatrixShape::M16N16K16 | MatrixShape::M8N32K16 | MatrixShape::M32N8K16 => &[F16, Bf16, S8, U8],
            MatrixShape::M16N16K8 => &[Tf32],
            MatrixShape::M8N8K4 => &[F64],
            MatrixShape::M8N8K32 => &[S4, U4],
            MatrixShape::M8N8K128 => &[B1],
            _ => &[],
        };
        let results: &[Element] = match factors {
            [F16, ..] => &[F16, F32, S32],
            [Tf32] => &[F32],
            [F64] => &[F64],
            [] => &[],
            _ => &[S32],
        };
        let by_rows = match matrix {
            Matrix::A => Layout::Row,
            Matrix::B => Layout::Col,
            Matrix::C => layout,
        };
        let known = if matrix == Matrix::C { results } else { factors }.contains(&element);
        let stored = element.bits() >= 8 || layout == by_rows;
        (known && stored).then(|| Self::new(matrix, shape, shape.size().2, element, layout))
    }

    /// What the matrix consists of.
    pub fn element(&self) -> Element {
        self.element
    }
    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }
    /// Registers of a lane, those that repeat others included.
    pub fn registers(&self) -> usize {
        self.registers
    }
    /// Their type.
    pub fn register(&self) -> Type {
        self.element.register()
    }
    /// The types of all registers.
    pub fn types(&self) -> impl Iterator<Item = Type> + use<> {
        std::iter::repeat_n(self.register(), self.registers)
    }
    /// Elements that a lane holds, each counted once.
    pub fn elements(&self) -> usize {
        match &self.spread {
            Spread::Tiles { first, .. } => first.len() * self.run,
            Spread::Quads { matrix: Matrix::C, .. } => 8,
            Spread::Quads { .. } => 4,
        }
    }
    /// The register of a lane's n-th element, and its lowest bit there. Further registers repeat the first ones.
    pub fn slot(&self, n: usize) -> (usize, usize) {
        let per = self.element.per_register();
        (n / per, n % per * self.element.bits())
    }
    /// Where a lane's n-th element belongs.
    pub fn position(&self, lane: usize, n: usize) -> Position {
        match &self.spread {
            Spread::Tiles { first, transposed } => {
                let (top, left) = first[n / self.run % first.len()];
                let major = top + lane / 4;
                let minor = left + lane % 4 * self.run + n % self.run;
                let (row, col) = if *transposed { (minor, major) } else { (major, minor) };
                Position { product: 0, row, col }
            }
            Spread::Quads { matrix, layout } => {
                let (product, r, upper) = (lane % 16 / 4, lane % 4, lane / 16 * 4);
                let (row, col) = match (matrix, layout) {
                    (Matrix::A, Layout::Row) => (r + upper, n),
                    (Matrix::A, Layout::Col) => (n + upper, r),
                    (Matrix::B, Layout::Row) => (r, n + upper),
                    (Matrix::B, Layout::Col) => (n, r + upper),
                    (Matrix::C, _) if self.element == Element::F16 => (r + upper, n),
                    (Matrix::C, _) => ((lane & 1) + (n & 2) + upper, (n & 4) + (lane & 2) + (n & 1)),
                };
                Position { product, row, col }
            }
        }
    }

    fn index(&self, lane: usize, n: usize) -> usize {
        let p = self.position(lane, n);
        (p.product * self.rows + p.row) * self.cols + p.col
    }
    fn products(&self) -> usize {
        if matches!(self.spread, Spread::Quads { .. }) { 4 } else { 1 }
    }
    /// The bits of all elements, by product, row and column.
    pub(super) fn gather(&self, registers: &[Column]) -> Vec<u64> {
        let mut matrix = vec![0; self.products() * self.rows * self.cols];
        let mask = u64::MAX >> (64 - self.element.bits());
        for n in 0..self.elements() {
            let (register, bit) = self.slot(n);
            let Some(register) = registers.get(register) else { continue };
            for (lane, bits) in register.iter().enumerate() {
                matrix[self.index(lane, n)] = bits >> bit & mask;
            }
        }
        matrix
    }
    /// The registers of a matrix.
    pub(super) fn scatter(&self, element: impl Fn(Position) -> u64) -> Vec<Column> {
        let mut registers = vec![[0; 32]; self.registers];
        for n in 0..self.elements() {
            let (register, bit) = self.slot(n);
            for (lane, bits) in registers[register].iter_mut().enumerate() {
                *bits |= element(self.position(lane, n)) << bit;
            }
        }
        registers
    }
}
