//! The arguments of a call, as the rules of commands see them, before any is appended.

use napi::sys::{self, Status, ValueType};

use super::append::{Problem, Stop};
use super::argument;
use super::js::Js;
use crate::command::{Command, Form, Words, is_name};

/// Options and names are no longer than this.
const LONGEST_WORD: usize = 64;

/// How the arguments of a method are read.
pub(super) fn form(js: Js, command: &'static Command, arguments: &[sys::napi_value]) -> Result<Form, Stop> {
    if arguments.iter().any(|value| is_composite(js, *value)) {
        return Err(Stop::Expand);
    }
    Ok(Form::of(command, &Given { js, arguments })?)
}

/// Name and form of `call(name, …)`. The number of arguments is the server's to judge.
pub(super) fn named(js: Js, arguments: &[sys::napi_value]) -> Result<(String, Form), Stop> {
    let name = arguments
        .first()
        .and_then(|value| text_word(js, *value))
        .filter(|name| is_name(name))
        .ok_or_else(|| {
            Problem::argument("the name of a command must be a word such as 'HSET' or 'JSON.SET'".to_owned())
        })?;
    let arguments = &arguments[1..];
    if arguments.iter().any(|value| is_composite(js, *value)) {
        return Err(Stop::Expand);
    }
    let form = Form::named(&name, &Given { js, arguments })?;
    Ok((name, form))
}

/// Values of JavaScript in place of words.
struct Given<'a> {
    js: Js,
    arguments: &'a [sys::napi_value],
}

impl Words for Given<'_> {
    fn count(&self) -> usize {
        self.arguments.len()
    }

    /// The server does not mind whether it came as text or as bytes: `client(Buffer.from('REPLY'), 'OFF')`.
    fn word(&self, at: usize) -> Option<String> {
        let value = self.arguments[at];
        text_word(self.js, value).or_else(|| argument::with_bytes(self.js, value, upper_case).ok()?)
    }
}

/// A word that is text, in upper case.
fn text_word(js: Js, value: sys::napi_value) -> Option<String> {
    let mut bytes = [0_u8; LONGEST_WORD + 2];
    let mut length = 0;
    // SAFETY: `value` is live in the current callback; at most `bytes.len()` bytes are written.
    let status = unsafe {
        sys::napi_get_value_string_utf8(js.env(), value, bytes.as_mut_ptr().cast(), bytes.len(), &raw mut length)
    };
    if status != Status::napi_ok {
        return None;
    }
    upper_case(&bytes[..length])
}

fn upper_case(word: &[u8]) -> Option<String> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    Some(std::str::from_utf8(word).ok()?.to_ascii_uppercase())
}

/// An object that is no byte array.
fn is_composite(js: Js, value: sys::napi_value) -> bool {
    let mut kind = ValueType::napi_undefined;
    let mut is_typed_array = false;
    // SAFETY: `value` is live in the current callback; both are written on success.
    unsafe {
        sys::napi_typeof(js.env(), value, &raw mut kind) == Status::napi_ok
            && kind == ValueType::napi_object
            && sys::napi_is_typedarray(js.env(), value, &raw mut is_typed_array) == Status::napi_ok
            && !is_typed_array
    }
}
