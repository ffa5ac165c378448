//! The task of a pipeline: connects, has the connection served, tries again, gives up, reports.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use super::{Notice, Report, Shared, Work, lock};
use crate::connection::link::{self, Link};
use crate::connection::state::{Exchange, Finished, Settings};
use crate::connection::task::{Driver, Ended, Flow, serve};
use crate::connection::tls::Connector;
use crate::error::Error;
use crate::retry::{Backoff, Verdict};

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
    connector: Option<Connector>,
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
        let settings = Settings {
            replies: config.replies,
            transaction: config.transaction,
            max_in_flight: config.max_in_flight,
            max_failures: config.max_failures,
            listening: shared.listening(),
        };
        Self {
            exchange: Exchange::new(settings),
            order: VecDeque::new(),
            report: Report::default(),
            next_index: 0,
            kept: 0,
            connector: None,
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
            if self.exchange.is_idle() {
                self.shared.wake.notified().await;
                continue;
            }
            match self.connect().await {
                Ok(link) => self.serve(link).await,
                Err(error) => self.give_up(&error),
            }
        }
    }

    /// Tries as often as it may.
    async fn connect(&mut self) -> Result<Link, Error> {
        let since = Instant::now();
        loop {
            let error = match self.open().await {
                Ok(link) => {
                    self.connected(&link);
                    return Ok(link);
                }
                Err(error) => error,
            };
            match Verdict::of(&error) {
                Verdict::GiveUp => return Err(error),
                Verdict::Retry => match self.backoff.next(since.elapsed()) {
                    Some(delay) => self.unless_stopped(sleep(delay)).await?,
                    None => return Err(error),
                },
            }
        }
    }

    async fn open(&mut self) -> Result<Link, Error> {
        let config = &self.shared.config;
        let connector = match &self.connector {
            Some(connector) => connector,
            None => self.connector.insert(Connector::new(config)?),
        };
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            biased;
            error = shared.stop_signal() => Err(error),
            link = link::open(config, connector) => link,
        }
    }

    fn connected(&mut self, link: &Link) {
        self.shared.live.connected.store(true, Relaxed);
        if self.connected_before == Before::Once {
            lock(&self.shared.totals).reconnects += 1;
            self.shared.listener.notify(Notice::Reconnected {
                address: link.address.clone(),
            });
        } else {
            self.connected_before = Before::Once;
            self.backoff = Backoff::reconnect(&self.shared.config.retry);
        }
    }

    /// Uses the connection while it lasts, then sees to what is left.
    async fn serve(&mut self, mut link: Link) {
        let shared = Arc::clone(&self.shared);
        let before = self.exchange.replies();
        let (moved_at, ended) = serve(&mut link.stream, self, &shared.wake, shared.config.stall_timeout).await;
        shared.live.connected.store(false, Relaxed);
        if self.exchange.replies() > before {
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
            Ended::Violated(violation) => {
                let error = Error::Protocol {
                    address,
                    reason: violation.0,
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
        if self.exchange.is_idle() {
            // Nothing was under way: the next batch finds a new connection.
            return;
        }
        match self.backoff.next(moved_at.elapsed()) {
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
        self.shared.budget.give_up();
        let _ = self.refill();
        self.exchange.give_up(error);
        self.settle();
        self.backoff = match self.connected_before {
            Before::Never => Backoff::first_connect(&self.shared.config.retry),
            Before::Once => Backoff::reconnect(&self.shared.config.retry),
        };
        let automatic = self
            .report
            .error
            .is_some()
            .then(|| Box::new(self.report.outcome.clone()));
        self.shared.listener.notify(Notice::GivenUp {
            error: error.clone(),
            automatic,
        });
    }

    fn stop(mut self) {
        let error = self.shared.stopped().unwrap_or(Error::Closed);
        let _ = self.refill();
        self.exchange.give_up(&error);
        self.settle();
    }

    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            error = self.shared.stop_signal() => Err(error),
            value = future => Ok(value),
        }
    }

    /// A batch is over: it goes into the report, and into the totals.
    fn add(&mut self, finished: Finished) {
        let max = self.shared.config.max_failures;
        {
            let mut totals = lock(&self.shared.totals);
            totals.batches += 1;
            totals.outcome.add(finished.outcome.clone(), max);
            totals.resent = self.exchange.resent();
        }
        self.report.outcome.add(finished.outcome, max);
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

    fn overheard(&mut self) -> usize {
        let mut bytes = 0;
        for failure in self.exchange.take_overheard() {
            bytes += failure.size();
            self.shared.listener.notify(Notice::Failed(failure));
        }
        bytes
    }

    fn look(&self) {
        let live = &self.shared.live;
        let (succeeded, failed, unknown) = self.exchange.progress();
        live.succeeded.store(succeeded, Relaxed);
        live.failed.store(failed, Relaxed);
        live.unknown.store(unknown, Relaxed);
        live.in_flight.store(self.exchange.in_flight(), Relaxed);
    }
}

impl Driver for Loader {
    fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    fn refill(&mut self) -> Flow {
        let work = mem::take(&mut *lock(&self.shared.inbox));
        let flow = if self.shared.stop.borrow().is_some() {
            Flow::Stop
        } else {
            Flow::GoOn
        };
        if work.is_empty() {
            return flow;
        }
        self.exchange.overhear(self.shared.listening());
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
        let batches = finished.len();
        for finished in finished {
            self.add(finished);
            self.order.pop_front();
            self.report();
        }
        self.count_kept();
        let overheard = self.overheard();
        let released = self.exchange.take_released();
        for segment in released.segments {
            self.shared.pool.put_back(segment);
        }
        self.look();
        if released.bytes > 0 || batches > 0 || overheard > 0 {
            for ticket in self.shared.budget.settle(released.bytes, batches, overheard) {
                self.shared.listener.notify(Notice::Settled { ticket });
            }
        }
    }
}
