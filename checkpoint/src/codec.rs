//! How records become bytes: little-endian numbers one behind the other, lists with their length before them, and one
//! way only to write each value, so that equal records are equal bytes.
//!
//! No crate does this: the bytes are a promise for years, each count is checked against the bytes that are there before
//! anything is allocated, and the maintainers of bincode have stopped.

use crate::digest::Digest;
use serde_json::Value;

/// Most entries of a list.
pub(crate) const LIST: usize = 1 << 25;
/// Most bytes of a text.
const TEXT: usize = 1 << 20;

/// Why bytes are no record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flaw(pub(crate) String);

pub(crate) type Take<T> = Result<T, Flaw>;

/// Bytes that are being read.
pub(crate) struct Reader<'b> {
    all: usize,
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { all: bytes.len(), rest: bytes }
    }

    fn at(&self) -> usize {
        self.all - self.rest.len()
    }

    pub(crate) fn flaw<T>(&self, what: &str) -> Take<T> {
        Err(Flaw(format!("{what} at byte {}", self.at())))
    }

    fn bytes(&mut self, count: usize) -> Take<&'b [u8]> {
        match self.rest.split_at_checked(count) {
            Some((found, rest)) => {
                self.rest = rest;
                Ok(found)
            }
            None => self.flaw(&format!("{count} bytes wanted and {} left", self.rest.len())),
        }
    }

    fn count(&mut self, least: usize, most: usize) -> Take<usize> {
        let count = u32::take(self)? as usize;
        if count > most || count.saturating_mul(least) > self.rest.len() {
            return self.flaw(&format!("a list of {count} entries, and {} bytes left", self.rest.len()));
        }
        Ok(count)
    }

    pub(crate) fn end(&self) -> Take<()> {
        if self.rest.is_empty() { Ok(()) } else { self.flaw(&format!("{} bytes too many", self.rest.len())) }
    }
}

/// What can be written and read.
pub(crate) trait Wire: Sized {
    /// Bytes that it takes at least. Never 0, so that a count is bounded by the bytes that are there.
    const LEAST: usize;

    fn put(&self, out: &mut Vec<u8>);

    fn take(from: &mut Reader<'_>) -> Take<Self>;

    /// For people and tools.
    fn show(&self) -> Value;

    fn put_list(list: &[Self], out: &mut Vec<u8>) {
        (list.len() as u32).put(out);
        list.iter().for_each(|entry| entry.put(out));
    }

    fn take_list(from: &mut Reader<'_>) -> Take<Vec<Self>> {
        let count = from.count(Self::LEAST, LIST)?;
        // What entries take in memory may be more than what they take here.
        let mut list = Vec::with_capacity(count.min(4096));
        for _ in 0..count {
            list.push(Self::take(from)?);
        }
        Ok(list)
    }

    fn show_list(list: &[Self]) -> Value {
        Value::Array(list.iter().map(Wire::show).collect())
    }
}

/// The bytes of a record.
pub(crate) fn encode<T: Wire>(record: &T) -> Vec<u8> {
    let mut out = Vec::new();
    record.put(&mut out);
    out
}

/// The record that all of these bytes are.
pub(crate) fn decode<T: Wire>(bytes: &[u8]) -> Take<T> {
    let mut reader = Reader::new(bytes);
    let record = T::take(&mut reader)?;
    reader.end()?;
    Ok(record)
}

macro_rules! numbers {
    ($($type:ty)+) => {$(
        impl Wire for $type {
            const LEAST: usize = size_of::<$type>();

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(from: &mut Reader<'_>) -> Take<Self> {
                let mut bytes = [0; size_of::<$type>()];
                bytes.copy_from_slice(from.bytes(size_of::<$type>())?);
                Ok(Self::from_le_bytes(bytes))
            }

            fn show(&self) -> Value {
                Value::from(*self)
            }
        }
    )+};
}
numbers! { u16 u32 u64 i32 i64 f32 }

/// Bytes; lists of them are copied as a whole.
impl Wire for u8 {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn take(from: &mut Reader<'_>) -> Take<Self> {
        Ok(from.bytes(1)?[0])
    }

    fn show(&self) -> Value {
        Value::from(*self)
    }

    fn put_list(list: &[Self], out: &mut Vec<u8>) {
        (list.len() as u32).put(out);
        out.extend_from_slice(list);
    }

    fn take_list(from: &mut Reader<'_>) -> Take<Vec<Self>> {
        let count = from.count(1, usize::MAX)?;
        Ok(from.bytes(count)?.to_vec())
    }

    fn show_list(list: &[Self]) -> Value {
        Value::from(hex(list))
    }
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Wire for bool {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(from: &mut Reader<'_>) -> Take<Self> {
        match u8::take(from)? {
            0 => Ok(false),
            1 => Ok(true),
            other => from.flaw(&format!("{other} is neither yes nor no")),
        }
    }

    fn show(&self) -> Value {
        Value::from(*self)
    }
}

impl Wire for String {
    const LEAST: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        u8::put_list(self.as_bytes(), out);
    }

    fn take(from: &mut Reader<'_>) -> Take<Self> {
        let count = from.count(1, TEXT)?;
        let bytes = from.bytes(count)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => from.flaw("a text that is no UTF-8 before the one"),
        }
    }

    fn show(&self) -> Value {
        Value::from(self.as_str())
    }
}

impl Wire for Digest {
    const LEAST: usize = 32;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn take(from: &mut Reader<'_>) -> Take<Self> {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(from.bytes(32)?);
        Ok(Self(bytes))
    }

    fn show(&self) -> Value {
        Value::from(self.to_string())
    }
}

impl<T: Wire> Wire for Vec<T> {
    const LEAST: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        T::put_list(self, out);
    }

    fn take(from: &mut Reader<'_>) -> Take<Self> {
        T::take_list(from)
    }

    fn show(&self) -> Value {
        T::show_list(self)
    }
}

impl<T: Wire> Wire for Option<T> {
    const LEAST: usize = 1;

    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        self.iter().for_each(|value| value.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Take<Self> {
        Ok(if bool::take(from)? { Some(T::take(from)?) } else { None })
    }

    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, Wire::show)
    }
}

impl<T: Wire + Copy + Default, const N: usize> Wire for [T; N] {
    const LEAST: usize = N * T::LEAST;

    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|value| value.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Take<Self> {
        let mut all = [T::default(); N];
        for value in &mut all {
            *value = T::take(from)?;
        }
        Ok(all)
    }

    fn show(&self) -> Value {
        T::show_list(self)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    const LEAST: usize = A::LEAST + B::LEAST;

    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Take<Self> {
        Ok((A::take(from)?, B::take(from)?))
    }

    fn show(&self) -> Value {
        Value::Array(vec![self.0.show(), self.1.show()])
    }
}

/// Declares records and what they are made of, with everything that has to know their fields.
///
/// A variant's number stands before it and never changes; a field is only added together with a new version of its section.
macro_rules! wire {
    () => {};
    ($(#[$about:meta])* $seen:vis struct $name:ident { $($(#[$doc:meta])* pub $field:ident: $type:ty,)+ } $($rest:tt)*) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, Debug, Default)]
        $seen struct $name { $($(#[$doc])* pub $field: $type,)+ }

        impl $crate::codec::Wire for $name {
            const LEAST: usize = $(<$type as $crate::codec::Wire>::LEAST +)+ 0;

            fn put(&self, out: &mut Vec<u8>) {
                $($crate::codec::Wire::put(&self.$field, out);)+
            }

            fn take(from: &mut $crate::codec::Reader<'_>) -> $crate::codec::Take<Self> {
                Ok(Self { $($field: $crate::codec::Wire::take(from)?,)+ })
            }

            fn show(&self) -> serde_json::Value {
                let mut map = serde_json::Map::new();
                $(map.insert(stringify!($field).into(), $crate::codec::Wire::show(&self.$field));)+
                map.into()
            }
        }
        $crate::codec::wire! { $($rest)* }
    };
    ($(#[$about:meta])* $seen:vis enum $name:ident {
        $($(#[$doc:meta])* $tag:literal = $variant:ident $({ $($(#[$inner:meta])* $field:ident: $type:ty,)+ })?,)+
    } $($rest:tt)*) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, Debug, Default)]
        $seen enum $name { $($(#[$doc])* $variant $({ $($(#[$inner])* $field: $type,)+ })?,)+ }

        impl $crate::codec::Wire for $name {
            const LEAST: usize = 1;

            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field,)+ })? => {
                        out.push($tag);
                        $($($crate::codec::Wire::put($field, out);)+)?
                    })+
                }
            }

            fn take(from: &mut $crate::codec::Reader<'_>) -> $crate::codec::Take<Self> {
                match <u8 as $crate::codec::Wire>::take(from)? {
                    $($tag => Ok(Self::$variant $({ $($field: $crate::codec::Wire::take(from)?,)+ })?),)+
                    other => from.flaw(&format!("{other} is no {}, just before the one", stringify!($name))),
                }
            }

            fn show(&self) -> serde_json::Value {
                match self {
                    $(Self::$variant $({ $($field,)+ })? => {
                        #[allow(unused_mut)]
                        let mut map = serde_json::Map::new();
                        $($(map.insert(stringify!($field).into(), $crate::codec::Wire::show($field));)+)?
                        $crate::codec::variant(stringify!($variant), map)
                    })+
                }
            }
        }
        $crate::codec::wire! { $($rest)* }
    };
}
pub(crate) use wire;

/// A variant without fields is its name, one with fields a map from its name to them.
pub(crate) fn variant(name: &str, fields: serde_json::Map<String, Value>) -> Value {
    if fields.is_empty() { Value::from(name) } else { serde_json::json!({ name: fields }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    wire! {
        /// Example.
        struct Example {
            /// A.
            pub a: u32,
            /// B.
            pub b: Vec<Choice>,
            /// C.
            pub c: Option<String>,
        }
        /// Example.
        enum Choice {
            /// X.
            #[default]
            0 = X,
            /// Y.
            3 = Y {
                /// N.
                n: u16,
            },
        }
    }

    fn example() -> Example {
        Example { a: 7, b: vec![Choice::X, Choice::Y { n: 515 }], c: Some("é".into()) }
    }

    #[test]
    fn bytes_are_what_they_are_said_to_be() {
        let bytes = encode(&example());
        assert_eq!(bytes, [7, 0, 0, 0, 2, 0, 0, 0, 0, 3, 3, 2, 1, 2, 0, 0, 0, 0xc3, 0xa9]);
        assert_eq!(decode::<Example>(&bytes), Ok(example()));
        let shown = serde_json::json!({"a": 7, "b": ["X", {"Y": {"n": 515}}], "c": "é"});
        assert_eq!(example().show(), shown);
    }

    #[test]
    fn every_cut_and_every_wrong_byte_is_refused_or_is_another_record() {
        let bytes = encode(&example());
        for end in 0..bytes.len() {
            assert!(decode::<Example>(&bytes[..end]).is_err(), "{end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode::<Example>(&longer).unwrap_err().0.contains("1 bytes too many"));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[at] ^= 1 << bit;
                // One way to write each value: what is read writes the same bytes.
                assert!(
                    decode::<Example>(&wrong).is_ok_and(|record| encode(&record) == wrong)
                        || decode::<Example>(&wrong).is_err()
                );
            }
        }
    }

    #[test]
    fn counts_are_bounded_by_the_bytes_that_are_there() {
        let mut bytes = vec![0xff; 4];
        bytes.extend([0; 64]);
        assert!(decode::<Vec<u64>>(&bytes).unwrap_err().0.contains("4294967295 entries"));
        assert!(decode::<String>(&bytes).is_err() && decode::<Vec<u8>>(&bytes).is_err());
    }
}
