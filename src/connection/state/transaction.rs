//! MULTI … EXEC around a batch: replies in two steps, and all or nothing when the connection is lost.

use std::collections::VecDeque;

use super::frame::{Data, Frame};
use super::open_batch::{OpenBatch, error_reply};
use super::replies::Expected;
use super::{Broken, Exchange};
use crate::config::Transaction;
use crate::error::Error;
use crate::resp::reply::{Kind, excerpt};

const QUEUED: &[u8] = b"+QUEUED\r\n";

/// Commands that the server has queued, kept until EXEC tells what became of them.
#[derive(Debug, Default)]
pub(super) struct Queued {
    data: VecDeque<Data>,
    commands: u64,
    /// Places of those that the server did not even queue; EXEC then does nothing.
    culprits: Vec<u64>,
    reply: ExecReply,
}

#[derive(Debug, Default, Clone, Copy)]
enum ExecReply {
    #[default]
    Awaited,
    /// The reader was told to take the array's header alone.
    Opened,
    /// The header has come.
    Elements,
}

impl Exchange {
    /// The first MULTI of a connection is out, and the server has not said whether it takes any.
    pub(super) fn awaits_first_multi(&self) -> bool {
        !self.multi_accepted && self.sent > 0 && matches!(self.frames.get(self.sent - 1), Some(Frame::Multi))
    }

    pub(super) fn multi_reply(&mut self, input: &[u8]) -> Result<usize, Broken> {
        self.not_too_early(input)?;
        match self.reader.expect(input, b"+OK\r\n")? {
            Expected::NotYet(consumed) => Ok(consumed),
            Expected::Came(consumed) => {
                self.pop_answered();
                self.replies += 1;
                self.multi_accepted = true;
                if let Some(batch) = self.batches.front_mut() {
                    self.resent += std::mem::take(&mut batch.undone);
                }
                Ok(consumed)
            }
            Expected::Refused(consumed) => {
                let (code, message) = self.reader.refusal()?;
                if self.multi_accepted {
                    // The commands behind it are out already, and run one by one.
                    return Err(Broken::Violation(format!("MULTI was refused: {message}")));
                }
                self.pop_answered();
                self.replies += 1;
                self.refuse_unsent_batch(&code, &message);
                Ok(consumed)
            }
        }
    }

    pub(super) fn queued_replies(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let allowed = self.answerable(input)?;
        if self.reader.at_boundary() {
            // The common case: many of them at once.
            let lines = input.chunks_exact(QUEUED.len()).take(allowed as usize);
            let count = lines.take_while(|line| *line == QUEUED).count();
            if count > 0 {
                for _ in 0..count {
                    self.queued();
                }
                return Ok(count * QUEUED.len());
            }
        }
        match self.reader.expect(input, QUEUED)? {
            Expected::NotYet(consumed) => Ok(consumed),
            Expected::Came(consumed) => {
                self.queued();
                Ok(consumed)
            }
            Expected::Refused(consumed) => {
                let (code, message) = self.reader.refusal()?;
                if let (Some(Frame::Data(data)), Some(batch)) = (self.frames.front_mut(), self.batches.front_mut()) {
                    self.transaction.culprits.push(data.next_index());
                    self.overheard.extend(batch.refused(data, &code, &message));
                    batch.collect(&error_reply(&code, &message));
                }
                self.move_on();
                Ok(consumed)
            }
        }
    }

    pub(super) fn exec_reply(&mut self, input: &[u8]) -> Result<usize, Broken> {
        match self.transaction.reply {
            ExecReply::Awaited => {
                self.not_too_early(input)?;
                self.reader.open_array();
                self.transaction.reply = ExecReply::Opened;
                Ok(0)
            }
            ExecReply::Opened => self.exec_header(input),
            ExecReply::Elements => self.exec_elements(input),
        }
    }

    /// Of one batch, `written` frames were written when the connection was lost, and `partly` bytes of the next.
    /// Without a whole EXEC nothing was done, and it all stays to be written again; with it, nobody knows.
    pub(super) fn settle_transaction(
        &mut self,
        batch: &mut OpenBatch,
        frames: Vec<Frame>,
        written: usize,
        partly: usize,
        cause: &Error,
    ) -> Vec<Frame> {
        let Some(exec) = frames.iter().position(|frame| matches!(frame, Frame::Exec)) else {
            // EXEC was answered: only the fence is left.
            return Vec::new();
        };
        let transaction = std::mem::take(&mut self.transaction);
        if written <= exec {
            batch.start_over();
            batch.undone += transaction.commands;
            let mut left = vec![Frame::Multi];
            for (at, frame) in frames.into_iter().enumerate() {
                match frame {
                    Frame::Multi => {}
                    Frame::Data(mut data) => {
                        if at < written {
                            batch.undone += u64::from(data.unanswered());
                        } else if at == written {
                            batch.undone += u64::from(data.commands_within(partly) - data.answered);
                        }
                        data.restart();
                        left.push(Frame::Data(data));
                    }
                    frame => left.push(frame),
                }
            }
            left.splice(1..1, transaction.data.into_iter().map(Frame::Data));
            return left;
        }
        match transaction.reply {
            ExecReply::Elements => {
                let answered = batch.outcome.succeeded + batch.outcome.failed;
                batch.unknown(batch.outcome.commands - answered, cause);
            }
            ExecReply::Awaited | ExecReply::Opened => batch.queued_unknown(transaction.commands, cause),
        }
        for data in transaction.data {
            self.release(data);
        }
        for frame in frames {
            if let Frame::Data(data) = frame {
                self.release(data);
            }
        }
        Vec::new()
    }

    /// Nothing that was said of the batch in front counts: what was answered is unknown.
    pub(super) fn take_back_front(&mut self, cause: &Error) {
        let transaction = std::mem::take(&mut self.transaction);
        let Some(batch) = self.batches.front_mut() else {
            return;
        };
        let queueing = self.settings.transaction == Transaction::EachBatch
            && !matches!(transaction.reply, ExecReply::Elements)
            && !matches!(self.frames.front(), Some(Frame::Fence(_)));
        if queueing {
            batch.start_over();
            if let Some(Frame::Data(data)) = self.frames.front_mut() {
                data.answered = 0;
            }
        } else {
            batch.take_back(cause);
        }
        for data in transaction.data {
            if let Some(batch) = self.batches.front_mut() {
                batch.unknown(u64::from(data.unanswered()), cause);
            }
            self.release(data);
        }
    }

    /// The next command is queued.
    fn queued(&mut self) {
        if let Some(batch) = self.batches.front_mut() {
            batch.collect(QUEUED);
        }
        self.move_on();
    }

    /// The next command has its first reply. Data that was queued leaves the window; its bytes stay until EXEC.
    fn move_on(&mut self) {
        self.replies += 1;
        self.transaction.commands += 1;
        let Some(Frame::Data(data)) = self.frames.front_mut() else {
            return;
        };
        data.answered += 1;
        if data.unanswered() == 0
            && let Some(Frame::Data(mut data)) = self.pop_answered()
        {
            data.restart();
            self.transaction.data.push_back(data);
        }
    }

    fn exec_header(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let (consumed, done) = self.reader.scan(input)?;
        match done {
            None => {}
            Some(Kind::Push | Kind::Attribute) => self.transaction.reply = ExecReply::Awaited,
            Some(Kind::Header(count)) if count == self.transaction.commands && self.transaction.culprits.is_empty() => {
                if let Some(batch) = self.batches.front_mut() {
                    batch.replies.clear();
                }
                self.transaction.reply = ExecReply::Elements;
                self.replies += 1;
            }
            Some(Kind::Error) => {
                let (code, message) = self.reader.refusal()?;
                self.exec_refused(&code, &message);
            }
            Some(_) => {
                let queued = self.transaction.commands;
                return Err(Broken::Violation(format!(
                    "EXEC of {queued} commands was answered by {}",
                    excerpt(input)
                )));
            }
        }
        Ok(consumed)
    }

    fn exec_elements(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let (Some(data), Some(batch)) = (self.transaction.data.front_mut(), self.batches.front_mut()) else {
            return Ok(0);
        };
        let answers = self.reader.answers(input, data.unanswered(), data, batch)?;
        self.overheard.extend(answers.overheard);
        self.replies += u64::from(answers.count);
        self.answered += u64::from(answers.count);
        if data.unanswered() == 0
            && let Some(data) = self.transaction.data.pop_front()
        {
            self.release(data);
            if self.transaction.data.is_empty() {
                self.transaction = Queued::default();
                self.pop_answered();
            }
        }
        Ok(answers.consumed)
    }

    /// EXEC did nothing.
    fn exec_refused(&mut self, code: &str, message: &str) {
        let transaction = std::mem::take(&mut self.transaction);
        self.replies += 1;
        self.answered += transaction.commands;
        for mut data in transaction.data {
            if let Some(batch) = self.batches.front_mut() {
                self.overheard
                    .extend(batch.refused_at_exec(&mut data, &transaction.culprits, code, message));
            }
            self.release(data);
        }
        if let Some(batch) = self.batches.front_mut() {
            batch.replace_queued(code, message);
            // The culprits were told first.
            batch.outcome.failures.sort_by_key(|failure| failure.index);
        }
        self.pop_answered();
    }

    /// The server takes no MULTI, and nothing was written behind it.
    fn refuse_unsent_batch(&mut self, code: &str, message: &str) {
        while let Some(frame) = self.frames.pop_front() {
            match frame {
                Frame::Data(mut data) => {
                    self.answered += u64::from(data.unanswered());
                    if let Some(batch) = self.batches.front_mut() {
                        self.overheard.extend(batch.refused_rest(&mut data, code, message));
                    }
                    self.release(data);
                }
                Frame::Fence(_) => {
                    self.finish(None);
                    return;
                }
                Frame::Multi | Frame::Exec => {}
            }
        }
    }
}
