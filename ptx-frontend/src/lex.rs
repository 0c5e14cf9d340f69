//! The characters of PTX: white space, comments, names, numbers, strings. There is no token stream: what a byte means
//! depends on where it stands (`1d` is a modifier of an opcode and an error in an operand), so the parser asks for what
//! it expects next.

use hetir::diag::Span;

const SPACE: u8 = 1;
/// May begin a name.
const START: u8 = 2;
/// May continue a name.
const WORD: u8 = 4;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut b = 0;
    while b < 256 {
        class[b] = match b as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => START | WORD,
            b'%' => START,
            b'0'..=b'9' => WORD,
            _ => 0,
        };
        b += 1;
    }
    class
};

/// True for bytes that may begin a name.
fn is_start(byte: u8) -> bool {
    CLASS[byte as usize] & START != 0
}

/// True for bytes that may continue a name.
fn is_word(byte: u8) -> bool {
    CLASS[byte as usize] & WORD != 0
}

/// A position in a text.
pub(crate) struct Cursor<'a> {
    pub(crate) text: &'a str,
    pub(crate) pos: usize,
    /// Where a comment begins that nothing ends.
    pub(crate) open_comment: Option<usize>,
}

/// A number as it is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Number {
    Int { bits: u64, unsigned: bool },
    F32(u32),
    F64(u64),
}

/// Why a number is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NumberError {
    /// It is followed by letters or digits that do not belong to it, or lacks digits.
    Malformed,
    /// It does not fit in 64 bits.
    TooLarge,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, pos: 0, open_comment: None }
    }

    /// The byte at a position, 0 past the end.
    pub(crate) fn at(&self, pos: usize) -> u8 {
        self.text.as_bytes().get(pos).copied().unwrap_or(0)
    }

    /// The next byte, not skipping anything; 0 at the end.
    pub(crate) fn byte(&self) -> u8 {
        self.at(self.pos)
    }

    /// Skips white space, comments, and line markers of a preprocessor (`# 1 "file"`).
    pub(crate) fn skip(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(&b) = bytes.get(self.pos) {
            if CLASS[b as usize] & SPACE != 0 {
                self.pos += 1;
            } else if !matches!(b, b'/' | b'#') || !self.skip_comment() {
                break;
            }
        }
    }

    #[cold]
    fn skip_comment(&mut self) -> bool {
        let rest = &self.text.as_bytes()[self.pos..];
        let line = || rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        match rest.get(1) {
            _ if rest.starts_with(b"#") => {
                let marker = self.text[self.pos + 1..].trim_start_matches([' ', '\t']);
                let file = marker.trim_start_matches(|c: char| c.is_ascii_digit());
                if file.len() == marker.len() || !file.trim_start_matches([' ', '\t']).starts_with('"') {
                    return false;
                }
                self.pos += line();
            }
            Some(b'/') => self.pos += line(),
            Some(b'*') => match rest[2..].windows(2).position(|w| w == b"*/") {
                Some(n) => self.pos += n + 4,
                None => {
                    self.open_comment.get_or_insert(self.pos);
                    self.pos = self.text.len();
                }
            },
            _ => return false,
        }
        true
    }

    /// Skips to the next byte that matters and tells it; 0 at the end.
    pub(crate) fn peek(&mut self) -> u8 {
        self.skip();
        self.byte()
    }

    pub(crate) fn is_end(&mut self) -> bool {
        self.skip();
        self.pos >= self.text.len()
    }

    /// Takes the byte if it comes next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.pos += usize::from(found);
        found
    }

    /// True if a name stands here. `%` and `$` alone are none.
    pub(crate) fn at_name(&self) -> bool {
        let b = self.byte();
        is_start(b) && (!matches!(b, b'%' | b'$') || is_word(self.at(self.pos + 1)))
    }

    /// Takes a name at the position itself, and tells its range; an empty range where there is none.
    pub(crate) fn word(&mut self) -> (usize, usize) {
        let start = self.pos;
        let bytes = self.text.as_bytes();
        if self.at_name() {
            let rest = &bytes[start + 1..];
            self.pos += 1 + rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len());
        }
        (start, self.pos)
    }

    /// End of the bytes from `pos` on that may stand within a name.
    pub(crate) fn word_end(&self, pos: usize) -> usize {
        let rest = self.text.as_bytes().get(pos..).unwrap_or(&[]);
        pos + rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len())
    }

    /// Takes `.name` and tells its range without the dot.
    pub(crate) fn dotted(&mut self) -> Option<(usize, usize)> {
        if self.peek() != b'.' {
            return None;
        }
        let start = self.pos + 1;
        let end = self.word_end(start);
        if start == end || self.at(start).is_ascii_digit() {
            return None;
        }
        self.pos = end;
        Some((start, end))
    }

    /// Takes `.name` if exactly that comes next.
    pub(crate) fn eat_dotted(&mut self, name: &str) -> bool {
        let start = self.pos;
        match self.dotted() {
            Some((a, b)) if &self.text[a..b] == name => true,
            _ => {
                self.pos = start;
                false
            }
        }
    }

    /// Takes a string and tells the range between its quotes. There are no escapes, and a string ends on its line.
    pub(crate) fn string(&mut self) -> Option<(usize, usize)> {
        let start = self.pos + 1;
        let rest = self.text.as_bytes().get(start..)?;
        let n = rest.iter().position(|&b| b == b'"' || b == b'\n')?;
        if rest[n] != b'"' {
            return None;
        }
        self.pos = start + n + 1;
        Some((start, start + n))
    }

    /// True if a number stands here, without sign.
    pub(crate) fn at_number(&self) -> bool {
        let b = self.byte();
        b.is_ascii_digit() || b == b'.' && self.at(self.pos + 1).is_ascii_digit()
    }

    /// Takes the number that stands here. On error the position stays.
    pub(crate) fn number(&mut self) -> Result<Number, NumberError> {
        let start = self.pos;
        let word = &self.text[start..self.word_end(start)];
        let (radix, digits) = match word.as_bytes() {
            [b'0', b'x' | b'X', ..] => (16, &word[2..]),
            [b'0', b'b' | b'B', ..] => (2, &word[2..]),
            [b'0', b'f' | b'F', ..] => {
                let bits = hex_float(&word[2..], 8)?;
                self.pos = start + word.len();
                return Ok(Number::F32(bits as u32));
            }
            [b'0', b'd' | b'D', ..] => {
                let bits = hex_float(&word[2..], 16)?;
                self.pos = start + word.len();
                return Ok(Number::F64(bits));
            }
            _ if self.is_decimal_float(word) => return self.decimal_float(),
            [b'0', b'0'..=b'9', ..] => (8, &word[1..]),
            _ => (10, word),
        };
        let plain = digits.strip_suffix('U').unwrap_or(digits);
        if plain.is_empty() {
            return Err(NumberError::Malformed);
        }
        let mut bits = 0u64;
        let mut fits = true;
        for b in plain.bytes() {
            let digit = char::from(b).to_digit(radix).ok_or(NumberError::Malformed)?;
            let next = bits.checked_mul(u64::from(radix)).and_then(|n| n.checked_add(u64::from(digit)));
            fits &= next.is_some();
            bits = next.unwrap_or(0);
        }
        if !fits {
            return Err(NumberError::TooLarge);
        }
        self.pos = start + word.len();
        Ok(Number::Int { bits, unsigned: plain.len() != digits.len() || i64::try_from(bits).is_err() })
    }

    fn is_decimal_float(&self, word: &str) -> bool {
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        match word.as_bytes().get(digits) {
            None => self.at(self.pos + digits) == b'.',
            Some(b'e' | b'E') => true,
            Some(_) => false,
        }
    }

    fn decimal_float(&mut self) -> Result<Number, NumberError> {
        let start = self.pos;
        let mut end = start;
        let digits = |end: &mut usize| {
            let from = *end;
            while self.at(*end).is_ascii_digit() {
                *end += 1;
            }
            *end - from
        };
        let mut mantissa = digits(&mut end);
        if self.at(end) == b'.' {
            end += 1;
            mantissa += digits(&mut end);
        }
        if self.at(end) | 0x20 == b'e' {
            end += 1;
            end += usize::from(matches!(self.at(end), b'+' | b'-'));
            if digits(&mut end) == 0 {
                return Err(NumberError::Malformed);
            }
        }
        if mantissa == 0 || is_word(self.at(end)) {
            return Err(NumberError::Malformed);
        }
        let value: f64 = self.text[start..end].parse().map_err(|_| NumberError::Malformed)?;
        if value.is_infinite() {
            return Err(NumberError::TooLarge);
        }
        self.pos = end;
        Ok(Number::F64(value.to_bits()))
    }

    /// What stands at the position, for "found ...": a name, a number, a directive, one character.
    pub(crate) fn found(&mut self) -> (String, Span) {
        /// Longest part of a name that is quoted.
        const QUOTED: usize = 60;
        let b = self.peek();
        let start = self.pos;
        if start >= self.text.len() {
            let end = self.text.trim_end().len();
            return ("the end of the text".into(), Span::new(end as u32, self.text.len() as u32));
        }
        let end = if is_word(b) || is_start(b) || b == b'.' && is_word(self.at(start + 1)) {
            self.word_end(start + 1)
        } else if b == b'"' {
            return ("a string".into(), Span::new(start as u32, start as u32 + 1));
        } else {
            start + self.text[start..].chars().next().map_or(1, char::len_utf8)
        };
        let span = Span::new(start as u32, end as u32);
        // Names are ASCII.
        let found = if end - start > QUOTED {
            format!("`{}...`", &self.text[start..start + QUOTED])
        } else {
            match self.text[start..end].chars().next() {
                Some(c) if c.is_control() => format!("the character U+{:04X}", u32::from(c)),
                _ => format!("`{}`", &self.text[start..end]),
            }
        };
        (found, span)
    }
}

fn hex_float(digits: &str, len: usize) -> Result<u64, NumberError> {
    if digits.len() != len || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(NumberError::Malformed);
    }
    u64::from_str_radix(digits, 16).map_err(|_| NumberError::Malformed)
}
