//! The members of a JSON object, found with serde_json, which checks all of it on the way.
//!
//! Text of one value comes in; out goes where names and values are in it.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::names::Names;
use crate::source::MAX_FIELDS;

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
    names: &Names,
    found: &mut Vec<Option<Span>>,
    mut members: Option<&mut Vec<(Span, Span)>>,
) -> Result<(), String> {
    found.clear();
    found.resize(names.count(), None);
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
        members: members.as_deref_mut(),
    };
    let visited = deserializer.deserialize_map(visitor).and_then(|()| deserializer.end());
    visited.map_err(|error| told(&error))?;
    match members {
        Some(members) if members.len() > MAX_FIELDS => Err(format!("it has more than {MAX_FIELDS} members")),
        _ => Ok(()),
    }
}

/// Finds the members of an object, or the elements of an array, in a value of `line` that was checked already.
pub(super) fn next_level(line: &str, value: Span, names: &Names, found: &mut Vec<Option<Span>>) {
    found.clear();
    found.resize(names.count(), None);
    let text = value.of(line);
    let mut deserializer = Deserializer::from_str(text);
    // It is sound, or it would not have come this far.
    let _ = match text.as_bytes().first() {
        Some(b'{') => deserializer.deserialize_map(Members {
            line,
            names,
            found,
            members: None,
        }),
        Some(b'[') if !names.indices().is_empty() => deserializer.deserialize_seq(Elements { line, names, found }),
        _ => Ok(()),
    };
}

/// What serde_json says, without the line, which it counts within this one.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(&text[..], |(reason, _)| reason);
    format!("it is no JSON, column {}: {reason}", error.column())
}

struct Members<'a> {
    line: &'a str,
    names: &'a Names,
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
            let wanted = if self.names.is_usual(next, name) {
                Some(next)
            } else {
                self.names.find(name)
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
            if let Some(members) = &mut self.members
                && members.len() <= MAX_FIELDS
            {
                members.push((Span::find(name, self.line), value));
            }
        }
        Ok(())
    }
}

/// The elements of an array at some places.
struct Elements<'a> {
    line: &'a str,
    names: &'a Names,
    found: &'a mut [Option<Span>],
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut wanted = self.names.indices().iter().peekable();
        let mut at = 0;
        while let Some(element) = list.next_element::<&RawValue>()? {
            if let Some((_, name)) = wanted.next_if(|(index, _)| *index == at) {
                self.found[*name] = Some(Span::find(element.get(), self.line));
            }
            at += 1;
        }
        Ok(())
    }
}
