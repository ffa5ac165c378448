//! The task of a pipeline: connects, has the connection served, tries again, gives up, reports.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use super::checkpoint::Checkpoint;
use super::connect::{Before, connect};
use super::question::{Audit, Question};
use super::rotation::{GOODBYE, dismiss};
use super::standby::Standby;
use super::takeover::Predecessor;
use super::{Notice, Ordered, Reason, Report, Shared, Work, lock};
use crate::batch::Batch;
use crate::connection::handshake::Peer;
use crate::connection::link::Link;
use crate::connection::pace::Pace;
use crate::connection::state::Exchange;
use crate::connection::stream::Stream;
use crate::connection::task::{Driver, End, Ended, Flow, Successor, serve};
use crate::error::Error;
use crate::retry::{Backoff, Verdict};

/// Runs until the pipeline is stopped.
pub async fn run(shared: Arc<Shared>) {
    Loader::new(shared).run().await;
}

pub(super) struct Loader {
    pub(super) shared: Arc<Shared>,
    pub(super) exchange: Exchange,
    /// What was taken on and is not over, in order.
    pub(super) order: VecDeque<Step>,
    /// What the next report will tell.
    pub(super) report: Report,
    /// The place of the next command among those of its `exec()`.
    next_index: u64,
    /// Reply bytes that are counted as untaken and not reported yet.
    pub(super) kept: usize,
    /// The connection that takes over next, opened beforehand.
    pub(super) standby: Option<Standby>,
    /// The server is known to hold one back that is asked for.
    pub(super) holds_back: bool,
    /// Who goes on where the connection at work ends, and is written to.
    pub(super) next: Option<Peer>,
    /// Why the next connection is wanted.
    pub(super) reason: Reason,
    /// The last connection, where it was lost with something in flight.
    pub(super) predecessor: Option<Predecessor>,
    /// Who answers.
    pub(super) peer: Option<Peer>,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) audit: Audit,
    /// The server takes MULTI where nobody would hear that it does not.
    pub(super) tried_transaction: bool,
    /// What was asked, by ticket.
    pub(super) asked: HashMap<u32, Question>,
    /// Work that cannot be taken on before a connection is up.
    waiting: VecDeque<Work>,
    /// Work is outstanding since then, and no command was answered.
    waiting_since: Instant,
    /// How many commands were answered then.
    answered: u64,
    /// What the server refused for now is sent again then.
    paused_until: Option<Instant>,
    /// Where the pipeline is throttled.
    pace: Option<Pace>,
    backoff: Backoff,
    /// A connection was up before: the next one is a reconnection.
    connected_before: Before,
    /// What is to be told once the rest is.
    reconnected: Option<Notice>,
    /// What is told next, all at once: each time somebody is woken on the JavaScript thread, that gets in the way of this one.
    outbox: Vec<Notice>,
}

pub(super) enum Step {
    Batch,
    Report(Ordered),
}

impl Loader {
    fn new(shared: Arc<Shared>) -> Self {
        let config = &shared.config;
        Self {
            exchange: Exchange::new(shared.settings()),
            order: VecDeque::new(),
            report: Report::default(),
            next_index: 0,
            kept: 0,
            standby: None,
            holds_back: false,
            next: None,
            reason: Reason::Lost,
            predecessor: None,
            peer: None,
            checkpoint: config.checkpoint.clone().map(Checkpoint::new),
            audit: Audit::default(),
            tried_transaction: false,
            asked: HashMap::new(),
            waiting: VecDeque::new(),
            waiting_since: Instant::now(),
            answered: 0,
            paused_until: None,
            pace: Pace::of(config.throttle),
            backoff: Backoff::first_connect(&config.retry),
            connected_before: Before::Never,
            reconnected: None,
            outbox: Vec::new(),
            shared,
        }
    }

    async fn run(mut self) {
        loop {
            if self.refill() == Flow::Stop {
                return self.stop();
            }
            if let Some(link) = self.take_over().await {
                self.serve(link).await;
                continue;
            }
            self.settle();
            if self.exchange.is_idle() && self.waiting.is_empty() {
                self.shared.wait_for_work().await;
                continue;
            }
            match self.connect().await {
                Ok(link) => self.serve(link).await,
                // Seen to when the loop comes round.
                Err(_) if self.shared.stopped().is_some() => {}
                Err(error) => self.give_up(&error),
            }
        }
    }

    /// Tries as often as it may.
    async fn connect(&mut self) -> Result<Link, Error> {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut link = tokio::select! {
                biased;
                error = shared.stop_signal() => Err(error),
                link = connect(&shared, &mut self.backoff, self.waiting_since, self.connected_before) => link,
            }?;
            let Err(error) = self.prepare_unless_stopped(&mut link).await else {
                self.connected(&link.peer);
                return Ok(link);
            };
            if Verdict::of(&error) == Verdict::GiveUp {
                return Err(error);
            }
            let delay = self.backoff.next(self.waiting_since.elapsed()).ok_or(error)?;
            self.unless_stopped(sleep(delay)).await?;
        }
    }

    pub(super) async fn prepare_unless_stopped(&mut self, link: &mut Link) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            error = shared.stop_signal() => Err(error),
            prepared = self.prepare_link(link) => prepared,
        }
    }

    pub(super) fn connected(&mut self, peer: &Peer) {
        self.peer = Some(peer.clone());
        self.shared.live.connected.store(true, Relaxed);
        if self.connected_before == Before::Once {
            lock(&self.shared.known).totals.reconnects += 1;
            self.reconnected = Some(Notice::Reconnected {
                reason: self.reason,
                address: self.shared.config.server.to_string(),
            });
            self.reason = Reason::Lost;
        } else {
            self.connected_before = Before::Once;
            self.backoff = Backoff::reconnect(&self.shared.config.retry);
        }
    }

    /// Uses the connection while it lasts, then sees to what is left.
    async fn serve(&mut self, mut link: Link) {
        let shared = Arc::clone(&self.shared);
        let (moved_at, ended) = serve(&mut link.stream, self, &shared.wake, shared.config.stall_timeout).await;
        shared.live.connected.store(false, Relaxed);
        self.paused_until = None;
        self.note_progress(moved_at);
        let address = link.address.clone();
        let next = self.next.take();
        let unreadable = matches!(ended, Ended::Unreadable(_));
        let (error, end) = match ended {
            Ended::Stopped => {
                // The stop itself is seen to by `run`.
                if self.exchange.is_idle() {
                    if let Some(checkpoint) = &mut self.checkpoint {
                        checkpoint.leave(&mut link, GOODBYE).await;
                    }
                    let _ = timeout(GOODBYE, link.stream.shutdown()).await;
                }
                return;
            }
            Ended::Spent => {
                self.exchange.replaced();
                self.reason = Reason::Rotation;
                return dismiss(link.stream);
            }
            Ended::Violated(reason) => (Error::Protocol { address, reason }, End::Ours),
            Ended::Refused(reason) if reason.contains("NOPERM") => (Error::Auth { address, reason }, End::Ours),
            Ended::Refused(reason) => (Error::Refused { address, reason }, End::Ours),
            Ended::Moved => {
                self.exchange.disconnected(&Error::Closed);
                self.standby = None;
                self.reason = Reason::Moved;
                return;
            }
            Ended::Stalled => {
                let after = shared.config.stall_timeout;
                (Error::Stalled { address, after }, End::Ours)
            }
            Ended::Unreadable(reason) => {
                let end = next.as_ref().map_or(End::Theirs, |_| End::Ours);
                (Error::ConnectionLost { address, reason }, end)
            }
            // Of two connections one was ended here.
            Ended::Lost { reason, .. } if next.is_some() => (Error::ConnectionLost { address, reason }, End::Ours),
            Ended::Lost { reason, end } => (Error::ConnectionLost { address, reason }, end),
        };
        if end == End::Ours {
            link.stream.reset_on_close();
        }
        drop(link.stream);
        if self.exchange.in_flight() > 0 {
            self.tried_transaction = false;
            self.predecessor = Some(Predecessor {
                peers: self.peer.iter().cloned().chain(next).collect(),
                error: error.clone(),
                end,
            });
        }
        if matches!(error, Error::Protocol { .. }) {
            self.exchange.distrust(&error);
        }
        if Verdict::of(&error) == Verdict::GiveUp {
            return self.give_up(&error);
        }
        // What ended this one may have ended that too.
        self.standby = None;
        if self.exchange.is_idle() || unreadable {
            // Nothing is under way, and the next batch finds a new connection; or the rest needs one at once, as the server
            // has ended this one for what is settled by that.
            return self.exchange.disconnected(&error);
        }
        match self.backoff.next(self.waiting_since.elapsed()) {
            None => self.give_up(&error),
            Some(delay) => {
                self.exchange.disconnected(&error);
                self.settle();
                if !self.exchange.is_idle() {
                    // A stop is seen to by `run`.
                    let _ = self.unless_stopped(sleep(delay)).await;
                }
            }
        }
    }

    /// Whatever is outstanding ends here.
    fn give_up(&mut self, error: &Error) {
        self.standby = None;
        self.shared.budget.give_up();
        let _ = self.refill();
        self.take_on_waiting();
        self.exchange.give_up(error);
        if let Some(checkpoint) = &mut self.checkpoint {
            checkpoint.forget();
        }
        self.exchange.be_patient(true);
        // What is executed from here on, by whoever hears this, is not part of it.
        self.tell(Notice::GivenUp(error.clone()));
        self.settle();
        self.backoff = match self.connected_before {
            Before::Never => Backoff::first_connect(&self.shared.config.retry),
            Before::Once => Backoff::reconnect(&self.shared.config.retry),
        };
        if self.report.error.is_some() {
            let outcome = Box::new(self.report.outcome.clone());
            self.tell(Notice::Unreported {
                error: error.clone(),
                outcome,
            });
            self.flush();
        }
    }

    fn stop(mut self) {
        let error = self.shared.stopped().unwrap_or(Error::Closed);
        // The report on a load that is refused below counts all of the load: what is in flight is settled before.
        self.give_up_all(&error);
        // Who executes from here on is refused at once.
        lock(&self.shared.inbox).closed = Some(error.clone());
        self.give_up_all(&error);
        // Nobody will ask for the report on automatic batches any more.
        self.shared.budget.keep(-self.kept.cast_signed());
    }

    pub(super) async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            error = self.shared.stop_signal() => Err(error),
            value = future => Ok(value),
        }
    }

    /// A server that takes bytes and only ever hangs up makes no progress, nor one that queues and never executes, or
    /// refuses for now.
    fn note_progress(&mut self, moved_at: Instant) {
        if self.exchange.answered() > self.answered {
            self.answered = self.exchange.answered();
            self.waiting_since = self.waiting_since.max(moved_at);
            self.backoff.progress();
        }
    }

    /// The server refuses some commands for now: they are sent again after a while.
    fn pause(&mut self) {
        if self.paused_until.is_some() || !self.exchange.is_waiting() {
            return;
        }
        match self.backoff.next(self.waiting_since.elapsed()) {
            Some(delay) => self.paused_until = Some(Instant::now() + delay),
            None => {
                self.exchange.be_patient(false);
                self.exchange.retry();
            }
        }
    }

    pub(super) fn tell(&mut self, notice: Notice) {
        self.outbox.push(notice);
    }

    fn flush(&mut self) {
        if !self.outbox.is_empty() {
            self.shared.listener.notify_all(mem::take(&mut self.outbox));
        }
    }

    /// Takes on what had to wait for a connection, as far as it can be.
    pub(super) fn take_on_waiting(&mut self) {
        for work in mem::take(&mut self.waiting) {
            self.take_on(work);
        }
        self.report(&[]);
    }

    fn take_on(&mut self, work: Work) {
        match work {
            Work::Batch(batch) => self.take_on_batch(batch),
            Work::Report(report) => {
                if report.load.is_none() {
                    self.next_index = 0;
                }
                self.order.push_back(Step::Report(report));
            }
            Work::Question(ticket, question) => self.ask(ticket, question),
        }
    }

    fn take_on_batch(&mut self, batch: Batch) {
        let load = batch.part.as_ref().map(|part| &part.tally);
        if let Some(error) = load.and_then(|load| load.error()) {
            return self.refuse(batch, &error);
        }
        let row = batch.part.as_ref().and_then(|part| part.rows.last());
        let mut index = 0;
        // A load counts its commands itself.
        if batch.part.is_none() {
            index = self.next_index;
            self.next_index += batch.commands;
        }
        let mark = self.checkpoint.as_mut().map(|checkpoint| checkpoint.next_mark(row));
        self.exchange.push_marked(batch, index, mark);
        self.order.push_back(Step::Batch);
    }
}

impl Driver<Stream> for Loader {
    fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    fn refill(&mut self) -> Flow {
        let work = self.shared.take_work(!self.exchange.has_unwritten());
        let flow = if self.shared.stop.borrow().is_some() {
            Flow::Stop
        } else {
            Flow::GoOn
        };
        self.exchange.overhear(self.shared.listening());
        if work.is_empty() && self.waiting.is_empty() {
            return flow;
        }
        if self.exchange.is_idle() && self.waiting.is_empty() {
            self.waiting_since = Instant::now();
            self.backoff.progress();
        }
        self.waiting.extend(work);
        // Numbered are batches only once it is known what the server holds.
        if self.checkpoint.as_ref().is_none_or(Checkpoint::is_ready) {
            self.take_on_waiting();
        }
        // A question may have its answer at once.
        self.flush();
        flow
    }

    fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    fn resume(&mut self) -> Flow {
        self.paused_until = None;
        if !self.exchange.is_waiting() {
            return Flow::GoOn;
        }
        let last = self.backoff.is_used_up(self.waiting_since.elapsed());
        self.exchange.be_patient(!last);
        if self.exchange.is_in_wrong_place() {
            return Flow::Stop;
        }
        self.exchange.retry();
        Flow::GoOn
    }

    fn allow(&mut self) -> Option<Instant> {
        let pace = self.pace.as_mut()?;
        let held_back = pace.allow(&mut self.exchange);
        // The time that we take ourselves is not one without progress.
        self.waiting_since = (self.waiting_since + pace.take_held()).min(Instant::now());
        held_back
    }

    fn successor(&mut self) -> Option<Successor<Stream>> {
        self.next_in_line()
    }

    fn awaits_successor(&self) -> bool {
        self.awaits_next()
    }

    fn succeeded(&mut self, old: Stream) {
        self.has_succeeded(old);
    }

    fn settle(&mut self) {
        self.note_progress(Instant::now());
        self.pause();
        let finished = self.exchange.take_finished();
        self.confirm(&finished);
        self.count(&finished);
        self.shared.live.in_flight.store(self.exchange.in_flight(), Relaxed);
        let released = self.exchange.take_released();
        for segment in released.segments {
            self.shared.pool.put_back(segment);
        }
        // Before room is given back, so that replies are never taken for room.
        self.count_kept(&finished);
        let settled = match (released.bytes, finished.len()) {
            (0, 0) => Vec::new(),
            (bytes, batches) => self.shared.budget.settle(bytes, batches),
        };
        // Whoever hears that a batch is over has heard of its failures, and finds its room free.
        self.tell_overheard();
        let mut finished = finished.into_iter();
        while let Some(next) = finished.next() {
            self.add(next);
            self.order.pop_front();
            self.report(finished.as_slice());
        }
        self.tell_answers();
        self.prepare();
        self.count_kept(&[]);
        for ticket in settled {
            self.tell(Notice::Settled { ticket });
        }
        if let Some(notice) = self.reconnected.take() {
            self.tell(notice);
        }
        self.flush();
    }
}
