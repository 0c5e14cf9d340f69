//! Elements of matrices.

use crate::attr::{Element, MatrixTypes};
use crate::types::Type;

impl Element {
    /// Width in bits.
    pub const fn bits(self) -> usize {
        match self {
            Self::B1 => 1,
            Self::S4 | Self::U4 => 4,
            Self::E4m3 | Self::E5m2 | Self::S8 | Self::U8 => 8,
            Self::F16 | Self::Bf16 => 16,
            Self::Tf32 | Self::F32 | Self::S32 => 32,
            Self::F64 => 64,
        }
    }
    /// The type of a register of such elements.
    pub const fn register(self) -> Type {
        match self {
            Self::F32 => Type::F32,
            Self::F64 => Type::F64,
            Self::F16
            | Self::Bf16
            | Self::Tf32
            | Self::E4m3
            | Self::E5m2
            | Self::S8
            | Self::U8
            | Self::S4
            | Self::U4
            | Self::B1
            | Self::S32 => Type::I32,
        }
    }
    /// Elements of a register.
    pub const fn per_register(self) -> usize {
        if self.bits() < 32 { 32 / self.bits() } else { 1 }
    }
    /// Whether products of such elements are sums of integers.
    pub const fn is_integer(self) -> bool {
        matches!(self, Self::S8 | Self::U8 | Self::S4 | Self::U4 | Self::B1 | Self::S32)
    }
    /// The integer of a pattern.
    pub(super) const fn integer(self, bits: u64) -> i64 {
        match self {
            Self::S8 => bits as i8 as i64,
            Self::S4 => ((bits << 4) as i8 >> 4) as i64,
            Self::S32 => bits as i32 as i64,
            _ => bits as i64,
        }
    }
}

impl MatrixTypes {
    /// The elements of D, A, B and C.
    pub const fn elements(self) -> [Element; 4] {
        use Element::{B1, Bf16, E4m3, E5m2, F16, F32, F64, S4, S8, S32, Tf32, U4, U8};
        match self {
            Self::F16AccF16 => [F16, F16, F16, F16],
            Self::F32AccF16 => [F32, F16, F16, F16],
            Self::F16AccF32 => [F16, F16, F16, F32],
            Self::F32AccF32 => [F32, F16, F16, F32],
            Self::Bf16 => [F32, Bf16, Bf16, F32],
            Self::Tf32 => [F32, Tf32, Tf32, F32],
            Self::E4m3E4m3AccF16 => [F16, E4m3, E4m3, F16],
            Self::E4m3E5m2AccF16 => [F16, E4m3, E5m2, F16],
            Self::E5m2E4m3AccF16 => [F16, E5m2, E4m3, F16],
            Self::E5m2E5m2AccF16 => [F16, E5m2, E5m2, F16],
            Self::E4m3E4m3AccF32 => [F32, E4m3, E4m3, F32],
            Self::E4m3E5m2AccF32 => [F32, E4m3, E5m2, F32],
            Self::E5m2E4m3AccF32 => [F32, E5m2, E4m3, F32],
            Self::E5m2E5m2AccF32 => [F32, E5m2, E5m2, F32],
            Self::F64 => [F64, F64, F64, F64],
            Self::S8S8 => [S32, S8, S8, S32],
            Self::S8U8 => [S32, S8, U8, S32],
            Self::U8S8 => [S32, U8, S8, S32],
            Self::U8U8 => [S32, U8, U8, S32],
            Self::S4S4 => [S32, S4, S4, S32],
            Self::S4U4 => [S32, S4, U4, S32],
            Self::U4S4 => [S32, U4, S4, S32],
            Self::U4U4 => [S32, U4, U4, S32],
            Self::B1 => [S32, B1, B1, S32],
        }
    }
    /// The types of these elements.
    pub fn of(elements: [Element; 4]) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.elements() == elements)
    }
}
