//! The callback behind every command method: its arguments go straight into the request.
//!
//! JavaScript calls one plain function for all commands, with the pipeline's handle and the command's number in front:
//! numbers are read in a few nanoseconds, where unwrapping `this` takes as long as reading three strings; and a call
//! whose target is always the same is compiled as such, where a function for each command costs 20 ns more as soon as
//! several are in use. It throws nothing: it returns a small number where JavaScript has more to do (`MORE_*`).

use std::ptr;
use std::sync::LazyLock;

use napi::sys;

use super::argument::{self, Refusal};
use super::call::{Call, enter};
use super::check;
use super::js::Js;
use super::slot::{Slot, State};
use crate::command::{COMMANDS, Command, Forbidden, Form, MAX_ARGUMENTS, Trailing};
use crate::error::Error;
use crate::pipeline::Committed;

/// What the number that an append returns asks of JavaScript. `index.js` knows them by the same names.
pub(super) const MORE_FIRST: u32 = 1;
pub(super) const MORE_EXECUTED: u32 = 2;
pub(super) const MORE_EXPAND: u32 = 3;
pub(super) const MORE_FAILED: u32 = 4;

/// What a number stands for.
pub(super) enum Target {
    /// One command: `append(handle, number, key, field, value)`.
    Command(Known),
    /// Any command by its name: `append(handle, number, 'HSET', key, field, value)`.
    Call,
}

/// By number, the same for all instances. The last of them is `call`.
pub(super) fn targets() -> &'static [Target] {
    static TARGETS: LazyLock<Box<[Target]>> = LazyLock::new(|| {
        let known = COMMANDS.iter().filter(|command| has_method(command));
        known
            .map(|command| Target::Command(Known::new(command)))
            .chain([Target::Call])
            .collect()
    });
    &TARGETS
}

/// Subcommands go through their container's method; forbidden commands have none.
fn has_method(command: &Command) -> bool {
    !matches!(command.forbidden, Some(Forbidden::Always(_)))
        && command
            .name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A command whose name is known when the module loads.
pub(super) struct Known {
    pub(super) command: &'static Command,
    /// Its name as a bulk string.
    head: Vec<u8>,
    /// Up to so many arguments, their number is all that has to be looked at before they are appended.
    simple_up_to: usize,
    /// Behind `groups_from`, arguments come in groups of `group`.
    groups_from: usize,
    group: usize,
}

impl Known {
    pub(super) fn new(command: &'static Command) -> Self {
        let (groups_from, group) = match command.trailing {
            Trailing::Groups { from, size } => (usize::from(from), usize::from(size)),
            _ => (0, 1),
        };
        let simple_up_to = match &command.options {
            _ if command.container || command.forbidden.is_some() || command.trailing == Trailing::Scores => 0,
            Some(options) => usize::from(options.from),
            None => usize::MAX,
        };
        let max = command.max_arguments.map_or(MAX_ARGUMENTS, usize::from);
        Self {
            command,
            head: format!("${}\r\n{}\r\n", command.name.len(), command.name).into_bytes(),
            simple_up_to: simple_up_to.min(max),
            groups_from,
            group,
        }
    }

    /// Whether `count` arguments need no closer look.
    #[inline]
    fn is_simple(&self, count: usize) -> bool {
        count >= usize::from(self.command.min_arguments)
            && count <= self.simple_up_to
            && (self.group == 1 || (count - self.groups_from).is_multiple_of(self.group))
    }
}

/// Why nothing was appended.
pub(super) enum Stop {
    /// An argument stands for several: JavaScript is to spell them out.
    Expand,
    Failed(Problem),
}

/// What went wrong, until JavaScript asks.
pub(super) struct Problem {
    pub(super) error: Error,
    /// The argument whose type is wrong, from 0: JavaScript says what it is.
    pub(super) wrong_type: Option<usize>,
}

impl Problem {
    /// A problem that no single argument is the cause of.
    pub(super) fn of(error: Error) -> Self {
        Self {
            error,
            wrong_type: None,
        }
    }

    pub(super) fn argument(text: String) -> Stop {
        Stop::Failed(Self::of(Error::InvalidArgument(text)))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(Problem::of(error))
    }
}

/// After so many arguments it is asked whether the command can still find room; large ones ask by themselves.
pub(super) const LOOK_EVERY: usize = 1024;

/// What comes before the arguments: handle and number.
const FRONT: usize = 2;

/// Values that are taken from the call without an allocation, those in front among them.
pub(super) const INLINE: usize = 16;

/// `append(handle, number, …arguments)`
///
/// # Safety
/// Called by Node-API alone, for a function that `Instance::function` has made.
pub(super) unsafe extern "C" fn append(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let run = |call: Call<'_>, inline: &[sys::napi_value; INLINE]| {
        let values = call.arguments(inline);
        let appended = match &*values {
            [handle, number, arguments @ ..] => append_all(call, *handle, *number, arguments),
            _ => Err(Error::Internal("no command".to_owned()).into()),
        };
        answer(call, appended)
    };
    // SAFETY: passed on.
    unsafe { enter(env, info, run, refuse) }
}

/// `appendList(handle, number, arguments)`: from an array made by `index.js`, dense, and nobody else's.
///
/// # Safety
/// As [`append`].
pub(super) unsafe extern "C" fn append_list(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let run = |call: Call<'_>, [handle, number, list]: &[sys::napi_value; FRONT + 1]| {
        let appended = match elements(call.js, *list) {
            Ok(elements) => append_all(call, *handle, *number, &elements),
            Err(_) => Err(Error::Internal("no list of arguments".to_owned()).into()),
        };
        answer(call, appended)
    };
    // SAFETY: passed on.
    unsafe { enter(env, info, run, refuse) }
}

pub(super) fn elements(js: Js, array: sys::napi_value) -> super::js::Result<Vec<sys::napi_value>> {
    (0..js.length(array)?).map(|at| js.element(array, at)).collect()
}

#[inline]
fn append_all(
    call: Call<'_>,
    handle: sys::napi_value,
    number: sys::napi_value,
    arguments: &[sys::napi_value],
) -> Result<Committed, Stop> {
    let Call { js, instance, .. } = call;
    let Ok(handle) = js.small(handle) else {
        return Err(Error::Internal("no handle".to_owned()).into());
    };
    let mut slots = instance.slots.borrow_mut();
    let slot = slots.get_mut(handle).ok_or(Error::Closed)?;
    if let State::Expanding | State::Ended(_) = &slot.state {
        return Err(slot.refusal().into());
    }
    let number = js.small(number).ok();
    match number.and_then(|number| instance.targets.get(number as usize)) {
        Some(Target::Command(known)) => append_known(js, slot, known, arguments),
        Some(Target::Call) => append_named(js, slot, arguments),
        None => Err(Error::Internal("no such command".to_owned()).into()),
    }
}

#[inline]
fn append_known(js: Js, slot: &mut Slot, known: &Known, arguments: &[sys::napi_value]) -> Result<Committed, Stop> {
    let form = if known.is_simple(arguments.len()) {
        Form::plain(known.command)
    } else {
        check::form(js, known.command, arguments)?
    };
    slot.pipeline.request.begin(arguments.len() + 1, &known.head);
    append_arguments(js, slot, &form, arguments)
}

/// `call(name, …)`
#[cold]
fn append_named(js: Js, slot: &mut Slot, arguments: &[sys::napi_value]) -> Result<Committed, Stop> {
    let (name, form) = check::named(js, arguments)?;
    slot.pipeline.request.begin(arguments.len(), b"");
    slot.pipeline.request.bytes(name.as_bytes());
    append_arguments(js, slot, &form, &arguments[1..])
}

#[inline]
fn append_arguments(js: Js, slot: &mut Slot, form: &Form, arguments: &[sys::napi_value]) -> Result<Committed, Stop> {
    for (at, value) in arguments.iter().enumerate() {
        if let Err(refusal) = argument::append(js, &mut slot.pipeline, *value, form.role(at)) {
            slot.pipeline.request.rollback();
            return Err(refused(form, at, refusal));
        }
        if at % LOOK_EVERY == LOOK_EVERY - 1 {
            slot.pipeline.expect_room(0)?;
        }
    }
    slot.pipeline.commit().map_err(Stop::from)
}

#[cold]
fn refused(form: &Form, at: usize, refusal: Refusal) -> Stop {
    match refusal {
        Refusal::Composite => Stop::Expand,
        Refusal::WrongType => Stop::Failed(Problem {
            error: Error::InvalidArgument(format!("argument {} of {}", at + 1, form.name())),
            wrong_type: Some(at),
        }),
        Refusal::Because(reason) => Problem::argument(format!("argument {} of {} {reason}", at + 1, form.name())),
        Refusal::Full(error) => error.into(),
    }
}

/// Null, which JavaScript sees as undefined, on the common path.
#[inline]
pub(super) fn answer(call: Call<'_>, appended: Result<Committed, Stop>) -> sys::napi_value {
    let more = match appended {
        Ok(Committed::Appended) => return ptr::null_mut(),
        Ok(Committed::First) => MORE_FIRST,
        Ok(Committed::Executed) => MORE_EXECUTED,
        Err(Stop::Expand) => MORE_EXPAND,
        Err(Stop::Failed(problem)) => {
            call.instance.problem.replace(Some(problem));
            MORE_FAILED
        }
    };
    call.js.number(f64::from(more)).unwrap_or(ptr::null_mut())
}

/// Answers with an error that is none of the arguments'.
#[cold]
pub(super) fn refuse(call: Call<'_>, error: Error) -> sys::napi_value {
    answer(call, Err(error.into()))
}

/// Appends one command to a request of its own, for `query`.
pub(super) fn request_of(js: Js, slot: &mut Slot, arguments: &[sys::napi_value]) -> Result<Vec<u8>, Stop> {
    let (name, form) = check::named(js, arguments)?;
    slot.query.request.begin(arguments.len(), b"");
    slot.query.request.bytes(name.as_bytes());
    for (at, value) in arguments[1..].iter().enumerate() {
        if let Err(refusal) = argument::append(js, &mut slot.query, *value, form.role(at)) {
            slot.query.request.rollback();
            return Err(refused(&form, at, refusal));
        }
    }
    slot.query.request.commit();
    let batch = slot.query.request.seal();
    Ok(batch
        .segments
        .iter()
        .flat_map(|segment| segment.bytes())
        .copied()
        .collect())
}
