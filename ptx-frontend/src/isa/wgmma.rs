//! Products of warp groups, of 64 rows: each of the four warps computes sixteen of them, eight columns after the other, as
//! `mma` does. What of the factors lies in shared memory is read as `ldmatrix` reads it, row by row of 16 bytes, from
//! where a matrix descriptor says.
//!
//! A product happens when it is issued, so that nothing is left to be waited for, but for the other warps of the group:
//! behind a wait, shared memory may be written that they read.

use super::tensor::register;
use super::{Form, Lifted, form};
use crate::ast::OperandKind;
use crate::lift::{Lifter, Ty};
use hetir::attr::{
    Aligned, BitProduct, Element, IntCmp, Layout, MatrixRound, MatrixShape, MatrixTypes, Sign, Space, Sparsity, Sreg,
    Tiles, Transpose,
};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::tensor::Product;
use hetir::types::Type;

const M64_K8: &str = "shape=m64n8k8 m64n16k8 m64n24k8 m64n32k8 m64n40k8 m64n48k8 m64n56k8 m64n64k8 m64n72k8 m64n80k8 m64n88k8 m64n96k8 \
    m64n104k8 m64n112k8 m64n120k8 m64n128k8 m64n136k8 m64n144k8 m64n152k8 m64n160k8 m64n168k8 m64n176k8 m64n184k8 \
    m64n192k8 m64n200k8 m64n208k8 m64n216k8 m64n224k8 m64n232k8 m64n240k8 m64n248k8 m64n256k8";
const M64_K16: &str = "shape=m64n8k16 m64n16k16 m64n24k16 m64n32k16 m64n40k16 m64n48k16 m64n56k16 m64n64k16 m64n72k16 m64n80k16 \
    m64n88k16 m64n96k16 m64n104k16 m64n112k16 m64n120k16 m64n128k16 m64n136k16 m64n144k16 m64n152k16 m64n160k16 \
    m64n168k16 m64n176k16 m64n184k16 m64n192k16 m64n200k16 m64n208k16 m64n216k16 m64n224k16 m64n232k16 m64n240k16 \
    m64n248k16 m64n256k16";
const M64_K32: &str = "shape=m64n8k32 m64n16k32 m64n24k32 m64n32k32 m64n40k32 m64n48k32 m64n56k32 m64n64k32 m64n72k32 m64n80k32 \
    m64n88k32 m64n96k32 m64n104k32 m64n112k32 m64n120k32 m64n128k32 m64n136k32 m64n144k32 m64n152k32 m64n160k32 \
    m64n168k32 m64n176k32 m64n184k32 m64n192k32 m64n200k32 m64n208k32 m64n216k32 m64n224k32 m64n232k32 m64n240k32 \
    m64n248k32 m64n256k32";
const M64_K64: &str = "shape=m64n8k64 m64n16k64 m64n24k64 m64n32k64 m64n40k64 m64n48k64 m64n56k64 m64n64k64 m64n72k64 m64n80k64 \
    m64n88k64 m64n96k64 m64n104k64 m64n112k64 m64n120k64 m64n128k64 m64n136k64 m64n144k64 m64n152k64 m64n160k64 \
    m64n168k64 m64n176k64 m64n184k64 m64n192k64 m64n200k64 m64n208k64 m64n216k64 m64n224k64 m64n232k64 m64n240k64 \
    m64n248k64 m64n256k64";
const M64_K32_INT: &str = "shape=m64n8k32 m64n16k32 m64n24k32 m64n32k32 m64n48k32 m64n64k32 m64n80k32 m64n96k32 m64n112k32 m64n128k32 \
    m64n144k32 m64n160k32 m64n176k32 m64n192k32 m64n208k32 m64n224k32 m64n240k32 m64n256k32";
const M64_K64_INT: &str = "shape=m64n8k64 m64n16k64 m64n24k64 m64n32k64 m64n48k64 m64n64k64 m64n80k64 m64n96k64 m64n112k64 m64n128k64 \
    m64n144k64 m64n160k64 m64n176k64 m64n192k64 m64n208k64 m64n224k64 m64n240k64 m64n256k64";
const M64_K256: &str = "shape=m64n8k256 m64n16k256 m64n24k256 m64n32k256 m64n48k256 m64n64k256 m64n80k256 m64n96k256 m64n112k256 \
    m64n128k256 m64n144k256 m64n160k256 m64n176k256 m64n192k256 m64n208k256 m64n224k256 m64n240k256 m64n256k256";
const F8: [&str; 2] = ["atype=e4m3 e5m2", "btype=e4m3 e5m2"];
const I8: [&str; 2] = ["atype=s8 u8", "btype=s8 u8"];
const ACC: &str = "dtype=f16 f32";

pub(crate) const FORMS: &[Form] = &[
    // The order of registers is kept without it.
    form("wgmma.fence.sync.aligned", &[], |_| Ok(())),
    form("wgmma.commit_group.sync.aligned", &[], |_| Ok(())),
    form("wgmma.wait_group.sync.aligned n", &[], |c| {
        c.constant_operand(0)?;
        c.effect(Attrs::of(Op::GroupBarrier).with(Aligned::Yes), Type::B1, 0, &[]);
        Ok(())
    }),
    form(
        "wgmma.mma_async.sync.aligned.shape.dtype.f16.f16 d, a, b, p, scale_a, scale_b, trans{, trans_b}",
        &[M64_K16, ACC],
        |c| c.group_product(MatrixShape::M16N8K16, ["dtype", "f16", "f16"]),
    ),
    form(
        "wgmma.mma_async.sync.aligned.shape.f32.bf16.bf16 d, a, b, p, scale_a, scale_b, trans{, trans_b}",
        &[M64_K16],
        |c| c.group_product(MatrixShape::M16N8K16, ["f32", "bf16", "bf16"]),
    ),
    form("wgmma.mma_async.sync.aligned.shape.f32.tf32.tf32 d, a, b, p, scale_a, scale_b", &[M64_K8], |c| {
        c.group_product(MatrixShape::M16N8K8, ["f32", "tf32", "tf32"])
    }),
    form(
        "wgmma.mma_async.sync.aligned.shape.dtype.atype.btype d, a, b, p, scale_a, scale_b",
        &[M64_K32, ACC, F8[0], F8[1]],
        |c| c.group_product(MatrixShape::M16N8K32, ["dtype", "atype", "btype"]),
    ),
    form(
        "wgmma.mma_async.sync.aligned.shape{.satfinite}.s32.atype.btype d, a, b, p",
        &[M64_K32_INT, I8[0], I8[1]],
        |c| c.group_product(MatrixShape::M16N8K32, ["s32", "atype", "btype"]),
    ),
    form("wgmma.mma_async.sync.aligned.shape.s32.b1.b1.and.popc d, a, b, p", &[M64_K256], |c| {
        c.group_product(MatrixShape::M16N8K256, ["s32", "b1", "b1"])
    }),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape.dtype.f16.f16 d, a, b, meta, selector, p, scale_a, scale_b, trans{, trans_b}",
        &[M64_K32, ACC],
        |c| c.group_product(MatrixShape::M16N8K32, ["dtype", "f16", "f16"]),
    ),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape.f32.bf16.bf16 d, a, b, meta, selector, p, scale_a, scale_b, trans{, trans_b}",
        &[M64_K32],
        |c| c.group_product(MatrixShape::M16N8K32, ["f32", "bf16", "bf16"]),
    ),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape.f32.tf32.tf32 d, a, b, meta, selector, p, scale_a, scale_b",
        &[M64_K16],
        |c| c.group_product(MatrixShape::M16N8K16, ["f32", "tf32", "tf32"]),
    ),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape.dtype.atype.btype d, a, b, meta, selector, p, scale_a, scale_b",
        &[M64_K64, ACC, F8[0], F8[1]],
        |c| c.group_product(MatrixShape::M16N8K64, ["dtype", "atype", "btype"]),
    ),
    form(
        "wgmma.mma_async.sp.sync.aligned.shape{.satfinite}.s32.atype.btype d, a, b, meta, selector, p",
        &[M64_K64_INT, I8[0], I8[1]],
        |c| c.group_product(MatrixShape::M16N8K64, ["s32", "atype", "btype"]),
    ),
];

/// Columns that are computed at once.
const COLUMNS: usize = 8;

/// A matrix in shared memory, in units of 16 bytes. Units that are neighbours along a line in memory lie in blocks of
/// eight lines, `2^log` units wide: those of a line side by side, swizzled by the lines' number.
struct Described {
    /// Of the first line of each lane's tile, by the lane's number in the tile.
    lines: Value,
    /// From a block to the next one, along the lines and across them.
    along: Value,
    across: Value,
    base: Value,
    log: Value,
    mask: Value,
}

/// The lanes' lines: lane `8i + r` names line `r` of tile `i`.
#[derive(Clone, Copy)]
struct Lane {
    line: Value,
    tile: Value,
}

impl Lifter<'_, '_> {
    fn word32(&mut self, op: impl Into<Attrs>, a: Value, b: Value) -> Value {
        self.op(op, Type::I32, &[a, b])
    }
    fn with_number(&mut self, op: impl Into<Attrs>, a: Value, n: u64) -> Value {
        let n = self.constant(Type::I32, n);
        self.word32(op, a, n)
    }
    fn bits(&mut self, word: Value, first: u64, mask: u64) -> Value {
        let down = if first == 0 { word } else { self.with_number(Attrs::of(Op::Shr).with(Sign::U), word, first) };
        self.with_number(Op::And, down, mask)
    }

    /// Takes a descriptor apart. Its matrix is stored along k, or along its other side where `turned`.
    fn described(&mut self, n: usize, turned: bool, lane: Lane) -> Result<Described, Box<Diagnostic>> {
        let descriptor = self.src(n, Ty::known("b64"))?;
        let low = self.op(Op::Trunc, Type::I32, &[descriptor]);
        let half = self.constant(Type::I32, 32);
        let high = self.op(Attrs::of(Op::Shr).with(Sign::U), Type::I64, &[descriptor, half]);
        let high = self.op(Op::Trunc, Type::I32, &[high]);
        let (start, leading) = (self.bits(low, 0, PLACES), self.bits(low, 16, PLACES));
        let (stride, base) = (self.bits(high, 0, PLACES), self.bits(high, 17, 7));
        let mode = self.bits(high, 30, 3);
        // Modes 1, 2 and 3 are of 8, 4 and 2 units, mode 0 of one.
        let zero = self.constant(Type::I32, 0);
        let log = self.word32(Op::ISub, zero, mode);
        let log = self.with_number(Op::And, log, 3);
        let one = self.constant(Type::I32, 1);
        let width = self.word32(Op::Shl, one, log);
        let mask = self.word32(Op::ISub, width, one);
        let line = self.word32(Op::Shl, lane.line, log);
        let lines = self.word32(Op::IAdd, start, line);
        let (mut along, mut across) = (leading, stride);
        if turned {
            // Without a swizzle, the two distances change their meaning.
            let plain = self.op(Attrs::of(Op::ICmp).with(IntCmp::Eq), Type::I32, &[mode, zero]);
            along = self.op(Op::Select, Type::I32, &[plain, stride, leading]);
            across = self.op(Op::Select, Type::I32, &[plain, leading, stride]);
        }
        Ok(Described { lines, along, across, base, log, mask })
    }
    /// How far a unit is from the first one of its line.
    fn unit(&mut self, m: &Described, unit: Value) -> Value {
        let block = self.word32(Attrs::of(Op::Shr).with(Sign::U), unit, m.log);
        let block = self.word32(Op::IMul, block, m.along);
        let inside = self.word32(Op::And, unit, m.mask);
        self.word32(Op::IAdd, block, inside)
    }
    /// Reads tiles whose lines begin so far from the first ones.
    fn tiles_at(&mut self, m: &Described, tiles: Tiles, turned: bool, distances: [Value; 2]) -> Vec<Value> {
        let at = self.word32(Op::IAdd, distances[0], distances[1]);
        let at = self.word32(Op::IAdd, at, m.lines);
        let line = self.with_number(Attrs::of(Op::Shr).with(Sign::U), at, 3);
        let line = self.word32(Op::ISub, line, m.base);
        let swizzle = self.word32(Op::And, line, m.mask);
        let at = self.word32(Op::Xor, at, swizzle);
        let at = self.with_number(Op::And, at, PLACES);
        let at = self.with_number(Op::Shl, at, 4);
        let at = self.op(Op::Zext, Type::I64, &[at]);
        let transpose = if turned { Transpose::Yes } else { Transpose::No };
        let attrs = Attrs::of(Op::LdMatrix).with(tiles).with(transpose).with(Space::Shared);
        self.op_many(attrs, Type::I32, &[at], &vec![Type::I32; tiles.count()])
    }

    /// A flag that is a constant: 0 or 1.
    fn flag(&self, n: usize) -> Result<bool, Box<Diagnostic>> {
        match self.constant_operand(n)? {
            flag @ (0 | 1) => Ok(flag == 1),
            other => Err(self.error_at(self.operand(n).span, format!("{} is neither 0 nor 1", other as i64))),
        }
    }
    /// Whether a constant of 1 or -1 is negative.
    fn negates(&self, n: usize) -> Result<bool, Box<Diagnostic>> {
        match self.constant_operand(n)? as i64 {
            1 => Ok(false),
            -1 => Ok(true),
            other => Err(self.error_at(self.operand(n).span, format!("{other} is neither 1 nor -1"))),
        }
    }
    /// Columns of the result, as the shape says.
    fn columns(&self) -> usize {
        let shape = self.word("shape").unwrap_or_default();
        let n = shape.split_once('n').and_then(|(_, rest)| rest.split_once('k'));
        n.and_then(|(n, _)| n.parse().ok()).unwrap_or(COLUMNS)
    }

    /// A product whose warps compute products of this shape. Types are the names of parts or of types.
    fn group_product(&mut self, shape: MatrixShape, [d, a, b]: [&'static str; 3]) -> Lifted {
        let [d, a, b] = [d, a, b].map(|t| self.word(t).unwrap_or(t));
        let Some(types) = MatrixTypes::ALL.iter().copied().find(|t| t.name() == format!("{d}.{a}.{b}.{d}")) else {
            return Err(self.error(format!("there is no product of types .{d}.{a}.{b}")));
        };
        let sparse = self.has("sp");
        let product = Product {
            shape,
            types,
            layouts: (Layout::Row, Layout::Col),
            sparsity: if sparse { Sparsity::Ordered } else { Sparsity::Dense },
            selector: if sparse { self.constant_operand(4)? as usize } else { 0 },
            bits: if types == MatrixTypes::B1 { BitProduct::And } else { BitProduct::None },
            round: MatrixRound::Rn,
            short: matches!(types.elements()[1], Element::E4m3 | Element::E5m2),
            sat: self.has("satfinite"),
        };
        let attrs = Self::product_attributes(&product);
        let (Some(attrs), Ok(())) = (attrs, product.check()) else {
            return Err(self.error(format!("{} is no sparsity selector of this product", product.selector)));
        };
        // Behind the factors and the metadata: what c is, signs, and how the factors are stored.
        let rest = if sparse { 5 } else { 3 };
        let is_float = !types.elements()[1].is_integer();
        let negated = is_float && self.negates(rest + 1)? != self.negates(rest + 2)?;
        let in_registers = matches!(self.operand(1).kind, OperandKind::Vector(_));
        let stored = self.operand_count().saturating_sub(rest + 3);
        let (turned_a, turned_b) = match (stored, in_registers) {
            (2, false) if is_float => (self.flag(rest + 3)?, self.flag(rest + 4)?),
            (1, true) if is_float => (false, self.flag(rest + 3)?),
            (1 | 2, _) if is_float => {
                let wanted = if in_registers { "that of B alone" } else { "those of A and of B" };
                return Err(self.error(format!("the constants at the end are {wanted}")));
            }
            _ => (false, false),
        };

        let [_, fa, fb, fc] = product.fragments();
        let number = self.op(Attrs::of(Op::Sreg).with(Sreg::LaneId), Type::I32, &[]);
        let lane = Lane { line: self.bits(number, 0, 7), tile: self.bits(number, 3, 3) };
        let mut factor = if in_registers { self.fragment_in(1, &fa)? } else { self.rows_of_warp(turned_a, lane)? };
        if negated {
            let sign = signs(types.elements()[1]);
            factor = factor.into_iter().map(|v| self.with_number(Op::Xor, v, sign)).collect();
        }
        let metadata = if sparse { Some(self.src(3, Ty::known("b32"))?) } else { None };
        let keeps = self.src_pred(rest)?;
        let c_ty = register(fc.element());
        let columns = self.columns();
        let accumulators = self.src_elements(0, c_ty, columns / COLUMNS * fc.registers(), false)?;

        let m = self.described(2, turned_b, lane)?;
        // Dense, two tiles of columns are read at once, of two units along k each; else one, of four.
        let (tile, unit) = match sparse {
            true => (self.constant(Type::I32, 0), lane.tile),
            false => {
                let one = self.constant(Type::I32, 1);
                (self.word32(Attrs::of(Op::Shr).with(Sign::U), lane.tile, one), self.word32(Op::And, lane.tile, one))
            }
        };
        let along_k = if turned_b { self.word32(Op::IMul, unit, m.across) } else { self.unit(&m, unit) };
        let at_once = if sparse { 1 } else { 2 };
        let mut sums = Vec::with_capacity(accumulators.len());
        let starts: Vec<&[Value]> = accumulators.chunks(fc.registers()).collect();
        for (n, pair) in starts.chunks(at_once).enumerate() {
            let column = self.with_number(Op::IAdd, tile, (n * at_once) as u64);
            let column = if turned_b { self.unit(&m, column) } else { self.word32(Op::IMul, column, m.across) };
            let tiles = if pair.len() * fb.registers() == 4 { Tiles::X4 } else { Tiles::X2 };
            let columns = self.tiles_at(&m, tiles, turned_b, [column, along_k]);
            for (b, c) in columns.chunks(fb.registers()).zip(pair) {
                let mut args = factor.clone();
                args.extend(b);
                for &c in *c {
                    let c = self.cast(c, fc.register());
                    let zero = self.constant(fc.register(), 0);
                    args.push(self.op(Op::Select, fc.register(), &[keeps, c, zero]));
                }
                args.extend(metadata);
                let results: Vec<Type> = fc.types().collect();
                sums.extend(self.op_many(attrs, Type::B1, &args, &results));
            }
        }
        let sums: Vec<Value> = sums.into_iter().map(|v| self.cast(v, c_ty.ir)).collect();
        self.in_braces(0)?;
        self.dst_elements(0, c_ty, &sums, false)
    }

    /// The sixteen rows of A that are the warp's.
    fn rows_of_warp(&mut self, turned: bool, lane: Lane) -> Result<Vec<Value>, Box<Diagnostic>> {
        let m = self.described(1, turned, lane)?;
        let warp = self.op(Attrs::of(Op::Sreg).with(Sreg::WarpId), Type::I32, &[]);
        let warp = self.bits(warp, 0, 3);
        let first = self.with_number(Op::Shl, warp, 1);
        let (row, unit) = (self.bits(lane.tile, 0, 1), self.bits(lane.tile, 1, 1));
        let row = self.word32(Op::IAdd, first, row);
        let distances = match turned {
            true => [self.unit(&m, row), self.word32(Op::IMul, unit, m.across)],
            false => [self.word32(Op::IMul, row, m.across), self.unit(&m, unit)],
        };
        Ok(self.tiles_at(&m, Tiles::X4, turned, distances))
    }
}

/// Addresses and distances of a descriptor.
const PLACES: u64 = 0x3fff;

/// The signs of what a register holds.
fn signs(element: Element) -> u64 {
    (0..element.per_register()).map(|n| 1 << ((n + 1) * element.bits() - 1)).sum()
}
