//! JSON as text: what is within its strings, and how JavaScript writes it.
//!
//! Pieces of JSON come in that were checked already; out goes plain text, or the same value as `JSON.stringify` has it.

use memchr::{memchr, memchr2};

/// Half of a surrogate pair, which UTF-8 cannot express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HalfPair;

/// Appends what the inside of a string stands for.
///
/// # Errors
/// Where that is no text; some of it is appended all the same.
pub(super) fn unescape(inside: &str, into: &mut Vec<u8>) -> Result<(), HalfPair> {
    for piece in Pieces(inside) {
        match piece {
            Piece::Plain(text) => into.extend_from_slice(text.as_bytes()),
            Piece::Character(character) => {
                into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Piece::Half(_) => return Err(HalfPair),
        }
    }
    Ok(())
}

/// Appends text as a JSON string.
///
/// # Errors
/// Where it is not UTF-8; nothing is appended then.
pub(super) fn quote(text: &[u8], into: &mut Vec<u8>) -> Result<(), std::str::Utf8Error> {
    let text = str::from_utf8(text)?;
    into.push(b'"');
    quote_inside(text, into);
    into.push(b'"');
    Ok(())
}

/// Appends a checked JSON value as `JSON.stringify(JSON.parse(…))` writes it: without blanks, escapes and numbers as
/// JavaScript has them, of members of one name the last. Unlike there, an integer keeps all its digits, a number beyond all
/// that JavaScript knows stays as it is, and members stay in their order, numbers among their names too.
///
/// # Errors
/// Where it would take much more memory or time than its length; some of it is written all the same.
pub(super) fn compact(json: &str, into: &mut Vec<u8>) -> Result<(), &'static str> {
    Writer {
        json,
        at: 0,
        may_move: 16 * json.len(),
        into,
        open: Vec::new(),
    }
    .write()
}

/// Each open level takes 32 bytes.
const MAX_DEPTH: usize = 1 << 20;

/// Appends a checked number as JavaScript prints it; integers with all their digits.
pub(super) fn number(text: &str, into: &mut Vec<u8>) {
    match Number::of(text) {
        Number::Integer(digits) => into.extend_from_slice(digits.as_bytes()),
        Number::Float(number) if number.is_finite() => {
            into.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
        }
        Number::Float(_) => into.extend_from_slice(text.as_bytes()),
    }
}

/// A number, as it is in JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number<'a> {
    /// Without fraction and exponent: as it is written.
    Integer(&'a str),
    /// May be infinite: JSON knows no limit.
    Float(f64),
}

impl<'a> Number<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        if text == "-0" {
            return Self::Integer("0");
        }
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Self::Integer(text);
        }
        // Checked already; and every number of JSON is one of Rust.
        match text.parse::<f64>() {
            Ok(0.0) => Self::Integer("0"),
            Ok(number) => Self::Float(number),
            Err(_) => Self::Integer(text),
        }
    }
}

/// What the inside of a string consists of.
enum Piece<'a> {
    Plain(&'a str),
    Character(char),
    Half(u16),
}

struct Pieces<'a>(&'a str);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = self.0;
        match memchr(b'\\', rest.as_bytes()) {
            None if rest.is_empty() => None,
            None => {
                self.0 = "";
                Some(Piece::Plain(rest))
            }
            Some(0) => Some(self.escape(&rest[1..])),
            Some(at) => {
                self.0 = &rest[at..];
                Some(Piece::Plain(&rest[..at]))
            }
        }
    }
}

impl<'a> Pieces<'a> {
    /// What `rest`, behind a backslash, begins with.
    fn escape(&mut self, rest: &'a str) -> Piece<'a> {
        let short = match rest.as_bytes().first() {
            Some(b'u') => return self.unit(&rest[1..]),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(other) => char::from(*other),
            None => '\\',
        };
        self.0 = rest.get(1..).unwrap_or_default();
        Piece::Character(short)
    }

    /// `XXXX`, behind `\u`, with the other half where that is one.
    fn unit(&mut self, rest: &'a str) -> Piece<'a> {
        let hexadecimal = |text: &str| text.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let unit = hexadecimal(rest).unwrap_or_default();
        self.0 = rest.get(4..).unwrap_or_default();
        if let Some(character) = char::from_u32(u32::from(unit)) {
            return Piece::Character(character);
        }
        let other = self.0.strip_prefix("\\u").and_then(hexadecimal);
        match other.and_then(|other| char::decode_utf16([unit, other]).next()?.ok()) {
            Some(character) => {
                self.0 = &self.0[6..];
                Piece::Character(character)
            }
            None => Piece::Half(unit),
        }
    }
}

/// As JSON.stringify escapes: what must be, and as short as can be.
fn quote_inside(text: &str, into: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        into.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => into.extend_from_slice(&[b'\\', byte]),
            0x08 => into.extend_from_slice(b"\\b"),
            0x0c => into.extend_from_slice(b"\\f"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            control => into.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    into.extend_from_slice(rest);
}

/// The end of the string whose opening quote is at `at`: behind its closing one.
pub(super) fn end_of_string(json: &str, at: usize) -> usize {
    let bytes = json.as_bytes();
    let mut at = at + 1;
    while let Some(found) = memchr2(b'"', b'\\', &bytes[at..]) {
        if bytes[at + found] == b'"' {
            return at + found + 1;
        }
        at = (at + found + 2).min(bytes.len());
    }
    bytes.len()
}

/// Writes checked JSON anew, without the stack of the thread.
struct Writer<'a> {
    json: &'a str,
    at: usize,
    /// So many bytes may still be moved where names repeat: nested, each level moves all that is within.
    may_move: usize,
    into: &'a mut Vec<u8>,
    /// Objects and arrays that are open.
    open: Vec<Open>,
}

enum Open {
    Array,
    Object(Members),
}

/// Where the members of an object are in what is written.
#[derive(Default)]
struct Members {
    /// From the quote of its name on, and where its value begins.
    starts: Vec<(usize, usize)>,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<(), &'static str> {
        while let Some(&byte) = self.json.as_bytes().get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'"' => self.string(),
                b'{' => self.begin(byte, Open::Object(Members::default()))?,
                b'[' => self.begin(byte, Open::Array)?,
                b'}' | b']' => self.end(byte)?,
                b':' => {
                    self.copy(byte);
                    if let Some(Open::Object(members)) = self.open.last_mut()
                        && let Some((_, value)) = members.starts.last_mut()
                    {
                        *value = self.into.len();
                    }
                }
                b',' => self.copy(byte),
                b'-' | b'0'..=b'9' => {
                    let rest = &self.json[self.at..];
                    let is_part = |byte: u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    let length = rest.bytes().position(|byte| !is_part(byte)).unwrap_or(rest.len());
                    number(&rest[..length], self.into);
                    self.at += length;
                }
                // A letter of true, false and null.
                _ => self.copy(byte),
            }
        }
        Ok(())
    }

    fn copy(&mut self, byte: u8) {
        self.into.push(byte);
        self.at += 1;
    }

    fn begin(&mut self, bracket: u8, open: Open) -> Result<(), &'static str> {
        if self.open.len() == MAX_DEPTH {
            return Err("is nested more than 1048576 levels deep");
        }
        self.copy(bracket);
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self, bracket: u8) -> Result<(), &'static str> {
        if let Some(Open::Object(members)) = self.open.pop() {
            let moved = members.keep_last(self.into);
            let left = self.may_move.checked_sub(moved);
            self.may_move = left.ok_or("has names that repeat on too many levels")?;
        }
        self.copy(bracket);
        Ok(())
    }

    /// A value or a name.
    fn string(&mut self) {
        // A name, where the member before is complete.
        if let Some(Open::Object(members)) = self.open.last_mut()
            && matches!(self.into.last(), Some(b'{' | b','))
        {
            members.starts.push((self.into.len(), 0));
        }
        let end = end_of_string(self.json, self.at);
        let inside = &self.json[self.at + 1..end - 1];
        self.into.push(b'"');
        for piece in Pieces(inside) {
            match piece {
                // Of JSON, so that nothing in it has to be escaped.
                Piece::Plain(text) => self.into.extend_from_slice(text.as_bytes()),
                Piece::Character(character) => quote_inside(character.encode_utf8(&mut [0; 4]), self.into),
                Piece::Half(unit) => self.into.extend_from_slice(format!("\\u{unit:04x}").as_bytes()),
            }
        }
        self.into.push(b'"');
        self.at = end;
    }
}

impl Members {
    /// Of members with the same name, the first keeps its place and the last its value, as in JavaScript. Returns how many
    /// bytes it has moved.
    fn keep_last(self, written: &mut Vec<u8>) -> usize {
        let Some(&(first, _)) = self.starts.first() else {
            return 0;
        };
        let ends = self
            .starts
            .iter()
            .skip(1)
            .map(|(next, _)| next - 1)
            .chain([written.len()]);
        let spans: Vec<_> = self
            .starts
            .iter()
            .zip(ends)
            .map(|(&(name, value), end)| (name, value, end))
            .collect();
        let last = super::last_of_each(spans.len(), |at| &written[spans[at].0..spans[at].1]);
        if last.len() == spans.len() {
            return 0;
        }
        let mut kept = Vec::with_capacity(written.len() - first);
        for (at, last) in last {
            if !kept.is_empty() {
                kept.push(b',');
            }
            kept.extend_from_slice(&written[spans[at].0..spans[at].1]);
            kept.extend_from_slice(&written[spans[last].1..spans[last].2]);
        }
        written.truncate(first);
        written.extend_from_slice(&kept);
        kept.len()
    }
}
