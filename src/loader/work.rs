//! The task of a pipeline: connects, has the connection served, tries again, gives up, reports.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use super::connect::connect;
use super::standby::Standby;
use super::{Notice, Reason, Report, Shared, Work, lock};
use crate::connection::link::Link;
use crate::connection::state::{Exchange, Finished};
use crate::connection::task::{Driver, Ended, Flow, serve};
use crate::error::Error;
use crate::outcome::Failure;
use crate::retry::Backoff;

/// A clean goodbye (TLS tells the peer) may take so long.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs until the pipeline is stopped.
pub async fn run(shared: Arc<Shared>) {
    Loader::new(shared).run().await;
}

struct Loader {
    shared: Arc<Shared>,
    exchange: Exchange,
    /// What was taken on and is not over, in order.
    order: VecDeque<Step>,
    /// What the next report will tell.
    report: Report,
    /// The place of the next command among those of its `exec()`.
    next_index: u64,
    /// Reply bytes that are counted as untaken and not reported yet.
    kept: usize,
    /// The connection that takes over next, opened beforehand.
    standby: Option<Standby>,
    /// Why the next connection is wanted.
    reason: Reason,
    /// Work is outstanding since then, and no command was answered.
    waiting_since: Instant,
    backoff: Backoff,
    /// A connection was up before: the next one is a reconnection.
    connected_before: Before,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Never,
    Once,
}

enum Step {
    Batch,
    Report(u32),
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
            reason: Reason::Lost,
            waiting_since: Instant::now(),
            backoff: Backoff::first_connect(&config.retry),
            connected_before: Before::Never,
            shared,
        }
    }

    async fn run(mut self) {
        loop {
            if self.refill() == Flow::Stop {
                return self.stop();
            }
            self.settle();
            if let Some(link) = self.take_over().await {
                self.serve(link).await;
                continue;
            }
            if self.exchange.is_idle() {
                self.shared.wake.notified().await;
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

    /// The connection that was opened beforehand, where one is to take over and is still good.
    async fn take_over(&mut self) -> Option<Link> {
        let standby = self.standby.take_if(|_| self.reason == Reason::Rotation)?;
        let mut link = self.unless_stopped(standby.link()).await.ok()??;
        if !link.is_quiet().await {
            return None;
        }
        self.connected(&link);
        Some(link)
    }

    /// Half of a connection's share is written: the next one is opened meanwhile.
    fn prepare(&mut self) {
        if self.standby.is_none() && self.exchange.is_half_spent() {
            self.standby = Some(Standby::open(Arc::clone(&self.shared)));
        }
    }

    /// Tries as often as it may.
    async fn connect(&mut self) -> Result<Link, Error> {
        let shared = Arc::clone(&self.shared);
        let link = tokio::select! {
            biased;
            error = shared.stop_signal() => Err(error),
            link = connect(&shared, &mut self.backoff, self.waiting_since) => link,
        }?;
        self.connected(&link);
        Ok(link)
    }

    fn connected(&mut self, link: &Link) {
        self.shared.live.connected.store(true, Relaxed);
        if self.connected_before == Before::Once {
            lock(&self.shared.known).totals.reconnects += 1;
            self.shared.listener.notify(Notice::Reconnected {
                reason: self.reason,
                address: link.address.clone(),
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
        let before = self.exchange.answered();
        let (moved_at, ended) = serve(&mut link.stream, self, &shared.wake, shared.config.stall_timeout).await;
        shared.live.connected.store(false, Relaxed);
        // A server that takes bytes and only ever hangs up makes no progress, nor one that queues and never executes.
        if self.exchange.answered() > before {
            self.waiting_since = self.waiting_since.max(moved_at);
            self.backoff.progress();
        }
        let address = link.address;
        let error = match ended {
            Ended::Stopped => {
                // The stop itself is seen to by `run`.
                if self.exchange.is_idle() {
                    let _ = timeout(GOODBYE, link.stream.shutdown()).await;
                }
                return;
            }
            Ended::Spent => {
                self.exchange.replaced();
                self.reason = Reason::Rotation;
                // Nothing is unread, so that it ends cleanly; nobody has to wait for that.
                tokio::spawn(async move { timeout(GOODBYE, link.stream.shutdown()).await });
                return;
            }
            Ended::Violated(violation) => {
                let error = Error::Protocol {
                    address,
                    reason: violation,
                };
                self.exchange.distrust(&error);
                return self.give_up(&error);
            }
            Ended::Stalled => Error::Stalled {
                address,
                after: shared.config.stall_timeout,
            },
            Ended::Lost(reason) => Error::ConnectionLost { address, reason },
        };
        drop(link.stream);
        // What ended this one may have ended that too.
        self.standby = None;
        if self.exchange.is_idle() {
            // Nothing was under way: the next batch finds a new connection.
            return;
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
        self.exchange.give_up(error);
        // What is executed from here on, by whoever hears this, is not part of it.
        self.shared.listener.notify(Notice::GivenUp(error.clone()));
        self.settle();
        self.backoff = match self.connected_before {
            Before::Never => Backoff::first_connect(&self.shared.config.retry),
            Before::Once => Backoff::reconnect(&self.shared.config.retry),
        };
        if self.report.error.is_some() {
            self.shared.listener.notify(Notice::Unreported {
                error: error.clone(),
                outcome: Box::new(self.report.outcome.clone()),
            });
        }
    }

    fn stop(mut self) {
        let error = self.shared.stopped().unwrap_or(Error::Closed);
        // Who executes from here on is refused at once, so that nothing is left behind.
        lock(&self.shared.inbox).closed = Some(error.clone());
        let _ = self.refill();
        self.exchange.give_up(&error);
        self.settle();
        // Nobody will ask for the report on automatic batches any more.
        self.shared.budget.keep(-self.kept.cast_signed());
    }

    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            error = self.shared.stop_signal() => Err(error),
            value = future => Ok(value),
        }
    }

    /// What became of commands goes into the totals.
    fn count(&self, finished: &[Finished]) {
        let max = self.shared.config.max_failures;
        let mut known = lock(&self.shared.known);
        for finished in finished {
            known.totals.batches += 1;
            known.totals.outcome.add(finished.outcome.clone(), max);
        }
        known.totals.resent = self.exchange.resent();
        known.under_way = self.exchange.progress();
    }

    /// A batch is over: it goes into the report.
    fn add(&mut self, finished: Finished) {
        self.report
            .outcome
            .add(finished.outcome, self.shared.config.max_failures);
        if self.report.replies.is_empty() {
            self.report.replies = finished.replies;
        } else {
            self.report.replies.extend_from_slice(&finished.replies);
        }
        if self.report.error.is_none() {
            self.report.error = finished.error;
        }
    }

    /// Reports whose turn it is.
    fn report(&mut self) {
        while let Some(Step::Report(ticket)) = self.order.front() {
            let ticket = *ticket;
            self.order.pop_front();
            // What a report holds stays counted until JavaScript takes it.
            self.count_kept();
            let report = Box::new(mem::take(&mut self.report));
            self.kept -= report.replies.len();
            self.shared.listener.notify(Notice::Executed { ticket, report });
        }
    }

    /// Counts the replies that were kept since the last time.
    fn count_kept(&mut self) {
        let kept = self.exchange.collected() + self.report.replies.len();
        self.shared.budget.keep(kept.cast_signed() - self.kept.cast_signed());
        self.kept = kept;
    }

    /// Tells failures to those who listen. Counted before, as JavaScript may take them at once.
    fn tell_overheard(&mut self) {
        let overheard = self.exchange.take_overheard();
        let bytes: usize = overheard.iter().map(Failure::size).sum();
        self.shared.budget.keep(bytes.cast_signed());
        for failure in overheard {
            self.shared.listener.notify(Notice::Failed(failure));
        }
    }
}

impl Driver for Loader {
    fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    fn refill(&mut self) -> Flow {
        let work = mem::take(&mut lock(&self.shared.inbox).work);
        let flow = if self.shared.stop.borrow().is_some() {
            Flow::Stop
        } else {
            Flow::GoOn
        };
        self.exchange.overhear(self.shared.listening());
        if work.is_empty() {
            return flow;
        }
        if self.exchange.is_idle() {
            self.waiting_since = Instant::now();
            self.backoff.progress();
        }
        for work in work {
            match work {
                Work::Batch(batch) => {
                    let index = self.next_index;
                    self.next_index += batch.commands;
                    self.exchange.push(batch, index);
                    self.order.push_back(Step::Batch);
                }
                Work::Report(ticket) => {
                    self.next_index = 0;
                    self.order.push_back(Step::Report(ticket));
                }
            }
        }
        self.report();
        flow
    }

    fn settle(&mut self) {
        let finished = self.exchange.take_finished();
        self.count(&finished);
        self.shared.live.in_flight.store(self.exchange.in_flight(), Relaxed);
        let released = self.exchange.take_released();
        for segment in released.segments {
            self.shared.pool.put_back(segment);
        }
        let settled = match (released.bytes, finished.len()) {
            (0, 0) => Vec::new(),
            (bytes, batches) => self.shared.budget.settle(bytes, batches),
        };
        // Whoever hears that a batch is over has heard of its failures, and finds its room free.
        self.tell_overheard();
        for finished in finished {
            self.add(finished);
            self.order.pop_front();
            self.report();
        }
        self.prepare();
        self.count_kept();
        for ticket in settled {
            self.shared.listener.notify(Notice::Settled { ticket });
        }
    }
}
