use super::*;
use crate::attr::{BitProduct, Element, Layout, Matrix, MatrixRound, MatrixTypes, Sparsity};
use std::collections::BTreeSet;

/// Every product that there is, with one of its layouts, selectors and modes.
fn products() -> Vec<Product> {
    let mut all = Vec::new();
    for &types in MatrixTypes::ALL {
        for &shape in MatrixShape::ALL {
            for sparsity in [Sparsity::Dense, Sparsity::Ordered] {
                let product = Product {
                    shape,
                    types,
                    layouts: (Layout::Row, Layout::Col),
                    sparsity,
                    selector: 0,
                    bits: if types == MatrixTypes::B1 { BitProduct::And } else { BitProduct::None },
                    round: MatrixRound::Rn,
                    short: false,
                    sat: false,
                };
                if product.check().is_ok() {
                    all.push(product);
                }
            }
        }
    }
    all
}

#[test]
fn every_element_is_in_one_place() {
    assert_eq!(products().len(), 112);
    for product in products() {
        for fragment in product.fragments() {
            let (rows, cols) = fragment.size();
            let mut seen = BTreeSet::new();
            for lane in 0..32 {
                for n in 0..fragment.elements() {
                    let p = fragment.position(lane, n);
                    assert!(p.row < rows && p.col < cols, "{product:?} {fragment:?}");
                    assert!(seen.insert((p.product, p.row, p.col)), "{product:?}: {p:?} is held twice");
                }
            }
            assert_eq!(seen.len() % (rows * cols), 0);
            let (last, _) = fragment.slot(fragment.elements() - 1);
            assert!(last < fragment.registers());
        }
    }
}

#[test]
fn registers_are_as_many_as_the_manual_says() {
    let count = |shape, types| {
        let all = products();
        let dense = |p: &&Product| p.shape == shape && p.types == types && p.sparsity == Sparsity::Dense;
        let product = all.iter().find(dense).unwrap();
        product.fragments().map(|f| f.registers())
    };
    use MatrixShape as S;
    use MatrixTypes as T;
    assert_eq!(count(S::M8N8K4, T::F32AccF16), [8, 2, 2, 4]);
    assert_eq!(count(S::M16N8K16, T::F16AccF16), [2, 4, 2, 2]);
    assert_eq!(count(S::M16N8K16, T::F64), [4, 8, 4, 4]);
    assert_eq!(count(S::M8N8K16, T::S8U8), [2, 1, 1, 2]);
    assert_eq!(count(S::M16N8K256, T::B1), [4, 4, 2, 4]);
    assert_eq!(count(S::M16N16K16, T::F16AccF32), [4, 8, 8, 8]);
    assert_eq!(count(S::M8N32K16, T::Bf16), [8, 2, 8, 8]);
    assert_eq!(count(S::M32N8K16, T::U8U8), [8, 4, 1, 8]);
    assert_eq!(count(S::M16N16K8, T::Tf32), [8, 4, 4, 8]);
}

/// Formulas of the PTX manual, with g = lane / 4 and t = lane % 4.
#[test]
fn fragments_lie_where_the_manual_says() {
    let place = |matrix, shape: MatrixShape, element, lane, n| {
        let p = Fragment::new(matrix, shape, shape.size().2, element, Layout::Row).position(lane, n);
        (p.row, p.col)
    };
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for i in 0..8 {
            let row = if i < 2 || (4..6).contains(&i) { g } else { g + 8 };
            let col = t * 2 + (i & 1) + if i >= 4 { 8 } else { 0 };
            assert_eq!(place(Matrix::A, MatrixShape::M16N8K16, Element::Bf16, lane, i), (row, col));
            let col = if i % 2 == 0 { i * 2 + t } else { i * 2 - 2 + t };
            assert_eq!(place(Matrix::A, MatrixShape::M16N8K16, Element::F64, lane, i), (g + i % 2 * 8, col));
        }
        for i in 0..16 {
            let row = if i < 4 || (8..12).contains(&i) { g } else { g + 8 };
            let col = t * 4 + (i & 3) + if i >= 8 { 16 } else { 0 };
            assert_eq!(place(Matrix::A, MatrixShape::M16N8K32, Element::U8, lane, i), (row, col));
            let row = t * 8 + (i & 7) + if i >= 8 { 32 } else { 0 };
            assert_eq!(place(Matrix::B, MatrixShape::M16N8K64, Element::S4, lane, i), (row, g));
        }
        for i in 0..4 {
            let row = if i < 2 { g } else { g + 8 };
            assert_eq!(place(Matrix::C, MatrixShape::M16N8K8, Element::F32, lane, i), (row, t * 2 + (i & 1)));
        }
    }
}

/// Read off the addresses that the assembler computes for the loads of lane 6.
#[test]
fn fragments_in_memory_lie_where_hardware_has_them() {
    let firsts = |matrix, shape, element| {
        let f = Fragment::in_memory(matrix, shape, element, Layout::Row).unwrap();
        let step = element.per_register();
        (0..f.registers()).map(|r| f.position(6, r * step)).map(|p| (p.row, p.col)).collect::<Vec<_>>()
    };
    use MatrixShape as S;
    let four = [(1, 4), (9, 4), (1, 12), (9, 12)];
    assert_eq!(firsts(Matrix::A, S::M16N16K16, Element::F16), [four, four].concat());
    let four = [(4, 1), (12, 1), (4, 9), (12, 9)];
    assert_eq!(firsts(Matrix::B, S::M16N16K16, Element::F16), [four, four].concat());
    let b = [(4, 1), (4, 9), (12, 1), (12, 9), (4, 17), (4, 25), (12, 17), (12, 25)];
    assert_eq!(firsts(Matrix::B, S::M8N32K16, Element::Bf16), b);
    assert_eq!(firsts(Matrix::A, S::M32N8K16, Element::S8), [(1, 8), (9, 8), (17, 8), (25, 8)]);
    let c = [(4, 1), (5, 1), (4, 9), (5, 9), (4, 17), (5, 17), (4, 25), (5, 25)];
    assert_eq!(firsts(Matrix::C, S::M8N32K16, Element::S32), c);
    assert_eq!(firsts(Matrix::C, S::M32N8K16, Element::F16), [(1, 4), (9, 4), (17, 4), (25, 4)]);
    assert_eq!(firsts(Matrix::B, S::M16N16K8, Element::Tf32), [(2, 1), (6, 1), (2, 9), (6, 9)]);
}

#[test]
fn operands_of_any_bits_give_results_of_their_width() {
    let mut bits = 1u64;
    let mut random = || {
        bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        bits ^ bits >> 29
    };
    for product in products() {
        let operands: Vec<Column> =
            product.operands().iter().map(|t| std::array::from_fn(|_| random() & t.mask())).collect();
        let results = product.eval(&operands);
        assert_eq!(results.len(), product.results().len(), "{product:?}");
        for (column, t) in results.iter().zip(product.results()) {
            assert!(column.iter().all(|v| v & !t.mask() == 0), "{product:?}");
        }
        assert_eq!(product.eval(&[]).len(), results.len());
    }
}

#[test]
fn metadata_name_columns_of_their_chunk() {
    for product in products().into_iter().filter(|p| p.sparsity != Sparsity::Dense) {
        let metadata = product.metadata();
        let [_, a, _, _] = product.fragments();
        let (rows, stored) = a.size();
        // Bits that are the same in every chunk: the first and third place, or column 1 of two.
        let nibble = if a.element() == Element::Tf32 { 0xe } else { 0x8 };
        let column = [0x1111_1111 * nibble; 32];
        for row in 0..rows {
            for n in 0..stored {
                let expected = match a.element().bits() {
                    32 => 2 * n + 1,
                    4 => n / 4 * 8 + [0, 1, 4, 5][n % 4],
                    _ => n / 2 * 4 + n % 2 * 2,
                };
                assert_eq!(metadata.column(&column, row, n), expected, "{product:?}");
            }
        }
    }
}

#[test]
fn tiles_turn_back() {
    let rows: [[u16; 8]; 8] = std::array::from_fn(|r| std::array::from_fn(|c| (r * 8 + c) as u16));
    let tile = tile_from_rows(&rows, false);
    assert_eq!((tile[0], tile[6]), (0x0001_0000, 0x000d_000c));
    let turned = tile_from_rows(&rows, true);
    assert_eq!((turned[0], turned[6]), (0x0008_0000, 0x0029_0021));
    assert_eq!(tile_to_rows(&turned, true), rows);
    assert_eq!(tile_from_rows(&tile_to_rows(&tile, false), true), turned);
}

#[test]
fn short_sums_keep_13_places() {
    let fp8 =
        |types: MatrixTypes, products: &[(u64, u64)], c| sum::float(sum::Order::Short, types.elements(), products, c);
    let e5m2 = |products: &[(u64, u64)], c| fp8(MatrixTypes::E5m2E5m2AccF32, products, c);
    let (one, minus) = (0x3c, 0xbc);
    // 2^-13 beside 1 is kept, 2^-14 is cut off, also from c.
    assert_eq!(e5m2(&[(one, one), (0x20, 0x24)], 0), 0x3f80_0400);
    assert_eq!(e5m2(&[(one, one), (0x20, 0x20)], 0), 0x3f80_0000);
    assert_eq!(e5m2(&[(one, one), (0x20, 0x20), (minus, one)], 0), 0);
    assert_eq!(e5m2(&[(one, one), (minus, one)], 0x3880_0000), 0);
    // The result has 13 places as well, although the sum has one more.
    assert_eq!(e5m2(&[(one, one), (one, one), (0x20, 0x24)], 0), 0x4000_0000);
    assert_eq!(e5m2(&[(minus, one), (minus, one), (0xa0, 0x24)], 0), 0xc000_0000);
    // So has c alone.
    assert_eq!(e5m2(&[], 0x3f80_07ff), 0x3f80_0400);
    assert_eq!(e5m2(&[], 0x8000_0001), 0);
    assert_eq!(e5m2(&[(0x7c, one)], 0), 0x7f80_0000);
    assert_eq!(e5m2(&[(0x7c, 0)], 0), 0x7fff_ffff);
    // The exponent of a subnormal e4m3 is -6: 2^-9 * 2^-9 = 2^-18 is kept below 2^-12 * 2, not below 2^-6 * 1.5.
    let e4m3 = |products: &[(u64, u64)]| fp8(MatrixTypes::E4m3E4m3AccF32, products, 0);
    assert_eq!(e4m3(&[(1, 1)]), 0x3680_0000);
    assert_eq!(e4m3(&[(1, 1), (0x3c, 0x08), (0xbc, 0x08)]), 0x3680_0000);
    assert_eq!(e4m3(&[(1, 1), (0x38, 0x38), (0xb8, 0x38)]), 0);
    // Of f16, the sum is rounded once, to nearest.
    let half = |products: &[(u64, u64)]| fp8(MatrixTypes::E5m2E5m2AccF16, products, 0);
    assert_eq!(half(&[(one, one), (0x28, 0x24)]), 0x3c00);
    assert_eq!(half(&[(one, one), (0x28, 0x24), (0x20, 0x24)]), 0x3c01);
}

/// D of one element: f16 factors (1 and the bits given), f32 sums.
fn f32_sum(factors: &[u64], c: u64) -> u64 {
    const ONE: u64 = 0x3c00;
    let products: Vec<(u64, u64)> = factors.iter().map(|&f| (f, ONE)).collect();
    let types = MatrixTypes::F32AccF32.elements();
    sum::float(sum::Order::Together, types, &products, c)
}

#[test]
fn summands_are_cut_below_the_largest_exponent() {
    // 1 + 2^-24 - 1: 25 places are kept.
    assert_eq!(f32_sum(&[0x3c00, 0x0001, 0xbc00], 0), 0x3380_0000);
    // 2 + 2^-24 - 2 still has them all, 4 + 2^-24 - 4 has lost the last.
    assert_eq!(f32_sum(&[0x4000, 0x0001, 0xc000], 0), 0x3380_0000);
    assert_eq!(f32_sum(&[0x4400, 0x0001, 0xc400], 0), 0);
    // 4 - 2^-24 is cut towards zero before it is subtracted, so nothing is.
    assert_eq!(f32_sum(&[0x4400, 0x8001], 0), 0x4080_0000);
    // 1 - 2^-24 is a number; 1 + 3 * 2^-24 loses its last bit, towards zero from both sides.
    assert_eq!(f32_sum(&[0x3c00, 0x8001], 0), 0x3f7f_ffff);
    assert_eq!(f32_sum(&[0x3c00, 0x0003], 0), 0x3f80_0001);
    assert_eq!(f32_sum(&[0xbc00, 0x8003], 0), 0xbf80_0001);
}

#[test]
fn sums_have_the_special_cases_of_arithmetic() {
    const INF: u64 = 0x7f80_0000;
    const NAN: u64 = 0x7fff_ffff;
    assert_eq!(f32_sum(&[0x7c00], 0), INF);
    assert_eq!(f32_sum(&[0x7c00, 0xfc00], 0), NAN);
    assert_eq!(f32_sum(&[0x7c00], INF | 1 << 31), NAN);
    assert_eq!(f32_sum(&[0x7c01], 0), NAN);
    assert_eq!(f32_sum(&[0x8000, 0x8000], 1 << 31), 0);
    assert_eq!(f32_sum(&[0], 0x8000_0001), 0x8000_0001);
    // The largest f32 twice: beyond the range, although rounded towards zero.
    let types = MatrixTypes::Bf16.elements();
    let twice = [(0x7f7f, 0x3f80), (0x7f7f, 0x3f80)];
    assert_eq!(sum::float(sum::Order::Together, types, &twice, 0), INF);
    assert_eq!(sum::float(sum::Order::Together, types, &[(0x7f80, 0)], 0), NAN);
    // tf32 loses what makes this a NaN.
    let types = MatrixTypes::Tf32.elements();
    assert_eq!(sum::float(sum::Order::Together, types, &[(0x7f80_0001, 0x3f80_0000)], 0), INF);
}

#[test]
fn halves_are_rounded_once_and_fp8_adds_c_last() {
    let f16 =
        |products: &[(u64, u64)], c| sum::float(sum::Order::Together, MatrixTypes::F16AccF16.elements(), products, c);
    // 2048 + 1 ties to even, 2048 + 3 / 2 does not; 60000 + 60000 - 60000 does not overflow.
    assert_eq!(f16(&[(0x3c00, 0x3c00)], 0x6800), 0x6800);
    assert_eq!(f16(&[(0x3e00, 0x3c00)], 0x6800), 0x6801);
    assert_eq!(f16(&[(0x7b53, 0x3c00), (0x7b53, 0x3c00), (0xfb53, 0x3c00)], 0), 0x7b53);
    assert_eq!(f16(&[(0x7b53, 0x3c00), (0x7b53, 0x3c00)], 0), 0x7c00);
    // e5m2: 2^-24 beside 1 is lost where the first step is rounded to f32, and not where it meets -1 in the second.
    let fp8 = |products: &[(u64, u64)], c| {
        sum::float(sum::Order::Together, MatrixTypes::E5m2E5m2AccF32.elements(), products, c)
    };
    let (one, small, zero) = (0x3c, 0x0c, 0);
    assert_eq!(fp8(&[(one, one), (small, small), (0xbc, one)], 0), 0);
    assert_eq!(fp8(&[(one, one), (zero, zero), (0xbc, one), (small, small)], 0), 0x3380_0000);
    // 1 + 3 * 2^-25 is nearer to the next number than to 1.
    let three = [(0x0c, 0x0c), (0x0c, 0x08)];
    assert_eq!(fp8(&three, 0x3f80_0000), 0x3f80_0001);
}
