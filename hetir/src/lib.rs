//! hetIR: the vendor-neutral form of a GPU kernel, and the interpreter that says what it means.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod analysis;
pub mod attr;
pub mod binary;
pub mod blocks;
pub mod build;
pub mod diag;
pub mod entity;
pub mod eval;
pub mod interp;
pub mod ir;
pub mod mbarrier;
pub mod num;
pub mod op;
pub mod passes;
pub mod printf;
pub mod random;
pub mod tensor;
pub mod tensor_map;
pub mod text;
pub mod types;
pub mod verify;
