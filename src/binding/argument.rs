//! Reads one JavaScript value into the request: strings first, then numbers, then bytes.

use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use napi::sys::{self, Status, TypedarrayType, ValueType};

use super::js::Js;
use crate::command::{self, Role};
use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::resp::request::{BadText, MAX_ARGUMENT};
use crate::template::fill;

/// Why a value is no argument.
#[derive(Debug)]
pub(super) enum Refusal {
    /// An array, an object or a Map: perhaps in place of several arguments.
    Composite,
    /// Neither text nor number nor bytes. JavaScript knows best how to call it.
    WrongType,
    /// What is wrong with it: behind "argument 2 of hset ".
    Because(&'static str),
    Full(Error),
}

impl From<Refusal> for fill::Refusal {
    #[cold]
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Composite | Refusal::WrongType => Self::WrongType,
            Refusal::Because(reason) => Self::Because(reason),
            Refusal::Full(error) => Self::Full(error),
        }
    }
}

/// Strings up to here are read with one call. 8 KiB of stack.
const SHORT_UNITS: usize = 4096;

/// Appends `value` to the open command.
#[inline]
pub(super) fn append(js: Js, pipeline: &mut Pipeline, value: sys::napi_value, role: Role) -> Result<(), Refusal> {
    let mut units = [MaybeUninit::<u16>::uninit(); SHORT_UNITS];
    let mut length = 0;
    // SAFETY: `value` is live in the current callback; at most `SHORT_UNITS` units are written to `units`, and their
    // number less the closing zero to `length`.
    let status = unsafe {
        sys::napi_get_value_string_utf16(js.env(), value, units.as_mut_ptr().cast(), SHORT_UNITS, &raw mut length)
    };
    if status != Status::napi_ok {
        return append_other(js, pipeline, value, role);
    }
    if length >= SHORT_UNITS - 1 {
        return append_long_text(js, pipeline, value);
    }
    // SAFETY: the call above has written `length` units.
    let text = unsafe { slice::from_raw_parts(units.as_ptr().cast::<u16>(), length) };
    if role == Role::Score && !is_score(text) {
        return Err(Refusal::Because("is no valid score"));
    }
    append_text(pipeline, text)
}

#[inline]
fn append_text(pipeline: &mut Pipeline, text: &[u16]) -> Result<(), Refusal> {
    pipeline.request.utf16(text).map_err(refused_text)
}

#[cold]
pub(super) fn refused_text(bad: BadText) -> Refusal {
    match bad {
        BadText::LoneSurrogate => Refusal::Because(fill::HALF_PAIR),
        BadText::TooLong => too_long(),
    }
}

fn too_long() -> Refusal {
    Refusal::Because(fill::TOO_LONG)
}

/// Text that may be of any length: asked for that first, so that nothing is copied in vain.
#[cold]
fn append_long_text(js: Js, pipeline: &mut Pipeline, value: sys::napi_value) -> Result<(), Refusal> {
    let mut length = 0;
    // SAFETY: `value` is a live string; without a buffer only its length is written.
    let status = unsafe { sys::napi_get_value_string_utf16(js.env(), value, ptr::null_mut(), 0, &raw mut length) };
    if status != Status::napi_ok {
        return Err(Refusal::WrongType);
    }
    if length > MAX_ARGUMENT {
        return Err(too_long());
    }
    pipeline.expect_room(length).map_err(Refusal::Full)?;
    let mut units = vec![0_u16; length + 1];
    let mut written = 0;
    // SAFETY: `units` holds the text and its closing zero.
    let status = unsafe {
        sys::napi_get_value_string_utf16(
            js.env(),
            value,
            units.as_mut_ptr().cast(),
            units.len(),
            &raw mut written,
        )
    };
    if status != Status::napi_ok {
        return Err(Refusal::WrongType);
    }
    append_text(pipeline, &units[..written])
}

/// Appends what is no string.
pub(super) fn append_other(js: Js, pipeline: &mut Pipeline, value: sys::napi_value, role: Role) -> Result<(), Refusal> {
    let mut number = 0.0;
    // SAFETY: `value` is live in the current callback; `number` is written on success.
    if unsafe { sys::napi_get_value_double(js.env(), value, &raw mut number) } == Status::napi_ok {
        return append_number(pipeline, number, role);
    }
    let mut kind = ValueType::napi_undefined;
    // SAFETY: as above.
    if unsafe { sys::napi_typeof(js.env(), value, &raw mut kind) } != Status::napi_ok {
        return Err(Refusal::WrongType);
    }
    match kind {
        ValueType::napi_bigint => append_bigint(js, pipeline, value, role),
        ValueType::napi_object => append_bytes(js, pipeline, value),
        _ => Err(Refusal::WrongType),
    }
}

fn append_number(pipeline: &mut Pipeline, number: f64, role: Role) -> Result<(), Refusal> {
    /// `Number.MAX_SAFE_INTEGER`
    const MAX_SAFE: f64 = 9_007_199_254_740_991.0;
    if number.is_nan() {
        return Err(Refusal::Because("is NaN"));
    }
    if number.is_infinite() {
        if role != Role::Score {
            return Err(Refusal::Because("is infinite, which only a score may be"));
        }
        pipeline.request.bytes(if number > 0.0 { b"+inf" } else { b"-inf" });
        return Ok(());
    }
    if role == Role::Integer && number.abs() > MAX_SAFE {
        return Err(Refusal::Because(
            "is an integer beyond 2^53, which a number holds only about: use a BigInt",
        ));
    }
    pipeline.request.number(number);
    Ok(())
}

fn append_bigint(js: Js, pipeline: &mut Pipeline, value: sys::napi_value, role: Role) -> Result<(), Refusal> {
    let mut integer = 0;
    let mut lossless = false;
    // SAFETY: `value` is a live bigint; both are written on success.
    let status = unsafe { sys::napi_get_value_bigint_int64(js.env(), value, &raw mut integer, &raw mut lossless) };
    if status != Status::napi_ok {
        return Err(Refusal::WrongType);
    }
    if lossless {
        pipeline.request.integer(integer);
        return Ok(());
    }
    if role == Role::Integer {
        return Err(Refusal::Because("is beyond 64 bits"));
    }
    let mut text = ptr::null_mut();
    // SAFETY: `value` is a live bigint: a primitive, whose conversion runs no code of the user's.
    let status = unsafe { sys::napi_coerce_to_string(js.env(), value, &raw mut text) };
    if status != Status::napi_ok {
        return Err(Refusal::WrongType);
    }
    append_long_text(js, pipeline, text)
}

fn append_bytes(js: Js, pipeline: &mut Pipeline, value: sys::napi_value) -> Result<(), Refusal> {
    with_bytes(js, value, |bytes| {
        if bytes.len() > MAX_ARGUMENT {
            return Err(too_long());
        }
        if bytes.len() > SHORT_UNITS {
            pipeline.expect_room(bytes.len()).map_err(Refusal::Full)?;
        }
        pipeline.request.bytes(bytes);
        Ok(())
    })?
}

/// Reads a Uint8Array, which every Buffer is.
///
/// # Errors
/// Where `value` is none, or its memory is shared or gone.
pub(super) fn with_bytes<T>(js: Js, value: sys::napi_value, read: impl FnOnce(&[u8]) -> T) -> Result<T, Refusal> {
    let mut is_typed_array = false;
    // SAFETY: `value` is live in the current callback.
    let status = unsafe { sys::napi_is_typedarray(js.env(), value, &raw mut is_typed_array) };
    if status != Status::napi_ok || !is_typed_array {
        return Err(Refusal::Composite);
    }
    let mut kind: sys::napi_typedarray_type = 0;
    let mut length = 0;
    let mut data = ptr::null_mut();
    let mut memory = ptr::null_mut();
    // SAFETY: `value` is a typed array; all are written on success.
    let status = unsafe {
        sys::napi_get_typedarray_info(
            js.env(),
            value,
            &raw mut kind,
            &raw mut length,
            &raw mut data,
            &raw mut memory,
            ptr::null_mut(),
        )
    };
    if status != Status::napi_ok || kind != TypedarrayType::uint8_array {
        return Err(Refusal::WrongType);
    }
    let mut exclusive = false;
    // SAFETY: `memory` is the live value written above.
    let status = unsafe { sys::napi_is_arraybuffer(js.env(), memory, &raw mut exclusive) };
    if status != Status::napi_ok || !exclusive {
        return Err(Refusal::Because(
            "lies in shared memory, which another thread could change meanwhile: copy it",
        ));
    }
    if length == 0 || data.is_null() {
        // Empty, or detached, or out of bounds of a buffer that shrank: Node-API does not tell.
        if !js.is_usable_view(value) {
            return Err(Refusal::Because("is a view of memory that was detached or has shrunk"));
        }
        return Ok(read(b""));
    }
    // SAFETY: `data` points to `length` bytes that belong to the array, in memory of this thread alone; no JavaScript
    // runs while they are read.
    Ok(read(unsafe { slice::from_raw_parts(data.cast::<u8>(), length) }))
}

fn is_score(text: &[u16]) -> bool {
    String::from_utf16(text).is_ok_and(|text| command::is_score(&text))
}
