//! Filetests: one .ptx file with its launch and the memory expected after it, run on every engine. The format is
//! described in `tests/README.md`.

pub mod accept;
pub mod compare;
pub mod coverage;
pub mod devices;
pub mod elem;
pub mod engine;
pub mod engines;
pub mod fault;
pub mod files;
pub mod header;
pub mod pattern;
pub mod ptxas;
pub mod record;
pub mod sweep;
pub mod toolkit;
