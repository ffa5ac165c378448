//! What is called once a row: by hand, because a generated function costs more than the whole of an append.
//!
//! As with the commands, JavaScript passes a handle, and what belongs to the environment is in the data pointer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi::sys;

use super::append;
use super::environment::{Environment, Slot, State};
use super::js::{Callback, Failed, Js, Result};
use super::load;
use super::template;

/// `{ append, appendList, length, needsDrain, expand, expanded }`, each a function of a handle, and `fill`, of a template;
/// `beginRow` and `endRow` are of a load.
pub(super) fn functions(js: Js, environment: &'static Environment) -> Result<sys::napi_value> {
    let object = js.object()?;
    for (name, callback) in [
        ("append", append::append as Callback),
        ("appendList", append::append_list),
        ("fill", template::fill),
        ("beginRow", load::begin_row),
        ("endRow", load::end_row),
        ("length", length),
        ("needsDrain", needs_drain),
        ("expand", expand),
        ("expanded", expanded),
    ] {
        // SAFETY: the callbacks take the environment's state as their data, which lives as long as any call.
        let function = unsafe { js.function(name, callback, ptr::from_ref(environment).cast())? };
        js.set(object, name, function)?;
    }
    Ok(object)
}

/// Commands appended and not executed.
unsafe extern "C" fn length(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: called by Node-API with what belongs to this call.
    unsafe { with(env, info, |js, slot| js.count(slot.pipeline.request.commands())) }
}

/// Bytes executed and not yet answered are above an eighth of the ceiling.
unsafe extern "C" fn needs_drain(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as in `length`.
    unsafe { with(env, info, |js, slot| js.boolean(slot.pipeline.shared().needs_drain())) }
}

/// JavaScript spells out an argument, which may run code of the user's: nothing can be appended meanwhile.
unsafe extern "C" fn expand(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as in `length`.
    unsafe { with(env, info, |js, slot| turn(js, slot, &State::Open, State::Expanding)) }
}

/// It has.
unsafe extern "C" fn expanded(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    // SAFETY: as in `length`.
    unsafe { with(env, info, |js, slot| turn(js, slot, &State::Expanding, State::Open)) }
}

fn turn(js: Js, slot: &mut Slot, from: &State, to: State) -> Result<sys::napi_value> {
    if std::mem::discriminant(&slot.state) == std::mem::discriminant(from) {
        slot.state = to;
    }
    js.undefined()
}

/// Null, which JavaScript sees as undefined, where there is no such pipeline.
///
/// # Safety
/// As for [`with_arguments`].
unsafe fn with(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    look: impl FnOnce(Js, &mut Slot) -> Result<sys::napi_value>,
) -> sys::napi_value {
    // SAFETY: passed on.
    unsafe {
        with_arguments(env, info, |js, environment, [handle]| {
            let mut slots = environment.slots.borrow_mut();
            look(js, slots.of(js, handle).map_err(|_| Failed)?)
        })
    }
}

/// Null, which JavaScript sees as undefined, where that fails.
///
/// # Safety
/// Called from a callback of Node-API with its own arguments, whose data pointer is the environment's state.
pub(super) unsafe fn with_arguments<const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    look: impl FnOnce(Js, &Environment, [sys::napi_value; N]) -> Result<sys::napi_value>,
) -> sys::napi_value {
    // SAFETY: `env` is the environment of this very callback.
    let js = unsafe { Js::new(env) };
    let (mut count, mut values, mut data) = (N, [ptr::null_mut(); N], ptr::null_mut());
    // SAFETY: `values` has room for as many as are asked for; all are written on success.
    let status = unsafe {
        sys::napi_get_cb_info(
            env,
            info,
            &raw mut count,
            values.as_mut_ptr(),
            ptr::null_mut(),
            &raw mut data,
        )
    };
    if status != sys::Status::napi_ok || data.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the data pointer of these functions is the environment's state; see `functions`.
    let environment = unsafe { &*data.cast::<Environment>() };
    let looked = catch_unwind(AssertUnwindSafe(|| look(js, environment, values).ok()));
    looked.ok().flatten().unwrap_or(ptr::null_mut())
}
