fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    // Our own table of entry points must lead to ourselves, even where another library of the same names was loaded first.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    // Threads have something of ours to tidy up when they end, and workers of ours run: it stays when a program closes it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
