//! Rows of csv and tsv files, after RFC 4180: strictly, unlike most readers, which make something of any file.
//!
//! A quote in a field that does not begin with one, text behind a closing quote, a quote that is never closed and a wrong
//! number of fields make a broken row. One that its quotes break is taken to end with its first line: so a stray quote does
//! not take the rest of the file with it. Lines end with `\n` or `\r\n`; empty ones are no rows (as with csv-parse's
//! `skip_empty_lines`); a byte order mark is skipped. Fields are bytes, which nobody looks at here.

mod scan;

use std::borrow::Cow;
use std::io::Read;

use memchr::{memchr, memchr_iter};

use self::scan::{Fault, FaultKind, Places, Scan, scan};
use super::window::{MAX_RECORD, More, Window};
use super::{Halt, Line, MAX_FIELDS};
use crate::error::Error;

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What parts fields: one byte, `,` or a tab as a rule.
    pub delimiter: u8,
    pub header: Header,
}

/// Where the names of columns come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// The first line that is not empty.
    Row,
    Given(Vec<String>),
    /// There are none: columns go by their numbers, from 0.
    None,
}

/// The rows of a file.
pub(super) struct Csv<R> {
    window: Window<R>,
    delimiter: u8,
    columns: Columns,
    /// So many fields has each row, once that is known.
    width: Option<usize>,
    places: Places,
    /// The number of the line with which the window begins, once `taken` is consumed.
    line: u64,
    /// Bytes of the window that belong to the row lent last.
    taken: usize,
}

/// What columns are called.
#[derive(Debug)]
pub(super) enum Columns {
    Named(Vec<Vec<u8>>),
    /// `{0}`, `{1}`, …
    Numbered,
}

/// The fields of a row.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    places: &'a Places,
}

impl<'a> Fields<'a> {
    pub(super) fn count(&self) -> usize {
        self.places.fields.len()
    }

    #[inline]
    pub(super) fn text(&self, at: usize) -> &'a [u8] {
        self.places.text(self.bytes, at)
    }
}

impl<R: Read> Csv<R> {
    /// Nothing is read yet.
    pub(super) fn new(window: Window<R>, delimiter: u8) -> Self {
        Self {
            window,
            delimiter,
            columns: Columns::Numbered,
            width: None,
            places: Places::default(),
            line: 1,
            taken: 0,
        }
    }

    /// Reads what is in front of the rows.
    pub(super) fn begin(&mut self, header: Header) -> Result<(), Halt> {
        if matches!(self.delimiter, b'"' | b'\n' | b'\r') {
            let text = "delimiter must not be a quote, nor the end of a line";
            return Err(Error::InvalidOption(text.to_owned()).into());
        }
        self.taken = super::skip_mark(&mut self.window)?;
        let names = match header {
            Header::None => return Ok(()),
            Header::Given(names) => names.into_iter().map(String::into_bytes).collect(),
            Header::Row => self.header()?,
        };
        self.width = Some(names.len());
        self.columns = Columns::Named(names);
        Ok(())
    }

    fn header(&mut self) -> Result<Vec<Vec<u8>>, Halt> {
        match self.next()? {
            None => Err(Halt::Because("it is empty: there is no header row".to_owned())),
            Some((line, Err(reason))) => Err(Halt::Because(format!("its header row, line {line}: {reason}"))),
            Some((_, Ok(fields))) => {
                let names: Vec<_> = (0..fields.count()).map(|at| fields.text(at).to_vec()).collect();
                if names.iter().any(|name| has_lone_return(name)) {
                    let reason =
                        "its header row has a carriage return that no newline follows: lines end with \\n or \\r\\n";
                    return Err(Halt::Because(reason.to_owned()));
                }
                // Only rows count.
                self.width = None;
                Ok(names)
            }
        }
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The next row and the line in which it begins, or why that is none.
    pub(super) fn next(&mut self) -> Result<Option<Line<Fields<'_>>>, Halt> {
        loop {
            self.window.consume(self.taken);
            self.taken = 0;
            let scanned = self.scanned()?;
            let line = self.line;
            match scanned {
                None => return Ok(None),
                Some(Scan::Record { length, lines }) => {
                    (self.taken, self.line) = (length, line + lines);
                    let count = self.places.fields.len();
                    let width = *self.width.get_or_insert(count);
                    if count != width {
                        return Ok(Some((line, Err(self.miscounted(count, width)))));
                    }
                    let fields = Fields {
                        bytes: self.window.bytes(),
                        places: &self.places,
                    };
                    return Ok(Some((line, Ok(fields))));
                }
                Some(Scan::Blank(length)) => (self.taken, self.line) = (length, line + 1),
                Some(Scan::Broken(fault)) => {
                    let reason = self.told(fault);
                    let bytes = self.window.bytes();
                    self.taken = memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
                    self.line += 1;
                    return Ok(Some((line, Err(reason))));
                }
                // It is read on until it is something else.
                Some(Scan::Unfinished) => unreachable!("an unfinished record is read on"),
            }
        }
    }

    /// What is at the beginning of the window, all of it; `None` at the end of the file.
    fn scanned(&mut self) -> Result<Option<Scan>, Halt> {
        loop {
            let (bytes, is_all) = (self.window.bytes(), self.window.has_ended());
            if is_all && bytes.is_empty() {
                return Ok(None);
            }
            let scanned = scan(bytes, is_all, self.delimiter, &mut self.places);
            // Of a broken row the first line has to be there, with which it ends.
            let is_whole = match scanned {
                Scan::Unfinished => false,
                Scan::Broken(_) => is_all || memchr(b'\n', bytes).is_some(),
                _ => true,
            };
            if is_whole {
                return Ok(Some(scanned));
            }
            if self.window.more()? == More::Full {
                let bytes = self.window.bytes();
                if memchr(b'\n', bytes).is_none() {
                    return Err(super::too_long(self.line));
                }
                // Several lines: a quote is open, or was. What a scan says of the end that is not there does not count.
                let scanned = scan(bytes, true, self.delimiter, &mut self.places);
                return Ok(Some(match scanned {
                    Scan::Broken(_) => scanned,
                    _ => Scan::Broken(Fault::long()),
                }));
            }
        }
    }

    #[cold]
    fn miscounted(&self, count: usize, width: usize) -> String {
        let noun = if count == 1 { "field" } else { "fields" };
        match self.columns {
            Columns::Named(_) if width == 1 => format!("{count} {noun} for 1 column"),
            Columns::Named(_) => format!("{count} {noun} for {width} columns"),
            Columns::Numbered => format!("{count} {noun}, where the first row has {width}"),
        }
    }

    #[cold]
    fn told(&self, Fault { kind, field, at }: Fault) -> String {
        let line = self.line + memchr_iter(b'\n', &self.window.bytes()[..at]).count() as u64;
        let place = if line == self.line {
            String::new()
        } else {
            format!(" in line {line}")
        };
        let field = match &self.columns {
            Columns::Named(names) if field < names.len() => format!("field {} ({})", field + 1, shown(&names[field])),
            _ => format!("field {}", field + 1),
        };
        match kind {
            FaultKind::Stray => format!("{field} has a quote{place}, and does not begin with one"),
            FaultKind::Behind => format!("{field} has text behind its closing quote{place}"),
            FaultKind::Open if self.window.has_ended() => {
                format!("{field} has a quote in line {line} that is never closed")
            }
            FaultKind::Open => format!("{field} has a quote in line {line} that is not closed within {MOST} MiB"),
            FaultKind::Long => format!("it is longer than {MOST} MiB"),
            FaultKind::Many => format!("it has more than {MAX_FIELDS} fields"),
        }
    }
}

impl Columns {
    /// The place of a column that a template names.
    ///
    /// # Errors
    /// Where there is none, or several.
    pub(super) fn find(&self, name: &str) -> Result<usize, Error> {
        let Self::Named(names) = self else {
            let number = name.parse().ok().filter(|number: &usize| number.to_string() == name);
            return number.ok_or_else(|| {
                Error::InvalidArgument(format!(
                    "there is no column {name}: without a header row they are called 0, 1, 2 and so on"
                ))
            });
        };
        let mut found = (0..names.len()).filter(|at| names[*at] == name.as_bytes());
        match (found.next(), found.next()) {
            (Some(at), None) => Ok(at),
            (Some(first), Some(second)) => Err(Error::InvalidArgument(format!(
                "column {name} is there twice, as field {} and {}",
                first + 1,
                second + 1
            ))),
            (None, _) => Err(Error::InvalidArgument(format!(
                "there is no column {name}, only {}",
                listed(names)
            ))),
        }
    }

    /// A name that several columns have.
    pub(super) fn duplicate(&self) -> Option<String> {
        let Self::Named(names) = self else { return None };
        let mut sorted: Vec<&Vec<u8>> = names.iter().collect();
        sorted.sort();
        let twice = sorted.windows(2).find(|pair| pair[0] == pair[1])?;
        Some(shown(twice[0]).into_owned())
    }

    /// The names of the first so many columns.
    pub(super) fn names(&self, count: usize) -> Vec<Cow<'_, [u8]>> {
        match self {
            Self::Named(names) => names.iter().map(|name| Cow::Borrowed(&name[..])).collect(),
            Self::Numbered => (0..count).map(|at| Cow::Owned(at.to_string().into_bytes())).collect(),
        }
    }
}

/// As where lines end with `\r` alone: the whole file would be the header.
fn has_lone_return(name: &[u8]) -> bool {
    memchr_iter(b'\r', name).any(|at| name.get(at + 1) != Some(&b'\n'))
}

/// The longest record in MiB, for messages.
const MOST: usize = MAX_RECORD / (1024 * 1024);

/// Of long lists the beginning.
fn listed(names: &[Vec<u8>]) -> String {
    /// Nobody reads more.
    const SHOWN: usize = 100;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| shown(name))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

/// A name, for a message: of a long one the beginning.
fn shown(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&name[..name.len().min(64)])
}

#[cfg(test)]
mod tests;
