//! What became of commands: into the totals, the next report, and to those who listen.

use std::mem;

use super::work::{Loader, Step};
use super::{Notice, Ordered, Report, lock};
use crate::batch::Batch;
use crate::connection::state::Finished;
use crate::connection::task::Driver;
use crate::error::Error;
use crate::outcome::Failure;

impl Loader {
    /// What became of commands goes into the totals.
    pub(super) fn count(&self, finished: &[Finished]) {
        let max = self.shared.config.max_failures;
        let mut known = lock(&self.shared.known);
        for finished in finished {
            known.totals.batches += 1;
            known.totals.outcome.add(finished.outcome.clone(), max);
        }
        known.totals.resent = self.exchange.resent();
        known.under_way = self.exchange.progress();
    }

    /// Batches of which the server has said that they are done.
    pub(super) fn confirm(&mut self, finished: &[Finished]) {
        let open = self.exchange.open_batches();
        let Some(checkpoint) = &mut self.checkpoint else {
            return;
        };
        let last = checkpoint.number() - open;
        for (behind, _) in finished.iter().rev().enumerate().filter(|(_, batch)| batch.executed) {
            checkpoint.confirm(last - behind as u64);
        }
    }

    /// Nothing of a load goes behind what was given up of it.
    pub(super) fn refuse(&mut self, batch: Batch, error: &Error) {
        let bytes = batch.bytes;
        let (finished, overheard) = self.shared.refused(batch, error);
        self.count(&finished);
        self.tell_failures(overheard);
        for finished in finished {
            self.add(finished);
        }
        for ticket in self.shared.budget.settle(bytes, 1) {
            self.tell(Notice::Settled { ticket });
        }
    }

    /// A batch is over: it goes into the report.
    pub(super) fn add(&mut self, finished: Finished) {
        if let Some(load) = finished.load {
            return load.add(finished.outcome, finished.error);
        }
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

    /// Gives up all that was executed by now.
    pub(super) fn give_up_all(&mut self, error: &Error) {
        let _ = self.refill();
        self.take_on_waiting();
        self.exchange.give_up(error);
        self.settle();
    }

    /// Reports whose turn it is; `finished` as for [`Self::count_kept`].
    pub(super) fn report(&mut self, finished: &[Finished]) {
        while let Some(Step::Report(_)) = self.order.front() {
            let Some(Step::Report(Ordered { ticket, load })) = self.order.pop_front() else {
                return;
            };
            let report = match load {
                Some(load) => Report::of(&load),
                None => {
                    // What a report holds stays counted until JavaScript takes it.
                    self.count_kept(finished);
                    let report = mem::take(&mut self.report);
                    self.kept -= report.replies.len();
                    report
                }
            };
            let report = Box::new(report);
            self.tell(Notice::Executed { ticket, report });
        }
    }

    /// Counts the replies that were kept since the last time. `finished`: batches that are over, and that the report lacks.
    pub(super) fn count_kept(&mut self, finished: &[Finished]) {
        let over: usize = finished.iter().map(|finished| finished.replies.len()).sum();
        let kept = self.exchange.collected() + self.report.replies.len() + over;
        self.shared.budget.keep(kept.cast_signed() - self.kept.cast_signed());
        self.kept = kept;
    }

    /// Tells failures to those who listen. Counted before, as JavaScript may take them at once.
    pub(super) fn tell_overheard(&mut self) {
        let overheard = self.exchange.take_overheard();
        self.tell_failures(overheard);
    }

    fn tell_failures(&mut self, overheard: Vec<Failure>) {
        let bytes: usize = overheard.iter().map(Failure::size).sum();
        self.shared.budget.overhear(bytes);
        for failure in overheard {
            self.tell(Notice::Failed(failure));
        }
    }
}
