//! The types that PTX instructions name.

use crate::ast;
use hetir::attr::Sign;
use hetir::types::Type;

/// What an instruction does with the bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Predicate,
    Bits,
    Integer,
    Float,
}

/// An instruction's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ty {
    pub(crate) ir: Type,
    pub(crate) sign: Sign,
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
}

macro_rules! types {
    ($($name:literal $ir:ident $kind:ident $sign:ident;)*) => {
        const TYPES: &[Ty] = &[$(Ty { ir: Type::$ir, sign: Sign::$sign, kind: Kind::$kind, name: $name }),*];
    };
}
types! {
    "u32" I32 Integer U; "s32" I32 Integer S; "b32" I32 Bits U; "f32" F32 Float U;
    "u64" I64 Integer U; "s64" I64 Integer S; "b64" I64 Bits U; "f64" F64 Float U;
    "u16" I16 Integer U; "s16" I16 Integer S; "b16" I16 Bits U; "f16" F16 Float U;
    "u8" I8 Integer U; "s8" I8 Integer S; "b8" I8 Bits U; "pred" B1 Predicate U;
    "f16x2" F16X2 Float U; "bf16" BF16 Float U; "bf16x2" BF16X2 Float U; "f32x2" F32X2 Float U;
    "u16x2" I16X2 Integer U; "s16x2" I16X2 Integer S; "b128" I128 Bits U; "tf32" F32 Float U;
}

impl Ty {
    /// The type of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        TYPES.iter().copied().find(|t| t.name == name)
    }
    /// Untyped bits of this width; 8 to 128.
    pub(crate) fn bits(bits: u32) -> Self {
        let name = match bits {
            8 => "b8",
            16 => "b16",
            64 => "b64",
            128 => "b128",
            _ => "b32",
        };
        Self::known(name)
    }
    /// A type that the table has.
    pub(crate) fn known(name: &str) -> Self {
        Self::from_name(name).unwrap_or(TYPES[2])
    }
    /// The value type of a declared register or scalar.
    pub(crate) fn of_declared(ty: ast::Type) -> Type {
        match ty {
            ast::Type::Pred => Type::B1,
            ast::Type::F16 => Type::F16,
            ast::Type::F16x2 => Type::F16X2,
            ast::Type::F32 => Type::F32,
            ast::Type::F64 => Type::F64,
            other => Type::int(other.bits()).unwrap_or(Type::I64),
        }
    }
    /// Whether a register of a declared type may stand for an operand of this type. `wider` allows registers that
    /// are wider than the operand, as loads, stores and conversions do.
    pub(crate) fn accepts(self, declared: ast::Type, wider: bool) -> bool {
        use ast::Type as D;
        let (mine, theirs) = (self.ir.bits(), declared.bits());
        // Nothing is extended to 128 bits.
        let wider = wider && theirs <= 64;
        // A byte is taken from and given to registers of every type.
        if self.name == "b8" && wider && theirs >= mine && declared != D::Pred && !declared.is_opaque() {
            return true;
        }
        // The assembler takes packed registers for untyped ones.
        let float = matches!(declared, D::F16 | D::F32 | D::F64);
        let untyped = matches!(declared, D::B8 | D::B16 | D::B32 | D::B64 | D::B128 | D::F16x2);
        let predicate = declared == D::Pred;
        if predicate || self.kind == Kind::Predicate {
            return predicate && self.kind == Kind::Predicate;
        }
        if declared.is_opaque() {
            return false;
        }
        let same_width = mine == theirs;
        match self.kind {
            Kind::Bits => same_width || (wider && theirs > mine && !float),
            Kind::Integer if self.ir.lanes > 1 => same_width && untyped,
            Kind::Integer => !float && (same_width || (wider && theirs > mine)),
            Kind::Float => {
                let same_float = match declared {
                    D::F16 => self.ir == Type::F16,
                    D::F16x2 => self.ir == Type::F16X2,
                    D::F32 => self.ir == Type::F32 && self.name == "f32",
                    D::F64 => self.ir == Type::F64,
                    _ => false,
                };
                (same_width && (same_float || untyped && declared != D::F16x2)) || (wider && theirs > mine && untyped)
            }
            Kind::Predicate => false,
        }
    }
}
