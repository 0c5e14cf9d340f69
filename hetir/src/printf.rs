//! `printf` on the bytes of a device-side argument buffer.

/// What a conversion takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument {
    /// 4 bytes.
    Word,
    /// 8 bytes.
    Long,
    /// A double.
    Float,
    /// The address of a string.
    Text,
}

#[derive(Default, Clone, Copy)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Widths and precisions beyond this are cut.
const MAX_WIDTH: usize = 4096;

/// Output of one call is cut here, as devices do that have a buffer for it.
const MAX_OUTPUT: usize = 1 << 20;

/// Whether devices copy a conversion as it stands, as an H200 does with precisions that are arguments and with the sizes
/// `z`, `j`, `t` and `L`.
fn is_copied(conversion: &[u8]) -> bool {
    conversion.windows(2).any(|pair| pair == b".*") || conversion.iter().any(|b| matches!(b, b'z' | b'j' | b't' | b'L'))
}

/// Formats; `next` reads the next argument. Also gives what `vprintf` returns: how many arguments it took, widths
/// included. A conversion that is none is copied. An H200 does not count one of size `hh`, and prints something else than
/// the argument, which is not followed.
pub fn format<E>(
    text: &[u8],
    mut next: impl FnMut(Argument) -> Result<(u64, Vec<u8>), E>,
) -> Result<(Vec<u8>, u32), E> {
    let mut out = Vec::new();
    let mut count = 0;
    let mut at = 0;
    while let Some(&byte) = text.get(at).filter(|_| out.len() < MAX_OUTPUT) {
        at += 1;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let start = at - 1;
        let end = at + text[at..].iter().take_while(|b| b"-+ #0123456789.*hlzjtqL".contains(b)).count();
        if is_copied(&text[at..end]) {
            at = (end + 1).min(text.len());
            out.extend_from_slice(&text[start..at]);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(&flag) = text.get(at) {
            match flag {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                b'0' => spec.zero = true,
                _ => break,
            }
            at += 1;
        }
        let mut number = |at: &mut usize| -> Result<i64, E> {
            if text.get(*at) == Some(&b'*') {
                *at += 1;
                count += 1;
                return Ok(i64::from(next(Argument::Word)?.0 as i32));
            }
            let mut n = 0i64;
            while let Some(digit) = text.get(*at).filter(|b| b.is_ascii_digit()) {
                n = (n * 10 + i64::from(digit - b'0')).min(MAX_WIDTH as i64);
                *at += 1;
            }
            Ok(n)
        };
        let width = number(&mut at)?;
        spec.left |= width < 0;
        spec.width = (width.unsigned_abs() as usize).min(MAX_WIDTH);
        if text.get(at) == Some(&b'.') {
            at += 1;
            spec.precision = usize::try_from(number(&mut at)?).ok().map(|p| p.min(MAX_WIDTH));
        }
        let (mut long, mut short) = (false, 0);
        while let Some(&modifier) = text.get(at) {
            match modifier {
                b'l' | b'q' => long = true,
                b'h' => short += 1,
                _ => break,
            }
            at += 1;
        }
        let Some(&conversion) = text.get(at) else {
            out.extend_from_slice(&text[start..]);
            break;
        };
        at += 1;
        let integer = if long { Argument::Long } else { Argument::Word };
        match conversion {
            b'%' => out.push(b'%'),
            b'd' | b'i' => {
                let value = next(integer)?.0;
                let value = match (long, short) {
                    (true, _) => value as i64,
                    (_, 0) => i64::from(value as i32),
                    (_, 1) => i64::from(value as i16),
                    _ => i64::from(value as i8),
                };
                let digits = digits(value.unsigned_abs().to_string(), spec.precision, value == 0);
                pad_number(&mut out, spec, sign(value < 0, spec), &digits, spec.precision.is_none());
            }
            b'u' | b'o' | b'x' | b'X' => {
                let value = next(integer)?.0;
                let value = match (long, short) {
                    (true, _) => value,
                    (_, 0) => value & 0xffff_ffff,
                    (_, 1) => value & 0xffff,
                    _ => value & 0xff,
                };
                let plain = match conversion {
                    b'u' => value.to_string(),
                    b'o' => format!("{value:o}"),
                    b'x' => format!("{value:x}"),
                    _ => format!("{value:X}"),
                };
                let mut digits = digits(plain, spec.precision, value == 0);
                if conversion == b'o' && spec.alternate && !digits.starts_with('0') {
                    digits.insert(0, '0');
                }
                let prefix = match conversion {
                    b'x' if spec.alternate && value != 0 => "0x",
                    b'X' if spec.alternate && value != 0 => "0X",
                    _ => "",
                };
                pad_number(&mut out, spec, prefix, &digits, spec.precision.is_none());
            }
            b'p' => {
                let digits = format!("{:x}", next(Argument::Long)?.0);
                pad_number(&mut out, spec, "0x", &digits, true);
            }
            b'c' => {
                let value = next(Argument::Word)?.0 as u8;
                pad(&mut out, spec, &[value]);
            }
            b's' => {
                let mut value = next(Argument::Text)?.1;
                value.truncate(spec.precision.unwrap_or(usize::MAX));
                pad(&mut out, spec, &value);
            }
            b'f' | b'F' | b'e' | b'E' | b'g' | b'G' | b'a' | b'A' => {
                let value = f64::from_bits(next(Argument::Float)?.0);
                float(&mut out, spec, conversion, value);
            }
            _ => {
                out.extend_from_slice(&text[start..at]);
                continue;
            }
        }
        count += u32::from(conversion != b'%' && short < 2);
    }
    Ok((out, count))
}

const fn sign(negative: bool, spec: Spec) -> &'static str {
    if negative {
        "-"
    } else if spec.plus {
        "+"
    } else if spec.space {
        " "
    } else {
        ""
    }
}

fn digits(mut digits: String, precision: Option<usize>, zero: bool) -> String {
    if let Some(p) = precision {
        if zero && p == 0 {
            digits.clear();
        }
        while digits.len() < p {
            digits.insert(0, '0');
        }
    }
    digits
}

/// Right-aligned unless `left`; zeros go between the prefix and the digits.
fn pad_number(out: &mut Vec<u8>, spec: Spec, prefix: &str, digits: &str, may_zero: bool) {
    let fill = spec.width.saturating_sub(prefix.len() + digits.len());
    let zeros = spec.zero && !spec.left && may_zero;
    if !spec.left && !zeros {
        out.extend(std::iter::repeat_n(b' ', fill));
    }
    out.extend_from_slice(prefix.as_bytes());
    if zeros {
        out.extend(std::iter::repeat_n(b'0', fill));
    }
    out.extend_from_slice(digits.as_bytes());
    if spec.left {
        out.extend(std::iter::repeat_n(b' ', fill));
    }
}

fn pad(out: &mut Vec<u8>, spec: Spec, text: &[u8]) {
    let fill = spec.width.saturating_sub(text.len());
    if !spec.left {
        out.extend(std::iter::repeat_n(b' ', fill));
    }
    out.extend_from_slice(text);
    if spec.left {
        out.extend(std::iter::repeat_n(b' ', fill));
    }
}

fn float(out: &mut Vec<u8>, spec: Spec, conversion: u8, value: f64) {
    let upper = conversion.is_ascii_uppercase();
    let magnitude = value.abs();
    let prefix = sign(value.is_sign_negative(), spec);
    let body = if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        "inf".to_owned()
    } else {
        let precision = spec.precision.unwrap_or(6);
        match conversion.to_ascii_lowercase() {
            b'f' => point(format!("{magnitude:.precision$}"), spec.alternate),
            b'e' => exponent(magnitude, precision, spec.alternate),
            b'g' => general(magnitude, precision.max(1), spec.alternate),
            _ => hexadecimal(magnitude, spec.precision, spec.alternate),
        }
    };
    let body = if upper { body.to_ascii_uppercase() } else { body };
    pad_number(out, spec, prefix, &body, value.is_finite());
}

/// With `#` there is a point even without digits behind it.
fn point(mut text: String, always: bool) -> String {
    if always && !text.contains('.') {
        text.push('.');
    }
    text
}

/// Mantissa digits and decimal exponent, rounded to so many digits behind the point.
fn scientific(magnitude: f64, precision: usize) -> (String, i32) {
    let text = format!("{magnitude:.precision$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa.to_owned(), exponent.parse().unwrap_or(0)),
        None => (text, 0),
    }
}

fn exponent(magnitude: f64, precision: usize, alternate: bool) -> String {
    let (mantissa, e) = scientific(magnitude, precision);
    let sign = if e < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", point(mantissa, alternate), e.unsigned_abs())
}

fn general(magnitude: f64, precision: usize, alternate: bool) -> String {
    let (_, e) = scientific(magnitude, precision - 1);
    let trim = |text: String| {
        if alternate || !text.contains('.') {
            point(text, alternate)
        } else {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    };
    if e < -4 || e >= precision as i32 {
        let text = exponent(magnitude, precision - 1, alternate);
        match text.split_once('e') {
            Some((mantissa, e)) => format!("{}e{e}", trim(mantissa.to_owned())),
            None => text,
        }
    } else {
        let behind = (precision as i32 - 1 - e).max(0) as usize;
        trim(format!("{magnitude:.behind$}"))
    }
}

fn hexadecimal(magnitude: f64, precision: Option<usize>, alternate: bool) -> String {
    const MANTISSA: u32 = 52;
    let bits = magnitude.to_bits();
    let fraction = bits & ((1 << MANTISSA) - 1);
    let field = (bits >> MANTISSA) as i32;
    let (mut lead, exponent) = match (field, fraction) {
        (0, 0) => (0u64, 0),
        (0, _) => (0, -1022),
        _ => (1, field - 1023),
    };
    let mut fraction = fraction;
    let digits = match precision {
        None => format!("{fraction:013x}").trim_end_matches('0').to_owned(),
        Some(p) if p >= 13 => format!("{fraction:013x}{}", "0".repeat(p - 13)),
        Some(p) => {
            let shift = MANTISSA - 4 * p as u32;
            let whole = lead << MANTISSA | fraction;
            let (kept, rest, half) = (whole >> shift, whole & ((1 << shift) - 1), 1u64 << (shift - 1));
            let kept = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
            lead = kept >> (4 * p);
            fraction = kept & ((1u64 << (4 * p)) - 1);
            if p == 0 { String::new() } else { format!("{fraction:0p$x}") }
        }
    };
    let dot = if digits.is_empty() && !alternate { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x{lead}{dot}{digits}p{sign}{}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats with arguments given as patterns; strings are in the list of texts by number.
    fn printed(text: &str, args: &[u64], texts: &[&str]) -> (String, u32) {
        let mut args = args.iter().copied();
        let next = |kind: Argument| -> Result<(u64, Vec<u8>), ()> {
            let value = args.next().ok_or(())?;
            let text = if kind == Argument::Text { texts[value as usize].as_bytes().to_vec() } else { Vec::new() };
            Ok((value, text))
        };
        let (out, count) = format(text.as_bytes(), next).expect("enough arguments");
        (String::from_utf8(out).expect("text"), count)
    }

    #[test]
    fn integers() {
        let minus = (-42i32) as u32 as u64;
        assert_eq!(printed("%d|%5d|%-5d|%05d|", &[minus; 4], &[]).0, "-42|  -42|-42  |-0042|");
        assert_eq!(printed("%+d|% d|%.3d|%8.3d|%.0d|", &[7, 7, 7, 7, 0], &[]).0, "+7| 7|007|     007||");
        assert_eq!(printed("%u %x %X %o", &[u32::MAX.into(), 255, 255, 8], &[]).0, "4294967295 ff FF 10");
        assert_eq!(printed("%#x %#X %#o %#x", &[255, 255, 8, 0], &[]).0, "0xff 0XFF 010 0");
        assert_eq!(printed("%lld %llx %hhd %hu", &[u64::MAX, u64::MAX, 511, 65537], &[]).0, "-1 ffffffffffffffff -1 1");
        assert_eq!(printed("%*d|%-*d", &[5, 1, 3, 2], &[]), ("    1|2  ".into(), 4));
        assert_eq!(printed("%hhd %d", &[1, 2], &[]), ("1 2".into(), 1));
        assert_eq!(printed("%.*d %*.*d %zd %Lf %d", &[7], &[]), ("%.*d %*.*d %zd %Lf 7".into(), 1));
        assert_eq!(printed("%p %c%c %%", &[0x1234, 65, 66], &[]), ("0x1234 AB %".into(), 3));
    }

    #[test]
    fn floats() {
        let one = |text: &str, v: f64| printed(text, &[v.to_bits()], &[]).0;
        assert_eq!(one("%f", 3.25), "3.250000");
        assert_eq!(one("%.2f", -2.675), "-2.67");
        assert_eq!(one("%8.1f|", 2.25), "     2.2|");
        assert_eq!(one("%e", 31400.0), "3.140000e+04");
        assert_eq!(one("%.0e", 0.00012), "1e-04");
        assert_eq!(one("%g", 0.0001), "0.0001");
        assert_eq!(one("%g", 0.00001234), "1.234e-05");
        assert_eq!(one("%g", 1e6), "1e+06");
        assert_eq!(one("%g", 123456.0), "123456");
        assert_eq!(one("%#g", 1.5), "1.50000");
        assert_eq!(one("%G", 1e-9), "1E-09");
        assert_eq!(one("%a", 1.0), "0x1p+0");
        assert_eq!(one("%a", -0.1), "-0x1.999999999999ap-4");
        assert_eq!(one("%.1a", 1.96875), "0x2.0p+0");
        assert_eq!(one("%06.1f", -1.5), "-001.5");
        assert_eq!(one("%5f|%%", f64::INFINITY), "  inf|%");
        assert_eq!(one("%F", f64::NAN), "NAN");
    }

    #[test]
    fn strings_and_what_is_no_conversion() {
        assert_eq!(printed("%s|%5s|%-5s|%.2s", &[0; 4], &["abc"]).0, "abc|  abc|abc  |ab");
        assert_eq!(printed("%y %d", &[1], &[]), ("%y 1".into(), 1));
        assert_eq!(printed("100%", &[], &[]), ("100%".into(), 0));
        let wide = printed("%99999999d", &[1], &[]).0;
        assert_eq!(wide.len(), MAX_WIDTH);
    }
}
