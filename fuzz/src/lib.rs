//! Fuzzing without a special compiler: inputs are mutated from seeds, and an input that makes a target answer in a way
//! not seen before becomes a seed. A target that panics, or takes too long, has found something.
#![forbid(unsafe_code)]

pub mod mutate;
pub mod random;
pub mod run;
pub mod seeds;
pub mod targets;
