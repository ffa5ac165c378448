//! Finds the fields of one record of a csv file: RFC 4180, and nothing beside it.
//!
//! Bytes come in from the start of a record; out go the places of its fields, or what is wrong and where.

use memchr::{memchr, memchr_iter, memchr3};

use crate::source::{KEPT, MAX_FIELDS};

/// Where the text of a field is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    start: usize,
    end: usize,
    from: From,
}

#[derive(Debug, Clone, Copy)]
enum From {
    /// The record itself.
    Record,
    /// A copy, because a quote in it is doubled in the file.
    Copy,
}

/// The fields of a record, kept so that the next one needs no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) fields: Vec<Field>,
    pub(super) copied: Vec<u8>,
}

impl Places {
    /// The text of a field of the record that begins with `bytes`.
    #[inline]
    pub(super) fn text<'a>(&'a self, bytes: &'a [u8], at: usize) -> &'a [u8] {
        let Field { start, end, from } = self.fields[at];
        match from {
            From::Record => &bytes[start..end],
            From::Copy => &self.copied[start..end],
        }
    }

    #[inline]
    fn clear(&mut self) {
        self.fields.clear();
        self.copied.clear();
        // After a huge record, memory goes back.
        self.copied.shrink_to(KEPT);
        self.fields.shrink_to(KEPT / size_of::<Field>());
    }

    #[inline]
    fn push(&mut self, start: usize, end: usize) {
        self.fields.push(Field {
            start,
            end,
            from: From::Record,
        });
    }
}

/// What there is at the beginning of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// It does not end there.
    Unfinished,
    /// A line without anything in it, and its length.
    Blank(usize),
    Record {
        length: usize,
        /// So many lines, which are more than one where a field holds line ends.
        lines: u64,
    },
    Broken(Fault),
}

/// Why it is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// The field, from 0.
    pub(super) field: usize,
    /// The byte that shows it; of a quote that is not closed, the quote.
    pub(super) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// A quote in a field that does not begin with one.
    Stray,
    /// Text behind the closing quote.
    Behind,
    /// A quote that is not closed.
    Open,
    /// Longer than a record may be.
    Long,
    /// More fields than it may have.
    Many,
}

impl Fault {
    pub(super) fn long() -> Self {
        Self {
            kind: FaultKind::Long,
            field: 0,
            at: 0,
        }
    }
}

/// Looks for a record at the beginning of `bytes`, behind which, with `is_all`, nothing follows. A line ends with `\n` or
/// `\r\n`, the last one also with `\r` or nothing.
pub(super) fn scan(bytes: &[u8], is_all: bool, delimiter: u8, places: &mut Places) -> Scan {
    places.clear();
    match bytes {
        [] => return Scan::Unfinished,
        [b'\n', ..] => return Scan::Blank(1),
        [b'\r', b'\n', ..] => return Scan::Blank(2),
        [b'\r'] if is_all => return Scan::Blank(1),
        _ => {}
    }
    let mut lines = 1;
    let mut at = 0;
    loop {
        let broken = |kind, field, at| Scan::Broken(Fault { kind, field, at });
        if places.fields.len() == MAX_FIELDS {
            return broken(FaultKind::Many, MAX_FIELDS, 0);
        }
        if bytes.get(at) != Some(&b'"') {
            let start = at;
            let Some(length) = memchr3(delimiter, b'\n', b'"', &bytes[start..]) else {
                if !is_all {
                    return Scan::Unfinished;
                }
                places.push(start, without_return(bytes, start, bytes.len()));
                let length = bytes.len();
                return Scan::Record { length, lines };
            };
            let end = start + length;
            at = end + 1;
            if bytes[end] == delimiter {
                places.push(start, end);
                continue;
            }
            if bytes[end] == b'"' {
                return broken(FaultKind::Stray, places.fields.len(), end);
            }
            places.push(start, without_return(bytes, start, end));
            return Scan::Record { length: at, lines };
        }
        let Some(end) = quoted(bytes, at, is_all, places) else {
            return match is_all {
                true => broken(FaultKind::Open, places.fields.len(), at),
                false => Scan::Unfinished,
            };
        };
        lines += memchr_iter(b'\n', &bytes[at..end]).count() as u64;
        at = end + 1;
        let length = match &bytes[end..] {
            [next, ..] if *next == delimiter => continue,
            [b'\n', ..] => end + 1,
            [b'\r', b'\n', ..] => end + 2,
            [] | [b'\r'] if !is_all => return Scan::Unfinished,
            [] | [b'\r'] => bytes.len(),
            _ => return broken(FaultKind::Behind, places.fields.len() - 1, end),
        };
        return Scan::Record { length, lines };
    }
}

/// Takes the field whose quote is at `open`; returns what is behind its closing quote, or `None` where that is not there.
fn quoted(bytes: &[u8], open: usize, is_all: bool, places: &mut Places) -> Option<usize> {
    let copy = places.copied.len();
    // Up to here it is copied.
    let mut start = open + 1;
    let mut at = start;
    loop {
        let quote = at + memchr(b'"', &bytes[at..])?;
        match bytes.get(quote + 1) {
            Some(b'"') => {
                places.copied.extend_from_slice(&bytes[start..=quote]);
                start = quote + 2;
                at = start;
            }
            // It may be the first of two.
            None if !is_all => {
                places.copied.truncate(copy);
                return None;
            }
            _ if start == open + 1 => {
                places.push(start, quote);
                return Some(quote + 1);
            }
            _ => {
                places.copied.extend_from_slice(&bytes[start..quote]);
                places.fields.push(Field {
                    start: copy,
                    end: places.copied.len(),
                    from: From::Copy,
                });
                return Some(quote + 1);
            }
        }
    }
}

/// The end of a field in front of a line end, without the `\r` that belongs to that.
#[inline]
fn without_return(bytes: &[u8], start: usize, end: usize) -> usize {
    end - usize::from(bytes[start..end].last() == Some(&b'\r'))
}
