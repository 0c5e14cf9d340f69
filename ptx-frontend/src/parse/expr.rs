//! Constant expressions: the operators of C on 64-bit integers, and `+ - * /` and comparisons on doubles.
//!
//! A result is signed or unsigned as follows: `+ - * / & | ^` and comparisons convert to unsigned if one side is;
//! `%` and `~` work on and give unsigned; shifts keep the type of what is shifted and use the low 6 bits of the
//! distance; comparisons and logical operators give signed 0 or 1; `a ? b : c` has the type of the one chosen.
//! Integers and doubles do not mix.

use super::{Parse, Parser};
use crate::lex::{Number, NumberError};
use hetir::diag::{Diagnostic, Span};
use std::cmp::Ordering;

/// Value of a constant expression.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Const {
    Int(Int),
    /// A `0f` literal; it cannot be calculated with.
    F32(u32),
    F64(f64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Int {
    pub(super) bits: u64,
    pub(super) unsigned: bool,
}

impl Int {
    const fn signed(value: i64) -> Self {
        Self { bits: value as u64, unsigned: false }
    }
    const fn unsigned(bits: u64) -> Self {
        Self { bits, unsigned: true }
    }
    const fn truth(value: bool) -> Self {
        Self::signed(value as i64)
    }
}

/// Nested parentheses, signs and conditions.
const MAX_DEPTH: u32 = 64;
/// `WARP_SZ`
const WARP_SIZE: i64 = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Mul,
    Div,
    Rem,
    Add,
    Sub,
    Shl,
    Shr,
    Lt,
    Le,
    Gt,
    Ge,
    Eq,
    Ne,
    And,
    Xor,
    Or,
    LogicalAnd,
    LogicalOr,
}

/// The binary operator that two bytes begin: itself, how strongly it binds, its length.
fn operator(bytes: (u8, u8)) -> Option<(Op, u8, usize)> {
    Some(match bytes {
        (b'|', b'|') => (Op::LogicalOr, 1, 2),
        (b'&', b'&') => (Op::LogicalAnd, 2, 2),
        (b'|', _) => (Op::Or, 3, 1),
        (b'^', _) => (Op::Xor, 4, 1),
        (b'&', _) => (Op::And, 5, 1),
        (b'=', b'=') => (Op::Eq, 6, 2),
        (b'!', b'=') => (Op::Ne, 6, 2),
        (b'<', b'<') => (Op::Shl, 8, 2),
        (b'>', b'>') => (Op::Shr, 8, 2),
        (b'<', b'=') => (Op::Le, 7, 2),
        (b'>', b'=') => (Op::Ge, 7, 2),
        (b'<', _) => (Op::Lt, 7, 1),
        (b'>', _) => (Op::Gt, 7, 1),
        (b'+', _) => (Op::Add, 9, 1),
        (b'-', _) => (Op::Sub, 9, 1),
        (b'*', _) => (Op::Mul, 10, 1),
        (b'/', _) => (Op::Div, 10, 1),
        (b'%', _) => (Op::Rem, 10, 1),
        _ => return None,
    })
}

impl Parser<'_> {
    /// A constant expression.
    pub(super) fn constant(&mut self) -> Parse<Const> {
        self.cur.skip();
        if self.cur.at_number() {
            let value = self.literal()?;
            // Most constants are single literals.
            if matches!(self.cur.peek(), b',' | b';' | b']' | b'}' | b')') {
                return Ok(value);
            }
            return self.conditional_after(value, 0);
        }
        self.conditional(0)
    }

    /// A constant expression that must be an integer.
    pub(super) fn integer(&mut self, what: &str) -> Parse<Int> {
        self.cur.skip();
        let start = self.cur.pos;
        match self.constant()? {
            Const::Int(value) => Ok(value),
            Const::F32(_) | Const::F64(_) => Err(Box::new(
                Diagnostic::error("ptx::syntax", format!("{what} must be an integer, not a floating-point number"))
                    .at(self.span_from(start), ""),
            )),
        }
    }

    /// An integer literal without sign, at most `max`.
    pub(super) fn natural(&mut self, what: &str, max: u64) -> Parse<u64> {
        self.cur.skip();
        if !self.cur.byte().is_ascii_digit() {
            return self.expected(what);
        }
        let start = self.cur.pos;
        match self.literal()? {
            Const::Int(value) if value.bits <= max => Ok(value.bits),
            Const::Int(value) => Err(Box::new(
                Diagnostic::error("ptx::literal", format!("{what} is {}, more than {max}", value.bits))
                    .at(self.span_from(start), ""),
            )),
            Const::F32(_) | Const::F64(_) => Err(Box::new(
                Diagnostic::error("ptx::syntax", format!("{what} must be an integer, not a floating-point number"))
                    .at(self.span_from(start), ""),
            )),
        }
    }

    /// [`Parser::natural`] of 32 bits.
    pub(super) fn natural32(&mut self, what: &str) -> Parse<u32> {
        // The limit makes the conversion exact.
        self.natural(what, u64::from(u32::MAX)).map(|n| n as u32)
    }

    fn literal(&mut self) -> Parse<Const> {
        match self.cur.number() {
            Ok(Number::Int { bits, unsigned }) => Ok(Const::Int(Int { bits, unsigned })),
            Ok(Number::F32(bits)) => Ok(Const::F32(bits)),
            Ok(Number::F64(bits)) => Ok(Const::F64(f64::from_bits(bits))),
            Err(kind) => {
                let (found, span) = self.cur.found();
                let (message, note) = match kind {
                    NumberError::Malformed => (format!("{found} is not a number"), number_note(&found)),
                    NumberError::TooLarge => (format!("{found} does not fit in 64 bits"), None),
                };
                let error = Diagnostic::error("ptx::literal", message).at(span, "");
                Err(Box::new(match note {
                    Some(note) => error.note(note),
                    None => error,
                }))
            }
        }
    }

    fn conditional(&mut self, depth: u32) -> Parse<Const> {
        let first = self.unary(depth)?;
        self.conditional_after(first, depth)
    }

    /// The rest of an expression whose first operand has been read.
    fn conditional_after(&mut self, first: Const, depth: u32) -> Parse<Const> {
        let condition = self.binary_after(first, 1, depth)?;
        if self.cur.peek() != b'?' {
            return Ok(condition);
        }
        let start = self.cur.pos;
        self.cur.pos += 1;
        let depth = self.deeper(depth)?;
        let yes = self.conditional(depth)?;
        self.expect(b':', "of the conditional expression")?;
        let no = self.conditional(depth)?;
        match (condition, yes, no) {
            (Const::Int(c), Const::Int(_), Const::Int(_)) => Ok(if c.bits != 0 { yes } else { no }),
            _ => Err(not_integer("?:", self.span_from(start))),
        }
    }

    /// Applies the operators that bind at least as strongly as `least` to what has been read.
    fn binary_after(&mut self, mut left: Const, least: u8, depth: u32) -> Parse<Const> {
        loop {
            let first = self.cur.peek();
            let start = self.cur.pos;
            let Some((op, strength, len)) = operator((first, self.cur.at(start + 1))) else { return Ok(left) };
            if strength < least {
                return Ok(left);
            }
            self.cur.pos += len;
            // All operators associate to the left. The nesting here is bounded by the number of strengths.
            let right = self.unary(depth)?;
            let right = self.binary_after(right, strength + 1, depth)?;
            left = apply(op, left, right, Span::new(start as u32, (start + len) as u32))?;
        }
    }

    fn unary(&mut self, depth: u32) -> Parse<Const> {
        let op = self.cur.peek();
        let start = self.cur.pos;
        match op {
            b'-' | b'+' | b'!' | b'~' => {
                self.cur.pos += 1;
                let value = self.unary(self.deeper(depth)?)?;
                let span = Span::new(start as u32, start as u32 + 1);
                Ok(match (op, value) {
                    (b'-', Const::Int(v)) => Const::Int(Int { bits: v.bits.wrapping_neg(), ..v }),
                    (b'-', Const::F64(v)) => Const::F64(-v),
                    (b'+', Const::Int(_) | Const::F64(_)) => value,
                    (b'!', Const::Int(v)) => Const::Int(Int::truth(v.bits == 0)),
                    (b'~', Const::Int(v)) => Const::Int(Int::unsigned(!v.bits)),
                    (b'-' | b'+', _) => return Err(single_precision(span)),
                    _ => return Err(not_integer(if op == b'!' { "!" } else { "~" }, span)),
                })
            }
            b'(' => {
                self.cur.pos += 1;
                let depth = self.deeper(depth)?;
                if self.cur.peek() == b'.' && !self.cur.at_number() {
                    let unsigned = self.cur.eat_dotted("u64");
                    if !unsigned && !self.cur.eat_dotted("s64") {
                        return self.expected("`.s64` or `.u64` in a cast");
                    }
                    self.expect(b')', "after the type of a cast")?;
                    let span = self.span_from(start);
                    return match self.unary(depth)? {
                        Const::Int(v) => Ok(Const::Int(Int { bits: v.bits, unsigned })),
                        Const::F32(_) | Const::F64(_) => Err(not_integer("a cast", span)),
                    };
                }
                let value = self.conditional(depth)?;
                self.expect(b')', "after a constant expression")?;
                Ok(value)
            }
            _ if self.cur.at_number() => self.literal(),
            _ => {
                let word = self.cur.word();
                if self.slice(word) == "WARP_SZ" {
                    return Ok(Const::Int(Int::signed(WARP_SIZE)));
                }
                self.cur.pos = start;
                self.expected("a constant")
            }
        }
    }

    fn deeper(&self, depth: u32) -> Parse<u32> {
        if depth < MAX_DEPTH {
            return Ok(depth + 1);
        }
        let at = self.cur.pos as u32;
        Err(Box::new(
            Diagnostic::error("ptx::limit", format!("this constant expression is nested more than {MAX_DEPTH} deep"))
                .at(Span::new(at.saturating_sub(1), at), ""),
        ))
    }
}

fn number_note(found: &str) -> Option<&'static str> {
    match found.as_bytes() {
        [b'`', b'0', b'f' | b'F', ..] => Some("after `0f` stand exactly 8 hexadecimal digits"),
        [b'`', b'0', b'd' | b'D', ..] => Some("after `0d` stand exactly 16 hexadecimal digits"),
        [b'`', b'0', b'0'..=b'9', ..] => Some("a number that begins with 0 is octal"),
        _ => None,
    }
}

fn apply(op: Op, left: Const, right: Const, span: Span) -> Parse<Const> {
    let zero = || Box::new(Diagnostic::error("ptx::literal", "division by zero in a constant").at(span, ""));
    match (left, right) {
        (Const::Int(a), Const::Int(b)) => integers(op, a, b).map(Const::Int).ok_or_else(zero),
        (Const::F64(a), Const::F64(b)) => doubles(op, a, b).ok_or_else(|| not_integer("this operator", span)),
        (Const::F32(_), _) | (_, Const::F32(_)) => Err(single_precision(span)),
        _ => Err(Box::new(
            Diagnostic::error("ptx::syntax", "integers and floating-point numbers do not mix in a constant expression")
                .at(span, ""),
        )),
    }
}

/// `None`: division by zero.
fn integers(op: Op, a: Int, b: Int) -> Option<Int> {
    let unsigned = a.unsigned || b.unsigned;
    let of = |bits: u64| Int { bits, unsigned };
    let (sa, sb) = (a.bits as i64, b.bits as i64);
    let order = if unsigned { a.bits.cmp(&b.bits) } else { sa.cmp(&sb) };
    let distance = b.bits as u32 % 64;
    Some(match op {
        Op::Mul => of(a.bits.wrapping_mul(b.bits)),
        Op::Div if b.bits == 0 => return None,
        Op::Div if unsigned => of(a.bits / b.bits),
        Op::Div => of(sa.wrapping_div(sb) as u64),
        Op::Rem => Int::unsigned(a.bits.checked_rem(b.bits)?),
        Op::Add => of(a.bits.wrapping_add(b.bits)),
        Op::Sub => of(a.bits.wrapping_sub(b.bits)),
        Op::Shl => Int { bits: a.bits << distance, ..a },
        Op::Shr if a.unsigned => Int::unsigned(a.bits >> distance),
        Op::Shr => Int::signed(sa >> distance),
        Op::Lt => Int::truth(order == Ordering::Less),
        Op::Le => Int::truth(order != Ordering::Greater),
        Op::Gt => Int::truth(order == Ordering::Greater),
        Op::Ge => Int::truth(order != Ordering::Less),
        Op::Eq => Int::truth(order == Ordering::Equal),
        Op::Ne => Int::truth(order != Ordering::Equal),
        Op::And => of(a.bits & b.bits),
        Op::Xor => of(a.bits ^ b.bits),
        Op::Or => of(a.bits | b.bits),
        Op::LogicalAnd => Int::truth(a.bits != 0 && b.bits != 0),
        Op::LogicalOr => Int::truth(a.bits != 0 || b.bits != 0),
    })
}

/// `None`: not an operator of doubles.
fn doubles(op: Op, a: f64, b: f64) -> Option<Const> {
    let truth = |value: bool| Some(Const::Int(Int::truth(value)));
    match op {
        Op::Mul => Some(Const::F64(a * b)),
        Op::Div => Some(Const::F64(a / b)),
        Op::Add => Some(Const::F64(a + b)),
        Op::Sub => Some(Const::F64(a - b)),
        Op::Lt => truth(a < b),
        Op::Le => truth(a <= b),
        Op::Gt => truth(a > b),
        Op::Ge => truth(a >= b),
        Op::Eq => truth(a == b),
        Op::Ne => truth(a != b),
        Op::Rem | Op::Shl | Op::Shr | Op::And | Op::Xor | Op::Or | Op::LogicalAnd | Op::LogicalOr => None,
    }
}

fn not_integer(operator: &str, span: Span) -> Box<Diagnostic> {
    let operator = if operator.starts_with(|c: char| c.is_ascii_punctuation()) {
        format!("`{operator}`")
    } else {
        operator.to_owned()
    };
    Box::new(
        Diagnostic::error("ptx::syntax", format!("{operator} needs integers in a constant expression")).at(span, ""),
    )
}

fn single_precision(span: Span) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error("ptx::syntax", "a single-precision literal cannot be part of a constant expression")
            .at(span, ""),
    )
}
