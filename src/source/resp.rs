//! Where commands end in a file for `redis-cli --pipe`: RESP arrays of bulk strings, and inline commands, mixed.
//!
//! Bytes of the file come in, as far as they were read; the length of the command in front goes out, or that more are
//! needed. It is as strict as a server (`processMultibulkBuffer`), and more so in one thing: behind an argument there
//! must be `\r\n`. Servers skip two bytes, whatever they are, which cuts an argument of wrong length short without a word.

use std::ops::Range;

use memchr::memchr;

use super::split::is_blank;
use crate::resp::request::MAX_ARGUMENT;

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// With fewer than `needed` bytes it cannot be told.
    More { needed: usize },
    /// Nothing that is executed or answered.
    Nothing { length: usize },
    /// A whole command in RESP, as a server takes it.
    Encoded {
        length: usize,
        words: usize,
        name: Range<usize>,
    },
    /// A line that is a command; `line` is it without its end.
    Line { length: usize, line: usize },
}

impl Found {
    /// Bytes that it takes.
    #[inline]
    pub(super) fn length(&self) -> usize {
        match self {
            Self::More { .. } => 0,
            Self::Nothing { length } | Self::Encoded { length, .. } | Self::Line { length, .. } => *length,
        }
    }
}

/// The bytes are no commands, from here on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(String);

/// Goes on where it stopped when more bytes have come.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    open: Option<Array>,
    /// So many bytes have no end of line among them.
    searched: usize,
}

/// A command in RESP, as far as it was looked at. All places are counted from its beginning.
#[derive(Debug)]
struct Array {
    /// Where the next word begins.
    at: usize,
    words: usize,
    left: usize,
    name: Range<usize>,
}

impl Scanner {
    /// What `bytes` begin with. After [`Found::More`] they have to be the same, and more.
    ///
    /// # Errors
    /// Where they are neither RESP nor a line: it cannot be told where the next command would begin.
    #[inline]
    pub(super) fn find(&mut self, bytes: &[u8]) -> Result<Found, Malformed> {
        match bytes.first() {
            None => Ok(Found::More { needed: 1 }),
            Some(b'*') => self.array(bytes),
            Some(_) => Ok(self.line(bytes)),
        }
    }

    /// The same at the end of the file: a line needs no end there.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(super) fn find_last(&mut self, bytes: &[u8]) -> Result<Found, Malformed> {
        match self.find(bytes)? {
            Found::More { .. } if !matches!(bytes.first(), None | Some(b'*')) => {
                self.searched = 0;
                Ok(line(bytes, bytes.len()))
            }
            found => Ok(found),
        }
    }

    /// What is left out of the line end that the last word in `bytes` needs, where only that is: `redis-cli --pipe` adds
    /// one behind every file.
    pub(super) fn missing_end(&self, bytes: &[u8]) -> Option<&'static [u8]> {
        let array = self.open.as_ref().filter(|array| array.left == 1)?;
        let (length, content) = header(bytes, array.at, b'$').ok()??;
        let end = content + usize::try_from(length).ok()?;
        match bytes.get(end..)? {
            [] => Some(b"\r\n"),
            [b'\r'] => Some(b"\n"),
            _ => None,
        }
    }

    #[inline]
    fn array(&mut self, bytes: &[u8]) -> Result<Found, Malformed> {
        let mut array = match self.open.take() {
            Some(array) => array,
            None => match header(bytes, 0, b'*')? {
                None => return Ok(more(bytes)),
                Some((count, at)) if count <= 0 => return Ok(Found::Nothing { length: at }),
                Some((count, at)) => {
                    let words = usize::try_from(count).map_err(|_| bad_number(b'*'))?;
                    Array {
                        at,
                        words,
                        left: words,
                        name: 0..0,
                    }
                }
            },
        };
        while array.left > 0 {
            let Some((length, content)) = header(bytes, array.at, b'$')? else {
                self.open = Some(array);
                return Ok(more(bytes));
            };
            // No more than MAX_ARGUMENT.
            let end = content + usize::try_from(length).map_err(|_| bad_number(b'$'))?;
            match bytes.get(end..end + 2) {
                Some(b"\r\n") => {}
                Some(other) => {
                    return Err(Malformed(format!(
                        "expected '\\r\\n' behind an argument of {length} bytes, got '{}'",
                        other.escape_ascii()
                    )));
                }
                None => {
                    self.open = Some(array);
                    return Ok(Found::More { needed: end + 2 });
                }
            }
            if array.left == array.words {
                array.name = content..end;
            }
            array.at = end + 2;
            array.left -= 1;
        }
        Ok(Found::Encoded {
            length: array.at,
            words: array.words,
            name: array.name,
        })
    }

    fn line(&mut self, bytes: &[u8]) -> Found {
        match end_of_line(bytes, &mut self.searched) {
            Some(end) => line(&bytes[..end], end + 1),
            None => more(bytes),
        }
    }
}

/// Where the line in front ends. `searched` bytes are known to hold no end; with none among all of them they are more.
pub(super) fn end_of_line(bytes: &[u8], searched: &mut usize) -> Option<usize> {
    let from = std::mem::take(searched);
    let end = memchr(b'\n', &bytes[from..]).map(|at| from + at);
    if end.is_none() {
        *searched = bytes.len();
    }
    end
}

fn line(line: &[u8], length: usize) -> Found {
    if line.iter().all(|byte| is_blank(*byte)) {
        return Found::Nothing { length };
    }
    Found::Line {
        length,
        line: line.len(),
    }
}

pub(super) fn more(bytes: &[u8]) -> Found {
    Found::More {
        needed: bytes.len() + 1,
    }
}

/// Digits, a sign and `\r` take no more.
const LONGEST_NUMBER: usize = 12;

/// `<mark><number>\r\n`: the number, and where what follows starts; `None` where the bytes end before that.
#[inline]
fn header(bytes: &[u8], at: usize, mark: u8) -> Result<Option<(i64, usize)>, Malformed> {
    // Nearly every length.
    match bytes.get(at..) {
        Some([first, digit @ b'1'..=b'9', b'\r', b'\n', ..]) if *first == mark => {
            Ok(Some((i64::from(digit - b'0'), at + 4)))
        }
        Some([first, ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..]) if *first == mark => {
            Ok(Some((10 * i64::from(ten - b'0') + i64::from(one - b'0'), at + 5)))
        }
        Some(rest) => any_header(rest, mark).map(|found| found.map(|(number, length)| (number, at + length))),
        None => Ok(None),
    }
}

/// As `string2ll` reads it: no sign but one minus, and no zero in front.
fn any_header(bytes: &[u8], mark: u8) -> Result<Option<(i64, usize)>, Malformed> {
    let Some((first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if *first != mark {
        return Err(Malformed(format!(
            "expected '{}', got '{}'",
            char::from(mark),
            first.escape_ascii()
        )));
    }
    let digits = rest
        .iter()
        .take(LONGEST_NUMBER)
        .take_while(|byte| **byte != b'\r')
        .count();
    let text = &rest[..digits];
    let behind = &rest[digits..];
    let is_number = match text {
        [] | [b'-'] => behind.is_empty(),
        [b'0'] => true,
        [b'1'..=b'9', more @ ..] | [b'-', b'1'..=b'9', more @ ..] => more.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_number {
        return Err(bad_number(mark));
    }
    match behind {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => {
            let number = str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
            let range = match mark {
                b'*' => i64::MIN..=i64::from(i32::MAX),
                _ => 0..=i64::try_from(MAX_ARGUMENT).unwrap_or(i64::MAX),
            };
            let number = number.filter(|number| range.contains(number));
            Ok(Some((number.ok_or_else(|| bad_number(mark))?, 1 + digits + 2)))
        }
        _ => Err(bad_number(mark)),
    }
}

/// In the words of the server.
#[cold]
fn bad_number(mark: u8) -> Malformed {
    Malformed(
        match mark {
            b'*' => "invalid multibulk length",
            _ => "invalid bulk length",
        }
        .to_owned(),
    )
}
