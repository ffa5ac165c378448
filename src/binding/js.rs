//! The few Node-API calls that values are made with, each checked.

use std::ffi::c_void;
use std::ptr;

use napi::sys::{self, PropertyAttributes};

use crate::error::Error;

/// A Node-API call failed; JavaScript is shutting down, or an exception is pending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed;

pub(super) type Result<T> = std::result::Result<T, Failed>;

/// The Node-API environment of the current call. It never outlives that.
#[derive(Clone, Copy)]
pub(super) struct Js {
    env: sys::napi_env,
    /// `Uint8Array.prototype.at`, weakly: see [`is_usable_view`](Js::is_usable_view). Null where no arguments are read.
    at: sys::napi_ref,
}

/// The native side of a function.
pub(super) type Callback = unsafe extern "C" fn(sys::napi_env, sys::napi_callback_info) -> sys::napi_value;

pub(super) fn check(status: sys::napi_status) -> Result<()> {
    if status == sys::Status::napi_ok {
        Ok(())
    } else {
        Err(Failed)
    }
}

/// Makes one value with the call given.
macro_rules! made {
    ($js:expr, $function:ident $(, $argument:expr)*) => {{
        let mut value = ptr::null_mut();
        // SAFETY: the environment is that of the current call on its own thread, the pointers are valid for the
        // call, and `value` is written on success.
        check(unsafe { sys::$function($js.env $(, $argument)*, &raw mut value) })?;
        Ok(value)
    }};
}

impl Js {
    /// # Safety
    /// `env` is the environment of the callback that is running on this thread.
    pub(super) unsafe fn new(env: sys::napi_env) -> Self {
        Self {
            env,
            at: ptr::null_mut(),
        }
    }

    /// # Safety
    /// As [`new`](Js::new); `at` is a reference of that environment to the built-in `Uint8Array.prototype.at`.
    #[inline]
    pub(super) unsafe fn with_views(env: sys::napi_env, at: sys::napi_ref) -> Self {
        Self { env, at }
    }

    pub(super) fn env(self) -> sys::napi_env {
        self.env
    }

    pub(super) fn undefined(self) -> Result<sys::napi_value> {
        made!(self, napi_get_undefined)
    }

    pub(super) fn null(self) -> Result<sys::napi_value> {
        made!(self, napi_get_null)
    }

    pub(super) fn boolean(self, boolean: bool) -> Result<sys::napi_value> {
        made!(self, napi_get_boolean, boolean)
    }

    pub(super) fn number(self, number: f64) -> Result<sys::napi_value> {
        made!(self, napi_create_double, number)
    }

    /// A count; exact to 2^53.
    pub(super) fn count(self, count: u64) -> Result<sys::napi_value> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "no count of commands or bytes comes near 2^53"
        )]
        self.number(count as f64)
    }

    /// An integer: a number where that is exact, else a bigint.
    pub(super) fn integer(self, integer: i64) -> Result<sys::napi_value> {
        if integer.unsigned_abs() < 1 << 53 {
            made!(self, napi_create_int64, integer)
        } else {
            made!(self, napi_create_bigint_int64, integer)
        }
    }

    /// What JavaScript passes as a small whole number.
    #[inline]
    pub(super) fn small(self, value: sys::napi_value) -> Result<u32> {
        let mut number = 0;
        // SAFETY: `value` is live in the current callback; `number` is written on success.
        check(unsafe { sys::napi_get_value_uint32(self.env, value, &raw mut number) })?;
        Ok(number)
    }

    pub(super) fn text(self, text: &[u8]) -> Result<sys::napi_value> {
        made!(
            self,
            napi_create_string_utf8,
            text.as_ptr().cast(),
            text.len().cast_signed()
        )
    }

    /// A Buffer of its own memory.
    pub(super) fn buffer(self, bytes: &[u8]) -> Result<sys::napi_value> {
        made!(
            self,
            napi_create_buffer_copy,
            bytes.len(),
            bytes.as_ptr().cast(),
            ptr::null_mut()
        )
    }

    pub(super) fn object(self) -> Result<sys::napi_value> {
        made!(self, napi_create_object)
    }

    pub(super) fn array(self, length: usize) -> Result<sys::napi_value> {
        made!(self, napi_create_array_with_length, length)
    }

    /// An `Error` with a code.
    pub(super) fn error(self, code: &[u8], message: &[u8]) -> Result<sys::napi_value> {
        let code = self.text(code)?;
        let message = self.text(message)?;
        made!(self, napi_create_error, code, message)
    }

    /// A function that runs `callback`.
    ///
    /// # Safety
    /// `data` is what the callback takes its data pointer for, and lives as long as the environment.
    pub(super) unsafe fn function(
        self,
        name: &str,
        callback: Callback,
        data: *const c_void,
    ) -> Result<sys::napi_value> {
        let length = name.len().cast_signed();
        made!(
            self,
            napi_create_function,
            name.as_ptr().cast(),
            length,
            Some(callback),
            data.cast_mut()
        )
    }

    /// Gives an object made here a property, whatever its name: a setter that somebody put on `Object.prototype` is not
    /// called, and `__proto__` is a name like others.
    pub(super) fn set(self, object: sys::napi_value, name: &str, value: sys::napi_value) -> Result<()> {
        let property = sys::napi_property_descriptor {
            utf8name: ptr::null(),
            name: self.text(name.as_bytes())?,
            method: None,
            getter: None,
            setter: None,
            value,
            attributes: PropertyAttributes::writable
                | PropertyAttributes::enumerable
                | PropertyAttributes::configurable,
            data: ptr::null_mut(),
        };
        // SAFETY: the object, the name and the value are live in the current scope; one property is described.
        check(unsafe { sys::napi_define_properties(self.env, object, 1, &raw const property) })
    }

    pub(super) fn set_element(self, array: sys::napi_value, at: usize, value: sys::napi_value) -> Result<()> {
        let at = u32::try_from(at).map_err(|_| Failed)?;
        // SAFETY: both are live values of this environment.
        check(unsafe { sys::napi_set_element(self.env, array, at, value) })
    }

    pub(super) fn element(self, array: sys::napi_value, at: u32) -> Result<sys::napi_value> {
        made!(self, napi_get_element, array, at)
    }

    pub(super) fn length(self, array: sys::napi_value) -> Result<u32> {
        let mut length = 0;
        // SAFETY: the environment is the current one, and `length` is written on success.
        check(unsafe { sys::napi_get_array_length(self.env, array, &raw mut length) })?;
        Ok(length)
    }

    /// Whether a byte array of length 0 still has its memory: `at` throws where that was detached or has shrunk away. It is
    /// the built-in function as it was when the package was loaded, called with a number: no code of the user's runs.
    #[cold]
    pub(super) fn is_usable_view(self, view: sys::napi_value) -> bool {
        let looked = || -> Result<()> {
            let (mut at, mut element) = (ptr::null_mut(), ptr::null_mut());
            // SAFETY: the reference is one of this environment; `at` is written on success, null where it is gone.
            check(unsafe { sys::napi_get_reference_value(self.env, self.at, &raw mut at) })?;
            let zero = self.count(0)?;
            // SAFETY: all values are live in the current callback; Node-API refuses a function that is null.
            check(unsafe { sys::napi_call_function(self.env, view, at, 1, &raw const zero, &raw mut element) })
        };
        if !self.at.is_null() && looked().is_ok() {
            return true;
        }
        let mut exception = ptr::null_mut();
        // SAFETY: the environment is the current one. What `at` has thrown is taken back; if nothing, nothing is.
        unsafe { sys::napi_get_and_clear_last_exception(self.env, &raw mut exception) };
        false
    }

    /// Throws an `Error` with the code of `error`, once the current callback has returned.
    #[cold]
    pub(super) fn throw(self, error: &Error) {
        if let Ok(value) = self.error(error.code().as_bytes(), error.to_string().as_bytes()) {
            // SAFETY: the environment is the current one, the error was just made.
            unsafe { sys::napi_throw(self.env, value) };
        }
    }

    /// Runs `body` with a scope of its own for the values it makes: none of them may leave it.
    pub(super) fn scoped<T>(self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut scope = ptr::null_mut();
        // SAFETY: the environment is the current one; `Scope` closes what is opened here.
        check(unsafe { sys::napi_open_handle_scope(self.env, &raw mut scope) })?;
        let _scope = Scope { env: self.env, scope };
        body()
    }
}

/// An open handle scope. It is closed where the body panics, too: Node.js ends the process over one that is left open.
struct Scope {
    env: sys::napi_env,
    scope: sys::napi_handle_scope,
}

impl Drop for Scope {
    fn drop(&mut self) {
        // SAFETY: opened by `scoped` in this very callback, and the innermost one: what was opened since is closed.
        unsafe { sys::napi_close_handle_scope(self.env, self.scope) };
    }
}
