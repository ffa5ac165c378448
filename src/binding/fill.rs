//! Fills a template: reads the values of a call into the words of its commands, all of them or none.
//!
//! A value for each hole is the usual case, and goes straight between what was encoded beforehand. Where one is missing, or
//! the fields of a row are wanted, words are counted first, and written one by one.

use std::mem::MaybeUninit;
use std::slice;

use napi::sys::{self, Status, ValueType};

use super::append::{LOOK_EVERY, Problem, Stop};
use super::argument::{self, Refusal};
use super::js::Js;
use crate::command::{MAX_ARGUMENTS, Role};
use crate::error::Error;
use crate::pipeline::{Committed, Pipeline};
use crate::template::{Missing, OnNull, Open, Piece, Shape, Star, Template};

/// A call of a template.
pub(super) struct Call<'a> {
    pub(super) js: Js,
    pub(super) template: &'a Template,
    pub(super) on_null: OnNull,
    /// Of its inputs.
    pub(super) values: &'a [sys::napi_value],
    /// Field and value in turn, for `{*}`.
    pub(super) fields: &'a [sys::napi_value],
}

/// Why a value has no form on the wire, and the input that it was passed for.
struct Bad {
    input: usize,
    refusal: Refusal,
}

impl Bad {
    /// As if a value were missing.
    fn missing() -> Self {
        Self {
            input: 0,
            refusal: Refusal::WrongType,
        }
    }
}

impl Call<'_> {
    /// Appends the commands of the template: all of them, or none.
    #[inline]
    pub(super) fn append(&self, pipeline: &mut Pipeline) -> Result<Committed, Stop> {
        if self.values.len() != self.template.inputs.len() {
            return Err(self.wrong_number());
        }
        // By far the most: no need to remember what was there before.
        if let [shape] = &self.template.commands[..]
            && shape.star.is_none()
        {
            if self.quickly(pipeline, shape).is_ok() {
                return Ok(pipeline.commit()?);
            }
            pipeline.request.rollback();
        }
        self.together(pipeline)
    }

    /// Appends one command, which has a value for each of its holes.
    #[inline]
    fn quickly(&self, pipeline: &mut Pipeline, shape: &Shape) -> Result<(), Bad> {
        pipeline.request.begin_encoded(&shape.head);
        for part in &shape.parts {
            match &part.open {
                Open::Value { input, role } => self.value(pipeline, *input, *role)?,
                Open::Around { prefix, input, suffix } => self.around(pipeline, prefix, *input, suffix)?,
                Open::Pieces(at) => self.pieces(pipeline, shape.words[*at].pieces.iter())?,
            }
            pipeline.request.encoded(&part.then);
        }
        Ok(())
    }

    fn together(&self, pipeline: &mut Pipeline) -> Result<Committed, Stop> {
        let mark = pipeline.request.mark();
        for shape in &self.template.commands {
            let appended = match shape.star {
                None => self.quickly(pipeline, shape),
                Some(_) => Err(Bad::missing()),
            };
            // Where a value is missing, the words have to be counted first.
            let appended = match appended {
                Err(Bad {
                    refusal: Refusal::WrongType,
                    ..
                }) => {
                    pipeline.request.rollback();
                    self.left_out(shape).and_then(|left_out| {
                        let appended = self.carefully(pipeline, shape, &left_out);
                        appended.map_err(|bad| self.told(shape, bad))
                    })
                }
                appended => appended.map_err(|bad| self.told(shape, bad)),
            };
            if let Err(stop) = appended {
                pipeline.request.undo(&mark);
                return Err(stop);
            }
            pipeline.request.commit();
        }
        Ok(pipeline.keep(&mark)?)
    }

    /// Which words a command does without, for want of values.
    fn left_out(&self, shape: &Shape) -> Result<Vec<bool>, Stop> {
        let is_null: Vec<bool> = self.values.iter().map(|value| self.null(*value).is_some()).collect();
        let fields = if shape.star.is_some() { self.fields.len() } else { 0 };
        if shape.words.len() + fields > MAX_ARGUMENTS {
            return Err(Problem::argument(format!(
                "{} has {} arguments, of which a server takes at most {MAX_ARGUMENTS}: split them",
                shape.name,
                shape.words.len() - 1 + fields
            )));
        }
        shape
            .left_out(&is_null, self.on_null, fields)
            .map_err(|missing| match missing {
                Missing::Value { input, hint } => Problem::argument(format!(
                    "{} is {}{hint}",
                    self.called(shape, input),
                    self.null(self.values[input]).unwrap_or("missing")
                )),
                Missing::Words => {
                    Problem::argument(format!("{} has no fields left: it needs at least one", shape.name))
                }
            })
    }

    /// Appends a command word by word, some of which are left out, and the fields of the row.
    fn carefully(&self, pipeline: &mut Pipeline, shape: &Shape, left_out: &[bool]) -> Result<(), Bad> {
        let words = left_out.iter().filter(|out| !**out).count();
        let fields = if shape.star.is_some() { self.fields } else { &[] };
        pipeline.request.begin(words + fields.len(), b"");
        let there = |piece: &&Piece| match piece {
            Piece::Text(_) => true,
            Piece::Value { input, .. } => self.null(self.values[*input]).is_none(),
        };
        for (word, _) in shape.words.iter().zip(left_out).filter(|(_, out)| !**out) {
            match &word.pieces[..] {
                [piece @ Piece::Value { input, role }] if there(&piece) => self.value(pipeline, *input, *role)?,
                // What is missing there is sent empty.
                pieces => self.pieces(pipeline, pieces.iter().filter(there))?,
            }
        }
        let (order, role) = match shape.star {
            Some(Star::Scores) => ([1, 0], Role::Score),
            _ => ([0, 1], Role::Any),
        };
        let inputs = self.values.len();
        for (at, pair) in fields.chunks_exact(2).enumerate() {
            for (place, role) in order.into_iter().zip([role, Role::Any]) {
                let bad = |refusal| Bad {
                    input: inputs + 2 * at + place,
                    refusal,
                };
                argument::append(self.js, pipeline, pair[place], role).map_err(bad)?;
            }
            if at % LOOK_EVERY == LOOK_EVERY - 1 {
                pipeline.expect_room(0).map_err(|error| Bad {
                    input: 0,
                    refusal: Refusal::Full(error),
                })?;
            }
        }
        Ok(())
    }

    /// Appends a word that is one value.
    #[inline]
    fn value(&self, pipeline: &mut Pipeline, input: usize, role: Role) -> Result<(), Bad> {
        let mut units = [MaybeUninit::uninit(); SHORT_UNITS];
        let value = self.values[input];
        let appended = match self.text(value, &mut units) {
            Text::Short(text) if role != Role::Score => pipeline.request.utf16(text).map_err(argument::refused_text),
            Text::None => argument::append_other(self.js, pipeline, value, role),
            Text::Short(_) | Text::Long => argument::append(self.js, pipeline, value, role),
        };
        appended.map_err(|refusal| Bad { input, refusal })
    }

    /// Appends a word that is one value with text around it.
    #[inline]
    fn around(&self, pipeline: &mut Pipeline, prefix: &[u8], input: usize, suffix: &[u8]) -> Result<(), Bad> {
        let bad = |refusal| Bad { input, refusal };
        let mut units = [MaybeUninit::uninit(); SHORT_UNITS];
        let text = self.text(self.values[input], &mut units);
        if let Text::Short(text) = text {
            let around = pipeline.request.around_utf16(prefix, text, suffix);
            return around.map_err(argument::refused_text).map_err(bad);
        }
        let word = pipeline.request.open_word();
        pipeline.request.piece(prefix);
        self.piece(pipeline, input, &text).map_err(bad)?;
        pipeline.request.piece(suffix);
        let closed = pipeline.request.close_word(word);
        closed.map_err(argument::refused_text).map_err(bad)
    }

    /// Appends a word of several pieces.
    fn pieces<'a>(&self, pipeline: &mut Pipeline, pieces: impl Iterator<Item = &'a Piece>) -> Result<(), Bad> {
        let mut last = 0;
        let word = pipeline.request.open_word();
        for piece in pieces {
            match piece {
                Piece::Text(text) => pipeline.request.piece(text),
                Piece::Value { input, .. } => {
                    last = *input;
                    let mut units = [MaybeUninit::uninit(); SHORT_UNITS];
                    let text = self.text(self.values[last], &mut units);
                    self.piece(pipeline, last, &text)
                        .map_err(|refusal| Bad { input: last, refusal })?;
                }
            }
        }
        pipeline.request.close_word(word).map_err(|bad| Bad {
            input: last,
            refusal: argument::refused_text(bad),
        })
    }

    /// Appends a value to the word begun; `text` is what is known of it.
    #[inline]
    fn piece(&self, pipeline: &mut Pipeline, input: usize, text: &Text<'_>) -> Result<(), Refusal> {
        let start = pipeline.request.open_bytes();
        match text {
            Text::Short(text) => return pipeline.request.piece_utf16(text).map_err(argument::refused_text),
            Text::Long => argument::append(self.js, pipeline, self.values[input], Role::Any)?,
            Text::None => argument::append_other(self.js, pipeline, self.values[input], Role::Any)?,
        }
        pipeline.request.unframe(start);
        Ok(())
    }

    /// Reads a string that is not long.
    #[inline]
    fn text<'a>(&self, value: sys::napi_value, units: &'a mut [MaybeUninit<u16>; SHORT_UNITS]) -> Text<'a> {
        let mut length = 0;
        // SAFETY: `value` is live in the current callback; at most `SHORT_UNITS` units are written to `units`, and
        // their number less the closing zero to `length`.
        let status = unsafe {
            sys::napi_get_value_string_utf16(
                self.js.env(),
                value,
                units.as_mut_ptr().cast(),
                SHORT_UNITS,
                &raw mut length,
            )
        };
        if status != Status::napi_ok {
            return Text::None;
        }
        if length >= SHORT_UNITS - 1 {
            return Text::Long;
        }
        // SAFETY: the call above has written `length` units.
        Text::Short(unsafe { slice::from_raw_parts(units.as_ptr().cast::<u16>(), length) })
    }

    /// What a missing value is called.
    fn null(&self, value: sys::napi_value) -> Option<&'static str> {
        let mut kind = ValueType::napi_object;
        // SAFETY: `value` is live in the current callback; `kind` is written on success.
        unsafe { sys::napi_typeof(self.js.env(), value, &raw mut kind) };
        match kind {
            ValueType::napi_null => Some("null"),
            ValueType::napi_undefined => Some("undefined"),
            _ => None,
        }
    }

    #[cold]
    fn wrong_number(&self) -> Stop {
        let holes = &self.template.holes;
        let noun = if holes.len() == 1 { "value" } else { "values" };
        Problem::argument(format!(
            "the template takes {} {noun} ({}) or a row, got {}",
            holes.len(),
            holes.join(", "),
            self.values.len()
        ))
    }

    /// An input, for a message.
    fn called(&self, shape: &Shape, input: usize) -> String {
        match self.template.inputs[input].hole {
            Some(hole) => format!("hole {} of {}", self.template.holes[hole], shape.name),
            None => format!("the row for {}", shape.name),
        }
    }

    #[cold]
    fn told(&self, shape: &Shape, Bad { input, refusal }: Bad) -> Stop {
        let what = || match input.checked_sub(self.values.len()) {
            None => self.called(shape, input),
            Some(at) if at % 2 == 1 => format!("a field of the row for {}", shape.name),
            Some(_) => format!("the name of a field of the row for {}", shape.name),
        };
        match refusal {
            Refusal::Full(error) => error.into(),
            Refusal::Because(reason) => Problem::argument(format!("{} {reason}", what())),
            Refusal::Composite | Refusal::WrongType => Stop::Failed(Problem {
                error: Error::InvalidArgument(what()),
                wrong_type: Some(input),
            }),
        }
    }
}

/// A value, read as text.
enum Text<'a> {
    Short(&'a [u16]),
    Long,
    /// It is none.
    None,
}

/// Strings up to here are read with one call: most values are short. 2 KiB of stack.
const SHORT_UNITS: usize = 1024;
