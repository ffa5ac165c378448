//! A command that the server cannot read, as it is longer than the server allows: the server says so in the place of its
//! reply, and closes the connection.
//!
//! ```text
//!   written    … INCR INCR SET (2 MiB) INCR INCR …
//!   answered   … :1   :2   -ERR Protocol error: invalid bulk length, and the end
//!                           │ failed           └─ not executed: sent again, over the next connection
//! ```
//!
//! The server answers in order, and has read nothing behind the command: so the place of the error tells which command it is,
//! and that none behind it was executed. In a transaction the server forgets what it has queued.

use super::frame::{Data, Doubt, Frame};
use super::transaction::QUEUED;
use super::{Broken, Exchange, Trust, open};
use crate::command::{self, Command};
use crate::config::Transaction;

/// How much of the command in front the connection has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Whole,
    InPart,
}

impl Exchange {
    /// Whether this error says that the server cannot read the next command. It may come before all of the command is
    /// written.
    ///
    /// # Errors
    /// Where it is neither that nor the reply to a command.
    pub(super) fn is_unreadable(&mut self, message: &str, written: Written) -> Result<bool, Broken> {
        match is_protocol_error(message) && !self.may_say_anything() {
            true if is_about_length(message) => Ok(true),
            false if written == Written::Whole => Ok(false),
            _ => Err(the_server_says(message)),
        }
    }

    /// The error may be one of a script, which chooses the text: the connection then goes on.
    fn may_say_anything(&mut self) -> bool {
        /// The smallest limit that a Redis server can be given.
        const LIMIT: usize = 1 << 20;

        let Some(Frame::Data(data)) = self.frames.front_mut() else {
            return false;
        };
        if data.transaction == Transaction::EachBatch {
            // It is queued, and says nothing yet.
            return false;
        }
        let words = data.words(data.answered);
        let is_long = words.len() > LIMIT || words.iter().any(|word| word.len() > LIMIT);
        !is_long && command::of(&words).is_none_or(Command::is_script)
    }

    /// The next command has failed, and the connection is over.
    pub(super) fn fail_unreadable(&mut self, code: &str, message: &str) -> Broken {
        if let Some(Frame::Data(data)) = self.frames.front_mut()
            && let Some(batch) = open(&mut self.batches, data.batch)
        {
            // Nor did the server execute it the first time.
            let doubt = std::mem::replace(&mut data.doubt, Doubt::None);
            self.overheard.extend(batch.refused(data, code, message));
            data.doubt = doubt;
            data.answered += 1;
            self.answered += 1;
        }
        self.reads_no_further(message)
    }

    /// The transaction in front has a command that the server cannot read: nor did it execute the transaction before.
    pub(super) fn is_not_in_doubt(&mut self) {
        let serial = self.frames.front().and_then(Frame::batch);
        let rest = self.frames.iter_mut().filter_map(|frame| match frame {
            Frame::Data(data) => Some(data),
            _ => None,
        });
        for data in self.transaction.data.iter_mut().chain(rest) {
            if Some(data.batch) == serial {
                data.doubt = Doubt::None;
            }
        }
        if let Some(batch) = serial.and_then(|serial| open(&mut self.batches, serial)) {
            batch.in_doubt = false;
        }
    }

    /// The next command cannot be read, and is counted: nothing of its transaction is executed.
    pub(super) fn discard_unreadable(&mut self, message: &str) -> Broken {
        const DISCARDED: &str = "EXECABORT Transaction discarded because of previous errors.";

        if let Some(Frame::Data(data)) = self.frames.front_mut() {
            data.answered += 1;
            self.transaction.commands += 1;
        }
        let serial = self.frames.front().and_then(Frame::batch).unwrap_or_default();
        // Nobody has to hear of the others that they are queued.
        while self.frames.front().is_some_and(Frame::is_within_transaction)
            && let Some(frame) = self.pop_front()
        {
            match frame {
                Frame::Data(data) => self.queue_rest(data),
                Frame::Mark(mark) => self.transaction.mark = Some(mark),
                _ => break,
            }
        }
        if let Err(broken) = self.discarded(serial, "EXECABORT", DISCARDED) {
            return broken;
        }
        self.reads_no_further(message)
    }

    /// As if the server had queued all of it.
    fn queue_rest(&mut self, mut data: Data) {
        let rest = data.unanswered();
        if let Some(batch) = open(&mut self.batches, data.batch) {
            (0..rest).for_each(|_| batch.collect(None, QUEUED));
        }
        self.transaction.commands += u64::from(rest);
        data.restart();
        self.transaction.data.push_back(data);
    }

    /// Takes the frame in front, whether it is written or not.
    fn pop_front(&mut self) -> Option<Frame> {
        if self.sent > 0 {
            return self.pop_answered();
        }
        let frame = self.frames.pop_front()?;
        if std::mem::take(&mut self.offset) > 0 {
            self.in_flight -= frame.weight();
        }
        Some(frame)
    }

    fn reads_no_further(&mut self, message: &str) -> Broken {
        self.trust = Trust::ReadsNoFurther;
        Broken::Unreadable(format!("the server says: {message}"))
    }
}

/// The server closes a connection behind such an error.
pub(super) fn is_protocol_error(message: &str) -> bool {
    message.starts_with("ERR Protocol error")
}

/// Other protocol errors mean that the stream is garbled.
fn is_about_length(message: &str) -> bool {
    ["invalid bulk length", "invalid multibulk length"]
        .iter()
        .any(|text| message.contains(text))
}

pub(super) fn the_server_says(message: &str) -> Broken {
    Broken::Violation(format!("the server says: {message}"))
}
