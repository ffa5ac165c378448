//! A batch that is on its way, and what is known of it by now.

use crate::batch::Batch;
use crate::config::{Replies, Transaction};
use crate::error::Error;
use crate::outcome::{Failure, Outcome};

use super::frame::{Data, Fence};

/// What the machine needs of the options.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub replies: Replies,
    pub transaction: Transaction,
    pub max_in_flight: usize,
    /// Batches for one connection; 0: no limit.
    pub reconnect_every: u32,
    pub max_failures: usize,
    pub listening: Listening,
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
    /// Why it was given up.
    pub error: Option<Error>,
}

#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) outcome: Outcome,
    pub(super) replies: Vec<u8>,
    /// Ends it.
    pub(super) fence: Fence,
    /// Commands of a transaction that a lost connection undid, and that were not written again yet.
    pub(super) undone: u64,
    settings: Settings,
}

impl OpenBatch {
    pub(super) fn new(batch: &Batch, fence: Fence, settings: Settings) -> Self {
        let outcome = Outcome {
            commands: batch.commands,
            bytes: batch.bytes as u64,
            ..Outcome::default()
        };
        Self {
            outcome,
            replies: Vec::new(),
            fence,
            undone: 0,
            settings,
        }
    }

    pub(super) fn overhear(&mut self, listening: Listening) {
        self.settings.listening = listening;
    }

    /// Reply bytes as they came.
    pub(super) fn collect(&mut self, bytes: &[u8]) {
        if self.settings.replies == Replies::Collect {
            self.replies.extend_from_slice(bytes);
        }
    }

    /// The next command of `data` was refused. Returns the failure for those who listen.
    pub(super) fn refused(&mut self, data: &mut Data, code: &str, message: &str) -> Option<Failure> {
        self.outcome.count_failures(code, 1);
        let kept = self.outcome.failures.len() < self.settings.max_failures;
        let heard = self.settings.listening == Listening::Yes;
        if !kept && !heard {
            return None;
        }
        let (command, key) = data.next_command();
        let failure = Failure {
            index: data.next_index(),
            command,
            key,
            code: code.to_owned(),
            message: message.to_owned(),
        };
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
            if !detailed && self.settings.listening == Listening::No {
                let rest = data.unanswered();
                self.outcome.count_failures(code, u64::from(rest));
                self.stand_in(u64::from(rest), code, message);
                data.answered += rest;
                break;
            }
            heard.extend(self.refused(data, code, message));
            self.stand_in(1, code, message);
            data.answered += 1;
        }
        heard
    }

    /// `count` commands were written, and nobody knows what became of them.
    pub(super) fn unknown(&mut self, count: u64, cause: &Error) {
        self.outcome.unknown += count;
        self.stand_in(count, cause.code(), &unknown_text(cause));
    }

    /// In a transaction that was lost between EXEC and its reply: so are all commands that were not refused;
    /// `queued` of them were answered, if only by that.
    pub(super) fn queued_unknown(&mut self, queued: u64, cause: &Error) {
        self.replace_queued(cause.code(), &unknown_text(cause));
        self.outcome.unknown = self.outcome.commands - self.outcome.failed;
        self.stand_in(self.outcome.commands - queued, cause.code(), &unknown_text(cause));
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
                heard.extend(self.refused(data, code, message));
            }
            data.answered += 1;
        }
        heard
    }

    /// In a transaction: a reply of its own for each command that was merely queued.
    pub(super) fn replace_queued(&mut self, code: &str, message: &str) {
        if self.settings.replies != Replies::Collect {
            return;
        }
        let instead = error_reply(code, message);
        let mut replies = Vec::with_capacity(self.replies.len());
        for line in self.replies.split_inclusive(|byte| *byte == b'\n') {
            replies.extend_from_slice(if line == b"+QUEUED\r\n" { &instead } else { line });
        }
        self.replies = replies;
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
        self.stand_in(self.outcome.unknown, cause.code(), &unknown_text(cause));
    }

    /// As if it had never been sent.
    pub(super) fn start_over(&mut self) {
        self.outcome = Outcome {
            commands: self.outcome.commands,
            bytes: self.outcome.bytes,
            ..Outcome::default()
        };
        self.replies.clear();
    }

    pub(super) fn finish(self, error: Option<Error>) -> Finished {
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
            replies: self.replies,
            error,
        }
    }

    /// With `collect`: an error in place of replies that did not come.
    fn stand_in(&mut self, count: u64, code: &str, message: &str) {
        if self.settings.replies == Replies::Collect {
            let reply = error_reply(code, message);
            for _ in 0..count {
                self.replies.extend_from_slice(&reply);
            }
        }
    }
}

fn unknown_text(cause: &Error) -> String {
    format!("unknown whether executed: {cause}")
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
