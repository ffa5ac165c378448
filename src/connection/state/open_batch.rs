//! A batch that is on its way, and what is known of it by now.

use std::sync::Arc;

use super::frame::{Data, Doubt};
use super::gathered::Gathered;
use crate::batch::{Batch, Wrap};
use crate::config::{Replies, Resend, Transaction};
use crate::error::Error;
use crate::outcome::{Failure, Outcome};
use crate::resp::value::parse;
use crate::rows::{Part, Tally};

/// What the machine needs of the options.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub replies: Replies,
    pub transaction: Transaction,
    pub max_in_flight: usize,
    /// Batches for one connection; 0: no limit.
    pub reconnect_every: u32,
    pub resend: Resend,
    /// What the server refuses for now is sent again.
    pub waits: bool,
    /// A transaction is written once the one before it is answered: none may be done without those before it.
    pub one_at_a_time: bool,
    /// Only what [`super::Exchange::allow`] allows is written.
    pub throttled: bool,
    pub max_failures: usize,
    pub listening: Listening,
}

impl Settings {
    /// Those of a batch.
    pub(super) fn of(self, wrap: Wrap) -> Self {
        match wrap {
            Wrap::AsConfigured => self,
            Wrap::Always => Self {
                transaction: Transaction::EachBatch,
                ..self
            },
        }
    }
}

/// Whether somebody wants to hear of every failure at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    Yes,
    No,
}

/// A batch of which no more will be known.
#[derive(Debug)]
pub struct Finished {
    pub outcome: Outcome,
    /// With `collect`: one reply in RESP for each command.
    pub replies: Vec<u8>,
    /// Its transaction was done.
    pub executed: bool,
    /// Why it was given up.
    pub error: Option<Error>,
    /// The load that it is a part of.
    pub load: Option<Arc<Tally>>,
}

#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) serial: u64,
    /// The place of its first command among those of its `exec()`.
    pub(super) first_index: u64,
    pub(super) outcome: Outcome,
    pub(super) replies: Gathered,
    /// The reply to the fence that ends it.
    pub(super) fence: Vec<u8>,
    /// That has come, or is not needed any more.
    pub(super) fenced: bool,
    /// Commands of a transaction that a lost connection undid, and that were not written again yet.
    pub(super) undone: u64,
    /// Its transaction may have been done over a connection that was lost.
    pub(super) in_doubt: bool,
    pub(super) executed: bool,
    /// Of a transaction that is written again without them: commands that the server did not even queue.
    expelled: Outcome,
    /// With `collect`, the replies to those, by place.
    expelled_replies: Vec<(u64, Vec<u8>)>,
    settings: Settings,
    /// Of a load of rows.
    part: Option<Part>,
}

impl OpenBatch {
    pub(super) fn new(serial: u64, first_index: u64, batch: &mut Batch, fence: Vec<u8>, settings: Settings) -> Self {
        let outcome = Outcome {
            commands: batch.commands,
            bytes: batch.bytes as u64,
            ..Outcome::default()
        };
        Self {
            serial,
            first_index,
            expelled: outcome.clone(),
            outcome,
            replies: Gathered::default(),
            fence,
            fenced: false,
            undone: 0,
            in_doubt: false,
            executed: false,
            expelled_replies: Vec::new(),
            settings,
            part: batch.part.take(),
        }
    }

    /// What became of its commands is known.
    pub(super) fn is_settled(&self) -> bool {
        let Outcome {
            commands,
            succeeded,
            failed,
            unknown,
            ..
        } = self.outcome;
        commands == succeeded + failed + unknown
    }

    pub(super) fn is_transaction(&self) -> bool {
        self.settings.transaction == Transaction::EachBatch
    }

    pub(super) fn collects(&self) -> bool {
        // Nobody takes those of a load.
        self.settings.replies == Replies::Collect && self.part.is_none()
    }

    pub(super) fn overhear(&mut self, listening: Listening) {
        self.settings.listening = listening;
    }

    /// Reply bytes as they came, of the next command of `data`.
    pub(super) fn collect(&mut self, hole: Option<u32>, bytes: &[u8]) {
        if self.collects() {
            self.replies.append(hole, bytes);
        }
    }

    /// How many bytes are kept where the next ones would go.
    pub(super) fn kept(&mut self, hole: Option<u32>) -> usize {
        self.replies.sink(hole).len()
    }

    /// Drops what was kept there from `length` on.
    pub(super) fn drop_from(&mut self, hole: Option<u32>, length: usize) {
        self.replies.cut(hole, length);
    }

    /// The next command of `data` was refused, for good. Returns the failure for those who listen.
    pub(super) fn refused(&mut self, data: &mut Data, code: &str, message: &str) -> Option<Failure> {
        if self.collects() {
            let reply = self.refusal(data.doubt, code, message);
            self.collect(data.next_hole(), &reply);
        }
        self.count_refused(data, code, message)
    }

    /// As a reply.
    fn refusal(&self, doubt: Doubt, code: &str, message: &str) -> Vec<u8> {
        if is_doubtful(doubt, code) {
            let text = format!("unknown whether executed: refused when it was sent again: {message}");
            return error_reply("RESPIPE_CONNECTION_LOST", &text);
        }
        error_reply(code, message)
    }

    fn count_refused(&mut self, data: &mut Data, code: &str, message: &str) -> Option<Failure> {
        if is_doubtful(data.doubt, code) {
            self.outcome.unknown += 1;
            return None;
        }
        self.outcome.count_failures(code, 1);
        let kept = self.outcome.failures.len() < self.settings.max_failures;
        let heard = self.settings.listening == Listening::Yes;
        if !kept && !heard {
            return None;
        }
        let (command, key) = data.next_command();
        let mut failure = Failure {
            index: data.next_index(),
            origin: None,
            command,
            key,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        if let Some(part) = &self.part {
            part.locate(&mut failure, data.next_index() - self.first_index);
        }
        if kept {
            self.outcome.failures.push(failure.clone());
        }
        heard.then_some(failure)
    }

    /// All commands of `data` that are not answered were refused, for one reason.
    pub(super) fn refused_rest(&mut self, data: &mut Data, code: &str, message: &str) -> Vec<Failure> {
        let mut heard = Vec::new();
        while data.unanswered() > 0 {
            let detailed = self.outcome.failures.len() < self.settings.max_failures;
            let listens = self.settings.listening == Listening::Yes;
            if !detailed && !listens && !self.collects() && data.doubt == Doubt::None {
                let rest = data.unanswered();
                self.outcome.count_failures(code, u64::from(rest));
                data.answered += rest;
                break;
            }
            heard.extend(self.refused(data, code, message));
            data.answered += 1;
        }
        heard
    }

    /// `count` commands of `data` were written, and nobody knows what became of them.
    pub(super) fn unknown(&mut self, data: &mut Data, count: u32, cause: &Error) {
        self.outcome.unknown += u64::from(count);
        if self.collects() {
            let reply = unknown_reply(cause);
            for _ in 0..count {
                self.collect(data.next_hole(), &reply);
                data.answered += 1;
            }
        } else {
            data.answered += count;
        }
    }

    /// In a transaction whose replies were lost: so are its last `count` commands.
    pub(super) fn rest_unknown(&mut self, count: u64, cause: &Error) {
        self.outcome.unknown += count;
        self.stand_in(count, &unknown_reply(cause));
    }

    /// In a transaction that was lost between EXEC and its reply: so are all commands that were not refused;
    /// `queued` of them were answered, if only by that.
    pub(super) fn queued_unknown(&mut self, queued: u64, cause: &Error) {
        self.replace_queued(&unknown_reply(cause));
        let left = self.outcome.commands - self.outcome.failed;
        self.outcome.unknown = left;
        let missing = self.outcome.commands - self.expelled.failed - queued;
        self.stand_in(missing, &unknown_reply(cause));
    }

    /// Its transaction was done, as the server shows; only the replies were lost.
    pub(super) fn proven(&mut self, cause: &Error) {
        self.start_over();
        self.in_doubt = false;
        self.executed = true;
        self.undone = 0;
        self.outcome.succeeded = self.outcome.commands - self.outcome.failed;
        let reply = error_reply(cause.code(), &format!("executed, but the reply was lost: {cause}"));
        self.stand_in(self.outcome.succeeded, &reply);
    }

    fn stand_in(&mut self, count: u64, reply: &[u8]) {
        for _ in 0..count {
            self.collect(None, reply);
        }
    }

    /// In a transaction: commands that were queued, and refused for one reason when it came to EXEC. `culprits` are
    /// the places of those that were refused before and have their own failures.
    pub(super) fn refused_at_exec(
        &mut self,
        data: &mut Data,
        culprits: &[u64],
        code: &str,
        message: &str,
    ) -> Vec<Failure> {
        let mut heard = Vec::new();
        while data.unanswered() > 0 {
            if culprits.binary_search(&data.next_index()).is_err() {
                heard.extend(self.count_refused(data, code, message));
            }
            data.answered += 1;
        }
        heard
    }

    /// Their replies, in place of those that said that they were queued.
    pub(super) fn replace_refused(&mut self, code: &str, message: &str) {
        let doubt = if self.in_doubt { Doubt::Shared } else { Doubt::None };
        let reply = self.refusal(doubt, code, message);
        self.replace_queued(&reply);
    }

    /// In a transaction: a reply of its own for each command that was merely queued.
    fn replace_queued(&mut self, instead: &[u8]) {
        if !self.collects() {
            return;
        }
        let queued = self.replies.sink(None);
        let mut replies = Vec::with_capacity(queued.len());
        for line in queued.split_inclusive(|byte| *byte == b'\n') {
            replies.extend_from_slice(if line == b"+QUEUED\r\n" { instead } else { line });
        }
        *queued = replies;
    }

    /// Nothing that was said of this batch counts.
    pub(super) fn take_back(&mut self, cause: &Error) {
        let doubtful = self.outcome.succeeded + self.outcome.failed;
        self.outcome = Outcome {
            commands: self.outcome.commands,
            bytes: self.outcome.bytes,
            unknown: self.outcome.unknown + doubtful,
            ..Outcome::default()
        };
        self.replies.clear();
        self.expelled_replies.clear();
        self.stand_in(self.outcome.unknown, &unknown_reply(cause));
    }

    /// As if it had never been sent.
    pub(super) fn start_over(&mut self) {
        self.outcome = self.expelled.clone();
        self.replies.clear();
    }

    /// What was refused by now leaves the transaction, and is not written again. `culprits` are the places of those
    /// commands among those of the batch.
    pub(super) fn expel(&mut self, culprits: impl Iterator<Item = u64>) {
        if self.collects() {
            let replies = self.replies.sink(None);
            let refusals = replies
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|line| line[0] == b'-');
            self.expelled_replies.extend(culprits.zip(refusals.map(<[u8]>::to_vec)));
            self.expelled_replies.sort();
        }
        self.expelled = self.outcome.clone();
    }

    pub(super) fn finish(mut self, error: Option<Error>) -> Finished {
        // What was refused for good after it had waited comes late.
        self.outcome.failures.sort_by_key(|failure| failure.index);
        let Outcome {
            commands,
            succeeded,
            failed,
            unknown,
            ..
        } = self.outcome;
        debug_assert_eq!(commands, succeeded + failed + unknown, "every command is accounted for");
        Finished {
            outcome: self.outcome,
            replies: insert(self.replies.into_bytes(), self.expelled_replies),
            executed: self.executed,
            error,
            load: self.part.map(|part| part.tally),
        }
    }
}

/// A refusal now says nothing of the first time, unless it depends on the command and its key alone.
fn is_doubtful(doubt: Doubt, code: &str) -> bool {
    doubt == Doubt::Shared || (doubt == Doubt::Alone && !matches!(code, "ERR" | "WRONGTYPE"))
}

/// Puts more replies in between, each at its place, in order.
fn insert(replies: Vec<u8>, more: Vec<(u64, Vec<u8>)>) -> Vec<u8> {
    if more.is_empty() {
        return replies;
    }
    let mut more = more.into_iter().peekable();
    let (mut whole, mut at) = (Vec::new(), 0);
    for place in 0.. {
        if let Some((_, reply)) = more.next_if(|(index, _)| *index == place) {
            whole.extend(reply);
        } else if let Some((_, length)) = parse(&replies[at..]) {
            whole.extend_from_slice(&replies[at..at + length]);
            at += length;
        } else {
            break;
        }
    }
    whole
}

/// With `collect`: in place of a reply that did not come.
fn unknown_reply(cause: &Error) -> Vec<u8> {
    error_reply(cause.code(), &format!("unknown whether executed: {cause}"))
}

/// An error reply in RESP.
pub(super) fn error_reply(code: &str, message: &str) -> Vec<u8> {
    let text = if message.starts_with(code) {
        message.to_owned()
    } else {
        format!("{code} {message}")
    };
    format!("-{}\r\n", text.replace(['\r', '\n'], " ")).into_bytes()
}
