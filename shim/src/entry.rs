//! The exported functions: one row each.
//!
//! A row names the base name by which `cuGetProcAddress` knows a function, then the exported symbols that share one
//! signature, each with the CUDA version that introduced it (0: not to be had through `cuGetProcAddress`) and the default
//! stream that it stands for. Behind the arrow is the function in `calls/` that serves them. A row without one is
//! exported and answers `CUDA_ERROR_NOT_SUPPORTED`: names of version 2000 and 3000 whose successors are served have 32-bit
//! device addresses, which cannot hold ours.

mod context;
mod copy;
mod debugger;
mod device;
mod graph;
mod image;
mod interop;
mod launch;
mod memory;
mod module;
mod process;
mod stream;

use crate::abi::{Address, Flavour};

/// One exported symbol.
pub(crate) struct Entry {
    pub(crate) base: &'static str,
    pub(crate) symbol: &'static str,
    pub(crate) since: i32,
    pub(crate) flavour: Flavour,
    pub(crate) address: Address,
}

macro_rules! entries {
    ($($base:literal: $($symbol:ident $since:literal $flavour:ident),+ $(=> $module:ident::$serve:ident $arguments:tt)?;)*) => {
        $($crate::entry::row! { [$($symbol $flavour)+] $($module $serve $arguments)? })*

        pub(super) static ENTRIES: &[$crate::entry::Entry] = &[$($($crate::entry::Entry {
            base: $base,
            symbol: stringify!($symbol),
            since: $since,
            flavour: $crate::abi::Flavour::$flavour,
            address: $crate::abi::Address($symbol as *const ()),
        }),+),*];
    };
}

macro_rules! row {
    ([$($symbol:ident $flavour:ident)+]) => {
        $(
            #[unsafe(no_mangle)]
            pub(crate) extern "C" fn $symbol() -> $crate::result::Code {
                $crate::abi::not_supported(stringify!($symbol))
            }
        )+
    };
    ([$($symbol:ident $flavour:ident)+] $module:ident $serve:ident $arguments:tt) => {
        $($crate::entry::served! { $symbol $flavour $module $serve $arguments })+
    };
}

macro_rules! served {
    ($symbol:ident $flavour:ident $module:ident $serve:ident ($($argument:ident: $type:ty),*)) => {
        #[unsafe(no_mangle)]
        pub(crate) extern "C" fn $symbol($($argument: $type),*) -> $crate::result::Code {
            let show = |moment| {
                #[allow(unused_imports, reason = "which of the two is used depends on the types of the arguments")]
                use $crate::decode::{AsItIs as _, Decoded as _};
                let arguments: &[String] = &[$({
                    let place = $crate::decode::Place { symbol: stringify!($symbol), argument: stringify!($argument), moment };
                    format!("{}: {}", place.argument, (&&$crate::decode::Shown(&$argument)).show(&place))
                }),*];
                let _: $crate::abi::Moment = moment;
                arguments.join(", ")
            };
            $crate::abi::enter(stringify!($symbol), $crate::abi::Flavour::$flavour, &show, |call| $module::$serve(call, $($argument),*))
        }
    };
}

use {entries, row, served};

/// Every exported symbol, in groups.
pub(crate) fn all() -> impl Iterator<Item = &'static Entry> {
    let groups = [
        process::ENTRIES,
        device::ENTRIES,
        context::ENTRIES,
        memory::ENTRIES,
        copy::ENTRIES,
        image::ENTRIES,
        stream::ENTRIES,
        graph::ENTRIES,
        module::ENTRIES,
        launch::ENTRIES,
        interop::ENTRIES,
    ];
    groups.into_iter().flatten()
}
