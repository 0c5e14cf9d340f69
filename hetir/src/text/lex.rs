//! Tokens of the text format.

use crate::diag::Span;

/// What a token is. Text is borrowed from the source.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Token<'a> {
    /// A word: letters, digits, `_`, `$`, `%` and `.`, the first of them no digit.
    Word(&'a str),
    /// A quoted string, escapes not yet resolved, without the quotes.
    Quoted(&'a str),
    /// A number.
    Number(u64),
    /// A sign of punctuation: `@ ( ) [ ] { } , : = + -`.
    Sign(char),
    /// `->`.
    Arrow,
    /// The end of a line.
    Newline,
    /// The end of the text.
    End,
    /// Something that is no token; the text says what is wrong with it.
    Bad(&'static str),
}

impl Token<'_> {
    /// What a message calls it.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Word(w) => format!("`{}`", shorten(w)),
            Self::Quoted(_) => "a string".into(),
            Self::Number(n) => format!("`{n}`"),
            Self::Sign(c) => format!("`{c}`"),
            Self::Arrow => "`->`".into(),
            Self::Newline => "the end of the line".into(),
            Self::End => "the end of the text".into(),
            Self::Bad(what) => what.into(),
        }
    }
}

fn shorten(word: &str) -> String {
    if word.len() <= 60 { word.into() } else { word.chars().take(57).chain("...".chars()).collect() }
}

/// True for what may stand in a word.
pub(crate) fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'%' | b'.')
}

/// True where a name needs no quotes.
pub(crate) fn is_word(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| !b.is_ascii_digit()) && name.bytes().all(is_word_byte)
}

/// Splits a text into tokens, one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// At the start of a text.
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, at: 0 }
    }

    /// The next token and where it stands.
    pub(crate) fn next(&mut self) -> (Token<'a>, Span) {
        let bytes = self.source.as_bytes();
        while let Some(&b) = bytes.get(self.at) {
            match b {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b';' => self.at += bytes[self.at..].iter().position(|&b| b == b'\n').unwrap_or(bytes.len() - self.at),
                _ => break,
            }
        }
        let start = self.at;
        let token = match bytes.get(start) {
            None => Token::End,
            Some(b'\n') => {
                self.at += 1;
                Token::Newline
            }
            Some(b'"') => self.quoted(),
            Some(b'-') if bytes.get(start + 1) == Some(&b'>') => {
                self.at += 2;
                Token::Arrow
            }
            Some(&b @ (b'@' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b':' | b'=' | b'+' | b'-')) => {
                self.at += 1;
                Token::Sign(char::from(b))
            }
            Some(b) if b.is_ascii_digit() => self.number(),
            Some(&b) if is_word_byte(b) => Token::Word(self.word()),
            Some(_) => {
                self.at += self.source[start..].chars().next().map_or(1, char::len_utf8);
                Token::Bad("a character that means nothing here")
            }
        };
        (token, Span::new(start as u32, self.at as u32))
    }

    fn word(&mut self) -> &'a str {
        let start = self.at;
        let rest = &self.source.as_bytes()[start..];
        self.at += rest.iter().position(|&b| !is_word_byte(b)).unwrap_or(rest.len());
        &self.source[start..self.at]
    }

    fn number(&mut self) -> Token<'a> {
        let word = self.word();
        let value = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse(),
        };
        match value {
            Ok(n) => Token::Number(n),
            Err(e) if *e.kind() == std::num::IntErrorKind::PosOverflow => Token::Bad("a number of more than 64 bits"),
            Err(_) => Token::Bad("a malformed number"),
        }
    }

    fn quoted(&mut self) -> Token<'a> {
        let start = self.at + 1;
        let mut escaped = false;
        for (i, &b) in self.source.as_bytes()[start..].iter().enumerate() {
            match b {
                b'\n' => {
                    self.at = start + i;
                    return Token::Bad("a string that is not closed");
                }
                b'"' if !escaped => {
                    self.at = start + i + 1;
                    return Token::Quoted(&self.source[start..start + i]);
                }
                _ => escaped = b == b'\\' && !escaped,
            }
        }
        self.at = self.source.len();
        Token::Bad("a string that is not closed")
    }
}

/// Writes a string in quotes, so that [`unescape`] gives it back.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Resolves the escapes of a quoted string: `\"`, `\\`, `\n` and `\u{hex}`.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        out.push_str(&rest[..place]);
        rest = &rest[place + 1..];
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '\\' => out.push(c),
            'n' => out.push('\n'),
            'u' => {
                let (hex, after) = rest.strip_prefix('{')?.split_once('}')?;
                if hex.len() > 6 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
                rest = after;
            }
            _ => return None,
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_string_reads_back() {
        for text in ["", "a b", "\"", "\\", "\n\t\0\u{7f}", "größe", "\u{85}\u{2028}", "\\n"] {
            let quoted = escape(text);
            let mut lexer = Lexer::new(&quoted);
            let (Token::Quoted(inner), _) = lexer.next() else { panic!("{quoted} is no string") };
            assert_eq!(unescape(inner).as_deref(), Some(text));
            assert_eq!(lexer.next().0, Token::End);
        }
    }

    #[test]
    fn bad_tokens_say_what_they_are() {
        let bad = |s| match Lexer::new(s).next().0 {
            Token::Bad(what) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(bad("99999999999999999999"), "a number of more than 64 bits");
        assert_eq!(bad("0xg"), "a malformed number");
        assert_eq!(bad("\"abc\n\""), "a string that is not closed");
        assert_eq!(bad("é"), "a character that means nothing here");
        assert_eq!(unescape("\\u{110000}"), None);
        assert_eq!(unescape("\\x"), None);
    }
}
