fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    // Our own table of entry points must lead to ourselves, even where another library of the same names was loaded first.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}
