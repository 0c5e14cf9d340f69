//! Typed u32 handles. They print as their name and number: `v3`, `block0`, `slot1`.

use std::fmt;

macro_rules! entities {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The handle of this index.
            pub const fn new(index: usize) -> Self {
                Self(index as u32)
            }
            /// Its index.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        })*
    };
}
entities! {
    /// An SSA value of a function.
    Value "v";
    /// An instruction of a function.
    Inst "inst";
    /// A basic block of a function.
    Block "block";
    /// A piece of a thread's local memory that lives as long as the function's activation.
    Slot "slot";
    /// A function of a module.
    FuncId "func";
    /// A module variable.
    GlobalId "global";
    /// A signature of a module, for indirect calls.
    SigId "sig";
}
