//! One pipeline's work: takes batches from the JavaScript thread, sees them through, tells the outcome.
//!
//! [`Shared`] is what both threads hold; [`run`] is the task on the runtime.

mod budget;
mod checkpoint;
mod connect;
#[cfg(test)]
mod inbox_tests;
mod query;
mod question;
mod reporting;
mod rotation;
#[cfg(test)]
pub(crate) mod server;
mod standby;
mod takeover;
#[cfg(test)]
mod tests;
mod work;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use self::budget::Budget;
pub use self::budget::Hopeless;
pub use self::checkpoint::Progress;
pub use self::query::Looker;
pub use self::question::{Answer, Question};
pub use self::work::run;
use crate::batch::{Batch, Pool};
use crate::config::{Config, Throttle};
use crate::connection::state::{Exchange, Finished, Listening, Settings};
use crate::connection::tls::Connector;
use crate::error::Error;
use crate::outcome::{Failure, Outcome};
use crate::rows::Tally;

/// Told what happened; called on the runtime's thread, must not block.
pub trait Listener: Send + Sync + 'static {
    fn notify(&self, notice: Notice);

    /// The same for several at once.
    fn notify_all(&self, notices: Vec<Notice>) {
        for notice in notices {
            self.notify(notice);
        }
    }
}

/// What JavaScript has to hear.
#[derive(Debug)]
pub enum Notice {
    /// An explicit `exec()` is over.
    Executed { ticket: u32, report: Box<Report> },
    /// What `drain` or `idle` waited for has come.
    Settled { ticket: u32 },
    /// A query was answered: one reply in RESP.
    Queried { ticket: u32, reply: Result<Vec<u8>, Error> },
    /// What [`Shared::ask`] asked.
    Answered { ticket: u32, answer: Result<Answer, Error> },
    /// A command was refused, and somebody listens.
    Failed(Failure),
    /// Another connection has taken over.
    Reconnected { reason: Reason, address: String },
    /// Work is given up; what became of it follows.
    GivenUp(Error),
    /// Some of what was given up has no `exec()` yet that would tell: what is known of that batch.
    Unreported { error: Error, outcome: Box<Outcome> },
    /// The task itself broke down.
    Broken(Error),
}

/// Why a connection was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It had had its `reconnectEvery` batches.
    Rotation,
    /// It was lost.
    Lost,
    /// The server may write no more: it was looked up anew.
    Moved,
}

/// What an explicit `exec()` reports.
#[derive(Debug, Default)]
pub struct Report {
    pub outcome: Outcome,
    /// With `collect`: a reply in RESP for each command.
    pub replies: Vec<u8>,
    pub error: Option<Error>,
}

impl Report {
    /// All has succeeded, and there is nothing else to tell.
    pub fn is_plain(&self) -> bool {
        self.error.is_none() && self.replies.is_empty() && self.outcome.succeeded == self.outcome.commands
    }

    fn of(load: &Tally) -> Self {
        let known = load.look();
        Self {
            outcome: known.outcome,
            error: known.error.or(known.cause),
            ..Self::default()
        }
    }
}

/// Totals since the start.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub outcome: Outcome,
    pub batches: u64,
    pub reconnects: u64,
    pub resent: u64,
}

pub struct Shared {
    pub config: Config,
    pub(crate) budget: Budget,
    pub(crate) pool: Arc<Pool>,
    inbox: Mutex<Inbox>,
    /// Something is in the inbox that is waited for, or the work is to stop.
    wake: Notify,
    stop: watch::Sender<Option<Error>>,
    /// Made by whoever connects first: reading the system's certificates takes a while.
    connector: OnceLock<Connector>,
    known: Mutex<Known>,
    live: Live,
    started: Instant,
    listener: Arc<dyn Listener>,
}

#[derive(Debug, Default)]
struct Inbox {
    work: VecDeque<Work>,
    /// The task may sleep until something comes. Else it has more to write than may go now, and looks here as soon as
    /// anything moves: waking it before would cost both threads, and it could do nothing.
    awaited: bool,
    /// Nobody will look into it any more, for this reason.
    closed: Option<Error>,
}

/// What became of the commands. Under one lock, so that no look at it counts a command twice.
#[derive(Debug, Default)]
struct Known {
    /// Of finished batches.
    totals: Totals,
    /// Of the batch under way: succeeded, failed, unknown.
    under_way: (u64, u64, u64),
}

/// A look at the work that is under way.
#[derive(Debug, Default)]
struct Live {
    in_flight: AtomicUsize,
    connected: AtomicBool,
    listening: AtomicBool,
}

#[derive(Debug)]
enum Work {
    Batch(Batch),
    Report(Ordered),
    Question(u32, Question),
}

/// A report that is wanted, behind what was executed before.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) ticket: u32,
    /// On a load; else on everything of the pipeline's own since the last such report.
    pub(crate) load: Option<Arc<Tally>>,
}

/// A look at a pipeline.
#[derive(Debug)]
pub struct Stats {
    pub totals: Totals,
    pub elapsed_ms: f64,
    /// Executed, and not yet written.
    pub queued_bytes: usize,
    pub in_flight_bytes: usize,
    pub connected: bool,
}

impl Shared {
    pub fn new(config: Config, listener: Arc<dyn Listener>) -> Self {
        Self {
            budget: Budget::new(config.max_buffered),
            pool: Arc::new(Pool::for_window(config.max_in_flight)),
            config,
            inbox: Mutex::default(),
            wake: Notify::new(),
            stop: watch::Sender::new(None),
            connector: OnceLock::new(),
            known: Mutex::default(),
            live: Live::default(),
            started: Instant::now(),
            listener,
        }
    }

    /// Hands over a batch, which may be empty, and with a ticket asks for a report.
    pub(crate) fn execute(&self, batch: Batch, ticket: Option<u32>) {
        self.execute_and(batch, ticket.map(|ticket| Ordered { ticket, load: None }));
    }

    pub(crate) fn execute_and(&self, batch: Batch, report: Option<Ordered>) {
        let mut inbox = lock(&self.inbox);
        if let Some(error) = inbox.closed.clone() {
            drop(inbox);
            return self.refuse(batch, report, error);
        }
        if batch.commands > 0 {
            self.budget.execute(batch.bytes);
            inbox.work.push_back(Work::Batch(batch));
        }
        inbox.work.extend(report.map(Work::Report));
        self.wake(inbox);
    }

    /// What was put into the inbox is taken on in time.
    fn wake(&self, mut inbox: MutexGuard<'_, Inbox>) {
        let awaited = mem::take(&mut inbox.awaited);
        drop(inbox);
        if awaited {
            self.wake.notify_one();
        }
    }

    /// What is in the inbox. `awaited`: for more of it the task is to be woken.
    fn take_work(&self, awaited: bool) -> VecDeque<Work> {
        let mut inbox = lock(&self.inbox);
        inbox.awaited = awaited;
        mem::take(&mut inbox.work)
    }

    /// Ends when something is in the inbox, or the work is to stop.
    async fn wait_for_work(&self) {
        let is_there = {
            let mut inbox = lock(&self.inbox);
            inbox.awaited = true;
            !inbox.work.is_empty()
        };
        if !is_there {
            self.wake.notified().await;
        }
    }

    /// A row of a load makes no command: that counts as one that has failed.
    pub(crate) fn fail(&self, load: &Tally, failure: Failure) {
        let max = self.config.max_failures;
        lock(&self.known).totals.outcome.fail(failure.clone(), max);
        load.fail(failure.clone());
        if self.listening() == Listening::Yes {
            self.budget.overhear(failure.size());
            self.listener.notify(Notice::Failed(failure));
        }
    }

    /// Asks something about the load, behind everything executed; [`Notice::Answered`] comes under `ticket`.
    pub fn ask(&self, ticket: u32, question: Question) {
        let mut inbox = lock(&self.inbox);
        if let Some(error) = inbox.closed.clone() {
            drop(inbox);
            let answer = Err(error);
            return self.listener.notify(Notice::Answered { ticket, answer });
        }
        inbox.work.push_back(Work::Question(ticket, question));
        self.wake(inbox);
    }

    /// A batch that nobody will take on: none of it is done.
    fn refuse(&self, batch: Batch, report: Option<Ordered>, error: Error) {
        let mut told = Report::default();
        if batch.commands > 0 {
            let (finished, overheard) = self.refused(batch, &error);
            for failure in overheard {
                self.budget.overhear(failure.size());
                self.listener.notify(Notice::Failed(failure));
            }
            let max = self.config.max_failures;
            for finished in finished {
                let totals = &mut lock(&self.known).totals;
                totals.batches += 1;
                totals.outcome.add(finished.outcome.clone(), max);
                match finished.load {
                    Some(load) => load.add(finished.outcome, finished.error),
                    None => {
                        told.outcome.add(finished.outcome, max);
                        told.replies.extend(finished.replies);
                    }
                }
            }
        }
        let Some(Ordered { ticket, load }) = report else { return };
        if let Some(load) = load {
            told = Report::of(&load);
        }
        told.error.get_or_insert(error);
        self.budget.keep(told.replies.len().cast_signed());
        let report = Box::new(told);
        self.listener.notify(Notice::Executed { ticket, report });
    }

    /// What there is to tell of a batch that nobody takes on, and of each of its commands to those who listen.
    fn refused(&self, batch: Batch, error: &Error) -> (Vec<Finished>, Vec<Failure>) {
        let mut exchange = Exchange::new(self.settings());
        exchange.push(batch, 0);
        exchange.give_up(error);
        (exchange.take_finished(), exchange.take_overheard())
    }

    /// Ends the work: what is outstanding is given up with this error.
    pub fn stop(&self, error: Error) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(error);
            first
        });
        self.budget.give_up();
        self.wake.notify_one();
    }

    /// A second window waits behind the one that may be on its way.
    pub(crate) fn is_ahead(&self) -> bool {
        self.budget.executed() / 2 >= self.config.max_in_flight
    }

    /// Bytes executed and not yet answered are above an eighth of the ceiling.
    pub fn needs_drain(&self) -> bool {
        self.budget.needs_drain()
    }

    /// Reports under `ticket` once they are below a sixteenth.
    pub fn drain(&self, ticket: u32) {
        if !self.budget.wait_for_drain(ticket) {
            self.listener.notify(Notice::Settled { ticket });
        }
    }

    /// Reports under `ticket` once so little is on its way that a load should go on.
    pub fn rest(&self, ticket: u32) {
        if !self.budget.wait_for_rest(ticket) {
            self.listener.notify(Notice::Settled { ticket });
        }
    }

    /// Reports under `ticket` once everything executed is over.
    pub fn idle(&self, ticket: u32) {
        if !self.budget.wait_for_idle(ticket) {
            self.listener.notify(Notice::Settled { ticket });
        }
    }

    /// The task has broken down.
    pub fn broken(&self, reason: &str) {
        let error = Error::Internal(reason.to_owned());
        lock(&self.inbox).closed = Some(error.clone());
        self.budget.give_up();
        self.listener.notify(Notice::Broken(error));
        for ticket in self.budget.abandon() {
            self.listener.notify(Notice::Settled { ticket });
        }
    }

    /// JavaScript took replies of that size.
    pub fn taken(&self, bytes: usize) {
        self.budget.take(bytes);
    }

    /// JavaScript took a failure that it was told of.
    pub fn heard(&self, failure: &Failure) {
        self.budget.take_overheard(failure.size());
    }

    /// Whether each failure is told at once.
    pub fn listen(&self, listening: Listening) {
        self.live.listening.store(listening == Listening::Yes, Relaxed);
    }

    pub fn stats(&self) -> Stats {
        let (mut totals, (succeeded, failed, unknown)) = {
            let known = lock(&self.known);
            (known.totals.clone(), known.under_way)
        };
        totals.outcome.commands += succeeded + failed + unknown;
        totals.outcome.succeeded += succeeded;
        totals.outcome.failed += failed;
        totals.outcome.unknown += unknown;
        let in_flight_bytes = self.live.in_flight.load(Relaxed);
        Stats {
            totals,
            elapsed_ms: self.started.elapsed().as_secs_f64() * 1000.0,
            queued_bytes: self.budget.executed().saturating_sub(in_flight_bytes),
            in_flight_bytes,
            connected: self.live.connected.load(Relaxed),
        }
    }

    fn listening(&self) -> Listening {
        if self.live.listening.load(Relaxed) {
            Listening::Yes
        } else {
            Listening::No
        }
    }

    /// What all connections of the pipeline are secured with.
    fn connector(&self) -> Result<&Connector, Error> {
        if let Some(connector) = self.connector.get() {
            return Ok(connector);
        }
        let connector = Connector::new(&self.config)?;
        Ok(self.connector.get_or_init(|| connector))
    }

    /// What the machine of a connection needs to know.
    fn settings(&self) -> Settings {
        Settings {
            replies: self.config.replies,
            transaction: self.config.transaction,
            max_in_flight: self.config.max_in_flight,
            reconnect_every: self.config.reconnect_every,
            resend: self.config.resend,
            waits: self.config.retry.attempts != Some(0),
            one_at_a_time: self.config.checkpoint.is_some(),
            throttled: self.config.throttle != Throttle::default(),
            max_failures: self.config.max_failures,
            listening: self.listening(),
        }
    }

    fn stopped(&self) -> Option<Error> {
        self.stop.borrow().clone()
    }

    /// Ends when the pipeline is stopped.
    async fn stop_signal(&self) -> Error {
        let mut stop = self.stop.subscribe();
        match stop.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or(Error::Closed),
            // The sender lives as long as `self`.
            Err(_) => Error::Closed,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
