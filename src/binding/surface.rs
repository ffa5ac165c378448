//! The functions that `index.js` calls, and the command functions beside them.

use std::sync::Arc;

use napi::bindgen_prelude::{Env, Function, JsValue, Object, Result, Unknown};
use napi_derive::napi;
use tokio::sync::watch;

use super::append::{self, Known, MORE_EXPAND, MORE_FAILED, Problem, Stop, Target};
use super::convert;
use super::environment::{Environment, Slot, State};
use super::frequent;
use super::js::{Failed, Js};
use super::load::Loads;
use super::notices::{Mailbox, Queue, come_again};
use super::options::NativeOptions;
use super::runtime;
use crate::command::{COMMANDS, Command, Forbidden, Trailing};
use crate::connection::state::Listening;
use crate::error::Error;
use crate::loader::{self, Listener, Looker, Notice, Question, Shared};
use crate::pipeline::Pipeline;

/// Prepares this environment. `dispatch(handle, kind, …)` hears what happens; `isUsableView(bytes)` tells an empty
/// byte array from one whose memory is gone.
#[napi(
    catch_unwind,
    ts_args_type = "dispatch: (handle: number, kind: number, ...details: unknown[]) => void, isUsableView: (bytes: Uint8Array) => boolean"
)]
pub(crate) fn attach(env: Env, dispatch: Function<'_>, is_usable_view: Function<'_>) -> Result<()> {
    let js = js(env);
    #[cfg(target_arch = "x86_64")]
    if let Some(convert) = super::transcode::converter() {
        crate::resp::text::lend(convert);
    }
    let queue = Queue::new(js, dispatch.raw())?;
    let environment = Environment::attach(js, queue)?;
    environment.keep_usable_view(js, is_usable_view.raw())?;
    Ok(())
}

/// Hands over what did not fit in the last turn of the event loop.
#[napi(
    catch_unwind,
    ts_args_type = "dispatch: (handle: number, kind: number, ...details: unknown[]) => void"
)]
pub(crate) fn hand_over(env: Env, dispatch: Function<'_>) -> Result<()> {
    come_again(js(env), dispatch.raw())?;
    Ok(())
}

/// Every command that has a method: `{ name, trailing }`, by the number under which it is appended. The last of them is `call`.
#[napi(catch_unwind, ts_return_type = "{ name: string; trailing: string }[]")]
pub(crate) fn commands(env: Env) -> Result<Object<'static>> {
    let js = js(env);
    let environment = Environment::of(js)?;
    let targets = COMMANDS
        .iter()
        .filter(|command| has_method(command))
        .map(|command| Target::Command(Known::new(command)));
    let targets = environment
        .targets
        .get_or_init(|| targets.chain([Target::Call]).collect());
    let list = js.array(targets.len())?;
    for (at, target) in targets.iter().enumerate() {
        let (name, trailing) = match target {
            Target::Command(known) => (known.command.name.to_ascii_lowercase(), trailing(known.command)),
            Target::Call => ("call".to_owned(), "call"),
        };
        let object = js.object()?;
        js.set(object, "name", js.text(name.as_bytes())?)?;
        js.set(object, "trailing", js.text(trailing.as_bytes())?)?;
        js.set_element(list, at, object)?;
    }
    Ok(Object::from_raw(js.env(), list))
}

/// What is called once a row.
#[napi(
    catch_unwind,
    ts_return_type = "Record<'length' | 'needsDrain' | 'expand' | 'expanded', (handle: number) => unknown> & Record<'beginRow', (handle: number, load: number, row: number) => boolean> & Record<'endRow', (handle: number) => number | undefined> & Record<'append' | 'appendList', (handle: number, command: number, ...values: unknown[]) => number | undefined> & Record<'fill', (template: number, ...values: unknown[]) => number | undefined>"
)]
pub(crate) fn frequent(env: Env) -> Result<Object<'static>> {
    let js = js(env);
    let functions = frequent::functions(js, Environment::of(js)?)?;
    Ok(Object::from_raw(js.env(), functions))
}

/// Makes a pipeline; returns its handle. Nothing is connected before the first work.
#[napi(catch_unwind)]
pub(crate) fn open(env: Env, options: NativeOptions) -> Result<u32> {
    let environment = Environment::of(js(env))?;
    let (config, encoding) = options.into();
    let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let queue = Arc::clone(&environment.queue);
    let handle = environment.slots.borrow_mut().add(|handle| {
        let mailbox = Arc::new(Mailbox { handle, queue });
        let listener: Arc<dyn Listener> = Arc::clone(&mailbox) as _;
        let shared = Arc::new(Shared::new(config, listener));
        let task = runtime.spawn(loader::run(Arc::clone(&shared)));
        let (over_sender, over) = watch::channel(());
        runtime.spawn({
            let shared = Arc::clone(&shared);
            async move {
                // Whoever waits must hear that nobody works any more.
                if task.await.is_err() {
                    shared.broken("the task of the pipeline broke down");
                }
                drop(over_sender);
            }
        });
        Slot {
            pipeline: Pipeline::new(Arc::clone(&shared)),
            query: Pipeline::new(shared),
            looker: Arc::new(Looker::default()),
            encoding,
            state: State::Open,
            loads: Loads::default(),
            mailbox,
            over,
        }
    });
    handle.map_err(|error| napi::Error::from_reason(error.to_string()))
}

/// Executes what is appended; with a ticket, the outcome is dispatched under it.
#[napi(catch_unwind)]
pub(crate) fn execute(env: Env, handle: u32, ticket: Option<u32>) -> Result<()> {
    with(env, handle, |slot| slot.pipeline.execute(ticket))
}

/// Forgets them; returns how many.
#[napi(catch_unwind)]
pub(crate) fn discard(env: Env, handle: u32) -> Result<f64> {
    with(env, handle, |slot| as_number(slot.pipeline.discard()))
}

/// Dispatches under `ticket` once they are below a sixteenth.
#[napi(catch_unwind)]
pub(crate) fn drain(env: Env, handle: u32, ticket: u32) -> Result<()> {
    with(env, handle, |slot| slot.pipeline.shared().drain(ticket))
}

/// Dispatches under `ticket` once everything executed is over; behind `end`, once the connection is closed too.
#[napi(catch_unwind)]
pub(crate) fn idle(env: Env, handle: u32, ticket: u32) -> Result<()> {
    let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
    with(env, handle, |slot| {
        if !matches!(slot.state, State::Ended(_)) {
            return slot.pipeline.shared().idle(ticket);
        }
        let (mut over, mailbox) = (slot.over.clone(), Arc::clone(&slot.mailbox));
        runtime.spawn(async move {
            while over.changed().await.is_ok() {}
            mailbox.notify(Notice::Settled { ticket });
        });
    })
}

/// Asks something about the load, behind all that was executed; the answer is dispatched under `ticket`.
#[napi(
    catch_unwind,
    ts_args_type = "handle: number, ticket: number, about: 'replicas' | 'errorReplies' | 'checkpoint'"
)]
pub(crate) fn ask(env: Env, handle: u32, ticket: u32, about: String) -> Result<()> {
    let question = match about.as_str() {
        "replicas" => Question::Replicas,
        "errorReplies" => Question::ErrorReplies,
        _ => Question::Checkpoint,
    };
    with(env, handle, |slot| slot.pipeline.shared().ask(ticket, question))
}

/// Whether each failure is dispatched.
#[napi(catch_unwind)]
pub(crate) fn listen(env: Env, handle: u32, listening: bool) -> Result<()> {
    let listening = if listening { Listening::Yes } else { Listening::No };
    with(env, handle, |slot| slot.pipeline.shared().listen(listening))
}

/// Asks one question, given as `[name, …arguments]`, on a connection of its own; returns what an append returns.
#[napi(catch_unwind, ts_args_type = "handle: number, ticket: number, words: unknown[]")]
pub(crate) fn query(env: Env, handle: u32, ticket: u32, words: Unknown<'_>) -> Result<Option<u32>> {
    let js = js(env);
    let environment = Environment::of(js)?;
    let words = append::elements(js, words.raw())?;
    let mut slots = environment.slots.borrow_mut();
    let slot = slots.get(handle).ok_or(Failed)?;
    if let State::Ended(error) = &slot.state {
        environment.problem.replace(Some(Problem {
            error: error.clone(),
            wrong_type: None,
        }));
        return Ok(Some(MORE_FAILED));
    }
    match append::request_of(js, slot, &words) {
        Ok(request) => {
            let (looker, shared) = (Arc::clone(&slot.looker), Arc::clone(slot.pipeline.shared()));
            let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
            runtime.spawn(async move { looker.ask(shared, ticket, request).await });
            Ok(None)
        }
        Err(Stop::Expand) => Ok(Some(MORE_EXPAND)),
        Err(Stop::Failed(problem)) => {
            environment.problem.replace(Some(problem));
            Ok(Some(MORE_FAILED))
        }
    }
}

/// Why the last append failed: `{ code, message, wrongType? }`.
#[napi(
    catch_unwind,
    ts_return_type = "{ code: string; message: string; wrongType?: number } | undefined"
)]
pub(crate) fn problem(env: Env) -> Result<Option<Object<'static>>> {
    let js = js(env);
    let Some(Problem { error, wrong_type }) = Environment::of(js)?.problem.take() else {
        return Ok(None);
    };
    let object = convert::maybe_error(js, Some(&error))?;
    if let Some(at) = wrong_type {
        js.set(object, "wrongType", js.count(at as u64)?)?;
    }
    Ok(Some(Object::from_raw(js.env(), object)))
}

/// A look at the pipeline, for `stats()`.
#[napi(catch_unwind, ts_return_type = "Record<string, unknown>")]
pub(crate) fn stats(env: Env, handle: u32) -> Result<Object<'static>> {
    let js = js(env);
    let (stats, open) = with(env, handle, |slot| {
        (slot.pipeline.shared().stats(), slot.pipeline.request.committed_bytes())
    })?;
    let object = convert::counts(js, &stats.totals.outcome)?;
    convert::add_totals(js, object, &stats.totals, stats.elapsed_ms)?;
    js.set(object, "bufferedBytes", js.count((stats.queued_bytes + open) as u64)?)?;
    js.set(object, "inFlightBytes", js.count(stats.in_flight_bytes as u64)?)?;
    js.set(object, "connected", js.boolean(stats.connected)?)?;
    Ok(Object::from_raw(js.env(), object))
}

/// What became of everything since the start, for `sync()`.
#[napi(catch_unwind, ts_return_type = "Record<string, unknown>")]
pub(crate) fn summary(env: Env, handle: u32) -> Result<Object<'static>> {
    let js = js(env);
    let stats = with(env, handle, |slot| slot.pipeline.shared().stats())?;
    let object = convert::outcome(js, &stats.totals.outcome)?;
    convert::add_totals(js, object, &stats.totals, stats.elapsed_ms)?;
    Ok(Object::from_raw(js.env(), object))
}

/// From here on nothing can be appended.
#[napi(catch_unwind)]
pub(crate) fn refuse(env: Env, handle: u32, aborted: bool) -> Result<()> {
    with(env, handle, |slot| {
        slot.end(if aborted { Error::Aborted } else { Error::Closed })
    })
}

/// Ends the work: nothing can be appended, and what is outstanding is given up.
#[napi(catch_unwind)]
pub(crate) fn end(env: Env, handle: u32, aborted: bool) -> Result<()> {
    let error = if aborted { Error::Aborted } else { Error::Closed };
    with(env, handle, |slot| {
        slot.end(error.clone());
        slot.pipeline.shared().stop(error);
        // A question under way ends by itself; with it, or here, goes its connection.
        slot.looker = Arc::default();
    })
}

/// Frees the handle.
#[napi(catch_unwind)]
pub(crate) fn release(env: Env, handle: u32) -> Result<()> {
    let slot = Environment::of(js(env))?.slots.borrow_mut().remove(handle);
    if let Some(slot) = slot {
        slot.pipeline.shared().stop(Error::Closed);
    }
    Ok(())
}

/// Whether the process lives on for what is outstanding in this environment.
#[napi(catch_unwind)]
pub(crate) fn keep_alive(env: Env, outstanding: bool) -> Result<()> {
    let js = js(env);
    Environment::of(js)?.queue.keep_alive(js, outstanding)?;
    Ok(())
}

impl From<Failed> for napi::Error {
    fn from(_: Failed) -> Self {
        Self::from_reason("Node-API refused a call")
    }
}

pub(super) fn js(env: Env) -> Js {
    // SAFETY: generated functions get the environment that is calling them.
    unsafe { Js::new(env.raw()) }
}

pub(super) fn with<T>(env: Env, handle: u32, look: impl FnOnce(&mut Slot) -> T) -> Result<T> {
    let mut slots = Environment::of(js(env))?.slots.borrow_mut();
    let slot = slots.get(handle).ok_or(Failed)?;
    Ok(look(slot))
}

#[expect(clippy::cast_precision_loss, reason = "no count of commands comes near 2^53")]
fn as_number(count: u64) -> f64 {
    count as f64
}

/// Subcommands go through their container's method; forbidden commands have none.
fn has_method(command: &Command) -> bool {
    !matches!(command.forbidden, Some(Forbidden::Always(_)))
        && command
            .name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// What an object, a Map or an array stands for among a command's arguments.
fn trailing(command: &Command) -> &'static str {
    match command.trailing {
        // Which subcommand it is shows only later: all that any of them takes.
        _ if command.container => "fields",
        Trailing::Plain => "plain",
        Trailing::Values => "values",
        Trailing::Groups { size: 2, .. } | Trailing::Fields => "fields",
        Trailing::Groups { .. } => "values",
        Trailing::Scores => "scores",
    }
}
