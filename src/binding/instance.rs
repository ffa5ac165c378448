//! The data of one evaluation of `index.js`: its pipelines, its templates, its queue of notices.
//!
//! A process may have any number of them, in one environment of Node-API too: a test runner evaluates the package for each
//! file of tests, and the addon is loaded once. Nothing is looked up by the environment: each function that an instance makes
//! has the instance in its data pointer, and keeps it alive. The instance keeps no JavaScript value alive unless work is
//! outstanding, so that an evaluation that is unreachable is collected, and its connections close.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use napi::sys;

use super::append::{Problem, Target, targets};
use super::call::guarded;
use super::js::{Callback, Failed, Js, Result, check};
use super::notices::Queue;
use super::slot::Slot;
use super::template::Entry;
use crate::error::Error;
use crate::table::{Numbers, Table};

pub(super) struct Instance {
    pub(super) slots: RefCell<Table<Slot>>,
    /// What has a method, by the number that JavaScript calls it by.
    pub(super) targets: &'static [Target],
    /// By the number that JavaScript calls them by.
    pub(super) templates: RefCell<Table<Entry>>,
    /// Why the last append failed.
    pub(super) problem: RefCell<Option<Problem>>,
    pub(super) queue: Arc<Queue>,
    env: sys::napi_env,
    /// `dispatch(handle, kind, …)` of `index.js` hears every notice.
    dispatch: Reference,
    /// `Uint8Array.prototype.at`: see [`Js::is_usable_view`].
    at: Reference,
    /// The environment is to say when it ends.
    is_hooked: Cell<bool>,
}

/// Of all instances of the process.
static HANDLES: Numbers = Numbers::new();
static TEMPLATES: Numbers = Numbers::new();

impl Instance {
    /// Makes an instance; returns an object with its functions.
    ///
    /// # Errors
    /// Where Node-API refuses.
    pub(super) fn attach(
        js: Js,
        dispatch: sys::napi_value,
        at: sys::napi_value,
        functions: &[(&str, Callback)],
    ) -> Result<sys::napi_value> {
        let instance = Rc::new(Self {
            slots: RefCell::new(Table::new(&HANDLES)),
            targets: targets(),
            templates: RefCell::new(Table::new(&TEMPLATES)),
            problem: RefCell::default(),
            queue: Arc::default(),
            env: js.env(),
            dispatch: Reference::weak(js, dispatch)?,
            at: Reference::weak(js, at)?,
            is_hooked: Cell::new(false),
        });
        instance.queue.connect(js, Rc::downgrade(&instance))?;
        let data = Rc::as_ptr(&instance).cast_mut().cast();
        // SAFETY: the hook is removed when the instance goes, unless it has run.
        check(unsafe { sys::napi_add_env_cleanup_hook(js.env(), Some(environment_ends), data) })?;
        instance.is_hooked.set(true);
        let object = js.object()?;
        for (name, callback) in functions {
            js.set(object, name, instance.function(js, name, *callback)?)?;
        }
        // What is referred to weakly lives as long as somebody has the functions.
        let held = js.array(2)?;
        js.set_element(held, 0, dispatch)?;
        js.set_element(held, 1, at)?;
        js.set(object, "held", held)?;
        Ok(object)
    }

    /// A function of this instance, which owns a reference count of it.
    fn function(self: &Rc<Self>, js: Js, name: &str, callback: Callback) -> Result<sys::napi_value> {
        // SAFETY: the callbacks take the instance as their data; the function's reference count keeps that alive.
        let function = unsafe { js.function(name, callback, Rc::as_ptr(self).cast())? };
        let count = Rc::into_raw(Rc::clone(self)).cast_mut();
        // SAFETY: `function` is live; `function_gone` releases the reference count, and Node-API calls that once.
        let status = unsafe {
            sys::napi_add_finalizer(
                js.env(),
                function,
                count.cast(),
                Some(function_gone),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        if check(status).is_err() {
            // SAFETY: the reference count made above, which nobody else releases.
            drop(unsafe { Rc::from_raw(count) });
            return Err(Failed);
        }
        Ok(function)
    }

    /// # Safety
    /// `env` is the environment of the callback that is running on this thread, and the instance was made in it.
    #[inline]
    pub(super) unsafe fn js(&self, env: sys::napi_env) -> Js {
        // SAFETY: passed on; `at` is a reference of this environment.
        unsafe { Js::with_views(env, self.at.raw) }
    }

    /// None once nobody can reach it.
    pub(super) fn dispatch(&self, js: Js) -> Option<sys::napi_value> {
        self.dispatch.get(js)
    }

    /// Whether the process lives on for what is outstanding, and JavaScript's half of the instance with it.
    pub(super) fn keep_alive(&self, js: Js, outstanding: bool) -> Result<()> {
        self.dispatch.hold(outstanding)?;
        self.queue.keep_alive(js, outstanding)
    }

    /// Its pipelines stop, and nothing calls into JavaScript any more.
    fn end(&self) {
        self.queue.close();
        if let Ok(mut slots) = self.slots.try_borrow_mut() {
            for slot in slots.values_mut() {
                // The threads that read files end, too.
                slot.end(Error::Closed);
                slot.pipeline.shared().stop(Error::Closed);
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.is_hooked.get() {
            // SAFETY: the environment lives as long as functions of it, the last of which has just gone; the pair is the one
            // that `attach` has added.
            unsafe {
                sys::napi_remove_env_cleanup_hook(self.env, Some(environment_ends), ptr::from_mut(self).cast());
            }
        }
        self.end();
    }
}

/// The environment is about to end.
unsafe extern "C" fn environment_ends(data: *mut c_void) {
    guarded(|| {
        // SAFETY: the instance that the hook was added for: it removes the hook when it goes.
        let instance = unsafe { &*data.cast::<Instance>() };
        instance.is_hooked.set(false);
        instance.end();
    });
}

unsafe extern "C" fn function_gone(_env: sys::napi_env, data: *mut c_void, _hint: *mut c_void) {
    guarded(|| {
        // SAFETY: the reference count that `function` made; Node-API calls this once, when no call of that function can come.
        drop(unsafe { Rc::from_raw(data.cast::<Instance>()) });
    });
}

/// A reference to a value of JavaScript's, which does not keep it alive unless it is told to.
struct Reference {
    env: sys::napi_env,
    raw: sys::napi_ref,
    holds: Cell<bool>,
}

impl Reference {
    fn weak(js: Js, value: sys::napi_value) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: `value` is live; the reference is deleted with `Self`.
        check(unsafe { sys::napi_create_reference(js.env(), value, 0, &raw mut raw) })?;
        Ok(Self {
            env: js.env(),
            raw,
            holds: Cell::new(false),
        })
    }

    fn get(&self, js: Js) -> Option<sys::napi_value> {
        let mut value = ptr::null_mut();
        // SAFETY: the reference is one of this environment; `value` is written on success, null where it is gone.
        check(unsafe { sys::napi_get_reference_value(js.env(), self.raw, &raw mut value) }).ok()?;
        (!value.is_null()).then_some(value)
    }

    fn hold(&self, holds: bool) -> Result<()> {
        if self.holds.replace(holds) == holds {
            return Ok(());
        }
        let mut count = 0;
        // SAFETY: on the environment's own thread; counted up once before it is counted down.
        check(unsafe {
            if holds {
                sys::napi_reference_ref(self.env, self.raw, &raw mut count)
            } else {
                sys::napi_reference_unref(self.env, self.raw, &raw mut count)
            }
        })
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: made by `weak`, deleted here alone, on the environment's own thread while that lives.
        unsafe { sys::napi_delete_reference(self.env, self.raw) };
    }
}
