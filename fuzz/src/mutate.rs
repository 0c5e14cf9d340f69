//! Changes to an input: some to bytes, some to words, so that texts stay close to what their grammar allows.

use std::ops::Range;

use crate::random::Random;

/// Longer inputs are cut: they cost time and find no more.
const LONGEST: usize = 64 << 10;

/// Numbers at which programs change their mind.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    31,
    32,
    64,
    255,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// An input made from one seed and pieces of the others.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut out = random.pick(seeds).cloned().unwrap_or_default();
    let is_text = std::str::from_utf8(&out).is_ok();
    for _ in 0..1 + random.below(6) {
        let other = random.pick(seeds).map_or(&[][..], Vec::as_slice);
        if is_text && !random.one_in(4) {
            change_words(random, &mut out, other);
        } else {
            change_bytes(random, &mut out, other);
        }
    }
    out.truncate(LONGEST);
    out
}

fn change_bytes(random: &mut Random, out: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(out.len() + 1);
    match random.below(7) {
        0 if at < out.len() => out[at] ^= 1 << random.below(8),
        1 if at < out.len() => out[at] = random.bits() as u8,
        2 => out.truncate(at),
        3 => replace(out, range(random, out.len(), 64), &[]),
        4 => {
            let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            replace(out, at..(at + width).min(out.len()), &number[..width]);
        }
        5 => {
            let piece = out[range(random, out.len(), 256)].to_vec();
            replace(out, at..at, &piece);
        }
        _ => {
            let piece = &other[range(random, other.len(), 256)];
            replace(out, at..at, piece);
        }
    }
}

fn change_words(random: &mut Random, out: &mut Vec<u8>, other: &[u8]) {
    let all = words(out);
    let (Some(one), Some(two)) = (random.pick(&all).cloned(), random.pick(&all).cloned()) else { return };
    match random.below(9) {
        0 => replace(out, one, &[]),
        1 => {
            let word = out[two].to_vec();
            replace(out, one, &word);
        }
        2 => {
            let word = out[two].to_vec();
            replace(out, one.start..one.start, &word);
        }
        3 => {
            let foreign = words(other);
            let word = random.pick(&foreign).map_or(&[][..], |range| &other[range.clone()]);
            replace(out, one, word);
        }
        4 => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            let text = if random.one_in(2) { format!("{number}") } else { format!("{number:#x}") };
            replace(out, one, text.as_bytes());
        }
        5 => {
            let line = line_at(out, one.start);
            replace(out, line, &[]);
        }
        6 => {
            let line = out[line_at(out, two.start)].to_vec();
            let at = line_at(out, one.start).start;
            replace(out, at..at, &line);
        }
        7 if !other.is_empty() => {
            let line = &other[line_at(other, random.below(other.len()))];
            let at = line_at(out, one.start).start;
            replace(out, at..at, line);
        }
        // Deep nesting and long lists, rarely: they make everything after them slow.
        _ if random.one_in(20) => {
            let word = out[one.clone()].repeat(1 + random.below(5000));
            replace(out, one, &word);
        }
        _ => {}
    }
}

fn replace(out: &mut Vec<u8>, range: Range<usize>, with: &[u8]) {
    out.splice(range, with.iter().copied());
}

fn range(random: &mut Random, len: usize, longest: usize) -> Range<usize> {
    let start = random.below(len + 1);
    start..(start + random.below(longest)).min(len)
}

/// Runs of letters and digits, and single other characters but blanks.
fn words(text: &[u8]) -> Vec<Range<usize>> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let start = at;
        at += 1;
        if is_word(text[start]) {
            while at < text.len() && is_word(text[at]) {
                at += 1;
            }
        }
        if !text[start].is_ascii_whitespace() {
            out.push(start..at);
        }
    }
    out
}

/// The line around a place, its end included.
fn line_at(text: &[u8], at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let start = text[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
    let end = text[at..].iter().position(|&byte| byte == b'\n').map_or(text.len(), |place| at + place + 1);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_cut_into_words_and_lines() {
        let text = b"ab.c1  {\n\tx}\n";
        let found: Vec<&[u8]> = words(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, [&b"ab"[..], b".", b"c1", b"{", b"x", b"}"]);
        assert_eq!(line_at(text, 0), 0..9);
        assert_eq!(line_at(text, 9), 9..13);
        assert_eq!(line_at(text, 13), 13..13);
    }

    #[test]
    fn mutants_repeat_for_a_seed_and_differ() {
        let seeds = [b"one two three\nfour\n".to_vec(), vec![0, 0xff, 0xfe, 1, 2, 3]];
        let all = |seed| {
            let mut random = Random(seed);
            (0..200).map(|_| mutate(&mut random, &seeds)).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert!(all(1).iter().filter(|mutant| !seeds.contains(mutant)).count() > 100);
        assert!(mutate(&mut Random(1), &[]).len() < 1000);
    }
}
