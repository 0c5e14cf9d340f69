//! What needs unsafe code: the libraries that are measured, and the probes of what the processor can do.

pub(crate) mod api;
pub(crate) mod cuda;
pub(crate) mod opencl;
pub(crate) mod probe;

/// A table of the functions of a library that are used, all of one result type.
macro_rules! table {
    ($name:ident -> $result:ty { $($field:ident = $symbol:literal: fn($($arg:ty),* $(,)?);)* }) => {
        /// The functions of the library. They stay valid as long as the library, which stands beside them.
        struct $name {
            $($field: unsafe extern "C" fn($($arg),*) -> $result,)*
        }

        impl $name {
            fn load(library: &libloading::Library) -> Result<Self, String> {
                Ok(Self {
                    $($field: {
                        // SAFETY: the symbol is a function of the interface with this documented signature.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C" fn($($arg),*) -> $result>($symbol.as_bytes())
                        };
                        *symbol.map_err(|error| format!("{}: {error}", $symbol))?
                    },)*
                })
            }
        }
    };
}
use table;
