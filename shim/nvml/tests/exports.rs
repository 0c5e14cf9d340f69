//! `libnvidia-ml.so` as a linker meets it.

#[path = "../../tests/library/elf.rs"]
mod elf;

/// Every symbol of NVIDIA's driver 580 on Linux, and nothing else.
#[test]
fn the_exports_are_those_of_the_driver() {
    let path = std::env::current_exe().unwrap().with_file_name("libnvidia_ml.so");
    elf::assert_exports(&path, include_str!("data/exports.txt"));
}
