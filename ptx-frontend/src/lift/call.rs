//! The `.param` ABI of functions: a parameter is cut into pieces, each an SSA value. How depends on its size and
//! alignment alone, so caller and callee agree also where neither sees the other.

use crate::ast;
use hetir::types::Type;

/// A piece of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// Where it begins.
    pub(crate) offset: u32,
    /// Its type: an integer of its size, or `b1` for a predicate register.
    pub(crate) ty: Type,
}

/// The pieces of a parameter, return value or prototype entry: the widest that its alignment allows, 8 bytes at most.
pub(crate) fn pieces(variable: &ast::Variable) -> Vec<Piece> {
    if variable.space == ast::Space::Reg {
        return vec![Piece { offset: 0, ty: super::Ty::of_declared(variable.ty) }];
    }
    let size = u32::try_from(variable.bytes()).unwrap_or(0);
    if variable.ty == ast::Type::B128 && size == 16 {
        return vec![Piece { offset: 0, ty: Type::I128 }];
    }
    let align = u32::try_from(variable.alignment()).unwrap_or(1).clamp(1, 8);
    let mut pieces = Vec::new();
    let mut offset = 0;
    while offset < size {
        let mut width = align;
        while width > size - offset {
            width /= 2;
        }
        let ty = Type::int(width * 8).unwrap_or(Type::I8);
        pieces.push(Piece { offset, ty });
        offset += ty.bytes();
    }
    pieces
}

/// Largest parameter that is passed in pieces; PTX limits a function's parameters to 4 KiB, newer ones to 32 KiB.
pub(crate) const MAX_PARAM_BYTES: u64 = 32 << 10;
