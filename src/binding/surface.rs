//! The functions that `index.js` calls.

use std::sync::Arc;

use napi::bindgen_prelude::{Env, Function, JsValue, Object};
use napi::sys;
use napi_derive::napi;
use tokio::sync::watch;

use super::append::{self, MORE_EXPAND, MORE_FAILED, Problem, Stop, Target};
use super::call::{Call, Value, typed_callback};
use super::convert;
use super::import;
use super::instance::Instance;
use super::js::{Callback, Failed, Js};
use super::load::{self, Loads};
use super::notices::Mailbox;
use super::options::NativeOptions;
use super::runtime;
use super::slot::{Slot, State};
use super::template;
use crate::command::{Command, Trailing};
use crate::connection::state::Listening;
use crate::error::Error;
use crate::loader::{self, Listener, Looker, Notice, Question, Shared};
use crate::pipeline::Pipeline;

/// Prepares an evaluation of the package: returns functions that know of it alone, and that keep what is given here.
/// `dispatch(handle, kind, …)` hears what happens; `at` is `Uint8Array.prototype.at`, the built-in function.
#[napi(
    catch_unwind,
    ts_args_type = "dispatch: (handle: number, kind: number, ...details: unknown[]) => void, at: (this: Uint8Array, index: number) => unknown",
    ts_return_type = "{
  /** Values that the functions need, as long as there are any. */
  held: unknown[]
  /** By the number under which they are appended: every command that has a method, and `call` last. */
  commands(): { name: string; trailing: string }[]
  open(options: NativeOptions): number
  release(handle: number): void
  append(handle: number, command: number, ...values: unknown[]): number | undefined
  appendList(handle: number, command: number, values: unknown[]): number | undefined
  expand(handle: number): void
  expanded(handle: number): void
  problem(): { code: string; message: string; wrongType?: number } | undefined
  length(handle: number): number | undefined
  needsDrain(handle: number): boolean | undefined
  execute(handle: number, ticket?: number): void
  discard(handle: number): number
  drain(handle: number, ticket: number): void
  idle(handle: number, ticket: number): void
  ask(handle: number, ticket: number, about: 'replicas' | 'errorReplies' | 'checkpoint'): void
  query(handle: number, ticket: number, words: unknown[]): number | undefined
  listen(handle: number, listening: boolean): void
  stats(handle: number): Record<string, unknown>
  summary(handle: number): Record<string, unknown>
  refuse(handle: number, aborted: boolean): void
  end(handle: number, aborted: boolean): void
  keepAlive(outstanding: boolean): void
  handOver(): void
  template(handle: number, texts: string[], onNull: 'throw' | 'skip' | 'empty'): { holes: string[]; inputs: { hole: number; conversion?: string; command: string }[]; star?: string; number: number } | undefined
  fill(template: number, ...values: unknown[]): number | undefined
  forget(template: number): void
  openLoad(handle: number, maxFailed: number): number
  beginRow(handle: number, load: number, row: number): boolean
  endRow(handle: number): number | undefined
  failRow(handle: number, command: string, code: string, message: string): number
  undoRow(handle: number): void
  executeLoad(handle: number, load: number): void
  rest(handle: number, ticket: number): void
  closeLoad(handle: number, load: number, ticket: number, forget: boolean): void
  loadStats(handle: number, load: number): Record<string, unknown>
  forgetLoad(handle: number, load: number): void
  importFile(handle: number, ticket: number, maxFailed: number, first: number, file: NativeFile): number | undefined
  stopImport(handle: number, load: number): void
  importSample(handle: number, load: number): Buffer[]
  importStats(handle: number, load: number): { rows: number; bytesRead?: number; bytesTotal?: number }
}"
)]
pub(crate) fn attach(env: Env, dispatch: Function<'_>, at: Function<'_>) -> napi::Result<Object<'static>> {
    // SAFETY: generated functions get the environment that is calling them.
    let js = unsafe { Js::new(env.raw()) };
    #[cfg(target_arch = "x86_64")]
    if let Some(convert) = super::transcode::converter() {
        crate::resp::text::lend(convert);
    }
    let functions = Instance::attach(js, dispatch.raw(), at.raw(), &FUNCTIONS);
    let functions = functions.map_err(|Failed| napi::Error::from_reason("Node-API refused a call"))?;
    Ok(Object::from_raw(js.env(), functions))
}

/// What is called for each command, by hand; all else reads its arguments by their types.
const FUNCTIONS: [(&str, Callback); 40] = [
    ("append", append::append),
    ("appendList", append::append_list),
    ("fill", template::fill),
    ("ask", typed_callback!(ask)),
    ("beginRow", typed_callback!(load::begin_row)),
    ("closeLoad", typed_callback!(load::close_load)),
    ("commands", typed_callback!(commands)),
    ("discard", typed_callback!(discard)),
    ("drain", typed_callback!(drain)),
    ("end", typed_callback!(end)),
    ("endRow", typed_callback!(load::end_row)),
    ("execute", typed_callback!(execute)),
    ("executeLoad", typed_callback!(load::execute_load)),
    ("expand", typed_callback!(expand)),
    ("expanded", typed_callback!(expanded)),
    ("failRow", typed_callback!(load::fail_row)),
    ("forget", typed_callback!(template::forget)),
    ("forgetLoad", typed_callback!(load::forget_load)),
    ("handOver", typed_callback!(hand_over)),
    ("idle", typed_callback!(idle)),
    ("importFile", typed_callback!(import::import_file)),
    ("importSample", typed_callback!(import::import_sample)),
    ("importStats", typed_callback!(import::import_stats)),
    ("keepAlive", typed_callback!(keep_alive)),
    ("length", typed_callback!(length)),
    ("listen", typed_callback!(listen)),
    ("loadStats", typed_callback!(load::load_stats)),
    ("needsDrain", typed_callback!(needs_drain)),
    ("open", typed_callback!(open)),
    ("openLoad", typed_callback!(load::open_load)),
    ("problem", typed_callback!(problem)),
    ("query", typed_callback!(query)),
    ("refuse", typed_callback!(refuse)),
    ("release", typed_callback!(release)),
    ("rest", typed_callback!(load::rest)),
    ("stats", typed_callback!(stats)),
    ("stopImport", typed_callback!(import::stop_import)),
    ("summary", typed_callback!(summary)),
    ("template", typed_callback!(template::template)),
    ("undoRow", typed_callback!(load::undo_row)),
];

/// Every command that has a method: `{ name, trailing }`, by the number under which it is appended.
fn commands(call: Call<'_>) -> Result<sys::napi_value, Error> {
    let js = call.js;
    let list = js.array(call.instance.targets.len())?;
    for (at, target) in call.instance.targets.iter().enumerate() {
        let (name, trailing) = match target {
            Target::Command(known) => (known.command.name.to_ascii_lowercase(), trailing(known.command)),
            Target::Call => ("call".to_owned(), "call"),
        };
        let object = js.object()?;
        js.set(object, "name", js.text(name.as_bytes())?)?;
        js.set(object, "trailing", js.text(trailing.as_bytes())?)?;
        js.set_element(list, at, object)?;
    }
    Ok(list)
}

/// Makes a pipeline; returns its handle. Nothing is connected before the first work.
fn open(call: Call<'_>, options: NativeOptions) -> Result<u32, Error> {
    let (config, encoding) = options.into();
    let runtime = runtime::handle()?;
    let queue = Arc::clone(&call.instance.queue);
    let handle = call.instance.slots.borrow_mut().add(|handle| {
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
    handle.ok_or_else(|| Error::Unsupported("more than a million pipelines at once".to_owned()))
}

/// Commands appended and not executed.
fn length(call: Call<'_>, handle: u32) -> Result<Option<u64>, Error> {
    Ok(call.look(handle, |slot| slot.pipeline.request.commands()))
}

/// Bytes executed and not yet answered are above an eighth of the ceiling.
fn needs_drain(call: Call<'_>, handle: u32) -> Result<Option<bool>, Error> {
    Ok(call.look(handle, |slot| slot.pipeline.shared().needs_drain()))
}

/// JavaScript spells out an argument, which may run code of the user's: nothing can be appended meanwhile.
fn expand(call: Call<'_>, handle: u32) -> Result<(), Error> {
    call.with(handle, |slot| turn(slot, &State::Open, State::Expanding))
}

/// It has.
fn expanded(call: Call<'_>, handle: u32) -> Result<(), Error> {
    call.with(handle, |slot| turn(slot, &State::Expanding, State::Open))
}

fn turn(slot: &mut Slot, from: &State, to: State) {
    if std::mem::discriminant(&slot.state) == std::mem::discriminant(from) {
        slot.state = to;
    }
}

/// Executes what is appended; with a ticket, the outcome is dispatched under it.
fn execute(call: Call<'_>, handle: u32, ticket: Option<u32>) -> Result<(), Error> {
    call.with(handle, |slot| slot.pipeline.execute(ticket))
}

/// Forgets them; returns how many.
fn discard(call: Call<'_>, handle: u32) -> Result<u64, Error> {
    call.with(handle, |slot| slot.pipeline.discard())
}

/// Dispatches under `ticket` once they are below a sixteenth.
fn drain(call: Call<'_>, handle: u32, ticket: u32) -> Result<(), Error> {
    call.with(handle, |slot| slot.pipeline.shared().drain(ticket))
}

/// Dispatches under `ticket` once everything executed is over; behind `end`, once the connection is closed too.
fn idle(call: Call<'_>, handle: u32, ticket: u32) -> Result<(), Error> {
    let runtime = runtime::handle()?;
    call.with(handle, |slot| {
        if !slot.has_ended() {
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
fn ask(call: Call<'_>, handle: u32, ticket: u32, about: String) -> Result<(), Error> {
    let question = match about.as_str() {
        "replicas" => Question::Replicas,
        "errorReplies" => Question::ErrorReplies,
        _ => Question::Checkpoint,
    };
    call.with(handle, |slot| slot.pipeline.shared().ask(ticket, question))
}

/// Whether each failure is dispatched.
fn listen(call: Call<'_>, handle: u32, listening: bool) -> Result<(), Error> {
    let listening = if listening { Listening::Yes } else { Listening::No };
    call.with(handle, |slot| slot.pipeline.shared().listen(listening))
}

/// Asks one question, given as `[name, …arguments]`, on a connection of its own; returns what an append returns.
fn query(call: Call<'_>, handle: u32, ticket: u32, words: Value) -> Result<Option<u32>, Error> {
    let Call { js, instance, .. } = call;
    let words = append::elements(js, words.0)?;
    let runtime = runtime::handle()?;
    let asked = call.with(handle, |slot| {
        if let State::Ended(error) = &slot.state {
            return Err(Stop::from(error.clone()));
        }
        let request = append::request_of(js, slot, &words)?;
        let (looker, shared) = (Arc::clone(&slot.looker), Arc::clone(slot.pipeline.shared()));
        runtime.spawn(async move { looker.ask(shared, ticket, request).await });
        Ok(())
    })?;
    match asked {
        Ok(()) => Ok(None),
        Err(Stop::Expand) => Ok(Some(MORE_EXPAND)),
        Err(Stop::Failed(problem)) => {
            instance.problem.replace(Some(problem));
            Ok(Some(MORE_FAILED))
        }
    }
}

/// Why the last append failed: `{ code, message, wrongType? }`.
fn problem(call: Call<'_>) -> Result<Option<sys::napi_value>, Error> {
    let js = call.js;
    let Some(Problem { error, wrong_type }) = call.instance.problem.take() else {
        return Ok(None);
    };
    let object = convert::maybe_error(js, Some(&error))?;
    if let Some(at) = wrong_type {
        js.set(object, "wrongType", js.count(at as u64)?)?;
    }
    Ok(Some(object))
}

/// A look at the pipeline, for `stats()`.
fn stats(call: Call<'_>, handle: u32) -> Result<sys::napi_value, Error> {
    let js = call.js;
    let (stats, open) = call.with(handle, |slot| {
        (slot.pipeline.shared().stats(), slot.pipeline.request.committed_bytes())
    })?;
    let object = convert::counts(js, &stats.totals.outcome)?;
    convert::add_totals(js, object, &stats.totals, stats.elapsed_ms)?;
    js.set(object, "bufferedBytes", js.count((stats.queued_bytes + open) as u64)?)?;
    js.set(object, "inFlightBytes", js.count(stats.in_flight_bytes as u64)?)?;
    js.set(object, "connected", js.boolean(stats.connected)?)?;
    Ok(object)
}

/// What became of everything since the start, for `sync()`.
fn summary(call: Call<'_>, handle: u32) -> Result<sys::napi_value, Error> {
    let stats = call.with(handle, |slot| slot.pipeline.shared().stats())?;
    let object = convert::outcome(call.js, &stats.totals.outcome)?;
    convert::add_totals(call.js, object, &stats.totals, stats.elapsed_ms)?;
    Ok(object)
}

/// From here on nothing can be appended.
fn refuse(call: Call<'_>, handle: u32, aborted: bool) -> Result<(), Error> {
    call.with(handle, |slot| slot.end(why(aborted)))
}

/// Ends the work: nothing can be appended, and what is outstanding is given up.
fn end(call: Call<'_>, handle: u32, aborted: bool) -> Result<(), Error> {
    call.with(handle, |slot| {
        slot.end(why(aborted));
        slot.pipeline.shared().stop(why(aborted));
        // A question under way ends by itself; with it, or here, goes its connection.
        slot.looker = Arc::default();
    })
}

fn why(aborted: bool) -> Error {
    if aborted { Error::Aborted } else { Error::Closed }
}

/// Frees the handle.
fn release(call: Call<'_>, handle: u32) -> Result<(), Error> {
    let slot = call.instance.slots.borrow_mut().remove(handle);
    drop(slot);
    Ok(())
}

/// Whether the process lives on for what is outstanding in this instance.
fn keep_alive(call: Call<'_>, outstanding: bool) -> Result<(), Error> {
    Ok(call.instance.keep_alive(call.js, outstanding)?)
}

/// Hands over what did not fit in the last turn of the event loop.
fn hand_over(call: Call<'_>) -> Result<(), Error> {
    call.instance.queue.hand_over(call.js, call.instance);
    Ok(())
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
