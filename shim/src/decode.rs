//! Arguments as people read them, for the log: numbers by name, handles by kind, what out parameters were given, structures
//! by field. A type that says nothing special is shown as it is.
//!
//! Everything is read in a way that cannot fail: the log shows calls whose arguments nobody has checked.

mod names;

use crate::abi::{Address, Cu, In, Moment, Out, Pointer, TextOut};
use crate::calls::context::ContextParameters;
use crate::calls::copy::{Copy2d, Copy3d};
use crate::calls::launch::LaunchConfig;
use hetgpu_runtime::{Function, Handle, Kernel, Kind};
use names::{Form, NAMED};
use std::ffi::c_char;
use std::fmt::Debug;

/// Which argument of which call is shown, and when.
pub(crate) struct Place {
    pub(crate) symbol: &'static str,
    pub(crate) argument: &'static str,
    pub(crate) moment: Moment,
}

impl Place {
    /// What a number is called here.
    fn name(&self, number: u64) -> Option<String> {
        let row = NAMED.iter().find(|row| self.argument == row.argument && self.symbol.starts_with(row.symbol))?;
        let name = |wanted| row.names.iter().find(|name| name.0 == wanted).map(|name| name.1);
        match row.form {
            Form::Choice => name(number).map(str::to_owned),
            Form::Bits if number == 0 => None,
            Form::Bits => {
                let bits = (0..u64::BITS).map(|bit| number & 1 << bit).filter(|&bit| bit != 0);
                let names: Vec<_> =
                    bits.map(|bit| name(bit).map_or_else(|| format!("{bit:#x}"), str::to_owned)).collect();
                Some(names.join("|"))
            }
        }
    }
}

/// An argument.
pub(crate) struct Shown<'a, T>(pub(crate) &'a T);

/// The way of a type that is shown in a way of its own.
pub(crate) trait Decoded {
    fn show(&self, place: &Place) -> String;
}

impl<T: Decode> Decoded for &Shown<'_, T> {
    fn show(&self, place: &Place) -> String {
        self.0.decode(place)
    }
}

/// The way of all other types: found where the first is not, since the call in `entry.rs` has one reference more than it
/// needs.
pub(crate) trait AsItIs {
    fn show(&self, place: &Place) -> String;
}

impl<T: Debug> AsItIs for Shown<'_, T> {
    fn show(&self, _place: &Place) -> String {
        format!("{:?}", self.0)
    }
}

/// A type that is shown in a way of its own.
pub(crate) trait Decode {
    fn decode(&self, place: &Place) -> String;
}

macro_rules! numbers {
    ($($type:ty)+) => {$(
        impl Decode for $type {
            fn decode(&self, place: &Place) -> String {
                match u64::try_from(*self).ok().and_then(|number| place.name(number)) {
                    Some(name) => format!("{self} {name}"),
                    None => self.to_string(),
                }
            }
        }
    )+};
}
numbers!(i32 u32 i64 u64 usize);

/// Some calls take a kernel of a library or of a module in one place; everything else that is passed so is an address.
impl Decode for Pointer {
    fn decode(&self, _place: &Place) -> String {
        match (Handle::<Kernel>::from_bits(self.0), Handle::<Function>::from_bits(self.0)) {
            (Some(kernel), _) => format!("{kernel:?}"),
            (None, Some(function)) => format!("{function:?}"),
            (None, None) => format!("{self:?}"),
        }
    }
}

/// A value that an out parameter is given.
pub(crate) trait Given: Copy + Debug {}

macro_rules! given {
    ($($type:ty)+) => { $(impl Given for $type {})+ };
}
given!(i32 u32 i64 u64 usize f32 Pointer Address TextOut [u8; 16]);
impl<T: Kind> Given for Cu<T> {}

impl<T: Given> Decode for Out<T> {
    fn decode(&self, place: &Place) -> String {
        match (place.moment, self.peek()) {
            (Moment::After, Some(value)) => format!("{self:?} <- {value:?}"),
            (Moment::After, None) | (Moment::Before, _) => format!("{self:?}"),
        }
    }
}

impl Decode for Out<c_char> {
    fn decode(&self, place: &Place) -> String {
        match place.moment {
            Moment::After => format!("{self:?} <- {}", self.show()),
            Moment::Before => format!("{self:?}"),
        }
    }
}

/// A structure that calls take one of, never an array.
pub(crate) trait Structure: Copy + Debug {}
impl Structure for LaunchConfig {}
impl Structure for Copy2d {}
impl Structure for Copy3d {}
impl Structure for ContextParameters {}

impl<T: Structure> Decode for In<T> {
    fn decode(&self, _place: &Place) -> String {
        match self.peek() {
            Some(value) => format!("{self:?} -> {value:?}"),
            None => format!("{self:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry;

    fn place(symbol: &'static str, argument: &'static str, moment: Moment) -> Place {
        Place { symbol, argument, moment }
    }

    #[test]
    fn every_named_argument_belongs_to_an_entry_point() {
        for row in NAMED {
            let known = entry::all().any(|entry| entry.symbol.starts_with(row.symbol));
            assert!(known, "{} is no entry point", row.symbol);
            assert!(row.names.is_sorted_by(|a, b| a.0 < b.0), "{}", row.symbol);
        }
    }

    #[test]
    fn numbers_have_names_where_they_mean_something() {
        let show = |symbol, argument, number: u32| number.decode(&place(symbol, argument, Moment::Before));
        assert_eq!(show("cuMemHostAlloc", "flags", 3), "3 PORTABLE|DEVICEMAP");
        assert_eq!(show("cuMemHostAlloc", "flags", 0x12), "18 DEVICEMAP|0x10");
        assert_eq!(show("cuMemHostAlloc", "flags", 0), "0");
        assert_eq!(show("cuCtxGetLimit", "limit", 1), "1 PRINTF_FIFO_SIZE");
        assert_eq!(show("cuDeviceGetAttribute", "attribute", 75), "75 COMPUTE_CAPABILITY_MAJOR");
        assert_eq!(show("cuDeviceGetAttribute", "attribute", 4000), "4000");
        assert_eq!(show("cuMemAlloc_v2", "bytes", 4), "4");
    }

    #[test]
    fn out_parameters_show_what_they_were_given_once_they_were() {
        let value = 77u32;
        let out: Out<u32> = Pointer((&raw const value).expose_provenance() as u64).as_out();
        let place = |moment| place("cuInit", "x", moment);
        assert!(out.decode(&place(Moment::After)).ends_with(" <- 77"));
        assert!(!out.decode(&place(Moment::Before)).contains("77"));
        let nowhere: Out<u32> = Pointer(8).as_out();
        assert_eq!(nowhere.decode(&place(Moment::After)), "0x8");
    }
}
