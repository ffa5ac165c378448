//! Rows of ndjson files: a JSON object in each line, as strict as `JSON.parse`; what is none is a broken row.
//!
//! serde_json checks a line and says where its members are; of those only what a template needs is looked at. Lines of
//! blanks alone are no rows, and a byte order mark is skipped. Invalid UTF-8 is a broken row.

mod members;
mod names;
mod wanted;

use std::io::Read;

use memchr::memchr;

use self::members::Span;
use self::wanted::Wanted;
use super::window::{More, Window};
use super::{Halt, Line};
use crate::source::value::Value;

/// The rows of a file.
pub(super) struct Ndjson<R> {
    window: Window<R>,
    wanted: Wanted,
    all: All,
    found: Found,
    /// The number of the line with which the window begins, once `taken` is consumed.
    line: u64,
    /// Bytes of the window that belong to the row lent last.
    taken: usize,
}

/// Whether all members of an object are wanted, beside those that holes name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum All {
    Wanted,
    Unwanted,
}

/// Where things are in a line.
#[derive(Debug, Default)]
struct Found {
    /// The value of each hole.
    holes: Vec<Option<Span>>,
    /// Name and value of each member, where all are wanted.
    members: Vec<(Span, Span)>,
}

/// The object of a line.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    text: &'a str,
    found: &'a Found,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// Text.
    pub(super) name: Value<'a>,
    pub(super) value: Value<'a>,
}

impl<'a> Object<'a> {
    /// The value of a hole, as it is in the file.
    #[inline]
    pub(super) fn hole(&self, at: usize) -> Value<'a> {
        match self.found.holes[at] {
            Some(span) => Value::of_json(span.of(self.text)),
            None => Value::Undefined,
        }
    }

    /// All of it, as it is in the file.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The members as they are in the file. Of those with one name, the first keeps its place and the last its value, as in
    /// JavaScript.
    pub(super) fn members(&self) -> Vec<Member<'a>> {
        let member = |(name, value): &(Span, Span)| Member {
            name: Value::of_json(name.of(self.text)),
            value: Value::of_json(value.of(self.text)),
        };
        let mut members: Vec<Member<'a>> = self.found.members.iter().map(member).collect();
        let plain: Vec<_> = members.iter().map(|member| member.name.plain()).collect();
        let each = super::last_of_each(members.len(), |at| plain[at].as_deref().unwrap_or_default());
        if each.len() < members.len() {
            members = each
                .into_iter()
                .map(|(first, last)| Member {
                    name: members[first].name,
                    value: members[last].value,
                })
                .collect();
        }
        members
    }
}

impl<R: Read> Ndjson<R> {
    /// Looks, in each row, for the values of these holes, each a path.
    pub(super) fn new(window: Window<R>, holes: &[String], all: All) -> Self {
        let found = Found {
            holes: vec![None; holes.len()],
            members: Vec::new(),
        };
        Self {
            window,
            wanted: Wanted::new(holes),
            all,
            found,
            line: 1,
            taken: 0,
        }
    }

    /// Reads what is in front of the rows.
    pub(super) fn begin(&mut self) -> Result<(), Halt> {
        self.taken = super::skip_mark(&mut self.window)?;
        Ok(())
    }

    /// The next row and its line, or why that is none.
    pub(super) fn next(&mut self) -> Result<Option<Line<Object<'_>>>, Halt> {
        loop {
            self.window.consume(self.taken);
            self.taken = 0;
            let Some(length) = self.line_length()? else {
                return Ok(None);
            };
            let line = self.line;
            (self.taken, self.line) = (length, line + 1);
            if !self.window.bytes()[..length].iter().all(|byte| is_blank(*byte)) {
                return Ok(Some((line, self.object(length))));
            }
        }
    }

    /// The length of the next line, with its end; `None` behind the last one.
    fn line_length(&mut self) -> Result<Option<usize>, Halt> {
        loop {
            let bytes = self.window.bytes();
            if let Some(end) = memchr(b'\n', bytes) {
                return Ok(Some(end + 1));
            }
            if self.window.has_ended() {
                return Ok(Some(bytes.len()).filter(|length| *length > 0));
            }
            if self.window.more()? == More::Full {
                return Err(super::too_long(self.line));
            }
        }
    }

    fn object(&mut self, length: usize) -> Result<Object<'_>, String> {
        let bytes = &self.window.bytes()[..length];
        let text = str::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))?;
        let Found { holes, members } = &mut self.found;
        let members = (self.all == All::Wanted).then_some(members);
        self.wanted.find(text, holes, members)?;
        Ok(Object {
            text,
            found: &self.found,
        })
    }
}

/// What JSON takes for a blank.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
