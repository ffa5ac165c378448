//! The one way in: whatever Node-API calls passes through here, be it a function that JavaScript calls, a notice or the end of
//! something. What is called finds its instance in the data pointer; a panic ends here and is an error, or nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi::bindgen_prelude::FromNapiValue;
use napi::sys::{self, Status};

use super::instance::Instance;
use super::js::{self, Failed, Js};
use super::slot::Slot;
use crate::error::Error;

/// Runs what Node-API has called, which no panic may leave: the process would end. None where it panicked.
#[inline]
pub(super) fn guarded<T>(body: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(body)).ok()
}

/// A call of JavaScript's.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) js: Js,
    pub(super) instance: &'a Instance,
    info: sys::napi_callback_info,
    /// How many arguments it has.
    count: usize,
}

impl Call<'_> {
    pub(super) fn with<T>(self, handle: u32, look: impl FnOnce(&mut Slot) -> T) -> Result<T, Error> {
        let mut slots = self.instance.slots.borrow_mut();
        Ok(look(slots.get_mut(handle).ok_or(Error::Closed)?))
    }

    /// Looks at a pipeline; `None` if there is no such pipeline.
    #[inline]
    pub(super) fn look<T>(self, handle: u32, look: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        Some(look(self.instance.slots.borrow_mut().get_mut(handle)?))
    }

    /// All arguments of a call: a part of `inline` where they have room there.
    #[inline]
    pub(super) fn arguments(self, inline: &[sys::napi_value]) -> Arguments<'_> {
        match inline.get(..self.count) {
            Some(given) => Arguments::Inline(given),
            None => Arguments::Many(self.many()),
        }
    }

    #[cold]
    fn many(self) -> Vec<sys::napi_value> {
        let mut count = self.count;
        let mut values = vec![ptr::null_mut(); count];
        // SAFETY: `info` is that of the callback that is running; `values` holds as many values as the call has.
        unsafe {
            sys::napi_get_cb_info(
                self.js.env(),
                self.info,
                &raw mut count,
                values.as_mut_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        values
    }
}

pub(super) enum Arguments<'a> {
    Inline(&'a [sys::napi_value]),
    Many(Vec<sys::napi_value>),
}

impl std::ops::Deref for Arguments<'_> {
    type Target = [sys::napi_value];

    #[inline]
    fn deref(&self) -> &[sys::napi_value] {
        match self {
            Self::Inline(values) => values,
            Self::Many(values) => values,
        }
    }
}

/// Answers a call: `run` sees the first arguments, as many as `N`, undefined where there are less. `refuse` answers where that
/// panics.
///
/// # Safety
/// Called by Node-API with what belongs to this call, for a function that [`Instance::function`] has made.
#[inline]
pub(super) unsafe fn enter<const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    run: impl FnOnce(Call<'_>, &[sys::napi_value; N]) -> sys::napi_value,
    refuse: impl FnOnce(Call<'_>, Error) -> sys::napi_value,
) -> sys::napi_value {
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
    if status != Status::napi_ok || data.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the data pointer of such a function is its instance, which lives as long as the function, and that as long as
    // this call; it is used on its own thread alone.
    let instance = unsafe { &*data.cast::<Instance>() };
    let call = Call {
        // SAFETY: `env` is the environment of this very call, and the instance's.
        js: unsafe { instance.js(env) },
        instance,
        info,
        count,
    };
    match guarded(|| run(call, &values)) {
        Some(answer) => answer,
        None => guarded(|| refuse(call, Error::Internal("a panic in the addon".to_owned()))).unwrap_or(ptr::null_mut()),
    }
}

/// Throws `error` in JavaScript.
pub(super) fn throw(call: Call<'_>, error: Error) -> sys::napi_value {
    call.js.throw(&error);
    ptr::null_mut()
}

/// A function of Rust's that JavaScript calls with arguments of these types; what goes wrong is thrown.
pub(super) trait Typed<Parameters>: Copy {
    /// # Safety
    /// As for [`enter`].
    unsafe fn answer(self, env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value;
}

macro_rules! typed {
    ($count:literal $(, $parameter:ident $value:ident)*) => {
        impl<F, R, $($parameter),*> Typed<($($parameter,)*)> for F
        where
            F: Fn(Call<'_> $(, $parameter)*) -> Result<R, Error> + Copy,
            R: Answer,
            $($parameter: FromNapiValue),*
        {
            #[inline]
            unsafe fn answer(self, env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
                let run = |call: Call<'_>, values: &[sys::napi_value; $count]| {
                    let [$($value),*] = *values;
                    let answer = || -> Result<sys::napi_value, Error> {
                        // SAFETY: the values are those of the call that is running in this environment.
                        let answer = self(call $(, unsafe { $parameter::from_napi_value(env, $value) }.map_err(unreadable)?)*)?;
                        Ok(answer.answer(call.js)?)
                    };
                    answer().unwrap_or_else(|error| throw(call, error))
                };
                // SAFETY: passed on.
                unsafe { enter(env, info, run, throw) }
            }
        }
    };
}

typed!(0);
typed!(1, A a);
typed!(2, A a, B b);
typed!(3, A a, B b, C c);
typed!(4, A a, B b, C c, D d);
typed!(5, A a, B b, C c, D d, E e);

fn unreadable(error: napi::Error) -> Error {
    Error::Internal(error.reason)
}

impl From<Failed> for Error {
    fn from(_: Failed) -> Self {
        Self::Internal("Node-API refused a call".to_owned())
    }
}

/// A result of a typed function, as a value of JavaScript.
pub(super) trait Answer {
    fn answer(self, js: Js) -> js::Result<sys::napi_value>;
}

/// A null pointer is undefined in JavaScript.
impl Answer for () {
    fn answer(self, _: Js) -> js::Result<sys::napi_value> {
        Ok(ptr::null_mut())
    }
}

impl Answer for sys::napi_value {
    fn answer(self, _: Js) -> js::Result<sys::napi_value> {
        Ok(self)
    }
}

impl Answer for bool {
    fn answer(self, js: Js) -> js::Result<sys::napi_value> {
        js.boolean(self)
    }
}

impl Answer for u32 {
    fn answer(self, js: Js) -> js::Result<sys::napi_value> {
        js.count(u64::from(self))
    }
}

impl Answer for u64 {
    fn answer(self, js: Js) -> js::Result<sys::napi_value> {
        js.count(self)
    }
}

/// None is undefined.
impl<T: Answer> Answer for Option<T> {
    fn answer(self, js: Js) -> js::Result<sys::napi_value> {
        self.map_or(Ok(ptr::null_mut()), |answer| answer.answer(js))
    }
}

/// A value as it is.
#[derive(Clone, Copy)]
pub(super) struct Value(pub(super) sys::napi_value);

impl FromNapiValue for Value {
    unsafe fn from_napi_value(_: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        Ok(Self(value))
    }
}

/// The callback by which Node-API calls a [`Typed`] function: `typed_callback!(path)`.
macro_rules! typed_callback {
    ($function:expr) => {{
        unsafe extern "C" fn callback(
            env: napi::sys::napi_env,
            info: napi::sys::napi_callback_info,
        ) -> napi::sys::napi_value {
            // SAFETY: Node-API alone calls this, for a function that `Instance::function` has made.
            unsafe { $crate::binding::call::Typed::answer($function, env, info) }
        }
        callback as $crate::binding::js::Callback
    }};
}
pub(super) use typed_callback;
