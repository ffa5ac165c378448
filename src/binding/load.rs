//! Loads whose rows come from JavaScript. While a row is made commands of, the load's own batch stands in for that of the pipeline:
//! the mapper appends with the pipeline's methods.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use napi::sys;

use super::call::Call;
use super::convert;
use super::slot::Slot;
use crate::error::Error;
use crate::load::{Load, Next};
use crate::pipeline::Pipeline;
use crate::rows::FailureLimit;
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

/// Begins a load; returns its number. Once `maxFailed` of its commands have failed it says that it is to stop; NaN: where
/// it does nothing but fail.
pub(super) fn open_load(call: Call<'_>, handle: u32, max_failed: f64) -> Result<u32, Error> {
    call.with(handle, |slot| {
        let shared = slot.pipeline.shared();
        let number = slot.loads.number();
        let load = Load::new(shared, number, limit_of(max_failed));
        let pipeline = Pipeline::for_load(Arc::clone(shared));
        slot.loads.under_way.insert(number, Rows { load, pipeline });
        number
    })
}

/// What is appended from here on belongs to that row. False where the pipeline has ended.
pub(super) fn begin_row(call: Call<'_>, handle: u32, number: u32, row: f64) -> Result<bool, Error> {
    let begun = call.with(handle, |slot| {
        !slot.has_ended() && slot.begin_row(number, as_count(row)).is_some()
    });
    Ok(begun.unwrap_or(false))
}

/// Returns what to do next, undefined for going on.
pub(super) fn end_row(call: Call<'_>, handle: u32) -> Result<Option<u32>, Error> {
    let next = call.with(handle, |slot| slot.end_row(Load::end_row))?;
    Ok(match next {
        Next::GoOn => None,
        next => Some(code_of(next)),
    })
}

/// The row makes no command. Returns what `endRow` returns.
pub(super) fn fail_row(
    call: Call<'_>,
    handle: u32,
    command: String,
    code: String,
    message: String,
) -> Result<u32, Error> {
    call.with(handle, |slot| {
        code_of(slot.end_row(|load, pipeline| load.fail_row(pipeline, &command, &code, &message)))
    })
}

/// As if the row had never begun.
pub(super) fn undo_row(call: Call<'_>, handle: u32) -> Result<(), Error> {
    call.with(handle, Slot::leave_row)
}

/// Executes what the load has appended by now.
pub(super) fn execute_load(call: Call<'_>, handle: u32, number: u32) -> Result<(), Error> {
    call.with(handle, |slot| {
        if let Some(Rows { load, pipeline }) = slot.loads.under_way.get_mut(&number) {
            load.execute(pipeline);
        } else if let Some(import) = slot.loads.imports.get(&number) {
            import.execute();
        }
    })
}

/// Dispatches under `ticket` once so little is on its way that a load should go on.
pub(super) fn rest(call: Call<'_>, handle: u32, ticket: u32) -> Result<(), Error> {
    call.with(handle, |slot| slot.pipeline.shared().rest(ticket))
}

/// Ends a load: executes the rest, or forgets it, and dispatches under `ticket` what became of all.
pub(super) fn close_load(call: Call<'_>, handle: u32, number: u32, ticket: u32, forget: bool) -> Result<(), Error> {
    call.with(handle, |slot| {
        if let Some(Rows { load, pipeline }) = slot.loads.under_way.get_mut(&number) {
            if forget {
                pipeline.discard();
            }
            load.close(pipeline, ticket);
        }
    })
}

/// A look at a load: counts without details.
pub(super) fn load_stats(call: Call<'_>, handle: u32, number: u32) -> Result<sys::napi_value, Error> {
    let known = call.with(handle, |slot| {
        let rows = slot.loads.under_way.get(&number).map(|rows| rows.load.tally().look());
        let import = || slot.loads.imports.get(&number);
        rows.or_else(|| import().map(|import| import.tally().look()))
    })?;
    let js = call.js;
    let known = known.unwrap_or_default();
    let object = convert::counts(js, &known.outcome)?;
    js.set(object, "batches", js.count(known.batches)?)?;
    js.set(object, "isGivenUp", js.boolean(known.error.is_some())?)?;
    Ok(object)
}

/// Nobody asks about it any more.
pub(super) fn forget_load(call: Call<'_>, handle: u32, number: u32) -> Result<(), Error> {
    call.with(handle, |slot| {
        slot.loads.under_way.remove(&number);
        slot.loads.imports.remove(&number);
    })
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

pub(super) fn limit_of(max_failed: f64) -> FailureLimit {
    if max_failed.is_nan() {
        FailureLimit::Hopeless
    } else {
        FailureLimit::Commands(as_count(max_failed))
    }
}
