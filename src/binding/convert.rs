//! What a pipeline tells, as JavaScript values.

use std::ptr;

use napi::sys;

use super::instance::Instance;
use super::js::{Js, Result, check};
use super::replies;
use crate::config::{Encoding, Replies};
use crate::error::Error;
use crate::loader::{Answer, Notice, Reason, Report, Totals};
use crate::outcome::{Failure, Origin, Outcome};

/// What a call of `dispatch` is about. `index.js` knows them by the same names.
const EXECUTED: u32 = 1;
const SETTLED: u32 = 2;
const QUERIED: u32 = 3;
const FAILED: u32 = 4;
const RECONNECTED: u32 = 5;
const GIVEN_UP: u32 = 6;
const UNREPORTED: u32 = 7;
const BROKEN: u32 = 8;
const MORE: u32 = 9;
const SUCCEEDED: u32 = 10;

/// Calls `dispatch(handle, kind, …)`; nobody where that cannot be reached any more.
pub(super) fn deliver(js: Js, instance: &Instance, handle: u32, notice: Notice) -> Result<()> {
    let Some(dispatch) = instance.dispatch(js) else {
        return Ok(());
    };
    let (shared, encoding) = {
        let mut slots = instance.slots.borrow_mut();
        let Some(slot) = slots.get_mut(handle) else {
            return Ok(());
        };
        (std::sync::Arc::clone(slot.pipeline.shared()), slot.encoding)
    };
    let call = |kind: u32, details: &[sys::napi_value]| call(js, dispatch, handle, kind, details);
    match notice {
        Notice::Executed { ticket, report } => {
            let collects = shared.config.replies == Replies::Collect;
            if !collects && report.is_plain() {
                let Outcome { commands, bytes, .. } = report.outcome;
                return call(
                    SUCCEEDED,
                    &[js.count(u64::from(ticket))?, js.count(commands)?, js.count(bytes)?],
                );
            }
            shared.taken(report.replies.len());
            // Whatever happens, the promise must hear of it.
            let (result, error) = match batch_result(js, &report, collects, encoding) {
                Ok(result) => (result, report.error),
                Err(_) => (outcome(js, &report.outcome)?, Some(unspeakable())),
            };
            call(
                EXECUTED,
                &[js.count(u64::from(ticket))?, result, maybe_error(js, error.as_ref())?],
            )
        }
        Notice::Settled { ticket } => call(SETTLED, &[js.count(u64::from(ticket))?]),
        Notice::Queried { ticket, reply } => {
            let value = reply.and_then(|bytes| {
                shared.taken(bytes.len());
                replies::one(js, &bytes, encoding).map_err(|_| unspeakable())
            });
            let (value, error) = match value {
                Ok(value) => (value, None),
                Err(error) => (js.undefined()?, Some(error)),
            };
            call(
                QUERIED,
                &[js.count(u64::from(ticket))?, value, maybe_error(js, error.as_ref())?],
            )
        }
        Notice::Answered { ticket, answer: told } => {
            let (value, error) = match told {
                Ok(told) => (answer(js, told)?, None),
                Err(error) => (js.undefined()?, Some(error)),
            };
            call(
                QUERIED,
                &[js.count(u64::from(ticket))?, value, maybe_error(js, error.as_ref())?],
            )
        }
        Notice::Failed(one) => {
            shared.heard(&one);
            let load = match one.origin {
                Some(origin) => js.count(u64::from(origin.load))?,
                None => js.undefined()?,
            };
            call(FAILED, &[failure(js, &one)?, load])
        }
        Notice::Reconnected { reason, address } => {
            let reason: &[u8] = match reason {
                Reason::Rotation => b"rotation",
                Reason::Lost => b"lost",
                Reason::Moved => b"moved",
            };
            call(RECONNECTED, &[js.text(reason)?, js.text(address.as_bytes())?])
        }
        Notice::GivenUp(error) => call(GIVEN_UP, &[maybe_error(js, Some(&error))?]),
        Notice::Unreported { error, outcome: known } => {
            call(UNREPORTED, &[maybe_error(js, Some(&error))?, outcome(js, &known)?])
        }
        Notice::Broken(error) => call(BROKEN, &[maybe_error(js, Some(&error))?]),
    }
}

/// There is more than fits in a turn of the event loop: JavaScript is to come for it.
pub(super) fn more(js: Js, instance: &Instance) -> Result<()> {
    match instance.dispatch(js) {
        Some(dispatch) => call(js, dispatch, 0, MORE, &[]),
        None => Ok(()),
    }
}

fn call(js: Js, dispatch: sys::napi_value, handle: u32, kind: u32, details: &[sys::napi_value]) -> Result<()> {
    let mut arguments = vec![js.count(u64::from(handle))?, js.count(u64::from(kind))?];
    arguments.extend_from_slice(details);
    let this = js.undefined()?;
    let mut result = ptr::null_mut();
    // SAFETY: all values are live in the current scope; no borrow is held that JavaScript could run into.
    check(unsafe {
        sys::napi_call_function(
            js.env(),
            this,
            dispatch,
            arguments.len(),
            arguments.as_ptr(),
            &raw mut result,
        )
    })
}

fn answer(js: Js, answer: Answer) -> Result<sys::napi_value> {
    match answer {
        Answer::Held => js.undefined(),
        Answer::ErrorReplies(None) | Answer::Checkpoint(None) => js.null(),
        Answer::ErrorReplies(Some(count)) => js.count(count),
        Answer::Checkpoint(Some(held)) => {
            let object = js.object()?;
            js.set(object, "batch", js.count(held.batch)?)?;
            if let Some(row) = held.row {
                js.set(object, "row", js.count(row)?)?;
            }
            Ok(object)
        }
    }
}

/// `{ code, message }`: JavaScript makes the error, in its own class.
pub(super) fn maybe_error(js: Js, error: Option<&Error>) -> Result<sys::napi_value> {
    let Some(error) = error else { return js.undefined() };
    let object = js.object()?;
    js.set(object, "code", js.text(error.code().as_bytes())?)?;
    js.set(object, "message", js.text(error.to_string().as_bytes())?)?;
    Ok(object)
}

/// Replies that Node-API makes no values of.
fn unspeakable() -> Error {
    Error::Internal("JavaScript cannot hold the replies".to_owned())
}

fn batch_result(js: Js, report: &Report, collects: bool, encoding: Encoding) -> Result<sys::napi_value> {
    let object = outcome(js, &report.outcome)?;
    if collects {
        js.set(object, "replies", replies::all(js, &report.replies, encoding)?)?;
    }
    Ok(object)
}

pub(super) fn outcome(js: Js, outcome: &Outcome) -> Result<sys::napi_value> {
    let object = counts(js, outcome)?;
    let failures = js.array(outcome.failures.len())?;
    for (at, one) in outcome.failures.iter().enumerate() {
        js.set_element(failures, at, failure(js, one)?)?;
    }
    js.set(object, "failures", failures)?;
    Ok(object)
}

/// An outcome without details.
pub(super) fn counts(js: Js, outcome: &Outcome) -> Result<sys::napi_value> {
    let object = js.object()?;
    js.set(object, "commands", js.count(outcome.commands)?)?;
    js.set(object, "succeeded", js.count(outcome.succeeded)?)?;
    js.set(object, "failed", js.count(outcome.failed)?)?;
    js.set(object, "unknown", js.count(outcome.unknown)?)?;
    js.set(object, "bytes", js.count(outcome.bytes)?)?;
    let errors = js.object()?;
    for (code, count) in &outcome.errors {
        js.set(errors, code, js.count(*count)?)?;
    }
    js.set(object, "errors", errors)?;
    Ok(object)
}

/// Adds what only totals have.
pub(super) fn add_totals(js: Js, object: sys::napi_value, totals: &Totals, elapsed_ms: f64) -> Result<()> {
    js.set(object, "batches", js.count(totals.batches)?)?;
    js.set(object, "reconnects", js.count(totals.reconnects)?)?;
    js.set(object, "resent", js.count(totals.resent)?)?;
    js.set(object, "elapsedMs", js.number(elapsed_ms)?)
}

fn failure(js: Js, failure: &Failure) -> Result<sys::napi_value> {
    let object = js.object()?;
    js.set(object, "index", js.count(failure.index)?)?;
    if let Some(Origin { row, line, .. }) = failure.origin {
        js.set(object, "row", js.count(row)?)?;
        if let Some(line) = line {
            js.set(object, "line", js.count(line)?)?;
        }
    }
    js.set(object, "command", js.text(failure.command.as_bytes())?)?;
    if let Some(key) = &failure.key {
        js.set(object, "key", js.buffer(key)?)?;
    }
    js.set(object, "code", js.text(failure.code.as_bytes())?)?;
    js.set(object, "message", js.text(failure.message.as_bytes())?)?;
    Ok(object)
}
