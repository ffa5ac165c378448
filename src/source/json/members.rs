//! The members of a JSON object, found with serde_json, which checks all of it on the way.
//!
//! Text of one value comes in; out goes where names and values are in it.

use std::fmt;

use memchr::memchr;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use crate::source::text::{quote, unescape};

/// Where something is in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    #[inline]
    pub(super) fn of(self, line: &str) -> &str {
        &line[self.start..self.end]
    }

    /// Of a part of `line`.
    #[inline]
    fn find(part: &str, line: &str) -> Self {
        let start = part.as_ptr().addr() - line.as_ptr().addr();
        Self {
            start,
            end: start + part.len(),
        }
    }
}

/// Finds, in a line that must be one JSON object, the members of these names, and all of them where they are wanted. Of
/// several with one name the last counts.
///
/// # Errors
/// Where it is none, with the column.
pub(super) fn first_level(
    line: &str,
    names: &[Name],
    found: &mut Vec<Option<Span>>,
    mut members: Option<&mut Vec<(Span, Span)>>,
) -> Result<(), String> {
    found.clear();
    found.resize(names.len(), None);
    if let Some(members) = &mut members {
        members.clear();
    }
    let trimmed = line.trim_start_matches([' ', '\t', '\r']);
    if !trimmed.starts_with('{') {
        // A value of another kind, or none at all.
        return Err(match serde_json::from_str::<IgnoredAny>(line) {
            Ok(_) => "it is no JSON object".to_owned(),
            Err(error) => told(&error),
        });
    }
    let mut deserializer = Deserializer::from_str(line);
    let visitor = Members {
        line,
        names,
        found,
        members,
    };
    let visited = deserializer.deserialize_map(visitor).and_then(|()| deserializer.end());
    visited.map_err(|error| told(&error))
}

/// The member of an object, or the element of an array, in a value of `line` that was checked already.
pub(super) fn step(line: &str, value: Span, name: &Name) -> Option<Span> {
    let text = value.of(line);
    let mut deserializer = Deserializer::from_str(text);
    let element = match text.as_bytes().first() {
        Some(b'{') => deserializer.deserialize_map(Member(name)),
        Some(b'[') => {
            // As JavaScript writes an index; others are names, which no array has.
            let index = name
                .plain
                .parse()
                .ok()
                .filter(|index: &usize| index.to_string() == name.plain)?;
            deserializer.deserialize_seq(Element(index))
        }
        _ => return None,
    };
    element.ok()?.map(|element| Span::find(element, line))
}

/// What serde_json says, without the line, which it counts within this one.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(&text[..], |(reason, _)| reason);
    format!("it is no JSON, column {}: {reason}", error.column())
}

/// The name of a member that is looked for.
#[derive(Debug)]
pub(super) struct Name {
    plain: String,
    /// As files mostly have it: in quotes, with no more escapes than there must be.
    usual: Vec<u8>,
}

impl Name {
    pub(super) fn new(plain: &str) -> Self {
        let mut usual = Vec::new();
        // A `str` is UTF-8.
        let _ = quote(plain.as_bytes(), &mut usual);
        Self {
            plain: plain.to_owned(),
            usual,
        }
    }

    pub(super) fn plain(&self) -> &str {
        &self.plain
    }

    /// Compares it with a name in the file, quotes and all.
    #[inline]
    fn is_usual(&self, quoted: &str) -> bool {
        *quoted.as_bytes() == *self.usual
    }

    fn is(&self, quoted: &str) -> bool {
        self.is_usual(quoted) || (has_escapes(quoted) && self.is_unescaped(quoted))
    }

    #[cold]
    fn is_unescaped(&self, quoted: &str) -> bool {
        let mut plain = Vec::new();
        unescape(&quoted[1..quoted.len() - 1], &mut plain).is_ok() && plain == self.plain.as_bytes()
    }
}

fn has_escapes(quoted: &str) -> bool {
    memchr(b'\\', quoted.as_bytes()).is_some()
}

/// The place of a name in the file among those looked for.
fn position(names: &[Name], quoted: &str) -> Option<usize> {
    let usual = names.iter().position(|name| name.is_usual(quoted));
    match usual {
        None if has_escapes(quoted) => names.iter().position(|name| name.is_unescaped(quoted)),
        usual => usual,
    }
}

struct Members<'a> {
    line: &'a str,
    names: &'a [Name],
    found: &'a mut [Option<Span>],
    members: Option<&'a mut Vec<(Span, Span)>>,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        // Objects of a file mostly have the same members in the same order: the next name is tried first.
        let mut next = 0;
        while let Some(name) = map.next_key::<&RawValue>()? {
            let name = name.get();
            let wanted = match self.names.get(next) {
                Some(expected) if expected.is_usual(name) => Some(next),
                _ => position(self.names, name),
            };
            if wanted.is_none() && self.members.is_none() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = Span::find(map.next_value::<&RawValue>()?.get(), self.line);
            if let Some(at) = wanted {
                self.found[at] = Some(value);
                next = at + 1;
            }
            if let Some(members) = &mut self.members {
                members.push((Span::find(name, self.line), value));
            }
        }
        Ok(())
    }
}

/// The value of a member.
struct Member<'a>(&'a Name);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<&RawValue>()? {
            if self.0.is(name.get()) {
                found = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The element of an array at this place.
struct Element(usize);

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut at = 0;
        while let Some(element) = list.next_element::<&RawValue>()? {
            if at == self.0 {
                found = Some(element.get());
            }
            at += 1;
        }
        Ok(found)
    }
}
