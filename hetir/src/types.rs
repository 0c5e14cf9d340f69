//! Value types. Integers are signless: signedness stands on the op. There is no pointer type: an address is an `i64`.

use std::fmt;

/// The element of a type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Scalar {
    /// One bit, a predicate.
    B1,
    /// 8-bit integer.
    I8,
    /// 16-bit integer.
    I16,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// 128-bit integer; only moved, compared and exchanged, never computed with.
    I128,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

impl Scalar {
    /// Every scalar, in order.
    pub const ALL: [Self; 10] =
        [Self::B1, Self::I8, Self::I16, Self::I32, Self::I64, Self::I128, Self::F16, Self::Bf16, Self::F32, Self::F64];

    /// Width in bits.
    pub const fn bits(self) -> u32 {
        match self {
            Self::B1 => 1,
            Self::I8 => 8,
            Self::I16 | Self::F16 | Self::Bf16 => 16,
            Self::I32 | Self::F32 => 32,
            Self::I64 | Self::F64 => 64,
            Self::I128 => 128,
        }
    }
    /// An integer of at least 8 bits.
    pub const fn is_int(self) -> bool {
        matches!(self, Self::I8 | Self::I16 | Self::I32 | Self::I64 | Self::I128)
    }
    /// A floating-point number.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }
    const fn name(self) -> &'static str {
        match self {
            Self::B1 => "b1",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::I128 => "i128",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// A scalar, or 2 or 4 lanes of one that fit 64 bits together. Lane 0 is the least significant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Type {
    /// The element.
    pub scalar: Scalar,
    /// 1, 2 or 4.
    pub lanes: u8,
}

macro_rules! type_constants {
    ($($name:ident = $scalar:ident x $lanes:literal;)*) => {
        impl Type {
            $(#[doc = concat!("`", stringify!($scalar), "` times ", $lanes, ".")]
            pub const $name: Self = Self { scalar: Scalar::$scalar, lanes: $lanes };)*
            /// Every type there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}
type_constants! {
    B1 = B1 x 1; I8 = I8 x 1; I16 = I16 x 1; I32 = I32 x 1; I64 = I64 x 1; I128 = I128 x 1;
    F16 = F16 x 1; BF16 = Bf16 x 1; F32 = F32 x 1; F64 = F64 x 1;
    I8X2 = I8 x 2; I8X4 = I8 x 4; I16X2 = I16 x 2; I16X4 = I16 x 4; I32X2 = I32 x 2;
    F16X2 = F16 x 2; F16X4 = F16 x 4; BF16X2 = Bf16 x 2; BF16X4 = Bf16 x 4; F32X2 = F32 x 2;
}

impl Type {
    /// Width in bits, all lanes together.
    pub const fn bits(self) -> u32 {
        self.scalar.bits() * self.lanes as u32
    }
    /// Size in memory.
    pub const fn bytes(self) -> u32 {
        self.bits().div_ceil(8)
    }
    /// The type of one lane.
    pub const fn lane(self) -> Self {
        Self { scalar: self.scalar, lanes: 1 }
    }
    /// The one-lane integer of this width; `None` where there is none.
    pub const fn int(bits: u32) -> Option<Self> {
        Some(match bits {
            8 => Self::I8,
            16 => Self::I16,
            32 => Self::I32,
            64 => Self::I64,
            128 => Self::I128,
            _ => return None,
        })
    }
    /// The one-lane integer as wide as this type; a `b1` stays a `b1`.
    pub const fn as_int(self) -> Self {
        match Self::int(self.bits()) {
            Some(t) => t,
            None => Self::B1,
        }
    }
    /// The integer type of twice the lane width.
    pub const fn widened(self) -> Option<Self> {
        if self.lanes != 1 || !self.scalar.is_int() { None } else { Self::int(self.bits() * 2) }
    }
    /// Bits of one lane, as a mask (64 bits at most).
    pub const fn lane_mask(self) -> u64 {
        let bits = self.scalar.bits();
        if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
    }
    /// Bits of the whole value, as a mask (the low 64 at most).
    pub const fn mask(self) -> u64 {
        let bits = self.bits();
        if bits >= 64 { u64::MAX } else { (1 << bits) - 1 }
    }
    /// The type of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| {
            let scalar = t.scalar.name();
            if t.lanes == 1 {
                name == scalar
            } else {
                name.strip_prefix(scalar).and_then(|r| r.strip_prefix('x'))
                    == Some(if t.lanes == 2 { "2" } else { "4" })
            }
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scalar.name())?;
        if self.lanes > 1 { write!(f, "x{}", self.lanes) } else { Ok(()) }
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_fits_and_its_name_reads_back() {
        for &t in Type::ALL {
            assert!(t.bits() <= 64 || t == Type::I128, "{t}");
            assert_eq!(Type::from_name(&t.to_string()), Some(t));
        }
        assert_eq!(Type::from_name("i32x4"), None);
        assert_eq!(Type::F16X2.bits(), 32);
        assert_eq!(Type::B1.bytes(), 1);
    }
}
