//! The products that there are, and their computation.

use super::sum::{self, Order};
use super::{Column, Fragment, Metadata};
use crate::attr::{
    BitProduct, Element, Layout, LayoutA, LayoutB, Matrix, MatrixRound, MatrixShape, MatrixSum, MatrixTypes, Sat,
    Selector, Sparsity,
};
use crate::ir::InstData;
use crate::types::Type;

/// What an `mma` computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Product {
    /// Its shape.
    pub shape: MatrixShape,
    /// Elements of D, A, B and C.
    pub types: MatrixTypes,
    /// Layouts of A and B.
    pub layouts: (Layout, Layout),
    /// Whether A is sparse.
    pub sparsity: Sparsity,
    /// Which lanes hold the metadata.
    pub selector: usize,
    /// How bits are multiplied.
    pub bits: BitProduct,
    /// Rounding of f64.
    pub round: MatrixRound,
    /// Summands keep fewer places.
    pub short: bool,
    /// Integers are clamped.
    pub sat: bool,
}

/// Shapes with a dense and with a sparse A.
type Shapes = (&'static [MatrixShape], &'static [MatrixShape]);

const fn shapes(types: MatrixTypes) -> Shapes {
    use MatrixShape as S;
    use MatrixTypes as T;
    match types {
        T::F16AccF16 | T::F32AccF32 => {
            (&[S::M8N8K4, S::M16N8K8, S::M16N8K16, S::M16N16K16, S::M8N32K16, S::M32N8K16], &[S::M16N8K16, S::M16N8K32])
        }
        T::F32AccF16 => (&[S::M8N8K4, S::M16N16K16, S::M8N32K16, S::M32N8K16], &[]),
        T::F16AccF32 => (&[S::M16N16K16, S::M8N32K16, S::M32N8K16], &[]),
        T::Bf16 => (&[S::M16N8K8, S::M16N8K16, S::M16N16K16, S::M8N32K16, S::M32N8K16], &[S::M16N8K16, S::M16N8K32]),
        T::Tf32 => (&[S::M16N8K4, S::M16N8K8, S::M16N16K8], &[S::M16N8K8, S::M16N8K16]),
        T::E4m3E4m3AccF16 | T::E4m3E5m2AccF16 | T::E5m2E4m3AccF16 | T::E5m2E5m2AccF16 => {
            (&[S::M16N8K16, S::M16N8K32], &[S::M16N8K64])
        }
        T::E4m3E4m3AccF32 | T::E4m3E5m2AccF32 | T::E5m2E4m3AccF32 | T::E5m2E5m2AccF32 => {
            (&[S::M16N8K16, S::M16N8K32], &[S::M16N8K64])
        }
        T::F64 => (&[S::M8N8K4, S::M16N8K4, S::M16N8K8, S::M16N8K16], &[]),
        T::S8S8 | T::U8U8 => (
            &[S::M8N8K16, S::M16N8K16, S::M16N8K32, S::M16N16K16, S::M8N32K16, S::M32N8K16],
            &[S::M16N8K32, S::M16N8K64],
        ),
        T::S8U8 | T::U8S8 => (&[S::M8N8K16, S::M16N8K16, S::M16N8K32], &[S::M16N8K32, S::M16N8K64]),
        T::S4S4 | T::S4U4 | T::U4S4 | T::U4U4 => {
            (&[S::M8N8K32, S::M16N8K32, S::M16N8K64], &[S::M16N8K64, S::M16N8K128])
        }
        T::B1 => (&[S::M8N8K128, S::M16N8K128, S::M16N8K256], &[]),
    }
}

impl Product {
    /// The product of an `mma`.
    ///
    /// # Errors
    /// Why there is no such product.
    pub fn of(inst: &InstData) -> Result<Self, String> {
        let product = Self {
            shape: inst.attr(),
            types: inst.attr(),
            layouts: (
                if inst.attr::<LayoutA>() == LayoutA::Row { Layout::Row } else { Layout::Col },
                if inst.attr::<LayoutB>() == LayoutB::Col { Layout::Col } else { Layout::Row },
            ),
            sparsity: inst.attr(),
            selector: inst.attr::<Selector>() as usize,
            bits: inst.attr(),
            round: inst.attr(),
            short: inst.attr::<MatrixSum>() == MatrixSum::Short,
            sat: inst.attr::<Sat>() == Sat::Yes,
        };
        product.check().map(|()| product)
    }

    /// Whether there is such a product.
    ///
    /// # Errors
    /// Why there is none.
    pub fn check(&self) -> Result<(), String> {
        let sparse = self.sparsity != Sparsity::Dense;
        let (types, shape) = (self.types.name(), self.shape.name());
        let known = shapes(self.types);
        if !(if sparse { known.1 } else { known.0 }).contains(&self.shape) {
            let kind = if sparse { "sparse" } else { "dense" };
            return Err(format!("there is no {kind} product {shape} of {types}"));
        }
        let free = self.shape.is_wmma_only() || self.shape == MatrixShape::M8N8K4;
        if !free && self.layouts != (Layout::Row, Layout::Col) {
            return Err(format!("A of shape {shape} is stored by rows and B by columns"));
        }
        if sparse && self.selector >= self.metadata().selectors() || !sparse && self.selector != 0 {
            return Err(format!("no lanes {} hold metadata of shape {shape} of {types}", self.selector));
        }
        if (self.types == MatrixTypes::B1) != (self.bits != BitProduct::None) {
            return Err("bits, and only bits, are combined by `and` or `xor`".into());
        }
        if self.round != MatrixRound::Rn && (self.types, self.shape) != (MatrixTypes::F64, MatrixShape::M8N8K4) {
            return Err("only f64 of shape m8n8k4 has a rounding mode".into());
        }
        let [_, a, _, _] = self.types.elements();
        if self.short && !(matches!(a, Element::E4m3 | Element::E5m2) && self.stored() == 32) {
            return Err("only 32 products of fp8 have short sums".into());
        }
        if self.sat && (!a.is_integer() || a == Element::B1) {
            return Err(format!("there is no saturation of {types}"));
        }
        Ok(())
    }

    /// Stored columns of A.
    fn stored(&self) -> usize {
        let (_, _, k) = self.shape.size();
        if self.sparsity == Sparsity::Dense { k } else { k / 2 }
    }
    /// Layout of the metadata; it means something where A is sparse.
    pub fn metadata(&self) -> Metadata {
        Metadata::new(self.types.elements()[1], self.stored(), self.selector)
    }
    /// The fragments of D, A, B and C.
    pub fn fragments(&self) -> [Fragment; 4] {
        let [d, a, b, c] = self.types.elements();
        let (_, _, k) = self.shape.size();
        [
            Fragment::new(Matrix::C, self.shape, k, d, Layout::Row),
            Fragment::new(Matrix::A, self.shape, self.stored(), a, self.layouts.0),
            Fragment::new(Matrix::B, self.shape, k, b, self.layouts.1),
            Fragment::new(Matrix::C, self.shape, k, c, Layout::Row),
        ]
    }
    /// The types of the operands.
    pub fn operands(&self) -> Vec<Type> {
        let [_, a, b, c] = self.fragments();
        let metadata = (self.sparsity != Sparsity::Dense).then_some(Type::I32);
        a.types().chain(b.types()).chain(c.types()).chain(metadata).collect()
    }
    /// The types of the results.
    pub fn results(&self) -> Vec<Type> {
        self.fragments()[0].types().collect()
    }

    /// The registers of D, given those of the operands.
    pub fn eval(&self, operands: &[Column]) -> Vec<Column> {
        let [fd, fa, fb, fc] = self.fragments();
        let part = |start: usize, f: &Fragment| operands.get(start..start + f.registers()).unwrap_or(&[]);
        let (at_b, at_c) = (fa.registers(), fa.registers() + fb.registers());
        let metadata = operands.get(at_c + fc.registers()).copied().unwrap_or([0; 32]);
        let (a, b, c) = (fa.gather(part(0, &fa)), fb.gather(part(at_b, &fb)), fc.gather(part(at_c, &fc)));
        let ((m, stored), (k, n)) = (fa.size(), fb.size());
        let sparse = (self.sparsity != Sparsity::Dense).then(|| self.metadata());
        let mut products = vec![(0, 0); stored];
        let mut result = Vec::with_capacity(c.len());
        for (at, &start) in c.iter().enumerate() {
            let (product, row, col) = (at / (m * n), at / n % m, at % n);
            for (i, pair) in products.iter_mut().enumerate() {
                let column = sparse.map_or(i, |s| s.column(&metadata, row, i)) % k;
                *pair = (a[(product * m + row) * stored + i], b[(product * k + column) * n + col]);
            }
            result.push(self.element(&products, start));
        }
        fd.scatter(|p| result[(p.product * m + p.row) * n + p.col])
    }

    fn element(&self, products: &[(u64, u64)], c: u64) -> u64 {
        let [_, a, b, _] = self.types.elements();
        match self.types {
            MatrixTypes::F64 => sum::double(self.round, products, c),
            MatrixTypes::B1 => {
                let one = |&(x, y): &(u64, u64)| if self.bits == BitProduct::And { x & y } else { x ^ y };
                c.wrapping_add(products.iter().map(one).sum()) & u64::from(u32::MAX)
            }
            _ if a.is_integer() => {
                let sum = products.iter().map(|&(x, y)| a.integer(x) * b.integer(y)).sum::<i64>();
                let sum = sum + Element::S32.integer(c);
                let sum = if self.sat { sum.clamp(i32::MIN.into(), i32::MAX.into()) } else { sum };
                u64::from(sum as u32)
            }
            _ => sum::float(self.order(), self.types.elements(), products, c),
        }
    }
    fn order(&self) -> Order {
        match (self.shape, self.types) {
            _ if self.short => Order::Short,
            (MatrixShape::M8N8K4, _) => Order::Scalar,
            (MatrixShape::M16N16K8, _) => Order::Fours,
            _ => Order::Together,
        }
    }
}
