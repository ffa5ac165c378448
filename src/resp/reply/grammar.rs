//! The grammar of one line of RESP2 and RESP3: type byte, then text up to CRLF.
//!
//! In comes the text of a complete line from the scanner or from `value`; out goes what it
//! announces. Pure functions, so that both readers refuse exactly the same bytes.

/// Longest text of `+`, `-` and `(` lines. Servers stay far below; without a cap a peer that never
/// ends its line would look alive for ever.
const MAX_LINE: usize = 64 * 1024;

/// Longest text of an integer or a double. Holds each `f64` in full decimal (327 bytes).
const MAX_NUMBER: usize = 1024;

/// Longest text of a length, a null or a boolean: more than the 10 digits of the limits below,
/// so that `$9223372036854775807` is called too large and not too long.
const MAX_LENGTH_LINE: usize = 32;

/// Largest bulk: the server's own default, `proto-max-bulk-len`.
const MAX_BULK: u64 = 512 * 1024 * 1024;

/// Most elements (pairs of a map) that one aggregate may announce. A count costs no memory here,
/// so this only keeps the arithmetic small; a count that never arrives is a matter of deadlines.
const MAX_ELEMENTS: u64 = 2_147_483_647;

/// Deepest nesting of aggregates. Replies of servers have a depth of 7 or so (`COMMAND DOCS`).
pub(in crate::resp) const MAX_DEPTH: usize = 128;

/// The type of an item, from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::resp) enum Type {
    Simple,
    Error,
    Integer,
    Bulk,
    Array,
    Null,
    Boolean,
    Double,
    BigNumber,
    BlobError,
    Verbatim,
    Map,
    Set,
    Attribute,
    Push,
}

/// What a complete line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::resp) enum Line {
    /// The item is complete.
    Whole,
    /// The item is complete, and a null.
    Null,
    /// So many bytes and CRLF follow.
    Body(u64),
    /// So many items follow; keys and values of maps count singly.
    Elements(u64),
}

impl Type {
    /// The type that `byte` announces. The parts of streamed replies (`;`, `.`) have none: no
    /// server sends them.
    pub(in crate::resp) fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            b'+' => Self::Simple,
            b'-' => Self::Error,
            b':' => Self::Integer,
            b'$' => Self::Bulk,
            b'*' => Self::Array,
            b'_' => Self::Null,
            b'#' => Self::Boolean,
            b',' => Self::Double,
            b'(' => Self::BigNumber,
            b'!' => Self::BlobError,
            b'=' => Self::Verbatim,
            b'%' => Self::Map,
            b'~' => Self::Set,
            b'|' => Self::Attribute,
            b'>' => Self::Push,
            _ => return None,
        })
    }

    /// Bytes that may stand between type byte and CRLF.
    pub(in crate::resp) fn line_limit(self) -> usize {
        match self {
            Self::Simple | Self::Error | Self::BigNumber => MAX_LINE,
            Self::Integer | Self::Double => MAX_NUMBER,
            _ => MAX_LENGTH_LINE,
        }
    }
}

/// Reads `line`, the text between type byte and CRLF.
///
/// # Errors
/// The reason why no server means this line.
pub(in crate::resp) fn read(kind: Type, line: &[u8]) -> Result<Line, &'static str> {
    match kind {
        Type::Simple | Type::Error => Ok(Line::Whole),
        Type::Integer => whole_if(integer(line).is_some(), "not a 64-bit integer"),
        Type::Double => whole_if(is_double(line), "not a double"),
        Type::BigNumber => whole_if(is_big_number(line), NOT_A_BIG_NUMBER),
        Type::Boolean => whole_if(matches!(line, b"t" | b"f"), "not a boolean"),
        Type::Null if line.is_empty() => Ok(Line::Null),
        Type::Null => Err("not a null"),
        Type::Bulk | Type::Array if line == b"-1" => Ok(Line::Null),
        Type::Bulk | Type::BlobError => Ok(Line::Body(length(line, MAX_BULK)?)),
        Type::Verbatim => match length(line, MAX_BULK)? {
            // "txt:" or "mkd:" is part of the length.
            ..4 => Err("verbatim string without format"),
            bytes => Ok(Line::Body(bytes)),
        },
        Type::Array | Type::Set | Type::Push => Ok(Line::Elements(length(line, MAX_ELEMENTS)?)),
        Type::Map | Type::Attribute => Ok(Line::Elements(2 * length(line, MAX_ELEMENTS)?)),
    }
}

pub(super) const NOT_A_BIG_NUMBER: &str = "not a big number";

fn whole_if(valid: bool, reason: &'static str) -> Result<Line, &'static str> {
    if valid { Ok(Line::Whole) } else { Err(reason) }
}

/// The value of an integer as the specification writes it: optional sign, digits, within `i64`.
pub(in crate::resp) fn integer(line: &[u8]) -> Option<i64> {
    // Rust's own syntax for integers is the same.
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// Lengths are digits without sign and leading zero: whoever writes others is not a server.
fn length(line: &[u8], limit: u64) -> Result<u64, &'static str> {
    match line {
        b"?" => Err("streamed replies are not supported"),
        [] | [b'0', _, ..] => Err("not a length"),
        _ if !line.iter().all(u8::is_ascii_digit) => Err("not a length"),
        // The longest line has 32 digits, so the sum saturates, far above each limit.
        _ => {
            let length = line.iter().fold(0_u64, |sum, digit| {
                sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
            });
            if length > limit {
                Err("length above the limit")
            } else {
                Ok(length)
            }
        }
    }
}

fn is_big_number(line: &[u8]) -> bool {
    let digits = without_sign(line);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// `[sign] digits [. digits] [e [sign] digits]`, `inf`, `-inf`, `nan`. Servers before 7.2 print
/// what the C library prints, so `-nan` occurs too.
fn is_double(line: &[u8]) -> bool {
    if matches!(line, b"inf" | b"-inf" | b"nan" | b"-nan") {
        return true;
    }
    let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', line) {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    };
    let mantissa = without_sign(mantissa);
    let (integral, fraction) = match memchr::memchr(b'.', mantissa) {
        Some(at) => (&mantissa[..at], Some(&mantissa[at + 1..])),
        None => (mantissa, None),
    };
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits(integral) && fraction.is_none_or(digits) && exponent.is_none_or(|text| digits(without_sign(text)))
}

pub(super) fn without_sign(text: &[u8]) -> &[u8] {
    match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepts(kind: Type, lines: &[&str]) {
        for line in lines {
            assert!(read(kind, line.as_bytes()).is_ok(), "{kind:?} {line:?}");
        }
    }

    #[track_caller]
    fn refuses(kind: Type, lines: &[&str]) {
        for line in lines {
            assert!(read(kind, line.as_bytes()).is_err(), "{kind:?} {line:?}");
        }
    }

    #[test]
    fn integers_are_exactly_those_of_64_bits() {
        let extremes = ["9223372036854775807", "-9223372036854775808"];
        accepts(Type::Integer, &extremes);
        accepts(Type::Integer, &["0", "1", "-1", "+1", "-0", "007"]);
        let beyond = ["9223372036854775808", "-9223372036854775809"];
        refuses(Type::Integer, &beyond);
        refuses(
            Type::Integer,
            &["", "-", "+", "1.5", " 1", "1 ", "0x1", "+-1", "1e3", "٣"],
        );
    }

    #[test]
    fn lengths_are_plain_digits() {
        accepts(Type::Bulk, &["0", "5", "536870912", "-1"]);
        refuses(
            Type::Bulk,
            &["", "-2", "+5", "05", "00", " 5", "5 ", "5a", "-0", "-01", "?"],
        );
        refuses(Type::Bulk, &["536870913", "2147483648", "9223372036854775807"]);
        refuses(
            Type::Bulk,
            &["18446744073709551616", "99999999999999999999999999999999"],
        );
        accepts(Type::Array, &["0", "2147483647", "-1"]);
        refuses(Type::Array, &["-2", "+1", "01", "2147483648", "?", ""]);
        for kind in [Type::Map, Type::Set, Type::Push, Type::Attribute, Type::BlobError] {
            accepts(kind, &["0", "12"]);
            refuses(kind, &["-1", "?", "", "9223372036854775807"]);
        }
    }

    #[test]
    fn lines_announce_what_follows() {
        assert_eq!(read(Type::Bulk, b"7"), Ok(Line::Body(7)));
        assert_eq!(read(Type::Bulk, b"-1"), Ok(Line::Null));
        assert_eq!(read(Type::Array, b"-1"), Ok(Line::Null));
        assert_eq!(read(Type::Null, b""), Ok(Line::Null));
        assert_eq!(read(Type::Array, b"2147483647"), Ok(Line::Elements(2_147_483_647)));
        assert_eq!(read(Type::Map, b"2147483647"), Ok(Line::Elements(4_294_967_294)));
        assert_eq!(read(Type::Integer, b"7"), Ok(Line::Whole));
    }

    #[test]
    fn verbatim_strings_hold_their_format() {
        accepts(Type::Verbatim, &["4", "15"]);
        refuses(Type::Verbatim, &["0", "1", "3", "-1", "x"]);
    }

    #[test]
    fn doubles_follow_the_specification() {
        accepts(Type::Double, &["0", "-0", "+1", "1.5", "1e10", "-1.5E-10", "1e+5"]);
        accepts(Type::Double, &["inf", "-inf", "nan", "-nan"]);
        refuses(
            Type::Double,
            &["", "abc", ".5", "5.", "1e", "e5", "1.2.3", "1e5.", "+", "infinity"],
        );
        refuses(Type::Double, &["1 ", "0x1p3", "1_0", "--1", "1e1e1"]);
    }

    #[test]
    fn booleans_nulls_and_big_numbers_have_one_form() {
        accepts(Type::Boolean, &["t", "f"]);
        refuses(Type::Boolean, &["x", "", "T", "tt", "true"]);
        refuses(Type::Null, &["x", " ", "-1"]);
        accepts(
            Type::BigNumber,
            &["0", "-12", "+7", "3492890328409238509324850943850943825024385"],
        );
        refuses(Type::BigNumber, &["", "-", "12x", "1.5", " 1", "1e5"]);
    }

    #[test]
    fn unknown_type_bytes_have_no_type() {
        let known = b"+-:$*_#,(!=%~|>";
        for byte in 0..=u8::MAX {
            assert_eq!(Type::of(byte).is_some(), known.contains(&byte), "{byte}");
        }
    }
}
