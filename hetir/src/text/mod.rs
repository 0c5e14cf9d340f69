//! The text format. It is derived from the op table: a new row is printed and read without a change here.
//!
//! One item or instruction a line; `;` begins a comment; line ends are allowed inside of parentheses and square
//! brackets.
//!
//! ```text
//! sig0: (i32, f32) -> (i64)                       ; a signature of indirect calls, numbered in order
//! visible const @table: 8 align 4 {               ; linkage, `managed`, opaque kind, space, name, size, alignment
//!     bytes "0102030405060708"                    ; initial bytes; the rest is zero
//!     reloc 0: @other + 4 size 4 shift 8 generic  ; an address inside of them
//! }
//! sampler global @s: 8 align 8 {
//!     field filter_mode "linear"                  ; a property of an opaque reference
//! }
//! extern shared @dynamic: 0 align 16
//!
//! visible kernel @k(out: 8 align 8 at 0, tex: 8 align 8 at 8 texture) max_threads(256, 1, 1) min_blocks 2 {
//!     slot0: 16 align 4
//! block0:
//!     v0: i64 = const 0
//!     v1: i64 = load.param v0 + 8
//!     v2: i32, v3: b1 = shuffle.idx v4, v5, v6, v7
//!     brif v3, block1, block2(v2)
//! ...
//! }
//! func @f(i32) -> (i32) unavailable "why it was refused"
//! ```
//!
//! An instruction is its results with their types, the op's name with its attributes behind dots (silent defaults
//! left out), and items: an entity that the immediate names (`@name`, `slot0`, `sig0`), operands (an offset behind
//! the address), a numeric immediate, targets. Integer constants are signed decimal numbers, others hexadecimal bits.
//! The controlling type is not written: it follows from the types of results and operands. Names that are no words
//! stand in quotes; the handles `global3` and `func3` may stand in the place of names.
//!
//! Values and blocks are printed by consecutive numbers in the order of their definitions, so that the text of a
//! module that was read is the text that was printed. Spans with the lines that they stand for, and all but the message of
//! what makes a function unavailable, are not kept.

mod body;
mod lex;
mod parse;
mod print;

pub use parse::{MAX_ERRORS, MAX_SOURCE, parse};
pub use print::Printer;

use crate::ir::Module;

/// The text of a module.
pub fn print(module: &Module) -> String {
    module.to_string()
}
