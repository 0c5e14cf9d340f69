//! Patterns that fill many elements: one value, a counting sequence, seeded random numbers.

use crate::elem::{Class, Elem};

/// A rule that gives each element of a buffer its bits.
#[derive(Clone, PartialEq, Debug)]
pub enum Pattern {
    /// Every element has these bits.
    All(u64),
    /// Element k is `start + k * step`.
    Iota { start: f64, step: f64 },
    /// Any bits.
    Bits { seed: u64 },
    /// Half of the elements from the table of edge values, half any bits.
    Edges { seed: u64 },
    /// Numbers of an interval, spread evenly.
    Between { seed: u64, from: f64, to: f64 },
}

impl Pattern {
    /// The bits of the elements `range`; an error names the element that the type cannot hold.
    pub fn bits(&self, elem: Elem, range: std::ops::Range<usize>) -> Result<Vec<u64>, String> {
        let seed = match *self {
            Self::Bits { seed } | Self::Edges { seed } | Self::Between { seed, .. } => seed,
            Self::All(_) | Self::Iota { .. } => 0,
        };
        let mut random = Random(seed);
        let edges = edges(elem);
        let number = |value: f64| {
            let bits = if elem.is_float() {
                elem.from_decimal(&format!("{value:?}"))
            } else {
                elem.from_integer(value as i128)
            };
            bits.ok_or_else(|| format!("{elem} cannot hold {value}"))
        };
        range
            .map(|index| match *self {
                Self::All(bits) => Ok(bits),
                Self::Iota { start, step } => number(start + index as f64 * step),
                Self::Bits { .. } => Ok(random.next() & elem.mask()),
                Self::Edges { .. } => {
                    let (coin, pick, bits) = (random.next(), random.next(), random.next());
                    Ok(if coin & 1 == 0 { edges[(pick % edges.len() as u64) as usize] } else { bits & elem.mask() })
                }
                Self::Between { from, to, .. } => {
                    let unit = (random.next() >> 11) as f64 / (1u64 << 53) as f64;
                    number(from + unit * (to - from))
                }
            })
            .collect()
    }
}

/// SplitMix64: every seed gives a full-period sequence, and one line says what it is.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Values at which operations change their behaviour. Bare bit types get those of integers and of every float and
/// packed float of their width.
fn edges(elem: Elem) -> Vec<u64> {
    let mut out = match elem.class() {
        Class::Float { exponent, mantissa } => float_edges(elem, exponent, mantissa),
        Class::Unsigned | Class::Signed => integer_edges(elem),
        Class::Bits => {
            let mut all = integer_edges(elem);
            let floats: &[Elem] = match elem.size() {
                1 => &[],
                2 => &[Elem::F16, Elem::Bf16],
                4 => &[Elem::F32],
                _ => &[Elem::F64],
            };
            all.extend(floats.iter().flat_map(|&float| edges(float)));
            if elem.size() == 4 {
                let halves = edges(Elem::B16);
                let rotated = halves.iter().cycle().skip(halves.len() / 3);
                all.extend(halves.iter().zip(rotated).map(|(&low, &high)| high << 16 | low));
            }
            all
        }
    };
    out.sort_unstable();
    out.dedup();
    out
}

fn integer_edges(elem: Elem) -> Vec<u64> {
    let width = 8 * elem.size() as u32;
    let mask = elem.mask();
    let mut out =
        vec![0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 65, mask, mask - 1, mask / 3, mask / 3 * 2, mask / 255 * 0x80];
    for power in 0..width {
        let bit = 1u64 << power;
        out.extend([bit, bit.wrapping_sub(1), bit | 1, bit.wrapping_neg() & mask]);
    }
    out.iter().map(|bits| bits & mask).collect()
}

fn float_edges(elem: Elem, exponent: u32, mantissa: u32) -> Vec<u64> {
    let bias = (1u64 << (exponent - 1)) - 1;
    let one = bias << mantissa;
    let infinity = ((1u64 << exponent) - 1) << mantissa;
    let fraction = (1u64 << mantissa) - 1;
    let quiet = 1u64 << (mantissa - 1);
    let mut out = vec![0, 1, 2, fraction, fraction - 1, quiet]; // zero and denormals
    out.extend([fraction + 1, fraction + 2, infinity - 1, infinity - 2, infinity]); // ends of the normal numbers
    out.extend([infinity | 1, infinity | quiet, infinity | quiet | 1, infinity | fraction]); // both kinds of NaN
    out.extend([one - 1, one, one + 1, one | quiet, one | fraction]);
    // Powers of two at which the mantissa or an integer type ends, their neighbours, and halves that tie.
    for power in [1u64, 2, 3, 7, 8, 10, 11, 15, 16, 23, 24, 31, 32, 52, 53, 63, 64] {
        for biased in [bias + power, bias.saturating_sub(power)] {
            let bits = biased << mantissa;
            if biased > 0 && bits < infinity {
                out.extend([bits - 1, bits, bits + 1, bits | quiet]);
            }
        }
    }
    for text in ["0.1", "0.3333333333333333", "3.141592653589793", "0.7853981633974483", "88.72", "-104.5", "1000"] {
        out.extend(elem.from_decimal(text));
    }
    let sign = elem.mask() ^ (elem.mask() >> 1);
    let negative: Vec<u64> = out.iter().map(|bits| bits ^ sign).collect();
    out.extend(negative);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_count_and_refuse_what_does_not_fit() {
        let iota = Pattern::Iota { start: -1.0, step: 2.0 };
        assert_eq!(iota.bits(Elem::S32, 0..3), Ok(vec![0xffff_ffff, 1, 3]));
        assert_eq!(iota.bits(Elem::F32, 1..2), Ok(vec![0x3f80_0000]));
        assert_eq!(iota.bits(Elem::U32, 0..1), Err("u32 cannot hold -1".into()));
    }

    #[test]
    fn random_elements_repeat_for_a_seed_and_differ_between_seeds() {
        for elem in [Elem::U8, Elem::B32, Elem::F16, Elem::F64] {
            let one = Pattern::Edges { seed: 1 }.bits(elem, 0..500).unwrap();
            assert_eq!(one, Pattern::Edges { seed: 1 }.bits(elem, 0..500).unwrap());
            assert_ne!(one, Pattern::Edges { seed: 2 }.bits(elem, 0..500).unwrap());
            assert!(one.iter().all(|bits| bits & !elem.mask() == 0));
        }
    }

    #[test]
    fn edges_hold_what_matters() {
        let f32s = edges(Elem::F32);
        for bits in [0, 0x8000_0000, 1, 0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0x7fff_ffff, 0x7f7f_ffff, 0x4f00_0000] {
            assert!(f32s.contains(&bits), "{bits:#x}");
        }
        for bits in [0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7f80_0000] {
            assert!(edges(Elem::B32).contains(&bits), "{bits:#x}");
        }
        assert!(edges(Elem::S8).contains(&0x80) && edges(Elem::S8).contains(&0x7f));
    }

    #[test]
    fn intervals_hold_their_numbers() {
        let all = Pattern::Between { seed: 3, from: -2.0, to: 5.0 }.bits(Elem::F32, 0..1000).unwrap();
        let values: Vec<f32> = all.iter().map(|&b| f32::from_bits(b as u32)).collect();
        assert!(values.iter().all(|v| (-2.0..=5.0).contains(v)));
        assert!(values.iter().any(|&v| v < -1.0) && values.iter().any(|&v| v > 4.0));
    }
}
