//! Element types of filetest buffers and scalars: literals to bits, bits to text, distances between bits.

use std::fmt;

/// An element type as PTX spells it. `b` types are bare bits: signed or unsigned numbers are accepted for them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elem {
    U8,
    S8,
    B8,
    U16,
    S16,
    B16,
    U32,
    S32,
    B32,
    U64,
    S64,
    B64,
    F16,
    Bf16,
    F32,
    F64,
}

/// What the bits of an element mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    Unsigned,
    Signed,
    Bits,
    /// A float with so many exponent and mantissa bits.
    Float {
        exponent: u32,
        mantissa: u32,
    },
}

const TABLE: [(Elem, &str, u32, Class); 16] = [
    (Elem::U8, "u8", 1, Class::Unsigned),
    (Elem::S8, "s8", 1, Class::Signed),
    (Elem::B8, "b8", 1, Class::Bits),
    (Elem::U16, "u16", 2, Class::Unsigned),
    (Elem::S16, "s16", 2, Class::Signed),
    (Elem::B16, "b16", 2, Class::Bits),
    (Elem::U32, "u32", 4, Class::Unsigned),
    (Elem::S32, "s32", 4, Class::Signed),
    (Elem::B32, "b32", 4, Class::Bits),
    (Elem::U64, "u64", 8, Class::Unsigned),
    (Elem::S64, "s64", 8, Class::Signed),
    (Elem::B64, "b64", 8, Class::Bits),
    (Elem::F16, "f16", 2, Class::Float { exponent: 5, mantissa: 10 }),
    (Elem::Bf16, "bf16", 2, Class::Float { exponent: 8, mantissa: 7 }),
    (Elem::F32, "f32", 4, Class::Float { exponent: 8, mantissa: 23 }),
    (Elem::F64, "f64", 8, Class::Float { exponent: 11, mantissa: 52 }),
];

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

impl Elem {
    fn row(self) -> &'static (Elem, &'static str, u32, Class) {
        &TABLE[self as usize]
    }

    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// All names, for messages.
    pub fn names() -> String {
        TABLE.map(|row| row.1).join(" ")
    }

    /// Size in bytes.
    pub fn size(self) -> usize {
        self.row().2 as usize
    }

    /// What the bits mean.
    pub fn class(self) -> Class {
        self.row().3
    }

    /// True for the floating-point types.
    pub fn is_float(self) -> bool {
        matches!(self.class(), Class::Float { .. })
    }

    /// All bits of the type set.
    pub fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self.size())
    }

    /// The NaN that PTX calls canonical; `None` for f64, whose NaNs keep their payload, and for non-floats.
    pub fn canonical_nan(self) -> Option<u64> {
        match self {
            Elem::F16 | Elem::Bf16 => Some(0x7fff),
            Elem::F32 => Some(0x7fff_ffff),
            _ => None,
        }
    }

    /// True if the bits are a NaN of this type.
    pub fn is_nan(self, bits: u64) -> bool {
        match self.class() {
            Class::Float { exponent, mantissa } => bits & (self.mask() >> 1) > ((1 << exponent) - 1) << mantissa,
            _ => false,
        }
    }

    /// The bits of an integer, if this is an integer type that can hold it.
    pub fn from_integer(self, value: i128) -> Option<u64> {
        let width = 8 * self.size() as u32;
        let (low, high) = match self.class() {
            Class::Unsigned => (0, (1i128 << width) - 1),
            Class::Signed => (-(1i128 << (width - 1)), (1i128 << (width - 1)) - 1),
            Class::Bits => (-(1i128 << (width - 1)), (1i128 << width) - 1),
            Class::Float { .. } => return None,
        };
        (low..=high).contains(&value).then_some(value as u64 & self.mask())
    }

    /// The bits of a bit pattern, if it fits the width.
    pub fn from_pattern(self, bits: u128) -> Option<u64> {
        u64::try_from(bits).ok().filter(|b| b & !self.mask() == 0)
    }

    /// The bits of a decimal float literal, rounded to nearest even; `None` for the other types and for text that is
    /// no number. Infinities count as numbers, NaN does not.
    pub fn from_decimal(self, text: &str) -> Option<u64> {
        let bits = match self {
            Elem::F64 => text.parse::<f64>().ok()?.to_bits(),
            Elem::F32 => u64::from(text.parse::<f32>().ok()?.to_bits()),
            Elem::F16 => narrow(text.parse::<f64>().ok()?, 5, 10),
            Elem::Bf16 => narrow(text.parse::<f64>().ok()?, 8, 7),
            _ => return None,
        };
        (!self.is_nan(bits)).then_some(bits)
    }

    /// The value as f64; exact for every float type, `None` for the others.
    pub fn to_f64(self, bits: u64) -> Option<f64> {
        match self {
            Elem::F64 => Some(f64::from_bits(bits)),
            Elem::F32 => Some(f64::from(f32::from_bits(bits as u32))),
            Elem::F16 => Some(widen(bits, 5, 10)),
            Elem::Bf16 => Some(widen(bits, 8, 7)),
            _ => None,
        }
    }

    /// Steps between two numbers of a float type, zeros of both signs being one number; `None` if one is a NaN.
    pub fn ulps(self, a: u64, b: u64) -> Option<u64> {
        if !self.is_float() || self.is_nan(a) || self.is_nan(b) {
            return None;
        }
        let sign = self.mask() ^ (self.mask() >> 1);
        let order = |bits: u64| {
            let magnitude = i128::from(bits & !sign);
            if bits & sign == 0 { magnitude } else { -magnitude }
        };
        u64::try_from((order(a) - order(b)).unsigned_abs()).ok()
    }

    /// The element at an index of little-endian memory.
    pub fn load(self, bytes: &[u8], index: usize) -> u64 {
        let mut word = [0; 8];
        word[..self.size()].copy_from_slice(&bytes[index * self.size()..][..self.size()]);
        u64::from_le_bytes(word)
    }

    /// Appends an element to little-endian memory.
    pub fn push(self, bytes: &mut Vec<u8>, bits: u64) {
        bytes.extend_from_slice(&bits.to_le_bytes()[..self.size()]);
    }

    /// Value and bits, for messages.
    pub fn show(self, bits: u64) -> String {
        let width = 2 * self.size();
        match self.class() {
            Class::Unsigned => format!("{bits} (0x{bits:0width$x})"),
            Class::Signed => {
                let shift = 64 - 8 * self.size() as u32;
                format!("{} (0x{bits:0width$x})", ((bits << shift) as i64) >> shift)
            }
            Class::Bits => format!("0x{bits:0width$x}"),
            Class::Float { .. } => {
                let value = self.to_f64(bits).unwrap_or(f64::NAN);
                let value = if self == Elem::F32 { format!("{:?}", value as f32) } else { format!("{value:?}") };
                format!("{value} (0x{bits:0width$x})")
            }
        }
    }
}

fn power_of_two(n: i64) -> f64 {
    f64::from_bits(((1023 + n) as u64) << 52)
}

/// Rounds to nearest even into a float of 16 bits.
fn narrow(value: f64, exponent: u32, mantissa: u32) -> u64 {
    let bias = (1i64 << (exponent - 1)) - 1;
    let sign = (value.to_bits() >> 63) << (exponent + mantissa);
    let magnitude = value.abs();
    let infinity = ((1u64 << exponent) - 1) << mantissa;
    if magnitude.is_nan() {
        return infinity | ((1 << mantissa) - 1);
    }
    if magnitude.is_infinite() {
        return sign | infinity;
    }
    let scale = (((magnitude.to_bits() >> 52) as i64) - 1023).max(1 - bias);
    // Dividing by a power of two is exact here: results below the smallest normal f64 are far below half of the
    // smallest denormal of the narrow type and round to 0 either way.
    let steps = (magnitude / power_of_two(scale - i64::from(mantissa))).round_ties_even() as u64;
    // `steps` counts the implicit bit of normal numbers, so a carry out of the mantissa moves the exponent by itself.
    let bits = (((scale + bias - 1) as u64) << mantissa) + steps;
    sign | bits.min(infinity)
}

fn widen(bits: u64, exponent: u32, mantissa: u32) -> f64 {
    let bias = (1i64 << (exponent - 1)) - 1;
    let field = (bits >> mantissa) & ((1 << exponent) - 1);
    let fraction = bits & ((1 << mantissa) - 1);
    let magnitude = if field == (1 << exponent) - 1 {
        if fraction == 0 { f64::INFINITY } else { f64::NAN }
    } else if field == 0 {
        fraction as f64 * power_of_two(1 - bias - i64::from(mantissa))
    } else {
        (fraction | 1 << mantissa) as f64 * power_of_two(field as i64 - bias - i64::from(mantissa))
    };
    if bits >> (exponent + mantissa) & 1 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_rows_stand_in_the_order_of_the_enum() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, index);
            assert_eq!(Elem::named(row.1), Some(row.0));
        }
    }

    #[test]
    fn integers_are_range_checked() {
        assert_eq!(Elem::U8.from_integer(255), Some(255));
        assert_eq!(Elem::U8.from_integer(256), None);
        assert_eq!(Elem::U8.from_integer(-1), None);
        assert_eq!(Elem::S8.from_integer(-128), Some(0x80));
        assert_eq!(Elem::S8.from_integer(128), None);
        assert_eq!(Elem::B32.from_integer(-1), Some(0xffff_ffff));
        assert_eq!(Elem::U64.from_integer(i128::from(u64::MAX)), Some(u64::MAX));
        assert_eq!(Elem::S64.from_integer(i128::from(i64::MIN)), Some(1 << 63));
        assert_eq!(Elem::F32.from_integer(-3), None);
    }

    #[test]
    fn narrow_floats_round_to_nearest_even() {
        let f16 = |text| Elem::F16.from_decimal(text);
        assert_eq!(f16("1"), Some(0x3c00));
        assert_eq!(f16("-2.5"), Some(0xc100));
        assert_eq!(f16("-0.0"), Some(0x8000));
        assert_eq!(f16("65504"), Some(0x7bff));
        // 65520 lies half way between 65504 and 2^16: the even neighbour is infinity.
        assert_eq!(f16("65519.9"), Some(0x7bff));
        assert_eq!(f16("65520"), Some(0x7c00));
        // 2^-24 is the smallest denormal; half of it ties to 0, a little more rounds up.
        assert_eq!(f16("5.9604644775390625e-8"), Some(1));
        assert_eq!(f16("2.98023223876953125e-8"), Some(0));
        assert_eq!(f16("3e-8"), Some(1));
        // Just below the smallest normal 2^-14 rounds up into it.
        assert_eq!(f16("6.1035e-5"), Some(0x0400));
        assert_eq!(f16("1e-320"), Some(0));
        assert_eq!(Elem::Bf16.from_decimal("1.00390625"), Some(0x3f80));
        assert_eq!(Elem::Bf16.from_decimal("1.01171875"), Some(0x3f82));
        assert_eq!(Elem::Bf16.from_decimal("3.4e38"), Some(0x7f80));
        assert_eq!(Elem::Bf16.from_decimal("inf"), Some(0x7f80));
    }

    #[test]
    fn every_narrow_number_survives_the_way_through_f64() {
        for elem in [Elem::F16, Elem::Bf16] {
            for bits in 0..=0xffff {
                if !elem.is_nan(bits) {
                    let value = elem.to_f64(bits).unwrap();
                    assert_eq!(elem.from_decimal(&format!("{value:?}")), Some(bits), "{elem} {bits:#x}");
                }
            }
        }
    }

    #[test]
    fn ulps_count_steps_across_zero() {
        assert_eq!(Elem::F32.ulps(0x3f80_0000, 0x3f80_0003), Some(3));
        assert_eq!(Elem::F32.ulps(0x8000_0000, 0), Some(0));
        assert_eq!(Elem::F32.ulps(0x8000_0001, 1), Some(2));
        assert_eq!(Elem::F32.ulps(0x7fc0_0000, 0), None);
        assert_eq!(Elem::F64.ulps(0x7fef_ffff_ffff_ffff, 0xffef_ffff_ffff_ffff), Some(0xffdf_ffff_ffff_fffe));
        assert_eq!(Elem::U32.ulps(0, 0), None);
    }

    #[test]
    fn text_shows_value_and_bits() {
        assert_eq!(Elem::S16.show(0xffff), "-1 (0xffff)");
        assert_eq!(Elem::F32.show(0x3dcc_cccd), "0.1 (0x3dcccccd)");
        assert_eq!(Elem::B8.show(7), "0x07");
    }
}
