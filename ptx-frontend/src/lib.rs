//! Fatbins, ELF images and PTX text, parsed and lifted to hetIR.
#![forbid(unsafe_code)]

pub mod ast;
pub mod builtin;
pub mod container;
mod isa;
pub mod join;
mod lex;
mod lift;
pub mod parse;

pub use isa::{FormInfo, FormUse, forms};
pub use lift::{Options, Output, lift, lift_text};
