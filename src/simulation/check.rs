//! What has to hold after every run, whatever happened in it. A plan and the log of its run come in; the first broken
//! promise goes out.
//!
//! The numbers are those of the reliability goals:
//!
//! - I1 what is reported as succeeded was done; once, unless it may be sent again
//! - I2 every command is succeeded, failed or unknown, in order; what failed was certainly not done
//! - I3 with nothing in doubt, the data is as if the commands that succeeded had run once, in order
//! - I5 never more than the window, or one frame, is written and not answered
//! - I6 nothing stays pending
//! - I7 no command of an old connection is done after one of a newer connection
//!
//! and of each key the last write that is reported as succeeded wins. I4 (checkpoints: each batch exactly once) is I1
//! and I2 for plans with checkpoints, and that the batches are done in order.

use std::collections::BTreeMap;
use std::ops::Range;

use super::culprits::{self, is_unreadable};
use super::data::Data;
use super::plan::{Asks, Kind, Patience, Plan, Planned};
use super::run::Log;
use super::server::Applied;
use crate::config::{Replies, Resend};
use crate::connection::state::Listening;
use crate::connection::state::peer::{values, wire};
use crate::loader::Report;
use crate::resp::value::Value;

/// Nothing that a login, or what makes sure of an old connection's end, writes in one go is longer.
const LOGIN: usize = 512;

/// CLIENT REPLY OFF before commands, CLIENT REPLY ON and a fence behind them.
const SILENCE: usize = 37 + 36 + 53;

/// CLIENT UNBLOCK behind the last fence, on a connection that another one follows.
const RELEASE: usize = 40;

/// A fence, a MULTI, an EXEC.
const SMALL_FRAME: usize = 53;

type Verdict = Result<(), String>;

macro_rules! hold {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}

pub(super) fn check(plan: &Plan, log: &Log) -> Verdict {
    hold!(log.pending.is_none(), "I6 {} stayed pending", log.pending.unwrap_or(""));
    hold!(
        log.held == 0,
        "{} bytes are still counted, with nothing under way",
        log.held
    );
    let most = most_unanswered(plan, log);
    hold!(
        log.most_unanswered <= most,
        "I5 {} bytes were unanswered, of at most {most}",
        log.most_unanswered
    );
    let load = Load::new(plan, log);
    let ranges = ranges(plan);
    hold!(
        ranges.len() == log.reports.len(),
        "I6 {} reports of {}",
        log.reports.len(),
        ranges.len()
    );
    for (report, tags) in log.reports.iter().zip(&ranges) {
        load.report(report, tags.clone())
            .map_err(|broken| format!("{broken}, in the report on {tags:?}: {report:?}"))?;
    }
    load.totals(log)?;
    load.times()?;
    load.transactions()?;
    let late = late(&log.applied);
    hold!(
        late.is_none(),
        "I7 {} came late",
        late.map_or(String::new(), |late| format!("{late:?}"))
    );
    load.order()?;
    load.outcome(log)?;
    if plan.options.checkpoint.is_some() {
        load.checkpoints()?;
    }
    load.nothing_lost()?;
    culprits::check(plan, log)
}

/// What the window allows to be written and not answered, or what goes alone.
fn most_unanswered(plan: &Plan, log: &Log) -> usize {
    let options = &plan.options;
    let largest = log.largest_frame.max(SMALL_FRAME);
    let alone = |batch: &Planned| match options.replies {
        Replies::Check | Replies::Collect => largest,
        Replies::Off if plan.is_transaction(batch) => {
            let bytes = batch.commands.iter().map(|command| wire(command).len());
            bytes.sum::<usize>() + SILENCE + 2 * SMALL_FRAME
        }
        // A fence comes within half of the window, or behind one frame.
        Replies::Off => options.window / 2 + largest + SILENCE,
    };
    let alone = plan.batches.iter().map(alone).max().unwrap_or(0);
    let release = if options.reconnect_every > 0 { RELEASE } else { 0 };
    options.window.max(alone).max(LOGIN) + release
}

/// The first command of an old connection that was done after one of a newer connection.
pub(super) fn late(applied: &[Applied]) -> Option<&Applied> {
    let mut newest = 0;
    applied.iter().find(|applied| {
        newest = newest.max(applied.connection);
        applied.connection < newest
    })
}

/// The tags that each report tells of.
fn ranges(plan: &Plan) -> Vec<Range<usize>> {
    let (mut ranges, mut from, mut to) = (Vec::new(), 0, 0);
    for batch in &plan.batches {
        to += batch.commands.len();
        if batch.asks == Asks::Report {
            ranges.push(from..to);
            from = to;
        }
    }
    ranges.push(from..to);
    ranges
}

/// A load, and what became of it.
struct Load<'a> {
    plan: &'a Plan,
    /// By tag.
    commands: Vec<&'a str>,
    /// Of each command, every time that it was done; in all, their order.
    done: Vec<Vec<&'a Applied>>,
    applied: &'a [Applied],
    /// As far as the reports tell, by tag.
    fates: Vec<Fate>,
    /// The replies to some of it may have been lost, and stood in for by a checkpoint.
    may_be_proven: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeded,
    Failed,
    Unknown,
    /// The report gives numbers alone.
    Untold,
}

impl<'a> Load<'a> {
    fn new(plan: &'a Plan, log: &'a Log) -> Self {
        let commands = plan.commands();
        let mut done = vec![Vec::new(); commands.len()];
        for applied in &log.applied {
            done[applied.tag].push(applied);
        }
        let mut load = Self {
            plan,
            commands,
            done,
            applied: &log.applied,
            fates: Vec::new(),
            may_be_proven: plan.options.checkpoint.is_some() && log.stats.totals.reconnects > 0,
        };
        load.fates = load.told(log);
        load
    }

    /// What each command's fate is said to be.
    fn told(&self, log: &Log) -> Vec<Fate> {
        let mut fates = Vec::new();
        for (report, tags) in log.reports.iter().zip(ranges(self.plan)) {
            let outcome = &report.outcome;
            if self.plan.options.replies == Replies::Collect {
                fates.extend(values(&report.replies).iter().map(fate));
                continue;
            }
            let listed = outcome.failures.len() as u64 == outcome.failed;
            let rest = match (outcome.unknown, outcome.succeeded) {
                (0, _) if listed => Fate::Succeeded,
                (_, 0) if listed => Fate::Unknown,
                _ => Fate::Untold,
            };
            let mut told = vec![rest; tags.len()];
            for failure in &outcome.failures {
                let index = usize::try_from(failure.index).unwrap();
                if let Some(fate) = told.get_mut(index) {
                    *fate = Fate::Failed;
                }
            }
            fates.extend(told);
        }
        fates
    }

    fn report(&self, report: &Report, tags: Range<usize>) -> Verdict {
        let outcome = &report.outcome;
        let commands = tags.len() as u64;
        hold!(outcome.commands == commands, "I2 not of {commands} commands");
        hold!(
            outcome.commands == outcome.succeeded + outcome.failed + outcome.unknown,
            "I2 the numbers do not add up"
        );
        hold!(
            outcome.failed == outcome.errors.values().sum::<u64>(),
            "I2 not every failure has a code"
        );
        hold!(
            outcome.failures.len() as u64 == outcome.failed.min(self.plan.options.max_failures as u64),
            "I2 not every failure is listed"
        );
        if self.plan.options.patience == Patience::Plenty && self.plan.options.stop_after.is_none() {
            hold!(report.error.is_none(), "it was given up");
        }
        for failure in &outcome.failures {
            let tag = tags.start + usize::try_from(failure.index).unwrap();
            hold!(tags.contains(&tag), "I2 no such command: {failure:?}");
            let words: Vec<&str> = self.commands[tag].split(' ').collect();
            // Of an unknown command nobody knows what is its key.
            let key = (words[0] != "UNKNOWN").then(|| words[1].as_bytes());
            hold!(
                failure.command == words[0] && failure.key.as_deref() == key,
                "I2 another command than {}: {failure:?}",
                self.commands[tag]
            );
            hold!(self.done[tag].is_empty(), "I2 it failed and was done: {failure:?}");
        }
        let done = tags.clone().filter(|tag| !self.done[*tag].is_empty()).count() as u64;
        // Of a batch that the checkpoint proves, nobody knows which commands it refused.
        let proven = self.may_be_proven;
        hold!(
            (outcome.succeeded <= done || proven) && done <= outcome.succeeded + outcome.unknown,
            "I1 {done} of them were done"
        );
        if self.plan.options.replies != Replies::Collect {
            hold!(report.replies.is_empty(), "I2 nobody wanted replies");
            return Ok(());
        }
        self.replies(report, tags)
    }

    /// With `collect`: a reply each, in order, and in agreement with the numbers.
    fn replies(&self, report: &Report, tags: Range<usize>) -> Verdict {
        let outcome = &report.outcome;
        let replies = values(&report.replies);
        hold!(replies.len() == tags.len(), "I2 {} replies", replies.len());
        let count = |wanted| replies.iter().filter(|reply| fate(reply) == wanted).count() as u64;
        let told = (count(Fate::Succeeded), count(Fate::Failed), count(Fate::Unknown));
        let counted = (outcome.succeeded, outcome.failed, outcome.unknown);
        hold!(told == counted, "I2 the replies say {told:?}");
        for (reply, tag) in replies.iter().zip(tags) {
            let command = self.commands[tag];
            match fate(reply) {
                Fate::Succeeded => {
                    let said = |applied: &&Applied| values(applied.reply.as_bytes()) == [reply.clone()];
                    hold!(
                        is_proven(reply) || self.done[tag].iter().any(said),
                        "I1 {reply:?} was not the answer to {command}: {:?}",
                        self.done[tag]
                    );
                }
                Fate::Failed => hold!(self.done[tag].is_empty(), "I2 {reply:?} and yet done: {command}"),
                Fate::Unknown | Fate::Untold => {}
            }
        }
        Ok(())
    }

    fn totals(&self, log: &Log) -> Verdict {
        let totals = &log.stats.totals.outcome;
        let sum = |part: fn(&Report) -> u64| log.reports.iter().map(part).sum::<u64>();
        hold!(
            totals.succeeded == sum(|report| report.outcome.succeeded)
                && totals.failed == sum(|report| report.outcome.failed)
                && totals.unknown == sum(|report| report.outcome.unknown),
            "the totals are not those of the reports: {totals:?}"
        );
        let listed = log.reports.iter().flat_map(|report| &report.outcome.failures);
        if self.plan.options.listening == Listening::No {
            hold!(log.failures.is_empty(), "failures were told to nobody");
        } else if !self.plan.batches.iter().any(|batch| self.plan.is_transaction(batch)) {
            // In a transaction that is begun anew they are told again.
            hold!(log.failures.len() as u64 == totals.failed, "not every failure was told");
            // Those that waited for better times are told when they are given up.
            let listed: Vec<_> = listed.collect();
            hold!(
                listed.len() < log.failures.len() || log.failures.iter().all(|failure| listed.contains(&failure)),
                "other failures were told than reported"
            );
        }
        let left = (log.stats.queued_bytes, log.stats.in_flight_bytes);
        hold!(left == (0, 0), "{left:?} bytes are said to be under way");
        Ok(())
    }

    /// I1: nothing is done twice that may not be sent twice.
    fn times(&self) -> Verdict {
        for (command, done) in self.commands.iter().zip(&self.done) {
            hold!(
                done.len() <= 1 || self.may_repeat(command),
                "I1 {command} was done more than once: {done:?}"
            );
        }
        Ok(())
    }

    fn may_repeat(&self, command: &str) -> bool {
        let counts = command.starts_with("INCR");
        self.plan.options.checkpoint.is_none()
            && match self.plan.options.resend {
                Resend::All => true,
                Resend::Idempotent => !counts,
                Resend::None => false,
            }
    }

    /// I4: each batch once, and none before the one in front of it.
    fn checkpoints(&self) -> Verdict {
        let tags: Vec<usize> = self.applied.iter().map(|applied| applied.tag).collect();
        hold!(tags.is_sorted(), "I4 batches were done out of order: {tags:?}");
        if self.is_patient() {
            hold!(!self.fates.contains(&Fate::Unknown), "I4 something is unknown");
        }
        Ok(())
    }

    /// Nothing was given up or ended.
    fn is_patient(&self) -> bool {
        self.plan.options.patience == Patience::Plenty && self.plan.options.stop_after.is_none()
    }

    /// What may be sent again is never left in doubt, and arrives.
    fn nothing_lost(&self) -> Verdict {
        let options = &self.plan.options;
        let replacing = |command: &&str| command.starts_with("SET") || command.starts_with("DEL");
        // What was refused for now may have been overtaken by a newer value when it was in doubt as well.
        let refused = self
            .plan
            .troubles
            .iter()
            .any(|trouble| matches!(trouble.kind, Kind::Refuse(..)));
        let repeatable = options.resend != Resend::None && self.commands.iter().all(replacing);
        if !repeatable || refused || !self.is_patient() || self.fates.contains(&Fate::Untold) {
            return Ok(());
        }
        if options.replies != Replies::Off {
            hold!(
                !self.fates.contains(&Fate::Unknown),
                "I3 something is unknown, and could be sent again"
            );
            return Ok(());
        }
        let missing = self.done.iter().position(Vec::is_empty);
        hold!(missing.is_none(), "I3 {missing:?} was not done");
        Ok(())
    }

    /// All of a transaction is done, or nothing of it, and all at once.
    fn transactions(&self) -> Verdict {
        let mut from = 0;
        for batch in &self.plan.batches {
            let tags = from..from + batch.commands.len();
            from = tags.end;
            if !self.plan.is_transaction(batch) {
                continue;
            }
            let possible = tags.clone().filter(|tag| !is_refused(self.commands[*tag])).count();
            let places: Vec<usize> = (0..self.applied.len())
                .filter(|at| tags.contains(&self.applied[*at].tag))
                .collect();
            // Sent again, it is done again whole.
            let together = places
                .chunks(possible.max(1))
                .all(|once| once.windows(2).all(|pair| pair[1] == pair[0] + 1));
            let whole = if possible == 0 { 0 } else { places.len() % possible };
            hold!(
                whole == 0 && together,
                "a transaction was torn apart: {tags:?} at {places:?}"
            );
        }
        Ok(())
    }

    /// Of each key, no earlier command comes after a later one, and the last that succeeded stands.
    fn order(&self) -> Verdict {
        let mut last = BTreeMap::<&str, usize>::new();
        for applied in self.applied {
            let key = key(self.commands[applied.tag]);
            let before = last.insert(key, applied.tag);
            hold!(
                before.is_none_or(|before| before <= applied.tag) || self.may_repeat(self.commands[applied.tag]),
                "{applied:?} was done after {before:?}"
            );
        }
        for (tag, fate) in self.fates.iter().enumerate() {
            let stands = last.get(key(self.commands[tag])).copied();
            let refused = self.may_be_proven && self.done[tag].is_empty();
            hold!(
                *fate != Fate::Succeeded || refused || stands.is_some_and(|stands| stands >= tag),
                "{} succeeded, and {stands:?} stands",
                self.commands[tag]
            );
        }
        Ok(())
    }

    /// I3
    fn outcome(&self, log: &Log) -> Verdict {
        if !self
            .fates
            .iter()
            .all(|fate| matches!(fate, Fate::Succeeded | Fate::Failed))
        {
            return Ok(());
        }
        let counted_twice = |(command, done): (&&str, &Vec<_>)| command.starts_with("INCR") && done.len() > 1;
        if self.commands.iter().zip(&self.done).any(counted_twice) {
            // As `resend: 'all'` allows.
            return Ok(());
        }
        hold!(
            log.applied_in_time == self.applied.len(),
            "something was done after the last report, with nothing in doubt"
        );
        let mut expected = Data::default();
        for (command, fate) in self.commands.iter().zip(&self.fates) {
            if *fate == Fate::Succeeded {
                let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
                expected.run(&words);
            }
        }
        let mut data = log.data.clone();
        if let Some(key) = self.plan.options.checkpoint {
            data.run(&["DEL".to_owned(), key.to_owned()]);
        }
        hold!(
            expected == data,
            "I3 the data is {:?}, and should be {expected:?}",
            log.data
        );
        Ok(())
    }
}

fn key(command: &str) -> &str {
    command.split(' ').nth(1).unwrap_or_default()
}

/// Whatever happens.
fn is_refused(command: &str) -> bool {
    command.starts_with("LPUSH") || command.starts_with("UNKNOWN") || is_unreadable(command)
}

fn fate(reply: &Value) -> Fate {
    match reply {
        reply if is_proven(reply) => Fate::Succeeded,
        Value::Error(text) if text.starts_with(b"RESPIPE_") => {
            if text.windows(7).any(|bytes| bytes == b"unknown") {
                Fate::Unknown
            } else {
                Fate::Failed
            }
        }
        Value::Error(_) => Fate::Failed,
        _ => Fate::Succeeded,
    }
}

/// The server has shown that it was done; its reply is lost.
fn is_proven(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.windows(12).any(|bytes| bytes == b"executed, bu"))
}
