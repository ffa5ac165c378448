//! Transactions when a connection is lost: done whole or not at all, and which of the two.

use std::collections::{HashSet, VecDeque};

use super::doubt::{Fate, Unit, unit_of};
use super::frame::{Data, Doubt, Frame, Mark};
use super::held::{self, shares};
use super::transaction::ExecReply;
use super::{Exchange, Trust, open};
use crate::error::Error;
use crate::outcome::Failure;

impl Exchange {
    /// A transaction of which something was written, and not answered. Without a whole EXEC nothing was done, and it all
    /// stays to be written again; with it, it may have been done whole. Something on the keys `newer` may have been
    /// done behind it.
    pub(super) fn settle_transaction(
        &mut self,
        mut whole: Whole,
        fates: &mut impl Iterator<Item = Fate>,
        newer: Option<&HashSet<Vec<u8>>>,
        cause: &Error,
    ) {
        let Some(batch) = open(&mut self.batches, whole.batch).filter(|_| whole.touched) else {
            return self.frames.extend(whole.into_frames());
        };
        if whole.refused && shares(&mut whole.data, newer) {
            batch.start_over();
            return self.fail_transaction(held::Transaction {
                batch: whole.batch,
                data: whole.data,
                mark: None,
                code: "EXECABORT".to_owned(),
                message: "EXECABORT not sent again: what came behind it may have been done".to_owned(),
            });
        }
        if !whole.may_be_done() {
            batch.start_over();
            batch.undone += whole.written;
            return self.frames.extend(whole.into_frames());
        }
        let fate = fates.next().unwrap_or(Fate::Unknown);
        match fate {
            // With a checkpoint the server can be asked.
            _ if self.settings.one_at_a_time => self.doubt(whole, Doubt::Alone),
            Fate::Again(doubt) => self.doubt(whole, doubt),
            Fate::Unknown => {
                if matches!(whole.reply, ExecReply::Elements) {
                    self.overheard.append(&mut whole.overheard);
                    let answered = batch.outcome.succeeded + batch.outcome.failed;
                    batch.rest_unknown(batch.outcome.commands - answered, cause);
                } else {
                    batch.queued_unknown(whole.queued, cause);
                }
                for data in whole.data {
                    self.release(data);
                }
            }
        }
    }

    /// It is written again, and may have been done.
    fn doubt(&mut self, mut whole: Whole, doubt: Doubt) {
        if let Some(batch) = open(&mut self.batches, whole.batch) {
            batch.start_over();
            batch.in_doubt = true;
            batch.undone += whole.written;
        }
        for data in whole.data.iter_mut().filter(|data| data.doubt != Doubt::Shared) {
            data.doubt = doubt;
        }
        self.frames.extend(whole.into_frames());
    }

    /// The transaction that was begun, as far as it was answered: it may be half answered with nothing of it in flight.
    pub(super) fn take_begun(&mut self) -> Option<Whole> {
        let begun = std::mem::take(&mut self.transaction);
        let front = self.frames.front().filter(|frame| frame.is_within_transaction())?;
        if self.trust == Trust::Broken {
            return None;
        }
        Some(Whole {
            written: begun.commands,
            queued: begun.commands,
            refused: begun.is_refused(),
            reply: begun.reply,
            overheard: begun.overheard,
            data: begun.answered.into_iter().chain(begun.data).collect(),
            mark: begun.mark,
            touched: true,
            ..Whole::new(front.batch()?)
        })
    }
}

/// A transaction with all its parts.
pub(super) struct Whole {
    batch: u64,
    pub(super) data: VecDeque<Data>,
    pub(super) mark: Option<Mark>,
    /// Something of it was written.
    pub(super) touched: bool,
    pub(super) exec_written: bool,
    /// A command was refused: EXEC does nothing.
    refused: bool,
    /// Commands that were written, and that were answered when they were queued.
    pub(super) written: u64,
    queued: u64,
    reply: ExecReply,
    overheard: Vec<Failure>,
}

impl Whole {
    pub(super) fn new(batch: u64) -> Self {
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
        }
    }

    /// Its commands, where they may have been done and nobody knows.
    pub(super) fn doubtful(&self) -> Option<Unit<'_>> {
        self.may_be_done().then(|| unit_of(&self.data))
    }

    /// To be written from the beginning.
    fn into_frames(self) -> impl Iterator<Item = Frame> {
        let begin = std::iter::once(Frame::Multi(self.batch));
        let data = self.data.into_iter().map(|mut data| {
            data.restart();
            Frame::Data(data)
        });
        begin
            .chain(data)
            .chain(self.mark.map(Frame::Mark))
            .chain([Frame::Exec(self.batch)])
    }

    fn may_be_done(&self) -> bool {
        self.exec_written && !self.refused
    }
}
