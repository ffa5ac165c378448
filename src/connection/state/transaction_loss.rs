//! Transactions when a connection is lost: done whole or not at all, and which of the two.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::doubt::{Fate, Unit, decide, unit_of, written_keys};
use super::frame::{Data, Doubt, Frame, Mark};
use super::held::{self, shares};
use super::transaction::ExecReply;
use super::{Exchange, open};
use crate::config::Resend;
use crate::error::Error;
use crate::outcome::Failure;

impl Exchange {
    /// What of each transaction was written, and not answered, when the connection was lost. Without a whole EXEC
    /// nothing was done, and it all stays to be written again; with it, it may have been done whole.
    pub(super) fn settle_transactions(&mut self, cause: &Error, resend: Resend) {
        let mut items = self.take_transactions();
        let doubtful: Vec<Unit<'_>> = items.iter().filter_map(Item::doubtful).collect();
        let fates = decide(&doubtful, resend);
        let newer = written_keys(&doubtful);
        drop(doubtful);
        self.fail_overtaken(newer.as_ref());
        let mut fates = fates.into_iter();
        for item in &mut items {
            let Item::Transaction(transaction) = item else {
                continue;
            };
            let Some(batch) = open(&mut self.batches, transaction.batch) else {
                continue;
            };
            if !transaction.touched {
                continue;
            }
            if transaction.refused && shares(&mut transaction.data, newer.as_ref()) {
                batch.start_over();
                transaction.overtaken = true;
                continue;
            }
            if !transaction.may_be_done() {
                batch.start_over();
                batch.undone += transaction.written;
                continue;
            }
            // With a checkpoint the server can be asked.
            let fate = if self.settings.one_at_a_time {
                fates.next();
                Fate::Again(Doubt::Alone)
            } else {
                fates.next().unwrap_or(Fate::Unknown)
            };
            match (fate, transaction.reply) {
                (Fate::Again(doubt), _) => {
                    batch.start_over();
                    batch.in_doubt = true;
                    batch.undone += transaction.written;
                    for data in &mut transaction.data {
                        if data.doubt != Doubt::Shared {
                            data.doubt = doubt;
                        }
                    }
                }
                (Fate::Unknown, ExecReply::Elements) => {
                    self.overheard.append(&mut transaction.overheard);
                    let answered = batch.outcome.succeeded + batch.outcome.failed;
                    batch.rest_unknown(batch.outcome.commands - answered, cause);
                    transaction.over = true;
                }
                (Fate::Unknown, _) => {
                    batch.queued_unknown(transaction.queued, cause);
                    transaction.over = true;
                }
            }
        }
        for item in items {
            match item {
                Item::Other(frame) => self.frames.push_back(frame),
                Item::Transaction(transaction) if transaction.overtaken => {
                    self.fail_transaction(held::Transaction {
                        batch: transaction.batch,
                        data: transaction.data,
                        mark: None,
                        code: "EXECABORT".to_owned(),
                        message: "EXECABORT not sent again: what came behind it may have been done".to_owned(),
                    });
                }
                Item::Transaction(transaction) if transaction.over => {
                    for data in transaction.data {
                        self.release(data);
                    }
                }
                Item::Transaction(transaction) => {
                    self.frames.push_back(Frame::Multi(transaction.batch));
                    for mut data in transaction.data {
                        data.restart();
                        self.frames.push_back(Frame::Data(data));
                    }
                    self.frames.extend(transaction.mark.map(Frame::Mark));
                    self.frames.push_back(Frame::Exec(transaction.batch));
                }
            }
        }
    }

    /// All frames, those of each transaction together.
    fn take_transactions(&mut self) -> Vec<Item> {
        let begun = std::mem::take(&mut self.transaction);
        let mut items = Vec::new();
        // The one in front may be half answered with nothing of it in flight.
        let mut open = match self.frames.front() {
            Some(frame @ (Frame::Data(_) | Frame::Mark(_) | Frame::Exec(_))) => frame.batch().map(|serial| Whole {
                written: begun.commands,
                queued: begun.commands,
                refused: begun.is_refused(),
                reply: begun.reply,
                overheard: begun.overheard,
                data: begun.answered.into_iter().chain(begun.data).collect(),
                mark: begun.mark,
                touched: true,
                ..Whole::new(serial)
            }),
            _ => None,
        };
        for (at, mut frame) in std::mem::take(&mut self.frames).into_iter().enumerate() {
            let Some(serial) = frame.batch().filter(|_| !matches!(frame, Frame::Fence(_))) else {
                items.push(Item::Other(frame));
                continue;
            };
            let whole = open.get_or_insert_with(|| Whole::new(serial));
            whole.touched |= at < self.sent || (at == self.sent && self.offset > 0);
            if let Frame::Data(data) = &mut frame {
                let written = match at.cmp(&self.sent) {
                    Ordering::Less => data.commands(),
                    Ordering::Equal => data.commands_within(self.offset),
                    Ordering::Greater => 0,
                };
                whole.written += u64::from(written.saturating_sub(data.answered));
            }
            match frame {
                Frame::Data(data) => whole.data.push_back(data),
                Frame::Mark(mark) => whole.mark = Some(mark),
                Frame::Exec(_) => {
                    whole.exec_written = at < self.sent;
                    items.extend(open.take().map(Item::Transaction));
                }
                _ => {}
            }
        }
        items
    }
}

/// What is left of the frames of a lost connection.
enum Item {
    Transaction(Whole),
    Other(Frame),
}

impl Item {
    /// Its commands, where they may have been done and nobody knows.
    fn doubtful(&self) -> Option<Unit<'_>> {
        match self {
            Self::Transaction(whole) if whole.may_be_done() => Some(unit_of(&whole.data)),
            _ => None,
        }
    }
}

/// A transaction with all its parts.
struct Whole {
    batch: u64,
    data: VecDeque<Data>,
    mark: Option<Mark>,
    /// Something of it was written.
    touched: bool,
    exec_written: bool,
    /// A command was refused: EXEC does nothing.
    refused: bool,
    /// Commands that were written, and that were answered when they were queued.
    written: u64,
    queued: u64,
    reply: ExecReply,
    overheard: Vec<Failure>,
    /// What became of it is as clear as it will ever be.
    over: bool,
    /// It was refused, and something newer may have been done.
    overtaken: bool,
}

impl Whole {
    fn new(batch: u64) -> Self {
        Self {
            batch,
            data: VecDeque::new(),
            mark: None,
            touched: false,
            exec_written: false,
            refused: false,
            written: 0,
            queued: 0,
            reply: ExecReply::Awaited,
            overheard: Vec::new(),
            over: false,
            overtaken: false,
        }
    }

    fn may_be_done(&self) -> bool {
        self.exec_written && !self.refused
    }
}
