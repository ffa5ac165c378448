//! Notices on their way to JavaScript: collected from the runtime's thread, handed over in one go, or in several where that would
//! keep JavaScript for long.
//!
//! One thread-safe function per instance. It keeps the process alive only while JavaScript says that something is
//! outstanding, and no function of JavaScript's at all: whom it calls is the instance's to know.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::rc::Weak;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use napi::sys::{self, Status, ThreadsafeFunctionCallMode, ThreadsafeFunctionReleaseMode};

use super::call::guarded;
use super::convert::{deliver, more};
use super::instance::Instance;
use super::js::{Js, Result, check};
use crate::error::Error;
use crate::loader::{Listener, Notice, lock};

/// Bounded by what the pipelines hold: every notice is for work that their budgets count.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Apart, so that JavaScript, who comes as soon as it is called, does not have to wait for the end of the call.
    function: Mutex<Option<Function>>,
}

#[derive(Default)]
struct Inner {
    notices: VecDeque<(u32, Notice)>,
    /// JavaScript was called, and has not taken everything yet.
    called: bool,
    /// Nobody will come any more.
    closed: bool,
}

struct Function(sys::napi_threadsafe_function);

// SAFETY: Node-API's thread-safe functions are made to be called from any thread.
unsafe impl Send for Function {}

/// Tells one pipeline's news.
pub(super) struct Mailbox {
    pub(super) handle: u32,
    pub(super) queue: Arc<Queue>,
}

impl Listener for Mailbox {
    fn notify(&self, notice: Notice) {
        self.notify_all(vec![notice]);
    }

    fn notify_all(&self, notices: Vec<Notice>) {
        self.queue.push(self.handle, notices);
    }
}

impl Queue {
    /// From here on the instance hears of what comes.
    ///
    /// # Errors
    /// Where Node-API refuses.
    pub(super) fn connect(&self, js: Js, instance: Weak<Instance>) -> Result<()> {
        let name = js.text(b"respipe")?;
        let context = Box::into_raw(Box::new(instance)).cast();
        let mut function = ptr::null_mut();
        // SAFETY: the context is a box that `forget` takes back when the function is gone and nothing is handed over any more.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                js.env(),
                ptr::null_mut(),
                ptr::null_mut(),
                name,
                // The queue calls again only when the last call has come: 1 would do, 0 means no limit.
                0,
                1,
                context,
                Some(forget),
                context,
                Some(hand_over),
                &raw mut function,
            )
        };
        if let Err(failed) = check(status) {
            // SAFETY: the box made above, which nobody has taken.
            drop(unsafe { Box::from_raw(context.cast::<Weak<Instance>>()) });
            return Err(failed);
        }
        *lock(&self.function) = Some(Function(function));
        self.keep_alive(js, false)
    }

    fn push(&self, handle: u32, notices: Vec<Notice>) {
        {
            let mut inner = lock(&self.inner);
            if inner.closed {
                return;
            }
            inner.notices.extend(notices.into_iter().map(|notice| (handle, notice)));
            if mem::replace(&mut inner.called, true) {
                return;
            }
        }
        let mut place = lock(&self.function);
        let Some(function) = &*place else { return };
        // SAFETY: `close` takes the function away before it is released, under the same lock.
        let status = unsafe {
            sys::napi_call_threadsafe_function(function.0, ptr::null_mut(), ThreadsafeFunctionCallMode::nonblocking)
        };
        if status == Status::napi_closing {
            // Node-API has given up our hold on it; it must not be touched again.
            *place = None;
        }
    }

    /// Whether the process lives on for what is outstanding.
    pub(super) fn keep_alive(&self, js: Js, outstanding: bool) -> Result<()> {
        let place = lock(&self.function);
        let Some(function) = &*place else { return Ok(()) };
        // SAFETY: on the environment's own thread; the function is alive while it is in its place.
        check(unsafe {
            if outstanding {
                sys::napi_ref_threadsafe_function(js.env(), function.0)
            } else {
                sys::napi_unref_threadsafe_function(js.env(), function.0)
            }
        })
    }

    /// The environment ends: nothing is handed over any more.
    pub(super) fn close(&self) {
        {
            let mut inner = lock(&self.inner);
            inner.closed = true;
            inner.notices.clear();
        }
        if let Some(function) = lock(&self.function).take() {
            // SAFETY: taken out of its place, so that nobody uses it again.
            unsafe { sys::napi_release_threadsafe_function(function.0, ThreadsafeFunctionReleaseMode::abort) };
        }
    }

    /// On JavaScript's thread: what has come is handed over, for as long as a turn may take.
    pub(super) fn hand_over(&self, js: Js, instance: &Instance) {
        let mut notices = mem::take(&mut lock(&self.inner).notices);
        let until = Instant::now() + TURN;
        while let Some((handle, notice)) = notices.pop_front() {
            // A scope each: a load that never lets the event loop go can leave many.
            let tell = |notice| guarded(|| js.scoped(|| deliver(js, instance, handle, notice)));
            let told = tell(notice).or_else(|| {
                // Whoever waited for it would wait for ever.
                tell(Notice::Broken(Error::Internal("a panic in the addon".to_owned())))
            });
            if !matches!(told, Some(Ok(()))) {
                raise(js.env());
            }
            if Instant::now() >= until {
                break;
            }
        }
        {
            let mut inner = lock(&self.inner);
            // What has come meanwhile comes behind it.
            notices.append(&mut inner.notices);
            inner.notices = notices;
            inner.called = !inner.notices.is_empty();
            if !inner.called {
                return;
            }
        }
        // Called from here, Node-API would come back at once, without a turn of the event loop.
        if js.scoped(|| more(js, instance)).is_err() {
            raise(js.env());
        }
    }
}

/// As long as rows are worked on: see `SLICE` in `lib/rows.js`.
const TURN: Duration = Duration::from_millis(2);

/// Called by Node-API on JavaScript's thread.
unsafe extern "C" fn hand_over(
    env: sys::napi_env,
    _function: sys::napi_value,
    context: *mut c_void,
    _data: *mut c_void,
) {
    guarded(|| {
        if env.is_null() {
            // The environment is ending.
            return;
        }
        // SAFETY: the context is the box that `connect` gave away, which `forget` takes back when no call comes any more.
        let instance = unsafe { &*context.cast::<Weak<Instance>>() };
        let Some(instance) = instance.upgrade() else { return };
        // SAFETY: `env` is the environment of this very call, and the instance was made in it.
        let js = unsafe { instance.js(env) };
        instance.queue.hand_over(js, &instance);
    });
}

/// The thread-safe function is gone.
unsafe extern "C" fn forget(_env: sys::napi_env, context: *mut c_void, _hint: *mut c_void) {
    guarded(|| {
        // SAFETY: the box that `connect` gave away; Node-API calls this once, on JavaScript's thread, after the last `hand_over`.
        drop(unsafe { Box::from_raw(context.cast::<Weak<Instance>>()) });
    });
}

/// An exception that came out of JavaScript goes where Node.js sends all that nobody catches. There is none where a
/// worker is being ended.
fn raise(env: sys::napi_env) {
    let mut pending = false;
    let mut exception = ptr::null_mut();
    // SAFETY: `env` is the environment of the current call; the exception is live once it is taken.
    unsafe {
        if sys::napi_is_exception_pending(env, &raw mut pending) == Status::napi_ok
            && pending
            && sys::napi_get_and_clear_last_exception(env, &raw mut exception) == Status::napi_ok
        {
            sys::napi_fatal_exception(env, exception);
        }
    }
}
