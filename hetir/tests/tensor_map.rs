//! Tensor maps against those that NVIDIA's driver made, and those that it refused: `tensor_maps.txt`.

use hetir::tensor_map::{BYTES, Columns, Form, MapElement, TensorMap};
use std::str::SplitWhitespace;

/// Elements by the numbers that the driver is asked for.
const ELEMENTS: [MapElement; 13] = {
    use MapElement::*;
    [U8, U16, U32, S32, U64, S64, F16, F32, F64, Bf16, F32Ftz, Tf32, Tf32Ftz]
};

/// What a line of the file says.
struct Case {
    map: TensorMap,
    /// What the driver made of it.
    bytes: Option<[u8; BYTES]>,
}

struct Words<'a>(SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn text(&mut self) -> &'a str {
        self.0.next().expect("a line has all columns")
    }
    fn number(&mut self) -> i64 {
        self.text().parse().expect("a decimal number")
    }
    fn hex(&mut self) -> u64 {
        u64::from_str_radix(self.text(), 16).expect("a hexadecimal number")
    }
    /// The first numbers of a list.
    fn list(&mut self, len: usize, wanted: usize) -> Vec<u64> {
        let mut all: Vec<u64> = (0..len).map(|_| self.hex()).collect();
        all.truncate(wanted);
        all
    }
}

fn bytes_of(words: &str) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (n, place) in bytes.chunks_mut(4).take(words.len() / 8).enumerate() {
        let word = u32::from_str_radix(&words[8 * n..8 * n + 8], 16).expect("a word of eight digits");
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A line; `None` where it asks for elements that an H200 has not.
fn case(line: &str) -> Option<Case> {
    let small = |all: Vec<u64>| all.into_iter().map(|n| n as u32).collect();
    let mut words = Words(line.split_whitespace());
    let is_box = words.text() == "box";
    let taken = words.text() == "taken";
    let element = words.number() as usize;
    let rank = words.number() as usize;
    let address = words.hex();
    let (extents, strides) = (words.list(5, rank), words.list(4, rank - 1));
    let form = if is_box {
        Form::Box(small(words.list(5, rank)))
    } else {
        let mut corner = || -> Vec<i32> {
            let mut all: Vec<i32> = (0..3).map(|_| words.number() as i32).collect();
            all.truncate(rank - 2);
            all
        };
        let (lower, upper) = (corner(), corner());
        Form::Columns(Columns { lower, upper, channels: words.hex() as u32, pixels: words.hex() as u32 })
    };
    let steps = small(words.list(5, rank));
    let [interleave, swizzle, promotion, fill] = [0; 4].map(|_| words.number() as u8);
    let bytes = words.text();
    assert_eq!(taken, bytes != "-", "{line}");
    let bytes = taken.then(|| bytes_of(bytes));
    let Some(&element) = ELEMENTS.get(element) else {
        assert!(!taken, "{line}");
        return None;
    };
    let nan = fill == 1;
    let map =
        TensorMap { address, element, extents, strides, steps, form, interleave, swizzle, atoms: 0, promotion, nan };
    Some(Case { map, bytes })
}

#[test]
fn maps_are_those_of_the_driver() {
    let lines = include_str!("tensor_maps.txt").lines().filter(|line| !line.starts_with('#'));
    let [mut taken, mut refused] = [0; 2];
    for line in lines {
        let Some(Case { map, bytes }) = case(line) else {
            refused += 1;
            continue;
        };
        match bytes {
            Some(bytes) => {
                assert_eq!(map.check(), Ok(()), "{line}");
                assert_eq!(map.encode(), bytes, "{line}");
                assert_eq!(TensorMap::decode(&bytes), Ok(map), "{line}");
                taken += 1;
            }
            None => {
                assert!(map.check().is_err(), "{line}");
                refused += 1;
            }
        }
    }
    assert!(taken > 200 && refused > 50, "{taken} taken, {refused} refused");
}
