//! Products of warp groups, of 64 rows: each of the four warps computes sixteen of them, eight columns after the other, as a
//! [`Product`] does.
//!
//! A factor in shared memory is named by a matrix descriptor, 64 bits in units of 16 bytes: bits 0 to 13 its beginning, 16
//! to 29 and 32 to 45 two distances, 49 to 51 the base offset, 62 and 63 the swizzle. Units that are neighbours along a line
//! in memory lie in blocks of eight lines; the units of a line lie side by side, as many as the swizzle is wide, combined
//! by exclusive or with the line's number. A matrix is stored along k, or `turned`, along its other side.

use super::memory::tiles_of;
use super::{Column, Fragment, Product, Tiled};
use crate::attr::{
    BitProduct, Element, FactorA, Layout, LayoutA, LayoutB, MatrixRound, MatrixShape, MatrixTypes, Negate, Sat,
    Selector, Sparsity, Tiles,
};
use crate::build::Attrs;
use crate::ir::InstData;
use crate::op::Op;
use crate::types::Type;

/// Addresses and distances of a descriptor.
pub(crate) const PLACES: u32 = 0x3fff;
/// Columns that are computed at once.
pub(crate) const COLUMNS: usize = 8;
const MOST_COLUMNS: usize = 256;
/// Up to so many, products of integers have any columns; from there on multiples of twice those at once.
const FEW_COLUMNS: usize = 32;

/// What a `group_mma` computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupProduct {
    /// What a warp computes of eight columns.
    pub product: Product,
    /// Columns of the result.
    pub columns: usize,
    /// A is in registers.
    pub in_registers: bool,
    /// A and B are stored along rows and columns, not along k.
    pub turned: (bool, bool),
    /// The product is subtracted.
    pub negated: bool,
}

/// The shape of a warp's product.
fn shape(types: MatrixTypes, sparse: bool) -> Option<MatrixShape> {
    use MatrixShape as S;
    let [d, a, _, c] = types.elements();
    Some(match (a, sparse) {
        _ if d != c => return None,
        (Element::F16 | Element::Bf16, false) | (Element::Tf32, true) => S::M16N8K16,
        (Element::Tf32, false) => S::M16N8K8,
        (Element::F16 | Element::Bf16, true) => S::M16N8K32,
        (Element::E4m3 | Element::E5m2 | Element::S8 | Element::U8, false) => S::M16N8K32,
        (Element::E4m3 | Element::E5m2 | Element::S8 | Element::U8, true) => S::M16N8K64,
        (Element::B1, false) => S::M16N8K256,
        _ => return None,
    })
}

impl GroupProduct {
    /// A product of dense factors that descriptors name.
    ///
    /// # Errors
    /// Why there is none of these types.
    pub fn new(types: MatrixTypes, sparse: bool, columns: usize) -> Result<Self, String> {
        let kind = if sparse { "sparse" } else { "dense" };
        let shape =
            shape(types, sparse).ok_or_else(|| format!("no warp group has a {kind} product of {}", types.name()))?;
        let a = types.elements()[1];
        let product = Product {
            shape,
            types,
            layouts: (Layout::Row, Layout::Col),
            sparsity: if sparse { Sparsity::Ordered } else { Sparsity::Dense },
            selector: 0,
            bits: if a == Element::B1 { BitProduct::And } else { BitProduct::None },
            round: MatrixRound::Rn,
            short: matches!(a, Element::E4m3 | Element::E5m2),
            sat: false,
        };
        Ok(Self { product, columns, in_registers: false, turned: (false, false), negated: false })
    }

    /// The product of a `group_mma`.
    ///
    /// # Errors
    /// Why there is no such product.
    pub fn of(inst: &InstData) -> Result<Self, String> {
        let sparsity: Sparsity = inst.attr();
        let columns = usize::try_from(inst.imm).unwrap_or(usize::MAX);
        let mut group = Self::new(inst.attr(), sparsity != Sparsity::Dense, columns)?;
        if sparsity == Sparsity::Sparse {
            return Err("the metadata of a warp group's product is ordered".into());
        }
        group.product.selector = inst.attr::<Selector>() as usize;
        group.product.sat = inst.attr::<Sat>() == Sat::Yes;
        group.in_registers = inst.attr::<FactorA>() == FactorA::Registers;
        group.turned = (inst.attr::<LayoutA>() == LayoutA::Col, inst.attr::<LayoutB>() == LayoutB::Row);
        group.negated = inst.attr::<Negate>() == Negate::Yes;
        group.check().map(|()| group)
    }

    /// Whether there is such a product.
    ///
    /// # Errors
    /// Why there is none.
    pub fn check(&self) -> Result<(), String> {
        self.product.check()?;
        let a = self.product.types.elements()[1];
        let step = if a.is_integer() && self.columns > FEW_COLUMNS { 2 * COLUMNS } else { COLUMNS };
        if !(COLUMNS..=MOST_COLUMNS).contains(&self.columns) || !self.columns.is_multiple_of(step) {
            return Err(format!("no product of {} has {} columns", self.product.types.name(), self.columns));
        }
        if (self.turned.0 || self.turned.1) && a.bits() != 16 || self.turned.0 && self.in_registers {
            return Err("only factors of 16 bits that are in shared memory are turned".into());
        }
        if self.negated && a.is_integer() {
            return Err("no product of integers is negated".into());
        }
        Ok(())
    }

    /// The op, whose immediate is the columns; `None` where there is no such selector.
    pub fn attributes(&self) -> Option<Attrs> {
        let attrs = Attrs::of(Op::GroupMma)
            .with(self.product.types)
            .with(if self.in_registers { FactorA::Registers } else { FactorA::Shared })
            .with(if self.turned.0 { LayoutA::Col } else { LayoutA::Row })
            .with(if self.turned.1 { LayoutB::Row } else { LayoutB::Col })
            .with(self.product.sparsity)
            .with(*Selector::ALL.get(self.product.selector)?)
            .with(if self.negated { Negate::Yes } else { Negate::No })
            .with(if self.product.sat { Sat::Yes } else { Sat::No });
        Some(attrs)
    }

    fn sparse(&self) -> bool {
        self.product.sparsity != Sparsity::Dense
    }
    /// How often a warp computes eight columns.
    fn times(&self) -> usize {
        self.columns / COLUMNS
    }
    /// Of how many times eight columns the factor is read at once.
    pub(crate) fn at_once(&self) -> usize {
        if self.sparse() { 1 } else { 2 }
    }
    /// Registers of A, of B for eight columns, and of the sums.
    pub fn registers(&self) -> [usize; 3] {
        let [_, a, b, c] = self.product.fragments();
        [if self.in_registers { a.registers() } else { 1 }, b.registers(), self.times() * c.registers()]
    }
    fn sums(&self, fragment: &Fragment) -> impl Iterator<Item = Type> + use<> {
        std::iter::repeat_n(fragment.register(), self.times() * fragment.registers())
    }
    /// The types of the operands.
    pub fn operands(&self) -> Vec<Type> {
        let [_, a, _, c] = self.product.fragments();
        let mut all: Vec<Type> = if self.in_registers { a.types().collect() } else { vec![Type::I64] };
        all.push(Type::I64);
        all.extend(self.sums(&c));
        all.extend(self.sparse().then_some(Type::I32));
        all.push(Type::B1);
        all
    }
    /// The types of the results.
    pub fn results(&self) -> Vec<Type> {
        self.sums(&self.product.fragments()[0]).collect()
    }

    /// The registers of D of a warp, given those of the operands.
    ///
    /// # Errors
    /// What memory says.
    pub fn eval<M: Tiled>(&self, operands: &[Column], warp: u32, memory: &mut M) -> Result<Vec<Column>, M::Error> {
        let none = [0; 32];
        let operand = |n: usize| operands.get(n).copied().unwrap_or(none);
        let [of_a, of_b, of_c] = self.registers();
        let mut factor: Vec<Column> = (0..of_a).map(operand).collect();
        if !self.in_registers {
            let at = std::array::from_fn(|lane| self.place_of_a(factor[0][lane], lane as u32, warp));
            factor = tiles_of(&at, Tiles::X4.count(), self.turned.0, memory)?;
        }
        if self.negated {
            let signs = signs(self.product.types.elements()[1]);
            factor.iter_mut().flatten().for_each(|bits| *bits ^= signs);
        }
        let descriptor = operand(of_a);
        let sums: Vec<Column> = (0..of_c).map(|n| operand(of_a + 1 + n)).collect();
        let metadata = self.sparse().then(|| operand(of_a + 1 + of_c));
        let keeps = operand(of_a + 1 + of_c + usize::from(self.sparse()));
        let each = of_c / self.times().max(1);
        let mut results = Vec::with_capacity(of_c);
        for (n, pair) in sums.chunks(each * self.at_once()).enumerate() {
            let at = std::array::from_fn(|lane| self.place_of_b(descriptor[lane], lane as u32, n as u32));
            let columns = tiles_of(&at, pair.len() / each * of_b, self.turned.1, memory)?;
            for (b, c) in columns.chunks(of_b).zip(pair.chunks(each)) {
                let mut args = factor.clone();
                args.extend(b);
                args.extend(
                    c.iter().map(|c| std::array::from_fn(|lane| if keeps[lane] & 1 == 1 { c[lane] } else { 0 })),
                );
                args.extend(metadata);
                results.extend(self.product.eval(&args));
            }
        }
        Ok(results)
    }

    /// Where the row of A is that a lane names: row `lane % 8` of tile `lane / 8`.
    fn place_of_a(&self, descriptor: u64, lane: u32, warp: u32) -> u64 {
        let m = Described::of(descriptor, self.turned.0, lane % 8);
        let tile = lane / 8;
        let (row, unit) = (warp % 4 * 2 + tile % 2, tile / 2);
        match self.turned.0 {
            true => m.place(m.unit(row).wrapping_add(unit.wrapping_mul(m.across))),
            false => m.place(row.wrapping_mul(m.across).wrapping_add(m.unit(unit))),
        }
    }
    /// Where the row of B is that a lane names, of the n-th columns that are read at once: dense two tiles of columns, of two
    /// units along k each; else one, of four.
    fn place_of_b(&self, descriptor: u64, lane: u32, n: u32) -> u64 {
        let m = Described::of(descriptor, self.turned.1, lane % 8);
        let tile = lane / 8;
        let (tile, unit) = if self.sparse() { (0, tile) } else { (tile / 2, tile % 2) };
        let column = tile + n * self.at_once() as u32;
        match self.turned.1 {
            true => m.place(m.unit(column).wrapping_add(unit.wrapping_mul(m.across))),
            false => m.place(column.wrapping_mul(m.across).wrapping_add(m.unit(unit))),
        }
    }
}

/// A matrix in shared memory as a lane sees it that names a line.
struct Described {
    /// Where that line begins in the first tile.
    line: u32,
    /// From a block to the next one, along the lines and across them.
    along: u32,
    across: u32,
    base: u32,
    /// Units of a line that lie side by side are `2^log`.
    log: u32,
}

impl Described {
    fn of(descriptor: u64, turned: bool, line: u32) -> Self {
        let (low, high) = (descriptor as u32, (descriptor >> 32) as u32);
        let (leading, stride) = (low >> 16 & PLACES, high & PLACES);
        let mode = high >> 30;
        // Modes 1, 2 and 3 are of 8, 4 and 2 units, mode 0 of one.
        let log = 0u32.wrapping_sub(mode) & 3;
        // Without a swizzle, the two distances change their meaning.
        let (along, across) = if turned && mode == 0 { (stride, leading) } else { (leading, stride) };
        Self { line: (low & PLACES).wrapping_add(line << log), along, across, base: high >> 17 & 7, log }
    }
    fn mask(&self) -> u32 {
        (1 << self.log) - 1
    }
    /// How far a unit is from the first one of its line.
    fn unit(&self, unit: u32) -> u32 {
        (unit >> self.log).wrapping_mul(self.along).wrapping_add(unit & self.mask())
    }
    /// The address of what lies so far from the line's beginning.
    fn place(&self, distance: u32) -> u64 {
        let at = distance.wrapping_add(self.line);
        let swizzle = (at >> 3).wrapping_sub(self.base) & self.mask();
        u64::from((at ^ swizzle) & PLACES) << 4
    }
}

/// The signs of what a register holds.
pub(crate) fn signs(element: Element) -> u64 {
    (0..element.per_register()).map(|n| 1 << ((n + 1) * element.bits() - 1)).sum()
}
