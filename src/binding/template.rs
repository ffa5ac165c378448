//! Templates: one native function appends the commands of any, given its number and the values of its inputs.
//!
//! JavaScript reads rows and converts values, and says when a template is forgotten; here a call either appends every
//! command of the template or none.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi::bindgen_prelude::{Env, Object, Result};
use napi::sys::{self, Status};
use napi_derive::napi;

use super::append::{self, INLINE, Problem, Stop};
use super::environment::{Environment, State};
use super::fill::Given;
use super::js::{self, Js};
use crate::error::Error;
use crate::pipeline::Committed;
use crate::template::fill::Filling;
use crate::template::{Input, OnNull, Template, compile};

/// The templates of an environment, by number.
#[derive(Default)]
pub(super) struct Templates {
    entries: Vec<Option<Box<Entry>>>,
    free: Vec<usize>,
}

/// A template, and where its commands go.
struct Entry {
    handle: u32,
    template: Template,
    on_null: OnNull,
    /// One of its commands has `{*}`.
    takes_fields: bool,
}

impl Templates {
    fn add(&mut self, entry: Entry) -> usize {
        let number = self.free.pop().unwrap_or(self.entries.len());
        if number == self.entries.len() {
            self.entries.push(None);
        }
        self.entries[number] = Some(Box::new(entry));
        number
    }

    fn remove(&mut self, number: usize) {
        if self.entries.get_mut(number).and_then(Option::take).is_some() {
            self.free.push(number);
        }
    }
}

/// Makes a template of texts, one for each command, for a pipeline. `fill(number, …)` takes the values of `inputs`, and with
/// `star` the fields and values of the row behind them, or all that in one array. Null: `problem` tells.
#[napi(
    catch_unwind,
    ts_args_type = "handle: number, texts: string[], onNull: 'throw' | 'skip' | 'empty'",
    ts_return_type = "{ holes: string[]; inputs: { hole: number; conversion?: string; command: string }[]; star?: string; number: number } | null"
)]
pub(crate) fn template(env: Env, handle: u32, texts: Vec<String>, on_null: String) -> Result<Option<Object<'static>>> {
    // SAFETY: generated functions get the environment that is calling them.
    let js = unsafe { Js::new(env.raw()) };
    let environment = Environment::of(js)?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let template = match compile(&texts) {
        Ok(template) => template,
        Err(error) => {
            environment.problem.replace(Some(Problem {
                error,
                wrong_type: None,
            }));
            return Ok(None);
        }
    };
    let on_null = OnNull::of(&on_null);
    let object = describe(js, &template)?;
    let number = environment.templates.borrow_mut().add(Entry {
        handle,
        takes_fields: template.commands.iter().any(|shape| shape.star.is_some()),
        template,
        on_null,
    });
    js.set(object, "number", js.count(number as u64)?)?;
    Ok(Some(Object::from_raw(js.env(), object)))
}

/// Nobody can call this template any more.
#[napi(catch_unwind)]
pub(crate) fn forget(env: Env, number: u32) -> Result<()> {
    // SAFETY: as in `template`.
    let js = unsafe { Js::new(env.raw()) };
    Environment::of(js)?.templates.borrow_mut().remove(number as usize);
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
/// Called by Node-API alone, for a function whose data pointer is its living environment's state.
pub(super) unsafe extern "C" fn fill(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: `env` is the environment of this very callback.
    let js = unsafe { Js::new(env) };
    let mut inline = [ptr::null_mut(); INLINE];
    // SAFETY: `info` belongs to this callback.
    let Some((count, data)) = (unsafe { arguments(js, info, &mut inline) }) else {
        return ptr::null_mut();
    };
    // SAFETY: the data pointer of a function with this callback is its environment's state, which lives as long as any
    // call, and is used on its own thread alone.
    let environment = unsafe { &*data.cast::<Environment>() };
    let answered = catch_unwind(AssertUnwindSafe(|| {
        let appended = filled(js, environment, info, count, &inline);
        append::answer(js, environment, appended)
    }));
    answered.unwrap_or_else(|_| {
        let panicked = Error::Internal("panic in a template".to_owned());
        append::answer(js, environment, Err(panicked.into()))
    })
}

#[inline]
fn filled(
    js: Js,
    environment: &Environment,
    info: sys::napi_callback_info,
    count: usize,
    inline: &[sys::napi_value; INLINE],
) -> std::result::Result<Committed, Stop> {
    let templates = environment.templates.borrow();
    let number = js.small(inline[0]).ok().map(|number| number as usize);
    let entry = number.and_then(|number| templates.entries.get(number)?.as_deref());
    let Some(entry) = entry else {
        return Err(Error::Internal("no such template".to_owned()).into());
    };
    if count <= INLINE && !entry.takes_fields {
        return append_all(js, environment, entry, &inline[1..count], &[]);
    }
    let mut values = vec![ptr::null_mut(); count];
    // SAFETY: `info` belongs to the callback that is running.
    unsafe { arguments(js, info, &mut values) };
    values.remove(0);
    if !entry.takes_fields {
        return append_all(js, environment, entry, &values, &[]);
    }
    if let [list] = values[..] {
        values = append::elements(js, list).map_err(|_| Error::Internal("no list of values".to_owned()))?;
    }
    let inputs = entry.template.inputs.len().min(values.len());
    append_all(js, environment, entry, &values[..inputs], &values[inputs..])
}

/// How many arguments a call has, of which so many as fit are written to `values`, and its data pointer.
///
/// # Safety
/// `info` is that of the callback that is running.
unsafe fn arguments(
    js: Js,
    info: sys::napi_callback_info,
    values: &mut [sys::napi_value],
) -> Option<(usize, *mut c_void)> {
    let mut count = values.len();
    let mut data = ptr::null_mut();
    // SAFETY: `values` has room for `count`; all are written on success.
    let status = unsafe {
        sys::napi_get_cb_info(
            js.env(),
            info,
            &raw mut count,
            values.as_mut_ptr(),
            ptr::null_mut(),
            &raw mut data,
        )
    };
    (status == Status::napi_ok && !data.is_null()).then_some((count, data))
}

#[inline]
fn append_all(
    js: Js,
    environment: &Environment,
    entry: &Entry,
    values: &[sys::napi_value],
    fields: &[sys::napi_value],
) -> std::result::Result<Committed, Stop> {
    let mut slots = environment.slots.borrow_mut();
    let slot = slots.get(entry.handle).ok_or(Error::Closed)?;
    if let State::Expanding | State::Ended(_) = &slot.state {
        return Err(slot.refusal().into());
    }
    let filling = Filling {
        template: &entry.template,
        on_null: entry.on_null,
        values: Given { js, values, fields },
    };
    Ok(filling.append(&mut slot.pipeline)?)
}
