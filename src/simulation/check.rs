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
//! and I2 for plans with checkpoints, once there are any.

use std::collections::BTreeMap;
use std::ops::Range;

use super::data::Data;
use super::plan::{Asks, Patience, Plan};
use super::run::Log;
use super::server::Applied;
use crate::config::{Replies, Transaction};
use crate::connection::state::Listening;
use crate::connection::state::peer::values;
use crate::loader::Report;
use crate::resp::value::Value;

/// SWITCH: `true` once every connection that takes over from a lost one first makes sure of its end (CLIENT KILL).
/// Until then I7 is known not to hold, and what depends on it is checked only in runs without a late command.
pub(super) const FENCED: bool = false;

/// No command of a login, or of what makes sure of an old connection's end, is longer.
const LOGIN: usize = 128;

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
    let most = plan.options.window.max(log.largest_frame).max(SMALL_FRAME).max(LOGIN);
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
    if plan.options.transaction == Transaction::EachBatch {
        load.transactions()?;
    }
    let late = late(&log.applied);
    if FENCED {
        hold!(
            late.is_none(),
            "I7 {} came late",
            late.map_or(String::new(), |late| format!("{late:?}"))
        );
    }
    if late.is_none() {
        load.order()?;
        load.outcome(log)?;
    }
    Ok(())
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
        hold!(
            outcome.succeeded <= done && done <= outcome.succeeded + outcome.unknown,
            "I1 {done} of them were done"
        );
        if self.plan.options.replies == Replies::Check {
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
                        self.done[tag].iter().any(said),
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
        } else if self.plan.options.transaction == Transaction::Off {
            // In a transaction that is begun anew they are told again.
            hold!(log.failures.len() as u64 == totals.failed, "not every failure was told");
            hold!(
                listed.clone().count() < log.failures.len() || listed.eq(&log.failures),
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

    /// Nothing is sent again yet.
    fn may_repeat(&self, _command: &str) -> bool {
        false
    }

    /// All of a batch is done, or nothing of it, and all at once.
    fn transactions(&self) -> Verdict {
        let mut from = 0;
        for batch in &self.plan.batches {
            let tags = from..from + batch.commands.len();
            from = tags.end;
            let possible = tags.clone().filter(|tag| !is_refused(self.commands[*tag])).count();
            let places: Vec<usize> = (0..self.applied.len())
                .filter(|at| tags.contains(&self.applied[*at].tag))
                .collect();
            let together = places.windows(2).all(|pair| pair[1] == pair[0] + 1);
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
            hold!(
                *fate != Fate::Succeeded || stands.is_some_and(|stands| stands >= tag),
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
        hold!(
            expected == log.data,
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
    command.starts_with("LPUSH") || command.starts_with("UNKNOWN")
}

fn fate(reply: &Value) -> Fate {
    match reply {
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
