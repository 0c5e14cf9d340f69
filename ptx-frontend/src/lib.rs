//! Fatbins, ELF images and PTX text, parsed and lifted to hetIR.
#![forbid(unsafe_code)]

pub mod ast;
pub mod container;
mod lex;
pub mod parse;
