//! The values of a template's call, read out of JavaScript's: what `template::fill` puts between the words.

use std::mem::MaybeUninit;
use std::slice;

use napi::sys::{self, Status, ValueType};

use super::append::{Problem, Stop};
use super::argument;
use super::js::Js;
use crate::command::Role;
use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::template::fill::{self, Refusal, Values, Why};

/// What a call of a template gives.
pub(super) struct Given<'a> {
    pub(super) js: Js,
    /// Of its inputs.
    pub(super) values: &'a [sys::napi_value],
    /// Field and value in turn, for `{*}`.
    pub(super) fields: &'a [sys::napi_value],
}

impl From<fill::Stop> for Stop {
    #[cold]
    fn from(stop: fill::Stop) -> Self {
        Self::Failed(match stop.why {
            Why::Error(error) => Problem {
                error,
                wrong_type: None,
            },
            Why::WrongType { input, what } => Problem {
                error: Error::InvalidArgument(what),
                wrong_type: Some(input),
            },
        })
    }
}

impl Values for Given<'_> {
    #[inline]
    fn inputs(&self) -> usize {
        self.values.len()
    }

    #[inline]
    fn fields(&self) -> usize {
        self.fields.len()
    }

    fn missing(&self, input: usize) -> Option<&'static str> {
        let mut kind = ValueType::napi_object;
        // SAFETY: the value is live in the current callback; `kind` is written on success.
        unsafe { sys::napi_typeof(self.js.env(), self.values[input], &raw mut kind) };
        match kind {
            ValueType::napi_null => Some("null"),
            ValueType::napi_undefined => Some("undefined"),
            _ => None,
        }
    }

    #[inline]
    fn word(&self, pipeline: &mut Pipeline, input: usize, role: Role) -> Result<(), Refusal> {
        let mut units = [MaybeUninit::uninit(); SHORT_UNITS];
        let value = self.values[input];
        match self.text(value, &mut units) {
            Text::Short(text) if role != Role::Score => pipeline.request.utf16(text)?,
            Text::None => argument::append_other(self.js, pipeline, value, role)?,
            Text::Short(_) | Text::Long => argument::append(self.js, pipeline, value, role)?,
        }
        Ok(())
    }

    #[inline]
    fn around(&self, pipeline: &mut Pipeline, prefix: &[u8], input: usize, suffix: &[u8]) -> Result<(), Refusal> {
        let mut units = [MaybeUninit::uninit(); SHORT_UNITS];
        let text = self.text(self.values[input], &mut units);
        if let Text::Short(text) = text {
            return Ok(pipeline.request.around_utf16(prefix, text, suffix)?);
        }
        let word = pipeline.request.open_word();
        pipeline.request.piece(prefix);
        self.read_piece(pipeline, input, &text)?;
        pipeline.request.piece(suffix);
        Ok(pipeline.request.close_word(word)?)
    }

    fn piece(&self, pipeline: &mut Pipeline, input: usize) -> Result<(), Refusal> {
        let mut units = [MaybeUninit::uninit(); SHORT_UNITS];
        let text = self.text(self.values[input], &mut units);
        self.read_piece(pipeline, input, &text)
    }

    #[inline]
    fn field(&self, pipeline: &mut Pipeline, at: usize, role: Role) -> Result<(), Refusal> {
        Ok(argument::append(self.js, pipeline, self.fields[at], role)?)
    }
}

impl Given<'_> {
    /// Appends a value to the word begun; `text` is what is known of it.
    #[inline]
    fn read_piece(&self, pipeline: &mut Pipeline, input: usize, text: &Text<'_>) -> Result<(), Refusal> {
        let start = pipeline.request.open_bytes();
        match text {
            Text::Short(text) => return Ok(pipeline.request.piece_utf16(text)?),
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
