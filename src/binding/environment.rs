//! What belongs to one JavaScript environment: its pipelines, its command functions, its queue of notices.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use napi::sys;
use tokio::sync::watch;

use super::append::{Problem, Target};
use super::js::{Failed, Js, Result, check};
use super::load::Loads;
use super::notices::{Mailbox, Queue};
use super::template::Templates;
use crate::config::Encoding;
use crate::error::Error;
use crate::loader::Looker;
use crate::pipeline::Pipeline;

pub(super) struct Environment {
    pub(super) slots: RefCell<Slots>,
    /// What has a method, by the number that JavaScript calls it by.
    pub(super) targets: OnceCell<Box<[Target]>>,
    /// By the number that JavaScript calls them by.
    pub(super) templates: RefCell<Templates>,
    /// Why the last append failed.
    pub(super) problem: RefCell<Option<Problem>>,
    pub(super) queue: Arc<Queue>,
    /// Tells an empty byte array from one whose memory is gone.
    usable_view: Cell<sys::napi_ref>,
}

/// One pipeline of this environment.
pub(super) struct Slot {
    pub(super) pipeline: Pipeline,
    /// Where the command of a `query` is put together.
    pub(super) query: Pipeline,
    pub(super) looker: Arc<Looker>,
    pub(super) encoding: Encoding,
    pub(super) state: State,
    pub(super) loads: Loads,
    pub(super) mailbox: Arc<Mailbox>,
    /// Closes when the pipeline's task is over, and with it its connection.
    pub(super) over: watch::Receiver<()>,
}

pub(super) enum State {
    Open,
    /// JavaScript is spelling out an argument, which may run code of the user's.
    Expanding,
    /// Closed, destroyed or aborted.
    Ended(Error),
}

impl Slot {
    /// Nothing can be appended any more; what was and is not executed is forgotten.
    pub(super) fn end(&mut self, error: Error) {
        if !self.has_ended() {
            self.end_loads();
            self.pipeline.retire();
            self.query.retire();
            self.state = State::Ended(error);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Why nothing can be appended now.
    pub(super) fn refusal(&self) -> Error {
        match &self.state {
            State::Ended(error) => error.clone(),
            State::Open | State::Expanding => Error::InvalidArgument(
                "a command cannot be appended while the arguments of another are read".to_owned(),
            ),
        }
    }
}

/// The pipelines, by handle.
#[derive(Default)]
pub(super) struct Slots {
    entries: Vec<Entry>,
    free: Vec<usize>,
}

struct Entry {
    /// Changes with each pipeline that the place is used for, so that an old handle finds nothing.
    generation: u32,
    slot: Option<Box<Slot>>,
}

/// A handle is a small integer: so many bits of place, and generations above them, 31 bits in all.
const PLACE_BITS: u32 = 20;
const GENERATIONS: u32 = 1 << (31 - PLACE_BITS);

impl Slots {
    /// # Errors
    /// Where there are a million pipelines already.
    pub(super) fn add(&mut self, make: impl FnOnce(u32) -> Slot) -> std::result::Result<u32, Error> {
        let place = self.free.pop().unwrap_or(self.entries.len());
        if place == self.entries.len() {
            self.entries.push(Entry {
                generation: 0,
                slot: None,
            });
        }
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        if number >= 1 << PLACE_BITS {
            return Err(Error::Unsupported("more than a million pipelines at once".to_owned()));
        }
        let entry = &mut self.entries[place];
        let handle = entry.generation << PLACE_BITS | number;
        entry.slot = Some(Box::new(make(handle)));
        Ok(handle)
    }

    #[inline]
    pub(super) fn get(&mut self, handle: u32) -> Option<&mut Slot> {
        let entry = self.entries.get_mut((handle & ((1 << PLACE_BITS) - 1)) as usize)?;
        if entry.generation != handle >> PLACE_BITS {
            return None;
        }
        entry.slot.as_deref_mut()
    }

    /// The pipeline of a handle that JavaScript passed.
    #[inline]
    pub(super) fn of(&mut self, js: Js, handle: sys::napi_value) -> std::result::Result<&mut Slot, Error> {
        let number = js.small(handle).map_err(|_| Error::Internal("no handle".to_owned()))?;
        self.get(number).ok_or(Error::Closed)
    }

    pub(super) fn remove(&mut self, handle: u32) -> Option<Box<Slot>> {
        let place = (handle & ((1 << PLACE_BITS) - 1)) as usize;
        self.get(handle)?;
        let entry = &mut self.entries[place];
        entry.generation = (entry.generation + 1) % GENERATIONS;
        self.free.push(place);
        entry.slot.take()
    }
}

impl Environment {
    /// Makes the environment's state, and leaves it in its keeping.
    ///
    /// # Errors
    /// Where Node-API refuses.
    pub(super) fn attach(js: Js, queue: Arc<Queue>) -> Result<&'static Self> {
        let environment = Box::into_raw(Box::new(Self {
            slots: RefCell::default(),
            targets: OnceCell::new(),
            templates: RefCell::default(),
            problem: RefCell::default(),
            queue,
            usable_view: Cell::new(ptr::null_mut()),
        }));
        // SAFETY: the pointer is a leaked box, which `detach` takes back exactly once, when the environment ends.
        check(unsafe { sys::napi_set_instance_data(js.env(), environment.cast(), Some(detach), ptr::null_mut()) })?;
        // SAFETY: hooks run before the instance data goes; this one only looks at it.
        check(unsafe { sys::napi_add_env_cleanup_hook(js.env(), Some(end_pipelines), environment.cast()) })?;
        // SAFETY: just made; it lives until the environment ends, and with it every call that could use it.
        Ok(unsafe { &*environment })
    }

    /// The state of the environment that is calling.
    ///
    /// # Errors
    /// Where it has none.
    pub(super) fn of(js: Js) -> Result<&'static Self> {
        let mut data = ptr::null_mut();
        // SAFETY: `data` is written on success.
        check(unsafe { sys::napi_get_instance_data(js.env(), &raw mut data) })?;
        // SAFETY: nothing else sets instance data in this module; see `attach`.
        unsafe { data.cast::<Self>().as_ref() }.ok_or(Failed)
    }

    /// Keeps the function that looks at byte arrays.
    pub(super) fn keep_usable_view(&self, js: Js, function: sys::napi_value) -> Result<()> {
        let mut reference = ptr::null_mut();
        // SAFETY: `function` is live; the reference lasts as long as the environment.
        check(unsafe { sys::napi_create_reference(js.env(), function, 1, &raw mut reference) })?;
        self.usable_view.set(reference);
        Ok(())
    }
}

/// Asks JavaScript whether a byte array of length 0 still has its memory.
pub(super) fn is_usable_view(js: Js, view: sys::napi_value) -> bool {
    let ask = || -> Result<bool> {
        let reference = Environment::of(js)?.usable_view.get();
        let (mut function, mut answer, mut usable) = (ptr::null_mut(), ptr::null_mut(), false);
        // SAFETY: the reference was made by `keep_usable_view` in this environment.
        check(unsafe { sys::napi_get_reference_value(js.env(), reference, &raw mut function) })?;
        let this = js.undefined()?;
        // SAFETY: all values are live; the function runs no code of the user's.
        check(unsafe { sys::napi_call_function(js.env(), this, function, 1, &raw const view, &raw mut answer) })?;
        // SAFETY: `answer` is the boolean that the function returned.
        check(unsafe { sys::napi_get_value_bool(js.env(), answer, &raw mut usable) })?;
        Ok(usable)
    };
    ask().unwrap_or(false)
}

/// The environment is about to end: nothing may call into it any more, and its pipelines stop.
unsafe extern "C" fn end_pipelines(data: *mut c_void) {
    // SAFETY: registered with the environment's own state, which is freed later.
    let environment = unsafe { &*data.cast::<Environment>() };
    environment.queue.close();
    if let Ok(mut slots) = environment.slots.try_borrow_mut() {
        for slot in slots.entries.iter_mut().filter_map(|entry| entry.slot.as_deref_mut()) {
            // The threads that read files end, too.
            slot.end(Error::Closed);
            slot.pipeline.shared().stop(Error::Closed);
        }
    }
}

unsafe extern "C" fn detach(_env: sys::napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: `data` is the box that `attach` leaked; Node-API calls this once, when no call can come any more.
    drop(unsafe { Box::from_raw(data.cast::<Environment>()) });
}
