//! hetIR: the vendor-neutral form of a GPU kernel, and the interpreter that says what it means.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod diag;
