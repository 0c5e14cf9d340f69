//! One binary for all targets; the environment names the one that is run:
//! `HETGPU_FUZZ_TARGET=text cargo +nightly fuzz run --fuzz-dir fuzz/libfuzzer target`.
#![no_main]

use hetgpu_fuzz::targets::{ALL, Target};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

fn target() -> &'static Target {
    static TARGET: OnceLock<&'static Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("HETGPU_FUZZ_TARGET").unwrap_or_default();
        ALL.iter().find(|t| t.name == name).unwrap_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|t| t.name).collect();
            panic!("set HETGPU_FUZZ_TARGET to one of {}", names.join(", "))
        })
    })
}

fuzz_target!(|bytes: &[u8]| {
    (target().run)(bytes);
});
