//! Loads whose rows come from JavaScript. While a row is made commands of, the load's own batch stands in for that of the pipeline:
//! the mapper appends with the pipeline's methods.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use napi::bindgen_prelude::{Env, Object, Result};
use napi::sys;
use napi_derive::napi;

use super::convert;
use super::environment::Slot;
use super::frequent::with_arguments;
use super::js::Failed;
use super::surface::{js, with};
use crate::load::{Load, Next};
use crate::pipeline::Pipeline;
use crate::source::import::Import;

/// The loads of a pipeline, by number.
#[derive(Default)]
pub(super) struct Loads {
    /// Of the next one.
    number: u32,
    under_way: HashMap<u32, Rows>,
    /// Those whose rows come from a file.
    pub(super) imports: HashMap<u32, Arc<Import>>,
    /// Whose batch stands in for that of the pipeline.
    row_of: Option<u32>,
}

/// A load whose rows come from JavaScript.
struct Rows {
    load: Load,
    /// What it appends to; while a row is under way, what the pipeline appends to otherwise.
    pipeline: Pipeline,
}

impl Loads {
    /// The number of the next one.
    pub(super) fn number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }
}

impl Slot {
    /// From here on, a load's batch stands in.
    fn begin_row(&mut self, number: u32, row: u64) -> Option<()> {
        self.leave_row();
        let rows = self.loads.under_way.get_mut(&number)?;
        mem::swap(&mut self.pipeline, &mut rows.pipeline);
        rows.load.begin_row(&self.pipeline, row, None);
        self.loads.row_of = Some(number);
        Some(())
    }

    /// The same for the end: `end` sees the load and its batch.
    fn end_row(&mut self, end: impl FnOnce(&mut Load, &mut Pipeline) -> Next) -> Next {
        let number = self.loads.row_of.take();
        let Some(rows) = number.and_then(|number| self.loads.under_way.get_mut(&number)) else {
            return Next::Stop;
        };
        let next = end(&mut rows.load, &mut self.pipeline);
        mem::swap(&mut self.pipeline, &mut rows.pipeline);
        next
    }

    fn leave_row(&mut self) {
        if self.loads.row_of.is_some() {
            self.end_row(|load, pipeline| {
                load.undo_row(pipeline);
                Next::GoOn
            });
        }
    }

    /// Nothing can be appended any more, by loads either.
    pub(super) fn end_loads(&mut self) {
        self.leave_row();
        for rows in self.loads.under_way.values_mut() {
            rows.pipeline.retire();
        }
        for import in self.loads.imports.values() {
            import.stop();
        }
    }
}

/// Begins a load; returns its number. Once `maxFailed` of its commands have failed it says that it is to stop.
#[napi(catch_unwind, ts_args_type = "handle: number, maxFailed: number")]
pub(crate) fn open_load(env: Env, handle: u32, max_failed: f64) -> Result<u32> {
    with(env, handle, |slot| {
        let shared = slot.pipeline.shared();
        let number = slot.loads.number();
        let load = Load::new(shared, number, as_count(max_failed));
        let pipeline = Pipeline::for_load(Arc::clone(shared));
        slot.loads.under_way.insert(number, Rows { load, pipeline });
        number
    })
}

/// The row makes no command. Returns what `endRow` returns.
#[napi(catch_unwind)]
pub(crate) fn fail_row(env: Env, handle: u32, command: String, code: String, message: String) -> Result<u32> {
    with(env, handle, |slot| {
        code_of(slot.end_row(|load, pipeline| load.fail_row(pipeline, &command, &code, &message)))
    })
}

/// As if the row had never begun.
#[napi(catch_unwind)]
pub(crate) fn undo_row(env: Env, handle: u32) -> Result<()> {
    with(env, handle, Slot::leave_row)
}

/// Executes what the load has appended by now.
#[napi(catch_unwind)]
pub(crate) fn execute_load(env: Env, handle: u32, number: u32) -> Result<()> {
    with(env, handle, |slot| {
        if let Some(Rows { load, pipeline }) = slot.loads.under_way.get_mut(&number) {
            load.execute(pipeline);
        } else if let Some(import) = slot.loads.imports.get(&number) {
            import.execute();
        }
    })
}

/// Dispatches under `ticket` once so little is on its way that a load should go on.
#[napi(catch_unwind)]
pub(crate) fn rest(env: Env, handle: u32, ticket: u32) -> Result<()> {
    with(env, handle, |slot| slot.pipeline.shared().rest(ticket))
}

/// Ends a load: executes the rest, or forgets it, and dispatches under `ticket` what became of all.
#[napi(catch_unwind)]
pub(crate) fn close_load(env: Env, handle: u32, number: u32, ticket: u32, forget: bool) -> Result<()> {
    with(env, handle, |slot| {
        if let Some(Rows { load, pipeline }) = slot.loads.under_way.get_mut(&number) {
            if forget {
                pipeline.discard();
            }
            load.close(pipeline, ticket);
        }
    })
}

/// A look at a load: counts without details.
#[napi(catch_unwind, ts_return_type = "Record<string, unknown>")]
pub(crate) fn load_stats(env: Env, handle: u32, number: u32) -> Result<Object<'static>> {
    let known = with(env, handle, |slot| {
        let rows = slot.loads.under_way.get(&number).map(|rows| rows.load.tally().look());
        let import = || slot.loads.imports.get(&number);
        rows.or_else(|| import().map(|import| import.tally().look()))
    })?;
    let js = js(env);
    let known = known.unwrap_or_default();
    let object = convert::counts(js, &known.outcome)?;
    js.set(object, "batches", js.count(known.batches)?)?;
    js.set(object, "isGivenUp", js.boolean(known.error.is_some())?)?;
    Ok(Object::from_raw(js.env(), object))
}

/// Nobody asks about it any more.
#[napi(catch_unwind)]
pub(crate) fn forget_load(env: Env, handle: u32, number: u32) -> Result<()> {
    with(env, handle, |slot| {
        slot.loads.under_way.remove(&number);
        slot.loads.imports.remove(&number);
    })
}

/// `beginRow(handle, load, row)`: what is appended from here on belongs to that row. False where the pipeline has ended.
///
/// # Safety
/// Called by Node-API alone, for a function whose data pointer is its living environment's state.
pub(super) unsafe extern "C" fn begin_row(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with what belongs to this call.
    unsafe {
        with_arguments(env, info, |js, environment, [handle, number, row]| {
            let mut slots = environment.slots.borrow_mut();
            let slot = slots.of(js, handle).map_err(|_| Failed)?;
            let (number, row) = (js.small(number)?, as_count(js.double(row)?));
            let begun = !slot.has_ended() && slot.begin_row(number, row).is_some();
            js.boolean(begun)
        })
    }
}

/// `endRow(handle)`: returns what to do next, undefined for going on.
///
/// # Safety
/// As [`begin_row`].
pub(super) unsafe extern "C" fn end_row(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with what belongs to this call.
    unsafe {
        with_arguments(env, info, |js, environment, [handle]| {
            let mut slots = environment.slots.borrow_mut();
            let slot = slots.of(js, handle).map_err(|_| Failed)?;
            match slot.end_row(Load::end_row) {
                Next::GoOn => Ok(std::ptr::null_mut()),
                next => js.count(u64::from(code_of(next))),
            }
        })
    }
}

/// As `lib/load.js` knows them.
fn code_of(next: Next) -> u32 {
    match next {
        Next::GoOn => 0,
        Next::Wait => 1,
        Next::Stop => 2,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number or infinity, which saturates"
)]
pub(super) fn as_count(number: f64) -> u64 {
    number as u64
}
