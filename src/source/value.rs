//! What stands in a place of a row, and how it is sent.

use std::borrow::Cow;

use super::text::{Number, unescape};
use crate::command::{Role, is_score};
use crate::pipeline::Pipeline;
use crate::resp::request::MAX_ARGUMENT;
use crate::template::fill::{HALF_PAIR, Refusal, TOO_LONG};

/// A value of a row, as it is in a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    /// The row has no such member.
    Undefined,
    Null,
    Boolean(bool),
    Text(&'a [u8]),
    /// The inside of a JSON string that has escapes.
    Escaped(&'a str),
    /// As it is written: it may have more digits than any number type.
    Integer(&'a str),
    /// Not NaN.
    Float(f64),
    /// As it is in the file.
    Array(&'a str),
    Object(&'a str),
}

/// Text from here on asks whether there is room for it.
const LONG: usize = 4096;

/// Of a 64-bit float, every integer is exact up to here: `Number.MAX_SAFE_INTEGER`.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

impl<'a> Value<'a> {
    /// Of a piece of JSON that was checked.
    #[inline]
    pub(super) fn of_json(json: &'a str) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => {
                let inside = &json[1..json.len() - 1];
                if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
                    Self::Text(inside.as_bytes())
                } else {
                    Self::Escaped(inside)
                }
            }
            Some(b'n') => Self::Null,
            Some(b't') => Self::Boolean(true),
            Some(b'f') => Self::Boolean(false),
            Some(b'[') => Self::Array(json),
            Some(b'{') => Self::Object(json),
            _ => match Number::of(json) {
                Number::Integer(digits) => Self::Integer(digits),
                Number::Float(number) => Self::Float(number),
            },
        }
    }

    /// What it is called where it is none.
    pub(super) fn missing(self) -> Option<&'static str> {
        match self {
            Self::Undefined => Some("undefined"),
            Self::Null => Some("null"),
            _ => None,
        }
    }

    /// Its text, where it is text that UTF-8 can express.
    pub(super) fn plain(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Escaped(inside) => {
                let mut text = Vec::with_capacity(inside.len());
                unescape(inside, &mut text).ok()?;
                Some(Cow::Owned(text))
            }
            _ => None,
        }
    }

    /// Its type, for a message: the words of JavaScript's rows.
    pub(super) fn described(self) -> String {
        let text = match self {
            Self::Undefined => "undefined",
            Self::Null => "null",
            Self::Boolean(boolean) => return format!("a boolean ({boolean}): pass 1 and 0, or text"),
            Self::Text(_) | Self::Escaped(_) => "a string",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object, in a place that takes none",
        };
        text.to_owned()
    }

    /// The same in a hole, with what would help there.
    pub(super) fn described_in_hole(self) -> String {
        match self {
            Self::Boolean(boolean) => {
                format!("a boolean ({boolean}): write |bool behind the name, or pass 1 and 0")
            }
            Self::Object(_) => "an object: write |json behind the name, or a path such as {address.city}".to_owned(),
            _ => self.described(),
        }
    }

    /// Appends it as a word.
    #[inline]
    pub(super) fn word(self, pipeline: &mut Pipeline, role: Role) -> Result<(), Refusal> {
        match self {
            Self::Text(text) if role != Role::Score => {
                fits(pipeline, text)?;
                pipeline.request.bytes(text);
                Ok(())
            }
            _ => self.bytes(role, |bytes| {
                fits(pipeline, bytes)?;
                pipeline.request.bytes(bytes);
                Ok(())
            }),
        }
    }

    /// Appends it as a word with text around it.
    #[inline]
    pub(super) fn around(self, pipeline: &mut Pipeline, prefix: &[u8], suffix: &[u8]) -> Result<(), Refusal> {
        self.bytes(Role::Any, |bytes| {
            fits(pipeline, bytes)?;
            pipeline.request.around(prefix, bytes, suffix);
            Ok(())
        })
    }

    /// Appends it to the word begun.
    #[inline]
    pub(super) fn piece(self, pipeline: &mut Pipeline) -> Result<(), Refusal> {
        self.bytes(Role::Any, |bytes| {
            fits(pipeline, bytes)?;
            pipeline.request.piece(bytes);
            Ok(())
        })
    }

    /// Hands its form on the wire to `send`.
    #[inline]
    fn bytes(self, role: Role, send: impl FnOnce(&[u8]) -> Result<(), Refusal>) -> Result<(), Refusal> {
        match self {
            Self::Text(text) => {
                if role == Role::Score && !str::from_utf8(text).is_ok_and(is_score) {
                    return Err(Refusal::Because("is no valid score"));
                }
                send(text)
            }
            Self::Integer(digits) => {
                if role == Role::Integer && digits.parse::<i64>().is_err() {
                    return Err(Refusal::Because("is beyond 64 bits"));
                }
                send(digits.as_bytes())
            }
            Self::Float(number) => {
                if number.is_infinite() {
                    if role != Role::Score {
                        return Err(Refusal::Because("is infinite, which only a score may be"));
                    }
                    return send(if number > 0.0 { b"+inf" } else { b"-inf" });
                }
                if role == Role::Integer && number.abs() > MAX_SAFE {
                    return Err(Refusal::Because(
                        "is an integer beyond 2^53, which a number holds only about: write all its digits",
                    ));
                }
                send(ryu_js::Buffer::new().format_finite(number).as_bytes())
            }
            Self::Escaped(inside) => {
                let mut text = Vec::with_capacity(inside.len());
                unescape(inside, &mut text).map_err(|_| Refusal::Because(HALF_PAIR))?;
                Value::Text(&text).bytes(role, send)
            }
            Self::Undefined | Self::Null | Self::Boolean(_) | Self::Array(_) | Self::Object(_) => {
                Err(Refusal::WrongType)
            }
        }
    }
}

/// Refuses what cannot find room before it is copied.
#[inline]
fn fits(pipeline: &mut Pipeline, text: &[u8]) -> Result<(), Refusal> {
    if text.len() < LONG {
        Ok(())
    } else {
        long_fits(pipeline, text)
    }
}

#[cold]
fn long_fits(pipeline: &mut Pipeline, text: &[u8]) -> Result<(), Refusal> {
    if text.len() > MAX_ARGUMENT {
        return Err(Refusal::Because(TOO_LONG));
    }
    pipeline.expect_room(text.len()).map_err(Refusal::Full)
}
