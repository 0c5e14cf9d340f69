//! An auditing library (rtld-audit(7)): with `LD_AUDIT` naming it, the dynamic linker asks it before it looks for a library,
//! so that a program gets ours also where it has an `RPATH` to another or opens another by its path. `hetgpu run` sets
//! `LD_AUDIT`, and `HETGPU_LIBRARIES` to the folder of ours.
//!
//! What our own libraries open is left alone: one of them may want the other driver itself.

mod entry;
mod names;
