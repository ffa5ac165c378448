//! The reply scanner: finds where each reply of RESP2 or RESP3 ends, and which are errors.
//!
//! In come bytes from the connection, cut anywhere; out goes one [`Kind`] per top-level item.
//! Nothing of a reply is kept but the first 1 KiB of an error, and nothing is allocated by a
//! length that a peer declares. `value` turns the few replies whose content matters into values.

mod grammar;
mod peer;
mod plain;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub(super) use grammar::{Line, MAX_DEPTH, Type, integer, read};
pub use peer::{excerpt, peer_hint, printable};

/// Reads replies out of a stream of bytes; can be interrupted at every byte.
///
/// ```text
///           type byte        '\r'            '\n'
///   Type ───────────▶ Line ───────▶ LineFeed ─────▶ item complete, or aggregate opened: Type
///    ▲                                  │ length of a bulk
///    │  '\n'               '\r'         ▼
///    └────── BodyLineFeed ◀──── BodyEnd ◀──── Body
/// ```
///
/// After [`Malformed`] the place in the stream is lost: each further call fails in the same way.
#[derive(Debug)]
pub struct Scanner {
    state: State,
    /// Aggregates begun and not complete, outermost first; at most `MAX_DEPTH`.
    open: Vec<Open>,
    /// The first `KEPT` bytes of the current line or of the last error.
    text: Vec<u8>,
    /// Bytes of the current line so far.
    line_length: usize,
    /// Place in the stream, from the scanner's creation: of the next byte, and of the type byte of
    /// the current item.
    offset: u64,
    item: u64,
    array: ArrayMode,
    broken: Option<Malformed>,
}

/// What one call of [`Scanner::next`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that were read: up to the end of the item if one is complete, else all.
    pub consumed: usize,
    /// The item that is complete now.
    pub done: Option<Kind>,
}

/// A complete top-level item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A reply that is neither null nor error. Errors inside an array do not show.
    Value,
    /// `$-1`, `*-1` or `_`.
    Null,
    /// `-` or `!`; its text is in [`Scanner::error_line`].
    Error,
    /// `>`: out of band, not a reply.
    Push,
    /// `|`: belongs to the reply behind it, not a reply.
    Attribute,
    /// The head of an array after [`Scanner::open_array`]; so many top-level items follow.
    Header(u64),
}

/// The peer does not speak RESP, or not as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct Malformed {
    /// Counted from the scanner's creation: the wrong byte where a line end is wrong, else the
    /// type byte of the wrong item.
    pub offset: u64,
    pub reason: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Type,
    Line(Type),
    LineFeed(Type),
    Body { kind: Type, read: u64, length: u64 },
    BodyEnd(Type),
    BodyLineFeed(Type),
}

/// How the next top-level array is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ArrayMode {
    Whole,
    HeaderAlone,
}

/// An aggregate that still lacks `left` elements.
#[derive(Debug)]
struct Open {
    left: u64,
    kind: Kind,
}

/// Bytes of an error that are kept. The first word decides what happens, the rest is for people.
const KEPT: usize = 1024;

impl Scanner {
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Type,
            open: Vec::new(),
            text: Vec::new(),
            line_length: 0,
            offset: 0,
            item: 0,
            array: ArrayMode::Whole,
            broken: None,
        }
    }

    /// Reads on in `input` until one top-level item is complete, or `input` is used up.
    ///
    /// # Errors
    /// As soon as the bytes cannot be RESP, or exceed a limit (`grammar`).
    pub fn next(&mut self, input: &[u8]) -> Result<Step, Malformed> {
        if let Some(malformed) = self.broken {
            return Err(malformed);
        }
        let mut consumed = 0;
        while consumed < input.len() {
            let step = self.advance(&input[consumed..]).inspect_err(|&malformed| {
                self.broken = Some(malformed);
            })?;
            consumed += step.consumed;
            self.offset += step.consumed as u64;
            if step.done.is_some() {
                return Ok(Step {
                    consumed,
                    done: step.done,
                });
            }
        }
        Ok(Step { consumed, done: None })
    }

    /// Counts up to `max` whole plain replies (`+…`, `:…`) at the start of `input`; the rest is
    /// for [`Scanner::next`]. Returns bytes consumed and replies counted: none within an item,
    /// nor after [`Scanner::open_array`].
    pub fn count_plain(&mut self, input: &[u8], max: u64) -> (usize, u64) {
        if !self.at_boundary() || self.array == ArrayMode::HeaderAlone {
            return (0, 0);
        }
        let (consumed, count) = plain::count(input, max);
        self.offset += consumed as u64;
        (consumed, count)
    }

    /// The text of the error that the last call of [`Scanner::next`] completed, without `-` and
    /// CRLF, at most 1 KiB. As the peer sent it: see [`printable`].
    #[must_use]
    pub fn error_line(&self) -> &[u8] {
        &self.text
    }

    /// Takes the next reply, if it is an array, by its head alone: it is then reported as
    /// [`Kind::Header`], and its elements as top-level items. For the reply of EXEC, whose
    /// elements are replies of commands. Any other reply ends this; pushes and attributes do not.
    pub fn open_array(&mut self) {
        self.array = ArrayMode::HeaderAlone;
    }

    /// Whether no item has begun that is not complete.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        matches!(self.state, State::Type) && self.open.is_empty() && self.broken.is_none()
    }

    /// Bytes read since the scanner's creation.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// One transition, at `rest[0]`.
    fn advance(&mut self, rest: &[u8]) -> Result<Step, Malformed> {
        let first = rest.first().copied();
        let done = match self.state {
            State::Type => self.begin(first)?,
            State::Line(kind) => return self.read_line(kind, rest),
            State::LineFeed(kind) if first == Some(b'\n') => self.end_line(kind)?,
            State::LineFeed(_) => return Err(self.malformed_at(0, "carriage return within a line")),
            State::Body { kind, read, length } => return self.read_body(kind, read, length, rest),
            State::BodyEnd(kind) if first == Some(b'\r') => {
                self.state = State::BodyLineFeed(kind);
                None
            }
            State::BodyLineFeed(kind) if first == Some(b'\n') => self.complete(match kind {
                Type::BlobError => Kind::Error,
                _ => Kind::Value,
            }),
            State::BodyEnd(_) | State::BodyLineFeed(_) => {
                return Err(self.malformed_at(0, "no line end behind a bulk"));
            }
        };
        Ok(Step { consumed: 1, done })
    }

    fn begin(&mut self, byte: Option<u8>) -> Result<Option<Kind>, Malformed> {
        self.item = self.offset;
        self.text.clear();
        self.line_length = 0;
        let kind = byte
            .and_then(Type::of)
            .ok_or_else(|| self.malformed("unknown type of reply"))?;
        // Pushes may stand between replies, never within one.
        if kind == Type::Push && !self.open.is_empty() {
            return Err(self.malformed("push within a reply"));
        }
        self.state = State::Line(kind);
        Ok(None)
    }

    /// Looks for the line end no further than the limit reaches, so that the verdict does not
    /// depend on how the stream was cut.
    fn read_line(&mut self, kind: Type, rest: &[u8]) -> Result<Step, Malformed> {
        let room = kind.line_limit() - self.line_length;
        let window = &rest[..rest.len().min(room + 1)];
        let end = memchr::memchr2(b'\r', b'\n', window);
        let text = &window[..end.unwrap_or(window.len()).min(room)];
        // Longer than what is kept, so it is checked as it passes.
        if kind == Type::BigNumber {
            let digits = if self.line_length == 0 {
                grammar::without_sign(text)
            } else {
                text
            };
            if !digits.iter().all(u8::is_ascii_digit) {
                return Err(self.malformed(grammar::NOT_A_BIG_NUMBER));
            }
        }
        self.keep(text);
        self.line_length += text.len();
        match end {
            Some(end) if window[end] == b'\r' => {
                self.state = State::LineFeed(kind);
                Ok(Step {
                    consumed: end + 1,
                    done: None,
                })
            }
            Some(end) => Err(self.malformed_at(end, "line feed without carriage return")),
            None if text.len() < window.len() => Err(self.malformed_at(room, "line too long")),
            None => Ok(Step {
                consumed: text.len(),
                done: None,
            }),
        }
    }

    fn end_line(&mut self, kind: Type) -> Result<Option<Kind>, Malformed> {
        match read(kind, &self.text).map_err(|reason| self.malformed(reason))? {
            Line::Whole if kind == Type::Error => Ok(self.complete(Kind::Error)),
            Line::Whole => Ok(self.complete(Kind::Value)),
            Line::Null => Ok(self.complete(Kind::Null)),
            Line::Body(length) => {
                self.text.clear();
                self.state = match length {
                    0 => State::BodyEnd(kind),
                    _ => State::Body { kind, read: 0, length },
                };
                Ok(None)
            }
            Line::Elements(count) => self.open_aggregate(kind, count),
        }
    }

    fn open_aggregate(&mut self, kind: Type, left: u64) -> Result<Option<Kind>, Malformed> {
        if kind == Type::Array && self.open.is_empty() && self.array == ArrayMode::HeaderAlone {
            return Ok(self.complete(Kind::Header(left)));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(self.malformed("reply nested too deeply"));
        }
        let kind = match kind {
            Type::Push => Kind::Push,
            Type::Attribute => Kind::Attribute,
            _ => Kind::Value,
        };
        if left == 0 {
            return Ok(self.complete(kind));
        }
        self.open.push(Open { left, kind });
        self.state = State::Type;
        Ok(None)
    }

    /// Skips what is there of a body: payloads are not looked at, but for the head of an error
    /// and the colon of a verbatim string.
    fn read_body(&mut self, kind: Type, read: u64, length: u64, rest: &[u8]) -> Result<Step, Malformed> {
        /// Behind the three bytes of the format, as in `txt:`.
        const COLON: u64 = 3;

        let left = usize::try_from(length - read).unwrap_or(usize::MAX);
        let body = &rest[..rest.len().min(left)];
        match kind {
            Type::BlobError => self.keep(body),
            Type::Verbatim if read <= COLON => {
                let colon = usize::try_from(COLON - read).ok().and_then(|index| body.get(index));
                if colon.is_some_and(|&byte| byte != b':') {
                    return Err(self.malformed("verbatim string without format"));
                }
            }
            _ => {}
        }
        self.state = if body.len() == left {
            State::BodyEnd(kind)
        } else {
            State::Body {
                kind,
                read: read + body.len() as u64,
                length,
            }
        };
        Ok(Step {
            consumed: body.len(),
            done: None,
        })
    }

    /// Ends an item of this kind, and each aggregate that it was the last element of.
    fn complete(&mut self, mut kind: Kind) -> Option<Kind> {
        self.state = State::Type;
        while let Some(parent) = self.open.last_mut() {
            // An attribute describes the element behind it, so it is none itself.
            if kind == Kind::Attribute {
                return None;
            }
            parent.left -= 1;
            if parent.left > 0 {
                return None;
            }
            kind = parent.kind;
            self.open.pop();
        }
        if !matches!(kind, Kind::Push | Kind::Attribute) {
            self.array = ArrayMode::Whole;
        }
        Some(kind)
    }

    fn keep(&mut self, text: &[u8]) {
        let room = KEPT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&text[..text.len().min(room)]);
    }

    fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed {
            offset: self.item,
            reason,
        }
    }

    fn malformed_at(&self, index: usize, reason: &'static str) -> Malformed {
        Malformed {
            offset: self.offset + index as u64,
            reason,
        }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}
