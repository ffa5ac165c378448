//! The rows of each kind of file alike: what a template takes of them, read where it lies.

use super::{Failed, Plan, Scratch};
use crate::command::Role;
use crate::pipeline::Pipeline;
use crate::source::csv::Fields;
use crate::source::json::{Member, Object};
use crate::source::text;
use crate::source::value::Value;
use crate::template::fill::{Refusal, Values};
use crate::template::{OnNull, Template};

/// What a row offers, whatever file it is from.
pub(super) trait Row {
    fn hole(&self, hole: usize) -> Value<'_>;

    /// Appends all of it as JSON, or tells what is wrong with it.
    fn json(&self, into: &mut Vec<u8>) -> Result<(), String>;

    /// How many fields `{*}` stands for.
    fn fields(&self) -> usize;

    /// Appends the name of one of them as a word.
    fn name(&self, pipeline: &mut Pipeline, field: usize) -> Result<(), Refusal>;

    /// The value of one of them.
    fn value(&self, field: usize) -> Value<'_>;
}

pub(super) struct CsvRow<'a> {
    pub(super) fields: &'a Fields<'a>,
    pub(super) plan: &'a Plan,
}

impl Row for CsvRow<'_> {
    #[inline]
    fn hole(&self, hole: usize) -> Value<'_> {
        Value::Text(self.fields.text(self.plan.columns[hole]))
    }

    fn json(&self, into: &mut Vec<u8>) -> Result<(), String> {
        into.push(b'{');
        for (at, name) in self.plan.names.iter().enumerate() {
            if at > 0 {
                into.push(b',');
            }
            into.extend_from_slice(&name.member);
            text::quote(self.fields.text(at), into)
                .map_err(|_| format!("cannot be written as JSON: field {} is not UTF-8", at + 1))?;
        }
        into.push(b'}');
        Ok(())
    }

    #[inline]
    fn fields(&self) -> usize {
        self.fields.count()
    }

    #[inline]
    fn name(&self, pipeline: &mut Pipeline, field: usize) -> Result<(), Refusal> {
        pipeline.request.encoded(&self.plan.names[field].word);
        Ok(())
    }

    #[inline]
    fn value(&self, field: usize) -> Value<'_> {
        Value::Text(self.fields.text(field))
    }
}

pub(super) struct JsonRow<'a> {
    pub(super) object: &'a Object<'a>,
    /// Of `{*}`, those that are sent.
    pub(super) members: Vec<Member<'a>>,
}

impl JsonRow<'_> {
    /// Does with missing values as the option onNull says, and refuses what has no form on the wire.
    pub(super) fn check(&mut self, star: &str, on_null: OnNull) -> Result<(), Failed> {
        let mut refused = None;
        self.members.retain_mut(|Member { name, value }| {
            let hint = match (*value, on_null) {
                (Value::Null, OnNull::Skip) => return false,
                (Value::Null, OnNull::Empty) => {
                    *value = Value::Text(b"");
                    return true;
                }
                (Value::Null, OnNull::Throw) => " (see the option onNull)",
                (Value::Boolean(_) | Value::Array(_) | Value::Object(_), _) => "",
                _ => return true,
            };
            let reason = || format!("{} of the row is {}{hint}", field(*name), value.described());
            refused.get_or_insert_with(reason);
            true
        });
        match refused {
            Some(reason) => Err(Failed::because(star, reason)),
            None if self.members.is_empty() => {
                let reason = format!("the row has no fields: {star} needs at least one");
                Err(Failed::because(star, reason))
            }
            None => Ok(()),
        }
    }
}

impl Row for JsonRow<'_> {
    #[inline]
    fn hole(&self, hole: usize) -> Value<'_> {
        self.object.hole(hole)
    }

    fn json(&self, into: &mut Vec<u8>) -> Result<(), String> {
        text::compact(self.object.text(), into).map_err(str::to_owned)
    }

    #[inline]
    fn fields(&self) -> usize {
        self.members.len()
    }

    #[inline]
    fn name(&self, pipeline: &mut Pipeline, field: usize) -> Result<(), Refusal> {
        self.members[field].name.word(pipeline, Role::Any)
    }

    #[inline]
    fn value(&self, field: usize) -> Value<'_> {
        self.members[field].value
    }
}

/// A field, for a message: of a long name the beginning.
fn field(name: Value<'_>) -> String {
    /// As with rows of JavaScript.
    const MOST: usize = 64;
    let name = name.plain().unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("field {}…", &name[..end]),
        None => format!("field {name}"),
    }
}

/// The values of a row, for its template.
pub(super) struct Inputs<'a, R> {
    pub(super) row: &'a R,
    pub(super) template: &'a Template,
    pub(super) scratch: &'a Scratch,
}

impl<R: Row> Inputs<'_, R> {
    #[inline]
    pub(super) fn value(&self, input: usize) -> Value<'_> {
        match (self.scratch.inputs[input], self.template.inputs[input].hole) {
            (Some((start, end)), _) => Value::Text(&self.scratch.bytes[start..end]),
            (None, Some(hole)) => self.row.hole(hole),
            (None, None) => Value::Undefined,
        }
    }
}

impl<R: Row> Values for Inputs<'_, R> {
    #[inline]
    fn inputs(&self) -> usize {
        self.template.inputs.len()
    }

    #[inline]
    fn fields(&self) -> usize {
        2 * self.row.fields()
    }

    fn missing(&self, input: usize) -> Option<&'static str> {
        self.value(input).missing()
    }

    #[inline]
    fn word(&self, pipeline: &mut Pipeline, input: usize, role: Role) -> Result<(), Refusal> {
        self.value(input).word(pipeline, role)
    }

    #[inline]
    fn around(&self, pipeline: &mut Pipeline, prefix: &[u8], input: usize, suffix: &[u8]) -> Result<(), Refusal> {
        self.value(input).around(pipeline, prefix, suffix)
    }

    #[inline]
    fn piece(&self, pipeline: &mut Pipeline, input: usize) -> Result<(), Refusal> {
        self.value(input).piece(pipeline)
    }

    #[inline]
    fn field(&self, pipeline: &mut Pipeline, at: usize, role: Role) -> Result<(), Refusal> {
        if at.is_multiple_of(2) {
            self.row.name(pipeline, at / 2)
        } else {
            self.row.value(at / 2).word(pipeline, role)
        }
    }
}
