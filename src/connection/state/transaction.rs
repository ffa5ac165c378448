//! MULTI … EXEC around a batch: replies in two steps, and all or nothing when the connection is lost.

use std::collections::VecDeque;

use super::doubt::{unit_of, written_keys};
use super::frame::{Data, Doubt, Frame, Mark};
use super::held;
use super::replies::{Expected, is_passing};
use super::unreadable::Written;
use super::{Broken, Exchange, open};
use crate::error::Error;
use crate::outcome::Failure;
use crate::resp::reply::{Kind, excerpt};

pub(super) const QUEUED: &[u8] = b"+QUEUED\r\n";

/// Commands that the server has queued, kept until EXEC tells what became of them.
#[derive(Debug, Default)]
pub(super) struct Queued {
    pub(super) data: VecDeque<Data>,
    /// What EXEC has answered: kept until all of it is, as a transaction is sent again whole.
    pub(super) answered: VecDeque<Data>,
    pub(super) mark: Option<Mark>,
    /// Answered when they were queued, without the mark.
    pub(super) commands: u64,
    /// Those that the server did not even queue; EXEC then does nothing.
    culprits: Vec<Culprit>,
    /// Failures for those who listen, once they are final.
    pub(super) overheard: Vec<Failure>,
    pub(super) reply: ExecReply,
}

#[derive(Debug)]
struct Culprit {
    /// Its place among the commands of its `exec()`.
    index: u64,
    /// Its place among those of its batch.
    place: u64,
    /// Code and text of the refusal, where waiting may help.
    passing: Option<(String, String)>,
}

impl Queued {
    /// Of what will be answered next.
    pub(super) fn front(&self) -> Option<&Data> {
        self.data.front()
    }

    /// A command was refused: EXEC will do nothing.
    pub(super) fn is_refused(&self) -> bool {
        !self.culprits.is_empty()
    }
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) enum ExecReply {
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
        !self.multi_accepted
            && !self.is_silent()
            && self.sent > 0
            && matches!(self.frames.get(self.sent - 1), Some(Frame::Multi(_)))
    }

    pub(super) fn multi_reply(&mut self, input: &[u8]) -> Result<usize, Broken> {
        self.not_too_early(input)?;
        match self.reader.expect(input, b"+OK\r\n")? {
            Expected::NotYet(consumed) => Ok(consumed),
            Expected::Came(consumed) => {
                self.replies += 1;
                self.multi_accepted = true;
                let serial = self.pop_answered().and_then(|frame| frame.batch());
                if let Some(batch) = serial.and_then(|serial| open(&mut self.batches, serial)) {
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
                if is_passing(&code) && self.patient {
                    return Err(Broken::Unavailable(format!("the server is not available: {message}")));
                }
                let serial = self.pop_answered().and_then(|frame| frame.batch());
                self.replies += 1;
                self.refuse_unsent_batch(serial.unwrap_or_default(), &code, &message);
                if self.settings.one_at_a_time {
                    return Err(Broken::Refused(format!("a batch was refused: {message}")));
                }
                Ok(consumed)
            }
        }
    }

    pub(super) fn queued_replies(&mut self, input: &[u8]) -> Result<usize, Broken> {
        if matches!(self.frames.front(), Some(Frame::Mark(_))) {
            return self.mark_reply(input);
        }
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
                let (code, message) = self.reader.command_refusal();
                let written = if allowed > 0 { Written::Whole } else { Written::InPart };
                let unreadable = self.is_unreadable(&message, written)?;
                if unreadable {
                    self.is_not_in_doubt();
                }
                if let Some(Frame::Data(data)) = self.frames.front_mut()
                    && let Some(batch) = open(&mut self.batches, data.batch)
                {
                    self.transaction.culprits.push(Culprit {
                        index: data.next_index(),
                        place: data.next_index() - batch.first_index,
                        passing: is_passing(&code).then(|| (code.clone(), message.clone())),
                    });
                    // Nothing of it is final before EXEC says so.
                    self.transaction.overheard.extend(batch.refused(data, &code, &message));
                }
                if unreadable {
                    return Err(self.discard_unreadable(&message));
                }
                self.move_on();
                Ok(consumed)
            }
        }
    }

    /// The last command of a transaction, which is ours.
    fn mark_reply(&mut self, input: &[u8]) -> Result<usize, Broken> {
        self.not_too_early(input)?;
        match self.reader.expect(input, QUEUED)? {
            Expected::NotYet(consumed) => Ok(consumed),
            Expected::Came(consumed) => {
                self.mark_queued();
                Ok(consumed)
            }
            Expected::Refused(consumed) => {
                let (code, message) = self.reader.refusal()?;
                if !is_passing(&code) {
                    return Err(Broken::Refused(format!("the checkpoint was refused: {message}")));
                }
                self.transaction.culprits.push(Culprit {
                    index: u64::MAX,
                    place: u64::MAX,
                    passing: Some((code, message)),
                });
                self.mark_queued();
                Ok(consumed)
            }
        }
    }

    fn mark_queued(&mut self) {
        self.replies += 1;
        if let Some(Frame::Mark(mark)) = self.pop_answered() {
            self.transaction.mark = Some(mark);
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

    /// Nothing that was said of the batch in front counts: what was answered is unknown.
    pub(super) fn take_back_front(&mut self, cause: &Error) {
        let transaction = std::mem::take(&mut self.transaction);
        let front = self.frames.iter().find_map(Frame::batch);
        let Some(serial) = front.or(self.batches.front().map(|batch| batch.serial)) else {
            return;
        };
        // What was sent again belongs to several.
        for refused in self.held.take_all() {
            let mut data = refused.data;
            if let Some(batch) = open(&mut self.batches, data.batch) {
                batch.unknown(&mut data, 1, cause);
            }
            self.release(data);
        }
        for held in self.held.take_transactions() {
            self.take_back_data(held.batch, held.data, cause);
        }
        let queueing = open(&mut self.batches, serial).is_some_and(|batch| batch.is_transaction())
            && !matches!(transaction.reply, ExecReply::Elements)
            && !matches!(self.frames.front(), Some(Frame::Fence(_)));
        for batch in self.batches.iter_mut().take_while(|batch| batch.serial <= serial) {
            if queueing && batch.serial == serial {
                batch.start_over();
            } else {
                batch.take_back(cause);
            }
        }
        if queueing && let Some(Frame::Data(data)) = self.frames.front_mut() {
            data.answered = 0;
        }
        self.take_back_data(serial, transaction.data, cause);
        for data in transaction.answered {
            self.release(data);
        }
    }

    fn take_back_data(&mut self, serial: u64, data: VecDeque<Data>, cause: &Error) {
        for mut data in data {
            if let Some(batch) = open(&mut self.batches, serial) {
                let rest = data.unanswered();
                batch.unknown(&mut data, rest, cause);
            }
            self.release(data);
        }
    }

    /// The next command is queued.
    fn queued(&mut self) {
        if let Some(Frame::Data(data)) = self.frames.front()
            && let Some(batch) = open(&mut self.batches, data.batch)
        {
            batch.collect(None, QUEUED);
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
        let expected = self.transaction.commands + u64::from(self.transaction.mark.is_some());
        match done {
            None => {}
            Some(Kind::Push | Kind::Attribute) => self.transaction.reply = ExecReply::Awaited,
            Some(Kind::Header(count)) if count == expected && self.transaction.culprits.is_empty() => {
                let serial = self.frames.front().and_then(Frame::batch);
                if let Some(batch) = serial.and_then(|serial| open(&mut self.batches, serial)) {
                    batch.replies.clear();
                }
                self.transaction.reply = ExecReply::Elements;
                self.replies += 1;
                self.patient = self.settings.waits;
                if !self.held.is_empty() {
                    let newer = written_keys(&[unit_of(&self.transaction.data)]);
                    self.fail_overtaken(newer.as_ref());
                }
            }
            Some(Kind::Error) => {
                let (code, message) = self.reader.refusal()?;
                self.exec_refused(&code, &message)?;
            }
            Some(_) => {
                return Err(Broken::Violation(format!(
                    "EXEC of {expected} commands was answered by {}",
                    excerpt(input)
                )));
            }
        }
        Ok(consumed)
    }

    fn exec_elements(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let Some(data) = self.transaction.data.front_mut() else {
            return self.marked(input);
        };
        let Some(batch) = open(&mut self.batches, data.batch) else {
            return Ok(0);
        };
        let answers = self.reader.answers(input, data.unanswered(), data, batch)?;
        let mut count = u64::from(answers.succeeded);
        if let Some((code, message)) = answers.refusal {
            self.transaction.overheard.extend(batch.refused(data, &code, &message));
            data.answered += 1;
            count += 1;
        }
        self.replies += count;
        self.answered += count;
        if data.unanswered() == 0 {
            let data = self.transaction.data.pop_front();
            self.transaction.answered.extend(data);
            if self.transaction.data.is_empty() && self.transaction.mark.is_none() {
                self.executed();
            }
        }
        Ok(answers.consumed)
    }

    /// The reply of EXEC to the mark.
    fn marked(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let (consumed, done) = self.reader.scan(input)?;
        match done {
            None | Some(Kind::Push | Kind::Attribute) => {}
            Some(Kind::Error) => {
                return Err(Broken::Refused(format!(
                    "the checkpoint was refused: {}",
                    self.reader.refusal()?.1
                )));
            }
            Some(_) => {
                self.replies += 1;
                self.executed();
            }
        }
        Ok(consumed)
    }

    fn executed(&mut self) {
        let transaction = std::mem::take(&mut self.transaction);
        self.overheard.extend(transaction.overheard);
        for data in transaction.answered {
            self.release(data);
        }
        let serial = self.pop_answered().and_then(|frame| frame.batch());
        if let Some(batch) = serial.and_then(|serial| open(&mut self.batches, serial)) {
            batch.in_doubt = false;
            batch.executed = true;
        }
    }

    /// EXEC did nothing.
    fn exec_refused(&mut self, code: &str, message: &str) -> Result<(), Broken> {
        let serial = self.pop_answered().and_then(|frame| frame.batch()).unwrap_or_default();
        self.replies += 1;
        self.discarded(serial, code, message)
    }

    /// A transaction did nothing, for this reason.
    pub(super) fn discarded(&mut self, serial: u64, code: &str, message: &str) -> Result<(), Broken> {
        let transaction = std::mem::take(&mut self.transaction);
        let Some(batch) = open(&mut self.batches, serial) else {
            return Ok(());
        };
        let passing = transaction.culprits.iter().find_map(|culprit| culprit.passing.clone());
        let reason = reason_of(code, message);
        let passing = passing.or_else(|| is_passing(reason).then(|| (reason.to_owned(), message.to_owned())));
        let (data, mark) = (transaction.data, transaction.mark);
        if let Some((code, message)) = passing.clone().filter(|_| self.patient) {
            batch.start_over();
            self.held.hold_transaction(held::Transaction {
                batch: serial,
                data,
                mark,
                code,
                message,
            });
            return Ok(());
        }
        // A refusal that waiting would not have changed is an answer like any other.
        self.answered += if passing.is_some() { 0 } else { transaction.commands };
        let mut overheard = transaction.overheard;
        let stored = mark.is_some();
        if stored && passing.is_none() && !transaction.culprits.is_empty() {
            self.overheard.append(&mut overheard);
            // The others are not lost with them.
            batch.expel(transaction.culprits.iter().map(|culprit| culprit.place));
            batch.start_over();
            let (data, expelled) = without(data, &transaction.culprits);
            self.released.bytes += expelled;
            self.held.hold_transaction(held::Transaction {
                batch: serial,
                data,
                mark,
                code: code.to_owned(),
                message: message.to_owned(),
            });
            self.redo = true;
            return Ok(());
        }
        let culprits: Vec<u64> = transaction.culprits.iter().map(|culprit| culprit.index).collect();
        for mut data in data {
            if let Some(batch) = open(&mut self.batches, serial) {
                if batch.in_doubt {
                    data.doubt = Doubt::Shared;
                }
                overheard.extend(batch.refused_at_exec(&mut data, &culprits, code, message));
            }
            self.release(data);
        }
        overheard.sort_by_key(|failure| failure.index);
        self.overheard.append(&mut overheard);
        if let Some(batch) = open(&mut self.batches, serial) {
            batch.replace_refused(code, message);
        }
        if stored {
            // Nothing may be stored as done that comes behind it.
            let message = passing.map_or(message.to_owned(), |(_, message)| message);
            return Err(Broken::Refused(format!("a batch was refused: {message}")));
        }
        Ok(())
    }

    /// The server takes no MULTI, and nothing was written behind it.
    fn refuse_unsent_batch(&mut self, serial: u64, code: &str, message: &str) {
        // Up to its fence, which is still to come.
        let is_part = |frame: &Frame| frame.batch() == Some(serial) && !matches!(frame, Frame::Fence(_));
        while self.frames.front().is_some_and(is_part)
            && let Some(frame) = self.frames.pop_front()
        {
            if let Frame::Data(mut data) = frame {
                self.answered += u64::from(data.unanswered());
                if let Some(batch) = open(&mut self.batches, serial) {
                    if batch.in_doubt {
                        data.doubt = Doubt::Shared;
                    }
                    self.overheard.extend(batch.refused_rest(&mut data, code, message));
                }
                self.release(data);
            }
        }
    }
}

/// The code of the error for which a transaction is discarded, where it is told:
/// `EXECABORT Transaction discarded because of: OOM command not allowed …`.
fn reason_of<'a>(code: &'a str, message: &'a str) -> &'a str {
    let reason = message.split_once("because of: ").map(|(_, reason)| reason);
    reason.and_then(|reason| reason.split(' ').next()).unwrap_or(code)
}

/// The commands that are not culprits, and the bytes of those that are.
fn without(all: VecDeque<Data>, culprits: &[Culprit]) -> (VecDeque<Data>, usize) {
    let (mut left, mut expelled) = (VecDeque::new(), 0);
    for mut data in all {
        let (first, count) = (data.next_index(), data.commands());
        // They come in order, as the commands do.
        let own: Vec<u32> = culprits[culprits.partition_point(|culprit| culprit.index < first)..]
            .iter()
            .map_while(|culprit| u32::try_from(culprit.index.checked_sub(first)?).ok())
            .take_while(|at| *at < count)
            .collect();
        if own.is_empty() {
            left.push_back(data);
            continue;
        }
        let mut from = 0;
        for at in own.into_iter().chain([count]) {
            if at > from {
                left.push_back(data.piece(from..at));
            }
            from = at + 1;
        }
        expelled += data.into_segment().1;
    }
    (left, expelled)
}
