//! Templates: one native function appends the commands of any, given its number and the values of its inputs.
//!
//! JavaScript reads rows and converts values, and says when a template is forgotten; here a call either appends every
//! command of the template or none.

use napi::sys;

use super::append::{self, INLINE, Problem, Stop};
use super::call::{Call, enter};
use super::fill::Given;
use super::js::{self, Js};
use super::slot::State;
use crate::error::Error;
use crate::pipeline::Committed;
use crate::template::fill::Filling;
use crate::template::{Input, OnNull, Template, compile};

/// A template, and where its commands go.
pub(super) struct Entry {
    handle: u32,
    template: Template,
    on_null: OnNull,
    /// One of its commands has `{*}`.
    takes_fields: bool,
}

/// Makes a template of texts, one for each command, for a pipeline. `fill(number, …)` takes the values of `inputs`, and with
/// `star` the fields and values of the row behind them, or all that in one array. None: `problem` tells.
pub(super) fn template(
    call: Call<'_>,
    handle: u32,
    texts: Vec<String>,
    on_null: String,
) -> Result<Option<sys::napi_value>, Error> {
    let Call { js, instance, .. } = call;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let template = match compile(&texts) {
        Ok(template) => template,
        Err(error) => {
            instance.problem.replace(Some(Problem::of(error)));
            return Ok(None);
        }
    };
    let object = describe(js, &template)?;
    let entry = Entry {
        handle,
        takes_fields: template.commands.iter().any(|shape| shape.star.is_some()),
        template,
        on_null: OnNull::of(&on_null),
    };
    let Some(number) = instance.templates.borrow_mut().add(|_| entry) else {
        return Err(Error::Unsupported("more than a million templates at once".to_owned()));
    };
    js.set(object, "number", js.count(u64::from(number))?)?;
    Ok(Some(object))
}

/// Nobody can call this template any more.
pub(super) fn forget(call: Call<'_>, number: u32) -> Result<(), Error> {
    call.instance.templates.borrow_mut().remove(number);
    Ok(())
}

fn describe(js: Js, template: &Template) -> js::Result<sys::napi_value> {
    let object = js.object()?;
    let holes = js.array(template.holes.len())?;
    for (at, hole) in template.holes.iter().enumerate() {
        js.set_element(holes, at, js.text(hole.as_bytes())?)?;
    }
    js.set(object, "holes", holes)?;
    let inputs = js.array(template.inputs.len())?;
    for (at, input) in template.inputs.iter().enumerate() {
        js.set_element(inputs, at, described(js, input)?)?;
    }
    js.set(object, "inputs", inputs)?;
    if let Some(shape) = template.commands.iter().find(|shape| shape.star.is_some()) {
        js.set(object, "star", js.text(shape.name.as_bytes())?)?;
    }
    Ok(object)
}

/// A hole of -1 is the whole row.
fn described(js: Js, input: &Input) -> js::Result<sys::napi_value> {
    let object = js.object()?;
    let hole = match input.hole {
        Some(hole) => js.count(hole as u64)?,
        None => js.number(-1.0)?,
    };
    js.set(object, "hole", hole)?;
    if let Some(conversion) = input.conversion {
        js.set(object, "conversion", js.text(conversion.name().as_bytes())?)?;
    }
    js.set(object, "command", js.text(input.command.as_bytes())?)?;
    Ok(object)
}

/// `fill(number, …values)`: behind the values of the inputs, for `{*}`, the fields and values of the row. Of a row too
/// large for arguments, one array of all that.
///
/// # Safety
/// Called by Node-API alone, for a function that `Instance::function` has made.
pub(super) unsafe extern "C" fn fill(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let run = |call: Call<'_>, inline: &[sys::napi_value; INLINE]| append::answer(call, filled(call, inline));
    // SAFETY: passed on.
    unsafe { enter(env, info, run, append::refuse) }
}

#[inline]
fn filled(call: Call<'_>, inline: &[sys::napi_value; INLINE]) -> Result<Committed, Stop> {
    let arguments = call.arguments(inline);
    let Some((number, values)) = arguments.split_first() else {
        return Err(Error::Internal("no template".to_owned()).into());
    };
    let number = call.js.small(*number).ok();
    let no_template = || Error::Internal("no such template".to_owned());
    let templates = call.instance.templates.borrow();
    let entry = number
        .and_then(|number| templates.get(number))
        .ok_or_else(no_template)?;
    if !entry.takes_fields {
        return append_all(call, entry, values, &[]);
    }
    let inputs = entry.template.inputs.len();
    let [list] = *values else {
        let (values, fields) = values.split_at(inputs.min(values.len()));
        return append_all(call, entry, values, fields);
    };
    // Nothing is borrowed while elements are read.
    drop(templates);
    let values = append::elements(call.js, list).map_err(|_| Error::Internal("no list of values".to_owned()))?;
    let (values, fields) = values.split_at(inputs.min(values.len()));
    let templates = call.instance.templates.borrow();
    let entry = number
        .and_then(|number| templates.get(number))
        .ok_or_else(no_template)?;
    append_all(call, entry, values, fields)
}

#[inline]
fn append_all(
    call: Call<'_>,
    entry: &Entry,
    values: &[sys::napi_value],
    fields: &[sys::napi_value],
) -> Result<Committed, Stop> {
    let mut slots = call.instance.slots.borrow_mut();
    let slot = slots.get_mut(entry.handle).ok_or(Error::Closed)?;
    if let State::Expanding | State::Ended(_) = &slot.state {
        return Err(slot.refusal().into());
    }
    let filling = Filling {
        template: &entry.template,
        on_null: entry.on_null,
        values: Given {
            js: call.js,
            values,
            fields,
        },
    };
    Ok(filling.append(&mut slot.pipeline)?)
}
