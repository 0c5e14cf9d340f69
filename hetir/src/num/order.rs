//! Comparison, min and max, classification and sign operations.

use super::nan::canonical_nan;
use super::{Format, nan};

/// Modifiers of min and max.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MinMax {
    /// Flush subnormal operands to zero (f16 and f32).
    pub ftz: bool,
    /// A NaN operand makes the result the canonical NaN; without it the other operand is the result.
    pub nan: bool,
    /// Magnitudes are compared, and the result takes the exclusive or of the signs.
    pub xorsign_abs: bool,
}

/// A comparison. The plain ones are false on NaN, those ending in `u` true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal, both numbers.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Equal or unordered.
    Equ,
    /// Not equal or unordered.
    Neu,
    /// Less or unordered.
    Ltu,
    /// Less, equal or unordered.
    Leu,
    /// Greater or unordered.
    Gtu,
    /// Greater, equal or unordered.
    Geu,
    /// Both are numbers.
    Num,
    /// At least one is NaN.
    Nan,
}

/// A property of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TestClass {
    /// Neither infinite nor NaN.
    Finite,
    /// Infinite.
    Infinite,
    /// Not NaN.
    Number,
    /// NaN.
    NotANumber,
    /// Neither subnormal nor infinite nor NaN; zeros count as normal.
    Normal,
    /// Subnormal, zeros excluded.
    Subnormal,
}

/// A key whose order is that of the numbers, -0 below +0.
#[inline]
fn key(f: Format, a: u64) -> i64 {
    let mag = (a & (f.sign_bit() - 1)) as i64;
    if a & f.sign_bit() != 0 { !mag } else { mag }
}

/// -a.
#[inline]
pub fn neg(f: Format, a: u64, ftz: bool) -> u64 {
    if f.is_nan(a) { nan::sign_changed(f, a) } else { f.flush(a, ftz) ^ f.sign_bit() }
}

/// |a|.
#[inline]
pub fn abs(f: Format, a: u64, ftz: bool) -> u64 {
    if f.is_nan(a) { nan::sign_changed(f, a) } else { f.flush(a, ftz) & !f.sign_bit() }
}

/// The magnitude of b with the sign of a (PTX operand order).
#[inline]
pub fn copysign(f: Format, a: u64, b: u64) -> u64 {
    a & f.sign_bit() | b & (f.sign_bit() - 1)
}

/// Negative values, -0 included, become +0, NaN the canonical NaN.
#[inline]
pub fn relu(f: Format, a: u64) -> u64 {
    if f.is_nan(a) {
        canonical_nan(f)
    } else if a & f.sign_bit() != 0 {
        0
    } else {
        a & f.mask()
    }
}

/// The lesser operand; -0 is less than +0.
#[inline]
pub fn min(f: Format, a: u64, b: u64, m: MinMax) -> u64 {
    pick(f, a, b, m, |a, b| key(f, a) <= key(f, b))
}

/// The greater operand; +0 is greater than -0.
#[inline]
pub fn max(f: Format, a: u64, b: u64, m: MinMax) -> u64 {
    pick(f, a, b, m, |a, b| key(f, a) >= key(f, b))
}

#[inline]
fn pick(f: Format, a: u64, b: u64, m: MinMax, first: impl Fn(u64, u64) -> bool) -> u64 {
    let (mut a, mut b) = (f.flush(a, m.ftz), f.flush(b, m.ftz));
    let sign = (a ^ b) & f.sign_bit();
    if m.xorsign_abs {
        a &= !f.sign_bit();
        b &= !f.sign_bit();
    }
    let d = match (f.is_nan(a), f.is_nan(b)) {
        (true, _) | (_, true) if m.nan => return canonical_nan(f),
        (true, true) => return nan::min_max(f, a, b),
        (true, false) => b,
        (false, true) => a,
        (false, false) => {
            if first(a, b) {
                a
            } else {
                b
            }
        }
    };
    if m.xorsign_abs { d | sign } else { d }
}

/// Compares a with b.
#[inline]
pub fn compare(f: Format, c: Cmp, a: u64, b: u64, ftz: bool) -> bool {
    let (a, b) = (f.flush(a, ftz), f.flush(b, ftz));
    let unordered = f.is_nan(a) || f.is_nan(b);
    let equal = a == b || (a | b) & (f.sign_bit() - 1) == 0;
    let less = !equal && key(f, a) < key(f, b);
    match c {
        Cmp::Eq => !unordered && equal,
        Cmp::Ne => !unordered && !equal,
        Cmp::Lt => !unordered && less,
        Cmp::Le => !unordered && (less || equal),
        Cmp::Gt => !unordered && !less && !equal,
        Cmp::Ge => !unordered && !less,
        Cmp::Equ => unordered || equal,
        Cmp::Neu => unordered || !equal,
        Cmp::Ltu => unordered || less,
        Cmp::Leu => unordered || less || equal,
        Cmp::Gtu => unordered || (!less && !equal),
        Cmp::Geu => unordered || !less,
        Cmp::Num => !unordered,
        Cmp::Nan => unordered,
    }
}

/// Tests a property of a.
#[inline]
pub fn test(f: Format, class: TestClass, a: u64) -> bool {
    let mag = a & (f.sign_bit() - 1);
    let subnormal = mag != 0 && mag < f.min_normal();
    match class {
        TestClass::Finite => mag < f.infinity(),
        TestClass::Infinite => mag == f.infinity(),
        TestClass::Number => mag <= f.infinity(),
        TestClass::NotANumber => mag > f.infinity(),
        TestClass::Normal => mag < f.infinity() && !subnormal,
        TestClass::Subnormal => subnormal,
    }
}
